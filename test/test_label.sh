#!/bin/sh
# test_label.sh VTAG - a tag's name is not believed: audits, what they count for, aliases, first
# payloads, and who did it all.
set -u
. "$(dirname "$0")/cli.sh"
words="$vtag embed --model words"
texts() { # texts FROM TO: items with a text
    i=$1
    while [ "$i" -le "$2" ]; do
        echo "{\"id\":$i,\"data\":\"text number $i of topic $((i % 17)) and $((i * 7 % 31))\"}"
        i=$((i + 1))
    done
}
# Another model of the same dim: the words of another text.
printf '%s\n' "sed 's/text number/quite unrelated/' | $words" >other.sh
texts 1 300 >items.jsonl

# ---- An audit ---------------------------------------------------------------------------

works 'declare' "$vtag" declare db --tag m@1 --dim 256 --by ada
works 'import' "$vtag" import db items.jsonl --by bob
works 'backfill' "$vtag" backfill db --tag m@1 --exec "$words" --quiet --by eve
works 'audit' "$vtag" audit db --tag m@1 --exec "$words"
says '^PASSED  m@1: 100.00 % of 300 vectors agree'
ends 3 "not all of the model that 'sh other.sh' runs" "$vtag" audit db --tag m@1 --exec 'sh other.sh'
says '^FAILED  m@1: 0.00 % of 300'
says '^ *0\.[0-9]+ +[0-9]+ +0  text number'
works 'a sample' "$vtag" audit db --tag m@1 --exec "$words" --sample 120 --seed 5 --json
says '"seed":5,"audit":\{"sampled":120,"untestable":0,"below":0,'
works 'dry run' "$vtag" audit db --tag m@1 --sample 7 --dry-run
says '^7 of 300 fresh items'
ends 3 'wants 100 or all' "$vtag" audit db --tag m@1 --exec "$words" --sample 99
ends 1 'another model; nothing is recorded' "$vtag" audit db --tag m@1 --exec "$vtag embed --model chars"
ends 2 'exec' "$vtag" audit db --tag m@1
ends 2 '1 to 10,000,000' "$vtag" audit db --tag m@1 --exec "$words" --sample 0
"$vtag" history db --json >history
equal 'audits in history' "$(grep -c '"event":"audit"' history)" 4

# half of a tag's rows are another model's
works 'declare a candidate' "$vtag" declare db --tag m@2 --dim 256
"$vtag" pending db --tag m@2 --limit 150 | $words | "$vtag" fill db --tag m@2 - >/dev/null
works 'the other half' "$vtag" backfill db --tag m@2 --exec 'sh other.sh' --quiet
works 'nothing but an audit tells' "$vtag" gate db --tag m@2
ends 3 'not all of the model' "$vtag" audit db --tag m@2 --exec "$words"
says '50.00 % of 300'
equal 'ranges without one that agrees' "$(grep -c ' 0\.00 %' out)" 5
equal 'ranges that agree' "$(grep -c ' 100\.00 %' out)" 5
"$vtag" gate db --tag m@2 --min-audit 99 >out
equal 'the gate holds' $? 3
says '^  audit +50\.00 % +>= 99 % of >= 100, or all +HOLD'
works 'policy' "$vtag" policy db --min-audit 99 --reason 'audited models only'
"$vtag" cutover db --tag m@2 >out 2>err
equal 'no cutover' $? 3
works 'and gate' "$vtag" policy db
says '^audit +>= 99 % of its vectors agree'
works 'below the policy with a reason' "$vtag" cutover db --tag m@2 --min-audit 0 --reason 'an emergency'
"$vtag" status db >out
says FORCED
works 'back' "$vtag" rollback db

# ---- Texts afterwards, and the true name ---------------------------------------------------

texts 1 120 | sed 's/"id":\([0-9]*\)/"id":\1,"rev":\1/' | $words | sed 's/,"rev":[0-9]*//' >vectors.jsonl
texts 1 120 >texts.jsonl
works 'stamp' "$vtag" stamp old vectors.jsonl --by carol
ends 3 '0 vectors were compared' "$vtag" audit old --tag legacy@0 --exec "$words"
says '120 of items without a payload'
ends 1 'no audit says that legacy@0 is words@1' "$vtag" alias old words@1 --tag legacy@0
"$vtag" declare old --tag new@1 --dim 256 >/dev/null
works 'empty items are waived' "$vtag" backfill old --tag new@1 --exec "$words" --quiet
"$vtag" items old --tag new@1 --state waived >out
equal 'waived' "$(grep -c waived out)" 120
ends 2 'one of them' "$vtag" import old texts.jsonl --attach --replace
ends 2 'no --tag' "$vtag" import old texts.jsonl --attach --tag legacy@0
works 'attach' "$vtag" import old texts.jsonl --attach
works 'again' "$vtag" import old texts.jsonl --attach
"$vtag" items old --tag new@1 --state missing >out
equal 'what was empty is pending' "$(grep -c missing out)" 120
"$vtag" items old --tag legacy@0 --state fresh >out
equal 'and the vectors are fresh as before' "$(grep -c fresh out)" 120
"$vtag" dump old >before
for bad in '{"id":3,"data":"another text"}' '{"id":777,"data":"x"}' '{"id":3}' \
    '{"id":3,"data":"x","vector":[1]}'; do
    echo "$bad" >bad.jsonl
    ends 1 'line 1: .*nothing was imported' "$vtag" import old bad.jsonl --attach
done
"$vtag" dump old >after
same 'a refused attachment' before after
works 'audit of legacy vectors' "$vtag" audit old --tag legacy@0 --exec "$words"
says 'no longer assumed'
works 'alias' "$vtag" alias old words@1 --tag legacy@0
works 'its true name finds it' "$vtag" search old --tag words@1 --text 'text number 7' --exec "$words" -k 1
works 'tags' "$vtag" tags old
says 'alias words@1'
ends 1 'answers to words@1 already' "$vtag" alias old words@2 --tag legacy@0 --reason x
works 'dump' "$vtag" dump old -o old.dump
works 'restore' "$vtag" restore other old.dump
"$vtag" dump other >other.dump
same 'dump of the restored' old.dump other.dump
works 'compact' "$vtag" compact old
works 'the audit counts still' "$vtag" gate old --tag legacy@0 --min-audit 99

# ---- Who --------------------------------------------------------------------------------

grep '"event":"declared"' history | head -n 1 >out
says '"by":"ada"'
grep '"event":"import"' history >out
says '"by":"bob","command":"import items.jsonl","in":300,"filled":300'
grep '"event":"backfill"' history >out
says '"by":"eve","command":".*embed --model words","in":300,"filled":300'
"$vtag" history old >out
says 'assumed by carol'
"$vtag" history db >out
says "by $(id -un)\$"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
