/* writer: the thread that writes a runtime's log lines, because any write may block without limit.
 * SPDX-License-Identifier: MIT */
#include "engine/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/number.h"
#include "base/thread.h"

#define LOOK 100 /* ms between two checks of `abandoned` while the descriptor is full */

struct mr_writer {
	pthread_t thread;
	struct mr_logger *logger;
};

/* Waits until a non-blocking descriptor may take more. Returns false if the host no longer
 * waits. */
static bool wait_for_room(const struct mr_logger *l)
{
	struct pollfd wait = {.fd = l->fd, .events = POLLOUT};
	if (atomic_load(&l->abandoned)) return false;
	poll(&wait, 1, LOOK);
	return true;
}

static bool write_out(const struct mr_logger *l, const char *line, size_t size)
{
	while (size) {
		ssize_t n = write(l->fd, line, size);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN && wait_for_room(l)) continue;
		if (n < 0) return false;
		line += n;
		size -= (size_t)n;
	}
	return true;
}

static bool write_next(struct mr_logger *l)
{
	enum mr_logger_side side;
	size_t size;
	const char *line = mr_logger_next(l, &side, &size);
	if (!line) return false;
	bool well = !atomic_load(&l->abandoned) && write_out(l, line, size);
	if (well) mr_log_tail_add(&l->tail, line, size - 1); /* without its line end */
	mr_logger_handled(l, side, well);
	return true;
}

static void own_sink(void *logger, int level, const char *line, size_t size)
{
	char whole[512];
	(void)level;
	int n = snprintf(whole, sizeof whole, "%.*s\n", (int)size, line);
	write_out(logger, whole, (size_t)n);
}

static void tell_dropped(struct mr_logger *l)
{
	char count[24];
	struct mr_log own = {.sink = own_sink,
		.owner = l,
		.level = atomic_load(&l->level),
		.format = atomic_load(&l->format),
		.worker = atomic_load(&l->worker)};
	uint64_t dropped = mr_logger_take_dropped(l);
	if (!dropped || atomic_load(&l->abandoned)) return;
	snprintf(count, sizeof count, "%" PRIu64, dropped);
	mr_log(&own, MR_LOG_WARN, "log lines were dropped", "#lines", count, NULL);
}

static void *run(void *arg)
{
	struct mr_logger *l = arg;
	mr_number_plain_begin();
	do {
		while (write_next(l)) {}
		tell_dropped(l);
	} while (mr_logger_sleep(l));
	mr_logger_ended(l);
	mr_logger_leave(l);
	return NULL;
}

static int start_thread(struct mr_writer *w)
{
	return mr_thread_start(&w->thread, "mr log", run, w->logger);
}

enum mr_status mr_writer_start(struct mr_writer **out, struct mr_logger *logger, mr_error *error)
{
	struct mr_writer *w = mr_calloc(1, sizeof *w);
	if (!w) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_NONE, 0, "out of memory");
	w->logger = logger;
	mr_logger_begin(logger);
	int system = start_thread(w);
	if (!system) {
		*out = w;
		return MR_OK;
	}
	mr_logger_ended(logger);
	mr_logger_end(logger);
	mr_logger_leave(logger);
	mr_free(w);
	return mr_error_system(error, MR_NO_MEMORY, MR_SCOPE_NONE, system,
		"cannot start the thread that writes the log");
}

void mr_writer_stop(struct mr_writer *w)
{
	if (!w) return;
	if (mr_logger_end(w->logger))
		pthread_join(w->thread, NULL);
	else
		pthread_detach(w->thread);
	mr_free(w);
}
