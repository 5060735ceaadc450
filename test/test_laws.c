/* test_laws.c - the laws of DESIGN.md, section 3: one or more tests each, by number */
#define _GNU_SOURCE 1
#include <stddef.h>
#include <stdlib.h>

#include "engine.h"
#include "test.h"
#include "util.h"
#include "refused.h"
#include "child.h"
#include <sys/wait.h>

/* Tags a (active) and b; items 0..n-1 under both, of `dim` numbers. */
typedef struct law {
    env      e;
    vtag_tag a, b;
    uint32_t dim;
} law;

static void law_load(law *w, uint64_t from, uint64_t to, int both)
{
    vtag_batch *b = begin(w->e.db);
    float x[16], y[16];
    for (; from < to; from++) {
        uint64_t seed = from;
        vtag_vec v[2];
        random_vector(&seed, x, w->dim, 1u << 20);
        random_vector(&seed, y, w->dim, 1u << 20);
        v[0] = vec(w->a, w->dim, x);
        v[1] = vec(w->b, w->dim, y);
        put_b(b, from, "document", v, both ? 2 : 1);
    }
    OK(vtag_commit(b));
}

static void law_up(law *w, uint64_t n, int both)
{
    memset(w, 0, sizeof *w);
    ram_init(&w->e.r);
    w->e.r.track = 1;
    w->e.db = env_open(&w->e, "t.vtag", VTAG_NEW);
    w->dim = 8;
    w->a = declare(w->e.db, "m@1", w->dim, VTAG_COSINE);
    w->b = declare(w->e.db, "m@2", w->dim, VTAG_COSINE);
    law_load(w, 0, n, both);
}

static void law_down(law *w) { env_down(&w->e); }

static void law_query(uint64_t seed, float *q, uint32_t dim) { random_vector(&seed, q, dim, 1u << 20); }

/* ---- L1 -------------------------------------------------------------------------------- */

static void L1_a_search_touches_rows_of_its_tag_alone(void)
{
    law w;
    vtag_snap *s;
    vtag_hit hits[300];
    vtag_search_opts o = {0};
    float q[8];
    size_t n;
    law_up(&w, 100, 0);
    law_load(&w, 100, 150, 1);
    law_query(5, q, 8);
    o.preview = 1;
    s = look(w.e.db);
    OK(vtag_search(s, vec(w.a, 8, q), &o, 300, hits, &n));
    CHECK_EQ(n, 150);
    OK(vtag_search(s, vec(w.b, 8, q), &o, 300, hits, &n));
    CHECK_EQ(n, 50);
    vtag_release(s);
    law_down(&w);
}

static void L1_no_vector_and_no_query_goes_without_a_tag(void)
{
    law w;
    vtag_snap *s;
    vtag_hit hit;
    vtag_item it = item_of(1, "x");
    vtag_vec v;
    vtag_batch *b;
    float q[8];
    size_t n;
    law_up(&w, 3, 0);
    law_query(5, q, 8);
    v = vec(0, 8, q);
    b = begin(w.e.db);
    ERR(VTAG_NOTAG, vtag_put(b, &it, &v, 1));
    it.rev = 1;
    ERR(VTAG_NOTAG, vtag_fill(b, &it, &v, 1));
    vtag_abort(b);
    s = look(w.e.db);
    ERR(VTAG_NOTAG, vtag_search(s, v, NULL, 1, &hit, &n));
    vtag_release(s);
    law_down(&w);
}

/* ---- L2 -------------------------------------------------------------------------------- */

static void L2_a_commit_is_one_sync(void)
{
    law w;
    uint64_t i;
    law_up(&w, 10, 1);
    for (i = 0; i < 20; i++) {
        ram_reset_counts(&w.e.r);
        law_load(&w, 100 + i, 101 + i, 1);
        CHECK_EQ(w.e.r.syncs, 1);
    }
    law_down(&w);
}

#define SLOT0 16384u
#define SLOT1 32768u
#define SLOT_BYTES 512u

/* Were the power to go now, all would be there; with a slot (0: none) destroyed, too. */
static void check_power_cut(const law *w, size_t slot)
{
    void *raw;
    size_t n;
    vtag_db *db;
    uint8_t *p = ram_image(&w->e.r, "t.vtag", &n, &raw);
    if (slot) memset(p + slot, 0xA5, SLOT_BYTES);
    MUST(vtag_open_memory(p, n, NULL, &db));
    CHECK_EQ(hash_of(db), hash_of(w->e.db));
    vtag_close(db);
    free(raw);
}

static void L2_what_was_committed_is_there_without_a_close(void)
{
    law w;
    uint64_t i;
    law_up(&w, 10, 1);
    for (i = 0; i < 50; i++) {
        law_load(&w, 100 + i, 102 + i, 1);
        check_power_cut(&w, 0);
    }
    law_down(&w);
}

/* ---- L3 -------------------------------------------------------------------------------- */

