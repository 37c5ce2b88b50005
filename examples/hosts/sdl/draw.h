/* draw: the garden on the screen, by SDL's renderer alone: no picture and no font is loaded.
 * SPDX-License-Identifier: MIT */
#ifndef DRAW_H
#define DRAW_H

#include <SDL.h>
#include "garden.h"
#include "wire.h"

enum { WIDTH = 800, HEIGHT = 600 };

struct pictures {
	SDL_Renderer *renderer;
	SDL_Texture *scene, *rabbits[COLOURS][2]; /* looking to the left, to the right */
};

/* Makes what does not change. False: see SDL_GetError. */
bool draw_begin(struct pictures *p, SDL_Renderer *renderer);
void draw_frame(const struct pictures *p, const struct garden *g, const struct wire *w,
	double work);
void draw_end(struct pictures *p);
/* Writes what is drawn to a BMP file. */
bool draw_save(const struct pictures *p, const char *path);

#endif
