/* outage: the log lines of a connection: its first connect, losses, tries, recoveries.
 * SPDX-License-Identifier: MIT */
#include "link/outage.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "bridge/notices.h"
#include "link/state.h"

#define SUMMARY 60000 /* ms between two summaries of an outage */

struct words { /* the fields that many lines have; NULL: left out */
	char host[300], text[512], code[16], attempt[24], delay[32], seconds[32], tried[24];
};

/* Seconds as people read them: 0.35, 1.4, 62. */
static const char *seconds(char out[32], mr_msec ms)
{
	double s = (double)ms / 1000;
	mr_number_format(out, 32, s < 1 ? "%.2f" : s < 10 ? "%.1f" : "%.0f", s);
	return out;
}

static const char *whole(char *out, size_t size, int64_t n)
{
	snprintf(out, size, "%" PRIi64, n);
	return out;
}

/* The reason once: without the host, which has a field of its own, and without the list of
 * addresses if all failed in the same way. */
static void say_why(struct words *w, const mr_error *why, size_t tries, bool is_mixed)
{
	size_t host = strlen(w->host);
	bool names_host = strncmp(why->text, w->host, host) == 0 && why->text[host] == ':';
	snprintf(w->text, sizeof w->text, "%s", why->text + (names_host ? host + 2 : 0));
	char *list = strstr(w->text, " (tried ");
	if (list && !is_mixed) *list = '\0';
	if (list && !is_mixed) whole(w->tried, sizeof w->tried, (int64_t)tries);
	if (why->code) whole(w->code, sizeof w->code, why->code);
}

static const char *given(const char *text) { return *text ? text : NULL; }

static const char *hint_once(struct mr_outage *o, const mr_error *why)
{
	const char *hint = o->is_hinted ? "" : mr_error_hint(why);
	o->is_hinted = true;
	return given(hint);
}

/* The program has closed it, or has been told that it cannot be opened: what becomes of Redis is not its matter any more. */
static bool is_over(const struct mr_link *link)
{
	int kind = mr_error_kept(link->error)->kind;
	bool is_closed = !link->opened || kind == MR_OK || kind == MR_CLOSED;
	return link->state == MR_LINK_IDLE && is_closed;
}

void mr_outage_notices(const struct mr_link *link)
{
	if (is_over(link)) return;
	const mr_server *server = link->dial.server;
	struct mr_notices *board = server ? mr_server_notices(server) : NULL;
	if (board) mr_notices_log(board, &link->services->log);
}

void mr_outage_connecting(struct mr_link *link)
{
	struct words w;
	int64_t tries = link->recovery.attempt;
	if (!link->recovery.was_open || !tries) tries++; /* the first one is not a retry */
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	bool is_first = !link->outage.began && !link->opened;
	mr_log(&link->services->log, is_first ? MR_LOG_INFO : MR_LOG_DEBUG, "connecting",
		"connection", link->config->name, "host", w.host, "#attempt",
		whole(w.attempt, sizeof w.attempt, tries), NULL);
}

static bool leaves_unencrypted(const struct mr_link *link)
{
	const struct mr_dial *d = &link->dial;
	if (link->config->tls || !d->peer.size) return false;
	if (d->peer.storage.any.sa_family == AF_INET)
		return ntohl(d->peer.storage.v4.sin_addr.s_addr) >> 24 != 127;
	return !IN6_IS_ADDR_LOOPBACK(&d->peer.storage.v6.sin6_addr);
}

void mr_outage_connected(struct mr_link *link, const char *host)
{
	const struct mr_config *c = link->config;
	const struct mr_log *log = &link->services->log;
	mr_outage_notices(link);
	bool is_back = link->recovery.was_open; /* a line follows when all is restored */
	mr_log(log, is_back ? MR_LOG_DEBUG : MR_LOG_INFO, "connected", "connection", c->name,
		"host", host, NULL);
	if (!is_back) link->outage = (struct mr_outage){0};
	if (is_back) return;
	if (c->tls && !c->tls_verify)
		mr_log(log, MR_LOG_WARN,
			"TLS does not verify the peer: ssl_options.verify is false", "connection",
			c->name, "host", host, NULL);
	if (leaves_unencrypted(link))
		mr_log(log, MR_LOG_WARN,
			"the password went to another machine unencrypted: use amqps://",
			"connection", c->name, "host", host, NULL);
}

