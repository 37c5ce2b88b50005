/* page: writes Prometheus' text format, version 0.0.4.
 * SPDX-License-Identifier: MIT */
#include "health/page.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/number.h"
#include "health/catalogue.h"

static const struct {
	const char *name, *type, *help;
} catalogue[] = {
#define X(name, type, labels, help, advice) {#name, #type, help},
	MR_METRICS(X)
#undef X
};

void mr_page_put(struct mr_page *p, const char *format, ...)
{
	char text[1536]; /* an escaped queue name has at most 1020 bytes */
	va_list args;
	va_start(args, format);
	int n = mr_number_vformat(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || p->status != MR_OK) return;
	size_t size = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
	p->status = mr_buffer_append(p->out, text, size);
}

void mr_page_text(struct mr_page *p, const char *text)
{
	if (p->status == MR_OK) p->status = mr_buffer_append(p->out, text, strlen(text));
}

static const char *prefix_of(int metric)
{
	return strncmp(catalogue[metric].name, "process_", 8) == 0 ? "" : "moonrabbit_";
}

void mr_page_head(struct mr_page *p, int metric)
{
	const char *prefix = prefix_of(metric), *name = catalogue[metric].name;
	mr_page_put(p, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, catalogue[metric].help,
		prefix, name, catalogue[metric].type);
}

void mr_page_count(struct mr_page *p, int metric, uint64_t value)
{
	mr_page_head(p, metric);
	mr_page_put(p, "%s%s %" PRIu64 "\n", prefix_of(metric), catalogue[metric].name, value);
}

void mr_page_real(struct mr_page *p, int metric, double value)
{
	mr_page_head(p, metric);
	mr_page_put(p, "%s%s %.3f\n", prefix_of(metric), catalogue[metric].name, value);
}

const char *mr_page_label(char out[MR_LABEL_SIZE], const char *text)
{
	char plain[512];
	size_t n = mr_error_escape(plain, sizeof plain, text, strlen(text)), at = 0;
	for (size_t i = 0; i < n && at < 1021; i++) {
		if (plain[i] == '\\' || plain[i] == '"') out[at++] = '\\';
		out[at++] = plain[i];
	}
	out[at] = '\0';
	return out;
}
