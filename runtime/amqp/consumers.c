/* consumers: the consumers of a channel, by the tags that the broker sends.
 * SPDX-License-Identifier: MIT */
#include "amqp/consumers.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/value.h"

#define SUFFIX_SIZE (sizeof MR_CURB_SUFFIX - 1)

/* ---- one ---- */

mr_slice mr_consumer_tag(const struct mr_consumer_entry *entry)
{
	return mr_slice_of(entry->tag, entry->size);
}

mr_slice mr_consumer_queue(const struct mr_consumer_entry *entry)
{
	return mr_slice_of(entry->queue, entry->queue_size);
}

bool mr_consumer_may_grow(const struct mr_consumer_entry *entry)
{
	return entry->size + SUFFIX_SIZE <= 255;
}

mr_slice mr_consumer_curbed_wire(const struct mr_consumer_entry *entry, char wire[256])
{
	memcpy(wire, entry->tag, entry->size);
	memcpy(wire + entry->size, MR_CURB_SUFFIX, SUFFIX_SIZE);
	return mr_slice_of(wire, entry->size + SUFFIX_SIZE);
}

mr_slice mr_consumer_wire(const struct mr_consumer_entry *entry, char wire[256])
{
	if (entry->is_curbed) return mr_consumer_curbed_wire(entry, wire);
	memcpy(wire, entry->tag, entry->size);
	return mr_slice_of(wire, entry->size);
}

bool mr_consumer_is_wire(const struct mr_consumer_entry *entry, mr_slice tag)
{
	char wire[256];
	return mr_slice_equal(mr_consumer_wire(entry, wire), tag);
}

/* True for the tag of its second consumer, now or in the past. Compared in place, for each
 * message. */
static bool is_second(const struct mr_consumer_entry *entry, mr_slice tag)
{
	return (entry->is_curbed || entry->was_curbed) && tag.size == entry->size + SUFFIX_SIZE &&
	       memcmp(tag.data, entry->tag, entry->size) == 0 &&
	       memcmp(tag.data + entry->size, MR_CURB_SUFFIX, SUFFIX_SIZE) == 0;
}

static bool is_known_as(const struct mr_consumer_entry *entry, mr_slice tag)
{
	return mr_slice_equal(mr_consumer_tag(entry), tag) || is_second(entry, tag);
}

static void free_entry(struct mr_bins *tags, struct mr_consumer_entry *entry)
{
	mr_bins_take(tags, &entry->by_tag);
	mr_table_free(entry->arguments);
	mr_offsets_fini(&entry->offsets);
	mr_free(entry);
}

/* ---- all ---- */

void mr_consumers_fini(struct mr_consumers *c)
{
	for (size_t i = 0; i < c->count; i++) free_entry(&c->tags, c->entries[i]);
	mr_free(c->entries);
	mr_bins_fini(&c->tags);
	*c = (struct mr_consumers){0};
}

enum mr_status mr_consumers_add(struct mr_consumers *c, mr_slice tag, struct mr_pending *asked,
	mr_msec now)
{
	struct mr_consumer_entry *entry = mr_malloc(sizeof *entry);
	struct mr_consumer_entry **list = mr_realloc(c->entries, (c->count + 1) * sizeof *list);
	if (list) c->entries = list;
	if (!entry || !list) goto fail;
	*entry = (struct mr_consumer_entry){.number = asked->consumer,
		.at = c->count,
		.was_busy = true,
		.may_be_curbed = asked->may_be_curbed,
		.since = now};
	if (mr_bins_put(&c->tags, &entry->by_tag, mr_hash(0, tag)) != MR_OK) goto fail;
	entry->arguments = asked->arguments;
	asked->arguments = NULL;
	entry->is_loose = asked->is_loose || asked->consumer & MR_CONSUMER_NO_ACK;
	entry->queue_size = asked->queue_size;
	memcpy(entry->queue, asked->queue, asked->queue_size);
	entry->size = (uint8_t)tag.size;
	if (tag.size) memcpy(entry->tag, tag.data, tag.size);
	list[c->count++] = entry;
	return MR_OK;
fail:
	mr_free(entry);
	return MR_NO_MEMORY;
}

struct mr_consumer_entry *mr_consumers_shown(const struct mr_consumers *c, mr_slice tag)
{
	uint64_t hash = mr_hash(0, tag);
	struct mr_bin_node *n = NULL;
	while ((n = mr_bins_next(&c->tags, hash, n))) {
		struct mr_consumer_entry *entry = (void *)n;
		if (mr_slice_equal(mr_consumer_tag(entry), tag)) return entry;
	}
	return NULL;
}

static struct mr_consumer_entry *known_as(const struct mr_consumers *c, mr_slice tag)
{
	struct mr_consumer_entry *entry = mr_consumers_shown(c, tag);
	if (entry || tag.size < SUFFIX_SIZE) return entry;
	entry = mr_consumers_shown(c, mr_slice_of(tag.data, tag.size - SUFFIX_SIZE));
	return entry && is_second(entry, tag) ? entry : NULL;
}

struct mr_consumer_entry *mr_consumers_find(struct mr_consumers *c, mr_slice tag)
{
	if (c->last && is_known_as(c->last, tag)) return c->last;
	struct mr_consumer_entry *entry = known_as(c, tag);
	if (entry) c->last = entry;
	return entry;
}

uint32_t mr_consumers_remove(struct mr_consumers *c, mr_slice tag)
{
	struct mr_consumer_entry *entry = mr_consumers_find(c, tag);
	if (!entry || !mr_consumer_is_wire(entry, tag)) return 0;
	uint32_t number = entry->number;
	if (entry->is_stream) c->streams--;
	c->entries[entry->at] = c->entries[--c->count];
	c->entries[entry->at]->at = entry->at;
	c->last = NULL;
	free_entry(&c->tags, entry);
	return number;
}

bool mr_consumers_has(const struct mr_consumers *c, mr_slice tag)
{
	return known_as(c, tag) != NULL;
}

/* ---- of streams ---- */

enum mr_status mr_consumers_note(struct mr_consumers *c, struct mr_consumer_entry *entry,
	mr_delivery *d)
{
	uint64_t offset;
	if (!mr_offsets_read(mr_slice_of(d->properties, d->properties_size), &offset)) {
		entry->is_of_queue = !entry->is_stream;
		return MR_OK;
	}
	if (!entry->is_stream) c->streams++;
	entry->is_stream = true;
	d->flags |= MR_DELIVERY_STREAM;
	d->offset = offset;
	return mr_offsets_delivered(&entry->offsets, d->tag, offset);
}

void mr_consumers_acked(struct mr_consumers *c, uint64_t tag, bool multiple)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->entries[i]->is_stream)
			mr_offsets_acked(&c->entries[i]->offsets, tag, multiple);
}
