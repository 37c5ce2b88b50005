# redis_place.sh: what the scripts that run a Redis need of a place: free ports and certificates. To be sourced; `fail` ends the script.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh

# Prints so many ports that nobody listens on, below the range the kernel gives to outgoing connections.
free_ports() { # COUNT
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v seed="$$$(date +%s)" -v count="$1" '
		{ split($2, part, ":"); used[part[2]] = 1 }
		END {
			srand(seed % 2147483647)
			while (want < count) {
				port = 15000 + int(rand() * 17000)
				name = sprintf("%04X", port)
				if (!(name in used)) { used[name] = 1; want++; print port }
			}
		}'
}

# A CA and a server of localhost and 127.0.0.1, P-256, valid for ten years: ca.pem, server.pem, server.key in a folder.
make_certificates() { # FOLDER
	mkdir -p "$1"
	[ -f "$1/server.pem" ] && return 0
	(
		cd "$1"
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
			-subj "/CN=Moonrabbit test CA" -keyout ca.key -out ca.pem \
			-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=server" \
			-keyout server.key -out server.csr
		printf '%s\n' "subjectAltName=DNS:localhost,IP:127.0.0.1" "extendedKeyUsage=serverAuth" \
			"basicConstraints=CA:FALSE" >server.ext
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 \
			-extfile server.ext -out server.tmp
		mv server.tmp server.pem
		rm -f server.csr server.ext
	) >"$1/openssl.log" 2>&1 || fail "openssl made no certificates: $(cat "$1/openssl.log")"
}
