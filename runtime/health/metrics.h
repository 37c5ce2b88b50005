/* metrics: the vitals in Prometheus' text format, version 0.0.4.
 * SPDX-License-Identifier: MIT
 * Reads /proc; else pure. */
#ifndef MR_HEALTH_METRICS_H
#define MR_HEALTH_METRICS_H

#include "base/buffer.h"
#include "bridge/series.h"
#include "health/vitals.h"

/* Appends the page; `own`: the host's metrics. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_metrics_write(struct mr_buffer *out, const struct mr_vitals *v,
	const mr_health *health, const struct mr_meter *const *meters, size_t count,
	const struct mr_histogram *confirms, const struct mr_metric *const *own, size_t own_count);

#endif
