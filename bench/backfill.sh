#!/bin/sh
# bench/backfill.sh VTAG [ROWS [DIM]] - what a backfill itself costs a row, against importing
# the same rows from JSON Lines. The embedding command answers from a table made before, so
# that next to nothing of the time is its own. Runs in turn, medians of seven.
set -eu
vtag=$1 rows=${2:-20000} dim=${3:-384}
case $vtag in /*) ;; *) vtag=$PWD/$vtag ;; esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/vtag-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >answer.c <<'SRC'
/* answer TABLE: line i of the table is the vector of id i; echoes id and rev around it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    static char line[1 << 16], *row[1 << 20];
    FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
    size_t n = 0;
    if (!f) return 1;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        row[n++] = strcpy(malloc(strlen(line) + 1), line);
    }
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long id = strtoull(strstr(line, "\"id\":") + 5, NULL, 10);
        unsigned long long rev = strtoull(strstr(line, "\"rev\":") + 6, NULL, 10);
        printf("{\"id\":%llu,\"rev\":%llu,\"vector\":%s}\n", id, rev, row[id]);
        fflush(stdout);
    }
    return 0;
}
SRC
${CC:-cc} -O2 -o answer answer.c
awk -v n="$rows" -v d="$dim" 'BEGIN { srand(1)
    for (i = 0; i < n; i++) {
        v = "["
        for (j = 0; j < d; j++) v = v (j ? "," : "") sprintf("%.6f", rand() - 0.5)
        v = v "]"
        t = ""
        for (j = 0; j < 40; j++) t = t sprintf("word%d ", rand() * 5000)
        print v >"table"
        printf "{\"id\":%d,\"data\":\"%s\",\"vector\":%s}\n", i, t, v >"rows.jsonl"
        printf "{\"id\":%d,\"data\":\"%s\"}\n", i, t >"items.jsonl"
    } }'
"$vtag" import items.vtag items.jsonl >/dev/null
"$vtag" declare items.vtag --tag m@1 --dim "$dim" >/dev/null

cat >import.sh <<SH
"$vtag" import i.vtag rows.jsonl --tag m@1 >/dev/null
SH
cat >backfill.sh <<SH
"$vtag" backfill b.vtag --tag m@1 --exec './answer table' >/dev/null
SH
cat >load.sh <<SH
./answer table </dev/null
SH
ms() { date +%s%N | cut -c1-13; }
timed() { # timed SCRIPT: its time in ms
    from=$(ms)
    sh "$1"
    echo $(($(ms) - from))
}
median() { sort -n "$1" | sed -n 4p; }
for _ in 1 2 3 4 5 6 7; do
    rm -f i.vtag b.vtag
    cp items.vtag b.vtag
    timed import.sh >>import.ms
    timed backfill.sh >>backfill.ms
    timed load.sh >>load.ms
done
"$vtag" verify b.vtag --quiet >/dev/null
a=$(median import.ms) b=$(median backfill.ms) l=$(median load.ms)
echo "$rows rows of dim $dim, medians of 7: import $a ms, backfill $b ms, of which the embedding" \
     "command reads its table for $l ms"
awk -v a="$a" -v b="$b" -v l="$l" 'BEGIN {
    printf "ratio backfill-vs-import %.2f\n", (b - l) / a
    printf "ratio backfill-vs-import-table-included %.2f\n", b / a }'
