// build: plain
/* test_sketch.c - a search by sketches answers what a search without them does */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "twin.h"
#include "sketched.h"
#include "bits.h"

static const uint32_t dims[] = {40, 100, 128, 384, 640, 768, 1024, 1536};
static const char *const kind_names[] = {
    "clustered", "uniform", "duplicates", "near duplicates", "offset", "tiny", "huge", "mixed",
    "zeros", "one-hot", "sparse", "opposites"
};

static void say_shape(const shape *s)
{
    fprintf(stderr, "  metric %d, codec %d, dim %u, %s\n", (int)s->metric, (int)s->codec, s->dim,
            kind_names[s->data]);
}

/* ---- Twins: any data, any question ------------------------------------------------- */

static int keep_some(void *ctx, uint64_t id) { return id * 2654435761u % 100 < *(uint32_t *)ctx; }

/* The distance of one of the first hits of q, as a limit that must let it in. */
static float limit_at_a_hit(twin *t, const vtag_snap *s, const float *q)
{
    vtag_hit hits[30];
    vtag_search_opts o = {0};
    size_t n = 0;
    o.preview = 1;
    OK(vtag_search(s, vec(t->tag[1], t->s.dim, q), &o, 30, hits, &n));
    return n ? hits[t_below(&t->seed, n)].dist : 0;
}

/* Ascending ids, some twice, some that nobody has. */
static size_t some_ids(twin *t, uint64_t *ids, size_t room)
{
    uint64_t id = t_below(&t->seed, 50), step = 1 + t_below(&t->seed, 9);
    size_t n = 0;
    while (n < room && id < t->items + 50) {
        ids[n++] = id;
        if (t_below(&t->seed, 10)) id += t_below(&t->seed, step) + 1;
    }
    return n;
}

/* One question of random kind. */
static int ask_at_random(twin *t, const vtag_snap *s)
{
    static const size_t ks[] = {1, 1, 10, 10, 10, 128, 129, 1000, 100000};
    static const uint32_t percents[] = {0, 1, 10, 50, 100};
    static uint64_t ids[4000];
    vtag_search_opts o = {0};
    vtag_ids only = {ids, 0};
    float *q = malloc(9 * t->s.dim * sizeof *q), limit;
    size_t nq = t_below(&t->seed, 4) ? 1 : 1 + t_below(&t->seed, 9), k = ks[t_below(&t->seed, 9)], i;
    uint32_t percent = percents[t_below(&t->seed, 5)];
    int same;
    for (i = 0; i < nq; i++) make_query(t, q + i * t->s.dim);
    if (t_below(&t->seed, 4) == 0) o.keep = keep_some, o.keep_ctx = &percent;
    if (t_below(&t->seed, 5) == 0) only.n = some_ids(t, ids, LENGTH(ids)), o.only = &only;
    if (t_below(&t->seed, 3) == 0) limit = limit_at_a_hit(t, s, q), o.max_dist = &limit;
    o.fresh_only = t_below(&t->seed, 4) == 0;
    if (t_below(&t->seed, 3) == 0) o.parts = 7, o.part = (uint32_t)t_below(&t->seed, 7);
    same = CHECK(twins_agree(t, s, q, nq, o, k));
    free(q);
    return same;
}

static void ask_about(shape s, int questions)
{
    twin t;
    vtag_snap *snap;
    int i, same = 1;
    twin_up(&t, s, sketchy_items(&s));
    snap = look(t.e.db);
    for (i = 0; i < questions && same; i++) same = ask_at_random(&t, snap);
    if (!same) say_shape(&s);
    vtag_release(snap);
    twin_down(&t);
}

/* Every metric on every data, with dims and codecs dealt out in turn; all of them with
   ALL=1 in the environment. */
static void ask_about_all_data_under(vtag_metric metric)
{
    int all = getenv("ALL") != NULL;
    uint64_t turn = t_seed() * 5 + (uint64_t)metric;
    shape s;
    s.metric = metric;
    for (s.data = 0; s.data < KINDS; s.data++) {
        uint32_t of, n = LENGTH(dims) * 3;
        for (of = 0; of < n; of += all ? 1 : 8, turn += all ? 1 : 5) {
            s.dim = dims[turn % n / 3];
            s.codec = (vtag_codec)(turn % 3);
            if (is_sketchy(&s)) ask_about(s, 24);
        }
    }
}

