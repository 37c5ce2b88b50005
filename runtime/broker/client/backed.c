/* backed: what a store with a backing does not do, each with its error.
 * SPDX-License-Identifier: MIT */
#include "broker/client/backed.h"

#include "broker/store/dead_letter.h"
#include "broker/store/cascade.h"
#include "broker/store/fields.h"
#include "broker/store/reply_error.h"

static bool is_backed(const struct mr_broker_channel *ch)
{
	return ch->session->broker->store.backing != NULL;
}

static bool is_served(mr_slice type)
{
	return mr_slice_equal(type, mr_slice_str("direct")) ||
	       mr_slice_equal(type, mr_slice_str("topic")) ||
	       mr_slice_equal(type, mr_slice_str("fanout"));
}

enum mr_status mr_backed_check_exchange(const struct mr_broker_channel *ch, mr_slice name,
	mr_slice type, mr_slice arguments, mr_error *error)
{
	mr_value v;
	if (!is_backed(ch)) return MR_OK;
	if (mr_fields_get(arguments, "alternate-exchange", &v))
		return mr_reply_error(error, 406,
			"exchange '%.*s': Redis has no alternate exchanges", (int)name.size,
			name.data);
	if (is_served(type)) return MR_OK;
	return mr_reply_error(error, 406,
		"exchange '%.*s': on Redis exchanges are direct, topic or fanout, not %.*s",
		(int)name.size, name.data, (int)type.size, type.data);
}

enum mr_status mr_backed_check_exchange_binding(const struct mr_broker_channel *ch, mr_error *error)
{
	if (!is_backed(ch)) return MR_OK;
	return mr_reply_error(error, 406, "on Redis exchanges cannot be bound to exchanges");
}

enum mr_status mr_backed_check_queue(const struct mr_broker_channel *ch, mr_slice name,
	mr_slice arguments, mr_error *error)
{
	/* The first two are of a queue that only delays: see mr_dead_letter_delay. */
	static const char *const refused[] = {"x-message-ttl", "x-expires", "x-max-length",
		"x-max-length-bytes", "x-overflow", "x-delivery-limit", "x-single-active-consumer",
		NULL};
	mr_value v;
	if (!is_backed(ch)) return MR_OK;
	bool delays = mr_fields_get(arguments, "x-message-ttl", &v) &&
	              mr_fields_get(arguments, "x-dead-letter-exchange", &v);
	for (const char *const *key = refused + (delays ? 2 : 0); *key; key++)
		if (mr_fields_get(arguments, *key, &v))
			return mr_reply_error(error, 406, "queue '%.*s': Redis has no %s",
				(int)name.size, name.data, *key);
	bool is_typed = mr_fields_get(arguments, "x-queue-type", &v) && v.type == 'S';
	if (!is_typed || mr_slice_equal(v.as.bytes, mr_slice_str("classic"))) return MR_OK;
	return mr_reply_error(error, 406, "queue '%.*s': Redis has no x-queue-type %.*s",
		(int)name.size, name.data, (int)v.as.bytes.size, v.as.bytes.data);
}

enum mr_status mr_backed_check_message(const struct mr_broker_channel *ch,
	const struct mr_message *m, mr_error *error)
{
	if (!is_backed(ch)) return MR_OK;
	const struct mr_exchange *x = mr_vhost_exchange(ch->session->vhost, mr_message_exchange(m));
	struct mr_addresses to = mr_message_addresses(m);
	if (to.cc.size || to.bcc.size)
		return mr_reply_error(error, 406, "on Redis messages have no CC and no BCC");
	if (!x || x->type != MR_X_HEADERS || mr_cascade_is(mr_slice_str(x->name))) return MR_OK;
	return mr_reply_error(error, 406,
		"exchange '%s': on Redis exchanges are direct, topic or fanout, not %s", x->name,
		mr_exchange_type_name(x->type));
}

enum mr_status mr_backed_check_binding(const struct mr_broker_channel *ch, const struct mr_queue *q,
	mr_error *error)
{
	if (!is_backed(ch) || !mr_dead_letter_delays(q)) return MR_OK;
	return mr_reply_error(error, 406,
		"queue '%s': on Redis a queue with x-message-ttl has no bindings: publish to it by "
		"the default exchange",
		q->name);
}
