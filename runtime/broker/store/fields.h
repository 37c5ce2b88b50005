/* fields: reads single fields of encoded tables: arguments and headers.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_FIELDS_H
#define MR_BROKER_STORE_FIELDS_H

#include "base/value.h"
#include "codec/walk.h"

/* The first field of this name. If it is nested, only the type is read; text is borrowed. */
bool mr_fields_get(mr_slice table, const char *key, mr_value *out);
void mr_field_value(const struct mr_walk_field *field, mr_value *out);
/* Compares like RabbitMQ compares headers: by value, so that 10 equals 10.0; nested ones are equal
 * if their bytes are. */
bool mr_field_same(const struct mr_walk_field *a, const struct mr_walk_field *b);
/* Compares like RabbitMQ compares arguments of declares: 10 does not equal 10.0. */
bool mr_field_same_argument(const struct mr_walk_field *a, const struct mr_walk_field *b);
const char *mr_field_type_name(uint8_t type); /* RabbitMQ's: "longstr" */

/* *Gives* a copy of a table (mr_free data), sorted by key, so that equal fields give equal bytes.
 * An empty table has data NULL. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_fields_sorted(mr_slice table, mr_slice *out);
enum mr_status mr_fields_copy(mr_slice table, mr_slice *out); /* not sorted */

#endif
