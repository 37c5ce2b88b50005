/* wire: Redis' protocol: commands to bytes, and bytes to replies.
 * SPDX-License-Identifier: MIT
 * Pure. Replies are hiredis' structures, read by hiredis, in memory of our allocator. */
#ifndef MR_REDIS_WIRE_H
#define MR_REDIS_WIRE_H

#include <hiredis/hiredis.h>

#include "base/buffer.h"

#define MR_REDIS_WIRE_STRING_MAX (512u << 20) /* bytes: what Redis itself allows a string to have */
#define MR_REDIS_WIRE_ITEMS_MAX (1 << 20)     /* of one array */

/* Appends a command of `count` words. MR_NO_MEMORY: nothing was appended. */
enum mr_status mr_redis_wire_put(struct mr_buffer *out, const mr_slice *words, size_t count);

struct mr_redis_wire { /* zeroed: nothing to free */
	redisReader *reader;
};
enum mr_status mr_redis_wire_open(struct mr_redis_wire *w);
void mr_redis_wire_close(struct mr_redis_wire *w);
/* Takes bytes. MR_NO_MEMORY or MR_FRAME_ERROR: the connection is of no use any more. */
enum mr_status mr_redis_wire_feed(struct mr_redis_wire *w, const void *data, size_t size,
	mr_error *error);
/* *Gives* the next whole reply; NULL and MR_OK: it has not come yet. */
enum mr_status mr_redis_wire_take(struct mr_redis_wire *w, redisReply **out, mr_error *error);
void mr_redis_wire_free(redisReply *reply); /* NULL is allowed */

#endif
