/* test_net: TCP streams and name look-ups on the loopback.
 * Covers: runtime/net/resolve.c by mr_resolve
 * Covers: runtime/net/resolve_socket.c by SOCK_NONBLOCK
 * Covers: runtime/net/tcp.c by mr_tcp_open
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "net/resolve.h"
#include "net/tcp.h"

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;
	while (readdir(dir)) count++;
	closedir(dir);
	return count;
}

static int bound(int type, struct sockaddr_in *address)
{
	socklen_t size = sizeof *address;
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	*address = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
	getsockname(fd, (struct sockaddr *)address, &size);
	return fd;
}

/* Goes on with connecting until it is decided. */
static enum mr_status finish(struct mr_stream *s, mr_error *error)
{
	enum mr_status st;
	while ((st = s->class->connect(s, error)) == MR_TIMEOUT) {
		struct pollfd pfd = {.fd = s->fd,
			.events = s->want & MR_WANT_WRITE ? POLLOUT : POLLIN};
		assert_int_equal(poll(&pfd, 1, 60000), 1);
	}
	return st;
}

static void test_a_stream_carries_bytes_both_ways_and_tells_of_its_end(void **state)
{
	struct sockaddr_in address;
	struct mr_stream *s;
	mr_error error = {0};
	char data[8];
	int fds = open_fds();
	int listener = bound(SOCK_STREAM, &address);
	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(mr_tcp_open(&s, (struct sockaddr *)&address, sizeof address, &error),
		MR_OK);
	assert_int_equal(finish(s, &error), MR_OK);
	int peer = accept(listener, NULL, NULL);
	assert_int_equal(s->class->read(s, data, sizeof data, &error),
		0); /* nothing yet: not an end */
	assert_int_equal(s->class->write(s, "ping", 4, &error), 4);
	assert_int_equal(recv(peer, data, sizeof data, 0), 4);
	assert_int_equal(send(peer, "pong", 4, 0), 4);
	struct pollfd pfd = {.fd = s->fd, .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 60000), 1);
	assert_int_equal(s->class->read(s, data, sizeof data, &error), 4);
	assert_false(s->class->pending(s));
	close(peer);
	assert_int_equal(poll(&pfd, 1, 60000), 1);
	assert_int_equal(s->class->read(s, data, sizeof data, &error), -1);
	assert_int_equal(error.kind, MR_STREAM_LOST);
	s->class->close(s);
	close(listener);
	assert_int_equal(open_fds(), fds);
}

/* FAULTS T38, by TCP. */
static void test_writing_to_a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
	struct mr_stream *s;
	mr_error error = {0};
	int pair[2];
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(mr_tcp_adopt(&s, pair[0]), MR_OK);
	close(pair[1]);
	assert_int_equal(s->class->write(s, "x", 1, &error), -1);
	assert_int_equal(error.kind, MR_STREAM_LOST);
	assert_int_equal(error.system, EPIPE);
	s->class->close(s);
}

static void test_a_full_socket_takes_no_more_and_wants_to_write(void **state)
{
	static char block[65536];
	struct mr_stream *s;
	mr_error error = {0};
	int pair[2];
	ssize_t n;
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(mr_tcp_adopt(&s, pair[0]), MR_OK);
	while ((n = s->class->write(s, block, sizeof block, &error)) > 0) {}
	assert_int_equal(n, 0);
	assert_true(s->want & MR_WANT_WRITE);
	mr_tcp_abort(s);
	close(pair[1]);
}

static void test_bytes_from_several_places_arrive_in_order(void **state)
{
	struct iovec from[] = {{"one, ", 5}, {"two, ", 5}, {"three", 5}};
	struct mr_stream *s;
	mr_error error = {0};
	char got[16] = "";
	int pair[2];
	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(mr_tcp_adopt(&s, pair[0]), MR_OK);
	assert_int_equal(s->class->writev(s, from, 3, &error), 15);
	assert_int_equal(read(pair[1], got, sizeof got), 15);
	assert_string_equal(got, "one, two, three");
	while (s->class->writev(s, from, 3, &error) > 0) {}
	assert_true(s->want & MR_WANT_WRITE);
	close(pair[1]);
	assert_int_equal(s->class->writev(s, from, 3, &error), -1);
	assert_int_equal(error.system, EPIPE);
	mr_tcp_abort(s);
}

