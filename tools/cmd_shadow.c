/* cmd_shadow.c - shadow: the same queries under two tags, and how far the answers agree. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "embedder.h"
#include "queryset.h"
#include "rank.h"
#include "worker.h"

enum { SHADOW_WORST = 10, SHADOW_LEAST = 100, SHADOW_MOST = 1000, SHADOW_PAGE = 1024 };

#define SHADOW_P 0.9         /* of the rank-biased overlap */
#define SHADOW_ALARM 0.1     /* mean overlap below this */

typedef struct side {        /* one of the two tags */
    vtag_info   tag;
    qset_worker worker;
    float      *x;           /* x[n * dim] */
    uint64_t   *ids;         /* ids[n * k], count[n] */
    size_t     *count;
    double     *took, ms;    /* took[n] ms, and their median */
} side;

typedef struct shadow_place { double overlap; size_t query; } shadow_place;

typedef struct shadow_job {
    cli_store   st;
    const char *queries;
    uint64_t    k, worst;
    uint32_t    sample_ppm;
    int         has_sample, dry, as_json;
    qset        q;
    side        a, b;        /* the tag and its base */
    uint64_t   *self;        /* of a sample: the item that each query is; NULL: --queries */
    size_t      n, pool;     /* queries; items that the sample was drawn from */
    shadow_place *order;     /* order[n], the least overlap first */
    double      mean, biased;
    uint64_t    bins[11], empty;
} shadow_job;

/* ---- The queries ---------------------------------------------------------------- */

/* The ids of all items that are fresh under both tags. */
static int shadow_pool(shadow_job *s, uint64_t **ids)
{
    vtag_item page[SHADOW_PAGE];
    uint64_t cursor = 0;
    size_t n = 1, i, cap = 0;
    *ids = NULL;
    while (n) {
        vtag_err err = vtag_items(s->st.snap, s->a.tag.tag, VTAG_FRESH, &cursor, page, SHADOW_PAGE, &n);
        if (err) return cli_error(err, "%s", s->st.path);
        if (s->pool + n > cap) *ids = cli_grow(*ids, cap = cap * 2 + SHADOW_PAGE, sizeof **ids);
        for (i = 0; i < n; i++) {
            vtag_row row;
            if (vtag_vector(s->st.snap, page[i].id, s->b.tag.tag, 0, NULL, 0, &row)) continue;
            if (row.rev == page[i].rev) (*ids)[s->pool++] = page[i].id;
        }
    }
    return 0;
}

static size_t shadow_size(const shadow_job *s)
{
    size_t n = (size_t)((double)s->pool * s->sample_ppm / 1e6 + 0.5);
    if (!s->has_sample && n < SHADOW_LEAST) n = SHADOW_LEAST;
    if (!s->has_sample && n > SHADOW_MOST) n = SHADOW_MOST;
    if (!n) n = 1;
    return n < s->pool ? n : s->pool;
}

/* Keeps a sample of n of the pool, in their order [Knuth, TAOCP 2, algorithm S]. */
static void shadow_draw(uint64_t *ids, size_t pool, size_t n)
{
    uint64_t seed = RANK_SEED;
    size_t i, kept = 0;
    for (i = 0; i < pool && kept < n; i++) {
        if (rank_random(&seed) % (pool - i) < n - kept) ids[kept++] = ids[i];
    }
}

static int shadow_own(const shadow_job *s, side *t)
{
    uint32_t dim = t->tag.spec.dim;
    size_t i;
    t->x = cli_grow(NULL, s->n, dim * sizeof *t->x);
    for (i = 0; i < s->n; i++) {
        vtag_err err = vtag_vector(s->st.snap, s->self[i], t->tag.tag, 0, t->x + i * dim, dim, NULL);
        if (err) return cli_error(err, "%s: item %llu", s->st.path, (unsigned long long)s->self[i]);
    }
    return 0;
}

static int shadow_sample(shadow_job *s)
{
    int rc = shadow_pool(s, &s->self);
    if (rc) return rc;
    if (!s->pool) {
        return cli_fail("%s: no item is fresh under both '%s' and '%s'; fill the tag first, or "
                        "give --queries", s->st.path, s->a.tag.spec.name, s->b.tag.spec.name);
    }
    s->n = shadow_size(s);
    shadow_draw(s->self, s->pool, s->n);
    rc = shadow_own(s, &s->a);
    return rc ? rc : shadow_own(s, &s->b);
}

