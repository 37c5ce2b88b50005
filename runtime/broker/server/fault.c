/* fault: faults that a test injects into a server.
 * SPDX-License-Identifier: MIT */
#include "broker/server/fault.h"

#include <stdio.h>

#include "moonrabbit_testing.h"

static void fail_declare(struct mr_broker *b, int64_t code, mr_slice text)
{
	struct mr_broker_faults *f = &b->faults;
	f->declare_code = (int)code;
	snprintf(f->declare_text, sizeof f->declare_text, "%.*s", (int)text.size, text.data);
}

static void shut_all(struct mr_wire *w, int64_t code, mr_slice text)
{
	char copy[256];
	snprintf(copy, sizeof copy, "%.*s", (int)text.size, text.data);
	mr_wire_shut(w, (int)code, copy);
}

void mr_fault_set(struct mr_wire *w, int kind, int64_t number, mr_slice text)
{
	struct mr_broker *b = w->broker;
	struct mr_wire_faults *wire = &w->faults;
	switch (kind) {
	case MR_FAULT_DELAY: wire->delay = number; break;
	case MR_FAULT_CUT_AFTER: wire->cut_after = number; break;
	case MR_FAULT_SILENT: wire->silent = number != 0; break;
	case MR_FAULT_DROP: mr_wire_drop(w); break;
	case MR_FAULT_CLOSE: shut_all(w, number, text); break;
	case MR_FAULT_REFUSE_LOGINS: b->faults.refuse_logins = number != 0; break;
	case MR_FAULT_FAIL_DECLARE: fail_declare(b, number, text); break;
	case MR_FAULT_PAUSE_DELIVERIES:
		b->store.paused = number != 0;
		mr_broker_pump_all(b);
		break;
	case MR_FAULT_BLOCK:
		b->blocked_by_hand = number != 0;
		mr_broker_check_memory(b);
		break;
	case MR_FAULT_WATERMARK:
		b->store.watermark = (uint64_t)number;
		mr_broker_check_memory(b);
		break;
	default: break;
	}
	mr_wire_changed(w);
}
