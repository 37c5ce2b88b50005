/* confirm: a channel's publishes that wait for their confirms, and the outcome of each.
 * SPDX-License-Identifier: MIT
 * Publishing does no work for later returns: publishes are added to their lines when a return arrives. */
#include "amqp/confirm.h"

#include <string.h>

#include "base/alloc.h"

#define KEPT 1024 /* the number of timed-out publishes that are kept for a late answer */

enum {
	MANDATORY = 1,
	CHANGES = 2, /* its properties come back changed: only `lasting` is known */
	CLAIMED = 4, /* a return was matched to it */
	TOLD = 8,    /* it timed out, which was reported */
	DONE = 16,   /* the broker has answered, or no answer is expected */
	CLAIM = 32   /* times the last bits of its claim's number */
};
#define CLAIMS (UINT32_MAX / CLAIM) /* at the same time */

struct mr_confirm_entry {
	uint64_t content, properties;
	mr_msec deadline;
	uint32_t sent; /* us; wraps after 71 minutes */
	uint32_t flags;
};

struct mr_confirm_claim {
	uint64_t upto;            /* the last open number when it arrived */
	uint64_t told;            /* the number that was reported with the return */
	uint64_t holder;          /* the publish that it is matched to */
	uint64_t exact, changing; /* the lines of publishes that it may match */
	bool is_met;
};

/* A range of publishes with the same outcome, reported in one call. */
struct run {
	uint64_t first, last; /* empty while first is 0 */
	enum mr_status outcome;
	int shift; /* for returned ones: the number reported with the return is number + shift */
};

void mr_confirm_init(struct mr_confirm *c, mr_confirmed *tell, void *owner)
{
	*c = (struct mr_confirm){.first = 1,
		.next = 1,
		.claim_first = 1,
		.claim_end = 1,
		.earliest = MR_NEVER};
	c->tell = tell;
	c->owner = owner;
}

void mr_confirm_fini(struct mr_confirm *c)
{
	mr_free(c->entries);
	mr_free(c->claims);
	mr_lines_fini(&c->out);
	mr_lines_fini(&c->open);
	c->entries = NULL;
	c->claims = NULL;
	c->capacity = c->claim_capacity = 0;
}

static struct mr_confirm_entry *entry(const struct mr_confirm *c, uint64_t number)
{
	return &c->entries[number & (c->capacity - 1)];
}

static struct mr_confirm_claim *claim_at(const struct mr_confirm *c, uint64_t number)
{
	return &c->claims[number & (c->claim_capacity - 1)];
}

/* ---- the ring ---- */

/* Removes entries with these flags from the front. */
static void drop(struct mr_confirm *c, uint32_t flags)
{
	while (c->first < c->next && entry(c, c->first)->flags & flags) c->first++;
	while (c->claim_first < c->claim_end) { /* no publish is left that it could match */
		const struct mr_confirm_claim *claim = claim_at(c, c->claim_first);
		if (!claim->is_met && claim->upto >= c->first) break;
		mr_lines_leave(&c->open, c->claim_first++);
	}
	if (c->first == c->next) c->earliest = MR_NEVER;
}

static enum mr_status grow(struct mr_confirm *c)
{
	if (c->capacity >= KEPT) drop(c, DONE | TOLD);
	if (c->next - c->first < c->capacity) return MR_OK;
	size_t capacity = c->capacity ? c->capacity * 2 : 16;
	struct mr_confirm_entry *entries = mr_malloc(capacity * sizeof *entries);
	if (!entries) return MR_NO_MEMORY;
	for (uint64_t n = c->first; n < c->next; n++) entries[n & (capacity - 1)] = *entry(c, n);
	mr_free(c->entries);
	c->entries = entries;
	c->capacity = capacity;
	return MR_OK;
}

enum mr_status mr_confirm_add(struct mr_confirm *c, const struct mr_identity *id, mr_msec deadline)
{
	if (c->next - c->first == c->capacity && grow(c) != MR_OK) return MR_NO_MEMORY;
	struct mr_confirm_entry *e = entry(c, c->next);
	*e = (struct mr_confirm_entry){.deadline = deadline};
	e->sent = c->clock ? (uint32_t)*c->clock : 0;
	if (id) {
		e->content = id->content;
		e->properties = id->changes ? id->lasting : id->properties;
		e->flags = MANDATORY | (id->changes ? CHANGES : 0);
	}
	c->earliest = mr_earlier(c->earliest, deadline);
	c->next++;
	c->waiting++;
	return MR_OK;
}

/* ---- returns ---- */

/* The key of a line: of publishes equal in every byte (0), equal in lasting properties (CHANGES),
 * or of equal content. */
static uint64_t line_of(uint64_t content, uint64_t properties, uint32_t kind)
{
	const uint64_t parts[] = {properties, kind};
	uint64_t key = content;
	for (int i = 0; i < 2; i++) {
		key *= 0xD6E8FEB86659FD93u;
		key = (key ^ key >> 32) + parts[i];
	}
	return key ? key : 1;
}

