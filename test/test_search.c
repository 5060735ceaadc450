/* test_search.c - search against brute force by the score rule of the format */
#include "engine.h"
#include "test.h"
#include "util.h"

#define ITEMS 400
#define MAXPARTS 3

/* A store of random vectors, of which the test keeps its own copy. */
typedef struct bank {
    env         e;
    vtag_tag    tag;
    vtag_metric metric;
    uint32_t    dim, coarse;
    uint64_t    seed;
    float      *x;                    /* [ITEMS][MAXPARTS][dim] */
    uint32_t    parts[ITEMS];         /* 0: not there           */
    uint32_t    stale[ITEMS];
} bank;

static float *bank_at(bank *k, uint64_t id, uint32_t part)
{
    return k->x + (id * MAXPARTS + part) * k->dim;
}

static void bank_put(bank *k, vtag_batch *b, uint64_t id, uint32_t parts)
{
    vtag_vec v[MAXPARTS];
    uint32_t p;
    for (p = 0; p < parts; p++) {
        random_vector(&k->seed, bank_at(k, id, p), k->dim, k->coarse);
        v[p] = vec(k->tag, k->dim, bank_at(k, id, p));
    }
    put_b(b, id, NULL, v, parts);
    k->parts[id] = parts;
    k->stale[id] = 0;
}

static void bank_up(bank *k, vtag_metric metric, uint32_t dim, uint32_t coarse)
{
    uint64_t id;
    vtag_batch *b;
    memset(k, 0, sizeof *k);
    env_up(&k->e);
    k->metric = metric;
    k->dim = dim;
    k->coarse = coarse;
    k->seed = t_seed() * 77 + dim;
    k->x = calloc((size_t)ITEMS * MAXPARTS * dim, sizeof *k->x);
    k->tag = declare(k->e.db, "m@1", dim, metric);
    for (id = 0; id < ITEMS; id += 40) {
        uint64_t i;
        b = begin(k->e.db);
        for (i = id; i < id + 40; i++) bank_put(k, b, i, (uint32_t)(i % 7 == 0 ? 3 : 1));
        OK(vtag_commit(b));
    }
    b = begin(k->e.db);
    for (id = 0; id < ITEMS; id += 9) { /* replaced */
        bank_put(k, b, id, 2);
    }
    for (id = 5; id < ITEMS; id += 11) { /* deleted */
        OK(vtag_del(b, id));
        k->parts[id] = 0;
    }
    for (id = 3; id < ITEMS; id += 13) { /* stale */
        if (!k->parts[id]) continue;
        put_b(b, id, "new text", NULL, 0);
        k->stale[id] = 1;
    }
    OK(vtag_commit(b));
}

static void bank_down(bank *k)
{
    free(k->x);
    env_down(&k->e);
}

static int id_allowed(const vtag_search_opts *o, uint64_t id)
{
    size_t i;
    if (o->keep && !o->keep(o->keep_ctx, id)) return 0;
    if (!o->only) return 1;
    for (i = 0; i < o->only->n; i++)
        if (o->only->ids[i] == id) return 1;
    return 0;
}

/* The answer by the rule: every allowed row scored, sorted, cut at k. */
static size_t brute(bank *k, const float *q, const vtag_search_opts *o, size_t want, vtag_hit *out)
{
    vtag_hit *all = calloc(ITEMS * MAXPARTS, sizeof *all);
    size_t n = 0, i;
    uint64_t id;
    uint32_t p;
    for (id = 0; id < ITEMS; id++)
        for (p = 0; p < k->parts[id]; p++) {
            vtag_hit h;
            if (!id_allowed(o, id) || (o->fresh_only && k->stale[id])) continue;
            h.id = id;
            h.part = p & 0x7FFFFFFFu;
            h.stale = k->stale[id] & 1u;
            h.dist = rule_dist(k->metric, bank_at(k, id, p), q, k->dim);
            if (!o->max_dist || h.dist <= *o->max_dist) all[n++] = h;
        }
    qsort(all, n, sizeof *all, hit_compare);
    if (n > want) n = want;
    for (i = 0; i < n; i++) out[i] = all[i];
    free(all);
    return n;
}

