/* test_plan: the steps of a recovery: made from a topology, amended when one fails.
 * SPDX-License-Identifier: MIT */
#include "link/plan.h"
#include "topology_bench.h"

static void begin(struct mr_topology *t, struct mr_plan *plan)
{
	mr_plan_init(plan);
	mr_topology_init(t);
	assert_int_equal(mr_topology_channel(t, 1, 11), MR_OK);
	assert_int_equal(mr_topology_channel(t, 2, 12), MR_OK);
}

static void end(struct mr_topology *t, struct mr_plan *plan)
{
	mr_plan_fini(plan);
	mr_topology_fini(t);
}

static struct mr_record *record_of(const struct mr_topology *t, int operation, const char *name)
{
	struct mr_record *r = NULL;
	while ((r = mr_topology_next(t, operation, r)))
		if (strcmp(r->strings[0], name) == 0) return r;
	fail_msg("no record of '%s'", name);
	return NULL;
}

static const char *const kinds[] = {"open", "qos", "global-qos", "confirm", "tx", "again",
	"scratch", "probe", "check", "look", "cancel", "pause", "ready"};

/* As "open@1 again@1:q ready@1 | open@2 ready@2": a part for each track. */
static const char *shown(const struct mr_plan *plan, const struct mr_topology *t)
{
	static char text[2000];
	const struct mr_track *track = NULL;
	text[0] = '\0';
	while ((track = mr_plan_next_track(plan, track))) {
		const struct mr_node *all = &track->steps;
		if (*text) say(text, " |");
		for (const struct mr_node *n = all->next; n != all; n = n->next) {
			const struct mr_step *s =
				mr_container((struct mr_node *)(uintptr_t)n, struct mr_step, node);
			const struct mr_record *r =
				s->record ? mr_record_by_id(t, s->record) : NULL;
			say(text, "%s%s@%u%s%s", *text ? " " : "", kinds[s->kind], s->channel,
				r ? ":" : "", r ? r->strings[0] : "");
		}
	}
	return text;
}

/* The track comes to a step of this kind, with a record of this name. */
static struct mr_track *go_to(struct mr_plan *plan, const struct mr_topology *t, uint16_t channel,
	enum mr_step_kind kind, const char *name)
{
	struct mr_track *track = mr_plan_track(plan, channel);
	const struct mr_step *s;
	assert_non_null(track);
	while ((s = mr_plan_step(track))) {
		const struct mr_record *r = s->record ? mr_record_by_id(t, s->record) : NULL;
		if (s->kind == kind && strcmp(r ? r->strings[0] : "", name) == 0) break;
		mr_plan_next(plan, t, track);
	}
	assert_non_null(s);
	return track;
}

/* ---- making it ---- */

static void test_a_channel_has_its_declares_then_its_bindings_and_consumers(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	mode(&t, 1, MR_CONFIRM_SELECT, 0, 0);
	mode(&t, 1, MR_BASIC_QOS, 0, 5);
	mode(&t, 1, MR_BASIC_QOS, MR_GLOBAL, 50);
	mode(&t, 2, MR_TX_SELECT, 0, 0);
	consume(&t, 2, "before", 4);
	queue(&t, 1, "q");
	exchange(&t, 2, "x");
	bind(&t, 1, "q", "x");
	note(&t, 1, MR_EXCHANGE_BIND, "y", "x", "");
	consume(&t, 1, "q", 5);
	assert_true(mr_plan_all(&plan, &t, true));
	assert_string_equal(shown(&plan, &t),
		"open@1 qos@1 global-qos@1 confirm@1 again@1:q again@1:y again@1:q again@1:q ready@1 | "
		"open@2 tx@2 again@2:x again@2:before ready@2");
	assert_true(mr_plan_all(&plan, &t, false));
	assert_string_equal(shown(&plan, &t),
		"open@1 qos@1 global-qos@1 confirm@1 again@1:q ready@1 | "
		"open@2 tx@2 again@2:before ready@2");
	end(&t, &plan);
}

static void test_where_nothing_is_recorded_there_is_no_plan(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	mr_plan_init(&plan);
	mr_topology_init(&t);
	assert_false(mr_plan_all(&plan, &t, true));
	assert_false(mr_plan_repairs(&plan, &t));
	assert_true(mr_plan_is_empty(&plan));
	end(&t, &plan);
}

