/* pipe: bytes of an answer without an end, on their way from the host to the I/O thread.
 * SPDX-License-Identifier: MIT
 * Before it sleeps the reader says so, and looks once more; the writer looks for a sleeper after it has
 * written. Both are sequentially consistent, so one of them sees the other. */
#include "bridge/pipe.h"

#include <string.h>

#include "base/alloc.h"

struct mr_pipe *mr_pipe_new(size_t room)
{
	struct mr_pipe *p = mr_calloc(1, sizeof *p + room);
	if (!p) return NULL;
	p->room = room;
	atomic_init(&p->holders, 2);
	return p;
}

void mr_pipe_drop(struct mr_pipe *p)
{
	if (atomic_fetch_sub_explicit(&p->holders, 1, memory_order_acq_rel) == 1) mr_free(p);
}

bool mr_pipe_write(struct mr_pipe *p, const char *data, size_t size)
{
	size_t at = atomic_load_explicit(&p->written, memory_order_relaxed);
	size_t used = at - atomic_load_explicit(&p->read, memory_order_acquire);
	if (size > p->room - used) return false;
	if (!size) return true;
	size_t from = at % p->room, first = p->room - from < size ? p->room - from : size;
	memcpy(p->bytes + from, data, first);
	memcpy(p->bytes, data + first, size - first);
	atomic_store(&p->written, at + size);
	return true;
}

void mr_pipe_end(struct mr_pipe *p) { atomic_store(&p->is_ended, true); }

bool mr_pipe_take_sleep(struct mr_pipe *p)
{
	return atomic_load(&p->sleeps) && atomic_exchange(&p->sleeps, false);
}

size_t mr_pipe_read(struct mr_pipe *p, char *out, size_t most)
{
	size_t at = atomic_load_explicit(&p->read, memory_order_relaxed);
	size_t size = atomic_load_explicit(&p->written, memory_order_acquire) - at;
	if (size > most) size = most;
	if (!size) return 0;
	size_t from = at % p->room, first = p->room - from < size ? p->room - from : size;
	memcpy(out, p->bytes + from, first);
	memcpy(out + first, p->bytes, size - first);
	atomic_store_explicit(&p->read, at + size, memory_order_release);
	return size;
}

static bool has_news(const struct mr_pipe *p)
{
	return atomic_load(&p->is_ended) ||
	       atomic_load(&p->written) != atomic_load_explicit(&p->read, memory_order_relaxed);
}

bool mr_pipe_sleep(struct mr_pipe *p)
{
	atomic_store(&p->sleeps, true);
	if (!has_news(p)) return true;
	atomic_store(&p->sleeps, false);
	return false;
}

/* The end was written after the last bytes. */
bool mr_pipe_is_over(const struct mr_pipe *p)
{
	return atomic_load(&p->is_ended) &&
	       atomic_load(&p->written) == atomic_load_explicit(&p->read, memory_order_relaxed);
}
