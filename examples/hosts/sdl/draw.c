/* draw: discs, rectangles and a font of 3 x 5 pixels.
 * SPDX-License-Identifier: MIT */
#include "draw.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPRITE                                                                                     \
	60 /* pixels: the square around a rabbit, which stands at the middle of its lower edge */

typedef SDL_Color colour;

static const colour rabbit_colours[COLOURS] = {{255, 92, 97, 255}, {64, 184, 255, 255},
	{255, 204, 64, 255}, {115, 224, 128, 255}, {204, 133, 255, 255}, {255, 148, 56, 255},
	{77, 230, 217, 255}, {255, 140, 199, 255}};
static const colour white = {237, 237, 255, 255}, dark = {24, 20, 48, 255};

static void use(SDL_Renderer *r, colour c) { SDL_SetRenderDrawColor(r, c.r, c.g, c.b, c.a); }

static void box(SDL_Renderer *r, int x, int y, int width, int height)
{
	SDL_Rect rect = {x, y, width, height};
	SDL_RenderFillRect(r, &rect);
}

/* A filled ellipse, as one call with a row for each of its lines. */
static void disc(SDL_Renderer *r, colour c, double x, double y, double a, double b)
{
	SDL_Rect rows[256];
	int count = 0;
	for (int dy = (int)-b; dy <= (int)b && count < 256; dy++) {
		int half = (int)(a * sqrt(1 - dy * dy / (b * b)));
		rows[count++] = (SDL_Rect){(int)x - half, (int)y + dy, 2 * half + 1, 1};
	}
	use(r, c);
	SDL_RenderFillRects(r, rows, count);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Five rows of three pixels, an octal digit each, the upper row first. */
static const unsigned short letters[] = {025755, 065656, 034443, 065556, 074647, 074644, 034553,
	055755, 072227, 011152, 055655, 044447, 057755, 065555, 025552, 065644, 025563, 065655,
	034216, 072222, 055557, 055552, 055775, 055255, 055222, 071247};
static const unsigned short digits[] = {075557, 026227, 061247, 061216, 055711, 074616, 034652,
	071222, 025252, 025316};

static unsigned glyph(char c)
{
	static const char signs[] = ".,:-/!?'()+%_=";
	static const unsigned short shapes[] = {000002, 000024, 002020, 000700, 011244, 022202,
		061202, 022000, 012221, 042224, 002720, 051245, 000007, 007070};
	const char *sign = c ? strchr(signs, c) : NULL;
	if (c >= 'a' && c <= 'z') return letters[c - 'a'];
	if (c >= 'A' && c <= 'Z') return letters[c - 'A'];
	if (c >= '0' && c <= '9') return digits[c - '0'];
	return sign ? shapes[sign - signs] : 0;
}

static int text_width(const char *text, int scale) { return (int)strlen(text) * 4 * scale - scale; }

static void write_text(SDL_Renderer *r, colour c, int x, int y, int scale, const char *text)
{
	SDL_Rect dots[1024];
	int count = 0;
	for (; *text && count + 15 <= 1024; text++, x += 4 * scale) {
		unsigned rows = glyph(*text);
		for (int bit = 0; bit < 15; bit++)
			if (rows & (1U << (14 - bit)))
				dots[count++] = (SDL_Rect){x + bit % 3 * scale, y + bit / 3 * scale,
					scale, scale};
	}
	use(r, c);
	SDL_RenderFillRects(r, dots, count);
}

/* ---- what does not change -------------------------------------------------------------------- */

static SDL_Texture *canvas(SDL_Renderer *r, int width, int height)
{
	SDL_Texture *t = SDL_CreateTexture(r, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_TARGET,
		width, height);
	if (!t || SDL_SetRenderTarget(r, t)) return NULL;
	SDL_SetTextureBlendMode(t, SDL_BLENDMODE_BLEND);
	SDL_SetRenderDrawColor(r, 0, 0, 0, 0);
	SDL_RenderClear(r);
	return t;
}

static void paint_rabbit(SDL_Renderer *r, colour c, int face)
{
	double x = SPRITE / 2.0, y = SPRITE;
	colour pale = {250, 240, 235, 255},
	       ear = {(Uint8)(c.r / 2 + 100), (Uint8)(c.g / 2 + 60), (Uint8)(c.b / 2 + 70), 255};
	disc(r, white, x - face * 15, y - 11, 6, 6); /* tail */
	disc(r, c, x, y - 13, 16, 12);               /* body */
	disc(r, pale, x + face * 4, y - 7, 9, 6);
	disc(r, c, x + face * 6, y - 46, 4, 12); /* ears */
	disc(r, c, x + face * 14, y - 45, 4, 12);
	disc(r, ear, x + face * 6, y - 45, 2, 8);
	disc(r, ear, x + face * 14, y - 44, 2, 8);
	disc(r, c, x + face * 10, y - 28, 12, 10); /* head */
	disc(r, dark, x + face * 15, y - 30, 2, 3);
	disc(r, (colour){255, 130, 150, 255}, x + face * 21, y - 26, 2, 1.5);
	disc(r, c, x - 8, y - 3, 6, 3); /* feet */
	disc(r, c, x + 8, y - 3, 6, 3);
}

/* The same random numbers each time. */
static int noise(unsigned *seed, int below)
{
	*seed = *seed * 1103515245U + 12345U;
	return (int)(*seed >> 16 & 0x7fff) % below;
}

static void paint_scene(SDL_Renderer *r)
{
	unsigned seed = 7;
	for (int y = 0; y < HEIGHT; y++) {
		use(r, (colour){(Uint8)(14 + y / 14), (Uint8)(12 + y / 22), (Uint8)(40 + y / 9),
			       255});
		box(r, 0, y, WIDTH, 1);
	}
	for (int i = 0; i < 160; i++) {
		Uint8 light = (Uint8)(110 + noise(&seed, 145));
		use(r, (colour){light, light, 255, 255});
		box(r, noise(&seed, WIDTH), noise(&seed, 290), 1 + noise(&seed, 2),
			1 + noise(&seed, 2));
	}
	disc(r, (colour){56, 118, 200, 255}, 130, 130, 58, 58); /* the Earth */
	disc(r, (colour){92, 170, 110, 255}, 112, 112, 26, 16);
	disc(r, (colour){92, 170, 110, 255}, 146, 152, 22, 18);
	disc(r, (colour){225, 235, 250, 255}, 130, 84, 26, 8);
	for (int i = 0; i < 3; i++) /* the ground rises towards the middle */
		disc(r,
			(colour){(Uint8)(150 + 12 * i), (Uint8)(146 + 12 * i), (Uint8)(165 + 8 * i),
				255},
			WIDTH / 2.0, 420 + 20 * i, 620, 120);
	use(r, (colour){174, 170, 181, 255});
	box(r, 0, 440, WIDTH, HEIGHT - 440);
	for (int i = 0; i < 14; i++) {
		double x = noise(&seed, WIDTH), y = 350 + noise(&seed, 230),
		       a = 12 + noise(&seed, 26);
		disc(r, (colour){150, 146, 160, 255}, x, y, a, a * 0.36);
		disc(r, (colour){160, 156, 170, 255}, x, y + 2, a - 4, a * 0.3 - 1);
	}
	disc(r, (colour){98, 84, 104, 255}, MORTAR_X, MORTAR_Y + 16, 40, 18);
	disc(r, (colour){120, 104, 124, 255}, MORTAR_X, MORTAR_Y, 40, 14);
	disc(r, (colour){60, 48, 70, 255}, MORTAR_X, MORTAR_Y, 32, 10);
}

bool draw_begin(struct pictures *p, SDL_Renderer *r)
{
	p->renderer = r;
	p->scene = canvas(r, WIDTH, HEIGHT);
	if (!p->scene) return false;
	SDL_SetTextureBlendMode(p->scene, SDL_BLENDMODE_NONE);
	paint_scene(r);
	for (int i = 0; i < 2 * COLOURS; i++) {
		SDL_Texture *t = canvas(r, SPRITE, SPRITE);
		if (!t) return false;
		paint_rabbit(r, rabbit_colours[i / 2], i % 2 ? 1 : -1);
		p->rabbits[i / 2][i % 2] = t;
	}
	return SDL_SetRenderTarget(r, NULL) == 0;
}

void draw_end(struct pictures *p)
{
	for (int i = 0; i < 2 * COLOURS; i++) SDL_DestroyTexture(p->rabbits[i / 2][i % 2]);
	SDL_DestroyTexture(p->scene);
}

bool draw_save(const struct pictures *p, const char *path)
{
	SDL_Surface *s =
		SDL_CreateRGBSurfaceWithFormat(0, WIDTH, HEIGHT, 24, SDL_PIXELFORMAT_BGR24);
	bool ok =
		s &&
		!SDL_RenderReadPixels(p->renderer, NULL, s->format->format, s->pixels, s->pitch) &&
		!SDL_SaveBMP(s, path);
	SDL_FreeSurface(s);
	return ok;
}

/* ---- each frame ------------------------------------------------------------------------------ */

static void draw_blossom(SDL_Renderer *r, colour c, double x, double y)
{
	for (int i = 0; i < 5; i++)
		disc(r, c, x + 5 * cos(i * 1.257), y + 5 * sin(i * 1.257), 3, 3);
	disc(r, (colour){255, 235, 130, 255}, x, y, 2.5, 2.5);
}

static void draw_thing(SDL_Renderer *r, const struct garden *g, const struct thing *t)
{
	double size = fmin(1, (g->now - t->born) / 6) * 6;
	if (t->state == GONE) return;
	if (t->is_parcel) {
		use(r, (colour){190, 140, 90, 255});
		box(r, (int)t->x - 9, (int)t->y - 16, 18, 16);
		return;
	}
	use(r, (colour){70, 150, 80, 255});
	box(r, (int)t->x - 1, (int)(t->y - 4 - 2 * size), 2, (int)(4 + 2 * size));
	if (garden_is_ripe(g, t) || t->state == PULLED)
		draw_blossom(r, rabbit_colours[t->colour - 1], t->x, t->y - 16);
	else
		disc(r, (colour){120, 190, 110, 255}, t->x, t->y - 4 - 2 * size, size / 2 + 1,
			size / 2 + 1);
}

/* This window's own one has a plate. */
static void write_name(SDL_Renderer *r, const struct rabbit *b, bool is_own)
{
	int width = text_width(b->name, 2), x = (int)b->x - width / 2, y = (int)b->y + 8;
	use(r, dark);
	if (is_own) box(r, x - 4, y - 3, width + 8, 16);
	write_text(r, is_own ? white : dark, x, y, 2, b->name);
}

static void draw_rabbit(const struct pictures *p, const struct garden *g, const struct rabbit *b)
{
	SDL_Renderer *r = p->renderer;
	int hop = b->is_moving ? (int)(7 * fabs(sin(g->now * 9))) : 0;
	SDL_Rect at = {(int)b->x - SPRITE / 2, (int)b->y - SPRITE - hop, SPRITE, SPRITE};
	disc(r, (colour){120, 116, 134, 255}, b->x, b->y, 16, 4);
	SDL_RenderCopy(r, p->rabbits[b->colour - 1][b->face > 0], NULL, &at);
	for (int i = 0; i < b->carry; i++)
		disc(r, rabbit_colours[b->colour - 1], b->x - 8 + 8 * i, b->y - 4 - hop, 3, 3);
	write_name(r, b, b == g->rabbits);
}

/* The words of the badge, and its colour. */
static colour badge(const struct wire *w, char *text, size_t size)
{
	double left = w->next_try - mr_now();
	switch (w->state) {
	case WIRE_ONLINE: snprintf(text, size, "connected"); return (colour){64, 219, 120, 255};
	case WIRE_OFFLINE:
		snprintf(text, size, "offline, alone");
		return (colour){115, 184, 255, 255};
	case WIRE_RETRYING:
		snprintf(text, size, "no broker: try %u in %.1f s", w->attempt + 1,
			left > 0 ? left : 0);
		return (colour){255, 158, 51, 255};
	case WIRE_LOST: snprintf(text, size, "connection lost"); return (colour){255, 102, 92, 255};
	case WIRE_BLOCKED:
		snprintf(text, size, "the broker takes nothing now");
		return (colour){255, 158, 51, 255};
	case WIRE_FAILED: snprintf(text, size, "not connected"); return (colour){255, 102, 92, 255};
	case WIRE_CLOSING:
	case WIRE_CLOSED: snprintf(text, size, "leaving"); return (colour){160, 160, 180, 255};
	default: snprintf(text, size, "connecting"); return (colour){255, 204, 77, 255};
	}
}

static void draw_badge(SDL_Renderer *r, const struct wire *w)
{
	char text[64];
	colour c = badge(w, text, sizeof text);
	int width = text_width(text, 2) + 44, x = WIDTH - 12 - width;
	bool has_reason = w->why[0] && (w->state == WIRE_RETRYING || w->state == WIRE_LOST ||
					       w->state == WIRE_FAILED);
	use(r, dark);
	box(r, x, 12, width, 28);
	disc(r, c, x + 17, 26, 6, 6);
	write_text(r, white, x + 32, 21, 2, text);
	if (has_reason) write_text(r, white, WIDTH - 12 - text_width(w->why, 2), 46, 2, w->why);
}

static int by_place(const void *a, const void *b)
{
	double d = (*(const struct rabbit *const *)a)->y - (*(const struct rabbit *const *)b)->y;
	return d < 0 ? -1 : d > 0;
}

void draw_frame(const struct pictures *p, const struct garden *g, const struct wire *w, double work)
{
	const struct rabbit *order[MOST_RABBITS];
	char text[96];
	SDL_RenderCopy(p->renderer, p->scene, NULL, NULL);
	for (int i = 0; i < g->thing_count; i++) draw_thing(p->renderer, g, &g->things[i]);
	for (int i = 0; i < g->rabbit_count; i++) order[i] = &g->rabbits[i];
	qsort(order, (size_t)g->rabbit_count, sizeof *order,
		by_place); /* the nearer ones hide the others */
	for (int i = 0; i < g->rabbit_count; i++) draw_rabbit(p, g, order[i]);
	snprintf(text, sizeof text, "rabbits %d  stars %d", g->rabbit_count, garden_stars(g));
	write_text(p->renderer, white, 14, 21, 2, text);
	snprintf(text, sizeof text, "%ld messages, frame %.1f ms", w->received, work * 1000);
	write_text(p->renderer, (colour){170, 170, 200, 255}, 14, 38, 2, text);
	write_text(p->renderer, dark, 14, HEIGHT - 20, 2,
		"arrows: hop   space: plant, pick   esc: leave");
	draw_badge(p->renderer, w);
}