static int in_slot(uint64_t at, uint64_t slot) { return at >= slot && at < slot + SLOT_BYTES; }

/* No byte ever written changed since, superblock slots excepted; of these one at most. */
static void check_only_appended(const ram_node *node, const uint8_t *old, const uint8_t *written, uint64_t n)
{
    uint64_t i, bad = 0;
    int slot0 = 0, slot1 = 0;
    for (i = 0; i < n; i++) {
        if (node->p[i] == old[i]) continue;
        if (in_slot(i, SLOT0)) slot0 = 1;
        else if (in_slot(i, SLOT1)) slot1 = 1;
        else if (written[i] && !bad++) fprintf(stderr, "overwritten at %lu\n", (unsigned long)i);
    }
    CHECK_EQ(bad, 0);
    CHECK(slot0 + slot1 <= 1);
}

static void some_commit(law *w, uint64_t i)
{
    switch (i % 6) {
    case 0: law_load(w, 200 + i, 210 + i, 1); break;
    case 1: put(w->e.db, i, "changed", NULL, 0); break;
    case 2: OK(del(w->e.db, i / 2)); break;
    case 3: CHECK((waive(w->e.db, 150 + i % 40, 0, w->b, "no") | VTAG_NOTFOUND) == VTAG_NOTFOUND); break;
    case 4: law_load(w, i, i + 5, 0); break;
    default: OK(i % 4 == 1 ? rollback(w->e.db, w->a, NULL) : VTAG_OK); law_load(w, i * 7, i * 7 + 3, 1); break;
    }
}

static void L3_no_committed_byte_is_overwritten(void)
{
    law w;
    ram_node *node;
    uint8_t *old = malloc(RAM_CAP / 8), *written = malloc(RAM_CAP / 8);
    uint64_t i, n;
    law_up(&w, 150, 1);
    node = ram_find(&w.e.r, "t.vtag");
    for (i = 0; i < 200 && !t_.failed; i++) {
        n = node->bytes;
        REQUIRE(n < RAM_CAP / 8);
        memcpy(old, node->p, n);
        memcpy(written, node->touched, n);
        some_commit(&w, i);
        check_only_appended(node, old, written, n);
    }
    free(old);
    free(written);
    law_down(&w);
}

static void L3_a_pinned_state_never_changes(void)
{
    law w;
    vtag_snap *pin[8];
    uint64_t hash[8], i;
    law_up(&w, 150, 1);
    for (i = 0; i < 80; i++) {
        if (i % 10 == 0) {
            pin[i / 10] = look(w.e.db);
            hash[i / 10] = content_hash(pin[i / 10]);
        }
        some_commit(&w, i);
        if (i == 33) OK(vtag_seal(w.e.db, NULL, NULL));
        if (i == 55) OK(vtag_compact(w.e.db, NULL, NULL));
    }
    for (i = 0; i < 8; i++) {
        CHECK_EQ(content_hash(pin[i]), hash[i]);
        vtag_release(pin[i]);
    }
    law_down(&w);
}

/* What a delete marks must not reach the bitmap of an older state. */
static void L3_a_pinned_state_answers_as_before(void)
{
    law w;
    vtag_snap *pin[9];
    vtag_hit hits[50];
    vtag_search_opts o = {0};
    float q[8];
    uint64_t i;
    size_t n;
    law_up(&w, 40, 1);
    law_query(5, q, 8);
    o.preview = 1;
    for (i = 0; i < 9; i++) {
        pin[i] = look(w.e.db);
        OK(del(w.e.db, i));
        if (i == 5) OK(vtag_seal(w.e.db, NULL, NULL));
    }
    for (i = 0; i < 9; i++) {
        OK(vtag_search(pin[i], vec(w.a, 8, q), &o, 50, hits, &n));
        CHECK_EQ(n, 40 - i);
        vtag_release(pin[i]);
    }
    law_down(&w);
}

static void L3_either_slot_may_be_lost(void)
{
    law w;
    uint64_t i;
    law_up(&w, 50, 1);
    for (i = 0; i < 12; i++) {
        some_commit(&w, i);
        check_power_cut(&w, i % 2 ? SLOT0 : SLOT1);
    }
    law_down(&w);
}

/* ---- L4 -------------------------------------------------------------------------------- */

static void L4_pending_and_coverage_are_counts_of_the_records(void)
{
    law w;
    vtag_snap *s;
    vtag_cover c;
    vtag_item it;
    uint64_t i, fresh = 0, stale = 0, missing = 0;
    law_up(&w, 150, 1);
    for (i = 0; i < 40; i++) some_commit(&w, i);
    s = look(w.e.db);
    for (i = 0; i < 600; i++) {
        vtag_row row;
        if (vtag_get(s, i, &it) || vtag_vector(s, i, w.a, 0, NULL, 0, NULL)) continue;
        if (vtag_vector(s, i, w.b, 0, NULL, 0, &row)) missing++;
        else if (row.rev == it.rev) fresh++;
        else stale++;
    }
    OK(vtag_coverage(s, w.b, w.a, &c));
    CHECK_EQ(c.fresh, fresh);
    CHECK_EQ(c.stale + c.missing + c.waived, stale + missing);
    CHECK_EQ(c.base, fresh + stale + missing);
    CHECK_EQ(count_items(s, w.b, VTAG_PENDING), c.stale + c.missing + c.outside);
    vtag_release(s);
    law_down(&w);
}

