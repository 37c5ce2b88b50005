/* test_fanout: subscriptions to fanout exchanges, with a Redis that is played here and answers when it is told to.
 * SPDX-License-Identifier: MIT
 * Covers: runtime/redis/store.c by mr_redis_store_open
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "redis/fanout.h"
#include "redis/store.h"

#define PATIENCE 60000 /* ms: of a busy machine */
#define S mr_slice_str

struct peer { /* a connection, on the server's side */
	int fd;
	char got[65536];
	size_t size;
	bool is_ear;
};

struct bench {
	struct ev_loop *loop;
	struct mr_store store;
	struct mr_vhost *vhost;
	struct mr_exchange *x;
	struct mr_queue *q;
	struct mr_redis_store *r;
	char path[64];
	int listener;
	struct peer peers[2];
	int ups, downs;
	bool holds;       /* PSUBSCRIBE is not answered, */
	bool refuses;     /* or by an error */
	int held;         /* how many */
	char heard[4096]; /* PSUBSCRIBE, PUNSUBSCRIBE and SADD, as they came */
};

static struct bench b;

/* ---- the server ---- */

static void say(const struct peer *p, const char *text)
{
	/* A connection that is being closed does not hear it. */
	if (p->fd >= 0 && send(p->fd, text, strlen(text), MSG_NOSIGNAL) < 0) return;
}

static void confirm(const struct peer *p, const char *kind, const char *channel)
{
	char text[600];
	snprintf(text, sizeof text, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:2\r\n", strlen(kind), kind,
		strlen(channel), channel);
	say(p, text);
}

static void answer_subscription(struct peer *p, const char *pattern)
{
	if (b.refuses)
		say(p, "-NOPERM this user has no permissions to access the channel\r\n");
	else if (b.holds)
		b.held++;
	else
		confirm(p, "psubscribe", pattern);
}

static void answer(struct peer *p, char *words[], size_t count)
{
	const char *verb = words[0];
	const char *last = words[count - 1];
	bool is_sub = strcmp(verb, "PSUBSCRIBE") == 0, is_unsub = strcmp(verb, "PUNSUBSCRIBE") == 0;
	if (is_sub || is_unsub || strcmp(verb, "SADD") == 0) {
		size_t size = strlen(b.heard);
		snprintf(b.heard + size, sizeof b.heard - size, "%s %s;", verb, words[1]);
	}
	if (is_sub)
		answer_subscription(p, last);
	else if (is_unsub)
		confirm(p, "punsubscribe", last);
	else if (strcmp(verb, "SUBSCRIBE") == 0)
		confirm(p, "subscribe", last);
	else if (strcmp(last, "ID") == 0)
		say(p, ":7\r\n");
	else if (strcmp(verb, "CLIENT") == 0 || strcmp(verb, "SCRIPT") == 0)
		say(p, "+OK\r\n");
	else
		say(p, strcmp(verb, "PING") == 0 ? "+PONG\r\n" : ":1\r\n");
	if (strcmp(last, "ID") == 0) p->is_ear = true;
}

/* The length of a line "*3\r\n" with its number; 0: it is not there yet. */
static size_t read_number(const char *at, const char *end, char mark, long *out)
{
	const char *line = memchr(at, '\n', (size_t)(end - at));
	if (!line) return 0;
	assert_int_equal(*at, mark);
	*out = strtol(at + 1, NULL, 10);
	return (size_t)(line + 1 - at);
}

/* Answers the first command; false: it is not whole yet. */
static bool serve_one(struct peer *p)
{
	char *words[16], *at = p->got, *end = p->got + p->size;
	long count, size;
	size_t used = read_number(at, end, '*', &count);
	if (!used) return false;
	at += used;
	assert_in_range(count, 1, 16);
	for (long i = 0; i < count; i++) {
		used = at < end ? read_number(at, end, '$', &size) : 0;
		if (!used || at + used + size + 2 > end) return false;
		words[i] = at + used;
		at += used + (size_t)size + 2;
	}
	for (long i = 0; i < count; i++) { /* where the next word's line begins, or the end */
		char *after = i + 1 < count ? words[i + 1] : at;
		while (i + 1 < count && *--after != '$') {}
		after[-2] = '\0';
	}
	answer(p, words, (size_t)count);
	p->size = (size_t)(end - at);
	memmove(p->got, at, p->size);
	return true;
}

