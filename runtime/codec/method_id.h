/* method_id: the numbers of AMQP's methods, and the fields of struct mr_method that each uses.
 * SPDX-License-Identifier: MIT */
#ifndef MR_CODEC_METHOD_ID_H
#define MR_CODEC_METHOD_ID_H

#include <stdint.h>

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

#endif
