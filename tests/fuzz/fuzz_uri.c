/* fuzz_uri: any text as a URL: read or refused, shown without its password, never worse.
 * SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "config/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char shown[256];
	mr_error error = {0};
	struct mr_uri uri;
	if (mr_uri_parse(&uri, text, size, &error) == MR_OK) {
		if (!uri.host_count || !uri.vhost || !uri.scheme) abort();
		mr_uri_fini(&uri);
	} else if (!error.kind || !error.text[0]) {
		abort();
	}
	error = (mr_error){0};
	if (mr_uri_parse_sentinel(&uri, text, size, &error) == MR_OK) {
		if (!uri.host_count || !uri.vhost || !uri.scheme) abort();
		mr_uri_fini(&uri);
	} else if (!error.kind || !error.text[0]) {
		abort();
	}
	mr_uri_redact(shown, sizeof shown, text, size);
	return 0;
}
