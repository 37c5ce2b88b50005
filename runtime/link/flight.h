/* flight: what the flight recorder keeps of a link.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_LINK_FLIGHT_H
#define MR_LINK_FLIGHT_H

#include "bridge/command.h"
#include "link/state.h"

/* `seen` of mr_session_options. */
void mr_flight_method(void *owner, bool is_out, uint16_t channel, const struct mr_method *method,
	uint32_t consumer);
void mr_flight_command(struct mr_link *link, const struct mr_command *command);
void mr_flight_event(struct mr_link *link, const mr_event *event); /* not a delivery */
void mr_flight_state(struct mr_link *link);                        /* it has entered its state */

#endif
