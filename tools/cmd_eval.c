/* cmd_eval.c - eval: scores of a tag, measured here or elsewhere, and their list. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "embedder.h"
#include "lines.h"
#include "queryset.h"
#include "rank.h"
#include "worker.h"

enum { EVAL_SMALL = 250, EVAL_METRICS = 3, EVAL_TEXT = 1025 };

static const char *const eval_names[EVAL_METRICS] = {"ndcg", "recall", "mrr"};

/* ---- What both kinds of score share ------------------------------------------------ */

/* Why a score does not count, or counts with care; "" if nothing is to be said. */
static const char *eval_marks(char *buf, size_t size, const vtag_event *e, const vtag_policy *p)
{
    char cover[CLI_TEXT];
    size_t n = 0;
    uint32_t least = cmd_limit(p->gate.min_queries);
    buf[0] = '\0';
    if (e->flags & VTAG_PROVISIONAL) {
        n = (size_t)snprintf(buf, size, "provisional: taken at %s coverage, does not count",
                             cli_percent(cover, e->cover.fresh + e->cover.waived, e->cover.base));
    }
    if (e->queries < least && n < size) {
        snprintf(buf + n, size - n, "%sfewer than %u queries, does not count", n ? "; " : "", least);
    } else if (e->queries < EVAL_SMALL && n < size) {
        snprintf(buf + n, size - n, "%sfewer than %d queries, so a small sample", n ? "; " : "",
                 EVAL_SMALL);
    }
    return buf;
}

/* Whether the engine would mark a score of this coverage as provisional. */
static int eval_partial(const vtag_cover *c, const vtag_policy *p)
{
    uint64_t done = c->fresh + c->waived;
    return !c->base ||
           (done < c->base && done * 1000000 <= cmd_limit(p->gate.min_ppm) * c->base);
}

/* Takes over what the engine made of the scores just recorded, in a new snapshot. */
static int eval_recorded(cli_store *st, vtag_info *tag, vtag_event *e, size_t n)
{
    vtag_event *all;
    size_t count, i, k;
    int rc = cli_snap(st);
    if (!rc) rc = cmd_events(st, &all, &count);
    if (rc) return rc;
    for (k = 0; k < n; k++) {
        for (i = count; i-- > 0;) {
            if (all[i].kind != VTAG_K_SCORE || all[i].tag != e[k].tag || !all[i].name) continue;
            if (strcmp(all[i].name, e[k].name)) continue;
            e[k].flags = all[i].flags;
            e[k].seq = all[i].seq;
            break;
        }
    }
    free(all);
    return vtag_tag_info(st->snap, tag->tag, tag) ? cli_fail("%s: its tag is gone", st->path) : 0;
}

/* ---- Judgements --------------------------------------------------------------------- */

typedef struct judged { char *query, *doc; uint64_t id, line; double gain; } judged;

typedef struct eval_job {
    cli_store   st;
    vtag_info   tag;
    const char *queries, *qrels, *metric;
    qset_worker worker;
    uint64_t    k;
    int         dry, as_json;
    qset        q;
    judged     *j;
    size_t      nj, absent, cap;
    uint64_t   *ids;         /* ids[q.n * k], the answers, and how many of each */
    size_t     *count;
    double     *score[EVAL_METRICS]; /* score[m][scored] */
    size_t     *asked;       /* asked[scored]: which query that is */
    size_t      scored;
    rank_mean   mean[EVAL_METRICS];
    vtag_policy policy;
} eval_job;

/* The item that a document names: by its key, else by its id as vtag prints it, so that 007
   is a key only. */
static int eval_item(const eval_job *e, const char *doc, uint64_t *id)
{
    vtag_item item;
    *id = vtag_id(doc);
    if (!vtag_get(e->st.snap, *id, &item) && item.key && !strcmp(item.key, doc)) return 1;
    if (!cli_id(doc, id)) return 0;
    return !vtag_get(e->st.snap, *id, &item);
}

