#!/bin/sh
# redis.sh: Moonrabbit beside kombu on one private Redis: publishes with confirms, consumes with acks, round trips.
# SPDX-License-Identifier: MIT
#
#   sh tests/bench/redis.sh [COUNT]      20000 messages of 100 bytes each way, three rounds in turn; prints the medians
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
count=${1:-20000}
dir=$(mktemp -d /tmp/moonrabbit-bench.XXXXXX)
bin=${MR_BUILD:-$root/.build}/release/bin
trap 'sh "$root/tests/support/redis.sh" stop "$dir"; rm -rf "$dir"' EXIT

sh "$root/tests/support/redis.sh" start "$dir" >/dev/null
# shellcheck disable=SC1091
. "$dir/env"
redis-cli -s "$MR_REDIS_SOCKET" CONFIG SET appendfsync everysec >/dev/null
export LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;;"

once() { # CLIENT MODE COUNT
	case $1 in
	kombu) /usr/bin/python3 "$here/client_kombu.py" "$2" "$MR_REDIS_URL" "$3" ;;
	*) "$bin/moonrabbit" run --no-console --log-level warn "$here/client_redis.lua" "$2" "$MR_REDIS_URL" "$3" ;;
	esac
}

median() { sort -n "$1" | sed -n 2p; }

for _ in 1 2 3; do
	for client in kombu moonrabbit; do
		redis-cli -s "$MR_REDIS_SOCKET" FLUSHALL >/dev/null
		for mode in publish consume; do once "$client" "$mode" "$count" | cut -d ' ' -f 1 >>"$dir/$client.$mode"; done
		once "$client" roundtrip $((count / 10)) | cut -d ' ' -f 2 >>"$dir/$client.roundtrip"
	done
done

printf '%-12s %14s %14s %16s\n' "" "publish/s" "consume/s" "round trip, us"
for client in kombu moonrabbit; do
	printf '%-12s %14s %14s %16s\n' "$client" "$(median "$dir/$client.publish")" "$(median "$dir/$client.consume")" \
		"$(median "$dir/$client.roundtrip")"
done
