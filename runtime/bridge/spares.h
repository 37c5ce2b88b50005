/* spares: memory of large bodies that were written, on its way back to the host for the next ones.
 * SPDX-License-Identifier: MIT
 * Any thread. malloc would give the pages back to the system and get them anew for each batch, as one
 * thread takes what the other frees. Sizes are those of mr_spares_size. */
#ifndef MR_BRIDGE_SPARES_H
#define MR_BRIDGE_SPARES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define MR_SPARES_LEAST (16u << 10) /* bytes: less is quick to get anyway */
#define MR_SPARES_BYTES (8u << 20)  /* of all that lies here: what may wait for a connection */
#define MR_SPARES_IDLE (256u << 10) /* the same while nobody publishes */

struct mr_spares { /* zeroed is empty and valid */
	_Atomic(void *) slots[512];
	atomic_size_t bytes;
	atomic_size_t taken; /* how often; for the trim */
	size_t taken_before; /* the same at the last trim; of its thread */
};

size_t mr_spares_size(size_t size); /* the bytes of the memory for a body */
/* Memory for a body of `size` bytes, also by mr_malloc; NULL: there is none. */
void *mr_spares_take(struct mr_spares *s, size_t size);
void mr_spares_give(struct mr_spares *s, void *memory, size_t size); /* keeps it, or frees it */
bool mr_spares_is_large(const struct mr_spares *s); /* a trim is worth while, when it rests */
/* By one thread, now and then: frees what is more than MR_SPARES_IDLE, if none was taken since. */
void mr_spares_trim(struct mr_spares *s);
void mr_spares_fini(struct mr_spares *s);

#endif
