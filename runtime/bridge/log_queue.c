/* log_queue: log lines for a host that takes them as events.
 * SPDX-License-Identifier: MIT */
#include "bridge/log_queue.h"

#include <string.h>

#define RING (128 * 1024) /* bytes of waiting lines of one thread: about 500 lines */

struct head {
	uint64_t when; /* us */
	int level;
};

enum mr_status mr_log_queue_open(struct mr_log_queue *q, struct mr_wake *host)
{
	q->host = host;
	for (int i = 0; i < MR_LOGGER_SIDES; i++)
		if (!q->lines[i].base && mr_ring_open(&q->lines[i], RING) != MR_OK)
			return MR_NO_MEMORY;
	return MR_OK;
}

void mr_log_queue_close(struct mr_log_queue *q)
{
	for (int i = 0; i < MR_LOGGER_SIDES; i++) mr_ring_close(&q->lines[i]);
}

static void push(struct mr_log_queue *q, enum mr_logger_side side, int level, const char *line,
	size_t size)
{
	struct head head = {mr_clock_us(), level};
	char *record = mr_ring_reserve(&q->lines[side], sizeof head + size);
	if (!record) {
		atomic_fetch_add(&q->dropped, 1);
		return;
	}
	memcpy(record, &head, sizeof head);
	memcpy(record + sizeof head, line, size);
	mr_ring_commit(&q->lines[side]);
}

void mr_log_queue_io_sink(void *queue, int level, const char *line, size_t size)
{
	struct mr_log_queue *q = queue;
	push(q, MR_LOGGER_IO, level, line, size);
	mr_wake_signal(q->host);
}

void mr_log_queue_push(struct mr_log_queue *q, int level, const char *line, size_t size)
{
	push(q, MR_LOGGER_HOST, level, line, size);
}

const char *mr_log_queue_next(struct mr_log_queue *q, int *level, size_t *size)
{
	const char *line = NULL;
	uint64_t when = 0;
	for (int i = 0; i < MR_LOGGER_SIDES; i++) {
		struct head head;
		size_t bytes;
		const char *record = mr_ring_peek(&q->lines[i], &bytes);
		if (!record) continue;
		memcpy(&head, record, sizeof head);
		if (line && head.when >= when) continue;
		q->next = &q->lines[i];
		when = head.when;
		*level = head.level;
		*size = bytes - sizeof head;
		line = record + sizeof head;
	}
	return line;
}

void mr_log_queue_taken(struct mr_log_queue *q, bool well)
{
	mr_ring_consume(q->next);
	if (!well) atomic_fetch_add(&q->dropped, 1);
}

bool mr_log_queue_is_empty(const struct mr_log_queue *q)
{
	for (int i = 0; i < MR_LOGGER_SIDES; i++)
		if (!mr_ring_is_empty(&q->lines[i])) return false;
	return true;
}

uint64_t mr_log_queue_dropped(const struct mr_log_queue *q)
{
	return atomic_load_explicit(&q->dropped, memory_order_relaxed);
}

uint64_t mr_log_queue_untold(const struct mr_log_queue *q)
{
	return mr_log_queue_dropped(q) - q->told;
}

void mr_log_queue_told(struct mr_log_queue *q, uint64_t count) { q->told += count; }
