/* report: what a link tells the host, and the log.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_LINK_REPORT_H
#define MR_LINK_REPORT_H

#include "link/state.h"

/* mr_emit: an event of the session, unless it is recovery's own. */
void mr_report_emit(void *owner, const mr_event *event);
void mr_report_push(struct mr_link *link, const mr_event *event); /* as it is */
struct mr_opened;

void mr_report_state(struct mr_link *link, enum mr_connection_state state, const mr_error *why);
void mr_report_opened(struct mr_link *link, struct mr_opened *opened); /* is taken */
void mr_report_lost(struct mr_link *link, const mr_error *why);        /* it will be back */
/* Tells what waited until the end of the session was told. */
void mr_report_release(struct mr_link *link);
/* What could be brought back is back; the report is taken. */
void mr_report_recovered(struct mr_link *link, uint32_t restored, mr_table *report);
/* The end of a request: of the connection's, of a channel's. */
void mr_report_done(struct mr_link *link, uint64_t token, const mr_error *error);
void mr_report_channel_done(struct mr_link *link, uint16_t channel, uint64_t token,
	const mr_error *error);
/* The token waits in a list; all that do so are answered. */
void mr_report_wait(struct mr_link *link, struct mr_node *list, uint64_t token);
void mr_report_answer(struct mr_link *link, struct mr_node *list, const mr_error *error);

/* Whatever the link's sessions say and count comes here: sets that part of their options. */
void mr_report_hear(struct mr_link *link);

void mr_report_log_loss(struct mr_link *link, const char *msg, const mr_error *error);
void mr_report_log_connecting(struct mr_link *link);
void mr_report_log_connected(struct mr_link *link, const char *host);
void mr_report_log_retry(struct mr_link *link, int kind, mr_msec delay);

#endif
