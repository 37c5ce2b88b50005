/* health: the host's calls for health: which checks to run, its own results, its meters.
 * SPDX-License-Identifier: MIT
 * Host thread. The I/O thread does the checks, so that they also work during a stall of the host. */
#include <math.h>
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"
#include "bridge/pipe.h"

#define CHECKS_KNOWN 63u
#define PATH_SIZE_MAX 255
#define TOKEN_SIZE_MAX 511
#define STREAM_ROOM_MAX (16u << 20)

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

int mr_http_page_for(mr_runtime *rt, const char *path, int audience, bool on)
{
	if (!path || path[0] != '/' || strlen(path) > PATH_SIZE_MAX) return MR_BAD_ARGUMENT;
	if (audience < MR_PAGE_ALL || audience > MR_PAGE_ADMINS) return MR_BAD_ARGUMENT;
	char *copy = mr_strdup_n(path, strlen(path));
	if (!copy) return MR_NO_MEMORY;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_PAGE, .page = {copy, audience, on}}};
	return give(rt, &c, copy);
}

int mr_http_page(mr_runtime *rt, const char *path, bool on)
{
	return mr_http_page_for(rt, path, MR_PAGE_ALL, on);
}

static int show(mr_runtime *rt, int where, const char *token, bool is_now)
{
	if (where < MR_SHOW_LOCAL || where > MR_SHOW_NOWHERE) return MR_BAD_ARGUMENT;
	if (token && (!*token || strlen(token) > TOKEN_SIZE_MAX)) return MR_BAD_ARGUMENT;
	char *copy = token ? mr_strdup_n(token, strlen(token)) : NULL;
	if (token && !copy) return MR_NO_MEMORY;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_SHOW, .show = {copy, where, is_now}}};
	return give(rt, &c, copy);
}

int mr_http_show(mr_runtime *rt, int where, const char *token)
{
	return show(rt, where, token, false);
}

int mr_http_show_now(mr_runtime *rt, int where, const char *token)
{
	return show(rt, where, token, true);
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
	answer->pipe = NULL;
	answer->size = size;
	memcpy(answer->type, type, strlen(type) + 1);
	if (size) memcpy(answer->body, body, size);
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_ANSWER, .answer = {token, answer}}};
	return give(rt, &c, answer);
}

/* ---- answers that come bit by bit ---- */

/* Both threads hold the pipe from here on. */
static enum mr_status begin_stream(mr_runtime *rt, uint64_t token, const char *type,
	struct mr_pipe *pipe)
{
	struct mr_page_answer *answer = mr_calloc(1, sizeof *answer);
	if (!answer) return MR_NO_MEMORY;
	answer->code = 200;
	answer->pipe = pipe;
	memcpy(answer->type, type, strlen(type) + 1);
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_ANSWER, .answer = {token, answer}}};
	return give(rt, &c, answer);
}

int mr_http_stream(mr_runtime *rt, uint64_t token, const char *type, size_t room)
{
	if (!mr_is_token(token) || !is_content_type(type) || !room || room > STREAM_ROOM_MAX)
		return MR_BAD_ARGUMENT;
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (mr_map_get(&rt->streams, token)) return MR_BAD_ARGUMENT;
	struct mr_pipe *pipe = mr_pipe_new(room);
	if (!pipe) return MR_NO_MEMORY;
	enum mr_status st = mr_map_put(&rt->streams, token, pipe);
	if (st == MR_OK) st = begin_stream(rt, token, type, pipe);
	if (st == MR_OK) return MR_OK;
	mr_map_take(&rt->streams, token);
	mr_pipe_drop(pipe);
	mr_pipe_drop(pipe);
	return st;
}

/* At once: the host may be busy for long before it polls. */
static enum mr_status rouse_reader(mr_runtime *rt, uint64_t token, struct mr_pipe *pipe)
{
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HTTP_FLOW, .flows = token}};
	if (!mr_pipe_take_sleep(pipe)) return MR_OK;
	enum mr_status st = mr_command_send(rt, &c);
	if (st == MR_OK) mr_command_signal(rt);
	return st;
}

int mr_http_write(mr_runtime *rt, uint64_t token, const char *data, size_t size)
{
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	struct mr_pipe *pipe = mr_map_get(&rt->streams, token);
	if (!pipe) return MR_CLOSED;
	if (!mr_pipe_write(pipe, data, size)) return MR_BACKPRESSURE;
	return rouse_reader(rt, token, pipe);
}

int mr_http_end(mr_runtime *rt, uint64_t token)
{
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	struct mr_pipe *pipe = mr_map_take(&rt->streams, token);
	if (!pipe) return MR_CLOSED;
	mr_pipe_end(pipe);
	enum mr_status st = rouse_reader(rt, token, pipe);
	mr_pipe_drop(pipe);
	return st;
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

void mr_meter_paused(mr_meter *meter, bool is_paused)
{
	if (meter) mr_meter_see_paused(meter, is_paused);
}

void mr_meter_messages(mr_meter *meter, double count)
{
	if (meter) mr_meter_look(meter, count >= 0 && count < 9e15 ? (int64_t)count : -1);
}

/* ---- publishers ---- */

static struct mr_backlog_entry *find_backlog(const mr_runtime *rt, mr_slice publisher)
{
	for (size_t i = 0; i < rt->backlog_count; i++)
		if (mr_slice_equal(mr_slice_str(rt->backlogs[i]->publisher), publisher))
			return rt->backlogs[i];
	return NULL;
}

mr_backlog *mr_backlog_of(mr_runtime *rt, const char *publisher, size_t size)
{
	mr_slice name = mr_slice_of(publisher, size > 255 ? 255 : size);
	struct mr_backlog_entry *entry = find_backlog(rt, name);
	if (!entry && rt->backlog_count >= MR_BACKLOGS_MAX) {
		name = mr_slice_str("(other)");
		entry = find_backlog(rt, name);
	}
	if (entry) return &entry->words;
	entry = mr_backlog_new(name);
	if (!entry) return NULL;
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_BACKLOG, .backlog = entry}};
	if (give(rt, &c, entry) != MR_OK) return NULL;
	rt->backlogs[rt->backlog_count++] = entry;
	return &entry->words;
}
