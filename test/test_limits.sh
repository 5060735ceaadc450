#!/bin/sh
# What a command says when the world is against it: two keys with one id (the hook
# VTAG_KEY_HASH), a file that may not grow, a disk that is full.
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
$CC -std=c99 -O0 -include "$dir/hash.h" -I"$here/.." -o clash "$here"/../tools/*.c \
    "$here/../vtag_impl.c" -lm -lpthread
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
    umount small
elif [ "${CI:-}" = true ]; then
    fail 'cannot mount a small disk'
else
    echo 'skipped: a full disk, which takes root to mount'
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
