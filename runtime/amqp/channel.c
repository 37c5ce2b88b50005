/* channel: opens and closes the AMQP channels of a session.
 * SPDX-License-Identifier: MIT */
#include "amqp/channel.h"

#include <string.h>

#include "amqp/curb.h"
#include "base/alloc.h"

#define REFUSED_TIME 5000 /* ms for the broker to close a channel on which it broke the protocol */

static void tell_confirmed(void *owner, uint64_t first, uint64_t last, enum mr_status outcome,
	int shift)
{
	struct mr_amqp_channel *ch = owner;
	uint64_t count = last - first + 1;
	if (outcome == MR_OK) ch->outlet->options->stats->confirmed += count;
	if (outcome == MR_LOST) ch->outlet->options->stats->lost += count;
	mr_event ev = {.type = MR_EV_CONFIRM, .status = outcome};
	ev.as.confirm.first = first;
	ev.as.confirm.last = last;
	ev.as.confirm.shift = shift;
	mr_amqp_channel_emit(ch, &ev);
}

struct mr_amqp_channel *mr_amqp_channel_open(struct mr_outlet *outlet, uint16_t number,
	uint32_t epoch, uint64_t token, mr_msec deadline)
{
	struct mr_amqp_channel *ch = mr_calloc(1, sizeof *ch);
	if (!ch) return NULL;
	ch->number = number;
	ch->epoch = epoch;
	ch->outlet = outlet;
	mr_pending_init(&ch->pending, outlet, number);
	mr_confirm_init(&ch->confirm, tell_confirmed, ch);
	ch->confirm.clock = outlet->options->clock;
	ch->confirm.times = outlet->options->confirm_times;
	mr_acks_init(&ch->acks);
	struct mr_method open = {.id = MR_M_CHANNEL_OPEN};
	struct mr_pending answer = {.token = token,
		.expects = MR_M_CHANNEL_OPEN_OK,
		.deadline = deadline};
	if (mr_pending_ask(&ch->pending, &open, &answer, NULL) != MR_OK) {
		mr_amqp_channel_free(ch);
		return NULL;
	}
	mr_amqp_channel_enter(ch, MR_CH_OPENING);
	return ch;
}

void mr_amqp_channel_free(struct mr_amqp_channel *ch)
{
	if (!ch) return;
	mr_list_remove(&ch->dirty);
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	mr_content_fini(&ch->content);
	mr_curb_drop(ch);
	mr_buffer_fini(&ch->held);
	mr_confirm_fini(&ch->confirm);
	mr_acks_fini(&ch->acks);
	mr_consumers_fini(&ch->consumers);
	mr_free(ch->why);
	mr_free(ch);
}

static void tell_ended(struct mr_amqp_channel *ch, const mr_error *why)
{
	mr_event ev = {.type = MR_EV_CHANNEL, .status = why->kind};
	ev.as.channel.was_asking = ch->is_probing;
	ev.as.channel.error = mr_error_copy(why);
	mr_amqp_channel_emit(ch, &ev);
}

/* Requests that fail with the channel are reported after its end, so that a program that sees the
 * error finds the channel closed. */
void mr_amqp_channel_end(struct mr_amqp_channel *ch, const mr_error *why, bool tell)
{
	if (ch->state == MR_CH_CLOSED) return;
	mr_amqp_channel_enter(ch, MR_CH_CLOSED);
	mr_list_remove(&ch->dirty);
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	mr_curb_drop(ch);
	for (size_t i = 0; i < ch->consumers.count; i++)
		mr_amqp_channel_tell_resume(ch, ch->consumers.entries[i]);
	mr_confirm_lose(&ch->confirm);
	if (tell) tell_ended(ch, why);
	mr_pending_fail(&ch->pending, why, NULL);
}

void mr_amqp_channel_close(struct mr_amqp_channel *ch, uint64_t token, mr_msec deadline)
{
	struct mr_method m = {.id = MR_M_CHANNEL_CLOSE,
		.code = 200,
		.text = mr_slice_str("Goodbye")};
	mr_error error = {0};
	enum mr_status st = mr_amqp_channel_flush(ch);
	struct mr_pending answer = {.token = token,
		.expects = MR_M_CHANNEL_CLOSE_OK,
		.deadline = deadline};
	if (st == MR_OK) st = mr_pending_ask(&ch->pending, &m, &answer, &error);
	if (st == MR_OK) {
		mr_amqp_channel_enter(ch, MR_CH_CLOSING);
		return;
	}
	mr_error_set(&error, st, MR_SCOPE_CHANNEL, 0, "cannot close the channel");
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

void mr_amqp_channel_refuse(struct mr_amqp_channel *ch, const mr_error *why)
{
	struct mr_method m = {.id = MR_M_CHANNEL_CLOSE, .code = (uint16_t)why->code};
	struct mr_pending answer = {.expects = MR_M_CHANNEL_CLOSE_OK,
		.deadline = ch->outlet->now + REFUSED_TIME};
	if (ch->why || ch->state == MR_CH_CLOSED) return;
	mr_content_drop(&ch->content, ch->outlet->options->pool);
	m.text = mr_slice_of(why->text, strnlen(why->text, 255));
	ch->why = mr_error_copy(why);
	if (ch->why && ch->state == MR_CH_CLOSING) return; /* its close-ok is expected already */
	answer.fatal = ch->why;
	if (!ch->why || mr_pending_ask(&ch->pending, &m, &answer, NULL) != MR_OK)
		mr_error_keep(&ch->outlet->fault, why);
	else
		mr_amqp_channel_enter(ch, MR_CH_CLOSING);
}

bool mr_amqp_channel_is_parting(const struct mr_amqp_channel *ch)
{
	const struct mr_pending *first = mr_pending_first(&ch->pending);
	if (ch->state == MR_CH_CLOSING) return true;
	return ch->state == MR_CH_OPENING && first && first->late;
}

/* ---- time ---- */

static void expire_heir(struct mr_amqp_channel *ch, mr_msec now)
{
	mr_error error = {0};
	uint64_t token = ch->heir.token;
	if (!token) return;
	if (ch->heir.deadline > now) {
		mr_outlet_expect(ch->outlet, ch->heir.deadline);
		return;
	}
	ch->heir.token = 0;
	mr_error_set(&error, MR_TIMEOUT, MR_SCOPE_CHANNEL, 0,
		"the broker did not close the channel that had the number before");
	mr_outlet_done(ch->outlet, ch->number, token, &error);
}

bool mr_amqp_channel_is_asking(const struct mr_amqp_channel *ch)
{
	bool is_ending =
		ch->state == MR_CH_CLOSING && ch->why; /* no answer in time ends the connection */
	return is_ending || ch->heir.token || mr_pending_is_awaited(&ch->pending) ||
	       mr_confirm_is_waiting(&ch->confirm);
}

void mr_amqp_channel_expire(struct mr_amqp_channel *ch, mr_msec now)
{
	mr_pending_expire(&ch->pending, now);
	mr_confirm_expire(&ch->confirm, now);
	expire_heir(ch, now);
	mr_outlet_expect(ch->outlet, ch->confirm.earliest);
}
