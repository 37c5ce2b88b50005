/* resolve_socket: claims c-ares' sockets: see base/descriptor.h.
 * SPDX-License-Identifier: MIT */
#include "net/resolve_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/descriptor.h"

/* Sets what c-ares sets for its own sockets: non-blocking, close-on-exec, no delay. */
static ares_socket_t open_socket(int family, int type, int protocol, void *owner)
{
	int on = 1;
	(void)owner;
	int fd = mr_descriptor_claim(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
	if (fd >= 0 && type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static int close_socket(ares_socket_t fd, void *owner)
{
	(void)owner;
	mr_descriptor_close(fd);
	return 0;
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t size,
	void *owner)
{
	(void)owner;
	return connect(fd, address, size);
}

static ares_ssize_t receive(ares_socket_t fd, void *data, size_t size, int flags,
	struct sockaddr *from, ares_socklen_t *from_size, void *owner)
{
	(void)owner;
	return recvfrom(fd, data, size, flags, from, from_size);
}

static ares_ssize_t send_all(ares_socket_t fd, const struct iovec *pieces, int count, void *owner)
{
	struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces,
		.msg_iovlen = (size_t)count};
	(void)owner;
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

void mr_resolve_socket_own(ares_channel channel)
{
	static const struct ares_socket_functions own = {open_socket, close_socket, connect_socket,
		receive, send_all};
	ares_set_socket_functions(channel, &own, NULL);
}
