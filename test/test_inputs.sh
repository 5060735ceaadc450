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
    '{"kind":"end","counts":{"file":1,"tag":1,"policy":1,"meta":1,"item":4,"row":4,"waiver":1,"event":3}'
tail -n 1 dump >out
says '"lines":16,"hash":"[0-9a-f]{16}"}$'
works 'restore' "$vtag" restore whole dump
says '^whole: 4 items, 4 vectors, 3 events$'
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
ends 1 'longer: line 18: a line follows that of kind "end"' "$vtag" restore r longer
(cat dump; cat dump) >longer
ends 1 'longer: line 18' "$vtag" restore r longer
sed '3d' dump >shorter
ends 1 'shorter: line 16: counts other lines' "$vtag" restore r shorter
sed 's/"item":4/"item":5/' dump >miscounted
ends 1 'line 17: counts other lines than came, of the kind "item"' "$vtag" restore r miscounted
sed 's/"waiver":1,//' dump >uncounted
ends 1 'line 17: wants a whole number in range as "waiver"' "$vtag" restore r uncounted
sed 's/"colour"/"kolour"/' dump >changed
ends 1 'line 17: a line before it was changed' "$vtag" restore r changed
sed 's/,"hash".*/}/' dump >unhashed
ends 1 'line 17: wants a string as "hash"' "$vtag" restore r unhashed
gone r
sed '$d' dump >old
ends 1 'old: ends at line 16.*an older vtag.*--no-trailer' "$vtag" restore r old
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

# ---- Members of a record ------------------------------------------------------------------

rows() { printf '%s\n' "$@" >rows.jsonl; }
takes() { # takes ITEMS VECTORS OPTIONS...: a new store from rows.jsonl, with as many
    items=$1 vectors=$2
    shift 2
    rm -f s
    works "import $(cat rows.jsonl)" "$vtag" import s rows.jsonl "$@"
    says "^imported $items items, $vectors vectors"
}
wants() { # wants PATTERN OPTIONS...: nothing from rows.jsonl, and why
    pattern=$1
    shift
    rm -f s
    ends 1 "$pattern" "$vtag" import s rows.jsonl "$@"
    gone s
}
for name in vector values embedding; do
    rows '{"id":1,"'$name'":[1,2,3]}'
    takes 1 1 --tag a@1
done
for name in data text document; do
    rows '{"id":1,"'$name'":"words"}'
    takes 1 0
    "$vtag" get s 1 >out
    says '^words$'
done
rows '{"id":1,"vector":[1,2]}' '{"id":2,"vectr":[1,2]}'
wants 'rows.jsonl: line 2: unknown member "vectr"; did you mean "vector"\?; known are id, key, vector=' --tag a@1
rows '{"id":1,"embeddings":[1,2]}'
wants 'line 1: unknown member "embeddings"; did you mean "vector"' --tag a@1
rows '{"id":1,"content":"x","vector":[1]}'
wants 'line 1: unknown member "content"; did you mean "data"\?.*--ignore content' --tag a@1
rows '{"id":1,"text_":"x","vector":[1]}'
wants 'unknown member "text_"; did you mean "data"' --tag a@1
rows '{"id":1,"vector":[1],"price":3}'
wants 'unknown member "price"; known are' --tag a@1
takes 1 1 --tag a@1 --ignore price
wants 'unknown member "price"' --tag a@1 --ignore prize
rows '{"id":1,"vector":[1],"price":3,"metadata":{"a":1}}'
wants 'unknown member "metadata"; known' --tag a@1 --ignore price
takes 1 1 --tag a@1 --ignore price --ignore metadata
rows '{"id":1,"vectors":[{"vector":[1],"ofs":3}]}'
wants 'unknown member "ofs"; did you mean "off"' --tag a@1
rows '{"id":1,"vectors":[{"values":[1],"off":3,"len":2},[2]]}'
takes 1 2 --tag a@1
rows '{"kind":"file","version":1}'
wants 'vtag restore takes one'
rows '{"id":1,"vector":[1],"values":[1]}'
wants 'both "vector" and "values", which mean the same' --tag a@1
rows '{"id":1,"text":"a","document":"a"}'
wants 'both "text" and "document"'
rows '{"id":1,"tag":"a@1","vtag_tag":"a@1","vector":[1]}'
wants 'both "tag" and "vtag_tag"'
rows '{"id":1,"vector":[1],"vectors":[{"vector":[1]}]}'
wants 'both "vector" and "vectors"' --tag a@1
rows '{"id":1,"text":"a","data_base64":"YQ=="}'
wants 'both "data" and "data_base64"'
rows '{"id":1,"values":null,"vector":[1],"text":null}'
takes 1 1 --tag a@1
rows '{"id":1,"vector":[1]}' '{"id":2,"x":1,"vector":[1]}' '{"id":3,"vector":[1]}'
rm -f s
"$vtag" import s rows.jsonl --tag a@1 --partial >out 2>err
says '^imported 2 items, 2 vectors.*skipped 1'
check '--partial names what it skips' grep -q 'line 2: unknown member "x"' err
rows '[{"id":1},{"id":2}]'
wants "line 1: no JSON object.*jq -c '.\[\]'"

