/* log: formats log lines as logfmt or JSON.
 * SPDX-License-Identifier: MIT
 * Any thread: the sink decides where a line goes. Escapes its arguments; never pass secrets. */
#ifndef MR_BASE_LOG_H
#define MR_BASE_LOG_H

#include "base/slice.h"
#include "base/status.h"

/* Gets a line without its line end, borrowed. */
typedef void mr_log_sink(void *owner, int level, const char *line, size_t size);

struct mr_log {            /* held by value; zeroed logs nothing */
	mr_log_sink *sink; /* NULL: logs nothing */
	void *owner;
	int level;  /* MR_LOG_*: higher levels are not written */
	int format; /* MR_LOG_LOGFMT, MR_LOG_JSON */
	int worker; /* the number of this worker process, added to each line; 0: none */
};

/* time=2026-11-21T04:31:37.123Z level=info msg="connected" host=localhost:5672
 * The fields are NULL-terminated pairs of C strings: key, value, key, value, NULL. The value of a
 * key that begins with '#' is a number; a value that is NULL is left out. */
void mr_log(const struct mr_log *log, int level, const char *msg, ...) __attribute__((sentinel));
void mr_log_table(const struct mr_log *log, int level, mr_slice msg, const mr_table *fields);
/* Formats into memory, without a time if `time` is NULL; returns the length. For tests. */
size_t mr_log_format(char *out, size_t capacity, int format, const char *time, int level,
	mr_slice msg, const mr_table *fields);

#endif
