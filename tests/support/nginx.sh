#!/bin/sh
# nginx.sh: fetches Debian's nginx with ngx_lua, and unpacks it below .build/nginx, for the tests and the examples.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/nginx.sh     prints the folder: usr/sbin/nginx, usr/lib/nginx/modules, usr/share/nginx/src
#
# Nothing is installed, and no service is started: ngx_lua wants libluajit2-5.1-2, which conflicts with the
# libluajit-5.1-dev that Moonrabbit is built with. So the packages are downloaded, and unpacked by dpkg -x. What is
# there already is not fetched again. Any user may run it where apt knows the packages; else root, who has
# their lists updated. Who starts this nginx sets LD_LIBRARY_PATH to DIR/libraries. MR_BUILD moves .build elsewhere.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

packages="nginx libnginx-mod-http-lua libnginx-mod-http-ndk libluajit2-5.1-2 libluajit2-5.1-common lua-resty-core
	lua-resty-lrucache nginx-dev libpcre3 libpcre2-8-0"
build=${MR_BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/.build}
dir=$build/nginx
list=$(echo "$packages" | tr -s ' \t\n' ' ')

say() { echo "nginx.sh: $*" >&2; }

has_all() { [ "$(cat "$dir/packages" 2>/dev/null)" = "$list" ]; }

download() {
	# shellcheck disable=SC2086 # a list of words
	apt-get -o APT::Sandbox::User=root download $packages </dev/null >download.log 2>&1
}

fetch() {
	rm -rf "$dir.new"
	mkdir -p "$dir.new/debs"
	cd "$dir.new/debs"
	say "downloading $list"
	if ! download; then
		[ "$(id -u)" -ne 0 ] || apt-get -o DPkg::Lock::Timeout=300 update </dev/null >update.log 2>&1 || :
		download || {
			tail -n 20 download.log >&2
			say "apt-get download failed; as root, run apt-get update first"
			exit 1
		}
	fi
	say "unpacking them into $dir"
	for deb in *.deb; do dpkg -x "$deb" "$dir.new"; done
	cd "$dir.new"
	mkdir libraries # links to all of them, wherever the packages have them
	find usr/lib lib -name 'lib*.so.*' | while read -r file; do ln -sf "../$file" libraries/; done
	rm -rf debs
	echo "$list" >packages
	rm -rf "$dir"
	mv "$dir.new" "$dir"
}

command -v apt-get >/dev/null && command -v dpkg >/dev/null || {
	say "no Debian system: it needs apt-get and dpkg"
	exit 1
}
mkdir -p "$build"
exec 9>"$build/nginx.lock"
flock 9
has_all || fetch
echo "$dir"
