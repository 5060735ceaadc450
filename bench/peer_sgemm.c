/* peer_sgemm.c - a batch by matrix multiplication: OpenBLAS sgemm over blocks of rows, then
   a top-k of the scores. Both are in its time. "probe" tells what sgemm reaches, in GFLOP/s,
   so that the caller can pick OPENBLAS_CORETYPE. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include <cblas.h>
#include "peer.h"

enum { BLOCK = 2048 }; /* rows; 64 scores of each stay in the L2 cache */

static float *rows, *norms, *scores;

static void gemm(const float *q, size_t nq, const float *x, size_t n, size_t dim) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)nq, (int)n, (int)dim, 1, q, (int)dim,
                x, (int)dim, 0, scores, BLOCK);
}

/* Only what beats the worst hit is looked at twice. */
static void select_top(const peer *p, size_t i, size_t row, size_t n, size_t *have, size_t k) {
    const float *s = scores + i * BLOCK;
    peer_hit *hits = p->hits + i * k;
    size_t j;
    for (j = 0; j < n; j++) {
        float dist = p->l2 ? norms[row + j] - 2 * s[j] : 1 - s[j];
        if (*have < k || dist <= hits[k - 1].dist) peer_push(hits, have, k, row + j, dist);
    }
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    size_t dim = p->base.dim, have[PEER_BATCH] = {0}, row, i;
    const float *q = p->queries.x + from * dim;
    for (row = 0; row < p->base.n; row += BLOCK) {
        size_t m = p->base.n - row < BLOCK ? p->base.n - row : (size_t)BLOCK;
        gemm(q, n, rows + row * dim, m, dim);
        for (i = 0; i < n; i++) select_top(p, i, row, m, &have[i], k);
    }
    return 0;
}

static int load(peer *p) {
    size_t dim = p->base.dim, i, j;
    rows = peer_copy(&p->base);
    norms = malloc(p->base.n * sizeof *norms);
    if (!rows || !norms) return -1;
    for (i = 0; i < p->base.n; i++) {
        float s = 0;
        for (j = 0; j < dim; j++) s += rows[i * dim + j] * rows[i * dim + j];
        norms[i] = s;
    }
    snprintf(p->text, sizeof p->text, "OpenBLAS sgemm and a top-k, %s kernels",
             openblas_get_corename());
    return 0;
}

static int probe(void) {
    enum { DIM = 768, TIMES = 40 };
    float *x = calloc((size_t)BLOCK * DIM, sizeof *x), *q = calloc(PEER_BATCH * DIM, sizeof *q);
    uint64_t best = UINT64_MAX;
    int i;
    if (!x || !q) return 1;
    for (i = 0; i < TIMES; i++) {
        uint64_t t = peer_now();
        gemm(q, PEER_BATCH, x, BLOCK, DIM);
        t = peer_now() - t;
        if (t < best) best = t;
    }
    printf("%.0f %s\n", 2.0 * PEER_BATCH * BLOCK * DIM / (double)best, openblas_get_corename());
    return 0;
}

int main(int argc, char **argv) {
    peer p;
    memset(&p, 0, sizeof p);
    scores = malloc((size_t)PEER_BATCH * BLOCK * sizeof *scores);
    if (!scores) return 1;
    if (argc > 1 && !strcmp(argv[1], "probe")) return probe();
    p.load = load;
    p.search = search;
    return peer_run(&p);
}
