/* method: AMQP methods as one common struct, encoded and decoded by rabbitmq-c's codec.
 * SPDX-License-Identifier: MIT */
#include "codec/method.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "codec/frame.h"
#include "codec/rabbitmqc.h"

#define HEAD (MR_FRAME_HEAD + 4) /* the head of a method frame, with the method */
#define FIXED_MAX 64             /* bytes of any method without its strings and its table */
#define POOL_PAGE                                                                                  \
	256 /* enough for any record, and kept; a larger start gets pages that are freed */

struct mr_codec {
	amqp_pool_t pool;
};

enum mr_status mr_codec_open(struct mr_codec **out)
{
	struct mr_codec *codec = mr_calloc(1, sizeof *codec);
	if (!codec) return MR_NO_MEMORY;
	init_amqp_pool(&codec->pool, POOL_PAGE);
	*out = codec;
	return MR_OK;
}

void mr_codec_close(struct mr_codec *codec)
{
	if (!codec) return;
	empty_amqp_pool(&codec->pool);
	mr_free(codec);
}

const char *mr_method_name(uint32_t id)
{
	/* rabbitmq-c's names look like AMQP_QUEUE_DECLARE_OK_METHOD; these are the names of
	 * AMQP. */
	static const struct {
		uint32_t id;
		const char *name;
	} names[] = {
#define NAME(upper, name) {MR_M_##upper, name}
		NAME(CONNECTION_START, "connection.start"),
		NAME(CONNECTION_START_OK, "connection.start-ok"),
		NAME(CONNECTION_SECURE, "connection.secure"),
		NAME(CONNECTION_TUNE, "connection.tune"),
		NAME(CONNECTION_TUNE_OK, "connection.tune-ok"),
		NAME(CONNECTION_OPEN, "connection.open"),
		NAME(CONNECTION_OPEN_OK, "connection.open-ok"),
		NAME(CONNECTION_CLOSE, "connection.close"),
		NAME(CONNECTION_CLOSE_OK, "connection.close-ok"),
		NAME(CONNECTION_BLOCKED, "connection.blocked"),
		NAME(CONNECTION_UNBLOCKED, "connection.unblocked"),
		NAME(CHANNEL_OPEN, "channel.open"),
		NAME(CHANNEL_OPEN_OK, "channel.open-ok"),
		NAME(CHANNEL_FLOW, "channel.flow"),
		NAME(CHANNEL_FLOW_OK, "channel.flow-ok"),
		NAME(CHANNEL_CLOSE, "channel.close"),
		NAME(CHANNEL_CLOSE_OK, "channel.close-ok"),
		NAME(EXCHANGE_DECLARE, "exchange.declare"),
		NAME(EXCHANGE_DECLARE_OK, "exchange.declare-ok"),
		NAME(EXCHANGE_DELETE, "exchange.delete"),
		NAME(EXCHANGE_DELETE_OK, "exchange.delete-ok"),
		NAME(EXCHANGE_BIND, "exchange.bind"),
		NAME(EXCHANGE_BIND_OK, "exchange.bind-ok"),
		NAME(EXCHANGE_UNBIND, "exchange.unbind"),
		NAME(EXCHANGE_UNBIND_OK, "exchange.unbind-ok"),
		NAME(QUEUE_DECLARE, "queue.declare"),
		NAME(QUEUE_DECLARE_OK, "queue.declare-ok"),
		NAME(QUEUE_BIND, "queue.bind"),
		NAME(QUEUE_BIND_OK, "queue.bind-ok"),
		NAME(QUEUE_PURGE, "queue.purge"),
		NAME(QUEUE_PURGE_OK, "queue.purge-ok"),
		NAME(QUEUE_DELETE, "queue.delete"),
		NAME(QUEUE_DELETE_OK, "queue.delete-ok"),
		NAME(QUEUE_UNBIND, "queue.unbind"),
		NAME(QUEUE_UNBIND_OK, "queue.unbind-ok"),
		NAME(BASIC_QOS, "basic.qos"),
		NAME(BASIC_QOS_OK, "basic.qos-ok"),
		NAME(BASIC_CONSUME, "basic.consume"),
		NAME(BASIC_CONSUME_OK, "basic.consume-ok"),
		NAME(BASIC_CANCEL, "basic.cancel"),
		NAME(BASIC_CANCEL_OK, "basic.cancel-ok"),
		NAME(BASIC_PUBLISH, "basic.publish"),
		NAME(BASIC_RETURN, "basic.return"),
		NAME(BASIC_DELIVER, "basic.deliver"),
		NAME(BASIC_GET, "basic.get"),
		NAME(BASIC_GET_OK, "basic.get-ok"),
		NAME(BASIC_GET_EMPTY, "basic.get-empty"),
		NAME(BASIC_ACK, "basic.ack"),
		NAME(BASIC_REJECT, "basic.reject"),
		NAME(BASIC_RECOVER, "basic.recover"),
		NAME(BASIC_RECOVER_OK, "basic.recover-ok"),
		NAME(BASIC_NACK, "basic.nack"),
		NAME(CONFIRM_SELECT, "confirm.select"),
		NAME(CONFIRM_SELECT_OK, "confirm.select-ok"),
		NAME(TX_SELECT, "tx.select"),
		NAME(TX_SELECT_OK, "tx.select-ok"),
		NAME(TX_COMMIT, "tx.commit"),
		NAME(TX_COMMIT_OK, "tx.commit-ok"),
		NAME(TX_ROLLBACK, "tx.rollback"),
		NAME(TX_ROLLBACK_OK, "tx.rollback-ok"),
#undef NAME
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].id == id) return names[i].name;
	return "unknown";
}

