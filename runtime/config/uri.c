/* uri: parses amqp, amqps and memory URLs, and the form of those of a Redis and of Sentinels.
 * SPDX-License-Identifier: MIT */
#include "config/uri.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

static enum mr_status bad(mr_error *error, const char *what)
{
	return mr_error_set(error, MR_BAD_URI, MR_SCOPE_CONFIG, 0, "bad URL: %s", what);
}

void mr_uri_fini(struct mr_uri *uri)
{
	mr_free(uri->scheme);
	mr_free(uri->user);
	mr_free(uri->password);
	mr_free(uri->vhost);
	for (size_t i = 0; i < uri->host_count; i++) mr_free(uri->hosts[i].name);
	mr_free(uri->hosts);
	for (size_t i = 0; i < uri->query_count; i++) {
		mr_free(uri->query[i].key);
		mr_free(uri->query[i].value);
	}
	mr_free(uri->query);
	*uri = (struct mr_uri){0};
}

/* ---- pieces ---- */

/* Splits `s` at the first `stop`: returns the part before it, and leaves the rest in `s`. */
static mr_slice cut(mr_slice *s, char stop, bool *found)
{
	const char *at = s->size ? memchr(s->data, stop, s->size) : NULL;
	mr_slice before = *s;
	*found = at != NULL;
	if (at) {
		before.size = (size_t)(at - s->data);
		*s = mr_slice_of(at + 1, s->size - before.size - 1);
	} else {
		*s = mr_slice_of(s->data + s->size, 0);
	}
	return before;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	if (c >= 'A' && c <= 'F') return c - 'A' + 10;
	return -1;
}

static enum mr_status decode(char **out, mr_slice s, mr_error *error)
{
	char *text = mr_malloc(s.size + 1);
	size_t n = 0;
	if (!text) return MR_NO_MEMORY;
	for (size_t i = 0; i < s.size; i++) {
		int value = (unsigned char)s.data[i];
		if (value == '%') {
			bool fits = s.size - i > 2;
			int high = fits ? hex(s.data[i + 1]) : -1,
			    low = fits ? hex(s.data[i + 2]) : -1;
			if (high < 0 || low < 0) {
				mr_free(text);
				return bad(error, "a % without two hexadecimal digits behind it");
			}
			value = high * 16 + low;
			i += 2;
		}
		if (value == 0) {
			mr_free(text);
			return bad(error, "a NUL byte");
		}
		text[n++] = (char)value;
	}
	text[n] = '\0';
	*out = text;
	return MR_OK;
}

static bool has_bad_byte(mr_slice s)
{
	for (size_t i = 0; i < s.size; i++)
		if ((unsigned char)s.data[i] <= ' ' || s.data[i] == 0x7f) return true;
	return false;
}

/* ---- scheme, hosts ---- */

struct family { /* what differs between the URLs of AMQP and those of Redis */
	const char *schemes[4];
	size_t count;
	const char *begin;    /* what a URL without a scheme is told */
	uint16_t ports[2];    /* without TLS and with it */
	const char *tls;      /* the scheme with TLS */
	const char *hostless; /* the scheme whose host may be empty */
};
static const struct family amqp = {{"amqp", "amqps", "memory"}, 3,
	"it must begin with amqp://, amqps:// or memory://", {5672, 5671}, "amqps", "memory"};
static const struct family redis = {{"redis", "rediss", "redis+socket"}, 3,
	"it must begin with redis://, rediss:// or redis+socket://", {6379, 6379}, "rediss",
	"redis+socket"};

static const struct family sentinel = {{"sentinel"}, 1, "it must begin with sentinel://",
	{26379, 26379}, "", ""};

