/* health: what is to be checked, what the host has told, and who wants to know.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one. Never sees the script: results of its checks come as commands. */
#ifndef MR_HEALTH_HEALTH_H
#define MR_HEALTH_HEALTH_H

#include "bridge/command.h"
#include "bridge/meter.h"
#include "health/verdict.h"
#include "io/timer.h"

struct mr_engine;
struct mr_httpd;
struct mr_record;

struct mr_failed_consumer { /* one that will not be back by itself */
	struct mr_node node;
	uint32_t connection;
	char queue[256], why[256];
};

struct mr_health_state {
	struct mr_engine *engine;
	mr_health_options options;
	struct mr_node checks; /* mr_host_check */
	size_t check_count;
	struct mr_node failed; /* mr_failed_consumer */
	const struct mr_meter *meters[MR_METERS_MAX + 2];
	size_t meter_count;
	struct mr_histogram confirms;
	uint64_t connects, losses, retries; /* ever */
	double started;                     /* mr_now */
	bool stopping, watching, was_healthy;
	struct mr_timer round; /* looks for a change while somebody watches */
	struct mr_vitals *vitals;
	struct mr_httpd *http;
};

enum mr_status mr_health_init(struct mr_health_state *c, struct mr_engine *engine);
void mr_health_close(struct mr_health_state *c); /* the port; before the thread ends */
void mr_health_fini(struct mr_health_state *c);  /* takes a zeroed one */
void mr_health_obey(struct mr_health_state *c, const struct mr_command *command);
/* An event on its way to the host that may change how things stand. */
void mr_health_saw(struct mr_health_state *c, const mr_event *event);
/* A consumer that ended for want of its queue or the like, not by the program's wish. */
void mr_health_failed(struct mr_health_state *c, uint32_t connection, const char *queue,
	const char *why);
/* The same of a record; what is the library's own is passed over. */
void mr_health_consumer(struct mr_health_state *c, uint32_t connection,
	const struct mr_record *record, const char *why);
void mr_health_forget(struct mr_failed_consumer *f);

#endif
