#!/bin/sh
# test_hooks.sh VTAG - guards and notices of backfill, cutover, rollback and retire; and that
# a signal, a panic file or a postpone file is seen at every wait, and last before the step.
set -u
. "$(dirname "$0")/cli.sh"
: "${CC:=cc}"
$CC -std=c99 -O1 -D_GNU_SOURCE -w -o helper "$here/helper_stop.c" -lm -lpthread || exit 1
all="pre-cutover pre-rollback pre-retire cutover cutover-held rollback retire start pause resume
quarantine stopped done postpone"

store() { # store: five items under old@1, all of them pending under new@2
    rm -f db db.*
    "$vtag" declare db --tag old@1 --dim 2 >/dev/null
    for i in 1 2 3 4 5; do
        "$vtag" put db --id $i --data "text $i" --tag old@1 --vector '[1,2]' >/dev/null
    done
    "$vtag" declare db --tag new@2 --dim 2 >/dev/null
}
filled() { # filled: and their vectors under new@2
    store
    "$vtag" backfill db --tag new@2 --exec ./worker >/dev/null 2>&1
}
hook() { # hook NAME BODY: one that keeps what it gets
    printf '#!/bin/sh\ncat >>"%s/got.%s"\n%s\n' "$dir" "$1" "$2" >"hooks/$1"
    chmod +x "hooks/$1"
}
no_hooks() { rm -rf hooks got.*; mkdir hooks; }
active() { "$vtag" status db --json | sed 's/.*"active":"\([^"]*\)".*/\1/'; }
lines() { wc -l <"$1" 2>/dev/null | tr -d ' '; }
until_true() { # until_true COMMAND...: within 20 s
    tries=0
    while ! "$@" >/dev/null 2>&1 && [ $tries -lt 400 ]; do sleep 0.05; tries=$((tries + 1)); done
    "$@" >/dev/null 2>&1
}
begin() { # begin COMMAND...: in the background, with a watchdog and signals by default
    ./helper plain "$@" >out 2>err </dev/null &
    job=$!
}
ended() { # ended CODE PATTERN: what began ends with that and one such line
    wait $job
    got=$?
    if [ $got -eq "$1" ] && [ "$(wc -l <err)" -eq 1 ] && grep -Eq -- "$2" err; then pass
    else fail "code $got, not $1 with one line of '$2'"; fi
}
gone() { ! kill -0 "$(cat hook.pid)" 2>/dev/null; }
cat >worker <<'END'
#!/bin/sh
touch worker.ran
while read -r line; do
    id=${line#*\"id\":} id=${id%%,*} rev=${line#*\"rev\":} rev=${rev%%,*}
    case $line in *poison*) echo "{\"id\":$id,\"rev\":$rev,\"error\":\"too long\"}" ;;
    *) echo "{\"id\":$id,\"rev\":$rev,\"vector\":[2,1]}" ;; esac
done
END
chmod +x worker

# ---- What is checked at the start -------------------------------------------------------

filled
checked() { # checked PATTERN: all four commands refuse the folder, and nothing is done
    "$vtag" dump db >before
    rm -f worker.ran
    ends 2 "$1" "$vtag" backfill db --tag new@2 --exec ./worker --hook hooks
    ends 2 "$1" "$vtag" cutover db --tag new@2 --hook hooks
    ends 2 "$1" "$vtag" cutover db --tag new@2 --hook hooks --dry-run
    ends 2 "$1" "$vtag" cutover db --tag new@2 --hook hooks --rehearse
    ends 2 "$1" "$vtag" rollback db --hook hooks
    ends 2 "$1" "$vtag" retire db --tag new@2 --hook hooks
    "$vtag" dump db >after
    same "nothing changed: $1" before after
    if [ -e worker.ran ]; then fail "a worker ran: $1"; else pass; fi
}
rm -rf hooks
checked 'hooks: No such file'
: >hooks
checked 'hooks: Not a directory'
no_hooks
hook pre-cutover 'exit 0'
chmod -x hooks/pre-cutover
checked 'pre-cutover: is not executable'
no_hooks
hook pre_cutover 'exit 0'
checked 'no event has this name; did you mean pre-cutover'
no_hooks
hook notify 'exit 0'
checked 'there are pre-cutover pre-rollback .* done'
no_hooks
ln -s nowhere hooks/done
checked 'done: is a link to nowhere'
no_hooks
mkdir hooks/cutover
checked 'cutover: is no file'
no_hooks
: >hooks/pre-retire
chmod +x hooks/pre-retire
checked 'pre-retire: is empty'
for line in '#!/no/such/shell' '#!/usr/bin/env no-such-shell' '#! /bin/sh\r'; do
    no_hooks
    printf "$line\nexit 0\n" >hooks/pre-rollback
    chmod +x hooks/pre-rollback
    checked 'pre-rollback: wants .* which is not there'
