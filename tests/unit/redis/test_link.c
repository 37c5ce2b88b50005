/* test_link: a connection to a Redis, which a script plays here; and to a real one, where tests/support/redis.sh runs it.
 * SPDX-License-Identifier: MIT
 * Covers: runtime/redis/reach.c by MR_CONNECTION_REFUSED
 * Covers: runtime/redis/options.c by socket_timeout
 */
#include <errno.h>
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
#include "redis/link.h"

#define PATIENCE 60000 /* ms: of a busy machine */
#define NAME "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$10\r\nmoonrabbit\r\n"
#define PING "*1\r\n$4\r\nPING\r\n"
#define W(...) ((mr_slice[]){__VA_ARGS__})
#define S mr_slice_str

/* ---- the bench: a loop, a link, and the other end ---- */

struct bench {
	struct ev_loop *loop;
	struct mr_redis_link *link;
	char path[64];
	int listener, fd;
	char got[4096]; /* by the server */
	size_t size;
	int ups, downs, answers, losses;
	mr_error why;      /* of the last loss or error */
	char said[8][128]; /* the answers */
	char pushed[128];
	bool closes; /* the next answer closes the link */
};

static void on_up(void *owner) { ((struct bench *)owner)->ups++; }

static void on_down(void *owner, const mr_error *why)
{
	struct bench *b = owner;
	b->downs++;
	b->why = *why;
}

static void on_pushed(void *owner, const redisReply *r)
{
	struct bench *b = owner;
	const redisReply *last = r->element[r->elements - 1];
	if (last->type == REDIS_REPLY_ARRAY) last = last->element[0];
	snprintf(b->pushed, sizeof b->pushed, "%s %s %s", r->element[0]->str, r->element[1]->str,
		last->str);
}

static void on_answer(void *context, uint64_t number, const redisReply *r, const mr_error *why)
{
	struct bench *b = context;
	char *out = b->said[b->answers++ % 8];
	if (why) b->why = *why;
	if (!r) b->losses++;
	if (!r)
		snprintf(out, 128, "%d lost", (int)number);
	else if (r->type == REDIS_REPLY_INTEGER)
		snprintf(out, 128, "%d %lld", (int)number, r->integer);
	else
		snprintf(out, 128, "%d %s", (int)number, r->str ? r->str : "-");
	if (!b->closes) return;
	b->closes = false;
	mr_redis_link_close(b->link);
	b->link = NULL;
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

/* Waits for nothing longer than 20 ms, so that what the server got is looked at, too. */
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

static void open_link(struct bench *b, const struct mr_redis_options *o)
{
	const struct mr_redis_port port = {on_up, on_down, on_pushed, b};
	mr_error error = {0};
	assert_int_equal(mr_redis_link_open(&b->link, b->loop, o, &port, &error), MR_OK);
}

static void listen_here(struct bench *b)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(b->path, sizeof b->path, "/tmp/mr_test_link.%d", (int)getpid());
	unlink(b->path);
	strcpy(address.sun_path, b->path);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(b->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(b->listener, 8), 0);
}

static bool accepted(struct bench *b)
{
	b->fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return b->fd >= 0;
}

static bool has_come(struct bench *b, size_t size)
{
	ssize_t n = read(b->fd, b->got + b->size, sizeof b->got - 1 - b->size);
	if (n > 0) b->size += (size_t)n;
	b->got[b->size] = '\0';
	return b->size >= size;
}

/* What the link has written is exactly this. */
static void expect(struct bench *b, const char *text)
{
	b->size = 0;
	wait_for(b, has_come(b, strlen(text)));
	assert_string_equal(b->got, text);
}

