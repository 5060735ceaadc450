#!/bin/sh
# test_salvage.sh VTAG - what vtag salvage brings back: all of a file that lost its
# superblocks, and what is whole of one that lost more.
set -u
. "$(dirname "$0")/cli.sh"

check() { # check NAME COMMAND...
    what=$1
    shift
    if "$@" >out 2>err; then pass; else fail "$what: $*"; fi
}
zero() { # zero FILE AT BYTES
    dd if=/dev/zero of="$1" bs=1 seek="$2" count="$3" conv=notrunc 2>/dev/null
}
place() { # place FILE TEXT: where it lies
    grep -abo "$2" "$1" | head -n 1 | cut -d: -f1
}
content() { # all that a dump says, but for what a salvage adds and what a clock counts
    "$vtag" dump "$1" | grep -v '"text":"salvaged: ' | grep -v '"kind":"file"' | grep -v '"kind":"end"' | sed 's/"kept_ms":[0-9]*/"kept_ms":0/'
}
number() { # number NAME: of the --json report
    sed -n "s/.*\"$1\":\([a-z0-9]*\).*/\1/p" report
}
salvage() { # salvage FILE: into new.vtag, checked
    rm -f new.vtag
    check "salvage of $1" "$vtag" salvage "$1" new.vtag --json
    cp out report
    check "verify what came of it" "$vtag" verify new.vtag
}

store() { # three kinds of commits: rows of two tags, a waiver, a flip, deletions
    rm -f db.vtag
    for i in 1 2 3 4 5 6 7 8; do
        echo "{\"key\":\"doc-$i\",\"data\":\"the text of number $i\",\"vector\":[$i,1,2]}"
    done | "$vtag" import db.vtag --tag m@1 --format jsonl - >/dev/null
    "$vtag" declare db.vtag --tag m@2 --dim 2 --metric l2 >/dev/null
    "$vtag" pending db.vtag --tag m@2 | sed 's/"data":.*/"vector":[3,4]}/' | head -n 6 |
        "$vtag" fill db.vtag --tag m@2 - >/dev/null
    "$vtag" put db.vtag --key extra --data 'put on top' >/dev/null
    "$vtag" del db.vtag --key doc-8 >/dev/null
    "$vtag" meta db.vtag colour green >/dev/null
    "$vtag" note db.vtag --text 'a note' >/dev/null
}

store
content db.vtag >before
check 'there is something to lose' test "$(wc -l <before)" -gt 20

# Nothing is damaged.
salvage db.vtag
content new.vtag | cmp -s - before
equal 'a sound file is copied whole' $? 0
equal 'from its superblocks' "$(number from_log)" false

# Both superblocks are gone.
cp db.vtag bare.vtag
zero bare.vtag 16384 512
zero bare.vtag 32768 512
"$vtag" verify bare.vtag >/dev/null 2>&1
equal 'verify says no' $? 3
cp bare.vtag kept.vtag
salvage bare.vtag
content new.vtag | cmp -s - before
equal 'all comes back without superblocks' $? 0
equal 'from the log' "$(number from_log)" true
equal 'nothing was lost' "$(number log_lost)$(number payloads_lost)$(number texts_lost)" 000
cmp -s bare.vtag kept.vtag
equal 'the damaged file stays as it was' $? 0
check 'and goes on' "$vtag" put new.vtag --key more --data 'after the rescue'

# The identity page too.
cp bare.vtag nameless.vtag
zero nameless.vtag 0 4096
salvage nameless.vtag
content new.vtag | cmp -s - before
equal 'nor does it take an identity page' $? 0

# A payload has rotted as well.
cp bare.vtag rotten.vtag
printf X | dd of=rotten.vtag bs=1 seek="$(place rotten.vtag 'text of number 3')" conv=notrunc 2>/dev/null
salvage rotten.vtag
equal 'one payload is lost' "$(number payloads_lost)" 1
equal 'its vectors are not' "$(number vectors)" "$(grep -c '"kind":"row"' before)"
"$vtag" dump new.vtag | grep -c 'text of number' >out
equal 'the others are there' "$(cat out)" 6

# The log lost its first record: what later ones say is still found, or said to be lost.
cp bare.vtag headless.vtag
zero headless.vtag $((65536 + 512)) 8
rm -f new.vtag
if "$vtag" salvage headless.vtag new.vtag --json >report 2>err; then
    check 'what is left is sound' "$vtag" verify new.vtag
    check 'a lost stretch is told' test "$(number log_lost)" -gt 0
else
    check 'a line says why' test -s err
fi

# A checkpoint makes up for the lost start.
cp db.vtag sealed.vtag
"$vtag" compact sealed.vtag >/dev/null
"$vtag" put sealed.vtag --key later --data 'after the checkpoint' >/dev/null
content sealed.vtag >before-sealed
zero sealed.vtag 16384 512
zero sealed.vtag 32768 512
salvage sealed.vtag
content new.vtag | cmp -s - before-sealed
equal 'a compacted file comes back too' $? 0

# Cut in the middle of its rows.
cp bare.vtag short.vtag
truncate -s 140000 short.vtag
rm -f new.vtag
"$vtag" salvage short.vtag new.vtag >out 2>err
equal 'a cut file is no crash' "$(($? < 2))" 1

# What is no store.
echo 'Dear vtag,' >letter.vtag
rm -f new.vtag
"$vtag" salvage letter.vtag new.vtag >said 2>&1
equal 'a letter is refused' $? 1
equal 'with one line' "$(wc -l <said)" 1
equal 'and makes no file' "$(ls new.vtag 2>/dev/null)" ''
"$vtag" salvage db.vtag bare.vtag >out 2>err
equal 'a file that is there is not overwritten' $? 1

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
