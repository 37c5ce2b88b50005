/* recent: the last moves of the connections, and the last lines of the log, for /status.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_RECENT_H
#define MR_HEALTH_RECENT_H

#include "base/value.h"

struct mr_history;
struct mr_log_tail;

/* Adds `moves`, the oldest first. */
void mr_recent_moves(mr_table *page, const struct mr_history *history);
/* Adds `log`: `last`, the number of the last line, and the `lines` after number `after`. */
void mr_recent_log(mr_table *page, const struct mr_log_tail *tail, uint64_t after);

#endif
