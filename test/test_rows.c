/* test_rows.c - rows: parts, spans, vectors, growing segments, several tags */
#include "engine.h"
#include "test.h"
#include "util.h"

/* The vector that a (id, tag, part, generation) of these tests has. */
static void make_vector(uint64_t id, vtag_tag tag, uint32_t part, uint32_t gen, float *x, uint32_t dim)
{
    uint64_t seed = id * 1000003u + tag * 101u + part * 7919u + gen * 104729u;
    random_vector(&seed, x, dim, 1u << 20);
}

static void put_parts(vtag_batch *b, uint64_t id, vtag_tag tag, uint32_t dim, uint32_t parts, uint32_t gen)
{
    vtag_item it = item_at(id, 0);
    vtag_vec v[8];
    float *x = malloc(8 * dim * sizeof *x);
    uint32_t p;
    for (p = 0; p < parts; p++) {
        make_vector(id, tag, p, gen, x + p * dim, dim);
        v[p] = vec(tag, dim, x + p * dim);
        v[p].off = p * 100;
        v[p].len = 90 + p;
    }
    OK(vtag_put(b, &it, v, parts));
    free(x);
}

static void check_parts(const vtag_snap *s, uint64_t id, vtag_tag tag, uint32_t dim, uint32_t parts, uint32_t gen)
{
    float *want = malloc(dim * sizeof *want), *got = malloc(dim * sizeof *got);
    uint32_t p;
    for (p = 0; p < parts; p++) {
        vtag_row row;
        make_vector(id, tag, p, gen, want, dim);
        OK(vtag_vector(s, id, tag, p, got, dim, &row));
        CHECK(!memcmp(want, got, dim * sizeof *want));
        CHECK_EQ(row.parts, parts);
        CHECK_EQ(row.off, p * 100);
        CHECK_EQ(row.len, 90 + p);
    }
    ERR(VTAG_NOTFOUND, vtag_vector(s, id, tag, parts, got, dim, NULL));
    free(want);
    free(got);
}

/* ---- Parts --------------------------------------------------------------------- */

static void parts_come_back_in_the_order_given_with_their_spans(void)
{
    env e;
    vtag_tag a;
    vtag_batch *b;
    vtag_snap *s;
    env_up(&e);
    a = declare(e.db, "a@1", 5, VTAG_COSINE);
    b = begin(e.db);
    put_parts(b, 1, a, 5, 8, 0);
    put_parts(b, 2, a, 5, 1, 0);
    OK(vtag_commit(b));
    env_reopen(&e);
    s = look(e.db);
    check_parts(s, 1, a, 5, 8, 0);
    check_parts(s, 2, a, 5, 1, 0);
    vtag_release(s);
    env_down(&e);
}

static void a_put_replaces_all_parts_of_a_tag(void)
{
    static const uint32_t parts[] = {3, 5, 1, 8, 2};
    env e;
    vtag_tag a;
    vtag_snap *s;
    uint32_t i;
    env_up(&e);
    a = declare(e.db, "a@1", 4, VTAG_DOT);
    for (i = 0; i < 5; i++) {
        vtag_batch *b = begin(e.db);
        put_parts(b, 1, a, 4, parts[i], i);
        OK(vtag_commit(b));
        s = look(e.db);
        check_parts(s, 1, a, 4, parts[i], i);
        vtag_release(s);
        CHECK_EQ(stat_of(e.db).rows, parts[i]);
    }
    verify(e.db);
    env_down(&e);
}

static void parts_of_different_tags_may_be_interleaved(void)
{
    env e;
    vtag_tag a, c;
    vtag_vec v[5];
    vtag_snap *s;
    float x[2];
    vtag_row row;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    c = declare(e.db, "c@1", 2, VTAG_COSINE);
    v[0] = v2(a, 1, 0);
    v[1] = v2(c, 2, 0);
    v[2] = v2(a, 3, 0);
    v[3] = v2(c, 4, 0);
    v[4] = v2(a, 5, 0);
    put(e.db, 1, NULL, v, 5);
    s = look(e.db);
    OK(vtag_vector(s, 1, a, 2, x, 2, &row));
    CHECK(x[0] == 5 && row.parts == 3);
    OK(vtag_vector(s, 1, c, 1, x, 2, &row));
    CHECK(x[0] == 4 && row.parts == 2);
    vtag_release(s);
    env_down(&e);
}

static void a_thousand_parts_are_possible(void)
{
    env e;
    vtag_tag a;
    vtag_vec *v = calloc(1000, sizeof *v);
    float x[1000][2], got[2];
    vtag_snap *s;
    vtag_row row;
    uint32_t i;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_L2SQ);
    for (i = 0; i < 1000; i++) {
        x[i][0] = (float)i;
        x[i][1] = 1;
        v[i] = vec(a, 2, x[i]);
    }
    put(e.db, 1, NULL, v, 1000);
    s = look(e.db);
    OK(vtag_vector(s, 1, a, 999, got, 2, &row));
    CHECK(got[0] == 999 && row.parts == 1000);
    vtag_release(s);
    free(v);
    env_down(&e);
}

/* ---- Vectors --------------------------------------------------------------------- */