/* One query, engine against rule, ids, order and bits. */
static void check_query(bank *k, const vtag_snap *s, const float *q, const vtag_search_opts *o, size_t want)
{
    vtag_hit *a = calloc(want + 1, sizeof *a), *b = calloc(want + 1, sizeof *b);
    size_t n = 0, m = brute(k, q, o, want, b);
    OK(vtag_search(s, vec(k->tag, k->dim, q), o, want, a, &n));
    CHECK_EQ(n, m);
    CHECK(same_hits(a, n, b, m));
    free(a);
    free(b);
}

static void check_many_queries(bank *k, const vtag_search_opts *o, int count)
{
    static const size_t ks[] = {1, 2, 10, 64, 129, 5000};
    float *q = malloc(k->dim * sizeof *q);
    vtag_snap *s = look(k->e.db);
    int i;
    for (i = 0; i < count; i++) {
        random_vector(&k->seed, q, k->dim, k->coarse);
        check_query(k, s, q, o, ks[(size_t)i % LENGTH(ks)]);
    }
    vtag_release(s);
    free(q);
}

/* ---- Exactness ---------------------------------------------------------------------- */

static void answers_equal_brute_force_under(vtag_metric metric)
{
    static const uint32_t dims[] = {1, 3, 16, 17, 40, 100, 129};
    size_t i;
    for (i = 0; i < LENGTH(dims); i++) {
        bank k;
        vtag_search_opts o = {0};
        bank_up(&k, metric, dims[i], 1u << 22);
        check_many_queries(&k, &o, 12);
        bank_down(&k);
    }
}

static void cosine_equals_brute_force(void) { answers_equal_brute_force_under(VTAG_COSINE); }
static void dot_equals_brute_force(void) { answers_equal_brute_force_under(VTAG_DOT); }
static void l2_equals_brute_force(void) { answers_equal_brute_force_under(VTAG_L2SQ); }

static void ties_go_by_id_then_part(void)
{
    static const vtag_metric metrics[] = {VTAG_COSINE, VTAG_DOT, VTAG_L2SQ};
    size_t i;
    for (i = 0; i < 3; i++) { /* two dims of four steps: nearly everything ties */
        bank k;
        vtag_search_opts o = {0};
        bank_up(&k, metrics[i], 2, 4);
        check_many_queries(&k, &o, 30);
        bank_down(&k);
    }
}

static void equal_rows_of_one_item_come_by_part(void)
{
    env e;
    vtag_tag a;
    vtag_vec v[5];
    vtag_hit hits[16];
    vtag_snap *s;
    size_t n, i;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    for (i = 0; i < 5; i++) v[i] = v2(a, 1, 1);
    put(e.db, 9, NULL, v, 5);
    put(e.db, 4, NULL, v, 5);
    s = look(e.db);
    OK(vtag_search(s, v[0], NULL, 7, hits, &n));
    CHECK_EQ(n, 7);
    for (i = 0; i < n; i++) {
        CHECK_EQ(hits[i].id, i < 5 ? 4 : 9);
        CHECK_EQ(hits[i].part, i % 5);
    }
    vtag_release(s);
    env_down(&e);
}

static void extreme_magnitudes_keep_the_rule(void)
{
    bank k;
    vtag_search_opts o = {0};
    vtag_batch *b;
    uint64_t id;
    uint32_t i;
    bank_up(&k, VTAG_COSINE, 20, 1u << 22);
    b = begin(k.e.db);
    for (id = 0; id < 100; id++) {
        vtag_vec v = vec(k.tag, 20, bank_at(&k, id, 0));
        float f = id % 2 ? 1e15f : 1e-15f;
        random_vector(&k.seed, bank_at(&k, id, 0), 20, 1u << 22);
        for (i = 0; i < 20; i++) bank_at(&k, id, 0)[i] *= f;
        put_b(b, id, NULL, &v, 1);
        k.parts[id] = 1;
        k.stale[id] = 0;
    }
    OK(vtag_commit(b));
    check_many_queries(&k, &o, 12);
    bank_down(&k);
}

