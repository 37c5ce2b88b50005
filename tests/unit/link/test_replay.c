/* test_replay: recovery asks a link that is a test: no socket, no session, no broker.
 * Covers: runtime/base/ev.c by ev_loop_new
 * Covers: runtime/io/timer.c by mr_timer_stop
 * Covers: runtime/link/failure.c by MR_NOT_FOUND
 * Covers: runtime/link/history.c by mr_history_init
 * Covers: runtime/link/idle.c by consumer_check
 * Covers: runtime/link/recovery_state.c by recover_topology
 * Covers: runtime/link/repair.c by mr_repair_decide
 * Covers: runtime/link/step.c by MR_CHANNEL_READY
 * SPDX-License-Identifier: MIT */
#include "base/value.h"
#include "link/backoff.h"
#include "link/history.h"
#include "link/idle.h"
#include "link/recovery.h"
#include "link/repair.h"
#include "link/replay.h"
#include "topology_bench.h"

#define CHANNELS 101

struct bench {
	struct mr_services services;
	struct mr_config config;
	struct mr_crowd crowd;
	struct mr_history history;
	struct mr_recovery r;
	long live;
	/* The session, as far as recovery sees it. */
	enum mr_session_state state;
	bool has[CHANNELS];
	uint32_t consumers; /* of any queue */
	uint32_t messages;  /* the same */
	uint32_t stream;    /* the consumer that may be one of a stream */
	uint32_t busy;      /* the consumer that gets messages */
	bool is_stuck;      /* it does not close a channel */
	struct {            /* requests without an answer, in their order */
		struct mr_ask ask;
		char words[64];
	} open[CHANNELS];
	int open_count;
	struct mr_ask last; /* the one that is answered next; its request has gone */
	char asked[2000], told[2000];
	int touches, retries, recoveries, usables;
	uint32_t restored;
	mr_table *report;
};

/* ---- the port ---- */

static const char *verb_of(const mr_request *r)
{
	switch (r->operation) {
	case MR_EXCHANGE_DECLARE: return "exchange";
	case MR_QUEUE_DECLARE: return r->flags & MR_PASSIVE ? "look" : "queue";
	case MR_QUEUE_BIND: return "bind";
	case MR_BASIC_CONSUME: return "consume";
	case MR_BASIC_CANCEL: return "cancel";
	case MR_BASIC_QOS: return r->flags & MR_GLOBAL ? "global-qos" : "qos";
	default: return "mode";
	}
}

static void ask(void *owner, const struct mr_ask *a)
{
	struct bench *b = owner;
	const char *verb = a->kind == MR_ASK_OPEN ? "open" : "close";
	if (a->kind == MR_ASK_REQUEST) verb = verb_of(a->request);
	if (a->kind == MR_ASK_CLOSE && !b->has[a->channel]) return; /* as a session does */
	assert_int_equal(a->kind != MR_ASK_OPEN, b->has[a->channel]);
	assert_int_equal(a->token != 0, a->deadline != MR_NEVER);
	char words[64] = "";
	say(words, "%s@%u", verb, a->channel);
	if (a->kind == MR_ASK_REQUEST && a->request->name.size)
		say(words, ":%.*s", (int)a->request->name.size, a->request->name.data);
	say(b->asked, "%s%s", *b->asked ? " " : "", words);
	if (a->kind == MR_ASK_CLOSE) b->has[a->channel] = b->is_stuck;
	if (a->kind == MR_ASK_OPEN) b->has[a->channel] = true; /* from now on, as a session */
	if (!a->token) return;
	assert_true(b->open_count < CHANNELS);
	b->open[b->open_count].ask = *a;
	memcpy(b->open[b->open_count++].words, words, sizeof words);
}

static bool has_channel(void *owner, uint16_t number)
{
	return ((struct bench *)owner)->has[number];
}
static bool rests(void *owner, const struct mr_record *consumer, bool *is_of_queue)
{
	const struct bench *b = owner;
	*is_of_queue = consumer->request.number != b->stream;
	return consumer->request.number != b->busy;
}
static enum mr_session_state state_of(void *owner) { return ((struct bench *)owner)->state; }
static void touch(void *owner) { ((struct bench *)owner)->touches++; }
static void retry(void *owner) { ((struct bench *)owner)->retries++; }

static void usable(void *owner) { ((struct bench *)owner)->usables++; }

static void recovered(void *owner, uint32_t restored, mr_table *report)
{
	struct bench *b = owner;
	b->recoveries++;
	b->restored = restored;
	mr_table_free(b->report);
	b->report = report;
}

