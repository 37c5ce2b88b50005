/* status: names, texts, hints and classes of all kinds of errors, and the structured error.
 * SPDX-License-Identifier: MIT */
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/number.h"
#include "base/redis_hint.h"

struct kind {
	const char *text;
	const char *hint;
	bool recoverable;
};

#define KIND_NAME(upper, lower) #lower,
static const char *const names[MR_STATUS_COUNT] = {MR_KINDS(KIND_NAME)};

static const struct kind kinds[MR_STATUS_COUNT] = {
	[MR_OK] = {"success", "", false},
	[MR_CONNECTION_REFUSED] = {"the connection was refused",
		"is RabbitMQ running there, does a firewall let the port through, are host and port right?",
		true},
	[MR_DNS_FAILED] = {"the host name cannot be resolved",
		"is the host name spelled right, and does this machine's DNS know it?", true},
	[MR_CONNECT_TIMEOUT] = {"connecting took too long",
		"is the host reachable, does a firewall drop packets, is something other than RabbitMQ listening there?",
		true},
	[MR_TLS_FAILED] = {"TLS failed",
		"check ssl_options: ca_certs must hold the CA that signed the broker's certificate, and its name must match the host",
		true},
	[MR_PROTOCOL_MISMATCH] = {"the peer does not speak AMQP 0-9-1 here",
		"plain AMQP is port 5672 (amqp://), TLS is 5671 (amqps://), 15672 is the management UI",
		true},
	[MR_AUTHENTICATION_FAILED] = {"the login was refused",
		"check user and password; the user guest may log in from localhost only", true},
	[MR_VHOST_ACCESS_REFUSED] = {"access to the virtual host was refused",
		"does the virtual host exist (rabbitmqctl list_vhosts), has the user permissions on it (rabbitmqctl set_permissions)?",
		true},
	[MR_ACCESS_REFUSED] = {"the broker refused access (403)",
		"does the user lack the permission that this operation needs (rabbitmqctl list_permissions), or is the name reserved (amq.*)?",
		false},
	[MR_NOT_FOUND] = {"there is no such queue, exchange or binding (404)",
		"declare it first, or check its name and the virtual host", false},
	[MR_RESOURCE_LOCKED] = {"another connection holds the resource exclusively (405)",
		"an exclusive queue belongs to the connection that declared it; wait until that one is gone",
		true},
	[MR_PRECONDITION_FAILED] = {"a precondition failed (406)",
		"the text names the argument that differs: declare with the same arguments, or delete the old queue or exchange first",
		false},
	[MR_CONTENT_TOO_LARGE] = {"the message is too large",
		"raise max_message_size, or the broker's max_message_size, or send less", false},
	[MR_NO_ROUTE] = {"no queue is bound for this routing key (312)",
		"bind a queue to the exchange with a key that matches", false},
	[MR_CONNECTION_FORCED] = {"the broker closed the connection (320)",
		"an operator or a shutdown of the broker closed it; it can be opened again", true},
	[MR_FRAME_ERROR] = {"a malformed frame arrived (501)",
		"the peer, or something between, damages the stream; is it a RabbitMQ?", true},
	[MR_COMMAND_INVALID] = {"a method came out of turn (503)",
		"a fault of the client or the broker: please report it with the text", true},
	[MR_CHANNEL_ERROR] = {"a frame for a channel that is not open (504)",
		"a fault of the client or the broker: please report it with the text", true},
	[MR_UNEXPECTED_FRAME] = {"a frame came out of turn (505)",
		"a fault of the client or the broker: please report it with the text", true},
	[MR_RESOURCE_ERROR] = {"the broker lacks a resource (506)",
		"look at the broker's memory, disk and file descriptor limits", true},
	[MR_NOT_ALLOWED] = {"the broker does not allow this (530)",
		"the text says what: a reused consumer tag, a limit, or a virtual host that is not there",
		false},
	[MR_NOT_IMPLEMENTED] = {"the broker does not implement this (540)",
		"this version of the broker lacks the feature", false},
	[MR_INTERNAL_ERROR] = {"an internal error of the broker (541)",
		"look into the broker's log", true},
	[MR_STREAM_LOST] = {"the connection was lost",
		"the network or the broker went away; the broker's log may say why", true},
	[MR_HEARTBEAT_TIMEOUT] = {"the broker fell silent",
		"is the network sound? A shorter heartbeat (30) notices sooner; a longer one tolerates more",
		true},
	[MR_BLOCKED_TIMEOUT] = {"the broker blocks publishing",
		"the broker is short of memory or disk: rabbitmq-diagnostics alarms says which; publishes go on when it has room",
		true},
	[MR_CONNECTION_LIMIT_REACHED] = {"the broker's connection limit is reached",
		"use fewer connections (a shared strategy, smaller pools) or raise the limit of broker, vhost or user",
		true},
	[MR_CHANNEL_LIMIT_REACHED] = {"no channel number is free",
		"close channels that are no longer used, or raise channel_max of the connection and the broker, or the user's max-channels",
		true},
	[MR_POOL_EXHAUSTED] = {"all members of the pool are in use",
		"release what is acquired, wait with block = true, or raise the limit", true},
	[MR_POOL_LIMIT_EXCEEDED] = {"the pool has reached its limit", "raise the limit of the pool",
		false},
	[MR_TIMEOUT] = {"the time was up", "the broker may be slow, or the timeout too short",
		true},
	[MR_BACKPRESSURE] = {"too much is waiting to be sent",
		"the network or the broker is slower than the publisher: wait for confirms, or publish less",
		true},
	[MR_NACKED] = {"the broker refused the message (basic.nack)",
		"a queue is full (x-max-length) or its process died: try later; of redis:// the log says why",
		true},
	[MR_RETURNED] = {"the message could not be routed and came back",
		"bind a queue to the exchange with a key that matches", false},
	[MR_LOST] = {"the connection went before the broker confirmed",
		"the message may or may not have arrived: publish it again if duplicates are acceptable",
		true},
	[MR_STALE] =
		{"the message belongs to a channel that is gone, or was taken back by basic.recover",
			"the broker delivers it again; nothing was sent", false},
	[MR_SETTLED] = {"the message was settled before", "settle each message once", false},
	[MR_CANCELLED] = {"the consumer was cancelled",
		"the queue was deleted, or its node went away", true},
	[MR_CLOSED] = {"it is closed", "open it again before using it", false},
	[MR_FORKED] = {"this process is a fork of the one that made the runtime",
		"make anew in the child what it needs: this one stays the parent's", false},
	[MR_BAD_OPTION] = {"an option is wrong", "docs/configuration.md lists the options", false},
	[MR_BAD_URI] = {"the URL is wrong",
		"the form is amqp://user:password@host:port/vhost?heartbeat=60", false},
	[MR_BAD_ARGUMENT] = {"an argument is wrong",
		"names are at most 255 bytes, table keys at most 128", false},
	[MR_EMPTY] = {"the queue is empty", "", false},
	[MR_HANDLER_FAILED] = {"the handler failed",
		"the traceback in the log, or in the dead letter's header x-mr-traceback, tells where",
		true},
	[MR_NO_MEMORY] = {"out of memory", "the process has reached its memory limit", true},
	[MR_NO_DESCRIPTORS] = {"no file descriptor is left",
		"raise the limit (ulimit -n; LimitNOFILE= in a unit of systemd), use fewer connections, or close what the script opens",
		true},
};

