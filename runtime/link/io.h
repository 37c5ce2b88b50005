/* io: a link's stream: passes received bytes to the session, writes the session's output.
 * SPDX-License-Identifier: MIT
 * I/O thread. Decides when to read, write and pause; its owner reacts to the results. */
#ifndef MR_LINK_IO_H
#define MR_LINK_IO_H

#include "amqp/session.h"
#include "config/config.h"
#include "io/services.h"
#include "net/inlet.h"
#include "net/stream.h"

/* Both functions may stop the io and free the session. */
struct mr_link_io_port {
	void *owner;
	void (*moved)(void *owner);                       /* the session's state may have changed */
	void (*broken)(void *owner, const mr_error *why); /* the stream has failed */
};

/* Invariants. Between start and stop there is a `stream`, which it owns, and a `session`, which the
 * link owns. Except `dirty`, the nodes are in lists of the services only in that time. */
struct mr_link_io {
	struct mr_services *services;
	const struct mr_config *config;
	uint32_t connection;
	struct mr_link_io_port port;

	struct mr_stream *stream;
	struct mr_session *session;
	struct mr_inlet inlet;
	ev_io io;
	bool writes_wait_to_read; /* TLS must read before it can write */

	struct mr_timer timer; /* the session's deadline */
	mr_msec timer_at;
	uint64_t pumps_seen; /* services->pumps at the last heartbeat, in loop mode */

	struct mr_node dirty;   /* there may be output to write */
	struct mr_node eager;   /* the stream has buffered input */
	struct mr_node paused;  /* reading is paused */
	struct mr_node holding; /* the session holds messages of curbed consumers */

	struct mr_tally *tally;  /* owned: counts the deliveries that the host holds, or will get */
	struct mr_gauge *gauge;  /* owned: counts the bytes that have left */
	uint64_t published;      /* total bytes of publishes accepted */
	uint64_t received, sent; /* total bytes */
};

/* Takes the tally and the gauge. */
void mr_link_io_init(struct mr_link_io *io, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_link_io_port *port,
	struct mr_tally *tally, struct mr_gauge *gauge);
void mr_link_io_fini(struct mr_link_io *io);

/* Takes the stream, and borrows the session until it is stopped. */
void mr_link_io_start(struct mr_link_io *io, struct mr_stream *stream, struct mr_session *session);
/* Fills in what the stream knows: tls, tls_resumed, certificate_end. */
void mr_link_io_describe(const struct mr_link_io *io, mr_facts *out);
void mr_link_io_stop(struct mr_link_io *io); /* closes the stream, if there is one */

void mr_link_io_touch(struct mr_link_io *io);      /* there may be output to write */
void mr_link_io_flush_acks(struct mr_link_io *io); /* adds the acks that may not wait any more */
void mr_link_io_flush(struct mr_link_io *io);      /* writes the output */
void mr_link_io_last_words(struct mr_link_io *io); /* writes as much as it can, ignores failures */
void mr_link_io_read(struct mr_link_io *io);       /* a turn of reading */
/* Resumes reading if the host has caught up, or if the session waits for an answer. */
void mr_link_io_judge(struct mr_link_io *io);
/* All output except `left` bytes has left the process. */
void mr_link_io_gone(struct mr_link_io *io, size_t left);

#endif
