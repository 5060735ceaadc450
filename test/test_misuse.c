/* Wrong arguments, wrong moments and wrong machines: each gets an answer that says what is
   wrong, and leaves nothing behind that could be taken for one.

   A refusal sends a line to the log that names the argument; handles and counts are nulled
   by every call that fails; a batch goes on after it [E1]. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include "util.h"
#include "child.h"
#include <fenv.h>
#include <pthread.h>
#include <time.h>
#if defined(__SSE__)
#  include <xmmintrin.h>
#endif

/* ---- What a refusal says ---------------------------------------------------------- */

static char told[8192]; /* what the log said in the newest call */
static uint64_t refusals;

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    size_t n = strlen(told);
    (void)ctx, (void)err, (void)at;
    snprintf(told + n, sizeof told - n, "%s\n", msg);
}

static int quiet(void)
{
    told[0] = 0;
    return 1;
}

static void said(vtag_err want, const char *word, vtag_err got, const char *text, const char *file, int line)
{
    refusals++;
    t_check_err(want, got, text, file, line);
    if (strstr(told, word)) return;
    t_fail(file, line);
    fprintf(stderr, "%s: the log says \"%s\", nothing of \"%s\"\n", text, told, word);
}

/* The call answers want, and the log has a line with word. */
#define SAID(want, word, call) \
    (void)(quiet() && (said((want), (word), (call), #call, __FILE__, __LINE__), 1))

/* ---- A store to be wrong about ------------------------------------------------------ */

typedef struct shop {
    ram       r;
    vtag_db  *db;
    vtag_tag  a, c, gone, half, bytes; /* active, candidate, retired; F16, I8 */
} shop;

static char long_text[4200]; /* of 4,097 bytes; &long_text[n] is of 4,097 - n */

static vtag_err try_open(shop *p, const char *path, vtag_access access, vtag_db **db)
{
    vtag_open_opts o;
    memset(&o, 0, sizeof o);
    o.access = access;
    o.io = &p->r.io;
    o.log = hear;
    return vtag_open(path, &o, db);
}

static vtag_tag declare_as(vtag_batch *b, const char *name, vtag_metric metric, vtag_codec codec)
{
    vtag_spec spec;
    vtag_tag tag = 0;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = 2;
    spec.metric = metric;
    spec.codec = codec;
    OK(vtag_declare(b, &spec, &tag));
    return tag;
}

static void shop_up(shop *p)
{
    vtag_batch *b;
    vtag_item key = item_of(0, "keyed");
    uint64_t id;
    memset(long_text, 'x', 4097);
    memset(p, 0, sizeof *p);
    ram_init(&p->r);
    MUST(try_open(p, "t.vtag", VTAG_NEW, &p->db));
    b = begin(p->db);
    p->a = declare_as(b, "m@1", VTAG_COSINE, VTAG_F32);
    p->c = declare_as(b, "m@2", VTAG_COSINE, VTAG_F32);
    p->gone = declare_as(b, "m@3", VTAG_COSINE, VTAG_F32);
    p->half = declare_as(b, "half@1", VTAG_L2SQ, VTAG_F16);
    p->bytes = declare_as(b, "byte@1", VTAG_L2SQ, VTAG_I8);
    for (id = 1; id <= 3; id++) {
        vtag_vec v = v2(p->a, 1, (float)id);
        put_b(b, id, "text", &v, 1);
    }
    key.key = "key";
    OK(vtag_put(b, &key, NULL, 0));
    OK(vtag_meta_set(b, "there", "x", 1));
    OK(vtag_retire(b, p->gone, "not wanted", NULL));
    OK(vtag_commit(b));
}

static void shop_down(shop *p)
{
    vtag_close(p->db);
    ram_free(&p->r);
}

/* ---- File ----------------------------------------------------------------------------- */

static void what_cannot_be_opened_is_said(void)
{
    shop p;
    vtag_db *db;
    vtag_open_opts o;
    static uint64_t zeros[16384];
    shop_up(&p);
    memset(&o, 0, sizeof o);
    o.log = hear;
    o.io = &p.r.io;
    SAID(VTAG_ARG, "path", vtag_open(NULL, &o, &db));
    SAID(VTAG_ARG, "path", vtag_open("", &o, &db));
    SAID(VTAG_ARG, "db", vtag_open("t.vtag", &o, NULL));
    o.access = (vtag_access)4;
    SAID(VTAG_ARG, "opts->access", vtag_open("t.vtag", &o, &db));
    o.access = (vtag_access)-1;
    SAID(VTAG_ARG, "opts->access", vtag_open("t.vtag", &o, &db));
    o.access = VTAG_CREATE;
    o.durability = (vtag_durability)3;
    SAID(VTAG_ARG, "opts->durability", vtag_open("t.vtag", &o, &db));
    o.durability = VTAG_FULL_SYNC;
    o.isa = "z80";
    SAID(VTAG_ARG, "isa", vtag_open("t.vtag", &o, &db));
    SAID(VTAG_ARG, "isa", vtag_open_memory(zeros, sizeof zeros, &o, &db));
    o.isa = NULL;
    SAID(VTAG_NOTFOUND, "none.vtag", try_open(&p, "none.vtag", VTAG_EXISTING, &db));
    SAID(VTAG_NOTFOUND, "none.vtag", try_open(&p, "none.vtag", VTAG_READ, &db));
    SAID(VTAG_EXISTS, "t.vtag", try_open(&p, "t.vtag", VTAG_NEW, &db));
    SAID(VTAG_ARG, "image", vtag_open_memory(NULL, 4096, &o, &db));
    SAID(VTAG_ARG, "db", vtag_open_memory(zeros, sizeof zeros, &o, NULL));
    SAID(VTAG_FORMAT, "short", vtag_open_memory(zeros, 4096, &o, &db));
    SAID(VTAG_FORMAT, "not a vtag file", vtag_open_memory(zeros, sizeof zeros, &o, &db));
    CHECK_EQ(p.r.opens, 1);
    shop_down(&p);
}

static void work_(void *ctx, void (*work)(void *), void *arg) { (void)ctx, work(arg); }
static void wait_(void *ctx) { (void)ctx; }

static void what_a_handle_cannot_do_is_said(void)
{
    shop p;
    vtag_db *r, *other;
    vtag_batch *b, *held;
    vtag_begin_opts o;
    shop_up(&p);
    memset(&o, 0, sizeof o);
    SAID(VTAG_ARG, "b:", vtag_begin(p.db, NULL, NULL));
    SAID(VTAG_ARG, "s:", vtag_snapshot(p.db, NULL));
    o.run = work_;
    SAID(VTAG_ARG, "opts->run", vtag_begin(p.db, &o, &b));
    o.run = NULL;
    o.wait = wait_;
    SAID(VTAG_ARG, "opts->wait", vtag_begin(p.db, &o, &b));
    o.wait = NULL;
    o.restore = 1;
    SAID(VTAG_ARG, "opts->restore", vtag_begin(p.db, &o, &b));
    MUST(try_open(&p, "t.vtag", VTAG_READ, &r));
    SAID(VTAG_READONLY, "read-only", vtag_begin(r, NULL, &b));
    SAID(VTAG_READONLY, "read-only", vtag_flush(r));
    SAID(VTAG_READONLY, "read-only", vtag_seal(r, NULL, NULL));
    SAID(VTAG_READONLY, "read-only", vtag_compact(r, NULL, NULL));
    MUST(try_open(&p, "t.vtag", VTAG_EXISTING, &other));
    held = begin(other);
    o.restore = 0;
    o.wait_ms = VTAG_NONE;
    SAID(VTAG_LOCKED, "another writer", vtag_begin(p.db, &o, &b));
    CHECK(b == NULL);
    SAID(VTAG_LOCKED, "holds a batch", vtag_begin(other, NULL, &b));
    SAID(VTAG_ARG, "holds a batch", vtag_flush(other));
    SAID(VTAG_ARG, "holds a batch", vtag_seal(other, NULL, NULL));
    SAID(VTAG_ARG, "holds a batch", vtag_compact(other, NULL, NULL));
    OK(vtag_commit(held));
    OK(vtag_flush(other));
    OK(vtag_seal(other, NULL, NULL));
    OK(vtag_compact(other, NULL, NULL));
    vtag_close(other);
    vtag_close(r);
    shop_down(&p);
}

/* ---- Change ------------------------------------------------------------------------------- */

static vtag_err declare_with(vtag_batch *b, const char *name, uint32_t dim, int metric, int codec, uint32_t flags,
                             const char *note_)
{
    vtag_spec spec;
    vtag_tag tag = 77;
    vtag_err err;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = dim;
    spec.metric = (vtag_metric)metric;
    spec.codec = (vtag_codec)codec;
    spec.flags = flags;
    spec.note = note_;
    err = vtag_declare(b, &spec, &tag);
    return err;
}

static void what_cannot_be_declared_is_said(void)
{
    static const char *const names[] = {"", "m", "m@", "@1", "M@1", "m@1/", "m@1//x", "m@@1", " m@1", "m@1\n", "\xC3\xBC@1"};
    shop p;
    vtag_batch *b;
    size_t i;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "spec", vtag_declare(b, NULL, NULL));
    SAID(VTAG_ARG, "spec->name", declare_with(b, NULL, 2, 0, 0, 0, NULL));
    for (i = 0; i < LENGTH(names); i++) SAID(VTAG_NAME, "spec->name", declare_with(b, names[i], 2, 0, 0, 0, NULL));
    SAID(VTAG_NAME, "spec->name", declare_with(b, &long_text[4097 - 256], 2, 0, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->dim", declare_with(b, "n@1", 0, 0, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->dim", declare_with(b, "n@1", 32769, 0, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->dim", declare_with(b, "n@1", UINT32_MAX, 0, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->metric", declare_with(b, "n@1", 2, 3, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->metric", declare_with(b, "n@1", 2, -1, 0, 0, NULL));
    SAID(VTAG_ARG, "spec->codec", declare_with(b, "n@1", 2, 0, 3, 0, NULL));
    SAID(VTAG_ARG, "spec->flags", declare_with(b, "n@1", 2, 0, 0, 4, NULL));
    SAID(VTAG_ARG, "spec->note", declare_with(b, "n@1", 2, 0, 0, 0, long_text));
    SAID(VTAG_EXISTS, "spec", declare_with(b, "m@1", 3, 0, 0, 0, NULL));
    SAID(VTAG_EXISTS, "spec", declare_with(b, "m@1", 2, VTAG_DOT, 0, 0, NULL));
    SAID(VTAG_EXISTS, "spec", declare_with(b, "m@1", 2, 0, VTAG_F16, 0, NULL));
    SAID(VTAG_RETIRED, "spec->name", declare_with(b, "m@3", 2, 0, 0, 0, NULL));
    OK(declare_with(b, "n@1", 2, 0, 0, 0, &long_text[1]));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(p.db).tags, 6);
    shop_down(&p);
}

static vtag_err put_as(vtag_batch *b, uint64_t id, const char *key, uint64_t rev)
{
    vtag_item it = item_at(id, rev);
    it.key = key;
    return vtag_put(b, &it, NULL, 0);
}

static void an_item_that_cannot_be_put_is_said(void)
{
    shop p;
    vtag_batch *b;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "item", vtag_put(b, NULL, NULL, 0));
    SAID(VTAG_ARG, "item->id", put_as(b, UINT64_MAX, NULL, 0));
    SAID(VTAG_ARG, "item->key", put_as(b, 0, "", 0));
    SAID(VTAG_ARG, "item->key", put_as(b, 0, &long_text[4097 - 256], 0));
    SAID(VTAG_ARG, "item->id", put_as(b, 9, "key", 0));
    SAID(VTAG_CHANGED, "item->rev", put_as(b, 1, NULL, 99));
    SAID(VTAG_CHANGED, "item->rev", put_as(b, 99, NULL, 1));
    OK(put_as(b, vtag_id("other"), NULL, 0));
    SAID(VTAG_EXISTS, "item->key", put_as(b, 0, "other", 0));
    OK(put_as(b, 0, &long_text[4097 - 255], 0));
    OK(put_as(b, vtag_id("key"), "key", 0));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(p.db).items, 6);
    shop_down(&p);
}

/* A put of one good vector and, after it, v. */
static vtag_err put_vec(vtag_batch *b, const shop *p, vtag_vec v)
{
    vtag_vec both[2];
    vtag_item it = item_of(50, "x");
    both[0] = v2(p->a, 1, 0);
    both[1] = v;
    return vtag_put(b, &it, both, 2);
}

static void a_vector_that_cannot_be_put_is_said_which(void)
{
    shop p;
    vtag_batch *b;
    vtag_item it = item_of(50, "x");
    vtag_vec many = v2(0, 1, 1);
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "v:", vtag_put(b, &it, NULL, 2));
    SAID(VTAG_ARG, "n:", vtag_put(b, &it, &many, (1u << 20) + 1));
    SAID(VTAG_ARG, "n:", vtag_put(b, &it, &many, SIZE_MAX));
    SAID(VTAG_NOTAG, "v[1]: tag", put_vec(b, &p, v2(0, 1, 1)));
    SAID(VTAG_NOTAG, "v[1]: tag", put_vec(b, &p, v2(p.a + 100, 1, 1)));
    SAID(VTAG_RETIRED, "v[1]: tag", put_vec(b, &p, v2(p.gone, 1, 1)));
    SAID(VTAG_DIM, "v[1]: dim", put_vec(b, &p, vec(p.c, 3, v2(0, 1, 1).x)));
    SAID(VTAG_DIM, "v[1]: dim", put_vec(b, &p, vec(p.c, 0, v2(0, 1, 1).x)));
    SAID(VTAG_ARG, "v[1]: x", put_vec(b, &p, vec(p.c, 2, NULL)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.c, 1, (float)NAN)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.c, (float)INFINITY, 1)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.half, 1, -(float)INFINITY)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.c, 0, 0)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.c, 3e38f, 3e38f)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.half, 1, 65520)));
    SAID(VTAG_VALUE, "v[1]: x", put_vec(b, &p, v2(p.half, -1e9f, 1)));
    OK(put_vec(b, &p, v2(p.half, 1, 65519)));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(p.db).items, 5);
    shop_down(&p);
}

