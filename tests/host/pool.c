/* pool: a C host that publishes and consumes by a pool of channels, without Lua.
 * SPDX-License-Identifier: MIT
 *
 *   gcc pool.c -lmoonrabbit -o pool && ./pool [URL]       (memory:// when none is given)
 *
 * One channel consumes for as long as the program runs; each publish borrows another one and gives it back when
 * the broker has confirmed. Prints what it did; exit code 0 when every message came back. */
#include <moonrabbit.h>
#include <stdio.h>
#include <string.h>

#define QUEUE "pool-example"
#define MESSAGES 100
#define AT_ONCE 8 /* channels of the pool: one consumes, the others publish */

enum { TOKEN_CONSUMER = 1, TOKEN_REQUEST, TOKEN_CLOSE, TOKEN_PUBLISHER = 100 };

struct host {
	mr_runtime *rt;
	mr_pool *pool;
	mr_error why;
	uint64_t awaited_done;    /* token of the request that is waited for; 0: it has ended */
	uint64_t awaited_confirm; /* number of the publish, likewise */
	int status;               /* how what was waited for ended */
	int published, consumed;
};

static mr_bytes text(const char *s) { return (mr_bytes){s, strlen(s)}; }

static void handle(struct host *h, mr_event *ev)
{
	if (ev->type == MR_EV_DELIVERY) {
		h->consumed++;
		mr_delivery_settle(h->rt, ev->as.delivery, MR_ACK, MR_SETTLE_RELEASE);
	} else if (ev->type == MR_EV_DONE && ev->as.done.token == h->awaited_done) {
		h->awaited_done = 0;
		h->status = ev->status;
		if (ev->as.done.reply) h->why = ev->as.done.reply->error;
	} else if (ev->type == MR_EV_CONFIRM && ev->as.confirm.first <= h->awaited_confirm &&
		   h->awaited_confirm <= ev->as.confirm.last) {
		h->awaited_confirm = 0;
		h->status = ev->status;
	}
	mr_event_fini(ev);
}

/* Pulls events until nothing is waited for, or `until`. */
static int pump(struct host *h, double until)
{
	while ((h->awaited_done || h->awaited_confirm) && mr_now() < until) {
		mr_event ev;
		if (mr_runtime_poll(h->rt, &ev, 1, until - mr_now()) == 1) handle(h, &ev);
	}
	return h->awaited_done || h->awaited_confirm ? MR_TIMEOUT : h->status;
}

static int wait_done(struct host *h, uint64_t token)
{
	h->awaited_done = token;
	return pump(h, mr_now() + 20);
}

static int ask(struct host *h, mr_channel *ch, const mr_request *request)
{
	int status = mr_channel_request(ch, TOKEN_REQUEST, request);
	return status == MR_OK ? wait_done(h, TOKEN_REQUEST) : status;
}

/* A channel of the pool: at once when one is free, else after an event. */
static int borrow(struct host *h, uint64_t token, int purpose, mr_channel **out)
{
	uint32_t item;
	int status = mr_pool_acquire(h->pool, token, purpose, 10, &item);
	if (status == MR_OK && !item) {
		status = wait_done(h, token);
		item = mr_pool_item(h->pool, token);
	}
	if (status == MR_OK) *out = mr_pool_channel(h->pool, item);
	return status;
}

static int consume(struct host *h)
{
	mr_channel *ch;
	mr_request declare = {.operation = MR_QUEUE_DECLARE, .flags = MR_AUTO_DELETE};
	mr_request start = {.operation = MR_BASIC_CONSUME, .number = 1};
	declare.name = start.name = text(QUEUE);
	int status = borrow(h, TOKEN_CONSUMER, MR_POOL_CONSUME, &ch);
	if (status == MR_OK) status = ask(h, ch, &declare);
	return status == MR_OK ? ask(h, ch, &start) : status;
}

static int publish(struct host *h, int n)
{
	static const mr_request confirm = {.operation = MR_CONFIRM_SELECT};
	uint64_t token = TOKEN_PUBLISHER + (uint64_t)n;
	mr_channel *ch;
	char body[32];
	size_t size = (size_t)snprintf(body, sizeof body, "message %d", n);
	int status = borrow(h, token, MR_POOL_PUBLISH, &ch);
	if (status != MR_OK) return status;
	status = ask(h, ch, &confirm); /* of no effect when whoever had it before has asked */
	if (status == MR_OK)
		status = mr_channel_publish(ch, "", 0, QUEUE, strlen(QUEUE), body, size, NULL, 0, 0,
			0, &h->awaited_confirm);
	if (status == MR_OK) status = pump(h, mr_now() + 20);
	if (status == MR_OK) h->published++;
	mr_pool_release(h->pool, token);
	return status;
}

static int run(struct host *h)
{
	mr_pool_counts n;
	int status = consume(h);
	for (int i = 0; i < MESSAGES && status == MR_OK; i++) status = publish(h, i);
	double until = mr_now() + 10;
	while (status == MR_OK && h->consumed < MESSAGES && mr_now() < until) {
		mr_event ev;
		if (mr_runtime_poll(h->rt, &ev, 1, until - mr_now()) == 1) handle(h, &ev);
	}
	mr_pool_count(h->pool, &n);
	printf("%d published and confirmed, %d consumed; channels: %u lent, %u idle, %u at most\n",
		h->published, h->consumed, n.active, n.idle, n.limit);
	if (status == MR_OK && h->consumed < MESSAGES) status = MR_TIMEOUT;
	if (status == MR_OK) status = mr_pool_close(h->pool, TOKEN_CLOSE);
	return status == MR_OK ? wait_done(h, TOKEN_CLOSE) : status;
}

int main(int argc, char **argv)
{
	struct host h = {0};
	const char *url = argc > 1 ? argv[1] : "memory://";
	mr_options *o = mr_options_new();
	int status = o ? mr_runtime_new(&h.rt) : MR_NO_MEMORY;
	if (status == MR_OK) status = mr_options_string(o, "url", url, strlen(url), &h.why);
	if (status == MR_OK) status = mr_pool_new(h.rt, o, MR_SHARED, AT_ONCE, &h.pool, &h.why);
	if (status == MR_OK)
		status = run(&h);
	else
		mr_options_free(o); /* the pool has not taken them */
	if (status != MR_OK)
		fprintf(stderr, "%s: %s\n", mr_status_name(status),
			h.why.kind == status ? h.why.text : mr_status_text(status));
	mr_pool_free(h.pool);
	mr_runtime_free(h.rt, 5);
	return status == MR_OK ? 0 : 1;
}
