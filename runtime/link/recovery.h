/* recovery: brings a lost connection back, and what the program had on it.
 * SPDX-License-Identifier: MIT
 * I/O thread. A link owns one, and is its port. What the host is told: MR_EV_CONNECTION lost, retrying, open,
 * recovered or gave up; for each channel MR_EV_CHANNEL with status ok: again (a new epoch), then ready.
 *
 * What is to be made again is a plan (plan.h), a pure function of the recorded topology. The replay (replay.h) asks the
 * broker for its steps through the port, and hears the answers among the session's events. */
#ifndef MR_LINK_RECOVERY_H
#define MR_LINK_RECOVERY_H

#include "bridge/command.h"
#include "link/recovery_state.h"

void mr_recovery_init(struct mr_recovery *r, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_recovery_port *port);
void mr_recovery_fini(struct mr_recovery *r);

/* The program wants the connection, or wants it no more. */
void mr_recovery_begin(struct mr_recovery *r);
void mr_recovery_end(struct mr_recovery *r);
/* Will a connection that is lost now, or a try that fails, be followed by another? */
bool mr_recovery_would_retry(const struct mr_recovery *r, int kind);
/* Plans the next try, and tells the host; returns how long it waits. */
mr_msec mr_recovery_retry(struct mr_recovery *r, const mr_error *why);
/* The connection is open, on these terms. False: there is nothing to bring back. */
bool mr_recovery_opened(struct mr_recovery *r, const struct mr_handshake *agreed);
/* The session has gone, or goes: what was being brought back waits for the next one. `why` is NULL when the program
 * wants it so. */
void mr_recovery_lost(struct mr_recovery *r, const mr_error *why);
/* An event of the session on its way to the host. True: it is recovery's own, and taken. */
bool mr_recovery_takes(struct mr_recovery *r, mr_event *event);

/* Commands of the host that recovery must know of. */
void mr_recovery_channel_asked(struct mr_recovery *r, const struct mr_command *command);
void mr_recovery_channel_closed(struct mr_recovery *r, uint16_t number);
/* A consumer that is away must not come back; one that is back already is cancelled. */
void mr_recovery_forget(struct mr_recovery *r, uint32_t consumer);
/* Takes the copy until its answer comes; false: out of memory, nothing was taken. */
bool mr_recovery_asked(struct mr_recovery *r, const struct mr_command *command);

#endif
