/* peer_channel: what the load peer knows of one channel, and its block of pre-encoded deliveries.
 * One thread. Does no I/O. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_PEER_CHANNEL_H
#define BENCH_PEER_CHANNEL_H
#include "peer_session.h"

enum publish_step { PUBLISH_NONE, PUBLISH_HEADER, PUBLISH_BODY };

/* Copies of one delivery, back to back. Before a write only the tags are stored into it. */
struct blast {
	uint8_t *block;
	size_t message_size, tag_at; /* bytes of one copy; offset of the tag in it */
	uint64_t capacity;           /* copies */
	size_t length, sent;         /* bytes of the write under way */
};

struct channel {
	uint16_t number;
	uint16_t prefetch; /* 0: no limit */
	bool is_consuming, no_ack, confirms;
	uint64_t delivered; /* last delivery tag; counts on over consumers, as tags do */
	uint64_t last;      /* the tag at which this consumer has had all its messages */
	enum publish_step step;
	uint64_t body_left;
	uint64_t publish_seq, confirmed_seq;
	struct settle settle;
	struct blast *blast; /* NULL before the first consumer */
};

struct channel *channel_open(uint16_t number);
void channel_close(struct channel *ch); /* leaves the block, whose write may be under way */
void blast_free(struct blast *b);

/* Makes a new block for a consumer; the caller has taken the old one. False: out of memory. */
bool channel_consume(struct channel *ch, const struct peer_options *options, struct wire_text tag,
	uint32_t frame_max);
/* How many deliveries may go out now. */
uint64_t channel_room(const struct channel *ch);
/* Stores the next tags into the block, `count` at most, and starts its write. Gives how many. */
uint64_t channel_blast(struct channel *ch, uint64_t count);
#endif
