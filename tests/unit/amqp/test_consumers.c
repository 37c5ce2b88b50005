/* test_consumers: each consumer of a channel is found by its tag, and by that of its second one, and no other.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "amqp/consumers.h"
#include "base/alloc.h"

#define MANY 500u

static char tag[32];

static mr_slice tag_of(uint32_t n, const char *suffix)
{
	snprintf(tag, sizeof tag, "tag-%u%s", n, suffix);
	return mr_slice_str(tag);
}

static enum mr_status add(struct mr_consumers *c, uint32_t n)
{
	struct mr_pending asked = {.consumer = n};
	return mr_consumers_add(c, tag_of(n, ""), &asked, 0);
}

static void add_many(struct mr_consumers *c)
{
	*c = (struct mr_consumers){0};
	for (uint32_t n = 1; n <= MANY; n++) assert_int_equal(add(c, n), MR_OK);
}

static void test_each_of_many_is_found_in_any_order(void **state)
{
	struct mr_consumers c;
	(void)state;
	add_many(&c);
	for (uint32_t i = 0, n = 1; i < MANY; i++, n = (n + 6) % MANY + 1) { /* 7 is prime to 500 */
		const struct mr_consumer_entry *entry = mr_consumers_find(&c, tag_of(n, ""));
		assert_non_null(entry);
		assert_int_equal(entry->number, n);
		assert_ptr_equal(mr_consumers_find(&c, tag_of(n, "")), entry);
	}
	assert_null(mr_consumers_find(&c, tag_of(MANY + 1, "")));
	assert_false(mr_consumers_has(&c, tag_of(0, "")));
	assert_null(mr_consumers_find(&c, mr_slice_str("")));
	mr_consumers_fini(&c);
}

static void test_a_removed_one_is_not_found_and_the_others_are(void **state)
{
	struct mr_consumers c;
	long before = mr_alloc_live();
	(void)state;
	add_many(&c);
	for (uint32_t n = 1; n <= MANY; n += 2) {
		assert_non_null(mr_consumers_find(&c, tag_of(n, "")));
		assert_int_equal(mr_consumers_remove(&c, tag_of(n, "")), n);
		assert_int_equal(mr_consumers_remove(&c, tag_of(n, "")), 0);
	}
	for (uint32_t n = 1; n <= MANY; n++) {
		const struct mr_consumer_entry *entry = mr_consumers_find(&c, tag_of(n, ""));
		assert_int_equal(entry ? entry->number : 0, n % 2 ? 0 : n);
		assert_int_equal(mr_consumers_has(&c, tag_of(n, "")), n % 2 == 0);
	}
	for (uint32_t n = MANY; n; n -= 2)
		assert_int_equal(mr_consumers_remove(&c, tag_of(n, "")), n);
	assert_int_equal(c.count, 0);
	mr_consumers_fini(&c);
	assert_int_equal(mr_alloc_live(), before);
}

static void test_a_second_one_is_found_only_of_a_curbed_one(void **state)
{
	struct mr_consumers c;
	(void)state;
	add_many(&c);
	assert_null(mr_consumers_find(&c, tag_of(7, MR_CURB_SUFFIX)));
	struct mr_consumer_entry *entry = mr_consumers_find(&c, tag_of(7, ""));
	entry->is_curbed = true;
	mr_consumers_find(&c, tag_of(8, "")); /* not the last one */
	assert_ptr_equal(mr_consumers_find(&c, tag_of(7, MR_CURB_SUFFIX)), entry);
	assert_true(mr_consumers_has(&c, tag_of(7, MR_CURB_SUFFIX)));
	assert_null(mr_consumers_shown(&c, tag_of(7, MR_CURB_SUFFIX)));
	assert_null(mr_consumers_find(&c, tag_of(8, MR_CURB_SUFFIX)));
	assert_null(mr_consumers_find(&c, mr_slice_str(MR_CURB_SUFFIX)));
	mr_consumers_fini(&c);
}

