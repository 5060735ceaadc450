/* queryset.c - queries in JSON Lines, and their answers; see queryset.h. */
#include "queryset.h"

#include <stdlib.h>
#include <string.h>

#include "embedder.h"
#include "json.h"
#include "lines.h"
#include "rank.h"
#include "worker.h"

/* ---- Reading ------------------------------------------------------------------- */

static int qset_bad(const qset *s, uint64_t line, const char *what)
{
    return cli_fail("%s: line %llu: %s", s->path, (unsigned long long)line, what);
}

static int qset_id(const qset *s, qset_query *q, const json_value *v)
{
    char number[24];
    const char *text = json_text(v);
    if (!text && v && v->whole & JSON_U64) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)v->u.u64);
        text = number;
    }
    if (!text || !*text) return qset_bad(s, q->line, "wants an \"id\", a string or a whole number");
    q->id = cli_strdup(text);
    return 0;
}

static int qset_vec_add(const qset *s, qset_query *q, const char *tag, const json_value *v)
{
    qset_vec *to;
    size_t n;
    if (!json_is_numbers(v, &n) || !n || n > 32768) {
        return qset_bad(s, q->line, "a vector is an array of 1 to 32,768 numbers");
    }
    q->v = cli_grow(q->v, q->nv + 1, sizeof *q->v);
    to = &q->v[q->nv++];
    to->tag = tag ? cli_strdup(tag) : NULL;
    to->dim = (uint32_t)n;
    to->x = cli_alloc(n * sizeof *to->x);
    if (json_floats(v, to->x) < n) return qset_bad(s, q->line, "a number is too large");
    return 0;
}

static int qset_take(const qset *s, qset_query *q, const json_value *top)
{
    const json_value *text = json_get(top, "text"), *v = json_get(top, "vector"),
                     *all = json_get(top, "vectors");
    size_t i;
    int rc = qset_id(s, q, json_get(top, "id"));
    if (!rc && text && text->type == JSON_STRING) {
        char *copy = cli_alloc(text->n + 1);
        memcpy(copy, text->u.str, text->n);
        q->text.s = copy;
        q->text.n = text->n;
    }
    if (!rc && v) rc = qset_vec_add(s, q, json_text(json_get(top, "tag")), v);
    if (!rc && all && all->type != JSON_OBJECT) {
        rc = qset_bad(s, q->line, "\"vectors\" is an object: {\"TAG\":[...]}");
    }
    for (i = 0; !rc && all && i < all->n; i++) {
        rc = qset_vec_add(s, q, all->u.members[i].name, &all->u.members[i].value);
    }
    if (!rc && !q->text.s && !q->nv) {
        rc = qset_bad(s, q->line, "wants a \"text\", a \"vector\" or \"vectors\"");
    }
    return rc;
}

static int qset_line(qset *s, json *j, const char *line, size_t n, uint64_t number)
{
    const json_value *top = json_parse(j, line, n);
    if (!top) return qset_bad(s, number, j->error);
    if (s->n == s->cap) s->q = cli_grow(s->q, s->cap = s->cap * 2 + 64, sizeof *s->q);
    memset(&s->q[s->n], 0, sizeof *s->q);
    s->q[s->n].line = number;
    return qset_take(s, &s->q[s->n++], top);
}

static int qset_order(const void *a, const void *b)
{
    const qset_query *x = *(const qset_query *const *)a, *y = *(const qset_query *const *)b;
    int c = strcmp(x->id, y->id);
    return c ? c : (x->line > y->line) - (x->line < y->line);
}

static int qset_twice(const qset *s)
{
    const qset_query **all = cli_alloc((s->n + 1) * sizeof *all);
    size_t i;
    int rc = 0;
    for (i = 0; i < s->n; i++) all[i] = &s->q[i];
    if (s->n) qsort(all, s->n, sizeof *all, qset_order);
    for (i = 1; i < s->n && !rc; i++) {
        if (strcmp(all[i - 1]->id, all[i]->id)) continue;
        rc = qset_bad(s, all[i]->line, "its id was there before; give each query its own");
    }
    free(all);
    return rc;
}

