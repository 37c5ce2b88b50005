/* alloc: the one door to the heap, with the host's hooks and a way to make the n-th call fail.
 * SPDX-License-Identifier: MIT
 * Any thread. The hooks are set once, before anything else. */
#ifndef MR_BASE_ALLOC_H
#define MR_BASE_ALLOC_H

#include <stddef.h>

void *mr_malloc(size_t size);
void *mr_calloc(size_t count, size_t size); /* NULL when the product overflows */
void *mr_realloc(void *p, size_t size);
void mr_free(void *p);                         /* takes NULL */
char *mr_strdup_n(const char *s, size_t size); /* adds a NUL; gives */
/* Gives back to the system what has been freed, after very much of it was. Milliseconds. */
void mr_alloc_trim(void);
/* Tests only: makes the n-th allocation from now fail (1 is the next; 0 turns it off), process-wide.
 * Set it while no other thread allocates or accept that any thread's call may be the one. */
void mr_alloc_fail_nth(long n);
void mr_alloc_fail_nth_here(long n); /* only calls of this thread count */
/* Tests only: blocks alive now. */
long mr_alloc_live(void);

#endif
