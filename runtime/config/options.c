/* options: a connection's options, set by name and checked one by one.
 * SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/number.h"

struct option {
	const char *name;
	enum mr_option_type type;
	double least, most;
};

#define OPTION(upper, name, type, least, most, usual, text) {name, MR_OPTION_##type, least, most},
static const struct option options[MR_OPTION_COUNT] = {MR_OPTIONS(OPTION)};
static const char *const type_names[] = {"a string", "a number", "a boolean", "a table"};

mr_options *mr_options_new(void) { return mr_calloc(1, sizeof(mr_options)); }

void mr_options_free(mr_options *o)
{
	if (!o) return;
	for (size_t i = 0; i < MR_OPTION_COUNT; i++) {
		mr_free(o->values[i].string);
		mr_table_free(o->values[i].table);
	}
	mr_free(o);
}

static enum mr_status bad(mr_error *error, const char *text)
{
	return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0, "%s", text);
}

/* The names that other libraries use. */
static const char *of_others(const char *name)
{
	static const char *const pairs[][2] = {{"host", "hostname"}, {"server", "hostname"},
		{"address", "hostname"}, {"user", "userid"}, {"username", "userid"},
		{"login", "userid"}, {"pass", "password"}, {"passwd", "password"},
		{"vhost", "virtual_host"}, {"virtualhost", "virtual_host"}, {"uri", "url"},
		{"tls", "ssl"}, {"timeout", "connect_timeout"}, {"reconnect", "recover"},
		{"connection_name", "name"}, {"cafile", "ssl_options.ca_certs"},
		{"cacertfile", "ssl_options.ca_certs"}, {"ca", "ssl_options.ca_certs"},
		{"cert", "ssl_options.certfile"}, {"key", "ssl_options.keyfile"},
		{"verify", "ssl_options.verify"}, {"ssl_options.cafile", "ssl_options.ca_certs"},
		{"ssl_options.cacertfile", "ssl_options.ca_certs"},
		{"ssl_options.ca", "ssl_options.ca_certs"},
		{"ssl_options.key", "ssl_options.keyfile"},
		{"ssl_options.cert", "ssl_options.certfile"},
		{"ssl_options.server_hostname", "ssl_options.server_name"}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if (strcasecmp(pairs[i][0], name) == 0) return pairs[i][1];
	return NULL;
}

static enum mr_status unknown(const char *name, mr_error *error)
{
	const char *names[MR_OPTION_COUNT];
	char text[300];
	for (size_t i = 0; i < MR_OPTION_COUNT; i++) names[i] = options[i].name;
	const char *nearest = of_others(name);
	if (!nearest) nearest = mr_error_nearest(name, strlen(name), names, MR_OPTION_COUNT);
	if (nearest)
		snprintf(text, sizeof text, "unknown option \"%.60s\": did you mean \"%s\"?", name,
			nearest);
	else
		snprintf(text, sizeof text,
			"unknown option \"%.60s\": docs/configuration.md lists them", name);
	return bad(error, text);
}

static int find(const char *name)
{
	for (int i = 0; i < MR_OPTION_COUNT; i++)
		if (strcmp(options[i].name, name) == 0) return i;
	return -1;
}

static enum mr_status wrong_type(int id, enum mr_option_type got, mr_error *error)
{
	char text[200];
	snprintf(text, sizeof text, "option \"%s\" must be %s, not %s", options[id].name,
		type_names[options[id].type], type_names[got]);
	return bad(error, text);
}

/* Returns the option to set, or NULL and the error. */
static struct mr_option_value *value_of(mr_options *o, const char *name, enum mr_option_type type,
	int *id, mr_error *error)
{
	*id = find(name);
	if (*id < 0)
		unknown(name, error);
	else if (options[*id].type != type)
		wrong_type(*id, type, error);
	else
		return &o->values[*id];
	return NULL;
}

/* The options that allow only a few words. */
static enum mr_status check_word(int id, const char *text, mr_error *error)
{
	static const struct {
		int id;
		const char *words[3];
	} choices[] = {
		{MR_OPT_HOSTS, {"shuffled", "in_order", NULL}},
		{MR_OPT_HEARTBEAT_MODE, {"thread", "loop", NULL}},
		{MR_OPT_AUTH, {"plain", "external", NULL}},
		{MR_OPT_SSL_MIN_VERSION, {"1.2", "1.3", NULL}},
	};
	for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
		if (choices[i].id != id) continue;
		for (size_t k = 0; choices[i].words[k]; k++)
			if (strcmp(choices[i].words[k], text) == 0) return MR_OK;
		return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
			"option \"%s\" must be \"%s\" or \"%s\", not \"%.60s\"", options[id].name,
			choices[i].words[0], choices[i].words[1], text);
	}
	return MR_OK;
}

