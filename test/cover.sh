#!/bin/sh
# Coverage of vtag.h by the tests: lines, branches and MC/DC, and what of it is not covered
# against the list uncovered.txt, which says why. Needs clang-19 and its tools.
#   sh test/cover.sh [NAME...]     all tests that are fit for it, or some: no comparison
# UPDATE=1 writes the list anew; what has no reason yet stands under `== new`.
# Every test is one file that includes vtag.h whole. All are compiled as t.c, so that the
# counters of a function have one name in all of them and add up.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$PWD/build/cover
: "${CLANG:=clang-19}" "${PROFDATA:=llvm-profdata-19}" "${COV:=llvm-cov-19}"
for tool in $CLANG $PROFDATA $COV; do
    command -v "$tool" >/dev/null || { echo "cover needs $tool: clang-19 llvm-19 libclang-rt-19-dev"; exit 2; }
done
counters='-fprofile-update=atomic -fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc'
flags="-std=c99 -O1 -w -D_GNU_SOURCE -I$PWD -I$PWD/test"

# The counts that are enough for coverage. Left out are tests that leave functions by
# force, which the counters take for branches, or end processes: crash, kill, device.
export RUNS=0 RACES=500 SECONDS_EACH=3 ROUNDS=20 OPS=100000 SEED=1
c_tests=$(ls test/test_*.c | sed 's,^test/test_,,; s,\.c$,,' | grep -vxE 'crash|kill|device')
sh_tests='cli story report salvage'

compile() { # compile NAME FILE: $dir/NAME/t
    mkdir -p "$dir/$1" && cd "$dir/$1" || return 1
    echo "#include \"$2\"" >t.c
    # shellcheck disable=SC2086
    $CLANG $flags $counters -o t t.c ${3:+"$3"} -lm -lpthread
}

job() {
    from=$(date +%s)
    export LLVM_PROFILE_FILE="$dir/$1/%2m.profraw"
    if [ -f "test/test_$1.c" ]; then
        (compile "$1" "test_$1.c") >"$dir/$1.log" 2>&1 && timeout 900 "$dir/$1/t" >>"$dir/$1.log" 2>&1
    else
        sh "test/test_$1.sh" "$dir/tools/t" >>"$dir/$1.log" 2>&1
    fi
    code=$?
    echo "$1: status $code, $(($(date +%s) - from)) s"
    [ $code -eq 0 ] || tail -n 3 "$dir/$1.log"
}

tools() { # the command line, of which only the header counts
    mkdir -p "$dir/tools" && cd "$dir/tools" || return 1
    echo '#include "vtag_impl.c"' >t.c
    # shellcheck disable=SC2086
    $CLANG $flags $counters -c -o impl.o t.c && $CLANG $flags -fprofile-instr-generate -o t \
        ../../../tools/*.c impl.o -lm -lpthread
}

if [ "${1:-}" = --job ]; then
    job "$2"
    exit 0
fi
umask 0 # a test of rights writes counters as another user
rm -rf "$dir"
mkdir -p "$dir"
names=${*:-$c_tests $sh_tests}
(tools) >"$dir/tools.log" 2>&1 || { cat "$dir/tools.log"; exit 1; }
for n in $names; do mkdir -p "$dir/$n"; done
printf '%s\n' $names | xargs -P 2 -I '{}' sh test/cover.sh --job '{}'
find "$dir" -name '*.profraw' >"$dir/profiles"
$PROFDATA merge -f "$dir/profiles" -o "$dir/all.profdata" 2>"$dir/merge.log" || exit 1
$COV show -show-branches=count "$dir/tools/t" -instr-profile="$dir/all.profdata" >"$dir/all.show" || exit 1
lacks= # functions of kernels that this processor cannot run
for has in 'avx2 _avx2$' 'avx512_vnni _avx512(vnni)?$|^vt_tile_by$' 'amx_int8 _amx$'; do
    grep -qw "${has% *}" /proc/cpuinfo 2>/dev/null || lacks=${lacks:+$lacks|}${has#* }
done
# Functions of one place, which a macro stamps, count once, as in llvm-cov's own sum of the file.
$COV export -format=text "$dir/tools/t" -instr-profile="$dir/all.profdata" |
    grep -o '"name":"[^"]*","regions":\[\[[0-9]*,[0-9]*' | sed 's/"name":"\(t\.c:\)*//; s/","regions":\[\[/ /' >"$dir/places"
$COV report -show-functions -show-mcdc-summary "$dir/tools/t" -instr-profile="$dir/all.profdata" "$PWD/vtag.h" |
    awk -v lacks="$lacks" '
        FNR == NR { place[$1] = $2; next }
        { sub(/^t\.c:/, "", $1) }
        !($1 in place) { next }
        { at = place[$1]; left = lacks != "" && $1 ~ lacks
          for (i = 5; i <= 11; i += 3) {
              if ($i > all[at, i]) all[at, i] = $i
              if (!left && $i > n[at, i]) n[at, i] = $i
              if (!left && $i - $(i + 1) > hit[at, i]) hit[at, i] = $i - $(i + 1)
          } }
        END { for (k in all) { split(k, of, SUBSEP); i = of[2]; a[i] += all[k]; t[i] += n[k]; h[i] += hit[k] }
              for (i = 5; i <= 11; i += 3) p[i] = t[i] ? sprintf("%.2f %%", 100 * h[i] / t[i]) : "-"
              printf "lines %s of %d, branches %s of %d, MC/DC %s of %d conditions", p[5], t[5], p[8], t[8], p[11], t[11]
              if (a[5] > t[5]) printf ", without %d lines of kernels that this processor lacks", a[5] - t[5]
              print "" }' "$dir/places" -
[ $# -eq 0 ] || exit 0
if [ "${UPDATE:-0}" = 1 ]; then
    { grep "^#" test/uncovered.txt
      echo
      awk -v make=1 -v lacks="$lacks" -f test/cover.awk test/uncovered.txt "$dir/all.show"; } >"$dir/list" &&
        cp "$dir/list" test/uncovered.txt
fi
awk -v lacks="$lacks" -f test/cover.awk test/uncovered.txt "$dir/all.show"
