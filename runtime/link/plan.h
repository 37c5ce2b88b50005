/* plan: the steps of a recovery, in the order in which the broker is asked.
 * SPDX-License-Identifier: MIT
 * I/O thread; the other half of recovery.c. */
#ifndef MR_LINK_PLAN_H
#define MR_LINK_PLAN_H

#include "link/recovery.h"

#define MR_RECOVERY_OURS (UINT64_C(1) << 63)   /* marks the tokens of recovery's own requests */
#define MR_RECOVERY_EPOCHS (UINT32_C(1) << 31) /* and its epochs: the host's are below */

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
	uint64_t record;
};

#define MR_POLICY_TIME 1000 /* ms for the host's policy to answer */

/* On an open connection: a try is planned to bring back what the broker ended (repair.c): this channel, or
 * consumers (0). `why` may be NULL: then `kind` says it. */
void mr_repair_plan(struct mr_recovery *r, uint16_t channel, const mr_error *why, int kind);
void mr_repair_due(struct ev_loop *loop, ev_timer *timer, int revents);
/* The host's policy: in so many ms, or never (UINT64_MAX). */
void mr_repair_decide(struct mr_recovery *r, uint64_t delay);

/* Each replaces the plan; false: out of memory, or there is nothing to do. */
bool mr_plan_all(struct mr_recovery *r, bool topology);
bool mr_plan_repairs(struct mr_recovery *r);
bool mr_plan_is_due(const struct mr_recovery *r); /* is there something to repair? */
/* The step under way; NULL: no plan is. It is there until the next call that changes the plan. */
struct mr_step *mr_plan_step(const struct mr_recovery *r);
void mr_plan_next(struct mr_recovery *r); /* the step is over */
/* The step under way failed. If it took its channel along, that is opened again, with what was done on
 * it; the plan goes on behind the step, or comes back to it after a pause (`again`). Channels that do
 * not depend on this one are served first. False: no memory, the plan goes on behind the step. */
bool mr_plan_failed(struct mr_recovery *r, bool is_gone, bool again);
/* Looks for the queue of the consumer of this step first, on the scratch channel. False: no memory. */
bool mr_plan_check(struct mr_recovery *r, const struct mr_record *consumer);
void mr_plan_drop(struct mr_recovery *r);

/* What recovery.c and replay.c share. */
void mr_recovery_push(struct mr_recovery *r, const mr_event *event); /* to the host, as it is */
double mr_recovery_chance(struct mr_recovery *r);                    /* 0 to 1, without 1 */
/* Recovery's error is why; the host is told. */
void mr_recovery_tell_consumer_failed(struct mr_recovery *r, const struct mr_record *record);
void mr_recovery_give_channel_up(struct mr_recovery *r, uint16_t number);
void mr_recovery_drop_report(struct mr_recovery *r);

#endif
