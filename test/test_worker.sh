#!/bin/sh
# test_worker.sh VTAG - workers in several languages, and in every way in which one can fail:
# each command ends as a user would expect, in bounded memory, and says why. It wants node,
# jq and python3; what it lacks is skipped, and with CI=true it fails.
set -u
. "$(dirname "$0")/cli.sh"
children=
trap 'for p in $children; do kill "$p" 2>/dev/null; done; rm -rf "$dir"' EXIT
export XDG_CONFIG_HOME="$dir/config"
: "${CC:=cc}"

lacking() { # lacking WHAT
    if [ "${CI:-}" = true ]; then
        : >err
        fail "$1 is not here, and CI wants it"
    else
        echo "skipped: workers in $1, which is not here"
    fi
}
run() { # run CODE COMMAND...: ends with it, within a minute and 1 GiB of memory
    want=$1
    shift
    ([ -n "${NO_LIMIT:-}" ] || ulimit -v 1048576; exec timeout -s KILL 60 "$@") >out 2>err </dev/null
    got=$?
    if [ $got -eq "$want" ]; then pass; else fail "code $got, not $want: $*"; fi
}
warns() { # warns PATTERN
    if grep -Eq -- "$1" err; then pass; else fail "standard error has no '$1'"; fi
}
quiet() { # quiet PATTERN
    if grep -Eq -- "$1" err; then fail "standard error has '$1'"; else pass; fi
}
fresh() { # fresh N: a store of N keyed items
    rm -f db
    awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++) printf "{\"key\":\"doc-%d\",\"data\":\"text %d\"}\n", i, i }' |
        "$vtag" import db --format jsonl - >/dev/null 2>&1 && "$vtag" declare db --tag m@1 --dim 2 >/dev/null ||
        fail 'a store'
}
state() { # state STATE: how many items are in it
    "$vtag" items db --tag m@1 --state "$1" --json | wc -l | tr -d ' '
}
fill() { # fill CODE WORKER [OPTIONS...]
    code=$1 worker=$2
    shift 2
    case " $* " in *' --tries '*) ;; *) set -- "$@" --tries 2 ;; esac
    case " $* " in *' --timeout '*) ;; *) set -- "$@" --timeout 400ms ;; esac
    run "$code" "$vtag" backfill db --tag m@1 --exec "$worker" --backoff 5ms --json "$@"
}
filled() { # filled N
    equal "$worker: filled" "$(grep -o '"filled":[0-9]*' out)" "\"filled\":$1"
}
help_of() { # help_of HEADING: an example of the help
    "$vtag" help worker | awk -v h="$1" '$0 == h { on = 1; next } on && !/^    / { exit } on { print substr($0, 5) }'
}

# ---- The examples of the help, 5,000 keyed items each ---------------------------------------

