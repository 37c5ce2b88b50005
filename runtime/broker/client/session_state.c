/* session_state: one client's connection to the broker: its states and its output.
 * SPDX-License-Identifier: MIT */
#include "broker/client/session_state.h"

#include "base/machine.h"
#include "codec/method.h"

static const unsigned may_follow[MR_BS_COUNT] = {
	[MR_BS_HELLO] = MR_BIT(MR_BS_STARTED) | MR_BIT(MR_BS_ENDED),
	[MR_BS_STARTED] = MR_BIT(MR_BS_TUNING) | MR_BIT(MR_BS_CLOSING) | MR_BIT(MR_BS_ENDED),
	[MR_BS_TUNING] = MR_BIT(MR_BS_OPENING) | MR_BIT(MR_BS_CLOSING) | MR_BIT(MR_BS_ENDED),
	[MR_BS_OPENING] = MR_BIT(MR_BS_OPEN) | MR_BIT(MR_BS_CLOSING) | MR_BIT(MR_BS_ENDED),
	[MR_BS_OPEN] = MR_BIT(MR_BS_CLOSING) | MR_BIT(MR_BS_ENDED),
	[MR_BS_CLOSING] = MR_BIT(MR_BS_ENDED),
};
static const char *const names[] = {MR_BROKER_SESSION_STATES(MR_NAME)};
static const struct mr_machine machine = {"broker's session", names, may_follow, MR_BS_COUNT};

/* ENDED and CLOSING are not left for earlier states: such a move is only late, not a fault. A fault
 * ends the session; a close (541) tells the client, which can log it. */
void mr_broker_session_enter(struct mr_broker_session *s, enum mr_broker_session_state next)
{
	mr_error fault = {0};
	bool is_late = s->state >= MR_BS_CLOSING && next != MR_BS_ENDED;
	if (is_late || s->state == MR_BS_ENDED) return;
	if (!mr_machine_moves(&machine, s->state, next, &fault)) {
		struct mr_method close = {.id = MR_M_CONNECTION_CLOSE, .code = 541};
		close.text = mr_slice_of(fault.text, strnlen(fault.text, MR_REPLY_TEXT_MAX));
		mr_method_put(&s->out, 0, &close, s->frame_max, NULL);
		next = MR_BS_ENDED;
	}
	s->state = next;
	s->give_up = next == MR_BS_OPEN ? MR_NEVER : s->broker->store.now + MR_SESSION_PATIENCE;
	s->touch(s->owner);
}

void mr_broker_session_end(struct mr_broker_session *s) { mr_broker_session_enter(s, MR_BS_ENDED); }

void mr_broker_session_put(struct mr_broker_session *s, uint16_t channel, const struct mr_method *m)
{
	if (mr_method_put(&s->out, channel, m, s->frame_max, NULL) != MR_OK)
		mr_broker_session_end(s);
	else
		s->touch(s->owner);
}

/* ---- blocking ---- */

/* RabbitMQ's text for memory; a short string. */
static mr_slice reason(const struct mr_broker *b)
{
	if (b->store.alarm || b->blocked_by_hand) return mr_slice_str("low on memory");
	if (!b->refusal.kind) return mr_slice_str("the store takes less than is published");
	return mr_slice_of(b->refusal.text, strnlen(b->refusal.text, MR_REPLY_TEXT_MAX));
}

static void tell_blocked(struct mr_broker_session *s, bool blocked)
{
	struct mr_method m = {.id = blocked ? MR_M_CONNECTION_BLOCKED : MR_M_CONNECTION_UNBLOCKED};
	if (blocked) m.text = reason(s->broker);
	s->is_blocked = blocked;
	s->heard = s->broker->store.now;
	if (s->tells_blocked) mr_broker_session_put(s, 0, &m);
	s->touch(s->owner);
}

void mr_broker_session_published(struct mr_broker_session *s)
{
	if (s->is_blocked || !mr_broker_is_blocked(s->broker)) return;
	tell_blocked(s, true);
}

void mr_broker_session_check_blocked(struct mr_broker_session *s)
{
	if (s->is_blocked && !mr_broker_is_blocked(s->broker)) tell_blocked(s, false);
}