/* Splits a line at white space, in place; how many words. */
static size_t eval_words(char *line, char **word, size_t most)
{
    size_t n = 0;
    while (*(line += strspn(line, " \t\r"))) {
        if (n < most) word[n] = line;
        n++;
        line += strcspn(line, " \t\r");
        if (*line) *line++ = '\0';
    }
    return n;
}

static int eval_judgement(eval_job *e, char *line, uint64_t number)
{
    char *word[4], *end;
    judged *j;
    size_t n = eval_words(line, word, 4);
    if (!n) return 0;
    if (e->nj == e->cap) e->j = cli_grow(e->j, e->cap = e->cap * 2 + 256, sizeof *e->j);
    j = &e->j[e->nj];
    if (n == 4) j->gain = strtod(word[3], &end);
    if (n != 4 || end == word[3] || *end || !(j->gain < 1e9 && j->gain > -1e9)) {
        return cli_fail("%s: line %llu: wants \"query 0 document relevance\", as TREC has it",
                        e->qrels, (unsigned long long)number);
    }
    j->query = cli_strdup(word[0]);
    j->doc = cli_strdup(word[2]);
    j->line = number;
    if (j->gain < 0) j->gain = 0;
    if (!eval_item(e, j->doc, &j->id)) {
        j->id = UINT64_MAX; /* which no item has */
        e->absent++;
    }
    e->nj++;
    return 0;
}

/* By query, the most relevant first. */
static int eval_order(const void *a, const void *b)
{
    const judged *x = a, *y = b;
    int c = strcmp(x->query, y->query);
    if (c) return c;
    if (x->gain > y->gain || x->gain < y->gain) return x->gain > y->gain ? -1 : 1;
    return strcmp(x->doc, y->doc);
}

/* By query and what was judged, the first line first. */
static int eval_pairs(const void *a, const void *b)
{
    const judged *x = a, *y = b;
    int c = strcmp(x->query, y->query);
    if (!c && x->id != y->id) c = x->id < y->id ? -1 : 1;
    if (!c && x->id == UINT64_MAX) c = strcmp(x->doc, y->doc);
    return c ? c : x->line < y->line ? -1 : x->line > y->line;
}

/* Leaves one judgement of each pair; two that differ are an error. */
static int eval_once(eval_job *e)
{
    size_t i, kept = 0;
    int rc = 0;
    qsort(e->j, e->nj, sizeof *e->j, eval_pairs);
    for (i = 0; i < e->nj; i++) {
        judged *j = &e->j[i], *last = &e->j[kept ? kept - 1 : 0];
        int twice = kept && !strcmp(last->query, j->query) && last->id == j->id &&
                    (j->id != UINT64_MAX || !strcmp(last->doc, j->doc));
        if (twice && !rc && (last->gain < j->gain || last->gain > j->gain)) {
            rc = cli_fail("%s: line %llu: document %s of query %s is judged %g, and %g in line "
                          "%llu; judge each once", e->qrels, (unsigned long long)j->line, j->doc,
                          j->query, j->gain, last->gain, (unsigned long long)last->line);
        }
        if (twice) {
            e->absent -= j->id == UINT64_MAX;
            free(j->query);
            free(j->doc);
        } else {
            e->j[kept++] = *j;
        }
    }
    e->nj = kept;
    return rc;
}

static int eval_judgements(eval_job *e)
{
    lines in;
    char *line;
    size_t n;
    int rc = 0, got = 0;
    if (!lines_open(&in, e->qrels)) return cli_fail("%s", in.error);
    while (!rc && (got = lines_next(&in, &line, &n)) > 0) rc = eval_judgement(e, line, in.number);
    if (!rc && got < 0) rc = cli_fail("%s", in.error);
    lines_close(&in);
    if (!rc && e->nj) rc = eval_once(e);
    if (rc) return rc;
    if (!e->nj) return cli_fail("%s: holds no judgement", e->qrels);
    if (e->absent == e->nj) {
        return cli_fail("%s: none of its documents is an item of %s; they are named by key or id",
                        e->qrels, e->st.path);
    }
    qsort(e->j, e->nj, sizeof *e->j, eval_order);
    return 0;
}

