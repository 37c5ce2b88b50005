/* stall: reports a host whose current work takes too long, during the stall.
 * SPDX-License-Identifier: MIT */
#include "health/stall.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "base/slice.h"

#define LIMIT 10000   /* ms: the default */
#define TICK_MAX 1000 /* ms between two checks; a quarter of the shortest limit, if that is less */
#define TICK_MIN 10
#define TICK_ABORT 250 /* ms: the same, if a handler has a time limit */
#define PATIENCE 200   /* ms: how long a report waits for its traceback */
#define ASK_AGAIN 1000 /* ms between two signals to a host that does not answer */

/* ---- the notes ---- */

static const struct mr_note *note_of(const struct mr_stall *s, uint32_t consumer)
{
	return consumer ? mr_map_get(&s->notes, consumer) : NULL;
}

static mr_msec limit_of(const struct mr_stall *s, uint32_t consumer)
{
	const struct mr_note *note = note_of(s, consumer);
	mr_msec limit = note && note->stall ? note->stall : s->limit;
	return limit > 0 ? limit : MR_NEVER;
}

static mr_msec tick_of(const struct mr_stall *s, const struct mr_note *note)
{
	mr_msec every = s->limit ? mr_earlier(TICK_MAX, s->limit / 4) : TICK_MAX;
	if (note && note->stall > 0) every = mr_earlier(every, note->stall / 4);
	if (note && note->limit) every = mr_earlier(mr_earlier(every, TICK_ABORT), note->limit / 4);
	return every > TICK_MIN ? every : TICK_MIN;
}

/* The least of all: asked for after one was removed, not for each that is added. */
static void count_ticks(struct mr_stall *s)
{
	const struct mr_note *note;
	size_t at = 0;
	s->every = tick_of(s, NULL);
	while ((note = mr_map_next(&s->notes, &at, NULL)))
		s->every = mr_earlier(s->every, tick_of(s, note));
	s->is_every_old = false;
}

static void set_tick(struct mr_stall *s)
{
	s->tick.repeat = (double)s->every / 1000;
	ev_now_update(s->loop);
	ev_timer_again(s->loop, &s->tick);
}

void mr_stall_note(struct mr_stall *s, uint32_t consumer, struct mr_note *note)
{
	struct mr_note *before = mr_map_take(&s->notes, consumer);
	if (before) s->is_every_old = true; /* the next tick counts */
	mr_free(before);
	if (!note) return;
	mr_msec every = tick_of(s, note);
	if (mr_map_put(&s->notes, consumer, note) != MR_OK)
		mr_free(note);
	else if (every < s->every) {
		s->every = every;
		set_tick(s);
	}
}

/* ---- the host ---- */

static void look(struct mr_stall *s, mr_msec now, struct mr_mark_view *out)
{
	mr_mark_look(&s->bridge->progress, now, mr_wake_is_asleep(&s->bridge->host), out);
}

/* A signal would interrupt a system call in which the thread waits, such as a sleep: then none is
 * sent. Without /proc the thread counts as running, because a report without a traceback is less
 * useful. */
static bool is_running(pid_t thread)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
	int fd = mr_descriptor_claim(open(path, O_RDONLY | O_CLOEXEC));
	if (fd < 0) return true;
	ssize_t n = read(fd, text, sizeof text - 1);
	mr_descriptor_close(fd);
	if (n <= 0) return true;
	text[n] = '\0';
	const char *name_end = strrchr(text, ')'); /* 4711 (a name) R 1 ... */
	return name_end && name_end[1] == ' ' && name_end[2] == 'R';
}

/* Returns true if a signal was sent. */
static bool interrupt_host(struct mr_stall *s)
{
	s->is_waiting = !is_running(s->host);
	if (s->is_waiting || !s->signal) return false;
	return syscall(SYS_tgkill, getpid(), s->host, s->signal) == 0;
}

static void ask(struct mr_stall *s, mr_msec now)
{
	s->asked = now;
	mr_mark_ask_trace(&s->bridge->progress);
	interrupt_host(s);
}

/* ---- the report ---- */

static void add_string(mr_table *t, const char *key, const char *text)
{
	mr_value v = {.type = 'S', .as.bytes = mr_slice_str(text)};
	if (t && *text) mr_table_add(t, key, strlen(key), &v);
}

/* For the flight recorder. */
static void record(struct mr_stall *s, bool has_ended)
{
	struct mr_tape_event e = {.time = mr_clock_us(),
		.kind = MR_TAPE_STALL,
		.name = has_ended ? "the script goes on" : "the script is stalled",
		.consumer = s->consumer};
	mr_tape_tell(&s->bridge->recorder.io, &e, mr_slice_str(s->queue));
}

