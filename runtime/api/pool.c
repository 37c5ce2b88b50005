/* pool: lends connections or channels to one borrower at a time.
 * SPDX-License-Identifier: MIT */
#include "api/pool.h"

#include <stdio.h>

#include "api/pool_request.h"
#include "api/pool_loans.h"
#include "base/alloc.h"

#define LIMIT_MAX 65535

/* ---- a pool ---- */

static enum mr_status check_options(const mr_options *options, mr_error *error)
{
	struct mr_config config = {0};
	enum mr_status st = mr_config_resolve(&config, options, error);
	mr_config_fini(&config);
	return st;
}

int mr_pool_new(mr_runtime *rt, mr_options *options, int strategy, uint32_t limit, mr_pool **out,
	mr_error *error)
{
	if (mr_handle_is_forked(rt))
		return mr_error_set(error, MR_FORKED, MR_SCOPE_POOL, 0,
			"this runtime belongs to the parent");
	if ((strategy != MR_POOLED && strategy != MR_SHARED) || !limit || limit > LIMIT_MAX)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_POOL, 0,
			"a pool is pooled or shared, and its limit is 1 to %d", LIMIT_MAX);
	enum mr_status st = check_options(options, error);
	if (st != MR_OK) return st;
	mr_pool *pool = mr_calloc(1, sizeof *pool);
	if (!pool || mr_map_put(&rt->pools, rt->pool_numbers + 1, pool) != MR_OK) {
		mr_free(pool);
		return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_POOL, 0, "out of memory");
	}
	pool->rt = rt;
	rt->keeper = &mr_pool_item_keeper;
	pool->number = ++rt->pool_numbers;
	pool->strategy = strategy;
	pool->limit = limit;
	pool->options = options;
	mr_list_init(&pool->free);
	mr_list_init(&pool->retired);
	mr_pool_request_line(pool);
	pool->loans = mr_pool_loans_begin(rt, strategy);
	mr_pool_item_show(pool);
	*out = pool;
	return MR_OK;
}

/* A channel that has ended is no longer in its connection's table, so it is freed here. */
static void free_with_runtime(struct mr_pool_item *item)
{
	mr_channel *ch = item->channel;
	if (ch && !ch->kept && ch->state == MR_HANDLE_CLOSED) mr_handle_free_channel(ch);
	mr_free(item);
}

static void free_pool(struct mr_pool *pool)
{
	if (pool->loans) mr_loans_end(pool->loans);
	mr_map_fini(&pool->items);
	mr_map_fini(&pool->held);
	mr_options_free(pool->options);
	mr_free(pool);
}

void mr_pool_free_all(mr_runtime *rt)
{
	struct mr_pool *pool;
	struct mr_pool_item *item;
	struct mr_pool_request *r;
	size_t at = 0;
	while ((pool = mr_map_next(&rt->pools, &at, NULL))) {
		struct mr_node *node;
		for (size_t i = 0; (item = mr_map_next(&pool->items, &i, NULL));)
			free_with_runtime(item);
		while ((node = mr_list_shift(&pool->retired)))
			free_with_runtime(mr_container(node, struct mr_pool_item, node));
		free_pool(pool);
	}
	for (at = 0; (r = mr_map_next(&rt->requests, &at, NULL));) mr_free(r);
	mr_map_fini(&rt->pools);
	mr_map_fini(&rt->requests);
}

void mr_pool_end_waits(mr_runtime *rt)
{
	struct mr_pool *pool;
	size_t at = 0;
	while ((pool = mr_map_next(&rt->pools, &at, NULL)))
		mr_pool_line_end(&pool->line, MR_CLOSED);
}

/* ---- places ---- */

static bool has_room(const struct mr_pool *pool) { return pool->lent + pool->idle < pool->limit; }

/* True if a place is neither lent nor reserved for a waiting request. */
static bool is_free(const struct mr_pool *pool) { return pool->lent + pool->given < pool->limit; }

/* A place may have become free: gives the free places to waiting requests. */
static void settle(struct mr_pool *pool)
{
	mr_pool_request_expire(pool->rt); /* no place goes to a request that has timed out */
	while (is_free(pool) && mr_pool_line_give(&pool->line)) pool->given++;
	mr_pool_item_show(pool);
}

static enum mr_status lend(struct mr_pool_item *item, uint64_t token, int purpose)
{
	enum mr_status st = mr_map_put(&item->pool->held, token, item);
	if (st != MR_OK) {
		mr_pool_item_put_idle(item);
		return st;
	}
	item->token = token;
	item->purpose = purpose;
	return MR_OK;
}

/* ---- making ---- */

