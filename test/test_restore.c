/* test_restore.c - dump and restore through the public API: nothing is lost */
#include "engine.h"
#include "test.h"
#include "util.h"

/* ---- A restore as a tool writes it: from a snapshot into an empty file ------------------ */

static void restore_tags(const vtag_snap *s, vtag_batch *b)
{
    vtag_info t;
    uint64_t cursor = 0;
    size_t n;
    for (;;) {
        OK(vtag_tags(s, &cursor, &t, 1, &n));
        if (!n) return;
        OK(vtag_restore_tag(b, &t));
    }
}

/* An item's vectors under one tag are filled with the revision that they embed. */
static void restore_rows(const vtag_snap *s, vtag_batch *b, uint64_t id, const vtag_info *t)
{
    vtag_row row;
    vtag_item it = item_at(id, 0);
    vtag_vec v[8];
    float *x;
    uint32_t p;
    if (vtag_vector(s, id, t->tag, 0, NULL, 0, &row)) return;
    REQUIRE(row.parts <= 8);
    x = calloc(row.parts * t->spec.dim, sizeof *x);
    for (p = 0; p < row.parts; p++) {
        OK(vtag_vector(s, id, t->tag, p, x + p * t->spec.dim, t->spec.dim, &row));
        v[p] = vec(t->tag, t->spec.dim, x + p * t->spec.dim);
        v[p].off = row.off;
        v[p].len = row.len;
    }
    it.rev = row.rev;
    OK(vtag_fill(b, &it, v, row.parts));
    free(x);
}

static void restore_waiver(const vtag_snap *s, vtag_batch *b, const vtag_info *t)
{
    vtag_item it[8];
    uint64_t cursor = 0;
    size_t i, n;
    do {
        OK(vtag_items(s, t->tag, VTAG_WAIVED, &cursor, it, 8, &n));
        for (i = 0; i < n; i++) {
            vtag_item w = item_at(it[i].id, it[i].rev);
            OK(vtag_waive(b, &w, t->tag, it[i].why));
        }
    } while (n);
}

static void restore_items(const vtag_snap *s, vtag_batch *b)
{
    vtag_item it;
    vtag_info t;
    uint64_t cursor = 0, tags;
    size_t n, m;
    for (;;) {
        OK(vtag_items(s, 0, VTAG_ALL, &cursor, &it, 1, &n));
        if (!n) break;
        OK(vtag_put(b, &it, NULL, 0));
        for (tags = 0;;) {
            OK(vtag_tags(s, &tags, &t, 1, &m));
            if (!m) break;
            if (t.role != VTAG_GONE) restore_rows(s, b, it.id, &t);
        }
    }
    for (tags = 0;;) {
        OK(vtag_tags(s, &tags, &t, 1, &m));
        if (!m) break;
        if (t.role != VTAG_GONE) restore_waiver(s, b, &t);
    }
}

static void restore_rest(const vtag_snap *s, vtag_batch *b)
{
    vtag_policy p;
    vtag_stat st;
    vtag_event ev;
    const char *name;
    const void *data;
    uint64_t cursor;
    size_t n, bytes;
    memset(&p, 0, sizeof p);
    OK(vtag_policy_get(s, &p));
    OK(vtag_policy_set(b, &p, "restored"));
    for (cursor = 0;;) {
        OK(vtag_metas(s, &cursor, &name, 1, &n));
        if (!n) break;
        OK(vtag_meta_get(s, name, &data, &bytes));
        OK(vtag_meta_set(b, name, data, bytes));
    }
    for (cursor = 0;;) {
        OK(vtag_history(s, &cursor, &ev, 1, &n));
        if (!n) break;
        OK(vtag_note(b, &ev));
    }
    OK(vtag_stats(s, &st));
    OK(vtag_restore_stat(b, &st));
}

static vtag_batch *begin_restore(vtag_db *db)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    o.restore = 1;
    MUST(vtag_begin(db, &o, &b));
    return b;
}

static vtag_db *restored(env *e, vtag_db *from)
{
    vtag_db *to = env_open(e, "restored.vtag", VTAG_NEW);
    vtag_snap *s = look(from);
    vtag_batch *b = begin_restore(to);
    restore_tags(s, b);
    restore_items(s, b);
    restore_rest(s, b);
    OK(vtag_commit(b));
    vtag_release(s);
    return to;
}

