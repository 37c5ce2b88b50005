/* spares: memory of large bodies that were written.
 * SPDX-License-Identifier: MIT */
#include "bridge/spares.h"

#include <string.h>

#include "base/alloc.h"
#include "base/shelf.h"

#define SLOTS (sizeof((struct mr_spares *)0)->slots / sizeof(void *))

/* What is given back must be seen by the sanitizer as freed. */
#ifdef __SANITIZE_ADDRESS__
enum { KEEPS = false };
#else
enum { KEEPS = true };
#endif

size_t mr_spares_size(size_t size)
{
	return size < MR_SPARES_LEAST || size > MR_SPARES_BYTES ? size : mr_shelf_size(size);
}

/* Memory that lies here begins with its size. */
static size_t size_of(const void *memory)
{
	size_t size;
	memcpy(&size, memory, sizeof size);
	return size;
}

/* Empties a slot; NULL: it was empty. */
static void *empty(struct mr_spares *s, size_t slot)
{
	if (!atomic_load_explicit(&s->slots[slot], memory_order_relaxed)) return NULL;
	void *memory = atomic_exchange_explicit(&s->slots[slot], NULL, memory_order_acquire);
	if (memory) atomic_fetch_sub_explicit(&s->bytes, size_of(memory), memory_order_relaxed);
	return memory;
}

/* A look at all slots costs more than the memory. */
static bool has_any(const struct mr_spares *s)
{
	return atomic_load_explicit(&s->bytes, memory_order_relaxed) != 0;
}

void *mr_spares_take(struct mr_spares *s, size_t size)
{
	size_t bytes = mr_spares_size(size);
	if (size < MR_SPARES_LEAST) return mr_malloc(bytes);
	atomic_fetch_add_explicit(&s->taken, 1, memory_order_relaxed);
	for (size_t i = 0; i < SLOTS && has_any(s); i++) {
		void *memory = empty(s, i);
		if (memory && size_of(memory) == bytes) return memory;
		mr_free(memory); /* bodies have another size now */
	}
	return mr_malloc(bytes);
}

void mr_spares_give(struct mr_spares *s, void *memory, size_t size)
{
	size_t bytes = mr_spares_size(size);
	size_t kept = atomic_load_explicit(&s->bytes, memory_order_relaxed);
	bool is_kept = KEEPS && size >= MR_SPARES_LEAST && kept + bytes <= MR_SPARES_BYTES;
	if (is_kept) memcpy(memory, &bytes, sizeof bytes);
	for (size_t i = 0; is_kept && i < SLOTS; i++) {
		void *none = NULL;
		if (atomic_load_explicit(&s->slots[i], memory_order_relaxed)) continue;
		atomic_fetch_add_explicit(&s->bytes, bytes, memory_order_relaxed);
		if (atomic_compare_exchange_strong_explicit(&s->slots[i], &none, memory,
			    memory_order_release, memory_order_relaxed))
			return;
		atomic_fetch_sub_explicit(&s->bytes, bytes, memory_order_relaxed);
	}
	mr_free(memory);
}

bool mr_spares_is_large(const struct mr_spares *s)
{
	return atomic_load_explicit(&s->bytes, memory_order_relaxed) > MR_SPARES_IDLE;
}

void mr_spares_trim(struct mr_spares *s)
{
	size_t taken = atomic_load_explicit(&s->taken, memory_order_relaxed);
	bool rests = taken == s->taken_before;
	s->taken_before = taken;
	for (size_t i = SLOTS; rests && mr_spares_is_large(s) && i-- > 0;) mr_free(empty(s, i));
}

void mr_spares_fini(struct mr_spares *s)
{
	for (size_t i = 0; i < SLOTS; i++) mr_free(empty(s, i));
}
