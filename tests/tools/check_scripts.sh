#!/bin/sh
# check_scripts.sh: no script of the project fails without a line that says where and why.
# SPDX-License-Identifier: MIT
#
#   sh tests/tools/check_scripts.sh      prints a line for each check; exit code 0: all hold
set -u

cd "$(dirname "$0")/../.." || exit 1
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failed=0

check() { # TITLE CONDITION-COMMAND...
	title=$1
	shift
	if "$@"; then echo "ok - $title"; else failed=1 && echo "not ok - $title"; fi
}

# A script either sources strict.sh or asks every command itself and never says `set -e`.
is_strict_or_asks() {
	if grep -q 'strict\.sh"$' "$1"; then return 0; fi
	! grep -Eq '^set -[a-zA-Z]*e' "$1"
}

# says TEXT FILE SHELL ARG...: runs it; it must fail, and its standard error must match.
says() {
	text=$1
	shift
	"$@" >"$scratch/out" 2>"$scratch/err" && return 1
	grep -Eq "$text" "$scratch/err" && return 0
	cat "$scratch/err"
	return 1
}

for script in examples/*.sh tests/*.sh tests/*/*.sh; do
	[ "$script" = examples/strict.sh ] && continue
	check "$script says where it fails" is_strict_or_asks "$script"
	check "$script parses" sh -n "$script"
done

strict=$PWD/examples/strict.sh
cat >"$scratch/assigns.sh" <<END
. "$strict"
try() {
	value=\$(false)
	echo "\$value"
}
try
END
cat >"$scratch/lacks.sh" <<END
. "$strict"
echo "\$no_such_variable"
END
for shell in dash bash; do
	command -v $shell >/dev/null || continue
	check "an assignment that fails is told with script, line and command ($shell)" \
		says 'assigns\.sh: line 3: .*false.* failed with code 1' $shell "$scratch/assigns.sh"
	check "a variable that is not set is told with its name ($shell)" \
		says 'line 2: no_such_variable' $shell "$scratch/lacks.sh"
done
mkdir "$scratch/no_bash"
ln -s "$(command -v sh)" "$scratch/no_bash/sh"
check "without bash the script is told, with its exit code" \
	says 'assigns\.sh: ended with code 1' env PATH="$scratch/no_bash" sh "$scratch/assigns.sh"

# The packages of the machine must not matter: one that dpkg has never heard of is missing, and no more.
unknown_package_is_missing() {
	cat >"$scratch/unknown.sh" <<END
root=$PWD
MR_BUILD=$scratch/build
. "$strict"
. "$PWD/examples/setup.sh"
missing=\$(setup_missing no-such-package-anywhere libc6 also-no-such-package)
echo "[\$missing]"
END
	out=$(sh "$scratch/unknown.sh" 2>&1)
	[ "$out" = "[no-such-package-anywhere also-no-such-package ]" ] || { echo "$out" && return 1; }
}
if command -v dpkg-query >/dev/null; then
	check "a package that dpkg has never heard of is missing, and no error" unknown_package_is_missing
fi
exit $failed
