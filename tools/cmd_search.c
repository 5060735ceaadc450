/* cmd_search.c - search: one query or many, on as many threads as asked for. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "embedder.h"
#include "input.h"
#include "json.h"
#include "lines.h"
#include "outfile.h"
#include "worker.h"

enum {
    SEARCH_BLOCK = 256,      /* queries that share one reading of the rows */
    SHARE_QUERIES = 16       /* a thread, from which on the queries are shared out, not the rows */
};

typedef struct queries {
    float    *x;             /* x[n * dim] */
    size_t    n, cap;
    char    **names;         /* of each, or NULL where it has but a number */
} queries;

typedef struct search_job {
    cli_store st;
    vtag_info tag;
    queries   q;
    const char *given;       /* as --tag has it */
    const char *input, *format, *vector, *text, *exec, *embedders, *only, *ivecs, *fvecs;
    uint64_t  k, timeout_ms;
    uint32_t  threads;
    double    max_dist;
    float     max;
    int       has_max, approx, as_json, header, no_header;
    cli_list  ignored;
    vtag_search_opts opts;
    vtag_ids  ids;
    outfile   iout, fout;    /* of --ivecs and --fvecs */
    size_t    block;         /* queries */
    vtag_hit *hits;          /* hits[threads * block * k], counts[threads * block] */
    size_t   *counts;
} search_job;

/* ---- Queries --------------------------------------------------------------------- */

static void query_add(queries *q, const float *x, uint32_t dim, const char *name)
{
    if (q->n == q->cap) {
        q->cap = q->cap * 2 + 16;
        q->x = cli_grow(q->x, q->cap, dim * sizeof *q->x);
        q->names = cli_grow(q->names, q->cap, sizeof *q->names);
    }
    memcpy(q->x + q->n * dim, x, dim * sizeof *x);
    q->names[q->n++] = name ? cli_strdup(name) : NULL;
}

/* The vector of a query under the tag that is searched, of those that it brings; NULL if it
   brings none or several, and then the fault is noted. */
static const vtag_vec *query_vector(const search_job *s, input *in)
{
    const input_record *r = &in->record;
    const vtag_vec *found = NULL;
    const char *other = NULL;
    size_t i, n = 0;
    for (i = 0; i < r->n; i++) {
        const char *name = r->tags && r->tags[i] ? r->tags[i] : r->tag;
        if (name && strcmp(name, s->tag.spec.name)) {
            other = name;
        } else {
            found = &r->v[i];
            n++;
        }
    }
    if (n == 1) return found;
    if (!n && other) input_fault(in, "its tag is '%.80s', not '%.80s'", other, s->tag.spec.name);
    else input_fault(in, "a query has one vector, this has %zu", n);
    return NULL;
}

static int query_record(search_job *s, input *in)
{
    const input_record *r = &in->record;
    const vtag_vec *v = query_vector(s, in);
    uint32_t dim = s->tag.spec.dim;
    char id[24];
    const char *named;
    int rc;
    if (!v) return cli_fail("%s", in->error);
    named = r->tags && r->tags[v - r->v] ? r->tags[v - r->v] : r->tag;
    rc = named ? 0 : cli_tag_raw(s->given, &s->tag, "a query without \"tag\"");
    if (rc) return rc;
    if (v->dim != dim) {
        input_fault(in, "the vector has %u numbers, tag '%.80s' has dim %u", v->dim,
                    s->tag.spec.name, dim);
        return cli_fail("%s", in->error);
    }
    snprintf(id, sizeof id, "%llu", (unsigned long long)r->item.id);
    query_add(&s->q, v->x, dim, r->item.key ? r->item.key : r->positional ? NULL : id);
    return 0;
}

static int queries_read(search_job *s)
{
    input in;
    input_opts o = {0};
    int got, rc = 0;
    o.format = s->format;
    o.header = s->header - s->no_header;
    o.ignored = s->ignored.value;
    o.ignored_n = s->ignored.n;
    if (!input_open(&in, s->input, &o)) return cli_fail("%s", in.error);
    while (!rc && (got = input_next(&in)) != INPUT_END) {
        rc = got < 0 ? cli_fail("%s", in.error) : query_record(s, &in);
    }
    input_close(&in);
    if (!rc && !s->q.n) rc = cli_fail("%s: holds no query", s->input);
    return rc;
}

