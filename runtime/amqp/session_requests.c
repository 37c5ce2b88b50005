/* session_requests: the host's requests to an open session.
 * SPDX-License-Identifier: MIT
 * Pure. The rest of the session is in session.c. */
#include "amqp/channel.h"
#include "amqp/channel_requests.h"
#include "amqp/curb.h"
#include "amqp/session.h"
#include "amqp/session_state.h"
#include "base/alloc.h"
#include "codec/frame.h"

/* The error for a channel that does not exist, or is another one now. */
static void refuse(struct mr_session *s, uint16_t number, uint64_t token)
{
	mr_error error = {0};
	if (s->state == MR_SESSION_CLOSED && s->error)
		error = *s->error;
	else
		mr_error_set(&error, MR_CLOSED, MR_SCOPE_CHANNEL, 0, "the channel is closed");
	mr_outlet_done(&s->outlet, number, token, &error);
}

bool mr_session_has_channel(const struct mr_session *s, uint16_t number)
{
	return mr_session_channel_at(s, number) != NULL;
}

static struct mr_consumer_entry *consumer_at(const struct mr_session *s, uint16_t channel,
	uint32_t consumer)
{
	const struct mr_amqp_channel *ch = mr_session_channel_at(s, channel);
	for (size_t i = 0; ch && i < ch->consumers.count; i++)
		if ((ch->consumers.entries[i]->number & ~MR_CONSUMER_NO_ACK) == consumer)
			return ch->consumers.entries[i];
	return NULL;
}

bool mr_session_has_consumer(const struct mr_session *s, uint16_t channel, uint32_t consumer)
{
	return consumer_at(s, channel, consumer) != NULL;
}

bool mr_session_view_consumer(const struct mr_session *s, uint16_t channel, uint32_t consumer,
	struct mr_consumer_view *out)
{
	const struct mr_amqp_channel *ch = mr_session_channel_at(s, channel);
	const struct mr_consumer_entry *entry = consumer_at(s, channel, consumer);
	if (!entry) return false;
	*out = (struct mr_consumer_view){ch->consumers.count == 1, entry->delivered,
		mr_acks_outstanding(&ch->acks)};
	return true;
}

size_t mr_session_unconfirmed(const struct mr_session *s)
{
	size_t count = 0;
	for (size_t i = 0; i < s->channel_slots; i++)
		if (s->channels[i]) count += mr_confirm_outstanding(&s->channels[i]->confirm);
	return count;
}

bool mr_session_consumer_rests(struct mr_session *s, uint16_t channel, uint32_t consumer,
	bool *is_of_queue)
{
	struct mr_consumer_entry *entry = consumer_at(s, channel, consumer);
	if (!entry) return false;
	bool rests = !entry->was_busy;
	*is_of_queue = entry->is_of_queue;
	entry->was_busy = false;
	return rests;
}

size_t mr_session_consumers(const struct mr_session *s)
{
	size_t count = 0;
	for (size_t i = 0; i < s->channel_slots; i++) {
		const struct mr_amqp_channel *ch = s->channels[i];
		for (size_t k = 0; ch && k < ch->consumers.count; k++)
			if (!(ch->consumers.entries[k]->number & MR_CONSUMER_OWN)) count++;
	}
	return count;
}

/* The channel with the epoch of the host's request, or NULL. */
static struct mr_amqp_channel *channel_of(const struct mr_session *s, uint16_t number,
	uint32_t epoch)
{
	struct mr_amqp_channel *ch = mr_session_channel_at(s, number);
	return s->state == MR_SESSION_OPEN && ch && ch->epoch == epoch ? ch : NULL;
}

void mr_session_channel_open(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline)
{
	mr_error error = {0};
	struct mr_amqp_channel *ch = mr_session_channel_at(s, number);
	if (s->state != MR_SESSION_OPEN) {
		refuse(s, number, token);
	} else if (ch && mr_amqp_channel_is_parting(ch) &&
		   !ch->heir.token) { /* when it has closed */
		ch->heir.token = token;
		ch->heir.epoch = epoch;
		ch->heir.deadline = deadline;
		mr_outlet_expect(&s->outlet, deadline);
	} else if (number == 0 || number > s->guard.channel_max || ch) {
		mr_error_set(&error, MR_CHANNEL_LIMIT_REACHED, MR_SCOPE_CHANNEL, 0,
			"channel %u is in use or over the agreed limit of %u", number,
			s->guard.channel_max);
		mr_outlet_done(&s->outlet, number, token, &error);
	} else {
		mr_session_open_channel(s, number, token, epoch, deadline);
	}
}

/* Cancels the open that waits for this number. */
static void disinherit(struct mr_session *s, struct mr_amqp_channel *ch, uint64_t token)
{
	mr_error closed = {0}, none = {0};
	uint64_t opening = ch->heir.token;
	ch->heir.token = 0;
	mr_error_set(&closed, MR_CLOSED, MR_SCOPE_CHANNEL, 0,
		"the channel was closed by the program");
	mr_outlet_done(&s->outlet, ch->number, opening, &closed);
	mr_outlet_done(&s->outlet, ch->number, token, &none);
}

/* A close that has timed out gets a new owner. */
static bool joins_close(struct mr_amqp_channel *ch, uint64_t token, mr_msec deadline)
{
	struct mr_pending *p = mr_pending_last(&ch->pending);
	bool is_free = p && p->expects == MR_M_CHANNEL_CLOSE_OK && !p->fatal &&
	               (!p->token || p->token == MR_TOKEN_NONE);
	if (is_free) mr_pending_join(&ch->pending, p, token, deadline);
	return is_free;
}

