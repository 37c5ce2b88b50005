#!/bin/sh
# run.sh: installs what the tests need, builds, runs every test, and ends with "N passed, N failed".
# SPDX-License-Identifier: MIT
#
#   sh tests/run.sh                   everything
#   sh tests/run.sh quick             all but model, sanitizers, fuzzers, install, quickstart, bare and debs
#   sh tests/run.sh STEP...           packages format luacheck layers scripts complexity instructions unit spec contract
#                                     embedded redis timed foreign fault cluster host model asan tsan fuzz install quickstart bare debs
#
# The steps after timed run in four lanes side by side: half of their time is spent in waiting. A lane that is free takes
# the next step, the longest first.
#
# Environment: MR_FUZZ_SECONDS (15) for each fuzz target, MR_MODEL_SECONDS (30) for each model test, MR_BUILD (.build) for
# all that is written, MR_LANES=1 for one step at a time.
# A library test is one test; each other check, fuzz target and try-out counts as one test. A step that cannot run here
# says so and counts as left out; where CI=true is set, it counts as failed. What fails is asked once more; what passes then
# is listed as unsteady.
# Exit code 0 only if nothing failed. Everything stays on the loopback interface, but for the packages' registry.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$root" || exit 1
unset AMQP_URL LUA_INIT LUA_PATH LUA_CPATH LUA_PATH_5_1 LUA_CPATH_5_1 LD_PRELOAD
unset MOONRABBIT_LIBRARY MOONRABBIT_COMMAND
# shellcheck source=examples/setup.sh
. examples/setup.sh
build_root=${setup_build_root:?}
fuzz_seconds=${MR_FUZZ_SECONDS:-15}
export MR_MODEL_SECONDS="${MR_MODEL_SECONDS:-30}"
suite_seconds=2700 # bounds a suite that hangs; the longest takes a quarter of it, on a slow machine the half

checks="packages format luacheck layers scripts complexity"
alone="timed" # what measures time wants the machine for itself
# Steps joined by + follow each other in one lane: those share a Debian of their own.
groups="instructions tsan asan contract bare+debs fault spec cluster host fuzz model redis embedded unit foreign install quickstart"
quick="$checks $alone instructions unit spec contract embedded redis foreign fault cluster host"
all="$checks $alone $(echo "$groups" | tr + ' ')"

top=""      # the folder of this run
scratch=""  # the folder of this lane in it
running=""  # the processes this shell waits for
rabbitmq="" # directory of this lane's private RabbitMQ once it runs
redis=""    # directory of this lane's private Redis once it runs
nodes=""    # directory of this lane's cluster once it runs
served=""   # process id of a `moonrabbit broker`
lanes=""    # process ids of the lanes

