/* method: AMQP methods as one neutral record, and their bytes by rabbitmq-c's codec.
 * SPDX-License-Identifier: MIT
 * Pure. The only users of rabbitmq-c are method.c, table.c and properties.c. */
#ifndef MR_CODEC_METHOD_H
#define MR_CODEC_METHOD_H

#include "base/buffer.h"
#include "codec/guard.h"

#define MR_METHOD(class_id, method_id) ((uint32_t)(class_id) << 16 | (method_id))

enum mr_method_id {
	MR_M_CONNECTION_START =
		MR_METHOD(10, 10), /* table: server properties; text: mechanisms; other: locales */
	MR_M_CONNECTION_START_OK = MR_METHOD(10,
		11), /* table: client properties; name: mechanism; text: response; other: locale */
	MR_M_CONNECTION_SECURE = MR_METHOD(10, 20),
	MR_M_CONNECTION_TUNE = MR_METHOD(10, 30), /* channel_max, count: frame_max, heartbeat */
	MR_M_CONNECTION_TUNE_OK = MR_METHOD(10, 31),
	MR_M_CONNECTION_OPEN = MR_METHOD(10, 40), /* name: vhost; flags: 1 = insist */
	MR_M_CONNECTION_OPEN_OK = MR_METHOD(10, 41),
	MR_M_CONNECTION_CLOSE = MR_METHOD(10, 50), /* code, text, failing */
	MR_M_CONNECTION_CLOSE_OK = MR_METHOD(10, 51),
	MR_M_CONNECTION_BLOCKED = MR_METHOD(10, 60), /* text: reason */
	MR_M_CONNECTION_UNBLOCKED = MR_METHOD(10, 61),
	MR_M_CONNECTION_UPDATE_SECRET = MR_METHOD(10, 70), /* RabbitMQ's; not in rabbitmq-c 0.11 */
	MR_M_CONNECTION_UPDATE_SECRET_OK = MR_METHOD(10, 71),
	MR_M_CHANNEL_OPEN = MR_METHOD(20, 10),
	MR_M_CHANNEL_OPEN_OK = MR_METHOD(20, 11),
	MR_M_CHANNEL_FLOW = MR_METHOD(20, 20), /* flags: 1 = active */
	MR_M_CHANNEL_FLOW_OK = MR_METHOD(20, 21),
	MR_M_CHANNEL_CLOSE = MR_METHOD(20, 40), /* code, text, failing */
	MR_M_CHANNEL_CLOSE_OK = MR_METHOD(20, 41),
	MR_M_EXCHANGE_DECLARE = MR_METHOD(40, 10), /* name, other: type, flags, table */
	MR_M_EXCHANGE_DECLARE_OK = MR_METHOD(40, 11),
	MR_M_EXCHANGE_DELETE = MR_METHOD(40, 20), /* name, flags MR_IF_UNUSED */
	MR_M_EXCHANGE_DELETE_OK = MR_METHOD(40, 21),
	MR_M_EXCHANGE_BIND = MR_METHOD(40, 30), /* name: destination, other: source, key, table */
	MR_M_EXCHANGE_BIND_OK = MR_METHOD(40, 31),
	MR_M_EXCHANGE_UNBIND = MR_METHOD(40, 40),
	MR_M_EXCHANGE_UNBIND_OK = MR_METHOD(40, 51),
	MR_M_QUEUE_DECLARE = MR_METHOD(50, 10),    /* name, flags, table */
	MR_M_QUEUE_DECLARE_OK = MR_METHOD(50, 11), /* name, count: messages, consumers */
	MR_M_QUEUE_BIND = MR_METHOD(50, 20),       /* name, other: exchange, key, table */
	MR_M_QUEUE_BIND_OK = MR_METHOD(50, 21),
	MR_M_QUEUE_PURGE = MR_METHOD(50, 30),     /* name */
	MR_M_QUEUE_PURGE_OK = MR_METHOD(50, 31),  /* count */
	MR_M_QUEUE_DELETE = MR_METHOD(50, 40),    /* name, flags MR_IF_UNUSED MR_IF_EMPTY */
	MR_M_QUEUE_DELETE_OK = MR_METHOD(50, 41), /* count */
	MR_M_QUEUE_UNBIND = MR_METHOD(50, 50),    /* as bind */
	MR_M_QUEUE_UNBIND_OK = MR_METHOD(50, 51),
	MR_M_BASIC_QOS = MR_METHOD(60, 10), /* count: prefetch_count, flags MR_GLOBAL */
	MR_M_BASIC_QOS_OK = MR_METHOD(60, 11),
	MR_M_BASIC_CONSUME = MR_METHOD(60, 20),    /* name: queue, other: tag, flags, table */
	MR_M_BASIC_CONSUME_OK = MR_METHOD(60, 21), /* name: tag */
	MR_M_BASIC_CANCEL = MR_METHOD(60, 30), /* name: tag; flags: 1 = no_wait (both directions) */
	MR_M_BASIC_CANCEL_OK = MR_METHOD(60, 31), /* name: tag */
	MR_M_BASIC_PUBLISH = MR_METHOD(60, 40),   /* name: exchange, key, flags MR_MANDATORY */
	MR_M_BASIC_RETURN = MR_METHOD(60, 50),    /* code, text, name: exchange, key */
	/* other: consumer tag, tag, flags: 1 = redelivered, name: exchange, key */
	MR_M_BASIC_DELIVER = MR_METHOD(60, 60),
	MR_M_BASIC_GET = MR_METHOD(60, 70), /* name: queue, flags MR_NO_ACK */
	MR_M_BASIC_GET_OK =
		MR_METHOD(60, 71), /* tag, flags: 1 = redelivered, name: exchange, key, count */
	MR_M_BASIC_GET_EMPTY = MR_METHOD(60, 72),
	MR_M_BASIC_ACK = MR_METHOD(60, 80),      /* tag, flags: 1 = multiple */
	MR_M_BASIC_REJECT = MR_METHOD(60, 90),   /* tag, flags: MR_REQUEUE */
	MR_M_BASIC_RECOVER = MR_METHOD(60, 110), /* flags MR_REQUEUE */
	MR_M_BASIC_RECOVER_OK = MR_METHOD(60, 111),
	MR_M_BASIC_NACK = MR_METHOD(60, 120), /* tag, flags: 1 = multiple, MR_REQUEUE */
	MR_M_CONFIRM_SELECT = MR_METHOD(85, 10),
	MR_M_CONFIRM_SELECT_OK = MR_METHOD(85, 11),
	MR_M_TX_SELECT = MR_METHOD(90, 10),
	MR_M_TX_SELECT_OK = MR_METHOD(90, 11),
	MR_M_TX_COMMIT = MR_METHOD(90, 20),
	MR_M_TX_COMMIT_OK = MR_METHOD(90, 21),
	MR_M_TX_ROLLBACK = MR_METHOD(90, 30),
	MR_M_TX_ROLLBACK_OK = MR_METHOD(90, 31)
};

