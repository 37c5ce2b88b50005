/* confirm: which publishes of a channel still wait for the broker's word, and how each ends.
 * SPDX-License-Identifier: MIT */
#include "amqp/confirm.h"

#include <string.h>

#include "base/alloc.h"

#define KEPT 1024 /* so many that timed out are remembered for what the broker may still say */

enum {
	MANDATORY = 1,
	CHANGES = 2, /* its properties come back changed: only what lasts of them is known */
	CLAIMED = 4, /* a return was taken for its own */
	TOLD = 8,    /* the host knows how it ended: in no time */
	DONE = 16    /* the broker has answered, or nobody expects it to */
};

struct mr_confirm_entry {
	uint64_t content, properties;
	mr_msec deadline;
	uint32_t sent; /* us; wraps after 71 minutes */
	uint32_t flags;
};

struct mr_confirm_claim {
	uint64_t content; /* 0: it was met */
	uint64_t properties,
		lasting; /* of the publish that it is of: either, as that one's are kept */
	uint64_t upto;   /* the last number that was out when it came */
	uint64_t told;   /* the number that was told with the return */
	uint64_t holder; /* the one that it is taken to be of */
};

/* A run of publishes that end alike, told in one call. */
struct run {
	uint64_t first, last; /* empty while first is 0 */
	enum mr_status outcome;
	int shift; /* of a returned one: what was told with its return is number + shift */
};

void mr_confirm_init(struct mr_confirm *c, mr_confirmed *tell, void *owner)
{
	*c = (struct mr_confirm){.first = 1, .next = 1, .earliest = MR_NEVER};
	c->tell = tell;
	c->owner = owner;
}

void mr_confirm_fini(struct mr_confirm *c)
{
	mr_free(c->entries);
	mr_free(c->claims);
	c->entries = NULL;
	c->claims = NULL;
	c->capacity = c->claim_capacity = 0;
}

static struct mr_confirm_entry *entry(const struct mr_confirm *c, uint64_t number)
{
	return &c->entries[number & (c->capacity - 1)];
}

/* ---- the ring ---- */

/* Forgets from the front on what has these flags. */
static void drop(struct mr_confirm *c, uint32_t flags)
{
	while (c->first < c->next && entry(c, c->first)->flags & flags) c->first++;
	while (c->claim_first < c->claim_end) { /* no publish is left that it could be of */
		const struct mr_confirm_claim *claim = &c->claims[c->claim_first];
		if (claim->content && claim->upto >= c->first) break;
		c->claim_first++;
	}
	if (c->claim_first == c->claim_end) c->claim_first = c->claim_end = 0;
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
	return MR_OK;
}

/* ---- returns ---- */

static enum mr_status add_claim(struct mr_confirm *c, const struct mr_confirm_claim *claim)
{
	if (c->claim_end == c->claim_capacity && c->claim_first > c->claim_capacity / 2) {
		size_t count = c->claim_end - c->claim_first;
		memmove(c->claims, c->claims + c->claim_first, count * sizeof *c->claims);
		c->claim_first = 0;
		c->claim_end = count;
	}
	if (c->claim_end == c->claim_capacity) {
		size_t capacity = c->claim_capacity ? c->claim_capacity * 2 : 16;
		struct mr_confirm_claim *claims = mr_realloc(c->claims, capacity * sizeof *claims);
		if (!claims) return MR_NO_MEMORY;
		c->claims = claims;
		c->claim_capacity = capacity;
	}
	c->claims[c->claim_end++] = *claim;
	return MR_OK;
}

/* May this return be that of a publish? `upto`: so far the broker's word goes that is being read. */
static bool may_meet(const struct mr_confirm *c, const struct mr_confirm_claim *claim,
	uint64_t number, uint64_t upto)
{
	const struct mr_confirm_entry *e = entry(c, number);
	if (claim->content != e->content || claim->upto < number) return false;
	if (!(e->flags & CHANGES)) return claim->properties == e->properties;
	/* One that came back as it was sent, and whose confirm this is, too, goes before one that would have changed:
	 * BCC only adds to where a message may go. */
	bool is_exact = claim->holder > number && claim->holder <= upto &&
	                !(entry(c, claim->holder)->flags & CHANGES);
	return claim->lasting == e->properties && !is_exact;
}

