/* fanout: fanout exchanges, by PUBLISH and PSUBSCRIBE, as kombu has them.
 * SPDX-License-Identifier: MIT */
#include "redis/fanout.h"

#include <string.h>

#include "base/alloc.h"
#include "broker/store/dead_letter.h"
#include "broker/store/pump.h"
#include "broker/store/reply_error.h"
#include "redis/ask.h"
#include "redis/window.h"

struct mr_subscription { /* to the channels of one pattern; in the map while a queue needs it */
	struct mr_redis_store *redis;
	struct mr_node hearings; /* of queues that it is for */
	unsigned asked;          /* answers that are due: it is freed after them */
	bool is_over;            /* no queue needs it any more */
	bool is_answered;        /* on this connection */
	bool is_heard;           /* and confirmed */
	uint64_t number;         /* the last message that came by it */
	size_t size;
	char pattern[];
};

struct hearing { /* a queue that needs a subscription, by one binding or more */
	struct mr_node at_subscription, at_window;
	struct mr_subscription *subscription;
	struct mr_window *window;
	size_t bindings;
};

struct joining {                   /* a bind that waits for two answers, or three */
	struct mr_promise promise; /* first: of kombu's table; has what is told in the end */
	struct mr_promise *told;
	struct mr_node node;
	struct mr_subscription *waits[2];
	bool is_noted; /* in kombu's table */
};

static mr_slice pattern_of(const void *subscription)
{
	const struct mr_subscription *s = subscription;
	return mr_slice_of(s->pattern, s->size);
}

static mr_slice name_in(const struct mr_buffer *b)
{
	return mr_slice_of((const char *)mr_buffer_data(b), mr_buffer_size(b));
}

/* ---- names ---- */

/* Without a key also those of all keys: in AMQP a fanout exchange has none. Returns how many; 0: no memory. */
static size_t patterns_of(struct mr_redis_store *r, const struct mr_exchange *x, mr_slice key,
	mr_slice out[2])
{
	struct mr_fanout *f = &r->fanout;
	const mr_slice keys[2] = {key, mr_slice_str("*")};
	size_t count = key.size || !f->layout.fanout_patterns ? 1 : 2;
	for (size_t i = 0; i < count; i++) {
		struct mr_buffer *name = &f->names[i];
		mr_buffer_consume(name, mr_buffer_size(name));
		if (mr_layout_subscription(name, &f->layout, mr_slice_str(x->name), keys[i]) !=
			MR_OK)
			return 0;
		out[i] = name_in(name);
	}
	return count;
}

bool mr_fanout_channel(struct mr_redis_store *r, const struct mr_exchange *x,
	const struct mr_message *m, mr_slice *out)
{
	struct mr_buffer *name = &r->fanout.names[0];
	mr_buffer_consume(name, mr_buffer_size(name));
	enum mr_status st = mr_layout_channel(name, &r->fanout.layout, mr_slice_str(x->name),
		mr_message_key(m));
	*out = name_in(name);
	return st == MR_OK;
}

void mr_fanout_publish(struct mr_redis_store *r, const struct mr_exchange *x,
	const struct mr_message *m, mr_slice text, struct mr_promise *p)
{
	mr_slice words[] = {mr_slice_str("PUBLISH"), {0}, text};
	if (mr_fanout_channel(r, x, m, &words[1]))
		mr_ask_send(r, words, 3, p);
	else
		mr_backing_refuse(p, 506, "out of memory");
}

/* ---- binds that wait ---- */

static void finish_if_over(struct joining *j)
{
	struct mr_promise *p = j->told;
	if (!j->is_noted || j->waits[0] || j->waits[1]) return;
	p->status = j->promise.status;
	p->error = j->promise.error;
	p->is_lost = j->promise.is_lost;
	mr_list_remove(&j->node);
	mr_free(j);
	p->told(p);
}

static void noted(struct mr_promise *p)
{
	struct joining *j = mr_container(p, struct joining, promise);
	j->is_noted = true;
	if (p->status != MR_OK) j->waits[0] = j->waits[1] = NULL;
	finish_if_over(j);
}

