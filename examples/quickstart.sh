#!/bin/sh
# quickstart.sh: from a bare Debian 12 to messages going through a Lua consumer, in one command.
# SPDX-License-Identifier: MIT
#
#   sh examples/quickstart.sh
#
# Installs what is missing (root only), builds, and runs examples/hello.lua on memory://, the broker
# inside the process. No RabbitMQ is needed, used or touched.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/strict.sh"

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=examples/setup.sh
. examples/setup.sh
patience=30 # seconds that the script may take

fail() {
	echo "quickstart: $*" >&2
	exit 1
}

# --- Set up -----------------------------------------------------------------------------------

setup_packages build
setup_build release
command=${setup_build_root#"$root/"}/release/bin/moonrabbit
[ -x "$command" ] || fail "the build made no $command"
[ -f examples/hello.lua ] || fail "examples/hello.lua is missing"
unset AMQP_URL MOONRABBIT_LIBRARY LUA_PATH LUA_CPATH LUA_INIT

# --- The main job -----------------------------------------------------------------------------

setup_say "a script that publishes and consumes, on the broker inside the process"
echo "\$ AMQP_URL=memory:// $command run examples/hello.lua"
out=$(AMQP_URL=memory:// timeout "$patience" "$command" run examples/hello.lua </dev/null 2>&1) || {
	code=$?
	echo "$out"
	fail "the script ended with code $code"
}
echo "$out"
for i in 1 2 3; do
	echo "$out" | grep -q "^received:  hello number $i\$" || fail "message $i was not received"
done

cat <<END
==> It works. The same script on RabbitMQ:
    \$ AMQP_URL=amqp://guest:guest@localhost $command run examples/hello.lua

    Two programs that talk without RabbitMQ, each line in a terminal of its own:
    \$ $command broker
    \$ AMQP_URL=amqp://localhost $command run examples/hello_consumer.lua
    \$ AMQP_URL=amqp://localhost $command run examples/hello_publisher.lua

==> Next:
    docs/guide.md                   from here to production, in one read
    examples/README.md              more to run: work queue with retries, topics, RPC, a robust consumer
    docs/api.md                     every function
    sh tests/run.sh                 all tests
    cmake --install ${setup_build_root#"$root/"}/release --prefix /usr/local
END
