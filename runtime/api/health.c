/* health: the host's calls for health: which checks to run, its own results, its meters.
 * SPDX-License-Identifier: MIT
 * Host thread. The I/O thread does the checks, so that they also work during a stall of the host. */
#include <math.h>
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"

#define CHECKS_KNOWN 63u
#define PATH_SIZE_MAX 255

static enum mr_status send(mr_runtime *rt, enum mr_health_command what, uint64_t token)
{
	struct mr_command c = {.type = MR_CMD_HEALTH, .token = token, .health = {.what = what}};
	return mr_command_send(rt, &c);
}

/* Frees the command's data if it cannot be sent. */
static enum mr_status give(mr_runtime *rt, const struct mr_command *c, void *taken)
{
	enum mr_status st = mr_command_send(rt, c);
	if (st != MR_OK) mr_free(taken);
	return st;
}

static bool is_time(double seconds) { return seconds >= 0 && isfinite(seconds); }

int mr_health_configure(mr_runtime *rt, const mr_health_options *o)
{
	bool is_sane = !(o->checks & ~CHECKS_KNOWN) && is_time(o->stalled) && is_time(o->dead) &&
	               is_time(o->last_message);
	if (!is_sane) return MR_BAD_ARGUMENT;
	mr_health_options *copy = mr_malloc(sizeof *copy);
	if (!copy) return MR_NO_MEMORY;
	*copy = *o;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_OPTIONS, .options = copy}};
	return give(rt, &c, copy);
}

int mr_health_note(mr_runtime *rt, const char *name, size_t name_size, int state,
	const char *detail, size_t detail_size)
{
	struct mr_health_note *note;
	if (!name_size || name_size >= sizeof note->name || memchr(name, 0, name_size))
		return MR_BAD_ARGUMENT;
	if (state < MR_NOTE_FAILING || state > MR_NOTE_FORGET) return MR_BAD_ARGUMENT;
	note = mr_calloc(1, sizeof *note);
	if (!note) return MR_NO_MEMORY;
	note->state = state;
	memcpy(note->name, name, name_size);
	if (detail_size >= sizeof note->detail) detail_size = sizeof note->detail - 1;
	if (detail_size) memcpy(note->detail, detail, detail_size);
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_NOTE, .note = note}};
	return give(rt, &c, note);
}

int mr_health_stopping(mr_runtime *rt) { return send(rt, MR_HEALTH_STOPPING, 0); }

int mr_health_ask(mr_runtime *rt, uint64_t token)
{
	return mr_is_token(token) ? (int)send(rt, MR_HEALTH_ASK, token) : MR_BAD_ARGUMENT;
}

int mr_health_watch(mr_runtime *rt, bool on)
{
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_WATCH, .is_watched = on}};
	return mr_command_send(rt, &c);
}

int mr_http_listen(mr_runtime *rt, uint64_t token, const char *address, uint16_t port)
{
	if (!mr_is_token(token) || !address) return MR_BAD_ARGUMENT;
	char *copy = mr_strdup_n(address, strlen(address));
	if (!copy) return MR_NO_MEMORY;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.token = token,
		.health = {.what = MR_HTTP_LISTEN, .listen = {copy, port}}};
	return give(rt, &c, copy);
}

int mr_http_close(mr_runtime *rt, uint64_t token)
{
	return mr_is_token(token) ? (int)send(rt, MR_HTTP_CLOSE, token) : MR_BAD_ARGUMENT;
}

int mr_http_page(mr_runtime *rt, const char *path, bool on)
{
	if (!path || path[0] != '/' || strlen(path) > PATH_SIZE_MAX) return MR_BAD_ARGUMENT;
	char *copy = mr_strdup_n(path, strlen(path));
	if (!copy) return MR_NO_MEMORY;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_PAGE, .page = {copy, on}}};
	return give(rt, &c, copy);
}

/* It becomes a line of the response's head. */
static bool is_content_type(const char *type)
{
	if (!type || !*type || strlen(type) >= sizeof((struct mr_page_answer *)0)->type)
		return false;
	for (const char *c = type; *c; c++)
		if (*c < ' ' || *c > '~') return false;
	return true;
}

int mr_http_answer(mr_runtime *rt, uint64_t token, int code, const char *type, const char *body,
	size_t size)
{
	if (!mr_is_token(token) || code < 200 || code > 599 || !is_content_type(type) ||
		(!body && size))
		return MR_BAD_ARGUMENT;
	struct mr_page_answer *answer = mr_malloc(sizeof *answer + size);
	if (!answer) return MR_NO_MEMORY;
	answer->code = (unsigned)code;
	answer->size = size;
	memcpy(answer->type, type, strlen(type) + 1);
	if (size) memcpy(answer->body, body, size);
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_ANSWER, .answer = {token, answer}}};
	return give(rt, &c, answer);
}

/* ---- meters ---- */

static mr_meter *find(const mr_runtime *rt, mr_slice label)
{
	for (size_t i = 0; i < rt->meter_count; i++)
		if (mr_slice_equal(mr_slice_str(rt->meters[i]->queue), label)) return rt->meters[i];
	return NULL;
}

mr_meter *mr_meter_of(mr_runtime *rt, const char *queue, size_t size)
{
	mr_slice label = mr_meter_label(mr_slice_of(queue, size));
	if (label.size > 255) label.size = 255;
	mr_meter *m = find(rt, label);
	if (m) return m;
	if (rt->meter_count >= MR_METERS_MAX) {
		label = mr_slice_str("(other)");
		if ((m = find(rt, label))) return m;
	}
	m = mr_meter_new(label);
	if (!m) return NULL;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_METER, .meter = m}};
	if (give(rt, &c, m) != MR_OK) return NULL;
	rt->meters[rt->meter_count++] = m;
	return m;
}

static uint64_t to_ns(double seconds)
{
	return seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e9) : 0;
}

double mr_meter_handled(mr_meter *meter, double began, bool failed)
{
	double now = mr_now(), took = now - began;
	if (meter) mr_meter_add(meter, 1, to_ns(took), failed);
	return now;
}

void mr_meter_handled_many(mr_meter *meter, double count, double seconds)
{
	if (meter && count > 0 && count < 1e9)
		mr_meter_add(meter, (uint64_t)count, to_ns(seconds), 0);
}

void mr_meter_late(mr_meter *meter)
{
	if (meter) mr_meter_count(meter, MR_METER_LATE);
}

void mr_meter_retried(mr_meter *meter)
{
	if (meter) mr_meter_count(meter, MR_METER_RETRIES);
}

void mr_meter_buried(mr_meter *meter)
{
	if (meter) mr_meter_count(meter, MR_METER_DEAD);
}

void mr_meter_oldest(mr_meter *meter, double began)
{
	if (meter) mr_meter_see_oldest(meter, began);
}

void mr_meter_messages(mr_meter *meter, double count)
{
	if (meter) mr_meter_look(meter, count >= 0 && count < 9e15 ? (int64_t)count : -1);
}
