/* layout: where kombu puts things in Redis: names of keys, members of bindings, patterns of topics.
 * SPDX-License-Identifier: MIT
 * Pure; the broker thread. All names are appended. MR_OK or MR_NO_MEMORY. */
#ifndef MR_REDIS_LAYOUT_H
#define MR_REDIS_LAYOUT_H

#include "base/buffer.h"

#define MR_LAYOUT_SEPARATOR "\x06\x16"
#define MR_LAYOUT_STEPS_MAX 16

struct mr_layout {              /* borrows its texts; mr_layout_init has kombu's defaults */
	mr_slice prefix;        /* global_keyprefix, before every name */
	mr_slice fanout_prefix; /* "/{db}.", where {db} is the number; "" for none */
	bool fanout_patterns;
	int db;
	int steps[MR_LAYOUT_STEPS_MAX]; /* priorities, ascending */
	int step_count;
};

void mr_layout_init(struct mr_layout *layout);
/* The highest step that is not above the priority, which is brought into 0 to 9. */
int mr_layout_step(const struct mr_layout *layout, int priority);
enum mr_status mr_layout_queue(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice queue, int step);
enum mr_status mr_layout_bindings(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange);
/* "unacked", "unacked_index" and "unacked_mutex", with the prefix. */
enum mr_status mr_layout_name(struct mr_buffer *out, const struct mr_layout *layout,
	const char *name);
/* The channel that a fanout exchange publishes to; to subscribe, a '#' of the key must be '*'
 * (mr_layout_subscription, a pattern: what has a meaning there is escaped, but in the key, as in
 * kombu). The key only counts with fanout_patterns. */
enum mr_status mr_layout_channel(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange, mr_slice key);
enum mr_status mr_layout_subscription(struct mr_buffer *out, const struct mr_layout *layout,
	mr_slice exchange, mr_slice key);

struct mr_layout_binding { /* borrowed */
	mr_slice key, pattern, queue;
};
enum mr_status mr_layout_put_binding(struct mr_buffer *out, const struct mr_layout_binding *b);
/* False if it has not three parts; what kombu writes has. */
bool mr_layout_read_binding(mr_slice member, struct mr_layout_binding *out);

/* The regular expression that kombu stores for a topic's key. Letters and digits beyond ASCII are
 * not escaped, as in kombu; other characters beyond ASCII, which kombu escapes, are not either.
 * A '*' within a word stays, as in kombu, where it then repeats the character before. */
enum mr_status mr_layout_pattern(struct mr_buffer *out, mr_slice key);
/* True if kombu's pattern for the binding's key `pattern` matches: '*' is one character or more, of
 * which the last is no dot, '#' any characters; neither goes over a line end, but one line end at
 * the end of `key` is allowed. Not AMQP's rules: "a.*" matches "a.b.c", and "a.#" not "a".
 * Unlike kombu, a '*' within a word ("ab*") stands for itself here, and names over 255 bytes match
 * nothing. */
bool mr_layout_matches(mr_slice pattern, mr_slice key);

#endif
