/* series: the metrics of the host's own, and their series: the host counts, the I/O thread reads.
 * SPDX-License-Identifier: MIT */
#include "bridge/series.h"

#include <string.h>

#include "base/alloc.h"

static bool copy_labels(struct mr_metric *m, const char *const *labels)
{
	for (size_t i = 0; i < m->label_count; i++)
		if (!(m->labels[i] = mr_strdup_n(labels[i], strlen(labels[i])))) return false;
	return true;
}

struct mr_metric *mr_series_metric(int type, const char *name, const char *help,
	const char *const *labels, size_t label_count, const double *bounds, size_t bound_count)
{
	struct mr_metric *m = mr_calloc(1, sizeof *m);
	if (!m) return NULL;
	m->refs = 1;
	m->type = type;
	m->label_count = label_count;
	m->bound_count = bound_count;
	m->name = mr_strdup_n(name, strlen(name));
	m->help = mr_strdup_n(help, strlen(help));
	m->labels = mr_calloc(label_count + 1, sizeof *m->labels);
	m->bounds = mr_calloc(bound_count + 1, sizeof *m->bounds);
	if (m->name && m->help && m->labels && m->bounds && copy_labels(m, labels)) {
		if (bound_count) memcpy(m->bounds, bounds, bound_count * sizeof *bounds);
		return m;
	}
	mr_series_drop(m);
	return NULL;
}

void mr_series_drop(struct mr_metric *m)
{
	if (!m || --m->refs) return;
	struct mr_series *s = atomic_load_explicit(&m->first, memory_order_relaxed), *next;
	for (; s; s = next) {
		next = atomic_load_explicit(&s->next, memory_order_relaxed);
		mr_free(s->values);
		mr_free(s);
	}
	for (size_t i = 0; m->labels && i < m->label_count; i++) mr_free(m->labels[i]);
	mr_free(m->labels);
	mr_free(m->bounds);
	mr_free(m->name);
	mr_free(m->help);
	mr_free(m);
}

size_t mr_series_words(const struct mr_metric *m)
{
	return m->type == MR_HISTOGRAM ? m->bound_count + 2 : 1;
}

/* All values in one text, and its size; NULL: out of memory. */
static char *join(const struct mr_metric *m, const char *const *values, size_t *size)
{
	size_t at = 0;
	*size = 0;
	for (size_t i = 0; i < m->label_count; i++)
		*size += strnlen(values[i], MR_SERIES_VALUE_MAX) + 1;
	char *joined = mr_malloc(*size + 1);
	for (size_t i = 0; joined && i < m->label_count; i++) {
		size_t n = strnlen(values[i], MR_SERIES_VALUE_MAX);
		memcpy(joined + at, values[i], n);
		joined[at + n] = '\0';
		at += n + 1;
	}
	return joined;
}

static size_t size_of(const struct mr_metric *m, const char *values)
{
	const char *end = values;
	for (size_t i = 0; i < m->label_count; i++) end += strlen(end) + 1;
	return (size_t)(end - values);
}

static bool is_other(const struct mr_metric *m, const char *const *values)
{
	for (size_t i = 0; i < m->label_count; i++)
		if (strcmp(values[i], MR_SERIES_OTHER) != 0) return false;
	return true;
}

static struct mr_series *add(struct mr_metric *m, char *values) /* takes `values` */
{
	struct mr_series *s = mr_calloc(1, sizeof *s + mr_series_words(m) * sizeof *s->words);
	if (!s) {
		mr_free(values);
		return NULL;
	}
	s->values = values;
	if (m->last)
		atomic_store_explicit(&m->last->next, s, memory_order_release);
	else
		atomic_store_explicit(&m->first, s, memory_order_release);
	m->last = s;
	m->count++;
	return s;
}

struct mr_series *mr_series_of(struct mr_metric *m, const char *const *values)
{
	size_t size;
	char *joined = join(m, values, &size);
	if (!joined) return NULL;
	struct mr_series *s = atomic_load_explicit(&m->first, memory_order_relaxed);
	for (; s; s = atomic_load_explicit(&s->next, memory_order_relaxed)) {
		if (size_of(m, s->values) != size || memcmp(s->values, joined, size) != 0) continue;
		mr_free(joined);
		return s;
	}
	if (m->count < MR_SERIES_MAX || is_other(m, values)) return add(m, joined);
	mr_free(joined);
	return NULL;
}

const struct mr_series *mr_series_next(const struct mr_metric *m, const struct mr_series *s)
{
	return atomic_load_explicit(s ? &s->next : &m->first, memory_order_acquire);
}

double mr_series_read(const struct mr_series *s, size_t word)
{
	double value;
	__atomic_load(&s->words[word], &value, __ATOMIC_RELAXED);
	return value;
}
