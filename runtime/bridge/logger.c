/* logger: passes log lines from the threads of a runtime to the thread that writes them.
 * SPDX-License-Identifier: MIT */
#include "bridge/logger.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define RING (128 * 1024) /* bytes of waiting lines: about 500 lines */
#define PATIENCE 200      /* ms that the host waits for a writer without progress */
#define FAREWELL 5000     /* ms for the end of an idle writer, on a busy machine */
#define SLOTS 64          /* the number of runtimes whose lines exit() writes */

/* The thread that takes a logger out of its slot may act as its host. */
static struct mr_logger *_Atomic slots[SLOTS];

void mr_logger_begin(struct mr_logger *l)
{
	atomic_fetch_add(&l->owners, 1);
	for (l->slot = 0; l->slot < SLOTS; l->slot++) {
		struct mr_logger *none = NULL;
		if (atomic_compare_exchange_strong(&slots[l->slot], &none, l)) return;
	}
}

static bool take_out(struct mr_logger *l)
{
	return l->slot == SLOTS || atomic_exchange(&slots[l->slot], NULL) == l;
}

/* Writes the lines of a host that calls exit() without freeing its runtime. */
__attribute__((destructor)) static void write_out_at_exit(void)
{
	for (size_t i = 0; i < SLOTS; i++) {
		struct mr_logger *l = atomic_exchange(&slots[i], NULL);
		if (l && l->home == getpid()) mr_logger_drain(l);
	}
}

static void free_logger(struct mr_logger *l)
{
	for (int i = 0; i < MR_LOGGER_SIDES; i++) mr_ring_close(&l->lines[i]);
	mr_wake_close(&l->writer);
	mr_wake_close(&l->host);
	mr_free(l);
}

enum mr_status mr_logger_new(struct mr_logger **out, int fd, mr_error *error)
{
	struct mr_logger *l = mr_calloc(1, sizeof *l);
	if (!l) return MR_NO_MEMORY;
	l->writer.fd = l->host.fd = -1;
	l->home = getpid();
	/* A descriptor that is closed now may be reused for another file later. */
	l->fd = fcntl(fd, F_GETFD) < 0 ? -1 : fd;
	atomic_store(&l->owners, 1);
	enum mr_status st = mr_wake_open(&l->writer, error);
	if (st == MR_OK) st = mr_wake_open(&l->host, error);
	for (int i = 0; i < MR_LOGGER_SIDES && st == MR_OK; i++)
		st = mr_ring_open(&l->lines[i], RING);
	if (st == MR_OK)
		*out = l;
	else
		free_logger(l);
	return st;
}

void mr_logger_configure(struct mr_logger *l, int level, int format, int worker)
{
	atomic_store(&l->level, level);
	atomic_store(&l->format, format);
	atomic_store(&l->worker, worker);
}

/* ---- pushing lines ---- */

