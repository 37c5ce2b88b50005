/* gauge: numbers that the I/O thread writes and the host reads, and the host's wish for room.
 * SPDX-License-Identifier: MIT
 * Each function says its side. Values are single words: they may be of slightly different moments. */
#ifndef MR_BRIDGE_GAUGE_H
#define MR_BRIDGE_GAUGE_H

#include <stdatomic.h>

#include "base/status.h"

/* Of one connection: how much of what was published has left the process. */
struct mr_gauge {
	atomic_uint_least64_t gone; /* I/O: bytes of publishes written, ever */
	atomic_bool wants_room;     /* host: was refused, tell it when there is room */
};

/* Of a runtime. */
struct mr_board {
	atomic_uint_least64_t word[sizeof(mr_stats) / sizeof(uint64_t)];
	atomic_bool stopped; /* I/O: the thread has ended, nobody reads commands any more */
};

void mr_board_write(struct mr_board *board, const mr_stats *stats); /* I/O */
void mr_board_read(const struct mr_board *board, mr_stats *out);    /* host */
void mr_board_stop(struct mr_board *board);                         /* I/O */
bool mr_board_is_stopped(const struct mr_board *board);             /* host */
void mr_gauge_advance(struct mr_gauge *gauge, uint64_t gone);       /* I/O */
uint64_t mr_gauge_gone(const struct mr_gauge *gauge);               /* host */
/* Host; it must look at `gone` once more after this: what left meanwhile is told to nobody. */
void mr_gauge_want_room(struct mr_gauge *gauge);
/* I/O, after an advance: true once after a want. */
bool mr_gauge_take_want(struct mr_gauge *gauge);

#endif
