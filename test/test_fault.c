// build: plain
/* Every call to the system and to the allocator fails once, and from then on.

   A scenario is one change or one look, run on a sim (sim.h) that starts from the same
   disk every time: without faults first, which gives the state after; then with the
   first, second, ... call failing until none is left to fail. After each, the file
   holds the state before or the state after [I7], OK means after, the handle works on
   or refuses cleanly, verify finds nothing, and no memory, file, mapping or lock is
   left over. Then: what a full disk still allows [I11], and what a failed sync means.

   SIZES=n sets how many sizes of free space are filled on real file systems (128). */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "test.h"
#include "sim.h"
#include "content.h"
#include "device.h"
#include <sys/resource.h>
#include <sys/statvfs.h>

static sim base, disk;           /* the disk before, and the one that is tried */
static vtag_tag tag_a, tag_b, tag_c;
static uint64_t points;

/* ---- Short ways to say things ------------------------------------------------ */

static const float vectors[4][4] = {
    {1, 2, 3, 4}, {4, 3, 2, 1}, {0.5f, 0.25f, 1, 0}, {-1, 0, 1, 2}
};

static vtag_vec vec(vtag_tag tag, unsigned which)
{
    vtag_vec v = {0, 4, NULL, 0, 0};
    v.tag = tag;
    v.x = vectors[which % 4];
    return v;
}

static vtag_item item_of(uint64_t id)
{
    vtag_item item;
    memset(&item, 0, sizeof item);
    item.id = id;
    return item;
}

static vtag_err open_sim(sim *s, vtag_access access, vtag_db **db)
{
    vtag_open_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.access = access;
    opts.io = &s->io;
    return vtag_open(SIM_MAIN, &opts, db);
}

/* Runs one change in a batch of its own. */
typedef vtag_err change(vtag_batch *b);

