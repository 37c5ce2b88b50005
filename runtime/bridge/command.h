/* command: the commands that the host sends to the I/O thread; the answers are mr_event.
 * SPDX-License-Identifier: MIT
 * Plain data. A pushed command owns the memory that it points to; one that was not pushed does
 * not. */
#ifndef MR_BRIDGE_COMMAND_H
#define MR_BRIDGE_COMMAND_H

#include <sys/types.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/slice.h"

/* The token of a request that no host made: its end is not reported. */
#define MR_TOKEN_NOBODY UINT64_MAX

enum {
	MR_SECRET_LOGIN,
	MR_SECRET_KEY
}; /* in MR_CMD_SECRET: the login's password, or the key file's */

/* With the fields that each command uses. Commands up to SETTLE are for a connection; those for a
 * channel also carry its epoch. */
enum mr_command_type {
	MR_CMD_LINK_NEW,   /* seed */
	MR_CMD_LINK_OPEN,  /* token */
	MR_CMD_LINK_CLOSE, /* token, deadline */
	MR_CMD_LINK_FREE,
	MR_CMD_CHANNEL_OPEN,  /* for a channel: token, channel_open */
	MR_CMD_CHANNEL_CLOSE, /* for a channel: token, deadline */
	MR_CMD_REQUEST,       /* for a channel: token, request */
	MR_CMD_SECRET,        /* token (0: only for the next connect), secret */
	MR_CMD_RETRY,         /* retry_delay: from now on the host decides */
	MR_CMD_INHERIT,       /* inherit_from */
	MR_CMD_FORGET,        /* forgotten */
	MR_CMD_PUBLISH,       /* for a channel: publish; then struct mr_outgoing and its bytes */
	MR_CMD_SETTLE,        /* for a channel: settle */
	MR_CMD_RELEASE,       /* released */
	MR_CMD_WATCH_FD,      /* token, watch */
	MR_CMD_UNWATCH_FD,    /* unwatched */
	MR_CMD_WAKE_AT,       /* wake_at: wakes the host with an event */
	MR_CMD_NUDGE_AT,      /* wake_at: wakes the host without an event */
	MR_CMD_WAKE_SOCKET,   /* wake_socket */
	MR_CMD_CLOCK,         /* token: the clock was advanced */
	MR_CMD_PUMPED,        /* the host polls: loop-mode heartbeats may be sent */
	MR_CMD_LOG,           /* log */
	MR_CMD_WATCHDOG,      /* watchdog */
	MR_CMD_NOTE,          /* note */
	MR_CMD_HEALTH,        /* health; see enum mr_health_command for the token */
	MR_CMD_FAREWELL,      /* token, deadline: all connections, in order; the thread goes on */
	MR_CMD_STOP           /* deadline */
};

enum mr_health_command {
	MR_HEALTH_OPTIONS, /* options */
	MR_HEALTH_NOTE,    /* note */
	MR_HEALTH_STOPPING,
	MR_HEALTH_ASK,     /* token */
	MR_HEALTH_WATCH,   /* is_watched */
	MR_HEALTH_METER,   /* meter */
	MR_HEALTH_METRIC,  /* metric */
	MR_HEALTH_BACKLOG, /* backlog */
	MR_HEALTH_LOANS,   /* loans */
	MR_HTTP_LISTEN,    /* token, listen */
	MR_HTTP_CLOSE,     /* token */
	MR_CONSOLE_LISTEN, /* console */
	MR_CONSOLE_CLOSE,
	MR_HTTP_PAGE,   /* page */
	MR_HTTP_SHOW,   /* show */
	MR_HTTP_ANSWER, /* answer */
	MR_HTTP_FLOW    /* flows */
};

/* Each publish and each settle needs one. `type` selects the arm of the union, and `health.what`
 * the arm of the inner union. The command takes all memory that it points to. */
