/* log_events: log lines as events of the host's, and the calls that set and write the log.
 * SPDX-License-Identifier: MIT */
#include "api/log_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* ---- settings ---- */

static void events_sink(void *runtime, int level, const char *line, size_t size)
{
	mr_runtime *rt = runtime;
	if (mr_handle_is_forked(rt)) return;
	mr_log_queue_push(&rt->bridge.log_queue, level, line, size);
	if (rt->prepared) mr_handle_rouse_host(rt);
}

static int set_log(mr_runtime *rt, int level, int format, bool as_events)
{
	struct mr_command c = {.type = MR_CMD_LOG,
		.log = {level, format, rt->log.worker, as_events}};
	rt->log.level = level;
	rt->log.format = format;
	rt->log.sink = as_events ? events_sink : mr_logger_host_sink;
	rt->log.owner = as_events ? (void *)rt : (void *)rt->bridge.logger;
	rt->logs_events = as_events;
	mr_logger_configure(rt->bridge.logger, level, format, rt->log.worker);
	return mr_command_send(rt, &c);
}

int mr_runtime_log(mr_runtime *rt, int level, int format)
{
	if (level < -1 || level > MR_LOG_DEBUG) return MR_BAD_ARGUMENT; /* -1: no log */
	if (format != MR_LOG_LOGFMT && format != MR_LOG_JSON) return MR_BAD_ARGUMENT;
	return set_log(rt, level, format, rt->logs_events);
}

int mr_runtime_worker(mr_runtime *rt, uint16_t number)
{
	rt->log.worker = number;
	return mr_runtime_log(rt, rt->log.level, rt->log.format);
}

int mr_runtime_log_events(mr_runtime *rt, bool on)
{
	struct mr_bridge *b = &rt->bridge;
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (on && mr_log_queue_open(&b->log_queue, &b->host) != MR_OK) return MR_NO_MEMORY;
	return set_log(rt, rt->log.level, rt->log.format, on);
}

void mr_log_write(mr_runtime *rt, int level, const char *text, size_t size, const mr_table *fields)
{
	struct mr_log to = rt->log;
	int plain = level & ~(MR_LOG_STDERR | MR_LOG_LINE);
	if (level & MR_LOG_STDERR) {
		to.sink = mr_logger_host_sink;
		to.owner = rt->bridge.logger;
	}
	if (!(level & MR_LOG_LINE))
		mr_log_table(&to, plain, mr_slice_of(text, size), fields);
	else if (plain <= to.level)
		to.sink(to.owner, plain, text, size);
}

/* ---- events ---- */

bool mr_log_events_wait(const mr_runtime *rt)
{
	const struct mr_log_queue *q = &rt->bridge.log_queue;
	return !mr_log_queue_is_empty(q) || mr_log_queue_untold(q) != 0;
}

static bool make_event(mr_event *out, int level, const char *line, size_t size)
{
	char *copy = mr_malloc(size + 1);
	if (!copy) return false;
	memcpy(copy, line, size);
	copy[size] = '\0';
	*out = (mr_event){.type = MR_EV_LOG};
	out->as.log.line = copy;
	out->as.log.size = (uint32_t)size;
	out->as.log.level = level;
	return true;
}

/* Reports the number of dropped lines, once all others are taken. */
static void tell_dropped(mr_runtime *rt, mr_log_sink *sink, void *owner)
{
	struct mr_log_queue *q = &rt->bridge.log_queue;
	uint64_t dropped = mr_log_queue_untold(q);
	struct mr_log own = rt->log;
	char count[24];
	if (!dropped) return;
	own.sink = sink;
	own.owner = owner;
	mr_log_queue_told(q, dropped);
	snprintf(count, sizeof count, "%" PRIu64, dropped);
	mr_log(&own, MR_LOG_WARN, "log lines were dropped", "#lines", count, NULL);
}

struct told {
	mr_event *event;
	bool is_made;
};

static void told_sink(void *owner, int level, const char *line, size_t size)
{
	struct told *told = owner;
	told->is_made = make_event(told->event, level, line, size);
}

int mr_log_events_take(mr_runtime *rt, mr_event *events, int max)
{
	struct mr_log_queue *q = &rt->bridge.log_queue;
	const char *line;
	size_t size;
	int n = 0, level;
	while (n < max && (line = mr_log_queue_next(q, &level, &size))) {
		bool well = make_event(&events[n], level, line, size);
		mr_log_queue_taken(q, well);
		n += well;
	}
	if (n >= max) return n;
	struct told told = {.event = &events[n]};
	tell_dropped(rt, told_sink, &told);
	return n + told.is_made;
}

void mr_log_events_write_out(mr_runtime *rt)
{
	struct mr_log_queue *q = &rt->bridge.log_queue;
	const char *line;
	size_t size;
	int level;
	while ((line = mr_log_queue_next(q, &level, &size))) {
		mr_logger_say(rt->bridge.logger, line, size, false);
		mr_log_queue_taken(q, true);
	}
	tell_dropped(rt, mr_logger_host_sink, rt->bridge.logger);
}
