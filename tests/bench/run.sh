#!/bin/sh
# run.sh: builds the bench, runs every client against the load peer (round trips, single confirms and streams: against
# a private RabbitMQ), in alternation, and hands the results to report.lua.
# SPDX-License-Identifier: MIT
#
#   sh tests/bench/run.sh [--quick] [--rounds N] [--only MODE,...] [--clients NAME,...]
#                         [--bodies BYTES,...] [--share N] [--times N] [--docs]
#
# Modes: consume consume-noack publish publish-confirm rtt confirm-one stream mem idle
# Clients: rabbitmq-c rabbitmq-c-1core amqp091-go pika rabbitmq-java amqplib drain moonrabbit moonrabbit-1core
# moonrabbit-view (bodies by msg:view(), from 1 KiB on) moonrabbit-busy (latencies with mr.busy_poll). -1core: the client and
# the peer share one core.
# Everything goes to .build/bench: runs.tsv (raw), results.json, table.md. A complete run also puts the
# tables into docs/performance.md and draws the pictures of docs anew (figure.lua); --docs does that for a partial
# one. The latencies are a block of their own there: `--only rtt,confirm-one --docs` measures them alone, and leaves
# the other tables as they are. --share N: every run N times shorter, --times N: longer. About half an hour; --quick 4. A client that cannot be built here is named, and its rows are left out.
# MOONRABBIT=PATH uses that command instead of building one.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
cd "$(dirname "$0")/../.."
root=$PWD
# shellcheck source=examples/setup.sh
. examples/setup.sh

here=tests/bench
out=.build/bench
rounds=5
share=1 times=1 # a run does times/share of its messages
modes="consume consume-noack publish publish-confirm rtt confirm-one stream mem idle"
clients="rabbitmq-c rabbitmq-c-1core amqp091-go pika rabbitmq-java amqplib drain moonrabbit moonrabbit-view moonrabbit-busy moonrabbit-1core"
bodies="16 100 1024 65536"
docs=auto
failures=0
rabbitmq_up=
jars=/usr/share/java/amqp-client.jar:/usr/share/java/slf4j-api.jar:/usr/share/java/slf4j-nop.jar
amqplib_version=2.3.1

usage() {
	sed -n '6,7s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

has() { # WORD in LIST...?
	word=$1
	shift
	case " $* " in *" $word "*) return 0 ;; esac
	return 1
}

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		--quick)
			rounds=2 share=5 docs=never bodies="100"
			shift
			continue
			;;
		--docs)
			docs=always
			shift
			continue
			;;
		esac
		[ $# -ge 2 ] || usage
		list=$(echo "$2" | tr ',' ' ')
		case $1 in
		--rounds) rounds=$2 ;;
		--share) share=$2 ;;
		--times) times=$2 ;;
		--only) modes=$list ;;
		--clients) clients=$list ;;
		--bodies) bodies=$list ;;
		*) usage ;;
		esac
		[ $docs = always ] || docs=never
		shift 2
	done
}

build_clients() {
	flags="-std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror"
	# shellcheck disable=SC2086 # flags are words
	{
		gcc $flags -o $out/load_peer $here/load_peer.c $here/peer_*.c
		gcc $flags -o $out/client_drain $here/client_drain.c $here/client_util.c $here/peer_wire.c
		gcc $flags -o $out/client_rabbitmqc $here/client_rabbitmqc.c $here/client_util.c -lrabbitmq
	}
	GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$PWD/$out/gocache" \
		go build -o $out/client_go $here/client_go.go
}

leave_out() { # CLIENT WHY
	echo "run.sh: $2: the rows of $1 are left out" >&2
	clients=$(echo " $clients " | sed "s/ $1 / /")
	[ $docs = always ] || docs=never
}

# Debian's packages, which nothing but the bench needs.
build_java() {
	has rabbitmq-java "$clients" || return 0
	mkdir -p $out/java
	if ! setup_packages bench-java; then
		leave_out rabbitmq-java "the Java client's packages are missing"
	elif ! javac -Xlint:all -cp "$jars" -d $out/java $here/client_java.java >$out/java.log 2>&1; then
		leave_out rabbitmq-java "client_java.java does not compile (see $out/java.log)"
	fi
}

