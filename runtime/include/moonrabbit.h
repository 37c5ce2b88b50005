/* moonrabbit.h: the public interface of libmoonrabbit, an embedded messaging runtime for RabbitMQ.
 * SPDX-License-Identifier: MIT
 *
 * A complete program: it declares a queue, consumes from it, publishes one message and exits when
 * that message arrives. Build: cc hello.c -lmoonrabbit -o hello. More programs: examples/c.
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
 * Order of this file: errors, runtime, connections, channels, publish, consume, settle, events,
 * values, pools, health, watchdog. moonrabbit_testing.h declares the embedded broker, its faults,
 * the clock and the allocator. moonrabbit_ev.h, _uv.h and _glib.h put a runtime in a loop of libev,
 * libuv or GLib; moonrabbit.hpp is for C++17.
 *
 * Threads. A runtime uses two threads: the I/O thread, which the library owns, and the host thread,
 * which calls these functions. Only one thread at a time may use a runtime and its objects. The
 * library never calls back into the host: the host pulls events with mr_runtime_poll.
 *
 * Conventions. A function that can fail returns enum mr_status; MR_OK is 0. It writes its
 * out-parameters only on success; `error` is filled only on failure, and may be NULL. Times are
 * seconds as double, on the clock of mr_now. A string is a pointer and a size; it may contain NUL
 * bytes, and the library copies it, unless the comment says otherwise. *Gives*: the caller owns the
 * result. *Takes*: the library owns the argument, unless the call fails. *Borrows*: ownership does
 * not change.
 *
 * Tokens. A request that the broker answers needs a token: a number from 1 to 2^63 - 1, chosen by
 * the host. Each request that returned MR_OK ends with exactly one MR_EV_DONE that carries its
 * token, at the latest when the request times out.
 *
 * Forks. A child that does not call exec has no I/O thread. Its copies of the library's descriptors
 * are closed before fork returns in the child, so the parent's connections end when the parent
 * closes them. Each call on an inherited object fails with MR_FORKED (a call without a status does
 * nothing). The child may make its own runtime.
 *
 * Descriptors. The library never uses descriptors 0, 1 and 2, even if they are closed. */
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

/* All kinds of errors, as X(C name, Lua name). mr_status_hint() says what to check for each. */
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

/* Lua's FFI declares exactly the text between the two `ffi` marks. */
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

/* A structured error: 520 bytes without pointers, so it can be copied. `text` is NUL-terminated and
 * contains no control characters and no secrets. */
typedef struct mr_error {
	int32_t kind;     /* enum mr_status */
	int32_t code;     /* AMQP reply code, 0 when there is none */
	int32_t system;   /* errno, 0 when there is none */
	int32_t scope;    /* enum mr_scope */
	bool recoverable; /* a later attempt may succeed */
	char text[503];
} mr_error;

MR_API int mr_status_count(void);            /* kinds are 0 .. count-1; 0 is ok */
MR_API const char *mr_status_name(int kind); /* "connection_refused"; never NULL */
MR_API const char *mr_status_text(int kind); /* one short sentence; never NULL */
MR_API const char *mr_status_hint(int kind); /* what to check; never NULL, may be "" */
MR_API bool mr_status_recoverable(int kind);
/* The hint for this error: its kind's hint, or a better one that fits its text. Never NULL. */
MR_API const char *mr_error_hint(const mr_error *error);
MR_API const char *mr_scope_name(int scope); /* "connection"; never NULL */
MR_API const char *mr_version(void);         /* of the loaded library: "0.1.0" */
MR_API const char *mr_declarations(void);    /* of both headers, for LuaJIT's FFI */

/* ---- runtime ------------------------------------------------------------------------------ */

MR_API double mr_now(void); /* the monotonic clock, in seconds */

/* Starts a runtime and its I/O thread. *Gives*. MR_NO_MEMORY, MR_NO_DESCRIPTORS. */
MR_API int mr_runtime_new(mr_runtime **out);
/* One descriptor, for a host that has its own event loop: readable while mr_runtime_poll would return
 * an event (level-triggered). A host may take one event each time; before it sleeps, a poll that gives
 * none (with `max` 0, for example) tells the watchdog that it is not busy. -1 in a forked child. */
MR_API int mr_runtime_fd(mr_runtime *rt);
MR_API bool mr_runtime_is_forked(const mr_runtime *rt); /* it belongs to the parent */
/* Writes up to `max` events and returns their number. Waits at most `timeout` seconds for the first
 * one (0: does not wait, negative: no limit). Returns 0 early if the host catches a signal. With
 * `max` 0 it pulls no event and does not wait.
 * -1 in a forked child. Pass each event to mr_event_fini, and release each delivery.
 * A call while another one is at work (of a second thread, of a signal handler) takes nothing and
 * returns 0; the first such call writes a line to standard error. */
MR_API int mr_runtime_poll(mr_runtime *rt, mr_event *events, int max, double timeout);
/* How long a poll that runs the I/O loop itself, as it does where the host asks and awaits one quick
 * answer after the other, looks for the answer before it sleeps: up to 0.0005 s. To be woken takes
 * longer than many an answer, to look takes a core. Negative, the default: 30 us, as long as answers
 * come within that, and never with one core. No effect with mr_runtime_fd. MR_BAD_ARGUMENT. */
MR_API int mr_runtime_busy_poll(mr_runtime *rt, double seconds);
/* Makes mr_runtime_fd readable at the time `at` (mr_now's clock), for a host that sleeps in its own
 * event loop. Each call replaces the earlier time; 0 removes it. */
