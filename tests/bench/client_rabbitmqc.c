/* client_rabbitmqc: the bench's yardstick, rabbitmq-c as in its own examples: blocking calls, one
 * ack per message. Modes: consume, consume-noack, publish, publish-confirm, rtt, confirm-one, stream.
 * BENCH_CA=FILE: by TLS 1.3, the server's certificate verified by that file, as amqps_producer.c does. */
// SPDX-License-Identifier: MIT
#include "client_util.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

enum { CHANNEL = 1, TRIP_WARM_UP = 100 };

static const char client_name[] = "rabbitmq-c";

static volatile unsigned char body_read; /* keeps the reading of bodies alive */

static void check(bool is_good, const char *what)
{
	if (!is_good) bench_fail(client_name, what);
}

static void check_reply(amqp_connection_state_t conn, const char *what)
{
	check(amqp_get_rpc_reply(conn).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static amqp_socket_t *new_socket(amqp_connection_state_t conn)
{
	const char *ca = getenv("BENCH_CA");
	if (!ca) return amqp_tcp_socket_new(conn);
	amqp_socket_t *socket = amqp_ssl_socket_new(conn);
	if (!socket) return NULL;
	amqp_ssl_socket_set_verify_peer(socket, true);
	amqp_ssl_socket_set_verify_hostname(socket, true);
	check(amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) == 0 &&
			amqp_ssl_socket_set_cacert(socket, ca) == 0,
		"cannot prepare TLS");
	return socket;
}

static amqp_connection_state_t open_connection(uint16_t port)
{
	amqp_connection_state_t conn = amqp_new_connection();
	amqp_socket_t *socket = conn ? new_socket(conn) : NULL;
	check(socket && amqp_socket_open(socket, "localhost", port) == 0, "cannot connect");
	const amqp_rpc_reply_t reply =
		amqp_login(conn, "/", 0, 131072, 60, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
	check(reply.reply_type == AMQP_RESPONSE_NORMAL, "cannot log in");
	amqp_channel_open(conn, CHANNEL);
	check_reply(conn, "cannot open a channel");
	return conn;
}

static void close_connection(amqp_connection_state_t conn)
{
	amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(conn);
}

static void start_consumer(amqp_connection_state_t conn, const char *queue, bool no_ack,
	amqp_table_t arguments)
{
	amqp_basic_consume(conn, CHANNEL, amqp_cstring_bytes(queue), amqp_cstring_bytes(queue),
		false, no_ack, false, arguments);
	check_reply(conn, "cannot consume");
}

static amqp_envelope_t next_message(amqp_connection_state_t conn)
{
	amqp_envelope_t envelope;
	amqp_maybe_release_buffers(conn);
	const amqp_rpc_reply_t reply = amqp_consume_message(conn, &envelope, NULL, 0);
	check(reply.reply_type == AMQP_RESPONSE_NORMAL, "cannot receive");
	if (envelope.message.body.len) body_read = *(unsigned char *)envelope.message.body.bytes;
	return envelope;
}

static void consume(const struct bench_args *args, const char *queue, bool no_ack,
	amqp_table_t arguments)
{
	amqp_connection_state_t conn = open_connection(args->port);
	struct bench_span span = {0};

	if (!no_ack) {
		amqp_basic_qos(conn, CHANNEL, 0, BENCH_PREFETCH, false);
		check_reply(conn, "cannot set the prefetch");
	}
	start_consumer(conn, queue, no_ack, arguments);
	for (uint64_t n = 0; n < args->messages; n++) {
		amqp_envelope_t envelope = next_message(conn);
		if (n == 0) bench_start(&span);
		const uint64_t tag = envelope.delivery_tag;
		amqp_destroy_envelope(&envelope);
		if (!no_ack) check(amqp_basic_ack(conn, CHANNEL, tag, false) == 0, "cannot ack");
	}
	bench_stop(&span);
	bench_print(client_name, args, args->messages - 1, &span);
	close_connection(conn);
}

static void read_stream(const struct bench_args *args)
{
	amqp_table_entry_t offset = {.key = amqp_cstring_bytes("x-stream-offset")};
	offset.value.kind = AMQP_FIELD_KIND_UTF8;
	offset.value.value.bytes = amqp_cstring_bytes("first");
	consume(args, "bench-stream", false, (amqp_table_t){1, &offset});
}

static void publish_one(amqp_connection_state_t conn, const char *key, amqp_bytes_t body)
{
	const amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG,
		.content_type = amqp_cstring_bytes("text/plain"),
		.delivery_mode = 1,
	};
	const int status = amqp_basic_publish(conn, CHANNEL, amqp_empty_bytes,
		amqp_cstring_bytes(key), false, false, &properties, body);
	check(status == AMQP_STATUS_OK, "cannot publish");
}

/* Waits for one confirm and gives the number of messages it settles. */
static uint64_t await_confirm(amqp_connection_state_t conn, uint64_t settled)
{
	amqp_frame_t frame;
	amqp_maybe_release_buffers(conn);
	check(amqp_simple_wait_frame(conn, &frame) == AMQP_STATUS_OK, "cannot wait for a confirm");
	check(frame.frame_type == AMQP_FRAME_METHOD &&
			frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
		"got something else than a confirm");
	const amqp_basic_ack_t *ack = frame.payload.method.decoded;
	return ack->multiple ? ack->delivery_tag - settled : 1;
}

/* Measured up to channel.close-ok, so that the peer has taken every message. */
static void publish(const struct bench_args *args, bool confirms)
{
	amqp_connection_state_t conn = open_connection(args->port);
	amqp_bytes_t body = amqp_bytes_malloc(args->body);
	struct bench_span span;
	uint64_t settled = 0;

	check(body.bytes, "out of memory");
	memset(body.bytes, 'x', args->body);
	if (confirms) {
		amqp_confirm_select(conn, CHANNEL);
		check_reply(conn, "cannot select confirms");
	}
	bench_start(&span);
	for (uint64_t n = 0; n < args->messages; n++) {
		publish_one(conn, "bench", body);
		while (confirms && n + 1 - settled >= BENCH_OUTSTANDING)
			settled += await_confirm(conn, settled);
	}
	while (confirms && settled < args->messages) settled += await_confirm(conn, settled);
	amqp_channel_close(conn, CHANNEL, AMQP_REPLY_SUCCESS);
	check_reply(conn, "cannot close the channel");
	bench_stop(&span);
	bench_print(client_name, args, args->messages, &span);
	amqp_bytes_free(body);
	close_connection(conn);
}

static void declare(amqp_connection_state_t conn, const char *queue)
{
	amqp_queue_declare(conn, CHANNEL, amqp_cstring_bytes(queue), false, false, true, true,
		amqp_empty_table);
	check_reply(conn, "cannot declare a queue");
}

/* Publishes to one queue, takes the message from it, replies to another, takes the reply. */
static void round_trip(amqp_connection_state_t conn, amqp_bytes_t body)
{
	publish_one(conn, "bench-rabbitmqc-a", body);
	amqp_envelope_t request = next_message(conn);
	publish_one(conn, "bench-rabbitmqc-b", request.message.body);
	amqp_destroy_envelope(&request);
	amqp_envelope_t answer = next_message(conn);
	amqp_destroy_envelope(&answer);
}

/* Publishes a message and waits for its confirm. */
static void confirmed_publish(amqp_connection_state_t conn, amqp_bytes_t body)
{
	publish_one(conn, "bench-rabbitmqc-a", body);
	await_confirm(conn, 0);
}

static void prepare_trips(amqp_connection_state_t conn, bool confirms)
{
	declare(conn, "bench-rabbitmqc-a");
	if (confirms) {
		amqp_confirm_select(conn, CHANNEL);
		check_reply(conn, "cannot select confirms");
		return;
	}
	declare(conn, "bench-rabbitmqc-b");
	start_consumer(conn, "bench-rabbitmqc-a", true, amqp_empty_table);
	start_consumer(conn, "bench-rabbitmqc-b", true, amqp_empty_table);
}

/* One trip after the other; with confirms a trip is a confirmed publish. */
static void trips_of(const struct bench_args *args, bool confirms)
{
	amqp_connection_state_t conn = open_connection(args->port);
	amqp_bytes_t body = amqp_bytes_malloc(args->body);
	double *trips = calloc((size_t)args->messages, sizeof *trips);
	void (*const trip)(amqp_connection_state_t, amqp_bytes_t) =
		confirms ? confirmed_publish : round_trip;
	struct bench_span span;

	check(body.bytes && trips, "out of memory");
	memset(body.bytes, 'x', args->body);
	prepare_trips(conn, confirms);
	for (int i = 0; i < TRIP_WARM_UP; i++) trip(conn, body);
	bench_start(&span);
	for (uint64_t n = 0; n < args->messages; n++) {
		const double start = bench_now();
		trip(conn, body);
		trips[n] = bench_now() - start;
	}
	bench_stop(&span);
	bench_print_trips(client_name, args, trips, &span);
	free(trips);
	amqp_bytes_free(body);
	close_connection(conn);
}

int main(int argc, char **argv)
{
	const struct bench_args args = bench_parse(argc, argv);

	if (strcmp(args.mode, "consume") == 0)
		consume(&args, "bench", false, amqp_empty_table);
	else if (strcmp(args.mode, "consume-noack") == 0)
		consume(&args, "bench", true, amqp_empty_table);
	else if (strcmp(args.mode, "stream") == 0)
		read_stream(&args);
	else if (strcmp(args.mode, "publish") == 0)
		publish(&args, false);
	else if (strcmp(args.mode, "publish-confirm") == 0)
		publish(&args, true);
	else if (strcmp(args.mode, "rtt") == 0)
		trips_of(&args, false);
	else if (strcmp(args.mode, "confirm-one") == 0)
		trips_of(&args, true);
	else
		bench_fail(client_name, "unknown mode");
	return 0;
}
