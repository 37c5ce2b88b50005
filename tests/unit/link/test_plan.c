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
	mr_plan_drop(plan);
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
	"scratch", "probe", "check", "pause", "ready"};

/* As "open@1 again@1:q ready@1". */
static const char *shown(const struct mr_plan *plan, const struct mr_topology *t)
{
	static char text[2000];
	text[0] = '\0';
	for (const struct mr_node *n = plan->steps.next; n != &plan->steps; n = n->next) {
		const struct mr_step *s =
			mr_container((struct mr_node *)(uintptr_t)n, struct mr_step, node);
		const struct mr_record *r = s->record ? mr_record_by_id(t, s->record) : NULL;
		say(text, "%s%s@%u%s%s", *text ? " " : "", kinds[s->kind], s->channel, r ? ":" : "",
			r ? r->strings[0] : "");
	}
	return text;
}

/* The plan comes to the step that begins with `words`. */
static void go_to(struct mr_plan *plan, const struct mr_topology *t, const char *words)
{
	while (mr_plan_step(plan) && strncmp(shown(plan, t), words, strlen(words)) != 0)
		mr_plan_next(plan);
	assert_non_null(mr_plan_step(plan));
}

/* ---- making it ---- */

static void test_channels_come_first_then_declares_bindings_and_consumers(void **state)
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
		"open@1 qos@1 global-qos@1 confirm@1 open@2 tx@2 again@2:x again@1:q again@1:y again@1:q "
		"again@2:before again@1:q ready@1 ready@2");
	assert_true(mr_plan_all(&plan, &t, false));
	assert_string_equal(shown(&plan, &t),
		"open@1 qos@1 global-qos@1 confirm@1 open@2 tx@2 again@2:before again@1:q ready@1 "
		"ready@2");
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
	assert_null(mr_plan_step(&plan));
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
	assert_true(mr_plan_is_due(&t));
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
	assert_string_equal(shown(&plan, &t), "open@1 scratch@0:q again@0:q ready@1");
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
	assert_false(mr_plan_is_due(&t));
	assert_false(mr_plan_repairs(&plan, &t));
	mr_record_of_channel(&t, 2)->broken = true;
	mr_topology_cancelled(&t, 6);
	assert_true(mr_plan_is_due(&t));
	assert_true(mr_plan_repairs(&plan, &t));
	assert_string_equal(shown(&plan, &t),
		"open@2 again@2:q ready@2 scratch@1:gone probe@1:gone again@1:gone");
	end(&t, &plan);
}

/* ---- when a step fails ---- */

static void test_a_step_that_took_its_channel_along_has_it_opened_again_behind_the_others(
	void **state)
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
	go_to(&plan, &t, "again@1:b");
	record_of(&t, MR_BASIC_CONSUME, "a")->made_in = plan.number;
	assert_true(mr_plan_failed(&plan, &t, true, false));
	assert_string_equal(shown(&plan, &t),
		"again@2:d ready@2 open@1 qos@1 again@1:a again@1:c ready@1");
	end(&t, &plan);
}

static void test_a_step_that_is_asked_for_again_comes_after_a_pause(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	queue(&t, 1, "held");
	queue(&t, 2, "free");
	assert_true(mr_plan_all(&plan, &t, true));
	go_to(&plan, &t, "again@1:held");
	assert_true(mr_plan_failed(&plan, &t, true, true));
	assert_string_equal(shown(&plan, &t),
		"again@2:free ready@2 pause@1 open@1 again@1:held ready@1");
	end(&t, &plan);
}

static void test_what_speaks_of_a_queue_that_comes_later_waits_for_it(void **state)
{
	struct mr_topology t;
	struct mr_plan plan;
	(void)state;
	begin(&t, &plan);
	assert_int_equal(mr_topology_channel(&t, 3, 13), MR_OK);
	queue(&t, 1, "held");
	consume(&t, 2, "held", 5);
	consume(&t, 3, "free", 6);
	assert_true(mr_plan_all(&plan, &t, true));
	go_to(&plan, &t, "again@1:held");
	assert_true(mr_plan_failed(&plan, &t, true, true));
	assert_string_equal(shown(&plan, &t),
		"again@3:free ready@3 pause@1 open@1 again@1:held again@2:held ready@1 ready@2");
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
	go_to(&plan, &t, "again@0:q");
	assert_true(mr_plan_failed(&plan, &t, true, true));
	assert_string_equal(shown(&plan, &t), "ready@1 pause@0 scratch@0:q again@0:q");
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
	go_to(&plan, &t, "again@1:q");
	assert_true(mr_plan_check(&plan, record_of(&t, MR_BASIC_CONSUME, "q")));
	assert_string_equal(shown(&plan, &t), "scratch@0:q check@0:q again@1:q ready@1 ready@2");
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
		if (!ok) assert_null(mr_plan_step(&plan));
		if (!ok) assert_int_equal(mr_alloc_live(), live);
	}
	go_to(&plan, &t, "again@1:q");
	live = mr_alloc_live();
	mr_alloc_fail_nth(2);
	assert_false(mr_plan_failed(&plan, &t, true, true));
	mr_alloc_fail_nth(0);
	assert_string_equal(shown(&plan, &t), "again@2:q ready@1 ready@2");
	assert_int_equal(mr_alloc_live(), live - 1);
	end(&t, &plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channels_come_first_then_declares_bindings_and_consumers),
		cmocka_unit_test(test_where_nothing_is_recorded_there_is_no_plan),
		cmocka_unit_test(
			test_the_same_topology_gives_the_same_plan_and_is_not_changed_by_it),
		cmocka_unit_test(
			test_what_was_declared_on_a_channel_that_has_gone_is_made_again_on_scratch),
		cmocka_unit_test(test_only_what_is_broken_is_repaired),
		cmocka_unit_test(
			test_a_step_that_took_its_channel_along_has_it_opened_again_behind_the_others),
		cmocka_unit_test(test_a_step_that_is_asked_for_again_comes_after_a_pause),
		cmocka_unit_test(test_what_speaks_of_a_queue_that_comes_later_waits_for_it),
		cmocka_unit_test(test_a_step_without_a_channel_is_asked_for_again_on_scratch),
		cmocka_unit_test(test_a_queue_is_looked_for_before_the_step_under_way),
		cmocka_unit_test(test_without_memory_there_is_no_half_of_a_plan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