done
no_hooks
for name in .hidden pre-cutover.sample done~ done.bak done.orig '#done#'; do : >"hooks/$name"; done
mkdir hooks/lib
works 'what is left beside hooks is passed over' "$vtag" cutover db --tag new@2 --hook hooks --dry-run
no_hooks
for name in $all; do hook "$name" ''; done
works 'a dry run' "$vtag" cutover db --tag new@2 --hook hooks --dry-run
works 'a dry run' "$vtag" retire db --tag new@2 --hook hooks --dry-run
equal 'a dry run runs none' "$(ls got.* 2>/dev/null)" ''
works 'every name is known' "$vtag" help hooks
for name in $all; do says "^  $name  "; done
works 'the topic is listed' "$vtag" help
says '^vtag help hooks '
works 'help of help' "$vtag" help help
says '^  cutover '

# ---- Guards of each command ---------------------------------------------------------------

no_hooks
for name in $all; do hook "$name" ''; done
for no in 'exit 9' 'kill -9 $$' 'exit 127'; do
    hook pre-cutover "$no"
    "$vtag" dump db >before
    ends 3 'hooks/pre-cutover says no \(status [0-9]+\); new@2 stays candidate$' \
        "$vtag" cutover db --tag new@2 --hook hooks
    "$vtag" dump db >after
    same 'a no changes nothing' before after
done
hook pre-cutover 'sleep 60'
ends 3 'pre-cutover says no \(gave no answer in ' "$vtag" cutover db --tag new@2 --hook hooks \
    --hook-timeout 0.3s
equal 'old@1 is active' "$(active)" old@1
rm -f got.*
hook pre-cutover ''
works 'a yes' "$vtag" cutover db --tag new@2 --hook hooks --reason 'it is time'
equal 'new@2 is active' "$(active)" new@2
cp got.pre-cutover out
for member in '"event":"pre-cutover"' '"file":"db"' '"tag":"new@2"' '"state":"candidate"' \
    '"from":"old@1","to":"new@2"' '"actor":"[^"]+"' '"gate":\{.*"verdict":"GO".*"fresh":5' \
    '"reason":"it is time"'; do says "$member"; done
equal 'asked once' "$(lines got.pre-cutover)" 1
cp got.cutover out
says '"event":"cutover".*"to":"new@2"'
rm -f got.*
works 'active already' "$vtag" cutover db --tag new@2 --hook hooks
equal 'nobody is asked about nothing' "$(ls got.* 2>/dev/null)" ''
hook pre-rollback 'exit 1'
ends 3 'pre-rollback says no \(status 1\); new@2 stays active' "$vtag" rollback db --hook hooks
equal 'new@2 stays' "$(active)" new@2
hook pre-rollback ''
"$vtag" put db --id 9 --data new --tag new@2 --vector '[1,1]' >out
works 'a rollback' "$vtag" rollback db --hook hooks
equal 'old@1 again' "$(active)" old@1
cp got.rollback out
says '"from":"new@2","to":"old@1".*"hides":1'
rm -f got.*
works 'again' "$vtag" rollback db --hook hooks
equal 'nobody is asked about nothing' "$(ls got.* 2>/dev/null)" ''
hook pre-retire 'exit 1'
"$vtag" dump db >before
ends 3 'pre-retire says no \(status 1\); new@2 stays candidate' "$vtag" retire db --tag new@2 \
    --hook hooks --reason gone
