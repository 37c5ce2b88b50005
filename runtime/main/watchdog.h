/* watchdog: interrupts a script that computes, also in compiled loops.
 * SPDX-License-Identifier: MIT
 * Host thread. One Lua state for each process. */
#ifndef MR_MAIN_WATCHDOG_H
#define MR_MAIN_WATCHDOG_H

#include <lua.h>

/* Adds to the table on top of the stack:
 * watch(fn): returns a signal. From now on this signal calls fn at the script's next instruction,
 * in the script's current coroutine. fn returns whether it must be called again at the next
 * instruction, and an error to raise, or nil. After an error it is also called again, so that a
 * pcall of the script cannot hold the error for long.
 * watch_compiled(on): makes code that is compiled from now on check for the signal, too. */
void mr_main_watchdog_open(lua_State *L);
/* The signal that calls fn. */
extern const int mr_main_watchdog_signal;
/* Call it before the Lua state is closed. */
void mr_main_watchdog_close(void);

#endif
