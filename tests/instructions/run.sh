#!/bin/sh
# run.sh: counts what a message costs, in numbers that a busy machine does not change, and compares them with figures.txt.
# SPDX-License-Identifier: MIT
#
#   sh tests/instructions/run.sh PART BUILD      prints "ok ..." or "not ok ..." for each figure of the part
#   sh tests/instructions/run.sh PART BUILD new  prints new lines for figures.txt
#
# PART: core (BUILD/bin/instructions under callgrind), calls (system calls of a client of `moonrabbit broker`, by strace) or script
# (LuaJIT's traces and garbage). 77: this machine is another one than that of the figures, or nothing can be traced here.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
here=$(dirname "$0")
part=$1
bin=$2/bin
kinds=$(awk -v part="$part" '$1 == part && !seen[$2]++ { print $2 }' "$here/figures.txt")

if [ "$(uname -m)" != x86_64 ]; then
	echo "the figures are of x86-64"
	exit 77
fi
scratch=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker" || :; rm -rf "$scratch"' EXIT

# Each prints "KIND WHAT NUMBER".

# What valgrind does not know would let the C library choose other ways to copy; it says so to the program, too.
measure_core() {
	for kind in $kinds; do
		valgrind --tool=callgrind --callgrind-out-file="$scratch/out" --toggle-collect=measured "$bin/instructions" "$kind" \
			>"$scratch/said" 2>"$scratch/log" || {
			cat "$scratch/log" >&2
			return 1
		}
		sed -n "s/^.*Collected : \([0-9]*\)$/$kind instructions \1/p" "$scratch/log"
		sed "s/^/$kind /" "$scratch/said"
	done
}

measure_calls() {
	timeout 120 strace -f -o "$scratch/trace" "$bin/moonrabbit" run --no-console --log-level warn --url "$url" "$here/calls.lua" &&
		awk -f "$here/calls.awk" "$scratch/trace"
}

measure_script() {
	for kind in $kinds; do
		timeout 120 "$bin/moonrabbit" run --no-console --log-level warn "$here/script.lua" "$kind" || return 1
	done
}

# Its first line says where it serves; the pipe stays open for what it may say later.
serve() {
	mkfifo "$scratch/serving"
	"$bin/moonrabbit" broker --listen 127.0.0.1:0 >"$scratch/serving" 2>"$scratch/log" &
	broker=$!
	exec 3<"$scratch/serving"
	read -r line <&3 || cat "$scratch/log"
	url=$(echo "$line" | sed -n 's/.* at \(amqp:[^;]*\);.*/\1/p')
}

if [ "$part" = calls ]; then
	if ! strace -f -o "$scratch/trace" true 2>"$scratch/log"; then
		tail -n 1 "$scratch/log"
		exit 77
	fi
	serve
fi

"measure_$part" >"$scratch/measured"
awk -v part="$part" -v renew="${3:-}" '
	FNR == NR { measured[$1, $2] = $3; next }
	$1 != part { next }
	{ found = (($2, $3) in measured) ? measured[$2, $3] : "nothing" }
	renew { printf "%-8s %-19s %-12s %7s %d\n", $1, $2, $3, found, $5; next }
	found == "nothing" { printf "not ok %s: %s was not counted\n", $2, $3; code = 1; next }
	{ said = $2 ": " found " " $3 ($3 ~ /^(late|refused)$/ ? "" : " for 1000") }
	found * 100 > $4 * $5 { printf "not ok %s: more than %d %% of the figure, %d\n", said, $5, $4; code = 1; next }
	{ print "ok " said }
	END { exit code }' "$scratch/measured" "$here/figures.txt" || exit 1
