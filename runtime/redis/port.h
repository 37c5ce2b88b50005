/* port: whom a Redis store tells of its state.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_PORT_H
#define MR_REDIS_PORT_H

#include "base/status.h"

struct mr_redis_store_port {
	void (*turn)(void *owner); /* first in each callback of the loop */
	void (*up)(void *owner);
	/* Lost, or not reached; all promises were refused before. It tries again by itself, unless the
	 * error is of a kind that does not pass. */
	void (*down)(void *owner, const mr_error *why);
	void (*round)(void *owner); /* once a second while it is there */
	void *owner;
};

#endif
