/* fuzz_handshake: any bytes from the peer while the hands are being shaken, as session feeds them.
 * SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/session.h"

static void drop(void *owner, const mr_event *event)
{
	mr_event ev = *event;
	(void)owner;
	mr_event_fini(&ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mr_login login = {.frame_max = 131072, .channel_max = 2047, .heartbeat = 60};
	struct mr_session_options options = {.login = &login,
		.connection = 1,
		.max_message_size = 1 << 20};
	struct mr_session *s = NULL;
	mr_stats stats = {0};
	mr_error why = {.kind = MR_STREAM_LOST};
	size_t want;
	login.user = login.password = mr_slice_str("guest");
	login.vhost = mr_slice_str("/");
	login.mechanism = mr_slice_str("PLAIN");
	login.connection_name = mr_slice_str("fuzz");
	options.stats = &stats;
	options.emit = drop;
	if (mr_delivery_pool_open(&options.pool) != MR_OK) return 0;
	if (mr_session_open(&s, &options) == MR_OK && mr_session_start(s, 0) == MR_OK) {
		size_t used = mr_session_feed(s, data, size, 1, &want);
		if (used > size) abort();
		mr_session_tick(s, 1000, true);
		mr_session_end(s, &why);
		if (mr_session_state(s) != MR_SESSION_CLOSED) abort();
	}
	mr_session_free(s);
	mr_delivery_pool_close(options.pool);
	return 0;
}