/* ---- L5 -------------------------------------------------------------------------------- */

static void L5_the_gate_and_the_flip_are_one_commit_with_its_verdict(void)
{
    law w;
    vtag_batch *b;
    vtag_event ev;
    vtag_verdict v;
    uint64_t commit;
    law_up(&w, 300, 1);
    commit = stat_of(w.e.db).commit;
    b = begin(w.e.db);
    put_b(b, 5, "changed in the same batch", NULL, 0);
    OK(vtag_cutover(b, w.b, NULL, &v)); /* 299 of 300 fresh: more than 99.5 % */
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(w.e.db).commit, commit + 1);
    ev = newest_event(w.e.db, VTAG_K_CUTOVER);
    CHECK_EQ(ev.cover.fresh, 299);
    CHECK_EQ(ev.cover.stale, 1);
    CHECK_EQ(v.cover.fresh, 299);
    CHECK_EQ(ev.used.min_ppm, 995000);
    CHECK_EQ(ev.used.max_waived_ppm, 1000);
    CHECK_EQ(ev.used.max_age_ms, DAY_MS);
    law_down(&w);
}

/* ---- L6 -------------------------------------------------------------------------------- */

typedef struct flip { uint64_t cut_bytes, cut_syncs, back_bytes, back_syncs; } flip;

static flip flip_at(uint64_t items)
{
    law w;
    flip f;
    vtag_event ev;
    law_up(&w, items, 1);
    memset(&ev, 0, sizeof ev);
    ev.text = "takes a checkpoint, if one is due, away from the flip";
    OK(note(w.e.db, &ev));
    OK(note(w.e.db, &ev));
    ram_reset_counts(&w.e.r);
    OK(cutover(w.e.db, w.b, NULL, NULL));
    f.cut_bytes = w.e.r.bytes_written;
    f.cut_syncs = w.e.r.syncs;
    ram_reset_counts(&w.e.r);
    OK(rollback(w.e.db, 0, NULL));
    f.back_bytes = w.e.r.bytes_written;
    f.back_syncs = w.e.r.syncs;
    law_down(&w);
    return f;
}

static void L6_a_flip_writes_the_same_bytes_at_any_size(void)
{
    flip small = flip_at(10), large = flip_at(20000);
    printf("flip: %lu bytes, %lu sync; back: %lu bytes\n", (unsigned long)large.cut_bytes,
           (unsigned long)large.cut_syncs, (unsigned long)large.back_bytes);
    CHECK_EQ(small.cut_bytes, large.cut_bytes);
    CHECK_EQ(small.back_bytes, large.back_bytes);
    CHECK_EQ(small.cut_syncs, 1);
    CHECK_EQ(large.cut_syncs, 1);
    CHECK_EQ(small.back_syncs, 1);
    CHECK_EQ(large.back_syncs, 1);
    CHECK(large.cut_bytes < 4096);
}

/* ---- L7 -------------------------------------------------------------------------------- */

static void L7_null_arguments_of_a_batch_get_an_answer(void)
{
    law w;
    vtag_batch *b, *none;
    vtag_tag tag;
    vtag_item it = item_of(1, "x");
    vtag_event ev;
    law_up(&w, 3, 1);
    memset(&ev, 0, sizeof ev);
    b = begin(w.e.db);
    ERR(VTAG_ARG, vtag_begin(NULL, NULL, &none));
    CHECK(none == NULL);
    CHECK(vtag_declare(b, NULL, &tag) != VTAG_OK);
    ERR(VTAG_ARG, vtag_put(b, NULL, NULL, 0));
    ERR(VTAG_ARG, vtag_put(b, &it, NULL, 3));
    ERR(VTAG_ARG, vtag_fill(b, NULL, NULL, 0));
    ERR(VTAG_ARG, vtag_waive(b, NULL, w.a, "x"));
    ERR(VTAG_ARG, vtag_note(b, NULL));
    ERR(VTAG_ARG, vtag_meta_set(b, NULL, "x", 1));
    ERR(VTAG_ARG, vtag_policy_set(b, NULL, "x"));
    OK(vtag_commit(b));
    law_down(&w);
}

