/* store: shared by all queues and exchanges of a broker: time, work, memory, pending work.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock; the caller sets `now` first. */
#ifndef MR_BROKER_STORE_STORE_H
#define MR_BROKER_STORE_STORE_H

#include "base/clock.h"
#include "broker/store/message.h"
#include "broker/store/route.h"

#define MR_WATERMARK_DEFAULT                                                                       \
	(2ull << 30) /* bytes of messages; RabbitMQ takes 40 % of the machine's */

struct mr_backing;
struct mr_spread;

/* The lists below hold work for later turns. A queue is at most once in `busy`; an entry is in
 * `dying`, `put_off` or `garbage` only if it is not ready in a queue; a target is in one list of ruins
 * until it is freed. */
struct mr_store {
	mr_msec now;
	bool paused;             /* a fault: nothing is delivered */
	uint64_t work, work_end; /* steps done so far; at work_end the turn is over */
	struct mr_route route;   /* of the current routing */
	struct mr_queue **heap;  /* queues with a deadline, the earliest first: see deadline.h */
	size_t heap_count, heap_capacity;
	struct mr_node busy;               /* of mr_queue */
	struct mr_node dying;              /* of mr_entry: waiting dead letters */
	struct mr_node put_off;            /* the same, which the backing refuses for now */
	struct mr_node garbage;            /* of mr_entry: to be freed */
	struct mr_node fresh_ruins, ruins; /* of mr_target.ruin: deleted in this turn; earlier */
	bool razing;
	struct mr_spread *letter; /* an unfinished dead letter to very many queues, or NULL */
	uint64_t memory;          /* bytes that count against the watermark: see mr_store_grew */
	uint64_t structure;       /* bytes of declared objects and connections */
	uint64_t watermark;       /* above it publishers are blocked; 0: never */
	bool alarm;
	bool relieved;              /* an alarm has ended, and clients were not informed yet */
	uint64_t random;            /* state of the unguessable part of names */
	struct mr_backing *backing; /* NULL: the messages are here; see backing.h */
};

void mr_store_init(struct mr_store *s, uint64_t seed, mr_msec now);
void mr_store_fini(struct mr_store *s); /* nothing may be left in it */

/* ---- turns: the caller allows a number of steps; the rest of the work waits ---- */

#define MR_WORK_UNBOUNDED UINT64_MAX
#define MR_GLANCES 8 /* objects that are only checked, for one step */
static inline void mr_store_begin_turn(struct mr_store *s, uint64_t steps)
{
	mr_list_splice(&s->ruins, &s->fresh_ruins); /* no client waits for those */
	s->work_end = steps == MR_WORK_UNBOUNDED ? steps : s->work + steps;
}
static inline bool mr_store_is_spent(const struct mr_store *s) { return s->work >= s->work_end; }
bool mr_store_has_more(const struct mr_store *s); /* true if there is work for later turns */

/* ---- memory ---- */

/* Counts messages (also uncommitted and incomplete ones), their places in queues, and unsent
 * output. Declared objects count beyond MR_STRUCTURE_FREE. */
static inline void mr_store_grew(struct mr_store *s, uint64_t bytes) { s->memory += bytes; }
void mr_store_shrank(struct mr_store *s, uint64_t bytes);
/* An object was declared or a client connected (built), or it was removed (razed): its bytes. */
static inline void mr_store_built(struct mr_store *s, uint64_t bytes) { s->structure += bytes; }
static inline void mr_store_razed(struct mr_store *s, uint64_t bytes) { s->structure -= bytes; }
void mr_store_drop(struct mr_store *s, struct mr_message *m); /* one reference less */
/* Declared objects beyond this count, too: a client could fill the memory with bindings. */
#define MR_STRUCTURE_FREE (16u << 20)
static inline uint64_t mr_store_memory(const struct mr_store *s)
{
	uint64_t free = MR_STRUCTURE_FREE;
	return s->memory + (s->structure > free ? s->structure - free : 0);
}
/* Raises the alarm, or ends it a tenth below the watermark. `afresh`: the watermark has changed. */
void mr_store_judge(struct mr_store *s, bool afresh);
static inline void mr_store_watch(struct mr_store *s)
{
	if (s->alarm || (s->watermark && mr_store_memory(s) > s->watermark))
		mr_store_judge(s, false);
}

/* Writes "prefix" and 22 unguessable letters; returns the length. */
size_t mr_store_name(struct mr_store *s, char out[64], const char *prefix);

#endif
