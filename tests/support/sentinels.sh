#!/bin/sh
# sentinels.sh: runs a private Redis with a replica and three Sentinels that watch them, in one directory.
# SPDX-License-Identifier: MIT
#
#   sentinels.sh start DIR [tls]   starts all, waits until each knows the others; with tls they speak nothing else
#   sentinels.sh kill DIR NAME     kills one (server1, server2, sentinel1, sentinel2, sentinel3) without warning
#   sentinels.sh revive DIR NAME   starts it again
#   sentinels.sh stop DIR          kills all that run; the directory stays
#
# DIR/env is a file to source: MR_SENTINEL_PORT_1 to _3, MR_SENTINEL_SERVER_1 and _2 (ports), MR_SENTINEL_CA (a file; "" without TLS). The service is `rabbits`; the servers'
# password is `hop`, that of the Sentinels `skip`. server1 is the master at first. A master that says nothing for a second is down.
# All listen on 127.0.0.1 only.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

start_seconds=60 # some 3 s on an idle machine; this bounds a busy one

fail() {
	echo "sentinels.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '5,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# shellcheck source=tests/support/redis_place.sh
. "$(dirname "$0")/redis_place.sh"

port_of() {
	case $1 in
	server1) echo "$MR_SENTINEL_SERVER_1" ;;
	server2) echo "$MR_SENTINEL_SERVER_2" ;;
	sentinel1) echo "$MR_SENTINEL_PORT_1" ;;
	sentinel2) echo "$MR_SENTINEL_PORT_2" ;;
	sentinel3) echo "$MR_SENTINEL_PORT_3" ;;
	*) usage ;;
	esac
}

password_of() {
	case $1 in
	server?) echo hop ;;
	*) echo skip ;;
	esac
}

cli() { # NAME WORDS...
	name=$1
	shift
	# shellcheck disable=SC2086 # no word, or three
	REDISCLI_AUTH=$(password_of "$name") timeout 20 redis-cli -h 127.0.0.1 -p "$(port_of "$name")" \
		${MR_SENTINEL_CA:+--tls --cacert "$MR_SENTINEL_CA"} "$@" 2>&1
}

# Where a server or a Sentinel listens.
listens() { # PORT
	if [ -z "$ca" ]; then
		echo "port $1"
		return
	fi
	cat <<END
port 0
tls-port $1
tls-ca-cert-file $ca
tls-cert-file $dir/tls/server.pem
tls-key-file $dir/tls/server.key
tls-auth-clients no
tls-replication yes
END
}

prepare() {
	mkdir -p "$dir"
	[ -f "$dir/env" ] && return 0
	# shellcheck disable=SC2046 # five words, one per port
	set -- $(free_ports 5)
	ca=${tls:+$dir/tls/ca.pem}
	[ -z "$tls" ] || make_certificates "$dir/tls"
	for n in 1 2; do
		mkdir -p "$dir/server$n"
		[ "$n" = 1 ] && port=$1 || port=$2
		cat >"$dir/server$n.conf" <<END
bind 127.0.0.1
$(listens "$port")
dir $dir/server$n
logfile $dir/server$n.log
save ""
appendonly yes
requirepass hop
masterauth hop
repl-diskless-sync yes
repl-diskless-sync-delay 0
END
	done
	echo "replicaof 127.0.0.1 $1" >>"$dir/server2.conf"
	for n in 1 2 3; do
		mkdir -p "$dir/sentinel$n"
		eval "port=\$$((n + 2))"
		# shellcheck disable=SC2154 # eval sets it
		cat >"$dir/sentinel$n.conf" <<END
bind 127.0.0.1
$(listens "$port")
dir $dir/sentinel$n
logfile $dir/sentinel$n.log
requirepass skip
sentinel sentinel-pass skip
sentinel monitor rabbits 127.0.0.1 $1 2
sentinel auth-pass rabbits hop
sentinel down-after-milliseconds rabbits 1000
sentinel failover-timeout rabbits 6000
END
	done
	cat >"$dir/env.new" <<END
export MR_SENTINEL_SERVER_1=$1
export MR_SENTINEL_SERVER_2=$2
export MR_SENTINEL_PORT_1=$3
export MR_SENTINEL_PORT_2=$4
export MR_SENTINEL_PORT_3=$5
export MR_SENTINEL_CA='$ca'
END
	mv "$dir/env.new" "$dir/env"
}

load() {
	[ -f "$dir/env" ] || fail "nothing was started in $dir"
	# shellcheck disable=SC1091
	. "$dir/env"
}

# Is the process of that name alive, and still ours? Its title has its port.
runs() {
	[ -s "$dir/$1.pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$dir/$1.pid")/cmdline" |
		grep -qF -e "redis-server 127.0.0.1:$(port_of "$1")" -e "$dir/$1.conf"
}

wait_until() { # WHAT COMMAND...
	what=$1
	shift
	tries=$((start_seconds * 10))
	until "$@"; do
		tries=$((tries - 1))
		if [ "$tries" -le 0 ]; then
			tail -n 20 "$dir"/*.log >&2 || :
			stop
			fail "$what: not within $start_seconds s"
		fi
		sleep 0.1 # between two looks
	done
}

serves() { [ "$(cli "$1" ping)" = PONG ]; }

launch() { # NAME
	runs "$1" && fail "$1 runs already"
	mode=
	case $1 in sentinel?) mode=--sentinel ;; esac
	# shellcheck disable=SC2086 # no word, or one
	(cd "$dir" && exec env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 setsid redis-server "$dir/$1.conf" $mode) \
		</dev/null >"$dir/$1.start" 2>&1 &
	echo "$!" >"$dir/$1.pid"
	wait_until "$1 serves" serves "$1"
}

is_followed() { cli server2 info replication | grep -q '^master_link_status:up'; }

# A Sentinel knows the replica, and both of the others.
is_informed() {
	cli "$1" sentinel master rabbits | tr '\n' ' ' | grep -q 'num-slaves 1 num-other-sentinels 2 '
}

start() {
	command -v redis-server >/dev/null || fail "no redis-server: install the package redis-server"
	prepare
	load
	launch server1
	launch server2
	wait_until "the replica is in step" is_followed
	for n in 1 2 3; do launch "sentinel$n"; done
	for n in 1 2 3; do wait_until "sentinel$n knows the others" is_informed "sentinel$n"; done
}

end() { # NAME
	if runs "$1"; then kill -KILL "$(cat "$dir/$1.pid")" 2>/dev/null || :; fi
	rm -f "$dir/$1.pid"
}

stop() {
	for name in sentinel1 sentinel2 sentinel3 server1 server2; do end "$name"; done
}

[ $# -ge 2 ] || usage
case $2 in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
tls=
case $1,$# in
start,2) start ;;
start,3)
	[ "$3" = tls ] || usage
	tls=yes
	start
	;;
kill,3) load && end "$3" ;;
revive,3) load && launch "$3" ;;
stop,2) load && stop ;;
*) usage ;;
esac
