/* report: a link's events to the host, and its log lines.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_LINK_REPORT_H
#define MR_LINK_REPORT_H

#include "link/state.h"

/* The session's mr_emit: passes events on, except those of recovery. */
void mr_report_emit(void *owner, const mr_event *event);
void mr_report_push(struct mr_link *link, const mr_event *event); /* unchanged */
struct mr_opened;

void mr_report_state(struct mr_link *link, enum mr_connection_state state, const mr_error *why);
void mr_report_opened(struct mr_link *link, struct mr_opened *opened); /* is taken */
void mr_report_lost(struct mr_link *link, const mr_error *why);        /* it will be recovered */
/* Pushes the events that were held until the end of the session was reported. */
void mr_report_release(struct mr_link *link);
/* Who waits for the connection to be open may go on. */
void mr_report_usable(struct mr_link *link);
/* Recovery is complete; the report is taken. Includes mr_report_usable. */
void mr_report_recovered(struct mr_link *link, uint32_t restored, mr_table *report);
/* The end of a request: of the connection, of a channel. */
void mr_report_done(struct mr_link *link, uint64_t token, const mr_error *error);
void mr_report_channel_done(struct mr_link *link, uint16_t channel, uint64_t token,
	const mr_error *error);
/* Adds a token to a list of waiting requests; ends all requests of a list. */
void mr_report_wait(struct mr_link *link, struct mr_node *list, uint64_t token);
void mr_report_answer(struct mr_link *link, struct mr_node *list, const mr_error *error);

/* Sets the callbacks and counters in the options of the link's sessions. */
void mr_report_hear(struct mr_link *link);

#endif
