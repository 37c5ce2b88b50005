/* test_listen: sockets to be connected to.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/listen.h"

static mode_t mode_when_it_listened;

/* In libc's place: whoever connects from here on must already be stopped by the file's mode. */
int listen(int fd, int backlog)
{
	struct sockaddr_un address = {0};
	socklen_t size = sizeof address;
	struct stat file;
	if (getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
		address.sun_family == AF_UNIX && stat(address.sun_path, &file) == 0)
		mode_when_it_listened = file.st_mode & 0777;
	return (int)syscall(SYS_listen, fd, backlog);
}

/* FIELD-R22: whatever the process's umask is, which is not ours to change. */
static void test_a_path_is_this_users_alone_before_it_listens(void **state)
{
	char folder[] = "/tmp/test_listen-XXXXXX", path[64];
	static const mode_t masks[] = {0, 022, 077};
	uint16_t port = 1;
	mr_error error = {0};
	int fd = -1;
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/socket", folder);
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		struct stat file;
		mode_when_it_listened = 0;
		mode_t before = umask(masks[i]);
		enum mr_status st = mr_listen_open(&fd, path, 0, &port, &error);
		assert_int_equal(umask(before), masks[i]);
		assert_int_equal(st, MR_OK);
		assert_int_equal(mode_when_it_listened, 0600);
		assert_int_equal(stat(path, &file), 0);
		assert_int_equal(file.st_mode & 0777, 0600);
		close(fd);
		unlink(path);
	}
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_path_is_this_users_alone_before_it_listens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
