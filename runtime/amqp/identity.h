/* identity: identifies a publish when the broker returns it, because AMQP gives a return no number.
 * SPDX-License-Identifier: MIT
 * Pure. 64-bit hashes over everything: names, encoded properties, every byte of the body. */
#ifndef MR_AMQP_IDENTITY_H
#define MR_AMQP_IDENTITY_H

#include "base/slice.h"

struct mr_identity {
	uint64_t content;    /* exchange, routing key and body; never 0 */
	uint64_t properties; /* all properties */
	uint64_t lasting;    /* those that the broker never changes */
	bool changes; /* the broker will change them: `lasting` is set instead of `properties` */
};

/* Of a publish. */
struct mr_identity mr_identity_of(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body);
/* Of a returned message: both hashes are set. */
struct mr_identity mr_identity_returned(mr_slice exchange, mr_slice key, mr_slice properties,
	mr_slice body);

#endif
