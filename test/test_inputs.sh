#!/bin/sh
# test_inputs.sh VTAG - what comes in is whole, known and said, or it is an error: dumps with
# their last line, records and their members, options, and how formats are told.
set -u
. "$(dirname "$0")/cli.sh"

check() { # check SENTENCE COMMAND...
    what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}
gone() { equal "no file is left of $*" "$(ls "$1" 2>/dev/null)" ''; }

# ---- A dump, cut or changed ------------------------------------------------------------

printf '%s\n' '{"id":1,"data":"one","vector":[1,0]}' '{"id":2,"data":"two\u000a","vector":[0,1]}' \
    '{"key":"docs/a","data":"three","vectors":[{"vector":[1,1],"off":0,"len":3},{"vector":[1,2]}]}' >items.jsonl
"$vtag" import db --tag m@1 items.jsonl >out 2>err || fail import
"$vtag" meta db colour red && "$vtag" put db --id 9 --data x >out && "$vtag" waive db 9 --tag m@1 --reason no >out
works 'dump' "$vtag" dump db -o dump
equal 'its last line counts all' "$(tail -n 1 dump | sed 's/,"lines.*//')" \
    '{"kind":"end","counts":{"file":1,"tag":1,"policy":1,"meta":1,"item":4,"row":4,"waiver":1,"event":2}'
tail -n 1 dump >out
says '"lines":15,"hash":"[0-9a-f]{16}"}$'
works 'restore' "$vtag" restore whole dump
says '^whole: 4 items, 4 vectors, 2 events$'
works 'and dump' "$vtag" dump whole -o again
same 'give the same dump' dump again

lines=$(wc -l <dump | tr -d ' ')
n=1
while [ "$n" -lt "$lines" ]; do
    head -n $n dump >cut
    ends 1 "cut: (ends at line $n without|ends inside)" "$vtag" restore r cut
    gone r
    n=$((n + 1))
done
head -n 9 dump | "$vtag" restore r - >out 2>err
equal 'a pipe that ends early' $? 1
check 'is said to be one' grep -q 'standard input: ends' err
gone r
bytes=$(wc -c <dump | tr -d ' ')
bad=0 n=1
while [ "$n" -lt "$bytes" ]; do # each byte of the first and the last lines, and some between
    head -c $n dump >cut
    "$vtag" restore r cut >out 2>err
    [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && [ ! -e r ] || { bad=$((bad + 1)); rm -f r; }
    if [ $n -lt 40 ] || [ $n -gt $((bytes - 40)) ]; then n=$((n + 1)); else n=$((n + 37)); fi
done
equal 'cut at a byte, a dump is none' "$bad" 0
bad=0 n=0
while [ "$n" -lt "$bytes" ]; do
    for c in x 7 ' ' '\n' '\r'; do
        cp dump changed
        printf "$c" | dd of=changed bs=1 seek=$n conv=notrunc 2>/dev/null
        cmp -s dump changed && continue
        "$vtag" restore r changed >out 2>err
        [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && [ ! -e r ] || { bad=$((bad + 1)); rm -f r; echo "byte $n: $c"; }
    done
    if [ $n -gt $((bytes - 200)) ]; then n=$((n + 3)); else n=$((n + 61)); fi
done
equal 'with a byte changed it is none' "$bad" 0
(cat dump; echo '{"kind":"meta","name":"a","value":"b"}') >longer
ends 1 'longer: line 17: a line follows that of kind "end"' "$vtag" restore r longer
(cat dump; cat dump) >longer
ends 1 'longer: line 17' "$vtag" restore r longer
sed '3d' dump >shorter
ends 1 'shorter: line 15: counts other lines' "$vtag" restore r shorter
sed 's/"item":4/"item":5/' dump >miscounted
ends 1 'line 16: counts other lines than came, of the kind "item"' "$vtag" restore r miscounted
sed 's/"waiver":1,//' dump >uncounted
ends 1 'line 16: wants a whole number in range as "waiver"' "$vtag" restore r uncounted
sed 's/"colour"/"kolour"/' dump >changed
ends 1 'line 16: a line before it was changed' "$vtag" restore r changed
sed 's/,"hash".*/}/' dump >unhashed
ends 1 'line 16: wants a string as "hash"' "$vtag" restore r unhashed
gone r
sed '$d' dump >old
ends 1 'old: ends at line 15.*an older vtag.*--no-trailer' "$vtag" restore r old
gone r
works 'an old dump, asked for' "$vtag" restore --no-trailer r old
"$vtag" dump r -o again
same 'is restored' dump again
rm r
works 'an edited dump, asked for' "$vtag" restore --no-trailer r changed
rm r
sed 's/$/\r/' dump >crlf
(printf '\357\273\277'; cat crlf) >marked
works 'a dump that went through Windows' "$vtag" restore r marked
rm r
: >empty
ends 1 'empty: is empty' "$vtag" restore r empty
ends 1 '. is a folder|\.: is a folder' "$vtag" restore r .
gone r
gzip -c dump >dump.gz 2>/dev/null && ends 1 'dump.gz: is packed by gzip' "$vtag" restore r dump.gz
gone r

# Too little memory is no end of the input, and leaves nothing.
awk 'BEGIN { printf "{\"kind\":\"file\",\"version\":1,\"commit\":1,\"revision\":3,\"time\":7,\"rolled_back\":false}\n"
             printf "{\"kind\":\"item\",\"id\":1,\"rev\":1,\"time\":1}\n"
             printf "{\"kind\":\"item\",\"id\":2,\"rev\":2,\"time\":1,\"data\":\""
             for (i = 0; i < 2000000; i++) printf "0123456789012345678901234567890123456789"
             printf "\"}\n" }' >large
(ulimit -v 60000; exec "$vtag" restore --no-trailer r large) >out 2>err
equal 'restore with too little memory' $? 1
check 'says so' grep -q 'out of memory' err
gone r
printf '%s\n' '{"id":1,"vector":[1,0]}' >small.jsonl
sed -n 3p large | sed 's/"kind":"item",//; s/"rev":2,"time":1,//' >>small.jsonl
(ulimit -v 60000; exec "$vtag" import r --tag m@1 small.jsonl) >out 2>err
equal 'import with too little memory' $? 1
check 'says so' grep -q 'out of memory' err
gone r
rm -f large small.jsonl

# A line without an end is refused before it fills the memory.
(ulimit -v 1500000; head -c 1073741824 /dev/zero | tr '\0' x | "$vtag" restore r - >out 2>err)
equal 'a line of 1 GiB' "$(cat err)" 'vtag: standard input: line 1: longer than 268435456 bytes; is this text?; nothing was restored'
gone r
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
