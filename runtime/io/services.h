/* services: what the I/O thread offers to those who work on it.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one, makes what is in it, and takes it apart. */
#ifndef MR_IO_SERVICES_H
#define MR_IO_SERVICES_H

#include <ev.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/bridge.h"
#include "io/event_queue.h"
#include "io/timer.h"

/* One read's worth. A quarter of a megabyte holds about 1500 deliveries of 100 bytes. */
#define MR_READ_CHUNK (256 * 1024)

struct mr_crowd;
struct mr_history;
struct mr_resolver;
struct mr_tls_store;

struct mr_services {
	struct ev_loop *loop;
	struct mr_timers timers;
	struct mr_bridge *bridge;
	struct mr_event_queue dispatch;
	struct mr_log log;
	mr_stats stats;
	struct mr_delivery_pool *pool;
	struct mr_buffer scratch; /* where reads land; always empty */
	struct mr_resolver *resolver;
	struct mr_tls_store *tls;
	unsigned shaking;           /* TLS handshakes that go on */
	struct mr_node shake_line;  /* dials that wait for theirs */
	struct mr_server *server;   /* of memory:// without a name */
	struct mr_map links;        /* by connection number */
	struct mr_node dirty;       /* links with something to write */
	struct mr_node eager;       /* links whose streams have read ahead */
	struct mr_node paused;      /* links that do not read until the host has caught up */
	struct mr_node holding;     /* links that keep messages until the host has caught up */
	struct mr_crowd *crowd;     /* who was lost just now, with others */
	struct mr_history *history; /* what has become of them all */
	uint64_t pumps;             /* how often the host polled, for loop-mode heartbeats */
	uint32_t epochs;            /* given to channels that came back */
	uint64_t clock;             /* us: when what is going on began */
	uint64_t delivered_at;      /* us: when the last message came; 0: none */
	bool stopping, stopped;
};

mr_msec mr_services_tick(struct mr_services *s); /* mr_clock_now(), and `clock` follows */

#endif