# Ends what this shell started; a lane is such a shell, too.
end_all() {
	trap '' INT TERM HUP PIPE
	for pid in $running $served $lanes; do kill "$pid" 2>/dev/null; done
	for pid in $lanes; do wait "$pid"; done
	[ -z "$rabbitmq" ] || sh tests/support/rabbitmq.sh stop "$rabbitmq"
	rabbitmq=""
	[ -z "$redis" ] || sh tests/support/redis.sh stop "$redis"
	redis=""
	[ -z "$nodes" ] || sh tests/support/cluster.sh stop "$nodes"
	nodes=""
}
cleanup() {
	end_all
	[ -z "$top" ] || rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap 'exit 141' PIPE

# --- Counting and running -------------------------------------------------------------------------

# count PASSED FAILED: adds to the sums of the running step.
count() {
	passed=$((passed + $1))
	failed=$((failed + $2))
}

# Runs a command in the background and waits, so that a signal is served at once. A hanging one is ended.
guarded() {
	timeout -k 10 "$suite_seconds" "$@" </dev/null &
	running=$!
	wait "$running"
	code=$?
	running=""
	[ "$code" -ne 124 ] || echo "ended after $suite_seconds seconds without a result: $*"
	return "$code"
}

# A command that is one test.
one_test() {
	if guarded "$@"; then count 1 0; else count 0 1; fi
}

# leave_out REASON: the running step cannot run on this machine.
leave_out() {
	left_out=$1
	if [ "${CI:-}" = true ]; then count 0 1; fi
}

# show_failures FILE: the reports of the tests that failed, wherever they stand in it, then its end; without the log
# lines that tests make the library write.
show_failures() {
	awk '/^(Failure|Error) ->|\[ +ERROR +\]|^not ok|ERROR: [A-Z]|WARNING: Thread|runtime error:/ { on = 60 } /^[0-9]+ success/ { on = 0 } on-- > 0 && !/^time=.* level=/' "$1" | head -n 400
	echo "--- the end of the output (all of it: $build_root/failed-$(basename "$1")):"
	grep -v '^time=.* level=' "$1" | tail -n 120
}

# failures_of STEP FILE: a line for each test that failed, for the end of the run.
failures_of() {
	awk -v step="$1" '
		/^(Failure|Error) -> / { where = $3; if ((getline name) > 0) print "Failed: " step ": " where ": " name; n++ }
		/^[ \t]+[0-9]+ - .*\(/ { $1 = $2 = ""; print "Failed: " step ":" substr($0, 2); n++ }
		/^not ok/ { print "Failed: " step ": " $0; n++ }
		/^busted gave no result/ { print "Failed: " step ": " $0; n++ }
		END { if (!n) print "Failed: " step }' "$2"
}

# step NAME TITLE FUNCTION: runs FUNCTION with its output in a file, shown when something failed. Lanes report one at a time.
step() {
	passed=0
	failed=0
	left_out=""
	log=$scratch/$1.log
	began=$(date +%s)
	suite=$1
	"$3" >"$log" 2>&1
	if [ $((passed + failed)) -eq 0 ] && [ "$1" != packages ] && [ -z "$left_out" ]; then
		echo "no test found" >>"$log"
		failed=1
	fi
	{
		flock 9
		echo "==> $1: $2"
		if [ "$failed" -gt 0 ]; then
			show_failures "$log" | sed 's/^/    /'
			cp "$log" "$build_root/failed-$1.log"
			failures_of "$1" "$log" >>"$top/failures"
		else
			grep '^note: ' "$log" | sed 's/^note: /    /'
			rm -f "$build_root/failed-$1.log"
		fi
		[ -z "$left_out" ] || echo "    left out: $left_out"
		echo "    $passed passed, $failed failed ($(($(date +%s) - began)) s)"
		echo "$passed $failed" >>"$top/sums"
		[ -z "$left_out" ] || echo "$1: $left_out" >>"$top/left_out"
	} 9>"$top/lock"
}

# need_build NAME OPTION...: builds a tree once in this run. A failure counts as one.
built=" "
need_build() {
	case $built in
	*" $1=0 "*) return 0 ;;
	*" $1=1 "*)
		echo "the build $1 failed before"
		count 0 1
		return 1
		;;
	esac
	setup_build "$@"
	code=$?
	built="$built$1=$code "
	[ "$code" -eq 0 ] || count 0 1
	return "$code"
}

need_release() { need_build release -DMR_TESTS=ON; }
need_asan() {
	need_build asan -DMR_TESTS=ON -DMR_SANITIZE=address \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo
}
need_tsan() {
	need_build tsan -DMR_TESTS=ON -DMR_SANITIZE=thread \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo
}

need_rabbitmq() {
	[ -z "$rabbitmq" ] || return 0
	rabbitmq=$scratch/rabbitmq
	if ! sh tests/support/rabbitmq.sh start "$rabbitmq" >/dev/null; then
		rabbitmq=""
		count 0 1
		return 1
	fi
	# shellcheck disable=SC1091
	. "$rabbitmq/env"
	export MR_RABBITMQ_SH="$root/tests/support/rabbitmq.sh"
}

need_redis() {
	[ -z "$redis" ] || return 0
	redis=$scratch/redis
	if ! sh tests/support/redis.sh start "$redis" >/dev/null; then
		redis=""
		count 0 1
		return 1
	fi
	# shellcheck disable=SC1091
	. "$redis/env"
}

