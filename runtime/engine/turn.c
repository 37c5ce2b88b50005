/* turn: one turn of the I/O loop: takes commands, runs the links, pushes events.
 * SPDX-License-Identifier: MIT */
#include "engine/turn.h"

#include "base/alloc.h"
#include "link/command.h"
#include "link/link.h"

#define COMMANDS_PER_TURN 16384 /* then sockets and deadlines have their turn */
#define COMMANDS_PER_TICK 256   /* publishes that get the same time */
#define TRIM_TIME 1000          /* ms in which no delivery needed it: then memory is freed */

/* ---- back-pressure from the host ---- */

/* Checks the links that may read again, or may report held deliveries: the host has returned enough
 * deliveries, or waits for an answer. */
static void judge_waiting(struct mr_engine *e)
{
	struct mr_node *next;
	for (struct mr_node *n = e->services.holding.next; n != &e->services.holding; n = next) {
		struct mr_link_io *io = mr_container(n, struct mr_link_io, holding);
		next = n->next;
		mr_link_io_judge(io);
		mr_link_io_touch(io);
	}
	for (struct mr_node *n = e->services.paused.next; n != &e->services.paused; n = next) {
		next = n->next;
		mr_link_io_judge(mr_container(n, struct mr_link_io, paused));
	}
}

/* Gives a turn to each link whose stream has buffered bytes, for which no descriptor is
 * readable. */
static void read_eager(struct mr_engine *e)
{
	struct mr_node turn, *node;
	mr_list_init(&turn);
	mr_list_splice(&turn, &e->services.eager);
	while ((node = mr_list_shift(&turn)))
		mr_link_io_read(mr_container(node, struct mr_link_io, eager));
}

/* ---- commands ---- */

/* Frees the seed of a link that could not be created; 0: all of them. */
void mr_turn_free_barren(struct mr_engine *e, uint32_t number)
{
	struct mr_node *next;
	for (struct mr_node *n = e->barren.next; n != &e->barren; n = next) {
		struct mr_link_seed *seed = mr_container(n, struct mr_link_seed, node);
		next = n->next;
		if (number && seed->number != number) continue;
		mr_list_remove(n);
		mr_config_fini(seed->config);
		mr_free(seed->config);
		mr_free(seed->gauge);
		mr_free(seed);
	}
}

static void no_link(struct mr_engine *e, const struct mr_command *c)
{
	if (c->type == MR_CMD_REQUEST) {
		struct mr_request_copy *copy = c->request.copy;
		mr_table_free(copy->request.arguments);
		mr_free(copy);
	}
	if (c->type == MR_CMD_SECRET) mr_free(c->secret.text);
	if (c->type == MR_CMD_LINK_FREE) mr_turn_free_barren(e, c->connection);
	if (!c->token) return;
	enum mr_status st = c->type == MR_CMD_LINK_CLOSE ? MR_OK : MR_NO_MEMORY;
	mr_event ev = {.type = MR_EV_DONE, .status = (int32_t)st, .as.done.token = c->token};
	mr_event_queue_push(&e->services.dispatch, &ev);
}

static void new_link(struct mr_engine *e, const struct mr_command *c)
{
	if (mr_link_new(&e->services, c->connection, c->seed) == MR_OK) return;
	mr_list_append(&e->barren, &c->seed->node);
}

static void link_command(struct mr_engine *e, const struct mr_command *c)
{
	struct mr_link *link = mr_map_get(&e->services.links, c->connection);
	if (!link)
		no_link(e, c);
	else if (c->type == MR_CMD_LINK_OPEN)
		mr_link_open(link, c->token);
	else if (c->type == MR_CMD_LINK_CLOSE)
		mr_link_close(link, c->token, c->deadline);
	else if (c->type == MR_CMD_LINK_FREE)
		mr_link_free(link);
	else
		mr_link_command(link, c, (const char *)(c + 1));
}

void mr_turn_begin_stop(struct mr_engine *e, mr_msec deadline)
{
	struct mr_link *link;
	size_t at = 0;
	e->services.stopping = true;
	mr_timer_arm(&e->stop_timer, deadline);
	while ((link = mr_map_next(&e->services.links, &at, NULL)))
		mr_link_close(link, 0, deadline);
}

static void clock_moved(struct mr_engine *e, uint64_t token)
{
	mr_timers_clock_moved(&e->services.timers);
	e->clock_token = token;
}

/* Reports that everything due by the moved clock has been done. */
void mr_turn_tell_clock(struct mr_engine *e)
{
	mr_event ev = {.type = MR_EV_DONE, .as.done.token = e->clock_token};
	if (!e->clock_token) return;
	e->clock_token = 0;
	mr_event_queue_push(&e->services.dispatch, &ev);
}

static void set_log(struct mr_services *s, const struct mr_command *c)
{
	struct mr_bridge *b = s->bridge;
	s->log.level = c->log.level; /* -1 is below every line: no log */
	s->log.format = c->log.format;
	s->log.worker = c->log.worker;
	s->log.sink = c->log.as_events ? mr_log_queue_io_sink : mr_logger_io_sink;
	s->log.owner = c->log.as_events ? (void *)&b->log_queue : (void *)b->logger;
}

