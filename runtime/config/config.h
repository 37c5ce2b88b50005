/* config: a connection's options, checked and resolved: plain data for the I/O thread.
 * SPDX-License-Identifier: MIT
 * Any thread; immutable after mr_config_resolve. api makes it; link, engine and health read it. */
#ifndef MR_CONFIG_CONFIG_H
#define MR_CONFIG_CONFIG_H

#include "base/clock.h"
#include "base/status.h"

struct mr_config_host {
	char *name;
	uint16_t port;
};

/* When to try again. */
enum mr_retry_style {
	MR_RETRY_JITTER, /* ours: random up to a doubling bound; not for the first connect */
	MR_RETRY_LINEAR, /* kombu's: start + n * step, at most max */
	MR_RETRY_FIXED   /* pika's: a number of attempts, with a pause between two */
};

struct mr_retry {
	enum mr_retry_style style;
	mr_msec start, step, max;
	int64_t retries; /* after the first try; -1: no limit */
};

struct mr_config {
	struct mr_config_host *hosts; /* at least one, in the order to try */
	size_t host_count;
	bool hosts_in_order; /* hosts = "in_order" */
	char *gateway; /* the URL of Redis, with its password; NULL: another transport. `memory` is set, too */
	bool memory; /* the embedded broker; its name is the first host's, "": the runtime's own */
	char *user, *password, *vhost, *name; /* name: connection_name */
	char *mechanism;                      /* "PLAIN" or "EXTERNAL" */
	mr_table *client_properties;          /* NULL: none */
	bool tls, tls_verify;
	char *tls_ca, *tls_cert, *tls_key, *tls_server_name, *tls_min_version; /* NULL: not given */
	char *tls_password;     /* of an encrypted key; NULL: not given */
	uint16_t heartbeat;     /* seconds */
	bool heartbeat_in_loop; /* heartbeat_mode = "loop" */
	bool insist;
	uint16_t channel_max;
	uint32_t frame_max;
	uint64_t max_message_size;
	mr_msec connect_timeout, socket_timeout, rpc_timeout, close_timeout;
	mr_msec blocked_timeout; /* 0: none */
	mr_msec consumer_check;  /* 0: never */
	bool recover, recover_topology;
	struct mr_retry retry;
	char *url; /* redacted, for output */
};

/* Fills `out` from the options. MR_BAD_OPTION (also if they contradict each other), MR_BAD_URI,
 * MR_NO_MEMORY. */
enum mr_status mr_config_resolve(struct mr_config *out, const mr_options *options, mr_error *error);
/* Puts the hosts into a random order, so that the clients of a cluster spread over its nodes; unless the program
 * wants them in its order. `random` is not 0. */
void mr_config_shuffle_hosts(struct mr_config *config, uint64_t random);
void mr_config_fini(struct mr_config *config); /* `config` may be zeroed */

#endif
