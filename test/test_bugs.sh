#!/bin/sh
# The tests of the tests: every bug of bugs.txt, seeded into a copy of vtag.h, must make
# the test fail that is named there, and none may fail without one.
#   sh test/test_bugs.sh [PATH/OF/vtag] [NAME...]     all bugs, or those of a name
set -u
cd "$(dirname "$0")/.." || exit 1
dir=build/test/bugs
bin=$PWD/$dir/bin
: "${CC:=cc}"
flags='-std=c99 -O0 -w -D_GNU_SOURCE'
[ $# -eq 0 ] || shift
rm -rf "$dir"
mkdir -p "$dir/test" "$bin"
cp test/*.[ch] "$dir/test"
awk -v list="$dir/list" -f test/bugs.awk test/bugs.txt vtag.h >"$dir/vtag.h" || {
    echo '0 passed, 1 failed'
    exit 1
}

build() { # test_NAME on the copy, once
    [ ! -x "$bin/$1" ] || return 0
    apart=
    if grep -q '^#include "engine.h"' "test/test_$1.c"; then
        # shellcheck disable=SC2086
        [ -f "$bin/engine.o" ] || $CC $flags -c -o "$bin/engine.o" "$dir/test/engine.c" || return 1
        apart="-DENGINE_APART $bin/engine.o"
    fi
    # shellcheck disable=SC2086
    $CC $flags -o "$bin/$1" "$dir/test/test_$1.c" $apart -lm -lpthread
}

run() { # run BUG TEST FILTER [NAME=VALUE...]: its status; what it said is in $log
    bug=$1 program=$2 filter=$3
    shift 3
    build "$program" >"$log" 2>&1 || return 125
    timeout 60 env BUG="$bug" "$@" "$bin/$program" "$filter" >"$log" 2>&1
}

noticed() { # did the run of this status fail by a check, or die of a signal?
    [ "$1" -ge 128 ] || { [ "$1" -eq 1 ] && grep -q '^[0-9]* passed, [1-9][0-9]* failed$' "$log"; }
}

# The test that failed, and what it took.
found() {
    where=$(sed -n 's/^[^ ]*\.c:[0-9]*: \([A-Za-z0-9_]*\): .*/\1/p' "$log" | head -n 1)
    states=$(sed -n 's/^count crash-states //p' "$log")
    [ -z "$states" ] || where="$states states"
    [ "$1" -lt 128 ] || where="${where:-signal $(($1 - 128))}"
    echo "${where:-status $1}"
}

wanted() { # is this bug among those asked for?
    bug=$1
    shift
    [ $# -eq 0 ] && return 0
    for w in "$@"; do [ "$w" != "$bug" ] || return 0; done
    return 1
}

log=$dir/log passed=0 failed=0 caught=0
sed 's/^[^ ]* [^ ]* //' "$dir/list" | grep -v '^=' | sort -u -k 1,2 >"$dir/runs"
[ $# -eq 0 ] || : >"$dir/runs"
while read -r test; do
    # shellcheck disable=SC2086
    if run 0 $test; then
        passed=$((passed + 1))
    else
        echo "FAILS WITHOUT A BUG: $test"
        tail -n 5 "$log"
        failed=$((failed + 1))
    fi
done <"$dir/runs"
printf '%-32s %-10s %s\n' bug 'caught by' after
while read -r number name test; do
    wanted "$name" "$@" && [ "$test" != = ] || continue
    # shellcheck disable=SC2086
    run "$number" $test
    code=$?
    if noticed $code; then
        printf '%-32s %-10s %s\n' "$name" "${test%% *}" "$(found $code)"
        caught=$((caught + 1))
    else
        printf '%-32s %-10s NOT CAUGHT (status %d)\n' "$name" "${test%% *}" $code
        failed=$((failed + 1))
    fi
done <"$dir/list"
echo "count seeded-bugs-caught $caught"
echo "$((passed + caught)) passed, $failed failed"
[ $failed -eq 0 ]
