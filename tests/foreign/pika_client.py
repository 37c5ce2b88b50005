"""pika_client: what pika's BlockingConnection sees of a broker.

Called as `pika_client.py URL`. Prints "ok - what" or "not ok - what: why" for each check; fails when
one did, or after 30 s.
"""
# SPDX-License-Identifier: MIT
import os
import signal
import sys
import time

import pika
from pika import exceptions

DEADLINE = 30
PATIENCE = 10
PREFIX = f"foreign-pika-{os.getpid()}-"


class Client:
    """A connection with a channel in confirm mode, and the checks."""

    def __init__(self, url):
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.got = []

    def queue(self, name, **more):
        self.channel.queue_declare(PREFIX + name, exclusive=True, **more)
        return PREFIX + name

    def publish(self, queue, *bodies):
        for body in bodies:
            self.channel.basic_publish("", queue, body, mandatory=True)

    def depth(self, queue):
        return self.channel.queue_declare(queue, passive=True).method.message_count

    def until(self, what, condition):
        """Takes events until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"in vain waited for {what}"
            self.connection.process_data_events(time_limit=0.01)

    def consume(self, queue, **more):
        self.got = []
        return self.channel.basic_consume(queue, lambda _, *delivery: self.got.append(delivery), **more)

    # ---- checks, in this order ----

    def declares(self):
        queue = self.queue("declared")
        assert self.depth(queue) == 0
        given = self.channel.queue_declare("", exclusive=True).method.queue
        assert given.startswith("amq.gen-"), given
        self.channel.queue_delete(given)

    def publishes_with_confirms(self):
        queue = self.queue("confirmed")
        for n in range(100):
            self.publish(queue, f"message {n}")
        assert self.depth(queue) == 100
        assert self.channel.queue_purge(queue).method.message_count == 100

    def keeps_properties(self):
        queue = self.queue("properties")
        sent = pika.BasicProperties(
            content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3, correlation_id="c",
            reply_to="r", expiration="60000", message_id="m", timestamp=1700000000, type="t", user_id="guest",
            app_id="a", headers={"text": "x", "number": -5, "big": 2**40, "list": [1, "two"], "deep": {"er": True}, "none": None})
        self.channel.basic_publish("", queue, b"\0\1\xff" * 100000, sent, mandatory=True)
        method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        assert body == b"\0\1\xff" * 100000
        assert properties == sent, properties
        assert method.message_count == 0 and not method.redelivered and method.exchange == ""
        assert self.channel.basic_get(queue) == (None, None, None)

    def gets_returned_what_has_no_route(self):
        try:
            self.channel.basic_publish("", PREFIX + "nowhere", b"back", mandatory=True)
        except exceptions.UnroutableError as error:
            message = error.messages[0]
            assert (message.method.reply_code, message.method.reply_text) == (312, "NO_ROUTE"), message.method
            assert message.body == b"back"
        else:
            raise AssertionError("it was routed")
        self.channel.basic_publish("", PREFIX + "nowhere", b"dropped")

    def is_nacked_by_a_full_queue(self):
        queue = self.queue("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        self.publish(queue, "one")
        try:
            self.publish(queue, "two")
        except exceptions.NackError:
            return
        raise AssertionError("it was acked")

    def consumes_and_acks(self):
        queue = self.queue("consumed")
        self.publish(queue, *(str(n) for n in range(50)))
        tag = self.consume(queue)
        self.until("50 deliveries", lambda: len(self.got) == 50)
        for n, (method, _, body) in enumerate(self.got):
            assert body == str(n).encode() and method.delivery_tag and not method.redelivered
            self.channel.basic_ack(method.delivery_tag)
        self.channel.basic_cancel(tag)
        self.channel.basic_recover(requeue=True)
        assert self.depth(queue) == 0

    def sees_nacked_messages_again(self):
        queue = self.queue("nacked")
        self.publish(queue, "again")
        tag = self.consume(queue)
        self.until("a delivery", lambda: self.got)
        self.channel.basic_nack(self.got[0][0].delivery_tag, requeue=True)
        self.until("the second delivery", lambda: len(self.got) == 2)
        assert self.got[1][0].redelivered and self.got[1][2] == b"again"
        self.channel.basic_nack(self.got[1][0].delivery_tag, requeue=False)
        self.channel.basic_cancel(tag)
        assert self.depth(queue) == 0

    def gets_no_more_than_the_prefetch(self):
        queue = self.queue("prefetched")
        self.publish(queue, *"12345")
        self.channel.basic_qos(prefetch_count=2)
        tag = self.consume(queue)
        self.until("two deliveries", lambda: len(self.got) == 2)
        assert self.depth(queue) == 3
        assert len(self.got) == 2
        self.channel.basic_ack(self.got[0][0].delivery_tag)
        self.until("the third delivery", lambda: len(self.got) == 3)
        self.channel.basic_ack(self.got[2][0].delivery_tag, multiple=True)
        self.until("all deliveries", lambda: len(self.got) == 5)
        self.channel.basic_ack(multiple=True)
        self.channel.basic_cancel(tag)
        self.channel.basic_qos(prefetch_count=0)

    def sees_expired_messages_dead_lettered(self):
        dead = self.queue("dead")
        queue = self.queue("short", arguments={
            "x-message-ttl": 50, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
        self.publish(queue, "late")
        tag = self.consume(dead, auto_ack=True)
        self.until("the dead letter", lambda: self.got)
        _, properties, body = self.got[0]
        death = properties.headers["x-death"][0]
        assert body == b"late"
        assert (death["queue"], death["reason"], death["count"], death["exchange"]) == (queue, "expired", 1, ""), death
        assert death["routing-keys"] == [queue], death
        assert properties.headers["x-first-death-reason"] == "expired"
        self.channel.basic_cancel(tag)

    def routes_by_exchanges_and_bindings(self):
        queue, source, target = self.queue("bound"), PREFIX + "topic", PREFIX + "fanout"
        self.channel.exchange_declare(source, "topic", auto_delete=True)
        self.channel.exchange_declare(target, "fanout", auto_delete=True)
        self.channel.exchange_bind(target, source, "a.#")
        self.channel.queue_bind(queue, target)
        self.channel.basic_publish(source, "a.b.c", b"routed", mandatory=True)
        assert self.depth(queue) == 1
        try:
            self.channel.basic_publish(source, "b", b"", mandatory=True)
        except exceptions.UnroutableError:
            pass
        else:
            raise AssertionError("it was routed")
        self.channel.queue_unbind(queue, target)
        self.channel.exchange_delete(source)

    def consumes_in_a_generator(self):
        queue = self.queue("generator")
        self.publish(queue, *"abc")
        seen = b""
        for method, _, body in self.channel.consume(queue, inactivity_timeout=PATIENCE):
            assert method, "nothing came"
            seen += body
            self.channel.basic_ack(method.delivery_tag)
            if len(seen) == 3:
                break
        assert self.channel.cancel() == 0
        assert seen == b"abc"

    def is_told_that_its_consumer_is_cancelled(self):
        queue, cancelled = self.queue("cancelled"), []
        self.channel.add_on_cancel_callback(cancelled.append)
        tag = self.consume(queue)
        other = self.connection.channel()
        other.queue_delete(queue)
        other.close()
        self.until("the cancel", lambda: cancelled)
        assert cancelled[0].method.consumer_tag == tag

    def commits_and_rolls_back(self):
        channel, queue = self.connection.channel(), self.queue("transaction")
        channel.tx_select()
        channel.basic_publish("", queue, "gone")
        channel.tx_rollback()
        channel.basic_publish("", queue, "kept")
        channel.tx_commit()
        assert channel.basic_get(queue, auto_ack=True)[2] == b"kept"
        assert channel.basic_get(queue, auto_ack=True)[2] is None
        channel.close()

    def survives_a_passive_declare_of_what_is_missing(self):
        channel, name = self.connection.channel(), PREFIX + "missing"
        try:
            channel.queue_declare(name, passive=True)
        except exceptions.ChannelClosedByBroker as error:
            assert (error.reply_code, error.reply_text) == (404, f"NOT_FOUND - no queue '{name}' in vhost '/'"), error
        else:
            raise AssertionError("it is there")
        assert self.connection.is_open and self.channel.is_open
        self.connection.channel().close()

    def deletes_queues(self):
        queue = self.queue("deleted")
        self.publish(queue, "1", "2")
        assert self.channel.queue_delete(queue).method.message_count == 2
        self.channel.queue_delete(queue)

    def closes(self):
        self.connection.close()
        assert self.connection.is_closed

    CHECKS = (
        declares, publishes_with_confirms, keeps_properties, gets_returned_what_has_no_route, is_nacked_by_a_full_queue,
        consumes_and_acks, sees_nacked_messages_again, gets_no_more_than_the_prefetch, sees_expired_messages_dead_lettered,
        routes_by_exchanges_and_bindings, consumes_in_a_generator, is_told_that_its_consumer_is_cancelled, commits_and_rolls_back,
        survives_a_passive_declare_of_what_is_missing, deletes_queues, closes)


def give_up(*_):
    raise TimeoutError(f"still at work after {DEADLINE} s")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: pika_client.py URL")
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(DEADLINE)
    failed, client, what = False, None, "connects"
    try:
        client = Client(sys.argv[1])
        print("ok - pika: connects", flush=True)
    except Exception as error:  # pylint: disable=broad-except
        print(f"not ok - pika: connects: {error!r}")
        sys.exit(1)
    for check in Client.CHECKS:
        what = check.__name__.replace("_", " ")
        try:
            check(client)
            print(f"ok - pika: {what}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed = True
            print(f"not ok - pika: {what}: {error!r}", flush=True)
            if not client.connection.is_open or not client.channel.is_open or isinstance(error, TimeoutError):
                break
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
