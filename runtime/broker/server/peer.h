/* peer: one connection of the server: a stream, and the session over it.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_BROKER_SERVER_PEER_H
#define MR_BROKER_SERVER_PEER_H

#include "base/ev.h"
#include "broker/client/session.h"
#include "broker/client/turn.h"
#include "net/inlet.h"
#include "net/stream.h"

/* Faults of the transport, for tests. */
struct mr_wire_faults {
	mr_msec delay;     /* bytes to clients are delayed by this many ms */
	int64_t cut_after; /* bytes to a client until it is cut off; -1: never */
	bool silent;       /* nothing is read, nothing is written */
};

struct mr_wire { /* what all peers of a server share */
	struct ev_loop *loop;
	struct mr_broker *broker;
	struct mr_buffer scratch;
	struct mr_node peers;
	struct mr_node dirty; /* peers with output or a changed state */
	struct mr_node later; /* peers with input for a later turn */
	struct mr_wire_faults faults;
	uint64_t traffic; /* reads, writes and connections so far */
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
	bool is_up;      /* the TLS handshake is done */
	bool may_write;  /* the delay is over */
	bool is_parting; /* all output was written; waits for the client to hang up */
	bool is_held;    /* it was not read to the end, and no event will report the rest */
	bool is_dead;    /* freed by the next flush */
};

/* Takes the stream (on failure too). */
void mr_peer_open(struct mr_wire *wire, struct mr_stream *stream);
void mr_peer_free(struct mr_peer *peer);
/* True if a flush has something to do. */
static inline bool mr_wire_has_news(const struct mr_wire *w)
{
	return !mr_list_is_empty(&w->dirty) || w->broker->store.relieved;
}
/* Handles the dirty peers: writes, ends, frees. */
void mr_wire_flush(struct mr_wire *wire);
/* True if there is work that no event will report. Then the loop must not sleep; mr_wire_resume
 * does it. */
bool mr_wire_has_more(const struct mr_wire *wire);
void mr_wire_resume(struct mr_wire *wire);
/* Each callback of the loop calls this first: sets the time and the limit of work. */
void mr_wire_begin_turn(struct mr_wire *wire);
/* The faults or the clock have changed: checks every peer. */
void mr_wire_changed(struct mr_wire *wire);
/* Ends every peer without a close. */
void mr_wire_drop(struct mr_wire *wire);
/* Sends connection.close to all. */
void mr_wire_shut(struct mr_wire *wire, int code, const char *text);

#endif