static bool is_kind(int kind) { return kind >= 0 && kind < MR_STATUS_COUNT; }

int mr_status_count(void) { return MR_STATUS_COUNT; }

const char *mr_status_name(int kind) { return is_kind(kind) ? names[kind] : "unknown"; }

const char *mr_status_text(int kind) { return is_kind(kind) ? kinds[kind].text : "unknown error"; }

const char *mr_status_hint(int kind) { return is_kind(kind) ? kinds[kind].hint : ""; }

struct cause {
	const char *text; /* a part of the error's */
	const char *hint;
};

/* What RabbitMQ refuses with 406; the kind's own hint is for arguments that differ. */
static const struct cause refusals[] = {
	{"prefetch count is not set",
		"a consumer of a stream needs a prefetch (ch:qos { prefetch_count = 100 }), and acks"},
	{"rabbit_stream_queue",
		"a stream has no such argument: docs/streams.md lists those that it has"},
	{"inequivalent arg 'x-queue-type'",
		"a queue keeps its type: declare the one that it has, or move its messages (docs/cluster.md, From "
		"classic to quorum)"},
	{"unknown delivery tag",
		"a message is settled once, on the channel that it came on, and not if its consumer has no_ack"},
	{"in use", "it has consumers or bindings: end them first, or leave if_unused out"},
	{"not empty", "purge the queue first, or leave if_empty out"},
	{"from confirm to tx", "a channel has confirms or transactions: open another one"},
	{"from tx to confirm", "a channel has confirms or transactions: open another one"},
	{"not transactional", "tx_select comes before tx_commit and tx_rollback"},
	{"larger than", "raise the broker's max_message_size, or send less"},
	{"reply consumer",
		"consume amq.rabbitmq.reply-to with no_ack, on the channel that publishes the request, and first"},
	{"expiration", "expiration is a whole number of milliseconds, as a string"},
	{"invalid arg", "the text names the argument, and why this broker does not take it"},
	{NULL, NULL}};