/* A broker may choose it. */
static void test_a_second_one_of_a_consumer_with_an_empty_tag_is_found(void **state)
{
	struct mr_consumers c;
	struct mr_pending asked = {.consumer = 1000};
	(void)state;
	add_many(&c);
	assert_int_equal(mr_consumers_add(&c, mr_slice_str(""), &asked, 0), MR_OK);
	struct mr_consumer_entry *entry = mr_consumers_find(&c, mr_slice_str(""));
	assert_int_equal(entry->number, 1000);
	entry->is_curbed = true;
	mr_consumers_find(&c, tag_of(8, "")); /* not the last one */
	assert_ptr_equal(mr_consumers_find(&c, mr_slice_str(MR_CURB_SUFFIX)), entry);
	assert_int_equal(mr_consumers_remove(&c, mr_slice_str(MR_CURB_SUFFIX)), 1000);
	assert_null(mr_consumers_find(&c, mr_slice_str("")));
	mr_consumers_fini(&c);
}

/* Whoever chooses tags may choose them so, and the broker may tell one tag twice. */
static void test_those_with_equal_hashes_are_told_apart(void **state)
{
	struct mr_consumers c;
	(void)state;
	add_many(&c);
	uint64_t hash = mr_consumers_find(&c, tag_of(1, ""))->by_tag.hash;
	for (size_t i = 1; i < c.count; i++) {
		mr_bins_take(&c.tags, &c.entries[i]->by_tag);
		assert_int_equal(mr_bins_put(&c.tags, &c.entries[i]->by_tag, hash), MR_OK);
	}
	assert_int_equal(mr_consumers_find(&c, tag_of(1, ""))->number, 1);
	assert_null(mr_consumers_find(&c, tag_of(2, ""))); /* its own hash leads elsewhere */
	assert_int_equal(mr_consumers_remove(&c, tag_of(1, "")), 1);
	assert_null(mr_consumers_find(&c, tag_of(1, ""))); /* all others have its hash */
	assert_int_equal(add(&c, 1), MR_OK);
	assert_int_equal(add(&c, 1), MR_OK);
	assert_int_equal(mr_consumers_remove(&c, tag_of(1, "")), 1);
	assert_int_equal(mr_consumers_remove(&c, tag_of(1, "")), 1);
	assert_int_equal(mr_consumers_remove(&c, tag_of(1, "")), 0);
	assert_int_equal(c.count, MANY - 1);
	mr_consumers_fini(&c);
}

static void test_without_memory_nothing_is_added_and_what_was_asked_keeps_its_arguments(
	void **state)
{
	struct mr_consumers c = {0};
	long before = mr_alloc_live();
	enum mr_status st = MR_NO_MEMORY;
	(void)state;
	for (long n = 1; st != MR_OK; n++) {
		struct mr_pending asked = {.consumer = 1, .arguments = mr_table_new()};
		mr_alloc_fail_nth(n);
		st = mr_consumers_add(&c, mr_slice_str("tag"), &asked, 0);
		mr_alloc_fail_nth(0);
		assert_int_equal(asked.arguments != NULL, st != MR_OK);
		assert_int_equal(mr_consumers_has(&c, mr_slice_str("tag")), st == MR_OK);
		mr_table_free(asked.arguments);
		assert_true(n < 10);
	}
	mr_consumers_fini(&c);
	assert_int_equal(mr_alloc_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_of_many_is_found_in_any_order),
		cmocka_unit_test(test_a_removed_one_is_not_found_and_the_others_are),
		cmocka_unit_test(test_a_second_one_is_found_only_of_a_curbed_one),
		cmocka_unit_test(test_a_second_one_of_a_consumer_with_an_empty_tag_is_found),
		cmocka_unit_test(test_those_with_equal_hashes_are_told_apart),
		cmocka_unit_test(
			test_without_memory_nothing_is_added_and_what_was_asked_keeps_its_arguments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
