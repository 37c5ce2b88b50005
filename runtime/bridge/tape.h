/* tape: the last events of one thread, for the flight recorder: written always, read now and then.
 * SPDX-License-Identifier: MIT
 * One thread writes; any thread reads, and sees whole events only: each carries its number, which
 * is 0 while it is written. Nobody waits. */
#ifndef MR_BRIDGE_TAPE_H
#define MR_BRIDGE_TAPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"
#include "base/status.h"

#define MR_TAPE_EVENTS 4096     /* by default */
#define MR_TAPE_MOST (1u << 20) /* events of one tape */
#define MR_TAPE_TEXT 24         /* bytes of text in an event; more are in the next ones: */
#define MR_TAPE_MORE 56         /* bytes of text in an event that only goes on */
#define MR_TAPE_MORE_MAX 2      /* such events */
#define MR_TAPE_TEXT_MAX (MR_TAPE_TEXT + MR_TAPE_MORE * MR_TAPE_MORE_MAX)
#define MR_TAPE_RUN 256 /* events in a row that one may stand for */

/* `GOES_ON` is the text of the event before it. */
#define MR_TAPE_KINDS(X)                                                                           \
	X(GOES_ON, "")                                                                             \
	X(COMMAND, "command")                                                                      \
	X(IN, "in")                                                                                \
	X(OUT, "out")                                                                              \
	X(STATE, "state")                                                                          \
	X(SETTLE, "settle")                                                                        \
	X(RETRY, "retry")                                                                          \
	X(DEAD, "dead letter")                                                                     \
	X(ERROR, "error")                                                                          \
	X(STALL, "stall")                                                                          \
	X(HANDLER, "handler")
#define MR_TAPE_ENUM_(name, text) MR_TAPE_##name,
enum mr_tape_kind { MR_TAPE_KINDS(MR_TAPE_ENUM_) MR_TAPE_KIND_COUNT };

struct mr_tape_event {
	uint64_t time;                 /* us, as mr_clock_us */
	const char *name;              /* a literal, such as "basic.deliver" */
	uint64_t number;               /* a delivery tag, the number of a publish; 0: none */
	uint32_t connection, consumer; /* consumer: with MR_CONSUMER_* */
	uint32_t count; /* of events in a row: see mr_tape_run; mr_tape_tell: unused */
	uint16_t channel, code;
	uint8_t kind;
	uint8_t text_size;
	char text[MR_TAPE_TEXT_MAX + 1]; /* NUL-terminated */
};

/* The first word is the event's number, channel, kind, and how many more are in it; then time and
 * code, name, number, connection and consumer, and text. More text is in the next slots. */
struct mr_tape_slot {
	_Atomic uint64_t words[8];
};
_Static_assert(sizeof(struct mr_tape_slot) == 64, "an event is a line of the cache");

struct mr_tape { /* zeroed: off */
	struct mr_tape_slot *slots;
	uint32_t mask;
	_Atomic uint32_t count; /* of the events written; wraps */
};

enum mr_status mr_tape_open(struct mr_tape *t, uint32_t events); /* 0: off; else at least so many */
void mr_tape_close(struct mr_tape *t);

static inline uint64_t mr_tape_load_(const char *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

/* Less than 8 bytes as a word, without a loop. */
static inline uint64_t mr_tape_few_(const char *p, size_t n)
{
	uint32_t first, last;
	if (n == 0) return 0;
	if (n < 4) /* some of them twice */
		return (uint64_t)(unsigned char)p[0] |
		       (uint64_t)(unsigned char)p[n / 2] << 8 * (n / 2) |
		       (uint64_t)(unsigned char)p[n - 1] << 8 * (n - 1);
	memcpy(&first, p, 4);
	memcpy(&last, p + n - 4, 4);
	return first | (uint64_t)last << 8 * (n - 4);
}

/* The text's bytes from `at` on as a word, without a call of memcpy: that would cost more than all
 * else. The machine is little-endian, or takes the slower way. */
static inline uint64_t mr_tape_text_(mr_slice s, size_t at)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	const char *p = s.data;
	if (s.size <= at) return 0;
	if (s.size >= at + 8) return mr_tape_load_(p + at);
	if (s.size < 8) return mr_tape_few_(p, s.size);
	return mr_tape_load_(p + s.size - 8) >> 8 * (at + 8 - s.size);
#else
	char text[8] = {0};
	if (s.size > at) memcpy(text, s.data + at, s.size - at < 8 ? s.size - at : 8);
	return mr_tape_load_(text);
#endif
}