static vtag_err in_batch(vtag_db *db, change *what)
{
    vtag_batch *b = NULL;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    err = what(b);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

/* Reads through a snapshot. */
typedef vtag_err peek(const vtag_snap *s);

static vtag_err in_snapshot(vtag_db *db, peek *what)
{
    vtag_snap *s = NULL;
    vtag_err err = vtag_snapshot(db, &s);
    if (err != VTAG_OK) return err;
    err = what(s);
    vtag_release(s);
    return err;
}

/* ---- The changes -------------------------------------------------------------- */

static vtag_err declare_named(vtag_batch *b, const char *name, vtag_tag *tag)
{
    vtag_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = 4;
    spec.metric = VTAG_L2SQ;
    spec.note = "how it was made";
    return vtag_declare(b, &spec, tag);
}

static vtag_err do_declare(vtag_batch *b)
{
    vtag_tag tag;
    return declare_named(b, "newer@1/chunk-512", &tag);
}

static vtag_err declare_named_alone(vtag_db *db, vtag_tag *tag)
{
    vtag_batch *b = NULL;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err == VTAG_OK) err = declare_named(b, "later@1", tag);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static vtag_err do_put(vtag_batch *b)
{
    vtag_item item = item_of(3);
    vtag_vec v = vec(tag_a, 1);
    return vtag_put(b, &item, &v, 1);
}

static vtag_err do_put_payload(vtag_batch *b)
{
    vtag_item item = item_of(0);
    vtag_vec v[3];
    item.key = "notes/new.txt";
    item.data = "the text that was embedded";
    item.size = 26;
    v[0] = vec(tag_a, 1);
    v[1] = vec(tag_b, 2);
    v[2] = vec(tag_b, 3);
    return vtag_put(b, &item, v, 3);
}

static vtag_err do_put_bare(vtag_batch *b)
{
    vtag_item item = item_of(77);
    return vtag_put(b, &item, NULL, 0);
}

/* Enough rows and payload for new segments and log extents. */
static vtag_err do_put_many(vtag_batch *b)
{
    static char text[600];
    vtag_err err = VTAG_OK;
    uint64_t id;
    memset(text, 'x', sizeof text);
    for (id = 1000; id < 1600 && err == VTAG_OK; id++) {
        vtag_item item = item_of(id);
        vtag_vec v[2];
        v[0] = vec(tag_a, (unsigned)id);
        v[1] = vec(tag_b, (unsigned)id + 1);
        item.data = text;
        item.size = sizeof text;
        err = vtag_put(b, &item, v, 2);
    }
    return err;
}

static vtag_err do_put_same(vtag_batch *b)
{
    vtag_item item = item_of(2);
    vtag_vec v = vec(tag_a, 2);
    return vtag_put(b, &item, &v, 1);
}

static vtag_err do_fill(vtag_batch *b)
{
    vtag_item item = item_of(4);
    vtag_vec v = vec(tag_b, 3);
    item.rev = 4;
    return vtag_fill(b, &item, &v, 1);
}

static vtag_err do_del(vtag_batch *b) { return vtag_del(b, 5); }

static vtag_err do_del_many(vtag_batch *b)
{
    vtag_err err = VTAG_OK;
    uint64_t id;
    for (id = 1; id <= 8 && err == VTAG_OK; id++) err = vtag_del(b, id);
    return err;
}

static vtag_err do_waive(vtag_batch *b)
{
    vtag_item item = item_of(6);
    return vtag_waive(b, &item, tag_b, "too long for the model");
}

static vtag_err do_lift(vtag_batch *b)
{
    vtag_item item = item_of(7);
    return vtag_waive(b, &item, tag_b, NULL);
}

static vtag_gate open_gate(void)
{
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = VTAG_NONE;
    gate.max_waived_ppm = 1000000;
    gate.max_age_ms = UINT64_MAX;
    gate.reason = "a test";
    return gate;
}

static vtag_err do_cutover(vtag_batch *b)
{
    vtag_gate gate = open_gate();
    vtag_verdict verdict;
    return vtag_cutover(b, tag_b, &gate, &verdict);
}

static vtag_err do_rollback(vtag_batch *b)
{
    vtag_cover hidden;
    return vtag_rollback(b, 0, &hidden);
}

static vtag_err do_retire(vtag_batch *b)
{
    vtag_cover lost;
    return vtag_retire(b, tag_c, "never used", &lost);
}

static vtag_err do_meta(vtag_batch *b) { return vtag_meta_set(b, "probe", "0123456789", 10); }
static vtag_err do_meta_drop(vtag_batch *b) { return vtag_meta_set(b, "kept", NULL, 0); }

static vtag_err do_policy(vtag_batch *b)
{
    vtag_policy policy;
    memset(&policy, 0, sizeof policy);
    policy.gate.min_ppm = 999000;
    policy.retain_ms = 1000;
    return vtag_policy_set(b, &policy, "stricter");
}

static vtag_err do_note(vtag_batch *b)
{
    vtag_event event;
    memset(&event, 0, sizeof event);
    event.kind = VTAG_K_SCORE;
    event.tag = tag_b;
    event.name = "ndcg@10";
    event.value = 0.75;
    event.queries = 100;
    event.text = "nightly";
    return vtag_note(b, &event);
}

static vtag_err do_much(vtag_batch *b)
{
    vtag_err err = do_put_payload(b);
    if (err == VTAG_OK) err = do_del(b);
    if (err == VTAG_OK) err = do_fill(b);
    if (err == VTAG_OK) err = do_waive(b);
    if (err == VTAG_OK) err = do_meta(b);
    if (err == VTAG_OK) err = do_cutover(b);
    if (err == VTAG_OK) err = do_note(b);
    return err;
}

static vtag_err do_declare_again(vtag_batch *b)
{
    vtag_tag tag;
    return declare_named(b, "first@2", &tag);
}

static vtag_err do_declare_many(vtag_batch *b)
{
    char name[24];
    vtag_err err = VTAG_OK;
    vtag_tag tag;
    int i;
    for (i = 1; i <= 20 && err == VTAG_OK; i++) {
        snprintf(name, sizeof name, "more@%d", i);
        err = declare_named(b, name, &tag);
    }
    return err;
}

static vtag_err do_put_parts(vtag_batch *b)
{
    vtag_item item = item_of(2);
    vtag_vec v[12];
    unsigned i;
    for (i = 0; i < 12; i++) {
        v[i] = vec(tag_b, i);
        v[i].off = i * 100;
        v[i].len = 100;
    }
    item.data = "cut into many parts";
    item.size = 19;
    return vtag_put(b, &item, v, 12);
}

static vtag_err do_put_large(vtag_batch *b)
{
    static char text[200000];
    vtag_item item = item_of(3);
    vtag_vec v = vec(tag_a, 3);
    memset(text, 'l', sizeof text);
    item.data = text;
    item.size = sizeof text;
    return vtag_put(b, &item, &v, 1);
}

/* One id written, deleted and written again in a batch: the last one counts. */
static vtag_err do_put_del_put(vtag_batch *b)
{
    vtag_err err = do_put(b);
    if (err == VTAG_OK) err = vtag_del(b, 3);
    if (err == VTAG_OK) err = do_put_large(b);
    if (err == VTAG_OK) err = do_put(b);
    return err;
}

static vtag_err fill_ids(vtag_batch *b, vtag_tag tag, uint64_t from, uint64_t to, uint64_t rev)
{
    vtag_err err = VTAG_OK;
    for (; from < to && err == VTAG_OK; from++) {
        vtag_item item = item_of(from);
        vtag_vec v = vec(tag, (unsigned)from + 2);
        item.rev = rev++;
        err = vtag_fill(b, &item, &v, 1);
    }
    return err;
}

static vtag_err do_fill_many(vtag_batch *b) { return fill_ids(b, tag_c, 1000, 1200, 9); }
static vtag_err do_fill_waived(vtag_batch *b) { return fill_ids(b, tag_b, 7, 8, 7); }
static vtag_err do_fill_again(vtag_batch *b) { return fill_ids(b, tag_b, 1, 4, 1); }

static vtag_err do_del_crowd(vtag_batch *b)
{
    vtag_err err = VTAG_OK;
    uint64_t id;
    for (id = 1000; id < 1500 && err == VTAG_OK; id++) err = vtag_del(b, id);
    return err;
}

static vtag_err do_waive_many(vtag_batch *b)
{
    vtag_err err = VTAG_OK;
    uint64_t id;
    for (id = 1000; id < 1100 && err == VTAG_OK; id++) {
        vtag_item item = item_of(id);
        err = vtag_waive(b, &item, tag_c, "refused by the model");
    }
    return err;
}

static vtag_err do_cutover_and_back(vtag_batch *b)
{
    vtag_err err = do_cutover(b);
    return err == VTAG_OK ? do_rollback(b) : err;
}

static vtag_err do_rollback_named(vtag_batch *b) { return vtag_rollback(b, tag_a, NULL); }
static vtag_err do_retire_rows(vtag_batch *b) { return vtag_retire(b, tag_b, "a mistake", NULL); }
static vtag_err do_retire_old(vtag_batch *b) { return vtag_retire(b, tag_a, "replaced", NULL); }

static vtag_err do_meta_large(vtag_batch *b)
{
    static char text[100000];
    memset(text, 'm', sizeof text);
    return vtag_meta_set(b, "kept", text, sizeof text);
}

static vtag_err do_note_many(vtag_batch *b)
{
    static char text[1001];
    vtag_event event;
    vtag_err err = VTAG_OK;
    int i;
    memset(&event, 0, sizeof event);
    memset(text, 't', 1000);
    event.kind = VTAG_K_NOTE;
    event.text = text;
    for (i = 0; i < 100 && err == VTAG_OK; i++) err = vtag_note(b, &event);
    return err;
}

static vtag_err do_alias(vtag_batch *b) { return vtag_alias(b, tag_b, "first@2.1", "its true name"); }

/* An event with all that version 3 of the format gave it. */
static vtag_err do_audit(vtag_batch *b)
{
    vtag_event event;
    memset(&event, 0, sizeof event);
    event.kind = VTAG_K_AUDIT;
    event.tag = tag_b;
    event.by = "an operator";
    event.command = "audit --sample 100";
    event.in = 100;
    event.filled = 99;
    event.audit.sampled = 100;
    event.audit.worst = 0.5;
    return vtag_note(b, &event);
}

/* As many items as a compaction needs an index for; they have keys. */
static vtag_err do_put_keys(vtag_batch *b)
{
    vtag_err err = VTAG_OK;
    int i;
    for (i = 0; i < 1100 && err == VTAG_OK; i++) {
        char key[32];
        vtag_item item = {0};
        vtag_vec v = vec(tag_a, (unsigned)i);
        snprintf(key, sizeof key, "key %d", i);
        item.key = key;
        err = vtag_put(b, &item, &v, 1);
    }
    return err == VTAG_OK ? do_alias(b) : err;
}

static vtag_err do_hold(vtag_batch *b)
{
    vtag_policy policy;
    memset(&policy, 0, sizeof policy);
    policy.hold = "until the review";
    return vtag_policy_set(b, &policy, "a freeze");
}

/* ---- The looks ------------------------------------------------------------------ */

static vtag_err look_search(const vtag_snap *s)
{
    vtag_hit hits[8];
    size_t n = 0;
    vtag_err err = vtag_search(s, vec(tag_a, 0), NULL, 8, hits, &n);
    if (err == VTAG_OK) CHECK_EQ(n, 8);
    return err;
}

static vtag_err look_search_few(const vtag_snap *s)
{
    vtag_hit hits[8];
    size_t n = 0;
    return vtag_search(s, vec(tag_a, 0), NULL, 8, hits, &n);
}

static vtag_err look_search_many(const vtag_snap *s)
{
    static const uint64_t some[3] = {1, 2, 6};
    vtag_ids only = {some, 3};
    vtag_search_opts opts;
    vtag_hit hits[12];
    size_t n[3] = {0, 0, 0};
    vtag_vec q = {0, 4, &vectors[0][0], 0, 0};
    vtag_err err;
    memset(&opts, 0, sizeof opts);
    opts.only = &only;
    q.tag = tag_a;
    err = vtag_search_many(s, q, 3, &opts, 4, hits, n);
    if (err == VTAG_OK) CHECK_EQ(n[2], 3);
    return err;
}

static vtag_err look_items(const vtag_snap *s)
{
    vtag_item item[4];
    uint64_t cursor = 0;
    size_t n = 1;
    vtag_err err = VTAG_OK;
    while (err == VTAG_OK && n)
        err = vtag_items(s, tag_b, VTAG_PENDING | VTAG_NEWEST_FIRST, &cursor, item, 4, &n);
    return err;
}

static vtag_err look_coverage(const vtag_snap *s)
{
    vtag_cover cover;
    vtag_err err = vtag_coverage(s, tag_b, 0, &cover);
    if (err == VTAG_OK)
        CHECK_EQ(cover.base, cover.fresh + cover.stale + cover.missing + cover.waived);
    return err;
}

static vtag_err look_judge(const vtag_snap *s)
{
    vtag_verdict verdict;
    vtag_err err = vtag_judge(s, tag_b, NULL, &verdict);
    if (err == VTAG_OK) CHECK(!verdict.pass);
    return err;
}

static vtag_err look_verify(const vtag_snap *s)
{
    vtag_report report;
    return vtag_verify(s, &report, NULL, NULL);
}

static vtag_err look_everything(const vtag_snap *s)
{
    return content_of(s).err;
}

static vtag_err look_history(const vtag_snap *s)
{
    vtag_event event[3];
    uint64_t cursor = 0, events = 0;
    size_t n = 1;
    vtag_err err = VTAG_OK;
    for (; err == VTAG_OK && n; events += n)
        err = vtag_history(s, &cursor, event, 3, &n);
    if (err == VTAG_OK) CHECK(events >= 100);
    return err;
}

static vtag_err look_tags(const vtag_snap *s)
{
    vtag_info info[8];
    vtag_tag tag;
    uint64_t cursor = 0;
    size_t n = 0;
    vtag_err err = vtag_tags(s, &cursor, info, 8, &n);
    if (err == VTAG_OK) CHECK_EQ(n, 8);
    return err == VTAG_OK ? vtag_find(s, "more@20", &tag) : err;
}

static vtag_err look_vectors(const vtag_snap *s)
{
    vtag_err err = VTAG_OK;
    uint64_t id;
    float x[4];
    for (id = 1000; id < 1010 && err == VTAG_OK; id++)
        err = vtag_vector(s, id, tag_b, 0, x, 4, NULL);
    return err;
}

static vtag_err look_stale(const vtag_snap *s)
{
    vtag_item item[4];
    uint64_t cursor = 0;
    size_t n = 0;
    vtag_err err = vtag_items(s, tag_b, VTAG_STALE | VTAG_FRESH, &cursor, item, 4, &n);
    if (err == VTAG_OK) CHECK_EQ(n, 4);
    return err;
}

static vtag_err look_metas(const vtag_snap *s)
{
    const char *name[4];
    const void *p;
    uint64_t cursor = 0;
    size_t n = 0, size = 0;
    vtag_err err = vtag_metas(s, &cursor, name, 4, &n);
    if (err == VTAG_OK) err = vtag_meta_get(s, "kept", &p, &size);
    if (err == VTAG_OK) CHECK_EQ(size, 100000);
    return err;
}

static vtag_err look_copy(const vtag_snap *s) { return vtag_copy(s, "copy", NULL, NULL); }

/* ---- The scenarios -------------------------------------------------------------- */

typedef enum how {
    CHANGE, LOOK, SEAL, COMPACT, FLUSH, OPEN, READ, CREATE, OTHER, OTHERS_COMPACT, ABORT, RESTORE
} how;

typedef struct scenario {
    const char *name;
    how         kind;
    change     *change;
    peek       *peek;
    change     *before;          /* committed when the base disk was made      */
} scenario;

static vtag_err do_restore(vtag_batch *b)
{
    vtag_info info;
    vtag_item item = item_of(9);
    vtag_stat stat;
    vtag_vec v;
    vtag_err err;
    memset(&info, 0, sizeof info);
    memset(&stat, 0, sizeof stat);
    info.tag = tag_a;
    info.spec.name = "first@1";
    info.spec.dim = 4;
    info.spec.metric = VTAG_L2SQ;
    info.role = VTAG_ACTIVE;
    info.created = 5;
    v = vec(tag_a, 0);
    item.rev = 12;
    item.time = 1000;
    stat.commit = 40;
    stat.revision = 100;
    err = vtag_restore_tag(b, &info);
    if (err == VTAG_OK) err = vtag_put(b, &item, &v, 1);
    if (err == VTAG_OK) err = vtag_restore_stat(b, &stat);
    return err;
}

static const scenario scenarios[] = {
    {"create",          CREATE,  NULL,           NULL, NULL},
    {"open",            OPEN,    NULL,           NULL, NULL},
    {"open sealed",     OPEN,    NULL,           NULL, do_put_many},
    {"declare",         CHANGE,  do_declare,     NULL, NULL},
    {"put",             CHANGE,  do_put,         NULL, NULL},
    {"put with payload", CHANGE, do_put_payload, NULL, NULL},
    {"put no vectors",  CHANGE,  do_put_bare,    NULL, NULL},
    {"put many",        CHANGE,  do_put_many,    NULL, NULL},
    {"put again many",  CHANGE,  do_put_many,    NULL, do_put_many},
    {"put the same",    CHANGE,  do_put_same,    NULL, NULL},
    {"fill",            CHANGE,  do_fill,        NULL, NULL},
    {"delete",          CHANGE,  do_del,         NULL, NULL},
    {"delete many",     CHANGE,  do_del_many,    NULL, NULL},
    {"waive",           CHANGE,  do_waive,       NULL, NULL},
    {"lift",            CHANGE,  do_lift,        NULL, NULL},
    {"cutover",         CHANGE,  do_cutover,     NULL, NULL},
    {"rollback",        CHANGE,  do_rollback,    NULL, do_cutover},
    {"retire",          CHANGE,  do_retire,      NULL, NULL},
    {"meta",            CHANGE,  do_meta,        NULL, NULL},
    {"meta removed",    CHANGE,  do_meta_drop,   NULL, NULL},
    {"policy",          CHANGE,  do_policy,      NULL, NULL},
    {"note",            CHANGE,  do_note,        NULL, NULL},
    {"much at once",    CHANGE,  do_much,        NULL, NULL},
    {"much after much", CHANGE,  do_much,        NULL, do_put_many},
    {"flush",           FLUSH,   NULL,           NULL, NULL},
    {"seal",            SEAL,    NULL,           NULL, do_put_many},
    {"compact",         COMPACT, NULL,           NULL, do_retire},
    {"compact large",   COMPACT, NULL,           NULL, do_put_many},
    {"search",          LOOK,    NULL, look_search,      NULL},
    {"search many",     LOOK,    NULL, look_search_many, do_put_many},
    {"items",           LOOK,    NULL, look_items,       NULL},
    {"coverage",        LOOK,    NULL, look_coverage,    do_put_many},
    {"judge",           LOOK,    NULL, look_judge,       NULL},
    {"verify",          LOOK,    NULL, look_verify,      do_put_many},
    {"everything",      LOOK,    NULL, look_everything,  NULL},
    {"copy",            LOOK,    NULL, look_copy,        NULL},
    {"another's commit", OTHER,  do_put_payload, NULL, NULL},
    {"another's many",  OTHER,   do_put_many,    NULL, NULL},
    {"restore",         RESTORE, do_restore,     NULL, NULL},
    {"open to read",    READ,    NULL,           NULL, do_put_many},
    {"open after deletes", OPEN, NULL,           NULL, do_del_many},
    {"declare again",   CHANGE,  do_declare_again, NULL, NULL},
    {"declare many",    CHANGE,  do_declare_many, NULL, NULL},
    {"put many parts",  CHANGE,  do_put_parts,   NULL, NULL},
    {"put fewer parts", CHANGE,  do_put,         NULL, do_put_parts},
    {"put large",       CHANGE,  do_put_large,   NULL, NULL},
    {"put, delete, put", CHANGE, do_put_del_put, NULL, NULL},
    {"fill many",       CHANGE,  do_fill_many,   NULL, do_put_many},
    {"fill a waived one", CHANGE, do_fill_waived, NULL, NULL},
    {"fill again",      CHANGE,  do_fill_again,  NULL, NULL},
    {"delete a crowd",  CHANGE,  do_del_crowd,   NULL, do_put_many},
    {"waive many",      CHANGE,  do_waive_many,  NULL, do_put_many},
    {"cutover and back", CHANGE, do_cutover_and_back, NULL, NULL},
    {"rollback to a name", CHANGE, do_rollback_named, NULL, do_cutover},
    {"retire with rows", CHANGE, do_retire_rows, NULL, NULL},
    {"retire the old",  CHANGE,  do_retire_old,  NULL, do_cutover},
    {"large meta",      CHANGE,  do_meta_large,  NULL, NULL},
    {"many notes",      CHANGE,  do_note_many,   NULL, NULL},
    {"hold",            CHANGE,  do_hold,        NULL, NULL},
    {"abort",           ABORT,   do_much,        NULL, NULL},
    {"seal deletes",    SEAL,    NULL,           NULL, do_del_many},
    {"compact deletes", COMPACT, NULL,           NULL, do_del_many},
    {"history",         LOOK,    NULL, look_history,     do_note_many},
    {"tags",            LOOK,    NULL, look_tags,        do_declare_many},
    {"vectors",         LOOK,    NULL, look_vectors,     do_put_many},
    {"stale",           LOOK,    NULL, look_stale,       do_put_many},
    {"metas",           LOOK,    NULL, look_metas,       do_meta_large},
    {"copy large",      LOOK,    NULL, look_copy,        do_put_many},
    {"another's deletes", OTHER, do_del_many,    NULL, NULL},
    {"another's compaction", OTHERS_COMPACT, do_retire_rows, NULL, NULL},
    {"alias",           CHANGE,  do_alias,       NULL, NULL},
    {"audit",           CHANGE,  do_audit,       NULL, NULL},
    {"put keys",        CHANGE,  do_put_keys,    NULL, do_put_many},
    {"compact keys",    COMPACT, NULL,           NULL, do_put_keys},
    {"copy keys",       LOOK,    NULL, look_copy,        do_put_keys},
    {"seal keys",       SEAL,    NULL,           NULL, do_put_keys},
    {"compact an alias", COMPACT, NULL,          NULL, do_alias},
    {"open to read keys", READ,  NULL,           NULL, do_put_keys},
    {"another's keys",  OTHER,   do_put_keys,    NULL, NULL},
};

/* ---- The base disk ---------------------------------------------------------------- */

static vtag_err fill_base(vtag_batch *b)
{
    uint64_t id;
    vtag_err err = declare_named(b, "first@1", &tag_a);
    if (err == VTAG_OK) err = declare_named(b, "first@2", &tag_b);
    if (err == VTAG_OK) err = declare_named(b, "other@1", &tag_c);
    for (id = 1; id <= 8 && err == VTAG_OK; id++) {
        vtag_item item = item_of(id);
        vtag_vec v[2];
        v[0] = vec(tag_a, (unsigned)id);
        v[1] = vec(tag_b, (unsigned)id);
        item.data = "payload";
        item.size = 7 - id % 3;
        err = vtag_put(b, &item, v, id < 4 ? 2 : 1);
        if (err == VTAG_OK && id == 7) err = vtag_waive(b, &item, tag_b, "refused");
    }
    if (err == VTAG_OK) err = vtag_meta_set(b, "kept", "value", 5);
    return err;
}

/* Makes `base` for a scenario: a synced disk, at rest. */
static void make_base(const scenario *sc)
{
    vtag_db *db = NULL;
    sim_reset(&base, 7);
    base.child[0] = &disk;
    if (sc->kind == CREATE) return;
    MUST(open_sim(&base, VTAG_NEW, &db));
    if (sc->kind != RESTORE) MUST(in_batch(db, fill_base));
    if (sc->before) MUST(in_batch(db, sc->before));
    vtag_close(db);
    if (base.broken) CHECK_STR(base.broken, NULL);
}

/* ---- One run ------------------------------------------------------------------------ */

typedef struct run {             /* what a scenario came to                    */
    vtag_err  err;
    vtag_db  *db;                /* as it was left open                        */
    vtag_db  *other;
} run;

static vtag_err restore(vtag_db *db)
{
    vtag_begin_opts opts = {0, 1, 10, NULL, NULL, NULL};
    vtag_batch *b = NULL;
    vtag_err err = vtag_begin(db, &opts, &b);
    if (err != VTAG_OK) return err;
    err = do_restore(b);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static vtag_err change_and_abort(vtag_db *db, change *what)
{
    vtag_batch *b = NULL;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err == VTAG_OK) err = what(b);
    vtag_abort(b);
    return err;
}

static vtag_err perform(const scenario *sc, run *r)
{
    switch (sc->kind) {
    case ABORT:   return change_and_abort(r->db, sc->change);
    case READ:    return open_sim(&disk, VTAG_READ, &r->db);
    case CHANGE:  return in_batch(r->db, sc->change);
    case LOOK:    return in_snapshot(r->db, sc->peek);
    case SEAL:    return vtag_seal(r->db, NULL, NULL);
    case COMPACT: return vtag_compact(r->db, NULL, NULL);
    case FLUSH:   return vtag_flush(r->db);
    case OPEN:    return open_sim(&disk, VTAG_EXISTING, &r->db);
    case CREATE:  return open_sim(&disk, VTAG_NEW, &r->db);
    case OTHER:
    case OTHERS_COMPACT: return in_snapshot(r->db, look_search_few);
    default:      return restore(r->db);
    }
}

/* What happens before the first call that may fail. */
static void prepare(const scenario *sc, run *r)
{
    memset(r, 0, sizeof *r);
    sim_image(&disk, &base, SIM_ALL, 0, 1);
    if (sc->kind == OPEN || sc->kind == READ || sc->kind == CREATE) return;
    MUST(open_sim(&disk, VTAG_EXISTING, &r->db));
    if (sc->kind != OTHER && sc->kind != OTHERS_COMPACT) return;
    MUST(open_sim(&disk, VTAG_EXISTING, &r->other));
    MUST(in_batch(r->other, sc->change));
    if (sc->kind == OTHERS_COMPACT) MUST(vtag_compact(r->other, NULL, NULL));
}

static void leave(run *r)
{
    vtag_close(r->db);
    vtag_close(r->other);
    r->db = r->other = NULL;
}

static content fresh_content(const char *path)
{
    content c = {0, VTAG_OK, NULL};
    vtag_open_opts opts;
    vtag_db *db = NULL;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    opts.io = &disk.io;
    if (!content_good(&c, vtag_open(path, &opts, &db), "open")) return c;
    c = content_db(db);
    vtag_close(db);
    return c;
}

/* ---- Judging a run -------------------------------------------------------------------- */

typedef struct trial {           /* which call failed, and how: for messages   */
    const scenario *sc;
    const char     *what;
    uint64_t        n;
    content         before, after;
    sim_kind        hit;         /* the system call that failed                */
} trial;

static void blame(const trial *t, const char *text, vtag_err err)
{
    static const char *const kind[] = {"write", "allocate", "sync", "rename", "remove", "create",
                                       "open", "size", "read", "map", "lock", "random", "-"};
    t_.failed++;
    fprintf(stderr, "%s: \"%s\", %s %llu (%s) fails: %s (%s)\n", t_.name, t->sc->name, t->what,
            (unsigned long long)t->n, kind[t->hit], text, vtag_strerror(err));
}

static void judge_state(const trial *t, const run *r)
{
    content c = fresh_content(SIM_MAIN);
    if (t->sc->kind == CREATE && r->err != VTAG_OK) return;
    if (c.err != VTAG_OK) blame(t, "the file cannot be read afterwards", c.err);
    else if (c.hash != t->before.hash && c.hash != t->after.hash)
        blame(t, "neither the state before nor after", r->err);
    else if (r->err == VTAG_OK && c.hash != t->after.hash)
        blame(t, "it said OK and changed nothing", r->err);
    if (t->sc->peek == look_copy && r->err == VTAG_OK) {
        c = fresh_content("copy");
        if (c.err != VTAG_OK || c.hash != t->after.hash) blame(t, "the copy differs", c.err);
    }
}

/* The handle that met the fault works on, or every call says that it does not. */
static int judge_handle(const trial *t, run *r)
{
    content c;
    vtag_err err;
    if (!r->db) return 0;
    c = content_db(r->db);
    if (c.err == VTAG_CORRUPT) blame(t, "the handle sees damage", c.err);
    if (c.err == VTAG_OK && c.hash != t->before.hash && c.hash != t->after.hash)
        blame(t, "the handle shows another state", r->err);
    if (c.err == VTAG_OK && r->err == VTAG_OK && c.hash != t->after.hash)
        blame(t, "the handle shows the state before", r->err);
    if (t->sc->kind == RESTORE || t->sc->kind == CREATE || t->sc->kind == READ) return 0;
    err = in_batch(r->db, do_put_bare);
    if (err == VTAG_CORRUPT || err == VTAG_ARG) blame(t, "a later put", err);
    return err == VTAG_OK;
}

static void judge_rest(const trial *t, int put)
{
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    vtag_snap *s = NULL;
    vtag_report report;
    vtag_item item;
    vtag_err err = open_sim(&disk, t->sc->kind == CREATE ? VTAG_CREATE : VTAG_EXISTING, &db);
    if (err == VTAG_OK) err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) blame(t, "a new handle cannot write", err);
    vtag_abort(b);
    if (err == VTAG_OK && vtag_snapshot(db, &s) == VTAG_OK) {
        err = vtag_verify(s, &report, NULL, NULL);
        if (err != VTAG_OK) blame(t, "verify", err);
        if (put && vtag_get(s, 77, &item) != VTAG_OK) blame(t, "the later put is lost", VTAG_OK);
        vtag_release(s);
    }
    vtag_close(db);
}

