/* ngx_mr_options: reads the arguments of the directives, and checks them.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

#define PUBLISH_TIMEOUT 10000 /* ms */
#define PREFETCH 16
#define KEEPALIVE 15000 /* ms: below the minute after which proxies close what is silent */

/* NAME=VALUE: is it this name? */
static ngx_uint_t has_name(const ngx_str_t *arg, const char *name, ngx_str_t *value)
{
	size_t size = ngx_strlen(name);
	if (arg->len <= size || arg->data[size] != '=') return 0;
	if (ngx_strncmp(arg->data, name, size) != 0) return 0;
	value->data = arg->data + size + 1;
	value->len = arg->len - size - 1;
	return 1;
}

/* A wrong argument may be anything, such as a URL with its password in the place of an option: of a
 * NAME=VALUE the name is shown, of another one the word that it begins with. */
static char *complain(ngx_conf_t *cf, const char *what, const ngx_str_t *arg)
{
	static const char in_words[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$";
	ngx_str_t word = {strspn((char *)arg->data, in_words), arg->data};
	ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V%s\"", what, &word,
		word.len < arg->len ? "..." : "");
	return NGX_CONF_ERROR;
}

static char *compile(ngx_conf_t *cf, ngx_str_t *text, ngx_http_complex_value_t **out)
{
	ngx_http_compile_complex_value_t how = {.cf = cf, .value = text};
	if (*out) return complain(cf, "given twice:", text);
	how.complex_value = *out = ngx_pcalloc(cf->pool, sizeof **out);
	if (!*out) return NGX_CONF_ERROR;
	return ngx_http_compile_complex_value(&how) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}

static char *read_time(ngx_conf_t *cf, ngx_str_t *text, ngx_msec_t *out)
{
	ngx_int_t ms = ngx_parse_time(text, 0);
	if (ms == NGX_ERROR || ms <= 0) return complain(cf, "invalid time", text);
	*out = (ngx_msec_t)ms;
	return NGX_CONF_OK;
}

static char *read_flag(ngx_conf_t *cf, ngx_str_t *text, ngx_flag_t *out)
{
	ngx_uint_t is_on = ngx_strcmp(text->data, "on") == 0;
	if (!is_on && ngx_strcmp(text->data, "off") != 0)
		return complain(cf, "neither \"on\" nor \"off\":", text);
	*out = (ngx_flag_t)is_on;
	return NGX_CONF_OK;
}

/* Takes over the requests of this location. */
static char *serve(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
	ngx_http_core_loc_conf_t *core =
		ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
	if (core->handler) return "conflicts with another handler of this location";
	core->handler = handler;
	return NGX_CONF_OK;
}

/* ---- moonrabbit_publish ---- */

static char *read_publish_option(ngx_conf_t *cf, ngx_mr_publish_conf_t *p, ngx_str_t *arg)
{
	ngx_str_t value;
	if (has_name(arg, "message", &value)) return compile(cf, &value, &p->message);
	if (has_name(arg, "content_type", &value)) return compile(cf, &value, &p->content_type);
	if (has_name(arg, "message_id", &value)) return compile(cf, &value, &p->message_id);
	if (has_name(arg, "persistent", &value)) return compile(cf, &value, &p->persistent);
	if (has_name(arg, "mandatory", &value)) return read_flag(cf, &value, &p->mandatory);
	if (has_name(arg, "timeout", &value)) return read_time(cf, &value, &p->timeout);
	return complain(cf, "invalid parameter", arg);
}

char *ngx_mr_read_publish(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
	ngx_mr_loc_conf_t *location = conf;
	ngx_str_t *args = cf->args->elts;
	ngx_mr_publish_conf_t *p = ngx_pcalloc(cf->pool, sizeof *p);
	(void)command;
	if (!p) return NGX_CONF_ERROR;
	if (location->publish) return "is duplicate";
	location->publish = p;
	p->timeout = PUBLISH_TIMEOUT;
	p->mandatory = 1;
	char *rc = compile(cf, &args[1], &p->exchange);
	if (rc == NGX_CONF_OK) rc = compile(cf, &args[2], &p->key);
	for (ngx_uint_t i = 3; rc == NGX_CONF_OK && i < cf->args->nelts; i++)
		rc = read_publish_option(cf, p, &args[i]);
	return rc == NGX_CONF_OK ? serve(cf, ngx_mr_publish_handler) : rc;
}

