/* redact: text for people, without the passwords of the URLs in it.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. lua/moonrabbit/base/redact.lua has the same rule. (mr_uri_redact takes a text that
 * is a URL as a whole.) */
#ifndef MR_BASE_REDACT_H
#define MR_BASE_REDACT_H

#include <stddef.h>

/* Copies the text, with *** for what stands between the user's colon and the last @ of the word: a
 * password may contain / and @. The same for what stands behind a `password=` of the word, up to & or ;. A word ends at a
 * space or a quotation mark. Writes at most `capacity`
 * bytes, without a NUL; returns the full size. */
size_t mr_redact(char *out, size_t capacity, const char *text, size_t size);

#endif
