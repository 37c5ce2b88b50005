/* tally: what the host holds of one connection's messages, and whether it is behind with them.
 * SPDX-License-Identifier: MIT
 * I/O thread. It lives until its owner and the last delivery that counts in it have gone. */
#ifndef MR_BASE_TALLY_H
#define MR_BASE_TALLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"

struct mr_tally {
	size_t bytes;              /* of heap, of all */
	size_t loose, loose_bytes; /* the deliveries among them that no prefetch bounds */
	size_t refs;               /* deliveries that count here, and the owner */
};

#define MR_LOOSE_HALF 1
#define MR_LOOSE_WHOLE 2
/* Are the loose ones more than so many halves of the bound? It stands in tally.c. */
bool mr_tally_is_over(const struct mr_tally *tally, size_t halves);

struct mr_tally *mr_tally_new(void); /* gives; NULL when out of memory */

/* The owner's part; takes NULL. */
static inline void mr_tally_release(struct mr_tally *t)
{
	if (t && --t->refs == 0) mr_free(t);
}

/* One delivery more, with so many bytes of heap. */
static inline void mr_tally_add(struct mr_tally *t, size_t bytes, bool is_loose)
{
	t->refs++;
	t->bytes += bytes;
	if (!is_loose) return;
	t->loose++;
	t->loose_bytes += bytes;
}

/* One less. */
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
