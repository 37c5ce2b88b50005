/* compare: when two values of field tables are the same.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_COMPARE_H
#define MR_BASE_COMPARE_H

#include "base/value.h"

/* Reads any integer type, or a timestamp; false when it is none, or over INT64_MAX. */
bool mr_value_integer(const mr_value *value, int64_t *out);
/* As RabbitMQ compares: numbers by value whatever their width, strings and byte arrays by bytes. */
bool mr_value_same(const mr_value *a, const mr_value *b);
/* Same keys with same values, in any order. NULL is empty. */
bool mr_table_same(const mr_table *a, const mr_table *b);
/* Equal for tables that are the same. */
uint64_t mr_table_hash(const mr_table *table);

#endif
