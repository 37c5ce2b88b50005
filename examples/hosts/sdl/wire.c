/* wire: a topic exchange, and an exclusive queue for each window.
 * SPDX-License-Identifier: MIT
 *
 * What all should know goes to all.KIND.ID, what is for one window to to.ID.KIND. A window that comes, or
 * comes back, says hello: each other one answers with what it knows. Recovery restores exchange, queue,
 * bindings and consumer; nothing is kept for a later time. */
#include "wire.h"
#include <stdio.h>
#include <string.h>

#define EXCHANGE "moonrabbit.garden"
#define STALE "5000" /* ms until a message that no window took is dropped */
#define MOST_WAITING 20000
#define HOPS (1 / 12.0) /* s between two messages of a rabbit that moves */
#define ALIVE 1.0       /* the same, of one that sits */
#define RETRY_FIRST                                                                                \
	0.5 /* s until the second try to connect for the first time, doubled up to 4 s */

enum { CONNECT = 1, CHANNEL, EXCHANGE_DECLARE, QUEUE_DECLARE, BIND_ALL, BIND_MINE, CONSUME, CLOSE };

static mr_bytes bytes(const char *text) { return (mr_bytes){text, strlen(text)}; }

static void set(struct wire *w, enum wire_state state)
{
	if (w->state < WIRE_CLOSING || state > w->state) w->state = state;
}

static void set_reason(struct wire *w, const mr_error *error)
{
	snprintf(w->why, sizeof w->why, "%.63s", error ? error->text : "");
}

/* ---- setup ----------------------------------------------------------------------------------- */

static mr_table *queue_arguments(void)
{
	mr_table *t = mr_table_new();
	mr_value most = {.type = 'I', .as.integer = MOST_WAITING};
	if (t) mr_table_add(t, "x-max-length", strlen("x-max-length"), &most);
	return t;
}

/* Sends the request of a step; its answer leads to the next one. */
static void ask(struct wire *w, uint64_t step)
{
	char key[ID_SIZE + 8];
	mr_request r = {.name = bytes(w->queue), .extra = bytes(EXCHANGE)};
	int status = MR_OK;
	w->step = step;
	snprintf(key, sizeof key, "to.%s.#", w->garden->rabbits[0].id);
	switch (step) {
	case CONNECT: status = mr_connection_open(w->conn, step); break;
	case CHANNEL: status = mr_channel_open(w->conn, step, &w->ch); break;
	case EXCHANGE_DECLARE:
		r = (mr_request){.operation = MR_EXCHANGE_DECLARE, .flags = MR_AUTO_DELETE};
		r.name = bytes(EXCHANGE);
		r.extra = bytes("topic");
		break;
	case QUEUE_DECLARE:
		r = (mr_request){.operation = MR_QUEUE_DECLARE, .flags = MR_EXCLUSIVE};
		r.arguments = queue_arguments();
		break;
	case BIND_ALL:
	case BIND_MINE:
		r.operation = MR_QUEUE_BIND;
		r.routing_key = bytes(step == BIND_ALL ? "all.#" : key);
		break;
	default:
		r.operation = MR_BASIC_CONSUME;
		r.extra = bytes("");
		r.flags = MR_NO_ACK;
		r.number = 1;
	}
	if (step > CHANNEL) status = mr_channel_request(w->ch, step, &r);
	if (status != MR_OK) w->next_try = mr_now() + RETRY_FIRST;
}

static void greet(struct wire *w)
{
	static char text[MESSAGE_SIZE];
	const char *id = w->garden->rabbits[0].id;
	size_t size = (size_t)snprintf(text, sizeof text, "hello\t%s", id);
	wire_tell(w, "hello", text, size);
	size = garden_write_snapshot(w->garden, text);
	wire_tell(w, "snapshot", text, size);
	w->last_hop = 0;
	set(w, w->is_offline ? WIRE_OFFLINE : WIRE_ONLINE);
}

static void on_failure(struct wire *w, const mr_event *ev)
{
	double delay = RETRY_FIRST * (1 << (w->attempt < 3 ? w->attempt : 3));
	w->next_try = mr_now() + delay; /* of the same step, see wire_frame */
	w->attempt++;
	set_reason(w, ev->as.done.reply ? &ev->as.done.reply->error : NULL);
	set(w, ev->as.done.token == CONNECT ? WIRE_RETRYING : WIRE_FAILED);
}

static void on_success(struct wire *w, uint64_t step, const mr_reply *reply)
{
	if (step == CONNECT) w->attempt = 0;
	if (step == QUEUE_DECLARE && reply) snprintf(w->queue, sizeof w->queue, "%s", reply->name);
	w->is_set_up = step == CONSUME;
	if (w->is_set_up)
		greet(w);
	else
		ask(w, step + 1);
}

static void on_done(struct wire *w, const mr_event *ev)
{
	if (ev->as.done.token == CLOSE)
		set(w, WIRE_CLOSED);
	else if (w->state >= WIRE_CLOSING)
		return;
	else if (ev->status != MR_OK)
		on_failure(w, ev);
	else
		on_success(w, ev->as.done.token, ev->as.done.reply);
}

