/* ending: the end of the process, told to our threads before what they use is taken apart.
 * SPDX-License-Identifier: MIT
 * exit() runs handlers and destructors (OpenSSL's, GnuTLS's) while other threads go on. A handler of ours has
 * the I/O threads close their connections in good order, then the brokers' threads end, for a bounded moment.
 * A forked child has none of these threads: its exit waits for nobody and tells nobody. */
#ifndef MR_BRIDGE_ENDING_H
#define MR_BRIDGE_ENDING_H

#include "base/clock.h"
#include "base/status.h"

/* RabbitMQ drops what its channels have not come to when a client hangs up without waiting for close-ok; a loaded
 * one takes longer than half a second. Who answers sooner is not waited for. */
#define MR_ENDING_TIME 2000 /* ms for connections to be closed in good order */

enum mr_ending_who { MR_ENDING_IO, MR_ENDING_BROKER, MR_ENDING_KINDS };

/* Before a thread is started, by whoever starts it: the thread counts from here on. *fd, which is borrowed,
 * becomes readable when the process ends, and stays so. MR_CLOSED: it ends already. */
enum mr_status mr_ending_enter(enum mr_ending_who who, int *fd, mr_error *error);
void mr_ending_is_ours(void);                 /* the thread's first act */
void mr_ending_leave(enum mr_ending_who who); /* there is no thread after all */
/* The thread's last act. One that nobody joins at the process's end parks, so that what it holds is no leak. */
void mr_ending_leave_and_park(enum mr_ending_who who, bool parks);
bool mr_ending_has_begun(void); /* nobody is to wait for our threads any more */

#endif