# amqplib is not in Debian: npm fetches it.
build_node() {
	has amqplib "$clients" || return 0
	if ! { command -v node && command -v npm; } >/dev/null && ! setup_packages bench-node; then
		leave_out amqplib "node or npm is missing"
	elif ! npm install --prefix $out/node --ignore-scripts --no-audit --no-fund amqplib@$amqplib_version >$out/node.log 2>&1; then
		leave_out amqplib "npm cannot install amqplib (see $out/node.log)"
	fi
}

build_moonrabbit() {
	has moonrabbit "$clients" || return 0
	moonrabbit=${MOONRABBIT:-$out/cmake/bin/moonrabbit}
	if [ -z "${MOONRABBIT:-}" ]; then
		{ cmake -S . -B $out/cmake && cmake --build $out/cmake --parallel; } >$out/cmake.log 2>&1 || :
	fi
	if [ ! -x "$moonrabbit" ]; then
		leave_out moonrabbit "there is no command moonrabbit (see $out/cmake.log)"
	fi
}

fact() { # KEY COMMAND...: one line of facts.tsv
	key=$1
	shift
	value=$("$@" 2>/dev/null | head -n 1) || :
	printf '%s\t%s\n' "$key" "${value:-unknown}" >>$out/facts.tsv
}

facts() {
	: >$out/facts.tsv
	fact date date -u +%Y-%m-%d
	fact cpu sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo
	fact cores nproc
	fact kernel uname -r
	fact load cut -d ' ' -f 1 /proc/loadavg
	fact commit git rev-parse --short HEAD
	fact gcc gcc -dumpfullversion
	# shellcheck disable=SC2016 # dpkg-query's own variables
	for package in librabbitmq4 golang-github-rabbitmq-amqp091-go-dev python3-pika libluajit-5.1-2 rabbitmq-server; do
		fact "$package" dpkg-query -W -f '${Version}\n' "$package"
	done
	fact go go env GOVERSION
	fact python /usr/bin/python3 -c 'import platform; print(platform.python_version())'
	if has rabbitmq-java "$clients"; then
		# shellcheck disable=SC2016 # dpkg-query's own variable
		fact librabbitmq-client-java dpkg-query -W -f '${Version}\n' librabbitmq-client-java
		fact java java --version
	fi
	if has amqplib "$clients"; then
		fact amqplib node -p "require('./$out/node/node_modules/amqplib/package.json').version"
		fact node node --version
	fi
	if has moonrabbit "$clients"; then fact moonrabbit "$moonrabbit" version; fi
}

# Messages of one run, for about a second: thousands at small bodies, at 1 KiB, at 64 KiB.
count() { # CLIENT MODE BODY
	case $1/$2 in
	*/rtt | */confirm-one) echo $((5000 * times / share)) && return ;;
	*/stream*) echo $((1000000 * times / share)) && return ;;
	*/mem) echo $((20000000 * times / share)) && return ;;
	*/idle) echo 1000 && return ;;
	rabbitmq-c*/consume) set -- "$3" 300 250 50 ;;
	rabbitmq-c*/consume-noack) set -- "$3" 4000 1500 50 ;;
	rabbitmq-c*/publish*) set -- "$3" 200 120 40 ;;
	amqp091-go/consume) set -- "$3" 180 120 15 ;;
	amqp091-go/consume-noack) set -- "$3" 600 350 20 ;;
	amqp091-go/publish*) set -- "$3" 80 70 20 ;;
	pika/consume) set -- "$3" 40 40 10 ;;
	pika/consume-noack) set -- "$3" 150 120 12 ;;
	pika/publish) set -- "$3" 35 35 20 ;;
	pika/publish-confirm) set -- "$3" 12 12 10 ;;
	rabbitmq-java/consume) set -- "$3" 100 80 8 ;;
	rabbitmq-java/consume-noack) set -- "$3" 150 120 8 ;;
	rabbitmq-java/publish*) set -- "$3" 100 80 8 ;;
	amqplib/consume) set -- "$3" 100 80 8 ;;
	amqplib/consume-noack) set -- "$3" 500 300 8 ;;
	amqplib/publish*) set -- "$3" 80 60 8 ;;
	drain/consume*) set -- "$3" 10000 4000 80 ;;
	drain/publish*) set -- "$3" 10000 3000 50 ;;
	moonrabbit*/consume*) set -- "$3" 2000 1000 50 ;;
	moonrabbit*/publish) set -- "$3" 1000 700 40 ;;
	*) set -- "$3" 500 400 40 ;;
	esac
	if [ "$1" -lt 1024 ]; then
		echo $(($2 * 1000 * times / share))
	elif [ "$1" -lt 16384 ]; then
		echo $(($3 * 1000 * times / share))
	elif [ "$1" -gt 65536 ]; then # as many bytes as of 64 KiB
		echo $(($4 * 1000 * times / share * 65536 / $1))
	else
		echo $(($4 * 1000 * times / share))
	fi
}