works 'help' "$vtag" help
says '^vtag help worker +how your '
works 'help worker' "$vtag" help worker
says '"retry_after":2.5'
help_of PYTHON >w.py
help_of NODE >w.js
help_of JQ >w.jq.sh
equal 'a worker in a line of jq' "$(wc -l <w.jq.sh | tr -d ' ')" 1
for language in 'python3 w.py' 'node w.js' 'jq w.jq.sh'; do
    program=${language%% *} file=${language#* }
    command -v "$program" >/dev/null || { lacking "$program"; continue; }
    if [ "$program" = jq ]; then language="sh $file"; fi
    fresh 5000
    run 0 "$vtag" backfill db --tag m@1 --exec "exec $language" --json
    says '"filled":5000,.*"unanswered":0,"unasked":0,"repeated":0,"retries":0,'
    equal "$program: all are fresh" "$(state fresh)" 5000
    equal "$program: says nothing" "$(cat err)" ''
    run 0 "$vtag" search db --tag m@1 --text 'text 77' --exec "exec $language" --json
    says '"key":"doc-'
done

# ---- One program for all the others ------------------------------------------------------------

cat >odd.c <<'SRC'
/* odd WHAT: a worker that does WHAT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char line[1 << 20], id[40], as[40], key[64], rev[40], data[256]; /* as: the id as it came */
static void field(const char *name, char *to)
{
    const char *p = strstr(line, name);
    size_t n = 0;
    if (p) p += strlen(name), n = strcspn(p, ",\"}");
    memcpy(to, p ? p : "", n);
    to[n] = 0;
}
static int is(const char *a, const char *b) { return !strcmp(a, b); }
static void vector(const char *beside)
{
    printf("{\"id\":%s,\"rev\":%s,\"vector\":[%d,1]%s}\n", as, rev, (int)strlen(data), beside);
}
static void other(const char *what) { printf("{\"id\":%s,\"rev\":%s,%s}\n", as, rev, what); }
static void chat(void)
{
    for (;; usleep(10000)) puts("alive"), fflush(stdout);
}
static void child(void) /* one that keeps the pipe when this one is gone */
{
    fflush(stdout);
    if (!fork()) {
        setpgid(0, 0);
        sleep(20);
        _exit(0);
    }
}
static void endless(void)
{
    static char much[1 << 16];
    long i;
    memset(much, 'x', sizeof much);
    printf("{\"id\":\"");
    for (i = 0; i < 1 << 14; i++) fwrite(much, 1, sizeof much, stdout);
    puts("\"}");
}
static int answer(const char *w, int n)
{
    double d = strtod(id, NULL);
    if (is(w, "chat")) chat();
    if (is(w, "hang")) sleep(100);
    if (is(w, "null")) return vector(",\"error\":null,\"retry_after\":null"), 1;
    if (is(w, "empty")) return vector(",\"error\":\"\",\"retry_after\":0"), 1;
    if (is(w, "false")) return vector(",\"error\":false,\"vectors\":[]"), 1;
    if (is(w, "object")) return other("\"error\":{\"message\":\"quota of today\",\"code\":429}"), 1;
    if (is(w, "code")) return other("\"error\":{\"code\":429,\"why\":[\"a\"]}"), 1;
    if (is(w, "number")) return other("\"error\":429"), 1;
    if (is(w, "novector")) return other("\"vector\":null"), 1;
    if (is(w, "nan")) return other("\"vector\":[null,1]"), 1;
    if (is(w, "dim")) return other("\"vector\":[1,2,3]"), 1;
    if (is(w, "again") && n < 3) return other("\"retry_after\":0"), 1;
    if (is(w, "text") && n < 2) return other("\"retry_after\":\"0.05\",\"error\":\"slow down\""), 1;
    if (is(w, "for-ever")) return other("\"retry_after\":0"), 1;
    if (is(w, "alias")) return printf("{\"id\":%s,\"embedding\":[1,2]}\n", as), 1;
    if (is(w, "key")) return printf("{\"key\":\"%s\",\"vector\":[1,2]}\n", key), 1;
    if (is(w, "key-in-id")) return printf("{\"id\":\"%s\",\"vector\":[1,2]}\n", key), 1;
    if (is(w, "rounded")) return printf("{\"id\":%.17g,\"rev\":%s,\"vector\":[1,2]}\n", d, rev), 1;
    if (is(w, "javascript")) return printf("{\"id\":%.0f,\"rev\":%s,\"vector\":[1,2]}\n", d, rev), 1;
    if (is(w, "exact")) return printf("{\"id\":%s,\"rev\":%s,\"vector\":[1,2]}\n", id, rev), 1;
    if (is(w, "unknown")) return printf("{\"id\":%d,\"rev\":1,\"vector\":[1,2]}\n", n + 7), 1;
    if (is(w, "rev")) return printf("{\"id\":%s,\"rev\":99999,\"vector\":[1,2]}\n", as), 1;
    if (is(w, "nobody")) return printf("{\"error\":\"cannot reach the model\"}\n"), 1;
    if (is(w, "twice")) vector("");
    if (is(w, "log")) printf("loaded 7 layers\n[1,2]\n{\"level\":\"info\"}\n");
    if (is(w, "crlf")) return printf("{\"id\":%s,\"rev\":%s,\"vector\":[1,2]}\r\n\r\n", as, rev), 1;
    if (is(w, "quoted")) return printf("{\"id\":\"%s\",\"vector\":[1,2]}\n", id), 1;
    return 0;
}
static int start(const char *w)
{
    if (is(w, "none")) exit(0);
    if (is(w, "three")) exit(3);
    if (is(w, "limit")) exit(75);
    if (is(w, "once") && access("been", F_OK)) fclose(fopen("been", "w")), exit(75);
    if (is(w, "trace")) puts("Traceback: no such model"), exit(1);
    if (is(w, "mark")) printf("\xEF\xBB\xBF");
    if (is(w, "endless")) endless();
    if (is(w, "chat-at-once")) chat();
    if (is(w, "close")) close(1), sleep(100);
    if (is(w, "killed")) raise(9);
    if (is(w, "child")) child();
    if (is(w, "deaf")) close(0), sleep(100);
    return 0;
}
#include <signal.h>
int main(int argc, char **argv)
{
    const char *w = argv[1];
    int n = 0, most = argc > 2 ? atoi(argv[2]) : -1;
    start(w);
    while (n != most && fgets(line, sizeof line, stdin)) {
        field("\"id\":\"", id), field("\"key\":\"", key), field("\"rev\":", rev), field("\"data\":\"", data);
        if (!*id) field("\"id\":", id);
        sprintf(as, strstr(line, "\"id\":\"") ? "\"%s\"" : "%s", id);
        if (!answer(w, n++)) vector("");
        fflush(stdout);
        if (is(w, "half-line") && n == 3) return printf("{\"id\":\""), fflush(stdout), 0;
    }
    return 0;
}
SRC
sed -i 's/^#include <stdlib.h>/&\n#include <signal.h>/' odd.c
$CC -O1 -D_GNU_SOURCE -w -o odd odd.c || fail 'the worker that is odd'

# Those that do their work, each in its way.
for w in null empty false again text alias key exact twice log crlf mark child once good; do
    fresh 50
    rm -f been
    fill 0 "./odd $w"
    filled 50
    equal "$w: all are fresh" "$(state fresh)" 50
done
fresh 50
fill 0 './odd log'
equal 'at most a few lines are told of' "$(grep -c ignored err)" 3
warns "no JSON object: 'loaded 7 layers'; ignored"
fresh 50
fill 0 './odd twice'
says '"unasked":0,"repeated":[1-9]'
quiet 'not asked'

# Those that end after a few answers, or in the middle of a line, are started again.
for w in 'good 1' 'good 5' 'good 49' half-line 'child 7'; do
    fresh 50
    fill 0 "./odd $w" --tries 1
    filled 50
    says '"unanswered":0,.*"retries":0'
done
fresh 50
fill 0 './odd good 5' --workers 3 --batch 7 --tries 1
filled 50

# Those that fail: nothing hangs, and the reason is told.
fails() { # fails WORKER PATTERN [OPTIONS...]: nothing is filled, because of that
    w=$1 pattern=$2
    shift 2
    fresh 20
    fill 1 "$w" "$@"
    filled 0
    warns "$pattern"
    equal "$w: nothing is lost" "$(state missing) $(state waived)" '20 0'
}
fails './odd hang' 'gave no answer for 400 ms \(--timeout\)'
fails './odd chat' 'gave no answer for 400 ms \(--timeout\)'
fails './odd chat-at-once' 'gave no answer for 400 ms \(--timeout\)'
fails 'exec ./odd close' 'closed its output and did not end'
fails './odd deaf' 'gave no answer for 400 ms \(--timeout\)'
fails './odd endless' 'wrote a line of more than 64\.00? MiB|wrote a line of more than 64 MiB' --timeout 20s --tries 1
fails './odd killed' 'was killed by signal 9'
fails './odd three' 'ended with status 3 and no answer'
fails './odd none' 'ended with status 0 and no answer'
fails './none' 'status 127 and no answer: there is no such command'
touch unrunnable
fails './unrunnable' 'status 126 and no answer: it may not be run; chmod'
fails './odd rounded' "the worker's JSON rounds ids beyond 2.53: let it send the id as the string it got, or the key"
fails './odd javascript' "the worker's JSON rounds ids beyond 2.53"
fails './odd unknown' 'no "id" that was asked for'
fails './odd key-in-id' 'has the key in "id"'
fails './odd rev' 'revision 99999, where [0-9]+ was asked for'
fails './odd nobody' 'the worker says, of no item: cannot reach the model'
fails './odd dim' 'vectors have 3 numbers, tag m@1 has dim 2.*another model|another model.*3 numbers'
fails './odd object' ': quota of today; run'
fails './odd code' ': \{"code":429,"why":\["a"\]\}; run'
fails './odd number' ': 429; run'
fails './odd novector' 'no vector in its answer'
fails './odd nan' 'null in place of a number'

# An error of one item keeps its text.
fresh 20
fill 0 'sed -u "s/.*\"id\":\"\([0-9]*\)\".*\"rev\":\([0-9]*\).*text 7\"}/{\"id\":\"\1\",\"rev\":\2,\"error\":{\"message\":\"quota\",\"code\":1}}/; t; s/.*\"id\":\"\([0-9]*\)\".*\"rev\":\([0-9]*\).*/{\"id\":\"\1\",\"rev\":\2,\"vector\":[1,2]}/"'
filled 19
works 'quarantine' "$vtag" quarantine ls db --tag m@1
says 'backfill: quota$'

# One that asks for another try of everything, for ever, is paused as at a rate limit.
fresh 5
"$vtag" backfill db --tag m@1 --exec './odd for-ever' --backoff 1s --tries 2 >out 2>err &
children=$!
tries=0
while ! grep -q 'paused: rate limit of the embedder' err && [ $tries -lt 200 ]; do sleep 0.1; tries=$((tries + 1)); done
warns 'paused: rate limit of the embedder'
kill -TERM $children
wait $children
equal 'and can be stopped' $? 1
children=

# What is in hand and what is answered is bounded in bytes, and a large item comes alone.
rm -f db
awk 'BEGIN { s = "x"; while (length(s) < 1048576) s = s s
             for (i = 1; i <= 60; i++) printf "{\"key\":\"big-%d\",\"data\":\"%s\"}\n", i, i == 30 ? s s s s s s s s s s : s }' |
    "$vtag" import db --format jsonl - >/dev/null && "$vtag" declare db --tag m@1 --dim 2 >/dev/null
