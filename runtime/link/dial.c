/* dial: one pass over all hosts and addresses of a configuration, until a stream is connected.
 * SPDX-License-Identifier: MIT */
#include "link/dial.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/descriptor.h"
#include "net/tcp.h"

#define TRIED_MAX 256 /* bytes */

static void try_host(struct mr_dial *d);

static void stop_watching(struct mr_dial *d)
{
	ev_io_stop(d->services->loop, &d->io);
	mr_timer_stop(&d->timer);
}

/* ---- what failed ---- */

/* Adds a failure. The list is limited: further failures are only counted. */
static void remember(struct mr_dial *d, size_t racer, int kind)
{
	char host[300], address[64] = "";
	char text[500];
	mr_dial_host(d, host, sizeof host);
	if (racer < d->race.count && d->race.count > 1) {
		memcpy(address, " (", 2);
		mr_resolve_format(&d->race.racers[racer].address, address + 2, sizeof address - 3);
		strcat(address, ")");
	}
	if (!d->tries++) d->first_kind = kind;
	d->is_mixed = d->is_mixed || kind != d->first_kind;
	size_t used = mr_buffer_size(&d->tried);
	int size = snprintf(text, sizeof text, "%s%.100s%s %s", used ? ", " : "", host, address,
		mr_status_name(kind));
	if (used + (size_t)size < TRIED_MAX) mr_buffer_append(&d->tried, text, (size_t)size);
}

void mr_dial_tell_tried(struct mr_dial *d, mr_error *error)
{
	char text[sizeof error->text];
	for (size_t i = 0; i < d->race.count; i++)
		if (d->race.racers[i].state == MR_RACER_RUNS) remember(d, i, MR_CONNECT_TIMEOUT);
	if (d->lower || d->stream) remember(d, d->racer, MR_CONNECT_TIMEOUT);
	if (d->tries < 2) return;
	snprintf(text, sizeof text, "%.200s (tried %zu: %.*s)", error->text, d->tries,
		(int)mr_buffer_size(&d->tried), (const char *)mr_buffer_data(&d->tried));
	memcpy(error->text, text, sizeof text);
}

/* The error of a host that was reached says more than that of an address where nothing listens. */
static bool says_less(const mr_error *error, const mr_error *than)
{
	bool is_absence = error->kind == MR_CONNECTION_REFUSED || error->kind == MR_DNS_FAILED;
	bool was_absence = than->kind == MR_CONNECTION_REFUSED || than->kind == MR_DNS_FAILED;
	return than->kind && is_absence && !was_absence;
}

/* Puts the host before the error, because there may be several hosts. */
static void note_error(struct mr_dial *d, size_t racer, const mr_error *error)
{
	char host[300];
	mr_error copy;
	remember(d, racer, error->kind);
	if (says_less(error, mr_error_kept(d->error))) return;
	mr_dial_host(d, host, sizeof host);
	mr_error_set(&copy, error->kind, MR_SCOPE_CONNECTION, error->code, "%s: %.440s", host,
		error->text);
	copy.system = error->system;
	mr_error_keep(&d->error, &copy);
}

/* ---- TLS, after others ---- */

/* The next dial in the line may begin its handshake, in its turn of the loop. */
static void stop_shaking(struct mr_dial *d)
{
	struct mr_services *e = d->services;
	struct mr_node *node;
	mr_list_remove(&d->line);
	if (!d->is_shaking) return;
	d->is_shaking = false;
	e->shaking--;
	if (!(node = mr_list_shift(&e->shake_line))) return;
	struct mr_dial *next = mr_container(node, struct mr_dial, line);
	next->is_shaking = true;
	e->shaking++;
	ev_io_set(&next->io, next->lower->fd, EV_WRITE); /* TCP is connected: it is writable */
	ev_io_start(e->loop, &next->io);
}

static void finish(struct mr_dial *d, struct mr_stream *stream)
{
	stop_watching(d);
	stop_shaking(d);
	d->active = false;
	d->stream = NULL;
	mr_error why = *mr_error_kept(d->error);
	if (!stream) mr_dial_tell_tried(d, &why);
	d->done(d->owner, stream, stream ? NULL : &why);
}

static void close_streams(struct mr_dial *d)
{
	if (d->stream) d->stream->class->close(d->stream);
	if (d->lower) d->lower->class->close(d->lower);
	d->stream = d->lower = NULL;
	stop_shaking(d);
}

/* The address that was reached has failed: tries the host's other addresses, then other hosts. */
static void go_on(struct mr_dial *d)
{
	stop_watching(d);
	close_streams(d);
	if (mr_race_fresh(&d->race)) {
		mr_race_run(&d->race);
		return;
	}
	d->host++;
	try_host(d);
}

