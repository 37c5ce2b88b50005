#!/bin/sh
# pack.sh: makes moonrabbit.love, one file with the game and the Lua library in it.
# SPDX-License-Identifier: MIT
#
#   sh examples/hosts/love/pack.sh [DIR]     DIR/moonrabbit.love, and libmoonrabbit.so beside it; DIR: here
#
# The shared library is that of MOONRABBIT_LIBRARY, or of the build tree. The archive finds it beside itself, by
# MOONRABBIT_LIBRARY, or where it is installed.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "${1:-.}"
place=$(cd "${1:-.}" && pwd)
library=${MOONRABBIT_LIBRARY:-$root/.build/release/lib/libmoonrabbit.so}
command -v zip >/dev/null || {
	echo "pack.sh: no zip: install the package zip" >&2
	exit 1
}

rm -f "$place/moonrabbit.love"
(cd "$root/examples/hosts/love" && zip -q -9 "$place/moonrabbit.love" ./*.lua)
(cd "$root/lua" && zip -q -9 -r "$place/moonrabbit.love" moonrabbit -i '*.lua')
cp -L "$library" "$place/libmoonrabbit.so"
echo "$place/moonrabbit.love"
