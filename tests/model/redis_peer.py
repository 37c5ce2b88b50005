# redis_peer: the kombu process of redis_ledger: it publishes to the queues of redis_worker.lua, and consumes from them.
# Run by it: python3 redis_peer.py URL FOLDER NAME
# SPDX-License-Identifier: MIT
import os
import random
import sys
import time

import kombu

url, folder, name = sys.argv[1:4]
QUEUES = ["led.work", "led.raw"]
driver = open(folder + "/driver").read()
book = open(folder + "/ledger." + name, "a", buffering=1)
last = 0


def note(kind, ident="-", more=""):
    book.write("%.3f %s %s %s\n" % (time.monotonic(), kind, ident, more))


def end_with_driver():
    if not os.path.exists("/proc/" + driver):
        os._exit(1)


def handle(body, message):
    note("tried", body["id"], body["plan"])
    if random.random() < 0.1:
        message.requeue()
        return
    note("handled", body["id"])
    message.ack()


def publish(producer):
    global last
    last += 1
    ident = "%s-%d" % (name, last)
    plan = random.choice(["ok", "ok", "ok", "retry", "requeue", "dead"])
    body = {"id": ident, "plan": plan, "fails": random.randint(1, 3)}
    note("published", ident)
    try:
        producer.publish(body, exchange="", routing_key=random.choice(QUEUES), serializer="json",
                         correlation_id=ident, priority=random.choice([0, 3, 6, 9]), retry=False)
    except Exception as error:
        note("failed", ident, type(error).__name__)
        raise
    note("confirmed", ident, "1")


def serve():
    # Without a timeout redis-py waits for ever for a server that was killed.
    options = {"visibility_timeout": 5, "socket_timeout": 5, "socket_connect_timeout": 2}
    with kombu.Connection(url, transport_options=options) as connection:
        channel = connection.channel()
        producer = kombu.Producer(channel)
        consumer = kombu.Consumer(channel, [kombu.Queue(q, routing_key=q) for q in QUEUES], callbacks=[handle], accept=["json"],
                                  prefetch_count=10)
        consumer.consume()
        due = 0
        while True:
            end_with_driver()
            with open(folder + "/phase") as phase:
                publishes = phase.read() == "publish"
            if publishes and time.monotonic() >= due:
                publish(producer)
                due = time.monotonic() + random.random() * 0.1
            elif not publishes:
                note("idle")
            try:
                connection.drain_events(timeout=random.random() * 0.2)
            except TimeoutError:
                pass


while True:
    try:
        serve()
    except Exception as error: # of whatever kind kombu and redis-py have for a loss
        note("lost", "-", type(error).__name__)
        time.sleep(0.2)
        end_with_driver()
