/* dial: one pass over all hosts and addresses of a configuration, until a stream is connected.
 * SPDX-License-Identifier: MIT
 * I/O thread. Names, TCP and TLS; link does the AMQP handshake. */
#ifndef MR_LINK_DIAL_H
#define MR_LINK_DIAL_H

#include "broker/server/server.h"
#include "config/config.h"
#include "io/services.h"
#include "link/race.h"
#include "net/stream.h"
#include "net/tls.h"

#define MR_SHAKING_MAX 64 /* maximum number of concurrent TLS handshakes: each needs 22 KiB */

/* Called once for each start that was not cancelled: `stream` is *given*, or NULL and `error` is
 * the last failure. It may start the dial again. */
typedef void mr_dialed(void *owner, struct mr_stream *stream, const mr_error *error);

struct mr_dial {
	struct mr_services *services;
	const struct mr_config *config;
	mr_dialed *done;
	void *owner;
	size_t host;              /* being tried */
	struct mr_race race;      /* for a TCP connection to it */
	size_t racer;             /* the winner */
	struct mr_address peer;   /* its address; size 0: none */
	struct mr_address worked; /* the address of the last successful AMQP handshake */
	struct mr_lookup *lookup;
	struct mr_stream *lower;  /* TCP is connected, and TLS has not begun yet */
	struct mr_stream *stream; /* in the TLS handshake */
	struct mr_tls_context *tls;
	struct mr_tls_session session; /* of the host last reached by TLS */
	struct mr_node line; /* in services->shake_line, until other handshakes have ended */
	bool is_shaking;     /* counted in services->shaking */
	mr_server *server;   /* the embedded broker of memory://, held from the first start on */
	ev_io io;
	struct mr_timer timer;  /* socket_timeout of the TLS handshake */
	mr_msec deadline;       /* of the whole pass: connect_timeout */
	mr_msec give_up;        /* of the address being tried, including its AMQP handshake */
	const mr_error *error;  /* kept (mr_error_keep): the last failure */
	struct mr_buffer tried; /* "host:port kind, ..." of all failures in this pass */
	size_t tries;
	int first_kind; /* of the first failure */
	bool is_mixed;  /* another one is of another kind */
	bool active;
};

void mr_dial_init(struct mr_dial *d, struct mr_services *services, const struct mr_config *config,
	mr_dialed *done, void *owner);
/* Starts at the first host; also reloads changed certificate files. */
void mr_dial_start(struct mr_dial *d);
/* Continues after an address on which AMQP failed. False: there is no other address, and `why` names
 * all that were tried; or the failure is final, as it would be the same on each. */
bool mr_dial_next(struct mr_dial *d, bool is_final, mr_error *why);
/* Adds the other failures of this pass to an error; unfinished tries count as timed out. */
void mr_dial_tell_tried(struct mr_dial *d, mr_error *error);
/* The AMQP handshake succeeded: the last address is tried first from now on. */
void mr_dial_worked(struct mr_dial *d);
void mr_dial_cancel(struct mr_dial *d);
void mr_dial_fini(struct mr_dial *d);
/* "name:port" of the host being tried. */
void mr_dial_host(const struct mr_dial *d, char *out, size_t capacity);

#endif
