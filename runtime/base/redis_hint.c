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

/* The errors that redis/sentinel and redis/link make: how they begin, what they have, the hint. */
static const char *const of_sentinels[][3] = {
	{"bad URL: sentinel:// needs", "",
		"SENTINEL MASTERS lists the names that a Sentinel knows"},
	{"no Sentinel was reached", "certificate of the peer",
		"ssl_ca_certs names the file of the CA; each Sentinel's certificate must have the name or address of the URL"},
	{"no Sentinel was reached", "",
		"do they run, and is the port that of the Sentinels (26379 as a rule), not of a Redis?"},
	{"Sentinel at ", " knows no master ",
		"service_name is the name that `sentinel monitor` gives the master (SENTINEL MASTERS lists them)"},
	{"Sentinel at ", " Redis: NOAUTH",
		"this Sentinel wants a password: option sentinel_password, and sentinel_username if it has users"},
	{"Sentinel at ", " Redis: WRONGPASS",
		"are sentinel_username and sentinel_password right? What stands before the hosts is for the master"},
	{"Sentinel at ", " Redis: ERR unknown command",
		"this is a Redis and no Sentinel: those listen on port 26379 as a rule"},
	{"Redis at ", "certificate of the peer is for another host name",
		"Sentinels name the master by its IP address as a rule: its certificate must have that as a subjectAltName "
		"(IP:10.0.0.7), or the Sentinels `resolve-hostnames yes` and `announce-hostnames yes`"},
	{"Redis at ", " nothing listens on that ",
		"does it run, and is that its address? Each new connection tries again at once"},
	{"Redis has not answered within", "",
		"is it stopped or overloaded, or does a firewall drop packets? redis-cli --latency shows how it answers"},
	{"Redis at ", " is a replica, and not the master ",
		"a failover is under way, or this Sentinel has not heard of one; the next one is asked by itself"},
};

/* What the broker in this process says of it, behind the URL and the name of the reply code. */
static const char *without_code(const char *text)
{
	static const char *const codes[] = {"CONNECTION_FORCED - ", "ACCESS_REFUSED - "};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		const char *at = strstr(text, codes[i]);
		if (at) return at + strlen(codes[i]);
	}
	return text;
}

const char *mr_redis_hint(const char *text)
{
	static const char head[] = "Redis: ";
	text = without_code(text);
	if (strncmp(text, "kombu envelope: in the header ", 30) == 0)
		return "kombu's envelopes are JSON, which holds neither text that is not UTF-8 nor NaN: send "
		       "such a header as bytes (type x), and the rest in the body, which may be of any bytes";
	if (strncmp(text, "Redis Cluster is not", 20) == 0)
		return "use a Redis that is not part of a Cluster: one master, with replicas if you like";
	for (size_t i = 0; i < sizeof of_sentinels / sizeof *of_sentinels; i++)
		if (strncmp(text, of_sentinels[i][0], strlen(of_sentinels[i][0])) == 0 &&
			strstr(text, of_sentinels[i][1]))
			return of_sentinels[i][2];
	if (strncmp(text, head, sizeof head - 1) != 0) return NULL;
	text += sizeof head - 1;
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
		if (strncmp(text, hints[i][0], strlen(hints[i][0])) == 0) return hints[i][1];
	return NULL;
}
