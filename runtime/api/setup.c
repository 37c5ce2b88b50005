/* setup: a list of requests on a channel, sent one after the other, with one end.
 * SPDX-License-Identifier: MIT */
#include "api/setup.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct setup {
	uint32_t connection, epoch;
	uint16_t channel;
	uint32_t count, done;
	uint16_t name_size; /* of the last queue that was declared */
	char name[256];
	mr_request requests[]; /* their strings come after them; they own their arguments */
};

static size_t bytes_of(const mr_request *r)
{
	return r->name.size + r->extra.size + r->routing_key.size;
}

/* A get would leave its message to nobody. */
static bool is_fit(const mr_request *r)
{
	bool known = r->operation >= MR_EXCHANGE_DECLARE && r->operation <= MR_TX_ROLLBACK;
	bool fits = r->name.size <= 255 && r->extra.size <= 255 && r->routing_key.size <= 255;
	return known && fits && r->operation != MR_BASIC_GET;
}

static void pack(mr_bytes *s, char **at)
{
	if (!s->size) return;
	memcpy(*at, s->data, s->size);
	s->data = *at;
	*at += s->size;
}

static struct setup *copy(const mr_channel *ch, const mr_request *requests, uint32_t count)
{
	size_t head = sizeof(struct setup) + count * sizeof *requests, size = head;
	for (uint32_t i = 0; i < count; i++) size += bytes_of(&requests[i]);
	struct setup *s = mr_malloc(size);
	if (!s) return NULL;
	char *at = (char *)s + head;
	*s = (struct setup){.connection = ch->connection->number,
		.epoch = ch->epoch,
		.channel = ch->number,
		.count = count};
	memcpy(s->requests, requests, count * sizeof *requests);
	for (uint32_t i = 0; i < count; i++) {
		pack(&s->requests[i].name, &at);
		pack(&s->requests[i].extra, &at);
		pack(&s->requests[i].routing_key, &at);
	}
	return s;
}

/* With the arguments of the requests that were not sent. */
static void free_setup(struct setup *s, uint32_t sent)
{
	for (uint32_t i = sent; i < s->count; i++) mr_table_free(s->requests[i].arguments);
	mr_free(s);
}

int mr_setup(mr_channel *ch, uint64_t token, const mr_request *requests, uint32_t count)
{
	mr_runtime *rt = ch->connection->rt;
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	if (!mr_is_token(token) || !count || mr_map_get(&rt->setups, token)) return MR_BAD_ARGUMENT;
	for (uint32_t i = 0; i < count; i++)
		if (!is_fit(&requests[i])) return MR_BAD_ARGUMENT;
	struct setup *s = copy(ch, requests, count);
	if (!s || mr_map_put(&rt->setups, token, s) != MR_OK) {
		mr_free(s);
		return MR_NO_MEMORY;
	}
	int st = mr_channel_request(ch, token, &s->requests[0]);
	if (st == MR_OK) return MR_OK;
	mr_map_take(&rt->setups, token);
	mr_free(s); /* the arguments are the caller's still */
	return st;
}

/* "request 3 (queue.bind): ..." */
static void name_failure(mr_error *error, uint32_t index, int operation)
{
	static const char *const names[] = {"", "exchange.declare", "exchange.delete",
		"exchange.bind", "exchange.unbind", "queue.declare", "queue.bind", "queue.unbind",
		"queue.purge", "queue.delete", "basic.qos", "basic.consume", "basic.cancel", "",
		"basic.recover", "confirm.select", "tx.select", "tx.commit", "tx.rollback"};
	mr_error cause = *error;
	snprintf(error->text, sizeof error->text, "request %u (%s): %.440s", index,
		names[operation], cause.text);
}

static void end(mr_event *ev, const struct setup *s)
{
	mr_reply *reply = ev->as.done.reply;
	if (!reply) ev->as.done.reply = reply = mr_calloc(1, sizeof *reply);
	if (!reply) return;
	if (ev->status != MR_OK) {
		if (!reply->error.kind)
			mr_error_set(&reply->error, (enum mr_status)ev->status, MR_SCOPE_CHANNEL, 0,
				"%s", mr_status_text(ev->status));
		name_failure(&reply->error, s->done, s->requests[s->done].operation);
	}
	reply->message_count = s->done;
	reply->consumer_count = 0;
	reply->name_size = s->name_size;
	memcpy(reply->name, s->name, sizeof reply->name);
}

static void note_name(struct setup *s, const mr_reply *reply)
{
	if (s->requests[s->done].operation != MR_QUEUE_DECLARE || !reply) return;
	s->name_size = reply->name_size;
	memcpy(s->name, reply->name, sizeof s->name);
}

static int send_next(mr_runtime *rt, uint64_t token, struct setup *s)
{
	mr_channel *ch = mr_handle_find_channel(rt, s->connection, s->channel, s->epoch);
	return ch ? mr_channel_request(ch, token, &s->requests[s->done]) : MR_CLOSED;
}

bool mr_setup_answer(mr_runtime *rt, mr_event *ev)
{
	uint64_t token = ev->as.done.token;
	struct setup *s = mr_map_get(&rt->setups, token);
	if (!s) return true;
	uint32_t sent = s->done + 1;
	if (ev->status == MR_OK) {
		note_name(s, ev->as.done.reply);
		s->done++;
		if (s->done < s->count) {
			ev->status = send_next(rt, token, s);
			if (ev->status == MR_OK) return false;
		}
	}
	mr_map_take(&rt->setups, token);
	end(ev, s);
	free_setup(s, sent);
	return true;
}

void mr_setup_free_all(mr_runtime *rt)
{
	struct setup *s;
	size_t at = 0;
	while ((s = mr_map_next(&rt->setups, &at, NULL))) free_setup(s, s->done + 1);
	mr_map_fini(&rt->setups);
}