static void judge_leaks(const trial *t, long live)
{
    if (disk.opens) blame(t, "a file is left open", VTAG_OK);
    if (disk.maps) blame(t, "a mapping is left", VTAG_OK);
    if (disk.locks) blame(t, "a lock is left", VTAG_OK);
    if (heap.live != live) blame(t, "memory is left", VTAG_OK);
    if (disk.broken) blame(t, disk.broken, VTAG_OK);
}

static void drop_files(void)
{
    int i;
    disk.opens = disk.maps = disk.locks = 0;
    for (i = 0; i < SIM_OPENS; i++)
        if (disk.open[i]) sim_io_close(disk.open[i]);
    disk.opens = disk.maps = disk.locks = 0;
}

/* Runs the scenario with its fault armed; false once there was no call left to fail. */
static int try_once(trial *t, sim_fault fault, uint64_t heap_at, int for_good)
{
    long live = heap.live;
    run r;
    int put, hit;
    prepare(t->sc, &r);
    disk.fault = fault;
    heap.calls = 0;
    heap.fail_at = heap_at;
    heap.for_good = for_good;
    r.err = perform(t->sc, &r);
    t->hit = disk.fault.nth ? disk.fault.hit : SIM_KINDS;
    hit = disk.fault.nth ? disk.fault.seen >= disk.fault.nth : heap.calls >= heap_at;
    if (for_good && t->n % 2) leave(&r); /* closing, too, has to get along with it */
    memset(&disk.fault, 0, sizeof disk.fault);
    heap.fail_at = 0;
    if ((r.err == VTAG_CORRUPT && t->sc->peek != look_verify) || r.err == VTAG_FORMAT)
        blame(t, "it speaks of damage", r.err);
    judge_state(t, &r);
    put = judge_handle(t, &r);
    leave(&r);
    judge_leaks(t, live);
    drop_files();
    judge_rest(t, put);
    points += (uint64_t)hit;
    return hit;
}

