/* wake: wakes a sleeping thread, once per sleep.
 * SPDX-License-Identifier: MIT */
#include "bridge/wake.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptor.h"

enum mr_status mr_wake_open(struct mr_wake *wake, mr_error *error)
{
	atomic_init(&wake->asleep, false);
	atomic_init(&wake->mirror, -1);
	wake->fd = mr_descriptor_claim(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	if (wake->fd >= 0) return MR_OK;
	return mr_error_system(error, MR_NO_MEMORY, MR_SCOPE_NONE, errno, "cannot make an eventfd");
}

void mr_wake_close(struct mr_wake *wake)
{
	mr_descriptor_close(wake->fd);
	wake->fd = -1;
}

void mr_wake_prepare(struct mr_wake *wake)
{
	atomic_store(&wake->asleep, true);
	/* Pairs with the fence in signal: either the sleeper sees the work, or the worker sees the
	 * sleep. */
	atomic_thread_fence(memory_order_seq_cst);
}

bool mr_wake_cancel(struct mr_wake *wake) { return !atomic_exchange(&wake->asleep, false); }

void mr_wake_clear(struct mr_wake *wake)
{
	uint64_t count;
	ssize_t n = read(wake->fd, &count, sizeof count);
	(void)n; /* EAGAIN: there was no signal */
}

void mr_wake_signal(struct mr_wake *wake)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&wake->asleep, memory_order_relaxed)) return;
	if (!atomic_exchange(&wake->asleep, false)) return;
	uint64_t one = 1;
	ssize_t n = write(wake->fd, &one, sizeof one);
	(void)n; /* EAGAIN: the counter is full, so the descriptor is readable already */
	int mirror = atomic_load_explicit(&wake->mirror, memory_order_acquire);
	if (mirror >= 0) mr_wake_tell(mirror);
}

void mr_wake_tell(int socket)
{
	ssize_t n = send(socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)n; /* EAGAIN: the peer has bytes to read; ENOTCONN, EPIPE: there is no peer */
}

bool mr_wake_is_asleep(const struct mr_wake *wake)
{
	return atomic_load_explicit(&wake->asleep, memory_order_relaxed);
}
