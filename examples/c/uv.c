/* uv: publishes and consumes in a loop of libuv, and ends by itself.
 * SPDX-License-Identifier: MIT
 *
 *   cc uv.c -lmoonrabbit -luv -o uv && ./uv */
#include <moonrabbit_uv.h>
#include <stdio.h>

enum { CONNECT = 1, CHANNEL, SETUP, STOP }; /* tokens: one for each request */

struct app {
	mr_runtime *rt;
	mr_connection *conn;
	mr_channel *ch;
	int received, status;
	mr_uv adapter;
};

static int publish(struct app *a)
{
	uint64_t number;
	return mr_channel_publish(a->ch, "", 0, "uv", 2, "hello", 5, NULL, 0, 0, 0, &number);
}

/* A request has been answered: what comes next. */
static int proceed(struct app *a, uint64_t answered)
{
	static const mr_request setup[] = {
		{.operation = MR_QUEUE_DECLARE, .name = {"uv", 2}, .flags = MR_AUTO_DELETE},
		{.operation = MR_BASIC_CONSUME, .name = {"uv", 2}, .number = 1},
	};
	if (answered == CONNECT) return mr_channel_open(a->conn, CHANNEL, &a->ch);
	if (answered == CHANNEL) return mr_setup(a->ch, SETUP, setup, 2);
	return answered == SETUP ? publish(a) : MR_OK;
}

static void on_event(mr_runtime *rt, mr_event *ev, void *data)
{
	struct app *a = data;
	if (ev->type == MR_EV_DELIVERY) {
		printf("%.*s %d\n", (int)ev->as.delivery->body_size, ev->as.delivery->body,
			++a->received);
		mr_delivery_settle(rt, ev->as.delivery, MR_ACK, MR_SETTLE_RELEASE);
		a->status = a->received < 10 ? publish(a) : mr_runtime_stop(rt, STOP, 5);
	} else if (ev->type == MR_EV_DONE) {
		a->status = ev->status ? ev->status : proceed(a, ev->as.done.token);
		if (a->status || ev->as.done.token == STOP) mr_uv_detach(&a->adapter, NULL);
	}
}

static int start(struct app *a)
{
	mr_options *options = mr_options_new();
	int st = options ? mr_runtime_new(&a->rt) : MR_NO_MEMORY;
	if (st == MR_OK) st = mr_options_string(options, "url", "memory://", 9, NULL);
	if (st == MR_OK) st = mr_connection_new(a->rt, options, &a->conn, NULL);
	mr_options_free(options);
	return st == MR_OK ? mr_connection_open(a->conn, CONNECT) : st;
}

int main(void)
{
	struct app a = {0};
	uv_loop_t *loop = uv_default_loop();
	a.status = start(&a);
	if (a.status == MR_OK) a.status = mr_uv_attach(&a.adapter, loop, a.rt, on_event, &a);
	if (a.status == MR_OK) uv_run(loop, UV_RUN_DEFAULT); /* until no handle is left */
	uv_loop_close(loop);
	mr_channel_free(a.ch);
	mr_runtime_free(a.rt, 5);
	if (a.status) fprintf(stderr, "%s\n", mr_status_hint(a.status));
	return a.status != MR_OK;
}
