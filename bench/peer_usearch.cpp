/* peer_usearch.cpp - usearch's exact search over the caller's matrix, through its C interface,
   which is compiled for this machine together with its kernels. */
#include "peer.h"
#include "usearch.h"

static float *rows;
static usearch_key_t keys[PEER_BATCH * PEER_K];
static usearch_distance_t dists[PEER_BATCH * PEER_K];

static int load(peer *p) {
    rows = peer_copy(&p->base);
    snprintf(p->text, sizeof p->text, "usearch exact search, f32, %s", usearch_version());
    return rows ? 0 : -1;
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    usearch_error_t error = NULL;
    size_t stride = p->base.dim * sizeof(float);
    usearch_exact_search(rows, p->base.n, stride, p->queries.x + from * p->queries.dim, n, stride,
                         usearch_scalar_f32_k, p->base.dim,
                         p->l2 ? usearch_metric_l2sq_k : usearch_metric_ip_k, k, 1, keys,
                         k * sizeof *keys, dists, k * sizeof *dists, &error);
    p->why = error;
    for (size_t i = 0; i < n * k && !error; i++) {
        peer_hit h = {keys[i], dists[i], 0};
        p->hits[i] = h;
    }
    return error ? -1 : 0;
}

int main() {
    static peer p;
    p.load = load;
    p.search = search;
    return peer_run(&p);
}
