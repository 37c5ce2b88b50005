/* test_thread: a thread of the library has a name, and leaves signals to the host.
 * SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct seen {
	pthread_barrier_t named;
	char name[16];
	sigset_t blocked;
};

static void *look(void *owner)
{
	struct seen *s = owner;
	pthread_barrier_wait(&s->named);
	pthread_getname_np(pthread_self(), s->name, sizeof s->name);
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
	return NULL;
}

static void test_a_thread_has_its_name_and_no_signals(void **state)
{
	struct seen s = {.name = ""};
	pthread_t thread;
	sigset_t before, after;
	(void)state;
	pthread_barrier_init(&s.named, NULL, 2);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(mr_thread_start(&thread, "mr test", look, &s), 0);
	pthread_barrier_wait(&s.named);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&s.named);
	assert_string_equal(s.name, "mr test");
	assert_int_equal(sigismember(&s.blocked, SIGTERM), 1);
	assert_int_equal(sigismember(&s.blocked, SIGPROF), 1);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_thread_has_its_name_and_no_signals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
