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
suite=bookworm
failed=0

leave_out() {
	echo "$*"
	exit 77
}

[ "$(id -u)" -eq 0 ] || leave_out "needs root, for chroot"
command -v debootstrap >/dev/null || leave_out "needs the package debootstrap"

if [ -z "${MR_BARE_MOUNTS:-}" ] && unshare --mount true 2>/dev/null; then
	MR_BARE_MOUNTS=yes exec unshare --mount --propagation private sh "$0" "$dir" "$what" "$@"
fi

# --- The minimal system -----------------------------------------------------------------------

# The mirror that apt uses on this machine, if it has one for this suite; else debootstrap's own choice.
mirror() {
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v suite="$suite" '$1 == suite && $2 == "main" { print $3; exit }'
}

make_base() {
	find "$dir" -maxdepth 1 -name 'base.tar' -mtime +7 -delete
	[ -f "$dir/base.tar" ] && return 0
	rm -rf "$dir/base" "$dir/archives"
	# shellcheck disable=SC2046 # a URL or nothing
	debootstrap --variant=minbase "$suite" "$dir/base" $(mirror) >"$dir/debootstrap.log" 2>&1 || {
		tail -n 5 "$dir/debootstrap.log"
		rm -rf "$dir/base"
		leave_out "debootstrap made no system, see $dir/debootstrap.log (is the packages' mirror within reach?)"
	}
	tar -C "$dir/base" -cf "$dir/base.tar.new" .
	mv "$dir/base.tar.new" "$dir/base.tar"
	rm -rf "$dir/base"
}

# What a copy of the repository holds: what git would commit, or, without git, all but builds.
copy_repository() { # TO
	mkdir -p "$1"
	if git -C "$root" rev-parse --git-dir >/dev/null 2>&1; then
		(cd "$root" && git ls-files --cached --others --exclude-standard | while read -r file; do
			[ ! -e "$file" ] || echo "$file"
		done | tar -cf - -T -) | tar -xf - -C "$1"
	else
		tar -C "$root" --exclude=./.build --exclude=./.git -cf - . | tar -xf - -C "$1"
	fi
}

make_system() {
	system=$dir/system
	rm -rf "$system"
	mkdir -p "$system" "$dir/archives"
	tar -C "$system" -xf "$dir/base.tar"
	cp /etc/resolv.conf "$system/etc/resolv.conf"
	if [ -n "${MR_BARE_MOUNTS:-}" ]; then
		mount -t proc proc "$system/proc"
		mount -t tmpfs tmpfs "$system/dev/shm" 2>/dev/null || :
	fi
	cp -p "$dir"/archives/*.deb "$system/var/cache/apt/archives/" 2>/dev/null || :
	apt-config dump Acquire >"$system/etc/apt/apt.conf.d/99outside" # such as a proxy
	echo 'Binary::apt::APT::Keep-Downloaded-Packages "true"; APT::Keep-Downloaded-Packages "true";' \
		>"$system/etc/apt/apt.conf.d/99keep"
	rm -f "$system/etc/apt/apt.conf.d/docker-clean"
	copy_repository "$system/root/moonrabbit"
}

keep_archives() {
	find "$system/var/cache/apt/archives" -maxdepth 1 -name '*.deb' -exec cp -pu {} "$dir/archives/" \;
}

# --- Trying -----------------------------------------------------------------------------------

# within COMMAND...: in the system, with nothing of this machine's environment but its proxy.
within() {
	# shellcheck disable=SC2086 # a word or none
	chroot "$system" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
		LC_ALL=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} ${CI:+CI="$CI"} "$@" </dev/null
}

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
make_system
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
	[ -z "${MR_BARE_MOUNTS:-}" ] || umount "$system/dev/shm" "$system/proc" 2>/dev/null || :
	rm -rf "$system"
fi
exit "$failed"
