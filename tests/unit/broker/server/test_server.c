/* test_server: the broker's thread, over a socket pair.
 * Covers: runtime/broker/server/peer.c by mr_broker_session_feed
 * Covers: runtime/broker/server/registry.c by mr_registry_acquire
 * SPDX-License-Identifier: MIT */
#include "broker_bench.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/server/server.h"

enum { PATIENCE = 60000 }; /* ms, of a busy machine under a sanitizer */

struct wire { /* a client, its socket and what it heard */
	mr_server *server;
	int fd;
	struct client c;
	struct mr_broker *alone; /* a broker of its own, only to write the handshake with */
	struct mr_buffer heard;
};

static void send_all(struct wire *w)
{
	while (mr_buffer_size(&w->c.in)) {
		struct pollfd p = {.fd = w->fd, .events = POLLOUT};
		assert_int_equal(poll(&p, 1, PATIENCE), 1);
		ssize_t n = send(w->fd, mr_buffer_data(&w->c.in), mr_buffer_size(&w->c.in),
			MSG_NOSIGNAL);
		assert_true(n > 0);
		mr_buffer_consume(&w->c.in, (size_t)n);
	}
}

/* Waits for the next method; 0 after so many ms of silence. */
static uint32_t next_method(struct wire *w, int patience)
{
	static const struct mr_guard guard = {1 << 20, UINT16_MAX, 1 << 30};
	for (;;) {
		struct mr_frame f;
		size_t used, want;
		assert_int_equal(mr_frame_next(&guard, mr_buffer_data(&w->heard),
					 mr_buffer_size(&w->heard), &f, &used, &want, NULL),
			MR_OK);
		if (used) {
			uint32_t id = f.type == MR_FRAME_METHOD ? mr_get32(f.payload) : 0;
			mr_buffer_consume(&w->heard, used);
			if (id) return id;
			continue;
		}
		struct pollfd p = {.fd = w->fd, .events = POLLIN};
		uint8_t bytes[4096];
		if (poll(&p, 1, patience) != 1) return 0;
		ssize_t n = recv(w->fd, bytes, sizeof bytes, 0);
		if (n <= 0) return 0;
		put(&w->heard, bytes, (size_t)n);
	}
}

static void begin(struct wire *w)
{
	mr_error error;
	*w = (struct wire){0};
	assert_int_equal(mr_registry_acquire(&w->server, "", &error), MR_OK);
	assert_int_equal(mr_server_connect(w->server, &w->fd, &error), MR_OK);
	w->alone = new_broker();
	arrive(&w->c, w->alone);
	send_all(w);
	assert_int_equal(next_method(w, PATIENCE), MR_M_CONNECTION_START);
	assert_int_equal(next_method(w, PATIENCE), MR_M_CONNECTION_TUNE);
	assert_int_equal(next_method(w, PATIENCE), MR_M_CONNECTION_OPEN_OK);
	assert_int_equal(next_method(w, PATIENCE), MR_M_CHANNEL_OPEN_OK);
}

static void end(struct wire *w)
{
	close(w->fd);
	mr_registry_release(w->server);
	leave(&w->c);
	mr_turn_finish(w->alone);
	mr_broker_close(w->alone);
	mr_buffer_fini(&w->heard);
}

static void block(struct wire *w, bool blocked)
{
	struct mr_server_call c = {.what = MR_SERVER_FAULT,
		.fault = {.kind = MR_FAULT_BLOCK, .number = blocked}};
	assert_int_equal(mr_server_do(w->server, &c), MR_OK);
}

static void test_what_came_while_a_publisher_was_blocked_is_read_when_it_is_not(void **state)
{
	struct wire w;
	(void)state;
	begin(&w);
	block(&w, true);
	say(&w.c, 1, MR_M_CONFIRM_SELECT, "o", 0);
	publish(&w.c, 1, "", "nowhere", 0, NULL, BODY);
	publish(&w.c, 1, "", "nowhere", 0, NULL, BODY);
	say(&w.c, 1, MR_M_TX_SELECT, ""); /* an error: the answer cannot be missed */
	send_all(&w);
	assert_int_equal(next_method(&w, PATIENCE), MR_M_CONFIRM_SELECT_OK);
	assert_int_equal(next_method(&w, PATIENCE), MR_M_BASIC_ACK);
	assert_int_equal(next_method(&w, 100), 0);
	block(&w, false);
	assert_int_equal(next_method(&w, PATIENCE), MR_M_BASIC_ACK);
	assert_int_equal(next_method(&w, PATIENCE), MR_M_CHANNEL_CLOSE);
	end(&w);
}

static void test_a_client_that_asks_without_reading_gets_all_answers_when_it_reads(void **state)
{
	enum { SIZE = 1 << 20, TIMES = 150 };
	struct wire w;
	char *body = calloc(1, SIZE);
	(void)state;
	begin(&w);
	assert_non_null(body);
	QUEUE_DECLARE(&w.c, 1, "q", 0, NULL);
	publish(&w.c, 1, "", "q", 0, NULL, mr_slice_of(body, SIZE));
	for (int i = 1; i <= TIMES; i++) {
		GET(&w.c, 1, "q", 0);
		NACK(&w.c, 1, i, 2);
	}
	send_all(&w);
	assert_int_equal(next_method(&w, PATIENCE), MR_M_QUEUE_DECLARE_OK);
	for (int i = 0; i < TIMES; i++)
		assert_int_equal(next_method(&w, PATIENCE), MR_M_BASIC_GET_OK);
	free(body);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_what_came_while_a_publisher_was_blocked_is_read_when_it_is_not),
		cmocka_unit_test(
			test_a_client_that_asks_without_reading_gets_all_answers_when_it_reads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
