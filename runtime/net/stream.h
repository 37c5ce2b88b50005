/* stream: the common interface of non-blocking byte streams (tcp, tls).
 * SPDX-License-Identifier: MIT
 * I/O thread only. Owns its descriptor. A stream may use another one (tls on tcp); closing the
 * upper one closes the lower one. */
#ifndef MR_NET_STREAM_H
#define MR_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/status.h"

enum mr_want { MR_WANT_READ = 1, MR_WANT_WRITE = 2 };

struct mr_stream;

struct mr_stream_class {
	/* Continues to connect. MR_OK: it is connected. MR_TIMEOUT: not yet; wait for `want`. Else
	 * it failed; see `error` (kind, errno, text). Not called again after MR_OK. */
	enum mr_status (*connect)(struct mr_stream *s, mr_error *error);
	/* Reads into data: > 0 bytes; 0: nothing now (wait for `want`); -1: failed or ended, in
	 * `error` (MR_STREAM_LOST; end of stream says so in its text). */
	ssize_t (*read)(struct mr_stream *s, void *data, size_t size, mr_error *error);
	/* The same into several places, in order. NULL: one read would not do for them. */
	ssize_t (*readv)(struct mr_stream *s, const struct iovec *to, int count, mr_error *error);
	/* Writes: > 0 bytes taken; 0: nothing now; -1: failed. Never raises SIGPIPE. */
	ssize_t (*write)(struct mr_stream *s, const void *data, size_t size, mr_error *error);
	/* The same from several places (at least one), in order. Call it again with the bytes that it has
	 * not taken; more may follow them. */
	ssize_t (
		*writev)(struct mr_stream *s, const struct iovec *from, int count, mr_error *error);
	/* True if a read could return bytes that were already read from the descriptor, decrypted
	 * or not, although the descriptor is not readable. */
	bool (*pending)(const struct mr_stream *s);
	/* Ends our direction (close_notify, then a FIN); reading is still possible. */
	void (*end)(struct mr_stream *s);
	/* Sends a close_notify if the protocol needs it, without waiting; closes the descriptor;
	 * frees. */
	void (*close)(struct mr_stream *s);
	/* Fills in tls, tls_resumed and certificate_end; NULL: there is no TLS. */
	void (*describe)(const struct mr_stream *s, mr_facts *out);
};

struct mr_stream {
	const struct mr_stream_class *class;
	int fd;
	unsigned want; /* MR_WANT_*: what to wait for before the last call can continue */
};

#endif