static vtag_err fill_as(vtag_batch *b, uint64_t id, const char *key, uint64_t rev, const vtag_vec *v, size_t n)
{
    vtag_item it = item_at(id, rev);
    it.key = key;
    return vtag_fill(b, &it, v, n);
}

static void what_cannot_be_filled_is_said(void)
{
    shop p;
    vtag_batch *b;
    vtag_vec v, two[2];
    shop_up(&p);
    v = v2(p.c, 1, 0);
    two[0] = v;
    two[1] = v2(p.half, 1, 0);
    b = begin(p.db);
    SAID(VTAG_ARG, "item", vtag_fill(b, NULL, &v, 1));
    SAID(VTAG_ARG, "item->rev", fill_as(b, 1, NULL, 0, &v, 1));
    SAID(VTAG_ARG, "item->id", fill_as(b, UINT64_MAX, NULL, 1, &v, 1));
    SAID(VTAG_ARG, "item->key", fill_as(b, 0, "", 1, &v, 1));
    SAID(VTAG_ARG, "item->id", fill_as(b, 7, "key", 1, &v, 1));
    SAID(VTAG_ARG, "v:", fill_as(b, 1, NULL, 1, NULL, 0));
    SAID(VTAG_ARG, "v:", fill_as(b, 1, NULL, 1, &v, 0));
    SAID(VTAG_ARG, "v:", fill_as(b, 1, NULL, 1, NULL, 1));
    SAID(VTAG_ARG, "v:", fill_as(b, 1, NULL, 1, two, 2));
    SAID(VTAG_NOTFOUND, "item", fill_as(b, 99, NULL, 1, &v, 1));
    SAID(VTAG_NOTFOUND, "item", fill_as(b, 0, "no such key", 1, &v, 1));
    SAID(VTAG_CHANGED, "item->rev", fill_as(b, 1, NULL, 99, &v, 1));
    two[1].tag = p.gone;
    SAID(VTAG_RETIRED, "v[1]: tag", fill_as(b, 1, NULL, 1, two, 2));
    two[1].tag = 5;
    SAID(VTAG_NOTAG, "v[1]: tag", fill_as(b, 1, NULL, 1, two, 2));
    OK(vtag_commit(b));
    CHECK_EQ(info_of(p.db, p.c).rows, 0);
    shop_down(&p);
}

static vtag_err waive_as(vtag_batch *b, uint64_t id, uint64_t rev, vtag_tag tag, const char *why)
{
    vtag_item it = item_at(id, rev);
    return vtag_waive(b, &it, tag, why);
}

static void what_cannot_be_waived_or_deleted_is_said(void)
{
    shop p;
    vtag_batch *b;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "item", vtag_waive(b, NULL, p.c, "empty"));
    SAID(VTAG_NOTAG, "tag", waive_as(b, 1, 0, 0, "empty"));
    SAID(VTAG_NOTAG, "tag", waive_as(b, 1, 0, 77, "empty"));
    SAID(VTAG_RETIRED, "tag", waive_as(b, 1, 0, p.gone, "empty"));
    SAID(VTAG_ARG, "why", waive_as(b, 1, 0, p.c, ""));
    SAID(VTAG_ARG, "why", waive_as(b, 1, 0, p.c, &long_text[4097 - 1025]));
    SAID(VTAG_NOTFOUND, "item", waive_as(b, 99, 0, p.c, "empty"));
    SAID(VTAG_CHANGED, "item->rev", waive_as(b, 1, 99, p.c, "empty"));
    SAID(VTAG_ARG, "item->id", waive_as(b, UINT64_MAX, 0, p.c, "empty"));
    SAID(VTAG_NOTFOUND, "id", vtag_del(b, 99));
    SAID(VTAG_NOTFOUND, "id", vtag_del(b, UINT64_MAX));
    OK(waive_as(b, 1, 0, p.c, &long_text[4097 - 1024]));
    OK(vtag_commit(b));
    CHECK_EQ(cover_of(p.db, p.c, 0).waived, 1);
    shop_down(&p);
}

static vtag_event event_of(int kind, vtag_tag tag, const char *name, const char *text)
{
    vtag_event e;
    memset(&e, 0, sizeof e);
    e.kind = (vtag_kind)kind;
    e.tag = tag;
    e.name = name;
    e.text = text;
    return e;
}

static vtag_err note_as(vtag_batch *b, int kind, vtag_tag tag, const char *name, const char *text)
{
    vtag_event e = event_of(kind, tag, name, text);
    return vtag_note(b, &e);
}

