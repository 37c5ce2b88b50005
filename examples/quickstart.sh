#!/bin/sh
# quickstart.sh: from a bare Debian 12 to messages going through a Lua consumer, in one command.
# SPDX-License-Identifier: MIT
#
#   sh examples/quickstart.sh
#
# Installs what is missing (root only), builds, starts a private RabbitMQ on the loopback interface,
# runs examples/hello_consumer.lua and examples/hello_publisher.lua on it, stops the consumer
# gracefully and cleans up. No system service is used or touched.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=examples/setup.sh
. examples/setup.sh
consumer=""
place=""
patience=30 # seconds that any one step may take

cleanup() {
	trap '' INT TERM HUP
	[ -z "$consumer" ] || kill -KILL "$consumer" 2>/dev/null || :
	[ -z "$place" ] || {
		sh tests/support/rabbitmq.sh stop "$place/rabbitmq" || :
		rm -rf "$place"
	}
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { echo "==> $*"; }

fail() {
	echo "quickstart: $*" >&2
	if [ -n "$place" ] && [ -s "$place/consumer" ]; then
		echo "quickstart: the consumer said:" >&2
		sed 's/^/    /' "$place/consumer" >&2
	fi
	exit 1
}

ask_rabbitmq() { sh tests/support/rabbitmq.sh ctl "$place/rabbitmq" -q "$@"; }

# wait_for TEXT COMMAND...: repeats a command until it succeeds, while the consumer is alive.
wait_for() {
	what=$1
	shift
	end=$(($(date +%s) + patience))
	until "$@"; do
		kill -0 "$consumer" 2>/dev/null || fail "the consumer ended while waiting for $what"
		[ "$(date +%s)" -lt "$end" ] || fail "waited $patience s in vain for $what"
		sleep 0.2
	done
}

has_consumer() { [ -n "$(ask_rabbitmq list_consumers --no-table-headers consumer_tag)" ]; }

# Nothing ready and nothing unacknowledged in any queue.
all_consumed() {
	ask_rabbitmq list_queues --no-table-headers messages |
		awk '{ n += $1 } END { exit NR == 0 || n > 0 }'
}

# --- Set up -----------------------------------------------------------------------------------

setup_packages quickstart
setup_build release
command=${setup_build_root#"$root/"}/release/bin/moonrabbit
[ -x "$command" ] || fail "the build made no $command"
for file in examples/hello_consumer.lua examples/hello_publisher.lua; do
	[ -f "$file" ] || fail "$file is missing"
done

say "starting a private RabbitMQ on a free port of 127.0.0.1"
place=$(mktemp -d "$setup_build_root/quickstart.XXXXXX")
echo "\$ sh tests/support/rabbitmq.sh start ${place#"$root/"}/rabbitmq"
port=$(sh tests/support/rabbitmq.sh start "$place/rabbitmq") || fail "RabbitMQ did not start"
AMQP_URL=amqp://guest:guest@127.0.0.1:$port/%2f
export AMQP_URL
unset MOONRABBIT_LIBRARY LUA_PATH LUA_CPATH LUA_INIT
echo "\$ export AMQP_URL=$AMQP_URL"

# --- The main job -----------------------------------------------------------------------------

say "a consumer in the background"
echo "\$ $command run examples/hello_consumer.lua &"
"$command" run examples/hello_consumer.lua </dev/null >"$place/consumer" 2>&1 &
consumer=$!
wait_for "the consumer to consume" has_consumer

say "a publisher"
echo "\$ $command run examples/hello_publisher.lua"
timeout "$patience" "$command" run examples/hello_publisher.lua </dev/null ||
	fail "the publisher ended with code $?"
wait_for "the messages to be consumed" all_consumed

say "stopping the consumer: it finishes what it has, then ends"
echo "\$ kill -TERM $consumer"
kill -TERM "$consumer"
( # so that the wait below ends
	end=$(($(date +%s) + patience))
	while kill -0 "$consumer" 2>/dev/null; do
		if [ "$(date +%s)" -ge "$end" ]; then kill -KILL "$consumer"; fi
		sleep 0.2
	done
) &
code=0
wait "$consumer" || code=$?
consumer_was=$consumer
consumer=""
echo "--- what the consumer (process $consumer_was) said:"
cat "$place/consumer"
[ "$code" -eq 0 ] || fail "the consumer ended with code $code instead of 0"
echo "--- it ended with code 0"

say "stopping RabbitMQ"
echo "\$ sh tests/support/rabbitmq.sh stop ${place#"$root/"}/rabbitmq"
sh tests/support/rabbitmq.sh stop "$place/rabbitmq"

cat <<END
==> It works. Next:
    README.md                       what Moonrabbit is, and a consumer in 15 lines
    examples/                       scripts to start from: run them with
                                      AMQP_URL=amqp://user:password@host/vhost $command run SCRIPT
    docs/api.md                     every function
    sh tests/run.sh                 all tests
    cmake --install ${setup_build_root#"$root/"}/release --prefix /usr/local
END
