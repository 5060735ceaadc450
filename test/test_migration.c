/* test_migration.c - coverage, gate, cutover, rollback, retention: every guarantee of a
   migration that the engine itself gives, one test each */
#include "engine.h"
#include "test.h"
#include "util.h"

#define MAX 4096

/* A store in mid-migration: items 0..n-1 with a vector under `a`, which is active;
   `b` is a candidate. */
typedef struct mig {
    env      e;
    vtag_tag a, b;
    uint64_t n, rev[MAX];
} mig;

static void mig_up(mig *m, uint64_t n)
{
    vtag_batch *b;
    uint64_t i;
    memset(m, 0, sizeof *m);
    env_up(&m->e);
    m->a = declare(m->e.db, "m@1", 2, VTAG_COSINE);
    m->b = declare(m->e.db, "m@2", 2, VTAG_COSINE);
    m->n = n;
    b = begin(m->e.db);
    for (i = 0; i < n; i++) {
        vtag_vec v = v2(m->a, 1, (float)i);
        m->rev[i] = put_b(b, i, "document", &v, 1);
    }
    OK(vtag_commit(b));
}

static void mig_down(mig *m) { env_down(&m->e); }

static void fill_range(mig *m, vtag_tag tag, uint64_t from, uint64_t to)
{
    vtag_batch *b = begin(m->e.db);
    for (; from < to; from++) {
        vtag_item it = item_at(from, m->rev[from]);
        vtag_vec v = v2(tag, (float)from, 1);
        OK(vtag_fill(b, &it, &v, 1));
    }
    OK(vtag_commit(b));
}

static void waive_range(mig *m, vtag_tag tag, uint64_t from, uint64_t to)
{
    vtag_batch *b = begin(m->e.db);
    for (; from < to; from++) {
        vtag_item it = item_at(from, m->rev[from]);
        OK(vtag_waive(b, &it, tag, "cannot be embedded"));
    }
    OK(vtag_commit(b));
}

/* A store whose `b` is complete and active, `a` standing by. */
static void mig_up_moved(mig *m, uint64_t n)
{
    mig_up(m, n);
    fill_range(m, m->b, 0, n);
    OK(cutover(m->e.db, m->b, NULL, NULL));
}

static vtag_gate gate_of_coverage(uint32_t min_ppm)
{
    vtag_gate g;
    memset(&g, 0, sizeof g);
    g.min_ppm = min_ppm;
    return g;
}

/* Judges with the policy's gate; gives the failed terms. */
static uint32_t failed_terms(mig *m, vtag_tag tag, const vtag_gate *gate)
{
    vtag_verdict v;
    memset(&v, 0, sizeof v);
    OK(judge(m->e.db, tag, gate, &v));
    CHECK_EQ(v.pass != 0, v.failed == 0);
    return v.failed;
}

/* ---- Coverage -------------------------------------------------------------------- */

static void coverage_is_an_intersection_not_a_ratio(void)
{
    mig m;
    vtag_cover c;
    uint64_t i;
    vtag_batch *b;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 896);
    b = begin(m.e.db);
    for (i = 5000; i < 5100; i++) { /* new items under the new tag alone */
        vtag_vec v = v2(m.b, 1, (float)i);
        put_b(b, i, "new", &v, 1);
    }
    OK(vtag_commit(b));
    c = cover_of(m.e.db, m.b, m.a);
    CHECK_EQ(c.base, 1000);
    CHECK_EQ(c.fresh, 896); /* 89.6 %, although 996 items have the new vector */
    CHECK_EQ(c.missing, 104);
    CHECK_EQ(c.stale + c.waived, 0);
    CHECK_EQ(c.extra, 100);
    CHECK_EQ(c.outside, 0);
    CHECK_EQ(info_of(m.e.db, m.b).items, 996);
    CHECK_EQ(failed_terms(&m, m.b, NULL) & VTAG_TERM_COVERAGE, VTAG_TERM_COVERAGE);
    mig_down(&m);
}

static void the_four_states_add_up_to_the_base(void)
{
    mig m;
    vtag_cover c;
    uint64_t i;
    mig_up(&m, 100);
    fill_range(&m, m.b, 0, 60);
    waive_range(&m, m.b, 90, 97);
    for (i = 0; i < 10; i++) put2(m.e.db, i, "changed", m.a, 1, 1); /* stale under b */
    put(m.e.db, 200, "under neither", NULL, 0);
    put2(m.e.db, 201, "b alone", m.b, 1, 1);
    c = cover_of(m.e.db, m.b, 0);
    CHECK_EQ(c.base, 100);
    CHECK_EQ(c.fresh, 50);
    CHECK_EQ(c.stale, 10);
    CHECK_EQ(c.missing, 33);
    CHECK_EQ(c.waived, 7);
    CHECK_EQ(c.outside, 1);
    CHECK_EQ(c.extra, 1);
    c = cover_of(m.e.db, m.a, m.b); /* and the other way round */
    CHECK_EQ(c.base, 61);
    CHECK_EQ(c.fresh, 60);
    CHECK_EQ(c.missing, 1);
    CHECK_EQ(c.outside, 1);
    CHECK_EQ(c.extra, 50); /* fresh under a; under b missing, stale or waived */
    mig_down(&m);
}

static void a_tag_covers_itself_as_far_as_it_is_fresh(void)
{
    mig m;
    vtag_cover c;
    mig_up(&m, 10);
    put(m.e.db, 3, "changed", NULL, 0);
    c = cover_of(m.e.db, m.a, m.a);
    CHECK_EQ(c.base, 10);
    CHECK_EQ(c.fresh, 9);
    CHECK_EQ(c.stale, 1);
    CHECK_EQ(c.extra, 0);
    mig_down(&m);
}

static void the_oldest_pending_item_gives_its_time(void)
{
    mig m;
    uint64_t start;
    mig_up(&m, 3);
    start = m.e.r.clock;
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).oldest, start);
    m.e.r.clock += 1000;
    put2(m.e.db, 0, "changed", m.a, 1, 1);
    fill_range(&m, m.b, 1, 3);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).oldest, start + 1000);
    OK(waive(m.e.db, 0, 0, m.b, "no"));
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).oldest, 0);
    m.e.r.clock += 1000;
    put(m.e.db, 9, "outside the base", NULL, 0);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).oldest, start + 2000);
    mig_down(&m);
}

static void coverage_refuses_tags_that_are_not_there(void)
{
    mig m;
    vtag_cover c;
    vtag_snap *s;
    vtag_tag gone;
    mig_up(&m, 3);
    gone = declare(m.e.db, "m@3", 2, VTAG_COSINE);
    OK(retire(m.e.db, gone, NULL, NULL));
    s = look(m.e.db);
    ERR(VTAG_NOTAG, vtag_coverage(s, 99, 0, &c));
    ERR(VTAG_NOTAG, vtag_coverage(s, m.b, 99, &c));
    ERR(VTAG_RETIRED, vtag_coverage(s, gone, 0, &c));
    ERR(VTAG_RETIRED, vtag_coverage(s, m.b, gone, &c));
    vtag_release(s);
    mig_down(&m);
}

