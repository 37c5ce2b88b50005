/* test_link: a link's states.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "link/link.h"

static char said[500];

static void hear(void *owner, int level, const char *line, size_t size)
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
	struct mr_services services = {.log = {.sink = hear, .level = MR_LOG_DEBUG}};
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
		}
	assert_int_equal(moved, 14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_move_that_may_not_be_marks_the_link_and_is_logged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
