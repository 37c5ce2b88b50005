/* reply_error: errors in RabbitMQ's form: a reply code, its name, and the reason.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_REPLY_ERROR_H
#define MR_BROKER_STORE_REPLY_ERROR_H

#include "base/status.h"

/* Fills `error` with kind, code, text "NAME - what" and the scope that the code ends: the channel
 * for 311 to 313 and 403 to 406, the connection for all others (AMQP 0-9-1 1.2). Returns the
 * kind. */
enum mr_status mr_reply_error(mr_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
#define MR_OCTETS_MAX 160
/* Bytes as Erlang prints a binary: "all octets = <<1,2>>", of more than 16 the first ones. */
void mr_reply_error_octets(char out[MR_OCTETS_MAX], const uint8_t *data, size_t size);
const char *mr_reply_error_name(int code); /* "NOT_FOUND"; never NULL */
bool mr_reply_error_ends_connection(int code);

#endif
