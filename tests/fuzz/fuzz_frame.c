/* fuzz_frame: guard, frame and method decode over arbitrary bytes that come in arbitrary pieces.
 * SPDX-License-Identifier: MIT
 * The first octet of an input says into which pieces the rest is cut. However it is cut, the same
 * frames must be found and the same end reached as when all comes at once. */
#include <stdlib.h>
#include <string.h>

#include "codec/frame.h"
#include "codec/method.h"
#include "codec/properties.h"

#define CHECK(claim) ((claim) ? (void)0 : __builtin_trap())

struct outcome {
	enum mr_status end;
	size_t frames, used;
	uint64_t digest; /* of all that was decoded */
};

static void mix(struct outcome *o, uint64_t n) { o->digest = (o->digest ^ n) * 0x100000001b3u; }

static void mix_slice(struct outcome *o, mr_slice s)
{
	mix(o, s.size);
	for (size_t i = 0; i < s.size; i++) mix(o, (uint8_t)s.data[i]);
}

static enum mr_status take_method(struct outcome *o, struct mr_codec *codec,
	const struct mr_frame *frame)
{
	struct mr_method m = {0};
	mr_error error = {0};
	enum mr_status st = mr_method_decode(codec, frame, &m, &error);
	if (st != MR_OK) CHECK(error.kind == (int)st && error.text[0]);
	mix(o, m.id);
	mix(o, m.tag ^ m.flags ^ m.count ^ m.code);
	mix_slice(o, m.name);
	mix_slice(o, m.other);
	mix_slice(o, m.key);
	mix_slice(o, m.text);
	mr_table_free(m.table);
	return st;
}

/* A heap copy of its exact size, so that ASan sees every octet read beyond it. */
static enum mr_status take_frame(struct outcome *o, struct mr_codec *codec,
	const struct mr_frame *found)
{
	uint8_t *copy = malloc(found->size ? found->size : 1);
	struct mr_frame frame = *found;
	if (!copy) return MR_NO_MEMORY;
	if (frame.size) memcpy(copy, found->payload, frame.size);
	frame.payload = copy;
	mr_error error = {0};
	enum mr_status st = mr_guard_frame(&frame, &error);
	if (st != MR_OK) CHECK(error.kind == (int)st && error.code && error.text[0]);
	if (st == MR_OK && frame.type == MR_FRAME_METHOD) st = take_method(o, codec, &frame);
	if (st == MR_OK && frame.type == MR_FRAME_HEADER) {
		mr_properties p = {0};
		if (mr_properties_decode(copy + 12, frame.size - 12, &p) == MR_OK)
			mr_table_free(p.headers);
		mix(o, p.flags);
	}
	free(copy);
	o->frames++;
	return st;
}

/* Reads as session.c does: what is not a whole frame stays until more has come. */
static struct outcome run(const uint8_t *data, size_t size, uint8_t cut, struct mr_codec *codec)
{
	const struct mr_guard guard = {.frame_max = 4096, .channel_max = 16};
	struct outcome o = {.end = MR_OK};
	struct mr_frame frame;
	size_t have = 0, used, want;
	uint32_t seed = cut;
	while (o.end == MR_OK) {
		do {
			o.end = mr_frame_next(&guard, data + o.used, have - o.used, &frame, &used,
				&want, NULL);
			if (o.end != MR_OK) break;
			CHECK(used <= have - o.used);
			CHECK(used || want > have - o.used);
			if (used) o.end = take_frame(&o, codec, &frame);
			o.used += used;
		} while (used && o.end == MR_OK);
		if (have == size) break;
		seed = seed * 1664525 + 1013904223;
		size_t piece = cut ? 1 + (seed >> 24) % cut : size;
		have += piece < size - have ? piece : size - have;
	}
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mr_codec *codec; /* one for all, as a connection has one for all its frames */
	mr_error error = {0};
	if (!size || (!codec && mr_codec_open(&codec) != MR_OK)) return 0;
	if (mr_frame_sniff(data + 1, size - 1, &error) != MR_OK) CHECK(error.text[0]);
	struct outcome whole = run(data + 1, size - 1, 0, codec);
	struct outcome cut = run(data + 1, size - 1, data[0] ? data[0] : 1, codec);
	CHECK(whole.end == cut.end && whole.frames == cut.frames && whole.used == cut.used);
	CHECK(whole.digest == cut.digest);
	return 0;
}
