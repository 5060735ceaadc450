#!/bin/sh
# test_report.sh VTAG - the dashboard: the page of report, status in its three forms, and a
# history that an auditor can use. What a browser makes of the page: test_browser.sh.
set -u
. "$(dirname "$0")/cli.sh"

silent() { if grep -Eiq -- "$1" out; then fail "output has '$1'"; else pass; fi; }
timeless() { # without what the clock alone moves
    sed -E 's/"time":"[^"]*"/"time":0/; s/"(kept_ms|retention_left_ms)":[0-9]+/"\1":0/g' "$@"
}
marked() { # marked AT: the text of the number that the page marks so
    sed -n "s|.*data-at=\"$1\">\([^<]*\)<.*|\1|p" page.html | head -n 1 | tr -d ,
}

sh "$here/demo_store.sh" "$vtag" db.vtag || fail 'the demo store'

# ---- the page ---------------------------------------------------------------------

works 'report' "$vtag" report db.vtag -o page.html
cp page.html out
for part in verdict tags scores backfill shadow rollback retention quarantine history; do
    says "<section id=\"$part\" aria-labelledby=\"h-$part\"><h2"
done
equal 'sections' "$(grep -c '<section ' out)" 9
equal 'that end' "$(grep -o '</section>' out | wc -l | tr -d ' ')" 9
for tag in table div span dl ul figure svg tr td th p code text bdi; do
    equal "$tag ends" "$(grep -Eo "<$tag[ >]" out | wc -l)" "$(grep -o "</$tag>" out | wc -l)"
done
says '<b>HOLD</b>'
says '@media\(prefers-color-scheme:dark\)'
says '@media print'
says 'width=device-width'
silent '(src|href|action|srcset)='
silent 'url\(|@import|https?:'
equal 'scripts, of data' "$(grep -c '<script' out)" 1
says '<script type="application/json" id="status">'
sed -n 's|.*<script type="application/json" id="status">||p' page.html | timeless >inside
"$vtag" status db.vtag --json | timeless >beside
same 'the object inside is status --json' inside beside
if grep -q '"verdicts":\[{"tag":"orion@1","verdict":"HOLD"' inside; then pass; else fail 'it is whole'; fi
for state in fresh stale missing waived; do
    want=$("$vtag" items db.vtag --tag orion@1 --state $state --json | wc -l | tr -d ' ')
    # one item is outside: the active tag has not got it either
    [ $state = missing ] && want=$((want - $(marked /tags/2/cover/outside)))
    equal "$state of orion@1, counted" "$(marked "/tags/2/cover/$state")" "$want"
done
equal 'items' "$(marked /items)" 2400
equal 'pending' "$(marked /tags/2/pending)" "$("$vtag" pending db.vtag --tag orion@1 | wc -l | tr -d ' ')"
equal 'hidden by a rollback' "$(marked /rollback/hides)" 60
works 'to standard output' "$vtag" report db.vtag -o -
says '^<!doctype html>'
works 'again, over the old one' "$vtag" report db.vtag -o page.html
equal 'nothing is left beside it' "$(ls *.part 2>/dev/null)" ''
ends 2 'the store itself' "$vtag" report db.vtag -o ./db.vtag
ends 2 '-o OUT is missing' "$vtag" report db.vtag
ends 1 'absent.vtag' "$vtag" report absent.vtag -o p.html
ends 1 'no/such' "$vtag" report db.vtag -o no/such/page.html
if [ -e /dev/full ]; then
    "$vtag" report db.vtag -o - >/dev/full 2>err
    equal 'a full disk is an error' $? 1
fi
works 'the store is what it was' "$vtag" verify db.vtag

# ---- where there is little to show ---------------------------------------------------

works 'an empty store' "$vtag" declare empty.vtag --tag first@1 --dim 4
works 'its page' "$vtag" report empty.vtag -o -
says 'No candidate'
says 'No tag has been measured'
says 'vtag shadow'
says 'No item is waived'
STOP=forced sh "$here/demo_store.sh" "$vtag" forced.vtag
works 'a forced cutover' "$vtag" report forced.vtag -o -
says '<b>FORCED</b>.*orion@1'
works 'on a terminal' "$vtag" status forced.vtag
says '^FORCED  orion@1'

# ---- words that mean harm ---------------------------------------------------------------

