/* tally: what the host holds of one connection's messages, and whether it is behind with them.
 * SPDX-License-Identifier: MIT
 * I/O thread. It lives until its owner and the last delivery that counts in it have gone. */
#ifndef MR_BASE_TALLY_H
#define MR_BASE_TALLY_H

#include <stdbool.h>
#include <stddef.h>

struct mr_tally {
	size_t bytes;              /* of heap, of all */
	size_t loose, loose_bytes; /* the deliveries among them that no prefetch bounds */
	size_t refs;               /* deliveries that count here, and the owner */
};

#define MR_LOOSE_HALF 1
#define MR_LOOSE_WHOLE 2
/* Are the loose ones more than so many halves of the bound? It stands in tally.c. */
bool mr_tally_is_over(const struct mr_tally *tally, size_t halves);

struct mr_tally *mr_tally_new(void);           /* gives; NULL when out of memory */
void mr_tally_release(struct mr_tally *tally); /* the owner's part; takes NULL */
/* One delivery more, with so many bytes of heap, and one less. */
void mr_tally_add(struct mr_tally *tally, size_t bytes, bool is_loose);
void mr_tally_remove(struct mr_tally *tally, size_t bytes, bool is_loose);

#endif