static int queries_one(search_job *s)
{
    float *x = NULL;
    uint32_t dim = 0;
    cli_text text;
    int rc;
    if (s->vector) {
        rc = cli_tag_raw(s->given, &s->tag, "--vector");
        if (!rc) rc = cmd_vector("--vector", s->vector, &x, &dim);
    } else {
        text.s = s->text;
        text.n = strlen(s->text);
        rc = embedder_must(s->embedders, s->tag.spec.name, "--exec", &s->exec);
        if (!rc) rc = worker_texts(s->exec, s->timeout_ms, &text, 1, &x, &dim);
    }
    if (!rc && dim != s->tag.spec.dim) {
        rc = cli_fail("%s: the query has %u numbers, tag '%s' has dim %u", s->st.path, dim,
                      s->tag.spec.name, s->tag.spec.dim);
    }
    if (!rc) query_add(&s->q, x, dim, NULL);
    free(x);
    return rc;
}

/* ---- --only ------------------------------------------------------------------------ */

static int only_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Whether the key names an item, whose id goes to *id. */
static int only_key(const search_job *s, const char *key, uint64_t *id)
{
    vtag_item item;
    *id = vtag_id(key);
    return !vtag_get(s->st.snap, *id, &item) && item.key && !strcmp(item.key, key);
}

static int only_json(lines *in, json *j, const char *line, size_t n, uint64_t *id)
{
    const json_value *top = json_parse(j, line, n), *key = json_get(top, "key");
    if (!top) return lines_fault(in, "%s", j->error);
    if (key && key->type == JSON_NULL) key = NULL;
    if (json_text(key)) *id = vtag_id(json_text(key));
    else if (key || !json_id(json_get(top, "id"), id)) {
        return lines_fault(in, "wants {\"key\":\"NAME\"} or {\"id\":N}");
    }
    return LINES_LINE;
}

/* An id as vtag prints it, key:NAME, an object with "key" or "id", or the plain key of an item. */
static int only_line(search_job *s, lines *in, json *j, char *line, size_t n, uint64_t *id)
{
    vtag_item item;
    if (*line == '{') return only_json(in, j, line, n, id);
    if (!strncmp(line, "key:", 4)) {
        *id = vtag_id(line + 4);
        return LINES_LINE;
    }
    if (!cli_id(line, id)) {
        if (only_key(s, line, id)) return LINES_LINE;
        return lines_fault(in, "'%.80s' is no id, and no item's key; write key:NAME for a key that "
                           "may be missing", line);
    }
    if (vtag_get(s->st.snap, *id, &item)) {
        uint64_t other;
        if (only_key(s, line, &other)) {
            return lines_fault(in, "no item has id %s, but one has that key; write key:%s", line,
                               line);
        }
    }
    return LINES_LINE;
}

static int only_read(search_job *s)
{
    lines in;
    json j = {0};
    char *line;
    size_t n, count = 0, cap = 0, i, kept = 0;
    uint64_t *ids = cli_alloc(8);
    int got;
    s->ids.ids = ids;
    if (!lines_open(&in, s->only)) return cli_fail("%s", in.error);
    while ((got = lines_next(&in, &line, &n)) > 0) {
        if (!n) continue;
        if (count == cap) s->ids.ids = ids = cli_grow(ids, cap = cap * 2 + 64, sizeof *ids);
        got = only_line(s, &in, &j, line, n, &ids[count]);
        if (got < 0) break;
        count++;
    }
    if (got < 0) cli_fail("%s", in.error);
    lines_close(&in);
    json_free(&j);
    if (count) qsort(ids, count, sizeof *ids, only_order);
    for (i = 0; i < count; i++) {
        if (!kept || ids[kept - 1] != ids[i]) ids[kept++] = ids[i];
    }
    s->ids.n = kept;
    s->opts.only = &s->ids;
    return got < 0 ? CLI_FAILED : 0;
}

/* ---- Threads ------------------------------------------------------------------------- */