int mr_pool_shared(mr_pool *pool, int purpose, mr_connection **out, mr_error *error)
{
	bool fits = pool->strategy == MR_SHARED && purpose >= MR_POOL_PUBLISH &&
	            purpose <= MR_POOL_CONSUME;
	if (!fits)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_POOL, 0,
			"only a shared pool has a connection to publish and one to consume");
	enum mr_status st = MR_OK;
	if (!pool->shared[purpose]) st = mr_pool_item_connect(pool, &pool->shared[purpose], error);
	if (st == MR_OK) *out = pool->shared[purpose];
	return st;
}

static enum mr_status serve_new_connection(struct mr_pool *pool, struct mr_pool_item **out)
{
	mr_connection *c;
	enum mr_status st = mr_pool_item_connect(pool, &c, NULL);
	if (st != MR_OK) return st;
	*out = mr_pool_item_new(pool, c, NULL);
	if (*out) return MR_OK;
	mr_pool_item_part(c, 0);
	return MR_NO_MEMORY;
}

/* The answer starts the next step; until then the channel has no other owner. */
static enum mr_status open_channel(mr_connection *c, uint64_t token)
{
	mr_channel *ch;
	enum mr_status st = mr_channel_open(c, token, &ch);
	if (st == MR_OK) ch->orphaned = true;
	return st;
}

static enum mr_status begin_channel(struct mr_pool *pool, uint64_t token, int purpose)
{
	mr_connection *c;
	mr_runtime *rt = pool->rt;
	enum mr_status st = mr_pool_shared(pool, purpose, &c, NULL);
	if (st != MR_OK) return st;
	bool is_open = c->state == MR_CONNECTION_OPEN;
	int step = is_open ? MR_POOL_OPENING : MR_POOL_CONNECTING;
	struct mr_pool_request *r = mr_map_get(&rt->requests, token);
	if (!r && (st = mr_pool_request_new(pool, token, purpose, step)) != MR_OK) return st;
	if (r) r->step = step;
	st = is_open ? open_channel(c, token) : (enum mr_status)mr_connection_open(c, token);
	if (st != MR_OK) mr_pool_request_free(rt, token);
	return st;
}

/* Gives an item to a request that has a place. *number: 0 while the item is being opened under the
 * token. */
static enum mr_status serve(struct mr_pool *pool, uint64_t token, int purpose, uint32_t *number)
{
	enum mr_status st = MR_OK;
	struct mr_pool_item *item =
		purpose == MR_POOL_FRESH ? NULL : mr_pool_item_take_idle(pool, purpose);
	*number = 0;
	if (!item) {
		mr_pool_item_shrink(pool, pool->limit); /* frees a place of the other purpose */
		if (pool->strategy == MR_SHARED) return begin_channel(pool, token, purpose);
		st = serve_new_connection(pool, &item);
	}
	if (st == MR_OK) st = lend(item, token, purpose);
	if (st == MR_OK) *number = item->number;
	return st;
}

/* ---- acquire ---- */

static enum mr_status check(const struct mr_pool *pool, uint64_t token, int purpose)
{
	bool known = purpose >= MR_POOL_PUBLISH && purpose <= MR_POOL_FRESH;
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	if (!mr_is_token(token) || !known) return MR_BAD_ARGUMENT;
	if (purpose == MR_POOL_FRESH && pool->strategy != MR_POOLED) return MR_BAD_ARGUMENT;
	bool is_used = mr_map_get(&pool->held, token) || mr_map_get(&pool->rt->requests, token);
	return is_used ? MR_BAD_ARGUMENT : MR_OK;
}

static enum mr_status wait_turn(struct mr_pool *pool, uint64_t token, int purpose, double timeout)
{
	if (timeout == 0) return MR_POOL_EXHAUSTED;
	mr_msec deadline = timeout > 0 ? mr_clock_now() + mr_clock_msec_of(timeout) : MR_NEVER;
	enum mr_status st = mr_pool_request_wait(pool, token, purpose, deadline);
	if (st == MR_OK) pool->waiting++;
	return st;
}

int mr_pool_acquire(mr_pool *pool, uint64_t token, int purpose, double timeout, uint32_t *item)
{
	uint32_t number = 0;
	enum mr_status st = check(pool, token, purpose);
	if (st != MR_OK) return st;
	if (purpose == MR_POOL_FRESH && (!is_free(pool) || !has_room(pool)))
		return MR_POOL_LIMIT_EXCEEDED;
	if (is_free(pool)) {
		pool->lent++;
		st = serve(pool, token, purpose, &number);
		if (st != MR_OK) pool->lent--;
	} else {
		st = wait_turn(pool, token, purpose, timeout);
	}
	if (st == MR_OK) *item = number;
	mr_pool_item_show(pool);
	return st;
}

/* ---- the steps of an acquire that had to wait ---- */

static void change_status(mr_event *ev, enum mr_status st, const char *text)
{
	ev->status = st;
	mr_reply *reply = ev->as.done.reply;
	if (!reply) reply = ev->as.done.reply = mr_calloc(1, sizeof *reply);
	if (reply) mr_error_set(&reply->error, st, MR_SCOPE_POOL, 0, "%s", text);
}