static void completeness_is_counted_in_items_whatever_the_chunks(void)
{
    mig m;
    vtag_vec v[5];
    vtag_cover c;
    uint64_t i;
    size_t p;
    mig_up(&m, 6);
    for (i = 0; i < 6; i++) { /* one part under a; 1 to 5 under b */
        for (p = 0; p < 5; p++) v[p] = v2(m.b, (float)p, 1);
        OK(fill(m.e.db, i, m.rev[i], v, (size_t)i % 5 + 1));
    }
    c = cover_of(m.e.db, m.b, m.a);
    CHECK_EQ(c.base, 6);
    CHECK_EQ(c.fresh, 6);
    CHECK(info_of(m.e.db, m.b).rows > 6);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void pending_is_what_is_stale_or_missing_and_not_waived(void)
{
    mig m;
    vtag_item it[8];
    vtag_snap *s;
    uint64_t cursor = 0;
    size_t n;
    mig_up(&m, 6);
    fill_range(&m, m.b, 0, 3);
    put2(m.e.db, 1, "changed", m.a, 1, 1);
    waive_range(&m, m.b, 4, 5);
    s = look(m.e.db);
    OK(vtag_items(s, m.b, VTAG_PENDING, &cursor, it, 8, &n));
    CHECK_EQ(n, 3);
    CHECK(it[0].id == 1 && it[0].state == VTAG_STALE);
    CHECK(it[1].id == 3 && it[1].state == VTAG_MISSING);
    CHECK(it[2].id == 5 && it[2].state == VTAG_MISSING);
    CHECK(it[0].size == 7 && !memcmp(it[0].data, "changed", 7)); /* all that a worker needs */
    cursor = 0;
    OK(vtag_items(s, m.b, VTAG_WAIVED, &cursor, it, 8, &n));
    CHECK(n == 1 && it[0].id == 4);
    CHECK_STR(it[0].why, "cannot be embedded");
    vtag_release(s);
    mig_down(&m);
}

/* ---- Fill ------------------------------------------------------------------------------ */

static void a_document_that_changed_during_the_backfill_is_pending_again(void)
{
    mig m;
    mig_up(&m, 3);
    put2(m.e.db, 1, "changed meanwhile", m.a, 1, 1);
    ERR(VTAG_CHANGED, fill2(m.e.db, 1, m.rev[1], m.b, 1, 0));
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_MISSING);
    CHECK_EQ(pending_of(m.e.db, m.b), 3);
    mig_down(&m);
}

static void a_late_vector_of_a_deleted_document_is_refused(void)
{
    mig m;
    mig_up(&m, 3);
    OK(del(m.e.db, 1));
    ERR(VTAG_NOTFOUND, fill2(m.e.db, 1, m.rev[1], m.b, 1, 0));
    CHECK(put2(m.e.db, 1, "document", m.a, 1, 1) > m.rev[1]);
    ERR(VTAG_CHANGED, fill2(m.e.db, 1, m.rev[1], m.b, 1, 0));
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_MISSING);
    mig_down(&m);
}

static void a_repeated_fill_is_a_no_op(void)
{
    mig m;
    uint64_t before, commit;
    mig_up(&m, 3);
    fill_range(&m, m.b, 0, 3);
    before = hash_of(m.e.db);
    commit = stat_of(m.e.db).commit;
    ram_reset_counts(&m.e.r);
    fill_range(&m, m.b, 0, 3);
    CHECK_EQ(m.e.r.writes, 0);
    CHECK_EQ(stat_of(m.e.db).commit, commit);
    CHECK_EQ(hash_of(m.e.db), before);
    mig_down(&m);
}

static void a_fill_replaces_all_parts_at_the_same_revision(void)
{
    mig m;
    vtag_vec v[3];
    vtag_snap *s;
    vtag_row row;
    float x[2];
    mig_up(&m, 2);
    v[0] = v2(m.b, 1, 0);
    v[1] = v2(m.b, 2, 0);
    v[2] = v2(m.b, 3, 0);
    OK(fill(m.e.db, 0, m.rev[0], v, 3));
    v[0] = v2(m.b, 9, 0);
    OK(fill(m.e.db, 0, m.rev[0], v, 1));
    s = look(m.e.db);
    OK(vtag_vector(s, 0, m.b, 0, x, 2, &row));
    CHECK(x[0] == 9 && row.parts == 1 && row.rev == m.rev[0]);
    vtag_release(s);
    CHECK_EQ(stat_of(m.e.db).revision, m.rev[1]); /* a fill gives no revision out */
    mig_down(&m);
}

static void fill_refuses_what_it_cannot_mean(void)
{
    mig m;
    vtag_vec v[2];
    mig_up(&m, 2);
    v[0] = v2(m.b, 1, 0);
    v[1] = v2(m.a, 1, 0);
    ERR(VTAG_ARG, fill(m.e.db, 0, m.rev[0], v, 0));
    ERR(VTAG_ARG, fill(m.e.db, 0, m.rev[0], v, 2)); /* several tags */
    ERR(VTAG_ARG, fill(m.e.db, 0, 0, v, 1));        /* which content? */
    v[0].dim = 3;
    ERR(VTAG_DIM, fill(m.e.db, 0, m.rev[0], v, 1));
    v[0] = v2(m.b, NAN, 0);
    ERR(VTAG_VALUE, fill(m.e.db, 0, m.rev[0], v, 1));
    v[0] = v2(77, 1, 0);
    ERR(VTAG_NOTAG, fill(m.e.db, 0, m.rev[0], v, 1));
    CHECK_EQ(pending_of(m.e.db, m.b), 2);
    mig_down(&m);
}

static void one_poisoned_record_does_not_spoil_its_batch(void)
{
    mig m;
    vtag_batch *b;
    uint64_t i;
    mig_up(&m, 10);
    b = begin(m.e.db);
    for (i = 0; i < 10; i++) {
        vtag_item it = item_at(i, m.rev[i]);
        vtag_vec v = v2(m.b, i == 4 ? NAN : 1, 1);
        ERR(i == 4 ? VTAG_VALUE : VTAG_OK, vtag_fill(b, &it, &v, 1));
    }
    OK(vtag_commit(b));
    CHECK_EQ(pending_of(m.e.db, m.b), 1);
    CHECK_EQ(state_of(m.e.db, 4, m.b), VTAG_MISSING);
    mig_down(&m);
}

static void a_killed_backfill_continues_where_it_was(void)
{
    mig m;
    vtag_db *other;
    vtag_batch *b;
    vtag_item it;
    vtag_vec v;
    mig_up(&m, 20);
    fill_range(&m, m.b, 0, 12);
    b = begin(m.e.db); /* a batch that its process takes into the grave */
    it = item_at(12, m.rev[12]);
    v = v2(m.b, 1, 1);
    OK(vtag_fill(b, &it, &v, 1));
    vtag_abort(b);
    other = env_open(&m.e, "t.vtag", VTAG_EXISTING);
    CHECK_EQ(pending_of(other, m.b), 8); /* the records are the progress */
    vtag_close(other);
    mig_down(&m);
}

static void application_and_backfill_take_turns(void)
{
    mig m;
    vtag_db *app;
    uint64_t i;
    mig_up(&m, 20);
    app = env_open(&m.e, "t.vtag", VTAG_EXISTING);
    for (i = 0; i < 20; i++) {
        OK(fill2(m.e.db, i, m.rev[i], m.b, 1, (float)i));
        put2(app, 100 + i, "written meanwhile", m.a, 1, 1);
        if (i % 5 == 0) put2(app, i, "changed", m.a, 1, 1);
    }
    CHECK_EQ(pending_of(m.e.db, m.b), 24);
    CHECK_EQ(hash_of(app), hash_of(m.e.db));
    vtag_close(app);
    verify(m.e.db);
    mig_down(&m);
}

/* ---- Staleness --------------------------------------------------------------------------- */

static void a_change_after_the_backfill_makes_the_candidate_stale_at_once(void)
{
    mig m;
    mig_up(&m, 4);
    fill_range(&m, m.b, 0, 4);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).fresh, 4);
    put2(m.e.db, 2, "changed", m.a, 1, 1);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).fresh, 3);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).stale, 1);
    mig_down(&m);
}

static void a_nightly_put_of_unchanged_documents_makes_nothing_stale(void)
{
    mig m;
    uint64_t i;
    mig_up(&m, 30);
    fill_range(&m, m.b, 0, 30);
    for (i = 0; i < 30; i++) CHECK_EQ(put2(m.e.db, i, "document", m.a, 1, (float)i), m.rev[i]);
    CHECK_EQ(cover_of(m.e.db, m.b, m.a).fresh, 30);
    CHECK_EQ(info_of(m.e.db, m.b).writes_without, 30); /* of the first time alone */
    mig_down(&m);
}

