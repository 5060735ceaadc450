/* run.h - what the driver of the bench is made of: its report, samples, ratios, and the worker
   processes that it asks, one at a time. peer.h has the other end of the pipe. */
#ifndef RUN_H
#define RUN_H
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include "peer.h"

enum { K = 10, WARM = 2, PATHS = 512, IDENTICAL_PART = 4 };

static struct {
    const char *out, *core;
    int full;
    uint64_t start;
    FILE *report;
    size_t asked, identical; /* answers compared with the rule, of real sets */
    size_t skipped;
} g;

/* ---- Talking ----------------------------------------------------------------------- */

static void say(const char *format, ...) {
    va_list a, b;
    va_start(a, format);
    va_copy(b, a);
    vprintf(format, a);
    vfprintf(g.report, format, b);
    va_end(b);
    va_end(a);
    fflush(stdout);
}

/* Adds a line to what bench.sh says last; in CI it fails the run. */
static void missing(const char *name, const char *why) {
    char path[PATHS];
    FILE *f;
    g.skipped++;
    snprintf(path, sizeof path, "%s/skipped", g.out);
    if (!(f = fopen(path, "a"))) return;
    fprintf(f, "skipped: %s: %s\n", name, why);
    fclose(f);
}

/* Names what is left out. */
static void skip(const char *name, const char *why) {
    say("\nskipped: %s: %s\n", name, why);
    missing(name, why);
}

/* A line of progress: not part of the report. */
static void step(const char *format, ...) {
    va_list a;
    printf("[%6.1f s] ", (double)(peer_now() - g.start) / 1e9);
    va_start(a, format);
    vprintf(format, a);
    va_end(a);
    printf("\n");
    fflush(stdout);
}

/* On a terminal: how far the rounds are, and what is left of them. */
static void round_note(const char *what, size_t i, size_t n, uint64_t start) {
    double s = (double)(peer_now() - start) / 1e9;
    if (!isatty(1)) return;
    if (i == n) printf("\r%60s\r", "");
    else
        printf("\r%s: round %lu of %lu, %.1f a second, %.0f s left  ", what, (unsigned long)i + 1,
               (unsigned long)n, i ? (double)i / s : 0.0,
               i ? s / (double)i * (double)(n - i) : 0.0);
    fflush(stdout);
}

/* The first line that a command prints. */
static const char *line_of(const char *command) {
    static char line[4][256];
    static int at;
    char *to = line[at++ % 4];
    FILE *f = popen(command, "r");
    to[0] = '\0';
    if (f && fgets(to, 256, f)) to[strcspn(to, "\n")] = '\0';
    if (f) pclose(f);
    return to;
}

/* ---- Samples ----------------------------------------------------------------------- */

typedef struct series { /* of nanoseconds */
    double *v;
    size_t n, cap;
} series;

static void series_add(series *s, double v) {
    if (s->n == s->cap) {
        s->cap = s->cap * 2 + 64;
        s->v = realloc(s->v, s->cap * sizeof *s->v);
        if (!s->v) exit(1);
    }
    s->v[s->n++] = v;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value that a share of the samples does not exceed; 0 if there are none. */
static double quantile(series *s, double share) {
    size_t at = (size_t)ceil(share * (double)s->n);
    if (!s->n) return 0;
    qsort(s->v, s->n, sizeof *s->v, by_value);
    return s->v[at ? at - 1 : 0];
}

static double median(series *s) { return quantile(s, 0.5); }

static void series_free(series *s) {
    free(s->v);
    memset(s, 0, sizeof *s);
}

/* ---- Ratios ------------------------------------------------------------------------ */

typedef struct ratio {
    char name[64], what[160];
    double value, target;
    int least; /* the target is a lower bound; 0: an upper one, -1: none */
} ratio;

static ratio ratios[96];
static size_t ratio_n;

static void ratio_add(const char *name, double value, int least, double target, const char *what) {
    ratio *r = &ratios[ratio_n];
    if (ratio_n == sizeof ratios / sizeof *ratios) return;
    if (!(value > 0) || !(value < 1e12)) value = 0; /* a part of it is not here */
    if (value <= 0) missing(name, "a part of this ratio was not measured");
    ratio_n++;
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->what, sizeof r->what, "%s", what);
    r->value = value;
    r->least = least;
    r->target = target;
}

static double over(double a, double b) { return a > 0 && b > 0 ? a / b : 0; }

/* ---- Contenders -------------------------------------------------------------------- */

enum {
    VTAG,
    VTAG_2,
    VTAG_AVX2,
    VTAG_SCALAR,
    VTAG_BARE,
    VTAG_TAGS,
    LIMIT,
    PLAIN,
    HNSWLIB,
    USEARCH,
    FAISS,
    FAISS_DEFAULT,
    SGEMM,
    SQLITE_VEC,
    LANCEDB,
    RULE,
    WRITE,
    CONTENDERS
};
enum {
    IN_SMALL = 1,
    IN_100K = 2,
    IN_1M = 4,
    IN_WIDE = 8,
    BATCH = 16,
    CHECK = 32,
    RARE = 64,
    COPIES = 128
};
#define IN_ALL (IN_SMALL | IN_100K | IN_1M | IN_WIDE)

typedef struct contender {
    const char *name, *program, *arguments; /* a program is OUT/peer_* or node's */
    int flags;         /* IN_: which sets; BATCH: 64 at once too; CHECK: against the rule;
                                RARE: in every 4th round at 100k; COPIES: the rows, into its memory */
    const char *store; /* suffix of the store that it loads */
    int store_of;      /* whose store that is; itself: it ingests */
} contender;

