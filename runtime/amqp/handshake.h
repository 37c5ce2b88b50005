/* handshake: the client's part of the handshake, from the protocol header to connection.open-ok.
 * SPDX-License-Identifier: MIT
 * Pure: methods in, methods out. The session feeds it and writes its answers. */
#ifndef MR_AMQP_HANDSHAKE_H
#define MR_AMQP_HANDSHAKE_H

#include "base/clock.h"
#include "codec/method.h"

struct mr_login { /* borrowed by the handshake until its end */
	mr_slice user, password, vhost;
	mr_slice mechanism; /* "PLAIN" or "EXTERNAL" */
	/* The user's: they override the library's, except capabilities, which are merged. */
	const mr_table *client_properties;
	mr_slice connection_name;
	uint32_t frame_max;   /* requested; 0: no limit */
	uint16_t channel_max; /* 0: no limit (65535) */
	uint16_t heartbeat;   /* seconds; 0: none */
	bool insist;
};

enum mr_handshake_step { MR_HS_START, MR_HS_TUNE, MR_HS_OPEN, MR_HS_DONE, MR_HS_FAILED };

struct mr_handshake {
	const struct mr_login *login;
	enum mr_handshake_step step;
	mr_table *server_properties; /* owned; NULL before start */
	uint32_t frame_max;          /* this and the next two: negotiated by tune */
	uint16_t channel_max;
	uint16_t heartbeat;
};

void mr_handshake_init(struct mr_handshake *hs, const struct mr_login *login);
void mr_handshake_fini(struct mr_handshake *hs);
/* Takes one method of channel 0 (and start's table, always) and appends the answer to `out`.
 * Failures fill `error`: wrong method for the step (MR_COMMAND_INVALID 503), no common mechanism
 * (MR_AUTHENTICATION_FAILED), version other than 0-9 (MR_PROTOCOL_MISMATCH), connection.close
 * (403 before open: MR_AUTHENTICATION_FAILED; at open: 403 or 530 "vhost not found"/"access to
 * vhost refused": MR_VHOST_ACCESS_REFUSED; 530 "connection limit": MR_CONNECTION_LIMIT_REACHED;
 * else by code), after which it has appended close-ok. */
enum mr_status mr_handshake_feed(struct mr_handshake *hs, struct mr_method *method,
	struct mr_buffer *out, mr_error *error);
/* The meaning of a closed socket at this step: after start-ok and before tune, the peer has refused
 * the login (MR_AUTHENTICATION_FAILED); after open: MR_VHOST_ACCESS_REFUSED; else `kind`. A broker
 * with the capability "authentication_failure_close" reports a refusal: then the meaning is always
 * `kind`. */
enum mr_status mr_handshake_lost(const struct mr_handshake *hs, enum mr_status kind,
	mr_error *error);

/* AMQP's rule for tune: the smaller of the non-zero values; 0 means no limit. */
uint32_t mr_handshake_negotiate(uint32_t ours, uint32_t theirs);

#endif
