/* quit: the end of a channel.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_QUIT_H
#define MR_BROKER_CLIENT_QUIT_H

#include "broker/client/channel.h"

/* Consumers end, unsettled messages go back; the number stays taken. Does not tell the client, unless by
 * `answer`, a method, when it is done; 0: none. */
void mr_quit_begin(struct mr_broker_channel *ch, uint32_t answer);
/* The same at once, and frees it. Takes NULL. */
void mr_quit_free(struct mr_broker_channel *ch);

#endif
