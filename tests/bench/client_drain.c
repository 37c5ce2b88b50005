/* client_drain: the least a client can do, to show what the peer can do. Consuming, it reads as
 * much as it can get, only looks for the tag in each frame, and acks once per read; publishing, it
 * writes blocks of encoded messages. Modes: consume, consume-noack, publish, publish-confirm. */
// SPDX-License-Identifier: MIT
#include "client_util.h"
#include "peer_wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_SIZE = 512 * 1024, READ_SIZE = 256 * 1024, FRAME_MAX = 131072 };

static const char client_name[] = "drain";

struct drain {
	int fd;
	size_t kept;
	uint64_t tag, messages; /* highest delivery or confirm tag; messages seen complete */
	uint64_t body_left;
	uint32_t last_method;
	uint8_t input[INPUT_SIZE];
};

static struct drain drain;

static void check(bool is_good, const char *what)
{
	if (!is_good) bench_fail(client_name, what);
}

static void write_all(const uint8_t *data, size_t length)
{
	while (length > 0) {
		const ssize_t n = send(drain.fd, data, length, MSG_NOSIGNAL);
		check(n > 0, "cannot write");
		data += n;
		length -= (size_t)n;
	}
}

static void send_out(struct wire_out *out)
{
	check(!out->is_bad, "out of memory");
	write_all(out->data, out->length);
	out->length = 0;
}

static void see_frame(const uint8_t *head, uint32_t size)
{
	const uint8_t *payload = head + FRAME_HEAD;
	if (head[0] == FRAME_METHOD) {
		drain.last_method = wire_load32(payload);
		if (drain.last_method == METHOD(60, 60))
			drain.tag = wire_load64(payload + 5 + payload[4]);
		if (drain.last_method == METHOD(60, 80)) drain.tag = wire_load64(payload + 4);
	} else if (head[0] == FRAME_HEADER) {
		drain.body_left = wire_load64(payload + 4);
		if (drain.body_left == 0) drain.messages++;
	} else if (head[0] == FRAME_BODY) {
		drain.body_left -= size;
		if (drain.body_left == 0) drain.messages++;
	}
}

static void read_some(void)
{
	const ssize_t n = recv(drain.fd, drain.input + drain.kept, READ_SIZE, 0);
	check(n > 0, "the peer closed the connection");
	const size_t length = drain.kept + (size_t)n;
	size_t at = 0;
	while (length - at >= FRAME_OVERHEAD) {
		const uint32_t size = wire_load32(drain.input + at + 3);
		if (length - at < size + FRAME_OVERHEAD) break;
		see_frame(drain.input + at, size);
		at += size + FRAME_OVERHEAD;
	}
	drain.kept = length - at;
	memmove(drain.input, drain.input + at, drain.kept);
}

static void await(uint32_t method)
{
	while (drain.last_method != method) read_some();
}

static void put_method(struct wire_out *out, uint16_t channel, uint32_t method, const char *more,
	size_t length)
{
	wire_begin_method(out, channel, method);
	wire_put_bytes(out, more, length);
	wire_end(out);
}

static void open_connection(uint16_t port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
	};
	struct wire_out out = {0};

	drain.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(connect(drain.fd, (const struct sockaddr *)&address, sizeof address) == 0,
		"cannot connect");
	setsockopt(drain.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	wire_put_bytes(&out, "AMQP\0\0\x09\x01", 8);
	put_method(&out, 0, METHOD(10, 11), "\0\0\0\0\5PLAIN\0\0\0\0\5en_US", 20);
	put_method(&out, 0, METHOD(10, 31), "\0\0\0\2\0\0\0\0", 8);
	put_method(&out, 0, METHOD(10, 40), "\1/\0\0", 4);
	put_method(&out, 1, METHOD(20, 10), "", 1);
	send_out(&out);
	await(METHOD(20, 11));
	wire_fini(&out);
}

static void close_channel(void)
{
	struct wire_out out = {0};
	put_method(&out, 1, METHOD(20, 40), "\0\0\0\0\0\0\0", 7);
	send_out(&out);
	await(METHOD(20, 41));
	wire_fini(&out);
}

static void consume(const struct bench_args *args, bool no_ack)
{
	struct wire_out out = {0};
	struct bench_span span;

	put_method(&out, 1, METHOD(60, 10), "\0\0\0\0\x03\xe8", 7); /* prefetch 1000 */
	put_method(&out, 1, METHOD(60, 20),
		no_ack ? "\0\0\5bench\5bench\2\0\0\0" : "\0\0\5bench\5bench\0\0\0\0", 19);
	send_out(&out);
	while (drain.messages == 0) read_some();
	bench_start(&span);
	while (drain.messages < args->messages) {
		if (!no_ack) {
			/* The last tag may belong to a message of which only a part is here. */
			wire_begin_method(&out, 1, METHOD(60, 80));
			wire_put64(&out, drain.messages);
			wire_put8(&out, 1);
			wire_end(&out);
			send_out(&out);
		}
		const uint64_t before = drain.messages;
		while (drain.messages == before) read_some();
	}
	bench_stop(&span);
	bench_print(client_name, args, args->messages - 1, &span);
	wire_fini(&out);
}

static void publish(const struct bench_args *args, bool confirms)
{
	uint8_t *body = calloc(1, args->body + 1);
	struct wire_out one = {0}, block = {0};
	struct bench_span span;

	check(body, "out of memory");
	if (confirms) {
		put_method(&one, 1, METHOD(85, 10), "", 1);
		send_out(&one);
	}
	put_method(&one, 1, METHOD(60, 40), "\0\0\0\5bench\0", 10);
	wire_put_content(&one, 1, body, args->body, FRAME_MAX);
	uint64_t copies = READ_SIZE / one.length;
	if (copies == 0) copies = 1;
	if (confirms && copies > BENCH_OUTSTANDING / 2) copies = BENCH_OUTSTANDING / 2;
	for (uint64_t i = 0; i < copies; i++) wire_put_bytes(&block, one.data, one.length);
	check(!block.is_bad, "out of memory");
	bench_start(&span);
	for (uint64_t n = 0; n < args->messages;) {
		const uint64_t left = args->messages - n;
		const uint64_t count = left < copies ? left : copies;
		write_all(block.data, (size_t)count * one.length);
		n += count;
		while (confirms && n - drain.tag > BENCH_OUTSTANDING - copies) read_some();
	}
	close_channel();
	bench_stop(&span);
	bench_print(client_name, args, args->messages, &span);
	wire_fini(&one);
	wire_fini(&block);
	free(body);
}

int main(int argc, char **argv)
{
	const struct bench_args args = bench_parse(argc, argv);

	open_connection(args.port);
	if (strcmp(args.mode, "consume") == 0)
		consume(&args, false);
	else if (strcmp(args.mode, "consume-noack") == 0)
		consume(&args, true);
	else if (strcmp(args.mode, "publish") == 0)
		publish(&args, false);
	else if (strcmp(args.mode, "publish-confirm") == 0)
		publish(&args, true);
	else
		bench_fail(client_name, "unknown mode");
	close(drain.fd);
	return 0;
}
