/* resolve: looks up host names without blocking, by c-ares.
 * SPDX-License-Identifier: MIT */
#include "net/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "base/alloc.h"
#include "base/list.h"
#include "net/resolve_socket.h"
#include "net/stream.h"

#define TRY_TIME 2000 /* ms for one server to answer; c-ares doubles it on the second try */
#define TRIES 2
/* ms after which the lookup also asks for IPv4 addresses alone, and ends with their answer: some
 * servers never answer a question for IPv6. RFC 8305, section 3, waits for 50 ms, but also tries
 * addresses that arrive later. */
#define HURRY 250
#define RESOLV_CONF "/etc/resolv.conf"

/* The state of a file: after a change the file is read again. Zeroed: there is no file. */
struct look {
	struct timespec modified;
	off_t size;
	ino_t inode;
	dev_t device;
};

struct mr_resolver {
	ares_channel channel;
	mr_resolver_watch *watch;
	void *owner;
	struct mr_node lookups;
	struct mr_node again; /* lookups for the next channel */
	const char *file;     /* resolv.conf */
	struct look
		look; /* of resolv.conf, for this channel; the hosts file is read at each lookup */
	unsigned answering; /* inside a call of the channel, which must not be destroyed now */
	bool remaking;
};

struct mr_lookup {
	struct mr_node node; /* in the resolver's lookups, until it is answered */
	struct mr_resolver *resolver;
	mr_resolved *done; /* NULL: cancelled */
	void *owner;
	unsigned asked;   /* the number of unanswered questions */
	mr_msec hurry_at; /* MR_NEVER: IPv4 alone was asked for already */
	uint16_t port;
	char host[256];
};

/* c-ares counts its users without a lock, but two runtimes may start at the same time. */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void init_library(void) { library_status = ares_library_init(ARES_LIB_INIT_ALL); }

static void on_socket(void *data, ares_socket_t fd, int readable, int writable)
{
	struct mr_resolver *r = data;
	r->watch(r->owner, fd, (readable ? MR_WANT_READ : 0u) | (writable ? MR_WANT_WRITE : 0u));
}

static struct look look_at(const char *file)
{
	struct stat s;
	if (stat(file, &s) != 0) return (struct look){0};
	return (struct look){s.st_mtim, s.st_size, s.st_ino, s.st_dev};
}

static bool is_same(const struct look *a, const struct look *b)
{
	return a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec && a->size == b->size &&
	       a->inode == b->inode && a->device == b->device;
}

static int open_channel(struct mr_resolver *r, ares_channel *out)
{
	struct ares_options options = {.timeout = TRY_TIME, .tries = TRIES};
	int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
	options.sock_state_cb = on_socket;
	options.sock_state_cb_data = r;
	options.resolvconf_path = (char *)(uintptr_t)r->file; /* copied */
	int rc = ares_init_options(out, &options, mask | ARES_OPT_RESOLVCONF);
	if (rc == ARES_SUCCESS) mr_resolve_socket_own(*out);
	return rc;
}

enum mr_status mr_resolver_open(struct mr_resolver **out, mr_resolver_watch *watch, void *owner,
	mr_error *error)
{
	struct mr_resolver *r = mr_calloc(1, sizeof *r);
	if (!r) return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	r->watch = watch;
	r->owner = owner;
	r->file = RESOLV_CONF;
	mr_list_init(&r->lookups);
	mr_list_init(&r->again);
	pthread_once(&library_once, init_library);
	r->look = look_at(r->file); /* before reading: later changes cause another read */
	int rc = library_status;
	if (rc == ARES_SUCCESS) rc = open_channel(r, &r->channel);
	if (rc == ARES_SUCCESS) {
		*out = r;
		return MR_OK;
	}
	mr_free(r);
	int system;
	if (mr_status_lacks_descriptors(&system))
		return mr_error_system(error, MR_NO_DESCRIPTORS, MR_SCOPE_CONNECTION, system,
			"cannot start the resolver");
	return mr_error_set(error, rc == ARES_ENOMEM ? MR_NO_MEMORY : MR_DNS_FAILED,
		MR_SCOPE_CONNECTION, 0, "cannot start the resolver: %s", ares_strerror(rc));
}

void mr_resolver_close(struct mr_resolver *r)
{
	struct mr_node *node;
	if (!r) return;
	ares_destroy(
		r->channel); /* calls back for each pending lookup, which then leaves the list */
	while ((node = mr_list_shift(&r->lookups)))
		mr_free(mr_container(node, struct mr_lookup, node));
	mr_free(r);
}

