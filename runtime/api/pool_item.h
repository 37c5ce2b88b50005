/* pool_item: the items of a pool: makes them, keeps idle ones, closes those that are not needed.
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
	uint32_t lent; /* occupied places: by loans, and by items being opened for an acquire */
	uint32_t idle;
	uint32_t waiting; /* waiting acquires, until the end of their wait is reported */
	uint32_t given;   /* places reserved for acquires whose end of wait is not reported yet */
	uint32_t item_numbers;
	mr_options *options;
	mr_connection *shared[2]; /* of a shared pool, by purpose */
	struct mr_map items;      /* all, by number */
	struct mr_map held;       /* the lent ones, by token */
	struct mr_node free;      /* the longest idle first */
	struct mr_node retired;   /* items lent when the pool was closed: calls on them fail */
	struct mr_pool_line line; /* empty while a place is free */
	struct mr_loans *loans;   /* the runtime's; NULL: it is not shown */
};

struct mr_pool_item {
	struct mr_node node;
	struct mr_pool *pool;
	uint32_t number;
	int purpose;
	uint64_t token; /* 0: idle */
	/* In a pooled pool, or of a channel that was retired with it; NULL: the host has freed
	 * it. */
	mr_connection *connection;
	mr_channel *channel; /* in a shared pool; NULL: the host has freed it */
	bool is_retired;     /* then it is in no map */
};

/* Updates items when the host acts on their handles. */
extern const struct mr_keeper mr_pool_item_keeper;

void mr_pool_item_show(const struct mr_pool *pool); /* its counts have changed */
/* A new item for a connection or a channel, which the pool then owns; NULL: no memory. */
struct mr_pool_item *mr_pool_item_new(struct mr_pool *pool, mr_connection *c, mr_channel *ch);
/* Removes the item from the pool and closes its handle, under `token`, unless the host keeps it.
 * Returns the number of closes that were sent. */
uint32_t mr_pool_item_drop(struct mr_pool_item *item, uint64_t token);
/* The pool is closed while the item is lent: like drop, but the handle stays closed until it is
 * buried. */
uint32_t mr_pool_item_retire(struct mr_pool_item *item, uint64_t token);
/* Frees the retired item that was lent under this token, if there is one; token 0: all. */
void mr_pool_item_bury(struct mr_pool *pool, uint64_t token);
/* Removes the connection from its pool and closes it; returns 1 if a close was sent. */
uint32_t mr_pool_item_part(mr_connection *c, uint64_t token);
/* Makes a connection with the pool's options; `error` may be NULL. */
enum mr_status mr_pool_item_connect(struct mr_pool *pool, mr_connection **out, mr_error *error);
/* Takes the longest idle item of a purpose that still works out of the list; NULL: none. */
struct mr_pool_item *mr_pool_item_take_idle(struct mr_pool *pool, int purpose);
void mr_pool_item_put_idle(struct mr_pool_item *item);
bool mr_pool_item_works(const struct mr_pool_item *item);
/* Drops the longest idle items until at most `limit` items are left, including lent ones. */
void mr_pool_item_shrink(struct mr_pool *pool, uint32_t limit);

#endif
