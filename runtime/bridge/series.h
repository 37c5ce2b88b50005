/* series: the metrics of the host's own, and their series: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. The host writes words with plain stores; they are read one
 * by one, so they may differ in age. */
#ifndef MR_BRIDGE_SERIES_H
#define MR_BRIDGE_SERIES_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/status.h"

#define MR_METRICS_MAX 256      /* of a runtime */
#define MR_SERIES_MAX 1000      /* per metric; one more is made if all its values are "(other)" */
#define MR_SERIES_VALUE_MAX 120 /* bytes of a label's value: the rest is cut; see mr_page_label */
#define MR_SERIES_OTHER "(other)"

struct mr_series {
	_Atomic(struct mr_series *) next;
	char *values;   /* of the labels, each with its NUL */
	double words[]; /* the value; of a histogram the sum, then the count of each bucket */
};

struct mr_metric {
	unsigned refs; /* host: its own, and those of the runtimes that show it */
	int type;
	size_t label_count, bound_count;
	char *name, *help;
	char **labels;
	double *bounds; /* of the buckets, ascending; a last bucket is over all of them */
	size_t count;   /* host: of the series */
	_Atomic(struct mr_series *) first;
	struct mr_series *last; /* host */
};

/* Host; gives one reference; NULL: out of memory. Copies all. */
struct mr_metric *mr_series_metric(int type, const char *name, const char *help,
	const char *const *labels, size_t label_count, const double *bounds, size_t bound_count);
void mr_series_drop(struct mr_metric *m); /* host: drops a reference; `m` may be NULL */
size_t mr_series_words(const struct mr_metric *m);
/* Host: the series with these values, made if there is none; NULL: there are too many, or out of
 * memory. */
struct mr_series *mr_series_of(struct mr_metric *m, const char *const *values);
const struct mr_series *mr_series_next(const struct mr_metric *m,
	const struct mr_series *s);                            /* I/O */
double mr_series_read(const struct mr_series *s, size_t word); /* I/O */

#endif
