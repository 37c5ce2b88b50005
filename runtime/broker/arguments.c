/* arguments: the x-arguments of queues and exchanges: read, checked, compared.
 * SPDX-License-Identifier: MIT */
#include "broker/arguments.h"

#include <inttypes.h>
#include <stdio.h>

#include "broker/headers.h"
#include "broker/refuse.h"

#define PRIORITY_MAX 255
#define TTL_MAX UINT32_MAX /* ms; RabbitMQ's limit, from Erlang's timers */

const char *const mr_queue_arguments[] = {"x-expires", "x-message-ttl", "x-dead-letter-exchange",
	"x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes", "x-max-priority",
	"x-overflow", "x-queue-mode", "x-single-active-consumer", "x-queue-type", NULL};

/* RabbitMQ's names of the wire types (rabbit_binary_parser). */
static const char *type_name(const mr_value *v)
{
	static const struct {
		char type;
		const char *name;
	} names[] = {{'S', "longstr"}, {'I', "signedint"}, {'i', "unsignedint"}, {'D', "decimal"},
		{'T', "timestamp"}, {'F', "table"}, {'A', "array"}, {'b', "byte"},
		{'B', "unsignedbyte"}, {'d', "double"}, {'f', "float"}, {'l', "long"},
		{'L', "long"}, {'s', "short"}, {'u', "unsignedshort"}, {'t', "bool"},
		{'x', "binary"}, {'V', "void"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].type == (char)v->type) return names[i].name;
	return "unknown";
}

/* ---- reading ---- */

struct reading {
	const mr_table *arguments;
	mr_slice queue;
	const char *vhost;
	mr_error *error;
};

static enum mr_status invalid(const struct reading *r, const char *key, const char *why)
{
	return mr_refuse(r->error, 406, "invalid arg '%s' for queue '%.*s' in vhost '%s': %s", key,
		(int)r->queue.size, r->queue.data, r->vhost, why);
}

static enum mr_status wrong_type(const struct reading *r, const char *key, const mr_value *v)
{
	char why[64];
	snprintf(why, sizeof why, "{unacceptable_type,%s}", type_name(v));
	return invalid(r, key, why);
}

/* A number of at least `least`; *out stays when it is not given. */
static enum mr_status read_number(const struct reading *r, const char *key, int64_t least,
	int64_t most, int64_t *out)
{
	char why[64];
	int64_t n;
	const mr_value *v = mr_table_find(r->arguments, key);
	if (!v) return MR_OK;
	if (!mr_value_integer(v, &n)) return wrong_type(r, key, v);
	if (n < 0) {
		snprintf(why, sizeof why, "{value_negative,%" PRId64 "}", n);
		return invalid(r, key, why);
	}
	if (n < least) return invalid(r, key, "{value_zero,0}");
	if (n > most) {
		snprintf(why, sizeof why, "{value_too_large,%" PRId64 "}", n);
		return invalid(r, key, why);
	}
	*out = n;
	return MR_OK;
}

static enum mr_status read_string(const struct reading *r, const char *key, mr_slice *out)
{
	const mr_value *v = mr_table_find(r->arguments, key);
	if (!v) return MR_OK;
	if (v->type != 'S') return wrong_type(r, key, v);
	*out = v->as.bytes;
	return MR_OK;
}

static enum mr_status read_overflow(const struct reading *r, enum mr_overflow *out)
{
	static const char *const names[] = {"drop-head", "reject-publish", "reject-publish-dlx"};
	mr_slice text = {0};
	enum mr_status st = read_string(r, "x-overflow", &text);
	if (st != MR_OK || !text.data) return st;
	for (int i = 0; i < 3; i++) {
		if (!mr_slice_equal(text, mr_slice_str(names[i]))) continue;
		*out = (enum mr_overflow)i;
		return MR_OK;
	}
	return invalid(r, "x-overflow", "invalid_overflow");
}

static enum mr_status read_dead_letters(const struct reading *r, struct mr_limits *out)
{
	enum mr_status st = read_string(r, "x-dead-letter-exchange", &out->dead_exchange);
	if (st == MR_OK) st = read_string(r, "x-dead-letter-routing-key", &out->dead_key);
	if (st != MR_OK) return st;
	if (out->dead_key.data && !out->dead_exchange.data)
		return invalid(r, "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined");
	return MR_OK;
}

