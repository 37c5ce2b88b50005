/* peer: one connection of the server: a stream, and the session over it.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_BROKER_SERVER_PEER_H
#define MR_BROKER_SERVER_PEER_H

#include <ev.h>

#include "broker/client/session.h"
#include "broker/client/turn.h"
#include "net/inlet.h"
#include "net/stream.h"

/* What tests ask to go wrong on the way. */
struct mr_wire_faults {
	mr_msec delay;     /* ms that bytes to clients are held back */
	int64_t cut_after; /* bytes to a client until it is cut off; -1: never */
	bool silent;       /* nothing is read, nothing is written */
};

struct mr_wire { /* what all peers of a server share */
	struct ev_loop *loop;
	struct mr_broker *broker;
	struct mr_buffer scratch;
	struct mr_node peers;
	struct mr_node dirty; /* with something to write or to look at */
	struct mr_node later; /* with bytes that wait for their next turn */
	struct mr_wire_faults faults;
};

struct mr_peer {
	struct mr_node node, dirty, later;
	struct mr_wire *wire;
	struct mr_stream *stream;
	struct mr_broker_session *session;
	struct mr_inlet inlet;
	ev_io io;
	ev_timer timer;
	ev_timer hold; /* the delay of bytes to the client */
	int64_t cut_left;
	bool is_up;      /* TLS has shaken hands */
	bool may_write;  /* the delay is over */
	bool is_parting; /* all is said; waits for the client to hang up */
	bool is_held; /* the session would not read, or its turn was over: no event tells of what waits */
	bool is_dead; /* to be freed when it is looked at */
};

/* Takes the stream (on failure too). */
void mr_peer_open(struct mr_wire *wire, struct mr_stream *stream);
void mr_peer_free(struct mr_peer *peer);
/* Looks at all that changed: writes, ends, frees. */
void mr_wire_flush(struct mr_wire *wire);
/* Is there work that no event tells of? Then the loop must not sleep, and mr_wire_resume goes on with it. */
bool mr_wire_has_more(const struct mr_wire *wire);
void mr_wire_resume(struct mr_wire *wire);
/* Whoever is called by the loop says so first: it is now, and so much may be done. */
void mr_wire_begin_turn(struct mr_wire *wire);
/* The faults or the clock have changed: every peer is looked at. */
void mr_wire_changed(struct mr_wire *wire);
/* Ends every peer without a word. */
void mr_wire_drop(struct mr_wire *wire);
/* Says connection.close to all. */
void mr_wire_shut(struct mr_wire *wire, int code, const char *text);

#endif