static void test_the_same_topology_gives_the_same_plan_and_is_not_changed_by_it(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	char first[2000];
	(void)state;
	begin(&t, &plan);
	queue(&t, 1, "q");
	consume(&t, 2, "q", 5);
	mr_record_of_channel(&t, 2)->broken = true;
	mr_topology_cancelled(&t, 5);
	assert_true(mr_plan_repairs(&plan, &t));
	snprintf(first, sizeof first, "%s", shown(&plan, &t));
	assert_true(mr_plan_all(&plan, &t, true));
	assert_true(mr_plan_is_due(&t, 2));
	mr_plan_drop(&plan);
	assert_true(mr_plan_repairs(&plan, &t));
	assert_string_equal(shown(&plan, &t), first);
	end(&t, &plan);
}

static void test_what_was_declared_on_a_channel_that_has_gone_is_made_again_on_scratch(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 2, "q");
	mr_topology_channel_closed(&t, 2);
	assert_true(mr_plan_all(&plan, &t, true));
	assert_string_equal(shown(&plan, &t), "open@1 ready@1 | scratch@0:q again@0:q");
	end(&t, &plan);
}

static void test_only_what_is_broken_is_repaired(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 2, "q");
	consume(&t, 1, "q", 4);
	consume(&t, 2, "q", 5);
	consume(&t, 1, "gone", 6);
	assert_false(mr_plan_is_due(&t, 1));
	assert_false(mr_plan_repairs(&plan, &t));
	mr_record_of_channel(&t, 2)->broken = true;
	mr_topology_cancelled(&t, 6);
	assert_true(mr_plan_is_due(&t, 1));
	assert_true(mr_plan_is_due(&t, 2));
	assert_true(mr_plan_repairs(&plan, &t));
	assert_string_equal(shown(&plan, &t),
		"open@2 again@2:q ready@2 | scratch@1:gone probe@1:gone again@1:gone");
	assert_false(mr_plan_repairs(&plan, &t)); /* it is planned already */
	end(&t, &plan);
}

static void test_a_repair_is_planned_beside_another_that_is_under_way(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	consume(&t, 1, "q", 4);
	mr_record_of_channel(&t, 2)->broken = true;
	assert_true(mr_plan_repairs(&plan, &t));
	mr_record_of_channel(&t, 1)->broken = true;
	assert_true(mr_plan_repairs(&plan, &t));
	assert_string_equal(shown(&plan, &t), "open@2 ready@2 | open@1 again@1:q ready@1");
	assert_true(mr_plan_track(&plan, 1)->number > mr_plan_track(&plan, 2)->number);
	end(&t, &plan);
}

/* ---- what one track needs of another ---- */

static void test_a_step_waits_for_the_declare_of_what_it_needs_on_another_channel(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	exchange(&t, 1, "x");
	queue(&t, 2, "q");
	bind(&t, 2, "q", "x");
	consume(&t, 1, "q", 5);
	assert_true(mr_plan_all(&plan, &t, true));
	assert_int_equal(plan.topology_left, 3);
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "x");
	struct mr_track *two = go_to(&plan, &t, 2, MR_STEP_RECORD, "q");
	assert_true(mr_plan_is_ready(&plan, &t, one));
	assert_true(mr_plan_is_ready(&plan, &t, two)); /* the declare itself */
	mr_plan_next(&plan, &t, two);
	assert_false(mr_plan_is_ready(&plan, &t, two)); /* the binding needs x */
	mr_plan_next(&plan, &t, one);
	assert_true(mr_plan_is_ready(&plan, &t, two));
	assert_true(mr_plan_is_ready(&plan, &t, one)); /* q is there */
	mr_plan_next(&plan, &t, two);
	assert_int_equal(plan.topology_left, 0);
	end(&t, &plan);
}

static void test_what_the_program_removes_or_declares_itself_is_not_waited_for(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 2, "q");
	consume(&t, 1, "q", 5);
	assert_true(mr_plan_all(&plan, &t, true));
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "q");
	assert_false(mr_plan_is_ready(&plan, &t, one));
	mr_record_forget(&t, record_of(&t, MR_QUEUE_DECLARE, "q"));
	assert_true(mr_plan_is_ready(&plan, &t, one));
	queue(&t, 2, "q"); /* by the program, in the meantime */
	assert_true(mr_plan_is_ready(&plan, &t, one));
	end(&t, &plan);
}

/* ---- when a step fails ---- */

static void test_a_step_that_took_its_channel_along_has_it_opened_again(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	mode(&t, 1, MR_BASIC_QOS, 0, 5);
	consume(&t, 1, "a", 4);
	consume(&t, 1, "b", 5);
	consume(&t, 1, "c", 6);
	consume(&t, 2, "d", 7);
	assert_true(mr_plan_all(&plan, &t, true));
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "b");
	record_of(&t, MR_BASIC_CONSUME, "a")->made_in = plan.number;
	assert_true(mr_plan_failed(&plan, &t, one, true, false));
	assert_string_equal(shown(&plan, &t),
		"open@1 qos@1 again@1:a again@1:c ready@1 | open@2 again@2:d ready@2");
	end(&t, &plan);
}

