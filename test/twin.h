/* twin.h - one tag with sketches and its twin without: same items, same rows

   What a search answers may not depend on whether a segment has a sketch. So a
   twin is a store with two tags that hold the same vectors, one of them declared
   VTAG_NO_SKETCH, and every question is asked of both. Include after util.h. */
#ifndef VTAG_TEST_TWIN_H
#define VTAG_TEST_TWIN_H

typedef enum kind { /* of data */
    CLUSTERED, UNIFORM, DUPLICATES, NEAR_DUPLICATES, OFFSET, TINY, HUGE_ONES, MIXED,
    ZEROS, ONE_HOT, SPARSE, OPPOSITES, KINDS
} kind;

typedef struct shape {
    vtag_metric metric;
    vtag_codec  codec;
    uint32_t    dim;
    kind        data;
} shape;

typedef struct twin {
    env      e;
    vtag_tag tag[2];  /* with and without sketches    */
    shape    s;
    uint64_t seed;
    uint64_t items;
    float   *x;       /* [items][dim]: of its part 0  */
} twin;

/* ---- Data -------------------------------------------------------------------- */

static inline void scale_vector(float *x, uint32_t dim, float by)
{
    uint32_t i;
    for (i = 0; i < dim; i++) x[i] *= by;
}

static inline void near_one_of_8(const shape *s, uint64_t *seed, float *x)
{
    uint64_t centre = t_below(seed, 8) + 1;
    uint32_t i;
    for (i = 0; i < s->dim; i++) x[i] = t_float(&centre) + t_float(seed) * 0.1f;
}

/* The same for all, but for the last bit of a few numbers. */
static inline void one_ulp_away(const shape *s, uint64_t *seed, float *x)
{
    uint64_t same = 77;
    uint32_t i;
    for (i = 0; i < s->dim; i++) x[i] = t_float(&same);
    for (i = 0; i < 3; i++) {
        float *y = &x[t_below(seed, s->dim)];
        *y = nextafterf(*y, t_below(seed, 2) ? 2.0f : -2.0f);
    }
}

static inline void mostly_zero(const shape *s, uint64_t *seed, float *x, uint32_t set)
{
    uint32_t i;
    memset(x, 0, s->dim * sizeof *x);
    for (i = 0; i < set; i++) x[t_below(seed, s->dim)] = t_float(seed) + 1.5f;
}

/* Vector i of a shape's data. Halves have less room. */
static inline void make_vector(const shape *s, uint64_t *seed, uint64_t i, float *x)
{
    int half = s->codec == VTAG_F16;
    uint32_t j;
    random_vector(seed, x, s->dim, 1u << 22);
    switch (s->data) {
    case CLUSTERED:       near_one_of_8(s, seed, x); break;
    case DUPLICATES:      i = 5; random_vector(&i, x, s->dim, 1u << 22); break;
    case NEAR_DUPLICATES: one_ulp_away(s, seed, x); break;
    case OFFSET:          for (j = 0; j < s->dim; j++) x[j] += half ? 1e4f : 1e6f; break;
    case TINY:            scale_vector(x, s->dim, half ? 1e-4f : 1e-12f); break;
    case HUGE_ONES:       scale_vector(x, s->dim, half ? 6e4f : 1e12f); break;
    case MIXED:           scale_vector(x, s->dim, powf(10, t_float(seed) * (half ? 3 : 6))); break;
    case ZEROS:           if (i % 3) memset(x, 0, s->dim * sizeof *x); break;
    case ONE_HOT:         memset(x, 0, s->dim * sizeof *x), x[t_below(seed, s->dim)] = 1; break;
    case SPARSE:          mostly_zero(s, seed, x, 3); break;
    case OPPOSITES:       if (i % 2) scale_vector(x, s->dim, 1e3f); break;
    default: break;
    }
    if (s->data == ZEROS && s->metric == VTAG_COSINE) x[i % s->dim] = 1; /* no zero has a direction */
}

/* ---- Stores -------------------------------------------------------------------- */

static inline vtag_tag declare_as(vtag_batch *b, const char *name, const shape *s, uint32_t flags)
{
    vtag_spec spec;
    vtag_tag tag = 0;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = s->dim;
    spec.metric = s->metric;
    spec.codec = s->codec;
    spec.flags = flags;
    MUST(vtag_declare(b, &spec, &tag));
    return tag;
}

/* Puts item id with parts vectors, the same under both tags. */
static inline void twin_put(twin *t, vtag_batch *b, uint64_t id, uint32_t parts)
{
    vtag_vec v[8];
    float *x = malloc((size_t)parts * t->s.dim * sizeof *x);
    uint32_t p;
    for (p = 0; p < parts; p++) {
        make_vector(&t->s, &t->seed, id + p, x + (size_t)p * t->s.dim);
        v[p] = vec(t->tag[0], t->s.dim, x + (size_t)p * t->s.dim);
        v[parts + p] = vec(t->tag[1], t->s.dim, v[p].x);
    }
    memcpy(t->x + id * t->s.dim, x, t->s.dim * sizeof *x);
    put_b(b, id, NULL, v, 2 * parts);
    free(x);
}

static inline vtag_batch *begin_for(vtag_db *db, uint64_t rows)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    o.expect_rows = rows;
    MUST(vtag_begin(db, &o, &b));
    return b;
}

