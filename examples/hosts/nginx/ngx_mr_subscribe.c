/* ngx_mr_subscribe: a request that gets the messages of a queue as server-sent events.
 * SPDX-License-Identifier: MIT
 *
 * Each request has a channel and a consumer of its own. A message is acked when its event is written to the
 * client's socket. What is not written goes back to the queue when the channel is closed. A slow client holds
 * up to `prefetch` messages, and no others. */
#include "ngx_mr.h"

#define BATCH 65536 /* bytes of events in one write; a larger event is written alone */

enum { OPENED, DECLARED, BOUND, LIMITED, CONSUMING }; /* the steps of a stream */

struct ngx_mr_stream_s {
	ngx_mr_object_t object;
	ngx_queue_t queue; /* of its broker's streams */
	ngx_mr_broker_t *broker;
	const ngx_mr_subscribe_conf_t *conf;
	ngx_http_request_t *request;
	mr_channel *channel; /* NULL: not yet */
	uint32_t epoch;      /* of the channel, as far as events have told */
	ngx_str_t name, exchange, key;
	ngx_event_t keepalive;
	unsigned is_consuming:1; /* the response has begun */
	unsigned is_ending:1;    /* its end is written */
	unsigned is_over:1;      /* nothing of the library is left */
	ngx_uint_t in_write;     /* deliveries whose events nginx writes: the first of the list */
	ngx_uint_t count, capacity;
	mr_delivery **deliveries;
	ngx_buf_t buf; /* what nginx writes */
};

/* ---- the end ---- */

static ngx_uint_t is_written(const ngx_mr_stream_t *s)
{
	return s->buf.pos == s->buf.last && !s->request->connection->buffered;
}

static void drop_first(ngx_mr_stream_t *s, ngx_uint_t n)
{
	s->count -= n;
	ngx_memmove(s->deliveries, s->deliveries + n, s->count * sizeof *s->deliveries);
}

/* What nginx has written is acked. A stale one is not: the broker delivers it again. */
static void settle(ngx_mr_stream_t *s)
{
	for (ngx_uint_t i = 0; i < s->in_write; i++)
		mr_delivery_settle(ngx_mr_runtime(), s->deliveries[i], MR_ACK, MR_SETTLE_RELEASE);
	drop_first(s, s->in_write);
	s->in_write = 0;
	if (s->buf.start) ngx_free(s->buf.start);
	s->buf.start = s->buf.pos = s->buf.last = NULL;
}

/* Takes leave of the library: the broker gets back what is not acked. */
static void leave(void *data)
{
	ngx_mr_stream_t *s = data;
	if (s->is_over) return;
	s->is_over = 1;
	if (s->in_write && is_written(s)) settle(s);
	for (ngx_uint_t i = 0; i < s->count; i++)
		mr_delivery_release(ngx_mr_runtime(), s->deliveries[i]);
	s->count = s->in_write = 0;
	mr_channel_free(s->channel);
	s->channel = NULL;
	ngx_queue_remove(&s->queue);
	ngx_mr_object_remove(&s->object);
	if (s->keepalive.timer_set) ngx_del_timer(&s->keepalive);
}

/* The buffer may be nginx's until the pool ends. */
static void free_buffers(void *data)
{
	ngx_mr_stream_t *s = data;
	leave(s);
	if (s->buf.start) ngx_free(s->buf.start);
	if (s->deliveries) ngx_free(s->deliveries);
}

static void finalize(ngx_mr_stream_t *s, ngx_int_t rc)
{
	ngx_connection_t *c = s->request->connection;
	ngx_http_set_log_request(c->log, s->request);
	ngx_http_finalize_request(s->request, rc);
	ngx_http_run_posted_requests(c);
}

