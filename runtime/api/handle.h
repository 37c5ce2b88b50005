/* handle: the host's side of runtimes, connections and channels.
 * SPDX-License-Identifier: MIT
 * Host thread only. The I/O thread has its own structs, on the other side of the bridge. */
#ifndef MR_API_HANDLE_H
#define MR_API_HANDLE_H

#include "api/busy_poll.h"
#include "api/server_properties.h"
#include "api/waits.h"
#include "base/local_socket.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/backlog.h"
#include "bridge/bridge.h"
#include "bridge/loans.h"
#include "bridge/meter.h"
#include "bridge/series.h"
#include "config/config.h"
#include "engine/engine.h"
#include "moonrabbit.h"

struct mr_runtime {
	struct mr_bridge bridge;
	struct mr_engine *engine;
	uint32_t *alive;                  /* a page that reads as 0 in a forked child */
	struct mr_map connections;        /* by number */
	struct mr_node server_properties; /* of mr_server_properties */
	struct mr_map pools;              /* by number */
	const struct mr_keeper *keeper;   /* the pools' callbacks; NULL: there never was a pool */
	struct mr_map requests;           /* pending requests of pools, by token */
	struct mr_waits waits;            /* for places of pools */
	struct mr_map watched;            /* serials of active mr_watch_fd, by token */
	struct mr_map recovers; /* epochs of channels, by the token of a pending basic.recover */
	struct mr_map setups;   /* of mr_setup, by token */
	uint64_t clock_traffic; /* of the last mr_clock_advance */
	uint32_t watch_serial;
	uint32_t connection_numbers, epochs, pool_numbers;
	uint32_t loop_mode;   /* connections with heartbeat_mode = "loop" */
	unsigned unsignalled; /* commands pushed since the I/O thread was last woken */
	unsigned sent;        /* commands since the last poll, but for settled deliveries */
	unsigned asked;       /* what has an answer, since the last wait began */
	unsigned quick;       /* waits in a row that had an answer soon */
	unsigned at_once;     /* polls in a row, each soon after the other, that had no wait */
	uint64_t polled_at;   /* us: when the last poll had its events */
	uint64_t led_at;      /* us: the last turn that this thread has led */
	struct mr_busy_poll busy_poll;
	struct mr_look look; /* of this wait */
	bool prepared;       /* the last poll left the host announced as asleep */
	bool is_watched; /* the host has asked for the descriptor: it is readable while there is work */
	bool unseen;     /* it woke by itself; the I/O thread does not know until the next signal */
	bool roused;     /* mr_handle_rouse_host ended its announced sleep */
	atomic_bool polling, poll_refused; /* mr_runtime_poll is at work; it was called meanwhile */
	struct mr_log log;
	bool logs_events; /* mr_runtime_log_events */
	bool log_crowd;   /* the last batch of events had no place for the log's lines */
	struct mr_meter *meters[MR_METERS_MAX + 1];
	size_t meter_count;
	struct mr_backlog_entry *backlogs[MR_BACKLOGS_MAX + 1];
	size_t backlog_count;
	struct mr_loans *loans[MR_LOANS_MAX];
	size_t loans_count;
	struct mr_metric *metrics[MR_METRICS_MAX];
	size_t metric_count;
	struct mr_map streams; /* pipes of answers that come bit by bit, by the request's token */
	struct mr_local_socket console; /* a copy: the I/O thread has the listener; path "": none */
};

/* A page of the host's, on the public server or on the console only. */

/* Callbacks that inform pools about handles. */
struct mr_keeper {
	void (*forget)(mr_connection *c); /* it is freed; called for every connection */
	void (*forget_channel)(mr_channel *ch);
	void (*inherit)(mr_connection *c, mr_connection *from); /* c replaces from */
	/* A new secret for future connections. Without memory for it they use the old one. */
	void (*secret)(struct mr_pool *pool, mr_slice secret, int which);
};