static void test_a_step_that_is_asked_for_again_comes_after_a_pause(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 1, "held");
	consume(&t, 2, "held", 5);
	assert_true(mr_plan_all(&plan, &t, true));
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "held");
	assert_true(mr_plan_failed(&plan, &t, one, true, true));
	assert_string_equal(shown(&plan, &t),
		"pause@1 open@1 again@1:held ready@1 | open@2 again@2:held ready@2");
	assert_int_equal(plan.topology_left, 0); /* channels do not wait for it to be ready */
	struct mr_track *two = go_to(&plan, &t, 2, MR_STEP_RECORD, "held");
	assert_false(mr_plan_is_ready(&plan, &t, two)); /* but the consumer needs its queue */
	end(&t, &plan);
}

static void test_a_step_without_a_channel_is_asked_for_again_on_scratch(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 2, "q");
	mr_topology_channel_closed(&t, 2);
	assert_true(mr_plan_all(&plan, &t, true));
	struct mr_track *none = go_to(&plan, &t, 0, MR_STEP_RECORD, "q");
	assert_true(mr_plan_failed(&plan, &t, none, true, true));
	assert_string_equal(shown(&plan, &t), "open@1 ready@1 | pause@0 scratch@0:q again@0:q");
	end(&t, &plan);
}

static void test_a_queue_is_looked_for_before_the_step_under_way(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	consume(&t, 1, "q", 5);
	assert_true(mr_plan_all(&plan, &t, true));
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "q");
	assert_true(mr_plan_check(&plan, one, record_of(&t, MR_BASIC_CONSUME, "q")));
	assert_string_equal(shown(&plan, &t),
		"scratch@0:q check@0:q again@1:q ready@1 | open@2 ready@2");
	end(&t, &plan);
}

/* Every allocation fails once: there is a whole plan or none, and a step that fails without memory is left out. */
static void test_without_memory_there_is_no_half_of_a_plan(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	bool ok = false;
	(void)state;
	begin(&t, &plan);
	queue(&t, 1, "q");
	consume(&t, 2, "q", 5);
	long live = mr_alloc_live();
	for (long n = 1; !ok; n++) {
		mr_alloc_fail_nth(n);
		ok = mr_plan_all(&plan, &t, true);
		mr_alloc_fail_nth(0);
		if (!ok) assert_true(mr_plan_is_empty(&plan));
		if (!ok) mr_map_fini(&plan.by_channel);
		if (!ok) assert_int_equal(mr_alloc_live(), live);
	}
	struct mr_track *one = go_to(&plan, &t, 1, MR_STEP_RECORD, "q");
	live = mr_alloc_live();
	mr_alloc_fail_nth(2);
	assert_false(mr_plan_failed(&plan, &t, one, true, true));
	mr_alloc_fail_nth(0);
	assert_string_equal(shown(&plan, &t), "ready@1 | open@2 again@2:q ready@2");
	assert_int_equal(mr_alloc_live(), live - 1);
	assert_true(mr_plan_is_ready(&plan, &t, go_to(&plan, &t, 2, MR_STEP_RECORD, "q")));
	end(&t, &plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_channel_has_its_declares_then_its_bindings_and_consumers),
		cmocka_unit_test(test_where_nothing_is_recorded_there_is_no_plan),
		cmocka_unit_test(
			test_the_same_topology_gives_the_same_plan_and_is_not_changed_by_it),
		cmocka_unit_test(
			test_what_was_declared_on_a_channel_that_has_gone_is_made_again_on_scratch),
		cmocka_unit_test(test_only_what_is_broken_is_repaired),
		cmocka_unit_test(test_a_repair_is_planned_beside_another_that_is_under_way),
		cmocka_unit_test(
			test_a_step_waits_for_the_declare_of_what_it_needs_on_another_channel),
		cmocka_unit_test(
			test_what_the_program_removes_or_declares_itself_is_not_waited_for),
		cmocka_unit_test(test_a_step_that_took_its_channel_along_has_it_opened_again),
		cmocka_unit_test(test_a_step_that_is_asked_for_again_comes_after_a_pause),
		cmocka_unit_test(test_a_step_without_a_channel_is_asked_for_again_on_scratch),
		cmocka_unit_test(test_a_queue_is_looked_for_before_the_step_under_way),
		cmocka_unit_test(test_without_memory_there_is_no_half_of_a_plan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
