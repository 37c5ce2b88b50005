/* handle: the host's side of runtimes, connections and channels.
 * SPDX-License-Identifier: MIT
 * Host thread only. What the I/O thread knows of them is behind the bridge. */
#ifndef MR_API_HANDLE_H
#define MR_API_HANDLE_H

#include "api/waits.h"
#include "base/log.h"
#include "base/map.h"
#include "bridge/bridge.h"
#include "bridge/meter.h"
#include "config/config.h"
#include "engine/engine.h"
#include "moonrabbit.h"

struct mr_runtime {
	struct mr_bridge bridge;
	struct mr_engine *engine;
	uint32_t *alive;                /* a page that reads as 0 in a forked child */
	struct mr_map connections;      /* by number */
	struct mr_map pools;            /* by number */
	const struct mr_keeper *keeper; /* of their handles; NULL: there never was a pool */
	struct mr_map requests;         /* of pools, by token: what is still to come */
	struct mr_waits waits;          /* for places of pools */
	struct mr_map watched;          /* serials of mr_watch_fd by token, of what has not ended */
	struct mr_map recovers; /* epochs of channels, by the token of a basic.recover of theirs */
	uint32_t watch_serial;
	uint32_t connection_numbers, epochs, pool_numbers;
	uint32_t loop_mode;   /* connections with heartbeat_mode = "loop" */
	unsigned unsignalled; /* commands pushed since the I/O thread was last woken */
	bool prepared;        /* the last poll left the host announced as asleep */
	bool unseen; /* it woke by itself: the I/O thread takes it to be asleep until the next signal */
	bool roused; /* its announced sleep ended by a word of its own */
	struct mr_log log;
	struct mr_meter *meters[MR_METERS_MAX + 1];
	size_t meter_count;
};

/* What pools are told of the handles that are their own. */
struct mr_keeper {
	void (*forget)(mr_connection *c); /* it is freed, be it a pool's or not */
	void (*forget_channel)(mr_channel *ch);
	void (*inherit)(mr_connection *c, mr_connection *from); /* c takes its place */
	/* Of the connections to come. Without memory for it they begin with the one before. */
	void (*secret)(struct mr_pool *pool, mr_slice secret, int which);
};

struct mr_connection {
	mr_runtime *rt;
	uint32_t number;
	int state; /* enum mr_connection_state, as far as events were pulled */
	bool blocked;
	uint32_t epoch;
	mr_error error;
	const struct mr_config *config; /* the link's; lives until MR_CMD_LINK_FREE is pushed */
	struct mr_gauge *gauge;         /* likewise */
	uint64_t published;             /* weight of all publishes pushed */
	mr_table *server_properties;
	uint16_t channel_max;
	uint32_t frame_max; /* agreed; 0: no limit */
	char host[280];
	mr_channel **channels; /* by number */
	size_t channel_slots;
	struct mr_pool *pool;      /* whose it is, or NULL */
	struct mr_pool_item *item; /* as which; NULL: it carries a shared pool's channels */
	uint64_t
		parting; /* given up by its pool: freed when the close with this token has ended, */
	uint32_t
		retired; /* and when so many have been given back that were lent when the pool closed */
	bool kept;       /* mr_connection_keep */
};

/* SUSPENDED: lost with its connection, or closed by the broker, and to come back. */
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
	bool orphaned;             /* the host forgot it; freed when it has closed */
	bool kept;                 /* mr_channel_keep */
	struct mr_pool_item *item; /* of the pool whose it is, or NULL; its connection lives then */
	uint64_t taken_back;       /* deliveries up to this tag are the broker's again */
	uint32_t recovering;       /* basic.recovers under way: all deliveries may be */
	uint64_t published;        /* the last publish's number, in confirm mode */
	mr_error error;
};

bool mr_handle_is_forked(const mr_runtime *rt);
/* The upper half of the numbers is the I/O thread's own. */
static inline bool mr_is_token(uint64_t token) { return token && !(token >> 63); }
/* Room for a command with `extra` bytes behind it. Waits for the I/O thread when the ring is full
 * (it never blocks, so that is short) unless `hurry`; NULL: full, or the thread has ended. */
struct mr_command *mr_command_reserve(mr_runtime *rt, size_t extra, bool hurry);
/* Sends the reserved command. The I/O thread is woken by the next poll, or every few commands. */
void mr_command_commit(mr_runtime *rt);
void mr_command_signal(mr_runtime *rt); /* now */
/* Makes the descriptor of a host that announced a sleep readable. The I/O thread does not hear of it. */
void mr_handle_rouse_host(mr_runtime *rt);
/* reserve, copy, commit. MR_OK, MR_FORKED or MR_CLOSED. */
enum mr_status mr_command_send(mr_runtime *rt, const struct mr_command *command);

mr_connection *mr_handle_find_connection(const mr_runtime *rt, uint32_t number);
mr_channel *mr_handle_find_channel(const mr_runtime *rt, uint32_t connection, uint16_t channel,
	uint32_t epoch);
/* Closes it under a token that need not be the host's, whatever its state. */
enum mr_status mr_channel_send_close(mr_channel *ch, uint64_t token);

#endif
