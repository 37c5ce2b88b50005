/* listen: a TCP port to be connected to.
 * SPDX-License-Identifier: MIT */
#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/tcp.h"

#define BACKLOG 511

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un file;
};

/* Returns the size of what it wrote, 0 for what is no address. */
static socklen_t read_address(union address *out, const char *text, uint16_t port)
{
	memset(out, 0, sizeof *out);
	if (text[0] == '/') {
		size_t size = strlen(text);
		if (size >= sizeof out->file.sun_path) return 0;
		out->file.sun_family = AF_UNIX;
		memcpy(out->file.sun_path, text, size);
		return sizeof out->file;
	}
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
	if (!read_address(&a, address, 0))
		return true; /* nothing to listen on: mr_listen_open says so */
	if (a.any.sa_family == AF_UNIX) return true;
	if (a.any.sa_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr);
	return ntohl(a.v4.sin_addr.s_addr) >> 24 == 127;
}

enum mr_status mr_listen_open(int *out, const char *address, uint16_t port, uint16_t *actual,
	mr_error *error)
{
	union address a;
	int on = 1;
	socklen_t size = read_address(&a, address, port);
	if (!size)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"\"%s\" is not an IP address to listen on", address);
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) goto fail;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* Linux gives the file that bind makes the socket's own mode; umask would be that of all threads. */
	if (a.any.sa_family == AF_UNIX && fchmod(fd, 0600) != 0) goto fail;
	if (bind(fd, &a.any, size) != 0 || listen(fd, BACKLOG) != 0) goto fail;
	size = sizeof a;
	if (getsockname(fd, &a.any, &size) != 0) goto fail;
	*actual = 0;
	if (a.any.sa_family == AF_INET6) *actual = ntohs(a.v6.sin6_port);
	if (a.any.sa_family == AF_INET) *actual = ntohs(a.v4.sin_port);
	*out = fd;
	return MR_OK;
fail:
	mr_error_system(error, MR_CONNECTION_REFUSED, MR_SCOPE_CONFIG, errno,
		"cannot listen on %s port %u", address, port);
	if (fd >= 0) close(fd);
	return MR_CONNECTION_REFUSED;
}

struct mr_stream *mr_listen_accept(int fd, bool *exhausted)
{
	struct mr_stream *stream = NULL;
	int on = 1, peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	*exhausted = peer < 0 &&
	             (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
	if (peer < 0) return NULL;
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (mr_tcp_adopt(&stream, peer) != MR_OK) close(peer);
	return stream;
}
