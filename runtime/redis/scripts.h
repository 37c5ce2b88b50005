/* scripts: the Lua scripts that run in the Redis server, each as one step there.
 * SPDX-License-Identifier: MIT */
#ifndef MR_REDIS_SCRIPTS_H
#define MR_REDIS_SCRIPTS_H

/* Keys and arguments of each are said at its text. */
enum mr_redis_script {
	MR_SCRIPT_TAKE,
	MR_SCRIPT_BACK,
	MR_SCRIPT_ROUTE,
	MR_SCRIPT_COUNT,
	MR_SCRIPT_PURGE,
	MR_SCRIPT_RENEW,
	MR_SCRIPT_RESTORE,
	MR_SCRIPT_RECLAIM,
	MR_SCRIPT_DELAY,
	MR_SCRIPT_MOVE,
	MR_SCRIPT_MAX
};

const char *mr_scripts_text(enum mr_redis_script script);

#endif
