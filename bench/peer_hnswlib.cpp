/* peer_hnswlib.cpp - hnswlib's BruteforceSearch, compiled for this machine. */
#include <hnswlib/hnswlib.h>

#include "peer.h"

static hnswlib::SpaceInterface<float> *space;
static hnswlib::BruteforceSearch<float> *index_of;

static int load(peer *p) {
    if (p->l2) space = new hnswlib::L2Space(p->base.dim);
    else space = new hnswlib::InnerProductSpace(p->base.dim);
    index_of = new hnswlib::BruteforceSearch<float>(space, p->base.n);
    for (size_t i = 0; i < p->base.n; i++) index_of->addPoint(p->base.x + i * p->base.dim, i);
    snprintf(p->text, sizeof p->text, "hnswlib BruteforceSearch, -O3 for this machine");
    return 0;
}

static int search(peer *p, size_t from, size_t n, size_t k) {
    for (size_t i = 0; i < n; i++) {
        auto top = index_of->searchKnn(p->queries.x + (from + i) * p->queries.dim, k);
        for (size_t j = top.size(); j > 0; j--, top.pop()) {
            peer_hit h = {top.top().second, top.top().first, 0};
            p->hits[i * k + j - 1] = h;
        }
    }
    return 0;
}

int main() {
    static peer p;
    p.load = load;
    p.search = search;
    return peer_run(&p);
}
