/* garden: rabbits, flowers and messages.
 * SPDX-License-Identifier: MIT */
#include "garden.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIPE 6.0     /* s until a flower can be picked */
#define LIFE 120.0   /* s until it withers */
#define PULLING 0.3  /* s from a pick until its winner is sure */
#define VANISH 5.0   /* s without a word until a rabbit counts as gone */
#define SPEED 150.0  /* pixels a second */
#define REACH 34.0   /* how far a rabbit reaches */
#define AT_MORTAR 62 /* how near to the mortar it pounds its flowers */

enum { MOST_FIELDS = 9 };

struct line {
	char text[256];
	const char *field[MOST_FIELDS];
	int count;
};

static double clamp(double v, double low, double high)
{
	return v < low ? low : v > high ? high : v;
}

static void copy(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from); }

/* ---- messages -------------------------------------------------------------------------------- */

/* Takes the next line of a message and splits it. False: there is none. */
static bool next_line(struct line *l, const char **at, const char *end)
{
	if (*at >= end) return false;
	const char *stop = memchr(*at, '\n', (size_t)(end - *at));
	size_t size = (size_t)((stop ? stop : end) - *at);
	size_t kept = size < sizeof l->text ? size : sizeof l->text - 1;
	memcpy(l->text, *at, kept);
	l->text[kept] = 0;
	*at += size + 1;
	l->count = 0;
	for (char *c = l->text; c && l->count < MOST_FIELDS;) {
		l->field[l->count++] = c;
		c = strchr(c, '\t');
		if (c) *c++ = 0;
	}
	return true;
}

/* A message may hold anything: false unless the fields from `first` on are `count` numbers. */
static bool numbers(const struct line *l, int first, int count, double *out)
{
	if (l->count < first + count) return false;
	for (int i = 0; i < count; i++) {
		char *end;
		out[i] = strtod(l->field[first + i], &end);
		if (end == l->field[first + i] || *end || !(fabs(out[i]) < 1e9)) return false;
	}
	return true;
}

static struct rabbit *find_rabbit(struct garden *g, const char *id)
{
	for (int i = 0; i < g->rabbit_count; i++)
		if (!strcmp(g->rabbits[i].id, id)) return &g->rabbits[i];
	return NULL;
}

static struct thing *find_thing(struct garden *g, const char *id)
{
	for (int i = 0; i < g->thing_count; i++)
		if (!strcmp(g->things[i].id, id)) return &g->things[i];
	return NULL;
}

/* hop, from, name, colour, x, y, face, carry, stars */
static bool apply_hop(struct garden *g, const struct line *l)
{
	double n[6];
	if (!numbers(l, 3, 6, n)) return false;
	struct rabbit *r = find_rabbit(g, l->field[1]);
	if (!r) {
		if (g->rabbit_count >= MOST_RABBITS) return false;
		r = &g->rabbits[g->rabbit_count++];
		*r = (struct rabbit){.x = clamp(n[1], GARDEN_LEFT, GARDEN_RIGHT),
			.y = clamp(n[2], GARDEN_TOP, GARDEN_BOTTOM)};
		copy(r->id, sizeof r->id, l->field[1]);
	}
	copy(r->name, sizeof r->name, l->field[2]);
	r->colour = (int)clamp(n[0], 1, COLOURS);
	r->to_x = clamp(n[1], GARDEN_LEFT, GARDEN_RIGHT);
	r->to_y = clamp(n[2], GARDEN_TOP, GARDEN_BOTTOM);
	r->face = n[3] < 0 ? -1 : 1;
	r->carry = (int)clamp(n[4], 0, BASKET);
	if (n[5] > r->stars) r->stars = (int)n[5];
	r->heard = g->now;
	return true;
}

/* From field `first` on: id, what, x, y, age, colour */
static bool apply_plant(struct garden *g, const struct line *l, int first)
{
	double n[4];
	if (!numbers(l, first + 2, 4, n)) return false;
	if (find_thing(g, l->field[first]) || g->thing_count >= MOST_THINGS || n[2] >= LIFE)
		return true;
	struct thing *t = &g->things[g->thing_count++];
	*t = (struct thing){.x = clamp(n[0], GARDEN_LEFT, GARDEN_RIGHT),
		.y = clamp(n[1], GARDEN_TOP, GARDEN_BOTTOM),
		.born = g->now - n[2],
		.colour = (int)clamp(n[3], 1, COLOURS),
		.is_parcel = !strcmp(l->field[first + 1], "parcel")};
	copy(t->id, sizeof t->id, l->field[first]);
	return true;
}

