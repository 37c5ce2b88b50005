/* test_own_folder: a folder lives as long as its process, and those of killed ones are removed.
 * SPDX-License-Identifier: MIT */
#include "base/own_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char parent[64];

static int begin(void **state)
{
	(void)state;
	strcpy(parent, "/tmp/test_own_folder.XXXXXX");
	return mkdtemp(parent) ? 0 : -1;
}

/* Nothing may be left. */
static int end(void **state)
{
	(void)state;
	return rmdir(parent);
}

static void name_in(char out[128], const char *folder, const char *name)
{
	snprintf(out, 128, "%.100s/%.20s", folder, name);
}

static void make_socket(const char *folder, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	name_in(path, folder, name);
	strcpy(a.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	close(fd);
}

/* A folder with two sockets whose process was killed. */
static void make_in_killed_process(char path[128])
{
	int fds[2], status;
	struct mr_own_folder f;
	assert_int_equal(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0) {
		if (!mr_own_folder_make(&f, parent)) _exit(1);
		make_socket(f.path, "wake");
		make_socket(f.path, "health");
		if (write(fds[1], f.path, sizeof f.path) != sizeof f.path) _exit(2);
		for (;;) pause();
	}
	assert_int_equal(read(fds[0], path, sizeof f.path), sizeof f.path);
	close(fds[0]);
	close(fds[1]);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
}

static void test_it_is_private_and_goes_with_its_sockets(void **state)
{
	struct mr_own_folder f;
	struct stat st;
	char path[128];
	(void)state;
	assert_true(mr_own_folder_make(&f, parent));
	strcpy(path, f.path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	make_socket(path, "one");
	make_socket(path, "two");
	mr_own_folder_remove(&f);
	assert_int_equal(stat(path, &st), -1);
	mr_own_folder_remove(&f); /* again: nothing */
}

static void test_that_of_a_killed_process_is_removed_by_the_next(void **state)
{
	struct mr_own_folder f;
	char dead[128];
	(void)state;
	make_in_killed_process(dead);
	assert_int_equal(access(dead, F_OK), 0);
	assert_true(mr_own_folder_make(&f, parent));
	assert_int_equal(access(dead, F_OK), -1);
	mr_own_folder_remove(&f);
}

static void test_that_of_a_live_process_stays(void **state)
{
	struct mr_own_folder one, two;
	int status;
	(void)state;
	assert_true(mr_own_folder_make(&one, parent));
	make_socket(one.path, "wake");
	assert_true(mr_own_folder_make(&two, parent));
	assert_int_equal(access(one.path, F_OK), 0);
	pid_t child = fork();
	if (child == 0) { /* its copy of the lock is closed, and its exit takes nothing along */
		struct mr_own_folder third;
		bool is_made = mr_own_folder_make(&third, parent);
		mr_own_folder_remove(&third);
		_exit(!is_made || access(one.path, F_OK) != 0 || access(two.path, F_OK) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	mr_own_folder_remove(&two);
	mr_own_folder_remove(&one);
}

/* Whoever may write to /tmp can put something there under our name. */
static void test_what_is_not_ours_is_left_alone(void **state)
{
	struct mr_own_folder f;
	char target[128], link[128], open_one[128], file[128], full[128];
	(void)state;
	name_in(target, parent, "target");
	name_in(link, parent, "moonrabbit-own.link");
	name_in(open_one, parent, "moonrabbit-own.open");
	name_in(full, parent, "moonrabbit-own.full");
	assert_int_equal(mkdir(target, 0700), 0);
	make_socket(target, "kept");
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(mkdir(open_one, 0755), 0);
	assert_int_equal(mkdir(full, 0700), 0);
	name_in(file, full, "file");
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_true(mr_own_folder_make(&f, parent));
	mr_own_folder_remove(&f);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(full), 0);
	assert_int_equal(rmdir(open_one), 0);
	assert_int_equal(unlink(link), 0);
	name_in(file, target, "kept");
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(target), 0);
}

static void test_a_parent_that_does_not_do_is_refused(void **state)
{
	struct mr_own_folder f;
	char deep[128];
	(void)state;
	assert_false(mr_own_folder_make(&f, "/nonexistent"));
	assert_int_equal(errno, ENOENT);
	assert_string_equal(f.path, "");
	memset(deep, 'x', sizeof deep);
	deep[0] = '/';
	deep[100] = '\0';
	assert_false(mr_own_folder_make(&f, deep));
	assert_int_equal(errno, ENAMETOOLONG);
	mr_own_folder_remove(&f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_it_is_private_and_goes_with_its_sockets),
		TEST(test_that_of_a_killed_process_is_removed_by_the_next),
		TEST(test_that_of_a_live_process_stays),
		TEST(test_what_is_not_ours_is_left_alone),
		TEST(test_a_parent_that_does_not_do_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
