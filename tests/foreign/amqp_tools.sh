#!/bin/sh
# amqp_tools.sh: what the tools of rabbitmq-c see of a broker.
# SPDX-License-Identifier: MIT
#
#   amqp_tools.sh URL
#
# Prints "ok - what" or "not ok - what: why" for each check; fails when one did, or after 30 s.
set -u

url=${1:?usage: amqp_tools.sh URL}
if [ -z "${AMQP_TOOLS_BOUNDED:-}" ]; then
	AMQP_TOOLS_BOUNDED=yes timeout 30 sh "$0" "$url"
	status=$?
	[ $status != 124 ] || echo "not ok - amqp-tools: still at work after 30 s"
	exit $status
fi

queue=foreign-tools-$$
failed=0
work=$(mktemp -d)
trap 'amqp-delete-queue --url="$url" -q "$queue" >/dev/null 2>&1; rm -rf "$work"' EXIT
trap 'exit 143' TERM

check() { # WHAT WANTED GOT
	if [ "$2" = "$3" ]; then
		echo "ok - amqp-tools: $1"
	else
		echo "not ok - amqp-tools: $1: wanted '$2', got '$3'"
		failed=1
	fi
}

# Runs a tool; its output and its exit code, when that is not 0, are the result.
tool() {
	name=$1
	shift
	"amqp-$name" --url="$url" "$@" 2>"$work/err" </dev/null || printf 'exit %s' $?
}

# Takes a message, waiting until there is one.
get() {
	until amqp-get --url="$url" -q "$queue" 2>/dev/null; do sleep 0.05; done
}

check "declares a queue" "$queue" "$(tool declare-queue -q "$queue")"
[ $failed = 0 ] || exit 1 # nothing else could go well
check "declares it again" "$queue" "$(tool declare-queue -q "$queue")"
tool declare-queue -q "$queue" -d >/dev/null
case $(cat "$work/err") in
*406*PRECONDITION_FAILED*durable*) check "is told that the queue is another" yes yes ;;
*) check "is told that the queue is another" "a 406" "$(cat "$work/err")" ;;
esac
check "finds an empty queue" "exit 2" "$(tool get -q "$queue")"

check "publishes" "" "$(tool publish -r "$queue" -C text/plain -p -H 'x-one: 1' -b 'hello world')"
check "gets what was published" "hello world" "$(get)"
check "finds the queue empty then" "exit 2" "$(tool get -q "$queue")"

head -c 300000 /dev/zero | tr '\0' m >"$work/big"
amqp-publish --url="$url" -r "$queue" <"$work/big"
get >"$work/back"
check "carries 300000 bytes" same "$(cmp "$work/big" "$work/back" && echo same)"

printf 'one\ntwo\nthree\n' | amqp-publish --url="$url" -r "$queue" -l
check "consumes and acks in order, one at a time" "one two three " \
	"$(tool consume -q "$queue" -c 3 -p 1 tr '\n' ' ')"
check "has acked all of it" "exit 2" "$(tool get -q "$queue")"

tool publish -r "$queue" -b "again" >/dev/null
tool consume -q "$queue" -c 1 sh -c 'cat >/dev/null; exit 1' >/dev/null
check "gets back what a consumer did not ack" "again" "$(get)"

tool publish -r "$queue" -b "unacked" >/dev/null
check "consumes without acks" "unacked" "$(tool consume -q "$queue" -A -c 1 cat)"

# The tool does not tell when it has bound its queue, so publish until it has got one.
amqp-consume --url="$url" -e amq.topic -r "$queue.*" -c 1 cat >"$work/topic" 2>/dev/null &
consumer=$!
while kill -0 $consumer 2>/dev/null; do
	tool publish -e amq.topic -r "$queue.key" -b "by topic" >/dev/null
	sleep 0.05
done
wait $consumer
check "binds to an exchange and gets what is routed" "0 by topic" "$? $(cat "$work/topic")"

tool publish -r "$queue" -b "left" >/dev/null
tool delete-queue -q "$queue" -e >/dev/null
case $(cat "$work/err") in
*406*"not empty"*) check "does not delete a queue that is not empty, if told so" yes yes ;;
*) check "does not delete a queue that is not empty, if told so" "a 406" "$(cat "$work/err")" ;;
esac
check "deletes the queue, and is told what was in it" "1" "$(tool delete-queue -q "$queue")"
tool get -q "$queue" >/dev/null
case $(cat "$work/err") in
*404*"NOT_FOUND - no queue '$queue' in vhost '/'"*) check "is told that the queue is gone" yes yes ;;
*) check "is told that the queue is gone" "a 404" "$(cat "$work/err")" ;;
esac
exit $failed
