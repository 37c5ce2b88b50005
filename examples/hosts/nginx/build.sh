#!/bin/sh
# build.sh: builds the nginx module as ngx_http_moonrabbit_module.so.
# SPDX-License-Identifier: MIT
#
#   sh build.sh [OUT]             OUT: a folder; .build/nginx-module if it is not named
#
# NGINX_SRC        nginx's sources, or what Debian's nginx-dev has of them (default: /usr/share/nginx/src)
# MOONRABBIT_LIB   the folder of libmoonrabbit.so: a build tree's. Default: what pkg-config knows, else the tree that
#                  examples/setup.sh has built
# MR_MODULE_FLAGS  more flags for the compiler, such as -fsanitize=address
#
# nginx's configure is run once for each OUT, with Debian's options (conf_flags), as dh_nginx does: the module then
# fits the packaged binary. Only the module is compiled. Needs gcc, make, and the headers of PCRE2, OpenSSL and zlib.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
src=${NGINX_SRC:-/usr/share/nginx/src}
out=${1:-${MR_BUILD:-$root/.build}/nginx-module}

if [ -n "${MOONRABBIT_LIB:-}" ] || ! pkg-config --exists moonrabbit 2>/dev/null; then
	lib=${MOONRABBIT_LIB:-${MR_BUILD:-$root/.build}/release/lib}
	MOONRABBIT_CFLAGS="-I$root/runtime/include"
	MOONRABBIT_LIBS="-L$lib -lmoonrabbit"
else
	MOONRABBIT_CFLAGS=$(pkg-config --cflags moonrabbit)
	MOONRABBIT_LIBS=$(pkg-config --libs moonrabbit)
fi
MOONRABBIT_CFLAGS="$MOONRABBIT_CFLAGS -std=gnu11 -Wextra -Wshadow ${MR_MODULE_FLAGS:-}"
export MOONRABBIT_CFLAGS MOONRABBIT_LIBS

[ -x "$src/configure" ] || {
	echo "build.sh: no $src/configure: install nginx-dev, or set NGINX_SRC" >&2
	exit 1
}
mkdir -p "$out"
out=$(cd "$out" && pwd)
stamp="$src $MOONRABBIT_CFLAGS $MOONRABBIT_LIBS $(cksum <"$here/config")"
# shellcheck disable=SC2016 # for bash
if [ "$(cat "$out/configured" 2>/dev/null)" != "$stamp" ]; then
	(cd "$src" && bash -c 'NGX_CONF_FLAGS=(--with-compat)
		[ ! -f conf_flags ] || . ./conf_flags
		exec ./configure "${NGX_CONF_FLAGS[@]}" --builddir="$1" --add-dynamic-module="$2"' bash "$out" "$here") \
		>"$out/configure.log" 2>&1 || {
		tail -n 20 "$out/configure.log" >&2
		exit 1
	}
	echo "$stamp" >"$out/configured"
fi
make -s -C "$src" -f "$out/Makefile" modules >"$out/make.log" 2>&1 || {
	cat "$out/make.log" >&2
	exit 1
}
grep -i warning "$out/make.log" >&2 || :
echo "$out/ngx_http_moonrabbit_module.so"