static uint64_t own_line(const struct mr_confirm_entry *e)
{
	return line_of(e->content, e->properties, e->flags & CHANGES);
}

static uint64_t content_line(uint64_t content) { return line_of(content, 0, MANDATORY); }

/* Adds the publishes since the last return to their lines. */
static enum mr_status line_up(struct mr_confirm *c)
{
	uint64_t held = c->out.end - c->out.base, out = c->next - c->first;
	if (c->out.end < c->first || held > 2 * out + 64) mr_lines_reset(&c->out, c->first);
	while (c->out.end < c->next) {
		uint64_t number = c->out.end;
		const struct mr_confirm_entry *e = entry(c, number);
		bool is_known = (e->flags & (MANDATORY | DONE)) == MANDATORY;
		enum mr_status st = mr_lines_add(&c->out, is_known ? own_line(e) : 0,
			is_known ? content_line(e->content) : 0);
		if (st != MR_OK) return st;
		if (e->flags & CLAIMED) mr_lines_leave(&c->out, number);
	}
	return MR_OK;
}

static enum mr_status grow_claims(struct mr_confirm *c)
{
	if (c->claim_end - c->claim_first < c->claim_capacity) return MR_OK;
	size_t capacity = c->claim_capacity ? c->claim_capacity * 2 : 16;
	struct mr_confirm_claim *claims = mr_malloc(capacity * sizeof *claims);
	if (!claims) return MR_NO_MEMORY;
	for (uint64_t n = c->claim_first; n < c->claim_end; n++)
		claims[n & (capacity - 1)] = *claim_at(c, n);
	mr_free(c->claims);
	c->claims = claims;
	c->claim_capacity = capacity;
	return MR_OK;
}

static enum mr_status add_claim(struct mr_confirm *c, const struct mr_confirm_claim *claim)
{
	uint64_t held = c->open.end - c->open.base, open = c->claim_end - c->claim_first;
	if (grow_claims(c) != MR_OK) return MR_NO_MEMORY;
	*claim_at(c, c->claim_end) = *claim;
	if (held > 2 * open + 64 || c->open.end < c->claim_first)
		mr_lines_reset(&c->open, c->claim_first);
	while (c->open.end <= c->claim_end) { /* earlier ones are there, except after a reset */
		const struct mr_confirm_claim *next = claim_at(c, c->open.end);
		if (mr_lines_add(&c->open, next->exact, next->changing) != MR_OK)
			return MR_NO_MEMORY;
		if (next->is_met) mr_lines_leave(&c->open, c->open.end - 1);
	}
	c->claim_end++;
	return MR_OK;
}

/* BCC only adds destinations: a publish that was returned unchanged, and whose confirm this is,
 * too, is preferred to one whose properties would have changed. */
static bool is_of_another(const struct mr_confirm *c, const struct mr_confirm_claim *claim,
	uint64_t number, uint64_t upto)
{
	if (!(entry(c, number)->flags & CHANGES)) return false;
	return claim->holder > number && claim->holder <= upto &&
	       !(entry(c, claim->holder)->flags & CHANGES);
}

static void hold(struct mr_confirm *c, uint64_t number, uint64_t claim)
{
	struct mr_confirm_entry *e = entry(c, number);
	e->flags = e->flags % CLAIM | CLAIMED | ((uint32_t)claim & CLAIMS) * CLAIM;
	claim_at(c, claim)->holder = number;
	mr_lines_leave(&c->out, number);
}

/* A claim was matched to `number`. The earlier match of that publish moves to the other one;
 * without an earlier match the other is free again. */
static void swap_holder(struct mr_confirm *c, uint64_t holder, uint64_t number)
{
	uint32_t flags = entry(c, number)->flags;
	if (holder == number) return;
	bool is_over = holder < c->first || entry(c, holder)->flags & DONE;
	if (flags & CLAIMED) {
		uint64_t its = c->claim_first + ((flags / CLAIM - c->claim_first) & CLAIMS);
		if (is_over)
			claim_at(c, its)->holder = holder;
		else
			hold(c, holder, its);
	} else if (!is_over) {
		entry(c, holder)->flags &= ~(uint32_t)CLAIMED;
		mr_lines_join(&c->out, holder);
	}
}

/* If a return of this publish, or of an equal one, has arrived and is not matched yet, matches it
 * to this one. `upto`: the highest number of the broker's current answer. */
static bool meet_claim(struct mr_confirm *c, uint64_t number, uint64_t upto, int *shift)
{
	if (!(entry(c, number)->flags & MANDATORY)) return false;
	uint64_t line = own_line(entry(c, number)), at = mr_lines_first(&c->open, line, 0);
	for (; at; at = mr_lines_next(&c->open, line, at)) {
		struct mr_confirm_claim *claim = claim_at(c, at);
		if (claim->upto < number || is_of_another(c, claim, number, upto)) continue;
		claim->is_met = true;
		mr_lines_leave(&c->open, at);
		swap_holder(c, claim->holder, number);
		*shift = (int)((int64_t)claim->told - (int64_t)number);
		return true;
	}
	return false;
}

