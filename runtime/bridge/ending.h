/* ending: ends our threads at the exit of the process, before the cleanup of libraries.
 * SPDX-License-Identifier: MIT
 * exit() runs handlers and destructors (OpenSSL's, GnuTLS's) while other threads continue. Our exit
 * handler makes the I/O threads close their connections cleanly, then makes the brokers' threads
 * end; the wait is bounded. A forked child has none of these threads: its exit does not wait. */
#ifndef MR_BRIDGE_ENDING_H
#define MR_BRIDGE_ENDING_H

#include "base/clock.h"
#include "base/status.h"

/* If a client hangs up without waiting for close-ok, RabbitMQ drops frames that its channels have
 * not processed; a loaded broker takes longer than half a second. The wait ends with the last
 * answer. */
#define MR_ENDING_TIME 2000 /* ms to close the connections cleanly */

enum mr_ending_who { MR_ENDING_IO, MR_ENDING_BROKER, MR_ENDING_KINDS };

/* Call it before starting a thread: from here on the thread counts. *fd (borrowed) becomes readable
 * when the process ends, and stays readable. MR_CLOSED: the process is ending already. */
enum mr_status mr_ending_enter(enum mr_ending_who who, int *fd, mr_error *error);
void mr_ending_is_ours(void);                 /* the first call in the thread */
void mr_ending_leave(enum mr_ending_who who); /* the thread could not be started */
/* The last call in the thread. A thread that is not joined at the end of the process parks, so that
 * its memory is not reported as a leak. */
void mr_ending_leave_and_park(enum mr_ending_who who, bool parks);
bool mr_ending_has_begun(void); /* true: do not wait for our threads any more */

#endif
