/* window: the messages of a queue that were fetched from Redis for its receivers.
 * SPDX-License-Identifier: MIT */
#include "redis/window.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/store/pump.h"
#include "broker/store/receiver.h"
#include "redis/ask.h"
#include "redis/envelope.h"
#include "redis/taken.h"

#define REST                                                                                       \
	20 /* rounds, to twice as many: then a queue is asked again, should a notice have been lost */
#define TAKE_BYTES "1048576" /* of one answer, and one message: then it is asked again */

struct fetch { /* a TAKE whose answer is due */
	struct mr_redis_store *redis;
	struct mr_window *window;
	struct mr_promise *promise; /* of a get; or NULL */
	size_t most;
	mr_msec sent;
};

static struct mr_redis_store *redis_of(struct mr_backing *b)
{
	return mr_container(b, struct mr_redis_store, backing);
}

struct mr_window *mr_window_of(struct mr_redis_store *r, struct mr_queue *q)
{
	if (q->window) return q->window;
	struct mr_window *w = mr_calloc(1, sizeof *w);
	if (!w) return NULL;
	w->queue = q;
	mr_list_init(&w->hearings);
	q->window = w;
	mr_list_append(&r->windows, &w->node);
	return w;
}

static void free_if_over(struct mr_window *w)
{
	if (w->queue || w->asked) return;
	mr_list_remove(&w->node);
	mr_free(w);
}

void mr_window_forget(struct mr_backing *b, struct mr_queue *q)
{
	struct mr_window *w = q->window;
	if (q->exclusive || q->auto_delete) b->class->purge(b, q, true, NULL);
	if (!w) return;
	q->window = NULL;
	w->queue = NULL;
	free_if_over(w);
}

/* ---- arrivals ---- */

static struct mr_taken *new_taken(struct mr_redis_store *r, const redisReply *tag)
{
	struct mr_taken *t = mr_calloc(1, sizeof *t + tag->len + 1);
	if (!t) return NULL;
	t->redis = r;
	t->number = ++r->taken_count;
	memcpy(t->tag, tag->str, tag->len);
	mr_list_append(&r->taken, &t->node);
	return t;
}

/* Its queue has been deleted meanwhile, and it with it. */
static void drop(struct mr_redis_store *r, const redisReply *tag)
{
	struct mr_taken *t = new_taken(r, tag);
	if (t) mr_taken_done(&r->backing, t);
}

struct aside {                     /* a message that cannot be read */
	struct mr_promise promise; /* first */
	struct mr_taken *taken;    /* acked when it is moved */
};

static void moved_aside(struct mr_promise *p)
{
	struct aside *a = mr_container(p, struct aside, promise);
	if (p->status == MR_OK)
		mr_taken_done(&a->taken->redis->backing, a->taken);
	else
		mr_taken_leave(a->taken);
	mr_free(a);
}

/* One that cannot be read is moved aside, so that it does not come again and again. */
static void put_aside(struct mr_redis_store *r, const redisReply *tag, const redisReply *text)
{
	char room[MR_REDIS_KEY_MAX];
	mr_slice words[] = {mr_slice_str("LPUSH"),
		mr_ask_key(r, MR_REDIS_INVALID, (mr_slice){0}, room),
		mr_slice_of(text->str, text->len)};
	struct aside *a = mr_calloc(1, sizeof *a);
	struct mr_taken *t = a ? new_taken(r, tag) : NULL;
	if (t) {
		*a = (struct aside){{.told = moved_aside}, t};
		mr_ask_send(r, words, 3, &a->promise);
	} else {
		mr_free(a); /* it comes back after the visibility timeout */
	}
}

/* It was another login's: only its form is checked. */
static mr_slice user_of(const struct mr_message *m)
{
	struct mr_parts parts;
	if (!mr_parts_split(mr_message_properties(m), &parts)) return (mr_slice){0};
	return mr_part_text(&parts, MR_PART_USER_ID);
}

/* A time of Unix as one of ours. */
static mr_msec until(const struct mr_redis_store *r, int64_t time)
{
	int64_t now = mr_ask_time();
	if (time == INT64_MAX) return MR_NEVER;
	return time > now ? r->store->now + (time - now) : r->store->now;
}

enum mr_status mr_window_read(struct mr_message **out, struct mr_envelope *seen, mr_slice text)
{
	mr_error error = {0};
	struct mr_message *m = NULL;
	enum mr_status st = mr_envelope_read(&m, seen, text, &error);
	if (st == MR_OK) st = mr_message_inspect(&m, user_of(m), NULL, &error);
	if (st == MR_OK)
		*out = m;
	else
		mr_message_drop(m);
	return st;
}