static void a_dual_write_keeps_both_tags_fresh(void)
{
    mig m;
    vtag_vec v[2];
    mig_up(&m, 3);
    v[0] = v2(m.a, 1, 1);
    v[1] = v2(m.b, 1, 1);
    put(m.e.db, 1, "changed", v, 2);
    CHECK_EQ(state_of(m.e.db, 1, m.a), VTAG_FRESH);
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_FRESH);
    mig_down(&m);
}

static void the_active_tag_shows_its_own_rot(void)
{
    mig m;
    vtag_cover c;
    vtag_hit hits[4];
    vtag_snap *s;
    size_t n, i;
    uint32_t stale = 0;
    mig_up_moved(&m, 4);
    put2(m.e.db, 1, "changed", m.a, 1, 1); /* an old writer: the standby tag alone */
    c = cover_of(m.e.db, m.b, 0);
    CHECK_EQ(c.stale, 1);
    CHECK_EQ(info_of(m.e.db, m.b).writes_without, 5);
    s = look(m.e.db);
    OK(vtag_search(s, v2(m.b, 1, 1), NULL, 4, hits, &n));
    for (i = 0; i < n; i++) stale += hits[i].stale;
    CHECK_EQ(stale, 1);
    vtag_release(s);
    mig_down(&m);
}

/* ---- Waivers --------------------------------------------------------------------------------- */

static void a_waiver_takes_an_item_out_of_pending_until_lifted(void)
{
    mig m;
    mig_up(&m, 3);
    OK(waive(m.e.db, 1, m.rev[1], m.b, "token limit"));
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_WAIVED);
    CHECK_EQ(pending_of(m.e.db, m.b), 2);
    env_reopen(&m.e);
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_WAIVED);
    OK(waive(m.e.db, 1, 0, m.b, NULL));
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_MISSING);
    mig_down(&m);
}

static void a_new_revision_ends_a_waiver(void)
{
    mig m;
    mig_up(&m, 3);
    OK(waive(m.e.db, 1, 0, m.b, "token limit"));
    put2(m.e.db, 1, "shorter", m.a, 1, 1);
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_MISSING);
    mig_down(&m);
}

static void a_fill_ends_a_waiver(void)
{
    mig m;
    mig_up(&m, 3);
    OK(waive(m.e.db, 1, 0, m.b, "token limit"));
    OK(fill2(m.e.db, 1, m.rev[1], m.b, 1, 1));
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_FRESH);
    mig_down(&m);
}

static void fresh_goes_before_waived_and_waived_before_stale(void)
{
    mig m;
    mig_up(&m, 3);
    fill_range(&m, m.b, 0, 2);
    put2(m.e.db, 1, "changed", m.a, 1, 1);
    OK(waive(m.e.db, 0, 0, m.b, "of a fresh one"));
    OK(waive(m.e.db, 1, 0, m.b, "of a stale one"));
    OK(waive(m.e.db, 2, 0, m.b, "of a missing one"));
    CHECK_EQ(state_of(m.e.db, 0, m.b), VTAG_FRESH);
    CHECK_EQ(state_of(m.e.db, 1, m.b), VTAG_WAIVED);
    CHECK_EQ(state_of(m.e.db, 2, m.b), VTAG_WAIVED);
    mig_down(&m);
}

static void waive_refuses_what_it_cannot_mean(void)
{
    static char why[1026];
    mig m;
    mig_up(&m, 3);
    memset(why, 'w', 1025);
    ERR(VTAG_ARG, waive(m.e.db, 1, 0, m.b, why));
    why[1024] = 0;
    OK(waive(m.e.db, 1, 0, m.b, why));
    ERR(VTAG_CHANGED, waive(m.e.db, 1, m.rev[1] + 9, m.b, "x"));
    ERR(VTAG_NOTFOUND, waive(m.e.db, 77, 0, m.b, "x"));
    ERR(VTAG_NOTAG, waive(m.e.db, 1, 0, 77, "x"));
    mig_down(&m);
}

/* ---- The gate's terms, at their exact limits -------------------------------------------------- */

static void coverage_must_exceed_its_threshold_strictly(void)
{
    mig m;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 994);
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_COVERAGE);
    fill_range(&m, m.b, 994, 995); /* exactly 99.5 % */
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_COVERAGE);
    fill_range(&m, m.b, 995, 996);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void coverage_of_a_small_base_needs_all_of_it(void)
{
    mig m;
    mig_up(&m, 200);
    fill_range(&m, m.b, 0, 199); /* 99.5 % */
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_COVERAGE);
    fill_range(&m, m.b, 199, 200);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void all_of_the_base_passes_even_where_it_must_exceed_a_million(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(1000000);
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 9);
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_COVERAGE);
    fill_range(&m, m.b, 9, 10);
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    mig_down(&m);
}

static void waivers_count_as_covered_within_their_budget(void)
{
    mig m;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 995);
    waive_range(&m, m.b, 999, 1000);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0); /* 996 of 1,000, one of them waived */
    waive_range(&m, m.b, 998, 999);
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_WAIVED); /* two: over 0.1 % */
    mig_down(&m);
}

static void the_waiver_budget_is_a_thousandth_but_at_least_one(void)
{
    mig m;
    mig_up(&m, 2999);
    fill_range(&m, m.b, 0, 2996);
    waive_range(&m, m.b, 2996, 2998);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0); /* 2 of 2,999 */
    waive_range(&m, m.b, 2998, 2999);
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_WAIVED); /* 3 would need 3,000 */
    put2(m.e.db, 9000, "the 3,000th", m.a, 1, 1);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void a_waiver_budget_of_none_still_allows_one(void)
{
    mig m;
    vtag_gate g;
    memset(&g, 0, sizeof g);
    g.max_waived_ppm = VTAG_NONE;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 9);
    waive_range(&m, m.b, 9, 10);
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    OK(del(m.e.db, 0));
    put2(m.e.db, 50, "new", m.a, 1, 1);
    OK(waive(m.e.db, 50, 0, m.b, "second"));
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_WAIVED);
    mig_down(&m);
}

static void every_pending_item_must_be_younger_than_the_budget(void)
{
    mig m;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 999);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    m.e.r.clock += DAY_MS - 1;
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    m.e.r.clock += 1;
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_FRESHNESS);
    waive_range(&m, m.b, 999, 1000);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void an_item_written_with_the_clock_ahead_counts_as_the_oldest(void)
{
    mig m;
    vtag_gate g = {0};
    uint64_t now;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 999);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    now = m.e.r.clock;
    m.e.r.clock = now + 5 * DAY_MS;
    put2(m.e.db, 999, "from tomorrow", m.a, 1, 2);
    m.e.r.clock = now + 1000;
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_FRESHNESS);
    g.max_age_ms = UINT64_MAX;
    g.reason = "its age does not matter";
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    m.e.r.clock = now + 5 * DAY_MS + 1000;
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    mig_down(&m);
}

static void freshness_looks_outside_the_base_too(void)
{
    mig m;
    vtag_gate g;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    put(m.e.db, 50, "no vector at all", NULL, 0);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    m.e.r.clock += DAY_MS;
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_FRESHNESS);
    memset(&g, 0, sizeof g);
    g.max_age_ms = UINT64_MAX;
    g.reason = "the rest is dead";
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    mig_down(&m);
}

static void an_empty_base_passes_only_in_a_file_without_items(void)
{
    mig m;
    mig_up(&m, 1);
    CHECK_EQ(failed_terms(&m, m.b, NULL) & VTAG_TERM_COVERAGE, VTAG_TERM_COVERAGE);
    OK(del(m.e.db, 0));
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    put2(m.e.db, 5, "b alone", m.b, 1, 1);
    CHECK_EQ(failed_terms(&m, m.b, NULL), VTAG_TERM_COVERAGE);
    mig_down(&m);
}