static const struct cause timeouts[] = {
	{"did not send",
		"the broker may be slow, or the timeout too short; the operation may still have taken effect"},
	{"did not answer",
		"the broker may be slow, or the timeout too short; the operation may still have taken effect"},
	{"did not close", "open another channel: the broker still has the one before it"},
	{NULL, NULL}};

static const struct cause commands[] = {
	{"unknown exchange type",
		"the broker has no exchanges of this type; those of plugins need them enabled (rabbitmq-plugins "
		"enable rabbitmq_consistent_hash_exchange)"},
	{NULL, NULL}};

static const char *hint_of(const struct cause *causes, const char *text)
{
	for (; causes->text; causes++)
		if (strstr(text, causes->text)) return causes->hint;
	return NULL;
}

/* Of what the system says when a port cannot be opened. */
static const char *hint_of_listening(int system)
{
	if (system == EADDRINUSE)
		return "another program listens there (ss -ltnp names it): end it, or take another port";
	if (system == EACCES)
		return "ports below 1024 are for root; a socket needs a folder that one may write to";
	return "the address must be one of this machine (ip address lists them)";
}

/* 406 */
static const char *hint_of_refusal(const mr_error *error)
{
	if (mr_error_is_consumer_timeout(error))
		return "a message was not acked within the broker's consumer_timeout: raise that, or work in "
		       "smaller steps (a lower prefetch helps when messages wait here)";
	return hint_of(refusals, error->text);
}

/* NULL: the kind's own. */
static const char *hint_of_text(const mr_error *error)
{
	switch (error->kind) {
	case MR_TIMEOUT: return hint_of(timeouts, error->text);
	case MR_COMMAND_INVALID: return hint_of(commands, error->text);
	case MR_BAD_ARGUMENT:
		if (!error->text[0] || mr_redis_hint(error->text)) return NULL;
		return "the text says which argument it is, and what it may be";
	case MR_TLS_FAILED:
		return strstr(error->text, "the key file")
		               ? "ssl_options.password must be that of ssl_options.keyfile (openssl pkey -in FILE -noout "
		                 "asks for it), or the key must not be encrypted"
		               : NULL;
	case MR_CONNECTION_REFUSED:
		return error->system && strstr(error->text, "cannot listen")
		               ? hint_of_listening(error->system)
		               : NULL;
	default: return NULL;
	}
}

const char *mr_error_hint(const mr_error *error)
{
	const char *hint = error->code == 406 ? hint_of_refusal(error) : hint_of_text(error);
	if (hint || (hint = mr_redis_hint(error->text))) return hint;
	if (error->code == 540 && strstr(error->text, "stream queue"))
		return "a stream is consumed with acks and a prefetch; basic.get, nack and reject are for other "
		       "queues";
	if (mr_error_is_node_down(error))
		return "the node that holds this queue is down; the queue is there again when the node is. A quorum "
		       "queue outlives the loss of a node";
	if (error->kind == MR_ACCESS_REFUSED && mr_error_is_exclusive_use(error))
		return "a consumer has the queue to itself (exclusive), perhaps on a connection that died and that "
		       "the broker has yet to miss";
	return mr_status_hint(error->kind);
}

bool mr_error_is_consumer_timeout(const mr_error *error)
{
	return strstr(error->text, "delivery acknowledgement on channel") != NULL;
}

