/* pool_item: the items of a pool: makes them, keeps idle ones, closes those that are not needed.
 * SPDX-License-Identifier: MIT */
#include "api/pool_item.h"

#include "base/alloc.h"

void mr_pool_item_show(const struct mr_pool *pool)
{
	if (!pool->loans) return;
	mr_loans_write(pool->loans,
		&(mr_pool_counts){pool->limit, pool->lent, pool->idle, pool->waiting});
}

/* Frees only the item; its connection or channel has another owner now. */
static void free_item(struct mr_pool_item *item)
{
	struct mr_pool *pool = item->pool;
	if (item->node.next && !item->is_retired) pool->idle--;
	mr_pool_item_show(pool);
	mr_list_remove(&item->node);
	if (!item->is_retired) {
		if (item->token) mr_map_take(&pool->held, item->token);
		mr_map_take(&pool->items, item->number);
	}
	mr_free(item);
}

/* ---- what the host does to the handles ---- */

static void forget_channel(mr_channel *ch)
{
	struct mr_pool_item *item = ch->item;
	ch->item = NULL;
	item->channel = NULL;
	if (!item->token) free_item(item);
}

/* The items of its channels end with it; channels that had ended before are freed. */
static void forget_channels(struct mr_pool *pool, const mr_connection *c)
{
	struct mr_pool_item *item;
	size_t at = 0;
	while ((item = mr_map_next(&pool->items, &at, NULL))) {
		mr_channel *ch = item->channel;
		if (!ch || ch->connection != c) continue;
		forget_channel(ch);
		if (ch->state == MR_HANDLE_CLOSED && !ch->kept) mr_handle_free_channel(ch);
	}
}

static void forget_retired(struct mr_pool *pool, mr_connection *c)
{
	struct mr_node *node = pool->retired.next, *next;
	for (; node != &pool->retired; node = next) {
		struct mr_pool_item *item = mr_container(node, struct mr_pool_item, node);
		mr_channel *ch = item->channel;
		next = node->next;
		if (item->connection != c && (!ch || ch->connection != c)) continue;
		if (c->item == item) c->item = NULL;
		free_item(item);
		if (!ch) continue;
		ch->item = NULL;
		if (ch->state == MR_HANDLE_CLOSED && !ch->kept) mr_handle_free_channel(ch);
	}
}

/* Asks all pools, because a connection may outlive the close of its pool, and does not know the
 * pool that retired it. */
static void forget_all_retired(mr_connection *c)
{
	struct mr_pool *pool;
	size_t at = 0;
	while ((pool = mr_map_next(&c->rt->pools, &at, NULL)))
		if (c->retired || pool->strategy == MR_SHARED) forget_retired(pool, c);
	c->retired = 0;
}

static void forget(mr_connection *c)
{
	struct mr_pool *pool = c->pool;
	forget_all_retired(c);
	struct mr_pool_item *item = c->item;
	if (!pool) return;
	c->pool = NULL;
	c->item = NULL;
	for (int i = 0; i < 2; i++)
		if (pool->shared[i] == c) pool->shared[i] = NULL;
	if (pool->strategy == MR_SHARED) forget_channels(pool, c);
	if (!item) return;
	item->connection = NULL;
	if (!item->token) free_item(item);
}

static void renew(struct mr_pool *pool, mr_slice secret, int which)
{
	const char *name = which == MR_SECRET_KEY ? "ssl_options.password" : "password";
	mr_options_string(pool->options, name, secret.data, secret.size, NULL);
}

/* The pool of its channels keeps the old connection until that is freed. */
static void inherit(mr_connection *c, mr_connection *from)
{
	struct mr_pool *pool = from->pool;
	if (c->pool || c == from || from->retired) return;
	c->pool = pool;
	c->kept = from->kept;
	c->item = from->item;
	from->item = NULL;
	if (c->item) c->item->connection = c;
	for (int i = 0; i < 2; i++)
		if (pool->shared[i] == from) pool->shared[i] = c;
}

const struct mr_keeper mr_pool_item_keeper = {forget, forget_channel, inherit, renew};

/* ---- items ---- */

struct mr_pool_item *mr_pool_item_new(struct mr_pool *pool, mr_connection *c, mr_channel *ch)
{
	struct mr_pool_item *item = mr_calloc(1, sizeof *item);
	uint32_t number = pool->item_numbers + 1;
	if (!item || mr_map_put(&pool->items, number, item) != MR_OK) {
		mr_free(item);
		return NULL;
	}
	item->pool = pool;
	item->number = pool->item_numbers = number;
	item->connection = c;
	item->channel = ch;
	if (c) c->item = item;
	if (ch) ch->item = item;
	return item;
}

enum mr_status mr_pool_item_connect(struct mr_pool *pool, mr_connection **out, mr_error *error)
{
	enum mr_status st = mr_connection_new(pool->rt, pool->options, out, error);
	if (st != MR_OK) return st;
	(*out)->pool = pool;
	return MR_OK;
}