/* ---- Scores ------------------------------------------------------------------------------------- */

static void score(mig *m, vtag_tag tag, const char *name, double value, uint64_t queries)
{
    vtag_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_SCORE;
    ev.tag = tag;
    ev.name = name;
    ev.value = value;
    ev.queries = queries;
    ev.cover = cover_of(m->e.db, tag, 0);
    ev.commit = stat_of(m->e.db).commit;
    OK(note(m->e.db, &ev));
}

static vtag_gate gate_of_score(void)
{
    vtag_gate g;
    memset(&g, 0, sizeof g);
    g.score = "ndcg@10";
    return g;
}

static void a_score_asked_for_must_exist_with_enough_queries(void)
{
    mig m;
    vtag_gate g = gate_of_score();
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    score(&m, m.b, "recall", 0.9, 500);
    score(&m, m.b, "ndcg@10", 0.5, 74);
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    score(&m, m.b, "ndcg@10", 0.5, 75);
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    score(&m, m.b, "ndcg@10", 0.5, 10); /* the newest is the one that counts */
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    mig_down(&m);
}

static void a_score_reaches_its_minimum_inclusively(void)
{
    mig m;
    vtag_gate g = gate_of_score();
    vtag_verdict v;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    score(&m, m.b, "ndcg@10", 0.5, 100);
    g.has_min = 1;
    g.min_score = 0.5;
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    g.min_score = 0.5000001;
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    OK(judge(m.e.db, m.b, &g, &v));
    CHECK(v.score == 0.5);
    mig_down(&m);
}

static void a_score_may_lose_at_most_the_allowed_drop(void)
{
    mig m;
    vtag_gate g = gate_of_score();
    vtag_verdict v;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    score(&m, m.a, "ndcg@10", 0.75, 100);
    score(&m, m.b, "ndcg@10", 0.5, 100);
    g.has_drop = 1;
    g.max_drop = 0.25;
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    g.max_drop = 0.125;
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    OK(judge(m.e.db, m.b, &g, &v));
    CHECK(v.base_score == 0.75);
    score(&m, m.a, "ndcg@10", 0.6, 100); /* the active tag's newest */
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    mig_down(&m);
}

static void a_score_on_part_of_the_corpus_is_provisional_and_does_not_count(void)
{
    mig m;
    vtag_gate g = gate_of_score();
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 5);
    score(&m, m.b, "ndcg@10", 0.99, 100);
    CHECK(newest_event(m.e.db, VTAG_K_SCORE).flags & VTAG_PROVISIONAL);
    fill_range(&m, m.b, 5, 10);
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_SCORE);
    score(&m, m.b, "ndcg@10", 0.7, 100);
    CHECK(!(newest_event(m.e.db, VTAG_K_SCORE).flags & VTAG_PROVISIONAL));
    CHECK_EQ(failed_terms(&m, m.b, &g), 0);
    mig_down(&m);
}

/* ---- Policy and reasons --------------------------------------------------------------------------- */

static void the_defaults_are_those_of_the_documents(void)
{
    mig m;
    vtag_policy p;
    vtag_snap *s;
    mig_up(&m, 1);
    memset(&p, 0, sizeof p);
    s = look(m.e.db);
    OK(vtag_policy_get(s, &p));
    CHECK_EQ(p.gate.min_ppm, 995000);
    CHECK_EQ(p.gate.max_waived_ppm, 1000);
    CHECK_EQ(p.gate.max_age_ms, DAY_MS);
    CHECK_EQ(p.gate.min_queries, 75);
    CHECK_EQ(p.retain_ms, 28 * DAY_MS);
    CHECK_EQ(p.retain_scores, 0);
    CHECK(p.gate.score == NULL && p.hold == NULL);
    vtag_release(s);
    mig_down(&m);
}

static void below_the_policy_needs_a_reason(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(500000);
    vtag_verdict v;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 6);
    ERR(VTAG_ARG, judge(m.e.db, m.b, &g, &v));
    ERR(VTAG_ARG, cutover(m.e.db, m.b, &g, &v));
    g = gate_of_coverage(VTAG_NONE);
    ERR(VTAG_ARG, cutover(m.e.db, m.b, &g, &v));
    memset(&g, 0, sizeof g);
    g.max_waived_ppm = 1001;
    ERR(VTAG_ARG, cutover(m.e.db, m.b, &g, &v));
    memset(&g, 0, sizeof g);
    g.max_age_ms = DAY_MS + 1;
    ERR(VTAG_ARG, cutover(m.e.db, m.b, &g, &v));
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_ACTIVE);
    g = gate_of_coverage(500000);
    g.reason = "demo";
    OK(cutover(m.e.db, m.b, &g, &v));
    CHECK_EQ(v.used.min_ppm, 500000);
    mig_down(&m);
}

static void tightening_needs_no_reason(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(999000);
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 999);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_COVERAGE);
    memset(&g, 0, sizeof g);
    g.max_age_ms = 1;
    m.e.r.clock += 1;
    CHECK_EQ(failed_terms(&m, m.b, &g), VTAG_TERM_FRESHNESS);
    mig_down(&m);
}

static void the_policy_is_kept_in_the_file(void)
{
    mig m;
    vtag_policy p;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 6);
    memset(&p, 0, sizeof p);
    p.gate.min_ppm = 500000;
    ERR(VTAG_ARG, set_policy(m.e.db, &p, NULL));
    OK(set_policy(m.e.db, &p, "a toy corpus"));
    env_reopen(&m.e);
    CHECK_EQ(failed_terms(&m, m.b, NULL), 0);
    CHECK_EQ(newest_event(m.e.db, VTAG_K_POLICY).kind, VTAG_K_POLICY);
    OK(cutover(m.e.db, m.b, NULL, NULL));
    CHECK(info_of(m.e.db, m.b).forced); /* the policy passed, and not what is under every policy */
    mig_down(&m);
}

static void a_policy_out_of_range_is_refused(void)
{
    mig m;
    vtag_policy p;
    mig_up(&m, 1);
    memset(&p, 0, sizeof p);
    p.gate.min_ppm = 1000001;
    ERR(VTAG_ARG, set_policy(m.e.db, &p, "x"));
    memset(&p, 0, sizeof p);
    p.gate.max_waived_ppm = 1000001;
    ERR(VTAG_ARG, set_policy(m.e.db, &p, "x"));
    memset(&p, 0, sizeof p);
    p.gate.score = "s";
    p.gate.has_min = 1;
    p.gate.min_score = NAN;
    ERR(VTAG_ARG, set_policy(m.e.db, &p, "x"));
    mig_down(&m);
}

/* ---- Cutover ---------------------------------------------------------------------------------------- */

static void a_cutover_that_passes_swaps_the_roles(void)
{
    mig m;
    vtag_verdict v;
    vtag_event ev;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    m.e.r.clock += 1000;
    OK(cutover(m.e.db, m.b, NULL, &v));
    CHECK(v.pass && !v.failed);
    CHECK_EQ(v.cover.fresh, 10);
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_ACTIVE);
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_STANDBY);
    CHECK_EQ(stat_of(m.e.db).active, m.b);
    CHECK_EQ(stat_of(m.e.db).standby, m.a);
    CHECK_EQ(info_of(m.e.db, m.b).activated, m.e.r.clock);
    ev = newest_event(m.e.db, VTAG_K_CUTOVER);
    CHECK(ev.tag == m.b && ev.base == m.a);
    CHECK_EQ(ev.cover.fresh, 10);
    CHECK_EQ(ev.used.min_ppm, 995000);
    CHECK_EQ(ev.flags & VTAG_FORCED, 0);
    env_reopen(&m.e);
    CHECK_EQ(stat_of(m.e.db).active, m.b);
    mig_down(&m);
}

