#!/bin/sh
# What a command says when the world is against it: two keys with one id (the hook
# VTAG_KEY_HASH), a file that may not grow, a disk that is full, another writer in a file
# that the command has made.
#   sh test/test_limits.sh PATH/OF/vtag
set -u
. "$(dirname "$0")/cli.sh"
trap 'umount "$dir/small" 2>/dev/null; rm -rf "$dir"' EXIT
: "${CC:=cc}"

check() { # check SENTENCE COMMAND...
    what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}
refused() { # exit code 1, and one line on standard error that holds $1
    [ "$code" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "$1" err
}
lines() { # lines N DIMS: that many records of JSON Lines
    awk -v n="$1" -v d="$2" 'BEGIN { for (i = 0; i < n; i++) { printf "{\"id\":%d,\"vector\":[", i
        for (j = 0; j < d; j++) printf "%s%d", j ? "," : "", (i * 7 + j * 3) % 19 + 1; print "]}" } }'
}

cat >hash.h <<'END'
#define VTAG_KEY_HASH(key, n) ((void)(key), (uint64_t)(n))
END
mkdir clashing
(cd clashing && $CC -std=c99 -O0 -include "$dir/hash.h" -I"$here/.." -c "$here"/../tools/*.c "$here/../vtag_impl.c")
$CC -o clash clashing/*.o -lm -lpthread
printf '{"key":"ada","vector":[1,2]}\n{"key":"bob","vector":[2,1]}\n' >keys.jsonl
./clash import keys.vtag --tag m@1 keys.jsonl >out 2>err
code=$?
check 'two keys with one id are an error that names the second' refused 'line 2'
check 'and nothing is left of the import' [ ! -e keys.vtag ]
printf '{"key":"ada","vector":[1,2]}\n' | ./clash import keys.vtag --tag m@1 --format jsonl - >out 2>err
printf '{"key":"bob","vector":[2,1]}\n' | ./clash import keys.vtag --tag m@1 --replace --format jsonl - >out 2>err
code=$?
check 'nor does one replace the other' refused 'line 1'
./clash get keys.vtag --key ada >out 2>err
check 'the first keeps its id' grep -q ada out

lines 100 8 | "$vtag" import kept.vtag --tag m@1 --format jsonl - >out 2>err
"$vtag" dump kept.vtag >before
lines 4000 256 | sed 's/"id":/&90000/' >more.jsonl
(trap '' XFSZ; ulimit -f 1024; "$vtag" import kept.vtag --tag n@1 --declare --append more.jsonl >out 2>err)
code=$?
check 'a file that may not grow is an error' refused 'space'
"$vtag" dump kept.vtag >after
check 'and the store is as it was' cmp -s before after
check 'and sound' "$vtag" verify kept.vtag >out

mkdir small
if mount -t tmpfs -o size=700k tmpfs small 2>/dev/null; then
    lines 100 8 | "$vtag" import small/full.vtag --tag m@1 --format jsonl - >out 2>err
    "$vtag" import small/full.vtag --tag n@1 --declare --append more.jsonl >out 2>err
    code=$?
    check 'a full disk is an error that says so' refused 'space'
    dd if=/dev/zero of=small/rest bs=4096 >out 2>&1
    check 'a full disk still deletes' "$vtag" del small/full.vtag 3 >out 2>err
    check 'a full disk still answers' "$vtag" verify small/full.vtag >out 2>err
    dd if=/dev/zero of=small/more bs=4096 >out 2>&1
    "$vtag" import small/late.vtag --tag m@1 --format jsonl keys.jsonl >out 2>err
    code=$?
    check 'nor is there room for a new store' refused 'space'
    rm small/rest small/more small/full.vtag
    check 'which can be made when there is' "$vtag" import small/late.vtag --tag m@1 --format jsonl keys.jsonl >out 2>err
    umount small
elif [ "${CI:-}" = true ]; then
    fail 'cannot mount a small disk'
else
    echo 'skipped: a full disk, which takes root to mount'
fi

# A declare that says when its file is made, and waits for another's word before it begins.
cat >slow.h <<'END'
#include <stdlib.h>
#include "tools/cmd.h"
static int slow_begin(cli_store *st, uint64_t rows)
{
    if (system("echo made >made; while [ ! -e go ]; do sleep 0.02; done")) abort();
    return cli_begin(st, rows);
}
#define cli_begin slow_begin
END
cat >holder.c <<'END'
#define VTAG_IMPLEMENTATION
#include "vtag.h"
#include <stdio.h>
int main(int argc, char **argv) /* commits an item if there is a second argument, and begins again */
{
    vtag_db *db;
    vtag_batch *b;
    vtag_item item = {1};
    if (vtag_open(argv[1], NULL, &db) || vtag_begin(db, NULL, &b)) return 1;
    if (argc > 2 && (vtag_put(b, &item, NULL, 0) || vtag_commit(b) || vtag_begin(db, NULL, &b))) return 1;
    puts("held");
    fflush(stdout);
    getchar();
    vtag_abort(b);
    vtag_close(db);
    return 0;
}
END
$CC -std=c99 -O0 -D_XOPEN_SOURCE=700 -include "$dir/slow.h" -I"$here/.." -c -o clashing/cmd_change.o "$here/../tools/cmd_change.c"
$CC -o slow clashing/*.o -lm -lpthread
$CC -std=c99 -O0 -I"$here/.." -o holder holder.c -lm -lpthread
until_there() { # until_there FILE: it is there and not empty, or twenty seconds are over
    tries=0
    while [ ! -s "$1" ] && [ $tries -lt 1000 ]; do sleep 0.02; tries=$((tries + 1)); done
}
declares() { # declares STORE [HOLDER'S SECOND ARGUMENT]: while another holds the lock of what it made
    rm -f made go held word
    mkfifo word
    ./slow declare "$1" --tag m@1 --dim 2 --wait 200 >out 2>err &
    declaring=$!
    until_there made
    ./holder "$@" <word >held &
    exec 3>word
    until_there held
    touch go
    wait $declaring
    code=$?
}
declares early.vtag commits
check 'a declare that made the file gives up waiting for the writer who found it' refused 'another writer'
check 'whose commit is there at once' "$vtag" get early.vtag 1 >out
exec 3>&-
wait
check 'and afterwards' "$vtag" verify early.vtag >out
declares held.vtag
check 'and where that one has not committed yet' refused 'another writer'
check 'the file stays too' [ -e held.vtag ]
exec 3>&-
wait
touch free.vtag
"$vtag" declare free.vtag --tag m@1 --dim 2 >out 2>err
check 'an empty file becomes a store' "$vtag" verify free.vtag >out

mkdir there
ln -s there/far.vtag link.vtag
"$vtag" dump kept.vtag >kept.dump
sed '$s/"kind"/"knd"/' kept.dump >spoilt.dump
"$vtag" restore link.vtag spoilt.dump >out 2>err
code=$?
check 'a restore through a link that fails' refused 'spoilt.dump'
check 'leaves no file at its end' [ ! -e there/far.vtag ]
check 'and the link' [ -L link.vtag ]
check 'so that the next one works' "$vtag" restore link.vtag kept.dump >out
check 'through the link' "$vtag" verify there/far.vtag >out
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
