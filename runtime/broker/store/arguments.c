/* arguments: the x-arguments of queues and exchanges: read, checked, compared.
 * SPDX-License-Identifier: MIT */
#include "broker/store/arguments.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/compare.h"
#include "base/number.h"
#include "broker/store/fields.h"
#include "broker/store/reply_error.h"

#define PRIORITY_MAX 255
#define TTL_MAX 315360000000 /* ms, ten years: RabbitMQ's limit */

const char *const mr_queue_arguments[] = {"x-expires", "x-message-ttl", "x-dead-letter-exchange",
	"x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes", "x-max-priority",
	"x-overflow", "x-queue-mode", "x-single-active-consumer", "x-queue-type", "x-queue-version",
	"x-delivery-limit", "x-dead-letter-strategy", "x-max-in-memory-length",
	"x-max-in-memory-bytes", "x-queue-leader-locator", "x-quorum-initial-group-size", NULL};

/* The arguments that only the other types have. */
static const char *const not_of_classic[] = {"x-delivery-limit", "x-dead-letter-strategy",
	"x-max-in-memory-length", "x-max-in-memory-bytes", "x-queue-leader-locator",
	"x-quorum-initial-group-size", "x-initial-cluster-size", "x-max-age",
	"x-stream-max-segment-size-bytes", NULL};
static const char *const not_of_quorum[] = {"x-max-priority", "x-queue-mode", "x-queue-version",
	"x-queue-master-locator", "x-initial-cluster-size", "x-max-age",
	"x-stream-max-segment-size-bytes", NULL};

/* ---- reading ---- */

struct reading {
	mr_slice arguments, queue;
	const char *vhost;
	mr_error *error;
};

static enum mr_status invalid(const struct reading *r, const char *key, const char *why)
{
	return mr_reply_error(r->error, 406, "invalid arg '%s' for queue '%.*s' in vhost '%s': %s",
		key, (int)r->queue.size, r->queue.data, r->vhost, why);
}

static enum mr_status wrong_type(const struct reading *r, const char *key, const mr_value *v)
{
	char why[64];
	snprintf(why, sizeof why, "{unacceptable_type,%s}", mr_field_type_name(v->type));
	return invalid(r, key, why);
}

static enum mr_status not_a_number(const struct reading *r, const char *key, const mr_value *v)
{
	char why[64];
	snprintf(why, sizeof why, "\"expected integer, got %s\"", mr_field_type_name(v->type));
	return invalid(r, key, why);
}

/* Reads a number of at least `least`; *out is unchanged if it is missing. */
static enum mr_status read_number(const struct reading *r, const char *key, int64_t least,
	int64_t most, int64_t *out)
{
	char why[64];
	int64_t n;
	mr_value v;
	if (!mr_fields_get(r->arguments, key, &v)) return MR_OK;
	if (v.type == 'T' || !mr_value_integer(&v, &n)) return not_a_number(r, key, &v);
	if (n < 0) {
		snprintf(why, sizeof why, "{value_negative,%" PRId64 "}", n);
		return invalid(r, key, why);
	}
	if (n < least) return invalid(r, key, "{value_zero,0}");
	if (n > most) {
		snprintf(why, sizeof why, "{%s,%" PRId64 "}",
			most == PRIORITY_MAX ? "max_value_exceeded" : "value_too_large", n);
		return invalid(r, key, why);
	}
	*out = n;
	return MR_OK;
}

static enum mr_status read_string(const struct reading *r, const char *key, mr_slice *out)
{
	mr_value v;
	if (!mr_fields_get(r->arguments, key, &v)) return MR_OK;
	if (v.type != 'S') return wrong_type(r, key, &v);
	*out = v.as.bytes;
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
	mr_value x;
	bool has_exchange = mr_fields_get(r->arguments, "x-dead-letter-exchange", &x);
	if (has_exchange && x.type != 'S')
		return mr_reply_error(r->error, 406,
			"invalid type '%s' for arg 'x-dead-letter-exchange' in queue '%.*s' in vhost '%s'",
			mr_field_type_name(x.type), (int)r->queue.size, r->queue.data, r->vhost);
	if (has_exchange) out->dead_exchange = x.as.bytes;
	enum mr_status st = read_string(r, "x-dead-letter-routing-key", &out->dead_key);
	if (st != MR_OK) return st;
	if (out->dead_key.size > 255) /* it is sent as a short string */
		return invalid(r, "x-dead-letter-routing-key", "too_long");
	if (out->dead_key.data && !out->dead_exchange.data)
		return invalid(r, "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined");
	return MR_OK;
}

