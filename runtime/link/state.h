/* state: what a link is made of.
 * SPDX-License-Identifier: MIT
 * I/O thread. For link.c, report.c, command.c and curbs.c; health reads it. */
#ifndef MR_LINK_STATE_H
#define MR_LINK_STATE_H

#include "amqp/session.h"
#include "io/services.h"
#include "link/dial.h"
#include "link/history.h"
#include "link/io.h"
#include "link/recovery.h"

/* CONNECTING is dialing and shaking hands; PARTING is closed for the host, while the last bytes leave;
 * BACKOFF waits for the next try. */
#define MR_LINK_STATES(X) X(IDLE) X(CONNECTING) X(OPEN) X(CLOSING) X(PARTING) X(BACKOFF)
#define MR_LINK_STATE_ENUM_(s) MR_LINK_##s,
enum mr_link_state { MR_LINK_STATES(MR_LINK_STATE_ENUM_) MR_LINK_STATE_COUNT };

/* Invariants. IDLE and BACKOFF have neither session nor stream; OPEN, CLOSING and PARTING have both; CONNECTING has
 * both as soon as a dial has succeeded. */
struct mr_link {
	struct mr_services *services;
	uint32_t number;
	enum mr_link_state state;
	bool is_faulty;           /* a move that may not be: it is dropped in this turn */
	struct mr_config *config; /* its own */

	/* The connection of now. */
	struct mr_login login;
	struct mr_session_options options;
	struct mr_session *session;
	struct mr_dial dial;
	struct mr_link_io io;
	struct mr_timer patience; /* connect_timeout, close_timeout */
	struct mr_timer greeting; /* socket_timeout of the AMQP handshake on one address */
	struct mr_recovery recovery;
	uint32_t tags; /* of consumers, given so far */

	/* What the host is told. */
	struct mr_lane lane;    /* events that the host has no room for */
	struct mr_node openers; /* struct waiter: who waits for the open */
	struct mr_node closers;
	/* mr_event: ends of requests, until the loss that ended them is told. */
	struct mr_buffer held;

	/* What is known of it. */
	mr_error error;      /* why the last connection ended */
	uint32_t opened;     /* how often; the host counts it when it is told */
	uint64_t violations; /* of the protocol by the broker */
	bool is_blocked;     /* the broker takes no publishes */
	bool curbs_refused;  /* by the broker, which ends channels or connections for them */
	char blocked_why[128];
	/* uint64_t: hashes of the names of queues with a single active consumer; curbs.c writes it. */
	struct mr_buffer singles;
};

#endif
