/* base64: RFC 4648, as Python's base64 module reads and writes it.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_REDIS_BASE64_H
#define MR_REDIS_BASE64_H

#include "base/buffer.h"

static inline size_t mr_base64_size(size_t bytes) { return (bytes + 2) / 3 * 4; }
/* Appends the text of the bytes. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_base64_put(struct mr_buffer *out, mr_slice bytes);
/* Decodes into `out`, which has room for text.size / 4 * 3 bytes and 3 more. Line ends and spaces
 * between are allowed, nothing else. False: not base64. */
bool mr_base64_read(char *out, size_t *size, mr_slice text);

#endif
