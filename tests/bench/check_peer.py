"""check_peer: does the load peer see wrong acks, and let right ones pass? Uses pika.

Called as `check_peer.py PATH-OF-LOAD_PEER`; run.sh does so before it trusts a figure.
"""
# SPDX-License-Identifier: MIT
import json
import subprocess
import sys

import pika

MESSAGES, PREFETCH = 50, 10


class Consumer:
    """Collects delivery tags until the prefetch stops the peer."""

    def __init__(self, port, no_ack=False):
        self.connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=PREFETCH)
        self.tags = []
        self.channel.basic_consume("bench", self.take, auto_ack=no_ack)
        self.pump()

    def take(self, _channel, method, _properties, _body):
        self.tags.append(method.delivery_tag)

    def pump(self):
        """Until nothing has come for a while."""
        count = -1
        while count != len(self.tags):
            count = len(self.tags)
            self.connection.process_data_events(time_limit=0.05)


def ack_all_once(c):
    assert c.tags == list(range(1, PREFETCH + 1)), c.tags
    c.channel.basic_ack(3)
    c.pump()
    assert c.tags[-1] == PREFETCH + 1, c.tags  # one ack makes room for one, also below the refill mark
    c.channel.basic_ack(2)
    c.channel.basic_nack(5, multiple=True)  # 1, 4, 5
    c.channel.basic_reject(6, requeue=False)
    while len(c.tags) < MESSAGES:
        c.channel.basic_ack(c.tags[-1], multiple=True)
        c.pump()
    c.channel.basic_ack(0, multiple=True)


def ack_twice(c):
    c.channel.basic_ack(4)
    c.channel.basic_ack(4)


def ack_undelivered(c):
    c.channel.basic_ack(PREFETCH + 1)


def ack_zero(c):
    c.channel.basic_ack(0)


def ack_below_multiple(c):
    c.channel.basic_ack(5, multiple=True)
    c.channel.basic_ack(2)


def ack_multiple_twice(c):
    c.channel.basic_ack(5, multiple=True)
    c.channel.basic_ack(5, multiple=True)


def ack_nothing(c):
    c.channel.basic_ack(0, multiple=True)
    c.pump()
    while len(c.tags) < MESSAGES:
        c.channel.basic_ack(0, multiple=True)
        c.pump()
    c.channel.basic_ack(0, multiple=True)
    c.channel.basic_ack(0, multiple=True)


def ack_without_need(c):
    assert len(c.tags) == MESSAGES, c.tags
    c.channel.basic_ack(1)


def run(peer_path, case, no_ack=False):
    """The peer's counts and exit code after one case."""
    command = [peer_path, "--once", "--messages", str(MESSAGES), "--body", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as peer:
        port = int(peer.stdout.readline().split()[1])
        consumer = Consumer(port, no_ack)
        try:
            case(consumer)
            consumer.connection.close()
        except pika.exceptions.AMQPError:
            pass  # the peer drops whom it catches
        out, _ = peer.communicate(timeout=10)
        return json.loads(out), peer.returncode


def main():
    peer = sys.argv[1]
    counts, code = run(peer, ack_all_once)
    expected = {"delivered": MESSAGES, "acked": MESSAGES - 4, "nacked": 4, "unsettled": 0, "violations": 0}
    for key, value in expected.items():
        assert counts[key] == value, (key, counts)
    assert code == 0, code
    wrong = [ack_twice, ack_undelivered, ack_zero, ack_below_multiple, ack_multiple_twice, ack_nothing]
    for case in wrong:
        counts, code = run(peer, case)
        assert (counts["violations"], code) == (1, 3), (case.__name__, counts, code)
    counts, code = run(peer, ack_without_need, no_ack=True)
    assert (counts["violations"], code) == (1, 3), (counts, code)
    print(f"check_peer: the load peer passed {len(wrong) + 2} of {len(wrong) + 2} cases")


if __name__ == "__main__":
    main()
