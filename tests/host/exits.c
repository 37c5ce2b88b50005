/* exits: a C host that ends in the midst of things, without a word to the library.
 * SPDX-License-Identifier: MIT
 *
 *   exits [HOW [URL [CA-FILE [SECONDS]]]]
 *
 * Publishes and consumes on two connections for so long, or until it is told that it may not, then ends by HOW:
 * "return" from main, "exit", "thread" (exit() called by a thread of its own), "fork" (a child that calls exit(),
 * too), "atexit" (a handler of the program's own frees the runtime). Exit code 7. tests/fault/exit_spec.lua runs
 * it a hundred times. */
#include <moonrabbit.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CODE 7
#define CONNECTIONS 2

enum { CONNECT = 1, OPEN = 11, DECLARE = 21, CONSUME = 31 };

struct line {
	mr_connection *c;
	mr_channel *ch;
	char queue[256];
	bool is_ready;
};

static mr_runtime *rt;
static struct line lines[CONNECTIONS];

static void ask(struct line *l, uint64_t token, int operation)
{
	mr_request r = {.operation = operation, .flags = MR_EXCLUSIVE, .number = 1};
	r.name = (mr_bytes){l->queue, strlen(l->queue)};
	mr_channel_request(l->ch, token, &r);
}

static void answered(struct line *l, uint64_t token, uint64_t number, const mr_reply *reply)
{
	if (token == CONNECT) mr_channel_open(l->c, OPEN + number, &l->ch);
	if (token == OPEN) ask(l, DECLARE + number, MR_QUEUE_DECLARE);
	if (token == DECLARE && reply) {
		snprintf(l->queue, sizeof l->queue, "%s", reply->name);
		ask(l, CONSUME + number, MR_BASIC_CONSUME);
	}
	if (token == CONSUME) l->is_ready = true;
}

static void handle(mr_event *ev)
{
	if (ev->type == MR_EV_DELIVERY)
		mr_delivery_settle(rt, ev->as.delivery, MR_ACK, MR_SETTLE_RELEASE);
	else if (ev->type == MR_EV_DONE && ev->status == MR_OK)
		answered(&lines[(ev->as.done.token - 1) % 10],
			ev->as.done.token - (ev->as.done.token - 1) % 10,
			(ev->as.done.token - 1) % 10, ev->as.done.reply);
	mr_event_fini(ev);
}

static void publish(struct line *l)
{
	uint64_t number;
	mr_channel_publish(l->ch, "", 0, l->queue, strlen(l->queue), "x", 1, NULL, 0, 0, 0,
		&number);
}

static void run(double seconds)
{
	double until = mr_now() + seconds;
	do {
		mr_event ev;
		for (int i = 0; i < CONNECTIONS; i++)
			if (lines[i].is_ready) publish(&lines[i]);
		if (mr_runtime_poll(rt, &ev, 1, 0.001) == 1) handle(&ev);
	} while (mr_now() < until);
}

static void *end_process(void *code) { exit(*(int *)code); }

static void free_runtime(void) { mr_runtime_free(rt, 1); }

static int end(const char *how)
{
	static int code = CODE;
	int status = 0;
	pthread_t thread;
	if (strcmp(how, "exit") == 0) exit(CODE);
	if (strcmp(how, "thread") == 0 && pthread_create(&thread, NULL, end_process, &code) == 0)
		pthread_join(thread, NULL);
	if (strcmp(how, "fork") == 0) {
		pid_t child = fork();
		if (child == 0) exit(CODE);
		waitpid(child, &status, 0);
		run(0.01); /* the parent's connections have not gone with it */
		if (!WIFEXITED(status) || WEXITSTATUS(status) != CODE) abort();
	}
	return CODE;
}

static void set(mr_options *o, const char *name, const char *value)
{
	mr_error error;
	if (mr_options_string(o, name, value, strlen(value), &error) == MR_OK) return;
	fprintf(stderr, "%s\n", error.text);
	exit(1);
}

static int begin(const char *url, const char *ca)
{
	mr_error error;
	mr_options *o = mr_options_new();
	set(o, "url", url);
	if (ca && *ca) set(o, "ssl_options.ca_certs", ca);
	if (mr_runtime_new(&rt) != MR_OK) return 1;
	mr_runtime_log(rt, -1, MR_LOG_LOGFMT);
	for (uint64_t i = 0; i < CONNECTIONS; i++) {
		if (mr_connection_new(rt, o, &lines[i].c, &error) != MR_OK) return 1;
		mr_connection_open(lines[i].c, CONNECT + i);
	}
	mr_options_free(o);
	return 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "return";
	if (strcmp(how, "atexit") == 0) atexit(free_runtime);
	if (begin(argc > 2 ? argv[2] : "memory://", argc > 3 ? argv[3] : NULL) != 0) return 1;
	run(argc > 4 ? strtod(argv[4], NULL) : 0.2);
	int code = end(how);
	return argc > 1 ? code : 0;
}
