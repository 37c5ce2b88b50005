"""client_pika: pika's BlockingConnection beside the other clients of the bench.

Called as `client_pika.py MODE PORT BODY MESSAGES`; modes: consume, consume-noack, publish,
publish-confirm (pika waits for the confirm of each message), rtt, confirm-one.
"""
# SPDX-License-Identifier: MIT
import json
import resource
import sys
import time

import pika

PREFETCH = 1000
TRIP_WARM_UP = 100


class Span:
    """The measured part of a run."""

    def __init__(self):
        self.cpu = cpu_now()
        self.start = time.monotonic()
        self.took = None

    def stop(self):
        self.took = time.monotonic() - self.start, cpu_now() - self.cpu

    def print(self, mode, body, counted, **more):
        if self.took is None:
            self.stop()
        wall, cpu = self.took
        result = {
            "client": "pika",
            "mode": mode,
            "body": body,
            "messages": counted,
            "seconds": round(wall, 6),
            "rate": round(counted / wall, 1),
            "cpu_us_per_msg": round(cpu * 1e6 / counted, 4),
            "max_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        result.update(more)
        print(json.dumps(result))


    def print_trips(self, mode, body, trips):
        """Sorts the times (us) of a run, and prints each."""
        self.stop()
        trips = sorted(trips)
        self.print(mode, body, len(trips), median_us=round(trips[len(trips) // 2], 1),
                   p99_us=round(trips[len(trips) * 99 // 100], 1),
                   trips_us=[round(trip, 1) for trip in trips])


def cpu_now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def open_connection(port):
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))


def properties():
    return pika.BasicProperties(content_type="text/plain", delivery_mode=1)


def consume(mode, port, body, messages, no_ack):
    connection = open_connection(port)
    channel = connection.channel()
    if not no_ack:
        channel.basic_qos(prefetch_count=PREFETCH)
    seen = 0
    span = None

    def on_message(ch, method, _properties, payload):
        nonlocal seen, span
        if span is None:
            span = Span()
        seen += 1
        if payload:
            payload[0]
        if not no_ack:
            ch.basic_ack(method.delivery_tag)
        if seen == messages:
            span.print(mode, body, messages - 1)
            ch.stop_consuming()

    channel.basic_consume("bench", on_message, auto_ack=no_ack, consumer_tag="bench")
    channel.start_consuming()
    connection.close()


def publish(mode, port, body, messages, confirms):
    """Measured up to channel.close-ok, so that the peer has taken every message."""
    connection = open_connection(port)
    channel = connection.channel()
    payload = b"x" * body
    props = properties()
    if confirms:
        channel.confirm_delivery()
    span = Span()
    for _ in range(messages):
        channel.basic_publish("", "bench", payload, props)
    channel.close()
    span.print(mode, body, messages)
    connection.close()


def round_trips(mode, port, body, messages):
    connection = open_connection(port)
    channel = connection.channel()
    payload = b"x" * body
    trips = []
    start = 0.0
    span = None

    def ask():
        nonlocal start
        start = time.monotonic()
        channel.basic_publish("", "bench-pika-a", payload, properties())

    def on_request(_channel, _method, _properties, request):
        channel.basic_publish("", "bench-pika-b", request, properties())

    def on_answer(_channel, _method, _properties, _answer):
        nonlocal span
        trips.append((time.monotonic() - start) * 1e6)
        if len(trips) == TRIP_WARM_UP:
            span = Span()
        if len(trips) == TRIP_WARM_UP + messages:
            span.print_trips(mode, body, trips[TRIP_WARM_UP:])
            channel.stop_consuming()
        else:
            ask()

    for queue, handler in (("bench-pika-a", on_request), ("bench-pika-b", on_answer)):
        channel.queue_declare(queue, exclusive=True, auto_delete=True)
        channel.basic_consume(queue, handler, auto_ack=True, consumer_tag=queue)
    ask()
    channel.start_consuming()
    connection.close()


def confirm_one(mode, port, body, messages):
    connection = open_connection(port)
    channel = connection.channel()
    payload = b"x" * body
    props = properties()
    channel.queue_declare("bench-pika-a", exclusive=True, auto_delete=True)
    channel.confirm_delivery()
    trips = []
    span = None
    for n in range(TRIP_WARM_UP + messages):
        if n == TRIP_WARM_UP:
            span = Span()
        start = time.monotonic()
        channel.basic_publish("", "bench-pika-a", payload, props)
        trips.append((time.monotonic() - start) * 1e6)
    span.print_trips(mode, body, trips[TRIP_WARM_UP:])
    connection.close()


def main():
    mode = sys.argv[1]
    port, body, messages = (int(text) for text in sys.argv[2:5])
    if mode in ("consume", "consume-noack"):
        consume(mode, port, body, messages, mode == "consume-noack")
    elif mode in ("publish", "publish-confirm"):
        publish(mode, port, body, messages, mode == "publish-confirm")
    elif mode == "rtt":
        round_trips(mode, port, body, messages)
    elif mode == "confirm-one":
        confirm_one(mode, port, body, messages)
    else:
        sys.exit("client_pika: unknown mode " + mode)


if __name__ == "__main__":
    main()