static void push(void *owner, const mr_event *event)
{
	struct bench *b = owner;
	mr_event ev = *event;
	assert_int_equal(ev.connection, 7);
	const char *gap = *b->told ? " " : "";
	if (ev.type == MR_EV_CHANNEL && ev.status)
		say(b->told, "%sended@%u", gap, ev.channel);
	else if (ev.type == MR_EV_CHANNEL)
		say(b->told, "%s%s@%u", gap,
			ev.as.channel.change == MR_CHANNEL_READY ? "ready" : "again", ev.channel);
	else if (ev.type == MR_EV_CANCEL && ev.as.cancel.will_recover)
		say(b->told, "%slost:%u", gap, ev.as.cancel.consumer);
	else if (ev.type == MR_EV_CANCEL && ev.status)
		say(b->told, "%sfailed:%u (%s)", gap, ev.as.cancel.consumer,
			ev.as.cancel.error ? ev.as.cancel.error->text : "no memory");
	else if (ev.type == MR_EV_CANCEL)
		say(b->told, "%sback:%u", gap, ev.as.cancel.consumer);
	else
		say(b->told, "%s%s", gap,
			ev.as.connection.state == MR_CONNECTION_RETRYING ? "retrying"
									 : "repairing");
	mr_event_fini(&ev);
}

/* ---- a connection ---- */

static void open_connection(struct bench *b)
{
	const struct mr_handshake agreed = {.channel_max = 100, .heartbeat = 60};
	b->state = MR_SESSION_OPEN;
	b->asked[0] = b->told[0] = '\0';
	if (mr_recovery_opened(&b->r, &agreed)) mr_replay_go_on(&b->r);
}

static void lose_by(struct bench *b, enum mr_status status, int code, const char *text)
{
	mr_error why;
	mr_error_set(&why, status, MR_SCOPE_CONNECTION, code, "%s", text);
	b->state = MR_SESSION_CLOSED;
	b->open_count = 0;
	memset(b->has, 0, sizeof b->has);
	mr_recovery_lost(&b->r, &why);
}

static void lose(struct bench *b, int code, const char *text)
{
	lose_by(b, MR_STREAM_LOST, code, text);
}

/* Open for the first time, with channels 1 and 2. */
static void begin(struct bench *b)
{
	memset(b, 0, sizeof *b);
	b->live = mr_alloc_live();
	const struct mr_recovery_port port = {b, ask, has_channel, rests, state_of, touch, retry,
		usable, recovered, push};
	b->config.name = b->config.vhost = (char *)(uintptr_t) "/";
	b->config.recover = b->config.recover_topology = true;
	b->config.rpc_timeout = 10000;
	b->config.retry = (struct mr_retry){MR_RETRY_JITTER, 500, 0, 30000, -1};
	b->services.loop = ev_loop_new(0);
	mr_timers_init(&b->services.timers, b->services.loop);
	mr_history_init(&b->history);
	b->services.history = &b->history;
	b->services.crowd = &b->crowd;
	mr_recovery_init(&b->r, &b->services, &b->config, 7, &port);
	mr_recovery_begin(&b->r);
	open_connection(b);
	assert_int_equal(mr_topology_channel(&b->r.topology, 1, 11), MR_OK);
	assert_int_equal(mr_topology_channel(&b->r.topology, 2, 12), MR_OK);
}

static void end(struct bench *b)
{
	mr_recovery_fini(&b->r);
	mr_history_fini(&b->history);
	mr_table_free(b->report);
	ev_loop_destroy(b->services.loop);
	assert_int_equal(mr_alloc_live(), b->live);
}

/* Lost, and open again: the first step is asked for. */
static void come_back(struct bench *b)
{
	lose(b, 320, "CONNECTION_FORCED");
	open_connection(b);
}

/* Takes a request that is not answered: the first, or the one with these words. */
static bool take(struct bench *b, const char *words)
{
	int n = 0;
	while (n < b->open_count && words && strcmp(b->open[n].words, words) != 0) n++;
	if (n == b->open_count) return false;
	b->last = b->open[n].ask;
	memmove(&b->open[n], &b->open[n + 1], (size_t)(--b->open_count - n) * sizeof b->open[0]);
	return true;
}

/* The answer to the request that was taken, by this name if it is not NULL; then recovery goes on. */
static void answer(struct bench *b, enum mr_status status, int code, const char *text)
{
	mr_event ev = {.type = MR_EV_DONE, .status = status, .as.done.token = b->last.token};
	while (!ev.as.done.reply) ev.as.done.reply = mr_calloc(1, sizeof *ev.as.done.reply);
	ev.as.done.reply->consumer_count = b->consumers;
	ev.as.done.reply->message_count = b->messages;
	if (status)
		mr_error_set(&ev.as.done.reply->error, status, MR_SCOPE_CHANNEL, code, "%s", text);
	if (!status)
		ev.as.done.reply->name_size = (uint16_t)snprintf(ev.as.done.reply->name,
			sizeof ev.as.done.reply->name, "%s", text);
	if (b->last.kind == MR_ASK_OPEN) b->has[b->last.channel] = !status;
	int touches = b->touches;
	assert_true(mr_recovery_takes(&b->r, &ev));
	assert_int_equal(b->touches, touches + 1);
	mr_replay_go_on(&b->r);
}

