/* odd_bench: more hands for the server of session_bench: late, out of order, out of its mind.
 * SPDX-License-Identifier: MIT */
#ifndef MR_TEST_ODD_BENCH_H
#define MR_TEST_ODD_BENCH_H

#include "session_bench.h"

#include "amqp/session_state.h"

#define NOTHING 0

static inline void clear(struct bench *b)
{
	b->count = 0;
	mr_outbox_consume(mr_session_output(b->s), SIZE_MAX);
}

static uint64_t late_token; /* of the last late answer that the engine was told of */
static int lates_told;

static inline void on_late(void *owner, uint16_t channel, uint64_t token, enum mr_status status)
{
	(void)owner;
	(void)channel;
	(void)status;
	late_token = token;
	lates_told++;
}

static inline void listen_for_late(struct bench *b)
{
	b->options.late = on_late;
	lates_told = 0;
}

static inline void ask_named(struct bench *b, uint64_t token, int operation, const char *name,
	const char *extra)
{
	mr_request r = {.operation = operation, .number = (uint32_t)token};
	r.name = mr_slice_str(name);
	r.extra = mr_slice_str(extra);
	mr_session_request(b->s, 1, token, 1, &r, 10000);
}

static inline void say_named(struct bench *b, uint32_t id, const char *name)
{
	say(b, 1, (struct mr_method){.id = id, .name = mr_slice_str(name)});
}

static inline void beat(struct bench *b, mr_msec now)
{
	size_t want;
	mr_session_feed(b->s, (const uint8_t *)"\x08\0\0\0\0\0\0\xce", 8, now, &want);
}

static inline void pass(struct bench *b, mr_msec now)
{
	beat(b, now - 1);
	mr_session_tick(b->s, now, true);
}

static inline void deliver_to(struct bench *b, uint64_t tag, const char *consumer)
{
	say(b, 1,
		(struct mr_method){.id = MR_M_BASIC_DELIVER,
			.other = mr_slice_str(consumer),
			.tag = tag});
	mr_frame_put_content(&b->server, 1, mr_slice_of("\0\0", 2), mr_slice_str("body"),
		FRAME_MAX);
}

#endif
