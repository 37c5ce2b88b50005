/* pool_item: what a pool lends: made, kept while it is idle, closed when it is of no more use.
 * SPDX-License-Identifier: MIT
 * Host thread only. */
#ifndef MR_API_POOL_ITEM_H
#define MR_API_POOL_ITEM_H

#include "api/handle.h"
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
	struct mr_node retired;   /* items whose handles only say that the pool was closed */
	struct mr_pool_line line; /* empty while a place is free */
};

struct mr_pool_item {
	struct mr_node node;
	struct mr_pool *pool;
	uint32_t number;
	int purpose;
	uint64_t token; /* 0: idle */
	/* Of a pooled one, or of a channel that was retired with it; NULL: the host has freed it. */
	mr_connection *connection;
	mr_channel *channel; /* of a shared one, likewise */
	bool is_retired;     /* then it is in no map */
};

/* What becomes of items when the host acts on their handles. */
extern const struct mr_keeper mr_pool_item_keeper;

/* A new one around a connection or a channel, which is the pool's from then on; NULL: no memory. */
struct mr_pool_item *mr_pool_item_new(struct mr_pool *pool, mr_connection *c, mr_channel *ch);
/* Takes the item out of the pool and closes what it stood for, under `token`, unless the host keeps it.
 * Returns how many closes are on their way. */
uint32_t mr_pool_item_drop(struct mr_pool_item *item, uint64_t token);
/* The pool is closed while this one is lent: as drop, but its handle stays, and says so, until it is buried. */
uint32_t mr_pool_item_retire(struct mr_pool_item *item, uint64_t token);
/* The retired one that was lent under this token, if there is one; token 0: all. */
void mr_pool_item_bury(struct mr_pool *pool, uint64_t token);
/* Gives the connection up: 1 if a close is on its way. */
uint32_t mr_pool_item_part(mr_connection *c, uint64_t token);
/* A connection of the pool's options; *error may be NULL. */
enum mr_status mr_pool_item_connect(struct mr_pool *pool, mr_connection **out, mr_error *error);
/* The longest idle of a purpose that still works; NULL: none. It is in no list then. */
struct mr_pool_item *mr_pool_item_take_idle(struct mr_pool *pool, int purpose);
void mr_pool_item_put_idle(struct mr_pool_item *item);
bool mr_pool_item_works(const struct mr_pool_item *item);
/* Drops the longest idle until no more than `limit` are left, lent ones included. */
void mr_pool_item_shrink(struct mr_pool *pool, uint32_t limit);

#endif
