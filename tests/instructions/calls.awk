# calls.awk: counts the system calls of calls.lua in the output of `strace -f`, for 1000 messages of each kind, in the round
# with the fewest. Prints "KIND WHAT NUMBER".
# SPDX-License-Identifier: MIT
#
#   all      but the I/O thread's sleeps by the clock, while the host waits by itself
# One by one, the host waits by itself or by the I/O thread, as the scheduler has it, and the costs are different: so it also counts
#   socket   what is sent and received
#   waits    waits by itself (the signals are held once and let once), and by the I/O thread (one wake there, one back)
#   unled    messages whose answer the host did not wait for by itself
#   others   what these waits do not explain: each by itself sleeps once, each by the I/O thread sleeps three times and reads two wakes

function least(kind, what, number) {
	number = number * 1000 / messages
	if (!((kind, what) in result) || number < result[kind, what]) result[kind, what] = number
}

function end_round() {
	if (kind == "" || kind == "end") return
	least(kind, "all", all)
	if (kind ~ /-one-by-one$/) {
		least(kind, "socket", socket)
		held = n["rt_sigprocmask"] / 2
		woken = n["write"] / 2
		least(kind, "waits", held + woken)
		least(kind, "unled", messages - held)
		least(kind, "others", all - socket - 3 * held - 7 * woken)
	}
}

NR == 1 { host = $1 }
/ resumed>|\+\+\+ |--- / { next } # a call that has been counted, an exit, a signal
match($0, /"round\/[^"]*"/) {
	end_round()
	all = socket = 0
	split("", n)
	split(substr($0, RSTART + 1, RLENGTH - 2), round, "/")
	kind = round[2]
	messages = round[3]
	next
}
{
	name = $2
	sub(/\(.*/, "", name)
	if (name == "ppoll" && $1 != host && kind ~ /one-by-one/) next
	all++
	n[name]++
	if (name ~ /^(send|recv)|^(readv|writev)$/) socket++
}
END {
	for (key in result) {
		split(key, part, SUBSEP)
		printf "%s %s %d\n", part[1], part[2], result[key] + 0.5
	}
}