static void report(struct mr_stall *s, const char *text, mr_msec now)
{
	const char *trace = s->has_trace ? NULL : mr_mark_trace(&s->bridge->progress);
	mr_table *fields = mr_table_new();
	mr_value seconds = {.type = 'd', .as.real = (double)((now - s->began + 50) / 100) / 10};
	if (fields) mr_table_add(fields, "seconds", 7, &seconds);
	add_string(fields, "queue", s->queue);
	add_string(fields, "origin", s->origin);
	if (s->host && s->state == MR_STALL_REPORTED)
		add_string(fields, "doing", s->is_waiting ? "waiting in a system call" : "running");
	if (trace) add_string(fields, "traceback", trace);
	s->has_trace = s->has_trace || trace;
	mr_log_table(s->log, MR_LOG_WARN, mr_slice_str(text), fields);
	mr_table_free(fields);
}

static void begin(struct mr_stall *s, const struct mr_mark_view *v, mr_msec now)
{
	const struct mr_note *note = note_of(s, v->consumer);
	snprintf(s->queue, sizeof s->queue, "%s", note ? note->queue : "");
	snprintf(s->origin, sizeof s->origin, "%s", note ? note->origin : "");
	s->state = MR_STALL_ASKING;
	s->consumer = v->consumer;
	s->turn = v->turn;
	s->began = now - v->busy_for;
	s->has_trace = false;
	ask(s, now);
}

static void end(struct mr_stall *s, mr_msec now)
{
	s->state = MR_STALL_NONE;
	record(s, true);
	report(s, "the script goes on after a stall", now);
	mr_mark_drop_trace(&s->bridge->progress);
}

static void go_on(struct mr_stall *s, mr_msec now)
{
	bool has_trace = mr_mark_trace(&s->bridge->progress) != NULL;
	if (s->state == MR_STALL_ASKING &&
		(has_trace || now - s->asked >= PATIENCE || !s->signal)) {
		s->state = MR_STALL_REPORTED;
		record(s, false);
		report(s, "the script is stalled", now);
	}
	if (!has_trace && s->signal && now - s->asked >= ASK_AGAIN) ask(s, now);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_stall *s = timer->data;
	struct mr_mark_view v;
	mr_msec now = mr_clock_real();
	(void)loop;
	(void)revents;
	look(s, now, &v);
	if (s->state != MR_STALL_NONE && (v.idle || v.turn != s->turn)) end(s, now);
	if (s->state == MR_STALL_NONE && !v.idle && v.busy_for >= limit_of(s, v.consumer))
		begin(s, &v, now);
	if (s->state != MR_STALL_NONE) go_on(s, now);
	if (!v.idle && v.deadline > 0 && mr_now() > v.deadline) interrupt_host(s);
	if (s->is_every_old) count_ticks(s);
	timer->repeat = (double)(s->state == MR_STALL_ASKING ? TICK_MIN : s->every) / 1000;
	ev_timer_again(s->loop, timer);
}

void mr_stall_view(struct mr_stall *s, struct mr_stall_view *out)
{
	struct mr_mark_view v;
	look(s, mr_clock_real(), &v);
	const struct mr_note *note = note_of(s, v.consumer);
	*out = (struct mr_stall_view){.idle = v.idle,
		.stalled = !v.idle && v.busy_for >= limit_of(s, v.consumer),
		.busy_for = v.busy_for,
		.consumer = v.consumer,
		.queue = note ? note->queue : "",
		.origin = note ? note->origin : ""};
	bool is_same = s->state != MR_STALL_NONE && !v.idle && v.turn == s->turn;
	const char *trace = is_same ? mr_mark_trace(&s->bridge->progress) : NULL;
	out->where = trace ? trace : out->origin;
}

/* ---- start and end ---- */

void mr_stall_watch(struct mr_stall *s, mr_msec limit, int signal, pid_t host)
{
	s->limit = limit;
	s->signal = signal;
	s->host = host;
	count_ticks(s);
	set_tick(s);
}

void mr_stall_init(struct mr_stall *s, struct ev_loop *loop, struct mr_bridge *bridge,
	const struct mr_log *log)
{
	*s = (struct mr_stall){.loop = loop, .bridge = bridge, .log = log, .limit = LIMIT};
	ev_init(&s->tick, on_tick);
	s->tick.data = s;
	count_ticks(s);
	set_tick(s);
}

void mr_stall_fini(struct mr_stall *s)
{
	struct mr_note *note;
	size_t at = 0;
	if (s->loop) ev_timer_stop(s->loop, &s->tick);
	if (s->state == MR_STALL_REPORTED) end(s, mr_clock_real());
	while ((note = mr_map_next(&s->notes, &at, NULL))) mr_free(note);
	mr_map_fini(&s->notes);
}