/* Ends the response: by a status, or, if it has begun, by its last chunk. The browser comes again. */
static void end(ngx_mr_stream_t *s, int status)
{
	if (s->is_ending) return;
	s->is_ending = 1;
	if (s->keepalive.timer_set) ngx_del_timer(&s->keepalive);
	if (status != MR_OK) {
		u_char text[NGX_MR_SHOWN];
		ngx_str_t name = ngx_mr_show(&s->name, text);
		ngx_log_error(NGX_LOG_ERR, s->request->connection->log, 0,
			"moonrabbit: no events from queue \"%V\": %s", &name,
			mr_status_text(status));
	}
	ngx_int_t rc = status == MR_OK ? NGX_HTTP_SERVICE_UNAVAILABLE : ngx_mr_http_status(status);
	finalize(s, s->is_consuming ? ngx_http_send_special(s->request, NGX_HTTP_LAST) : rc);
}

/* ---- the response ---- */

static ngx_int_t write_buffer(ngx_mr_stream_t *s, u_char *data, size_t size)
{
	ngx_chain_t out = {&s->buf, NULL};
	s->buf.start = s->buf.pos = data;
	s->buf.last = s->buf.end = data + size;
	s->buf.memory = 1;
	s->buf.flush = 1;
	s->buf.tag = (ngx_buf_tag_t)&ngx_http_moonrabbit_module;
	return ngx_http_output_filter(s->request, &out);
}

/* Leaves out what the broker has taken back, and will deliver again. */
static void drop_stale(ngx_mr_stream_t *s)
{
	ngx_uint_t kept = s->in_write;
	for (ngx_uint_t i = s->in_write; i < s->count; i++) {
		mr_delivery *d = s->deliveries[i];
		if (mr_delivery_is_live(ngx_mr_runtime(), d))
			s->deliveries[kept++] = d;
		else
			mr_delivery_release(ngx_mr_runtime(), d);
	}
	s->count = kept;
}

/* Writes the next events; only called while nothing is in write. */
static ngx_int_t write_batch(ngx_mr_stream_t *s)
{
	size_t size = 0;
	ngx_uint_t n = 0;
	for (; n < s->count; n++) {
		size_t more = ngx_mr_sse_write(s->deliveries[n], NULL);
		if (n && size + more > BATCH) break;
		size += more;
	}
	u_char *data = ngx_alloc(size, s->request->connection->log), *at = data;
	if (!data) return NGX_ERROR;
	for (ngx_uint_t i = 0; i < n; i++) at += ngx_mr_sse_write(s->deliveries[i], at);
	s->in_write = n;
	return write_buffer(s, data, size);
}

static void write_comment(ngx_mr_stream_t *s, const char *text)
{
	size_t size = ngx_strlen(text);
	u_char *data = ngx_alloc(size, s->request->connection->log);
	if (!data) return;
	ngx_memcpy(data, text, size);
	write_buffer(s, data, size);
}

static ngx_int_t advance(ngx_mr_stream_t *s)
{
	ngx_int_t rc = NGX_OK;
	for (;;) {
		if (rc == NGX_ERROR) return NGX_ERROR;
		if (s->buf.start && !is_written(s)) return NGX_AGAIN;
		settle(s);
		drop_stale(s);
		if (!s->count) return NGX_OK;
		rc = write_batch(s);
	}
}

/* Waits until nginx can write more, or for nothing. */
static ngx_int_t wait_for_room(ngx_mr_stream_t *s, ngx_int_t rc)
{
	ngx_event_t *write = s->request->connection->write;
	ngx_http_core_loc_conf_t *core =
		ngx_http_get_module_loc_conf(s->request, ngx_http_core_module);
	if (rc == NGX_AGAIN && !write->delayed)
		ngx_add_timer(write, core->send_timeout);
	else if (rc == NGX_OK && write->timer_set && !write->delayed)
		ngx_del_timer(write);
	return ngx_handle_write_event(write, rc == NGX_AGAIN ? core->send_lowat : 0);
}

static void go_on(ngx_mr_stream_t *s)
{
	ngx_int_t rc = advance(s);
	if (rc != NGX_ERROR && !s->keepalive.timer_set)
		ngx_add_timer(&s->keepalive, s->conf->keepalive);
	if (rc == NGX_ERROR || wait_for_room(s, rc) != NGX_OK)
		ngx_http_finalize_request(s->request, NGX_ERROR);
}