bool mr_status_recoverable(int kind) { return is_kind(kind) && kinds[kind].recoverable; }

const char *mr_scope_name(int scope)
{
	static const char *const scopes[] = {"none", "connection", "channel", "pool", "publish",
		"message", "config"};
	return scope >= 0 && scope <= MR_SCOPE_CONFIG ? scopes[scope] : "none";
}

const char *mr_version(void) { return MR_VERSION_STRING; }

/* ---- text from outside ---- */

/* Returns the length of the UTF-8 character that begins with this byte, 0 if none does. */
static size_t utf8_length(unsigned char first)
{
	if (first >= 0xc2 && first < 0xe0) return 2;
	if (first >= 0xe0 && first < 0xf0) return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* The second byte shows overlong forms, surrogates, values beyond U+10FFFF, control characters. */
static bool is_second_sound(const unsigned char *s)
{
	static const struct {
		unsigned char first, least, most;
	} ranges[] = {{0xc2, 0xa0, 0xbf}, {0xe0, 0xa0, 0xbf}, {0xed, 0x80, 0x9f},
		{0xf0, 0x90, 0xbf}, {0xf4, 0x80, 0x8f}};
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (ranges[i].first == s[0])
			return s[1] >= ranges[i].least && s[1] <= ranges[i].most;
	return true;
}

/* Returns the size of the printable character at `s`, 0 if there is none. */
static size_t printable(const unsigned char *s, size_t size)
{
	if (s[0] >= 0x20 && s[0] < 0x7f) return 1;
	size_t n = utf8_length(s[0]);
	if (n == 0 || n > size || !is_second_sound(s)) return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80) return 0;
	return n;
}

size_t mr_error_escape(char *out, size_t capacity, const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;
	for (size_t i = 0; i < size;) {
		size_t n = printable(s + i, size - i);
		size_t need = n ? n : 4;
		if (used + need >= capacity) break;
		if (n)
			memcpy(out + used, s + i, n);
		else
			snprintf(out + used, 5, "\\x%02x", s[i]);
		used += need;
		i += n ? n : 1;
	}
	if (capacity) out[used] = '\0';
	return used;
}

static void fill(mr_error *error, enum mr_status kind, enum mr_scope scope, int code,
	const char *raw)
{
	memset(error, 0, sizeof *error);
	error->kind = kind;
	error->code = code;
	error->scope = scope;
	error->recoverable = mr_status_recoverable(kind);
	mr_error_escape(error->text, sizeof error->text, raw, strlen(raw));
	if (mr_error_is_exclusive_use(error)) error->recoverable = true; /* like 405 */
	if (mr_error_is_node_down(error)) error->recoverable = true;
}

enum mr_status mr_error_set(mr_error *error, enum mr_status kind, enum mr_scope scope, int code,
	const char *format, ...)
{
	char raw[1024];
	va_list args;
	if (!error) return kind;
	va_start(args, format);
	mr_number_vformat(raw, sizeof raw, format, args);
	va_end(args);
	fill(error, kind, scope, code, raw);
	return kind;
}

mr_error *mr_error_copy(const mr_error *error)
{
	mr_error *copy = mr_malloc(sizeof *copy);
	if (copy) *copy = *error;
	return copy;
}

/* For errors without memory to keep them: a refused login must not be tried again at once. */
static mr_error bare[MR_STATUS_COUNT];
static pthread_once_t bare_once = PTHREAD_ONCE_INIT;

static void fill_bare(void)
{
	for (int kind = MR_OK; kind < MR_STATUS_COUNT; kind++)
		fill(&bare[kind], kind, MR_SCOPE_CONNECTION, 0, kinds[kind].text);
	for (int code = 540; code > 200; code--) /* a peer is told of a fault by its code */
		if (mr_status_of_code(code) != MR_INTERNAL_ERROR)
			bare[mr_status_of_code(code)].code = code;
	bare[MR_INTERNAL_ERROR].code = 541;
	bare[MR_NO_MEMORY].code = 506;
}

static const mr_error *bare_of(int kind)
{
	pthread_once(&bare_once, fill_bare);
	return &bare[is_kind(kind) ? kind : MR_INTERNAL_ERROR];
}

