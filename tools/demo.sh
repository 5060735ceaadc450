#!/bin/sh
# demo.sh VTAG [DIR] - a model upgrade from end to end, on texts that this machine has.
# The embedders are toys (feature hashing), the migration is real.
set -u
vtag=$1
dir=${2:-}
v1=hash-words@1
v2=hash-chars@2
most=4000

case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
case $dir in ''|/*) ;; *) dir=$PWD/$dir ;; esac
cd "$home" || exit 1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/vtag-demo.XXXXXX") || exit 1
db=$tmp/demo.vtag
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

bold= dim= off=
if [ -t 1 ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') off=$(printf '\033[0m')
fi
step=0
say() { step=$((step + 1)); printf '%s%2d. %s%s\n' "$bold" "$step" "$1" "$off"; }
show() { sed "s/^/    /"; }
fail() { echo "demo: $1" >&2; exit 1; }

words="\"$vtag\" embed --model words"
chars="\"$vtag\" embed --model chars --idf \"$db\" --tag $v2"
embed() { # the worker of a tag
    if [ "$1" = "$v1" ]; then sh -c "$words"; else sh -c "$chars"; fi
}
backfill() { # the whole of a backfill; it may be killed and run again
    "$vtag" pending "$db" --tag "$1" | embed "$1" | "$vtag" fill "$db" --tag "$1" --batch 200 -
}
filled() { # items that are done under a tag
    "$vtag" tags "$db" --json | awk -v tag="\"$1\"" '
        index($0, tag) { sub(/.*"items":/, ""); sub(/[^0-9].*/, ""); print; exit }'
}
ask() { # three questions under a tag: the best three answers to each
    for q in "how do I open a file for reading?" "sort the elements of an array" \
             "wait until another thread has finished"; do
        printf '    %s"%s"%s\n' "$dim" "$q" "$off"
        "$vtag" search "$db" --tag "$1" --text "$q" --exec "$2" -k 3 || return 1
    done
}

started=$(date +%s)
if [ -n "$dir" ]; then
    set -- "$dir"
else
    include=/usr/include
    [ -d "$include" ] || include=$(xcrun --show-sdk-path 2>/dev/null)/usr/include
    set -- vtag.h README.md tools test
    for path in "$include"/*.h "$include"/sys "$include"/*/sys "$include"/*/bits \
                "$include"/linux; do
        [ -e "$path" ] && set -- "$@" "$path"
    done
fi

say "Texts of this machine, cut into items of about 40 lines"
"$vtag" cut --max $most "$@" >"$tmp/items.jsonl" || fail "no texts in $*"
"$vtag" import "$db" "$tmp/items.jsonl" | show || fail "import"
items=$(awk 'END { print NR }' "$tmp/items.jsonl")
key() { sed -n "$1{s/^{\"key\":\"\([^\"]*\)\".*/\1/p;q;}" "$tmp/items.jsonl"; }

say "Version 1, $v1: declared, and every item embedded through a pipe"
echo "    ${dim}vtag pending | vtag embed --model words | vtag fill${off}"
"$vtag" declare "$db" --tag $v1 --dim 256 --note "toy: hashed words" | show
backfill $v1 | show

say "Three questions under version 1"
ask $v1 "$words" >"$tmp/before" || fail "search"
cat "$tmp/before"

say "Version 2, $v2: other features, 384 numbers instead of 256"
"$vtag" declare "$db" --tag $v2 --dim 384 --note "toy: hashed pieces of words, idf" | show
"$vtag" embed --model chars --idf "$db" --tag $v2 --freeze | show

say "Its backfill runs beside the application, and is killed with -9 on the way"
"$vtag" pending "$db" --tag $v2 | embed $v2 | "$vtag" fill "$db" --tag $v2 --batch 200 - \
    >/dev/null 2>&1 &
writer=$!
tries=0
while [ "$(filled $v2)" -lt $((items * 4 / 10)) ] && [ $tries -lt 400 ]; do
    sleep 0.05 2>/dev/null || sleep 1
    tries=$((tries + 1))
done
kill -9 $writer 2>/dev/null
wait $writer 2>/dev/null
"$vtag" status "$db" | show

say "Too early: the gate holds (exit 3), and the candidate answers no search"
"$vtag" gate "$db" --tag $v2 | show
"$vtag" gate "$db" --tag $v2 >/dev/null; echo "    exit $?"
"$vtag" search "$db" --tag $v2 --text "open a file" --exec "$chars" 2>&1 | show

say "While an embedder is at work, one item is edited and one deleted"
edited=$(key $((items - 1))) deleted=$(key $items)
"$vtag" pending "$db" --tag $v2 | grep -F -e "\"$edited\"" -e "\"$deleted\"" >"$tmp/two.jsonl"
embed $v2 <"$tmp/two.jsonl" >"$tmp/late.jsonl"
{ "$vtag" get "$db" --key "$edited" --data; echo "/* edited while the model was away */"; } |
    "$vtag" put "$db" --key "$edited" --tag $v1 --exec "$words" --data - | show
"$vtag" del "$db" --key "$deleted" | show
echo "    now the answers for what they were come in:"
"$vtag" fill "$db" --tag $v2 "$tmp/late.jsonl" 2>&1 | show

say "The same command again finishes the backfill: what is pending is computed, not noted"
backfill $v2 | show
"$vtag" gate "$db" --tag $v2 | show

say "Cutover, and the same questions under version 2"
"$vtag" cutover "$db" --tag $v2 | tail -n 1 | show
ask $v2 "$chars" || fail "search"

say "A question embedded by version 1 is refused where version 2 is asked"
"$vtag" search "$db" --tag $v2 --text "open a file" --exec "$words" 2>&1 | show

say "Rollback: one write, and the first answers again"
"$vtag" rollback "$db" | show
ask $v1 "$words" >"$tmp/after" || fail "search"
cmp -s "$tmp/before" "$tmp/after" || fail "the answers differ from the first ones"
echo "    three questions, identical answers"

say "What happened, and whether every byte is sound"
"$vtag" history "$db" | show
"$vtag" verify "$db" | show
echo "    took $(($(date +%s) - started)) s; the store was in a folder that is now removed"
