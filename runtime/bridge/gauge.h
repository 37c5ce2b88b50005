/* gauge: numbers that the I/O thread writes and the host reads, and the host's request for room.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. Words are read one by one, so they may differ in age. */
#ifndef MR_BRIDGE_GAUGE_H
#define MR_BRIDGE_GAUGE_H

#include <stdatomic.h>

#include "base/status.h"

/* For one connection: how many bytes of its publishes have left the process. */
struct mr_gauge {
	atomic_uint_least64_t gone; /* I/O: total bytes of publishes written */
	atomic_bool wants_room;     /* host: a publish was refused; it waits for room */
};

/* For a runtime. */
struct mr_board {
	atomic_uint_least64_t word[sizeof(mr_stats) / sizeof(uint64_t)];
	atomic_bool stopped; /* I/O: the thread has ended and reads no more commands */
};

void mr_board_write(struct mr_board *board, const mr_stats *stats); /* I/O */
void mr_board_read(const struct mr_board *board, mr_stats *out);    /* host */
void mr_board_stop(struct mr_board *board);                         /* I/O */
bool mr_board_is_stopped(const struct mr_board *board);             /* host */
void mr_gauge_advance(struct mr_gauge *gauge, uint64_t gone);       /* I/O */
uint64_t mr_gauge_gone(const struct mr_gauge *gauge);               /* host */
/* Host; it must read `gone` once more after this, because earlier advances are not reported. */
void mr_gauge_want_room(struct mr_gauge *gauge);
/* I/O, after an advance: true once after mr_gauge_want_room. */
bool mr_gauge_take_want(struct mr_gauge *gauge);

#endif
