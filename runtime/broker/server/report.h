/* report: a snapshot of the broker as a table.
 * SPDX-License-Identifier: MIT
 * Broker thread. */
#ifndef MR_BROKER_SERVER_REPORT_H
#define MR_BROKER_SERVER_REPORT_H

#include "broker/client/broker.h"

/* *gives* { memory, connections = [{user, vhost, state, channels, client_properties, timeout}],
 * queues = [{name, vhost, messages_ready, messages_unacknowledged, consumers, durable, ...}],
 * exchanges = [{name, vhost, type, bindings}] }; NULL when out of memory. */
mr_table *mr_broker_report(const struct mr_broker *b);

#endif