static void a_parallel_vector_under_cosine_is_at_zero_never_below(void)
{
    env e;
    vtag_tag a;
    vtag_snap *s;
    uint64_t seed = t_seed(), id;
    float x[200][7];
    env_up(&e);
    a = declare(e.db, "a@1", 7, VTAG_COSINE);
    for (id = 0; id < 200; id++) {
        vtag_vec v = vec(a, 7, x[id]);
        random_vector(&seed, x[id], 7, 1u << 22);
        put(e.db, id, NULL, &v, 1);
    }
    s = look(e.db);
    for (id = 0; id < 200; id++) {
        vtag_hit hit;
        size_t n;
        OK(vtag_search(s, vec(a, 7, x[id]), NULL, 1, &hit, &n));
        CHECK_EQ(hit.id, id);
        CHECK(hit.dist >= 0 && hit.dist < 1e-6f && !signbit(hit.dist));
    }
    vtag_release(s);
    env_down(&e);
}

static void orthogonal_under_dot_is_plus_zero(void)
{
    env e;
    vtag_tag a;
    vtag_snap *s;
    vtag_hit hit;
    size_t n;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_DOT);
    put2(e.db, 1, NULL, a, 1, 0);
    s = look(e.db);
    OK(vtag_search(s, v2(a, 0, 1), NULL, 1, &hit, &n));
    CHECK(hit.dist == 0 && !signbit(hit.dist));
    vtag_release(s);
    env_down(&e);
}

/* ---- Filters ------------------------------------------------------------------------- */

static void max_dist_is_inclusive(void)
{
    bank k;
    vtag_search_opts o = {0};
    vtag_hit hits[50];
    vtag_snap *s;
    float q[16], limit;
    size_t n, m;
    bank_up(&k, VTAG_L2SQ, 16, 1u << 10);
    random_vector(&k.seed, q, 16, 1u << 10);
    s = look(k.e.db);
    OK(vtag_search(s, vec(k.tag, 16, q), NULL, 50, hits, &n));
    REQUIRE(n == 50);
    limit = hits[20].dist;
    o.max_dist = &limit;
    OK(vtag_search(s, vec(k.tag, 16, q), &o, 50, hits, &m));
    CHECK(m >= 21 && hits[m - 1].dist <= limit && hits[20].dist >= limit);
    limit = -1;
    OK(vtag_search(s, vec(k.tag, 16, q), &o, 50, hits, &m));
    CHECK_EQ(m, 0);
    vtag_release(s);
    limit = 7.5f;
    check_many_queries(&k, &o, 12);
    bank_down(&k);
}

static int keep_thirds(void *ctx, uint64_t id)
{
    ++*(int *)ctx;
    return id % 3 == 0;
}

static void keep_is_asked_before_the_top_k(void)
{
    bank k;
    vtag_search_opts o = {0};
    int calls = 0;
    bank_up(&k, VTAG_COSINE, 33, 1u << 10);
    o.keep = keep_thirds;
    o.keep_ctx = &calls;
    check_many_queries(&k, &o, 12);
    CHECK(calls > 0);
    bank_down(&k);
}

static void only_allows_exactly_its_ids(void)
{
    static const uint64_t few[] = {0, 5, 7, 8, 100, 398, 5000, UINT64_MAX - 1};
    uint64_t many[ITEMS / 2];
    bank k;
    vtag_search_opts o = {0};
    vtag_ids ids;
    size_t i;
    bank_up(&k, VTAG_DOT, 33, 1u << 10);
    o.only = &ids;
    ids.ids = few;
    ids.n = LENGTH(few);
    check_many_queries(&k, &o, 12);
    for (i = 0; i < LENGTH(many); i++) many[i] = i * 2 + 1;
    ids.ids = many;
    ids.n = LENGTH(many);
    check_many_queries(&k, &o, 12);
    o.fresh_only = 1;
    check_many_queries(&k, &o, 12);
    bank_down(&k);
}

static void an_empty_only_means_none(void)
{
    bank k;
    vtag_search_opts o = {0};
    vtag_ids ids = {NULL, 0};
    bank_up(&k, VTAG_DOT, 4, 1u << 10);
    o.only = &ids;
    check_many_queries(&k, &o, 4);
    bank_down(&k);
}