static void a_cutover_that_the_gate_holds_changes_nothing(void)
{
    mig m;
    vtag_verdict v;
    uint64_t before;
    mig_up(&m, 1000);
    fill_range(&m, m.b, 0, 995);
    before = hash_of(m.e.db);
    memset(&v, 0, sizeof v);
    ERR(VTAG_GATE, cutover(m.e.db, m.b, NULL, &v));
    CHECK(!v.pass);
    CHECK_EQ(v.failed, VTAG_TERM_COVERAGE); /* the verdict is written on GATE too */
    CHECK_EQ(v.cover.fresh, 995);
    CHECK_EQ(hash_of(m.e.db), before);
    mig_down(&m);
}

static void cutover_refuses_a_tag_with_stale_items(void)
{
    mig m;
    mig_up(&m, 100);
    fill_range(&m, m.b, 0, 100);
    put2(m.e.db, 7, "changed", m.a, 1, 1);
    ERR(VTAG_GATE, cutover(m.e.db, m.b, NULL, NULL));
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_CANDIDATE);
    mig_down(&m);
}

static void cutover_judges_inside_its_batch(void)
{
    mig m;
    vtag_batch *b;
    vtag_item it;
    vtag_vec v;
    mig_up(&m, 100);
    fill_range(&m, m.b, 0, 99);
    b = begin(m.e.db);
    ERR(VTAG_GATE, vtag_cutover(b, m.b, NULL, NULL)); /* leaves the batch good */
    it = item_at(99, m.rev[99]);
    v = v2(m.b, 1, 1);
    OK(vtag_fill(b, &it, &v, 1));
    OK(vtag_cutover(b, m.b, NULL, NULL));
    OK(vtag_commit(b));
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_ACTIVE);
    mig_down(&m);
}

static void a_delete_in_the_batch_is_seen_by_its_judge(void)
{
    mig m;
    vtag_batch *b;
    mig_up(&m, 100);
    fill_range(&m, m.b, 0, 99);
    b = begin(m.e.db);
    OK(vtag_del(b, 99));
    OK(vtag_cutover(b, m.b, NULL, NULL));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(m.e.db).active, m.b);
    mig_down(&m);
}

static void an_aborted_cutover_leaves_the_roles(void)
{
    mig m;
    vtag_batch *b;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    b = begin(m.e.db);
    OK(vtag_cutover(b, m.b, NULL, NULL));
    vtag_abort(b);
    CHECK_EQ(stat_of(m.e.db).active, m.a);
    env_reopen(&m.e);
    CHECK_EQ(stat_of(m.e.db).active, m.a);
    CHECK_EQ(stat_of(m.e.db).standby, 0);
    mig_down(&m);
}

static void leaving_a_tag_that_never_had_a_vector_needs_no_gate(void)
{
    mig m;
    mig_up(&m, 0);
    put2(m.e.db, 1, "under b alone", m.b, 1, 1);
    put(m.e.db, 2, "under none", NULL, 0);
    OK(cutover(m.e.db, m.b, NULL, NULL));
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_ACTIVE);
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_CANDIDATE);
    CHECK_EQ(stat_of(m.e.db).standby, 0);
    ERR(VTAG_NOTFOUND, rollback(m.e.db, 0, NULL));
    mig_down(&m);
}

static void a_tag_whose_vectors_were_all_deleted_once_had_some(void)
{
    mig m;
    mig_up(&m, 1);
    OK(del(m.e.db, 0));
    put2(m.e.db, 1, "under b alone", m.b, 1, 1);
    ERR(VTAG_GATE, cutover(m.e.db, m.b, NULL, NULL));
    mig_down(&m);
}

static void cutting_over_to_the_active_tag_changes_nothing(void)
{
    mig m;
    uint64_t before;
    mig_up_moved(&m, 10);
    before = hash_of(m.e.db);
    OK(cutover(m.e.db, m.b, NULL, NULL));
    CHECK_EQ(hash_of(m.e.db), before);
    mig_down(&m);
}

static void cutover_refuses_unknown_and_retired_tags(void)
{
    mig m;
    mig_up(&m, 1);
    ERR(VTAG_NOTAG, cutover(m.e.db, 77, NULL, NULL));
    ERR(VTAG_NOTAG, cutover(m.e.db, 0, NULL, NULL));
    OK(retire(m.e.db, m.b, NULL, NULL));
    ERR(VTAG_RETIRED, cutover(m.e.db, m.b, NULL, NULL));
    mig_down(&m);
}

static void a_forced_tag_stays_marked_until_its_gate_passes(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(VTAG_NONE);
    mig_up(&m, 100);
    fill_range(&m, m.b, 0, 50);
    g.reason = "the old model's licence ends today";
    OK(cutover(m.e.db, m.b, &g, NULL));
    CHECK(info_of(m.e.db, m.b).forced);
    CHECK(newest_event(m.e.db, VTAG_K_CUTOVER).flags & VTAG_FORCED);
    env_reopen(&m.e);
    CHECK(info_of(m.e.db, m.b).forced);
    mig_down(&m);
}

static void a_reason_without_need_forces_nothing(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(1);
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    g.reason = "to be sure";
    OK(cutover(m.e.db, m.b, &g, NULL));
    CHECK_EQ(info_of(m.e.db, m.b).forced, 0);
    mig_down(&m);
}

static void a_reason_opens_no_gate_that_still_fails(void)
{
    mig m;
    vtag_gate g = gate_of_coverage(900000);
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 5);
    g.reason = "not low enough";
    ERR(VTAG_GATE, cutover(m.e.db, m.b, &g, NULL));
    mig_down(&m);
}

/* ---- Preview ------------------------------------------------------------------------------------------ */

static void a_candidate_answers_only_to_a_preview(void)
{
    mig m;
    vtag_snap *s;
    vtag_hit hit;
    vtag_search_opts o = {0};
    size_t n;
    mig_up(&m, 10);
    fill_range(&m, m.b, 0, 10);
    s = look(m.e.db);
    ERR(VTAG_PREVIEW, vtag_search(s, v2(m.b, 1, 0), NULL, 1, &hit, &n));
    ERR(VTAG_PREVIEW, vtag_search_many(s, v2(m.b, 1, 0), 1, NULL, 1, &hit, &n));
    o.preview = 1;
    OK(vtag_search(s, v2(m.b, 1, 0), &o, 1, &hit, &n));
    CHECK_EQ(n, 1);
    vtag_release(s);
    OK(cutover(m.e.db, m.b, NULL, NULL));
    s = look(m.e.db);
    OK(vtag_search(s, v2(m.b, 1, 0), NULL, 1, &hit, &n));
    OK(vtag_search(s, v2(m.a, 1, 0), NULL, 1, &hit, &n)); /* the standby still answers */
    vtag_release(s);
    OK(rollback(m.e.db, 0, NULL));
    s = look(m.e.db);
    ERR(VTAG_PREVIEW, vtag_search(s, v2(m.b, 1, 0), NULL, 1, &hit, &n));
    vtag_release(s);
    mig_down(&m);
}

static void a_space_of_equal_dimension_is_still_another_tag(void)
{
    mig m;
    vtag_snap *s;
    vtag_hit hits[20];
    size_t n, i;
    mig_up_moved(&m, 5);
    put2(m.e.db, 50, "b alone", m.b, 1, 0);
    put2(m.e.db, 51, "a alone", m.a, 1, 0);
    s = look(m.e.db);
    OK(vtag_search(s, v2(m.b, 1, 0), NULL, 20, hits, &n));
    CHECK_EQ(n, 6);
    for (i = 0; i < n; i++) CHECK(hits[i].id != 51);
    OK(vtag_search(s, v2(m.a, 1, 0), NULL, 20, hits, &n));
    CHECK_EQ(n, 6);
    for (i = 0; i < n; i++) CHECK(hits[i].id != 50);
    vtag_release(s);
    mig_down(&m);
}

