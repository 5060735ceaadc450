/* cmd_restore.c - restore: a new file from a dump, in one batch; see cmd_dump.c. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "dump.h"
#include "json.h"
#include "lines.h"

typedef struct known_tag { char *name; vtag_tag tag; uint32_t dim; } known_tag;

typedef struct restore {
    cli_store   st;
    const char *input;
    uint64_t    line;
    uint64_t    hash;        /* of the lines before this one */
    uint64_t    kinds[DUMP_KINDS]; /* lines of each kind that came */
    int         ended;       /* the end came */
    int         loose;       /* and need not */
    json        j;
    const json_value *top;   /* of this line */
    int         bad;         /* a member was wrong; it is reported */
    char       *texts[16];   /* decoded from base64 for this line */
    size_t      ntexts;
    known_tag  *tags;
    size_t      ntags;
    vtag_item   item;        /* whose parts are gathered: v[nv] of parts */
    vtag_vec   *v;
    size_t      nv;
    uint32_t    parts;
    cli_progress progress;
} restore;

/* ---- Members of a line -------------------------------------------------------------- */

static int restore_bad(restore *r, const char *what, const char *name)
{
    if (!r->bad) cli_fail("%s: line %llu: %s \"%s\"; nothing was restored", r->input,
                          (unsigned long long)r->line, what, name);
    r->bad = 1;
    return CLI_FAILED;
}

static uint64_t get_u64(restore *r, const json_value *in, const char *name, uint64_t most)
{
    const json_value *v = json_get(in, name);
    if (!v || v->type != JSON_NUMBER || !(v->whole & JSON_U64) || v->u.u64 > most) {
        restore_bad(r, "wants a whole number in range as", name);
        return 0;
    }
    return v->u.u64;
}

static uint32_t get_u32(restore *r, const json_value *in, const char *name)
{
    return (uint32_t)get_u64(r, in, name, UINT32_MAX);
}

static double get_f64(restore *r, const json_value *in, const char *name)
{
    const json_value *v = json_get(in, name);
    if (v && v->type == JSON_NUMBER) return v->num;
    if (!v || v->type != JSON_NULL) restore_bad(r, "wants a number as", name);
    return 0;
}

static int get_bool(restore *r, const json_value *in, const char *name)
{
    const json_value *v = json_get(in, name);
    if (v && v->type == JSON_BOOL) return v->u.truth;
    restore_bad(r, "wants true or false as", name);
    return 0;
}

/* The bytes of NAME, or of NAME_base64; NULL if there is neither, or null. */
static const char *get_bytes(restore *r, const json_value *in, const char *name, size_t *n)
{
    char longer[64];
    const json_value *v = json_get(in, name);
    int coded = !v;
    snprintf(longer, sizeof longer, "%s_base64", name);
    if (coded) v = json_get(in, longer);
    *n = 0;
    if (!v || v->type == JSON_NULL) return NULL;
    if (v->type != JSON_STRING) {
        restore_bad(r, "wants a string as", name);
        return NULL;
    }
    *n = v->n;
    if (!coded) return v->u.str;
    if (r->ntexts < sizeof r->texts / sizeof *r->texts) {
        char *p = r->texts[r->ntexts++] = cli_alloc(JSON_BASE64_BYTES(v->n) + 1);
        if (json_unbase64(p, n, v->u.str, v->n)) {
            p[*n] = '\0';
            return p;
        }
    }
    restore_bad(r, "wants base64 as", longer);
    return NULL;
}

static const char *get_text(restore *r, const json_value *in, const char *name)
{
    size_t n;
    const char *s = get_bytes(r, in, name, &n);
    if (s && strlen(s) != n) {
        restore_bad(r, "there is a zero byte in", name);
        return NULL;
    }
    return s;
}

static const char *must_text(restore *r, const json_value *in, const char *name)
{
    const char *s = get_text(r, in, name);
    if (!s) restore_bad(r, "wants a string as", name);
    return s ? s : "";
}

static const known_tag *get_tag(restore *r, const char *name)
{
    const char *s = must_text(r, r->top, name);
    size_t i;
    for (i = 0; i < r->ntags; i++) {
        if (!strcmp(r->tags[i].name, s)) return &r->tags[i];
    }
    restore_bad(r, "knows no such tag as that of", name);
    return NULL;
}

static uint64_t get_id(restore *r)
{
    uint64_t id = 0;
    if (!json_id(json_get(r->top, "id"), &id) || id == UINT64_MAX) {
        restore_bad(r, "wants the id of an item as", "id");
    }
    return id;
}

