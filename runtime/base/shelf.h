/* shelf: keeps memory that was given back for the next who needs as much, so that the system neither
 * takes the pages away nor clears them again for each large message.
 * SPDX-License-Identifier: MIT
 * One owner. The memory is of mr_malloc: whoever has it may also grow it by mr_realloc, to
 * mr_shelf_size bytes, or free it. */
#ifndef MR_BASE_SHELF_H
#define MR_BASE_SHELF_H

#include <stdbool.h>
#include <stddef.h>

#define MR_SHELF_LEAST 512        /* bytes: less is quick to get anyway */
#define MR_SHELF_MOST (32u << 20) /* more is worth its system calls */
#define MR_SHELF_KEPT (32u << 20) /* bytes of all that lies here, while it is used */
#define MR_SHELF_IDLE (2u << 20)  /* the same at rest: a batch of reads */
#define MR_SHELF_STEPS 65         /* four for each power of two: at most a quarter is too much */

struct mr_shelf { /* zeroed is empty and valid */
	void *first[MR_SHELF_STEPS];
	size_t kept;  /* bytes */
	size_t least; /* of `kept` since it was last trimmed: nobody needed these */
};

/* The bytes that take and give mean by `size`: as many, or up to a quarter more. */
size_t mr_shelf_size(size_t size);
void *mr_shelf_take(struct mr_shelf *shelf, size_t size); /* NULL: out of memory */
void mr_shelf_give(struct mr_shelf *shelf, void *memory, size_t size);
bool mr_shelf_has(const struct mr_shelf *shelf, size_t size); /* it costs no new memory */
/* Frees what nobody needed since the last trim, the largest first, but for MR_SHELF_IDLE bytes. */
void mr_shelf_trim(struct mr_shelf *shelf);
void mr_shelf_fini(struct mr_shelf *shelf);

#endif
