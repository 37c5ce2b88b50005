/* logger: passes log lines from the threads of a runtime to the thread that writes them.
 * SPDX-License-Identifier: MIT
 * Each thread that logs has its own ring, so that its lines stay in order; lines that do not fit
 * are dropped and counted. Each comment names the calling thread. The host and the writer own the
 * logger; the last to leave frees it, because a writer may be stuck in a write
 * (docs/decisions/0010). */
#ifndef MR_BRIDGE_LOGGER_H
#define MR_BRIDGE_LOGGER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/clock.h"
#include "bridge/log_tail.h"
#include "bridge/ring.h"
#include "bridge/wake.h"

/* The thread that logs a line. */
enum mr_logger_side { MR_LOGGER_HOST, MR_LOGGER_IO, MR_LOGGER_SIDES };

struct mr_logger {
	struct mr_ring lines[MR_LOGGER_SIDES]; /* of time and line */
	struct mr_log_tail tail;               /* of the lines written */
	struct mr_wake writer;                 /* the writer sleeps on it */
	struct mr_wake host;                   /* the host waits on it until its line is written */
	atomic_uint_least64_t handled[MR_LOGGER_SIDES]; /* writer: lines written or given up */
	atomic_uint_least64_t pushed[MR_LOGGER_SIDES];  /* the ring's producer */
	atomic_uint_least64_t dropped;                  /* any: lines that are not written */
	atomic_bool closing;                            /* host: end when all is written */
	atomic_bool ended;                              /* writer: it has ended */
	atomic_bool abandoned; /* set by the host: it no longer waits for the writer */
	atomic_int owners;
	atomic_int level, format, worker; /* host: for the writer's own line */
	int fd;                           /* -1: nothing is written */
	pid_t home;                       /* the process; a forked child has no writer */
	size_t slot;         /* among the loggers that are drained when the process ends */
	mr_msec gave_up;     /* host: it does not wait until a line is handled; 0: it waits */
	uint64_t gave_up_at; /* host: the number of handled lines at that time */
	uint64_t told;       /* writer: how many of `dropped` it has reported */
};

/* Host, before any thread is started: writes to descriptor `fd`. *gives*. */
enum mr_status mr_logger_new(struct mr_logger **out, int fd, mr_error *error);
/* Host or I/O: a line without its line end. Never waits; false: dropped. */
bool mr_logger_push(struct mr_logger *logger, enum mr_logger_side side, const char *line,
	size_t size);
/* Host: the same, but waits a short time for room and, if `written`, until the line is written. It
 * waits for a stuck writer only once. */
void mr_logger_say(struct mr_logger *logger, const char *line, size_t size, bool written);
/* Host: sets how the writer formats its own line. */
void mr_logger_configure(struct mr_logger *logger, int level, int format, int worker);
/* Host: waits until all lines are handled, or none has been handled for a short time. */
bool mr_logger_drain(struct mr_logger *logger);
uint64_t mr_logger_dropped(const struct mr_logger *logger); /* any */

/* Host: `sink` of struct mr_log. */
void mr_logger_host_sink(void *logger, int level, const char *line, size_t size);
void mr_logger_io_sink(void *logger, int level, const char *line, size_t size); /* I/O, likewise */

/* Writer: the oldest line, valid until the next call of mr_logger_next; NULL: there is none. */
const char *mr_logger_next(struct mr_logger *logger, enum mr_logger_side *side, size_t *size);
/* Writer: the line was written, or, if not `well`, counts as dropped. */
void mr_logger_handled(struct mr_logger *logger, enum mr_logger_side side, bool well);
/* Writer: the number of dropped lines that were not reported yet; they count as reported now. */
uint64_t mr_logger_take_dropped(struct mr_logger *logger);
/* Writer: sleeps until there is a line, or it must end. False: it must end, and there is no
 * line. */
bool mr_logger_sleep(struct mr_logger *logger);

/* Host: the writer has started, and is an owner from here on. */
void mr_logger_begin(struct mr_logger *logger);
/* Host: asks the writer to end, and waits for it like mr_logger_drain; false: it is stuck. */
bool mr_logger_end(struct mr_logger *logger);
void mr_logger_ended(struct mr_logger *logger); /* writer: just before mr_logger_leave */
void mr_logger_leave(struct mr_logger *logger); /* the last call of each owner */

#endif