void mr_session_channel_close(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline)
{
	struct mr_amqp_channel *ch = channel_of(s, number, epoch);
	struct mr_amqp_channel *any = mr_session_channel_at(s, number);
	if (any && any->heir.token && any->heir.epoch == epoch)
		disinherit(s, any, token);
	else if (ch && ch->state != MR_CH_CLOSING)
		mr_amqp_channel_close(ch, token, deadline);
	else if (!ch || !joins_close(ch, token, deadline))
		refuse(s, number, token);
}

void mr_session_request(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	const mr_request *request, mr_msec deadline)
{
	struct mr_amqp_channel *ch = channel_of(s, number, epoch);
	if (ch)
		mr_amqp_channel_request(ch, token, request, deadline);
	else
		refuse(s, number, token);
}

static void cancel_consumers(struct mr_amqp_channel *ch, mr_msec deadline)
{
	for (size_t i = 0; i < ch->consumers.count; i++) {
		struct mr_consumer_entry *entry = ch->consumers.entries[i];
		const mr_request cancel = {.operation = MR_BASIC_CANCEL,
			.extra = mr_consumer_tag(entry)};
		if (entry->is_leaving) continue;
		entry->is_leaving = true;
		mr_amqp_channel_request(ch, MR_TOKEN_NONE, &cancel, deadline);
	}
}

void mr_session_cancel_all(struct mr_session *s, mr_msec deadline)
{
	for (size_t i = 0; i < s->channel_slots; i++)
		if (s->channels[i] && s->channels[i]->state == MR_CH_OPEN)
			cancel_consumers(s->channels[i], deadline);
}

bool mr_session_is_at_rest(const struct mr_session *s)
{
	if (s->secret_token) return false;
	for (size_t i = 0; i < s->channel_slots; i++) {
		const struct mr_amqp_channel *ch = s->channels[i];
		if (!ch) continue;
		if (ch->consumers.count || mr_confirm_is_waiting(&ch->confirm)) return false;
		if (mr_pending_is_awaited(&ch->pending)) return false;
	}
	return true;
}

/* Acks that waited were given before the last turn: they go before what is sent now. */
static void flush_before(struct mr_session *s)
{
	if (s->outlet.acks_due != MR_NEVER) mr_session_flush(s);
}

void mr_session_publish(struct mr_session *s, uint16_t number, const struct mr_publish *p)
{
	struct mr_amqp_channel *ch = channel_of(s, number, p->epoch);
	mr_error error; /* not cleared, as in take_frame; nobody reads it */
	if (s->options->clock) s->published_at = (mr_msec)(*s->options->clock / 1000);
	flush_before(s);
	if (ch && ch->state == MR_CH_OPEN) {
		if (mr_amqp_channel_publish(ch, p, &error) == MR_OK) return;
		mr_session_fail_memory(s);
	}
	mr_free(p->block);
	s->options->stats->lost++;
	if (p->number) mr_outlet_lost(&s->outlet, number, p->epoch, p->number);
}

void mr_session_settle(struct mr_session *s, uint16_t number, uint32_t epoch, uint64_t tag, int how,
	int flags)
{
	struct mr_amqp_channel *ch = channel_of(s, number, epoch);
	s->options->stats->settled++;
	if (how != MR_ACK) flush_before(s);
	if (ch && mr_curb_settle(ch, tag, how, flags) != MR_OK) mr_session_fail_memory(s);
}

/* Written by hand: the codec does not know it. */
void mr_session_update_secret(struct mr_session *s, uint64_t token, mr_slice secret,
	mr_msec deadline)
{
	static const char reason[] = "renewed by the program";
	size_t payload = 4 + 4 + secret.size + 1 + sizeof reason - 1;
	mr_error error = {0};
	uint8_t head[MR_FRAME_HEAD + 8] = {MR_FRAME_METHOD};
	uint8_t length = sizeof reason - 1, end = MR_FRAME_END;
	struct mr_buffer *out = &s->outlet.out.bytes;
	bool fits = s->state == MR_SESSION_OPEN && !s->secret_token &&
	            payload + MR_FRAME_OVERHEAD <= s->outlet.frame_max;
	if (!fits) {
		mr_error_set(&error, s->secret_token ? MR_BAD_ARGUMENT : MR_CLOSED,
			MR_SCOPE_CONNECTION, 0,
			s->secret_token ? "another secret is on its way"
					: "the connection is not open");
		mr_outlet_done(&s->outlet, 0, token, &error);
		return;
	}
	s->secret_token = token;
	s->secret_deadline = deadline;
	mr_put32(head + 3, (uint32_t)payload);
	mr_put32(head + MR_FRAME_HEAD, MR_M_CONNECTION_UPDATE_SECRET);
	mr_put32(head + MR_FRAME_HEAD + 4, (uint32_t)secret.size);
	if (mr_buffer_reserve(out, payload + MR_FRAME_OVERHEAD) != MR_OK) {
		mr_session_fail_memory(s);
		return;
	}
	mr_buffer_append(out, head, sizeof head);
	mr_buffer_append(out, secret.data, secret.size);
	mr_buffer_append(out, &length, 1);
	mr_buffer_append(out, reason, length);
	mr_buffer_append(out, &end, 1);
}