cat >count.c <<'SRC'
/* Reads without answering until no more comes, tells how much that was, and answers. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    static char all[40 << 20];
    size_t n = 0, most = 0;
    FILE *log = fopen("most", "a");
    for (;;) {
        struct pollfd p = {0, POLLIN, 0};
        char *at = all, *end;
        while (poll(&p, 1, 150) > 0) {
            ssize_t got = read(0, all + n, sizeof all - n);
            if (got <= 0) return 0;
            n += (size_t)got;
        }
        if (!n) continue;
        if (n > most) fprintf(log, "%zu\n", most = n), fflush(log);
        while ((end = memchr(at, '\n', n - (size_t)(at - all)))) {
            char *id = strstr(at, "\"id\":\"") + 6;
            printf("{\"id\":\"%.*s\",\"vector\":[1,2]}\n", (int)strcspn(id, "\""), id);
            at = end + 1;
        }
        fflush(stdout);
        memmove(all, at, n -= (size_t)(at - all));
    }
}
SRC
$CC -O1 -D_GNU_SOURCE -w -o count count.c
run 0 "$vtag" backfill db --tag m@1 --exec ./count --json
says '"filled":60,'
equal 'at most 8 MiB are in hand, or one item' "$(sort -n most | awk '$1 > 8500000 && ($1 < 10485760 || $1 > 10500000)' | wc -l | tr -d ' ')" 0
equal 'and several items are' "$(sort -n most | awk '$1 > 3000000' | head -n 1 | wc -l | tr -d ' ')" 1

# ---- search, eval, plan, doctor: the same set -----------------------------------------------------

rm -f db
printf '{"id":1,"vector":[1,0],"data":"a"}\n{"id":2,"vector":[0,1],"data":"b"}\n' >two.jsonl
"$vtag" import db two.jsonl --tag m@1 >/dev/null
i=0
while [ $i -lt 40 ]; do echo "{\"id\":\"q$i\",\"text\":\"query $i\"}"; i=$((i + 1)); done >q.jsonl
sed 's/.*"id":"\([^"]*\)".*/\1 0 1 1/' q.jsonl >qrels
for w in null empty false again text alias exact twice crlf mark child good once; do
    rm -f been
    run 0 "$vtag" search db --tag m@1 --text hello --exec "./odd $w" --timeout 5s --json
    says '"hits":\[\{"id":'
    run 0 "$vtag" eval run db --tag m@1 --queries q.jsonl --qrels qrels --exec "./odd $w" --timeout 5s --dry-run
    equal "$w: says nothing" "$(cat err)" ''