MR_API int mr_runtime_wake_at(mr_runtime *rt, double at);
/* A Unix socket instead of mr_runtime_fd, for scripts that can only wait in sockets (ngx_lua). The
 * runtime listens at `path` (absolute), or, if NULL, in a new folder that only this user can enter;
 * the host connects to it, and polls after each byte that it reads, until a poll gives nothing:
 *
 *	connect to mr_runtime_wake_path; forever: read a byte; mr_runtime_poll(rt, events, max, 0)
 *
 * Whoever makes mr_runtime_fd readable, the I/O thread or a call of the host, also writes one byte,
 * and a connection gets one at once if it is readable already. The next byte comes only after a
 * poll, because the descriptor stays readable until then: a poll that leaves an event writes it.
 * A poll elsewhere in the program may leave a byte without an event; if bytes are not read, no more
 * than the kernel's minimum for a socket wait, and nobody waits for room. Bytes from the host are
 * ignored. Only this process may connect (the file's mode is 0600, and the kernel names the peer).
 * A new connection replaces the earlier one, which gets an end of file, as all get at the end of
 * the runtime; a host that lost its connection may connect again at any time and misses nothing.
 * mr_runtime_free, or the end of the process by exit(), removes file and folder; the file of a
 * process that was killed is replaced, its folder removed by whoever makes the next one beside it.
 * Sockets that the host puts into the folder go with it. MR_CONNECTION_REFUSED: a live socket or another file is at
 * `path`, or it cannot be made; MR_BAD_ARGUMENT: a bad path, or the runtime has a wake socket. */
MR_API int mr_runtime_wake_socket(mr_runtime *rt, const char *path, mr_error *error);
MR_API const char *mr_runtime_wake_path(const mr_runtime *rt); /* borrowed; NULL: none */
/* Brings all connections to an orderly end without waiting, and then sends one MR_EV_DONE. Go on
 * polling and settling until it comes: each connection's consumers are cancelled, requests and
 * publishes get their answers and confirms, the host releases the deliveries that it has, then the
 * connection closes with the AMQP handshake. MR_OK: all did; MR_TIMEOUT: after `timeout` seconds what
 * was left was closed by force, so that its publishes ended as MR_LOST, and unsettled messages went
 * back to their queues. Connections that are not open are closed at once, also those that are opened
 * until then; the waiting acquires of pools end with MR_CLOSED, and items may be released as usual;
 * /ready fails from now on. A later call can only shorten the time; each gets its MR_EV_DONE. Call
 * mr_runtime_free afterwards: it has nothing left to wait for. Before that it ends the stop. */
MR_API int mr_runtime_stop(mr_runtime *rt, uint64_t token, double timeout);
/* Closes every connection with the AMQP handshake, or by force after `timeout` seconds; joins the
 * I/O thread; frees the runtime and all its objects. Waits for pending log lines only while
 * standard error accepts them. `rt` may be NULL. A process that ends without this call (return from
 * main, exit()) sends earlier publishes and settles, then closes its connections, within 2 s. */
MR_API void mr_runtime_free(mr_runtime *rt, double timeout);

/* Sends one MR_EV_FD with this token when `fd` is ready for `events` (MR_FD_*), then stops
 * watching. A descriptor that cannot be watched (a plain file, a closed one) counts as ready. So
 * does one that is closed or replaced while it is watched, within 0.25 s: the host's next call on
 * it reports the error. MR_BAD_ARGUMENT: unknown events, or the token is in use; a token can be
 * used again after its event was pulled or after mr_unwatch_fd. */
MR_API int mr_watch_fd(mr_runtime *rt, uint64_t token, int fd, int events);
/* Stops watching: no MR_EV_FD with this token arrives after this. MR_OK also if it has arrived. */
MR_API int mr_unwatch_fd(mr_runtime *rt, uint64_t token);

enum { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };
enum { MR_LOG_STDERR = 8, MR_LOG_LINE = 16 }; /* see mr_log_write */
enum { MR_LOG_LOGFMT, MR_LOG_JSON };
/* Sets what is logged to standard error: level (-1: nothing) and format. Default: warn, logfmt. A
 * separate thread writes the lines. If nobody reads standard error, lines are dropped and counted
 * (mr_stats.log_dropped), and the host is not delayed. If standard error is closed when the runtime
 * is made, nothing is ever written. */
MR_API int mr_runtime_log(mr_runtime *rt, int level, int format);
/* Makes each line an MR_EV_LOG instead of writing it to standard error, for a host with a log of its
 * own. 128 KiB of lines, some 500, may wait for a poll, for each of the two threads; lines beyond are
 * dropped, counted (mr_stats.log_dropped) and reported by a line as soon as there is room. Nobody
 * waits for room, and lines do not take the place of other events: in a poll they come last, or, after
 * a poll that had no place for them, in a quarter of its places. Lines that no poll has taken are
 * written to standard error by mr_runtime_free; with exit() they are lost. MR_NO_MEMORY. */
MR_API int mr_runtime_log_events(mr_runtime *rt, bool on);
/* Adds worker=NUMBER to each log line, to distinguish the processes of one program; 0: none. */
MR_API int mr_runtime_worker(mr_runtime *rt, uint16_t number);
/* Writes one log line; `fields` (may be NULL) are its keys and values. For an error or a warning it
 * waits until the line is written, at most 200 ms if standard error accepts nothing. To the level may
 * be added MR_LOG_STDERR: to standard error, even if lines are events (a host that answers an
 * MR_EV_LOG by a line would get another one); and MR_LOG_LINE: `text` is a whole line, as that of an
 * MR_EV_LOG, and is written as it is. */
MR_API void mr_log_write(mr_runtime *rt, int level, const char *text, size_t size,
	const mr_table *fields);

/* Counters since the start of the runtime; in_flight and outbound are current values. */
typedef struct mr_stats {
	uint64_t delivered, settled, published, confirmed, returned, lost;
	uint64_t bytes_in, bytes_out, reads, writes, frames_in;
	uint64_t in_flight; /* deliveries not yet released */
	uint64_t outbound;  /* bytes accepted but not yet written to a socket */
	uint64_t heartbeats_out, acks_out;
	uint64_t log_dropped; /* log lines that standard error did not accept */
	uint64_t violations;  /* protocol violations by brokers, also those that were ignored */
	uint64_t oversized;   /* messages over max_message_size: rejected, kept, or dropped */
	uint64_t redelivered; /* deliveries with the flag redelivered */
} mr_stats;
MR_API void mr_runtime_stats(const mr_runtime *rt, mr_stats *out);

