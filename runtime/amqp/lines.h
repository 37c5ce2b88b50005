/* lines: numbers in line by what they are known by: each number stands in two lines at most, in the order of its adding.
 * SPDX-License-Identifier: MIT
 * Pure. Who leaves keeps the place until the line is walked over it, so nothing is searched: all calls are O(1) on average. */
#ifndef MR_AMQP_LINES_H
#define MR_AMQP_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct mr_line_place;
struct mr_line;
struct mr_lines {                     /* zeroed is empty and valid */
	struct mr_line_place *places; /* of the numbers base .. end - 1 */
	size_t capacity;
	uint64_t base, end;
	struct mr_line *table; /* open addressing, by key */
	size_t used, size;
};

void mr_lines_fini(struct mr_lines *l);
/* Forgets all. `base` is the first number to come, 1 or more. */
void mr_lines_reset(struct mr_lines *l, uint64_t base);
/* The next number, l->end, at the ends of two lines; key 0: in none. MR_OK or MR_NO_MEMORY (nothing changed). */
enum mr_status mr_lines_add(struct mr_lines *l, uint64_t key, uint64_t other);
/* It stands in line no more. Numbers that are not known are passed over. */
void mr_lines_leave(struct mr_lines *l, uint64_t number);
/* It does again: where it stood, or in front of all that were passed by. */
void mr_lines_join(struct mr_lines *l, uint64_t number);
/* The first one above `above`, which never falls from call to call; if there is none, the first that was passed by.
 * 0: the line is empty. */
uint64_t mr_lines_first(struct mr_lines *l, uint64_t key, uint64_t above);
/* The next one of a line that nothing was passed by in; 0: there is none. */
uint64_t mr_lines_next(const struct mr_lines *l, uint64_t key, uint64_t number);

#endif
