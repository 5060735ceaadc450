/* cmd_doctor.c - doctor: what is wrong with the vectors, the write paths and the
   embedders of a store; each finding with what to do about it. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "embedder.h"
#include "json.h"
#include "worker.h"

enum { DOCTOR_PAGE = 256, DOCTOR_TEXT = 600 };

#define DOCTOR_UNIT 1e-3     /* a norm is 1 within this */
#define DOCTOR_COSINE 0.995  /* least agreement of a probe */

typedef struct print { uint64_t hash, id; } print; /* of a vector, and whose it is */

typedef struct doctor {
    cli_store   st;
    int         as_json, findings;
    vtag_info  *tags;
    size_t      n;
    uint64_t    rows;        /* looked at */
    const char *exec_active, *exec_standby, *embedders;
    uint64_t    timeout_ms;
    int         dry;
    struct { const char *tag; int asked, answers; double cosine; } embedder[2]; /* active, standby */
} doctor;

static unsigned long long ull(uint64_t n) { return n; }

CLI_PRINTF(4, 5)
static void finding(doctor *d, const char *check, const char *tag, const char *fmt, ...)
{
    char text[DOCTOR_TEXT];
    va_list ap;
    out o;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->findings++;
    if (!d->as_json) {
        printf("%s: %s: %s\n", check, tag, text);
        return;
    }
    out_start(&o, stdout);
    out_str(&o, "check", check);
    out_str(&o, "tag", tag);
    out_str(&o, "finding", text);
    out_close(&o, '}');
}

static const char *doctor_item(const doctor *d, uint64_t id, char *buf, size_t size)
{
    vtag_item item = {0};
    if (vtag_get(d->st.snap, id, &item)) item.id = id;
    return item_name(buf, size, &item);
}

/* ---- Vectors: norms, zeros, duplicates ------------------------------------------- */

typedef struct survey {      /* of one tag's vectors */
    const vtag_info *tag;
    float    *x;
    uint64_t  rows, units, zeros, odd; /* odd: neither zero nor of length 1 */
    uint64_t  zero_id, odd_id;
    double    odd_norm;
    print    *prints;
    size_t    n, cap;
} survey;