/* If it is present, it must be one of a NULL-terminated list of words. */
static enum mr_status check_word(const struct reading *r, const char *key, const char *what,
	const char *const words[])
{
	mr_slice text = {0};
	char why[300];
	enum mr_status st = read_string(r, key, &text);
	if (st != MR_OK || !text.data) return st;
	for (; *words; words++)
		if (mr_slice_equal(text, mr_slice_str(*words))) return MR_OK;
	snprintf(why, sizeof why, "\"unsupported queue %s '%.*s'\"", what,
		(int)(text.size < 200 ? text.size : 200), text.data);
	return invalid(r, key, why);
}

/* The version of RabbitMQ's storage of a queue: checked, but without effect here. */
static enum mr_status check_version(const struct reading *r)
{
	int64_t version = 1;
	char why[64];
	enum mr_status st = read_number(r, "x-queue-version", 0, INT64_MAX, &version);
	if (st != MR_OK || version == 1 || version == 2) return st;
	snprintf(why, sizeof why, "\"unsupported queue version '%" PRId64 "'\"", version);
	return invalid(r, "x-queue-version", why);
}

/* A quorum queue is a queue as any other here, with a delivery limit; docs/embedded-broker.md. */
static enum mr_status check_kind(const struct reading *r, bool *is_quorum)
{
	static const char *const types[] = {"classic", "quorum", NULL};
	static const char *const modes[] = {"default", "lazy", NULL};
	static const char *const strategies[] = {"at-most-once", "at-least-once", NULL};
	mr_slice type = {0};
	mr_value v;
	enum mr_status st = check_word(r, "x-queue-type", "type", types);
	if (st == MR_OK) st = check_word(r, "x-queue-mode", "mode", modes);
	if (st == MR_OK) st = check_word(r, "x-dead-letter-strategy", "strategy", strategies);
	if (st == MR_OK) st = read_string(r, "x-queue-type", &type);
	*is_quorum = type.data && mr_slice_equal(type, mr_slice_str("quorum"));
	const char *const *bad = *is_quorum ? not_of_quorum : not_of_classic;
	for (; st == MR_OK && *bad; bad++)
		if (mr_fields_get(r->arguments, *bad, &v))
			st = mr_reply_error(r->error, 406,
				"invalid arg '%s' for queue '%.*s' in vhost '%s' of queue type "
				"rabbit_%s_queue",
				*bad, (int)r->queue.size, r->queue.data, r->vhost,
				*is_quorum ? "quorum" : "classic");
	return st;
}

enum mr_status mr_arguments_read(struct mr_limits *out, mr_slice arguments, mr_slice queue,
	const char *vhost, mr_error *error)
{
	struct reading r = {arguments, queue, vhost, error};
	struct mr_limits l = {.ttl = -1,
		.expires = -1,
		.max_length = -1,
		.max_bytes = -1,
		.deliveries = -1};
	int64_t priority = 0;
	enum mr_status st = read_number(&r, "x-message-ttl", 0, TTL_MAX, &l.ttl);
	if (st == MR_OK) st = read_number(&r, "x-expires", 1, TTL_MAX, &l.expires);
	if (st == MR_OK) st = read_number(&r, "x-max-length", 0, INT64_MAX, &l.max_length);
	if (st == MR_OK) st = read_number(&r, "x-max-length-bytes", 0, INT64_MAX, &l.max_bytes);
	if (st == MR_OK) st = read_number(&r, "x-max-priority", 0, PRIORITY_MAX, &priority);
	if (st == MR_OK) st = read_overflow(&r, &l.overflow);
	if (st == MR_OK) st = read_dead_letters(&r, &l);
	if (st == MR_OK) st = check_kind(&r, &l.is_quorum);
	if (st == MR_OK) st = read_number(&r, "x-delivery-limit", 0, INT64_MAX, &l.deliveries);
	if (st == MR_OK) st = check_version(&r);
	if (st != MR_OK) return st;
	mr_value single;
	if (mr_fields_get(arguments, "x-single-active-consumer", &single)) {
		if (single.type != 't') return wrong_type(&r, "x-single-active-consumer", &single);
		l.single_active = single.as.boolean;
	}
	l.max_priority = (int)priority;
	*out = l;
	return MR_OK;
}

