/* test_recovery: a connection comes back to a broker that is not what it was, or gets in the way.
 * Covers: runtime/link/command.c by MR_BASIC_CONSUME
 * Covers: runtime/link/dial.c by MR_TIMEOUT
 * Covers: runtime/link/report.c by MR_CONNECTION_RECOVERED
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/value.h"
#include "codec/client_method.h"
#include "codec/frame.h"
#include "host_bench.h"

#define FRAME_MAX 131072

/* ---- a broker that agrees to everything, but for what the test says ---- */

struct peer {
	int listener, fd;
	uint16_t port;
	pthread_t thread;
	atomic_int cut; /* hang up on the client of now */
	atomic_int stop;
	atomic_int turn;    /* connections so far */
	uint16_t limits[8]; /* channel_max of each turn */
	struct mr_buffer in, out;
	/* Instead of the usual answer; false: that one after all. */
	bool (*says)(struct peer *p, uint16_t channel, const struct mr_client_method *m);
	atomic_int opens; /* of channel 3, unanswered */
	int asked[64];    /* consumes on each channel, of all turns */
};

static void say(struct peer *p, uint16_t channel, struct mr_method m)
{
	mr_method_put(&p->out, channel, &m, FRAME_MAX, NULL);
}

static void close_channel(struct peer *p, uint16_t channel, uint16_t code)
{
	say(p, channel,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = code,
			.text = mr_slice_str("no")});
}

static void greet(struct peer *p)
{
	struct mr_method start = {.id = MR_M_CONNECTION_START, .text = mr_slice_str("PLAIN")};
	start.other = mr_slice_str("en_US");
	start.table = mr_table_new();
	say(p, 0, start);
	mr_table_free(start.table);
}

static void answer(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	struct mr_method reply = {.id = m->id + 1};
	if (m->id == MR_M_BASIC_CONSUME) p->asked[channel % 64]++;
	if (p->says && p->says(p, channel, m)) return;
	switch (m->id) {
	case MR_M_CONNECTION_START_OK:
		reply = (struct mr_method){.id = MR_M_CONNECTION_TUNE,
			.channel_max = p->limits[p->turn - 1],
			.count = FRAME_MAX};
		break;
	case MR_M_CONNECTION_TUNE_OK:
	case MR_M_CHANNEL_CLOSE_OK: return;
	case MR_M_QUEUE_DECLARE: reply.name = m->names[0]; break;
	case MR_M_BASIC_CONSUME: reply.name = m->names[1]; break;
	default: break;
	}
	say(p, channel, reply);
}

/* Takes what came; false: the client has gone. */
static bool take(struct peer *p, bool *greeted)
{
	const struct mr_guard guard = {.frame_max = FRAME_MAX, .channel_max = 65535};
	struct mr_frame frame;
	struct mr_client_method m;
	size_t used, want;
	mr_buffer_reserve(&p->in, 4096);
	ssize_t n = recv(p->fd, mr_buffer_tail(&p->in), mr_buffer_room(&p->in), 0);
	if (n <= 0) return false;
	p->in.end += (size_t)n;
	if (!*greeted && mr_buffer_size(&p->in) >= 8) {
		mr_buffer_consume(&p->in, 8);
		*greeted = true;
		greet(p);
	}
	while (*greeted &&
		mr_frame_next(&guard, mr_buffer_data(&p->in), mr_buffer_size(&p->in), &frame, &used,
			&want, NULL) == MR_OK &&
		used) {
		if (frame.type == MR_FRAME_METHOD &&
			mr_client_method_decode(&frame, &m, NULL) == MR_OK)
			answer(p, frame.channel, &m);
		mr_buffer_consume(&p->in, used);
	}
	return true;
}

static void serve_one(struct peer *p)
{
	bool greeted = false, up = true;
	p->turn++;
	while (up && !p->stop && !p->cut) {
		struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
		if (poll(&pfd, 1, 5) == 1) up = take(p, &greeted);
		if (up && mr_buffer_size(&p->out))
			up = send(p->fd, mr_buffer_data(&p->out), mr_buffer_size(&p->out),
				     MSG_NOSIGNAL) > 0;
		mr_buffer_consume(&p->out, SIZE_MAX);
	}
	p->cut = 0;
	mr_buffer_fini(&p->in);
	mr_buffer_fini(&p->out);
	close(p->fd);
}

static void *serve(void *arg)
{
	struct peer *p = arg;
	while ((p->fd = accept(p->listener, NULL, NULL)) >= 0) serve_one(p);
	return NULL;
}