static void measure(trial *t)
{
    run r;
    prepare(t->sc, &r);
    if (t->sc->kind != CREATE) t->before = fresh_content(SIM_MAIN);
    r.err = perform(t->sc, &r);
    if (r.err != VTAG_OK) blame(t, "it fails without a fault", r.err);
    t->after = fresh_content(SIM_MAIN);
    if (t->after.err != VTAG_OK) blame(t, t->after.at, t->after.err);
    leave(&r);
    judge_leaks(t, 0);
    drop_files();
}

/* Fails the first, second, ... call. */
static void fail_each(trial *t, const char *what, sim_fault fault)
{
    int failed = t_.failed;
    t->what = what;
    for (t->n = 1; t->n < 4000 && t_.failed < failed + 2; t->n++) {
        sim_fault f = fault;
        f.nth = t->n;
        if (!try_once(t, f, 0, f.for_good)) break;
    }
}

static void fail_each_allocation(trial *t, int for_good)
{
    static const sim_fault none;
    int failed = t_.failed;
    t->what = for_good ? "memory from allocation" : "allocation";
    for (t->n = 1; t->n < 4000 && t_.failed < failed + 2; t->n++)
        if (!try_once(t, none, t->n, for_good)) break;
    CHECK(t->n < 4000); /* the scenario came to its end */
}

