#!/bin/sh
# test_shown.sh VTAG - what people are shown: bars that fit, plain terminals, words for what is
# missing or done, and how much of the store the active tag hides.
set -u
. "$(dirname "$0")/cli.sh"
: "${CC:=cc}"
$CC -std=c99 -O1 -D_GNU_SOURCE -w -o helper "$here/helper_stop.c" -lm -lpthread || exit 1

lacks() { # lacks PATTERN: in the output of what ran last
    if grep -Eq -- "$1" out; then fail "output has '$1'"; head -n 20 out; else pass; fi
}
items() { # items FROM TO [VECTOR]
    i=$1
    while [ "$i" -le "$2" ]; do
        echo "{\"id\":$i,${3:+\"vector\":$3,}\"data\":\"text $i\"}"
        i=$((i + 1))
    done
}
cat >worker <<'END'
#!/bin/sh
while read -r line; do
    id=${line#*\"id\":} id=${id%%,*} rev=${line#*\"rev\":} rev=${rev%%,*}
    [ -z "${SLOW:-}" ] || sleep 0.03
    echo "{\"id\":$id,\"rev\":$rev,\"vector\":[$id,1]}"
done
END
chmod +x worker

# ---- Progress -----------------------------------------------------------------------------

"$vtag" declare db --tag old@1 --dim 2 >/dev/null
items 1 60 '[1,2]' >in.jsonl
"$vtag" import db --tag old@1 --append in.jsonl >/dev/null
"$vtag" declare db --tag new@2 --dim 2 >/dev/null
bar() { # bar TERM COLUMNS WIDTH: what a backfill shows there, a line each time it is drawn
    "$vtag" quarantine lift db --all --tag new@2 >/dev/null 2>&1
    n=$((n + 1))
    "$vtag" declare db --tag "bar@$n" --dim 2 >/dev/null
    SLOW=1 TERM=$1 COLUMNS=$2 ./helper tty "$3" "$vtag" backfill db --tag "bar@$n" --exec ./worker \
        --chunk-time 100ms >shown
    tr '\r' '\n' <shown | sed "s/$(printf '\033')\[K//g" >out
}
n=2
for columns in 40 24 12; do
    bar xterm '' $columns
    says '^backfill '
    equal "a bar fits $columns columns" "$(awk -v w=$columns 'length($0) >= w' out | wc -l)" 0
    bar xterm $columns 80
    says '^backfill '
    equal "a bar fits COLUMNS=$columns" "$(awk -v w=$columns 'length($0) >= w' out | wc -l)" 0
done
bar xterm '' 80
says '^backfill \[#*\.+\] [0-9]+/60 items, [0-9.]+/s'
bar dumb '' 80
cp shown out
lacks "$(printf '\033')"
bar '' '' 80
cp shown out
lacks "$(printf '\033')"
for b in $(seq 3 "$n"); do "$vtag" retire db --tag "bar@$b" --reason bars >/dev/null; done

# ---- How much the active tag hides ----------------------------------------------------------

rm -f db
"$vtag" declare db --tag old@1 --dim 2 >/dev/null
items 1 100 '[1,2]' >in.jsonl
"$vtag" import db --tag old@1 --append in.jsonl >/dev/null
works 'nothing is hidden' "$vtag" status db
lacks 'found by no search'
says '^old@1 .* 100.00 % '
items 101 250 >in.jsonl
"$vtag" import db --append in.jsonl >/dev/null
"$vtag" waive db 250 --tag old@1 --reason 'no text' >/dev/null
works 'hidden' "$vtag" status db
says '150 of 250 items are found by no search'
says '^old@1 +active +100 +0 +0 +0 +149 +40.00 %'
works 'hidden in the object' "$vtag" status db --json
says '"items":250,"unfound_items":150,'
says '"tag":"old@1".*"coverage":0.4[,0]'
works 'hidden in the metrics' "$vtag" status db --prometheus
says '^vtag_unfound_items 150$'
says '^vtag_tag_coverage_ratio\{tag="old@1"\} 0.4$'
works 'hidden on the page' "$vtag" report db -o page.html
tr '>' '\n' <page.html >out
says 'items are found by no search'
"$vtag" doctor db >out 2>err
says '150 of 250 items have no vector and are found by no search'
"$vtag" backfill db --tag old@1 --exec ./worker >/dev/null 2>&1
works 'filled' "$vtag" status db
says '1 of 250 items are found by no search'

# ---- Scores, forecasts, rates -----------------------------------------------------------------

"$vtag" declare db --tag new@2 --dim 2 >/dev/null
"$vtag" policy db --score ndcg@10 --min-score 0.5 --reason test >/dev/null
"$vtag" gate db --tag new@2 >out 2>err
says '^ +score +ndcg@10 none +>= 0.5'
"$vtag" gate db --tag new@2 --max-drop 0.1 --json >out 2>err
says '"score":null'
"$vtag" gate db --tag new@2 --max-drop 0.1 >out 2>err
says 'drop <= 0.1 from none'
works 'no score yet' "$vtag" status db
says '^new@2 .* ndcg@10 none'
"$vtag" eval add db --tag new@2 --score ndcg@10 --value 0 --queries 300 >/dev/null
"$vtag" gate db --tag new@2 >out 2>err
says '^ +score +ndcg@10 0 '
"$vtag" eval add db --tag new@2 --score other@5 --value 0.125 --queries 100 >out
says 'fewer than 250 queries, so a small sample'
works 'the policy names the score that is shown' "$vtag" status db
says '^new@2 .* ndcg@10 0 at'
lacks '^new@2 .*other@5'
works 'in the object too' "$vtag" status db --json
says '"score":\{"name":"ndcg@10"'
"$vtag" policy db --no-score --reason test >/dev/null
works 'else it is the newest' "$vtag" status db
says '^new@2 .* other@5 0.125 at .*, of 100 queries only'
"$vtag" plan db --tag new@2 --rate 12345.6 --target 2999-12-31 --keep >out
says '^rate +12,346 items/s'
works 'a target' "$vtag" status db
says 'launch +planned for 3000-01-01T.*, forecast unknown'
"$vtag" meta db backfill:new@2 '{"state":"done","done":5,"total":5,"rate":10000.4}' >/dev/null
works 'a fast backfill' "$vtag" status db
says ', 10,000/s, '
lacks 'e\+0'
"$vtag" backfill db --tag new@2 --exec ./worker >/dev/null 2>&1
works 'filled' "$vtag" status db
says 'launch .* forecast done'
for date in 2026-02-30 2026-02-29 2026-04-31 2026-13-01 2026-00-10 2026-06-31T12:00 2026-01-01T24:01; do
    ends 2 "not '$date'" "$vtag" plan db --tag new@2 --target $date
done
for date in 2928-02-29 2926-12-31 2926-02-28T23:59Z 2926-04-30; do
    works "the date $date" "$vtag" plan db --tag new@2 --rate 5 --target $date
done

# ---- Queries with their texts, notes, nothing saved -----------------------------------------

works 'a sample' "$vtag" shadow db --tag new@2
says '^  text [0-9]+$'
works 'its event' "$vtag" status db
says '^ +[0-9.]+  [0-9]+  text [0-9]+$'
echo '{"id":"q1","text":"what is asked","vectors":{"old@1":[1,2],"new@2":[1,2]}}' >q.jsonl
"$vtag" shadow db --tag new@2 --queries q.jsonl --json >out 2>err
says '"query":"q1","text":"what is asked"'
printf '%s\n' '{"id":"q1","text":"good","vector":[7,1]}' '{"id":"q2","text":"bad luck","vector":[7,1]}' >q.jsonl
printf 'q1 0 7 1\nq2 0 200 1\nq2 0 007 1\nq2 0 200 1\n' >qrels
works 'judged queries' "$vtag" eval run db --tag new@2 --queries q.jsonl --qrels qrels --dry-run
says '^worst by ndcg@10:$'
says '^  0.0000  q2  bad luck$'
says '^1 of 3 judged documents are not in the store'
printf 'q1 0 7 1\nq1 0 8 1\nq1 0 7 2\n' >qrels
ends 1 "qrels: line 3: document 7 of query q1 is judged" "$vtag" eval run db --tag new@2 \
    --queries q.jsonl --qrels qrels --dry-run
ends 0 "keeps its note ''" "$vtag" declare db --tag new@2 --dim 2 --note 'another note'
works 'the same' "$vtag" declare db --tag new@2 --dim 2
"$vtag" declare db --tag third@1 --dim 2 --note first >/dev/null
works 'the same note' "$vtag" declare db --tag third@1 --dim 2 --note first
ends 0 "keeps its note 'first'" "$vtag" declare db --tag third@1 --dim 2 --note second
"$vtag" declare small --tag a@1 --dim 2 >/dev/null
"$vtag" put small --id 1 --data x --tag a@1 --vector '[1,2]' >/dev/null
lost=0
for block in $(seq 128 140); do # of 512 bytes, where the log of so small a store is
    cp small ruined
    dd if=/dev/zero of=ruined bs=512 seek=$block count=1 conv=notrunc 2>/dev/null
    rm -f saved
    "$vtag" salvage ruined saved >out 2>err
    got=$?
    grep -q '^saved: 0 items, 0 vectors' out || continue
    lost=$((lost + 1))
    equal "block $block: nothing is saved" $got 1
    says '^lost: all items and vectors$'
    cat err >>out
    says 'no item and no vector could be saved, all is lost; go back to a copy'
done
if [ $lost -gt 0 ]; then pass; else fail 'no block loses all'; fi
"$vtag" declare empty --tag a@1 --dim 2 >/dev/null
works 'of an empty store nothing is lost' "$vtag" salvage empty saved.empty
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
