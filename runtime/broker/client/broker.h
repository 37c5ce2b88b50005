/* broker: what all connections of an embedded broker share: users, virtual hosts, what they store.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock; whoever calls in sets store.now first. */
#ifndef MR_BROKER_CLIENT_BROKER_H
#define MR_BROKER_CLIENT_BROKER_H

#include "broker/store/vhost.h"

struct mr_broker_user {
	char *name, *password;
};

/* What tests ask to go wrong. Zeroed: nothing does. */
struct mr_broker_faults {
	bool refuse_logins;
	int declare_code; /* the next declare fails with it; 0: none does */
	char declare_text[200];
};

struct mr_broker {
	struct mr_store store;
	struct mr_map users;  /* of mr_broker_user */
	struct mr_map vhosts; /* of mr_vhost */
	struct mr_node sessions;
	size_t session_count;
	struct mr_node chores; /* of mr_chore */
	bool blocked_by_hand;  /* a fault: blocked whatever the memory */
	bool seal_guest;       /* guest may not log in (a non-loopback address is served) */
	struct mr_broker_faults faults;
};

/* *gives* a broker with the virtual host "/" and the user guest. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now);
/* All sessions must be gone, and mr_turn_finish have been called. Takes NULL. */
void mr_broker_close(struct mr_broker *b);
enum mr_status mr_broker_add_user(struct mr_broker *b, mr_slice name, mr_slice password);
enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name);
struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name);
bool mr_broker_login(const struct mr_broker *b, mr_slice user, mr_slice password);

/* The watermark has changed, or who blocks by hand: mr_turn_end tells all sessions. */
void mr_broker_check_memory(struct mr_broker *b);
static inline bool mr_broker_is_blocked(const struct mr_broker *b)
{
	return b->store.alarm || b->blocked_by_hand;
}

void mr_broker_pump_all(struct mr_broker *b); /* every queue delivers what it may */

#endif
