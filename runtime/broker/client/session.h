/* session: one client's connection to the broker, without its socket.
 * SPDX-License-Identifier: MIT
 * Pure: bytes and `now` in, bytes and the next deadline out. */
#ifndef MR_BROKER_CLIENT_SESSION_H
#define MR_BROKER_CLIENT_SESSION_H

#include "broker/client/session_state.h"

struct mr_broker_session_options {
	void (*touch)(void *owner);
	void *owner;
};

/* *gives*; NULL when out of memory. */
struct mr_broker_session *mr_broker_session_open(struct mr_broker *b,
	const struct mr_broker_session_options *options);
/* The connection is closed: ends consumers, requeues unsettled messages, deletes exclusive queues.
 * NULL is allowed. */
void mr_broker_session_close(struct mr_broker_session *s);

/* Processes complete frames; returns the bytes used. *want: the minimum total size to continue.
 * Also stops when the turn is over (mr_store_is_spent). store.now must be set. */
size_t mr_broker_session_feed(struct mr_broker_session *s, const uint8_t *data, size_t size,
	size_t *want);
bool mr_broker_session_reads(const struct mr_broker_session *s); /* false: do not read the socket */
static inline struct mr_buffer *mr_broker_session_output(struct mr_broker_session *s)
{
	return &s->out;
}
/* Bytes were written; consumers that waited for room continue. */
void mr_broker_session_wrote(struct mr_broker_session *s);
void mr_broker_session_tick(struct mr_broker_session *s); /* heartbeats and time limits */
/* Counts its memory again; `kept` are bytes that wait to be processed. */
void mr_broker_session_weigh(struct mr_broker_session *s, size_t kept);
mr_msec mr_broker_session_deadline(const struct mr_broker_session *s);
/* Sends connection.close and waits for the answer. */
void mr_broker_session_shut(struct mr_broker_session *s, int code, const char *text,
	uint32_t failing);
void mr_broker_session_chore_done(struct mr_broker_session *s); /* may free the session */

#endif
