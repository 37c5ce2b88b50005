/* tally: counts one connection's deliveries that the host holds, and compares them with the bound.
 * SPDX-License-Identifier: MIT
 * I/O thread. It lives until its owner and its last counted delivery have released it. */
#ifndef MR_BASE_TALLY_H
#define MR_BASE_TALLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"

struct mr_tally {
	size_t bytes;              /* heap bytes of all deliveries */
	size_t loose, loose_bytes; /* deliveries that no prefetch limits */
	size_t refs;               /* counted deliveries, plus the owner */
};

#define MR_LOOSE_HALF 1
#define MR_LOOSE_WHOLE 2
/* True if the loose deliveries exceed this many halves of the bound, which tally.c defines. */
bool mr_tally_is_over(const struct mr_tally *tally, size_t halves);

struct mr_tally *mr_tally_new(void); /* gives; NULL when out of memory */

/* Releases the owner's reference; `t` may be NULL. */
static inline void mr_tally_release(struct mr_tally *t)
{
	if (t && --t->refs == 0) mr_free(t);
}

/* Adds one delivery with this many bytes of heap. */
static inline void mr_tally_add(struct mr_tally *t, size_t bytes, bool is_loose)
{
	t->refs++;
	t->bytes += bytes;
	if (!is_loose) return;
	t->loose++;
	t->loose_bytes += bytes;
}

/* Removes one delivery. */
static inline void mr_tally_remove(struct mr_tally *t, size_t bytes, bool is_loose)
{
	t->bytes -= bytes;
	if (is_loose) {
		t->loose--;
		t->loose_bytes -= bytes;
	}
	mr_tally_release(t);
}

#endif
