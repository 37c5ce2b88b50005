/* test_race: TCP connections to several addresses of a host (FIELD-R14).
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "link/race.h"

#define MANY 4

static struct mr_services services;
static struct mr_race race;
static mr_msec limit; /* ms of one attempt */
static struct {
	int won, over, failures;
	size_t racer, failed[MANY];
	int kinds[MANY];
	struct mr_stream *stream;
} told;

static void on_won(void *owner, size_t racer, struct mr_stream *stream)
{
	(void)owner;
	told.won++;
	told.racer = racer;
	told.stream = stream;
}

static void on_failed(void *owner, size_t racer, const mr_error *error)
{
	(void)owner;
	told.kinds[told.failures] = error->kind;
	told.failed[told.failures++] = racer;
}

static void on_over(void *owner)
{
	(void)owner;
	told.over++;
}

static mr_msec deadline(void *owner)
{
	(void)owner;
	return mr_clock_now() + limit;
}

static const struct mr_race_owner class = {on_won, on_failed, on_over, deadline};

static int begin(void **state)
{
	(void)state;
	memset(&told, 0, sizeof told);
	memset(&services, 0, sizeof services);
	limit = 20000;
	services.loop = ev_loop_new(EVFLAG_NOENV);
	mr_timers_init(&services.timers, services.loop);
	mr_race_init(&race, &services, &class, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	mr_race_fini(&race);
	if (told.stream) told.stream->class->close(told.stream);
	ev_loop_destroy(services.loop);
	return 0;
}

/* ---- places to connect to ---- */

struct place {
	struct mr_address address;
	int fd, fill[2];
};

static struct sockaddr_in *v4(struct place *p) { return (void *)&p->address.storage; }

static void bind_place(struct place *p)
{
	*p = (struct place){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
		.fill = {-1, -1}};
	p->address.size = sizeof(struct sockaddr_in);
	*v4(p) = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = p->address.size;
	assert_int_equal(bind(p->fd, (void *)v4(p), size), 0);
	getsockname(p->fd, (void *)v4(p), &size);
}

static void listening(struct place *p)
{
	bind_place(p);
	assert_int_equal(listen(p->fd, 8), 0);
}

static void refusing(struct place *p) { bind_place(p); }

/* Its queue is full: what asks to be let in is not even answered. */
static void silent(struct place *p)
{
	bind_place(p);
	assert_int_equal(listen(p->fd, 0), 0);
	for (int i = 0; i < 2; i++) {
		p->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(p->fill[i], (void *)v4(p), p->address.size);
	}
}

static void leave(struct place *p, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		close(p[i].fd);
		for (int k = 0; k < 2; k++)
			if (p[i].fill[k] >= 0) close(p[i].fill[k]);
	}
}

static void run(struct place *places, size_t count, const struct mr_address *first)
{
	struct mr_address addresses[MANY];
	for (size_t i = 0; i < count; i++) addresses[i] = places[i].address;
	assert_int_equal(mr_race_set(&race, addresses, count, first), MR_OK);
	mr_race_run(&race);
	while (!told.won && !told.over) ev_run(services.loop, EVRUN_ONCE);
}

/* ---- the tests ---- */

static void test_a_silent_address_costs_a_quarter_of_a_second_not_its_timeout(void **state)
{
	struct place places[2];
	(void)state;
	silent(&places[0]);
	listening(&places[1]);
	mr_msec began = mr_clock_now();
	run(places, 2, NULL);
	assert_int_equal(told.won, 1);
	assert_int_equal(told.racer, 1);
	assert_true(mr_clock_now() - began >= 240);
	assert_true(mr_clock_now() - began < 5000);
	assert_int_equal(told.failures, 0);
	assert_int_equal(mr_race_fresh(&race),
		1); /* the silent one was called off: it may be tried yet */
	leave(places, 2);
}

static void test_one_that_refuses_costs_nothing(void **state)
{
	struct place places[3];
	(void)state;
	refusing(&places[0]);
	refusing(&places[1]);
	listening(&places[2]);
	run(places, 3, NULL);
	assert_int_equal(told.racer, 2);
	assert_int_equal(told.failures, 2);
	assert_int_equal(told.kinds[0], MR_CONNECTION_REFUSED);
	assert_int_equal(mr_race_fresh(&race), 0);
	leave(places, 3);
}