/* The sketches of a tag's segments. */
static inline int sketches_of(vtag_db *db, vtag_tag tag)
{
    vtag_snap *s = look(db);
    const vt_rows *rows = &s->state->rows;
    vt_sketch k;
    size_t i;
    int n = 0;
    for (i = 0; i < rows->n; i++)
        n += rows->a[i].f.tag == tag &&
             vt_seg_sketch(s->state->file, &rows->a[i], vt_tags_get(&s->state->tags, tag)->f.dim, &k);
    vtag_release(s);
    return n;
}

/* Items of which the first rows fill 1 MiB: as many as get a sketch. */
static inline uint64_t sketchy_items(const shape *s)
{
    return VT_SKETCHY / vt_stride(s->dim, (uint32_t)s->codec) + 16;
}

/* Whether a tag of this shape gets sketches: they must be half of a row at most. */
static inline int is_sketchy(const shape *s)
{
    return 2 * (vt_sketch_dim(s->dim) / 2 + 16) <= vt_stride(s->dim, (uint32_t)s->codec);
}

/* Items [0, n) with a sketch that covers them, then deletions (groups of 16 wholly and
   partly dead), stale items, replaced ones, some of several parts, and rows behind the
   sketch and in segments of their own. */
static inline void twin_up(twin *t, shape s, uint64_t n)
{
    uint64_t more = n / 8 + 20, id;
    vtag_batch *b;
    memset(t, 0, sizeof *t);
    env_up(&t->e);
    t->s = s;
    t->seed = t_seed() * 1000 + (uint64_t)s.data;
    t->items = n + more;
    t->x = calloc((size_t)t->items * s.dim, sizeof *t->x);
    b = begin_for(t->e.db, n + more / 2);
    t->tag[0] = declare_as(b, "with@1", &s, 0);
    t->tag[1] = declare_as(b, "without@1", &s, VTAG_NO_SKETCH);
    for (id = 0; id < n; id++) twin_put(t, b, id, id % 97 == 7 ? 3 : 1);
    OK(vtag_commit(b));
    OK(vtag_seal(t->e.db, NULL, NULL));
    CHECK_EQ(sketches_of(t->e.db, t->tag[0]) > 0, is_sketchy(&s));
    CHECK_EQ(sketches_of(t->e.db, t->tag[1]), 0);
    b = begin(t->e.db);
    for (id = n; id < t->items; id++) twin_put(t, b, id, id % 31 == 7 ? 2 : 1);
    for (id = 40; id < 85; id++) OK(vtag_del(b, id));
    for (id = 90; id < n; id += 1 + t_below(&t->seed, 60)) OK(vtag_del(b, id));
    for (id = 3; id < t->items; id += 1 + t_below(&t->seed, 40))
        if (vt_batch_get(b, VTF_S_ITEMS, 0, id)) put_b(b, id, "new text", NULL, 0);
    for (id = 8; id < 40; id += 5) twin_put(t, b, id, 2);
    OK(vtag_commit(b));
}

static inline void twin_down(twin *t)
{
    free(t->x);
    env_down(&t->e);
}

/* ---- Questions -------------------------------------------------------------------- */

/* A query that is hard for this data: a row, the rows' mean, a row's negative, near it,
   at right angles to it, or of the data but not in it. */
static inline void make_query(twin *t, float *q)
{
    const float *row = t->x + t_below(&t->seed, t->items) * t->s.dim;
    uint32_t i, j, how = (uint32_t)t_below(&t->seed, 6);
    memcpy(q, row, t->s.dim * sizeof *q);
    if (how == 0) make_vector(&t->s, &t->seed, 1, q);
    if (how == 1) scale_vector(q, t->s.dim, -1);
    if (how == 2) q[0] = nextafterf(q[0], 9);
    for (i = 0; how == 3 && i < t->s.dim; i++)
        for (q[i] = 0, j = 0; j < 16; j++) q[i] += t->x[j * t->s.dim + i] / 16;
    for (i = 0; how == 4 && i + 1 < t->s.dim; i += 2) q[i] = row[i + 1], q[i + 1] = -row[i];
    for (i = j = 0; i < t->s.dim; i++) j |= q[i] != 0;
    if (!j) q[t_below(&t->seed, t->s.dim)] = 1;
}

/* Asks both twins and wants the same, to the bit. */
static inline int twins_agree(const twin *t, const vtag_snap *s, const float *q, size_t nq,
                              vtag_search_opts o, size_t k)
{
    vtag_hit *hits[2];
    size_t *n[2], i;
    int same = 1, w;
    o.preview = 1;
    for (w = 0; w < 2; w++) {
        hits[w] = calloc(nq * k + 1, sizeof **hits);
        n[w] = calloc(nq, sizeof **n);
        same &= OK(vtag_search_many(s, vec(t->tag[w], t->s.dim, q), nq, &o, k, hits[w], n[w]));
    }
    for (i = 0; i < nq && same; i++)
        same = same_hits(hits[0] + i * k, n[0][i], hits[1] + i * k, n[1][i]);
    for (w = 0; w < 2; w++) free(hits[w]), free(n[w]);
    return same;
}

#endif
