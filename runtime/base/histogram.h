/* histogram: counts of durations in fixed buckets, three for each power of ten.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. The sum of nanoseconds overflows after 584 years. */
#ifndef MR_BASE_HISTOGRAM_H
#define MR_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define MR_HISTOGRAM_BOUNDS 22 /* 10 us, 25 us, 50 us, 100 us ... 100 s */

struct mr_histogram {                             /* held by value; zeroed is empty and valid */
	uint64_t counts[MR_HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last: over the bounds */
	uint64_t sum;                             /* ns */
};

/* The inclusive upper bound of a bucket, in ns. */
uint64_t mr_histogram_bound(size_t bucket);
/* The bucket of a duration, 0 .. MR_HISTOGRAM_BOUNDS. */
size_t mr_histogram_bucket(uint64_t ns);
void mr_histogram_add(struct mr_histogram *h, uint64_t ns);
uint64_t mr_histogram_count(const struct mr_histogram *h);

#endif
