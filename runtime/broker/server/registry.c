/* registry: the embedded brokers of this process, by name.
 * SPDX-License-Identifier: MIT
 * The only place with a lock (docs/decisions/0003): runtimes of several threads look up a name when they
 * connect, never on the message path. */
#include <pthread.h>

#include "base/alloc.h"
#include "base/list.h"
#include "broker/server/server.h"
#include "broker/server/thread.h"

struct registered {
	struct mr_node node;
	mr_server *server;
	char *name;
	size_t users;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mr_node all = {&all, &all};
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A child must not find the lock held by a thread that it does not have. */
static void hold(void) { pthread_mutex_lock(&lock); }
static void let_go(void) { pthread_mutex_unlock(&lock); }
static void watch_forks(void) { pthread_atfork(hold, let_go, let_go); }

static struct registered *find(const char *name)
{
	for (struct mr_node *n = all.next; n != &all; n = n->next) {
		struct registered *r = mr_container(n, struct registered, node);
		bool is_it = *name && strcmp(r->name, name) == 0;
		if (is_it && !mr_server_is_forked(r->server)) return r;
	}
	return NULL;
}

static enum mr_status add(struct registered **out, const char *name, mr_error *error)
{
	struct registered *r = mr_calloc(1, sizeof *r);
	enum mr_status st = MR_NO_MEMORY;
	if (r) r->name = mr_strdup_n(name, strlen(name));
	if (!r || !r->name)
		mr_error_set(error, st, MR_SCOPE_CONNECTION, 0, "out of memory");
	else
		st = mr_server_start(&r->server, name, error);
	if (st == MR_OK) {
		mr_list_append(&all, &r->node);
		*out = r;
		return MR_OK;
	}
	if (r) mr_free(r->name);
	mr_free(r);
	return st;
}

enum mr_status mr_registry_acquire(mr_server **out, const char *name, mr_error *error)
{
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&lock);
	struct registered *r = find(name);
	enum mr_status st = r ? MR_OK : add(&r, name, error);
	if (st == MR_OK) {
		r->users++;
		*out = r->server;
	}
	pthread_mutex_unlock(&lock);
	return st;
}

/* *gives* the entry if that was its last user. */
static struct registered *leave(mr_server *server)
{
	for (struct mr_node *n = all.next; n != &all; n = n->next) {
		struct registered *r = mr_container(n, struct registered, node);
		if (r->server != server || --r->users) continue;
		mr_list_remove(&r->node);
		return r;
	}
	return NULL;
}

static void release(mr_server *server, bool later)
{
	if (!server || mr_server_is_forked(server)) return;
	pthread_mutex_lock(&lock);
	struct registered *last = leave(server);
	pthread_mutex_unlock(&lock);
	if (!last) return;
	if (!later || !mr_server_stop_later(last->server)) mr_server_stop(last->server);
	mr_free(last->name);
	mr_free(last);
}

void mr_registry_release(mr_server *server) { release(server, false); }

void mr_registry_release_later(mr_server *server) { release(server, true); }

uint64_t mr_registry_clock(void)
{
	uint64_t traffic = 0;
	pthread_mutex_lock(&lock); /* no server may end meanwhile; the callee takes no lock */
	for (struct mr_node *n = all.next; n != &all; n = n->next) {
		struct mr_server_call moved = {.what = MR_SERVER_CLOCK};
		mr_server_do(mr_container(n, struct registered, node)->server, &moved);
		traffic += moved.traffic;
	}
	pthread_mutex_unlock(&lock);
	return traffic;
}
