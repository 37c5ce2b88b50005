/* peer_settle: see peer_settle.h. Pure. */
// SPDX-License-Identifier: MIT
#include "peer_settle.h"

#include <stddef.h>
#include <stdlib.h>

#define BIT(tag) (UINT64_C(1) << ((tag) % 64))

bool settle_init(struct settle *s, uint64_t total)
{
	*s = (struct settle){.total = total, .lowest = 1};
	s->open = calloc((size_t)(total / 64 + 1), sizeof *s->open);
	return s->open != NULL;
}

void settle_fini(struct settle *s)
{
	free(s->open);
	*s = (struct settle){0};
}

/* Bits first..last of a word, both included. */
static uint64_t bits(unsigned first, unsigned last)
{
	return (~UINT64_C(0) << first) & (~UINT64_C(0) >> (63 - last));
}

void settle_deliver(struct settle *s, uint64_t count)
{
	uint64_t tag = s->delivered + 1;
	s->delivered += count;
	s->open_count += count;
	while (tag <= s->delivered) {
		const uint64_t word_end = tag | 63;
		const uint64_t last = word_end < s->delivered ? word_end : s->delivered;
		s->open[tag / 64] |= bits((unsigned)(tag % 64), (unsigned)(last % 64));
		tag = last + 1;
	}
}

static const char *judge(const struct settle *s, uint64_t tag)
{
	if (!s->open) return "settles on a channel that expects no acks";
	if (tag == 0 || tag > s->delivered) return "settles a tag that was never delivered";
	if (!(s->open[tag / 64] & BIT(tag))) return "settles a tag twice";
	return NULL;
}

const char *settle_one(struct settle *s, uint64_t tag)
{
	const char *fault = judge(s, tag);
	if (fault) return fault;
	s->open[tag / 64] &= ~BIT(tag);
	s->open_count--;
	return NULL;
}

const char *settle_up_to(struct settle *s, uint64_t tag)
{
	if (tag == 0 && s->open) {
		if (s->open_count == 0) return "settles all when nothing is open";
		tag = s->delivered;
	} else {
		const char *fault = judge(s, tag);
		if (fault) return fault;
	}
	for (uint64_t word = s->lowest / 64; word <= tag / 64; word++) {
		const unsigned last = word == tag / 64 ? (unsigned)(tag % 64) : 63;
		const uint64_t covered = s->open[word] & bits(0, last);
		s->open[word] &= ~covered;
		s->open_count -= (uint64_t)__builtin_popcountll(covered);
	}
	s->lowest = tag + 1;
	return NULL;
}
