/* link: one connection: dials, runs a session over the stream, and reports its state.
 * SPDX-License-Identifier: MIT
 * I/O thread. One link for each mr_connection of the host; it outlives its sessions. */
#ifndef MR_LINK_LINK_H
#define MR_LINK_LINK_H

#include "bridge/command.h"
#include "link/state.h"

enum mr_status mr_link_new(struct mr_services *services, uint32_t number,
	struct mr_link_seed *seed);
void mr_link_open(struct mr_link *link, uint64_t token);
void mr_link_close(struct mr_link *link, uint64_t token, mr_msec deadline);
/* Closes an open connection by force, without an event, and frees the link. */
void mr_link_free(struct mr_link *link);
/* Continues the replay, and writes the output. */
void mr_link_flush(struct mr_link *link);

/* Connects now instead of at the time of the next try. */
void mr_link_retry(struct mr_link *link);
/* The host's decision: try again in this many ms; UINT64_MAX: give up. */
void mr_link_decide(struct mr_link *link, uint64_t delay);

/* The only function that writes the state. An illegal move is logged, and drops the connection at
 * the next flush. */
void mr_link_enter(struct mr_link *link, enum mr_link_state next);

#endif
