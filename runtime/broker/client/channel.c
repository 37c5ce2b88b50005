/* channel: a channel of a client's connection: contents, consumers, unsettled deliveries.
 * SPDX-License-Identifier: MIT */
#include "broker/client/channel.h"

#include <string.h>

#include "base/alloc.h"
#include "broker/store/reply_error.h"
#include "codec/frame.h"
#include "codec/method.h"

struct mr_broker_channel *mr_broker_channel_open(struct mr_broker_session *s, uint16_t number)
{
	struct mr_broker_channel *ch = mr_calloc(1, sizeof *ch);
	if (!ch || mr_map_put(&s->channels, number, ch) != MR_OK) {
		mr_free(ch);
		return NULL;
	}
	mr_store_built(&s->broker->store, sizeof *ch);
	ch->session = s;
	ch->number = number;
	ch->next_tag = 1;
	mr_list_init(&ch->consumers);
	mr_list_init(&ch->staged);
	mr_list_init(&ch->held);
	mr_list_init(&ch->ruins);
	mr_list_init(&ch->pledges);
	return ch;
}

/* ---- writing ---- */

void mr_broker_channel_put(struct mr_broker_channel *ch, const struct mr_method *m)
{
	mr_broker_session_put(ch->session, ch->number, m);
}

void mr_broker_channel_put_simple(struct mr_broker_channel *ch, uint32_t id)
{
	struct mr_method m = {.id = id};
	mr_broker_channel_put(ch, &m);
}

/* Writes method, header and body as one unit: all or nothing. */
bool mr_broker_channel_put_message(struct mr_broker_channel *ch, const struct mr_method *m,
	const struct mr_message *message)
{
	struct mr_broker_session *s = ch->session;
	size_t before = mr_buffer_size(&s->out);
	bool ok = mr_method_put(&s->out, ch->number, m, s->frame_max, NULL) == MR_OK &&
	          mr_frame_put_letter(&s->out, ch->number, mr_message_properties(message),
			  mr_message_body(message), s->frame_max) == MR_OK;
	if (!ok) s->out.end = s->out.start + before;
	if (mr_buffer_size(&s->out) > MR_SESSION_HIGH) s->congested = true;
	s->touch(s->owner);
	return ok;
}

/* ---- unsettled deliveries ---- */

bool mr_broker_channel_has_room(struct mr_broker_channel *ch)
{
	if (ch->last < ch->capacity) return true;
	/* Settled ones leave holes: removes them before it allocates more. */
	if (ch->live * 2 <= ch->capacity && ch->capacity) {
		size_t kept = 0;
		for (size_t i = ch->first; i < ch->last; i++)
			if (ch->unacked[i].entry) ch->unacked[kept++] = ch->unacked[i];
		ch->first = 0;
		ch->last = kept;
		return true;
	}
	size_t capacity = ch->capacity ? ch->capacity * 2 : 16;
	struct mr_unacked *grown = mr_realloc(ch->unacked, capacity * sizeof *grown);
	if (!grown) return false;
	mr_store_built(&ch->session->broker->store, (capacity - ch->capacity) * sizeof *grown);
	ch->unacked = grown;
	ch->capacity = capacity;
	return true;
}

void mr_broker_channel_hold(struct mr_broker_channel *ch, struct mr_consumer *c, struct mr_queue *q,
	struct mr_entry *e)
{
	ch->unacked[ch->last++] =
		(struct mr_unacked){.tag = ch->next_tag++, .entry = e, .queue = q, .consumer = c};
	ch->live++;
	if (c) ch->counted++;
}

/* Consumers without acks do not use the channel's prefetch, but as in RabbitMQ they wait when it is
 * used up. */
bool mr_broker_channel_takes(const struct mr_broker_channel *ch)
{
	const struct mr_broker_session *s = ch->session;
	if (ch->closing || ch->stopped || ch->settling || s->congested || s->state != MR_BS_OPEN)
		return false;
	return !ch->prefetch_all || ch->counted < ch->prefetch_all;
}

/* ---- queues ---- */

void mr_broker_channel_end_reply(struct mr_broker_channel *ch)
{
	mr_free(ch->reply_queue);
	ch->reply_queue = NULL;
}

enum mr_status mr_broker_channel_locked(const struct mr_queue *q, mr_error *error)
{
	return mr_reply_error(error, 405,
		"cannot obtain exclusive access to locked queue '%s' in vhost '%s'. It could be "
		"originally declared on another connection or the exclusive property value does "
		"not match that of the original declaration.",
		q->name, q->vhost->name);
}

void mr_broker_channel_note(struct mr_broker_channel *ch, const struct mr_queue *q)
{
	char *copy = mr_strdup_n(q->name, strlen(q->name));
	if (!copy) return;
	mr_free(ch->last_queue);
	ch->last_queue = copy;
}

enum mr_status mr_broker_channel_queue(struct mr_broker_channel *ch, mr_slice name,
	struct mr_queue **out, mr_error *error)
{
	const struct mr_vhost *v = ch->session->vhost;
	if (!name.size) {
		if (!ch->last_queue)
			return mr_reply_error(error, 404, "no previously declared queue");
		name = mr_slice_str(ch->last_queue);
	}
	struct mr_queue *q = mr_vhost_queue(v, name);
	if (!q || q->is_reply)
		return mr_reply_error(error, 404, "no queue '%.*s' in vhost '%s'", (int)name.size,
			name.data, v->name);
	if (q->owner && q->owner != ch->session) return mr_broker_channel_locked(q, error);
	*out = q;
	return MR_OK;
}
