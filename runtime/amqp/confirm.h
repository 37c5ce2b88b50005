/* confirm: which publishes of a channel still wait for the broker's word, and how each ends.
 * SPDX-License-Identifier: MIT
 * Pure. Publishes are numbered 1, 2, 3... from confirm.select on, as AMQP numbers them. Each ends
 * exactly once: acked, nacked, returned, lost or timed out.
 *
 * A return has no number. What AMQP says of it: it comes before the confirm of its publish, returns come in the order
 * of their publishes, and only mandatory ones come back. So a return is known by what it carries, and waits as a
 * claim: the first publish of that identity that is acked, of those that were out when it came, is the one that was
 * returned. (Which of two that are alike in every byte, only their confirms can tell.) */
#ifndef MR_AMQP_CONFIRM_H
#define MR_AMQP_CONFIRM_H

#include "amqp/identity.h"
#include "amqp/lines.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/status.h"

/* Told of every run first..last of publishes that ended alike. `shift` is of returned ones that are alike in every
 * byte to others: the return that number n ended by was told as that of n + shift; else 0. */
typedef void mr_confirmed(void *owner, uint64_t first, uint64_t last, enum mr_status outcome,
	int shift);

struct mr_confirm_entry;
struct mr_confirm_claim;
struct mr_confirm {                       /* zeroed is empty and valid */
	struct mr_confirm_entry *entries; /* a ring: entry of number n is at n & (capacity - 1) */
	size_t capacity;
	uint64_t first, next; /* the outstanding ones lie in first .. next - 1 */
	uint64_t
		returned; /* the last number that came back, as far as known: the next is above it */
	size_t waiting;   /* of those, who have not been told how they ended */
	struct mr_lines out;             /* mandatory ones that may come back */
	struct mr_confirm_claim *claims; /* returns whose confirms have not come: a ring likewise */
	size_t claim_capacity;
	uint64_t claim_first, claim_end;
	struct mr_lines open; /* of them, those that are not met */
	mr_msec earliest;     /* no deadline is before this */
	mr_confirmed *tell;
	void *owner;
	const uint64_t *clock;      /* the owner's, in us; NULL: no times are taken */
	struct mr_histogram *times; /* from publish to ack */
};

void mr_confirm_init(struct mr_confirm *c, mr_confirmed *tell, void *owner);
void mr_confirm_fini(struct mr_confirm *c);
/* The next publish; its number is c->next before the call. `id` is what a basic.return finds it by, NULL when it is
 * not mandatory. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_confirm_add(struct mr_confirm *c, const struct mr_identity *id, mr_msec deadline);
/* basic.ack or basic.nack. A number settled or timed out before is ignored; one that was never
 * published is MR_COMMAND_INVALID: the peer is confused. Multiple with number 0: all. */
enum mr_status mr_confirm_settle(struct mr_confirm *c, uint64_t number, bool multiple,
	enum mr_status outcome);
/* basic.return: the publish that it is most likely of, 0 when none is out. How that one ends its confirm says: of
 * several that are alike in every byte it may be another. *lacks_memory: it could not be noted. */
uint64_t mr_confirm_returned(struct mr_confirm *c, const struct mr_identity *id,
	bool *lacks_memory);
void mr_confirm_expire(struct mr_confirm *c, mr_msec now); /* ends what is due as MR_TIMEOUT */
/* Ends all as MR_LOST; those whose return has come, as MR_RETURNED. */
void mr_confirm_lose(struct mr_confirm *c);
size_t mr_confirm_outstanding(const struct mr_confirm *c);
bool mr_confirm_is_waiting(const struct mr_confirm *c); /* is there one? */

#endif
