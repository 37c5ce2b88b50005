/* signals: keeps the host's signals waiting while its thread runs the I/O loop.
 * SPDX-License-Identifier: MIT */
#include "bridge/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/descriptor.h"

static void fill(sigset_t *all)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigfillset(all);
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(all, faults[i]);
}

/* Has `fd` tell of what a host with this mask would get. */
static int watch(struct mr_signals *s)
{
	sigset_t wanted = s->all;
	for (int number = 1; number < NSIG; number++)
		if (sigismember(&s->before, number) == 1) sigdelset(&wanted, number);
	s->told = s->before;
	return signalfd(s->fd, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

enum mr_status mr_signals_open(struct mr_signals *s, mr_error *error)
{
	s->fd = -1;
	s->are_held = false;
	fill(&s->all);
	sigemptyset(&s->before);
	s->fd = mr_descriptor_claim(watch(s));
	if (s->fd >= 0) return MR_OK;
	return mr_error_system(error, MR_NO_MEMORY, MR_SCOPE_NONE, errno, "cannot make a signalfd");
}

void mr_signals_close(struct mr_signals *s)
{
	mr_descriptor_close(s->fd);
	s->fd = -1;
}

void mr_signals_hold(struct mr_signals *s)
{
	if (s->are_held) return;
	if (pthread_sigmask(SIG_SETMASK, &s->all, &s->before) != 0) return;
	s->are_held = true;
	if (memcmp(&s->before, &s->told, sizeof s->told) != 0) watch(s);
}

void mr_signals_let(struct mr_signals *s)
{
	if (!s->are_held) return;
	s->are_held = false;
	pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

static bool has_handler(int number)
{
	struct sigaction action;
	return sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL &&
	       action.sa_handler != SIG_IGN;
}

bool mr_signals_are_caught(struct mr_signals *s)
{
	sigset_t come;
	sigemptyset(&come);
	sigpending(&come);
	for (int number = 1; number < NSIG; number++)
		if (sigismember(&come, number) == 1 && sigismember(&s->before, number) == 0 &&
			has_handler(number))
			return true;
	/* What is ignored waits, too, as that may change meanwhile. */
	if (!s->are_held) return false;
	mr_signals_let(s);
	mr_signals_hold(s);
	return false;
}

const sigset_t *mr_signals_mask(const struct mr_signals *s)
{
	return s->are_held ? &s->before : NULL;
}