static void test_a_port_without_a_listener_refuses(void **state)
{
	struct sockaddr_in address;
	struct mr_stream *s = NULL;
	mr_error error = {0};
	(void)state;
	close(bound(SOCK_STREAM, &address));
	enum mr_status st = mr_tcp_open(&s, (struct sockaddr *)&address, sizeof address, &error);
	if (st == MR_OK) st = finish(s, &error);
	assert_int_equal(st, MR_CONNECTION_REFUSED);
	assert_int_equal(error.system, ECONNREFUSED);
	if (s) s->class->close(s);
}

/* ---- names ---- */

struct found {
	int calls;
	size_t count;
	char first[64], second[64];
};

static void on_found(void *owner, const struct mr_address *addresses, size_t count,
	const mr_error *error)
{
	struct found *f = owner;
	f->calls++;
	f->count = count;
	if (count > 0) mr_resolve_format(&addresses[0], f->first, sizeof f->first);
	if (count > 1) mr_resolve_format(&addresses[1], f->second, sizeof f->second);
	if (!count) assert_int_equal(error->kind, MR_DNS_FAILED);
}

static int watched;

static void on_watch(void *owner, int fd, unsigned want)
{
	(void)owner;
	(void)fd;
	watched += want ? 1 : -1;
}

static void test_literals_and_localhost_need_no_server(void **state)
{
	static const struct {
		const char *host, *first, *second;
	} cases[] = {{"127.0.0.1", "127.0.0.1:7", ""}, {"::1", "[::1]:7", ""},
		{"localhost", "127.0.0.1:7", "[::1]:7"}};
	struct mr_resolver *r;
	struct mr_lookup *lookup;
	(void)state;
	assert_int_equal(mr_resolver_open(&r, on_watch, NULL, NULL), MR_OK);
	for (size_t i = 0; i < 3; i++) {
		struct found f = {0};
		assert_int_equal(mr_resolve(r, cases[i].host, 7, on_found, &f, &lookup), MR_OK);
		assert_null(lookup);
		assert_int_equal(f.calls, 1);
		assert_string_equal(f.first, cases[i].first);
		assert_string_equal(f.second, cases[i].second);
	}
	assert_int_equal(mr_resolver_deadline(r, 0), MR_NEVER);
	mr_resolver_close(r);
	mr_resolver_close(NULL);
}

