/* host_bench: a host of the public interface with one connection, which keeps what it was told.
 * SPDX-License-Identifier: MIT */
#ifndef MR_TEST_HOST_BENCH_H
#define MR_TEST_HOST_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"
#include "moonrabbit.h"

#define PATIENCE 20 /* s for what takes milliseconds */
#define EVENTS 400

/* ---- a host: one runtime, one connection, and what it was told ---- */

struct told {
	uint32_t type;
	int status, detail;
	uint64_t token, last;
	uint16_t channel;
	uint32_t consumer;
	char name[64];  /* of a reply */
	mr_error error; /* of what has a reason */
};

struct host {
	mr_runtime *rt;
	mr_connection *c;
	mr_channel *ch;
	uint64_t tokens;
	struct told told[EVENTS];
	int count;
};

static inline void note_connection(struct told *t, const mr_event *ev)
{
	bool is_back = ev->as.connection.state == MR_CONNECTION_RECOVERED;
	t->detail = ev->as.connection.state;
	t->token = is_back ? ev->as.connection.numbers.recovered.entities
	                   : ev->as.connection.numbers.retry.attempt;
	t->last = is_back ? ev->as.connection.numbers.recovered.gap
	                  : ev->as.connection.numbers.retry.delay;
	if (ev->as.connection.will_recover) t->last = 1;
	if (ev->status && ev->as.connection.with.error) t->error = *ev->as.connection.with.error;
}

static inline void note(struct told *t, const mr_event *ev)
{
	const mr_error *error = NULL;
	switch (ev->type) {
	case MR_EV_CONNECTION: note_connection(t, ev); return;
	case MR_EV_DONE:
		t->token = ev->as.done.token;
		if (ev->as.done.reply)
			snprintf(t->name, sizeof t->name, "%.63s", ev->as.done.reply->name);
		return;
	case MR_EV_CONFIRM:
		t->token = ev->as.confirm.first;
		t->last = ev->as.confirm.last;
		return;
	case MR_EV_CHANNEL:
		t->detail = ev->as.channel.change | ev->as.channel.was_asking;
		t->last = ev->as.channel.will_recover;
		error = ev->as.channel.error;
		break;
	case MR_EV_CANCEL:
		t->detail = ev->as.cancel.consumes_again;
		t->last = ev->as.cancel.will_recover;
		t->consumer = ev->as.cancel.consumer;
		error = ev->as.cancel.error;
		break;
	case MR_EV_BLOCKED: t->detail = ev->as.blocked.is_blocked; return;
	case MR_EV_FD:
		t->token = ev->as.fd.token;
		t->detail = ev->as.fd.ready;
		return;
	default: return;
	}
	if (ev->status && error) t->error = *error;
}

static inline void keep(struct host *h, mr_event *ev)
{
	assert_true(h->count < EVENTS);
	struct told *t = &h->told[h->count++];
	*t = (struct told){.type = ev->type, .status = ev->status, .channel = ev->channel};
	note(t, ev);
	if (ev->type == MR_EV_DELIVERY) mr_delivery_release(h->rt, ev->as.delivery);
	mr_event_fini(ev);
}

/* The first event of this kind at or behind `from`, when it has come; else NULL after a while. */
static inline const struct told *wait_for(struct host *h, int from, uint32_t type, int detail,
	uint64_t token)
{
	double deadline = mr_now() + PATIENCE;
	for (int at = from;;) {
		for (; at < h->count; at++) {
			const struct told *t = &h->told[at];
			if (t->type == type && (detail < 0 || t->detail == detail) &&
				(!token || t->token == token))
				return t;
		}
		mr_event ev;
		if (mr_now() > deadline) return NULL;
		if (mr_runtime_poll(h->rt, &ev, 1, 0.5) == 1) keep(h, &ev);
	}
}

static inline int done(struct host *h, uint64_t token)
{
	const struct told *t = wait_for(h, 0, MR_EV_DONE, -1, token);
	if (!t) fail_msg("request %d never ended", (int)token);
	return t->status;
}

static inline void set_number(mr_options *o, const char *name, double value)
{
	mr_error error;
	assert_int_equal(mr_options_number(o, name, value, &error), MR_OK);
}

/* `pause`: seconds before each retry; negative: our own way. */
static inline void begin(struct host *h, const char *url, double pause)
{
	mr_error error;
	memset(h, 0, sizeof *h);
	h->tokens = 1000;
	assert_int_equal(mr_runtime_new(&h->rt), MR_OK);
	mr_runtime_log(h->rt, -1, MR_LOG_LOGFMT);
	mr_options *o = mr_options_new();
	assert_int_equal(mr_options_string(o, "url", url, strlen(url), &error), MR_OK);
	if (pause >= 0) {
		set_number(o, "transport_options.interval_start", pause);
		set_number(o, "transport_options.interval_step", 0);
		set_number(o, "transport_options.interval_max", pause);
	}
	assert_int_equal(mr_connection_new(h->rt, o, &h->c, &error), MR_OK);
	mr_options_free(o);
	assert_int_equal(mr_connection_open(h->c, ++h->tokens), MR_OK);
	assert_int_equal(done(h, h->tokens), MR_OK);
	assert_int_equal(mr_channel_open(h->c, ++h->tokens, &h->ch), MR_OK);
	assert_int_equal(done(h, h->tokens), MR_OK);
}

static inline void end(struct host *h)
{
	mr_channel_free(h->ch);
	mr_runtime_free(h->rt, 2);
}

static inline int request(struct host *h, int operation, const char *name, uint32_t flags,
	uint32_t number)
{
	mr_request r = {.operation = operation, .flags = flags, .number = number};
	r.name = mr_slice_str(name);
	assert_int_equal(mr_channel_request(h->ch, ++h->tokens, &r), MR_OK);
	return done(h, h->tokens);
}

static inline const char *declare(struct host *h, const char *name, uint32_t flags)
{
	assert_int_equal(request(h, MR_QUEUE_DECLARE, name, flags, 0), MR_OK);
	return wait_for(h, 0, MR_EV_DONE, -1, h->tokens)->name;
}

#endif