# Runs the client and leaves its line in $out/client.json.
client() { # CLIENT MODE PORT BODY MESSAGES
	name=$1
	shift
	case $name in
	rabbitmq-c) set -- $out/client_rabbitmqc "$@" ;;
	rabbitmq-c-1core) set -- taskset -c 0 $out/client_rabbitmqc "$@" ;;
	amqp091-go) set -- $out/client_go "$@" ;;
	rabbitmq-java) set -- java -cp "$out/java:$jars" ClientJava "$@" ;;
	amqplib) set -- env NODE_PATH=$out/node/node_modules node $here/client_node.js "$@" ;;
	pika) set -- /usr/bin/python3 $here/client_pika.py "$@" ;;
	drain) set -- $out/client_drain "$@" ;;
	moonrabbit) set -- "$moonrabbit" run $here/client_moonrabbit.lua "$@" ;;
	moonrabbit-view) set -- "$moonrabbit" run $here/client_moonrabbit.lua "$@" view ;;
	moonrabbit-busy) set -- "$moonrabbit" run $here/client_moonrabbit.lua "$@" busy ;;
	moonrabbit-1core) set -- taskset -c 0 "$moonrabbit" run $here/client_moonrabbit.lua "$@" ;;
	*) usage ;;
	esac
	limit=$((60 * times)) # seconds; a run takes about one
	[ "$mode" != mem ] || limit=$((300 * times))
	status=0
	timeout $limit "$@" >$out/client.json 2>$out/client.err || status=$?
	[ $status != 124 ] || echo "the client was still running after $limit s" >>$out/client.err
	return $status
}

record() { # CLIENT ROUND WHAT
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$(tail -n 1 $out/client.json)" "$(tail -n 1 $out/peer.json)" >>$out/runs.tsv
	echo "$3: $(tail -n 1 $out/client.json | sed 's/,"trips_us":\[.*\]//; s/, "trips_us": \[.*\]//')"
}

failed() { # CLIENT MODE BODY ROUND: the report names it, so that nobody takes four runs for five
	failures=$((failures + 1))
	printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>$out/failures.tsv
	echo "run.sh: FAILED: round $4, $1, $2, $3 bytes" >&2
	cat $out/client.err $out/peer.err >&2
}

against_peer() { # CLIENT MODE BODY ROUND
	name=$1 mode=$2 body=$3 round=$4
	messages=$(count "$name" "$mode" "$body")
	pin=
	case $name in *-1core) pin="taskset -c 0" ;; esac
	: >$out/peer.json
	# shellcheck disable=SC2086 # pin is words, or none
	$pin $out/load_peer --once --body "$body" --messages "$messages" >$out/peer.json 2>$out/peer.err &
	peer=$!
	until grep -q '^port ' $out/peer.json; do
		kill -0 $peer || exit 1
		sleep 0.01
	done
	port=$(sed -n 's/^port //p' $out/peer.json)
	what="round $round, $name"
	good=yes
	client "$name" "$mode" "$port" "$body" "$messages" || good=
	[ -n "$good" ] || kill $peer 2>/dev/null || :
	wait $peer || good=
	if [ -n "$good" ]; then record "$name" "$round" "$what"; else failed "$name" "$mode" "$body" "$round"; fi
}