/* Every argument of every call that looks, one at a time. */
static void L7_each_argument_that_is_missing_gets_an_answer(void)
{
    law w;
    vtag_snap *s;
    vtag_tag tag;
    vtag_item item;
    vtag_info info;
    vtag_event event;
    vtag_hit hit;
    const char *name;
    const void *p;
    float q[8];
    uint64_t c = 0;
    size_t n = 0;
    law_up(&w, 3, 1);
    law_query(5, q, 8);
    snapshot_is_refused(NULL);
    s = look(w.e.db);
    ERR(VTAG_DIM, vtag_vector(s, 1, w.a, 0, q, 7, NULL));
    ERR(VTAG_ARG, vtag_find(s, "m@1", NULL));
    ERR(VTAG_NOTAG, vtag_find(s, "m@9", &tag));
    ERR(VTAG_NOTAG, vtag_tag_info(s, w.a + 1, &info));
    OK(vtag_tag_info(s, 0, &info));
    ERR(VTAG_ARG, vtag_tags(s, &c, &info, 1, NULL));
    ERR(VTAG_ARG, vtag_tags(s, &c, NULL, 1, &n));
    OK(vtag_tags(s, &c, NULL, 0, &n));
    ERR(VTAG_ARG, vtag_items(s, 0, VTAG_ALL, NULL, &item, 1, &n));
    ERR(VTAG_ARG, vtag_items(s, 0, VTAG_ALL, &c, &item, 1, NULL));
    ERR(VTAG_ARG, vtag_items(s, w.a, 0, &c, &item, 1, &n));
    ERR(VTAG_ARG, vtag_items(s, w.a, 1u << 30, &c, &item, 1, &n));
    OK(vtag_items(s, w.a, VTAG_ALL, &c, NULL, 0, &n));
    ERR(VTAG_ARG, vtag_history(s, NULL, &event, 1, &n));
    ERR(VTAG_ARG, vtag_history(s, &c, &event, 1, NULL));
    ERR(VTAG_ARG, vtag_history(s, &c, NULL, 1, &n));
    OK(vtag_history(s, &c, NULL, 0, &n));
    ERR(VTAG_ARG, vtag_meta_get(s, "x", NULL, &n));
    ERR(VTAG_ARG, vtag_meta_get(s, "x", &p, NULL));
    ERR(VTAG_ARG, vtag_metas(s, NULL, &name, 1, &n));
    ERR(VTAG_ARG, vtag_metas(s, &c, &name, 1, NULL));
    ERR(VTAG_ARG, vtag_metas(s, &c, NULL, 1, &n));
    OK(vtag_metas(s, &c, NULL, 0, &n));
    ERR(VTAG_ARG, vtag_search(s, vec(w.a, 8, q), NULL, 1, &hit, NULL));
    ERR(VTAG_ARG, vtag_search(s, vec(w.a, 8, q), NULL, 1, NULL, &n));
    OK(vtag_search(s, vec(w.a, 8, q), NULL, 0, NULL, &n));
    OK(vtag_search_many(s, vec(w.a, 8, q), 0, NULL, 1, NULL, NULL));
    ERR(VTAG_ARG, vtag_search_many(s, vec(w.a, 8, q), SIZE_MAX / 2, NULL, 9, &hit, &n));
    ERR(VTAG_ARG, vtag_verify(s, NULL, NULL, NULL));
    ERR(VTAG_ARG, vtag_copy(s, "", NULL, NULL));
    ERR(VTAG_ARG, vtag_flush(NULL));
    ERR(VTAG_ARG, vtag_seal(NULL, NULL, NULL));
    ERR(VTAG_ARG, vtag_compact(NULL, NULL, NULL));
    ERR(VTAG_ARG, vtag_commit(NULL));
    vtag_abort(NULL);
    vtag_release(NULL);
    vtag_release(s);
    law_down(&w);
}

