/* catalogue: the runtime's own metrics: their names, types, labels, meaning, and what to do.
 * SPDX-License-Identifier: MIT
 * docs/metrics.md is made from this table. */
#ifndef MR_HEALTH_CATALOGUE_H
#define MR_HEALTH_CATALOGUE_H

/* X(name, type, labels, meaning, what to do): a name without "process_" begins with moonrabbit_ on
 * the page. */
/* clang-format off */
#define MR_METRICS(X) \
	X(healthy, gauge, "", "Whether every check holds, as /health says.", "Alert when 0 for minutes; /health names the reasons.") \
	X(ready, gauge, "", "Whether the program is at work, as /ready says.", "For load balancers; see moonrabbit_healthy for an alert.") \
	X(live, gauge, "", "Whether the program runs, as /live says.", "0: the script has been stuck for dead_after seconds; restart it.") \
	X(check_healthy, gauge, "check", "Whether a check holds; pending ones do.", "Says which check fails.") \
	X(script_busy_seconds, gauge, "", "For how long the script has been at one thing; 0 when it waits.", "Alert above the watchdog's limit: nothing else is handled meanwhile. The log has a traceback.") \
	X(lua_memory_bytes, gauge, "", "Memory of the Lua state, measured at most once a second while messages come.", "Growth over days is a leak of the script: a table that only grows.") \
	X(connections, gauge, "state", "Connections to brokers by state: open, connecting, retrying, closing, lost.", "Alert when retrying or lost for minutes: look at the broker and the network.") \
	X(connections_blocked, gauge, "", "Connections whose broker takes no publishes.", "Alert: the broker is low on memory or disk.") \
	X(connections_embedded, gauge, "", "Connections to the embedded broker, which forgets everything.", "Alert when not 0 in production: the URL is missing.") \
	X(connects_total, counter, "", "Connections opened.", "") \
	X(connection_losses_total, counter, "", "Connections lost.", "Many in an hour: look at the network, at heartbeats, at the broker's log.") \
	X(connection_retries_total, counter, "", "Tries planned after a failure.", "Rises while a broker is away.") \
	X(consumers, gauge, "queue,state", "Consumers by queue and state: consuming, away.", "Alert when away for minutes, or when none consumes.") \
	X(deliveries_total, counter, "", "Messages that came.", "The rate is the load; 0 for long: nothing is published, or the consumers are away.") \
	X(redeliveries_total, counter, "", "Messages that came with the flag redelivered: they had been delivered before, and were not settled.", "A rise without a lost connection: handlers that requeue, or processes that die.") \
	X(settlements_total, counter, "", "Messages acked, nacked or rejected.", "Should follow moonrabbit_deliveries_total.") \
	X(deliveries_in_flight, gauge, "", "Messages that the script has not released.", "Near the prefetch for long: the handlers are the limit.") \
	X(last_delivery_timestamp_seconds, gauge, "", "When the last message came; absent before the first.", "Alert when too old for this queue.") \
	X(publishes_total, counter, "", "Messages published.", "") \
	X(publishes_confirmed_total, counter, "", "Publishes that the broker confirmed.", "") \
	X(publishes_returned_total, counter, "", "Publishes that came back unroutable.", "Alert on a rise: no queue is bound for the routing key.") \
	X(publishes_lost_total, counter, "", "Publishes whose connection went before the confirm.", "Publishers with a buffer send them again; others have the error.") \
	X(outbound_bytes, gauge, "", "Bytes of publishes not yet written.", "High for long: the broker or the network is slower than the script.") \
	X(received_bytes_total, counter, "", "Bytes read from brokers.", "") \
	X(sent_bytes_total, counter, "", "Bytes written to brokers.", "") \
	X(frames_received_total, counter, "", "AMQP frames read.", "") \
	X(heartbeats_sent_total, counter, "", "Heartbeats sent.", "") \
	X(acks_sent_total, counter, "", "Ack frames sent; one may settle many messages.", "") \
	X(log_dropped_total, counter, "", "Log lines that standard error, or the host, did not take.", "Alert on a rise: what reads the log is too slow, or gone.") \
	X(protocol_violations_total, counter, "", "What brokers said against the protocol: ignored, or a channel closed for it.", "Report a rise: it is a defect of the broker, of a proxy, or ours.") \
	X(messages_too_large_total, counter, "", "Messages over max_message_size: rejected, kept unacked, or dropped where there are no acks.", "Raise max_message_size, or find who publishes them.") \
	X(start_time_seconds, gauge, "", "When the runtime began.", "") \
	X(info, gauge, "version", "The version that runs.", "") \
	X(handler_seconds, histogram, "queue", "How long handlers took, waits included.", "Alert on a high quantile for this queue.") \
	X(handler_oldest_seconds, gauge, "queue", "For how long the oldest running handler has run, to a second; 0: none runs.", "Alert above what a handler may take: it waits for something that does not come. The log names its place.") \
	X(handler_failures_total, counter, "queue", "Handlers that raised an error.", "Look at the log: each has a line.") \
	X(retries_total, counter, "queue", "Messages that were put aside to be tried again later.", "Alert on a lasting rise: something that the handlers need is away.") \
	X(dead_letters_total, counter, "queue", "Messages moved to the dead letters.", "Alert on any rise: each is a message that nobody has handled.") \
	X(handled_too_late_total, counter, "queue", "Messages handled when their channel had gone: they come again.", "Work was done twice. Raise consumer_timeout at the broker, or lower the prefetch.") \
	X(queue_messages, gauge, "queue", "Messages in the queue when it was last looked at; with the check lag only.", "Rises: more workers are needed.") \
	X(publish_confirm_seconds, histogram, "", "From a publish on its way to the broker's confirm.", "A high quantile: the broker's disk, or the replicas of its quorum queues, are slow.") \
	X(redis_up, gauge, "server", "Whether Redis is reached; this and all of redis_ only where a connection is to redis://, rediss://, redis+socket:// or sentinel://.", "Alert when 0 for minutes: the log and /health say why.") \
	X(redis_since_timestamp_seconds, gauge, "server", "Since when moonrabbit_redis_up is what it is.", "") \
	X(redis_losses_total, counter, "server", "How often Redis was lost.", "Many in an hour: look at the network, and at the log of Redis.") \
	X(redis_commands_total, counter, "server", "Commands sent to Redis.", "") \
	X(redis_sent_bytes_total, counter, "server", "Bytes written to Redis.", "") \
	X(redis_received_bytes_total, counter, "server", "Bytes read from Redis.", "") \
	X(redis_round_trip_seconds, gauge, "server", "How long the last command took that was alone on its way, such as the PING of the health check; absent before the first.", "High for long: Redis or the network is slow; SLOWLOG GET.") \
	X(redis_fetched_messages, gauge, "server", "Messages that were taken from Redis and wait here for room in a prefetch.", "") \
	X(redis_unacked_messages, gauge, "server", "Messages taken from Redis that consumers have not settled.", "") \
	X(redis_publishes_waiting, gauge, "server", "Publishes that Redis has not answered, or refuses for now.", "High for long: Redis is slow, or takes no writes; the log says which.") \
	X(redis_publishes_refused_total, counter, "server", "Publishes nacked for good, as Redis cannot keep them.", "Alert on a rise: the log has the reason.") \
	X(process_cpu_seconds_total, counter, "", "CPU time of the process, user and system.", "A rate near 1 of one worker: the script's thread is the limit; use more workers.") \
	X(process_resident_memory_bytes, gauge, "", "Memory of the process in RAM.", "Alert near the limit of the container.") \
	X(process_virtual_memory_bytes, gauge, "", "Virtual memory of the process.", "") \
	X(process_open_fds, gauge, "", "Open descriptors of the process.", "Alert near process_max_fds: a leak, or the limit is too low.") \
	X(process_max_fds, gauge, "", "The limit of open descriptors.", "") \
	X(process_start_time_seconds, gauge, "", "When the process started.", "Changes often: the process is restarted again and again.")
/* clang-format on */

enum {
#define X(name, type, labels, help, advice) MR_METRIC_##name,
	MR_METRICS(X)
#undef X
		MR_METRIC_COUNT
};

#endif