/* The judgements of a query: where they begin, and how many. */
static const judged *eval_of(const eval_job *e, const char *query, size_t *n)
{
    size_t lo = 0, hi = e->nj;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(e->j[mid].query, query) < 0) lo = mid + 1;
        else hi = mid;
    }
    for (hi = lo; hi < e->nj && !strcmp(e->j[hi].query, query);) hi++;
    *n = hi - lo;
    return e->j + lo;
}

/* ---- eval run ----------------------------------------------------------------------- */

/* Gains of the relevant documents, each once; how many. */
static size_t eval_ideal(const judged *j, size_t n, double *ideal)
{
    size_t i, k, m = 0;
    for (i = 0; i < n && j[i].gain > 0; i++) {
        for (k = 0; k < i && strcmp(j[k].doc, j[i].doc);) k++;
        if (k == i) ideal[m++] = j[i].gain;
    }
    return m;
}

static void eval_query(eval_job *e, size_t i)
{
    size_t n, k, h, relevant, hits = e->count[i];
    const judged *j = eval_of(e, e->q.q[i].id, &n);
    double *ideal = cli_alloc((n + 1) * sizeof *ideal), *gain = cli_alloc((hits + 1) * sizeof *gain);
    relevant = eval_ideal(j, n, ideal);
    for (h = 0; h < hits; h++) {
        for (k = 0; k < n && j[k].id != e->ids[i * e->k + h];) k++;
        gain[h] = k < n ? j[k].gain : 0;
    }
    if (relevant) {
        e->score[0][e->scored] = rank_ndcg(gain, hits, ideal, relevant, (size_t)e->k);
        e->score[1][e->scored] = rank_recall(gain, hits, relevant, (size_t)e->k);
        e->score[2][e->scored] = rank_mrr(gain, hits, (size_t)e->k);
        e->asked[e->scored] = i;
        e->scored++;
    }
    free(ideal);
    free(gain);
}

static int eval_measure(eval_job *e)
{
    float *x = NULL;
    size_t i, m;
    int rc = qset_vectors(&e->q, &e->tag, 1, &e->worker, &x);
    e->ids = cli_grow(NULL, e->q.n * (size_t)e->k + 1, sizeof *e->ids);
    e->count = cli_alloc((e->q.n + 1) * sizeof *e->count);
    e->asked = cli_alloc((e->q.n + 1) * sizeof *e->asked);
    for (m = 0; m < EVAL_METRICS; m++) e->score[m] = cli_alloc((e->q.n + 1) * sizeof(double));
    if (!rc) rc = qset_search(&e->st, &e->tag, x, e->q.n, NULL, (size_t)e->k, e->ids, e->count);
    free(x);
    if (rc) return rc;
    for (i = 0; i < e->q.n; i++) eval_query(e, i);
    for (m = 0; m < EVAL_METRICS; m++) e->mean[m] = rank_interval(e->score[m], e->scored);
    if (e->scored) return 0;
    return cli_fail("%s: no query of %s has a relevant document in it; do their ids agree?",
                    e->qrels, e->queries);
}

static int eval_wanted(const eval_job *e, size_t m)
{
    return !strcmp(e->metric, "all") || !strcmp(e->metric, eval_names[m]);
}

/* How sure the value is, and where it comes from. */
static int eval_text(char text[EVAL_TEXT], double low, double high, const char *note)
{
    int n = snprintf(text, EVAL_TEXT, "95 %% interval %.6g to %.6g%s%s", low, high, note ? "; " : "",
                     note ? note : "");
    return n < EVAL_TEXT ? 0 : cli_fail("eval add: --note is too long; 900 bytes are enough");
}

