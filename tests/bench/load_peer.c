/* load_peer: an AMQP 0-9-1 server for load. Blasts pre-encoded deliveries, judges acks, answers
 * confirms, so that no broker stands between the clients that tests/bench compares.
 * One thread, epoll. Keeps no message and routes nothing. */
// SPDX-License-Identifier: MIT
#include "peer_session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	INPUT_SIZE = 512 * 1024, /* bytes; holds at least one largest frame besides a read */
	READ_SIZE = 256 * 1024,
	EVENTS = 64,
	HOLD_MS = 1, /* longest wait for more room in a prefetch */
};

enum exit_code { EXIT_GOOD = 0, EXIT_TROUBLE = 1, EXIT_USAGE = 2, EXIT_VIOLATION = 3 };

struct link {
	struct link *next, **at; /* in peer.links */
	int fd;
	bool wants_write;
	size_t kept; /* bytes of an incomplete frame */
	struct session session;
	uint8_t input[INPUT_SIZE]; /* touched only as far as it is used */
};

struct peer {
	struct peer_options options;
	struct peer_counts counts;
	uint16_t port;
	bool is_once;
	int listener, epoll;
	struct link *links;
	uint64_t reads, writes;
};

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
	(void)signal_number;
	stop_asked = 1;
}

static bool watch(const struct peer *p, int operation, int fd, uint32_t events, void *data)
{
	struct epoll_event event = {.events = events, .data = {.ptr = data}};
	return epoll_ctl(p->epoll, operation, fd, &event) == 0;
}

static void close_link(struct link *l)
{
	if (l->session.fault) fprintf(stderr, "load_peer: the client %s\n", l->session.fault);
	*l->at = l->next;
	if (l->next) l->next->at = l->at;
	session_fini(&l->session);
	close(l->fd);
	free(l);
}

static void accept_link(struct peer *p)
{
	const int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct link *l = fd < 0 ? NULL : malloc(sizeof *l); /* calloc would touch the input */
	if (!l) {
		if (fd >= 0) close(fd);
		return;
	}
	l->fd = fd;
	l->wants_write = false;
	l->kept = 0;
	l->next = p->links;
	l->at = &p->links;
	if (l->next) l->next->at = &l->next;
	p->links = l;
	session_init(&l->session, &p->options, &p->counts);
	p->counts.connections++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (!watch(p, EPOLL_CTL_ADD, fd, EPOLLIN, l)) close_link(l);
}

/* False when the connection is over. */
static bool write_link(struct peer *p, struct link *l, bool is_patient)
{
	const uint8_t *data;
	size_t length;
	bool is_full = false;

	while (!is_full && (length = session_output(&l->session, &data, is_patient)) > 0) {
		const ssize_t n = send(l->fd, data, length, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
		p->writes++;
		is_full = n < (ssize_t)length;
		if (n > 0) session_wrote(&l->session, (size_t)n);
	}
	if (is_full != l->wants_write) {
		l->wants_write = is_full;
		watch(p, EPOLL_CTL_MOD, l->fd, EPOLLIN | (is_full ? (uint32_t)EPOLLOUT : 0u), l);
	}
	return is_full || l->session.state != SESSION_CLOSED;
}

static bool read_link(struct peer *p, struct link *l)
{
	const ssize_t n = recv(l->fd, l->input + l->kept, READ_SIZE, 0);
	if (n == 0) return false;
	if (n < 0) return errno == EAGAIN || errno == EINTR;
	p->reads++;
	const size_t length = l->kept + (size_t)n;
	const size_t taken = session_input(&l->session, l->input, length);
	l->kept = length - taken;
	if (l->kept && taken) memmove(l->input, l->input + taken, l->kept);
	return l->session.fault == NULL;
}

static void serve_link(struct peer *p, struct link *l, uint32_t events)
{
	bool is_alive = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) is_alive = read_link(p, l);
	if (is_alive) is_alive = write_link(p, l, true);
	if (!is_alive) close_link(l);
}