/* ---- connections -------------------------------------------------------------------------- */

/* docs/configuration.md lists the options; "ssl_options.ca_certs" names an option inside a group. A
 * wrong name, type or range fails with MR_BAD_OPTION (a wrong URL with MR_BAD_URI); for a wrong
 * name the error's text suggests the most similar valid option. */
MR_API mr_options *mr_options_new(void); /* gives; NULL when out of memory */
MR_API void mr_options_free(mr_options *options);
MR_API int mr_options_string(mr_options *o, const char *name, const char *value, size_t size,
	mr_error *error);
MR_API int mr_options_number(mr_options *o, const char *name, double value, mr_error *error);
MR_API int mr_options_boolean(mr_options *o, const char *name, bool value, mr_error *error);
MR_API int mr_options_table(mr_options *o, const char *name, mr_table *value,
	mr_error *error); /* takes */

/* Makes a connection but does not open it. *Borrows* `options`. *Gives*; the runtime frees the
 * connections that the host has not freed. MR_BAD_OPTION: the options contradict each other. */
MR_API int mr_connection_new(mr_runtime *rt, const mr_options *options, mr_connection **out,
	mr_error *error);
/* Connects; MR_EV_DONE within connect_timeout, or at once if the connection is open already. */
MR_API int mr_connection_open(mr_connection *c, uint64_t token);
/* Closes with the AMQP handshake, or by force after `timeout` seconds (0: the option
 * close_timeout). May be called in every state. */
MR_API int mr_connection_close(mr_connection *c, uint64_t token, double timeout);
/* Frees the connection and its channels; if it is open, it is closed by force. `c` may be NULL. */
MR_API void mr_connection_free(mr_connection *c);

/* Answers MR_CONNECTION_RETRYING and _REPAIRING: try again in `seconds`, or, if negative, give up.
 * After the first call the library waits for the host's decision after each of these events: if the
 * host does not answer within one second, the built-in back-off applies. */
MR_API int mr_connection_retry(mr_connection *c, double seconds);
/* Handover: `c` takes over the recorded topology of `from`, and replaces `from` in its pool. */
MR_API int mr_connection_inherit(mr_connection *c, mr_connection *from);
/* Sets the password for the next connect, also for all present and future connections of its pool.
 * MR_BAD_ARGUMENT: the password contains a NUL byte. */
MR_API int mr_connection_password(mr_connection *c, const char *secret, size_t size);
/* The same for the password of the encrypted key file (ssl_options.keyfile). */
MR_API int mr_connection_key_password(mr_connection *c, const char *secret, size_t size);
/* Does the same as mr_connection_password, and also sends the secret to the broker at once
 * (connection.update-secret), for tokens that expire. MR_EV_DONE with MR_OK: the broker accepted
 * it, or the connection is down and will use it to connect. `timeout` 0: the option rpc_timeout. */
MR_API int mr_connection_update_secret(mr_connection *c, uint64_t token, const char *secret,
	size_t size, double timeout);

/* The number that events carry: at least 1, never reused in this runtime. */
MR_API uint32_t mr_connection_id(const mr_connection *c);
MR_API int mr_connection_state(const mr_connection *c); /* enum mr_connection_state */
MR_API bool mr_connection_is_blocked(const mr_connection *c);
MR_API uint32_t mr_connection_epoch(const mr_connection *c);
/* Writes the error that closed the connection and returns its kind; MR_OK: there was no error. */
MR_API int mr_connection_error(const mr_connection *c, mr_error *out);
/* Writes "host:port" and returns its length, as snprintf does. */
MR_API int mr_connection_host(const mr_connection *c, char *buffer, size_t size);
/* The broker's properties from the handshake. *Borrowed* until the next open; NULL before that. */
MR_API const mr_table *mr_connection_server_properties(const mr_connection *c);
/* What the last handshake agreed on; zeroed before it. */
typedef struct mr_facts {
	uint32_t frame_max;
	uint16_t channel_max, heartbeat; /* heartbeat: seconds; 0: none */
	char tls[16];                    /* such as "TLSv1.3"; "": without TLS */
	double certificate_end; /* until when the broker's certificate is valid, seconds since 1970 */
	bool tls_resumed;       /* the TLS handshake resumed the session of the connection before */
} mr_facts;
MR_API void mr_connection_facts(const mr_connection *c, mr_facts *out);
/* Writes the URL without its password and returns its length, as snprintf does. */
MR_API int mr_connection_url(const mr_connection *c, char *buffer, size_t size);
/* The same for any URL. */
MR_API int mr_url_redact(const char *url, size_t size, char *buffer, size_t capacity);

/* ---- channels ----------------------------------------------------------------------------- */

/* Opens a channel on an open connection; MR_EV_DONE has the result. *Gives*. mr_connection_free
 * frees the handles of channels that are not closed yet; the host must free the handle of a closed
 * channel, before or after that call. MR_CHANNEL_LIMIT_REACHED, MR_CLOSED. */
MR_API int mr_channel_open(mr_connection *c, uint64_t token, mr_channel **out);
/* Closes the channel; MR_EV_DONE. MR_CLOSED: it is closed or closing. */
MR_API int mr_channel_close(mr_channel *ch, uint64_t token);
/* Frees the handle; an open channel is closed first, without an event. `ch` may be NULL. */
MR_API void mr_channel_free(mr_channel *ch);
MR_API uint16_t mr_channel_number(const mr_channel *ch);
MR_API mr_connection *mr_channel_connection(const mr_channel *ch);
MR_API bool mr_channel_is_open(const mr_channel *ch);
MR_API bool mr_channel_is_suspended(const mr_channel *ch); /* lost, but it will be recovered */
/* Changes with each recovery; a delivery of an earlier epoch cannot be settled. */
MR_API uint32_t mr_channel_epoch(const mr_channel *ch);
/* As mr_connection_error. */
MR_API int mr_channel_error(const mr_channel *ch, mr_error *out);

