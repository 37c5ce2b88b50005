/* fields: what the broker reads out of tables that it keeps as bytes: arguments and headers.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_STORE_FIELDS_H
#define MR_BROKER_STORE_FIELDS_H

#include "base/value.h"
#include "codec/walk.h"

/* The first field of that name. Of a nested one the type alone is read; text is borrowed. */
bool mr_fields_get(mr_slice table, const char *key, mr_value *out);
void mr_field_value(const struct mr_walk_field *field, mr_value *out);
/* As RabbitMQ compares headers: by value, so that 10 is 10.0, and nested ones are equal when they are
 * written alike. */
bool mr_field_same(const struct mr_walk_field *a, const struct mr_walk_field *b);
/* As it compares the arguments of declares: there 10 is not 10.0. */
bool mr_field_same_argument(const struct mr_walk_field *a, const struct mr_walk_field *b);
const char *mr_field_type_name(uint8_t type); /* RabbitMQ's: "longstr" */

/* *gives* a copy of a table (mr_free data) in the order of its keys, so that the same fields are the same
 * bytes. An empty one has data NULL. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_fields_sorted(mr_slice table, mr_slice *out);
enum mr_status mr_fields_copy(mr_slice table, mr_slice *out); /* in its own order */

#endif
