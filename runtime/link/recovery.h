/* recovery: restores a lost connection with its channels, topology and consumers.
 * SPDX-License-Identifier: MIT
 * I/O thread. A link owns one, and implements its port. The host gets MR_EV_CONNECTION: lost,
 * retrying, open, recovered or gave up; and for each channel MR_EV_CHANNEL with status ok: again (a
 * new epoch), then ready.
 *
 * The objects to restore are a plan (plan.h), a pure function of the recorded topology. The replay
 * (replay.h) requests the steps through the port, and finds the answers among the session's
 * events. */
#ifndef MR_LINK_RECOVERY_H
#define MR_LINK_RECOVERY_H

#include "bridge/command.h"
#include "link/recovery_state.h"

void mr_recovery_init(struct mr_recovery *r, struct mr_services *services,
	const struct mr_config *config, uint32_t connection, const struct mr_recovery_port *port);
void mr_recovery_fini(struct mr_recovery *r);

/* The program opens the connection, or closes it. */
void mr_recovery_begin(struct mr_recovery *r);
void mr_recovery_end(struct mr_recovery *r);
/* True if a loss, or a failed try, with this kind of error is followed by another try. */
bool mr_recovery_would_retry(const struct mr_recovery *r, int kind);
/* Plans the next try, and informs the host; returns the wait. */
mr_msec mr_recovery_retry(struct mr_recovery *r, const mr_error *why);
/* The connection is open, with these negotiated limits. False: there is nothing to restore. */
bool mr_recovery_opened(struct mr_recovery *r, const struct mr_handshake *agreed);
/* False: who waits for the open connection must wait for its recovery, or for a second. */
bool mr_recovery_is_usable(const struct mr_recovery *r);
/* The session has ended, or is ending: objects that were being restored wait for the next one.
 * `why` is NULL if the program closed it. */
void mr_recovery_lost(struct mr_recovery *r, const mr_error *why);
/* Sees each event of the session before the host. True: it belongs to recovery, which has taken
 * it. */
bool mr_recovery_takes(struct mr_recovery *r, mr_event *event);

/* Commands of the host that recovery must see. */
void mr_recovery_channel_asked(struct mr_recovery *r, const struct mr_command *command);
void mr_recovery_channel_closed(struct mr_recovery *r, uint16_t number);
/* Does not restore a lost consumer; cancels it if it is restored already. */
void mr_recovery_forget(struct mr_recovery *r, uint32_t consumer);
/* Takes the copy until its answer arrives; false: out of memory, nothing was taken. */
bool mr_recovery_asked(struct mr_recovery *r, const struct mr_command *command);

#endif
