/* curbs: of which queues a link's consumers may be curbed (amqp/curb.h).
 * SPDX-License-Identifier: MIT
 * I/O thread. Of a queue with a single active consumer the next in line would be the active one, beside what this one
 * still has in hand: so a link knows those that were declared on it, whether or not recovery records them, in all of
 * its connections. */
#ifndef MR_LINK_CURBS_H
#define MR_LINK_CURBS_H

#include "link/state.h"

/* The link's sessions ask here, and tell what was declared: sets that part of their options. */
void mr_curbs_hear(struct mr_link *link);
/* The link knows also what `from` does, whose declares become its own. */
void mr_curbs_inherit(struct mr_link *link, const struct mr_link *from);

#endif
