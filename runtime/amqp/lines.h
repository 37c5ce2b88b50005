/* lines: queues of numbers, one queue for each key; each number is in at most two queues ("lines").
 * SPDX-License-Identifier: MIT
 * Pure. A number that leaves keeps its place until the line is walked over it, so that nothing is
 * searched: all calls take O(1) on average. */
#ifndef MR_AMQP_LINES_H
#define MR_AMQP_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct mr_line_place;
struct mr_line;
struct mr_lines {                     /* zeroed is empty and valid */
	struct mr_line_place *places; /* for the numbers base .. end - 1 */
	size_t capacity;
	uint64_t base, end;
	struct mr_line *table; /* open addressing, by key */
	size_t used, size;
};

void mr_lines_fini(struct mr_lines *l);
/* Empties all lines. `base` is the next number, at least 1. */
void mr_lines_reset(struct mr_lines *l, uint64_t base);
/* Appends the next number, l->end, to the lines of two keys; key 0: to none. MR_OK or MR_NO_MEMORY
 * (then nothing changed). */
enum mr_status mr_lines_add(struct mr_lines *l, uint64_t key, uint64_t other);
/* Removes a number from its lines. Unknown numbers are ignored. */
void mr_lines_leave(struct mr_lines *l, uint64_t number);
/* Puts a removed number back: in its place, or before all numbers that were skipped. */
void mr_lines_join(struct mr_lines *l, uint64_t number);
/* The first number above `above`, which must not decrease from call to call; if there is none, the
 * first number that was skipped. 0: the line is empty. */
uint64_t mr_lines_first(struct mr_lines *l, uint64_t key, uint64_t above);
/* The next number of a line in which nothing was skipped; 0: there is none. */
uint64_t mr_lines_next(const struct mr_lines *l, uint64_t key, uint64_t number);

#endif
