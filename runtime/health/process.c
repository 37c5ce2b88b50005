/* process: writes what Linux says of this process, by the names that Prometheus' clients use.
 * SPDX-License-Identifier: MIT */
#include "health/process.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "health/catalogue.h"

/* Returns the number of bytes; 0: it cannot be read. */
static size_t read_file(const char *path, char *out, size_t size)
{
	int fd = mr_descriptor_claim(open(path, O_RDONLY | O_CLOEXEC));
	if (fd < 0) return 0;
	size_t at = 0;
	ssize_t n;
	while (at < size - 1 && (n = read(fd, out + at, size - 1 - at)) > 0) at += (size_t)n;
	mr_descriptor_close(fd);
	out[at] = '\0';
	return at;
}

/* The n-th field after the program's name, which may have spaces: 3 is the state. 0: none. */
static uint64_t field_of(const char *stat, int n)
{
	const char *at = strrchr(stat, ')');
	for (int i = 2; at && i < n; i++) at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* Seconds since 1970 at which the machine was started; 0: unknown. */
static double boot_time(void)
{
	struct timespec real, boot;
	if (clock_gettime(CLOCK_REALTIME, &real) || clock_gettime(CLOCK_BOOTTIME, &boot)) return 0;
	return (double)(real.tv_sec - boot.tv_sec) + (double)(real.tv_nsec - boot.tv_nsec) / 1e9;
}

static void write_stat(struct mr_page *p)
{
	char stat[1024];
	double ticks = (double)sysconf(_SC_CLK_TCK), booted = boot_time();
	struct timespec cpu;
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
		mr_page_real(p, MR_METRIC_process_cpu_seconds_total,
			(double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	if (!read_file("/proc/self/stat", stat, sizeof stat)) return;
	mr_page_count(p, MR_METRIC_process_resident_memory_bytes,
		field_of(stat, 24) * (uint64_t)sysconf(_SC_PAGESIZE));
	mr_page_count(p, MR_METRIC_process_virtual_memory_bytes, field_of(stat, 23));
	if (ticks > 0 && booted > 0)
		mr_page_real(p, MR_METRIC_process_start_time_seconds,
			booted + (double)field_of(stat, 22) / ticks);
}

static void write_descriptors(struct mr_page *p)
{
	struct rlimit limit;
	struct dirent *entry;
	uint64_t count = 0;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		mr_page_count(p, MR_METRIC_process_max_fds, (uint64_t)limit.rlim_cur);
	int fd = mr_descriptor_claim(open("/proc/self/fd", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		mr_descriptor_close(fd);
		return;
	}
	while ((entry = readdir(dir))) count += isdigit((unsigned char)entry->d_name[0]) != 0;
	mr_descriptor_disown(fd);
	closedir(dir);
	mr_page_count(p, MR_METRIC_process_open_fds, count - 1); /* without this one */
}

void mr_process_write(struct mr_page *p)
{
	write_stat(p);
	write_descriptors(p);
}
