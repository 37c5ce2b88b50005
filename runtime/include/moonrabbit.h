/* moonrabbit.h: the public interface of libmoonrabbit, an embedded messaging runtime for RabbitMQ.
 * SPDX-License-Identifier: MIT
 *
 * Threads: a runtime is one I/O thread, which the library owns, and one host thread: the one that
 * calls these functions. All calls on one runtime and on what belongs to it come from one thread at
 * a time. Nothing here calls back into the host: the host pulls events with mr_runtime_poll.
 *
 * Conventions: functions that can fail return enum mr_status, MR_OK is 0; results leave through the
 * out-parameter, written only on success. Times are seconds (double). Strings are pointer and size,
 * they may hold NUL bytes and are copied unless said otherwise. *borrows*, *takes* and *gives* say
 * who owns what: a taking call that fails takes nothing.
 *
 * Forks: a child that does not call exec has no thread of ours. Its copies of our descriptors are closed
 * before fork returns to it, so that the parent's connections end when the parent says so; each call on what
 * it inherited fails with MR_FORKED (those without a status do nothing), and no state of the parent's is
 * touched. It may make a runtime of its own.
 *
 * Descriptors: ours are never 0, 1 or 2, whether or not the process has them.
 *
 * Requests that the broker answers take a `token`, a number of the host's choice from 1 to 2^63 - 1.
 * Each ends with exactly one MR_EV_DONE event that carries it, at the latest when its time is up. */
#ifndef MOONRABBIT_H
#define MOONRABBIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_VERSION_MAJOR 0
#define MR_VERSION_MINOR 1
#define MR_VERSION_PATCH 0
#define MR_VERSION_STRING "0.1.0"

#define MR_API __attribute__((visibility("default")))

/* Every kind of error, as X(C name, Lua name). mr_status_hint() says what to check for each. */
/* clang-format off */
#define MR_KINDS(X) \
	X(OK, ok) X(CONNECTION_REFUSED, connection_refused) \
	X(DNS_FAILED, dns_failed) X(CONNECT_TIMEOUT, connect_timeout) \
	X(TLS_FAILED, tls_failed) X(PROTOCOL_MISMATCH, protocol_mismatch) \
	X(AUTHENTICATION_FAILED, authentication_failed) X(VHOST_ACCESS_REFUSED, vhost_access_refused) \
	X(ACCESS_REFUSED, access_refused) X(NOT_FOUND, not_found) \
	X(RESOURCE_LOCKED, resource_locked) X(PRECONDITION_FAILED, precondition_failed) \
	X(CONTENT_TOO_LARGE, content_too_large) X(NO_ROUTE, no_route) \
	X(CONNECTION_FORCED, connection_forced) X(FRAME_ERROR, frame_error) \
	X(COMMAND_INVALID, command_invalid) X(CHANNEL_ERROR, channel_error) \
	X(UNEXPECTED_FRAME, unexpected_frame) X(RESOURCE_ERROR, resource_error) \
	X(NOT_ALLOWED, not_allowed) X(NOT_IMPLEMENTED, not_implemented) \
	X(INTERNAL_ERROR, internal_error) X(STREAM_LOST, stream_lost) \
	X(HEARTBEAT_TIMEOUT, heartbeat_timeout) X(BLOCKED_TIMEOUT, blocked_timeout) \
	X(CONNECTION_LIMIT_REACHED, connection_limit_reached) X(CHANNEL_LIMIT_REACHED, channel_limit_reached) \
	X(POOL_EXHAUSTED, pool_exhausted) X(POOL_LIMIT_EXCEEDED, pool_limit_exceeded) \
	X(TIMEOUT, timeout) X(BACKPRESSURE, backpressure) \
	X(NACKED, nacked) X(RETURNED, returned) \
	X(LOST, lost) X(STALE, stale) \
	X(SETTLED, settled) X(CANCELLED, cancelled) \
	X(CLOSED, closed) X(FORKED, forked) \
	X(BAD_OPTION, bad_option) X(BAD_URI, bad_uri) \
	X(BAD_ARGUMENT, bad_argument) X(EMPTY, empty) \
	X(HANDLER_FAILED, handler_failed) X(NO_MEMORY, no_memory) \
	X(NO_DESCRIPTORS, no_descriptors)
/* clang-format on */

#define MR_KIND_ENUM_(upper, lower) MR_##upper,
enum mr_status { MR_KINDS(MR_KIND_ENUM_) MR_STATUS_COUNT };
#undef MR_KIND_ENUM_

