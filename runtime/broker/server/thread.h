/* thread: starts and ends a server's thread; only for the registry.
 * SPDX-License-Identifier: MIT */
#ifndef MR_BROKER_SERVER_THREAD_H
#define MR_BROKER_SERVER_THREAD_H

#include "base/status.h"

enum mr_status mr_server_start(mr_server **out, const char *name, mr_error *error);
void mr_server_stop(mr_server *server);            /* waits for the thread, then frees it */
bool mr_server_stop_later(mr_server *server);      /* the thread frees it; false: pipe full */
bool mr_server_is_forked(const mr_server *server); /* true: it belongs to the parent process */

#endif
