/* clock: milliseconds on the monotonic clock.
 * SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <time.h>

#include "moonrabbit.h"

/* By tests; read and written by the compiler's builtins, relaxed. */
static mr_msec moved;
static bool was_moved;

mr_msec mr_clock_real(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (mr_msec)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

mr_msec mr_clock_now(void) { return mr_clock_real() + __atomic_load_n(&moved, __ATOMIC_RELAXED); }

int64_t mr_clock_real_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t mr_clock_us(void)
{
	return (uint64_t)mr_clock_real_us() +
	       (uint64_t)__atomic_load_n(&moved, __ATOMIC_RELAXED) * 1000;
}

void mr_clock_move(mr_msec ahead)
{
	__atomic_store_n(&was_moved, true, __ATOMIC_RELAXED);
	__atomic_add_fetch(&moved, ahead, __ATOMIC_RELAXED);
}

bool mr_clock_was_moved(void) { return __atomic_load_n(&was_moved, __ATOMIC_RELAXED); }

double mr_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9 +
	       (double)__atomic_load_n(&moved, __ATOMIC_RELAXED) / 1e3;
}

mr_msec mr_clock_msec_of(double seconds)
{
	if (!(seconds > 0)) return 0; /* NaN too */
	double ms = seconds * 1000;
	if (ms >= (double)(MR_NEVER / 4)) return MR_NEVER / 4;
	mr_msec whole = (mr_msec)ms;
	return (double)whole < ms ? whole + 1 : whole;
}
