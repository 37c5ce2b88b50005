/* lead: whether a host that waits runs the I/O loop itself (bridge/helm.h).
 * SPDX-License-Identifier: MIT */
#include "api/lead.h"

#define QUICK 500       /* us: an answer that comes sooner is a quick one */
#define QUICK_ONES 3    /* in a row, before it asks for the helm */
#define FEW_COMMANDS 16 /* between two polls: of a host that does one thing after the other */
#define SLEEP 0.001     /* s: a host that waits longer leaves the loop to the I/O thread */
#define LEAST 500       /* us: a shorter wait would last longer, as the loop sleeps for whole ms */

static bool is_quick(const mr_runtime *rt, uint64_t began, int n)
{
	uint64_t quick = QUICK * (uint64_t)mr_helm_patience(&rt->bridge.helm);
	return n > 0 && rt->sent <= FEW_COMMANDS && mr_clock_us() - began < quick;
}

/* A host with a loop of its own sleeps there. */
static bool wants_helm(const mr_runtime *rt) { return rt->quick >= QUICK_ONES && !rt->is_watched; }

void mr_lead_expect(mr_runtime *rt)
{
	if (wants_helm(rt)) mr_signals_hold(&rt->bridge.signals);
}

void mr_lead_judge(mr_runtime *rt, uint64_t began, int n)
{
	rt->quick = is_quick(rt, began, n) ? rt->quick + 1 : 0;
	rt->sent = 0;
	if (wants_helm(rt)) mr_helm_ask(&rt->bridge.helm);
}

bool mr_lead_begin(mr_runtime *rt, int64_t until)
{
	if (until - mr_clock_real_us() < LEAST || !mr_helm_take(&rt->bridge.helm)) return false;
	mr_signals_hold(&rt->bridge.signals);
	return true;
}

bool mr_lead_turn(mr_runtime *rt)
{
	atomic_store_explicit(&rt->bridge.host_waits, true, memory_order_relaxed);
	enum mr_lead how = mr_engine_lead(rt->engine, SLEEP * mr_helm_patience(&rt->bridge.helm));
	atomic_store_explicit(&rt->bridge.host_waits, false, memory_order_relaxed);
	if (how == MR_LEAD_STOPPED) mr_helm_give_back(&rt->bridge.helm);
	return how == MR_LEAD_INTERRUPTED;
}

void mr_lead_end(mr_runtime *rt, uint64_t began, int n)
{
	bool was_quick = is_quick(rt, began, n);
	rt->sent = 0;
	if (was_quick) {
		mr_helm_leave(&rt->bridge.helm);
		return;
	}
	rt->quick = 0;
	mr_helm_give_back(&rt->bridge.helm);
}