struct mr_connection {
	mr_runtime *rt;
	uint32_t number;
	int state; /* enum mr_connection_state, according to the pulled events */
	bool blocked;
	uint32_t epoch;
	const mr_error *error;          /* kept (mr_error_keep): why it ended, or is retried */
	const struct mr_config *config; /* the link's; lives until MR_CMD_LINK_FREE is pushed */
	struct mr_gauge *gauge;         /* the same */
	uint64_t published;             /* weight of all publishes pushed */
	struct mr_server_properties *server_properties; /* NULL: none */
	mr_facts facts;                                 /* frame_max: negotiated; 0: no limit */
	char *host;
	mr_channel **channels; /* by number */
	size_t channel_slots;
	struct mr_pool *pool;      /* its owner, or NULL */
	struct mr_pool_item *item; /* its item; NULL: it has a shared pool's channels */
	/* Given up by its pool: freed when the close with the token `parting` has ended, and the
	 * loans counted in `retired`, which were open when the pool was closed, have been
	 * released. */
	uint64_t parting;
	uint32_t retired;
	bool kept; /* mr_connection_keep */
};

/* SUSPENDED: lost with its connection, or closed by the broker, but it will be recovered. */
enum mr_handle_state {
	MR_HANDLE_OPENING,
	MR_HANDLE_OPEN,
	MR_HANDLE_CLOSING,
	MR_HANDLE_CLOSED,
	MR_HANDLE_SUSPENDED
};

struct mr_channel {
	mr_connection *connection;
	uint16_t number;
	uint32_t epoch;
	enum mr_handle_state state;
	uint64_t open_token, close_token;
	bool confirming;
	bool orphaned;             /* the host has freed it; freed when it has closed */
	bool kept;                 /* mr_channel_keep */
	struct mr_pool_item *item; /* of the pool that owns it, or NULL */
	uint64_t taken_back;       /* the broker has taken back deliveries up to this tag */
	uint32_t recovering;       /* pending basic.recovers: any delivery may be taken back */
	uint64_t published;        /* the last publish's number, in confirm mode */
	const mr_error *error;     /* kept (mr_error_keep): why it ended, or is suspended */
};

bool mr_handle_is_forked(const mr_runtime *rt);
/* The I/O thread uses the upper half of the numbers. */
static inline bool mr_is_token(uint64_t token) { return token && !(token >> 63); }
/* Room for a command followed by `extra` bytes. If the ring is full, waits for the I/O thread
 * (briefly, as it never blocks) unless `hurry`; NULL: the ring is full, or the thread has ended. */
struct mr_command *mr_command_reserve(mr_runtime *rt, size_t extra, bool hurry);
/* Sends the reserved command. The I/O thread is woken by the next poll, or every few commands. */
void mr_command_commit(mr_runtime *rt);
/* The same for what gives a delivery back: much of that comes from a host that reads, and it may wait for
 * the next poll. */
void mr_command_commit_return(mr_runtime *rt);
void mr_command_signal(mr_runtime *rt); /* now */
/* Makes the descriptor of a host that announced a sleep readable, without the I/O thread. */
void mr_handle_rouse_host(mr_runtime *rt);
/* reserve, copy, commit. MR_OK, MR_FORKED or MR_CLOSED. */
enum mr_status mr_command_send(mr_runtime *rt, const struct mr_command *command);

mr_connection *mr_handle_find_connection(const mr_runtime *rt, uint32_t number);
mr_channel *mr_handle_find_channel(const mr_runtime *rt, uint32_t connection, uint16_t channel,
	uint32_t epoch);
/* Frees the struct and what it owns, and not its channels. */
void mr_handle_free_connection(mr_connection *c);
void mr_handle_free_channel(mr_channel *ch); /* the same; NULL is allowed */
/* Closes the channel in any state; the token need not be the host's. */
enum mr_status mr_channel_send_close(mr_channel *ch, uint64_t token);

#endif