/* The link may be gone. */
static bool said(struct bench *b, const char *text)
{
	return send(b->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static void say(struct bench *b, const char *text) { assert_true(said(b, text)); }

static void begin(struct bench *b, struct mr_redis_options *o)
{
	*b = (struct bench){.loop = mr_ev_open(), .fd = -1};
	assert_non_null(b->loop);
	listen_here(b);
	o->path = b->path;
	open_link(b, o);
	wait_for(b, accepted(b));
}

static void begin_up(struct bench *b, struct mr_redis_options *o)
{
	begin(b, o);
	expect(b, NAME PING);
	say(b, "+OK\r\n+PONG\r\n");
	wait_for(b, b->ups == 1);
}

static void end(struct bench *b)
{
	mr_redis_link_close(b->link);
	if (b->fd >= 0) close(b->fd);
	if (b->path[0]) close(b->listener);
	if (b->path[0]) unlink(b->path);
	ev_loop_destroy(b->loop);
}

static void ask(struct bench *b, const char *word, uint64_t number)
{
	mr_slice w[] = {S(word), S("k")};
	assert_int_equal(mr_redis_link_send(b->link, w, 2, on_answer, b, number), MR_OK);
}

/* ---- with a scripted server ---- */

static void logs_in_with_all_it_has(void **state)
{
	struct mr_redis_options o = {.user = "rabbit", .password = "hop", .db = 7};
	struct bench b;
	(void)state;
	begin(&b, &o);
	expect(&b, "*3\r\n$4\r\nAUTH\r\n$6\r\nrabbit\r\n$3\r\nhop\r\n" NAME
		   "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n" PING);
	assert_false(mr_redis_link_is_up(b.link));
	assert_int_equal(mr_redis_link_send(b.link, W(S("GET"), S("k")), 2, on_answer, &b, 1),
		MR_CLOSED);
	say(&b, "+OK\r\n-NOPERM no client command\r\n+OK\r\n+PONG\r\n"); /* the name is not needed */
	wait_for(&b, b.ups == 1);
	assert_int_equal(b.downs, 0);
	end(&b);
}

static void logs_in_by_a_password_alone(void **state)
{
	struct mr_redis_options o = {.password = "hop"};
	struct bench b;
	(void)state;
	begin(&b, &o);
	expect(&b, "*2\r\n$4\r\nAUTH\r\n$3\r\nhop\r\n" NAME PING);
	end(&b);
}

static void tells_a_refused_login(void **state)
{
	static const struct {
		const char *said;
		int kind;
	} cases[] = {{"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
			     MR_AUTHENTICATION_FAILED},
		{"+OK\r\n-NOAUTH Authentication required.\r\n", MR_AUTHENTICATION_FAILED},
		{"+OK\r\n+OK\r\n-NOPERM no permissions to run select\r\n", MR_VHOST_ACCESS_REFUSED},
		{"+OK\r\n+OK\r\n-ERR DB index is out of range\r\n", MR_NOT_FOUND},
		{"+OK\r\n+OK\r\n+OK\r\n-LOADING Redis is loading\r\n", MR_CONNECTION_FORCED},
		{"+OK\r\n+OK\r\n+OK\r\n-MASTERDOWN Link is down\r\n", MR_CONNECTION_FORCED},
		{"+OK\r\n+OK\r\n-ERR SELECT is not allowed in cluster mode\r\n",
			MR_NOT_IMPLEMENTED},
		{"-ERR max number of clients reached\r\n", MR_CONNECTION_LIMIT_REACHED}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mr_redis_options o = {.user = "rabbit", .password = "hop", .db = 1};
		struct bench b;
		begin(&b, &o);
		say(&b, cases[i].said);
		wait_for(&b, b.downs == 1);
		assert_int_equal(b.why.kind, cases[i].kind);
		assert_null(strstr(b.why.text, "hop"));
		assert_int_equal(b.ups, 0);
		end(&b);
	}
}

static void answers_in_order(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	ask(&b, "GET", 1);
	ask(&b, "INCR", 2);
	ask(&b, "LPOP", 3);
	assert_int_equal(mr_redis_link_pending(b.link), 3);
	assert_true(mr_redis_link_unsent(b.link) > 0);
	expect(&b, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n"
		   "*2\r\n$4\r\nLPOP\r\n$1\r\nk\r\n");
	assert_int_equal(mr_redis_link_unsent(b.link), 0);
	say(&b, "$3\r\none\r\n:4");
	wait_for(&b, b.answers == 1);
	say(&b, "2\r\n-WRONGTYPE Operation against a key\r\n");
	wait_for(&b, b.answers == 3);
	assert_string_equal(b.said[0], "1 one");
	assert_string_equal(b.said[1], "2 42");
	assert_string_equal(b.said[2], "3 WRONGTYPE Operation against a key");
	assert_int_equal(b.why.kind, MR_PRECONDITION_FAILED);
	assert_int_equal(b.losses + b.downs, 0);
	end(&b);
}

static void flush_writes_at_once(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	ask(&b, "GET", 1);
	mr_redis_link_flush(b.link);
	assert_int_equal(mr_redis_link_unsent(b.link), 0);
	b.size = 0;
	assert_true(has_come(&b, 20)); /* without a turn of the loop */
	end(&b);
}

static void what_is_lost_is_told_before_the_loss(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	ask(&b, "GET", 1);
	ask(&b, "GET", 2);
	expect(&b, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
	say(&b, "$3\r\none\r\n$3\r\ntw");
	wait_for(&b, b.answers == 1);
	close(b.fd);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.answers, 2);
	assert_int_equal(b.losses, 1);
	assert_string_equal(b.said[1], "2 lost");
	assert_int_equal(b.why.kind, MR_STREAM_LOST);
	wait_for(&b, accepted(&b)); /* by itself */
	expect(&b, NAME PING);
	say(&b, "+OK\r\n+PONG\r\n");
	wait_for(&b, b.ups == 2);
	ask(&b, "GET", 3);
	say(&b, "+new\r\n"); /* the half answer of the connection before is forgotten */
	wait_for(&b, b.answers == 3);
	assert_string_equal(b.said[2], "3 new");
	end(&b);
}

static void leaves_what_is_not_redis(void **state)
{
	static const char *const lines[] = {"HTTP/1.1 400 Bad Request\r\n",
		"+OK\r\n+PONG\r\n:1\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"};
	static const int kinds[] = {MR_FRAME_ERROR, MR_UNEXPECTED_FRAME, MR_FRAME_ERROR};
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct mr_redis_options o = {0};
		struct bench b;
		begin(&b, &o);
		say(&b, lines[i]);
		wait_for(&b, b.downs == 1);
		assert_int_equal(b.why.kind, kinds[i]);
		end(&b);
	}
}

#define READONLY "-READONLY You can't write against a read only replica.\r\n"

static void a_state_is_told_and_the_server_stays(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	ask(&b, "INCR", 1);
	ask(&b, "INCR", 2);
	say(&b, READONLY ":2\r\n");
	wait_for(&b, b.answers == 2);
	assert_string_equal(b.said[0], "1 READONLY You can't write against a read only replica.");
	assert_string_equal(b.said[1], "2 2");
	assert_int_equal(b.why.kind, MR_CONNECTION_FORCED);
	assert_int_equal(b.downs + b.losses, 0);
	end(&b);
}

/* The nth request is refused for the server's state. */
static void refused(struct bench *b, int n)
{
	ask(b, "INCR", (uint64_t)n);
	say(b, READONLY);
	wait_for(b, b->answers == n);
}

static void a_state_that_lasts_is_left(void **state)
{
	struct mr_redis_options o = {.health_check_interval = 200};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	mr_msec first = mr_clock_now();
	refused(&b, 1);
	assert_int_equal(b.losses, 0);
	wait_for(&b,
		mr_clock_now() - first > 250); /* the link may have sent a PING: refused, too */
	ask(&b, "INCR", 2);
	say(&b, READONLY);
	if (!b.losses) (void)said(&b, READONLY);
	wait_for(&b, b.downs == 1);
	assert_string_equal(b.said[1], "2 lost"); /* it may be done again at another one */
	assert_non_null(strstr(b.why.text, "READONLY"));
	end(&b);
}

/* As a client that is closed for each refusal, and comes again ever later. */
static void a_state_that_lasts_is_left_by_rare_requests(void **state)
{
	struct mr_redis_options o = {.health_check_interval = 25000};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	refused(&b, 1);
	mr_clock_move(30000);
	refused(&b, 2);
	assert_string_equal(b.said[1], "2 lost");
	wait_for(&b, b.downs == 1);
	end(&b);
}

static void a_state_of_long_ago_is_forgotten(void **state)
{
	struct mr_redis_options o = {.health_check_interval = 25000};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	refused(&b, 1);
	mr_clock_move(70000);
	refused(&b, 2);
	assert_int_equal(b.losses, 0);
	end(&b);
}

static void subscriptions_are_confirmed_and_pushed(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	assert_int_equal(
		mr_redis_link_send(b.link, W(S("SUBSCRIBE"), S("a"), S("b")), 3, on_answer, &b, 1),
		MR_OK);
	assert_int_equal(mr_redis_link_send(b.link, W(S("UNSUBSCRIBE")), 1, on_answer, &b, 2),
		MR_BAD_ARGUMENT);
	say(&b, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nearly\r\n");
	wait_for(&b, b.pushed[0]);
	assert_string_equal(b.pushed, "message a early");
	assert_int_equal(b.answers, 0);
	say(&b, "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
		"*4\r\n$8\r\npmessage\r\n$2\r\nx*\r\n$2\r\nxy\r\n$4\r\nbody\r\n");
	wait_for(&b, strstr(b.pushed, "body"));
	assert_int_equal(b.answers, 1);
	assert_string_equal(b.pushed, "pmessage x* body");
	say(&b, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$3\r\nkey\r\n");
	wait_for(&b, strstr(b.pushed, "key"));
	assert_string_equal(b.pushed, "message __redis__:invalidate key");
	assert_int_equal(b.downs, 0);
	end(&b);
}

static void asks_when_idle_and_gives_up(void **state)
{
	struct mr_redis_options o = {.socket_timeout = 300, .health_check_interval = 50};
	struct bench b;
	(void)state;
	begin(&b, &o);
	say(&b, "+OK\r\n+PONG\r\n");
	expect(&b, NAME PING PING); /* the second one for idleness */
	say(&b, "+PONG\r\n");
	expect(&b, PING);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_HEARTBEAT_TIMEOUT);
	assert_string_equal(b.why.text, "Redis said nothing for 0.3 s");
	end(&b);
}

static void an_answer_may_close_it(void **state)
{
	struct mr_redis_options o = {0};
	struct bench b;
	(void)state;
	begin_up(&b, &o);
	ask(&b, "GET", 1);
	ask(&b, "GET", 2);
	b.closes = true;
	say(&b, "+one\r\n+two\r\n");
	wait_for(&b, b.answers == 2);
	assert_string_equal(b.said[1], "2 lost");
	assert_int_equal(b.why.kind, MR_CLOSED);
	assert_int_equal(b.downs, 0);
	end(&b);
}

static void tells_where_nothing_listens(void **state)
{
	struct mr_redis_options o = {.path = "/tmp/mr_test_link.none"};
	struct bench b = {.loop = mr_ev_open(), .fd = -1};
	(void)state;
	open_link(&b, &o);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_CONNECTION_REFUSED);
	assert_non_null(strstr(b.why.text, "Redis at /tmp/mr_test_link.none: "));
	wait_for(&b, b.downs == 2); /* it goes on */
	end(&b);
}

static void needs_no_memory_to_fail(void **state)
{
	long live = mr_alloc_live(), n = 0;
	bool done = false;
	(void)state;
	while (!done) {
		struct mr_redis_options o = {.user = "u", .password = "p"};
		struct bench b = {.loop = mr_ev_open(), .fd = -1};
		const struct mr_redis_port port = {on_up, on_down, on_pushed, &b};
		mr_error error = {0};
		listen_here(&b);
		o.path = b.path;
		mr_alloc_fail_nth_here(++n);
		enum mr_status st = mr_redis_link_open(&b.link, b.loop, &o, &port, &error);
		if (st == MR_OK) { /* a failure later is a loss, after which it goes on */
			wait_for(&b, b.downs || accepted(&b));
			if (b.fd >= 0) (void)said(&b, "+OK\r\n+OK\r\n+PONG\r\n");
			wait_for(&b, b.downs || b.ups);
			done = b.ups;
		}
		if (b.ups && mr_redis_link_send(b.link, W(S("GET")), 1, on_answer, &b, 1) == MR_OK)
			(void)said(&b, "*2\r\n$3\r\none\r\n:3\r\n");
		if (b.ups) wait_for(&b, b.answers || b.downs || !mr_redis_link_pending(b.link));
		if (st != MR_OK) assert_int_equal(error.kind, MR_NO_MEMORY);
		if (b.downs || b.losses) assert_int_equal(b.why.kind, MR_NO_MEMORY);
		done = done && !b.downs && b.answers == 1 && !b.losses;
		mr_alloc_fail_nth_here(0);
		end(&b);
		assert_int_equal(mr_alloc_live(), live);
	}
	assert_true(n > 8);
}

/* ---- with a real one ---- */

static void serve(const struct mr_redis_options *o)
{
	struct bench b = {.loop = mr_ev_open(), .fd = -1};
	char body[70000];
	memset(body, 'x', sizeof body);
	open_link(&b, o);
	wait_for(&b, b.ups == 1);
	const mr_slice big = mr_slice_of(body, sizeof body);
	const mr_slice key = S("mr:test:link");
	mr_slice set[] = {S("SET"), key, big}, size[] = {S("STRLEN"), key}, get[] = {S("GET"), key},
		 gone[] = {S("DEL"), key};
	assert_int_equal(mr_redis_link_send(b.link, set, 3, on_answer, &b, 1), MR_OK);
	assert_int_equal(mr_redis_link_send(b.link, size, 2, on_answer, &b, 2), MR_OK);
	assert_int_equal(mr_redis_link_send(b.link, get, 2, on_answer, &b, 3), MR_OK);
	assert_int_equal(mr_redis_link_send(b.link, gone, 2, on_answer, &b, 4), MR_OK);
	wait_for(&b, b.answers == 4);
	assert_string_equal(b.said[0], "1 OK");
	assert_string_equal(b.said[1], "2 70000");
	assert_int_equal(strlen(b.said[2]), 127);
	assert_string_equal(b.said[3], "4 1");
	assert_int_equal(b.downs + b.losses, 0);
	end(&b);
}

static const char *env(const char *name)
{
	const char *value = getenv(name);
	if (!value) skip(); /* tests/support/redis.sh did not start one */
	return value;
}

static void serves_by_tcp(void **state)
{
	uint16_t port = (uint16_t)atoi(env("MR_REDIS_PORT"));
	(void)state;
	serve(&(struct mr_redis_options){.host = "127.0.0.1", .port = port});
	serve(&(struct mr_redis_options){.host = "localhost", .port = port, .db = 3});
	serve(&(struct mr_redis_options){.host = "127.0.0.1",
		.port = port,
		.user = "rabbit",
		.password = "hop"});
}

static void serves_by_a_socket(void **state)
{
	(void)state;
	serve(&(struct mr_redis_options){.path = env("MR_REDIS_SOCKET")});
}

static void serves_by_tls(void **state)
{
	struct mr_redis_options o = {.host = "localhost",
		.port = (uint16_t)atoi(env("MR_REDIS_TLS_PORT")),
		.use_tls = true,
		.tls = {.ca_certs = getenv("MR_REDIS_CA")}};
	struct bench b = {.loop = mr_ev_open(), .fd = -1};
	(void)state;
	serve(&o);
	o.tls.ca_certs = NULL; /* then nobody vouches for it */
	open_link(&b, &o);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_TLS_FAILED);
	end(&b);
}

