/* client_util: what the C clients of the bench share: arguments, clock, CPU time, the JSON line.
 * Every client of the bench, in any language, is called as `client MODE PORT BODY MESSAGES`. */
// SPDX-License-Identifier: MIT
#ifndef BENCH_CLIENT_UTIL_H
#define BENCH_CLIENT_UTIL_H
#include <stddef.h>
#include <stdint.h>

enum { BENCH_PREFETCH = 1000, BENCH_OUTSTANDING = 1000 };

struct bench_args {
	const char *mode;
	uint16_t port;
	size_t body;
	uint64_t messages;
};

struct bench_span {       /* the measured part of a run */
	double wall, cpu; /* seconds; times between start and stop, lengths after it */
};

struct bench_args bench_parse(int argc,
	char **argv);   /* exits with a usage line if they are wrong */
double bench_now(void); /* seconds */
void bench_start(struct bench_span *span);
void bench_stop(struct bench_span *span);

/* Prints the result of `counted` messages moved within the span. */
void bench_print(const char *client, const struct bench_args *args, uint64_t counted,
	const struct bench_span *span);
/* The same for round trips, or for confirmed publishes; sorts `trips` (seconds), and prints each. */
void bench_print_trips(const char *client, const struct bench_args *args, double *trips,
	const struct bench_span *span);

_Noreturn void bench_fail(const char *client, const char *what);
#endif
