/* failure: what a recovery could not restore: reported, and not requested for ever.
 * SPDX-License-Identifier: MIT
 * I/O thread. For replay.c and step.c. */
#ifndef MR_LINK_FAILURE_H
#define MR_LINK_FAILURE_H

#include "link/recovery_state.h"

/* The record cannot be restored: reports it. A consumer is forgotten, and its record freed. */
void mr_failure_give_up(struct mr_recovery *r, struct mr_record *record, const mr_error *why);
/* True if a request is useless: it would end the connection once more, or its queue or exchange is
 * missing since this number of the plan. Then the record is given up. */
bool mr_failure_foreseen(struct mr_recovery *r, uint32_t since, struct mr_record *record);

/* The broker, or the library, ended the connection for an error. A request that was the only one
 * has caused it; of several, each is a suspect, which is requested alone the next time. */
void mr_failure_blame(struct mr_recovery *r, const mr_error *why);
/* What has been left out is requested once more when the connection is lost again. */
void mr_failure_forgive(struct mr_recovery *r);

/* Logs a summary if there were many failures, and begins a new report. */
void mr_failure_drop_report(struct mr_recovery *r);

#endif
