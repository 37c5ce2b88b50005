/* state: what the I/O loop works on.
 * SPDX-License-Identifier: MIT
 * Whoever has the helm, except start and join (engine.h). */
#ifndef MR_ENGINE_STATE_H
#define MR_ENGINE_STATE_H

#include <pthread.h>

#include "base/ev.h"
#include "base/list.h"
#include "base/map.h"
#include "engine/farewell.h"
#include "engine/writer.h"
#include "health/pages.h"
#include "health/stall.h"
#include "io/services.h"
#include "io/wake_peer.h"
#include "io/watch.h"
#include "link/backoff.h"
#include "link/history.h"
#include "net/tls.h"

struct mr_engine {
	struct mr_services services;
	pthread_t thread;
	struct mr_watches watches;
	struct mr_wake_peer wake_peer;
	struct mr_farewell farewell;
	struct mr_stall stall;
	struct mr_health_state checkup;
	struct mr_pages pages;
	struct mr_writer *writer;
	struct mr_crowd crowd;
	struct mr_history history;
	struct mr_tls_store tls;
	struct mr_node barren;           /* seeds of links that could not be made: out of memory */
	struct mr_map resolver_watchers; /* ev_io by descriptor */
	struct mr_timer resolver_timer;
	struct mr_timer stop_timer;
	struct mr_timer trim_timer; /* when the memory of large deliveries is freed */
	ev_io wake_io;
	ev_io ending_io;      /* the end of the process */
	ev_timer linger;      /* checks for commands while the host is awake */
	ev_timer lead;        /* ends the sleep of a host that has the helm */
	ev_io signals_io;     /* the signals of that host */
	bool is_interrupted;  /* one has come */
	uint64_t clock_token; /* of the mr_clock_advance that waits for its deadlines */
	bool is_joined;       /* the host waits for the thread's end */
};

#endif
