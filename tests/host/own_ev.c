/* own_ev: a C host that exports libev's names with functions of its own, as rspamd does.
 * SPDX-License-Identifier: MIT
 * They must never be called by the library, nor by the libev that it uses. */
#include <dlfcn.h>
#include <moonrabbit.h>
#include <stdio.h>
#include <stdlib.h>

#define NAMES(X)                                                                                   \
	X(feed_event)                                                                              \
	X(invoke_pending)                                                                          \
	X(io_start)                                                                                \
	X(io_stop)                                                                                 \
	X(loop_destroy)                                                                            \
	X(loop_new)                                                                                \
	X(now)                                                                                     \
	X(now_update)                                                                              \
	X(run)                                                                                     \
	X(timer_again)                                                                             \
	X(timer_start)                                                                             \
	X(timer_stop)                                                                              \
	X(break)                                                                                   \
	X(time)                                                                                    \
	X(clear_pending)                                                                           \
	X(feed_fd_event)                                                                           \
	X(verify)                                                                                  \
	X(suspend)                                                                                 \
	X(resume)                                                                                  \
	X(ref)                                                                                     \
	X(unref)                                                                                   \
	X(async_start)                                                                             \
	X(async_stop)                                                                              \
	X(async_send)                                                                              \
	X(supported_backends)                                                                      \
	X(recommended_backends)                                                                    \
	X(embeddable_backends)                                                                     \
	X(backend)                                                                                 \
	X(sleep)                                                                                   \
	X(syserr)

#define OWN(name)                                                                                  \
	void ev_##name(void);                                                                      \
	__attribute__((visibility("default"))) void ev_##name(void)                                \
	{                                                                                          \
		fputs("the host's ev_" #name " was called\n", stderr);                             \
		abort();                                                                           \
	}
NAMES(OWN)

/* The answer to a request with this token. */
static int wait_for(mr_runtime *rt, uint64_t token)
{
	for (;;) {
		mr_event ev[16];
		int n = mr_runtime_poll(rt, ev, 16, 5), status = -1;
		if (n <= 0) return -1;
		for (int i = 0; i < n; i++) {
			if (ev[i].type == MR_EV_DONE && ev[i].as.done.token == token)
				status = ev[i].status;
			mr_event_fini(&ev[i]);
		}
		if (status >= 0) return status;
	}
}

int main(void)
{
	mr_runtime *rt;
	mr_connection *c;
	mr_error error;
	mr_options *o = mr_options_new();
	if (!dlsym(RTLD_DEFAULT, "ev_run")) return 2; /* they would not be seen */
	if (mr_runtime_new(&rt) != MR_OK) return 3;
	mr_options_string(o, "url", "memory://own-ev", 15, &error);
	if (mr_connection_new(rt, o, &c, &error) != MR_OK) return 4;
	mr_connection_open(c, 1);
	if (wait_for(rt, 1) != MR_OK) return 5;
	mr_connection_close(c, 2, 5);
	if (wait_for(rt, 2) != MR_OK) return 6;
	mr_connection_free(c);
	mr_runtime_free(rt, 1);
	mr_options_free(o);
	return 0;
}
