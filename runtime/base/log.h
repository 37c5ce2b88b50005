/* log: one line per fact, as logfmt or JSON.
 * SPDX-License-Identifier: MIT
 * Any thread: where a line goes is its sink's matter. Escapes what it prints; secrets must not reach it. */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

#include "base/slice.h"
#include "base/status.h"

/* Takes a line without its end; borrows it. */
typedef void mr_log_sink(void *owner, int level, const char *line, size_t size);

struct mr_log {            /* held by value; zeroed is silent */
	mr_log_sink *sink; /* NULL is silence */
	void *owner;
	int level;  /* MR_LOG_*: what is above is not written */
	int format; /* MR_LOG_LOGFMT, MR_LOG_JSON */
	int worker; /* the process's number among several, which its lines carry; 0: none */
};

/* time=2026-11-21T04:31:37.123Z level=info msg="connected" host=localhost:5672
 * The fields are NULL-terminated pairs of C strings: key, value, key, value, NULL. The value of a key that begins
 * with '#' is a number. */
void mr_log(const struct mr_log *log, int level, const char *msg, ...) __attribute__((sentinel));
void mr_log_table(const struct mr_log *log, int level, mr_slice msg, const mr_table *fields);
/* The same into memory, without time when `time` is NULL; returns the length. For tests. */
size_t mr_log_format(char *out, size_t capacity, int format, const char *time, int level,
	mr_slice msg, const mr_table *fields);

#endif
