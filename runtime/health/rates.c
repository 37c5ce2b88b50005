/* rates: what happened in each second of the last ten minutes, for the charts of the page for browsers.
 * SPDX-License-Identifier: MIT */
#include "health/rates.h"

#include "health/fields.h"
#include "io/services.h"

#define SECOND 1000 /* ms */

static const char *const names[MR_RATES] = {"delivered", "settled", "published", "failed",
	"retried", "dead"};

static uint64_t sum(const struct mr_health_state *h, enum mr_meter_tally tally)
{
	uint64_t all = 0;
	for (size_t i = 0; i < h->meter_count; i++) all += mr_meter_counted(h->meters[i], tally);
	return all;
}

static void count(const struct mr_health_state *h, uint64_t now[MR_RATES])
{
	const mr_stats *s = &h->services->stats;
	now[MR_RATE_DELIVERED] = s->delivered;
	now[MR_RATE_SETTLED] = s->settled;
	now[MR_RATE_PUBLISHED] = s->published;
	now[MR_RATE_FAILED] = sum(h, MR_METER_FAILURES);
	now[MR_RATE_RETRIED] = sum(h, MR_METER_RETRIES);
	now[MR_RATE_DEAD] = sum(h, MR_METER_DEAD);
}

static void on_second(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_rates *r = timer->data;
	uint64_t now[MR_RATES];
	(void)loop;
	(void)revents;
	count(r->health, now);
	for (int i = 0; i < MR_RATES; i++) {
		r->seconds[r->count % MR_RATES_SECONDS][i] = (uint32_t)(now[i] - r->last[i]);
		r->last[i] = now[i];
	}
	r->count++;
	mr_timer_arm(&r->timer, mr_clock_now() + SECOND);
}

void mr_rates_begin(struct mr_rates *r, struct mr_health_state *health)
{
	if (r->health) return;
	r->health = health;
	count(health, r->last);
	mr_timer_init(&r->timer, &health->services->timers, on_second, r);
	mr_timer_arm(&r->timer, mr_clock_now() + SECOND);
}

void mr_rates_end(struct mr_rates *r)
{
	if (r->health) mr_timer_stop(&r->timer);
	r->health = NULL;
}

void mr_rates_write(const struct mr_rates *r, uint64_t after, mr_table *page)
{
	uint64_t first = r->count > MR_RATES_SECONDS ? r->count - MR_RATES_SECONDS : 0;
	if (after > first) first = after;
	mr_table *rates = mr_fields_nest(page, "rates", 'F');
	mr_fields_count(rates, "count", r->count);
	for (int i = 0; i < MR_RATES; i++) {
		mr_table *list = mr_fields_nest(rates, names[i], 'A');
		for (uint64_t at = first; at < r->count; at++)
			mr_fields_count(list, "", r->seconds[at % MR_RATES_SECONDS][i]);
	}
}
