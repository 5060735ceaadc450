/* bench.c - the side-by-side with peers: starts a process a contender, lets them search and
   ingest in turn, one at a time, and compares medians.  bench quick|full OUT

   OUT holds the workers (peer_*), first, mkdata's files in OUT/data and vtag in OUT/..;
   stores are made in OUT/stores. The report goes to standard output and to OUT/report.md;
   lines "ratio NAME VALUE" end it. What is not here is named and skipped; with CI=true that
   is exit code 3, after a report of the rest. */
#define _GNU_SOURCE
#include <sys/utsname.h>
#include "run.h"

/* ---- Sets -------------------------------------------------------------------------- */

typedef struct set {
    const char *name, *file, *metric, *about;
    int kind;            /* IN_ */
    size_t rounds, each; /* of single queries; queries in a round */
    size_t batches;      /* rounds of 64 */
    size_t ingests;      /* rounds */
    size_t checked;      /* queries compared with the rule; 0: all */
    peer_matrix base, queries;
    char base_path[PATHS], query_path[PATHS];
} set;

static int set_open(set *s) {
    snprintf(s->base_path, PATHS, "%s/data/%s.npy", g.out, s->file);
    snprintf(s->query_path, PATHS, "%s/data/%s-q.npy", g.out, s->file);
    if (peer_map(s->base_path, &s->base) && peer_map(s->query_path, &s->queries)) {
        if (!s->checked || s->checked > s->queries.n) s->checked = s->queries.n;
        return 1;
    }
    skip(s->name, "its data is not here");
    return 0;
}

static double set_bytes(const set *s) { return (double)s->base.n * (double)s->base.dim * 4; }

static const char *store_path(const set *s, int c) {
    static char path[4][PATHS];
    static int at;
    char *to = path[at++ % 4];
    snprintf(to, PATHS, "%s/stores/%s.%s", g.out, s->file, contenders[c].store);
    return to;
}

static void store_remove(const set *s, int c) {
    char command[PATHS + 16];
    snprintf(command, sizeof command, "rm -rf %s", store_path(s, c));
    if (system(command)) step("cannot remove %s", store_path(s, c)); /* bench.sh tries again */
}

