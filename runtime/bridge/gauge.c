/* gauge: numbers that the I/O thread writes and the host reads, and the host's request for room.
 * SPDX-License-Identifier: MIT */
#include "bridge/gauge.h"

#include <string.h>

#define WORDS (sizeof(mr_stats) / sizeof(uint64_t))

void mr_board_write(struct mr_board *board, const mr_stats *stats)
{
	uint64_t words[WORDS];
	memcpy(words, stats, sizeof words);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&board->word[i], words[i], memory_order_relaxed);
}

void mr_board_read(const struct mr_board *board, mr_stats *out)
{
	uint64_t words[WORDS];
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&board->word[i], memory_order_relaxed);
	memcpy(out, words, sizeof words);
}

void mr_board_stop(struct mr_board *board) { atomic_store(&board->stopped, true); }

bool mr_board_is_stopped(const struct mr_board *board) { return atomic_load(&board->stopped); }

void mr_gauge_advance(struct mr_gauge *gauge, uint64_t gone)
{
	atomic_store_explicit(&gauge->gone, gone, memory_order_release);
}

uint64_t mr_gauge_gone(const struct mr_gauge *gauge)
{
	return atomic_load_explicit(&gauge->gone, memory_order_acquire);
}

void mr_gauge_want_room(struct mr_gauge *gauge)
{
	atomic_store(&gauge->wants_room, true);
	atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence in take_want */
}

bool mr_gauge_take_want(struct mr_gauge *gauge)
{
	/* Between the store of `gone` and this load: either the host's second load of `gone` sees
	 * the room, or this load sees its request. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&gauge->wants_room, memory_order_relaxed) &&
	       atomic_exchange(&gauge->wants_room, false);
}
