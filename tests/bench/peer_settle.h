/* peer_settle: remembers which delivery tags of a channel are open, and judges every ack.
 * Pure. One bit per message of the run. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_PEER_SETTLE_H
#define BENCH_PEER_SETTLE_H
#include <stdbool.h>
#include <stdint.h>

struct settle {
	uint64_t *open;     /* bit per tag: delivered and not settled; NULL before init */
	uint64_t total;     /* highest tag there will be */
	uint64_t delivered; /* highest tag so far */
	uint64_t lowest;    /* no open tag lies below */
	uint64_t open_count;
};

bool settle_init(struct settle *s, uint64_t total);
void settle_fini(struct settle *s);
void settle_deliver(struct settle *s, uint64_t count); /* the next `count` tags are now open */

/* Settle one tag, or every open tag up to it (tag 0: all). NULL, or what the client did wrong. The
 * rules are RabbitMQ's: the tag itself must be open, also with `multiple`. */
const char *settle_one(struct settle *s, uint64_t tag);
const char *settle_up_to(struct settle *s, uint64_t tag);
#endif
