/* content: assembles a message from its method, header and body frames.
 * SPDX-License-Identifier: MIT */
#include "amqp/content.h"

#include <string.h>

#include "base/alloc.h"

#define NAMES_MAX (3 * 256)      /* three short strings, each with a NUL */
#define HEADER_FIXED 12          /* class, weight, body size */
#define TRUSTED_BODY (64 * 1024) /* the bytes that are reserved by a header's size alone */

static enum mr_status refuse(mr_error *error, enum mr_status kind, int code, const char *what)
{
	return mr_error_set(error, kind, MR_SCOPE_CONNECTION, code, "%s", what);
}

static mr_slice stash(char **at, mr_slice s)
{
	if (s.size) memcpy(*at, s.data, s.size);
	(*at)[s.size] = '\0';
	mr_slice copy = {*at, s.size};
	*at += s.size + 1;
	return copy;
}

enum mr_status mr_content_begin(struct mr_content *c, const struct mr_method *method,
	mr_error *error)
{
	if (c->state != MR_CONTENT_IDLE)
		return refuse(error, MR_UNEXPECTED_FRAME, 505,
			"a message began before the last one was whole");
	if (!c->names && !(c->names = mr_malloc(NAMES_MAX)))
		return refuse(error, MR_NO_MEMORY, 506, "out of memory for a message");
	char *at = c->names;
	c->method = *method;
	c->method.name = stash(&at, method->name);
	c->method.key = stash(&at, method->key);
	/* A return has a reply text where the others have, or could have, a consumer tag. */
	bool is_return = method->id == MR_M_BASIC_RETURN;
	c->method.other = stash(&at, is_return ? method->text : method->other);
	c->state = MR_CONTENT_HEADER;
	return MR_OK;
}

static uint16_t delivery_flags(const struct mr_method *m)
{
	if (m->id == MR_M_BASIC_RETURN) return MR_DELIVERY_RETURNED | MR_DELIVERY_SETTLED;
	return m->flags & 1 ? MR_DELIVERY_REDELIVERED : 0;
}

/* The room is final: point the delivery's fields into it. */
static mr_delivery *finish(struct mr_content *c)
{
	mr_delivery *d = c->delivery;
	const struct mr_method *m = &c->method;
	const char *at = c->room;

	d->exchange = at;
	d->exchange_size = (uint8_t)m->name.size;
	at += m->name.size + 1;
	d->routing_key = at;
	d->routing_key_size = (uint8_t)m->key.size;
	at += m->key.size + 1;
	d->consumer_tag = at;
	d->consumer_tag_size = (uint8_t)m->other.size;
	d->properties = at + m->other.size + 1;
	d->body = c->room + c->body_at;
	d->body_size = c->is_skipped ? 0 : c->body_size;
	d->tag = m->tag;
	d->flags = delivery_flags(m);
	d->message_count = m->id == MR_M_BASIC_RETURN ? m->code : m->count;
	c->delivery = NULL;
	c->state = MR_CONTENT_IDLE;
	return d;
}

/* How much of the body gets room by its header alone: what costs little, or nothing new. */
static size_t first_room(const struct mr_content *c, const struct mr_delivery_pool *pool)
{
	if (c->is_skipped) return 0;
	bool is_free = c->body_size <= TRUSTED_BODY ||
	               (c->body_size <= SIZE_MAX / 2 &&
			       mr_delivery_pool_has(pool, c->body_at + c->body_size));
	return is_free ? c->body_size : TRUSTED_BODY;
}

static enum mr_status take_header(struct mr_content *c, struct mr_delivery_pool *pool,
	uint64_t body_max, const struct mr_frame *frame, mr_error *error)
{
	const struct mr_method *m = &c->method;
	size_t names = m->name.size + m->key.size + m->other.size + 3;
	size_t properties = frame->size - HEADER_FIXED;

	c->body_size = mr_get64(frame->payload + 4);
	c->is_skipped = c->body_size > body_max;
	c->got = 0;
	c->body_at = names + properties;
	c->capacity = c->body_at + first_room(c, pool);
	c->delivery = mr_delivery_take(pool, c->capacity, &c->room);
	if (!c->delivery) return refuse(error, MR_NO_MEMORY, 506, "out of memory for a message");
	memcpy(c->room, c->names, names); /* stashed in the same order, NULs included */
	memcpy(c->room + names, frame->payload + HEADER_FIXED, properties);
	c->delivery->properties_size = (uint32_t)properties;
	c->state = MR_CONTENT_BODY;
	return MR_OK;
}

static enum mr_status make_room(struct mr_content *c, struct mr_delivery_pool *pool, size_t more,
	mr_error *error)
{
	size_t need = c->body_at + c->got + more;
	if (need <= c->capacity) return MR_OK;
	size_t capacity = c->capacity * 2 > need ? c->capacity * 2 : need;
	if (capacity > c->body_at + c->body_size) capacity = c->body_at + c->body_size;
	char *room = mr_delivery_grow(pool, c->delivery, capacity);
	if (!room) return refuse(error, MR_NO_MEMORY, 506, "out of memory for a message");
	c->room = room;
	c->capacity = capacity;
	return MR_OK;
}

static void keep(char *at, const struct mr_frame *frame)
{
	if ((const char *)frame->payload != at) memcpy(at, frame->payload, frame->size);
}

char *mr_content_place(struct mr_content *c, struct mr_delivery_pool *pool, size_t size)
{
	mr_error error;
	if (c->state != MR_CONTENT_BODY || c->is_skipped || size > c->body_size - c->got)
		return NULL;
	if (make_room(c, pool, size, &error) != MR_OK) return NULL;
	return c->room + c->body_at + c->got;
}

static enum mr_status take_body(struct mr_content *c, struct mr_delivery_pool *pool,
	const struct mr_frame *frame, mr_error *error)
{
	if (frame->size > c->body_size - c->got)
		return refuse(error, MR_FRAME_ERROR, 501, "a body is longer than its header says");
	if (!frame->payload) return MR_OK;
	enum mr_status st = c->is_skipped ? MR_OK : make_room(c, pool, frame->size, error);
	if (st != MR_OK) return st;
	if (!c->is_skipped) keep(c->room + c->body_at + c->got, frame);
	c->got += frame->size;
	return MR_OK;
}

enum mr_status mr_content_feed(struct mr_content *c, struct mr_delivery_pool *pool,
	uint64_t body_max, const struct mr_frame *frame, mr_delivery **done, mr_error *error)
{
	enum mr_status st = MR_UNEXPECTED_FRAME;
	*done = NULL;
	if (frame->type == MR_FRAME_HEADER && c->state == MR_CONTENT_HEADER)
		st = take_header(c, pool, body_max, frame, error);
	else if (frame->type == MR_FRAME_BODY && c->state == MR_CONTENT_BODY)
		st = take_body(c, pool, frame, error);
	else
		refuse(error, st, 505, "a content frame that belongs to no message");
	if (st == MR_OK && c->got == c->body_size) *done = finish(c);
	return st;
}

void mr_content_drop(struct mr_content *c, struct mr_delivery_pool *pool)
{
	if (c->delivery) mr_delivery_give(pool, c->delivery);
	c->delivery = NULL;
	c->state = MR_CONTENT_IDLE;
}

void mr_content_fini(struct mr_content *c) { mr_free(c->names); }