static void what_cannot_be_noted_is_said(void)
{
    const uint32_t callers = 1u << VTAG_K_NOTE | 1u << VTAG_K_SCORE | 1u << VTAG_K_SHADOW | 1u << VTAG_K_HELD |
                             1u << VTAG_K_AUDIT | 1u << VTAG_K_BACKFILL | 1u << VTAG_K_IMPORT;
    shop p;
    vtag_batch *b;
    vtag_event e;
    int kind;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "event", vtag_note(b, NULL));
    for (kind = -1; kind <= VTAG_K_ALIAS + 1; kind++)
        if (kind < 0 || !(callers >> kind & 1))
            SAID(VTAG_ARG, "event->kind", note_as(b, kind, p.a, "ndcg", "text"));
    SAID(VTAG_NOTAG, "event->tag", note_as(b, VTAG_K_NOTE, 77, NULL, "text"));
    SAID(VTAG_NOTAG, "event->tag", note_as(b, VTAG_K_SCORE, 0, "ndcg", NULL));
    e = event_of(VTAG_K_SHADOW, p.c, "overlap", NULL);
    e.base = 77;
    SAID(VTAG_NOTAG, "event->base", vtag_note(b, &e));
    SAID(VTAG_ARG, "event->name", note_as(b, VTAG_K_SCORE, p.a, NULL, NULL));
    SAID(VTAG_ARG, "event->name", note_as(b, VTAG_K_SCORE, p.a, "", NULL));
    SAID(VTAG_ARG, "event->name", note_as(b, VTAG_K_SCORE, p.a, &long_text[4097 - 256], NULL));
    e = event_of(VTAG_K_SCORE, p.a, "ndcg", NULL);
    e.value = (double)NAN;
    SAID(VTAG_ARG, "value", vtag_note(b, &e));
    SAID(VTAG_ARG, "event->text", note_as(b, VTAG_K_NOTE, 0, NULL, &long_text[4097 - 1025]));
    e = event_of(VTAG_K_NOTE, 0, NULL, "x");
    e.used.score = &long_text[4097 - 256];
    SAID(VTAG_ARG, "event->used.score", vtag_note(b, &e));
    e.used.score = NULL;
    e.used.reason = &long_text[4097 - 1025];
    SAID(VTAG_ARG, "event->used.reason", vtag_note(b, &e));
    e.used.reason = NULL;
    e.by = &long_text[4097 - 256];
    SAID(VTAG_ARG, "event->by", vtag_note(b, &e));
    e.by = NULL;
    e.command = &long_text[4097 - 1025];
    SAID(VTAG_ARG, "event->command", vtag_note(b, &e));
    vtag_abort(b);
    shop_down(&p);
}

static vtag_err policy_as(vtag_batch *b, uint32_t min_ppm, double min_score, const char *hold, const char *why)
{
    vtag_policy policy;
    memset(&policy, 0, sizeof policy);
    policy.gate.min_ppm = min_ppm;
    policy.gate.has_min = 1;
    policy.gate.min_score = min_score;
    policy.hold = hold;
    return vtag_policy_set(b, &policy, why);
}

static void policy_and_metadata_that_cannot_be_set_are_said(void)
{
    shop p;
    vtag_batch *b;
    vtag_policy policy;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "policy", vtag_policy_set(b, NULL, "why"));
    SAID(VTAG_ARG, "reason", policy_as(b, 0, 0, NULL, NULL));
    SAID(VTAG_ARG, "reason", policy_as(b, 0, 0, NULL, ""));
    SAID(VTAG_ARG, "reason", policy_as(b, 0, 0, NULL, &long_text[4097 - 1025]));
    SAID(VTAG_ARG, "policy", policy_as(b, 1000001, 0, NULL, "why"));
    SAID(VTAG_ARG, "policy", policy_as(b, 0, (double)NAN, NULL, "why"));
    SAID(VTAG_ARG, "policy", policy_as(b, 0, 0, &long_text[4097 - 1025], "why"));
    memset(&policy, 0, sizeof policy);
    policy.gate.max_waived_ppm = 1000001;
    SAID(VTAG_ARG, "policy", vtag_policy_set(b, &policy, "why"));
    policy.gate.max_waived_ppm = 0;
    policy.gate.score = &long_text[4097 - 256];
    SAID(VTAG_ARG, "policy", vtag_policy_set(b, &policy, "why"));
    policy.gate.score = NULL;
    policy.gate.has_drop = 1;
    policy.gate.max_drop = (double)NAN;
    SAID(VTAG_ARG, "policy", vtag_policy_set(b, &policy, "why"));
    OK(policy_as(b, 0, 0, &long_text[4097 - 1024], &long_text[4097 - 1024]));
    SAID(VTAG_ARG, "name", vtag_meta_set(b, NULL, "x", 1));
    SAID(VTAG_ARG, "name", vtag_meta_set(b, "", "x", 1));
    SAID(VTAG_ARG, "name", vtag_meta_set(b, &long_text[4097 - 256], "x", 1));
    OK(vtag_meta_set(b, &long_text[4097 - 255], "x", 1));
    OK(vtag_commit(b));
    shop_down(&p);
}

static void an_alias_that_cannot_be_given_is_said(void)
{
    shop p;
    vtag_batch *b;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_ARG, "name", vtag_alias(b, p.a, NULL, "why"));
    SAID(VTAG_NAME, "name", vtag_alias(b, p.a, "", "why"));
    SAID(VTAG_NAME, "name", vtag_alias(b, p.a, "no version", "why"));
    SAID(VTAG_NAME, "name", vtag_alias(b, p.a, &long_text[4097 - 256], "why"));
    SAID(VTAG_ARG, "reason", vtag_alias(b, p.a, "true@1", NULL));
    SAID(VTAG_ARG, "reason", vtag_alias(b, p.a, "true@1", ""));
    SAID(VTAG_ARG, "reason", vtag_alias(b, p.a, "true@1", &long_text[4097 - 1025]));
    SAID(VTAG_NOTAG, "tag", vtag_alias(b, 0, "true@1", "why"));
    SAID(VTAG_NOTAG, "tag", vtag_alias(b, 77, "true@1", "why"));
    SAID(VTAG_RETIRED, "tag", vtag_alias(b, p.gone, "true@1", "why"));
    SAID(VTAG_EXISTS, "name", vtag_alias(b, p.a, "m@2", "why"));
    SAID(VTAG_EXISTS, "name", vtag_alias(b, p.a, "m@3", "why"));
    SAID(VTAG_EXISTS, "name", vtag_alias(b, p.a, "m@1", "why"));
    OK(vtag_alias(b, p.a, "true@1", "why"));
    SAID(VTAG_EXISTS, "tag", vtag_alias(b, p.a, "other@1", "why"));
    SAID(VTAG_EXISTS, "name", vtag_alias(b, p.c, "true@1", "why"));
    vtag_abort(b);
    shop_down(&p);
}

static vtag_err cutover_as(vtag_batch *b, vtag_tag tag, uint32_t min_ppm, double min_score, const char *score,
                           const char *reason)
{
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = min_ppm;
    gate.has_min = 1;
    gate.min_score = min_score;
    gate.score = score;
    gate.reason = reason;
    return vtag_cutover(b, tag, &gate, NULL);
}

static void a_step_of_a_migration_that_cannot_be_taken_is_said(void)
{
    shop p;
    vtag_batch *b;
    shop_up(&p);
    b = begin(p.db);
    SAID(VTAG_NOTAG, "tag", vtag_cutover(b, 0, NULL, NULL));
    SAID(VTAG_NOTAG, "tag", vtag_cutover(b, 77, NULL, NULL));
    SAID(VTAG_RETIRED, "tag", vtag_cutover(b, p.gone, NULL, NULL));
    SAID(VTAG_GATE, "tag", vtag_cutover(b, p.c, NULL, NULL));
    SAID(VTAG_ARG, "gate->reason", cutover_as(b, p.c, 1, 0, NULL, NULL));
    SAID(VTAG_ARG, "gate", cutover_as(b, p.c, 1000001, 0, NULL, "why"));
    SAID(VTAG_ARG, "gate", cutover_as(b, p.c, 1, (double)NAN, "ndcg", "why"));
    SAID(VTAG_ARG, "gate", cutover_as(b, p.c, 1, 0, &long_text[4097 - 256], "why"));
    SAID(VTAG_ARG, "gate", cutover_as(b, p.c, 1, 0, NULL, &long_text[4097 - 1025]));
    SAID(VTAG_NOTFOUND, "to", vtag_rollback(b, 0, NULL));
    SAID(VTAG_NOTAG, "to", vtag_rollback(b, 77, NULL));
    SAID(VTAG_RETIRED, "to", vtag_rollback(b, p.gone, NULL));
    SAID(VTAG_ARG, "to", vtag_rollback(b, p.c, NULL));
    SAID(VTAG_NOTAG, "tag", vtag_retire(b, 0, "why", NULL));
    SAID(VTAG_NOTAG, "tag", vtag_retire(b, 77, "why", NULL));
    SAID(VTAG_RETIRED, "tag", vtag_retire(b, p.gone, "why", NULL));
    SAID(VTAG_INUSE, "tag", vtag_retire(b, p.a, "why", NULL));
    SAID(VTAG_ARG, "reason", vtag_retire(b, p.c, "", NULL));
    SAID(VTAG_ARG, "reason", vtag_retire(b, p.c, &long_text[4097 - 1025], NULL));
    OK(put_vec(b, &p, v2(p.c, 1, 0)));
    OK(cutover_as(b, p.c, VTAG_NONE, 0, NULL, "on trial"));
    SAID(VTAG_KEPT, "retention", vtag_retire(b, p.a, NULL, NULL));
    OK(policy_as(b, 0, 0, "an audit", "why"));
    SAID(VTAG_KEPT, "hold", vtag_retire(b, p.a, "why", NULL));
    vtag_abort(b);
    shop_down(&p);
}

static void what_only_a_restore_may_do_is_said(void)
{
    shop p;
    vtag_db *db;
    vtag_batch *b;
    vtag_begin_opts o;
    vtag_info info;
    vtag_stat st;
    shop_up(&p);
    memset(&info, 0, sizeof info);
    memset(&st, 0, sizeof st);
    memset(&o, 0, sizeof o);
    st.commit = 5;
    b = begin(p.db);
    SAID(VTAG_ARG, "restore", vtag_restore_tag(b, &info));
    SAID(VTAG_ARG, "restore", vtag_restore_stat(b, &st));
    vtag_abort(b);
    MUST(try_open(&p, "r.vtag", VTAG_NEW, &db));
    o.restore = 1;
    MUST(vtag_begin(db, &o, &b));
    SAID(VTAG_ARG, "info", vtag_restore_tag(b, NULL));
    SAID(VTAG_ARG, "spec->name", vtag_restore_tag(b, &info));
    SAID(VTAG_ARG, "stat", vtag_restore_stat(b, NULL));
    st.commit = 0;
    SAID(VTAG_ARG, "stat->commit", vtag_restore_stat(b, &st));
    st.commit = UINT64_MAX;
    SAID(VTAG_ARG, "stat->commit", vtag_restore_stat(b, &st));
    st.commit = 5;
    st.revision = UINT64_MAX;
    SAID(VTAG_ARG, "stat->revision", vtag_restore_stat(b, &st));
    SAID(VTAG_ARG, "item->rev", put_as(b, 1, NULL, 0));
    SAID(VTAG_ARG, "item->rev", put_as(b, 1, NULL, UINT64_MAX));
    SAID(VTAG_ARG, "event->seq", note_as(b, VTAG_K_NOTE, 0, NULL, "x"));
    vtag_abort(b);
    vtag_close(db);
    shop_down(&p);
}

