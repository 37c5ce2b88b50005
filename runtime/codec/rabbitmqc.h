/* rabbitmqc: includes rabbitmq-c's headers, from either of their two locations.
 * SPDX-License-Identifier: MIT
 * Only table.c, method.c and properties.c include this. rabbitmq-c uses the C library's heap, but
 * only for short-lived memory while it decodes. */
#ifndef MR_CODEC_RABBITMQC_H
#define MR_CODEC_RABBITMQC_H

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

#include "base/slice.h"
#include "base/value.h"

/* rabbitmq-c does not modify the bytes that it encodes. */
static inline amqp_bytes_t mr_rc_bytes(mr_slice s)
{
	amqp_bytes_t b = {s.size, (void *)(uintptr_t)s.data};
	return b;
}
static inline mr_slice mr_rc_slice(amqp_bytes_t b) { return mr_slice_of(b.bytes, b.len); }

struct mr_arena;

/* Conversions in table.c, for tables within methods and properties. `to` allocates from the arena
 * (NULL is allowed if `table` is NULL) and borrows the strings: MR_OK, MR_BAD_ARGUMENT,
 * MR_NO_MEMORY. `from` *gives* a root: MR_OK or MR_NO_MEMORY. */
enum mr_status mr_table_rc_to(amqp_table_t *out, const mr_table *table, struct mr_arena *arena,
	mr_error *error);
enum mr_status mr_table_rc_from(mr_table **out, const amqp_table_t *table);
/* The status for a negative result of the codec. */
static inline enum mr_status mr_rc_status(int result)
{
	return result == AMQP_STATUS_NO_MEMORY ? MR_NO_MEMORY : MR_FRAME_ERROR;
}
/* An upper bound of the encoded table's size, with its length. */
size_t mr_table_rc_bound(const mr_table *table);

#endif
