/* ngx_mr_health: the page that says whether this worker can publish, as JSON.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define PATIENCE 3000 /* ms for the runtime's answer */

typedef struct {
	ngx_mr_object_t object;
	ngx_http_request_t *request;
	ngx_event_t timer;
} page_t;

/* ---- a table as JSON; `at` NULL: only counts ---- */

typedef struct {
	u_char *at;
	size_t size;
} text_t;

static void put(text_t *t, const char *data, size_t size)
{
	if (t->at) t->at = ngx_cpymem(t->at, data, size);
	t->size += size;
}

static void put_string(text_t *t, const mr_bytes *s)
{
	size_t extra = ngx_escape_json(NULL, (u_char *)s->data, s->size);
	put(t, "\"", 1);
	if (t->at) t->at = (u_char *)ngx_escape_json(t->at, (u_char *)s->data, s->size);
	t->size += s->size + extra;
	put(t, "\"", 1);
}

static void put_number(text_t *t, const mr_value *v)
{
	char text[64];
	int size;
	switch (v->type) {
	case 't': size = snprintf(text, sizeof text, "%s", v->as.boolean ? "true" : "false"); break;
	case 'f':
	case 'd': size = snprintf(text, sizeof text, "%.3f", v->as.real); break;
	case 'B':
	case 'u':
	case 'i':
	case 'L':
	case 'T':
		size = snprintf(text, sizeof text, "%llu", (unsigned long long)v->as.natural);
		break;
	case 'b':
	case 's':
	case 'I':
	case 'l': size = snprintf(text, sizeof text, "%lld", (long long)v->as.integer); break;
	default: size = snprintf(text, sizeof text, "null"); break;
	}
	put(t, text, (size_t)size);
}

static void put_table(text_t *t, const mr_table *table, ngx_uint_t is_array)
{
	put(t, is_array ? "[" : "{", 1);
	for (uint32_t i = 0; i < table->count; i++) {
		const mr_field *f = &table->fields[i];
		if (i) put(t, ",", 1);
		if (!is_array) {
			put_string(t, &f->key);
			put(t, ":", 1);
		}
		if (f->value.type == 'F' || f->value.type == 'A')
			put_table(t, f->value.as.nested, f->value.type == 'A');
		else if (f->value.type == 'S' || f->value.type == 'x')
			put_string(t, &f->value.as.bytes);
		else
			put_number(t, &f->value);
	}
	put(t, is_array ? "]" : "}", 1);
}

static ngx_int_t to_json(ngx_pool_t *pool, const mr_table *table, ngx_str_t *out)
{
	text_t count = {NULL, 0};
	put_table(&count, table, 0);
	out->data = ngx_pnalloc(pool, count.size + 1);
	if (!out->data) return NGX_ERROR;
	text_t t = {out->data, 0};
	put_table(&t, table, 0);
	*t.at++ = '\n';
	out->len = t.size + 1;
	return NGX_OK;
}

/* ---- the request ---- */

static void forget(void *data)
{
	page_t *page = data;
	ngx_mr_object_remove(&page->object);
	if (page->timer.timer_set) ngx_del_timer(&page->timer);
}

static void answer(page_t *page, ngx_uint_t status, const ngx_str_t *text)
{
	static ngx_str_t type = ngx_string("application/json");
	ngx_http_request_t *r = page->request;
	ngx_connection_t *c = r->connection;
	ngx_http_complex_value_t body = {.value = *text};
	forget(page);
	ngx_http_set_log_request(c->log, r);
	ngx_http_finalize_request(r, ngx_http_send_response(r, status, &type, &body));
	ngx_http_run_posted_requests(c);
}

static void answer_without_report(page_t *page, const char *why)
{
	ngx_str_t text = {ngx_strlen(why), (u_char *)why};
	answer(page, NGX_HTTP_SERVICE_UNAVAILABLE, &text);
}

static void on_health(ngx_mr_object_t *object, ngx_uint_t step, mr_event *ev)
{
	page_t *page = ngx_rbtree_data(&object->node, page_t, object.node);
	const mr_health *health = ev->as.health.health;
	ngx_str_t text;
	(void)step;
	if (health && health->report &&
		to_json(page->request->pool, health->report, &text) == NGX_OK)
		answer(page, health->healthy ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE, &text);
	else
		answer_without_report(page, "{\"status\":\"unhealthy\",\"error\":\"no memory\"}\n");
}

static void on_timeout(ngx_event_t *event)
{
	answer_without_report(event->data,
		"{\"status\":\"unhealthy\",\"error\":\"the runtime does not answer\"}\n");
}

ngx_int_t ngx_mr_health_handler(ngx_http_request_t *r)
{
	mr_runtime *rt = ngx_mr_runtime();
	if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD))) return NGX_HTTP_NOT_ALLOWED;
	ngx_int_t rc = ngx_http_discard_request_body(r);
	if (rc != NGX_OK) return rc;
	page_t *page = ngx_pcalloc(r->pool, sizeof *page);
	ngx_http_cleanup_t *cleanup = ngx_http_cleanup_add(r, 0);
	if (!page || !cleanup || !rt) return NGX_HTTP_INTERNAL_SERVER_ERROR;
	page->request = r;
	page->timer.handler = on_timeout;
	page->timer.data = page;
	page->timer.log = r->connection->log;
	cleanup->handler = forget;
	cleanup->data = page;
	ngx_mr_object_add(&page->object, on_health);
	if (mr_health_ask(rt, ngx_mr_token(&page->object, 0)) != MR_OK)
		return NGX_HTTP_SERVICE_UNAVAILABLE;
	ngx_add_timer(&page->timer, PATIENCE);
	r->main->count++;
	return NGX_DONE;
}
