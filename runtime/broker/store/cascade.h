/* cascade: delayed messages of the library's Lua side, where the store's backing delays by itself.
 * SPDX-License-Identifier: MIT
 * lua/moonrabbit/delay/cascade.lua publishes them to the exchange mr.delay, with headers that say where to
 * (mr-delay-to) and through which levels. At RabbitMQ queues and exchanges lead them there; here they are read. */
#ifndef MR_BROKER_STORE_CASCADE_H
#define MR_BROKER_STORE_CASCADE_H

#include "broker/store/backing.h"
#include "broker/store/vhost.h"

#define MR_CASCADE "mr.delay"

/* Makes the exchange. False: out of memory. */
bool mr_cascade_open(struct mr_vhost *v);
bool mr_cascade_is(mr_slice exchange);
/* Gives the message to the backing, for its target, after its delay. *count is 0, and nothing is kept, if the
 * headers name no target, or an exchange that is not there. */
void mr_cascade_keep(struct mr_vhost *v, const struct mr_message *m, struct mr_promise *p);

#endif
