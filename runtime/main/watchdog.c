/* watchdog: interrupts a script that computes, also in compiled loops.
 * SPDX-License-Identifier: MIT
 * A hook works in interpreted code only: compiled code never checks for one. But while LuaJIT's profiler runs in
 * line mode, each compiled loop checks for a requested sample and, if there is one, returns to the interpreter,
 * where the hook fires. So the profiler is started, and its timer is stopped at once: the only signal is
 * ours, and the remaining cost is a test of one bit for each line.
 * docs/decisions/0005-watchdog.md has the figures. */
#include "main/watchdog.h"

#include <errno.h>
#include <lauxlib.h>
#include <luajit.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

#define SIGNAL SIGURG /* ignored by default: an extra one does no harm */
#define TRIES 20000   /* the number of instructions for which fn may return "again", per signal */
#define NEVER_MS "1000000000"

const int mr_main_watchdog_signal = SIGNAL;

static lua_State *state;
static void (*volatile ask_compiled)(
	int); /* the profiler's own handler of SIGPROF; NULL: it does not run */
static volatile sig_atomic_t tries;
static char key; /* its address is the key of fn in the registry */

/* The script's own hook, which ours replaces for a while. */
static lua_Hook old_hook;
static int old_mask, old_count;

static void hook(lua_State *L, lua_Debug *event)
{
	(void)event;
	lua_pushlightuserdata(L, &key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_call(L, 0, 2);
	if (!lua_isnil(L, -1)) lua_error(L); /* raised in the script; the hook stays */
	int again = lua_toboolean(L, -2);
	lua_pop(L, 2);
	if (again && ++tries < TRIES) return;
	lua_sethook(L, old_hook, old_mask, old_count);
}

/* Sets the hook as luajit's handler of SIGINT does. */
static void on_signal(int number)
{
	int saved = errno;
	(void)number;
	if (lua_gethook(state) != hook) {
		old_hook = lua_gethook(state);
		old_mask = lua_gethookmask(state);
		old_count = lua_gethookcount(state);
	}
	tries = 0;
	/* Turns the hook off first: if the signal interrupted a change of hooks in LuaJIT, this
	 * sets the switch again. */
	lua_sethook(state, NULL, 0, 0);
	lua_sethook(state, hook, LUA_MASKCOUNT, 1);
	if (ask_compiled) ask_compiled(SIGPROF);
	errno = saved;
}

static int lua_watch(lua_State *L)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_pushlightuserdata(L, &key);
	lua_insert(L, 1);
	lua_rawset(L, LUA_REGISTRYINDEX);
	sigemptyset(&action.sa_mask);
	sigaction(SIGNAL, &action, NULL);
	lua_pushinteger(L, SIGNAL);
	return 1;
}

static void no_sample(void *data, lua_State *L, int samples, int vmstate)
{
	(void)data;
	(void)L;
	(void)samples;
	(void)vmstate;
}

/* Start and stop both discard compiled code, which is compiled again when it is hot. */
static int lua_watch_compiled(lua_State *L)
{
	struct itimerval none = {.it_value = {0, 0}};
	struct sigaction before, profiler;
	if (!lua_toboolean(L, 1) == !ask_compiled) return 0;
	sigaction(SIGPROF, NULL, &before);
	if (ask_compiled) {
		ask_compiled = NULL;
		luaJIT_profile_stop(L);
	} else {
		luaJIT_profile_start(L, "li" NEVER_MS, no_sample, NULL);
		setitimer(ITIMER_PROF, &none, NULL);
		sigaction(SIGPROF, NULL, &profiler);
		if (profiler.sa_handler != before.sa_handler) ask_compiled = profiler.sa_handler;
	}
	sigaction(SIGPROF, &before, NULL);
	return 0;
}

void mr_main_watchdog_open(lua_State *L)
{
	state = L;
	lua_pushcfunction(L, lua_watch);
	lua_setfield(L, -2, "watch");
	lua_pushcfunction(L, lua_watch_compiled);
	lua_setfield(L, -2, "watch_compiled");
}

void mr_main_watchdog_close(void) { signal(SIGNAL, SIG_IGN); }