static void watch_stream(struct mr_dial *d)
{
	unsigned want = d->stream->want;
	int events = (want & MR_WANT_READ ? EV_READ : 0) | (want & MR_WANT_WRITE ? EV_WRITE : 0);
	ev_io_stop(d->services->loop, &d->io);
	ev_io_set(&d->io, d->stream->fd, events);
	ev_io_start(d->services->loop, &d->io);
}

static void step(struct mr_dial *d)
{
	mr_error error = {0};
	enum mr_status st = d->stream->class->connect(d->stream, &error);
	if (st == MR_TIMEOUT) {
		watch_stream(d);
	} else if (st == MR_OK) {
		finish(d, d->stream);
	} else {
		if (d->session.is_suspect)
			mr_race_again(&d->race, d->racer); /* without a session */
		else
			note_error(d, d->racer, &error);
		go_on(d);
	}
}

/* Hosts that accept and send nothing must leave time for the next ones: each gets its share of the
 * rest of connect_timeout, and at most socket_timeout. */
static mr_msec address_deadline(void *owner)
{
	const struct mr_dial *d = owner;
	mr_msec now = mr_clock_now(), share = d->config->socket_timeout;
	size_t left = d->config->host_count - d->host + mr_race_fresh(&d->race);
	if (left > 1 && (d->deadline - now) / (mr_msec)left < share)
		share = (d->deadline - now) / (mr_msec)left;
	return now + share;
}

static void begin_tls(struct mr_dial *d)
{
	mr_error error = {0};
	struct mr_stream *lower = d->lower;
	const struct mr_config_host *host = &d->config->hosts[d->host];
	const struct mr_tls_target to = {host->name, host->port, &d->session};
	d->lower = NULL;
	d->give_up = address_deadline(d);
	mr_timer_arm(&d->timer, d->give_up);
	if (mr_tls_open(&d->stream, d->tls, lower, &to, &error) == MR_OK) {
		step(d);
		return;
	}
	note_error(d, d->racer, &error);
	go_on(d);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
	struct mr_dial *d = io->data;
	(void)revents;
	ev_io_stop(loop, io);
	if (d->lower)
		begin_tls(d);
	else
		step(d);
}

static void on_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct mr_dial *d = timer->data;
	mr_error error = {0};
	(void)loop;
	(void)revents;
	mr_error_set(&error, MR_CONNECT_TIMEOUT, MR_SCOPE_CONNECTION, 0, "no answer in time");
	note_error(d, d->racer, &error);
	go_on(d);
}

/* ---- the race ---- */

static void on_won(void *owner, size_t racer, struct mr_stream *stream)
{
	struct mr_dial *d = owner;
	struct mr_services *e = d->services;
	d->racer = racer;
	d->peer = d->race.racers[racer].address;
	d->give_up = address_deadline(d);
	if (!d->tls) {
		finish(d, stream);
		return;
	}
	d->lower = stream;
	if (e->shaking >= MR_SHAKING_MAX) {
		mr_list_append(&e->shake_line, &d->line);
		return;
	}
	d->is_shaking = true;
	e->shaking++;
	begin_tls(d);
}

static void on_failed(void *owner, size_t racer, const mr_error *error)
{
	note_error(owner, racer, error);
}

static void on_over(void *owner) { go_on(owner); }

static const struct mr_race_owner race_owner = {on_won, on_failed, on_over, address_deadline};

