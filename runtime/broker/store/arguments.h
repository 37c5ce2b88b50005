/* arguments: the x-arguments of queues and exchanges: read, checked, compared.
 * SPDX-License-Identifier: MIT
 * Pure. Texts are RabbitMQ 3.10's. */
#ifndef MR_BROKER_STORE_ARGUMENTS_H
#define MR_BROKER_STORE_ARGUMENTS_H

#include "broker/store/queue.h"

/* Reads and checks a queue's arguments, an encoded table. MR_PRECONDITION_FAILED (406). */
enum mr_status mr_arguments_read(struct mr_limits *out, mr_slice arguments, mr_slice queue,
	const char *vhost, mr_error *error);

struct mr_thing {         /* the object of a refusal */
	const char *what; /* "queue", "exchange" */
	mr_slice name;
	const char *vhost;
};
/* 406 if a declare differs from the existing object. */
enum mr_status mr_arguments_same_flag(const struct mr_thing *thing, const char *argument,
	bool received, bool current, mr_error *error);
/* The same for the arguments named in a NULL-terminated list. */
enum mr_status mr_arguments_same(const struct mr_thing *thing, const char *const names[],
	mr_slice received, mr_slice current, mr_error *error);

extern const char *const mr_queue_arguments[];

#endif