uint64_t mr_confirm_returned(struct mr_confirm *c, const struct mr_identity *id, bool *lacks_memory)
{
	struct mr_confirm_claim claim = {.upto = c->next - 1};
	claim.exact = line_of(id->content, id->properties, 0);
	claim.changing = line_of(id->content, id->lasting, CHANGES);
	*lacks_memory = line_up(c) != MR_OK;
	uint64_t found = mr_lines_first(&c->out, claim.exact, c->returned);
	if (!found) found = mr_lines_first(&c->out, claim.changing, c->returned);
	if (!found) { /* changed by the broker: the next one with this content */
		found = mr_lines_first(&c->out, content_line(id->content), c->returned);
		if (!found) return 0;
		const struct mr_confirm_entry *e = entry(c, found);
		claim.exact = line_of(e->content, e->properties, 0);
		claim.changing = line_of(e->content, e->properties, CHANGES);
	}
	claim.told = found;
	*lacks_memory = *lacks_memory || add_claim(c, &claim) != MR_OK;
	if (*lacks_memory) return found;
	hold(c, found, c->claim_end - 1);
	if (found > c->returned) c->returned = found;
	return found;
}

/* ---- ends ---- */

static void tell_run(struct mr_confirm *c, struct run *run)
{
	if (run->first) c->tell(c->owner, run->first, run->last, run->outcome, run->shift);
	run->first = 0;
}

static void tell_one(struct mr_confirm *c, const struct run *one, struct run *run)
{
	bool goes_on = run->outcome == one->outcome && run->last + 1 == one->first;
	if (run->first && !(goes_on && run->shift == one->shift)) tell_run(c, run);
	if (!run->first) *run = *one;
	run->last = one->last;
}

/* The broker has answered a publish, with an answer up to number `upto`, or never will. */
static void end_one(struct mr_confirm *c, uint64_t number, uint64_t upto, enum mr_status outcome,
	struct run *run)
{
	struct mr_confirm_entry *e = entry(c, number);
	if (e->flags & DONE) return;
	struct run one = {number, number, outcome, 0};
	bool may_be_returned = outcome == MR_OK || (outcome == MR_LOST && e->flags & CLAIMED);
	bool is_open = may_be_returned && c->claim_first < c->claim_end;
	if (is_open && meet_claim(c, number, upto, &one.shift)) one.outcome = MR_RETURNED;
	bool was_told = e->flags & TOLD;
	e->flags |= DONE;
	mr_lines_leave(&c->out, number);
	if (was_told) return;
	c->waiting--;
	if (one.outcome == MR_OK && c->clock)
		mr_histogram_add(c->times, (uint64_t)((uint32_t)*c->clock - e->sent) * 1000);
	tell_one(c, &one, run);
}

enum mr_status mr_confirm_settle(struct mr_confirm *c, uint64_t number, bool multiple,
	enum mr_status outcome)
{
	struct run run = {0};
	if (multiple && number == 0) number = c->next - 1;
	if (number >= c->next || (number == 0 && !multiple)) return MR_COMMAND_INVALID;
	if (number < c->first) return MR_OK;
	for (uint64_t n = multiple ? c->first : number; n <= number; n++)
		end_one(c, n, number, outcome, &run);
	drop(c, DONE);
	tell_run(c, &run);
	return MR_OK;
}

/* It timed out; but a return or a confirm may still arrive, and must not be matched to another
 * publish. */
static void expire_one(struct mr_confirm *c, uint64_t number, struct run *run)
{
	struct mr_confirm_entry *e = entry(c, number);
	struct run one = {number, number, MR_TIMEOUT, 0};
	if (e->flags & CLAIMED && meet_claim(c, number, number, &one.shift))
		one.outcome = MR_RETURNED;
	e->flags |= e->flags & MANDATORY && one.outcome == MR_TIMEOUT ? TOLD : TOLD | DONE;
	if (e->flags & DONE) mr_lines_leave(&c->out, number);
	c->waiting--;
	tell_one(c, &one, run);
}

void mr_confirm_expire(struct mr_confirm *c, mr_msec now)
{
	struct run run = {0};
	if (now < c->earliest) return;
	c->earliest = MR_NEVER;
	for (uint64_t n = c->first; n < c->next; n++) {
		const struct mr_confirm_entry *e = entry(c, n);
		if (e->flags & (TOLD | DONE)) continue;
		if (e->deadline <= now)
			expire_one(c, n, &run);
		else
			c->earliest = mr_earlier(c->earliest, e->deadline);
	}
	drop(c, DONE);
	tell_run(c, &run);
}

void mr_confirm_lose(struct mr_confirm *c)
{
	struct run run = {0};
	for (uint64_t n = c->first; n < c->next; n++) end_one(c, n, c->next, MR_LOST, &run);
	drop(c, DONE);
	tell_run(c, &run);
}

size_t mr_confirm_outstanding(const struct mr_confirm *c) { return c->waiting; }

bool mr_confirm_is_waiting(const struct mr_confirm *c) { return c->waiting > 0; }
