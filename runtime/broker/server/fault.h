/* fault: faults that a test injects into a server.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_BROKER_SERVER_FAULT_H
#define MR_BROKER_SERVER_FAULT_H

#include "broker/server/peer.h"

/* MR_FAULT_*, but for MR_FAULT_UNLISTEN, which is the server's. */
void mr_fault_set(struct mr_wire *w, int kind, int64_t number, mr_slice text);

#endif