static void test_a_lookup_that_is_cancelled_or_cut_short_is_never_heard_of(void **state)
{
	struct sockaddr_in address;
	struct mr_resolver *r;
	struct mr_lookup *first, *second;
	struct found f = {0};
	char server[40];
	long live = mr_alloc_live();
	int silent = bound(SOCK_DGRAM, &address);
	int fds = open_fds();
	(void)state;
	watched = 0;
	snprintf(server, sizeof server, "127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(mr_resolver_open(&r, on_watch, NULL, NULL), MR_OK);
	assert_int_equal(mr_resolver_servers(r, server), MR_OK);
	assert_int_equal(mr_resolve(r, "one.test", 7, on_found, &f, &first), MR_OK);
	assert_int_equal(mr_resolve(r, "two.test", 7, on_found, &f, &second), MR_OK);
	assert_non_null(first);
	assert_true(watched > 0);
	assert_true(mr_resolver_deadline(r, 1000) > 1000);
	mr_resolve_cancel(first);
	mr_resolve_cancel(NULL);
	mr_resolver_close(r);
	assert_int_equal(f.calls, 0);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(mr_alloc_live(), live);
	close(silent);
}

/* ---- a name server ---- */

static struct {
	int fd, asked_of[2]; /* for A and for AAAA */
	bool is_mute_on[2];
} server;

/* Answers a question for A with 127.0.0.9, one for AAAA with ::9. */
static void serve(void)
{
	static const uint8_t records[2][28] = {
		{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 9},
		{0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 0, 0, 16, [27] = 9},
	};
	uint8_t packet[512];
	struct sockaddr_in client;
	socklen_t client_size = sizeof client;
	ssize_t n = recvfrom(server.fd, packet, sizeof packet, 0, (void *)&client, &client_size);
	assert_true(n > 17);
	size_t end = 12;
	while (packet[end]) end += 1u + packet[end];
	size_t at = end + 5, which = packet[end + 2] == 28;
	server.asked_of[which]++;
	if (server.is_mute_on[which]) return;
	packet[2] = 0x81;
	packet[3] = 0x80;
	memcpy(packet + 4, "\0\1\0\1\0\0\0\0", 8);
	memcpy(packet + at, records[which], which ? 28 : 16);
	at += which ? 28 : 16;
	assert_int_equal(sendto(server.fd, packet, at, 0, (void *)&client, client_size), at);
}

static struct pollfd sockets[16];
static nfds_t socket_count;

static void on_watch_sockets(void *owner, int fd, unsigned want)
{
	(void)owner;
	for (nfds_t i = 0; i < socket_count; i++)
		if (sockets[i].fd == fd) sockets[i--] = sockets[--socket_count];
	if (!want) return;
	assert_true(socket_count < 16);
	short events =
		(short)((want & MR_WANT_READ ? POLLIN : 0) | (want & MR_WANT_WRITE ? POLLOUT : 0));
	sockets[socket_count++] = (struct pollfd){.fd = fd, .events = events};
}

/* Waits for what is to be done next, and does it, for both. */
static void turn(struct mr_resolver *r)
{
	struct pollfd now[17];
	nfds_t count = socket_count;
	mr_msec at = mr_resolver_deadline(r, mr_clock_now());
	memcpy(now, sockets, sizeof sockets);
	now[count] = (struct pollfd){.fd = server.fd, .events = POLLIN};
	assert_true(at != MR_NEVER);
	mr_msec ms = at - mr_clock_now();
	if (poll(now, count + 1, ms > 0 ? (int)ms : 0) == 0) mr_resolver_process(r, -1, 0);
	if (now[count].revents) serve();
	for (nfds_t i = 0; i < count; i++)
		if (now[i].revents)
			mr_resolver_process(r, now[i].fd,
				(now[i].revents & POLLIN ? MR_WANT_READ : 0u) |
					(now[i].revents & POLLOUT ? MR_WANT_WRITE : 0u));
}

/* Returns how many ms it took. */
static mr_msec serve_until_found(struct mr_resolver *r, const struct found *f)
{
	mr_msec began = mr_clock_now();
	while (!f->calls) turn(r);
	return mr_clock_now() - began;
}

/* FIELD-R14: RFC 8305 does not wait for an answer that never comes. */
static void test_a_server_that_is_mute_on_ipv6_holds_nobody_up(void **state)
{
	(void)state;
	for (int mute = 0; mute < 2; mute++) {
		struct sockaddr_in address;
		struct mr_resolver *r;
		struct mr_lookup *lookup;
		struct found f = {0};
		char name[40];
		long live = mr_alloc_live();
		int fds = open_fds();
		memset(&server, 0, sizeof server);
		server.fd = bound(SOCK_DGRAM, &address);
		server.is_mute_on[1] = mute;
		snprintf(name, sizeof name, "127.0.0.1:%u", ntohs(address.sin_port));
		assert_int_equal(mr_resolver_open(&r, on_watch_sockets, NULL, NULL), MR_OK);
		assert_int_equal(mr_resolver_servers(r, name), MR_OK);
		assert_int_equal(mr_resolve(r, "both.test", 7, on_found, &f, &lookup), MR_OK);
		assert_true(serve_until_found(r, &f) < 1900); /* then c-ares asks again */
		assert_int_equal(f.count, mute ? 1 : 2);
		if (mute) assert_string_equal(f.first, "127.0.0.9:7");
		assert_int_equal(server.asked_of[0], mute ? 2 : 1);
		assert_int_equal(server.asked_of[1], 1);
		mr_resolver_close(r);
		close(server.fd);
		assert_int_equal(f.calls, 1);
		assert_int_equal(mr_alloc_live(), live);
		assert_int_equal(open_fds(), fds);
	}
}

/* The second one, for IPv4 alone, is asked of a server that has answered nothing. */
static void test_a_lookup_may_end_while_two_questions_are_out(void **state)
{
	enum { CLOSED, CANCELLED, REMADE, ENDS };
	(void)state;
	for (int end = 0; end < ENDS; end++) {
		struct sockaddr_in address;
		struct mr_resolver *r;
		struct mr_lookup *lookup, *other = NULL;
		struct found f = {0};
		char name[40];
		long live = mr_alloc_live();
		int fds = open_fds();
		memset(&server, 0, sizeof server);
		server.fd = bound(SOCK_DGRAM, &address);
		server.is_mute_on[0] = server.is_mute_on[1] = true;
		snprintf(name, sizeof name, "127.0.0.1:%u", ntohs(address.sin_port));
		assert_int_equal(mr_resolver_open(&r, on_watch_sockets, NULL, NULL), MR_OK);
		assert_int_equal(mr_resolver_servers(r, name), MR_OK);
		assert_int_equal(mr_resolve(r, "both.test", 7, on_found, &f, &lookup), MR_OK);
		while (server.asked_of[0] < 2) turn(r);
		if (end == CANCELLED) mr_resolve_cancel(lookup);
		if (end == REMADE) {
			mr_resolver_file(r, "/nowhere/resolv.conf");
			assert_int_equal(mr_resolve(r, "other.test", 7, on_found, &f, &other),
				MR_OK);
			assert_non_null(other);
		}
		mr_resolver_close(r);
		close(server.fd);
		assert_int_equal(f.calls, 0);
		assert_int_equal(mr_alloc_live(), live);
		assert_int_equal(open_fds(), fds);
	}
}

/* The name server that is asked by now: the peer of the socket that was opened last. */
static char asked[64];

static void on_watch_asked(void *owner, int fd, unsigned want)
{
	struct mr_address peer = {.size = sizeof peer.storage};
	(void)owner;
	if (!want || getpeername(fd, (struct sockaddr *)&peer.storage, &peer.size) != 0) return;
	mr_resolve_format(&peer, asked, sizeof asked);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* FIELD-R14: also of those who were asked for before, and wait. */
static void test_a_resolver_heeds_a_changed_resolv_conf(void **state)
{
	char path[] = "/tmp/test_net-XXXXXX", other[64];
	struct mr_resolver *r;
	struct mr_lookup *lookups[5] = {NULL};
	struct found f = {0};
	int fds = open_fds(), file = mkstemp(path);
	long live = mr_alloc_live();
	(void)state;
	close(file);
	snprintf(other, sizeof other, "%s.new", path);
	write_file(path, "nameserver 127.0.0.2\n");
	assert_int_equal(mr_resolver_open(&r, on_watch_asked, NULL, NULL), MR_OK);
	mr_resolver_file(r, path);
	assert_int_equal(mr_resolve(r, "one.test", 7, on_found, &f, &lookups[0]), MR_OK);
	assert_string_equal(asked, "127.0.0.2:53");
	asked[0] = 0;
	assert_int_equal(mr_resolve(r, "two.test", 7, on_found, &f, &lookups[1]), MR_OK);
	mr_resolve_cancel(lookups[0]);
	write_file(path, "nameserver 127.0.0.33\n"); /* in place */
	assert_int_equal(mr_resolve(r, "three.test", 7, on_found, &f, &lookups[2]), MR_OK);
	assert_string_equal(asked, "127.0.0.33:53");
	assert_int_equal(f.calls, 0);
	write_file(other, "nameserver 127.0.0.44\n"); /* another file in its place */
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(mr_resolve(r, "four.test", 7, on_found, &f, &lookups[3]), MR_OK);
	assert_string_equal(asked, "127.0.0.44:53");
	assert_int_equal(unlink(path), 0); /* none: the loopback, as resolv.conf(5) says */
	assert_int_equal(mr_resolve(r, "five.test", 7, on_found, &f, &lookups[4]), MR_OK);
	assert_string_equal(asked, "127.0.0.1:53");
	for (int i = 1; i < 5; i++) assert_non_null(lookups[i]);
	mr_resolver_close(r);
	assert_int_equal(f.calls, 0);
	assert_int_equal(mr_alloc_live(), live);
	assert_int_equal(open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stream_carries_bytes_both_ways_and_tells_of_its_end),
		cmocka_unit_test(test_writing_to_a_peer_that_is_gone_is_an_error_and_no_signal),
		cmocka_unit_test(test_a_full_socket_takes_no_more_and_wants_to_write),
		cmocka_unit_test(test_bytes_from_several_places_arrive_in_order),
		cmocka_unit_test(test_a_port_without_a_listener_refuses),
		cmocka_unit_test(test_literals_and_localhost_need_no_server),
		cmocka_unit_test(test_a_lookup_that_is_cancelled_or_cut_short_is_never_heard_of),
		cmocka_unit_test(test_a_server_that_is_mute_on_ipv6_holds_nobody_up),
		cmocka_unit_test(test_a_lookup_may_end_while_two_questions_are_out),
		cmocka_unit_test(test_a_resolver_heeds_a_changed_resolv_conf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
