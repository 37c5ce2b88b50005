/* json: a table as JSON text.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. What JSON has no form for becomes what a reader can live with: NaN and infinities
 * null, bytes that are no UTF-8 the replacement character. */
#ifndef MR_BASE_JSON_H
#define MR_BASE_JSON_H

#include "base/buffer.h"
#include "base/value.h"

/* Appends. MR_OK or MR_NO_MEMORY. The depth is the table's own, at most MR_TABLE_DEPTH_MAX. */
enum mr_status mr_json_table(struct mr_buffer *out, const mr_table *table);
enum mr_status mr_json_string(struct mr_buffer *out, mr_slice text); /* with its quotes */

#endif