/* The queries that did worst by the first metric, with their texts; where all did well, none. */
static void eval_worst(const eval_job *e)
{
    enum { MOST = 3 };
    size_t worst[MOST + 1] = {0}, n = 0, i, m = 0;
    char name[64], text[90];
    while (!eval_wanted(e, m)) m++;
    for (i = 0; i < e->scored; i++) {
        size_t at = n;
        if (e->score[m][i] >= 1) continue;
        while (at && e->score[m][worst[at - 1]] > e->score[m][i]) {
            worst[at] = worst[at - 1];
            at--;
        }
        worst[at] = i;
        if (n < MOST) n++;
    }
    if (n) printf("worst by %s@%llu:\n", eval_names[m], (unsigned long long)e->k);
    for (i = 0; i < n; i++) {
        const qset_query *q = &e->q.q[e->asked[worst[i]]];
        printf("  %.4f  %s  %s\n", e->score[m][worst[i]], cli_line(name, sizeof name, q->id, strlen(q->id)),
               cli_line(text, sizeof text, q->text.s ? q->text.s : "", q->text.s ? q->text.n : 0));
    }
}

static void eval_print(const eval_job *e, const vtag_event *events, size_t n)
{
    cli_table t = {0};
    char cover[CLI_TEXT], marks[160];
    const vtag_cover *c = &events[0].cover;
    size_t i, m;
    printf("%s: %zu queries of %zu, %s coverage\n", e->tag.spec.name, e->scored, e->q.n,
           cli_percent(cover, c->fresh + c->waived, c->base));
    cli_row(&t, "  score\tvalue\t95 %% interval");
    for (i = 0, m = 0; i < n; i++, m++) {
        while (!eval_wanted(e, m)) m++;
        cli_row(&t, "  %s\t%.4f\t%.4f to %.4f", events[i].name, e->mean[m].mean, e->mean[m].low,
                e->mean[m].high);
    }
    cli_table_print(&t, "lrl");
    eval_worst(e);
    if (e->absent) {
        printf("%zu of %zu judged documents are not in the store: they count as not found\n",
               e->absent, e->nj);
    }
    eval_marks(marks, sizeof marks, &events[0], &e->policy);
    if (marks[0]) puts(marks);
    puts(e->dry ? "dry run: nothing recorded" : "recorded in the history");
}

static void eval_json(const eval_job *e, const vtag_event *x, const rank_mean *m)
{
    out o;
    char marks[160];
    out_start(&o, stdout);
    out_str(&o, "tag", e->tag.spec.name);
    out_str(&o, "score", x->name);
    out_f64(&o, "value", m->mean);
    out_f64(&o, "low", m->low);
    out_f64(&o, "high", m->high);
    out_u64(&o, "queries", x->queries);
    out_u64(&o, "commit", x->commit);
    out_cover(&o, "cover", &x->cover);
    out_bool(&o, "provisional", (x->flags & VTAG_PROVISIONAL) != 0);
    out_bool(&o, "small", x->queries < EVAL_SMALL);
    out_str(&o, "marks", eval_marks(marks, sizeof marks, x, &e->policy));
    out_u64(&o, "absent", e->absent);
    out_bool(&o, "dry_run", e->dry);
    out_close(&o, '}');
}

