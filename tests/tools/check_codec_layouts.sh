#!/bin/sh
# check_codec_layouts.sh: compiles the users of rabbitmq-c with both layouts of its headers.
# SPDX-License-Identifier: MIT
#
#   sh tests/tools/check_codec_layouts.sh      exit code 0: both compile, 1: one does not
#
# Up to 0.11 the headers are <amqp.h> and <amqp_framing.h>, later ones <rabbitmq-c/amqp.h> and
# <rabbitmq-c/framing.h>. Where only the old ones are installed, a folder of forwarding headers plays the new.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
cd "$root" || exit 1
cc=${CC:-gcc}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failed=0

has() { echo "#include <$1>" | "$cc" -E -x c - >/dev/null 2>&1; }

# compile LAYOUT FLAG...: all three files; and the header that LAYOUT names must be among those read.
compile() {
	layout=$1
	shift
	for file in method table properties; do
		"$cc" -std=gnu11 -Wall -Wextra -Werror -Iruntime -Iruntime/include "$@" \
			-MD -MF "$scratch/read" -c "runtime/codec/$file.c" -o "$scratch/$file.o" &&
			grep -q "$layout" "$scratch/read" && continue
		echo "runtime/codec/$file.c does not compile with <$layout>"
		failed=1
	done
}

if has rabbitmq-c/amqp.h; then
	compile rabbitmq-c/amqp.h
	echo "the old layout is not installed here, and not tried"
else
	compile include/amqp.h
	mkdir "$scratch/rabbitmq-c"
	echo '#include <amqp.h>' >"$scratch/rabbitmq-c/amqp.h"
	echo '#include <amqp_framing.h>' >"$scratch/rabbitmq-c/framing.h"
	compile rabbitmq-c/amqp.h "-I$scratch"
fi
exit $failed