static enum mr_status read_queue_type(const struct reading *r)
{
	mr_slice type = {0};
	enum mr_status st = read_string(r, "x-queue-type", &type);
	if (st != MR_OK || !type.data || mr_slice_equal(type, mr_slice_str("classic"))) return st;
	return mr_refuse(r->error, 406,
		"the embedded broker has classic queues only, not x-queue-type '%.*s'",
		(int)type.size, type.data);
}

enum mr_status mr_limits_read(struct mr_limits *out, const mr_table *arguments, mr_slice queue,
	const char *vhost, mr_error *error)
{
	struct reading r = {arguments, queue, vhost, error};
	struct mr_limits l = {.ttl = -1, .expires = -1, .max_length = -1, .max_bytes = -1};
	int64_t priority = 0;
	enum mr_status st = read_number(&r, "x-message-ttl", 0, TTL_MAX, &l.ttl);
	if (st == MR_OK) st = read_number(&r, "x-expires", 1, TTL_MAX, &l.expires);
	if (st == MR_OK) st = read_number(&r, "x-max-length", 0, INT64_MAX, &l.max_length);
	if (st == MR_OK) st = read_number(&r, "x-max-length-bytes", 0, INT64_MAX, &l.max_bytes);
	if (st == MR_OK) st = read_number(&r, "x-max-priority", 0, PRIORITY_MAX, &priority);
	if (st == MR_OK) st = read_overflow(&r, &l.overflow);
	if (st == MR_OK) st = read_dead_letters(&r, &l);
	if (st == MR_OK) st = read_queue_type(&r);
	if (st != MR_OK) return st;
	const mr_value *single = mr_table_find(arguments, "x-single-active-consumer");
	if (single && single->type != 't')
		return wrong_type(&r, "x-single-active-consumer", single);
	l.single_active = single && single->as.boolean;
	l.max_priority = (int)priority;
	*out = l;
	return MR_OK;
}

/* ---- comparing ---- */

static enum mr_status differs(const struct mr_thing *t, const char *argument, const char *how,
	mr_error *error)
{
	return mr_refuse(error, 406, "inequivalent arg '%s' for %s '%.*s' in vhost '%s': %s",
		argument, t->what, (int)t->name.size, t->name.data, t->vhost, how);
}

enum mr_status mr_same_flag(const struct mr_thing *thing, const char *argument, bool received,
	bool current, mr_error *error)
{
	char how[64];
	if (received == current) return MR_OK;
	snprintf(how, sizeof how, "received '%s' but current is '%s'", received ? "true" : "false",
		current ? "true" : "false");
	return differs(thing, argument, how, error);
}

static void show(char *out, size_t capacity, const mr_value *v)
{
	int64_t n;
	if (!v)
		snprintf(out, capacity, "none");
	else if (mr_value_integer(v, &n))
		snprintf(out, capacity, "the value '%" PRId64 "' of type '%s'", n, type_name(v));
	else if (v->type == 'S' || v->type == 'x')
		snprintf(out, capacity, "the value '%.*s' of type '%s'",
			(int)(v->as.bytes.size < 100 ? v->as.bytes.size : 100), v->as.bytes.data,
			type_name(v));
	else if (v->type == 't')
		snprintf(out, capacity, "the value '%s' of type 'bool'",
			v->as.boolean ? "true" : "false");
	else
		snprintf(out, capacity, "a value of type '%s'", type_name(v));
}

enum mr_status mr_same_arguments(const struct mr_thing *thing, const char *const names[],
	const mr_table *received, const mr_table *current, mr_error *error)
{
	char how[400], a[180], b[180];
	for (; *names; names++) {
		const mr_value *x = mr_table_find(received, *names);
		const mr_value *y = mr_table_find(current, *names);
		if ((!x && !y) || (x && y && mr_value_same(x, y))) continue;
		show(a, sizeof a, x);
		show(b, sizeof b, y);
		snprintf(how, sizeof how, "received %s but current is %s", a, b);
		return differs(thing, *names, how, error);
	}
	return MR_OK;
}
