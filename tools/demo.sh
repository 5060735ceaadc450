#!/bin/sh
# demo.sh VTAG [DIR [QUESTION...]] - a model upgrade from end to end, on texts that this
# machine has. The embedders are toys (hashed words), the migration is real. Each step is
# checked: the first that does not do what it should ends the demo with exit code 1.
set -u
vtag=$1
dir=${2:-}
v1=hash-words@1
v2=hash-chars@2
most=4000
headers="assert complex ctype dirent dlfcn errno fcntl fenv float ftw glob grp iconv inttypes
    limits locale malloc math netdb poll pthread pwd regex sched search semaphore setjmp
    signal spawn stdint stdio stdlib string strings syslog termios threads time unistd utime
    wchar wctype wordexp"

case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
case $dir in ''|/*) ;; *) dir=$PWD/$dir ;; esac
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/vtag-demo.XXXXXX") || exit 1
trap 'cd /; rm -rf "$tmp"' EXIT
trap 'exit 130' HUP INT PIPE TERM
db=demo.vtag
started=$(date +%s)

bold='' dim='' off=''
if [ -t 1 ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') off=$(printf '\033[0m')
fi
step=0
say() { step=$((step + 1)); printf '%s%2d. %s%s\n' "$bold" "$step" "$1" "$off"; }
note() { printf '    %s%s%s\n' "$dim" "$1" "$off"; }
fail() { echo "demo: $1" >&2; exit 1; }
run() { # runs a command whose exit code is to be $1
    want=$1
    shift
    "$@" >"$tmp/out" 2>&1
    got=$?
    sed 's/^/    /' "$tmp/out"
    [ $got -eq "$want" ] || fail "exit code $got instead of $want: $*"
}

words="\"$vtag\" embed --model words"
chars="\"$vtag\" embed --model chars --idf $db --tag $v2"
embed() { # the worker of a tag
    if [ "$1" = "$v1" ]; then sh -c "$words"; else sh -c "$chars"; fi
}
backfill() {
    "$vtag" pending $db --tag "$1" | embed "$1" | "$vtag" fill $db --tag "$1" -
}
filled() { # items that are done under a tag
    "$vtag" tags $db --json | awk -v tag="\"$1\"" '
        index($0, tag) { sub(/.*"items":/, ""); sub(/[^0-9].*/, ""); print; exit }'
}
slowly() { # so that there is time to kill what follows
    awk -v n="$1" '{ print } NR % n == 0 { fflush(); system("sleep 0.05 2>&- || sleep 1") }'
}

