/* pushes: what Redis sends on a connection with subscriptions: their confirmations, and messages.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_REDIS_PUSHES_H
#define MR_REDIS_PUSHES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "redis/wire.h"

/* So many replies make the answer of a command: a subscription is confirmed once for each channel. */
size_t mr_pushes_replies(const mr_slice *words, size_t count);
/* True for a message that was published. */
bool mr_pushes_is_message(const redisReply *r);
/* True for such a confirmation, which says how many subscriptions there are now. */
bool mr_pushes_confirm(const redisReply *r, long long *subscribed);

#endif
