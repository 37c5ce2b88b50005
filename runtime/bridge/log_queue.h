/* log_queue: log lines for a host that takes them as events.
 * SPDX-License-Identifier: MIT
 * Each thread that logs has its own ring, as in bridge/logger; the host thread reads both. Lines
 * that do not fit are dropped and counted: nobody waits. Each comment names the calling thread. */
#ifndef MR_BRIDGE_LOG_QUEUE_H
#define MR_BRIDGE_LOG_QUEUE_H

#include "bridge/logger.h"
#include "bridge/ring.h"
#include "bridge/wake.h"

struct mr_log_queue {                          /* zeroed: empty, and not open */
	struct mr_ring lines[MR_LOGGER_SIDES]; /* of struct head and line */
	atomic_uint_least64_t dropped;         /* any */
	uint64_t told;                         /* host: how many of `dropped` it has reported */
	struct mr_ring *next;                  /* host: of the line of mr_log_queue_next */
	struct mr_wake *host;                  /* borrowed */
};

/* Host, before the I/O thread hears of it; nothing if it is open. MR_NO_MEMORY. */
enum mr_status mr_log_queue_open(struct mr_log_queue *q, struct mr_wake *host);
void mr_log_queue_close(struct mr_log_queue *q); /* host, after the I/O thread has ended */

/* I/O: `sink` of struct mr_log; wakes the host. */
void mr_log_queue_io_sink(void *queue, int level, const char *line, size_t size);
/* Host. */
void mr_log_queue_push(struct mr_log_queue *q, int level, const char *line, size_t size);
/* Host: the oldest line, valid until mr_log_queue_taken; NULL: there is none. */
const char *mr_log_queue_next(struct mr_log_queue *q, int *level, size_t *size);
void mr_log_queue_taken(struct mr_log_queue *q, bool well);  /* host; not `well`: it is dropped */
bool mr_log_queue_is_empty(const struct mr_log_queue *q);    /* host */
uint64_t mr_log_queue_dropped(const struct mr_log_queue *q); /* any */
/* Host: the number of dropped lines that were not reported yet. */
uint64_t mr_log_queue_untold(const struct mr_log_queue *q);
void mr_log_queue_told(struct mr_log_queue *q, uint64_t count); /* host */

#endif
