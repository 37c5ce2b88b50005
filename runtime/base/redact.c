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

#define SECRET "password="

static bool begins(const char *text, size_t size, size_t at, const char *what)
{
	size_t length = strlen(what);
	return size - at >= length && memcmp(text + at, what, length) == 0;
}

/* The end of the value of an option that `at` is within. */
static size_t value_end(const char *text, size_t size, size_t at)
{
	while (at < size && text[at] != '&' && text[at] != ';' && !ends_word(text[at])) at++;
	return at;
}

/* An @ may be within a password of the query, which goes on behind it. */
static size_t secret_end(const char *text, size_t size, size_t from, size_t at)
{
	bool inside = false;
	for (size_t i = from; i < at; i++)
		inside = begins(text, size, i, SECRET) ||
		         (inside && text[i] != '&' && text[i] != ';');
	return inside ? value_end(text, size, at) : at;
}

static size_t hide(struct sink *s, const char *text, size_t *kept, size_t from, size_t end)
{
	put(s, text + *kept, from - *kept);
	put(s, "***", 3);
	return *kept = end;
}

size_t mr_redact(char *out, size_t capacity, const char *text, size_t size)
{
	struct sink s = {out, capacity, 0};
	size_t kept = 0, at = 0, bare = 0; /* bare: up to here there is no other @ in this word */
	bool is_url = false;
	while (at < size) {
		if (ends_word(text[at])) is_url = false;
		if (is_url && begins(text, size, at, SECRET)) {
			size_t value = at + sizeof SECRET - 1;
			at = hide(&s, text, &kept, value, value_end(text, size, value));
			continue;
		}
		if (!begins(text, size, at, "://")) {
			at++;
			continue;
		}
		is_url = true;
		at += 3;
		if (at < bare) continue;
		size_t stop, colon = user_end(text, size, at);
		if (colon == size || text[colon] != ':') continue;
		size_t end = last_at(text, size, colon + 1, &stop);
		bare = stop;
		if (end < stop)
			at = hide(&s, text, &kept, colon + 1,
				secret_end(text, size, colon + 1, end));
	}
	if (kept < size) put(&s, text + kept, size - kept);
	return s.used;
}