# What a suite that was ended in the midst left at its broker (a block, a process that is stopped) must not fail the
# suites that come after.
renew_rabbitmq() {
	[ -n "$rabbitmq" ] || return 0
	echo "the last that its RabbitMQ says:"
	cat "$rabbitmq"/log/*.log | grep -E '\[(warning|error|critical|alert)\]' | tail -n 20
	sh tests/support/rabbitmq.sh stop "$rabbitmq"
	rm -rf "$rabbitmq"
	rabbitmq=""
	need_rabbitmq
}

# Sanitizers of gcc 12 cannot place their shadow memory under the address randomisation of new kernels.
plain_addresses=""
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
	plain_addresses="setarch -R"
fi

# --- Suites ---------------------------------------------------------------------------------------

most_unsteady=3 # specs of a suite that are asked again: more are no matter of luck
sanitizers='(Thread|Address|Leak|UndefinedBehavior)Sanitizer|runtime error:'
crashes='Test failed with exception|SegFault|Subprocess aborted|^Test timed? out|^Unable to find' # of a unit program
suite=""

# unit_tests_again TREE: the programs that failed, once more; 0 and code=0 if they pass now.
unit_tests_again() {
	cp "$ctest_log" "$scratch/first.out"
	sed 's/^\([0-9]*\):/\t\1 - /; s/$/ (failed)/' "$build_root/$1/Testing/Temporary/LastTestsFailed.log" >>"$scratch/first.out"
	[ "$(grep -c . "$build_root/$1/Testing/Temporary/LastTestsFailed.log")" -le "$most_unsteady" ] || return 1
	# shellcheck disable=SC2086 # a prefix of words or none
	guarded $plain_addresses ctest --test-dir "$build_root/$1" --rerun-failed --output-on-failure || return 1
	note_unsteady "$scratch/first.out"
}

# unit_tests TREE: all cmocka programs of a build, counted from their own reports. A program that
# crashed, hung or reported no test counts as one failure.
unit_tests() {
	need_redis || return
	# shellcheck disable=SC2086 # a prefix of words or none
	guarded $plain_addresses ctest --test-dir "$build_root/$1" -L unit -j "$(nproc)" \
		--output-on-failure --no-tests=error
	ctest_log=$build_root/$1/Testing/Temporary/LastTest.log
	if [ "$code" -eq 124 ] || [ ! -f "$ctest_log" ]; then
		count 0 1
		return
	fi
	sums=$(awk '
		/^[0-9]+\/[0-9]+ Testing: / { p = 0; f = 0; name = $3 }
		/\[  PASSED  \] [0-9]+ test/ { sub(/.*PASSED  \] /, ""); p += $1 }
		/\[  FAILED  \] [0-9]+ test/ { sub(/.*FAILED  \] /, ""); f += $1 }
		/^Test Passed\./ {
			if (p + f == 0) { f = 1; print name " reported no test" >"/dev/stderr" }
			passed += p
			failed += f
		}
		/^Test Failed\./ || /^Test timed out/ || /^Test time out/ || /^Unable to find executable/ {
			passed += p
			failed += f + (f == 0)
		}
		END { print passed + 0, failed + 0 }' "$ctest_log")
	if [ "$code" -ne 0 ] && ! grep -qE "$sanitizers|$crashes" "$ctest_log" && unit_tests_again "$1"; then
		# shellcheck disable=SC2086 # two numbers
		set -- $sums
		sums="$(($1 + $2)) 0"
	fi
	# shellcheck disable=SC2086 # two numbers
	count $sums
	if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
		echo "ctest ended with code $code"
		count 0 1
	fi
}

# second_try TREE: asks the specs that failed once more (docs/decisions/0031-second-try.md). What passes then is counted as
# passed and told of as unsteady at the end of the run. Reports of a sanitizer are no matter of luck.
second_try() {
	[ "${sums#* }" != "0 0" ] && [ "$suite" != model ] || return # a model's seed is its input
	# A test that a helper adds is named by the helper's place: its own is where the error was raised.
	specs=$(sed -n -e 's/^\(Failure\|Error\) -> \(.*_spec\.lua\) @ .*/\2/p' \
		-e '/^\(Failure\|Error\) -> .*support\/[a-z_]*\.lua @ /,/^$/s/^\([^ ]*_spec\.lua\):[0-9]*: .*/\1/p' "$out" |
		sed "s|^$root/||" | sort -u)
	# shellcheck disable=SC2086 # paths without blanks
	set -- "$1" $specs
	if [ $# -lt 2 ] || [ $# -gt $((most_unsteady + 1)) ] || grep -aqE "$sanitizers" "$out"; then return; fi
	cp "$out" "$scratch/first.out"
	first=$sums
	first_code=$code
	echo "--- once more: $specs"
	run_specs "$@"
	if [ "$code" -eq 0 ] && [ "${sums#* }" = "0 0" ]; then
		note_unsteady "$scratch/first.out"
		# shellcheck disable=SC2086 # three numbers
		set -- $first
		sums="$(($1 + $2 + $3)) 0 0"
	else
		sums=$first
		code=$first_code
	fi
}

# note_unsteady FILE: what failed at first, for the end of the run.
note_unsteady() {
	{
		flock 9
		show_failures "$1" | sed '/^--- the end of the output/,$d' >>"$top/unsteady.reports"
		failures_of "$suite" "$1" | sed 's/^Failed:/Unsteady:/' >>"$top/unsteady"
	} 9>"$top/lock"
}

