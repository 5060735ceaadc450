#!/bin/sh
# Compiles the header the way its users may: four compilers, C99 to C++17, as two
# translation units, with VTAG_STATIC and with VTAG_NO_SIMD, without a warning.
# A compiler that is not here is skipped by name; with CI=true that is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
warnings='-Wall -Wextra -Wconversion -Wshadow -Wvla -pedantic -Werror'

cat >"$dir/user.c" <<'END'
#ifdef VTAG_STATIC
#  define VTAG_IMPLEMENTATION
#endif
#include "vtag.h"
#include <stdio.h>
int main(int argc, char **argv)
{
    vtag_db *db;
    vtag_batch *b;
    vtag_snap *s;
    vtag_tag tag;
    vtag_spec spec = {"minilm@1", 3, VTAG_COSINE, VTAG_F32, 0, 0, NULL};
    float x[3] = {1, 0, 0};
    vtag_item item = {7, NULL, 0, 0, NULL, 0, 0, NULL, 0};
    vtag_vec v = {0, 3, NULL, 0, 0};
    vtag_hit hits[10];
    size_t n;
    if (argc < 2) return 2;
    if (vtag_open(argv[1], NULL, &db)) return 3;
    if (vtag_begin(db, NULL, &b) || vtag_declare(b, &spec, &tag)) return 4;
    v.tag = tag;
    v.x = x;
    if (vtag_put(b, &item, &v, 1) || vtag_commit(b)) return 5;
    if (vtag_snapshot(db, &s) || vtag_search(s, v, NULL, 10, hits, &n)) return 6;
    vtag_release(s);
    vtag_close(db);
    return n == 1 && hits[0].id == 7 ? 0 : 7;
}
END

check() { # check NAME COMMAND...: one more that passed or failed
    what=$1
    shift
    if "$@" >"$dir/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL  $what: $*"
        head -n 12 "$dir/log"
    fi
}

combination() { # combination COMPILER LANGUAGE STANDARD
    cc="$1 -x $2 -std=$3 -I. $warnings"
    name="$1 $3"
    rm -f "$dir"/*.o "$dir"/two "$dir"/one "$dir"/*.vtag
    check "$name, implementation" $cc -c -o "$dir/impl.o" vtag_impl.c
    check "$name, plain include" $cc -c -o "$dir/user.o" "$dir/user.c"
    check "$name, two units linked" $1 -o "$dir/two" "$dir/user.o" "$dir/impl.o" -lm -lpthread
    check "$name, two units run" "$dir/two" "$dir/two.vtag"
    check "$name, VTAG_NO_SIMD" $cc -DVTAG_NO_SIMD -fsyntax-only vtag_impl.c
    [ "${CI:-}" = true ] || case $3 in c99 | c++17) return ;; esac
    check "$name, VTAG_STATIC" $cc -DVTAG_STATIC -Wno-unused-function -o "$dir/one" \
        "$dir/user.c" -lm -lpthread
    check "$name, VTAG_STATIC run" "$dir/one" "$dir/one.vtag"
}

for compiler in gcc clang g++ clang++; do
    if ! command -v "$compiler" >/dev/null 2>&1; then
        if [ "${CI:-}" = true ]; then
            echo "FAIL  $compiler is not here, and in CI it has to be"
            failed=$((failed + 1))
        else
            echo "skipped: $compiler is not here"
        fi
        continue
    fi
    case $compiler in
    *++) for std in c++11 c++17; do combination "$compiler" c++ $std; done ;;
    *) for std in c99 c11; do combination "$compiler" c $std; done ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
