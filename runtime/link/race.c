/* race: connects to the addresses of one host; the first that connects wins (RFC 8305).
 * SPDX-License-Identifier: MIT */
#include "link/race.h"

#include <string.h>

#include "base/alloc.h"
#include "net/tcp.h"

#define ATTEMPT_DELAY 250 /* ms: RFC 8305, section 5 */

static void stop(struct mr_race *r, struct mr_racer *a)
{
	ev_io_stop(r->services->loop, &a->io);
	if (a->stream) a->stream->class->close(a->stream);
	a->stream = NULL;
}

static void call_off(struct mr_race *r)
{
	mr_timer_stop(&r->timer);
	for (size_t i = 0; i < r->count; i++) {
		struct mr_racer *a = &r->racers[i];
		if (a->state != MR_RACER_RUNS) continue;
		stop(r, a);
		a->state = MR_RACER_FRESH;
	}
}

static void fail(struct mr_race *r, struct mr_racer *a, const mr_error *error)
{
	stop(r, a);
	a->state = MR_RACER_OUT;
	r->class->failed(r->owner, (size_t)(a - r->racers), error);
}

static void watch(struct mr_race *r, struct mr_racer *a)
{
	unsigned want = a->stream->want;
	int events = (want & MR_WANT_READ ? EV_READ : 0) | (want & MR_WANT_WRITE ? EV_WRITE : 0);
	ev_io_stop(r->services->loop, &a->io);
	ev_io_set(&a->io, a->stream->fd, events);
	ev_io_start(r->services->loop, &a->io);
}

/* True: it has won, and the race may have been freed. */
static bool step(struct mr_race *r, struct mr_racer *a)
{
	mr_error error = {0};
	enum mr_status st = a->stream->class->connect(a->stream, &error);
	if (st == MR_TIMEOUT) {
		watch(r, a);
		return false;
	}
	if (st != MR_OK) {
		fail(r, a, &error);
		return false;
	}
	struct mr_stream *stream = a->stream;
	a->stream = NULL;
	stop(r, a);
	a->state = MR_RACER_OUT;
	call_off(r);
	r->class->won(r->owner, (size_t)(a - r->racers), stream);
	return true;
}

static struct mr_racer *next_in(const struct mr_race *r, enum mr_racer_state state)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->racers[i].state == state) return &r->racers[i];
	return NULL;
}

static void arm(struct mr_race *r)
{
	mr_msec at = next_in(r, MR_RACER_FRESH) ? r->next_start : MR_NEVER;
	for (size_t i = 0; i < r->count; i++)
		if (r->racers[i].state == MR_RACER_RUNS) at = mr_earlier(at, r->racers[i].deadline);
	mr_timer_arm(&r->timer, at);
}

/* Starts the next one, and further ones if it fails at once. True: one has won. */
static bool start_next(struct mr_race *r)
{
	struct mr_racer *a;
	while ((a = next_in(r, MR_RACER_FRESH))) {
		mr_error error = {0};
		const struct sockaddr *to = &a->address.storage.any;
		a->state = MR_RACER_RUNS;
		a->deadline = r->class->deadline(r->owner);
		r->next_start = mr_clock_now() + ATTEMPT_DELAY;
		if (mr_tcp_open(&a->stream, to, a->address.size, &error) != MR_OK)
			fail(r, a, &error);
		else if (step(r, a))
			return true;
		if (a->state == MR_RACER_RUNS) break;
	}
	return false;
}

static void go_on(struct mr_race *r, bool is_next)
{
	if (is_next && start_next(r)) return;
	if (next_in(r, MR_RACER_RUNS))
		arm(r);
	else if (next_in(r, MR_RACER_FRESH))
		go_on(r, true);
	else
		r->class->over(r->owner);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_racer *a = io->data;
	struct mr_race *r = a->race;
	(void)loop;
	(void)revents;
	if (step(r, a)) return;
	if (a->state == MR_RACER_OUT) go_on(r, true);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_race *r = timer->data;
	mr_msec now = mr_clock_now();
	mr_error late = {0};
	bool is_next = now >= r->next_start;
	(void)loop;
	(void)revents;
	mr_error_set(&late, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0, "no answer in time");
	for (size_t i = 0; i < r->count; i++) {
		struct mr_racer *a = &r->racers[i];
		if (a->state != MR_RACER_RUNS || now < a->deadline) continue;
		fail(r, a, &late);
		is_next = true;
	}
	go_on(r, is_next);
}

void mr_race_init(struct mr_race *r, struct mr_services *services,
	const struct mr_race_owner *class, void *owner)
{
	*r = (struct mr_race){.services = services, .class = class, .owner = owner};
	mr_timer_init(&r->timer, &services->timers, on_timer, r);
}

/* The next address of a family, or of any if there is none. */
static size_t pick(const struct mr_address *addresses, const bool *taken, size_t count, int family)
{
	size_t any = count;
	for (size_t i = 0; i < count; i++) {
		if (taken[i]) continue;
		if (addresses[i].storage.any.sa_family == family) return i;
		if (any == count) any = i;
	}
	return any;
}

static bool is_same(const struct mr_address *a, const struct mr_address *b)
{
	return a->size == b->size && memcmp(&a->storage, &b->storage, a->size) == 0;
}

/* The family of the first address: that of the one that worked, else that of the resolver's
 * first. */
static size_t pick_first(const struct mr_address *addresses, size_t count,
	const struct mr_address *first)
{
	for (size_t i = 0; first && i < count; i++)
		if (is_same(&addresses[i], first)) return i;
	return 0;
}

enum mr_status mr_race_set(struct mr_race *r, const struct mr_address *addresses, size_t count,
	const struct mr_address *first)
{
	mr_race_fini(r);
	struct mr_racer *racers = mr_calloc(count, sizeof *racers);
	bool *taken = mr_calloc(count, sizeof *taken);
	if (!racers || !taken) {
		mr_free(racers);
		mr_free(taken);
		return MR_NO_MEMORY;
	}
	size_t at = pick_first(addresses, count, first);
	for (size_t i = 0; i < count; i++) {
		racers[i].race = r;
		racers[i].address = addresses[at];
		ev_init(&racers[i].io, on_ready);
		racers[i].io.data = &racers[i];
		taken[at] = true;
		bool was_4 = addresses[at].storage.any.sa_family == AF_INET;
		at = pick(addresses, taken, count, was_4 ? AF_INET6 : AF_INET);
	}
	mr_free(taken);
	r->racers = racers;
	r->count = count;
	return MR_OK;
}

void mr_race_run(struct mr_race *r) { go_on(r, true); }

void mr_race_again(struct mr_race *r, size_t racer) { r->racers[racer].state = MR_RACER_FRESH; }

size_t mr_race_fresh(const struct mr_race *r)
{
	size_t count = 0;
	for (size_t i = 0; i < r->count; i++) count += r->racers[i].state == MR_RACER_FRESH;
	return count;
}

void mr_race_fini(struct mr_race *r)
{
	call_off(r);
	mr_free(r->racers);
	r->racers = NULL;
	r->count = 0;
}
