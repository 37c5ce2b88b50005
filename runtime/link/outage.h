/* outage: the log lines of a connection: its first connect, losses, tries, recoveries.
 * SPDX-License-Identifier: MIT
 * I/O thread. An outage is a few lines, however long it takes: the loss, the first try that fails,
 * later ones only if they fail in another way, a line each minute, and the recovery. The rest is at
 * debug. A hint is written once. */
#ifndef MR_LINK_OUTAGE_H
#define MR_LINK_OUTAGE_H

#include "base/clock.h"
#include "base/status.h"

struct mr_link;

/* What its broker tells of the Redis behind it; the others call it, so that a cause comes before what it causes. */
void mr_outage_notices(const struct mr_link *link);
void mr_outage_connecting(struct mr_link *link);
void mr_outage_connected(struct mr_link *link, const char *host);
/* An open connection was lost. */
void mr_outage_lost(struct mr_link *link, const mr_error *why);
/* A try has failed; the next one follows after `delay` ms, MR_NEVER: none, -1: the host decides. */
void mr_outage_failed(struct mr_link *link, const mr_error *why, mr_msec delay);
/* The host has decided when the next try is. */
void mr_outage_retry(struct mr_link *link, int kind, mr_msec delay);
/* Its channels are restored. */
void mr_outage_recovered(struct mr_link *link, uint32_t restored, mr_msec gap);
/* The broker blocks publishing, or accepts it again. */
void mr_outage_blocked(struct mr_link *link, bool is_blocked, const char *why);

#endif