/* nginx can write, or deliveries have come: see on_delivery. */
static void on_writable(ngx_http_request_t *r)
{
	ngx_mr_stream_t *s = ngx_http_get_module_ctx(r, ngx_http_moonrabbit_module);
	if (r->connection->write->timedout) {
		r->connection->timedout = 1;
		ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
		return;
	}
	if (s->buf.start && ngx_http_output_filter(r, NULL) == NGX_ERROR)
		ngx_http_finalize_request(r, NGX_ERROR);
	else
		go_on(s);
}

/* Shows proxies, and us, that the other side is there. */
static void on_keepalive(ngx_event_t *event)
{
	ngx_mr_stream_t *s = event->data;
	ngx_connection_t *c = s->request->connection;
	ngx_http_set_log_request(c->log, s->request);
	if (!s->buf.start) write_comment(s, ":\n\n");
	go_on(s);
	ngx_http_run_posted_requests(c);
}

static ngx_int_t add_header(ngx_http_request_t *r, ngx_str_t key, ngx_str_t value)
{
	ngx_table_elt_t *header = ngx_list_push(&r->headers_out.headers);
	if (!header) return NGX_ERROR;
	ngx_memzero(header, sizeof *header);
	header->hash = 1;
	header->key = key;
	header->value = value;
	return NGX_OK;
}

static ngx_int_t send_header(ngx_http_request_t *r)
{
	r->headers_out.status = NGX_HTTP_OK;
	ngx_str_set(&r->headers_out.content_type, "text/event-stream");
	r->headers_out.content_type_len = r->headers_out.content_type.len;
#if (NGX_HTTP_GZIP)
	r->gzip_tested = 1; /* what gzip holds back is not written */
	r->gzip_ok = 0;
#endif
	if (add_header(r, (ngx_str_t)ngx_string("Cache-Control"),
		    (ngx_str_t)ngx_string("no-store")) ||
		add_header(r, (ngx_str_t)ngx_string("X-Accel-Buffering"),
			(ngx_str_t)ngx_string("no")))
		return NGX_ERROR;
	return ngx_http_send_header(r);
}

/* This worker quits: the browser shall come again, to another one. */
static ngx_int_t send_no_events(ngx_http_request_t *r)
{
	ngx_int_t rc = send_header(r);
	return rc == NGX_OK ? ngx_http_send_special(r, NGX_HTTP_LAST) : rc;
}

/* The broker has accepted the consumer. */
static void begin_response(ngx_mr_stream_t *s)
{
	char text[64] = ":\n\n";
	ngx_http_request_t *r = s->request;
	ngx_int_t rc = send_header(r);
	s->is_consuming = 1;
	if (rc == NGX_ERROR || rc > NGX_OK) {
		finalize(s, rc);
		return;
	}
	if (s->conf->retry)
		snprintf(text, sizeof text, "retry: %lu\n\n", (unsigned long)s->conf->retry);
	r->write_event_handler = on_writable;
	write_comment(s, text); /* the browser's `open` */
	ngx_post_event(r->connection->write, &ngx_posted_events);
}

/* ---- the consumer ---- */

/* The events are written when all deliveries of this turn are here. */
static void on_delivery(ngx_mr_stream_t *s, mr_delivery *d)
{
	if (s->count == s->capacity) drop_stale(s);
	if (s->is_ending || s->count == s->capacity) {
		mr_delivery_release(ngx_mr_runtime(), d); /* goes back with the channel */
		return;
	}
	s->deliveries[s->count++] = d;
	if (s->is_consuming) {
		ngx_post_event(s->request->connection->write, &ngx_posted_events);
	}
}

static mr_bytes bytes_of(const ngx_str_t *s) { return (mr_bytes){(char *)s->data, s->len}; }