static void drop(struct peer *p)
{
	if (p->fd >= 0) close(p->fd);
	*p = (struct peer){.fd = -1};
}

static void serve(void)
{
	for (int i = 0; i < 2; i++) {
		struct peer *p = &b.peers[i];
		if (p->fd < 0)
			p->fd = accept4(b.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (p->fd < 0) continue;
		ssize_t n = read(p->fd, p->got + p->size, sizeof p->got - 1 - p->size);
		if (n > 0) p->size += (size_t)n;
		p->got[p->size] = '\0';
		while (p->size && serve_one(p)) {}
		if (!n) drop(p);
	}
}

static struct peer *ear(void) { return &b.peers[b.peers[0].is_ear ? 0 : 1]; }
static struct peer *main_one(void) { return &b.peers[b.peers[0].is_ear ? 1 : 0]; }

/* ---- the bench ---- */

static void on_turn(void *owner) { (void)owner; }
static void on_up(void *owner) { ((struct bench *)owner)->ups++; }
static void on_down(void *owner, const mr_error *why)
{
	(void)why;
	((struct bench *)owner)->downs++;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void turn(void)
{
	ev_timer tick;
	ev_timer_init(&tick, on_tick, 0.005, 0);
	ev_timer_start(b.loop, &tick);
	ev_run(b.loop, EVRUN_ONCE);
	ev_timer_stop(b.loop, &tick);
	serve();
}

#define wait_for(condition)                                                                        \
	do {                                                                                       \
		mr_msec until = mr_clock_now() + PATIENCE;                                         \
		while (!(condition)) {                                                             \
			if (mr_clock_now() > until)                                                \
				fail_msg("never: %s (%s)", #condition, b.heard);                   \
			turn();                                                                    \
		}                                                                                  \
	} while (0)

/* Everything that is on its way has come. */
static void settle(void)
{
	for (int i = 0; i < 20; i++) turn();
}

struct bind { /* first its promise */
	struct mr_promise promise;
	int told;
};

static void told(struct mr_promise *p) { mr_container(p, struct bind, promise)->told++; }

static void bind_queue(struct bind *bind, const char *key)
{
	struct mr_backing *backing = b.store.backing;
	*bind = (struct bind){.promise.told = told};
	assert_int_equal(mr_exchange_bind(b.x, &b.q->target, S(key), (mr_slice){0}), MR_OK);
	backing->class->bind(backing, b.x, b.q, S(key), &bind->promise);
}

static void unbind_queue(const char *key)
{
	struct mr_binding *e;
	assert_int_equal(mr_exchange_find_binding(b.x, &b.q->target, S(key), (mr_slice){0}, &e),
		MR_OK);
	mr_exchange_unbind(e);
}

static void push(const char *pattern, const char *channel, const char *tag)
{
	char body[200], text[600];
	snprintf(body, sizeof body, "{\"body\": \"m\", \"properties\": {\"delivery_tag\": \"%s\"}}",
		tag);
	snprintf(text, sizeof text,
		"*4\r\n$8\r\npmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
		strlen(pattern), pattern, strlen(channel), channel, strlen(body), body);
	say(ear(), text);
}

static void listen_here(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(b.path, sizeof b.path, "/tmp/mr_test_fanout.%d", (int)getpid());
	unlink(b.path);
	strcpy(address.sun_path, b.path);
	b.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b.listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(b.listener, 8), 0);
}

static int setup(void **state)
{
	static const struct mr_limits none = {-1, -1, -1, -1, MR_DROP_HEAD, 0, false, false, -1,
		{0}, {0}};
	const struct mr_redis_store_port port = {on_turn, on_up, on_down, on_turn, &b};
	mr_error error = {0};
	(void)state;
	b = (struct bench){.loop = mr_ev_open(), .peers = {{.fd = -1}, {.fd = -1}}};
	assert_non_null(b.loop);
	listen_here();
	struct mr_redis_store_options o = {.link = {.path = b.path},
		.prefix = "",
		.fanout_prefix = "/{db}.",
		.fanout_patterns = true,
		.visibility = 3600000,
		.step_count = 1};
	mr_store_init(&b.store, 1, mr_clock_now());
	mr_store_begin_turn(&b.store, MR_WORK_UNBOUNDED);
	b.vhost = mr_vhost_new(&b.store, S("/"));
	b.x = mr_exchange_new(S("x"), MR_X_FANOUT, (mr_slice){0}, NULL);
	assert_int_equal(mr_vhost_add_exchange(b.vhost, b.x), MR_OK);
	b.q = mr_queue_new(&b.store, S("q"), (mr_slice){0}, &none);
	assert_int_equal(mr_vhost_add_queue(b.vhost, b.q), MR_OK);
	assert_int_equal(mr_redis_store_open(&b.r, b.loop, &b.store, &o, &port, &error), MR_OK);
	wait_for(b.ups && ear()->is_ear);
	settle();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mr_raze_queue(b.q);
	mr_redis_store_close(b.r);
	mr_vhost_free(b.vhost);
	mr_entry_sweep(&b.store);
	mr_store_fini(&b.store);
	for (int i = 0; i < 2; i++) drop(&b.peers[i]);
	close(b.listener);
	unlink(b.path);
	ev_loop_destroy(b.loop);
	return 0;
}

/* ---- tests ---- */

static void test_a_bind_is_told_after_redis_has_confirmed_it_and_so_is_an_equal_one(void **state)
{
	struct bind one, same;
	(void)state;
	b.holds = true;
	bind_queue(&one, "a.#");
	bind_queue(&same, "a.#");
	wait_for(b.held == 1);
	settle();
	assert_string_equal(strstr(b.heard, "PSUB"), "PSUBSCRIBE /0.x/a.*;");
	assert_int_equal(one.told + same.told, 0);
	confirm(ear(), "psubscribe", "/0.x/a.*");
	wait_for(one.told && same.told);
	assert_int_equal(one.promise.status, MR_OK);
	bind_queue(&same, "a.#"); /* it is confirmed already */
	wait_for(same.told);
	assert_int_equal(b.held, 1);
}

static void test_after_a_loss_subscriptions_come_first(void **state)
{
	struct bind one;
	(void)state;
	bind_queue(&one, "");
	wait_for(one.told);
	b.holds = true;
	drop(&b.peers[0]);
	drop(&b.peers[1]);
	wait_for(b.downs == 1 && b.held == 2 && b.r->is_up);
	settle();
	assert_int_equal(b.ups, 1);
	drop(ear()); /* while it is waited for: who waits is told */
	wait_for(b.downs >= 2 && b.held == 4);
	settle();
	assert_int_equal(b.ups, 1);
	confirm(ear(), "psubscribe", "/0.x");
	settle();
	assert_int_equal(b.ups, 1);
	confirm(ear(), "psubscribe", "/0.x/*");
	wait_for(b.ups == 2);
}

static void test_a_bind_does_not_outlive_the_connection_that_it_waits_for(void **state)
{
	struct bind one, two;
	(void)state;
	b.holds = true;
	bind_queue(&one, "k");
	wait_for(b.held == 1);
	settle();
	drop(ear());
	wait_for(one.told);
	assert_int_equal(one.promise.status, MR_CONNECTION_FORCED);
	assert_false(one.promise.is_lost);
	assert_int_equal(b.downs, 0);
	wait_for(b.held == 2); /* again, on the next connection */
	bind_queue(&two, "k");
	settle();
	drop(main_one());
	wait_for(two.told);
	assert_true(two.promise.is_lost);
	wait_for(b.downs == 1);
}

static void test_a_message_by_two_patterns_comes_once_and_none_after_the_unbind(void **state)
{
	struct bind one;
	(void)state;
	bind_queue(&one, "a.*");
	bind_queue(&one, "*.b");
	wait_for(one.told);
	settle();
	push("/0.x/a.*", "/0.x/a.b", "t1");
	push("/0.x/*.b", "/0.x/a.b", "t1");
	push("/0.x/a.*", "/0.x/a.c",
		"t1"); /* one more with its tag: by a pattern that has had it */
	push("/0.x/a.*", "/0.x/a.c", "t2");
	push("/0.x/none", "/0.x/none", "t3");
	wait_for(b.q->ready >= 3);
	settle();
	assert_int_equal(b.q->ready, 3);
	assert_int_equal(b.q->own, 3);
	unbind_queue("a.*");
	push("/0.x/a.*", "/0.x/a.b", "t4");
	push("/0.x/*.b", "/0.x/a.b", "t4");
	wait_for(b.q->ready == 4 && strstr(b.heard, "PUNSUBSCRIBE /0.x/a.*;"));
	unbind_queue("*.b");
	wait_for(strstr(b.heard, "PUNSUBSCRIBE /0.x/*.b;"));
}

static void test_a_pattern_is_kept_as_long_as_one_binding_needs_it(void **state)
{
	struct bind one;
	(void)state;
	bind_queue(&one, "");
	bind_queue(&one, "*"); /* the same as one of the two of "" */
	bind_queue(&one, "#"); /* and again */
	wait_for(one.told);
	unbind_queue("");
	wait_for(strstr(b.heard, "PUNSUBSCRIBE /0.x;"));
	unbind_queue("*");
	settle();
	assert_null(strstr(b.heard, "PUNSUBSCRIBE /0.x/*;"));
	unbind_queue("#");
	wait_for(strstr(b.heard, "PUNSUBSCRIBE /0.x/*;"));
}

static void test_what_is_refused_is_asked_for_again_by_the_next_bind(void **state)
{
	struct bind one;
	(void)state;
	b.refuses = true;
	bind_queue(&one, "k");
	wait_for(one.told);
	assert_int_equal(one.promise.status, MR_ACCESS_REFUSED); /* mr_ask_fail */
	assert_int_equal(one.promise.error.code, 403);
	push("/0.x/k", "/0.x/k", "t1");
	settle();
	assert_int_equal(b.q->ready, 0);
	b.refuses = false;
	bind_queue(&one, "k");
	wait_for(one.told);
	assert_int_equal(one.promise.status, MR_OK);
	push("/0.x/k", "/0.x/k", "t2");
	wait_for(b.q->ready == 1);
}

static void test_a_bind_without_memory_is_refused_and_leaves_nothing(void **state)
{
	struct bind one;
	long n = 1;
	(void)state;
	assert_int_equal(mr_exchange_bind(b.x, &b.q->target, S(""), (mr_slice){0}), MR_OK);
	do {
		struct mr_backing *backing = b.store.backing;
		one = (struct bind){.promise.told = told};
		mr_alloc_fail_nth(n++);
		backing->class->bind(backing, b.x, b.q, S(""), &one.promise);
		mr_alloc_fail_nth(0);
		wait_for(one.told);
		if (one.promise.status != MR_OK)
			assert_int_equal(one.promise.status, MR_RESOURCE_ERROR);
	} while (one.promise.status != MR_OK);
	assert_true(n > 4);
	push("/0.x", "/0.x", "t1");
	push("/0.x/*", "/0.x/k", "t2");
	wait_for(b.q->ready == 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_a_bind_is_told_after_redis_has_confirmed_it_and_so_is_an_equal_one),
		CASE(test_after_a_loss_subscriptions_come_first),
		CASE(test_a_bind_does_not_outlive_the_connection_that_it_waits_for),
		CASE(test_a_message_by_two_patterns_comes_once_and_none_after_the_unbind),
		CASE(test_a_pattern_is_kept_as_long_as_one_binding_needs_it),
		CASE(test_what_is_refused_is_asked_for_again_by_the_next_bind),
		CASE(test_a_bind_without_memory_is_refused_and_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
