/* layout: where kombu puts things in Redis: names of keys, members of bindings, patterns of topics.
 * SPDX-License-Identifier: MIT */
#include "redis/layout.h"

#include <stdio.h>

static enum mr_status put(struct mr_buffer *out, mr_slice text)
{
	return mr_buffer_append(out, text.data, text.size);
}

static enum mr_status put_text(struct mr_buffer *out, const char *text)
{
	return put(out, mr_slice_str(text));
}

void mr_layout_init(struct mr_layout *layout)
{
	*layout = (struct mr_layout){.fanout_prefix = mr_slice_str("/{db}."),
		.fanout_patterns = true,
		.steps = {0, 3, 6, 9},
		.step_count = 4};
}

int mr_layout_step(const struct mr_layout *layout, int priority)
{
	int limited = priority < 0 ? 0 : priority > 9 ? 9 : priority, i = 0;
	while (i < layout->step_count && layout->steps[i] <= limited) i++;
	if (!layout->step_count) return 0;
	return layout->steps[i ? i - 1 : layout->step_count - 1]; /* Python's steps[-1] */
}

enum mr_status mr_layout_name(struct mr_buffer *out, const struct mr_layout *layout,
	const char *name)
{
	enum mr_status st = put(out, layout->prefix);
	return st == MR_OK ? put_text(out, name) : st;
}

enum mr_status mr_layout_queue(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice queue, int step)
{
	char number[16];
	enum mr_status st = put(out, layout->prefix);
	if (st == MR_OK) st = put(out, queue);
	if (st != MR_OK || !step) return st;
	snprintf(number, sizeof number, MR_LAYOUT_SEPARATOR "%d", step);
	return put_text(out, number);
}

enum mr_status mr_layout_bindings(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange)
{
	enum mr_status st = mr_layout_name(out, layout, "_kombu.binding.");
	return st == MR_OK ? put(out, exchange) : st;
}

/* In a pattern what Redis gives a meaning stands for itself; of the key kombu leaves it so. */
static enum mr_status put_plain(struct mr_buffer *out, mr_slice text, bool is_pattern)
{
	enum mr_status st = MR_OK;
	if (!is_pattern) return put(out, text);
	for (size_t i = 0; i < text.size && st == MR_OK; i++) {
		if (memchr("*?[\\", text.data[i], 4)) st = put_text(out, "\\");
		if (st == MR_OK) st = mr_buffer_append(out, text.data + i, 1);
	}
	return st;
}

static enum mr_status put_fanout_prefix(struct mr_buffer *out, const struct mr_layout *layout,
	bool is_pattern)
{
	static const char mark[] = "{db}";
	char number[16];
	mr_slice rest = layout->fanout_prefix;
	const char *at = rest.size ? memmem(rest.data, rest.size, mark, 4) : NULL;
	enum mr_status st = put_plain(out, layout->prefix, is_pattern);
	if (st != MR_OK || !at) return st == MR_OK ? put_plain(out, rest, is_pattern) : st;
	size_t before = (size_t)(at - rest.data);
	snprintf(number, sizeof number, "%d", layout->db);
	st = put_plain(out, mr_slice_of(rest.data, before), is_pattern);
	if (st == MR_OK) st = put_text(out, number);
	rest = mr_slice_of(at + 4, rest.size - before - 4);
	return st == MR_OK ? put_plain(out, rest, is_pattern) : st;
}

static enum mr_status put_channel(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange, mr_slice key, bool is_pattern)
{
	enum mr_status st = put_fanout_prefix(out, layout, is_pattern);
	if (st == MR_OK) st = put_plain(out, exchange, is_pattern);
	if (st != MR_OK || !key.size || !layout->fanout_patterns) return st;
	st = put_text(out, "/");
	for (size_t i = 0; i < key.size && st == MR_OK; i++)
		st = mr_buffer_append(out, is_pattern && key.data[i] == '#' ? "*" : key.data + i,
			1);
	return st;
}

enum mr_status mr_layout_channel(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange, mr_slice key)
{
	return put_channel(out, layout, exchange, key, false);
}