/* ---- Rollback --------------------------------------------------------------------------------------------- */

static void a_rollback_goes_back_at_once(void)
{
    mig m;
    mig_up_moved(&m, 10);
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_ACTIVE);
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_CANDIDATE);
    CHECK_EQ(stat_of(m.e.db).standby, 0);
    CHECK(stat_of(m.e.db).rolled_back);
    CHECK_EQ(newest_event(m.e.db, VTAG_K_ROLLBACK).tag, m.a);
    CHECK_EQ(newest_event(m.e.db, VTAG_K_ROLLBACK).base, m.b);
    mig_down(&m);
}

static void a_second_rollback_is_a_no_op_not_a_toggle(void)
{
    mig m;
    uint64_t before;
    mig_up_moved(&m, 10);
    OK(rollback(m.e.db, 0, NULL));
    before = hash_of(m.e.db);
    OK(rollback(m.e.db, 0, NULL));
    OK(rollback(m.e.db, m.a, NULL));
    env_reopen(&m.e);
    OK(rollback(m.e.db, 0, NULL)); /* even by one who does not know of the first */
    CHECK_EQ(hash_of(m.e.db), before);
    mig_down(&m);
}

static void a_second_rollback_does_not_go_on_to_an_older_tag(void)
{
    mig m;
    vtag_tag c;
    mig_up_moved(&m, 10);
    c = declare(m.e.db, "m@3", 2, VTAG_COSINE);
    fill_range(&m, c, 0, 10);
    OK(cutover(m.e.db, c, NULL, NULL));
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(stat_of(m.e.db).active, m.b);
    CHECK_EQ(stat_of(m.e.db).standby, m.a);
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(stat_of(m.e.db).active, m.b);
    OK(rollback(m.e.db, m.a, NULL)); /* by name it does */
    CHECK_EQ(stat_of(m.e.db).active, m.a);
    mig_down(&m);
}

static void a_rollback_tells_what_it_hides(void)
{
    mig m;
    vtag_cover hidden;
    mig_up_moved(&m, 10);
    put2(m.e.db, 20, "new tag alone", m.b, 1, 1);
    put2(m.e.db, 21, "new tag alone", m.b, 1, 1);
    memset(&hidden, 0, sizeof hidden);
    OK(rollback(m.e.db, 0, &hidden));
    CHECK_EQ(hidden.extra, 2);
    CHECK_EQ(hidden.base, 10);
    CHECK_EQ(hidden.fresh, 10);
    CHECK_EQ(pending_of(m.e.db, m.a), 2); /* which are the old tag's pending list */
    mig_down(&m);
}

static void changes_under_the_new_tag_alone_are_hidden_from_the_old_one(void)
{
    mig m;
    vtag_cover hidden;
    mig_up_moved(&m, 10);
    put2(m.e.db, 3, "changed", m.b, 1, 1);
    memset(&hidden, 0, sizeof hidden);
    OK(rollback(m.e.db, 0, &hidden));
    CHECK_EQ(hidden.extra, 1); /* its old vector speaks of other content */
    CHECK_EQ(state_of(m.e.db, 3, m.a), VTAG_STALE);
    mig_down(&m);
}

static void there_is_nothing_to_roll_back_to_at_first(void)
{
    mig m;
    mig_up(&m, 3);
    ERR(VTAG_NOTFOUND, rollback(m.e.db, 0, NULL));
    ERR(VTAG_ARG, rollback(m.e.db, m.b, NULL)); /* was never active */
    ERR(VTAG_NOTAG, rollback(m.e.db, 77, NULL));
    OK(rollback(m.e.db, m.a, NULL)); /* is active: nothing to do */
    mig_down(&m);
}

static void going_up_again_is_through_the_gate(void)
{
    mig m;
    mig_up_moved(&m, 10);
    OK(rollback(m.e.db, 0, NULL));
    put2(m.e.db, 3, "changed", m.a, 1, 1);
    ERR(VTAG_GATE, cutover(m.e.db, m.b, NULL, NULL));
    mig_down(&m);
}

static void after_going_up_again_the_old_tag_stands_by_again(void)
{
    mig m;
    mig_up_moved(&m, 10);
    OK(rollback(m.e.db, 0, NULL));
    OK(cutover(m.e.db, m.b, NULL, NULL));
    CHECK_EQ(stat_of(m.e.db).standby, m.a);
    CHECK(!stat_of(m.e.db).rolled_back);
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(stat_of(m.e.db).active, m.a);
    mig_down(&m);
}

static void three_versions_live_at_once(void)
{
    mig m;
    vtag_tag c, d;
    mig_up_moved(&m, 10);
    c = declare(m.e.db, "m@3", 2, VTAG_COSINE);
    fill_range(&m, c, 0, 10);
    OK(cutover(m.e.db, c, NULL, NULL));
    d = declare(m.e.db, "m@4", 2, VTAG_COSINE);
    fill_range(&m, d, 0, 4);
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_OLDER);
    CHECK_EQ(role_of(m.e.db, m.b), VTAG_STANDBY);
    CHECK_EQ(role_of(m.e.db, c), VTAG_ACTIVE);
    CHECK_EQ(role_of(m.e.db, d), VTAG_CANDIDATE);
    CHECK_EQ(cover_of(m.e.db, d, m.a).fresh, 4);
    CHECK_EQ(cover_of(m.e.db, m.a, d).base, 4);
    CHECK_EQ(cover_of(m.e.db, m.b, c).fresh, 10);
    {
        vtag_snap *s = look(m.e.db);
        vtag_hit hit;
        size_t n;
        OK(vtag_search(s, v2(m.a, 1, 0), NULL, 1, &hit, &n)); /* an older tag answers */
        CHECK_EQ(n, 1);
        vtag_release(s);
    }
    mig_down(&m);
}

static void a_rollback_to_an_older_tag_by_name(void)
{
    mig m;
    vtag_tag c;
    mig_up_moved(&m, 10);
    c = declare(m.e.db, "m@3", 2, VTAG_COSINE);
    fill_range(&m, c, 0, 10);
    OK(cutover(m.e.db, c, NULL, NULL));
    OK(rollback(m.e.db, m.a, NULL));
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_ACTIVE);
    CHECK_EQ(role_of(m.e.db, c), VTAG_CANDIDATE);
    CHECK(role_of(m.e.db, m.b) == VTAG_OLDER || role_of(m.e.db, m.b) == VTAG_STANDBY);
    mig_down(&m);
}

static void flips_of_one_batch_keep_their_order(void)
{
    mig m;
    vtag_tag t[5];
    vtag_batch *b;
    int i;
    mig_up(&m, 4);
    t[0] = m.a;
    for (i = 1; i < 5; i++) {
        char name[16];
        snprintf(name, sizeof name, "n@%d", i);
        t[i] = declare(m.e.db, name, 2, VTAG_COSINE);
        fill_range(&m, t[i], 0, 4);
    }
    b = begin(m.e.db);
    for (i = 1; i < 5; i++) OK(vtag_cutover(b, t[i], NULL, NULL));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(m.e.db).standby, t[3]);
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(stat_of(m.e.db).active, t[3]);
    CHECK_EQ(stat_of(m.e.db).standby, t[2]); /* the one before it, not the first of the batch */
    mig_down(&m);
}

static void a_rollback_works_on_a_full_disk(void)
{
    mig m;
    uint64_t id = 1000;
    vtag_err err;
    mig_up_moved(&m, 10);
    m.e.r.limit = stat_of(m.e.db).file_bytes;
    do { /* fill what room there is */
        vtag_batch *b = begin(m.e.db);
        vtag_item it = item_of(id++, "one more document that takes some room in the file");
        vtag_vec v = v2(m.b, 1, 1);
        err = vtag_put(b, &it, &v, 1);
        if (err) { ERR(err, vtag_commit(b)); break; } /* what poisoned the batch */
        err = vtag_commit(b);
    } while (!err && id < 100000);
    ERR(VTAG_NOSPACE, err);
    env_reopen(&m.e);
    OK(rollback(m.e.db, 0, NULL));
    CHECK_EQ(stat_of(m.e.db).active, m.a);
    OK(retire(m.e.db, m.b, "the disk is full", NULL));
    for (id = 0; id < 10; id++) OK(del(m.e.db, id));
    verify(m.e.db);
    mig_down(&m);
}