/* ---- comparing ---- */

static enum mr_status differs(const struct mr_thing *t, const char *argument, const char *how,
	mr_error *error)
{
	return mr_reply_error(error, 406, "inequivalent arg '%s' for %s '%.*s' in vhost '%s': %s",
		argument, t->what, (int)t->name.size, t->name.data, t->vhost, how);
}

enum mr_status mr_arguments_same_flag(const struct mr_thing *thing, const char *argument,
	bool received, bool current, mr_error *error)
{
	char how[64];
	if (received == current) return MR_OK;
	snprintf(how, sizeof how, "received '%s' but current is '%s'", received ? "true" : "false",
		current ? "true" : "false");
	return differs(thing, argument, how, error);
}

/* Writes the fewest digits that read back equal, always with a point, like Erlang, independent of
 * the host's locale. */
static void show_real(char *out, size_t capacity, double d)
{
	for (int digits = 6; digits <= 17; digits++) {
		mr_number_format(out, capacity, "%.*g", digits, d);
		double again = mr_number_read(out, NULL);
		if (!(again < d || again > d)) break;
	}
	size_t size = strlen(out), plain = strspn(out, "-0123456789");
	if (plain == size && size + 2 < capacity) memcpy(out + size, ".0", 3);
}

static void show(char *out, size_t capacity, const mr_value *v)
{
	int64_t n;
	if (mr_value_integer(v, &n))
		snprintf(out, capacity, "%" PRId64, n);
	else if (v->type == 'S' || v->type == 'x')
		snprintf(out, capacity, "%.*s",
			(int)(v->as.bytes.size < 100 ? v->as.bytes.size : 100), v->as.bytes.data);
	else if (v->type == 'd' || v->type == 'f')
		show_real(out, capacity, v->as.real);
	else if (v->type == 't')
		snprintf(out, capacity, "%s", v->as.boolean ? "true" : "false");
	else if (v->type == 'V')
		snprintf(out, capacity, "undefined");
	else
		snprintf(out, capacity, "a %s", mr_field_type_name(v->type));
}

static void say_difference(char *out, size_t capacity, const struct mr_walk_field *x,
	const struct mr_walk_field *y)
{
	char a[128], b[128];
	mr_value v;
	if (x) {
		mr_field_value(x, &v);
		show(a, sizeof a, &v);
	}
	if (y) {
		mr_field_value(y, &v);
		show(b, sizeof b, &v);
	}
	if (x && y && x->type == 'V')
		snprintf(out, capacity, "received none but current is '%s'", b);
	else if (x && y)
		snprintf(out, capacity, "received '%s' but current is '%s'", a, b);
	else if (x)
		snprintf(out, capacity, "received the value '%s' of type '%s' but current is none",
			a, mr_field_type_name(x->type));
	else
		snprintf(out, capacity, "received none but current is the value '%s' of type '%s'",
			b, mr_field_type_name(y->type));
}

enum mr_status mr_arguments_same(const struct mr_thing *thing, const char *const names[],
	mr_slice received, mr_slice current, mr_error *error)
{
	static const struct mr_walk_field classic = {.type = 'S', .value = {"\0\0\0\7classic", 11}};
	char how[400];
	for (; *names; names++) {
		struct mr_walk_field new, old;
		const struct mr_walk_field *x = mr_walk_find(received, *names, &new) ? &new : NULL;
		const struct mr_walk_field *y = mr_walk_find(current, *names, &old) ? &old : NULL;
		bool is_type = strcmp(*names, "x-queue-type") == 0;
		if (is_type && !x) x = &classic; /* the default type */
		if (is_type && !y) y = &classic;
		if ((!x && !y) || (x && y && mr_field_same_argument(x, y))) continue;
		say_difference(how, sizeof how, x, y);
		return differs(thing, *names, how, error);
	}
	return MR_OK;
}
