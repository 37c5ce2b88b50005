/* recent: the last moves of the connections, and the last lines of the log, for /status.
 * SPDX-License-Identifier: MIT */
#include "health/recent.h"

#include "bridge/log_tail.h"
#include "health/fields.h"
#include "link/history.h"

static const char *name_of(int state)
{
	switch (state) {
	case MR_CONNECTION_OPEN: return "opened";
	case MR_CONNECTION_CLOSED: return "closed";
	case MR_CONNECTION_LOST: return "lost";
	default: return "given up";
	}
}

void mr_recent_moves(mr_table *page, const struct mr_history *h)
{
	uint64_t first = h->move_count > MR_MOVES_MAX ? h->move_count - MR_MOVES_MAX : 0;
	mr_table *list = mr_fields_nest(page, "moves", 'A');
	for (uint64_t at = first; at < h->move_count; at++) {
		const struct mr_move *m = &h->moves[at % MR_MOVES_MAX];
		mr_table *one = mr_fields_nest(list, "", 'F');
		mr_fields_seconds(one, "time", m->when);
		mr_fields_count(one, "connection", m->connection);
		mr_fields_text(one, "what", name_of(m->state));
		if (*m->error) mr_fields_said(one, "error", m->error);
	}
}

void mr_recent_log(mr_table *page, const struct mr_log_tail *tail, uint64_t after)
{
	char line[MR_LOG_TAIL_SIZE + 1];
	uint64_t last = mr_log_tail_last(tail);
	uint64_t first = last > MR_LOG_TAIL_LINES ? last - MR_LOG_TAIL_LINES : 0;
	mr_table *log = mr_fields_nest(page, "log", 'F');
	mr_fields_count(log, "last", last);
	mr_table *lines = mr_fields_nest(log, "lines", 'A');
	for (uint64_t n = (after > first ? after : first) + 1; n <= last; n++) {
		size_t size = mr_log_tail_read(tail, n, line);
		line[size] = '\0';
		if (size) mr_fields_text(lines, "", line);
	}
}
