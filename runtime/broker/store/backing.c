/* backing: a server that keeps the messages of a store's queues, instead of this process's memory.
 * SPDX-License-Identifier: MIT */
#include "broker/store/backing.h"

#include "broker/store/reply_error.h"

void mr_backing_refuse(struct mr_promise *p, int code, const char *text)
{
	if (!p) return;
	p->status = mr_reply_error(&p->error, code, "%s", text);
	p->told(p);
}

void mr_backing_lose(struct mr_promise *p)
{
	if (!p) return;
	p->is_lost = true;
	mr_backing_refuse(p, 320, "the store is not reached");
}
