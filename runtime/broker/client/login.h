/* login: a connection's handshake, from start to open, on the broker's side.
 * SPDX-License-Identifier: MIT
 * Pure. */
#ifndef MR_BROKER_CLIENT_LOGIN_H
#define MR_BROKER_CLIENT_LOGIN_H

#include "broker/client/session_state.h"
#include "codec/client_method.h"

void mr_login_start(struct mr_broker_session *s);
/* Handles methods of channel 0 before the connection is open. MR_OK, or the reason why it ends. */
enum mr_status mr_login_method(struct mr_broker_session *s, const struct mr_client_method *m,
	mr_error *error);

#endif
