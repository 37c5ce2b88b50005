/* link: one connection to a Redis, which is made again when it is lost.
 * SPDX-License-Identifier: MIT
 * One thread, which runs the loop. Never blocks. Commands are pipelined and answered in order; each that was taken
 * is answered or lost once, and exactly once. Nothing is sent again: what was lost may have happened.
 *
 * A command that waits at Redis (BRPOP) must wait for less than socket_timeout: a connection with commands on the
 * way that says nothing for that long counts as lost. */
#ifndef MR_REDIS_LINK_H
#define MR_REDIS_LINK_H

#include "redis/figures.h"
#include "redis/options.h"
#include "redis/reach.h"
#include "redis/wire.h"

struct mr_redis_port {
	void (*up)(void *owner); /* logged in: commands are taken from now on */
	/* The connection was lost, or a try to make it failed; the next follows by itself. */
	void (*down)(void *owner, const mr_error *why);
	/* A message of a subscription: ["message", channel, body], ["pmessage", pattern, channel, body]. NULL: none
	 * is subscribed to. */
	void (*pushed)(void *owner, const redisReply *message);
	void *owner;
};

/* `reply` is borrowed; NULL: the command was lost, and why; an error reply (REDIS_REPLY_ERROR) comes with `why`, too.
 * What a server refuses for its state (READONLY, LOADING, MASTERDOWN) has the kind MR_CONNECTION_FORCED and may be tried
 * again; but with Sentinels, or if it has refused so for health_check_interval, it is lost, with the connection. */
typedef void mr_redis_answer(void *context, uint64_t number, const redisReply *reply,
	const mr_error *why);

struct mr_redis_link;

/* Begins to connect. The calls of the port come from the loop only, never from within a function of this file but
 * close, flush and follow; they, and the answers, may call any function of it. */
enum mr_status mr_redis_link_open(struct mr_redis_link **out, struct ev_loop *loop,
	const struct mr_redis_options *options, const struct mr_redis_port *port, mr_error *error);
/* Copies the words; they are written in the next turn of the loop, or by flush. `answer` NULL: nobody asks. MR_CLOSED:
 * it is not up; MR_NO_MEMORY: nothing was taken; MR_BAD_ARGUMENT: an UNSUBSCRIBE that names no channel. */
enum mr_status mr_redis_link_send(struct mr_redis_link *link, const mr_slice *words, size_t count,
	mr_redis_answer *answer, void *context, uint64_t number);
/* For a link whose options say that it follows: it goes where the leader is, which is up, and leaves where it was if that is
 * another place. */
void mr_redis_link_follow(struct mr_redis_link *link, const struct mr_redis_link *leader);
void mr_redis_link_flush(struct mr_redis_link *link);
/* Tries to connect at once, if it only waits for the time of its next try. */
void mr_redis_link_hurry(struct mr_redis_link *link);
bool mr_redis_link_is_up(const struct mr_redis_link *link);
size_t mr_redis_link_unsent(const struct mr_redis_link *link);  /* bytes, for back-pressure */
size_t mr_redis_link_pending(const struct mr_redis_link *link); /* commands without an answer yet */
const struct mr_redis_figures *mr_redis_link_figures(const struct mr_redis_link *link);
/* Where it goes, or went last; of Sentinels' master, before one has named it: its name. */
void mr_redis_link_place(const struct mr_redis_link *link, char out[MR_FIGURES_PLACE]);
/* Commands that have no answer are lost by this call; the port is not called. NULL is allowed. */
void mr_redis_link_close(struct mr_redis_link *link);

#endif
