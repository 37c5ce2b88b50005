/* recording: the page /recorder: the last events of the flight recorder.
 * SPDX-License-Identifier: MIT
 * I/O thread. */
#ifndef MR_HEALTH_RECORDING_H
#define MR_HEALTH_RECORDING_H

#include "base/buffer.h"
#include "base/value.h"

struct mr_services;

/* Writes the page for a query of `last` and `filter`, and its status code to *code. */
enum mr_status mr_recording_page(struct mr_services *services, const mr_table *query,
	struct mr_buffer *out, int *code);

#endif