"$vtag" dump db >after
same 'a no changes nothing' before after
hook pre-retire ''
works 'a retirement' "$vtag" retire db --tag new@2 --hook hooks --reason gone
cp got.pre-retire out
says '"items":6,"lost":1,"reason":"gone"'
equal 'told' "$(lines got.retire)" 1
store
ends 3 'the gate holds' "$vtag" cutover db --tag new@2 --hook hooks
equal 'a guard is not asked where the gate holds' "$(ls got.pre-cutover 2>/dev/null)" ''
equal 'told that it held' "$(lines got.cutover-held)" 1
filled
hook cutover 'exit 5'
ends 0 'hook hooks/cutover: status 5; going on' "$vtag" cutover db --tag new@2 --hook hooks
equal 'a notice that fails stops nothing' "$(active)" new@2
filled
hook cutover ''
printf 'exit 4\n' >hooks/pre-cutover
ends 3 'status 4' "$vtag" cutover db --tag new@2 --hook hooks
sigchld() { sh -c 'trap "" CHLD; exec "$@"' sh "$@"; }
ends 3 'status 4' sigchld "$vtag" cutover db --tag new@2 --hook hooks
closed() { "$@" <&-; }
ends 3 'status 4' closed "$vtag" cutover db --tag new@2 --hook hooks
hook pre-cutover 'test -s got.pre-cutover || exit 6'
rm -f got.pre-cutover
works 'with standard input closed' closed "$vtag" cutover db --tag new@2 --hook hooks

# A guard may use the store; what it was asked about is asked again if it is another.
filled
"$vtag" declare db --tag third@1 --dim 2 >/dev/null
no_hooks
hook pre-cutover "[ -e once ] || { touch once; '$vtag' backfill db --tag third@1 --exec ./worker &&
'$vtag' cutover db --tag third@1 || exit 7; } >/dev/null"
rm -f once
works 'another tag became active meanwhile' "$vtag" cutover db --tag new@2 --hook hooks
equal 'asked twice' "$(lines got.pre-cutover)" 2
cp got.pre-cutover out
says '"from":"third@1","to":"new@2"'
equal 'new@2 is active' "$(active)" new@2
filled
no_hooks
hook pre-cutover "'$vtag' put db --id 3 --data changed --tag old@1 --vector '[2,2]' >/dev/null"
ends 3 'the gate holds' "$vtag" cutover db --tag new@2 --hook hooks
equal 'the gate is judged after the guard' "$(active)" old@1

# ---- A guard that comes and goes ------------------------------------------------------------

for how in 'rm hooks/pre-cutover' 'chmod -x hooks/pre-cutover' 'mv hooks away'; do
    store
    no_hooks
    rm -rf away
    hook pre-cutover ''
    hook start "$how"
    "$vtag" backfill db --tag new@2 --exec ./worker --then-cutover --hook hooks >out 2>err
    equal "$how: is a no" $? 3
    equal "$how: nothing flipped" "$(active)" old@1
done
store
no_hooks
hook done ''
hook start 'rm hooks/done'
ends 0 'hook hooks/done: cannot be run: it is gone; going on' "$vtag" backfill db --tag new@2 \
    --exec ./worker --hook hooks

# ---- Stopped while a guard is asked -----------------------------------------------------------

slow='echo $$ >hook.pid; sleep 60'
stopped() { # stopped COMMAND...: by each signal while its guard hangs; nothing changes
    for signal in TERM INT HUP; do
        "$vtag" dump db >before
        rm -f hook.pid
        begin "$@"
        until_true test -s hook.pid
        kill -$signal $job
        ended 1 'interrupted'
        if until_true gone; then pass; else fail "the hook lives: $*"; fi
        "$vtag" dump db >after
        same "$signal: nothing changed: $*" before after
    done
}
no_hooks
for name in pre-cutover pre-rollback pre-retire; do hook $name "$slow"; done
filled
stopped "$vtag" cutover db --tag new@2 --hook hooks
stopped "$vtag" retire db --tag new@2 --hook hooks
"$vtag" cutover db --tag new@2 >out
stopped "$vtag" rollback db --hook hooks
equal 'new@2 is active' "$(active)" new@2
for signal in TERM INT HUP; do
    store
    rm -f hook.pid
    begin "$vtag" backfill db --tag new@2 --exec ./worker --then-cutover --hook hooks
    until_true test -s hook.pid
    kill -$signal $job
    ended 1 'interrupted; new@2 stays candidate'
    says 'filled 5 items'
    equal 'no cutover' "$(active)" old@1
done
store
rm -f hook.pid
begin "$vtag" backfill db --tag new@2 --exec ./worker --then-cutover --hook hooks --panic-file panic
until_true test -s hook.pid
ln -s nowhere panic
ended 1 'panic file is there; new@2 stays candidate'
if until_true gone; then pass; else fail 'the hook lives'; fi
equal 'no cutover' "$(active)" old@1
rm panic
no_hooks
hook pre-cutover 'kill -TERM $PPID; sleep 0.3; exit 0'
filled
begin "$vtag" cutover db --tag new@2 --hook hooks
ended 1 'interrupted'
equal 'a yes that comes with a signal flips nothing' "$(active)" old@1
store
no_hooks
hook start "$slow"
rm -f hook.pid
begin "$vtag" backfill db --tag new@2 --exec ./worker --hook hooks
until_true test -s hook.pid
kill -HUP $job
wait $job
equal 'a notice that hangs is left as well' $? 1

