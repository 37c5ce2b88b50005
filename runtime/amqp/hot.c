/* hot: the methods of the message path by hand; all others go through rabbitmq-c.
 * SPDX-License-Identifier: MIT */
#include "amqp/hot.h"

#include "amqp/frame.h"

#define ACK_SIZE (4 + 8 + 1)      /* method, tag, bit */
#define DELIVER_TAIL (8 + 1)      /* tag, bit */
#define PUBLISH_FIXED (4 + 2 + 3) /* method, ticket, two lengths and the bits */

/* ---- decode ---- */

/* Takes a short string; NULL when it does not fit. */
static const uint8_t *take_short(const uint8_t *at, const uint8_t *end, mr_slice *out)
{
	if (at == end || *at >= end - at) return NULL;
	*out = mr_slice_of((const char *)at + 1, *at);
	return at + 1 + *at;
}

static bool decode_deliver(const uint8_t *at, const uint8_t *end, struct mr_method *out)
{
	struct mr_method m = {.id = MR_M_BASIC_DELIVER};
	at = take_short(at, end, &m.other);
	if (!at || end - at < DELIVER_TAIL) return false;
	m.tag = mr_get64(at);
	m.flags = at[8] & 1;
	at = take_short(at + DELIVER_TAIL, end, &m.name);
	if (!at || !take_short(at, end, &m.key)) return false;
	*out = m;
	return true;
}

static bool decode_ack(const uint8_t *at, const uint8_t *end, struct mr_method *out)
{
	if (end - at < ACK_SIZE - 4) return false;
	*out = (struct mr_method){.id = MR_M_BASIC_ACK, .tag = mr_get64(at), .flags = at[8] & 1};
	return true;
}

bool mr_hot_decode(const struct mr_frame *frame, struct mr_method *out)
{
	const uint8_t *at = frame->payload + 4, *end = frame->payload + frame->size;
	switch (mr_get32(frame->payload)) {
	case MR_M_BASIC_DELIVER: return decode_deliver(at, end, out);
	case MR_M_BASIC_ACK: return decode_ack(at, end, out);
	default: return false;
	}
}

/* ---- encode ---- */

static uint8_t *put_head(uint8_t *at, uint16_t channel, size_t size, uint32_t id)
{
	at[0] = MR_FRAME_METHOD;
	mr_put16(at + 1, channel);
	mr_put32(at + 3, (uint32_t)size);
	mr_put32(at + MR_FRAME_HEAD, id);
	return at + MR_FRAME_HEAD + 4;
}

static uint8_t *put_short(uint8_t *at, mr_slice s)
{
	*at++ = (uint8_t)s.size;
	if (s.size) memcpy(at, s.data, s.size);
	return at + s.size;
}

static enum mr_status put_publish(struct mr_buffer *out, uint16_t channel,
	const struct mr_method *m, uint32_t frame_max)
{
	if (m->name.size > UINT8_MAX || m->key.size > UINT8_MAX) return MR_BAD_ARGUMENT;
	size_t size = PUBLISH_FIXED + m->name.size + m->key.size;
	if (size + MR_FRAME_OVERHEAD > frame_max) return MR_BAD_ARGUMENT;
	if (mr_buffer_reserve(out, size + MR_FRAME_OVERHEAD) != MR_OK) return MR_NO_MEMORY;
	uint8_t *at = put_head(mr_buffer_tail(out), channel, size, m->id);
	mr_put16(at, 0); /* the ticket of AMQP 0-8 */
	at = put_short(at + 2, m->name);
	at = put_short(at, m->key);
	*at++ = m->flags & MR_MANDATORY ? 1 : 0;
	*at = MR_FRAME_END;
	out->end += size + MR_FRAME_OVERHEAD;
	return MR_OK;
}

static enum mr_status put_ack(struct mr_buffer *out, uint16_t channel, const struct mr_method *m,
	uint32_t frame_max)
{
	if (ACK_SIZE + MR_FRAME_OVERHEAD > frame_max) return MR_BAD_ARGUMENT;
	if (mr_buffer_reserve(out, ACK_SIZE + MR_FRAME_OVERHEAD) != MR_OK) return MR_NO_MEMORY;
	uint8_t *at = put_head(mr_buffer_tail(out), channel, ACK_SIZE, m->id);
	mr_put64(at, m->tag);
	at[8] = m->flags & 1;
	at[9] = MR_FRAME_END;
	out->end += ACK_SIZE + MR_FRAME_OVERHEAD;
	return MR_OK;
}

enum mr_status mr_hot_put(struct mr_buffer *out, uint16_t channel, const struct mr_method *method,
	uint32_t frame_max)
{
	switch (method->id) {
	case MR_M_BASIC_PUBLISH: return put_publish(out, channel, method, frame_max);
	case MR_M_BASIC_ACK: return put_ack(out, channel, method, frame_max);
	default: return MR_BAD_ARGUMENT;
	}
}
