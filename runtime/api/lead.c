/* lead: whether a host that waits runs the I/O loop itself (bridge/helm.h).
 * SPDX-License-Identifier: MIT */
#include "api/lead.h"

#define QUICK 500       /* us: an answer that comes sooner is a quick one */
#define QUICK_ONES 3    /* in a row, before it asks for the helm */
#define NEAR 150        /* us from one poll to the next, of a host whose work is quick */
#define AT_ONCE_ONES 16 /* such polls in a row that had events at once, before it asks */
#define ABSENCE 1000 /* us from one poll to the next, of one that had better give the helm back */
#define SHARE 500    /* us: so often at least the loop has a turn, though there are events */
#define FEW_COMMANDS 16 /* between two polls: of a host that does one thing after the other */
#define SLEEP 0.001     /* s: a host that waits longer leaves the loop to the I/O thread */
#define LEAST 500       /* us: a shorter wait would last longer, as the loop sleeps for whole ms */

static bool is_within(const mr_runtime *rt, uint64_t began, uint64_t us)
{
	return mr_clock_us() - began < us * mr_helm_patience(&rt->bridge.helm);
}

/* A host with a loop of its own sleeps there. */
static void ask(mr_runtime *rt)
{
	if (!rt->is_watched) mr_helm_ask(&rt->bridge.helm);
}

static void begin_interval(mr_runtime *rt)
{
	rt->sent = 0;
	rt->polled_at = mr_clock_us();
}

void mr_lead_expect(mr_runtime *rt)
{
	bool has_asked = rt->quick >= QUICK_ONES || rt->at_once >= AT_ONCE_ONES;
	if (has_asked && !rt->is_watched) mr_signals_hold(&rt->bridge.signals);
}

void mr_lead_judge(mr_runtime *rt, uint64_t began, int n)
{
	bool is_quick = n > 0 && rt->sent <= FEW_COMMANDS && is_within(rt, began, QUICK);
	rt->quick = is_quick ? rt->quick + 1 : 0;
	rt->at_once = rt->asked = 0;
	begin_interval(rt);
	if (rt->quick >= QUICK_ONES) ask(rt);
}

static bool take(mr_runtime *rt)
{
	if (!mr_helm_take(&rt->bridge.helm)) return false;
	mr_signals_hold(&rt->bridge.signals);
	return true;
}

/* Once for each wait: what is left of it goes to the next turns. */
static void begin_look(mr_runtime *rt, int64_t until)
{
	int64_t left = until - mr_clock_real_us();
	rt->asked = 0;
	rt->look.left = mr_busy_poll_next(&rt->busy_poll) * mr_helm_patience(&rt->bridge.helm);
	if (left < (int64_t)rt->look.left) rt->look.left = left > 0 ? (uint64_t)left : 0;
}

bool mr_lead_begin(mr_runtime *rt, int64_t until)
{
	if (until - mr_clock_real_us() < LEAST || rt->is_watched) {
		mr_helm_give_back(&rt->bridge.helm);
		return false;
	}
	if (!take(rt)) return false;
	if (rt->asked) begin_look(rt, until);
	return true;
}

static bool turn(mr_runtime *rt, double sleep, struct mr_look *look)
{
	atomic_store_explicit(&rt->bridge.host_waits, true, memory_order_relaxed);
	rt->led_at = mr_clock_us();
	enum mr_lead how = mr_engine_lead(rt->engine, sleep, look);
	atomic_store_explicit(&rt->bridge.host_waits, false, memory_order_relaxed);
	if (how == MR_LEAD_STOPPED) mr_helm_give_back(&rt->bridge.helm);
	return how == MR_LEAD_INTERRUPTED;
}

bool mr_lead_turn(mr_runtime *rt)
{
	rt->look.outcome = MR_LOOK_NONE;
	bool is_interrupted = turn(rt, SLEEP * mr_helm_patience(&rt->bridge.helm), &rt->look);
	if (rt->look.outcome == MR_LOOK_VAIN) {
		mr_busy_poll_learn(&rt->busy_poll, false);
		rt->look.left = 0;
	}
	return is_interrupted;
}

void mr_lead_end(mr_runtime *rt, uint64_t began, int n)
{
	bool is_quick = rt->sent <= FEW_COMMANDS && is_within(rt, began, QUICK);
	if (n && rt->look.outcome == MR_LOOK_FOUND) mr_busy_poll_learn(&rt->busy_poll, true);
	begin_interval(rt);
	if (is_quick) {
		mr_helm_leave(&rt->bridge.helm);
		return;
	}
	rt->quick = rt->at_once = 0;
	mr_helm_give_back(&rt->bridge.helm);
}

/* Nobody else reads, writes and looks at deadlines meanwhile. It does not sleep: there are events. */
static void turn_in_between(mr_runtime *rt)
{
	if (!take(rt)) return;
	uint64_t began = mr_clock_us();
	turn(rt, 0, &(struct mr_look){0});
	rt->look.outcome = MR_LOOK_NONE;
	mr_lead_end(rt, began, 0);
}

static void go_on(mr_runtime *rt, bool is_few, uint64_t polled_at)
{
	if (!is_few || !is_within(rt, polled_at, ABSENCE))
		mr_helm_give_back(&rt->bridge.helm);
	else if (is_within(rt, rt->led_at, SHARE))
		mr_helm_show(&rt->bridge.helm);
	else
		turn_in_between(rt);
}

void mr_lead_at_once(mr_runtime *rt)
{
	bool is_few = rt->sent <= FEW_COMMANDS;
	uint64_t polled_at = rt->polled_at;
	bool is_near = is_few && is_within(rt, polled_at, NEAR);
	begin_interval(rt);
	rt->at_once = is_near ? rt->at_once + 1 : 0;
	if (mr_helm_is_here(&rt->bridge.helm))
		go_on(rt, is_few, polled_at);
	else if (rt->at_once >= AT_ONCE_ONES)
		ask(rt);
}

int mr_runtime_busy_poll(mr_runtime *rt, double seconds)
{
	return mr_busy_poll_tell(&rt->busy_poll, seconds) ? MR_OK : MR_BAD_ARGUMENT;
}