/* Fails those that wait for a subscription. */
static void fail(struct mr_redis_store *r, const mr_error *why, bool is_lost)
{
	struct mr_node *all = &r->fanout.joining;
	for (struct mr_node *n = all->next, *next; n != all; n = next) {
		struct joining *j = mr_container(n, struct joining, node);
		next = n->next;
		if (!j->waits[0] && !j->waits[1]) continue;
		j->waits[0] = j->waits[1] = NULL;
		j->promise.status = why->kind;
		j->promise.error = *why;
		j->promise.is_lost = is_lost;
		finish_if_over(j);
	}
}

/* Tells those that wait for this subscription. */
static void settle(struct mr_subscription *s, const mr_error *why)
{
	struct mr_node *all = &s->redis->fanout.joining;
	for (struct mr_node *n = all->next, *next; n != all; n = next) {
		struct joining *j = mr_container(n, struct joining, node);
		next = n->next;
		if (j->waits[0] != s && j->waits[1] != s) continue;
		j->waits[j->waits[0] == s ? 0 : 1] = NULL;
		if (why) mr_ask_fail(&j->promise, why);
		finish_if_over(j);
	}
}

/* ---- subscriptions ---- */

static void free_if_over(struct mr_subscription *s)
{
	if (s->is_over && !s->asked) mr_free(s);
}

static void mark_answered(struct mr_subscription *s, const mr_error *why)
{
	if (!s->is_answered) s->redis->fanout.unheard--;
	s->is_answered = true;
	s->is_heard = !why;
}

static void answered(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_subscription *s = context;
	struct mr_redis_store *r = s->redis;
	(void)number;
	s->asked--;
	if (s->is_over) {
		free_if_over(s);
		return;
	}
	if (!reply) return; /* lost: it is asked for again, see mr_fanout_listen */
	r->port.turn(r->port.owner);
	mark_answered(s, why);
	settle(s, why);
	mr_fanout_tell(r);
}

/* False: out of memory. Without the connection it is asked for when that is there. */
static bool ask(struct mr_subscription *s, const char *verb, mr_redis_answer *answer)
{
	mr_slice words[] = {mr_slice_str(verb), pattern_of(s)};
	if (!mr_redis_link_is_up(s->redis->ear)) return true;
	if (mr_redis_link_send(s->redis->ear, words, 2, answer, s, 0) != MR_OK) return false;
	if (answer) s->asked++;
	return true;
}

/* Nobody needs it any more, or it could not be made. */
static void end(struct mr_subscription *s)
{
	mr_map_take_named(&s->redis->fanout.subscriptions, pattern_of(s));
	if (!s->is_answered) s->redis->fanout.unheard--;
	s->is_over = true;
	settle(s, NULL);
	/* Without memory it goes on, and what comes by it is left out. */
	ask(s, "PUNSUBSCRIBE", NULL);
	free_if_over(s);
}

static struct mr_subscription *subscribe(struct mr_redis_store *r, mr_slice pattern)
{
	struct mr_fanout *f = &r->fanout;
	struct mr_subscription *s = mr_map_get_named(&f->subscriptions, pattern);
	if (s) return s;
	s = mr_calloc(1, sizeof *s + pattern.size);
	if (!s) return NULL;
	s->redis = r;
	mr_list_init(&s->hearings);
	s->size = pattern.size;
	memcpy(s->pattern, pattern.data, pattern.size);
	if (mr_map_put_named(&f->subscriptions, s) != MR_OK) {
		mr_free(s);
		return NULL;
	}
	f->unheard++;
	if (ask(s, "PSUBSCRIBE", answered)) return s;
	end(s);
	return NULL;
}

/* ---- who hears ---- */

static struct hearing *find(const struct mr_window *w, mr_slice pattern)
{
	for (struct mr_node *n = w->hearings.next; n != &w->hearings; n = n->next) {
		struct hearing *h = mr_container(n, struct hearing, at_window);
		if (mr_slice_equal(pattern_of(h->subscription), pattern)) return h;
	}
	return NULL;
}

static void drop(struct hearing *h)
{
	struct mr_subscription *s = h->subscription;
	mr_list_remove(&h->at_subscription);
	mr_list_remove(&h->at_window);
	mr_free(h);
	if (mr_list_is_empty(&s->hearings)) end(s);
}

