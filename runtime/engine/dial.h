/* dial: one pass over all hosts and addresses of a configuration, until a stream is up.
 * SPDX-License-Identifier: MIT
 * I/O thread. Name, TCP and TLS; what AMQP says on it is link's. */
#ifndef MR_ENGINE_DIAL_H
#define MR_ENGINE_DIAL_H

#include "base/config.h"
#include "broker/server.h"
#include "engine/loop.h"
#include "net/stream.h"
#include "net/tls.h"

/* Called once for each start that was not cancelled: `stream` is given, or NULL and `error` has the
 * last failure. It may start the dial again. */
typedef void mr_dialed(void *owner, struct mr_stream *stream, const mr_error *error);

struct mr_dial {
	struct mr_engine *engine;
	const struct mr_config *config;
	mr_dialed *done;
	void *owner;
	size_t host;                  /* being tried */
	struct mr_address *addresses; /* of it */
	size_t address_count, address;
	struct mr_lookup *lookup;
	struct mr_stream *stream;
	struct mr_tls_context *tls;
	mr_server *server; /* the embedded broker of memory://, held from the first start on */
	ev_io io;
	struct mr_timer timer; /* socket_timeout of one address */
	mr_msec deadline;      /* of the whole pass: connect_timeout */
	mr_msec give_up;       /* of the address being tried, its AMQP handshake included */
	mr_error error;        /* of the last failure */
	char tried[256];       /* "host:port kind, ..." of all that failed in this pass */
	size_t tries;
	bool active;
};

void mr_dial_init(struct mr_dial *d, struct mr_engine *engine, const struct mr_config *config,
	mr_dialed *done, void *owner);
/* Starts at the first host; also picks up changed certificate files. */
void mr_dial_start(struct mr_dial *d);
/* Goes on behind the address that a stream came from and AMQP failed on; false: there is no other, and
 * `why` names all that were tried. */
bool mr_dial_next(struct mr_dial *d, mr_error *why);
/* Adds to an error what else was tried in this pass. */
void mr_dial_tell_tried(const struct mr_dial *d, mr_error *error);
void mr_dial_cancel(struct mr_dial *d);
void mr_dial_fini(struct mr_dial *d);
/* "name:port" of the host being tried. */
void mr_dial_host(const struct mr_dial *d, char *out, size_t capacity);

#endif