enum mr_status mr_layout_subscription(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange, mr_slice key)
{
	return put_channel(out, layout, exchange, key, true);
}

enum mr_status mr_layout_put_binding(struct mr_buffer *out, const struct mr_layout_binding *b)
{
	enum mr_status st = put(out, b->key);
	if (st == MR_OK) st = put_text(out, MR_LAYOUT_SEPARATOR);
	if (st == MR_OK) st = put(out, b->pattern);
	if (st == MR_OK) st = put_text(out, MR_LAYOUT_SEPARATOR);
	return st == MR_OK ? put(out, b->queue) : st;
}

/* Takes what is before the next separator; false if there is none. */
static bool take_part(mr_slice *rest, mr_slice *part)
{
	const char *at = rest->size ? memmem(rest->data, rest->size, MR_LAYOUT_SEPARATOR, 2) : NULL;
	if (!at) return false;
	*part = mr_slice_of(rest->data, (size_t)(at - rest->data));
	*rest = mr_slice_of(at + 2, rest->size - part->size - 2);
	return true;
}

bool mr_layout_read_binding(mr_slice member, struct mr_layout_binding *out)
{
	mr_slice none;
	struct mr_layout_binding b;
	if (!take_part(&member, &b.key) || !take_part(&member, &b.pattern)) return false;
	b.queue = member;
	if (take_part(&member, &none)) return false;
	*out = b;
	return true;
}

/* A word of the key that is a wildcard, by itself. */
static bool is_wild(mr_slice key, size_t at)
{
	bool begins = at == 0 || key.data[at - 1] == '.';
	bool ends = at + 1 == key.size || key.data[at + 1] == '.';
	return begins && ends && (key.data[at] == '*' || key.data[at] == '#');
}

static bool is_bare(unsigned char c) /* kombu escapes no letter, digit, '#' and '*' */
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c >= 0x80 || c == '#' || c == '*';
}

enum mr_status mr_layout_pattern(struct mr_buffer *out, mr_slice key)
{
	enum mr_status st = put_text(out, "^");
	for (size_t i = 0; i < key.size && st == MR_OK; i++) {
		if (is_wild(key, i))
			st = put_text(out, key.data[i] == '*' ? ".*?[^\\.]" : ".*?");
		else if (!key.data[i])
			st = put_text(out, "\\000");
		else {
			if (!is_bare((unsigned char)key.data[i])) st = put_text(out, "\\");
			if (st == MR_OK) st = mr_buffer_append(out, key.data + i, 1);
		}
	}
	return st == MR_OK ? put_text(out, "$") : st;
}

/* ---- matching ---- */

/* Both are at most 255 bytes (AMQP's short strings), so a row of reachable places fits the stack. */
#define KEY_MAX 255

/* Places in the key that are reachable behind '#': any number of characters but line ends. */
static void spread(bool reached[KEY_MAX + 1], mr_slice key)
{
	for (size_t i = 0; i < key.size; i++)
		if (reached[i] && key.data[i] != '\n') reached[i + 1] = true;
}

/* Behind one character of the key that `is` allows. */
static void step(bool reached[KEY_MAX + 1], mr_slice key, char c, bool any_but_dot)
{
	for (size_t i = key.size; i > 0; i--) {
		char have = key.data[i - 1];
		reached[i] = reached[i - 1] && (any_but_dot ? have != '.' : have == c);
	}
	reached[0] = false;
}

bool mr_layout_matches(mr_slice pattern, mr_slice key)
{
	bool reached[KEY_MAX + 1] = {true};
	if (pattern.size > KEY_MAX || key.size > KEY_MAX) return false;
	for (size_t i = 0; i < pattern.size; i++) {
		bool wild = is_wild(pattern, i);
		if (wild) spread(reached, key);
		if (!wild || pattern.data[i] == '*') step(reached, key, pattern.data[i], wild);
	}
	if (reached[key.size]) return true;
	return key.size && key.data[key.size - 1] == '\n' && reached[key.size - 1]; /* Python's $ */
}
