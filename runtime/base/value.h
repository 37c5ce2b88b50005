/* value: AMQP field tables as trees: building, reading, copying. moonrabbit.h declares the structs.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. codec/table encodes. */
#ifndef MR_BASE_VALUE_H
#define MR_BASE_VALUE_H

#include "base/slice.h"
#include "base/status.h"

#define MR_KEY_MAX 128        /* AMQP 0-9-1: a field name has at most 128 characters */
#define MR_TABLE_DEPTH_MAX 32 /* our limit: rabbitmq-c's decoder recurses; RabbitMQ has none */

/* mr_table_add for tables from a peer, whose keys may have up to 255 bytes. */
int mr_table_add_received(mr_table *table, mr_slice key, const mr_value *value);
/* The value under `key`, or NULL; `table` may be NULL. */
const mr_value *mr_table_get(const mr_table *table, mr_slice key);
const mr_value *mr_table_find(const mr_table *table, const char *key);
/* Adds a string; the key is a C string. */
enum mr_status mr_table_add_string(mr_table *table, const char *key, mr_slice text);
/* Appends a deep copy of a field. MR_OK, MR_BAD_ARGUMENT, MR_NO_MEMORY. */
enum mr_status mr_table_add_copy(mr_table *into, const mr_field *field);
/* A deep copy as a new root; NULL when out of memory. */
mr_table *mr_table_copy(const mr_table *table);
/* Copies every field of `from` into `into`; merges nested tables, replaces other fields. */
enum mr_status mr_table_merge(mr_table *into, const mr_table *from);

#endif
