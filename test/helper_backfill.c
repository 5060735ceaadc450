/* What test_backfill.sh is made of: a worker that can be told to misbehave, an
   application that writes all through a backfill, one that kills it at random moments,
   and the check that every item has exactly its vectors.

     worker WHAT          good, crash, hang, reorder, repeat, half, few, skip, nan, zero,
                          later, exit75, parts, dim, noise, end, slow
     app FILE LIST SECONDS  until FILE.stop is there or the time is over; LIST gets the
                          expected content, "id version" a line
     kills N COMMAND...   starts it and kills it with -9, N times
     check FILE TAG LIST [parts]

   The vector of a text follows from the text alone. */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 3000, DIM1 = 4, DIM2 = 6 };

static uint64_t seed = 12345;

static uint64_t next_random(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
}

static void nap(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void vector_of(const char *text, size_t n, float *x, int dim)
{
    uint32_t h = 2166136261u;
    size_t i;
    int j;
    for (i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 16777619u;
    for (j = 0; j < dim; j++, h = h * 1664525u + 1013904223u) {
        x[j] = (float)((int)(h >> 20) - 2048) / 64 + 0.125f;
    }
}

/* ---- The worker ---------------------------------------------------------------- */

typedef struct ask { char id[24], rev[24], data[512]; } ask;

static void field(const char *line, const char *name, char *to, size_t cap)
{
    const char *p = strstr(line, name);
    size_t n;
    to[0] = '\0';
    if (!p) return;
    p += strlen(name);
    n = strcspn(p, ",\"}");
    snprintf(to, cap, "%.*s", (int)n, p);
}

static void put_vector(const char *text, size_t n)
{
    float x[DIM2];
    int j;
    vector_of(text, n, x, DIM2);
    printf("\"vector\":[");
    for (j = 0; j < DIM2; j++) printf("%s%.9g", j ? "," : "", (double)x[j]);
    printf("]");
}

static void answer(const ask *a, const char *what)
{
    size_t n = strlen(a->data), at, parts = 0;
    printf("{\"id\":%s,\"rev\":%s,", a->id, a->rev);
    if (!strcmp(what, "parts")) { /* a part for each ten bytes */
        printf("\"vectors\":[");
        for (at = 0; at < n; at += 10) {
            printf("%s{", parts++ ? "," : "");
            put_vector(a->data + at, n - at < 10 ? n - at : 10);
            printf(",\"off\":%d,\"len\":%d}", (int)at, (int)(n - at < 10 ? n - at : 10));
        }
        printf("]}\n");
    } else if (!strcmp(what, "dim")) {
        printf("\"vector\":[1,2,3]}\n");
    } else {
        put_vector(a->data, n);
        printf("}\n");
    }
    fflush(stdout);
}

/* Misbehaves at item a, the nth; 1: it is done with that one. */
static int odd(const ask *a, const char *what, unsigned n)
{
    int poison = strstr(a->data, "poison") != NULL;
    if (!strcmp(what, "crash") && poison) abort();
    if (!strcmp(what, "hang") && poison) nap(60000);
    if (!strcmp(what, "exit75") && n % 40 == 39) exit(75);
    if (!strcmp(what, "broken")) exit(3);
    if (!strcmp(what, "half") && n % 2) return 1;
    if (!strcmp(what, "few") && n == 5) exit(0);
    if (!strcmp(what, "skip") && poison) return 1;
    if (!strcmp(what, "slow")) nap(1);
    if (!strcmp(what, "noise") && n % 10 == 0) printf("loading weights...\n[1,2]\n{\"x\":1}\n");
    if (!strcmp(what, "repeat")) answer(a, "good");
    if (!strcmp(what, "later") && n == 20) {
        printf("{\"id\":%s,\"rev\":%s,\"retry_after\":0.3}\n", a->id, a->rev);
    } else if (!strcmp(what, "error") && poison) {
        printf("{\"id\":%s,\"rev\":%s,\"error\":\"too long\"}\n", a->id, a->rev);
    } else if (!strcmp(what, "nan") && poison) {
        printf("{\"id\":%s,\"rev\":%s,\"vector\":[NaN,0,0,0,0,0]}\n", a->id, a->rev);
    } else if (!strcmp(what, "zero") && poison) {
        printf("{\"id\":%s,\"rev\":%s,\"vector\":[0,0,0,0,0,0]}\n", a->id, a->rev);
    } else {
        return 0;
    }
    fflush(stdout);
    return 1;
}

static int worker(const char *what)
{
    static ask held[100000];
    char line[4096];
    unsigned n = 0, kept = 0;
    int all = !strcmp(what, "end"), few = !strcmp(what, "reorder");
    while (fgets(line, sizeof line, stdin)) {
        ask *a = &held[kept];
        field(line, "\"id\":", a->id, sizeof a->id);
        field(line, "\"rev\":", a->rev, sizeof a->rev);
        field(line, "\"data\":\"", a->data, sizeof a->data);
        if (odd(a, what, n++)) continue;
        if (!all && !few) answer(a, what);
        else if (++kept == 8 && few) while (kept) answer(&held[--kept], what);
    }
    while (kept) answer(&held[--kept], what);
    return 0;
}

/* ---- The application -------------------------------------------------------------- */

static unsigned versions[ITEMS]; /* 0: deleted */

static size_t text_of(unsigned id, unsigned version, char *to, size_t cap)
{
    return (size_t)snprintf(to, cap, "item %u in its version %u%.*s", id, version,
                            (int)(version * 7 + id) % 40, "........................................");
}

static void die(const char *what, vtag_err err)
{
    fprintf(stderr, "helper: %s: %s\n", what, vtag_strerror(err));
    exit(1);
}

static void put(vtag_batch *b, vtag_tag one, vtag_tag two, unsigned id, int both)
{
    char text[128];
    float x[2][8];
    vtag_vec v[2];
    vtag_item item;
    vtag_err err;
    size_t n = text_of(id, ++versions[id], text, sizeof text);
    memset(&item, 0, sizeof item);
    memset(v, 0, sizeof v);
    vector_of(text, n, x[0], DIM1);
    vector_of(text, n, x[1], DIM2);
    v[0].tag = one, v[0].dim = DIM1, v[0].x = x[0];
    v[1].tag = two, v[1].dim = DIM2, v[1].x = x[1];
    item.id = id;
    item.data = text;
    item.size = n;
    err = vtag_put(b, &item, v, both ? 2 : 1);
    if (err) die("put", err);
}

static void act(vtag_db *db, vtag_tag one, vtag_tag two)
{
    static unsigned newest[ITEMS];
    vtag_begin_opts wait = {30000, 0, 0};
    vtag_batch *b;
    vtag_err err = vtag_begin(db, &wait, &b);
    unsigned i, n = 1 + (unsigned)next_random(8);
    if (err) die("begin", err);
    for (i = 0; i < n; i++) {
        unsigned id = (unsigned)next_random(ITEMS);
        if (versions[id] && next_random(5) == 0) {
            err = vtag_del(b, id);
            if (err) die("del", err);
            newest[id] = versions[id];
            versions[id] = 0;
        } else {
            if (!versions[id]) versions[id] = newest[id];
            put(b, one, two, id, next_random(4) == 0);
        }
    }
    err = vtag_commit(b);
    if (err) die("commit", err);
}

static int app(const char *path, const char *expected, int seconds)
{
    char stop[4096];
    vtag_spec spec = {0};
    vtag_tag one, two;
    vtag_batch *b;
    vtag_db *db;
    FILE *f;
    time_t end = time(NULL) + seconds;
    unsigned id;
    vtag_err err = vtag_open(path, NULL, &db);
    if (!err) err = vtag_begin(db, NULL, &b);
    if (err) die(path, err);
    spec.name = "old@1", spec.dim = DIM1;
    err = vtag_declare(b, &spec, &one);
    spec.name = "new@2", spec.dim = DIM2;
    if (!err) err = vtag_declare(b, &spec, &two);
    if (err) die("declare", err);
    for (id = 0; id < ITEMS; id++) put(b, one, two, id, 0);
    err = vtag_commit(b);
    if (err) die("commit", err);
    snprintf(stop, sizeof stop, "%s.ready", path);
    fclose(fopen(stop, "w"));
    snprintf(stop, sizeof stop, "%s.stop", path);
    while (seconds && time(NULL) < end && access(stop, F_OK)) {
        act(db, one, two);
        nap(2);
    }
    vtag_close(db);
    f = fopen(expected, "w");
    for (id = 0; id < ITEMS; id++) if (versions[id]) fprintf(f, "%u %u\n", id, versions[id]);
    return fclose(f) != 0;
}

/* ---- The killer --------------------------------------------------------------------- */

static int kills(unsigned n, char **argv)
{
    unsigned i, early = 0;
    for (i = 0; i < n; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            if (!freopen("/dev/null", "w", stdout)) _exit(126);
            execv(argv[0], argv);
            _exit(127);
        }
        nap(2 + (long)next_random(60));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        if (WIFSIGNALED(status)) continue;
        if (WEXITSTATUS(status)) return 1;
        if (++early > 4 * n) return 1;
        i--; /* it had nothing left to do */
        nap(3);
    }
    printf("count backfill-kills %u\n", n);
    return 0;
}

/* ---- The check ------------------------------------------------------------------------- */

static unsigned bad;

static void complain(unsigned long id, const char *what)
{
    if (bad++ < 10) fprintf(stderr, "helper: item %lu: %s\n", id, what);
}

static void check_item(vtag_snap *s, vtag_tag tag, unsigned id, unsigned version, int parts)
{
    char text[128];
    float x[DIM2], want[DIM2];
    vtag_item item;
    vtag_row row;
    size_t n = text_of(id, version, text, sizeof text), at;
    uint32_t part = 0, count = parts ? (uint32_t)((n + 9) / 10) : 1;
    if (vtag_get(s, id, &item)) { complain(id, "is lost"); return; }
    if (item.size != n || memcmp(item.data, text, n)) complain(id, "has another text");
    for (at = 0; part < count; part++, at += 10) {
        size_t len = parts ? n - at < 10 ? n - at : 10 : n;
        if (vtag_vector(s, id, tag, part, x, DIM2, &row)) { complain(id, "has no vector"); return; }
        vector_of(text + (parts ? at : 0), len, want, DIM2);
        if (memcmp(x, want, sizeof x)) complain(id, "has a wrong vector");
        if (row.rev != item.rev) complain(id, "is stale");
        if (row.parts != count) complain(id, "has another number of parts");
        if (parts && (row.off != at || row.len != len)) complain(id, "has a wrong span");
    }
}

static int check(const char *path, const char *name, const char *expected, int parts)
{
    vtag_open_opts opts = {0};
    vtag_db *db;
    vtag_snap *s;
    vtag_info info;
    vtag_stat stat;
    vtag_tag tag;
    vtag_err err;
    unsigned id, version, n = 0;
    uint64_t rows = 0;
    FILE *f = fopen(expected, "r");
    opts.access = VTAG_READ;
    err = vtag_open(path, &opts, &db);
    if (!err) err = vtag_snapshot(db, &s);
    if (!err) err = vtag_find(s, name, &tag);
    if (!err) err = vtag_tag_info(s, tag, &info);
    if (!err) err = vtag_stats(s, &stat);
    if (err || !f) die(path, err);
    while (fscanf(f, "%u %u", &id, &version) == 2) {
        char text[128];
        rows += parts ? (text_of(id, version, text, sizeof text) + 9) / 10 : 1;
        check_item(s, tag, id, version, parts);
        n++;
    }
    if (stat.items != n || info.items != n) complain(n, "items are expected, not that number");
    if (info.rows != rows) complain(rows, "rows are expected, not that number");
    fclose(f);
    vtag_release(s);
    vtag_close(db);
    if (!bad) printf("%u items, each with its vectors\n", n);
    return bad > 0;
}

int main(int argc, char **argv)
{
    if (getenv("SEED")) seed = strtoull(getenv("SEED"), NULL, 10);
    if (argc == 3 && !strcmp(argv[1], "worker")) return worker(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "app")) return app(argv[2], argv[3], atoi(argv[4]));
    if (argc > 3 && !strcmp(argv[1], "kills")) return kills((unsigned)atoi(argv[2]), argv + 3);
    if (argc > 4 && !strcmp(argv[1], "check")) return check(argv[2], argv[3], argv[4], argc > 5);
    fputs("usage: see the head of helper_backfill.c\n", stderr);
    return 2;
}