# ---- A second signal ----------------------------------------------------------------------------

store
no_hooks
hook start "$slow"
hook stopped 'trap "" TERM; echo $$ >stopped.pid; sleep 60'
rm -f hook.pid stopped.pid
begin "$vtag" backfill db --tag new@2 --exec ./worker --hook hooks
until_true test -s hook.pid
kill -TERM $job
until_true test -s stopped.pid
kill -TERM $job
wait $job
equal 'a second signal' $? 1
grep -q 'interrupted; stopped, what was answered is in' err && pass || fail 'it says so'
works 'the file is good' "$vtag" verify db --quiet

# ---- Postponed while a guard is asked --------------------------------------------------------

store
no_hooks
hook pre-cutover 'n=$(wc -l <got.pre-cutover); [ $n -gt 1 ] || ln -s nowhere later'
hook postpone ''
begin "$vtag" backfill db --tag new@2 --exec ./worker --then-cutover --hook hooks \
    --postpone-cutover-file later
if until_true test -s got.postpone; then pass; else fail 'it is not postponed'; fi
equal 'no cutover yet' "$(active)" old@1
"$vtag" put db --id 7 --data 'come in meanwhile' --tag old@1 --vector '[1,2]' >/dev/null
rm later
wait $job
equal 'then it cuts over' $? 0
equal 'asked twice' "$(lines got.pre-cutover)" 2
equal 'new@2 is active' "$(active)" new@2
says 'filled 6 items'

# ---- Nothing that waits has the lock -----------------------------------------------------------

store
"$vtag" put db --id 8 --data poison --tag old@1 --vector '[1,2]' >/dev/null
no_hooks
hook quarantine 'echo $$ >hook.pid; sleep 60'
rm -f hook.pid
begin "$vtag" backfill db --tag new@2 --exec ./worker --tries 1 --backoff 5ms --hook hooks
until_true test -s hook.pid
works 'while a hook sleeps, others commit' timeout 20 "$vtag" put db --id 1 --data other --wait 5000
"$vtag" quarantine ls db --tag new@2 >out
says 'too long'
kill -TERM $job
wait $job
cp got.quarantine out
says '"reason":"backfill: too long".*"id":8'
store
"$vtag" put db --id 8 --data poison --tag old@1 --vector '[1,2]' >/dev/null
begin ./helper full "$vtag" backfill db --tag new@2 --exec ./worker --tries 1 --backoff 5ms
waived() { "$vtag" quarantine ls db --tag new@2 | grep -q long; }
if until_true waived; then pass; else fail 'a full standard error keeps the work back'; fi
works 'while standard error is full, others commit' timeout 20 "$vtag" put db --id 1 --data other \
    --wait 5000
kill -9 $job 2>/dev/null
wait $job 2>/dev/null

# ---- Stopped while others have the lock ------------------------------------------------------

held() { grep -q held held.out; }
filled
rm -f db.go
./helper hold db >held.out &
holder=$!
until_true held
for command in "cutover db --tag new@2" "put db --id 1 --data x"; do
    ends 1 'LOCKED|locked|writer' timeout 20 "$vtag" $command --wait 300
done
begin "$vtag" cutover db --tag new@2 --wait 60000
sleep 0.5
kill -TERM $job
ended 1 'interrupted while another writer is at work; nothing changed'
begin "$vtag" backfill db --tag new@2 --exec ./worker --panic-file panic
wait $job
equal 'nothing to do wants no lock' $? 0
touch db.go
wait $holder
store
rm -f db.go
./helper hold db >held.out &
holder=$!
until_true held
begin "$vtag" backfill db --tag new@2 --exec ./worker --panic-file panic
waits() { grep -q 'another writer is at work; waiting' err; }
if until_true waits; then pass; else fail 'it tells that it waits'; fi
touch panic
wait $job
equal 'a panic file is seen while it waits for the lock' $? 1
grep -q 'panic file is there; stopped' err && pass || fail 'it says why'
touch db.go
wait $holder
rm panic
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
