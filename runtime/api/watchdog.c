/* watchdog: the host's information for reports of a stall.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "api/handle.h"
#include "base/alloc.h"

mr_mark *mr_runtime_mark(mr_runtime *rt) { return &rt->bridge.progress.mark; }

static struct mr_note *new_note(const char *queue, const char *origin)
{
	size_t queue_size = strlen(queue) + 1, origin_size = strlen(origin) + 1;
	struct mr_note *note = mr_calloc(1, sizeof *note + queue_size + origin_size);
	if (!note) return NULL;
	memcpy(note->queue, queue, queue_size);
	memcpy(note->queue + queue_size, origin, origin_size);
	note->origin = note->queue + queue_size;
	return note;
}

int mr_consumer_describe(mr_runtime *rt, uint32_t consumer, const char *queue, const char *origin,
	double stall, double time_limit)
{
	struct mr_command c = {.type = MR_CMD_NOTE, .note = {.consumer = consumer}};
	if (!consumer) return MR_BAD_ARGUMENT;
	if (queue) {
		struct mr_note *note = new_note(queue, origin ? origin : "");
		if (!note) return MR_NO_MEMORY;
		note->stall = stall < 0 ? -1 : mr_clock_msec_of(stall);
		note->limit = mr_clock_msec_of(time_limit);
		c.note.about = note;
	}
	enum mr_status st = mr_command_send(rt, &c);
	if (st != MR_OK) mr_free(c.note.about);
	return st;
}

int mr_runtime_watchdog(mr_runtime *rt, double stall, int signal)
{
	struct mr_command c = {.type = MR_CMD_WATCHDOG,
		.watchdog = {.stall = mr_clock_msec_of(stall),
			.thread = gettid(),
			.signal = signal}};
	if (!(stall >= 0) || signal < 0 || signal > SIGRTMAX) return MR_BAD_ARGUMENT;
	return mr_command_send(rt, &c);
}

bool mr_runtime_wants_trace(const mr_runtime *rt) { return mr_mark_is_asked(&rt->bridge.progress); }

bool mr_runtime_trace(mr_runtime *rt, const char *text, size_t size)
{
	return mr_mark_give_trace(&rt->bridge.progress, text, size);
}