/* Returns the channel that was opened for this request; it is in its connection's table until it
 * ends. */
static mr_channel *opened(const mr_runtime *rt, const mr_event *ev)
{
	mr_connection *c = mr_handle_find_connection(rt, ev->connection);
	mr_channel *ch = c && ev->channel < c->channel_slots ? c->channels[ev->channel] : NULL;
	return ch && ch->open_token == ev->as.done.token ? ch : NULL;
}

static enum mr_status take_channel(struct mr_pool *pool, const mr_event *ev, int purpose)
{
	mr_channel *ch = opened(pool->rt, ev);
	if (!ch || ch->state != MR_HANDLE_OPEN) return MR_CLOSED;
	struct mr_pool_item *item = mr_pool_item_new(pool, NULL, ch);
	if (!item) {
		mr_channel_free(ch);
		return MR_NO_MEMORY;
	}
	ch->orphaned = false;
	return lend(item, ev->as.done.token, purpose);
}

/* The acquire has ended without an item: frees its place. */
static bool give_up(struct mr_pool *pool, mr_event *ev, enum mr_status st)
{
	mr_pool_request_free(pool->rt, ev->as.done.token);
	pool->lent--;
	if (st != MR_OK) change_status(ev, st, mr_status_text(st));
	settle(pool);
	return true;
}

static bool turn_has_come(struct mr_pool *pool, struct mr_pool_request *r, mr_event *ev)
{
	uint32_t number;
	pool->waiting--;
	mr_pool_item_show(pool);
	if (ev->status != MR_OK) {
		mr_pool_request_free(pool->rt, ev->as.done.token);
		return true;
	}
	pool->given--;
	pool->lent++;
	enum mr_status st = serve(pool, ev->as.done.token, r->purpose, &number);
	if (st != MR_OK) return give_up(pool, ev, st);
	if (number) mr_pool_request_free(pool->rt, ev->as.done.token);
	mr_pool_item_show(pool);
	return number != 0;
}

static bool has_connected(struct mr_pool *pool, struct mr_pool_request *r, mr_event *ev)
{
	mr_connection *c = pool->shared[r->purpose];
	if (ev->status != MR_OK) return give_up(pool, ev, MR_OK);
	r->step = MR_POOL_OPENING;
	enum mr_status st = c ? open_channel(c, ev->as.done.token) : MR_CLOSED;
	return st == MR_OK ? false : give_up(pool, ev, st);
}

static bool has_opened(struct mr_pool *pool, struct mr_pool_request *r, mr_event *ev)
{
	mr_channel *ch;
	enum mr_status st;
	if (ev->status != MR_OK) {
		/* The open may still be answered: the channel is then closed. */
		if (ev->status == MR_TIMEOUT && (ch = opened(pool->rt, ev))) mr_channel_free(ch);
		return give_up(pool, ev, MR_OK);
	}
	ch = opened(pool->rt, ev);
	if (ch && ch->connection != pool->shared[r->purpose]) { /* it has been replaced */
		mr_channel_free(ch);
		st = begin_channel(pool, ev->as.done.token, r->purpose);
		return st == MR_OK ? false : give_up(pool, ev, st);
	}
	st = take_channel(pool, ev, r->purpose);
	if (st != MR_OK) return give_up(pool, ev, st);
	mr_pool_request_free(pool->rt, ev->as.done.token);
	return true;
}

bool mr_pool_answer(mr_runtime *rt, mr_event *ev)
{
	struct mr_pool_request *r = mr_map_get(&rt->requests, ev->as.done.token);
	if (!r) return true;
	if (r->step == MR_POOL_CLOSING && --r->left) return false;
	if (r->step == MR_POOL_CLOSING) {
		mr_pool_request_free(rt, ev->as.done.token);
		return true;
	}
	if (!r->pool) {
		mr_channel *ch = r->step == MR_POOL_OPENING ? opened(rt, ev) : NULL;
		if (ch) mr_channel_free(ch);
		mr_pool_request_free(rt, ev->as.done.token);
		change_status(ev, MR_CLOSED, "the pool was closed");
		return true;
	}
	if (r->step == MR_POOL_WAITING) return turn_has_come(r->pool, r, ev);
	if (r->step == MR_POOL_CONNECTING) return has_connected(r->pool, r, ev);
	return has_opened(r->pool, r, ev);
}

/* ---- giving back ---- */

static struct mr_pool_item *give_back(struct mr_pool *pool, uint64_t token)
{
	struct mr_pool_item *item = mr_map_take(&pool->held, token);
	if (!item) {
		if (token) mr_pool_item_bury(pool, token); /* lent before the close of the pool */
		return NULL;
	}
	item->token = 0;
	pool->lent--;
	return item;
}

