/* embedded: the embedded broker's handle, for hosts.
 * SPDX-License-Identifier: MIT
 * Host thread. */
#include "broker/server/server.h"

#include "api/handle.h"
#include "bridge/notices.h"

#define PATIENCE_MAX 10000 /* of waits of a millisecond: ten seconds */

int mr_server_open(mr_server **out, const char *name, mr_error *error)
{
	if (!name || !*name)
		return mr_error_set(error, MR_BAD_ARGUMENT, MR_SCOPE_CONFIG, 0,
			"a handle's broker needs a name");
	return mr_registry_acquire(out, name, error);
}

void mr_server_close(mr_server *server) { mr_registry_release(server); }

int mr_server_listen(mr_server *server, const char *address, uint16_t port, const char *certfile,
	const char *keyfile, uint16_t *actual, mr_error *error)
{
	struct mr_server_call call = {.what = MR_SERVER_LISTEN,
		.listen = {.address = address,
			.certfile = certfile,
			.keyfile = keyfile,
			.port = port}};
	enum mr_status st = mr_server_do(server, &call);
	if (st == MR_OK && actual) *actual = call.listen.actual;
	if (st != MR_OK && error) *error = call.error;
	return st;
}

int mr_server_add_user(mr_server *server, const char *name, const char *password)
{
	struct mr_server_call call = {.what = MR_SERVER_ADD_USER,
		.user = {.name = mr_slice_str(name), .password = mr_slice_str(password)}};
	return mr_server_do(server, &call);
}

int mr_server_add_vhost(mr_server *server, const char *name)
{
	struct mr_server_call call = {.what = MR_SERVER_ADD_VHOST, .vhost = mr_slice_str(name)};
	return mr_server_do(server, &call);
}

mr_table *mr_server_report(mr_server *server)
{
	struct mr_server_call call = {.what = MR_SERVER_REPORT};
	return mr_server_do(server, &call) == MR_OK ? call.report : NULL;
}

void mr_server_log(mr_server *server, mr_runtime *rt)
{
	struct mr_notices *notices = mr_server_notices(server);
	if (notices) mr_notices_log(notices, &rt->log);
}

int mr_server_fault(mr_server *server, int fault, int64_t number, const char *text)
{
	struct mr_server_call call = {.what = MR_SERVER_FAULT,
		.fault = {.kind = fault, .number = number, .text = mr_slice_str(text ? text : "")}};
	if (fault < 0 || fault > MR_FAULT_UNLISTEN) return MR_BAD_ARGUMENT;
	return mr_server_do(server, &call);
}

int mr_clock_advance(mr_runtime *rt, uint64_t token, double seconds)
{
	struct mr_command moved = {.type = MR_CMD_CLOCK, .token = token};
	if (mr_handle_is_forked(rt)) return MR_FORKED;
	mr_clock_move(mr_clock_msec_of(seconds));
	rt->clock_traffic = mr_registry_clock();
	return mr_command_send(rt, &moved);
}

uint64_t mr_clock_traffic(const mr_runtime *rt) { return rt->clock_traffic; }

int mr_lead_patience(mr_runtime *rt, unsigned factor)
{
	if (factor < 1 || factor > PATIENCE_MAX) return MR_BAD_ARGUMENT;
	mr_helm_set_patience(&rt->bridge.helm, factor);
	return MR_OK;
}
