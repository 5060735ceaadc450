#!/bin/sh
# test_backfill.sh VTAG - backfills with workers that misbehave, throttles, hooks, plans,
# the quarantine; and kill -9 again and again while an application writes all through.
#   KILLS=N  how often it is killed (100); SEED=N of when
set -u
vtag=$1
case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
dir=$(mktemp -d) || exit 1
children=
trap 'for p in $children; do kill "$p" 2>/dev/null; done; umount "$dir/small" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0
: "${CC:=cc}" "${KILLS:=100}"
$CC -std=c99 -O1 -D_GNU_SOURCE -o helper "$home/test/helper_backfill.c" -lm -lpthread || exit 1

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "FAIL  $1"; sed 's/^/      /' out err 2>/dev/null | head -n 12; }
check() { # check SENTENCE COMMAND...
    what=$1
    shift
    if "$@"; then pass; else fail "$what"; fi
}
ends() { # ends CODE COMMAND...: its output in out, its errors in err
    want=$1
    shift
    timeout 60 "$@" >out 2>err </dev/null
    got=$?
    if [ $got -eq "$want" ]; then pass; else fail "code $got, not $want: $*"; fi
}
says() { check "output says $1" grep -Eq -- "$1" out; }
warns() { check "standard error says $1" grep -Eq -- "$1" err; }
until_true() { # until_true COMMAND...: within 20 s
    tries=0
    while ! "$@" >seen 2>&1 && [ $tries -lt 400 ]; do sleep 0.05; tries=$((tries + 1)); done
    "$@" >seen 2>&1
}
state() { "$vtag" status db --json | grep -o '"backfill":{[^}]*}'; }
state_is() { state | grep -Eq "$1"; }
coverage() { # coverage STATE: how many items are in it under new@2
    "$vtag" status db --json | sed 's/.*"tag":"new@2"[^{]*"cover":{\([^}]*\)}.*/\1/' |
        tr ',' '\n' | sed -n "s/^\"$1\"://p"
}
fresh() { # fresh [TEXT...]: a store of 3,000 items, and one more for each text
    rm -f db db.* list
    ./helper app db list 0
    n=100000
    for text in "$@"; do
        "$vtag" put db --id $n --data "$text" --tag old@1 --vector '[1,2,3,4]' >/dev/null
        n=$((n + 1))
    done
}
cat >fill <<END # fill WORKER [OPTIONS...]
#!/bin/sh
w=\$1
shift
exec "$vtag" backfill db --tag new@2 --exec "exec ./helper worker \$w" --backoff 5ms "\$@"
END
chmod +x fill
whole() { # every item has its vector, and the file is good
    check "$1: exact" ./helper check db new@2 list
    check "$1: verify" "$vtag" verify db --quiet >out
}

# ---- Workers, well and badly behaved -----------------------------------------------------

for w in good reorder repeat noise end later exit75; do
    fresh
    ends 0 ./fill $w --chunk-time 50ms
    says 'filled 3,000 items'
    whole "$w"
done
fresh
ends 0 ./fill good --workers 3 --order newest --json
says '"filled":3000,"vectors":3000,"changed":0,.*"repeated":0,"retries":0'
whole 'three workers, newest first'
for w in crash error nan zero; do
    fresh 'the poison' 'no harm' 'more poison'
    ends 0 ./fill $w --batch 200
    says 'filled 3,001 items .*2 quarantined'
    warns 'item 100000 is quarantined'
    check "$w: the file is good" "$vtag" verify db --quiet >out
