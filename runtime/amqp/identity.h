/* identity: what a publish is known by when the broker gives it back: AMQP gives it no number.
 * SPDX-License-Identifier: MIT
 * Pure. Hashes of 64 bits over all of it: names, the encoded properties, every byte of the body. */
#ifndef MR_AMQP_IDENTITY_H
#define MR_AMQP_IDENTITY_H

#include "base/slice.h"

struct mr_identity {
	uint64_t content;    /* exchange, routing key and body; never 0 */
	uint64_t properties; /* as they are */
	uint64_t lasting;    /* what the broker never changes of them */
	bool changes; /* a publish's come back changed: `lasting` is set instead of `properties` */
};

/* Of a publish that goes out. */
struct mr_identity mr_identity_of(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body);
/* Of a message that came back: both hashes are set. */
struct mr_identity mr_identity_returned(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body);

#endif
