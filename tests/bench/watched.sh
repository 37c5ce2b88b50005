#!/bin/sh
# watched.sh: what one `moonrabbit status --watch` costs the process that it looks at: rate and CPU time per message, with it
# and without it in turn. Prints a line for each load: as fast as it goes (from the load peer), and 10 000 messages a second
# (published by the process itself, through memory://). docs/performance.md has those of the last run on an idle machine.
# SPDX-License-Identifier: MIT
#
#   sh tests/bench/watched.sh [ROUNDS]        MOONRABBIT=PATH uses that command instead of building one
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
cd "$(dirname "$0")/../.."
rounds=${1:-10}
# shellcheck source=tests/bench/own.sh
. tests/bench/own.sh
console=$PWD/$out/watched.sock

cat >$out/paced.lua <<'LUA'
local ffi = require "ffi"
local mr = require "moonrabbit"
local RATE, SECONDS, TICK = 10000, 10, 0.01
ffi.cdef [[typedef struct { long sec, part; } paced_time; int paced_clock(int id, paced_time *now) __asm__("clock_gettime");]]
local function cpu()
   local now = ffi.new "paced_time"
   ffi.C.paced_clock(2, now) -- CLOCK_PROCESS_CPUTIME_ID
   return tonumber(now.sec) + tonumber(now.part) / 1e9
end
local handled, sent = 0, 0
local worker = mr.consumer { queue = "paced", handler = function() handled = handled + 1 end }
assert(worker:wait(10))
local publisher = mr.publisher { routing_key = "paced" }
local began, before = mr.now(), cpu()
while mr.now() < began + SECONDS do
   local due = math.floor((mr.now() - began) * RATE)
   while sent < due do
      publisher:publish "0123456789"
      sent = sent + 1
   end
   mr.sleep(TICK)
end
local took, used = mr.now() - began, cpu() - before
print(('{"rate":%.1f,"cpu_us_per_msg":%.4f}'):format(handled / took, used * 1e6 / handled))
mr.stop()
LUA

full() { against_peer 10000000 consume --console "$console"; }

paced() { "$moonrabbit" run --url memory:// --log-level warn --console "$console" $out/paced.lua; }

# One run; watched if there is a second argument.
run() { # LOAD [watched]
	watcher=
	if [ -n "${2:-}" ]; then
		(
			until [ -S "$console" ]; do sleep 0.01; done
			exec "$moonrabbit" status --watch "$console" >$out/watched.out 2>&1
		) &
		watcher=$!
	fi
	"$1"
	[ -z "$watcher" ] || wait "$watcher" || true # it ends with the process that it watches
}

for load in full paced; do
	: >$out/$load.alone
	: >$out/$load.watched
	for _ in $(seq "$rounds"); do
		run $load >>$out/$load.alone
		run $load watched >>$out/$load.watched
	done
	for what in rate cpu_us_per_msg; do
		alone=$(field $what $out/$load.alone | median)
		watched=$(field $what $out/$load.watched | median)
		echo "$load, $what: alone $alone, watched $watched, ratio $(echo "$alone $watched" | awk '{ printf "%.3f", $2 / $1 }')"
	done
done
