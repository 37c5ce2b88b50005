/* gateway: a server whose messages are kept by Redis: its connections follow Redis's.
 * SPDX-License-Identifier: MIT
 * Broker thread. While Redis is not reached, who connects waits for the next try, which follows at
 * once, but for three seconds at most: then it is told why at its login, and tries again by its own
 * rules. When Redis is lost, all are closed: what they have not settled goes back when it is there
 * again. */
#ifndef MR_BROKER_SERVER_GATEWAY_H
#define MR_BROKER_SERVER_GATEWAY_H

#include "bridge/notices.h"
#include "broker/server/peer.h"

struct mr_gateway;

/* True for a URL of a store other than memory. */
bool mr_gateway_is_url(const char *text);
/* *gives*. MR_BAD_URI, MR_NO_MEMORY, or what TLS's files say. */
enum mr_status mr_gateway_open(struct mr_gateway **out, struct mr_wire *wire, const char *url,
	mr_error *error);
/* A client has connected: serves it now or later; takes the stream. */
void mr_gateway_adopt(struct mr_gateway *g, struct mr_stream *stream);
/* Writes what waits: before the loop sleeps. */
void mr_gateway_flush(struct mr_gateway *g);
/* After its peers have been freed. NULL is allowed. */
/* The thread ends: reads what clients wrote last, and gives Redis back what they hold. Within seconds. */
void mr_gateway_wind_up(struct mr_gateway *gateway);
void mr_gateway_close(struct mr_gateway *g);
/* What is known of its Redis, for any thread; while the gateway is there. NULL: no gateway. */
struct mr_notices *mr_gateway_notices(struct mr_gateway *g);

#endif