uint64_t mr_logger_dropped(const struct mr_logger *l)
{
	return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

static bool push(struct mr_logger *l, enum mr_logger_side side, const char *line, size_t size)
{
	uint64_t now = mr_clock_us();
	char *record = mr_ring_reserve(&l->lines[side], sizeof now + size + 1);
	if (!record) return false;
	memcpy(record, &now, sizeof now);
	memcpy(record + sizeof now, line, size);
	record[sizeof now + size] = '\n';
	mr_ring_commit(&l->lines[side]);
	atomic_fetch_add(&l->pushed[side], 1);
	mr_wake_signal(&l->writer);
	return true;
}

bool mr_logger_push(struct mr_logger *l, enum mr_logger_side side, const char *line, size_t size)
{
	if (l->fd < 0) return false;
	if (push(l, side, line, size)) return true;
	atomic_fetch_add(&l->dropped, 1);
	return false;
}

static uint64_t handled(const struct mr_logger *l)
{
	return atomic_load(&l->handled[MR_LOGGER_HOST]) + atomic_load(&l->handled[MR_LOGGER_IO]);
}

static bool is_done(const struct mr_logger *l, unsigned sides)
{
	for (int i = 0; i < MR_LOGGER_SIDES; i++)
		if (sides >> i & 1 && atomic_load(&l->handled[i]) < atomic_load(&l->pushed[i]))
			return false;
	return true;
}

/* Waits until all lines of these sides are handled. Returns false if none was handled for PATIENCE
 * ms, now or at the last attempt. */
static bool wait_for(struct mr_logger *l, unsigned sides)
{
	uint64_t seen = handled(l);
	if (l->gave_up && l->gave_up_at == seen) return is_done(l, sides);
	mr_msec until = mr_clock_real() + PATIENCE;
	l->gave_up = 0;
	while (!is_done(l, sides)) {
		mr_wake_prepare(&l->host);
		struct pollfd wait = {.fd = l->host.fd, .events = POLLIN};
		mr_msec left = until - mr_clock_real();
		if (!is_done(l, sides) && left > 0) poll(&wait, 1, (int)left);
		mr_wake_cancel(&l->host);
		mr_wake_clear(&l->host);
		if (handled(l) != seen) until = mr_clock_real() + PATIENCE;
		seen = handled(l);
		if (mr_clock_real() < until || is_done(l, sides)) continue;
		l->gave_up = until;
		l->gave_up_at = seen;
		return false;
	}
	return true;
}

bool mr_logger_drain(struct mr_logger *l) { return wait_for(l, ~0u); }

void mr_logger_say(struct mr_logger *l, const char *line, size_t size, bool written)
{
	const unsigned mine = 1u << MR_LOGGER_HOST;
	if (l->fd < 0) return;
	bool fits = push(l, MR_LOGGER_HOST, line, size);
	if (!fits && wait_for(l, mine)) fits = push(l, MR_LOGGER_HOST, line, size);
	if (!fits) atomic_fetch_add(&l->dropped, 1);
	if (fits && written) wait_for(l, mine);
}

void mr_logger_host_sink(void *logger, int level, const char *line, size_t size)
{
	struct mr_logger *l = logger;
	if (l->home == getpid()) mr_logger_say(l, line, size, level <= MR_LOG_WARN);
}

void mr_logger_io_sink(void *logger, int level, const char *line, size_t size)
{
	(void)level;
	mr_logger_push(logger, MR_LOGGER_IO, line, size);
}

/* ---- writing lines ---- */

static const char *line_of(const char *record, uint64_t *when)
{
	memcpy(when, record, sizeof *when);
	return record + sizeof *when;
}

const char *mr_logger_next(struct mr_logger *l, enum mr_logger_side *side, size_t *size)
{
	const char *oldest = NULL;
	uint64_t oldest_when = 0;
	for (int i = 0; i < MR_LOGGER_SIDES; i++) {
		size_t bytes;
		uint64_t when;
		const char *record = mr_ring_peek(&l->lines[i], &bytes);
		if (!record) continue;
		const char *line = line_of(record, &when);
		if (oldest && when >= oldest_when) continue;
		oldest = line;
		oldest_when = when;
		*side = (enum mr_logger_side)i;
		*size = bytes - sizeof when;
	}
	return oldest;
}

void mr_logger_handled(struct mr_logger *l, enum mr_logger_side side, bool well)
{
	mr_ring_consume(&l->lines[side]);
	if (!well) atomic_fetch_add(&l->dropped, 1);
	atomic_fetch_add(&l->handled[side], 1);
	mr_wake_signal(&l->host);
}

uint64_t mr_logger_take_dropped(struct mr_logger *l)
{
	uint64_t all = mr_logger_dropped(l), news = all - l->told;
	l->told = all;
	return news;
}

static bool has_line(struct mr_logger *l)
{
	size_t size;
	enum mr_logger_side side;
	return mr_logger_next(l, &side, &size) != NULL;
}

bool mr_logger_sleep(struct mr_logger *l)
{
	struct pollfd wait = {.fd = l->writer.fd, .events = POLLIN};
	bool goes_on = true;
	mr_wake_prepare(&l->writer);
	if (!has_line(l)) {
		goes_on = !atomic_load(&l->closing);
		if (goes_on) poll(&wait, 1, -1);
	}
	mr_wake_cancel(&l->writer);
	mr_wake_clear(&l->writer);
	return goes_on;
}

/* ---- the end ---- */

static bool has_ended(struct mr_logger *l, mr_msec patience)
{
	struct pollfd wait = {.fd = l->host.fd, .events = POLLIN};
	mr_msec until = mr_clock_real() + patience;
	while (!atomic_load(&l->ended) && mr_clock_real() < until) {
		mr_wake_prepare(&l->host);
		if (!atomic_load(&l->ended)) poll(&wait, 1, (int)patience);
		mr_wake_cancel(&l->host);
		mr_wake_clear(&l->host);
	}
	return atomic_load(&l->ended);
}

bool mr_logger_end(struct mr_logger *l)
{
	if (!take_out(l)) return false; /* another thread is ending the process */
	bool drained = mr_logger_drain(l);
	atomic_store(&l->closing, true);
	if (!drained) atomic_store(&l->abandoned, true);
	mr_wake_signal(&l->writer);
	return has_ended(l, drained ? FAREWELL : 0);
}

void mr_logger_ended(struct mr_logger *l)
{
	atomic_store(&l->ended, true);
	mr_wake_signal(&l->host);
}

void mr_logger_leave(struct mr_logger *l)
{
	if (atomic_fetch_sub(&l->owners, 1) == 1) free_logger(l);
}