/* The tag of an event, which may have none. */
static vtag_tag get_tag_may(restore *r, const char *name)
{
    const json_value *v = json_get(r->top, name);
    const known_tag *t = !v || v->type == JSON_NULL ? NULL : get_tag(r, name);
    return t ? t->tag : 0;
}

static void get_gate(restore *r, const char *name, vtag_gate *g)
{
    const json_value *in = json_get(r->top, name);
    memset(g, 0, sizeof *g);
    g->min_ppm = get_u32(r, in, "min_ppm");
    g->max_waived_ppm = get_u32(r, in, "max_waived_ppm");
    g->max_age_ms = get_u64(r, in, "max_age_ms", UINT64_MAX);
    g->score = get_text(r, in, "score");
    g->has_min = json_get(in, "min_score") != NULL;
    g->has_drop = json_get(in, "max_drop") != NULL;
    if (g->has_min) g->min_score = get_f64(r, in, "min_score");
    if (g->has_drop) g->max_drop = get_f64(r, in, "max_drop");
    g->min_queries = get_u32(r, in, "min_queries");
    if (json_get(in, "min_audit_ppm")) g->min_audit_ppm = get_u32(r, in, "min_audit_ppm");
    if (json_get(in, "min_recall_ppm")) g->min_recall_ppm = get_u32(r, in, "min_recall_ppm");
}

static void get_cover(restore *r, vtag_cover *c)
{
    const json_value *in = json_get(r->top, "cover");
    c->base = get_u64(r, in, "base", UINT64_MAX);
    c->fresh = get_u64(r, in, "fresh", UINT64_MAX);
    c->stale = get_u64(r, in, "stale", UINT64_MAX);
    c->missing = get_u64(r, in, "missing", UINT64_MAX);
    c->waived = get_u64(r, in, "waived", UINT64_MAX);
    c->outside = get_u64(r, in, "outside", UINT64_MAX);
    c->extra = get_u64(r, in, "extra", UINT64_MAX);
    c->oldest = get_u64(r, in, "oldest", UINT64_MAX);
}

static int restore_engine(restore *r, vtag_err err)
{
    if (r->bad) return CLI_FAILED;
    if (!err) return 0;
    r->bad = 1;
    return cli_error(err, "%s: line %llu, nothing was restored", r->input,
                     (unsigned long long)r->line);
}

/* ---- Kinds of lines --------------------------------------------------------------------- */

static int restore_file(restore *r)
{
    vtag_stat stat;
    memset(&stat, 0, sizeof stat);
    if (get_u64(r, r->top, "version", UINT64_MAX) != 1) {
        return restore_bad(r, "this vtag reads dumps of 1 as", "version");
    }
    stat.commit = get_u64(r, r->top, "commit", UINT64_MAX);
    stat.revision = get_u64(r, r->top, "revision", UINT64_MAX);
    stat.time = get_u64(r, r->top, "time", UINT64_MAX);
    stat.rolled_back = get_bool(r, r->top, "rolled_back");
    if (r->bad || !stat.commit) return r->bad;
    return restore_engine(r, vtag_restore_stat(r->st.batch, &stat));
}

static int restore_choices(restore *r, vtag_info *info)
{
    int role = cli_role_of(must_text(r, r->top, "role"));
    const char *metric = must_text(r, r->top, "metric"), *codec = must_text(r, r->top, "codec");
    if (r->bad) return CLI_FAILED;
    if (role < 0) return restore_bad(r, "knows no such", "role");
    info->role = (vtag_role)role;
    if (cli_metric(metric, &info->spec.metric) || cli_codec(codec, &info->spec.codec)) {
        r->bad = 1;
    }
    return r->bad;
}

