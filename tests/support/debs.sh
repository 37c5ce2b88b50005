#!/bin/sh
# debs.sh: makes the Debian packages, and installs, uses, upgrades and purges them in a new, minimal Debian 12.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/debs.sh DIR TREE      DIR as in bare.sh; TREE: a build with -DCMAKE_INSTALL_PREFIX=/usr
#
# Prints "ok - ..." and "not ok - ..."; exit code 77: cannot run here, and why.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tree=$(cd "$2" && pwd)
# shellcheck source=tests/support/debian.sh
. "$root/tests/support/debian.sh"
own_mounts "$0" "$dir" "$tree"

tools="gcc libc6-dev pkgconf cmake make luajit man-db bash-completion binutils systemd lua-inspect libedit2 libncursesw6 nginx"
ours="libmoonrabbit0 libmoonrabbit-dev lua-moonrabbit moonrabbit libnginx-mod-http-moonrabbit"

# --- Making them ------------------------------------------------------------------------------

version=$(sed -n 's/^set(CPACK_PACKAGE_VERSION "\(.*\)")$/\1/p' "$tree/CPackConfig.cmake")
next=${version%.*}.$((${version##*.} + 1))
pack() { # FOLDER VERSION RELEASE [SCRIPT]
	rm -rf "$tree/debs/$1"
	(cd "$tree" && cpack -G DEB -R "$2" -D CPACK_DEBIAN_PACKAGE_RELEASE="$3" -B "$tree/debs/$1" \
		-D CPACK_PRE_BUILD_SCRIPTS="$root/examples/packages/debian_files.cmake${4:+;$4}")
	rm -rf "$tree/debs/$1/_CPack_Packages"
}
has_all() {
	for package in $ours; do ls "$tree/debs/1/${package}_"*.deb || return 1; done
}
dependencies() { # of all that are not ours, for apt-get satisfy
	for deb in "$tree"/debs/1/*.deb; do dpkg-deb -f "$deb" Depends; done | tr ',' '\n' | sed 's/^ *//' | grep -v moonrabbit |
		sort -u | paste -s -d ,
}
opens_nothing_else() { # what the library opens at run time is named by its dependencies
	test "$(grep -rhoE '^#define LIBRARY "[^"]*"' "$root/runtime")" = '#define LIBRARY "libev.so.4"' &&
		dpkg-deb -f "$tree"/debs/1/libmoonrabbit0_*.deb Depends | grep -q libev4
}

check "cpack makes the packages" pack 1 "$version" 1
check "all of them" has_all
check "lintian finds no error" lintian --fail-on error --allow-root "$tree"/debs/1/*.deb
check "what is opened at run time is a dependency" opens_nothing_else
check "cpack makes those of the next revision" pack 2 "$version" 2
check "cpack makes those of the next version" pack 3 "$next" 1 "$root/tests/support/next_version.cmake"
[ "$failed" -eq 0 ] || exit 1

# --- A system ---------------------------------------------------------------------------------

# Every file, but for those that apt and dpkg write at every call.
files() {
	find "$system" -xdev \( -path "$system/var/cache" -o -path "$system/var/log" -o -path "$system/var/lib/apt" \
		-o -path "$system/run" -o -path "$system/root" -o -path "$system/tmp" -o -path "$system/proc" -o -path "$system/dev" \
		-o -path "$system/var/lib/dpkg/*-old" -o -path "$system/etc/ld.so.cache" \) -prune -o -printf '/%P\n' | sort
}
install() { within env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

make_base
make_system debs
cp -r "$tree/debs" "$system/root/debs"
within apt-get update >"$dir/out" 2>&1
# shellcheck disable=SC2086 # a list of words
check "the system has compilers and what the packages depend on" install $tools
within env DEBIAN_FRONTEND=noninteractive apt-get satisfy -y --no-install-recommends "$(dependencies)" >>"$dir/out" 2>&1 || :
keep_archives
within useradd --create-home --uid 1000 user
files >"$dir/files.before"

check "the packages install" within sh -c 'apt-get install -y /root/debs/1/*.deb'

# --- Using them -------------------------------------------------------------------------------

as_user() { within setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/user "$@"; }
in_home() { as_user sh -c "cd && $1"; }

# Sorted, because messages and the log come as they come; without times and names.
as_lines() { sed 's/^time=[^ ]* //; s/@[^ ]*/@/g; s/=[a-z]*@/=@/g' | sort; }
# The guide's first chapter, and what it shows.
runs_guide() {
	sed -n '/^<!-- file: hello.lua -->/,/^```$/p' "$root/docs/guide.md" | sed '/^<!--/d; /^```/d' >"$system/home/user/hello.lua"
	in_home 'AMQP_URL=memory:// moonrabbit run hello.lua' >"$dir/output" 2>&1 || { cat "$dir/output" && return 1; }
	as_lines <"$dir/output" >"$dir/printed"
	sed -n '/^\$ AMQP_URL=memory:\/\/ moonrabbit run hello.lua$/,/^```$/p' "$root/docs/guide.md" | sed '1d; $d' | as_lines |
		diff - "$dir/printed"
}
compiles_by_pkg_config() {
	in_home 'gcc -std=c11 -Wall -Werror /usr/share/doc/moonrabbit/examples/c/publisher.c $(pkg-config --cflags --libs moonrabbit) \
		-o publisher && ./publisher'
}
compiles_by_cmake() {
	mkdir -p "$system/home/user/host"
	cat >"$system/home/user/host/CMakeLists.txt" <<-'CMAKE'
		cmake_minimum_required(VERSION 3.13)
		project(host C)
		find_package(moonrabbit 0.1 REQUIRED)
		find_package(moonrabbit 1.0 QUIET)
		if(moonrabbit_FOUND)
		   message(FATAL_ERROR "version 1.0 was found")
		endif()
		find_package(moonrabbit 0.1 REQUIRED)
		add_executable(host /usr/share/doc/moonrabbit/examples/c/publisher.c)
		target_link_libraries(host PRIVATE moonrabbit::moonrabbit)
	CMAKE
	chown -R 1000:1000 "$system/home/user/host"
	in_home 'cd host && cmake -S . -B build && cmake --build build && build/host'
}
exports_its_own() {
	within sh -c 'objdump -T /usr/lib/*/libmoonrabbit.so.0 | grep -v "\*UND\*" | awk "NF > 5 { print \$(NF - 1), \$NF }"' \
		>"$dir/symbols"
	test "$(grep -c 'MOONRABBIT_0 mr_' "$dir/symbols")" -gt 100 && ! grep -v 'MOONRABBIT_0 \(mr_\|MOONRABBIT_0\)' "$dir/symbols" &&
		within sh -c 'objdump -p /usr/lib/*/libmoonrabbit.so.0 | grep "SONAME *libmoonrabbit.so.0$"' &&
		! within objdump -p /usr/bin/moonrabbit | grep -E 'RPATH|RUNPATH'
}
is_rendered() { # SECTION PAGE
	within man -w "$1" "$2" && within sh -c "man --warnings -E UTF-8 -l -Tutf8 -Z \"\$(man -w $1 $2)\" 2>&1 >/dev/null" >"$dir/groff" &&
		test ! -s "$dir/groff" || { cat "$dir/groff" && return 1; }
}
renders_pages() {
	for page in moonrabbit moonrabbit-run moonrabbit-check moonrabbit-broker moonrabbit-version moonrabbit-attach \
		moonrabbit-status moonrabbit-publish moonrabbit-import moonrabbit-dead; do is_rendered 1 $page || return 1; done
	is_rendered 3 moonrabbit && is_rendered 3 mr_runtime_poll && is_rendered 7 moonrabbit || return 1
	within man 1 moonrabbit-run | grep 'file: */usr/share/doc\|/usr/share/doc/moonrabbit/docs/worker.md' &&
		within man 3 mr_runtime_poll | grep 'mr_runtime_poll(mr_runtime \*rt'
}
completes() {
	within bash -c '. /usr/share/bash-completion/bash_completion
		_completion_loader moonrabbit || [ $? -eq 124 ] && complete -p moonrabbit &&
		COMP_WORDS=(moonrabbit run --dr) && COMP_CWORD=2 && _moonrabbit && [ "${COMPREPLY[*]}" = --drain ]' &&
		zsh -n "$system/usr/share/zsh/site-functions/_moonrabbit" &&
		fish -n "$system/usr/share/fish/vendor_completions.d/moonrabbit.fish"
}
unit_is_good() {
	echo 'print "never"' >"$system/etc/moonrabbit/orders.lua"
	within sh -c 'systemd-analyze verify --man=no --generators=no moonrabbit@orders.service 2>&1' >"$dir/verify" || :
	cat "$dir/verify"
	! grep 'moonrabbit@' "$dir/verify" &&
		within systemd-analyze security --offline=yes --no-pager --threshold=20 moonrabbit@orders.service
}
# A worker of Debian's nginx with the packaged module, on a socket of its own: it is well, and a broker without queues answers
# its publish with "no queue takes it": 404.
serves_by_nginx() {
	within sh -ec 'test -L /etc/nginx/modules-enabled/50-mod-http-moonrabbit.conf
		cat >/tmp/nginx.conf <<-CONF
			include /etc/nginx/modules-enabled/*.conf;
			pid /tmp/nginx.pid;
			error_log stderr;
			events {}
			http {
			  access_log off;
			  moonrabbit_url memory://;
			  server {
			    listen unix:/tmp/nginx.sock;
			    location = /orders { moonrabbit_publish amq.topic orders; }
			    location = /health { moonrabbit_health; }
			  }
			}
		CONF
		nginx -c /tmp/nginx.conf
		trap "kill \$(cat /tmp/nginx.pid)" EXIT
		for request in "404 POST /orders" "200 GET /health"; do
			set -- $request
			perl -MIO::Socket::UNIX -e "\$s = IO::Socket::UNIX->new(Peer => q(/tmp/nginx.sock)) or die;
				print \$s qq($2 $3 HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi); \$_ = <\$s>; print; / $1 / or exit 1"
		done'
}
has_exact_versions() { ! within sh -c 'apt-get install -s /root/debs/2/moonrabbit_*.deb'; }
has_version() { # all of ours have it
	# shellcheck disable=SC2086 # a list of words
	test "$(within dpkg-query -W -f '${Version}\n' $ours | sort -u)" = "$1"
}
# What the administrator has made or taken away stays so.
upgrades() { # FOLDER VERSION-RELEASE
	rm -f "$system/etc/nginx/modules-enabled/50-mod-http-moonrabbit.conf"
	within sh -c "apt-get install -y /root/debs/$1/*.deb" && has_version "$2" &&
		test -f "$system/etc/moonrabbit/orders.lua" && test ! -e "$system/etc/nginx/modules-enabled/50-mod-http-moonrabbit.conf" &&
		runs_guide
}
# The files are the next version's, and none is left of the one before.
has_next_files() {
	within sh -c "readlink -f /usr/lib/*/libmoonrabbit.so.0 && ls /usr/lib/*/libmoonrabbit.so.0.* /usr/share/lua/5.1/moonrabbit/*love.lua" |
		tee "$dir/next" | sed 's,.*/,,' | paste -s -d ' ' |
		grep -qx "libmoonrabbit.so.$next libmoonrabbit.so.$next in_love.lua" || { cat "$dir/next" && return 1; }
}
downgrades() { within sh -c 'apt-get install -y --allow-downgrades /root/debs/1/*.deb' && has_version "$version-1" && runs_guide; }
purges() {
	# shellcheck disable=SC2086 # a list of words
	within apt-get remove -y $ours && test -f "$system/etc/moonrabbit/orders.lua" &&
		rm "$system/etc/moonrabbit/orders.lua" && within dpkg --purge $ours
}
leaves_no_trace() {
	rm -rf "$system"/var/lib/nginx/[a-z]* "$system"/home/user/hello.lua "$system"/home/user/host "$system"/home/user/publisher
	files >"$dir/files.after"
	diff "$dir/files.before" "$dir/files.after"
}

check "the guide's first chapter works for a user" runs_guide
check "LuaJIT finds the library" in_home 'luajit -e "print((require \"moonrabbit\").version)"'
check "a C host compiles by pkg-config" compiles_by_pkg_config
check "a C host compiles by find_package, of a fitting version only" compiles_by_cmake
check "the library has a soname and exports mr_* under a version; no path is built in" exports_its_own
check "the man pages render without a warning" renders_pages
check "completion loads in bash, and parses in zsh and fish" completes
check "the systemd unit is sound and hardened" unit_is_good
check "nginx publishes with its module" serves_by_nginx
check "versions do not mix" has_exact_versions
check "they upgrade to the next revision" upgrades 2 "$version-2"
check "they upgrade to the next version" upgrades 3 "$next-1"
check "the next version's files replace those before" has_next_files
check "they downgrade" downgrades
check "they are removed, and purged" purges
check "nothing is left" leaves_no_trace
[ "$failed" -ne 0 ] || remove_system
exit "$failed"
