/* walk: checks, iterates over and builds encoded field tables and properties; decodes nothing.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. Bytes that are passed on unchanged need no codec: keys of 255 bytes, any depth,
 * and types that a codec would convert are preserved. */
#ifndef MR_CODEC_WALK_H
#define MR_CODEC_WALK_H

#include "base/buffer.h"

/* Checks an encoded table, with its length: every length is within its parent, every type is
 * AMQP's, at any depth. Returns its total size; 0 if it is malformed (or there is no memory to
 * check more than 64 levels). */
size_t mr_walk_check(const uint8_t *data, size_t size);

struct mr_walk { /* an iterator over the fields of a checked table, or the values of an array */
	const uint8_t *at, *end;
	bool is_array;
};

struct mr_walk_field {
	mr_slice key; /* empty in an array */
	uint8_t type;
	mr_slice value; /* encoded; S, x, F and A include their length */
	mr_slice whole; /* key, type and value, encoded */
};

/* `table` includes its length, as for mr_walk_check; an empty slice is an empty table. */
struct mr_walk mr_walk_table(mr_slice table);
struct mr_walk mr_walk_array(mr_slice array);
bool mr_walk_next(struct mr_walk *walk, struct mr_walk_field *out);
/* The first field of this name. */
bool mr_walk_find(mr_slice table, const char *key, struct mr_walk_field *out);
/* The bytes of a value of type S or x, without the length. */
mr_slice mr_walk_text(const struct mr_walk_field *field);
/* True if the field is the long string `text`. */
bool mr_walk_is_text(const struct mr_walk_field *field, const char *text);

/* Basic's properties, each encoded, in the order of their flags: content_type first. */
#define MR_PART_COUNT 14
enum mr_part {
	MR_PART_HEADERS = 2,
	MR_PART_DELIVERY_MODE,
	MR_PART_PRIORITY,
	MR_PART_CORRELATION_ID,
	MR_PART_REPLY_TO,
	MR_PART_EXPIRATION,
	MR_PART_MESSAGE_ID,
	MR_PART_TIMESTAMP,
	MR_PART_TYPE,
	MR_PART_USER_ID
};
struct mr_parts {
	mr_slice part[MR_PART_COUNT]; /* borrowed; data NULL: absent */
};

/* Checks encoded properties and splits them into flags and fields. False if they are malformed. */
bool mr_parts_split(mr_slice properties, struct mr_parts *out);
/* Appends the encoded properties. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_parts_join(struct mr_buffer *out, const struct mr_parts *parts);
/* The text of a part that is a short string; empty if it is absent. */
mr_slice mr_part_text(const struct mr_parts *parts, enum mr_part part);

/* To build tables: appends a key and a type; the caller appends the value. */
enum mr_status mr_walk_put_key(struct mr_buffer *out, const char *key, uint8_t type);
enum mr_status mr_walk_put_text(struct mr_buffer *out, const char *key, mr_slice text);
/* Appends a value of an array, without a key. */
enum mr_status mr_walk_put_item(struct mr_buffer *out, mr_slice text);
enum mr_status mr_walk_put_64(struct mr_buffer *out, const char *key, uint8_t type, uint64_t n);
/* Leaves room for a 32-bit length; pass *at to mr_walk_end after the content was appended. */
enum mr_status mr_walk_begin(struct mr_buffer *out, size_t *at);
void mr_walk_end(struct mr_buffer *out, size_t at);

#endif