/* Every call of a batch that failed says that it did, and its commit too. */
static void a_batch_that_cannot_go_on_says_so(void)
{
    shop p;
    vtag_batch *b;
    vtag_item it = item_of(9, "");
    vtag_event e = event_of(VTAG_K_NOTE, 0, NULL, "x");
    static char big[1 << 20];
    shop_up(&p);
    b = begin(p.db);
    it.data = big;
    it.size = sizeof big;
    p.r.limit = ram_find(&p.r, "t.vtag")->bytes;
    SAID(VTAG_NOSPACE, "t.vtag", vtag_put(b, &it, NULL, 0));
    SAID(VTAG_NOSPACE, "earlier", vtag_put(b, &it, NULL, 0));
    SAID(VTAG_NOSPACE, "earlier", vtag_del(b, 1));
    SAID(VTAG_NOSPACE, "earlier", vtag_note(b, &e));
    SAID(VTAG_NOSPACE, "earlier", vtag_meta_set(b, "x", "x", 1));
    SAID(VTAG_NOSPACE, "earlier", vtag_cutover(b, p.c, NULL, NULL));
    SAID(VTAG_NOSPACE, "failed", vtag_commit(b));
    p.r.limit = 0;
    CHECK_EQ(stat_of(p.db).items, 4);
    put(p.db, 9, "goes on", NULL, 0);
    shop_down(&p);
}

/* ---- Look ---------------------------------------------------------------------------------- */

static void a_list_that_cannot_be_read_is_said(void)
{
    shop p;
    vtag_snap *s;
    vtag_info info;
    vtag_event ev;
    vtag_item it;
    const char *name;
    uint64_t c = 0;
    size_t n;
    shop_up(&p);
    s = look(p.db);
    SAID(VTAG_ARG, "cursor", vtag_tags(s, NULL, &info, 1, &n));
    SAID(VTAG_ARG, "out", vtag_tags(s, &c, NULL, 1, &n));
    SAID(VTAG_ARG, "n:", vtag_tags(s, &c, &info, 1, NULL));
    SAID(VTAG_ARG, "cursor", vtag_history(s, NULL, &ev, 1, &n));
    SAID(VTAG_ARG, "out", vtag_history(s, &c, NULL, 1, &n));
    SAID(VTAG_ARG, "n:", vtag_history(s, &c, &ev, 1, NULL));
    SAID(VTAG_ARG, "cursor", vtag_metas(s, NULL, &name, 1, &n));
    SAID(VTAG_ARG, "no place", vtag_metas(s, &c, NULL, 1, &n));
    SAID(VTAG_ARG, "n:", vtag_metas(s, &c, &name, 1, NULL));
    SAID(VTAG_ARG, "cursor", vtag_items(s, 0, VTAG_ALL, NULL, &it, 1, &n));
    SAID(VTAG_ARG, "out", vtag_items(s, 0, VTAG_ALL, &c, NULL, 1, &n));
    SAID(VTAG_ARG, "n:", vtag_items(s, 0, VTAG_ALL, &c, &it, 1, NULL));
    SAID(VTAG_ARG, "states", vtag_items(s, p.a, 0, &c, &it, 1, &n));
    SAID(VTAG_ARG, "states", vtag_items(s, p.a, 64, &c, &it, 1, &n));
    SAID(VTAG_ARG, "states", vtag_items(s, p.a, VTAG_ALL | VTAG_NEWEST_FIRST | VTAG_OLDEST_FIRST, &c, &it, 1, &n));
    SAID(VTAG_NOTAG, "tag", vtag_items(s, 77, VTAG_ALL, &c, &it, 1, &n));
    SAID(VTAG_RETIRED, "tag", vtag_items(s, p.gone, VTAG_ALL, &c, &it, 1, &n));
    vtag_release(s);
    shop_down(&p);
}

static void what_is_not_there_to_be_read_is_said(void)
{
    shop p;
    vtag_snap *s;
    vtag_item it;
    vtag_info info;
    vtag_tag tag;
    vtag_row row;
    const void *data;
    float x[2];
    size_t n;
    shop_up(&p);
    s = look(p.db);
    SAID(VTAG_ARG, "stat", vtag_stats(s, NULL));
    SAID(VTAG_ARG, "name", vtag_find(s, NULL, &tag));
    SAID(VTAG_ARG, "tag", vtag_find(s, "m@1", NULL));
    SAID(VTAG_NOTAG, "name", vtag_find(s, "m@9", &tag));
    SAID(VTAG_ARG, "info", vtag_tag_info(s, p.a, NULL));
    SAID(VTAG_NOTAG, "tag", vtag_tag_info(s, 77, &info));
    SAID(VTAG_ARG, "item", vtag_get(s, 1, NULL));
    SAID(VTAG_NOTFOUND, "id", vtag_get(s, 99, &it));
    SAID(VTAG_NOTFOUND, "id", vtag_get(s, UINT64_MAX, &it));
    SAID(VTAG_NOTAG, "tag", vtag_vector(s, 1, 0, 0, x, 2, NULL));
    SAID(VTAG_NOTAG, "tag", vtag_vector(s, 1, 77, 0, x, 2, NULL));
    SAID(VTAG_RETIRED, "tag", vtag_vector(s, 1, p.gone, 0, x, 2, NULL));
    SAID(VTAG_DIM, "dim", vtag_vector(s, 1, p.a, 0, x, 1, NULL));
    SAID(VTAG_NOTFOUND, "id", vtag_vector(s, 99, p.a, 0, x, 2, NULL));
    SAID(VTAG_NOTFOUND, "id", vtag_vector(s, 1, p.c, 0, NULL, 0, &row));
    SAID(VTAG_NOTFOUND, "part", vtag_vector(s, 1, p.a, 1, x, 2, &row));
    SAID(VTAG_NOTFOUND, "part", vtag_vector(s, 1, p.a, UINT32_MAX, NULL, 0, &row));
    SAID(VTAG_ARG, "policy", vtag_policy_get(s, NULL));
    SAID(VTAG_ARG, "name", vtag_meta_get(s, NULL, &data, &n));
    SAID(VTAG_ARG, "p", vtag_meta_get(s, "there", NULL, &n));
    SAID(VTAG_ARG, "n", vtag_meta_get(s, "there", &data, NULL));
    SAID(VTAG_NOTFOUND, "name", vtag_meta_get(s, "", &data, &n));
    SAID(VTAG_NOTFOUND, "name", vtag_meta_get(s, "nowhere", &data, &n));
    SAID(VTAG_ARG, "report", vtag_verify(s, NULL, NULL, NULL));
    SAID(VTAG_ARG, "path", vtag_copy(s, NULL, NULL, NULL));
    SAID(VTAG_ARG, "path", vtag_copy(s, "", NULL, NULL));
    SAID(VTAG_EXISTS, "t.vtag", vtag_copy(s, "t.vtag", NULL, NULL));
    vtag_release(s);
    shop_down(&p);
}

static vtag_err search_as(const vtag_snap *s, vtag_vec q, vtag_search_opts o)
{
    vtag_hit hits[4];
    size_t n = 99;
    vtag_err err = vtag_search(s, q, &o, 4, hits, &n);
    CHECK_EQ(n, 0);
    return err;
}

static void what_cannot_be_searched_is_said(void)
{
    static const uint64_t down[] = {3, 2};
    static const vtag_ids descending = {down, 2}, missing = {NULL, 1};
    static const float nan_ = (float)NAN;
    vtag_search_opts o = {0};
    vtag_hit hits[8];
    vtag_snap *s;
    vtag_vec q;
    size_t n[2];
    shop p;
    shop_up(&p);
    s = look(p.db);
    q = v2(p.a, 1, 0);
    SAID(VTAG_NOTAG, "q.tag", search_as(s, v2(0, 1, 0), o));
    SAID(VTAG_NOTAG, "q.tag", search_as(s, v2(77, 1, 0), o));
    SAID(VTAG_RETIRED, "q.tag", search_as(s, v2(p.gone, 1, 0), o));
    SAID(VTAG_PREVIEW, "q.tag", search_as(s, v2(p.c, 1, 0), o));
    SAID(VTAG_DIM, "q.dim", search_as(s, vec(p.a, 1, q.x), o));
    SAID(VTAG_ARG, "q.x", search_as(s, vec(p.a, 2, NULL), o));
    SAID(VTAG_VALUE, "q.x", search_as(s, v2(p.a, 1, nan_), o));
    SAID(VTAG_VALUE, "q.x", search_as(s, v2(p.a, (float)INFINITY, 1), o));
    SAID(VTAG_VALUE, "q.x", search_as(s, v2(p.a, 0, 0), o));
    o.part = 1;
    SAID(VTAG_ARG, "opts->part", search_as(s, q, o));
    o.parts = 1;
    SAID(VTAG_ARG, "opts->part", search_as(s, q, o));
    memset(&o, 0, sizeof o);
    o.only = &descending;
    SAID(VTAG_ARG, "opts->only", search_as(s, q, o));
    o.only = &missing;
    SAID(VTAG_ARG, "opts->only", search_as(s, q, o));
    memset(&o, 0, sizeof o);
    o.max_dist = &nan_;
    SAID(VTAG_ARG, "opts->max_dist", search_as(s, q, o));
    memset(&o, 0, sizeof o);
    o.mode = (vtag_mode)2;
    SAID(VTAG_ARG, "opts->mode", search_as(s, q, o));
    SAID(VTAG_ARG, "hits", vtag_search(s, q, NULL, 4, NULL, n));
    SAID(VTAG_ARG, "n", vtag_search(s, q, NULL, 4, hits, NULL));
    SAID(VTAG_ARG, "k", vtag_search(s, q, NULL, SIZE_MAX, hits, n));
    SAID(VTAG_ARG, "nq", vtag_search_many(s, q, SIZE_MAX / 8, NULL, 4, hits, n));
    SAID(VTAG_ARG, "n", vtag_search_many(s, q, 1, NULL, 4, hits, NULL));
    vtag_release(s);
    shop_down(&p);
}