static int shadow_given(shadow_job *s)
{
    int rc = qset_read(&s->q, s->queries);
    s->n = s->q.n;
    if (!rc) rc = qset_vectors(&s->q, &s->a.tag, 2, &s->a.worker, &s->a.x);
    if (!rc) rc = qset_vectors(&s->q, &s->b.tag, 2, &s->b.worker, &s->b.x);
    return rc;
}

/* ---- Both answers ------------------------------------------------------------------- */

static int shadow_ask(const shadow_job *s, side *t, size_t i)
{
    double from = cli_ms();
    int rc = qset_search(&s->st, &t->tag, t->x + i * t->tag.spec.dim, 1,
                         s->self ? &s->self[i] : NULL, (size_t)s->k, t->ids + i * s->k, &t->count[i]);
    t->took[i] = cli_ms() - from;
    return rc;
}

static int shadow_order(const void *a, const void *b)
{
    const shadow_place *x = a, *y = b;
    if (x->overlap < y->overlap || x->overlap > y->overlap) return x->overlap < y->overlap ? -1 : 1;
    return (x->query > y->query) - (x->query < y->query);
}

static void shadow_compare(shadow_job *s, size_t i)
{
    const uint64_t *a = s->a.ids + i * s->k, *b = s->b.ids + i * s->k;
    size_t na = s->a.count[i], nb = s->b.count[i];
    double overlap = rank_overlap(a, na, b, nb);
    s->order[i].overlap = overlap;
    s->order[i].query = i;
    s->mean += overlap;
    s->biased += rank_biased(a, na, b, nb, SHADOW_P);
    s->bins[(size_t)(overlap * 10 + 1e-9)]++;
    s->empty += !na;
}

static void shadow_room(shadow_job *s, side *t)
{
    t->ids = cli_grow(NULL, s->n * (size_t)s->k, sizeof *t->ids);
    t->count = cli_alloc(s->n * sizeof *t->count);
    t->took = cli_alloc(s->n * sizeof *t->took);
}

