/* frame: finds frames in received bytes, in place, and writes all frames except methods.
 * SPDX-License-Identifier: MIT */
#include "codec/frame.h"

#include <string.h>

#define PROTOCOL_HEADER "AMQP\0\0\x09\x01" /* AMQP 0-9-1 4.2.2 */

enum mr_status mr_frame_unended(mr_error *error)
{
	return mr_error_set(error, MR_FRAME_ERROR, MR_SCOPE_CONNECTION, 501,
		"a frame does not end where it says");
}

enum mr_status mr_frame_next(const struct mr_guard *guard, const uint8_t *data, size_t size,
	struct mr_frame *out, size_t *used, size_t *want, mr_error *error)
{
	*used = 0;
	*want = MR_FRAME_HEAD;
	if (size < MR_FRAME_HEAD) return MR_OK;
	enum mr_status st = mr_guard_head(guard, data, error);
	if (st != MR_OK) return st;
	uint32_t payload = mr_get32(data + 3);
	*want = (size_t)payload + MR_FRAME_OVERHEAD;
	if (size < *want) return MR_OK;
	if (data[*want - 1] != MR_FRAME_END) return mr_frame_unended(error);
	out->type = data[0];
	out->channel = mr_get16(data + 1);
	out->size = payload;
	out->payload = data + MR_FRAME_HEAD;
	*used = *want;
	return MR_OK;
}

static enum mr_status mismatch(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_PROTOCOL_MISMATCH, MR_SCOPE_CONNECTION, 0, "%s", what);
}

static bool starts_with(const uint8_t *data, size_t size, const char *text)
{
	size_t n = strlen(text);
	return size >= n && memcmp(data, text, n) == 0;
}

/* Other protocols that may answer on a port, by their first bytes. */
static const struct {
	const char *start, *what;
} strangers[] = {
	{"\x15", "the peer answers with TLS: this is a TLS port, and the URL says amqp://"},
	{"\x16", "the peer answers with TLS: this is a TLS port, and the URL says amqp://"},
	{"HTTP", "the peer answers with HTTP: this is a web server, not a broker's AMQP port"},
	{"<", "the peer answers with HTTP: this is a web server, not a broker's AMQP port"},
	{"SSH-", "the peer is an SSH server"},
};

/* A protocol header: the server refuses the version, or the peer sends our own header back. */
static enum mr_status judge_version(const uint8_t *data, mr_error *error)
{
	if (memcmp(data, PROTOCOL_HEADER, 8) == 0)
		return mismatch(error,
			"the peer sends our own first bytes back: it is a client, or an echo");
	return mr_error_set(error, MR_PROTOCOL_MISMATCH, MR_SCOPE_CONNECTION, 0,
		"the peer speaks AMQP %u-%u-%u, not 0-9-1", data[5], data[6], data[7]);
}

enum mr_status mr_frame_sniff(const uint8_t *data, size_t size, mr_error *error)
{
	if (size == 0 || data[0] == MR_FRAME_METHOD) return MR_OK;
	if (memcmp(data, "AMQP", size < 4 ? size : 4) == 0)
		return size < 8 ? MR_OK
		                : judge_version(data, error); /* its version has not arrived yet */
	for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
		if (starts_with(data, size, strangers[i].start))
			return mismatch(error, strangers[i].what);
	if (data[0] < 0x20 || data[0] >= 0x7f)
		return mismatch(error, "the peer does not speak AMQP");
	return mr_error_set(error, MR_PROTOCOL_MISMATCH, MR_SCOPE_CONNECTION, 0,
		"the peer does not speak AMQP, it says: %.*s", (int)(size < 40 ? size : 40),
		(const char *)data);
}

static uint8_t *put_head(uint8_t *at, uint8_t type, uint16_t channel, size_t size)
{
	at[0] = type;
	mr_put16(at + 1, channel);
	mr_put32(at + 3, (uint32_t)size);
	return at + MR_FRAME_HEAD;
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t size)
{
	if (size) memcpy(at, data, size);
	return at + size;
}

/* A content header frame. */
static uint8_t *put_header(uint8_t *at, uint16_t channel, mr_slice properties, uint64_t body_size)
{
	at = put_head(at, MR_FRAME_HEADER, channel, 12 + properties.size);
	mr_put16(at, 60); /* class basic */
	mr_put16(at + 2, 0);
	mr_put64(at + 4, body_size);
	at = put_bytes(at + 12, properties.data, properties.size);
	*at++ = MR_FRAME_END;
	return at;
}

static bool header_fits(mr_slice properties, uint32_t frame_max)
{
	return 12 + properties.size <= frame_max - MR_FRAME_OVERHEAD;
}

enum mr_status mr_frame_put_content(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	mr_slice body, uint32_t frame_max)
{
	if (!header_fits(properties, frame_max)) return MR_BAD_ARGUMENT;
	return mr_frame_put_letter(out, channel, properties, body, frame_max);
}

size_t mr_frame_count(size_t body, uint32_t frame_max)
{
	size_t chunk = frame_max - MR_FRAME_OVERHEAD;
	return body / chunk + (body % chunk != 0);
}

size_t mr_frame_content_room(mr_slice properties, size_t frames)
{
	return MR_FRAME_OVERHEAD + 12 + properties.size + frames * MR_FRAME_OVERHEAD;
}

enum mr_status mr_frame_put_letter(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	mr_slice body, uint32_t frame_max)
{
	size_t chunk = frame_max - MR_FRAME_OVERHEAD;
	size_t frames = mr_frame_count(body.size, frame_max);
	size_t total = mr_frame_content_room(properties, frames) + body.size;
	if (mr_buffer_reserve(out, total) != MR_OK) return MR_NO_MEMORY;

	uint8_t *at = put_header(mr_buffer_tail(out), channel, properties, body.size);
	for (size_t done = 0; done < body.size;) {
		size_t n = body.size - done < chunk ? body.size - done : chunk;
		at = put_head(at, MR_FRAME_BODY, channel, n);
		at = put_bytes(at, body.data + done, n);
		*at++ = MR_FRAME_END;
		done += n;
	}
	out->end += total;
	return MR_OK;
}

enum mr_status mr_frame_put_header(struct mr_buffer *out, uint16_t channel, mr_slice properties,
	uint64_t body_size, uint32_t frame_max)
{
	if (!header_fits(properties, frame_max)) return MR_BAD_ARGUMENT;
	size_t total = mr_frame_content_room(properties, 0);
	if (mr_buffer_reserve(out, total) != MR_OK) return MR_NO_MEMORY;
	put_header(mr_buffer_tail(out), channel, properties, body_size);
	out->end += total;
	return MR_OK;
}

void mr_frame_begin_body(struct mr_buffer *out, uint16_t channel, size_t size)
{
	put_head(mr_buffer_tail(out), MR_FRAME_BODY, channel, size);
	out->end += MR_FRAME_HEAD;
}

void mr_frame_end_body(struct mr_buffer *out)
{
	*mr_buffer_tail(out) = MR_FRAME_END;
	out->end++;
}

enum mr_status mr_frame_put_heartbeat(struct mr_buffer *out)
{
	static const uint8_t beat[] = {MR_FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, MR_FRAME_END};
	return mr_buffer_append(out, beat, sizeof beat);
}

enum mr_status mr_frame_put_protocol_header(struct mr_buffer *out)
{
	return mr_buffer_append(out, PROTOCOL_HEADER, 8);
}
