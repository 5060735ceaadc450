#!/bin/sh
# test_story.sh VTAG - two migrations of real data from end to end: GloVe 6B to 840B, where
# vectors are given, and Cranfield from one built-in embedder to the other, where evaluations
# decide. Then what a flip costs at 1 k and 1 M items, and compact under kill -9.
# Without ../shared/data its parts are skipped; with CI=true that is a failure.
set -u
. "$(dirname "$0")/cli.sh"
data=${VTAG_DATA:-$here/../../shared/data}

exits() { # exits CODE NAME COMMAND...: with it, whatever it says
    code=$1 what=$2
    shift 2
    "$@" >out 2>err </dev/null
    got=$?
    if [ $got -eq "$code" ]; then pass; else fail "$what: code $got, not $code: $*"; fi
}
works() { exits 0 "$@"; }
says() { # says PATTERN: in all that the last one said
    if cat out err | grep -Eq -- "$1"; then pass; else fail "output has no '$1'"; sed 's/^/      /' out; fi
}
silent() { # silent PATTERN: not in it
    if cat out err | grep -Eq -- "$1"; then fail "output has '$1'"; else pass; fi
}
number() { # number NAME: its first value in the JSON that ran last
    grep -o "\"$1\":[-0-9.e]*" out | head -n 1 | cut -d: -f2| head -n 1
}
within() { # within NAME X LOW HIGH
    if awk -v x="$2" -v l="$3" -v h="$4" 'BEGIN { exit !(x != "" && x >= l && x <= h) }'; then pass
    else fail "$1: '$2' is not within $3 and $4"; fi
}
lacking() { # lacking WHAT
    if [ "${CI:-}" = true ]; then
        : >err
        fail "$1 is not here, and CI wants it"
    else
        echo "skipped: $1, which is not here"
    fi
}

# ---- GloVe 6B to 840B: given vectors ------------------------------------------------------

