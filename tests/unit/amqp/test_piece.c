/* test_piece: large bodies come whole, however their frames are cut, and wherever they are read to.
 * SPDX-License-Identifier: MIT */
#include "amqp/piece.h"

#include "session_bench.h"

#define LONGEST 400000

static uint8_t byte_of(uint64_t tag, uint64_t at)
{
	return (uint8_t)(tag * 31 + at * 7 + at / 251);
}

/* Sizes around a frame, half a frame, and the least that is taken in pieces. */
static size_t size_of(uint64_t tag)
{
	static const size_t sizes[] = {MR_PIECE_LEAST, 5, 131064, 131065, 20000, 0,
		MR_PIECE_LEAST - 1, 65536, LONGEST, 100, MR_PIECE_LEAST + 1, 300000};
	return sizes[tag % (sizeof sizes / sizeof *sizes)];
}

static struct {
	uint64_t messages;
	size_t placed;
} seen;

static void on_message(void *owner, const mr_event *event)
{
	mr_delivery *d = event->type == MR_EV_DELIVERY ? event->as.delivery : NULL;
	if (d) {
		assert_int_equal(d->body_size, size_of(d->tag));
		for (uint64_t i = 0; i < d->body_size; i++)
			assert_int_equal((uint8_t)d->body[i], byte_of(d->tag, i));
		seen.messages++;
	}
	on_event(owner, event);
}

static void consume(struct bench *b)
{
	ready(b);
	b->options.emit = on_message;
	memset(&seen, 0, sizeof seen);
	open_channel(b, 2);
	ask(b, 5, MR_BASIC_CONSUME, 9);
	say(b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(b, 3);
	b->count = 0;
}

static void send(struct bench *b, uint64_t tag)
{
	static char body[LONGEST];
	size_t size = size_of(tag);
	for (size_t i = 0; i < size; i++) body[i] = (char)byte_of(tag, i);
	deliver_bytes(b, tag, mr_slice_of(body, size));
}

/* Reads up to `most` bytes to their place, if they have one. */
static bool place(struct bench *b, size_t most)
{
	size_t size = 0, there = mr_buffer_size(&b->server);
	char *to = mr_session_place(b->s, &size);
	if (!to || !there) return false;
	if (size > most) size = most;
	if (size > there) size = there;
	memcpy(to, mr_buffer_data(&b->server), size);
	mr_buffer_consume(&b->server, size);
	size_t want;
	assert_int_equal(mr_session_feed(b->s, (uint8_t *)to, size, 4, &want), size);
	seen.placed += size;
	return true;
}

/* As an inlet: what belongs somewhere is read there, the rest is fed, cut anywhere. */
static void take_all(struct bench *b, unsigned seed)
{
	size_t shown = 0, want;
	while (mr_buffer_size(&b->server)) {
		size_t piece = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 3 ? 50000 : 40);
		if (!shown && rand_r(&seed) % 4 && place(b, piece)) continue;
		shown += piece;
		if (shown > mr_buffer_size(&b->server)) shown = mr_buffer_size(&b->server);
		size_t used = mr_session_feed(b->s, mr_buffer_data(&b->server), shown, 4, &want);
		assert_true(used == shown || want > shown - used);
		if (!used && shown == mr_buffer_size(&b->server)) return;
		mr_buffer_consume(&b->server, used);
		shown -= used;
	}
}

static void test_bodies_come_whole_however_they_are_cut(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 40; seed++) {
		struct bench b;
		consume(&b);
		uint64_t frames = b.stats.frames_in;
		for (uint64_t tag = 1; tag <= 24; tag++) send(&b, tag);
		take_all(&b, seed);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		assert_int_equal(seen.messages, 24);
		assert_true(seen.placed > 100000);
		/* Twelve methods and headers; 17 bodies: none, one, two, three (300000), four. */
		assert_int_equal(b.stats.frames_in - frames, 2 * (12 + 12 + 17));
		end(&b);
	}
}

