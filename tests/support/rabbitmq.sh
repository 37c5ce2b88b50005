#!/bin/sh
# rabbitmq.sh: starts, stops and asks a private RabbitMQ that lives in one directory.
# SPDX-License-Identifier: MIT
#
#   rabbitmq.sh start DIR [WITH]  starts it, waits until it serves, prints the AMQP port; with the name server and the
#                                 cookie of the one in WITH, where that is given (cluster.sh)
#   rabbitmq.sh stop DIR          stops it, also when it hangs or was killed; the data stay
#   rabbitmq.sh ctl DIR ARG...    rabbitmqctl on it; upgrade DIR ARG...: rabbitmq-upgrade
#
# DIR/env is a file to source: MR_RABBITMQ_PORT, _TLS_PORT, _NODE, _URL, _TLS_URL, _CERTS, _DIR.
# DIR/pid holds the process id of the Erlang machine (for kill -STOP and kill -9), DIR/log the logs,
# DIR/tls ca.pem, server.pem, server.key, client.pem, client.key (a certificate is asked for, not required).
# `start` after `stop` or after a kill brings back the same ports, node name and data.
#
# MR_RABBITMQ_MORE_CONF names a file with more lines for rabbitmq.conf.
# Everything listens on 127.0.0.1 only. The name server epmd is a private one as well, and the
# environment is emptied first, so that a system RabbitMQ is neither used nor touched. Any user may run it.
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

bin=${MR_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}
start_seconds=90 # about 4 s on an idle machine; this bounds a busy one
stop_seconds=20

fail() {
	echo "rabbitmq.sh: $*" >&2
	exit 1
}

usage() {
	sed -n '4,8s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# Prints $1 ports that nobody listens on, below the range the kernel gives to outgoing connections.
free_ports() {
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v want="$1" -v seed="$$$(date +%s)" '
		function hex(s,   i, n) {
			for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789ABCDEF", substr(s, i, 1)) - 1
			return n
		}
		$2 ~ /:/ { split($2, part, ":"); used[hex(part[2])] = 1 }
		END {
			srand(seed % 2147483647)
			while (want > 0) {
				port = 15000 + int(rand() * 17000)
				if (!(port in used)) { used[port] = 1; want--; print port }
			}
		}'
}

make_certificates() { # CA, server and client, P-256, valid for ten years
	mkdir -p "$dir/tls"
	cd "$dir/tls"
	[ -f client.pem ] && return 0
	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
			-subj "/CN=Moonrabbit test CA" -keyout ca.key -out ca.pem \
			-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
		make_certificate server serverAuth "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
		make_certificate client clientAuth "subjectAltName=DNS:moonrabbit-client"
	} >"$dir/openssl.log" 2>&1 || fail "openssl made no certificates: $(cat "$dir/openssl.log")"
}

make_certificate() { # NAME USAGE SAN
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
		-keyout "$1.key" -out "$1.csr"
	printf '%s\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$3" "$2" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
		-extfile "$1.ext" -out "$1.tmp"
	mv "$1.tmp" "$1.pem"
	rm -f "$1.csr" "$1.ext"
}

# Decides ports and names once for a directory.
prepare() {
	mkdir -p "$dir/home" "$dir/log" "$dir/mnesia"
	make_certificates
	[ -f "$dir/env" ] && return 0
	# shellcheck disable=SC2046 # four words, one per port
	set -- $(free_ports 4)
	if [ -n "$with" ]; then
		set -- "$1" "$2" "$3" "$(sed -n 's/^export MR_RABBITMQ_EPMD_PORT=//p' "$with/env")"
	fi
	cat >"$dir/rabbitmq.conf" <<END
listeners.tcp.1 = 127.0.0.1:$1
listeners.ssl.1 = 127.0.0.1:$2
ssl_options.cacertfile = $dir/tls/ca.pem
ssl_options.certfile = $dir/tls/server.pem
ssl_options.keyfile = $dir/tls/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
ssl_cert_login_from = common_name
disk_free_limit.absolute = 10MB
log.console = false
$(cat "${MR_RABBITMQ_MORE_CONF:-/dev/null}")
END
	: >"$dir/rabbitmq-env.conf"
	# A minimal system has no /etc/hosts: Erlang's nodes find localhost without one.
	echo '{host, {127,0,0,1}, ["localhost"]}. {lookup, [file, native]}.' >"$dir/inetrc"
	echo '[rabbitmq_auth_mechanism_ssl,rabbitmq_consistent_hash_exchange].' >"$dir/enabled_plugins"
	if [ -n "$with" ]; then
		cp "$with/home/.erlang.cookie" "$dir/home/.erlang.cookie"
	else
		openssl rand -hex 16 >"$dir/home/.erlang.cookie"
	fi
	chmod 400 "$dir/home/.erlang.cookie"
	cat >"$dir/env.new" <<END
export MR_RABBITMQ_DIR='$dir'
export MR_RABBITMQ_PORT=$1
export MR_RABBITMQ_TLS_PORT=$2
export MR_RABBITMQ_DIST_PORT=$3
export MR_RABBITMQ_EPMD_PORT=$4
export MR_RABBITMQ_NODE=mr$1@localhost
export MR_RABBITMQ_URL=amqp://guest:guest@127.0.0.1:$1/%2f
export MR_RABBITMQ_TLS_URL=amqps://guest:guest@localhost:$2/%2f
export MR_RABBITMQ_CERTS='$dir/tls'
END
	mv "$dir/env.new" "$dir/env"
}

