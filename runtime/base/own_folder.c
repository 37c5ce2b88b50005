/* own_folder: a folder for the sockets of this process alone.
 * SPDX-License-Identifier: MIT */
#include "base/own_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"

#define PREFIX "moonrabbit-own."
#define ATTEMPTS 5

/* Of a name in `at`; -1: it is no folder. */
static int open_folder(int at, const char *name)
{
	return mr_descriptor_claim(
		openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

/* Calls fn(folder, name) for each name in the folder. */
static void each_name(int folder, void (*fn)(int folder, const char *name))
{
	int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	if (!dir) {
		if (copy >= 0) close(copy);
		return;
	}
	while ((entry = readdir(dir))) fn(folder, entry->d_name);
	closedir(dir);
}

static void remove_socket(int folder, const char *name)
{
	struct stat st;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
		unlinkat(folder, name, 0);
}

static bool is_private(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* Removes the folder if its process has died. */
static void remove_stale(int parent, const char *name)
{
	if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return;
	int fd = open_folder(parent, name);
	if (fd < 0) return;
	if (is_private(fd) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
		each_name(fd, remove_socket);
		unlinkat(parent, name, AT_REMOVEDIR);
	}
	mr_descriptor_close(fd);
}

static void sweep(const char *parent)
{
	int fd = mr_descriptor_claim(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0) return;
	each_name(fd, remove_stale);
	mr_descriptor_close(fd);
}

/* False: another process that sweeps has found the folder before it was locked. Where no locks are to
 * be had, nobody sweeps. */
static bool lock(struct mr_own_folder *f)
{
	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
	return access(f->path, F_OK) == 0;
}

bool mr_own_folder_make(struct mr_own_folder *f, const char *parent)
{
	*f = (struct mr_own_folder){.fd = -1};
	if (strlen(parent) + sizeof "/" PREFIX "XXXXXX" + MR_OWN_FOLDER_ROOM > sizeof f->path) {
		errno = ENAMETOOLONG;
		return false;
	}
	sweep(parent);
	for (int i = 0; i < ATTEMPTS; i++) {
		snprintf(f->path, sizeof f->path, "%s/" PREFIX "XXXXXX", parent);
		if (!mkdtemp(f->path)) break;
		f->fd = open_folder(AT_FDCWD, f->path);
		if (f->fd >= 0 && lock(f)) return true;
		int why = errno;
		mr_own_folder_remove(f);
		errno = why;
		if (why != EWOULDBLOCK && why != ENOENT) return false;
	}
	f->path[0] = '\0';
	return false;
}

void mr_own_folder_remove(struct mr_own_folder *f)
{
	if (f->fd >= 0) each_name(f->fd, remove_socket);
	if (f->path[0]) rmdir(f->path);
	mr_descriptor_close(f->fd);
	*f = (struct mr_own_folder){.fd = -1};
}
