#!/bin/sh
# test_flags.sh - flags and includes that change what arithmetic means are refused when the
# header is compiled, or change nothing: a program that searches in every metric and codec
# prints the bits of its distances, which are the same in all builds that there are.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
passed=0 failed=0

cat >"$dir/bits.c" <<'END'
#ifdef FIRST
#  include <complex.h>
#  include <tgmath.h>
#  include <sys/param.h>
#endif
#ifdef PRAGMA
#  pragma GCC optimize("fast-math")
#endif
#ifdef CLANG_PRAGMA
#  pragma clang fp reassociate(on) contract(fast)
#endif
#define VTAG_IMPLEMENTATION
#include "vtag.h"
#include <stdio.h>

enum { DIM = 333, ROWS = 900, TAGS = 9 };

static unsigned seed = 7;
static float number(void) { return (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.f - 1.f; }

static void fill(vtag_db *db, vtag_tag *tag)
{
    static float x[DIM];
    vtag_batch *b;
    vtag_item item = {0};
    int i, j;
    vtag_begin(db, NULL, &b);
    for (i = 0; i < TAGS; i++) {
        char name[] = "m@0";
        vtag_spec spec = {0};
        spec.name = name;
        name[2] = (char)('1' + i);
        spec.dim = DIM;
        spec.metric = (vtag_metric)(i % 3);
        spec.codec = (vtag_codec)(i / 3);
        vtag_declare(b, &spec, &tag[i]);
    }
    for (i = 0; i < ROWS; i++) {
        vtag_vec v[TAGS];
        for (j = 0; j < DIM; j++) x[j] = number() * (j % 7 ? 1.f : 1e-3f);
        for (j = 0; j < TAGS; j++) v[j].tag = tag[j], v[j].dim = DIM, v[j].x = x, v[j].off = v[j].len = 0;
        item.id = (uint64_t)i;
        if (vtag_put(b, &item, v, TAGS)) puts("put failed");
    }
    if (vtag_commit(b) || vtag_seal(db, NULL, NULL)) puts("commit failed");
}

static void print(const vtag_snap *s, vtag_tag tag, vtag_mode mode)
{
    static float x[DIM];
    vtag_search_opts o = {0};
    vtag_vec q = {0};
    vtag_hit hit[5];
    size_t n, i;
    unsigned bits;
    for (i = 0; i < DIM; i++) x[i] = number();
    o.mode = mode;
    o.preview = 1;
    q.tag = tag;
    q.dim = DIM;
    q.x = x;
    if (vtag_search(s, q, &o, 5, hit, &n)) puts("search failed");
    for (i = 0; i < n; i++) memcpy(&bits, &hit[i].dist, 4), printf("%u %08x ", (unsigned)hit[i].id, bits);
    puts("");
}

int main(void)
{
    vtag_tag tag[TAGS];
    vtag_db *db;
    vtag_snap *s;
    int i;
    remove("bits.vtag");
    if (vtag_open("bits.vtag", NULL, &db)) return 1;
    fill(db, tag);
    vtag_snapshot(db, &s);
    for (i = 0; i < TAGS * 6; i++) print(s, tag[i % TAGS], i % 2 ? VTAG_APPROX : VTAG_EXACT);
    vtag_release(s);
    vtag_close(db);
    return 0;
}
END

good() { passed=$((passed + 1)); }
bad() { # bad TITLE FILE: shows the end of a file
    failed=$((failed + 1))
    echo "test_flags: $1"
    tail -n 5 "$2"
}

# Linked apart from the flags: what a linker adds for them, numbers flushed to zero, is
# stopped when it runs.
build() { # build COMPILER FLAGS...
    cc=$1
    shift
    "$cc" -O1 -DVTAG_STATIC -I"$root" "$@" -c -o "$dir/bits.o" "$dir/bits.c" 2>"$dir/errors" &&
        "$cc" -o "$dir/bits" "$dir/bits.o" -lm 2>>"$dir/errors"
}

check() { # check COMPILER FLAGS...: does it compile?
    cc=$1
    shift
    "$cc" -I"$root" "$@" -Wfatal-errors -fsyntax-only "$dir/bits.c" 2>"$dir/errors"
}

refused() { # refused COMPILER FLAGS...: says why it does not compile
    if check "$@"; then
        bad "$*: compiles" "$dir/errors"
    elif ! grep -q 'error:.*vtag: ' "$dir/errors"; then
        bad "$*: another reason" "$dir/errors"
    else
        good
    fi
}

same() { # same COMPILER FLAGS...: compiles, runs and prints what the first one did
    if ! build "$@"; then
        bad "$*: does not compile" "$dir/errors"
        return 0
    fi
    (cd "$dir" && ./bits >got 2>&1) || true
    [ -s "$dir/want" ] || cp "$dir/got" "$dir/want"
    if cmp -s "$dir/want" "$dir/got" && ! grep -q failed "$dir/got"; then good; else bad "$*: other bits" "$dir/got"; fi
}

# For flags that a compiler does not tell of.
harmless() { # harmless COMPILER FLAGS...: refused, or the same
    if check "$@"; then
        same "$@"
    elif grep -q 'error:.*vtag: ' "$dir/errors"; then
        good
    else
        bad "$*: another reason" "$dir/errors"
    fi
}

x86=no
case $(uname -m) in x86_64) x86=yes ;; esac
for cc in gcc clang; do
    command -v $cc >/dev/null 2>&1 || { echo "skipped: $cc is not here"; continue; }
    [ $cc = clang ] || same "$cc" -std=c99 -DVTAG_NO_SIMD
    same "$cc" -std=gnu11 -D_GNU_SOURCE -DFIRST -DVTAG_NO_SIMD -march=native -ffp-contract=fast -fno-trapping-math
    refused "$cc" -ffast-math
    refused "$cc" -Ofast
    refused "$cc" -ffinite-math-only
done
if command -v gcc >/dev/null 2>&1; then
    refused gcc -funsafe-math-optimizations
    refused gcc -fassociative-math -fno-signed-zeros -fno-trapping-math
    refused gcc -freciprocal-math
    refused gcc -fno-signed-zeros
    harmless gcc -DVTAG_NO_SIMD -fassociative-math
    harmless gcc -DVTAG_NO_SIMD -fsingle-precision-constant
    harmless gcc -DVTAG_NO_SIMD -DPRAGMA
    [ $x86 = no ] || refused gcc -mfpmath=387
    [ $x86 = no ] || refused gcc -mfpmath=both
fi
if command -v clang >/dev/null 2>&1; then
    refused clang -ffp-model=fast
    harmless clang -DVTAG_NO_SIMD -funsafe-math-optimizations
    harmless clang -DVTAG_NO_SIMD -fassociative-math -fno-signed-zeros -fno-trapping-math -freciprocal-math \
        -fapprox-func -fno-honor-nans -DCLANG_PRAGMA
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
