/* plan: the steps of a recovery, in the order of the requests to the broker.
 * SPDX-License-Identifier: MIT
 * Pure. A plan is made only from a topology: it calls nothing else, does not know the time, and
 * changes only itself. When a step fails, the plan is amended; only then it marks in the topology
 * the objects that come late. */
#ifndef MR_LINK_PLAN_H
#define MR_LINK_PLAN_H

#include "amqp/topology.h"

enum mr_step_kind {
	MR_STEP_OPEN, /* the channel, with a new epoch */
	MR_STEP_QOS,
	MR_STEP_GLOBAL_QOS,
	MR_STEP_CONFIRM,
	MR_STEP_TX,
	MR_STEP_RECORD,  /* repeats a declare, bind or consume */
	MR_STEP_SCRATCH, /* opens a channel for risky requests, or those of a closed channel */
	MR_STEP_PROBE,   /* checks the queue of a cancelled consumer; if it is missing, later */
	MR_STEP_CHECK, /* checks another consumer's queue; if it is missing, only that one fails */
	MR_STEP_PAUSE, /* waits before an object held by a dead connection is requested again */
	MR_STEP_READY  /* gives the channel back to the program; sends nothing */
};

struct mr_step {
	struct mr_node node;
	enum mr_step_kind kind;
	uint16_t channel; /* 0: the scratch channel */
	uint64_t record;  /* 0: none */
};

struct mr_plan {
	struct mr_node steps;     /* of mr_step; the first is the current one */
	uint32_t number;          /* counts plans: marks in the topology are for one plan */
	uint32_t scratch_slow_in; /* like slow_in of mr_channel_record */
};

void mr_plan_init(struct mr_plan *plan);
void mr_plan_drop(struct mr_plan *plan);

/* Each replaces the plan: by all records, with or without declares; by all broken objects. False:
 * out of memory, or there is nothing to do. */
bool mr_plan_all(struct mr_plan *plan, const struct mr_topology *t, bool declares);
bool mr_plan_repairs(struct mr_plan *plan, const struct mr_topology *t);
bool mr_plan_is_due(const struct mr_topology *t); /* true if there is something to repair */

/* The current step; NULL: there is no plan. Valid until the next call that changes the plan. */
const struct mr_step *mr_plan_step(const struct mr_plan *plan);
void mr_plan_next(struct mr_plan *plan); /* the current step has ended */
/* The current step failed. If its channel was closed (`is_gone`), that is opened again, and its
 * earlier steps are repeated. The plan continues after the step, or repeats it after a pause
 * (`again`). Channels that do not depend on this one come first. False: no memory, the plan
 * continues after the step. */
bool mr_plan_failed(struct mr_plan *plan, struct mr_topology *t, bool is_gone, bool again);
/* Inserts a check of this consumer's queue before the current step, on the scratch channel. False:
 * no memory. */
bool mr_plan_check(struct mr_plan *plan, const struct mr_record *consumer);

#endif