static void arrive(struct mr_redis_store *r, struct mr_queue *q, const redisReply *tag,
	const redisReply *text)
{
	struct mr_envelope seen;
	struct mr_message *m = NULL;
	enum mr_status st = mr_window_read(&m, &seen, mr_slice_of(text->str, text->len));
	if (st != MR_OK && st != MR_NO_MEMORY) {
		put_aside(r, tag, text);
		return;
	}
	struct mr_taken *t = st == MR_OK ? new_taken(r, tag) : NULL;
	if (t) t->step = (uint8_t)mr_ask_step(r, m->priority);
	if (m) mr_store_grew(r->store, mr_message_weight(m));
	bool is_in = t && mr_queue_arrive(q, m, t, until(r, seen.expires), seen.redelivered);
	if (t && !is_in) mr_taken_back(&r->backing, q, t);
	if (m) mr_store_drop(r->store, m);
}

static void watch(struct mr_redis_store *r, struct mr_window *w);

/* Of a get: the message is in the queue already, and the last element says how many are left. */
static void tell(struct mr_promise *p, const redisReply *reply, const mr_error *why)
{
	if (!reply) {
		mr_backing_lose(p);
		return;
	}
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements)
		p->count = (size_t)reply->element[reply->elements - 1]->integer;
	if (why) mr_ask_fail(p, why);
	p->told(p);
}

static void serve(struct mr_queue *q, bool has_answer)
{
	mr_queue_pin(q);
	if (has_answer) mr_pump(q);
	if (has_answer && !q->consumer_count)
		mr_queue_return_all(q); /* who asked has gone meanwhile */
	mr_receiver_pass(q);
	mr_queue_unpin(q);
}

/* Redis may have executed it: see mr_taken_reclaim. */
static void doubt(struct mr_redis_store *r, const struct fetch *f)
{
	bool is_first = !r->is_in_doubt && !*r->doubted;
	if (is_first || f->sent < r->doubtful) r->doubtful = f->sent;
	r->is_in_doubt = true;
}

static void took(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct fetch *f = context;
	struct mr_redis_store *r = f->redis;
	struct mr_window *w = f->window;
	struct mr_queue *q = w->queue;
	size_t count = reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements / 2 : 0;
	(void)number;
	r->port.turn(r->port.owner);
	mr_ask_heal(r, reply);
	for (size_t i = 0; i < count; i++) {
		const redisReply *tag = reply->element[2 * i], *text = reply->element[2 * i + 1];
		if (q)
			arrive(r, q, tag, text);
		else
			drop(r, tag);
	}
	if (!reply) doubt(r, f);
	w->asked--;
	r->answers++;
	if (f->promise) tell(f->promise, reply, why);
	w->is_watched = false;
	if (why) w->is_dry = true; /* it is asked again when there is time: see mr_window_round */
	if (w->queue && !why && !f->promise && count < f->most) watch(r, w);
	if (w->queue) serve(q, !why);
	free_if_over(w);
	mr_free(f);
}

static bool ask(struct mr_redis_store *r, struct mr_window *w, size_t most, struct mr_promise *p)
{
	char rooms[MR_REDIS_STEPS_MAX + 2][MR_REDIS_KEY_MAX], number[32], keys[32];
	mr_slice words[MR_REDIS_STEPS_MAX + 10];
	int count = 0;
	struct fetch *f = mr_calloc(1, sizeof *f);
	if (!f) return false;
	mr_taken_return(r, true);
	*f = (struct fetch){r, w, p, most, mr_clock_now()};
	snprintf(number, sizeof number, "%zu", most);
	snprintf(keys, sizeof keys, "%d", r->step_count + 2);
	words[count++] = mr_slice_str("EVALSHA");
	words[count++] = mr_slice_str(r->sha[MR_SCRIPT_TAKE]);
	words[count++] = mr_slice_str(keys);
	for (int i = 0; i < r->step_count; i++)
		words[count++] = mr_ask_list(r, mr_queue_name(w->queue), i, rooms[i]);
	words[count++] = mr_ask_key(r, "unacked", (mr_slice){0}, rooms[r->step_count]);
	words[count++] = mr_ask_key(r, "unacked_index", (mr_slice){0}, rooms[r->step_count + 1]);
	words[count++] = mr_slice_str(number);
	words[count++] = mr_queue_name(w->queue);
	words[count++] = mr_slice_str(TAKE_BYTES);
	words[count++] = mr_slice_str(r->taker);
	if (p) words[count++] = mr_slice_str("count");
	if (mr_redis_link_send(r->link, words, (size_t)count, took, f, 0) != MR_OK) {
		mr_free(f);
		return false;
	}
	w->asked++;
	r->takes++;
	return true;
}

