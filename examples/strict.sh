# strict.sh: the project's scripts source it first: a script that fails says where and why.
# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# A command that fails, or a variable that is not set, ends the script, and a line on standard error names script,
# line and command. Test a function or a pipe that may fail: `if`, `||`. dash has no line numbers, so the script goes
# on in bash, which every Debian has; without bash the line names the script and the exit code only.

if [ -z "${BASH_VERSION:-}" ] && command -v bash >/dev/null; then
	exec bash "$0" "$@"
fi
set -eu
if [ -n "${BASH_VERSION:-}" ]; then
	set -E # functions and subshells, too
	# One line: bash counts lines within a trap on top of the failing one.
	# shellcheck disable=SC3047,SC3044,SC2154,SC3028,SC2154 # bash only
	trap 'strict_code=$?; echo "${BASH_SOURCE[0]:-$0}: line $LINENO: \"$BASH_COMMAND\" failed with code $strict_code" >&2; exit "$strict_code"' ERR
else
	trap 'strict_code=$?
		[ "$strict_code" -eq 0 ] || echo "$0: ended with code $strict_code" >&2' EXIT
fi
