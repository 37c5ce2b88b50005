/* publisher: publishes some messages to a queue and waits until the broker has confirmed each.
 * SPDX-License-Identifier: MIT
 *
 *   cc publisher.c -lmoonrabbit -o publisher && ./publisher [URL [QUEUE [COUNT]]]
 *
 * Exit code 0: the broker has all of them. A message lost with a connection is not published again: it may be
 * at the broker, or not. The rest follows when the connection is back. */
#include <moonrabbit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 60 /* s for a confirm: a broker that writes to a busy disk takes its time */

enum { CONNECT = 1, CHANNEL, DECLARE, CONFIRMS }; /* tokens: one for each request, in this order */

struct publisher {
	mr_runtime *rt;
	mr_connection *conn;
	mr_channel *ch;
	mr_bytes queue;
	mr_error error;
	bool is_ready; /* its channel is in confirm mode */
	uint64_t count, sent, confirmed, failed;
	char properties[64]; /* encoded once, used for each message */
	size_t properties_size;
};

static int encode_properties(struct publisher *p)
{
	mr_properties text = {.flags = MR_HAS_CONTENT_TYPE | MR_HAS_DELIVERY_MODE,
		.delivery_mode = 2, /* persistent */
		.content_type = {"text/plain", 10}};
	int size = mr_properties_encode(&text, p->properties, sizeof p->properties);
	p->properties_size = size > 0 ? (size_t)size : 0;
	return size > 0 ? MR_OK : -size;
}

/* Must the publish wait for an event: MR_EV_ROOM, MR_EV_BLOCKED or MR_EV_CHANNEL? */
static bool must_wait(const struct publisher *p, int status)
{
	return status == MR_BACKPRESSURE ||    /* 8 MiB of this connection wait already */
	       status == MR_BLOCKED_TIMEOUT || /* the broker has too little memory or disk */
	       (status == MR_CLOSED && mr_channel_is_suspended(p->ch));
}

/* Publishes until all messages are sent or it must wait. */
static int publish(struct publisher *p)
{
	while (p->is_ready && p->sent < p->count) {
		char body[32];
		uint64_t number;
		int size = snprintf(body, sizeof body, "message %llu",
			(unsigned long long)p->sent + 1);
		int status = mr_channel_publish(p->ch, "", 0, p->queue.data, p->queue.size, body,
			(size_t)size, p->properties, p->properties_size, MR_MANDATORY, PATIENCE,
			&number);
		if (must_wait(p, status)) return MR_OK;
		if (status != MR_OK) return status;
		p->sent++;
	}
	return MR_OK;
}

/* Sends the request that comes after the one that has just been answered. */
static int proceed(struct publisher *p, uint64_t answered)
{
	mr_request declare = {.operation = MR_QUEUE_DECLARE, .name = p->queue, .flags = MR_DURABLE};
	mr_request confirms = {.operation = MR_CONFIRM_SELECT};
	if (answered == CONNECT) return mr_channel_open(p->conn, CHANNEL, &p->ch);
	if (answered == CHANNEL) return mr_channel_request(p->ch, DECLARE, &declare);
	if (answered == DECLARE) return mr_channel_request(p->ch, CONFIRMS, &confirms);
	p->is_ready = true;
	return publish(p);
}

/* One event has the outcome of all publishes numbered first .. last. */
static void count(struct publisher *p, const mr_event *ev)
{
	uint64_t n = ev->as.confirm.last - ev->as.confirm.first + 1;
	if (ev->status == MR_OK) p->confirmed += n;
	if (ev->status == MR_OK) return;
	p->failed += n;
	fprintf(stderr, "%llu messages: %s\n", (unsigned long long)n, mr_status_text(ev->status));
}

/* The channel or connection has ended for good: keeps the reason. */
static int end(struct publisher *p, const mr_error *why, int status)
{
	if (why) p->error = *why;
	return status;
}

static int channel_changed(struct publisher *p, const mr_event *ev)
{
	if (ev->as.channel.change == MR_CHANNEL_READY) return publish(p);
	bool is_final = ev->as.channel.change == MR_CHANNEL_ENDED && !ev->as.channel.will_recover;
	return is_final ? end(p, ev->as.channel.error, ev->status) : MR_OK;
}

static int connection_changed(struct publisher *p, const mr_event *ev)
{
	int state = ev->as.connection.state;
	bool is_final = state == MR_CONNECTION_GAVE_UP ||
	                (state == MR_CONNECTION_LOST && !ev->as.connection.will_recover);
	return is_final ? end(p, ev->as.connection.with.error, MR_CLOSED) : MR_OK;
}

static int block_changed(struct publisher *p, const mr_event *ev)
{
	const mr_error *reason = ev->as.blocked.reason;
	if (!ev->as.blocked.is_blocked) return publish(p);
	fprintf(stderr, "blocked by the broker: %s\n", reason ? reason->text : "");
	return MR_OK;
}

/* Returns MR_OK, or the reason why the program cannot go on. */
static int handle(struct publisher *p, const mr_event *ev)
{
	switch (ev->type) {
	case MR_EV_DONE:
		if (ev->as.done.reply) p->error = ev->as.done.reply->error;
		return ev->status == MR_OK ? proceed(p, ev->as.done.token) : ev->status;
	case MR_EV_CONFIRM: count(p, ev); return MR_OK;
	case MR_EV_ROOM: return publish(p);
	case MR_EV_BLOCKED: return block_changed(p, ev);
	case MR_EV_CHANNEL: return channel_changed(p, ev);
	case MR_EV_CONNECTION: return connection_changed(p, ev);
	case MR_EV_RETURN: mr_delivery_release(p->rt, ev->as.returned.delivery); return MR_OK;
	default: return MR_OK;
	}
}

static int start(struct publisher *p, const char *url)
{
	mr_options *options = mr_options_new();
	int status = options ? mr_runtime_new(&p->rt) : MR_NO_MEMORY;
	if (status == MR_OK)
		status = mr_options_string(options, "url", url, strlen(url), &p->error);
	if (status == MR_OK) status = mr_connection_new(p->rt, options, &p->conn, &p->error);
	if (status == MR_OK) status = encode_properties(p);
	mr_options_free(options);
	return status == MR_OK ? mr_connection_open(p->conn, CONNECT) : status;
}

int main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[1] : "memory://", *queue = argc > 2 ? argv[2] : "hello";
	struct publisher p = {.queue = {queue, strlen(queue)}, .count = 3};
	if (argc > 3) p.count = strtoull(argv[3], NULL, 10);
	int status = start(&p, url);
	while (status == MR_OK && p.confirmed + p.failed < p.count) {
		mr_event ev;
		if (mr_runtime_poll(p.rt, &ev, 1, -1) != 1) continue;
		status = handle(&p, &ev);
		mr_event_fini(&ev);
	}
	mr_runtime_free(p.rt, 5);
	printf("%llu published, %llu confirmed\n", (unsigned long long)p.sent,
		(unsigned long long)p.confirmed);
	if (status == MR_OK) return p.failed ? 1 : 0;
	fprintf(stderr, "%s: %s\n%s\n", mr_status_name(status),
		p.error.kind ? p.error.text : mr_status_text(status), mr_status_hint(status));
	return 1;
}
