/* headers: when a headers binding matches, and when two argument tables are the same.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_HEADERS_H
#define MR_BROKER_HEADERS_H

#include "base/status.h"
#include "base/value.h"

/* The x-match rule of RabbitMQ 3.10: all (default), any, all-with-x, any-with-x; without "-with-x" keys
 * that begin with x- do not count. Either table may be NULL. */
bool mr_headers_match(const mr_table *arguments, const mr_table *headers);
/* Refuses an x-match that is none (406). `arguments` may be NULL. */
enum mr_status mr_headers_check(const mr_table *arguments, mr_error *error);
const char *mr_type_name(const mr_value *value); /* RabbitMQ's: "longstr" */

#endif
