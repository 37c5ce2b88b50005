/* loop: the I/O thread itself: commands in, links, events out, sleep.
 * SPDX-License-Identifier: MIT
 * I/O thread only, but for start and join (engine.h). */
#ifndef MR_ENGINE_LOOP_H
#define MR_ENGINE_LOOP_H

#include <ev.h>
#include <pthread.h>

#include "amqp/delivery.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/bridge.h"
#include "broker/server/server.h"
#include "engine/pools.h"
#include "engine/writer.h"
#include "health/health.h"
#include "health/stall.h"
#include "io/event_queue.h"
#include "io/timer.h"
#include "io/watch.h"
#include "link/backoff.h"
#include "link/history.h"
#include "net/resolve.h"
#include "net/tls.h"

/* One read's worth. A quarter of a megabyte holds about 1500 deliveries of 100 bytes. */
#define MR_READ_CHUNK (256 * 1024)

struct mr_engine {
	struct ev_loop *loop;
	pthread_t thread;
	struct mr_bridge *bridge;
	struct mr_event_queue dispatch;
	struct mr_watches watches;
	struct mr_pools pools;
	struct mr_stall stall;
	struct mr_log log;
	struct mr_writer *writer;
	mr_stats stats;
	struct mr_delivery_pool *pool;
	struct mr_map links;      /* by connection number */
	struct mr_node dirty;     /* links with something to write */
	struct mr_node eager;     /* links whose streams have read ahead */
	struct mr_node paused;    /* links that do not read until the host has caught up */
	struct mr_node holding;   /* links that keep messages until the host has caught up */
	struct mr_node barren;    /* seeds of links that memory did not suffice for */
	struct mr_buffer scratch; /* where reads land; always empty */
	mr_server *server;        /* of memory:// without a name */
	struct mr_tls_store tls;
	unsigned shaking;          /* TLS handshakes that go on */
	struct mr_node shake_line; /* dials that wait for theirs */
	struct mr_resolver *resolver;
	struct mr_map resolver_watchers; /* ev_io by descriptor */
	ev_io wake_io;
	ev_io ending_io; /* the process ends */
	ev_timer linger; /* looks for commands while the host is awake */
	struct mr_timers timers;
	struct mr_timer resolver_timer;
	struct mr_timer stop_timer;
	struct mr_crowd crowd; /* who was lost just now, with others */
	uint64_t pumps;        /* how often the host polled, for loop-mode heartbeats */
	uint32_t epochs;       /* given to channels that came back */
	uint64_t clock_token;  /* who waits for the moved clock's deadlines */
	struct mr_history history;
	struct mr_health_state checkup;
	uint64_t clock;        /* us: when what is going on began */
	uint64_t delivered_at; /* us: when the last message came; 0: none */
	bool stopping, stopped;
	bool is_joined; /* the host waits for the thread's end */
};

mr_msec mr_engine_tick(struct mr_engine *engine); /* mr_clock_now(), and engine->clock follows */

#endif
