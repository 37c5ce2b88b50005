/* io: a link's stream: what is read goes to the session, what the session says is written.
 * SPDX-License-Identifier: MIT
 * I/O thread. Knows when to read, to write and to pause; what follows from it is its owner's. */
#ifndef MR_LINK_IO_H
#define MR_LINK_IO_H

#include "amqp/session.h"
#include "config/config.h"
#include "io/services.h"
#include "net/inlet.h"
#include "net/stream.h"

/* Both may stop it, and free the session. */
struct mr_link_io_port {
	void *owner;
	void (*moved)(void *owner);                       /* the session's state may have changed */
	void (*broken)(void *owner, const mr_error *why); /* the stream has failed */
};

/* Invariants. From start to stop there is a `stream`, its own, and a `session`, the link's. The nodes are in lists
 * of the services only then, but for `dirty`. */
struct mr_link_io {
	struct mr_services *services;
	const struct mr_config *config;
	uint32_t connection;
	struct mr_link_io_port port;

	struct mr_stream *stream;
	struct mr_session *session;
	struct mr_inlet inlet;
	ev_io io;
	bool writes_wait_to_read; /* TLS must hear the peer before it can write */

	struct mr_timer timer; /* the session's deadline */
	mr_msec timer_at;
	uint64_t pumps_seen; /* services->pumps at the last heartbeat, in loop mode */

	struct mr_node dirty;   /* it may have something to write */
	struct mr_node eager;   /* its stream has read ahead of us */
	struct mr_node paused;  /* it does not read for now */
	struct mr_node holding; /* its session keeps messages of curbed consumers */

	struct mr_tally *tally; /* what the host holds of its messages, or will: its own */
	struct mr_gauge *gauge; /* how many bytes have gone: its own */
	uint64_t published;     /* bytes of publishes taken, ever */
};

/* Takes the tally and the gauge. */
void mr_link_io_init(struct mr_link_io *io, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_link_io_port *port,
	struct mr_tally *tally, struct mr_gauge *gauge);
void mr_link_io_fini(struct mr_link_io *io);

/* Takes the stream, and borrows the session until it is stopped. */
void mr_link_io_start(struct mr_link_io *io, struct mr_stream *stream, struct mr_session *session);
void mr_link_io_stop(struct mr_link_io *io); /* closes the stream, if there is one */

void mr_link_io_touch(struct mr_link_io *io);      /* it may have something to write */
void mr_link_io_flush(struct mr_link_io *io);      /* writes what there is to write */
void mr_link_io_last_words(struct mr_link_io *io); /* writes what it can, whatever comes of it */
void mr_link_io_read(struct mr_link_io *io);       /* a turn of reading */
/* Has the host caught up, or does anything wait for an answer? Then it reads
 * on. */
void mr_link_io_judge(struct mr_link_io *io);
/* All but `left` bytes have left the process. */
void mr_link_io_gone(struct mr_link_io *io, size_t left);

#endif