/* ---- decoding ---- */

static void take_close(struct mr_method *out, const amqp_connection_close_t *m)
{
	out->code = m->reply_code;
	out->text = mr_rc_slice(m->reply_text);
	out->failing = MR_METHOD(m->class_id, m->method_id);
}

static void take_message(struct mr_method *out, const void *decoded)
{
	if (out->id == MR_M_BASIC_DELIVER) {
		const amqp_basic_deliver_t *m = decoded;
		out->other = mr_rc_slice(m->consumer_tag);
		out->tag = m->delivery_tag;
		out->flags = m->redelivered ? 1 : 0;
		out->name = mr_rc_slice(m->exchange);
		out->key = mr_rc_slice(m->routing_key);
	} else if (out->id == MR_M_BASIC_GET_OK) {
		const amqp_basic_get_ok_t *m = decoded;
		out->tag = m->delivery_tag;
		out->flags = m->redelivered ? 1 : 0;
		out->name = mr_rc_slice(m->exchange);
		out->key = mr_rc_slice(m->routing_key);
		out->count = m->message_count;
	} else {
		const amqp_basic_return_t *m = decoded;
		out->code = m->reply_code;
		out->text = mr_rc_slice(m->reply_text);
		out->name = mr_rc_slice(m->exchange);
		out->key = mr_rc_slice(m->routing_key);
	}
}

static enum mr_status take_start(struct mr_method *out, const amqp_connection_start_t *m,
	mr_error *error)
{
	if (m->version_major != 0 || m->version_minor != 9)
		return mr_error_set(error, MR_PROTOCOL_MISMATCH, MR_SCOPE_CONNECTION, 0,
			"the broker speaks AMQP %u-%u, not 0-9", m->version_major,
			m->version_minor);
	out->text = mr_rc_slice(m->mechanisms);
	out->other = mr_rc_slice(m->locales);
	return mr_table_rc_from(&out->table, &m->server_properties);
}

