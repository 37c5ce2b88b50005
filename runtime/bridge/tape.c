/* tape: the last events of one thread, for the flight recorder: written always, read now and then.
 * SPDX-License-Identifier: MIT */
#include "bridge/tape.h"

#include "base/alloc.h"
#include "base/redact.h"

enum mr_status mr_tape_open(struct mr_tape *t, uint32_t events)
{
	uint32_t size = 16;
	*t = (struct mr_tape){0};
	if (!events) return MR_OK;
	if (events > MR_TAPE_MOST) events = MR_TAPE_MOST;
	while (size < events) size *= 2;
	t->slots = mr_calloc(size, sizeof *t->slots);
	if (!t->slots) return MR_NO_MEMORY;
	t->mask = size - 1;
	return MR_OK;
}

void mr_tape_close(struct mr_tape *t)
{
	mr_free(t->slots);
	*t = (struct mr_tape){0};
}

const char *mr_tape_kind(uint8_t kind)
{
#define TEXT(name, text) text,
	static const char *const texts[] = {MR_TAPE_KINDS(TEXT)};
	return kind < MR_TAPE_KIND_COUNT ? texts[kind] : "";
}

/* ---- writing ---- */

/* An event of 56 bytes of text: it goes on with that before it. */
static void put_more(struct mr_tape *t, mr_slice text)
{
	char bytes[MR_TAPE_MORE] = {0};
	uint64_t w[MR_TAPE_MORE / 8];
	uint32_t n = atomic_load_explicit(&t->count, memory_order_relaxed) + 1;
	_Atomic uint64_t *to = t->slots[n & t->mask].words;
	memcpy(bytes, text.data, text.size);
	memcpy(w, bytes, sizeof bytes);
	atomic_store_explicit(&to[0], 0, memory_order_relaxed);
	for (size_t i = 0; i < 7; i++)
		atomic_store_explicit(&to[i + 1], w[i], memory_order_release);
	atomic_store_explicit(&to[0], (uint64_t)n << 32 | (uint64_t)MR_TAPE_GOES_ON << 8,
		memory_order_release);
	atomic_store_explicit(&t->count, n, memory_order_release);
}

void mr_tape_tell(struct mr_tape *t, const struct mr_tape_event *e, mr_slice text)
{
	char shown[MR_TAPE_TEXT_MAX];
	if (!t->slots) return;
	text = mr_slice_of(shown, mr_redact(shown, sizeof shown, text.data, text.size));
	if (text.size > MR_TAPE_TEXT_MAX) text.size = MR_TAPE_TEXT_MAX;
	mr_tape_put(t, e->time, e->kind, e->name, e->connection, e->channel, e->consumer, e->number,
		e->code, text);
	for (size_t at = MR_TAPE_TEXT; at < text.size; at += MR_TAPE_MORE) {
		size_t size = text.size - at;
		put_more(t, mr_slice_of(text.data + at, size < MR_TAPE_MORE ? size : MR_TAPE_MORE));
	}
}

/* ---- reading ---- */

struct mr_tape_view mr_tape_look(const struct mr_tape *t)
{
	uint32_t count = atomic_load_explicit(&t->count, memory_order_acquire);
	uint32_t most = t->slots ? t->mask + 1 : 0;
	/* The number of events wraps after 4 294 967 296 of them: then fewer are seen for a while. */
	return (struct mr_tape_view){t, count, count < most ? count : most};
}

/* The words of the n-th event; false: it is another one by now, or half written. It may be counted
 * up meanwhile. */
static bool copy(const struct mr_tape *t, uint32_t n, uint64_t w[8])
{
	const struct mr_tape_slot *slot = &t->slots[n & t->mask];
	for (size_t i = 0; i < 8; i++)
		w[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
	return n && w[0] >> 32 == n &&
	       atomic_load_explicit(&slot->words[0], memory_order_relaxed) >> 8 == w[0] >> 8;
}

static uint8_t kind_of(const uint64_t w[8]) { return (uint8_t)(w[0] >> 8); }

/* Appends the texts of the events after the n-th. */
static void add_more(const struct mr_tape *t, uint32_t n, uint32_t newest,
	struct mr_tape_event *out)
{
	uint64_t w[8];
	size_t size = MR_TAPE_TEXT;
	for (int i = 0; i < MR_TAPE_MORE_MAX && n != newest; i++, size += MR_TAPE_MORE)
		if (!copy(t, ++n, w) || kind_of(w) != MR_TAPE_GOES_ON)
			break;
		else
			memcpy(out->text + size, &w[1], MR_TAPE_MORE);
}

static void unpack(const uint64_t w[8], struct mr_tape_event *out)
{
	*out = (struct mr_tape_event){.time = w[1] >> 16,
		.name = (const char *)(uintptr_t)w[2],
		.number = w[3],
		.connection = (uint32_t)(w[4] >> 32),
		.consumer = (uint32_t)w[4],
		.count = (uint32_t)(w[0] & (MR_TAPE_RUN - 1)) + 1,
		.channel = (uint16_t)(w[0] >> 16),
		.code = (uint16_t)w[1],
		.kind = kind_of(w)};
	memcpy(out->text, &w[5], MR_TAPE_TEXT);
}

bool mr_tape_back(struct mr_tape_view *v, struct mr_tape_event *out)
{
	uint64_t w[8];
	uint32_t newest = atomic_load_explicit(&v->tape->count, memory_order_acquire);
	while (v->left) {
		uint32_t n = v->at--;
		v->left--;
		if (!copy(v->tape, n, w)) continue; /* the older ones are gone, too, or soon */
		if (kind_of(w) == MR_TAPE_GOES_ON) continue;
		unpack(w, out);
		if (out->text[MR_TAPE_TEXT - 1]) add_more(v->tape, n, newest, out);
		out->text_size = (uint8_t)strlen(out->text);
		return true;
	}
	return false;
}
