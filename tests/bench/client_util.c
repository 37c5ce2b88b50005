/* client_util: see client_util.h. */
// SPDX-License-Identifier: MIT
#include "client_util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct bench_args bench_parse(int argc, char **argv)
{
	struct bench_args args = {0};
	const unsigned long port = argc == 5 ? strtoul(argv[2], NULL, 10) : 0;
	if (argc == 5) {
		args.mode = argv[1];
		args.port = (uint16_t)port;
		args.body = strtoul(argv[3], NULL, 10);
		args.messages = strtoull(argv[4], NULL, 10);
	}
	if (port == 0 || port > 65535 || args.messages < 2) {
		fprintf(stderr, "usage: %s MODE PORT BODY MESSAGES\n", argv[0]);
		exit(2);
	}
	return args;
}

double bench_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static double cpu_now(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return seconds(used.ru_utime) + seconds(used.ru_stime);
}

void bench_start(struct bench_span *span)
{
	span->cpu = cpu_now();
	span->wall = bench_now();
}

void bench_stop(struct bench_span *span)
{
	span->wall = bench_now() - span->wall;
	span->cpu = cpu_now() - span->cpu;
}

static void print_start(const char *client, const struct bench_args *args, uint64_t counted,
	const struct bench_span *span)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	printf("{\"client\":\"%s\",\"mode\":\"%s\",\"body\":%zu,\"messages\":%" PRIu64
	       ",\"seconds\":%.6f,\"rate\":%.1f,\"cpu_us_per_msg\":%.4f,\"max_rss_kib\":%ld",
		client, args->mode, args->body, counted, span->wall, (double)counted / span->wall,
		span->cpu * 1e6 / (double)counted, used.ru_maxrss);
}

void bench_print(const char *client, const struct bench_args *args, uint64_t counted,
	const struct bench_span *span)
{
	print_start(client, args, counted, span);
	printf("}\n");
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

void bench_print_trips(const char *client, const struct bench_args *args, double *trips,
	const struct bench_span *span)
{
	const size_t n = (size_t)args->messages;
	qsort(trips, n, sizeof *trips, compare);
	print_start(client, args, args->messages, span);
	printf(",\"median_us\":%.1f,\"p99_us\":%.1f,\"trips_us\":[", trips[n / 2] * 1e6,
		trips[n * 99 / 100] * 1e6);
	for (size_t i = 0; i < n; i++) printf("%s%.1f", i ? "," : "", trips[i] * 1e6);
	printf("]}\n");
}

_Noreturn void bench_fail(const char *client, const char *what)
{
	fprintf(stderr, "%s: %s\n", client, what);
	exit(1);
}