static void leave(struct mr_window *w, mr_slice pattern)
{
	struct hearing *h = find(w, pattern);
	if (h && !--h->bindings) drop(h);
}

/* One binding more of the queue needs the pattern. NULL: out of memory. */
static struct mr_subscription *hear(struct mr_redis_store *r, struct mr_window *w, mr_slice pattern)
{
	struct hearing *h = find(w, pattern);
	if (h) {
		h->bindings++;
		return h->subscription;
	}
	struct mr_subscription *s = subscribe(r, pattern);
	h = s ? mr_calloc(1, sizeof *h) : NULL;
	if (!h) {
		if (s && mr_list_is_empty(&s->hearings)) end(s);
		return NULL;
	}
	*h = (struct hearing){.subscription = s, .window = w, .bindings = 1};
	mr_list_append(&s->hearings, &h->at_subscription);
	mr_list_append(&w->hearings, &h->at_window);
	return s;
}

/* The binding with this key that is not counted yet; NULL: it was made before. */
static struct mr_binding *new_binding(const struct mr_exchange *x, const struct mr_queue *q,
	mr_slice key)
{
	const struct mr_node *all = &q->target.inbound;
	for (struct mr_node *n = all->prev; n != all; n = n->prev) { /* the latest first */
		struct mr_binding *e = mr_container(n, struct mr_binding, at_target);
		if (e->source == x && !e->is_noted && mr_slice_equal(e->key, key)) return e;
	}
	return NULL;
}

/* The subscription of a binding; NULL: out of memory. `e` NULL: it is counted already. */
static struct mr_subscription *get(struct mr_redis_store *r, struct mr_binding *e,
	struct mr_window *w, mr_slice pattern)
{
	struct hearing *h = e ? NULL : find(w, pattern);
	struct mr_subscription *s = h ? h->subscription : hear(r, w, pattern);
	if (!s || s->is_heard || !s->is_answered) return s;
	s->is_answered = false; /* it was refused: it may be granted now */
	r->fanout.unheard++;
	if (ask(s, "PSUBSCRIBE", answered)) return s;
	if (e) leave(w, pattern);
	return NULL;
}

/* Counts the binding, and has `waits` be the subscriptions that Redis has not confirmed. */
static bool join(struct mr_redis_store *r, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_subscription *waits[2])
{
	mr_slice patterns[2];
	struct mr_binding *e = new_binding(x, q, key);
	struct mr_window *w = mr_window_of(r, q);
	size_t done = 0, count = w ? patterns_of(r, x, key, patterns) : 0;
	for (; done < count; done++) {
		waits[done] = get(r, e, w, patterns[done]);
		if (!waits[done]) break;
		if (waits[done]->is_heard) waits[done] = NULL;
	}
	bool is_done = count && done == count;
	if (e) e->is_noted = is_done;
	while (e && !is_done && done) leave(w, patterns[--done]);
	return is_done;
}

struct mr_promise *mr_fanout_join(struct mr_redis_store *r, const struct mr_exchange *x,
	struct mr_queue *q, mr_slice key, struct mr_promise *p)
{
	struct joining *j = mr_calloc(1, sizeof *j);
	if (!j || !join(r, x, q, key, j->waits)) {
		mr_free(j);
		mr_backing_refuse(p, 506, "out of memory");
		return NULL;
	}
	j->promise.told = noted;
	j->told = p;
	mr_list_append(&r->fanout.joining, &j->node);
	return &j->promise;
}

void mr_fanout_unbound(struct mr_backing *b, const struct mr_binding *e)
{
	struct mr_redis_store *r = mr_container(b, struct mr_redis_store, backing);
	struct mr_window *w = e->target->queue->window;
	mr_slice patterns[2];
	size_t count = w ? patterns_of(r, e->source, e->key, patterns) : 0;
	for (size_t i = 0; i < count; i++) leave(w, patterns[i]);
}

void mr_fanout_forget(struct mr_window *w)
{
	while (!mr_list_is_empty(&w->hearings))
		drop(mr_container(w->hearings.next, struct hearing, at_window));
}

/* ---- messages ---- */

/* One message comes by each subscription that its channel fits, one after the other: those of one message have
 * one delivery tag, and each its own pattern. */