# run_specs TREE PLACE...: runs specs with the library of a build; sets out, journal and sums (passed, failed, errors).
run_specs() {
	out=$scratch/busted.out
	journal=$scratch/journal
	: >"$journal"
	tree=$1
	shift
	# shellcheck disable=SC2086 # a prefix of words or none
	guarded env \
		LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;$root/tests/support/?.lua;;" \
		MOONRABBIT_LIBRARY="$build_root/$tree/lib/libmoonrabbit.so" \
		MOONRABBIT_COMMAND="$build_root/$tree/bin/moonrabbit" \
		MR_BUILD_NAME="$tree" \
		MR_JOURNAL="$journal" \
		XDG_STATE_HOME="$scratch/state" \
		$plain_addresses "$build_root/$tree/bin/test_luajit" "$(command -v busted)" \
		--helper="$root/tests/support/ending.lua" --output=plainTerminal --defer-print "$@" >"$out" 2>&1
	cat "$out"
	sums=$(sed -n 's|^\([0-9]*\) success[a-z]* / \([0-9]*\) failure[a-z]* / \([0-9]*\) error.*|\1 \2 \3|p' "$out" |
		tail -n 1)
}

# lua_suite TREE FOLDER: all *_spec.lua below FOLDER.
lua_suite() {
	if [ -z "$(find "$2" -name '*_spec.lua' 2>/dev/null)" ]; then
		echo "no *_spec.lua in $2"
		count 0 1
		return
	fi
	run_specs "$1" "$2"
	if [ -z "$sums" ]; then
		echo "busted gave no result (exit code $code); the last test: $(grep '^began' "$journal" | tail -n 1)"
		count 0 1
		renew_rabbitmq
		return
	fi
	pending=$(sed -n 's|^[0-9]* success.* error[a-z]* / \([1-9][0-9]*\) pending.*|\1|p' "$out")
	[ -z "$pending" ] || echo "note: $2: $pending pending, not counted"
	longest=$(sed -n 's|^took \([0-9]*\) s: .*/\(.*\)_spec\.lua$|\1 s \2|p' "$journal" | sort -rn | head -n 5)
	[ ! -d "$2" ] || echo "note: $2: longest: $(echo "$longest" | paste -s -d ' ' | sed 's/ \([0-9]* s\)/, \1/g')"
	second_try "$1"
	# shellcheck disable=SC2086 # three numbers
	set -- $sums
	count "$1" $(($2 + $3))
	if [ "$code" -ne 0 ] && [ $(($2 + $3)) -eq 0 ]; then # such as a sanitizer's report at exit
		echo "busted ended with code $code"
		count 0 1
	fi
}

# --- Steps ----------------------------------------------------------------------------------------

packages() {
	setup_packages tests || count 0 1
	sh tests/support/nginx.sh || count 0 1
}

format() {
	find runtime tests examples -name '*.[ch]' -o -name '*.[ch]pp' >"$scratch/sources"
	[ -s "$scratch/sources" ] || return
	if xargs -P "$(nproc)" -n 40 clang-format-14 --dry-run -Werror <"$scratch/sources" >"$scratch/format" 2>&1; then
		count 1 0
	else
		count 0 1
		head -n 40 "$scratch/format"
		echo "to mend: clang-format-14 -i $(sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: error: .*/\1/p' "$scratch/format" | sort -u | paste -s -d ' ')"
	fi
}

lua_check() { one_test luacheck --no-color -q lua examples tests; }

layers() {
	one_test luajit tests/tools/check_layers.lua --self-test
	one_test luajit tests/tools/check_layers.lua . --strict
	one_test luajit tests/tools/check_mirror.lua --self-test
	one_test luajit tests/tools/check_mirror.lua "$root"
	one_test luajit tests/tools/check_rows.lua
	one_test /usr/bin/python3 tests/tools/kombu_envelopes.py --check tests/unit/redis/kombu_envelopes.h
	one_test sh tests/tools/check_codec_layouts.sh
	one_test luajit tests/tools/check_output.lua --self-test
	one_test luajit tests/tools/make_docs.lua "$root" --check
}

# No function of the runtime over 80 lines or over complexity 15.
complexity() {
	find runtime -name '*.[ch]' >"$scratch/sources"
	[ -s "$scratch/sources" ] || return
	xargs pmccabe <"$scratch/sources" >"$scratch/pmccabe" || { count 0 1; return; }
	sort -k5,5n "$scratch/pmccabe" | awk -F '\t' '
		{ lines[NR] = $5; if ($1 > top) top = $1 }
		$5 > 80 || $1 > 15 { bad++; printf "%s: %d lines, complexity %d\n", $6, $5, $1 }
		END {
			if (NR) printf "note: %d functions: median %d lines, p90 %d, longest %d, highest complexity %d\n",
				NR, lines[int((NR + 1) / 2)], lines[int(NR * 0.9 + 0.99)], lines[NR], top
			exit bad > 0 || NR == 0
		}'
	# shellcheck disable=SC2181 # the code of a pipe's last command
	if [ $? -eq 0 ]; then count 1 0; else count 0 1; fi
}

