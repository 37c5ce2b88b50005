/* test_redact: the passwords of URLs within a text. tests/spec/base/redact_spec.lua has the same samples.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/redact.h"

static void check(const char *text, const char *expected)
{
	char out[200];
	size_t size = mr_redact(out, sizeof out, text, strlen(text));
	assert_int_equal(size, strlen(expected));
	assert_memory_equal(out, expected, size);
}

static void hides_what_is_a_password(void **state)
{
	(void)state;
	check("cannot reach amqp://u:hunter2@h/", "cannot reach amqp://u:***@h/");
	check("amqp://u:p/w@x@h/v, amqp://h:5672/v", "amqp://u:***@h/v, amqp://h:5672/v");
	check("url=\"amqps://u:secret@h:5671\" then amqp://:x@h",
		"url=\"amqps://u:***@h:5671\" then amqp://:***@h");
	check("'http://a:b@c' 'http://d:e@f'", "'http://a:***@c' 'http://d:***@f'");
	check("a://://u:x@h", "a://:***@h");
	check("amqp://u:@h", "amqp://u:***@h");
	check("amqp://h?password=x&a=b, y", "amqp://h?password=***&a=b, y");
	check("sentinel://:hop@h:1,i:2/0?x=y&sentinel_password=skip;z=1 password=2",
		"sentinel://:***@h:1,i:2/0?x=y&sentinel_password=***;z=1 password=2");
	check("sentinel://h:1?sentinel_password=a@b&x=y", "sentinel://h:***&x=y");
	check("sentinel://h:1?sentinel_password=a&x=c@d", "sentinel://h:***@d");
	check("x://a:1;x_password=a;y://b:2;password=c",
		"x://a:1;x_password=***;y://b:2;password=***");
}

static void leaves_other_text(void **state)
{
	static const char *const same[] = {"", "://", "amqp://h", "amqp://u@h", "amqp://h:5672/v",
		"amqp://h/a:b@c", "u:p@h", "amqp://h:5672 mail me@home", "amqp://\"u:p@h"};
	(void)state;
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) check(same[i], same[i]);
}

static void writes_no_more_than_there_is_room(void **state)
{
	static const char text[] = "amqp://u:hunter2@host";
	char out[12];
	(void)state;
	memset(out, 'x', sizeof out);
	assert_int_equal(mr_redact(out, 11, text, strlen(text)), strlen("amqp://u:***@host"));
	assert_memory_equal(out, "amqp://u:**x", 12);
	assert_int_equal(mr_redact(NULL, 0, text, strlen(text)), strlen("amqp://u:***@host"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_what_is_a_password),
		cmocka_unit_test(leaves_other_text),
		cmocka_unit_test(writes_no_more_than_there_is_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
