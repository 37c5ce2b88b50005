/* test_sentinel: which Sentinel is asked, what its answer means; and a link that asks some which are played here.
 * SPDX-License-Identifier: MIT
 * Covers: runtime/redis/seek.c by mr_redis_options
 */
#include <arpa/inet.h>
#include <fcntl.h>
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
#include "redis/link.h"
#include "redis/sentinel.h"

#define PATIENCE 60000 /* ms: of a busy machine */
#define AUTH "*2\r\n$4\r\nAUTH\r\n$3\r\nhop\r\n"
#define NAME "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$10\r\nmoonrabbit\r\n"
#define ROLE "*1\r\n$4\r\nROLE\r\n"
#define PING "*1\r\n$4\r\nPING\r\n"
#define QUESTION "*3\r\n$8\r\nSENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$7\r\nrabbits\r\n"
#define MASTER "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define REPLICA "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n"

/* ---- the machine ---- */

static const struct mr_redis_host hosts[] = {{"a", 1}, {"b", 2}, {"c", 3}};
static const struct mr_redis_options three = {.sentinels = hosts,
	.sentinel_count = 3,
	.service = "rabbits"};

static void asks(struct mr_sentinel *s, const char *name)
{
	const struct mr_redis_host *host = mr_sentinel_next(s);
	if (!name) {
		assert_null(host);
		return;
	}
	assert_non_null(host);
	assert_string_equal(host->name, name);
}

static void fails(struct mr_sentinel *s, const char *text)
{
	mr_error error = {0};
	mr_error_set(&error, MR_CONNECTION_REFUSED, MR_SCOPE_CONNECTION, 0, "%s", text);
	mr_sentinel_failed(s, &error);
}

static enum mr_status takes(struct mr_sentinel *s, const char *reply)
{
	struct mr_redis_wire wire = {0};
	redisReply *r = NULL;
	mr_error error = {0};
	assert_int_equal(mr_redis_wire_open(&wire), MR_OK);
	assert_int_equal(mr_redis_wire_feed(&wire, reply, strlen(reply), &error), MR_OK);
	assert_int_equal(mr_redis_wire_take(&wire, &r, &error), MR_OK);
	assert_non_null(r);
	enum mr_status st = mr_sentinel_take(s, r);
	mr_redis_wire_free(r);
	mr_redis_wire_close(&wire);
	return st;
}

static void who_has_answered_is_asked_first(void **state)
{
	struct mr_sentinel s;
	(void)state;
	mr_sentinel_init(&s, &three);
	mr_sentinel_begin(&s);
	asks(&s, "a");
	fails(&s, "Sentinel at a:1: no answer");
	asks(&s, "b");
	assert_int_equal(takes(&s, "*2\r\n$8\r\n10.0.0.7\r\n$4\r\n6379\r\n"), MR_OK);
	assert_string_equal(s.host, "10.0.0.7");
	assert_int_equal(s.port, 6379);
	mr_sentinel_begin(&s);
	asks(&s, "b");
	assert_int_equal(takes(&s, "$-1\r\n"), MR_NOT_FOUND);
	asks(&s, "c");
	fails(&s, "Sentinel at c:3: no answer");
	asks(&s, "a");
	fails(&s, "Sentinel at a:1: no answer");
	asks(&s, NULL);
	assert_int_equal(s.why.kind, MR_NOT_FOUND); /* says more than who was not reached */
	assert_string_equal(s.why.text, "Sentinel at b:2: knows no master \"rabbits\"");
	mr_sentinel_begin(&s);
	asks(&s, "b");
}

static void who_was_wrong_is_asked_last(void **state)
{
	struct mr_sentinel s;
	(void)state;
	mr_sentinel_init(&s, &three);
	mr_sentinel_begin(&s);
	asks(&s, "a");
	assert_int_equal(takes(&s, "*2\r\n$1\r\nh\r\n$1\r\n1\r\n"), MR_OK);
	mr_sentinel_doubt(&s);
	mr_sentinel_begin(&s);
	asks(&s, "b");
	asks(&s, "c");
	asks(&s, "a");
	asks(&s, NULL);
}

