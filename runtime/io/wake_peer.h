/* wake_peer: the host's end of its wake socket: accepted, replaced, seen off.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_IO_WAKE_PEER_H
#define MR_IO_WAKE_PEER_H

#include "base/ev.h"
#include "bridge/wake_socket.h"

struct mr_wake_peer {
	struct ev_loop *loop;
	const struct mr_wake *host;
	struct mr_wake_socket *socket; /* NULL: none */
	ev_io listening;
	ev_io reading;  /* its fd is the peer; -1: none */
	ev_timer pause; /* no descriptor was left for a connection that waits */
};

void mr_wake_peer_init(struct mr_wake_peer *p, struct ev_loop *loop, const struct mr_wake *host);
/* Accepts one peer at a time; a later one replaces it. */
void mr_wake_peer_listen(struct mr_wake_peer *p, struct mr_wake_socket *socket);
void mr_wake_peer_fini(struct mr_wake_peer *p); /* removes the socket; a second call does nothing */

#endif