void mr_error_keep(const mr_error **kept, const mr_error *error)
{
	mr_error *old = (mr_error *)(uintptr_t)*kept;
	bool is_own = old && old != &bare[old->kind];
	bool is_one = error && error->kind;
	if (is_own && is_one) {
		memmove(old, error, sizeof *old);
		return;
	}
	*kept = is_one ? mr_error_copy(error) : NULL;
	if (is_one && !*kept) *kept = bare_of(error->kind);
	if (is_own) mr_free(old);
}

const mr_error *mr_error_kept(const mr_error *kept)
{
	static const mr_error none;
	return kept ? kept : &none;
}

static bool is_descriptors(int system) { return system == EMFILE || system == ENFILE; }

bool mr_status_lacks_descriptors(int *system)
{
	int fd = open("/", O_PATH | O_CLOEXEC);
	if (fd >= 0) close(fd);
	if (fd < 0 && is_descriptors(errno)) *system = errno;
	return fd < 0 && is_descriptors(errno);
}

enum mr_status mr_error_system(mr_error *error, enum mr_status kind, enum mr_scope scope,
	int system, const char *format, ...)
{
	char raw[1024], reason[128];
	va_list args;
	if (is_descriptors(system)) kind = MR_NO_DESCRIPTORS;
	if (!error) return kind;
	va_start(args, format);
	int n = mr_number_vformat(raw, sizeof raw - sizeof reason, format, args);
	va_end(args);
	size_t used = n < 0                                    ? 0
	              : (size_t)n < sizeof raw - sizeof reason ? (size_t)n
	                                                       : sizeof raw - sizeof reason - 1;
	locale_t before = mr_number_plain_begin(); /* all messages are in English */
	snprintf(raw + used, sizeof raw - used, ": %s", strerror_r(system, reason, sizeof reason));
	mr_number_plain_end(before);
	fill(error, kind, scope, 0, raw);
	error->system = system;
	return kind;
}

enum mr_status mr_status_of_code(int code)
{
	switch (code) {
	case 200: return MR_CLOSED;
	case 311: return MR_CONTENT_TOO_LARGE;
	case 312: return MR_NO_ROUTE;
	case 313: return MR_NO_ROUTE; /* no consumers: for `immediate`, which RabbitMQ removed */
	case 320: return MR_CONNECTION_FORCED;
	case 402: return MR_VHOST_ACCESS_REFUSED;
	case 403: return MR_ACCESS_REFUSED;
	case 404: return MR_NOT_FOUND;
	case 405: return MR_RESOURCE_LOCKED;
	case 406: return MR_PRECONDITION_FAILED;
	case 501: return MR_FRAME_ERROR;
	case 502: return MR_FRAME_ERROR; /* syntax error */
	case 503: return MR_COMMAND_INVALID;
	case 504: return MR_CHANNEL_ERROR;
	case 505: return MR_UNEXPECTED_FRAME;
	case 506: return MR_RESOURCE_ERROR;
	case 530: return MR_NOT_ALLOWED;
	case 540: return MR_NOT_IMPLEMENTED;
	default: return MR_INTERNAL_ERROR;
	}
}

bool mr_error_is_node_down(const struct mr_error *error)
{
	return error->kind == MR_NOT_FOUND && strstr(error->text, "is down or inaccessible");
}

bool mr_error_is_exclusive_use(const struct mr_error *error)
{
	if (error->kind == MR_RESOURCE_LOCKED) return true;
	return error->kind == MR_ACCESS_REFUSED && strstr(error->text, "in exclusive use");
}

/* ---- near misses ---- */

#define WORD_MAX 63

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t row[WORD_MAX + 1];
	for (size_t j = 0; j <= b_size; j++) row[j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t above = row[j];
			size_t best = diagonal + (a[i - 1] != b[j - 1]);
			if (above + 1 < best) best = above + 1;
			if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return row[b_size];
}

const char *mr_error_nearest(const char *word, size_t size, const char *const *candidates,
	size_t count)
{
	const char *best = NULL;
	size_t least = (size + 1) / 2 + 1;
	if (size > WORD_MAX) return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(candidates[i]);
		if (length > WORD_MAX) continue;
		size_t d = distance(word, size, candidates[i], length);
		if (d >= least) continue;
		least = d;
		best = candidates[i];
	}
	return best;
}