static void a_wrong_password_is_refused(void **state)
{
	struct mr_redis_options o = {.host = "127.0.0.1",
		.port = (uint16_t)atoi(env("MR_REDIS_PORT")),
		.user = "rabbit",
		.password = "secret"};
	struct bench b = {.loop = mr_ev_open(), .fd = -1};
	(void)state;
	open_link(&b, &o);
	wait_for(&b, b.downs == 1);
	assert_int_equal(b.why.kind, MR_AUTHENTICATION_FAILED);
	assert_null(strstr(b.why.text, "secret"));
	end(&b);
}

static void real_subscriptions_are_pushed(void **state)
{
	struct mr_redis_options o = {.path = env("MR_REDIS_SOCKET")};
	struct bench b = {.loop = mr_ev_open(), .fd = -1}, c = {.fd = -1};
	(void)state;
	c.loop = b.loop;
	open_link(&b, &o);
	open_link(&c, &o);
	wait_for(&b, b.ups && c.ups);
	mr_redis_link_send(b.link, W(S("SUBSCRIBE"), S("x"), S("y")), 3, on_answer, &b, 1);
	mr_redis_link_send(b.link, W(S("PSUBSCRIBE"), S("mr:*")), 2, on_answer, &b, 2);
	wait_for(&b, b.answers == 2);
	mr_redis_link_send(c.link, W(S("PUBLISH"), S("mr:a"), S("hello")), 3, on_answer, &c, 1);
	wait_for(&b, b.pushed[0]);
	assert_string_equal(b.pushed, "pmessage mr:* hello");
	mr_redis_link_close(c.link);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logs_in_with_all_it_has),
		cmocka_unit_test(logs_in_by_a_password_alone),
		cmocka_unit_test(tells_a_refused_login),
		cmocka_unit_test(answers_in_order),
		cmocka_unit_test(flush_writes_at_once),
		cmocka_unit_test(what_is_lost_is_told_before_the_loss),
		cmocka_unit_test(leaves_what_is_not_redis),
		cmocka_unit_test(a_state_is_told_and_the_server_stays),
		cmocka_unit_test(a_state_that_lasts_is_left),
		cmocka_unit_test(a_state_that_lasts_is_left_by_rare_requests),
		cmocka_unit_test(a_state_of_long_ago_is_forgotten),
		cmocka_unit_test(subscriptions_are_confirmed_and_pushed),
		cmocka_unit_test(asks_when_idle_and_gives_up),
		cmocka_unit_test(an_answer_may_close_it),
		cmocka_unit_test(tells_where_nothing_listens),
		cmocka_unit_test(needs_no_memory_to_fail),
		cmocka_unit_test(serves_by_tcp),
		cmocka_unit_test(serves_by_a_socket),
		cmocka_unit_test(serves_by_tls),
		cmocka_unit_test(a_wrong_password_is_refused),
		cmocka_unit_test(real_subscriptions_are_pushed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
