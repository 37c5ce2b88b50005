#!/usr/bin/python3
"""client_kombu: kombu on Redis, as its documentation has it: a Producer, and a Consumer with drain_events.

  client_kombu.py publish|consume|roundtrip URL COUNT        prints messages a second, and for roundtrip the median in us

Bodies have 100 bytes and are text, so that no JSON is made. Acks are kombu's default: each by itself. SPDX-License-Identifier: MIT
"""
import sys
import time

import kombu

mode, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
body = "x" * 100
connection = kombu.Connection(url)
channel = connection.channel()
queue = kombu.Queue("bench", routing_key="bench")
producer = kombu.Producer(channel)


def publish():
    producer.publish(body, exchange="", routing_key="bench")


def consume(callback, wanted):
    channel.basic_qos(0, 100, False)
    with connection.Consumer(queue, channel=channel, callbacks=[callback], accept=["text/plain"]):
        while wanted():
            connection.drain_events(timeout=30)


began = time.monotonic()
times = []
if mode == "publish":
    for _ in range(count):
        publish()
elif mode == "consume":
    left = [count]

    def take(_, message):
        message.ack()
        left[0] -= 1

    consume(take, lambda: left[0] > 0)
else:
    last = [time.monotonic()]

    def turn(_, message):
        message.ack()
        now = time.monotonic()
        times.append(now - last[0])
        last[0] = time.monotonic()
        publish()

    publish()
    consume(turn, lambda: len(times) < count)
took = time.monotonic() - began
print("%.0f %.0f" % (count / took, sorted(times)[len(times) // 2] * 1e6 if times else 0))
connection.release()