/* Two may pick the same flower at once: while it is pulled out, the lesser id wins, in each window. */
static void pick(struct garden *g, const char *id, const char *by)
{
	struct thing *t = find_thing(g, id);
	if (!t) { /* it is picked before it was planted: one that is gone takes its place */
		if (g->thing_count >= MOST_THINGS) return;
		t = &g->things[g->thing_count++];
		*t = (struct thing){.state = GONE, .born = g->now};
		copy(t->id, sizeof t->id, id);
	}
	if (t->state == GONE || (t->state == PULLED && strcmp(t->by, by) <= 0)) return;
	if (t->state == GROWING) t->pulled = g->now;
	t->state = PULLED;
	copy(t->by, sizeof t->by, by);
}

static void remove_rabbit(struct garden *g, struct rabbit *r)
{
	if (r && r != g->rabbits) *r = g->rabbits[--g->rabbit_count];
}

static void apply_meteor(struct garden *g, const double *n)
{
	for (int i = 0; i < g->thing_count; i++) {
		struct thing *t = &g->things[i];
		if (hypot(t->x - n[0], t->y - n[1]) < 110 && t->born > g->now - RIPE)
			t->born = g->now - RIPE;
	}
}

/* A line of a snapshot: + a thing, - the id of one that was taken, * a rabbit's stars. */
static void apply_known(struct garden *g, const struct line *l)
{
	double n[2];
	if (l->text[0] == '+') apply_plant(g, l, 1);
	if (l->text[0] == '-' && l->count > 1) pick(g, l->field[1], "~"); /* greater than each id */
	if (l->text[0] == '*' && numbers(l, 2, 2, n)) {
		struct rabbit *r = find_rabbit(g, l->field[1]);
		if (r && n[0] > r->stars) r->stars = (int)n[0];
	}
}

bool garden_apply(struct garden *g, const char *text, size_t size, const char **asker)
{
	static char from[ID_SIZE];
	const char *at = text, *end = text + size;
	struct line l;
	double n[2];
	*asker = NULL;
	if (!next_line(&l, &at, end) || l.count < 2 || !strcmp(l.field[1], g->rabbits[0].id))
		return false;
	copy(from, sizeof from, l.field[1]);
	if (!strcmp(l.field[0], "hop")) return apply_hop(g, &l);
	if (!strcmp(l.field[0], "plant")) return apply_plant(g, &l, 2);
	if (!strcmp(l.field[0], "pick") && l.count > 2) return pick(g, l.field[2], from), true;
	if (!strcmp(l.field[0], "bye")) return remove_rabbit(g, find_rabbit(g, from)), true;
	if (!strcmp(l.field[0], "hello")) return *asker = from, true;
	if (!strcmp(l.field[0], "meteor") && numbers(&l, 2, 2, n)) return apply_meteor(g, n), true;
	if (strcmp(l.field[0], "snapshot") != 0) return false;
	while (next_line(&l, &at, end)) apply_known(g, &l);
	return true;
}

size_t garden_write_hop(const struct garden *g, char *text)
{
	const struct rabbit *r = g->rabbits;
	return (size_t)snprintf(text, MESSAGE_SIZE, "hop\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d", r->id,
		r->name, r->colour, (int)r->x, (int)r->y, r->face, r->carry, r->stars);
}

static size_t write_thing(const struct garden *g, const struct thing *t, char *text, size_t size)
{
	if (t->state != GROWING) return (size_t)snprintf(text, size, "\n-\t%s", t->id);
	return (size_t)snprintf(text, size, "\n+\t%s\t%s\t%d\t%d\t%.1f\t%d", t->id,
		t->is_parcel ? "parcel" : "flower", (int)t->x, (int)t->y, g->now - t->born,
		t->colour);
}

size_t garden_write_snapshot(const struct garden *g, char *text)
{
	size_t used = (size_t)snprintf(text, MESSAGE_SIZE, "snapshot\t%s", g->rabbits[0].id);
	for (int i = 0; i < g->thing_count && used + 256 < MESSAGE_SIZE; i++)
		used += write_thing(g, &g->things[i], text + used, MESSAGE_SIZE - used);
	for (int i = 0; i < g->rabbit_count && used + 256 < MESSAGE_SIZE; i++)
		used += (size_t)snprintf(text + used, MESSAGE_SIZE - used, "\n*\t%s\t%d\t%d",
			g->rabbits[i].id, g->rabbits[i].stars, g->rabbits[i].colour);
	return used;
}

