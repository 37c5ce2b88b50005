/* sentinel: which Sentinel to ask next, and what its answer means.
 * SPDX-License-Identifier: MIT */
#include "redis/sentinel.h"

#include <stdio.h>
#include <stdlib.h>

#include "redis/failure.h"

void mr_sentinel_init(struct mr_sentinel *s, const struct mr_redis_options *options)
{
	*s = (struct mr_sentinel){.options = options};
}

void mr_sentinel_begin(struct mr_sentinel *s)
{
	s->asked = 0;
	s->has_answer = false;
	s->why = (mr_error){0};
}

static size_t current(const struct mr_sentinel *s)
{
	return (s->first + s->asked - 1) % s->options->sentinel_count;
}

const struct mr_redis_host *mr_sentinel_next(struct mr_sentinel *s)
{
	if (s->asked == s->options->sentinel_count) {
		mr_error last = s->why;
		if (!s->has_answer)
			mr_error_set(&s->why, last.kind, MR_SCOPE_CONNECTION, 0,
				"no Sentinel was reached: %.400s", last.text);
		return NULL;
	}
	s->asked++;
	return &s->options->sentinels[current(s)];
}

static bool has_login(const struct mr_redis_options *o)
{
	return o->sentinel_password && *o->sentinel_password;
}

enum mr_status mr_sentinel_ask(const struct mr_sentinel *s, struct mr_buffer *out)
{
	const struct mr_redis_options *o = s->options;
	mr_slice auth[3] = {mr_slice_str("AUTH")};
	const mr_slice ask[] = {mr_slice_str("SENTINEL"), mr_slice_str("get-master-addr-by-name"),
		mr_slice_str(o->service)};
	size_t words = 1;
	enum mr_status st = MR_OK;
	if (o->sentinel_user && *o->sentinel_user) auth[words++] = mr_slice_str(o->sentinel_user);
	auth[words++] = mr_slice_str(o->sentinel_password ? o->sentinel_password : "");
	if (has_login(o)) st = mr_redis_wire_put(out, auth, words);
	return st == MR_OK ? mr_redis_wire_put(out, ask, 3) : st;
}

/* ---- what went wrong ---- */

/* That a Sentinel was not reached says less than what another one has answered. */
void mr_sentinel_failed(struct mr_sentinel *s, const mr_error *error)
{
	if (!s->has_answer) s->why = *error;
}

static enum mr_status refuse(struct mr_sentinel *s, enum mr_status kind, const char *text)
{
	const struct mr_redis_host *asked = &s->options->sentinels[current(s)];
	s->has_answer = true;
	return mr_error_set(&s->why, kind, MR_SCOPE_CONNECTION, 0, "Sentinel at %.120s:%u: %.300s",
		asked->name, asked->port, text);
}

/* ---- replies ---- */

static bool is_text(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING && !memchr(r->str, 0, r->len);
}

/* False: this is no address. */
static bool take_address(struct mr_sentinel *s, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !is_text(r->element[0]) ||
		!is_text(r->element[1]))
		return false;
	const redisReply *host = r->element[0], *port = r->element[1];
	char *end;
	unsigned long number = strtoul(port->str, &end, 10);
	if (!host->len || host->len > MR_SENTINEL_HOST_MAX || port->len > 5 || *end || !number ||
		number > UINT16_MAX)
		return false;
	memcpy(s->host, host->str, host->len + 1);
	s->port = (uint16_t)number;
	s->first = current(s);
	return true;
}

enum mr_status mr_sentinel_take(struct mr_sentinel *s, const redisReply *reply)
{
	mr_error error = {0};
	char text[200];
	if (reply->type == REDIS_REPLY_ERROR) {
		enum mr_status kind = mr_failure_of_redis(&error, MR_SCOPE_CONNECTION,
			mr_slice_of(reply->str, reply->len));
		return refuse(s, kind, error.text);
	}
	if (reply->type == REDIS_REPLY_STATUS) return MR_TIMEOUT; /* +OK of AUTH */
	if (reply->type == REDIS_REPLY_NIL) {
		snprintf(text, sizeof text, "knows no master \"%.120s\"", s->options->service);
		return refuse(s, MR_NOT_FOUND, text);
	}
	if (take_address(s, reply)) return MR_OK;
	return refuse(s, MR_UNEXPECTED_FRAME, "has answered what was not asked");
}

void mr_sentinel_doubt(struct mr_sentinel *s)
{
	if (s->options->sentinel_count) s->first = (s->first + 1) % s->options->sentinel_count;
}

bool mr_sentinel_is_master(const redisReply *role)
{
	const redisReply *word =
		role->type == REDIS_REPLY_ARRAY && role->elements ? role->element[0] : NULL;
	return word && word->type == REDIS_REPLY_STRING && strcmp(word->str, "master") == 0;
}
