/* visitor: a client of an HTTP server: its request and its answer.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_VISITOR_H
#define MR_HEALTH_VISITOR_H

#include <microhttpd.h>

#include "base/ev.h"
#include "base/list.h"
#include "health/request.h"

/* A connection and its request. `number` is not 0 while the request waits for its answer; `answer`
 * is then set until libmicrohttpd asks for it. A visitor that was shown out is in no list, and has
 * no number. */
struct visitor {
	struct mr_node node; /* sorted by their deadlines */
	struct mr_httpd *server;
	struct MHD_Connection *connection;
	int fd;
	double until;
	uint64_t number;
	struct MHD_Response *answer;
	unsigned code;
	struct mr_pipe *pipe;  /* of an answer that comes bit by bit; then: */
	uint64_t streams;      /* its request's number, until the client has left */
	struct mr_buffer body; /* of its POST request, as far as it has come */
	bool is_asking;        /* its request's head has come */
	uint32_t uid, pid;     /* of a private server's client */
	ev_io leaving;         /* a private server's client that waits: readable when it leaves */
};

struct mr_httpd {
	struct ev_loop *loop;
	const struct mr_httpd_rules *rules;
	struct mr_httpd_owner owner;
	struct MHD_Daemon *daemon;
	ev_io door, io;
	ev_timer tick; /* while there are visitors */
	int listener, wake_fd;
	struct mr_node visitors;
	size_t visitor_count;
	bool is_exhausted; /* a client waits, because there was no descriptor for it */
};

/* libmicrohttpd's callbacks. */
void mr_visitor_comes_or_goes(void *server, struct MHD_Connection *connection, void **slot,
	enum MHD_ConnectionNotificationCode code);
enum MHD_Result mr_visitor_asks(void *server, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **slot);
/* Makes libmicrohttpd see the end of the stream and close it. */
void mr_visitor_show_out(struct mr_httpd *h, struct visitor *v);
void mr_visitor_show_out_oldest(struct mr_httpd *h);
/* The visitor's deadline has come. */
void mr_visitor_end_wait(struct mr_httpd *h, struct visitor *v);
/* Answers its request, which waits. Copies the body. */
void mr_visitor_answer(struct mr_httpd *h, struct visitor *v, unsigned code, const char *type,
	mr_slice body);
/* Begins the answer of its request, which waits: the body comes through the pipe, which it takes. While
 * there is nothing in it, the visitor has its number, and waits. */
void mr_visitor_stream(struct mr_httpd *h, struct visitor *v, const char *type,
	struct mr_pipe *pipe);
void mr_visitor_flow(struct mr_httpd *h, struct visitor *v); /* there is something in it */
/* False: the client of a private server is somebody else. */
bool mr_visitor_is_welcome(const struct mr_httpd *h, int fd);

#endif