typedef struct share {       /* what one thread does of a block of queries */
    const search_job *s;
    size_t    from, n;       /* queries */
    uint32_t  part, parts;   /* of the rows */
    vtag_hit *hits;          /* hits[n * k], count[n] */
    size_t   *count;
    vtag_err  err;
    pthread_t thread;
    int       started;
} share;

static void *share_run(void *arg)
{
    share *h = arg;
    const search_job *s = h->s;
    vtag_search_opts o = s->opts;
    vtag_vec q = {0};
    o.part = h->part;
    o.parts = h->parts;
    q.tag = s->tag.tag;
    q.dim = s->tag.spec.dim;
    q.x = s->q.x + h->from * q.dim;
    h->err = vtag_search_many(s->st.snap, q, h->n, &o, (size_t)s->k, h->hits, h->count);
    return NULL;
}

/* The share of thread t in n queries from `from` on: some of the queries where they are
   many, else all of them on some of the rows. */
static void share_cut(const search_job *s, share *all, uint32_t t, size_t from, size_t n)
{
    share *h = &all[t];
    size_t first = n * t / s->threads;
    h->s = s;
    h->from = from;
    h->n = n;
    h->part = h->parts = 0;
    h->hits = s->hits + t * s->block * (size_t)s->k;
    h->count = s->counts + t * s->block;
    if (s->threads > 1 && n < SHARE_QUERIES * s->threads) {
        h->part = t;
        h->parts = s->threads;
    } else {
        h->from += first;
        h->n = n * (t + 1) / s->threads - first;
        h->hits = s->hits + first * (size_t)s->k;
        h->count = s->counts + first;
    }
}

/* Searches one block on all threads; the answers end up in the first share's places. */
static vtag_err block_search(const search_job *s, share *all, size_t from, size_t n)
{
    vtag_err err = VTAG_OK;
    uint32_t t;
    size_t i;
    for (t = 0; t < s->threads; t++) {
        share_cut(s, all, t, from, n);
        all[t].started = t && !pthread_create(&all[t].thread, NULL, share_run, &all[t]);
    }
    for (t = 0; t < s->threads; t++) {
        if (all[t].started) pthread_join(all[t].thread, NULL);
        else share_run(&all[t]);
        if (all[t].err) err = all[t].err;
    }
    for (t = 1; t < s->threads && all[t].parts && !err; t++) {
        for (i = 0; i < n; i++) {
            vtag_hit *into = all[0].hits + i * (size_t)s->k;
            const vtag_hit *more = all[t].hits + i * (size_t)s->k;
            all[0].count[i] = vtag_merge(into, all[0].count[i], more, all[t].count[i],
                                         (size_t)s->k);
        }
    }
    return err;
}

/* ---- Answers ------------------------------------------------------------------------- */

static void answer_print(const search_job *s, size_t i, const vtag_hit *hits, size_t n)
{
    cli_table t = {0};
    size_t j;
    if (s->q.n > 1) {
        if (s->q.names[i]) printf("%squery %s\n", i ? "\n" : "", s->q.names[i]);
        else printf("%squery %zu\n", i ? "\n" : "", i);
    }
    cli_row(&t, "rank\tdist\tid\t\ttext");
    for (j = 0; j < n; j++) {
        vtag_item item = {0};
        char name[80], text[72], part[24] = "";
        item.id = hits[j].id;
        if (vtag_get(s->st.snap, hits[j].id, &item)) item.id = hits[j].id;
        if (hits[j].part) snprintf(part, sizeof part, " part %u", hits[j].part);
        cli_row(&t, "%zu\t%.6f\t%s%s\t%s\t%s", j + 1, (double)hits[j].dist,
                item_name(name, sizeof name, &item), part, hits[j].stale ? "stale" : "",
                cli_line(text, sizeof text, item.size ? item.data : "", item.size));
    }
    cli_table_print(&t, "rrlll");
}

