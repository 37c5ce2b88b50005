/* consumers: the consumers of a channel, by the tags that the broker sends.
 * SPDX-License-Identifier: MIT
 * Pure. A curbed consumer (curb.h) has another tag at the broker than the one that the host knows; until the cancel
 * of its first one is answered, messages come by either. */
#ifndef MR_AMQP_CONSUMERS_H
#define MR_AMQP_CONSUMERS_H

#include "amqp/pending.h"

#define MR_CURB_SUFFIX "/curbed" /* behind the tag that the host knows */

struct mr_consumer_entry {
	uint32_t number;                           /* the host's, with MR_CONSUMER_NO_ACK */
	bool is_loose;                             /* no prefetch bounds its deliveries */
	bool may_be_curbed, is_curbed, was_curbed; /* curb.h */
	uint8_t size, queue_size;
	char tag[255], queue[255];
	mr_table *arguments; /* its own; NULL: none */
};

struct mr_consumers { /* zeroed is empty and valid */
	struct mr_consumer_entry **entries;
	size_t count, last; /* most deliveries go where the one before went */
};

void mr_consumers_fini(struct mr_consumers *c);
/* The broker has the consumer that `asked` asked for; its arguments are taken. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_consumers_add(struct mr_consumers *c, mr_slice tag, struct mr_pending *asked);
/* Whose messages have this tag; NULL: nobody's. Where its size is not that of the tag that the host knows, it is the
 * tag of the consumer that took the first one's place. */
struct mr_consumer_entry *mr_consumers_find(struct mr_consumers *c, mr_slice tag);
/* Its number; 0: there is none, or it is the first one of a curbed consumer, which goes unseen. */
uint32_t mr_consumers_remove(struct mr_consumers *c, mr_slice tag);
/* Does the host, or the broker, know a consumer by this tag? */
bool mr_consumers_has(const struct mr_consumers *c, mr_slice tag);
/* The same, asked of the tags that the host knows. NULL: there is none. */
struct mr_consumer_entry *mr_consumers_shown(const struct mr_consumers *c, mr_slice tag);

mr_slice mr_consumer_tag(const struct mr_consumer_entry *entry); /* that the host knows */
mr_slice mr_consumer_queue(const struct mr_consumer_entry *entry);
/* The tag that the broker knows, or will when it is curbed, in `wire`. */
mr_slice mr_consumer_wire(const struct mr_consumer_entry *entry, char wire[256]);
mr_slice mr_consumer_curbed_wire(const struct mr_consumer_entry *entry, char wire[256]);
bool mr_consumer_is_wire(const struct mr_consumer_entry *entry, mr_slice tag);
/* Is there room for the suffix behind its tag? */
bool mr_consumer_may_grow(const struct mr_consumer_entry *entry);

#endif
