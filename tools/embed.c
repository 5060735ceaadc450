/* embed.c - the toy embedders of embed.h, and the command that runs them as a worker. */
#define _POSIX_C_SOURCE 200809L
#include "embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"
#include "lines.h"

const embed_model embed_models[2] = {
    {"words", "hash-words@1", 256, 0},
    {"chars", "hash-chars@2", 384, 1}};

const embed_model *embed_find(const char *name)
{
    size_t i;
    for (i = 0; i < 2; i++) {
        if (!strcmp(name, embed_models[i].name)) return &embed_models[i];
    }
    return NULL;
}

/* ---- Features: hashes of words, and of the pieces of words ---------------------- */

#define EM_MAX_WORD 64       /* bytes; longer words are cut */
#define EM_PIECE_MIN 3       /* bytes of a piece, with the marks at both ends of a word */
#define EM_PIECE_MAX 5

/* FNV-1a, with a finish that spreads it over all bits. */
static uint64_t em_hash(const char *s, size_t n, uint64_t seed)
{
    uint64_t h = 0xCBF29CE484222325u ^ seed;
    size_t i;
    for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

static void em_add(embed_room *room, uint64_t feature)
{
    if (room->n == room->cap) {
        room->cap = room->cap ? 2 * room->cap : 4096;
        room->x = cli_grow(room->x, room->cap, sizeof *room->x);
    }
    room->x[room->n++] = feature;
}

static int em_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int em_is_upper(int c)
{
    return c >= 'A' && c <= 'Z';
}

static int em_is_word(int c)
{
    return c >= 0x80 || em_is_upper(c) || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Words so frequent that they say little; the model with pieces weighs them instead. */
static int em_is_stop(const char *word, size_t n)
{
    static const char stops[] = " the and for with that this are was were been have has had not "
        "but from which what when where how can may will would shall should must its his her "
        "they them their there than then all any some such each other into only also very "
        "does did done you your our who why use used using one two ";
    char mark[9];
    if (n < 3) return 1;
    if (n > 6) return 0;
    mark[0] = mark[n + 1] = ' ';
    memcpy(mark + 1, word, n);
    mark[n + 2] = '\0';
    return strstr(stops, mark) != NULL;
}

static void em_word(const embed_model *m, embed_room *room, const char *word, size_t n)
{
    char text[EM_MAX_WORD + 2];
    size_t i, k;
    if (n > EM_MAX_WORD) n = EM_MAX_WORD;
    text[0] = '<';
    for (i = 0; i < n; i++) text[i + 1] = (char)em_lower((unsigned char)word[i]);
    text[n + 1] = '>';
    if (!m->pieces && em_is_stop(text + 1, n)) return;
    em_add(room, em_hash(text + 1, n, 1));
    if (!m->pieces) return;
    for (k = EM_PIECE_MIN; k <= EM_PIECE_MAX; k++) {
        for (i = 0; i + k <= n + 2; i++) em_add(room, em_hash(text + i, k, 2));
    }
}

/* A run of letters and digits is a word; the humps of camelCase are words as well. */
static void em_run(const embed_model *m, embed_room *room, const char *s, size_t n)
{
    size_t i, from = 0;
    for (i = 1; i < n; i++) {
        int hump = em_is_upper((unsigned char)s[i]) && !em_is_upper((unsigned char)s[i - 1]);
        if (!hump) continue;
        em_word(m, room, s + from, i - from);
        from = i;
    }
    if (from) em_word(m, room, s + from, n - from);
    em_word(m, room, s, n);
}

static int em_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Gathers the features of a text, sorted. */
static void em_features(const embed_model *m, embed_room *room, const void *text, size_t n)
{
    const unsigned char *s = text;
    size_t i = 0;
    room->n = 0;
    while (i < n) {
        size_t from = i;
        while (i < n && em_is_word(s[i])) i++;
        if (i > from) em_run(m, room, (const char *)s + from, i - from);
        else i++;
    }
    if (room->n) qsort(room->x, room->n, sizeof *room->x, em_order);
}

static size_t em_same(const embed_room *room, size_t i)
{
    size_t from = i;
    while (i < room->n && room->x[i] == room->x[from]) i++;
    return i - from;
}

static uint32_t em_bucket(uint64_t feature)
{
    return (uint32_t)(feature >> 48);
}

void embed_count(const embed_model *m, embed_room *room, embed_idf *idf, const void *text,
                 size_t n)
{
    size_t i;
    em_features(m, room, text, n);
    if (!room->n) return;
    idf->texts++;
    for (i = 0; i < room->n;) {
        uint32_t bucket = em_bucket(room->x[i]); /* the top bits, so equal ones are neighbours */
        idf->in[bucket]++;
        while (i < room->n && em_bucket(room->x[i]) == bucket) i++;
    }
}

static double em_rare(const embed_idf *idf, uint64_t feature)
{
    double in, w;
    if (!idf) return 1;
    in = (double)idf->in[em_bucket(feature)];
    w = log(((double)idf->texts + 1) / (in + 0.5));
    return w > 0 ? w : 0;
}

int embed_text(const embed_model *m, embed_room *room, const embed_idf *idf, const void *text,
               size_t n, float *x)
{
    double sum[512] = {0}, norm = 0;
    size_t i, same;
    em_features(m, room, text, n);
    for (i = 0; i < room->n; i += same) {
        uint64_t f = room->x[i];
        double w;
        same = em_same(room, i);
        w = (1 + log((double)same)) * em_rare(idf, f);
        sum[f % m->dim] += f >> 40 & 1 ? w : -w;
    }
    for (i = 0; i < m->dim; i++) norm += sum[i] * sum[i];
    if (!(norm > 0)) return 0;
    for (i = 0; i < m->dim; i++) x[i] = (float)(sum[i] / sqrt(norm));
    return 1;
}

/* ---- The idf table in a store's metadata ---------------------------------------- */

#define EM_HEAD 32           /* one line: "vtag-idf1 " and the model's name */
#define EM_META (EM_HEAD + 8 + 4 * (size_t)EMBED_BUCKETS)

typedef struct em_options {
    const char *model_name, *file, *tag, *text;
    int         freeze;
    const embed_model *model;
} em_options;

static void em_put(unsigned char *p, uint64_t x, int bytes)
{
    for (; bytes--; x >>= 8) *p++ = (unsigned char)(x & 255);
}

static uint64_t em_take(const unsigned char *p, int bytes)
{
    uint64_t x = 0;
    while (bytes--) x = x << 8 | p[bytes];
    return x;
}

static void em_head(const embed_model *m, char head[EM_HEAD])
{
    memset(head, 0, EM_HEAD);
    snprintf(head, EM_HEAD, "vtag-idf1 %s\n", m->name);
}

static int em_set(cli_store *st, const char *meta, const embed_model *m, const embed_idf *idf)
{
    unsigned char *p = cli_alloc(EM_META);
    uint32_t i;
    vtag_err err;
    int rc = cli_begin(st, 0);
    em_head(m, (char *)p);
    em_put(p + EM_HEAD, idf->texts, 8);
    for (i = 0; i < EMBED_BUCKETS; i++) em_put(p + EM_HEAD + 8 + 4 * (size_t)i, idf->in[i], 4);
    if (!rc) {
        err = vtag_meta_set(st->batch, meta, p, EM_META);
        rc = err ? cli_error(err, "%s: metadata %s", st->path, meta) : cli_commit(st);
    }
    free(p);
    return rc;
}

static int em_load(const cli_store *st, const char *meta, const em_options *o, embed_idf *idf)
{
    char head[EM_HEAD];
    const void *p;
    const unsigned char *b;
    size_t n;
    uint32_t i;
    vtag_err err = vtag_meta_get(st->snap, meta, &p, &n);
    if (err == VTAG_NOTFOUND) {
        return cli_fail("%s: no %s is frozen; vtag embed --model %s --idf %s --tag %s --freeze",
                        st->path, meta, o->model->name, st->path, meta + 4);
    }
    if (err) return cli_error(err, "%s: metadata %s", st->path, meta);
    em_head(o->model, head);
    if (n != EM_META || memcmp(p, head, EM_HEAD)) {
        return cli_fail("%s: metadata %s is no idf table of model %s", st->path, meta,
                        o->model->name);
    }
    b = p;
    idf->texts = em_take(b + EM_HEAD, 8);
    for (i = 0; i < EMBED_BUCKETS; i++) {
        idf->in[i] = (uint32_t)em_take(b + EM_HEAD + 8 + 4 * (size_t)i, 4);
    }
    return 0;
}

/* Counts the payloads of all items. */
static int em_survey(const cli_store *st, const embed_model *m, embed_idf *idf)
{
    vtag_item items[256], item;
    embed_room room = {NULL, 0, 0};
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_items(st->snap, 0, VTAG_ALL, &cursor, items, 256, &n);
        for (i = 0; !err && i < n; i++) {
            err = vtag_get(st->snap, items[i].id, &item);
            if (!err) embed_count(m, &room, idf, item.data, item.size);
        }
    }
    free(room.x);
    return err ? cli_error(err, "%s", st->path) : 0;
}

static int em_freeze(cli_store *st, const char *meta, const em_options *o, embed_idf *idf)
{
    char count[CLI_TEXT];
    const void *p;
    size_t n;
    int rc;
    if (!vtag_meta_get(st->snap, meta, &p, &n)) {
        return cli_fail("%s: %s is frozen already; a table that changed would want a new tag",
                        st->path, meta);
    }
    rc = em_survey(st, o->model, idf);
    if (!rc && !idf->texts) rc = cli_fail("%s: no item has text to count words in", st->path);
    if (!rc) rc = em_set(st, meta, o->model, idf);
    if (!rc) printf("froze %s over %s texts\n", meta, cli_count(count, idf->texts));
    return rc;
}

static int em_table(const em_options *o, embed_idf *idf)
{
    cli_store st = {0};
    vtag_info info;
    char meta[264];
    int rc = o->freeze ? cli_change(&st, o->file) : cli_look(&st, o->file);
    if (!rc) rc = cli_tag(&st, o->tag, &info);
    if (!rc && info.spec.dim != o->model->dim) {
        rc = cli_fail("%s: tag %s has dim %u, and model %s makes %u", o->file, info.spec.name,
                      info.spec.dim, o->model->name, o->model->dim);
    }
    if (!rc) {
        snprintf(meta, sizeof meta, "idf:%s", info.spec.name);
        rc = o->freeze ? em_freeze(&st, meta, o, idf) : em_load(&st, meta, o, idf);
    }
    cli_close(&st);
    return rc;
}

/* ---- The worker ----------------------------------------------------------------- */

typedef struct em_worker {
    const embed_model *model;
    const embed_idf   *idf;  /* or NULL */
    embed_room         room;
    json               js;
    char              *bytes; /* of a payload in base64 */
    uint64_t           line;
} em_worker;

static int em_payload(em_worker *w, const json_value *o, const char **text, size_t *n)
{
    const json_value *data = json_get(o, "data"), *coded = json_get(o, "data_base64");
    *text = "";
    *n = 0;
    if (data && data->type == JSON_STRING) {
        *text = data->u.str;
        *n = data->n;
    } else if (coded && coded->type == JSON_STRING) {
        *text = w->bytes = cli_grow(w->bytes, coded->n, 1);
        return json_unbase64(w->bytes, n, coded->u.str, coded->n);
    }
    return 1;
}

/* Writes a whole number, or an id that is a string, as it came. */
static void em_write_number(const char *before, const json_value *v)
{
    fputs(before, stdout);
    if (v && v->whole & JSON_U64) printf("%llu", (unsigned long long)v->u.u64);
    else if (v && v->type == JSON_STRING) json_write_string(stdout, v->u.str, v->n);
    else fputs("null", stdout);
}

static int em_answer(em_worker *w, const char *line, size_t n)
{
    const json_value *o = json_parse(&w->js, line, n), *id = json_get(o, "id");
    const char *text;
    float x[512];
    size_t size;
    if (!o) {
        return cli_fail("standard input: line %llu: %s", (unsigned long long)w->line,
                        w->js.error);
    }
    if (!id || !(id->whole & JSON_U64 || id->type == JSON_STRING)) {
        return cli_fail("standard input: line %llu: no \"id\"; each line is "
                        "{\"id\",\"rev\",\"data\"}", (unsigned long long)w->line);
    }
    em_write_number("{\"id\":", id);
    em_write_number(",\"rev\":", json_get(o, "rev"));
    if (!em_payload(w, o, &text, &size)) {
        fputs(",\"error\":\"broken base64\"", stdout);
    } else if (embed_text(w->model, &w->room, w->idf, text, size, x)) {
        fputs(",\"vector\":", stdout);
        json_write_floats(stdout, x, w->model->dim);
    } else {
        fputs(",\"error\":\"empty text\"", stdout);
    }
    puts("}");
    return 0;
}

static int em_work(em_worker *w)
{
    struct stat sb;
    lines in;
    char *line;
    size_t n;
    int rc = 0, got = 0, flush = fstat(0, &sb) || !S_ISREG(sb.st_mode);
    if (!lines_open(&in, "-")) return cli_fail("%s", in.error);
    while (!rc && (got = lines_next(&in, &line, &n)) > 0) {
        w->line = in.number;
        if (n) rc = em_answer(w, line, n);
        if (flush && fflush(stdout)) break; /* main reports it */
    }
    if (!rc && got < 0) rc = cli_fail("%s", in.error);
    lines_close(&in);
    return rc;
}

static int em_one(em_worker *w, const char *text)
{
    float x[512];
    if (!embed_text(w->model, &w->room, w->idf, text, strlen(text), x)) {
        return cli_fail("--text: no words are in it; give some that the model knows");
    }
    fputs("{\"vector\":", stdout);
    json_write_floats(stdout, x, w->model->dim);
    puts("}");
    return 0;
}

static int em_run_as_told(const em_options *o)
{
    embed_idf *idf = o->file ? cli_alloc(sizeof *idf) : NULL;
    em_worker w;
    int rc = o->file ? em_table(o, idf) : 0;
    memset(&w, 0, sizeof w);
    w.model = o->model;
    w.idf = idf;
    if (!rc && !o->freeze) rc = o->text ? em_one(&w, o->text) : em_work(&w);
    json_free(&w.js);
    free(w.room.x);
    free(w.bytes);
    free(idf);
    return rc;
}

int cmd_embed(int argc, char **argv)
{
    em_options o;
    const cli_opt opts[] = {
        {"--model", "NAME", CLI_STR | CLI_MUST, &o.model_name,
         "words (256 numbers) or chars (384)", NULL},
        {"--idf", "FILE", CLI_STR, &o.file, "weigh words as frozen in this store", NULL},
        {"--tag", "NAME", CLI_STR, &o.tag, "the tag they are frozen for", NULL},
        {"--freeze", NULL, CLI_FLAG, &o.freeze, "count the items' words and keep that", NULL},
        {"--text", "TEXT", CLI_STR, &o.text, "embed this text instead of lines", NULL},
        CLI_END};
    int rc;
    memset(&o, 0, sizeof o);
    rc = cli_parse(argc, argv,
                   "Embeds texts with a toy model, for demonstrations: reads lines of\n"
                   "{\"id\",\"rev\",\"data\"} and answers each with\n"
                   "{\"id\",\"rev\",\"vector\"} or {\"id\",\"rev\",\"error\"}.", opts);
    if (rc >= 0) return rc;
    o.model = embed_find(o.model_name);
    if (!o.model) return cli_misuse("embed: model '%s'; there are words and chars", o.model_name);
    if (!o.file != !o.tag) return cli_misuse("embed: --idf FILE and --tag NAME go together");
    if (o.freeze && !o.file) return cli_misuse("embed: --freeze wants --idf FILE and --tag NAME");
    return em_run_as_told(&o);
}
