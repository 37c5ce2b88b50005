/* broker: what all connections of an embedded broker share: users, virtual hosts, time, memory.
 * SPDX-License-Identifier: MIT
 * Pure: no I/O and no clock; whoever calls in sets `now` first. */
#ifndef MR_BROKER_BROKER_H
#define MR_BROKER_BROKER_H

#include "base/clock.h"
#include "base/dict.h"
#include "base/list.h"
#include "broker/exchange.h"
#include "broker/queue.h"

#define MR_WATERMARK_DEFAULT                                                                       \
	(2ull << 30) /* bytes of messages; RabbitMQ takes 40 % of the machine's */

struct mr_broker_user {
	char *name, *password;
};

/* What tests ask to go wrong. Zeroed: nothing does. */
struct mr_broker_faults {
	bool refuse_logins;
	bool pause_deliveries;
	int declare_code; /* the next declare fails with it; 0: none does */
	char declare_text[200];
};

struct mr_broker {
	mr_msec now;
	struct mr_dict users;  /* of mr_broker_user */
	struct mr_dict vhosts; /* of mr_vhost */
	struct mr_node sessions;
	size_t session_count;
	struct mr_queue **heap; /* queues with a deadline, the earliest first */
	size_t heap_count, heap_capacity;
	struct mr_route route; /* of the routing under way */
	struct mr_node dying;  /* of mr_entry: dead letters to be sent when that is done */
	bool routing, burying;
	uint64_t memory;    /* bytes of messages and of their places in queues */
	uint64_t watermark; /* above it publishers are blocked; 0: never */
	bool alarm;
	bool blocked_by_hand; /* a fault: blocked whatever the memory */
	bool seal_guest;      /* guest may not log in (a non-loopback address is served) */
	uint64_t names;       /* given so far to queues and consumers */
	uint64_t random;      /* state of the names' unguessable part */
	struct mr_broker_faults faults;
};

/* *gives* a broker with the virtual host "/" and the user guest. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_broker_open(struct mr_broker **out, uint64_t seed, mr_msec now);
/* All sessions must be gone. Takes NULL. */
void mr_broker_close(struct mr_broker *b);
enum mr_status mr_broker_add_user(struct mr_broker *b, mr_slice name, mr_slice password);
enum mr_status mr_broker_add_vhost(struct mr_broker *b, mr_slice name);
struct mr_vhost *mr_broker_vhost(const struct mr_broker *b, mr_slice name);
bool mr_broker_login(const struct mr_broker *b, mr_slice user, mr_slice password);

/* Does what is due (times to live, expiring queues) at b->now. */
void mr_broker_tick(struct mr_broker *b);
mr_msec mr_broker_deadline(const struct mr_broker *b); /* when tick is wanted; MR_NEVER */
/* A queue's next deadline may have changed. */
void mr_broker_schedule(struct mr_broker *b, struct mr_queue *q);
void mr_broker_unschedule(struct mr_broker *b, struct mr_queue *q);

void mr_broker_grew(struct mr_broker *b, uint64_t bytes);       /* messages were taken in */
void mr_broker_drop(struct mr_broker *b, struct mr_message *m); /* one reference less */
/* Sets the watermark, or blocks by hand, and tells all sessions. */
void mr_broker_check_memory(struct mr_broker *b);
bool mr_broker_is_blocked(const struct mr_broker *b);

void mr_broker_pump_all(struct mr_broker *b); /* every queue delivers what it may */

/* Writes "prefix" and 22 letters that nobody guesses; returns the length. */
size_t mr_broker_name(struct mr_broker *b, char out[64], const char *prefix);

#endif