static void answer_json(const search_job *s, size_t i, const vtag_hit *hits, size_t n)
{
    out o;
    size_t j;
    out_start(&o, stdout);
    if (s->q.names[i]) out_str(&o, "query", s->q.names[i]);
    else out_u64(&o, "query", i);
    out_str(&o, "tag", s->tag.spec.name);
    out_open(&o, "hits", '[');
    for (j = 0; j < n; j++) {
        vtag_item item = {0};
        out_open(&o, NULL, '{');
        out_id(&o, "id", hits[j].id);
        if (!vtag_get(s->st.snap, hits[j].id, &item) && item.key) out_str(&o, "key", item.key);
        out_f32(&o, "dist", hits[j].dist);
        out_u64(&o, "part", hits[j].part);
        out_bool(&o, "stale", hits[j].stale);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    out_close(&o, '}');
}

static void put_le32(FILE *f, uint32_t x)
{
    unsigned char b[4] = {(unsigned char)x, (unsigned char)(x >> 8), (unsigned char)(x >> 16),
                          (unsigned char)(x >> 24)};
    fwrite(b, 1, 4, f);
}

static int answer_vecs(const search_job *s, const vtag_hit *hits, size_t n)
{
    size_t j;
    if (s->iout.f) put_le32(s->iout.f, (uint32_t)n);
    if (s->fout.f) put_le32(s->fout.f, (uint32_t)n);
    for (j = 0; j < n; j++) {
        uint32_t bits;
        if (s->iout.f && hits[j].id > INT32_MAX) {
            return cli_fail("%s: id %llu does not fit into int32; use --json", s->ivecs,
                            (unsigned long long)hits[j].id);
        }
        memcpy(&bits, &hits[j].dist, 4);
        if (s->iout.f) put_le32(s->iout.f, (uint32_t)hits[j].id);
        if (s->fout.f) put_le32(s->fout.f, bits);
    }
    return 0;
}

static int answer(const search_job *s, size_t i, const vtag_hit *hits, size_t n)
{
    if (s->iout.f || s->fout.f) {
        int rc = answer_vecs(s, hits, n);
        if (rc || !s->as_json) return rc;
    }
    if (s->as_json) answer_json(s, i, hits, n);
    else answer_print(s, i, hits, n);
    return 0;
}

/* ---- The command ------------------------------------------------------------------------ */

static int search_run(search_job *s)
{
    size_t from, i, n;
    share *all = cli_alloc(s->threads * sizeof *all);
    int rc = 0;
    s->block = s->q.n < SEARCH_BLOCK ? s->q.n : SEARCH_BLOCK;
    s->hits = cli_grow(NULL, s->threads * s->block * (size_t)s->k, sizeof *s->hits);
    s->counts = cli_grow(NULL, s->threads * s->block, sizeof *s->counts);
    for (from = 0; !rc && from < s->q.n; from += n) {
        vtag_err err;
        n = s->q.n - from < s->block ? s->q.n - from : s->block;
        err = block_search(s, all, from, n);
        if (err) rc = cli_error(err, "%s: tag '%s'", s->st.path, s->tag.spec.name);
        for (i = 0; !rc && i < n; i++)
            rc = answer(s, from + i, s->hits + i * (size_t)s->k, s->counts[i]);
    }
    free(s->hits);
    free(s->counts);
    free(all);
    return rc;
}

static int search_outputs(search_job *s)
{
    int rc = s->ivecs ? outfile_open(&s->iout, s->ivecs) : 0;
    return !rc && s->fvecs ? outfile_open(&s->fout, s->fvecs) : rc;
}

static int search_open(search_job *s, const char *file)
{
    vtag_stat stat;
    vtag_err err;
    int rc = cli_look(&s->st, file);
    if (!rc) rc = cli_tag(&s->st, s->given, &s->tag);
    if (!rc) rc = s->input ? queries_read(s) : queries_one(s);
    if (!rc && s->only) rc = only_read(s);
    if (rc) return rc;
    err = vtag_stats(s->st.snap, &stat);
    if (err) return cli_error(err, "%s", file);
    if (s->k > stat.rows) s->k = stat.rows ? stat.rows : 1; /* more there cannot be */
    if (s->has_max) {
        s->max = (float)s->max_dist;
        s->opts.max_dist = &s->max;
    }
    if (s->approx) s->opts.mode = VTAG_APPROX;
    return search_outputs(s);
}

static int search_check(const search_job *s, const char *file)
{
    const outfile_name dest[] = {{"--ivecs", s->ivecs}, {"--fvecs", s->fvecs}};
    const outfile_name in[] = {{"the store itself", file}, {"--queries", s->input},
                               {"--only", s->only}};
    if ((s->input != NULL) + (s->vector != NULL) + (s->text != NULL) != 1) {
        return cli_misuse("search: give one of --queries, --vector and --text");
    }
    if (!s->text && s->exec) return cli_misuse("search: --exec embeds the query of --text");
    if (!s->k) return cli_misuse("search: -k is at least 1");
    if (!s->threads || s->threads > 256) return cli_misuse("search: --threads is 1 to 256");
    return outfile_apart(dest, 2, in, 3);
}

static int search_do(search_job *s, const char *file)
{
    size_t i;
    int rc = search_open(s, file);
    if (!rc) rc = search_run(s);
    rc = outfile_ready(&s->iout, rc); /* both or none */
    rc = outfile_ready(&s->fout, rc);
    rc = outfile_close(&s->iout, rc);
    rc = outfile_close(&s->fout, rc);
    for (i = 0; i < s->q.n; i++) free(s->q.names[i]);
    free(s->q.names);
    free(s->q.x);
    free((uint64_t *)(uintptr_t)s->ids.ids);
    cli_close(&s->st);
    return rc;
}

int cmd_search(int argc, char **argv)
{
    const char *file;
    int rc;
    search_job s;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &s.given,
         "the queries' tag; only its rows are searched", NULL},
        {"--queries", "INPUT", CLI_STR, &s.input,
         ".fvecs .bvecs .npy .jsonl .tsv, - for standard input", NULL},
        {"--format", "F", CLI_STR, &s.format, "of INPUT, if its suffix does not tell", NULL},
        {"--header", NULL, CLI_FLAG, &s.header, "its first line of text is no row", NULL},
        {"--no-header", NULL, CLI_FLAG, &s.no_header, "it is one", NULL},
        {"--ignore", "NAME", CLI_LIST, &s.ignored, "drop this member of its JSON", NULL},
        {"--vector", "[X,...]", CLI_STR, &s.vector, "one query", NULL},
        {"--text", "TEXT", CLI_STR, &s.text, "one query, embedded by --exec", NULL},
        {"--exec", "COMMAND", CLI_STR, &s.exec,
         "a worker: {\"data\":TEXT} in, {\"vector\":[...]} out", NULL},
        EMBEDDER_OPT(s.embedders),
        EMBEDDER_TIMEOUT_OPT(s.timeout_ms),
        {"-k", "N", CLI_U64, &s.k, "hits of a query; 10", NULL},
        {"--approx", NULL, CLI_FLAG, &s.approx, "faster, may miss some", NULL},
        {"--effort", "N", CLI_U32, &s.opts.effort, "of --approx", NULL},
        {"--preview", NULL, CLI_FLAG, &s.opts.preview, "allow a candidate tag", NULL},
        {"--fresh-only", NULL, CLI_FLAG, &s.opts.fresh_only, "leave stale vectors out", NULL},
        {"--max-dist", "X", CLI_F64, &s.max_dist, "no hit is farther", &s.has_max},
        {"--only", "FILE", CLI_STR, &s.only,
         "search among these, one a line: id, key:NAME or {\"key\":..}", NULL},
        {"--threads", "N", CLI_U32, &s.threads, "1", NULL},
        {"--ivecs", "OUT", CLI_STR, &s.ivecs, "write the ids to a file, " OUTFILE_HELP, NULL},
        {"--fvecs", "OUT", CLI_STR, &s.fvecs,
         "write the distances to a file, in the same way", NULL},
        {"--json", NULL, CLI_FLAG, &s.as_json, "a JSON object a query", NULL},
        CLI_END};
    memset(&s, 0, sizeof s);
    s.k = 10;
    s.timeout_ms = WORKER_TIMEOUT_MS;
    s.threads = 1;
    rc = cli_parse(argc, argv, "Finds the nearest rows to each query, exactly unless asked "
                   "otherwise.", opts);
    if (rc < 0 && (rc = search_check(&s, file)) == 0) rc = search_do(&s, file);
    cli_list_free(&s.ignored);
    return rc;
}