/* Records the scores, and reports them as they then stand. */
static int eval_record(eval_job *e)
{
    vtag_event events[EVAL_METRICS];
    char names[EVAL_METRICS][32], text[EVAL_METRICS][EVAL_TEXT];
    const rank_mean *mean[EVAL_METRICS];
    size_t m, n = 0;
    int rc = 0;
    memset(events, 0, sizeof events);
    for (m = 0; m < EVAL_METRICS && !rc; m++) {
        vtag_event *x = &events[n];
        if (!eval_wanted(e, m)) continue;
        snprintf(names[n], sizeof names[n], "%s@%llu", eval_names[m], (unsigned long long)e->k);
        rc = eval_text(text[n], e->mean[m].low, e->mean[m].high, "2,000 resamples, seed 1");
        x->kind = VTAG_K_SCORE;
        x->tag = e->tag.tag;
        x->name = names[n];
        x->text = text[n];
        x->value = e->mean[m].mean;
        x->queries = e->scored;
        mean[n++] = &e->mean[m];
        if (!rc) rc = cmd_event_state(&e->st, x);
    }
    for (m = 0; m < n && e->dry; m++) {
        if (eval_partial(&events[m].cover, &e->policy)) events[m].flags = VTAG_PROVISIONAL;
    }
    if (!rc && !e->dry) rc = cmd_event_add(&e->st, events, n);
    if (!rc && !e->dry) rc = eval_recorded(&e->st, &e->tag, events, n);
    if (!rc && !e->as_json) eval_print(e, events, n);
    for (m = 0; m < n && !rc && e->as_json; m++) eval_json(e, &events[m], mean[m]);
    return rc;
}

static int eval_open(eval_job *e, const char *file, const char *tag)
{
    vtag_err err;
    int rc = e->dry ? cli_look(&e->st, file) : cli_change(&e->st, file);
    if (!rc) rc = cli_tag(&e->st, tag, &e->tag);
    if (rc) return rc;
    if (e->tag.role == VTAG_GONE) return cli_error(VTAG_RETIRED, "%s: tag '%s'", file, tag);
    err = vtag_policy_get(e->st.snap, &e->policy);
    return err ? cli_error(err, "%s: policy", file) : 0;
}

static void eval_free(eval_job *e)
{
    size_t m, i;
    for (m = 0; m < EVAL_METRICS; m++) free(e->score[m]);
    free(e->ids);
    free(e->count);
    free(e->asked);
    for (i = 0; i < e->nj; i++) {
        free(e->j[i].query);
        free(e->j[i].doc);
    }
    free(e->j);
    qset_free(&e->q);
    cli_close(&e->st);
}

static int eval_metric_known(const char *metric)
{
    size_t m;
    for (m = 0; m < EVAL_METRICS; m++) {
        if (!strcmp(metric, eval_names[m])) return 1;
    }
    return !strcmp(metric, "all");
}

static int eval_run(int argc, char **argv)
{
    const char *file, *tag;
    int rc;
    eval_job e;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which is measured; a candidate too", NULL},
        {"--queries", "INPUT", CLI_STR | CLI_MUST, &e.queries,
         "JSON Lines: {\"id\",\"text\"}, {\"id\",\"vector\"} or {\"id\",\"vectors\":{TAG:[...]}}", NULL},
        {"--qrels", "FILE", CLI_STR | CLI_MUST, &e.qrels,
         "TREC's \"query 0 document relevance\"; a document is a key or an id", NULL},
        {"--exec", "COMMAND", CLI_STR, &e.worker.command, "the worker that embeds texts", NULL},
        EMBEDDER_OPT(e.worker.embedders),
        EMBEDDER_TIMEOUT_OPT(e.worker.timeout_ms),
        {"-k", "N", CLI_U64, &e.k, "hits that count; 10", NULL},
        {"--metric", "M", CLI_STR, &e.metric, "ndcg, recall, mrr; all", NULL},
        {"--dry-run", NULL, CLI_FLAG, &e.dry, "measure, and record nothing", NULL},
        {"--json", NULL, CLI_FLAG, &e.as_json, "a JSON object a score", NULL},
        CLI_END};
    memset(&e, 0, sizeof e);
    e.k = 10;
    e.metric = "all";
    e.worker.option = "--exec";
    e.worker.timeout_ms = WORKER_TIMEOUT_MS;
    rc = cli_parse(argc, argv, "Searches the store for judged queries and records nDCG, recall and\n"
                   "reciprocal rank with the tag's coverage. Parts of an item count as one. The\n"
                   "95 % interval is bootstrapped from 2,000 resamples with a fixed seed, 1.\n"
                   "A document of the judgements is the key of an item, else an id as vtag prints\n"
                   "it: 007 is not item 7. A pair that is judged twice must be judged alike.",
                   opts);
    if (rc >= 0) return rc;
    if (!e.k || e.k > 1000) return cli_misuse("eval run: -k is 1 to 1,000");
    if (!eval_metric_known(e.metric)) {
        return cli_misuse("eval run: metric '%s'; there are ndcg, recall, mrr, all", e.metric);
    }
    rc = eval_open(&e, file, tag);
    if (!rc) rc = qset_read(&e.q, e.queries);
    if (!rc && qset_raw(&e.q)) rc = cli_tag_raw(tag, &e.tag, "a query's \"vector\"");
    if (!rc) rc = eval_judgements(&e);
    if (!rc) rc = eval_measure(&e);
    if (!rc) rc = eval_record(&e);
    eval_free(&e);
    return rc;
}