/* ---- Stores worth restoring --------------------------------------------------------------- */

static void migrated_up(env *e)
{
    vtag_tag a, b, c;
    vtag_vec v[4];
    vtag_batch *batch;
    vtag_item it;
    uint64_t i, rev = 0;
    vtag_gate g;
    env_up(e);
    a = declare(e->db, "m@1", 2, VTAG_COSINE);
    b = declare(e->db, "m@2/chunk", 2, VTAG_L2SQ);
    c = declare(e->db, "n@1", 2, VTAG_DOT);
    OK(retire(e->db, c, "never used", NULL));
    for (i = 0; i < 40; i++) {
        e->r.clock += 1000;
        v[0] = v2(a, 1, (float)i);
        v[1] = v2(b, (float)i, 2);
        v[2] = v2(b, 3, (float)i);
        v[2].off = 7;
        v[2].len = 9;
        rev = put(e->db, i * i, i % 4 ? "text" : NULL, v, i % 3 + 1);
    }
    OK(waive(e->db, 39 * 39, rev, b, "too long"));
    put2(e->db, 16, "changed under a", a, 1, 1);
    put(e->db, 25, "changed under none", NULL, 0);
    OK(del(e->db, 36));
    batch = begin(e->db);
    it = item_of(0, "keyed");
    it.key = "docs/a.txt";
    OK(vtag_put(batch, &it, v, 1));
    OK(vtag_meta_set(batch, "probe", "12345", 5));
    OK(vtag_meta_set(batch, "empty", "", 0));
    OK(vtag_commit(batch));
    memset(&g, 0, sizeof g);
    g.min_ppm = VTAG_NONE;
    g.reason = "on record";
    g.max_waived_ppm = 1000000;
    OK(cutover(e->db, b, &g, NULL));
    e->r.clock += DAY_MS;
    OK(rollback(e->db, 0, NULL));
}

static void scored(env *e)
{
    vtag_policy p;
    vtag_event ev;
    memset(&p, 0, sizeof p);
    p.gate.min_ppm = 900000;
    p.gate.score = "ndcg@10";
    p.gate.has_min = 1;
    p.gate.min_score = 0.25;
    p.retain_ms = 5 * DAY_MS;
    OK(set_policy(e->db, &p, "smaller"));
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_SCORE;
    ev.tag = info_of(e->db, 0).tag;
    ev.name = "ndcg@10";
    ev.value = 0.336;
    ev.queries = 225;
    ev.cover = cover_of(e->db, ev.tag, 0);
    OK(note(e->db, &ev));
}

/* ---- Tests --------------------------------------------------------------------------------- */

static void a_restored_file_shows_the_same(void)
{
    env e;
    vtag_db *to;
    migrated_up(&e);
    to = restored(&e, e.db);
    CHECK_EQ(hash_of(to), hash_of(e.db));
    verify(to);
    vtag_close(to);
    to = env_open(&e, "restored.vtag", VTAG_EXISTING);
    CHECK_EQ(hash_of(to), hash_of(e.db));
    vtag_close(to);
    env_down(&e);
}

static void policy_and_scores_are_restored(void)
{
    env e;
    vtag_db *to;
    migrated_up(&e);
    scored(&e);
    to = restored(&e, e.db);
    CHECK_EQ(hash_of(to), hash_of(e.db));
    vtag_close(to);
    env_down(&e);
}

static void nothing_given_out_before_is_given_out_again(void)
{
    env e;
    vtag_db *to;
    vtag_stat a, b;
    migrated_up(&e);
    OK(del(e.db, 39 * 39)); /* the newest revision of all may be a deleted one's */
    a = stat_of(e.db);
    to = restored(&e, e.db);
    b = stat_of(to);
    CHECK(b.commit >= a.commit);
    CHECK_EQ(b.revision, a.revision);
    CHECK_EQ(b.rolled_back, a.rolled_back);
    CHECK(put(to, 5000, "new", NULL, 0) > a.revision);
    CHECK_EQ(declare(to, "n@2", 2, VTAG_DOT), 2u << 20 | 2u << 8 | 1u);
    {
        vtag_batch *bt = begin(to);
        vtag_tag t;
        ERR(VTAG_RETIRED, try_declare(bt, "n@1", 2, VTAG_DOT, &t));
        OK(vtag_commit(bt));
    }
    vtag_close(to);
    env_down(&e);
}

