/* backlog: what the publishers to an exchange have not finished: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. The host writes words with plain stores; they are read one
 * by one, so they may differ in age. The host owns a backlog; it outlives the I/O thread. */
#ifndef MR_BRIDGE_BACKLOG_H
#define MR_BRIDGE_BACKLOG_H

#include "base/slice.h"
#include "base/status.h"

#define MR_BACKLOGS_MAX 64 /* further ones share one */

struct mr_backlog_entry {
	mr_backlog words;
	char publisher[256];
};

struct mr_backlog_entry *mr_backlog_new(mr_slice publisher); /* host; gives; NULL: out of memory */
void mr_backlog_read(const struct mr_backlog_entry *entry, mr_backlog *out); /* I/O */

#endif