# What noise cannot fool: numbers that are the same on a busy machine.
instructions() {
	need_release || return
	for name in core calls script; do
		guarded sh tests/instructions/run.sh "$name" "$build_root/release" >"$scratch/instructions.$name" 2>&1
		if [ "$code" -ne 0 ] && [ "$code" -ne 77 ] && [ "$name" = calls ]; then # a machine may be so busy that no round is calm
			cat "$scratch/instructions.$name"
			guarded sh tests/instructions/run.sh "$name" "$build_root/release" >"$scratch/instructions.$name" 2>&1
		fi
		if [ "$code" -eq 77 ]; then
			cat "$scratch/instructions.$name"
			leave_out "$(tail -n 1 "$scratch/instructions.$name")"
		else
			count_lines "$code" "$scratch/instructions.$name"
		fi
	done
	sed -n 's/^ok \(.* instructions\) for 1000$/note: \1/p' "$scratch/instructions.core" | paste -s -d ',' | sed 's/,note:/,/g'
}

unit() { need_release && unit_tests release; }
spec() { need_release && MR_BROKER=memory lua_suite release tests/spec; }
contract() { need_release && need_rabbitmq && lua_suite release tests/contract; }

# serve TREE ARG...: a `moonrabbit broker` on a port of its own; sets MR_BROKER_PORT.
serve() {
	out=$scratch/served.out
	tree=$1
	shift
	: >"$out" # what an earlier one said is not this one's
	"$build_root/$tree/bin/moonrabbit" broker --listen 127.0.0.1:0 "$@" >"$out" 2>&1 &
	served=$!
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		MR_BROKER_PORT=$(sed -n 's/^Serving .*@127.0.0.1:\([0-9]*\);.*/\1/p' "$out")
		[ -n "$MR_BROKER_PORT" ] && break
		timeout 1 tail -f -n +1 --pid="$served" "$out" 2>/dev/null | grep -m 1 -q '^Serving'
	done
	[ -n "$MR_BROKER_PORT" ] || cat "$out"
	export MR_BROKER_PORT
}

# stop_serving: SIGTERM must end it in good order; that is one test.
stop_serving() {
	kill "$served"
	if wait "$served"; then
		count 1 0
	else
		count 0 1
		echo "moonrabbit broker did not end well:"
		cat "$scratch/served.out"
	fi
	served=""
}

broker_specs="core publish consume confirm delivery dead_letter exchange queue queue_limits"

# The same contract against the embedded broker: memory:// (in a whole run the sanitizers do that), and `moonrabbit broker` by TCP and TLS.
embedded() {
	need_release && need_rabbitmq || return
	case " $steps " in
	*" asan "*) ;; # it runs them on memory://
	*) MR_BROKER=memory lua_suite release tests/contract ;;
	esac
	serve release
	export MR_BROKER_URL="amqp://guest:guest@127.0.0.1:$MR_BROKER_PORT/"
	for name in $broker_specs protocol; do
		MR_BROKER=tcp lua_suite release "tests/contract/${name}_spec.lua"
	done
	stop_serving
	serve release --tls-cert "$MR_RABBITMQ_CERTS/server.pem" --tls-key "$MR_RABBITMQ_CERTS/server.key"
	export MR_BROKER_URL="amqps://guest:guest@localhost:$MR_BROKER_PORT/?ssl_options.ca_certs=$MR_RABBITMQ_CERTS/ca.pem"
	for name in $broker_specs; do
		MR_BROKER=tls lua_suite release "tests/contract/${name}_spec.lua"
	done
	stop_serving
	unset MR_BROKER_URL MR_BROKER_PORT
}

redis_specs="core publish consume confirm delivery dead_letter exchange queue answers closed_channel consumer dead delay health holding lint loss neighbours notify poison
	pool publisher retry returns rpc settling simple topology"

# What Redis has of it; what it has not is left out test by test (tests/support/redis_differences.lua).
on_redis() {
	need_release && need_redis || return
	for name in $redis_specs; do
		MR_BROKER=redis lua_suite release "tests/contract/${name}_spec.lua"
	done
}

# What a connection must survive: on memory:// and on brokers that the specs start themselves; what does not need
# the embedded broker's own means also on RabbitMQ, which is stopped, killed and frozen for it.
fault() {
	need_release && need_rabbitmq || return
	MR_BROKER=memory lua_suite release tests/fault
	for name in recovery recovery_broker recovery_outage retry; do
		lua_suite release "tests/fault/${name}_spec.lua"
	done
}

