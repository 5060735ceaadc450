/* rank.c - figures about ranked answers; see rank.h. */
#include "rank.h"

#include <math.h>
#include <stdlib.h>

static size_t rank_least(size_t a, size_t b) { return a < b ? a : b; }

static double rank_dcg(const double *gain, size_t n)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < n; i++) sum += gain[i] * log(2.0) / log((double)i + 2);
    return sum;
}

double rank_ndcg(const double *gain, size_t n, const double *ideal, size_t m, size_t k)
{
    double best = rank_dcg(ideal, rank_least(m, k));
    return best > 0 ? rank_dcg(gain, rank_least(n, k)) / best : 0;
}

double rank_recall(const double *gain, size_t n, size_t relevant, size_t k)
{
    size_t i, found = 0;
    for (i = 0; i < n && i < k; i++) found += gain[i] > 0;
    return relevant ? (double)found / (double)relevant : 0;
}

double rank_mrr(const double *gain, size_t n, size_t k)
{
    size_t i;
    for (i = 0; i < n && i < k; i++) {
        if (gain[i] > 0) return 1 / ((double)i + 1);
    }
    return 0;
}

static int rank_has(const uint64_t *ids, size_t n, uint64_t id)
{
    size_t i;
    for (i = 0; i < n; i++) {
        if (ids[i] == id) return 1;
    }
    return 0;
}

double rank_overlap(const uint64_t *a, size_t na, const uint64_t *b, size_t nb)
{
    size_t i, both = 0, most = na > nb ? na : nb;
    for (i = 0; i < na; i++) both += (size_t)rank_has(b, nb, a[i]);
    return most ? (double)both / (double)most : 0;
}

double rank_biased(const uint64_t *a, size_t na, const uint64_t *b, size_t nb, double p)
{
    const uint64_t *s = na < nb ? a : b, *l = na < nb ? b : a; /* the shorter, the longer */
    size_t ns = rank_least(na, nb), nl = na < nb ? nb : na, d;
    double both = 0, at_s = 0, sum = 0, weight = 1;
    if (!ns) return 0;
    for (d = 1; d <= nl; d++) {
        weight *= p;
        both += rank_has(s, rank_least(d, ns), l[d - 1]);
        if (d <= ns) {
            both += s[d - 1] != l[d - 1] && rank_has(l, d, s[d - 1]);
            at_s = both;
            sum += both / (double)d * weight;
        } else {
            sum += (both + at_s * (double)(d - ns) / (double)ns) / (double)d * weight;
        }
    }
    return (1 - p) / p * sum + ((both - at_s) / (double)nl + at_s / (double)ns) * weight;
}

size_t rank_items(const vtag_hit *hits, size_t n, uint64_t skip, uint64_t *ids, size_t k)
{
    size_t i, got = 0;
    for (i = 0; i < n && got < k; i++) {
        if (hits[i].id != skip && !rank_has(ids, got, hits[i].id)) ids[got++] = hits[i].id;
    }
    return got;
}

uint64_t rank_random(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static int rank_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

rank_mean rank_interval(const double *x, size_t n)
{
    double means[RANK_RESAMPLES], sum = 0;
    uint64_t seed = RANK_SEED;
    rank_mean m = {0, 0, 0};
    size_t i, j;
    if (!n) return m;
    for (i = 0; i < n; i++) sum += x[i];
    m.mean = sum / (double)n;
    for (i = 0; i < RANK_RESAMPLES; i++) {
        for (sum = 0, j = 0; j < n; j++) sum += x[rank_random(&seed) % n];
        means[i] = sum / (double)n;
    }
    qsort(means, RANK_RESAMPLES, sizeof *means, rank_order);
    m.low = means[RANK_RESAMPLES / 40];
    m.high = means[RANK_RESAMPLES - 1 - RANK_RESAMPLES / 40];
    return m;
}
