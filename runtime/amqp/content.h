/* content: assembles a message from its method, header and body frames.
 * SPDX-License-Identifier: MIT
 * Pure. One for each channel, because contents of several channels may interleave. Memory grows as
 * bytes arrive, not by the size that a header claims. */
#ifndef MR_AMQP_CONTENT_H
#define MR_AMQP_CONTENT_H

#include "base/delivery.h"
#include "codec/method.h"

enum mr_content_state { MR_CONTENT_IDLE, MR_CONTENT_HEADER, MR_CONTENT_BODY };

struct mr_content { /* zeroed is idle and valid */
	enum mr_content_state state;
	bool is_skipped;         /* over the limit: its body is counted, not kept */
	struct mr_method method; /* deliver, return or get-ok; its strings are in `names` */
	mr_delivery *delivery;
	char *room; /* names, properties, then the body */
	size_t body_at, capacity;
	uint64_t body_size, got;
	char *names; /* NULL: there was no message yet */
};

/* A method that announces content. MR_UNEXPECTED_FRAME (505): another message is incomplete. */
enum mr_status mr_content_begin(struct mr_content *c, const struct mr_method *method,
	mr_error *error);
/* A header or body frame, or the head of a body frame (payload NULL), which is judged, and adds
 * nothing. *done receives the delivery when it is complete (with names, body,
 * properties, tag and flags), else NULL. If the header announces more than `body_max` bytes, the
 * delivery has no body; then c->is_skipped is set, and c->body_size is the announced size.
 * MR_UNEXPECTED_FRAME (505), MR_FRAME_ERROR (501), MR_NO_MEMORY. */
enum mr_status mr_content_feed(struct mr_content *c, struct mr_delivery_pool *pool,
	uint64_t body_max, const struct mr_frame *frame, mr_delivery **done, mr_error *error);
/* Where the next `size` bytes of the body go; NULL: they are not kept, are too many, or there is no
 * memory. A body frame that lies there already is fed as any other. */
char *mr_content_place(struct mr_content *c, struct mr_delivery_pool *pool, size_t size);
void mr_content_fini(struct mr_content *c); /* dropped before */
/* Gives back an incomplete delivery. */
void mr_content_drop(struct mr_content *c, struct mr_delivery_pool *pool);

#endif
