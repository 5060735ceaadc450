#!/bin/sh
# test_control.sh VTAG - a running backfill takes new values from its control file; what it says
# it filled is what is durable; pauses are no work; its bar fits the terminal.
set -u
. "$(dirname "$0")/cli.sh"
: "${CC:=cc}"
$CC -std=c99 -O1 -D_GNU_SOURCE -w -o helper "$here/helper_stop.c" -lm -lpthread || exit 1

store() { # store N: so many items under old@1, pending under new@2 of dim DIM
    rm -f db db.* items
    i=0
    while [ $i -lt "$1" ]; do
        echo "{\"id\":$i,\"vector\":[1,2],\"data\":\"text $i\"}"
        i=$((i + 1))
    done >items.jsonl
    "$vtag" declare db --tag old@1 --dim 2 >/dev/null
    "$vtag" import db --tag old@1 --append items.jsonl >/dev/null
    "$vtag" declare db --tag new@2 --dim "${2:-2}" >/dev/null
}
until_true() { # until_true COMMAND...: within 20 s
    tries=0
    while ! "$@" >/dev/null 2>&1 && [ $tries -lt 400 ]; do sleep 0.05; tries=$((tries + 1)); done
    "$@" >/dev/null 2>&1
}
begin() { # begin OPTIONS...: a backfill in the background
    ./helper plain "$vtag" backfill db --tag new@2 --exec ./worker "$@" >out 2>err </dev/null &
    job=$!
}
told() { grep -Eq -- "$1" err; }
hears() { if until_true told "$1"; then pass; else fail "it does not say '$1'"; fi; }
stop() { kill -TERM $job 2>/dev/null; wait $job; }
record() { # record MEMBER
    "$vtag" meta db backfill:new@2 | sed "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/"
}
fresh() { "$vtag" status db --json | sed 's/.*"tag":"new@2"[^{]*"cover":{[^}]*"fresh":\([0-9]*\).*/\1/'; }
some() { n=$(record done) && [ "$n" -gt "${1:-0}" ]; }
set_to() { printf '%b' "$1" >control.new; mv control.new control; }
cat >worker <<'END'
#!/bin/sh
while read -r line; do
    id=${line#*\"id\":} id=${id%%,*} rev=${line#*\"rev\":} rev=${rev%%,*}
    sleep 0.02
    echo "{\"id\":$id,\"rev\":$rev,\"vector\":[2,1]}"
done
END
chmod +x worker

# ---- The control file ---------------------------------------------------------------------

store 2000
for bad in 'rate = fifty' 'rate = -1' 'rate = inf' 'rate 50' 'rat = 50' 'pause = maybe' 'batch = 0' \
    'chunk-time = soon' 'max-load = nan' 'batch = 1.5' 'rate = 0x10'; do
    set_to "# good so far\n\n$bad\n"
    ends 2 'control: line 3: ' "$vtag" backfill db --tag new@2 --exec ./worker --control control
done
set_to 'rate = 1\nrate = 2\n'
ends 2 'line 2: rate is there twice' "$vtag" backfill db --tag new@2 --exec ./worker --control control
ends 2 'no plain file' "$vtag" backfill db --tag new@2 --exec ./worker --control .
set_to '\357\273\277# as an editor may leave it\r\nrate = 5\r\n  pause=no \r\nmax-load = 100000'
works 'a dry run reads it' "$vtag" backfill db --tag new@2 --dry-run --control control
rm control
begin --control control --chunk-time 50ms --rate 100000
until_true some
set_to 'pause = yes\nbatch = 10\n'
hears 'control: batch 10 \(was 1,000\), pause yes \(was no\)$'
hears 'paused: control file control says pause'
paused() { [ "$(record state)" = paused ]; }
if until_true paused; then pass; else fail 'status does not say so'; fi
set_to 'pause = no\nbatch = 10\nrate = 7\n'
hears 'rate 7.0 \(was 100,000\), pause no \(was yes\)$'
hears 'going on'
held_back() { [ "$(record reason)" = '--rate 7.0' ]; }
if until_true held_back; then pass; else fail 'the record does not say at what rate'; fi
set_to 'rate = 8\nbtach = 3\n'
hears 'control: line 2: no .btach.; did you mean batch\?; the values stay$'
if until_true held_back; then pass; else fail 'the old values do not stay'; fi
set_to 'batch = 10\nrate = 5000\nmax-load = 0.000001\nchunk-time = 20ms\n'
hears 'rate 5,000 \(was 7.0\), chunk-time 20 ms \(was 50 ms\), max-load 0.00 \(was unlimited\)'
hears 'paused: load'
set_to 'batch = 20\nrate = 5000\n'
hears 'chunk-time 50 ms .was 20 ms., max-load unlimited \(was 0.00\), batch 20 \(was 10\)'
rm control
hears 'control is gone: rate 100,000 \(was 5,000\), batch 1,000 \(was 20\)$'
equal 'what is as it was is not told' "$(grep -c 'control' err)" 7
until_true some 100
stop
n=$(sed -n 's/^filled \([0-9,]*\) items.*/\1/p' out | tr -d ,)
equal 'what it says is what is durable' "$n" "$(fresh)"
equal 'and what its record says' "$n" "$(record done)"
works 'help' "$vtag" help control
for name in rate chunk-time max-load batch pause; do says "^  $name = "; done

# ---- Counted when it is durable ---------------------------------------------------------------

store 200 30000
cat >wide <<'END'
#!/bin/sh
zeros=$(head -c 60000 /dev/zero | tr '\0' ',' | sed 's/,/0,/g' | head -c 59997)
while read -r line; do
    id=${line#*\"id\":} id=${id%%,*} rev=${line#*\"rev\":} rev=${rev%%,*}
    echo "{\"id\":$id,\"rev\":$rev,\"vector\":[1,$zeros]}"
done
END
chmod +x wide
limited() { (trap '' XFSZ; ulimit -f 2000; exec "$@"); }
ends 1 'File too large' limited "$vtag" backfill db --tag new@2 --exec ./wide
says '^filled 0 items \(0 vectors\)'
equal 'nothing is durable' "$(fresh)" 0

# ---- Pauses are no work ---------------------------------------------------------------------------

store 60
: >pause
begin --chunk-time 20ms --pause-file pause
if until_true paused; then pass; else fail 'it is not paused'; fi
sleep 6
rm pause
wait $job
equal 'filled' "$(fresh)" 60
"$vtag" meta db backfill:new@2 >out
span=$(($(record updated) - $(record started)))
rate=$(record rate)
if awk "BEGIN { exit !($rate * $span > 1.5 * 60 * 1000) }"; then pass
else fail "the pause of $span ms is work at $rate items/s"; fi
store 60
./helper hold db >held.out &
holder=$!
until_true grep -q held held.out
begin --chunk-time 20ms
hears 'another writer is at work'
sleep 5
touch db.go
wait $holder
wait $job
span=$(($(record updated) - $(record started)))
rate=$(record rate)
if awk "BEGIN { exit !($rate * $span > 1.2 * 60 * 1000) }"; then pass
else fail "waiting for the lock for $span ms is work at $rate items/s"; fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
