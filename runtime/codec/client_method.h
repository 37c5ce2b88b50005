/* client_method: decodes a client's methods for the embedded broker.
 * SPDX-License-Identifier: MIT
 * Pure. Uses a table of layouts instead of rabbitmq-c: decoding checks every length, so no guard
 * has to walk the same bytes first, and field tables are decoded only if they are used. */
#ifndef MR_CODEC_CLIENT_METHOD_H
#define MR_CODEC_CLIENT_METHOD_H

#include "codec/method.h"

#define MR_M_CONNECTION_SECURE_OK MR_METHOD(10, 21)
#define MR_M_ACCESS_REQUEST MR_METHOD(30, 10) /* from AMQP 0-8 */
#define MR_M_BASIC_RECOVER_ASYNC MR_METHOD(60, 100)

/* A method's fields in the order of the specification: short strings in `names`, the one long
 * string in `text`, numbers by their width. The reserved ticket counts among the 16-bit ones. */
struct mr_client_method {
	uint32_t id;
	uint8_t name_count, number_count;
	uint8_t bits; /* the octet of flags; the first flag is bit 0 */
	uint16_t numbers[3];
	uint32_t wide; /* 32 bit: frame_max, prefetch_size */
	uint64_t tag;  /* 64 bit: the delivery tag */
	mr_slice names[3];
	mr_slice text;
	mr_slice table; /* encoded, with its length; guarded */
};

/* Decodes a method frame of at least 4 bytes. Strings are borrowed from it. MR_NOT_IMPLEMENTED
 * (540): unknown method; MR_COMMAND_INVALID (503): a method that only a broker sends;
 * MR_FRAME_ERROR (501): malformed; MR_BAD_ARGUMENT (501): a name that is not UTF-8. */
enum mr_status mr_client_method_decode(const struct mr_frame *frame, struct mr_client_method *out,
	mr_error *error);

#endif
