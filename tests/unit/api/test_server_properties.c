/* test_server_properties: equal ones are held once, others apart, and each as long as it is used.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/server_properties.h"
#include "base/alloc.h"
#include "base/compare.h"

static mr_table *told(const char *version)
{
	mr_table *table = mr_table_new();
	assert_non_null(table);
	assert_int_equal(mr_table_add_string(table, "product", mr_slice_str("RabbitMQ")), MR_OK);
	assert_int_equal(mr_table_add_string(table, "version", mr_slice_str(version)), MR_OK);
	return table;
}

static void test_a_thousand_equal_ones_take_the_memory_of_one(void **state)
{
	struct mr_node list;
	struct mr_server_properties *all[1000];
	(void)state;
	mr_list_init(&list);
	all[0] = mr_server_properties_share(&list, told("3.10.8"));
	assert_non_null(all[0]);
	long one = mr_alloc_live();
	for (size_t i = 1; i < 1000; i++) {
		all[i] = mr_server_properties_share(&list, told("3.10.8"));
		assert_ptr_equal(all[i], all[0]);
	}
	assert_int_equal(mr_alloc_live(), one);
	for (size_t i = 0; i < 999; i++) mr_server_properties_release(all[i]);
	mr_table *table = told("3.10.8");
	assert_true(mr_table_same(all[999]->table, table));
	mr_table_free(table);
	mr_server_properties_release(all[999]);
	assert_true(mr_list_is_empty(&list));
	assert_true(mr_alloc_live() < one);
}

static void test_other_ones_are_held_apart(void **state)
{
	struct mr_node list;
	(void)state;
	mr_list_init(&list);
	struct mr_server_properties *a = mr_server_properties_share(&list, told("3.10.8"));
	struct mr_server_properties *b = mr_server_properties_share(&list, told("3.13.0"));
	assert_ptr_not_equal(a, b);
	mr_server_properties_release(a);
	mr_bytes version = mr_table_find(b->table, "version")->as.bytes;
	assert_memory_equal(version.data, "3.13.0", 6);
	mr_server_properties_release(b);
	assert_null(mr_server_properties_share(&list, NULL));
	mr_server_properties_release(NULL);
	assert_true(mr_list_is_empty(&list));
}

/* What one connection was told is not what another one shows. */
static void assert_apart(mr_table *first, mr_table *second)
{
	struct mr_node list;
	mr_list_init(&list);
	struct mr_server_properties *a = mr_server_properties_share(&list, first);
	struct mr_server_properties *b = mr_server_properties_share(&list, second);
	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	mr_server_properties_release(a);
	mr_server_properties_release(b);
}

static mr_table *with(const char *key, mr_value v)
{
	mr_table *table = mr_table_new();
	assert_int_equal(mr_table_add(table, "a", 1, &(mr_value){.type = 'V'}), MR_OK);
	mr_table *nested = mr_table_nest(table, "capabilities", 12, 'F');
	assert_non_null(nested);
	assert_int_equal(mr_table_add(nested, key, 1, &v), MR_OK);
	return table;
}

static void test_those_that_only_seem_equal_are_held_apart(void **state)
{
	(void)state;
	mr_value whole = {.type = 'l', .as.integer = 1}, real = {.type = 'd', .as.real = 1};
	mr_value small = {.type = 'I', .as.integer = 1};
	mr_value text = {.type = 'S', .as.bytes = {"1", 1}},
		 bytes = {.type = 'x', .as.bytes = {"1", 1}};
	assert_apart(with("b", whole), with("b", real));
	assert_apart(with("b", whole), with("b", small));
	assert_apart(with("b", text), with("b", bytes));
	assert_apart(with("b", whole), with("c", whole));
	mr_table *twice = mr_table_new(), *once = mr_table_new();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(mr_table_add(twice, "a", 1, &whole), MR_OK);
		assert_int_equal(mr_table_add(once, i ? "b" : "a", 1, &whole), MR_OK);
	}
	assert_apart(twice, once);
}

static void test_with_little_memory_they_are_held_as_they_came(void **state)
{
	struct mr_node list;
	(void)state;
	mr_list_init(&list);
	long before = mr_alloc_live();
	for (long n = 1; n < 10; n++) {
		mr_table *table = told("3.10.8");
		mr_alloc_fail_nth(n);
		struct mr_server_properties *p = mr_server_properties_share(&list, table);
		mr_alloc_fail_nth(0);
		assert_int_equal(p != NULL, n > 1); /* 1: for the entry of the list itself */
		if (p) assert_int_equal(p->table->count, 2);
		mr_server_properties_release(p);
		assert_true(mr_list_is_empty(&list));
		assert_int_equal(mr_alloc_live(), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_thousand_equal_ones_take_the_memory_of_one),
		cmocka_unit_test(test_other_ones_are_held_apart),
		cmocka_unit_test(test_those_that_only_seem_equal_are_held_apart),
		cmocka_unit_test(test_with_little_memory_they_are_held_as_they_came),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