static void ids_that_are_not_there_or_not_ascending_are_an_argument_error(void)
{
    static const uint64_t descending[] = {5, 3};
    bank k;
    vtag_search_opts o = {0};
    vtag_ids ids;
    vtag_snap *s;
    vtag_hit hit;
    size_t n;
    bank_up(&k, VTAG_DOT, 4, 1u << 10);
    ids.ids = NULL;
    ids.n = 2;
    o.only = &ids;
    s = look(k.e.db);
    ERR(VTAG_ARG, vtag_search(s, vec(k.tag, 4, bank_at(&k, 0, 0)), &o, 1, &hit, &n));
    ids.ids = descending;
    ERR(VTAG_ARG, vtag_search(s, vec(k.tag, 4, bank_at(&k, 0, 0)), &o, 1, &hit, &n));
    vtag_release(s);
    bank_down(&k);
}

static void fresh_only_leaves_stale_rows_out(void)
{
    bank k;
    vtag_search_opts o = {0};
    bank_up(&k, VTAG_COSINE, 33, 1u << 10);
    o.fresh_only = 1;
    check_many_queries(&k, &o, 12);
    bank_down(&k);
}

static void all_filters_together(void)
{
    bank k;
    vtag_search_opts o = {0};
    vtag_ids ids;
    uint64_t many[ITEMS];
    float limit = 1.0f;
    int calls = 0;
    size_t i;
    bank_up(&k, VTAG_COSINE, 12, 1u << 4);
    for (i = 0; i < ITEMS; i++) many[i] = i;
    ids.ids = many;
    ids.n = ITEMS;
    o.only = &ids;
    o.keep = keep_thirds;
    o.keep_ctx = &calls;
    o.fresh_only = 1;
    o.max_dist = &limit;
    check_many_queries(&k, &o, 24);
    bank_down(&k);
}

static void stale_hits_are_marked(void)
{
    env e;
    vtag_tag a;
    vtag_snap *s;
    vtag_hit hits[2];
    size_t n;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    put2(e.db, 1, "old", a, 1, 0);
    put2(e.db, 2, "old", a, 1, 0);
    put(e.db, 1, "new", NULL, 0);
    s = look(e.db);
    OK(vtag_search(s, v2(a, 1, 0), NULL, 2, hits, &n));
    CHECK_EQ(n, 2);
    CHECK(hits[0].id == 1 && hits[0].stale);
    CHECK(hits[1].id == 2 && !hits[1].stale);
    vtag_release(s);
    env_down(&e);
}

/* ---- Shares and batches --------------------------------------------------------------- */

static void shares_merge_to_the_whole_answer(void)
{
    static const uint32_t parts[] = {1, 2, 3, 7, 64};
    bank k;
    vtag_snap *s;
    float q[24];
    size_t i;
    bank_up(&k, VTAG_L2SQ, 24, 1u << 3);
    s = look(k.e.db);
    for (i = 0; i < 20; i++) {
        vtag_hit whole[30], joined[30], share[30];
        vtag_search_opts o = {0};
        size_t n, m = 0, got;
        random_vector(&k.seed, q, 24, 1u << 3);
        OK(vtag_search(s, vec(k.tag, 24, q), NULL, 30, whole, &n));
        o.parts = parts[i % LENGTH(parts)];
        for (o.part = 0; o.part < o.parts; o.part++) {
            OK(vtag_search(s, vec(k.tag, 24, q), &o, 30, share, &got));
            m = vtag_merge(joined, m, share, got, 30);
        }
        CHECK(same_hits(whole, n, joined, m));
    }
    vtag_release(s);
    bank_down(&k);
}

static void a_part_beyond_parts_is_an_argument_error(void)
{
    bank k;
    vtag_snap *s;
    vtag_search_opts o = {0};
    vtag_hit hit;
    size_t n;
    bank_up(&k, VTAG_L2SQ, 4, 8);
    s = look(k.e.db);
    o.part = o.parts = 3;
    ERR(VTAG_ARG, vtag_search(s, vec(k.tag, 4, bank_at(&k, 0, 0)), &o, 1, &hit, &n));
    o.parts = 0;
    ERR(VTAG_ARG, vtag_search(s, vec(k.tag, 4, bank_at(&k, 0, 0)), &o, 1, &hit, &n));
    vtag_release(s);
    bank_down(&k);
}