static void retention_goes_on_after_a_restore(void)
{
    env e;
    vtag_db *to;
    vtag_tag left;
    vtag_snap *s;
    migrated_up(&e);
    s = look(e.db);
    OK(vtag_find(s, "m@2/chunk", &left));
    vtag_release(s);
    to = restored(&e, e.db);
    CHECK_EQ(info_of(to, left).kept_ms, info_of(e.db, left).kept_ms);
    ERR(VTAG_KEPT, retire(to, left, NULL, NULL));
    vtag_close(to);
    env_down(&e);
}

static void a_restore_needs_an_empty_file(void)
{
    env e;
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    env_up(&e);
    declare(e.db, "m@1", 2, VTAG_COSINE);
    o.restore = 1;
    CHECK(vtag_begin(e.db, &o, &b) != VTAG_OK);
    CHECK(b == NULL);
    vtag_commit(begin(e.db)); /* and no lock is left */
    env_down(&e);
}

static void restore_calls_need_a_restore_batch(void)
{
    env e;
    vtag_batch *b;
    vtag_info t;
    vtag_stat st;
    env_up(&e);
    memset(&t, 0, sizeof t);
    memset(&st, 0, sizeof st);
    t.spec.name = "m@1";
    t.spec.dim = 2;
    b = begin(e.db);
    ERR(VTAG_ARG, vtag_restore_tag(b, &t));
    ERR(VTAG_ARG, vtag_restore_stat(b, &st));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(e.db).tags, 0);
    env_down(&e);
}

static void an_aborted_restore_leaves_an_empty_file(void)
{
    env e;
    vtag_db *to;
    vtag_snap *s;
    vtag_batch *b;
    migrated_up(&e);
    to = env_open(&e, "restored.vtag", VTAG_NEW);
    s = look(e.db);
    b = begin_restore(to);
    restore_tags(s, b);
    restore_items(s, b);
    vtag_abort(b);
    vtag_release(s);
    CHECK_EQ(stat_of(to).items + stat_of(to).tags + stat_of(to).events, 0);
    vtag_close(to);
    to = env_open(&e, "restored.vtag", VTAG_EXISTING);
    b = begin_restore(to); /* still empty: may be tried again */
    vtag_abort(b);
    vtag_close(to);
    env_down(&e);
}

/* Numbers from another file leave as many again to give out. */
static void numbers_that_leave_none_to_give_out_are_refused(void)
{
    const uint64_t most = UINT64_MAX / 2;
    env e;
    vtag_batch *b;
    vtag_stat st;
    vtag_event ev;
    vtag_item it = item_at(1, most + 1);
    env_up(&e);
    b = begin_restore(e.db);
    memset(&st, 0, sizeof st);
    memset(&ev, 0, sizeof ev);
    st.commit = most + 1;
    ERR(VTAG_ARG, vtag_restore_stat(b, &st));
    st.commit = most;
    st.revision = most + 1;
    ERR(VTAG_ARG, vtag_restore_stat(b, &st));
    st.revision = most;
    OK(vtag_restore_stat(b, &st));
    ERR(VTAG_ARG, vtag_put(b, &it, NULL, 0));
    it.rev = most;
    OK(vtag_put(b, &it, NULL, 0));
    ev.seq = most + 1;
    ERR(VTAG_ARG, vtag_note(b, &ev));
    ev.seq = most;
    OK(vtag_note(b, &ev));
    OK(vtag_commit(b));
    put2(e.db, 1, "more", declare(e.db, "m@1", 2, VTAG_COSINE), 1, 0);
    env_reopen(&e);
    CHECK_EQ(stat_of(e.db).revision, most + 1);
    verify(e.db);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_restored_file_shows_the_same);
    RUN(policy_and_scores_are_restored);
    RUN(nothing_given_out_before_is_given_out_again);
    RUN(retention_goes_on_after_a_restore);
    RUN(a_restore_needs_an_empty_file);
    RUN(restore_calls_need_a_restore_batch);
    RUN(an_aborted_restore_leaves_an_empty_file);
    RUN(numbers_that_leave_none_to_give_out_are_refused);
    return t_end();
}
