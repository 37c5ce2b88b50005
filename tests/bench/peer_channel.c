/* peer_channel: see peer_channel.h. One thread; does no I/O. */
// SPDX-License-Identifier: MIT
#include "peer_channel.h"

#include <stdlib.h>

enum { BLOCK_SIZE = 256 * 1024 }; /* bytes of one write; stays inside the L2 cache */

struct channel *channel_open(uint16_t number)
{
	struct channel *ch = calloc(1, sizeof *ch);
	if (ch) ch->number = number;
	return ch;
}

void channel_close(struct channel *ch)
{
	if (!ch) return;
	settle_fini(&ch->settle);
	free(ch);
}

void blast_free(struct blast *b)
{
	if (!b) return;
	free(b->block);
	free(b);
}

/* One delivery with tag 0. `tag_at` is the offset of the delivery tag in it. */
static struct wire_out encode(const struct channel *ch, size_t size, struct wire_text tag,
	uint32_t frame_max, size_t *tag_at)
{
	struct wire_out out = {0};
	uint8_t *body = malloc(size + 1);
	if (!body) {
		out.is_bad = true;
		return out;
	}
	memset(body, 'x', size);
	wire_begin_method(&out, ch->number, METHOD(60, 60));
	wire_put_text(&out, tag);
	*tag_at = out.length;
	wire_put64(&out, 0);
	wire_put8(&out, 0); /* redelivered */
	wire_put_name(&out, "");
	wire_put_name(&out, "bench");
	wire_end(&out);
	wire_put_content(&out, ch->number, body, size, frame_max);
	free(body);
	return out;
}

static struct blast *blast_new(const struct wire_out *message, size_t tag_at)
{
	const size_t copies = BLOCK_SIZE / message->length;
	struct blast *b = calloc(1, sizeof *b);
	if (!b) return NULL;
	b->message_size = message->length;
	b->tag_at = tag_at;
	b->capacity = copies ? copies : 1;
	b->block = malloc((size_t)b->capacity * b->message_size);
	if (!b->block) {
		blast_free(b);
		return NULL;
	}
	for (uint64_t i = 0; i < b->capacity; i++)
		memcpy(b->block + i * b->message_size, message->data, message->length);
	return b;
}

bool channel_consume(struct channel *ch, const struct peer_options *options, struct wire_text tag,
	uint32_t frame_max)
{
	size_t tag_at = 0;
	struct wire_out message = encode(ch, options->body, tag, frame_max, &tag_at);
	ch->blast = message.is_bad ? NULL : blast_new(&message, tag_at);
	wire_fini(&message);
	if (!ch->blast) return false;
	if (!ch->no_ack) {
		if (!ch->settle.open && !settle_init(&ch->settle, options->messages)) return false;
		ch->settle.delivered = ch->delivered; /* tags sent without acks are never open */
	}
	ch->last = options->messages;
	ch->is_consuming = true;
	return true;
}

uint64_t channel_room(const struct channel *ch)
{
	const uint64_t left = ch->last - ch->delivered;
	if (ch->no_ack || ch->prefetch == 0) return left;
	if (ch->settle.open_count >= ch->prefetch) return 0;
	const uint64_t window = ch->prefetch - ch->settle.open_count;
	return window < left ? window : left;
}

uint64_t channel_blast(struct channel *ch, uint64_t count)
{
	struct blast *b = ch->blast;
	if (count > b->capacity) count = b->capacity;
	uint8_t *tag = b->block + b->tag_at;
	for (uint64_t i = 1; i <= count; i++, tag += b->message_size)
		wire_store64(tag, ch->delivered + i);
	if (!ch->no_ack) settle_deliver(&ch->settle, count);
	ch->delivered += count;
	b->length = (size_t)count * b->message_size;
	b->sent = 0;
	return count;
}