static void start(struct peer *p, struct host *h)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof a;
	char url[100];
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(p->listener, 4), 0);
	getsockname(p->listener, (struct sockaddr *)&a, &length);
	for (int i = 0; i < 8; i++)
		if (!p->limits[i]) p->limits[i] = 100;
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
	snprintf(url, sizeof url, "amqp://127.0.0.1:%u", ntohs(a.sin_port));
	begin(h, url, 0);
}

static void stop(struct peer *p, struct host *h)
{
	end(h);
	p->stop = 1;
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
}

/* ---- the host's side ---- */

static int request_on(struct host *h, mr_channel *ch, int operation, const char *tag,
	uint32_t number)
{
	mr_request r = {.operation = operation, .number = number};
	r.name = mr_slice_str("q");
	r.extra = mr_slice_str(tag);
	assert_int_equal(mr_channel_request(ch, ++h->tokens, &r), MR_OK);
	return done(h, h->tokens);
}

static mr_channel *second_channel(struct host *h)
{
	mr_channel *ch;
	assert_int_equal(mr_channel_open(h->c, ++h->tokens, &ch), MR_OK);
	assert_int_equal(done(h, h->tokens), MR_OK);
	return ch;
}

static int cut(struct host *h, struct peer *p)
{
	int from = h->count;
	p->cut = 1;
	assert_non_null(wait_for(h, from, MR_EV_CONNECTION, MR_CONNECTION_LOST, 0));
	return from;
}

static int count_of(const struct host *h, int from, uint32_t type, int detail, uint16_t channel)
{
	int count = 0;
	for (int i = from; i < h->count; i++)
		count += h->told[i].type == type && h->told[i].detail == detail &&
		         h->told[i].channel == channel;
	return count;
}

static void poll_until(struct host *h, const atomic_int *flag, int least)
{
	double deadline = mr_now() + PATIENCE;
	while (*flag < least) {
		mr_event ev;
		if (mr_now() > deadline) fail_msg("it never came so far");
		if (mr_runtime_poll(h->rt, &ev, 1, 0.05) == 1) keep(h, &ev);
	}
}

/* ---- what fails with its connection or channel ---- */

static bool declares_in_vain(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (m->id == MR_M_BASIC_QOS) close_channel(p, channel, 406);
	if (m->id == MR_M_BASIC_GET)
		say(p, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .code = 541});
	if (m->id == MR_M_CONNECTION_UPDATE_SECRET)
		say(p, 0, (struct mr_method){.id = MR_M_CONNECTION_CLOSE, .code = 403});
	return m->id == MR_M_QUEUE_DECLARE || m->id == MR_M_BASIC_QOS || m->id == MR_M_BASIC_GET ||
	       m->id == MR_M_CONNECTION_UPDATE_SECRET;
}

static void test_who_sees_an_error_sees_what_it_ended_closed(void **state)
{
	enum { CUT, CONNECTION_CLOSED, CHANNEL_CLOSED, OURS, WAYS };
	static const int ASKS[WAYS] = {-1, MR_BASIC_GET, MR_BASIC_QOS, -1};
	(void)state;
	for (int way = 0; way < WAYS; way++) {
		struct peer p = {.says = declares_in_vain};
		struct host h;
		mr_request r = {.operation = MR_QUEUE_DECLARE, .name = mr_slice_str("q")};
		start(&p, &h);
		assert_int_equal(mr_channel_request(h.ch, 1, &r), MR_OK);
		r.operation = ASKS[way];
		if (r.operation >= 0) assert_int_equal(mr_channel_request(h.ch, 2, &r), MR_OK);
		if (way == CUT) p.cut = 1;
		if (way == OURS) assert_int_equal(mr_connection_close(h.c, 3, 0), MR_OK);
		assert_int_not_equal(done(&h, 1), MR_OK); /* polls for one event at a time */
		assert_false(mr_channel_is_open(h.ch));
		if (way != CHANNEL_CLOSED)
			assert_int_not_equal(mr_connection_state(h.c), MR_CONNECTION_OPEN);
		if (way == OURS) assert_int_equal(done(&h, 3), MR_OK);
		stop(&p, &h);
	}
}

static void test_who_sees_a_secret_refused_sees_the_connection_closed(void **state)
{
	struct peer p = {.says = declares_in_vain};
	struct host h;
	(void)state;
	start(&p, &h);
	assert_int_equal(mr_connection_update_secret(h.c, 1, "new", 3, 0), MR_OK);
	assert_int_equal(done(&h, 1), MR_ACCESS_REFUSED); /* polls for one event at a time */
	assert_int_not_equal(mr_connection_state(h.c), MR_CONNECTION_OPEN);
	stop(&p, &h);
}

