#!/bin/sh
# setup.sh: installs the Debian packages that are missing and builds Moonrabbit below .build/.
# SPDX-License-Identifier: MIT
#
#   sh examples/setup.sh         packages for building and running, then a release build
#
# quickstart.sh, tests/run.sh and tests/bench/run.sh source it for its two functions, with `root` set to the repository:
#   setup_packages build|tests|bench-java|bench-node
#   setup_build NAME [CMAKE-OPTION...]       builds .build/NAME; only what changed
#
# It installs only missing packages, and never starts a service: rabbitmq-server, redis-server and
# prometheus are installed for their files, and their services are left switched off. MR_BUILD moves .build elsewhere.

packages_build="cmake gcc libc6-dev make pkgconf luajit libluajit-5.1-dev librabbitmq-dev libev-dev
	libssl-dev libc-ares-dev libmicrohttpd-dev libhiredis-dev libjansson-dev lua-argparse lua-cjson lua-inspect libedit2 libncursesw6"
# The programs that embed it in the tests. nginx is not among them: its Lua wants another LuaJIT (tests/support/nginx.sh).
packages_hosts="g++ libpcre2-dev zlib1g-dev curl wrk love zip xvfb xauth imagemagick libsdl2-dev libuv1-dev libglib2.0-dev neovim lua-luv tarantool
	lua5.1 lua5.4"
packages_tests="$packages_build debootstrap locales rabbitmq-server redis-server python3-kombu python3-redis python3-celery openssl ninja-build libcmocka-dev lua-busted lua-check clang-14
	clang-format-14 libclang-rt-14-dev pmccabe valgrind strace amqp-tools python3-pika
	golang-go golang-github-rabbitmq-amqp091-go-dev iproute2 procps python3 prometheus
	dpkg-dev file lintian luarocks zsh fish tmux chromium
	$packages_hosts"
# Clients that tests/bench compares, and the tests do not need.
packages_bench_java="default-jdk-headless librabbitmq-client-java"
packages_bench_node="nodejs npm"

setup_say() { echo "==> $*"; }

setup_missing() { # prints those of its arguments that are not installed
	# It fails as soon as one of the packages is unknown to the machine, and prints the others all the same.
	installed=$(dpkg-query -W -f '${Package}=${db:Status-Status} ' "$@" 2>/dev/null) || :
	for package in "$@"; do
		case " $installed " in
		*" $package=installed "*) ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

setup_packages() {
	if ! command -v dpkg-query >/dev/null; then
		setup_say "not a Debian system: taking for granted what README.md lists"
		return 0
	fi
	case $1 in
	build) wanted=$packages_build ;;
	tests) wanted=$packages_tests ;;
	bench-java) wanted=$packages_bench_java ;;
	bench-node) wanted=$packages_bench_node ;;
	*)
		echo "setup_packages: no set '$1'" >&2
		return 1
		;;
	esac
	# shellcheck disable=SC2086 # lists of words
	missing=$(setup_missing $wanted)
	[ -z "$missing" ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		echo "Packages are missing. As root, run:" >&2
		echo "  apt-get update && apt-get install -y --no-install-recommends $missing" >&2
		return 1
	fi
	setup_say "installing packages: $missing"
	mkdir -p "$setup_build_root"
	if ! setup_install >"$setup_build_root/packages.log" 2>&1; then
		tail -n 30 "$setup_build_root/packages.log" >&2
		echo "Installing packages failed, see $setup_build_root/packages.log" >&2
		return 1
	fi
}

# A subshell, so that its trap is its own. policy-rc.d forbids packages to start services.
setup_install() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	units=""
	case " $missing " in
	*" rabbitmq-server "*)
		units=rabbitmq-server.service
		[ -z "$(setup_missing erlang-base)" ] || units="$units epmd.service epmd.socket"
		;;
	esac
	case " $missing " in *" prometheus "*) units="$units prometheus.service" ;; esac # the tests need its promtool
	case " $missing " in *" redis-server "*) units="$units redis-server.service" ;; esac
	apt-get -o DPkg::Lock::Timeout=300 update </dev/null || exit 1
	# shellcheck disable=SC2086 # a list of words
	apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing </dev/null || exit 1
	# Nor at the next boot: what came by this installation is switched off, where systemd is in use.
	if [ -n "$units" ] && command -v systemctl >/dev/null; then
		# shellcheck disable=SC2086 # a list of words
		systemctl disable $units || :
	fi
)

setup_build() {
	name=$1
	tree=$setup_build_root/$name
	shift
	if ! mkdir -p "$tree" 2>/dev/null || [ ! -w "$tree" ]; then
		echo "Cannot write to $tree. Another user's? Remove it, or set MR_BUILD to a folder of yours." >&2
		return 1
	fi
	compiler=gcc
	for option in "$@"; do
		case $option in -DCMAKE_C_COMPILER=*) compiler=${option#*=} ;; esac
	done
	# A tree configured for sources elsewhere, such as in another container, or for another compiler
	# cannot be used again.
	if [ -f "$tree/CMakeCache.txt" ] &&
		! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$tree/CMakeCache.txt" &&
			grep -q "^CMAKE_C_COMPILER:[A-Z]*=\(.*/\)\{0,1\}$compiler\$" "$tree/CMakeCache.txt"; }; then
		rm -rf "$tree"
		mkdir -p "$tree"
	fi
	if [ ! -f "$tree/CMakeCache.txt" ]; then
		if command -v ninja >/dev/null; then
			set -- -G Ninja "$@"
		else
			set -- -G "Unix Makefiles" "$@"
		fi
	fi
	setup_say "building $tree"
	if ! { cmake -S "$root" -B "$tree" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release "$@" &&
		cmake --build "$tree" --parallel "$(nproc)"; } >"$tree.log" 2>&1; then
		grep -nE 'error|Error|warning:|FAILED|undefined' -A 6 "$tree.log" | head -n 80 >&2
		echo "The build failed; all of its output is in $tree.log" >&2
		return 1
	fi
}

case ${0##*/} in
setup.sh)
	root=$(cd "$(dirname "$0")/.." && pwd)
	setup_build_root=${MR_BUILD:-$root/.build}
	setup_packages build && setup_build release &&
		setup_say "done: $setup_build_root/release/bin/moonrabbit"
	exit
	;;
*) setup_build_root=${MR_BUILD:-${root:?set root before sourcing setup.sh}/.build} ;;
esac