/* Operations of mr_channel_request: the fields of mr_request they read -> of mr_reply they fill. */
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

/* Flags of a request; without flags a queue is neither durable nor exclusive nor auto-delete. */
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
		4096 /* a declare whose refusal is not an error for the log, like a passive one */
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

/* Sends a request to the broker; MR_EV_DONE has the answer. MR_CLOSED: the channel is not open; in
 * MR_EV_DONE: it had ended before the request was sent, and mr_channel_error says why.
 * MR_BAD_ARGUMENT: a string over 255 bytes (AMQP's short string), or an unknown operation. A
 * consumer tag that is already in use on this channel is refused. */
MR_API int mr_channel_request(mr_channel *ch, uint64_t token, const mr_request *request);

/* Sends a list of requests, each after the answer to the one before, and no more after the first that
 * fails. One MR_EV_DONE: in its reply, message_count is the number of requests that succeeded, which
 * is the index of the one that failed; the error's text names it, too; `name` is the queue that was
 * declared last. Names are copied, arguments *taken*. The host must poll in the meantime; `token` must
 * not be used for another request. As mr_channel_request; MR_BAD_ARGUMENT also for MR_BASIC_GET, an
 * empty list, and a request anywhere in the list that is wrong: nothing was sent then. */
MR_API int mr_setup(mr_channel *ch, uint64_t token, const mr_request *requests, uint32_t count);

/* ---- publish ------------------------------------------------------------------------------ */

enum { MR_MANDATORY = 1 };
/* Publishes one message. `properties` are the bytes that mr_properties_encode wrote; NULL: only
 * delivery_mode 2 (persistent). `flags`: MR_MANDATORY or 0. After MR_CONFIRM_SELECT, *number
 * receives the number of the publish: 1, 2, 3 ... on each channel. Exactly one MR_EV_CONFIRM will
 * cover this number within `timeout` seconds (0: the option rpc_timeout). Without confirms *number
 * is 0. `number` must not be NULL.
 * MR_BACKPRESSURE: 8 MiB are waiting on this connection; MR_EV_ROOM says when to try again.
 * MR_BLOCKED_TIMEOUT: the broker blocks publishing at the moment; MR_EV_BLOCKED reports the end.
 * MR_CONTENT_TOO_LARGE: a body over max_message_size, or properties over frame_max.
 * MR_CLOSED: the channel is not open. MR_BAD_ARGUMENT: a name over 255 bytes. */
MR_API int mr_channel_publish(mr_channel *ch, const char *exchange, size_t exchange_size,
	const char *routing_key, size_t routing_key_size, const char *body, size_t body_size,
	const char *properties, size_t properties_size, int flags, double timeout,
	uint64_t *number);

enum {
	MR_HAS_CONTENT_TYPE = 0x8000, /* these are the bits of AMQP's property flags */
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

/* Encodes properties for mr_channel_publish; the result can be used for any number of publishes.
 * Returns the size needed, and writes only if that fits into `size`. On an error it returns minus
 * the error's kind (a string over 255 bytes, a bad table). */
MR_API int mr_properties_encode(const mr_properties *properties, char *buffer, size_t size);
/* Encodes the properties of a delivery for another publish, with changes; the unchanged ones are
 * not decoded. A property in `changes` replaces the received one, and a header in `changes`
 * replaces the received header of the same name. The result leaves out the properties in `without`
 * (MR_HAS_*) and the headers named in `headers_without` (NULL: none). Returns the same as
 * mr_properties_encode; -MR_FRAME_ERROR: the received properties are malformed. */
MR_API int mr_properties_splice(const char *properties, size_t properties_size,
	const mr_properties *changes, uint32_t without, const mr_table *headers_without,
	char *buffer, size_t size);

/* ---- consume ------------------------------------------------------------------------------ */

/* MR_BASIC_CONSUME starts a consumer. The host chooses its number, from 1 to 2^29 - 1; the
 * consumer's deliveries carry it. On a channel without MR_BASIC_QOS, a consumer with acks first
 * sets a prefetch of 256 (docs/decisions/0009-back-pressure.md). A consumer of a stream is restored
 * at its first message without ack. Two bits may be added to the number: */
enum {
	MR_CONSUMER_OWN = 0x40000000, /* health checks and metrics ignore this consumer */
	/* A message over max_message_size is not rejected: it arrives without its body, and the
	 * host settles it. Only for consumers with acks. */
	MR_CONSUMER_LARGE = 0x20000000
};

/* Removes a consumer of a suspended channel, so that recovery does not start it again. On an open
 * channel use MR_BASIC_CANCEL instead. */
MR_API void mr_channel_forget_consumer(mr_channel *ch, uint32_t number);

enum {
	MR_DELIVERY_REDELIVERED = 1,
	MR_DELIVERY_NO_ACK = 2, /* needs no settle: it was consumed without acks */
	MR_DELIVERY_SETTLED = 4,
	MR_DELIVERY_RETURNED = 8,  /* a publish of this host that could not be routed; tag is 0 */
	MR_DELIVERY_STREAM = 16,   /* of a stream: it has an offset, and can only be acked */
	MR_DELIVERY_TOO_LARGE = 32 /* over max_message_size, without body: see MR_CONSUMER_LARGE */
};

/* A received message. The host may read it until mr_delivery_release, and must not write to it. The
 * memory is reused for other messages; each reuse changes `generation`, so that a pointer to an
 * earlier message can be recognised. `body` and the strings are not NUL-terminated. */
struct mr_delivery {
	const char *body;
	uint64_t body_size;
	uint64_t tag;
	uint32_t generation;
	uint32_t consumer; /* the number in MR_BASIC_CONSUME; 0: of a get, or no such consumer */
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
	uint64_t offset;        /* with MR_DELIVERY_STREAM: its place in the stream */
};

/* Decodes a delivery's properties. The strings are *borrowed* from the delivery; `headers` is
 * *given*: free it with mr_table_free. MR_FRAME_ERROR: malformed; MR_NO_MEMORY. */
MR_API int mr_delivery_properties(const mr_delivery *delivery, mr_properties *out);

/* ---- settle ------------------------------------------------------------------------------- */

enum { MR_ACK, MR_NACK, MR_REJECT };
enum { MR_SETTLE_MULTIPLE = 1, MR_SETTLE_REQUEUE = 2, MR_SETTLE_RELEASE = 4 };

/* Settles a delivery: `how` is MR_ACK, MR_NACK or MR_REJECT. MR_SETTLE_MULTIPLE also settles all
 * earlier deliveries of the channel; MR_SETTLE_REQUEUE is for nack and reject; MR_SETTLE_RELEASE
 * also releases the delivery, even if the call fails. MR_STALE: the channel or connection was lost,
 * and the broker has taken the message back; MR_SETTLED: the delivery was settled before;
 * MR_NOT_IMPLEMENTED: a nack or reject of a stream's message, for which RabbitMQ would close the
 * connection. */
MR_API int mr_delivery_settle(mr_runtime *rt, mr_delivery *delivery, int how, int flags);
/* Returns the memory without a settle; the host must not read the delivery afterwards. */
MR_API void mr_delivery_release(mr_runtime *rt, mr_delivery *delivery);
/* True while the delivery can be settled. */
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
	MR_EV_PAGE,       /* page: somebody asks for a page of the host's */
	MR_EV_LOG         /* log: a line, see mr_runtime_log_events */
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

/* The result of a request. */
typedef struct mr_reply {
	mr_error error; /* kind MR_OK if the request succeeded */
	uint32_t message_count;
	uint32_t consumer_count;
	uint16_t name_size;
	char name[256];        /* the queue's name, or the consumer tag; NUL-terminated */
	mr_delivery *delivery; /* of a get; the host owns it like any delivery */
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
		struct { char *line; uint32_t size; int32_t level; } log; /* NUL-terminated, without a line end; MR_LOG_* */
	} as;
};
/* clang-format on */

