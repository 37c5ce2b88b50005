#!/bin/sh
# rock.sh: builds the rock and installs it into a tree of its own, without the network; LuaJIT and the command use it there.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/rock.sh DIR      prints "ok - ..." and "not ok - ..."
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dir=$(mktemp -d "$(cd "$1" && pwd)/rock.XXXXXX")
trap 'rm -rf "$dir"' EXIT
failed=0

check() { # TITLE COMMAND...: its output is shown when it fails
	title=$1
	shift
	if "$@" >"$dir/out" 2>&1; then
		echo "ok - $title"
	else
		sed 's/^/# /' "$dir/out" | tail -n 60
		echo "not ok - $title"
		failed=1
	fi
}
# Its dependencies are Debian's packages here: luarocks looks for rocks.
builds() { (cd "$dir/source" && luarocks --lua-version 5.1 --tree "$dir/tree" make --deps-mode none examples/packages/*.rockspec); }
by_luajit() (
	cd /
	env -i PATH="$PATH" TREE="$dir/tree" LUA_PATH="$dir/tree/share/lua/5.1/?.lua;$dir/tree/share/lua/5.1/?/init.lua;;" \
		luajit -l moonrabbit -e 'local maps = io.open("/proc/self/maps"):read "*a"
			assert(maps:find(os.getenv "TREE" .. "/lib/lua/5.1/libmoonrabbit.so.0", 1, true), "another library was loaded")
			print(require("moonrabbit").version)'
)
by_command() (
	cd /
	env -i PATH="$PATH" AMQP_URL=memory:// "$dir/tree/bin/moonrabbit" run "$root/examples/hello.lua"
)
same_version() { test -f "$root/examples/packages/moonrabbit-$(sed -n 's/^#define MR_VERSION_STRING "\(.*\)"/\1/p' \
	"$root/runtime/include/moonrabbit.h")-1.rockspec"; }
removes() { luarocks --lua-version 5.1 --tree "$dir/tree" remove moonrabbit && ! find "$dir/tree" -name '*moonrabbit*' | grep -v manifest; }

mkdir "$dir/source"
tar -C "$root" --exclude=./.build --exclude=./.git -cf - . | tar -C "$dir/source" -xf -
check "the rockspec is of this version" same_version
check "luarocks builds and installs the rock" builds
check "luajit -l moonrabbit finds its modules and its library in the tree" by_luajit
check "the rock's command runs" by_command
check "luarocks removes all of it" removes
exit "$failed"