/* What only a restore may do, and reasons and names of impossible length. */
static void L7_a_batch_refuses_what_is_not_for_it(void)
{
    static char endless[5000];
    law w;
    vtag_batch *b;
    vtag_info info;
    vtag_stat stat;
    vtag_event e;
    vtag_policy policy;
    vtag_item it = item_of(1, "x");
    law_up(&w, 3, 1);
    memset(endless, 'x', sizeof endless - 1);
    memset(&info, 0, sizeof info);
    memset(&stat, 0, sizeof stat);
    memset(&policy, 0, sizeof policy);
    memset(&e, 0, sizeof e);
    e.kind = VTAG_K_SCORE;
    e.tag = w.a;
    b = begin(w.e.db);
    ERR(VTAG_ARG, vtag_restore_tag(NULL, &info));
    ERR(VTAG_ARG, vtag_restore_tag(b, NULL));
    ERR(VTAG_ARG, vtag_restore_tag(b, &info));
    ERR(VTAG_ARG, vtag_restore_stat(NULL, &stat));
    ERR(VTAG_ARG, vtag_restore_stat(b, NULL));
    ERR(VTAG_ARG, vtag_restore_stat(b, &stat));
    ERR(VTAG_ARG, vtag_policy_set(b, &policy, ""));
    ERR(VTAG_ARG, vtag_policy_set(b, &policy, endless));
    ERR(VTAG_ARG, vtag_retire(b, w.b, "", NULL));
    ERR(VTAG_ARG, vtag_retire(b, w.b, endless, NULL));
    ERR(VTAG_ARG, vtag_waive(b, &it, w.b, ""));
    ERR(VTAG_ARG, vtag_waive(b, &it, w.b, endless));
    ERR(VTAG_ARG, vtag_meta_set(b, endless, "x", 1));
    ERR(VTAG_ARG, vtag_meta_set(b, "", "x", 1));
    e.name = "";
    ERR(VTAG_ARG, vtag_note(b, &e));
    e.name = endless;
    ERR(VTAG_ARG, vtag_note(b, &e));
    e.name = "recall@10";
    e.text = endless;
    ERR(VTAG_ARG, vtag_note(b, &e));
    vtag_abort(b);
    ERR(VTAG_ARG, vtag_begin(w.e.db, NULL, NULL));
    ERR(VTAG_ARG, vtag_del(NULL, 1));
    ERR(VTAG_ARG, vtag_put(NULL, &it, NULL, 0));
    law_down(&w);
}

static void L7_open_refuses_what_makes_no_sense(void)
{
    vtag_open_opts o;
    vtag_db *db;
    char image[64] = {0};
    memset(&o, 0, sizeof o);
    ERR(VTAG_ARG, vtag_open(NULL, NULL, &db));
    ERR(VTAG_ARG, vtag_open("", NULL, &db));
    ERR(VTAG_ARG, vtag_open(t_path("none.vtag"), NULL, NULL));
    o.access = (vtag_access)99;
    ERR(VTAG_ARG, vtag_open(t_path("none.vtag"), &o, &db));
    o.access = VTAG_CREATE;
    o.durability = (vtag_durability)99;
    ERR(VTAG_ARG, vtag_open(t_path("none.vtag"), &o, &db));
    memset(&o, 0, sizeof o);
    o.isa = "none";
    ERR(VTAG_ARG, vtag_open(t_path("none.vtag"), &o, &db));
    ERR(VTAG_ARG, vtag_open_memory(image, sizeof image, &o, &db));
    ERR(VTAG_ARG, vtag_open_memory(NULL, 64, NULL, &db));
    ERR(VTAG_ARG, vtag_open_memory(image, sizeof image, NULL, NULL));
}

static void L7_null_arguments_of_a_snapshot_get_an_answer(void)
{
    law w;
    vtag_snap *s;
    vtag_tag tag;
    uint64_t cursor = 0;
    size_t n;
    law_up(&w, 3, 1);
    ERR(VTAG_ARG, vtag_snapshot(NULL, &s));
    ERR(VTAG_ARG, vtag_snapshot(w.e.db, NULL));
    s = look(w.e.db);
    ERR(VTAG_ARG, vtag_stats(s, NULL));
    ERR(VTAG_ARG, vtag_find(s, NULL, &tag));
    ERR(VTAG_ARG, vtag_tag_info(s, w.a, NULL));
    ERR(VTAG_ARG, vtag_tags(s, NULL, NULL, 0, &n));
    ERR(VTAG_ARG, vtag_items(s, 0, VTAG_ALL, &cursor, NULL, 4, &n));
    ERR(VTAG_ARG, vtag_get(s, 1, NULL));
    ERR(VTAG_ARG, vtag_coverage(s, w.b, 0, NULL));
    ERR(VTAG_ARG, vtag_judge(s, w.b, NULL, NULL));
    ERR(VTAG_ARG, vtag_policy_get(s, NULL));
    ERR(VTAG_ARG, vtag_meta_get(s, NULL, NULL, NULL));
    ERR(VTAG_ARG, vtag_copy(s, NULL, NULL, NULL));
    vtag_release(s);
    law_down(&w);
}

static void L7_a_damaged_file_is_an_error_that_says_where(void)
{
    law w;
    void *raw;
    size_t n;
    uint8_t *p;
    vtag_db *db = NULL;
    law_up(&w, 20, 1);
    p = ram_image(&w.e.r, "t.vtag", &n, &raw);
    memset(p + SLOT0, 0xFF, SLOT_BYTES);
    memset(p + SLOT1, 0xFF, SLOT_BYTES);
    ERR(VTAG_CORRUPT, vtag_open_memory(p, n, NULL, &db));
    CHECK(db == NULL);
    free(raw);
    law_down(&w);
}

/* ---- L8 -------------------------------------------------------------------------------- */

static void ask(law *w, vtag_hit *hits, size_t *n)
{
    vtag_snap *s = look(w->e.db);
    float q[8];
    law_query(99, q, 8);
    OK(vtag_search(s, vec(w->a, 8, q), NULL, 40, hits, n));
    vtag_release(s);
}

