/* moonrabbit.h: the public interface of libmoonrabbit, an embedded messaging runtime for RabbitMQ.
 * SPDX-License-Identifier: MIT
 *
 * A whole program: it declares a queue, consumes from it, publishes one message and ends when that
 * message has come. Build: cc hello.c -lmoonrabbit -o hello. More programs: examples/c.
 *
 *	#include <moonrabbit.h>
 *	#include <stdio.h>
 *
 *	enum { CONNECT = 1, CHANNEL, DECLARE, CONSUME }; // tokens: one for each request
 *
 *	int main(void)
 *	{
 *		mr_runtime *rt;
 *		mr_connection *conn;
 *		mr_channel *ch;
 *		mr_error error;
 *		mr_event ev;
 *		uint64_t number;
 *		bool more = true;
 *		mr_request queue = {.name = {"hello", 5}, .flags = MR_AUTO_DELETE, .number = 1};
 *		mr_options *options = mr_options_new();
 *		if (!options || mr_runtime_new(&rt)) return 1;
 *		if (mr_options_string(options, "url", "memory://", 9, &error)) return 1;
 *		if (mr_connection_new(rt, options, &conn, &error)) return 1;
 *		mr_options_free(options);
 *		mr_connection_open(conn, CONNECT);
 *		while (more && mr_runtime_poll(rt, &ev, 1, 10) == 1) { // at most 10 s for each event
 *			if (ev.type == MR_EV_DONE && ev.status) return puts(mr_status_hint(ev.status)), 1;
 *			if (ev.type == MR_EV_DONE && ev.as.done.token == CONNECT) {
 *				mr_channel_open(conn, CHANNEL, &ch);
 *			} else if (ev.type == MR_EV_DONE && ev.as.done.token <= DECLARE) {
 *				queue.operation = ev.as.done.token == CHANNEL ? MR_QUEUE_DECLARE : MR_BASIC_CONSUME;
 *				mr_channel_request(ch, ev.as.done.token + 1, &queue);
 *			} else if (ev.type == MR_EV_DONE) {
 *				mr_channel_publish(ch, "", 0, "hello", 5, "Hello!", 6, NULL, 0, 0, 0, &number);
 *			} else if (ev.type == MR_EV_DELIVERY) {
 *				printf("%.*s\n", (int)ev.as.delivery->body_size, ev.as.delivery->body);
 *				mr_delivery_settle(rt, ev.as.delivery, MR_ACK, MR_SETTLE_RELEASE);
 *				more = false;
 *			}
 *			mr_event_fini(&ev);
 *		}
 *		mr_runtime_free(rt, 5); // closes the connection, within 5 s
 *		return 0;
 *	}
 *
 * Order of this file: errors, runtime, connections, channels, publish, consume, settle, events; then
 * values; then pools, health, watchdog. moonrabbit_testing.h has the embedded broker, its faults, the
 * clock and the allocator.
 *
 * Threads. A runtime is two threads: the I/O thread, which the library owns, and the host thread,
 * which calls these functions. All calls on a runtime and on what belongs to it come from one thread
 * at a time. The library never calls back into the host: the host pulls events by mr_runtime_poll.
 *
 * Conventions. A function that can fail returns enum mr_status; MR_OK is 0. It writes its
 * out-parameters only on success; `error` is filled only on failure, and may be NULL. Times are
 * seconds as double, on the clock of mr_now. Strings are pointer and size, may hold NUL bytes, and are
 * copied, unless the comment says otherwise. *Gives*: the caller owns the result. *Takes*: the library
 * owns the argument from now on; a call that fails takes nothing. *Borrows*: nothing changes hands.
 *
 * Tokens. A request that the broker answers takes a token: a number of the host's choice, from 1 to
 * 2^63 - 1. Each request that returned MR_OK ends with exactly one MR_EV_DONE that carries its token,
 * at the latest when its time is up.
 *
 * Forks. A child that does not call exec has no I/O thread. Its copies of the library's descriptors
 * are closed before fork returns to it, so the parent's connections end when the parent closes them.
 * Each call on what the child inherited fails with MR_FORKED (calls without a status do nothing). The
 * child may make a runtime of its own.
 *
 * Descriptors. The library never uses descriptors 0, 1 and 2, even where the process has closed them. */
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

/* The text between the two `ffi` marks is also what Lua's FFI declares. */
/* ffi: begin */

typedef struct mr_runtime mr_runtime;
typedef struct mr_options mr_options;
typedef struct mr_connection mr_connection;
typedef struct mr_channel mr_channel;
typedef struct mr_delivery mr_delivery;
typedef struct mr_event mr_event;
typedef struct mr_health mr_health;
typedef struct mr_table mr_table; /* a field table, see values */

typedef struct mr_bytes {
	const char *data;
	size_t size;
} mr_bytes;

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

