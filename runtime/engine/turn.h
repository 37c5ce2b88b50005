/* turn: one turn of the I/O loop: takes commands, runs the links, pushes events.
 * SPDX-License-Identifier: MIT
 * Whoever has the helm. */
#ifndef MR_ENGINE_TURN_H
#define MR_ENGINE_TURN_H

#include "engine/state.h"

/* Returns true if there is more to do at once. */
bool mr_turn(struct mr_engine *e);
/* The same before and after the sleep of a host, which adds no commands meanwhile. */
bool mr_turn_first_half(struct mr_engine *e);
void mr_turn_second_half(struct mr_engine *e);

/* Its parts. Commands: returns true if there may be more of them. */
bool mr_turn_commands(struct mr_engine *e);
void mr_turn_obey(struct mr_engine *e, const struct mr_command *c);
void mr_turn_flush(struct mr_engine *e); /* writes what the links have for their sockets */
void mr_turn_begin_stop(struct mr_engine *e, mr_msec deadline);
/* Reports that everything due by the moved clock has been done. */
void mr_turn_tell_clock(struct mr_engine *e);
/* Frees the seed of a link that could not be created; 0: all of them. */
void mr_turn_free_barren(struct mr_engine *e, uint32_t number);

#endif