/* Answers in the order of the requests, until this one is on its way, and takes it; "": to the
 * end. */
static void agree_until(struct bench *b, const char *words)
{
	for (;;) {
		if (take(b, words)) return;
		if (!take(b, NULL)) break;
		answer(b, MR_OK, 0, "");
	}
	assert_string_equal(words, "");
}

/* The words of what is on its way. */
static const char *on_its_way(const struct bench *b)
{
	static char text[2000];
	text[0] = '\0';
	for (int n = 0; n < b->open_count; n++) say(text, "%s%s", n ? " " : "", b->open[n].words);
	return text;
}

/* A refusal that closes the channel; the host does not hear of the channel's end. */
static void refuse(struct bench *b, enum mr_status status, int code, const char *text)
{
	mr_event ev = {.type = MR_EV_CHANNEL, .status = status, .epoch = b->last.epoch};
	ev.channel = b->last.channel;
	b->has[ev.channel] = false;
	assert_true(mr_recovery_takes(&b->r, &ev));
	answer(b, status, code, text);
}

/* The broker ends what the host has. */
static void broker_closes(struct bench *b, uint16_t channel)
{
	mr_event ev = {.type = MR_EV_CHANNEL, .status = MR_PRECONDITION_FAILED};
	ev.channel = channel;
	ev.epoch = mr_record_of_channel(&b->r.topology, channel)->epoch;
	b->has[channel] = false;
	assert_false(mr_recovery_takes(&b->r, &ev));
	assert_true(ev.as.channel.will_recover);
}

static void broker_cancels(struct bench *b, uint32_t consumer)
{
	mr_event ev = {.type = MR_EV_CANCEL, .status = MR_CANCELLED};
	ev.as.cancel.consumer = consumer;
	assert_false(mr_recovery_takes(&b->r, &ev));
	assert_true(ev.as.cancel.will_recover);
}

/* The time of the timer has come. */
static void fire(struct bench *b, struct mr_timer *timer)
{
	assert_true(ev_is_active(&timer->ev));
	mr_timer_stop(timer);
	ev_feed_event(b->services.loop, &timer->ev, EV_TIMER);
	ev_invoke_pending(b->services.loop);
	mr_replay_go_on(&b->r);
}

/* ---- the whole connection ---- */

static void test_all_comes_back_and_a_channel_does_one_step_at_a_time(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	struct mr_topology *t = &b.r.topology;
	mode(t, 1, MR_BASIC_QOS, 0, 5);
	queue(t, 1, "q");
	exchange(t, 1, "x");
	bind(t, 1, "q", "x");
	consume(t, 2, "q", 5);
	come_back(&b);
	assert_string_equal(b.asked, "open@1 open@2");
	mr_replay_go_on(&b.r); /* without an answer it asks for nothing more */
	assert_string_equal(b.asked, "open@1 open@2");
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@1 open@2 qos@1 exchange@1:x queue@1:q bind@1:q consume@2:q");
	assert_string_equal(b.told, "again@1 again@2 ready@1 ready@2");
	assert_int_equal(b.recoveries, 1);
	assert_int_equal(b.restored, 4);
	assert_null(b.report);
	end(&b);
}

static void test_a_step_that_hangs_holds_up_no_other_channel(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "hangs", 4);
	consume(&b.r.topology, 2, "b", 5);
	come_back(&b);
	agree_until(&b, "consume@1:hangs");
	struct mr_ask hanging = b.last;
	agree_until(&b, "");
	assert_string_equal(b.told, "again@1 again@2 ready@2");
	assert_int_equal(b.recoveries, 0);
	b.last = hanging;
	answer(&b, MR_OK, 0, "");
	assert_string_equal(b.told, "again@1 again@2 ready@2 ready@1");
	assert_int_equal(b.recoveries, 1);
	assert_int_equal(b.restored, 2);
	end(&b);
}

static void test_a_declare_that_hangs_holds_up_others_for_a_moment_only(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	queue(&b.r.topology, 1, "hangs");
	consume(&b.r.topology, 2, "b", 5);
	come_back(&b);
	agree_until(&b, "queue@1:hangs");
	struct mr_ask hanging = b.last;
	agree_until(&b, "");
	assert_string_equal(b.told, "again@1 again@2"); /* a publish might need it */
	assert_int_equal(b.usables, 0);
	mr_clock_move(1000);
	fire(&b, &b.r.pace);
	assert_string_equal(b.told, "again@1 again@2 ready@2");
	assert_int_equal(b.usables, 1);
	assert_int_equal(b.recoveries, 0);
	b.last = hanging;
	answer(&b, MR_OK, 0, "hangs");
	assert_string_equal(b.told, "again@1 again@2 ready@2 ready@1");
	assert_int_equal(b.recoveries, 1);
	assert_int_equal(b.usables, 1);
	end(&b);
}