bad='</script><script>alert(1)</script><!--<img src=x onerror=a()>"&'\'''
HOSTILE=$bad sh "$here/demo_store.sh" "$vtag" bad.vtag || fail 'the hostile store'
works 'hostile words' "$vtag" report bad.vtag -o out2
cp out2 out
equal 'one script' "$(grep -o '<script' out | wc -l | tr -d ' ')" 1
equal 'that ends once' "$(grep -o '</script' out | wc -l | tr -d ' ')" 1
silent '<img|<!--'
says '&lt;img src=x onerror=a\(\)&gt;&quot;&amp;&#39;'
sed -n 's|.*<script type="application/json" id="status">||p' out | sed 's/\\u003c/</g' | timeless >inside
"$vtag" status bad.vtag --json | timeless >beside
same 'and are the same inside' inside beside
for text in '{' '[]' 'null' '{"state":7,"done":-1,"rate":"x","total":1e300}' '[[1,2],[1,2,3,4,1e99],7]' \
            '{"target":-5}' '{"time":18446744073709551615,"answers":null}'; do
    for name in backfill:orion@1 progress:orion@1 plan:orion@1 embedder:mini@1; do
        "$vtag" meta bad.vtag "$name" "$text" >/dev/null
    done
    works "metadata $text" "$vtag" report bad.vtag -o -
    says '</html>'
    works "metadata $text" "$vtag" status bad.vtag
done
printf 'a\377b\033[31mc\n' >raw
"$vtag" meta bad.vtag backfill:orion@1 - <raw
works 'bytes that are no text' "$vtag" status bad.vtag

# ---- status ------------------------------------------------------------------------------

works 'status' "$vtag" status db.vtag
says '^HOLD  orion@1'
says '^  launch +planned for'
says '^backfill   orion@1: running: rate'
says '^shadow     orion@1 beside mini@2/chunk-512: overlap@10 0.5725'
says 'rehearsed .* with mini@2/chunk-512: flip in 0.41 ms, back in 0.38 ms'
says '^ +4  the provider'
works 'status --prometheus' "$vtag" status db.vtag --prometheus
says '^vtag_gate_pass\{tag="orion@1"\} 0$'
says '^vtag_items 2400$'
says '^vtag_score\{tag="mini@1",score="ndcg@10",provisional="no"\} 0.412$'
says '^vtag_tag_items\{tag="orion@1",state="waived"\} 5$'
awk '/^# HELP [a-z_]+ ./ { help[$3]++; next }
     /^# TYPE [a-z_]+ (gauge|counter)$/ { type[$3]++; next }
     /^[a-z_]+(\{[a-z]+="([^"\\]|\\["\\n])*"(,[a-z]+="([^"\\]|\\["\\n])*")*\})? -?[0-9.e+-]+$/ {
         name = $0; sub(/[{ ].*/, "", name)
         line = $0; sub(/ [^ ]*$/, "", line)
         if (!type[name] || type[name] != 1 || help[name] != 1 || seen[line]++) print
         next }
     { print }' out >odd
equal 'each line is as Prometheus wants it' "$(cat odd)" ''
ends 2 'not both' "$vtag" status db.vtag --json --prometheus
ends 2 'once a scrape' "$vtag" status db.vtag --prometheus --watch
"$vtag" status db.vtag --watch --every 100ms --json >out 2>err &
watcher=$!
sleep 1
kill -TERM $watcher
wait $watcher
equal 'watch ends cleanly' $? 0
if [ "$(wc -l <out)" -ge 3 ]; then pass; else fail 'watch repeats'; fi

# ---- history ------------------------------------------------------------------------------

works 'history --json' "$vtag" history db.vtag --json
for kind in declared score waived held cutover rollback shadow note; do says "\"event\":\"$kind\""; done
says '"event":"cutover".*"min_ppm":600000.*"text":"the old provider is switched off on Friday","by":"[^"]*","when":"2.*"coverage":0.66.*"forced":true'
says '"event":"held".*"coverage":0.95.*"failed_terms":\["coverage"\]'
says '"event":"score".*"provisional":true'
cp out history.before
"$vtag" dump db.vtag | "$vtag" restore again.vtag - >/dev/null
"$vtag" history again.vtag --json >history.after
same 'history after dump and restore' history.before history.after
"$vtag" retire db.vtag --tag orion@1 --reason 'given up' >/dev/null
"$vtag" policy db.vtag --min-coverage 99.9 --reason 'stricter' >/dev/null
"$vtag" compact db.vtag >/dev/null
"$vtag" history db.vtag --json >out
head -n "$(wc -l <history.before)" out >history.after
same 'history after compact' history.before history.after
says '"event":"retired".*"text":"given up".*"forced":true'
says '"event":"policy".*"min_ppm":999000.*"text":"stricter"'
says '"event":"compacted"'
works 'for people' "$vtag" history db.vtag
says 'note .*orion@1 from mini@2/chunk-512 .*answers in other languages were worse'
says 'cutover .*66.90 % against > 60 %, FORCED; the old provider'
says 'retired .*FORCED'
says 'policy .*coverage > 99.9 %'

"$vtag" gate again.vtag --tag orion@1 --record --reason 'weekly' >/dev/null
equal 'a recorded verdict' $? 3
works 'is in the history' "$vtag" history again.vtag --json
says '"event":"held","tag":"orion@1".*"text":"weekly".*"failed_terms":\["coverage","waived","freshness"\]'
"$vtag" gate again.vtag --tag orion@1 --record --reason 'weekly' --min-coverage 50 --max-waived 5 \
    --max-age unlimited >/dev/null
equal 'one that passes' $? 0
works 'is too' "$vtag" history again.vtag
says 'note .*orion@1 from .*gate: GO, coverage 71.07 % against > 50 %; weekly'
"$vtag" rollback again.vtag --reason 'twice' >/dev/null
works 'a rollback that changes nothing' "$vtag" history again.vtag
silent 'twice'

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
