/* sketched.h - rows and their sketch without a store, by the engine's private functions

   Include after twin.h. */
#ifndef VTAG_TEST_SKETCHED_H
#define VTAG_TEST_SKETCHED_H

typedef struct sketched {
    shape    s;
    uint32_t n, pad, wide, stride;
    vtf_row *rows;        /* their norms                       */
    float   *decoded;     /* [n][pad]                          */
    uint8_t *stored, *base;
    size_t   bytes;       /* of the sketch at base             */
    vt_sketch k;
    vtag_err err;         /* VALUE: it has none                */
} sketched;

static inline void sketched_row(sketched *d, uint32_t i, const float *x)
{
    uint8_t *to = d->stored + (size_t)i * d->stride;
    float *decoded = d->decoded + (size_t)i * d->pad;
    vt_encode((uint32_t)d->s.codec, x, d->s.dim, to);
    vt_decode((uint32_t)d->s.codec, to, d->s.dim, d->s.dim, decoded);
    d->rows[i].norm = rule_norm(decoded, d->s.dim);
}

/* The sketch of rows that are in place, by kernels k. */
static inline void sketched_make(sketched *d, const vt_kernels *k)
{
    vt_encoder e;
    memset(&e, 0, sizeof e);
    e.k = k;
    e.metric = d->s.metric;
    e.codec = (uint32_t)d->s.codec;
    e.dim = d->s.dim;
    e.stride = d->stride;
    e.rows = d->rows;
    e.x = d->stored;
    e.f = vt_sketch_head(65536, d->n, d->s.dim);
    e.p = vt_sketch_parts(d->n, e.f.dim);
    e.base = d->base;
    memset(d->base, 0, d->bytes);
    d->err = vt_sketch_begin(&e);
    if (!d->err) d->err = vt_sketch_some(&e);
    if (!d->err) vt_sketch_end(&e);
    d->k.rows = d->n;
    d->k.dim = e.f.dim;
    d->k.seed = e.f.seed;
    d->k.mean = (const float *)(void *)(d->base + e.p.mean);
    d->k.factors = (const vtf_factors *)(void *)(d->base + e.p.factors);
    d->k.codes = d->base + e.p.codes;
}

static inline void sketched_up(sketched *d, shape s, uint32_t n, uint64_t seed, const vt_kernels *k)
{
    float *x = malloc(s.dim * sizeof *x);
    uint32_t i;
    memset(d, 0, sizeof *d);
    d->s = s;
    d->n = n;
    d->pad = vt_pad(s.dim);
    d->wide = vt_sketch_dim(s.dim);
    d->stride = vt_stride(s.dim, (uint32_t)s.codec);
    d->bytes = (size_t)vt_sketch_parts(n, d->wide).bytes;
    d->rows = calloc(n, sizeof *d->rows);
    d->decoded = calloc((size_t)n * d->pad, sizeof *d->decoded);
    d->stored = calloc(n, d->stride);
    d->base = calloc(1, d->bytes);
    for (i = 0; i < n; i++) {
        make_vector(&s, &seed, i, x);
        sketched_row(d, i, x);
    }
    free(x);
    sketched_make(d, k);
}

static inline void sketched_down(sketched *d)
{
    free(d->rows);
    free(d->decoded);
    free(d->stored);
    free(d->base);
}

/* ---- Queries ---------------------------------------------------------------------- */

typedef struct fitted { /* a query against a sketch */
    float    *x;        /* [pad] */
    float     norm;
    int8_t   *h;
    vt_bound  b;
    int       fits;
} fitted;

static inline void fitted_up(fitted *q, const sketched *d, const float *x, const vt_kernels *k)
{
    float *v = malloc(d->wide * sizeof *v);
    uint32_t i;
    q->x = calloc(d->pad, sizeof *q->x);
    q->h = malloc(d->wide);
    memcpy(q->x, x, d->s.dim * sizeof *x);
    q->norm = rule_norm(x, d->s.dim);
    for (i = 0; i < d->s.dim; i++) v[i] = d->s.metric == VTAG_COSINE ? x[i] * (1 / q->norm) : x[i];
    q->fits = vt_bound_fit(&q->b, k, d->s.metric, &d->k, d->s.dim, v, q->h);
    free(v);
}

static inline void fitted_down(fitted *q)
{
    free(q->x);
    free(q->h);
}

#endif
