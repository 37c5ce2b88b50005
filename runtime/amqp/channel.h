/* channel: opens and closes the AMQP channels of a session.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_CHANNEL_H
#define MR_AMQP_CHANNEL_H

#include "amqp/channel_state.h"

/* Sends channel.open. *gives*; NULL when out of memory. */
struct mr_amqp_channel *mr_amqp_channel_open(struct mr_outlet *outlet, uint16_t number,
	uint32_t epoch, uint64_t token, mr_msec deadline);
void mr_amqp_channel_free(struct mr_amqp_channel *ch);
void mr_amqp_channel_close(struct mr_amqp_channel *ch, uint64_t token, mr_msec deadline);
/* The broker broke the protocol: closes the channel. When it is closed, it ends with `why`
 * (copied). */
void mr_amqp_channel_refuse(struct mr_amqp_channel *ch, const mr_error *why);
/* True if the host will not get the channel: it is closing, or will close as soon as it is open. */
bool mr_amqp_channel_is_parting(const struct mr_amqp_channel *ch);
/* Ends all requests and publishes with `why`; the channel is CLOSED. Emits MR_EV_CHANNEL if
 * `tell`. */
void mr_amqp_channel_end(struct mr_amqp_channel *ch, const mr_error *why, bool tell);

/* Ends requests and publishes that have timed out; lowers outlet->earliest to the next deadline. */
void mr_amqp_channel_expire(struct mr_amqp_channel *ch, mr_msec now);
/* True while a request or publish waits for the broker. */
bool mr_amqp_channel_is_asking(const struct mr_amqp_channel *ch);

#endif