static vtag_err judge_as(const vtag_snap *s, vtag_tag tag, uint32_t min_ppm, const char *reason)
{
    vtag_verdict v;
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = min_ppm;
    gate.reason = reason;
    return vtag_judge(s, tag, &gate, &v);
}

static void what_cannot_be_judged_is_said(void)
{
    shop p;
    vtag_snap *s;
    vtag_cover cover;
    shop_up(&p);
    s = look(p.db);
    SAID(VTAG_ARG, "cover", vtag_coverage(s, p.c, 0, NULL));
    SAID(VTAG_NOTAG, "tag", vtag_coverage(s, 0, 0, &cover));
    SAID(VTAG_NOTAG, "tag", vtag_coverage(s, 77, 0, &cover));
    SAID(VTAG_RETIRED, "tag", vtag_coverage(s, p.gone, 0, &cover));
    SAID(VTAG_NOTAG, "base", vtag_coverage(s, p.c, 77, &cover));
    SAID(VTAG_RETIRED, "base", vtag_coverage(s, p.c, p.gone, &cover));
    SAID(VTAG_ARG, "verdict", vtag_judge(s, p.c, NULL, NULL));
    SAID(VTAG_NOTAG, "tag", judge_as(s, 0, 0, NULL));
    SAID(VTAG_NOTAG, "tag", judge_as(s, 77, 0, NULL));
    SAID(VTAG_RETIRED, "tag", judge_as(s, p.gone, 0, NULL));
    SAID(VTAG_ARG, "gate->reason", judge_as(s, p.c, 1, NULL));
    SAID(VTAG_ARG, "gate", judge_as(s, p.c, 1000001, "why"));
    SAID(VTAG_ARG, "gate", judge_as(s, p.c, 1, &long_text[4097 - 1025]));
    vtag_release(s);
    shop_down(&p);
}

static shop forked;
static vtag_snap *forked_snap;
static vtag_batch *forked_batch;

static void after_fork(const char *path)
{
    vtag_batch *b = (vtag_batch *)1;
    vtag_snap *s = (vtag_snap *)1;
    vtag_stat st;
    SAID(VTAG_ARG, "forked", vtag_begin(forked.db, NULL, &b));
    SAID(VTAG_ARG, "forked", vtag_snapshot(forked.db, &s));
    CHECK(b == NULL && s == NULL);
    SAID(VTAG_ARG, "forked", vtag_flush(forked.db));
    SAID(VTAG_ARG, "forked", vtag_seal(forked.db, NULL, NULL));
    SAID(VTAG_ARG, "forked", vtag_compact(forked.db, NULL, NULL));
    SAID(VTAG_ARG, "forked", vtag_stats(forked_snap, &st));
    SAID(VTAG_ARG, "forked", vtag_copy(forked_snap, path, NULL, NULL));
    SAID(VTAG_ARG, "forked", put_as(forked_batch, 1, NULL, 0));
    SAID(VTAG_ARG, "forked", vtag_commit(forked_batch));
    CHECK_EQ(refusals, 9);
}

static void what_a_forked_child_cannot_do_is_said(void)
{
    uint64_t before = refusals;
    shop_up(&forked);
    forked_snap = look(forked.db);
    forked_batch = begin(forked.db);
    refusals = 0;
    joined(spawn(after_fork, "c.vtag"));
    refusals = before + 9;
    vtag_abort(forked_batch);
    vtag_release(forked_snap);
    shop_down(&forked);
}

/* ---- What a refusal leaves -------------------------------------------------------------- */

#define WILD(p) memset(&(p), 0xA5, sizeof(p))
#define NULLED(want, call, out) (void)(WILD(out) && (t_check_err((want), (call), #call, __FILE__, __LINE__), \
                                                     CHECK_EQ(!!(out), 0)))

static void handles_are_null_after_a_refusal(void)
{
    shop p;
    vtag_db *db, *r;
    vtag_batch *b;
    vtag_snap *s;
    static uint64_t zeros[16384];
    shop_up(&p);
    MUST(try_open(&p, "t.vtag", VTAG_READ, &r));
    NULLED(VTAG_ARG, vtag_open(NULL, NULL, &db), db);
    NULLED(VTAG_NOTFOUND, try_open(&p, "none", VTAG_READ, &db), db);
    NULLED(VTAG_EXISTS, try_open(&p, "t.vtag", VTAG_NEW, &db), db);
    NULLED(VTAG_ARG, try_open(&p, "t.vtag", (vtag_access)9, &db), db);
    NULLED(VTAG_ARG, vtag_open_memory(NULL, 0, NULL, &db), db);
    NULLED(VTAG_FORMAT, vtag_open_memory(zeros, sizeof zeros, NULL, &db), db);
    NULLED(VTAG_ARG, vtag_begin(NULL, NULL, &b), b);
    NULLED(VTAG_READONLY, vtag_begin(r, NULL, &b), b);
    NULLED(VTAG_ARG, vtag_snapshot(NULL, &s), s);
    heap.fail_at = heap.calls + 1;
    NULLED(VTAG_NOMEM, vtag_snapshot(r, &s), s);
    heap.fail_at = heap.calls + 1;
    NULLED(VTAG_NOMEM, vtag_begin(p.db, NULL, &b), b);
    heap.fail_at = heap.calls + 1;
    NULLED(VTAG_NOMEM, try_open(&p, "t.vtag", VTAG_READ, &db), db);
    heap.fail_at = 0;
    vtag_close(db); /* what was left is legal to give back */
    vtag_release(s);
    vtag_abort(b);
    vtag_close(r);
    shop_down(&p);
}

static void counts_are_zero_after_a_refusal(void)
{
    shop p;
    vtag_snap *s;
    vtag_info info;
    vtag_event ev;
    vtag_item it;
    vtag_hit hit[3];
    const char *name;
    const void *data;
    uint64_t c = 0;
    size_t n, many[3], i;
    shop_up(&p);
    s = look(p.db);
    NULLED(VTAG_ARG, vtag_tags(NULL, &c, &info, 1, &n), n);
    NULLED(VTAG_ARG, vtag_tags(s, NULL, &info, 1, &n), n);
    NULLED(VTAG_ARG, vtag_history(s, &c, NULL, 1, &n), n);
    NULLED(VTAG_ARG, vtag_history(NULL, &c, &ev, 1, &n), n);
    NULLED(VTAG_ARG, vtag_metas(s, NULL, &name, 1, &n), n);
    NULLED(VTAG_ARG, vtag_items(s, 0, 64, &c, &it, 1, &n), n);
    NULLED(VTAG_NOTAG, vtag_items(s, 77, VTAG_ALL, &c, &it, 1, &n), n);
    NULLED(VTAG_NOTFOUND, vtag_meta_get(s, "nowhere", &data, &n), n);
    NULLED(VTAG_NOTFOUND, vtag_meta_get(s, "nowhere", &data, &n), data);
    NULLED(VTAG_ARG, vtag_meta_get(NULL, "there", &data, &n), data);
    NULLED(VTAG_NOTAG, vtag_search(s, v2(77, 1, 0), NULL, 1, hit, &n), n);
    NULLED(VTAG_PREVIEW, vtag_search(s, v2(p.c, 1, 0), NULL, 1, hit, &n), n);
    NULLED(VTAG_ARG, vtag_search(NULL, v2(p.a, 1, 0), NULL, 1, hit, &n), n);
    WILD(many);
    ERR(VTAG_DIM, vtag_search_many(s, vec(p.a, 1, v2(0, 1, 1).x), 3, NULL, 1, hit, many));
    for (i = 0; i < 3; i++) CHECK_EQ(many[i], 0);
    vtag_release(s);
    shop_down(&p);
}

static void results_are_zero_after_a_refusal(void)
{
    shop p;
    vtag_batch *b;
    vtag_snap *s;
    vtag_verdict v;
    vtag_cover cover;
    shop_up(&p);
    s = look(p.db);
    b = begin(p.db);
    NULLED(VTAG_NOTAG, vtag_coverage(s, 77, 0, &cover), cover.base);
    NULLED(VTAG_NOTAG, vtag_judge(s, 77, NULL, &v), v.pass);
    NULLED(VTAG_NOTAG, vtag_cutover(b, 77, NULL, &v), v.pass);
    NULLED(VTAG_NOTFOUND, vtag_rollback(b, 0, &cover), cover.extra);
    NULLED(VTAG_RETIRED, vtag_retire(b, p.gone, NULL, &cover), cover.base);
    vtag_abort(b);
    vtag_release(s);
    shop_down(&p);
}

/* ---- Misuse that has an answer -------------------------------------------------------------- */