static bool opens_and_closes_no_second(struct peer *p, uint16_t channel,
	const struct mr_client_method *m)
{
	bool is_close = m->id == MR_M_CHANNEL_CLOSE && channel == 2;
	bool is_open = m->id == MR_M_CHANNEL_OPEN && channel == 3;
	p->opens += is_open;
	return is_close || is_open;
}

/* Their own answers tell of it. */
static void test_a_loss_is_told_once_of_channels_that_open_or_close(void **state)
{
	struct peer p = {.says = opens_and_closes_no_second};
	struct host h;
	mr_channel *opening, *closing;
	(void)state;
	start(&p, &h);
	closing = second_channel(&h);
	int from = h.count;
	assert_int_equal(mr_channel_close(closing, 1), MR_OK);
	assert_int_equal(mr_channel_open(h.c, 2, &opening), MR_OK);
	double deadline = mr_now() + PATIENCE;
	while (!p.opens && mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(h.rt, &ev, 1, 0.01) == 1) keep(&h, &ev);
	}
	p.cut = 1;
	assert_int_not_equal(done(&h, 1), MR_OK);
	assert_int_not_equal(done(&h, 2), MR_OK);
	for (int i = from; i < h.count; i++) assert_int_not_equal(h.told[i].type, MR_EV_CHANNEL);
	mr_channel_free(opening);
	mr_channel_free(closing);
	stop(&p, &h);
}

/* ---- the tests ---- */

static void test_a_channel_over_a_lower_limit_ends_and_the_rest_comes_back(void **state)
{
	struct peer p = {.limits = {10, 1}};
	struct host h;
	mr_error error;
	(void)state;
	start(&p, &h);
	mr_channel *second = second_channel(&h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_QOS, "", 10), MR_OK);
	assert_int_equal(request_on(&h, second, MR_BASIC_QOS, "", 10), MR_OK);
	assert_int_equal(request_on(&h, second, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_true(mr_channel_is_open(h.ch));
	assert_false(mr_channel_is_open(second) || mr_channel_is_suspended(second));
	assert_int_equal(mr_channel_error(second, &error), MR_CHANNEL_LIMIT_REACHED);
	assert_int_equal(count_of(&h, from, MR_EV_CHANNEL, MR_CHANNEL_READY, 2), 0);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_QOS, "", 11), MR_OK);
	mr_channel_free(second);
	stop(&p, &h);
}

static bool refuses_qos(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn < 2 || m->id != MR_M_BASIC_QOS) return false;
	close_channel(p, channel, 406);
	return true;
}

static void test_a_channel_whose_mode_is_refused_ends_without_an_endless_loop(void **state)
{
	struct peer p = {.says = refuses_qos};
	struct host h;
	mr_error error;
	(void)state;
	start(&p, &h);
	mr_channel *second = second_channel(&h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_QOS, "", 10), MR_OK);
	assert_int_equal(request_on(&h, second, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(mr_channel_error(h.ch, &error), MR_PRECONDITION_FAILED);
	assert_false(mr_channel_is_suspended(h.ch));
	assert_true(mr_channel_is_open(second));
	assert_int_equal(p.asked[2], 2);
	mr_channel_free(second);
	stop(&p, &h);
}

/* The consumer of channel 1 is back already when the broker closes that channel: what follows is about
 * channel 2. */
static bool closes_the_other(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn == 2 && m->id == MR_M_BASIC_CONSUME && channel == 2) close_channel(p, 1, 406);
	return false;
}

static void test_a_channel_that_is_closed_while_the_rest_comes_back_is_repaired(void **state)
{
	struct peer p = {.says = closes_the_other};
	struct host h;
	(void)state;
	start(&p, &h);
	mr_channel *second = second_channel(&h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t1", 5), MR_OK);
	assert_int_equal(request_on(&h, second, MR_BASIC_CONSUME, "t2", 6), MR_OK);
	int from = cut(&h, &p);
	const struct told *t = wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0);
	assert_non_null(t);
	assert_int_equal(count_of(&h, from, MR_EV_CHANNEL, MR_CHANNEL_READY, 2), 1);
	assert_true(mr_channel_is_open(second));
	assert_non_null(wait_for(&h, (int)(t - h.told), MR_EV_CHANNEL, MR_CHANNEL_READY, 0));
	assert_true(mr_channel_is_open(h.ch));
	assert_int_equal(p.asked[1], 3);
	assert_int_equal(p.asked[2], 2);
	mr_channel_free(second);
	stop(&p, &h);
}

static atomic_int held;

static bool holds_the_consume(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	(void)channel;
	if (p->turn != 2 || m->id != MR_M_BASIC_CONSUME) return false;
	held++;
	return true; /* no answer */
}

