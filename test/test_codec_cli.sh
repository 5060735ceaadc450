#!/bin/sh
# test_codec_cli.sh VTAG - rows of f16 and i8 from the command line: import, search, what
# status says, their size, and a dump whose restore is equal
set -u
. "$(dirname "$0")/cli.sh"

bytes() { wc -c <"$1" | tr -d ' '; }

awk 'BEGIN { srand(7); for (i = 1; i <= 2300; i++) {
    printf "doc%d", i
    for (j = 0; j < 128; j++) printf "%s%.4f", j ? " " : "\t", rand() * 2 - 1
    print "" } }' |
    awk -F '\t' '{ gsub(/ /, ",", $2); printf "{\"key\": \"%s\", \"vector\": [%s]}\n", $1, $2 }' >rows.jsonl
query=$(sed -n '100s/.*: \[\(.*\)\]}/\1/p' rows.jsonl)

for codec in f32 f16 i8; do
    works "$codec" "$vtag" import $codec.vtag rows.jsonl --tag m@1 --metric l2 --codec $codec --declare
    works "$codec" "$vtag" tags $codec.vtag
    says $codec
    works "$codec" "$vtag" status $codec.vtag
    works "$codec" "$vtag" search $codec.vtag --tag m@1 --vector "[$query]" -k 3
    says doc100
    works "$codec" "$vtag" verify $codec.vtag
    works "$codec" "$vtag" dump $codec.vtag -o $codec.jsonl
    works "$codec" "$vtag" restore again.vtag $codec.jsonl
    works "$codec" "$vtag" dump again.vtag -o again.jsonl
    same "$codec restored" $codec.jsonl again.jsonl
    rm -f again.vtag again.jsonl
    works "$codec" "$vtag" compact $codec.vtag
    works "$codec" "$vtag" verify $codec.vtag
done
if [ "$(bytes f16.vtag)" -lt "$(bytes f32.vtag)" ] && [ "$(bytes i8.vtag)" -lt "$(bytes f16.vtag)" ]; then
    pass
else
    fail "sizes $(bytes f32.vtag) $(bytes f16.vtag) $(bytes i8.vtag)"
fi

"$vtag" import f16.vtag rows.jsonl --tag m@1 --codec i8 --replace >out 2>err && fail 'another codec under one tag'
if grep -q 'another codec is another tag' err; then pass; else fail 'no word of the codec'; fi
"$vtag" declare f32.vtag --tag n@1 --dim 3 --codec f64 >out 2>err && fail 'a codec that there is not'
if grep -q 'f32, f16, i8' err; then pass; else fail 'no word of what there is'; fi
printf '{"key": "big", "vector": [70000%s]}\n' "$(printf ',0%.0s' $(seq 127))" >big.jsonl
"$vtag" import f16.vtag big.jsonl --tag m@1 --append >out 2>err && fail 'a number beyond a half'
if [ "$(wc -l <err)" -eq 1 ]; then pass; else fail 'not one line of error'; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
