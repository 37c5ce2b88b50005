/* race: TCP connections to the addresses of one host, the first that is up wins (RFC 8305, "happy eyeballs").
 * SPDX-License-Identifier: MIT
 * I/O thread. Families take turns, the next address is tried when the one before has failed, or 250 ms after it. */
#ifndef MR_LINK_RACE_H
#define MR_LINK_RACE_H

#include "io/services.h"
#include "net/resolve.h"
#include "net/stream.h"

struct mr_race;

/* FRESH: not tried, or called off when another one won. */
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
	/* It is up; the stream is given. The race may be run again, or freed. */
	void (*won)(void *owner, size_t racer, struct mr_stream *stream);
	void (*failed)(void *owner, size_t racer, const mr_error *error);
	void (*over)(void *owner);        /* all have failed; it may be freed */
	mr_msec (*deadline)(void *owner); /* of one that starts now */
};

struct mr_race { /* zeroed and then mr_race_init */
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
/* These addresses, one of each family in turn; `first`, where it is among them, before the others; may be NULL.
 * MR_OK or MR_NO_MEMORY. */
enum mr_status mr_race_set(struct mr_race *race, const struct mr_address *addresses, size_t count,
	const struct mr_address *first);
/* Tries those that are fresh. A call of the owner's comes for sure, also before it returns. */
void mr_race_run(struct mr_race *race);
size_t mr_race_fresh(const struct mr_race *race); /* how many are */
void mr_race_fini(struct mr_race *race);          /* calls all off, and forgets them */

#endif
