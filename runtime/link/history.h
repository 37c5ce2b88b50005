/* history: what has become of a runtime's connections and consumers, for its health.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one; links add to it, health reads it. */
#ifndef MR_LINK_HISTORY_H
#define MR_LINK_HISTORY_H

#include "base/histogram.h"
#include "base/list.h"
#include "base/status.h"

struct mr_record;

struct mr_failed_consumer { /* one that will not be back by itself */
	struct mr_node node;
	uint32_t connection;
	char queue[256], why[256];
};

struct mr_history {
	struct mr_node failed; /* mr_failed_consumer */
	struct mr_histogram confirms;
	uint64_t connects, losses, retries; /* ever */
	void (*changed)(void *owner);       /* something may have; NULL: nobody wants to know */
	void *owner;
};

void mr_history_init(struct mr_history *h);
void mr_history_fini(struct mr_history *h);
/* An event on its way to the host that may change how things stand. */
void mr_history_saw(struct mr_history *h, const mr_event *event);
/* A consumer that ended for want of its queue or the like, not by the program's wish. */
void mr_history_failed(struct mr_history *h, uint32_t connection, const char *queue,
	const char *why);
/* The same of a record; what is the library's own is passed over. */
void mr_history_consumer(struct mr_history *h, uint32_t connection, const struct mr_record *record,
	const char *why);
void mr_history_forget(struct mr_failed_consumer *f);

#endif