void mr_outage_lost(struct mr_link *link, const mr_error *why)
{
	struct mr_outage *o = &link->outage;
	struct words w = {.text = ""};
	mr_msec now = mr_clock_now();
	mr_outage_notices(link);
	/* One that is lost again before it was restored is in the same outage. */
	if (!o->began) *o = (struct mr_outage){.began = now};
	o->told_at = now;
	o->kind = 0;
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	say_why(&w, why, 0, true);
	mr_log(&link->services->log, MR_LOG_ERROR, "lost", "connection", link->config->name, "host",
		w.host, "kind", mr_status_name(why->kind), "#code", given(w.code), "text", w.text,
		"hint", hint_once(o, why), NULL);
}

/* The level of a failed try, and whether it is time for a summary. */
static int level_of(const struct mr_link *link, int kind, bool is_final, bool *is_summary)
{
	const struct mr_outage *o = &link->outage;
	*is_summary = !is_final && o->kind == kind && mr_clock_now() - o->told_at >= SUMMARY;
	if (is_final) return MR_LOG_ERROR;
	if (*is_summary) return MR_LOG_WARN;
	if (o->kind == kind) return MR_LOG_DEBUG;
	return link->recovery.was_open ? MR_LOG_INFO : MR_LOG_ERROR;
}

void mr_outage_failed(struct mr_link *link, const mr_error *why, mr_msec delay)
{
	struct mr_outage *o = &link->outage;
	struct words w = {.text = ""};
	mr_msec now = mr_clock_now();
	bool is_summary, is_final = delay == MR_NEVER;
	mr_outage_notices(link);
	if (!o->began) *o = (struct mr_outage){.began = now, .told_at = now};
	o->tries++;
	int level = level_of(link, why->kind, is_final, &is_summary);
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	say_why(&w, why, link->dial.tries, link->dial.is_mixed);
	if (delay >= 0 && !is_final) seconds(w.delay, delay);
	if (now > o->began) seconds(w.seconds, now - o->began);
	mr_log(&link->services->log, level, is_summary ? "still not connected" : "connect failed",
		"connection", link->config->name, "host", w.host, "#attempt",
		whole(w.attempt, sizeof w.attempt, o->tries), "#seconds", given(w.seconds),
		"#delay", given(w.delay), "kind", mr_status_name(why->kind), "#code", given(w.code),
		"text", w.text, "#addresses", given(w.tried), "hint",
		level < MR_LOG_INFO || !link->recovery.was_open ? hint_once(o, why) : NULL, NULL);
	if (level != MR_LOG_DEBUG) o->told_at = now;
	o->kind = why->kind;
	if (is_final) *o = (struct mr_outage){0};
}

void mr_outage_retry(struct mr_link *link, int kind, mr_msec delay)
{
	struct words w;
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	mr_log(&link->services->log, MR_LOG_DEBUG, "retrying", "connection", link->config->name,
		"host", w.host, "#attempt",
		whole(w.attempt, sizeof w.attempt, link->recovery.attempt), "#delay",
		seconds(w.delay, delay), "kind", mr_status_name(kind), NULL);
}

void mr_outage_recovered(struct mr_link *link, uint32_t restored, mr_msec gap)
{
	struct words w = {.text = ""};
	char count[16];
	snprintf(count, sizeof count, "%u", restored);
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	mr_log(&link->services->log, MR_LOG_INFO, "recovered", "connection", link->config->name,
		"host", w.host, "#gap", seconds(w.seconds, gap), "#attempts",
		whole(w.attempt, sizeof w.attempt, link->outage.tries + 1), "#entities", count,
		NULL);
	link->outage = (struct mr_outage){0};
}

void mr_outage_blocked(struct mr_link *link, bool is_blocked, const char *why)
{
	struct words w;
	mr_dial_host(&link->dial, w.host, sizeof w.host);
	if (is_blocked)
		mr_log(&link->services->log, MR_LOG_WARN, "blocked", "connection",
			link->config->name, "host", w.host, "reason", given(why), "hint",
			mr_status_hint(MR_BLOCKED_TIMEOUT), NULL);
	else
		mr_log(&link->services->log, MR_LOG_INFO, "unblocked", "connection",
			link->config->name, "host", w.host, NULL);
}
