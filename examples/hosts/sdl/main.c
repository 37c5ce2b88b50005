/* main: a garden on the moon, shared by all windows that are connected to the same broker, in C and SDL2.
 * SPDX-License-Identifier: MIT
 *
 *   cc *.c $(sdl2-config --cflags --libs) -lmoonrabbit -lm -o garden && ./garden [URL] [OPTION...]
 *
 *   --name NAME  --colour 1..8  --at X,Y     this window's rabbit
 *   --walk       it hops about and plants by itself
 *   --seconds S  ends after S seconds
 *   --shot FILE  writes the last picture before the end, as BMP
 *
 * URL: amqp://..., else AMQP_URL, else memory://: alone. Windows of ../love are in the same garden. Each frame
 * handles messages for at most 2 ms; nothing in it waits for the broker, also not at the end. */
#include "draw.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRAME (1.0 / 60) /* s */
#define BUDGET 0.002     /* s of a frame for messages: an eighth of it */
#define FAREWELL 0.5     /* s at most until a window that is left closes */

enum { MOST_FRAMES = 1 << 16 };

struct options {
	const char *url, *name, *shot;
	int colour, x, y;
	bool walks;
	double seconds;
};

struct game {
	struct options options;
	struct garden garden;
	struct wire wire;
	struct pictures pictures;
	float work[MOST_FRAMES]; /* ms of each frame, without the wait for the next one */
	long frames, frames_of_the_end;
	double began, left; /* left: when the end began; 0: not yet */
};

static const char *const states[] = {"connecting", "connected", "offline", "retrying", "lost",
	"blocked", "failed", "leaving", "left"};

static bool read_options(struct options *o, int argc, char **argv)
{
	const char *env = getenv("AMQP_URL");
	*o = (struct options){.url = env && *env ? env : "memory://",
		.name = "sdl",
		.x = 300,
		.y = 480};
	o->colour = 1 + (int)(getpid() % COLOURS);
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
		if (strstr(name, "://"))
			o->url = name;
		else if (!strcmp(name, "--walk"))
			o->walks = true;
		else if (!strcmp(name, "--name"))
			o->name = value, i++;
		else if (!strcmp(name, "--shot"))
			o->shot = value, i++;
		else if (!strcmp(name, "--colour"))
			o->colour = atoi(value), i++;
		else if (!strcmp(name, "--seconds"))
			o->seconds = atof(value), i++;
		else if (strcmp(name, "--at") != 0 || sscanf(value, "%d,%d", &o->x, &o->y) != 2)
			return false;
		else
			i++;
	}
	return o->colour >= 1 && o->colour <= COLOURS;
}

static void use_paws(struct game *g)
{
	char text[MESSAGE_SIZE];
	size_t size = garden_use(&g->garden, text);
	if (size > 0) wire_tell(&g->wire, !strncmp(text, "pick", 4) ? "pick" : "plant", text, size);
}

/* Keys; and the end: the window, Escape, SIGINT, SIGTERM. */
static void take_input(struct game *g, double now)
{
	SDL_Event e;
	bool leaves = g->options.seconds > 0 && now - g->began >= g->options.seconds;
	while (SDL_PollEvent(&e)) {
		if (e.type == SDL_QUIT) leaves = true;
		if (e.type != SDL_KEYDOWN || e.key.repeat) continue;
		if (e.key.keysym.sym == SDLK_ESCAPE) leaves = true;
		if (e.key.keysym.sym == SDLK_SPACE) use_paws(g);
	}
	if (leaves && g->left <= 0) {
		g->left = now;
		if (g->options.shot && !draw_save(&g->pictures, g->options.shot))
			fprintf(stderr, "no picture: %s\n", SDL_GetError());
		wire_close(&g->wire, FAREWELL);
	}
}

