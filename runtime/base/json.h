/* json: a table as JSON text.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. JSON cannot represent some values: NaN and infinities become null, bytes that
 * are not UTF-8 become the replacement character. */
#ifndef MR_BASE_JSON_H
#define MR_BASE_JSON_H

#include "base/buffer.h"
#include "base/value.h"

/* Appends. MR_OK or MR_NO_MEMORY. A table has at most MR_TABLE_DEPTH_MAX levels. */
enum mr_status mr_json_table(struct mr_buffer *out, const mr_table *table);
enum mr_status mr_json_string(struct mr_buffer *out, mr_slice text); /* with quotes */

#endif
