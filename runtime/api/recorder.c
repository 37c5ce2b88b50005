/* recorder: the host's calls for the flight recorder.
 * SPDX-License-Identifier: MIT
 * Host thread: files may block. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "api/handle.h"
#include "base/alloc.h"
#include "base/descriptor.h"

void mr_recorder_size(uint32_t events) { mr_recorder_set_size(events); }

int mr_recorder_last(mr_runtime *rt, const char *filter, mr_recorded *out, int most)
{
	if (mr_handle_is_forked(rt) || most < 0) return 0;
	if (mr_recorder_objection(filter)) return -1;
	return (int)mr_recorder_read(&rt->bridge.recorder, filter, SIZE_MAX, out, (size_t)most);
}

static const struct {
	enum mr_tape_kind kind;
	const char *name;
} notes[] = {{MR_TAPE_RETRY, "again later"}, {MR_TAPE_DEAD, "given up"}, {MR_TAPE_ERROR, "handler"},
	{MR_TAPE_HANDLER, "abandoned"}};

void mr_recorder_note(mr_runtime *rt, const char *kind, uint32_t connection, uint16_t channel,
	uint32_t consumer, uint64_t number, const char *text, size_t text_size)
{
	if (mr_handle_is_forked(rt)) return;
	for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
		struct mr_tape_event e = {.time = mr_clock_us(),
			.kind = (uint8_t)notes[i].kind,
			.name = notes[i].name,
			.number = number,
			.connection = connection,
			.channel = channel,
			.consumer = consumer};
		if (strcmp(kind, mr_tape_kind(e.kind)) != 0) continue;
		mr_tape_tell(&rt->bridge.recorder.host, &e, mr_slice_of(text, text_size));
	}
}

/* ---- the file ---- */

static enum mr_status collect(mr_runtime *rt, struct mr_buffer *out)
{
	const struct mr_recorder *r = &rt->bridge.recorder;
	size_t most = r->io.slots ? 2 * ((size_t)r->io.mask + 1) : 0;
	if (most > MR_RECORDER_LOOK) most = MR_RECORDER_LOOK;
	mr_recorded *events = mr_malloc((most + 1) * sizeof *events);
	size_t n = events ? mr_recorder_read(r, NULL, most, events, most) : 0;
	enum mr_status st = events ? MR_OK : MR_NO_MEMORY;
	for (size_t i = 0; i < n && st == MR_OK; i++) {
		st = mr_recorder_json(out, &events[i], NULL);
		if (st == MR_OK) st = mr_buffer_append(out, "\n", 1);
	}
	mr_free(events);
	return st;
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static enum mr_status fail(mr_error *error, const char *path)
{
	return mr_error_system(error, MR_NOT_ALLOWED, MR_SCOPE_NONE, errno, "cannot write %s",
		path);
}

int mr_recorder_write(mr_runtime *rt, const char *path, mr_error *error)
{
	struct mr_buffer text = {0};
	if (mr_handle_is_forked(rt))
		return mr_error_set(error, MR_FORKED, MR_SCOPE_NONE, 0, "the process is a fork");
	enum mr_status st = collect(rt, &text);
	if (st != MR_OK) {
		mr_buffer_fini(&text);
		return mr_error_set(error, st, MR_SCOPE_NONE, 0, "%s", mr_status_text(st));
	}
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = mr_descriptor_claim(open(path, flags, 0600));
	if (fd < 0 || !write_all(fd, mr_buffer_data(&text), mr_buffer_size(&text)))
		st = fail(error, path);
	if (fd >= 0) mr_descriptor_close(fd);
	if (fd >= 0 && st != MR_OK) unlink(path);
	mr_buffer_fini(&text);
	return st;
}
