/* command: the `moonrabbit` command: opens LuaJIT and hands over to lua/moonrabbit/cli.
 * SPDX-License-Identifier: MIT
 * Host thread. Signals are the command's business, never the library's: they become bytes in a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moonrabbit.h"

static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t signals_seen;

/* The first signal asks, the second ends: a script that spins never reads the first. */
static void on_signal(int number)
{
	int saved = errno;
	unsigned char byte = (unsigned char)number;
	if (signals_seen++) _exit(128 + number);
	ssize_t n = write(signal_pipe[1], &byte, 1);
	(void)n;
	errno = saved;
}

static int catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigset_t none;
	if (pipe2(signal_pipe, O_NONBLOCK | O_CLOEXEC) != 0) return -1;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGINT);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigemptyset(&none); /* a parent may have left them blocked */
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The folder of the running program: the library's Lua files are found from it. */
static int program_folder(char *out, size_t capacity)
{
	ssize_t n = readlink("/proc/self/exe", out, capacity - 1);
	if (n <= 0) return -1;
	out[n] = '\0';
	char *slash = strrchr(out, '/');
	if (!slash) return -1;
	*slash = '\0';
	return 0;
}

static int has_library(const char *folder)
{
	char file[PATH_MAX + 64];
	snprintf(file, sizeof file, "%s/moonrabbit/init.lua", folder);
	return access(file, R_OK) == 0;
}

/* Installed: PREFIX/bin and PREFIX/share/lua/5.1. Build tree: the source folder is compiled in. */
static int library_folder(char *out, size_t capacity)
{
	char program[PATH_MAX];
	const char *set = getenv("MOONRABBIT_LUA");
	if (set && has_library(set)) {
		snprintf(out, capacity, "%s", set);
		return 0;
	}
	if (program_folder(program, sizeof program) == 0) {
		snprintf(out, capacity, "%s/../share/lua/5.1", program);
		if (has_library(out)) return 0;
	}
#ifdef MR_SOURCE_LUA
	snprintf(out, capacity, "%s", MR_SOURCE_LUA);
	if (has_library(out)) return 0;
#endif
	return -1;
}

static int traceback(lua_State *L)
{
	const char *message = lua_tostring(L, 1);
	luaL_traceback(L, L, message ? message : "(error object is not a string)", 1);
	return 1;
}

static void set_path(lua_State *L, const char *folder)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "path");
	lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", folder, folder, lua_tostring(L, -1));
	lua_setfield(L, -3, "path");
	lua_pop(L, 2);
}

/* Everybody on the machine may read a process's arguments: the password within a URL is wiped. */
static void hide_password(char *argument)
{
	char *user = strstr(argument, "://");
	char *at = user ? strrchr(user, '@') : NULL;
	char *colon = at ? memchr(user + 3, ':', (size_t)(at - user - 3)) : NULL;
	if (colon) memset(colon + 1, '*', (size_t)(at - colon - 1));
}

static void push_arguments(lua_State *L, int argc, char **argv)
{
	lua_createtable(L, argc, 0);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
		hide_password(argv[i]);
	}
}

/* require("moonrabbit.cli").main(arguments) -> exit code */
static int run(lua_State *L, int argc, char **argv)
{
	lua_pushcfunction(L, traceback);
	lua_getglobal(L, "require");
	lua_pushstring(L, "moonrabbit.cli");
	if (lua_pcall(L, 1, 1, 1) != 0) goto failed;
	lua_getfield(L, -1, "main");
	push_arguments(L, argc, argv);
	if (lua_pcall(L, 1, 1, 1) != 0) goto failed;
	return (int)lua_tointeger(L, -1);
failed:
	fprintf(stderr, "moonrabbit: %s\n", lua_tostring(L, -1));
	return 1;
}

int main(int argc, char **argv)
{
	char folder[PATH_MAX + 32];
	if (library_folder(folder, sizeof folder) != 0) {
		fprintf(stderr,
			"moonrabbit: cannot find its Lua files (share/lua/5.1/moonrabbit beside bin/)\n");
		return 1;
	}
	if (catch_signals() != 0) {
		perror("moonrabbit: signals");
		return 1;
	}
	lua_State *L = luaL_newstate();
	if (!L) {
		fprintf(stderr, "moonrabbit: out of memory\n");
		return 1;
	}
	luaL_openlibs(L);
	set_path(L, folder);
	lua_pushinteger(L, signal_pipe[0]);
	lua_setglobal(L, "moonrabbit_signal_fd");
	int code = run(L, argc, argv);
	fflush(stdout);
	lua_close(L);
	return code;
}