/* It is of `number`: what that one held is of the other now. */
static void give_claim(struct mr_confirm *c, const struct mr_confirm_claim *claim, uint64_t number)
{
	if (claim->holder == number) return;
	if (claim->holder >= c->first) entry(c, claim->holder)->flags &= ~(uint32_t)CLAIMED;
	if (!(entry(c, number)->flags & CLAIMED)) return;
	for (size_t i = c->claim_first; i < c->claim_end; i++) {
		if (!c->claims[i].content || c->claims[i].holder != number) continue;
		c->claims[i].holder = claim->holder;
		if (claim->holder >= c->first) entry(c, claim->holder)->flags |= CLAIMED;
		return;
	}
}

/* Has a return of this publish, or of one like it, come and not been met? Then it is met by this one. */
static bool meet_claim(struct mr_confirm *c, uint64_t number, uint64_t upto, int *shift)
{
	if (!(entry(c, number)->flags & MANDATORY)) return false;
	for (size_t i = c->claim_first; i < c->claim_end; i++) {
		struct mr_confirm_claim *claim = &c->claims[i];
		if (!may_meet(c, claim, number, upto)) continue;
		claim->content = 0;
		give_claim(c, claim, number);
		*shift = (int)((int64_t)claim->told - (int64_t)number);
		return true;
	}
	return false;
}

/* How well a publish fits what came back; 0: not at all. */
static int fit(const struct mr_confirm *c, uint64_t number, const struct mr_identity *id)
{
	const struct mr_confirm_entry *e = entry(c, number);
	if ((e->flags & (MANDATORY | CLAIMED | DONE)) != MANDATORY) return 0;
	if (e->content != id->content) return 0;
	int in_order = number > c->returned;
	if (e->flags & CHANGES) return (e->properties == id->lasting ? 3 : 1) + in_order;
	return (e->properties == id->properties ? 5 : 1) + in_order;
}
#define BEST_FIT 6

uint64_t mr_confirm_returned(struct mr_confirm *c, const struct mr_identity *id, bool *lacks_memory)
{
	uint64_t found = 0, count = c->next - c->first;
	uint64_t start = c->returned < c->first ? c->first : c->returned + 1;
	int best = 0;
	*lacks_memory = false;
	for (uint64_t i = 0; i < count && best < BEST_FIT; i++) {
		uint64_t n = start + i < c->next ? start + i : start + i - count;
		int fits = fit(c, n, id);
		if (fits <= best) continue;
		best = fits;
		found = n;
	}
	if (!found) return 0;
	struct mr_confirm_entry *e = entry(c, found);
	struct mr_confirm_claim claim = {.content = e->content, .upto = c->next - 1};
	claim.told = claim.holder = found;
	claim.properties = best > 2 ? id->properties : e->properties;
	claim.lasting = best > 2 ? id->lasting : e->properties;
	*lacks_memory = add_claim(c, &claim) != MR_OK;
	e->flags |= CLAIMED;
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

/* The broker has answered a publish, by a word that goes up to number `upto`, or never will. */
static void end_one(struct mr_confirm *c, uint64_t number, uint64_t upto, enum mr_status outcome,
	struct run *run)
{
	struct mr_confirm_entry *e = entry(c, number);
	if (e->flags & DONE) return;
	struct run one = {number, number, outcome, 0};
	bool may_be_returned = outcome == MR_OK || (outcome == MR_LOST && e->flags & CLAIMED);
	if (may_be_returned && c->claim_end && meet_claim(c, number, upto, &one.shift))
		one.outcome = MR_RETURNED;
	bool was_told = e->flags & TOLD;
	e->flags |= DONE;
	if (was_told) return;
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

/* In no time; but a return or a confirm may still come, and must not be taken for another's. */
static void expire_one(struct mr_confirm *c, uint64_t number, struct run *run)
{
	struct mr_confirm_entry *e = entry(c, number);
	struct run one = {number, number, MR_TIMEOUT, 0};
	if (e->flags & CLAIMED && meet_claim(c, number, number, &one.shift))
		one.outcome = MR_RETURNED;
	e->flags |= e->flags & MANDATORY && one.outcome == MR_TIMEOUT ? TOLD : TOLD | DONE;
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

size_t mr_confirm_outstanding(const struct mr_confirm *c)
{
	size_t count = 0;
	for (uint64_t n = c->first; n < c->next; n++)
		count += !(entry(c, n)->flags & (TOLD | DONE));
	return count;
}

bool mr_confirm_is_waiting(const struct mr_confirm *c)
{
	for (uint64_t n = c->first; n < c->next; n++)
		if (!(entry(c, n)->flags & (TOLD | DONE))) return true;
	return false;
}
