#!/bin/sh
# test_roles.sh VTAG - a role is no tag: what a raw vector is of, its tag's name says.
set -u
. "$(dirname "$0")/cli.sh"
for tag in old@1 new@2; do "$vtag" declare db --tag $tag --dim 2 >/dev/null; done
for i in 1 2; do
    "$vtag" put db --id $i --data "text $i" --tag old@1 --vector "[1,$i]" >/dev/null
    echo "{\"id\":$i,\"rev\":$i,\"vector\":[$i,1]}"
done | grep '"id"' >new.jsonl
"$vtag" fill db --tag new@2 new.jsonl >/dev/null
"$vtag" cutover db --tag new@2 >/dev/null
"$vtag" dump db >before
refused() { # refused TAG COMMAND...: it names the tag that the role stands for, and does nothing
    name=$1
    shift
    ends 2 "write --tag $name if that one did" "$@"
    "$vtag" dump db >after
    same "nothing changed: $*" before after
}
printf '%s\n' '{"id":1,"vector":[1,2]}' >raw.jsonl
printf '%s\n' '{"id":1,"tag":"new@2","vector":[1,2]}' >stated.jsonl
printf '%s\n' '{"id":1,"tag":"old@1","vector":[1,2]}' >other.jsonl
printf '1\t1\t2\n' >raw.tsv
refused new@2 "$vtag" search db --tag :active --vector '[1,2]'
refused old@1 "$vtag" search db --tag :standby --vector '[1,2]'
refused new@2 "$vtag" search db --tag :active --queries raw.jsonl
refused new@2 "$vtag" put db --id 1 --tag :active --vector '[1,2]'
refused old@1 "$vtag" put db --key k --data d --tag :standby --vector '[1,2]'
refused new@2 "$vtag" fill db --tag :active new.jsonl
refused new@2 "$vtag" import db --tag :active --replace raw.jsonl
refused old@1 "$vtag" import db --tag :standby --fill raw.jsonl
refused new@2 "$vtag" import db --tag :active --replace --ids-column 1 raw.tsv
echo 'q1 0 1 1' >qrels
echo '{"id":"q1","vector":[1,2]}' >q.jsonl
refused new@2 "$vtag" eval run db --tag :active --queries q.jsonl --qrels qrels

# ---- What says of which tag it is ---------------------------------------------------------

works 'a query that states its tag' "$vtag" search db --tag :active --queries stated.jsonl
ends 1 "its tag is 'old@1', not 'new@2'" "$vtag" search db --tag :active --queries other.jsonl
works 'a text with an embedder' "$vtag" search db --tag :active --text x \
    --exec "cat >/dev/null; echo '{\"vector\":[1,2]}'"
works 'a put of a text' "$vtag" put db --id 5 --data x --tag :active \
    --exec "cat >/dev/null; echo '{\"vector\":[1,2]}'"
works 'an import that states its tag' "$vtag" import db --tag :active --fill stated.jsonl
ends 1 'its tag is old@1, and :active is new@2' "$vtag" import db --tag :active --fill other.jsonl
rev=$("$vtag" pending db --tag old@1 | sed -n 's/.*"id":5,"rev":\([0-9]*\).*/\1/p')
echo "{\"id\":5,\"rev\":$rev,\"tag\":\"old@1\",\"vector\":[1,2]}" >fill.jsonl
works 'a fill that states its tag' "$vtag" fill db --tag :standby fill.jsonl
says 'filled 1 items'
echo '{"id":"q1","tag":"new@2","vector":[1,2]}' >q.jsonl
works 'judged queries that state it' "$vtag" eval run db --tag :active --queries q.jsonl --qrels qrels
works 'the items of a role' "$vtag" pending db --tag :standby
works 'a sample of two roles' "$vtag" shadow db --tag :active --base :standby --dry-run
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
