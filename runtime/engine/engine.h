/* engine: the I/O thread of a runtime, seen from the host thread.
 * SPDX-License-Identifier: MIT
 * Host thread. The only header of engine/ that others include; it includes nothing of engine/. */
#ifndef MR_ENGINE_ENGINE_H
#define MR_ENGINE_ENGINE_H

#include "bridge/bridge.h"

struct mr_engine;

/* Makes the loop and starts the thread, all signals blocked on it. Borrows `bridge`. *gives*. */
enum mr_status mr_engine_start(struct mr_engine **out, struct mr_bridge *bridge, mr_error *error);
/* Waits for the thread, which ends after MR_CMD_STOP, and frees all. Takes NULL. */
void mr_engine_join(struct mr_engine *engine);

#endif
