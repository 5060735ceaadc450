#!/bin/sh
# fuzz.sh SCALE [NAME...] - the fuzzers with libFuzzer, from the corpora that are kept:
# SCALE thousandths of five million executions in all. Says how many, and how fast. An
# input that fails stays in build/fuzz, and its hex is in the log.
#   AFL=SECONDS sh test/fuzz.sh 0 [NAME...]   the same sources under AFL++ instead
set -u
cd "$(dirname "$0")/.." || exit 1
out=build/fuzz
: "${CLANG:=clang-19}"
scale=$1
shift
[ $# -gt 0 ] || set -- image recovery ops restore import salvage
mkdir -p "$out"
asan=malloc_context_size=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64
sanitize='-fsanitize=address,undefined -fsanitize-trap=undefined'
plain='-std=c99 -O2 -g -D_GNU_SOURCE -I.'
passed=0 failed=0 all=0

runs() { # of five million: what each can do in some minutes; image alone: SCALE 20000
    case $1 in
    image) echo 250 ;; recovery) echo 15 ;; ops) echo 60 ;; restore) echo 60 ;;
    salvage) echo 25 ;; import) echo 4590 ;;
    esac
}
corpus() { # corpus NAME: unpacks what is kept into a folder of its own
    rm -rf "$out/$1.corpus"
    mkdir -p "$out/$1.corpus"
    # shellcheck disable=SC2086
    $CLANG $plain -o "$out/$1.plain" "test/fuzz_$1.c" -lm -lpthread &&
        "$out/$1.plain" --write-corpus "$out/$1.corpus"
}
guided() { # guided NAME: under libFuzzer
    cmp=-fno-sanitize-coverage=trace-cmp # checksums tell a comparison nothing
    case $1 in import | restore) cmp= ;; esac
    # shellcheck disable=SC2086
    $CLANG $plain -DFUZZ_ENGINE -fsanitize=fuzzer $sanitize $cmp -o "$out/$1" "test/fuzz_$1.c" \
        -lm -lpthread || return 1
    ASAN_OPTIONS=$asan "$out/$1" "$out/$1.corpus" -runs=$(($(runs "$1") * scale)) -max_len=400 -timeout=60 \
        -print_final_stats=1 -artifact_prefix="$out/$1-" >"$out/$1.log" 2>&1 || return 1
    n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$1.log")
    all=$((all + n))
    echo "$1: $n executions, $(sed -n 's/^stat::average_exec_per_sec: *//p' "$out/$1.log") per second"
}
afl() { # afl NAME: under AFL++, for AFL seconds
    rm -rf "$out/$1.afl"
    # shellcheck disable=SC2086
    AFL_QUIET=1 afl-clang-fast $plain -DFUZZ_ENGINE -fsanitize=fuzzer -o "$out/$1.aflbin" \
        "test/fuzz_$1.c" -lm -lpthread || return 1
    AFL_SKIP_CPUFREQ=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 \
        afl-fuzz -V "$AFL" -i "$out/$1.corpus" -o "$out/$1.afl" -- "$out/$1.aflbin" \
        >"$out/$1.log" 2>&1 || return 1
    stats=$out/$1.afl/default/fuzzer_stats
    n=$(sed -n 's/^execs_done *: *//p' "$stats")
    all=$((all + n))
    echo "$1: $n executions, $(sed -n 's/^execs_per_sec *: *//p' "$stats") per second"
    [ "$(sed -n 's/^saved_crashes *: *//p' "$stats")" = 0 ]
}

for name in "$@"; do
    if corpus "$name" && if [ -n "${AFL:-}" ]; then afl "$name"; else guided "$name"; fi; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        tail -n 30 "$out/$name.log"
    fi
done
echo "count fuzz-executions $all"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
