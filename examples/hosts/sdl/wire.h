/* wire: the garden's messages through the broker, within a budget of each frame.
 * SPDX-License-Identifier: MIT */
#ifndef WIRE_H
#define WIRE_H

#include <moonrabbit.h>
#include "garden.h"

enum wire_state {
	WIRE_CONNECTING,
	WIRE_ONLINE,
	WIRE_OFFLINE, /* memory://: the broker is in this process */
	WIRE_RETRYING,
	WIRE_LOST,
	WIRE_BLOCKED,
	WIRE_FAILED,
	WIRE_CLOSING,
	WIRE_CLOSED
};

struct wire {
	mr_runtime *rt;
	mr_connection *conn;
	mr_channel *ch;
	struct garden *garden;
	enum wire_state state;
	bool is_offline, is_set_up;
	uint64_t step;    /* of the setup: the token of the request that is under way or failed */
	unsigned attempt; /* to connect */
	double next_try;  /* mr_now's clock; 0: none is due */
	double last_hop;  /* when this window's rabbit was told of */
	long received, sent;
	char queue[256], why[64], properties[64];
	int properties_size;
};

/* Connects in the background. An enum mr_status; `error` has the reason. */
int wire_start(struct wire *w, const char *url, struct garden *g, mr_error *error);
/* Handles messages for at most `budget` seconds, and tells the others of this window's rabbit. */
void wire_frame(struct wire *w, double budget);
/* Tells all windows. A message that cannot be sent now is old in the next frame: no second try. */
void wire_tell(struct wire *w, const char *kind, const char *text, size_t size);
/* Begins to take leave and to close; poll on until the state is WIRE_CLOSED. */
void wire_close(struct wire *w, double timeout);
void wire_free(struct wire *w);

#endif
