#!/bin/sh
# demo_store.sh VTAG OUT.vtag - a store in the middle of its third model, for the dashboard:
# a clean upgrade, a forced cutover and its rollback, waivers, scores, a shadow run and a
# backfill that is half done. The events are spread over five weeks, as no test can wait.
# HOSTILE=TEXT puts that text wherever a user's words can go; STOP=forced ends it after the
# forced cutover, with the times as they are.
set -eu
vtag=$1 out=$2
case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
case $out in /*) ;; *) out=$PWD/$out ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
db=d.vtag items=2400
one=mini@1 two=mini@2/chunk-512 three=orion@1
bad=${HOSTILE:-}
now=$(date +%s)

quiet() { "$@" >/dev/null; }
vectors() { # answers pending lines with vectors of 8 numbers
    awk '{ match($0, /"id":[0-9]+,/); id = substr($0, RSTART + 5, RLENGTH - 6)
           match($0, /"rev":[0-9]+/); rev = substr($0, RSTART + 6, RLENGTH - 6)
           printf "{\"id\":%s,\"rev\":%s,\"vector\":[1", id, rev
           for (i = 1; i < 8; i++) printf ",%d", (id * 7919 * i) % 97 - 48
           print "]}" }'
}
fill() { # fill TAG MOST: that many of its pending items
    "$vtag" pending $db --tag "$1" --limit "$2" | vectors >v.jsonl
    quiet "$vtag" fill $db --tag "$1" v.jsonl
}
score() { quiet "$vtag" note $db --tag "$1" --score "$2" --value "$3" --queries "$4"; }

awk -v n=$items 'BEGIN { for (i = 1; i <= n; i++) printf "{\"id\":%d,\"data\":\"text %d\"}\n", i, i }' >i.jsonl
quiet "$vtag" declare $db --tag $one --dim 8 --note "the first model${bad:+ $bad}"
quiet "$vtag" import $db i.jsonl
fill $one $items
score $one ndcg@10 0.412 225
quiet "$vtag" declare $db --tag $two --dim 8 --note "larger chunks"
fill $two 900
score $two ndcg@10 0.468 225
fill $two 1380
"$vtag" waive $db 2399 --tag $two --reason "longer than 8,192 tokens${bad:+ $bad}" >/dev/null
"$vtag" cutover $db --tag $two >/dev/null 2>&1 || true
fill $two 200
score $two ndcg@10 0.437 500
score $two recall@10 0.81 500
quiet "$vtag" cutover $db --tag $two --reason "release 4.2"
quiet "$vtag" declare $db --tag $three --dim 8 --note "another provider${bad:+; $bad}"
fill $three 700
score $three ndcg@10 0.479 225
fill $three 900
for id in 2310 2320 2330 2340; do
    "$vtag" waive $db $id --tag $three --reason "the provider's filter refused it" >/dev/null
done
"$vtag" waive $db 2350 --tag $three --reason "longer than 8,192 tokens${bad:+ $bad}" >/dev/null
quiet "$vtag" cutover $db --tag $three --min-coverage 60 --max-waived 1 --max-age unlimited \
    --reason "the old provider is switched off on Friday${bad:+; $bad}"
if [ "${STOP:-}" = forced ]; then
    cp $db "$out"
    exit 0
fi
score $three ndcg@10 0.451 500
quiet "$vtag" rollback $db --reason "answers in other languages were worse${bad:+ $bad}"
quiet "$vtag" note $db --tag $two --text REHEARSAL
fill $three 160
awk 'BEGIN { for (i = 1; i <= 60; i++) printf "{\"id\":%d,\"data\":\"new text %d\"}\n", i, i }' >n.jsonl
quiet "$vtag" import $db --replace n.jsonl
fill $two 60
quiet "$vtag" note $db --tag $three --text SHADOW
score $three ndcg@10 0.458 500
score $three recall@10 0.84 180

key() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
done_now=$("$vtag" tags $db --json | awk -v t="\"$three\"" 'index($0, t) { sub(/.*"items":/, ""); sub(/,.*/, ""); print }')
quiet "$vtag" meta $db "backfill:$three" "{\"state\":\"running\",\"reason\":\"rate 0.5/s asked for${bad:+ $(key "$bad")}\",
\"done\":$done_now,\"total\":$items,\"rate\":0.052,\"pid\":1,\"updated\":$((now - 20))000}"
quiet "$vtag" meta $db "plan:$three" "{\"target\":$((now + 2 * 86400))000}"
quiet "$vtag" meta $db "embedder:$one" "{\"time\":$((now - 3600))000,\"answers\":true,\"cosine\":0.9998}"
awk -v now="$now" -v n=$items 'function at(i) { return now - (24 - i) * 86400 * 35 / 24 - 7200 }
    function put(t, f, s) {
        printf "%s[%d000,%d,%d,%d,%d]", some++ ? "," : "", t, f - s, s, n - 6 - f, t < at(16) ? 0 : 5
    }
    BEGIN {
        printf "["
        for (i = 1; i < 60; i++) put(at(11) + (at(17) - at(11)) * i / 60, 700 + int(900 * i / 60 + 20 * sin(i / 4)), 0)
        for (i = 1; i < 40; i++) put(at(21) + (at(23) - at(21)) * i / 40, 1600 + int(160 * i / 40), i > 34 ? 60 : 0)
        print "]"
    }' >progress.json