static void take_counts(struct mr_method *out, const void *decoded)
{
	switch (out->id) {
	case MR_M_QUEUE_DECLARE_OK:
		out->name = mr_rc_slice(((const amqp_queue_declare_ok_t *)decoded)->queue);
		out->count = ((const amqp_queue_declare_ok_t *)decoded)->message_count;
		out->consumers = ((const amqp_queue_declare_ok_t *)decoded)->consumer_count;
		break;
	case MR_M_QUEUE_PURGE_OK:
		out->count = ((const amqp_queue_purge_ok_t *)decoded)->message_count;
		break;
	case MR_M_QUEUE_DELETE_OK:
		out->count = ((const amqp_queue_delete_ok_t *)decoded)->message_count;
		break;
	case MR_M_CONNECTION_TUNE:
		out->channel_max = ((const amqp_connection_tune_t *)decoded)->channel_max;
		out->count = ((const amqp_connection_tune_t *)decoded)->frame_max;
		out->heartbeat = ((const amqp_connection_tune_t *)decoded)->heartbeat;
		break;
	default: break;
	}
}

static enum mr_status translate(struct mr_method *out, const void *decoded, mr_error *error)
{
	switch (out->id) {
	case MR_M_CONNECTION_START: return take_start(out, decoded, error);
	case MR_M_CONNECTION_CLOSE:
	case MR_M_CHANNEL_CLOSE:
		take_close(out, decoded);
		break; /* both have the same fields in the same order */
	case MR_M_CONNECTION_BLOCKED:
		out->text = mr_rc_slice(((const amqp_connection_blocked_t *)decoded)->reason);
		break;
	case MR_M_CHANNEL_FLOW:
		out->flags = ((const amqp_channel_flow_t *)decoded)->active ? 1 : 0;
		break;
	case MR_M_BASIC_CONSUME_OK:
		out->name = mr_rc_slice(((const amqp_basic_consume_ok_t *)decoded)->consumer_tag);
		break;
	case MR_M_BASIC_CANCEL_OK:
		out->name = mr_rc_slice(((const amqp_basic_cancel_ok_t *)decoded)->consumer_tag);
		break;
	case MR_M_BASIC_CANCEL:
		out->name = mr_rc_slice(((const amqp_basic_cancel_t *)decoded)->consumer_tag);
		out->flags = ((const amqp_basic_cancel_t *)decoded)->nowait ? 1 : 0;
		break;
	case MR_M_BASIC_ACK:
		out->tag = ((const amqp_basic_ack_t *)decoded)->delivery_tag;
		out->flags = ((const amqp_basic_ack_t *)decoded)->multiple ? 1 : 0;
		break;
	case MR_M_BASIC_NACK:
		out->tag = ((const amqp_basic_nack_t *)decoded)->delivery_tag;
		out->flags = ((const amqp_basic_nack_t *)decoded)->multiple ? 1 : 0;
		break;
	case MR_M_BASIC_DELIVER:
	case MR_M_BASIC_GET_OK:
	case MR_M_BASIC_RETURN: take_message(out, decoded); break;
	default: take_counts(out, decoded); break;
	}
	return MR_OK;
}

enum mr_status mr_method_decode(struct mr_codec *codec, const struct mr_frame *frame,
	struct mr_method *out, mr_error *error)
{
	void *decoded = NULL;
	struct mr_method m = {.id = mr_get32(frame->payload)};
	mr_slice body = mr_slice_of((const char *)frame->payload + 4, frame->size - 4);
	int rc = amqp_decode_method(m.id, &codec->pool, mr_rc_bytes(body), &decoded);
	enum mr_status st = rc == AMQP_STATUS_OK ? translate(&m, decoded, error) : mr_rc_status(rc);
	/* The strings borrow from the frame, and a table was copied: the pool is not needed any
	 * more. */
	if (m.id == MR_M_CONNECTION_START)
		empty_amqp_pool(&codec->pool);
	else
		recycle_amqp_pool(&codec->pool);
	if (st == MR_OK) *out = m;
	if (st == MR_FRAME_ERROR)
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 502, "a malformed %s",
			mr_method_name(m.id));
	if (st == MR_NO_MEMORY)
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 506, "out of memory for %s",
			mr_method_name(m.id));
	return st;
}

