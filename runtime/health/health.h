/* health: the configured checks, the results of the host's own checks, and the requests for health.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one. Does not know the script: results of its checks arrive as
 * commands. */
#ifndef MR_HEALTH_HEALTH_H
#define MR_HEALTH_HEALTH_H

#include "bridge/backlog.h"
#include "bridge/command.h"
#include "bridge/loans.h"
#include "bridge/meter.h"
#include "bridge/series.h"
#include "health/verdict.h"
#include "io/timer.h"
#include "link/history.h"

struct mr_services;
struct mr_stall;

struct mr_health_state {
	struct mr_services *services;
	struct mr_stall *stall;
	mr_health_options options;
	struct mr_node checks; /* mr_host_check */
	size_t check_count;
	struct mr_history *history;
	const struct mr_meter *meters[MR_METERS_MAX + 2];
	size_t meter_count;
	const struct mr_backlog_entry *backlogs[MR_BACKLOGS_MAX + 1];
	size_t backlog_count;
	const struct mr_loans *loans[MR_LOANS_MAX];
	size_t loans_count;
	const struct mr_metric *metrics[MR_METRICS_MAX];
	size_t metric_count;
	double started; /* mr_now */
	bool stopping, watching, was_healthy;
	struct mr_timer round; /* checks for changes while mr_health_watch is on */
	struct mr_vitals *vitals;
};

enum mr_status mr_health_init(struct mr_health_state *c, struct mr_services *services,
	struct mr_stall *stall);
void mr_health_fini(struct mr_health_state *c); /* `c` may be zeroed */
/* *Gives* a fresh verdict; `vitals` are then fresh, too. NULL: out of memory. */
mr_health *mr_health_look(struct mr_health_state *c);
void mr_health_obey(struct mr_health_state *c, const struct mr_command *command);

#endif
