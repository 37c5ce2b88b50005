/* listen: a listening TCP port or Unix socket.
 * SPDX-License-Identifier: MIT */
#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "net/tcp.h"

#define BACKLOG 511

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un file;
};

/* Fills in the path of a socket. A path that is too long for an address is given through its
 * folder's descriptor, which the caller must close; -1: none was needed, or it cannot be opened,
 * with the reason in errno. */
static socklen_t read_path(union address *out, const char *path, int *folder)
{
	char name[PATH_MAX];
	size_t size = strlen(path), room = sizeof out->file.sun_path;
	const char *file = strrchr(path, '/') + 1;
	out->file.sun_family = AF_UNIX;
	*folder = -1;
	if (size < room) {
		memcpy(out->file.sun_path, path, size);
		return sizeof out->file;
	}
	errno = ENAMETOOLONG;
	if (size >= sizeof name) return 0;
	snprintf(name, sizeof name, "%.*s", (int)(file - path), path);
	*folder = mr_descriptor_claim(open(name, O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (*folder < 0) return 0;
	int n = snprintf(out->file.sun_path, room, "/proc/self/fd/%d/%s", *folder, file);
	if (n > 0 && (size_t)n < room) return sizeof out->file;
	mr_descriptor_close(*folder);
	*folder = -1;
	errno = ENAMETOOLONG;
	return 0;
}

/* Returns the size of the address that it wrote, 0 if the text is not an address. */
static socklen_t read_address(union address *out, const char *text, uint16_t port)
{
	memset(out, 0, sizeof *out);
	if (strcmp(text, "localhost") == 0) text = "127.0.0.1";
	if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons(port);
		return sizeof out->v4;
	}
	if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) != 1) return 0;
	out->v6.sin6_family = AF_INET6;
	out->v6.sin6_port = htons(port);
	return sizeof out->v6;
}

bool mr_listen_is_loopback(const char *address)
{
	union address a;
	if (address[0] == '/' || !read_address(&a, address, 0))
		return true; /* mr_listen_open reports an error for the latter */
	if (a.any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
	return ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
}

static int listen_on(union address *a, socklen_t size)
{
	int on = 1;
	int fd = mr_descriptor_claim(
		socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	if (fd < 0) return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* On Linux the file that bind creates has the socket's mode; umask would affect all
	 * threads. */
	bool fails = a->any.sa_family == AF_UNIX && fchmod(fd, 0600) != 0;
	fails = fails || bind(fd, &a->any, size) != 0 || listen(fd, BACKLOG) != 0;
	if (!fails) return fd;
	mr_descriptor_close(fd); /* does not change errno */
	return -1;
}

static uint16_t port_of(int fd)
{
	union address a;
	socklen_t size = sizeof a;
	if (getsockname(fd, &a.any, &size) != 0) return 0;
	if (a.any.sa_family == AF_INET6) return ntohs(a.v6.sin6_port);
	return a.any.sa_family == AF_INET ? ntohs(a.v4.sin_port) : 0;
}

static enum mr_status listen_at_path(int *out, const char *path, mr_error *error)
{
	union address a = {0};
	int folder, fd = -1;
	socklen_t size = read_path(&a, path, &folder);
	if (size) fd = listen_on(&a, size);
	int system = errno;
	mr_descriptor_close(folder);
	*out = fd;
	if (fd >= 0) return MR_OK;
	return mr_error_system(error,
		system == ENAMETOOLONG ? MR_BAD_ARGUMENT : MR_CONNECTION_REFUSED, MR_SCOPE_CONFIG,
		system, "cannot listen on %.200s%s", path, strlen(path) > 200 ? "..." : "");
}

enum mr_status mr_listen_open(int *out, const char *address, uint16_t port, uint16_t *actual,
	mr_error *error)
{
	union address a;
	*actual = 0;
	if (address[0] == '/') return listen_at_path(out, address, error);
	socklen_t size = read_address(&a, address, port);
	if (!size)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"\"%s\" is not an IP address to listen on", address);
	*out = listen_on(&a, size);
	if (*out < 0)
		return mr_error_system(error, MR_CONNECTION_REFUSED, MR_SCOPE_CONFIG, errno,
			"cannot listen on %s port %u", address, port);
	*actual = port_of(*out);
	return MR_OK;
}

int mr_listen_accept_fd(int fd, struct sockaddr *from, socklen_t *size, bool *exhausted)
{
	int peer = mr_descriptor_claim(accept4(fd, from, size, SOCK_NONBLOCK | SOCK_CLOEXEC));
	*exhausted = peer < 0 &&
	             (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
	return peer;
}

struct mr_stream *mr_listen_accept(int fd, bool *exhausted)
{
	struct mr_stream *stream = NULL;
	int on = 1, peer = mr_listen_accept_fd(fd, NULL, NULL, exhausted);
	if (peer < 0) return NULL;
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (mr_tcp_adopt(&stream, peer) != MR_OK) mr_descriptor_close(peer);
	return stream;
}
