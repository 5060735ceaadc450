#!/bin/sh
# bench/install.sh [--check] OUT - gets the peers of the bench and builds the workers into OUT;
# with --check only tells what is not here.
# Root gets from Debian what is missing; npm's packages go below OUT/npm, and no script of
# theirs runs. What is missing is found out by compiling and linking with it, not by a name of
# one of its files, which another package may bring or put elsewhere. What cannot be had is
# named, again at the end, and skipped; with CI=true that is a failure.
# shellcheck disable=SC2086 # the flags are lists
set -u
cd "$(dirname "$0")/.." || exit 1
check=
[ "$1" != --check ] || { check=1; shift; }
out=$1 npm=$1/npm/node_modules
: "${CC:=cc}" "${CXX:=c++}"
warnings='-Wall -Wextra -Wconversion -Wshadow -Wvla -pedantic'
machine='-O3 -march=native'
mkdir -p "$out/numkong" || exit 1

skip() {
    echo "skipped: $1" | tee -a "$out/skipped"
}
lack() { # lack PACKAGE TEST...: adds the package to what is wanted if the test fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || want="$want $package"
}
links() { # links c|c++ HEADER EXPRESSION FLAG...: a program that needs all of them
    language=$1 compiler=$CC header=$2 expression=$3
    shift 3
    [ "$language" = c ] || compiler=$CXX
    printf '#include <%s>\nint main(void) { return !(%s); }\n' "$header" "$expression" |
        "$compiler" -x "$language" - -o "$out/links" "$@"
    code=$?
    rm -f "$out/links"
    return $code
}

wanted() {
    want=
    lack g++ command -v "$CXX"
    lack hyperfine command -v hyperfine
    lack nodejs command -v node
    lack npm command -v npm
    lack libhnswlib-dev links c++ hnswlib/hnswlib.h 'sizeof(hnswlib::L2Space)'
    lack libfaiss-dev links c++ faiss/IndexFlat.h 'sizeof(faiss::IndexFlat(4))' -fopenmp -lfaiss \
        -lopenblas
    lack libopenblas-dev links c cblas.h 'openblas_get_corename() && cblas_sgemm' -lopenblas
    lack libsqlite3-dev links c sqlite3.h 'sqlite3_libversion()' -lsqlite3
}
told() { # last, where it is seen
    [ -e "$out/skipped" ] || return 0
    echo 'NOT TO BE HAD, and so not measured:'
    sed 's/^skipped: /  - /' "$out/skipped"
    [ "${CI:-}" != true ]
}

debian() {
    [ -n "$want" ] || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    echo "from Debian:$want"
    apt-get update -qq
    for package in $want; do
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
            --no-install-recommends "$package" >"$out/apt.log" 2>&1 || tail -n 3 "$out/apt.log"
    done
}

packages() { # the optional ones are models and clouds, but for LanceDB's own library
    [ -e "$out/npm/done" ] && return 0
    command -v npm >/dev/null || return 0
    echo 'from npm: usearch, sqlite-vec, LanceDB'
    if npm install --prefix "$out/npm" --ignore-scripts --omit=dev --omit=optional --no-audit \
        --no-fund --loglevel=error usearch@2.25.3 sqlite-vec-linux-x64@0.1.9 apache-arrow@18.1.0 \
        @lancedb/lancedb@0.37.1 @lancedb/lancedb-linux-x64-gnu@0.37.1 >"$out/npm.log" 2>&1; then
        touch "$out/npm/done"
    else tail -n 3 "$out/npm.log"; fi
}

# usearch's kernels are half of its speed: those of f32 get -O3, the rest only has to link.
numkong() {
    from=$npm/usearch/numkong
    [ -e "$out/numkong/done" ] && return 0
    [ -e "$from/c/numkong.c" ] || return 1
    echo 'compiling the kernels of usearch'
    node "$from/probes/probe.js" >"$out/numkong/probe.log" 2>&1 || return 1
    for c in "$from"/c/*.c; do
        case $c in */dispatch_f32.c | */numkong.c) o=-O3 ;; *) o=-O0 ;; esac
        echo "$o -o $out/numkong/$(basename "$c" .c).o $c"
    done | xargs -P 2 -n 4 "$CC" -std=c11 -w -c -DNK_NATIVE_F16=0 -DNK_NATIVE_BF16=0 \
        -DNK_DYNAMIC_DISPATCH=1 -I"$from/include" -include "$from/nk_probes.h" \
        2>"$out/numkong/cc.log" && touch "$out/numkong/done"
}

worker() { # worker NAME SOURCE COMMAND...: compiled if older than its source
    name=$1 source=$2
    shift 2
    newer=all
    if [ -e "$out/$name" ]; then
        newer=$(find "bench/$source" bench/peer.h bench/run.h vtag.h -newer "$out/$name")
    fi
    [ -n "$newer" ] || return 0
    "$@" -o "$out/$name" 2>"$out/$name.log" && return 0
    rm -f "$out/$name"
    skip "$name: $(grep -m 1 -i error "$out/$name.log" || head -n 1 "$out/$name.log")"
    return 1
}
c99() { # c99 SOURCE LIBRARY...
    source=$1
    shift
    worker "${source%.c}" "$source" "$CC" -std=c99 $machine $warnings "bench/$source" "$@"
}
cpp() { # cpp SOURCE FLAG...; the sources of the peers are not held to our warnings
    source=$1
    shift
    worker "${source%.cpp}" "$source" "$CXX" -std=c++17 $machine "bench/$source" "$@"
}

rm -f "$out/skipped"
wanted
if [ -n "$check" ]; then
    for package in $want; do skip "$package of Debian: cannot be linked with, or run"; done
    told
    exit
fi
debian
packages
# vtag is compiled as its users do: -O2, no flags for the machine.
worker peer_vtag peer_vtag.c "$CC" -std=c99 -O2 $warnings bench/peer_vtag.c -lm -lpthread || exit 1
worker first first.c "$CC" -std=c99 -O2 $warnings bench/first.c -lm || exit 1
worker bench bench.c "$CC" -std=c99 -O2 $warnings bench/bench.c -lm || exit 1
worker mkdata data.c "$CC" -std=c99 $machine $warnings bench/data.c -lm || exit 1
c99 peer_plain.c -lm || exit 1
c99 peer_sgemm.c -lopenblas
c99 peer_sqlite_vec.c -lsqlite3
cpp peer_hnswlib.cpp
cpp peer_faiss.cpp -fopenmp -lfaiss -lopenblas
if numkong; then
    u=$npm/usearch
    cpp peer_usearch.cpp "$u/c/lib.cpp" "$out"/numkong/*.o -w -DUSEARCH_USE_NUMKONG=1 \
        -DNK_DYNAMIC_DISPATCH=1 -DNK_NATIVE_F16=0 -DNK_NATIVE_BF16=0 -I"$u/c" -I"$u/include" \
        -I"$u/numkong/include" -lpthread
else
    skip 'usearch: its source or its kernels are not here'
fi
command -v node >/dev/null || skip 'LanceDB: node is not here'
[ -d "$npm/@lancedb/lancedb" ] || skip 'LanceDB: its package is not here'
[ -e "$npm/sqlite-vec-linux-x64/vec0.so" ] || skip 'sqlite-vec: its extension is not here'
command -v hyperfine >/dev/null || skip 'hyperfine: not here'
told
