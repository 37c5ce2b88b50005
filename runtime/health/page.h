/* page: writes Prometheus' text format, version 0.0.4.
 * SPDX-License-Identifier: MIT
 * Pure. After a failed append nothing more is appended. */
#ifndef MR_HEALTH_PAGE_H
#define MR_HEALTH_PAGE_H

#include "base/buffer.h"

#define MR_LABEL_SIZE 1100 /* room for an escaped label value, and for a short label around it */

struct mr_page {
	struct mr_buffer *out;
	enum mr_status status; /* of the first failed append */
};

/* Numbers have a point, whatever the locale; the text is cut at 1535 bytes. */
void mr_page_put(struct mr_page *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mr_page_text(struct mr_page *p, const char *text);
/* HELP and TYPE of one of our own metrics, MR_METRIC_*. */
void mr_page_head(struct mr_page *p, int metric);
/* A metric with a head and one sample. */
void mr_page_count(struct mr_page *p, int metric, uint64_t value);
void mr_page_real(struct mr_page *p, int metric, double value);
/* A label's value: \, " and newlines are escaped, bytes that are not UTF-8 are written as \xNN.
 * Longer values are cut at 511 bytes. Returns `out`. */
const char *mr_page_label(char out[MR_LABEL_SIZE], const char *text);

#endif