static void sketches_change_no_answer_under_cosine(void) { ask_about_all_data_under(VTAG_COSINE); }
static void sketches_change_no_answer_under_dot(void) { ask_about_all_data_under(VTAG_DOT); }
static void sketches_change_no_answer_under_l2(void) { ask_about_all_data_under(VTAG_L2SQ); }


/* ---- Bounds ------------------------------------------------------------------------- */

static uint64_t pairs;
static double width, widths; /* of bounds, as a part of |v| |w|, which is what is unknown */

/* Turns v[dim] back, the rotation's rounds in reverse. */
static void rotate_back(float *v, uint32_t dim, uint64_t seed)
{
    uint32_t p = vt_power_below(dim), round = p < dim ? 4 : 2, h, i, j;
    while (round-- > 0) {
        float *x = round % 2 ? v + dim - p : v;
        for (i = 0; p < dim && i < dim / 2; i++) {
            float a = v[i], b = v[i + dim / 2];
            v[i] = (a + b) * sqrtf(0.5f);
            v[i + dim / 2] = (a - b) * sqrtf(0.5f);
        }
        for (h = 1; h < p; h *= 2)
            for (i = 0; i < p; i += 2 * h)
                for (j = i; j < i + h; j++) {
                    float a = x[j], b = x[j + h];
                    x[j] = (a + b) * sqrtf(0.5f);
                    x[j + h] = (a - b) * sqrtf(0.5f);
                }
        for (i = 0; i < dim; i++)
            if (vt_signs(seed + round, i & ~15u) >> i % 16 & 1) v[i] = -v[i];
    }
}

static uint32_t code_at(const sketched *d, uint32_t row, uint32_t i)
{
    uint8_t two = d->k.codes[(size_t)row * d->wide / 2 + i / 128 * 64 + i % 64];
    return i % 128 < 64 ? two & 15 : two >> 4;
}

/* The query that a bound must fear most: from the mean along what the codes of a row say
   of it (what 0), or along what they leave out (1), where the rest counts in full. */
static void towards(const sketched *d, uint32_t row, int what, float *q)
{
    const float *x = d->decoded + (size_t)row * d->pad;
    const vtf_factors *f = &d->k.factors[row / 16];
    float *v = calloc(d->wide, sizeof *v);
    uint32_t i;
    for (i = 0; i < d->s.dim; i++)
        v[i] = (d->s.metric == VTAG_COSINE ? x[i] / d->rows[row].norm : x[i]) - d->k.mean[i];
    vt_rotate_scalar(v, d->wide, d->k.seed);
    for (i = 0; i < d->wide; i++) {
        float u = f->scale[row % 16] * ((float)code_at(d, row, i) - 7.5f);
        v[i] = what ? v[i] - u : u;
    }
    rotate_back(v, d->wide, d->k.seed);
    for (i = 0; i < d->s.dim; i++) q[i] = d->k.mean[i] + v[i];
    free(v);
}

/* A row, the mean, one of the two above, or anything, sometimes scaled up or down. */
static void make_hard_query(const sketched *d, uint64_t *seed, float *q)
{
    uint32_t row = (uint32_t)t_below(seed, d->n), how = (uint32_t)t_below(seed, 6), i;
    if (how < 2) towards(d, row, (int)how, q);
    else if (how == 2) memcpy(q, d->k.mean, d->s.dim * sizeof *q);
    else if (how == 3) make_vector(&d->s, seed, row, q);
    else memcpy(q, d->decoded + (size_t)row * d->pad, d->s.dim * sizeof *q);
    if (t_below(seed, 4) == 0) scale_vector(q, d->s.dim, t_below(seed, 2) ? -1.0f : 0.01f);
    if (how == 5) q[0] += 1e-3f;
    for (i = 0; i < d->s.dim && q[i] == 0; i++) { }
    if (i == d->s.dim) q[0] = 1;
}

static double similarity_of(const sketched *d, const fitted *q, const vt_kernels *k, uint32_t row)
{
    const float *x = d->decoded + (size_t)row * d->pad;
    double sum;
    (d->s.metric == VTAG_L2SQ ? k->l2sq : k->dot)(q->x, x, d->pad, 1, &sum);
    return vt_similarity(d->s.metric, vt_dist(d->s.metric, sum, q->norm, d->rows[row].norm));
}