static uint64_t survey_hash(const float *x, uint32_t dim)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    uint32_t i, bits;
    for (i = 0; i < dim; i++) {
        memcpy(&bits, &x[i], 4);
        h = (h ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h;
}

static void survey_add(survey *s, uint64_t id)
{
    double sum = 0, norm;
    uint32_t i, dim = s->tag->spec.dim;
    for (i = 0; i < dim; i++) sum += (double)s->x[i] * (double)s->x[i];
    norm = sqrt(sum);
    s->rows++;
    if (!(norm > 0)) {
        if (!s->zeros++) s->zero_id = id;
        return;
    }
    if (fabs(norm - 1) <= DOCTOR_UNIT) {
        s->units++;
    } else if (!s->odd++) {
        s->odd_id = id;
        s->odd_norm = norm;
    }
    if (s->n == s->cap) s->prints = cli_grow(s->prints, s->cap = s->cap * 2 + 256, sizeof *s->prints);
    s->prints[s->n].hash = survey_hash(s->x, dim);
    s->prints[s->n++].id = id;
}

/* All parts of an item. */
static vtag_err survey_item(const doctor *d, survey *s, uint64_t id)
{
    vtag_row row;
    uint32_t part, parts = 1;
    for (part = 0; part < parts; part++) {
        vtag_err err = vtag_vector(d->st.snap, id, s->tag->tag, part, s->x, s->tag->spec.dim, &row);
        if (err == VTAG_NOTFOUND) return VTAG_OK;
        if (err) return err;
        parts = row.parts;
        survey_add(s, id);
    }
    return VTAG_OK;
}

static int survey_walk(const doctor *d, survey *s)
{
    vtag_item page[DOCTOR_PAGE];
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    cli_progress p;
    cli_progress_start(&p, s->tag->spec.name, "rows", s->tag->rows);
    while (!err && n) {
        err = vtag_items(d->st.snap, s->tag->tag, VTAG_ALL & ~VTAG_MISSING, &cursor, page,
                         DOCTOR_PAGE, &n);
        for (i = 0; i < n && !err; i++) err = survey_item(d, s, page[i].id);
        cli_progress_at(&p, s->rows);
    }
    cli_progress_end(&p);
    return err ? cli_error(err, "%s: tag '%s'", d->st.path, s->tag->spec.name) : 0;
}

/* Whether the name says that vectors have length 1. */
static int survey_says_unit(const char *name)
{
    const char *at = strstr(name, "/norm");
    return at && (!at[5] || at[5] == '-' || at[5] == '/');
}

static void survey_norms(doctor *d, const survey *s)
{
    const char *name = s->tag->spec.name;
    char item[80];
    int by_name = survey_says_unit(name);
    if (s->zeros) {
        finding(d, "zero", name, "%llu vectors are all zero, the first of item %s; embed them again "
                "or waive them", ull(s->zeros), doctor_item(d, s->zero_id, item, sizeof item));
    }
    if (s->odd && (by_name || s->units * 20 >= s->rows * 19)) {
        finding(d, "norm", name, "%llu of %llu vectors are not of length 1 as %s, the first of item "
                "%s: %.4g; find what wrote them and embed them again", ull(s->odd), ull(s->rows),
                by_name ? "the tag's name says" : "the others are",
                doctor_item(d, s->odd_id, item, sizeof item), s->odd_norm);
    }
}

static int print_order(const void *a, const void *b)
{
    const print *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Whether two items may well have one vector: both have a payload, and the same. */
static int survey_alike(const doctor *d, uint64_t a, uint64_t b)
{
    vtag_item x, y;
    if (vtag_get(d->st.snap, a, &x) || vtag_get(d->st.snap, b, &y)) return 0;
    return x.size && x.size == y.size && !memcmp(x.data, y.data, x.size);
}

static void survey_twins(doctor *d, survey *s)
{
    uint64_t twins = 0, one = 0, other = 0;
    char a[80], b[80];
    size_t i, first = 0;
    if (s->n) qsort(s->prints, s->n, sizeof *s->prints, print_order);
    for (i = 1; i < s->n; i++) {
        if (s->prints[i].hash != s->prints[first].hash) first = i;
        if (i == first || s->prints[i].id == s->prints[i - 1].id) continue;
        if (survey_alike(d, s->prints[first].id, s->prints[i].id)) continue;
        if (twins++) continue;
        one = s->prints[first].id;
        other = s->prints[i].id;
    }
    if (!twins) return;
    finding(d, "duplicate", s->tag->spec.name, "%llu items have the vector of another item without "
            "its text, such as %s and %s; check that the embedder gets the whole text and answers "
            "each anew", ull(twins), doctor_item(d, one, a, sizeof a),
            doctor_item(d, other, b, sizeof b));
}

static int check_vectors(doctor *d, const vtag_info *tag)
{
    survey s;
    int rc;
    memset(&s, 0, sizeof s);
    s.tag = tag;
    s.x = cli_alloc(tag->spec.dim * sizeof *s.x);
    rc = survey_walk(d, &s);
    if (!rc) {
        survey_norms(d, &s);
        survey_twins(d, &s);
    }
    d->rows += s.rows;
    free(s.x);
    free(s.prints);
    return rc;
}

/* ---- Completeness and write paths --------------------------------------------------- */

static void check_active(doctor *d, const vtag_info *tag, const vtag_cover *c)
{
    vtag_stat stat;
    if (tag->role != VTAG_ACTIVE) return;
    if (vtag_stats(d->st.snap, &stat)) stat.items = tag->items;
    if (c->stale) {
        finding(d, "stale", tag->spec.name, "%llu items answer searches by an old text; vtag pending "
                "%s --tag %s lists them, vtag fill takes them back in", ull(c->stale), d->st.path,
                tag->spec.name);
    }
    if (stat.items > tag->items) {
        finding(d, "missing", tag->spec.name, "%llu of %llu items have no vector and are found by no "
                "search; vtag pending %s --tag %s lists them", ull(stat.items - tag->items),
                ull(stat.items), d->st.path, tag->spec.name);
    }
    if (tag->forced) {
        finding(d, "forced", tag->spec.name, "it became active below the policy; fill what is "
                "pending until vtag gate %s --tag %s passes", d->st.path, tag->spec.name);
    }
}

/* A tag that writes left out, as long as something is pending for it. */
static void check_paths(doctor *d, const vtag_info *tag, const vtag_cover *c)
{
    uint64_t with = tag->writes_with, without = tag->writes_without;
    uint64_t pending = c->stale + c->missing + c->outside;
    if (!without || !pending || tag->role == VTAG_OLDER) return;
    if (with) {
        finding(d, "write-path", tag->spec.name, "%llu writes since it was declared gave it, %llu left "
                "it out, and %llu items are pending; find the write path that does not know it",
                ull(with), ull(without), ull(pending));
    } else {
        finding(d, "write-path", tag->spec.name, "all %llu writes since it was declared left it out, "
                "and %llu items are pending; let the application write it beside the active tag",
                ull(without), ull(pending));
    }
}

static int check_tag(doctor *d, const vtag_info *tag)
{
    vtag_cover c;
    vtag_err err;
    if (tag->role == VTAG_GONE) return 0;
    err = vtag_coverage(d->st.snap, tag->tag, 0, &c);
    if (err) return cli_error(err, "%s: tag '%s'", d->st.path, tag->spec.name);
    check_active(d, tag, &c);
    check_paths(d, tag, &c);
    return check_vectors(d, tag);
}

/* ---- Names and numbers ---------------------------------------------------------------- */

static void check_names(doctor *d)
{
    char word[260], twin[260];
    size_t i;
    for (i = 1; i < d->n; i++) {
        if (!cli_near(d->tags, i, d->tags[i].spec.name, word, twin)) continue;
        finding(d, "name", d->tags[i].spec.name, "'%s' looks like '%s' mistyped; if it is, embed "
                "under the right tag and retire this one", word, twin);
    }
}

static void check_number(doctor *d, const char *tag, const char *what, uint32_t n, uint32_t most)
{
    if (n * 10 < most * 8) return;
    finding(d, "numbers", tag, "%u of %u %s are used up, and none comes back; start a new file "
            "(vtag dump, vtag restore keep the numbers)", n, most, what);
}

static void check_numbers(doctor *d)
{
    size_t i, best[3] = {0, 0, 0};
    for (i = 1; i < d->n; i++) {
        vtag_tag t = d->tags[i].tag;
        if (VTAG_TAG_MODEL(t) > VTAG_TAG_MODEL(d->tags[best[0]].tag)) best[0] = i;
        if (VTAG_TAG_VERSION(t) > VTAG_TAG_VERSION(d->tags[best[1]].tag)) best[1] = i;
        if (VTAG_TAG_PREPARATION(t) > VTAG_TAG_PREPARATION(d->tags[best[2]].tag)) best[2] = i;
    }
    if (!d->n) return;
    check_number(d, d->tags[best[0]].spec.name, "model numbers",
                 VTAG_TAG_MODEL(d->tags[best[0]].tag), 4095);
    check_number(d, d->tags[best[1]].spec.name, "version numbers of its model",
                 VTAG_TAG_VERSION(d->tags[best[1]].tag), 4095);
    check_number(d, d->tags[best[2]].spec.name, "preparation numbers of its version",
                 VTAG_TAG_PREPARATION(d->tags[best[2]].tag), 255);
}

/* ---- Probes: texts whose vectors are kept, in metadata "probe:TAG:N" --------------------- */

typedef struct probes {      /* of one tag */
    char     **names;
    cli_text  *texts;
    float    **x;
    uint32_t  *dim;
    size_t     n;
} probes;

static void probes_free(probes *p)
{
    size_t i;
    for (i = 0; i < p->n; i++) {
        free(p->names[i]);
        free((char *)(uintptr_t)p->texts[i].s);
        free(p->x[i]);
    }
    free(p->names);
    free(p->texts);
    free(p->x);
    free(p->dim);
    memset(p, 0, sizeof *p);
}

static int probe_take(const doctor *d, probes *p, const char *name)
{
    json j = {0};
    const void *bytes;
    const json_value *top, *text, *v;
    size_t n, dim = 0, i = p->n;
    vtag_err err = vtag_meta_get(d->st.snap, name, &bytes, &n);
    if (err) return cli_error(err, "%s: metadata %s", d->st.path, name);
    top = json_parse(&j, bytes, n);
    text = json_get(top, "text");
    v = json_get(top, "vector");
    if (!text || text->type != JSON_STRING || !v || !json_is_numbers(v, &dim) || !dim) {
        json_free(&j);
        return cli_fail("%s: metadata %s is no probe, {\"text\",\"vector\"}; set it anew with "
                        "vtag doctor --add-probe", d->st.path, name);
    }
    p->names = cli_grow(p->names, i + 1, sizeof *p->names);
    p->texts = cli_grow(p->texts, i + 1, sizeof *p->texts);
    p->x = cli_grow(p->x, i + 1, sizeof *p->x);
    p->dim = cli_grow(p->dim, i + 1, sizeof *p->dim);
    p->names[i] = cli_strdup(name);
    p->texts[i].s = memcpy(cli_alloc(text->n + 1), text->u.str, text->n);
    p->texts[i].n = text->n;
    p->x[i] = cli_alloc(dim * sizeof **p->x);
    p->dim[i] = (uint32_t)dim;
    json_floats(v, p->x[i]);
    p->n++;
    json_free(&j);
    return 0;
}

static int probes_read(const doctor *d, const vtag_info *tag, probes *p)
{
    const char *page[64];
    char prefix[300];
    uint64_t cursor = 0;
    size_t n = 1, i, len;
    int rc = 0;
    len = (size_t)snprintf(prefix, sizeof prefix, "probe:%s:", tag->spec.name);
    while (!rc && n) {
        vtag_err err = vtag_metas(d->st.snap, &cursor, page, 64, &n);
        if (err) return cli_error(err, "%s: metadata", d->st.path);
        for (i = 0; i < n && !rc; i++) {
            if (!strncmp(page[i], prefix, len)) rc = probe_take(d, p, page[i]);
        }
    }
    return rc;
}

static double probe_cosine(const float *a, const float *b, uint32_t dim)
{
    double ab = 0, aa = 0, bb = 0;
    uint32_t i;
    for (i = 0; i < dim; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* The least agreement. */
static double probes_compare(doctor *d, const vtag_info *tag, const probes *p, float **x,
                             const uint32_t *dim)
{
    double least = 1;
    size_t i;
    for (i = 0; i < p->n; i++) {
        double c = dim[i] == p->dim[i] ? probe_cosine(x[i], p->x[i], dim[i]) : 0;
        if (c < least) least = c;
        if (dim[i] != p->dim[i]) {
            finding(d, "probe", tag->spec.name, "its embedder answers %s with %u numbers instead of "
                    "%u: it is another model; use the one the tag was filled by", p->names[i],
                    dim[i], p->dim[i]);
        } else if (!(c >= DOCTOR_COSINE)) {
            finding(d, "probe", tag->spec.name, "its embedder answers %s with another vector, cosine "
                    "%.4f, at least 0.995 is wanted; use the model the tag was filled by, or "
                    "declare a new tag", p->names[i], c);
        }
    }
    return least;
}

/* Embeds a tag's probes again: each has a vector in x, or none of them does. */
static void probes_ask(doctor *d, const vtag_info *tag, const probes *p, const char *command)
{
    int standby = tag->role == VTAG_STANDBY;
    float **x = cli_alloc(p->n * sizeof *x);
    uint32_t *dim = cli_alloc(p->n * sizeof *dim);
    size_t i;
    d->embedder[standby].tag = tag->spec.name;
    d->embedder[standby].asked = 1;
    if (worker_texts(command, d->timeout_ms, p->texts, p->n, x, dim)) {
        finding(d, "probe", tag->spec.name, "its embedder does not answer%s; start it",
                standby ? ", and a rollback needs it" : "");
    } else {
        d->embedder[standby].answers = 1;
        d->embedder[standby].cosine = probes_compare(d, tag, p, x, dim);
    }
    for (i = 0; i < p->n; i++) free(x[i]);
    free(x);
    free(dim);
}

/* The probes of the tag in a role; without a command only says that there are some. */
static int check_probes(doctor *d, vtag_role role, const char *option, const char *command)
{
    const vtag_info *tag = NULL;
    probes p = {0};
    size_t i;
    int rc;
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].role == role) tag = &d->tags[i];
    }
    if (!tag) return command ? cli_misuse("doctor: %s: no tag is %s", option, cli_role_name(role)) : 0;
    rc = probes_read(d, tag, &p);
    if (!rc && p.n) rc = embedder_for(d->embedders, tag->spec.name, &command);
    if (!rc && !command && p.n) {
        cli_warn("%zu probes of %s are not checked; give its worker with %s", p.n, tag->spec.name,
                 option);
    } else if (!rc && command && !p.n) {
        finding(d, "probe", tag->spec.name, "no probe text is kept to check its embedder by; vtag "
                "doctor %s --add-probe TEXT --tag %s --exec COMMAND", d->st.path, tag->spec.name);
    } else if (!rc && command) {
        probes_ask(d, tag, &p, command);
    }
    probes_free(&p);
    return rc;
}

/* Keeps what was found of an embedder in metadata "embedder:TAG", for the dashboard. */
static int embedder_record(doctor *d, size_t which)
{
    char name[300], text[160];
    vtag_err err;
    int n, rc;
    if (!d->embedder[which].asked || d->dry) return 0;
    n = snprintf(text, sizeof text, "{\"time\":%llu,\"answers\":%s,\"cosine\":%.6f}",
                 ull(cli_clock()), d->embedder[which].answers ? "true" : "false",
                 d->embedder[which].cosine);
    if (snprintf(name, sizeof name, "embedder:%s", d->embedder[which].tag) > 255) return 0;
    rc = cli_begin(&d->st, 0);
    if (rc) return rc;
    err = vtag_meta_set(d->st.batch, name, text, (size_t)n);
    return err ? cli_error(err, "%s: metadata %s", d->st.path, name) : cli_commit(&d->st);
}

/* ---- doctor --add-probe --------------------------------------------------------------------- */

/* The first free name, into name[256]. */
static int probe_name(const doctor *d, const vtag_info *tag, char *name)
{
    const void *bytes;
    size_t n;
    uint32_t i;
    for (i = 1; i < 100000; i++) {
        if (snprintf(name, 256, "probe:%s:%u", tag->spec.name, i) > 255) break;
        if (vtag_meta_get(d->st.snap, name, &bytes, &n) == VTAG_NOTFOUND) return 0;
    }
    return cli_fail("%s: tag '%s': no name is left for a probe in metadata", d->st.path,
                    tag->spec.name);
}

static int probe_write(doctor *d, const char *name, const char *text, const float *x, uint32_t dim)
{
    char *value = NULL;
    size_t n = 0;
    out o;
    FILE *f = open_memstream(&value, &n);
    int rc;
    if (!f) return cli_nomem();
    out_start(&o, f);
    out_str(&o, "text", text);
    out_floats(&o, "vector", x, dim);
    out_close(&o, '}');
    fclose(f);
    rc = cli_begin(&d->st, 0);
    if (!rc) {
        vtag_err err = vtag_meta_set(d->st.batch, name, value, n - 1);
        rc = err ? cli_error(err, "%s: metadata %s", d->st.path, name) : cli_commit(&d->st);
    }
    free(value);
    return rc;
}

static int probe_add(doctor *d, const char *file, const char *tag, const char *exec,
                     const char *text)
{
    char name[256];
    vtag_info info;
    cli_text one;
    float *x = NULL;
    uint32_t dim;
    int rc;
    one.s = text;
    one.n = strlen(text);
    if (json_utf8(text, strlen(text)) < strlen(text)) return cli_misuse("doctor: a probe is UTF-8");
    rc = cli_change(&d->st, file);
    if (!rc) rc = cli_tag(&d->st, tag, &info);
    if (!rc) rc = probe_name(d, &info, name);
    if (!rc) rc = embedder_must(d->embedders, info.spec.name, "--exec", &exec);
    if (!rc) rc = worker_texts(exec, d->timeout_ms, &one, 1, &x, &dim);
    if (!rc && dim != info.spec.dim) {
        rc = cli_fail("%s: the worker answers %u numbers, tag '%s' has dim %u", file, dim,
                      info.spec.name, info.spec.dim);
    }
    if (!rc) rc = probe_write(d, name, text, x, dim);
    if (!rc) printf("%s: kept\n", name);
    free(x);
    return rc;
}

/* ---- The command ------------------------------------------------------------------------------ */

static int doctor_run(doctor *d, const char *file)
{
    char rows[CLI_TEXT];
    size_t i;
    int rc;
    if (!d->exec_active && !d->exec_standby && !d->embedders) d->dry = 1; /* it only looks */
    rc = d->dry ? cli_look(&d->st, file) : cli_change(&d->st, file);
    if (!rc) rc = cli_tags(&d->st, &d->tags, &d->n);
    if (rc) return rc;
    check_names(d);
    check_numbers(d);
    for (i = 0; i < d->n && !rc; i++) rc = check_tag(d, &d->tags[i]);
    if (!rc) rc = check_probes(d, VTAG_ACTIVE, "--exec-active", d->exec_active);
    if (!rc) rc = check_probes(d, VTAG_STANDBY, "--exec-standby", d->exec_standby);
    for (i = 0; i < 2 && !rc; i++) rc = embedder_record(d, i);
    if (rc) return rc;
    if (d->findings) {
        return cli_refuse("%s: %d findings; each line says what to do", file, d->findings);
    }
    if (!d->as_json) {
        printf("%zu tags, %s vectors: nothing found\n", d->n, cli_count(rows, d->rows));
    }
    return CLI_DONE;
}

int cmd_doctor(int argc, char **argv)
{
    const char *file, *probe = NULL, *tag = NULL, *exec = NULL;
    int rc;
    doctor d;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--exec-active", "COMMAND", CLI_STR, &d.exec_active,
         "the active tag's worker: its probes are embedded again", NULL},
        {"--exec-standby", "COMMAND", CLI_STR, &d.exec_standby,
         "the standby's, which a rollback needs", NULL},
        {"--dry-run", NULL, CLI_FLAG, &d.dry, "do not record whether the workers answer", NULL},
        {"--add-probe", "TEXT", CLI_STR, &probe, "keep this text and its vector instead", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "of --add-probe", NULL},
        {"--exec", "COMMAND", CLI_STR, &exec, "the worker of --add-probe", NULL},
        EMBEDDER_OPT(d.embedders),
        EMBEDDER_TIMEOUT_OPT(d.timeout_ms),
        {"--json", NULL, CLI_FLAG, &d.as_json, "a JSON object a finding", NULL},
        CLI_END};
    memset(&d, 0, sizeof d);
    d.timeout_ms = WORKER_TIMEOUT_MS;
    rc = cli_parse(argc, argv, "Looks for zero, odd and duplicate vectors, for what is stale or was\n"
                   "left out, for names that look alike, and for embedders that no longer answer\n"
                   "as they did. Exit code 3: it found something.", opts);
    if (rc >= 0) return rc;
    if (!probe != !tag || (!probe && exec)) {
        return cli_misuse("doctor: --add-probe, --tag and --exec go together");
    }
    rc = probe ? probe_add(&d, file, tag, exec, probe) : doctor_run(&d, file);
    free(d.tags);
    cli_close(&d.st);
    return rc;
}
