/* command: the `moonrabbit` command: opens LuaJIT and hands over to lua/moonrabbit/cli.
 * SPDX-License-Identifier: MIT
 * Host thread. The command handles signals, the library never does: they become bytes in a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "main/watchdog.h"
#include "moonrabbit.h"

#define SAME_SIGNAL 1000 /* ms: see on_stop */

static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t stops_seen;
static bool is_worker;       /* a worker ends with its supervisor */
static bool is_supervisor;   /* its Lua code never blocks and reads every signal */
static bool is_prompt;       /* SIGINT interrupts an expression, not the process */
static long long first_stop; /* ms */
static unsigned guard;       /* s that the script has after the first signal; 0: no limit */
static char last_words[512], last_words_end[512]; /* the exit code is written between */
static volatile sig_atomic_t haste = -1;          /* see lua_haste */
static volatile sig_atomic_t last_code = 75;
static volatile sig_atomic_t interrupts; /* see lua_interrupts */

static long long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Gives the Lua part a second to log what is lost, even during a busy loop of the script
 * (main/watchdog.h). */
static void hurry(int number)
{
	haste = number;
	alarm(1);
	raise(mr_main_watchdog_signal);
}

/* The first signal asks for a stop, the second ends the process, the third ends it without the last
 * log lines: a script in a busy loop never reads the first. A worker may get one signal twice: from
 * its supervisor, and by a signal to the whole group. */
static void on_stop(int number)
{
	if (is_supervisor) return;
	if (stops_seen == 0) {
		first_stop = milliseconds();
		if (guard) alarm(guard);
	} else if (is_worker && milliseconds() - first_stop < SAME_SIGNAL) {
		return;
	} else if (haste > 0 || !guard) {
		_exit(128 + number);
	} else {
		last_code = 128 + number;
		hurry(number);
	}
	stops_seen++;
}

static void on_signal(int number)
{
	int saved = errno;
	unsigned char byte = (unsigned char)number;
	bool is_interrupt = number == SIGINT && is_prompt;
	if (is_interrupt) {
		interrupts++;
		raise(mr_main_watchdog_signal); /* the Lua part may spin */
	} else if (number == SIGINT || number == SIGTERM || number == SIGQUIT) {
		on_stop(number);
	}
	ssize_t n = write(signal_pipe[1], &byte, 1);
	(void)n;
	errno = saved;
}

static void on_late(int number)
{
	(void)number;
	_exit(last_code);
}

static void say(const char *text)
{
	ssize_t n = write(2, text, strlen(text));
	(void)n;
}

/* The script is in a busy loop or waits without end: its unacked messages are redelivered
 * elsewhere. A standard error that is not read must not block the process. */
static void on_guard(int number)
{
	sigset_t late;
	int code = last_code;
	char digits[] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
		(char)('0' + code % 10), 0};
	if (haste < 0) {
		hurry(0);
		return;
	}
	signal(number, on_late);
	sigemptyset(&late);
	sigaddset(&late, number);
	sigprocmask(SIG_UNBLOCK, &late, NULL);
	alarm(1);
	say(last_words);
	say(code < 100 ? digits + 1 : digits);
	say(last_words_end);
	_exit(code);
}

static void catch (int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGINT);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaddset(&action.sa_mask, SIGQUIT);
	sigaction(number, &action, NULL);
}

