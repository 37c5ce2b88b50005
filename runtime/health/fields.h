/* fields: adds to the tables that the JSON pages show. Without memory they lack a field.
 * SPDX-License-Identifier: MIT
 * Any thread; pure. `t` may be NULL: nothing is added. */
#ifndef MR_HEALTH_FIELDS_H
#define MR_HEALTH_FIELDS_H

#include <math.h>
#include <string.h>

#include "base/redact.h"
#include "base/value.h"

static inline void mr_fields_text(mr_table *t, const char *key, const char *text)
{
	if (t) mr_table_add_string(t, key, mr_slice_str(text));
}

/* What a peer or a script has said, of up to 1 KiB: without the passwords of URLs. */
static inline void mr_fields_said(mr_table *t, const char *key, const char *text)
{
	char shown[1024];
	size_t size = mr_redact(shown, sizeof shown, text, strlen(text));
	if (t)
		mr_table_add_string(t, key,
			mr_slice_of(shown, size < sizeof shown ? size : sizeof shown));
}

static inline void mr_fields_seconds(mr_table *t, const char *key, double seconds)
{
	mr_value v = {.type = 'd', .as.real = round(seconds * 1000) / 1000};
	if (t) mr_table_add(t, key, strlen(key), &v);
}

static inline void mr_fields_count(mr_table *t, const char *key, uint64_t count)
{
	mr_value v = {.type = 'L', .as.natural = count};
	if (t) mr_table_add(t, key, strlen(key), &v);
}

static inline void mr_fields_flag(mr_table *t, const char *key, bool flag)
{
	mr_value v = {.type = 't', .as.boolean = flag};
	if (t) mr_table_add(t, key, strlen(key), &v);
}

/* A nested table ('F') or array ('A'); NULL without memory. */
static inline mr_table *mr_fields_nest(mr_table *t, const char *key, uint8_t type)
{
	return t ? mr_table_nest(t, key, strlen(key), type) : NULL;
}

#endif
