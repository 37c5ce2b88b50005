/* channel_state: the state of one AMQP channel of a session, and operations that all its parts use.
 * SPDX-License-Identifier: MIT */
#include "amqp/channel_state.h"

static const unsigned may_follow[MR_CH_COUNT] = {
	[MR_CH_CLOSED] = MR_BIT(MR_CH_OPENING),
	[MR_CH_OPENING] = MR_BIT(MR_CH_OPEN) | MR_BIT(MR_CH_CLOSING) | MR_BIT(MR_CH_CLOSED),
	[MR_CH_OPEN] = MR_BIT(MR_CH_CLOSING) | MR_BIT(MR_CH_CLOSED),
	[MR_CH_CLOSING] = MR_BIT(MR_CH_CLOSED),
};
static const char *const names[] = {MR_CHANNEL_STATES(MR_NAME)};
static const struct mr_machine machine = {"channel", names, may_follow, MR_CH_COUNT};

void mr_amqp_channel_enter(struct mr_amqp_channel *ch, enum mr_channel_state next)
{
	if (mr_outlet_allows(ch->outlet, &machine, ch->state, next)) ch->state = next;
}

/* ---- telling ---- */

void mr_amqp_channel_emit(struct mr_amqp_channel *ch, mr_event *ev)
{
	ev->connection = ch->outlet->options->connection;
	ev->channel = ch->number;
	ev->epoch = ch->epoch;
	ch->outlet->options->emit(ch->outlet->options->owner, ev);
}

void mr_amqp_channel_tell_delivery(struct mr_amqp_channel *ch, mr_delivery *d)
{
	mr_event ev = {.type = MR_EV_DELIVERY, .as.delivery = d};
	mr_amqp_channel_emit(ch, &ev);
}

void mr_amqp_channel_tell_resume(struct mr_amqp_channel *ch, const struct mr_consumer_entry *entry)
{
	const struct mr_session_options *o = ch->outlet->options;
	struct mr_resume at = {entry->number & ~MR_CONSUMER_NO_ACK, false, 0, entry->since};
	at.is_known = mr_offsets_resume(&entry->offsets, &at.offset);
	if (o->resume) o->resume(o->owner, &at);
}

/* ---- settling ---- */

static enum mr_status write_settle(void *owner, uint64_t tag, int how, int flags)
{
	static const uint32_t id[] = {[MR_ACK] = MR_M_BASIC_ACK,
		[MR_NACK] = MR_M_BASIC_NACK,
		[MR_REJECT] = MR_M_BASIC_REJECT};
	struct mr_amqp_channel *ch = owner;
	struct mr_method m = {.id = id[how], .tag = tag};
	if (flags & MR_SETTLE_MULTIPLE) m.flags |= 1;
	if (flags & MR_SETTLE_REQUEUE) m.flags |= MR_REQUEUE;
	ch->outlet->options->stats->acks_out++;
	return mr_outlet_send(ch->outlet, ch->number, &m, NULL);
}

enum mr_status mr_amqp_channel_settle(struct mr_amqp_channel *ch, uint64_t tag, int how, int flags)
{
	if (ch->consumers.streams && how == MR_ACK)
		mr_consumers_acked(&ch->consumers, tag, flags & MR_SETTLE_MULTIPLE);
	if (ch->state != MR_CH_OPEN || ch->pending.recovers) return MR_OK;
	if (!ch->dirty.next) mr_list_append(&ch->outlet->dirty, &ch->dirty);
	return mr_acks_settle(&ch->acks, tag, how, flags, write_settle, ch);
}

enum mr_status mr_amqp_channel_flush(struct mr_amqp_channel *ch)
{
	mr_list_remove(&ch->dirty);
	if (ch->state != MR_CH_OPEN) return MR_OK;
	return mr_acks_flush(&ch->acks, write_settle, ch);
}