static void test_no_message_is_whole_before_the_end_of_its_frame_is_seen(void **state)
{
	(void)state;
	for (int placed = 0; placed < 2; placed++) {
		struct bench b;
		size_t want;
		consume(&b);
		send(&b, 2); /* one frame */
		((uint8_t *)mr_buffer_tail(&b.server))[-1] = 0x55;
		size_t size = mr_buffer_size(&b.server) - 70000;
		mr_buffer_consume(&b.server,
			mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want));
		if (placed) {
			assert_true(place(&b, SIZE_MAX));
			assert_int_equal(mr_buffer_size(&b.server), 2);
		}
		size = mr_buffer_size(&b.server);
		assert_true(
			mr_session_feed(b.s, mr_buffer_data(&b.server), size - 1, 4, &want) < size);
		assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		mr_buffer_consume(&b.server, size - 2);
		mr_session_feed(b.s, mr_buffer_data(&b.server), 2, 4, &want);
		assert_int_equal(mr_session_error(b.s)->kind, MR_FRAME_ERROR);
		assert_int_equal(seen.messages, 0);
		end(&b);
	}
}

static void test_a_channel_may_end_within_a_body(void **state)
{
	struct bench b;
	size_t want, size;
	(void)state;
	consume(&b);
	send(&b, 2);
	size = mr_buffer_size(&b.server) - 70000;
	mr_buffer_consume(&b.server,
		mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want));
	assert_non_null(mr_session_place(b.s, &size));
	mr_session_channel_close(b.s, 1, 7, 1, 9000);
	take_all(&b, 1);
	say(&b, 1, (struct mr_method){.id = MR_M_CHANNEL_CLOSE_OK});
	send(&b, 2); /* RabbitMQ 3.10 may: for nobody */
	size = mr_buffer_size(&b.server) - 70000;
	mr_buffer_consume(&b.server,
		mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want));
	assert_null(mr_session_place(b.s, &size));
	take_all(&b, 1);
	assert_int_equal(mr_buffer_size(&b.server), 0);
	assert_int_equal(mr_session_state(b.s), MR_SESSION_OPEN);
	assert_int_equal(b.ends[7], 1);
	end(&b);
}

static void test_a_connection_may_end_within_a_body(void **state)
{
	struct bench b;
	size_t want, size;
	mr_error why = {.kind = MR_STREAM_LOST};
	(void)state;
	consume(&b);
	send(&b, 8); /* LONGEST: several frames */
	size = mr_buffer_size(&b.server) - 215000;
	mr_buffer_consume(&b.server,
		mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want));
	assert_non_null(mr_session_place(b.s, &size));
	mr_session_end(b.s, &why);
	assert_null(mr_session_place(b.s, &size));
	size = mr_buffer_size(&b.server);
	assert_int_equal(mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want), size);
	assert_int_equal(seen.messages, 0);
	end(&b);
}

/* The frame is longer than its message, by one byte or by half; the first piece is not. */
static void test_a_body_that_is_longer_than_its_header_says_is_refused_at_its_head(void **state)
{
	static const uint64_t sizes[] = {10, 50000, 131063};
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct bench b;
		size_t size = 0, want;
		consume(&b);
		send(&b, 2); /* 131064 bytes */
		uint8_t *at = mr_buffer_data(&b.server);
		at += mr_get32(at + 3) + MR_FRAME_OVERHEAD;
		for (int k = 0; k < 8; k++)
			at[MR_FRAME_HEAD + 4 + k] = (uint8_t)(sizes[i] >> (56 - 8 * k));
		((uint8_t *)mr_buffer_tail(&b.server))[-1] = 0x55;
		size = mr_buffer_size(&b.server) - 131064 - 1; /* its head, and no more */
		mr_buffer_consume(&b.server,
			mr_session_feed(b.s, mr_buffer_data(&b.server), size, 4, &want));
		assert_null(mr_session_place(b.s, &size));
		take_all(&b, 1);
		assert_int_equal(seen.messages, 0);
		assert_int_not_equal(mr_session_state(b.s), MR_SESSION_OPEN);
		end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies_come_whole_however_they_are_cut),
		cmocka_unit_test(test_no_message_is_whole_before_the_end_of_its_frame_is_seen),
		cmocka_unit_test(test_a_channel_may_end_within_a_body),
		cmocka_unit_test(test_a_connection_may_end_within_a_body),
		cmocka_unit_test(
			test_a_body_that_is_longer_than_its_header_says_is_refused_at_its_head),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