/* Sixteen rows against a query: the bounds hold the score, and reach lets it pass. */
static int bounds_hold(const sketched *d, fitted *q, const vt_kernels *k, uint32_t group)
{
    const uint8_t *codes[16];
    const vtf_factors *f = &d->k.factors[group];
    int32_t dots[16];
    uint32_t r, row = group * 16;
    int good = 1;
    for (r = 0; r < 16; r++) codes[r] = d->k.codes + (size_t)(row + r) * d->wide / 2;
    k->cross(codes, q->h, d->wide / 2, 1, dots);
    for (r = 0; r < 16; r++, row++) {
        double sim = similarity_of(d, q, k, row);
        float lo, up;
        vt_bound_row(&q->b, f, r, dots[r], &lo, &up);
        vt_bound_floor(&q->b, sim);
        good &= (double)lo <= sim && sim <= (double)up && (k->reach(f, dots, &q->b.p) >> r & 1);
        if (!good) {
            fprintf(stderr, "  row %u: %.17g in [%.9g, %.9g], %s\n", row, sim, (double)lo, (double)up, k->isa);
            return 0;
        }
        if (d->s.data == UNIFORM && d->s.metric == VTAG_COSINE)
            width += (double)(up - lo) / 2 / ((double)(f->size[r] + f->rest[r]) * (double)q->b.w), widths++;
    }
    pairs += 16;
    return good;
}

static void bounds_hold_for(shape s, uint32_t rows, int queries)
{
    uint64_t seed = t_seed() * 31 + (uint64_t)s.data;
    float *x = malloc(s.dim * sizeof *x);
    const vt_kernels *k = vt_kernels_pick(NULL);
    sketched d;
    int i;
    sketched_up(&d, s, rows, seed, k);
    for (i = 0; i < queries && d.err == VTAG_OK; i++) {
        fitted q;
        uint32_t g;
        int good = 1;
        make_hard_query(&d, &seed, x);
        fitted_up(&q, &d, x, k);
        for (g = 0; g < rows / 16 && q.fits && good; g++) good = bounds_hold(&d, &q, k, g);
        if (!CHECK(good)) say_shape(&s);
        fitted_down(&q);
    }
    sketched_down(&d);
    free(x);
}

static void bounds_contain_the_score_of_every_row(void)
{
    static const uint32_t some[] = {40, 128, 100, 384, 128, 768, 40};
    uint32_t turn = 0;
    shape s;
    pairs = 0;
    width = widths = 0;
    for (s.data = 0; s.data < KINDS; s.data++)
        for (s.metric = VTAG_COSINE; s.metric <= VTAG_L2SQ; s.metric++)
            for (s.codec = VTAG_F32; s.codec <= VTAG_I8; s.codec++, turn++) {
                s.dim = some[turn % LENGTH(some)];
                bounds_hold_for(s, 256, 60);
            }
    printf("%llu pairs, mean width of uniform data under cosine: +-%.4f |v||w|\n", (unsigned long long)pairs, width / widths);
    CHECK(pairs >= 1000000);
}

/* Rows in pairs of opposites, so that the mean is 0 and nothing hides a query's smallness. */
static void paired_up(sketched *d, shape s, uint32_t rows, float size, uint64_t seed)
{
    const vt_kernels *k = vt_kernels_pick(NULL);
    float *x = malloc(s.dim * sizeof *x);
    uint32_t i;
    sketched_up(d, s, rows, seed, k);
    for (i = 0; i < rows; i++) {
        if (i % 2 == 0) random_vector(&seed, x, s.dim, 1u << 22);
        scale_vector(x, s.dim, i % 2 ? -1 : size);
        sketched_row(d, i, x);
    }
    sketched_make(d, k);
    free(x);
}

static void bounds_hold_at_any_scale_of_rows_and_queries(void)
{
    const vt_kernels *k = vt_kernels_pick(NULL);
    uint64_t seed = t_seed();
    shape s = {VTAG_DOT, VTAG_F32, 128, UNIFORM};
    int row_size, size, what;
    float q[128];
    for (s.metric = VTAG_COSINE; s.metric <= VTAG_L2SQ; s.metric++)
        for (row_size = -30; row_size <= 12; row_size += 3) {
            sketched d;
            paired_up(&d, s, 32, powf(10, (float)row_size), seed++);
            for (size = -44; size <= 14; size++)
                for (what = 0; what < 3; what++) {
                    fitted f;
                    if (what == 2) random_vector(&seed, q, s.dim, 1u << 22);
                    else towards(&d, (uint32_t)t_below(&seed, 32), what, q);
                    scale_vector(q, s.dim, 1 / rule_norm(q, s.dim));
                    scale_vector(q, s.dim, powf(10, (float)size));
                    if (s.metric == VTAG_COSINE && rule_norm(q, s.dim) < VT_MIN_NORM) continue;
                    fitted_up(&f, &d, q, k);
                    if (f.fits && !d.err)
                        if (!CHECK(bounds_hold(&d, &f, k, 0) && bounds_hold(&d, &f, k, 1)))
                            fprintf(stderr, "  metric %d, rows 1e%d, query 1e%d, %d\n", (int)s.metric, row_size, size, what);
                    fitted_down(&f);
                }
            sketched_down(&d);
        }
}

