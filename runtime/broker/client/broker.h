/* broker: shared by all connections of an embedded broker: users, virtual hosts, the store.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock; the caller sets store.now first. */
#ifndef MR_BROKER_CLIENT_BROKER_H
#define MR_BROKER_CLIENT_BROKER_H

#include "broker/store/vhost.h"

struct mr_broker_user {
	char *name, *password;
};

/* Faults for tests. Zeroed: none. */
struct mr_broker_faults {
	bool refuse_logins;
	int declare_code; /* the next declare fails with this code; 0: it does not */
	char declare_text[200];
};

/* Who is told what the store's backing does not take, before clients are; a function may be NULL. */
struct mr_pledge;
struct mr_broker_watcher {
	void (*blocked)(void *owner); /* mr_broker_is_blocked may have changed */
	void (*refused)(void *owner,
		const struct mr_pledge *p); /* for good; see p->promise.error */
	void *owner;
};

struct mr_broker {
	struct mr_store store;
	struct mr_map users;  /* of mr_broker_user */
	struct mr_map vhosts; /* of mr_vhost */
	struct mr_node sessions;
	size_t session_count;
	uint64_t session_last; /* the number of the last one */
	struct mr_node chores; /* of mr_chore */
	struct mr_node
		to_flush; /* of mr_broker_channel: confirms by the backing, sent at the turn's end */
	struct mr_broker_watcher watcher;
	size_t pledged;         /* publishes that wait for the backing's answer */
	struct mr_node refused; /* of mr_pledge: the backing takes nothing for now; see pledge.h */
	mr_error refusal;       /* why; its kind is MR_OK if it takes what is published */
	bool blocked_by_hand;   /* a fault: publishers are blocked regardless of memory */
	bool is_congested;      /* the store's backing takes less than is published: the same */
	bool seal_guest;        /* guest may not log in (a non-loopback address is served) */
	struct mr_broker_faults faults;
	mr_error outage; /* its kind is not MR_OK while the store's backing is not reached */
};

/* *gives* a broker with the virtual host "/" and the user guest. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now);
/* Call it after all sessions were closed and mr_turn_finish was called. NULL is allowed. */
void mr_broker_close(struct mr_broker *b);
enum mr_status mr_broker_add_user(struct mr_broker *b, mr_slice name, mr_slice password);
enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name);
struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name);
bool mr_broker_login(const struct mr_broker *b, mr_slice user, mr_slice password);

/* The watermark or blocked_by_hand has changed: mr_turn_end informs all sessions. */
void mr_broker_check_memory(struct mr_broker *b);
static inline bool mr_broker_is_blocked(const struct mr_broker *b)
{
	return b->store.alarm || b->blocked_by_hand || b->is_congested || b->refusal.kind;
}

/* Reports, once, a fault that a test has injected. */
enum mr_status mr_broker_declare_fault(struct mr_broker *b, mr_error *error);

void mr_broker_pump_all(struct mr_broker *b); /* lets every queue deliver */

#endif
