/* curbs: decides of which queues a link's consumers may be curbed (amqp/curb.h).
 * SPDX-License-Identifier: MIT
 * I/O thread. If a queue has a single active consumer, a curb would activate the next consumer
 * while this one still has messages. So a link remembers such queues that were declared on any of
 * its connections, whether or not recovery records them. */
#ifndef MR_LINK_CURBS_H
#define MR_LINK_CURBS_H

#include "link/state.h"

/* Sets the callbacks in the options of the link's sessions. */
void mr_curbs_hear(struct mr_link *link);
/* Adds the queues that `from` remembers, because the link takes over its topology. */
void mr_curbs_inherit(struct mr_link *link, const struct mr_link *from);

#endif