/* ---- The same everywhere -------------------------------------------------------------- */

static void every_kernel_makes_the_golden_sketches(void)
{
    size_t i;
    for (i = 0; i < VT_KERNEL_ROWS; i++) {
        const vt_kernels *k = &vt_kernel_table[i];
        if (k->runs() && !CHECK_EQ(sketch_bits(k), GOLDEN_SKETCHES)) fprintf(stderr, "  %s\n", k->isa);
    }
}

/* ---- Many candidates, many queries, shares -------------------------------------------- */

/* More rows at one distance than a query has room for candidates, alone or among 64. */
static void where_all_rows_are_candidates_none_is_lost(void)
{
    static const kind data[] = {DUPLICATES, NEAR_DUPLICATES};
    static const size_t counts[] = {1, 64};
    size_t i, j, c;
    for (i = 0; i < 2; i++) {
        shape s = {VTAG_L2SQ, VTAG_F32, 40, DUPLICATES};
        uint32_t percent = 50;
        float *q = malloc(64 * 40 * sizeof *q);
        vtag_search_opts o = {0}, some = {0};
        vtag_snap *snap;
        twin t;
        s.data = data[i];
        s.metric = i ? VTAG_COSINE : VTAG_L2SQ;
        twin_up(&t, s, 17500);
        snap = look(t.e.db);
        some.keep = keep_some;
        some.keep_ctx = &percent;
        some.fresh_only = 1;
        for (j = 0; j < 64; j++) make_query(&t, q + j * 40);
        for (c = 0; c < LENGTH(counts); c++) {
            CHECK(twins_agree(&t, snap, q, counts[c], o, 10));
            CHECK(twins_agree(&t, snap, q, counts[c], some, 200));
        }
        vtag_release(snap);
        twin_down(&t);
        free(q);
    }
}

/* A tile by the plain meaning of its layout, for processors that have none of their own. */
static void tile_by_cross(const uint8_t *const *x, const int8_t *h, size_t bytes, size_t blocks, uint8_t *tmp,
                          int32_t *out)
{
    size_t wide = 2 * bytes, q, i;
    for (; blocks; blocks--, h += 16 * wide, out += 16 * VT_GROUP) {
        for (q = 0; q < 16; q++)
            for (i = 0; i < wide; i++) tmp[q * wide + i] = (uint8_t)h[i / 4 * 64 + q * 4 + i % 4];
        vt_cross_scalar(x, (const int8_t *)tmp, bytes, 16, out);
    }
}

static void many_are_answered_as_each_alone(vt_tile_fn *tile)
{
    static const size_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 48, 64, 65};
    shape s = {VTAG_DOT, VTAG_F16, 128, CLUSTERED};
    vtag_search_opts o = {0};
    twin t;
    vtag_snap *snap;
    float *q = malloc(65 * 128 * sizeof *q);
    vtag_hit *many = malloc(65 * 20 * sizeof *many), one[20];
    size_t n[65], m, c, j;
    vt_kernels k;
    twin_up(&t, s, sketchy_items(&s));
    k = *t.e.db->kernels;
    if (tile) k.tile = tile;
    t.e.db->kernels = &k;
    snap = look(t.e.db);
    for (c = 0; c < LENGTH(counts); c++) {
        for (j = 0; j < counts[c]; j++) make_query(&t, q + j * 128);
        CHECK(twins_agree(&t, snap, q, counts[c], o, 20));
        OK(vtag_search_many(snap, vec(t.tag[0], 128, q), counts[c], NULL, 20, many, n));
        for (j = 0; j < counts[c]; j++) {
            OK(vtag_search(snap, vec(t.tag[0], 128, q + j * 128), NULL, 20, one, &m));
            CHECK(same_hits(many + j * 20, n[j], one, m));
        }
    }
    vtag_release(snap);
    twin_down(&t);
    free(many);
    free(q);
}

