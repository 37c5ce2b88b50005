/* vitals: how a runtime is, in numbers and a few words, at one moment.
 * SPDX-License-Identifier: MIT
 * I/O thread. Gathers; what is healthy is verdict's to say. */
#ifndef MR_HEALTH_VITALS_H
#define MR_HEALTH_VITALS_H

#include "bridge/meter.h"

#define MR_WORDS 640 /* bytes of a description */

/* Consumers of a queue; past MR_METERS_MAX queues the last one stands for the rest. */
struct mr_vitals_queue {
	char label[256];
	uint32_t consuming, away;
};

struct mr_vitals {
	mr_stats stats;
	/* Connections that the program wants, and those of them that are as said. */
	uint32_t wanted, open, connecting, closing, retrying, lost, blocked;
	uint32_t embedded; /* wanted ones to brokers within this process */
	uint32_t own;      /* of those, to the runtime's own broker, which nobody else can reach */
	char trouble
		[MR_WORDS]; /* of the first that is wanted and not open, "" when there is none */
	char blocker[MR_WORDS]; /* the first that is blocked, and why */
	uint32_t consumers, consuming;
	char missing[MR_WORDS]; /* the first consumer that is away */
	struct mr_vitals_queue queues[MR_METERS_MAX + 1];
	size_t queue_count;
	double busy;          /* seconds that the host has been at one thing; 0: it waits for us */
	bool stalled;         /* that is longer than the watchdog allows */
	char where[MR_WORDS]; /* what it is at, as far as that is known */
	char traceback[4096]; /* where exactly; "": nobody could look */
	double last_delivery; /* seconds ago; negative: there was none */
	double uptime, unix_time; /* seconds */
	bool stopping;
	uint64_t connects, losses, retries; /* ever */
};

struct mr_services;
struct mr_stall;
/* started: mr_now() at the start. */
void mr_vitals_gather(struct mr_vitals *out, struct mr_services *services, struct mr_stall *stall,
	double started);

#endif
