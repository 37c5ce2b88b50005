#!/bin/sh
# scripts.sh: what mr.consumer costs beside a bare ch:consume, what a waiting handler takes, and how soon a
# script handles its first message. Prints a few lines; docs/performance.md has those of the last run.
# SPDX-License-Identifier: MIT
#
#   sh tests/bench/scripts.sh [ROUNDS]        MOONRABBIT=PATH uses that command instead of building one
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
cd "$(dirname "$0")/../.."
rounds=${1:-7}
# shellcheck source=tests/bench/own.sh
. tests/bench/own.sh

consume() { against_peer 2000000 "$1"; } # MODE

: >$out/bare.out
: >$out/worker.out
for _ in $(seq "$rounds"); do
	consume consume >>$out/bare.out
	consume consume-worker >>$out/worker.out
done
for what in rate cpu_us_per_msg; do
	bare=$(field $what <$out/bare.out | median)
	worker=$(field $what <$out/worker.out | median)
	echo "$what: bare $bare, mr.consumer $worker, ratio $(echo "$bare $worker" | awk '{ printf "%.2f", $2 / $1 }')"
done

echo "10 000 waiting handlers: $("$moonrabbit" run --log-level warn tests/bench/client_moonrabbit.lua suspended 0 100 10000)"

cat >$out/first.lua <<'LUA'
local mr = require "moonrabbit"
mr.consumer { queue = "hello", handler = function(msg)
   print(msg.body)
   mr.stop()
end }
local ch = assert(mr.connect():channel())
assert(ch:queue_declare { queue = "hello", durable = true })
assert(ch:publish("", "hello", "hello"))
LUA
for _ in $(seq 20); do
	began=$(date +%s%N)
	AMQP_URL=memory:// "$moonrabbit" run --log-level warn $out/first.lua | head -n 1 >/dev/null
	echo $((($(date +%s%N) - began) / 10000))
done | median | awk '{ printf "from process start to the end of a script that handled one message on memory://: %.1f ms\n", $1 / 100 }'
