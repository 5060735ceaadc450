#!/bin/sh
# Sketches are the same bytes from every kernel that runs here, whatever the compiler
# and its flags make of them: unoptimised, vectorised, with multiply and add fused.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

cat >"$dir/bits.c" <<'C'
#define VTAG_STATIC
#define VTAG_IMPLEMENTATION
#include "vtag.h"
#include "test.h"
#include "util.h"
#include "twin.h"
#include "sketched.h"
#include "bits.h"
int main(void)
{
    int wrong = 0;
    size_t i;
    for (i = 0; i < VT_KERNEL_ROWS; i++) {
        const vt_kernels *k = &vt_kernel_table[i];
        if (!k->runs() || sketch_bits(k) == GOLDEN_SKETCHES) continue;
        printf("kernels %s: %016llx\n", k->isa, (unsigned long long)sketch_bits(k));
        wrong = 1;
    }
    return wrong;
}
C

try() { # try COMPILER FLAGS...
    command -v "$1" >/dev/null 2>&1 || { echo "skipped: $1 is not here"; return; }
    if "$@" -w -std=c99 -D_GNU_SOURCE -I. -Itest -o "$dir/bits" "$dir/bits.c" -lm -lpthread &&
        "$dir/bits"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL  $*"
    fi
}

try gcc -O0
try gcc -O2
try gcc -O3 -march=native -ffp-contract=fast
try gcc -O2 -mfma -ffp-contract=fast -DVTAG_NO_SIMD
try clang -O2
try clang -O3 -march=native -ffp-contract=fast
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
