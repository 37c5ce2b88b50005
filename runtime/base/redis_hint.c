/* redis_hint: what to do about the errors of a Redis.
 * SPDX-License-Identifier: MIT */
#include "base/redis_hint.h"

#include <stddef.h>
#include <string.h>

static const char *const hints[][2] = {
	/* the beginning of the text behind "Redis: ", the hint */
	{"OOM ",
		"Redis has reached its maxmemory: raise it, or consume what is there; its maxmemory-policy must be "
		"noeviction, or messages vanish"},
	{"READONLY ",
		"this is a replica: give the address of the master; after a failover it is found by itself, as "
		"soon as the name leads to it"},
	{"LOADING ", "Redis reads its data after a start; the connection is tried again by itself"},
	{"MASTERDOWN ",
		"this is a replica that has lost its master: give the address of the master"},
	{"NOAUTH ",
		"Redis wants a password: redis://:password@host, or redis://user:password@host"},
	{"WRONGPASS ",
		"are the user and the password of the URL right? (ACL LIST shows the users; special characters are "
		"written %40 and the like)"},
	{"NOPERM ",
		"the user's ACL lacks this command, key or channel (ACL LIST and ACL LOG show it)"},
	{"NOSCRIPT ",
		"Redis was restarted or its scripts were flushed: the script is sent again by itself"},
	{"WRONGTYPE ",
		"another program uses the same key for something else: take another database or a "
		"global_keyprefix"},
	{"BUSY ", "a script runs for too long: SCRIPT KILL ends it"},
	{"MISCONF ", "Redis cannot write to its disk: is it full? (its log says more)"},
	{"NOREPLICAS ", "fewer replicas are there than min-replicas-to-write wants"},
	{"EXECABORT ", "a command of the transaction was refused before; that error says more"},
	{"ERR max number of clients", "raise maxclients of Redis, or make fewer connections"},
	{"ERR DB index",
		"the number behind the host must be below the databases of redis.conf (16, unless it says more)"},
	{"ERR invalid DB index",
		"the number behind the host must be below the databases of redis.conf (16, unless it says more)"},
	{"ERR AUTH <password> called without",
		"this Redis has no password: leave it out of the URL"},
};

const char *mr_redis_hint(const char *text)
{
	static const char head[] = "Redis: ";
	if (strncmp(text, "Redis Cluster is not", 20) == 0)
		return "use a Redis that is not part of a Cluster: one master, with replicas if you like";
	if (strncmp(text, head, sizeof head - 1) != 0) return NULL;
	text += sizeof head - 1;
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
		if (strncmp(text, hints[i][0], strlen(hints[i][0])) == 0) return hints[i][1];
	return NULL;
}
