/* wake_peer: the host's end of its wake socket: accepted, replaced, seen off.
 * SPDX-License-Identifier: MIT */
#include "io/wake_peer.h"

#include <sys/socket.h>

#include "base/descriptor.h"

#define PAUSE 0.1 /* s between two attempts without a free descriptor */

static void end_peer(struct mr_wake_peer *p)
{
	if (p->reading.fd < 0) return;
	ev_io_stop(p->loop, &p->reading);
	/* The socket's `out` still refers to it. */
	shutdown(p->reading.fd, SHUT_RDWR);
	mr_descriptor_close(p->reading.fd);
	ev_io_set(&p->reading, -1, EV_READ);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	if (!mr_wake_socket_discard(io->fd)) end_peer(io->data);
}

static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_wake_peer *p = io->data;
	bool exhausted = false;
	(void)revents;
	int peer = mr_wake_socket_accept(p->socket, &exhausted);
	if (exhausted) {
		ev_io_stop(loop, &p->listening);
		ev_timer_again(loop, &p->pause);
	}
	if (peer < 0) return;
	end_peer(p);
	if (!mr_wake_socket_connect(p->socket, peer, p->host)) {
		mr_descriptor_close(peer);
		return;
	}
	ev_io_set(&p->reading, peer, EV_READ);
	ev_io_start(loop, &p->reading);
}

static void on_pause(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_wake_peer *p = timer->data;
	(void)revents;
	ev_timer_stop(loop, timer);
	ev_io_start(loop, &p->listening);
}

void mr_wake_peer_init(struct mr_wake_peer *p, struct ev_loop *loop, const struct mr_wake *host)
{
	*p = (struct mr_wake_peer){.loop = loop, .host = host};
	ev_io_init(&p->listening, on_connection, -1, EV_READ);
	ev_io_init(&p->reading, on_readable, -1, EV_READ);
	ev_init(&p->pause, on_pause);
	p->pause.repeat = PAUSE;
	p->listening.data = p->reading.data = p->pause.data = p;
}

void mr_wake_peer_listen(struct mr_wake_peer *p, struct mr_wake_socket *socket)
{
	p->socket = socket;
	ev_io_set(&p->listening, socket->local.listener, EV_READ);
	ev_io_start(p->loop, &p->listening);
}

void mr_wake_peer_fini(struct mr_wake_peer *p)
{
	if (!p->socket) return;
	end_peer(p);
	ev_io_stop(p->loop, &p->listening);
	ev_timer_stop(p->loop, &p->pause);
	mr_wake_socket_remove(p->socket);
	p->socket = NULL;
}
