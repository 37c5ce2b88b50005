/* consumer: prints the messages of a queue and acknowledges them, until Ctrl-C or a final loss.
 * SPDX-License-Identifier: MIT
 *
 *   cc consumer.c -lmoonrabbit -o consumer && ./consumer [URL [QUEUE]]
 *
 * A lost connection comes back by itself, with the channel, the queue and the consumer; so does the consumer
 * of a queue that somebody deleted, when the queue is there again. */
#include <moonrabbit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT = 1, CHANNEL, SETUP }; /* tokens: one for each request, in this order */

struct consumer {
	mr_runtime *rt;
	mr_connection *conn;
	mr_channel *ch;
	mr_bytes queue;
	mr_error error;
};

static volatile sig_atomic_t is_stopping;

static void on_signal(int number)
{
	(void)number;
	is_stopping = 1;
}

/* Sends the request that comes after the one that has just been answered. */
static int proceed(struct consumer *c, uint64_t answered)
{
	const mr_request setup[] = {
		{.operation = MR_QUEUE_DECLARE, .name = c->queue, .flags = MR_DURABLE},
		{.operation = MR_BASIC_QOS, .number = 100},
		{.operation = MR_BASIC_CONSUME, .name = c->queue, .number = 1},
	};
	if (answered == CONNECT) return mr_channel_open(c->conn, CHANNEL, &c->ch);
	if (answered == CHANNEL) return mr_setup(c->ch, SETUP, setup, 3);
	printf("waiting for messages in %s\n", c->queue.data);
	return MR_OK;
}

static void receive(struct consumer *c, mr_delivery *d)
{
	printf("received %.*s\n", (int)d->body_size, d->body);
	/* MR_STALE would mean that the connection was lost meanwhile: the message comes again. */
	mr_delivery_settle(c->rt, d, MR_ACK, MR_SETTLE_RELEASE);
}

/* The channel, consumer or connection has ended for good: keeps the reason. */
static int end(struct consumer *c, const mr_error *why, int status)
{
	if (why) c->error = *why;
	return status;
}

static int connection_changed(struct consumer *c, const mr_event *ev)
{
	int state = ev->as.connection.state;
	bool is_final = state == MR_CONNECTION_GAVE_UP ||
	                (state == MR_CONNECTION_LOST && !ev->as.connection.will_recover);
	return is_final ? end(c, ev->as.connection.with.error, MR_CLOSED) : MR_OK;
}

static int consumer_changed(struct consumer *c, const mr_event *ev)
{
	if (ev->as.cancel.will_recover || ev->as.cancel.consumes_again) return MR_OK;
	return end(c, ev->as.cancel.error, MR_CANCELLED);
}

static int channel_changed(struct consumer *c, const mr_event *ev)
{
	bool is_final = ev->as.channel.change == MR_CHANNEL_ENDED && !ev->as.channel.will_recover;
	return is_final ? end(c, ev->as.channel.error, ev->status) : MR_OK;
}

/* Returns MR_OK, or the reason why the program cannot go on. */
static int handle(struct consumer *c, const mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DELIVERY: receive(c, ev->as.delivery); return MR_OK;
	case MR_EV_DONE:
		if (ev->as.done.reply) c->error = ev->as.done.reply->error;
		return ev->status == MR_OK ? proceed(c, ev->as.done.token) : ev->status;
	case MR_EV_CANCEL: return consumer_changed(c, ev);
	case MR_EV_CHANNEL: return channel_changed(c, ev);
	case MR_EV_CONNECTION: return connection_changed(c, ev);
	default: return MR_OK;
	}
}

static int start(struct consumer *c, const char *url)
{
	mr_options *options = mr_options_new();
	int status = options ? mr_runtime_new(&c->rt) : MR_NO_MEMORY;
	if (status == MR_OK)
		status = mr_options_string(options, "url", url, strlen(url), &c->error);
	if (status == MR_OK) status = mr_connection_new(c->rt, options, &c->conn, &c->error);
	mr_options_free(options);
	return status == MR_OK ? mr_connection_open(c->conn, CONNECT) : status;
}

int main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[1] : "memory://", *queue = argc > 2 ? argv[2] : "hello";
	struct consumer c = {.queue = {queue, strlen(queue)}};
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	int status = start(&c, url);
	while (status == MR_OK && !is_stopping) {
		mr_event ev;
		if (mr_runtime_poll(c.rt, &ev, 1, 1) != 1)
			continue; /* 1 s is over, or a signal came */
		status = handle(&c, &ev);
		mr_event_fini(&ev);
	}
	mr_runtime_free(c.rt, 5); /* sends the last acks and closes, within 5 s */
	if (status == MR_OK) return 0;
	fprintf(stderr, "%s: %s\n%s\n", mr_status_name(status),
		c.error.kind ? c.error.text : mr_status_text(status), mr_status_hint(status));
	return 1;
}
