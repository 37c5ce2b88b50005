/* confirm: a channel's publishes that wait for their confirms, and the outcome of each.
 * SPDX-License-Identifier: MIT
 * Pure. Publishes are numbered 1, 2, 3... from confirm.select on, as in AMQP. Each ends exactly
 * once: acked, nacked, returned, lost or timed out.
 *
 * A return has no number. AMQP guarantees that it arrives before the confirm of its publish, that
 * returns arrive in the order of their publishes, and that only mandatory publishes are returned.
 * So a return is matched by its content (its identity), and waits as a claim: of the publishes of
 * this identity that were outstanding when it arrived, the first one that is acked was returned.
 * (Publishes that are equal in every byte can only be distinguished by their confirms.) */
#ifndef MR_AMQP_CONFIRM_H
#define MR_AMQP_CONFIRM_H

#include "amqp/identity.h"
#include "amqp/lines.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/status.h"

/* Called for every range first..last of publishes with the same outcome. `shift` concerns returned
 * publishes that are equal in every byte: the return that ended number n was reported as the one of
 * n + shift; otherwise it is 0. */
typedef void mr_confirmed(void *owner, uint64_t first, uint64_t last, enum mr_status outcome,
	int shift);

struct mr_confirm_entry;
struct mr_confirm_claim;
struct mr_confirm {                       /* zeroed is empty and valid */
	struct mr_confirm_entry *entries; /* a ring: entry of number n is at n & (capacity - 1) */
	size_t capacity;
	uint64_t first, next; /* the outstanding publishes are in first .. next - 1 */
	uint64_t returned;   /* the last number known to be returned: the next return is above it */
	size_t waiting;      /* outstanding publishes whose outcome was not reported yet */
	struct mr_lines out; /* mandatory publishes that may be returned */
	struct mr_confirm_claim *claims; /* returns without a confirm yet: a ring, too */
	size_t claim_capacity;
	uint64_t claim_first, claim_end;
	struct mr_lines open; /* the claims without a matching publish */
	mr_msec earliest;     /* no deadline is before this */
	mr_confirmed *tell;
	void *owner;
	const uint64_t *clock;      /* the owner's, in us; NULL: times are not measured */
	struct mr_histogram *times; /* from publish to ack */
};

void mr_confirm_init(struct mr_confirm *c, mr_confirmed *tell, void *owner);
void mr_confirm_fini(struct mr_confirm *c);
/* Adds the next publish; its number is c->next before the call. A basic.return is matched by `id`,
 * which is NULL if the publish is not mandatory. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_confirm_add(struct mr_confirm *c, const struct mr_identity *id, mr_msec deadline);
/* basic.ack or basic.nack. A number that was confirmed or timed out before is ignored; a number
 * that was never published is MR_COMMAND_INVALID. Multiple with number 0: all. */
enum mr_status mr_confirm_settle(struct mr_confirm *c, uint64_t number, bool multiple,
	enum mr_status outcome);
/* basic.return: returns the number of the most likely publish, 0 if none is outstanding. The
 * confirm decides: of publishes that are equal in every byte it may be another. *lacks_memory: the
 * return could not be recorded. */
uint64_t mr_confirm_returned(struct mr_confirm *c, const struct mr_identity *id,
	bool *lacks_memory);
void mr_confirm_expire(struct mr_confirm *c, mr_msec now); /* ends overdue ones as MR_TIMEOUT */
/* Ends all as MR_LOST; those whose return has arrived, as MR_RETURNED. */
void mr_confirm_lose(struct mr_confirm *c);
size_t mr_confirm_outstanding(const struct mr_confirm *c);
bool mr_confirm_is_waiting(const struct mr_confirm *c); /* true if an outcome is still to come */

#endif
