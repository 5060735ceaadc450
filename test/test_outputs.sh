#!/bin/sh
# test_outputs.sh VTAG - what a command does to a path that it writes: never the store or an
# input, nothing that is no plain file, and of a plain file all of it or nothing.
set -u
. "$(dirname "$0")/cli.sh"
trap 'umount "$dir/small" 2>/dev/null; rm -rf "$dir"' EXIT

check() { # check SENTENCE COMMAND...
    what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}
printf '{"id":1,"data":"one","vector":[1,0]}\n{"id":2,"data":"two","vector":[0,1]}\n' >items.jsonl
"$vtag" import db --tag m@1 items.jsonl >out 2>err || fail import
"$vtag" dump db >whole
cp db kept
sum() { cksum <"$1"; }
before=$(sum db)
nothing_left() { equal "no temporary after $1" "$(find . -name '.vtag-out*')" ''; }

write() { # write WHICH PATH: each command that writes a path
    case $1 in
        dump) "$vtag" dump db -o "$2" ;;
        report) "$vtag" report db -o "$2" ;;
        ivecs) "$vtag" search db --tag m@1 --vector '[1,0]' --ivecs "$2" ;;
        fvecs) "$vtag" search db --tag m@1 --vector '[1,0]' --fvecs "$2" ;;
    esac
}

# ---- The store, by any name ------------------------------------------------------------

ln -s db link
ln db hard
mkdir -p folder
ln -s .. folder/up
for which in dump report ivecs fvecs; do
    for path in db ./db link hard folder/../db folder/up/db "$dir/db"; do
        ends 2 'is the store itself' write $which $path
        equal "$which -o $path leaves the store" "$(sum db)" "$before"
    done
done
rm hard
ends 2 'standard output is db' sh -c '"$0" dump db >>db' "$vtag"
equal 'nor does a redirected dump touch it' "$(sum db)" "$before"

# ---- Inputs, and other outputs -------------------------------------------------------------

printf '{"id":1,"vector":[1,0]}\n' >q.jsonl
cp q.jsonl q.kept
echo 1 >only
search() { "$vtag" search db --tag m@1 --queries q.jsonl --only only "$@"; }
ends 2 '--ivecs q.jsonl is the file of --queries' search --ivecs q.jsonl
ends 2 '--fvecs ./only is the file of --only' search --fvecs ./only
same 'the queries stay' q.jsonl q.kept
equal 'and the ids' "$(cat only)" 1
ends 2 'is the file of --ivecs' search --ivecs new --fvecs ./new
ends 2 'is the file of --ivecs' search --ivecs new --fvecs folder/up/new
ln -s new dangling
ends 2 'is the file of --ivecs' search --ivecs new --fvecs dangling
rm dangling
ends 2 'is the file of --ivecs' search --ivecs - --fvecs -
ends 2 '--ivecs q.jsonl is the file of --queries' sh -c \
    '"$0" search db --tag m@1 --queries - --format jsonl --ivecs q.jsonl <q.jsonl' "$vtag"
same 'the queries stay on standard input too' q.jsonl q.kept
equal 'nothing was made' "$(ls new 2>/dev/null)" ''
works 'two outputs' search --ivecs i --fvecs f
equal 'of two hits and their count' "$(wc -c <i | tr -d ' ') $(wc -c <f | tr -d ' ')" '8 8'
works 'two outputs that nobody wants' search --ivecs /dev/null --fvecs /dev/null

# ---- What is no plain file -----------------------------------------------------------------

for which in dump report ivecs fvecs; do
    mkfifo fifo
    cat fifo >through &
    works "$which into a FIFO" write $which fifo
    wait
    check "$which: the FIFO is still there" [ -p fifo ]
    check "$which: and passed it on" [ -s through ]
    rm fifo
    works "$which into /dev/null" write $which /dev/null
    check "$which: which is a device still" [ -c /dev/null ]
    if [ -c /dev/full ]; then ends 1 '/dev/full: No space left' write $which /dev/full; fi
    ends 1 'folder: is a folder' write $which folder
    ends 1 'nofolder/x: No such file' write $which nofolder/x
    ends 1 'items.jsonl/x: Not a directory' write $which items.jsonl/x
done
if mknod node c 1 3 2>/dev/null; then
    works 'dump into a device node' "$vtag" dump db -o node
    check 'which is one still' [ -c node ]
    rm node
fi
"$vtag" dump db -o /dev/stdout 2>err | cat >piped
same '/dev/stdout is a pipe' piped whole
(echo first; "$vtag" dump db -o /dev/stdout; echo last) >plain 2>err
equal '/dev/stdout is a plain file, written on' "$(sed -n '1p;$p' plain | tr '\n' ' ')" 'first last '
sed '1d;$d' plain >middle
same 'with all of the dump in it' middle whole
works '-o -' "$vtag" dump db -o -
same 'is standard output' out whole

