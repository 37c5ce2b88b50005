/* descriptor: the descriptors that the library owns: never 0 to 2, and none in a forked child.
 * SPDX-License-Identifier: MIT
 * One bit for each number, changed by the compiler's __atomic builtins, relaxed: a fork sees the changes of its own
 * thread, and could not see simultaneous changes of other threads anyway. */
#include "base/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#define NUMBERS (1 << 20) /* higher ones are not noted: this is Linux's default maximum */

static uint64_t owned[NUMBERS / 64];
static int top; /* one above the highest that was ever owned */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Closes the child's copies, so that the parent's connections end when the parent closes them.
 * Nothing is written to them, and no other state changes. */
static void in_child(void)
{
	for (int word = 0; word <= (top - 1) / 64; word++) {
		for (uint64_t left = owned[word]; left; left &= left - 1)
			close(word * 64 + __builtin_ctzll(left));
		owned[word] = 0;
	}
	top = 0;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

static void raise_top(int above)
{
	int seen = __atomic_load_n(&top, __ATOMIC_RELAXED);
	while (seen < above && !__atomic_compare_exchange_n(&top, &seen, above, 1, __ATOMIC_RELAXED,
				       __ATOMIC_RELAXED)) {}
}

void mr_descriptor_note(int fd)
{
	if (fd < 0 || fd >= NUMBERS) return;
	pthread_once(&once, watch_forks);
	__atomic_fetch_or(&owned[fd / 64], UINT64_C(1) << fd % 64, __ATOMIC_RELAXED);
	raise_top(fd + 1);
}

void mr_descriptor_disown(int fd)
{
	if (fd < 0 || fd >= NUMBERS) return;
	__atomic_fetch_and(&owned[fd / 64], ~(UINT64_C(1) << fd % 64), __ATOMIC_RELAXED);
}

int mr_descriptor_claim(int fd)
{
	if (fd >= 0 && fd <= STDERR_FILENO) {
		int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), why = errno;
		close(fd);
		errno = why;
		fd = moved;
	}
	mr_descriptor_note(fd);
	return fd;
}

void mr_descriptor_close(int fd)
{
	int why = errno;
	if (fd < 0) return;
	mr_descriptor_disown(fd); /* before the close: the number may be reused at once */
	close(fd);
	errno = why;
}

bool mr_descriptor_claim_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) pair[i] = mr_descriptor_claim(pair[i]);
	if (pair[0] >= 0 && pair[1] >= 0) return true;
	for (int i = 0; i < 2; i++) mr_descriptor_close(pair[i]);
	pair[0] = pair[1] = -1;
	return false;
}

void mr_descriptor_hold(struct mr_descriptor_hold *hold)
{
	hold->count = 0;
	while (hold->count < 3) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd > STDERR_FILENO) close(fd);
		if (fd < 0 || fd > STDERR_FILENO) return;
		hold->fds[hold->count++] = fd;
	}
}

void mr_descriptor_let_go(struct mr_descriptor_hold *hold)
{
	while (hold->count) close(hold->fds[--hold->count]);
}