/* Frees the data of an event, except a delivery. Call it once for every event pulled. */
MR_API void mr_event_fini(mr_event *event);

/* ---- values ------------------------------------------------------------------------------- */

/* One value of a field table. `type` is the octet used on the wire. Signed integers: b 8 bits, s
 * 16, I 32, l 64; unsigned: B 8, u 16, i 32, L 64. t bool, f float, d double, D decimal, S string,
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

/* A field table, or an array (its keys are empty). Read it directly; change it by the functions. */
struct mr_table {
	mr_field *fields;
	uint32_t count;
	uint32_t capacity;
	struct mr_arena *arena; /* the root's arena; owns the memory of the whole table */
};

MR_API mr_table *mr_table_new(void);        /* gives a root; NULL when out of memory */
MR_API void mr_table_free(mr_table *table); /* a root, or NULL */
/* Appends a copy of `value`. MR_BAD_ARGUMENT: a key over 128 bytes (AMQP's limit), or a type that
 * is unknown or nested. */
MR_API int mr_table_add(mr_table *table, const char *key, size_t key_size, const mr_value *value);
/* Appends an empty table ('F') or array ('A') and returns it, *borrowed* from the root. NULL: a bad
 * argument, as for mr_table_add, or out of memory. */
MR_API mr_table *mr_table_nest(mr_table *table, const char *key, size_t key_size, uint8_t type);

/* ---- pools -------------------------------------------------------------------------------- */

/* A pool lends connections, or channels of two connections, each to one borrower at a time, first
 * come, first served. It opens nothing before it is needed. The token of an acquire identifies the
 * loan until it is released, so a token must not be used for two loans at the same time. */
typedef struct mr_pool mr_pool;

enum mr_strategy {
	MR_POOLED, /* lends connections, open or still to be opened (mr_connection_open) */
	MR_SHARED  /* lends open channels of two connections: one to publish, one to consume */
};

/* The purpose of an acquire. In a shared pool it selects the connection. In a pooled one, FRESH
 * asks for a connection that was never lent before: it is lent at once, or the call fails with
 * MR_POOL_LIMIT_EXCEEDED. To open connections in advance, acquire, open and release them. */
enum { MR_POOL_PUBLISH, MR_POOL_CONSUME, MR_POOL_FRESH };

typedef struct mr_pool_counts {
	uint32_t limit;
	uint32_t active;  /* lent, or being opened for a loan */
	uint32_t idle;    /* free to be lent; active + idle never exceed the limit */
	uint32_t waiting; /* waiting acquires */
} mr_pool_counts;

/* *Gives* a pool of at most `limit` (1 to 65535) connections or channels. *Takes* `options`. */
MR_API int mr_pool_new(mr_runtime *rt, mr_options *options, int strategy, uint32_t limit,
	mr_pool **out, mr_error *error);
/* Acquires an item: a connection or a channel. If it is lent at once, *item is its number. If *item
 * is 0, an MR_EV_DONE with `token` will follow: MR_OK (mr_pool_item has the number), MR_TIMEOUT
 * after `timeout` seconds (negative: no limit), MR_CLOSED if the pool was closed, or the reason why
 * the item cannot be opened. MR_POOL_EXHAUSTED: `timeout` is 0, and all items are lent or other
 * acquires wait. MR_CHANNEL_LIMIT_REACHED: the connection cannot open another channel. */
