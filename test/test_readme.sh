#!/bin/sh
# test_readme.sh - the first program of README.md compiles without warnings and prints what
# the block after it says; run twice, because a store that is there already must do as well.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
cc=${CC:-cc}

# The lines of the first ```c block, and those of the next block without a language.
awk '/^```/ && inside { exit }
     inside { print }
     /^```c$/ { inside = 1 }' "$root/README.md" > "$dir/first.c"
awk '/^```c$/ { seen = 1 }
     seen && /^```$/ { fences++; next }
     fences == 2 { print }
     fences == 3 { exit }' "$root/README.md" > "$dir/want"
test -s "$dir/first.c" && test -s "$dir/want" || { echo "test_readme: no program or no output in README.md" >&2; exit 1; }

cd "$dir"
$cc -std=c99 -Wall -Wextra -Werror -I"$root" -o first first.c -lm
for run in 1 2; do
    ./first > got
    if ! cmp -s want got; then
        echo "test_readme: run $run prints something else than README.md says:" >&2
        diff want got >&2 || true
        echo "0 passed, 1 failed"
        exit 1
    fi
done
echo "1 passed, 0 failed"
