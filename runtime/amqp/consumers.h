/* consumers: the consumers of a channel, by the tags that the broker sends.
 * SPDX-License-Identifier: MIT
 * Pure. The tag of a curbed consumer (curb.h) at the broker differs from the tag that the host
 * knows; until the cancel of the first consumer is answered, messages arrive with either tag. */
#ifndef MR_AMQP_CONSUMERS_H
#define MR_AMQP_CONSUMERS_H

#include "amqp/offsets.h"
#include "amqp/pending.h"
#include "base/bins.h"

#define MR_CURB_SUFFIX "/curbed" /* appended to the tag that the host knows */

/* What each message needs comes first: beside thousands of consumers, none of it is in a cache. */
struct mr_consumer_entry {
	struct mr_bin_node by_tag; /* in `tags` */
	uint64_t delivered;        /* messages since the broker started it */
	uint32_t number;           /* the host's, with MR_CONSUMER_NO_ACK */
	bool is_leaving;           /* mr_session_cancel_all has cancelled it */
	bool is_loose;             /* no prefetch limits its deliveries */
	bool was_busy; /* it is new, or has had a message since mr_session_consumer_rests */
	bool may_be_curbed, is_curbed, was_curbed; /* curb.h */
	/* Of a stream, or not: the first message shows it. */
	bool is_stream, is_of_queue;
	uint8_t size, queue_size;
	char tag[255], queue[255];
	size_t at;           /* its index in `entries` */
	mr_table *arguments; /* owned; NULL: none */
	mr_msec since;       /* when the broker started it */
	struct mr_offsets offsets;
};

struct mr_consumers { /* zeroed is empty and valid */
	struct mr_consumer_entry **entries;
	size_t count;
	struct mr_consumer_entry *last; /* of the last delivery: checked first; NULL: none */
	struct mr_bins tags;
	size_t streams; /* how many are known to read a stream */
};

void mr_consumers_fini(struct mr_consumers *c);
/* The broker has started the consumer of this request; takes its arguments. MR_OK or
 * MR_NO_MEMORY. */
enum mr_status mr_consumers_add(struct mr_consumers *c, mr_slice tag, struct mr_pending *asked,
	mr_msec now);
/* A message for a consumer has arrived: if it is of a stream, its offset is noted, and written to
 * the delivery. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_consumers_note(struct mr_consumers *c, struct mr_consumer_entry *entry,
	mr_delivery *d);
/* The same, quick for the consumers of other queues. */
static inline enum mr_status mr_consumers_delivered(struct mr_consumers *c,
	struct mr_consumer_entry *entry, mr_delivery *d)
{
	entry->was_busy = true;
	entry->delivered++;
	return entry->is_of_queue ? MR_OK : mr_consumers_note(c, entry, d);
}
/* The host acked a delivery of a stream. */
void mr_consumers_acked(struct mr_consumers *c, uint64_t tag, bool multiple);
/* The consumer whose messages have this tag, or NULL. If the tag is longer than the one that the
 * host knows, it is the tag of the second consumer of a curbed one. */
struct mr_consumer_entry *mr_consumers_find(struct mr_consumers *c, mr_slice tag);
/* Returns the number of the removed consumer; 0: there is none, or it is the first consumer of a
 * curbed one, whose end the host does not see. */
uint32_t mr_consumers_remove(struct mr_consumers *c, mr_slice tag);
/* True if the host or the broker knows a consumer by this tag. */
bool mr_consumers_has(const struct mr_consumers *c, mr_slice tag);
/* The consumer that the host knows by this tag, or NULL. */
struct mr_consumer_entry *mr_consumers_shown(const struct mr_consumers *c, mr_slice tag);

mr_slice mr_consumer_tag(const struct mr_consumer_entry *entry); /* the one that the host knows */
mr_slice mr_consumer_queue(const struct mr_consumer_entry *entry);
/* The tag at the broker, now or when it is curbed, written to `wire`. */
mr_slice mr_consumer_wire(const struct mr_consumer_entry *entry, char wire[256]);
mr_slice mr_consumer_curbed_wire(const struct mr_consumer_entry *entry, char wire[256]);
bool mr_consumer_is_wire(const struct mr_consumer_entry *entry, mr_slice tag);
/* True if the tag has room for the suffix. */
bool mr_consumer_may_grow(const struct mr_consumer_entry *entry);

#endif
