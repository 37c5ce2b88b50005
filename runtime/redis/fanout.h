/* fanout: fanout exchanges, by PUBLISH and PSUBSCRIBE, as kombu has them.
 * SPDX-License-Identifier: MIT
 * Broker thread. Redis keeps nothing of such a message: each process that has a queue bound to the exchange
 * gets a copy by its second connection, and keeps it in its own memory. A binding without a key gets all
 * messages of its exchange. */
#ifndef MR_REDIS_FANOUT_H
#define MR_REDIS_FANOUT_H

#include "broker/store/exchange.h"
#include "redis/state.h"

/* With kombu's fanout_prefix and fanout_patterns; after r->prefix is set. MR_OK or MR_NO_MEMORY. */
enum mr_status mr_fanout_init(struct mr_redis_store *r, const char *prefix, bool patterns,
	int64_t db);
void mr_fanout_free_all(struct mr_redis_store *r); /* when both connections are closed */

/* The channel of a message, until the next call of a function here. False: out of memory. */
bool mr_fanout_channel(struct mr_redis_store *r, const struct mr_exchange *x,
	const struct mr_message *m, mr_slice *out);
void mr_fanout_publish(struct mr_redis_store *r, const struct mr_exchange *x,
	const struct mr_message *m, mr_slice text, struct mr_promise *p);

/* A queue is bound: subscribes to what it is to hear. Returns the promise for the binding's place in kombu's
 * table: `p` is told after it, and after Redis has confirmed the subscription. NULL: `p` was refused. */
struct mr_promise *mr_fanout_join(struct mr_redis_store *r, const struct mr_exchange *x,
	struct mr_queue *q, mr_slice key, struct mr_promise *p);
void mr_fanout_unbound(struct mr_backing *b, const struct mr_binding *binding);
void mr_fanout_forget(struct mr_window *w); /* its queue ends */

/* Says that the store is up, once its subscriptions are, too: they come before what is published. */
void mr_fanout_tell(struct mr_redis_store *r);
void mr_fanout_listen(struct mr_redis_store *r); /* the second connection is there */
void mr_fanout_deafen(struct mr_redis_store *r, const mr_error *why); /* it is lost */
void mr_fanout_lose(struct mr_redis_store *r);                        /* the first one is lost */
/* ["pmessage", pattern, channel, envelope]. What is no envelope is left out, as in kombu. */
void mr_fanout_heard(struct mr_redis_store *r, const redisReply *message);

#endif
