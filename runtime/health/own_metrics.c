/* own_metrics: writes the metrics that the host has made.
 * SPDX-License-Identifier: MIT */
#include "health/own_metrics.h"

#include <math.h>

#include "base/number.h"

#define HELP_PART 200 /* bytes of a help that are written at a time */

/* Prometheus drops the whole page for a help that is not UTF-8. */
static void write_help(struct mr_page *p, const char *help)
{
	char plain[4 * HELP_PART + 5];
	while (*help) {
		size_t n = strcspn(help, "\n");
		if (n > HELP_PART) n = HELP_PART;
		while (n > HELP_PART - 3 && (help[n] & 0xC0) == 0x80) n--; /* within a character */
		mr_error_escape(plain, sizeof plain, help, n);
		for (const char *c = plain; *c; c++) {
			char one[2] = {*c, '\0'};
			mr_page_text(p, *c == '\\' ? "\\\\" : one);
		}
		help += n;
		if (*help == '\n') {
			mr_page_text(p, "\\n");
			help++;
		}
	}
}

static void write_head(struct mr_page *p, const struct mr_metric *m)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};
	mr_page_put(p, "# HELP %s ", m->name);
	write_help(p, m->help);
	mr_page_put(p, "\n# TYPE %s %s\n", m->name, types[m->type]);
}

/* name{label="value",more="..."} */
static void write_name(struct mr_page *p, const struct mr_metric *m, const struct mr_series *s,
	const char *suffix, const char *more)
{
	char value[MR_LABEL_SIZE];
	const char *at = s->values, *comma = "";
	mr_page_put(p, "%s%s", m->name, suffix);
	if (m->label_count || *more) mr_page_text(p, "{");
	for (size_t i = 0; i < m->label_count; i++) {
		mr_page_put(p, "%s%s=\"%s\"", comma, m->labels[i], mr_page_label(value, at));
		at += strlen(at) + 1;
		comma = ",";
	}
	if (*more) mr_page_put(p, "%sle=\"%s\"", comma, more);
	if (m->label_count || *more) mr_page_text(p, "}");
}

static void write_value(struct mr_page *p, double value)
{
	char text[MR_NUMBER_SIZE];
	if (isnan(value) || isinf(value)) {
		mr_page_text(p, isnan(value) ? " NaN\n" : value > 0 ? " +Inf\n" : " -Inf\n");
		return;
	}
	mr_number_text(text, value);
	mr_page_put(p, " %s\n", text);
}

static void write_histogram(struct mr_page *p, const struct mr_metric *m, const struct mr_series *s)
{
	double count = 0;
	char bound[MR_NUMBER_SIZE];
	for (size_t i = 0; i <= m->bound_count; i++) {
		count += mr_series_read(s, i + 1);
		if (i < m->bound_count) mr_number_text(bound, m->bounds[i]);
		write_name(p, m, s, "_bucket", i < m->bound_count ? bound : "+Inf");
		write_value(p, count);
	}
	write_name(p, m, s, "_sum", "");
	write_value(p, mr_series_read(s, 0));
	write_name(p, m, s, "_count", "");
	write_value(p, count);
}

void mr_own_metrics_write(struct mr_page *p, const struct mr_metric *const *metrics, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct mr_metric *m = metrics[i];
		const struct mr_series *s = NULL;
		write_head(p, m);
		while ((s = mr_series_next(m, s))) {
			if (m->type == MR_HISTOGRAM) {
				write_histogram(p, m, s);
				continue;
			}
			write_name(p, m, s, "", "");
			write_value(p, mr_series_read(s, 0));
		}
	}
}
