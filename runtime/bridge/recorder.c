/* recorder: reads the tapes of a runtime's two threads as one list.
 * SPDX-License-Identifier: MIT */
#include "bridge/recorder.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"

static atomic_uint size_of_new = MR_TAPE_EVENTS;

void mr_recorder_set_size(uint32_t events) { atomic_store(&size_of_new, events); }

enum mr_status mr_recorder_open(struct mr_recorder *r)
{
	uint32_t events = atomic_load(&size_of_new);
	enum mr_status st = mr_tape_open(&r->io, events);
	return st == MR_OK ? mr_tape_open(&r->host, events) : st;
}

void mr_recorder_close(struct mr_recorder *r)
{
	mr_tape_close(&r->io);
	mr_tape_close(&r->host);
}

/* ---- the filter: words, each of which must fit ---- */

static const char *const keys[] = {"connection=", "channel=", "consumer=", "number="};
enum { CONNECTION, CHANNEL, CONSUMER, NUMBER, KEYS };

static mr_slice next_word(const char **at)
{
	const char *from = *at + strspn(*at, " ");
	*at = from + strcspn(from, " ");
	return mr_slice_of(from, (size_t)(*at - from));
}

/* The key that a word begins with; KEYS: none. */
static int key_of(mr_slice word)
{
	int key = 0;
	while (key < KEYS && (word.size < strlen(keys[key]) ||
				     memcmp(word.data, keys[key], strlen(keys[key])) != 0))
		key++;
	return key;
}

static bool read_number(mr_slice digits, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < digits.size; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9') return false;
		*out = *out * 10 + (uint64_t)(digits.data[i] - '0');
	}
	return digits.size > 0 && digits.size < 20;
}

static mr_slice value_of(mr_slice word, int key)
{
	size_t n = strlen(keys[key]);
	return mr_slice_of(word.data + n, word.size - n);
}

const char *mr_recorder_objection(const char *filter)
{
	uint64_t number;
	mr_slice word;
	int words = 0;
	if (!filter) return NULL;
	if (strlen(filter) > MR_RECORDER_FILTER) return "a filter has at most 256 bytes";
	while ((word = next_word(&filter)).size) {
		if (++words > MR_RECORDER_WORDS) return "a filter has at most 8 words";
		int key = key_of(word);
		if (key < KEYS && !read_number(value_of(word, key), &number))
			return "connection=, channel=, consumer= and number= take a whole number";
	}
	return NULL;
}

static bool holds(const char *text, mr_slice word)
{
	return memmem(text, strlen(text), word.data, word.size) != NULL;
}

static bool fits_word(const struct mr_tape_event *e, mr_slice word)
{
	int key = key_of(word);
	uint64_t wanted,
		of[] = {e->connection, e->channel, e->consumer & MR_RECORDER_CONSUMER, e->number};
	if (key < KEYS && !read_number(value_of(word, key), &wanted)) return false;
	if (key == NUMBER && e->number) return wanted - e->number < e->count;
	if (key < KEYS) return of[key] == wanted;
	return holds(mr_tape_kind(e->kind), word) || holds(e->name, word) || holds(e->text, word);
}

static bool fits(const struct mr_tape_event *e, const char *filter)
{
	mr_slice word;
	while (filter && (word = next_word(&filter)).size)
		if (!fits_word(e, word)) return false;
	return true;
}

/* ---- reading ---- */

static double unix_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void show(const struct mr_tape_event *e, double epoch, mr_recorded *out)
{
	*out = (mr_recorded){.time = epoch + (double)e->time / 1e6,
		.kind = mr_tape_kind(e->kind),
		.name = e->name,
		.number = e->number,
		.connection = e->connection,
		.consumer = e->consumer,
		.count = e->count,
		.channel = e->channel,
		.code = e->code};
	memcpy(out->text, e->text, sizeof e->text);
}

_Static_assert(sizeof((mr_recorded){0}.text) == MR_TAPE_TEXT_MAX + 1, "the texts are alike");

size_t mr_recorder_read(const struct mr_recorder *r, const char *filter, size_t look,
	mr_recorded *out, size_t most)
{
	struct mr_tape_view views[] = {mr_tape_look(&r->io), mr_tape_look(&r->host)};
	struct mr_tape_event next[2];
	bool has[] = {mr_tape_back(&views[0], &next[0]), mr_tape_back(&views[1], &next[1])};
	double epoch = unix_now() - (double)mr_clock_us() / 1e6;
	size_t n = 0;
	for (; look && n < most && (has[0] || has[1]); look--) {
		int i = has[1] && (!has[0] || next[1].time > next[0].time);
		if (fits(&next[i], filter)) show(&next[i], epoch, &out[n++]);
		has[i] = mr_tape_back(&views[i], &next[i]);
	}
	for (size_t i = 0; i < n / 2; i++) {
		mr_recorded e = out[i];
		out[i] = out[n - 1 - i];
		out[n - 1 - i] = e;
	}
	return n;
}

/* ---- JSON ---- */

static void add(struct mr_buffer *out, enum mr_status *st, const char *key, mr_slice text)
{
	if (*st == MR_OK) *st = mr_buffer_append(out, key, strlen(key));
	if (*st == MR_OK) *st = mr_json_string(out, text);
}

static void add_number(struct mr_buffer *out, enum mr_status *st, const char *key, uint64_t number)
{
	char text[64];
	int n = snprintf(text, sizeof text, ",\"%s\":%" PRIu64, key, number);
	if (number && *st == MR_OK) *st = mr_buffer_append(out, text, (size_t)n);
}

enum mr_status mr_recorder_json(struct mr_buffer *out, const mr_recorded *e, const char *queue)
{
	char time[48];
	/* Without a printed double: a locale may have a decimal comma. */
	uint64_t us = (uint64_t)(e->time * 1e6 + 0.5);
	int n = snprintf(time, sizeof time, "{\"time\":%" PRIu64 ".%06" PRIu64, us / 1000000,
		us % 1000000);
	enum mr_status st = mr_buffer_append(out, time, (size_t)n);
	add(out, &st, ",\"kind\":", mr_slice_str(e->kind));
	add(out, &st, ",\"name\":", mr_slice_str(e->name));
	add_number(out, &st, "connection", e->connection);
	add_number(out, &st, "channel", e->channel);
	add_number(out, &st, "consumer", e->consumer & MR_RECORDER_CONSUMER);
	if (queue) add(out, &st, ",\"queue\":", mr_slice_str(queue));
	add_number(out, &st, "number", e->number);
	add_number(out, &st, "count", e->count > 1 ? e->count : 0);
	add_number(out, &st, "code", e->code);
	if (e->text[0]) add(out, &st, ",\"text\":", mr_slice_str(e->text));
	return st == MR_OK ? mr_buffer_append(out, "}", 1) : st;
}