/* The request of a step; its answer leads to the next one. */
static int ask(ngx_mr_stream_t *s, ngx_uint_t step)
{
	mr_request r = {.name = bytes_of(&s->name)};
	switch (step) {
	case DECLARED:
		r.operation = MR_QUEUE_DECLARE;
		r.flags = MR_EXCLUSIVE | MR_AUTO_DELETE;
		break;
	case BOUND:
		r.operation = MR_QUEUE_BIND;
		r.extra = bytes_of(&s->exchange);
		r.routing_key = bytes_of(&s->key);
		break;
	case LIMITED:
		r = (mr_request){.operation = MR_BASIC_QOS, .number = (uint32_t)s->conf->prefetch};
		break;
	default:
		r.operation = MR_BASIC_CONSUME;
		r.number = (uint32_t)s->object.node.key | MR_CONSUMER_OWN;
		break;
	}
	return mr_channel_request(s->channel, ngx_mr_token(&s->object, step), &r);
}

static int name_queue(ngx_mr_stream_t *s, const mr_reply *reply)
{
	s->name.data = ngx_pnalloc(s->request->pool, reply->name_size);
	if (!s->name.data) return MR_NO_MEMORY;
	ngx_memcpy(s->name.data, reply->name, reply->name_size);
	s->name.len = reply->name_size;
	return MR_OK;
}

static int proceed(ngx_mr_stream_t *s, ngx_uint_t answered, const mr_event *ev)
{
	switch (answered) {
	case OPENED: return ask(s, s->conf->exchange ? DECLARED : LIMITED);
	case DECLARED:
		if (name_queue(s, ev->as.done.reply) != MR_OK) return MR_NO_MEMORY;
		return ask(s, BOUND);
	case BOUND: return ask(s, LIMITED);
	case LIMITED: return ask(s, CONSUMING);
	default: begin_response(s); return MR_OK;
	}
}

static void on_event(ngx_mr_object_t *object, ngx_uint_t step, mr_event *ev)
{
	ngx_mr_stream_t *s = ngx_rbtree_data(&object->node, ngx_mr_stream_t, object.node);
	if (ev->type == MR_EV_DELIVERY) {
		on_delivery(s, ev->as.delivery);
		return;
	}
	int status = ev->status == MR_OK && !s->is_ending ? proceed(s, step, ev) : ev->status;
	if (status != MR_OK) end(s, status);
}

static void open_channel(ngx_mr_stream_t *s)
{
	uint64_t token = ngx_mr_token(&s->object, OPENED);
	int status = mr_channel_open(s->broker->connection, token, &s->channel);
	if (status != MR_OK)
		end(s, status);
	else
		s->epoch = mr_channel_epoch(s->channel);
}

/* ---- what happens to the connection, and to the worker ---- */

typedef void (*visitor_t)(ngx_mr_stream_t *s, const void *data);

static void visit(ngx_mr_broker_t *b, visitor_t visitor, const void *data)
{
	for (ngx_queue_t *q = ngx_queue_head(&b->streams), *next; q != &b->streams; q = next) {
		next = ngx_queue_next(q); /* a stream may end */
		visitor(ngx_queue_data(q, ngx_mr_stream_t, queue), data);
	}
}

static void go(ngx_mr_stream_t *s, const void *data)
{
	(void)data;
	if (!s->channel) open_channel(s);
}

static void lose(ngx_mr_stream_t *s, const void *all)
{
	if (all || !s->channel) end(s, MR_CLOSED);
}

/* Also one whose consumer is not there yet ends with 200: a browser does not connect again after 503. */
static void quit(ngx_mr_stream_t *s, const void *data)
{
	(void)data;
	if (!s->is_consuming && !s->is_ending) s->is_consuming = send_header(s->request) == NGX_OK;
	end(s, MR_OK);
}

/* Its channel has come back, or that or its consumer has ended for good. The number alone may be that of
 * an earlier channel. */
static void change(ngx_mr_stream_t *s, const void *data)
{
	const mr_event *ev = data;
	if (!s->channel || mr_channel_number(s->channel) != ev->channel) return;
	if (ev->type == MR_EV_CHANNEL && ev->as.channel.change == MR_CHANNEL_READY)
		s->epoch = ev->epoch;
	if (s->epoch != ev->epoch) return;
	if (ev->type == MR_EV_CANCEL && !ev->as.cancel.will_recover &&
		!ev->as.cancel.consumes_again)
		end(s, ev->status == MR_OK ? MR_CANCELLED : ev->status);
	if (ev->type == MR_EV_CHANNEL && ev->as.channel.change == MR_CHANNEL_ENDED &&
		!ev->as.channel.will_recover)
		end(s, ev->status);
}

