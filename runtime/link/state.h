/* state: the struct of a link.
 * SPDX-License-Identifier: MIT
 * I/O thread. For link.c, report.c, command.c and curbs.c; health reads it. */
#ifndef MR_LINK_STATE_H
#define MR_LINK_STATE_H

#include "amqp/session.h"
#include "io/services.h"
#include "link/dial.h"
#include "link/history.h"
#include "link/io.h"
#include "link/outage_state.h"
#include "link/recovery.h"

/* CONNECTING: dialing and handshakes. PARTING: closed for the host, while the last bytes are
 * written. BACKOFF: waiting for the next try. */
#define MR_LINK_STATES(X) X(IDLE) X(CONNECTING) X(OPEN) X(CLOSING) X(PARTING) X(BACKOFF)
#define MR_LINK_STATE_ENUM_(s) MR_LINK_##s,
enum mr_link_state { MR_LINK_STATES(MR_LINK_STATE_ENUM_) MR_LINK_STATE_COUNT };

/* Invariants. There is no session or stream in IDLE and BACKOFF; there are both in OPEN, CLOSING
 * and PARTING, and in CONNECTING as soon as a dial has succeeded. */
struct mr_link {
	struct mr_services *services;
	uint32_t number;
	enum mr_link_state state;
	mr_msec entered;          /* when it entered the state */
	bool is_faulty;           /* after an illegal move: it is dropped in this turn */
	struct mr_config *config; /* owned */

	/* The current connection. */
	struct mr_login login;
	struct mr_session_options options;
	struct mr_session *session;
	struct mr_dial dial;
	struct mr_link_io io;
	struct mr_timer patience; /* connect_timeout, close_timeout */
	struct mr_timer greeting; /* socket_timeout of the AMQP handshake on one address */
	struct mr_recovery recovery;

	/* Events to the host. */
	struct mr_lane lane;    /* events for which the ring has no room */
	struct mr_node openers; /* struct waiter: requests that wait for the open */
	struct mr_node closers;
	/* mr_event: ends of requests, held until the loss that ended them is reported. */
	struct mr_buffer held;

	/* Status. */
	const mr_error *error; /* kept (mr_error_keep): why the last connection ended */
	uint32_t opened;       /* how often; the host counts it when it pulls the event */
	uint64_t violations;   /* of the protocol by the broker */
	struct mr_outage outage;
	bool is_blocked;    /* the broker accepts no publishes */
	bool curbs_refused; /* the broker refuses curbs by closing channels or connections */
	char blocked_why[128];
	/* uint64_t: hashes of the names of queues with a single active consumer; curbs.c writes
	 * it. */
	struct mr_buffer singles;
};

#endif
