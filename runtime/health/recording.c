/* recording: the page /recorder: the last events of the flight recorder.
 * SPDX-License-Identifier: MIT */
#include "health/recording.h"

#include <stdlib.h>
#include <string.h>

#include "amqp/topology.h"
#include "base/alloc.h"
#include "base/json.h"
#include "link/state.h"

#define USUAL 100 /* events of a page */
#define MOST 4096 /* the thread does nothing else while it writes them: some milliseconds */

/* The queue of a consumer, as far as it is known now. */
static const char *queue_of(const struct mr_services *s, const mr_recorded *e)
{
	struct mr_link *link = e->consumer ? mr_map_get(&s->links, e->connection) : NULL;
	const struct mr_record *r =
		link ? mr_record_of_consumer(&link->recovery.topology, e->consumer) : NULL;
	return r ? r->strings[MR_RECORD_NAME] : NULL;
}

static mr_slice text_of(const mr_table *query, const char *key)
{
	const mr_value *v = mr_table_find(query, key);
	return v && v->type == 'S' ? v->as.bytes : mr_slice_of("", 0);
}

/* 0: it is no number from 1 to MOST. */
static size_t count_of(mr_slice digits)
{
	size_t n = 0;
	if (!digits.size) return USUAL;
	for (size_t i = 0; i < digits.size; i++) {
		if (digits.data[i] < '0' || digits.data[i] > '9' || n > MOST) return 0;
		n = n * 10 + (size_t)(digits.data[i] - '0');
	}
	return n <= MOST ? n : 0;
}

static enum mr_status refuse(struct mr_buffer *out, int *code, const char *why)
{
	*code = 400;
	enum mr_status st = mr_buffer_append(out, "{\"error\":", strlen("{\"error\":"));
	if (st == MR_OK) st = mr_json_string(out, mr_slice_str(why));
	return st == MR_OK ? mr_buffer_append(out, "}\n", 2) : st;
}

static enum mr_status write_events(const struct mr_services *s, struct mr_buffer *out,
	const mr_recorded *events, size_t n)
{
	enum mr_status st = mr_buffer_append(out, "{\"events\":[", strlen("{\"events\":["));
	for (size_t i = 0; i < n && st == MR_OK; i++) {
		st = mr_buffer_append(out, ",\n", i ? 2 : 0);
		if (st == MR_OK) st = mr_recorder_json(out, &events[i], queue_of(s, &events[i]));
	}
	return st == MR_OK ? mr_buffer_append(out, "]}\n", 3) : st;
}

enum mr_status mr_recording_page(struct mr_services *services, const mr_table *query,
	struct mr_buffer *out, int *code)
{
	size_t most = count_of(text_of(query, "last"));
	mr_slice asked = text_of(query, "filter");
	char *filter = mr_strdup_n(asked.data, asked.size);
	mr_recorded *events = mr_malloc((most + 1) * sizeof *events);
	const char *why = !most ? "last must be a whole number from 1 to 4096"
	                        : mr_recorder_objection(filter);
	enum mr_status st = filter && events ? MR_OK : MR_NO_MEMORY;
	if (st == MR_OK && why)
		st = refuse(out, code, why);
	else if (st == MR_OK)
		st = write_events(services, out, events,
			mr_recorder_read(&services->bridge->recorder, filter, MR_RECORDER_LOOK,
				events, most));
	mr_free(events);
	mr_free(filter);
	return st;
}
