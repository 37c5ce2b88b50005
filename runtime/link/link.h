/* link: one connection: it dials, runs a session over the stream, and says how things stand.
 * SPDX-License-Identifier: MIT
 * I/O thread. One link for each mr_connection of the host; it outlives the connections it makes. */
#ifndef MR_LINK_LINK_H
#define MR_LINK_LINK_H

#include "amqp/session.h"
#include "io/services.h"
#include "link/dial.h"
#include "link/history.h"
#include "link/recovery.h"
#include "net/inlet.h"

/* CONNECTING is dialing and shaking hands; PARTING is closed for the host, while the last bytes leave;
 * BACKOFF waits for the next try. */
#define MR_LINK_STATES(X) X(IDLE) X(CONNECTING) X(OPEN) X(CLOSING) X(PARTING) X(BACKOFF)
#define MR_LINK_STATE_ENUM_(s) MR_LINK_##s,
enum mr_link_state { MR_LINK_STATES(MR_LINK_STATE_ENUM_) MR_LINK_STATE_COUNT };

struct mr_link {
	struct mr_services *services;
	uint32_t number;
	enum mr_link_state state;
	struct mr_config *config;
	struct mr_gauge *gauge;
	struct mr_login login;
	struct mr_session_options options;
	struct mr_session *session;
	struct mr_dial dial;
	struct mr_stream *stream;
	struct mr_inlet inlet;
	struct mr_node dirty;  /* in services->dirty */
	struct mr_node eager;  /* in services->eager: its stream has read ahead of us */
	struct mr_node paused; /* in services->paused: it does not read for now */
	struct mr_node
		holding; /* in services->holding: its session keeps messages of curbed consumers */
	struct mr_lane lane;    /* events that the host has no room for */
	struct mr_tally *tally; /* what the host holds of its messages, or will */
	struct mr_node openers; /* struct waiter: who waits for the open */
	struct mr_node closers;
	ev_io io;
	struct mr_timer timer; /* the session's deadline */
	mr_msec timer_at;
	bool writes_wait_to_read; /* TLS must hear the peer before it can write */
	struct mr_timer patience; /* connect_timeout, close_timeout */
	struct mr_timer greeting; /* socket_timeout of the AMQP handshake on one address */
	uint64_t pumps_seen;      /* services->pumps at the last heartbeat, in loop mode */
	mr_error error;           /* why the last connection ended */
	uint64_t published;       /* bytes of publishes taken, ever */
	uint32_t opened;          /* how often; the host counts it when it is told */
	bool is_blocked;          /* the broker takes no publishes */
	char blocked_why[128];
	uint64_t violations; /* of the protocol by the broker */
	uint32_t tags;       /* of consumers, given so far */
	bool curbs_refused;  /* by the broker, which ends channels or connections for them */
	bool is_faulty;      /* a move that may not be: it is dropped in this turn */
	struct mr_recovery recovery;
};

enum mr_status mr_link_new(struct mr_services *services, uint32_t number,
	struct mr_link_seed *seed);
void mr_link_open(struct mr_link *link, uint64_t token);
void mr_link_close(struct mr_link *link, uint64_t token, mr_msec deadline);
/* Closes by force what is open, without a word to the host, and frees. */
void mr_link_free(struct mr_link *link);
/* A command for the link's session; `bytes` is what follows the command in its record. */
void mr_link_command(struct mr_link *link, const struct mr_command *command, const char *bytes);
/* Writes what there is to write. */
void mr_link_flush(struct mr_link *link);
/* Has the host caught up, or does anything wait for an answer? Then it reads on. */
void mr_link_judge(struct mr_link *link);
/* A turn of reading. */
void mr_link_read(struct mr_link *link);

/* Connects now instead of when the time for the next try comes. */
void mr_link_retry(struct mr_link *link);
/* The host's word on the next try: in so many ms; UINT64_MAX: there is none. */
void mr_link_decide(struct mr_link *link, uint64_t delay);

/* What link.c, command.c and io.c share. */
void mr_link_enter(struct mr_link *link,
	enum mr_link_state next);                 /* the only writer of the state */
void mr_link_drop_faulty(struct mr_link *link);   /* after a move that may not be */
void mr_link_touch(struct mr_link *link);         /* it may have something to write */
void mr_link_session_moved(struct mr_link *link); /* the session's state may have changed */
void mr_link_broken(struct mr_link *link, const mr_error *why); /* the stream failed */
void mr_link_io_start(struct mr_link *link);
void mr_link_io_stop(struct mr_link *link);
void mr_link_rearm(struct mr_link *link);
void mr_link_last_words(struct mr_link *link); /* writes what it can, whatever comes of it */
void mr_link_gone(struct mr_link *link,
	size_t left); /* all but `left` bytes have left the process */

/* report.c: what the host is told. */
void mr_link_emit(void *owner, const mr_event *event);          /* unless it is recovery's own */
void mr_link_push(struct mr_link *link, const mr_event *event); /* as it is */
void mr_link_tell_state(struct mr_link *link, enum mr_connection_state state, enum mr_status status,
	void *data);                                               /* data is taken */
void mr_link_tell_lost(struct mr_link *link, const mr_error *why); /* for now */
void mr_link_tell_done(struct mr_link *link, uint64_t token, const mr_error *error);
void mr_link_tell_closed(struct mr_link *link, uint16_t channel, uint64_t token,
	const mr_error *error); /* the same, about a channel */
void mr_link_wait_for(struct mr_link *link, struct mr_node *list, uint64_t token);
void mr_link_answer(struct mr_link *link, struct mr_node *list, const mr_error *error);
void mr_link_log_loss(struct mr_link *link, const char *msg, const mr_error *error);
void mr_link_log_too_large(void *owner, const struct mr_too_large *what);
void mr_link_log_curbed(void *owner, const struct mr_curbed *what);
bool mr_link_may_curb(void *owner, mr_slice queue);
void mr_link_curb_refused(void *owner, const mr_error *why);
void mr_link_log_connecting(struct mr_link *link);
void mr_link_log_connected(struct mr_link *link, const char *host);
void mr_link_log_recovered(struct mr_link *link, uint32_t restored, double after);
void mr_link_log_retry(struct mr_link *link, int kind, mr_msec delay);
void mr_link_late(void *owner, uint16_t channel, uint64_t token,
	enum mr_status status);                                        /* mr_late */
void mr_link_odd(void *owner, uint16_t channel, const mr_error *what); /* mr_odd */

#endif
