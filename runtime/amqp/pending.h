/* pending: the requests of a channel that wait for the broker's answers, and the end of each.
 * SPDX-License-Identifier: MIT
 * Pure. Exactly one MR_EV_DONE for each token. An answer is matched by its content: its method, and
 * its consumer tag or queue name, if it has one. A request that timed out stays in the list until
 * its answer arrives (see docs/decisions/0012-late-answers.md). */
#ifndef MR_AMQP_PENDING_H
#define MR_AMQP_PENDING_H

#include "amqp/outlet.h"

/* A bit of a consumer's number, from its request on: it consumes without acks. */
#define MR_CONSUMER_NO_ACK 0x80000000u

struct mr_pending {
	struct mr_node node;
	uint64_t token;   /* 0: it has no owner */
	uint32_t expects; /* the method that answers it */
	uint32_t consumer;
	mr_msec deadline;
	bool late;             /* it timed out, which was reported; the answer is still expected */
	const mr_error *fatal; /* if it times out, the connection ends for this reason; borrowed */
	mr_slice key;          /* of the answer; empty: it has none, or the broker chooses it */
	bool is_of_curb;       /* a step of curb.h: it has no owner, and its result is known */
	uint8_t shown;   /* of a cancel: the size of the tag that the host knows; 0: all of it */
	bool is_declare; /* of a queue, and not passive */
	bool is_single_active; /* that queue has a single active consumer */
	/* Of consume and get. */
	bool may_be_curbed;  /* with the following fields */
	mr_table *arguments; /* owned */
	bool is_loose;       /* no prefetch limits the deliveries */
	uint8_t queue_size;
	char queue[255];
};

struct mr_pending_list {    /* held by value; empty it by mr_pending_fail before it is freed */
	struct mr_node all; /* of mr_pending in the order sent: answers come in the same order */
	struct mr_outlet *outlet;
	uint16_t channel;
	uint32_t recovers; /* pending basic.recovers: while there is one, settles are ignored */
};

void mr_pending_init(struct mr_pending_list *list, struct mr_outlet *outlet, uint16_t channel);
/* Sends a method and adds a copy of `answer` with its key to the list: both, or neither. */
enum mr_status mr_pending_ask(struct mr_pending_list *list, const struct mr_method *method,
	const struct mr_pending *answer, mr_error *error);
/* Gives a late request a new owner, which waits for the same answer. */
void mr_pending_join(struct mr_pending_list *list, struct mr_pending *p, uint64_t token,
	mr_msec deadline);
/* The request that `answer` belongs to, or NULL. */
struct mr_pending *mr_pending_find(const struct mr_pending_list *list,
	const struct mr_method *answer);
struct mr_pending *mr_pending_take(struct mr_pending_list *list,
	const struct mr_method *answer); /* the same, and removes it from the list */
/* Drops earlier late requests: their answers would have come before this one, so they never
 * will. */
void mr_pending_pass(struct mr_pending_list *list, const struct mr_pending *answered);
/* True if the next consume that the broker answers is one of a curb (curb.h). */
bool mr_pending_curb_is_next(const struct mr_pending_list *list);
/* True if this answer has a key, so that it cannot belong to another request. */
bool mr_pending_is_told_apart(uint32_t answer);
/* A pending or late cancel of this tag, or consume with it; NULL: there is none. */
struct mr_pending *mr_pending_keyed(const struct mr_pending_list *list, uint32_t expects,
	mr_slice key);
struct mr_pending *mr_pending_first(const struct mr_pending_list *list); /* NULL: there is none */
struct mr_pending *mr_pending_last(const struct mr_pending_list *list);
bool mr_pending_is_awaited(const struct mr_pending_list *list); /* true if one has an owner */
void mr_pending_free(struct mr_pending *p);                     /* with all that it owns */
/* Ends all requests with `why`, or, if `but` is given (the last one, which is still to be
 * answered), all before it. */
void mr_pending_fail(struct mr_pending_list *list, const mr_error *why,
	const struct mr_pending *but);
void mr_pending_expire(struct mr_pending_list *list, mr_msec now);
/* Reports success; `reply` (may be NULL) is taken. The answer to a late request is only reported to
 * the engine, if it needs it. */
void mr_pending_done(struct mr_pending_list *list, const struct mr_pending *p, mr_reply *reply);

#endif
