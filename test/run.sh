#!/bin/sh
# Builds and runs the tests, three at a time since some wait, and sums them up.
#   sh test/run.sh PATH/OF/vtag [NAME...]     all, or test_NAME.c, test_NAME.sh, matrix
# A C test is built with the sanitizers where $CC has them, unless its first line is
# `// build: plain`. Each test ends with the line
# "N passed, N failed"; so does this. Before that come the tests' counts, a line for
# each family: "count NAME N", added up over the tests.
set -u
cd "$(dirname "$0")/.." || exit 1
out=build/test
: "${CC:=cc}"
plain='-O1 -g'

job_flags() { # how test/$1.c is compiled: one kind of all that is in $out/flags
    if [ "$(head -n 1 "test/$1.c")" = '// build: plain' ]; then
        echo "$plain"
    else
        cat "$out/flags"
    fi
}

job_engine() { # builds the engine for tests of flags $2 as $out/$1.o unless it is up to date
    if [ ! -f "$out/$1.o" ] || [ -n "$(find vtag.h test/engine.[ch] test/heap.h "$out/flags" -newer "$out/$1.o")" ]; then
        # shellcheck disable=SC2086
        $CC -std=c99 $2 -D_GNU_SOURCE -c -o "$out/$1.o" test/engine.c
    fi
}

job_build() { # builds test/$1.c unless it is up to date
    bin=$out/$1 apart=
    flags=$(job_flags "$1")
    if grep -q '^#include "engine.h"' "test/$1.c"; then
        if [ "$flags" = "$plain" ]; then apart=engine-plain; else apart=engine; fi
        apart="-DENGINE_APART $out/$apart.o"
    fi
    if [ -x "$bin" ] && [ -z "$(find vtag.h test/*.h test/fuzz_*.c tools/*.[ch] "test/$1.c" "$out/flags" -newer "$bin")" ]; then
        return 0
    fi
    # shellcheck disable=SC2086
    $CC -std=c99 $flags -D_GNU_SOURCE -I. -o "$bin" "test/$1.c" $apart -lm -lpthread
}

job_run() {
    if [ -f "test/$1.c" ]; then
        job_build "$1" && "$out/$1"
    else
        sh "test/$1.sh" "$VTAG"
    fi
}

job() { # runs one test into its log; says how it went
    log=$out/$1.log
    from=$(date +%s)
    job_run "$1" >"$log" 2>&1
    code=$?
    took=$(($(date +%s) - from))
    counts=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
    passed=${counts% *} failed=${counts#* }
    if [ -z "$counts" ]; then
        passed=0 failed=1
        echo "ended with status $code and no count" >>"$log"
    elif [ $code -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
        echo "ended with status $code" >>"$log"
    fi
    echo "$passed $failed" >"$out/$1.count"
    if [ "$failed" -eq 0 ]; then
        printf 'ok    %-18s %6d passed  %3d s\n' "$1" "$passed" "$took"
        grep -i '^skipped' "$log" | sed 's/^/      /'
    else
        printf 'FAIL  %-18s %6d passed, %d failed  (%s)\n' "$1" "$passed" "$failed" "$log"
        tail -n 25 "$log" | sed 's/^/      /'
    fi
    return 0
}

if [ "${1:-}" = --job ]; then
    VTAG=$3
    job "$2"
    exit 0
fi

[ $# -ge 1 ] || { echo "usage: sh test/run.sh PATH/OF/vtag [NAME...]" >&2; exit 2; }
case $1 in /*) VTAG=$1 ;; *) VTAG=$PWD/$1 ;; esac
shift
mkdir -p "$out"
rm -f "$out"/*.count

sanitize='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
flags='-O1 -g -Wall -Wextra'
echo 'int main(void) { return 0; }' >"$out/probe.c"
# shellcheck disable=SC2086
if $CC $sanitize -o "$out/probe" "$out/probe.c" 2>/dev/null && "$out/probe"; then
    flags="$flags $sanitize"
else
    echo "skipped: sanitizers, which $CC does not have here"
fi
echo "$flags" | cmp -s - "$out/flags" || echo "$flags" >"$out/flags"

if [ $# -eq 0 ]; then
    names=$(ls test/test_*.c test/test_*.sh | sed 's,^test/,,; s,\.[a-z]*$,,')
    names="matrix $names"
else
    names=
    for n in "$@"; do
        [ "$n" = matrix ] || n=test_$n
        [ -f "test/$n.c" ] || [ -f "test/$n.sh" ] || { echo "no test $n" >&2; exit 2; }
        names="$names $n"
    done
fi
export CC
job_engine engine-plain "$plain" &
job_engine engine "$flags" || exit 1
wait $! || exit 1
printf '%s\n' $names | xargs -P 3 -I '{}' sh test/run.sh --job '{}' "$VTAG"
counts() {
    for n in $names; do
        [ ! -f "$out/$n.log" ] || sed -n 's/^count \([a-z-]*\) \([0-9]*\)$/\1 \2/p' "$out/$n.log"
    done | awk '{ n[$1] += $2 } END { for (i in n) printf "count %s %.0f\n", i, n[i] }' | sort
}
counts
cat "$out"/*.count | awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 }'
