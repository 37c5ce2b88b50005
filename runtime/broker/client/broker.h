/* broker: what all connections of an embedded broker share: users, virtual hosts, time, memory.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock; whoever calls in sets `now` first. */
#ifndef MR_BROKER_CLIENT_BROKER_H
#define MR_BROKER_CLIENT_BROKER_H

#include "base/clock.h"
#include "base/dict.h"
#include "base/list.h"
#include "broker/store/exchange.h"
#include "broker/store/queue.h"

#define MR_WATERMARK_DEFAULT                                                                       \
	(2ull << 30) /* bytes of messages; RabbitMQ takes 40 % of the machine's */

struct mr_broker_user {
	char *name, *password;
};

/* What tests ask to go wrong. Zeroed: nothing does. */
struct mr_broker_faults {
	bool refuse_logins;
	bool pause_deliveries;
	int declare_code; /* the next declare fails with it; 0: none does */
	char declare_text[200];
};

struct mr_broker {
	mr_msec now;
	struct mr_dict users;  /* of mr_broker_user */
	struct mr_dict vhosts; /* of mr_vhost */
	struct mr_node sessions;
	size_t session_count;
	struct mr_queue **heap; /* queues with a deadline, the earliest first */
	size_t heap_count, heap_capacity;
	struct mr_route route; /* of the routing under way */
	struct mr_node dying;  /* of mr_entry: dead letters to be sent when that is done */
	bool routing, burying;
	uint64_t work, work_end; /* done so far, in steps; at work_end a turn is over */
	struct mr_node busy;     /* of mr_queue: with more to do than the turn had room for */
	struct mr_node garbage;  /* of mr_entry: to be freed */
	struct mr_node chores;   /* of mr_chore */
	struct mr_node fresh_ruins,
		ruins; /* of mr_target.ruin: gone in this turn; earlier, by themselves */
	bool razing;
	struct mr_spread *letter; /* a dead letter on its way into very many queues, or NULL */
	uint64_t memory;          /* bytes that clients make it hold: see mr_broker_grew */
	uint64_t structure;       /* bytes of what has been declared, and of who is connected */
	uint64_t watermark;       /* above it publishers are blocked; 0: never */
	bool alarm;
	bool blocked_by_hand; /* a fault: blocked whatever the memory */
	bool seal_guest;      /* guest may not log in (a non-loopback address is served) */
	uint64_t names;       /* given so far to queues and consumers */
	uint64_t random;      /* state of the names' unguessable part */
	struct mr_broker_faults faults;
};

/* *gives* a broker with the virtual host "/" and the user guest. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now);
/* All sessions must be gone. Takes NULL. */
void mr_broker_close(struct mr_broker *b);
enum mr_status mr_broker_add_user(struct mr_broker *b, mr_slice name, mr_slice password);
enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name);
struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name);
bool mr_broker_login(const struct mr_broker *b, mr_slice user, mr_slice password);

/* Does what is due (times to live, expiring queues) at b->now. */
void mr_broker_tick(struct mr_broker *b);
mr_msec mr_broker_deadline(const struct mr_broker *b); /* when tick is wanted; MR_NEVER */
/* A queue's next deadline may have changed. */
void mr_broker_schedule(struct mr_broker *b, struct mr_queue *q);
void mr_broker_unschedule(struct mr_broker *b, struct mr_queue *q);

/* ---- turns: whoever calls in gives so many steps; what they do not suffice for waits ---- */

#define MR_WORK_UNBOUNDED UINT64_MAX
#define MR_GLANCES 8 /* things that are only looked at, for one step */
static inline void mr_broker_begin_turn(struct mr_broker *b, uint64_t steps)
{
	mr_list_splice(&b->ruins, &b->fresh_ruins); /* nobody waits for those */
	b->work_end = steps == MR_WORK_UNBOUNDED ? steps : b->work + steps;
}
static inline bool mr_broker_is_spent(const struct mr_broker *b) { return b->work >= b->work_end; }
/* Goes on with what had to wait. False: there is nothing left. */
bool mr_broker_resume(struct mr_broker *b);
bool mr_broker_has_more(const struct mr_broker *b);
/* The queue has more to do. */
void mr_broker_is_busy(struct mr_broker *b, struct mr_queue *q);
/* Frees an entry that belongs to no queue any more, by and by. */
void mr_broker_discard(struct mr_broker *b, struct mr_entry *e);
void mr_broker_sweep(struct mr_broker *b); /* those of b->garbage, as far as the turn goes */

/* ---- memory ---- */

/* What counts: messages (also those that a transaction holds, or of which only a part has come), their
 * places in queues, and what has not been sent. What has been declared counts when it is very much. */
static inline void mr_broker_grew(struct mr_broker *b, uint64_t bytes) { b->memory += bytes; }
void mr_broker_shrank(struct mr_broker *b, uint64_t bytes);
/* Something was declared or connected, or is gone: so many bytes more or less. */
static inline void mr_broker_built(struct mr_broker *b, uint64_t bytes) { b->structure += bytes; }
static inline void mr_broker_razed(struct mr_broker *b, uint64_t bytes) { b->structure -= bytes; }
void mr_broker_drop(struct mr_broker *b, struct mr_message *m); /* one reference less */
/* Beyond this, what has been declared counts as well: a client may fill the memory with bindings. */
#define MR_STRUCTURE_FREE (16u << 20)
static inline uint64_t mr_broker_memory(const struct mr_broker *b)
{
	uint64_t free = MR_STRUCTURE_FREE;
	return b->memory + (b->structure > free ? b->structure - free : 0);
}
/* Publishers are blocked when it has grown too much. */
void mr_broker_judge_memory(struct mr_broker *b);
static inline void mr_broker_watch_memory(struct mr_broker *b)
{
	if (b->alarm || (b->watermark && mr_broker_memory(b) > b->watermark))
		mr_broker_judge_memory(b);
}
/* The watermark has changed, or who blocks by hand: all sessions are told. */
void mr_broker_check_memory(struct mr_broker *b);
static inline bool mr_broker_is_blocked(const struct mr_broker *b)
{
	return b->alarm || b->blocked_by_hand;
}

void mr_broker_pump_all(struct mr_broker *b); /* every queue delivers what it may */

/* Writes "prefix" and 22 letters that nobody guesses; returns the length. */
size_t mr_broker_name(struct mr_broker *b, char out[64], const char *prefix);

#endif
