/* cmd_audit.c - audit: does a tag's name say what made its vectors? A sample of its fresh items
   is embedded again from their stored payloads, and compared. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "embedder.h"
#include "worker.h"

enum { AUDIT_ITEMS = 500, AUDIT_ENOUGH = 100, AUDIT_RANGES = 10, AUDIT_WORST = 5 };
#define AUDIT_COSINE 0.995
#define AUDIT_BYTES  ((size_t)64 << 20) /* of payloads and vectors at once */

typedef struct audit_row {   /* one vector that was compared */
    uint64_t id, time, order; /* when the item was written, and where its vector was */
    uint32_t part;
    double   cosine;
} audit_row;

typedef struct audit_pick { uint64_t id, rev, time; } audit_pick; /* an item of the sample */

typedef struct audit_held {  /* an item as it is stored, for comparison */
    worker_item item;
    uint64_t    time, order;
    uint32_t    parts;
    float      *x;           /* x[parts * dim] */
} audit_held;

typedef struct audit_job {
    cli_store   st;
    vtag_info   tag;
    const char *file, *tag_name, *exec, *embedders;
    uint64_t    sample, ranges, timeout_ms, seed;
    int         has_seed, dry, as_json;
    uint32_t    ppm;         /* that has to agree */
    uint64_t    commit;      /* of the state that the sample is of */
    audit_pick *pick;
    size_t      n, fresh;    /* items picked, and there */
    audit_row  *row;
    size_t      rows, cap;
    uint64_t    changed, silent, failed, empty; /* vectors that could not be compared, and why */
    char        why[400];    /* the first error of an item */
    vtag_audit  found;
    cli_progress progress;
} audit_job;

static unsigned long long ull(uint64_t n) { return n; }

/* ---- The sample ------------------------------------------------------------------------ */

