#!/bin/sh
# test_cli.sh VTAG - the command line as a user meets it: each command's main path, and
# each bad input: its exit code, one line on standard error that names the place, and a
# store that is what it was.
set -u
. "$(dirname "$0")/cli.sh"

refuses() { # the same, and db.vtag holds what it held
    "$vtag" dump db.vtag >before
    ends "$@"
    "$vtag" dump db.vtag >after
    same "store after: $*" before after
}
le32() { # little-endian 32-bit numbers
    for n in "$@"; do
        printf "\\$(printf %03o $((n & 255)))\\$(printf %03o $((n >> 8 & 255)))"
        printf "\\$(printf %03o $((n >> 16 & 255)))\\$(printf %03o $((n >> 24 & 255)))"
    done
}
one=1065353216 two=1073741824 nan=2143289344 inf=2139095040 # bits of floats
npy() { # npy DESCR FORTRAN SHAPE: the header; the numbers follow it
    text="{'descr': '$1', 'fortran_order': $2, 'shape': $3, }"
    pad=$((118 - 1 - ${#text}))
    printf '\223NUMPY\001\000\166\000%s%*s\n' "$text" $pad ''
}

# ---- help and usage ---------------------------------------------------------------

works 'help' "$vtag" help
says '^  declare'
commands=$(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' out)
for c in $commands; do
    works "help $c" "$vtag" help "$c"
    says "^usage: vtag $c"
done
ends 2 'vtag help' "$vtag"
ends 2 'did you mean search' "$vtag" serach db.vtag
ends 2 "did you mean --tag" "$vtag" items db.vtag --tga x
ends 2 'FILE is missing' "$vtag" status
ends 2 '--tag NAME is missing' "$vtag" pending db.vtag
ends 2 'whole number' "$vtag" search db.vtag --tag a@1 --vector '[1]' -k ten
ends 2 'one argument too many' "$vtag" tags db.vtag other.vtag

# ---- declare ----------------------------------------------------------------------

works 'declare' "$vtag" declare db.vtag --tag minilm@1 --dim 3 --note 'first model'
says 'minilm@1: active'
works 'declare again' "$vtag" declare db.vtag --tag=minilm@1 --dim=3 --note 'first model'
works 'declare a candidate' "$vtag" declare db.vtag --tag minilm@2/chunk-512 --dim 4
says 'candidate'
works 'another number is no mistake' "$vtag" declare db.vtag --tag minilm@3/chunk-256 --dim 4
refuses 1 "'minlm' looks like 'minilm'" "$vtag" declare db.vtag --tag minlm@1 --dim 3
refuses 1 "'chnk-512' looks like 'chunk-512'" "$vtag" declare db.vtag --tag minilm@4/chnk-512 --dim 3
refuses 1 "try 'baai-bge-small@1'" "$vtag" declare db.vtag --tag BAAI/bge-small --dim 3
refuses 1 "minilm@1.*another name" "$vtag" declare db.vtag --tag minilm@1 --dim 5
refuses 2 '1 to 32,768' "$vtag" declare db.vtag --tag big@1 --dim 40000
ends 1 "try 'a-b@1'" "$vtag" declare none.vtag --tag 'A b' --dim 3
equal 'no file of a failed declaration' "$(ls none.vtag 2>/dev/null)" ''

# ---- put, get, del, items ------------------------------------------------------------

works 'put' "$vtag" put db.vtag --id 1 --data 'first text' --tag minilm@1 --vector '[1,0,0]'
works 'put by key' "$vtag" put db.vtag --key two --data 'second text' --tag minilm@1 --vector '[0,1,0]'
printf 'third\001text\nmore' | "$vtag" put db.vtag --id 3 >out 2>err && pass || fail 'put from a pipe'
works 'get' "$vtag" get db.vtag 1
says 'first text'
works 'get by key' "$vtag" get db.vtag --key two --tag minilm@1
says '^\[0,1,0\]$'
works 'get --json' "$vtag" get db.vtag 1 --json
says '"id":1,"rev":1,'
works 'items' "$vtag" items db.vtag --tag minilm@1
says 'missing +third\?text$'
works 'items by state' "$vtag" items db.vtag --tag minilm@1 --state fresh --json
equal 'two are fresh' "$(wc -l <out | tr -d ' ')" 2
works 'del' "$vtag" put db.vtag --id 4 --data gone
works 'del' "$vtag" del db.vtag 4
refuses 1 'item 4: not found' "$vtag" get db.vtag 4
refuses 1 'item 4: not found' "$vtag" del db.vtag 1 4
refuses 1 "item 'nokey': not found" "$vtag" del db.vtag --key nokey
refuses 1 'item 1: item changed' "$vtag" put db.vtag --id 1 --rev 77 --data x
refuses 1 'has 2 numbers.*dim 3' "$vtag" put db.vtag --id 1 --data x --tag minilm@1 --vector '[1,2]'
refuses 1 'item 1.*no norm' "$vtag" put db.vtag --id 1 --data x --tag minilm@1 --vector '[0,0,0]'
refuses 2 'no id' "$vtag" get db.vtag one

# ---- search --------------------------------------------------------------------------------

works 'search' "$vtag" search db.vtag --tag minilm@1 --vector '[1,0.1,0]'
says '^ +1 +0\.004963 +1 +first text'
works 'search --json' "$vtag" search db.vtag --tag minilm@1 --vector '[0,1,0]' -k1 --json
says '"hits":\[\{"id":"[0-9]+","key":"two","dist":0,"part":0,"stale":false\}\]'
works 'a worker' "$vtag" search db.vtag --tag minilm@1 --text hello --exec \
    'read line; case $line in *hello*) echo "{\"id\":0,\"rev\":1,\"vector\":[0,1,0]}";; esac'
says '^ +1 +0\.000000 +two'
printf '1\n3\n' >only
works '--only' "$vtag" search db.vtag --tag minilm@1 --vector '[0,1,0]' --only only --json
says '"hits":\[\{"id":1,"dist":1,'
works '--max-dist' "$vtag" search db.vtag --tag minilm@1 --vector '[0,1,0]' --max-dist 0.5 --json
equal 'one is near' "$(grep -o '"id"' out | wc -l | tr -d ' ')" 1
works '--threads' "$vtag" search db.vtag --tag minilm@1 --vector '[1,1,0]' --threads 3 --json
refuses 1 'preview' "$vtag" search db.vtag --tag minilm@2 --vector '[1,0,0,0]'
refuses 1 'has 4 numbers.*dim 3' "$vtag" search db.vtag --tag minilm@1 --vector '[1,0,0,0]'
refuses 1 'write more of it' "$vtag" search db.vtag --tag minilm --vector '[1,0,0]'
refuses 1 "no tag 'minlim@1'; did you mean 'minilm@1'" "$vtag" search db.vtag --tag minlim@1 --vector '[1,0,0]'
refuses 2 'no JSON|expected|byte' "$vtag" search db.vtag --tag minilm@1 --vector '[1,0,'
echo '{"id":9,"tag":"minilm@2/chunk-512","vector":[1,0,0]}' >other.jsonl
refuses 1 "line 1.*minilm@2" "$vtag" search db.vtag --tag minilm@1 --queries other.jsonl
refuses 1 'exec.*status 1' "$vtag" search db.vtag --tag minilm@1 --text x --exec 'exit 1'
refuses 2 'isa mmx' "$vtag" search db.vtag --tag minilm@1 --vector '[1,0,0]' --isa mmx

# ---- import: bad inputs -----------------------------------------------------------------------

le32 3 $one 0 0 4 $one 0 0 0 >dims.fvecs
refuses 1 'dims.fvecs: row 2' "$vtag" import db.vtag dims.fvecs --tag minilm@1 --append
le32 4 $one 0 0 0 >wrong.fvecs
refuses 1 'wrong.fvecs: row 1.*300|wrong.fvecs: row 1.* 4 .*3' "$vtag" import db.vtag wrong.fvecs --tag minilm@1 --append
le32 3 $one 0 0 3 $nan 0 0 >nan.fvecs
refuses 1 'nan.fvecs: row 2.*(NaN|not a number)' "$vtag" import db.vtag nan.fvecs --tag minilm@1 --append
le32 3 $one 0 0 3 $inf 0 0 >inf.fvecs
refuses 1 'inf.fvecs: row 2.*(infinity|infinite)' "$vtag" import db.vtag inf.fvecs --tag minilm@1 --append
le32 3 $one 0 0 3 0 0 0 >zero.fvecs
refuses 1 'zero.fvecs: row 2.*(norm|direction)' "$vtag" import db.vtag zero.fvecs --tag minilm@1 --append
le32 3 $one 0 0 3 $one 0 >cut.fvecs
refuses 1 'cut.fvecs: row 2' "$vtag" import db.vtag cut.fvecs --tag minilm@1 --append
le32 99999999 $one >big.fvecs
refuses 1 'big.fvecs: row 1' "$vtag" import db.vtag big.fvecs --tag minilm@1 --append
{ npy '<i4' False '(1, 3)'; le32 1 0 0; } >dtype.npy
refuses 1 "dtype.npy.*<i4" "$vtag" import db.vtag dtype.npy --tag minilm@1 --append
{ npy '<f4' True '(1, 3)'; le32 $one 0 0; } >order.npy
refuses 1 'order.npy.*(Fortran|order)' "$vtag" import db.vtag order.npy --tag minilm@1 --append
{ npy '<f4' False '(2, 3)'; le32 $one 0 0; } >short.npy
refuses 1 'short.npy' "$vtag" import db.vtag short.npy --tag minilm@1 --append
printf '{"id":10,"vector":[1,0,0]}\n{"id":11,"vector":[1,0\n' >bad.jsonl
refuses 1 'bad.jsonl: line 2' "$vtag" import db.vtag bad.jsonl --tag minilm@1 --append
printf '{"id":10,"vector":[1,0,0]}\n{"id":10,"vector":[0,0,1]}\n' >twice.jsonl
refuses 1 'twice.jsonl: line 2.*(10|twice)' "$vtag" import db.vtag twice.jsonl --tag minilm@1 --append
le32 3 $one 0 0 >good.fvecs
refuses 1 '--fill.*--replace.*--append' "$vtag" import db.vtag good.fvecs --tag minilm@1
refuses 1 "no tag 'other@1'|other@1.*--declare" "$vtag" import db.vtag good.fvecs --tag other@1 --append
refuses 1 'nothere.fvecs' "$vtag" import db.vtag nothere.fvecs --tag minilm@1 --append
printf '{"id":20,"vector":[1,0,1]}\n{"id":21,"vector":[1,0]}\n{"id":22,"vector":[1,1,1]}\n' >part.jsonl
"$vtag" import db.vtag part.jsonl --tag minilm@1 --append --partial >out 2>err
equal 'the rest goes in with --partial' "$("$vtag" items db.vtag --json | grep -c '"id":2[0-9]')" 2
works 'del again' "$vtag" del db.vtag 20 22
{ npy '<f4' False '(2, 3)'; le32 $one 0 0 0 $one $two; } >good.npy
works 'import npy' "$vtag" import new.vtag good.npy --tag fresh@1
le32 3 $one 0 0 3 0 $one $two >good2.fvecs
works 'import fvecs' "$vtag" import new2.vtag good2.fvecs --tag fresh@1
for f in new new2; do "$vtag" dump $f.vtag | grep '"kind":"row"' >$f.rows; done
same 'npy and fvecs give the same rows' new.rows new2.rows

# ---- files that are none -----------------------------------------------------------------------

ends 1 'absent.vtag: no such file' "$vtag" status absent.vtag
ends 1 'nodir/x.vtag' "$vtag" declare nodir/x.vtag --tag a@1 --dim 3
echo 'this is no store' >text.vtag
ends 1 'text.vtag: not a vtag file' "$vtag" status text.vtag
ends 1 'folder' "$vtag" status .
ends 1 'nodir/x.vtag: no such folder' "$vtag" declare nodir/x.vtag --tag a@1 --dim 3
ends 1 'cannot make nodir/x.vtag: No such file' "$vtag" copy db.vtag nodir/x.vtag
ends 1 'no plain file' "$vtag" status /dev/null
ln -s knot knot
ends 1 '^vtag: cannot open knot: Too many levels of symbolic links$' "$vtag" status knot
long=$(printf '%0300d' 0)
ends 1 '^vtag: cannot open 0*: File name too long$' "$vtag" declare "$long" --tag a@1 --dim 3
ends 1 'cannot make 0*: File name too long$' "$vtag" copy db.vtag "$long"
ends 2 'text wants 1 to 1,024 bytes' "$vtag" note db.vtag --text "$long$long$long$long"
ends 2 'score wants 1 to 255 bytes' "$vtag" gate db.vtag --tag minilm@2 --score "$long"
cp db.vtag newer.vtag
printf '\377' | dd of=newer.vtag bs=1 seek=12 conv=notrunc 2>/dev/null
ends 1 'newer.vtag: .*written by a newer vtag' "$vtag" status newer.vtag
ends 1 'db.vtag: is there already' "$vtag" copy db.vtag db.vtag
ends 1 'db.vtag: is there already' "$vtag" restore db.vtag before

if [ "$(id -u)" -ne 0 ]; then nobody=
elif command -v setpriv >/dev/null; then
    nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
else nobody=none; fi
if [ "$nobody" = none ] || ! chmod 755 . || ! $nobody "$vtag" --version >/dev/null 2>&1; then
    echo 'skipped: a read-only file, which needs another user than root'
else
    cp db.vtag readonly.vtag
    chmod 444 readonly.vtag
    ends 1 'cannot open [^ ]*/readonly.vtag: Permission denied; check who' $nobody "$vtag" meta readonly.vtag name value
    same 'the read-only file' readonly.vtag db.vtag
    $nobody "$vtag" status readonly.vtag >out 2>err && pass || fail 'looking at a read-only file'
    mkdir ours theirs
    cp db.vtag ours/db.vtag
    chmod 755 ours
    chmod 666 ours/db.vtag
    ends 1 'cannot make a file beside [^ ]*/ours/db.vtag: Permission denied' $nobody "$vtag" compact ours/db.vtag
    ends 1 'cannot make a file beside [^ ]*/ours/x.vtag: Permission denied' $nobody "$vtag" copy db.vtag ours/x.vtag
    ends 1 'cannot open [^ ]*/ours/x.vtag: Permission denied' $nobody "$vtag" declare ours/x.vtag --tag a@1 --dim 3
    same 'what could not be compacted' ours/db.vtag db.vtag
    chmod 777 theirs
    cp db.vtag theirs/db.vtag
    chmod 666 theirs/db.vtag
    if [ "$(id -u)" -eq 0 ]; then
        ends 1 'the rights.*/theirs/db.vtag: Operation not permitted; run it as the owner' $nobody "$vtag" compact theirs/db.vtag
    fi
    equal 'no temporary file is left' "$(ls -A ours theirs | tr '\n' ' ')" 'ours: db.vtag  theirs: db.vtag '
fi

mkfifo pipe
"$vtag" restore locked.vtag - <pipe >/dev/null 2>&1 & # holds the lock until its input ends
holder=$!
exec 3>pipe
sed -n 1,2p before >&3
tries=0
while [ ! -s locked.vtag ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
sleep 0.2
ends 1 'locked.vtag: another writer' "$vtag" meta locked.vtag name value --wait 100
ends 1 'locked.vtag: another writer' timeout 4 "$vtag" meta locked.vtag name value --wait 0
ends 1 'locked.vtag: another writer' timeout 4 "$vtag" compact locked.vtag --wait 0
exec 3>&-
wait $holder

# ---- a migration -----------------------------------------------------------------------------------

works 'pending' "$vtag" pending db.vtag --tag minilm@2
says '^\{"id":1,"rev":1,"data":"first text"\}$'
equal 'all three are pending' "$(wc -l <out | tr -d ' ')" 3
sed 's/"data.*/"vector":[1,2,3,4]}/' out >vectors
refuses 3 '' "$vtag" cutover db.vtag --tag minilm@2 --dry-run
ends 3 'minilm@2/chunk-512 stays candidate' "$vtag" cutover db.vtag --tag minilm@2
says 'coverage +0\.00 %.*HOLD'
works 'it is noted' "$vtag" history db.vtag
says 'held +minilm@2/chunk-512 from minilm@1'
ends 3 '' "$vtag" cutover db.vtag --tag minilm@2 --dry-run --json
says '"verdict":"HOLD"'
{ sed -n 1p vectors; echo '{"id":3,"rev":'; } >broken
ends 1 'broken: line 2: ' "$vtag" fill db.vtag broken --tag minilm@2
equal 'what came before a broken line is in' "$("$vtag" items db.vtag --tag minilm@2 --state fresh --json | wc -l | tr -d ' ')" 1
refuses 1 'dims: line 1: .*2 numbers.*dim 4' sh -c "echo '{\"id\":1,\"rev\":1,\"vector\":[1,2]}' >dims; '$vtag' fill db.vtag dims --tag minilm@2"
refuses 1 'norev: line 1: .*rev' sh -c "echo '{\"id\":1,\"vector\":[1,2,3,4]}' >norev; '$vtag' fill db.vtag norev --tag minilm@2"
echo '{"id":3,"rev":3,"error":"too long"}' >error
"$vtag" fill db.vtag error --tag minilm@2 >out 2>err
says '1 with an error'
equal 'the error is named' "$(grep -c 'line 1: item 3: too long; left pending' err)" 1
"$vtag" fill db.vtag error --tag minilm@2 --waive-errors >out 2>err
equal 'and waived if asked to' "$("$vtag" items db.vtag --tag minilm@2 --state waived --json | wc -l | tr -d ' ')" 1
works 'fill' "$vtag" fill db.vtag vectors --tag minilm@2
works 'the same again' "$vtag" fill db.vtag vectors --tag minilm@2 --batch 1
{ echo '{"id":1,"rev":99,"vector":[1,2,3,4]}'; echo '{"id":99,"rev":1,"vector":[1,2,3,4]}'; } >late
"$vtag" fill db.vtag late --tag minilm@2 >out 2>err
equal 'late answers fill nothing' "$? $(grep -c 'late: line 2: no item 99$' err) $(grep -c 'late: 2 lines, and nothing is filled' err)" '1 1 1'
says '1 changed since.*1 not found'
works 'waive' "$vtag" waive db.vtag 3 --tag minilm@3 --reason 'no text'
works 'lift' "$vtag" waive db.vtag 3 --tag minilm@3 --lift
works 'gate' "$vtag" gate db.vtag --tag minilm@2 --json
says '"verdict":"GO"'
ends 1 'want a --reason' "$vtag" gate db.vtag --tag minilm@3 --min-coverage 0
works 'policy' "$vtag" policy db.vtag --min-coverage 90 --score ndcg@10 --min-score 0.4 --reason 'we measure'
says 'coverage +> 90 %'
ends 2 'wants a --reason' "$vtag" policy db.vtag --min-coverage 95
ends 3 'the gate holds' "$vtag" cutover db.vtag --tag minilm@2
says 'score .*HOLD'
works 'note' "$vtag" note db.vtag --tag minilm@2 --score ndcg@10 --value 0.41 --queries 100
works 'a rehearsal' "$vtag" cutover db.vtag --tag minilm@2 --rehearse
says 'flip +[0-9.]+ ms, then 3 of 3 probes found'
equal 'whose copy is gone' "$(ls -A | grep -c -e rehearsal -e '\.part$')" 0
works 'cutover' "$vtag" cutover db.vtag --tag minilm@2
says 'active: minilm@2/chunk-512, flipped in [0-9.]+ ms'
works 'status' "$vtag" status db.vtag
says 'rollback +to minilm@1, which would not see'
works 'status --json' "$vtag" status db.vtag --json
says '"standby":"minilm@1"'
ends 3 'minilm@1. is kept: .*retention' "$vtag" retire db.vtag --tag minilm@1
says 'are fresh under another tag'
ends 1 'tag is active' "$vtag" retire db.vtag --tag minilm@2
works 'retire --dry-run' "$vtag" retire db.vtag --tag minilm@1 --reason early --dry-run
works 'put under the new tag alone' "$vtag" put db.vtag --id 30 --data new --tag minilm@2 --vector '[1,1,1,1]'
works 'rollback --dry-run' "$vtag" rollback db.vtag --dry-run
says 'hides 2 items'
works 'rollback' "$vtag" rollback db.vtag
says 'active: minilm@1 from minilm@2/chunk-512'
works 'rollback again' "$vtag" rollback db.vtag
says 'nothing to do'
works 'hold' "$vtag" policy db.vtag --hold 'audit' --reason 'auditors ask'
ends 3 'hold: audit' "$vtag" retire db.vtag --tag minilm@3 --reason anyway
works 'no hold' "$vtag" policy db.vtag --no-hold --reason 'auditors are gone'
works 'retire' "$vtag" retire db.vtag --tag minilm@3
ends 1 'retired' "$vtag" pending db.vtag --tag minilm@3

# ---- metadata, care, dump and restore ------------------------------------------------------------------

works 'meta set' "$vtag" meta db.vtag owner 'search team'
works 'meta get' "$vtag" meta db.vtag owner
says '^search team$'
ends 1 "no metadata 'nobody'" "$vtag" meta db.vtag nobody
printf '\377\000\001' | "$vtag" meta db.vtag bytes - >out 2>err && pass || fail 'meta from a pipe'
works 'make one stale' "$vtag" put db.vtag --id 1 --data 'first text, changed'
printf '{"id":40,"rev":1,"vectors":[{"vector":[1,0,0],"off":0,"len":4},{"vector":[0,1,0],"off":4,"len":5}],"data":"two parts"}\n' >parts.jsonl
works 'an item of two parts' "$vtag" import db.vtag parts.jsonl --tag minilm@1 --append
printf 'not \303\050 UTF-8\000' | "$vtag" put db.vtag --id 41 >out 2>err && pass || fail 'put of bytes'
works 'a waiver' "$vtag" waive db.vtag 41 --tag minilm@2 --reason 'no text'
works 'verify' "$vtag" verify db.vtag
works 'dump' "$vtag" dump db.vtag -o first.dump
works 'restore' "$vtag" restore second.vtag first.dump
works 'dump again' "$vtag" dump second.vtag -o second.dump
same 'dump of a restored dump' first.dump second.dump
works 'verify the restored' "$vtag" verify second.vtag
for kind in file tag policy meta item row waiver event; do
    grep -q "\"kind\":\"$kind\"" first.dump && pass || fail "no $kind in the dump"
done
for part in '"data_base64":"bm90IMMoIFVURi04AA=="' '"role":"gone"' '"parts":2,"off":4,"len":5' \
    '"id":1,"tag":"minilm@1","rev":1,' '"key":"two"' '"value_base64":"/wAB"' '"why":"no text"'; do
    grep -Fq "$part" first.dump && pass || fail "no $part in the dump"
done
sed '5s/"kind"/"knd"/' first.dump >spoilt.dump
ends 1 'spoilt.dump: line 5: ' "$vtag" restore third.vtag spoilt.dump
equal 'no file of a failed restore' "$(ls third.vtag 2>/dev/null)" ''
works 'copy' "$vtag" copy db.vtag copy.vtag
"$vtag" dump copy.vtag >copy.dump
same 'dump of a copy' first.dump copy.dump
works 'compact --dry-run' "$vtag" compact db.vtag --dry-run
says '^[0-9.]+ KiB.* about .*: an estimate, true within a tenth; dry run: nothing changed$'
ln db.vtag second-name.vtag
ends 1 'db.vtag: has 2 names' "$vtag" compact db.vtag
rm second-name.vtag
works 'compact' "$vtag" compact db.vtag --isa scalar
says '^[0-9.]+ KiB -> [0-9.]+ KiB$'
cp db.vtag once.vtag
works 'compact again' "$vtag" compact db.vtag
says '^nothing to gain: db.vtag stays as it is, [0-9.]+ KiB$'
works 'and again' "$vtag" compact db.vtag --json
says ',"changed":false,"dry_run":false}$'
equal 'its bytes' "$(sed 's/.*"before":\([0-9]*\).*/\1/' out)" "$(sed 's/.*"after":\([0-9]*\).*/\1/' out)"
same 'what gains nothing' db.vtag once.vtag
works 'verify the compacted' "$vtag" verify db.vtag --json
says '"bad":0'
at=$(grep -abo 'search team' copy.vtag | head -n 1 | cut -d: -f1)
printf 'S' | dd of=copy.vtag bs=1 seek="$at" conv=notrunc 2>/dev/null
ends 3 'copy.vtag' "$vtag" verify copy.vtag
ends 1 'standard output' sh -c "'$vtag' dump db.vtag >/dev/full"

# ---- real data -----------------------------------------------------------------------------------------

data=${VTAG_DATA:-$here/../../shared/data}
isas=
for isa in scalar avx2 avx512 neon; do
    "$vtag" tags db.vtag --isa $isa >/dev/null 2>&1 && isas="$isas $isa"
done

if [ -f "$data/siftsmall/siftsmall_base.fvecs" ]; then
    d=$data/siftsmall
    works 'siftsmall' "$vtag" import sift.vtag "$d/siftsmall_base.fvecs" --tag sift@1 --metric l2
    works 'its queries' "$vtag" search sift.vtag --tag sift@1 --queries "$d/siftsmall_query.fvecs" \
        -k 100 --threads 2 --ivecs found.ivecs --fvecs found.fvecs
    for f in found.ivecs "$d/siftsmall_groundtruth.ivecs"; do
        od -An -v -t d4 -w404 "$f" | cut -c 13- >"$(basename "$f").txt"
    done
    od -An -v -t f4 -w404 found.fvecs >dist.txt
    od -An -v -t f4 -w516 "$d/siftsmall_query.fvecs" >query.txt
    od -An -v -t f4 -w516 "$d/siftsmall_base.fvecs" |
        awk -v truth=siftsmall_groundtruth.ivecs.txt -v found=found.ivecs.txt -v dist=dist.txt -v query=query.txt '
        { for (j = 2; j <= 129; j++) base[NR - 1, j] = $j }
        END {
            while ((getline line <truth) > 0) {
                split(line, id)
                getline line <query; split(line, q)
                getline line <dist; split(line, got)
                getline line <found; split(line, have)
                for (i = 1; i <= 100; i++) {
                    sum = 0
                    for (j = 2; j <= 129; j++) { x = q[j] - base[id[i], j]; sum += x * x }
                    wrong += sum != got[i + 1] + 0
                    moved += id[i] != have[i]
                    all++
                }
            }
            print all, wrong + 0, moved + 0
        }' >counts
    read -r all wrong moved <counts
    equal 'answers compared with the ground truth' "$all" 10000
    equal 'distances that differ from the ground truth' "$wrong" 0
    if [ "$moved" -le 18 ]; then pass; else fail "$moved positions moved, more than ties explain"; fi
else
    echo "skipped: siftsmall, which is not here"
fi

if [ -f "$data/nmslib/final8_10K.txt" ]; then
    d=$data/nmslib
    works 'nmslib' "$vtag" import hist.vtag "$d/final8_10K.txt" --tag hist@1 --metric l2 --ids-column none
    cp "$d/final8_query1K.txt" query1k.txt
    for isa in $isas; do
        "$vtag" search hist.vtag --tag hist@1 --queries query1k.txt -k 20 --isa $isa --ivecs "$isa.i" --fvecs "$isa.f" \
            >out 2>err && pass || fail "search --isa $isa"
        same "ids of $isa" scalar.i "$isa.i"
        same "distances of $isa" scalar.f "$isa.f"
    done
    head -n 20 "$d/final8_10K.txt" >self.txt
    works 'rows as their own queries' "$vtag" search hist.vtag --tag hist@1 --queries self.txt -k 50 --json
    ties=$(sed 's/.*"hits"://; s/},{/\n/g' out | awk -F '[:,}]' '
        /^\[/ { last = -1 }
        { id = $2; dist = $4
          if (last >= 0 && dist + 0 < far) bad++
          if (last >= 0 && dist == far && id + 0 <= last) bad++
          last = id + 0; far = dist }
        END { print bad + 0 }')
    equal 'answers out of (distance, id) order' "$ties" 0
    echo "      kernels compared:$isas"
else
    echo "skipped: nmslib, which is not here"
fi

if [ -f "$data/sift5k/sift-dataset-5k.tsv" ]; then
    d=$data/sift5k
    works 'sift5k' "$vtag" import sift5k.vtag "$d/sift-dataset-5k.tsv" --tag sift@1 --metric l2 --ids-column last
    works 'its queries' "$vtag" search sift5k.vtag --tag sift@1 --queries "$d/sift-query-3.tsv" -k 3 --json
    equal 'three answers' "$(wc -l <out | tr -d ' ')" 3
    awk 'NR == FNR { for (j = 1; j <= 128; j++) q[FNR, j] = $j; n = FNR; next }
         { for (i = 1; i <= n; i++) {
               sum = 0
               for (j = 1; j <= 128; j++) { x = q[i, j] - $j; sum += x * x }
               if (!(i in best) || sum < best[i]) { best[i] = sum; id[i] = $129 }
           } }
         END { for (i = 1; i <= n; i++) print id[i], best[i] }' \
        "$d/sift-query-3.tsv" "$d/sift-dataset-5k.tsv" >want
    sed 's/.*"hits":\[{"id":\([0-9]*\),"dist":\([0-9]*\).*/\1 \2/' out >got
    same 'nearest by plain arithmetic' want got
else
    echo "skipped: sift5k, which is not here"
fi

glove=$data/glove/glove6B300_vs_glove840B300
if [ -f "$glove.words.txt" ]; then
    works 'glove v1' "$vtag" import glove.vtag "$glove.glove6B300.npy" --tag glove@6b
    works 'glove v2' "$vtag" import glove.vtag "$glove.glove840B300.npy" --tag glove@840b --fill --declare
    works 'all of v2 is there' "$vtag" gate glove.vtag --tag glove@840b
    for q in 6b:6B300:6b 840b:840B300:840b 6b:840B300:cross; do
        tag=${q%%:*} file=${q#*:} to=${q##*:}
        "$vtag" search glove.vtag --tag "glove@$tag" --preview --queries "$glove.glove${file%:*}.npy" \
            -k 11 --ivecs "$to.ivecs" >out 2>err && pass || fail "glove $q"
        od -An -v -t d4 -w48 "$to.ivecs" >"$to.txt"
    done
    for pair in '6b 840b' '6b cross'; do
        # shellcheck disable=SC2086
        paste -d ' ' $(printf '%s.txt ' $pair) | awk '{
            split("", near); me = NR - 1; n = 0
            for (i = 2; i <= 12 && n < 10; i++) if ($i != me) { near[$i]; n++ }
            for (i = 14; i <= 24 && m[NR] < 10; i++) if ($i != me) { m[NR]++; hit += $i in near }
        } END { printf "%.3f\n", hit / NR / 10 }'
    done >overlaps
    equal 'overlap of v1 and v2, each by its own model' "$(sed -n 1p overlaps)" 0.487
    cross=$(sed -n 2p overlaps) # chance would be 0.014
    if expr "$cross" : '0\.00[0-3]$' >/dev/null; then pass; else fail "v1 rows by v2 queries: $cross"; fi
else
    echo "skipped: glove, which is not here"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