/* Those that waited for more room have waited long enough. Says whether any still waits. */
static bool release_held(struct peer *p, bool is_time)
{
	bool any = false;
	for (struct link *l = p->links, *next; l; l = next) {
		next = l->next;
		if (!l->session.is_held) continue;
		if (is_time && !write_link(p, l, false))
			close_link(l);
		else
			any = any || l->session.is_held;
	}
	return any;
}

static void serve(struct peer *p)
{
	struct epoll_event events[EVENTS];
	bool any_held = false;

	while (!stop_asked) {
		const int n = epoll_wait(p->epoll, events, EVENTS, any_held ? HOLD_MS : -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				serve_link(p, events[i].data.ptr, events[i].events);
			else
				accept_link(p);
		}
		any_held = release_held(p, n == 0);
		if (p->is_once && p->counts.connections > 0 && !p->links) break;
	}
	while (p->links) close_link(p->links);
}

static bool start(struct peer *p)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(p->port),
		.sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
	};
	socklen_t size = sizeof address;

	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->epoll < 0 || p->listener < 0) return false;
	setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(p->listener, (struct sockaddr *)&address, size) < 0) return false;
	if (listen(p->listener, 1024) < 0) return false;
	if (getsockname(p->listener, (struct sockaddr *)&address, &size) < 0) return false;
	p->port = ntohs(address.sin_port);
	return watch(p, EPOLL_CTL_ADD, p->listener, EPOLLIN, NULL);
}

static void report(const struct peer *p)
{
	const struct peer_counts *c = &p->counts;
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	const double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("{\"connections\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"acked\":%" PRIu64
	       ",\"nacked\":%" PRIu64 ",\"unsettled\":%" PRIu64 ",\"published\":%" PRIu64
	       ",\"published_bytes\":%" PRIu64 ",\"confirmed\":%" PRIu64 ",\"violations\":%" PRIu64
	       ",\"reads\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"cpu_seconds\":%.3f}\n",
		c->connections, c->delivered, c->acked, c->nacked, c->unsettled, c->published,
		c->published_bytes, c->confirmed, c->violations, p->reads, p->writes, cpu);
}

static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;
	errno = 0;
	const unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end || end == text || *text == '-' || value > max) return false;
	*out = value;
	return true;
}

static bool parse(struct peer *p, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		uint64_t value = 0;
		if (strcmp(argv[i], "--once") == 0) {
			p->is_once = true;
			continue;
		}
		const char *name = argv[i];
		if (++i == argc || !parse_number(argv[i], UINT64_C(1) << 40, &value)) return false;
		if (strcmp(name, "--port") == 0 && value <= 65535)
			p->port = (uint16_t)value;
		else if (strcmp(name, "--messages") == 0)
			p->options.messages = value;
		else if (strcmp(name, "--body") == 0 && value <= 64 * 1024 * 1024)
			p->options.body = (size_t)value;
		else if (strcmp(name, "--refill") == 0 && value <= 100)
			p->options.refill = (unsigned)value;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct peer p = {.options = {.messages = 1000000, .body = 100, .refill = 25}};
	if (!parse(&p, argc, argv)) {
		fprintf(stderr, "usage: load_peer [--port 0] [--messages N] [--body BYTES] "
				"[--refill PERCENT] [--once]\n");
		return EXIT_USAGE;
	}
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = ask_stop}, NULL);
	sigaction(SIGINT, &(struct sigaction){.sa_handler = ask_stop}, NULL);
	if (!start(&p)) {
		perror("load_peer");
		return EXIT_TROUBLE;
	}
	printf("port %u\n", (unsigned)p.port);
	fflush(stdout);
	serve(&p);
	report(&p);
	close(p.listener);
	close(p.epoll);
	return p.counts.violations ? EXIT_VIOLATION : EXIT_GOOD;
}
