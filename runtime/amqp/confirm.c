/* confirm: which publishes of a channel still wait for the broker's word, and how each ends.
 * SPDX-License-Identifier: MIT */
#include "amqp/confirm.h"

#include "base/alloc.h"

enum progress { DONE, WAITING, RETURNED };

struct mr_confirm_entry {
	uint64_t identity;
	mr_msec deadline;
	enum progress progress;
	uint32_t sent; /* us; wraps after 71 minutes */
};

/* A run of publishes that end alike, told in one call. */
struct run {
	uint64_t first, last; /* empty while first is 0 */
	enum mr_status outcome;
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
	c->entries = NULL;
	c->capacity = 0;
}

static struct mr_confirm_entry *entry(const struct mr_confirm *c, uint64_t number)
{
	return &c->entries[number & (c->capacity - 1)];
}

static enum mr_status grow(struct mr_confirm *c)
{
	size_t capacity = c->capacity ? c->capacity * 2 : 16;
	struct mr_confirm_entry *entries = mr_malloc(capacity * sizeof *entries);
	if (!entries) return MR_NO_MEMORY;
	for (uint64_t n = c->first; n < c->next; n++) entries[n & (capacity - 1)] = *entry(c, n);
	mr_free(c->entries);
	c->entries = entries;
	c->capacity = capacity;
	return MR_OK;
}

enum mr_status mr_confirm_add(struct mr_confirm *c, uint64_t identity, mr_msec deadline)
{
	if (c->next - c->first == c->capacity && grow(c) != MR_OK) return MR_NO_MEMORY;
	uint32_t sent = c->clock ? (uint32_t)*c->clock : 0;
	*entry(c, c->next) = (struct mr_confirm_entry){identity, deadline, WAITING, sent};
	c->earliest = mr_earlier(c->earliest, deadline);
	c->next++;
	return MR_OK;
}

static void tell_run(struct mr_confirm *c, struct run *run)
{
	if (run->first) c->tell(c->owner, run->first, run->last, run->outcome);
	run->first = 0;
}

static void end_one(struct mr_confirm *c, uint64_t number, enum mr_status outcome, struct run *run)
{
	struct mr_confirm_entry *e = entry(c, number);
	if (e->progress == DONE) return;
	if (outcome == MR_OK && e->progress == RETURNED) outcome = MR_RETURNED;
	e->progress = DONE;
	if (outcome == MR_OK && c->clock)
		mr_histogram_add(c->times, (uint64_t)((uint32_t)*c->clock - e->sent) * 1000);
	if (run->first && (run->outcome != outcome || run->last + 1 != number)) tell_run(c, run);
	if (!run->first) *run = (struct run){number, number, outcome};
	run->last = number;
}

static void drop_done(struct mr_confirm *c)
{
	while (c->first < c->next && entry(c, c->first)->progress == DONE) c->first++;
	if (c->first == c->next) c->earliest = MR_NEVER;
}

enum mr_status mr_confirm_settle(struct mr_confirm *c, uint64_t number, bool multiple,
	enum mr_status outcome)
{
	struct run run = {0};
	if (multiple && number == 0) number = c->next - 1;
	if (number >= c->next || (number == 0 && !multiple)) return MR_COMMAND_INVALID;
	if (number < c->first) return MR_OK;
	for (uint64_t n = multiple ? c->first : number; n <= number; n++)
		end_one(c, n, outcome, &run);
	drop_done(c);
	tell_run(c, &run);
	return MR_OK;
}

uint64_t mr_confirm_returned(struct mr_confirm *c, uint64_t identity)
{
	for (uint64_t n = c->first; n < c->next; n++) {
		struct mr_confirm_entry *e = entry(c, n);
		if (e->progress != WAITING || e->identity != identity) continue;
		e->progress = RETURNED;
		return n;
	}
	return 0;
}

void mr_confirm_expire(struct mr_confirm *c, mr_msec now)
{
	struct run run = {0};
	if (now < c->earliest) return;
	c->earliest = MR_NEVER;
	for (uint64_t n = c->first; n < c->next; n++) {
		struct mr_confirm_entry *e = entry(c, n);
		if (e->progress == DONE) continue;
		if (e->deadline <= now)
			end_one(c, n, MR_TIMEOUT, &run);
		else
			c->earliest = mr_earlier(c->earliest, e->deadline);
	}
	drop_done(c);
	tell_run(c, &run);
}

void mr_confirm_lose(struct mr_confirm *c)
{
	struct run run = {0};
	for (uint64_t n = c->first; n < c->next; n++) end_one(c, n, MR_LOST, &run);
	drop_done(c);
	tell_run(c, &run);
}

size_t mr_confirm_outstanding(const struct mr_confirm *c)
{
	size_t count = 0;
	for (uint64_t n = c->first; n < c->next; n++) count += entry(c, n)->progress != DONE;
	return count;
}
