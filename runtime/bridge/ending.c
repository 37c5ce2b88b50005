/* ending: ends our threads at the exit of the process, before the cleanup of libraries.
 * SPDX-License-Identifier: MIT */
#include "bridge/ending.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/descriptor.h"

#define SLACK 500        /* ms beyond MR_ENDING_TIME, for a thread in a long operation */
#define BROKER_TIME 2500 /* ms: a gateway gives back what it holds, see broker/server/gateway.c */

struct group {
	atomic_int fd;   /* readable: end now; -1: not open, or inherited from a parent */
	atomic_int left; /* readable after the end of a thread */
	atomic_int threads;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_failed; /* an errno, or 0 */
static struct group groups[MR_ENDING_KINDS] = {{-1, -1, 0}, {-1, -1, 0}};
static atomic_bool begun;
static _Thread_local bool is_ours;

static void end_threads(struct group *g, mr_msec patience)
{
	struct pollfd left = {.fd = atomic_load(&g->left), .events = POLLIN};
	mr_msec now = mr_clock_real(), until = now + patience;
	int own = is_ours; /* one of our threads called exit(), and ends with it */
	if (atomic_load(&g->threads) <= own) return;
	eventfd_write(atomic_load(&g->fd), 1);
	for (; atomic_load(&g->threads) > own && now < until; now = mr_clock_real()) {
		eventfd_t count;
		poll(&left, 1, (int)(until - now));
		eventfd_read(left.fd, &count);
	}
}

static void at_exit(void)
{
	atomic_store(&begun, true);
	end_threads(&groups[MR_ENDING_IO], MR_ENDING_TIME + SLACK);
	end_threads(&groups[MR_ENDING_BROKER], BROKER_TIME);
}

/* The threads and the events of the descriptors belong to the parent. */
static void in_child(void)
{
	for (int i = 0; i < MR_ENDING_KINDS; i++) {
		atomic_store(&groups[i].fd, -1); /* base/descriptor has closed both descriptors */
		atomic_store(&groups[i].left, -1);
		atomic_store(&groups[i].threads, 0);
	}
	is_ours = false;
}

static void register_handlers(void)
{
	once_failed = pthread_atfork(NULL, NULL, in_child);
	if (!once_failed && atexit(at_exit) != 0) once_failed = ENOMEM;
}

/* If two threads open it at the same time, the descriptor of one of them is used. */
static int open_event(atomic_int *at)
{
	int none = -1, fd = atomic_load(at);
	if (fd >= 0) return fd;
	fd = mr_descriptor_claim(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (fd < 0 || atomic_compare_exchange_strong(at, &none, fd)) return fd;
	mr_descriptor_close(fd);
	return none;
}

static enum mr_status no_watch(mr_error *error, int system)
{
	bool is_full = system == EMFILE || system == ENFILE;
	return mr_error_system(error, is_full ? MR_NO_DESCRIPTORS : MR_NO_MEMORY, MR_SCOPE_NONE,
		system, "cannot watch the process's end");
}

enum mr_status mr_ending_enter(enum mr_ending_who who, int *fd, mr_error *error)
{
	pthread_once(&once, register_handlers);
	if (atomic_load(&begun))
		return mr_error_set(error, MR_CLOSED, MR_SCOPE_NONE, 0, "the process ends");
	*fd = once_failed ? -1 : open_event(&groups[who].fd);
	if (*fd < 0 || open_event(&groups[who].left) < 0)
		return no_watch(error, once_failed ? once_failed : errno);
	atomic_fetch_add(&groups[who].threads, 1);
	return MR_OK;
}

void mr_ending_is_ours(void) { is_ours = true; }

void mr_ending_leave(enum mr_ending_who who)
{
	struct group *g = &groups[who];
	atomic_fetch_sub(&g->threads, 1);
	eventfd_write(atomic_load(&g->left), 1);
}

void mr_ending_leave_and_park(enum mr_ending_who who, bool parks)
{
	mr_ending_leave(who);
	while (parks) poll(NULL, 0, -1);
}

bool mr_ending_has_begun(void) { return atomic_load(&begun); }
