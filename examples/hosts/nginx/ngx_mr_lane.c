/* ngx_mr_lane: channels in confirm mode, one for each exchange, and the publishes on them.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define LANES_MAX 64 /* of one connection: exchanges may be named by clients */

enum { OPENED, SELECTED, CLOSED }; /* the steps of a lane */

/* ---- publishes that are sent, by epoch and number ---- */

static ngx_rbtree_node_t sentinel = {.color = 0};
static void insert(ngx_rbtree_node_t *, ngx_rbtree_node_t *, ngx_rbtree_node_t *);
static ngx_rbtree_t sent = {&sentinel, &sentinel, insert};

static ngx_mr_publish_t *of_node(ngx_rbtree_node_t *node)
{
	return ngx_rbtree_data(node, ngx_mr_publish_t, node);
}

/* Epochs are never used again, so those of channels that are gone do no harm. */
static ngx_uint_t is_before(uint32_t epoch, uint64_t number, ngx_rbtree_node_t *node)
{
	uint32_t other = of_node(node)->epoch;
	return epoch == other ? number < node->key : epoch < other;
}

static void insert(ngx_rbtree_node_t *at, ngx_rbtree_node_t *node, ngx_rbtree_node_t *nil)
{
	for (;;) {
		ngx_rbtree_node_t **next =
			is_before(of_node(node)->epoch, node->key, at) ? &at->left : &at->right;
		if (*next == nil) {
			*next = node;
			break;
		}
		at = *next;
	}
	node->parent = at;
	node->left = node->right = nil;
	ngx_rbt_red(node);
}

/* The first publish of this epoch with this number or a higher one; NULL: none. */
static ngx_mr_publish_t *find_from(uint32_t epoch, uint64_t number)
{
	ngx_rbtree_node_t *node = sent.root, *found = NULL;
	while (node != &sentinel) {
		ngx_uint_t is_lower = of_node(node)->epoch < epoch ||
		                      (of_node(node)->epoch == epoch && node->key < number);
		if (!is_lower) found = node;
		node = is_lower ? node->right : node->left;
	}
	return found && of_node(found)->epoch == epoch ? of_node(found) : NULL;
}

/* Answers all publishes of the epoch from the one number to the other. */
static void answer(uint32_t epoch, uint64_t first, uint64_t last, int status)
{
	ngx_mr_publish_t *p;
	while ((p = find_from(epoch, first)) && p->node.key <= last) ngx_mr_publish_end(p, status);
}

/* The lane of an event's channel; NULL: it has given that up. The number alone may be that of a later
 * channel by now. */