# ---- Links ---------------------------------------------------------------------------------

echo old >target
ln -s target soft
ln -s soft softer
works 'through links' "$vtag" dump db -o softer
check 'the links stay' [ -L soft ] && check 'both' [ -L softer ]
same 'the target is written' target whole
ln -s folder/fresh lead
works 'a link that leads nowhere' "$vtag" dump db -o lead
check 'stays' [ -L lead ]
same 'and its target is made' folder/fresh whole
ln -s loop loop
ends 1 'loop: Too many' "$vtag" dump db -o loop
echo old >one
ln one other
ends 1 'one: has 2 names' "$vtag" dump db -o one
equal 'both as they were' "$(cat one other | tr '\n' ' ')" 'old old '
check 'and one file still' [ one -ef other ]

# ---- Plain files: all or nothing -------------------------------------------------------------

echo old >private
chmod 640 private
works 'a file of narrow rights' "$vtag" dump db -o private
equal 'keeps them' "$(ls -l private | cut -c1-10)" '-rw-r-----'
(umask 027; "$vtag" dump db -o masked)
equal 'a new file has those of the umask' "$(ls -l masked | cut -c1-10)" '-rw-r-----'
echo mine >target.part
works 'a file of the name that dumps once took' "$vtag" dump db -o target
equal 'is nobody else'\''s' "$(cat target.part)" mine
long=$(printf '%0248d' 0)
works 'a name of 248 bytes' "$vtag" dump db -o "$long"
same 'is no problem' "$long" whole
works 'nor' "$vtag" report db -o "$long"
if [ "$(id -u)" = 0 ]; then
    chown 4321:1234 private
    works 'a file of another' "$vtag" dump db -o private
    equal 'stays theirs' "$(ls -ln private | awk '{ print $1, $3, $4 }' | sed 's/\.//')" '-rw-r----- 4321 1234'
fi
cp db broken
printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' | dd of=broken bs=1 seek=0 conv=notrunc 2>/dev/null
printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' | dd of=broken bs=1 seek=4096 conv=notrunc 2>/dev/null
ends 1 'broken' "$vtag" dump broken -o target
same 'a dump that fails leaves the old one' target whole
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "{\"id\":%d,\"data\":\"%0200d\"}\n", i, i }' >many.jsonl
"$vtag" import big many.jsonl >out 2>err || fail 'import of many'
echo old >old
(trap '' XFSZ; ulimit -f 100; exec "$vtag" dump big -o old) >out 2>err
equal 'a file that may not grow' $? 1
check 'is named, with the reason' grep -q 'old: File too large' err
equal 'and holds what it held' "$(cat old)" old
mkdir small
if mount -t tmpfs -o size=300k tmpfs small 2>/dev/null; then
    echo old >small/old
    ends 1 'small/old: No space left' "$vtag" dump big -o small/old
    equal 'what was there is whole' "$(cat small/old)" old
    equal 'and alone' "$(ls -A small)" old
    ends 1 'small/new: No space left' "$vtag" dump big -o small/new
    equal 'no new file is left' "$(ls -A small)" old
    umount small
else
    echo 'skipped: a small disk, which wants the right to mount'
fi
if [ "$(id -u)" != 0 ]; then
    chmod 444 old
    ends 1 'old: Permission denied' "$vtag" dump db -o old
    chmod 644 old
fi

# ---- Signals -------------------------------------------------------------------------------

awk 'BEGIN { for (i = 0; i < 60000; i++) printf "{\"id\":%d,\"data\":\"%0400d\"}\n", i, i }' >more.jsonl
"$vtag" import bigger more.jsonl >out 2>err || fail 'import of more'
rm more.jsonl
for sig in INT TERM; do
    "$vtag" dump bigger -o old >out 2>err &
    pid=$!
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -z "$(find . -name '.vtag-out*')" ] || break
        sleep 0.02
    done
    kill -$sig $pid
    wait $pid
    code=$?
    if [ $code -ne 0 ]; then pass; else fail "SIG$sig came too late to be seen"; fi
    equal "after SIG$sig the old file is whole" "$(cat old)" old
    nothing_left "SIG$sig"
done
mkfifo fifo # which nobody reads, so that the search waits for a reader
"$vtag" search db --tag m@1 --vector '[1,0]' --ivecs old --fvecs fifo >out 2>err &
pid=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    [ -z "$(find . -name '.vtag-out*')" ] || break
    sleep 0.1
done
check 'a search writes beside its file' [ -n "$(find . -name '.vtag-out*')" ]
kill -TERM $pid
wait $pid
equal 'ends by the signal' $? 143
equal 'with the old file whole' "$(cat old)" old
nothing_left all

equal 'the store was never touched' "$(sum db)" "$before"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
