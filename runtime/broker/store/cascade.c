/* cascade: delayed messages of the library's Lua side, where the store's backing delays by itself.
 * SPDX-License-Identifier: MIT */
#include "broker/store/cascade.h"

#include <stdio.h>
#include <string.h>

#include "broker/store/dead_letter.h"
#include "broker/store/fields.h"

#define LEVEL                                                                                      \
	"mr-delay" /* the header with the first level; that of the next one names the one before, too */
#define LEVELS_MOST 64        /* levels.lua has 48 */
#define NAME_MOST 255         /* bytes: as in AMQP */
#define LEVEL_MOST (1u << 30) /* s or ms of one */

struct target {
	mr_slice exchange, key;
};

bool mr_cascade_open(struct mr_vhost *v)
{
	struct mr_exchange *x =
		mr_exchange_new(mr_slice_str(MR_CASCADE), MR_X_HEADERS, (mr_slice){0}, NULL);
	if (!x) return false;
	x->durable = true;
	return mr_vhost_add_exchange(v, x) == MR_OK;
}

bool mr_cascade_is(mr_slice exchange) { return mr_slice_equal(exchange, mr_slice_str(MR_CASCADE)); }

static bool text_at(mr_slice headers, const char *key, mr_slice *out)
{
	mr_value v;
	if (!mr_fields_get(headers, key, &v) || v.type != 'S') return false;
	*out = v.as.bytes;
	return true;
}

/* "queue NAME", "exit NAME" (a queue, too), or "exchange NAME". */
static bool read_target(struct target *t, mr_slice headers, const struct mr_message *m)
{
	mr_slice text;
	if (!text_at(headers, "mr-delay-to", &text)) return false;
	const char *space = text.size ? memchr(text.data, ' ', text.size) : NULL;
	if (!space) return false;
	mr_slice kind = mr_slice_of(text.data, (size_t)(space - text.data));
	mr_slice name = mr_slice_of(space + 1, text.size - kind.size - 1);
	bool is_exchange = mr_slice_equal(kind, mr_slice_str("exchange"));
	if (name.size > NAME_MOST) return false;
	*t = is_exchange ? (struct target){name, mr_message_key(m)} : (struct target){{0}, name};
	return true;
}

/* "64s", "125ms", and with a number behind a dot, which tells equal ones apart. 0: it is none. */
static uint64_t length_of(mr_slice level)
{
	uint64_t number = 0;
	size_t i = 0;
	for (; i < level.size && level.data[i] >= '0' && level.data[i] <= '9'; i++)
		if (number < LEVEL_MOST) number = number * 10 + (uint64_t)(level.data[i] - '0');
	if (i + 1 < level.size && memcmp(level.data + i, "ms", 2) == 0) return number;
	return i < level.size && level.data[i] == 's' ? number * 1000 : 0;
}

static uint64_t read_length(mr_slice headers)
{
	char key[80] = LEVEL;
	uint64_t ms = 0;
	mr_slice level;
	for (int i = 0; i < LEVELS_MOST && text_at(headers, key, &level); i++) {
		ms += length_of(level);
		snprintf(key, sizeof key, LEVEL "-%.*s", (int)(level.size < 40 ? level.size : 40),
			level.data);
	}
	return ms;
}

/* As for a publish to it: see mr_publish_begin and mr_backed_check_message. */
static const struct mr_exchange *exchange_of(const struct mr_vhost *v, const struct target *t)
{
	const struct mr_exchange *x = mr_vhost_exchange(v, t->exchange);
	return x && !x->internal && x->type != MR_X_HEADERS ? x : NULL;
}

static struct mr_message *readdress(const struct mr_message *m, const struct target *t)
{
	struct mr_addresses to = {.key = t->key};
	struct mr_parts parts;
	if (!mr_parts_split(mr_message_properties(m), &parts)) return NULL;
	return mr_message_with(m, t->exchange, &to, &parts);
}

void mr_cascade_keep(struct mr_vhost *v, const struct mr_message *m, struct mr_promise *p)
{
	mr_slice headers = mr_message_headers(m);
	struct target t;
	const struct mr_exchange *x = read_target(&t, headers, m) ? exchange_of(v, &t) : NULL;
	struct mr_message *letter = x ? readdress(m, &t) : NULL;
	if (letter)
		mr_dead_letter_keep(v, x, letter, read_length(headers), p);
	else if (x)
		mr_backing_refuse(p, 506, "out of memory");
	else
		p->told(p);
	mr_message_drop(letter);
}
