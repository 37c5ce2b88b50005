/* ngx_mr: what the files of the nginx module share.
 * SPDX-License-Identifier: MIT
 *
 *   module     the directives           options    what a directive says
 *   runtime    events, tokens, the end  broker     one connection of this worker
 *   publish    a request as a message   lane       a channel with confirms, for one exchange
 *   subscribe  a queue as events        sse        the text of an event
 *   health     the page                    show       text of others in the log
 *
 * All of it runs on nginx's thread. Nothing waits: requests are resumed by events of the library. */
#ifndef NGX_MR_H
#define NGX_MR_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
#include <moonrabbit.h>

typedef struct ngx_mr_object_s ngx_mr_object_t;
typedef struct ngx_mr_broker_s ngx_mr_broker_t;
typedef struct ngx_mr_lane_s ngx_mr_lane_t;
typedef struct ngx_mr_publish_s ngx_mr_publish_t;
typedef struct ngx_mr_stream_s ngx_mr_stream_t;

/* ---- configuration ---------------------------------------------------------------------------- */

/* A URL with its options. Locations with the same text share one connection in each worker. */
typedef struct {
	ngx_str_t text;
	ngx_mr_broker_t *broker; /* of this worker; NULL: not begun */
} ngx_mr_url_t;

typedef struct {
	ngx_http_complex_value_t *exchange, *key, *message, *content_type, *message_id, *persistent;
	ngx_msec_t timeout;
	ngx_flag_t mandatory;
} ngx_mr_publish_conf_t;

typedef struct {
	ngx_http_complex_value_t *queue, *exchange, *key;
	ngx_int_t prefetch;
	ngx_msec_t keepalive, retry;
} ngx_mr_subscribe_conf_t;

typedef struct {
	ngx_array_t urls; /* ngx_mr_url_t *, of all locations that publish or subscribe */
} ngx_mr_main_conf_t;

typedef struct {
	ngx_str_t text; /* of moonrabbit_url */
	ngx_mr_url_t *url;
	ngx_mr_publish_conf_t *publish;
	ngx_mr_subscribe_conf_t *subscribe;
} ngx_mr_loc_conf_t;

extern ngx_module_t ngx_http_moonrabbit_module;

/* The directives: each reads its arguments. */
char *ngx_mr_read_url(ngx_conf_t *cf, ngx_command_t *command, void *conf);
char *ngx_mr_read_publish(ngx_conf_t *cf, ngx_command_t *command, void *conf);
char *ngx_mr_read_subscribe(ngx_conf_t *cf, ngx_command_t *command, void *conf);
/* Lists the URL of a location that needs one, and checks it with its options. */
char *ngx_mr_list_url(ngx_conf_t *cf, ngx_mr_loc_conf_t *conf);
/* Makes the library's options of a URL. NULL: `error` says why. */
mr_options *ngx_mr_options(const ngx_str_t *url, mr_error *error);

/* ---- runtime ---------------------------------------------------------------------------------- */

/* What makes requests to the library, or consumes: its number is in their tokens, and in the
 * consumer's deliveries. So an answer for what has ended meanwhile finds nobody. */
struct ngx_mr_object_s {
	ngx_rbtree_node_t node; /* key: the number */
	void (*handler)(ngx_mr_object_t *object, ngx_uint_t step, mr_event *ev);
};

/* The worker's runtime, begun at the first call; NULL: it cannot be. */
mr_runtime *ngx_mr_runtime(void);
/* Ends the runtime with the worker: what is sent already gets to the broker. */
void ngx_mr_runtime_end(void);
void ngx_mr_object_add(ngx_mr_object_t *object,
	void (*handler)(ngx_mr_object_t *, ngx_uint_t, mr_event *));
void ngx_mr_object_remove(ngx_mr_object_t *object);
/* The token of one of its requests; `step`, from 0 to 7, says which. */
uint64_t ngx_mr_token(const ngx_mr_object_t *object, ngx_uint_t step);
/* The response that a status means. 503: the message was not published, try again. 504: nobody
 * knows. */
ngx_int_t ngx_mr_http_status(int status);

/* ---- brokers ---------------------------------------------------------------------------------- */

/* The connection of this worker to one URL. It is kept open: by the library after a loss, by
 * `retry` where the library does not try (again). */
struct ngx_mr_broker_s {
	ngx_mr_object_t object;
	ngx_queue_t queue; /* of all brokers */
	mr_connection *connection;
	ngx_queue_t lanes, streams;
	ngx_uint_t lane_count, failures;
	ngx_event_t retry;
	unsigned is_first:1; /* the first connect has no outcome yet: requests wait for it */
};

