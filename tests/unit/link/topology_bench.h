/* topology_bench: what a program has asked for, noted in a topology as recovery would.
 * SPDX-License-Identifier: MIT */
#ifndef MR_TEST_TOPOLOGY_BENCH_H
#define MR_TEST_TOPOLOGY_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/topology.h"
#include "base/alloc.h"

/* Appends to a text of `text_size` bytes. */
#define say(text, ...)                                                                             \
	do {                                                                                       \
		size_t at_ = strlen(text);                                                         \
		snprintf((text) + at_, sizeof(text) - at_, __VA_ARGS__);                           \
	} while (0)

static inline void note(struct mr_topology *t, uint16_t channel, int operation, const char *name,
	const char *extra, const char *answer)
{
	mr_request r = {.operation = operation};
	r.name = mr_slice_str(name);
	r.extra = mr_slice_str(extra);
	assert_int_equal(mr_topology_note(t, channel, &r, mr_slice_str(answer)), MR_OK);
}

static inline void exchange(struct mr_topology *t, uint16_t channel, const char *name)
{
	note(t, channel, MR_EXCHANGE_DECLARE, name, "topic", "");
}

static inline void queue(struct mr_topology *t, uint16_t channel, const char *name)
{
	note(t, channel, MR_QUEUE_DECLARE, name, "", name);
}

static inline void bind(struct mr_topology *t, uint16_t channel, const char *name,
	const char *source)
{
	note(t, channel, MR_QUEUE_BIND, name, source, "");
}

/* The consumer's number is in its tag. */
static inline void consume(struct mr_topology *t, uint16_t channel, const char *name,
	uint32_t number)
{
	mr_request r = {.operation = MR_BASIC_CONSUME, .number = number};
	char tag[16];
	snprintf(tag, sizeof tag, "t%u", number);
	r.name = mr_slice_str(name);
	r.extra = mr_slice_str(tag);
	assert_int_equal(mr_topology_note(t, channel, &r, r.extra), MR_OK);
}

static inline void mode(struct mr_topology *t, uint16_t channel, int operation, uint32_t flags,
	uint32_t number)
{
	mr_request r = {.operation = operation, .flags = flags, .number = number};
	assert_int_equal(mr_topology_note(t, channel, &r, mr_slice_of("", 0)), MR_OK);
}

#endif
