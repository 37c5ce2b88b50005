/* clock: milliseconds on the monotonic clock.
 * SPDX-License-Identifier: MIT
 * Any thread. Pure code never calls mr_clock_now: the caller passes the time. */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef int64_t mr_msec;
#define MR_NEVER INT64_MAX /* no deadline */

mr_msec mr_clock_now(void);
mr_msec mr_clock_real(void); /* ignores mr_clock_move: for the real duration of threads' work */
int64_t mr_clock_real_us(void);
uint64_t mr_clock_us(void); /* mr_clock_now in microseconds, for measurements */
/* Tests only: advances the clock of this process by this many ms. */
void mr_clock_move(mr_msec ahead);
/* True: a test decides when time passes, so nothing waits for real time that need not. */
bool mr_clock_was_moved(void);
/* Seconds to milliseconds, rounded up; negative and NaN become 0, huge values stay below
 * MR_NEVER/2. */
mr_msec mr_clock_msec_of(double seconds);
/* Milliseconds for a field of 32 bits: at most 49 days. */
static inline uint32_t mr_clock_ms32(mr_msec ms)
{
	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
static inline mr_msec mr_earlier(mr_msec a, mr_msec b) { return a < b ? a : b; }

#endif
