/* status: names, texts, hints and classes of all kinds of errors, and the structured error.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. */
#ifndef MR_BASE_STATUS_H
#define MR_BASE_STATUS_H

#include <stdarg.h>

#include "moonrabbit.h"

/* Fills `error` (may be NULL) and returns `kind`. The text is escaped: control characters and bytes
 * that are not UTF-8 become \xNN; long texts are cut. */
enum mr_status mr_error_set(struct mr_error *error, enum mr_status kind, enum mr_scope scope,
	int code, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same with an errno number, whose text is appended. EMFILE and ENFILE (no descriptors left)
 * always become MR_NO_DESCRIPTORS, which is then returned instead of `kind`. */
enum mr_status mr_error_system(struct mr_error *error, enum mr_status kind, enum mr_scope scope,
	int system, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* *Gives* a copy; NULL: no memory. */
mr_error *mr_error_copy(const mr_error *error);

/* For an error that something long-lived may have, such as an idle connection: a pointer, NULL while
 * there is none. Sets it to a copy of `error`, which may be the kept one; kind MR_OK or NULL: to
 * none. Without memory for the copy it has the kind, and the kind's own text and code. */
void mr_error_keep(const mr_error **kept, const mr_error *error);
/* Never NULL: kind MR_OK if there is none. */
const mr_error *mr_error_kept(const mr_error *kept);

/* True if the process has no free descriptor now; then *system is the errno number. For failures of
 * other libraries that do not report the reason. */
bool mr_status_lacks_descriptors(int *system);

/* The kind of an AMQP reply code (403 -> MR_ACCESS_REFUSED); MR_INTERNAL_ERROR if it is unknown. */
enum mr_status mr_status_of_code(int code);
/* True if another connection has exclusive use of a queue (405) or of its messages (403, recognised
 * by RabbitMQ's text). That may be a dead connection that the broker still considers alive. */
bool mr_error_is_exclusive_use(const struct mr_error *error);
/* True if a queue is not there because the node that holds it is down (404, recognised by RabbitMQ's text): it is there
 * again when the node is. */
bool mr_error_is_node_down(const struct mr_error *error);
/* Copies a peer's text into `out` in printable form; always NUL-terminated; returns the length. */
size_t mr_error_escape(char *out, size_t capacity, const char *text, size_t size);
/* The candidate most similar to `word` (edit distance at most half its length), or NULL. */
const char *mr_error_nearest(const char *word, size_t size, const char *const *candidates,
	size_t count);

/* True if the broker closed a channel because a message was not acked in time. */
bool mr_error_is_consumer_timeout(const mr_error *error);

#endif
