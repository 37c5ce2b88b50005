/* outage_state: what the log was told of an outage.
 * SPDX-License-Identifier: MIT
 * I/O thread. For outage.c and the struct of a link. */
#ifndef MR_LINK_OUTAGE_STATE_H
#define MR_LINK_OUTAGE_STATE_H

#include "base/clock.h"

struct mr_outage {
	mr_msec began;   /* 0: there is none */
	mr_msec told_at; /* the last line that is no debug line */
	int kind;        /* of the last failed try; 0: none has failed */
	int64_t tries;   /* that have failed */
	bool is_hinted;  /* its hint was written */
};

#endif