static void merging_keeps_the_best_in_order(void)
{
    static const vtag_hit a[] = {{1, 0.5f, 0, 0}, {2, 1.0f, 0, 0}, {2, 1.0f, 3, 0}};
    static const vtag_hit b[] = {{1, 0.25f, 0, 0}, {2, 1.0f, 1, 0}, {9, 9.0f, 0, 0}};
    vtag_hit into[8];
    memcpy(into, a, sizeof a);
    CHECK_EQ(vtag_merge(into, 3, b, 3, 5), 5);
    CHECK(into[0].dist < into[1].dist);
    CHECK(into[2].part == 0 && into[3].part == 1 && into[4].part == 3);
    CHECK_EQ(vtag_merge(into, 0, b, 3, 2), 2);
    CHECK_EQ(into[1].id, 2);
    CHECK_EQ(vtag_merge(into, 2, NULL, 0, 2), 2);
    CHECK_EQ(vtag_merge(into, 0, b, 3, 0), 0);
}

static void many_queries_equal_single_ones_bit_for_bit(void)
{
    static const size_t counts[] = {1, 2, 5, 33, 100};
    bank k;
    size_t c, i;
    vtag_snap *s;
    bank_up(&k, VTAG_COSINE, 24, 1u << 5);
    s = look(k.e.db);
    for (c = 0; c < LENGTH(counts); c++) {
        size_t nq = counts[c], want = 13, n[100];
        float *q = malloc(nq * 24 * sizeof *q);
        vtag_hit *many = calloc(nq * want, sizeof *many), one[13];
        vtag_search_opts o = {0};
        o.fresh_only = c % 2;
        for (i = 0; i < nq; i++) random_vector(&k.seed, q + i * 24, 24, 1u << 5);
        OK(vtag_search_many(s, vec(k.tag, 24, q), nq, &o, want, many, n));
        for (i = 0; i < nq; i++) {
            size_t m;
            OK(vtag_search(s, vec(k.tag, 24, q + i * 24), &o, want, one, &m));
            CHECK(same_hits(many + i * want, n[i], one, m));
        }
        free(q);
        free(many);
    }
    vtag_release(s);
    bank_down(&k);
}

/* ---- Kernels ------------------------------------------------------------------------------ */

static void search_under_isa(bank *k, const char *isa, const float *q, vtag_hit *hits, size_t *n)
{
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    vtag_snap *s;
    o.isa = isa;
    o.io = &k->e.r.io;
    *n = 0;
    if (vtag_open("t.vtag", &o, &db) == VTAG_ARG) return; /* not on this machine */
    REQUIRE(db != NULL);
    s = look(db);
    OK(vtag_search(s, vec(k->tag, k->dim, q), NULL, 50, hits, n));
    vtag_release(s);
    CHECK_STR(stat_of(db).isa, isa);
    vtag_close(db);
}

static void every_instruction_set_gives_the_same_bits(void)
{
    static const char *const isa[] = {"avx2", "avx512", "neon"};
    static const uint32_t dims[] = {1, 15, 16, 48, 100, 257};
    int m, seen = 0;
    size_t d, i;
    for (m = 0; m < 3; m++)
        for (d = 0; d < LENGTH(dims); d++) {
            bank k;
            vtag_hit base[50], hits[50];
            size_t n, got;
            float q[257];
            bank_up(&k, (vtag_metric)m, dims[d], 1u << 22);
            random_vector(&k.seed, q, k.dim, 1u << 22);
            search_under_isa(&k, "scalar", q, base, &n);
            CHECK_EQ(n, 50);
            for (i = 0; i < LENGTH(isa); i++) {
                search_under_isa(&k, isa[i], q, hits, &got);
                if (got) CHECK(same_hits(base, n, hits, got));
                seen += got != 0;
            }
            bank_down(&k);
        }
    printf("kernels: scalar against %d others\n", seen / (int)(3 * LENGTH(dims)));
}

static void an_unknown_instruction_set_is_an_argument_error(void)
{
    env e;
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    env_up(&e);
    o.isa = "mmx";
    o.io = &e.r.io;
    ERR(VTAG_ARG, vtag_open("t.vtag", &o, &db));
    CHECK(db == NULL);
    env_down(&e);
}

/* ---- What a query is refused for -------------------------------------------------------- */

