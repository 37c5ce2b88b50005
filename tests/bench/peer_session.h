/* peer_session: one AMQP connection seen from the server: handshake, channels, deliveries, acks,
 * publishes, confirms. Bytes in, bytes out.
 * One thread. Does no I/O. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_PEER_SESSION_H
#define BENCH_PEER_SESSION_H
#include "peer_settle.h"
#include "peer_wire.h"

struct peer_options {
	uint64_t messages; /* deliveries per consumer */
	size_t body;       /* bytes of each */
	unsigned refill;   /* percent of the prefetch that must be free before more is sent */
};

struct peer_counts { /* of the whole process */
	uint64_t connections, delivered, acked, nacked, unsettled;
	uint64_t published, published_bytes, confirmed, violations;
};

struct blast;
struct channel;

enum session_state {
	SESSION_GREETING, /* waits for the protocol header */
	SESSION_LOGIN,
	SESSION_TUNING,
	SESSION_OPENING,
	SESSION_OPEN,
	SESSION_CLOSED /* what is left of the output is sent, then the socket is closed */
};

struct session {
	const struct peer_options *options; /* borrowed, as is the next */
	struct peer_counts *counts;
	enum session_state state;
	uint32_t frame_max;
	const char *fault; /* what the client did wrong, or NULL; sticky */
	struct wire_out control;
	size_t control_sent;
	struct channel **channels; /* by number; holes are NULL */
	unsigned channel_count;    /* length of that array */
	struct blast *blasting;    /* the block whose write is under way, or NULL */
	bool is_orphan;            /* its channel is gone: free it when it is written */
	unsigned next_blaster;     /* round robin */
	bool is_held;              /* deliveries wait for more room in the prefetch */
};

void session_init(struct session *s, const struct peer_options *options,
	struct peer_counts *counts);
void session_fini(struct session *s);

/* Takes whole frames from the bytes and says how many bytes that was. Ends with the confirms of
 * what it took. A fault sets `fault` and `state`. */
size_t session_input(struct session *s, const uint8_t *data, size_t length);

/* The next bytes to write (borrowed until session_wrote), 0 when there are none. With `is_patient`
 * a consumer whose prefetch has little room is passed over, and `is_held` set. */
size_t session_output(struct session *s, const uint8_t **data, bool is_patient);
void session_wrote(struct session *s, size_t count);
#endif
