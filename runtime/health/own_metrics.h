/* own_metrics: writes the metrics that the host has made.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_OWN_METRICS_H
#define MR_HEALTH_OWN_METRICS_H

#include "bridge/series.h"
#include "health/page.h"

void mr_own_metrics_write(struct mr_page *p, const struct mr_metric *const *metrics, size_t count);

#endif