static void a_query_that_fits_no_tag_is_refused(void)
{
    env e;
    vtag_tag a, gone, other;
    vtag_snap *s;
    vtag_hit hit;
    vtag_vec q;
    vtag_search_opts o = {0};
    size_t n = 77;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    gone = declare(e.db, "a@2", 2, VTAG_COSINE);
    other = declare(e.db, "a@3", 2, VTAG_COSINE);
    put2(e.db, 1, NULL, a, 1, 0);
    OK(retire(e.db, gone, NULL, NULL));
    s = look(e.db);
    ERR(VTAG_NOTAG, vtag_search(s, v2(0, 1, 0), NULL, 1, &hit, &n));
    ERR(VTAG_NOTAG, vtag_search(s, v2(a + 9, 1, 0), NULL, 1, &hit, &n));
    ERR(VTAG_RETIRED, vtag_search(s, v2(gone, 1, 0), NULL, 1, &hit, &n));
    ERR(VTAG_PREVIEW, vtag_search(s, v2(other, 1, 0), NULL, 1, &hit, &n));
    q = v2(a, 1, 0);
    q.dim = 3;
    ERR(VTAG_DIM, vtag_search(s, q, NULL, 1, &hit, &n));
    ERR(VTAG_VALUE, vtag_search(s, v2(a, NAN, 0), NULL, 1, &hit, &n));
    ERR(VTAG_VALUE, vtag_search(s, v2(a, 0, -INFINITY), NULL, 1, &hit, &n));
    ERR(VTAG_VALUE, vtag_search(s, v2(a, 0, 0), NULL, 1, &hit, &n));
    ERR(VTAG_ARG, vtag_search(s, vec(a, 2, NULL), NULL, 1, &hit, &n));
    ERR(VTAG_ARG, vtag_search(s, v2(a, 1, 0), NULL, 1, NULL, &n));
    o.preview = 1;
    CHECK_EQ(n, 0); /* what is refused finds nothing */
    OK(vtag_search(s, v2(other, 1, 0), &o, 1, &hit, &n));
    CHECK_EQ(n, 0);
    vtag_release(s);
    env_down(&e);
}

static void a_norm_that_overflows_or_vanishes_is_no_norm(void)
{
    env e;
    vtag_tag a;
    vtag_vec v;
    vtag_item it = item_of(1, "x");
    vtag_batch *b;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    b = begin(e.db);
    v = v2(a, 3e38f, 3e38f); /* the sum fits a double, its root no float */
    ERR(VTAG_VALUE, vtag_put(b, &it, &v, 1));
    v = v2(a, 1e-40f, 0);
    ERR(VTAG_VALUE, vtag_put(b, &it, &v, 1));
    v = v2(a, 1e-37f, 0);
    OK(vtag_put(b, &it, &v, 1));
    OK(vtag_commit(b));
    env_down(&e);
}

static void an_empty_store_answers_with_nothing(void)
{
    env e;
    vtag_tag a;
    vtag_snap *s;
    vtag_hit hit;
    size_t n = 7;
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    s = look(e.db);
    OK(vtag_search(s, v2(a, 1, 0), NULL, 1, &hit, &n));
    CHECK_EQ(n, 0);
    vtag_release(s);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(cosine_equals_brute_force);
    RUN(dot_equals_brute_force);
    RUN(l2_equals_brute_force);
    RUN(ties_go_by_id_then_part);
    RUN(equal_rows_of_one_item_come_by_part);
    RUN(extreme_magnitudes_keep_the_rule);
    RUN(a_parallel_vector_under_cosine_is_at_zero_never_below);
    RUN(orthogonal_under_dot_is_plus_zero);
    RUN(max_dist_is_inclusive);
    RUN(keep_is_asked_before_the_top_k);
    RUN(only_allows_exactly_its_ids);
    RUN(an_empty_only_means_none);
    RUN(ids_that_are_not_there_or_not_ascending_are_an_argument_error);
    RUN(fresh_only_leaves_stale_rows_out);
    RUN(all_filters_together);
    RUN(stale_hits_are_marked);
    RUN(shares_merge_to_the_whole_answer);
    RUN(a_part_beyond_parts_is_an_argument_error);
    RUN(merging_keeps_the_best_in_order);
    RUN(many_queries_equal_single_ones_bit_for_bit);
    RUN(every_instruction_set_gives_the_same_bits);
    RUN(an_unknown_instruction_set_is_an_argument_error);
    RUN(a_query_that_fits_no_tag_is_refused);
    RUN(a_norm_that_overflows_or_vanishes_is_no_norm);
    RUN(an_empty_store_answers_with_nothing);
    return t_end();
}
