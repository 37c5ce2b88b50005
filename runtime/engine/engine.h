/* engine: the I/O thread of a runtime, as used by the host thread.
 * SPDX-License-Identifier: MIT
 * Host thread. The only header of engine/ that others include; it includes nothing of engine/. */
#ifndef MR_ENGINE_ENGINE_H
#define MR_ENGINE_ENGINE_H

#include "bridge/bridge.h"

struct mr_engine;

/* Makes the loop and starts the I/O thread and the thread that writes the log; both block all
 * signals. Borrows `bridge`. *gives*. */
enum mr_status mr_engine_start(struct mr_engine **out, struct mr_bridge *bridge, mr_error *error);
/* Reads the system's CAs, once per process, on the host's thread, because it would block the I/O
 * thread for 37 ms. */
void mr_engine_warm_tls(void);
enum mr_lead {
	MR_LEAD_DONE,
	MR_LEAD_INTERRUPTED, /* a signal waits for its handler */
	MR_LEAD_STOPPED      /* the I/O thread must have the helm back, for its end */
};
struct mr_look {       /* for something to do, before a sleep */
	uint64_t left; /* us: for so long at most; gets what is left of it */
	enum { MR_LOOK_NONE, MR_LOOK_FOUND, MR_LOOK_VAIN } outcome; /* gets it */
};
/* Host that has the helm, and holds its signals: a turn of the loop, a look at the descriptors, which
 * is a sleep of at most so long if no event has come, and a turn for what that has brought. */
enum mr_lead mr_engine_lead(struct mr_engine *engine, double seconds, struct mr_look *look);
/* Waits for the end of the I/O thread after MR_CMD_STOP, and frees the engine. *Gives* the log's
 * thread, which still runs for the host's last lines. */
struct mr_writer *mr_engine_join(struct mr_engine *engine);
/* Ends the log's thread, or, if it is stuck in a write, detaches it. NULL is allowed. */
void mr_writer_stop(struct mr_writer *writer);

#endif
