#!/bin/sh
# analyse.sh gcc|cppcheck|tidy - a static analyser over the header and the tools; fails on
# any report of a kind that test/analyse.txt does not hold for its file, with the reason
# why it is none.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
sources="vtag_impl.c $(echo tools/*.c)"

run_gcc() {
    for f in $sources; do gcc -std=c99 -O1 -fanalyzer -c -o "$dir/x.o" "$f"; done
}
run_cppcheck() { # one configuration: the one that is built
    # shellcheck disable=SC2086
    cppcheck --quiet --std=c99 --language=c --enable=warning,performance,portability \
        --suppress=missingIncludeSystem -D__GNUC__=12 -D__x86_64__ $sources
}
run_tidy() {
    for f in $sources; do clang-tidy --quiet "$f" -- -std=c99 -D_GNU_SOURCE; done
}

case ${1:-} in
gcc | cppcheck | tidy) ;;
*) echo "usage: sh test/analyse.sh gcc|cppcheck|tidy" >&2; exit 2 ;;
esac
"run_$1" >"$dir/out" 2>&1
grep -E '^[^ ]+:[0-9]+:[0-9]+: (error|warning|portability|performance)' "$dir/out" |
    sed "s,^$PWD/,,; s,^tools/\.\./,," | sort -u >"$dir/found"
sed -n "s/^$1 \([^ ]*\) \[\(.*\)\] .*/\1 \2/p" test/analyse.txt >"$dir/known"
awk 'FILENAME ~ /known$/ { known[$0] = 1; next }
     { file = $0; sub(/:.*/, "", file); kind = $0; sub(/.*\[/, "", kind); sub(/\]$/, "", kind)
       if (!((file " " kind) in known)) print }' "$dir/known" "$dir/found" >"$dir/new"
cat "$dir/new"
echo "$1: $(wc -l <"$dir/found") reports, $(wc -l <"$dir/new") of them new"
[ ! -s "$dir/new" ]