static int catch_signals(void)
{
	sigset_t none;
	if (pipe2(signal_pipe, O_NONBLOCK | O_CLOEXEC) != 0) return -1;
	catch (SIGINT, on_signal);
	catch (SIGTERM, on_signal);
	catch (SIGQUIT, on_signal);
	catch (SIGUSR1, on_signal);
	catch (SIGUSR2, on_signal);
	sigemptyset(&none); /* a parent may have blocked them */
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* MOONRABBIT_SUPERVISOR is the process id of the supervisor that started this process. */
static int heed_supervisor(void)
{
	const char *pid = getenv("MOONRABBIT_SUPERVISOR");
	if (!pid) return 0;
	bool is_here = atol(pid) == (long)getppid(); /* it may have died already */
	is_worker = true;
	signal(SIGHUP, SIG_IGN); /* until there is a script that can be reloaded */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	unsetenv("MOONRABBIT_SUPERVISOR"); /* our own children have another parent */
	return is_here ? 0 : -1;
}

/* ---- what the Lua part asks for ---- */

/* catch(number): writes this signal to the pipe, too. */
static int lua_catch(lua_State *L)
{
	catch ((int)luaL_checkinteger(L, 1), on_signal);
	return 0;
}

/* supervise(): only the Lua part handles SIGINT and SIGTERM, also repeated ones. */
static int lua_supervise(lua_State *L)
{
	(void)L;
	is_supervisor = true;
	return 0;
}

/* prompt(): SIGINT no longer asks for a stop: it calls the function of watch, if there is one. */
static int lua_prompt(lua_State *L)
{
	(void)L;
	is_prompt = true;
	return 0;
}

/* interrupts() -> the number of SIGINTs that a prompt has had; each is a byte of the pipe, too. */
static int lua_interrupts(lua_State *L)
{
	lua_pushinteger(L, interrupts);
	return 1;
}

/* guard(seconds, before, behind): the process ends that long after a request to stop. Its last text
 * is its code between these two, unless the Lua part writes its own text within a second. */
static int lua_guard(lua_State *L)
{
	lua_Integer limit = luaL_checkinteger(L, 1);
	snprintf(last_words, sizeof last_words, "%s", luaL_checkstring(L, 2));
	snprintf(last_words_end, sizeof last_words_end, "%s\n", luaL_checkstring(L, 3));
	catch (SIGALRM, on_guard);
	guard = limit > 0 && limit < INT_MAX ? (unsigned)limit : 0;
	return 0;
}

/* haste() -> nil: there is no hurry. Otherwise the process must end at once: 0: the time is up; n:
 * signal n was the second one. */
static int lua_haste(lua_State *L)
{
	if (haste < 0) return 0;
	lua_pushinteger(L, haste);
	return 1;
}

/* end_now(code): ends the process at once. */
static int lua_end(lua_State *L)
{
	fflush(stdout);
	_exit((int)luaL_checkinteger(L, 1));
}

/* leave(code, close): ends the process as os.exit does. */
static int lua_leave(lua_State *L)
{
	int code = (int)luaL_checkinteger(L, 1);
	bool closes = lua_toboolean(L, 2);
	mr_main_watchdog_close();
	if (closes) lua_close(L);
	exit(code);
}

static void open_process(lua_State *L)
{
	static const luaL_Reg functions[] = {{"catch", lua_catch}, {"supervise", lua_supervise},
		{"prompt", lua_prompt}, {"interrupts", lua_interrupts}, {"guard", lua_guard},
		{"haste", lua_haste}, {"end_now", lua_end}, {"leave", lua_leave}, {NULL, NULL}};
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	lua_pushinteger(L, signal_pipe[0]);
	lua_setfield(L, -2, "signal_fd");
	lua_pushboolean(L, is_worker);
	lua_setfield(L, -2, "is_worker");
	mr_main_watchdog_open(L);
	lua_setglobal(L, "moonrabbit_process");
}

/* Finds the folder of the running program, from which the library's Lua files are found. */
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

/* If installed: beside the program, such as PREFIX/bin and PREFIX/share/lua/5.1. In a build tree: the compiled-in source
 * folder. */
static int library_folder(char *out, size_t capacity)
{
	char program[PATH_MAX];
	const char *set = getenv("MOONRABBIT_LUA");
	if (set && has_library(set)) {
		snprintf(out, capacity, "%s", set);
		return 0;
	}
	if (program_folder(program, sizeof program) == 0) {
		snprintf(out, capacity, "%s/" MR_INSTALLED_LUA, program);
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

/* All users of the machine can read a process's arguments: overwrites the passwords in a URL. */
static void hide_password(char *argument)
{
	static const char key[] = "password=";
	char *at_key = strstr(argument, "://") ? argument : NULL;
	while (at_key && (at_key = strcasestr(at_key, key))) {
		at_key += sizeof key - 1;
		memset(at_key, '*', strcspn(at_key, "&"));
	}
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

/* The parent may have closed some of them; a descriptor that we open must not get such a number. */
static void open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) _exit(1);
}

int main(int argc, char **argv)
{
	char folder[PATH_MAX + 32];
	open_standard();
	if (library_folder(folder, sizeof folder) != 0) {
		fprintf(stderr,
			"moonrabbit: cannot find its Lua files (share/lua/5.1/moonrabbit beside bin/)\n");
		return 1;
	}
	if (heed_supervisor() != 0) return 0;
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
	open_process(L);
	int code = run(L, argc, argv);
	fflush(stdout);
	mr_main_watchdog_close();
	lua_close(L);
	return code;
}
