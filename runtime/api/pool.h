/* pool: the host's side of pools: what is lent and what is free.
 * SPDX-License-Identifier: MIT
 * Host thread only. An acquire that finds a free place is served at once; else it waits in the pool's line
 * (api/pool_line), and a place that comes free is set aside for the first in line until the host's next poll
 * tells of it (api/waits). */
#ifndef MR_API_POOL_H
#define MR_API_POOL_H

#include "api/handle.h"
#include "api/pool_line.h"
#include "base/list.h"

struct mr_pool {
	mr_runtime *rt;
	uint32_t number;
	int strategy;
	uint32_t limit;
	uint32_t lent; /* places taken: by who holds one, and by who has one opened */
	uint32_t idle;
	uint32_t waiting; /* in the line, or until the end of their wait was told */
	uint32_t given;   /* places set aside for those whose turn has come, until that was told */
	uint32_t item_numbers;
	mr_options *options;
	mr_connection *shared[2]; /* of a shared pool, by purpose */
	struct mr_map items;      /* all, by number */
	struct mr_map held;       /* the lent ones, by token */
	struct mr_node free;      /* the longest idle first */
	struct mr_pool_line line; /* empty while a place is free */
};

struct mr_pool_item {
	struct mr_node node;
	struct mr_pool *pool;
	uint32_t number;
	int purpose;
	uint64_t token;            /* 0: idle */
	mr_connection *connection; /* of a pooled one; NULL: the host has freed it */
	mr_channel *channel;       /* of a shared one, likewise */
};

/* What an MR_EV_DONE is still to come for. */
struct mr_pool_request {
	struct mr_pool_waiter waiter; /* in the pool's line, then in rt->waits.ended */
	struct mr_pool *pool;         /* NULL: it was closed meanwhile */
	uint64_t token;
	enum mr_status status; /* how its wait has ended */
	int purpose;
	enum { MR_POOL_WAITING, MR_POOL_CONNECTING, MR_POOL_OPENING, MR_POOL_CLOSING } step;
	uint32_t left; /* CLOSING: so many answers */
};

/* ---- items ---- */

/* A new one around a connection or a channel, which is the pool's from then on; NULL: no memory. */
struct mr_pool_item *mr_pool_item_new(struct mr_pool *pool, mr_connection *c, mr_channel *ch);
/* Takes the item out of the pool and closes what it stood for, under `token`, unless the host keeps it.
 * Returns how many closes are on their way. */
uint32_t mr_pool_item_drop(struct mr_pool_item *item, uint64_t token);
/* Gives the connection up: 1 if a close is on its way. */
uint32_t mr_pool_part(mr_connection *c, uint64_t token);
/* A connection of the pool's options; *error may be NULL. */
enum mr_status mr_pool_connect(struct mr_pool *pool, mr_connection **out, mr_error *error);
/* The longest idle of a purpose that still works; NULL: none. It is in no list then. */
struct mr_pool_item *mr_pool_take_idle(struct mr_pool *pool, int purpose);
void mr_pool_put_idle(struct mr_pool_item *item);
bool mr_pool_item_works(const struct mr_pool_item *item);
/* Drops the longest idle until no more than `limit` are left, lent ones included. */
void mr_pool_shrink(struct mr_pool *pool, uint32_t limit);

/* ---- places ---- */

static inline bool mr_pool_has_room(const struct mr_pool *pool)
{
	return pool->lent + pool->idle < pool->limit;
}
/* A place has become free, or a wait has ended: what is free goes to those who wait. */
void mr_pool_settle(struct mr_pool *pool);
/* Who has a place gets an item. *item: its number, or 0 while it is being opened under the token. */
enum mr_status mr_pool_serve(struct mr_pool *pool, uint64_t token, int purpose, uint32_t *item);

#endif
