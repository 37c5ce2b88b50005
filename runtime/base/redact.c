/* redact: text for people, without the passwords of the URLs in it.
 * SPDX-License-Identifier: MIT */
#include "base/redact.h"

#include <stdbool.h>
#include <string.h>

static bool ends_word(char c) { return c && strchr(" \t\n\v\f\r\"'", c); }

struct sink {
	char *out;
	size_t capacity, used;
};

static void put(struct sink *s, const char *text, size_t size)
{
	size_t room = s->used < s->capacity ? s->capacity - s->used : 0;
	if (room) memcpy(s->out + s->used, text, size < room ? size : room);
	s->used += size;
}

/* The end of the user's name that begins here. */
static size_t user_end(const char *text, size_t size, size_t at)
{
	while (at < size && text[at] != '/' && text[at] != ':' && !ends_word(text[at])) at++;
	return at;
}

/* Sets *stop to the end of the word; returns its last @, or *stop. */
static size_t last_at(const char *text, size_t size, size_t from, size_t *stop)
{
	size_t found = size;
	*stop = from;
	for (; *stop < size && !ends_word(text[*stop]); ++*stop)
		if (text[*stop] == '@') found = *stop;
	return found < size ? found : *stop;
}

size_t mr_redact(char *out, size_t capacity, const char *text, size_t size)
{
	struct sink s = {out, capacity, 0};
	size_t kept = 0, at = 0;
	while (at + 3 <= size) {
		if (memcmp(text + at, "://", 3) != 0) {
			at++;
			continue;
		}
		size_t stop, colon = user_end(text, size, at + 3);
		at = colon;
		if (colon == size || text[colon] != ':') continue;
		size_t end = last_at(text, size, colon + 1, &stop);
		at = stop; /* what is left of the word has no other @ */
		if (end == stop) continue;
		put(&s, text + kept, colon + 1 - kept);
		put(&s, "***", 3);
		kept = end;
	}
	if (kept < size) put(&s, text + kept, size - kept);
	return s.used;
}
