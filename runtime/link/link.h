/* link: one connection: it dials, runs a session over the stream, and says how
 * things stand. SPDX-License-Identifier: MIT I/O thread. One link for each
 * mr_connection of the host; it outlives the connections it makes. */
#ifndef MR_LINK_LINK_H
#define MR_LINK_LINK_H

#include "bridge/command.h"
#include "link/state.h"

enum mr_status mr_link_new(struct mr_services *services, uint32_t number,
	struct mr_link_seed *seed);
void mr_link_open(struct mr_link *link, uint64_t token);
void mr_link_close(struct mr_link *link, uint64_t token, mr_msec deadline);
/* Closes by force what is open, without a word to the host, and frees. */
void mr_link_free(struct mr_link *link);
/* Goes on with what is to be asked for, and writes what there is to write. */
void mr_link_flush(struct mr_link *link);

/* Connects now instead of when the time for the next try comes. */
void mr_link_retry(struct mr_link *link);
/* The host's word on the next try: in so many ms; UINT64_MAX: there is none. */
void mr_link_decide(struct mr_link *link, uint64_t delay);

/* The only writer of the state. A move that may not be is logged, and drops the
 * connection at the next flush. */
void mr_link_enter(struct mr_link *link, enum mr_link_state next);

#endif