# The line of a text that has most words of the question q.
aptest='
    function words(s, list) { return split(tolower(s), list, /[^a-z0-9]+/) }
    BEGIN { n = words(q, wanted) }
    {
        m = words($0, have)
        for (i = 1; i <= n; i++) {
            for (k = 1; k <= m && length(wanted[i]) > 3; k++) {
                if (substr(have[k], 1, 5) == substr(wanted[i], 1, 5)) { score++; break }
            }
        }
        score = 200 * score + (length($0) < 150 ? length($0) : 150)
        if (score > best) { line = $0; best = score }
        score = 0
    }
    END { gsub(/^[ \t\/*]+/, "", line); gsub(/[ \t]+/, " ", line); print substr(line, 1, 58) }'
hits() { # "dist key" of each hit of an answer in JSON
    tr '{' '\n' | sed -n 's/.*"key":"\([^"]*\)","dist":\([^,]*\),.*/\2 \1/p'
}
ask() { # the questions under tag $1: the best three answers to each
    while read -r q; do
        note "\"$q\""
        if [ "$1" = "$v1" ]; then worker=$words; else worker=$chars; fi
        "$vtag" search $db --tag "$1" --text "$q" --exec "$worker" -k 3 --json |
            hits >"$tmp/hits"
        [ -s "$tmp/hits" ] || fail "no answer under $1"
        cat "$tmp/hits" >>"$tmp/shown"
        while read -r dist key; do
            line=$("$vtag" get $db --key "$key" --data | awk -v q="$q" "$aptest")
            place=$(echo "$key" | sed 's|.*/\([^/]*/[^/]*\)$|\1|')
            printf '      %.3f  %-24s %s\n' "$dist" "$place" "$line"
        done <"$tmp/hits"
    done <"$tmp/questions"
}

if [ $# -gt 2 ]; then
    shift 2
    printf '%s\n' "$@" >"$tmp/questions"
else
    cat >"$tmp/questions" <<-END
	how do I convert a string to a floating-point number?
	read the entries of a directory
	send a signal to a process
	END
fi
if [ -n "$dir" ]; then
    set -- "$dir"
else
    include=/usr/include
    [ -d $include ] || include=$(xcrun --show-sdk-path 2>/dev/null)/usr/include
    set --
    for path in vtag.h README.md tools/*.[ch] test/*.[ch]; do
        [ -e "$home/$path" ] && set -- "$@" "$path"
    done
    for name in $headers; do
        [ -e "$include/$name.h" ] && set -- "$@" "$include/$name.h"
    done
    for path in "$include"/bits "$include"/*/bits "$include"/sys "$include"/*/sys \
                "$include"/arpa "$include"/net "$include"/netinet "$include"/linux; do
        [ -d "$path" ] && set -- "$@" "$path"
    done
fi

say "Texts of this machine, cut into items of a dozen lines"
cd "$home" || exit 1
"$vtag" cut --lines 12 --max $most "$@" >"$tmp/items.jsonl" || fail "cannot read the texts"
cd "$tmp" || exit 1
items=$(awk 'END { print NR }' items.jsonl)
batch=$((items / 20 + 1))
run 0 "$vtag" import $db items.jsonl

say "Version 1, $v1: declared, and every item embedded through a pipe"
run 0 "$vtag" declare $db --tag $v1 --dim 256 --note "toy: hashed words"
note "vtag pending | vtag embed --model words | vtag fill"
run 0 backfill $v1

say "Questions under version 1, each with its three best answers"
ask $v1 >before
cat before

say "Version 2, $v2: pieces of words too, weighed; 384 numbers instead of 256"
run 0 "$vtag" declare $db --tag $v2 --dim 384 --note "toy: hashed pieces of words, idf"
run 0 "$vtag" embed --model chars --idf $db --tag $v2 --freeze

say "Its backfill runs beside the application, and is killed with -9 on the way"
"$vtag" pending $db --tag $v2 | slowly $batch | embed $v2 |
    "$vtag" fill $db --tag $v2 --batch $batch - >/dev/null 2>&1 &
writer=$!
tries=0
while [ "$(filled $v2)" -lt $((items * 45 / 100)) ] && [ $tries -lt 400 ]; do
    sleep 0.02 2>/dev/null || sleep 1
    tries=$((tries + 1))
done
kill -9 $writer 2>/dev/null
wait $writer 2>/dev/null
echo "    killed with $(filled $v2) of $items items committed; the status then:"
"$vtag" status $db >out || fail "status"
sed '1d; /^HOLD/,/freshness/d; /^last events/,$d; /^$/d; s/^/    /' out

say "Too early: the gate holds, and the candidate answers no search"
run 3 "$vtag" gate $db --tag $v2
note "exit code 3"
run 1 "$vtag" search $db --tag $v2 --text "open a file" --exec "$chars"

say "While an embedder is at work on two items, one is edited and the other deleted"
sed 's/^[^ ]* /"/; s/$/"/' shown >answers
"$vtag" pending $db --tag $v2 --limit 100 | grep -v -F -f answers | sed -n 1,2p >two.jsonl
key() { sed -n "$1s/.*\"key\":\"\([^\"]*\)\".*/\1/p" two.jsonl; }
edited=$(key 1) deleted=$(key 2)
embed $v2 <two.jsonl >late.jsonl
"$vtag" get $db --key "$edited" --data >text || fail "get"
echo "/* edited while its embedder was at work */" >>text
run 0 "$vtag" put $db --key "$edited" --tag $v1 --exec "$words" --data - <text
run 0 "$vtag" del $db --key "$deleted"
note "the vectors of what they were come in late, and are refused:"
run 1 "$vtag" fill $db --tag $v2 late.jsonl

say "The same pipe again finishes the backfill: the store knows what is pending"
run 0 backfill $v2
run 0 "$vtag" gate $db --tag $v2

say "Cutover, and the same questions under version 2"
"$vtag" cutover $db --tag $v2 >out || fail "cutover"
sed -n '$s/^/    /p' out
ask $v2

say "A question embedded by version 1 is refused where version 2 is asked"
run 1 "$vtag" search $db --tag $v2 --text "open a file" --exec "$words"

say "Rollback: one write, and the first answers are back"
run 0 "$vtag" rollback $db
ask $v1 >after
cmp -s before after || fail "the answers differ from the first ones"
echo "    the same questions under version 1: identical answers"

say "What happened, and whether every byte is sound"
run 0 "$vtag" history $db
run 0 "$vtag" verify $db
echo "    $(($(date +%s) - started)) s in all; the demo's store is removed"