static int restore_tag(restore *r)
{
    vtag_info info;
    vtag_tag number, got;
    known_tag *t;
    vtag_err err;
    memset(&info, 0, sizeof info);
    info.spec.name = must_text(r, r->top, "tag");
    number = get_u32(r, r->top, "number");
    info.spec.dim = get_u32(r, r->top, "dim");
    info.spec.fingerprint = get_u64(r, r->top, "fingerprint", UINT64_MAX);
    info.spec.flags = get_u32(r, r->top, "flags");
    info.spec.note = get_text(r, r->top, "note");
    info.alias = get_text(r, r->top, "alias");
    info.created = get_u64(r, r->top, "created", UINT64_MAX);
    info.activated = get_u64(r, r->top, "activated", UINT64_MAX);
    info.writes_with = get_u64(r, r->top, "writes_with", UINT64_MAX);
    info.writes_without = get_u64(r, r->top, "writes_without", UINT64_MAX);
    if (json_get(r->top, "written")) info.written = get_u64(r, r->top, "written", UINT64_MAX);
    info.kept_ms = get_u64(r, r->top, "kept_ms", UINT64_MAX);
    info.forced = get_bool(r, r->top, "forced");
    if (restore_choices(r, &info)) return CLI_FAILED;
    err = vtag_restore_tag(r->st.batch, &info);
    if (!err && info.role != VTAG_GONE) {
        err = vtag_declare(r->st.batch, &info.spec, &got);
        if (!err && got != number) {
            return restore_bad(r, "tags are not in their order by", "number");
        }
    }
    if (err) return restore_engine(r, err);
    r->tags = cli_grow(r->tags, r->ntags + 1, sizeof *r->tags);
    t = &r->tags[r->ntags++];
    t->name = cli_strdup(info.spec.name);
    t->tag = number;
    t->dim = info.spec.dim;
    return 0;
}

static int restore_policy(restore *r)
{
    vtag_policy p;
    memset(&p, 0, sizeof p);
    get_gate(r, "gate", &p.gate);
    p.retain_ms = get_u64(r, r->top, "retain_ms", UINT64_MAX);
    p.retain_scores = get_u32(r, r->top, "retain_scores");
    p.hold = get_text(r, r->top, "hold");
    if (r->bad) return CLI_FAILED;
    return restore_engine(r, vtag_policy_set(r->st.batch, &p, NULL));
}

static int restore_meta(restore *r)
{
    size_t n;
    const char *name = must_text(r, r->top, "name");
    const char *value = get_bytes(r, r->top, "value", &n);
    if (!r->bad && !value) return restore_bad(r, "wants a string as", "value");
    if (r->bad) return CLI_FAILED;
    return restore_engine(r, vtag_meta_set(r->st.batch, name, value, n));
}

static int restore_item(restore *r)
{
    vtag_item item;
    uint64_t id;
    size_t n;
    memset(&item, 0, sizeof item);
    item.id = id = get_id(r);
    item.key = get_text(r, r->top, "key");
    item.rev = get_u64(r, r->top, "rev", UINT64_MAX);
    item.time = get_u64(r, r->top, "time", UINT64_MAX);
    item.data = get_bytes(r, r->top, "data", &n);
    item.size = n;
    if (r->bad) return CLI_FAILED;
    if (item.key && vtag_id(item.key) != id) return restore_bad(r, "the id is not that of", "key");
    return restore_engine(r, vtag_put(r->st.batch, &item, NULL, 0));
}

static void restore_gather_end(restore *r)
{
    size_t i;
    for (i = 0; i < r->nv; i++) free((float *)(uintptr_t)r->v[i].x);
    r->nv = 0;
}

/* Takes one part; the last one of its item hands all of them over. */
static int restore_row(restore *r)
{
    const known_tag *t = get_tag(r, "tag");
    uint64_t id = get_id(r);
    uint64_t rev = get_u64(r, r->top, "rev", UINT64_MAX);
    uint32_t part = get_u32(r, r->top, "part"), parts = get_u32(r, r->top, "parts");
    const json_value *code = json_get(r->top, "vector");
    vtag_vec *v;
    size_t n = 0;
    void *x;
    int rc;
    if (r->bad) return CLI_FAILED;
    if (part != r->nv || part >= parts || (part && (id != r->item.id || rev != r->item.rev ||
        t->tag != r->v[0].tag || parts != r->parts))) {
        return restore_bad(r, "parts of a row are not in their order by", "part");
    }
    if (!code || code->type != JSON_STRING) return restore_bad(r, "wants base64 as", "vector");
    x = cli_alloc(JSON_BASE64_BYTES(code->n) + 1);
    r->v = cli_grow(r->v, r->nv + 1, sizeof *r->v);
    v = memset(&r->v[r->nv++], 0, sizeof *r->v);
    v->x = x;
    v->tag = t->tag;
    v->dim = t->dim;
    if (json_get(r->top, "off")) v->off = get_u32(r, r->top, "off");
    if (json_get(r->top, "len")) v->len = get_u32(r, r->top, "len");
    if (!json_unbase64(x, &n, code->u.str, code->n) || n != t->dim * sizeof(float)) {
        return restore_bad(r, "wants base64 of as many floats as the tag's dim as", "vector");
    }
    r->item.id = id;
    r->item.rev = rev;
    r->parts = parts;
    if (r->bad) return CLI_FAILED;
    if (r->nv < parts) return 0;
    rc = restore_engine(r, vtag_fill(r->st.batch, &r->item, r->v, r->nv));
    restore_gather_end(r);
    return rc;
}

