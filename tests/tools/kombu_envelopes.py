#!/usr/bin/python3
"""kombu_envelopes: what the real kombu writes, as tests/unit/redis/kombu_envelopes.h.

  /usr/bin/python3 tests/tools/kombu_envelopes.py > tests/unit/redis/kombu_envelopes.h
  /usr/bin/python3 tests/tools/kombu_envelopes.py --check tests/unit/redis/kombu_envelopes.h

Needs Debian's python3-kombu and python3-redis; no broker. SPDX-License-Identifier: MIT
"""
import sys
from kombu.transport.virtual import base, exchange
from kombu.transport.redis import Channel
from kombu.utils.json import dumps, loads


class Quiet(base.Channel):
    def __init__(self):  # no connection: prepare_message and encode_body need none
        self.codecs, self.body_encoding = {'base64': base.Base64()}, 'base64'

    def _next_delivery_tag(self):
        return '6c1d7f4e-8f5b-4a39-9a0b-2f1f9a3b7c55'


class Pipe:
    def rpush(self, queue, text):
        self.text = text


def envelope(body, key='celery', exchange='', headers=None, priority=None, **properties):
    channel = Quiet()
    properties['delivery_mode'] = 2
    message = channel.prepare_message(body, priority, 'application/json', 'utf-8', headers, properties)
    channel._inplace_augment_message(message, exchange, key)
    return dumps(message)


def restored(text):
    channel, pipe = Quiet(), Pipe()
    channel._lookup = lambda exchange, key: ['queue']
    Channel._do_restore_message(channel, loads(text), '', '', pipe)
    return pipe.text


REALS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e22, 1e16, 1e15, 123456789012345.6, 9999999999999998.0, 1e-4, 1e-5, 1.5e-7,
         5e-324, 1.7976931348623157e308, 1 / 3, 2.5e-5, 1e100, 100.0, 12345.678]
MESSAGES = [
    envelope('{}'), envelope(''), envelope('a'), envelope('ab'), envelope(b'\x00\xff\xfe\x80'.decode('latin1').encode('latin1')),
    envelope('{"a": 1}', 'orders.new', 'events', {'lang': 'py', 'retries': 0, 'eta': None, 'timelimit': [None, None]},
             5, correlation_id='c-1', reply_to='r-1'),
    envelope('x', headers={'reals': REALS}),
    envelope('x', headers={'numbers': [0, -1, 2**63 - 1, -2**63, 1 << 40], 'yes': True, 'no': False}),
    envelope('x', 'schl\u00fcssel', '\u4ea4\u63db', {'\u00e9': '\U0001f407 "q" \\ / \b\f\n\r\t\x00\x1f\x7f\u2028'}),
    envelope('x', headers={'deep': {'a': [{'b': [[], {}]}]}, 'empty': {}}),
    envelope('x', correlation_id='c', reply_to='r', message_id='m', timestamp=1700000000, type='t', user_id='u',
             app_id='a', cluster_id='cl', priority=9),
]
RESTORE = MESSAGES + [
    '{"headers": {}, "properties": {"delivery_info": {}, "more": 1.0}, "body": "x", "other": [1, {"z": null}]}',
    '{"headers": {"redelivered": false, "a": 1}, "properties": {"delivery_info": {"redelivered": 0, "x": 1}}}',
    '{"headers": {}, "properties": {}}', '{"properties": {"delivery_info": {}}}', '{}',
]
KEYS = ['a', 'a.b', '*', '#', 'a.*.c', 'a.#', '#.a', '', 'a-b_c', 'a/b c', '..', 'x.#.y.*']
PATHS = ['', 'a', 'b', 'a.b', 'a.b.c', 'a..c', 'a.x.y.c', 'a.', '.', '..', '.a', 'x.a', 'x..y.z', 'x.q.y.z', 'x.y.z',
         'a-b_c', 'a/b c', 'a\n', 'a.b\n', 'x.q.r.y.z']


def c(text):
    out = ''.join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else '\\%03o' % b for b in text.encode())
    return '"' + out + '"'


def header():
    topic = exchange.TopicExchange(None)
    yield ('/* kombu_envelopes: what kombu writes; made by tests/tools/kombu_envelopes.py.\n'
           ' * SPDX-License-Identifier: MIT */\n/* clang-format off */\n')
    yield 'static const char *const written[] = {\n%s};\n' % ''.join('\t%s,\n' % c(m) for m in MESSAGES)
    yield 'static const char *const restored[][2] = {\n%s};\n' % ''.join(
        '\t{%s,\n\t\t%s},\n' % (c(m), c(restored(m))) for m in RESTORE)
    yield 'static const char *const patterns[][2] = {\n%s};\n' % ''.join(
        '\t{%s, %s},\n' % (c(k), c(topic.key_to_pattern(k))) for k in KEYS)
    yield 'static const struct {const char *pattern, *key; bool fits;} matches[] = {\n%s};\n' % ''.join(
        '\t{%s, %s, %s},\n' % (c(k), c(p), 'true' if topic._match(topic.key_to_pattern(k), p) else 'false')
        for k in KEYS for p in PATHS)


made = ''.join(header())
if sys.argv[1:2] == ['--check']:
    if open(sys.argv[2]).read() != made:
        sys.exit('kombu_envelopes: kombu writes other text than ' + sys.argv[2])
else:
    sys.stdout.write(made)
