/* store: a Redis server as the backing of a store, in kombu's layout.
 * SPDX-License-Identifier: MIT */
#include "redis/store.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/store/exchange.h"
#include "redis/ask.h"
#include "redis/delayed.h"
#include "redis/envelope.h"
#include "redis/fanout.h"
#include "redis/hello.h"
#include "redis/layout.h"
#include "redis/taken.h"
#include "redis/window.h"

#define ROUND 1.0       /* s between two looks at what only time tells */
#define TEXT_KEPT 65536 /* bytes for an envelope that are not given back after a large one */
#define INVALIDATE "__redis__:invalidate"

static struct mr_redis_store *redis_of(struct mr_backing *b)
{
	return mr_container(b, struct mr_redis_store, backing);
}

/* ---- publishing ---- */

/* A UUID as kombu's: unique among all that publish, by its random part, and here, by its count. */
static void next_tag(struct mr_redis_store *r, char room[40])
{
	uint64_t high = r->tag_high, low = r->tag_low++;
	snprintf(room, 40, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(high >> 32),
		(unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xfff),
		(unsigned)(0x8000 | (low >> 48 & 0x3fff)),
		(unsigned long long)(low & 0xffffffffffffull));
}

/* The envelope of a message in r->text. False: JSON cannot hold it, or there is no memory; `p` was told. */
static bool write_text(struct mr_redis_store *r, const struct mr_message *m, struct mr_promise *p,
	mr_slice *out)
{
	struct mr_envelope as = {.expires = INT64_MAX};
	mr_error error = {0};
	mr_buffer_consume(&r->text, mr_buffer_size(&r->text));
	next_tag(r, as.delivery_tag);
	if (m->expiration != MR_NO_EXPIRATION) as.expires = mr_ask_time() + (int64_t)m->expiration;
	enum mr_status st = mr_envelope_write(&r->text, m, &as, &error);
	*out = mr_slice_of((const char *)mr_buffer_data(&r->text), mr_buffer_size(&r->text));
	if (st == MR_OK) return true;
	if (!p) return false;
	p->status = st;
	p->error = error;
	p->told(p);
	return false;
}

static bool is_reply(mr_slice key)
{
	static const char prefix[] = MR_REPLY_QUEUE ".";
	return key.size > sizeof prefix && !memcmp(key.data, prefix, sizeof prefix - 1);
}

/* Who asked may have gone: nobody deletes the list of its answers then. */
static void expire(struct mr_redis_store *r, mr_slice list)
{
	char ms[24];
	snprintf(ms, sizeof ms, "%lld", (long long)r->visibility);
	mr_slice words[] = {mr_slice_str("PEXPIRE"), list, mr_slice_str(ms)};
	mr_ask_send(r, words, 3, NULL);
}

static void publish(struct mr_backing *b, const struct mr_exchange *x, const struct mr_message *m,
	struct mr_promise *p)
{
	struct mr_redis_store *r = redis_of(b);
	char room[MR_REDIS_KEY_MAX], suffix[16] = "";
	mr_slice text;
	if (!write_text(r, m, p, &text)) return;
	if (x->type == MR_X_FANOUT) {
		mr_fanout_publish(r, x, m, text, p);
		return;
	}
	int step = mr_ask_step(r, m->priority);
	if (!*x->name) {
		mr_slice list = mr_ask_list(r, mr_message_key(m), step, room);
		mr_slice words[] = {mr_slice_str("LPUSH"), list, text};
		mr_ask_send(r, words, 3, p);
		if (is_reply(mr_message_key(m))) expire(r, list);
		return;
	}
	if (r->steps[step])
		snprintf(suffix, sizeof suffix, MR_LAYOUT_SEPARATOR "%d", r->steps[step]);
	mr_slice words[] = {mr_slice_str("EVALSHA"), mr_slice_str(r->sha[MR_SCRIPT_ROUTE]),
		mr_slice_str("1"), mr_ask_key(r, "_kombu.binding.", mr_slice_str(x->name), room),
		mr_message_key(m), text, mr_slice_str(r->prefix), mr_slice_str(suffix)};
	mr_ask_send(r, words, sizeof words / sizeof *words, p);
}