/* ---- moonrabbit_subscribe ---- */

static char *read_prefetch(ngx_conf_t *cf, ngx_str_t *text, ngx_int_t *out)
{
	*out = ngx_atoi(text->data, text->len);
	return *out < 1 || *out > 65535 ? complain(cf, "not from 1 to 65535:", text) : NGX_CONF_OK;
}

static char *read_subscribe_option(ngx_conf_t *cf, ngx_mr_subscribe_conf_t *s, ngx_str_t *arg)
{
	ngx_str_t value;
	if (has_name(arg, "exchange", &value)) return compile(cf, &value, &s->exchange);
	if (has_name(arg, "key", &value)) return compile(cf, &value, &s->key);
	if (has_name(arg, "prefetch", &value)) return read_prefetch(cf, &value, &s->prefetch);
	if (has_name(arg, "keepalive", &value)) return read_time(cf, &value, &s->keepalive);
	if (has_name(arg, "retry", &value)) return read_time(cf, &value, &s->retry);
	return complain(cf, "invalid parameter", arg);
}

/* A queue that exists, or one for each request, bound to an exchange. */
static char *check_subscribe(const ngx_str_t *queue, const ngx_mr_subscribe_conf_t *s)
{
	if (!queue->len && !s->exchange) return "needs a queue, or exchange=";
	if (queue->len && s->exchange)
		return "takes either a queue or exchange=; a queue of its own is \"\"";
	if (s->key && !s->exchange) return "has key= without exchange=";
	return NGX_CONF_OK;
}

char *ngx_mr_read_subscribe(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
	ngx_mr_loc_conf_t *location = conf;
	ngx_str_t *args = cf->args->elts;
	ngx_mr_subscribe_conf_t *s = ngx_pcalloc(cf->pool, sizeof *s);
	(void)command;
	if (!s) return NGX_CONF_ERROR;
	if (location->subscribe) return "is duplicate";
	location->subscribe = s;
	s->prefetch = PREFETCH;
	s->keepalive = KEEPALIVE;
	char *rc = compile(cf, &args[1], &s->queue);
	for (ngx_uint_t i = 2; rc == NGX_CONF_OK && i < cf->args->nelts; i++)
		rc = read_subscribe_option(cf, s, &args[i]);
	if (rc == NGX_CONF_OK) rc = check_subscribe(&args[1], s);
	return rc == NGX_CONF_OK ? serve(cf, ngx_mr_subscribe_handler) : rc;
}

/* ---- moonrabbit_url ---- */

mr_options *ngx_mr_options(const ngx_str_t *url, mr_error *error)
{
	char name[300];
	mr_options *options = mr_options_new();
	int size = snprintf(name, sizeof name, "nginx worker %d@%.*s", (int)ngx_worker,
		(int)ngx_cycle->hostname.len, (char *)ngx_cycle->hostname.data);
	if (!options) {
		*error = (mr_error){.kind = MR_NO_MEMORY, .text = "out of memory"};
		return NULL;
	}
	if (mr_options_string(options, "name", name, (size_t)size, error) == MR_OK &&
		mr_options_string(options, "url", (char *)url->data, url->len, error) == MR_OK)
		return options;
	mr_options_free(options);
	return NULL;
}

/* Is it a file? Its name is relative to the folder of nginx.conf, like any other's. */
static ngx_uint_t is_file(const ngx_str_t *arg)
{
	ngx_str_t value;
	return has_name(arg, "ssl_options.ca_certs", &value) ||
	       has_name(arg, "ssl_options.certfile", &value) ||
	       has_name(arg, "ssl_options.keyfile", &value);
}

