/* gateway: a server whose messages are kept by Redis: its connections follow Redis's.
 * SPDX-License-Identifier: MIT */
#include "broker/server/gateway.h"

#include <string.h>

#include "base/alloc.h"
#include "broker/client/pledge.h"
#include "broker/server/bulletin.h"
#include "broker/store/cascade.h"
#include "broker/store/dead_letter.h"
#include "config/redis_address.h"
#include "redis/store.h"

#define PATIENCE 3000 /* ms; less than connect_timeout, 5 s */
#define FAREWELL 2000 /* ms for Redis to answer at the end; less than bridge/ending's BROKER_TIME */
#define UNSENT_MOST (16u << 20) /* bytes for Redis, above which publishers are blocked */

struct waiting { /* a client that came before Redis was reached */
	struct mr_node node;
	struct mr_stream *stream;
};

struct mr_gateway {
	struct mr_wire *wire;
	struct mr_redis_store *redis;
	struct mr_node waiting;
	ev_timer patience; /* of those who wait, from the first one on */
	mr_msec lost;      /* when it was lost; 0: it is there, or was never */
	bool is_up, was_up;
	struct mr_bulletin bulletin;
	struct mr_notices board;
};

struct mr_notices *mr_gateway_notices(struct mr_gateway *g) { return g ? &g->board : NULL; }

bool mr_gateway_is_url(const char *text) { return mr_redis_address_is(mr_slice_str(text)); }

static void open_waiting(struct mr_gateway *g)
{
	struct mr_node *node;
	ev_timer_stop(g->wire->loop, &g->patience);
	while ((node = mr_list_shift(&g->waiting))) {
		struct waiting *w = mr_container(node, struct waiting, node);
		mr_peer_open(g->wire, w->stream);
		mr_free(w);
	}
}

static void turn(void *owner) { mr_wire_begin_turn(((struct mr_gateway *)owner)->wire); }

static void up(void *owner)
{
	struct mr_gateway *g = owner;
	memset(&g->wire->broker->outage, 0, sizeof g->wire->broker->outage);
	g->is_up = g->was_up = true;
	g->lost = 0;
	mr_bulletin_up(&g->bulletin, g->redis);
	open_waiting(g);
}

static bool is_refusal(const mr_error *why)
{
	return why->kind == MR_ACCESS_REFUSED || why->kind == MR_AUTHENTICATION_FAILED ||
	       why->kind == MR_VHOST_ACCESS_REFUSED;
}

/* A restart is over soon: who comes meanwhile waits for it, instead of trying again ever later. */
static bool is_hopeful(struct mr_gateway *g, const mr_error *why)
{
	mr_msec now = mr_clock_now();
	/* It is loading its data, or has lost its master: it is back soon, too. */
	bool is_there = why->kind == MR_CONNECTION_FORCED;
	if (!g->was_up && !is_there) return false;
	if (is_refusal(why)) return false;
	if (!g->lost) g->lost = now;
	return now - g->lost < PATIENCE;
}

static void down(void *owner, const mr_error *why)
{
	struct mr_gateway *g = owner;
	g->wire->broker->outage = *why;
	mr_bulletin_down(&g->bulletin, g->redis, why);
	mr_wire_shut(g->wire, 320, why->text);
	mr_pledge_lose(g->wire->broker);
	mr_dead_letter_lose(&g->wire->broker->store);
	g->is_up = false;
	if (!is_hopeful(g, why)) open_waiting(g);
}

/* They are told what is known, before their own patience ends: the try that is under way may take longer. */
static void on_patience(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_gateway *g = timer->data;
	mr_error *outage = &g->wire->broker->outage;
	(void)loop;
	(void)revents;
	mr_wire_begin_turn(g->wire);
	if (!outage->kind)
		mr_error_set(outage, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0,
			"Redis has not answered within %d s", PATIENCE / 1000);
	open_waiting(g);
}

static void round_over(void *owner)
{
	struct mr_gateway *g = owner;
	mr_pledge_retry(g->wire->broker);
	mr_dead_letter_retry(&g->wire->broker->store);
	mr_bulletin_round(&g->bulletin, g->redis);
}

static void blocked(void *owner)
{
	struct mr_gateway *g = owner;
	mr_bulletin_blocked(&g->bulletin, g->wire->broker);
}

static void refused(void *owner, const struct mr_pledge *p)
{
	mr_bulletin_refused(&((struct mr_gateway *)owner)->bulletin, p);
}

static struct mr_redis_store_options options_of(const struct mr_redis_address *a)
{
	static const enum mr_backing_order orders[] = {[MR_REDIS_ROUND_ROBIN] = MR_ORDER_TURNS,
		[MR_REDIS_SORTED] = MR_ORDER_NAMES,
		[MR_REDIS_PRIORITY] = MR_ORDER_CONSUMERS};
	struct mr_redis_store_options o = {
		.link = {.host = a->host,
			.port = a->port,
			.path = a->path,
			.sentinels = a->sentinels,
			.sentinel_count = a->sentinel_count,
			.service = a->service,
			.sentinel_user = a->sentinel_user,
			.sentinel_password = a->sentinel_password,
			.use_tls = a->use_tls,
			.sentinel_tls = a->sentinel_tls,
			.tls = {.ca_certs = a->ca_certs},
			.user = a->user,
			.password = a->password,
			.db = a->db,
			.socket_timeout = a->socket_timeout,
			.health_check_interval = a->health_check_interval},
		.prefix = a->global_keyprefix,
		.fanout_prefix = a->fanout_prefix,
		.fanout_patterns = a->fanout_patterns,
		.visibility = a->visibility_timeout,
		.step_count = (int)a->priority_step_count,
		.order = orders[a->order]};
	memcpy(o.steps, a->priority_steps, sizeof o.steps);
	return o;
}

