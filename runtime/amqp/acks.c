/* acks: a channel's unsettled deliveries, and the fewest frames that settle them.
 * SPDX-License-Identifier: MIT */
#include "amqp/acks.h"

#include "base/alloc.h"

enum { SETTLED, OUT, ACKED, HIDDEN }; /* ACKED: the host acked it, but the ack was not sent yet */

/* The number of tags, one byte each, in the window after which a delivery that stays unsettled is
 * moved to `sparse`. */
#define WINDOW_MAX 65536

void mr_acks_init(struct mr_acks *a) { *a = (struct mr_acks){.low = 1, .next = 1}; }

void mr_acks_fini(struct mr_acks *a)
{
	mr_free(a->states);
	mr_map_fini(&a->sparse);
	mr_buffer_fini(&a->pending);
	mr_acks_init(a);
}

static uint8_t *state(const struct mr_acks *a, uint64_t tag)
{
	return &a->states[tag & (a->capacity - 1)];
}

static enum mr_status grow(struct mr_acks *a)
{
	size_t capacity = a->capacity ? a->capacity * 2 : 64;
	uint8_t *states = mr_malloc(capacity);
	if (!states) return MR_NO_MEMORY;
	for (uint64_t t = a->low; t < a->next; t++) states[t & (capacity - 1)] = *state(a, t);
	mr_free(a->states);
	a->states = states;
	a->capacity = capacity;
	return MR_OK;
}

/* Moves the lowest tag out of a full window, with the settled tags after it. An acked tag needs no
 * entry: the flush finds it in `pending`. */
static enum mr_status shift_window(struct mr_acks *a)
{
	if (*state(a, a->low) == OUT) {
		enum mr_status st = mr_map_put(&a->sparse, a->low, a);
		if (st != MR_OK) return st;
	}
	do {
		a->low++;
	} while (a->low < a->next && *state(a, a->low) == SETTLED);
	return MR_OK;
}

/* The tag is the next one. */
static enum mr_status count(struct mr_acks *a, bool no_ack)
{
	if (no_ack && a->low == a->next) { /* nothing outstanding: no window needed */
		a->low = ++a->next;
		return MR_OK;
	}
	if (a->next - a->low == a->capacity) {
		enum mr_status st = a->capacity < WINDOW_MAX ? grow(a) : shift_window(a);
		if (st != MR_OK) return st;
	}
	*state(a, a->next) = no_ack ? SETTLED : OUT;
	a->next++;
	return MR_OK;
}

/* From now on each tag is settled separately. */
static enum mr_status pass_over(struct mr_acks *a, uint64_t tag)
{
	for (uint64_t t = a->low; t < a->next; t++)
		if (*state(a, t) == OUT && mr_map_put(&a->sparse, t, a) != MR_OK)
			return MR_NO_MEMORY;
	a->low = a->next = tag;
	a->single = true;
	a->gaps++;
	return MR_OK;
}

/* RabbitMQ does not count answers of direct reply-to, which look like any delivery without acks:
 * the next tag shows whether one was counted. */
enum mr_status mr_acks_delivered(struct mr_acks *a, uint64_t tag, bool no_ack)
{
	if (a->is_open && tag == a->next + 1) {
		enum mr_status st = count(a, true);
		if (st != MR_OK) return st;
	}
	if (tag < a->next || tag == UINT64_MAX) return MR_COMMAND_INVALID; /* it has no next one */
	if (tag > a->next && pass_over(a, tag) != MR_OK) return MR_NO_MEMORY;
	a->is_open = no_ack;
	return no_ack ? MR_OK : count(a, false);
}

static bool is_outstanding(const struct mr_acks *a, uint64_t tag)
{
	if (tag >= a->next) return false;
	if (tag >= a->low) return *state(a, tag) == OUT;
	return a->sparse.count && mr_map_get(&a->sparse, tag);
}

static enum mr_status ack_one(struct mr_acks *a, uint64_t tag)
{
	enum mr_status st = mr_buffer_append(&a->pending, &tag, sizeof tag);
	if (st != MR_OK) return st;
	if (tag >= a->low)
		*state(a, tag) = ACKED;
	else
		mr_map_take(&a->sparse, tag);
	return MR_OK;
}

void mr_acks_hide(struct mr_acks *a, uint64_t tag, bool hidden)
{
	uint8_t from = hidden ? OUT : HIDDEN, to = hidden ? HIDDEN : OUT;
	void *was = hidden ? a : (void *)&a->hidden, *is = hidden ? (void *)&a->hidden : a;
	if (tag >= a->next) return;
	if (tag >= a->low) {
		if (*state(a, tag) != from) return;
		*state(a, tag) = to;
	} else if (mr_map_get(&a->sparse, tag) != was || !mr_map_change(&a->sparse, tag, is)) {
		return;
	}
	if (hidden)
		a->hidden++;
	else
		a->hidden--;
}

static void drop_one(struct mr_acks *a, uint64_t tag)
{
	if (tag >= a->low)
		*state(a, tag) = SETTLED;
	else
		mr_map_take(&a->sparse, tag);
}

