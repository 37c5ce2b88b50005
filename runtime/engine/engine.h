/* engine: the I/O thread of a runtime, seen from the host thread.
 * SPDX-License-Identifier: MIT
 * Host thread. The only header of engine/ that others include; it includes nothing of engine/. */
#ifndef MR_ENGINE_ENGINE_H
#define MR_ENGINE_ENGINE_H

#include "bridge/bridge.h"

struct mr_engine;

/* Makes the loop and starts the thread, and the one that writes the log, all signals blocked on them.
 * Borrows `bridge`. *gives*. */
enum mr_status mr_engine_start(struct mr_engine **out, struct mr_bridge *bridge, mr_error *error);
/* Reads the system's CAs, once in a process: here rather than on the I/O thread, which has 37 ms less for others. */
void mr_engine_warm_tls(void);
/* Waits for the I/O thread, which ends after MR_CMD_STOP, and frees all; the log's thread is still there,
 * for the host's last lines. *gives* it. */
struct mr_writer *mr_engine_join(struct mr_engine *engine);
/* Ends the log's thread, or, if it is stuck in a write, leaves it to itself. Takes NULL. */
void mr_writer_stop(struct mr_writer *writer);

#endif