int qset_read(qset *s, const char *path)
{
    json j = {0};
    lines in;
    char *text;
    size_t n;
    int rc = 0, got = 0;
    if (!lines_open(&in, path)) return cli_fail("%s", in.error);
    s->path = path;
    while (!rc && (got = lines_next(&in, &text, &n)) > 0) {
        if (text[strspn(text, " \t")]) rc = qset_line(s, &j, text, n, in.number);
    }
    if (!rc && got < 0) rc = cli_fail("%s", in.error);
    lines_close(&in);
    json_free(&j);
    if (!rc && !s->n) rc = cli_fail("%s: holds no query", path);
    return rc ? rc : qset_twice(s);
}

void qset_free(qset *s)
{
    size_t i, k;
    for (i = 0; i < s->n; i++) {
        for (k = 0; k < s->q[i].nv; k++) {
            free(s->q[i].v[k].tag);
            free(s->q[i].v[k].x);
        }
        free(s->q[i].v);
        free(s->q[i].id);
        free((char *)(uintptr_t)s->q[i].text.s);
    }
    free(s->q);
    s->q = NULL;
    s->n = s->cap = 0;
}

int qset_raw(const qset *s)
{
    size_t i, k;
    for (i = 0; i < s->n; i++) {
        for (k = 0; k < s->q[i].nv; k++) if (!s->q[i].v[k].tag) return 1;
    }
    return 0;
}

/* ---- Vectors ------------------------------------------------------------------- */

/* The vector that a query brings for a tag, or NULL. */
static const qset_vec *qset_own(const qset_query *q, const char *tag, int tags)
{
    size_t i;
    for (i = 0; i < q->nv; i++) {
        const qset_vec *v = &q->v[i];
        if (v->tag ? !strcmp(v->tag, tag) : tags == 1) return v;
    }
    return NULL;
}

static int qset_copy(const qset *s, const qset_query *q, const vtag_info *tag, const float *from,
                     uint32_t dim, float *to)
{
    if (dim != tag->spec.dim) {
        return cli_fail("%s: line %llu: query '%s' has %u numbers, tag '%s' has dim %u", s->path,
                        (unsigned long long)q->line, q->id, dim, tag->spec.name, tag->spec.dim);
    }
    memcpy(to, from, dim * sizeof *to);
    return 0;
}

/* Takes what the queries bring along, and lists the others in rest, up to a SIZE_MAX. */
static int qset_gather(const qset *s, const vtag_info *tag, int tags, qset_worker *how, float *x,
                       size_t *rest)
{
    size_t i, n = 0;
    int rc = 0;
    for (i = 0; i < s->n && !rc; i++) {
        const qset_query *q = &s->q[i];
        const qset_vec *own = qset_own(q, tag->spec.name, tags);
        if (own) {
            rc = qset_copy(s, q, tag, own->x, own->dim, x + i * tag->spec.dim);
        } else if (q->text.s) {
            rest[n++] = i;
            rc = embedder_for(how->embedders, tag->spec.name, &how->command);
            if (rc || how->command) continue;
            rc = cli_misuse("%s: %s: line %llu: query '%s' is a text; give the worker of '%s' with "
                            "%s", cli.cmd, s->path, (unsigned long long)q->line, q->id,
                            tag->spec.name, how->option);
        } else {
            rc = cli_fail("%s: line %llu: query '%s' has neither a vector of tag '%s' nor a text; "
                          "give \"vectors\":{\"%s\":[...]}", s->path,
                          (unsigned long long)q->line, q->id, tag->spec.name, tag->spec.name);
        }
    }
    rest[n] = SIZE_MAX;
    return rc;
}

