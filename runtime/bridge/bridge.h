/* bridge: everything that the host thread and the I/O thread of a runtime share.
 * SPDX-License-Identifier: MIT
 * Made before the I/O thread starts, closed after it has ended. */
#ifndef MR_BRIDGE_BRIDGE_H
#define MR_BRIDGE_BRIDGE_H

#include "bridge/command.h"
#include "bridge/gauge.h"
#include "bridge/helm.h"
#include "bridge/log_queue.h"
#include "bridge/logger.h"
#include "bridge/mark.h"
#include "bridge/recorder.h"
#include "bridge/ring.h"
#include "bridge/signals.h"
#include "bridge/spares.h"
#include "bridge/wake.h"
#include "bridge/wake_socket.h"

/* Bytes: some 6000 publishes of 100 bytes. A content header of frame_max fits into a quarter of
 * it. */
#define MR_COMMAND_RING (1024 * 1024)
#define MR_EVENT_RING (512 * 1024) /* bytes: 8192 events */

struct mr_bridge {
	struct mr_ring commands;            /* host to I/O */
	struct mr_ring events;              /* I/O to host: struct mr_event */
	struct mr_wake io;                  /* the I/O thread sleeps on it */
	struct mr_wake host;                /* the host sleeps on it */
	struct mr_helm helm;                /* who runs the loop */
	struct mr_signals signals;          /* the host's, held while it does */
	struct mr_wake_socket *wake_socket; /* NULL: the host has asked for none */
	struct mr_logger *logger;
	struct mr_log_queue log_queue; /* open once the host has taken lines as events */
	struct mr_board board;
	struct mr_recorder recorder;
	struct mr_mark_shared progress;
	struct mr_spares spares; /* the I/O thread gives, the host takes */
	atomic_bool
		host_waits; /* the host is in a poll: loop-mode heartbeats may be sent, the helm be handed over */
	atomic_uint_least64_t page; /* token of the last MR_EV_PAGE that the host has pulled */
};

enum mr_status mr_bridge_open(struct mr_bridge *bridge, mr_error *error);
void mr_bridge_close(struct mr_bridge *bridge); /* also for a zeroed bridge with wakes of -1 */

#endif