enum mr_status mr_gateway_open(struct mr_gateway **out, struct mr_wire *wire, const char *url,
	mr_error *error)
{
	struct mr_gateway *g = mr_calloc(1, sizeof *g);
	struct mr_redis_address address = {0};
	struct mr_redis_store_port port = {turn, up, down, round_over, g};
	if (!g) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506, "out of memory");
	g->wire = wire;
	mr_list_init(&g->waiting);
	ev_init(&g->patience, on_patience);
	g->patience.data = g;
	g->bulletin.board = &g->board;
	wire->broker->watcher = (struct mr_broker_watcher){blocked, refused, g};
	enum mr_status st = mr_redis_address_parse(&address, mr_slice_str(url), error);
	if (st == MR_OK) {
		struct mr_redis_store_options options = options_of(&address);
		st = mr_redis_store_open(&g->redis, wire->loop, &wire->broker->store, &options,
			&port, error);
	}
	mr_redis_address_fini(&address);
	if (st == MR_OK && !mr_cascade_open(mr_broker_vhost(wire->broker, mr_slice_str("/"))))
		st = mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506, "out of memory");
	if (st == MR_OK) {
		*out = g;
		return MR_OK;
	}
	mr_redis_store_close(g->redis);
	wire->broker->watcher = (struct mr_broker_watcher){0};
	mr_free(g);
	return st;
}

/* Another try follows at once for who comes meanwhile, but not with a password that was wrong. */
void mr_gateway_adopt(struct mr_gateway *g, struct mr_stream *stream)
{
	bool waits = !g->is_up && !is_refusal(&g->wire->broker->outage);
	struct waiting *w = waits ? mr_malloc(sizeof *w) : NULL;
	if (!w) {
		mr_peer_open(g->wire, stream);
		return;
	}
	w->stream = stream;
	mr_list_append(&g->waiting, &w->node);
	mr_redis_store_hurry(g->redis);
	if (!ev_is_active(&g->patience)) {
		ev_now_update(g->wire->loop);
		ev_timer_set(&g->patience, PATIENCE / 1000.0, 0);
		ev_timer_start(g->wire->loop, &g->patience);
	}
}

/* Redis takes less than is published: publishers wait, as for a broker without memory. */
static void judge(struct mr_gateway *g)
{
	struct mr_broker *b = g->wire->broker;
	size_t most = b->is_congested ? UNSENT_MOST / 2 : UNSENT_MOST;
	bool is_over = mr_redis_store_unsent(g->redis) > most;
	if (is_over == b->is_congested) return;
	b->is_congested = is_over;
	mr_bulletin_blocked(&g->bulletin, b);
	mr_broker_check_memory(b); /* the flush that follows tells it */
}

void mr_gateway_flush(struct mr_gateway *g)
{
	mr_redis_store_flush(g->redis);
	judge(g);
	mr_bulletin_flush(&g->bulletin, g->redis, g->wire->broker);
}

/* What clients have written before their end. */
static void read_all(struct mr_wire *w, mr_msec until)
{
	uint64_t before;
	do {
		before = w->traffic;
		mr_wire_begin_turn(w);
		mr_wire_changed(w);
		mr_wire_flush(w);
		while (mr_wire_has_more(w) && mr_clock_real() < until) {
			mr_wire_resume(w);
			mr_wire_flush(w);
		}
	} while (w->traffic != before && mr_clock_real() < until);
}

void mr_gateway_wind_up(struct mr_gateway *g)
{
	mr_msec until = mr_clock_real() + FAREWELL;
	read_all(g->wire, until);
	mr_wire_drop(g->wire);
	mr_turn_finish(g->wire->broker);
	for (;;) {
		mr_dead_letter_lose(&g->wire->broker->store);
		mr_redis_store_flush(g->redis);
		if (!mr_redis_store_is_busy(g->redis) || mr_clock_real() >= until) return;
		ev_run(g->wire->loop, EVRUN_ONCE); /* the store's rounds end it, too */
	}
}

void mr_gateway_close(struct mr_gateway *g)
{
	struct mr_node *node;
	if (!g) return;
	ev_timer_stop(g->wire->loop, &g->patience);
	while ((node = mr_list_shift(&g->waiting))) {
		struct waiting *w = mr_container(node, struct waiting, node);
		w->stream->class->close(w->stream);
		mr_free(w);
	}
	mr_dead_letter_lose(&g->wire->broker->store);
	mr_redis_store_close(g->redis);
	mr_pledge_lose(g->wire->broker);
	mr_free(g);
}