# A vector that was asked for.
rows '{"id":1,"vector":[1,2]}' '{"id":2,"data":"no vector"}'
wants 'line 2: no vector, which --tag a@1 asks for' --tag a@1
rm -f s
"$vtag" import s rows.jsonl --tag a@1 --partial >out 2>err
says '^imported 1 items, 1 vectors.*skipped 1'
rows '{"id":1,"data":"one"}' '{"id":2,"vector":null}'
wants 'line 1: no vector' --tag a@1
takes 2 0

# Several tags in one record.
rows '{"id":1,"data":"x","vectors":{"a@1":[1,2],"b@1":[3,4,5]}}' '{"id":2,"vectors":[{"tag":"b@1","vector":[1,1,1]},{"tag":"a@1","vector":[7,8]},{"tag":"b@1","vector":[2,2,2]}]}'
takes 2 5
"$vtag" get s 1 --tag b@1 >out
says '^\[3,4,5\]$'
"$vtag" get s 2 --tag b@1 >out
equal 'parts in their order' "$(tr '\n' ' ' <out)" '[1,1,1] [2,2,2] '
equal 'one revision' "$("$vtag" get s 2 --json | sed 's/.*"rev":\([0-9]*\).*/\1/')" 2
rows '{"id":1,"vectors":{"a@1":[{"vector":[1,2],"off":0,"len":1},{"vector":[2,1]}],"b@1":[3]}}'
takes 1 3
rows '{"id":1,"vectors":{"a@1":[]}}'
wants 'a vector of 0 numbers'
rows '{"id":1,"vectors":{"a@1":"x"}}'
wants 'line 1: '
rows '{"id":1,"vectors":{"a@1":[1],"b@1":[1]}}'
wants 'its tag is b@1, and --tag says a@1' --tag a@1
printf '%s\n' '{"id":1,"data":"x"}' '{"id":2,"data":"y"}' >bare.jsonl
rm -f s
"$vtag" import s bare.jsonl >out
rows '{"id":1,"vectors":{"a@1":[1,2],"b@1":[3]}}' '{"id":2,"tag":"a@1","vector":[1,1]}' '{"id":2,"tag":"b@1","vector":[1]}'
works 'filling several tags' "$vtag" import s rows.jsonl --fill --declare
says '^imported 3 items, 4 vectors'
rows '{"id":1,"vectors":{"a@1":[1,2],"b@1":[3]}}' '{"id":1,"tag":"b@1","vector":[1]}'
ends 1 'line 2: id 1 came before' "$vtag" import s rows.jsonl --fill
works 'put of several tags' "$vtag" put s --id 3 --data z --tag a@1 --vector '[1,2]' --tag b@1 --vector '[3]'
says '^3: revision'
equal 'both are there' "$("$vtag" get s 3 --tag a@1; "$vtag" get s 3 --tag b@1)" '[1,2]
[3]'
works 'in either order' "$vtag" put s --id 4 --data z --vector '[1,2]' --tag a@1 --exec 'echo "{\"vector\":[9]}"' --tag b@1
equal 'the worker answers for its tag' "$("$vtag" get s 4 --tag b@1)" '[9]'
ends 2 'each --tag goes with one' "$vtag" put s --id 5 --data z --tag a@1 --tag b@1 --vector '[1,2]' --vector '[3]'
ends 2 'each --tag goes with one' "$vtag" put s --id 5 --data z --tag a@1 --vector '[1,2]' --tag b@1
ends 2 'each --tag goes with one' "$vtag" put s --id 5 --data z --vector '[1,2]'
ends 2 "tag 'a@1' is given twice" "$vtag" put s --id 5 --data z --tag a@1 --vector '[1,2]' --tag a@ --vector '[2,1]'
ends 1 'item 5: not found' "$vtag" get s 5