/* ---- eval add ------------------------------------------------------------------------- */

static int eval_add_check(const vtag_event *e, int has_low, int has_high, double low, double high)
{
    if (!e->name[0] || strlen(e->name) > 255) return cli_misuse("eval add: a score has a name");
    if (has_low != has_high) return cli_misuse("eval add: --low and --high go together");
    if (has_low && !(low <= e->value && e->value <= high)) {
        return cli_misuse("eval add: the value lies between --low and --high");
    }
    return 0;
}

static int eval_add(int argc, char **argv)
{
    const char *file, *tag;
    char text[EVAL_TEXT], marks[160];
    double low = 0, high = 0;
    int rc, has_low = 0, has_high = 0;
    cli_store st = {0};
    vtag_info info;
    vtag_policy policy;
    vtag_event e;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which was measured", NULL},
        {"--score", "NAME", CLI_STR | CLI_MUST, &e.name, "such as ndcg@10", NULL},
        {"--value", "X", CLI_F64 | CLI_MUST, &e.value, "the score", NULL},
        {"--queries", "N", CLI_U64 | CLI_MUST, &e.queries, "that it was taken from", NULL},
        {"--low", "X", CLI_F64, &low, "of its 95 % interval", &has_low},
        {"--high", "X", CLI_F64, &high, "of its 95 % interval", &has_high},
        {"--note", "TEXT", CLI_STR, &e.text, "where it comes from", NULL},
        CLI_END};
    memset(&e, 0, sizeof e);
    rc = cli_parse(argc, argv, "Records a score that was measured elsewhere, with how complete the\n"
                   "tag is now.", opts);
    if (rc >= 0) return rc;
    rc = eval_add_check(&e, has_low, has_high, low, high);
    if (!rc) rc = cli_change(&st, file);
    if (!rc) rc = cli_tag(&st, tag, &info);
    if (!rc && has_low) rc = eval_text(text, low, high, e.text);
    if (has_low) e.text = text;
    e.kind = VTAG_K_SCORE;
    if (!rc) e.tag = info.tag;
    if (!rc) rc = cmd_event_state(&st, &e);
    if (!rc) rc = cmd_event_add(&st, &e, 1);
    if (!rc) rc = eval_recorded(&st, &info, &e, 1);
    if (!rc && !vtag_policy_get(st.snap, &policy)) {
        eval_marks(marks, sizeof marks, &e, &policy);
        printf("%s: %s %.6g recorded%s%s\n", info.spec.name, e.name, e.value, marks[0] ? "; " : "",
               marks);
    }
    cli_close(&st);
    return rc;
}

/* ---- eval ls ---------------------------------------------------------------------------- */

/* Whether a later score of the same name and tag replaces event i. */
static int eval_replaced(const vtag_event *e, size_t n, size_t i)
{
    size_t k;
    for (k = i + 1; k < n; k++) {
        if (e[k].kind == VTAG_K_SCORE && e[k].tag == e[i].tag && e[k].name &&
            !strcmp(e[k].name, e[i].name)) return 1;
    }
    return 0;
}