done
for w in 'good 1' 'good 7' half-line 'child 7' log; do
    run 0 "$vtag" eval run db --tag m@1 --queries q.jsonl --qrels qrels --exec "./odd $w" --timeout 5s --dry-run
done
warns "no JSON object: 'loaded 7 layers'; ignored"
asks() { # asks WORKER PATTERN [OPTIONS...]: search and eval fail, because of that
    w=$1 pattern=$2
    shift 2
    [ $# -gt 0 ] || set -- --timeout 300ms
    run 1 "$vtag" search db --tag m@1 --text hello --exec "$w" "$@"
    warns "--exec: .*($pattern)"
    run 1 "$vtag" eval run db --tag m@1 --queries q.jsonl --qrels qrels --exec "$w" --dry-run "$@"
    warns "--exec: .*($pattern)"
}
asks './odd hang' 'gave no answer for 300 ms'
asks './odd chat' 'gave no answer for 300 ms'
asks 'exec ./odd close' 'closed its output'
asks './odd deaf' 'gave no answer for 300 ms'
asks './odd endless' 'line of more than 64' --timeout 20s
asks './odd killed' 'killed by signal 9'
asks './odd three' 'status 3 and no answer'
asks './odd trace' "no JSON object: 'Traceback: no such model'; ignored"
warns 'status 1 and no answer'
asks './odd none' 'status 0 and no answer'
asks './odd limit' 'asks to wait, for longer than --timeout'
asks './odd for-ever' 'asks to wait, for longer than --timeout'
asks './none' 'there is no such command'
asks './odd object' 'text 1 of (1|40): the worker says: quota of today'
asks './odd novector' 'no vector in its answer'
asks './odd quoted' 'text as "id" where a number was asked for'
asks './odd nobody' 'the worker says.*: cannot reach the model'
run 1 "$vtag" search db --tag m@1 --text hello --exec './odd dim'
warns 'has 3 numbers, tag .m@1. has dim 2'
run 1 "$vtag" eval run db --tag m@1 --queries q.jsonl --qrels qrels --exec './odd unknown' --timeout 5s --dry-run
warns 'text|not asked'
"$vtag" declare db --tag m@2 --dim 2 >/dev/null
run 0 "$vtag" plan db --tag m@2 --exec './odd good'
says 'items/s, from a sample'
run 0 "$vtag" plan db --tag m@2 --exec './odd log'
for w in 'chat:gave no answer for 300 ms' 'object:quota of today' 'dim:another model'; do
    run 1 "$vtag" plan db --tag m@2 --exec "./odd ${w%%:*}" --timeout 300ms
    warns "${w#*:}"
done
run 0 "$vtag" doctor db --add-probe hello --tag m@1 --exec './odd good'
run 0 "$vtag" doctor db --exec-active './odd good'
run 3 "$vtag" doctor db --exec-active './odd chat' --timeout 300ms
warns 'gave no answer for 300 ms'
run 3 "$vtag" shadow db --tag m@1 --base m@2 --queries q.jsonl --exec './odd good' --exec-base './odd null' --dry-run
warns 'alarm: overlap@10 is 0.000' # m@2 is empty
run 1 "$vtag" shadow db --tag m@1 --base m@2 --queries q.jsonl --exec './odd good' --exec-base './odd chat' \
    --timeout 300ms --dry-run
warns 'gave no answer for 300 ms'

# ---- Standard descriptors that are closed --------------------------------------------------------

fresh 20
for closed in '<&-' '>&-' '2>&-' '<&- >&-' '<&- >&- 2>&-'; do
    sh -c "exec timeout 60 '$vtag' backfill db --tag m@1 --exec './odd good' --quiet $closed" >out 2>err
    equal "$closed: all are fresh" "$(state fresh)" 20
    "$vtag" verify db --quiet >out 2>err || fail "$closed: the file is good"
    sh -c "exec timeout 60 '$vtag' search db --tag m@1 --text x --exec './odd good' --json $closed" >out 2>err
    got=$?
    case $closed in
        *'>&-'*) if [ "$closed" != '2>&-' ]; then equal "$closed: nobody hears" $got 1; else equal "$closed" $got 0; fi ;;
        *) equal "$closed" $got 0; says '"hits":\[\{' ;;
    esac
    fresh 20
