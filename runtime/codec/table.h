/* table: encodes and decodes field tables by rabbitmq-c's codec.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. */
#ifndef MR_CODEC_TABLE_H
#define MR_CODEC_TABLE_H

#include "base/buffer.h"
#include "base/value.h"

/* Decodes a table, with its length. *gives*. MR_FRAME_ERROR if mr_guard_table refuses it. *used
 * (may be NULL) receives the bytes read. */
enum mr_status mr_table_decode(const uint8_t *data, size_t size, mr_table **out, size_t *used);
/* Appends the encoded table, with its length; NULL encodes as empty. MR_BAD_ARGUMENT: too deep, key
 * over MR_KEY_MAX bytes, over 2^31 bytes. Signed 64-bit goes out as 'l', unsigned above 2^63 is
 * refused. */
enum mr_status mr_table_encode(struct mr_buffer *out, const mr_table *table, mr_error *error);

/* True if the table "capabilities" in a side's properties (may be NULL) has `name` set to true. */
bool mr_table_has_capability(const mr_table *properties, const char *name);

#endif
