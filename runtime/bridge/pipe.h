/* pipe: bytes of an answer without an end, on their way from the host to the I/O thread.
 * SPDX-License-Identifier: MIT
 * Each comment names the calling thread. Bounded: a client that reads slowly costs nobody anything but
 * what finds no room. Each thread holds the pipe; it is freed when both have dropped it. */
#ifndef MR_BRIDGE_PIPE_H
#define MR_BRIDGE_PIPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct mr_pipe {
	atomic_size_t written, read; /* bytes since the beginning: by the host, by the I/O thread */
	atomic_bool is_ended;        /* the host writes no more */
	atomic_bool sleeps;          /* the I/O thread waits to be told of bytes, or of the end */
	atomic_int holders;
	size_t room;
	char bytes[];
};

struct mr_pipe *mr_pipe_new(size_t room); /* host; for both threads; NULL: out of memory */
void mr_pipe_drop(struct mr_pipe *p);     /* each thread once */
/* Host: all of it or nothing. False: there is no room. */
bool mr_pipe_write(struct mr_pipe *p, const char *data, size_t size);
void mr_pipe_end(struct mr_pipe *p); /* host */
/* Host, after either of them: true if the I/O thread must be told. */
bool mr_pipe_take_sleep(struct mr_pipe *p);
size_t mr_pipe_read(struct mr_pipe *p, char *out, size_t most); /* I/O */
/* I/O, when there was nothing to read: true: it will be told when there is; false: read again. */
bool mr_pipe_sleep(struct mr_pipe *p);
/* I/O: true: all was read, and no more comes. */
bool mr_pipe_is_over(const struct mr_pipe *p);

#endif
