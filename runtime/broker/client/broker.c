/* broker: what all connections of an embedded broker share: users, virtual hosts, time, memory.
 * SPDX-License-Identifier: MIT */
#include "broker/client/broker.h"

#include <stdio.h>

#include "base/alloc.h"
#include "broker/client/channel.h"
#include "broker/client/session.h"
#include "broker/store/dead_letter.h"
#include "broker/store/raze.h"
#include "broker/store/vhost.h"

/* ---- users, virtual hosts ---- */

static void free_user(struct mr_broker_user *user)
{
	if (!user) return;
	mr_free(user->name);
	mr_free(user->password);
	mr_free(user);
}

enum mr_status mr_broker_add_user(struct mr_broker *b, mr_slice name, mr_slice password)
{
	struct mr_broker_user *user = mr_calloc(1, sizeof *user);
	if (user) user->name = mr_strdup_n(name.data, name.size);
	if (user) user->password = mr_strdup_n(password.data, password.size);
	struct mr_broker_user *old = mr_dict_get(&b->users, name);
	if (!user || !user->name || !user->password ||
		mr_dict_put(&b->users, mr_slice_str(user->name), user) != MR_OK) {
		free_user(user);
		return MR_NO_MEMORY;
	}
	free_user(old);
	return MR_OK;
}

/* Takes as long for a wrong password as for a right one. */
static bool same_secret(mr_slice a, mr_slice b)
{
	unsigned char difference = a.size != b.size;
	for (size_t i = 0; i < a.size && b.size; i++)
		difference |= (unsigned char)(a.data[i] ^ b.data[i % b.size]);
	return !difference;
}

bool mr_broker_login(const struct mr_broker *b, mr_slice name, mr_slice password)
{
	const struct mr_broker_user *user = mr_dict_get(&b->users, name);
	if (b->faults.refuse_logins || !user) return false;
	if (b->seal_guest && mr_slice_equal(name, mr_slice_str("guest"))) return false;
	return same_secret(password, mr_slice_str(user->password));
}

enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name)
{
	if (mr_broker_vhost(b, name)) return MR_OK;
	struct mr_vhost *v = mr_vhost_new(b, name);
	if (v && mr_dict_put(&b->vhosts, mr_slice_str(v->name), v) == MR_OK) return MR_OK;
	mr_vhost_free(v);
	return MR_NO_MEMORY;
}

struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name)
{
	return mr_dict_get(&b->vhosts, name);
}

/* ---- life ---- */

enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now)
{
	struct mr_broker *b = mr_calloc(1, sizeof *b);
	mr_slice guest = mr_slice_str("guest");
	if (!b) return MR_NO_MEMORY;
	b->now = now;
	b->random = seed | 1;
	b->watermark = MR_WATERMARK_DEFAULT;
	mr_list_init(&b->sessions);
	mr_list_init(&b->dying);
	mr_list_init(&b->busy);
	mr_list_init(&b->garbage);
	mr_list_init(&b->chores);
	mr_list_init(&b->fresh_ruins);
	mr_list_init(&b->ruins);
	b->work_end = MR_WORK_UNBOUNDED;
	if (mr_broker_add_vhost(b, mr_slice_str("/")) != MR_OK ||
		mr_broker_add_user(b, guest, guest) != MR_OK) {
		mr_broker_close(b);
		return MR_NO_MEMORY;
	}
	*out = b;
	return MR_OK;
}

void mr_broker_close(struct mr_broker *b)
{
	void *item;
	size_t at = 0;
	if (!b) return;
	mr_broker_begin_turn(b, MR_WORK_UNBOUNDED);
	mr_broker_resume(b);
	while ((item = mr_dict_next(&b->vhosts, &at))) mr_vhost_free(item);
	for (at = 0; (item = mr_dict_next(&b->users, &at));) free_user(item);
	mr_dict_fini(&b->vhosts);
	mr_dict_fini(&b->users);
	mr_free(b->route.queues);
	mr_free(b->heap);
	mr_free(b);
}

/* ---- deadlines: a binary heap of queues ---- */

static void place(struct mr_broker *b, struct mr_queue *q, size_t at)
{
	b->heap[at] = q;
	q->at_heap = at + 1;
}