/* A structured error: 520 bytes, without pointers, so that it can be copied. `text` is
 * NUL-terminated and holds no control characters and no secrets. */
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
/* The hint of this error: its kind's hint, or a better one that fits its text. Never NULL. */
MR_API const char *mr_error_hint(const mr_error *error);
MR_API const char *mr_scope_name(int scope); /* "connection"; never NULL */
MR_API const char *mr_version(void);         /* of the loaded library: "0.1.0" */

/* ---- runtime ------------------------------------------------------------------------------ */

MR_API double mr_now(void); /* the monotonic clock, in seconds */

/* Starts a runtime and its I/O thread. *Gives*. MR_NO_MEMORY, MR_NO_DESCRIPTORS. */
MR_API int mr_runtime_new(mr_runtime **out);
/* One descriptor for hosts with a loop of their own. Poll it for reading. After mr_runtime_poll has
 * returned 0, it becomes readable as soon as there is an event. So: call mr_runtime_poll until it
 * returns 0, then wait for the descriptor. -1 in a forked child. */
MR_API int mr_runtime_fd(const mr_runtime *rt);
/* Writes up to `max` events and returns their number. Waits at most `timeout` seconds for the first
 * one (0: not at all, negative: without limit). Returns 0 early when a signal that the host catches
 * has arrived. With `max` 0 it takes nothing and does not wait, but readies the descriptor. -1 in a
 * forked child. Each event must be given to mr_event_fini, each delivery be released. */
MR_API int mr_runtime_poll(mr_runtime *rt, mr_event *events, int max, double timeout);
/* Makes mr_runtime_fd readable at the time `at` (mr_now's clock), for a host that sleeps in its own
 * loop. Only the last time set is kept; 0 forgets it. */
MR_API int mr_runtime_wake_at(mr_runtime *rt, double at);
/* Closes every connection with the AMQP handshake, or by force when `timeout` seconds are over; joins
 * the thread; frees the runtime and all that belongs to it. Waits for log lines only while they are
 * being written. Takes NULL. A process that ends without this call (return from main, exit()) has its
 * connections closed within two seconds; what was published and settled before still goes out. */
MR_API void mr_runtime_free(mr_runtime *rt, double timeout);

/* Sends one MR_EV_FD with this token when `fd` is ready for `events` (MR_FD_*), then forgets it. A
 * descriptor that cannot be watched (a plain file, a closed one) counts as ready. So does one that is
 * closed or replaced meanwhile, within 0.25 s: the host's next call on it tells the error.
 * MR_BAD_ARGUMENT: no such event, or a token in use; a token is free again when its event was pulled
 * or it was unwatched. */
MR_API int mr_watch_fd(mr_runtime *rt, uint64_t token, int fd, int events);
/* Stops watching: no MR_EV_FD with this token comes any more. MR_OK also when it has come. */
MR_API int mr_unwatch_fd(mr_runtime *rt, uint64_t token);

enum { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };
enum { MR_LOG_LOGFMT, MR_LOG_JSON };
/* Sets what is logged to standard error: level (-1: nothing) and format. Default: warn, logfmt. A
 * thread of its own writes. When nobody reads standard error, lines are dropped and counted
 * (mr_stats.log_dropped), and the host is not delayed. If standard error is closed when the runtime
 * is made, nothing is ever written. */
MR_API int mr_runtime_log(mr_runtime *rt, int level, int format);
/* Adds worker=NUMBER to each log line, to tell processes of one program apart; 0: none. */
MR_API int mr_runtime_worker(mr_runtime *rt, uint16_t number);
/* Writes one log line; `fields` (may be NULL) are its keys and values. For an error or a warning it
 * waits until the line is written, at most 200 ms when standard error takes nothing. */
MR_API void mr_log_write(mr_runtime *rt, int level, const char *text, size_t size,
	const mr_table *fields);

/* Counts since the start of the runtime, but for in_flight and outbound, which are of the moment. */
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

/* ---- connections -------------------------------------------------------------------------- */

/* Options have the names of docs/configuration.md; "ssl_options.ca_certs" reaches inside a group. A
 * wrong name, type or range fails with MR_BAD_OPTION (a wrong URL with MR_BAD_URI); the text names
 * the nearest valid option. */
MR_API mr_options *mr_options_new(void); /* gives; NULL when out of memory */
MR_API void mr_options_free(mr_options *options);
MR_API int mr_options_string(mr_options *o, const char *name, const char *value, size_t size,
	mr_error *error);
MR_API int mr_options_number(mr_options *o, const char *name, double value, mr_error *error);
MR_API int mr_options_boolean(mr_options *o, const char *name, bool value, mr_error *error);
MR_API int mr_options_table(mr_options *o, const char *name, mr_table *value,
	mr_error *error); /* takes */

/* Makes a connection; opens nothing yet. *Borrows* `options`. *Gives*; the runtime frees what the
 * host has not freed. MR_BAD_OPTION: options that do not fit together. */
MR_API int mr_connection_new(mr_runtime *rt, const mr_options *options, mr_connection **out,
	mr_error *error);
