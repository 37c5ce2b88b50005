/* command: what the two threads say to each other: commands to the I/O thread; events are mr_event.
 * SPDX-License-Identifier: MIT
 * Plain data. A pushed command owns what it points to; a command that was not pushed does not. */
#ifndef MR_BRIDGE_COMMAND_H
#define MR_BRIDGE_COMMAND_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/slice.h"

/* The token of a request that no host made: its end is told to nobody. */
#define MR_TOKEN_NOBODY UINT64_MAX

enum {
	MR_SECRET_LOGIN,
	MR_SECRET_KEY
}; /* of a MR_CMD_SECRET: the password, that of the key file */

/* What each fills. Down to SETTLE they are to a connection; those to a channel name it by its epoch too. */
enum mr_command_type {
	MR_CMD_LINK_NEW,   /* seed */
	MR_CMD_LINK_OPEN,  /* token */
	MR_CMD_LINK_CLOSE, /* token, deadline */
	MR_CMD_LINK_FREE,
	MR_CMD_CHANNEL_OPEN,  /* to a channel: token, channel_open */
	MR_CMD_CHANNEL_CLOSE, /* to a channel: token, deadline */
	MR_CMD_REQUEST,       /* to a channel: token, request */
	MR_CMD_SECRET,        /* token, 0: for the next connect only; secret */
	MR_CMD_RETRY,         /* retry_delay: from now on the host decides */
	MR_CMD_INHERIT,       /* inherit_from */
	MR_CMD_FORGET,        /* forgotten */
	MR_CMD_PUBLISH,       /* to a channel: publish; a struct mr_outgoing and its bytes follow */
	MR_CMD_SETTLE,        /* to a channel: settle */
	MR_CMD_RELEASE,       /* released */
	MR_CMD_WATCH_FD,      /* token, watch */
	MR_CMD_UNWATCH_FD,    /* unwatched */
	MR_CMD_WAKE_AT,       /* wake_at: an event wakes the host */
	MR_CMD_NUDGE_AT,      /* wake_at: the host is woken without an event */
	MR_CMD_CLOCK,         /* token: the clock was moved */
	MR_CMD_PUMPED,        /* the host polls: loop-mode heartbeats may go */
	MR_CMD_LOG,           /* log */
	MR_CMD_WATCHDOG,      /* watchdog */
	MR_CMD_NOTE,          /* note */
	MR_CMD_HEALTH,        /* health, and token where it says so */
	MR_CMD_STOP           /* deadline */
};

enum mr_health_command {
	MR_HEALTH_OPTIONS, /* options */
	MR_HEALTH_NOTE,    /* note */
	MR_HEALTH_STOPPING,
	MR_HEALTH_ASK,   /* token */
	MR_HEALTH_WATCH, /* is_watched */
	MR_HEALTH_METER, /* meter */
	MR_HTTP_LISTEN,  /* token, listen */
	MR_HTTP_CLOSE,   /* token */
	MR_HTTP_PAGE,    /* page */
	MR_HTTP_ANSWER   /* answer */
};

/* One for each message that is published or settled. `type` says which arm of the union is filled, and `health.what`
 * which of the inner one. What a pointer points to is taken. */
/* clang-format off */
struct mr_command {
	uint16_t type;
	uint16_t channel;
	uint32_t connection;
	uint32_t epoch; /* the channel's */
	uint64_t token; /* the host's: the event that answers has it; 0: nothing answers */
	union {
		struct { uint64_t number; mr_msec deadline; uint16_t flags; } publish; /* number: 0 outside confirm mode */
		struct { uint64_t tag; mr_delivery *released; uint16_t how, flags; } settle; /* released: or NULL */
		mr_delivery *released;
		struct { mr_msec deadline; struct mr_request_copy *copy; } request;
		struct { mr_msec deadline; uint32_t connection_epoch; } channel_open;
		struct { mr_msec deadline; char *text; int which; } secret; /* which: MR_SECRET_* */
		struct mr_link_seed *seed;
		mr_msec deadline;
		uint64_t retry_delay;  /* ms to the next try; UINT64_MAX: none */
		uint32_t inherit_from; /* the connection whose declares and bindings become this one's */
		uint32_t forgotten;    /* a consumer that is not to come back */
		struct { int fd, events; uint32_t serial; } watch; /* events: MR_FD_* */
		uint64_t unwatched; /* the token of its MR_CMD_WATCH_FD */
		mr_msec wake_at;
		struct { int level, format, worker; } log;
		struct { mr_msec stall; pid_t thread; int signal; } watchdog; /* the thread gets the signal */
		struct { uint32_t consumer; struct mr_note *about; } note; /* about: NULL: forget it */
		struct {
			enum mr_health_command what;
			union {
				mr_health_options *options;
				struct mr_health_note *note;
				bool is_watched;
				struct mr_meter *meter; /* borrowed: the host's until the thread has ended */
				struct { char *address; uint16_t port; } listen;
				struct { char *path; bool is_on; } page;
				struct { uint64_t request; struct mr_page_answer *page; } answer; /* request: the MR_EV_PAGE's token */
			};
		} health;
	};
};
/* clang-format on */
_Static_assert(sizeof(struct mr_command) == 48, "every message pays for a byte more of it");

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
