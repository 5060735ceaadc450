/* peer_faiss.cpp - FAISS IndexFlat of Debian: an SSE build, with whatever OpenBLAS is told. */
#include <faiss/IndexFlat.h>
#include <omp.h>

#include "peer.h"

static faiss::IndexFlat *flat;
static faiss::Index::idx_t labels[PEER_BATCH * PEER_K];
static float dists[PEER_BATCH * PEER_K];

static int load(peer *p) {
    omp_set_num_threads(1);
    flat = new faiss::IndexFlat((faiss::Index::idx_t)p->base.dim,
                                p->l2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
    flat->add((faiss::Index::idx_t)p->base.n, p->base.x);
    snprintf(p->text, sizeof p->text, "FAISS %d.%d.%d IndexFlat, Debian's SSE build",
             FAISS_VERSION_MAJOR, FAISS_VERSION_MINOR, FAISS_VERSION_PATCH);
    return 0;
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    flat->search((faiss::Index::idx_t)n, p->queries.x + from * p->queries.dim,
                 (faiss::Index::idx_t)k, dists, labels);
    for (size_t i = 0; i < n * k; i++) {
        peer_hit h = {(uint64_t)labels[i], p->l2 ? dists[i] : 1 - dists[i], 0};
        p->hits[i] = h;
    }
    return 0;
}

int main() {
    static peer p;
    p.load = load;
    p.search = search;
    return peer_run(&p);
}
