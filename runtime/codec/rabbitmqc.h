/* rabbitmqc: rabbitmq-c's headers, where either layout keeps them.
 * SPDX-License-Identifier: MIT
 * Only table.c, method.c and properties.c include this. rabbitmq-c allocates from the C library's
 * heap: only short-lived scratch memory of decoding. */
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

/* rabbitmq-c does not write through the bytes it is given to encode. */
static inline amqp_bytes_t mr_rc_bytes(mr_slice s)
{
	amqp_bytes_t b = {s.size, (void *)(uintptr_t)s.data};
	return b;
}
static inline mr_slice mr_rc_slice(amqp_bytes_t b) { return mr_slice_of(b.bytes, b.len); }

struct mr_arena;

/* Conversions of table.c, for those that encode or decode tables within methods and properties. The
 * arena owns what `to` makes (it may be NULL when `table` is); the strings are borrowed. MR_OK,
 * MR_BAD_ARGUMENT, MR_NO_MEMORY. `from` gives a root: MR_OK or MR_NO_MEMORY. */
enum mr_status mr_table_rc_to(amqp_table_t *out, const mr_table *table, struct mr_arena *arena,
	mr_error *error);
enum mr_status mr_table_rc_from(mr_table **out, const amqp_table_t *table);
/* What a negative result of the codec means. */
static inline enum mr_status mr_rc_status(int result)
{
	return result == AMQP_STATUS_NO_MEMORY ? MR_NO_MEMORY : MR_FRAME_ERROR;
}
/* At least as many bytes as the encoded table takes, its length included. */
size_t mr_table_rc_bound(const mr_table *table);

#endif
