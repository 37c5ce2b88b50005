/* alloc: the only access to the heap, with the host's allocator and fault injection.
 * SPDX-License-Identifier: MIT
 * Any thread. The allocator is set once, before anything else. */
#ifndef MR_BASE_ALLOC_H
#define MR_BASE_ALLOC_H

#include <stddef.h>

void *mr_malloc(size_t size);
void *mr_calloc(size_t count, size_t size); /* NULL when the product overflows */
void *mr_realloc(void *p, size_t size);
void mr_free(void *p);                         /* NULL is allowed */
char *mr_strdup_n(const char *s, size_t size); /* adds a NUL; gives */
/* Returns freed memory to the system, after very much was freed. Takes milliseconds. */
void mr_alloc_trim(void);
/* Tests only: makes the n-th allocation from now fail (1 is the next; 0 turns it off),
 * process-wide. If other threads allocate, too, the failing call may be theirs. */
void mr_alloc_fail_nth(long n);
void mr_alloc_fail_nth_here(long n); /* counts only calls of this thread */
/* Tests only: the number of allocated blocks. */
long mr_alloc_live(void);

#endif