/* ---- encoding ---- */

/* Room for the rabbitmq-c record of any method. */
union record {
	amqp_connection_start_t start;
	amqp_connection_start_ok_t start_ok;
	amqp_connection_tune_t tune;
	amqp_connection_tune_ok_t tune_ok;
	amqp_connection_open_t open;
	amqp_connection_close_t close;
	amqp_connection_blocked_t blocked;
	amqp_channel_flow_t flow;
	amqp_exchange_declare_t exchange_declare;
	amqp_exchange_delete_t exchange_delete;
	amqp_exchange_bind_t exchange_bind;
	amqp_exchange_unbind_t exchange_unbind;
	amqp_queue_declare_t queue_declare;
	amqp_queue_declare_ok_t queue_declare_ok;
	amqp_queue_bind_t queue_bind;
	amqp_queue_unbind_t queue_unbind;
	amqp_queue_purge_t queue_purge;
	amqp_queue_delete_t queue_delete;
	amqp_basic_qos_t qos;
	amqp_basic_consume_t consume;
	amqp_basic_cancel_t cancel;
	amqp_basic_consume_ok_t consume_ok;
	amqp_basic_publish_t publish;
	amqp_basic_return_t returned;
	amqp_basic_deliver_t deliver;
	amqp_basic_get_t get;
	amqp_basic_get_ok_t get_ok;
	amqp_basic_ack_t ack;
	amqp_basic_nack_t nack;
	amqp_basic_reject_t reject;
	amqp_basic_recover_t recover;
};

#define BIT_OF(flag) ((m->flags & (flag)) != 0)

/* The methods that a client sends on channel 0, and close on any channel. */
static void fill_connection(union record *r, const struct mr_method *m, const amqp_table_t *table)
{
	switch (m->id) {
	case MR_M_CONNECTION_START:
		r->start = (amqp_connection_start_t){0, 9, *table, mr_rc_bytes(m->text),
			mr_rc_bytes(m->other)};
		break;
	case MR_M_CONNECTION_START_OK:
		r->start_ok = (amqp_connection_start_ok_t){*table, mr_rc_bytes(m->name),
			mr_rc_bytes(m->text), mr_rc_bytes(m->other)};
		break;
	case MR_M_CONNECTION_TUNE:
	case MR_M_CONNECTION_TUNE_OK:
		r->tune_ok = (amqp_connection_tune_ok_t){m->channel_max, m->count, m->heartbeat};
		break;
	case MR_M_CONNECTION_OPEN:
		r->open = (amqp_connection_open_t){.virtual_host = mr_rc_bytes(m->name),
			.insist = BIT_OF(1)};
		break;
	case MR_M_CONNECTION_BLOCKED: r->blocked.reason = mr_rc_bytes(m->text); break;
	case MR_M_CONNECTION_CLOSE:
	case MR_M_CHANNEL_CLOSE:
		r->close = (amqp_connection_close_t){m->code, mr_rc_bytes(m->text),
			(uint16_t)(m->failing >> 16), (uint16_t)m->failing};
		break;
	case MR_M_CHANNEL_FLOW:
	case MR_M_CHANNEL_FLOW_OK: r->flow.active = BIT_OF(1); break;
	default: break;
	}
}

