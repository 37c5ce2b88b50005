/* session_state: the state of a session, and its end; shared by session.c and session_requests.c.
 * SPDX-License-Identifier: MIT */
#include "amqp/session_state.h"

#include <string.h>

#include "amqp/channel.h"
#include "base/alloc.h"

static const unsigned may_follow[MR_SESSION_STATE_COUNT] = {
	[MR_SESSION_IDLE] = MR_BIT(MR_SESSION_HANDSHAKE) | MR_BIT(MR_SESSION_CLOSED),
	[MR_SESSION_HANDSHAKE] = MR_BIT(MR_SESSION_OPEN) | MR_BIT(MR_SESSION_CLOSED),
	[MR_SESSION_OPEN] = MR_BIT(MR_SESSION_CLOSING) | MR_BIT(MR_SESSION_CLOSED),
	[MR_SESSION_CLOSING] = MR_BIT(MR_SESSION_CLOSED),
};
static const char *const names[] = {MR_SESSION_STATES(MR_NAME)};
static const struct mr_machine machine = {"session", names, may_follow, MR_SESSION_STATE_COUNT};

void mr_session_enter(struct mr_session *s, enum mr_session_state next)
{
	if (mr_outlet_allows(&s->outlet, &machine, s->state, next)) s->state = next;
}

/* ---- channels ---- */

struct mr_amqp_channel *mr_session_channel_at(const struct mr_session *s, uint16_t number)
{
	return number < s->channel_slots ? s->channels[number] : NULL;
}

static bool make_slot(struct mr_session *s, uint16_t number)
{
	if (number < s->channel_slots) return true;
	size_t slots = s->channel_slots ? s->channel_slots * 2 : 4;
	while (slots <= number) slots *= 2;
	struct mr_amqp_channel **channels = mr_realloc(s->channels, slots * sizeof *channels);
	if (!channels) return false;
	for (size_t i = s->channel_slots; i < slots; i++) channels[i] = NULL;
	s->channels = channels;
	s->channel_slots = slots;
	return true;
}

void mr_session_open_channel(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline)
{
	mr_error error = {0};
	if (make_slot(s, number) && (s->channels[number] = mr_amqp_channel_open(&s->outlet, number,
					     epoch, token, deadline)))
		return;
	mr_error_set(&error, MR_NO_MEMORY, MR_SCOPE_CHANNEL, 0, "out of memory");
	mr_outlet_done(&s->outlet, number, token, &error);
}

static void drop_channel(struct mr_session *s, struct mr_amqp_channel *ch)
{
	s->channels[ch->number] = NULL;
	mr_amqp_channel_free(ch);
}

void mr_session_channel_ended(struct mr_session *s, struct mr_amqp_channel *ch)
{
	uint16_t number = ch->number;
	uint64_t token = ch->heir.token;
	uint32_t epoch = ch->heir.epoch;
	mr_msec deadline = ch->heir.deadline;
	drop_channel(s, ch);
	if (token) mr_session_open_channel(s, number, token, epoch, deadline);
}

/* ---- ends ---- */

void mr_session_secret_done(struct mr_session *s, const mr_error *error)
{
	uint64_t token = s->secret_token;
	s->secret_token = 0;
	if (token) mr_outlet_done(&s->outlet, 0, token, error);
}

/* The link keeps a new secret for its next connect: so a loss is not a failure of the request, a
 * refusal is. */
static void secret_lost(struct mr_session *s, const mr_error *why)
{
	mr_error none = {0};
	bool is_refusal = why->code && why->kind != MR_CONNECTION_FORCED;
	mr_session_secret_done(s, is_refusal || why->kind == MR_CLOSED ? why : &none);
}

void mr_session_end(struct mr_session *s, const mr_error *why)
{
	if (s->state != MR_SESSION_CLOSED) {
		mr_session_enter(s, MR_SESSION_CLOSED);
		mr_error_keep(&s->error, why);
	}
	secret_lost(s, why);
	s->blocked_until = MR_NEVER;
	for (size_t i = 0; i < s->channel_slots; i++) {
		struct mr_amqp_channel *ch = s->channels[i];
		if (!ch) continue;
		mr_amqp_channel_end(ch, why, true);
		mr_outlet_done(&s->outlet, ch->number, ch->heir.token, why);
		drop_channel(s, ch);
	}
}

void mr_session_fail(struct mr_session *s, const mr_error *error)
{
	if (s->state == MR_SESSION_OPEN && error->code) {
		struct mr_method close = {.id = MR_M_CONNECTION_CLOSE,
			.code = (uint16_t)error->code};
		close.text = mr_slice_of(error->text, strnlen(error->text, 255));
		mr_outlet_send(&s->outlet, 0, &close, NULL);
	}
	mr_session_end(s, error);
}

void mr_session_fail_memory(struct mr_session *s)
{
	mr_error error = {0};
	mr_error_set(&error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506, "out of memory");
	mr_session_fail(s, &error);
}
