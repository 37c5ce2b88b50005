/* confirm: which publishes of a channel still wait for the broker's word, and how each ends.
 * SPDX-License-Identifier: MIT
 * Pure. Publishes are numbered 1, 2, 3... from confirm.select on, as AMQP numbers them. Each ends
 * exactly once: acked, nacked, returned, lost or timed out. */
#ifndef MR_AMQP_CONFIRM_H
#define MR_AMQP_CONFIRM_H

#include "base/clock.h"
#include "base/histogram.h"
#include "base/status.h"

/* Told of every run first..last of publishes that ended alike. */
typedef void mr_confirmed(void *owner, uint64_t first, uint64_t last, enum mr_status outcome);

struct mr_confirm_entry;
struct mr_confirm {                       /* zeroed is empty and valid */
	struct mr_confirm_entry *entries; /* a ring: entry of number n is at n & (capacity - 1) */
	size_t capacity;
	uint64_t first, next; /* the outstanding ones lie in first .. next - 1 */
	mr_msec earliest;     /* no deadline is before this */
	mr_confirmed *tell;
	void *owner;
	const uint64_t *clock;      /* the owner's, in us; NULL: no times are taken */
	struct mr_histogram *times; /* from publish to ack */
};

void mr_confirm_init(struct mr_confirm *c, mr_confirmed *tell, void *owner);
void mr_confirm_fini(struct mr_confirm *c);
/* The next publish; its number is c->next before the call. `identity` is a hash by which a
 * basic.return finds it, 0 when it is not mandatory. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_confirm_add(struct mr_confirm *c, uint64_t identity, mr_msec deadline);
/* basic.ack or basic.nack. A number settled or timed out before is ignored; one that was never
 * published is MR_COMMAND_INVALID: the peer is confused. Multiple with number 0: all. */
enum mr_status mr_confirm_settle(struct mr_confirm *c, uint64_t number, bool multiple,
	enum mr_status outcome);
/* basic.return: marks the oldest outstanding publish with this identity, so that its ack ends it as
 * returned. Returns its number, 0 when there is none. */
uint64_t mr_confirm_returned(struct mr_confirm *c, uint64_t identity);
void mr_confirm_expire(struct mr_confirm *c, mr_msec now); /* ends what is due as MR_TIMEOUT */
void mr_confirm_lose(struct mr_confirm *c);                /* ends all as MR_LOST */
size_t mr_confirm_outstanding(const struct mr_confirm *c);

#endif