int mr_pool_release(mr_pool *pool, uint64_t token)
{
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	struct mr_pool_item *item = give_back(pool, token);
	if (!item) return MR_BAD_ARGUMENT;
	if (mr_pool_item_works(item) && has_room(pool))
		mr_pool_item_put_idle(item);
	else
		mr_pool_item_drop(item, 0);
	settle(pool);
	return MR_OK;
}

int mr_pool_replace(mr_pool *pool, uint64_t token)
{
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	struct mr_pool_item *item = give_back(pool, token);
	if (!item) return MR_BAD_ARGUMENT;
	mr_pool_item_drop(item, 0);
	settle(pool);
	return MR_OK;
}

/* ---- looking in ---- */

uint32_t mr_pool_item(const mr_pool *pool, uint64_t token)
{
	const struct mr_pool_item *item = mr_map_get(&pool->held, token);
	return item ? item->number : 0;
}

mr_connection *mr_pool_connection(const mr_pool *pool, uint32_t number)
{
	const struct mr_pool_item *item = mr_map_get(&pool->items, number);
	return item ? item->connection : NULL;
}

mr_channel *mr_pool_channel(const mr_pool *pool, uint32_t number)
{
	const struct mr_pool_item *item = mr_map_get(&pool->items, number);
	return item ? item->channel : NULL;
}

bool mr_pool_has(const mr_pool *pool, uint32_t item)
{
	return mr_map_get(&pool->items, item) != NULL;
}

void mr_pool_count(const mr_pool *pool, mr_pool_counts *out)
{
	*out = (mr_pool_counts){pool->limit, pool->lent, pool->idle, pool->waiting};
}

/* ---- its size, and its end ---- */

int mr_pool_grow(mr_pool *pool, uint32_t n)
{
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	for (; n; n--) {
		struct mr_pool_item *item;
		if (!has_room(pool)) return MR_POOL_LIMIT_EXCEEDED;
		if (pool->strategy == MR_SHARED) continue; /* opened when it is lent */
		enum mr_status st = serve_new_connection(pool, &item);
		if (st != MR_OK) return st;
		mr_pool_item_put_idle(item);
	}
	return MR_OK;
}

int mr_pool_resize(mr_pool *pool, uint32_t limit)
{
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	if (!limit || limit > LIMIT_MAX) return MR_BAD_ARGUMENT;
	pool->limit = limit;
	mr_pool_item_shrink(pool, limit);
	settle(pool);
	return MR_OK;
}

/* Returns the number of closes that were started. */
static uint32_t close_all(struct mr_pool *pool, uint64_t token)
{
	struct mr_pool_item *item;
	uint32_t closes = 0;
	size_t at = 0;
	while ((item = mr_map_next(&pool->items, &at, NULL)))
		closes += item->token ? mr_pool_item_retire(item, token)
		                      : mr_pool_item_drop(item, token);
	for (int i = 0; i < 2; i++) {
		if (pool->shared[i]) closes += mr_pool_item_part(pool->shared[i], token);
		pool->shared[i] = NULL;
	}
	pool->waiting = pool->given = pool->lent = 0;
	mr_pool_item_show(pool);
	return closes;
}

int mr_pool_close(mr_pool *pool, uint64_t token)
{
	if (mr_handle_is_forked(pool->rt)) return MR_FORKED;
	enum mr_status st = token ? check(pool, token, MR_POOL_PUBLISH) : MR_OK;
	if (st == MR_OK && token) st = mr_pool_request_new(pool, token, 0, MR_POOL_CLOSING);
	if (st != MR_OK) return st;
	struct mr_pool_request *closing = token ? mr_map_get(&pool->rt->requests, token) : NULL;
	mr_pool_request_abandon(pool);
	uint32_t closes = close_all(pool, token);
	if (!closing) return MR_OK;
	closing->left = closes + 1; /* one more, so that it also ends if nothing was closed */
	mr_pool_request_tell(pool->rt, closing);
	return MR_OK;
}

void mr_pool_free(mr_pool *pool)
{
	mr_connection *c;
	size_t at = 0;
	if (!pool || mr_handle_is_forked(pool->rt)) return;
	if (pool->lent) {
		char count[16];
		snprintf(count, sizeof count, "%u", pool->lent);
		mr_log(&pool->rt->log, MR_LOG_WARN, "a pool was freed before all was given back",
			"lent", count, NULL);
	}
	mr_pool_request_abandon(pool);
	close_all(pool, 0);
	mr_pool_item_bury(pool, 0);
	mr_list_remove(&pool->line.node);
	mr_map_take(&pool->rt->pools, pool->number);
	while ((c = mr_map_next(&pool->rt->connections, &at, NULL)))
		if (c->pool == pool) c->pool = NULL;
	free_pool(pool);
}