static void delay(struct mr_backing *b, const struct mr_exchange *x, const struct mr_message *m,
	uint64_t ms, struct mr_promise *p)
{
	struct mr_redis_store *r = redis_of(b);
	struct mr_delayed d = {.exchange = mr_slice_str(x->name),
		.key = mr_message_key(m),
		.step = r->steps[mr_ask_step(r, m->priority)]};
	if (x->type == MR_X_FANOUT) {
		d = (struct mr_delayed){.step = -1};
		if (!mr_fanout_channel(r, x, m, &d.exchange)) {
			mr_backing_refuse(p, 506, "out of memory");
			return;
		}
	}
	if (write_text(r, m, p, &d.text)) mr_delayed_put(r, &d, ms, p);
}

/* ---- queues and bindings ---- */

static void on_lists(struct mr_redis_store *r, enum mr_redis_script script,
	const struct mr_queue *q, struct mr_promise *p)
{
	char rooms[MR_REDIS_STEPS_MAX][MR_REDIS_KEY_MAX], keys[16];
	mr_slice words[MR_REDIS_STEPS_MAX + 3];
	int count = 0;
	mr_taken_return(r, true);
	snprintf(keys, sizeof keys, "%d", r->step_count);
	words[count++] = mr_slice_str("EVALSHA");
	words[count++] = mr_slice_str(r->sha[script]);
	words[count++] = mr_slice_str(keys);
	for (int i = 0; i < r->step_count; i++)
		words[count++] = mr_ask_list(r, mr_queue_name(q), i, rooms[i]);
	mr_ask_send(r, words, count, p);
}

static void count(struct mr_backing *b, struct mr_queue *q, struct mr_promise *p)
{
	on_lists(redis_of(b), MR_SCRIPT_COUNT, q, p);
}

/* kombu's member of a table of bindings: key, pattern, queue. */
static void change_binding(struct mr_redis_store *r, const char *verb, const struct mr_exchange *x,
	const struct mr_queue *q, mr_slice key, struct mr_promise *p)
{
	char room[MR_REDIS_KEY_MAX];
	struct mr_buffer *text = &r->text;
	mr_buffer_consume(text, mr_buffer_size(text));
	enum mr_status st = mr_buffer_append(text, key.data, key.size);
	if (st == MR_OK) st = mr_buffer_append(text, MR_LAYOUT_SEPARATOR, 2);
	if (st == MR_OK && x->type == MR_X_TOPIC) st = mr_layout_pattern(text, key);
	if (st == MR_OK) st = mr_buffer_append(text, MR_LAYOUT_SEPARATOR, 2);
	if (st == MR_OK) st = mr_buffer_append(text, q->name, strlen(q->name));
	if (st != MR_OK) {
		mr_backing_refuse(p, 506, "out of memory");
		return;
	}
	mr_slice words[] = {mr_slice_str(verb),
		mr_ask_key(r, "_kombu.binding.", mr_slice_str(x->name), room),
		mr_slice_of((const char *)mr_buffer_data(text), mr_buffer_size(text))};
	mr_ask_send(r, words, 3, p);
}

static void bind_queue(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	struct mr_redis_store *r = redis_of(b);
	if (x->type == MR_X_FANOUT) p = mr_fanout_join(r, x, q, key, p);
	if (p) change_binding(r, "SADD", x, q, key, p);
}

static void unbind_queue(struct mr_backing *b, const struct mr_exchange *x, struct mr_queue *q,
	mr_slice key, struct mr_promise *p)
{
	change_binding(redis_of(b), "SREM", x, q, key, p);
}

static void purge(struct mr_backing *b, struct mr_queue *q, bool whole, struct mr_promise *p)
{
	struct mr_redis_store *r = redis_of(b);
	const struct mr_node *all = &q->target.inbound;
	for (const struct mr_node *n = all->next; whole && n != all; n = n->next) {
		const struct mr_binding *e = mr_container(n, const struct mr_binding, at_target);
		if (*e->source->name) change_binding(r, "SREM", e->source, q, e->key, NULL);
	}
	on_lists(r, MR_SCRIPT_PURGE, q, p);
}

static void forget(struct mr_backing *b, struct mr_queue *q)
{
	if (q->window) mr_fanout_forget(q->window);
	mr_window_forget(b, q);
}

static const struct mr_backing_class class = {publish, delay, mr_window_fetch, mr_window_is_empty,
	mr_window_get, mr_taken_done, mr_taken_back, count, bind_queue, unbind_queue, purge, forget,
	mr_fanout_unbound};

/* ---- the connections ---- */

/* Changes of before are not told any more: what is dry is asked again. */
static void tracked(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	if (!reply) return;
	r->is_tracked = !why && number == (uint64_t)r->ear_id; /* it may be another one meanwhile */
	r->port.turn(r->port.owner);
	mr_window_look_again(r);
}

