/* vitals: a snapshot of a runtime for health checks and metrics.
 * SPDX-License-Identifier: MIT
 * I/O thread. Only collects; verdict decides what is healthy. */
#ifndef MR_HEALTH_VITALS_H
#define MR_HEALTH_VITALS_H

#include "bridge/meter.h"
#include "health/stores.h"

#define MR_WORDS 640 /* bytes of a description */

/* The consumers of a queue; after MR_METERS_MAX queues the last entry counts all others. */
struct mr_vitals_queue {
	char label[256];
	uint32_t consuming, away;
};

struct mr_vitals {
	mr_stats stats;
	/* Connections that the program wants, and how many of them are in each state. */
	uint32_t wanted, open, connecting, closing, retrying, lost, blocked;
	uint32_t embedded; /* wanted ones to brokers within this process */
	uint32_t own;      /* of those, to the runtime's own broker, which others cannot reach */
	char trouble[MR_WORDS]; /* about the first wanted connection that is not open; "": none */
	char blocker[MR_WORDS]; /* the first blocked connection, and the reason */
	uint32_t consumers, consuming;
	char missing[MR_WORDS]; /* the first consumer that does not consume */
	struct mr_vitals_queue queues[MR_METERS_MAX + 1];
	size_t queue_count;
	double busy;              /* seconds of the host's current work; 0: it waits for events */
	bool stalled;             /* busy is longer than the watchdog allows */
	char where[MR_WORDS];     /* the current work, as far as it is known */
	char traceback[4096];     /* its exact place; "": not available */
	double last_delivery;     /* seconds ago; negative: there was none */
	char busy_queue[256];     /* the queue whose handler keeps the host busy; "" */
	double host_memory;       /* bytes, as the host says */
	double uptime, unix_time; /* seconds */
	double now;               /* mr_now's clock */
	bool stopping;
	uint64_t connects, losses, retries; /* total counts */
	struct mr_stores stores;
};

struct mr_services;
struct mr_stall;
/* started: mr_now() at the start. */
void mr_vitals_gather(struct mr_vitals *out, struct mr_services *services, struct mr_stall *stall,
	double started);

#endif
