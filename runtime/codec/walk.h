/* walk: field tables and properties as bytes: checked, stepped through, put together; never decoded.
 * SPDX-License-Identifier: MIT
 * Pure; any thread. What is passed on as it came needs no codec: keys of 255 bytes, any depth and types
 * that a codec would turn into others stay what they are. */
#ifndef MR_CODEC_WALK_H
#define MR_CODEC_WALK_H

#include "base/buffer.h"

/* Checks an encoded table, with its length in front: every length within its parent, every type one of
 * AMQP's, at any depth. Returns its bytes in all; 0 when it is malformed (or there is no memory to look
 * deeper than 64 levels). */
size_t mr_walk_check(const uint8_t *data, size_t size);

struct mr_walk { /* over the fields of a checked table, or the values of a checked array */
	const uint8_t *at, *end;
	bool is_array;
};

struct mr_walk_field {
	mr_slice key; /* empty in an array */
	uint8_t type;
	mr_slice value; /* as on the wire; of S, x, F and A with the length in front */
	mr_slice whole; /* key, type and value as they stand */
};

/* `table` with its length in front, as of mr_walk_check; an empty slice is an empty table. */
struct mr_walk mr_walk_table(mr_slice table);
struct mr_walk mr_walk_array(mr_slice array);
bool mr_walk_next(struct mr_walk *walk, struct mr_walk_field *out);
/* The first field of that name. */
bool mr_walk_find(mr_slice table, const char *key, struct mr_walk_field *out);
/* What a value of type S or x says. */
mr_slice mr_walk_text(const struct mr_walk_field *field);
/* Is it the long string `text`? */
bool mr_walk_is_text(const struct mr_walk_field *field, const char *text);

/* Basic's properties, each as it stands on the wire. In the order of their flags: content_type first. */
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
	mr_slice part[MR_PART_COUNT]; /* borrowed; data NULL: it is not there */
};

/* Checks and splits encoded properties: flags and fields. False when they are malformed. */
bool mr_parts_split(mr_slice properties, struct mr_parts *out);
/* Appends them. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_parts_join(struct mr_buffer *out, const struct mr_parts *parts);
/* The text of a part that is a short string; empty when it is not there. */
mr_slice mr_part_text(const struct mr_parts *parts, enum mr_part part);

/* For those who write tables: a key and a type, then the value is the caller's. */
enum mr_status mr_walk_put_key(struct mr_buffer *out, const char *key, uint8_t type);
enum mr_status mr_walk_put_text(struct mr_buffer *out, const char *key, mr_slice text);
/* The value alone, of an array. */
enum mr_status mr_walk_put_item(struct mr_buffer *out, mr_slice text);
enum mr_status mr_walk_put_64(struct mr_buffer *out, const char *key, uint8_t type, uint64_t n);
/* Leaves room for a length of 32 bits; *at is given to mr_walk_end when what it counts is written. */
enum mr_status mr_walk_begin(struct mr_buffer *out, size_t *at);
void mr_walk_end(struct mr_buffer *out, size_t at);

#endif
