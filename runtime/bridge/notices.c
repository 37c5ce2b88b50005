/* notices: what a broker's thread tells of the server that keeps its messages: its state, notices for the log, counts.
 * SPDX-License-Identifier: MIT */
#include "bridge/notices.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/redact.h"

/* ---- notices in words ---- */

/* Each store is a release, so that who sees a new word sees that the number is odd. */
static void put(struct mr_notice_slot *slot, uint64_t number, const struct mr_notice *notice)
{
	uint64_t words[MR_NOTICE_WORDS];
	memcpy(words, notice, sizeof words);
	atomic_store_explicit(&slot->number, 2 * number - 1, memory_order_relaxed);
	for (size_t i = 0; i < MR_NOTICE_WORDS; i++)
		atomic_store_explicit(&slot->words[i], words[i], memory_order_release);
	atomic_store_explicit(&slot->number, 2 * number, memory_order_release);
}

/* Returns its number; 0: it is being written, or there is none. */
static uint64_t get(const struct mr_notice_slot *slot, struct mr_notice *out)
{
	uint64_t words[MR_NOTICE_WORDS];
	uint64_t number = atomic_load_explicit(&slot->number, memory_order_acquire);
	for (size_t i = 0; i < MR_NOTICE_WORDS; i++)
		words[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
	if (number & 1 || atomic_load_explicit(&slot->number, memory_order_relaxed) != number)
		return 0;
	memcpy(out, words, sizeof words);
	return number / 2;
}

void mr_notices_post(struct mr_notices *b, const struct mr_notice *notice)
{
	uint64_t number = atomic_load_explicit(&b->posted, memory_order_relaxed) + 1;
	put(&b->slots[number % MR_NOTICES_KEPT], number, notice);
	if (notice->what < MR_NOTICE_BLOCKED) mr_notices_restate(b, notice);
	atomic_store_explicit(&b->posted, number, memory_order_release);
}

void mr_notices_restate(struct mr_notices *b, const struct mr_notice *state)
{
	uint64_t number = atomic_load_explicit(&b->state, memory_order_relaxed) + 1;
	put(&b->states[number % 2], number, state);
	atomic_store_explicit(&b->state, number, memory_order_release);
}

bool mr_notices_state(const struct mr_notices *b, struct mr_notice *out)
{
	uint64_t number;
	while ((number = atomic_load_explicit(&b->state, memory_order_acquire)))
		if (get(&b->states[number % 2], out) == number)
			return true; /* else there is a newer one */
	return false;
}

bool mr_notices_is_up(const struct mr_notice *state)
{
	return state->what == MR_NOTICE_REACHED || state->what == MR_NOTICE_BACK ||
	       state->what == MR_NOTICE_MOVED;
}

bool mr_notices_take(struct mr_notices *b, struct mr_notice *out)
{
	uint64_t taken = atomic_load_explicit(&b->taken, memory_order_relaxed);
	while (taken < atomic_load_explicit(&b->posted, memory_order_acquire)) {
		if (!atomic_compare_exchange_weak(&b->taken, &taken, taken + 1)) continue;
		taken++;
		if (get(&b->slots[taken % MR_NOTICES_KEPT], out) == taken) return true;
	}
	return false;
}

/* ---- counts ---- */

void mr_notices_count(struct mr_notices *b, enum mr_notices_count_of which, uint64_t value)
{
	atomic_store_explicit(&b->counts[which], value, memory_order_relaxed);
}

uint64_t mr_notices_counted(const struct mr_notices *b, enum mr_notices_count_of which)
{
	return atomic_load_explicit(&b->counts[which], memory_order_relaxed);
}

/* ---- the log ---- */

static const char *given(const char *text) { return *text ? text : NULL; }

static void log_one(const struct mr_log *log, const struct mr_notice *n)
{
	mr_error why = {.kind = n->kind};
	char seconds[32] = "", count[24] = "";
	const char *text = why.text, *kind = n->kind ? mr_status_name(n->kind) : NULL;
	size_t most = sizeof why.text - 1,
	       size = mr_redact(why.text, most, n->text, strlen(n->text));
	why.text[size < most ? size : most] = '\0';
	const char *hint = n->kind ? given(mr_error_hint(&why)) : NULL;
	if (n->lasted) mr_number_format(seconds, sizeof seconds, "%.3f", (double)n->lasted / 1000);
	if (n->count) snprintf(count, sizeof count, "%" PRIu64, n->count);
	switch (n->what) {
	case MR_NOTICE_REACHED:
		mr_log(log, MR_LOG_INFO, "Redis is reached", "server", n->server, "version",
			given(n->version), "role", given(n->role), NULL);
		break;
	case MR_NOTICE_NOT_REACHED:
		mr_log(log, MR_LOG_WARN, "Redis is not reached", "server", n->server, "kind", kind,
			"text", text, "hint", hint, NULL);
		break;
	case MR_NOTICE_LOST:
		mr_log(log, MR_LOG_ERROR, "Redis is lost", "server", n->server, "kind", kind,
			"text", text, "hint", hint, "#publishes", given(count), NULL);
		break;
	case MR_NOTICE_BACK:
		mr_log(log, MR_LOG_INFO, "Redis is reached again", "server", n->server, "version",
			given(n->version), "role", given(n->role), "#seconds", given(seconds),
			NULL);
		break;
	case MR_NOTICE_MOVED:
		mr_log(log, MR_LOG_WARN, "another Redis is the master", "server", n->server, "was",
			n->was, "version", given(n->version), "role", given(n->role), "#seconds",
			given(seconds), NULL);
		break;
	case MR_NOTICE_BLOCKED:
		mr_log(log, MR_LOG_WARN, "Redis takes no publishes", "server", n->server, "kind",
			kind, "text", text, "hint", hint, NULL);
		break;
	case MR_NOTICE_UNBLOCKED:
		mr_log(log, MR_LOG_INFO, "Redis takes publishes again", "server", n->server,
			"#seconds", given(seconds), NULL);
		break;
	case MR_NOTICE_REFUSED:
		mr_log(log, MR_LOG_ERROR, "a message cannot be kept in Redis", "server", n->server,
			"connection", given(n->client), "exchange", n->exchange, "routing_key",
			n->key, "kind", kind, "text", text, "hint", hint, "#count", count, NULL);
		break;
	case MR_NOTICE_DEAF:
		mr_log(log, MR_LOG_WARN, "the second connection to Redis is lost", "server",
			n->server, "kind", kind, "text", text, "hint", hint, NULL);
		break;
	case MR_NOTICE_HEARS:
		mr_log(log, MR_LOG_INFO, "the second connection to Redis is back", "server",
			n->server, "#seconds", given(seconds), NULL);
		break;
	default: break;
	}
}

void mr_notices_log(struct mr_notices *b, const struct mr_log *log)
{
	struct mr_notice n;
	while (mr_notices_take(b, &n)) log_one(log, &n);
}
