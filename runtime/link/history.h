/* history: counts and failures of a runtime's connections and consumers, for health.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one; links write it, health reads it. */
#ifndef MR_LINK_HISTORY_H
#define MR_LINK_HISTORY_H

#include "base/histogram.h"
#include "base/list.h"
#include "base/status.h"

struct mr_record;

struct mr_failed_consumer { /* a consumer that will not recover by itself */
	struct mr_node node;
	uint32_t connection;
	char queue[256], why[256];
};

#define MR_MOVES_MAX 64

struct mr_move {     /* of a connection: opened, lost, given up */
	double when; /* seconds since 1970 */
	uint32_t connection;
	uint16_t state;  /* MR_CONNECTION_* */
	char error[160]; /* why; "" */
};

struct mr_history {
	struct mr_move moves[MR_MOVES_MAX]; /* a ring */
	uint64_t move_count;                /* also of former ones */
	struct mr_node failed;              /* mr_failed_consumer */
	struct mr_histogram confirms;
	uint64_t connects, losses, retries; /* total counts */
	void (*changed)(void *owner);       /* called after a possible change; may be NULL */
	void *owner;
};

void mr_history_init(struct mr_history *h);
void mr_history_fini(struct mr_history *h);
/* Records an event to the host that may change the health. */
void mr_history_saw(struct mr_history *h, const mr_event *event);
/* Records a consumer that failed, for example because its queue is missing, not one that the
 * program ended. */
void mr_history_failed(struct mr_history *h, uint32_t connection, const char *queue,
	const char *why);
/* The same for a record; ignores the library's own consumers. */
void mr_history_consumer(struct mr_history *h, uint32_t connection, const struct mr_record *record,
	const char *why);
void mr_history_forget(struct mr_failed_consumer *f);

#endif
