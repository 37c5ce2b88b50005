/* pending: the requests of a channel that wait for the broker's answer, and how each ends.
 * SPDX-License-Identifier: MIT
 * Pure. One MR_EV_DONE for each token, never two. An answer is matched by what it carries: its method, and the
 * consumer tag or the queue's name where it has one. What timed out stays known by what will answer it
 * (docs/decisions/0012-late-answers.md has what becomes of each). */
#ifndef MR_AMQP_PENDING_H
#define MR_AMQP_PENDING_H

#include "amqp/outlet.h"

/* Stands in a consumer's number from its request on: its deliveries arrive settled. */
#define MR_CONSUMER_NO_ACK 0x80000000u

struct mr_pending {
	struct mr_node node;
	uint64_t token;   /* 0: nobody waits */
	uint32_t expects; /* the method that answers it */
	uint32_t consumer;
	mr_msec deadline;
	bool late; /* its time was up, the host was told; the answer still comes */
	const mr_error *
		fatal; /* without an answer in time the connection goes, and this is why; borrowed */
	mr_slice
		key; /* what the answer carries; empty: the broker picks it, or it carries nothing */
	bool is_of_curb; /* a step of curb.h: nobody waits, and what it says is known */
	uint8_t shown;   /* of a cancel: the size of the tag that the host knows; 0: all of it */
	bool is_declare; /* of a queue, and not a passive one */
	bool is_single_active; /* that queue has a single active consumer */
	/* Of consume and get. */
	bool may_be_curbed;  /* with these: */
	mr_table *arguments; /* its own */
	bool is_loose;       /* no prefetch bounds what will come */
	uint8_t queue_size;
	char queue[255];
};

struct mr_pending_list {    /* held by value; empty it before it goes: mr_pending_fail */
	struct mr_node all; /* of mr_pending in the order sent: answers come in the same */
	struct mr_outlet *outlet;
	uint16_t channel;
	uint32_t recovers; /* basic.recovers among them: what is settled meanwhile is not ours */
};

void mr_pending_init(struct mr_pending_list *list, struct mr_outlet *outlet, uint16_t channel);
/* Sends a method and adds the place of its answer, a copy with its key: both, or neither. */
enum mr_status mr_pending_ask(struct mr_pending_list *list, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error);
/* One that nobody waits for any more is waited for anew. */
void mr_pending_join(struct mr_pending_list *list, struct mr_pending *p, uint64_t token,
	mr_msec deadline);
/* The request that `answer` answers; NULL when it answers none. */
struct mr_pending *mr_pending_find(const struct mr_pending_list *list,
	const struct mr_method *answer);
struct mr_pending *mr_pending_take(struct mr_pending_list *list,
	const struct mr_method *answer); /* the same, taken from the list */
/* Late ones of before it, whose answer would have come before its own, are dropped: it never will. */
void mr_pending_pass(struct mr_pending_list *list, const struct mr_pending *answered);
/* Is the consume that the broker answers next one of a curb (curb.h)? */
bool mr_pending_curb_is_next(const struct mr_pending_list *list);
/* Does this answer say which question it answers, so that it is never another's? */
bool mr_pending_is_told_apart(uint32_t answer);
/* A cancel of this tag, or a consume with it, that is under way or late; NULL: none is. */
struct mr_pending *mr_pending_keyed(const struct mr_pending_list *list, uint32_t expects,
	mr_slice key);
struct mr_pending *mr_pending_first(const struct mr_pending_list *list); /* NULL: there is none */
struct mr_pending *mr_pending_last(const struct mr_pending_list *list);
bool mr_pending_is_awaited(const struct mr_pending_list *list); /* does the host wait for any? */
void mr_pending_free(struct mr_pending *p);                     /* with what is its own */
/* Ends all of them with `why`; NULL, or the last one, which is still to be answered: all before it. */
void mr_pending_fail(struct mr_pending_list *list, const mr_error *why,
	const struct mr_pending *but);
void mr_pending_expire(struct mr_pending_list *list, mr_msec now);
/* Tells that it went well; `reply` (may be NULL) is taken. Of a late one the engine alone hears, if it
 * must. */
void mr_pending_done(struct mr_pending_list *list, const struct mr_pending *p, mr_reply *reply);

#endif