enum mr_status mr_resolver_servers(struct mr_resolver *r, const char *servers)
{
	return ares_set_servers_ports_csv(r->channel, servers) == ARES_SUCCESS ? MR_OK
	                                                                       : MR_BAD_ARGUMENT;
}

void mr_resolver_file(struct mr_resolver *r, const char *file) { r->file = file; }

/* ---- answers ---- */

static size_t count_nodes(const struct ares_addrinfo *info)
{
	size_t count = 0;
	for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next)
		count += (size_t)n->ai_addrlen <= sizeof(((struct mr_address *)NULL)->storage);
	return count;
}

static void tell_found(struct mr_lookup *l, const struct ares_addrinfo *info)
{
	mr_error error = {0};
	size_t count = count_nodes(info), i = 0;
	struct mr_address *addresses = count ? mr_calloc(count, sizeof *addresses) : NULL;
	if (!addresses) {
		mr_error_set(&error, count ? MR_NO_MEMORY : MR_DNS_FAILED, MR_SCOPE_CONNECTION, 0,
			count ? "out of memory" : "the name has no address");
		l->done(l->owner, NULL, 0, &error);
		return;
	}
	for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
		if ((size_t)n->ai_addrlen > sizeof(((struct mr_address *)NULL)->storage)) continue;
		memcpy(&addresses[i].storage, n->ai_addr, n->ai_addrlen);
		addresses[i++].size = n->ai_addrlen;
	}
	l->done(l->owner, addresses, count, &error);
	mr_free(addresses);
}

/* Frees the lookup if it is in no list, and no callback is pending. */
static void forget(struct mr_lookup *l)
{
	if (!l->asked && !l->node.next) mr_free(l);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct mr_lookup *l = arg;
	struct mr_resolver *r = l->resolver;
	mr_error error = {0};
	int system;
	(void)timeouts;
	mr_list_remove(&l->node);
	l->asked--;
	if (r->remaking && l->done) {
		mr_list_append(&r->again, &l->node);
		return;
	}
	r->answering++;
	bool silent = !l->done || status == ARES_EDESTRUCTION || status == ARES_ECANCELLED;
	if (!silent && status == ARES_SUCCESS) {
		tell_found(l, info);
	} else if (!silent && mr_status_lacks_descriptors(&system)) {
		mr_error_system(&error, MR_NO_DESCRIPTORS, MR_SCOPE_CONNECTION, system,
			"cannot resolve \"%s\"", l->host);
		l->done(l->owner, NULL, 0, &error);
	} else if (!silent) {
		mr_error_set(&error, MR_DNS_FAILED, MR_SCOPE_CONNECTION, 0,
			"cannot resolve \"%s\": %s", l->host, ares_strerror(status));
		l->done(l->owner, NULL, 0, &error);
	}
	r->answering--;
	if (info) ares_freeaddrinfo(info);
	l->done = NULL;
	forget(l);
}

/* The answer for IPv4 alone. The full answer reports everything else. */
static void on_answer_of_4(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct mr_lookup *l = arg;
	struct mr_resolver *r = l->resolver;
	(void)timeouts;
	l->asked--;
	if (l->done && status == ARES_SUCCESS && count_nodes(info)) {
		r->answering++;
		tell_found(l, info);
		r->answering--;
		l->done = NULL;
	}
	if (info) ares_freeaddrinfo(info);
	forget(l);
}

static void ask_for(struct mr_resolver *r, struct mr_lookup *l, int family,
	ares_addrinfo_callback answered)
{
	char service[8];
	const struct ares_addrinfo_hints hints = {.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = ARES_AI_NUMERICSERV};
	snprintf(service, sizeof service, "%u", l->port);
	l->asked++;
	ares_getaddrinfo(r->channel, l->host, service, &hints, answered, l);
}

static void ask(struct mr_resolver *r, struct mr_lookup *l)
{
	l->hurry_at = mr_clock_now() + HURRY;
	mr_list_append(&r->lookups, &l->node);
	ask_for(r, l, AF_UNSPEC, on_answer);
}

static struct mr_lookup *next_in_a_hurry(const struct mr_resolver *r)
{
	struct mr_lookup *first = NULL;
	for (struct mr_node *n = r->lookups.next; n != &r->lookups; n = n->next) {
		struct mr_lookup *l = mr_container(n, struct mr_lookup, node);
		if (l->done && (!first || l->hurry_at < first->hurry_at)) first = l;
	}
	return first;
}

