#!/bin/sh
# image.sh: builds examples/packages/Dockerfile without Docker: each stage is a Debian in a folder, each step is done as written.
# SPDX-License-Identifier: MIT
#
#   sh tests/support/image.sh DIR      DIR as in bare.sh; prints "ok - ..." and "not ok - ..."; exit code 77: cannot run here
# shellcheck source=examples/strict.sh
. "$(dirname "$0")/../../examples/strict.sh"

root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
# shellcheck source=tests/support/debian.sh
. "$root/tests/support/debian.sh"
own_mounts "$0" "$dir"

file=$root/examples/packages/Dockerfile
stages=0
user=root
folder=/
environment=""

# One instruction of the file, which may only be of a kind that is known here.
instruction() { # WORD REST
	case $1 in
	FROM)
		case $2 in debian:bookworm-slim*) ;; *) echo "unknown base: $2" && return 1 ;; esac
		[ "$stages" -eq 0 ] || build=$system
		stages=$((stages + 1))
		make_system "image$stages"
		;;
	RUN) within sh -c "$2" ;;
	COPY) copy "$2" ;;
	USER) user=$2 ;;
	WORKDIR) folder=$2 && mkdir -p "$system$2" ;;
	ENV) environment="$environment $2" ;;
	ENTRYPOINT) entry=$(words "$2") ;;
	CMD) default=$(words "$2") ;;
	EXPOSE) ;;
	*) echo "unknown instruction: $1" && return 1 ;;
	esac
}
words() { echo "$1" | tr -d '[],' | tr -d '"'; }
copy() { # [--from=build] FROM TO
	case $1 in
	"--from=build "*)
		set -- ${1#--from=build }
		mkdir -p "$system$2"
		# shellcheck disable=SC2086 # a pattern
		cp $build$1 "$system$2"
		;;
	". "*) copy_repository "$system${1#. }" ;;
	*)
		set -- $1
		mkdir -p "$(dirname "$system$2")"
		cp "$root/$1" "$system$2"
		;;
	esac
}
build_all() {
	sed -e :a -e '/\\$/N; s/\\\n *//; ta' "$file" | grep -v '^#' | grep . >"$dir/instructions"
	while read -r word rest; do
		echo "==> $word $rest"
		instruction "$word" "$rest" || return 1
	done <"$dir/instructions"
	test "$stages" -eq 2
}
# run ARG...: the entry point, as the image's user.
run() {
	# shellcheck disable=SC2086 # lists of words
	within setpriv --reuid="$user" --regid="$user" --clear-groups env -C "$folder" $environment "$@"
}
is_not_root() { test "$(run id -un)" = moonrabbit; }
# shellcheck disable=SC2086 # lists of words
says_version() { run $entry version; }
# shellcheck disable=SC2086 # lists of words
runs_script() {
	run AMQP_URL=memory:// $entry ${default% *} main.lua >"$dir/output" 2>&1
	cat "$dir/output"
	grep -q 'received: *hello number 3' "$dir/output" && grep -q '"msg":"stopped","code":0\|"code":0.*"msg":"stopped"' "$dir/output"
}
holds_no_compiler() { ! within sh -c 'command -v gcc cmake' && test ! -d "$system/src" && test ! -d "$system/debs"; }

make_base
check "the Dockerfile builds" build_all
[ "$failed" -eq 0 ] || exit 1
check "the image's user is not root" is_not_root
check "it runs the command" says_version
check "it runs a script on memory://" runs_script
check "it has neither compiler nor source" holds_no_compiler
system=$dir/image1 && keep_archives && remove_system
system=$dir/image2 && remove_system
exit "$failed"
