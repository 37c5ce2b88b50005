/* plan: the steps of a recovery, in the order in which the broker is asked.
 * SPDX-License-Identifier: MIT
 * Pure. A plan is made from a topology alone: it asks nobody, knows no time, and changes nothing but itself. When a
 * step fails, the plan is amended; only then it notes in the topology which of the others wait for that. */
#ifndef MR_LINK_PLAN_H
#define MR_LINK_PLAN_H

#include "amqp/topology.h"

enum mr_step_kind {
	MR_STEP_OPEN, /* the channel, with a new epoch */
	MR_STEP_QOS,
	MR_STEP_GLOBAL_QOS,
	MR_STEP_CONFIRM,
	MR_STEP_TX,
	MR_STEP_RECORD, /* a declare, bind or consume again */
	MR_STEP_SCRATCH, /* a channel to ask on what may cost the channel, or whose channel is closed */
	MR_STEP_PROBE, /* is the queue of a cancelled consumer there? Else later */
	MR_STEP_CHECK, /* and that of another one? Else it fails, without its channel */
	MR_STEP_PAUSE, /* before what is held by a dead connection is asked for again */
	MR_STEP_READY  /* the channel is the program's again; asks nothing */
};

struct mr_step {
	struct mr_node node;
	enum mr_step_kind kind;
	uint16_t channel; /* 0: the scratch channel */
	uint64_t record;  /* 0: none */
};

struct mr_plan {
	struct mr_node steps; /* of mr_step; the first is under way */
	uint32_t number;      /* counts plans: what the topology notes is noted for one of them */
	uint32_t scratch_slow_in; /* as mr_channel_record has it */
};

void mr_plan_init(struct mr_plan *plan);
void mr_plan_drop(struct mr_plan *plan);

/* Each replaces the plan: all that is recorded, with the declares or without; what is broken. False: out of
 * memory, or there is nothing to do. */
bool mr_plan_all(struct mr_plan *plan, const struct mr_topology *t, bool declares);
bool mr_plan_repairs(struct mr_plan *plan, const struct mr_topology *t);
bool mr_plan_is_due(const struct mr_topology *t); /* is there something to repair? */

/* The step under way; NULL: no plan is. It is there until the next call that changes the plan. */
const struct mr_step *mr_plan_step(const struct mr_plan *plan);
void mr_plan_next(struct mr_plan *plan); /* the step is over */
/* The step under way failed. If it took its channel along, that is opened again, with what was done on
 * it; the plan goes on behind the step, or comes back to it after a pause (`again`). Channels that do
 * not depend on this one are served first. False: no memory, the plan goes on behind the step. */
bool mr_plan_failed(struct mr_plan *plan, struct mr_topology *t, bool is_gone, bool again);
/* Looks for the queue of this consumer before the step under way, on the scratch channel. False: no memory. */
bool mr_plan_check(struct mr_plan *plan, const struct mr_record *consumer);

#endif