static void test_an_answer_of_another_time_is_taken_and_ignored(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	queue(&b.r.topology, 1, "q");
	come_back(&b);
	take(&b, "open@1");
	mr_event late = {.type = MR_EV_DONE, .as.done.token = b.last.token - (1 << 16)};
	assert_true(mr_recovery_takes(&b.r, &late));
	mr_replay_go_on(&b.r);
	assert_string_equal(b.asked, "open@1 open@2");
	end(&b);
}

static void test_a_refused_step_costs_its_consumer_and_its_channel_comes_back(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 1, "b", 5);
	come_back(&b);
	agree_until(&b, "consume@1:b");
	refuse(&b, MR_ACCESS_REFUSED, 403, "ACCESS_REFUSED - no");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 consume@1:a consume@1:b open@1 consume@1:a");
	assert_string_equal(b.told,
		"again@1 again@2 ready@2 failed:5 (ACCESS_REFUSED - no) again@1 ready@1");
	assert_int_equal(b.restored, 1);
	const mr_value *failed = mr_table_find(b.report, "failed");
	assert_non_null(failed);
	assert_null(mr_record_of_consumer(&b.r.topology, 5));
	end(&b);
}

static void test_a_channel_that_cannot_be_opened_ends_and_the_rest_comes_back(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	queue(&b.r.topology, 1, "q");
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 2, "q", 5);
	come_back(&b);
	take(&b, "open@1");
	answer(&b, MR_CHANNEL_LIMIT_REACHED, 0, "too many");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 consume@2:q"); /* nobody declares its queue */
	assert_string_equal(b.told, "again@1 again@2 ended@1 ready@2");
	end(&b);
}

static void test_channels_are_restored_up_to_the_users_limit_if_it_is_met_twice(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 2, "b", 5);
	lose(&b, 320, "CONNECTION_FORCED");
	for (int i = 0; i < 2;
		i++) { /* the first time those of the lost connection may have counted */
		open_connection(&b);
		assert_string_equal(b.asked, "open@1 open@2");
		take(&b, "open@1");
		answer(&b, MR_OK, 0, "");
		lose_by(&b, MR_CHANNEL_LIMIT_REACHED, 530, "NOT_ALLOWED - too many channels");
	}
	open_connection(&b);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 consume@1:a");
	assert_string_equal(b.told, "again@1 ended@2 ready@1");
	come_back(&b); /* once all is well, it begins anew */
	lose_by(&b, MR_CHANNEL_LIMIT_REACHED, 530, "NOT_ALLOWED - too many channels");
	open_connection(&b);
	agree_until(&b, "");
	assert_string_equal(b.told, "again@1 ready@1");
	end(&b);
}

static void test_what_a_dead_connection_holds_is_asked_for_again_after_a_pause(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	queue(&b.r.topology, 1, "q");
	consume(&b.r.topology, 2, "q", 5);
	come_back(&b);
	agree_until(&b, "queue@1:q");
	refuse(&b, MR_RESOURCE_LOCKED, 405, "RESOURCE_LOCKED - in use");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 queue@1:q"); /* its consumer waits */
	mr_clock_move(500);
	fire(&b, &b.r.pace);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 queue@1:q open@1 queue@1:q consume@2:q");
	assert_string_equal(b.told, "again@1 again@2 again@1 ready@1 ready@2");
	assert_int_equal(b.restored, 2);
	assert_null(b.report);
	end(&b);
}

static void test_two_channels_take_turns_at_the_scratch_channel(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = b.has[2] = true;
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 2, "b", 5);
	broker_cancels(&b, 4);
	broker_cancels(&b, 5);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:a");
	assert_string_equal(on_its_way(&b), "");
	refuse(&b, MR_NOT_FOUND, 404, "NOT_FOUND - no queue 'a' in vhost '/'");
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:a open@100 look@100:b consume@2:b close@100");
	assert_string_equal(b.told, "back:5");
	end(&b);
}

static void test_a_scratch_channel_that_hangs_is_left_for_another(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = b.has[2] = true;
	consume(&b.r.topology, 1, "hangs", 4);
	consume(&b.r.topology, 2, "b", 5);
	broker_cancels(&b, 4);
	broker_cancels(&b, 5);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:hangs");
	b.is_stuck = true; /* the broker does not answer its close either */
	answer(&b, MR_TIMEOUT, 0, "no answer");
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:hangs close@100 open@99 look@99:b consume@2:b close@99");
	assert_string_equal(b.told, "back:5");
	end(&b);
}

