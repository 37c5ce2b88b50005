/* logger: log lines on their way from the threads of a runtime to the one that writes them.
 * SPDX-License-Identifier: MIT
 * A ring for each thread that says something, so that its lines stay in order; what does not fit is
 * dropped and counted. Each function says its side. Belongs to the host and to the writer: whoever
 * leaves last frees it, as a writer may be stuck in a write that never ends (docs/decisions/0010). */
#ifndef MR_BRIDGE_LOGGER_H
#define MR_BRIDGE_LOGGER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/clock.h"
#include "bridge/ring.h"
#include "bridge/wake.h"

/* Who says a line. */
enum mr_logger_side { MR_LOGGER_HOST, MR_LOGGER_IO, MR_LOGGER_SIDES };

struct mr_logger {
	struct mr_ring lines[MR_LOGGER_SIDES]; /* of when it was said and a line */
	struct mr_wake writer;                 /* the writer sleeps on it */
	struct mr_wake host;                   /* the host waits on it until its line is written */
	atomic_uint_least64_t handled[MR_LOGGER_SIDES]; /* writer: lines written or given up */
	atomic_uint_least64_t pushed[MR_LOGGER_SIDES];  /* whose ring it is */
	atomic_uint_least64_t dropped;                  /* any: lines that nobody will read */
	atomic_bool closing;                            /* host: end when all is written */
	atomic_bool ended;                              /* writer: it has */
	atomic_bool abandoned; /* host: nobody waits for the writer any more */
	atomic_int owners;
	atomic_int level, format, worker; /* host: of the writer's own line */
	int fd;                           /* -1: silence */
	pid_t home;                       /* a forked child has no writer */
	size_t slot;         /* among those that are written out when the process ends */
	mr_msec gave_up;     /* host: it waits for no line until one is handled; 0: it does */
	uint64_t gave_up_at; /* host: how many were handled then */
	uint64_t told;       /* writer: of `dropped` */
};

/* Host, before any thread: of descriptor `fd`. *gives*. */
enum mr_status mr_logger_new(struct mr_logger **out, int fd, mr_error *error);
/* Host or I/O: a line without its end. Never waits; false: dropped. */
bool mr_logger_push(struct mr_logger *logger, enum mr_logger_side side, const char *line,
	size_t size);
/* Host: the same, but waits a moment for room and, if `written`, until the line is; a writer that is
 * stuck is waited for once. */
void mr_logger_say(struct mr_logger *logger, const char *line, size_t size, bool written);
/* Host: how the writer writes its own line. */
void mr_logger_configure(struct mr_logger *logger, int level, int format, int worker);
/* Host: waits until all is handled, or nothing has been for a moment. */
bool mr_logger_drain(struct mr_logger *logger);
uint64_t mr_logger_dropped(const struct mr_logger *logger); /* any */

/* Host: `sink` of struct mr_log. */
void mr_logger_host_sink(void *logger, int level, const char *line, size_t size);
void mr_logger_io_sink(void *logger, int level, const char *line, size_t size); /* I/O, likewise */

/* Writer: the oldest line, kept until mr_logger_next is called again; NULL: there is none. */
const char *mr_logger_next(struct mr_logger *logger, enum mr_logger_side *side, size_t *size);
/* Writer: it is written (or not, which counts as dropped). */
void mr_logger_handled(struct mr_logger *logger, enum mr_logger_side side, bool well);
/* Writer: how many lines were dropped that nobody was told of; 0: none. Tells them. */
uint64_t mr_logger_take_dropped(struct mr_logger *logger);
/* Writer: sleeps until there is a line, or it is to end. False: it is to end, and there is none. */
bool mr_logger_sleep(struct mr_logger *logger);

/* Host: the writer has begun, and is an owner from here on. */
void mr_logger_begin(struct mr_logger *logger);
/* Host: asks the writer to end, and waits for it as mr_logger_drain does; false: it is stuck. */
bool mr_logger_end(struct mr_logger *logger);
void mr_logger_ended(struct mr_logger *logger); /* writer: its last word but one */
void mr_logger_leave(struct mr_logger *logger); /* each owner, at last */

#endif