# Programs with a loop of their own that embed the library: each is started for real.
host() {
	need_release && need_rabbitmq || return
	if sh tests/support/nginx.sh; then lua_suite release tests/host; else count 0 1; fi
}

# What has to be done within so many milliseconds.
timed() { need_release && MR_BROKER=memory lua_suite release tests/timed; }

# Three nodes of RabbitMQ that are killed, frozen, cut off and drained.
cluster() {
	need_release || return
	nodes=$scratch/cluster
	if sh tests/support/cluster.sh start "$nodes"; then
		# shellcheck disable=SC1091
		. "$nodes/env"
		export MR_CLUSTER_SH="$root/tests/support/cluster.sh"
		lua_suite release tests/cluster
		grep '^ledger: ' "$out" | sed 's/^ledger/note: ledger/'
	else
		count 0 1
	fi
	sh tests/support/cluster.sh stop "$nodes"
	nodes=""
}

# Clients of other makers, against the embedded broker; each of their checks is a test.
foreign() {
	need_release || return
	serve release
	MR_BUILD="$build_root/foreign" guarded sh tests/foreign/run.sh "amqp://guest:guest@127.0.0.1:$MR_BROKER_PORT" \
		>"$scratch/foreign.out" 2>&1
	count_lines "$code" "$scratch/foreign.out"
	stop_serving
}

asan() {
	export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
	export UBSAN_OPTIONS=print_stacktrace=1
	need_asan && {
		unit_tests asan
		need_rabbitmq && MR_BROKER=memory lua_suite asan tests/spec
		need_rabbitmq && MR_BROKER=memory lua_suite asan tests/contract
	}
	unset ASAN_OPTIONS UBSAN_OPTIONS
}

tsan() {
	# gcc 12's TSan guesses the size of a library's thread-local block from what malloc left in front of it; a wrong guess
	# ends the process ("failed to allocate").
	export TSAN_OPTIONS="suppressions=$root/tests/support/tsan.supp second_deadlock_stack=1 intercept_tls_get_addr=0"
	need_tsan && {
		unit_tests tsan
		need_rabbitmq && MR_BROKER=memory lua_suite tsan tests/spec
		need_rabbitmq && MR_BROKER=memory lua_suite tsan tests/contract
	}
	unset TSAN_OPTIONS
}

fuzz_start() { # PROGRAM, in the background
	# shellcheck disable=SC2086 # a prefix of words or none
	timeout -k 10 $((fuzz_seconds + 120)) $plain_addresses sh tests/support/fuzz.sh "$1" "$fuzz_seconds" \
		>"$scratch/${1##*/}.out" 2>&1 </dev/null &
	running="$running $!"
}

fuzz_judge() { # PROGRAM PID: each target is one test
	wait "$2"
	code=$?
	if [ "$code" -eq 0 ]; then
		count 1 0
		sed -n "s/^Done \([0-9]* runs in [0-9]* second\).*/note: ${1##*/}: \1s/p" "$scratch/${1##*/}.out" | tail -n 1
	else
		count 0 1
		echo "--- ${1##*/} ended with code $code; inputs that fail are in $build_root/fuzz/work/${1##*/}/crashes"
		tail -n 60 "$scratch/${1##*/}.out"
	fi
}