static void L8_answers_have_the_same_bits_wherever_the_rows_lie(void)
{
    law w;
    vtag_hit want[40], got[40];
    size_t n, m;
    law_up(&w, 3000, 1);
    ask(&w, want, &n);
    CHECK_EQ(n, 40);
    OK(vtag_seal(w.e.db, NULL, NULL));
    ask(&w, got, &m);
    CHECK(same_hits(want, n, got, m));
    OK(vtag_compact(w.e.db, NULL, NULL));
    ask(&w, got, &m);
    CHECK(same_hits(want, n, got, m));
    env_reopen(&w.e);
    ask(&w, got, &m);
    CHECK(same_hits(want, n, got, m));
    law_down(&w);
}

/* ---- L9 -------------------------------------------------------------------------------- */

static void L9_readers_go_on_while_a_batch_is_open(void)
{
    law w;
    vtag_db *other;
    vtag_batch *b;
    uint64_t before;
    law_up(&w, 50, 1);
    other = env_open(&w.e, "t.vtag", VTAG_READ);
    before = hash_of(w.e.db);
    b = begin(w.e.db);
    put_b(b, 3, "not yet seen", NULL, 0);
    CHECK_EQ(hash_of(w.e.db), before);
    CHECK_EQ(hash_of(other), before);
    OK(vtag_commit(b));
    CHECK(hash_of(other) != before);
    CHECK_EQ(hash_of(other), hash_of(w.e.db));
    vtag_close(other);
    law_down(&w);
}

static void L9_an_open_handle_holds_no_lock(void)
{
    law w;
    vtag_db *other;
    uint64_t i;
    law_up(&w, 5, 1);
    other = env_open(&w.e, "t.vtag", VTAG_EXISTING);
    for (i = 0; i < 10; i++) {
        put(w.e.db, i, "from one", NULL, 0);
        put(other, i, "from the other", NULL, 0);
    }
    CHECK_EQ(hash_of(w.e.db), hash_of(other));
    vtag_close(other);
    law_down(&w);
}

static void L9_a_killed_process_leaves_no_lock(void)
{
    const char *path = t_path("killed.vtag");
    vtag_db *db;
    pid_t child;
    int status;
    MUST(vtag_open(path, NULL, &db));
    vtag_close(db);
    child = fork();
    if (!child) {
        vtag_batch *b;
        int bad = vtag_open(path, NULL, &db) || vtag_begin(db, NULL, &b);
        leave(bad); /* the batch is open */
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    MUST(vtag_open(path, NULL, &db));
    put(db, 1, "free at once", NULL, 0);
    vtag_close(db);
}

/* ---- L10 ------------------------------------------------------------------------------- */

static int has_some_vector(const vtag_snap *s, uint64_t id, const law *w)
{
    return !vtag_vector(s, id, w->a, 0, NULL, 0, NULL) || !vtag_vector(s, id, w->b, 0, NULL, 0, NULL);
}

static void L10_only_a_delete_or_a_retirement_takes_the_last_vector(void)
{
    law w;
    vtag_snap *s;
    uint64_t id;
    law_up(&w, 60, 0);
    for (id = 0; id < 60; id += 2) put(w.e.db, id, "changed", NULL, 0);
    OK(waive(w.e.db, 3, 0, w.a, "no"));
    law_load(&w, 0, 60, 1);
    put2(w.e.db, 100, "x", declare(w.e.db, "n@1", 2, VTAG_DOT), 1, 0);
    OK(cutover(w.e.db, w.b, NULL, NULL));
    OK(rollback(w.e.db, 0, NULL));
    OK(vtag_seal(w.e.db, NULL, NULL));
    OK(vtag_compact(w.e.db, NULL, NULL));
    env_reopen(&w.e);
    s = look(w.e.db);
    for (id = 0; id < 60; id++) CHECK(has_some_vector(s, id, &w));
    vtag_release(s);
    law_down(&w);
}

static void L10_a_retirement_says_first_what_would_be_lost(void)
{
    law w;
    vtag_cover lost;
    law_up(&w, 60, 1);
    law_load(&w, 60, 70, 0);
    OK(rollback(w.e.db, w.a, NULL));
    memset(&lost, 0, sizeof lost);
    OK(retire(w.e.db, w.b, NULL, &lost));
    CHECK_EQ(lost.base, 60);
    CHECK_EQ(lost.missing, 0); /* all have another under a */
    law_down(&w);
}

/* ---- L11 ------------------------------------------------------------------------------- */

static void L11_a_rollback_works_and_its_hidden_items_are_the_pending_list(void)
{
    law w;
    vtag_cover hidden;
    float x[8] = {1};
    uint64_t id, before;
    law_up(&w, 60, 1);
    OK(cutover(w.e.db, w.b, NULL, NULL));
    for (id = 55; id < 65; id++) {
        vtag_vec v = vec(w.b, 8, x);
        put(w.e.db, id, "under the new tag alone", &v, 1);
    }
    memset(&hidden, 0, sizeof hidden);
    OK(rollback(w.e.db, 0, &hidden));
    CHECK_EQ(hidden.extra, 10);
    CHECK_EQ(pending_of(w.e.db, w.a), 10);
    before = hash_of(w.e.db);
    OK(rollback(w.e.db, 0, NULL));
    CHECK_EQ(hash_of(w.e.db), before);
    ERR(VTAG_OK, cutover(w.e.db, w.b, NULL, NULL)); /* up again, through the gate */
    law_down(&w);
}

/* ---- L12 ------------------------------------------------------------------------------- */

static size_t bytes_of_a_search(uint64_t items, size_t *calls)
{
    law w;
    vtag_snap *s;
    vtag_hit hits[10];
    vtag_search_opts o = {0};
    float q[8];
    size_t n, bytes;
    law_up(&w, items, 0);
    s = look(w.e.db);
    law_query(7, q, 8);
    OK(vtag_search(s, vec(w.a, 8, q), &o, 10, hits, &n));
    heap.calls = heap.bytes = 0;
    OK(vtag_search(s, vec(w.a, 8, q), &o, 10, hits, &n));
    bytes = heap.bytes;
    *calls = heap.calls;
    vtag_release(s);
    law_down(&w);
    return bytes;
}

static void L12_a_search_allocates_nothing_that_grows_with_the_rows(void)
{
    size_t small_calls, large_calls, small = bytes_of_a_search(50, &small_calls);
    size_t large = bytes_of_a_search(20000, &large_calls);
    printf("search: %lu allocations of %lu bytes in all\n", (unsigned long)large_calls, (unsigned long)large);
    CHECK_EQ(small, large);
    CHECK_EQ(small_calls, large_calls);
}

/* The directory of this source file, from where the test was compiled. */
static void beside_this_file(const char *name, char *path, size_t cap)
{
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, cap, "%.*s%s", slash ? (int)(slash - __FILE__ + 1) : 0, __FILE__, name);
}

