#!/bin/sh
# served.sh: rabbitmq-c and Moonrabbit against `moonrabbit broker`, in turn; prints medians and their ratio.
# SPDX-License-Identifier: MIT
#
#   sh tests/bench/served.sh [ROUNDS]   5 rounds: consume with acks and publish over TLS 1.3, bodies of 100 bytes and of 64 KiB,
#                                       and one confirmed publish after another on TCP
#
# The broker is the same for both, and is what bounds the rates: what counts is the processor's time of the client, and the
# time of a confirmed publish.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"
cd "$(dirname "$0")/../.."
rounds=${1:-5}
# shellcheck source=tests/bench/own.sh
. tests/bench/own.sh
: "${tree:?}" "${peer:?}" "${root:?}" "${out:?}" "${moonrabbit:?}"

dir=$(mktemp -d /tmp/moonrabbit-bench.XXXXXX)
broker=""
end() {
	[ -z "$broker" ] || kill "$broker"
	rm -rf "$dir"
}
trap end EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
	-addext subjectAltName=DNS:localhost -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl.log"
gcc -std=c11 -D_GNU_SOURCE -O2 -o "$dir/client_rabbitmqc" tests/bench/client_rabbitmqc.c tests/bench/client_util.c -lrabbitmq
serve() { # ARG...: sets port
	"$moonrabbit" broker --log-level warn --listen 127.0.0.1:0 "$@" >"$dir/broker.out" &
	broker=$!
	until grep -q '^Serving' "$dir/broker.out"; do sleep 0.05; done
	port=$(sed -n 's/^Serving .*127.0.0.1:\([0-9]*\);.*/\1/p' "$dir/broker.out")
}
serve --tls-cert "$dir/cert.pem" --tls-key "$dir/key.pem"
export BENCH_CA="$dir/cert.pem"

cat >"$dir/fill.lua" <<'END'
local mr = require "moonrabbit"
local port, size, count = unpack(mr.args)
local ch = assert(mr.connect(("amqps://guest:guest@localhost:%s/?ssl_options.ca_certs=%s"):format(port, os.getenv "BENCH_CA")):channel())
assert(ch:queue_declare { queue = "bench" })
assert(ch:confirm_select())
local body = ("x"):rep(tonumber(size))
for _ = 1, tonumber(count) do assert(ch:publish_async("", "bench", body, { persistent = false })) end
assert(ch:wait_for_confirms(60))
END
cat >"$dir/delete.lua" <<'END'
local mr = require "moonrabbit"
local url = ("amqps://guest:guest@localhost:%s/?ssl_options.ca_certs=%s"):format(mr.args[1], os.getenv "BENCH_CA")
assert(assert(mr.connect(url):channel()):queue_delete { queue = "bench" })
END

once() { # CLIENT MODE BODY COUNT
	if [ "$2" = consume ]; then "$moonrabbit" run --log-level warn "$dir/fill.lua" "$port" "$3" "$4"; fi
	case $1 in
	rabbitmq-c) "$dir/client_rabbitmqc" "$2" "$port" "$3" "$4" ;;
	*) "$moonrabbit" run --log-level warn tests/bench/client_moonrabbit.lua "$2" "$port" "$3" "$4" "${1#moonrabbit-}" ;;
	esac >"$dir/result"
	if [ "$2" = consume ]; then "$moonrabbit" run --log-level warn "$dir/delete.lua" "$port"; fi
	for what in cpu_us_per_msg rate median_us; do field $what "$dir/result" >>"$dir/$1.$2.$3.$what"; done
}

of() { median <"$dir/$1.$2.$3.$4"; } # CLIENT MODE BODY FIELD
row() { # CLIENT MODE BODY
	awk -v name="$2 $3, $1" -v cpu="$(of "$1" "$2" "$3" cpu_us_per_msg)" -v peer="$(of rabbitmq-c "$2" "$3" cpu_us_per_msg)" \
		-v rate="$(of "$1" "$2" "$3" rate)" -v other="$(of rabbitmq-c "$2" "$3" rate)" \
		'BEGIN { printf "%-36s %9.2f %8.2f %11.0f %8.2f\n", name, cpu, cpu / peer, rate, rate / other }'
}

printf '%-36s %9s %8s %11s %8s\n' "" "CPU, us" "ratio" "messages/s" "ratio"
for case in "consume 100 50000" "consume 65536 10000" "publish 100 200000" "publish 65536 10000"; do
	# shellcheck disable=SC2086 # three words
	set -- $case
	clients="rabbitmq-c moonrabbit"
	if [ "$1 $2" = "consume 65536" ]; then clients="$clients moonrabbit-view"; fi
	for _ in $(seq "$rounds"); do
		for client in $clients; do once "$client" "$1" "$2" "$3"; done
	done
	for client in $clients; do row "$client" "$1" "$2"; done
done

kill "$broker"
wait "$broker" || :
unset BENCH_CA
serve
for _ in $(seq "$rounds"); do
	for client in rabbitmq-c moonrabbit; do once "$client" confirm-one 100 20000; done
done
printf '\n%-36s %9s %8s %11s %8s\n' "" "CPU, us" "ratio" "median, us" "ratio"
for client in rabbitmq-c moonrabbit; do
	awk -v name="confirm-one 100, $client" -v cpu="$(of $client confirm-one 100 cpu_us_per_msg)" \
		-v peer="$(of rabbitmq-c confirm-one 100 cpu_us_per_msg)" -v us="$(of $client confirm-one 100 median_us)" \
		-v other="$(of rabbitmq-c confirm-one 100 median_us)" \
		'BEGIN { printf "%-36s %9.2f %8.2f %11.1f %8.2f\n", name, cpu, cpu / peer, us, us / other }'
done
