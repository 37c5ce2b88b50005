/* resolve: looks up host names without blocking, by c-ares.
 * SPDX-License-Identifier: MIT
 * I/O thread only. Has its own descriptors, which the caller polls. */
#ifndef MR_NET_RESOLVE_H
#define MR_NET_RESOLVE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/status.h"

struct mr_address {
	union { /* not sockaddr_storage: each link holds two, and that is five times as large */
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} storage;
	socklen_t size;
};

struct mr_resolver;
struct mr_lookup;

/* Called once per lookup, from mr_resolver_process or from mr_resolve itself (IP literals, hosts
 * file); the addresses are borrowed. On failure count is 0 and `error` has MR_DNS_FAILED. It may
 * start other lookups and may not close the resolver. */
typedef void mr_resolved(void *owner, const struct mr_address *addresses, size_t count,
	const mr_error *error);

/* Called when the events to watch on a descriptor change (0: stop watching). */
typedef void mr_resolver_watch(void *owner, int fd, unsigned want);

enum mr_status mr_resolver_open(struct mr_resolver **out, mr_resolver_watch *watch, void *owner,
	mr_error *error);
void mr_resolver_close(struct mr_resolver *resolver); /* pending lookups end without a call */
/* Tests only: asks these servers ("127.0.0.1:5353") instead of the system's. */
enum mr_status mr_resolver_servers(struct mr_resolver *resolver, const char *servers);
/* Tests only: reads this file instead of /etc/resolv.conf; borrowed. */
void mr_resolver_file(struct mr_resolver *resolver, const char *file);
/* resolv.conf is read again when it has changed. Both families, the hosts file first, order as
 * getaddrinfo would (RFC 6724 where c-ares does it). */
enum mr_status mr_resolve(struct mr_resolver *resolver, const char *host, uint16_t port,
	mr_resolved *done, void *owner, struct mr_lookup **out);
void mr_resolve_cancel(struct mr_lookup *lookup); /* prevents the call; NULL is allowed */
void mr_resolver_process(struct mr_resolver *resolver, int fd,
	unsigned ready); /* fd -1: timeouts only */
mr_msec mr_resolver_deadline(const struct mr_resolver *resolver, mr_msec now); /* MR_NEVER: none */
/* "127.0.0.1:5672", "[::1]:5672" */
void mr_resolve_format(const struct mr_address *address, char *out, size_t capacity);

#endif
