/* idle: finds consumers that the broker has dropped without a word.
 * SPDX-License-Identifier: MIT */
#include "link/idle.h"

#include <string.h>

#include "link/repair.h"

/* Connections that were opened together do not look at the same moment. */
void mr_idle_begin(struct mr_recovery *r)
{
	mr_msec check = r->config->consumer_check;
	double share = 0.75 + 0.5 * mr_recovery_chance(r);
	if (check) mr_timer_arm(&r->idle, mr_clock_now() + (mr_msec)((double)check * share) + 1);
}

/* The queues of direct reply-to are none, and cannot be looked at. */
static bool is_reply_to(const struct mr_record *consumer)
{
	static const char prefix[] = "amq.rabbitmq.reply-to";
	return strncmp(consumer->strings[MR_RECORD_NAME], prefix, sizeof prefix - 1) == 0;
}

/* RabbitMQ counts the consumers of queues, but not those of streams. */
static bool is_declared_as_queue(const struct mr_record *consumer)
{
	const struct mr_record *declared = consumer->place->declared;
	const mr_table *arguments = declared ? declared->request.arguments : NULL;
	const mr_value *type = arguments ? mr_table_find(arguments, "x-queue-type") : NULL;
	bool is_stream =
		type && type->type == 'S' && mr_slice_equal(type->as.bytes, mr_slice_str("stream"));
	return declared && !is_stream;
}

static bool is_to_be_seen(const struct mr_recovery *r, struct mr_record *consumer)
{
	bool is_of_queue = false;
	const struct mr_channel_record *c = mr_record_of_channel(&r->topology, consumer->channel);
	bool is_away = !c || c->broken || consumer->cancelled ||
	               mr_plan_track(&r->plan, consumer->channel);
	bool rests = r->port.rests(r->port.owner, consumer, &is_of_queue);
	consumer->is_counted = is_of_queue || is_declared_as_queue(consumer);
	return rests && !is_away && !is_reply_to(consumer);
}

void mr_idle_due(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_recovery *r = timer->data;
	struct mr_record *consumer = NULL;
	(void)loop;
	(void)revents;
	mr_idle_begin(r);
	if (!r->opened_at || r->is_put_off) return;
	if (mr_plan_track(&r->plan, 0)) return; /* the last look is not over */
	while ((consumer = mr_topology_next(&r->topology, MR_BASIC_CONSUME, consumer)))
		if (is_to_be_seen(r, consumer) && !mr_recovery_plan_look(r, consumer)) break;
	r->port.touch(r->port.owner);
}

void mr_idle_gone(struct mr_recovery *r, struct mr_record *consumer)
{
	mr_error why = {0};
	mr_event ev = {.type = MR_EV_CANCEL, .status = MR_CANCELLED};
	mr_error_set(&why, MR_CANCELLED, MR_SCOPE_CHANNEL, 0,
		"the broker does not know this consumer any more, and has not said so");
	consumer->cancelled = true;
	ev.connection = r->connection;
	ev.channel = consumer->channel;
	ev.as.cancel.consumer = consumer->request.number;
	ev.as.cancel.will_recover = true;
	ev.as.cancel.error = mr_error_copy(&why);
	mr_log(&r->services->log, MR_LOG_WARN, "consumer dropped by the broker without a word",
		"connection", r->config->name, "queue", consumer->strings[MR_RECORD_NAME], "tag",
		consumer->strings[MR_RECORD_EXTRA], NULL);
	mr_recovery_push(r, &ev);
	mr_repair_plan(r, 0, &why, MR_CANCELLED);
}
