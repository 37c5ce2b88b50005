/* event: updates the host's handles by the I/O thread's events.
 * SPDX-License-Identifier: MIT
 * Host thread, while it pulls events. */
#ifndef MR_API_EVENT_H
#define MR_API_EVENT_H

#include "api/handle.h"

/* False: the event is internal, and the host does not get it. */
bool mr_event_apply(mr_runtime *rt, mr_event *event);

#endif
