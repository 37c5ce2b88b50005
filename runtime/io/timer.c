/* timer: deadlines on the library's clock, which tests can advance.
 * SPDX-License-Identifier: MIT */
#include "io/timer.h"

void mr_timers_init(struct mr_timers *all, struct ev_loop *loop)
{
	all->loop = loop;
	mr_list_init(&all->armed);
}

void mr_timer_init(struct mr_timer *t, struct mr_timers *all, mr_timer_fired *fired, void *owner)
{
	*t = (struct mr_timer){.all = all, .at = MR_NEVER};
	ev_init(&t->ev, fired);
	t->ev.data = owner;
}

void mr_timer_stop(struct mr_timer *t)
{
	if (!t->all) return;
	mr_list_remove(&t->node);
	ev_timer_stop(t->all->loop, &t->ev);
	t->at = MR_NEVER;
}

static void start(struct mr_timer *t)
{
	mr_msec in = t->at - mr_clock_now();
	ev_now_update(t->all->loop);
	ev_timer_set(&t->ev, in > 0 ? (double)in / 1000 : 0, 0);
	ev_timer_start(t->all->loop, &t->ev);
}

void mr_timer_arm(struct mr_timer *t, mr_msec at)
{
	mr_timer_stop(t);
	if (at == MR_NEVER) return;
	t->at = at;
	mr_list_append(&t->all->armed, &t->node);
	start(t);
}

void mr_timers_clock_moved(struct mr_timers *all)
{
	for (struct mr_node *n = all->armed.next; n != &all->armed; n = n->next) {
		struct mr_timer *t = mr_container(n, struct mr_timer, node);
		if (!ev_is_active(&t->ev)) continue; /* it has fired and has not been armed again */
		ev_timer_stop(all->loop, &t->ev);
		start(t);
	}
}
