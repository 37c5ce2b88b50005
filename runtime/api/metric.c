/* metric: the host's calls for metrics of its own: checks them, and shows them on the page.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include <math.h>
#include <string.h>

#include "api/handle.h"
#include "base/alloc.h"

#define LABELS_MAX 16
#define BOUNDS_MAX 64
#define NAME_SIZE_MAX 200

static int refuse(mr_error *error, const char *format, const char *what)
	__attribute__((format(printf, 2, 0)));
static int refuse(mr_error *error, const char *format, const char *what)
{
	mr_error none;
	return mr_error_set(error ? error : &none, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0, format,
		what);
}

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t size = name ? strlen(name) : 0;
	if (!size || size > NAME_SIZE_MAX || !strchr(letters, name[0])) return false;
	for (size_t i = 0; i < size; i++)
		if (!strchr(letters, name[i]) && (name[i] < '0' || name[i] > '9')) return false;
	return true;
}

static bool begins_with(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

static bool ends_with(const char *text, const char *tail)
{
	size_t size = strlen(text), of_tail = strlen(tail);
	return size >= of_tail && strcmp(text + size - of_tail, tail) == 0;
}

static int check_name(int type, const char *name, mr_error *error)
{
	if (!is_name(name))
		return refuse(error,
			"\"%s\" is no metric's name: letters, digits and _, 200 at most",
			name ? name : "");
	if (begins_with(name, "moonrabbit_") || begins_with(name, "process_"))
		return refuse(error,
			"\"%s\": moonrabbit_ and process_ begin the runtime's own names", name);
	if (type == MR_COUNTER && !ends_with(name, "_total"))
		return refuse(error, "\"%s\": a counter's name ends with _total", name);
	if (type != MR_COUNTER && ends_with(name, "_total"))
		return refuse(error, "\"%s\": only a counter's name ends with _total", name);
	return MR_OK;
}

static int check_labels(const char *const *labels, size_t count, mr_error *error)
{
	if (count > LABELS_MAX) return refuse(error, "a metric has at most 16 labels%s", "");
	for (size_t i = 0; i < count; i++) {
		if (!is_name(labels[i]))
			return refuse(error, "\"%s\" is no label's name: letters, digits and _",
				labels[i] ? labels[i] : "");
		if (begins_with(labels[i], "__") || !strcmp(labels[i], "le") ||
			!strcmp(labels[i], "worker"))
			return refuse(error,
				"the label \"%s\" is reserved: le, worker, and names with __",
				labels[i]);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(labels[i], labels[k]))
				return refuse(error, "the label \"%s\" is named twice", labels[i]);
	}
	return MR_OK;
}

static int check_bounds(int type, const double *bounds, size_t count, mr_error *error)
{
	if (type != MR_HISTOGRAM && count)
		return refuse(error, "only a histogram has buckets%s", "");
	if (type == MR_HISTOGRAM && (!count || count > BOUNDS_MAX))
		return refuse(error, "a histogram has 1 to 64 buckets%s", "");
	for (size_t i = 0; i < count; i++)
		if (!isfinite(bounds[i]) || (i && bounds[i] <= bounds[i - 1]))
			return refuse(error, "the bounds of buckets must ascend, and be finite%s",
				"");
	return MR_OK;
}

int mr_metric_new(int type, const char *name, const char *help, const char *const *labels,
	size_t label_count, const double *bounds, size_t bound_count, mr_metric **out,
	mr_error *error)
{
	int st = type >= MR_COUNTER && type <= MR_HISTOGRAM && help
	                 ? check_name(type, name, error)
	                 : refuse(error, "a metric has a type, and a help%s", "");
	if (st == MR_OK) st = check_labels(labels, label_count, error);
	if (st == MR_OK) st = check_bounds(type, bounds, bound_count, error);
	if (st != MR_OK) return st;
	*out = mr_series_metric(type, name, help, labels, label_count, bounds, bound_count);
	return *out ? MR_OK : MR_NO_MEMORY;
}

void mr_metric_free(mr_metric *m) { mr_series_drop(m); }

double *mr_metric_words(mr_metric *m, const char *const *values)
{
	struct mr_series *s = mr_series_of(m, values);
	return s ? s->words : NULL;
}

/* A histogram also has the names NAME_bucket, NAME_sum and NAME_count. */
static bool is_sample_of(const mr_metric *m, const char *name)
{
	size_t size = strlen(m->name);
	if (m->type != MR_HISTOGRAM || strncmp(m->name, name, size) != 0) return false;
	const char *tail = name + size;
	return !strcmp(tail, "_bucket") || !strcmp(tail, "_sum") || !strcmp(tail, "_count");
}

int mr_metric_show(mr_runtime *rt, mr_metric *m, mr_error *error)
{
	for (size_t i = 0; i < rt->metric_count; i++) {
		const mr_metric *other = rt->metrics[i];
		if (other == m) return MR_OK;
		if (!strcmp(other->name, m->name) || is_sample_of(other, m->name) ||
			is_sample_of(m, other->name))
			return refuse(error, "another metric has samples of the name \"%s\"",
				m->name);
	}
	if (rt->metric_count == MR_METRICS_MAX)
		return refuse(error, "there are 256 metrics of this program already%s", "");
	struct mr_command c = {.type = MR_CMD_HEALTH,
		.health = {.what = MR_HEALTH_METRIC, .metric = m}};
	enum mr_status st = mr_command_send(rt, &c);
	if (st != MR_OK) return st;
	m->refs++;
	rt->metrics[rt->metric_count++] = m;
	return MR_OK;
}
