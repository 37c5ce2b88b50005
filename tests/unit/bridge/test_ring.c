/* test_ring: records between two real threads, in order and whole; wake-ups that are never lost.
 * Covers: runtime/bridge/wake.c by mr_wake_prepare
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "bridge/ring.h"
#include "bridge/wake.h"

#define RECORDS 300000

struct pair {
	struct mr_ring ring;
	struct mr_wake wake;
};

static size_t size_of(uint32_t n) { return 4 + n * 7919u % 97; }

static void *produce(void *arg)
{
	struct pair *p = arg;
	for (uint32_t n = 0; n < RECORDS;) {
		unsigned char *record = mr_ring_reserve(&p->ring, size_of(n));
		if (!record) {
			mr_wake_signal(&p->wake);
			sched_yield();
			continue;
		}
		memset(record, (int)(n & 0xff), size_of(n));
		memcpy(record, &n, sizeof n);
		mr_ring_commit(&p->ring);
		mr_wake_signal(&p->wake);
		n++;
	}
	return NULL;
}

static void sleep_until_woken(struct pair *p)
{
	size_t size;
	mr_wake_prepare(&p->wake);
	if (!mr_ring_peek(&p->ring, &size)) {
		struct pollfd pfd = {.fd = p->wake.fd, .events = POLLIN};
		assert_int_equal(poll(&pfd, 1, 10000), 1); /* a lost wake-up would sleep for ever */
	}
	if (mr_wake_cancel(&p->wake)) mr_wake_clear(&p->wake);
}

static void test_every_record_arrives_in_order_and_whole(void **state)
{
	struct pair p;
	pthread_t thread;
	size_t size;
	(void)state;
	assert_int_equal(mr_ring_open(&p.ring, 4096), MR_OK);
	assert_int_equal(mr_wake_open(&p.wake, NULL), MR_OK);
	assert_int_equal(pthread_create(&thread, NULL, produce, &p), 0);
	for (uint32_t n = 0; n < RECORDS;) {
		unsigned char *record = mr_ring_peek(&p.ring, &size);
		uint32_t number;
		if (!record) {
			sleep_until_woken(&p);
			continue;
		}
		memcpy(&number, record, sizeof number);
		assert_int_equal(number, n);
		assert_int_equal(size, size_of(n));
		if (size > 4) assert_int_equal(record[size - 1], n & 0xff);
		mr_ring_consume(&p.ring);
		n++;
	}
	pthread_join(thread, NULL);
	assert_null(mr_ring_peek(&p.ring, &size));
	mr_wake_close(&p.wake);
	mr_ring_close(&p.ring);
}

static void test_a_full_ring_refuses_and_says_when_there_is_room(void **state)
{
	struct mr_ring ring;
	size_t size, count = 0;
	(void)state;
	assert_int_equal(mr_ring_open(&ring, 1024), MR_OK);
	assert_null(mr_ring_reserve(&ring, 2000));
	assert_false(mr_ring_take_starved(&ring)); /* too large is not full */
	while (mr_ring_reserve(&ring, 100)) {
		mr_ring_commit(&ring);
		count++;
	}
	assert_true(count >= 8);
	assert_true(mr_ring_take_starved(&ring));
	assert_false(mr_ring_take_starved(&ring));
	assert_non_null(mr_ring_peek(&ring, &size));
	mr_ring_consume(&ring);
	assert_non_null(mr_ring_reserve(&ring, 100));
	mr_ring_close(&ring);
}

static void test_a_sleeper_is_signalled_once(void **state)
{
	struct mr_wake wake;
	uint64_t count = 0;
	(void)state;
	assert_int_equal(mr_wake_open(&wake, NULL), MR_OK);
	mr_wake_signal(&wake); /* awake: no system call */
	assert_int_equal(read(wake.fd, &count, sizeof count), -1);
	mr_wake_prepare(&wake);
	assert_true(mr_wake_is_asleep(&wake));
	for (int i = 0; i < 5; i++) mr_wake_signal(&wake);
	assert_int_equal(read(wake.fd, &count, sizeof count), sizeof count);
	assert_int_equal(count, 1);
	assert_true(mr_wake_cancel(&wake));
	mr_wake_prepare(&wake);
	assert_false(mr_wake_cancel(&wake));
	mr_wake_close(&wake);
	mr_wake_close(&wake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_record_arrives_in_order_and_whole),
		cmocka_unit_test(test_a_full_ring_refuses_and_says_when_there_is_room),
		cmocka_unit_test(test_a_sleeper_is_signalled_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
