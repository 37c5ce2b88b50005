/* found: queues that nobody has declared here, but that the store's backing has messages of.
 * SPDX-License-Identifier: MIT
 * A backing knows queues by their messages alone: so another process may have declared them, or none. */
#ifndef MR_BROKER_CLIENT_FOUND_H
#define MR_BROKER_CLIENT_FOUND_H

#include "broker/client/channel.h"

/* Answers a passive declare of a queue that is not here, when the backing has been asked; MR_NOT_FOUND in *error* if
 * no queue can have this name. */
enum mr_status mr_found_ask(struct mr_broker_channel *ch, mr_slice name, bool no_wait,
	mr_error *error);
/* A declaration takes the place of a queue that was found: *q becomes NULL. MR_PRECONDITION_FAILED if it is in use. */
enum mr_status mr_found_yield(struct mr_queue **q, mr_error *error);

#endif