/* ---- Retention -------------------------------------------------------------------------------------------- */

static void pass_time(mig *m, uint64_t ms)
{
    vtag_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_NOTE;
    ev.text = "tick";
    m->e.r.clock += ms;
    OK(note(m->e.db, &ev));
}

static void the_active_tag_cannot_be_retired(void)
{
    mig m;
    mig_up(&m, 3);
    ERR(VTAG_INUSE, retire(m.e.db, m.a, NULL, NULL));
    ERR(VTAG_INUSE, retire(m.e.db, m.a, "on purpose", NULL));
    ERR(VTAG_NOTAG, retire(m.e.db, 77, NULL, NULL));
    OK(retire(m.e.db, m.b, NULL, NULL)); /* a candidate may go at once */
    ERR(VTAG_RETIRED, retire(m.e.db, m.b, NULL, NULL));
    mig_down(&m);
}

static void a_tag_that_was_active_is_kept_for_28_days(void)
{
    mig m;
    int week;
    mig_up_moved(&m, 3);
    for (week = 0; week < 3; week++) {
        pass_time(&m, 7 * DAY_MS);
        ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    }
    CHECK_EQ(info_of(m.e.db, m.a).kept_ms, 21 * DAY_MS);
    pass_time(&m, 7 * DAY_MS - 1);
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    pass_time(&m, 1);
    OK(retire(m.e.db, m.a, NULL, NULL));
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_GONE);
    CHECK_EQ(stat_of(m.e.db).standby, 0);
    mig_down(&m);
}

static void a_clock_that_jumps_ahead_is_credited_a_week(void)
{
    mig m;
    mig_up_moved(&m, 3);
    pass_time(&m, 400 * DAY_MS);
    CHECK_EQ(info_of(m.e.db, m.a).kept_ms, 7 * DAY_MS);
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    mig_down(&m);
}

static void a_clock_that_jumps_back_shortens_nothing(void)
{
    mig m;
    mig_up_moved(&m, 3);
    pass_time(&m, 5 * DAY_MS);
    m.e.r.clock -= 100 * DAY_MS;
    pass_time(&m, 0);
    CHECK_EQ(info_of(m.e.db, m.a).kept_ms, 5 * DAY_MS);
    pass_time(&m, 2 * DAY_MS);
    CHECK_EQ(info_of(m.e.db, m.a).kept_ms, 7 * DAY_MS);
    mig_down(&m);
}

static void a_reason_retires_before_time(void)
{
    mig m;
    vtag_event ev;
    mig_up_moved(&m, 3);
    OK(retire(m.e.db, m.a, "it leaked", NULL));
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_GONE);
    ev = newest_event(m.e.db, VTAG_K_RETIRED);
    CHECK_EQ(ev.tag, m.a);
    mig_down(&m);
}

static void a_hold_refuses_even_with_a_reason(void)
{
    mig m;
    vtag_policy p;
    mig_up_moved(&m, 3);
    memset(&p, 0, sizeof p);
    p.hold = "legal: case 4711";
    OK(set_policy(m.e.db, &p, "asked by counsel"));
    env_reopen(&m.e);
    ERR(VTAG_KEPT, retire(m.e.db, m.a, "it leaked", NULL));
    p.hold = NULL;
    OK(set_policy(m.e.db, &p, "case closed"));
    OK(retire(m.e.db, m.a, "it leaked", NULL));
    mig_down(&m);
}

static void a_tag_left_by_rollback_is_kept_like_an_older_one(void)
{
    mig m;
    int week;
    mig_up_moved(&m, 3);
    OK(rollback(m.e.db, 0, NULL));
    ERR(VTAG_KEPT, retire(m.e.db, m.b, NULL, NULL));
    for (week = 0; week < 4; week++) pass_time(&m, 7 * DAY_MS);
    OK(retire(m.e.db, m.b, NULL, NULL));
    mig_down(&m);
}

static void retention_counts_from_the_newest_time_a_tag_was_left(void)
{
    mig m;
    int week;
    mig_up_moved(&m, 3);
    for (week = 0; week < 3; week++) pass_time(&m, 7 * DAY_MS);
    OK(rollback(m.e.db, 0, NULL));
    OK(cutover(m.e.db, m.b, NULL, NULL));
    CHECK_EQ(info_of(m.e.db, m.a).kept_ms, 0);
    pass_time(&m, 7 * DAY_MS);
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    mig_down(&m);
}

static void a_policy_may_keep_shorter(void)
{
    mig m;
    vtag_policy p;
    mig_up_moved(&m, 3);
    memset(&p, 0, sizeof p);
    p.retain_ms = DAY_MS;
    OK(set_policy(m.e.db, &p, "a cache"));
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    pass_time(&m, DAY_MS);
    OK(retire(m.e.db, m.a, NULL, NULL));
    mig_down(&m);
}

static void a_policy_may_ask_for_passing_scores_before_a_retirement(void)
{
    mig m;
    vtag_policy p;
    mig_up_moved(&m, 3);
    memset(&p, 0, sizeof p);
    p.retain_ms = 1;
    p.retain_scores = 2;
    p.gate.score = "ndcg@10";
    p.gate.has_min = 1;
    p.gate.min_score = 0.5;
    OK(set_policy(m.e.db, &p, "trust is earned"));
    pass_time(&m, DAY_MS);
    score(&m, m.b, "ndcg@10", 0.6, 100);
    score(&m, m.b, "ndcg@10", 0.4, 100); /* does not pass */
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, NULL));
    score(&m, m.b, "ndcg@10", 0.5, 100);
    OK(retire(m.e.db, m.a, NULL, NULL));
    mig_down(&m);
}

static void a_retirement_says_first_what_is_lost(void)
{
    mig m;
    vtag_cover lost;
    mig_up_moved(&m, 10);
    put2(m.e.db, 20, "a alone", m.a, 1, 1);
    put2(m.e.db, 21, "a alone", m.a, 1, 1);
    put2(m.e.db, 3, "changed", m.a, 1, 1); /* stale under b */
    memset(&lost, 0, sizeof lost);
    ERR(VTAG_KEPT, retire(m.e.db, m.a, NULL, &lost)); /* written on KEPT too */
    CHECK_EQ(lost.base, 12);
    CHECK_EQ(lost.missing, 2);
    CHECK_EQ(lost.fresh, 9);
    CHECK_EQ(lost.stale, 1);
    mig_down(&m);
}

static void a_retired_tag_answers_no_more_and_erases_nothing_before_compaction(void)
{
    mig m;
    vtag_snap *s;
    vtag_hit hit;
    size_t n;
    uint64_t before;
    mig_up_moved(&m, 2000);
    OK(retire(m.e.db, m.a, "trusted", NULL));
    before = stat_of(m.e.db).file_bytes;
    s = look(m.e.db);
    ERR(VTAG_RETIRED, vtag_search(s, v2(m.a, 1, 0), NULL, 1, &hit, &n));
    OK(vtag_search(s, v2(m.b, 1, 0), NULL, 1, &hit, &n));
    vtag_release(s);
    CHECK_EQ(stat_of(m.e.db).items, 2000);
    CHECK_EQ(stat_of(m.e.db).rows, 2000);
    OK(vtag_compact(m.e.db, NULL, NULL));
    CHECK(stat_of(m.e.db).file_bytes < before);
    CHECK_EQ(role_of(m.e.db, m.a), VTAG_GONE);
    verify(m.e.db);
    mig_down(&m);
}