static void a_batch_outlives_its_handle(void)
{
    static const vtag_durability how[] = {VTAG_FULL_SYNC, VTAG_LAZY_SYNC, VTAG_NO_SYNC};
    size_t i;
    for (i = 0; i < 2 * LENGTH(how); i++) {
        vtag_open_opts o;
        shop p;
        vtag_db *db;
        vtag_batch *b;
        shop_up(&p);
        memset(&o, 0, sizeof o);
        o.io = &p.r.io;
        o.durability = how[i / 2];
        MUST(vtag_open("t.vtag", &o, &db));
        b = begin(db);
        put_b(b, 10, "before", NULL, 0);
        vtag_close(db);
        put_b(b, 11, "after", NULL, 0);
        ERR(VTAG_NOTFOUND, vtag_del(b, 12));
        if (i % 2) OK(vtag_commit(b));
        else vtag_abort(b);
        put(p.db, 13, "the lock is free", NULL, 0);
        CHECK_EQ(stat_of(p.db).items, i % 2 ? 7 : 5);
        vtag_close(p.db);
        CHECK_EQ(p.r.opens, 0);
        MUST(try_open(&p, "t.vtag", VTAG_EXISTING, &p.db));
        CHECK_EQ(stat_of(p.db).items, i % 2 ? 7 : 5);
        verify(p.db);
        shop_down(&p);
    }
}

static void an_item_is_used_again_for_other_ids_and_keys(void)
{
    static const char *const keys[] = {"one", "two", "three", "one"};
    shop p;
    vtag_batch *b;
    vtag_item it = item_of(0, "x");
    uint64_t id;
    size_t i;
    shop_up(&p);
    b = begin(p.db);
    for (id = 100; id < 104; id++) { /* by id, and back to 0, which is an id too */
        it.id = id % 2 ? id : 0;
        it.data = id % 2 ? "odd" : "even";
        it.size = 3;
        OK(vtag_put(b, &it, NULL, 0));
        CHECK_EQ(it.id, id % 2 ? id : 0);
    }
    for (i = 0; i < LENGTH(keys); i++) {
        it.key = keys[i];
        it.data = keys[i];
        OK(vtag_put(b, &it, NULL, 0));
        CHECK_EQ(it.id, vtag_id(keys[i]));
    }
    OK(vtag_commit(b));
    it.key = NULL;
    it.id = 1;
    it.data = "in another batch";
    b = begin(p.db);
    OK(vtag_put(b, &it, NULL, 0));
    it.key = "two";
    OK(vtag_put(b, &it, NULL, 0));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(p.db).items, 4 + 3 + 3);
    shop_down(&p);
}

static void an_item_that_was_read_is_used_again(void)
{
    shop p;
    vtag_snap *s;
    vtag_batch *b;
    vtag_item it, page[4];
    uint64_t c = 0;
    size_t n;
    shop_up(&p);
    s = look(p.db);
    OK(vtag_get(s, 1, &it));
    OK(vtag_items(s, 0, VTAG_ALL, &c, page, 4, &n));
    b = begin(p.db);
    it.id = 20; /* of another id than it was read for: new */
    it.key = NULL;
    OK(vtag_put(b, &it, NULL, 0));
    page[0].id = 21;
    page[0].key = NULL;
    OK(vtag_put(b, &page[0], NULL, 0));
    page[1].id = 0;
    page[1].key = "fresh";
    OK(vtag_put(b, &page[1], NULL, 0));
    OK(waive_as(b, 20, it.rev, p.c, "why"));
    page[2].id = 21;
    page[2].key = NULL;
    OK(vtag_waive(b, &page[2], p.c, "what it had before says nothing"));
    OK(vtag_commit(b));
    vtag_release(s);
    CHECK_EQ(stat_of(p.db).items, 7);
    shop_down(&p);
}

/* What the revision is for stays: the same id, changed meanwhile, is not overwritten. */
static void an_item_of_the_same_id_still_guards_it(void)
{
    shop p;
    vtag_snap *s;
    vtag_batch *b;
    vtag_item it, keyed;
    uint64_t rev;
    shop_up(&p);
    s = look(p.db);
    OK(vtag_get(s, 1, &it));
    OK(vtag_get(s, vtag_id("key"), &keyed));
    rev = put(p.db, 1, "by another", NULL, 0);
    put(p.db, vtag_id("key"), "by another", NULL, 0);
    b = begin(p.db);
    it.data = keyed.data = "mine";
    it.size = keyed.size = 4;
    ERR(VTAG_CHANGED, vtag_put(b, &it, NULL, 0));
    ERR(VTAG_CHANGED, vtag_put(b, &keyed, NULL, 0));
    ERR(VTAG_CHANGED, vtag_waive(b, &it, p.c, "why"));
    it.rev = rev;
    OK(vtag_put(b, &it, NULL, 0));
    OK(vtag_put(b, &it, NULL, 0)); /* it has the newest revision now */
    OK(vtag_del(b, 1));
    ERR(VTAG_CHANGED, vtag_put(b, &it, NULL, 0));
    it.rev = 0;
    OK(vtag_put(b, &it, NULL, 0));
    OK(vtag_commit(b));
    vtag_release(s);
    shop_down(&p);
}

/* ---- Texts ------------------------------------------------------------------------------------ */

static void a_note_holds_1024_bytes_and_no_more(void)
{
    shop p;
    vtag_batch *b;
    vtag_snap *s;
    vtag_event ev[40];
    uint64_t c = 0;
    size_t n, last;
    shop_up(&p);
    b = begin(p.db);
    ERR(VTAG_ARG, note_as(b, VTAG_K_NOTE, 0, NULL, &long_text[4097 - 1025]));
    ERR(VTAG_ARG, note_as(b, VTAG_K_HELD, p.a, NULL, long_text));
    OK(note_as(b, VTAG_K_NOTE, 0, NULL, &long_text[4097 - 1024]));
    OK(note_as(b, VTAG_K_SCORE, p.a, &long_text[4097 - 255], ""));
    OK(vtag_commit(b));
    s = look(p.db);
    OK(vtag_history(s, &c, ev, LENGTH(ev), &n));
    REQUIRE(n > 2);
    last = n - 1;
    CHECK_EQ(strlen(ev[last - 1].text), 1024);
    CHECK_EQ(strlen(ev[last].name), 255);
    vtag_release(s);
    shop_down(&p);
}

static void a_restored_event_holds_what_its_kind_does(void)
{
    static const int kinds[] = {VTAG_K_NOTE, VTAG_K_SCORE, VTAG_K_WAIVED, VTAG_K_POLICY, VTAG_K_CUTOVER, VTAG_K_RETIRED};
    shop p;
    vtag_db *db;
    vtag_batch *b;
    vtag_begin_opts o;
    vtag_event e;
    size_t i;
    shop_up(&p);
    MUST(try_open(&p, "r.vtag", VTAG_NEW, &db));
    memset(&o, 0, sizeof o);
    o.restore = 1;
    MUST(vtag_begin(db, &o, &b));
    for (i = 0; i < LENGTH(kinds); i++) {
        e = event_of(kinds[i], 0, "name", &long_text[4097 - 1025]);
        e.seq = i + 1;
        SAID(VTAG_ARG, "event->text", vtag_note(b, &e));
        e.text = &long_text[4097 - 1024];
        OK(vtag_note(b, &e));
    }
    e = event_of(VTAG_K_DECLARED, 0, "m@1", long_text);
    e.seq = i + 1;
    SAID(VTAG_ARG, "event->text", vtag_note(b, &e));
    e.text = &long_text[1];
    OK(vtag_note(b, &e));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(db).events, LENGTH(kinds) + 1);
    verify(db);
    vtag_close(db);
    shop_down(&p);
}

/* ---- Waiting -------------------------------------------------------------------------------------- */

static vtag_io patient;
static const vtag_io *os_io;
static uint32_t longest; /* that anyone was ready to wait */

static vtag_err count_wait(void *file, int which, uint32_t wait_ms)
{
    if (wait_ms > longest) longest = wait_ms;
    return os_io->lock(file, which, wait_ms > 50 ? 50 : wait_ms);
}

static vtag_err begin_waiting(vtag_db *db, uint32_t wait_ms)
{
    vtag_begin_opts o;
    vtag_batch *b;
    vtag_err err;
    memset(&o, 0, sizeof o);
    o.wait_ms = wait_ms;
    longest = 0;
    err = vtag_begin(db, &o, &b);
    vtag_abort(b);
    return err;
}

static void wait_ms_says_how_long_nought_is_5_seconds_and_none_is_none(void)
{
    vtag_open_opts o;
    vtag_db *db, *other;
    vtag_batch *b, *c;
    memset(&o, 0, sizeof o);
    os_io = engine_io();
    patient = *os_io;
    patient.lock = count_wait;
    o.io = &patient;
    MUST(vtag_open(t_path("wait.vtag"), &o, &db));
    MUST(vtag_open(t_path("wait.vtag"), NULL, &other));
    b = begin(other);
    ERR(VTAG_LOCKED, begin_waiting(db, VTAG_NONE));
    CHECK_EQ(longest, 0);
    ERR(VTAG_LOCKED, begin_waiting(db, 1));
    CHECK(longest <= 1);
    ERR(VTAG_LOCKED, begin_waiting(db, 700));
    CHECK(longest > 300 && longest <= 700);
    ERR(VTAG_LOCKED, begin_waiting(db, 0));
    CHECK(longest > 3000 && longest <= 5000);
    longest = 0;
    ERR(VTAG_LOCKED, vtag_begin(db, NULL, &c));
    CHECK(longest > 3000 && longest <= 5000);
    vtag_abort(b);
    OK(begin_waiting(db, VTAG_NONE));
    vtag_close(other);
    vtag_close(db);
}

typedef struct pair { vtag_db *db; vtag_batch *b; vtag_err err; uint64_t go; } pair;

/* Ends the batch of another thread once someone waits for it. */
static void *end_it(void *arg)
{
    pair *p = (pair *)arg;
    struct timespec nap = {0, 20000000};
    while (!__atomic_load_n(&p->go, __ATOMIC_ACQUIRE)) nanosleep(&nap, NULL);
    nanosleep(&nap, NULL);
    p->err = vtag_commit(p->b);
    return NULL;
}