static const contender contenders[CONTENDERS] = {
    {"vtag", "peer_vtag", "", IN_ALL | BATCH | CHECK, "vtag", VTAG},
    {"vtag, 2 threads", "peer_vtag", "threads=2", IN_ALL | BATCH | CHECK, "vtag", VTAG},
    {"vtag, AVX2 forced", "peer_vtag", "isa=avx2", IN_ALL | BATCH | CHECK, "vtag", VTAG},
    {"vtag, scalar forced", "peer_vtag", "isa=scalar", IN_SMALL | IN_100K | CHECK | RARE, "vtag",
     VTAG},
    {"vtag, no sketch", "peer_vtag", "sketch=0", IN_100K | BATCH | CHECK, "bare.vtag", VTAG_BARE},
    {"vtag, 1 of 3 tags", "peer_vtag", "tags=3", IN_100K | CHECK, "tags.vtag", VTAG_TAGS},
    {"read limit", "peer_plain", "", IN_ALL, "-", PLAIN}, /* of the plain worker, with k = 0 */
    {"plain C loop", "peer_plain", "", IN_ALL | COPIES, "-", PLAIN},
    {"hnswlib brute force", "peer_hnswlib", "", IN_ALL | COPIES, "-", HNSWLIB},
    {"usearch exact", "peer_usearch", "", IN_ALL | BATCH | COPIES, "-", USEARCH},
    {"FAISS (SSE build)", "peer_faiss", "tuned", IN_ALL | BATCH | COPIES | RARE, "-", FAISS},
    {"FAISS (SSE), BLAS untuned", "peer_faiss", "", BATCH | IN_100K, "-", FAISS_DEFAULT},
    {"sgemm + top-k", "peer_sgemm", "tuned", BATCH | IN_100K, "-", SGEMM},
    {"sqlite-vec", "peer_sqlite_vec", "npm/node_modules/sqlite-vec-linux-x64/vec0.so",
     IN_100K | RARE, "sqlite", SQLITE_VEC},
    {"LanceDB", "node", "npm/node_modules", IN_100K | RARE, "lance", LANCEDB},
    {"the rule", "peer_plain", "rule", 0, "-", RULE},
    {"write + sync", "peer_plain", "", 0, "raw", WRITE}};

typedef struct worker {
    pid_t pid; /* 0: not running */
    FILE *in, *out;
    char answer[1 << 16];
    char text[256]; /* of `say` */
    series one, many, ingest;
    double anonymous, total, bytes;
    size_t same, compared; /* answers equal to the rule's, or ids in common */
} worker;

static worker workers[CONTENDERS];

static int one_only(int c) { return c == LIMIT; }

static void command_of(int c, char *command, size_t n) {
    const contender *p = &contenders[c];
    const char *tuned = !strcmp(p->arguments, "tuned") ? g.core : "";
    if (c == LANCEDB)
        snprintf(command, n, "exec node bench/peer_lancedb.js %s/%s", g.out, p->arguments);
    else if (c == SQLITE_VEC)
        snprintf(command, n, "exec %s/%s %s/%s", g.out, p->program, g.out, p->arguments);
    else
        snprintf(command, n, "%s OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 exec %s/%s %s", tuned,
                 g.out, p->program, p->arguments);
}

static int worker_here(int c) {
    char path[PATHS];
    snprintf(path, sizeof path, "%s/%s", g.out, contenders[c].program);
    if (c == LANCEDB) snprintf(path, sizeof path, "%s/npm/node_modules/@lancedb/lancedb", g.out);
    if (c == SQLITE_VEC && !access(path, X_OK))
        snprintf(path, sizeof path, "%s/%s", g.out, contenders[c].arguments);
    return !access(path, F_OK);
}

static int worker_start(int c) {
    worker *w = &workers[c];
    char command[2048];
    int to[2], from[2];
    if (w->pid) return 1;
    if (!worker_here(c) || pipe(to) || pipe(from)) return 0; /* install.sh has named it */
    command_of(c, command, sizeof command);
    fflush(NULL);
    w->pid = fork();
    if (!w->pid) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[0]), close(to[1]), close(from[0]), close(from[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    fcntl(to[1], F_SETFD, FD_CLOEXEC); /* or another worker keeps this one's input open */
    fcntl(from[0], F_SETFD, FD_CLOEXEC);
    w->in = fdopen(to[1], "w");
    w->out = fdopen(from[0], "r");
    return w->pid > 0;
}

static void worker_end(int c) {
    worker *w = &workers[c];
    if (!w->pid) return;
    fclose(w->in); /* the end of its input ends it */
    fclose(w->out);
    waitpid(w->pid, NULL, 0);
    w->pid = 0;
}

/* Sends a command and reads its answer; 0, and the worker ended, if that is a "no". */
static int ask(int c, const char *format, ...) {
    worker *w = &workers[c];
    va_list a;
    if (!w->pid) return 0;
    va_start(a, format);
    vfprintf(w->in, format, a);
    va_end(a);
    fputc('\n', w->in);
    fflush(w->in);
    if (!fgets(w->answer, sizeof w->answer, w->out))
        snprintf(w->answer, sizeof w->answer, "no answer\n");
    if (strncmp(w->answer, "no", 2)) return 1;
    w->answer[strcspn(w->answer, "\n")] = '\0';
    skip(contenders[c].name, w->answer);
    worker_end(c);
    return 0;
}

static void worker_reset(int c) {
    worker *w = &workers[c];
    worker_end(c);
    series_free(&w->one);
    series_free(&w->many);
    series_free(&w->ingest);
    w->anonymous = w->total = w->bytes = 0;
    w->same = w->compared = 0;
}

#endif
