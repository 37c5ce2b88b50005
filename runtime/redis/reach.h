/* reach: makes a connected stream to a Redis: names, TCP or a Unix socket, TLS.
 * SPDX-License-Identifier: MIT
 * One thread, which runs the loop. Never blocks. The addresses of a name are tried one after another. */
#ifndef MR_REDIS_REACH_H
#define MR_REDIS_REACH_H

#include "base/clock.h"
#include "base/ev.h"
#include "net/resolve.h"
#include "net/stream.h"
#include "net/tls.h"

#define MR_REACH_SOCKETS 8 /* of the name lookup, at a time */

struct mr_reach_to {      /* borrowed for as long as the reach is; may change before a start */
	const char *what; /* for errors: "Redis" */
	const char *host;
	uint16_t port;
	const char *path; /* of a Unix socket: then there is no host; NULL: TCP */
	bool use_tls;
	struct mr_tls_options tls;
	mr_msec timeout; /* of each address */
};

/* Called once for each start that was not cancelled: `stream` is *given*, or NULL and `error` is the last failure. */
typedef void mr_reached(void *owner, struct mr_stream *stream, const mr_error *error);

struct mr_reach {
	struct ev_loop *loop;
	const struct mr_reach_to *to;
	mr_reached *done;
	void *owner;
	struct mr_resolver *resolver; /* made at the first name */
	ev_io sockets[MR_REACH_SOCKETS];
	ev_timer lookup_timer;
	struct mr_lookup *lookup;
	struct mr_address *addresses;
	size_t count, next;
	struct mr_stream *stream; /* connecting: TCP, then TLS on it */
	bool is_tls;              /* the stream is */
	struct mr_tls_store store;
	struct mr_tls_context *context;
	struct mr_tls_session session;
	ev_io io;
	ev_timer timer;
	mr_error last;
};

void mr_reach_init(struct mr_reach *r, struct ev_loop *loop, const struct mr_reach_to *to,
	mr_reached *done, void *owner);
/* Calls `done` later, or within this call. */
void mr_reach_start(struct mr_reach *r);
void mr_reach_cancel(struct mr_reach *r);
void mr_reach_fini(struct mr_reach *r); /* no stream that it gave may be open */

#endif
