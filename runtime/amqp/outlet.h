/* outlet: shared by the channels of a session: their output of bytes and events.
 * SPDX-License-Identifier: MIT
 * Pure; a part of session. */
#ifndef MR_AMQP_OUTLET_H
#define MR_AMQP_OUTLET_H

#include "amqp/outbox.h"
#include "amqp/session_options.h"
#include "base/list.h"
#include "base/machine.h"
#include "base/machine.h"
#include "codec/method.h"

struct mr_outlet {
	const struct mr_session_options *options;
	struct mr_outbox out;
	uint32_t frame_max;
	struct mr_node dirty; /* channels with acks to flush */
	mr_msec acked_at;     /* when acks were last told not to wait; MR_NEVER: not yet */
	mr_msec acks_due; /* when those that wait must be flushed (gather.h); MR_NEVER: none do */
	struct mr_node holding; /* channels that hold messages of curbed consumers */
	mr_msec earliest;       /* no deadline of any channel is before this */
	mr_msec now;            /* the time of the current call */
	const mr_error
		*fault; /* kept (mr_error_keep): why the connection must end; NULL: it need not */
};

void mr_outlet_init(struct mr_outlet *outlet, const struct mr_session_options *options,
	uint32_t frame_max);
void mr_outlet_fini(struct mr_outlet *outlet);
/* mr_machine_moves; what is not allowed becomes the fault, unless there is one. */
bool mr_outlet_allows(struct mr_outlet *outlet, const struct mr_machine *machine, unsigned from,
	unsigned to);
/* For the flight recorder. */
static inline void mr_outlet_seen(const struct mr_outlet *outlet, bool is_out, uint16_t channel,
	const struct mr_method *method, uint32_t consumer)
{
	const struct mr_session_options *o = outlet->options;
	if (o->seen) o->seen(o->owner, is_out, channel, method, consumer);
}
/* Appends one method frame, as mr_method_put. */
static inline enum mr_status mr_outlet_send(struct mr_outlet *outlet, uint16_t channel,
	const struct mr_method *method, mr_error *error)
{
	enum mr_status st =
		mr_method_put(&outlet->out.bytes, channel, method, outlet->frame_max, error);
	if (st == MR_OK) mr_outlet_seen(outlet, true, channel, method, 0);
	return st;
}
/* Notes a deadline. */
static inline void mr_outlet_expect(struct mr_outlet *outlet, mr_msec at)
{
	outlet->earliest = mr_earlier(outlet->earliest, at);
}

/* Counts and reports a protocol violation by the broker; returns MR_OK. */
enum mr_status mr_outlet_odd(struct mr_outlet *outlet, uint16_t channel, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Emits the end of a request; token 0: it has no owner. */
void mr_outlet_done(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	const mr_error *error);
/* The same, with the reply (taken; may be NULL). */
void mr_outlet_reply(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	enum mr_status status, mr_reply *reply);
/* The answer to a request that has timed out: reported to the engine, if it needs it. */
void mr_outlet_late(struct mr_outlet *outlet, uint16_t channel, uint64_t token,
	enum mr_status status);
/* Emits the loss of a publish that never reached a channel. */
void mr_outlet_lost(struct mr_outlet *outlet, uint16_t channel, uint32_t epoch, uint64_t number);

#endif