/* A batch may change its thread; who began it holds it no longer when it is over. */
static void a_batch_that_another_thread_ends_is_over_for_all(void)
{
    pair p = {NULL, NULL, VTAG_OK, 1};
    pthread_t thread;
    vtag_batch *b;
    MUST(vtag_open(t_path("given.vtag"), NULL, &p.db));
    p.b = begin(p.db);
    ERR(VTAG_LOCKED, vtag_begin(p.db, NULL, &b));
    REQUIRE(pthread_create(&thread, NULL, end_it, &p) == 0);
    pthread_join(thread, NULL);
    OK(p.err);
    OK(vtag_flush(p.db));
    MUST(vtag_begin(p.db, NULL, &b));
    vtag_abort(b);
    vtag_close(p.db);
}

static void *wait_for_it(void *arg)
{
    pair *p = (pair *)arg;
    vtag_batch *b;
    __atomic_store_n(&p->go, 1, __ATOMIC_RELEASE);
    p->err = vtag_begin(p->db, NULL, &b);
    vtag_abort(b);
    if (!p->err) p->err = vtag_flush(p->db);
    if (!p->err) p->err = vtag_seal(p->db, NULL, NULL);
    if (!p->err) p->err = vtag_compact(p->db, NULL, NULL);
    return NULL;
}

/* Only the thread that holds the batch would wait for itself; others wait their turn. */
static void another_thread_waits_for_the_batch(void)
{
    pair p = {NULL, NULL, VTAG_OK, 0};
    struct timespec nap = {0, 20000000};
    pthread_t thread;
    MUST(vtag_open(t_path("turn.vtag"), NULL, &p.db));
    p.b = begin(p.db);
    put_b(p.b, 1, "x", NULL, 0);
    REQUIRE(pthread_create(&thread, NULL, wait_for_it, &p) == 0);
    while (!__atomic_load_n(&p.go, __ATOMIC_ACQUIRE)) nanosleep(&nap, NULL);
    nanosleep(&nap, NULL);
    OK(vtag_commit(p.b));
    pthread_join(thread, NULL);
    OK(p.err);
    CHECK_EQ(stat_of(p.db).items, 1);
    vtag_close(p.db);
}

static void who_holds_snapshots_is_told_how_many_and_how_long(void)
{
    struct timespec nap = {0, 30000000};
    shop p;
    vtag_db *other;
    vtag_snap *old, *young;
    vtag_stat st;
    shop_up(&p);
    MUST(try_open(&p, "t.vtag", VTAG_EXISTING, &other));
    old = look(p.db);
    OK(vtag_stats(old, &st));
    CHECK(st.held == 1 && st.held_ms < 60000);
    nanosleep(&nap, NULL);
    young = look(p.db);
    OK(vtag_stats(young, &st));
    CHECK(st.held == 2 && st.held_ms >= 29);
    CHECK_EQ(stat_of(other).held, 1); /* its own, which asks */
    vtag_release(old);
    OK(vtag_stats(young, &st));
    CHECK_EQ(st.held, 1);
    nanosleep(&nap, NULL);
    OK(vtag_stats(young, &st));
    CHECK(st.held_ms >= 29);
    old = look(p.db);
    vtag_close(p.db);
    OK(vtag_stats(young, &st)); /* of a handle that was closed */
    CHECK_EQ(st.held, 2);
    vtag_release(young);
    vtag_release(old);
    p.db = other;
    shop_down(&p);
}

/* ---- A fork that does not exec -------------------------------------------------------------------- */

static int news[2], stay[2]; /* pipes: the writer holds the lock; the worker may go */

/* A worker that knows nothing of vtag, forked while a handle is open. */
static void holds_and_has_a_worker(const char *path)
{
    int exec = strstr(path, "exec") != NULL;
    vtag_db *db;
    char c = 0;
    MUST(vtag_open(path, NULL, &db));
    if (fork() == 0) {
        close(stay[1]);
        close(news[0]);
        close(news[1]);
        if (exec) dup2(stay[0], 0);
        if (exec) execlp("cat", "cat", (char *)NULL);
        while (read(stay[0], &c, 1) > 0) { }
        _exit(0);
    }
    begin(db);
    CHECK(write(news[1], &c, 1) == 1);
    pause();
}

/* The writer is dead, its worker lives: 1 if the lock is taken. */
static void the_writer_dies_before_its_worker(const char *path, vtag_err then)
{
    vtag_db *db = NULL;
    pid_t writer;
    char c;
    REQUIRE(pipe(news) == 0 && pipe(stay) == 0);
    MUST(vtag_open(path, NULL, &db));
    writer = spawn(holds_and_has_a_worker, path);
    close(news[1]);
    close(stay[0]);
    CHECK(read(news[0], &c, 1) == 1);
    CHECK(kill(writer, SIGKILL) == 0);
    killed(writer, SIGKILL);
    if (!then) OK(begin_waiting(db, 20000)); /* when the worker became another program */
    else ERR(then, begin_waiting(db, VTAG_NONE));
    CHECK_EQ(stat_of(db).items, 0); /* who reads waits for nobody */
    close(stay[1]); /* the worker ends */
    close(news[0]);
    OK(begin_waiting(db, 20000));
    vtag_close(db);
}

static void a_forked_worker_keeps_the_lock_of_a_dead_writer_until_it_ends(void)
{
    the_writer_dies_before_its_worker(t_path("fork.vtag"), VTAG_LOCKED);
}

static void a_worker_that_became_another_program_keeps_nothing(void)
{
    the_writer_dies_before_its_worker(t_path("exec.vtag"), VTAG_OK);
}

/* ---- Numbers at the edge ------------------------------------------------------------------------------ */

enum { EDGES = 10 };

/* Values whose squares and products no float holds, and some that none can tell from 0. */
static const float edge[EDGES] = {1e20f, -1e20f, 3e38f, -3e38f, 1, 0, 1e-30f, -1e-45f, 1e10f, -1.9e19f};

/* Every row is found, once, nearest first, at a distance that is a number. */
static void every_edge_is_found(const vtag_snap *s, vtag_tag tag, vtag_vec q, vtag_mode mode)
{
    vtag_search_opts o = {0};
    vtag_hit hits[2 * EDGES], half[EDGES], rest[EDGES];
    float most = FLT_MAX;
    size_t n = 0, m, k, i;
    unsigned seen = 0;
    q.tag = tag;
    o.preview = 1;
    o.mode = mode;
    OK(vtag_search(s, q, &o, 2 * EDGES, hits, &n));
    CHECK_EQ(n, EDGES);
    for (i = 0; i < n; i++) {
        CHECK(hits[i].dist >= -FLT_MAX && hits[i].dist <= FLT_MAX);
        if (i) CHECK(hit_before(&hits[i - 1], &hits[i]));
        seen |= 1u << hits[i].id;
    }
    CHECK_EQ(seen, (1u << EDGES) - 1);
    o.max_dist = &most;
    OK(vtag_search(s, q, &o, EDGES, half, &m));
    CHECK(same_hits(hits, n, half, m));
    o.parts = 2; /* and in two halves, joined */
    OK(vtag_search(s, q, &o, EDGES, half, &m));
    o.part = 1;
    OK(vtag_search(s, q, &o, EDGES, rest, &k));
    CHECK(same_hits(hits, n, half, vtag_merge(half, m, rest, k, EDGES)));
}

static void rows_at_the_edge_of_a_float_are_found(void)
{
    static const vtag_metric metric[] = {VTAG_L2SQ, VTAG_DOT};
    static const char *const name[] = {"l2@1", "dot@1"};
    size_t i, j;
    env e;
    env_up(&e);
    for (i = 0; i < LENGTH(metric); i++) {
        vtag_tag tag = declare(e.db, name[i], 2, metric[i]);
        vtag_batch *b = begin(e.db);
        vtag_snap *s;
        for (j = 0; j < EDGES; j++) {
            vtag_vec v = v2(tag, edge[j], edge[(j * 3) % EDGES]);
            put_b(b, j, NULL, &v, 1);
        }
        OK(vtag_commit(b));
        s = look(e.db);
        for (j = 0; j < EDGES; j++) {
            every_edge_is_found(s, tag, v2(tag, edge[j], 1), VTAG_EXACT);
            every_edge_is_found(s, tag, v2(tag, edge[j], -edge[9 - j]), VTAG_APPROX);
        }
        vtag_release(s);
    }
    env_down(&e);
}

static void a_threshold_that_is_no_number_is_refused_and_an_infinite_one_is_none(void)
{
    static const float nan_ = (float)NAN, all = (float)INFINITY, none = -(float)INFINITY, most = FLT_MAX;
    vtag_search_opts o = {0};
    vtag_hit hits[4];
    size_t n = 9;
    env e;
    vtag_tag tag;
    vtag_snap *s;
    env_up(&e);
    tag = declare(e.db, "l2@1", 2, VTAG_L2SQ);
    put2(e.db, 1, NULL, tag, 1e20f, 0);
    put2(e.db, 2, NULL, tag, 1, 0);
    s = look(e.db);
    o.max_dist = &nan_;
    ERR(VTAG_ARG, vtag_search(s, v2(tag, 0, 0), &o, 4, hits, &n));
    CHECK_EQ(n, 0);
    o.max_dist = &all;
    OK(vtag_search(s, v2(tag, 0, 0), &o, 4, hits, &n));
    CHECK_EQ(n, 2);
    o.max_dist = &most;
    OK(vtag_search(s, v2(tag, 0, 0), &o, 4, hits, &n));
    CHECK_EQ(n, 2);
    o.max_dist = &none;
    OK(vtag_search(s, v2(tag, 0, 0), &o, 4, hits, &n));
    CHECK_EQ(n, 0);
    vtag_release(s);
    env_down(&e);
}

