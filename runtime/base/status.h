/* status: names, texts, hints and classes of every kind of error, and the structured error.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. Knows AMQP's reply codes, not how they arrive. */
#ifndef MR_BASE_STATUS_H
#define MR_BASE_STATUS_H

#include <stdarg.h>

#include "moonrabbit.h"

/* Fills `error` (may be NULL) and returns `kind`. The text is escaped: control characters and bytes
 * that are not UTF-8 become \xNN; longer texts are cut. */
enum mr_status mr_error_set(struct mr_error *error, enum mr_status kind, enum mr_scope scope,
	int code, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same with errno's number, whose text is appended. No descriptor left (EMFILE, ENFILE) is a kind of its own,
 * whatever was tried: MR_NO_DESCRIPTORS is returned then. */
enum mr_status mr_error_system(struct mr_error *error, enum mr_status kind, enum mr_scope scope,
	int system, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* *Gives* a copy; NULL: no memory. */
mr_error *mr_error_copy(const mr_error *error);

/* Is no descriptor left just now? For failures of other libraries, which do not say why; `system` is then errno's
 * number. */
bool mr_status_lacks_descriptors(int *system);

/* The kind of an AMQP reply code (403 -> MR_ACCESS_REFUSED); MR_INTERNAL_ERROR when unknown. */
enum mr_status mr_status_of_code(int code);
/* Somebody else has it for himself alone: a queue (405), or its messages (403, in RabbitMQ's words). It may
 * be a connection that has died and that the broker still counts as alive. */
bool mr_error_is_exclusive_use(const struct mr_error *error);
/* Copies peer text into `out` so that it can be printed; always terminates; returns the length. */
size_t mr_error_escape(char *out, size_t capacity, const char *text, size_t size);
/* The candidate nearest to `word` (edit distance at most half its length), or NULL. */
const char *mr_error_nearest(const char *word, size_t size, const char *const *candidates,
	size_t count);

/* Did the broker close a channel because a message was not acked in time? */
bool mr_error_is_consumer_timeout(const mr_error *error);

#endif