/* The next of a sequence that a seed makes, the same everywhere (splitmix64). */
static uint64_t audit_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static int audit_by_id(const void *a, const void *b)
{
    const audit_pick *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Picks `sample` of the tag's fresh items, each with the same chance, in one pass. */
static int audit_pick_items(audit_job *a)
{
    vtag_item page[256];
    uint64_t cursor = 0, seed = a->seed, now = cli_clock();
    size_t n = 1, i;
    vtag_stat stat;
    vtag_err err = vtag_stats(a->st.snap, &stat);
    a->pick = cli_alloc((size_t)a->sample * sizeof *a->pick);
    a->commit = stat.commit;
    a->found.written = a->tag.written;
    while (!err && n) {
        err = vtag_items(a->st.snap, a->tag.tag, VTAG_FRESH, &cursor, page, 256, &n);
        for (i = 0; !err && i < n; i++) {
            uint64_t at = a->fresh < a->sample ? a->fresh : audit_random(&seed) % (a->fresh + 1);
            a->fresh++;
            if (at >= a->sample) continue;
            a->pick[at].id = page[i].id;
            a->pick[at].rev = page[i].rev;
            a->pick[at].time = page[i].time > now ? 0 : page[i].time; /* its clock was ahead */
        }
    }
    if (err) return cli_error(err, "%s", a->file);
    a->n = a->fresh < a->sample ? a->fresh : (size_t)a->sample;
    if (a->n) qsort(a->pick, a->n, sizeof *a->pick, audit_by_id);
    return 0;
}

/* ---- Comparing --------------------------------------------------------------------------- */

static void audit_row_add(audit_job *a, const audit_held *h, uint32_t part, double cosine)
{
    audit_row *r;
    if (a->rows == a->cap) a->row = cli_grow(a->row, a->cap = a->cap * 2 + 256, sizeof *a->row);
    r = &a->row[a->rows++];
    r->id = h->item.id;
    r->time = h->time;
    r->order = h->order;
    r->part = part;
    r->cosine = cosine;
}

/* The cosine of two vectors; where lengths matter to the metric, times their ratio. */
static double audit_cosine(vtag_metric metric, const float *x, const float *y, uint32_t dim)
{
    double dot = 0, xx = 0, yy = 0, cosine;
    uint32_t i;
    for (i = 0; i < dim; i++) {
        dot += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    if (xx == 0 || yy == 0) return xx == yy ? 1 : 0;
    cosine = dot / (sqrt(xx) * sqrt(yy));
    if (metric != VTAG_COSINE) cosine *= sqrt(xx < yy ? xx / yy : yy / xx);
    return cosine;
}

/* Compares an item's stored vectors with what the worker gave. One that it gave no vector for,
   or that is of another number of parts, is of another preparation. */
static int audit_compare(audit_job *a, const audit_held *h, const worker_answer *w)
{
    uint32_t i, dim = a->tag.spec.dim;
    for (i = 0; i < w->n; i++) {
        if (w->v[i].dim == dim) continue;
        return cli_fail("%s: the worker's vectors have %u numbers, tag %s has dim %u: another model; "
                        "nothing is recorded", a->file, w->v[i].dim, a->tag.spec.name, dim);
    }
    for (i = 0; i < h->parts; i++) {
        double cosine = 0;
        if (w->n == h->parts) {
            cosine = audit_cosine(a->tag.spec.metric, h->x + (size_t)i * dim, w->v[i].x, dim);
        }
        audit_row_add(a, h, i, cosine);
    }
    return 0;
}

/* Copies an item as it is stored; 1 if it can be compared. */
static int audit_hold(audit_job *a, const audit_pick *p, audit_held *h, int *rc)
{
    vtag_item item = {0};
    vtag_row row = {0};
    uint32_t i, dim = a->tag.spec.dim;
    vtag_err err = vtag_get(a->st.snap, p->id, &item);
    if (!err) err = vtag_vector(a->st.snap, p->id, a->tag.tag, 0, NULL, 0, &row);
    if (err == VTAG_NOTFOUND || (!err && (item.rev != p->rev || row.rev != p->rev))) {
        a->changed++;
        return 0;
    }
    if (!err && !item.size) {
        a->empty += row.parts;
        return 0;
    }
    h->parts = row.parts;
    h->x = cli_alloc((size_t)row.parts * dim * sizeof *h->x);
    for (i = 0; !err && i < row.parts; i++) {
        err = vtag_vector(a->st.snap, p->id, a->tag.tag, i, h->x + (size_t)i * dim, dim, NULL);
    }
    if (err) {
        free(h->x);
        *rc = cli_error(err, "%s: item %llu", a->file, ull(p->id));
        return 0;
    }
    h->time = p->time;
    h->order = row.order;
    h->item.id = p->id;
    h->item.rev = p->rev;
    h->item.key = item.key ? cli_strdup(item.key) : NULL;
    h->item.n = item.size;
    h->item.data = memcpy(cli_alloc(item.size), item.data, item.size);
    return 1;
}

static void audit_drop(audit_held *h, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        free(h[i].x);
        free((void *)(uintptr_t)h[i].item.key);
        free((void *)(uintptr_t)h[i].item.data);
    }
    free(h);
}

/* Takes items from *at on into h, up to AUDIT_BYTES of them; how many. */
static size_t audit_load(audit_job *a, size_t *at, audit_held *h, int *rc)
{
    size_t n = 0, bytes = 0;
    *rc = cli_snap(&a->st);
    for (; !*rc && *at < a->n && bytes < AUDIT_BYTES; ++*at) {
        if (!audit_hold(a, &a->pick[*at], &h[n], rc)) continue;
        bytes += h[n].item.n + (size_t)h[n].parts * a->tag.spec.dim * sizeof(float);
        n++;
    }
    vtag_release(a->st.snap); /* nothing is held while the worker works */
    a->st.snap = NULL;
    return n;
}

static int audit_answers(audit_job *a, const audit_held *h, const worker_answer *w, size_t n)
{
    size_t i;
    int rc = 0;
    for (i = 0; i < n && !rc; i++) {
        if (w[i].v) {
            rc = audit_compare(a, &h[i], &w[i]);
        } else if (w[i].error) {
            a->failed += h[i].parts;
            if (!a->why[0]) cli_line(a->why, sizeof a->why, w[i].error, strlen(w[i].error));
        } else {
            a->silent += h[i].parts;
        }
    }
    return rc;
}

/* Embeds the sample again and compares, some megabytes at a time. */
static int audit_embed(audit_job *a)
{
    size_t at = 0, n, i;
    int rc = 0;
    cli_progress_start(&a->progress, "audit", "items", a->n);
    while (!rc && at < a->n) {
        audit_held *h = cli_alloc((a->n - at) * sizeof *h);
        worker_answer *w;
        worker_item *items;
        n = audit_load(a, &at, h, &rc);
        w = cli_alloc((n + 1) * sizeof *w);
        items = cli_alloc((n + 1) * sizeof *items);
        for (i = 0; i < n; i++) items[i] = h[i].item;
        if (!rc && n) rc = worker_all(a->exec, a->timeout_ms, items, n, w);
        if (!rc) rc = audit_answers(a, h, w, n);
        worker_answers_free(w, n);
        free(w);
        free(items);
        audit_drop(h, n);
        cli_progress_at(&a->progress, at);
    }
    cli_progress_end(&a->progress);
    return rc;
}

/* ---- What it comes to -------------------------------------------------------------------- */

static int audit_by_time(const void *a, const void *b)
{
    const audit_row *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return (x->part > y->part) - (x->part < y->part);
}

static int audit_by_cosine(const void *a, const void *b)
{
    const audit_row *x = a, *y = b;
    return x->cosine != y->cosine ? x->cosine < y->cosine ? -1 : 1 : audit_by_time(a, b);
}

static int audit_agrees(const audit_row *r) { return r->cosine >= AUDIT_COSINE; }

static void audit_sum(audit_job *a)
{
    vtag_audit *f = &a->found;
    size_t i;
    f->sampled = a->rows;
    f->untestable = a->changed + a->silent + a->failed + a->empty;
    f->worst = a->rows ? 1 : 0;
    for (i = 0; i < a->rows; i++) {
        const audit_row *r = &a->row[i];
        if (!audit_agrees(r)) f->below++;
        if (r->cosine < f->worst) f->worst = r->cosine;
        if (!i || r->time < f->from) f->from = r->time;
        if (r->time > f->to) f->to = r->time;
    }
}

/* Whether there is enough to speak of, and enough of it agrees. */
static int audit_enough(const audit_job *a)
{
    return a->rows && (a->rows >= AUDIT_ENOUGH || a->found.sampled + a->found.untestable >= a->tag.rows);
}

static int audit_passes(const audit_job *a)
{
    const vtag_audit *f = &a->found;
    return audit_enough(a) && (f->sampled - f->below) * 1000000 >= (uint64_t)a->ppm * f->sampled;
}

/* The end of the range that begins at row i. */
static size_t audit_range(const audit_job *a, size_t i)
{
    size_t n = (a->rows + (size_t)a->ranges - 1) / (size_t)a->ranges, end = i + n;
    return end < a->rows ? end : a->rows;
}

static void audit_print_ranges(const audit_job *a)
{
    cli_table t = {0};
    size_t i, end;
    if (!a->rows) return;
    cli_row(&t, "written from\tto\tvectors\tagree\tworst");
    for (i = 0; i < a->rows; i = end) {
        char from[CLI_TEXT], to[CLI_TEXT], share[CLI_TEXT];
        size_t k, good = 0;
        double worst = 1;
        end = audit_range(a, i);
        for (k = i; k < end; k++) {
            good += audit_agrees(&a->row[k]) != 0;
            if (a->row[k].cosine < worst) worst = a->row[k].cosine;
        }
        cli_row(&t, "%s\t%s\t%zu\t%s\t%.4f", cli_time(from, a->row[i].time),
                cli_time(to, a->row[end - 1].time), end - i, cli_percent(share, good, end - i), worst);
    }
    cli_table_print(&t, "llrrr");
}

/* The first words of an item's payload, as it is now. */
static const char *audit_text(const audit_job *a, uint64_t id, char *buf, size_t size)
{
    vtag_item item;
    buf[0] = '\0';
    if (!a->st.snap || vtag_get(a->st.snap, id, &item)) return buf;
    return cli_line(buf, size, item.data, item.size);
}

static void audit_print_worst(audit_job *a)
{
    cli_table t = {0};
    size_t i;
    if (a->rows) qsort(a->row, a->rows, sizeof *a->row, audit_by_cosine);
    if (!a->rows || audit_agrees(&a->row[0]) || cli_snap(&a->st)) return;
    cli_row(&t, "worst\titem\tpart\ttext");
    for (i = 0; i < a->rows && i < AUDIT_WORST && !audit_agrees(&a->row[i]); i++) {
        char text[60];
        cli_row(&t, "%.4f\t%llu\t%u\t%s", a->row[i].cosine, ull(a->row[i].id), a->row[i].part,
                audit_text(a, a->row[i].id, text, sizeof text));
    }
    cli_table_print(&t, "rrrl");
}

static void audit_print_left(const audit_job *a)
{
    if (!a->found.untestable) return;
    printf("%llu vectors could not be compared:", ull(a->found.untestable));
    if (a->empty) printf(" %llu of items without a payload (import --attach adds texts);", ull(a->empty));
    if (a->failed) printf(" %llu the worker refused, first: %s;", ull(a->failed), a->why);
    if (a->silent) printf(" %llu it did not answer;", ull(a->silent));
    if (a->changed) printf(" %llu changed meanwhile;", ull(a->changed));
    puts(" they are counted, and do not count");
}

static void audit_print(audit_job *a, int lifted)
{
    const vtag_audit *f = &a->found;
    char share[CLI_TEXT];
    audit_print_ranges(a);
    audit_print_left(a);
    audit_print_worst(a);
    printf("%s  %s: %s of %llu vectors agree (cosine %.3f), wanted %.4g %%, worst %.4f; seed %llu\n",
           audit_passes(a) ? "PASSED" : "FAILED", a->tag.spec.name,
           cli_percent(share, f->sampled - f->below, f->sampled), ull(f->sampled), AUDIT_COSINE,
           a->ppm / 1e4, f->worst, ull(a->seed));
    if (lifted) {
        printf("%s is no longer assumed; vtag alias %s --tag %s NAME gives it its true name\n",
               a->tag.spec.name, a->file, a->tag.spec.name);
    }
}

static void audit_print_json(audit_job *a, int lifted)
{
    size_t i, end, k;
    out o;
    out_start(&o, stdout);
    out_str(&o, "tag", a->tag.spec.name);
    out_bool(&o, "passed", audit_passes(a));
    out_u64(&o, "min_ppm", a->ppm);
    out_u64(&o, "seed", a->seed);
    cmd_audit_json(&o, "audit", &a->found);
    out_u64(&o, "empty", a->empty);
    out_u64(&o, "refused", a->failed);
    out_u64(&o, "unanswered", a->silent);
    out_u64(&o, "changed", a->changed);
    out_bool(&o, "lifted", lifted);
    out_open(&o, "ranges", '[');
    for (i = 0; i < a->rows; i = end) {
        uint64_t below = 0;
        end = audit_range(a, i);
        for (k = i; k < end; k++) below += !audit_agrees(&a->row[k]);
        out_open(&o, NULL, '{');
        out_u64(&o, "from", a->row[i].time);
        out_u64(&o, "to", a->row[end - 1].time);
        out_u64(&o, "sampled", end - i);
        out_u64(&o, "below", below);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    out_open(&o, "worst", '[');
    if (a->rows) qsort(a->row, a->rows, sizeof *a->row, audit_by_cosine);
    for (i = 0; i < a->rows && i < AUDIT_WORST; i++) {
        out_open(&o, NULL, '{');
        out_id(&o, "id", a->row[i].id);
        out_u64(&o, "part", a->row[i].part);
        out_f64(&o, "cosine", a->row[i].cosine);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    out_close(&o, '}');
}

static int audit_record(audit_job *a, int *lifted)
{
    vtag_event e = {0};
    vtag_info now;
    int rc, assumed = (a->tag.spec.flags & VTAG_ASSUMED) != 0;
    char command[1025];
    e.kind = VTAG_K_AUDIT;
    e.tag = a->tag.tag;
    e.commit = a->commit;
    e.audit = a->found;
    e.command = cli_line(command, sizeof command, a->exec, strlen(a->exec));
    rc = cmd_event_add(&a->st, &e, 1);
    if (!rc) rc = cli_snap(&a->st);
    if (!rc && !vtag_tag_info(a->st.snap, a->tag.tag, &now)) {
        *lifted = assumed && !(now.spec.flags & VTAG_ASSUMED);
    }
    return rc;
}

/* ---- The command -------------------------------------------------------------------------- */

static int audit_open(audit_job *a)
{
    vtag_policy policy;
    int rc = a->dry ? cli_look(&a->st, a->file) : cli_change(&a->st, a->file);
    if (!rc) rc = cli_tag(&a->st, a->tag_name, &a->tag);
    if (rc) return rc;
    a->tag.spec.name = cli_strdup(a->tag.spec.name); /* snapshots come and go */
    if (a->tag.role == VTAG_GONE) return cli_error(VTAG_RETIRED, "%s: tag '%s'", a->file, a->tag.spec.name);
    if (!a->ppm) {
        if (vtag_policy_get(a->st.snap, &policy)) return cli_fail("%s: its policy cannot be read", a->file);
        a->ppm = policy.gate.min_audit_ppm ? policy.gate.min_audit_ppm : 990000;
    }
    a->ppm = cmd_limit(a->ppm);
    return a->dry ? 0 : embedder_must(a->embedders, a->tag.spec.name, "--exec COMMAND", &a->exec);
}

static int audit_run(audit_job *a)
{
    int lifted = 0, rc = audit_open(a);
    if (!rc) rc = audit_pick_items(a);
    if (rc) return rc;
    if (!a->n) return cli_fail("%s: tag %s has no fresh item to audit", a->file, a->tag.spec.name);
    if (a->dry) {
        printf("%zu of %zu fresh items of %s would be embedded again; seed %llu\n", a->n, a->fresh,
               a->tag.spec.name, ull(a->seed));
        return 0;
    }
    cli_catch();
    rc = audit_embed(a);
    if (rc) return rc;
    if (cli_stopped()) return cli_fail("%s: interrupted; nothing is recorded", a->file);
    audit_sum(a);
    if (a->rows) qsort(a->row, a->rows, sizeof *a->row, audit_by_time);
    rc = audit_record(a, &lifted);
    if (rc) return rc;
    if (a->as_json) audit_print_json(a, lifted);
    else audit_print(a, lifted);
    if (audit_passes(a)) return 0;
    if (!audit_enough(a)) {
        return cli_refuse("%s: %llu vectors were compared, and an audit wants %d or all; take a larger "
                          "--sample, or see why the others could not be", a->file,
                          ull(a->found.sampled), AUDIT_ENOUGH);
    }
    return cli_refuse("%s: the vectors of %s are not all of the model that '%s' runs", a->file,
                      a->tag.spec.name, a->exec);
}

int cmd_audit(int argc, char **argv)
{
    audit_job a;
    int rc;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &a.file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &a.tag_name, "whose vectors are compared", NULL},
        {"--exec", "COMMAND", CLI_STR, &a.exec, "the tag's embedder, started in a shell", NULL},
        EMBEDDER_OPT(a.embedders),
        EMBEDDER_TIMEOUT_OPT(a.timeout_ms),
        {"--sample", "N", CLI_U64, &a.sample, "items, taken at random; 500", NULL},
        {"--min", "PERCENT", CLI_PPM, &a.ppm, "of the vectors have to agree; the policy's, or 99", NULL},
        {"--ranges", "N", CLI_U64, &a.ranges, "of write time in the table; 10", NULL},
        {"--seed", "N", CLI_U64, &a.seed, "takes the same sample again", &a.has_seed},
        {"--dry-run", NULL, CLI_FLAG, &a.dry, "only say how many items it would embed", NULL},
        {"--json", NULL, CLI_FLAG, &a.as_json, "one JSON object", NULL},
        CLI_END};
    memset(&a, 0, sizeof a);
    a.sample = AUDIT_ITEMS;
    a.ranges = AUDIT_RANGES;
    a.timeout_ms = WORKER_TIMEOUT_MS;
    rc = cli_parse(argc, argv,
        "Embeds a random sample of a tag's fresh items again, from their stored payloads, and\n"
        "compares the vectors: those of one model agree (cosine .995; under dot and l2 their\n"
        "lengths too), those of another do not. Its table goes by the time the items were written,\n"
        "and among those of one time by the order of their vectors. What it found goes into the history; a gate with --min-audit asks\n"
        "for it while less than 1 % is written since. An audit that passes (99 % of at least 100\n"
        "vectors, or of all) ends that a tag of vtag stamp is assumed. Exit code 3: FAILED.", opts);
    if (rc >= 0) return rc;
    if (!a.sample || a.sample > 10000000) return cli_misuse("audit: --sample is 1 to 10,000,000");
    if (!a.ranges || a.ranges > 1000) return cli_misuse("audit: --ranges is 1 to 1,000");
    if (!a.has_seed) a.seed = (cli_clock() << 20 ^ (uint64_t)getpid()) % 1000000007;
    rc = audit_run(&a);
    cli_close(&a.st);
    free((char *)(uintptr_t)a.tag.spec.name);
    free(a.pick);
    free(a.row);
    return rc;
}