static void vectors_keep_every_bit(void)
{
    env e;
    vtag_tag a;
    vtag_snap *s;
    float x[5], got[5];
    vtag_vec v;
    env_up(&e);
    x[0] = -0.0f;
    x[1] = 1.17549435e-38f / 2; /* subnormal */
    x[2] = 3.4e38f;
    x[3] = -1e-30f;
    x[4] = 0.1f;
    a = declare(e.db, "a@1", 5, VTAG_DOT);
    v = vec(a, 5, x);
    put(e.db, 1, NULL, &v, 1);
    s = look(e.db);
    OK(vtag_vector(s, 1, a, 0, got, 5, NULL));
    CHECK(!memcmp(x, got, sizeof x));
    vtag_release(s);
    env_down(&e);
}

static void reading_a_vector_checks_its_arguments(void)
{
    env e;
    vtag_tag a, gone;
    vtag_snap *s;
    vtag_row row;
    float x[2];
    uint64_t rev;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    gone = declare(e.db, "a@2", 2, VTAG_COSINE);
    rev = put2(e.db, 1, "x", a, 1, 0);
    OK(retire(e.db, gone, NULL, NULL));
    s = look(e.db);
    ERR(VTAG_DIM, vtag_vector(s, 1, a, 0, x, 3, NULL));
    ERR(VTAG_DIM, vtag_vector(s, 1, a, 0, x, 1, NULL));
    ERR(VTAG_NOTAG, vtag_vector(s, 1, 999, 0, x, 2, NULL));
    ERR(VTAG_RETIRED, vtag_vector(s, 1, gone, 0, x, 2, NULL));
    ERR(VTAG_NOTFOUND, vtag_vector(s, 1, a, 1, x, 2, NULL));
    ERR(VTAG_NOTFOUND, vtag_vector(s, 2, a, 0, x, 2, NULL));
    OK(vtag_vector(s, 1, a, 0, NULL, 0, &row)); /* facts only */
    CHECK_EQ(row.rev, rev);
    CHECK_EQ(row.parts, 1);
    vtag_release(s);
    env_down(&e);
}

static void a_stale_vector_keeps_the_revision_that_it_embeds(void)
{
    env e;
    vtag_tag a, c;
    vtag_vec v[2];
    vtag_snap *s;
    vtag_row row;
    uint64_t old, now;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    c = declare(e.db, "c@1", 2, VTAG_COSINE);
    v[0] = v2(a, 1, 0);
    v[1] = v2(c, 1, 0);
    old = put(e.db, 1, "x", v, 2);
    now = put2(e.db, 1, "y", a, 0, 1);
    s = look(e.db);
    OK(vtag_vector(s, 1, a, 0, NULL, 0, &row));
    CHECK_EQ(row.rev, now);
    OK(vtag_vector(s, 1, c, 0, NULL, 0, &row));
    CHECK_EQ(row.rev, old);
    vtag_release(s);
    env_down(&e);
}

/* ---- Segments ----------------------------------------------------------------------- */

static uint32_t parts_of(uint64_t id) { return id % 3 == 2 ? 2 : 1; }

static void grow(env *e, vtag_tag a, uint32_t dim, uint64_t items, uint64_t step)
{
    uint64_t i, n;
    for (i = 0; i < items; i += step) {
        vtag_batch *b = begin(e->db);
        for (n = i; n < i + step && n < items; n++) put_parts(b, n, a, dim, parts_of(n), 0);
        OK(vtag_commit(b));
    }
}

static void check_grown(env *e, vtag_tag a, uint32_t dim, uint64_t items)
{
    vtag_snap *s = look(e->db);
    uint64_t i;
    for (i = 0; i < items; i += 7) check_parts(s, i, a, dim, parts_of(i), 0);
    CHECK_EQ(count_items(s, a, VTAG_FRESH), items);
    vtag_release(s);
    verify(e->db);
}

static void segments_grow_with_many_small_commits(void)
{
    env e;
    vtag_tag a;
    env_up(&e);
    a = declare(e.db, "a@1", 48, VTAG_COSINE);
    grow(&e, a, 48, 2000, 3);
    check_grown(&e, a, 48, 2000);
    CHECK(stat_of(e.db).segments < 64); /* they grow geometrically */
    env_reopen(&e);
    check_grown(&e, a, 48, 2000);
    env_down(&e);
}

static void one_commit_may_fill_many_segments(void)
{
    env e;
    vtag_tag a;
    env_up(&e);
    a = declare(e.db, "a@1", 64, VTAG_L2SQ);
    grow(&e, a, 64, 20000, 20000);
    check_grown(&e, a, 64, 20000);
    env_reopen(&e);
    check_grown(&e, a, 64, 20000);
    env_down(&e);
}

static void the_largest_dimension_works(void)
{
    env e;
    vtag_tag a;
    env_up(&e);
    a = declare(e.db, "a@1", 32768, VTAG_COSINE);
    grow(&e, a, 32768, 12, 5);
    check_grown(&e, a, 32768, 12);
    env_down(&e);
}

