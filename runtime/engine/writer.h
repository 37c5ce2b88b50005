/* writer: the thread that writes a runtime's log lines, because any write may block without limit.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#ifndef MR_ENGINE_WRITER_H
#define MR_ENGINE_WRITER_H

#include "engine/engine.h"

struct mr_writer;

/* Starts the thread, which blocks all signals and becomes an owner of `logger`. *gives*. */
enum mr_status mr_writer_start(struct mr_writer **out, struct mr_logger *logger, mr_error *error);
/* mr_writer_stop is in engine.h: the host stops the writer last. */

#endif