static int forbidden(const char *symbol)
{
    static const char *const names[] = {
        "printf", "fprintf", "vprintf", "vfprintf", "puts", "fputs", "putchar", "perror", "fwrite", "stdout",
        "stderr", "getenv", "secure_getenv", "setenv", "pthread_create", "thrd_create", "fork", "system",
        "signal", "sigaction", "exit", "atexit", "setlocale", "rand", "srand", "malloc_hook",
    };
    size_t i;
    while (*symbol == '_') symbol++;
    for (i = 0; i < LENGTH(names); i++) {
        size_t n = strlen(names[i]);
        if (!strncmp(symbol, names[i], n) && (!symbol[n] || symbol[n] == '@')) return 1;
        if (!strncmp(symbol, names[i], n) && !strcmp(symbol + n, "_chk")) return 1;
    }
    return 0;
}

static void check_symbols(const char *object)
{
    char line[600];
    FILE *f;
    int seen = 0, state;
    snprintf(line, sizeof line, "nm %s", object);
    f = popen(line, "r");
    REQUIRE(f != NULL);
    while (fgets(line, sizeof line, f)) {
        char type = 0, name[400] = "";
        if (sscanf(line, "%*x %c %399s", &type, name) < 2 && sscanf(line, " %c %399s", &type, name) < 2) continue;
        seen++;
        if (type == 'U' && !CHECK(!forbidden(name))) fprintf(stderr, "it uses %s\n", name);
        state = type && strchr("BbDdCSs", type) != NULL;
        if (!CHECK(!state)) fprintf(stderr, "it keeps %s\n", name);
    }
    pclose(f);
    CHECK(seen > 50);
}

static void L12_the_object_prints_nothing_reads_no_environment_starts_no_thread(void)
{
    char source[600], command[2000];
    const char *object = t_path("impl.o"), *cc = getenv("CC");
    beside_this_file("../vtag_impl.c", source, sizeof source);
    snprintf(command, sizeof command, "nm --version >/dev/null 2>&1 && %s -O1 -fno-pic -DNDEBUG -c -o %s %s 2>/dev/null",
             cc && *cc ? cc : "cc", object, source);
    if (system(command)) {
        printf("L12: skipped, no compiler or no nm here\n");
        return;
    }
    check_symbols(object);
}

/* ---- L13 ------------------------------------------------------------------------------- */