done
ends 1 'Bad file descriptor' sh -c "exec '$vtag' fill db --tag m@1 - <&-"

# ---- fill reads the same answers -----------------------------------------------------------------

fresh 10
"$vtag" pending db --tag m@1 >asked
for w in null alias key mark crlf log; do
    fresh 10
    "$vtag" pending db --tag m@1 | ./odd $w | sed 's/"embedding"/"rev":0,&/; s/"key":"[^"]*",/&"rev":0,/' >answers
    case $w in # fill wants the revision
        alias|key) awk -F'"rev":' 'NR == FNR { split($2, r, ","); rev[FNR] = r[1]; next }
                                   { sub(/"rev":0/, "\"rev\":" rev[FNR]); print }' asked answers >a && mv a answers ;;
    esac
    case $w in mark) continue ;; esac # whoever reads lines there knows it
    run 0 "$vtag" fill db --tag m@1 answers --json
    says '"filled":10,'
    equal "$w: all are fresh" "$(state fresh)" 10
done
warns "answers: line 1: a line that is no JSON object: 'loaded 7 layers'; ignored"
fresh 10
./odd object <asked >answers
run 1 "$vtag" fill db --tag m@1 answers
warns 'line 1: item doc-[0-9]+|line 1: item [0-9]+: quota of today; left pending'
warns 'answers: 10 lines, and nothing is filled: all have an error'
run 0 "$vtag" fill db --tag m@1 answers --waive-errors
for w in 'rounded:rounds ids beyond 2.53: let it send the id as the string it got' 'unknown:no such items'; do
    fresh 10
    ./odd "${w%%:*}" <asked >answers
    run 1 "$vtag" fill db --tag m@1 answers
    warns "answers: 10 lines, and nothing is filled: .*${w#*:}"
    warns 'line 1: no item [0-9]+'
