/* ngx_mr_runtime: the worker's runtime within nginx's event loop, and who gets its events.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define EVENTS 32 /* of one poll */
#define ROUNDS 4 /* polls in one turn of nginx's loop; what is left keeps the descriptor readable */
#define NUMBERS 0x1fffffff /* objects are numbered up to this: consumers may be, too */
#define QUIT_PATIENCE 5.0  /* s at the end of a worker that has served all */
#define STOP_PATIENCE 0.5  /* s if it is told to stop at once: nginx kills it after 1 s */

static mr_runtime *runtime;
static ngx_connection_t *wake; /* nginx's view of the runtime's descriptor */
static ngx_rbtree_t objects;
static ngx_rbtree_node_t objects_sentinel;
static ngx_rbtree_key_t last_number;

static ngx_mr_object_t *find_object(ngx_rbtree_key_t number)
{
	ngx_rbtree_node_t *node = objects.root;
	while (node != &objects_sentinel && node->key != number)
		node = number < node->key ? node->left : node->right;
	return node == &objects_sentinel ? NULL : ngx_rbtree_data(node, ngx_mr_object_t, node);
}

void ngx_mr_object_add(ngx_mr_object_t *object,
	void (*handler)(ngx_mr_object_t *, ngx_uint_t, mr_event *))
{
	do last_number = last_number % NUMBERS + 1;
	while (find_object(last_number));
	object->handler = handler;
	object->node.key = last_number;
	ngx_rbtree_insert(&objects, &object->node);
}

void ngx_mr_object_remove(ngx_mr_object_t *object)
{
	if (object->node.key) ngx_rbtree_delete(&objects, &object->node);
	object->node.key = 0;
}

uint64_t ngx_mr_token(const ngx_mr_object_t *object, ngx_uint_t step)
{
	return (uint64_t)object->node.key << 3 | step;
}

static void tell(uint64_t token, mr_event *ev)
{
	ngx_mr_object_t *object = find_object((ngx_rbtree_key_t)(token >> 3));
	if (object) object->handler(object, token & 7, ev);
}

/* A delivery without its consumer goes back to its queue when the consumer's channel is closed. */
static void deliver(mr_event *ev)
{
	ngx_mr_object_t *object = find_object(ev->as.delivery->consumer & NUMBERS);
	if (object)
		object->handler(object, 0, ev);
	else
		mr_delivery_release(runtime, ev->as.delivery);
}

/* ---- the log ---- */

/* nginx writes time and level itself: "time=... level=... msg=...". */
static void write_line(const mr_event *ev)
{
	static const ngx_uint_t levels[] = {
		[MR_LOG_ERROR] = NGX_LOG_ERR,
		[MR_LOG_WARN] = NGX_LOG_WARN,
		[MR_LOG_INFO] = NGX_LOG_INFO,
		[MR_LOG_DEBUG] = NGX_LOG_DEBUG,
	};
	const char *text = strstr(ev->as.log.line, "msg=");
	int level = ev->as.log.level;
	if (level < MR_LOG_ERROR || level > MR_LOG_DEBUG) level = MR_LOG_WARN;
	ngx_log_error(levels[level], ngx_cycle->log, 0, "moonrabbit: %s",
		text ? text : ev->as.log.line);
}

/* Only lines that error_log takes are made. */
static int log_level(void)
{
	ngx_uint_t level = ngx_cycle->log->log_level;
	if (level >= NGX_LOG_DEBUG) return MR_LOG_DEBUG;
	if (level >= NGX_LOG_INFO) return MR_LOG_INFO;
	return level >= NGX_LOG_WARN ? MR_LOG_WARN : MR_LOG_ERROR;
}

/* ---- events ---- */

static void dispatch(mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DELIVERY: deliver(ev); break;
	case MR_EV_DONE: tell(ev->as.done.token, ev); break;
	case MR_EV_HEALTH: tell(ev->as.health.token, ev); break;
	case MR_EV_RETURN: mr_delivery_release(runtime, ev->as.returned.delivery); break;
	case MR_EV_CONFIRM:
	case MR_EV_CONNECTION:
	case MR_EV_CHANNEL:
	case MR_EV_CANCEL: ngx_mr_broker_event(ev); break;
	case MR_EV_LOG: write_line(ev); break;
	default: break;
	}
	mr_event_fini(ev);
}

/* Takes events until there are none: a poll without any tells the library that this thread is not busy
 * but sleeps in nginx's loop. */
static void take_events(void)
{
	mr_event events[EVENTS];
	for (int round = 0; round < ROUNDS; round++) {
		int n = mr_runtime_poll(runtime, events, EVENTS, 0);
		if (n <= 0) return;
		for (int i = 0; i < n; i++) dispatch(&events[i]);
	}
}

/* nginx also calls it, with `close` set, when the worker begins to quit: see begin_watching. */
static void on_readable(ngx_event_t *event)
{
	ngx_connection_t *c = event->data;
	if (c->close) ngx_mr_brokers_drain();
	take_events();
}

static void on_writable(ngx_event_t *event) { (void)event; }

static ngx_int_t begin_watching(void)
{
	wake = ngx_get_connection(mr_runtime_fd(runtime), ngx_cycle->log);
	if (!wake) return NGX_ERROR;
	wake->read->handler = on_readable;
	wake->write->handler = on_writable;
	wake->read->log = wake->write->log = ngx_cycle->log;
	wake->idle = 1; /* a worker that quits closes what is idle: so we hear of it */
	return ngx_add_event(wake->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
}

static void end_watching(void)
{
	if (!wake) return;
	if (wake->read->active) ngx_del_event(wake->read, NGX_READ_EVENT, 0);
	ngx_free_connection(wake);
	wake->fd = (ngx_socket_t)-1; /* the descriptor is the library's */
	wake = NULL;
}

static mr_runtime *begin(void)
{
	int status = mr_runtime_new(&runtime);
	if (status == MR_OK) {
		ngx_rbtree_init(&objects, &objects_sentinel, ngx_rbtree_insert_value);
		mr_runtime_log(runtime, log_level(), MR_LOG_LOGFMT);
		mr_runtime_log_events(runtime, true);
		if (begin_watching() == NGX_OK) return runtime;
		status = MR_NO_DESCRIPTORS;
	}
	ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0, "moonrabbit: no runtime: %s",
		mr_status_text(status));
	ngx_mr_runtime_end();
	return NULL;
}

mr_runtime *ngx_mr_runtime(void) { return runtime ? runtime : begin(); }

void ngx_mr_runtime_end(void)
{
	end_watching();
	mr_runtime_free(runtime, ngx_exiting ? QUIT_PATIENCE : STOP_PATIENCE);
	runtime = NULL;
}

ngx_int_t ngx_mr_http_status(int status)
{
	switch (status) {
	case MR_OK: return NGX_HTTP_NO_CONTENT;
	case MR_BAD_ARGUMENT: return NGX_HTTP_BAD_REQUEST;
	case MR_ACCESS_REFUSED: return NGX_HTTP_FORBIDDEN;
	case MR_NOT_FOUND:
	case MR_RETURNED: return NGX_HTTP_NOT_FOUND;
	case MR_RESOURCE_LOCKED: return NGX_HTTP_CONFLICT;
	case MR_CONTENT_TOO_LARGE: return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
	case MR_NO_MEMORY: return NGX_HTTP_INTERNAL_SERVER_ERROR;
	case MR_LOST:
	case MR_TIMEOUT: return NGX_HTTP_GATEWAY_TIME_OUT;
	default: return NGX_HTTP_SERVICE_UNAVAILABLE;
	}
}
