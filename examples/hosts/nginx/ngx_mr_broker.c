/* ngx_mr_broker: the connection of a worker to one broker.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define RETRY_FIRST 500 /* ms; doubled with each failure */
#define RETRY_MAX 30000 /* ms */
#define NOTE_SIZE 128   /* bytes of the name of a health note */

static ngx_queue_t brokers = {&brokers, &brokers};

ngx_uint_t ngx_mr_broker_is_open(const ngx_mr_broker_t *b)
{
	return mr_connection_state(b->connection) == MR_CONNECTION_OPEN;
}

/* A connection that was never open counts for the library's health only if we say so. */
static void note(ngx_mr_broker_t *b, int state, const mr_error *why)
{
	char url[512], name[NOTE_SIZE];
	mr_connection_url(b->connection, url, sizeof url);
	int size = snprintf(name, sizeof name, "connection to %s", url);
	if (size >= NOTE_SIZE) size = NOTE_SIZE - 1;
	const char *text = why ? why->text : "";
	mr_health_note(ngx_mr_runtime(), name, (size_t)size, state, text, ngx_strlen(text));
}

/* The connection is not to be had now: nobody waits for it. */
static void fail(ngx_mr_broker_t *b)
{
	b->is_first = 0;
	ngx_mr_lanes_fail(b);
	ngx_mr_streams_fail(b, 0);
}

/* Neither a first connect that failed nor one that was given up is tried again by the library. */
static void try_later(ngx_mr_broker_t *b)
{
	ngx_msec_t most = RETRY_FIRST << (b->failures < 6 ? b->failures : 6);
	if (most > RETRY_MAX) most = RETRY_MAX;
	if (b->retry.timer_set || ngx_exiting) return;
	b->failures++;
	ngx_add_timer(&b->retry, most / 2 + (ngx_msec_t)ngx_random() % (most / 2));
}

static void try_now(ngx_event_t *event)
{
	ngx_mr_broker_t *b = event->data;
	int status = mr_connection_open(b->connection, ngx_mr_token(&b->object, 0));
	if (status == MR_OK) return;
	ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "moonrabbit: no connect: %s",
		mr_status_text(status));
	fail(b);
	try_later(b);
}

/* The answer to mr_connection_open. */
static void on_done(ngx_mr_object_t *object, ngx_uint_t step, mr_event *ev)
{
	ngx_mr_broker_t *b = ngx_rbtree_data(&object->node, ngx_mr_broker_t, object.node);
	(void)step;
	if (ev->status == MR_OK) {
		b->is_first = 0;
		b->failures = 0;
		note(b, MR_NOTE_FORGET, NULL);
		ngx_mr_lanes_go(b);
		ngx_mr_streams_go(b);
		return;
	}
	note(b, MR_NOTE_FAILING, ev->as.done.reply ? &ev->as.done.reply->error : NULL);
	fail(b);
	try_later(b);
}

/* What it had is gone for good; all begins anew with the next connect. */
static void lost(ngx_mr_broker_t *b)
{
	fail(b);
	ngx_mr_streams_fail(b, 1);
	try_later(b);
}

static void state_changed(ngx_mr_broker_t *b, const mr_event *ev)
{
	switch (ev->as.connection.state) {
	case MR_CONNECTION_RETRYING: fail(b); break;
	case MR_CONNECTION_GAVE_UP: lost(b); break;
	case MR_CONNECTION_LOST:
		if (!ev->as.connection.will_recover) lost(b);
		break;
	default: break;
	}
}

static ngx_mr_broker_t *find(uint32_t connection)
{
	for (ngx_queue_t *q = ngx_queue_head(&brokers); q != &brokers; q = ngx_queue_next(q)) {
		ngx_mr_broker_t *b = ngx_queue_data(q, ngx_mr_broker_t, queue);
		if (mr_connection_id(b->connection) == connection) return b;
	}
	return NULL;
}

void ngx_mr_broker_event(mr_event *ev)
{
	ngx_mr_broker_t *b = find(ev->connection);
	if (!b) return;
	if (ev->type == MR_EV_CONFIRM) {
		ngx_mr_lane_confirmed(b, ev);
		return;
	}
	if (ev->type == MR_EV_CONNECTION) {
		state_changed(b, ev);
		return;
	}
	if (ev->type == MR_EV_CHANNEL) ngx_mr_lanes_changed(b, ev);
	ngx_mr_streams_changed(b, ev);
}

void ngx_mr_brokers_drain(void)
{
	for (ngx_queue_t *q = ngx_queue_head(&brokers); q != &brokers; q = ngx_queue_next(q))
		ngx_mr_streams_end(ngx_queue_data(q, ngx_mr_broker_t, queue));
}

static int connect_to(ngx_mr_broker_t *b, const ngx_str_t *url, mr_error *error)
{
	mr_options *options = ngx_mr_options(url, error);
	if (!options) return error->kind;
	int status = mr_connection_new(ngx_mr_runtime(), options, &b->connection, error);
	mr_options_free(options);
	return status;
}

ngx_mr_broker_t *ngx_mr_broker(ngx_mr_url_t *url)
{
	mr_error error = {.text = ""};
	if (url->broker || !ngx_mr_runtime()) return url->broker;
	ngx_mr_broker_t *b = ngx_calloc(sizeof *b, ngx_cycle->log); /* outlives the configuration */
	if (!b) return NULL;
	if (connect_to(b, &url->text, &error) != MR_OK) {
		ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0, "moonrabbit: %s", error.text);
		ngx_free(b);
		return NULL;
	}
	b->is_first = 1;
	b->retry.handler = try_now;
	b->retry.data = b;
	b->retry.log = ngx_cycle->log;
	b->retry.cancelable = 1; /* a worker that quits does not wait for it */
	ngx_queue_init(&b->lanes);
	ngx_queue_init(&b->streams);
	ngx_queue_insert_tail(&brokers, &b->queue);
	ngx_mr_object_add(&b->object, on_done);
	url->broker = b;
	try_now(&b->retry);
	return b;
}
