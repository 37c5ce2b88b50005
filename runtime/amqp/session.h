/* session: one AMQP connection as a pure state machine: bytes, calls and `now` in; bytes, events
 * and the next deadline out.
 * SPDX-License-Identifier: MIT
 * I/O thread, or any single thread in tests. No I/O, no clock. Events are passed to `emit` during a
 * call; the receiver must not call back into the session. */
#ifndef MR_AMQP_SESSION_H
#define MR_AMQP_SESSION_H

#include "amqp/handshake.h"
#include "amqp/outbox.h"
#include "amqp/request.h"
#include "amqp/session_options.h"
#include "amqp/session_phase.h"

struct mr_session;
enum mr_status mr_session_open(struct mr_session **out, const struct mr_session_options *options);
void mr_session_free(
	struct mr_session *s); /* NULL is allowed; emits nothing: call mr_session_lose first */

/* Writes the protocol header. */
enum mr_status mr_session_start(struct mr_session *s, mr_msec now);
/* Processes received bytes. Returns the number of bytes used; pass the rest (at most one frame)
 * again together with further bytes; *want is the total size that this needs. For the result of
 * protocol violations see docs/architecture.md, "What a broker's mistakes cost". After the call
 * check the session's state and error. */
size_t mr_session_feed(struct mr_session *s, const uint8_t *data, size_t size, mr_msec now,
	size_t *want);
/* Where the next *size bytes of the stream may be read to: into their message. They are fed from
 * there, before anything else is done. NULL: nowhere. */
char *mr_session_place(struct mr_session *s, size_t *size);
/* The bytes to write. Consume the written ones, then call mr_session_wrote. */
struct mr_outbox *mr_session_output(struct mr_session *s);
void mr_session_wrote(struct mr_session *s, mr_msec now);
/* Turns the acks since the last flush into frames. */
void mr_session_flush(struct mr_session *s);
/* The same, unless they may wait for others (gather.h); call it once before every write. */
void mr_session_flush_due(struct mr_session *s, mr_msec now);
/* Handles deadlines: heartbeats, requests, confirms. True: read the socket, feed the bytes and call
 * this again (see heartbeat.h). `may_beat` false: sends no heartbeats (heartbeat_mode "loop"). */
bool mr_session_tick(struct mr_session *s, mr_msec now, bool may_beat);
mr_msec mr_session_deadline(const struct mr_session *s);
/* True while the program waits for the broker: for an answer, a confirm, a close, or the direct
 * reply to a publish of the last minute. Then the socket must be read. */
bool mr_session_is_asking(const struct mr_session *s);
/* Emits deliveries held for curbed consumers, as far as the host has caught up. True: some are
 * left. */
bool mr_session_let_go(struct mr_session *s);
void mr_session_deaf(struct mr_session *s, bool deaf, mr_msec now);
/* Sends connection.close; MR_SESSION_CLOSED when the peer has answered. */
void mr_session_shutdown(struct mr_session *s);

enum mr_session_state mr_session_state(const struct mr_session *s);
const mr_error *mr_session_error(
	const struct mr_session *s); /* why it closed; kind MR_OK: we closed it */
const struct mr_handshake *mr_session_handshake(const struct mr_session *s);
mr_table *mr_session_take_properties(
	struct mr_session *s); /* *gives* the server's; NULL: already taken */
bool mr_session_has_channel(const struct mr_session *s, uint16_t number);
/* Whether the broker has this consumer of the host; and the number of all consumers. */
bool mr_session_has_consumer(const struct mr_session *s, uint16_t channel, uint32_t consumer);
/* True if no message has come for this consumer since the last call, which began its time.
 * `is_of_queue`: its messages are no stream's; false: or there were none. */
bool mr_session_consumer_rests(struct mr_session *s, uint16_t channel, uint32_t consumer,
	bool *is_of_queue);
size_t mr_session_consumers(const struct mr_session *s);
/* What came for a consumer since the broker started it; `in_flight`: of its channel, what the host
 * has not settled; only if `is_alone` it is all the consumer's. False: there is no such consumer. */
struct mr_consumer_view {
	bool is_alone;
	uint64_t delivered;
	size_t in_flight;
};
bool mr_session_view_consumer(const struct mr_session *s, uint16_t channel, uint32_t consumer,
	struct mr_consumer_view *out);
size_t mr_session_unconfirmed(const struct mr_session *s); /* publishes without their confirm */

/* A new secret for the open connection (connection.update-secret): one at a time. */
void mr_session_update_secret(struct mr_session *s, uint64_t token, mr_slice secret,
	mr_msec deadline);
/* Cancels all consumers that it has not cancelled yet, for nobody. */
void mr_session_cancel_all(struct mr_session *s, mr_msec deadline);
/* True if no consumer is left, and no answer or confirm is awaited. */
bool mr_session_is_at_rest(const struct mr_session *s);
/* The host's requests. Each ends with MR_EV_DONE, in every state; requests are borrowed. */
void mr_session_channel_open(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
void mr_session_channel_close(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
void mr_session_request(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	const mr_request *request, mr_msec deadline);
/* Takes the publish's block. */
void mr_session_publish(struct mr_session *s, uint16_t number, const struct mr_publish *publish);
/* Settles a delivery of channel `number` in `epoch`; a settle of another epoch is ignored, because
 * it must not reach the wire. */
void mr_session_settle(struct mr_session *s, uint16_t number, uint32_t epoch, uint64_t tag, int how,
	int flags);

#endif