static void test_closing_the_connection_while_a_step_is_awaited_ends_all(void **state)
{
	struct peer p = {.says = holds_the_consume};
	struct host h;
	(void)state;
	held = 0;
	start(&p, &h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	poll_until(&h, &held, 1);
	assert_int_equal(mr_connection_open(h.c, ++h.tokens), MR_OK); /* waits for the recovery */
	uint64_t opening = h.tokens;
	assert_int_equal(mr_connection_close(h.c, ++h.tokens, 1), MR_OK);
	assert_int_equal(done(&h, h.tokens), MR_OK);
	assert_int_equal(done(&h, opening), MR_CLOSED);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_CLOSED, 0));
	assert_int_equal(count_of(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0), 0);
	stop(&p, &h);
}

static void test_a_channel_that_the_program_closes_meanwhile_does_not_hold_up_the_rest(void **state)
{
	struct peer p = {.says = holds_the_consume};
	struct host h;
	(void)state;
	held = 0;
	start(&p, &h);
	mr_channel *second = second_channel(&h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	assert_int_equal(request_on(&h, second, MR_BASIC_QOS, "", 5), MR_OK);
	int from = cut(&h, &p);
	poll_until(&h, &held, 1);
	assert_int_equal(mr_channel_close(h.ch, ++h.tokens), MR_OK);
	assert_int_equal(done(&h, h.tokens), MR_OK);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_true(mr_channel_is_open(second));
	mr_channel_free(second);
	stop(&p, &h);
}

static atomic_int refusals;

static bool is_in_use_at_first(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn < 2 || m->id != MR_M_BASIC_CONSUME || ++refusals > 2) return false;
	say(p, channel,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 403,
			.text = mr_slice_str(
				"ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")});
	return true;
}

/* FIELD-W12 */
static void test_an_exclusive_consumer_is_asked_for_while_the_dead_one_may_have_the_queue(
	void **state)
{
	struct peer p = {.says = is_in_use_at_first};
	struct host h;
	(void)state;
	refusals = 0;
	start(&p, &h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_true(mr_channel_is_open(h.ch));
	assert_int_equal(p.asked[1], 4);
	for (int i = from; i < h.count; i++) assert_int_not_equal(h.told[i].type, MR_EV_CANCEL);
	stop(&p, &h);
}

static bool has_no_permission(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn < 2 || m->id != MR_M_BASIC_CONSUME) return false;
	say(p, channel,
		(struct mr_method){.id = MR_M_CHANNEL_CLOSE,
			.code = 403,
			.text = mr_slice_str("ACCESS_REFUSED - read access to queue 'q' in vhost "
					     "'/' refused for user 'u'")});
	return true;
}

/* FIELD-W12 */
static void test_a_consumer_without_permission_fails_at_once(void **state)
{
	struct peer p = {.says = has_no_permission};
	struct host h;
	(void)state;
	start(&p, &h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CANCEL, 0, 0));
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(p.asked[1], 2);
	stop(&p, &h);
}

static atomic_int binds, binds_before;

/* Every binding is to an exchange of its own that has gone. */
static bool has_no_exchange(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn < 2) return false;
	if (m->id == MR_M_BASIC_CONSUME && channel == 2) binds_before = binds;
	if (m->id != MR_M_QUEUE_BIND) return false;
	binds++;
	close_channel(p, channel, 404);
	return true;
}

/* FIELD-W13 */
static void test_a_channel_without_failing_steps_is_back_before_those_that_fail(void **state)
{
	struct peer p = {.says = has_no_exchange};
	struct host h;
	char key[8];
	(void)state;
	binds = 0;
	binds_before = -1;
	start(&p, &h);
	mr_channel *second = second_channel(&h);
	for (int i = 0; i < 50; i++) {
		mr_request r = {.operation = MR_QUEUE_BIND, .name = mr_slice_str("q")};
		snprintf(key, sizeof key, "x%d", i);
		r.extra = mr_slice_str(key);
		assert_int_equal(mr_channel_request(h.ch, ++h.tokens, &r), MR_OK);
		assert_int_equal(done(&h, h.tokens), MR_OK);
	}
	assert_int_equal(request_on(&h, second, MR_BASIC_CONSUME, "t", 6), MR_OK);
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(binds_before, 1);
	assert_int_equal(binds, 50);
	assert_true(mr_channel_is_open(h.ch) && mr_channel_is_open(second));
	mr_channel_free(second);
	stop(&p, &h);
}

