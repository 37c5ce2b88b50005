/* test_inlet: frames come out whole, however the stream cuts them.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "net/inlet.h"

/* ---- a stream that gives what it has, `piece` bytes at a time ---- */

struct fake {
	struct mr_stream stream; /* first */
	const uint8_t *data;
	size_t size, at, piece;
	size_t asked; /* the bytes of the last read */
	bool dry;     /* nothing just now */
};

static ssize_t fake_read(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	struct fake *f = (struct fake *)s;
	size_t n = f->size - f->at;
	f->asked = size;
	assert_true(size > 0); /* a read of nothing would look like the end */
	if (f->dry) return 0;
	if (!n) {
		mr_error_set(error, MR_STREAM_LOST, MR_SCOPE_CONNECTION, 0, "the end");
		return -1;
	}
	if (n > f->piece) n = f->piece;
	if (n > size) n = size;
	memcpy(data, f->data + f->at, n);
	f->at += n;
	return (ssize_t)n;
}

/* Fills one place after the other, as far as a piece goes. */
static ssize_t fake_readv(struct mr_stream *s, const struct iovec *to, int count, mr_error *error)
{
	struct fake *f = (struct fake *)s;
	size_t piece = f->piece;
	ssize_t all = 0, n = 1;
	for (int i = 0; i < count && f->piece && n > 0 && (!all || f->at < f->size); i++) {
		n = fake_read(s, to[i].iov_base, to[i].iov_len, error);
		if (n > 0) all += n;
		if (n > 0) f->piece -= (size_t)n;
	}
	f->piece = piece;
	return all ? all : n;
}

static const struct mr_stream_class fake_class = {.read = fake_read};
static const struct mr_stream_class scattering_class = {.read = fake_read, .readv = fake_readv};

/* ---- frames: four bytes of length, then each byte a count from the frame's number on ---- */

#define FRAMES 60
static const size_t sizes[] = {0, 1, 3, 100, 5, 63, 60, 64, 59, 300, 2, 1000, 0, 7, 61};

static size_t size_of(size_t frame) { return sizes[frame % (sizeof sizes / sizeof *sizes)]; }

static uint8_t *all_frames(size_t *size)
{
	uint8_t *bytes = malloc(FRAMES * 1100), *at = bytes;
	for (size_t i = 0; i < FRAMES; i++) {
		*at++ = 0;
		*at++ = 0;
		*at++ = (uint8_t)(size_of(i) >> 8);
		*at++ = (uint8_t)size_of(i);
		for (size_t k = 0; k < size_of(i); k++) *at++ = (uint8_t)(i + k);
	}
	*size = (size_t)(at - bytes);
	return bytes;
}

struct taker {
	size_t next;  /* the frame to come */
	size_t pause; /* before this frame it takes no more */
	size_t calls;
	bool places; /* those of 50 bytes and more are read to where they belong */
	size_t left; /* bytes of such a frame */
	size_t placed;
	char room[1000];
};

static size_t in_room(const struct taker *t) { return size_of(t->next) - t->left; }

static char *place(void *owner, size_t *size)
{
	struct taker *t = owner;
	*size = t->left;
	return t->left ? t->room + in_room(t) : NULL;
}

static size_t take_part(struct taker *t, const uint8_t *data, size_t size)
{
	if (size > t->left) size = t->left;
	t->placed += (const char *)data == t->room + in_room(t) ? size : 0;
	for (size_t k = 0; k < size; k++)
		assert_int_equal(data[k], (uint8_t)(t->next + in_room(t) + k));
	t->left -= size;
	t->next += !t->left;
	return size;
}

static size_t take(void *owner, const uint8_t *data, size_t size, size_t *want)
{
	struct taker *t = owner;
	size_t at = 0;
	t->calls++;
	*want = 0;
	while (at < size && t->next != t->pause) {
		if (t->left) {
			at += take_part(t, data + at, size - at);
			continue;
		}
		*want = 4;
		if (size - at < 4) break;
		size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
		*want = length + 4;
		if (t->places && length >= 50) {
			t->left = length;
			at += 4;
			*want = 0;
			continue;
		}
		if (size - at < length + 4) break;
		assert_int_equal(length, size_of(t->next));
		for (size_t k = 0; k < length; k++)
			assert_int_equal(data[at + 4 + k], (uint8_t)(t->next + k));
		t->next++;
		at += length + 4;
		*want = 0;
	}
	return at;
}