MR_API int mr_pool_acquire(mr_pool *pool, uint64_t token, int purpose, double timeout,
	uint32_t *item);
/* Returns a loan to the pool. MR_BAD_ARGUMENT: there is no loan with this token. */
MR_API int mr_pool_release(mr_pool *pool, uint64_t token);
/* Returns a broken item: the pool closes it, and a new one may replace it. */
MR_API int mr_pool_replace(mr_pool *pool, uint64_t token);
MR_API uint32_t mr_pool_item(const mr_pool *pool, uint64_t token); /* the item of a loan, or 0 */
/* The item with this number, *borrowed* until its release. NULL: it is another pool's or of the
 * other kind, or the host has freed it, which is allowed. Numbers are never reused. */
MR_API mr_connection *mr_pool_connection(const mr_pool *pool, uint32_t item);
MR_API mr_channel *mr_pool_channel(const mr_pool *pool, uint32_t item);
MR_API bool mr_pool_has(const mr_pool *pool, uint32_t item);
/* A shared pool's connection for this purpose: made if missing, opened by the first acquire. */
MR_API int mr_pool_shared(mr_pool *pool, int purpose, mr_connection **out, mr_error *error);
/* Adds n unopened connections to a pooled pool; MR_POOL_LIMIT_EXCEEDED: only some of them. */
MR_API int mr_pool_grow(mr_pool *pool, uint32_t n);
/* Sets the limit. Surplus idle items are closed now, surplus lent ones when they are released. */
MR_API int mr_pool_resize(mr_pool *pool, uint32_t limit);
MR_API void mr_pool_count(const mr_pool *pool, mr_pool_counts *out);
/* Closes all items, lent or not; waiting acquires end with MR_CLOSED. The pool can be used again.
 * Calls on an item that was lent fail with MR_CLOSED; release it nevertheless: mr_pool_release
 * frees it, though it returns MR_BAD_ARGUMENT. With a token (not 0) MR_EV_DONE reports the end. */
MR_API int mr_pool_close(mr_pool *pool, uint64_t token);
/* Closes all items and frees the pool. `pool` may be NULL. */
MR_API void mr_pool_free(mr_pool *pool);
/* Lets the host keep pointers to a pool's item: a pool that does not need the item any more only
 * forgets it (see mr_pool_has), and the host must close and free it. Also allowed after
 * mr_pool_close, before the release. A channel is freed with its connection: keep both. */
MR_API void mr_connection_keep(mr_connection *c);
MR_API void mr_channel_keep(mr_channel *ch);

/* ---- health ------------------------------------------------------------------------------- */

/* Health checks: mr_health_options.checks enables them, mr_health.failing reports them. */
enum {
	MR_CHECK_CONNECTED = 1,     /* all wanted connections are open, and there is at least one */
	MR_CHECK_CONSUMING = 2,     /* all consumers are registered at the broker */
	MR_CHECK_BLOCKED = 4,       /* no broker blocks our publishes */
	MR_CHECK_STALLED = 8,       /* the host returns to mr_runtime_poll in time */
	MR_CHECK_LAST_MESSAGE = 16, /* the last message is not too old */
	MR_CHECK_HOST = 32          /* no mr_health_note is failing; always enabled */
};

/* A snapshot of the runtime for health checks, as the I/O thread sees it. */
struct mr_health {
	bool healthy, ready, live; /* the results of /health, /ready and /live */
	bool stopping;
	uint32_t failing;     /* MR_CHECK_* that are enabled and fail */
	uint32_t connections; /* connections that should be open */
	uint32_t connections_open, connections_blocked;
	uint32_t consumers, consumers_consuming;
	double busy; /* seconds since the host began its current work; 0: it waits for events */
	double last_delivery; /* seconds since the last delivery; negative: there was none */
	mr_table *report; /* the content of the JSON pages: status, error, ...; NULL: no memory */
};

typedef struct mr_health_options {
	uint32_t checks;    /* MR_CHECK_*; default: all but MR_CHECK_LAST_MESSAGE */
	uint32_t consumers; /* minimum number of consumers that consume; default 0 */
	double stalled; /* maximum seconds for one piece of work; 0, the default: as the watchdog */
	double dead;    /* seconds of a stall after which /live fails; 0: never; default 900 */
	double last_message; /* maximum age of the last message, in seconds */
} mr_health_options;
/* Sets the checks of /health and their limits. */
MR_API int mr_health_configure(mr_runtime *rt, const mr_health_options *options);

enum { MR_NOTE_FAILING, MR_NOTE_PASSING, MR_NOTE_PENDING, MR_NOTE_FORGET };
/* Sets the result of one of the host's own checks: a name of 1 to 128 bytes, an explanation of
 * up to 511. Replaces the earlier note of this name; 64 names are kept. MR_BAD_ARGUMENT. */
MR_API int mr_health_note(mr_runtime *rt, const char *name, size_t name_size, int state,
	const char *detail, size_t detail_size);
/* Makes /ready fail from now on: the program is about to stop. */
MR_API int mr_health_stopping(mr_runtime *rt);
/* Requests one MR_EV_HEALTH with this token. */
MR_API int mr_health_ask(mr_runtime *rt, uint64_t token);
/* Requests an MR_EV_HEALTH with token 0 for each change of `healthy`, within a second of it. */
MR_API int mr_health_watch(mr_runtime *rt, bool on);

/* Serves /health, /ready, /live and /metrics by HTTP on an address literal, such as "127.0.0.1", and,
 * as mr_http_show says, the page "/" for browsers; port 0: any free port. MR_EV_DONE: the reply's name is "address:port", its message_count the
 * port. The server runs until mr_http_close or the end of the runtime. */
