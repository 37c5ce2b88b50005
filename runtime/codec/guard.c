/* guard: refuses input that the codec cannot handle: sizes, types, channels, table depth.
 * SPDX-License-Identifier: MIT */
#include "codec/guard.h"

#include "base/value.h"
#include "codec/field_size.h"
#include "codec/method_id.h"

/* Each refusal ends the connection. */
#define refuse(error, kind, code, ...)                                                             \
	mr_error_set(error, kind, MR_SCOPE_CONNECTION, code, __VA_ARGS__)

static uint32_t largest(const struct mr_guard *guard, uint8_t type)
{
	bool is_wide = type == MR_FRAME_HEADER && guard->header_max > guard->frame_max;
	return is_wide ? guard->header_max : guard->frame_max;
}

enum mr_status mr_guard_head(const struct mr_guard *guard, const uint8_t head[MR_FRAME_HEAD],
	mr_error *error)
{
	uint8_t type = head[0];
	uint16_t channel = mr_get16(head + 1);
	uint32_t size = mr_get32(head + 3);

	if (type != MR_FRAME_METHOD && type != MR_FRAME_HEADER && type != MR_FRAME_BODY &&
		type != MR_FRAME_HEARTBEAT)
		return refuse(error, MR_FRAME_ERROR, 501, "a frame of unknown type %u", type);
	if (size > largest(guard, type) - 8)
		return refuse(error, MR_FRAME_ERROR, 501,
			type == MR_FRAME_HEADER
				? "a content header of %u bytes, over what one may have"
				: "a frame of %u bytes, over the agreed frame_max",
			size);
	if (channel > guard->channel_max)
		return refuse(error, MR_CHANNEL_ERROR, 504,
			"a frame on channel %u, over the agreed channel_max", channel);
	if (type == MR_FRAME_HEARTBEAT && (size || channel))
		return refuse(error, MR_FRAME_ERROR, 501,
			"a heartbeat with %u bytes, or not on channel 0", size);
	return MR_OK;
}

/* The methods that a server may send to a client, by class. */
bool mr_guard_may_come(uint32_t id)
{
	switch (id) {
	case MR_M_CONNECTION_START:
	case MR_M_CONNECTION_SECURE:
	case MR_M_CONNECTION_TUNE:
	case MR_M_CONNECTION_OPEN_OK:
	case MR_M_CONNECTION_CLOSE:
	case MR_M_CONNECTION_CLOSE_OK:
	case MR_M_CONNECTION_BLOCKED:
	case MR_M_CONNECTION_UNBLOCKED:
	case MR_M_CONNECTION_UPDATE_SECRET_OK:
	case MR_M_CHANNEL_OPEN_OK:
	case MR_M_CHANNEL_FLOW:
	case MR_M_CHANNEL_CLOSE:
	case MR_M_CHANNEL_CLOSE_OK:
	case MR_M_EXCHANGE_DECLARE_OK:
	case MR_M_EXCHANGE_DELETE_OK:
	case MR_M_EXCHANGE_BIND_OK:
	case MR_M_EXCHANGE_UNBIND_OK:
	case MR_M_QUEUE_DECLARE_OK:
	case MR_M_QUEUE_BIND_OK:
	case MR_M_QUEUE_PURGE_OK:
	case MR_M_QUEUE_DELETE_OK:
	case MR_M_QUEUE_UNBIND_OK:
	case MR_M_BASIC_QOS_OK:
	case MR_M_BASIC_CONSUME_OK:
	case MR_M_BASIC_CANCEL:
	case MR_M_BASIC_CANCEL_OK:
	case MR_M_BASIC_RETURN:
	case MR_M_BASIC_DELIVER:
	case MR_M_BASIC_GET_OK:
	case MR_M_BASIC_GET_EMPTY:
	case MR_M_BASIC_ACK:
	case MR_M_BASIC_NACK:
	case MR_M_BASIC_RECOVER_OK:
	case MR_M_CONFIRM_SELECT_OK:
	case MR_M_TX_SELECT_OK:
	case MR_M_TX_COMMIT_OK:
	case MR_M_TX_ROLLBACK_OK: return true;
	default: return false;
	}
}

