/* race: connects to the addresses of one host; the first that connects wins (RFC 8305).
 * SPDX-License-Identifier: MIT
 * I/O thread. The address families alternate; the next address is tried when the previous one has
 * failed, or 250 ms after it. */
#ifndef MR_LINK_RACE_H
#define MR_LINK_RACE_H

#include "io/services.h"
#include "net/resolve.h"
#include "net/stream.h"

struct mr_race;

/* FRESH: not tried, or cancelled because another one won. */
enum mr_racer_state { MR_RACER_FRESH, MR_RACER_RUNS, MR_RACER_OUT };

struct mr_racer {
	struct mr_race *race;
	struct mr_address address;
	enum mr_racer_state state;
	struct mr_stream *stream; /* while it runs */
	mr_msec deadline;
	ev_io io;
};

struct mr_race_owner {
	/* It is connected; the stream is *given*. The race may be run again, or freed. */
	void (*won)(void *owner, size_t racer, struct mr_stream *stream);
	void (*failed)(void *owner, size_t racer, const mr_error *error);
	void (*over)(void *owner);        /* all have failed; the race may be freed */
	mr_msec (*deadline)(void *owner); /* of a racer that starts now */
};

struct mr_race { /* zero it, then call mr_race_init */
	struct mr_services *services;
	const struct mr_race_owner *class;
	void *owner;
	struct mr_racer *racers;
	size_t count;
	struct mr_timer timer;
	mr_msec next_start;
};

void mr_race_init(struct mr_race *race, struct mr_services *services,
	const struct mr_race_owner *class, void *owner);
/* Sets the addresses, the families alternating; `first` (may be NULL) is tried before the others if
 * it is among them. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_race_set(struct mr_race *race, const struct mr_address *addresses, size_t count,
	const struct mr_address *first);
/* Tries the fresh addresses. Always leads to a call of an owner's function, perhaps before it
 * returns. */
void mr_race_run(struct mr_race *race);
void mr_race_again(struct mr_race *race, size_t racer); /* an address is fresh again */
size_t mr_race_fresh(const struct mr_race *race);       /* the number of fresh addresses */
void mr_race_fini(struct mr_race *race);                /* cancels and removes all */

#endif