/* Writer: some nanoseconds. Only MR_TAPE_TEXT bytes of the text are kept. `name` is a literal. */
static inline void mr_tape_put(struct mr_tape *t, uint64_t time, enum mr_tape_kind kind,
	const char *name, uint32_t connection, uint16_t channel, uint32_t consumer, uint64_t number,
	uint16_t code, mr_slice text)
{
	if (!t->slots) return;
	uint32_t n = atomic_load_explicit(&t->count, memory_order_relaxed) + 1;
	_Atomic uint64_t *to = t->slots[n & t->mask].words;
	/* Each store is a release, so that who sees a new word sees that the number is gone. */
	atomic_store_explicit(&to[0], 0, memory_order_relaxed);
	atomic_store_explicit(&to[1], time << 16 | code, memory_order_release);
	atomic_store_explicit(&to[2], (uint64_t)(uintptr_t)name, memory_order_release);
	atomic_store_explicit(&to[3], number, memory_order_release);
	atomic_store_explicit(&to[4], (uint64_t)connection << 32 | consumer, memory_order_release);
	atomic_store_explicit(&to[5], mr_tape_text_(text, 0), memory_order_release);
	atomic_store_explicit(&to[6], mr_tape_text_(text, 8), memory_order_release);
	atomic_store_explicit(&to[7], mr_tape_text_(text, 16), memory_order_release);
	atomic_store_explicit(&to[0],
		(uint64_t)n << 32 | (uint64_t)channel << 16 | (uint64_t)kind << 8,
		memory_order_release);
	atomic_store_explicit(&t->count, n, memory_order_release);
}

static inline uint64_t mr_tape_word_(const struct mr_tape_slot *slot, int i)
{
	return atomic_load_explicit(&slot->words[i], memory_order_relaxed);
}

/* The same for what comes in great numbers, without a code: an event that differs from the newest
 * one only in its number, which is the next one (or 0, as that one's), is counted there: one store.
 */
static inline __attribute__((always_inline)) void mr_tape_run(struct mr_tape *t, uint64_t time,
	enum mr_tape_kind kind, const char *name, uint32_t connection, uint16_t channel,
	uint32_t consumer, uint64_t number, mr_slice text)
{
	if (!t->slots) return;
	struct mr_tape_slot *newest =
		&t->slots[atomic_load_explicit(&t->count, memory_order_relaxed) & t->mask];
	uint64_t head = mr_tape_word_(newest, 0), more = head & (MR_TAPE_RUN - 1);
	uint64_t first = mr_tape_word_(newest, 3);
	uint64_t other = (mr_tape_word_(newest, 1) ^ time << 16) |
	                 (mr_tape_word_(newest, 2) ^ (uint64_t)(uintptr_t)name) |
	                 (first ^ (number ? number - more - 1 : 0)) | (!first ^ !number) |
	                 (mr_tape_word_(newest, 4) ^ ((uint64_t)connection << 32 | consumer)) |
	                 (mr_tape_word_(newest, 5) ^ mr_tape_text_(text, 0)) |
	                 (mr_tape_word_(newest, 6) ^ mr_tape_text_(text, 8)) |
	                 (mr_tape_word_(newest, 7) ^ mr_tape_text_(text, 16)) |
	                 ((uint32_t)head >> 8 ^ ((uint32_t)channel << 8 | (uint32_t)kind));
	if (other || more == MR_TAPE_RUN - 1)
		mr_tape_put(t, time, kind, name, connection, channel, consumer, number, 0, text);
	else
		atomic_store_explicit(&newest->words[0], head + 1, memory_order_release);
}

/* Writer, for what is rare: with text of up to MR_TAPE_TEXT_MAX bytes, without the passwords of
 * URLs. */
void mr_tape_tell(struct mr_tape *t, const struct mr_tape_event *event, mr_slice text);

/* Any thread: a place in a tape, from the newest event backwards. */
struct mr_tape_view {
	const struct mr_tape *tape;
	uint32_t at, left;
};
struct mr_tape_view mr_tape_look(const struct mr_tape *t);
/* The next older event; false: there is none, or it has been overwritten meanwhile. */
bool mr_tape_back(struct mr_tape_view *v, struct mr_tape_event *out);

const char *mr_tape_kind(uint8_t kind);

#endif
