/* ngx_mr_module: the nginx module ngx_http_moonrabbit_module: its directives and its life.
 * SPDX-License-Identifier: MIT */
#include "ngx_mr.h"

static char *read_health(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
	ngx_http_core_loc_conf_t *core =
		ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
	(void)command;
	(void)conf;
	if (core->handler) return "conflicts with another handler of this location";
	core->handler = ngx_mr_health_handler;
	return NGX_CONF_OK;
}

static ngx_command_t commands[] = {
	{ngx_string("moonrabbit_url"),
		NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
		ngx_mr_read_url, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
	{ngx_string("moonrabbit_publish"), NGX_HTTP_LOC_CONF | NGX_CONF_2MORE, ngx_mr_read_publish,
		NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
	{ngx_string("moonrabbit_subscribe"), NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
		ngx_mr_read_subscribe, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
	{ngx_string("moonrabbit_health"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, read_health,
		NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
	ngx_null_command,
};

static void *create_main_conf(ngx_conf_t *cf)
{
	ngx_mr_main_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);
	if (!conf) return NULL;
	return ngx_array_init(&conf->urls, cf->pool, 2, sizeof(ngx_mr_url_t *)) == NGX_OK ? conf
	                                                                                  : NULL;
}

static void *create_loc_conf(ngx_conf_t *cf)
{
	return ngx_pcalloc(cf->pool, sizeof(ngx_mr_loc_conf_t));
}

/* Only the URL is inherited. */
static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
	ngx_mr_loc_conf_t *outer = parent, *conf = child;
	if (!conf->text.data) conf->text = outer->text;
	return conf->publish || conf->subscribe ? ngx_mr_list_url(cf, conf) : NGX_CONF_OK;
}

/* A worker connects at once, so that its first request need not wait for that. */
static ngx_int_t init_process(ngx_cycle_t *cycle)
{
	if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE) return NGX_OK;
	ngx_mr_main_conf_t *conf =
		ngx_http_cycle_get_module_main_conf(cycle, ngx_http_moonrabbit_module);
	ngx_mr_url_t **url = conf ? conf->urls.elts : NULL;
	for (ngx_uint_t i = 0; conf && i < conf->urls.nelts; i++) ngx_mr_broker(url[i]);
	return NGX_OK;
}

static void exit_process(ngx_cycle_t *cycle)
{
	(void)cycle;
	ngx_mr_runtime_end();
}

static ngx_http_module_t context = {
	.create_main_conf = create_main_conf,
	.create_loc_conf = create_loc_conf,
	.merge_loc_conf = merge_loc_conf,
};

ngx_module_t ngx_http_moonrabbit_module = {
	NGX_MODULE_V1,
	&context,
	commands,
	NGX_HTTP_MODULE,
	NULL, /* init master */
	NULL, /* init module */
	init_process,
	NULL, /* init thread */
	NULL, /* exit thread */
	exit_process,
	NULL, /* exit master */
	NGX_MODULE_V1_PADDING,
};