static void test_what_needs_a_queue_that_is_missing_is_not_asked_for(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	bind(&b.r.topology, 1, "q", "x");
	bind(&b.r.topology, 1, "q", "y");
	come_back(&b);
	agree_until(&b, "bind@1:q");
	refuse(&b, MR_NOT_FOUND, 404, "NOT_FOUND - no queue 'q' in vhost '/'");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 bind@1:q open@1");
	assert_int_equal(b.restored, 0);
	end(&b);
}

static void test_a_queue_that_the_broker_named_has_a_new_name(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	note(&b.r.topology, 1, MR_QUEUE_DECLARE, "", "", "amq.gen-1");
	consume(&b.r.topology, 1, "amq.gen-1", 5);
	come_back(&b);
	agree_until(&b, "queue@1");
	answer(&b, MR_OK, 0, "amq.gen-2");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 queue@1 consume@1:amq.gen-2");
	assert_non_null(mr_table_find(b.report, "renamed"));
	end(&b);
}

static void test_a_channel_that_breaks_between_two_steps_is_opened_again(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	queue(&b.r.topology, 2, "slow");
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 1, "slow", 5);
	come_back(&b);
	agree_until(&b, "queue@2:slow");
	struct mr_ask declare = b.last;
	agree_until(&b, "");
	broker_closes(&b, 1);
	b.last = declare;
	answer(&b, MR_OK, 0, "slow");
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@1 open@2 consume@1:a queue@2:slow open@1 consume@1:a consume@1:slow");
	assert_string_equal(b.told, "again@1 again@2 again@1 ready@2 ready@1");
	assert_int_equal(b.recoveries, 1);
	assert_null(b.report);
	end(&b);
}

static void test_a_channel_that_breaks_during_the_look_at_a_queue_keeps_its_consumer(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "q", 4);
	broker_cancels(&b, 4);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:q");
	struct mr_ask look = b.last;
	broker_closes(&b, 1);
	b.last = look;
	answer(&b, MR_OK, 0, "");
	assert_string_equal(b.told, "");
	fire(&b, &b.r.repair);
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:q close@100 open@1 open@100 look@100:q consume@1:q close@100");
	assert_string_equal(b.told, "again@1 ready@1 back:4");
	end(&b);
}

static void test_a_consumer_that_is_cancelled_during_its_recovery_keeps_waiting(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 1, "b", 5);
	come_back(&b);
	agree_until(&b, "consume@1:b");
	struct mr_ask refused = b.last;
	broker_cancels(&b, 4); /* its queue is deleted */
	b.last = refused;
	refuse(&b, MR_ACCESS_REFUSED, 403, "ACCESS_REFUSED - no");
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 consume@1:a consume@1:b open@1");
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:a");
	assert_non_null(mr_record_of_consumer(&b.r.topology, 4));
	end(&b);
}

/* ---- losses ---- */

static void test_a_loss_in_the_middle_begins_it_anew(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "q", 5);
	come_back(&b);
	agree_until(&b, "consume@1:q");
	lose(&b, 0, "reset");
	mr_replay_go_on(&b.r);
	assert_int_equal(b.recoveries, 0);
	open_connection(&b);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 consume@1:q");
	assert_int_equal(b.recoveries, 1);
	end(&b);
}

static void test_what_costs_two_connections_is_left_out_with_the_brokers_words(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "q", 5);
	for (int i = 0; i < 2; i++) {
		come_back(&b);
		agree_until(&b, "consume@1:q");
		lose(&b, 541, "INTERNAL_ERROR");
	}
	open_connection(&b);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2");
	assert_string_equal(b.told, "again@1 again@2 ready@2 failed:5 (INTERNAL_ERROR) ready@1");
	end(&b);
}

static void test_of_several_suspects_each_is_asked_alone_and_only_the_guilty_is_left_out(
	void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "innocent", 4);
	consume(&b.r.topology, 2, "guilty", 5);
	come_back(&b);
	agree_until(&b, "consume@2:guilty");
	assert_string_equal(on_its_way(&b), "consume@1:innocent");
	lose(&b, 541, "INTERNAL_ERROR");
	for (int i = 0; i < 2; i++) {
		open_connection(&b);
		agree_until(&b, "consume@2:guilty");
		assert_string_equal(on_its_way(&b), "");
		lose(&b, 541, "INTERNAL_ERROR");
	}
	open_connection(&b);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 open@2 consume@1:innocent");
	assert_non_null(mr_record_of_consumer(&b.r.topology, 4));
	assert_null(mr_record_of_consumer(&b.r.topology, 5));
	end(&b);
}

static void test_a_loss_that_is_nobodys_fault_is_not_blamed_on_the_step(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "q", 5);
	for (int i = 0; i < 5; i++) {
		come_back(&b);
		agree_until(&b, "consume@1:q");
	}
	answer(&b, MR_OK, 0, "");
	agree_until(&b, "");
	assert_int_equal(b.restored, 1);
	end(&b);
}