int mr_options_string(mr_options *o, const char *name, const char *text, size_t size,
	mr_error *error)
{
	int id;
	struct mr_option_value *v = value_of(o, name, MR_OPTION_STRING, &id, error);
	if (!v) return MR_BAD_OPTION;
	if (size && memchr(text, 0, size))
		return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
			"option \"%s\" holds a NUL byte", name);
	char *copy = mr_strdup_n(text, size);
	if (!copy) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONFIG, 0, "out of memory");
	enum mr_status st = check_word(id, copy, error);
	if (st != MR_OK) {
		mr_free(copy);
		return st;
	}
	mr_free(v->string);
	v->string = copy;
	v->is_set = true;
	return MR_OK;
}

/* Seconds that may be 0 and have a fraction. */
static bool is_seconds(int id)
{
	return id == MR_OPT_BLOCKED || id == MR_OPT_CONSUMER_CHECK || id == MR_OPT_RETRY_DELAY ||
	       id == MR_OPT_INTERVAL_START || id == MR_OPT_INTERVAL_STEP ||
	       id == MR_OPT_INTERVAL_MAX;
}

int mr_options_number(mr_options *o, const char *name, double number, mr_error *error)
{
	int id;
	struct mr_option_value *v = value_of(o, name, MR_OPTION_NUMBER, &id, error);
	if (!v) return MR_BAD_OPTION;
	bool is_whole = options[id].least != 0.001 && !is_seconds(id);
	if (!(number >= options[id].least && number <= options[id].most) ||
		(is_whole && number != floor(number)))
		return mr_error_set(error, MR_BAD_OPTION, MR_SCOPE_CONFIG, 0,
			"option \"%s\" must be a %snumber from %.10g to %.10g, not %.10g", name,
			is_whole ? "whole " : "", options[id].least, options[id].most, number);
	if (id == MR_OPT_FRAME_MAX && number > 0 && number < 4096)
		return bad(error, "option \"frame_max\" must be 0 or at least 4096");
	v->number = number;
	v->is_set = true;
	return MR_OK;
}

int mr_options_boolean(mr_options *o, const char *name, bool value, mr_error *error)
{
	int id;
	struct mr_option_value *v = value_of(o, name, MR_OPTION_BOOLEAN, &id, error);
	if (!v) return MR_BAD_OPTION;
	v->boolean = value;
	v->is_set = true;
	return MR_OK;
}

int mr_options_table(mr_options *o, const char *name, mr_table *table, mr_error *error)
{
	int id;
	struct mr_option_value *v = value_of(o, name, MR_OPTION_TABLE, &id, error);
	if (!v) return MR_BAD_OPTION;
	mr_table_free(v->table);
	v->table = table;
	v->is_set = true;
	return MR_OK;
}

enum mr_status mr_options_text(mr_options *o, const char *name, mr_slice text, mr_error *error)
{
	int id = find(name);
	char copy[64], *end;
	if (id < 0) return unknown(name, error);
	if (options[id].type == MR_OPTION_STRING)
		return (enum mr_status)mr_options_string(o, name, text.data, text.size, error);
	snprintf(copy, sizeof copy, "%.*s", (int)text.size, text.data);
	if (options[id].type == MR_OPTION_NUMBER) {
		double number = mr_number_read(copy, &end);
		if (end == copy || *end) return wrong_type(id, MR_OPTION_STRING, error);
		return (enum mr_status)mr_options_number(o, name, number, error);
	}
	bool yes = strcmp(copy, "true") == 0 || strcmp(copy, "1") == 0;
	bool no = strcmp(copy, "false") == 0 || strcmp(copy, "0") == 0;
	if (options[id].type != MR_OPTION_BOOLEAN || (!yes && !no))
		return wrong_type(id, MR_OPTION_STRING, error);
	return (enum mr_status)mr_options_boolean(o, name, yes, error);
}
