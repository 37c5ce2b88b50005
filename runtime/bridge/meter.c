/* meter: measures how long a queue's handlers take: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT */
#include "bridge/meter.h"

#include "base/alloc.h"

mr_slice mr_meter_label(mr_slice queue)
{
	bool is_made_up = queue.size >= 4 && memcmp(queue.data, "amq.", 4) == 0;
	return is_made_up || !queue.size ? mr_slice_str("(server-named)") : queue;
}

struct mr_meter *mr_meter_new(mr_slice label)
{
	struct mr_meter *m = mr_calloc(1, sizeof *m);
	if (!m) return NULL;
	size_t size = label.size < sizeof m->queue ? label.size : sizeof m->queue - 1;
	memcpy(m->queue, label.data, size);
	atomic_init(&m->messages, -1);
	return m;
}

/* There is one writer, so an increment needs no locked instruction. */
static void add(atomic_uint_least64_t *word, uint64_t n)
{
	uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
	atomic_store_explicit(word, value + n, memory_order_relaxed);
}

void mr_meter_add(struct mr_meter *m, uint64_t count, uint64_t ns, uint64_t failures)
{
	add(&m->counts[mr_histogram_bucket(ns)], count);
	add(&m->sum, count * ns);
	if (failures) add(&m->tallies[MR_METER_FAILURES], failures);
}

void mr_meter_count(struct mr_meter *m, enum mr_meter_tally tally) { add(&m->tallies[tally], 1); }

void mr_meter_see_oldest(struct mr_meter *m, double began)
{
	atomic_store_explicit(&m->oldest, began, memory_order_relaxed);
}

void mr_meter_see_paused(struct mr_meter *m, bool is_paused)
{
	uint32_t now = atomic_load_explicit(&m->paused, memory_order_relaxed);
	if (!is_paused && !now) return;
	atomic_store_explicit(&m->paused, is_paused ? now + 1 : now - 1, memory_order_relaxed);
}

void mr_meter_look(struct mr_meter *m, int64_t messages)
{
	atomic_store_explicit(&m->messages, messages, memory_order_relaxed);
}

void mr_meter_read(const struct mr_meter *m, struct mr_histogram *out)
{
	for (size_t i = 0; i <= MR_HISTOGRAM_BOUNDS; i++)
		out->counts[i] = atomic_load_explicit(&m->counts[i], memory_order_relaxed);
	out->sum = atomic_load_explicit(&m->sum, memory_order_relaxed);
}

uint64_t mr_meter_counted(const struct mr_meter *m, enum mr_meter_tally t)
{
	return atomic_load_explicit(&m->tallies[t], memory_order_relaxed);
}

double mr_meter_oldest_began(const struct mr_meter *m)
{
	return atomic_load_explicit(&m->oldest, memory_order_relaxed);
}

int64_t mr_meter_messages_seen(const struct mr_meter *m)
{
	return atomic_load_explicit(&m->messages, memory_order_relaxed);
}

uint32_t mr_meter_paused_seen(const struct mr_meter *m)
{
	return atomic_load_explicit(&m->paused, memory_order_relaxed);
}