static void test_the_next_try_is_told_and_then_asked_of_the_link(void **state)
{
	struct bench b;
	mr_error why;
	(void)state;
	begin(&b);
	lose(&b, 0, "reset");
	mr_error_set(&why, MR_STREAM_LOST, MR_SCOPE_CONNECTION, 0, "reset");
	assert_true(mr_recovery_would_retry(&b.r, why.kind));
	mr_recovery_retry(&b.r, &why);
	assert_string_equal(b.told, "retrying");
	assert_int_equal(b.retries, 0);
	fire(&b, &b.r.retry);
	assert_int_equal(b.retries, 1);
	end(&b);
}

static bool is_told(const struct bench *b, const char *words)
{
	return strstr(b->told, words) != NULL;
}

/* What could not be planned is planned later; a channel is never left behind. */
static void repair_all(struct bench *b)
{
	agree_until(b, "");
	mr_alloc_fail_nth(0);
	while (ev_is_active(&b->r.repair.ev)) {
		fire(b, &b->r.repair);
		agree_until(b, "");
	}
	assert_true(mr_plan_is_empty(&b->r.plan));
}

static void test_without_memory_all_comes_back_later(void **state)
{
	(void)state;
	for (long n = 1; n < 40; n++) {
		struct bench b;
		begin(&b);
		queue(&b.r.topology, 1, "q");
		consume(&b.r.topology, 1, "q", 4);
		consume(&b.r.topology, 2, "q", 5);
		lose(&b, 320, "CONNECTION_FORCED");
		mr_alloc_fail_nth(n);
		open_connection(&b);
		repair_all(&b);
		assert_true(is_told(&b, "ready@1") && is_told(&b, "ready@2"));
		assert_int_equal(b.recoveries, 1);
		assert_non_null(mr_record_of_consumer(&b.r.topology, 4));
		assert_non_null(mr_record_of_consumer(&b.r.topology, 5));
		end(&b);
	}
}

static void test_without_memory_a_broken_channel_comes_back_later(void **state)
{
	(void)state;
	for (long n = 1; n < 40; n++) {
		struct bench b;
		begin(&b);
		consume(&b.r.topology, 1, "a", 4);
		consume(&b.r.topology, 2, "b", 5);
		consume(&b.r.topology, 2, "c", 6);
		b.has[2] = true;
		broker_closes(&b, 1);
		broker_cancels(&b, 5);
		mr_alloc_fail_nth(n);
		fire(&b, &b.r.repair);
		repair_all(&b);
		assert_true(is_told(&b, "ready@1") && is_told(&b, "back:5"));
		end(&b);
	}
}

static void test_without_memory_a_channel_that_its_step_closed_comes_back_later(void **state)
{
	(void)state;
	for (long n = 1; n < 20; n++) {
		struct bench b;
		begin(&b);
		consume(&b.r.topology, 1, "a", 4);
		consume(&b.r.topology, 1, "b", 5);
		come_back(&b);
		agree_until(&b, "consume@1:b");
		mr_alloc_fail_nth(n);
		refuse(&b, MR_ACCESS_REFUSED, 403, "ACCESS_REFUSED - no");
		repair_all(&b);
		assert_true(is_told(&b, "ready@1") && b.has[1]);
		assert_non_null(mr_record_of_consumer(&b.r.topology, 4));
		end(&b);
	}
}

/* ---- repairs on an open connection ---- */

static void test_a_channel_that_the_broker_closes_comes_back_with_its_consumers(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "q", 5);
	broker_closes(&b, 1);
	assert_string_equal(b.asked, "");
	fire(&b, &b.r.repair);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 consume@1:q");
	assert_string_equal(b.told, "again@1 ready@1");
	assert_int_equal(b.recoveries, 0);
	assert_false(mr_plan_is_due(&b.r.topology, 1));
	end(&b);
}

static void test_channels_that_break_together_are_repaired_as_soon_as_one(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	for (uint16_t n = 1; n <= 90; n++) {
		assert_int_equal(mr_topology_channel(&b.r.topology, n, n), MR_OK);
		consume(&b.r.topology, n, "q", n);
	}
	broker_closes(&b, 1);
	mr_msec at = b.r.repair.at;
	for (uint16_t n = 2; n <= 90; n++) broker_closes(&b, n);
	assert_int_equal(b.r.repair.at, at);
	assert_int_equal(b.r.repairs, 1);
	end(&b);
}

static void test_a_channel_that_breaks_during_a_repair_is_repaired_beside_it(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	consume(&b.r.topology, 1, "hangs", 4);
	consume(&b.r.topology, 2, "b", 5);
	broker_closes(&b, 1);
	fire(&b, &b.r.repair);
	agree_until(&b, "consume@1:hangs");
	broker_closes(&b, 2);
	fire(&b, &b.r.repair);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@1 consume@1:hangs open@2 consume@2:b");
	assert_string_equal(b.told, "again@1 again@2 ready@2");
	end(&b);
}

