/* envelope: kombu's message envelopes (JSON text) to messages and back.
 * SPDX-License-Identifier: MIT
 * Pure; the broker thread. Numbers in headers are 'l' and 'd'. jansson's memory is not mr_alloc's:
 * its allocator is the whole process's, and so the host's to set. */
#ifndef MR_REDIS_ENVELOPE_H
#define MR_REDIS_ENVELOPE_H

#include "broker/store/message.h"

#define MR_ENVELOPE_MAX (512u << 20) /* bytes: Redis' own limit of a value */
#define MR_ENVELOPE_TAG_MAX 255
#define MR_ENVELOPE_EXPIRES "x-mr-expires" /* a property of ours, which kombu keeps */

struct mr_envelope {                                /* what a message does not carry */
	char delivery_tag[MR_ENVELOPE_TAG_MAX + 1]; /* NUL-terminated, without NULs of its own */
	bool redelivered;
	int64_t expires; /* ms of Unix time; INT64_MAX: never, or who published it did not say */
};

/* *Gives* the message of an envelope: a routing header of its own is not applied. What AMQP has no
 * property for is left out. MR_BAD_ARGUMENT: not an envelope, or not for AMQP: dead-letter it;
 * MR_CONTENT_TOO_LARGE: over MR_ENVELOPE_MAX; MR_NO_MEMORY. */
enum mr_status mr_envelope_read(struct mr_message **out, struct mr_envelope *seen, mr_slice json,
	mr_error *error);
/* Appends what kombu writes for the message.
 * A message without priority gets 0, as in kombu. A header of type T becomes ISO text and D
 * decimal text. MR_BAD_ARGUMENT: what JSON cannot say (bytes that are not UTF-8, type x, NaN,
 * integers beyond 64 bits, too deep; nothing is appended then), or malformed properties;
 * MR_CONTENT_TOO_LARGE; MR_NO_MEMORY. */
enum mr_status mr_envelope_write(struct mr_buffer *out, const struct mr_message *m,
	const struct mr_envelope *as, mr_error *error);

#endif