# A stream of as many messages as a run reads; made by our own command.
fill_stream() {
	[ -n "$rabbitmq_up" ] || start_rabbitmq
	client moonrabbit stream-fill "$MR_RABBITMQ_PORT" 100 "$(count moonrabbit stream 100)" || cat $out/client.err >&2
}

against_rabbitmq() { # CLIENT MODE ROUND
	[ -n "$rabbitmq_up" ] || start_rabbitmq
	name=$1 mode=$2 round=$3
	echo '{}' >$out/peer.json
	: >$out/peer.err
	if client "$name" "$mode" "$MR_RABBITMQ_PORT" 100 "$(count "$name" "$mode" 100)"; then
		record "$name" "$round" "round $round, $name"
	else
		failed "$name" "$mode" 100 "$round"
	fi
}

start_rabbitmq() {
	sh tests/support/rabbitmq.sh start $out/rabbitmq >/dev/null
	rabbitmq_up=yes
	# shellcheck disable=SC1090,SC1091
	. ./$out/rabbitmq/env
}

stop_rabbitmq() {
	[ -z "$rabbitmq_up" ] || sh tests/support/rabbitmq.sh stop $out/rabbitmq
	rabbitmq_up=
}

wanted() { # CLIENT MODE BODY: does it take part?
	case $1/$2 in
	moonrabbit/*) return 0 ;;
	rabbitmq-c/stream) return 0 ;;
	moonrabbit-view/consume*) [ "$3" -ge 1024 ] ;;
	moonrabbit-busy/rtt | moonrabbit-busy/confirm-one) return 0 ;;
	moonrabbit-1core/consume | moonrabbit-1core/publish*) [ "$3" = 100 ] ;;
	moonrabbit-*) return 1 ;;
	*/stream | */mem | */idle | drain/rtt | drain/confirm-one) return 1 ;;
	rabbitmq-c-1core/rtt | rabbitmq-c-1core/confirm-one | rabbitmq-c-1core/consume-noack) return 1 ;;
	rabbitmq-c-1core/*) [ "$3" = 100 ] ;; # shows what the scheduler does to the yardstick
	esac
}

run_mode() { # MODE
	mode=$1 mode_bodies=$bodies mode_rounds=$rounds
	if has "$mode" rtt confirm-one stream mem idle; then mode_bodies=100; fi
	if has "$mode" stream; then fill_stream; fi
	if has "$mode" mem idle; then mode_rounds=1; fi
	for body in $mode_bodies; do
		echo "--- $mode, $body bytes"
		for round in $(seq "$mode_rounds"); do
			for name in $clients; do
				wanted "$name" "$mode" "$body" || continue
				if has "$mode" rtt confirm-one stream; then
					against_rabbitmq "$name" "$mode" "$round"
				else
					against_peer "$name" "$mode" "$body" "$round"
				fi
			done
		done
	done
}

parse "$@"
mkdir -p $out
# shellcheck disable=SC3045 # dash and bash have it
ulimit -n 4096 # idle has 1000 sockets
build_clients
build_java
build_node
build_moonrabbit
facts
/usr/bin/python3 $here/check_peer.py $out/load_peer
: >$out/runs.tsv
: >$out/failures.tsv
trap stop_rabbitmq EXIT
for mode in $modes; do run_mode "$mode"; done
stop_rabbitmq

page=
[ $docs = never ] || page=docs/performance.md
luajit $here/report.lua $out $page
[ -z "$page" ] || luajit $here/figure.lua .
[ $failures = 0 ] || echo "run.sh: $failures runs failed" >&2
[ $failures = 0 ]