/* For ASCII, independent of the locale. */
static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static enum mr_status take_scheme(struct mr_uri *uri, const struct family *f, mr_slice *rest,
	mr_error *error)
{
	const char *mark = rest->size >= 3 ? memmem(rest->data, rest->size, "://", 3) : NULL;
	if (!mark) return bad(error, f->begin);
	size_t size = (size_t)(mark - rest->data);
	for (size_t i = 0; i < f->count; i++) {
		if (strlen(f->schemes[i]) != size ||
			strncasecmp(f->schemes[i], rest->data, size) != 0)
			continue;
		uri->scheme = mr_strdup_n(f->schemes[i], size);
		*rest = mr_slice_of(mark + 3, rest->size - size - 3);
		return uri->scheme ? MR_OK : MR_NO_MEMORY;
	}
	/* Shows only text that looks like a scheme: there may be a password before a misplaced
	 * "://". */
	for (size_t i = 0; i < size; i++)
		if (size > 16 || !is_alnum(rest->data[i])) return bad(error, f->begin);
	const char *nearest = mr_error_nearest(rest->data, size, f->schemes, f->count);
	return mr_error_set(error, MR_BAD_URI, MR_SCOPE_CONFIG, 0,
		"bad URL: unknown scheme \"%.*s\"%s%s%s", (int)size, rest->data,
		nearest ? ": did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static enum mr_status take_port(struct mr_uri_host *host, mr_slice text, mr_error *error)
{
	unsigned long port = 0;
	if (text.size == 0 || text.size > 5)
		return bad(error, "the port must be a number from 1 to 65535");
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return bad(error, "the port must be a number from 1 to 65535");
		port = port * 10 + (unsigned long)(text.data[i] - '0');
	}
	if (port < 1 || port > 65535)
		return bad(error, "the port must be a number from 1 to 65535");
	host->port = (uint16_t)port;
	return MR_OK;
}

/* [v6] or [v6]:port */
static enum mr_status split_literal(mr_slice text, mr_slice *name, mr_slice *port, bool *has_port,
	mr_error *error)
{
	const char *close = memchr(text.data, ']', text.size);
	if (!close) return bad(error, "a [ without its ]");
	*name = mr_slice_of(text.data + 1, (size_t)(close - text.data) - 1);
	size_t after = text.size - name->size - 2;
	*has_port = after > 0;
	if (*has_port && close[1] != ':') return bad(error, "only :port may follow a ]");
	if (*has_port) *port = mr_slice_of(close + 2, after - 1);
	for (size_t i = 0; i < name->size; i++)
		if (!strchr("0123456789abcdefABCDEF:.", name->data[i])) name->size = 0;
	return name->size ? MR_OK : bad(error, "what stands in [] is not an IPv6 address");
}

static enum mr_status add_host(struct mr_uri *uri, struct mr_uri_host host, mr_error *error)
{
	struct mr_uri_host *hosts = NULL;
	if (strlen(host.name) <= 255)
		hosts = mr_realloc(uri->hosts, (uri->host_count + 1) * sizeof *hosts);
	if (!hosts) {
		bool is_long = strlen(host.name) > 255;
		mr_free(host.name);
		return is_long ? bad(error, "a host name over 255 bytes") : MR_NO_MEMORY;
	}
	uri->hosts = hosts;
	uri->hosts[uri->host_count++] = host;
	return MR_OK;
}

/* name, name:port, [v6] or [v6]:port */
static enum mr_status take_host(struct mr_uri *uri, const struct family *f, mr_slice text,
	mr_error *error)
{
	struct mr_uri_host host = {NULL, f->ports[strcmp(uri->scheme, f->tls) == 0]};
	mr_slice name, port_text = text;
	bool has_port = false;
	enum mr_status st = MR_OK;
	if (text.size && text.data[0] == '[')
		st = split_literal(text, &name, &port_text, &has_port, error);
	else
		name = cut(&port_text, ':', &has_port);
	if (st == MR_OK && has_port) st = take_port(&host, port_text, error);
	if (st != MR_OK) return st;
	if (!name.size && strcmp(uri->scheme, f->hostless) != 0) name = mr_slice_str("localhost");
	st = decode(&host.name, name, error);
	return st == MR_OK ? add_host(uri, host, error) : st;
}

static enum mr_status take_hosts(struct mr_uri *uri, const struct family *f, mr_slice text,
	mr_error *error)
{
	bool more = true;
	while (more) {
		mr_slice one = cut(&text, ',', &more);
		if (!one.size && (more || uri->host_count))
			return bad(error, "an empty host in the list");
		enum mr_status st = take_host(uri, f, one, error);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

static enum mr_status take_user(struct mr_uri *uri, mr_slice *authority, mr_error *error)
{
	const char *at = authority->size ? memrchr(authority->data, '@', authority->size) : NULL;
	bool has_password;
	if (!at) return MR_OK;
	mr_slice password = mr_slice_of(authority->data, (size_t)(at - authority->data));
	if (memchr(password.data, '@', password.size))
		return bad(error, "more than one @: write %40 within a password");
	*authority = mr_slice_of(at + 1, authority->size - password.size - 1);
	mr_slice user = cut(&password, ':', &has_password);
	enum mr_status st = decode(&uri->user, user, error);
	if (st == MR_OK && has_password) st = decode(&uri->password, password, error);
	return st;
}

static enum mr_status take_query(struct mr_uri *uri, mr_slice text, mr_error *error)
{
	bool more = text.size > 0, has_value;
	while (more) {
		mr_slice value = cut(&text, '&', &more);
		mr_slice key = cut(&value, '=', &has_value);
		if (!key.size || !has_value)
			return bad(error, "the query must be key=value&key=value");
		struct mr_uri_pair *query =
			mr_realloc(uri->query, (uri->query_count + 1) * sizeof *query);
		if (!query) return MR_NO_MEMORY;
		uri->query = query;
		struct mr_uri_pair *pair = &query[uri->query_count++];
		*pair = (struct mr_uri_pair){0};
		enum mr_status st = decode(&pair->key, key, error);
		if (st == MR_OK) st = decode(&pair->value, value, error);
		if (st != MR_OK) return st;
	}
	return MR_OK;
}

static enum mr_status take_vhost(struct mr_uri *uri, mr_slice path, bool has_path, mr_error *error)
{
	if (!has_path ||
		!path.size) { /* CONTRACT T17: amqp://host and amqp://host/ both mean "/" */
		uri->vhost = mr_strdup_n("/", 1);
		return uri->vhost ? MR_OK : MR_NO_MEMORY;
	}
	if (memchr(path.data, '/', path.size))
		return bad(error,
			"more than one path segment: a / within a virtual host is written %2f");
	enum mr_status st = decode(&uri->vhost, path, error);
	if (st == MR_OK && strlen(uri->vhost) > 255)
		return bad(error, "a virtual host over 255 bytes");
	return st;
}

/* What stands behind the host: of Redis a number, or the path of a socket. */
static enum mr_status take_path(struct mr_uri *uri, const struct family *f, mr_slice path,
	bool has_path, mr_error *error)
{
	if (f == &amqp) return take_vhost(uri, path, has_path, error);
	/* The slash before the path of a socket is a part of it. */
	if (has_path && strcmp(uri->scheme, f->hostless) == 0)
		path = mr_slice_of(path.data - 1, path.size + 1);
	return decode(&uri->vhost, path, error);
}

static enum mr_status parse_one(struct mr_uri *uri, const struct family *f, mr_slice rest,
	mr_error *error)
{
	bool has_query, has_path, has_fragment;
	enum mr_status st = has_bad_byte(rest)
	                            ? bad(error, "a blank or control character: write it as %20")
	                            : MR_OK;
	if (st == MR_OK) st = take_scheme(uri, f, &rest, error);
	if (st != MR_OK) return st;
	mr_slice query = rest;
	rest = cut(&query, '?', &has_query);
	mr_slice path = rest;
	mr_slice authority = cut(&path, '/', &has_path);
	cut(&rest, '#', &has_fragment);
	if (has_fragment)
		return bad(error, "a # has no meaning here: within a name it is written %23");
	st = take_user(uri, &authority, error);
	if (st == MR_OK) st = take_hosts(uri, f, authority, error);
	if (st == MR_OK) st = take_path(uri, f, path, has_path, error);
	if (st == MR_OK) st = take_query(uri, query, error);
	return st;
}

/* ---- the failover list ---- */

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static enum mr_status move_hosts(struct mr_uri *uri, struct mr_uri *more)
{
	size_t count = uri->host_count + more->host_count;
	struct mr_uri_host *hosts = mr_realloc(uri->hosts, count * sizeof *hosts);
	if (!hosts) return MR_NO_MEMORY;
	memcpy(hosts + uri->host_count, more->hosts, more->host_count * sizeof *hosts);
	uri->hosts = hosts;
	uri->host_count = count;
	more->host_count = 0; /* uri owns their names now */
	return MR_OK;
}

static enum mr_status append_hosts(struct mr_uri *uri, struct mr_uri *more, mr_error *error)
{
	bool agree = same(uri->scheme, more->scheme) && same(uri->user, more->user) &&
	             same(uri->password, more->password) && same(uri->vhost, more->vhost) &&
	             !more->query_count;
	if (!agree)
		return bad(error, "the URLs of a failover list may differ in host and port only");
	return move_hosts(uri, more);
}

enum mr_status mr_uri_parse(struct mr_uri *out, const char *text, size_t size, mr_error *error)
{
	struct mr_uri uri = {0};
	mr_slice rest = mr_slice_of(text, size);
	bool more;
	enum mr_status st = parse_one(&uri, &amqp, cut(&rest, ';', &more), error);
	while (st == MR_OK && more) {
		struct mr_uri next = {0};
		st = parse_one(&next, &amqp, cut(&rest, ';', &more), error);
		if (st == MR_OK) st = append_hosts(&uri, &next, error);
		mr_uri_fini(&next);
	}
	if (st == MR_NO_MEMORY) mr_error_set(error, st, MR_SCOPE_CONFIG, 0, "out of memory");
	if (st == MR_OK)
		*out = uri;
	else
		mr_uri_fini(&uri);
	return st;
}

enum mr_status mr_uri_parse_redis(struct mr_uri *out, const char *text, size_t size,
	mr_error *error)
{
	struct mr_uri uri = {0};
	enum mr_status st = parse_one(&uri, &redis, mr_slice_of(text, size), error);
	if (st == MR_NO_MEMORY) mr_error_set(error, st, MR_SCOPE_CONFIG, 0, "out of memory");
	if (st == MR_OK)
		*out = uri;
	else
		mr_uri_fini(&uri);
	return st;
}

/* ---- Sentinels ---- */

/* What the first URL has not said the second one may say. False: they contradict each other. */
static bool merge(char **first, char **second)
{
	char *said = *second;
	if (!said || !*said) return true;
	if (*first && **first) return strcmp(*first, said) == 0;
	*second = *first;
	*first = said;
	return true;
}

/* One part of kombu's list: a URL, or options. */
static enum mr_status take_part(struct mr_uri *uri, mr_slice part, mr_error *error)
{
	static const char scheme[] = "sentinel://";
	struct mr_uri next = {0};
	bool has_query;
	if (!uri->scheme) return parse_one(uri, &sentinel, part, error);
	if (!part.size) return bad(error, "nothing behind a ;");
	if (has_bad_byte(part)) return bad(error, "a blank or control character: write it as %20");
	if (part.size < sizeof scheme - 1 || strncasecmp(part.data, scheme, sizeof scheme - 1) != 0)
		return take_query(uri, part, error);
	mr_slice query = part;
	part = cut(&query, '?', &has_query);
	enum mr_status st = parse_one(&next, &sentinel, part, error);
	bool agree = st == MR_OK && merge(&uri->user, &next.user) &&
	             merge(&uri->password, &next.password) && merge(&uri->vhost, &next.vhost);
	if (st == MR_OK && !agree)
		st = bad(error, "the URLs of a list of Sentinels may differ in host and port only");
	if (st == MR_OK) st = move_hosts(uri, &next);
	if (st == MR_OK) st = take_query(uri, query, error);
	mr_uri_fini(&next);
	return st;
}

enum mr_status mr_uri_parse_sentinel(struct mr_uri *out, const char *text, size_t size,
	mr_error *error)
{
	struct mr_uri uri = {0};
	mr_slice rest = mr_slice_of(text, size);
	enum mr_status st = MR_OK;
	bool more = true;
	while (st == MR_OK && more) st = take_part(&uri, cut(&rest, ';', &more), error);
	if (st == MR_NO_MEMORY) mr_error_set(error, st, MR_SCOPE_CONFIG, 0, "out of memory");
	if (st == MR_OK)
		*out = uri;
	else
		mr_uri_fini(&uri);
	return st;
}

/* ---- what may be shown ---- */

static void put(char *out, size_t capacity, size_t *used, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++, ++*used)
		if (*used + 1 < capacity) out[*used] = data[i];
}

/* Replaces the value of each `password=` by ***. */
static void put_query_redacted(char *out, size_t capacity, size_t *used, mr_slice text)
{
	static const char key[] = "password=";
	for (size_t i = 0; i < text.size; i++) {
		bool is_key = text.size - i >= sizeof key - 1 &&
		              strncasecmp(text.data + i, key, sizeof key - 1) == 0;
		put(out, capacity, used, text.data + i, is_key ? sizeof key - 1 : 1);
		if (!is_key) continue;
		put(out, capacity, used, "***", 3);
		while (i < text.size && text.data[i] != '&') i++;
		i--;
	}
}

/* True: the "@" is within a password of the query, which goes on behind it. */
static bool is_in_secret(mr_slice before)
{
	const char *amp = before.size ? memrchr(before.data, '&', before.size) : NULL;
	const char *from = amp ? amp : before.data, *end = before.data + before.size;
	return before.size && memmem(from, (size_t)(end - from), "password=", 9);
}

/* In the text between "//" and the last "@" before the next URL, everything after the first colon
 * may be secret. */
static void redact_one(char *out, size_t capacity, size_t *used, mr_slice url)
{
	const char *end = url.data + url.size;
	const char *slashes = url.size ? memmem(url.data, url.size, "//", 2) : NULL;
	const char *user = slashes ? slashes + 2 : url.data;
	const char *at = url.size ? memrchr(user, '@', (size_t)(end - user)) : NULL;
	const char *colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;
	if (!colon) at = url.data;
	if (colon) {
		put(out, capacity, used, url.data, (size_t)(colon + 1 - url.data));
		put(out, capacity, used, "***", 3);
		if (is_in_secret(mr_slice_of(user, (size_t)(at - user))))
			while (at < end && *at != '&') at++;
	}
	put_query_redacted(out, capacity, used, mr_slice_of(at, (size_t)(end - at)));
}

/* In a URL that does not parse, a password may contain an unescaped ";": splits only before a scheme. */
static const char *next_url(mr_slice rest)
{
	const char *first = rest.size ? memmem(rest.data, rest.size, ";amqp", 5) : NULL;
	const char *other = rest.size ? memmem(rest.data, rest.size, ";sentinel://", 12) : NULL;
	return !first || (other && other < first) ? other : first;
}

size_t mr_uri_redact(char *out, size_t capacity, const char *text, size_t size)
{
	mr_slice rest = mr_slice_of(text, size);
	size_t used = 0;
	bool more = true;
	while (more) {
		const char *next = next_url(rest);
		mr_slice one = rest;
		more = next != NULL;
		if (more) one.size = (size_t)(next - rest.data);
		redact_one(out, capacity, &used, one);
		if (!more) break;
		put(out, capacity, &used, ";", 1);
		rest = mr_slice_of(next + 1, rest.size - one.size - 1);
	}
	if (capacity) out[used < capacity ? used : capacity - 1] = '\0';
	return used;
}

int mr_url_redact(const char *url, size_t size, char *buffer, size_t capacity)
{
	return (int)mr_uri_redact(buffer, capacity, url, size);
}
