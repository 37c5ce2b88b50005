/* alloc: the only access to the heap, with the host's allocator and fault injection.
 * SPDX-License-Identifier: MIT
 * The two counters use the compiler's __atomic builtins, relaxed: they are for tests and order nothing, and
 * this folder may not include stdatomic.h. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "moonrabbit_testing.h"

static void *(*resize_hook)(void *, size_t) = realloc;
static void (*release_hook)(void *) = free;
static long fail_in; /* 0: never */
static _Thread_local char self;
static char *only; /* the `self` of the thread whose calls count; NULL: all threads */
static long live;

int mr_set_allocator(void *(*resize)(void *, size_t), void (*release)(void *))
{
	if (!resize != !release) return MR_BAD_ARGUMENT;
	resize_hook = resize ? resize : realloc;
	release_hook = release ? release : free;
	return MR_OK;
}

static void fail_nth(long n, char *of)
{
	__atomic_store_n(&only, of, __ATOMIC_RELAXED);
	__atomic_store_n(&fail_in, n, __ATOMIC_RELAXED);
}

void mr_alloc_fail_nth(long n) { fail_nth(n, NULL); }

void mr_alloc_fail_nth_here(long n) { fail_nth(n, &self); }

long mr_alloc_live(void) { return __atomic_load_n(&live, __ATOMIC_RELAXED); }

static int is_to_fail(void)
{
	if (__atomic_load_n(&fail_in, __ATOMIC_RELAXED) <= 0) return 0;
	const char *of = __atomic_load_n(&only, __ATOMIC_RELAXED);
	if (of && of != &self) return 0;
	return __atomic_sub_fetch(&fail_in, 1, __ATOMIC_RELAXED) == 0;
}

void *mr_realloc(void *p, size_t size)
{
	if (is_to_fail()) return NULL;
	void *q = resize_hook(p, size ? size : 1);
	if (q && !p) __atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
	return q;
}

void *mr_malloc(size_t size) { return mr_realloc(NULL, size); }

void *mr_calloc(size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size) return NULL;
	void *p = mr_malloc(count * size);
	if (p) memset(p, 0, count * size);
	return p;
}

void mr_free(void *p)
{
	if (!p) return;
	__atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
	release_hook(p);
}

void mr_alloc_trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0); /* harmless with an allocator of the host */
#endif
}

char *mr_strdup_n(const char *s, size_t size)
{
	char *copy = mr_malloc(size + 1);
	if (!copy) return NULL;
	if (size) memcpy(copy, s, size);
	copy[size] = '\0';
	return copy;
}
