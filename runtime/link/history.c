/* history: counts and failures of a runtime's connections and consumers, for health.
 * SPDX-License-Identifier: MIT */
#include "link/history.h"

#include <stdio.h>
#include <time.h>

#include "amqp/topology.h"
#include "base/alloc.h"

#define FAILED_MAX 16

void mr_history_init(struct mr_history *h)
{
	*h = (struct mr_history){0};
	mr_list_init(&h->failed);
}

void mr_history_fini(struct mr_history *h)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&h->failed)))
		mr_free(mr_container(node, struct mr_failed_consumer, node));
}

static bool is_move(int state)
{
	return state == MR_CONNECTION_OPEN || state == MR_CONNECTION_CLOSED ||
	       state == MR_CONNECTION_LOST || state == MR_CONNECTION_GAVE_UP;
}

static void note_move(struct mr_history *h, const mr_event *ev)
{
	const uint16_t state = ev->as.connection.state;
	/* Only those that end something have an error there; OPEN has other data. */
	const mr_error *why = state == MR_CONNECTION_OPEN ? NULL : ev->as.connection.with.error;
	struct timespec now;
	if (!is_move(state)) return;
	clock_gettime(CLOCK_REALTIME, &now);
	struct mr_move *m = &h->moves[h->move_count++ % MR_MOVES_MAX];
	*m = (struct mr_move){.when = (double)now.tv_sec + (double)now.tv_nsec / 1e9,
		.connection = ev->connection,
		.state = state};
	if (why) snprintf(m->error, sizeof m->error, "%.159s", why->text);
}

void mr_history_saw(struct mr_history *h, const mr_event *ev)
{
	if (ev->type == MR_EV_DELIVERY || ev->type == MR_EV_CONFIRM || ev->type == MR_EV_RETURN)
		return;
	if (ev->type == MR_EV_CONNECTION) {
		note_move(h, ev);
		h->connects += ev->as.connection.state == MR_CONNECTION_OPEN;
		h->losses += ev->as.connection.state == MR_CONNECTION_LOST;
		h->retries += ev->as.connection.state == MR_CONNECTION_RETRYING;
	}
	if (h->changed) h->changed(h->owner);
}

void mr_history_forget(struct mr_failed_consumer *f)
{
	mr_list_remove(&f->node);
	mr_free(f);
}

void mr_history_failed(struct mr_history *h, uint32_t connection, const char *queue,
	const char *why)
{
	size_t count = 0;
	for (struct mr_node *n = h->failed.next; n != &h->failed; n = n->next) count++;
	struct mr_failed_consumer *f = count < FAILED_MAX ? mr_calloc(1, sizeof *f) : NULL;
	if (!f) return;
	f->connection = connection;
	snprintf(f->queue, sizeof f->queue, "%s", queue);
	snprintf(f->why, sizeof f->why, "%s", why);
	mr_list_append(&h->failed, &f->node);
}

void mr_history_consumer(struct mr_history *h, uint32_t connection, const struct mr_record *record,
	const char *why)
{
	if (!(record->request.number & MR_CONSUMER_OWN))
		mr_history_failed(h, connection, record->strings[0], why);
}