static ngx_mr_lane_t *lane_of(ngx_mr_broker_t *b, const mr_event *ev)
{
	for (ngx_queue_t *q = ngx_queue_head(&b->lanes); q != &b->lanes; q = ngx_queue_next(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		if (!lane->channel || mr_channel_number(lane->channel) != ev->channel) continue;
		if (lane->epoch == ev->epoch || mr_channel_epoch(lane->channel) == ev->epoch)
			return lane;
	}
	return NULL;
}

/* The end of a channel comes before or after the ends of its publishes, and has the reason. */
static ngx_uint_t awaits_reason(const mr_event *ev)
{
	ngx_mr_publish_t *p = find_from(ev->epoch, ev->as.confirm.first);
	return ev->status == MR_LOST && p && ngx_mr_broker_is_open(p->lane->broker);
}

void ngx_mr_lane_confirmed(ngx_mr_broker_t *b, const mr_event *ev)
{
	ngx_mr_lane_t *lane = lane_of(b, ev);
	if (awaits_reason(ev)) return;
	if (lane && lane->epoch == ev->epoch && ev->status != MR_LOST && ev->status != MR_TIMEOUT)
		lane->settled += ev->as.confirm.last - ev->as.confirm.first + 1;
	answer(ev->epoch, ev->as.confirm.first, ev->as.confirm.last, ev->status);
}

/* ---- the line in front of a channel ---- */

static void answer_line(ngx_mr_lane_t *lane, int status)
{
	while (!ngx_queue_empty(&lane->line)) {
		ngx_queue_t *q = ngx_queue_head(&lane->line);
		ngx_mr_publish_end(ngx_queue_data(q, ngx_mr_publish_t, queue), status);
	}
}

static int send_on(ngx_mr_lane_t *lane, ngx_mr_publish_t *p)
{
	int status = ngx_mr_publish_send(p);
	if (status != MR_OK) return status;
	p->epoch = mr_channel_epoch(lane->channel);
	p->is_sent = 1;
	lane->sent++;
	ngx_rbtree_insert(&sent, &p->node);
	return MR_OK;
}

static void send_line(ngx_mr_lane_t *lane)
{
	while (!ngx_queue_empty(&lane->line)) {
		ngx_queue_t *q = ngx_queue_head(&lane->line);
		ngx_mr_publish_t *p = ngx_queue_data(q, ngx_mr_publish_t, queue);
		int status = send_on(lane, p);
		if (status == MR_OK) {
			ngx_queue_remove(q);
		} else {
			ngx_mr_publish_end(p, status);
		}
	}
}

static void enqueue(ngx_mr_lane_t *lane, ngx_mr_publish_t *p)
{
	p->is_in_line = 1;
	ngx_queue_insert_tail(&lane->line, &p->queue);
}

void ngx_mr_lane_forget(ngx_mr_publish_t *p)
{
	if (!p->lane) return;
	if (p->is_sent) {
		ngx_rbtree_delete(&sent, &p->node);
	} else if (p->is_in_line) {
		ngx_queue_remove(&p->queue);
	}
	p->lane->unanswered--;
	p->lane = NULL;
}

/* ---- the channel ---- */

static void drop_channel(ngx_mr_lane_t *lane)
{
	mr_channel_free(lane->channel);
	lane->channel = NULL;
	lane->is_ready = lane->is_closing = 0;
}

static void fail(ngx_mr_lane_t *lane, int status)
{
	drop_channel(lane);
	answer_line(lane, status);
}

/* No channel number is free: closes the channel that was not used for the longest time. False: all
 * have something to do, and no place is being made. */
static ngx_uint_t make_place(ngx_mr_broker_t *b)
{
	ngx_uint_t is_coming = 0;
	for (ngx_queue_t *q = ngx_queue_last(&b->lanes); q != &b->lanes; q = ngx_queue_prev(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		is_coming |= lane->is_closing;
		if (!lane->is_ready || lane->unanswered) continue;
		uint64_t token = ngx_mr_token(&lane->object, CLOSED);
		if (mr_channel_close(lane->channel, token) != MR_OK) continue;
		lane->is_ready = 0;
		lane->is_closing = 1;
		return 1;
	}
	return is_coming;
}

/* MR_OK: the channel is being opened, or will be when there is a number for it. */
static int open_channel(ngx_mr_lane_t *lane)
{
	uint64_t token = ngx_mr_token(&lane->object, OPENED);
	int status = mr_channel_open(lane->broker->connection, token, &lane->channel);
	return status == MR_CHANNEL_LIMIT_REACHED && make_place(lane->broker) ? MR_OK : status;
}

/* The lane that made place has closed its channel. */
static void closed(ngx_mr_lane_t *lane)
{
	if (!lane->is_closing) return; /* it has a new one by now */
	drop_channel(lane);
	ngx_mr_lanes_go(lane->broker);
}

static void begin_epoch(ngx_mr_lane_t *lane, uint32_t epoch)
{
	lane->epoch = epoch;
	lane->sent = lane->settled = 0;
}

/* The answer to one of the lane's requests. */
static void on_done(ngx_mr_object_t *object, ngx_uint_t step, mr_event *ev)
{
	ngx_mr_lane_t *lane = ngx_rbtree_data(&object->node, ngx_mr_lane_t, object.node);
	mr_request confirms = {.operation = MR_CONFIRM_SELECT};
	int status = ev->status;
	if (!lane->channel) return; /* ended meanwhile */
	if (step == CLOSED) {
		closed(lane);
		return;
	}
	if (status == MR_OK && step == OPENED)
		status = mr_channel_request(lane->channel, ngx_mr_token(object, SELECTED),
			&confirms);
	if (status != MR_OK) {
		fail(lane, status);
	} else if (step == SELECTED) {
		lane->is_ready = 1;
		begin_epoch(lane, mr_channel_epoch(lane->channel));
		send_line(lane);
	}
}

/* ---- the lanes of a connection ---- */

static void name_lane(ngx_mr_lane_t *lane, const ngx_str_t *exchange)
{
	lane->exchange_size = exchange->len;
	ngx_memcpy(lane->exchange, exchange->data, exchange->len);
}

static ngx_mr_lane_t *new_lane(ngx_mr_broker_t *b, const ngx_str_t *exchange)
{
	ngx_mr_lane_t *lane = ngx_calloc(sizeof *lane, ngx_cycle->log);
	if (!lane) return NULL;
	lane->broker = b;
	b->lane_count++;
	ngx_queue_init(&lane->line);
	ngx_queue_insert_head(&b->lanes, &lane->queue);
	ngx_mr_object_add(&lane->object, on_done);
	name_lane(lane, exchange);
	return lane;
}

/* Gives the lane that was not used for the longest time to another exchange. NULL: all are busy. */
static ngx_mr_lane_t *reuse_lane(ngx_mr_broker_t *b, const ngx_str_t *exchange)
{
	for (ngx_queue_t *q = ngx_queue_last(&b->lanes); q != &b->lanes; q = ngx_queue_prev(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		if (lane->unanswered || lane->is_closing) continue;
		drop_channel(lane);
		ngx_mr_object_remove(
			&lane->object); /* answers to the channel before are nobody's */
		ngx_mr_object_add(&lane->object, on_done);
		name_lane(lane, exchange);
		return lane;
	}
	return NULL;
}

static ngx_mr_lane_t *find_lane(ngx_mr_broker_t *b, const ngx_str_t *exchange)
{
	for (ngx_queue_t *q = ngx_queue_head(&b->lanes); q != &b->lanes; q = ngx_queue_next(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		if (lane->exchange_size == exchange->len &&
			ngx_memcmp(lane->exchange, exchange->data, exchange->len) == 0)
			return lane;
	}
	return b->lane_count < LANES_MAX ? new_lane(b, exchange) : reuse_lane(b, exchange);
}

int ngx_mr_lane_publish(ngx_mr_broker_t *b, ngx_mr_publish_t *p)
{
	ngx_uint_t is_open = ngx_mr_broker_is_open(b);
	if (p->exchange.len > sizeof((ngx_mr_lane_t *)0)->exchange) return MR_BAD_ARGUMENT;
	if (!is_open && !b->is_first) return MR_CLOSED;
	ngx_mr_lane_t *lane = find_lane(b, &p->exchange);
	if (!lane) return MR_CHANNEL_LIMIT_REACHED;
	ngx_queue_remove(&lane->queue);
	ngx_queue_insert_head(&b->lanes, &lane->queue);
	if (is_open && !lane->channel) {
		int status = open_channel(lane);
		if (status != MR_OK) return status;
	}
	p->lane = lane;
	lane->unanswered++;
	if (lane->is_ready) return send_on(lane, p);
	enqueue(lane, p);
	return MR_OK;
}

void ngx_mr_lanes_go(ngx_mr_broker_t *b)
{
	for (ngx_queue_t *q = ngx_queue_head(&b->lanes); q != &b->lanes; q = ngx_queue_next(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		if (lane->channel || ngx_queue_empty(&lane->line)) continue;
		int status = open_channel(lane);
		if (status != MR_OK) fail(lane, status);
	}
}

/* A channel that is suspended comes back with the connection; it has no epoch until then. */
void ngx_mr_lanes_fail(ngx_mr_broker_t *b)
{
	for (ngx_queue_t *q = ngx_queue_head(&b->lanes); q != &b->lanes; q = ngx_queue_next(q)) {
		ngx_mr_lane_t *lane = ngx_queue_data(q, ngx_mr_lane_t, queue);
		if (!lane->channel || mr_channel_epoch(lane->channel) != lane->epoch)
			answer(lane->epoch, 0, UINT64_MAX, MR_LOST);
		if (lane->channel && !mr_channel_is_suspended(lane->channel)) drop_channel(lane);
		answer_line(lane, MR_CLOSED);
	}
}

/* What the unanswered publishes get of a channel that the broker has closed for one of them, without
 * saying which. One alone is that one. Several were all refused if the exchange is missing; a settled
 * one shows that it was there, so those before the deletion may be in their queues. */
static int outcome(const ngx_mr_lane_t *lane, const mr_event *ev)
{
	const mr_error *error = ev->as.channel.error;
	int status = ev->status;
	ngx_uint_t is_alone = lane->sent - lane->settled == 1;
	if (status == MR_PRECONDITION_FAILED && error && strstr(error->text, "larger than"))
		status = MR_CONTENT_TOO_LARGE; /* AMQP's code for that is not what brokers send */
	if (ngx_mr_http_status(status) >= NGX_HTTP_INTERNAL_SERVER_ERROR) return MR_LOST;
	return is_alone || (status == MR_NOT_FOUND && !lane->settled) ? status : MR_LOST;
}

static void ended(ngx_mr_lane_t *lane, const mr_event *ev)
{
	int status = outcome(lane, ev);
	ngx_uint_t was_closing = lane->is_closing;
	drop_channel(lane);
	answer(ev->epoch, 0, UINT64_MAX, status);
	answer_line(lane, MR_CLOSED);
	if (was_closing) ngx_mr_lanes_go(lane->broker);
}

void ngx_mr_lanes_changed(ngx_mr_broker_t *b, const mr_event *ev)
{
	ngx_mr_lane_t *lane = lane_of(b, ev);
	if (!lane) return;
	if (ev->as.channel.change == MR_CHANNEL_READY)
		begin_epoch(lane, ev->epoch);
	else if (ev->as.channel.change == MR_CHANNEL_ENDED && ev->epoch == lane->epoch &&
		 !ev->as.channel.will_recover)
		ended(lane, ev);
}
