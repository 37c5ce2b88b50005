/* event: brings the host's handles up to date with what the I/O thread tells.
 * SPDX-License-Identifier: MIT
 * Host thread, while it pulls events. */
#ifndef MR_API_EVENT_H
#define MR_API_EVENT_H

#include "api/handle.h"

/* False: the host need not see it. */
bool mr_event_apply(mr_runtime *rt, mr_event *event);

#endif
