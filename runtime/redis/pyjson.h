/* pyjson: JSON text as Python's json.dumps writes it, which is what kombu stores.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. ", " and ": " between, ASCII only, numbers as Python's repr. */
#ifndef MR_REDIS_PYJSON_H
#define MR_REDIS_PYJSON_H

#include "base/buffer.h"

/* All append. MR_OK, MR_NO_MEMORY, or MR_BAD_ARGUMENT, where what was appended is of no use. */
enum mr_status mr_pyjson_text(struct mr_buffer *out, const char *text); /* as it is */
enum mr_status mr_pyjson_string(struct mr_buffer *out, mr_slice text);  /* bad: not UTF-8 */
enum mr_status mr_pyjson_integer(struct mr_buffer *out, int64_t number);
enum mr_status mr_pyjson_real(struct mr_buffer *out, double number); /* bad: NaN, infinite */

#endif