/* Changes of lists that r->link has asked for are told to the other connection, its own, too: it publishes
 * to queues that it consumes from. Either may have come last, and come again without the other. */
static void track(struct mr_redis_store *r)
{
	char id[32];
	if (!r->is_up || !r->ear_id) return;
	snprintf(id, sizeof id, "%lld", r->ear_id);
	mr_slice words[] = {mr_slice_str("CLIENT"), mr_slice_str("TRACKING"), mr_slice_str("ON"),
		mr_slice_str("REDIRECT"), mr_slice_str(id)};
	mr_redis_link_send(r->link, words, sizeof words / sizeof *words, tracked, r,
		(uint64_t)r->ear_id);
}

static void on_up(void *owner)
{
	struct mr_redis_store *r = owner;
	r->port.turn(r->port.owner);
	r->is_up = true;
	mr_redis_link_follow(r->ear, r->link);
	mr_ask_load(r);
	track(r);
	mr_redis_link_hurry(r->ear);
	mr_taken_resume(r);
	mr_taken_reclaim(r);
	mr_hello_send(r);
	mr_fanout_tell(r);
}

static void on_down(void *owner, const mr_error *why)
{
	struct mr_redis_store *r = owner;
	r->port.turn(r->port.owner);
	r->is_up = r->is_told = r->is_met = r->is_tracked = false;
	mr_fanout_lose(r);
	for (struct mr_node *n = r->windows.next; n != &r->windows; n = n->next)
		mr_container(n, struct mr_window, node)->is_dry = false;
	r->port.down(r->port.owner, why);
}

static void on_ear_id(void *context, uint64_t number, const redisReply *reply, const mr_error *why)
{
	struct mr_redis_store *r = context;
	(void)number;
	if (!why && reply && reply->type == REDIS_REPLY_INTEGER) r->ear_id = reply->integer;
}

static void on_subscribed(void *context, uint64_t number, const redisReply *reply,
	const mr_error *why)
{
	(void)number;
	if (reply && !why) track(context);
}

static void on_ear_up(void *owner)
{
	struct mr_redis_store *r = owner;
	r->ear_why = (mr_error){0};
	mr_slice id[] = {mr_slice_str("CLIENT"), mr_slice_str("ID")};
	mr_slice invalidate[] = {mr_slice_str("SUBSCRIBE"), mr_slice_str(INVALIDATE)};
	mr_redis_link_send(r->ear, id, 2, on_ear_id, r, 0);
	mr_redis_link_send(r->ear, invalidate, 2, on_subscribed, r, 0);
	mr_fanout_listen(r);
}

static void on_ear_down(void *owner, const mr_error *why)
{
	struct mr_redis_store *r = owner;
	r->port.turn(r->port.owner);
	r->ear_id = 0;
	r->ear_why = *why;
	r->is_tracked = false;
	mr_fanout_deafen(r, why);
	if (r->is_up && !r->is_told) r->port.down(r->port.owner, why);
}

/* "message", the channel, and the keys; none if all are to be asked again. "pmessage" is a fanout exchange's. */
static void on_pushed(void *owner, const redisReply *reply)
{
	struct mr_redis_store *r = owner;
	r->port.turn(r->port.owner);
	if (reply->elements == 4) mr_fanout_heard(r, reply);
	if (reply->elements != 3) return;
	const redisReply *keys = reply->element[2];
	if (keys->type != REDIS_REPLY_ARRAY) {
		mr_window_look_again(r);
		return;
	}
	for (size_t i = 0; i < keys->elements; i++)
		mr_window_changed(r, mr_slice_of(keys->element[i]->str, keys->element[i]->len));
}

/* ---- time ---- */

static void on_round(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_redis_store *r = timer->data;
	(void)loop;
	(void)revents;
	r->port.turn(r->port.owner);
	mr_buffer_consume(&r->text, mr_buffer_size(&r->text));
	mr_buffer_trim(&r->text, TEXT_KEPT);
	if (!r->is_up) return;
	mr_fanout_tell(r);
	mr_taken_resume(r);
	if (*r->doubted) mr_taken_reclaim(r);
	mr_window_round(r);
	mr_delayed_move(r);
	r->port.round(r->port.owner);
	mr_msec now = mr_clock_now();
	if (now - r->renewed < r->visibility / 4) return;
	r->renewed = now;
	mr_taken_renew(r);
	mr_taken_restore(r);
}

