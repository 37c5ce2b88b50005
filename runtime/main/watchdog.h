/* watchdog: gets a word in while the script spins, in compiled loops, too.
 * SPDX-License-Identifier: MIT
 * Host thread. One Lua state for each process. */
#ifndef MR_MAIN_WATCHDOG_H
#define MR_MAIN_WATCHDOG_H

#include <lua.h>

/* Adds to the table on top of the stack:
 * watch(fn): from now on the signal that it returns has fn called at the script's next instruction, in the
 * script's own coroutine. fn returns whether it is to be called again at the next instruction, and an error
 * to be raised or nil. After an error it is called again, too: no pcall of the script holds it for long.
 * watch_compiled(on): has code that is compiled from now on look for the signal, too. */
void mr_main_watchdog_open(lua_State *L);
/* The signal that has fn called. */
extern const int mr_main_watchdog_signal;
/* Before the Lua state goes. */
void mr_main_watchdog_close(void);

#endif
