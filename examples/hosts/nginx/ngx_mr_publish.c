/* ngx_mr_publish: a request that is answered when the broker has confirmed its message.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define PROPERTIES_SIZE 1024 /* three strings of at most 255 bytes, and a few bytes */

/* ---- the message ---- */

/* The part of the body that this buffer holds, in memory or in nginx's temporary file. */
static ngx_int_t copy_part(ngx_buf_t *b, u_char *to)
{
	size_t size = (size_t)ngx_buf_size(b);
	if (!size) return NGX_OK; /* it may be no buffer but a mark, such as the body's end */
	if (!ngx_buf_in_memory(b)) {
		return ngx_read_file(b->file, to, size, b->file_pos) == (ssize_t)size ? NGX_OK
		                                                                      : NGX_ERROR;
	}
	ngx_memcpy(to, b->pos, size);
	return NGX_OK;
}

/* The request's body in one piece; `*owned`, if not NULL, is to be freed after use. */
static int take_body(ngx_http_request_t *r, ngx_str_t *body, u_char **owned)
{
	ngx_chain_t *first = r->request_body ? r->request_body->bufs : NULL;
	size_t size = 0;
	*owned = NULL;
	ngx_str_set(body, "");
	if (!first) return MR_OK;
	if (!first->next && ngx_buf_in_memory(first->buf)) {
		body->data = first->buf->pos;
		body->len = (size_t)ngx_buf_size(first->buf);
		return MR_OK;
	}
	for (ngx_chain_t *cl = first; cl; cl = cl->next) size += (size_t)ngx_buf_size(cl->buf);
	body->data = *owned = ngx_alloc(size ? size : 1, r->connection->log);
	if (!*owned) return MR_NO_MEMORY;
	for (ngx_chain_t *cl = first; cl; cl = cl->next) {
		if (copy_part(cl->buf, body->data + body->len) != NGX_OK) return MR_NO_MEMORY;
		body->len += (size_t)ngx_buf_size(cl->buf);
	}
	return MR_OK;
}

static void add_string(mr_properties *props, uint32_t flag, mr_bytes *to, const ngx_str_t *from)
{
	if (!from->len) return;
	props->flags |= flag;
	*to = (mr_bytes){(const char *)from->data, from->len};
}

static int encode_properties(const ngx_mr_publish_t *p, char *buffer, size_t size)
{
	mr_properties props = {.flags = MR_HAS_DELIVERY_MODE,
		.delivery_mode = p->is_persistent ? 2 : 1};
	add_string(&props, MR_HAS_CONTENT_TYPE, &props.content_type, &p->content_type);
	add_string(&props, MR_HAS_CONTENT_ENCODING, &props.content_encoding, &p->content_encoding);
	add_string(&props, MR_HAS_MESSAGE_ID, &props.message_id, &p->message_id);
	return mr_properties_encode(&props, buffer, size);
}

int ngx_mr_publish_send(ngx_mr_publish_t *p)
{
	char properties[PROPERTIES_SIZE];
	u_char *owned = NULL;
	ngx_str_t body = p->message;
	uint64_t number;
	int size = encode_properties(p, properties, sizeof properties);
	if (size < 0) return -size;
	int status = p->conf->message ? MR_OK : take_body(p->request, &body, &owned);
	if (status == MR_OK)
		status = mr_channel_publish(p->lane->channel, (char *)p->exchange.data,
			p->exchange.len, (char *)p->key.data, p->key.len, (char *)body.data,
			body.len, properties, (size_t)size, p->conf->mandatory ? MR_MANDATORY : 0,
			(double)p->conf->timeout / 1000, &number);
	if (owned) ngx_free(owned);
	if (status == MR_OK) p->node.key = (ngx_rbtree_key_t)number;
	return status;
}

/* ---- the answer ---- */

/* The request is answered, or its client has gone: what comes for it finds nobody. */
static void forget(void *data)
{
	ngx_mr_publish_t *p = data;
	if (p->timer.timer_set) ngx_del_timer(&p->timer);
	ngx_mr_lane_forget(p);
}

/* A client's mistake is no error of the server. */
static void log_failure(const ngx_mr_publish_t *p, ngx_int_t answer, int status)
{
	ngx_uint_t level = answer < NGX_HTTP_INTERNAL_SERVER_ERROR ? NGX_LOG_INFO : NGX_LOG_ERR;
	u_char texts[2][NGX_MR_SHOWN];
	ngx_str_t exchange = ngx_mr_show(&p->exchange, texts[0]);
	ngx_str_t key = ngx_mr_show(&p->key, texts[1]);
	ngx_log_error(level, p->request->connection->log, 0,
		"moonrabbit: not published to exchange \"%V\", key \"%V\": %s", &exchange, &key,
		mr_status_text(status));
}