/* An answer may arrive at once, and change the list. */
static void hurry(struct mr_resolver *r)
{
	mr_msec now = mr_clock_now();
	struct mr_lookup *l;
	while ((l = next_in_a_hurry(r)) && l->hurry_at <= now) {
		l->hurry_at = MR_NEVER;
		ask_for(r, l, AF_INET, on_answer_of_4);
	}
}

/* After a change of resolv.conf, sends new and pending lookups to the new name servers. */
static void heed_changes(struct mr_resolver *r)
{
	ares_channel fresh;
	struct mr_node *node;
	struct look now = look_at(r->file);
	if (is_same(&now, &r->look) || r->answering) return;
	if (open_channel(r, &fresh) != ARES_SUCCESS)
		return; /* keeps the earlier servers, and tries again next time */
	r->look = now;
	r->remaking = true;
	ares_destroy(r->channel);
	r->remaking = false;
	r->channel = fresh;
	while ((node = mr_list_shift(&r->again)))
		ask(r, mr_container(node, struct mr_lookup, node));
}

static bool is_literal(const char *host, uint16_t port, struct mr_address *out)
{
	struct sockaddr_in *v4 = &out->storage.v4;
	struct sockaddr_in6 *v6 = &out->storage.v6;
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		out->size = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1) return false;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	out->size = sizeof *v6;
	return true;
}

/* RFC 6761: localhost is the loopback, without a hosts file or a name server. RabbitMQ listens on
 * both families if possible; IPv4 comes first. */
static bool is_localhost(const char *host, uint16_t port, struct mr_address out[2])
{
	if (strcmp(host, "localhost") != 0) return false;
	is_literal("127.0.0.1", port, &out[0]);
	is_literal("::1", port, &out[1]);
	return true;
}

enum mr_status mr_resolve(struct mr_resolver *r, const char *host, uint16_t port, mr_resolved *done,
	void *owner, struct mr_lookup **out)
{
	struct mr_address known[2];
	mr_error none = {0};
	*out = NULL;
	if (is_literal(host, port, &known[0])) {
		done(owner, known, 1, &none);
		return MR_OK;
	}
	if (is_localhost(host, port, known)) {
		done(owner, known, 2, &none);
		return MR_OK;
	}
	struct mr_lookup *l = mr_calloc(1, sizeof *l);
	if (!l) return MR_NO_MEMORY;
	heed_changes(r);
	l->resolver = r;
	l->done = done;
	l->owner = owner;
	l->port = port;
	snprintf(l->host, sizeof l->host, "%s", host);
	/* The answer may arrive, and free the lookup, before the call returns: it is still there
	 * only if it is in the list. */
	ask(r, l);
	for (struct mr_node *n = r->lookups.next; n != &r->lookups; n = n->next)
		if (n == &l->node) *out = l;
	return MR_OK;
}

void mr_resolve_cancel(struct mr_lookup *lookup)
{
	if (lookup)
		lookup->done = NULL; /* c-ares cancels only whole channels: its answer is ignored */
}

void mr_resolver_process(struct mr_resolver *r, int fd, unsigned ready)
{
	r->answering++; /* the channel must not be destroyed during its call */
	ares_process_fd(r->channel, ready & MR_WANT_READ ? fd : ARES_SOCKET_BAD,
		ready & MR_WANT_WRITE ? fd : ARES_SOCKET_BAD);
	hurry(r);
	r->answering--;
}

mr_msec mr_resolver_deadline(const struct mr_resolver *r, mr_msec now)
{
	struct timeval tv;
	if (mr_list_is_empty(&r->lookups) || !ares_timeout(r->channel, NULL, &tv)) return MR_NEVER;
	mr_msec at = now + (mr_msec)tv.tv_sec * 1000 + (tv.tv_usec + 999) / 1000;
	const struct mr_lookup *l = next_in_a_hurry(r);
	return l ? mr_earlier(at, l->hurry_at) : at;
}

void mr_resolve_format(const struct mr_address *address, char *out, size_t capacity)
{
	char text[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *v4 = &address->storage.v4;
	const struct sockaddr_in6 *v6 = &address->storage.v6;
	if (address->storage.any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
		snprintf(out, capacity, "%s:%u", text, ntohs(v4->sin_port));
	} else {
		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
		snprintf(out, capacity, "[%s]:%u", text, ntohs(v6->sin6_port));
	}
}
