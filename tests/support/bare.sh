#!/bin/sh
# bare.sh: tries the quickstart of README.md in a new, minimal Debian 12 that knows nothing of this machine's packages.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/bare.sh DIR            prints "ok - ..." and "not ok - ..."; exit code 77: cannot run here, and why
#   sh tests/support/bare.sh DIR tests [STEP...]      runs the test command there, too (all of it: about half an hour)
#
# DIR keeps the minimal system and the packages it downloaded, so that the next run is quick; both are made anew after a
# week. The system itself is unpacked anew for each run and lives in a mount namespace that ends with this script.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
what=${2:-quickstart}
[ $# -lt 2 ] || shift
shift
# shellcheck source=tests/support/debian.sh
. "$root/tests/support/debian.sh"
own_mounts "$0" "$dir" "$what" "$@"

# as_readme LINES COMMAND...: what it prints is what README.md shows; LINES of the page's first ones are left out. Confirms
# and messages come as they come, and the log is written by a thread of its own; its last line follows all others.
as_readme() {
	skip=$1
	shift
	"$@" >"$dir/output" 2>&1 || { cat "$dir/output" && return 1; }
	luajit "$root/tests/tools/check_output.lua" "$root/README.md" 'sh examples/quickstart.sh' "$skip" "$dir/output" \
		'time=... level=info msg=con...' 'confirmed: ...' 'received: ...'
}

fails_with() { # TEXT COMMAND...
	text=$1
	shift
	if "$@" >"$dir/output" 2>&1; then
		echo "it ended with 0"
		return 1
	fi
	cat "$dir/output"
	grep -q "$text" "$dir/output"
}

without_namespaces() { within setpriv --bounding-set=-sys_admin,-net_admin --inh-caps=-sys_admin,-net_admin "$@"; }
has_no_namespaces() { ! without_namespaces unshare --net true; }
as_user() { within setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/user "$@"; }
knows_no() { ! within dpkg-query -W "$1"; }

make_base
make_system system
copy_repository "$system/root/moonrabbit"
within useradd --create-home --uid 1000 user
copy_repository "$system/home/user/moonrabbit"
within chown -R user:user /home/user

check "the system has never heard of a package that the quickstart needs" knows_no libluajit-5.1-dev
check "an ordinary user is told what root is to install" \
	fails_with 'apt-get install .*libluajit-5.1-dev' as_user sh /home/user/moonrabbit/examples/quickstart.sh
check "root's quickstart prints what README.md shows" as_readme 0 within sh /root/moonrabbit/examples/quickstart.sh
keep_archives
check "again, with nothing left to install" as_readme 1 within sh /root/moonrabbit/examples/quickstart.sh
check "the next one is really without network namespaces" has_no_namespaces
within rm -rf /root/moonrabbit/.build
check "again, without network namespaces" as_readme 1 without_namespaces sh /root/moonrabbit/examples/quickstart.sh
check "an ordinary user's quickstart, with the packages present" \
	as_readme 1 as_user sh /home/user/moonrabbit/examples/quickstart.sh
if [ "$what" = tests ]; then
	check "the test command $*" within sh /root/moonrabbit/tests/run.sh "$@"
	cp "$dir/out" "$dir/tests.out"
	keep_archives
fi
if [ "$failed" -eq 0 ]; then # a failure's system stays, to be looked at
	remove_system
fi
exit "$failed"