/* Appends an option to the query of the URL, where the library reads and checks it. */
static char *append(ngx_conf_t *cf, ngx_str_t *url, const ngx_str_t *arg)
{
	u_char *sign = (u_char *)ngx_strlchr(arg->data, arg->data + arg->len, '=');
	if (!sign) return complain(cf, "not NAME=VALUE:", arg);
	ngx_str_t value = {(size_t)(arg->data + arg->len - sign - 1), sign + 1};
	if (is_file(arg) && ngx_conf_full_name(cf->cycle, &value, 1) != NGX_OK)
		return NGX_CONF_ERROR;
	size_t escaped = value.len +
	                 2 * ngx_escape_uri(NULL, value.data, value.len, NGX_ESCAPE_URI_COMPONENT);
	size_t name = (size_t)(sign + 1 - arg->data);
	u_char *text = ngx_pnalloc(cf->pool, url->len + 1 + name + escaped + 1);
	if (!text) return NGX_CONF_ERROR;
	u_char *at = ngx_cpymem(text, url->data, url->len);
	*at++ = ngx_strlchr(url->data, url->data + url->len, '?') ? '&' : '?';
	at = ngx_cpymem(at, arg->data, name);
	at = (u_char *)ngx_escape_uri(at, value.data, value.len, NGX_ESCAPE_URI_COMPONENT);
	*at = '\0';
	*url = (ngx_str_t){(size_t)(at - text), text};
	return NGX_CONF_OK;
}

char *ngx_mr_read_url(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
	ngx_mr_loc_conf_t *location = conf;
	ngx_str_t *args = cf->args->elts, url = args[1];
	mr_error error = {.text = ""};
	(void)command;
	if (location->text.data) return "is duplicate";
	for (ngx_uint_t i = 2; i < cf->args->nelts; i++)
		if (append(cf, &url, &args[i]) != NGX_CONF_OK) return NGX_CONF_ERROR;
	mr_options *options = ngx_mr_options(&url, &error);
	if (!options) {
		ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "moonrabbit_url: %s", error.text);
		return NGX_CONF_ERROR;
	}
	mr_options_free(options);
	location->text = url;
	return NGX_CONF_OK;
}

/* Only a connection says whether its options fit each other. It is not opened. */
static int check(const ngx_str_t *url, mr_error *error)
{
	mr_runtime *rt;
	mr_connection *conn;
	mr_options *options = ngx_mr_options(url, error);
	if (!options) return error->kind;
	int status = mr_runtime_new(&rt);
	if (status == MR_OK) {
		status = mr_connection_new(rt, options, &conn, error);
		mr_runtime_free(rt, 0);
	}
	mr_options_free(options);
	return status;
}

static ngx_mr_url_t *find_url(const ngx_array_t *urls, const ngx_str_t *text)
{
	ngx_mr_url_t **url = urls->elts;
	for (ngx_uint_t i = 0; i < urls->nelts; i++)
		if (url[i]->text.len == text->len &&
			ngx_memcmp(url[i]->text.data, text->data, text->len) == 0)
			return url[i];
	return NULL;
}

static ngx_mr_url_t *add_url(ngx_conf_t *cf, ngx_array_t *urls, const ngx_str_t *text)
{
	ngx_mr_url_t **url = ngx_array_push(urls);
	if (!url || !(*url = ngx_pcalloc(cf->pool, sizeof **url))) return NULL;
	(*url)->text = *text;
	return *url;
}

/* Without the directive: AMQP_URL of the environment that nginx was started in. */
static void take_environment(ngx_mr_loc_conf_t *conf)
{
	char *url = getenv("AMQP_URL");
	if (conf->text.data || !url || !*url) return;
	conf->text = (ngx_str_t){ngx_strlen(url), (u_char *)url};
}

char *ngx_mr_list_url(ngx_conf_t *cf, ngx_mr_loc_conf_t *conf)
{
	ngx_mr_main_conf_t *all =
		ngx_http_conf_get_module_main_conf(cf, ngx_http_moonrabbit_module);
	mr_error error = {.text = ""};
	take_environment(conf);
	if (!conf->text.data) {
		ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s needs moonrabbit_url or AMQP_URL",
			conf->publish ? "moonrabbit_publish" : "moonrabbit_subscribe");
		return NGX_CONF_ERROR;
	}
	conf->url = find_url(&all->urls, &conf->text);
	if (conf->url) return NGX_CONF_OK;
	if (check(&conf->text, &error) != MR_OK) {
		ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "moonrabbit_url: %s", error.text);
		return NGX_CONF_ERROR;
	}
	conf->url = add_url(cf, &all->urls, &conf->text);
	return conf->url ? NGX_CONF_OK : NGX_CONF_ERROR;
}
