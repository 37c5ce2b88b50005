/* confirm: what a publisher is told of its messages: acks, nacks and returns.
 * SPDX-License-Identifier: MIT */
#include "broker/client/confirm.h"

#include "codec/frame.h"
#include "codec/method.h"

/* True if an earlier publish still waits for the backing: then one ack may not be for many. */
static bool is_pledged_before(const struct mr_broker_channel *ch, uint64_t tag)
{
	const struct mr_node *first = ch->pledges.next;
	return first != &ch->pledges &&
	       mr_container(first, const struct mr_pledge, node)->tag < tag;
}

static void put_ack(struct mr_broker_channel *ch, uint64_t tag, bool multiple)
{
	struct mr_method m = {.id = MR_M_BASIC_ACK, .tag = tag, .flags = multiple};
	mr_broker_channel_put(ch, &m);
}

void mr_confirm_flush(struct mr_broker_channel *ch)
{
	if (!ch->ack_from) return;
	bool together = ch->ack_to > ch->ack_from && !is_pledged_before(ch, ch->ack_from);
	for (uint64_t tag = ch->ack_from; !together && tag <= ch->ack_to; tag++)
		put_ack(ch, tag, false);
	if (together) put_ack(ch, ch->ack_to, true);
	ch->ack_from = 0;
}

static void put(struct mr_broker_channel *ch, uint64_t tag, bool taken)
{
	if (taken) {
		if (ch->ack_from && ch->ack_to + 1 != tag) mr_confirm_flush(ch);
		if (!ch->ack_from) ch->ack_from = tag;
		ch->ack_to = tag;
		return;
	}
	struct mr_method m = {.id = MR_M_BASIC_NACK, .tag = tag};
	mr_confirm_flush(ch);
	mr_broker_channel_put(ch, &m);
}

void mr_confirm_next(struct mr_broker_channel *ch, bool taken) { put(ch, ++ch->published, taken); }

void mr_confirm_later(struct mr_broker_channel *ch, uint64_t tag, bool taken)
{
	put(ch, tag, taken);
	if (!ch->to_flush.next) mr_list_append(&ch->session->broker->to_flush, &ch->to_flush);
}

void mr_confirm_return(struct mr_broker_channel *ch, const struct mr_message *m)
{
	struct mr_broker_session *s = ch->session;
	struct mr_method back = {.id = MR_M_BASIC_RETURN,
		.code = 312,
		.text = mr_slice_str("NO_ROUTE"),
		.name = mr_message_exchange(m),
		.key = mr_message_key(m)};
	size_t before = mr_buffer_size(&s->out);
	mr_broker_channel_put(ch, &back);
	if (mr_frame_put_letter(&s->out, ch->number, mr_message_properties(m), mr_message_body(m),
		    s->frame_max) == MR_OK)
		return;
	s->out.end = s->out.start + before;
	mr_broker_session_end(s);
}
