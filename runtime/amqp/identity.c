/* identity: identifies a publish when the broker returns it, because AMQP gives a return no number.
 * SPDX-License-Identifier: MIT
 * The broker changes two properties: it removes BCC from the headers, and adds the name of the channel to a reply_to
 * that is the pseudo-queue of direct replies. The hash is then of a copy of the properties without them. */
#include "amqp/identity.h"

#include "base/hash.h"
#include "codec/properties.h"

#define REPLY_TO "amq.rabbitmq.reply-to"

static uint64_t hash_of(mr_slice properties) { return mr_hash(1, properties); }

static bool contains(mr_slice in, mr_slice what)
{
	return in.size && memmem(in.data, in.size, what.data, what.size) != NULL;
}

/* *gives* the headers without BCC; NULL when memory fails. */
static mr_table *without_bcc(const mr_table *headers)
{
	mr_table *rest = mr_table_new();
	for (uint32_t i = 0; rest && headers && i < headers->count; i++) {
		if (mr_slice_equal(headers->fields[i].key, mr_slice_str("BCC"))) continue;
		if (mr_table_add_copy(rest, &headers->fields[i]) == MR_OK) continue;
		mr_table_free(rest);
		rest = NULL;
	}
	return rest;
}

/* The hash of the lasting properties; of all of them if they are malformed. */
static uint64_t hash_of_lasting(mr_slice properties)
{
	const size_t size = sizeof REPLY_TO - 1;
	uint64_t hash = hash_of(properties);
	mr_properties p = {0};
	struct mr_buffer out = {0};
	if (mr_properties_decode((const uint8_t *)properties.data, properties.size, &p) != MR_OK)
		return hash;
	mr_table *headers = p.headers;
	if (headers) p.headers = without_bcc(headers);
	if (p.reply_to.size >= size && memcmp(p.reply_to.data, REPLY_TO, size) == 0)
		p.flags &= ~(uint32_t)MR_HAS_REPLY_TO;
	if (!headers == !p.headers && mr_properties_put(&out, &p, NULL) == MR_OK)
		hash = hash_of(
			mr_slice_of((const char *)mr_buffer_data(&out), mr_buffer_size(&out)));
	mr_buffer_fini(&out);
	mr_table_free(p.headers);
	mr_table_free(headers);
	return hash;
}

static uint64_t content_of(mr_slice exchange, mr_slice key, mr_slice body)
{
	uint64_t hash = mr_hash(mr_hash(mr_hash(0, exchange), key), body);
	return hash ? hash : 1;
}

struct mr_identity mr_identity_of(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body)
{
	struct mr_identity id = {.content = content_of(exchange, key, body)};
	id.changes = contains(properties, mr_slice_str("\3BCC")) ||
	             contains(properties, mr_slice_str(REPLY_TO));
	if (id.changes)
		id.lasting = hash_of_lasting(properties);
	else
		id.properties = hash_of(properties);
	return id;
}

struct mr_identity mr_identity_returned(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body)
{
	return (struct mr_identity){content_of(exchange, key, body), hash_of(properties),
		hash_of_lasting(properties), true};
}
