/* garden: the world of the game: rabbits and flowers, and the messages that change them.
 * SPDX-License-Identifier: MIT
 *
 * It knows no broker and no screen. Each window has a whole garden and applies its own events and those
 * of the others. The messages are those of ../love (codec.lua): lines of fields with tabs between them. */
#ifndef GARDEN_H
#define GARDEN_H

#include <stdbool.h>
#include <stddef.h>

enum {
	GARDEN_LEFT = 40,
	GARDEN_RIGHT = 760,
	GARDEN_TOP = 330,
	GARDEN_BOTTOM = 560, /* where rabbits hop */
	MORTAR_X = 400,
	MORTAR_Y = 400, /* where flowers become stars */
	COLOURS = 8,
	BASKET = 3, /* flowers that a rabbit carries */
	MOST_RABBITS = 200,
	MOST_THINGS = 300,
	ID_SIZE = 64,
	NAME_SIZE = 13,
	MESSAGE_SIZE = 32768
};

struct rabbit {
	char id[ID_SIZE], name[NAME_SIZE];
	int colour, face, carry, stars; /* colour: 1 .. COLOURS; face: -1 or 1 */
	double x, y, to_x, to_y, heard;
	bool is_moving;
};

enum thing_state {
	GROWING,
	PULLED,
	GONE
}; /* one that is gone must not come back by a late message */

struct thing {
	char id[ID_SIZE], by[ID_SIZE]; /* by: who pulls it */
	enum thing_state state;
	bool is_parcel;
	int colour;
	double x, y, born, pulled;
};

struct garden {
	struct rabbit rabbits[MOST_RABBITS]; /* the first one is this window's */
	struct thing things[MOST_THINGS];
	int rabbit_count, thing_count, planted;
	double now;
};

void garden_begin(struct garden *g, const char *id, const char *name, int colour, double x,
	double y);
/* Applies a message. False: it is none, or of this window. *asker is set to a rabbit's id if it asks for
 * all that is known. */
bool garden_apply(struct garden *g, const char *text, size_t size, const char **asker);
/* Each writes a message (MESSAGE_SIZE) and returns its size. */
size_t garden_write_hop(const struct garden *g, char *text);
size_t garden_write_snapshot(const struct garden *g, char *text);
/* Plants or picks, here at once; writes what the others must know. 0: there is nothing to do. */
size_t garden_use(struct garden *g, char *text);
void garden_steer(struct garden *g, double dx, double dy, double seconds);
void garden_step(struct garden *g, double seconds);
bool garden_is_ripe(const struct garden *g, const struct thing *t);
int garden_stars(const struct garden *g); /* of all rabbits that are here */

#endif
