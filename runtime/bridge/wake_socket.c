/* wake_socket: a Unix socket that tells a host of work, for scripts that cannot watch a descriptor.
 * SPDX-License-Identifier: MIT */
#include "bridge/wake_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"

#define BACKLOG 16
#define SEND_BUFFER 1 /* the kernel makes it its minimum: a few bytes */

/* ---- making it ---- */

/* Makes a folder of ours alone, and a path in it. */
static bool choose_path(struct mr_wake_socket *s)
{
	const char *const homes[] = {secure_getenv("XDG_RUNTIME_DIR"), secure_getenv("TMPDIR"),
		"/tmp"};
	for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
		if (!homes[i] || homes[i][0] != '/') continue;
		if (!mr_own_folder_make(&s->folder, homes[i])) continue;
		snprintf(s->local.path, sizeof s->local.path, "%s/wake", s->folder.path);
		return true;
	}
	return false;
}

static enum mr_status fail(struct mr_wake_socket *s, int system, mr_error *error)
{
	enum mr_status st = mr_error_system(error, MR_CONNECTION_REFUSED, MR_SCOPE_CONFIG, system,
		"cannot make the wake socket %s", s->local.path);
	if (system == EMFILE || system == ENFILE) st = MR_NO_DESCRIPTORS;
	mr_wake_socket_free(s);
	return st;
}

enum mr_status mr_wake_socket_open(struct mr_wake_socket **out, const char *path, mr_error *error)
{
	struct mr_wake_socket *s;
	if (path && (path[0] != '/' || strlen(path) >= sizeof s->local.path))
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"the path of a wake socket must be absolute, and at most %zu bytes",
			sizeof s->local.path - 1);
	s = mr_calloc(1, sizeof *s);
	if (!s) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_NONE, 0, "out of memory");
	s->local.listener = s->folder.fd = s->out = -1;
	if (path) memcpy(s->local.path, path, strlen(path));
	if (!path && !choose_path(s)) return fail(s, errno, error);
	s->out =
		mr_descriptor_claim(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	if (s->out < 0 || !mr_local_socket_listen(&s->local, BACKLOG)) return fail(s, errno, error);
	*out = s;
	return MR_OK;
}

/* ---- its peer ---- */

/* Another process that took the place of the host's own connection would leave the host asleep. */
static bool is_ours(int peer)
{
	struct ucred who;
	socklen_t size = sizeof who;
	if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
	return who.pid == getpid() && who.uid == geteuid();
}

int mr_wake_socket_accept(const struct mr_wake_socket *s, bool *exhausted)
{
	for (;;) {
		int peer = mr_descriptor_claim(
			accept4(s->local.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
		*exhausted = peer < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
						 errno == ENOMEM);
		if (peer < 0 || is_ours(peer)) return peer;
		mr_descriptor_close(peer);
	}
}

bool mr_wake_socket_connect(const struct mr_wake_socket *s, int peer, const struct mr_wake *wake)
{
	int size = SEND_BUFFER;
	struct pollfd missed = {.fd = wake->fd, .events = POLLIN};
	setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (dup3(peer, s->out, O_CLOEXEC) < 0) return false;
	/* A signal writes to `wake` before it writes to `out`: what went to the old peer shows
	 * here. */
	if (poll(&missed, 1, 0) == 1) mr_wake_tell(s->out);
	return true;
}

bool mr_wake_socket_discard(int peer)
{
	char bytes[256];
	ssize_t n = recv(peer, bytes, sizeof bytes, 0);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- the end ---- */

void mr_wake_socket_remove(struct mr_wake_socket *s)
{
	mr_local_socket_close(&s->local);
	mr_own_folder_remove(&s->folder);
}

void mr_wake_socket_free(struct mr_wake_socket *s)
{
	if (!s) return;
	mr_wake_socket_remove(s);
	mr_descriptor_close(s->out);
	mr_free(s);
}
