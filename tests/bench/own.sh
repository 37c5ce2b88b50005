# own.sh: what the scripts about our command alone share: its build, the load peer, and reading results.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# To be sourced in the root of the repository; MOONRABBIT=PATH uses that command instead of building one. Sets root, out, moonrabbit, peer.
root=$PWD
out=.build/bench
mkdir -p $out
# shellcheck source=examples/setup.sh
. examples/setup.sh
setup_build bench-scripts -DMR_BENCH=ON
tree=$setup_build_root/bench-scripts
moonrabbit=${MOONRABBIT:-$tree/bin/moonrabbit}
peer=$(find "$tree" -name load_peer -type f | head -n 1)

# The median of numbers, one a line.
median() { sort -g | awk '{ n[NR] = $1 } END { print n[int((NR + 1) / 2)] }'; }

# field NAME [FILE]: a field of a JSON line.
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" ${2:+"$2"}; }

# against_peer MESSAGES MODE [OPTION...]: a run of client_moonrabbit.lua with bodies of 100 bytes; the options are those of the command.
against_peer() {
	count=$1
	mode=$2
	shift 2
	"$peer" --once --body 100 --messages "$count" >$out/peer.out &
	running=$!
	until grep -q '^port ' $out/peer.out; do sleep 0.01; done
	"$moonrabbit" run --log-level warn "$@" tests/bench/client_moonrabbit.lua "$mode" "$(sed -n 's/^port //p' $out/peer.out)" 100 "$count"
	wait $running
}
