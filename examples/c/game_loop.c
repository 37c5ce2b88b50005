/* game_loop: a loop of 60 frames a second that publishes and receives without ever waiting.
 * SPDX-License-Identifier: MIT
 *
 *   cc game_loop.c -lmoonrabbit -o game_loop && ./game_loop [URL [FRAMES]]
 *
 * Each frame handles events (for at most 2 ms), moves the player, and sends its place every sixth frame.
 * The place comes back through the player's own queue, as another player's would: each player binds a
 * queue to amq.fanout, so nobody needs to know its name, which changes after a lost connection. */
#include <moonrabbit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRAME (1.0 / 60) /* s */
#define BUDGET 0.002     /* s of a frame for messages: an eighth of it */
#define SEND_EVERY 6     /* frames: ten places a second */
#define EXCHANGE "amq.fanout"

enum { CONNECT = 1, CHANNEL, DECLARE, BIND, CONSUME }; /* tokens: one for each request, in order */

struct game {
	mr_runtime *rt;
	mr_connection *conn;
	mr_channel *ch;
	char queue[256]; /* named by the broker */
	bool is_online;
	int sent, received;
	double x;
};

/* Sends the request that comes after the one that has just been answered. */
static void proceed(struct game *g, uint64_t answered, const mr_reply *reply)
{
	mr_request r = {.operation = MR_QUEUE_DECLARE, .flags = MR_EXCLUSIVE};
	if (answered == CONNECT) mr_channel_open(g->conn, CHANNEL, &g->ch);
	if (answered == CHANNEL) mr_channel_request(g->ch, DECLARE, &r);
	if (answered == DECLARE && reply) {
		snprintf(g->queue, sizeof g->queue, "%s", reply->name);
		r = (mr_request){.operation = MR_QUEUE_BIND, .extra = {EXCHANGE, strlen(EXCHANGE)}};
		r.name = (mr_bytes){g->queue, strlen(g->queue)};
		mr_channel_request(g->ch, BIND, &r);
	}
	if (answered == BIND) {
		r = (mr_request){.operation = MR_BASIC_CONSUME, .flags = MR_NO_ACK, .number = 1};
		r.name = (mr_bytes){g->queue, strlen(g->queue)};
		mr_channel_request(g->ch, CONSUME, &r);
	}
	if (answered == CONSUME) g->is_online = true;
}

static void handle(struct game *g, const mr_event *ev)
{
	if (ev->type == MR_EV_DELIVERY) {
		g->received++;
		mr_delivery_release(g->rt, ev->as.delivery); /* MR_NO_ACK: no ack */
	} else if (ev->type == MR_EV_DONE && ev->status == MR_OK) {
		proceed(g, ev->as.done.token, ev->as.done.reply);
	} else if (ev->type == MR_EV_DONE) {
		fprintf(stderr, "offline: %s\n", mr_status_hint(ev->status)); /* the game goes on */
	}
}

static void take_messages(struct game *g)
{
	double until = mr_now() + BUDGET;
	mr_event ev;
	while (mr_now() < until && mr_runtime_poll(g->rt, &ev, 1, 0) == 1) {
		handle(g, &ev);
		mr_event_fini(&ev);
	}
}

static void send_place(struct game *g)
{
	char body[32];
	uint64_t number;
	int size = snprintf(body, sizeof body, "x=%.2f", g->x);
	/* A place that cannot be sent now is old in the next frame: no second try. */
	if (mr_channel_publish(g->ch, EXCHANGE, strlen(EXCHANGE), "", 0, body, (size_t)size, NULL,
		    0, 0, 0, &number) == MR_OK)
		g->sent++;
}

/* Stands in for waiting for the display. */
static void wait_for_frame(double at)
{
	double left = at - mr_now();
	struct timespec t = {.tv_nsec = (long)(left * 1e9)};
	if (left > 0) nanosleep(&t, NULL);
}

static int start(struct game *g, const char *url)
{
	mr_error error;
	mr_options *options = mr_options_new();
	int status = options ? mr_runtime_new(&g->rt) : MR_NO_MEMORY;
	if (status == MR_OK) status = mr_options_string(options, "url", url, strlen(url), &error);
	if (status == MR_OK) status = mr_connection_new(g->rt, options, &g->conn, &error);
	mr_options_free(options);
	return status == MR_OK ? mr_connection_open(g->conn, CONNECT) : status;
}

int main(int argc, char **argv)
{
	struct game g = {0};
	long frames = argc > 2 ? strtol(argv[2], NULL, 10) : 120;
	int status = start(&g, argc > 1 ? argv[1] : "memory://");
	double began = mr_now();
	for (long frame = 1; status == MR_OK && frame <= frames; frame++) {
		take_messages(&g);
		g.x += 2.5 * FRAME;
		if (g.is_online && frame % SEND_EVERY == 0) send_place(&g);
		wait_for_frame(began + (double)frame * FRAME);
	}
	double took = mr_now() - began;
	mr_runtime_free(g.rt, 1);
	printf("%ld frames in %.1f s, %d places sent, %d received\n", frames, took, g.sent,
		g.received);
	if (status != MR_OK) fprintf(stderr, "%s\n", mr_status_hint(status));
	return status == MR_OK && g.is_online ? 0 : 1;
}