MR_API int mr_http_listen(mr_runtime *rt, uint64_t token, const char *address, uint16_t port);
MR_API int mr_http_close(mr_runtime *rt, uint64_t token);
/* Lets the host answer requests for this path, which may replace a built-in page. Each request
 * arrives as MR_EV_PAGE and waits up to 5 s for mr_http_answer; after that, and at once while 64
 * requests wait to be polled, the client gets 503. Unlike the built-in pages this needs a host that
 * polls. `on` false removes the path. The call takes effect shortly after it returns, or, before
 * mr_http_listen, from the first request on. MR_BAD_ARGUMENT: the path does not start with "/" or
 * exceeds 255 bytes. 64 paths are kept. */
MR_API int mr_http_page(mr_runtime *rt, const char *path, bool on);
/* Who may read a page of the host's: MR_PAGE_VIEWERS: who sees the page "/" for browsers, see
 * mr_http_show; MR_PAGE_ADMINS: POST requests with the token, and no others. */
enum { MR_PAGE_ALL, MR_PAGE_CONSOLE, MR_PAGE_VIEWERS, MR_PAGE_ADMINS };
/* mr_http_page and mr_console_page for each of them. */
MR_API int mr_http_page_for(mr_runtime *rt, const char *path, int audience, bool on);
/* Where the next mr_http_listen serves "/", the page for browsers, and its data, "/status". They name
 * users, hosts, queues and places in the program. MR_SHOW_LOCAL, the default: at loopback addresses
 * and sockets' paths, to requests for an address or localhost (not for another site's name) that no
 * proxy passes on; at loopback addresses MR_SHOW_EVERYWHERE asks for that name, too. `token`:
 * of Authorization: Bearer, up to 511 bytes, for MR_PAGE_ADMINS; NULL: POST is not served. */
enum { MR_SHOW_LOCAL, MR_SHOW_EVERYWHERE, MR_SHOW_NOWHERE };
MR_API int mr_http_show(mr_runtime *rt, int where, const char *token);
/* The same, also for the server that runs. */
MR_API int mr_http_show_now(mr_runtime *rt, int where, const char *token);
/* Answers the request with this token: a status code from 200 to 599, a content type of up to 127
 * bytes, a body (copied). MR_OK also if the request has already ended. */
MR_API int mr_http_answer(mr_runtime *rt, uint64_t token, int code, const char *type,
	const char *body, size_t size);
/* Answers a console's request with a body that comes bit by bit: the client gets what is written until
 * mr_http_end, which must also be called when it has left (see mr_console_page). `room`: bytes that wait
 * for one that reads slowly, at most 16 MiB. */
MR_API int mr_http_stream(mr_runtime *rt, uint64_t token, const char *type, size_t room);
/* All of it or nothing; MR_BACKPRESSURE: there is no room. MR_CLOSED: no such answer. */
MR_API int mr_http_write(mr_runtime *rt, uint64_t token, const char *data, size_t size);
MR_API int mr_http_end(mr_runtime *rt, uint64_t token);

/* The console: the same pages by HTTP on a Unix socket that only this user and root can use, for
 * `moonrabbit attach` and for curl --unix-socket. `path` is absolute; NULL: the file PID-NAME.sock in
 * mr_console_folder, where `moonrabbit attach` looks. `name`: of the program, for that file. A file
 * that a dead process left is replaced. 16 clients are served at a time; the file is removed at
 * mr_console_stop and at the end of the runtime. MR_NOT_ALLOWED: a live socket or another file
 * is there, the folder is not ours alone, or it cannot be made; MR_BAD_ARGUMENT: a bad path. */
MR_API int mr_console_start(mr_runtime *rt, const char *path, const char *name, mr_error *error);
MR_API int mr_console_stop(mr_runtime *rt);
MR_API const char *mr_console_path(const mr_runtime *rt); /* borrowed; NULL: there is no console */
/* The folder of consoles of this user: $XDG_RUNTIME_DIR/moonrabbit, else /run/moonrabbit for root, else
 * /tmp/moonrabbit-UID. Writes the NUL-terminated path; false: it does not fit. */
MR_API bool mr_console_folder(char *out, size_t capacity);
/* As mr_http_page, for a page that only the console serves. Its MR_EV_PAGE also has the client's
 * `uid` and `pid`, and the `body` of a POST request of up to 1 MiB. The client waits for its answer
 * without a limit; if it leaves before, an MR_EV_PAGE with its token and without a request tells. */
MR_API int mr_console_page(mr_runtime *rt, const char *path, bool on);

/* ---- the flight recorder ------------------------------------------------------------------- */

/* A runtime keeps the last events of each of its two threads: commands, methods read and written,
 * changes of state, settles, retries, errors, stalls. It costs some nanoseconds an event. */
typedef struct mr_recorded {
	double time; /* seconds since 1970 */
	const char *
		kind; /* "command", "in", "out", "state", "settle", "retry", "dead letter", "error", "stall", "handler" */
	const char *name; /* of the method, the new state...: "basic.deliver"; literals, both */
	uint64_t number;  /* the delivery tag; of a publish or confirm its number; 0: none */
	uint32_t connection,
		consumer; /* 0: of none; a consumer is the number of its MR_BASIC_CONSUME */
	uint32_t count; /* of events in a row, alike but for their numbers: number, number + 1... */
	uint16_t channel; /* 0: of none */
	uint16_t code;    /* of AMQP, in a close; 0: none */
	char text
		[137]; /* routing key, queue, error...: NUL-terminated, cut; of deliveries, publishes and settles 24 bytes */
} mr_recorded;

/* The number of events that runtimes made from now on keep of each thread, rounded up to a power
 * of two; 0: none; at first 4096. */
MR_API void mr_recorder_size(uint32_t events);
/* Writes up to `most` of the last events, the oldest first, and returns their number; -1: the
 * filter is wrong. `filter`: words with a space between them, all of which must fit: connection=N,
 * channel=N, consumer=N, number=N, or a part of kind, name or text; at most 8, and 256 bytes; NULL:
 * all events. */
