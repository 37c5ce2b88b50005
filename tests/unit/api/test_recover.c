/* test_recover: which deliveries a C host may settle after basic.recover, whatever becomes of it (FIELD R23).
 * Covers: runtime/api/settle.c by mr_delivery_settle
 * SPDX-License-Identifier: MIT */
#include <stdatomic.h>

#include "amqp/pending.h"
#include "host_bench.h"
#include "moonrabbit_testing.h"

/* ---- an allocator that has no room for so many requests ---- */

static atomic_int failures;

static void *resize(void *p, size_t size)
{
	bool may_fail = size == sizeof(struct mr_pending);
	if (may_fail && atomic_load(&failures) > 0 && atomic_fetch_sub(&failures, 1) > 0)
		return NULL;
	return realloc(p, size);
}

/* ---- a host ---- */

static void ask(struct host *h, int operation, double timeout)
{
	mr_request r = {.operation = operation,
		.name = mr_slice_str("recover"),
		.timeout = timeout};
	if (operation == MR_BASIC_RECOVER) r.flags = MR_REQUEUE;
	assert_int_equal(mr_channel_request(h->ch, ++h->tokens, &r), MR_OK);
}

/* Gets the message, and says whether it may be settled. */
static int settle_next(struct host *h)
{
	double deadline = mr_now() + PATIENCE;
	ask(h, MR_BASIC_GET, PATIENCE);
	while (mr_now() < deadline) {
		mr_event ev;
		if (mr_runtime_poll(h->rt, &ev, 1, 0.5) != 1) continue;
		bool is_it = ev.type == MR_EV_DONE && ev.as.done.token == h->tokens;
		if (!is_it) {
			keep(h, &ev);
			continue;
		}
		assert_int_equal(ev.status, MR_OK);
		int st = mr_delivery_settle(h->rt, ev.as.done.reply->delivery, MR_NACK,
			MR_SETTLE_REQUEUE | MR_SETTLE_RELEASE);
		mr_event_fini(&ev);
		return st;
	}
	return MR_TIMEOUT;
}

static void begin_with_message(struct host *h)
{
	uint64_t number;
	begin(h, "memory://recover", -1);
	declare(h, "recover", MR_EXCLUSIVE);
	assert_int_equal(
		mr_channel_publish(h->ch, "", 0, "recover", 7, "x", 1, NULL, 0, 0, 0, &number),
		MR_OK);
	assert_int_equal(settle_next(h), MR_OK);
}

/* FIELD-R23 */
static void test_recovers_that_were_not_sent_leave_nothing_behind(void **state)
{
	(void)state;
	for (int failing = 0; failing <= 3; failing++) {
		struct host h;
		int first;
		begin_with_message(&h);
		first = (int)h.tokens + 1;
		atomic_store(&failures, failing);
		for (int n = 0; n < 3; n++) ask(&h, MR_BASIC_RECOVER, PATIENCE);
		for (int n = 0; n < 3; n++)
			assert_int_equal(done(&h, (uint64_t)(first + n)),
				n < failing ? MR_NO_MEMORY : MR_OK);
		atomic_store(&failures, 0);
		assert_int_equal(settle_next(&h), MR_OK);
		end(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recovers_that_were_not_sent_leave_nothing_behind),
	};
	mr_set_allocator(resize, free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