#ifdef __cplusplus
extern "C" {
#endif

/* What follows, up to the end mark, is also the text that Lua's FFI declares. */
/* ffi: begin */

typedef struct mr_runtime mr_runtime;
typedef struct mr_options mr_options;
typedef struct mr_connection mr_connection;
typedef struct mr_channel mr_channel;

/* ---- errors ------------------------------------------------------------------------------- */

enum mr_scope {
	MR_SCOPE_NONE,
	MR_SCOPE_CONNECTION,
	MR_SCOPE_CHANNEL,
	MR_SCOPE_POOL,
	MR_SCOPE_PUBLISH,
	MR_SCOPE_MESSAGE,
	MR_SCOPE_CONFIG
};

/* A structured error. `text` is NUL-terminated, free of control characters and of secrets. */
typedef struct mr_error {
	int32_t kind;     /* enum mr_status */
	int32_t code;     /* AMQP reply code, 0 when there is none */
	int32_t system;   /* errno, 0 when there is none */
	int32_t scope;    /* enum mr_scope */
	bool recoverable; /* trying again later may help */
	char text[503];
} mr_error;

MR_API int mr_status_count(void);            /* kinds are 0 .. count-1; 0 is ok */
MR_API const char *mr_status_name(int kind); /* "connection_refused"; never NULL */
MR_API const char *mr_status_text(int kind); /* one short sentence; never NULL */
MR_API const char *mr_status_hint(int kind); /* what to check; never NULL, may be "" */
MR_API bool mr_status_recoverable(int kind);
/* What to check for this very error: its kind's hint, or a better one that its text asks for. Never NULL. */
MR_API const char *mr_error_hint(const mr_error *error);
MR_API const char *mr_scope_name(int scope); /* "connection"; never NULL */
MR_API const char *mr_version(void);         /* of the library that runs: "0.1.0" */

/* ---- field tables ------------------------------------------------------------------------- */

typedef struct mr_bytes {
	const char *data;
	size_t size;
} mr_bytes;

struct mr_table;

/* One value of a field table. `type` is the wire's own octet: t bool, b/B 8 bit, s/u 16, I/i 32,
 * l/L 64 (small letter or 'I': signed; B u i L: unsigned), f float, d double, D decimal, S string,
 * x bytes, A array, F table, T timestamp, V void. */
typedef struct mr_value {
	uint8_t type;
	uint8_t decimals; /* of D */
	union {
		bool boolean;            /* t */
		int64_t integer;         /* b s I l */
		uint64_t natural;        /* B u i L T, and the digits of D */
		double real;             /* f d */
		mr_bytes bytes;          /* S x; borrowed from the table */
		struct mr_table *nested; /* F A; belongs to the table */
	} as;
} mr_value;

typedef struct mr_field {
	mr_bytes key; /* empty in arrays */
	mr_value value;
} mr_field;

/* A field table, or an array (then keys are empty). Read it freely; change it by the functions. */
typedef struct mr_table {
	mr_field *fields;
	uint32_t count;
	uint32_t capacity;
	struct mr_arena *arena; /* the root's; owns every byte below it */
} mr_table;

MR_API mr_table *mr_table_new(void);        /* gives a root; NULL when out of memory */
MR_API void mr_table_free(mr_table *table); /* a root, or NULL */
/* Appends a copy of `value`. MR_BAD_ARGUMENT: key over 128 bytes, unknown or nested type. */
MR_API int mr_table_add(mr_table *table, const char *key, size_t key_size, const mr_value *value);
/* Appends an empty table ('F') or array ('A') and returns it; NULL: as mr_table_add, or no memory. */
MR_API mr_table *mr_table_nest(mr_table *table, const char *key, size_t key_size, uint8_t type);

/* ---- deliveries --------------------------------------------------------------------------- */

enum {
	MR_DELIVERY_REDELIVERED = 1,
	MR_DELIVERY_NO_ACK = 2, /* arrived settled */
	MR_DELIVERY_SETTLED = 4,
	MR_DELIVERY_RETURNED = 8, /* one of our own, come back as unroutable: tag is 0 */
	MR_DELIVERY_TOO_LARGE =
		16 /* over max_message_size, without its body: see MR_CONSUMER_LARGE */
};

/* A message as it came. Read it until mr_delivery_release; write nothing. The memory is recycled,
 * and `generation` changes when it is: a handle of another generation is not this message. */
typedef struct mr_delivery {
	const char *body;
	uint64_t body_size;
	uint64_t tag;
	uint32_t generation;
	uint32_t consumer; /* the number the host gave in its consume request */
	uint32_t connection;
	uint32_t epoch;
	uint16_t channel;
	uint16_t flags;           /* MR_DELIVERY_* */
	uint32_t properties_size; /* of the encoded properties, flags included */
	const char *exchange;
	const char *routing_key;
	const char *consumer_tag; /* of a return: the reply text */
	const char *properties;
	uint8_t exchange_size;
	uint8_t routing_key_size;
	uint8_t consumer_tag_size;
	uint8_t reserved;
	uint32_t message_count; /* of a get: messages left; of a return: the reply code */
} mr_delivery;

enum {
	MR_HAS_CONTENT_TYPE = 0x8000,
	MR_HAS_CONTENT_ENCODING = 0x4000,
	MR_HAS_HEADERS = 0x2000,
	MR_HAS_DELIVERY_MODE = 0x1000,
	MR_HAS_PRIORITY = 0x0800,
	MR_HAS_CORRELATION_ID = 0x0400,
	MR_HAS_REPLY_TO = 0x0200,
	MR_HAS_EXPIRATION = 0x0100,
	MR_HAS_MESSAGE_ID = 0x0080,
	MR_HAS_TIMESTAMP = 0x0040,
	MR_HAS_TYPE = 0x0020,
	MR_HAS_USER_ID = 0x0010,
	MR_HAS_APP_ID = 0x0008,
	MR_HAS_CLUSTER_ID = 0x0004
};

/* The 14 properties of AMQP 0-9-1's basic class; `flags` (MR_HAS_*) says which are there. */
typedef struct mr_properties {
	uint32_t flags;
	uint8_t delivery_mode; /* 2: persistent */
	uint8_t priority;
	uint64_t timestamp; /* seconds since 1970 */
	mr_bytes content_type, content_encoding, correlation_id, reply_to, expiration;
	mr_bytes message_id, type, user_id, app_id, cluster_id;
	mr_table *headers;
} mr_properties;

/* Decodes a delivery's properties. The strings borrow from the delivery; `headers` is *given*: free
 * it with mr_table_free. MR_FRAME_ERROR: they do not decode; MR_NO_MEMORY. */
MR_API int mr_delivery_properties(const mr_delivery *delivery, mr_properties *out);

enum { MR_ACK, MR_NACK, MR_REJECT };
enum { MR_SETTLE_MULTIPLE = 1, MR_SETTLE_REQUEUE = 2, MR_SETTLE_RELEASE = 4 };

/* Settles: `how` is MR_ACK, MR_NACK or MR_REJECT. MR_SETTLE_RELEASE also releases, whatever the
 * result. MR_STALE: its channel or connection is gone; MR_SETTLED: it was settled before. */
MR_API int mr_delivery_settle(mr_runtime *rt, mr_delivery *delivery, int how, int flags);
/* Gives the memory back; the delivery must not be read afterwards. Does not settle. */
MR_API void mr_delivery_release(mr_runtime *rt, mr_delivery *delivery);
MR_API bool mr_delivery_is_live(const mr_runtime *rt, const mr_delivery *delivery);

/* ---- events ------------------------------------------------------------------------------- */

enum mr_event_type {
	MR_EV_NONE,
	MR_EV_DELIVERY, /* delivery */
	MR_EV_DONE,     /* token, status, reply (may be NULL): a request has ended */
	MR_EV_CONFIRM,  /* connection, channel, status (MR_OK, MR_NACKED, MR_RETURNED, MR_LOST,
	                         MR_TIMEOUT) of the publishes numbered token .. last; consumer, as an
	                         int32_t: 0, or with MR_RETURNED what to add to a number for the token of
	                         its MR_EV_RETURN, see there */
	MR_EV_RETURN,  /* delivery, token: the publish number, 0 outside of confirm mode. Of several
	                         publishes alike in every byte it may be another: MR_EV_CONFIRM decides */
	MR_EV_CHANNEL, /* connection, channel, status, error: a channel was closed by the broker
	                         or went with its connection; detail 1: it was asked by a declare
	                         that is passive, unrecorded or asking, and said no */
	MR_EV_CANCEL,  /* connection, channel, consumer: the broker cancelled a consumer */
	MR_EV_CONNECTION, /* connection, detail: enum mr_connection_state, error (may be NULL) */
	MR_EV_BLOCKED,    /* connection, detail: 1 blocked, 0 unblocked; error: the reason */
	MR_EV_FD,         /* token, detail: MR_FD_READ | MR_FD_WRITE */
	MR_EV_ROOM,       /* publishing is possible again after MR_BACKPRESSURE */
	MR_EV_HEALTH /* health; token: of mr_health_ask, 0: it has changed, see mr_health_watch */
};

enum mr_connection_state {
	MR_CONNECTION_IDLE,
	MR_CONNECTION_CONNECTING,
	MR_CONNECTION_OPEN,
	MR_CONNECTION_CLOSING,
	MR_CONNECTION_CLOSED, /* we closed it */
	MR_CONNECTION_LOST, /* it failed; the event has the reason, last is 1 when it will be back */
	MR_CONNECTION_RETRYING, /* token: the try to come, last: in how many ms; the last reason */
	MR_CONNECTION_RECOVERED, /* channels and consumers are back, last: after how many ms; table: what
	                            failed, or NULL */
	MR_CONNECTION_GAVE_UP, /* no more tries; the reason */
	MR_CONNECTION_REPAIRING /* open; a channel (its number) or a consumer (channel 0) that the broker ended
	                            is tried again, as RETRYING says; told when mr_connection_retry decides */
};

/* detail of an MR_EV_CHANNEL with status ok: a channel comes back; or the broker took back what it has delivered
 * up to the tag `last` (basic.recover-ok), which the library keeps to itself. */
enum { MR_CHANNEL_AGAIN = 1, MR_CHANNEL_READY = 2, MR_CHANNEL_TAKEN_BACK = 3 };

enum { MR_FD_READ = 1, MR_FD_WRITE = 2 };

/* What a request brought back. */
typedef struct mr_reply {
	mr_error error; /* kind MR_OK when it went well */
	uint32_t message_count;
	uint32_t consumer_count;
	uint16_t name_size;
	char name[256];        /* the queue's name, or the consumer tag; NUL-terminated */
	mr_delivery *delivery; /* of a get; the host owns it as any delivery */
} mr_reply;

/* What mr_health_options.checks switches on, and mr_health.failing tells. */
enum {
	MR_CHECK_CONNECTED = 1, /* each connection that the program wants is open, at least one */
	MR_CHECK_CONSUMING = 2, /* each consumer is at the broker */
	MR_CHECK_BLOCKED = 4,   /* no broker blocks our publishes */
	MR_CHECK_STALLED = 8,   /* the host comes back to mr_runtime_poll */
	MR_CHECK_LAST_MESSAGE = 16, /* the last message is not too long ago */
	MR_CHECK_HOST = 32          /* none of mr_health_note has failed; always on */
};

/* How things stand, as the I/O thread sees it. */
typedef struct mr_health {
	bool healthy, ready, live; /* what /health, /ready and /live say */
	bool stopping;
	uint32_t failing;     /* MR_CHECK_* that are switched on and do not hold */
	uint32_t connections; /* that the program wants */
	uint32_t connections_open, connections_blocked;
	uint32_t consumers, consumers_consuming;
	double busy; /* seconds that the host has been at one thing; 0: it waits for events */
	double last_delivery; /* seconds ago; negative: there was none */
	mr_table *report; /* status, error, reasons, checks, as JSON has them; or NULL: no memory */
} mr_health;

typedef struct mr_event {
	uint32_t type;
	int32_t status;
	uint64_t token;
	uint64_t last;
	uint32_t connection;
	uint16_t channel;
	uint16_t detail;
	uint32_t consumer;
	uint32_t epoch; /* of the channel */
	union {
		mr_delivery *delivery;
		mr_reply *reply;
		mr_error *error;
		mr_table *table;
		mr_health *health;
		void *any;
	} data;
} mr_event;

/* Frees what an event carries, except a delivery. Call it once for every event pulled. */
MR_API void mr_event_fini(mr_event *event);

/* ---- runtime ------------------------------------------------------------------------------ */

MR_API double mr_now(void); /* the monotonic clock, in seconds */

/* Starts a runtime and its thread. *gives*. */
MR_API int mr_runtime_new(mr_runtime **out);
/* One descriptor to poll for reading, for hosts with a loop of their own: once mr_runtime_poll has returned 0, it is
 * readable as soon as there is something to give. So a host polls until it gets 0, then waits for the descriptor. -1
 * in a forked child. */
MR_API int mr_runtime_fd(const mr_runtime *rt);
/* Writes up to `max` events and returns their number, after at most `timeout` seconds (0: at once,
 * negative: until there is one). 0 before that only when a signal that the host catches came, for the host to
 * see to. With `max` 0 it takes nothing, waits for nothing, and readies the descriptor. Returns -1 in a forked
 * child. */
MR_API int mr_runtime_poll(mr_runtime *rt, mr_event *events, int max, double timeout);
/* Makes mr_runtime_fd readable at `at` (mr_now's clock), for a host that sleeps in its own loop;
 * one time at most is kept, the last; 0 forgets it. */
MR_API int mr_runtime_wake_at(mr_runtime *rt, double at);
/* Closes every connection in good order within `timeout` seconds, then by force, joins the thread
 * and frees the runtime with all that belongs to it. Waits for log lines only as long as they are being
 * written. Takes NULL. A process that ends without it, by return
 * from main or by exit(), has its connections closed in good order within two seconds, what was published
 * and settled before included. */
MR_API void mr_runtime_free(mr_runtime *rt, double timeout);
/* One MR_EV_FD event with this token when `fd` is ready for `events` (MR_FD_*); then it is forgotten. A
 * descriptor that cannot be watched (a plain file, a closed one) counts as ready, and one that is closed
 * meanwhile, or whose number then stands for another file, within about a quarter of a second: the host's
 * next call on it says what is wrong. MR_BAD_ARGUMENT: nothing to wait for, or a token that watches already;
 * it is free again when its event was pulled, or was unwatched. */
MR_API int mr_watch_fd(mr_runtime *rt, uint64_t token, int fd, int events);
/* No MR_EV_FD with this token comes any more. MR_OK as well when it has come. */
MR_API int mr_unwatch_fd(mr_runtime *rt, uint64_t token);

/* What the host is at, in its own words: plain stores of the host thread, read by the I/O thread when the
 * host is long away from mr_runtime_poll. All of it may be left alone: then it is said of a stall only how
 * long the host has not polled. */
typedef struct mr_mark {
	double turn;       /* add 1 whenever the host takes up something else: a message, a task */
	double deadline;   /* mr_now() at which what it is at is over its time limit; 0: none */
	uint32_t consumer; /* the number of the consumer whose handler runs; 0: none */
	uint32_t busy; /* 0: a poll that gave nothing lets the host sleep in a loop of its own */
} mr_mark;
MR_API mr_mark *mr_runtime_mark(mr_runtime *rt); /* the runtime's; lives as long */
/* What is to be said of a consumer that stalls: its queue and its origin, such as "orders.lua:12"; after
 * how many seconds (0: as of mr_runtime_watchdog, negative: never), and its time limit (0: none; see
 * mr_mark.deadline). A NULL queue forgets it. */
MR_API int mr_consumer_describe(mr_runtime *rt, uint32_t consumer, const char *queue,
	const char *origin, double stall, double time_limit);
/* A host that is at one thing for more than `stall` seconds (default 10; 0: never) is reported by a log
 * line of the I/O thread, and once more when it goes on. If `signal` is not 0, it is sent to the calling
 * thread when that one stalls, or is over its deadline, and does not wait in a system call: its handler is
 * the host's own, and may lead to mr_runtime_trace. */
MR_API int mr_runtime_watchdog(mr_runtime *rt, double stall, int signal);
/* Does the I/O thread want to know where the host is? */
MR_API bool mr_runtime_wants_trace(const mr_runtime *rt);
/* Tells it; at most 4 KiB are kept. False: nobody wants to know. */
MR_API bool mr_runtime_trace(mr_runtime *rt, const char *text, size_t size);

enum { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };
enum { MR_LOG_LOGFMT, MR_LOG_JSON };
/* How the runtime writes its log lines to standard error. Default: warn, logfmt. A thread of the runtime's
 * own writes them: a standard error that nobody reads costs lines, which are counted (mr_stats.log_dropped)
 * and told of in the log, and no time. One that is closed when the runtime is made is silence. */
MR_API int mr_runtime_log(mr_runtime *rt, int level, int format);
/* The number of this process among several of its kind, which log lines carry; 0: none. */
MR_API int mr_runtime_worker(mr_runtime *rt, uint16_t number);
/* Writes one line as the runtime itself does; `fields` (may be NULL) are key and value. Waits for a warning
 * or an error to be written, and for room, but no longer than 200 ms of a standard error that takes nothing. */
MR_API void mr_log_write(mr_runtime *rt, int level, const char *text, size_t size,
	const mr_table *fields);

typedef struct mr_stats {
	uint64_t delivered, settled, published, confirmed, returned, lost;
	uint64_t bytes_in, bytes_out, reads, writes, frames_in;
	uint64_t in_flight; /* deliveries not yet released */
	uint64_t outbound;  /* bytes accepted and not yet written to a socket */
	uint64_t heartbeats_out, acks_out;
	uint64_t log_dropped; /* log lines that standard error did not take */
	uint64_t violations;  /* of the protocol, by brokers: ignored, or a channel closed for it */
	uint64_t
		oversized; /* messages over max_message_size: rejected, kept, or dropped where there are no acks */
} mr_stats;
MR_API void mr_runtime_stats(const mr_runtime *rt, mr_stats *out);

/* ---- health ------------------------------------------------------------------------------- */

typedef struct mr_health_options {
	uint32_t checks;    /* MR_CHECK_*; default: all but MR_CHECK_LAST_MESSAGE */
	uint32_t consumers; /* so many must consume at least; default 0 */
	double stalled; /* seconds that the host may be at one thing; default 0: as the watchdog says */
	double dead;         /* seconds after which /live gives it up, 0: never; default 900 */
	double last_message; /* seconds that the last message may be ago */
} mr_health_options;
/* Which checks make /health, and their limits. */
MR_API int mr_health_configure(mr_runtime *rt, const mr_health_options *options);

enum { MR_NOTE_FAILING, MR_NOTE_PASSING, MR_NOTE_PENDING, MR_NOTE_FORGET };
/* The result of a check of the host's own, under a name of up to 128 bytes; `detail` says more, up to
 * 511 bytes. Replaces what was noted before. MR_BAD_ARGUMENT; up to 64 are kept. */
MR_API int mr_health_note(mr_runtime *rt, const char *name, size_t name_size, int state,
	const char *detail, size_t detail_size);
/* From now on /ready says no: the program is about to stop. */
MR_API int mr_health_stopping(mr_runtime *rt);
/* One MR_EV_HEALTH with this token. */
MR_API int mr_health_ask(mr_runtime *rt, uint64_t token);
/* MR_EV_HEALTH with token 0 whenever `healthy` changes; seen within a second. */
MR_API int mr_health_watch(mr_runtime *rt, bool on);

/* Serves /health, /ready, /live and /metrics by HTTP on an address literal; port 0: any. MR_EV_DONE: its
 * reply's name is "address:port", message_count the port. It ends with the runtime. */
MR_API int mr_http_listen(mr_runtime *rt, uint64_t token, const char *address, uint16_t port);
MR_API int mr_http_close(mr_runtime *rt, uint64_t token);

/* Times the handlers of one queue, for /metrics. */
typedef struct mr_meter mr_meter;
/* The meter of a queue; lives as long as the runtime. Past 64 queues all share one, "(other)", and
 * those that the broker named one, "(server-named)". NULL: out of memory; the calls below take that. */
MR_API mr_meter *mr_meter_of(mr_runtime *rt, const char *queue, size_t size);
/* A handler that began at `began` (mr_now) has ended; returns mr_now. */
MR_API double mr_meter_handled(mr_meter *meter, double began, bool failed);
/* So many handlers have ended that took `seconds` each, and well. */
MR_API void mr_meter_handled_many(mr_meter *meter, double count, double seconds);
/* A message was handled, but its channel had gone meanwhile: it comes again. */
MR_API void mr_meter_late(mr_meter *meter);
/* So many messages were seen in the queue; negative: nobody knows. */
MR_API void mr_meter_messages(mr_meter *meter, double count);

/* ---- connections -------------------------------------------------------------------------- */

/* Options are set by the names of docs/configuration.md; "ssl_options.ca_certs" reaches inside.
 * A wrong name or type fills `error` (kind bad_option) and names the nearest valid one. */
MR_API mr_options *mr_options_new(void); /* gives; NULL when out of memory */
MR_API void mr_options_free(mr_options *options);
MR_API int mr_options_string(mr_options *o, const char *name, const char *value, size_t size,
	mr_error *error);
MR_API int mr_options_number(mr_options *o, const char *name, double value, mr_error *error);
MR_API int mr_options_boolean(mr_options *o, const char *name, bool value, mr_error *error);
MR_API int mr_options_table(mr_options *o, const char *name, mr_table *value,
	mr_error *error); /* takes */

/* Makes a connection from options that fit together; opens nothing yet. Borrows `options`. */
MR_API int mr_connection_new(mr_runtime *rt, const mr_options *options, mr_connection **out,
	mr_error *error);
/* Connects; MR_EV_DONE within connect_timeout. Already open: done at once. */
MR_API int mr_connection_open(mr_connection *c, uint64_t token);
/* Closes in good order, by force after `timeout`. Legal in every state. */
MR_API int mr_connection_close(mr_connection *c, uint64_t token, double timeout);
/* The host's own policy: `seconds` to the next try, negative: no more. After the first call, at any time,
 * each MR_CONNECTION_RETRYING and _REPAIRING waits at least a second for the next. */
MR_API int mr_connection_retry(mr_connection *c, double seconds);
/* What `from` has declared and bound is recovered with `c` from now on, and c is its pool's in its place;
 * for a handover. */
MR_API int mr_connection_inherit(mr_connection *c, mr_connection *from);
/* The password of the next connect; also that of the other connections of its pool, present and future. */
MR_API int mr_connection_password(mr_connection *c, const char *secret, size_t size);
/* The password of its encrypted key file (ssl_options.keyfile) from the next connect on; likewise. */
MR_API int mr_connection_key_password(mr_connection *c, const char *secret, size_t size);
/* As mr_connection_password, and the open connection is told (connection.update-secret), such as a token renewed. MR_EV_DONE
 * with MR_OK: the broker has taken it, or the connection is away and says it at its next connect. */
MR_API int mr_connection_update_secret(mr_connection *c, uint64_t token, const char *secret,
	size_t size, double timeout);
/* Forgets the connection: closed by force when still open. Its channels are freed with it. */
MR_API void mr_connection_free(mr_connection *c);
MR_API uint32_t mr_connection_id(const mr_connection *c);
MR_API int mr_connection_state(const mr_connection *c);
MR_API bool mr_connection_is_blocked(const mr_connection *c);
MR_API uint32_t mr_connection_epoch(const mr_connection *c);
MR_API int mr_connection_error(const mr_connection *c, mr_error *out); /* why it closed; its kind */
MR_API int mr_connection_host(const mr_connection *c, char *buffer, size_t size); /* "host:port" */
/* The broker's properties of the handshake; borrowed, NULL before; dies with the next open. */
MR_API const mr_table *mr_connection_server_properties(const mr_connection *c);
/* The URL in the form that may be shown: no password. Returns the length it would have. */
MR_API int mr_connection_url(const mr_connection *c, char *buffer, size_t size);
MR_API int mr_url_redact(const char *url, size_t size, char *buffer, size_t capacity);

/* ---- channels ----------------------------------------------------------------------------- */

/* Opens a channel; MR_EV_DONE says how it went. MR_CHANNEL_LIMIT_REACHED, MR_CLOSED. *gives*. */
MR_API int mr_channel_open(mr_connection *c, uint64_t token, mr_channel **out);
MR_API int mr_channel_close(mr_channel *ch, uint64_t token);
MR_API void mr_channel_free(mr_channel *ch);
MR_API uint16_t mr_channel_number(const mr_channel *ch);
MR_API mr_connection *mr_channel_connection(const mr_channel *ch);
MR_API bool mr_channel_is_open(const mr_channel *ch);
MR_API bool mr_channel_is_suspended(const mr_channel *ch); /* lost, and on its way back */
MR_API uint32_t mr_channel_epoch(const mr_channel *ch);
MR_API int mr_channel_error(const mr_channel *ch, mr_error *out);

enum mr_operation {
	MR_EXCHANGE_DECLARE = 1, /* name, extra: type, flags, arguments */
	MR_EXCHANGE_DELETE,      /* name, flags IF_UNUSED */
	MR_EXCHANGE_BIND,        /* name: destination, extra: source, routing_key, arguments */
	MR_EXCHANGE_UNBIND,
	MR_QUEUE_DECLARE, /* name, flags, arguments -> name, message_count, consumer_count */
	MR_QUEUE_BIND,    /* name, extra: exchange, routing_key, arguments */
	MR_QUEUE_UNBIND,
	MR_QUEUE_PURGE,  /* name -> message_count */
	MR_QUEUE_DELETE, /* name, flags IF_UNUSED IF_EMPTY -> message_count */
	MR_BASIC_QOS,    /* number: prefetch_count, flags GLOBAL */
	MR_BASIC_CONSUME, /* name: queue, extra: tag, number: consumer, flags, arguments -> tag; health and
	                     metrics pass over consumers numbered from MR_CONSUMER_OWN on */
	MR_BASIC_CANCEL,  /* extra: tag */
	MR_BASIC_GET,     /* name: queue, flags NO_ACK -> delivery, or MR_EMPTY */
	MR_BASIC_RECOVER, /* flags REQUEUE */
	MR_CONFIRM_SELECT,
	MR_TX_SELECT,
	MR_TX_COMMIT,
	MR_TX_ROLLBACK
};

enum {
	MR_PASSIVE = 1,
	MR_DURABLE = 2,
	MR_EXCLUSIVE = 4,
	MR_AUTO_DELETE = 8,
	MR_INTERNAL = 16,
	MR_IF_UNUSED = 32,
	MR_IF_EMPTY = 64,
	MR_NO_ACK = 128,
	MR_NO_LOCAL = 256,
	MR_GLOBAL = 512,
	MR_REQUEUE = 1024,
	MR_UNRECORDED = 2048, /* a declare that is not made again after a loss */
	MR_ASKING =
		4096 /* a declare whose refusal is an answer, as that of a passive one: no error in the log */
};

enum {
	MR_CONSUMER_OWN = 0x40000000,
	MR_CONSUMER_LARGE =
		0x20000000 /* in the number of a consumer with acks: what is over max_message_size is not
		              rejected, but comes without its body, to be settled by the host or kept */
};

typedef struct mr_request {
	int32_t operation;
	uint32_t flags;
	uint32_t number;
	uint32_t reserved;
	double timeout; /* seconds; 0: the connection's rpc_timeout */
	mr_bytes name, extra, routing_key;
	mr_table *arguments; /* taken; NULL for none */
} mr_request;

/* Asks the broker; MR_EV_DONE has the answer. Fails at once on a closed channel, a string over 255
 * bytes, or a consumer tag that this channel uses already. */
MR_API int mr_channel_request(mr_channel *ch, uint64_t token, const mr_request *request);

/* A consumer that is away with its channel does not come back: the way to cancel it then. */
MR_API void mr_channel_forget_consumer(mr_channel *ch, uint32_t number);

/* Encodes properties for mr_channel_publish, to be used any number of times. Returns the size
 * needed; writes only when it fits; -kind on error (a string over 255 bytes, a bad table). */
MR_API int mr_properties_encode(const mr_properties *properties, char *buffer, size_t size);
/* The properties of a delivery once more, for mr_channel_publish, as they came but for what is to change:
 * byte for byte, without decoding. The properties that `changes` has replace those received; so do its
 * headers, each the one of its name. Left out are the properties in `without` (MR_HAS_*) and the headers whose
 * names `headers_without` has (NULL: none). Returns as mr_properties_encode; -MR_FRAME_ERROR: what was
 * received is malformed. */
MR_API int mr_properties_splice(const char *properties, size_t properties_size,
	const mr_properties *changes, uint32_t without, const mr_table *headers_without,
	char *buffer, size_t size);

enum { MR_MANDATORY = 1 };
/* Publishes. `properties` is what mr_properties_encode wrote; NULL: persistent and nothing else.
 * In confirm mode *number receives the publish's number, which an MR_EV_CONFIRM will name, after at
 * most `timeout` seconds (0: the connection's rpc_timeout); else 0.
 * MR_BACKPRESSURE: too much is queued, an MR_EV_ROOM will come; MR_BLOCKED_TIMEOUT: the broker
 * blocks publishing just now; MR_CONTENT_TOO_LARGE: over max_message_size; MR_CLOSED. */
MR_API int mr_channel_publish(mr_channel *ch, const char *exchange, size_t exchange_size,
	const char *routing_key, size_t routing_key_size, const char *body, size_t body_size,
	const char *properties, size_t properties_size, int flags, double timeout,
	uint64_t *number);

/* ---- pools -------------------------------------------------------------------------------- */

/* Connections, or channels of two connections, lent to one at a time, who comes first first. Nothing is
 * opened before it is needed. What is lent bears the token that it was acquired with, until it is given
 * back: a token must not be used twice at the same time. */
typedef struct mr_pool mr_pool;

enum mr_strategy {
	MR_POOLED, /* lends connections, open or still to be opened (mr_connection_open) */
	MR_SHARED  /* lends open channels: of one connection to publish and of one to consume */
};

/* Of a shared pool: which connection. Of a pooled one, FRESH: a connection that nobody had, at once, or
 * MR_POOL_LIMIT_EXCEEDED; to open some beforehand, acquire, open and release them. */
enum { MR_POOL_PUBLISH, MR_POOL_CONSUME, MR_POOL_FRESH };

typedef struct mr_pool_counts {
	uint32_t limit;
	uint32_t active;  /* lent, or being opened for somebody */
	uint32_t idle;    /* free to be lent; active and idle together are never above the limit */
	uint32_t waiting; /* who wait for their turn */
} mr_pool_counts;

/* A pool of at most `limit` (1 to 65535) connections, or channels. *takes* `options`. */
MR_API int mr_pool_new(mr_runtime *rt, mr_options *options, int strategy, uint32_t limit,
	mr_pool **out, mr_error *error);
/* Borrows one. *item is its number when it is lent at once; 0 when an MR_EV_DONE with `token` is to come:
 * MR_OK (mr_pool_item has its number), MR_TIMEOUT after `timeout` seconds of waiting (negative: for ever),
 * MR_CLOSED when the pool is closed, or why it cannot be opened. MR_POOL_EXHAUSTED: all are lent, or others
 * wait, and `timeout` is 0. MR_CHANNEL_LIMIT_REACHED: its connection has no more. */
MR_API int mr_pool_acquire(mr_pool *pool, uint64_t token, int purpose, double timeout,
	uint32_t *item);
/* Gives back. MR_BAD_ARGUMENT: nothing is lent under that token, or not any more. */
MR_API int mr_pool_release(mr_pool *pool, uint64_t token);
/* Gives back what is broken: it is closed, and a fresh one may take its place. */
MR_API int mr_pool_replace(mr_pool *pool, uint64_t token);
MR_API uint32_t mr_pool_item(const mr_pool *pool, uint64_t token); /* lent under it, or 0 */
/* What a number stands for, borrowed until it is given back; NULL: not this pool's, not of this kind, or
 * the host has freed it meanwhile, which is its right. A number is never used again. */
MR_API mr_connection *mr_pool_connection(const mr_pool *pool, uint32_t item);
MR_API mr_channel *mr_pool_channel(const mr_pool *pool, uint32_t item);
MR_API bool mr_pool_has(const mr_pool *pool, uint32_t item);
/* A shared pool's connection for a purpose, made if there is none, opened by the first acquire. */
MR_API int mr_pool_shared(mr_pool *pool, int purpose, mr_connection **out, mr_error *error);
/* Adds n connections to a pooled one, not opened. MR_POOL_LIMIT_EXCEEDED: those that fitted stay. */
MR_API int mr_pool_grow(mr_pool *pool, uint32_t n);
/* Sets the limit. Idle ones beyond it go now, lent ones when they are given back. */
MR_API int mr_pool_resize(mr_pool *pool, uint32_t limit);
MR_API void mr_pool_count(const mr_pool *pool, mr_pool_counts *out);
/* Closes all, lent or not; whoever waits is told MR_CLOSED. It can be used again. With a token (0: none)
 * MR_EV_DONE says that all have closed. */
MR_API int mr_pool_close(mr_pool *pool, uint64_t token);
/* Closes and forgets it. Takes NULL. */
MR_API void mr_pool_free(mr_pool *pool);
/* The host keeps pointers to this one: a pool that has no more use for it only forgets it, see
 * mr_pool_has; closing and freeing it is then the host's. */
MR_API void mr_connection_keep(mr_connection *c);
MR_API void mr_channel_keep(mr_channel *ch);

/* ---- the embedded broker ------------------------------------------------------------------ */

/* A RabbitMQ-compatible broker on a thread of this process, for development and tests. A connection
 * to a memory:// URL starts one by itself; a handle listens on TCP, looks in, and makes things go
 * wrong. Its calls wait for the broker's thread: microseconds. */
typedef struct mr_server mr_server;

/* The broker that "memory://name" means in this process, started when there is none. The name may not
 * be empty. *gives* a handle; the broker lives as long as a handle, or a connection with its URL. */
MR_API int mr_server_open(mr_server **out, const char *name, mr_error *error);
MR_API void mr_server_close(mr_server *server); /* takes NULL */
/* Serves TCP on an address literal; port 0: any, *actual says which. With `certfile` (PEM) and `keyfile`
 * (NULL: in certfile) TLS. Beyond loopback a user must have been added, and guest may not log in. */
MR_API int mr_server_listen(mr_server *server, const char *address, uint16_t port,
	const char *certfile, const char *keyfile, uint16_t *actual, mr_error *error);
MR_API int mr_server_add_user(mr_server *server, const char *name, const char *password);
MR_API int mr_server_add_vhost(mr_server *server, const char *name);
/* Connections, queues, exchanges, memory, just now. *gives* a table, or NULL. */
MR_API mr_table *mr_server_report(mr_server *server);

enum mr_fault {                    /* what `number` and `text` mean */
	MR_FAULT_DELAY,            /* ms that bytes to clients are held back; 0: none */
	MR_FAULT_DROP,             /* every connection is cut, without a word */
	MR_FAULT_CUT_AFTER,        /* bytes to each client after which it is cut off; -1: never */
	MR_FAULT_SILENT,           /* 1: nothing is read or written; 0: it goes on */
	MR_FAULT_REFUSE_LOGINS,    /* 1: every login fails */
	MR_FAULT_BLOCK,            /* 1: publishers are blocked (connection.blocked) */
	MR_FAULT_CLOSE,            /* connection.close with this code and text, to all */
	MR_FAULT_FAIL_DECLARE,     /* the next declare fails with this code and text */
	MR_FAULT_PAUSE_DELIVERIES, /* 1: consumers get nothing */
	MR_FAULT_WATERMARK, /* bytes of messages above which publishers are blocked; 0: never */
	MR_FAULT_UNLISTEN   /* its ports are closed; the connections there are stay */
};
MR_API int mr_server_fault(mr_server *server, int fault, int64_t number, const char *text);

/* Tests only: moves the clock of the whole process (mr_now, deadlines, heartbeats, times to live, of
 * clients and embedded brokers alike) `seconds` ahead. The runtime's I/O thread and every embedded
 * broker do what is due then; when they have, MR_EV_DONE with `token` (0: none) says so. */
MR_API int mr_clock_advance(mr_runtime *rt, uint64_t token, double seconds);

/* ---- allocator ---------------------------------------------------------------------------- */

/* Sets the allocator of the whole process, before anything else is called; NULL: the C library's.
 * realloc(p, 0) is never asked for. The functions are called on every thread. */
MR_API int mr_set_allocator(void *(*resize)(void *, size_t), void (*release)(void *));

/* ffi: end */
#ifdef __cplusplus
}
#endif
#endif