static void on_resolved(void *owner, const struct mr_address *addresses, size_t count,
	const mr_error *error)
{
	struct mr_dial *d = owner;
	mr_error none = {0};
	d->lookup = NULL;
	const struct mr_address *first = d->worked.size ? &d->worked : NULL;
	if (count && mr_race_set(&d->race, addresses, count, first) == MR_OK) {
		mr_race_run(&d->race);
		return;
	}
	mr_error_set(&none, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	note_error(d, SIZE_MAX, count ? &none : error);
	go_on(d);
}

static void try_host(struct mr_dial *d)
{
	mr_race_fini(&d->race);
	if (d->host == d->config->host_count) {
		finish(d, NULL);
		return;
	}
	const struct mr_config_host *host = &d->config->hosts[d->host];
	struct mr_lookup *lookup = NULL;
	if (mr_resolve(d->services->resolver, host->name, host->port, on_resolved, d, &lookup) !=
		MR_OK) {
		mr_error error = {0};
		mr_error_set(&error, MR_DNS_FAILED, MR_SCOPE_CONNECTION, 0,
			"cannot look up the host");
		on_resolved(d, NULL, 0, &error);
		return;
	}
	/* A literal address was answered already, and the dial may have moved on. */
	if (lookup) d->lookup = lookup;
}

void mr_dial_init(struct mr_dial *d, struct mr_services *services, const struct mr_config *config,
	mr_dialed *done, void *owner)
{
	*d = (struct mr_dial){.services = services, .config = config, .done = done, .owner = owner};
	ev_init(&d->io, on_ready);
	mr_timer_init(&d->timer, &services->timers, on_timeout, d);
	mr_race_init(&d->race, services, &race_owner, d);
	d->io.data = d;
}

static enum mr_status load_tls(struct mr_dial *d, mr_error *error)
{
	const struct mr_config *c = d->config;
	struct mr_tls_options options = {.ca_certs = c->tls_ca,
		.certfile = c->tls_cert,
		.keyfile = c->tls_key,
		.password = c->tls_password};
	options.server_name = c->tls_server_name;
	options.min_version = c->tls_min_version;
	options.no_verify = !c->tls_verify;
	mr_tls_context_close(d->tls);
	d->tls = NULL;
	enum mr_status st =
		c->tls ? mr_tls_store_get(d->services->tls, &options, &d->tls, error) : MR_OK;
	if (d->session.context != d->tls) mr_tls_session_forget(&d->session);
	return st;
}

/* The engine holds the runtime's own broker; a named broker is held by each dial that uses it. */
static enum mr_status get_server(struct mr_dial *d, mr_server **out, mr_error *error)
{
	const char *name = d->config->gateway ? d->config->gateway : d->config->hosts[0].name;
	mr_server **at = *name ? &d->server : &d->services->server;
	enum mr_status st = *at ? MR_OK : mr_registry_acquire(at, name, error);
	*out = *at;
	return st;
}

static void start_memory(struct mr_dial *d)
{
	mr_server *server;
	struct mr_stream *stream = NULL;
	mr_error error = {0};
	int fd = -1;
	if (get_server(d, &server, &error) == MR_OK &&
		mr_server_connect(server, &fd, &error) == MR_OK &&
		mr_tcp_adopt(&stream, fd) != MR_OK) {
		mr_descriptor_close(fd);
		mr_error_set(&error, MR_NO_MEMORY, MR_SCOPE_CONNECTION, 0, "out of memory");
	}
	mr_error_keep(&d->error, &error);
	finish(d, stream);
}

static void forget_failures(struct mr_dial *d)
{
	mr_error_keep(&d->error, NULL);
	mr_buffer_fini(&d->tried);
}

void mr_dial_start(struct mr_dial *d)
{
	mr_dial_cancel(d);
	d->active = true;
	d->host = 0;
	d->peer.size = 0;
	d->deadline = mr_clock_now() + d->config->connect_timeout;
	forget_failures(d);
	d->tries = 0;
	d->is_mixed = false;
	mr_error error = {0};
	if (d->config->memory) {
		start_memory(d);
	} else if (load_tls(d, &error) != MR_OK) {
		mr_error_keep(&d->error, &error);
		finish(d, NULL);
	} else {
		try_host(d);
	}
}

bool mr_dial_next(struct mr_dial *d, bool is_final, mr_error *why)
{
	mr_tls_session_forget(&d->session); /* a peer may take one, and then lack what it needs */
	if (is_final) return false;
	bool last = !mr_race_fresh(&d->race) && d->host + 1 >= d->config->host_count;
	remember(d, d->racer, why->kind);
	if (last) mr_dial_tell_tried(d, why);
	if (last) return false;
	d->active = true;
	mr_error_keep(&d->error, why);
	go_on(d);
	return true;
}

void mr_dial_worked(struct mr_dial *d)
{
	d->worked = d->peer;
	forget_failures(d);
	mr_race_fini(&d->race); /* the others are looked up again, next time */
}

void mr_dial_cancel(struct mr_dial *d)
{
	stop_watching(d);
	mr_race_fini(&d->race);
	mr_resolve_cancel(d->lookup);
	d->lookup = NULL;
	close_streams(d);
	d->active = false;
}

void mr_dial_fini(struct mr_dial *d)
{
	mr_dial_cancel(d);
	forget_failures(d);
	mr_tls_session_forget(&d->session);
	mr_tls_context_close(d->tls);
	/* If the engine ends, the host's thread frees it, which may wait. */
	if (d->services->stopped)
		mr_registry_release(d->server);
	else
		mr_registry_release_later(d->server);
}

void mr_dial_host(const struct mr_dial *d, char *out, size_t capacity)
{
	size_t at = d->host < d->config->host_count ? d->host : d->config->host_count - 1;
	const struct mr_config_host *host = &d->config->hosts[at];
	if (d->config->memory) {
		snprintf(out, capacity, "%s", d->config->url);
		return;
	}
	const char *form = strchr(host->name, ':') ? "[%s]:%u" : "%s:%u";
	snprintf(out, capacity, form, host->name, host->port);
}