static void count_message(struct mr_fanout *f, struct mr_subscription *s, const char *tag)
{
	if (s->number == f->number || strcmp(tag, f->tag) != 0) f->number++;
	s->number = f->number;
	memcpy(f->tag, tag, strlen(tag) + 1);
}

void mr_fanout_heard(struct mr_redis_store *r, const redisReply *message)
{
	const redisReply *by = message->element[1], *text = message->element[3];
	struct mr_fanout *f = &r->fanout;
	struct mr_envelope seen;
	struct mr_message *m = NULL;
	struct mr_subscription *s =
		mr_map_get_named(&f->subscriptions, mr_slice_of(by->str, by->len));
	if (!s || !s->is_heard) return;
	if (mr_window_read(&m, &seen, mr_slice_of(text->str, text->len)) != MR_OK) return;
	count_message(f, s, seen.delivery_tag);
	mr_store_grew(r->store, mr_message_weight(m));
	for (struct mr_node *n = s->hearings.next, *next; n != &s->hearings; n = next) {
		struct mr_window *w = mr_container(n, struct hearing, at_subscription)->window;
		next = n->next;
		if (w->heard == f->number) continue;
		w->heard = f->number;
		mr_pump_in(w->queue, m);
	}
	mr_store_drop(r->store, m);
	mr_dead_letter_bury(r->store);
	mr_store_watch(r->store);
}

/* ---- the connections ---- */

void mr_fanout_tell(struct mr_redis_store *r)
{
	if (!r->is_up || r->is_told || !r->is_met || r->fanout.unheard) return;
	r->is_told = true;
	r->port.up(r->port.owner);
}

void mr_fanout_listen(struct mr_redis_store *r)
{
	struct mr_subscription *s;
	mr_error error = {0};
	size_t at = 0;
	while ((s = mr_map_next(&r->fanout.subscriptions, &at, NULL))) {
		if (ask(s, "PSUBSCRIBE", answered)) continue;
		mr_reply_error(&error, 506, "out of memory");
		mark_answered(s, &error);
	}
}

void mr_fanout_deafen(struct mr_redis_store *r, const mr_error *why)
{
	struct mr_subscription *s;
	mr_error error = {0};
	size_t at = 0;
	while ((s = mr_map_next(&r->fanout.subscriptions, &at, NULL)))
		s->is_answered = s->is_heard = false;
	r->fanout.unheard = r->fanout.subscriptions.count;
	mr_reply_error(&error, 320, "the connection for fanout exchanges: %s", why->text);
	fail(r, &error, false);
}

void mr_fanout_lose(struct mr_redis_store *r)
{
	mr_error error = {0};
	mr_reply_error(&error, 320, "the store is not reached");
	fail(r, &error, true);
}

/* ---- life ---- */

enum mr_status mr_fanout_init(struct mr_redis_store *r, const char *prefix, bool patterns,
	int64_t db)
{
	struct mr_fanout *f = &r->fanout;
	f->subscriptions.name_of = pattern_of;
	f->prefix = mr_strdup_n(prefix, strlen(prefix));
	if (!f->prefix) return MR_NO_MEMORY;
	mr_layout_init(&f->layout);
	f->layout.prefix = mr_slice_str(r->prefix);
	f->layout.fanout_prefix = mr_slice_str(f->prefix);
	f->layout.fanout_patterns = patterns;
	f->layout.db = (int)db;
	return MR_OK;
}

void mr_fanout_free_all(struct mr_redis_store *r)
{
	struct mr_subscription *s;
	struct mr_fanout *f = &r->fanout;
	size_t at = 0;
	mr_fanout_lose(r);
	while ((s = mr_map_next(&f->subscriptions, &at, NULL))) {
		while (!mr_list_is_empty(&s->hearings)) {
			struct hearing *h =
				mr_container(s->hearings.next, struct hearing, at_subscription);
			mr_list_remove(&h->at_subscription);
			mr_list_remove(&h->at_window);
			mr_free(h);
		}
		mr_free(s);
	}
	mr_map_fini(&f->subscriptions);
	mr_buffer_fini(&f->names[0]);
	mr_buffer_fini(&f->names[1]);
	mr_free(f->prefix);
}
