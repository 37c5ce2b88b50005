/* message: a published message, stored once for all queues that hold it.
 * SPDX-License-Identifier: MIT
 * Broker thread. Reference-counted; the bytes never change after mr_message_inspect. */
#ifndef MR_BROKER_STORE_MESSAGE_H
#define MR_BROKER_STORE_MESSAGE_H

#include "base/slice.h"
#include "codec/walk.h"

#define MR_NO_EXPIRATION UINT64_MAX
#define MR_REPLY_QUEUE "amq.rabbitmq.reply-to" /* direct reply-to: each channel's own */

struct mr_message {
	uint32_t refs;
	uint32_t properties_size, bcc_size;
	uint32_t headers_at; /* in the properties; 0: none */
	uint64_t body_size;
	uint64_t expiration; /* ms, or MR_NO_EXPIRATION */
	uint8_t exchange_size, key_size;
	uint8_t priority; /* 0 if there is none */
	char data
		[]; /* exchange, routing key, what BCC said (an encoded array), encoded properties, body */
};

/* The addresses of a message: CC and BCC are encoded arrays, headers an encoded table; empty:
 * none. */
struct mr_addresses {
	mr_slice key, cc, bcc, headers;
};

/* *Gives* a message with one reference and room for the body, which the caller fills. NULL when out
 * of memory. */
struct mr_message *mr_message_new(mr_slice exchange, mr_slice key, mr_slice properties,
	uint64_t body_room);
static inline struct mr_message *mr_message_keep(struct mr_message *m)
{
	m->refs++;
	return m;
}
/* Drops a reference; returns the bytes freed, 0 while there are others. NULL is allowed. */
size_t mr_message_drop(struct mr_message *m);
size_t mr_message_weight(const struct mr_message *m);

static inline mr_slice mr_message_exchange(const struct mr_message *m)
{
	return mr_slice_of(m->data, m->exchange_size);
}
static inline mr_slice mr_message_key(const struct mr_message *m)
{
	return mr_slice_of(m->data + m->exchange_size, m->key_size);
}
static inline mr_slice mr_message_properties(const struct mr_message *m)
{
	return mr_slice_of(m->data + m->exchange_size + m->key_size + m->bcc_size,
		m->properties_size);
}
static inline mr_slice mr_message_bcc(const struct mr_message *m)
{
	return mr_slice_of(m->data + m->exchange_size + m->key_size, m->bcc_size);
}
/* An encoded table; empty if there is none. */
mr_slice mr_message_headers(const struct mr_message *m);
static inline mr_slice mr_message_body(const struct mr_message *m)
{
	return mr_slice_of(m->data + m->exchange_size + m->key_size + m->bcc_size +
				   m->properties_size,
		m->body_size);
}

/* Checks the properties and reads priority and expiration. `user` is the publisher's login;
 * `reply_queue` (may be NULL) replaces MR_REPLY_QUEUE in reply_to. Removes BCC from the headers. *m
 * may become another message. MR_INTERNAL_ERROR (541): malformed; MR_PRECONDITION_FAILED (406): a
 * bad expiration, another user's user_id, CC or BCC that are not lists, no reply queue;
 * MR_NO_MEMORY. */
enum mr_status mr_message_inspect(struct mr_message **m, mr_slice user, const char *reply_queue,
	mr_error *error);
struct mr_addresses mr_message_addresses(const struct mr_message *m);
/* *gives* a copy with other names and properties; NULL when out of memory. */
struct mr_message *mr_message_with(const struct mr_message *m, mr_slice exchange,
	const struct mr_addresses *to, const struct mr_parts *parts);

#endif