load() {
	[ -f "$dir/env" ] || fail "no RabbitMQ was started in $dir"
	# shellcheck disable=SC1091
	. "$dir/env"
}

# Runs a program of RabbitMQ with nothing but the private settings in its environment.
private() {
	program=$1
	shift
	exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 \
		HOME="$dir/home" \
		ERL_EPMD_PORT="$MR_RABBITMQ_EPMD_PORT" \
		ERL_EPMD_ADDRESS=127.0.0.1 \
		ERL_CRASH_DUMP_SECONDS=0 \
		ERL_INETRC="$dir/inetrc" \
		RUNNING_UNDER_SYSTEMD=true \
		RABBITMQ_CONF_ENV_FILE="$dir/rabbitmq-env.conf" \
		RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
		RABBITMQ_ADVANCED_CONFIG_FILE="$dir/advanced.config" \
		RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" \
		RABBITMQ_NODENAME="$MR_RABBITMQ_NODE" \
		RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
		RABBITMQ_NODE_PORT="$MR_RABBITMQ_PORT" \
		RABBITMQ_DIST_PORT="$MR_RABBITMQ_DIST_PORT" \
		RABBITMQ_MNESIA_BASE="$dir/mnesia" \
		RABBITMQ_LOG_BASE="$dir/log" \
		RABBITMQ_PID_FILE="$dir/mnesia/pid" \
		RABBITMQ_CTL_DIST_PORT_MAX=35872 \
		RABBITMQ_CTL_ERL_ARGS="-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}" \
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+B i -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}" \
		"$program" "$@"
}

# Is the process whose id is in file $1 alive, and still the one whose command line holds $2?
runs() {
	[ -s "$1" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$1")/cmdline" | grep -qF -e "$2"
}

start() {
	[ -x "$bin/rabbitmq-server" ] || fail "no $bin/rabbitmq-server: install the package rabbitmq-server"
	command -v openssl >/dev/null || fail "no openssl: install the package openssl"
	prepare
	load
	if runs "$dir/pid" "-home $dir/home "; then
		fail "$MR_RABBITMQ_NODE runs already in $dir (process $(cat "$dir/pid"))"
	fi
	# Former logs would tell of a former start-up.
	rm -f "$dir"/log/*.log "$dir/pid"
	if ! runs "${with:-$dir}/epmd.pid" "-port $MR_RABBITMQ_EPMD_PORT"; then
		(cd / && private setsid epmd -port "$MR_RABBITMQ_EPMD_PORT" -address 127.0.0.1) \
			</dev/null >"$dir/epmd.log" 2>&1 &
		echo $! >"$dir/epmd.pid"
		tries=50
		until ERL_EPMD_PORT=$MR_RABBITMQ_EPMD_PORT epmd -names >/dev/null 2>&1; do
			tries=$((tries - 1))
			[ "$tries" -gt 0 ] || fail "epmd does not answer: $(cat "$dir/epmd.log")"
			sleep 0.1 # between two looks
		done
	fi
	(cd "$dir" && private setsid "$bin/rabbitmq-server") </dev/null >"$dir/log/start" 2>&1 &
	pid=$!
	echo "$pid" >"$dir/pid"
	tries=$((start_seconds * 10))
	until grep -qs "Server startup complete" "$dir"/log/*.log; do
		if ! kill -0 "$pid" 2>/dev/null; then
			tail -n 30 "$dir"/log/* >&2 || :
			stop
			fail "RabbitMQ ended while starting, see above and $dir/log"
		fi
		tries=$((tries - 1))
		if [ "$tries" -le 0 ]; then
			stop
			fail "RabbitMQ was not up after $start_seconds s, see $dir/log"
		fi
		sleep 0.1 # between two looks at the log
	done
	echo "$MR_RABBITMQ_PORT"
}

# Ends the process of file $1, recognised by $2: politely within $3 seconds, then for good.
end() {
	tries=$(($3 * 10))
	if runs "$1" "$2"; then
		pid=$(cat "$1")
		kill -TERM "$pid" 2>/dev/null || :
		kill -CONT "$pid" 2>/dev/null || : # it may have been stopped
		while [ "$tries" -gt 0 ] && runs "$1" "$2"; do
			tries=$((tries - 1))
			sleep 0.1
		done
		runs "$1" "$2" && kill -KILL "$pid" 2>/dev/null
	fi
	rm -f "$1"
}

stop() {
	[ -f "$dir/env" ] || return 0
	load
	end "$dir/pid" "-home $dir/home " "$stop_seconds"
	end "$dir/epmd.pid" "-port $MR_RABBITMQ_EPMD_PORT" 2
}

[ $# -ge 2 ] || usage
command=$1
with=""
case $2 in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
shift 2
case $command in
start)
	with=${1:-}
	start
	;;
stop) stop ;;
ctl | upgrade)
	load
	# Without a name server these programs would leave one of their own behind.
	ERL_EPMD_PORT=$MR_RABBITMQ_EPMD_PORT epmd -names >/dev/null 2>&1 || fail "RabbitMQ of $dir is stopped"
	cd "$dir"
	program=rabbitmqctl
	[ "$command" = ctl ] || program=rabbitmq-upgrade
	private "$bin/$program" -n "$MR_RABBITMQ_NODE" "$@"
	;;
*) usage ;;
esac
