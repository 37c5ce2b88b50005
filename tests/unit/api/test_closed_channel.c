/* test_closed_channel: channels that the broker closes, in the log of a C host.
 * Feature: a channel's end, from the broker's close to the log
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <unistd.h>

#include "host_bench.h"

static char path[] = "/tmp/moonrabbit-log-XXXXXX";
static int standard_error;

/* The log goes to standard error: a file stands there from before the runtime begins. */
static void catch_log(void)
{
	strcpy(path + sizeof path - 7, "XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	standard_error = dup(2);
	dup2(fd, 2);
	close(fd);
}

static const char *caught_log(void)
{
	static char text[8192];
	dup2(standard_error, 2);
	close(standard_error);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	unlink(path);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void has(const char *log, const char *part)
{
	if (!strstr(log, part)) fail_msg("%s is missing in: %s", part, log);
}

/* FIELD-W6 */
static void test_a_publish_without_confirms_to_no_exchange_is_told_of(void **state)
{
	struct host h;
	uint64_t number;
	(void)state;
	catch_log();
	begin(&h, "memory://closed-channel", -1);
	mr_runtime_log(h.rt, MR_LOG_WARN, MR_LOG_LOGFMT);
	assert_int_equal(
		mr_channel_publish(h.ch, "nowhere", 7, "k", 1, "x", 1, NULL, 0, 0, 0, &number),
		MR_OK);
	assert_non_null(wait_for(&h, 0, MR_EV_CHANNEL, -1, 0));
	end(&h);
	const char *log = caught_log();
	has(log, "level=error msg=\"the broker closed a channel\"");
	has(log, "exchange=nowhere kind=not_found code=404");
	has(log, "hint=");
}

/* FIELD-W6 */
static void test_a_consumer_s_channel_is_told_of_with_its_queue(void **state)
{
	struct host h;
	uint64_t number;
	(void)state;
	catch_log();
	begin(&h, "memory://closed-channel", -1);
	mr_runtime_log(h.rt, MR_LOG_WARN, MR_LOG_LOGFMT);
	declare(&h, "work", MR_EXCLUSIVE);
	assert_int_equal(request(&h, MR_BASIC_CONSUME, "work", 0, 7), MR_OK);
	assert_int_equal(
		mr_channel_publish(h.ch, "nowhere", 7, "k", 1, "x", 1, NULL, 0, 0, 0, &number),
		MR_OK);
	assert_non_null(wait_for(&h, 0, MR_EV_CHANNEL, -1, 0));
	end(&h);
	has(caught_log(), "queue=work kind=not_found");
}

/* FIELD-W6: no is an answer to who asks whether something is there. */
static void test_a_passive_declare_that_is_refused_is_no_fault(void **state)
{
	struct host h;
	(void)state;
	catch_log();
	begin(&h, "memory://closed-channel", -1);
	mr_runtime_log(h.rt, MR_LOG_WARN, MR_LOG_LOGFMT);
	assert_int_equal(request(&h, MR_QUEUE_DECLARE, "none", MR_PASSIVE, 0), MR_NOT_FOUND);
	assert_non_null(wait_for(&h, 0, MR_EV_CHANNEL, 1, 0));
	end(&h);
	assert_null(strstr(caught_log(), "closed a channel"));
}

/* FIELD-W7 */
static void test_a_consumer_timeout_has_a_hint_of_its_own(void **state)
{
	mr_error error = {.kind = MR_PRECONDITION_FAILED, .code = 406};
	(void)state;
	assert_string_equal(mr_error_hint(&error), mr_status_hint(MR_PRECONDITION_FAILED));
	strcpy(error.text, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. "
			   "Timeout value used: 1000 ms.");
	has(mr_error_hint(&error), "consumer_timeout");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_publish_without_confirms_to_no_exchange_is_told_of),
		cmocka_unit_test(test_a_consumer_s_channel_is_told_of_with_its_queue),
		cmocka_unit_test(test_a_passive_declare_that_is_refused_is_no_fault),
		cmocka_unit_test(test_a_consumer_timeout_has_a_hint_of_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
