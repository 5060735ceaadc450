/* cmd_fill.c - fill: takes vectors of pending items back in.

   Lines are read and parsed outside any batch; the writer lock is held only while what
   was parsed is applied, and at most about --chunk-time at once. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "json.h"
#include "lines.h"

/* ---- Records --------------------------------------------------------------------- */

typedef struct fill_record {
    vtag_item item;          /* key is ours */
    vtag_vec *v;             /* and v, with x behind it in one block */
    size_t    n;
    char     *error;         /* the worker's; then no vectors */
    uint64_t  line;
} fill_record;

typedef struct fill_job {
    cli_store    st;
    const char  *input;
    vtag_info    tag;
    lines        in;
    fill_record *r;          /* r[n]: parsed, not applied */
    size_t       n, cap;
    uint64_t     batch, chunk_ms;
    int          waive_errors;
    uint64_t     filled, vectors, changed, notfound, refused, errors, waived, commits;
    cli_progress progress;
} fill_job;

static void fill_drop(fill_job *f)
{
    size_t i;
    for (i = 0; i < f->n; i++) {
        free((char *)(uintptr_t)f->r[i].item.key);
        free(f->r[i].v);
        free(f->r[i].error);
    }
    f->n = 0;
}

static int fill_bad(const fill_job *f, const char *what)
{
    return cli_fail("%s: line %llu: %s; what came before it is in", f->input,
                    (unsigned long long)f->in.number, what);
}

static int fill_whole(const json_value *v, uint64_t most, uint64_t *n)
{
    if (!v || v->type != JSON_NUMBER || !(v->whole & JSON_U64) || v->u.u64 > most) return 0;
    *n = v->u.u64;
    return 1;
}

static int fill_identity(fill_job *f, const json_value *top, fill_record *r)
{
    const json_value *id = json_get(top, "id"), *key = json_get(top, "key"), *tag;
    if (key && key->type != JSON_NULL) {
        const char *text = json_text(key);
        if (!text || !*text || key->n > 255) return fill_bad(f, "\"key\" wants 1 to 255 bytes");
        r->item.key = cli_strdup(text);
        r->item.id = vtag_id(text);
    } else if (!json_id(id, &r->item.id) || r->item.id > UINT64_MAX - 1) {
        return fill_bad(f, "wants an \"id\" as vtag pending printed it, or a \"key\"");
    }
    if (!fill_whole(json_get(top, "rev"), UINT64_MAX, &r->item.rev) || !r->item.rev) {
        return fill_bad(f, "wants the \"rev\" that vtag pending printed");
    }
    tag = json_get(top, "tag");
    if (tag && tag->type != JSON_NULL && !json_is(tag, f->tag.spec.name)) {
        return fill_bad(f, "\"tag\" is another than --tag");
    }
    return 0;
}

/* Vector i of a record, whose room is there. */
static int fill_vector(fill_job *f, const json_value *v, fill_record *r, size_t i)
{
    char text[160];
    size_t n, bad, dim = f->tag.spec.dim;
    float *x = (float *)(r->v + r->n) + i * dim;
    if (!v || !json_is_numbers(v, &n)) return fill_bad(f, "wants a \"vector\" of numbers");
    if (n != dim) {
        snprintf(text, sizeof text, "the vector has %zu numbers, tag '%.80s' has dim %zu", n,
                 f->tag.spec.name, dim);
        return fill_bad(f, text);
    }
    bad = json_floats(v, x);
    if (bad < n) return fill_bad(f, "a number is too large for a vector");
    r->v[i].tag = f->tag.tag;
    r->v[i].dim = (uint32_t)dim;
    r->v[i].x = x;
    return 0;
}

static int fill_span(fill_job *f, const json_value *v, vtag_vec *vec)
{
    const json_value *off = json_get(v, "off"), *len = json_get(v, "len");
    uint64_t a = 0, b = 0;
    if ((off && !fill_whole(off, UINT32_MAX, &a)) || (len && !fill_whole(len, UINT32_MAX, &b))) {
        return fill_bad(f, "\"off\" and \"len\" want whole numbers");
    }
    vec->off = (uint32_t)a;
    vec->len = (uint32_t)b;
    return 0;
}