static void run_scenarios(void (*run_one)(trial *))
{
    size_t i;
    sim_init(&base, 7);
    sim_init(&disk, 7);
    CHECK(sizeof scenarios / sizeof *scenarios >= 60);
    for (i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        trial t;
        memset(&t, 0, sizeof t);
        t.hit = SIM_KINDS;
        t.sc = &scenarios[i];
        t.what = "nothing";
        make_base(t.sc);
        measure(&t);
        run_one(&t);
    }
    sim_free(&base);
    sim_free(&disk);
}

static void one_system_call(trial *t)
{
    static const vtag_err errs[2] = {VTAG_IO, VTAG_NOSPACE};
    int e, good;
    for (e = 0; e < 2; e++)
        for (good = 0; good < 2; good++) {
            sim_fault f = {SIM_ANY, 0, VTAG_IO, 0, 0, SIM_ANY, 0};
            f.err = errs[e];
            f.for_good = good;
            fail_each(t, good ? "the system from call" : "system call", f);
        }
}

static void one_allocation(trial *t)
{
    fail_each_allocation(t, 0);
    fail_each_allocation(t, 1);
}

static void one_mapping(trial *t)
{
    sim_fault f = {SIM_MAP, 0, VTAG_IO, 0, 0, SIM_ANY, 0};
    fail_each(t, "mapping", f);
    f.for_good = 1;
    fail_each(t, "mapping from", f);
    f.err = VTAG_NOMEM;
    fail_each(t, "mapping (no memory) from", f);
}

