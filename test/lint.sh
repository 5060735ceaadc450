#!/bin/sh
# Rules of the code that a compiler does not know, and the compilers' own warnings.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
complain() { # complain TITLE: fails if standard input holds anything
    found=$(cat)
    [ -n "$found" ] || return 0
    printf '%s\n%s\n' "$1" "$found"
    echo "$1" >>"$dir/bad"
}

awk '/^static/ { open = 1; at = FNR }
     open { if ($0 ~ /[{=]/) open = 0
            else if ($0 ~ /\);[ \t]*$/) { print "vtag.h:" at; open = 0 }
            else if ($0 ~ /;[ \t]*$/) open = 0 }' vtag.h |
    complain 'static prototypes (define before use):'

awk '/^\/\* ==== / { if (match($0, />>[a-z]+/)) print $3, substr($0, RSTART, RLENGTH) }' vtag.h >"$dir/marks"
awk '/CONTENTS/ { on = 1 } /THREADS\./ { on = 0 }
     on { n = split($0, w, /[ \t]+/)
          for (i = 1; i <= n; i++) {
              if (w[i] ~ /^[0-9]+$/) number = w[i]
              if (w[i] ~ /^>>[a-z]+$/) print number, w[i]
          } }' vtag.h | diff - "$dir/marks" |
    complain 'contents (<) and chapter markers (>) differ:'

awk 'FNR == 1 { start = 0 }
     /^[a-zA-Z].*[^;]$|^[a-zA-Z].*\{/ { start = FNR; name = $0 }
     /^}/ { if (start && FNR - start + 1 > 60)
                print FILENAME ":" start ": " FNR - start + 1 " lines: " substr(name, 1, 60)
            start = 0 }' vtag.h tools/*.c tools/*.h | complain 'functions over 60 lines:'

awk '/^\/\*$/ { n = 0 } { line[n++] = $0 } END { for (i = 1; i < n - 1; i++) print line[i] }' vtag.h |
    diff - LICENSE | complain 'the end of vtag.h is not LICENSE:'

grep -nE 'TODO|FIXME' vtag.h vtag_impl.c Makefile tools/* test/*.[ch] | complain 'left undone:'

for cc in gcc clang; do
    command -v $cc >/dev/null 2>&1 || { echo "skipped: $cc is not here"; continue; }
    for std in c99 c11; do
        for f in vtag_impl.c tools/*.c; do
            $cc -std=$std -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Wvla -pedantic \
                -Werror "$f" 2>&1 | head -n 5
        done | complain "warnings of $cc -std=$std:"
    done
done
[ ! -e "$dir/bad" ] || exit 1
echo "lint: clean"
