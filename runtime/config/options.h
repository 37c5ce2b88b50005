/* options: a connection's options, set by name and checked one by one.
 * SPDX-License-Identifier: MIT
 * Pure. One table of all options: it validates them, and generates docs/configuration.md. */
#ifndef MR_CONFIG_OPTIONS_H
#define MR_CONFIG_OPTIONS_H

#include "base/slice.h"
#include "base/status.h"

/* X(C name, option name, type, minimum, maximum, default as text, meaning) */
#define MR_OPTIONS(X)                                                                                   \
	X(URL, "url", STRING, 0, 0, "amqp://localhost",                                                 \
		"amqp:// or amqps:// URL; several hosts separated by commas")                           \
	X(HOSTNAME, "hostname", STRING, 0, 0, "localhost",                                              \
		"host name or address; several separated by commas")                                    \
	X(HOSTS, "hosts", STRING, 0, 0, "shuffled",                                                     \
		"order of several hosts: shuffled, once for each connection; in_order: as given")       \
	X(PORT, "port", NUMBER, 1, 65535, "5672, with TLS 5671", "TCP port")                            \
	X(USERID, "userid", STRING, 0, 0, "guest", "user name")                                         \
	X(PASSWORD, "password", STRING, 0, 0, "guest", "password")                                      \
	X(VIRTUAL_HOST, "virtual_host", STRING, 0, 0, "/", "virtual host")                              \
	X(NAME, "name", STRING, 0, 0, "SCRIPT@HOST; in C the machine's host name",                      \
		"connection_name in the management UI")                                                 \
	X(CLIENT_PROPERTIES, "client_properties", TABLE, 0, 0, "",                                      \
		"additional client properties, merged with the library's")                              \
	X(HEARTBEAT, "heartbeat", NUMBER, 0, 65535, "60", "seconds; 0 turns heartbeats off")            \
	X(HEARTBEAT_MODE, "heartbeat_mode", STRING, 0, 0, "thread",                                     \
		"thread: sent by the I/O thread; loop: only while the script runs its loop")            \
	X(CONNECT_TIMEOUT, "connect_timeout", NUMBER, 0.001, 86400, "5",                                \
		"seconds for a whole connect")                                                          \
	X(SOCKET_TIMEOUT, "socket_timeout", NUMBER, 0.001, 86400, "10",                                 \
		"seconds for TCP and TLS of one address")                                               \
	X(RPC_TIMEOUT, "rpc_timeout", NUMBER, 0.001, 86400, "10",                                       \
		"seconds for an answer or a confirm")                                                   \
	X(CLOSE_TIMEOUT, "close_timeout", NUMBER, 0.001, 86400, "5", "seconds for a clean close")       \
	X(BLOCKED, "blocked_connection_timeout", NUMBER, 0, 86400, "none",                              \
		"seconds of a block after which the connection is closed; 0: no limit")                 \
	X(RECOVER, "recover", BOOLEAN, 0, 0, "true",                                                    \
		"reconnect after a loss, and restore channels and consumers")                           \
	X(CONSUMER_CHECK, "consumer_check", NUMBER, 0, 86400, "60",                                     \
		"seconds without a message after which a look is taken whether the broker still knows " \
		"a consumer; 0: never")                                                                 \
	X(RECOVER_TOPOLOGY, "recover.topology", BOOLEAN, 0, 0, "true",                                  \
		"also restore exchanges, queues and bindings")                                          \
	X(MAX_RETRIES, "transport_options.max_retries", NUMBER, 0, 1000000000, "no limit",              \
		"tries after the first one; 0: none")                                                   \
	X(INTERVAL_START, "transport_options.interval_start", NUMBER, 0, 86400, "0",                    \
		"seconds before the first retry")                                                       \
	X(INTERVAL_STEP, "transport_options.interval_step", NUMBER, 0, 86400, "2",                      \
		"seconds added before each further retry")                                              \
	X(INTERVAL_MAX, "transport_options.interval_max", NUMBER, 0, 86400, "30",                       \
		"maximum seconds between two retries")                                                  \
	X(ATTEMPTS, "connection_attempts", NUMBER, 1, 1000000000, "1",                                  \
		"passes over all hosts; an alternative to transport_options")                           \
	X(RETRY_DELAY, "retry_delay", NUMBER, 0, 86400, "2", "seconds between two passes")              \
	X(SSL, "ssl", BOOLEAN, 0, 0, "false, with amqps:// true", "use TLS")                            \
	X(SSL_CA_CERTS, "ssl_options.ca_certs", STRING, 0, 0, "the system's",                           \
		"PEM file of the CAs to trust")                                                         \
	X(SSL_CERTFILE, "ssl_options.certfile", STRING, 0, 0, "",                                       \
		"PEM file of the client certificate")                                                   \
	X(SSL_KEYFILE, "ssl_options.keyfile", STRING, 0, 0, "in certfile", "PEM file of its key")       \
	X(SSL_PASSWORD, "ssl_options.password", STRING, 0, 0, "",                                       \
		"password of an encrypted keyfile")                                                     \
	X(SSL_VERIFY, "ssl_options.verify", BOOLEAN, 0, 0, "true",                                      \
		"verify the broker's certificate and name")                                             \
	X(SSL_SERVER_NAME, "ssl_options.server_name", STRING, 0, 0, "the host",                         \
		"name to verify, and to send as SNI")                                                   \
	X(SSL_MIN_VERSION, "ssl_options.min_version", STRING, 0, 0, "1.2",                              \
		"minimum TLS version: 1.2 or 1.3")                                                      \
	X(AUTH, "auth", STRING, 0, 0, "plain", "plain, or external: by client certificate")             \
	X(INSIST, "insist", BOOLEAN, 0, 0, "false", "the insist bit of connection.open")                \
	X(CHANNEL_MAX, "channel_max", NUMBER, 0, 65535, "2047",                                         \
		"maximum number of channels; 0: as many as the broker allows")                          \
	X(FRAME_MAX, "frame_max", NUMBER, 0, 2147483647, "131072",                                      \
		"bytes; 0: the broker's value, else at least 4096")                                     \
	X(MAX_MESSAGE_SIZE, "max_message_size", NUMBER, 0, 4294967296.0, "134217728",                   \
		"maximum bytes of a body, received or published")

enum mr_option_type { MR_OPTION_STRING, MR_OPTION_NUMBER, MR_OPTION_BOOLEAN, MR_OPTION_TABLE };

#define MR_OPTION_ENUM_(upper, name, type, least, most, usual, text) MR_OPT_##upper,
enum mr_option_id { MR_OPTIONS(MR_OPTION_ENUM_) MR_OPTION_COUNT };

struct mr_option_value {
	bool is_set;
	bool boolean;
	double number;
	char *string; /* NUL-terminated */
	mr_table *table;
};

struct mr_options {
	struct mr_option_value values[MR_OPTION_COUNT];
};

/* Sets an option from text, as in a URL's query: numbers and booleans are parsed. */
enum mr_status mr_options_text(mr_options *o, const char *name, mr_slice text, mr_error *error);

#endif