void mr_turn_obey(struct mr_engine *e, const struct mr_command *c)
{
	switch (c->type) {
	case MR_CMD_LINK_NEW: new_link(e, c); break;
	case MR_CMD_RELEASE: mr_delivery_give(e->services.pool, c->released); break;
	case MR_CMD_WATCH_FD:
		mr_watch_add(&e->watches, c->token, c->watch.serial, c->watch.fd, c->watch.events);
		break;
	case MR_CMD_UNWATCH_FD: mr_watch_remove(&e->watches, c->unwatched); break;
	case MR_CMD_WAKE_AT: mr_timer_arm(&e->watches.alarm, c->wake_at); break;
	case MR_CMD_NUDGE_AT: mr_timer_arm(&e->watches.nudge, c->wake_at); break;
	case MR_CMD_WAKE_SOCKET: mr_wake_peer_listen(&e->wake_peer, c->wake_socket); break;
	case MR_CMD_CLOCK: clock_moved(e, c->token); break;
	case MR_CMD_PUMPED: e->services.pumps++; break;
	case MR_CMD_LOG: set_log(&e->services, c); break;
	case MR_CMD_WATCHDOG:
		mr_stall_watch(&e->stall, c->watchdog.stall, c->watchdog.signal,
			c->watchdog.thread);
		break;
	case MR_CMD_NOTE: mr_stall_note(&e->stall, c->note.consumer, c->note.about); break;
	case MR_CMD_FAREWELL: mr_farewell_begin(&e->farewell, c->token, c->deadline); break;
	case MR_CMD_HEALTH:
		if (!mr_pages_obey(&e->pages, c)) mr_health_obey(&e->checkup, c);
		break;
	case MR_CMD_STOP:
		e->is_joined = true;
		mr_turn_begin_stop(e, c->deadline);
		break;
	default:
		link_command(e, c);
		/* A settled delivery's memory comes back with its settlement. */
		if (c->type == MR_CMD_SETTLE && c->settle.released)
			mr_delivery_give(e->services.pool, c->settle.released);
	}
}

/* Returns true if there may be more commands. */
bool mr_turn_commands(struct mr_engine *e)
{
	struct mr_command *c;
	size_t size;
	for (int i = 0; i < COMMANDS_PER_TURN; i++) {
		if (e->clock_token) return true; /* each has its own deadlines, and its answer */
		c = mr_ring_peek(&e->services.bridge->commands, &size);
		if (!c) {
			if (!mr_ring_take_starved(&e->services.bridge->commands)) return false;
			mr_event ev = {.type = MR_EV_ROOM};
			mr_event_queue_push(&e->services.dispatch, &ev);
			return false;
		}
		if (i % COMMANDS_PER_TICK == 0) mr_services_tick(&e->services);
		mr_turn_obey(e, c);
		mr_ring_consume(&e->services.bridge->commands);
	}
	return true;
}

/* ---- turns ---- */

static uint64_t log_dropped(const struct mr_bridge *b)
{
	return mr_logger_dropped(b->logger) + mr_log_queue_dropped(&b->log_queue);
}

void mr_turn_flush(struct mr_engine *e)
{
	struct mr_node *node;
	while ((node = mr_list_shift(&e->services.dirty)))
		mr_link_flush(mr_container(node, struct mr_link, io.dirty));
}

static void check_stopped(struct mr_engine *e)
{
	struct mr_link *link;
	size_t at = 0;
	if (!e->services.stopping || e->services.stopped) return;
	while ((link = mr_map_next(&e->services.links, &at, NULL)))
		if (link->state != MR_LINK_IDLE) return;
	e->services.stopped = true;
}

static void arm_trim(struct mr_engine *e)
{
	bool is_due = mr_delivery_pool_is_large(e->services.pool) ||
	              mr_spares_is_large(&e->services.bridge->spares);
	if (is_due && !ev_is_active(&e->trim_timer.ev))
		mr_timer_arm(&e->trim_timer, mr_clock_now() + TRIM_TIME);
}

/* Whoever asks has the state at the end of a turn. */
static void show(struct mr_engine *e)
{
	e->services.stats.log_dropped = log_dropped(e->services.bridge);
	mr_stats stats = e->services.stats;
	stats.in_flight = mr_delivery_pool_out(e->services.pool, NULL);
	mr_board_write(&e->services.bridge->board, &stats);
	arm_trim(e);
}

bool mr_turn_first_half(struct mr_engine *e)
{
	bool busy = mr_turn_commands(e);
	judge_waiting(e);
	read_eager(e);
	mr_farewell_go_on(&e->farewell);
	mr_turn_flush(e);
	mr_event_queue_flush(&e->services.dispatch);
	if (mr_farewell_end(&e->farewell)) mr_event_queue_flush(&e->services.dispatch);
	busy |= !mr_list_is_empty(&e->services.dirty) || !mr_list_is_empty(&e->services.eager);
	check_stopped(e);
	return busy || e->clock_token;
}

void mr_turn_second_half(struct mr_engine *e)
{
	judge_waiting(e);
	mr_turn_flush(e);
	mr_event_queue_flush(&e->services.dispatch);
	show(e);
}

bool mr_turn(struct mr_engine *e)
{
	bool busy = mr_turn_first_half(e);
	show(e);
	return busy;
}