static void move(struct game *g)
{
	const Uint8 *key = SDL_GetKeyboardState(NULL);
	double dx = key[SDL_SCANCODE_RIGHT] - key[SDL_SCANCODE_LEFT];
	double dy = key[SDL_SCANCODE_DOWN] - key[SDL_SCANCODE_UP];
	if (g->options.walks) {
		dx = cos((double)g->frames / 80);
		dy = sin((double)g->frames / 80);
		if (g->frames % 90 == 45) use_paws(g);
	}
	garden_steer(&g->garden, dx, dy, FRAME);
}

static void run(struct game *g)
{
	g->began = mr_now();
	double next = g->began;
	enum wire_state said = WIRE_CLOSED;
	while (g->wire.state != WIRE_CLOSED) {
		double begin = mr_now();
		wire_frame(&g->wire, BUDGET);
		if (g->wire.state != said) puts(states[said = g->wire.state]);
		take_input(g, begin);
		move(g);
		garden_step(&g->garden, FRAME);
		draw_frame(&g->pictures, &g->garden, &g->wire,
			g->frames > 0 ? g->work[(g->frames - 1) % MOST_FRAMES] / 1000 : 0);
		SDL_RenderPresent(g->pictures.renderer);
		double end = mr_now();
		g->work[g->frames++ % MOST_FRAMES] = (float)((end - begin) * 1000);
		if (g->left > 0) g->frames_of_the_end++;
		next = next + FRAME > end
		               ? next + FRAME
		               : end; /* a frame that is late does not make the next one hurry */
		SDL_Delay((Uint32)((next - end) * 1000));
	}
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;
	return x < y ? -1 : x > y;
}

static void report(struct game *g)
{
	size_t count = (size_t)(g->frames < MOST_FRAMES ? g->frames : MOST_FRAMES);
	if (count == 0) return;
	qsort(g->work, count, sizeof *g->work, by_size);
	printf("%ld frames in %.1f s: p50 %.2f ms, p99 %.2f ms, longest %.2f ms; %ld messages, %ld sent; "
	       "left in %.0f ms and %ld frames\n",
		g->frames, mr_now() - g->began, g->work[count / 2], g->work[count * 99 / 100],
		g->work[count - 1], g->wire.received, g->wire.sent, (mr_now() - g->left) * 1000,
		g->frames_of_the_end);
}

static int play(struct game *g)
{
	char id[24];
	mr_error error = {.text = "no memory"};
	const struct options *o = &g->options;
	snprintf(id, sizeof id, "%08x",
		(unsigned)time(NULL) * 2654435761U ^ (unsigned)getpid() << 8);
	garden_begin(&g->garden, id, o->name, o->colour, o->x, o->y);
	if (wire_start(&g->wire, o->url, &g->garden, &error) != MR_OK) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	run(g);
	report(g);
	return 0;
}

int main(int argc, char **argv)
{
	static struct game g;
	int code = 1;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (!read_options(&g.options, argc, argv)) {
		fprintf(stderr,
			"usage: garden [URL] [--name NAME] [--colour 1..8] [--at X,Y] [--walk] [--seconds S] [--shot FILE]\n");
		return 2;
	}
	SDL_Window *window = NULL;
	SDL_Renderer *renderer = NULL;
	if (SDL_Init(SDL_INIT_VIDEO) == 0)
		window = SDL_CreateWindow("Moonrabbit", SDL_WINDOWPOS_CENTERED,
			SDL_WINDOWPOS_CENTERED, WIDTH, HEIGHT, 0);
	if (window) renderer = SDL_CreateRenderer(window, -1, SDL_RENDERER_TARGETTEXTURE);
	if (renderer && draw_begin(&g.pictures, renderer))
		code = play(&g);
	else
		fprintf(stderr, "no window: %s\n", SDL_GetError());
	wire_free(&g.wire);
	draw_end(&g.pictures);
	SDL_DestroyRenderer(renderer);
	SDL_DestroyWindow(window);
	SDL_Quit();
	return code;
}
