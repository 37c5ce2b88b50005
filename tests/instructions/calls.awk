# calls.awk: counts the system calls of calls.lua in the output of `strace -f`, for 1000 messages of each kind, in the round
# with the fewest. Prints "KIND all NUMBER". The I/O thread's sleeps by the clock, while the host waits by itself, do not count.
# SPDX-License-Identifier: MIT

function end_round() {
	if (kind == "" || kind == "end") return
	number = calls * 1000 / messages
	if (!(kind in fewest) || number < fewest[kind]) fewest[kind] = number
}

NR == 1 { host = $1 }
/ resumed>|\+\+\+ |--- / { next } # a call that has been counted, an exit, a signal
match($0, /"round\/[^"]*"/) {
	end_round()
	calls = 0
	split(substr($0, RSTART + 1, RLENGTH - 2), round, "/")
	kind = round[2]
	messages = round[3]
	next
}
$2 ~ /^ppoll/ && $1 != host && kind ~ /one-by-one/ { next }
{ calls++ }
END {
	for (kind in fewest) printf "%s all %d\n", kind, fewest[kind] + 0.5
}
