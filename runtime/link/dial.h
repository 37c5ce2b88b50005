/* dial: one pass over all hosts and addresses of a configuration, until a stream is up.
 * SPDX-License-Identifier: MIT
 * I/O thread. Name, TCP and TLS; what AMQP says on it is link's. */
#ifndef MR_LINK_DIAL_H
#define MR_LINK_DIAL_H

#include "broker/server/server.h"
#include "config/config.h"
#include "io/services.h"
#include "link/race.h"
#include "net/stream.h"
#include "net/tls.h"

#define MR_SHAKING_MAX                                                                             \
	64 /* TLS handshakes of a thread at a time: each takes 22 KiB while it goes on */

/* Called once for each start that was not cancelled: `stream` is given, or NULL and `error` has the
 * last failure. It may start the dial again. */
typedef void mr_dialed(void *owner, struct mr_stream *stream, const mr_error *error);

struct mr_dial {
	struct mr_services *services;
	const struct mr_config *config;
	mr_dialed *done;
	void *owner;
	size_t host;              /* being tried */
	struct mr_race race;      /* for a TCP connection to it */
	size_t racer;             /* that won */
	struct mr_address peer;   /* its address; size 0: none */
	struct mr_address worked; /* the one that AMQP was spoken on last */
	struct mr_lookup *lookup;
	struct mr_stream *lower;  /* TCP is up, and TLS has yet to begin */
	struct mr_stream *stream; /* TLS is shaking hands */
	struct mr_tls_context *tls;
	struct mr_node line; /* in services->shake_line, until others have shaken hands */
	bool is_shaking;     /* one of services->shaking */
	mr_server *server;   /* the embedded broker of memory://, held from the first start on */
	ev_io io;
	struct mr_timer timer; /* socket_timeout of the TLS handshake */
	mr_msec deadline;      /* of the whole pass: connect_timeout */
	mr_msec give_up;       /* of the address being tried, its AMQP handshake included */
	mr_error error;        /* of the last failure */
	char tried[256];       /* "host:port kind, ..." of all that failed in this pass */
	size_t tries;
	bool active;
};

void mr_dial_init(struct mr_dial *d, struct mr_services *services, const struct mr_config *config,
	mr_dialed *done, void *owner);
/* Starts at the first host; also picks up changed certificate files. */
void mr_dial_start(struct mr_dial *d);
/* Goes on behind the address that a stream came from and AMQP failed on; false: there is no other, and
 * `why` names all that were tried. */
bool mr_dial_next(struct mr_dial *d, mr_error *why);
/* Adds to an error what else was tried in this pass; what is still under way counts as late. */
void mr_dial_tell_tried(struct mr_dial *d, mr_error *error);
/* AMQP is spoken with the last one: it is tried first from now on. */
void mr_dial_worked(struct mr_dial *d);
void mr_dial_cancel(struct mr_dial *d);
void mr_dial_fini(struct mr_dial *d);
/* "name:port" of the host being tried. */
void mr_dial_host(const struct mr_dial *d, char *out, size_t capacity);

#endif
