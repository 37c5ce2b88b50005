/* channel: how an AMQP channel of a session begins and ends.
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
/* The broker broke the protocol: closes the channel. When that is done, it ends with `why` (copied). */
void mr_amqp_channel_refuse(struct mr_amqp_channel *ch, const mr_error *why);
/* It will not be the host's: it closes, or closes as soon as it is open. */
bool mr_amqp_channel_is_parting(const struct mr_amqp_channel *ch);
/* Ends all that waits, with `why`, and is CLOSED; tells MR_EV_CHANNEL when `tell`. */
void mr_amqp_channel_end(struct mr_amqp_channel *ch, const mr_error *why, bool tell);

/* Ends the requests and publishes that are due; lowers outlet->earliest to the next. */
void mr_amqp_channel_expire(struct mr_amqp_channel *ch, mr_msec now);
/* Does something wait for the broker's word? */
bool mr_amqp_channel_is_asking(const struct mr_amqp_channel *ch);

#endif
