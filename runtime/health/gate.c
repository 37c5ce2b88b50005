/* gate: decides who may see which pages of the public HTTP server, and who may change anything.
 * SPDX-License-Identifier: MIT */
#include "health/gate.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

#define BIT(audience) (1u << (audience))

void mr_gate_fini(struct mr_gate *g)
{
	mr_free(g->token);
	mr_free(g->next_token);
	*g = (struct mr_gate){0};
}

void mr_gate_set(struct mr_gate *g, int where, char *token)
{
	mr_free(g->next_token);
	g->next_token = token;
	g->next_where = where;
	g->has_next = true;
}

const char *mr_gate_next_token(const struct mr_gate *g)
{
	return g->has_next ? g->next_token : g->token;
}

void mr_gate_apply(struct mr_gate *g)
{
	if (!g->has_next) return;
	mr_free(g->token);
	g->token = g->next_token;
	g->where = g->next_where;
	g->next_token = NULL;
	g->has_next = false;
}

static bool is_loopback(const char *address)
{
	struct in6_addr six;
	struct in_addr four;
	if (strcasecmp(address, "localhost") == 0) return true;
	if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

void mr_gate_open(struct mr_gate *g, const char *address)
{
	mr_gate_apply(g);
	g->is_path = address[0] == '/';
	g->is_loopback = is_loopback(address);
}

bool mr_gate_is_open(const struct mr_gate *g)
{
	return g->where == MR_SHOW_EVERYWHERE ||
	       (g->where == MR_SHOW_LOCAL && (g->is_path || g->is_loopback));
}

/* True for an address literal and for localhost. A site elsewhere may give its own name our address:
 * then its scripts could read our pages, but the browser sends the name. */
static bool is_local_name(mr_slice host)
{
	char name[64], *end;
	struct in6_addr any;
	if (!host.size) return true; /* HTTP/1.0: no browser */
	if (host.size >= sizeof name) return false;
	memcpy(name, host.data, host.size);
	name[host.size] = '\0';
	if (name[0] == '[' && (end = strchr(name, ']'))) {
		*end = '\0';
		return inet_pton(AF_INET6, name + 1, &any) == 1;
	}
	if ((end = strrchr(name, ':'))) *end = '\0';
	return strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &any) == 1;
}

/* Its time depends on the size of what the client sent, and not on how much of it is right. */
static bool is_token(const char *token, mr_slice sent)
{
	static const char scheme[] = "Bearer ";
	const size_t start = sizeof scheme - 1, size = strlen(token);
	unsigned differs = 0;
	if (sent.size < start || strncasecmp(sent.data, scheme, start) != 0) return false;
	for (size_t i = start; i < sent.size; i++)
		differs |= (unsigned char)sent.data[i] ^ (unsigned char)token[(i - start) % size];
	return (differs | (sent.size - start != size)) == 0;
}

/* A request that a proxy passes on is a stranger's, who is not at this machine. */
bool mr_gate_shows(const struct mr_gate *g, const struct mr_httpd_request *request)
{
	if (!mr_gate_is_open(g)) return false;
	if (request->is_forwarded && g->where != MR_SHOW_EVERYWHERE) return false;
	return g->is_path || !g->is_loopback || is_local_name(request->host);
}

unsigned mr_gate_audiences(const struct mr_gate *g, const struct mr_httpd_request *request)
{
	if (request->is_private) return BIT(MR_PAGE_ALL) | BIT(MR_PAGE_CONSOLE);
	bool sees = mr_gate_shows(g, request);
	if (!request->is_post) return BIT(MR_PAGE_ALL) | (sees ? BIT(MR_PAGE_VIEWERS) : 0);
	bool changes = sees && g->token && is_token(g->token, request->authorization);
	return changes ? BIT(MR_PAGE_ADMINS) : 0;
}