static void test_all_that_fail_are_told_each_with_its_kind(void **state)
{
	struct place places[3];
	(void)state;
	limit = 300;
	silent(&places[0]);
	refusing(&places[1]);
	silent(&places[2]);
	run(places, 3, NULL);
	assert_int_equal(told.over, 1);
	assert_int_equal(told.won, 0);
	assert_int_equal(told.failures, 3);
	assert_int_equal(told.kinds[0], MR_CONNECTION_REFUSED);
	assert_int_equal(told.kinds[1], MR_CONNECT_TIMEOUT);
	assert_int_equal(told.kinds[2], MR_CONNECT_TIMEOUT);
	leave(places, 3);
}

static void test_the_one_that_worked_is_tried_first(void **state)
{
	struct place places[3];
	struct mr_address worked;
	(void)state;
	silent(&places[0]);
	silent(&places[1]);
	listening(&places[2]);
	worked = places[2].address;
	run(places, 3, &worked);
	assert_int_equal(told.racer, 0); /* in the order of the race */
	assert_memory_equal(&race.racers[0].address.storage, &worked.storage, worked.size);
	assert_int_equal(mr_race_fresh(&race), 2);
	leave(places, 3);
}

static void test_who_lost_is_tried_when_the_winner_turns_out_to_be_of_no_use(void **state)
{
	struct place places[2];
	(void)state;
	silent(&places[0]);
	listening(&places[1]);
	limit = 400;
	run(places, 2, NULL);
	assert_int_equal(told.racer, 1);
	told.stream->class->close(told.stream);
	told.stream = NULL;
	told.won = 0;
	mr_race_run(&race);
	while (!told.won && !told.over) ev_run(services.loop, EVRUN_ONCE);
	assert_int_equal(told.over, 1);
	assert_int_equal(told.failed[0], 0);
	leave(places, 2);
}

static struct mr_address address_of(const char *text)
{
	struct mr_address a = {.size = sizeof(struct sockaddr_in)};
	struct sockaddr_in *four = (void *)&a.storage;
	struct sockaddr_in6 *six = (void *)&a.storage;
	four->sin_family = AF_INET;
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) return a;
	a.size = sizeof *six;
	six->sin6_family = AF_INET6;
	assert_int_equal(inet_pton(AF_INET6, text, &six->sin6_addr), 1);
	return a;
}

static void check_order(const char *const *given, size_t count, const char *first,
	const char *const *expected)
{
	struct mr_address addresses[MANY], of_first = address_of(first ? first : "1.1.1.1");
	for (size_t i = 0; i < count; i++) addresses[i] = address_of(given[i]);
	assert_int_equal(mr_race_set(&race, addresses, count, first ? &of_first : NULL), MR_OK);
	for (size_t i = 0; i < count; i++) {
		struct mr_address a = address_of(expected[i]);
		assert_memory_equal(&race.racers[i].address.storage, &a.storage, a.size);
	}
}

static void test_families_take_turns_from_the_resolvers_first_or_the_one_that_worked(void **state)
{
	static const char *const given[] = {"::1", "::2", "::3", "9.9.9.9"};
	static const char *const turns[] = {"::1", "9.9.9.9", "::2", "::3"};
	static const char *const worked[] = {"9.9.9.9", "::1", "::2", "::3"};
	static const char *const fours[] = {"2.2.2.2", "3.3.3.3"};
	(void)state;
	check_order(given, 4, NULL, turns);
	check_order(given, 4, "9.9.9.9", worked);
	check_order(given, 4, "8.8.8.8", turns); /* not among them any more */
	check_order(fours, 2, NULL, fours);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_silent_address_costs_a_quarter_of_a_second_not_its_timeout),
		T(one_that_refuses_costs_nothing),
		T(all_that_fail_are_told_each_with_its_kind),
		T(the_one_that_worked_is_tried_first),
		T(who_lost_is_tried_when_the_winner_turns_out_to_be_of_no_use),
		T(families_take_turns_from_the_resolvers_first_or_the_one_that_worked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
