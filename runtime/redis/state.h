/* state: what the parts of the Redis store share.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_STATE_H
#define MR_REDIS_STATE_H

#include "base/buffer.h"
#include "base/ev.h"
#include "base/map.h"
#include "redis/scripts.h"
#include "broker/store/backing.h"
#include "broker/store/queue.h"
#include "config/redis_address.h"
#include "redis/envelope.h"
#include "redis/layout.h"
#include "redis/link.h"
#include "redis/port.h"

/* What it knows of a fetched message. */
struct mr_taken {
	struct mr_promise promise; /* while it goes back */
	struct mr_redis_store *redis;
	struct mr_node node; /* in mr_redis_store.taken; then .backs; after a loss .returning */
	char *list;          /* set when it goes back: where to */
	uint64_t number;     /* in the order of taking */
	uint64_t after;      /* it goes back when so many TAKEs are answered */
	uint8_t step;        /* its place in options.steps */
	char tag[];          /* its field of `unacked` */
};

struct mr_window {               /* the messages of one queue that are fetched, or waited for */
	struct mr_node node;     /* in mr_redis_store.windows */
	struct mr_queue *queue;  /* NULL: it has ended */
	unsigned asked;          /* answers that are due */
	bool is_dry;             /* it was empty: a change will be heard */
	bool is_watched;         /* Redis has said that it is empty, and will tell of a change */
	bool has_changed;        /* heard since it was asked whether it is empty */
	uint64_t again;          /* the round in which it is asked though nothing was heard */
	struct mr_node hearings; /* of channels of fanout exchanges: see fanout.c */
	uint64_t heard;          /* the last message of those that it has got, by its number */
};

struct mr_fanout {
	struct mr_layout layout;
	char *prefix;                      /* fanout_prefix */
	struct mr_map subscriptions;       /* by their patterns */
	size_t unheard;                    /* of them, those that Redis has not answered yet */
	struct mr_node joining;            /* binds that wait for an answer */
	uint64_t number;                   /* of the current message */
	char tag[MR_ENVELOPE_TAG_MAX + 1]; /* its delivery tag */
	struct mr_buffer names[2];         /* scratch */
};

struct mr_redis_store {
	struct mr_backing backing; /* first */
	struct mr_store *store;
	struct mr_redis_store_port port;
	struct mr_redis_link *link, *ear;
	struct ev_loop *loop;
	ev_timer due;    /* the next delayed message */
	mr_msec due_at;  /* while the timer runs */
	ev_timer rounds; /* renews, restores, looks at dry queues */
	char *prefix;
	mr_msec visibility;
	int steps[MR_REDIS_STEPS_MAX];
	int step_count;
	char sha[MR_SCRIPT_MAX][41];
	bool is_up;
	bool is_tracked; /* changes are told */
	uint64_t round;  /* so many seconds it has run */
	bool is_told;    /* that it is up: subscriptions come first */
	bool is_met;     /* it has said who it is, or will not: see hello.c */
	char version[24], role[16];
	mr_error ear_why; /* why `ear` is not up; its kind is MR_OK while it is */
	long long ear_id; /* of the connection that is told of changes; 0: it is not up */
	struct mr_fanout fanout;
	mr_msec renewed; /* when the taken ones were renewed last */
	struct mr_node windows, taken, backs, returning;
	struct mr_node *last_back; /* where the last one was put in; or NULL */
	uint64_t taken_count;      /* so far */
	uint64_t takes, answers;   /* TAKEs that were sent, and answered */
	struct mr_buffer acks;     /* tags, each with its zero byte */
	size_t ack_count;
	char taker[40];   /* the end of the names of what it takes, its own */
	bool is_in_doubt; /* an answer with messages may have been lost */
	mr_msec doubtful; /* since then: when the first of them was asked for */
	char doubted[40]; /* the taker of that time, while they are not reclaimed; or "" */
	bool acks_wait;   /* Redis has refused some: the next round tries again */
	uint64_t tag_high, tag_low; /* of the next delivery tag */
	struct mr_buffer text;      /* scratch */
};

#define MR_REDIS_INVALID "moonrabbit.invalid" /* the list of what was put aside */
#define MR_REDIS_KEY_MAX 600 /* bytes of a key: prefix and name have at most 255 each */

#endif