static void says_that_none_was_reached(void **state)
{
	struct mr_sentinel s;
	(void)state;
	mr_sentinel_init(&s, &three);
	mr_sentinel_begin(&s);
	for (int i = 0; i < 3; i++) {
		assert_non_null(mr_sentinel_next(&s));
		fails(&s, "Sentinel at h:1: nothing listens");
	}
	asks(&s, NULL);
	assert_int_equal(s.why.kind, MR_CONNECTION_REFUSED);
	assert_string_equal(s.why.text,
		"no Sentinel was reached: Sentinel at h:1: nothing listens");
}

static void takes_an_address_and_nothing_else(void **state)
{
	static const struct {
		const char *reply;
		int status;
		const char *text;
	} cases[] = {
		{"+OK\r\n", MR_TIMEOUT, NULL}, /* of AUTH */
		{"*2\r\n$1\r\nh\r\n$5\r\n65535\r\n", MR_OK, NULL},
		{"*-1\r\n", MR_NOT_FOUND, "knows no master"},
		{"-NOAUTH Authentication required.\r\n", MR_AUTHENTICATION_FAILED, "Redis: NOAUTH"},
		{"-IDONTKNOW Sentinel has not enough information\r\n", MR_INTERNAL_ERROR,
			"IDONTKNOW"},
		{"-ERR unknown command 'SENTINEL', with args beginning with: 'x'\r\n",
			MR_NOT_IMPLEMENTED, "ERR unknown command 'SENTINEL'"},
		{"*2\r\n$1\r\nh\r\n$5\r\n65536\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*2\r\n$1\r\nh\r\n$1\r\n0\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*2\r\n$1\r\nh\r\n$0\r\n\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*2\r\n$1\r\nh\r\n$2\r\n7x\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*2\r\n$1\r\nh\r\n:7\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*2\r\n$0\r\n\r\n$1\r\n7\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{"*1\r\n$1\r\nh\r\n", MR_UNEXPECTED_FRAME, "not asked"},
		{":7\r\n", MR_UNEXPECTED_FRAME, "not asked"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mr_sentinel s;
		mr_sentinel_init(&s, &three);
		mr_sentinel_begin(&s);
		asks(&s, "a");
		assert_int_equal(takes(&s, cases[i].reply), cases[i].status);
		if (!cases[i].text) continue;
		assert_string_equal(s.host, "");
		if (!strstr(s.why.text, cases[i].text)) fail_msg("%s", s.why.text);
	}
}

static void takes_no_host_that_is_too_long(void **state)
{
	struct mr_sentinel s;
	char reply[400], host[257];
	(void)state;
	memset(host, 'h', 256);
	host[256] = '\0';
	mr_sentinel_init(&s, &three);
	mr_sentinel_begin(&s);
	asks(&s, "a");
	snprintf(reply, sizeof reply, "*2\r\n$256\r\n%s\r\n$1\r\n7\r\n", host);
	assert_int_equal(takes(&s, reply), MR_UNEXPECTED_FRAME);
	snprintf(reply, sizeof reply, "*2\r\n$255\r\n%s\r\n$1\r\n7\r\n", host + 1);
	assert_int_equal(takes(&s, reply), MR_OK);
	assert_int_equal(strlen(s.host), 255);
}

static void logs_in_if_it_can(void **state)
{
	struct mr_redis_options o = three;
	struct mr_sentinel s;
	struct mr_buffer out = {0};
	(void)state;
	o.sentinel_user = "u";
	o.sentinel_password = "hop";
	mr_sentinel_init(&s, &o);
	assert_int_equal(mr_sentinel_ask(&s, &out), MR_OK);
	assert_int_equal(mr_buffer_append(&out, "", 1), MR_OK);
	assert_string_equal((char *)mr_buffer_data(&out),
		"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\nhop\r\n" QUESTION);
	mr_buffer_fini(&out);
}

/* ---- the bench: a loop, a link, and others that are played here ---- */

struct place { /* a Sentinel or a Redis */
	int listener, fd;
	uint16_t port;
	char got[1024];
};

struct bench {
	struct ev_loop *loop;
	struct mr_redis_link *link;
	struct place one, two, master, other;
	struct mr_redis_host hosts[2];
	struct mr_redis_options options;
	int ups, downs, losses;
	mr_error why;
};

static void on_up(void *owner) { ((struct bench *)owner)->ups++; }

static void on_down(void *owner, const mr_error *why)
{
	struct bench *b = owner;
	b->downs++;
	b->why = *why;
}

static void on_answer(void *context, uint64_t number, const redisReply *r, const mr_error *why)
{
	struct bench *b = context;
	(void)number;
	(void)why;
	if (!r) b->losses++;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static void turn(struct bench *b)
{
	ev_timer tick;
	ev_timer_init(&tick, on_tick, 0.02, 0);
	ev_timer_start(b->loop, &tick);
	ev_run(b->loop, EVRUN_ONCE);
	ev_timer_stop(b->loop, &tick);
}

#define wait_for(b, condition)                                                                     \
	do {                                                                                       \
		mr_msec until = mr_clock_now() + PATIENCE;                                         \
		while (!(condition)) {                                                             \
			if (mr_clock_now() > until)                                                \
				fail_msg("never: %s (%s)", #condition, (b)->why.text);             \
			turn(b);                                                                   \
		}                                                                                  \
	} while (0)

static void listen_at(struct place *p)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	p->fd = -1;
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(listen(p->listener, 8), 0);
	p->port = ntohs(address.sin_port);
}

static bool is_asked(struct place *p, const char *text)
{
	if (p->fd < 0) p->fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (p->fd < 0) return false;
	size_t had = strlen(p->got);
	ssize_t n = read(p->fd, p->got + had, sizeof p->got - 1 - had);
	if (n > 0) p->got[had + (size_t)n] = '\0';
	return strcmp(p->got, text) == 0;
}

static void hang_up(struct place *p)
{
	if (p->fd >= 0) close(p->fd);
	p->fd = -1;
	p->got[0] = '\0';
}

static void say(struct place *p, const char *text)
{
	assert_int_equal(send(p->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	p->got[0] = '\0';
}

static void name(struct place *sentinel, const struct place *master)
{
	char text[80], port[8];
	snprintf(port, sizeof port, "%u", master->port);
	snprintf(text, sizeof text, "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
	say(sentinel, text);
}

/* It asks this Sentinel, which names that Redis, and hangs up. */
static void is_sent(struct bench *b, struct place *sentinel, const struct place *to)
{
	wait_for(b, is_asked(sentinel, QUESTION));
	name(sentinel, to);
	char byte;
	wait_for(b, read(sentinel->fd, &byte, 1) == 0);
	hang_up(sentinel);
}

static void begin(struct bench *b)
{
	const struct mr_redis_port port = {on_up, on_down, NULL, b};
	mr_error error = {0};
	*b = (struct bench){.loop = mr_ev_open()};
	struct place *places[] = {&b->one, &b->two, &b->master, &b->other};
	for (int i = 0; i < 4; i++) listen_at(places[i]);
	b->hosts[0] = (struct mr_redis_host){"127.0.0.1", b->one.port};
	b->hosts[1] = (struct mr_redis_host){"localhost", b->two.port};
	b->options = (struct mr_redis_options){.sentinels = b->hosts,
		.sentinel_count = 2,
		.service = "rabbits",
		.password = "hop"};
	assert_int_equal(mr_redis_link_open(&b->link, b->loop, &b->options, &port, &error), MR_OK);
}

static void end(struct bench *b)
{
	struct place *places[] = {&b->one, &b->two, &b->master, &b->other};
	mr_redis_link_close(b->link);
	for (int i = 0; i < 4; i++) hang_up(places[i]);
	for (int i = 0; i < 4; i++)
		if (places[i]->listener >= 0) close(places[i]->listener);
	ev_loop_destroy(b->loop);
}

/* ---- with them ---- */

static void goes_where_a_sentinel_says(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	is_sent(&b, &b.one, &b.master);
	wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
	assert_int_equal(b.ups, 0);
	say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, b.ups == 1);
	assert_int_equal(b.downs, 0);
	end(&b);
}

static void a_role_may_be_a_secret(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	is_sent(&b, &b.one, &b.master);
	wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
	say(&b.master, "+OK\r\n+OK\r\n-NOPERM no permissions to run role\r\n+PONG\r\n");
	wait_for(&b, b.ups == 1);
	end(&b);
}

static void leaves_a_replica_and_asks_another_sentinel(void **state)
{
	struct bench b;
	char text[100];
	(void)state;
	begin(&b);
	is_sent(&b, &b.one, &b.other);
	wait_for(&b, is_asked(&b.other, AUTH NAME ROLE PING));
	say(&b.other, "+OK\r\n+OK\r\n" REPLICA "+PONG\r\n");
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_CONNECTION_FORCED);
	snprintf(text, sizeof text, "Redis at 127.0.0.1:%u is a replica", b.other.port);
	if (!strstr(b.why.text, text)) fail_msg("%s", b.why.text);
	is_sent(&b, &b.two, &b.master);
	wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
	say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, b.ups == 1);
	assert_int_equal(b.one.fd, -1);
	end(&b);
}

static void asks_the_next_when_one_is_gone_or_silent_or_ignorant(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		struct bench b;
		begin(&b);
		if (i == 0) {
			close(b.one.listener); /* before the loop runs: nothing listens */
			b.one.listener = -1;
		} else {
			wait_for(&b, is_asked(&b.one, QUESTION));
		}
		if (i == 1) hang_up(&b.one);
		if (i == 2) say(&b.one, "$-1\r\n");
		is_sent(&b, &b.two, &b.master); /* i == 3: the first one says nothing at all */
		wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
		say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
		wait_for(&b, b.ups == 1);
		assert_int_equal(b.downs, 0);
		hang_up(&b.one);
		hang_up(&b.master);
		is_sent(&b, &b.two, &b.master); /* first, this time */
		end(&b);
	}
}

static void tells_what_no_sentinel_knows(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	wait_for(&b, is_asked(&b.one, QUESTION));
	say(&b.one, "$-1\r\n");
	wait_for(&b, is_asked(&b.two, QUESTION));
	hang_up(&b.two);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_NOT_FOUND);
	if (!strstr(b.why.text, "knows no master \"rabbits\"")) fail_msg("%s", b.why.text);
	end(&b);
}

static void a_master_that_is_not_there_is_told_of(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	close(b.master.listener);
	b.master.listener = -1;
	is_sent(&b, &b.one, &b.master);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_CONNECTION_REFUSED);
	assert_non_null(strstr(b.why.text, "Redis at 127.0.0.1:"));
	is_sent(&b, &b.two, &b.other); /* the other one may know better */
	end(&b);
}