# An option that is given twice.
ends 2 'search: --tag is given twice' "$vtag" search s --tag a@1 --tag b@1 --vector '[1,2]'
ends 2 '-k is given twice' "$vtag" search s --tag a@1 -k 3 -k5 --vector '[1,2]'
ends 2 '--quiet is given twice' "$vtag" tags s --quiet --quiet
ends 2 '--data is given twice' "$vtag" put s --id 5 --data a --data=b
ends 2 '--key is given twice' "$vtag" del s --key a --key b

# Ids and keys.
rows '{"id":"007","data":"a"}' '{"id":"2024","data":"b"}' '{"id":7,"data":"c"}'
takes 3 0
"$vtag" get s --key 2024 >out 2>err && "$vtag" get s --key 007 >>out && "$vtag" get s 7 >>out
equal 'a string is a key' "$(grep -c '^[abc]$' out)" 3
takes 3 0 --string-ids
equal '--string-ids makes ids of digits' "$("$vtag" items s --json | grep -o '"id":[0-9]*,"rev\|"key":"[0-9]*"' | tr '\n' ' ')" '"id":7,"rev "id":2024,"rev "key":"007" '
rows '{"id":5,"key":"k","data":"a"}'
takes 1 0
ends 1 'item 5: not found' "$vtag" get s 5
works 'the key wins' "$vtag" get s --key k

# fill
"$vtag" import f --tag a@1 items.jsonl >out && "$vtag" declare f --tag b@1 --dim 1 >out
fills() { printf '%s\n' "$@" >fill.jsonl; }
fills '{"id":1,"rev":1,"embedding":[1],"data":"as it was sent"}' '{"id":2,"rev":2,"vectors":{"b@1":[2]},"error":null}'
works 'fill' "$vtag" fill f fill.jsonl --tag b@1
says '^filled 2 items \(2 vectors\)'
fills '{"key":"docs/a","rev":3,"vectr":[1]}'
ends 1 'fill.jsonl: line 1: unknown member "vectr"; did you mean "vector"' "$vtag" fill f fill.jsonl --tag b@1
says 'filled 0'
fills '{"key":"docs/a","rev":3,"vector":[1],"usage":4}'
ends 1 'unknown member "usage"' "$vtag" fill f fill.jsonl --tag b@1
works 'fill --ignore' "$vtag" fill f fill.jsonl --tag b@1 --ignore usage
says '^filled 1 items'
fills '{"id":1,"rev":1,"vector":[1],"embedding":[1]}'
ends 1 'both "vector" and "embedding"' "$vtag" fill f fill.jsonl --tag b@1
fills '{"id":1,"rev":1,"vectors":{"a@1":[1]}}'
ends 1 '"tag" is another than --tag' "$vtag" fill f fill.jsonl --tag b@1

