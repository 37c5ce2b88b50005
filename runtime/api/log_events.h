/* log_events: log lines as events of the host's, and the calls that set and write the log.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#ifndef MR_API_LOG_EVENTS_H
#define MR_API_LOG_EVENTS_H

#include "api/handle.h"

bool mr_log_events_wait(const mr_runtime *rt); /* true: there is a line, or a count to report */
int mr_log_events_take(mr_runtime *rt, mr_event *events, int max);
/* Passes what no poll has taken to the thread that writes standard error. */
void mr_log_events_write_out(mr_runtime *rt);

#endif