done
fresh 'the poison'
ends 0 ./fill hang --batch 64 --tries 2 --timeout 150ms
says '1 quarantined'
check 'a hanging worker costs its item alone' [ "$(coverage fresh)" -eq 3000 ]
fresh
ends 0 ./fill half --tries 2 --timeout 1s
whole 'what a worker leaves is asked again while it answers anything'
fresh
ends 0 ./fill few --workers 2 --tries 1 --json
says '"filled":3000,.*"unanswered":0,.*"retries":0'
whole 'workers that end well after five answers each'
fresh 'the poison' 'no harm' 'more poison'
ends 1 ./fill skip --tries 2 --timeout 1s
warns '2 items were not answered in 2 tries and stay pending'
check 'they are pending' [ "$(coverage missing)" -eq 2 ]
check 'and nothing is waived' [ "$(coverage waived)" -eq 0 ]
fresh
ends 1 ./fill broken
warns 'fails on everything it is asked, nothing is quarantined'
check 'nothing is waived' [ "$(coverage waived)" -eq 0 ]
ends 1 ./fill dim
warns 'vectors have 3 numbers, tag new@2 has dim 6'
ends 1 "$vtag" backfill db --tag new@2 --exec ./none
warns 'cannot be run'
ends 2 "$vtag" backfill db --tag new@2
ends 2 "$vtag" backfill db --tag new@2 --exec true --order best

# ---- Quarantine ----------------------------------------------------------------------------

fresh 'the poison' '' 'more poison'
ends 0 ./fill error
says '2 quarantined; 1 empty, waived'
ends 0 "$vtag" quarantine ls db --tag new@2
says '^ +2  backfill: too long$'
says '^ +1  empty'
ends 0 "$vtag" quarantine ls db --tag new@2 --reason long --json
check 'two are listed' [ "$(wc -l <out)" -eq 2 ]
ends 0 ./fill broken
says 'filled 0 items'
ends 0 "$vtag" quarantine retry db 100000 --tag new@2
ends 1 ./fill broken
warns 'fails even where it did not before, nothing is quarantined'
ends 0 "$vtag" quarantine retry db --tag new@2 --exec './helper worker good'
says 'filled 2 items'
ends 0 "$vtag" quarantine ls db --tag new@2
ends 1 "$vtag" quarantine lift db 7 --tag new@2
ends 2 "$vtag" quarantine lift db --tag new@2
ends 0 "$vtag" quarantine lift db --all --tag new@2
says 'lifted 1 '
ends 0 "$vtag" quarantine ls db --tag new@2
says 'nothing is quarantined'

# ---- Plan --------------------------------------------------------------------------------------

fresh
ends 0 "$vtag" plan db --tag new@2 --rate 100 --target 60s
says 'to embed +3,000 items'
says 'time +30 s'
says 'on time'
ends 3 "$vtag" plan db --tag new@2 --rate 100 --target 10s
warns 'after the target'
ends 3 "$vtag" plan db --tag new@2 --rate 100 --target 2020-02-29
ends 2 "$vtag" plan db --tag new@2 --target tomorrow
ends 0 "$vtag" plan db --tag new@2 --rate 100 --target 1h --keep
check 'the target is kept' test -n "$("$vtag" meta db plan:new@2)"
ends 0 "$vtag" plan db --tag other@3 --dim 128 --json
says '"items":3000,.*"vector_bytes":1728000'
ends 0 "$vtag" plan db --tag new@2 --exec './helper worker good'
says 'items/s, from a sample'
"$vtag" dump db >before
ends 0 ./fill good --dry-run
says 'forecast'
"$vtag" dump db >after
check 'a dry run writes nothing' cmp -s before after

# ---- Throttles, hooks, cutover ----------------------------------------------------------------

mkdir hooks
for h in start pause resume done stopped postpone pre-cutover cutover; do
    printf '#!/bin/sh\ncat >>%s/hooks.log\n' "$dir" >hooks/$h
    chmod +x hooks/$h
