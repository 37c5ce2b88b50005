/* clock: milliseconds on the monotonic clock.
 * SPDX-License-Identifier: MIT
 * Any thread. Pure code never calls mr_clock_now: it is handed the time. */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t mr_msec;
#define MR_NEVER INT64_MAX /* a deadline that does not come */

mr_msec mr_clock_now(void);
mr_msec mr_clock_real(void); /* the same, but never moved: for what threads really take */
uint64_t mr_clock_us(void);  /* the same in microseconds, for measuring */
/* Tests only: from now on the clock of this process says so many ms more. */
void mr_clock_move(mr_msec ahead);
/* Seconds to milliseconds, rounded up; negative and NaN become 0, huge ones stay below MR_NEVER/2. */
mr_msec mr_clock_msec_of(double seconds);
/* For a field of 32 bits: 49 days at most. */
static inline uint32_t mr_clock_ms32(mr_msec ms)
{
	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
static inline mr_msec mr_earlier(mr_msec a, mr_msec b) { return a < b ? a : b; }

#endif