quiet "$vtag" meta $db "progress:$three" - <progress.json

# Spread the times, and put the shadow run where a note keeps its place.
worst="{\\\"query\\\":\\\"how do I cancel an order?\\\",\\\"overlap\\\":0},{\\\"query\\\":\\\"opening hours in August\\\",\\\"overlap\\\":0.1},{\\\"query\\\":\\\"$(key "$(key "${bad:-Rückgabe ohne Beleg}")")\\\",\\\"overlap\\\":0.1}"
"$vtag" dump $db >dump.jsonl
events=$(grep -c '"kind":"event"' dump.jsonl)
WORST=$worst awk -v now="$now" -v events="$events" '
    function at(i) { return sprintf("%d%03d", now - (events - i) * 86400 * 35 / events - 7200, i * 37 % 1000) }
    function set(name, v) { sub("\"" name "\":[0-9]+", "\"" name "\":" v) }
    /"kind":"tag"/ { k++
        set("created", at(k == 1 ? 1 : k == 2 ? 3 : 10))
        if (!/"activated":0/) set("activated", at(k == 1 ? 1 : k == 2 ? 22 : 19)) }
    /"kind":"item"/ { set("time", /"new text/ ? (now - 18000) "000" : at(1)) }
    /"kind":"event"/ {
        match($0, /"seq":[0-9]+/); seq = substr($0, RSTART + 6, RLENGTH - 6)
        set("time", at(seq))
        if (/"text":"REHEARSAL"/) {
            sub(/"value":0,"base_value":0,"queries":0/, "\"value\":0.41,\"base_value\":0.38,\"queries\":100")
            sub(/"name":null,"text":"REHEARSAL"/, "\"name\":\"rehearsal\",\"text\":\"rehearsed on a copy: flip 0.41 ms, 100 of 100 probes found, back 0.38 ms\"")
        }
        if (/"text":"SHADOW"/) {
            sub(/"event":"note"/, "\"event\":\"shadow\"")
            sub(/"value":0,"base_value":0,"queries":0/, "\"value\":0.5725,\"base_value\":0.6114,\"queries\":400")
            i = index($0, "\"text\":\"SHADOW\"")
            $0 = substr($0, 1, i - 1) "\"text\":\"{\\\"overlap_histogram\\\":[3,9,18,37,55,74,81,62,37,17,7],\\\"empty\\\":1,\\\"latency_ms\\\":{\\\"p50\\\":1.8,\\\"p95\\\":4.6},\\\"worst\\\":[" ENVIRON["WORST"] "]}\"}"
        }
    }
    !/"kind":"end"/ { print }' dump.jsonl >spread.jsonl
rm -f "$out"
quiet "$vtag" restore --no-trailer "$out" spread.jsonl