done
touch pause
./fill slow --pause-file pause --panic-file panic --hook hooks --chunk-time 20ms >out 2>err &
children=$!
check 'a pause shows in status, with its reason' until_true state_is '"state":"paused","silent":false,"reason":"pause file pause is there"'
check 'nothing is done in a pause' [ "$(coverage fresh)" -eq 0 ]
rm pause
check 'then it goes on' until_true state_is '"state":"running".*"done":[1-9]'
touch panic
wait $children
check 'a panic file stops it' [ $? -eq 1 ]
warns 'paused: pause file'
warns 'panic file is there; stopped'
check 'status says so' state_is '"state":"stopped","silent":false,"reason":"panic file is there"'
check 'in the middle' [ "$(coverage missing)" -gt 0 ]
rm panic
check 'hooks were told' grep -q '"event":"pause",.*"reason":"pause file pause is there"' hooks.log
check 'hooks were told' grep -q '"event":"stopped",' hooks.log
from=$(date +%s)
ends 0 ./fill good --rate 1000 --hook hooks --max-load 10000
check '--rate holds it back' [ $(($(date +%s) - from)) -ge 1 ]
whole 'after pause and panic'
check 'a burn-down is kept' test "$("$vtag" meta db progress:new@2 | tr -dc '[' | wc -c)" -gt 3
fresh
./fill slow --max-load 0.000001 >out 2>err &
children=$!
check 'load pauses it' until_true state_is '"state":"paused","silent":false,"reason":"load .* is over'
kill -9 $children
wait $children 2>/dev/null
check 'a killed one shows in status' state_is '"state":"paused","silent":true'
"$vtag" status db >out
says 'backfill +new@2: paused \(silent\): load'
printf '#!/bin/sh\nexit 9\n' >hooks/pre-cutover
ends 3 ./fill good --then-cutover --hook hooks
warns 'pre-cutover says no \(status 9\)'
rm hooks/pre-cutover
touch later
./fill good --then-cutover --postpone-cutover-file later --hook hooks >out 2>err &
children=$!
check 'a cutover is postponed' until_true state_is 'cutover postponed by later'
"$vtag" put db --id 5 --data 'come in meanwhile' --tag old@1 --vector '[1,2,3,4]' >/dev/null
none_left() { [ "$(coverage missing)$(coverage stale)" = 00 ]; }
check 'what comes in is filled' until_true none_left
rm later
wait $children
check 'then it cuts over' [ $? -eq 0 ]
says 'active: new@2'
check 'the hook was told' grep -q '"event":"cutover",' hooks.log
check 'new@2 is active' [ "$("$vtag" status db --json | grep -o '"active":"[^"]*"')" = '"active":"new@2"' ]
fresh poison poison poison poison poison
ends 3 ./fill error --then-cutover

# ---- A space too small, and other chunks ---------------------------------------------------

fresh
"$vtag" declare db --tag large@9 --dim 32768 >out
mkdir small
if mount -t tmpfs -o size=20m tmpfs small 2>/dev/null; then
    cp db small/db
    ends 1 "$vtag" backfill small/db --tag large@9 --exec true
    warns 'need .* are free; free some space first'
    umount small
else
    echo 'skipped: a small disk, which takes root to mount'
fi
"$vtag" declare db --tag new@3/chunk-10 --dim 6 >out
ends 0 "$vtag" backfill db --tag new@3 --exec './helper worker parts' --workers 2
check 'another cut of the same documents' ./helper check db new@3/chunk-10 list parts
ends 0 "$vtag" backfill db --tag new@2 --exec './helper worker good'
whole 'and the old cut beside it'

# ---- Kills ----------------------------------------------------------------------------------------

rm -f db db.*
./helper app db list 100000 2>app.err &
app=$!
children=$app
until_true test -e db.ready
check "killed $KILLS times with -9" ./helper kills "$KILLS" "$vtag" backfill db --tag new@2 --quiet \
    --exec 'exec ./helper worker slow' --workers 2 --chunk-time 10ms 2>kills.err
touch db.stop
check 'the application never failed' wait $app
ends 0 ./fill good --workers 2
whole 'after all kills'
children=
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