int wire_start(struct wire *w, const char *url, struct garden *g, mr_error *error)
{
	mr_properties p = {.flags = MR_HAS_CONTENT_TYPE | MR_HAS_DELIVERY_MODE | MR_HAS_EXPIRATION,
		.delivery_mode = 1,
		.content_type = bytes("text/plain"),
		.expiration = bytes(STALE)};
	mr_options *options = mr_options_new();
	*w = (struct wire){.garden = g, .is_offline = !strncmp(url, "memory:", 7)};
	w->properties_size = mr_properties_encode(&p, w->properties, sizeof w->properties);
	int status = options ? mr_runtime_new(&w->rt) : MR_NO_MEMORY;
	if (status == MR_OK) status = mr_options_string(options, "url", url, strlen(url), error);
	if (status == MR_OK)
		status = mr_options_string(options, "name", "moonrabbit game", 15, error);
	if (status == MR_OK) status = mr_options_number(options, "heartbeat", 10, error);
	if (status == MR_OK) status = mr_connection_new(w->rt, options, &w->conn, error);
	mr_options_free(options);
	if (status == MR_OK) ask(w, CONNECT);
	return status;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void publish(struct wire *w, const char *key, const char *text, size_t size)
{
	uint64_t number;
	if (!w->ch || !w->is_set_up) return;
	if (mr_channel_publish(w->ch, EXCHANGE, strlen(EXCHANGE), key, strlen(key), text, size,
		    w->properties, (size_t)w->properties_size, 0, 0, &number) == MR_OK)
		w->sent++;
}

void wire_tell(struct wire *w, const char *kind, const char *text, size_t size)
{
	char key[ID_SIZE + 32];
	snprintf(key, sizeof key, "all.%s.%s", kind, w->garden->rabbits[0].id);
	publish(w, key, text, size);
}

static void on_delivery(struct wire *w, mr_delivery *d)
{
	static char text[MESSAGE_SIZE];
	char key[ID_SIZE + 32];
	const char *asker;
	w->received++;
	garden_apply(w->garden, d->body, (size_t)d->body_size, &asker);
	mr_delivery_release(w->rt, d); /* MR_NO_ACK: no ack */
	if (!asker) return;
	snprintf(key, sizeof key, "to.%s.snapshot", asker);
	publish(w, key, text, garden_write_snapshot(w->garden, text));
	w->last_hop = 0; /* so that the newcomer sees our rabbit with this frame */
}

static void on_connection(struct wire *w, const mr_event *ev)
{
	switch (ev->as.connection.state) {
	case MR_CONNECTION_LOST:
		set_reason(w, ev->as.connection.with.error);
		set(w, WIRE_LOST);
		break;
	case MR_CONNECTION_RETRYING:
		w->attempt = ev->as.connection.numbers.retry.attempt;
		w->next_try = mr_now() + ev->as.connection.numbers.retry.delay / 1000.0;
		set(w, WIRE_RETRYING);
		break;
	case MR_CONNECTION_RECOVERED:
		w->next_try = 0;
		if (w->is_set_up)
			greet(w);
		else
			ask(w, w->step);
		break;
	case MR_CONNECTION_GAVE_UP: set(w, WIRE_FAILED); break;
	default: break;
	}
}

static void handle(struct wire *w, mr_event *ev)
{
	if (ev->type == MR_EV_DELIVERY) on_delivery(w, ev->as.delivery);
	if (ev->type == MR_EV_DONE) on_done(w, ev);
	if (ev->type == MR_EV_CONNECTION) on_connection(w, ev);
	if (ev->type == MR_EV_BLOCKED && ev->as.blocked.is_blocked) set(w, WIRE_BLOCKED);
	if (ev->type == MR_EV_BLOCKED && !ev->as.blocked.is_blocked && w->is_set_up) greet(w);
	mr_event_fini(ev);
}

static void tell_where_we_are(struct wire *w)
{
	char text[MESSAGE_SIZE];
	double now = mr_now();
	if (!w->is_set_up || now - w->last_hop < (w->garden->rabbits[0].is_moving ? HOPS : ALIVE))
		return;
	w->last_hop = now;
	wire_tell(w, "hop", text, garden_write_hop(w->garden, text));
}

void wire_frame(struct wire *w, double budget)
{
	double until = mr_now() + budget;
	mr_event ev;
	while (mr_runtime_poll(w->rt, &ev, 1, 0) == 1) {
		handle(w, &ev);
		if (mr_now() >= until) break; /* the rest comes with the next frame */
	}
	if (!w->is_set_up && w->next_try > 0 && mr_now() >= w->next_try &&
		w->state < WIRE_CLOSING) {
		w->next_try = 0;
		set(w, WIRE_CONNECTING);
		ask(w, w->step);
	}
	tell_where_we_are(w);
}

/* ---- the end --------------------------------------------------------------------------------- */

void wire_close(struct wire *w, double timeout)
{
	char text[ID_SIZE + 8];
	if (w->state >= WIRE_CLOSING) return;
	int size = snprintf(text, sizeof text, "bye\t%s", w->garden->rabbits[0].id);
	wire_tell(w, "bye", text, (size_t)size);
	w->is_set_up = false;
	set(w, WIRE_CLOSING);
	if (mr_runtime_stop(w->rt, CLOSE, timeout) != MR_OK) set(w, WIRE_CLOSED);
}

void wire_free(struct wire *w) { mr_runtime_free(w->rt, 0); }
