/* helm: which thread runs the I/O loop: the I/O thread, or a host that waits for an answer.
 * SPDX-License-Identifier: MIT
 * A host that sends something and waits for what comes back would wake the I/O thread and be woken by
 * it each time. So it may ask for the helm: the I/O thread then waits aside, and the host runs the
 * loop itself while it is in a poll. The I/O thread takes the helm back once the host has been away
 * for MR_HELM_TICK. Whoever has the helm owns all that the I/O thread owns; the state hands it over,
 * with all that was written before. docs/decisions/0030. */
#ifndef MR_BRIDGE_HELM_H
#define MR_BRIDGE_HELM_H

#include "bridge/wake.h"

/* us: a host may be away at least so long, and at most twice so long. LONG: one that has used the helm
 * since the last look, so that looking costs less than a hundredth of the thread's time. */
#define MR_HELM_TICK 200
#define MR_HELM_TICK_LONG 1000

struct mr_helm {
	struct mr_wake back; /* the I/O thread sleeps on it until the host gives the helm back */
	atomic_int state;    /* enum in helm.c */
	atomic_bool is_asked_for;
	atomic_uint voyages;  /* how often the host has had the helm in a poll */
	atomic_uint patience; /* its times are so many times longer: 1, except in tests */
};

enum mr_status mr_helm_open(struct mr_helm *helm, mr_error *error);
void mr_helm_close(struct mr_helm *helm);

/* Any thread. For machines and tools on which a system call takes very long. */
unsigned mr_helm_patience(const struct mr_helm *helm);
void mr_helm_set_patience(struct mr_helm *helm, unsigned patience);

/* I/O thread: the host has asked for the helm. False: nobody has. */
bool mr_helm_is_asked_for(const struct mr_helm *helm);
/* I/O thread: gives the helm to the host. It must be woken, and the thread must wait with
 * mr_helm_wait before it touches anything again. */
void mr_helm_hand_over(struct mr_helm *helm);
/* I/O thread: returns once the helm is its own again. */
void mr_helm_wait(struct mr_helm *helm);

/* Host: asks for the helm. The I/O thread must be woken. */
void mr_helm_ask(struct mr_helm *helm);
/* Host: takes the helm that it was given; false: the I/O thread has it. */
bool mr_helm_take(struct mr_helm *helm);
/* Host, elsewhere: the helm is its own. */
bool mr_helm_is_here(const struct mr_helm *helm);
/* Host, elsewhere: the helm is its own, and it is near: then it is not taken back. */
void mr_helm_show(struct mr_helm *helm);
/* Host: leaves the loop for a moment, or for longer; of no effect once it was given back. */
void mr_helm_leave(struct mr_helm *helm);
/* Host: does not want it any more. Of no effect if the I/O thread has it. */
void mr_helm_give_back(struct mr_helm *helm);

#endif
