/* moonrabbit_glib.h: a runtime in a main loop of GLib (GTK, GStreamer, GNOME). Header only.
 * SPDX-License-Identifier: MIT
 *
 *	static void on_event(mr_runtime *rt, mr_event *event, gpointer data) { ... }
 *
 *	GSource *source = mr_glib_attach(NULL, rt, on_event, NULL); // NULL: the default context
 *	g_main_loop_run(loop);
 *	mr_glib_detach(source);
 *	mr_runtime_free(rt, 5);
 *
 * on_event gets each event, and releases or settles deliveries; mr_event_fini is not its affair. It may
 * call every function but mr_runtime_free and mr_runtime_poll. It may detach; the events of this turn
 * still come then. A turn takes at most MR_GLIB_BATCH events, so that other sources get theirs;
 * g_source_set_priority says which come first.
 * Build with -lmoonrabbit `pkg-config --cflags --libs glib-2.0`. */
#ifndef MOONRABBIT_GLIB_H
#define MOONRABBIT_GLIB_H

#include <glib.h>
#include <moonrabbit.h>

G_BEGIN_DECLS

#define MR_GLIB_BATCH 64

typedef void mr_glib_handler(mr_runtime *rt, mr_event *event, gpointer data);

typedef struct mr_glib {
	GSource source; /* first */
	mr_runtime *rt;
	mr_glib_handler *on_event;
	gpointer data;
	gpointer tag;
} mr_glib;

static inline gboolean mr_glib_check(GSource *source)
{
	return g_source_query_unix_fd(source, ((mr_glib *)source)->tag) != 0;
}

static inline gboolean mr_glib_dispatch(GSource *source, GSourceFunc callback, gpointer unused)
{
	mr_glib *a = (mr_glib *)source;
	mr_event events[MR_GLIB_BATCH];
	int n = mr_runtime_poll(a->rt, events, MR_GLIB_BATCH, 0);
	(void)callback;
	(void)unused;
	for (int i = 0; i < n; i++) {
		a->on_event(a->rt, &events[i], a->data);
		mr_event_fini(&events[i]);
	}
	/* A poll without events tells the watchdog that the host sleeps from now on. */
	if (n > 0) mr_runtime_poll(a->rt, events, 0, 0);
	return n < 0 ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE; /* a forked child: its parent's */
}

/* *Gives* the source; NULL: the runtime belongs to the parent process. */
static inline GSource *mr_glib_attach(GMainContext *context, mr_runtime *rt,
	mr_glib_handler *on_event, gpointer data)
{
	static GSourceFuncs functions = {NULL, mr_glib_check, mr_glib_dispatch, NULL, NULL, NULL};
	int fd = mr_runtime_fd(rt);
	if (fd < 0) return NULL;
	GSource *source = g_source_new(&functions, (guint)sizeof(mr_glib));
	mr_glib *a = (mr_glib *)source;
	a->rt = rt;
	a->on_event = on_event;
	a->data = data;
	a->tag = g_source_add_unix_fd(source, fd, G_IO_IN);
	g_source_attach(source, context);
	return source;
}

/* Takes the source. */
static inline void mr_glib_detach(GSource *source)
{
	g_source_destroy(source);
	g_source_unref(source);
}

G_END_DECLS

#endif
