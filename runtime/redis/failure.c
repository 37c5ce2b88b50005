/* failure: what an error of Redis means to us.
 * SPDX-License-Identifier: MIT */
#include "redis/failure.h"

#include <stdio.h>

struct code {
	const char *word; /* the first of the text */
	enum mr_status kind;
	const char *text; /* NULL: Redis' own */
};

static const struct code codes[] = {
	{"WRONGPASS", MR_AUTHENTICATION_FAILED, NULL},
	{"NOAUTH", MR_AUTHENTICATION_FAILED, NULL},
	{"NOPERM", MR_ACCESS_REFUSED, NULL},
	{"OOM", MR_RESOURCE_ERROR, NULL},
	{"MISCONF", MR_RESOURCE_ERROR, NULL},
	{"READONLY", MR_CONNECTION_FORCED, NULL},
	{"LOADING", MR_CONNECTION_FORCED, NULL},
	{"MASTERDOWN", MR_CONNECTION_FORCED, NULL},
	{"NOREPLICAS", MR_RESOURCE_ERROR, NULL},
	{"TRYAGAIN", MR_RESOURCE_ERROR, NULL},
	{"BUSY", MR_RESOURCE_LOCKED, NULL},
	{"NOSCRIPT", MR_NOT_FOUND, NULL},
	{"WRONGTYPE", MR_PRECONDITION_FAILED, NULL},
	{"BUSYGROUP", MR_PRECONDITION_FAILED, NULL},
	{"EXECABORT", MR_PRECONDITION_FAILED, NULL},
	{"MOVED", MR_NOT_IMPLEMENTED, "Redis Cluster is not supported"},
	{"ASK", MR_NOT_IMPLEMENTED, "Redis Cluster is not supported"},
	{"CROSSSLOT", MR_NOT_IMPLEMENTED, "Redis Cluster is not supported"},
	{"CLUSTERDOWN", MR_NOT_IMPLEMENTED, "Redis Cluster is not supported"},
};

/* Without a word of their own: by their beginning after "ERR ". */
static const struct code plain[] = {
	{"max number of clients reached", MR_CONNECTION_LIMIT_REACHED, NULL},
	{"DB index is out of range", MR_NOT_FOUND, NULL},
	{"invalid DB index", MR_NOT_FOUND, NULL},
	{"AUTH <password> called without any password", MR_AUTHENTICATION_FAILED, NULL},
	{"Client sent AUTH, but no password is set", MR_AUTHENTICATION_FAILED, NULL},
	{"SELECT is not allowed in cluster mode", MR_NOT_IMPLEMENTED,
		"Redis Cluster is not supported"},
	{"unknown command", MR_NOT_IMPLEMENTED, NULL},
	{"unknown subcommand", MR_NOT_IMPLEMENTED, NULL},
};

static bool starts(mr_slice text, const char *word)
{
	size_t size = strlen(word);
	return text.size >= size && memcmp(text.data, word, size) == 0;
}

static const struct code *find(mr_slice text)
{
	const char *space = text.size ? memchr(text.data, ' ', text.size) : NULL;
	mr_slice word = mr_slice_of(text.data, space ? (size_t)(space - text.data) : text.size);
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (mr_slice_equal(word, mr_slice_str(codes[i].word))) return &codes[i];
	if (!starts(text, "ERR ")) return NULL;
	text = mr_slice_of(text.data + 4, text.size - 4);
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (starts(text, plain[i].word)) return &plain[i];
	return NULL;
}

/* "with args beginning with: 'secret' 'body'" and the like: all from the second quotation mark pair on. */
static size_t without_arguments(mr_slice text)
{
	const char *args = text.size ? memmem(text.data, text.size, ", with args", 11) : NULL;
	return args ? (size_t)(args - text.data) : text.size;
}

/* Redis before 7 wraps what a script's command was told: "ERR Error running script (call to f_...): ...: -READONLY ...". */
static mr_slice unwrapped(mr_slice text)
{
	const char *at = starts(text, "ERR Error running script")
	                         ? memmem(text.data, text.size, ": -", 3)
	                         : NULL;
	if (!at) return text;
	return mr_slice_of(at + 3, text.size - (size_t)(at + 3 - text.data));
}

enum mr_status mr_failure_of_redis(mr_error *error, enum mr_scope scope, mr_slice text)
{
	text = unwrapped(text);
	const struct code *code = find(text);
	enum mr_status kind = code ? code->kind : MR_INTERNAL_ERROR;
	size_t size = without_arguments(text);
	if (code && code->text)
		return mr_error_set(error, kind, scope, 0, "%s (%.*s)", code->text,
			(int)strlen(code->word), text.data);
	if (size > 300) size = 300;
	return mr_error_set(error, kind, scope, 0, "Redis: %.*s", (int)size, text.data);
}
