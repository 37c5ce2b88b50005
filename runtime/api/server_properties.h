/* server_properties: what brokers say of themselves, once for all connections that were told the same.
 * SPDX-License-Identifier: MIT
 * Host thread. A thousand connections to one broker would hold a thousand copies of 1.3 KiB. */
#ifndef MR_API_SERVER_PROPERTIES_H
#define MR_API_SERVER_PROPERTIES_H

#include "base/list.h"
#include "base/value.h"

struct mr_server_properties {
	struct mr_node node; /* in the list of its runtime */
	size_t users;
	mr_table *table;
};

/* Takes the table. *Gives* one use of an equal one of the list, or of this one, or a copy, that is
 * added to it. NULL: no memory, or no table. */
struct mr_server_properties *mr_server_properties_share(struct mr_node *list, mr_table *table);
void mr_server_properties_release(struct mr_server_properties *p); /* NULL is allowed */

#endif
