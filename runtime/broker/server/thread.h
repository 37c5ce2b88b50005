/* thread: starting and ending a server's thread, for the registry alone.
 * SPDX-License-Identifier: MIT */
#ifndef MR_BROKER_SERVER_THREAD_H
#define MR_BROKER_SERVER_THREAD_H

#include "base/status.h"

enum mr_status mr_server_start(mr_server **out, const char *name, mr_error *error);
void mr_server_stop(mr_server *server);            /* waits for the thread, frees */
bool mr_server_stop_later(mr_server *server);      /* the thread frees; false: its mail is full */
bool mr_server_is_forked(const mr_server *server); /* it is the parent's */

#endif
