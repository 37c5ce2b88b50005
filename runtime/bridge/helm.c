/* helm: which thread runs the I/O loop: the I/O thread, or a host that waits for an answer.
 * SPDX-License-Identifier: MIT */
#include "bridge/helm.h"

#include <poll.h>
#include <stdbool.h>
#include <time.h>

enum { OURS, AWAY, HOSTED }; /* the I/O thread's; the host's, which is elsewhere, or in the loop */

enum mr_status mr_helm_open(struct mr_helm *helm, mr_error *error)
{
	atomic_init(&helm->state, OURS);
	atomic_init(&helm->is_asked_for, false);
	atomic_init(&helm->voyages, 0);
	atomic_init(&helm->patience, 1);
	return mr_wake_open(&helm->back, error);
}

void mr_helm_close(struct mr_helm *helm) { mr_wake_close(&helm->back); }

unsigned mr_helm_patience(const struct mr_helm *helm)
{
	return atomic_load_explicit(&helm->patience, memory_order_relaxed);
}

void mr_helm_set_patience(struct mr_helm *helm, unsigned patience)
{
	atomic_store_explicit(&helm->patience, patience, memory_order_relaxed);
}

/* ---- I/O thread ---- */

bool mr_helm_is_asked_for(const struct mr_helm *helm)
{
	return atomic_load_explicit(&helm->is_asked_for, memory_order_relaxed);
}

void mr_helm_hand_over(struct mr_helm *helm)
{
	atomic_store_explicit(&helm->is_asked_for, false, memory_order_relaxed);
	atomic_store(&helm->state, AWAY);
}

static bool change(struct mr_helm *helm, int from, int to)
{
	return atomic_compare_exchange_strong_explicit(&helm->state, &from, to,
		memory_order_acq_rel, memory_order_acquire);
}

static bool is_ours(const struct mr_helm *helm)
{
	return atomic_load_explicit(&helm->state, memory_order_acquire) == OURS;
}

/* True: the host has given it back; or it had, before. */
static bool sleep_for(struct mr_helm *helm, long us)
{
	struct pollfd given = {.fd = helm->back.fd, .events = POLLIN};
	long ns = us * 1000 * (long)mr_helm_patience(helm);
	struct timespec tick = {ns / 1000000000, ns % 1000000000};
	mr_wake_prepare(&helm->back);
	bool is_told = is_ours(helm) || ppoll(&given, 1, &tick, NULL) > 0;
	mr_wake_cancel(&helm->back);
	if (is_told) mr_wake_clear(&helm->back);
	return is_told;
}

void mr_helm_wait(struct mr_helm *helm)
{
	unsigned seen = atomic_load_explicit(&helm->voyages, memory_order_relaxed);
	long us = MR_HELM_TICK;
	for (;;) {
		bool is_told = sleep_for(helm, us);
		if (is_ours(helm)) return;
		if (is_told) continue; /* no tick has passed */
		unsigned voyages = atomic_load_explicit(&helm->voyages, memory_order_relaxed);
		if (voyages == seen && change(helm, AWAY, OURS)) return;
		us = voyages == seen ? MR_HELM_TICK : MR_HELM_TICK_LONG;
		seen = voyages;
	}
}

/* ---- host ---- */

void mr_helm_ask(struct mr_helm *helm)
{
	atomic_store_explicit(&helm->is_asked_for, true, memory_order_relaxed);
}

bool mr_helm_take(struct mr_helm *helm)
{
	if (atomic_load_explicit(&helm->state, memory_order_relaxed) != AWAY) return false;
	if (!change(helm, AWAY, HOSTED)) return false;
	atomic_fetch_add_explicit(&helm->voyages, 1, memory_order_relaxed);
	return true;
}

bool mr_helm_is_here(const struct mr_helm *helm) { return atomic_load(&helm->state) == AWAY; }

void mr_helm_show(struct mr_helm *helm)
{
	atomic_fetch_add_explicit(&helm->voyages, 1, memory_order_relaxed);
}

void mr_helm_leave(struct mr_helm *helm) { change(helm, HOSTED, AWAY); }

void mr_helm_give_back(struct mr_helm *helm)
{
	atomic_store_explicit(&helm->is_asked_for, false, memory_order_relaxed);
	if (!change(helm, AWAY, OURS) && !change(helm, HOSTED, OURS)) return;
	mr_wake_signal(&helm->back);
}
