/* reply_error: errors in RabbitMQ's form: a reply code, its name, and the reason.
 * SPDX-License-Identifier: MIT */
#include "broker/store/reply_error.h"

#include <stdio.h>

const char *mr_reply_error_name(int code)
{
	static const struct {
		int code;
		const char *name;
	} names[] = {{200, "OK"}, {311, "CONTENT_TOO_LARGE"}, {312, "NO_ROUTE"},
		{313, "NO_CONSUMERS"}, {320, "CONNECTION_FORCED"}, {402, "INVALID_PATH"},
		{403, "ACCESS_REFUSED"}, {404, "NOT_FOUND"}, {405, "RESOURCE_LOCKED"},
		{406, "PRECONDITION_FAILED"}, {501, "FRAME_ERROR"}, {502, "SYNTAX_ERROR"},
		{503, "COMMAND_INVALID"}, {504, "CHANNEL_ERROR"}, {505, "UNEXPECTED_FRAME"},
		{506, "RESOURCE_ERROR"}, {530, "NOT_ALLOWED"}, {540, "NOT_IMPLEMENTED"},
		{541, "INTERNAL_ERROR"}};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].code == code) return names[i].name;
	return "UNKNOWN";
}

bool mr_reply_error_ends_connection(int code)
{
	return !((code >= 311 && code <= 313) || (code >= 403 && code <= 406));
}

enum mr_status mr_reply_error(mr_error *error, int code, const char *format, ...)
{
	char text[460]; /* at most 255 bytes are sent; a name may have as many */
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return mr_error_set(error, mr_status_of_code(code),
		mr_reply_error_ends_connection(code) ? MR_SCOPE_CONNECTION : MR_SCOPE_CHANNEL, code,
		"%s - %s", mr_reply_error_name(code), text);
}

void mr_reply_error_octets(char out[MR_OCTETS_MAX], const uint8_t *data, size_t size)
{
	size_t shown = size > 16 ? 16 : size, at;
	bool is_text = size > 0;
	for (size_t i = 0; i < shown; i++)
		if (data[i] < 32 || data[i] > 126 || data[i] == '"') is_text = false;
	at = (size_t)snprintf(out, MR_OCTETS_MAX, "%s octets = <<", size > 16 ? "first 16" : "all");
	if (is_text)
		at += (size_t)snprintf(out + at, MR_OCTETS_MAX - at, "\"%.*s\"", (int)shown,
			(const char *)data);
	for (size_t i = 0; !is_text && i < shown; i++)
		at += (size_t)snprintf(out + at, MR_OCTETS_MAX - at, i ? ",%u" : "%u", data[i]);
	snprintf(out + at, MR_OCTETS_MAX - at, ">>");
}