static void asks_again_when_it_may_not_write(void **state)
{
	const mr_slice words[] = {mr_slice_str("INCR"), mr_slice_str("k")};
	struct bench b;
	(void)state;
	begin(&b);
	is_sent(&b, &b.one, &b.master);
	wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
	say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, b.ups == 1);
	assert_int_equal(mr_redis_link_send(b.link, words, 2, on_answer, &b, 1), MR_OK);
	wait_for(&b, is_asked(&b.master, "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n"));
	say(&b.master, "-READONLY You can't write against a read only replica.\r\n");
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.losses, 1);
	is_sent(&b, &b.one, &b.other);
	wait_for(&b, is_asked(&b.other, AUTH NAME ROLE PING));
	end(&b);
}

static void may_be_closed_at_any_time(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		long live = mr_alloc_live();
		struct bench b;
		begin(&b);
		if (i) wait_for(&b, is_asked(&b.one, QUESTION));
		if (i == 2) name(&b.one, &b.master);
		if (i == 2) wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
		if (i == 3) hang_up(&b.one);
		if (i == 3) wait_for(&b, is_asked(&b.two, QUESTION));
		end(&b);
		assert_int_equal(mr_alloc_live(), live);
	}
}

static void one_link_follows_another(void **state)
{
	struct bench b, f = {0};
	const struct mr_redis_port port = {on_up, on_down, NULL, &f};
	mr_error error = {0};
	(void)state;
	begin(&b);
	b.options.follows = true;
	assert_int_equal(mr_redis_link_open(&f.link, b.loop, &b.options, &port, &error), MR_OK);
	is_sent(&b, &b.one, &b.master);
	wait_for(&b, is_asked(&b.master, AUTH NAME ROLE PING));
	say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, b.ups == 1);
	struct place second = b.master; /* the same place, for the other link */
	second.fd = -1;
	mr_redis_link_follow(f.link, b.link);
	wait_for(&b, is_asked(&second, AUTH NAME ROLE PING));
	say(&second, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, f.ups == 1);
	mr_redis_link_follow(f.link, b.link); /* it is there already */
	assert_true(mr_redis_link_is_up(f.link));
	hang_up(&b.master);
	is_sent(&b, &b.one, &b.other);
	wait_for(&b, is_asked(&b.other, AUTH NAME ROLE PING));
	say(&b.other, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
	wait_for(&b, b.ups == 2);
	assert_int_equal(f.downs, 0); /* nobody has told it yet */
	mr_redis_link_follow(f.link, b.link);
	assert_int_equal(f.downs, 1);
	struct place third = b.other;
	third.fd = -1;
	third.got[0] = '\0';
	wait_for(&b, is_asked(&third, AUTH NAME ROLE PING));
	assert_int_equal(b.two.fd, -1);
	mr_redis_link_close(f.link);
	hang_up(&second);
	hang_up(&third);
	end(&b);
}