static int restore_waiver(restore *r)
{
    const known_tag *t = get_tag(r, "tag");
    const char *why = must_text(r, r->top, "why");
    vtag_item item;
    memset(&item, 0, sizeof item);
    item.id = get_id(r);
    item.rev = get_u64(r, r->top, "rev", UINT64_MAX);
    if (r->bad) return CLI_FAILED;
    return restore_engine(r, vtag_waive(r->st.batch, &item, t->tag, why));
}

static void get_run(restore *r, vtag_event *e)
{
    const json_value *in = json_get(r->top, "audit");
    e->by = get_text(r, r->top, "by");
    e->command = get_text(r, r->top, "command");
    if (json_get(r->top, "in")) {
        e->in = get_u64(r, r->top, "in", UINT64_MAX);
        e->filled = get_u64(r, r->top, "filled", UINT64_MAX);
        e->waived = get_u64(r, r->top, "given_up", UINT64_MAX);
        e->failed_items = get_u64(r, r->top, "failed_items", UINT64_MAX);
    }
    if (!in) return;
    e->audit.sampled = get_u64(r, in, "sampled", UINT64_MAX);
    e->audit.untestable = get_u64(r, in, "untestable", UINT64_MAX);
    e->audit.below = get_u64(r, in, "below", UINT64_MAX);
    e->audit.worst = get_f64(r, in, "worst");
    e->audit.from = get_u64(r, in, "from", UINT64_MAX);
    e->audit.to = get_u64(r, in, "to", UINT64_MAX);
    e->audit.written = get_u64(r, in, "written", UINT64_MAX);
}

static int restore_event(restore *r)
{
    vtag_event e;
    int kind;
    memset(&e, 0, sizeof e);
    e.seq = get_u64(r, r->top, "seq", UINT64_MAX);
    e.time = get_u64(r, r->top, "time", UINT64_MAX);
    kind = cli_kind_of(must_text(r, r->top, "event"));
    if (kind < 0) return restore_bad(r, "knows no such", "event");
    e.kind = (vtag_kind)kind;
    e.tag = get_tag_may(r, "tag");
    e.base = get_tag_may(r, "base");
    e.value = get_f64(r, r->top, "value");
    e.base_value = get_f64(r, r->top, "base_value");
    e.queries = get_u64(r, r->top, "queries", UINT64_MAX);
    e.commit = get_u64(r, r->top, "commit", UINT64_MAX);
    e.flags = get_u32(r, r->top, "flags");
    e.failed = get_u32(r, r->top, "failed");
    get_gate(r, "used", &e.used);
    get_cover(r, &e.cover);
    e.name = get_text(r, r->top, "name");
    e.text = get_text(r, r->top, "text");
    get_run(r, &e);
    if (r->bad) return CLI_FAILED;
    return restore_engine(r, vtag_note(r->st.batch, &e));
}

/* Whether what came is what was written. */
static int restore_end(restore *r)
{
    const json_value *counts = json_get(r->top, "counts");
    const char *text = must_text(r, r->top, "hash");
    char hash[24];
    size_t i;
    r->ended = 1;
    if (r->bad || r->loose) return r->bad;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)r->hash);
    for (i = 0; i < DUMP_END; i++) {
        uint64_t n = get_u64(r, counts, dump_kinds[i], UINT64_MAX);
        if (!r->bad && n != r->kinds[i]) {
            return restore_bad(r, "counts other lines than came, of the kind", dump_kinds[i]);
        }
    }
    if (!r->bad && get_u64(r, r->top, "lines", UINT64_MAX) != r->line - 1) {
        return restore_bad(r, "counts other lines than came, as", "lines");
    }
    if (r->bad || !strcmp(text, hash)) return r->bad;
    return restore_bad(r, "a line before it was changed, which shows in the", "hash");
}

/* ---- All lines --------------------------------------------------------------------------- */

static int restore_dispatch(restore *r)
{
    static int (*const run[DUMP_KINDS])(restore *) = {
        restore_file, restore_tag, restore_policy, restore_meta, restore_item, restore_row,
        restore_waiver, restore_event, restore_end};
    const json_value *kind = json_get(r->top, "kind");
    size_t i;
    if (r->ended) return restore_bad(r, "a line follows that of kind", "end");
    for (i = 0; i < DUMP_KINDS; i++) {
        if (!json_is(kind, dump_kinds[i])) continue;
        if (r->line == 1 && i != DUMP_FILE) {
            return restore_bad(r, "is no dump: its first line is not of the kind", "file");
        }
        if (r->nv && i != DUMP_ROW) return restore_bad(r, "a row lacks its last", "part");
        r->kinds[i]++;
        return run[i](r);
    }
    return restore_bad(r, "wants one of a dump's kinds as", "kind");
}

