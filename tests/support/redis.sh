#!/bin/sh
# redis.sh: starts and stops a private Redis that lives in one directory.
# SPDX-License-Identifier: MIT
#
#   redis.sh start DIR   starts it, waits until it serves, prints its TCP port
#   redis.sh stop DIR    stops it, also when it hangs or was killed; the data stay
#
# DIR/env is a file to source: MR_REDIS_DIR, _PORT, _TLS_PORT, _SOCKET, _URL, _TLS_URL, _SOCKET_URL, _ACL_URL, _CA.
# DIR/pid holds its process id (for kill -STOP and kill -9), DIR/log its log, DIR/tls ca.pem, server.pem, server.key.
# The default user has no password; the user `rabbit` has the password `hop`. Every write is in the append-only file
# before it is answered. `start` after `stop` or after a kill brings back the same ports and data.
#
# It listens on 127.0.0.1 and on a socket in DIR only, and reads no file of a system Redis. Any user may run it.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

start_seconds=60 # some 50 ms on an idle machine; this bounds a busy one
stop_seconds=20

fail() {
	echo "redis.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '4,6s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# shellcheck source=tests/support/redis_place.sh
. "$(dirname "$0")/redis_place.sh"

# Decides ports and names once for a directory.
prepare() {
	mkdir -p "$dir/data"
	make_certificates "$dir/tls"
	[ -f "$dir/env" ] && return 0
	# shellcheck disable=SC2046 # two words, one per port
	set -- $(free_ports 2)
	cat >"$dir/redis.conf" <<END
bind 127.0.0.1
port $1
tls-port $2
unixsocket $dir/redis.sock
tls-ca-cert-file $dir/tls/ca.pem
tls-cert-file $dir/tls/server.pem
tls-key-file $dir/tls/server.key
tls-auth-clients no
dir $dir/data
logfile $dir/log
daemonize no
save ""
appendonly yes
appendfsync always
user rabbit on >hop ~* &* +@all
END
	cat >"$dir/env.new" <<END
export MR_REDIS_DIR='$dir'
export MR_REDIS_PORT=$1
export MR_REDIS_TLS_PORT=$2
export MR_REDIS_SOCKET='$dir/redis.sock'
export MR_REDIS_URL=redis://127.0.0.1:$1/0
export MR_REDIS_ACL_URL=redis://rabbit:hop@127.0.0.1:$1/0
export MR_REDIS_TLS_URL=rediss://localhost:$2/0
export MR_REDIS_SOCKET_URL='redis+socket://$dir/redis.sock?virtual_host=0'
export MR_REDIS_CA='$dir/tls/ca.pem'
END
	mv "$dir/env.new" "$dir/env"
}

load() {
	# shellcheck disable=SC1091
	. "$dir/env"
}

# Is the process of DIR/pid alive, and still our server? Its title is its command line, and its address later.
runs() {
	[ -s "$dir/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$dir/pid")/cmdline" |
		grep -qF -e "redis-server 127.0.0.1:$MR_REDIS_PORT" -e "redis-server $dir/redis.conf"
}

serves() {
	[ "$(redis-cli -s "$MR_REDIS_SOCKET" ping 2>/dev/null)" = PONG ]
}

start() {
	command -v redis-server >/dev/null || fail "no redis-server: install the package redis-server"
	command -v openssl >/dev/null || fail "no openssl: install the package openssl"
	prepare
	load
	runs && fail "Redis runs already in $dir (process $(cat "$dir/pid"))"
	rm -f "$dir/log" "$dir/redis.sock"
	(cd "$dir" && exec env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 setsid redis-server "$dir/redis.conf") \
		</dev/null >"$dir/start" 2>&1 &
	pid=$!
	echo "$pid" >"$dir/pid"
	tries=$((start_seconds * 10))
	until serves; do
		if ! kill -0 "$pid" 2>/dev/null; then
			cat "$dir/start" "$dir/log" >&2 || :
			fail "Redis ended while starting, see above"
		fi
		tries=$((tries - 1))
		if [ "$tries" -le 0 ]; then
			stop
			fail "Redis was not up after $start_seconds s, see $dir/log"
		fi
		sleep 0.1 # between two looks
	done
	echo "$MR_REDIS_PORT"
}

stop() {
	[ -f "$dir/env" ] || return 0
	load
	if runs; then
		pid=$(cat "$dir/pid")
		kill -TERM "$pid" 2>/dev/null || :
		kill -CONT "$pid" 2>/dev/null || : # it may have been stopped
		tries=$((stop_seconds * 10))
		while [ "$tries" -gt 0 ] && runs; do
			tries=$((tries - 1))
			sleep 0.1 # between two looks
		done
		runs && kill -KILL "$pid" 2>/dev/null
	fi
	rm -f "$dir/pid"
}

[ $# -eq 2 ] || usage
case $2 in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
case $1 in
start) start ;;
stop) stop ;;
*) usage ;;
esac
