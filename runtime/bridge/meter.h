/* meter: measures how long a queue's handlers take: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. Words are read one by one, so they may differ in age. The
 * host owns a meter; it outlives the I/O thread. */
#ifndef MR_BRIDGE_METER_H
#define MR_BRIDGE_METER_H

#include <stdatomic.h>

#include "base/histogram.h"
#include "base/slice.h"
#include "base/status.h"

#define MR_METERS_MAX 64 /* queues with their own label in the metrics */

enum mr_meter_tally {
	MR_METER_FAILURES, /* handlers that raised an error */
	MR_METER_RETRIES,  /* messages put aside for a later attempt */
	MR_METER_DEAD,     /* messages moved to the dead letters */
	MR_METER_LATE,     /* messages handled after their channel had ended */
	MR_METER_TALLIES
};

struct mr_meter {
	atomic_uint_least64_t counts[MR_HISTOGRAM_BOUNDS + 1];
	atomic_uint_least64_t sum;
	atomic_uint_least64_t tallies[MR_METER_TALLIES];
	_Atomic double oldest;         /* when the oldest running handler began; 0: none runs */
	atomic_uint_least32_t paused;  /* its consumers that take no messages, as they were told */
	atomic_int_least64_t messages; /* in the queue at the last check; -1: unknown */
	char queue[256];
};

/* The label of a queue in the metrics: queues that the broker named share one, as their names are
 * always new. */
mr_slice mr_meter_label(mr_slice queue);

struct mr_meter *mr_meter_new(mr_slice label); /* host; gives; NULL: out of memory */
/* Host: `count` handlers took `ns` each; `failures` of them failed. */
void mr_meter_add(struct mr_meter *m, uint64_t count, uint64_t ns, uint64_t failures);
void mr_meter_count(struct mr_meter *m, enum mr_meter_tally tally); /* host */
void mr_meter_look(struct mr_meter *m, int64_t messages);           /* host */
void mr_meter_see_paused(struct mr_meter *m, bool is_paused);       /* host: one more, or less */
void mr_meter_see_oldest(struct mr_meter *m, double began);         /* host */
void mr_meter_read(const struct mr_meter *m, struct mr_histogram *out);     /* I/O */
uint64_t mr_meter_counted(const struct mr_meter *m, enum mr_meter_tally t); /* I/O */
double mr_meter_oldest_began(const struct mr_meter *m);                     /* I/O */
int64_t mr_meter_messages_seen(const struct mr_meter *m);                   /* I/O */
uint32_t mr_meter_paused_seen(const struct mr_meter *m);                    /* I/O */

#endif
