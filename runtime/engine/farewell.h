/* farewell: brings all connections to an orderly end for mr_runtime_stop, while the thread goes on.
 * SPDX-License-Identifier: MIT
 * I/O thread. Each connection is closed when its consumers are cancelled, its answers and confirms
 * have come, and the host has returned its deliveries, or when the time is up. */
#ifndef MR_ENGINE_FAREWELL_H
#define MR_ENGINE_FAREWELL_H

#include "base/buffer.h"
#include "io/services.h"
#include "io/timer.h"

struct mr_farewell {
	struct mr_services *services;
	struct mr_timer timer;
	struct mr_buffer tokens; /* uint64_t: who is told of the end; empty: nobody has asked */
	mr_msec deadline;
	bool is_late; /* something had to be forced */
};

void mr_farewell_init(struct mr_farewell *q, struct mr_services *services);
void mr_farewell_fini(struct mr_farewell *q);
/* A later call can only bring the deadline forward. */
void mr_farewell_begin(struct mr_farewell *q, uint64_t token, mr_msec deadline);
void mr_farewell_go_on(struct mr_farewell *q); /* in each turn, before the output is written */
/* In each turn, after events were passed on: true if it has reported the end now. */
bool mr_farewell_end(struct mr_farewell *q);

#endif
