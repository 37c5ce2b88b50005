/* core: what one message costs the pure core, counted by callgrind (tests/instructions/run.sh).
 * SPDX-License-Identifier: MIT
 * Called as `instructions KIND`. Only what `measured` calls is counted: its input is the same in each
 * run, so the count is, too. Prints the allocations of the measured part. */
#include <stdio.h>

#include "../unit/amqp/session_bench.h"
#include "health/stall.h"
#include "link/plan.h"
#include "moonrabbit_testing.h"

#define COUNT 1000

static struct bench b;
static struct mr_topology topology;
static struct mr_plan plan;
static struct mr_bridge bridge;
static struct mr_stall stall;
static char body[101];
static long allocations;

static void *resize(void *p, size_t size)
{
	allocations++;
	return realloc(p, size);
}

static void keep_nothing(void *owner, const mr_event *event)
{
	mr_event ev = *event;
	(void)owner;
	if (ev.type == MR_EV_DELIVERY) mr_delivery_give(b.options.pool, ev.as.delivery);
	mr_event_fini(&ev);
}

/* ---- what is measured ---- */

static void feed_all(void) { feed(&b, 3); }

static void settle_all(void)
{
	for (uint64_t tag = 1; tag <= COUNT; tag++) mr_session_settle(b.s, 1, 1, tag, MR_ACK, 0);
	mr_session_flush(b.s);
}

static void publish_all(void)
{
	struct mr_publish p = {.properties = {"\x10\x00\x02", 3},
		.routing_key = {"orders", 6},
		.body = {body, 100},
		.epoch = 1,
		.deadline = 9000};
	for (p.number = 1; p.number <= COUNT; p.number++) {
		mr_session_publish(b.s, 1, &p);
		mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	}
}

static void plan_all(void)
{
	struct mr_track *track;
	if (!mr_plan_all(&plan, &topology, true)) exit(1);
	while ((track = mr_plan_next_track(&plan, NULL))) {
		while (mr_plan_step(track)) {
			if (!mr_plan_is_ready(&plan, &topology, track)) exit(1);
			mr_plan_next(&plan, &topology, track);
		}
		mr_plan_end_track(&plan, track);
	}
}

/* The watchdog hears of each consumer. */
static void tell_watchdog(void)
{
	for (uint32_t n = 1; n <= COUNT; n++) {
		struct mr_note *note = mr_calloc(1, sizeof *note);
		note->limit = 1000;
		mr_stall_note(&stall, n, note);
	}
}

static __attribute__((noinline)) void measured(void (*work)(void))
{
	work();
	__asm__ volatile(""); /* not a tail call: callgrind would not see its end */
}

/* ---- before that ---- */

static void open_consumer(void)
{
	ready(&b);
	b.options.emit = keep_nothing;
	ask(&b, 5, MR_BASIC_CONSUME, 9);
	say(&b, 1, (struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str("tag")});
	feed(&b, 3);
	for (uint64_t tag = 1; tag <= COUNT; tag++) deliver(&b, tag, body);
}

/* A thousand consumers of one channel, and a message for each. */
static void open_consumers(void)
{
	char tag[16];
	ready(&b);
	b.options.emit = keep_nothing;
	for (uint32_t n = 1; n <= COUNT; n++) {
		snprintf(tag, sizeof tag, "tag-%u", n);
		ask(&b, n, MR_BASIC_CONSUME, n);
		say(&b, 1,
			(struct mr_method){.id = MR_M_BASIC_CONSUME_OK, .name = mr_slice_str(tag)});
		feed(&b, 3);
		mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
	}
	for (uint32_t n = 1; n <= COUNT; n++) {
		snprintf(tag, sizeof tag, "tag-%u", n);
		deliver_for(&b, tag, n, mr_slice_str(body));
	}
}

static void open_publisher(void)
{
	ready(&b);
	b.options.emit = keep_nothing;
	ask(&b, 6, MR_CONFIRM_SELECT, 0);
	say(&b, 1, (struct mr_method){.id = MR_M_CONFIRM_SELECT_OK});
	feed(&b, 3);
	mr_outbox_consume(mr_session_output(b.s), SIZE_MAX);
}

/* A thousand queues, each bound and with a consumer. */
static void note_topology(void)
{
	mr_plan_init(&plan);
	mr_topology_init(&topology);
	if (mr_topology_channel(&topology, 1, 11) != MR_OK) exit(1);
	for (uint32_t n = 1; n <= COUNT; n++) {
		char name[16];
		snprintf(name, sizeof name, "queue-%u", n);
		mr_request r = {.operation = MR_QUEUE_DECLARE, .name = mr_slice_str(name)};
		mr_topology_note(&topology, 1, &r, r.name);
		r.operation = MR_QUEUE_BIND;
		r.extra = mr_slice_str("amq.topic");
		mr_topology_note(&topology, 1, &r, mr_slice_of("", 0));
		r.operation = MR_BASIC_CONSUME;
		r.extra = r.name;
		r.number = n;
		mr_topology_note(&topology, 1, &r, r.extra);
	}
}

static void open_and_deliver(void)
{
	open_consumer();
	feed_all();
}

static void open_and_publish(void)
{
	open_publisher();
	publish_all();
	for (uint64_t tag = 1; tag <= COUNT; tag++)
		say(&b, 1, (struct mr_method){.id = MR_M_BASIC_ACK, .tag = tag});
}

static void open_watchdog(void) { mr_stall_init(&stall, mr_ev_open(), &bridge, NULL); }

static void nothing(void) {}

static const struct {
	const char *name;
	void (*prepare)(void), (*work)(void);
} kinds[] = {
	{"consume", open_consumer, feed_all},
	{"consumers", open_consumers, feed_all},
	{"settle", open_and_deliver, settle_all},
	{"publish", open_publisher, publish_all},
	{"confirm", open_and_publish, feed_all},
	{"note", nothing, note_topology},
	{"recover", note_topology, plan_all},
	{"watch", open_watchdog, tell_watchdog},
};

int main(int argc, char **argv)
{
	mr_set_allocator(resize, free);
	memset(body, 'x', 100);
	for (size_t i = 0; argc == 2 && i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(argv[1], kinds[i].name) != 0) continue;
		kinds[i].prepare();
		allocations = 0;
		measured(kinds[i].work);
		printf("allocations %ld\n", allocations);
		return 0;
	}
	fputs("usage: instructions consume|consumers|settle|publish|confirm|note|recover|watch\n",
		stderr);
	return 2;
}
