/* setup: a list of requests on a channel, sent one after the other, with one end.
 * SPDX-License-Identifier: MIT
 * Host thread. Each request bears the token of the whole; the answer to one sends the next. */
#ifndef MR_API_SETUP_H
#define MR_API_SETUP_H

#include "api/handle.h"

/* An MR_EV_DONE: sends the next request. False: the host does not get the event. */
bool mr_setup_answer(mr_runtime *rt, mr_event *event);
void mr_setup_free_all(mr_runtime *rt); /* with the runtime */

#endif