static int fill_vectors(fill_job *f, const json_value *top, fill_record *r)
{
    const json_value *one = json_get(top, "vector"), *many = json_get(top, "vectors");
    size_t i;
    int rc = 0;
    if (!one == !many) return fill_bad(f, "wants one of \"vector\", \"vectors\" and \"error\"");
    if (many && (many->type != JSON_ARRAY || !many->n)) {
        return fill_bad(f, "\"vectors\" wants objects with a \"vector\" each");
    }
    r->n = many ? many->n : 1;
    r->v = cli_alloc(r->n * (sizeof *r->v + f->tag.spec.dim * sizeof(float)));
    if (one) {
        rc = fill_vector(f, one, r, 0);
        return rc ? rc : fill_span(f, top, &r->v[0]);
    }
    for (i = 0; !rc && i < r->n; i++) {
        rc = fill_vector(f, json_get(&many->u.items[i], "vector"), r, i);
        if (!rc) rc = fill_span(f, &many->u.items[i], &r->v[i]);
    }
    return rc;
}

static int fill_parse(fill_job *f, const char *text, size_t n)
{
    json j = {0};
    fill_record *r;
    const json_value *top, *why;
    int rc;
    while (n && (text[n - 1] == '\r' || text[n - 1] == ' ')) n--;
    if (!n) return 0;
    if (f->n == f->cap) f->r = cli_grow(f->r, f->cap = f->cap * 2 + 64, sizeof *f->r);
    r = &f->r[f->n];
    memset(r, 0, sizeof *r);
    r->line = f->in.number;
    top = json_parse(&j, text, n);
    if (!top) rc = fill_bad(f, j.error);
    else if (top->type != JSON_OBJECT) rc = fill_bad(f, "wants an object");
    else rc = fill_identity(f, top, r);
    why = rc ? NULL : json_get(top, "error");
    if (why && why->type != JSON_NULL) {
        r->error = cli_strdup(json_text(why) ? json_text(why) : "error");
    } else if (!rc) {
        rc = fill_vectors(f, top, r);
    }
    json_free(&j);
    f->n++;
    if (!rc) return 0;
    free((char *)(uintptr_t)r->item.key);
    free(r->v);
    f->n--;
    return rc;
}

/* ---- Applying ---------------------------------------------------------------------- */

/* What the worker could not embed: named, and waived if asked to. */
static vtag_err fill_error(fill_job *f, const fill_record *r)
{
    char why[1025], name[300];
    vtag_err err;
    cli_line(why, sizeof why, r->error, strlen(r->error));
    if (f->errors++ < 10) {
        cli_warn("%s: line %llu: item %s: %s; %s", f->input, (unsigned long long)r->line,
                 item_name(name, sizeof name, &r->item), why,
                 f->waive_errors ? "waived" : "left pending");
    }
    if (!f->waive_errors) return VTAG_OK;
    err = vtag_waive(f->st.batch, &r->item, f->tag.tag, why);
    if (!err) f->waived++;
    return err;
}

static int fill_one(fill_job *f, const fill_record *r)
{
    vtag_err err = r->error ? fill_error(f, r)
                            : vtag_fill(f->st.batch, &r->item, r->v, r->n);
    char name[300];
    switch (err) {
    case VTAG_OK:
        if (!r->error) {
            f->filled++;
            f->vectors += r->n;
        }
        return 0;
    case VTAG_CHANGED: f->changed++; return 0;
    case VTAG_NOTFOUND: f->notfound++; return 0;
    case VTAG_VALUE:
        f->refused++;
        cli_error(err, "%s: line %llu: item %s", f->input, (unsigned long long)r->line,
                  item_name(name, sizeof name, &r->item));
        return 0;
    default:
        return cli_error(err, "%s: line %llu: item %s", f->input, (unsigned long long)r->line,
                         item_name(name, sizeof name, &r->item));
    }
}

/* Applies all that was parsed, in as many batches as --chunk-time asks for. */
static int fill_apply(fill_job *f)
{
    size_t i = 0;
    int rc = 0;
    while (!rc && i < f->n) {
        uint64_t until;
        rc = cli_begin(&f->st, 0);
        if (rc) break;
        until = cli_now() + f->chunk_ms;
        do rc = fill_one(f, &f->r[i++]);
        while (!rc && i < f->n && cli_now() < until);
        if (rc) {
            cli_abort(&f->st);
        } else {
            rc = cli_commit(&f->st);
            f->commits++;
        }
    }
    fill_drop(f);
    cli_progress_at(&f->progress, f->filled);
    return rc;
}