static void the_last_older_tag_takes_the_place_of_a_retired_standby(void)
{
    mig m;
    vtag_tag c;
    mig_up_moved(&m, 5);
    c = declare(m.e.db, "m@3", 2, VTAG_COSINE);
    fill_range(&m, c, 0, 5);
    OK(cutover(m.e.db, c, NULL, NULL));
    OK(retire(m.e.db, m.b, "skipped", NULL));
    CHECK(stat_of(m.e.db).standby != m.b); /* a retired tag never stands by */
    CHECK(stat_of(m.e.db).standby == m.a || stat_of(m.e.db).standby == 0);
    mig_down(&m);
}

/* ---- Refusals before anything is written ------------------------------------------------------------------- */

static void another_dimension_is_refused_before_anything_is_written(void)
{
    mig m;
    float x[3] = {1, 2, 3};
    vtag_vec v;
    vtag_item it = item_of(0, "changed");
    vtag_batch *b;
    uint64_t before;
    mig_up(&m, 3);
    before = hash_of(m.e.db);
    v = vec(m.a, 3, x);
    b = begin(m.e.db);
    ERR(VTAG_DIM, vtag_put(b, &it, &v, 1));
    OK(vtag_commit(b));
    CHECK_EQ(hash_of(m.e.db), before);
    mig_down(&m);
}

static void an_old_reader_keeps_its_state_through_the_whole_migration(void)
{
    mig m;
    vtag_snap *s;
    uint64_t before;
    mig_up(&m, 50);
    s = look(m.e.db);
    before = content_hash(s);
    fill_range(&m, m.b, 0, 50);
    OK(cutover(m.e.db, m.b, NULL, NULL));
    OK(retire(m.e.db, m.a, "done", NULL));
    OK(del(m.e.db, 7));
    OK(vtag_compact(m.e.db, NULL, NULL));
    CHECK_EQ(content_hash(s), before);
    vtag_release(s);
    mig_down(&m);
}

static void run_coverage(void)
{
    RUN(coverage_is_an_intersection_not_a_ratio);
    RUN(the_four_states_add_up_to_the_base);
    RUN(a_tag_covers_itself_as_far_as_it_is_fresh);
    RUN(the_oldest_pending_item_gives_its_time);
    RUN(coverage_refuses_tags_that_are_not_there);
    RUN(completeness_is_counted_in_items_whatever_the_chunks);
    RUN(pending_is_what_is_stale_or_missing_and_not_waived);
    RUN(a_document_that_changed_during_the_backfill_is_pending_again);
    RUN(a_late_vector_of_a_deleted_document_is_refused);
    RUN(a_repeated_fill_is_a_no_op);
    RUN(a_fill_replaces_all_parts_at_the_same_revision);
    RUN(fill_refuses_what_it_cannot_mean);
    RUN(one_poisoned_record_does_not_spoil_its_batch);
    RUN(a_killed_backfill_continues_where_it_was);
    RUN(application_and_backfill_take_turns);
    RUN(a_change_after_the_backfill_makes_the_candidate_stale_at_once);
    RUN(a_nightly_put_of_unchanged_documents_makes_nothing_stale);
    RUN(a_dual_write_keeps_both_tags_fresh);
    RUN(the_active_tag_shows_its_own_rot);
    RUN(a_waiver_takes_an_item_out_of_pending_until_lifted);
    RUN(a_new_revision_ends_a_waiver);
    RUN(a_fill_ends_a_waiver);
    RUN(fresh_goes_before_waived_and_waived_before_stale);
    RUN(waive_refuses_what_it_cannot_mean);
}

static void run_gate(void)
{
    RUN(coverage_must_exceed_its_threshold_strictly);
    RUN(coverage_of_a_small_base_needs_all_of_it);
    RUN(all_of_the_base_passes_even_where_it_must_exceed_a_million);
    RUN(waivers_count_as_covered_within_their_budget);
    RUN(the_waiver_budget_is_a_thousandth_but_at_least_one);
    RUN(a_waiver_budget_of_none_still_allows_one);
    RUN(every_pending_item_must_be_younger_than_the_budget);
    RUN(an_item_written_with_the_clock_ahead_counts_as_the_oldest);
    RUN(freshness_looks_outside_the_base_too);
    RUN(an_empty_base_passes_only_in_a_file_without_items);
    RUN(a_score_asked_for_must_exist_with_enough_queries);
    RUN(a_score_reaches_its_minimum_inclusively);
    RUN(a_score_may_lose_at_most_the_allowed_drop);
    RUN(a_score_on_part_of_the_corpus_is_provisional_and_does_not_count);
    RUN(the_defaults_are_those_of_the_documents);
    RUN(below_the_policy_needs_a_reason);
    RUN(tightening_needs_no_reason);
    RUN(the_policy_is_kept_in_the_file);
    RUN(a_policy_out_of_range_is_refused);
}

static void run_roles(void)
{
    RUN(a_cutover_that_passes_swaps_the_roles);
    RUN(a_cutover_that_the_gate_holds_changes_nothing);
    RUN(cutover_refuses_a_tag_with_stale_items);
    RUN(cutover_judges_inside_its_batch);
    RUN(a_delete_in_the_batch_is_seen_by_its_judge);
    RUN(an_aborted_cutover_leaves_the_roles);
    RUN(leaving_a_tag_that_never_had_a_vector_needs_no_gate);
    RUN(a_tag_whose_vectors_were_all_deleted_once_had_some);
    RUN(cutting_over_to_the_active_tag_changes_nothing);
    RUN(cutover_refuses_unknown_and_retired_tags);
    RUN(a_forced_tag_stays_marked_until_its_gate_passes);
    RUN(a_reason_without_need_forces_nothing);
    RUN(a_reason_opens_no_gate_that_still_fails);
    RUN(a_candidate_answers_only_to_a_preview);
    RUN(a_space_of_equal_dimension_is_still_another_tag);
    RUN(a_rollback_goes_back_at_once);
    RUN(a_second_rollback_is_a_no_op_not_a_toggle);
    RUN(a_second_rollback_does_not_go_on_to_an_older_tag);
    RUN(a_rollback_tells_what_it_hides);
    RUN(changes_under_the_new_tag_alone_are_hidden_from_the_old_one);
    RUN(there_is_nothing_to_roll_back_to_at_first);
    RUN(going_up_again_is_through_the_gate);
    RUN(after_going_up_again_the_old_tag_stands_by_again);
    RUN(three_versions_live_at_once);
    RUN(a_rollback_to_an_older_tag_by_name);
    RUN(flips_of_one_batch_keep_their_order);
    RUN(a_rollback_works_on_a_full_disk);
}

static void run_retention(void)
{
    RUN(the_active_tag_cannot_be_retired);
    RUN(a_tag_that_was_active_is_kept_for_28_days);
    RUN(a_clock_that_jumps_ahead_is_credited_a_week);
    RUN(a_clock_that_jumps_back_shortens_nothing);
    RUN(a_reason_retires_before_time);
    RUN(a_hold_refuses_even_with_a_reason);
    RUN(a_tag_left_by_rollback_is_kept_like_an_older_one);
    RUN(retention_counts_from_the_newest_time_a_tag_was_left);
    RUN(a_policy_may_keep_shorter);
    RUN(a_policy_may_ask_for_passing_scores_before_a_retirement);
    RUN(a_retirement_says_first_what_is_lost);
    RUN(a_retired_tag_answers_no_more_and_erases_nothing_before_compaction);
    RUN(the_last_older_tag_takes_the_place_of_a_retired_standby);
    RUN(another_dimension_is_refused_before_anything_is_written);
    RUN(an_old_reader_keeps_its_state_through_the_whole_migration);
}

TEST_MAIN(run_coverage(); run_gate(); run_roles(); run_retention())