static void eval_ls_row(cli_table *t, const cli_store *st, const vtag_event *e,
                        const vtag_policy *p)
{
    char cover[CLI_TEXT], when[CLI_TEXT], marks[160];
    cli_row(t, "%s\t%s\t%.6g\t%llu\t%s\t%llu\t%s\t%s", cli_tag_name(st, e->tag), e->name, e->value,
            (unsigned long long)e->queries,
            cli_percent(cover, e->cover.fresh + e->cover.waived, e->cover.base),
            (unsigned long long)e->commit, cli_time(when, e->time),
            eval_marks(marks, sizeof marks, e, p));
}

static void eval_ls_json(const cli_store *st, const vtag_event *e, const vtag_policy *p)
{
    out o;
    char marks[160];
    out_start(&o, stdout);
    cmd_event_json(&o, st, e);
    out_bool(&o, "provisional", (e->flags & VTAG_PROVISIONAL) != 0);
    out_bool(&o, "small", e->queries < EVAL_SMALL);
    out_str(&o, "marks", eval_marks(marks, sizeof marks, e, p));
    out_close(&o, '}');
}

static int eval_ls_run(cli_store *st, vtag_tag tag, int every, int as_json)
{
    cli_table t = {0};
    vtag_policy policy;
    vtag_event *e;
    size_t n, i;
    vtag_err err = vtag_policy_get(st->snap, &policy);
    int rc = err ? cli_error(err, "%s: policy", st->path) : cmd_events(st, &e, &n);
    if (rc) return rc;
    for (i = 0; i < n; i++) {
        if (e[i].kind != VTAG_K_SCORE || !e[i].name || (tag && e[i].tag != tag)) continue;
        if (!every && eval_replaced(e, n, i)) continue;
        if (!t.n && !as_json) {
            cli_row(&t, "tag\tscore\tvalue\tqueries\tcoverage\tcommit\ttime\t");
        }
        if (as_json) eval_ls_json(st, &e[i], &policy);
        else eval_ls_row(&t, st, &e[i], &policy);
    }
    if (!t.n && !as_json) puts("no scores; vtag eval run measures one, vtag eval add records one");
    cli_table_print(&t, "llrrrrll");
    free(e);
    return 0;
}

static int eval_ls(int argc, char **argv)
{
    const char *file, *tag = NULL;
    int every = 0, as_json = 0, rc;
    cli_store st = {0};
    vtag_info info = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "of this one only", NULL},
        {"--all", NULL, CLI_FLAG, &every, "not only the newest of each name", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "a JSON object a score", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Lists the scores of each tag, and which of them do not count.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&st, file);
    if (!rc && tag) rc = cli_tag(&st, tag, &info);
    if (!rc) rc = eval_ls_run(&st, info.tag, every, as_json);
    cli_close(&st);
    return rc;
}

/* ---- The command -------------------------------------------------------------------------- */

int cmd_eval(int argc, char **argv)
{
    static const struct { const char *name; char *full; int (*run)(int, char **); } sub[] = {
        {"run", "eval run", eval_run}, {"add", "eval add", eval_add}, {"ls", "eval ls", eval_ls}};
    size_t i;
    cli.cmd = "eval";
    if (argc > 1 && !strcmp(argv[1], "--help")) {
        puts("usage: vtag eval run|add|ls FILE [options]\n\n"
             "  run  measure nDCG, recall and reciprocal rank by judged queries\n"
             "  add  record a score that was measured elsewhere\n"
             "  ls   list the scores, and which of them do not count\n\n"
             "vtag eval run --help tells the options of run.");
        return CLI_DONE;
    }
    for (i = 0; i < 3 && argc > 1; i++) {
        if (strcmp(argv[1], sub[i].name)) continue;
        argv[1] = sub[i].full;
        return sub[i].run(argc - 1, argv + 1);
    }
    return cli_misuse("eval: which? run, add or ls");
}