/* ---- what this window's rabbit does ---------------------------------------------------------- */

bool garden_is_ripe(const struct garden *g, const struct thing *t)
{
	return t->state == GROWING && (t->is_parcel || g->now - t->born >= RIPE);
}

size_t garden_use(struct garden *g, char *text)
{
	struct rabbit *r = g->rabbits;
	struct thing *best = NULL;
	char id[ID_SIZE];
	double nearest = REACH;
	bool has_room =
		hypot(r->x - MORTAR_X, r->y - MORTAR_Y) > 60 && g->thing_count < MOST_THINGS;
	for (int i = 0; i < g->thing_count; i++) {
		struct thing *t = &g->things[i];
		double d = hypot(r->x - t->x, r->y - t->y);
		if (t->state != GROWING || d >= nearest) continue;
		has_room = false;
		if (!garden_is_ripe(g, t) || (!t->is_parcel && r->carry == BASKET)) continue;
		best = t;
		nearest = d;
	}
	if (best) {
		pick(g, best->id, r->id);
		return (size_t)snprintf(text, MESSAGE_SIZE, "pick\t%s\t%s", r->id, best->id);
	}
	if (!has_room) return 0;
	struct thing *t = &g->things[g->thing_count++];
	*t = (struct thing){.x = r->x, .y = r->y, .born = g->now, .colour = r->colour};
	snprintf(id, sizeof id, "%.40s.c.%d", r->id, ++g->planted);
	copy(t->id, sizeof t->id, id);
	return (size_t)snprintf(text, MESSAGE_SIZE, "plant\t%s\t%s\tflower\t%d\t%d\t0\t%d", r->id,
		t->id, (int)t->x, (int)t->y, t->colour);
}

void garden_steer(struct garden *g, double dx, double dy, double seconds)
{
	struct rabbit *r = g->rabbits;
	double length = hypot(dx, dy);
	r->is_moving = length > 0;
	if (!r->is_moving) return;
	r->x = clamp(r->x + dx / length * SPEED * seconds, GARDEN_LEFT, GARDEN_RIGHT);
	r->y = clamp(r->y + dy / length * SPEED * 0.75 * seconds, GARDEN_TOP, GARDEN_BOTTOM);
	if (dx < 0 || dx > 0) r->face = dx < 0 ? -1 : 1;
}

void garden_begin(struct garden *g, const char *id, const char *name, int colour, double x,
	double y)
{
	*g = (struct garden){.rabbit_count = 1};
	g->rabbits[0] = (struct rabbit){.x = x, .y = y, .colour = colour, .face = 1};
	copy(g->rabbits[0].id, ID_SIZE, id);
	copy(g->rabbits[0].name, NAME_SIZE, name);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* A pick is over: if this window's rabbit has won, it has the flower in its basket. */
static void finish_pick(struct garden *g, struct thing *t)
{
	struct rabbit *me = g->rabbits;
	t->state = GONE;
	if (strcmp(t->by, me->id) != 0) return;
	if (t->is_parcel)
		me->stars++;
	else if (me->carry < BASKET)
		me->carry++;
}

static void step_things(struct garden *g)
{
	for (int i = 0; i < g->thing_count; i++) {
		struct thing *t = &g->things[i];
		if (t->state == PULLED && g->now - t->pulled > PULLING) finish_pick(g, t);
		if (g->now - t->born > LIFE && t->state != PULLED)
			*t = g->things[--g->thing_count], i--;
	}
}

void garden_step(struct garden *g, double seconds)
{
	struct rabbit *me = g->rabbits;
	double near = 1 - exp(-seconds * 12);
	g->now += seconds;
	me->heard = g->now;
	if (me->carry > 0 && hypot(me->x - MORTAR_X, me->y - MORTAR_Y) <= AT_MORTAR) {
		me->stars += me->carry;
		me->carry = 0;
	}
	for (int i = g->rabbit_count - 1; i > 0; i--) {
		struct rabbit *r = &g->rabbits[i];
		r->is_moving = fabs(r->to_x - r->x) + fabs(r->to_y - r->y) > 2;
		r->x += (r->to_x - r->x) * near;
		r->y += (r->to_y - r->y) * near;
		if (g->now - r->heard > VANISH) remove_rabbit(g, r);
	}
	step_things(g);
}

int garden_stars(const struct garden *g)
{
	int sum = 0;
	for (int i = 0; i < g->rabbit_count; i++) sum += g->rabbits[i].stars;
	return sum;
}