struct bench {
	struct fake fake;
	struct taker taker;
	struct mr_inlet inlet;
	struct mr_buffer scratch;
	uint8_t *bytes;
	long live;
};

static void begin(struct bench *b, size_t shared, size_t piece)
{
	memset(b, 0, sizeof *b);
	b->live = mr_alloc_live();
	b->bytes = all_frames(&b->fake.size);
	b->fake.stream.class = &fake_class;
	b->fake.data = b->bytes;
	b->fake.piece = piece;
	b->taker.pause = SIZE_MAX;
	b->scratch.base = mr_malloc(shared); /* a buffer would round it up */
	b->scratch.capacity = shared;
}

static ssize_t read_once(struct bench *b, mr_error *error)
{
	return mr_inlet_read(&b->inlet, &b->fake.stream, &b->scratch, take, place, &b->taker,
		error);
}

static void end(struct bench *b)
{
	mr_inlet_fini(&b->inlet);
	mr_buffer_fini(&b->scratch);
	assert_int_equal(mr_alloc_live(), b->live);
	free(b->bytes);
}

static void test_pieces_of_every_size_give_the_same_frames(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 1300; piece += piece < 150 ? 1 : 37) {
		struct bench b;
		mr_error error = {0};
		size_t got = 0;
		ssize_t n;
		begin(&b, 64 * 1024, piece);
		while ((n = read_once(&b, &error)) > 0) got += (size_t)n;
		assert_int_equal(error.kind, MR_STREAM_LOST);
		assert_int_equal(got, b.fake.size);
		assert_int_equal(b.taker.next, FRAMES);
		assert_int_equal(mr_buffer_size(&b.inlet.kept), 0);
		end(&b);
	}
}

static void test_frames_larger_than_the_shared_memory_gather_in_their_own(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 2000; piece += piece < 150 ? 1 : 97) {
		struct bench b;
		mr_error error = {0};
		begin(&b, 64, piece);
		while (read_once(&b, &error) > 0) {
			/* What is kept is one frame begun, never a heap of them. */
			assert_true(mr_buffer_size(&b.inlet.kept) <= 1004);
			assert_int_equal(b.scratch.capacity, 64);
		}
		assert_int_equal(b.taker.next, FRAMES);
		end(&b);
	}
}

static void test_what_belongs_somewhere_is_read_there(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 3000; piece += piece < 150 ? 1 : 97)
		for (int scatters = 0; scatters < 2; scatters++) {
			struct bench b;
			mr_error error = {0};
			begin(&b, 64 * 1024, piece);
			b.taker.places = true;
			if (scatters) b.fake.stream.class = &scattering_class;
			while (read_once(&b, &error) > 0) {}
			assert_int_equal(error.kind, MR_STREAM_LOST);
			assert_int_equal(b.taker.next, FRAMES);
			if (piece == 1) assert_true(b.taker.placed > 6000); /* nearly all */
			assert_int_equal(mr_buffer_size(&b.inlet.kept), 0);
			end(&b);
		}
}

/* Another large body may follow it. */
static void test_little_is_read_behind_what_belongs_somewhere(void **state)
{
	struct bench b;
	mr_error error = {0};
	(void)state;
	begin(&b, 64 * 1024, 110);
	b.taker.places = true;
	assert_true(read_once(&b, &error) == 110);
	assert_int_equal(b.fake.asked, 64 * 1024);
	assert_true(b.taker.left > 0);
	assert_true(read_once(&b, &error) > 0);
	assert_int_equal(b.taker.left, 0);
	b.taker.places = false; /* small frames, from here on */
	for (int i = 0; i < 3; i++) {
		assert_true(read_once(&b, &error) == 110);
		assert_int_equal(b.fake.asked, 4096);
	}
	b.fake.piece = 4096;
	assert_true(read_once(&b, &error) == 4096); /* none has come among so many bytes */
	assert_true(read_once(&b, &error) > 0);
	assert_true(b.fake.asked > 60 * 1024);
	while (read_once(&b, &error) > 0) {}
	assert_int_equal(b.taker.next, FRAMES);
	end(&b);
}