/* Cosine tells no direction from another that is nearer than this. */
static void a_vector_and_its_multiples_are_equally_near(void)
{
    static const float by[] = {1, 3, 0.1f, 1e-12f, 1e15f, 7, 0.3333333f, 123456.7f};
    env e;
    vtag_tag tag;
    vtag_hit hits[LENGTH(by)];
    vtag_snap *s;
    size_t i, j, n = 0;
    env_up(&e);
    tag = declare(e.db, "m@1", 3, VTAG_COSINE);
    for (i = 0; i < LENGTH(by); i++) {
        float x[3] = {1, 0, 2};
        vtag_vec v = vec(tag, 3, x);
        for (j = 0; j < 3; j++) x[j] *= by[i];
        put(e.db, i, NULL, &v, 1);
    }
    s = look(e.db);
    for (i = 0; i < LENGTH(by); i++) {
        float x[3];
        OK(vtag_vector(s, i, tag, 0, x, 3, NULL));
        OK(vtag_search(s, vec(tag, 3, x), NULL, LENGTH(by), hits, &n));
        CHECK_EQ(n, LENGTH(by));
        CHECK(hits[0].dist >= 0 && hits[n - 1].dist <= 1.2e-7f);
    }
    vtag_release(s);
    env_down(&e);
}

/* Off by at most 2^-11 of a number, or 2^-25 where it is below the smallest normal half. */
static void halves_are_off_by_no_more_than_is_promised(void)
{
    env e;
    vtag_spec spec;
    vtag_batch *b;
    vtag_snap *s;
    vtag_tag tag = 0;
    uint64_t seed = t_seed(), id;
    float x[64], y[64];
    int i;
    env_up(&e);
    b = begin(e.db);
    memset(&spec, 0, sizeof spec);
    spec.name = "half@1";
    spec.dim = 64;
    spec.metric = VTAG_L2SQ;
    spec.codec = VTAG_F16;
    OK(vtag_declare(b, &spec, &tag));
    OK(vtag_commit(b));
    for (id = 0; id < 64; id++) {
        vtag_vec v = vec(tag, 64, x);
        for (i = 0; i < 64; i++) x[i] = t_float(&seed) * ldexpf(1, 15 - (int)id % 48);
        if (id == 63) for (i = 0; i < 64; i++) x[i] = ldexpf(1 + (float)i / 64, -25 - i / 8);
        put(e.db, id, NULL, &v, 1);
        s = look(e.db);
        OK(vtag_vector(s, id, tag, 0, y, 64, NULL));
        for (i = 0; i < 64; i++) CHECK(fabsf(x[i] - y[i]) <= fmaxf(fabsf(x[i]) / 2048, ldexpf(1, -25)));
        vtag_release(s);
    }
    env_down(&e);
}

/* ---- The host's arithmetic --------------------------------------------------------------------------- */

static shop rounded;

static void set_rounding(const char *how)
{
    if (!strncmp(how, "nearest", 7)) return;
#if defined(__SSE__)
    if (!strncmp(how, "flush", 5)) _mm_setcsr(_mm_getcsr() | 0x8040);
    else fesetround(!strncmp(how, "up", 2) ? FE_UPWARD : !strncmp(how, "down", 4) ? FE_DOWNWARD : FE_TOWARDZERO);
#else
    fesetround(!strncmp(how, "up", 2) ? FE_UPWARD : !strncmp(how, "down", 4) ? FE_DOWNWARD : FE_TOWARDZERO);
#endif
}

/* how: a way to round, a blank, and what is done that way. */
static void rounds_otherwise(const char *how)
{
    vtag_vec v = v2(rounded.a, 1, 2);
    vtag_item it = item_of(9, "x");
    vtag_snap *s = look(rounded.db);
    vtag_batch *b = begin(rounded.db);
    vtag_db *db = NULL;
    vtag_hit hit;
    float x[2];
    size_t n;
    if (!freopen("/dev/null", "w", stderr)) return;
    set_rounding(how);
    if (strstr(how, "search")) (void)vtag_search(s, v, NULL, 1, &hit, &n);
    if (strstr(how, "put")) (void)vtag_put(b, &it, &v, 1);
    if (strstr(how, "vector")) (void)vtag_vector(s, 1, rounded.a, 0, x, 2, NULL);
    if (strstr(how, "open")) (void)try_open(&rounded, "t.vtag", VTAG_READ, &db);
}

static void rounds_in_a_process_of_its_own(const char *how)
{
    shop_up(&rounded);
    rounds_otherwise(how);
    _exit(0);
}

static const char *run_how; /* a thread of the caller's that works for a batch rounds */
static int runs;

static void run_rounding(void *ctx, void (*work)(void *), void *arg)
{
    (void)ctx;
    runs++;
    set_rounding(run_how);
    work(arg);
#if defined(__SSE__)
    _mm_setcsr(0x1F80);
#endif
    fesetround(FE_TONEAREST);
}

static void works_rounding(const char *how)
{
    static float x[768];
    vtag_begin_opts o;
    vtag_batch *b;
    vtag_spec spec;
    vtag_tag tag = 0;
    uint64_t seed = 1, id;
    size_t i;
    shop_up(&rounded);
    run_how = how;
    memset(&o, 0, sizeof o);
    memset(&spec, 0, sizeof spec);
    o.run = run_rounding;
    o.wait = wait_;
    spec.name = "wide@1";
    spec.dim = 768;
    MUST(vtag_begin(rounded.db, &o, &b));
    OK(vtag_declare(b, &spec, &tag));
    if (!freopen("/dev/null", "w", stderr)) return;
    for (id = 0; id < 4000; id++) {
        vtag_vec v = vec(tag, 768, x);
        for (i = 0; i < 768; i++) x[i] = t_float(&seed);
        put_b(b, id, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    CHECK(runs > 0);
}

/* What a thread of the caller's makes stays in the file, so it has to round as all do. */
static void a_thread_that_rounds_otherwise_makes_no_sketch(void)
{
    joined(spawn(works_rounding, "nearest"));
    killed(spawn(works_rounding, "up"), SIGABRT);
    killed(spawn(works_rounding, "down"), SIGABRT);
}

static void arithmetic_that_rounds_otherwise_is_stopped(void)
{
    static const char *const how[] = {"up search", "up put", "up open", "down search", "down put", "zero search", "zero put",
#if defined(__SSE__)
                                      "flush search", "flush put", "flush open",
#endif
    };
    size_t i;
    for (i = 0; i < LENGTH(how); i++) killed(spawn(rounds_in_a_process_of_its_own, how[i]), SIGABRT);
    joined(spawn(rounds_in_a_process_of_its_own, "nearest search, put, open"));
}

/* Halves below the smallest normal one would be read as 0. */
static void a_vector_is_not_read_by_who_flushes_numbers_to_zero(void)
{
#if defined(__SSE__)
    killed(spawn(rounds_in_a_process_of_its_own, "flush vector"), SIGABRT);
#endif
    joined(spawn(rounds_in_a_process_of_its_own, "nearest vector"));
}

static void that_is_more_than_two_hundred_refusals(void)
{
    if (t_.filter) return;
    printf("refusals: %llu\n", (unsigned long long)refusals);
    CHECK(refusals >= 200);
}
int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(what_cannot_be_opened_is_said);
    RUN(what_a_handle_cannot_do_is_said);
    RUN(what_cannot_be_declared_is_said);
    RUN(an_item_that_cannot_be_put_is_said);
    RUN(a_vector_that_cannot_be_put_is_said_which);
    RUN(what_cannot_be_filled_is_said);
    RUN(what_cannot_be_waived_or_deleted_is_said);
    RUN(what_cannot_be_noted_is_said);
    RUN(policy_and_metadata_that_cannot_be_set_are_said);
    RUN(an_alias_that_cannot_be_given_is_said);
    RUN(a_step_of_a_migration_that_cannot_be_taken_is_said);
    RUN(what_only_a_restore_may_do_is_said);
    RUN(a_batch_that_cannot_go_on_says_so);
    RUN(a_list_that_cannot_be_read_is_said);
    RUN(what_is_not_there_to_be_read_is_said);
    RUN(what_cannot_be_searched_is_said);
    RUN(what_cannot_be_judged_is_said);
    RUN(what_a_forked_child_cannot_do_is_said);
    RUN(handles_are_null_after_a_refusal);
    RUN(counts_are_zero_after_a_refusal);
    RUN(results_are_zero_after_a_refusal);
    RUN(a_batch_outlives_its_handle);
    RUN(an_item_is_used_again_for_other_ids_and_keys);
    RUN(an_item_that_was_read_is_used_again);
    RUN(an_item_of_the_same_id_still_guards_it);
    RUN(a_note_holds_1024_bytes_and_no_more);
    RUN(a_restored_event_holds_what_its_kind_does);
    RUN(wait_ms_says_how_long_nought_is_5_seconds_and_none_is_none);
    RUN(a_batch_that_another_thread_ends_is_over_for_all);
    RUN(another_thread_waits_for_the_batch);
    RUN(who_holds_snapshots_is_told_how_many_and_how_long);
    RUN(a_forked_worker_keeps_the_lock_of_a_dead_writer_until_it_ends);
    RUN(a_worker_that_became_another_program_keeps_nothing);
    RUN(rows_at_the_edge_of_a_float_are_found);
    RUN(a_threshold_that_is_no_number_is_refused_and_an_infinite_one_is_none);
    RUN(a_vector_and_its_multiples_are_equally_near);
    RUN(halves_are_off_by_no_more_than_is_promised);
    RUN(a_thread_that_rounds_otherwise_makes_no_sketch);
    RUN(arithmetic_that_rounds_otherwise_is_stopped);
    RUN(a_vector_is_not_read_by_who_flushes_numbers_to_zero);
    RUN(that_is_more_than_two_hundred_refusals);
    return t_end();
}