static ngx_int_t conclude(ngx_mr_publish_t *p, int status)
{
	ngx_int_t answer = ngx_mr_http_status(status);
	forget(p);
	if (status != MR_OK) log_failure(p, answer, status);
	return answer;
}

void ngx_mr_publish_end(ngx_mr_publish_t *p, int status)
{
	ngx_http_request_t *r = p->request;
	ngx_connection_t *c = r->connection;
	ngx_http_set_log_request(c->log, r);
	ngx_http_finalize_request(r, conclude(p, status));
	ngx_http_run_posted_requests(c);
}

/* In line: not published. Sent: nobody knows. */
static void on_timeout(ngx_event_t *event)
{
	ngx_mr_publish_t *p = event->data;
	ngx_mr_publish_end(p, p->is_sent ? MR_TIMEOUT : MR_CONNECT_TIMEOUT);
}

/* ---- the request ---- */

static ngx_int_t evaluate(ngx_http_request_t *r, ngx_http_complex_value_t *value, ngx_str_t *out)
{
	ngx_str_null(out);
	return value ? ngx_http_complex_value(r, value, out) : NGX_OK;
}

static ngx_uint_t is_on(const ngx_str_t *text)
{
	return !(text->len == 0 || (text->len == 1 && text->data[0] == '0') ||
		 (text->len == 3 && ngx_strncasecmp(text->data, (u_char *)"off", 3) == 0));
}

/* Type and encoding are those of the body, if the body is the message. */
static void take_headers(ngx_http_request_t *r, ngx_mr_publish_t *p)
{
	ngx_table_elt_t *type = r->headers_in.content_type;
	if (p->conf->message) return;
	if (type && !p->conf->content_type) p->content_type = type->value;
	for (ngx_list_part_t *part = &r->headers_in.headers.part; part; part = part->next) {
		ngx_table_elt_t *headers = part->elts;
		for (ngx_uint_t i = 0; i < part->nelts; i++)
			if (headers[i].key.len == 16 &&
				ngx_strncasecmp(headers[i].lowcase_key,
					(u_char *)"content-encoding", 16) == 0)
				p->content_encoding = headers[i].value;
	}
}

static ngx_int_t fill(ngx_mr_publish_t *p)
{
	const ngx_mr_publish_conf_t *conf = p->conf;
	ngx_http_request_t *r = p->request;
	ngx_str_t persistent;
	if (evaluate(r, conf->exchange, &p->exchange) != NGX_OK ||
		evaluate(r, conf->key, &p->key) != NGX_OK ||
		evaluate(r, conf->message, &p->message) != NGX_OK ||
		evaluate(r, conf->content_type, &p->content_type) != NGX_OK ||
		evaluate(r, conf->message_id, &p->message_id) != NGX_OK ||
		evaluate(r, conf->persistent, &persistent) != NGX_OK)
		return NGX_ERROR;
	p->is_persistent = !conf->persistent || is_on(&persistent);
	take_headers(r, p);
	return NGX_OK;
}

static ngx_mr_publish_t *new_publish(ngx_http_request_t *r, const ngx_mr_loc_conf_t *conf)
{
	ngx_mr_publish_t *p = ngx_pcalloc(r->pool, sizeof *p);
	ngx_http_cleanup_t *cleanup = ngx_http_cleanup_add(r, 0);
	if (!p || !cleanup) return NULL;
	p->request = r;
	p->conf = conf->publish;
	p->timer.handler = on_timeout;
	p->timer.data = p;
	p->timer.log = r->connection->log;
	cleanup->handler = forget;
	cleanup->data = p;
	return fill(p) == NGX_OK ? p : NULL;
}

/* The body is read: publishes. */
static void begin(ngx_http_request_t *r)
{
	const ngx_mr_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_moonrabbit_module);
	ngx_mr_publish_t *p = new_publish(r, conf);
	ngx_mr_broker_t *b = p ? ngx_mr_broker(conf->url) : NULL;
	if (!b) {
		ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
		return;
	}
	int status = ngx_mr_lane_publish(b, p);
	if (status != MR_OK) {
		ngx_http_finalize_request(r, conclude(p, status));
		return;
	}
	ngx_add_timer(&p->timer, p->conf->timeout);
	if (r == r->main) r->read_event_handler = ngx_http_test_reading; /* a client that leaves */
}

ngx_int_t ngx_mr_publish_handler(ngx_http_request_t *r)
{
	const ngx_mr_loc_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_moonrabbit_module);
	ngx_uint_t has_body = r->method & (NGX_HTTP_POST | NGX_HTTP_PUT | NGX_HTTP_PATCH);
	if (!conf->publish->message && !has_body) return NGX_HTTP_NOT_ALLOWED;
	r->request_body_in_single_buf = 1;
	ngx_int_t rc = ngx_http_read_client_request_body(r, begin);
	return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