static void test_between_frames_nothing_is_kept(void **state)
{
	struct bench b;
	mr_error error = {0};
	(void)state;
	begin(&b, 64 * 1024, 1 << 20);
	assert_int_equal(read_once(&b, &error), b.fake.size);
	assert_null(b.inlet.kept.base);
	assert_int_equal(b.inlet.want, 0);
	assert_int_equal(b.taker.calls, 1); /* one read, one look */
	end(&b);
}

static void test_a_stream_that_has_nothing_changes_nothing(void **state)
{
	struct bench b;
	mr_error error = {0};
	(void)state;
	begin(&b, 64, 7);
	assert_int_equal(read_once(&b, &error), 7);
	size_t kept = mr_buffer_size(&b.inlet.kept), calls = b.taker.calls;
	b.fake.dry = true;
	for (int i = 0; i < 10; i++) assert_int_equal(read_once(&b, &error), 0);
	assert_int_equal(mr_buffer_size(&b.inlet.kept), kept);
	assert_int_equal(b.taker.calls, calls);
	b.fake.dry = false;
	while (read_once(&b, &error) > 0) {}
	assert_int_equal(b.taker.next, FRAMES);
	end(&b);
}

static void test_an_owner_that_stopped_gets_the_rest_by_a_replay(void **state)
{
	(void)state;
	for (size_t shared = 64; shared <= 64 * 1024; shared *= 32)
		for (size_t pause = 0; pause < FRAMES; pause++) {
			struct bench b;
			mr_error error = {0};
			begin(&b, shared, 200);
			b.taker.pause = pause;
			while (b.taker.next < pause && read_once(&b, &error) > 0) {}
			read_once(&b, &error); /* one more, that nobody wanted */
			assert_int_equal(b.taker.next, pause);
			b.taker.pause = SIZE_MAX;
			mr_inlet_replay(&b.inlet, take, &b.taker);
			while (read_once(&b, &error) > 0) {}
			assert_int_equal(error.kind, MR_STREAM_LOST);
			assert_int_equal(b.taker.next, FRAMES);
			mr_inlet_replay(&b.inlet, take, &b.taker); /* nothing is left of it */
			assert_int_equal(b.taker.next, FRAMES);
			end(&b);
		}
}

static void test_every_failing_allocation_is_told_and_leaves_nothing(void **state)
{
	(void)state;
	for (long nth = 1; nth < 2000; nth++) {
		struct bench b;
		mr_error error = {0};
		begin(&b, 64, 50);
		mr_alloc_fail_nth(nth);
		while (read_once(&b, &error) > 0) {}
		mr_alloc_fail_nth(0);
		bool whole = error.kind == MR_STREAM_LOST;
		if (whole)
			assert_int_equal(b.taker.next, FRAMES);
		else
			assert_int_equal(error.kind, MR_NO_MEMORY);
		end(&b);
		if (whole) return;
	}
	fail_msg("it never succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_of_every_size_give_the_same_frames),
		cmocka_unit_test(test_frames_larger_than_the_shared_memory_gather_in_their_own),
		cmocka_unit_test(test_what_belongs_somewhere_is_read_there),
		cmocka_unit_test(test_little_is_read_behind_what_belongs_somewhere),
		cmocka_unit_test(test_between_frames_nothing_is_kept),
		cmocka_unit_test(test_a_stream_that_has_nothing_changes_nothing),
		cmocka_unit_test(test_an_owner_that_stopped_gets_the_rest_by_a_replay),
		cmocka_unit_test(test_every_failing_allocation_is_told_and_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
