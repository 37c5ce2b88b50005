/* bulletin: writes on the board of a gateway what happens between it and its Redis.
 * SPDX-License-Identifier: MIT */
#include "broker/server/bulletin.h"

#include <stdio.h>
#include <string.h>

#include "base/value.h"
#include "broker/client/session.h"

#define REASONS_TIME 10000 /* ms */
#define REASONS_MOST 10    /* in that time */

static void fill(char *out, size_t size, mr_slice text)
{
	snprintf(out, size, "%.*s", (int)text.size, text.size ? text.data : "");
}

static struct mr_notice notice(const struct mr_bulletin *b, enum mr_notice_what what,
	const mr_error *why)
{
	struct mr_notice n = {.what = what, .at = mr_clock_now()};
	memcpy(n.server, b->state.server, sizeof n.server);
	if (!why) return n;
	n.kind = why->kind;
	fill(n.text, sizeof n.text, mr_slice_str(why->text));
	return n;
}

static void state(struct mr_bulletin *b, const struct mr_notice *n)
{
	b->state = *n;
	mr_notices_post(b->board, n);
}

/* ---- there, and not ---- */

void mr_bulletin_up(struct mr_bulletin *b, const struct mr_redis_store *r)
{
	struct mr_redis_view view;
	char place[MR_FIGURES_PLACE];
	mr_view_take(r, &view);
	mr_view_place(r, place);
	bool has_moved = *b->place && strcmp(b->place, place) != 0;
	struct mr_notice n = notice(b,
		!*b->place  ? MR_NOTICE_REACHED
		: has_moved ? MR_NOTICE_MOVED
			    : MR_NOTICE_BACK,
		NULL);
	if (b->was_lost) n.lasted = n.at - b->was_lost;
	memcpy(n.server, place, sizeof n.server);
	fill(n.version, sizeof n.version, mr_slice_str(view.version));
	fill(n.role, sizeof n.role, mr_slice_str(view.role));
	if (has_moved) memcpy(n.was, b->place, sizeof n.was);
	memcpy(b->place, place, sizeof b->place);
	b->was_lost = b->deaf_since = b->blocked_since = 0;
	state(b, &n);
}

void mr_bulletin_down(struct mr_bulletin *b, const struct mr_redis_store *r, const mr_error *why)
{
	struct mr_notice n = notice(b, *b->place ? MR_NOTICE_LOST : MR_NOTICE_NOT_REACHED, why);
	if (n.what == MR_NOTICE_NOT_REACHED) mr_view_place(r, n.server);
	if (b->state.what != n.what) {
		n.count = b->waiting;
		b->losses += n.what == MR_NOTICE_LOST;
		b->was_lost = n.what == MR_NOTICE_LOST ? n.at : 0;
		state(b, &n);
	} else {
		bool is_new = n.kind != b->state.kind && n.what == MR_NOTICE_NOT_REACHED;
		n.at = b->state.at;
		b->state = n;
		if (is_new)
			mr_notices_post(b->board, &n);
		else
			mr_notices_restate(b->board, &n);
	}
	mr_notices_count(b->board, MR_NOTICES_FETCHED, 0);
	mr_notices_count(b->board, MR_NOTICES_UNACKED, 0);
}

/* ---- what it does not take ---- */

void mr_bulletin_blocked(struct mr_bulletin *b, const struct mr_broker *broker)
{
	mr_error slow = {.kind = MR_RESOURCE_ERROR, .text = "Redis takes less than is published"};
	bool is_blocked = broker->refusal.kind || broker->is_congested;
	if (is_blocked == (b->blocked_since != 0) || !mr_notices_is_up(&b->state)) return;
	struct mr_notice n = notice(b, is_blocked ? MR_NOTICE_BLOCKED : MR_NOTICE_UNBLOCKED,
		!is_blocked            ? NULL
		: broker->refusal.kind ? &broker->refusal
				       : &slow);
	if (!is_blocked) n.lasted = n.at - b->blocked_since;
	b->blocked_since = is_blocked ? n.at : 0;
	mr_notices_post(b->board, &n);
}

static mr_slice client_of(const struct mr_pledge *p)
{
	const mr_table *t = p->channel ? p->channel->session->client_properties : NULL;
	const mr_value *name = t ? mr_table_find(t, "connection_name") : NULL;
	return name && name->type == 'S' ? name->as.bytes : (mr_slice){0};
}

/* Two reasons that take turns, or one that names another header each time, must not fill the log. */
static bool is_told_often(struct mr_bulletin *b, mr_msec now)
{
	if (now - b->since > REASONS_TIME) b->reasons = 0;
	if (!b->reasons) b->since = now;
	return ++b->reasons > REASONS_MOST;
}

/* Of many for one reason the first is told, then the second, the fourth, and so on. */
void mr_bulletin_refused(struct mr_bulletin *b, const struct mr_pledge *p)
{
	struct mr_notice n = notice(b, MR_NOTICE_REFUSED, &p->promise.error);
	b->refused++;
	if (strcmp(b->reason, n.text) != 0) {
		if (is_told_often(b, n.at)) return;
		memcpy(b->reason, n.text, sizeof b->reason);
		b->alike = 0;
	}
	n.count = ++b->alike;
	if (n.count & (n.count - 1)) return;
	fill(n.exchange, sizeof n.exchange, mr_message_exchange(p->message));
	fill(n.key, sizeof n.key, mr_message_key(p->message));
	fill(n.client, sizeof n.client, client_of(p));
	mr_notices_post(b->board, &n);
}

/* ---- now and then ---- */

/* It is back within moments, or this is not worth a line: when the whole Redis is lost, the first connection says so. */
static void look_at_second(struct mr_bulletin *b, const mr_error *deaf)
{
	if ((deaf != NULL) == (b->deaf_since != 0)) return;
	struct mr_notice n = notice(b, deaf ? MR_NOTICE_DEAF : MR_NOTICE_HEARS, deaf);
	if (!deaf) n.lasted = n.at - b->deaf_since;
	b->deaf_since = deaf ? n.at : 0;
	mr_notices_post(b->board, &n);
}

void mr_bulletin_round(struct mr_bulletin *b, const struct mr_redis_store *r)
{
	struct mr_redis_view view;
	uint64_t fetched, unacked;
	mr_view_take(r, &view);
	look_at_second(b, view.deaf);
	mr_view_messages(r, &fetched, &unacked);
	mr_notices_count(b->board, MR_NOTICES_FETCHED, fetched);
	mr_notices_count(b->board, MR_NOTICES_UNACKED, unacked);
}

void mr_bulletin_flush(struct mr_bulletin *b, const struct mr_redis_store *r,
	const struct mr_broker *broker)
{
	struct mr_redis_view view;
	mr_view_take(r, &view);
	b->waiting = broker->pledged;
	mr_notices_count(b->board, MR_NOTICES_LOSSES, b->losses);
	mr_notices_count(b->board, MR_NOTICES_COMMANDS, view.commands);
	mr_notices_count(b->board, MR_NOTICES_SENT, view.sent);
	mr_notices_count(b->board, MR_NOTICES_RECEIVED, view.received);
	mr_notices_count(b->board, MR_NOTICES_ROUND_TRIP, view.round_trip);
	mr_notices_count(b->board, MR_NOTICES_WAITING, b->waiting);
	mr_notices_count(b->board, MR_NOTICES_REFUSED, b->refused);
}
