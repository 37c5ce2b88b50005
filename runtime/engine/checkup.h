/* checkup: what is to be checked, what the host has told, and who wants to know.
 * SPDX-License-Identifier: MIT
 * I/O thread. The engine has one. Never sees the script: results of its checks come as commands. */
#ifndef MR_ENGINE_CHECKUP_H
#define MR_ENGINE_CHECKUP_H

#include "bridge/message.h"
#include "bridge/meter.h"
#include "engine/judge.h"
#include "engine/timer.h"

struct mr_engine;
struct mr_httpd;
struct mr_record;

struct mr_failed_consumer { /* one that will not be back by itself */
	struct mr_node node;
	uint32_t connection;
	char queue[256], why[256];
};

struct mr_checkup {
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

enum mr_status mr_checkup_init(struct mr_checkup *c, struct mr_engine *engine);
void mr_checkup_close(struct mr_checkup *c); /* the port; before the thread ends */
void mr_checkup_fini(struct mr_checkup *c);  /* takes a zeroed one */
void mr_checkup_obey(struct mr_checkup *c, const struct mr_command *command);
/* An event on its way to the host that may change how things stand. */
void mr_checkup_saw(struct mr_checkup *c, const mr_event *event);
/* A consumer that ended for want of its queue or the like, not by the program's wish. */
void mr_checkup_failed(struct mr_checkup *c, uint32_t connection, const char *queue,
	const char *why);
/* The same of a record; what is the library's own is passed over. */
void mr_checkup_consumer(struct mr_checkup *c, uint32_t connection, const struct mr_record *record,
	const char *why);
void mr_checkup_forget(struct mr_failed_consumer *f);

#endif
