/* stream: a connected byte pipe without blocking: what tcp, tls and (later) memory:// all are.
 * SPDX-License-Identifier: MIT
 * I/O thread only. Owns its descriptor. One stream may sit on another (tls on tcp); closing the upper
 * closes the lower. */
#ifndef MR_NET_STREAM_H
#define MR_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

enum mr_want { MR_WANT_READ = 1, MR_WANT_WRITE = 2 };

struct mr_stream;

struct mr_stream_class {
	/* Goes on with connecting. MR_OK: it is up. MR_TIMEOUT: not yet; wait for what `want` says.
	 * Else it failed, `error` says how (kind, errno, text). Not called again after MR_OK. */
	enum mr_status (*connect)(struct mr_stream *s, mr_error *error);
	/* Reads into data: > 0 bytes; 0: nothing now (wait for `want`); -1: failed or ended, in `error`
	 * (MR_STREAM_LOST; end of stream says so in its text). */
	ssize_t (*read)(struct mr_stream *s, void *data, size_t size, mr_error *error);
	/* Writes: > 0 bytes taken; 0: nothing now; -1: failed. Never raises SIGPIPE. */
	ssize_t (*write)(struct mr_stream *s, const void *data, size_t size, mr_error *error);
	/* Bytes already read from the descriptor, decrypted or not, that a read could give without the
	 * descriptor becoming readable again. */
	bool (*pending)(const struct mr_stream *s);
	/* Ends what we say (close_notify, then a FIN) and leaves what we hear. */
	void (*end)(struct mr_stream *s);
	/* Says good-bye as the protocol asks (close_notify) without waiting, closes the descriptor, frees. */
	void (*close)(struct mr_stream *s);
};

struct mr_stream {
	const struct mr_stream_class *class;
	int fd;
	unsigned
		want; /* MR_WANT_*: what the descriptor must become before the last call can go on */
};

#endif