static void fill_topology(union record *r, const struct mr_method *m, const amqp_table_t *table)
{
	amqp_bytes_t name = mr_rc_bytes(m->name), other = mr_rc_bytes(m->other),
		     key = mr_rc_bytes(m->key);
	switch (m->id) {
	case MR_M_EXCHANGE_DECLARE:
		r->exchange_declare = (amqp_exchange_declare_t){0, name, other, BIT_OF(MR_PASSIVE),
			BIT_OF(MR_DURABLE), BIT_OF(MR_AUTO_DELETE), BIT_OF(MR_INTERNAL), 0, *table};
		break;
	case MR_M_EXCHANGE_DELETE:
		r->exchange_delete = (amqp_exchange_delete_t){0, name, BIT_OF(MR_IF_UNUSED), 0};
		break;
	case MR_M_EXCHANGE_BIND:
	case MR_M_EXCHANGE_UNBIND:
		r->exchange_bind = (amqp_exchange_bind_t){0, name, other, key, 0, *table};
		break;
	case MR_M_QUEUE_DECLARE:
		r->queue_declare =
			(amqp_queue_declare_t){0, name, BIT_OF(MR_PASSIVE), BIT_OF(MR_DURABLE),
				BIT_OF(MR_EXCLUSIVE), BIT_OF(MR_AUTO_DELETE), 0, *table};
		break;
	case MR_M_QUEUE_DECLARE_OK:
		r->queue_declare_ok = (amqp_queue_declare_ok_t){name, m->count, m->consumers};
		break;
	case MR_M_QUEUE_BIND:
		r->queue_bind = (amqp_queue_bind_t){0, name, other, key, 0, *table};
		break;
	case MR_M_QUEUE_UNBIND:
		r->queue_unbind = (amqp_queue_unbind_t){0, name, other, key, *table};
		break;
	case MR_M_QUEUE_PURGE: r->queue_purge = (amqp_queue_purge_t){0, name, 0}; break;
	case MR_M_QUEUE_PURGE_OK:
	case MR_M_QUEUE_DELETE_OK:
		memcpy(r, &m->count, sizeof m->count);
		break; /* its only field is message_count */
	case MR_M_QUEUE_DELETE:
		r->queue_delete = (amqp_queue_delete_t){0, name, BIT_OF(MR_IF_UNUSED),
			BIT_OF(MR_IF_EMPTY), 0};
		break;
	default: break;
	}
}

static void fill_basic(union record *r, const struct mr_method *m, const amqp_table_t *table)
{
	amqp_bytes_t name = mr_rc_bytes(m->name), other = mr_rc_bytes(m->other),
		     key = mr_rc_bytes(m->key);
	switch (m->id) {
	case MR_M_BASIC_QOS:
		r->qos = (amqp_basic_qos_t){0, (uint16_t)m->count, BIT_OF(MR_GLOBAL)};
		break;
	case MR_M_BASIC_CONSUME:
		r->consume = (amqp_basic_consume_t){0, name, other, BIT_OF(MR_NO_LOCAL),
			BIT_OF(MR_NO_ACK), BIT_OF(MR_EXCLUSIVE), 0, *table};
		break;
	case MR_M_BASIC_CONSUME_OK:
	case MR_M_BASIC_CANCEL_OK: r->consume_ok.consumer_tag = name; break;
	case MR_M_BASIC_CANCEL: r->cancel = (amqp_basic_cancel_t){name, BIT_OF(1)}; break;
	case MR_M_BASIC_PUBLISH:
		r->publish = (amqp_basic_publish_t){0, name, key, BIT_OF(MR_MANDATORY), 0};
		break;
	case MR_M_BASIC_RETURN:
		r->returned = (amqp_basic_return_t){m->code, mr_rc_bytes(m->text), name, key};
		break;
	case MR_M_BASIC_DELIVER:
		r->deliver = (amqp_basic_deliver_t){other, m->tag, BIT_OF(1), name, key};
		break;
	case MR_M_BASIC_GET: r->get = (amqp_basic_get_t){0, name, BIT_OF(MR_NO_ACK)}; break;
	case MR_M_BASIC_GET_OK:
		r->get_ok = (amqp_basic_get_ok_t){m->tag, BIT_OF(1), name, key, m->count};
		break;
	case MR_M_BASIC_ACK: r->ack = (amqp_basic_ack_t){m->tag, BIT_OF(1)}; break;
	case MR_M_BASIC_NACK:
		r->nack = (amqp_basic_nack_t){m->tag, BIT_OF(1), BIT_OF(MR_REQUEUE)};
		break;
	case MR_M_BASIC_REJECT:
		r->reject = (amqp_basic_reject_t){m->tag, BIT_OF(MR_REQUEUE)};
		break;
	case MR_M_BASIC_RECOVER: r->recover.requeue = BIT_OF(MR_REQUEUE); break;
	default: break;
	}
}

