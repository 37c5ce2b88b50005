/* services: what the I/O thread provides for links and health.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one, and makes and frees its parts. */
#ifndef MR_IO_SERVICES_H
#define MR_IO_SERVICES_H

#include "base/buffer.h"
#include "base/ev.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/bridge.h"
#include "io/event_queue.h"
#include "io/timer.h"

/* The size of one read: about 800 deliveries of 100 bytes. With the messages made of it, it is to fit
 * the second-level cache of a core (512 KiB where it was measured; docs/performance.md). */
#define MR_READ_CHUNK (128 * 1024)

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
	struct mr_buffer scratch; /* the memory for reads; empty between reads */
	struct mr_resolver *resolver;
	struct mr_tls_store *tls;
	unsigned shaking;           /* TLS handshakes in progress */
	struct mr_node shake_line;  /* dials that wait for their TLS handshake */
	struct mr_server *server;   /* of memory:// without a name */
	struct mr_map links;        /* by connection number */
	struct mr_node dirty;       /* links with output to write */
	struct mr_node eager;       /* links whose streams have buffered input */
	struct mr_node paused;      /* links that do not read until the host has caught up */
	struct mr_node holding;     /* links that hold messages until the host has caught up */
	struct mr_crowd *crowd;     /* connections lost at the same time */
	struct mr_history *history; /* counts and failures of all links */
	uint64_t pumps;             /* how often the host polled, for loop-mode heartbeats */
	uint32_t epochs;            /* the number of epochs given to restored channels */
	uint32_t tags;              /* the number of consumer tags made */
	uint64_t clock;             /* us: the start of the current work */
	uint64_t delivered_at;      /* us: the arrival of the last message; 0: none */
	bool stopping, stopped;
};

mr_msec mr_services_tick(struct mr_services *s); /* returns mr_clock_now() and updates `clock` */

#endif
