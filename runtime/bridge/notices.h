/* notices: what a broker's thread tells of the server that keeps its messages: its state, notices for the log, counts.
 * SPDX-License-Identifier: MIT
 * One thread writes, and never waits; any thread reads, and sees whole notices only: each carries its number, which is odd
 * while it is written. A notice is logged once in the process: by who takes it first. */
#ifndef MR_BRIDGE_NOTICES_H
#define MR_BRIDGE_NOTICES_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"

#define MR_NOTICES_KEPT 32 /* those before were not logged in time, and are not any more */

enum mr_notice_what {
	MR_NOTICE_NONE,
	MR_NOTICE_REACHED,
	MR_NOTICE_NOT_REACHED, /* before it was ever reached; once for each kind of failure */
	MR_NOTICE_LOST,
	MR_NOTICE_BACK,
	MR_NOTICE_MOVED, /* it is back at another place */
	/* The state is one of those above. */
	MR_NOTICE_BLOCKED,
	MR_NOTICE_UNBLOCKED,
	MR_NOTICE_REFUSED, /* a message that it can never take */
	MR_NOTICE_DEAF,    /* its second connection is lost, and the first is not */
	MR_NOTICE_HEARS
};

struct mr_notice { /* texts are NUL-terminated; "": not known */
	enum mr_notice_what what;
	int kind;       /* of the error; MR_OK: none */
	mr_msec at;     /* mr_clock_now */
	mr_msec lasted; /* how long the state before did */
	uint64_t count; /* LOST: publishes without an answer; REFUSED: so many for this reason */
	char server[280], version[24], role[16];
	char was[280]; /* MOVED: where it was */
	char text[400], exchange[256], key[256], client[128];
};

#define MR_NOTICES_COUNTS(X)                                                                       \
	X(LOSSES)                                                                                  \
	X(COMMANDS)                                                                                \
	X(SENT)       /* bytes */                                                                  \
	X(RECEIVED)   /* bytes */                                                                  \
	X(ROUND_TRIP) /* us; 0: not measured yet */                                                \
	X(FETCHED)    /* messages for receivers that have room later */                            \
	X(UNACKED)    /* messages that receivers have */                                           \
	X(WAITING)    /* publishes without an answer */                                            \
	X(REFUSED)    /* messages */
#define MR_NOTICES_ENUM_(name) MR_NOTICES_##name,
enum mr_notices_count_of { MR_NOTICES_COUNTS(MR_NOTICES_ENUM_) MR_NOTICES_COUNT_COUNT };

#define MR_NOTICE_WORDS (sizeof(struct mr_notice) / sizeof(uint64_t))
_Static_assert(sizeof(struct mr_notice) % sizeof(uint64_t) == 0, "a notice is whole words");

struct mr_notice_slot {
	_Atomic uint64_t number; /* twice its notice's; odd while it is written */
	_Atomic uint64_t words[MR_NOTICE_WORDS];
};

struct mr_notices { /* zeroed: nothing was told yet */
	struct mr_notice_slot slots[MR_NOTICES_KEPT];
	struct mr_notice_slot
		states[2];              /* in turn: the newest is whole while the next is written */
	_Atomic uint64_t state;         /* the number of the newest */
	_Atomic uint64_t posted, taken; /* notices */
	_Atomic uint64_t counts[MR_NOTICES_COUNT_COUNT];
};

/* Writer. */
void mr_notices_post(struct mr_notices *b, const struct mr_notice *notice);
void mr_notices_restate(struct mr_notices *b, const struct mr_notice *state); /* not for the log */
void mr_notices_count(struct mr_notices *b, enum mr_notices_count_of which, uint64_t value);

/* Any. */
uint64_t mr_notices_counted(const struct mr_notices *b, enum mr_notices_count_of which);
/* The newest notice that says whether the server is reached. False: there is none. */
bool mr_notices_state(const struct mr_notices *b, struct mr_notice *out);
bool mr_notices_is_up(const struct mr_notice *state);
/* The oldest notice that nobody has taken. False: there is none. */
bool mr_notices_take(struct mr_notices *b, struct mr_notice *out);
/* Takes all, and logs them. */
void mr_notices_log(struct mr_notices *b, const struct mr_log *log);

#endif
