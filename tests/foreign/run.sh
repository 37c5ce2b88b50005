#!/bin/sh
# run.sh: runs clients that others wrote against a broker; prints a line for each check.
# SPDX-License-Identifier: MIT
#
#   tests/foreign/run.sh URL
#
# MR_BUILD is where the Go client is built (default: .build/foreign). Debian packages: amqp-tools,
# python3-pika, golang-go, golang-github-rabbitmq-amqp091-go-dev.
set -u

url=${1:?usage: run.sh URL}
cd "$(dirname "$0")/../.." || exit 1
here=tests/foreign
build=${MR_BUILD:-.build/foreign}
mkdir -p "$build" || exit 1
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac
failed=0

sh $here/amqp_tools.sh "$url" || failed=1

timeout 35 /usr/bin/python3 -B $here/pika_client.py "$url" || failed=1

if GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$build/gocache" \
	timeout 300 go build -o "$build/go_client" $here/go_client.go >"$build/go.log" 2>&1; then
	timeout 35 "$build/go_client" "$url" || failed=1
else
	sed 's/^/# /' "$build/go.log"
	echo "not ok - amqp091-go: go_client.go does not build"
	failed=1
fi
exit $failed
