/* hello: asks a Redis that was reached who it is.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_REDIS_HELLO_H
#define MR_REDIS_HELLO_H

#include "redis/state.h"

/* Clients are told that Redis is there when it has answered: then its version and role are known, if it tells them. */
void mr_hello_send(struct mr_redis_store *r);

#endif