/* Applies to every outstanding tag up to `tag`; the sparse ones are all lower than the window. */
static enum mr_status ack_up_to(struct mr_acks *a, uint64_t tag)
{
	uint64_t key;
	size_t at = 0;
	enum mr_status st = MR_OK;
	void *value;
	while (st == MR_OK && (value = mr_map_next(&a->sparse, &at, &key)))
		if (key <= tag && value == a) st = ack_one(a, key);
	for (uint64_t t = a->low; st == MR_OK && t <= tag && t < a->next; t++)
		if (*state(a, t) == OUT) st = ack_one(a, t);
	return st;
}

static enum mr_status nack_singly(struct mr_acks *a, uint64_t tag, int flags,
	mr_settle_write *write, void *owner)
{
	uint64_t key;
	size_t at = 0;
	enum mr_status st = MR_OK;
	flags &= ~MR_SETTLE_MULTIPLE;
	void *value;
	while (st == MR_OK && (value = mr_map_next(&a->sparse, &at, &key))) {
		if (key > tag || value != a) continue;
		st = write(owner, key, MR_NACK, flags);
		if (st == MR_OK) mr_map_take(&a->sparse, key);
	}
	for (uint64_t t = a->low; st == MR_OK && t <= tag && t < a->next; t++) {
		if (*state(a, t) != OUT) continue;
		st = write(owner, t, MR_NACK, flags);
		if (st == MR_OK) *state(a, t) = SETTLED;
	}
	return st;
}

static enum mr_status nack_up_to(struct mr_acks *a, uint64_t tag, int flags, mr_settle_write *write,
	void *owner)
{
	/* Acks wait for the flush, and a nack of many must not overtake them. */
	enum mr_status st = mr_acks_flush(a, write, owner);
	uint64_t key;
	size_t at = 0;
	if (st == MR_OK && (a->single || a->hidden))
		return nack_singly(a, tag, flags, write, owner);
	if (st == MR_OK) st = write(owner, tag, MR_NACK, flags);
	if (st != MR_OK) return st;
	while (mr_map_next(&a->sparse, &at, &key))
		if (key <= tag) mr_map_take(&a->sparse, key);
	for (uint64_t t = a->low; t <= tag && t < a->next; t++) *state(a, t) = SETTLED;
	return MR_OK;
}

enum mr_status mr_acks_settle(struct mr_acks *a, uint64_t tag, int how, int flags,
	mr_settle_write *write, void *owner)
{
	bool multiple = flags & MR_SETTLE_MULTIPLE;
	if (!is_outstanding(a, tag)) return MR_OK;
	if (how == MR_ACK) return multiple ? ack_up_to(a, tag) : ack_one(a, tag);
	if (how == MR_NACK && multiple) return nack_up_to(a, tag, flags, write, owner);
	enum mr_status st = write(owner, tag, how, flags & ~MR_SETTLE_MULTIPLE);
	if (st == MR_OK) drop_one(a, tag);
	return st;
}

/* Skips the settled tags at the low end; returns the highest acked one among them, 0 for none. */
static uint64_t advance(struct mr_acks *a, size_t *acked)
{
	uint64_t last = 0;
	*acked = 0;
	for (; a->low < a->next && *state(a, a->low) != OUT; a->low++) {
		if (*state(a, a->low) != ACKED) continue;
		last = a->low;
		++*acked;
	}
	return last;
}

enum mr_status mr_acks_flush(struct mr_acks *a, mr_settle_write *write, void *owner)
{
	size_t size = mr_buffer_size(&a->pending), acked = 0;
	if (!size) return MR_OK;
	const uint8_t *tags = mr_buffer_data(&a->pending);
	uint64_t covered = 0;
	enum mr_status st = MR_OK;

	if (!a->sparse.count && !a->single) {
		covered = advance(a, &acked);
		if (acked)
			st = write(owner, covered, MR_ACK,
				size > sizeof(uint64_t) ? MR_SETTLE_MULTIPLE : 0);
	}
	for (size_t i = 0; st == MR_OK && i < size; i += sizeof(uint64_t)) {
		uint64_t tag;
		memcpy(&tag, tags + i, sizeof tag);
		if (tag <= covered) continue;
		st = write(owner, tag, MR_ACK, 0);
		if (tag >= a->low) *state(a, tag) = SETTLED;
	}
	while (a->single && a->low < a->next && *state(a, a->low) == SETTLED) a->low++;
	mr_buffer_consume(&a->pending, size);
	return st;
}

void mr_acks_forget(struct mr_acks *a)
{
	mr_map_fini(&a->sparse);
	mr_buffer_consume(&a->pending, mr_buffer_size(&a->pending));
	a->low = a->next;
}

size_t mr_acks_outstanding(const struct mr_acks *a)
{
	size_t count = a->sparse.count;
	for (uint64_t t = a->low; t < a->next; t++) count += *state(a, t) == OUT;
	return count;
}
