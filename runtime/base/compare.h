/* compare: equality and hashes of field tables and their values.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_COMPARE_H
#define MR_BASE_COMPARE_H

#include "base/value.h"

/* Reads any integer type, or a timestamp; false: another type, or over INT64_MAX. */
bool mr_value_integer(const mr_value *value, int64_t *out);
/* Compares like RabbitMQ: numbers by value, whatever their width; strings and byte arrays by
 * bytes. */
bool mr_value_same(const mr_value *a, const mr_value *b);
/* True for the same keys with the same values, in any order. NULL is an empty table. */
bool mr_table_same(const mr_table *a, const mr_table *b);
/* The same for tables that mr_table_same finds equal. */
uint64_t mr_table_hash(const mr_table *table);

#endif
