/* bridge: everything that the host thread and the I/O thread of a runtime share.
 * SPDX-License-Identifier: MIT */
#include "bridge/bridge.h"

#include <unistd.h>

enum mr_status mr_bridge_open(struct mr_bridge *bridge, mr_error *error)
{
	enum mr_status st;
	*bridge = (struct mr_bridge){.io.fd = -1,
		.host.fd = -1,
		.helm.back.fd = -1,
		.signals.fd = -1};
	mr_mark_init(&bridge->progress, mr_clock_real());
	st = mr_ring_open(&bridge->commands, MR_COMMAND_RING);
	if (st == MR_OK) st = mr_ring_open(&bridge->events, MR_EVENT_RING);
	if (st == MR_OK) st = mr_recorder_open(&bridge->recorder);
	if (st == MR_OK) st = mr_wake_open(&bridge->io, error);
	if (st == MR_OK) st = mr_wake_open(&bridge->host, error);
	if (st == MR_OK) st = mr_helm_open(&bridge->helm, error);
	if (st == MR_OK) st = mr_signals_open(&bridge->signals, error);
	if (st == MR_OK) st = mr_logger_new(&bridge->logger, STDERR_FILENO, error);
	if (st != MR_OK) mr_bridge_close(bridge);
	return st;
}

void mr_bridge_close(struct mr_bridge *bridge)
{
	mr_wake_close(&bridge->io);
	mr_wake_close(&bridge->host);
	mr_helm_close(&bridge->helm);
	mr_signals_close(&bridge->signals);
	mr_wake_socket_free(bridge->wake_socket);
	bridge->wake_socket = NULL;
	mr_ring_close(&bridge->commands);
	mr_ring_close(&bridge->events);
	mr_log_queue_close(&bridge->log_queue);
	mr_recorder_close(&bridge->recorder);
	mr_spares_fini(&bridge->spares);
	if (bridge->logger) mr_logger_leave(bridge->logger);
	bridge->logger = NULL;
}