done
: >answers
run 0 "$vtag" fill db --tag m@1 answers
echo loading >answers
run 1 "$vtag" fill db --tag m@1 answers
warns 'no line is an answer'

# ---- Embedders by configuration ------------------------------------------------------------------

mine=$dir/config/vtag/embedders
mkdir -p "$dir/config/vtag"
fresh 20
run 2 "$vtag" backfill db --tag m@1
warns '--exec COMMAND is missing, and no line of your vtag/embedders is for .m@1.'
printf '\357\273\277# my models\r\n\n other@* = ./none\n m@1/*= ./none\nm@* = ./odd good # 7 = 7\nm@1 = ./none\n' >"$mine"
run 0 "$vtag" backfill db --tag m@1
run 0 "$vtag" search db --tag m@1 --text hello
says 'text'
rm -f db
"$vtag" import db two.jsonl --tag m@1 >/dev/null
"$vtag" declare db --tag m@2 --dim 2 >/dev/null
run 0 "$vtag" eval run db --tag m@1 --queries q.jsonl --qrels qrels --dry-run
run 3 "$vtag" shadow db --tag m@1 --base m@2 --queries q.jsonl --dry-run
warns 'alarm: overlap'
run 0 "$vtag" plan db --tag m@2
says 'from a sample'
run 0 "$vtag" doctor db --add-probe hello --tag m@1
run 0 "$vtag" doctor db
equal 'the probes were checked' "$(cat err)" ''
run 1 "$vtag" search db --tag m@1 --text hello --exec ./none # it wins
warns 'no such command'
printf 'm@? = x\n' >bad
run 1 "$vtag" search db --tag m@1 --text hello --embedders bad
warns '^vtag: bad: line 1: the pattern'
for line in 'm@1' '= x' 'm@1 =' 'M@1 = x'; do
    printf '# one\nm@1 = ./odd good\n%s\n' "$line" >bad
    run 1 "$vtag" search db --tag m@1 --text hello --embedders bad
    warns '^vtag: bad: line 3: '
