#!/bin/sh
# cluster.sh: a private cluster of three RabbitMQ nodes on the loopback interface.
# SPDX-License-Identifier: MIT
#
#   cluster.sh start DIR          starts the nodes DIR/1, DIR/2 and DIR/3 and joins them
#   cluster.sh stop DIR           stops them, also those that hang or were killed; the data stay
#   cluster.sh kill DIR N         kills node N at once
#   cluster.sh revive DIR N       starts node N again, or lets it go on after freeze
#   cluster.sh freeze DIR N       stops the process of node N without ending it
#   cluster.sh part DIR N         cuts node N off from the other nodes, not from its clients
#   cluster.sh heal DIR N         ends that
#   cluster.sh drain DIR N        puts node N into maintenance: it gives its leaders away and closes its clients
#   cluster.sh undrain DIR N      ends that
#   cluster.sh ctl DIR N ARG...   rabbitmqctl on node N
#
# DIR/env is a file to source: MR_CLUSTER_DIR, and MR_CLUSTER_PORT_1 to _3. The nodes are rabbitmq.sh's: private ports,
# names, cookie and name server; node 1 owns the name server.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

one=$(dirname "$0")/rabbitmq.sh

fail() {
	echo "cluster.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '5,14s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

ctl() { # N ARG...
	n=$1
	shift
	sh "$one" ctl "$dir/$n" "$@"
}

name_of() { sed -n 's/^export MR_RABBITMQ_NODE=//p' "$dir/$1/env"; }
port_of() { sed -n 's/^export MR_RABBITMQ_PORT=//p' "$dir/$1/env"; }

others() { # the numbers but for $1
	for n in 1 2 3; do [ "$n" = "$1" ] || echo "$n"; done
}

up() { # N: starts a node
	if [ "$1" -eq 1 ]; then
		sh "$one" start "$dir/1" >/dev/null
	else
		sh "$one" start "$dir/$1" "$dir/1" >/dev/null
	fi
}

join() { # N: makes a new node one of node 1's cluster
	{
		ctl "$1" stop_app
		ctl "$1" join_cluster "$(name_of 1)"
		ctl "$1" start_app
	} >"$dir/$1/join.log" 2>&1 || fail "node $1 did not join: $(cat "$dir/$1/join.log")"
	touch "$dir/$1/joined"
}

start() {
	mkdir -p "$dir"
	# A node that sees no majority stops serving, and goes on by itself when it sees one again.
	echo "cluster_partition_handling = pause_minority" >"$dir/more.conf"
	export MR_RABBITMQ_MORE_CONF="$dir/more.conf"
	# A quorum queue offers a dead letter that its target refused again after this time, which is three minutes by default.
	for n in 1 2 3; do
		mkdir -p "$dir/$n"
		echo '[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].' >"$dir/$n/advanced.config"
	done
	up 1
	up 2 &
	second=$!
	# Both are waited for, also where one fails: stop must find what was started.
	up 3 || third_failed=yes
	wait "$second"
	[ -z "${third_failed:-}" ] || fail "node 3 did not start"
	for n in 2 3; do [ -f "$dir/$n/joined" ] || join "$n"; done
	{
		echo "export MR_CLUSTER_DIR='$dir'"
		for n in 1 2 3; do echo "export MR_CLUSTER_PORT_$n=$(port_of "$n")"; done
	} >"$dir/env"
}

# Node 1 last: the name server is its.
stop() { for n in 3 2 1; do [ ! -d "$dir/$n" ] || sh "$one" stop "$dir/$n"; done; }

signal() { # NAME N
	[ -s "$dir/$2/pid" ] || fail "node $2 does not run"
	kill "-$1" "$(cat "$dir/$2/pid")"
}

gone() { # N: waits for the end of a killed process
	tries=100
	while kill -0 "$(cat "$dir/$1/pid")" 2>/dev/null && [ "$tries" -gt 0 ]; do
		tries=$((tries - 1))
		sleep 0.1 # between two looks
	done
}

revive() {
	if kill -0 "$(cat "$dir/$1/pid" 2>/dev/null)" 2>/dev/null; then
		signal CONT "$1"
	else
		up "$1"
	fi
}

# Erlang's nodes talk only to those with their cookie. With another one for the rest a node is alone, and its clients notice
# nothing of the network.
# All at once: Erlang 25 would part the other two as well if it saw one of them go first.
each_other() { # N FUNCTION: Erlang's call of it for each other node, in one expression
	# shellcheck disable=SC2046 # two numbers
	set -- "$1" "$2" $(others "$1")
	ctl "$1" eval "lists:foreach(fun(N) -> $2 end, ['$(name_of "$3")', '$(name_of "$4")'])." >/dev/null
}

part() {
	each_other "$1" "erlang:set_cookie(N, apart)"
	each_other "$1" "erlang:disconnect_node(N)"
}

heal() {
	each_other "$1" "erlang:set_cookie(N, '$(cat "$dir/$1/home/.erlang.cookie")')"
	each_other "$1" "net_kernel:connect_node(N)"
}

[ $# -ge 2 ] || usage
command=$1
case $2 in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
shift 2
case $command in
start) start ;;
stop) stop ;;
kill)
	signal KILL "$1"
	gone "$1"
	;;
revive) revive "$1" ;;
freeze) signal STOP "$1" ;;
part) part "$1" ;;
heal) heal "$1" ;;
drain) sh "$one" upgrade "$dir/$1" drain ;;
undrain) sh "$one" upgrade "$dir/$1" revive ;;
ctl) ctl "$@" ;;
*) usage ;;
esac