static int restore_line(restore *r, const char *text, size_t n)
{
    int rc;
    r->line++;
    r->top = json_parse(&r->j, text, n);
    if (!r->top) {
        r->bad = 1;
        return cli_fail("%s: line %llu: %s; nothing was restored", r->input,
                        (unsigned long long)r->line, r->j.error);
    }
    rc = restore_dispatch(r);
    while (r->ntexts) free(r->texts[--r->ntexts]);
    r->hash = lines_hash(lines_hash(r->hash, text, n), "\n", 1);
    return rc ? rc : r->bad;
}

/* At the end of the input: is it that of the dump? */
static int restore_whole(restore *r, const lines *in)
{
    if (!r->line) return cli_fail("%s: is empty; a dump begins with a line of kind file", r->input);
    if (r->nv) {
        return cli_fail("%s: ends inside the parts of a row; nothing was restored", r->input);
    }
    if (r->loose || (r->ended && !in->unended)) return 0;
    if (r->ended) {
        return cli_fail("%s: line %llu: its last line lacks its line feed, so it is cut; nothing "
                        "was restored", r->input, (unsigned long long)r->line);
    }
    return cli_fail("%s: ends at line %llu without the line of kind \"end\": it is cut, or of an "
                    "older vtag; nothing was restored, --no-trailer takes what is there unchecked",
                    r->input, (unsigned long long)r->line);
}

static int restore_read(restore *r, lines *in)
{
    char *line;
    size_t n;
    int got, rc = 0;
    r->hash = LINES_HASH;
    cli_progress_start(&r->progress, "restore", "lines", 0);
    while (!rc && (got = lines_next(in, &line, &n)) != 0) {
        rc = got < 0 ? cli_fail("%s; nothing was restored", in->error) : restore_line(r, line, n);
        cli_progress_at(&r->progress, r->line);
        if (!rc && cli_stopped()) rc = cli_fail("%s: interrupted; nothing was restored", r->input);
    }
    cli_progress_end(&r->progress);
    json_free(&r->j);
    return rc ? rc : restore_whole(r, in);
}

static int restore_into(restore *r, const char *file, lines *in)
{
    vtag_begin_opts o = {0};
    vtag_err err;
    int rc = cli_open(&r->st, file, VTAG_NEW);
    if (rc) return rc;
    cli_catch();
    o.restore = 1;
    o.wait_ms = cli.wait_ms;
    err = vtag_begin(r->st.db, &o, &r->st.batch);
    if (err) rc = cli_error(err, "%s", file);
    else cli_hold(&r->st);
    if (!rc) rc = restore_read(r, in);
    if (!rc) rc = cli_commit(&r->st);
    restore_gather_end(r);
    if (rc) cli_discard(&r->st, 0);
    else cli_close(&r->st);
    if (!rc) printf("%s: %llu items, %llu vectors, %llu events\n", file,
                    (unsigned long long)r->kinds[DUMP_ITEM], (unsigned long long)r->kinds[DUMP_ROW],
                    (unsigned long long)r->kinds[DUMP_EVENT]);
    return rc;
}

int cmd_restore(int argc, char **argv)
{
    const char *file;
    lines in;
    int rc;
    restore r;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the new store", NULL},
        {"INPUT", NULL, CLI_ARG, &r.input, "a dump, - for standard input", NULL},
        {"--no-trailer", NULL, CLI_FLAG, &r.loose,
         "do without the last line's check, of old or edited dumps", NULL},
        CLI_END};
    memset(&r, 0, sizeof r);
    rc = cli_parse(argc, argv, "Makes a new file from a dump, all of it or nothing. The last line of\n"
                   "a dump counts and hashes those before it, and all must agree. With --no-trailer\n"
                   "it may be missing and is not looked at: a dump that was cut between two lines,\n"
                   "or changed, then passes for a whole one.", opts);
    if (rc >= 0) return rc;
    if (!lines_open(&in, r.input)) return cli_fail("%s", in.error);
    r.input = in.name;
    rc = restore_into(&r, file, &in);
    lines_close(&in);
    while (r.ntags) free(r.tags[--r.ntags].name);
    free(r.tags);
    free(r.v);
    return rc;
}