/* Only connection.start has a table, after its two version octets. */
static enum mr_status guard_method(const struct mr_frame *frame, mr_error *error)
{
	if (frame->size < 4)
		return refuse(error, MR_FRAME_ERROR, 501, "a method frame of %u bytes",
			frame->size);
	uint32_t id = mr_get32(frame->payload);
	if (!mr_guard_may_come(id))
		return refuse(error, MR_COMMAND_INVALID, 503,
			"method 0x%08x is not one that a broker sends", id);
	if (id != MR_M_CONNECTION_START) return MR_OK;
	if (frame->size < 6 || !mr_guard_table(frame->payload + 6, frame->size - 6))
		return refuse(error, MR_FRAME_ERROR, 502,
			"the properties in connection.start are malformed");
	return MR_OK;
}

static enum mr_status guard_header(const struct mr_frame *frame, mr_error *error)
{
	if (frame->size < 14)
		return refuse(error, MR_FRAME_ERROR, 501, "a content header of %u bytes",
			frame->size);
	if (mr_get16(frame->payload) != 60)
		return refuse(error, MR_FRAME_ERROR, 501, "a content header of class %u",
			mr_get16(frame->payload));
	return MR_OK;
}

enum mr_status mr_guard_frame(const struct mr_frame *frame, mr_error *error)
{
	if (frame->type == MR_FRAME_METHOD) return guard_method(frame, error);
	if (frame->type == MR_FRAME_HEADER) return guard_header(frame, error);
	return MR_OK;
}

/* ---- tables ---- */

struct level {
	size_t end; /* the end of this table or array */
	bool is_array;
};

/* Skips a key. Returns false if it does not fit before `end`. */
static bool skip_key(const uint8_t *data, size_t *at, size_t end)
{
	size_t size = data[*at];
	if (size >= end - *at) return false;
	*at += size + 1;
	return true;
}

/* Reads a length of 32 bits; returns false if that many bytes do not fit before `end`. */
static bool take_length(const uint8_t *data, size_t *at, size_t end, size_t *length)
{
	if (end - *at < 4) return false;
	*length = mr_get32(data + *at);
	*at += 4;
	return *length <= end - *at;
}

/* Checks one field; opens a level for a nested one. */
static bool walk_field(const uint8_t *data, size_t *at, struct level *levels, int *depth)
{
	const struct level *top = &levels[*depth];
	size_t length;
	if (!top->is_array && !skip_key(data, at, top->end)) return false;
	if (*at >= top->end) return false;
	uint8_t type = data[(*at)++];
	size_t fixed = mr_field_size(type);
	if (fixed != SIZE_MAX) {
		if (fixed > top->end - *at) return false;
		*at += fixed;
		return true;
	}
	if (type != 'S' && type != 'x' && type != 'F' && type != 'A') return false;
	if (!take_length(data, at, top->end, &length)) return false;
	if (type == 'S' || type == 'x') {
		*at += length;
		return true;
	}
	if (*depth + 1 >= MR_TABLE_DEPTH_MAX) return false;
	levels[++*depth] = (struct level){*at + length, type == 'A'};
	return true;
}

size_t mr_guard_table(const uint8_t *data, size_t size)
{
	struct level levels[MR_TABLE_DEPTH_MAX];
	size_t at = 0, length;
	int depth = 0;
	if (!take_length(data, &at, size, &length)) return 0;
	levels[0] = (struct level){at + length, false};
	for (;;) {
		while (at == levels[depth].end) {
			if (depth == 0) return at;
			depth--;
		}
		if (!walk_field(data, &at, levels, &depth)) return 0;
	}
}
