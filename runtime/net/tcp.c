/* tcp: a stream over a TCP socket or an already connected descriptor.
 * SPDX-License-Identifier: MIT */
#include "net/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"

struct tcp {
	struct mr_stream stream; /* first: a stream is its tcp */
	bool connecting;
};

static enum mr_status connect_error(mr_error *error, int system)
{
	enum mr_status kind = MR_CONNECTION_REFUSED;
	const char *what = "cannot connect";
	if (system == ETIMEDOUT) kind = MR_CONNECT_TIMEOUT;
	if (system == ECONNREFUSED) { /* the system's own words would say it again */
		mr_error_set(error, kind, MR_SCOPE_CONNECTION, 0, "nothing listens on that port");
		if (error) error->system = system;
		return kind;
	}
	if (system == EHOSTUNREACH || system == ENETUNREACH) what = "no route to the host";
	return mr_error_system(error, kind, MR_SCOPE_CONNECTION, system, "%s", what);
}

static enum mr_status tcp_connect(struct mr_stream *s, mr_error *error)
{
	struct tcp *tcp = (struct tcp *)s;
	int system = 0;
	socklen_t size = sizeof system;
	struct sockaddr_storage peer;
	socklen_t peer_size = sizeof peer;
	if (!tcp->connecting) return MR_OK;
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &system, &size) != 0) system = errno;
	if (system) return connect_error(error, system);
	if (getpeername(s->fd, (struct sockaddr *)&peer, &peer_size) != 0) { /* still in progress */
		s->want = MR_WANT_WRITE;
		return MR_TIMEOUT;
	}
	tcp->connecting = false;
	s->want = MR_WANT_READ;
	return MR_OK;
}

static ssize_t lost(mr_error *error, int system)
{
	mr_error_system(error, MR_STREAM_LOST, MR_SCOPE_CONNECTION, system, "the connection broke");
	return -1;
}

static ssize_t tcp_readv(struct mr_stream *s, const struct iovec *to, int count, mr_error *error)
{
	ssize_t n;
	s->want = MR_WANT_READ;
	do {
		n = count == 1 ? recv(s->fd, to->iov_base, to->iov_len, 0)
		               : readv(s->fd, to, count);
	} while (n < 0 && errno == EINTR);
	if (n > 0) return n;
	if (n == 0) {
		mr_error_set(error, MR_STREAM_LOST, MR_SCOPE_CONNECTION, 0,
			"the peer closed the connection");
		return -1;
	}
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : lost(error, errno);
}

static ssize_t tcp_read(struct mr_stream *s, void *data, size_t size, mr_error *error)
{
	return tcp_readv(s, &(struct iovec){data, size}, 1, error);
}

static ssize_t tcp_writev(struct mr_stream *s, const struct iovec *from, int count, mr_error *error)
{
	/* sendmsg only reads them. */
	struct msghdr all = {.msg_iov = (struct iovec *)(uintptr_t)from,
		.msg_iovlen = (size_t)count};
	ssize_t n;
	s->want = MR_WANT_READ;
	do {
		n = count == 1 ? send(s->fd, from->iov_base, from->iov_len, MSG_NOSIGNAL)
		               : sendmsg(s->fd, &all, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) return n;
	s->want |= MR_WANT_WRITE;
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : lost(error, errno);
}

static ssize_t tcp_write(struct mr_stream *s, const void *data, size_t size, mr_error *error)
{
	return tcp_writev(s, &(struct iovec){(void *)(uintptr_t)data, size}, 1, error);
}

static bool tcp_pending(const struct mr_stream *s)
{
	(void)s; /* it never reads ahead */
	return false;
}

static void tcp_end(struct mr_stream *s) { shutdown(s->fd, SHUT_WR); }

static void tcp_close(struct mr_stream *s)
{
	mr_descriptor_close(s->fd);
	mr_free(s);
}

static const struct mr_stream_class tcp_class = {tcp_connect, tcp_read, tcp_readv, tcp_write,
	tcp_writev, tcp_pending, tcp_end, tcp_close, NULL};

static struct tcp *new_tcp(int fd)
{
	struct tcp *tcp = mr_calloc(1, sizeof *tcp);
	if (!tcp) return NULL;
	tcp->stream = (struct mr_stream){&tcp_class, fd, MR_WANT_READ};
	return tcp;
}

enum mr_status mr_tcp_open(struct mr_stream **out, const struct sockaddr *address, socklen_t size,
	mr_error *error)
{
	int on = 1;
	int fd = mr_descriptor_claim(
		socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	if (fd < 0) return connect_error(error, errno);
	/* Errors are ignored: a socket works without these options. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	if (connect(fd, address, size) != 0 && errno != EINPROGRESS) {
		enum mr_status st = connect_error(error, errno);
		mr_descriptor_close(fd);
		return st;
	}
	struct tcp *tcp = new_tcp(fd);
	if (!tcp) {
		mr_descriptor_close(fd);
		return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	}
	tcp->connecting = true;
	tcp->stream.want = MR_WANT_WRITE;
	*out = &tcp->stream;
	return MR_OK;
}

enum mr_status mr_tcp_adopt(struct mr_stream **out, int fd)
{
	struct tcp *tcp = new_tcp(fd);
	if (!tcp) return MR_NO_MEMORY;
	*out = &tcp->stream;
	return MR_OK;
}

void mr_tcp_abort(struct mr_stream *s)
{
	struct linger none = {.l_onoff = 1};
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
	tcp_close(s);
}
