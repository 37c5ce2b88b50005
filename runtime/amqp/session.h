/* session: one AMQP connection as a pure machine: bytes, calls and `now` in; bytes, events and the
 * next deadline out.
 * SPDX-License-Identifier: MIT
 * I/O thread, or any one thread in tests. No I/O and no clock of its own. Events are told through
 * `emit` while a call runs; the receiver must not call back into the session. */
#ifndef MR_AMQP_SESSION_H
#define MR_AMQP_SESSION_H

#include "amqp/handshake.h"
#include "amqp/request.h"
#include "amqp/session_options.h"
#include "amqp/session_phase.h"
#include "base/buffer.h"

struct mr_session;
enum mr_status mr_session_open(struct mr_session **out, const struct mr_session_options *options);
void mr_session_free(
	struct mr_session *s); /* takes NULL; ends nothing: call mr_session_end first */

/* Writes the protocol header. */
enum mr_status mr_session_start(struct mr_session *s, mr_msec now);
/* Takes what the peer sent. Returns the bytes it used: the rest, at most one frame, is to be shown
 * again with more behind it; *want is how many bytes in all that needs. A violation costs what it must, and no
 * more: docs/architecture.md, "What a broker's mistakes cost". The session's end: see its state and error. */
size_t mr_session_feed(struct mr_session *s, const uint8_t *data, size_t size, mr_msec now,
	size_t *want);
/* What is to be written. Consume what was taken, then tell mr_session_wrote. */
struct mr_buffer *mr_session_output(struct mr_session *s);
void mr_session_wrote(struct mr_session *s, mr_msec now);
/* Turns the acks gathered since the last flush into frames: once before every write. */
void mr_session_flush(struct mr_session *s);
/* Deadlines: heartbeats, requests, confirms. True: look into the socket, feed what is there and call
 * again (see heartbeat.h). `may_beat` false holds heartbeats back (heartbeat_mode "loop"). */
bool mr_session_tick(struct mr_session *s, mr_msec now, bool may_beat);
mr_msec mr_session_deadline(const struct mr_session *s);
/* Does anything that was asked for still wait for the broker's word: an answer, a confirm, a close, the
 * direct reply to a publish of a minute ago? Then what comes must be read. */
bool mr_session_is_asking(const struct mr_session *s);
/* Tells what curbed consumers held for a host that was behind, as far as it has caught up. Is some left? */
bool mr_session_let_go(struct mr_session *s);
void mr_session_deaf(struct mr_session *s, bool deaf, mr_msec now);
/* Says connection.close; MR_SESSION_CLOSED when the peer agrees. */
void mr_session_shutdown(struct mr_session *s);

enum mr_session_state mr_session_state(const struct mr_session *s);
const mr_error *mr_session_error(
	const struct mr_session *s); /* why it closed; kind MR_OK: we did */
const struct mr_handshake *mr_session_handshake(const struct mr_session *s);
mr_table *mr_session_take_properties(
	struct mr_session *s); /* *gives* those of the server; NULL: no more */
bool mr_session_has_channel(const struct mr_session *s, uint16_t number);
/* Does the broker know this consumer of the host's? And how many has it in all? */
bool mr_session_has_consumer(const struct mr_session *s, uint16_t channel, uint32_t consumer);
size_t mr_session_consumers(const struct mr_session *s);

/* Another secret for the open connection (connection.update-secret): one at a time. */
void mr_session_update_secret(struct mr_session *s, uint64_t token, mr_slice secret,
	mr_msec deadline);
/* What the host asks for. Each ends in MR_EV_DONE, whatever the state; requests are borrowed. */
void mr_session_channel_open(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
void mr_session_channel_close(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	mr_msec deadline);
void mr_session_request(struct mr_session *s, uint16_t number, uint64_t token, uint32_t epoch,
	const mr_request *request, mr_msec deadline);
void mr_session_publish(struct mr_session *s, uint16_t number, const struct mr_publish *publish);
/* Settles a delivery of channel `number` in `epoch`; others are ignored: they must not reach the wire. */
void mr_session_settle(struct mr_session *s, uint16_t number, uint32_t epoch, uint64_t tag, int how,
	int flags);

#endif
