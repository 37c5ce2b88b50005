/* quit: the end of a channel.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_QUIT_H
#define MR_BROKER_CLIENT_QUIT_H

#include "broker/client/channel.h"

/* Ends the consumers and requeues unsettled messages; the number stays in use. Sends the method
 * `answer` when it is done; 0: none. */
void mr_quit_begin(struct mr_broker_channel *ch, uint32_t answer);
/* The same at once, and frees the channel. NULL is allowed. */
void mr_quit_free(struct mr_broker_channel *ch);

#endif