static int qset_embed(const qset *s, const vtag_info *tag, const qset_worker *how, float *x,
                      const size_t *rest)
{
    size_t i, n = 0;
    cli_text *texts = cli_alloc((s->n + 1) * sizeof *texts);
    float **got = cli_alloc((s->n + 1) * sizeof *got);
    uint32_t *dim = cli_alloc((s->n + 1) * sizeof *dim);
    int rc;
    for (; rest[n] != SIZE_MAX; n++) texts[n] = s->q[rest[n]].text;
    rc = n ? worker_texts(how->command, how->timeout_ms, texts, n, got, dim) : 0;
    for (i = 0; i < n; i++) {
        if (!rc) {
            rc = qset_copy(s, &s->q[rest[i]], tag, got[i], dim[i], x + rest[i] * tag->spec.dim);
        }
        free(got[i]);
    }
    free(texts);
    free(got);
    free(dim);
    return rc;
}

int qset_vectors(const qset *s, const vtag_info *tag, int tags, const qset_worker *how, float **x)
{
    size_t *rest = cli_alloc((s->n + 1) * sizeof *rest);
    qset_worker own = *how;
    int rc;
    *x = cli_grow(NULL, s->n + 1, tag->spec.dim * sizeof **x);
    rc = qset_gather(s, tag, tags, &own, *x, rest);
    if (!rc) rc = qset_embed(s, tag, &own, *x, rest);
    free(rest);
    return rc;
}

/* ---- Answers ------------------------------------------------------------------- */

enum { QSET_BLOCK = 64 };    /* queries that share one reading of the rows */

static vtag_err qset_hits(const cli_store *st, const vtag_info *tag, const float *x, size_t nq,
                          size_t k, vtag_hit *hits, size_t *n)
{
    vtag_search_opts o = {0};
    vtag_vec q = {0};
    o.preview = 1;
    q.tag = tag->tag;
    q.dim = tag->spec.dim;
    q.x = x;
    return vtag_search_many(st->snap, q, nq, &o, k, hits, n);
}

/* One query over again, with more hits each time until they hold k items. */
static vtag_err qset_deeper(const cli_store *st, const vtag_info *tag, const float *x,
                            uint64_t skip, size_t deep, size_t k, uint64_t *ids, size_t *n)
{
    size_t rows = (size_t)tag->rows, count = deep;
    vtag_err err = VTAG_OK;
    while (!err && *n < k && count == deep && deep < rows) {
        vtag_hit *hits;
        deep = deep < rows / 4 ? deep * 4 : rows;
        hits = cli_grow(NULL, deep, sizeof *hits);
        err = qset_hits(st, tag, x, 1, deep, hits, &count);
        if (!err) *n = rank_items(hits, count, skip, ids, k);
        free(hits);
    }
    return err;
}

int qset_search(const cli_store *st, const vtag_info *tag, const float *x, size_t nq,
                const uint64_t *skip, size_t k, uint64_t *ids, size_t *n)
{
    size_t deep = (k + (skip != NULL)) * (tag->rows > tag->items ? 4 : 1), from, i;
    size_t block = nq < QSET_BLOCK ? nq : QSET_BLOCK, count[QSET_BLOCK];
    vtag_hit *hits;
    vtag_err err = VTAG_OK;
    if (deep > tag->rows) deep = tag->rows ? (size_t)tag->rows : 1;
    hits = cli_grow(NULL, deep * (block + 1), sizeof *hits);
    for (from = 0; from < nq && !err; from += block) {
        size_t some = nq - from < block ? nq - from : block;
        err = qset_hits(st, tag, x + from * tag->spec.dim, some, deep, hits, count);
        for (i = 0; i < some && !err; i++) {
            size_t q = from + i;
            uint64_t not = skip ? skip[q] : UINT64_MAX;
            n[q] = rank_items(hits + i * deep, count[i], not, ids + q * k, k);
            if (n[q] < k && count[i] == deep) {
                err = qset_deeper(st, tag, x + q * tag->spec.dim, not, deep, k, ids + q * k, &n[q]);
            }
        }
    }
    free(hits);
    return err ? cli_error(err, "%s: tag '%s'", st->path, tag->spec.name) : 0;
}
