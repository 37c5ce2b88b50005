/* request: translates a host's request into an AMQP method.
 * SPDX-License-Identifier: MIT */
#include "amqp/request.h"

/* For each operation: its method and the one that answers. */
static const struct {
	uint32_t asks, answers;
} method_of[] = {
	[MR_EXCHANGE_DECLARE] = {MR_M_EXCHANGE_DECLARE, MR_M_EXCHANGE_DECLARE_OK},
	[MR_EXCHANGE_DELETE] = {MR_M_EXCHANGE_DELETE, MR_M_EXCHANGE_DELETE_OK},
	[MR_EXCHANGE_BIND] = {MR_M_EXCHANGE_BIND, MR_M_EXCHANGE_BIND_OK},
	[MR_EXCHANGE_UNBIND] = {MR_M_EXCHANGE_UNBIND, MR_M_EXCHANGE_UNBIND_OK},
	[MR_QUEUE_DECLARE] = {MR_M_QUEUE_DECLARE, MR_M_QUEUE_DECLARE_OK},
	[MR_QUEUE_BIND] = {MR_M_QUEUE_BIND, MR_M_QUEUE_BIND_OK},
	[MR_QUEUE_UNBIND] = {MR_M_QUEUE_UNBIND, MR_M_QUEUE_UNBIND_OK},
	[MR_QUEUE_PURGE] = {MR_M_QUEUE_PURGE, MR_M_QUEUE_PURGE_OK},
	[MR_QUEUE_DELETE] = {MR_M_QUEUE_DELETE, MR_M_QUEUE_DELETE_OK},
	[MR_BASIC_QOS] = {MR_M_BASIC_QOS, MR_M_BASIC_QOS_OK},
	[MR_BASIC_CONSUME] = {MR_M_BASIC_CONSUME, MR_M_BASIC_CONSUME_OK},
	[MR_BASIC_CANCEL] = {MR_M_BASIC_CANCEL, MR_M_BASIC_CANCEL_OK},
	[MR_BASIC_GET] = {MR_M_BASIC_GET, MR_M_BASIC_GET_OK},
	[MR_BASIC_RECOVER] = {MR_M_BASIC_RECOVER, MR_M_BASIC_RECOVER_OK},
	[MR_CONFIRM_SELECT] = {MR_M_CONFIRM_SELECT, MR_M_CONFIRM_SELECT_OK},
	[MR_TX_SELECT] = {MR_M_TX_SELECT, MR_M_TX_SELECT_OK},
	[MR_TX_COMMIT] = {MR_M_TX_COMMIT, MR_M_TX_COMMIT_OK},
	[MR_TX_ROLLBACK] = {MR_M_TX_ROLLBACK, MR_M_TX_ROLLBACK_OK},
};

uint32_t mr_request_method(const mr_request *r, struct mr_method *method)
{
	int op = r->operation;
	*method = (struct mr_method){0};
	if (op < MR_EXCHANGE_DECLARE || op > MR_TX_ROLLBACK) return 0;
	method->id = method_of[op].asks;
	method->name = op == MR_BASIC_CANCEL ? r->extra : r->name;
	method->other = r->extra;
	method->key = r->routing_key;
	method->flags = r->flags;
	method->count = r->number;
	method->table = r->arguments;
	return method_of[op].answers;
}

/* RabbitMQ leaves CR and LF out of the names of queues. */
static mr_slice stripped(mr_slice text, char name[256])
{
	size_t size = 0;
	for (size_t i = 0; i < text.size && size < 255; i++)
		if (text.data[i] != '\r' && text.data[i] != '\n') name[size++] = text.data[i];
	return mr_slice_of(name, size);
}

mr_slice mr_request_key(const mr_request *r, char name[256])
{
	if (r->operation == MR_QUEUE_DECLARE) return stripped(r->name, name);
	if (r->operation == MR_BASIC_CONSUME || r->operation == MR_BASIC_CANCEL) return r->extra;
	return mr_slice_of("", 0);
}
