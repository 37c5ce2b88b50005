/* log_tail: the last lines of the log, for the page for browsers.
 * SPDX-License-Identifier: MIT
 * The writer thread adds the lines that it has written; the I/O thread reads them and never waits: it
 * skips a line that is being replaced. */
#ifndef MR_BRIDGE_LOG_TAIL_H
#define MR_BRIDGE_LOG_TAIL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MR_LOG_TAIL_LINES 64
#define MR_LOG_TAIL_SIZE 1008 /* bytes of a line that are kept, a multiple of 8 */

/* `number` counts the lines from 1 on; 0: the words are being written. The words are written with
 * release and read with acquire: who reads a new one sees that the number has changed. */
struct mr_log_tail { /* zeroed is empty and valid */
	struct mr_log_tail_line {
		atomic_uint_least64_t number, size;
		atomic_uint_least64_t words[MR_LOG_TAIL_SIZE / 8];
	} lines[MR_LOG_TAIL_LINES];
	atomic_uint_least64_t last; /* number */
};

/* Writer; without the passwords of URLs. */
void mr_log_tail_add(struct mr_log_tail *tail, const char *line, size_t size);
/* I/O: copies the line with this number; returns its size, 0 if it is not there. */
size_t mr_log_tail_read(const struct mr_log_tail *tail, uint64_t number,
	char out[MR_LOG_TAIL_SIZE]);
uint64_t mr_log_tail_last(
	const struct mr_log_tail *tail); /* I/O: the last line's number; 0: none */

#endif