/* Who has the turns of round r, in order: shuffled, so that nobody always follows the same. */
static const int *turns(size_t r) {
    static int order[CONTENDERS];
    uint64_t s = r * UINT64_C(0x9E3779B97F4A7C15) + 1;
    int i;
    for (i = 0; i < CONTENDERS; i++) {
        int j;
        s = s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        j = (int)((s >> 33) % (unsigned)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

/* ---- Ingest ------------------------------------------------------------------------- */

static int ingests(const set *s, int c) {
    if (c == WRITE) return s->ingests > 0;
    return (contenders[c].flags & s->kind) && contenders[c].store_of == c &&
           contenders[c].store[0] != '-';
}

/* Of the stores' file system alone: sync() waits for every one of the machine. */
static void sync_stores(void) {
    int fd = open(g.out, O_RDONLY);
    if (fd < 0) return;
    if (syncfs(fd)) step("cannot sync %s", g.out);
    close(fd);
}

static void ingest_one(const set *s, int c) {
    worker *w = &workers[c];
    double ns;
    sync_stores(); /* what others left to write is not of this one's time */
    if (!worker_start(c)) return;
    if (ask(c, "ingest %s %s %s", s->base_path, s->metric, store_path(s, c)) &&
        sscanf(w->answer, "ns %lf %lf", &ns, &w->bytes) == 2)
        series_add(&w->ingest, ns);
    worker_end(c);
}

/* Special stores are made once, and slow ones less often. */
static int ingests_again(int c, size_t r) {
    if (c == VTAG_BARE || c == VTAG_TAGS) return 0;
    return !(contenders[c].flags & RARE) || (g.full && r % 2 == 0);
}

static void ingest_all(const set *s) {
    size_t r, times = s->ingests ? s->ingests : 1;
    int i, c;
    step("%s: ingest, %lu round%s", s->name, (unsigned long)times, times == 1 ? "" : "s");
    for (r = 0; r < times; r++) {
        for (i = 0; i < CONTENDERS; i++) {
            c = turns(r)[i];
            if (!ingests(s, c) || (r && !ingests_again(c, r))) continue;
            ingest_one(s, c);
            if (c == WRITE) store_remove(s, c);
        }
    }
    sync_stores();
}

static void ingest_table(const set *s) {
    double plain = median(&workers[WRITE].ingest), ours = median(&workers[VTAG].ingest);
    int c;
    say("\nIngest of %s until it is durable (LanceDB does not sync), medians of %lu:\n\n", s->name,
        (unsigned long)s->ingests);
    say("| %-24s | %9s | %12s | %12s |\n|%s|%s|%s|%s|\n", "", "s", "vs write", "file vs raw",
        "--------------------------", "----------:", "-------------:", "-------------:");
    for (c = 0; c < CONTENDERS; c++) {
        worker *w = &workers[c];
        if (!w->ingest.n) continue;
        say("| %-24s | %9.2f | %12.2f | %12.3f |\n", contenders[c].name, median(&w->ingest) / 1e9,
            over(median(&w->ingest), plain), w->bytes / set_bytes(s) / (c == VTAG_TAGS ? 3 : 1));
    }
    ratio_add("ingest-vs-write", over(ours, plain), 0, 3,
              "durable ingest of 100k x 768 (put, commit, seal; sketches on a second thread), over "
              "writing and syncing the same "
              "bytes");
    ratio_add("ingest-vs-lancedb", over(median(&workers[LANCEDB].ingest), ours), 1, 4,
              "LanceDB's time over vtag's");
    ratio_add("ingest-vs-sqlite-vec", over(median(&workers[SQLITE_VEC].ingest), ours), 1, 15,
              "sqlite-vec's time over vtag's");
    ratio_add("file-vs-raw", workers[VTAG].bytes / set_bytes(s), 0, 1.18,
              "file over raw f32, 100k x 768");
    ratio_add("file-vs-raw-no-sketch", workers[VTAG_BARE].bytes / set_bytes(s), 0, 1.05,
              "the same without the sketch");
}

/* ---- Rounds ------------------------------------------------------------------------- */

/* Whether a copy of the rows fits into memory beside what runs, with some to spare. */
static int memory_for(const set *s) {
    double kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f)) sscanf(line, "MemAvailable: %lf", &kib);
    if (f) fclose(f);
    return kib * 1024 > set_bytes(s) * 1.5 + 1.5e9;
}

static int takes_part(const set *s, int c) { return (contenders[c].flags & s->kind) != 0; }

static void load_one(const set *s, int c) {
    worker *w = &workers[c];
    if (contenders[c].store[0] != '-' && access(store_path(s, c), F_OK)) return;
    if ((contenders[c].flags & COPIES) && !memory_for(s)) {
        skip(contenders[c].name, "too little memory for its copy of the rows");
        return;
    }
    if (!worker_start(c)) return;
    if (!ask(c, "load %s %s %s %s", s->base_path, s->query_path, s->metric, store_path(s, c)))
        return;
    if (ask(c, "say")) {
        size_t n = strcspn(w->answer + 4, "\n");
        if (n >= sizeof w->text) n = sizeof w->text - 1;
        memcpy(w->text, w->answer + 4, n);
        w->text[n] = '\0';
    }
    ask(c, "one 0 %d %d", WARM, K); /* the first touch of a page is not a search */
}

static void load_all(const set *s) {
    int c;
    step("%s: loading", s->name);
    for (c = 0; c < CONTENDERS; c++)
        if (takes_part(s, c) && !one_only(c)) load_one(s, c);
}

/* Asks for n single queries; every time goes to a series. */
static void sample_one(int c, size_t from, size_t n, size_t k, series *to) {
    char *at, *end;
    if (!ask(c, "one %lu %lu %lu", (unsigned long)from, (unsigned long)n, (unsigned long)k)) return;
    for (at = workers[c].answer + 2;; at = end) {
        double v = strtod(at, &end);
        if (end == at) return;
        series_add(to, v);
    }
}

static size_t query_of(const set *s, size_t r) {
    return r * s->each % (s->queries.n - s->each + 1);
}

/* All contenders get the same queries in a round. */
static void rounds_one(const set *s) {
    uint64_t start = peer_now();
    size_t r;
    int i;
    step("%s: %lu rounds of %lu single quer%s", s->name, (unsigned long)s->rounds,
         (unsigned long)s->each, s->each == 1 ? "y" : "ies");
    for (r = 0; r < s->rounds; r++) {
        round_note(s->name, r, s->rounds, start);
        for (i = 0; i < CONTENDERS; i++) {
            int c = turns(r)[i];
            if (!takes_part(s, c) || (s->kind == IN_100K && (contenders[c].flags & RARE) && r % 4))
                continue;
            if (c == LIMIT) sample_one(PLAIN, 0, s->each, 0, &workers[LIMIT].one);
            else if (c != SGEMM && c != FAISS_DEFAULT)
                sample_one(c, query_of(s, r), s->each, K, &workers[c].one);
        }
    }
    round_note(s->name, r, r, start);
}

static void rounds_many(const set *s) {
    uint64_t start = peer_now();
    size_t r;
    int i;
    if (!s->batches) return;
    step("%s: %lu rounds of batches of %d", s->name, (unsigned long)s->batches, PEER_BATCH);
    for (r = 0; r <= s->batches; r++) { /* round 0 warms up */
        round_note(s->name, r, s->batches, start);
        for (i = 0; i < CONTENDERS; i++) {
            int c = turns(r)[i];
            size_t from = r * PEER_BATCH % (s->queries.n - PEER_BATCH + 1);
            double ns;
            if (!takes_part(s, c) || !(contenders[c].flags & BATCH)) continue;
            if (ask(c, "many %lu %d %d", (unsigned long)from, PEER_BATCH, K) && r &&
                sscanf(workers[c].answer, "ns %lf", &ns) == 1)
                series_add(&workers[c].many, ns);
        }
    }
    round_note(s->name, r, r, start);
}

/* ---- Answers ------------------------------------------------------------------------ */

static peer_hit *answers_of(int c, const char *how, size_t n) {
    char path[PATHS];
    peer_hit *hits = malloc(n * K * sizeof *hits);
    FILE *f;
    snprintf(path, sizeof path, "%s/answers", g.out);
    if (!hits || !ask(c, "%s 0 %lu %d %s", how, (unsigned long)n, K, path) ||
        !(f = fopen(path, "rb"))) {
        free(hits);
        return NULL;
    }
    if (fread(hits, sizeof *hits, n * K, f) != n * K) {
        free(hits);
        hits = NULL;
    }
    fclose(f);
    remove(path);
    return hits;
}

/* Queries whose ids, order and bits of distance are the rule's. */
static size_t identical(const peer_hit *a, const peer_hit *b, size_t n) {
    size_t i, same = 0;
    for (i = 0; i < n; i++) same += !memcmp(a + i * K, b + i * K, K * sizeof *a);
    return same;
}

static size_t common(const peer_hit *a, const peer_hit *b, size_t n) {
    size_t i, j, k, same = 0;
    for (i = 0; i < n; i++)
        for (j = 0; j < K; j++)
            for (k = 0; k < K; k++) same += a[i * K + j].id == b[i * K + k].id;
    return same;
}

static void check_exact(int c, const char *how, const peer_hit *truth, size_t n) {
    peer_hit *got = answers_of(c, how, n);
    worker *w = &workers[c];
    w->compared += n;
    if (got) w->same += identical(got, truth, n);
    free(got);
}

static void check_filters(const set *s) {
    static const char *const modes[] = {"only", "keep"};
    static const unsigned ppm[] = {500000, 100000, 10000};
    size_t m, i, n = 20;
    for (m = 0; m < 6; m++) {
        peer_hit *truth;
        if (!ask(RULE, "filter %s %u", modes[m % 2], ppm[m / 2]) ||
            !(truth = answers_of(RULE, "batch", n)))
            return;
        for (i = 0; i < 2; i++) {
            if (!ask(VTAG, "filter %s %u", modes[m % 2], ppm[m / 2])) break;
            check_exact(VTAG, i ? "batch" : "answers", truth, n);
        }
        free(truth);
    }
    ask(VTAG, "filter none 0");
    (void)s;
}

/* vtag's answers against the rule's, to the bit; how many ids the peers have in common. */
static void check_all(const set *s) {
    peer_hit *truth;
    int c;
    step("%s: answers of %lu queries against the rule", s->name, (unsigned long)s->checked);
    if (!worker_start(RULE) ||
        !ask(RULE, "load %s %s %s -", s->base_path, s->query_path, s->metric) ||
        !(truth = answers_of(RULE, "batch", s->checked)))
        return;
    for (c = 0; c < CONTENDERS; c++) {
        size_t n = c == VTAG || s->kind == IN_SMALL ? s->checked : s->checked / IDENTICAL_PART;
        if (!workers[c].pid || c == RULE) continue;
        if (contenders[c].flags & CHECK) {
            check_exact(c, "answers", truth, n);
            if (contenders[c].flags & BATCH) check_exact(c, "batch", truth, n);
        } else {
            peer_hit *got;
            if (n > (g.full ? 20u : 5u)) n = g.full ? 20 : 5;
            got = answers_of(c, "answers", n);
            workers[c].compared = n * K;
            if (got) workers[c].same = common(got, truth, n);
            free(got);
        }
    }
    if (s->kind == IN_100K) check_filters(s);
    free(truth);
    worker_end(RULE);
}

static void memory_all(void) {
    int c;
    for (c = 0; c < CONTENDERS; c++)
        if (workers[c].pid && ask(c, "mem"))
            sscanf(workers[c].answer, "mem %lf %lf", &workers[c].anonymous, &workers[c].total);
}

/* ---- Tables ------------------------------------------------------------------------- */

static void identity_text(const worker *w, int c, char *text, size_t n) {
    if (!w->compared) snprintf(text, n, "-");
    else if (contenders[c].flags & CHECK)
        snprintf(text, n, "%lu of %lu", (unsigned long)w->same, (unsigned long)w->compared);
    else snprintf(text, n, "ids %.1f %%", 100.0 * (double)w->same / (double)w->compared);
}

static void table_one(const set *s) {
    double ours = median(&workers[VTAG].one), limit = median(&workers[LIMIT].one);
    int c;
    say("\n## %s\n\n%s. k = %d, one query at a time, one thread unless said.\n\n", s->name,
        s->about, K);
    say("| %-24s | %9s | %9s | %7s | %7s | %9s | %9s | %9s | %-13s |\n", "", "median ms", "p99 ms",
        "vs vtag", "GB/s", "vs limit", "anon MiB", "total MiB", "identical");
    say("|--------------------------|----------:|----------:|--------:|--------:|----------:|------"
        "----:|"
        "----------:|---------------|\n");
    for (c = 0; c < CONTENDERS; c++) {
        worker *w = &workers[c];
        double m = median(&w->one);
        char text[48];
        if (!w->one.n) continue;
        identity_text(w, c, text, sizeof text);
        say("| %-24s | %9.3f | %9.3f | %7.2f | %7.1f | %9.2f | %9.1f | %9.1f | %-13s |\n",
            contenders[c].name, m / 1e6, quantile(&w->one, 0.99) / 1e6, over(m, ours),
            set_bytes(s) / m, over(limit, m), w->anonymous / 1048576, w->total / 1048576, text);
    }
    say("\nGB/s counts the bytes of the f32 rows, whatever was read; `vs limit` is the time of "
        "reading them once, over the contender's. In its turn a contender searches twice for the "
        "same; "
        "the second is timed.\n");
}

static void table_many(const set *s) {
    double ours = median(&workers[VTAG].many);
    int c;
    if (!s->batches) return;
    say("\nBatch of %d queries, medians of %lu:\n\n", PEER_BATCH, (unsigned long)s->batches);
    say("| %-26s | %9s | %18s | %7s |\n|%s|%s|%s|%s|\n", "", "ms", "queries/s a core", "vs vtag",
        "----------------------------", "----------:", "-------------------:", "--------:");
    for (c = 0; c < CONTENDERS; c++) {
        double m = median(&workers[c].many);
        if (!workers[c].many.n) continue;
        say("| %-26s | %9.2f | %18.0f | %7.2f |\n", contenders[c].name, m / 1e6,
            PEER_BATCH / m * 1e9 / (c == VTAG_2 ? 2 : 1), over(m, ours));
    }
}

/* One worker with one filter and another in turn, so that none has a quiet minute alone. */
static void filters(const set *s) {
    static const char *const names[] = {"none",      "only 50 %", "only 10 %", "only 1 %",
                                        "keep 50 %", "keep 10 %", "keep 1 %"};
    static const char *const commands[] = {"none 0",     "only 500000", "only 100000",
                                           "only 10000", "keep 500000", "keep 100000",
                                           "keep 10000"};
    enum { FILTERS = 7 };
    series t[FILTERS];
    size_t r, i, rounds = s->rounds < 41 ? s->rounds : 41;
    memset(t, 0, sizeof t);
    step("%s: filters, %lu rounds", s->name, (unsigned long)rounds);
    for (r = 0; r < rounds; r++)
        for (i = 0; i < FILTERS; i++) {
            size_t at = (i + r) % FILTERS;
            if (ask(VTAG, "filter %s", commands[at]))
                sample_one(VTAG, query_of(s, r), s->each, K, &t[at]);
        }
    ask(VTAG, "filter none 0");
    say("\nFilters, vtag, medians of %lu:\n\n| %-10s | %9s | %16s "
        "|\n|------------|----------:|-----------------:|\n",
        (unsigned long)rounds, "", "ms", "of the full scan");
    for (i = 0; i < FILTERS; i++)
        say("| %-10s | %9.3f | %16.3f |\n", names[i], median(&t[i]) / 1e6,
            over(median(&t[i]), median(&t[0])));
    ratio_add("only-1pct", over(median(&t[3]), median(&t[0])), 0, 0.10,
              "`only` of 1 % of the ids, over the full scan");
    ratio_add("keep-1pct", over(median(&t[6]), median(&t[0])), 0, 0.40,
              "`keep` that passes 1 %, over the full scan");
    for (i = 0; i < FILTERS; i++) series_free(&t[i]);
}

/* ---- A set from start to end ----------------------------------------------------------- */

/* The better of the two fair brute forces. */
static double brute(void) {
    double a = median(&workers[PLAIN].one), b = median(&workers[HNSWLIB].one);
    return a <= 0 || (b > 0 && b < a) ? b : a;
}

static void ratios_of(const set *s, const char *name, double brute_target) {
    double ours = median(&workers[VTAG].one);
    char text[64];
    snprintf(text, sizeof text, "exact-%s-vs-bruteforce", name);
    ratio_add(text, over(brute(), ours), 1, brute_target,
              "the faster of hnswlib's brute force and the plain loop, over vtag");
    if (s->kind == IN_SMALL) return;
    snprintf(text, sizeof text, s->kind == IN_100K ? "exact-2threads" : "exact-%s-2threads", name);
    /* no target: a faster first thread lowers it */
    ratio_add(text, over(ours, median(&workers[VTAG_2].one)), -1, 0,
              "one thread over two, single query");
    snprintf(text, sizeof text, s->kind == IN_100K ? "avx2-vs-best" : "avx2-vs-best-%s", name);
    ratio_add(text, over(median(&workers[VTAG_AVX2].one), ours), 0, 1.2,
              "AVX2 forced, over the best kernels here");
    snprintf(text, sizeof text, "anonymous-mib-%s", name);
    ratio_add(text, workers[VTAG].anonymous / 1048576, s->kind == IN_100K ? -1 : 0, 2,
              "anonymous MiB of a searching process");
    if (s->kind != IN_100K) return;
    ratio_add("exact-100kx768-vs-sqlite-vec", over(median(&workers[SQLITE_VEC].one), ours), 1, 25,
              "sqlite-vec over vtag");
    ratio_add("exact-100kx768-vs-lancedb", over(median(&workers[LANCEDB].one), ours), -1, 0,
              "LanceDB over vtag");
    ratio_add("other-tags", over(median(&workers[VTAG_TAGS].one), ours), 0, 1.10,
              "a tag in a file of three, over alone");
    ratio_add("batch64-vs-sgemm", over(median(&workers[SGEMM].many), median(&workers[VTAG].many)),
              1, 3.5, "tuned sgemm and top-k, over vtag, 64 queries");
    ratio_add("batch64-queries-per-second", over(PEER_BATCH * 1e9, median(&workers[VTAG].many)), 1,
              2000, "of one core, 100k x 768");
}

static void texts(void) {
    int c;
    say("\nContenders:\n\n");
    for (c = 0; c < CONTENDERS; c++)
        if (workers[c].text[0] && c != VTAG_BARE && c != VTAG_TAGS)
            say("- %s: %s\n", contenders[c].name, workers[c].text);
}

static void run_set(set *s, const char *name, double brute_target, int keep_store) {
    int c;
    if (!set_open(s)) return;
    for (c = 0; c < CONTENDERS; c++) worker_reset(c);
    ingest_all(s);
    load_all(s);
    rounds_one(s);
    memory_all(); /* before batches and checks, which take more */
    rounds_many(s);
    check_all(s);
    table_one(s);
    table_many(s);
    if (s->kind == IN_100K) filters(s);
    if (s->ingests) ingest_table(s);
    ratios_of(s, name, brute_target);
    for (c = 0; c < CONTENDERS; c++) {
        worker_end(c);
        if (!keep_store && ingests(s, c)) store_remove(s, c);
    }
}

/* ---- Real data: are the answers the same? ---------------------------------------------- */

static void real_one(set *s) {
    static const int tried[] = {VTAG, VTAG_2, VTAG_AVX2, VTAG_SCALAR};
    peer_hit *truth;
    size_t i, same = 0, all = 0;
    int c;
    if (!set_open(s)) return;
    for (c = 0; c < CONTENDERS; c++) worker_reset(c);
    ingest_one(s, VTAG);
    if (!worker_start(RULE) ||
        !ask(RULE, "load %s %s %s -", s->base_path, s->query_path, s->metric) ||
        !(truth = answers_of(RULE, "batch", s->checked)))
        return;
    for (i = 0; i < sizeof tried / sizeof *tried; i++) {
        c = tried[i];
        load_one(s, c);
        if (!workers[c].pid) continue;
        check_exact(c, "answers", truth, s->checked);
        check_exact(c, "batch", truth, s->checked);
        same += workers[c].same;
        all += workers[c].compared;
    }
    say("| %-24s | %7lu x %-4lu | %7lu | identical %lu of %lu |\n", s->name,
        (unsigned long)s->base.n, (unsigned long)s->base.dim, (unsigned long)s->queries.n,
        (unsigned long)same, (unsigned long)all);
    g.asked += all;
    g.identical += same;
    free(truth);
    for (c = 0; c < CONTENDERS; c++) worker_reset(c);
    store_remove(s, VTAG);
}

static void real_all(void) {
    static set sets[] = {
        {.name = "siftsmall", .file = "siftsmall", .metric = "l2", .kind = IN_SMALL},
        {.name = "siftsmall, sift5k asks", .file = "sift", .metric = "l2", .kind = IN_SMALL},
        {.name = "sift5k, siftsmall asks", .file = "sift5k", .metric = "l2", .kind = IN_SMALL},
        {.name = "GloVe 6B, itself", .file = "glove6b", .metric = "cosine", .kind = IN_SMALL},
        {.name = "GloVe 840B, 6B asks", .file = "glove840b", .metric = "cosine", .kind = IN_SMALL},
        {.name = "nmslib final8", .file = "final8", .metric = "l2", .kind = IN_SMALL},
        {.name = "nmslib final8, cosine", .file = "final8", .metric = "cosine", .kind = IN_SMALL}};
    size_t i;
    step("real data: answers against the rule");
    say("\n## Real data\n\nIds, order and bits of every distance against the rule: one query at a "
        "time and 64 at once,\n"
        "with the best kernels, with two threads, with AVX2 and with scalar code.\n\n"
        "| %-24s | %14s | %7s | %s "
        "|\n|--------------------------|----------------|---------|---|\n",
        "set", "rows x dims", "queries", "answers");
    for (i = 0; i < sizeof sets / sizeof *sets; i++) real_one(&sets[i]);
    say("\nidentical %lu of %lu\n", (unsigned long)g.identical, (unsigned long)g.asked);
}

/* ---- A process from its start to its first answer ---------------------------------------- */

static int first_once(const set *s, series *opened, series *inside, series *all) {
    char command[3 * PATHS], line[128] = "";
    double o, i;
    uint64_t t;
    int from[2];
    FILE *f;
    pid_t pid;
    snprintf(command, sizeof command, "%s/first", g.out);
    if (pipe(from)) return 0;
    fflush(NULL);
    t = peer_now();
    pid = fork();
    if (!pid) {
        dup2(from[1], 1);
        execl(command, "first", store_path(s, VTAG), s->query_path, "10", (char *)NULL);
        _exit(127);
    }
    close(from[1]);
    f = fdopen(from[0], "r");
    if (f && fgets(line, sizeof line, f)) series_add(all, (double)(peer_now() - t));
    if (f) fclose(f);
    waitpid(pid, NULL, 0);
    if (sscanf(line, "%lf %lf", &o, &i) != 2) return 0;
    series_add(opened, o);
    series_add(inside, i);
    return 1;
}

static void first_answer(const set *s, const char *suffix, int times) {
    series opened = {0}, inside = {0}, all = {0};
    char name[64];
    int i;
    if (access(store_path(s, VTAG), F_OK)) return;
    step("%s: %d processes from start to first answer", s->name, times);
    for (i = 0; i < times; i++)
        if (!first_once(s, &opened, &inside, &all)) break;
    say("\nA new process on %s, page cache warm, medians of %lu: open %.3f ms, first answer %.2f "
        "ms after main, "
        "%.2f ms after its start.\n",
        s->name, (unsigned long)all.n, median(&opened) / 1e6, median(&inside) / 1e6,
        median(&all) / 1e6);
    snprintf(name, sizeof name, "open-ms%s", suffix);
    ratio_add(name, median(&opened) / 1e6, 0, 0.2, "vtag_open in a new process, page cache warm");
    snprintf(name, sizeof name, "first-answer-ms%s", suffix);
    ratio_add(name, median(&all) / 1e6, *suffix ? -1 : 0, 8,
              "from the start of a process to its first exact answer");
    series_free(&opened);
    series_free(&inside);
    series_free(&all);
}

/* ---- The command line, by hyperfine ------------------------------------------------------- */

static void hyperfine(const char *what, const char *prepare, const char *command, int runs) {
    char line[4 * PATHS], *at;
    double med = 0;
    FILE *f;
    snprintf(line, sizeof line,
             "hyperfine --style none -N --warmup 1 --runs %d %s%s%s --export-json "
             "%s/hyperfine.json '%s' "
             ">%s/hyperfine.log 2>&1 || tail -n 2 %s/hyperfine.log",
             runs, *prepare ? "--prepare '" : "", prepare, *prepare ? "'" : "", g.out, command,
             g.out, g.out);
    if (system(line)) return;
    snprintf(line, sizeof line, "%s/hyperfine.json", g.out);
    f = fopen(line, "r");
    while (f && fgets(line, sizeof line, f)) {
        at = strstr(line, "\"median\":");
        if (at) sscanf(at + 9, "%lf", &med);
    }
    if (f) fclose(f);
    if (med > 0) say("| %-44s | %9.1f | %4d |\n", what, med * 1e3, runs);
}

static void command_line(const set *s) {
    char command[3 * PATHS], prepare[2 * PATHS], file[PATHS];
    if (access(store_path(s, VTAG), F_OK) || !*line_of("command -v hyperfine")) {
        skip("the command line", "hyperfine or the store is not here");
        return;
    }
    step("%s: the command line, by hyperfine", s->name);
    snprintf(file, sizeof file, "%s/stores/cli.vtag", g.out);
    say("\nThe command line, by hyperfine, medians:\n\n| %-44s | %9s | %4s "
        "|\n|%s|----------:|-----:|\n",
        "", "ms", "runs", "----------------------------------------------");
    snprintf(command, sizeof command,
             "%s/../vtag search %s --tag bench@1 --queries %s/data/one-q.npy", g.out,
             store_path(s, VTAG), g.out);
    hyperfine("vtag search, one query, 100k x 768", "", command, 21);
    snprintf(command, sizeof command,
             "%s/../vtag search %s --tag bench@1 --queries %s/data/u100k-q.npy --threads 2", g.out,
             store_path(s, VTAG), g.out);
    if (g.full) hyperfine("vtag search, 1,000 queries, 2 threads", "", command, 5);
    snprintf(prepare, sizeof prepare, "rm -f %s", file);
    snprintf(command, sizeof command, "%s/../vtag import %s --tag bench@1 %s", g.out, file,
             s->base_path);
    hyperfine("vtag import, 100k x 768 from .npy", prepare, command, g.full ? 7 : 3);
    remove(file);
}

/* ---- The report --------------------------------------------------------------------------- */

/* What install.sh could not get. */
static void skipped(void) {
    char line[PATHS];
    FILE *f;
    snprintf(line, sizeof line, "%s/skipped", g.out);
    f = fopen(line, "r");
    while (f && fgets(line, sizeof line, f)) say("- %s", line);
    if (f) fclose(f);
}

static void machine(void) {
    struct utsname u;
    uname(&u);
    say("# vtag beside its peers: %s\n\n", g.full ? "make bench" : "make bench-quick");
    say("Written by `make %s`; every figure is of this one run, the contenders taking turns within "
        "each round.\n"
        "Times differ on other machines, ratios less.\n\n",
        g.full ? "bench" : "bench-quick");
    say("- date: %s, commit %s\n", line_of("date -u +%Y-%m-%d"),
        line_of("git describe --always --dirty 2>/dev/null"));
    say("- processor: %s, %s cores, %s of L3\n",
        line_of("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo"), line_of("nproc"),
        line_of("cat /sys/devices/system/cpu/cpu0/cache/index3/size 2>/dev/null"));
    say("- SIMD: %s\n", line_of("for f in avx2 fma avx512f avx512_vnni amx_int8; do grep -qw $f "
                                "/proc/cpuinfo && printf '%s ' $f; done; echo"));
    say("- memory: %s; %s %s\n", line_of("sed -n 's/^MemTotal: *//p' /proc/meminfo"), u.sysname,
        u.release);
    say("- compilers: %s; %s\n", line_of("${CC:-cc} --version"), line_of("${CXX:-c++} --version"));
    say("- node %s, %s, OpenBLAS %s (tuned: %s)\n", line_of("node --version"),
        line_of("hyperfine --version"),
        line_of("dpkg-query -W -f '${Version}' libopenblas-dev 2>/dev/null"),
        *g.core ? g.core : "its own choice");
    say("- hnswlib %s, FAISS %s of Debian\n",
        line_of("dpkg-query -W -f '${Version}' libhnswlib-dev 2>/dev/null"),
        line_of("dpkg-query -W -f '${Version}' libfaiss-dev 2>/dev/null"));
    say("- load when it began: %s\n", line_of("cat /proc/loadavg"));
    say("- vtag: -O2, no flags for the machine; the peers in C and C++: -O3 -march=native; LanceDB "
        "and sqlite-vec as npm has them\n");
    skipped();
}

static void traps(void) {
    say("\n## What misleads here\n\n"
        "- OpenBLAS of Debian may take SSE kernels on a processor that it does not know. "
        "`bench/bench.sh` tries the core types\n"
        "  and takes the fastest sgemm; the untuned one is shown beside it.\n"
        "- FAISS of Debian is an SSE build, on one query several times slower than a build for the "
        "machine. It is named so,\n"
        "  and no ratio is against it; hnswlib's brute force, compiled for the machine, stands in "
        "for a good flat index.\n"
        "- FAISS multiplies matrices from 20 queries on, which is why its batch is another story "
        "than its single query.\n"
        "- usearch has its speed from its kernels library, which comes in its npm package and is "
        "compiled here with it.\n"
        "- sqlite-vec's extension on npm is built without AVX. Unit rows are ranked by L2 there, "
        "its faster metric; its SQLite\n"
        "  may map the file and cache all of it.\n"
        "- LanceDB uses all cores for one query and does not sync what it ingests; both are to its "
        "advantage.\n"
        "- Threads of OpenMP and of BLAS multiply: every peer but LanceDB is held to one.\n"
        "- Peers that copy the rows get large pages; vtag reads its file through the page cache.\n"
        "- The large sets are synthetic clusters (centre + 0.7 noise), which flatters inverted "
        "lists. No index is measured\n"
        "  here, only exact scans; the real sets are small.\n"
        "- The third-level cache of a server holds 100k x 768; on a laptop its figures look like "
        "those of 1M rows.\n"
        "- The first touch of a mapped page is a fault: every contender answers %d queries before "
        "any is timed.\n"
        "- Ratios are of medians of the same rounds; a p99 of a hundred samples is about their "
        "maximum.\n",
        WARM);
}

static void verdicts(void) {
    size_t i;
    say("\n## Targets\n\n| %-34s | %9s | %9s | %-7s | %s "
        "|\n|------------------------------------|----------:|----------:|---------|---|\n",
        "ratio", "measured", "target", "met", "what");
    for (i = 0; i < ratio_n; i++) {
        const ratio *r = &ratios[i];
        char target[24] = "-";
        const char *verdict = "-";
        int met = r->least > 0 ? r->value >= r->target : r->value <= r->target;
        if (r->least >= 0) verdict = !(r->value > 0) ? "MISSING" : met ? "yes" : "NO";
        if (r->least >= 0)
            snprintf(target, sizeof target, "%s %g", r->least ? ">=" : "<=", r->target);
        say("| %-34s | %9.3f | %9s | %-7s | %s |\n", r->name, r->value, target, verdict, r->what);
    }
    say("\n```\n");
    for (i = 0; i < ratio_n; i++)
        if (ratios[i].value > 0) say("ratio %s %.3f\n", ratios[i].name, ratios[i].value);
    say("```\n");
}

/* clang-format off */
static set u100k = {.name = "100k x 768", .file = "u100k", .metric = "cosine", .kind = IN_100K, .each = 1,
                    .about = "100,000 unit rows around 1,000 centres, cosine"};
static set u1m = {.name = "1M x 768", .file = "u1m", .metric = "cosine", .kind = IN_1M, .each = 1,
                  .rounds = 31, .checked = 100,
                  .about = "1,000,000 unit rows around 5,000 centres, cosine"};
static set w1m = {.name = "1M x 128", .file = "w1m", .metric = "l2", .kind = IN_WIDE, .each = 1,
                  .rounds = 51, .checked = 200,
                  .about = "1,000,000 rows around 5,000 centres, squared L2"};
static set small = {.name = "siftsmall", .file = "siftsmall", .metric = "l2", .kind = IN_SMALL,
                    .rounds = 51, .each = 20,
                    .about = "10,000 x 128 SIFT descriptors, its own 100 queries, squared L2"};
/* clang-format on */

int main(int argc, char **argv) {
    char path[PATHS];
    if (argc != 3 || (strcmp(argv[1], "quick") && strcmp(argv[1], "full"))) {
        fprintf(stderr, "usage: bench quick|full OUT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    g.start = peer_now();
    g.full = !strcmp(argv[1], "full");
    g.out = argv[2];
    g.core = getenv("BENCH_BLAS") ? getenv("BENCH_BLAS") : "";
    snprintf(path, sizeof path, "%s/report.md", g.out);
    if (!(g.report = fopen(path, "w"))) return 1;
    u100k.rounds = g.full ? 101 : 41;
    u100k.batches = g.full ? 21 : 5;
    u100k.ingests = g.full ? 5 : 3;
    u100k.checked = g.full ? 1000 : 100;
    machine();
    run_set(&u100k, "100kx768", 6.5, 1);
    first_answer(&u100k, "", 41);
    command_line(&u100k);
    texts();
    run_set(&small, "siftsmall", 2.5, 0);
    real_all();
    if (g.full) {
        run_set(&w1m, "1mx128", 5, 0);
        run_set(&u1m, "1mx768", 7, 1);
        first_answer(&u1m, "-1mx768", 15);
    }
    traps();
    say("\nLoad when it ended: %s. Other work on the machine shows most in the second thread.\n",
        line_of("cat /proc/loadavg"));
    verdicts();
    step("done");
    if (fclose(g.report)) return 1;
    return g.skipped && getenv("CI") && !strcmp(getenv("CI"), "true") ? 3 : 0;
}