uint32_t mr_pool_item_part(mr_connection *c, uint64_t token)
{
	struct mr_command cmd = {.type = MR_CMD_LINK_CLOSE, .connection = c->number};
	if (!c->retired) c->pool = NULL;
	c->item = NULL;
	if (c->kept) return 0;
	cmd.token = c->parting = token ? token : MR_TOKEN_NOBODY;
	cmd.deadline = mr_clock_now() + c->config->close_timeout;
	if (mr_command_send(c->rt, &cmd) != MR_OK) return 0; /* it ends with the runtime */
	if (c->state == MR_CONNECTION_OPEN) c->state = MR_CONNECTION_CLOSING;
	return 1;
}

uint32_t mr_pool_item_drop(struct mr_pool_item *item, uint64_t token)
{
	mr_connection *c = item->connection;
	mr_channel *ch = item->channel;
	free_item(item);
	if (ch) {
		ch->item = NULL;
		if (!ch->kept) mr_channel_free(ch);
	}
	return c ? mr_pool_item_part(c, token) : 0;
}

static void retire_connection(struct mr_pool_item *item, mr_connection *c)
{
	item->connection = c;
	c->retired++;
}

/* The channel is closed with its connection. But a connection that was replaced, or that the host
 * keeps, stays open: then the channel is closed separately. */
static void retire_channel(struct mr_pool_item *item, mr_channel *ch)
{
	mr_connection *c = ch->connection;
	bool is_alone = c->kept || c != item->pool->shared[item->purpose];
	bool is_ended = ch->state == MR_HANDLE_CLOSED || ch->state == MR_HANDLE_CLOSING;
	if (!is_alone) retire_connection(item, c);
	if (is_ended) return;
	if (is_alone) {
		mr_channel_send_close(ch, MR_TOKEN_NOBODY); /* on failure, the runtime ends it */
	} else {
		ch->state = MR_HANDLE_CLOSING;
		ch->close_token = MR_TOKEN_NOBODY;
	}
}

/* False for a handle that the host keeps, because the host frees it. */
static bool may_retire(const struct mr_pool_item *item)
{
	if (item->channel) return !item->channel->kept;
	return item->connection && !item->connection->kept;
}

uint32_t mr_pool_item_retire(struct mr_pool_item *item, uint64_t token)
{
	struct mr_pool *pool = item->pool;
	mr_connection *c = item->connection;
	if (!may_retire(item)) return mr_pool_item_drop(item, token);
	mr_map_take(&pool->held, item->token);
	mr_map_take(&pool->items, item->number);
	mr_list_append(&pool->retired, &item->node);
	item->is_retired = true;
	if (item->channel) {
		retire_channel(item, item->channel);
		return 0;
	}
	retire_connection(item, c);
	uint32_t closes = mr_pool_item_part(c, token);
	c->item = item;
	return closes;
}

/* The host may have kept it after the close of the pool. */
static void bury(struct mr_pool_item *item)
{
	mr_connection *c = item->connection;
	mr_channel *ch = item->channel;
	if (ch) {
		ch->item = NULL;
		if (!ch->kept) mr_channel_free(ch);
	}
	if (c && c->item == item) c->item = NULL;
	free_item(item);
	if (!c || --c->retired) return;
	c->pool = NULL;
	if (!c->parting && !c->kept) mr_connection_free(c);
}

void mr_pool_item_bury(struct mr_pool *pool, uint64_t token)
{
	struct mr_node *node = pool->retired.next, *next;
	for (; node != &pool->retired; node = next) {
		struct mr_pool_item *item = mr_container(node, struct mr_pool_item, node);
		next = node->next;
		if (!token || item->token == token) bury(item);
	}
}

bool mr_pool_item_works(const struct mr_pool_item *item)
{
	const mr_channel *ch = item->channel;
	if (item->pool->strategy == MR_POOLED) return item->connection != NULL;
	if (!ch || ch->connection != item->pool->shared[item->purpose]) return false;
	return ch->state == MR_HANDLE_OPEN || ch->state == MR_HANDLE_SUSPENDED;
}

struct mr_pool_item *mr_pool_item_take_idle(struct mr_pool *pool, int purpose)
{
	struct mr_node *node = pool->free.next, *next;
	for (; node != &pool->free; node = next) {
		struct mr_pool_item *item = mr_container(node, struct mr_pool_item, node);
		next = node->next;
		if (pool->strategy == MR_SHARED && item->purpose != purpose) continue;
		if (!mr_pool_item_works(item)) {
			mr_pool_item_drop(item, 0);
			continue;
		}
		mr_list_remove(node);
		pool->idle--;
		return item;
	}
	return NULL;
}

void mr_pool_item_put_idle(struct mr_pool_item *item)
{
	item->token = 0;
	item->pool->idle++;
	mr_pool_item_show(item->pool);
	mr_list_append(&item->pool->free, &item->node);
}

void mr_pool_item_shrink(struct mr_pool *pool, uint32_t limit)
{
	while (pool->idle && pool->lent + pool->idle > limit)
		mr_pool_item_drop(mr_container(pool->free.next, struct mr_pool_item, node), 0);
}
