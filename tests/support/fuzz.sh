#!/bin/sh
# fuzz.sh: replays the seeds of one libFuzzer target, then looks for new inputs for some seconds.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/fuzz.sh PROGRAM SECONDS
#
# Build first: cmake -B .build/fuzz -DCMAKE_C_COMPILER=clang-14 -DMR_FUZZ=ON && cmake --build .build/fuzz
# PROGRAM is .build/fuzz/fuzz/fuzz_NAME, its seeds are tests/fuzz/corpus/fuzz_NAME/ (or NAME/), its
# dictionary, when there is one, tests/fuzz/fuzz_NAME.dict. Beside the program, work/fuzz_NAME/ gets
# the inputs found (kept for the next run) and in crashes/ those that fail.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

program=$1
seconds=$2
name=${program##*/}
work=$(dirname "$(dirname "$program")")/work/$name
here=$(cd "$(dirname "$0")/../fuzz" && pwd)
seeds=$here/corpus/$name
[ -d "$seeds" ] || seeds=$here/corpus/${name#fuzz_}
if [ -z "$(ls "$seeds" 2>/dev/null)" ]; then
	echo "fuzz.sh: no seeds in $here/corpus/$name" >&2
	exit 1
fi
mkdir -p "$work/found" "$work/crashes"

set -- "$program" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$work/crashes/"
"$@" -runs=0 "$seeds"
[ ! -f "$here/$name.dict" ] || set -- "$@" -dict="$here/$name.dict"
"$@" -max_total_time="$seconds" "$work/found" "$seeds"
