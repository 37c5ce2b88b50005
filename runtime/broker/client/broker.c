/* broker: shared by all connections of an embedded broker: users, virtual hosts, the store.
 * SPDX-License-Identifier: MIT */
#include "broker/client/broker.h"

#include "base/alloc.h"
#include "broker/store/pump.h"
#include "broker/store/raze.h"
#include "broker/store/reply_error.h"

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
	struct mr_broker_user *old = mr_map_get_named(&b->users, name);
	if (!user || !user->name || !user->password || mr_map_put_named(&b->users, user) != MR_OK) {
		free_user(user);
		return MR_NO_MEMORY;
	}
	free_user(old);
	return MR_OK;
}

/* Takes the same time for a wrong password as for a right one. */
static bool same_secret(mr_slice a, mr_slice b)
{
	unsigned char difference = a.size != b.size;
	for (size_t i = 0; i < a.size && b.size; i++)
		difference |= (unsigned char)(a.data[i] ^ b.data[i % b.size]);
	return !difference;
}

bool mr_broker_login(const struct mr_broker *b, mr_slice name, mr_slice password)
{
	const struct mr_broker_user *user = mr_map_get_named(&b->users, name);
	if (b->faults.refuse_logins || !user) return false;
	if (b->seal_guest && mr_slice_equal(name, mr_slice_str("guest"))) return false;
	return same_secret(password, mr_slice_str(user->password));
}

enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name)
{
	if (mr_broker_vhost(b, name)) return MR_OK;
	struct mr_vhost *v = mr_vhost_new(&b->store, name);
	if (v && mr_map_put_named(&b->vhosts, v) == MR_OK) return MR_OK;
	mr_vhost_free(v);
	return MR_NO_MEMORY;
}

struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name)
{
	return mr_map_get_named(&b->vhosts, name);
}

/* ---- life ---- */

static mr_slice name_of_user(const void *user)
{
	return mr_slice_str(((const struct mr_broker_user *)user)->name);
}

static mr_slice name_of_vhost(const void *v)
{
	return mr_slice_str(((const struct mr_vhost *)v)->name);
}

enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now)
{
	struct mr_broker *b = mr_calloc(1, sizeof *b);
	mr_slice guest = mr_slice_str("guest");
	if (!b) return MR_NO_MEMORY;
	b->users.name_of = name_of_user;
	b->vhosts.name_of = name_of_vhost;
	mr_store_init(&b->store, seed, now);
	mr_list_init(&b->sessions);
	mr_list_init(&b->chores);
	mr_list_init(&b->to_flush);
	mr_list_init(&b->refused);
	if (mr_broker_add_vhost(b, mr_slice_str("/")) != MR_OK ||
		mr_broker_add_user(b, guest, guest) != MR_OK) {
		mr_broker_close(b);
		return MR_NO_MEMORY;
	}
	*out = b;
	return MR_OK;
}

static void free_vhost(struct mr_vhost *v)
{
	struct mr_queue *q;
	size_t at = 0;
	while ((q = mr_map_next(&v->queues, &at, NULL))) mr_raze_queue(q);
	mr_vhost_free(v);
}

void mr_broker_close(struct mr_broker *b)
{
	void *item;
	size_t at = 0;
	if (!b) return;
	mr_store_begin_turn(&b->store, MR_WORK_UNBOUNDED);
	while ((item = mr_map_next(&b->vhosts, &at, NULL))) free_vhost(item);
	for (at = 0; (item = mr_map_next(&b->users, &at, NULL));) free_user(item);
	mr_map_fini(&b->vhosts);
	mr_map_fini(&b->users);
	mr_store_fini(&b->store);
	mr_free(b);
}

/* ---- all of them ---- */

void mr_broker_check_memory(struct mr_broker *b)
{
	mr_store_judge(&b->store, true);
	b->store.relieved = true; /* blocked sessions check for themselves */
}

void mr_broker_pump_all(struct mr_broker *b)
{
	struct mr_vhost *v;
	struct mr_queue *q;
	size_t at = 0;
	while ((v = mr_map_next(&b->vhosts, &at, NULL)))
		for (size_t i = 0; (q = mr_map_next(&v->queues, &i, NULL));) mr_pump(q);
}

enum mr_status mr_broker_declare_fault(struct mr_broker *b, mr_error *error)
{
	struct mr_broker_faults *f = &b->faults;
	if (!f->declare_code) return MR_OK;
	enum mr_status st = mr_reply_error(error, f->declare_code, "%s", f->declare_text);
	f->declare_code = 0;
	return st;
}