done
printf 'x@* = ./odd good\n' >other
run 2 "$vtag" search db --tag m@1 --text hello --embedders other
warns 'no line of other is for'
run 1 "$vtag" search db --tag m@1 --text hello --embedders absent
warns 'absent: No such file'
for mode in 620 602 666; do
    chmod $mode "$mine"
    run 1 "$vtag" search db --tag m@1 --text hello
    warns 'embedders: others may write it, and it says what is run; chmod go-w'
done
chmod 600 "$mine"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chown 65534 "$mine"
    run 1 "$vtag" search db --tag m@1 --text hello
    warns 'belongs to another user'
    chown 0 "$mine"
else
    echo 'skipped: a file of another user, which takes root'
fi
rm "$mine"
mkdir -p "$dir/home/.config/vtag"
echo 'm@1 = ./odd good' >"$dir/home/.config/vtag/embedders"
run 0 env -u XDG_CONFIG_HOME HOME="$dir/home" "$vtag" search db --tag m@1 --text hello
run 2 env XDG_CONFIG_HOME=config HOME="$dir" "$vtag" search db --tag m@1 --text hello

# A store is data from elsewhere: nothing in it is run.
for name in embedder:m@1 exec:m@1 worker:m@1 embedders backfill:m@1 exec; do
    "$vtag" meta db $name 'touch ran' >/dev/null
    "$vtag" meta db $name '{"exec":"touch ran","command":"touch ran"}' >/dev/null
done
for c in 'doctor db' 'status db' 'report db -o page.html' 'search db --tag m@1 --text x' 'plan db --tag m@2' \
        'backfill db --tag m@2' 'shadow db --tag m@1 --base m@2' \
        'eval run db --tag m@1 --queries q.jsonl --qrels qrels'; do
    # shellcheck disable=SC2086
    timeout 60 "$vtag" $c >out 2>err </dev/null
done
if [ -e ran ]; then fail 'a command of the store was run'; else pass; fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