void ngx_mr_streams_go(ngx_mr_broker_t *b) { visit(b, go, NULL); }

void ngx_mr_streams_fail(ngx_mr_broker_t *b, ngx_uint_t all) { visit(b, lose, all ? b : NULL); }

void ngx_mr_streams_changed(ngx_mr_broker_t *b, const mr_event *ev) { visit(b, change, ev); }

void ngx_mr_streams_end(ngx_mr_broker_t *b) { visit(b, quit, NULL); }

/* ---- the request ---- */

static ngx_int_t evaluate(ngx_http_request_t *r, ngx_http_complex_value_t *value, ngx_str_t *out)
{
	ngx_str_null(out);
	return value ? ngx_http_complex_value(r, value, out) : NGX_OK;
}

static ngx_int_t fill(ngx_mr_stream_t *s)
{
	ngx_http_request_t *r = s->request;
	if (evaluate(r, s->conf->queue, &s->name) != NGX_OK ||
		evaluate(r, s->conf->exchange, &s->exchange) != NGX_OK ||
		evaluate(r, s->conf->key, &s->key) != NGX_OK)
		return NGX_ERROR;
	/* Those of a lost connection may still be in write when the prefetch comes again. */
	s->capacity = 2 * (ngx_uint_t)s->conf->prefetch;
	s->deliveries = ngx_alloc(s->capacity * sizeof *s->deliveries, r->connection->log);
	return s->deliveries ? NGX_OK : NGX_ERROR;
}

static ngx_mr_stream_t *new_stream(ngx_http_request_t *r, const ngx_mr_loc_conf_t *conf)
{
	ngx_mr_stream_t *s = ngx_pcalloc(r->pool, sizeof *s);
	ngx_pool_cleanup_t *last = ngx_pool_cleanup_add(r->pool, 0);
	ngx_http_cleanup_t *first = ngx_http_cleanup_add(r, 0);
	ngx_mr_broker_t *b = ngx_mr_broker(conf->url);
	if (!s || !first || !last || !b) return NULL;
	s->request = r;
	s->conf = conf->subscribe;
	s->broker = b;
	s->keepalive.handler = on_keepalive;
	s->keepalive.data = s;
	s->keepalive.log = r->connection->log;
	ngx_queue_insert_tail(&b->streams, &s->queue);
	ngx_mr_object_add(&s->object, on_event);
	first->handler = leave;
	last->handler = free_buffers;
	first->data = last->data = s;
	return fill(s) == NGX_OK ? s : NULL;
}

ngx_int_t ngx_mr_subscribe_handler(ngx_http_request_t *r)
{
	const ngx_mr_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_moonrabbit_module);
	if (r->method != NGX_HTTP_GET || r != r->main) return NGX_HTTP_NOT_ALLOWED;
	ngx_int_t rc = ngx_http_discard_request_body(r);
	if (rc != NGX_OK) return rc;
	if (ngx_exiting) return send_no_events(r);
	ngx_mr_stream_t *s = new_stream(r, conf);
	if (!s) return NGX_HTTP_INTERNAL_SERVER_ERROR;
	if (!ngx_mr_broker_is_open(s->broker) && !s->broker->is_first)
		return NGX_HTTP_SERVICE_UNAVAILABLE;
	if (s->name.len > 255 || s->exchange.len > 255 || s->key.len > 255)
		return NGX_HTTP_BAD_REQUEST;
	if (ngx_mr_broker_is_open(s->broker)) {
		int status = mr_channel_open(s->broker->connection,
			ngx_mr_token(&s->object, OPENED), &s->channel);
		if (status != MR_OK) return ngx_mr_http_status(status);
	}
	ngx_http_set_ctx(r, s, ngx_http_moonrabbit_module);
	r->read_event_handler = ngx_http_test_reading; /* a client that leaves */
	r->main->count++;
	return NGX_DONE;
}