static void one_late_rename(trial *t)
{
    sim_fault f = {SIM_RENAME, 0, VTAG_IO, 0, 1, SIM_ANY, 0};
    fail_each(t, "after it was done, rename", f);
}

static void a_failed_system_call_leaves_the_state_before_or_after(void)
{
    run_scenarios(one_system_call);
}

static void a_failed_allocation_leaves_the_state_before_or_after(void)
{
    run_scenarios(one_allocation);
}

static void a_failed_mapping_leaves_the_state_before_or_after(void)
{
    run_scenarios(one_mapping);
}

static void a_rename_that_failed_after_it_was_done_loses_nothing(void)
{
    run_scenarios(one_late_rename);
}

/* ---- A failed sync ---------------------------------------------------------------------- */

static void a_failed_sync_poisons_the_handle_but_not_its_reads(void)
{
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    content before, c;
    static const scenario plain = {"sync", CHANGE, do_put, NULL, NULL};
    sim_init(&base, 7);
    sim_init(&disk, 7);
    make_base(&plain);
    sim_image(&disk, &base, SIM_ALL, 0, 1);
    MUST(open_sim(&disk, VTAG_EXISTING, &db));
    before = content_db(db);
    disk.fault.kind = SIM_SYNC;
    disk.fault.nth = 1;
    disk.fault.err = VTAG_IO;
    ERR(VTAG_IO, in_batch(db, do_put));
    disk.fault.nth = 0;
    c = content_db(db);
    CHECK(c.err == VTAG_OK && c.hash == before.hash);
    CHECK(vtag_begin(db, NULL, &b) != VTAG_OK);
    CHECK(vtag_flush(db) != VTAG_OK);
    vtag_close(db);
    MUST(open_sim(&disk, VTAG_EXISTING, &db));
    OK(in_batch(db, do_put_payload));
    vtag_close(db);
    sim_free(&base);
    sim_free(&disk);
}

/* What a writer's recovery shows after a failed sync is on the disk, whatever the
 * page cache of before said: the power may fail at once [FSYNC]. */
