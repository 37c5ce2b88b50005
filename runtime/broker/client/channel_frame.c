/* channel_frame: dispatches the frames of a channel.
 * SPDX-License-Identifier: MIT */
#include "broker/client/channel_frame.h"

#include "broker/client/basic.h"
#include "broker/client/confirm.h"
#include "broker/client/declare.h"
#include "broker/client/publish.h"
#include "broker/client/quit.h"
#include "broker/client/settle.h"
#include "broker/store/reply_error.h"

static void close_ok(struct mr_broker_channel *ch)
{
	mr_confirm_flush(ch);
	mr_quit_begin(ch, MR_M_CHANNEL_CLOSE_OK);
}

static enum mr_status flow(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	struct mr_method ok = {.id = MR_M_CHANNEL_FLOW_OK, .flags = 1};
	if (!(m->bits & 1)) return mr_reply_error(error, 540, "active=false");
	mr_broker_channel_put(ch, &ok);
	return MR_OK;
}

/* A method of AMQP 0-8 that old clients still send: each gets ticket 1. */
static enum mr_status access_request(struct mr_broker_channel *ch)
{
	uint8_t answer[] = {1, 0, 0, 0, 0, 0, 6, 0, 30, 0, 11, 0, 1, MR_FRAME_END};
	mr_put16(answer + 1, ch->number);
	if (mr_buffer_append(&ch->session->out, answer, sizeof answer) != MR_OK)
		mr_broker_session_end(ch->session);
	ch->session->touch(ch->session->owner);
	return MR_OK;
}

static enum mr_status channel_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_CHANNEL_OPEN: return mr_reply_error(error, 504, "second 'channel.open' seen");
	case MR_M_CHANNEL_CLOSE: close_ok(ch); return MR_OK;
	case MR_M_CHANNEL_FLOW: return flow(ch, m, error);
	default: return mr_reply_error(error, 503, "unimplemented method");
	}
}

static enum mr_status basic_method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id) {
	case MR_M_BASIC_PUBLISH: return mr_publish_begin(ch, m, error);
	case MR_M_BASIC_QOS: return mr_basic_qos(ch, m, error);
	case MR_M_BASIC_CONSUME: return mr_basic_consume(ch, m, error);
	case MR_M_BASIC_CANCEL: return mr_basic_cancel(ch, m);
	case MR_M_BASIC_GET: return mr_basic_get(ch, m, error);
	default: return mr_settle_method(ch, m, error);
	}
}

static enum mr_status method(struct mr_broker_channel *ch, const struct mr_client_method *m,
	mr_error *error)
{
	switch (m->id >> 16) {
	case 20: return channel_method(ch, m, error);
	case 40:
	case 50: return mr_declare_method(ch, m, error);
	case 60: return basic_method(ch, m, error);
	case 85:
	case 90: return mr_publish_mode(ch, m, error);
	case 30: return access_request(ch);
	default: return mr_reply_error(error, 503, "unimplemented method");
	}
}

/* After our close only its answer, or the client's own close, is handled. */
static enum mr_status when_closing(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *failing, mr_error *error)
{
	if (frame->type != MR_FRAME_METHOD) return MR_OK;
	*failing = mr_get32(frame->payload);
	if (*failing == MR_M_CHANNEL_OPEN)
		return mr_reply_error(error, 504, "second 'channel.open' seen");
	if (*failing == MR_M_CHANNEL_CLOSE) mr_broker_channel_put_simple(ch, MR_M_CHANNEL_CLOSE_OK);
	if (*failing == MR_M_CHANNEL_CLOSE_OK) mr_quit_free(ch);
	return MR_OK;
}

enum mr_status mr_channel_frame(struct mr_broker_channel *ch, const struct mr_frame *frame,
	uint32_t *failing, mr_error *error)
{
	struct mr_client_method m;
	if (ch->closing) return when_closing(ch, frame, failing, error);
	if (frame->type != MR_FRAME_METHOD || ch->incoming.state != MR_INCOMING_NONE) {
		if (ch->incoming.state != MR_INCOMING_NONE) *failing = MR_M_BASIC_PUBLISH;
		return mr_publish_frame(ch, frame, error);
	}
	*failing = mr_get32(frame->payload);
	enum mr_status st = mr_client_method_decode(frame, &m, error);
	return st == MR_OK ? method(ch, &m, error) : st;
}