static void any_number_of_queries_is_answered_as_each_alone(void) { many_are_answered_as_each_alone(NULL); }

static void blocks_of_sixteen_queries_are_answered_as_each_alone(void)
{
    many_are_answered_as_each_alone(tile_by_cross);
}

static void shares_of_sketched_rows_merge_to_the_whole(void)
{
    static const uint32_t parts[] = {2, 3, 7};
    shape s = {VTAG_COSINE, VTAG_I8, 384, UNIFORM};
    static const size_t ks[] = {1, 10, 500};
    static vtag_hit whole[500], joined[500], share[500];
    float q[384];
    vtag_snap *snap;
    twin t;
    uint32_t i;
    twin_up(&t, s, sketchy_items(&s));
    snap = look(t.e.db);
    for (i = 0; i < 30; i++) {
        vtag_search_opts o = {0};
        size_t k = ks[i % 3], n, m = 0, got;
        make_query(&t, q);
        OK(vtag_search(snap, vec(t.tag[0], 384, q), NULL, k, whole, &n));
        o.parts = parts[i / 3 % 3];
        for (o.part = 0; o.part < o.parts; o.part++) {
            OK(vtag_search(snap, vec(t.tag[0], 384, q), &o, k, share, &got));
            m = vtag_merge(joined, m, share, got, k);
        }
        CHECK(same_hits(whole, n, joined, m));
    }
    vtag_release(snap);
    twin_down(&t);
}

/* Numbers that a sketch cannot hold: the segment is scanned by its rows. */
static void rows_beyond_1e15_have_no_sketch_and_are_still_found(void)
{
    shape s = {VTAG_DOT, VTAG_F32, 128, UNIFORM};
    uint64_t n = sketchy_items(&s), id, seed = t_seed();
    vtag_batch *b;
    vtag_tag tag;
    vtag_snap *snap;
    vtag_hit hit;
    size_t got = 0;
    float x[128];
    env e;
    env_up(&e);
    b = begin_for(e.db, n);
    tag = declare_as(b, "a@1", &s, 0);
    for (id = 0; id < n; id++) {
        vtag_vec v = vec(tag, 128, x);
        random_vector(&seed, x, 128, 1u << 22);
        if (id == n / 2) scale_vector(x, 128, 1e16f);
        put_b(b, id, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag), 0);
    snap = look(e.db);
    OK(vtag_vector(snap, n / 2, tag, 0, x, 128, NULL));
    OK(vtag_search(snap, vec(tag, 128, x), NULL, 1, &hit, &got));
    CHECK(got == 1 && hit.id == n / 2);
    vtag_release(snap);
    verify(e.db);
    env_down(&e);
}

static void a_query_beyond_1e15_is_answered_from_the_rows(void)
{
    shape s = {VTAG_L2SQ, VTAG_F32, 128, UNIFORM};
    vtag_search_opts o = {0};
    vtag_snap *snap;
    float q[3 * 128];
    twin t;
    twin_up(&t, s, sketchy_items(&s));
    snap = look(t.e.db);
    make_query(&t, q);
    make_query(&t, q + 128);
    make_query(&t, q + 256);
    scale_vector(q + 128, 128, 1e16f);
    CHECK(twins_agree(&t, snap, q, 3, o, 10));
    scale_vector(q + 128, 128, 1e16f); /* distances are infinite: no hits */
    CHECK(twins_agree(&t, snap, q, 3, o, 10));
    vtag_release(snap);
    twin_down(&t);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(every_kernel_makes_the_golden_sketches);
    RUN(bounds_contain_the_score_of_every_row);
    RUN(bounds_hold_at_any_scale_of_rows_and_queries);
    RUN(where_all_rows_are_candidates_none_is_lost);
    RUN(any_number_of_queries_is_answered_as_each_alone);
    RUN(blocks_of_sixteen_queries_are_answered_as_each_alone);
    RUN(shares_of_sketched_rows_merge_to_the_whole);
    RUN(rows_beyond_1e15_have_no_sketch_and_are_still_found);
    RUN(a_query_beyond_1e15_is_answered_from_the_rows);
    RUN(sketches_change_no_answer_under_cosine);
    RUN(sketches_change_no_answer_under_dot);
    RUN(sketches_change_no_answer_under_l2);
    return t_end();
}