static void test_a_cancelled_consumer_comes_back_when_its_queue_is_there(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "q", 5);
	broker_cancels(&b, 5);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:q");
	refuse(&b, MR_NOT_FOUND, 404, "NOT_FOUND - no queue 'q' in vhost '/'");
	assert_string_equal(b.told, "");
	fire(&b, &b.r.repair);
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:q open@100 look@100:q consume@1:q close@100");
	assert_string_equal(b.told, "back:5");
	end(&b);
}

static void test_a_consumer_without_messages_is_looked_at_and_one_with_messages_is_not(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.config.consumer_check = 1000;
	lose(&b, 320, "CONNECTION_FORCED");
	open_connection(&b);
	agree_until(&b, "");
	consume(&b.r.topology, 1, "idle", 4);
	consume(&b.r.topology, 1, "busy", 5);
	consume(&b.r.topology, 1, "amq.rabbitmq.reply-to", 6);
	b.busy = 5;
	b.consumers = 1;
	b.asked[0] = b.told[0] = '\0';
	fire(&b, &b.r.idle);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@100 look@100:idle close@100");
	assert_string_equal(b.told, "");
	assert_true(ev_is_active(&b.r.idle.ev));
	end(&b);
}

static void test_a_consumer_that_the_broker_has_forgotten_is_cancelled_and_comes_back(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "gone", 4);
	consume(&b.r.topology, 1, "dropped", 5);
	consume(&b.r.topology, 1, "stream", 6); /* there is no count of its consumers */
	b.stream = 6;
	b.messages = 1;
	b.config.consumer_check = 1000;
	mr_idle_begin(&b.r);
	fire(&b, &b.r.idle);
	agree_until(&b, "look@100:gone");
	refuse(&b, MR_NOT_FOUND, 404, "NOT_FOUND - no queue 'gone' in vhost '/'");
	agree_until(&b, ""); /* "dropped" is there, but has no consumer */
	assert_string_equal(b.asked,
		"open@100 look@100:gone cancel@1 open@100 look@100:dropped cancel@1 "
		"look@100:stream close@100");
	assert_string_equal(b.told, "lost:4 lost:5");
	b.asked[0] = b.told[0] = '\0';
	fire(&b, &b.r.repair);
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:gone consume@1:gone look@100:dropped consume@1:dropped close@100");
	assert_string_equal(b.told, "back:4 back:5");
	end(&b);
}

static int64_t begins_at(struct mr_record *consumer)
{
	const mr_value *v = mr_table_find(consumer->request.arguments, "x-stream-offset");
	return v ? v->as.integer : -1;
}

static void test_a_stream_is_read_anew_only_if_it_was_deleted(void **state)
{
	struct bench b;
	(void)state;
	mr_value seven = {.type = 'l', .as.integer = 7};
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "s", 6);
	struct mr_record *consumer = mr_record_of_consumer(&b.r.topology, 6);
	consumer->request.arguments = mr_table_new();
	mr_table_add(consumer->request.arguments, "x-stream-offset", 15, &seven);
	broker_cancels(&b, 6);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:s");
	refuse(&b, MR_NOT_FOUND, 404,
		"NOT_FOUND - home node 'b@vm' of durable queue 's' in vhost '/' is down or inaccessible");
	agree_until(&b, "");
	assert_int_equal(begins_at(consumer), 7);
	fire(&b, &b.r.repair);
	agree_until(&b, "look@100:s");
	refuse(&b, MR_NOT_FOUND, 404, "NOT_FOUND - no queue 's' in vhost '/'");
	agree_until(&b, "");
	assert_int_equal(begins_at(consumer), 0);
	end(&b);
}

/* RabbitMQ's answer for a quorum queue without a leader: whoever consumes from it loses the
 * connection. */
static void test_a_consumer_is_left_alone_while_its_queue_has_neither_messages_nor_consumers(
	void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "q", 4);
	b.config.consumer_check = 1000;
	mr_idle_begin(&b.r);
	fire(&b, &b.r.idle);
	agree_until(&b, "");
	assert_string_equal(b.asked, "open@100 look@100:q close@100");
	assert_string_equal(b.told, "");
	end(&b);
}

static void test_many_looks_do_not_hold_up_a_repair(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = b.has[2] = true;
	consume(&b.r.topology, 1, "a", 4);
	consume(&b.r.topology, 1, "b", 5);
	consume(&b.r.topology, 1, "c", 6);
	consume(&b.r.topology, 2, "d", 7);
	b.busy = 7;
	b.consumers = 1;
	b.config.consumer_check = 1000;
	mr_idle_begin(&b.r);
	fire(&b, &b.r.idle);
	agree_until(&b, "look@100:a");
	struct mr_ask look = b.last;
	broker_cancels(&b, 7);
	fire(&b, &b.r.repair);
	b.last = look;
	answer(&b, MR_OK, 0, "");
	agree_until(&b, "");
	assert_string_equal(b.asked,
		"open@100 look@100:a look@100:d consume@2:d look@100:b look@100:c close@100");
	assert_string_equal(b.told, "back:7");
	end(&b);
}

