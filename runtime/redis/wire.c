/* wire: Redis' protocol: commands to bytes, and bytes to replies.
 * SPDX-License-Identifier: MIT */
#include "redis/wire.h"

#include <stdio.h>

#include "base/alloc.h"

/* ---- commands ---- */

static enum mr_status put_head(struct mr_buffer *out, char kind, size_t number)
{
	char head[32];
	int size = snprintf(head, sizeof head, "%c%zu\r\n", kind, number);
	return mr_buffer_append(out, head, (size_t)size);
}

enum mr_status mr_redis_wire_put(struct mr_buffer *out, const mr_slice *words, size_t count)
{
	size_t before = mr_buffer_size(out);
	enum mr_status st = put_head(out, '*', count);
	for (size_t i = 0; i < count && st == MR_OK; i++) {
		st = put_head(out, '$', words[i].size);
		if (st == MR_OK && words[i].size)
			st = mr_buffer_append(out, words[i].data, words[i].size);
		if (st == MR_OK) st = mr_buffer_append(out, "\r\n", 2);
	}
	if (st != MR_OK) out->end = out->start + before;
	return st;
}

/* ---- replies: hiredis calls these as it reads ---- */

void mr_redis_wire_free(redisReply *reply)
{
	if (!reply) return;
	for (size_t i = 0; reply->element && i < reply->elements; i++)
		mr_redis_wire_free(reply->element[i]);
	mr_free(reply->element);
	mr_free(reply->str);
	mr_free(reply);
}

static redisReply *make(const redisReadTask *task)
{
	redisReply *reply = mr_calloc(1, sizeof *reply);
	if (reply) reply->type = task->type;
	return reply;
}

static void *place(const redisReadTask *task, redisReply *reply)
{
	if (task->parent) {
		redisReply *array = task->parent->obj;
		array->element[task->idx] = reply;
	}
	return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t size)
{
	redisReply *reply = make(task);
	if (!reply) return NULL;
	if (!(reply->str = mr_strdup_n(text, size))) {
		mr_free(reply);
		return NULL;
	}
	reply->len = size;
	return place(task, reply);
}

static void *make_array(const redisReadTask *task, int count)
{
	/* Too many are told as a lack of memory: hiredis has no other answer. */
	if (count > MR_REDIS_WIRE_ITEMS_MAX) return NULL;
	redisReply *reply = make(task);
	if (!reply) return NULL;
	if (count > 0) reply->element = mr_calloc((size_t)count, sizeof(redisReply *));
	if (count > 0 && !reply->element) {
		mr_free(reply);
		return NULL;
	}
	reply->elements = (size_t)count;
	return place(task, reply);
}

static void *make_integer(const redisReadTask *task, long long value)
{
	redisReply *reply = make(task);
	if (!reply) return NULL;
	reply->integer = value;
	return place(task, reply);
}

static void *make_nil(const redisReadTask *task)
{
	redisReply *reply = make(task);
	if (!reply) return NULL;
	reply->type = REDIS_REPLY_NIL; /* the task's is that of what is not there */
	return place(task, reply);
}

static void free_reply(void *reply) { mr_redis_wire_free(reply); }

static redisReplyObjectFunctions makers = {make_string, make_array, make_integer, make_nil,
	free_reply};

enum mr_status mr_redis_wire_open(struct mr_redis_wire *w)
{
	w->reader = redisReaderCreateWithFunctions(&makers);
	return w->reader ? MR_OK : MR_NO_MEMORY;
}

void mr_redis_wire_close(struct mr_redis_wire *w)
{
	if (w->reader) redisReaderFree(w->reader);
	w->reader = NULL;
}

static enum mr_status failed(const redisReader *reader, mr_error *error)
{
	if (reader->err == REDIS_ERR_OOM)
		return mr_error_set(error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0,
			"out of memory for a reply of Redis");
	return mr_error_set(error, MR_FRAME_ERROR, MR_SCOPE_CONNECTION, 0,
		"this is not Redis' protocol: %.120s", reader->errstr);
}

enum mr_status mr_redis_wire_feed(struct mr_redis_wire *w, const void *data, size_t size,
	mr_error *error)
{
	redisReader *reader = w->reader;
	if (reader->len - reader->pos > MR_REDIS_WIRE_STRING_MAX + 64)
		return mr_error_set(error, MR_FRAME_ERROR, MR_SCOPE_CONNECTION, 0,
			"a reply of Redis is larger than %u MiB", MR_REDIS_WIRE_STRING_MAX >> 20);
	return redisReaderFeed(reader, data, size) == REDIS_OK ? MR_OK : failed(reader, error);
}

enum mr_status mr_redis_wire_take(struct mr_redis_wire *w, redisReply **out, mr_error *error)
{
	void *reply = NULL;
	if (redisReaderGetReply(w->reader, &reply) != REDIS_OK) return failed(w->reader, error);
	*out = reply;
	return MR_OK;
}
