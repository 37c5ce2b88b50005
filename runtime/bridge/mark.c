/* mark: the host thread's current work, as seen by the I/O thread.
 * SPDX-License-Identifier: MIT */
#include "bridge/mark.h"

#include <string.h>

/* NONE -> ASKED by the I/O thread, ASKED -> WRITING -> GIVEN by the host, GIVEN -> NONE or ASKED by
 * the I/O thread: so only one thread at a time may access the text. */
enum trace_state { NONE, ASKED, WRITING, GIVEN };

void mr_mark_init(struct mr_mark_shared *p, mr_msec now)
{
	memset(p, 0, sizeof *p);
	atomic_store(&p->left, now);
}

void mr_mark_enter(struct mr_mark_shared *p)
{
	atomic_store_explicit(&p->left, 0, memory_order_relaxed);
}

void mr_mark_leave(struct mr_mark_shared *p, mr_msec now, bool lent)
{
	atomic_store_explicit(&p->turn_left, p->mark.turn, memory_order_relaxed);
	atomic_store_explicit(&p->lent, lent, memory_order_relaxed);
	atomic_store_explicit(&p->left, now, memory_order_release);
}

/* The host's marks are not C atomics, because Lua writes them: they are aligned words, each read in
 * one access. */
static double read_double(const double *word)
{
	double value;
	__atomic_load(word, &value, __ATOMIC_RELAXED);
	return value;
}

static uint32_t read_word(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

static bool is_idle(const struct mr_mark_shared *p, mr_msec left, bool asleep)
{
	if (!left) return true;
	return asleep && atomic_load_explicit(&p->lent, memory_order_relaxed) &&
	       !read_word(&p->mark.busy);
}

void mr_mark_look(struct mr_mark_shared *p, mr_msec now, bool asleep, struct mr_mark_view *out)
{
	mr_msec left = atomic_load_explicit(&p->left, memory_order_acquire);
	*out = (struct mr_mark_view){.idle = is_idle(p, left, asleep)};
	if (out->idle) {
		p->seen_left = 0;
		return;
	}
	out->consumer = read_word(&p->mark.consumer);
	out->turn = read_double(&p->mark.turn);
	out->deadline = read_double(&p->mark.deadline);
	if (p->seen_left != left || p->seen_turn != out->turn) {
		p->seen_left = left;
		p->seen_turn = out->turn;
		p->seen_at = now;
	}
	double turns = out->turn - atomic_load_explicit(&p->turn_left, memory_order_relaxed);
	bool lent = atomic_load_explicit(&p->lent, memory_order_relaxed);
	out->busy_for = now - (turns <= 1 && !lent ? left : p->seen_at);
	if (out->busy_for < 0) out->busy_for = 0;
}

double mr_mark_memory(const struct mr_mark_shared *p) { return read_double(&p->mark.memory); }

void mr_mark_ask_trace(struct mr_mark_shared *p)
{
	int given = GIVEN;
	int none = NONE;
	if (!atomic_compare_exchange_strong(&p->trace_state, &none, ASKED))
		atomic_compare_exchange_strong(&p->trace_state, &given, ASKED);
}

bool mr_mark_is_asked(const struct mr_mark_shared *p)
{
	return atomic_load_explicit(&p->trace_state, memory_order_relaxed) == ASKED;
}

bool mr_mark_give_trace(struct mr_mark_shared *p, const char *text, size_t size)
{
	int asked = ASKED;
	if (!atomic_compare_exchange_strong(&p->trace_state, &asked, WRITING)) return false;
	if (size > MR_TRACE_MAX - 1) size = MR_TRACE_MAX - 1;
	memcpy(p->trace, text, size);
	p->trace[size] = '\0';
	atomic_store(&p->trace_state, GIVEN);
	return true;
}

const char *mr_mark_trace(const struct mr_mark_shared *p)
{
	return atomic_load(&p->trace_state) == GIVEN ? p->trace : NULL;
}

void mr_mark_drop_trace(struct mr_mark_shared *p)
{
	int asked = ASKED, given = GIVEN;
	if (!atomic_compare_exchange_strong(&p->trace_state, &asked, NONE))
		atomic_compare_exchange_strong(&p->trace_state, &given, NONE);
}