static enum mr_status refuse(mr_error *error, const struct mr_method *m, const char *what)
{
	return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_NONE, 0, "%s: %s",
		mr_method_name(m->id), what);
}

/* rabbitmq-c writes the length of a short string into one octet without a check. */
static bool strings_fit(const struct mr_method *m)
{
	bool text_is_long = m->id == MR_M_CONNECTION_START || m->id == MR_M_CONNECTION_START_OK;
	bool other_is_long = m->id == MR_M_CONNECTION_START;
	return m->name.size <= 255 && m->key.size <= 255 &&
	       (other_is_long || m->other.size <= 255) && (text_is_long || m->text.size <= 255);
}

static void fill(union record *r, const struct mr_method *m, const amqp_table_t *table)
{
	memset(r, 0, sizeof *r);
	if (m->id >> 16 <= 20)
		fill_connection(r, m, table);
	else if (m->id >> 16 <= 50)
		fill_topology(r, m, table);
	else
		fill_basic(r, m, table);
}

/* Encodes in place, after the end of `out`, and then moves the end. */
static enum mr_status put(struct mr_buffer *out, uint16_t channel, const struct mr_method *m,
	const amqp_table_t *table, uint32_t frame_max, mr_error *error)
{
	union record record;
	size_t room = m->name.size + m->other.size + m->key.size + m->text.size + FIXED_MAX;
	if (m->table) room += mr_table_rc_bound(m->table);
	if (room > INT32_MAX) return refuse(error, m, "its arguments are over 2 GiB");
	if (mr_buffer_reserve(out, HEAD + room + 1) != MR_OK) return MR_NO_MEMORY;
	uint8_t *at = mr_buffer_tail(out);
	fill(&record, m, table);
	int n = amqp_encode_method(m->id, &record, (amqp_bytes_t){room, at + HEAD});
	if (n < 0) return refuse(error, m, "its arguments do not encode");
	size_t size = HEAD + (size_t)n + 1;
	if (size > frame_max) return refuse(error, m, "its arguments are larger than frame_max");
	at[0] = MR_FRAME_METHOD;
	mr_put16(at + 1, channel);
	mr_put32(at + 3, (uint32_t)n + 4);
	mr_put32(at + MR_FRAME_HEAD, m->id);
	at[size - 1] = MR_FRAME_END;
	out->end += size;
	return MR_OK;
}

enum mr_status mr_method_put(struct mr_buffer *out, uint16_t channel, const struct mr_method *m,
	uint32_t frame_max, mr_error *error)
{
	amqp_table_t table = {0};
	struct mr_arena *arena = NULL;
	enum mr_status st = MR_OK;
	if (!strings_fit(m)) return refuse(error, m, "a name is longer than 255 bytes");
	if (m->id == MR_M_BASIC_QOS && m->count > UINT16_MAX)
		return refuse(error, m, "a prefetch count over 65535");
	if (m->table) {
		arena = mr_arena_open(512);
		st = arena ? mr_table_rc_to(&table, m->table, arena, error) : MR_NO_MEMORY;
	}
	if (st == MR_OK) st = put(out, channel, m, &table, frame_max, error);
	mr_arena_close(arena);
	if (st == MR_NO_MEMORY)
		mr_error_set(error, st, MR_SCOPE_NONE, 0, "out of memory for %s",
			mr_method_name(m->id));
	return st;
}