/* The broker of this worker; NULL: out of memory, or no runtime. */
ngx_mr_broker_t *ngx_mr_broker(ngx_mr_url_t *url);
/* An event of a connection, a channel, a consumer or a publish. */
void ngx_mr_broker_event(mr_event *ev);
ngx_uint_t ngx_mr_broker_is_open(const ngx_mr_broker_t *b);
/* nginx quits: ends all streams of this worker, which would keep it alive. */
void ngx_mr_brokers_drain(void);

/* ---- publishes and their lanes ---------------------------------------------------------------- */

/* A channel in confirm mode for one exchange: the broker closes the channel of a publish to an
 * exchange that is missing, and nobody else shall suffer from that. */
struct ngx_mr_lane_s {
	ngx_mr_object_t object;
	ngx_queue_t queue; /* of its broker: used last, comes first */
	ngx_mr_broker_t *broker;
	mr_channel *channel; /* NULL: none yet, or the broker has closed it */
	uint32_t epoch;
	ngx_queue_t line;      /* publishes that wait for the channel */
	ngx_uint_t unanswered; /* publishes in line or sent */
	/* Publishes of this epoch, also those whose clients have gone: sent; of them, confirmed, nacked
	 * or returned. */
	uint64_t sent, settled;
	unsigned is_ready:1;
	unsigned is_closing:1; /* another lane needs its channel's number */
	size_t exchange_size;
	u_char exchange[255];
};

/* A request that becomes a message. */
struct ngx_mr_publish_s {
	ngx_rbtree_node_t node; /* while it is sent; key: its number on its channel */
	uint32_t epoch;         /* of that channel */
	unsigned is_in_line:1;
	unsigned is_sent:1;
	ngx_queue_t queue; /* in its lane's line, while it is not sent */
	ngx_mr_lane_t *lane;
	ngx_http_request_t *request;
	const ngx_mr_publish_conf_t *conf;
	ngx_event_t timer; /* it also keeps a worker that quits until the answer */
	ngx_str_t exchange, key, message, content_type, content_encoding, message_id;
	ngx_uint_t is_persistent;
};

ngx_int_t ngx_mr_publish_handler(ngx_http_request_t *r);
/* Gives the message to the library; fills number and epoch. */
int ngx_mr_publish_send(ngx_mr_publish_t *p);
/* Answers the request. */
void ngx_mr_publish_end(ngx_mr_publish_t *p, int status);

/* Sends the message, or puts it in line until the channel is open. Another status than MR_OK: it is
 * not published. */
int ngx_mr_lane_publish(ngx_mr_broker_t *b, ngx_mr_publish_t *p);
/* Takes the publish out of its lane: it is answered, or its client has gone. */
void ngx_mr_lane_forget(ngx_mr_publish_t *p);
void ngx_mr_lane_confirmed(ngx_mr_broker_t *b, const mr_event *ev);
/* The connection is open, or not to be had: opens the channels of those in line, or answers them. */
void ngx_mr_lanes_go(ngx_mr_broker_t *b);
void ngx_mr_lanes_fail(ngx_mr_broker_t *b);
/* A channel has ended for good, or come back. */
void ngx_mr_lanes_changed(ngx_mr_broker_t *b, const mr_event *ev);

/* ---- streams of events ------------------------------------------------------------------------ */

ngx_int_t ngx_mr_subscribe_handler(ngx_http_request_t *r);
void ngx_mr_streams_go(ngx_mr_broker_t *b);
/* The connection is not to be had: ends those that wait for it, or all. */
void ngx_mr_streams_fail(ngx_mr_broker_t *b, ngx_uint_t all);
void ngx_mr_streams_changed(ngx_mr_broker_t *b, const mr_event *ev);
/* The worker quits. */
void ngx_mr_streams_end(ngx_mr_broker_t *b);

/* Writes the message as a server-sent event, and returns its end. `to` NULL: only the size counts. */
size_t ngx_mr_sse_write(const mr_delivery *d, u_char *to);

/* ---- the log ---------------------------------------------------------------------------------- */

#define NGX_MR_SHOWN 255 /* bytes: as long as a name of AMQP may be */
/* The text, which may be a client's, with ? for what would end the line, or the quotes around it. */
ngx_str_t ngx_mr_show(const ngx_str_t *text, u_char buffer[NGX_MR_SHOWN]);

/* ---- health ----------------------------------------------------------------------------------- */

ngx_int_t ngx_mr_health_handler(ngx_http_request_t *r);

#endif