# What comes through a pipe is read before the store is locked.
mkfifo slow
(echo '{"id":899,"data":"soon"}'; sleep 2; echo '{"id":900,"data":"late"}') >slow &
"$vtag" import f slow --format jsonl --append >import.out 2>import.err &
job=$!
sleep 0.5
works 'others write while an import waits for its pipe' "$vtag" put f --id 800 --data x --wait 0
wait $job
equal 'which then takes its place after them' "$(cat import.err; sed 's/ in .*//' import.out)" 'imported 2 items, 0 vectors, 8 B'
(sleep 2; echo '{"id":1,"rev":1,"vector":[5]}') | "$vtag" fill f - --tag b@1 >fill.out 2>fill.err &
sleep 0.5
works 'nor does a fill lock while it waits' "$vtag" put f --id 801 --data x --wait 0
wait
awk 'BEGIN { for (i = 1000; i < 101000; i++) printf "{\"id\":%d,\"data\":\"%0120d\"}\n", i, i }' >long.jsonl
cat long.jsonl | "$vtag" import long - >out 2>err
says '^imported 100,000 items'
"$vtag" import direct long.jsonl >out
equal 'a long pipe is a whole file' "$("$vtag" dump long | grep '"kind":"item"' | sed 's/"time":[0-9]*//' | cksum)" \
    "$("$vtag" dump direct | grep '"kind":"item"' | sed 's/"time":[0-9]*//' | cksum)"
(TMPDIR=/nowhere; export TMPDIR; cat long.jsonl | "$vtag" import none - >out 2>err)
check 'without room for it, that is said' grep -q 'a temporary file: No such file.*TMPDIR' err
gone none
rm -f long long.jsonl direct

# ---- Formats, by rules --------------------------------------------------------------------

