/* plan: the steps of a recovery, in tracks: one for each channel, in the order of its requests.
 * SPDX-License-Identifier: MIT
 * Pure. A plan is made only from a topology: it calls nothing else, does not know the time, and
 * changes only itself and the marks of the queues and exchanges that it declares. The tracks are
 * independent, except that a step waits for the declare of what it needs: mr_plan_is_ready. */
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
	MR_STEP_CHECK,  /* checks another consumer's queue; if it is missing, only that one fails */
	MR_STEP_LOOK,   /* checks whether the broker knows a consumer that gets no messages */
	MR_STEP_CANCEL, /* a consumer that it does not know: its tag may still be in use */
	MR_STEP_PAUSE,  /* waits before an object held by a dead connection is requested again */
	MR_STEP_READY   /* gives the channel back to the program; sends nothing */
};

struct mr_step {
	struct mr_node node;
	enum mr_step_kind kind;
	uint16_t channel;   /* 0: the scratch channel */
	uint64_t record;    /* 0: none */
	bool is_counted_on; /* a declare or bind, counted in `topology_left` */
};

struct mr_track {
	struct mr_node node;
	uint16_t channel;       /* 0: objects whose channel is closed */
	struct mr_node steps;   /* of mr_step, at least one; the first is the current one */
	uint32_t number;        /* the plan's as the track was added: later marks are newer */
	bool is_whole;          /* of a recovery of the whole connection, not of a repair */
	struct mr_asked *asked; /* of replay, which frees it before the track */
};

struct mr_plan {
	struct mr_node tracks; /* of mr_track, in the order of their channels */
	struct mr_map by_channel;
	uint32_t number;      /* counts what was added: marks in the topology have such a number */
	uint32_t declares_in; /* the number of the last mr_plan_all */
	uint32_t topology_left; /* declares and binds that have not been tried */
	uint32_t whole_left;    /* tracks */
};

void mr_plan_init(struct mr_plan *plan);
void mr_plan_drop(struct mr_plan *plan);
void mr_plan_fini(struct mr_plan *plan);
bool mr_plan_is_empty(const struct mr_plan *plan);

/* Replaces the plan by all records, with or without declares. False: out of memory, or there is
 * nothing to do. */
bool mr_plan_all(struct mr_plan *plan, struct mr_topology *t, bool declares);
/* Adds all broken objects whose channel has no track. False: out of memory, or nothing was added. */
bool mr_plan_repairs(struct mr_plan *plan, const struct mr_topology *t);
/* True if the channel, or a consumer of it, is to be repaired. */
bool mr_plan_is_due(const struct mr_topology *t, uint16_t channel);

struct mr_track *mr_plan_track(const struct mr_plan *plan, uint16_t channel); /* NULL: none */
/* Iterates in order; start with NULL. The track may be ended between two calls only if the next one
 * was taken before. */
struct mr_track *mr_plan_next_track(const struct mr_plan *plan, const struct mr_track *after);
/* The current step; NULL: the track has no more, and must be ended. */
const struct mr_step *mr_plan_step(const struct mr_track *track);
/* False: the current step needs a queue or exchange that a track has not declared yet. */
bool mr_plan_is_ready(const struct mr_plan *plan, const struct mr_topology *t,
	const struct mr_track *track);
/* The current step has ended. */
void mr_plan_next(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track);
void mr_plan_end_track(struct mr_plan *plan, struct mr_track *track); /* frees it */
/* The current step failed. If its channel was closed (`is_gone`), that is opened again, and its
 * earlier steps are repeated. The track continues after the step, or repeats it after a pause
 * (`again`). False: no memory, the track continues after the step. */
bool mr_plan_failed(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track,
	bool is_gone, bool again);
/* The broker closed the track's channel between two steps: opens it again, and repeats its earlier
 * steps, before the current one. False: no memory; or the track only repairs, and the next repair
 * will restore all of the channel. */
bool mr_plan_reopen(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track);
/* Inserts a check of this consumer's queue before the current step, on the scratch channel. False:
 * no memory. */
bool mr_plan_check(struct mr_plan *plan, struct mr_track *track, const struct mr_record *consumer);

/* Adds a look at a consumer. False: no memory. */
bool mr_plan_look(struct mr_plan *plan, const struct mr_record *consumer);
/* Replaces the current step, a look, by the cancel of its consumer. False: no memory, the track
 * continues after the step. */
bool mr_plan_cancel(struct mr_plan *plan, const struct mr_topology *t, struct mr_track *track);

#endif
