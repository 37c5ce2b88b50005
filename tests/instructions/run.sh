#!/bin/sh
# run.sh: counts the instructions and allocations of the pure core, and compares them with figures.txt.
# SPDX-License-Identifier: MIT
#
#   sh tests/instructions/run.sh BUILD      BUILD/bin/instructions is the program; prints "ok ..." or "not ok ..." for each kind
#   sh tests/instructions/run.sh BUILD new  prints new lines for figures.txt
#
# 77: this machine is another one than that of the figures. Clocks are too noisy for a test; this is the same number each time.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
here=$(dirname "$0")
program=$1/bin/instructions
most=103 # percent of the figure

if [ "$(uname -m)" != x86_64 ]; then
	echo "the figures are of x86-64"
	exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What valgrind does not know would let the C library choose other ways to copy; it says so to the program, too.
measure() { # KIND: sets instructions and allocations
	valgrind --tool=callgrind --callgrind-out-file="$scratch/out" --toggle-collect=measured "$program" "$1" \
		>"$scratch/said" 2>"$scratch/log" || {
		cat "$scratch/log"
		return 1
	}
	instructions=$(sed -n 's/^.*Collected : \([0-9]*\)$/\1/p' "$scratch/log")
	allocations=$(sed -n 's/^allocations //p' "$scratch/said")
}

judge() { # KIND WHAT MEASURED FIGURE
	if [ $(($3 * 100)) -gt $(($4 * most)) ]; then
		echo "not ok $1: $3 $2 for 1000, the figure is $4: $(($3 * 1000 / ($4 + ($4 == 0)) - 1000)) thousandths more"
		code=1
	else
		echo "ok $1: $3 $2 for 1000"
	fi
}

code=0
while read -r kind instructions_figure allocations_figure; do
	case $kind in '#'*) continue ;; esac
	measure "$kind"
	if [ "${2:-}" = new ]; then
		printf '%-10s %11s %12s\n' "$kind" "$instructions" "$allocations"
		continue
	fi
	judge "$kind" instructions "$instructions" "$instructions_figure"
	judge "$kind" allocations "$allocations" "$allocations_figure"
done <"$here/figures.txt"
exit "$code"