static uint8_t *written_by(const char *isa, int no_map, size_t *n, void **raw)
{
    law w;
    vtag_open_opts o = {0};
    uint64_t i;
    uint8_t *p;
    memset(&w, 0, sizeof w);
    ram_init(&w.e.r);
    o.isa = isa;
    o.no_map = no_map;
    o.io = &w.e.r.io;
    MUST(vtag_open("t.vtag", &o, &w.e.db));
    w.dim = 8;
    w.a = declare(w.e.db, "m@1", 8, VTAG_COSINE);
    w.b = declare(w.e.db, "m@2", 8, VTAG_COSINE);
    law_load(&w, 0, 500, 1);
    for (i = 0; i < 60; i++) {
        w.e.r.clock += 1000;
        some_commit(&w, i);
        if (i == 20) OK(vtag_seal(w.e.db, NULL, NULL));
        if (i == 40) OK(vtag_compact(w.e.db, NULL, NULL));
    }
    vtag_close(w.e.db);
    p = ram_image(&w.e.r, "t.vtag", n, raw);
    ram_free(&w.e.r);
    return p;
}

static void L13_same_operations_clock_and_random_give_the_same_bytes(void)
{
    void *raw, *other;
    size_t n, m;
    uint8_t *p = written_by(NULL, 0, &n, &raw), *q = written_by("scalar", 0, &m, &other);
    CHECK_EQ(n, m);
    CHECK(n == m && !memcmp(p, q, n));
    free(other);
    q = written_by(NULL, 1, &m, &other); /* read into memory instead of mapped */
    CHECK_EQ(n, m);
    CHECK(n == m && !memcmp(p, q, n));
    free(other);
    free(raw);
}

/* ---- L14 ------------------------------------------------------------------------------- */

static void L14_a_candidate_is_never_searched_by_accident(void)
{
    law w;
    vtag_snap *s;
    vtag_hit hits[4];
    vtag_search_opts o = {0};
    float q[8];
    size_t n;
    law_up(&w, 20, 1);
    law_query(3, q, 8);
    s = look(w.e.db);
    ERR(VTAG_PREVIEW, vtag_search(s, vec(w.b, 8, q), NULL, 4, hits, &n));
    ERR(VTAG_PREVIEW, vtag_search(s, vec(w.b, 8, q), &o, 4, hits, &n));
    ERR(VTAG_PREVIEW, vtag_search_many(s, vec(w.b, 8, q), 1, &o, 4, hits, &n));
    o.preview = 1;
    OK(vtag_search(s, vec(w.b, 8, q), &o, 4, hits, &n));
    vtag_release(s);
    law_down(&w);
}

static void L14_a_forced_cutover_stays_marked(void)
{
    law w;
    vtag_gate g;
    law_up(&w, 20, 0);
    memset(&g, 0, sizeof g);
    g.min_ppm = VTAG_NONE;
    g.reason = "forced";
    law_load(&w, 0, 1, 1);
    OK(cutover(w.e.db, w.b, &g, NULL));
    CHECK(info_of(w.e.db, w.b).forced);
    OK(vtag_compact(w.e.db, NULL, NULL));
    env_reopen(&w.e);
    CHECK(info_of(w.e.db, w.b).forced);
    law_down(&w);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(L1_a_search_touches_rows_of_its_tag_alone);
    RUN(L1_no_vector_and_no_query_goes_without_a_tag);
    RUN(L2_a_commit_is_one_sync);
    RUN(L2_what_was_committed_is_there_without_a_close);
    RUN(L3_no_committed_byte_is_overwritten);
    RUN(L3_a_pinned_state_never_changes);
    RUN(L3_a_pinned_state_answers_as_before);
    RUN(L3_either_slot_may_be_lost);
    RUN(L4_pending_and_coverage_are_counts_of_the_records);
    RUN(L5_the_gate_and_the_flip_are_one_commit_with_its_verdict);
    RUN(L6_a_flip_writes_the_same_bytes_at_any_size);
    RUN(L7_null_arguments_of_a_batch_get_an_answer);
    RUN(L7_null_arguments_of_a_snapshot_get_an_answer);
    RUN(L7_each_argument_that_is_missing_gets_an_answer);
    RUN(L7_a_batch_refuses_what_is_not_for_it);
    RUN(L7_open_refuses_what_makes_no_sense);
    RUN(L7_a_damaged_file_is_an_error_that_says_where);
    RUN(L8_answers_have_the_same_bits_wherever_the_rows_lie);
    RUN(L9_readers_go_on_while_a_batch_is_open);
    RUN(L9_an_open_handle_holds_no_lock);
    RUN(L9_a_killed_process_leaves_no_lock);
    RUN(L10_only_a_delete_or_a_retirement_takes_the_last_vector);
    RUN(L10_a_retirement_says_first_what_would_be_lost);
    RUN(L11_a_rollback_works_and_its_hidden_items_are_the_pending_list);
    RUN(L12_a_search_allocates_nothing_that_grows_with_the_rows);
    RUN(L12_the_object_prints_nothing_reads_no_environment_starts_no_thread);
    RUN(L13_same_operations_clock_and_random_give_the_same_bytes);
    RUN(L14_a_candidate_is_never_searched_by_accident);
    RUN(L14_a_forced_cutover_stays_marked);
    return t_end();
}