/* Connects; MR_EV_DONE within connect_timeout, at once when it is open already. */
MR_API int mr_connection_open(mr_connection *c, uint64_t token);
/* Closes with the AMQP handshake, by force after `timeout` seconds (0: the option close_timeout). May
 * be called in every state. */
MR_API int mr_connection_close(mr_connection *c, uint64_t token, double timeout);
/* Frees the connection and its channels; closes by force what is still open. Takes NULL. */
MR_API void mr_connection_free(mr_connection *c);

/* Answers MR_CONNECTION_RETRYING and _REPAIRING: the next try in `seconds`, negative: no more tries.
 * The first call makes the host the policy for this connection: from then on each of those events waits
 * one second for an answer, then the built-in back-off applies. */
MR_API int mr_connection_retry(mr_connection *c, double seconds);
/* Hands over: what `from` has declared and bound is recovered by `c` from now on, and `c` takes the
 * place of `from` in its pool. */
MR_API int mr_connection_inherit(mr_connection *c, mr_connection *from);
/* Sets the password for the next connect, also for the present and future connections of its pool.
 * MR_BAD_ARGUMENT: it holds a NUL byte. */
MR_API int mr_connection_password(mr_connection *c, const char *secret, size_t size);
/* The same for the password of its encrypted key file (ssl_options.keyfile). */
MR_API int mr_connection_key_password(mr_connection *c, const char *secret, size_t size);
/* As mr_connection_password, and tells the broker at once (connection.update-secret), for tokens that
 * expire. MR_EV_DONE with MR_OK: the broker has taken it, or the connection is down and will use it for
 * its next connect. `timeout` 0: the option rpc_timeout. */
MR_API int mr_connection_update_secret(mr_connection *c, uint64_t token, const char *secret,
	size_t size, double timeout);

/* The number that events carry; from 1 on, never used again in this runtime. */
MR_API uint32_t mr_connection_id(const mr_connection *c);
MR_API int mr_connection_state(const mr_connection *c); /* enum mr_connection_state */
MR_API bool mr_connection_is_blocked(const mr_connection *c);
MR_API uint32_t mr_connection_epoch(const mr_connection *c);
/* Writes the error that closed it and returns the error's kind; MR_OK: there was none. */
MR_API int mr_connection_error(const mr_connection *c, mr_error *out);
/* Writes "host:port" and returns its length, as snprintf does. */
MR_API int mr_connection_host(const mr_connection *c, char *buffer, size_t size);
/* The broker's properties from the handshake. *Borrowed* until the next open; NULL before the first. */
MR_API const mr_table *mr_connection_server_properties(const mr_connection *c);
/* Writes the URL without its password and returns its length, as snprintf does. */
MR_API int mr_connection_url(const mr_connection *c, char *buffer, size_t size);
/* The same for any URL. */
MR_API int mr_url_redact(const char *url, size_t size, char *buffer, size_t capacity);

/* ---- channels ----------------------------------------------------------------------------- */

/* Opens a channel on an open connection; MR_EV_DONE tells the result. *Gives*. mr_connection_free frees the handles of
 * channels that have not closed; the handle of one that has closed is the host's to free, before or after that.
 * MR_CHANNEL_LIMIT_REACHED, MR_CLOSED. */
MR_API int mr_channel_open(mr_connection *c, uint64_t token, mr_channel **out);
/* Closes it; MR_EV_DONE. MR_CLOSED: it is closed or closing. */
MR_API int mr_channel_close(mr_channel *ch, uint64_t token);
/* Frees the handle; an open channel is closed first, without an event. Takes NULL. */
MR_API void mr_channel_free(mr_channel *ch);
MR_API uint16_t mr_channel_number(const mr_channel *ch);
MR_API mr_connection *mr_channel_connection(const mr_channel *ch);
MR_API bool mr_channel_is_open(const mr_channel *ch);
MR_API bool mr_channel_is_suspended(const mr_channel *ch); /* lost, and being recovered */
/* Changes with each recovery; a delivery of an earlier epoch can no longer be settled. */
MR_API uint32_t mr_channel_epoch(const mr_channel *ch);
/* As mr_connection_error. */
MR_API int mr_channel_error(const mr_channel *ch, mr_error *out);

/* What mr_channel_request can ask, with the fields of mr_request that each reads -> of mr_reply. */
enum mr_operation {
	MR_EXCHANGE_DECLARE = 1, /* name, extra: type, flags, arguments */
	MR_EXCHANGE_DELETE,      /* name, flags IF_UNUSED */
	MR_EXCHANGE_BIND,        /* name: destination, extra: source, routing_key, arguments */
	MR_EXCHANGE_UNBIND,      /* the same */
	MR_QUEUE_DECLARE,        /* name, flags, arguments -> name, message_count, consumer_count */
	MR_QUEUE_BIND,           /* name, extra: exchange, routing_key, arguments */
	MR_QUEUE_UNBIND,         /* the same */
	MR_QUEUE_PURGE,          /* name -> message_count */
	MR_QUEUE_DELETE,         /* name, flags IF_UNUSED IF_EMPTY -> message_count */
	MR_BASIC_QOS,            /* number: prefetch_count, flags GLOBAL; see consume */
	MR_BASIC_CONSUME, /* name: queue, extra: tag, number: consumer, flags, arguments -> tag */
	MR_BASIC_CANCEL,  /* extra: tag */
	MR_BASIC_GET,     /* name: queue, flags NO_ACK -> delivery, or MR_EMPTY */
	MR_BASIC_RECOVER, /* flags REQUEUE */
	MR_CONFIRM_SELECT,
	MR_TX_SELECT,
	MR_TX_COMMIT,
	MR_TX_ROLLBACK
};

