/* local_socket: a Unix socket that only this user can reach, and its file.
 * SPDX-License-Identifier: MIT */
#include "base/local_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"

static int new_socket(int type)
{
	return mr_descriptor_claim(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

/* True if a process listens there. A socket of another type can find that out without connecting:
 * the kernel says EPROTOTYPE, or ECONNREFUSED if the file's process is gone. */
static bool is_live(const struct sockaddr_un *a)
{
	int fd = new_socket(SOCK_DGRAM);
	if (fd < 0) return true;
	bool fails = connect(fd, (const struct sockaddr *)a, sizeof *a) != 0;
	bool live = !fails || errno != ECONNREFUSED;
	mr_descriptor_close(fd);
	return live;
}

/* Removes a socket of ours that nobody listens on. */
static bool remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	if (lstat(a->sun_path, &st) != 0) return errno == ENOENT;
	if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid() || is_live(a)) {
		errno = EADDRINUSE;
		return false;
	}
	return unlink(a->sun_path) == 0;
}

bool mr_local_socket_listen(struct mr_local_socket *s, int backlog)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const struct sockaddr *any = (const struct sockaddr *)&a;
	struct stat st;
	memcpy(a.sun_path, s->path, sizeof a.sun_path);
	s->listener = new_socket(SOCK_STREAM);
	if (s->listener < 0) return false;
	/* On Linux the file that bind creates has the socket's mode; umask would affect all
	 * threads. */
	if (fchmod(s->listener, 0600) != 0) return false;
	if (bind(s->listener, any, sizeof a) != 0) {
		if (errno != EADDRINUSE || !remove_stale(&a)) return false;
		if (bind(s->listener, any, sizeof a) != 0) return false;
	}
	if (lstat(s->path, &st) != 0) return false;
	s->device = st.st_dev;
	s->inode = st.st_ino;
	return listen(s->listener, backlog) == 0;
}

void mr_local_socket_close(struct mr_local_socket *s)
{
	struct stat st;
	if (s->inode && lstat(s->path, &st) == 0 && st.st_ino == s->inode && st.st_dev == s->device)
		unlink(s->path);
	s->inode = 0;
	mr_descriptor_close(s->listener);
	s->listener = -1;
}
