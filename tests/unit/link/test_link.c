/* test_link: a link's states.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/value.h"
#include "link/backoff.h"
#include "link/link.h"
#include "link/report.h"

static char said[500];

static void hear_line(void *owner, int level, const char *line, size_t size)
{
	(void)owner;
	assert_int_equal(level, MR_LOG_ERROR);
	snprintf(said, sizeof said, "%.*s", (int)size, line);
}

/* FIELD-R20: every pair of states: it moves, or it stays, is logged with both names, and is to be dropped. */
static void test_a_move_that_may_not_be_marks_the_link_and_is_logged(void **state)
{
	static const char *const names[] = {"IDLE", "CONNECTING", "OPEN", "CLOSING", "PARTING",
		"BACKOFF"};
	static struct mr_bridge bridge; /* its recorder is off */
	struct mr_services services = {.bridge = &bridge,
		.log = {.sink = hear_line, .level = MR_LOG_DEBUG}};
	struct mr_config config = {.name = (char *)(uintptr_t) "tested"};
	int moved = 0;
	(void)state;
	for (int from = 0; from < MR_LINK_STATE_COUNT; from++)
		for (int to = 0; to < MR_LINK_STATE_COUNT; to++) {
			struct mr_link link = {.services = &services,
				.config = &config,
				.io.services = &services};
			char words[60];
			mr_list_init(&services.dirty);
			link.state = (enum mr_link_state)from;
			said[0] = '\0';
			mr_link_enter(&link, (enum mr_link_state)to);
			moved += !link.is_faulty;
			assert_int_equal(link.state, link.is_faulty ? from : to);
			assert_int_equal(mr_list_is_empty(&services.dirty), !link.is_faulty);
			snprintf(words, sizeof words, "from %s to %s", names[from], names[to]);
			assert_int_equal(strstr(said, words) != NULL, link.is_faulty);
			assert_int_equal(strstr(said, "connection=tested") != NULL, link.is_faulty);
			mr_error_keep(&link.error, NULL);
		}
	assert_int_equal(moved, 14);
}

/* ---- what becomes of it ---- */

struct live {
	struct ev_loop *loop;
	struct mr_bridge bridge;
	struct mr_services services;
	struct mr_history history;
	struct mr_crowd crowd;
	struct mr_link *link;
	int states, first_state, answers;
};

static void begin(struct live *l)
{
	mr_options *o = mr_options_new();
	struct mr_link_seed *seed = mr_calloc(1, sizeof *seed);
	memset(l, 0, sizeof *l);
	seed->config = mr_calloc(1, sizeof *seed->config);
	seed->gauge = mr_calloc(1, sizeof *seed->gauge);
	assert_int_equal(mr_options_string(o, "url", "amqp://127.0.0.1:1", 18, NULL), MR_OK);
	assert_int_equal(mr_config_resolve(seed->config, o, NULL), MR_OK);
	mr_options_free(o);
	l->services.loop = ev_loop_new(EVFLAG_NOENV);
	mr_timers_init(&l->services.timers, l->services.loop);
	mr_history_init(&l->history);
	l->services.history = &l->history;
	l->services.crowd = &l->crowd;
	mr_list_init(&l->services.dirty);
	l->services.bridge = &l->bridge;
	mr_event_queue_init(&l->services.dispatch, &l->bridge);
	assert_int_equal(mr_link_new(&l->services, 7, seed), MR_OK);
	l->link = mr_map_get(&l->services.links, 7);
	/* There is no host: events are parked from the first on. */
	mr_event first = {.type = MR_EV_NONE};
	assert_int_equal(mr_buffer_append(&l->link->lane.parked, &first, sizeof first), MR_OK);
}

static void hear(struct live *l, struct mr_buffer *parked)
{
	while (mr_buffer_size(parked)) {
		mr_event ev;
		memcpy(&ev, mr_buffer_data(parked), sizeof ev);
		mr_buffer_consume(parked, sizeof ev);
		if (ev.type == MR_EV_CONNECTION && !l->states++)
			l->first_state = ev.as.connection.state;
		if (ev.type == MR_EV_DONE) l->answers++;
		mr_event_fini(&ev);
	}
}

static void hear_all(struct live *l) { hear(l, &l->link->lane.parked); }

static void end(struct live *l)
{
	hear_all(l);
	mr_link_free(l->link);
	hear(l, &l->services.dispatch.common.parked);
	mr_event_queue_fini(&l->services.dispatch);
	mr_map_fini(&l->services.links);
	mr_history_fini(&l->history);
	ev_loop_destroy(l->services.loop);
}

/* FIELD-R20: what was closed is not brought back for a fault, and who waits for its close is answered. */
static void test_a_fault_on_the_way_to_the_end_ends_it(void **state)
{
	static const enum mr_link_state ends[] = {MR_LINK_IDLE, MR_LINK_CLOSING, MR_LINK_PARTING};
	(void)state;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct live l;
		bool is_closing = ends[i] == MR_LINK_CLOSING;
		begin(&l);
		l.link->recovery.was_open = true;
		l.link->state = ends[i];
		if (is_closing) mr_report_wait(l.link, &l.link->closers, 5);
		mr_link_enter(l.link, is_closing ? MR_LINK_OPEN : MR_LINK_CLOSING);
		assert_true(l.link->is_faulty);
		mr_link_flush(l.link);
		hear_all(&l);
		assert_int_equal(l.link->state, MR_LINK_IDLE);
		assert_int_equal(l.states, is_closing);
		assert_int_equal(l.answers, is_closing);
		if (is_closing) assert_int_equal(l.first_state, MR_CONNECTION_CLOSED);
		assert_false(ev_is_active(&l.link->recovery.retry.ev));
		end(&l);
	}
}

/* FIELD-R20: one that was open comes back. */
static void test_a_fault_of_an_open_link_loses_the_connection_and_it_is_tried_again(void **state)
{
	struct live l;
	(void)state;
	begin(&l);
	l.link->recovery.was_open = true;
	l.link->state = MR_LINK_OPEN;
	mr_link_enter(l.link, MR_LINK_BACKOFF);
	mr_link_flush(l.link);
	hear_all(&l);
	assert_int_equal(l.link->state, MR_LINK_BACKOFF);
	assert_int_equal(l.first_state, MR_CONNECTION_LOST);
	assert_true(ev_is_active(&l.link->recovery.retry.ev));
	end(&l);
}

/* Of a link that has a session still: its end is told nobody, but to those. */
static void test_who_waits_for_a_link_that_is_freed_is_answered(void **state)
{
	static const enum mr_link_state states[] = {MR_LINK_CONNECTING, MR_LINK_OPEN,
		MR_LINK_CLOSING};
	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		struct live l;
		long before = mr_alloc_live();
		begin(&l);
		assert_int_equal(mr_session_open(&l.link->session, &l.link->options), MR_OK);
		assert_int_equal(mr_session_start(l.link->session, 0), MR_OK);
		l.link->state = states[i];
		mr_report_wait(l.link, &l.link->openers, 5);
		mr_report_wait(l.link, &l.link->closers, 6);
		end(&l);
		assert_int_equal(l.answers, 2);
		assert_int_equal(l.states, 0);
		assert_int_equal(mr_alloc_live(), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_move_that_may_not_be_marks_the_link_and_is_logged),
		cmocka_unit_test(test_a_fault_on_the_way_to_the_end_ends_it),
		cmocka_unit_test(
			test_a_fault_of_an_open_link_loses_the_connection_and_it_is_tried_again),
		cmocka_unit_test(test_who_waits_for_a_link_that_is_freed_is_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
