/* peer_methods: answers the methods of channels; and what it and peer_session share.
 * One thread. Does no I/O. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_PEER_METHODS_H
#define BENCH_PEER_METHODS_H
#include "peer_channel.h"

/* `ch` is NULL when the channel is not open. */
void session_method(struct session *s, struct channel *ch, uint16_t number, uint32_t method,
	struct wire_in *in);

void session_fail(struct session *s,
	const char *fault); /* borrows a constant; the first one stays */
struct channel *session_channel(const struct session *s, uint16_t number);
struct channel *session_add_channel(struct session *s, uint16_t number);
void session_drop_channel(struct session *s, struct channel *ch);
void session_drop_blast(struct session *s, struct channel *ch);
#endif
