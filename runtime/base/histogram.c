/* histogram: counts of durations in fixed buckets, three for each power of ten.
 * SPDX-License-Identifier: MIT */
#include "base/histogram.h"

#define DECADE(ns) (ns), (ns)*5 / 2, (ns)*5
static const uint64_t bounds[MR_HISTOGRAM_BOUNDS] = {DECADE(UINT64_C(10000)),
	DECADE(UINT64_C(100000)), DECADE(UINT64_C(1000000)), DECADE(UINT64_C(10000000)),
	DECADE(UINT64_C(100000000)), DECADE(UINT64_C(1000000000)), DECADE(UINT64_C(10000000000)),
	UINT64_C(100000000000)};

uint64_t mr_histogram_bound(size_t bucket) { return bounds[bucket]; }

size_t mr_histogram_bucket(uint64_t ns)
{
	size_t low = 0, high = MR_HISTOGRAM_BOUNDS;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (ns <= bounds[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void mr_histogram_add(struct mr_histogram *h, uint64_t ns)
{
	h->counts[mr_histogram_bucket(ns)]++;
	h->sum += ns;
}

uint64_t mr_histogram_count(const struct mr_histogram *h)
{
	uint64_t count = 0;
	for (size_t i = 0; i <= MR_HISTOGRAM_BOUNDS; i++) count += h->counts[i];
	return count;
}