/* Flags of a request; without any a queue is neither durable, exclusive nor auto-delete. */
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
	MR_UNRECORDED = 2048, /* a declare that recovery does not repeat */
	MR_ASKING =
		4096 /* a declare whose refusal is an answer, as a passive one's: not logged as an error */
};

typedef struct mr_request {
	int32_t operation; /* enum mr_operation */
	uint32_t flags;
	uint32_t number;
	uint32_t reserved; /* 0 */
	double timeout;    /* seconds; 0: the option rpc_timeout */
	mr_bytes name, extra, routing_key;
	mr_table *arguments; /* taken; NULL for none */
} mr_request;

/* Asks the broker; MR_EV_DONE has the answer. MR_CLOSED: the channel is not open. MR_BAD_ARGUMENT: a
 * string over 255 bytes (AMQP's short string), or an unknown operation. A consumer tag that this
 * channel uses already is refused. */
MR_API int mr_channel_request(mr_channel *ch, uint64_t token, const mr_request *request);

/* ---- publish ------------------------------------------------------------------------------ */

enum { MR_MANDATORY = 1 };
/* Publishes one message. `properties` is what mr_properties_encode wrote; NULL: delivery_mode 2
 * (persistent) and nothing else. `flags`: MR_MANDATORY or 0. After MR_CONFIRM_SELECT, *number receives
 * the publish's number, from 1 on for each channel, which one MR_EV_CONFIRM will cover within
 * `timeout` seconds (0: the option rpc_timeout); without confirms, 0. `number` may not be NULL.
 * MR_BACKPRESSURE: 8 MiB are waiting on this connection; MR_EV_ROOM tells when to try again.
 * MR_BLOCKED_TIMEOUT: the broker blocks publishing at the moment; MR_EV_BLOCKED tells the end.
 * MR_CONTENT_TOO_LARGE: a body over max_message_size, or properties over frame_max.
 * MR_CLOSED: the channel is not open. MR_BAD_ARGUMENT: a name over 255 bytes. */
MR_API int mr_channel_publish(mr_channel *ch, const char *exchange, size_t exchange_size,
	const char *routing_key, size_t routing_key_size, const char *body, size_t body_size,
	const char *properties, size_t properties_size, int flags, double timeout,
	uint64_t *number);