static void recover_after_lost_sync(uint64_t seed, int padded)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    content seen, left;
    vtag_tag tag;
    sim_reset(&base, seed);
    base.child[0] = &disk;
    memset(&opts, 0, sizeof opts);
    opts.io = &base.io;
    opts.pad_sectors = padded;
    MUST(vtag_open(SIM_MAIN, &opts, &db));
    MUST(in_batch(db, fill_base));
    base.fault.kind = SIM_SYNC;
    base.fault.nth = 1;
    base.fault.err = VTAG_IO;
    ERR(VTAG_IO, in_batch(db, do_put_payload));
    memset(&base.fault, 0, sizeof base.fault);
    vtag_close(db);
    db = NULL;
    MUST(open_sim(&base, VTAG_EXISTING, &db));
    MUST(vtag_begin(db, NULL, &b));
    vtag_abort(b);
    seen = content_db(db);
    sim_image(&disk, &base, SIM_NONE, 0, seed);
    left = fresh_content(SIM_MAIN);
    CHECK_EQ(seen.err, VTAG_OK);
    CHECK_EQ(left.err, VTAG_OK);
    if (!CHECK(left.hash == seen.hash)) fprintf(stderr, "  seed %llu%s\n", (unsigned long long)seed,
                                                padded ? ", padded" : "");
    OK(declare_named_alone(db, &tag));
    seen = content_db(db);
    sim_image(&disk, &base, SIM_NONE, 0, seed);
    left = fresh_content(SIM_MAIN);
    CHECK(left.err == VTAG_OK && left.hash == seen.hash);
    vtag_close(db);
}

static void what_is_recovered_after_a_failed_sync_is_on_the_disk(void)
{
    uint64_t seed;
    sim_init(&base, 1);
    sim_init(&disk, 1);
    for (seed = 1; seed < 60 && !t_.failed; seed++) recover_after_lost_sync(seed, seed % 3 == 0);
    sim_free(&base);
    sim_free(&disk);
}

/* ---- A full disk -------------------------------------------------------------------------- */

enum { CROWD = 300 };

static vtag_err fill_crowd(vtag_batch *b)
{
    uint64_t id;
    vtag_err err = fill_base(b);
    for (id = 1000; id < 1000 + CROWD && err == VTAG_OK; id++) {
        vtag_item item = item_of(id);
        vtag_vec v[2];
        v[0] = vec(tag_a, (unsigned)id);
        v[1] = vec(tag_b, (unsigned)id);
        item.data = "something to read later";
        item.size = 23;
        err = vtag_put(b, &item, v, 2);
    }
    return err;
}

/* Puts and notes until each of them is refused for want of space. */
static void crowd_out(vtag_db *db)
{
    static char text[1001];
    vtag_event event;
    uint64_t id = 100000;
    int i, refused = 0;
    memset(&event, 0, sizeof event);
    memset(text, 'n', 1000);
    event.kind = VTAG_K_NOTE;
    event.text = text;
    for (i = 0; i < 20000 && refused < 20; i++) {
        vtag_batch *b = NULL;
        vtag_item item = item_of(id + (uint64_t)i);
        vtag_vec v = vec(tag_a, (unsigned)i);
        vtag_err err = vtag_begin(db, NULL, &b);
        item.data = text;
        item.size = i % 3 ? 900 : 0;
        if (refused > 8) text[10] = 0;
        if (err == VTAG_OK && i % 2) err = vtag_note(b, &event);
        else if (err == VTAG_OK) err = vtag_put(b, &item, &v, 1);
        if (err == VTAG_OK) err = vtag_commit(b);
        else vtag_abort(b);
        refused += err == VTAG_NOSPACE;
        if (err != VTAG_OK && err != VTAG_NOSPACE) ERR(VTAG_NOSPACE, err);
    }
    CHECK_EQ(refused, 20);
}

static void readable(vtag_db *db, uint64_t from)
{
    vtag_snap *s = NULL;
    vtag_item item;
    vtag_report report;
    uint64_t id;
    MUST(vtag_snapshot(db, &s));
    for (id = from; id < 1000 + CROWD; id++) {
        if (!OK(vtag_get(s, id, &item))) break;
        if (!CHECK_EQ(item.size, 23)) break;
    }
    OK(vtag_verify(s, &report, NULL, NULL));
    CHECK_EQ(content_of(s).err, VTAG_OK);
    vtag_release(s);
}

static void release_a_full_disk(vtag_db *db)
{
    int i;
    crowd_out(db);
    readable(db, 1000);
    OK(in_batch(db, do_cutover));
    for (i = 0; i < 100; i++) {
        vtag_batch *b = NULL;
        if (!OK(vtag_begin(db, NULL, &b))) return;
        if (!OK(vtag_del(b, 1000 + (uint64_t)i))) {
            vtag_abort(b);
            return;
        }
        if (!OK(vtag_commit(b))) {
            fprintf(stderr, "  the delete number %d\n", i);
            return;
        }
        if (i == 50) OK(in_batch(db, do_retire));
    }
    OK(in_batch(db, do_rollback));
    readable(db, 1100);
}

static uint64_t crowd_bytes;     /* size of a file with the crowd in it        */

/* With room for `more` bytes after the crowd came in. */
static void full_disk(uint64_t more, int padded)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    content c;
    sim_reset(&base, 3);
    base.limit = 0;
    memset(&opts, 0, sizeof opts);
    opts.io = &base.io;
    opts.pad_sectors = padded;
    MUST(vtag_open(SIM_MAIN, &opts, &db));
    MUST(in_batch(db, fill_crowd));
    crowd_bytes = base.file[sim_find(&base, SIM_MAIN)].size;
    base.limit = crowd_bytes + more;
    release_a_full_disk(db);
    c = content_db(db);
    vtag_close(db);
    MUST(open_sim(&base, VTAG_EXISTING, &db));
    CHECK(content_db(db).hash == c.hash);
    base.limit = 0;
    OK(in_batch(db, do_put));
    vtag_close(db);
    points++;
}

static void a_full_disk_still_lets_delete_retire_and_roll_back(void)
{
    uint64_t more;
    sim_init(&base, 3);
    for (more = 0; more < 1400 && !t_.failed; more += 64) full_disk(more << 10, 0);
    sim_free(&base);
}

static void a_full_disk_of_padded_commits_does_so_too(void)
{
    uint64_t more, bytes = crowd_bytes;
    sim_init(&base, 3);
    for (more = 0; more < 1400 && !t_.failed; more += 100) full_disk(more << 10, 1);
    sim_free(&base);
    crowd_bytes = bytes;
}

/* ---- A full file system --------------------------------------------------------------- */

static uint64_t sizes = 128;     /* of free space, in steps of 4 KiB           */

