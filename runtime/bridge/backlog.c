/* backlog: what the publishers to an exchange have not finished: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT */
#include "bridge/backlog.h"

#include <string.h>

#include "base/alloc.h"

struct mr_backlog_entry *mr_backlog_new(mr_slice publisher)
{
	struct mr_backlog_entry *entry = mr_calloc(1, sizeof *entry);
	if (!entry) return NULL;
	size_t size = publisher.size < sizeof entry->publisher ? publisher.size
	                                                       : sizeof entry->publisher - 1;
	if (size) memcpy(entry->publisher, publisher.data, size);
	return entry;
}

void mr_backlog_read(const struct mr_backlog_entry *entry, mr_backlog *out)
{
	__atomic_load(&entry->words.in_line, &out->in_line, __ATOMIC_RELAXED);
	__atomic_load(&entry->words.in_flight, &out->in_flight, __ATOMIC_RELAXED);
	__atomic_load(&entry->words.aside, &out->aside, __ATOMIC_RELAXED);
	__atomic_load(&entry->words.accepted, &out->accepted, __ATOMIC_RELAXED);
}
