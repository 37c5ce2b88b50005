/* moonrabbit_uv.h: a runtime in a loop of libuv, for hosts that have one. Header only.
 * SPDX-License-Identifier: MIT
 *
 *	static void on_event(mr_runtime *rt, mr_event *event, void *data) { ... }
 *
 *	static mr_uv uv; // lives until it is closed
 *	mr_uv_attach(&uv, uv_default_loop(), rt, on_event, NULL);
 *	uv_run(uv_default_loop(), UV_RUN_DEFAULT); // until on_event calls mr_uv_detach(&uv, NULL)
 *	mr_runtime_free(rt, 5);
 *
 * on_event gets each event, and releases or settles deliveries; mr_event_fini is not its affair. It may
 * call every function but mr_runtime_free and mr_runtime_poll. It may detach; the events of this turn
 * still come then. A turn takes at most MR_UV_BATCH events, so that other handles get theirs.
 * Build with -lmoonrabbit -luv. */
#ifndef MOONRABBIT_UV_H
#define MOONRABBIT_UV_H

#include <moonrabbit.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MR_UV_BATCH 64

typedef void mr_uv_handler(mr_runtime *rt, mr_event *event, void *data);

typedef struct mr_uv {
	uv_poll_t handle;
	mr_runtime *rt;
	mr_uv_handler *on_event;
	void *data;
	void (*on_closed)(struct mr_uv *a);
} mr_uv;

static inline void mr_uv_on_readable(uv_poll_t *handle, int status, int events)
{
	mr_uv *a = (mr_uv *)handle->data;
	mr_event batch[MR_UV_BATCH];
	int n = mr_runtime_poll(a->rt, batch, MR_UV_BATCH, 0);
	(void)status;
	(void)events;
	if (n < 0) uv_poll_stop(handle); /* a forked child: the runtime is its parent's */
	for (int i = 0; i < n; i++) {
		a->on_event(a->rt, &batch[i], a->data);
		mr_event_fini(&batch[i]);
	}
	/* A poll without events tells the watchdog that the host sleeps from now on. */
	if (n > 0) mr_runtime_poll(a->rt, batch, 0, 0);
}

/* MR_FORKED: the runtime belongs to the parent process; MR_NO_MEMORY: libuv refuses the descriptor. */
static inline int mr_uv_attach(mr_uv *a, uv_loop_t *loop, mr_runtime *rt, mr_uv_handler *on_event,
	void *data)
{
	int fd = mr_runtime_fd(rt);
	if (fd < 0) return MR_FORKED;
	a->rt = rt;
	a->on_event = on_event;
	a->data = data;
	a->on_closed = NULL;
	if (uv_poll_init(loop, &a->handle, fd) != 0) return MR_NO_MEMORY;
	a->handle.data = a;
	return uv_poll_start(&a->handle, UV_READABLE, mr_uv_on_readable) == 0 ? MR_OK
	                                                                      : MR_NO_MEMORY;
}

static inline void mr_uv_closed(uv_handle_t *handle)
{
	mr_uv *a = (mr_uv *)handle->data;
	if (a->on_closed) a->on_closed(a);
}

/* libuv still uses `a` until on_closed (may be NULL) is called, in a later turn of the loop. */
static inline void mr_uv_detach(mr_uv *a, void (*on_closed)(mr_uv *a))
{
	a->on_closed = on_closed;
	uv_poll_stop(&a->handle);
	uv_close((uv_handle_t *)&a->handle, mr_uv_closed);
}

#ifdef __cplusplus
}
#endif
#endif
