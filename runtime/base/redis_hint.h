/* redis_hint: what to do about the errors of a Redis.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. Recognises them by their text, which redis/failure makes. */
#ifndef MR_BASE_REDIS_HINT_H
#define MR_BASE_REDIS_HINT_H

/* NULL: the text is not of an error of Redis, or there is no more to say than for its kind. */
const char *mr_redis_hint(const char *text);

#endif
