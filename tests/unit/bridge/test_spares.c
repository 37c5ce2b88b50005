/* test_spares: memory of large bodies on its way back.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "bridge/spares.h"

#define BODY 65536
#define MOST (MR_SPARES_BYTES / BODY)

#ifdef __SANITIZE_ADDRESS__
enum { KEEPS = 0 };
#else
enum { KEEPS = 1 };
#endif

static struct mr_spares s;

static void test_memory_comes_back_for_a_body_as_large(void **state)
{
	(void)state;
	long live = mr_alloc_live();
	void *one = mr_spares_take(&s, BODY);
	mr_spares_give(&s, one, BODY);
	assert_int_equal(mr_alloc_live(), live + KEEPS);
	void *two = mr_spares_take(&s, BODY - 1000); /* of the same step */
	if (KEEPS) assert_ptr_equal(two, one);
	mr_spares_give(&s, two, BODY - 1000);
	void *other = mr_spares_take(&s, 4 * BODY); /* what lies here is too small: it is freed */
	assert_int_equal(mr_alloc_live(), live + 1);
	mr_spares_give(&s, other, 4 * BODY);
	mr_spares_fini(&s);
	assert_int_equal(mr_alloc_live(), live);
}

static void test_small_and_very_large_memory_is_not_kept(void **state)
{
	static const size_t sizes[] = {1, MR_SPARES_LEAST - 1, MR_SPARES_BYTES + 1, 100u << 20};
	(void)state;
	long live = mr_alloc_live();
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		mr_spares_give(&s, mr_spares_take(&s, sizes[i]), sizes[i]);
		assert_int_equal(mr_alloc_live(), live);
	}
}

static void test_no_more_is_kept_than_agreed_and_little_at_rest(void **state)
{
	void *all[MOST + 2];
	(void)state;
	long live = mr_alloc_live();
	for (size_t i = 0; i < MOST + 2; i++) all[i] = mr_spares_take(&s, BODY);
	for (size_t i = 0; i < MOST + 2; i++) mr_spares_give(&s, all[i], BODY);
	assert_int_equal(mr_alloc_live(), live + KEEPS * (long)MOST);
	assert_int_equal(mr_spares_is_large(&s), KEEPS);
	mr_spares_trim(&s); /* some were taken since the last one */
	assert_int_equal(mr_alloc_live(), live + KEEPS * (long)MOST);
	mr_spares_trim(&s);
	assert_int_equal(mr_alloc_live(), live + KEEPS * (long)(MR_SPARES_IDLE / BODY));
	assert_false(mr_spares_is_large(&s));
	mr_spares_fini(&s);
	assert_int_equal(mr_alloc_live(), live);
}

/* ---- two threads ---- */

#define ROUNDS 20000

static _Atomic(void *) written;

static void *write_bodies(void *unused)
{
	for (int n = 0; n < ROUNDS; n++) {
		void *body;
		while (!(body = atomic_exchange(&written, NULL))) sched_yield();
		mr_spares_give(&s, body, BODY);
		if (n % 100 == 0) mr_spares_trim(&s);
	}
	return unused;
}

static void test_two_threads_hand_memory_to_each_other(void **state)
{
	pthread_t writer;
	(void)state;
	long live = mr_alloc_live();
	assert_int_equal(pthread_create(&writer, NULL, write_bodies, NULL), 0);
	for (int n = 0; n < ROUNDS; n++) {
		char *body = mr_spares_take(&s, BODY);
		void *none = NULL;
		memset(body, n, 64); /* nobody else has it */
		body[BODY - 1] = (char)n;
		while (!atomic_compare_exchange_weak(&written, &none, body)) {
			none = NULL;
			sched_yield();
		}
	}
	pthread_join(writer, NULL);
	mr_spares_fini(&s);
	assert_int_equal(mr_alloc_live(), live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_comes_back_for_a_body_as_large),
		cmocka_unit_test(test_small_and_very_large_memory_is_not_kept),
		cmocka_unit_test(test_no_more_is_kept_than_agreed_and_little_at_rest),
		cmocka_unit_test(test_two_threads_hand_memory_to_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
