/* log_tail: the last lines of the log, for the page for browsers.
 * SPDX-License-Identifier: MIT */
#include "bridge/log_tail.h"

#include <string.h>

#include "base/redact.h"

/* The size up to which a character is not cut in two. */
static size_t whole(const char *line, size_t size)
{
	if (size <= MR_LOG_TAIL_SIZE) return size;
	size = MR_LOG_TAIL_SIZE;
	while (size > MR_LOG_TAIL_SIZE - 4 && ((unsigned char)line[size] & 0xC0) == 0x80) size--;
	return size;
}

void mr_log_tail_add(struct mr_log_tail *t, const char *line, size_t size)
{
	uint64_t number = atomic_load_explicit(&t->last, memory_order_relaxed) + 1, word;
	char shown[MR_LOG_TAIL_SIZE + 1];
	struct mr_log_tail_line *l = &t->lines[number % MR_LOG_TAIL_LINES];
	/* A password that is cut would not be known as one: hides it before. */
	size = whole(shown, mr_redact(shown, sizeof shown, line, size));
	atomic_store_explicit(&l->number, 0, memory_order_relaxed);
	atomic_store_explicit(&l->size, size, memory_order_release);
	for (size_t at = 0; at < size; at += sizeof word) {
		size_t part = size - at < sizeof word ? size - at : sizeof word;
		word = 0;
		memcpy(&word, shown + at, part);
		atomic_store_explicit(&l->words[at / sizeof word], word, memory_order_release);
	}
	atomic_store_explicit(&l->number, number, memory_order_release);
	atomic_store_explicit(&t->last, number, memory_order_release);
}

size_t mr_log_tail_read(const struct mr_log_tail *t, uint64_t number, char out[MR_LOG_TAIL_SIZE])
{
	const struct mr_log_tail_line *l = &t->lines[number % MR_LOG_TAIL_LINES];
	if (!number || atomic_load_explicit(&l->number, memory_order_acquire) != number) return 0;
	size_t size = atomic_load_explicit(&l->size, memory_order_acquire);
	for (size_t at = 0; at < size; at += 8) {
		uint64_t word = atomic_load_explicit(&l->words[at / 8], memory_order_acquire);
		memcpy(out + at, &word, sizeof word);
	}
	return atomic_load_explicit(&l->number, memory_order_relaxed) == number ? size : 0;
}

uint64_t mr_log_tail_last(const struct mr_log_tail *t)
{
	return atomic_load_explicit(&t->last, memory_order_acquire);
}
