/* rank.h - figures about ranked answers: of one against judgements, of two against
   each other, and how sure a mean of them is. */
#ifndef RANK_H
#define RANK_H
#include <stddef.h>
#include <stdint.h>

#include "../vtag.h"

/* Against judgements: gain[n] of the hits in their order, 0 for what is not relevant.
   All look at the first k hits only. */

/* Discounted gain, gain / log2(rank + 1), over that of the best order there could be:
   ideal[m] are the gains of all relevant documents, descending. 0 if there are none. */
double rank_ndcg(const double *gain, size_t n, const double *ideal, size_t m, size_t k);
/* Relevant hits over all relevant documents. */
double rank_recall(const double *gain, size_t n, size_t relevant, size_t k);
/* One over the rank of the first relevant hit. */
double rank_mrr(const double *gain, size_t n, size_t k);

/* Two answers to one query, ids without repeats. */

/* Ids that both have, over the length of the longer; 0 if both are empty. */
double rank_overlap(const uint64_t *a, size_t na, const uint64_t *b, size_t nb);
/* Rank-biased overlap [Webber, Moffat, Zobel: A similarity measure for indefinite
   rankings, ACM TOIS 28 (2010), eq. 32]: weight p for each rank further down, and what
   lies below the answers is taken to agree as they do. 1 for equal answers. */
double rank_biased(const uint64_t *a, size_t na, const uint64_t *b, size_t nb, double p);

/* The items of hits[n] without repeats by their parts, the nearest first, without skip
   (UINT64_MAX: none): at most k to ids; how many. */
size_t rank_items(const vtag_hit *hits, size_t n, uint64_t skip, uint64_t *ids, size_t k);

#define RANK_RESAMPLES 2000
#define RANK_SEED 1
typedef struct rank_mean { double mean, low, high; } rank_mean;
/* The mean of x[n] and its 95 % interval: percentiles of the means of RANK_RESAMPLES
   samples of n drawn with repeats, from a fixed seed, so that the same x gives the
   same interval. */
rank_mean rank_interval(const double *x, size_t n);

/* The next of a deterministic sequence [splitmix64]. */
uint64_t rank_random(uint64_t *seed);

#endif /* RANK_H */