static void test_a_loss_in_the_middle_of_a_recovery_begins_it_anew(void **state)
{
	struct peer p = {.says = holds_the_consume};
	struct host h;
	(void)state;
	held = 0;
	start(&p, &h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	poll_until(&h, &held, 1);
	p.cut = 1;
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(p.asked[1], 3);
	assert_int_equal(count_of(&h, from, MR_EV_CONNECTION, MR_CONNECTION_LOST, 0), 2);
	assert_true(mr_channel_is_open(h.ch));
	stop(&p, &h);
}

static bool refuses_consumers(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (p->turn < 2 || m->id != MR_M_BASIC_CONSUME) return false;
	(void)channel;
	say(p, 0,
		(struct mr_method){.id = MR_M_CONNECTION_CLOSE,
			.code = 530,
			.text = mr_slice_str("NOT_ALLOWED - consumers per user")});
	return true;
}

/* FIELD-W16: a consumer that costs connection after connection is given up with the broker's own words. */
static void test_what_is_left_out_tells_why_it_was_refused(void **state)
{
	struct peer p = {.says = refuses_consumers};
	struct host h;
	(void)state;
	start(&p, &h);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_CONSUME, "t", 5), MR_OK);
	int from = cut(&h, &p);
	const struct told *t = wait_for(&h, from, MR_EV_CANCEL, -1, 0);
	assert_non_null(t);
	assert_int_equal(t->status, MR_NOT_ALLOWED);
	assert_int_equal(t->error.code, 530);
	assert_string_equal(t->error.text, "NOT_ALLOWED - consumers per user");
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(p.asked[1], 3);
	stop(&p, &h);
}

static atomic_int declares, deletes;

/* Deletes are answered after the next declare only. */
static bool deletes_late(struct peer *p, uint16_t channel, const struct mr_client_method *m)
{
	if (m->id == MR_M_QUEUE_DECLARE && p->turn == 2) declares++;
	if (m->id == MR_M_QUEUE_DELETE) {
		deletes++;
		return true;
	}
	if (m->id == MR_M_BASIC_QOS && p->turn == 1 && deletes)
		say(p, channel, (struct mr_method){.id = MR_M_QUEUE_DELETE_OK});
	return false;
}

/* FIELD-R11 */
static void test_a_queue_that_was_deleted_too_late_is_not_made_again(void **state)
{
	struct peer p = {.says = deletes_late};
	struct host h;
	(void)state;
	declares = deletes = 0;
	start(&p, &h);
	mr_request gone = {.operation = MR_QUEUE_DELETE, .name = mr_slice_str("q")};
	assert_int_equal(request_on(&h, h.ch, MR_QUEUE_DECLARE, "", 0), MR_OK);
	gone.timeout = 0.05;
	assert_int_equal(mr_channel_request(h.ch, ++h.tokens, &gone), MR_OK);
	assert_int_equal(done(&h, h.tokens), MR_TIMEOUT);
	assert_int_equal(request_on(&h, h.ch, MR_BASIC_QOS, "", 5),
		MR_OK); /* and the late answer */
	int from = cut(&h, &p);
	assert_non_null(wait_for(&h, from, MR_EV_CONNECTION, MR_CONNECTION_RECOVERED, 0));
	assert_int_equal(declares, 0);
	stop(&p, &h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_sees_an_error_sees_what_it_ended_closed),
		cmocka_unit_test(test_who_sees_a_secret_refused_sees_the_connection_closed),
		cmocka_unit_test(test_a_loss_is_told_once_of_channels_that_open_or_close),
		cmocka_unit_test(test_a_channel_over_a_lower_limit_ends_and_the_rest_comes_back),
		cmocka_unit_test(test_a_channel_whose_mode_is_refused_ends_without_an_endless_loop),
		cmocka_unit_test(
			test_a_channel_that_is_closed_while_the_rest_comes_back_is_repaired),
		cmocka_unit_test(test_closing_the_connection_while_a_step_is_awaited_ends_all),
		cmocka_unit_test(
			test_a_channel_that_the_program_closes_meanwhile_does_not_hold_up_the_rest),
		cmocka_unit_test(
			test_an_exclusive_consumer_is_asked_for_while_the_dead_one_may_have_the_queue),
		cmocka_unit_test(test_a_consumer_without_permission_fails_at_once),
		cmocka_unit_test(
			test_a_channel_without_failing_steps_is_back_before_those_that_fail),
		cmocka_unit_test(test_a_loss_in_the_middle_of_a_recovery_begins_it_anew),
		cmocka_unit_test(test_what_is_left_out_tells_why_it_was_refused),
		cmocka_unit_test(test_a_queue_that_was_deleted_too_late_is_not_made_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