struct mr_method { /* which fields a method uses stands beside its id; others are zero */
	uint32_t id;
	uint32_t flags;
	uint64_t tag;
	uint32_t count;
	uint32_t consumers;
	uint32_t failing; /* MR_METHOD(class, method) that a close complains about, or 0 */
	uint16_t code;
	uint16_t channel_max;
	uint16_t heartbeat;
	mr_slice name, other, key, text;
	mr_table *table; /* encoding borrows it; decoding a start *gives* it */
};

struct mr_codec; /* the decoder's scratch memory; one per connection, never shared */
enum mr_status mr_codec_open(struct mr_codec **out);
void mr_codec_close(struct mr_codec *codec);
/* Decodes a method frame that the guard has passed. Strings borrow from the frame. MR_FRAME_ERROR
 * (code 502) when the codec refuses; MR_PROTOCOL_MISMATCH: a start of another version than 0-9;
 * MR_NO_MEMORY. */
enum mr_status mr_method_decode(struct mr_codec *codec, const struct mr_frame *frame,
	struct mr_method *out, mr_error *error);
/* Appends one whole method frame. MR_BAD_ARGUMENT: a string over 255 bytes, a table that does not
 * encode, or a frame over frame_max; then nothing was appended. MR_NO_MEMORY. */
enum mr_status mr_method_put(struct mr_buffer *out, uint16_t channel,
	const struct mr_method *method, uint32_t frame_max, mr_error *error);
const char *mr_method_name(
	uint32_t id); /* "queue.declare"; "method 50.99" is not given: "unknown" */

#endif