enum {
	MR_HAS_CONTENT_TYPE = 0x8000, /* these are the wire's own bits */
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

/* The 14 properties of AMQP 0-9-1's basic class. `flags` (MR_HAS_*) says which are present. */
typedef struct mr_properties {
	uint32_t flags;
	uint8_t delivery_mode; /* 2: persistent */
	uint8_t priority;
	uint64_t timestamp; /* seconds since 1970 */
	mr_bytes content_type, content_encoding, correlation_id, reply_to, expiration;
	mr_bytes message_id, type, user_id, app_id, cluster_id;
	mr_table *headers;
} mr_properties;

/* Encodes properties for mr_channel_publish; the result may be used any number of times. Returns the
 * size needed, and writes only when it fits into `size`. Negative: minus the kind of the error (a
 * string over 255 bytes, a bad table). */
MR_API int mr_properties_encode(const mr_properties *properties, char *buffer, size_t size);
/* Encodes the properties of a delivery for another publish, with changes, without decoding the rest.
 * A property in `changes` replaces the received one; so does each header in `changes`, by its name.
 * Left out are the properties in `without` (MR_HAS_*) and the headers with the names in
 * `headers_without` (NULL: none). Returns as mr_properties_encode; -MR_FRAME_ERROR: the received
 * properties are malformed. */
MR_API int mr_properties_splice(const char *properties, size_t properties_size,
	const mr_properties *changes, uint32_t without, const mr_table *headers_without,
	char *buffer, size_t size);

/* ---- consume ------------------------------------------------------------------------------ */

/* MR_BASIC_CONSUME starts a consumer under a number of the host's choice, 1 to 2^29 - 1, which its
 * deliveries carry. If the channel has no MR_BASIC_QOS yet, a consumer with acks first sends a
 * prefetch of 256 (docs/decisions/0009-back-pressure.md). Two bits may be added to the number: */
enum {
	MR_CONSUMER_OWN = 0x40000000, /* health checks and metrics leave this consumer out */
	/* A message over max_message_size is not rejected but comes without its body, for the host to
	 * settle. For consumers with acks. */
	MR_CONSUMER_LARGE = 0x20000000
};

/* Forgets a consumer whose channel is suspended, so that recovery does not start it again. (An open
 * channel cancels by MR_BASIC_CANCEL.) */
MR_API void mr_channel_forget_consumer(mr_channel *ch, uint32_t number);

enum {
	MR_DELIVERY_REDELIVERED = 1,
	MR_DELIVERY_NO_ACK = 2, /* arrived settled */
	MR_DELIVERY_SETTLED = 4,
	MR_DELIVERY_RETURNED = 8,  /* a publish of this host that could not be routed; tag is 0 */
	MR_DELIVERY_TOO_LARGE = 16 /* over max_message_size, without body: see MR_CONSUMER_LARGE */
};

/* A received message. The host may read it until mr_delivery_release and must not write. The memory
 * is recycled, and `generation` changes when it is: a pointer with an older generation is not this
 * message. `body` and the strings are not NUL-terminated. */
struct mr_delivery {
	const char *body;
	uint64_t body_size;
	uint64_t tag;
	uint32_t generation;
	uint32_t consumer; /* the number in its MR_BASIC_CONSUME; 0: got, or nobody's */
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
};

/* Decodes a delivery's properties. The strings borrow from the delivery; `headers` is *given*: free it
 * with mr_table_free. MR_FRAME_ERROR: malformed; MR_NO_MEMORY. */
MR_API int mr_delivery_properties(const mr_delivery *delivery, mr_properties *out);

/* ---- settle ------------------------------------------------------------------------------- */

enum { MR_ACK, MR_NACK, MR_REJECT };
enum { MR_SETTLE_MULTIPLE = 1, MR_SETTLE_REQUEUE = 2, MR_SETTLE_RELEASE = 4 };

/* Settles a delivery: `how` is MR_ACK, MR_NACK or MR_REJECT. MR_SETTLE_MULTIPLE settles all earlier
 * ones of its channel, too; MR_SETTLE_REQUEUE is for nack and reject; MR_SETTLE_RELEASE also releases,
 * whatever the result. MR_STALE: its channel or connection was lost, and the broker has the message
 * back; MR_SETTLED: it was settled before. */
MR_API int mr_delivery_settle(mr_runtime *rt, mr_delivery *delivery, int how, int flags);
/* Gives the memory back; the delivery must not be read afterwards. Does not settle. */
MR_API void mr_delivery_release(mr_runtime *rt, mr_delivery *delivery);
/* Can it still be settled? */
MR_API bool mr_delivery_is_live(const mr_runtime *rt, const mr_delivery *delivery);

/* ---- events ------------------------------------------------------------------------------- */

/* Each names the arm of `as` in its mr_event. */
enum mr_event_type {
	MR_EV_NONE,       /* mr_runtime_wake_at asked for it; no arm */
	MR_EV_DELIVERY,   /* delivery */
	MR_EV_DONE,       /* done: a request has ended */
	MR_EV_CONFIRM,    /* confirm: publishes have ended */
	MR_EV_RETURN,     /* returned: a publish came back */
	MR_EV_CHANNEL,    /* channel: one has closed, or come back */
	MR_EV_CANCEL,     /* cancel: a consumer has ended, or consumes again */
	MR_EV_CONNECTION, /* connection: its state has changed */
	MR_EV_BLOCKED,    /* blocked: the broker blocks publishing, or no longer does */
	MR_EV_FD,         /* fd: a watched descriptor is ready */
	MR_EV_ROOM,       /* publishing is possible again after MR_BACKPRESSURE; no arm */
	MR_EV_HEALTH,     /* health */
	MR_EV_PAGE        /* page: somebody asks for a page of the host's */
};

enum mr_connection_state {
	MR_CONNECTION_IDLE,
	MR_CONNECTION_CONNECTING,
	MR_CONNECTION_OPEN,
	MR_CONNECTION_CLOSING,
	MR_CONNECTION_CLOSED,    /* we closed it */
	MR_CONNECTION_LOST,      /* it failed */
	MR_CONNECTION_RETRYING,  /* it was lost and will be tried again */
	MR_CONNECTION_RECOVERED, /* channels and consumers are back */
	MR_CONNECTION_GAVE_UP,   /* no more tries */
	MR_CONNECTION_REPAIRING  /* open; a channel, or a consumer (channel 0), is tried again */
};

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

/* clang-format off */
/* ENDED: the event's status says how. AGAIN: a lost channel is open, with a new epoch. READY: its consumers are back, too. */
enum mr_channel_change {
	MR_CHANNEL_ENDED, MR_CHANNEL_AGAIN, MR_CHANNEL_READY, MR_CHANNEL_TAKEN_BACK /* within the library */
};

/* It owns what its arm points to, but for a delivery; errors, replies and tables may be NULL. "within:": for the library. */
struct mr_event {
	uint32_t type;       /* enum mr_event_type */
	int32_t status;      /* enum mr_status: MR_OK, or what went wrong */
	uint32_t connection; /* its number; 0: of none */
	uint32_t epoch;      /* of the channel */
	uint16_t channel;    /* its number; 0: of none */
	union {
		mr_delivery *delivery;
		/* Of the request with this token. One that fails with its channel or connection ends after the event of that. */
		struct { uint64_t token; mr_reply *reply; /* within: */ bool is_late; } done;
		/* Publishes first .. last: OK, NACKED, LOST, TIMEOUT, or RETURNED: number + shift is that in its MR_EV_RETURN. */
		struct { uint64_t first, last; int32_t shift; } confirm;
		/* number 0: outside of confirm mode. Of publishes alike in every byte it may be another: MR_EV_CONFIRM decides. */
		struct { mr_delivery *delivery; uint64_t number; } returned;
		struct {
			mr_error *error;
			uint64_t last_tag; /* within: the last delivery that the broker took back */
			uint16_t change;   /* enum mr_channel_change */
			bool will_recover; /* ENDED */
			bool was_asking;   /* ENDED: the broker refused a declare that is passive, unrecorded or asking */
			bool confirming;   /* READY: it is in confirm mode again */
		} channel;
		/* status: MR_CANCELLED by the broker; MR_OK: it consumes again, or the program deleted its queue; else why it
		 * cannot be brought back. */
		struct { mr_error *error; uint32_t consumer; bool will_recover, consumes_again; } cancel;
		struct {
			/* error: the last one. report: of RECOVERED, what failed. */
			union { mr_error *error; mr_table *report; /* within: */ struct mr_opened *opened; } with;
			union {
				struct { uint32_t attempt, delay; } retry;     /* RETRYING, REPAIRING: the next try, and ms until it */
				struct { uint32_t entities, gap; } recovered; /* RECOVERED: how many are back; ms since the loss */
			} numbers;
			uint16_t state;    /* enum mr_connection_state */
			bool will_recover; /* LOST */
		} connection;
		struct { mr_error *reason; bool is_blocked; } blocked;
		struct { uint64_t token; uint16_t ready; /* MR_FD_*; within: */ uint32_t serial; } fd;
		struct { uint64_t token; mr_health *health; } health; /* token 0: see mr_health_watch */
		struct { uint64_t token; mr_table *request; } page;   /* request: path (a string), query (a table of strings) */
	} as;
};
/* clang-format on */

/* Frees what an event carries, except a delivery. Call it once for every event pulled. */
MR_API void mr_event_fini(mr_event *event);

/* ---- values ------------------------------------------------------------------------------- */

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
struct mr_table {
	mr_field *fields;
	uint32_t count;
	uint32_t capacity;
	struct mr_arena *arena; /* the root's; owns every byte below it */
};

MR_API mr_table *mr_table_new(void);        /* gives a root; NULL when out of memory */
MR_API void mr_table_free(mr_table *table); /* a root, or NULL */
/* Appends a copy of `value`. MR_BAD_ARGUMENT: a key over 128 bytes (AMQP's limit), an unknown or a
 * nested type. */
MR_API int mr_table_add(mr_table *table, const char *key, size_t key_size, const mr_value *value);
/* Appends an empty table ('F') or array ('A') and returns it, *borrowed* from the root. NULL: as
 * mr_table_add, or out of memory. */
MR_API mr_table *mr_table_nest(mr_table *table, const char *key, size_t key_size, uint8_t type);

/* ---- pools -------------------------------------------------------------------------------- */

/* Lends connections, or channels of two connections, each to one borrower at a time, first come, first
 * served. Nothing is opened before it is needed. A loan is known by the token of its acquire until it is
 * given back: no token may be used twice at the same time. */
typedef struct mr_pool mr_pool;

enum mr_strategy {
	MR_POOLED, /* lends connections, open or still to be opened (mr_connection_open) */
	MR_SHARED  /* lends open channels: of one connection to publish and of one to consume */
};

/* What an acquire is for. A shared pool: which connection. A pooled one, FRESH: a connection never lent
 * before, at once, or MR_POOL_LIMIT_EXCEEDED; to open some beforehand, acquire, open and release them. */
enum { MR_POOL_PUBLISH, MR_POOL_CONSUME, MR_POOL_FRESH };

typedef struct mr_pool_counts {
	uint32_t limit;
	uint32_t active;  /* lent, or being opened for a loan */
	uint32_t idle;    /* free to be lent; active + idle never exceed the limit */
	uint32_t waiting; /* acquires that wait for their turn */
} mr_pool_counts;

/* *Gives* a pool of at most `limit` (1 to 65535) connections or channels. *Takes* `options`. */
MR_API int mr_pool_new(mr_runtime *rt, mr_options *options, int strategy, uint32_t limit,
	mr_pool **out, mr_error *error);
/* Borrows one. *item: its number when it is lent at once; 0 when an MR_EV_DONE with `token` will come:
 * MR_OK (mr_pool_item has the number), MR_TIMEOUT after `timeout` seconds (negative: no limit), MR_CLOSED
 * when the pool is closed, or the reason why it cannot be opened. MR_POOL_EXHAUSTED: `timeout` is 0, and
 * all are lent or others wait. MR_CHANNEL_LIMIT_REACHED: its connection has no more channels. */
MR_API int mr_pool_acquire(mr_pool *pool, uint64_t token, int purpose, double timeout,
	uint32_t *item);
/* Gives a loan back. MR_BAD_ARGUMENT: nothing is lent under that token. */
MR_API int mr_pool_release(mr_pool *pool, uint64_t token);
/* Gives back a broken one: it is closed, and a fresh one may take its place. */
MR_API int mr_pool_replace(mr_pool *pool, uint64_t token);
MR_API uint32_t mr_pool_item(const mr_pool *pool, uint64_t token); /* lent under it, or 0 */
/* The item of a number, *borrowed* until it is given back. NULL: another pool's number, an item of the
 * other kind, or one that the host has freed, as it may. A number is never used again. */
MR_API mr_connection *mr_pool_connection(const mr_pool *pool, uint32_t item);
MR_API mr_channel *mr_pool_channel(const mr_pool *pool, uint32_t item);
MR_API bool mr_pool_has(const mr_pool *pool, uint32_t item);
/* A shared pool's connection for a purpose, made if there is none, opened by the first acquire. */
MR_API int mr_pool_shared(mr_pool *pool, int purpose, mr_connection **out, mr_error *error);
/* Adds n connections to a pooled one, unopened. MR_POOL_LIMIT_EXCEEDED: those that fitted are kept. */
MR_API int mr_pool_grow(mr_pool *pool, uint32_t n);
/* Sets the limit. Idle ones beyond it go now, lent ones when they are given back. */
MR_API int mr_pool_resize(mr_pool *pool, uint32_t limit);
MR_API void mr_pool_count(const mr_pool *pool, mr_pool_counts *out);
/* Closes all, lent or not; whoever waits is told MR_CLOSED. It can be used again. What was lent says MR_CLOSED
 * to each call until it is given back, though mr_pool_release refuses that. With a token (0: none)
 * MR_EV_DONE says that all have closed. */
MR_API int mr_pool_close(mr_pool *pool, uint64_t token);
/* Closes and forgets it. Takes NULL. */
MR_API void mr_pool_free(mr_pool *pool);
/* The host keeps pointers to this one: a pool that has no more use for it only forgets it, see
 * mr_pool_has; closing and freeing it is then the host's. Also after mr_pool_close, before the release. A
 * channel goes with its connection: keep that, too. */
MR_API void mr_connection_keep(mr_connection *c);
MR_API void mr_channel_keep(mr_channel *ch);

/* ---- health ------------------------------------------------------------------------------- */

/* The checks that mr_health_options.checks switches on, and mr_health.failing names. */
enum {
	MR_CHECK_CONNECTED = 1, /* each connection that the program wants is open, at least one */
	MR_CHECK_CONSUMING = 2, /* each consumer is at the broker */
	MR_CHECK_BLOCKED = 4,   /* no broker blocks our publishes */
	MR_CHECK_STALLED = 8,   /* the host comes back to mr_runtime_poll */
	MR_CHECK_LAST_MESSAGE = 16, /* the last message is not too old */
	MR_CHECK_HOST = 32          /* no mr_health_note has failed; always on */
};

/* A snapshot of the runtime for health checks, as the I/O thread sees it. */
struct mr_health {
	bool healthy, ready, live; /* what /health, /ready and /live say */
	bool stopping;
	uint32_t failing;     /* MR_CHECK_* that are switched on and fail */
	uint32_t connections; /* that the program wants */
	uint32_t connections_open, connections_blocked;
	uint32_t consumers, consumers_consuming;
	double busy; /* seconds since the host began what it is doing; 0: it waits for events */
	double last_delivery; /* seconds since the last delivery; negative: there was none */
	mr_table
		*report; /* status, error, reasons, checks, as the JSON pages; or NULL: no memory */
};

typedef struct mr_health_options {
	uint32_t checks;    /* MR_CHECK_*; default: all but MR_CHECK_LAST_MESSAGE */
	uint32_t consumers; /* least number that must be consuming; default 0 */
	double stalled; /* seconds that the host may do one thing; 0, the default: as the watchdog */
	double dead;    /* seconds of a stall after which /live fails; 0: never; default 900 */
	double last_message; /* greatest age of the last message, in seconds */
} mr_health_options;
/* Sets which checks make /health, and their limits. */
MR_API int mr_health_configure(mr_runtime *rt, const mr_health_options *options);

enum { MR_NOTE_FAILING, MR_NOTE_PASSING, MR_NOTE_PENDING, MR_NOTE_FORGET };
/* Notes the result of one of the host's own checks, under a name of 1 to 128 bytes; `detail` says
 * more, up to 511 bytes. Replaces the earlier note of that name. 64 names are kept. MR_BAD_ARGUMENT. */
MR_API int mr_health_note(mr_runtime *rt, const char *name, size_t name_size, int state,
	const char *detail, size_t detail_size);
/* From now on /ready fails: the program is about to stop. */
MR_API int mr_health_stopping(mr_runtime *rt);
/* Asks for one MR_EV_HEALTH with this token. */
MR_API int mr_health_ask(mr_runtime *rt, uint64_t token);
/* Asks for an MR_EV_HEALTH with token 0 whenever `healthy` changes, within a second of the change. */
MR_API int mr_health_watch(mr_runtime *rt, bool on);

/* Serves /health, /ready, /live and /metrics by HTTP on an address literal, such as "127.0.0.1"; port
 * 0: any free one. MR_EV_DONE: the reply's name is "address:port", its message_count the port. The
 * server ends with the runtime. */
MR_API int mr_http_listen(mr_runtime *rt, uint64_t token, const char *address, uint16_t port);
MR_API int mr_http_close(mr_runtime *rt, uint64_t token);
/* The host answers requests for this path, also in the place of a built-in page: each request comes as MR_EV_PAGE and
 * waits for mr_http_answer for up to 5 s, then the client gets 503; at once while 64 wait to be polled. Unlike the
 * built-in pages it needs a host that polls. `on` false ends that. A request of the very moment may come before it; what
 * is served before mr_http_listen is there from its first request on. MR_BAD_ARGUMENT: not 1 to 255 bytes from "/"; up
 * to 64 paths are kept. */
MR_API int mr_http_page(mr_runtime *rt, const char *path, bool on);
/* Answers the request of that token: a status code from 200 to 599, a content type of up to 127 bytes, a body (copied).
 * MR_OK also when the request has ended. */
MR_API int mr_http_answer(mr_runtime *rt, uint64_t token, int code, const char *type,
	const char *body, size_t size);

/* Times the handlers of one queue, for /metrics. */
typedef struct mr_meter mr_meter;
/* The meter of a queue; lives as long as the runtime. Past 64 queues all share one, "(other)"; queues
 * that the broker named share "(server-named)". NULL: out of memory; the functions below take NULL. */
MR_API mr_meter *mr_meter_of(mr_runtime *rt, const char *queue, size_t size);
/* Counts a handler that began at `began` (mr_now) and has ended now; returns mr_now. */
MR_API double mr_meter_handled(mr_meter *meter, double began, bool failed);
/* Counts `count` handlers that took `seconds` each and did not fail. */
MR_API void mr_meter_handled_many(mr_meter *meter, double count, double seconds);
/* Counts a message that was handled after its channel was lost: it comes again. */
MR_API void mr_meter_late(mr_meter *meter);
/* Sets the number of messages seen in the queue; negative: unknown. */
MR_API void mr_meter_messages(mr_meter *meter, double count);

/* ---- watchdog ----------------------------------------------------------------------------- */

/* What the host is doing, for reports of a stall: the host thread writes it with plain stores, the
 * I/O thread reads it when the host has not polled for long. A host may leave all of it alone; a
 * report then tells only how long the host has not polled. */
typedef struct mr_mark {
	double turn;       /* add 1 whenever the host takes up something else: a message, a task */
	double deadline;   /* mr_now() at which the present work exceeds its time limit; 0: none */
	uint32_t consumer; /* the number of the consumer whose handler runs; 0: none */
	uint32_t busy; /* 0: after a poll without events the host may sleep in a loop of its own */
} mr_mark;
MR_API mr_mark *mr_runtime_mark(mr_runtime *rt); /* borrowed; lives as long as the runtime */
/* Describes a consumer for reports: its queue; its origin, such as "orders.lua:12"; the seconds after
 * which it counts as stalled (0: as mr_runtime_watchdog says, negative: never); its time limit in
 * seconds (0: none; see mr_mark.deadline). A NULL queue forgets the consumer. */
MR_API int mr_consumer_describe(mr_runtime *rt, uint32_t consumer, const char *queue,
	const char *origin, double stall, double time_limit);
/* Sets after how many seconds at one thing the host counts as stalled (default 10; 0: never). The I/O
 * thread logs the stall and its end. If `signal` is not 0, it is sent to the calling thread when that
 * thread stalls or is over its deadline, unless it waits in a system call; the host installs the
 * handler, which may lead to mr_runtime_trace. */
MR_API int mr_runtime_watchdog(mr_runtime *rt, double stall, int signal);
/* Is the I/O thread waiting to be told where the host is? */
MR_API bool mr_runtime_wants_trace(const mr_runtime *rt);
/* Tells it, for the log; 4 KiB are kept. False: it was not waiting. */
MR_API bool mr_runtime_trace(mr_runtime *rt, const char *text, size_t size);

/* ffi: end */
#ifdef __cplusplus
}
#endif
#endif