npy() { # npy HEADER: the magic and a header of 118 bytes
    printf '\223NUMPY\001\000\166\000%s%*s\n' "$1" $((117 - ${#1})) ''
}
le() { for b in "$@"; do printf "\\$(printf %03o "$b")"; done; }
one() { le 0 0 128 63; }
text() { printf "$1" >t.txt; }
items() { "$vtag" items "$1" --json | sed 's/.*"id":\("*[0-9]*"*\),.*/\1/; s/^"\(.*\)"$/key/' | tr '\n' ' '; }
reads() { # reads ITEMS DIM OPTIONS...: from t.txt
    n=$1 dim=$2
    shift 2
    rm -f s
    works "import of $(head -c 40 t.txt | tr '\n\t' '/_')" "$vtag" import s t.txt --tag a@1 "$@"
    says "^imported $n items, $n vectors"
    equal 'of that dim' "$("$vtag" tags s --json | sed 's/.*"dim":\([0-9]*\).*/\1/')" "$dim"
}
refused() { # refused PATTERN OPTIONS...
    pattern=$1
    shift
    rm -f s
    ends 1 "$pattern" "$vtag" import s t.txt --tag a@1 "$@"
    gone s
}
{ npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"; one; one; } >a.npy
for f in a.npy a.fvecs a; do
    [ $f = a.npy ] || cp a.npy $f
    rm -f s
    works "npy is known by its magic, as $f" "$vtag" import s $f --tag a@1
    says '^imported 1 items, 1 vectors'
done
rm -f s
"$vtag" import s - --tag a@1 <a.npy >out 2>err
says '^imported 1 items, 1 vectors'
cat a.npy | "$vtag" search s --tag a@1 --queries - >out 2>err
says '^ +1 +0\.000000'
for mark in '' '\357\273\277' '\r\n \t'; do
    rm -f s
    printf "$mark"' {  "id": 1, "vector": [1]}\r\n' | "$vtag" import s - --tag a@1 >out 2>err
    says '^imported 1 items, 1 vectors'
done
rm -f s
echo '0.5 0.5' | "$vtag" import s - --tag a@1 >out 2>err
equal 'what tells nothing' "$(cat err)" 'vtag: standard input: its name does not tell the format; say --format fvecs, bvecs, npy, jsonl, tsv or csv'
for word in gzip Parquet SQLite; do
    case $word in
        gzip) printf '\037\213\010\000abcdefgh\n' ;;
        Parquet) printf 'PAR1\025\004abcdefgh\n' ;;
        SQLite) printf 'SQLite format 3\000abcdefgh\n' ;;
    esac >alien
    cp alien alien.jsonl
    cp alien alien.fvecs
    for f in alien alien.jsonl alien.fvecs; do ends 1 "$f: is .*$word" "$vtag" import s $f --tag a@1; done
    ends 1 "standard input: is .*$word" "$vtag" import s - --tag a@1 --format tsv <alien
    ends 1 "is .*$word" "$vtag" fill f alien --tag b@1
    ends 1 "is .*$word" "$vtag" eval run f --tag a@1 --queries alien --qrels alien
    ends 1 "is .*$word" "$vtag" search f --tag a@1 --vector '[1,2]' --only alien
done
printf '\377\376{\000"\000' >alien
ends 1 'alien: is UTF-16; save it as UTF-8' "$vtag" import s alien --tag a@1 --format jsonl
gone s

# npy headers
for h in "'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), 'shape': (2, 1)" \
    "'shape': (2, 1), 'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)" \
    "'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)" \
    "'descr': '<f4', 'fortran_order': True, 'fortran_order': False, 'shape': (1, 2)"; do
    { npy "{$h}"; one; one; } >twice.npy
    ends 1 'twice.npy: npy with two members' "$vtag" import s twice.npy --tag a@1
done
{ npy "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), 'more': 1}"; one; one; } >more.npy
ends 1 'more.npy: npy with more members' "$vtag" import s more.npy --tag a@1
gone s

# word2vec's count line
text '2 3\ncat 1 2 3\ndog 4 5 6\n'
reads 2 3
equal 'words are keys' "$(items s)" 'key key '
text '2 3\n7 1 2 3\n8 4 5 6\n'
reads 2 3
text '2 3\n1 2 3\n4 5 6\n'
reads 2 3
equal 'without words, by position' "$(items s)" '0 1 '
text '\357\273\2772 1\r\ncat 1\r\ndog 4\r\n'
reads 2 1
text '3 3\ncat 1 2 3\ndog 4 5 6\n'
refused 'announces 3 rows, 2 came'
text '2 3\ncat 1 2\ndog 4 5 6\n'
refused 'line 1: counts rows of 3 numbers, where the next line has 3 columns' --partial
text '2 2\n1 5\n3 4\n'
refused 'may be a row, or announce the 2 that follow'
reads 3 2 --no-header
reads 2 2 --header
text '5 2\n1 5\n3 4\n'
reads 3 2

# Headers
text 'id\tx\ty\n7\t1\t2\n8\t3\t4\n'
reads 2 2
equal 'ids stay ids under a header' "$(items s)" '7 8 '
reads 2 2 --ids-column 1
equal 'and where the column is given' "$(items s)" '7 8 '
text 'x\ty\tdoc_id\n1\t2\t7\n3\t4\t8\n'
reads 2 2
equal 'wherever their column is' "$(items s)" '7 8 '
reads 2 2 --ids-column last
text 'id x y\n007 1 2\n8 3 4\n'
reads 2 2
equal 'leading zeros make keys' "$(items s)" 'key key '
text 'id 0 1\n7 1 2\n8 3 4\n'
refused 'line 1: begins with a word and the next with a number, so it may be a header'
refused 'line 1: .*may be a header' --ids-column 1
reads 2 2 --header
equal 'a header that was told' "$(items s)" '7 8 '
reads 3 2 --no-header
equal 'or words that were' "$(items s)" 'key key key '
text 'a b c\n7 1 2\n8 3 4\n'
refused 'line 1: is a header that names no id.*--ids-column'
reads 2 2 --ids-column 1
reads 2 3 --ids-column none
text 'cat 1 2\ndog 3 4\n7 5 6\n'
reads 3 2
equal 'a number among words is a word' "$(items s)" 'key key key '
text '7 1 2\n007 3 4\n'
refused "line 2: '007' is no id" --ids-column 1
text 'key,x,y\r\na b,1,2\r\nc,3, 4\r\n'
cp t.txt t.csv
rm -f s
works 'csv' "$vtag" import s t.csv --tag a@1
equal 'of two keys' "$("$vtag" get s --key 'a b' --tag a@1; "$vtag" get s --key c --tag a@1)" '[1,2]
[3,4]'
printf 'a,1,2\n"b,c",3,4\n' >t.csv
rm -f s
ends 1 't.csv: line 2: a quoted field' "$vtag" import s t.csv --tag a@1
gone s
text '\357\273\277cat\t1\t2\r\n\r\ndog\t3\t4'
reads 2 2
works 'a mark is no part of a key' "$vtag" get s --key cat
printf '1 0\n0 1\n' >t.txt
printf 'id\n7\n8\n' >ids
rm -f s
ends 1 'ids begins with a word and then a number' "$vtag" import s t.txt --tag a@1 --ids ids
gone s
printf '\357\273\2777\r\n8\r\n' >ids
works 'ids with a mark' "$vtag" import s t.txt --tag a@1 --ids ids
equal 'are ids' "$(items s)" '7 8 '

# Every float that is printed is read.
printf '{"id":1,"vector":[3.40282347e+38,1.17549435e-38,1.40129846e-45,-3.40282347e+38]}\n' >rows.jsonl
takes 1 1 --tag a@1 --metric l2
"$vtag" get s 1 --tag a@1 | tr -d '[]' | tr ',' ' ' >t.txt
"$vtag" get s 1 --tag a@1 >out
says '^\[3\.40282347e\+38,1\.17549435e-38,1\.40129846e-45,-3\.40282347e\+38\]$'
reads 1 4 --metric l2
"$vtag" get s 0 --tag a@1 >out
says '^\[3\.40282347e\+38,1\.17549435e-38,1\.40129846e-45,-3\.40282347e\+38\]$'
works 'as an option too' "$vtag" put s --id 5 --data x --tag a@1 --vector '[3.40282347e+38,0,0,3.40282356e+38]'
ends 2 'too large' "$vtag" put s --id 5 --data x --tag a@1 --vector '[3.4028235677973366e+38,0,0,0]'
for n in 3.403e+38 nan -inf 1e999; do
    echo "$n 1 2 3" >t.txt
    rm -f s
    ends 1 "column 1: '.*' is no number that a float can hold" "$vtag" import s t.txt --tag a@1
    gone s
done

# Judgements
printf '%s\n' '{"id":7,"vector":[1,0],"data":"seven"}' '{"id":8,"vector":[0,1],"data":"eight"}' '{"key":"007","vector":[1,1]}' >rows.jsonl
takes 3 3 --tag a@1
printf '{"id":"q","vector":[1,0]}\r\n' >q.jsonl
judge() { printf "$1" >qrels; "$vtag" eval run s --tag a@1 --queries q.jsonl --qrels qrels --dry-run --json; }
recall() { judge "$1" 2>err | sed -n 's/.*"score":"recall@10","value":\([0-9.]*\),.*/\1/p'; }
equal 'an id' "$(recall 'q 0 7 1\n')" 1
equal 'a mark loses no judgement' "$(recall '\357\273\277q 0 7 1\r\nq 0 99 1\r\n')" 0.5
equal '007 is a key, and another item' "$(recall 'q 0 007 1\nq 0 7 0\n')" 1
equal '08 is none' "$(recall 'q 0 08 1\nq 0 7 1\n')" 0.5
equal 'judged alike' "$(recall 'q 0 7 1\nq 0 7 1\nq 0 99 1\n')" 0.5
ends 1 'qrels: line 2: document 7 of query q is judged 2, and 1 in line 1' judge 'q 0 7 1\nq 0 7 2\n'
ends 1 'qrels: line 3: document 99 of query q is judged 0, and 1 in line 1' judge 'q 0 99 1\nq 0 7 1\nq 0 99 0\n'
ends 1 'qrels: line 1: a zero byte' judge 'q 0 7\0001\n'

# --only
only() { printf "$1" >only; "$vtag" search s --tag a@1 --vector '[1,0]' --only only --json; }
only '\357\273\2777\r\nkey:007\r\n' >out 2>err
equal 'ids and keys' "$(grep -o '"dist"' out | wc -l | tr -d ' ')" 2
only '{"id":8}\n{"key":"007"}\n{"key":"gone"}\n99\nkey:gone\n' >out 2>err
equal 'objects, and what is gone' "$(grep -o '"dist"' out | wc -l | tr -d ' ')" 2
only '007\n' >out 2>err
equal 'a plain key of an item' "$(grep -o '"dist"' out | wc -l | tr -d ' ')" 1
ends 1 "only: line 2: 'docs/b' is no id, and no item's key; write key:NAME" only '7\ndocs/b\n'
ends 1 'only: line 1: wants {"key":"NAME"}' only '{"ids":8}\n'
printf '{"key":"2024","vector":[1,0]}\n' | "$vtag" import s - --tag a@1 --append >out
ends 1 'only: line 1: no item has id 2024, but one has that key; write key:2024' only '2024\n'
ends 1 'item 2024: not found by that id, but one has that key; give --key 2024' "$vtag" get s 2024
ends 1 'item 2024: .*give --key 2024' "$vtag" del s 2024
ends 1 'item 2024: .*give --key 2024' "$vtag" waive s 2024 --tag a@1 --reason x
ends 2 "'2x' is no id.*a key goes after --key" "$vtag" get s 2x
# What only looks like another format.
le32() { le $(($1 & 255)) $(($1 >> 8 & 255)) 0 0; }
for dim in 91 123 8827 9 32; do # [ { {" and blanks, as the first bytes of fvecs
    { le32 $dim; awk -v n=$dim 'BEGIN { for (i = 0; i < n; i++) printf "@@@@" }'; } >d.fvecs
    rm -f s
    works "fvecs of dim $dim" "$vtag" import s d.fvecs --tag a@1
    says '^imported 1 items, 1 vectors'
done
text '[ 1 2\n{ 3 4\n'
reads 2 2
text 'PAR1 1 2\nBZh 3 4\n'
reads 2 2
ends 1 's: is a store of vtag' "$vtag" import other s
rows '{"id":1,"vector":[1]}'
wants '.*--ignore: "vector" is a member that is taken' --tag a@1 --ignore vector
ends 2 '--ignore data is of a member' "$vtag" fill f rows.jsonl --tag b@1 --ignore data

# A query takes the vector of the tag that is searched.
rows '{"id":1,"vectors":{"a@1":[1,0],"b@1":[0,1]}}' '{"id":2,"vectors":{"a@1":[0,1],"b@1":[1,0]}}'
takes 2 4
query() { echo "$1" >q.jsonl; "$vtag" search s --tag a@1 --queries q.jsonl -k1 --json; }
works 'a query of two tags' query '{"id":"q","vectors":{"b@1":[0,1],"a@1":[1,0]}}'
says '"hits":\[\{"id":1,'
ends 1 "its tag is 'b@1', not 'a@1'" query '{"id":"q","vectors":{"b@1":[0,1]}}'
ends 1 'unknown member "txt"; did you mean "data"' query '{"id":"q","vector":[0,1],"txt":"x"}'
ends 1 'no vector to adopt' "$vtag" stamp legacy bare.jsonl
gone legacy
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
