/* client_method: decodes a client's methods for the embedded broker.
 * SPDX-License-Identifier: MIT */
#include "codec/client_method.h"

#include <stdio.h>

#include "codec/walk.h"

/* w 16 bit, d 32 bit, q 64 bit, o octet of flags, s short string, l long string, T table: the
 * fields in the order of the AMQP 0-9-1 specification, with RabbitMQ's extensions. */
static const struct layout {
	uint32_t id;
	const char *fields;
} layouts[] = {
	{MR_M_BASIC_PUBLISH, "wsso"},
	{MR_M_BASIC_ACK, "qo"},
	{MR_M_BASIC_NACK, "qo"},
	{MR_M_BASIC_REJECT, "qo"},
	{MR_M_BASIC_GET, "wso"},
	{MR_M_BASIC_QOS, "dwo"},
	{MR_M_BASIC_CONSUME, "wssoT"},
	{MR_M_BASIC_CANCEL, "so"},
	{MR_M_BASIC_RECOVER, "o"},
	{MR_M_BASIC_RECOVER_ASYNC, "o"},
	{MR_M_CONNECTION_START_OK, "Tsls"},
	{MR_M_CONNECTION_SECURE_OK, "l"},
	{MR_M_CONNECTION_TUNE_OK, "wdw"},
	{MR_M_CONNECTION_OPEN, "sso"},
	{MR_M_CONNECTION_CLOSE, "wsww"},
	{MR_M_CONNECTION_CLOSE_OK, ""},
	{MR_M_CONNECTION_UPDATE_SECRET, "ls"},
	{MR_M_ACCESS_REQUEST, "so"},
	{MR_M_CHANNEL_OPEN, "s"},
	{MR_M_CHANNEL_FLOW, "o"},
	{MR_M_CHANNEL_CLOSE, "wsww"},
	{MR_M_CHANNEL_CLOSE_OK, ""},
	{MR_M_EXCHANGE_DECLARE, "wssoT"},
	{MR_M_EXCHANGE_DELETE, "wso"},
	{MR_M_EXCHANGE_BIND, "wsssoT"},
	{MR_M_EXCHANGE_UNBIND, "wsssoT"},
	{MR_M_QUEUE_DECLARE, "wsoT"},
	{MR_M_QUEUE_BIND, "wsssoT"},
	{MR_M_QUEUE_PURGE, "wso"},
	{MR_M_QUEUE_DELETE, "wso"},
	{MR_M_QUEUE_UNBIND, "wsssT"},
	{MR_M_CONFIRM_SELECT, "o"},
	{MR_M_TX_SELECT, ""},
	{MR_M_TX_COMMIT, ""},
	{MR_M_TX_ROLLBACK, ""},
};

static const char *layout_of(uint32_t id)
{
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
		if (layouts[i].id == id) return layouts[i].fields;
	return NULL;
}

struct reader {
	const uint8_t *data;
	size_t left;
};

static const uint8_t *take(struct reader *r, size_t size)
{
	const uint8_t *at = r->data;
	if (size > r->left) return NULL;
	r->data += size;
	r->left -= size;
	return at;
}

static bool take_string(struct reader *r, size_t width, mr_slice *out)
{
	const uint8_t *length = take(r, width);
	if (!length) return false;
	size_t size = width == 1 ? *length : mr_get32(length);
	const uint8_t *text = take(r, size);
	*out = mr_slice_of((const char *)text, size);
	return text != NULL;
}

static bool take_number(struct reader *r, char type, struct mr_client_method *m)
{
	size_t width = type == 'o' ? 1 : type == 'w' ? 2 : type == 'd' ? 4 : 8;
	const uint8_t *at = take(r, width);
	if (!at) return false;
	switch (type) {
	case 'o': m->bits = *at; break;
	case 'w': m->numbers[m->number_count++] = mr_get16(at); break;
	case 'd': m->wide = mr_get32(at); break;
	default: m->tag = mr_get64(at); break;
	}
	return true;
}

static bool take_table(struct reader *r, struct mr_client_method *m)
{
	size_t size = mr_walk_check(r->data, r->left);
	m->table = mr_slice_of((const char *)r->data, size);
	return size && take(r, size);
}

static bool take_field(struct reader *r, char type, struct mr_client_method *m)
{
	switch (type) {
	case 's': return take_string(r, 1, &m->names[m->name_count++]);
	case 'l': return take_string(r, 4, &m->text);
	case 'T': return take_table(r, m);
	default: return take_number(r, type, m);
	}
}

/* UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(mr_slice s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	for (size_t i = 0; i < s.size;) {
		uint8_t c = (uint8_t)s.data[i];
		size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
		if (!n || n > s.size - i) return false;
		uint32_t value = n == 1 ? c : c & (0x7fu >> n);
		for (size_t k = 1; k < n; k++) {
			if (((uint8_t)s.data[i + k] & 0xc0) != 0x80) return false;
			value = value << 6 | ((uint8_t)s.data[i + k] & 0x3f);
		}
		if (n > 1 && (value < least[n] || value > 0x10ffff || value >> 11 == 27))
			return false;
		i += n;
	}
	return true;
}

/* The text is RabbitMQ's: it prints the arguments as an Erlang binary. */
static enum mr_status cannot_decode(const struct mr_frame *frame, mr_error *error)
{
	char octets[400];
	size_t at = 0;
	for (uint32_t i = 4; i < frame->size && at < sizeof octets - 8; i++)
		at += (size_t)snprintf(octets + at, sizeof octets - at, i > 4 ? ",%u" : "%u",
			frame->payload[i]);
	octets[at] = '\0';
	return mr_error_set(error, MR_FRAME_ERROR, MR_SCOPE_CONNECTION, 501,
		"FRAME_ERROR - cannot decode <<%s>>", octets);
}

enum mr_status mr_client_method_decode(const struct mr_frame *frame, struct mr_client_method *out,
	mr_error *error)
{
	struct mr_client_method m = {.id = mr_get32(frame->payload)};
	struct reader r = {frame->payload + 4, frame->size - 4};
	const char *fields = layout_of(m.id);
	if (!fields && strcmp(mr_method_name(m.id), "unknown") != 0)
		return mr_error_set(error, MR_COMMAND_INVALID, MR_SCOPE_CONNECTION, 503,
			"COMMAND_INVALID - unimplemented method");
	if (!fields)
		return mr_error_set(error, MR_NOT_IMPLEMENTED, MR_SCOPE_CONNECTION, 540,
			"NOT_IMPLEMENTED - unknown method %u.%u", m.id >> 16, m.id & 0xffff);
	for (; *fields; fields++)
		if (!take_field(&r, *fields, &m)) return cannot_decode(frame, error);
	if (r.left) return cannot_decode(frame, error);
	for (uint8_t i = 0; i < m.name_count; i++)
		if (!is_utf8(m.names[i]))
			return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONNECTION, 501,
				"FRAME_ERROR - Malformed UTF-8 in shortstr");
	*out = m;
	return MR_OK;
}