static int shadow_faster(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double shadow_median(double *took, size_t n)
{
    qsort(took, n, sizeof *took, shadow_faster);
    return took[n / 2];
}

/* Each query under one tag and then the other, so that neither finds a warmer cache. */
static int shadow_measure(shadow_job *s)
{
    cli_progress p;
    size_t i;
    int rc = 0;
    shadow_room(s, &s->a);
    shadow_room(s, &s->b);
    s->order = cli_alloc(s->n * sizeof *s->order);
    cli_progress_start(&p, "shadow", "queries", s->n);
    for (i = 0; i < s->n && !rc; i++) {
        rc = shadow_ask(s, i % 2 ? &s->b : &s->a, i);
        if (!rc) rc = shadow_ask(s, i % 2 ? &s->a : &s->b, i);
        if (!rc) shadow_compare(s, i);
        cli_progress_at(&p, i);
    }
    cli_progress_end(&p);
    if (rc) return rc;
    s->mean /= (double)s->n;
    s->biased /= (double)s->n;
    s->a.ms = shadow_median(s->a.took, s->n);
    s->b.ms = shadow_median(s->b.took, s->n);
    qsort(s->order, s->n, sizeof *s->order, shadow_order);
    return 0;
}

/* ---- The record ------------------------------------------------------------------------ */

static const char *shadow_item(const shadow_job *s, uint64_t id, char *buf, size_t size)
{
    vtag_item item = {0};
    if (vtag_get(s->st.snap, id, &item)) item.id = id;
    return item_name(buf, size, &item);
}

static const char *shadow_name(const shadow_job *s, size_t i, char *buf, size_t size)
{
    if (s->self) return shadow_item(s, s->self[i], buf, size);
    return cli_line(buf, size, s->q.q[i].id, strlen(s->q.q[i].id));
}

/* What the query asks: its text, or the item's own; "" if there is none. */
static const char *shadow_asks(const shadow_job *s, size_t i, char *buf, size_t size)
{
    vtag_item item = {0};
    if (!s->self) return cli_line(buf, size, s->q.q[i].text.s ? s->q.q[i].text.s : "",
                                  s->q.q[i].text.s ? s->q.q[i].text.n : 0);
    if (vtag_get(s->st.snap, s->self[i], &item) || !item.data) item.size = 0;
    return cli_line(buf, size, item.data ? item.data : "", item.size);
}

static void shadow_query(const shadow_job *s, out *o, size_t i, size_t most)
{
    char name[256], text[256];
    out_str(o, "query", shadow_name(s, i, name, most < sizeof name ? most : sizeof name));
    shadow_asks(s, i, text, most < sizeof text ? most : sizeof text);
    if (text[0]) out_str(o, "text", text);
}

static void shadow_members(const shadow_job *s, out *o)
{
    size_t i;
    out_open(o, "overlap_histogram", '[');
    for (i = 0; i < 11; i++) out_u64(o, NULL, s->bins[i]);
    out_close(o, ']');
    out_u64(o, "empty", s->empty);
    out_open(o, "latency_ms", '{');
    out_f64(o, "tag", s->a.ms);
    out_f64(o, "base", s->b.ms);
    out_close(o, '}');
}

/* The text of the event, with as many of the worst queries as its 1,024 bytes hold. */
static char *shadow_text(const shadow_job *s)
{
    size_t worst = s->n < SHADOW_WORST ? s->n : SHADOW_WORST, i, n = 1025;
    char *text = NULL;
    for (worst++; worst-- > 0 && n > 1024;) {
        out o;
        FILE *f;
        free(text);
        text = NULL;
        f = open_memstream(&text, &n);
        if (!f) return NULL;
        out_start(&o, f);
        shadow_members(s, &o);
        out_open(&o, "worst", '[');
        for (i = 0; i < worst; i++) {
            out_open(&o, NULL, '{');
            shadow_query(s, &o, s->order[i].query, 48);
            out_f64(&o, "overlap", s->order[i].overlap);
            out_close(&o, '}');
        }
        out_close(&o, ']');
        out_close(&o, '}');
        fclose(f);
        text[--n] = '\0'; /* the end of the line */
    }
    return text;
}

static int shadow_record(shadow_job *s)
{
    char *text = shadow_text(s), name[32];
    vtag_event e;
    int rc;
    if (!text) return cli_nomem();
    memset(&e, 0, sizeof e);
    snprintf(name, sizeof name, "overlap@%llu", (unsigned long long)s->k);
    e.kind = VTAG_K_SHADOW;
    e.tag = s->a.tag.tag;
    e.base = s->b.tag.tag;
    e.name = name;
    e.value = s->mean;
    e.base_value = s->biased;
    e.queries = s->n;
    e.text = text;
    rc = cmd_event_state(&s->st, &e);
    if (!rc) rc = cmd_event_add(&s->st, &e, 1);
    free(text);
    return rc;
}

/* ---- The report --------------------------------------------------------------------------- */

static int shadow_alarm(const shadow_job *s)
{
    return s->mean < SHADOW_ALARM || s->empty * 100 > s->n;
}

/* The worst queries, their hits side by side; those that both have are marked. */
static void shadow_worst(const shadow_job *s)
{
    size_t w, r;
    for (w = 0; w < s->worst && w < s->n; w++) {
        size_t i = s->order[w].query, na = s->a.count[i], nb = s->b.count[i];
        const uint64_t *a = s->a.ids + i * s->k, *b = s->b.ids + i * s->k;
        char name[64], text[70], left[40], right[40];
        cli_table t = {0};
        printf("\nquery %s: overlap %.2f\n", shadow_name(s, i, name, sizeof name), s->order[w].overlap);
        if (shadow_asks(s, i, text, sizeof text)[0]) printf("  %s\n", text);
        cli_row(&t, "  rank\t%s\t\t%s\t", s->a.tag.spec.name, s->b.tag.spec.name);
        for (r = 0; r < na || r < nb; r++) {
            int ina = r < na && rank_overlap(&a[r], 1, b, nb) > 0;
            int inb = r < nb && rank_overlap(&b[r], 1, a, na) > 0;
            cli_row(&t, "  %zu\t%s\t%s\t%s\t%s", r + 1,
                    r < na ? shadow_item(s, a[r], left, sizeof left) : "-", ina ? "=" : "",
                    r < nb ? shadow_item(s, b[r], right, sizeof right) : "-", inb ? "=" : "");
        }
        cli_table_print(&t, "rllll");
    }
}

static void shadow_print(const shadow_job *s)
{
    size_t i;
    printf("%s against %s: ", s->a.tag.spec.name, s->b.tag.spec.name);
    if (s->self) printf("%zu of %zu items fresh under both, each as a query\n", s->n, s->pool);
    else printf("%zu queries\n", s->n);
    printf("  overlap@%llu           %.3f\n", (unsigned long long)s->k, s->mean);
    printf("  rank-biased overlap  %.3f  (p = 0.9)\n", s->biased);
    printf("  empty answers        %llu\n", (unsigned long long)s->empty);
    printf("  latency              %.3f ms and %.3f ms a query, the median\n", s->a.ms, s->b.ms);
    printf("  queries by overlap  ");
    for (i = 0; i < 11; i++) printf(" %.1f:%llu", (double)i / 10, (unsigned long long)s->bins[i]);
    putchar('\n');
    shadow_worst(s);
    puts(s->dry ? "\ndry run: nothing recorded" : "\nrecorded in the history");
}

static void shadow_hits(const shadow_job *s, out *o, const char *name, const side *t, size_t i)
{
    size_t r;
    char item[256];
    out_open(o, name, '[');
    for (r = 0; r < t->count[i]; r++) {
        out_str(o, NULL, shadow_item(s, t->ids[i * s->k + r], item, sizeof item));
    }
    out_close(o, ']');
}

static void shadow_json(const shadow_job *s)
{
    out o;
    size_t w;
    out_start(&o, stdout);
    out_str(&o, "tag", s->a.tag.spec.name);
    out_str(&o, "base", s->b.tag.spec.name);
    out_u64(&o, "queries", s->n);
    out_u64(&o, "k", s->k);
    out_f64(&o, "overlap", s->mean);
    out_f64(&o, "rank_biased_overlap", s->biased);
    shadow_members(s, &o);
    out_bool(&o, "alarm", shadow_alarm(s));
    out_bool(&o, "dry_run", s->dry);
    out_open(&o, "worst", '[');
    for (w = 0; w < s->worst && w < s->n; w++) {
        out_open(&o, NULL, '{');
        shadow_query(s, &o, s->order[w].query, 256);
        out_f64(&o, "overlap", s->order[w].overlap);
        shadow_hits(s, &o, "tag_hits", &s->a, s->order[w].query);
        shadow_hits(s, &o, "base_hits", &s->b, s->order[w].query);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    out_close(&o, '}');
}

/* ---- shadow --list: the comparisons on record, an application's own among them ------------ */

static int shadow_list(cli_store *st, int as_json)
{
    vtag_event *e;
    cli_table t = {0};
    size_t n, i;
    int rc = cmd_events(st, &e, &n);
    if (rc) return rc;
    for (i = 0; i < n; i++) {
        char when[CLI_TEXT];
        if (e[i].kind != VTAG_K_SHADOW) continue;
        if (as_json) {
            out o;
            out_start(&o, stdout);
            cmd_event_json(&o, st, &e[i]);
            out_close(&o, '}');
            continue;
        }
        if (!t.n) cli_row(&t, "tag\tbase\toverlap\trank-biased\tqueries\tcommit\ttime\tname");
        cli_row(&t, "%s\t%s\t%.3f\t%.3f\t%llu\t%llu\t%s\t%s", cli_tag_name(st, e[i].tag),
                cli_tag_name(st, e[i].base), e[i].value, e[i].base_value,
                (unsigned long long)e[i].queries, (unsigned long long)e[i].commit,
                cli_time(when, e[i].time), e[i].name ? e[i].name : "");
    }
    if (!t.n && !as_json) puts("no comparison is on record");
    cli_table_print(&t, "llrrrrll");
    free(e);
    return 0;
}

/* ---- The command ------------------------------------------------------------------------------ */

/* The base that was named, else the active tag, or the standby where that is the tag. */
static int shadow_tags(shadow_job *s, const char *tag, const char *base)
{
    int rc = cli_tag(&s->st, tag, &s->a.tag);
    if (!rc && !base) base = s->a.tag.role == VTAG_ACTIVE ? ":standby" : ":active";
    if (!rc) rc = cli_tag(&s->st, base, &s->b.tag);
    if (rc) return rc;
    if (s->a.tag.tag == s->b.tag.tag) {
        return cli_misuse("shadow: '%s' is compared with another tag; give --base", tag);
    }
    if (s->a.tag.role == VTAG_GONE || s->b.tag.role == VTAG_GONE) {
        return cli_error(VTAG_RETIRED, "%s: tag '%s'", s->st.path,
                         s->a.tag.role == VTAG_GONE ? s->a.tag.spec.name : s->b.tag.spec.name);
    }
    return 0;
}

static int shadow_run(shadow_job *s, const char *file, const char *tag, const char *base)
{
    int rc = s->dry ? cli_look(&s->st, file) : cli_change(&s->st, file);
    if (!rc) rc = shadow_tags(s, tag, base);
    if (!rc) rc = s->queries ? shadow_given(s) : shadow_sample(s);
    if (!rc) rc = shadow_measure(s);
    if (!rc && !s->dry) rc = shadow_record(s);
    if (rc) return rc;
    if (s->as_json) shadow_json(s);
    else shadow_print(s);
    if (!shadow_alarm(s)) return CLI_DONE;
    return cli_refuse("%s: alarm: overlap@%llu is %.3f, %llu of %zu answers are empty; are the "
                      "queries embedded by the tags' own models?", file, (unsigned long long)s->k,
                      s->mean, (unsigned long long)s->empty, s->n);
}

static void shadow_free(shadow_job *s)
{
    side *t;
    for (t = &s->a;; t = &s->b) {
        free(t->x);
        free(t->ids);
        free(t->count);
        free(t->took);
        if (t == &s->b) break;
    }
    free(s->self);
    free(s->order);
    qset_free(&s->q);
    cli_close(&s->st);
}

static int shadow_check(const shadow_job *s, const char *tag, int list)
{
    if (list) return 0;
    if (!tag) return cli_misuse("shadow: --tag NAME is missing");
    if (!s->k || s->k > 1000) return cli_misuse("shadow: -k is 1 to 1,000");
    if (!s->queries && (s->a.worker.command || s->b.worker.command)) {
        return cli_misuse("shadow: --exec and --exec-base embed the texts of --queries");
    }
    if (s->queries && s->has_sample) {
        return cli_misuse("shadow: --sample and --queries exclude each other");
    }
    return 0;
}

int cmd_shadow(int argc, char **argv)
{
    const char *file, *tag = NULL, *base = NULL;
    int list = 0, rc;
    shadow_job s;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "which is compared", NULL},
        {"--base", "NAME", CLI_STR, &base, "with this one; the active, or of that the standby", NULL},
        {"--queries", "INPUT", CLI_STR, &s.queries,
         "JSON Lines: {\"id\",\"text\"} or {\"id\",\"vectors\":{TAG:[...]}}", NULL},
        {"--exec", "COMMAND", CLI_STR, &s.a.worker.command, "the worker of --tag", NULL},
        {"--exec-base", "COMMAND", CLI_STR, &s.b.worker.command, "the worker of --base", NULL},
        EMBEDDER_OPT(s.a.worker.embedders),
        EMBEDDER_TIMEOUT_OPT(s.a.worker.timeout_ms),
        {"--sample", "PERCENT", CLI_PPM, &s.sample_ppm,
         "of the items as queries, without --queries; 1, but 100 to 1,000 items", &s.has_sample},
        {"-k", "N", CLI_U64, &s.k, "hits that are compared; 10", NULL},
        {"--worst", "N", CLI_U64, &s.worst, "queries shown with their hits; 3", NULL},
        {"--list", NULL, CLI_FLAG, &list, "show the comparisons on record instead", NULL},
        {"--dry-run", NULL, CLI_FLAG, &s.dry, "record nothing", NULL},
        {"--json", NULL, CLI_FLAG, &s.as_json, "one JSON object", NULL},
        CLI_END};
    memset(&s, 0, sizeof s);
    s.k = 10;
    s.worst = 3;
    s.sample_ppm = 10000;
    s.a.worker.option = "--exec";
    s.b.worker.option = "--exec-base";
    s.a.worker.timeout_ms = WORKER_TIMEOUT_MS;
    rc = cli_parse(argc, argv, "Asks the same queries under two tags and records how far the answers\n"
                   "agree. Without --queries: a sample of the items that are fresh under both, by\n"
                   "the vector of their first part, the item itself left out of its answer.\n"
                   "It is an alarm and never a gate: exit code 3 if the overlap is below 0.1 or\n"
                   "more than 1 % of the answers are empty.", opts);
    if (rc >= 0) return rc;
    s.b.worker.embedders = s.a.worker.embedders;
    s.b.worker.timeout_ms = s.a.worker.timeout_ms;
    if (s.sample_ppm == VTAG_NONE) s.sample_ppm = 0;
    rc = shadow_check(&s, tag, list);
    if (!rc && list) {
        rc = cli_look(&s.st, file);
        if (!rc) rc = shadow_list(&s.st, s.as_json);
    } else if (!rc) {
        rc = shadow_run(&s, file, tag, base);
    }
    shadow_free(&s);
    return rc;
}