static void needs_no_memory_to_fail(void **state)
{
	long live = mr_alloc_live(), n = 0;
	bool done = false;
	(void)state;
	while (!done) {
		struct bench b = {.loop = mr_ev_open()};
		const struct mr_redis_port port = {on_up, on_down, NULL, &b};
		mr_error error = {0};
		listen_at(&b.one);
		listen_at(&b.master);
		b.hosts[0] = (struct mr_redis_host){"127.0.0.1", b.one.port};
		b.options = (struct mr_redis_options){.sentinels = b.hosts,
			.sentinel_count = 1,
			.service = "rabbits",
			.password = "hop"};
		mr_alloc_fail_nth_here(++n);
		enum mr_status st = mr_redis_link_open(&b.link, b.loop, &b.options, &port, &error);
		if (st == MR_OK) {
			wait_for(&b, b.downs || is_asked(&b.one, QUESTION));
			if (!b.downs) name(&b.one, &b.master);
			wait_for(&b, b.downs || is_asked(&b.master, AUTH NAME ROLE PING));
			if (!b.downs) say(&b.master, "+OK\r\n+OK\r\n" MASTER "+PONG\r\n");
			wait_for(&b, b.downs || b.ups);
		} else {
			assert_int_equal(error.kind, MR_NO_MEMORY);
		}
		if (b.downs) assert_int_equal(b.why.kind, MR_NO_MEMORY);
		done = b.ups && !b.downs;
		mr_alloc_fail_nth_here(0);
		mr_redis_link_close(b.link);
		hang_up(&b.one);
		hang_up(&b.master);
		close(b.one.listener);
		close(b.master.listener);
		ev_loop_destroy(b.loop);
		assert_int_equal(mr_alloc_live(), live);
	}
	assert_true(n > 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_answered_is_asked_first),
		cmocka_unit_test(who_was_wrong_is_asked_last),
		cmocka_unit_test(says_that_none_was_reached),
		cmocka_unit_test(takes_an_address_and_nothing_else),
		cmocka_unit_test(takes_no_host_that_is_too_long),
		cmocka_unit_test(logs_in_if_it_can),
		cmocka_unit_test(goes_where_a_sentinel_says),
		cmocka_unit_test(a_role_may_be_a_secret),
		cmocka_unit_test(leaves_a_replica_and_asks_another_sentinel),
		cmocka_unit_test(asks_the_next_when_one_is_gone_or_silent_or_ignorant),
		cmocka_unit_test(tells_what_no_sentinel_knows),
		cmocka_unit_test(a_master_that_is_not_there_is_told_of),
		cmocka_unit_test(asks_again_when_it_may_not_write),
		cmocka_unit_test(may_be_closed_at_any_time),
		cmocka_unit_test(one_link_follows_another),
		cmocka_unit_test(needs_no_memory_to_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