void mr_window_fetch(struct mr_backing *b, struct mr_queue *q, size_t most)
{
	struct mr_redis_store *r = redis_of(b);
	struct mr_window *w = mr_window_of(r, q);
	if (!r->is_up || !w || w->asked || w->is_dry) return;
	w->is_watched = false;
	if (q->put_off || !ask(r, w, most, NULL))
		w->is_dry =
			true; /* see mr_window_round: without memory, or its dead letters wait */
}

bool mr_window_is_empty(struct mr_backing *b, const struct mr_queue *q)
{
	(void)b;
	return q->window && q->window->is_dry && !q->window->asked;
}

void mr_window_get(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	struct mr_redis_store *r = redis_of(b);
	struct mr_window *w = mr_window_of(r, q);
	if (!r->is_up || !mr_redis_link_is_up(r->link))
		mr_backing_lose(p);
	else if (!w || !ask(r, w, 1, p))
		mr_backing_refuse(p, 506, "out of memory");
}

/* ---- changes ---- */

/* How many there are, after all: the server remembers that it was asked, and tells of the next change. */
static void watched(struct mr_promise *p);

struct watch {
	struct mr_promise promise; /* first */
	struct mr_redis_store *redis;
	struct mr_window *window;
};

static void watched(struct mr_promise *p)
{
	struct watch *x = mr_container(p, struct watch, promise);
	struct mr_window *w = x->window;
	w->asked--;
	w->is_dry = p->status != MR_OK || (!p->count && !w->has_changed);
	w->is_watched = w->is_dry && p->status == MR_OK;
	if (w->queue && !w->is_dry) mr_pump(w->queue);
	if (w->queue) mr_receiver_pass(w->queue);
	free_if_over(w);
	mr_free(x);
}

static void watch(struct mr_redis_store *r, struct mr_window *w)
{
	char rooms[MR_REDIS_STEPS_MAX][MR_REDIS_KEY_MAX];
	mr_slice words[MR_REDIS_STEPS_MAX + 1];
	struct watch *x = mr_calloc(1, sizeof *x);
	w->is_dry = true; /* without memory the next look at all dry ones helps */
	w->has_changed = false;
	w->again = r->round + REST + r->takes % REST; /* not all at once */
	w->is_watched = w->is_watched && x;
	if (!x) return;
	*x = (struct watch){{.told = watched}, r, w};
	words[0] = mr_slice_str("EXISTS");
	for (int i = 0; i < r->step_count; i++)
		words[i + 1] = mr_ask_list(r, mr_queue_name(w->queue), i, rooms[i]);
	w->asked++;
	mr_ask_send(r, words, r->step_count + 1, &x->promise);
}

static void look(struct mr_window *w)
{
	struct mr_queue *q = w->queue;
	if (!q || !w->is_dry) return;
	w->has_changed = true; /* the answer that is due may be older */
	w->is_dry = w->is_watched = false;
	mr_queue_pin(q);
	mr_pump(q);
	mr_queue_unpin(q);
}

/* Is it the key of one of its lists? Its name, and the separator before a priority. */
static bool has_list(const struct mr_redis_store *r, const struct mr_window *w, mr_slice key)
{
	mr_slice name = mr_queue_name(w->queue);
	size_t prefix = strlen(r->prefix), size = prefix + name.size;
	if (key.size < size || memcmp(key.data, r->prefix, prefix) != 0 ||
		memcmp(key.data + prefix, name.data, name.size) != 0)
		return false;
	return key.size == size || key.data[size] == *MR_LAYOUT_SEPARATOR;
}

void mr_window_changed(struct mr_redis_store *r, mr_slice key)
{
	for (struct mr_node *n = r->windows.next, *next; n != &r->windows; n = next) {
		struct mr_window *w = mr_container(n, struct mr_window, node);
		next = n->next;
		if (w->queue && w->is_dry && has_list(r, w, key)) look(w);
	}
}

void mr_window_round(struct mr_redis_store *r)
{
	r->round++;
	for (struct mr_node *n = r->windows.next, *next; n != &r->windows; n = next) {
		struct mr_window *w = mr_container(n, struct mr_window, node);
		next = n->next;
		bool rests = w->is_watched && r->is_tracked;
		if (!rests)
			look(w);
		else if (w->queue && w->is_dry && !w->asked && w->again <= r->round)
			watch(r, w);
	}
}

void mr_window_look_again(struct mr_redis_store *r)
{
	for (struct mr_node *n = r->windows.next, *next; n != &r->windows; n = next) {
		next = n->next;
		look(mr_container(n, struct mr_window, node));
	}
}

void mr_window_free_all(struct mr_redis_store *r)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&r->windows))) {
		struct mr_window *w = mr_container(node, struct mr_window, node);
		if (w->queue) w->queue->window = NULL;
		mr_free(w);
	}
}
