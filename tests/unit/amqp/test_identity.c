/* test_identity: what a returned publish is known by: every byte of it, and what the broker changes left out.
 * Covers: runtime/base/hash.c by mr_hash
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "amqp/identity.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "codec/properties.h"

static struct mr_buffer encoded(const char *bcc, const char *reply_to, const char *id)
{
	struct mr_buffer out = {0};
	mr_properties p = {.flags = MR_HAS_HEADERS, .headers = mr_table_new()};
	mr_value v = {.type = 'S', .as.bytes = {id, strlen(id)}};
	assert_int_equal(mr_table_add(p.headers, "id", 2, &v), MR_OK);
	if (bcc) {
		mr_table *list = mr_table_nest(p.headers, "BCC", 3, 'A');
		v.as.bytes = (mr_bytes){bcc, strlen(bcc)};
		assert_int_equal(mr_table_add(list, "", 0, &v), MR_OK);
	}
	if (reply_to) {
		p.flags |= MR_HAS_REPLY_TO;
		p.reply_to = (mr_bytes){reply_to, strlen(reply_to)};
	}
	assert_int_equal(mr_properties_put(&out, &p, NULL), MR_OK);
	mr_table_free(p.headers);
	return out;
}

static struct mr_identity identity(bool is_back, struct mr_buffer properties)
{
	mr_slice p =
		mr_slice_of((const char *)mr_buffer_data(&properties), mr_buffer_size(&properties));
	mr_slice name = mr_slice_str("x");
	struct mr_identity id = is_back ? mr_identity_returned(name, name, p, name)
	                                : mr_identity_of(name, name, p, name);
	mr_buffer_fini(&properties);
	return id;
}

/* FIELD-W1: BCC is gone when it comes back, a direct reply-to has another name; the rest counts. */
static void test_what_the_broker_changes_does_not_count(void **state)
{
	(void)state;
	struct mr_identity plain = identity(true, encoded(NULL, NULL, "1"));
	struct mr_identity bcc = identity(false, encoded("q", NULL, "1"));
	struct mr_identity other = identity(false, encoded("q", NULL, "2"));
	struct mr_identity asked = identity(false, encoded(NULL, "amq.rabbitmq.reply-to", "1"));
	struct mr_identity answered =
		identity(true, encoded(NULL, "amq.rabbitmq.reply-to.g1h2AA.abc==", "1"));
	assert_true(bcc.changes && asked.changes);
	assert_true(bcc.lasting == plain.lasting && bcc.content == plain.content);
	assert_true(other.lasting != plain.lasting);
	assert_true(asked.lasting == answered.lasting);
	assert_false(identity(false, encoded(NULL, "mine", "1")).changes);
	assert_true(identity(false, encoded(NULL, "mine", "1")).properties !=
		    identity(false, encoded(NULL, "yours", "1")).properties);
}

/* FIELD-W1: each byte counts, wherever it is, and where a part ends. */
static void test_every_byte_counts(void **state)
{
	static char body[300];
	(void)state;
	for (size_t size = 0; size < sizeof body; size++) {
		uint64_t before = mr_hash(0, mr_slice_of(body, size));
		assert_true(before != mr_hash(0, mr_slice_of(body, size + 1)));
		for (size_t i = 0; i < size; i++) {
			body[i] ^= 0x40;
			assert_true(before != mr_hash(0, mr_slice_of(body, size)));
			body[i] ^= 0x40;
		}
	}
	assert_true(mr_hash(mr_hash(0, mr_slice_str("ab")), mr_slice_str("c")) !=
		    mr_hash(mr_hash(0, mr_slice_str("a")), mr_slice_str("bc")));
}

static void test_a_lack_of_memory_is_survived(void **state)
{
	(void)state;
	for (long n = 1; n < 20; n++) {
		struct mr_buffer properties = encoded("q", "amq.rabbitmq.reply-to", "1");
		mr_alloc_fail_nth(n);
		struct mr_identity id = identity(false, properties);
		mr_alloc_fail_nth(0);
		assert_true(id.changes && id.content);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_broker_changes_does_not_count),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_a_lack_of_memory_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