static void dimensions_around_the_lanes_work(void)
{
    static const uint32_t dims[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 65, 127, 129};
    env e;
    vtag_tag tag[LENGTH(dims)];
    size_t i;
    env_up(&e);
    for (i = 0; i < LENGTH(dims); i++) {
        char name[16];
        snprintf(name, sizeof name, "m@%u", (unsigned)dims[i]);
        tag[i] = declare(e.db, name, dims[i], VTAG_COSINE);
    }
    for (i = 0; i < LENGTH(dims); i++) {
        vtag_batch *b = begin(e.db);
        put_parts(b, i, tag[i], dims[i], 2, 0);
        OK(vtag_commit(b));
    }
    env_reopen(&e);
    for (i = 0; i < LENGTH(dims); i++) {
        vtag_snap *s = look(e.db);
        check_parts(s, i, tag[i], dims[i], 2, 0);
        vtag_release(s);
    }
    verify(e.db);
    env_down(&e);
}

static void many_tags_share_a_file(void)
{
    env e;
    vtag_tag tag[30];
    uint64_t id;
    int t, round;
    env_up(&e);
    for (t = 0; t < 30; t++) {
        char name[16];
        snprintf(name, sizeof name, "m@%d", t);
        tag[t] = declare(e.db, name, (uint32_t)t + 1, VTAG_DOT);
    }
    for (round = 0; round < 4; round++) {
        vtag_batch *b = begin(e.db);
        for (id = 0; id < 300; id++) {
            t = (int)(id + (uint64_t)round) % 30;
            put_parts(b, id, tag[t], (uint32_t)t + 1, 1, 0);
        }
        OK(vtag_commit(b));
    }
    {
        vtag_snap *s = look(e.db);
        for (id = 0; id < 300; id++) {
            uint32_t last = (uint32_t)((id + 3) % 30);
            check_parts(s, id, tag[last], last + 1, 1, 0);
            CHECK_EQ(state_in(s, id, tag[last]), VTAG_FRESH);
        }
        vtag_release(s);
    }
    CHECK_EQ(stat_of(e.db).rows, 1200);
    verify(e.db);
    env_down(&e);
}

static void expect_rows_is_only_a_hint(void)
{
    static const uint64_t hints[] = {1, 500, 100000};
    size_t i;
    for (i = 0; i < LENGTH(hints); i++) {
        env e;
        vtag_tag a;
        vtag_begin_opts o = {0};
        vtag_batch *b;
        uint64_t id;
        env_up(&e);
        a = declare(e.db, "a@1", 16, VTAG_COSINE);
        o.expect_rows = hints[i];
        MUST(vtag_begin(e.db, &o, &b));
        for (id = 0; id < 500; id++) put_parts(b, id, a, 16, parts_of(id), 0);
        OK(vtag_commit(b));
        check_grown(&e, a, 16, 500);
        env_down(&e);
    }
}

static void sealing_changes_nothing_that_is_seen(void)
{
    env e;
    vtag_tag a;
    uint64_t before;
    env_up(&e);
    a = declare(e.db, "a@1", 16, VTAG_COSINE);
    grow(&e, a, 16, 700, 50);
    before = hash_of(e.db);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(hash_of(e.db), before);
    grow(&e, a, 16, 700, 350); /* equal vectors: nothing new */
    CHECK_EQ(hash_of(e.db), before);
    OK(vtag_seal(e.db, NULL, NULL));
    env_reopen(&e);
    CHECK_EQ(hash_of(e.db), before);
    check_grown(&e, a, 16, 700);
    env_down(&e);
}

static void a_store_read_into_memory_shows_the_same(void)
{
    env e;
    vtag_tag a;
    vtag_open_opts o = {0};
    vtag_db *db;
    env_up(&e);
    a = declare(e.db, "a@1", 16, VTAG_COSINE);
    grow(&e, a, 16, 300, 20);
    o.no_map = 1;
    o.io = &e.r.io;
    MUST(vtag_open("t.vtag", &o, &db));
    CHECK_EQ(hash_of(db), hash_of(e.db));
    put(db, 5, "through the unmapped handle", NULL, 0);
    CHECK_EQ(hash_of(db), hash_of(e.db));
    put(e.db, 6, "and through the mapped one", NULL, 0);
    CHECK_EQ(hash_of(db), hash_of(e.db));
    vtag_close(db);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(parts_come_back_in_the_order_given_with_their_spans);
    RUN(a_put_replaces_all_parts_of_a_tag);
    RUN(parts_of_different_tags_may_be_interleaved);
    RUN(a_thousand_parts_are_possible);
    RUN(vectors_keep_every_bit);
    RUN(reading_a_vector_checks_its_arguments);
    RUN(a_stale_vector_keeps_the_revision_that_it_embeds);
    RUN(segments_grow_with_many_small_commits);
    RUN(one_commit_may_fill_many_segments);
    RUN(the_largest_dimension_works);
    RUN(dimensions_around_the_lanes_work);
    RUN(many_tags_share_a_file);
    RUN(expect_rows_is_only_a_hint);
    RUN(sealing_changes_nothing_that_is_seen);
    RUN(a_store_read_into_memory_shows_the_same);
    return t_end();
}