fuzz() {
	need_build fuzz -DCMAKE_C_COMPILER=clang-14 -DMR_FUZZ=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo || return
	set -- "$build_root"/fuzz/fuzz/fuzz_*
	[ -x "$1" ] || return
	while [ $# -gt 0 ]; do # two at a time
		running=""
		fuzz_start "$1"
		first=$!
		if [ $# -gt 1 ]; then
			fuzz_start "$2"
			second=$!
			fuzz_judge "$1" "$first"
			shift
			fuzz_judge "$1" "$second"
		else
			fuzz_judge "$1" "$first"
		fi
		shift
	done
	running=""
}

# Installs into an empty place and uses only that: the command, a script, the header.
try_install() (
	set -e
	place=$scratch/installed
	cmake --install "$build_root/release" --prefix "$place"
	mkdir "$scratch/elsewhere"
	cd "$scratch/elsewhere"
	cat >try.lua <<'END'
local mr = require "moonrabbit"
assert(type(mr.connect) == "function", "mr.connect is missing")
local maps = io.open("/proc/self/maps"):read("*a")
assert(maps:find(arg[1] .. "/lib/libmoonrabbit.so", 1, true), "another libmoonrabbit was loaded")
assert(package.searchpath("moonrabbit", package.path):find(arg[1], 1, true), "another Lua module was loaded")
print "the script ran"
END
	"$place/bin/moonrabbit" version
	"$place/bin/moonrabbit" run try.lua "$place"
	# What help and README point to is there (FIELD-W38).
	pages=""
	for page in $("$place/bin/moonrabbit" --help | sed -n 's/^Documentation: \(.*\)\.$/\1/p') \
		$("$place/bin/moonrabbit" run --help | sed -n 's/^More: \(.*\)\.$/\1/p'); do
		case $page in "$place"/share/doc/moonrabbit/docs/*.md) test -s "$page" ;; *) false ;; esac
		pages=x$pages
	done
	test "$pages" = xx
	cd "$place/share/doc/moonrabbit"
	sed -n 's/](\(docs\|examples\|LICENSE\)/\n](\1/gp' README.md | sed -n 's/^](\([^)#]*\).*/\1/p' | while read -r linked; do
		test -e "$linked" || { echo "README.md points to $linked, which is not installed" && false; }
	done
	AMQP_URL=memory:// "$place/bin/moonrabbit" run examples/hello.lua
	cd "$scratch/elsewhere"
	cat >host.c <<'END'
#include <moonrabbit_testing.h>
#include <stdio.h>
int main(void) { return puts(mr_version()) < 0; }
END
	gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -I "$place/include" host.c -o host \
		-L "$place/lib" -lmoonrabbit -Wl,-rpath,"$place/lib"
	./host
)

# Runs a function of this script that is one test.
one_function() {
	if "$1"; then count 1 0; else count 0 1; fi
}

install_test() { need_release && one_function try_install; }
quickstart() { one_test sh examples/quickstart.sh; }

scripts() {
	sh tests/tools/check_scripts.sh >"$scratch/scripts.out" 2>&1
	count_lines "$?" "$scratch/scripts.out"
}

# count_lines CODE FILE: counts the lines "ok" and "not ok" of a script that ended with CODE.
count_lines() {
	cat "$2"
	count "$(grep -c '^ok' "$2")" "$(grep -c '^not ok' "$2")"
	[ "$1" -eq 0 ] || [ "$failed" -gt 0 ] || count 0 1
}

# What the machine has installed must not matter: a Debian of its own, from the registry's mirror.
bare() {
	guarded sh tests/support/bare.sh "$build_root/bare" >"$scratch/bare.out" 2>&1
	if [ "$code" -eq 77 ]; then
		cat "$scratch/bare.out"
		leave_out "$(tail -n 1 "$scratch/bare.out")"
		return
	fi
	count_lines "$code" "$scratch/bare.out"
}

# The packages, and all other ways to install, in a Debian of their own.
debs() {
	if ! nginx=$(sh tests/support/nginx.sh); then count 0 1; return; fi
	need_build package -DCMAKE_INSTALL_PREFIX=/usr -DMR_NGINX_SRC="$nginx/usr/share/nginx/src" || return
	for name in debs rock image; do
		guarded sh "tests/support/$name.sh" "$build_root/bare" "$build_root/package" >"$scratch/$name.out" 2>&1
		if [ "$code" -eq 77 ]; then
			cat "$scratch/$name.out"
			leave_out "$(tail -n 1 "$scratch/$name.out")"
		else
			count_lines "$code" "$scratch/$name.out"
		fi
	done
}

# model_start KIND SPEC: in the background, in a folder of its own that gets output and sums.
model_start() {
	place=$scratch/model.$1.$(basename "$2" _spec.lua)
	(
		scratch=$place
		rabbitmq="" # it is the lane's
		passed=0
		failed=0
		mkdir -p "$scratch"
		trap 'for pid in $running; do kill "$pid" 2>/dev/null; done' EXIT
		trap 'exit 143' TERM
		MR_BROKER=$1 lua_suite release "$2" >"$scratch/log" 2>&1
		echo "$passed $failed" >"$scratch/sums"
	) &
	running="$running $!"
}

# Each model in a process of its own, all of them at once, on one broker after the other.
model() {
	need_release && need_rabbitmq || return
	for kind in memory rabbitmq; do
		running=""
		for spec in tests/model/*_spec.lua; do model_start "$kind" "$spec"; done
		for pid in $running; do wait "$pid"; done
		running=""
		for place in "$scratch/model.$kind".*; do
			cat "$place/log"
			# shellcheck disable=SC2046 # two numbers
			count $(cat "$place/sums" || echo 0 1)
		done
	done
}

# --- Main -----------------------------------------------------------------------------------------

run_step() {
	case $1 in
	packages) step packages "Debian packages that the tests need" packages ;;
	format) step format "clang-format on all C files" format ;;
	luacheck) step luacheck "luacheck on all Lua files" lua_check ;;
	layers) step layers "folders include only what they may" layers ;;
	scripts) step scripts "a script that fails says where" scripts ;;
	complexity) step complexity "no function over 80 lines or complexity 15" complexity ;;
	instructions) step instructions "what 1000 messages cost, counted" instructions ;;
	unit) step unit "C unit tests, release build" unit ;;
	spec) step spec "Lua specs" spec ;;
	contract) step contract "contract tests against a private RabbitMQ" contract ;;
	embedded) step embedded "the same against the embedded broker" embedded ;;
	redis) step redis "what Redis has of the same against redis://" on_redis ;;
	foreign) step foreign "amqp-tools, pika and amqp091-go against moonrabbit broker" foreign ;;
	fault) step fault "losses, recovery, TLS, storms, a soak" fault ;;
	cluster) step cluster "three nodes that are killed, frozen, cut off and drained" cluster ;;
	host) step host "nginx, games, editors and plain C that embed the library" host ;;
	timed) step timed "frames and budgets are kept" timed ;;
	model) step model "randomised models, $MR_MODEL_SECONDS s each, on memory:// and on RabbitMQ" model ;;
	asan) step asan "unit and contract tests on memory:// under ASan and UBSan" asan ;;
	tsan) step tsan "unit and contract tests on memory:// under TSan" tsan ;;
	fuzz) step fuzz "fuzz targets: corpus, then $fuzz_seconds s each" fuzz ;;
	install) step install "an installed copy works on its own" install_test ;;
	quickstart) step quickstart "the quickstart of README.md" quickstart ;;
	bare) step bare "the quickstart in a new, minimal Debian" bare ;;
	debs) step debs "Debian packages, a rock and an image: installed, used, upgraded, removed" debs ;;
	esac
}

# next_group: prints the first group that no lane has taken, and takes it; prints nothing when none is left.
next_group() {
	{
		flock 9
		head -n 1 "$top/waiting"
		sed -i 1d "$top/waiting"
	} 9>"$top/waiting.lock"
}

# lane NAME: runs what waits, beside the other lanes; always in the background, so with traps of its own.
lane() {
	trap end_all EXIT
	trap 'exit 143' INT TERM HUP PIPE
	lanes=""
	scratch=$top/lane.$1
	mkdir "$scratch" || exit 1
	while group=$(next_group) && [ -n "$group" ]; do
		for name in $(echo "$group" | tr + ' '); do run_step "$name"; done
	done
}

# choose LIST: those of its words that were asked for; of groups, what is left of them.
choose() {
	for group in $1; do
		chosen=""
		for name in $(echo "$group" | tr + ' '); do
			case " $steps " in *" $name "*) chosen=$chosen+$name ;; esac
		done
		[ -z "$chosen" ] || printf '%s ' "${chosen#+}"
	done
}

case ${1:-all} in
all) steps=$all ;;
quick) steps=$quick ;;
*) steps=$* ;;
esac
for name in $steps; do
	case " $all " in
	*" $name "*) ;;
	*)
		echo "no step '$name'; there are: $all; or quick" >&2
		exit 2
		;;
	esac
done

if ! mkdir -p "$build_root" || ! top=$(mktemp -d "$build_root/run.XXXXXX"); then
	echo "cannot write to $build_root: set MR_BUILD to a folder of yours" >&2
	exit 1
fi
began_all=$(date +%s)
: >"$top/sums"
: >"$top/left_out"
: >"$top/failures"
: >"$top/unsteady"
: >"$top/unsteady.reports"
scratch=$top/checks
mkdir "$scratch"
may_go_on=yes
for name in $(choose "$checks"); do
	run_step "$name"
	if [ "$name" = packages ] && [ "$failed" -gt 0 ]; then may_go_on=""; break; fi # nothing else would work
done

if [ -n "$may_go_on" ]; then
	choose "$groups" | tr -s ' ' '\n' | sed '/^$/d' >"$top/waiting"
	if [ -s "$top/waiting" ] || [ -n "$(choose "$alone")" ]; then # once, before the lanes part; each step that needs it counts a failure
		need_release
	fi
	for name in $(choose "$alone"); do run_step "$name"; done
	for number in $(seq "${MR_LANES:-4}"); do
		lane "$number" &
		lanes="$lanes $!"
	done
	for pid in $lanes; do
		wait "$pid" || echo "0 1" >>"$top/sums"
	done
	lanes=""
fi

# shellcheck disable=SC2046 # two numbers
set -- $(awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }' "$top/sums")
echo "Took $(($(date +%s) - began_all)) s."
cat "$top/unsteady.reports" "$top/unsteady" "$top/failures"
sed 's/^/Left out: /' "$top/left_out"
echo "$1 passed, $2 failed"
[ "$2" -eq 0 ]
