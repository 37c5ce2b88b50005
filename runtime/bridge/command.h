/* command: what the two threads say to each other: commands to the I/O thread; events are mr_event.
 * SPDX-License-Identifier: MIT
 * Plain data. A pushed command owns what it points to; a command that was not pushed does not. */
#ifndef MR_BRIDGE_COMMAND_H
#define MR_BRIDGE_COMMAND_H

#include "base/clock.h"
#include "base/list.h"
#include "base/slice.h"

/* The token of a request that no host made: its end is told to nobody. */
#define MR_TOKEN_NOBODY UINT64_MAX

enum {
	MR_SECRET_LOGIN,
	MR_SECRET_KEY
}; /* of a MR_CMD_SECRET: the password, that of the key file */

enum mr_command_type {
	MR_CMD_LINK_NEW,   /* data: struct mr_link_seed *, taken */
	MR_CMD_LINK_OPEN,  /* token */
	MR_CMD_LINK_CLOSE, /* token, deadline */
	MR_CMD_LINK_FREE,
	MR_CMD_CHANNEL_OPEN,  /* token, epoch, deadline */
	MR_CMD_CHANNEL_CLOSE, /* token, deadline */
	MR_CMD_REQUEST,       /* token, deadline; data: struct mr_request_copy *, taken */
	MR_CMD_SECRET, /* data: a secret, taken; flags: which; token and deadline, 0: for the next connect only */
	MR_CMD_RETRY, /* number: ms to the next try, UINT64_MAX: none; flags 1: the host decides, ever */
	MR_CMD_INHERIT,  /* number: the connection whose declares and bindings become this one's */
	MR_CMD_FORGET,   /* number: a consumer that is not to come back */
	MR_CMD_PUBLISH,  /* number, flags, deadline; a struct mr_outgoing and its bytes follow */
	MR_CMD_SETTLE,   /* number: tag, epoch, how, flags; data: the delivery when RELEASE */
	MR_CMD_RELEASE,  /* data: the delivery */
	MR_CMD_WATCH_FD, /* token, epoch, number: fd, flags */
	MR_CMD_UNWATCH_FD, /* token */
	MR_CMD_WAKE_AT,    /* deadline: an event wakes the host */
	MR_CMD_NUDGE_AT,   /* deadline: the host is woken without an event */
	MR_CMD_CLOCK,      /* token: the clock was moved */
	MR_CMD_PUMPED,     /* the host polls: loop-mode heartbeats may go */
	MR_CMD_LOG,        /* number: level, flags: format, channel: worker */
	MR_CMD_WATCHDOG,   /* deadline: ms, flags: a signal, number: the thread that gets it */
	MR_CMD_NOTE,       /* number: consumer; data: struct mr_note *, taken; NULL: forget it */
	MR_CMD_HEALTH,     /* how: enum mr_health_command */
	MR_CMD_STOP        /* deadline */
};

enum mr_health_command {
	MR_HEALTH_OPTIONS, /* data: mr_health_options *, taken */
	MR_HEALTH_NOTE,    /* data: struct mr_health_note *, taken */
	MR_HEALTH_STOPPING,
	MR_HEALTH_ASK,   /* token */
	MR_HEALTH_WATCH, /* number: on */
	MR_HEALTH_METER, /* data: struct mr_meter *, borrowed: the host's until the thread has ended */
	MR_HTTP_LISTEN, /* token, number: port, data: address, taken */
	MR_HTTP_CLOSE,  /* token */
	MR_HTTP_PAGE,   /* number: on, data: path, taken */
	MR_HTTP_ANSWER  /* token: of the MR_EV_PAGE, data: struct mr_page_answer *, taken */
};

struct mr_command {
	uint16_t type;
	uint16_t channel;
	uint32_t connection;
	uint64_t token;
	uint64_t number;
	mr_msec deadline;
	uint32_t epoch;
	uint16_t how;
	uint16_t flags;
	void *data;
};

/* A publish travels as its command, this, then exchange, routing key, properties and, unless `large`
 * holds it, the body. */
struct mr_outgoing {
	uint64_t body_size;
	char *large; /* a body too big for the ring: taken */
	uint32_t properties_size;
	uint8_t exchange_size, routing_key_size;
	uint16_t reserved;
};

/* What a publish counts for against the bound of what may be queued. */
static inline uint64_t mr_outgoing_weight(const struct mr_outgoing *o)
{
	return o->body_size + o->properties_size + o->exchange_size + o->routing_key_size + 64;
}

/* What the host answers to a request for a page of its own. */
struct mr_page_answer {
	unsigned code;
	char type[128]; /* NUL-terminated */
	size_t size;
	char body[];
};

/* A check's name and its detail, both NUL-terminated. */
struct mr_health_note {
	int state; /* MR_NOTE_* */
	char name[129], detail[512];
};

struct mr_config;
struct mr_gauge;
/* What a new link is made of. The host reads both until it pushes MR_CMD_LINK_FREE: the link frees them with
 * itself; without memory for a link the seed stays, in their place. */
struct mr_link_seed {
	struct mr_config *config;
	struct mr_gauge *gauge;
	struct mr_node node; /* in engine->barren, when no link came of it */
	uint32_t number;
};

/* Rides on MR_EV_CONNECTION when a connection opens; api takes it. */
struct mr_opened {
	mr_table *server_properties;
	uint16_t channel_max;
	uint32_t frame_max; /* 0: no limit */
	char host[280];     /* "name:port" of the host that answered */
};

/* What is said of a consumer that stalls. */
struct mr_note {
	mr_msec stall, limit; /* 0: the usual; -1: never. 0: none */
	const char *origin;   /* behind the queue's name */
	char queue[];
};

/* A request whose strings live in the same block of memory. */
struct mr_request_copy {
	struct mr_request request;
	char bytes[];
};

/* Bodies up to this many bytes travel in the ring itself, larger ones by pointer: copying them twice
 * more would cost more than an allocation. */
#define MR_INLINE_BODY 4096

/* Bytes of publishes that may wait for one connection before the host is told MR_BACKPRESSURE. */
#define MR_OUTBOUND_MAX (8u << 20)

#endif