static void sift_up(struct mr_broker *b, struct mr_queue *q, size_t at)
{
	while (at && b->heap[(at - 1) / 2]->deadline > q->deadline) {
		place(b, b->heap[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	place(b, q, at);
}

static void sift_down(struct mr_broker *b, struct mr_queue *q, size_t at)
{
	for (;;) {
		size_t child = at * 2 + 1;
		if (child >= b->heap_count) break;
		if (child + 1 < b->heap_count &&
			b->heap[child + 1]->deadline < b->heap[child]->deadline)
			child++;
		if (b->heap[child]->deadline >= q->deadline) break;
		place(b, b->heap[child], at);
		at = child;
	}
	place(b, q, at);
}

void mr_broker_unschedule(struct mr_broker *b, struct mr_queue *q)
{
	if (!q->at_heap) return;
	size_t at = q->at_heap - 1;
	struct mr_queue *last = b->heap[--b->heap_count];
	q->at_heap = 0;
	q->deadline = MR_NEVER;
	if (last == q) return;
	sift_up(b, last, at);
	sift_down(b, last, last->at_heap - 1);
}

static bool heap_has_room(struct mr_broker *b)
{
	if (b->heap_count < b->heap_capacity) return true;
	size_t capacity = b->heap_capacity ? b->heap_capacity * 2 : 16;
	struct mr_queue **heap = mr_realloc(b->heap, capacity * sizeof *heap);
	if (!heap) return false;
	b->heap = heap;
	b->heap_capacity = capacity;
	return true;
}

void mr_broker_schedule(struct mr_broker *b, struct mr_queue *q)
{
	mr_msec at = mr_queue_next_expiry(q);
	if (q->limits.expires >= 0 && !q->consumer_count)
		at = mr_earlier(at, q->used + q->limits.expires);
	if (at == q->deadline) return;
	if (at == MR_NEVER) {
		mr_broker_unschedule(b, q);
		return;
	}
	/* Without memory the queue is looked at when it is next used. */
	if (!q->at_heap && !heap_has_room(b)) return;
	q->deadline = at;
	if (!q->at_heap) {
		sift_up(b, q, b->heap_count++);
		return;
	}
	sift_up(b, q, q->at_heap - 1);
	sift_down(b, q, q->at_heap - 1);
}

mr_msec mr_broker_deadline(const struct mr_broker *b)
{
	return b->heap_count ? b->heap[0]->deadline : MR_NEVER;
}

void mr_broker_tick(struct mr_broker *b)
{
	while (b->heap_count && b->heap[0]->deadline <= b->now && !mr_broker_is_spent(b))
		mr_vhost_queue_due(b->heap[0]);
	mr_broker_watch_memory(b);
}

/* ---- turns ---- */

void mr_broker_is_busy(struct mr_broker *b, struct mr_queue *q)
{
	if (!q->busy.next) mr_list_append(&b->busy, &q->busy);
}

static void free_entry(struct mr_broker *b, struct mr_entry *e)
{
	b->work++;
	mr_broker_shrank(b, sizeof *e);
	mr_broker_drop(b, e->message);
	mr_free(e);
}

void mr_broker_discard(struct mr_broker *b, struct mr_entry *e)
{
	if (mr_broker_is_spent(b))
		mr_list_append(&b->garbage, &e->node);
	else
		free_entry(b, e);
}

void mr_broker_sweep(struct mr_broker *b)
{
	while (!mr_list_is_empty(&b->garbage) && !mr_broker_is_spent(b))
		free_entry(b, mr_container(mr_list_shift(&b->garbage), struct mr_entry, node));
}

bool mr_broker_has_more(const struct mr_broker *b)
{
	return !mr_list_is_empty(&b->garbage) || !mr_list_is_empty(&b->busy) ||
	       !mr_list_is_empty(&b->dying) || !mr_list_is_empty(&b->chores) ||
	       !mr_list_is_empty(&b->ruins) || !mr_list_is_empty(&b->fresh_ruins) || b->letter;
}

/* So much of what is left of the turn: none of its kinds of work may hold up another. */
static void allow(struct mr_broker *b, uint64_t end, unsigned parts)
{
	if (end != MR_WORK_UNBOUNDED && end > b->work)
		b->work_end = b->work + (end - b->work) / parts;
}

bool mr_broker_resume(struct mr_broker *b)
{
	uint64_t end = b->work_end;
	allow(b, end, 5);
	mr_dead_letter_bury(b);
	allow(b, end, 4);
	mr_chores_resume(b);
	allow(b, end, 3);
	while (!mr_list_is_empty(&b->busy) && !mr_broker_is_spent(b))
		mr_vhost_queue_moved(mr_container(mr_list_shift(&b->busy), struct mr_queue, busy));
	allow(b, end, 2);
	mr_raze(b, &b->ruins);
	b->work_end = end;
	mr_broker_sweep(b);
	mr_broker_watch_memory(b);
	return mr_broker_has_more(b);
}

/* ---- memory ---- */

/* An alarm ends a tenth below where it begins, or it would come and go with each message. */
static void judge(struct mr_broker *b, bool afresh)
{
	uint64_t low = b->watermark - b->watermark / 10, now = mr_broker_memory(b);
	bool holds = b->alarm && !afresh;
	b->alarm = b->watermark && now > (holds ? low : b->watermark);
}

static void tell_sessions(struct mr_broker *b)
{
	for (struct mr_node *n = b->sessions.next; n != &b->sessions; n = n->next)
		mr_broker_session_check_blocked(mr_container(n, struct mr_broker_session, node));
}

void mr_broker_check_memory(struct mr_broker *b)
{
	judge(b, true);
	tell_sessions(b);
}

void mr_broker_judge_memory(struct mr_broker *b)
{
	bool before = b->alarm;
	judge(b, false);
	if (before && !b->alarm) tell_sessions(b);
}

void mr_broker_shrank(struct mr_broker *b, uint64_t bytes)
{
	b->memory -= bytes;
	if (b->alarm) mr_broker_watch_memory(b);
}

void mr_broker_drop(struct mr_broker *b, struct mr_message *m)
{
	mr_broker_shrank(b, mr_message_drop(m));
}

void mr_broker_pump_all(struct mr_broker *b)
{
	struct mr_vhost *v;
	struct mr_queue *q;
	size_t at = 0;
	while ((v = mr_dict_next(&b->vhosts, &at)))
		for (size_t i = 0; (q = mr_dict_next(&v->queues, &i));) mr_vhost_queue_moved(q);
}

/* ---- names ---- */

size_t mr_broker_name(struct mr_broker *b, char out[64], const char *prefix)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t n = (size_t)snprintf(out, 40, "%s", prefix);
	for (int i = 0; i < 22; i++) {
		b->random ^= b->random << 13; /* xorshift64, Marsaglia 2003 */
		b->random ^= b->random >> 7;
		b->random ^= b->random << 17;
		out[n++] = letters[(b->random >> 20) & 63];
	}
	out[n] = '\0';
	b->names++;
	return n;
}
