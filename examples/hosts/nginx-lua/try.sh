#!/bin/sh
# try.sh: runs nginx with the site of this folder, on 127.0.0.1:8080, until Ctrl-C.
# SPDX-License-Identifier: MIT
#
#   sh examples/hosts/nginx-lua/try.sh
#
# It takes Debian's nginx with ngx_lua, unpacked below .build (tests/support/nginx.sh; nothing is installed), and the broker of
# AMQP_URL; without one, `moonrabbit broker` on port 5673. PORT=8081 and BROKER_PORT=5674 are other ports. After changes: kill -HUP $(cat .build/nginx-lua/pid)
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../strict.sh"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
build=${MR_BUILD:-$root/.build}
nginx=$(sh "$root/tests/support/nginx.sh")
export MOONRABBIT_LIBRARY="${MOONRABBIT_LIBRARY:-$build/release/lib/libmoonrabbit.so}"
[ -f "$MOONRABBIT_LIBRARY" ] || sh "$root/examples/setup.sh"
mkdir -p "$build/nginx-lua"
sed "s|127\.0\.0\.1:8080|127.0.0.1:${PORT:-8080}|; s|[^ ;\"]*\.\./\.build|$build|g" "$here/nginx.conf" >"$build/nginx-lua/nginx.conf"

broker=""
if [ -z "${AMQP_URL:-}" ]; then
	"${MOONRABBIT_COMMAND:-$build/release/bin/moonrabbit}" broker --listen "127.0.0.1:${BROKER_PORT:-5673}" &
	broker=$!
	export AMQP_URL="amqp://guest:guest@127.0.0.1:${BROKER_PORT:-5673}/"
fi
LD_LIBRARY_PATH=$nginx/libraries "$nginx/usr/sbin/nginx" -e stderr -p "$here/" -c "$build/nginx-lua/nginx.conf" -g "
	load_module $nginx/usr/lib/nginx/modules/ndk_http_module.so;
	load_module $nginx/usr/lib/nginx/modules/ngx_http_lua_module.so;
	$([ "$(id -u)" -ne 0 ] || echo 'user root;')" &
server=$!
trap 'kill -QUIT $server' INT TERM
wait "$server" || wait "$server" || :
[ -z "$broker" ] || kill "$broker"