glove_story() {
    g=$1
    v1=glove@6b v2=glove@840b
    works 'version 1' "$vtag" import glove.vtag "$g.glove6B300.npy" --tag $v1 --ids "$g.words.txt"
    works 'version 2 is declared' "$vtag" declare glove.vtag --tag $v2 --dim 300
    exits 3 'nothing is filled: HOLD' "$vtag" gate glove.vtag --tag $v2
    says 'coverage +0\.00 %'

    awk '{ printf "{\"key\":\"%s\"}\n", $1 }' "$g.words.txt" >keys
    "$vtag" dump glove.vtag >/dev/null || fail dump
    works 'version 2 as rows' "$vtag" import rows.vtag "$g.glove840B300.npy" --tag $v2 --ids "$g.words.txt"
    "$vtag" dump rows.vtag | grep '"kind":"row"' >rows
    equal 'rows of version 2' "$(wc -l <rows | tr -d ' ')" 737
    head -n 442 "$g.words.txt" >part.txt
    head -c $((128 + 442 * 1200)) "$g.glove840B300.npy" >part.raw
    npy_head 442 >part.npy
    tail -c $((442 * 1200)) part.raw >>part.npy
    works '60 % are filled' "$vtag" import glove.vtag part.npy --tag $v2 --ids part.txt --fill
    exits 3 'gate at 60 %' "$vtag" gate glove.vtag --tag $v2
    says 'coverage +59\.97 %'
    exits 3 'a rehearsal says it before' "$vtag" cutover glove.vtag --tag $v2 --rehearse
    says 'would hold'
    works 'the rest' "$vtag" import glove.vtag "$g.glove840B300.npy" --tag $v2 --ids "$g.words.txt" --fill
    works 'doctor is content' "$vtag" doctor glove.vtag

    works 'shadow, every word a query' "$vtag" shadow glove.vtag --tag $v2 --sample 100 --json
    equal 'queries' "$(number queries)" 737
    within 'overlap@10' "$(number overlap)" 0.4865 0.4875
    says '"alarm":false'
    works 'shadow, the default sample' "$vtag" shadow glove.vtag --tag $v2
    says '100 of 737 items fresh under both'
    says '^query .*: overlap'
    swapped_queries "$g" >swapped.jsonl
    exits 3 'shadow of queries by the wrong model' "$vtag" shadow glove.vtag --tag $v2 --queries swapped.jsonl
    says 'alarm: overlap@10 is 0\.0'
    live_comparison
    works 'both are on record' "$vtag" shadow glove.vtag --list
    equal 'comparisons' "$(grep -c 'overlap@10$' out)" 3
    says "$v2 +$v1 +0\.625 +0\.700 +8000 .*live"

    echo mine >glove.vtag.rehearsal
    exits 1 'a copy of that name is there' "$vtag" cutover glove.vtag --tag $v2 --rehearse
    says 'glove.vtag.rehearsal: is there already'
    equal 'and stays' "$(cat glove.vtag.rehearsal)" mine
    rm -f glove.vtag.rehearsal
    works 'a rehearsal' "$vtag" cutover glove.vtag --tag $v2 --rehearse --json
    says '"probes":93,"found":93,"hides":0,"same_answers":true'
    says '"flip_ms":[0-9]'
    equal 'the copy is gone' "$(ls | grep -c rehearsal)" 0
    works 'nothing changed' "$vtag" tags glove.vtag
    says "$v1 +active"
    works 'it is in the history' "$vtag" history glove.vtag
    says 'note .*rehearsed on a copy'
    works 'and in the metadata' "$vtag" meta glove.vtag rehearsal
    says '"to":"glove@840b","ok":true,"flip_ms":'
    works 'cutover' "$vtag" cutover glove.vtag --tag $v2
    says "active: $v2, flipped in [0-9.]+ ms, after [0-9.]+ ms of judging"

    one=$("$vtag" get glove.vtag --key "$(sed -n 1p "$g.words.txt")" --tag $v2)
    works 'a write under the new tag alone' "$vtag" put glove.vtag --key only-new --data x --tag $v2 --vector "$one"
    works 'what a rollback would hide' "$vtag" rollback glove.vtag --dry-run
    says 'hides 1 items'
    works 'rollback' "$vtag" rollback glove.vtag
    says '^  only-new$'
    works 'its pending list' "$vtag" pending glove.vtag --tag $v1
    equal 'holds what was hidden' "$(sed 's/.*"key":"\([^"]*\)".*/\1/' out)" only-new
    works 'rollback again' "$vtag" rollback glove.vtag
    says 'nothing to do'
    works 'up again, through the gate' "$vtag" cutover glove.vtag --tag $v2
    exits 3 'doctor finds the write path' "$vtag" doctor glove.vtag
    says "write-path: $v1: .*1 left it out|write-path: $v1: all 1 writes"

    three_tags "$g"
    retention
}
live_comparison() { # what an application measures on live queries, recorded by the library
    cat >live.c <<-END
	#define VTAG_IMPLEMENTATION
	#include "vtag.h"
	int main(void) {
	    vtag_db *db;
	    vtag_batch *b;
	    vtag_snap *s;
	    vtag_event e = {0};
	    if (vtag_open("glove.vtag", NULL, &db) || vtag_snapshot(db, &s)) return 1;
	    if (vtag_find(s, "glove@840b", &e.tag) || vtag_find(s, "glove@6b", &e.base)) return 2;
	    e.kind = VTAG_K_SHADOW;
	    e.name = "live";
	    e.value = 0.625;
	    e.base_value = 0.7;
	    e.queries = 8000;
	    if (vtag_begin(db, NULL, &b) || vtag_note(b, &e) || vtag_commit(b)) return 3;
	    vtag_release(s);
	    vtag_close(db);
	    return 0;
	}
	END
    works 'an application' "${CC:-cc}" -std=c99 -I"$here/.." -o live live.c -lm
    works 'its comparison' ./live
}
npy_head() { # npy_head ROWS: of a file of ROWS x 300 floats
    text="{'descr': '<f4', 'fortran_order': False, 'shape': ($1, 300), }"
    printf '\223NUMPY\001\000\166\000%s%*s\n' "$text" $((118 - 1 - ${#text})) ''
}
swapped_queries() { # words by the vectors of the other model
    for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        word=$(sed -n "$((n * 30))p" "$1.words.txt")
        printf '{"id":"%s","vectors":{"%s":%s,"%s":%s}}\n' "$word" \
            glove@840b "$("$vtag" get glove.vtag --key "$word" --tag glove@6b)" \
            glove@6b "$("$vtag" get glove.vtag --key "$word" --tag glove@6b)"
    done
}
three_tags() {
    works 'vectors of unknown origin' "$vtag" stamp glove.vtag "$1.glove6B300.npy" --ids "$1.words.txt" \
        --fill --by tester --reason 'found on a disk'
    works 'they are flagged' "$vtag" status glove.vtag --json
    says '"tag":"legacy@0","role":"candidate","dim":300,"metric":"cosine","assumed":true'
    works 'by whom is on record' "$vtag" history glove.vtag
    says 'note +legacy@0 .*assumed by tester: the vectors of .*npy carried no tag; found on a disk'
    exits 1 'what is declared is not assumed' "$vtag" stamp glove.vtag "$1.glove6B300.npy" \
        --ids "$1.words.txt" --fill --tag glove@6b
    says 'declared and not assumed'
    works 'legacy answers as 6b does' "$vtag" shadow glove.vtag --tag legacy@0 --base glove@6b --json
    equal 'overlap of equal vectors' "$(number overlap)" 1
    within 'and rank-biased' "$(number rank_biased_overlap)" 0.999999 1.000001
    works 'a third tag' "$vtag" cutover glove.vtag --tag legacy@0 --min-coverage 99 --reason 'try it'
    works 'three tags at once' "$vtag" tags glove.vtag
    says 'glove@6b +older'
    says 'glove@840b +standby'
    says 'legacy@0 +active'
    works 'back to the standby' "$vtag" rollback glove.vtag
    works 'and to the older one by name' "$vtag" rollback glove.vtag --tag glove@6b
    works 'and up again' "$vtag" cutover glove.vtag --tag glove@840b
}
retention() {
    exits 3 'the standby is kept' "$vtag" retire glove.vtag --tag glove@6b
    says 'until 20.*at the earliest'
    works 'a hold' "$vtag" policy glove.vtag --hold audit --reason 'auditors ask'
    exits 3 'not even with a reason' "$vtag" retire glove.vtag --tag glove@6b --reason space
    works 'the hold ends' "$vtag" policy glove.vtag --no-hold --reason 'auditors are gone'
    works 'what it would free' "$vtag" retire glove.vtag --tag glove@6b --reason space --dry-run --json
    within 'bytes' "$(number bytes)" 884400 4000000
    says '"freed_by":"compact"'
    works 'retire' "$vtag" retire glove.vtag --tag glove@6b --reason space
    says 'gives its .* back, which nothing does before'
    exits 1 'it answers no more' "$vtag" pending glove.vtag --tag glove@6b
    works 'compact' "$vtag" compact glove.vtag --json
    before=$(number before) after=$(number after)
    within 'bytes after, at most those before less the tag' "$after" 1 $((before - 884400))
    works 'verify' "$vtag" verify glove.vtag
}

# ---- Cranfield: built-in embedders and evaluations -------------------------------------------

cran_lines='
    function flush() {
        if (id) {
            gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); gsub(/\t/, " ", text)
            if (q) printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", ++n, text
            else printf "{\"id\":%d,\"rev\":1,\"data\":\"%s\"}\n", id, text
        }
        text = ""
    }
    { sub(/[ \r]+$/, "") }
    /^\.I / { flush(); id = $2 + 0; on = 0; next }
    /^\.[A-Z]$/ { on = $0 == ".W" || $0 == ".T"; next }
    on { text = text (text == "" ? "" : " ") $0 }
    END { flush() }'
# nDCG@10 of the hits of vtag search --json, worked out apart from the tool.
cran_ndcg='
    function dcg(list, n,    i, sum) {
        for (i = 1; i <= n && i <= 10; i++) sum += list[i] * log(2) / log(i + 1)
        return sum
    }
    NR == FNR { gain[$1, $3] = $4; grades[$1] = grades[$1] " " $4; next }
    {
        line = $0; sub(/.*"query":"/, "", line); q = line; sub(/".*/, "", q)
        split("", have); split("", best); n = 0
        while (match(line, /"id":[0-9]+/)) {
            have[++n] = gain[q, substr(line, RSTART + 5, RLENGTH - 5)] + 0
            line = substr(line, RSTART + RLENGTH)
        }
        m = split(grades[q], best, " ")
        for (i = 2; i <= m; i++) {
            for (j = i; j > 1 && best[j] > best[j - 1]; j--) { t = best[j]; best[j] = best[j - 1]; best[j - 1] = t }
        }
        if (m) { sum += dcg(have, n) / dcg(best, m); count++ }
    }
    END { printf "%.6f %d\n", sum / count, count }'

cran_fill() { # cran_fill TAG WORKER [LIMIT]: the pending items, all or some
    # shellcheck disable=SC2086
    "$vtag" pending cran.vtag --tag "$1" ${3:+--limit $3} | sh -c "$2" |
        "$vtag" fill cran.vtag --tag "$1" --waive-errors - >fill.log 2>&1 || fail "fill of $1"
}
cran_eval() { # cran_eval TAG WORKER: ndcg@10
    "$vtag" eval run cran.vtag --tag "$1" --queries queries.jsonl --qrels qrels --exec "$2" \
        --metric ndcg --json
}
cran_score() { # the same, apart from the tool
    sed 's/"text":/"data":/; s/"id":"\([0-9]*\)"/"id":\1,"rev":1/' queries.jsonl | sh -c "$2" |
        sed 's/"id":\([0-9]*\),"rev":1/"id":"\1"/' >vectors.jsonl
    awk '{ sub(/"id":/, "\"key\":"); print }' vectors.jsonl >keyed.jsonl
    "$vtag" search cran.vtag --tag "$1" --preview --queries keyed.jsonl -k 10 --json >hits.jsonl
    awk "$cran_ndcg" qrels hits.jsonl
}

cran_story() {
    c=$1
    v1=hash-words@1 v2=hash-chars@2 bad=hash-words@2/first-20
    words="'$vtag' embed --model words"
    chars="'$vtag' embed --model chars --idf cran.vtag --tag $v2"
    short="sed 's/\"data\":\"\(\([^ \"]* \)\{20\}\)[^\"]*\"/\"data\":\"\1\"/' | $words"
    awk "$cran_lines" "$c/cran.all.1400" >items.jsonl
    awk -v q=1 "$cran_lines" "$c/cran.qry" >queries.jsonl
    awk '$3 > 0 { print $1, 0, $2, 5 - $3 }' "$c/cranqrel.graded" >qrels
    equal 'documents' "$(wc -l <items.jsonl | tr -d ' ')" 1400
    equal 'queries' "$(wc -l <queries.jsonl | tr -d ' ')" 225

    works 'version 1' "$vtag" declare cran.vtag --tag $v1 --dim 256
    works 'the documents' "$vtag" import cran.vtag items.jsonl --append
    cran_fill $v1 "$words"
    exits 0 'its score' cran_eval $v1 "$words"
    base=$(number value)
    equal 'agrees with plain arithmetic' "$(cran_score $v1 "$words" | awk '{ printf "%.4f %d", $1, $2 }')" \
        "$(awk -v x="$base" 'BEGIN { printf "%.4f 225", x }')"
    works 'the gate wants no loss' "$vtag" policy cran.vtag --score ndcg@10 --max-drop 0 --reason 'no loss of quality'

    works 'version 2' "$vtag" declare cran.vtag --tag $v2 --dim 384
    works 'its words are counted' "$vtag" embed --model chars --idf cran.vtag --tag $v2 --freeze
    cran_fill $v2 "$chars" 839
    exits 0 'a score at 60 %' cran_eval $v2 "$chars"
    says '"provisional":true'
    part=$(number value)
    cran_fill $v2 "$chars"
    exits 3 'it does not count when all is filled' "$vtag" gate cran.vtag --tag $v2 --json
    says '"coverage":true,"waived":true,"freshness":true,"score":false'
    works 'and is marked' "$vtag" eval ls cran.vtag --tag $v2
    says 'provisional: taken at 5[89]\.|provisional: taken at 60\.'
    exits 0 'the score of all' cran_eval $v2 "$chars"
    better=$(number value)
    says '"provisional":false,"small":true'
    within 'it is better' "$better" "$base" 1
    works 'GO' "$vtag" gate cran.vtag --tag $v2

    works 'a worse version' "$vtag" declare cran.vtag --tag $bad --dim 256
    cran_fill $bad "$short"
    exits 0 'its score' cran_eval $bad "$short"
    worse=$(number value)
    within 'it is worse' "$worse" 0 "$base"
    exits 3 'HOLD' "$vtag" cutover cran.vtag --tag $bad
    says 'score .*HOLD'
    exits 0 'no cutover happened' "$vtag" tags cran.vtag
    says "$v1 +active"

    few=few.jsonl
    head -n 74 queries.jsonl >$few
    works 'too few queries' "$vtag" eval run cran.vtag --tag $v2 --queries $few --qrels qrels --exec "$chars" --metric mrr
    says 'fewer than 75 queries, does not count'
    exits 3 'do not count' "$vtag" gate cran.vtag --tag $v2 --score mrr@10 --reason test
    works 'a score from elsewhere' "$vtag" eval add cran.vtag --tag $v2 --score clicks --value 0.31 \
        --queries 4000 --low 0.30 --high 0.32 --note 'live traffic'
    silent small
    works 'is listed' "$vtag" eval ls cran.vtag --json
    says '"name":"clicks","text":"95 % interval 0.3 to 0.32; live traffic"'
    works 'cutover of the better one' "$vtag" cutover cran.vtag --tag $v2
    echo "      Cranfield ndcg@10: words $base, chars with idf $better (at 60 %: $part), words of 20 words $worse"
    cran_probes
}
cran_probes() {
    works 'a probe' "$vtag" doctor cran.vtag --add-probe 'laminar boundary layer' --tag $v2 --exec "$chars"
    works 'a probe of the standby' "$vtag" doctor cran.vtag --add-probe 'laminar boundary layer' --tag $v1 --exec "$words"
    works 'another' "$vtag" doctor cran.vtag --add-probe 'heat transfer' --tag $v1 --exec "$words"
    "$vtag" doctor cran.vtag --exec-active "$chars" --exec-standby "$words" >out 2>err
    silent 'probe:'
    exits 3 'weights swapped under the standby' "$vtag" doctor cran.vtag --exec-active "$chars" --exec-standby "$short | sed 's/\[/[9,/; s/,[^,]*\]/]/'"
    says "probe: $v1: .*another vector, cosine 0"
    exits 3 'another model' "$vtag" doctor cran.vtag --exec-active "$words"
    says "probe: $v2: .*256 numbers instead of 384"
    exits 3 'a standby that is dead' "$vtag" doctor cran.vtag --exec-standby 'exit 1'
    says "probe: $v1: .*does not answer, and a rollback needs it"
    works 'that is on record' "$vtag" meta cran.vtag embedder:$v1
    says '"answers":false'
    works 'no retention, but a passing score' "$vtag" policy cran.vtag --retain 0 --retain-scores 1 --reason test
    exits 3 'the active tag has none since its cutover' "$vtag" retire cran.vtag --tag $v1
    says 'lacks passing scores; give them with vtag eval'
    exits 0 'one is taken' cran_eval $v2 "$chars"
    works 'then it may go' "$vtag" retire cran.vtag --tag $v1
}

# ---- Bad inputs: exit code, and one line that says where -------------------------------------------

bad_story() {
    printf '{"id":1,"vector":[1,0],"data":"a"}\n{"id":2,"vector":[0,1],"data":"b"}\n' >two.jsonl
    works 'a small store' "$vtag" import bad.vtag two.jsonl --tag m@1
    works 'a second tag' "$vtag" declare bad.vtag --tag m@2 --dim 3
    echo '{"id":"q","vector":[1,0]}' >q.jsonl
    echo 'q 0 1 1' >r
    run="$vtag eval run bad.vtag --tag m@1"
    works 'one query' $run --queries q.jsonl --qrels r --dry-run --json
    says '"score":"ndcg@10","value":1,'
    works 'nothing is recorded' "$vtag" eval ls bad.vtag
    says 'no scores'
    ends 2 'eval: which\? run, add or ls' "$vtag" eval bad.vtag
    ends 2 "metric 'map'" $run --queries q.jsonl --qrels r --metric map
    ends 1 'none.jsonl' $run --queries none.jsonl --qrels r
    echo 'q 0 1' >short
    ends 1 'short: line 1: .*TREC' $run --queries q.jsonl --qrels short
    echo 'q 0 77 1' >stranger
    ends 1 'stranger: none of its documents' $run --queries q.jsonl --qrels stranger
    echo 'other 0 1 1' >other
    ends 1 'other: no query of q.jsonl' $run --queries q.jsonl --qrels other
    for bad in '{"id":"q"}' '{"vector":[1,0]}' '{"id":"q","vector":[]}' '{"id":"q","vectors":[1]}' '[' \
            '{"id":"q","vector":[1,0,0]}'; do
        echo "$bad" >bad.jsonl
        ends 1 'bad.jsonl: line 1: ' $run --queries bad.jsonl --qrels r
    done
    cat q.jsonl q.jsonl >again.jsonl
    ends 1 'again.jsonl: line 2: .*before' $run --queries again.jsonl --qrels r
    echo '{"id":"q","text":"x"}' >text.jsonl
    ends 2 'text.jsonl: line 1: .*--exec' $run --queries text.jsonl --qrels r
    ends 1 'text 1 of 1: the worker says: too long' $run --queries text.jsonl --qrels r \
        --exec 'echo "{\"id\":0,\"error\":\"too long\"}"'
    ends 1 'no "id" that was asked' $run --queries text.jsonl --qrels r --exec 'echo "{\"id\":5,\"vector\":[1,0]}"'
    ends 1 'status 3 and no answer' $run --queries text.jsonl --qrels r --exec 'exit 3'
    ends 2 '--low and --high' "$vtag" eval add bad.vtag --tag m@1 --score s --value 1 --queries 9 --low 0
    ends 2 '--tag NAME is missing' "$vtag" shadow bad.vtag
    ends 1 'no item is fresh under both' "$vtag" shadow bad.vtag --tag m@2
    ends 1 "neither a vector of tag 'm@2' nor a text" "$vtag" shadow bad.vtag --tag m@2 --queries q.jsonl
    ends 2 '--exec-base' "$vtag" shadow bad.vtag --tag m@2 --exec true
    ends 2 'compared with another' "$vtag" shadow bad.vtag --tag m@1 --base m@1
    ends 2 'go together' "$vtag" doctor bad.vtag --add-probe x
    ends 2 'no tag is standby' "$vtag" doctor bad.vtag --exec-standby true
    ends 1 'has dim 2' "$vtag" doctor bad.vtag --add-probe x --tag m@1 --exec 'echo "{\"vector\":[1]}"'
    ends 1 'nothing to rehearse' "$vtag" cutover bad.vtag --tag m@1 --rehearse
    ends 1 '--fill adds' "$vtag" stamp bad.vtag two.jsonl
    works 'stamp makes a file' "$vtag" stamp made.vtag two.jsonl
    says 'vectors of legacy@0'
    echo '{"id":9,"tag":"m@1","vector":[1,0]}' >known.jsonl
    ends 1 'known.jsonl: line 1: its tag is m@1' "$vtag" stamp made.vtag known.jsonl --append
    works 'policy --dry-run' "$vtag" policy bad.vtag --retain 1d --reason test --dry-run
    says 'retention +1 d|retention +24 h'
    works 'the policy is what it was' "$vtag" policy bad.vtag
    says 'retention +28 d'
}

# ---- doctor: what it finds -----------------------------------------------------------------------

doctor_story() {
    cat >sick.jsonl <<-END
	{"id":1,"vector":[1,0,0],"data":"one"}
	{"id":2,"vector":[0,1,0],"data":"two"}
	{"id":3,"vector":[0,1,0],"data":"three"}
	{"id":4,"vector":[0,0,0],"data":"four"}
	{"id":5,"vector":[0,0,7],"data":"five"}
	{"id":6,"vector":[0,1,0],"data":"two"}
	END
    works 'a sick store' "$vtag" import sick.vtag sick.jsonl --tag minilm@1/norm-l2 --metric dot
    works 'a write without its vector' "$vtag" put sick.vtag --id 1 --data 'one, changed'
    works 'a name mistyped' "$vtag" declare sick.vtag --tag minlim@2 --dim 3 --force
    exits 3 'doctor' "$vtag" doctor sick.vtag
    says 'zero: minilm@1/norm-l2: 1 vectors are all zero, the first of item 4'
    says 'norm: minilm@1/norm-l2: 1 of 6 vectors .*tag.s name says, the first of item 5: 7'
    says 'duplicate: minilm@1/norm-l2: 1 items .*such as 2 and 3'
    says 'stale: minilm@1/norm-l2: 1 items'
    says 'write-path: minilm@1/norm-l2: 6 writes .*gave it, 1 left it out'
    says "name: minlim@2: 'minlim' looks like 'minilm'"
    exits 3 'doctor --json' "$vtag" doctor sick.vtag --json
    equal 'an object a finding' "$(grep -c '^{"check":' out)" 6
}

# ---- The cost of a flip, and compact under kill -9 -----------------------------------------------------

twice() { # twice N: doubles the bytes of `rows` N times
    n=$1
    while [ "$n" -gt 0 ]; do
        cat rows rows >more && mv more rows
        n=$((n - 1))
    done
}
file_bytes() { # of the store's committed state
    "$vtag" status "$1" --json | sed 's/.*"file_bytes":\([0-9]*\).*/\1/'
}
flips() { # flips STORE: the ms of five
    for i in 1 2 3 4 5; do
        "$vtag" cutover "$1" --tag b@1 --json | sed 's/.*"flip_ms":\([0-9.e-]*\).*/\1/'
        "$vtag" rollback "$1" >/dev/null
    done | sort -g | awk '{ printf " %.2f", $1 } END { print "" }'
}
flip_story() {
    printf '\004\000\000\000\001\002\003\004' >rows
    for size in 1k 1m; do
        twice 10
        cp rows $size.bvecs
        works "$size items" "$vtag" import $size.vtag $size.bvecs --tag a@1 --metric l2
        works 'under a second tag' "$vtag" import $size.vtag $size.bvecs --tag b@1 --metric l2 --fill --declare
        from=$(file_bytes $size.vtag)
        works "a rehearsal among  equal rows" "$vtag" cutover $size.vtag --tag b@1 --rehearse
        says "then [0-9]+ of [0-9]+ probes found"
        works 'one flip' "$vtag" cutover $size.vtag --tag b@1
        echo $(($(file_bytes $size.vtag) - from)) >$size.grown
        works 'back' "$vtag" rollback $size.vtag
        flips $size.vtag >$size.ms
        equal "flips at $size that tell how long they took" "$(wc -w <$size.ms)" 5
        echo "      flip at $size items, commit alone, ms: $(cat $size.ms)"
    done
    equal 'bytes that the file grows by at 1 M and at 1 k (test_cost counts what is written)' "$(cat 1m.grown)" "$(cat 1k.grown)"
    rm -f 1m.bvecs rows
    printf '\004\000\000\000\001\002\003\004' >rows
    twice 17
    mv rows 128k.bvecs
    works '128k items' "$vtag" import big.vtag 128k.bvecs --tag a@1 --metric l2
    works 'under a second tag' "$vtag" import big.vtag 128k.bvecs --tag b@1 --metric l2 --fill --declare
}
compact_story() { # kills compact at 30 moments of its run
    works 'a tag to drop' "$vtag" retire big.vtag --tag b@1 --reason 'never mind'
    "$vtag" get big.vtag 777 >want
    "$vtag" search big.vtag --tag a@1 --vector '[1,2,3,5]' --json >>want
    seed=${SEED:-$$} killed=0 n=0
    cp big.vtag timed.vtag
    from=$(date +%s%N)
    works 'compact, for its time' "$vtag" compact timed.vtag
    took=$((($(date +%s%N) - from) / 1000000))
    rm -f timed.vtag
    while [ $killed -lt 30 ] && [ $n -lt 90 ]; do
        seed=$(((seed * 1103515245 + 12345) & 2147483647))
        pause=$(awk -v r=$((seed / 65536)) -v t=$took 'BEGIN { printf "%.3f", r / 32768 * t * 1.1 / 1000 }')
        "$vtag" compact big.vtag >/dev/null 2>&1 &
        child=$!
        sleep "$pause"
        kill -9 $child 2>/dev/null
        wait $child 2>/dev/null
        if [ $? -eq 137 ]; then killed=$((killed + 1)); else took=$((took * 4 / 5 + 1)); fi
        { "$vtag" get big.vtag 777; "$vtag" search big.vtag --tag a@1 --vector '[1,2,3,5]' --json; } >got 2>err
        if cmp -s want got && "$vtag" verify big.vtag >out 2>err; then pass
        else fail "after a kill at $pause s, SEED=${SEED:-$$}"; fi
        n=$((n + 1))
    done
    works 'compact in peace' "$vtag" compact big.vtag
    equal 'leftovers beside the store' "$(ls | grep -c 'big\.vtag\.')" 0
    equal 'runs killed' $killed 30
    echo "      compact of $(file_bytes big.vtag) bytes: killed $killed times in $n runs"
}
reader_story() { # a reader that began before goes on while compact replaces the file
    "$vtag" copy big.vtag read.vtag >/dev/null || fail copy
    "$vtag" dump read.vtag -o quiet.dump || fail dump
    "$vtag" dump read.vtag | { sleep 3; cat; } >loud.dump & # the pipe is full long before
    reader=$!
    sleep 1
    works 'compact beside a reader' "$vtag" compact read.vtag
    wait $reader
    if cmp -s quiet.dump loud.dump; then pass; else fail 'the reader saw something else'; fi
    rm -f quiet.dump loud.dump read.vtag
}

glove=$data/glove/glove6B300_vs_glove840B300
if [ -f "$glove.words.txt" ]; then glove_story "$glove"; else lacking glove; fi
if [ -f "$data/cranfield/cran.all.1400" ]; then cran_story "$data/cranfield"; else lacking cranfield; fi
bad_story
doctor_story
flip_story
reader_story
compact_story
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