size_t mr_redis_store_unsent(const struct mr_redis_store *r)
{
	return mr_redis_link_unsent(r->link);
}

bool mr_redis_store_is_busy(const struct mr_redis_store *r)
{
	return r->is_up &&
	       (mr_redis_link_pending(r->link) || r->ack_count || !mr_list_is_empty(&r->backs) ||
		       !mr_list_is_empty(&r->returning));
}

void mr_redis_store_hurry(struct mr_redis_store *r)
{
	mr_redis_link_hurry(r->link);
	if (r->is_up) mr_redis_link_hurry(r->ear); /* else it does not know where to go */
}

void mr_redis_store_flush(struct mr_redis_store *r)
{
	mr_taken_flush(r);
	mr_redis_link_flush(r->link);
}

/* ---- life ---- */

/* The name under which the server keeps a script. False: OpenSSL has no memory. */
static bool name_script(char out[41], const char *text)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (!EVP_Digest(text, strlen(text), sum, &size, EVP_sha1(), NULL) || size != 20)
		return false;
	for (unsigned i = 0; i < size; i++) snprintf(out + 2 * i, 3, "%02x", sum[i]);
	return true;
}

static enum mr_status prepare(struct mr_redis_store *r, const struct mr_redis_store_options *o)
{
	uint64_t random[2] = {0};
	r->prefix = mr_strdup_n(o->prefix, strlen(o->prefix));
	r->visibility = o->visibility;
	r->step_count = o->step_count;
	memcpy(r->steps, o->steps, sizeof r->steps);
	for (int i = 0; i < MR_SCRIPT_MAX; i++)
		if (!name_script(r->sha[i], mr_scripts_text((enum mr_redis_script)i)))
			return MR_NO_MEMORY;
	if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random)
		random[0] ^= (uint64_t)mr_clock_us() << 16 ^ (uint64_t)getpid();
	r->tag_high = random[0];
	r->tag_low = random[1];
	mr_taken_name(r);
	return r->prefix ? mr_fanout_init(r, o->fanout_prefix, o->fanout_patterns, o->link.db)
	                 : MR_NO_MEMORY;
}

enum mr_status mr_redis_store_open(struct mr_redis_store **out, struct ev_loop *loop,
	struct mr_store *store, const struct mr_redis_store_options *o,
	const struct mr_redis_store_port *port, mr_error *error)
{
	struct mr_redis_store *r = mr_calloc(1, sizeof *r);
	if (!r) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 506, "out of memory");
	struct mr_redis_port main = {.up = on_up, .down = on_down, .owner = r};
	struct mr_redis_port ear = {on_ear_up, on_ear_down, on_pushed, r};
	r->backing.class = &class;
	r->backing.order = o->order;
	r->store = store;
	r->port = *port;
	r->loop = loop;
	mr_list_init(&r->windows);
	mr_list_init(&r->taken);
	mr_list_init(&r->backs);
	mr_list_init(&r->returning);
	mr_list_init(&r->fanout.joining);
	ev_init(&r->rounds, on_round);
	r->rounds.data = r;
	mr_delayed_init(r);
	struct mr_redis_options beside =
		o->link; /* the same server: the Sentinels are asked once */
	beside.follows = o->link.sentinel_count > 0;
	enum mr_status st = prepare(r, o);
	if (st == MR_OK) st = mr_redis_link_open(&r->link, loop, &o->link, &main, error);
	if (st == MR_OK) st = mr_redis_link_open(&r->ear, loop, &beside, &ear, error);
	if (st != MR_OK) {
		mr_redis_store_close(r);
		return st;
	}
	ev_timer_set(&r->rounds, ROUND, ROUND);
	ev_timer_start(loop, &r->rounds);
	store->backing = &r->backing;
	*out = r;
	return MR_OK;
}

void mr_redis_store_close(struct mr_redis_store *r)
{
	if (!r) return;
	if (r->is_up) mr_redis_store_flush(r);
	r->is_up = false;
	ev_timer_stop(r->loop, &r->rounds);
	mr_delayed_fini(r);
	mr_redis_link_close(r->link);
	mr_redis_link_close(r->ear);
	if (r->store->backing == &r->backing) r->store->backing = NULL;
	mr_fanout_free_all(r);
	mr_window_free_all(r);
	mr_taken_free_all(r);
	mr_buffer_fini(&r->acks);
	mr_buffer_fini(&r->text);
	mr_free(r->prefix);
	mr_free(r);
}