static int fill_run(fill_job *f)
{
    int rc = 0, bad = 0, got = LINES_LINE;
    while (!rc && !bad && got != LINES_END) {
        char *text;
        size_t n;
        uint64_t until = cli_now() + f->chunk_ms;
        while (!bad && f->n < f->batch) {
            got = lines_until(&f->in, until, &text, &n);
            if (got == LINES_LATE && !f->n) until = cli_now() + f->chunk_ms;
            else if (got != LINES_LINE) break;
            else bad = fill_parse(f, text, n);
        }
        if (got < 0) bad = cli_stopped() ? 1 : cli_fail("%s; what came before it is in", f->in.error);
        rc = fill_apply(f);
    }
    return rc ? rc : bad;
}

static int fill_report(const fill_job *f, int as_json)
{
    char n[CLI_TEXT], v[CLI_TEXT];
    out o;
    if (as_json) {
        out_start(&o, stdout);
        out_str(&o, "tag", f->tag.spec.name);
        out_u64(&o, "filled", f->filled);
        out_u64(&o, "vectors", f->vectors);
        out_u64(&o, "changed", f->changed);
        out_u64(&o, "notfound", f->notfound);
        out_u64(&o, "refused", f->refused);
        out_u64(&o, "errors", f->errors);
        out_u64(&o, "waived", f->waived);
        out_u64(&o, "commits", f->commits);
        out_close(&o, '}');
        return 0;
    }
    printf("filled %s items (%s vectors) under %s", cli_count(n, f->filled),
           cli_count(v, f->vectors), f->tag.spec.name);
    if (f->changed) printf("; %s changed since and stay pending", cli_count(n, f->changed));
    if (f->notfound) printf("; %s not found", cli_count(n, f->notfound));
    if (f->refused) printf("; %s refused", cli_count(n, f->refused));
    if (f->errors) printf("; %s with an error", cli_count(n, f->errors));
    if (f->waived) printf(", %s of them waived", cli_count(n, f->waived));
    putchar('\n');
    return 0;
}

static int fill_open(fill_job *f, const char *file, const char *tag)
{
    vtag_cover c;
    vtag_err err;
    int rc;
    if (!lines_open(&f->in, f->input)) return cli_fail("%s", f->in.error);
    f->input = f->in.name;
    rc = cli_change(&f->st, file);
    if (!rc) rc = cli_tag(&f->st, tag, &f->tag);
    if (rc) return rc;
    if (f->tag.role == VTAG_GONE) return cli_error(VTAG_RETIRED, "%s: tag '%s'", file, tag);
    err = vtag_coverage(f->st.snap, f->tag.tag, 0, &c);
    if (err) return cli_error(err, "%s", file);
    cli_progress_start(&f->progress, "fill", "items", c.stale + c.missing + c.outside);
    return 0;
}

int cmd_fill(int argc, char **argv)
{
    const char *file, *tag;
    int as_json = 0, rc;
    fill_job f;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"INPUT", NULL, CLI_ARG, &f.input, "JSON Lines, - for standard input", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "the vectors' tag", NULL},
        {"--batch", "N", CLI_U64, &f.batch, "items in a commit at most; 1,000", NULL},
        {"--chunk-time", "DURATION", CLI_SPAN, &f.chunk_ms, "of a commit, about; 0.5s", NULL},
        {"--waive-errors", NULL, CLI_FLAG, &f.waive_errors, "waive what has an \"error\"", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "the counts as a JSON object", NULL},
        CLI_END};
    memset(&f, 0, sizeof f);
    f.batch = 1000;
    f.chunk_ms = 500;
    rc = cli_parse(argc, argv, "Takes lines {\"id\" or \"key\",\"rev\",\"vector\":[...]} in, or "
                   "\"vectors\":[{\"vector\",\n\"off\",\"len\"}], or \"error\". An item that "
                   "changed since is left pending.", opts);
    if (rc >= 0) return rc;
    if (!f.batch || !f.chunk_ms) return cli_misuse("fill: --batch and --chunk-time are not 0");
    rc = fill_open(&f, file, tag);
    if (!rc) {
        cli_catch();
        rc = fill_run(&f);
        cli_progress_end(&f.progress);
        fill_report(&f, as_json);
        if (!rc && f.refused) rc = CLI_FAILED;
        if (cli_stopped()) {
            rc = cli_fail("%s: interrupted; what was committed stays, run it again to go on",
                          f.input);
        }
    }
    cli_close(&f.st);
    free(f.r);
    lines_close(&f.in);
    return rc;
}
