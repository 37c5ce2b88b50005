/* writer: the thread that writes a runtime's log lines, as any write may block for ever.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#ifndef MR_ENGINE_WRITER_H
#define MR_ENGINE_WRITER_H

#include "engine/engine.h"

struct mr_writer;

/* Starts it, all signals blocked on it. It becomes an owner of `logger`. *gives*. */
enum mr_status mr_writer_start(struct mr_writer **out, struct mr_logger *logger, mr_error *error);
/* mr_writer_stop is in engine.h: the host ends it last. */

#endif