static void test_the_hosts_policy_is_asked_and_may_give_up(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.r.host_decides = true;
	consume(&b.r.topology, 1, "q", 5);
	broker_closes(&b, 1);
	assert_string_equal(b.told, "repairing");
	mr_repair_decide(&b.r, UINT64_MAX);
	assert_string_equal(b.told, "repairing ended@1");
	assert_false(ev_is_active(&b.r.repair.ev));
	assert_null(mr_record_of_channel(&b.r.topology, 1));
	end(&b);
}

static void test_a_consumer_that_is_forgotten_is_cancelled_where_it_is_back(void **state)
{
	struct bench b;
	(void)state;
	begin(&b);
	b.has[1] = true;
	consume(&b.r.topology, 1, "q", 5);
	consume(&b.r.topology, 2, "q", 6);
	mr_recovery_forget(&b.r, 5);
	mr_recovery_forget(&b.r, 6);
	assert_string_equal(b.asked, "cancel@1");
	assert_null(mr_record_of_consumer(&b.r.topology, 5));
	assert_null(mr_record_of_consumer(&b.r.topology, 6));
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stream_is_read_anew_only_if_it_was_deleted),
		cmocka_unit_test(test_all_comes_back_and_a_channel_does_one_step_at_a_time),
		cmocka_unit_test(test_a_step_that_hangs_holds_up_no_other_channel),
		cmocka_unit_test(test_a_declare_that_hangs_holds_up_others_for_a_moment_only),
		cmocka_unit_test(test_an_answer_of_another_time_is_taken_and_ignored),
		cmocka_unit_test(test_a_refused_step_costs_its_consumer_and_its_channel_comes_back),
		cmocka_unit_test(test_a_channel_that_cannot_be_opened_ends_and_the_rest_comes_back),
		cmocka_unit_test(
			test_channels_are_restored_up_to_the_users_limit_if_it_is_met_twice),
		cmocka_unit_test(
			test_what_a_dead_connection_holds_is_asked_for_again_after_a_pause),
		cmocka_unit_test(test_two_channels_take_turns_at_the_scratch_channel),
		cmocka_unit_test(test_a_scratch_channel_that_hangs_is_left_for_another),
		cmocka_unit_test(test_what_needs_a_queue_that_is_missing_is_not_asked_for),
		cmocka_unit_test(test_a_queue_that_the_broker_named_has_a_new_name),
		cmocka_unit_test(test_a_channel_that_breaks_between_two_steps_is_opened_again),
		cmocka_unit_test(
			test_a_channel_that_breaks_during_the_look_at_a_queue_keeps_its_consumer),
		cmocka_unit_test(
			test_a_consumer_that_is_cancelled_during_its_recovery_keeps_waiting),
		cmocka_unit_test(test_a_loss_in_the_middle_begins_it_anew),
		cmocka_unit_test(
			test_what_costs_two_connections_is_left_out_with_the_brokers_words),
		cmocka_unit_test(
			test_of_several_suspects_each_is_asked_alone_and_only_the_guilty_is_left_out),
		cmocka_unit_test(test_a_loss_that_is_nobodys_fault_is_not_blamed_on_the_step),
		cmocka_unit_test(test_the_next_try_is_told_and_then_asked_of_the_link),
		cmocka_unit_test(
			test_a_channel_that_the_broker_closes_comes_back_with_its_consumers),
		cmocka_unit_test(test_channels_that_break_together_are_repaired_as_soon_as_one),
		cmocka_unit_test(test_a_channel_that_breaks_during_a_repair_is_repaired_beside_it),
		cmocka_unit_test(test_a_cancelled_consumer_comes_back_when_its_queue_is_there),
		cmocka_unit_test(
			test_a_consumer_without_messages_is_looked_at_and_one_with_messages_is_not),
		cmocka_unit_test(
			test_a_consumer_that_the_broker_has_forgotten_is_cancelled_and_comes_back),
		cmocka_unit_test(
			test_a_consumer_is_left_alone_while_its_queue_has_neither_messages_nor_consumers),
		cmocka_unit_test(test_many_looks_do_not_hold_up_a_repair),
		cmocka_unit_test(test_without_memory_all_comes_back_later),
		cmocka_unit_test(test_without_memory_a_broken_channel_comes_back_later),
		cmocka_unit_test(
			test_without_memory_a_channel_that_its_step_closed_comes_back_later),
		cmocka_unit_test(test_the_hosts_policy_is_asked_and_may_give_up),
		cmocka_unit_test(test_a_consumer_that_is_forgotten_is_cancelled_where_it_is_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