MR_API int mr_recorder_last(mr_runtime *rt, const char *filter, mr_recorded *out, int most);
/* Adds an event of the host's: "retry", "dead letter", "error" or "handler"; nothing for another. */
MR_API void mr_recorder_note(mr_runtime *rt, const char *kind, uint32_t connection,
	uint16_t channel, uint32_t consumer, uint64_t number, const char *text, size_t text_size);
/* Writes the newest 65536 events at most to a new file of mode 0600, one JSON object a line. MR_NOT_ALLOWED: `error` says
 * why; a file that is there already is not replaced. */
MR_API int mr_recorder_write(mr_runtime *rt, const char *path, mr_error *error);

/* Measures the handlers of one queue, for /metrics. */
typedef struct mr_meter mr_meter;
/* The meter of a queue, valid as long as the runtime. Queues after the first 64 share the meter
 * "(other)", queues that the broker named share "(server-named)". NULL: out of memory; the
 * functions below accept NULL. */
MR_API mr_meter *mr_meter_of(mr_runtime *rt, const char *queue, size_t size);
/* Counts a handler that began at `began` (mr_now) and ends now; returns mr_now. */
MR_API double mr_meter_handled(mr_meter *meter, double began, bool failed);
/* Counts `count` handlers that took `seconds` each and did not fail. */
MR_API void mr_meter_handled_many(mr_meter *meter, double count, double seconds);
/* Counts a message that was handled after its channel was lost: the broker delivers it again. */
MR_API void mr_meter_late(mr_meter *meter);
/* Counts a message that was put aside for a later attempt, or moved to the dead letters. */
MR_API void mr_meter_retried(mr_meter *meter);
MR_API void mr_meter_buried(mr_meter *meter);
/* Sets when the oldest running handler began (mr_now); 0: none runs. */
MR_API void mr_meter_oldest(mr_meter *meter, double began);
/* One more of the queue's consumers was told to take no messages, or takes them again, or has ended. */
MR_API void mr_meter_paused(mr_meter *meter, bool is_paused);
/* Sets the observed number of messages in the queue; negative: unknown. */
MR_API void mr_meter_messages(mr_meter *meter, double count);

/* Publishes that the host has accepted and not finished, for the page /status. The host counts in it,
 * by plain stores. */
typedef struct mr_backlog {
	double in_line;   /* wait to be sent */
	double in_flight; /* sent, without their confirm */
	double aside;     /* wait for a policy or a delay */
	double accepted;  /* all that began: a total */
} mr_backlog;
/* The backlog of the publishers with that name, such as their exchange, valid as long as the runtime.
 * Names after the first 64 share the one of "(other)". NULL: out of memory. */
MR_API mr_backlog *mr_backlog_of(mr_runtime *rt, const char *publisher, size_t size);

/* Metrics of the host's own on /metrics. A name that is not one of Prometheus, or of the runtime's
 * own metrics, is MR_BAD_ARGUMENT; `error` (may be NULL) says why. */
typedef struct mr_metric mr_metric;
enum { MR_COUNTER, MR_GAUGE, MR_HISTOGRAM };
MR_API int mr_metric_new(int type, const char *name, const char *help, const char *const *labels,
	size_t label_count, const double *bounds, size_t bound_count, mr_metric **out,
	mr_error *error);
MR_API void mr_metric_free(mr_metric *m); /* a runtime that shows it keeps it */
MR_API int mr_metric_show(mr_runtime *rt, mr_metric *m, mr_error *error);
/* The words of the series with these label values, as long as the metric: the value; of a histogram
 * the sum, then the count of each bucket and of what is over them. The host alone writes them, with
 * plain stores. NULL: out of memory, or there are 1000 series; one more is made for "(other)". */
MR_API double *mr_metric_words(mr_metric *m, const char *const *values);

/* ---- watchdog ----------------------------------------------------------------------------- */

/* The host's current work, for reports of a stall: the host thread writes it with plain stores, the
 * I/O thread reads it if the host has not polled for long. A host need not write it; a report then
 * only says how long the host has not polled. */
typedef struct mr_mark {
	double turn;       /* add 1 whenever the host starts other work: a message, a task */
	double deadline;   /* mr_now() at which the current work exceeds its time limit; 0: none */
	uint32_t consumer; /* the number of the consumer whose handler runs; 0: none */
	uint32_t busy; /* 0: after a poll without events the host may sleep in its own event loop */
	double memory; /* bytes of its language's memory, for /metrics; 0: unknown */
} mr_mark;
MR_API mr_mark *mr_runtime_mark(mr_runtime *rt); /* borrowed; lives as long as the runtime */
/* Describes a consumer for reports: its queue; its origin, such as "orders.lua:12"; the seconds
 * after which its handler counts as stalled (0: the limit of mr_runtime_watchdog, negative: never);
 * its time limit in seconds (0: none; see mr_mark.deadline). `queue` NULL removes the entry. */
MR_API int mr_consumer_describe(mr_runtime *rt, uint32_t consumer, const char *queue,
	const char *origin, double stall, double time_limit);
/* Sets after how many seconds of the same work the host counts as stalled (default 10; 0: never).
 * The I/O thread logs the stall and its end. If `signal` is not 0, the I/O thread sends it to the
 * calling thread when that thread stalls or exceeds its deadline, unless it waits in a system call;
 * the host installs the signal's handler, which may cause a call of mr_runtime_trace. */
MR_API int mr_runtime_watchdog(mr_runtime *rt, double stall, int signal);
/* True if the I/O thread waits for a stack trace of the host. */
MR_API bool mr_runtime_wants_trace(const mr_runtime *rt);
/* Gives the trace to the I/O thread, for the log; 4 KiB are kept. False: it had not asked. */
MR_API bool mr_runtime_trace(mr_runtime *rt, const char *text, size_t size);

/* ffi: end */
#ifdef __cplusplus
}
#endif
#endif