/* A file whose first commit did not fit is as it was. */
static void stay_empty(const char *path)
{
    vtag_db *db = NULL;
    vtag_snap *s = NULL;
    vtag_stat stat;
    vtag_err err;
    MUST(vtag_open(path, NULL, &db));
    MUST(vtag_snapshot(db, &s));
    OK(vtag_stats(s, &stat));
    CHECK_EQ(stat.items, 0);
    CHECK_EQ(content_of(s).err, VTAG_OK);
    vtag_release(s);
    err = in_batch(db, do_put_bare);
    CHECK(err == VTAG_OK || err == VTAG_NOSPACE);
    vtag_close(db);
}

/* Fills a file system to the last block; what got in before can be read, and let go. */
static void fill_to_the_brim(const char *path)
{
    vtag_db *db = NULL;
    vtag_err err = vtag_open(path, NULL, &db), crowd = VTAG_NOSPACE;
    if (err != VTAG_OK) {
        ERR(VTAG_NOSPACE, err);
        return;
    }
    crowd = in_batch(db, fill_crowd);
    if (crowd == VTAG_OK) release_a_full_disk(db);
    else ERR(VTAG_NOSPACE, crowd);
    vtag_close(db);
    if (crowd != VTAG_OK) stay_empty(path);
    else if (OK(vtag_open(path, NULL, &db))) {
        readable(db, 1100);
        vtag_close(db);
    }
    points++;
}

/* Says that something is left out, and fails where it should not be. */
static void skip(const char *what, const char *why)
{
    const char *ci = getenv("CI");
    printf("skipped: %s, because %s\n", what, why);
    CHECK(!ci || strcmp(ci, "true"));
}

static void fill_tmpfs(const char *dir, uint64_t kib)
{
    char path[1000], size[40];
    snprintf(size, sizeof size, "size=%uk", (unsigned)kib);
    snprintf(path, sizeof path, "%s/full.vtag", dir);
    REQUIRE(mount("tmpfs", dir, "tmpfs", 0, size) == 0);
    fill_to_the_brim(path);
    CHECK(umount(dir) == 0);
}

static void a_small_tmpfs_runs_full_without_harm(void)
{
    char dir[900];
    uint64_t i;
    snprintf(dir, sizeof dir, "%s", t_path("small"));
    REQUIRE(mkdir(dir, 0700) == 0);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") != 0) {
        skip("a full tmpfs", strerror(errno));
        return;
    }
    umount(dir);
    for (i = 1; i <= sizes && !t_.failed; i++) fill_tmpfs(dir, 4 * i);
}

/* Takes up the room of a file system but for `kib`. */
static int leave_room(const char *ballast, const char *dir, uint64_t kib)
{
    struct statvfs v;
    uint64_t room;
    int fd = open(ballast, O_RDWR | O_CREAT | O_TRUNC, 0600), err = -1;
    if (fd >= 0 && statvfs(dir, &v) == 0) {
        room = (uint64_t)v.f_bavail * v.f_frsize;
        err = posix_fallocate(fd, 0, (off_t)(room - (kib << 10)));
    }
    close(fd);
    return err == 0;
}

static void fill_ext4(const char *dir)
{
    char path[1000], ballast[1000];
    uint64_t i;
    snprintf(path, sizeof path, "%s/full.vtag", dir);
    snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    for (i = 1; i <= sizes && !t_.failed; i++) {
        if (!CHECK(leave_room(ballast, dir, 4 * i))) return;
        fill_to_the_brim(path);
        unlink(path);
    }
}

/* An ext4 in memory, through a loop device; 0: that does not work here. */
static int mount_ext4(const char *dir, int *loop_fd)
{
    char file[60], loop[32], line[200];
    int fd = memfd_create("ext4", 0);
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    if (fd < 0 || ftruncate(fd, 16 << 20) != 0) return 0;
    *loop_fd = dev_loop(file, loop, sizeof loop);
    close(fd);
    snprintf(line, sizeof line, "mkfs.ext4 -q -m 0 -O ^has_journal %s >/dev/null 2>&1", loop);
    return *loop_fd >= 0 && system(line) == 0 && mount(loop, dir, "ext4", 0, NULL) == 0;
}

static void a_small_ext4_runs_full_without_harm(void)
{
    char dir[900];
    int loop_fd = -1;
    snprintf(dir, sizeof dir, "%s", t_path("ext4"));
    REQUIRE(mkdir(dir, 0700) == 0);
    if (geteuid() != 0) skip("a full ext4", "only root may mount");
    else if (!mount_ext4(dir, &loop_fd)) skip("a full ext4", "it cannot be made or mounted");
    else {
        fill_ext4(dir);
        CHECK(umount(dir) == 0);
    }
    if (loop_fd >= 0) close(loop_fd);
}

static void a_limit_on_the_file_size_is_like_a_full_disk(void)
{
    char path[900];
    struct rlimit before, now;
    vtag_db *db = NULL;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    snprintf(path, sizeof path, "%s", t_path("limited.vtag"));
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    now = before;
    if (!crowd_bytes) a_full_disk_still_lets_delete_retire_and_roll_back();
    now.rlim_cur = (rlim_t)(crowd_bytes + 100000);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &now) == 0);
    if (OK(vtag_open(path, NULL, &db)) && OK(in_batch(db, fill_crowd))) release_a_full_disk(db);
    vtag_close(db);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, old);
    if (OK(vtag_open(path, NULL, &db))) readable(db, 1100);
    vtag_close(db);
    points++;
}

int main(int argc, char **argv)
{
    const char *n = getenv("SIZES");
    if (n && *n) sizes = strtoull(n, NULL, 10);
    t_begin(argc, argv);
    if (unshare(CLONE_NEWNS) == 0) mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    RUN(a_failed_system_call_leaves_the_state_before_or_after);
    RUN(a_failed_allocation_leaves_the_state_before_or_after);
    RUN(a_failed_mapping_leaves_the_state_before_or_after);
    RUN(a_rename_that_failed_after_it_was_done_loses_nothing);
    RUN(a_failed_sync_poisons_the_handle_but_not_its_reads);
    RUN(what_is_recovered_after_a_failed_sync_is_on_the_disk);
    RUN(a_full_disk_still_lets_delete_retire_and_roll_back);
    RUN(a_full_disk_of_padded_commits_does_so_too);
    RUN(a_small_tmpfs_runs_full_without_harm);
    RUN(a_small_ext4_runs_full_without_harm);
    RUN(a_limit_on_the_file_size_is_like_a_full_disk);
    printf("count fault-points %llu\n", (unsigned long long)points);
    return t_end();
}
