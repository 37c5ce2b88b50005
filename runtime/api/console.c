/* console: the host's calls for its console: makes the socket, and hands it to the I/O thread.
 * SPDX-License-Identifier: MIT
 * Host thread: files may block. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/handle.h"
#include "base/alloc.h"
#include "base/local_socket.h"

#define BACKLOG 511
#define NAME_MAX_SIZE 40 /* of the program, in the file's name */

/* This user's directory for sockets, or NULL. Beyond sudo or su the variable may name another's. */
static const char *runtime_directory(void)
{
	const char *home = secure_getenv("XDG_RUNTIME_DIR");
	struct stat st;
	if (!home || home[0] != '/' || stat(home, &st) != 0) return NULL;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() ? home : NULL;
}

bool mr_console_folder(char *out, size_t capacity)
{
	const char *home = runtime_directory();
	int n = home             ? snprintf(out, capacity, "%s/moonrabbit", home)
	        : geteuid() == 0 ? snprintf(out, capacity, "/run/moonrabbit")
	                         : snprintf(out, capacity, "/tmp/moonrabbit-%u", geteuid());
	return n > 0 && (size_t)n < capacity;
}

/* Makes the folder, or checks that it is one of ours that others cannot enter. */
static bool make_folder(const char *path)
{
	struct stat st;
	if (mkdir(path, 0700) == 0) return true;
	if (errno != EEXIST || lstat(path, &st) != 0) return false;
	errno = EPERM;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* The name with only letters, digits, dots, underscores and hyphens. */
static void clean_name(char out[NAME_MAX_SIZE + 1], const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = 0;
	if (!name || !*name) name = "program";
	for (; *name && n < NAME_MAX_SIZE; name++) out[n++] = strchr(plain, *name) ? *name : '_';
	out[n] = '\0';
}

static bool choose_path(struct mr_local_socket *s, const char *name, mr_error *error)
{
	char clean[NAME_MAX_SIZE + 1];
	clean_name(clean, name);
	char folder[sizeof s->path];
	bool fits = mr_console_folder(folder, sizeof folder);
	int size = fits ? snprintf(s->path, sizeof s->path, "%s/%d-%s.sock", folder, (int)getpid(),
				  clean)
	                : 0;
	if (!fits || (size_t)size >= sizeof s->path) {
		mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"the folder of consoles has a path that is too long for a socket");
		return false;
	}
	if (make_folder(folder)) return true;
	bool is_open = errno == EPERM;
	mr_error_system(error, MR_NOT_ALLOWED, MR_SCOPE_CONFIG, errno,
		is_open ? "the folder of consoles, %s, must be this user's alone (mode 0700)"
			: "the folder of consoles, %s, cannot be made",
		folder);
	return false;
}

static enum mr_status fail(struct mr_local_socket *s, mr_error *error)
{
	int system = errno;
	enum mr_status st = mr_error_system(error,
		system == EMFILE || system == ENFILE ? MR_NO_DESCRIPTORS : MR_NOT_ALLOWED,
		MR_SCOPE_CONFIG, system, "cannot open the console %s", s->path);
	mr_local_socket_close(s);
	mr_free(s);
	return st;
}

static enum mr_status open_socket(struct mr_local_socket **out, const char *path, const char *name,
	mr_error *error)
{
	mr_error why = {0};
	struct mr_local_socket *s = mr_calloc(1, sizeof *s);
	if (!s) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_NONE, 0, "out of memory");
	s->listener = -1;
	if (path && (path[0] != '/' || strlen(path) >= sizeof s->path))
		mr_error_set(&why, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"the path of a console must be absolute, and at most %zu bytes",
			sizeof s->path - 1);
	else if (path)
		memcpy(s->path, path, strlen(path));
	else
		choose_path(s, name, &why);
	if (why.kind) {
		mr_free(s);
		if (error) *error = why;
		return (enum mr_status)why.kind;
	}
	if (!mr_local_socket_listen(s, BACKLOG)) return fail(s, error);
	*out = s;
	return MR_OK;
}

int mr_console_start(mr_runtime *rt, const char *path, const char *name, mr_error *error)
{
	struct mr_command c = {.type = MR_CMD_HEALTH, .health = {.what = MR_CONSOLE_LISTEN}};
	if (mr_handle_is_forked(rt))
		return mr_error_set(error, MR_FORKED, MR_SCOPE_NONE, 0, "the process is a fork");
	if (rt->console.path[0])
		return mr_error_set(error, MR_NOT_ALLOWED, MR_SCOPE_CONFIG, 0,
			"the console is open already: %s", rt->console.path);
	enum mr_status st = open_socket(&c.health.console, path, name, error);
	if (st != MR_OK) return st;
	rt->console = *c.health.console;
	rt->console.listener = -1; /* the I/O thread's */
	st = mr_command_send(rt, &c);
	if (st == MR_OK) return MR_OK;
	rt->console.path[0] = '\0';
	mr_local_socket_close(c.health.console);
	mr_free(c.health.console);
	return mr_error_set(error, st, MR_SCOPE_NONE, 0, "%s", mr_status_text(st));
}

int mr_console_stop(mr_runtime *rt)
{
	struct mr_command c = {.type = MR_CMD_HEALTH, .health = {.what = MR_CONSOLE_CLOSE}};
	if (!rt->console.path[0] || mr_handle_is_forked(rt)) return MR_OK;
	mr_local_socket_close(
		&rt->console); /* the file at once: the next console may have this path */
	rt->console.path[0] = '\0';
	return mr_command_send(rt, &c);
}

const char *mr_console_path(const mr_runtime *rt)
{
	return !mr_handle_is_forked(rt) && rt->console.path[0] ? rt->console.path : NULL;
}

int mr_console_page(mr_runtime *rt, const char *path, bool on)
{
	return mr_http_page_for(rt, path, MR_PAGE_CONSOLE, on);
}