/* clang-format off */
struct mr_command {
	uint16_t type;
	uint16_t channel;
	uint32_t connection;
	uint32_t epoch; /* the channel's */
	uint64_t token; /* chosen by the host, repeated by the answering event; 0: no answer */
	union {
		struct { uint64_t number; mr_msec deadline; uint16_t flags; } publish; /* number: 0 outside confirm mode */
		struct { uint64_t tag; mr_delivery *released; uint16_t how, flags; } settle; /* released: or NULL */
		mr_delivery *released;
		struct { mr_msec deadline; struct mr_request_copy *copy; } request;
		struct { mr_msec deadline; uint32_t connection_epoch; } channel_open;
		struct { mr_msec deadline; char *text; int which; } secret; /* which: MR_SECRET_* */
		struct mr_link_seed *seed;
		mr_msec deadline;
		uint64_t retry_delay;  /* ms until the next try; UINT64_MAX: none */
		uint32_t inherit_from; /* the connection whose recorded topology this one takes over */
		uint32_t forgotten;    /* a consumer that must not be recovered */
		struct { int fd, events; uint32_t serial; } watch; /* events: MR_FD_* */
		uint64_t unwatched; /* the token of its MR_CMD_WATCH_FD */
		mr_msec wake_at;
		struct mr_wake_socket *wake_socket; /* borrowed from the bridge */
		struct { int level, format, worker; bool as_events; } log;
		struct { mr_msec stall; pid_t thread; int signal; } watchdog; /* the thread gets the signal */
		struct { uint32_t consumer; struct mr_note *about; } note; /* about: NULL: forget it */
		struct {
			enum mr_health_command what;
			union {
				mr_health_options *options;
				struct mr_health_note *note;
				bool is_watched;
				struct mr_meter *meter; /* borrowed: the host's until the thread has ended */
				struct mr_metric *metric; /* the same */
				struct mr_backlog_entry *backlog; /* the same */
				struct mr_loans *loans; /* the same */
				struct { char *address; uint16_t port; } listen;
				struct mr_local_socket *console; /* taken */
				struct { char *path; int audience; bool is_on; } page; /* audience: MR_PAGE_* */
				struct { char *token; int where; bool is_now; } show; /* where: MR_SHOW_*; token: NULL: none */
				struct { uint64_t request; struct mr_page_answer *page; } answer; /* request: the MR_EV_PAGE's token */
				uint64_t flows; /* the same, of one whose pipe has bytes, or its end */
			};
		} health;
	};
};
/* clang-format on */
_Static_assert(sizeof(struct mr_command) == 48, "every message pays for a byte more of it");

/* A publish in the ring consists of its command, this struct, exchange, routing key, properties
 * and, unless `large` holds it, the body. */
struct mr_outgoing {
	uint64_t body_size;
	char *large; /* a body too large for the ring: taken */
	uint32_t properties_size;
	uint8_t exchange_size, routing_key_size;
	uint16_t reserved;
};

/* The bytes that a publish counts against MR_OUTBOUND_MAX. */
static inline uint64_t mr_outgoing_weight(const struct mr_outgoing *o)
{
	return o->body_size + o->properties_size + o->exchange_size + o->routing_key_size + 64;
}

struct mr_pipe;

/* The host's answer to a request for one of its pages. */
struct mr_page_answer {
	unsigned code;
	char type[128];       /* NUL-terminated */
	struct mr_pipe *pipe; /* the body comes through it: taken; NULL: */
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
/* The parts of a new link. The host reads config and gauge until it pushes MR_CMD_LINK_FREE; the
 * link frees them with itself. If there is no memory for a link, the seed keeps them. */
struct mr_link_seed {
	struct mr_config *config;
	struct mr_gauge *gauge;
	struct mr_node node; /* in engine->barren if no link could be made */
	uint32_t number;
};

/* Carried by MR_EV_CONNECTION when a connection opens; api takes it. */
struct mr_opened {
	mr_table *server_properties;
	mr_facts facts; /* frame_max 0: no limit */
	char host[280]; /* "name:port" of the host that answered */
};

/* The description of a consumer for reports of a stall. */
struct mr_note {
	mr_msec stall, limit; /* stall: 0: the default, -1: never; limit: 0: none */
	const char *origin;   /* stored after the queue's name */
	char queue[];
};

/* A request with its strings in the same block of memory. */
struct mr_request_copy {
	struct mr_request request;
	char bytes[];
};

/* Bodies up to this many bytes are copied into the ring, larger ones are passed by pointer: two
 * more copies would cost more than an allocation. */
#define MR_INLINE_BODY 4096

/* Bytes of publishes that may wait for one connection before a publish fails with
 * MR_BACKPRESSURE. */
#define MR_OUTBOUND_MAX (8u << 20)

#endif
