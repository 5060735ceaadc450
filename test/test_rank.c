/* test_rank.c - the figures of tools/rank.c against values worked out by hand. */
#include "../tools/rank.c"
#include "test.h"

static int near(double a, double b) { return fabs(a - b) < 5e-7; }

static void ndcg_discounts_by_the_logarithm_of_the_rank(void)
{
    /* (3/1 + 2/log2(4)) / (3/1 + 2/log2(3) + 1/log2(4)) = 4 / 4.7618595 */
    const double gain[] = {3, 0, 2}, ideal[] = {3, 2, 1};
    CHECK(near(rank_ndcg(gain, 3, ideal, 3, 10), 0.840008));
    CHECK(near(rank_ndcg(ideal, 3, ideal, 3, 10), 1));
    CHECK(near(rank_ndcg(gain, 3, ideal, 3, 1), 1));
    CHECK(near(rank_ndcg(gain, 0, ideal, 3, 10), 0));
    CHECK(near(rank_ndcg(gain, 3, ideal, 0, 10), 0));
}

static void ndcg_at_k_knows_no_more_than_k_relevant_documents(void)
{
    const double gain[] = {1, 1}, ideal[] = {1, 1, 1, 1};
    CHECK(near(rank_ndcg(gain, 2, ideal, 4, 2), 1));
    CHECK(near(rank_ndcg(gain, 2, ideal, 4, 4), 1.6309298 / 2.5616063));
}

static void recall_counts_what_was_found_of_all(void)
{
    const double gain[] = {0, 2, 1, 0, 1};
    CHECK(near(rank_recall(gain, 5, 6, 10), 0.5));
    CHECK(near(rank_recall(gain, 5, 6, 3), 1.0 / 3));
    CHECK(near(rank_recall(gain, 5, 0, 3), 0));
}

static void mrr_is_of_the_first_relevant_hit_within_k(void)
{
    const double gain[] = {0, 0, 2, 1};
    CHECK(near(rank_mrr(gain, 4, 10), 1.0 / 3));
    CHECK(near(rank_mrr(gain, 4, 2), 0));
}

static void overlap_is_over_the_longer_answer(void)
{
    const uint64_t a[] = {1, 2, 3, 4}, b[] = {4, 9, 1};
    CHECK(near(rank_overlap(a, 4, b, 3), 0.5));
    CHECK(near(rank_overlap(a, 4, a, 4), 1));
    CHECK(near(rank_overlap(a, 4, b, 0), 0));
    CHECK(near(rank_overlap(a, 0, b, 0), 0));
}

static void rank_biased_overlap_follows_its_paper(void)
{
    const uint64_t a[] = {1, 2, 3}, b[] = {1, 3, 2}, c[] = {7, 8, 9}, d[] = {1};
    CHECK(near(rank_biased(a, 3, a, 3, 0.9), 1));
    CHECK(near(rank_biased(a, 3, c, 3, 0.9), 0));
    CHECK(near(rank_biased(a, 3, b, 0, 0.9), 0));
    /* agreements 1, 1/2, 1: 0.1/0.9 * (0.9 + 0.405 + 0.729) + 0.729 */
    CHECK(near(rank_biased(a, 3, b, 3, 0.9), 0.955));
    CHECK(near(rank_biased(b, 3, a, 3, 0.9), 0.955));
    /* one against three: the short one is taken to go on agreeing wholly */
    CHECK(near(rank_biased(a, 3, d, 1, 0.9), 1));
    CHECK(near(rank_biased(d, 1, a, 3, 0.9), 1));
    /* d = {1}, b2 = {2, 1}: X1 = 0, X2 = 1, s = 1, l = 2, so
       0.1/0.9 * (0 + 1/2 * 0.81) + (1/2 + 0) * 0.81 */
    {
        const uint64_t e[] = {2, 1};
        CHECK(near(rank_biased(e, 2, d, 1, 0.9), 0.45));
    }
}

static void parts_of_an_item_count_once(void)
{
    vtag_hit hits[6];
    uint64_t ids[4];
    size_t i;
    const uint64_t of[] = {5, 5, 7, 5, 8, 9};
    memset(hits, 0, sizeof hits);
    for (i = 0; i < 6; i++) hits[i].id = of[i];
    CHECK_EQ(rank_items(hits, 6, UINT64_MAX, ids, 3), 3);
    CHECK(ids[0] == 5 && ids[1] == 7 && ids[2] == 8);
    CHECK_EQ(rank_items(hits, 6, 5, ids, 4), 3);
    CHECK(ids[0] == 7 && ids[1] == 8 && ids[2] == 9);
    CHECK_EQ(rank_items(hits, 0, 5, ids, 4), 0);
}

static void an_interval_is_repeatable_and_holds_its_mean(void)
{
    double x[400];
    rank_mean a, b;
    uint64_t seed = 7;
    size_t i;
    for (i = 0; i < 400; i++) x[i] = (double)(rank_random(&seed) % 1000) / 1000;
    a = rank_interval(x, 400);
    b = rank_interval(x, 400);
    CHECK(!memcmp(&a, &b, sizeof a));
    CHECK(a.low < a.mean && a.mean < a.high);
    /* the deviation of a mean of 400 uniform numbers is 0.0144; 1.96 of it each way */
    CHECK(fabs(a.high - a.low - 2 * 1.96 * 0.0144) < 0.006);
    for (i = 0; i < 400; i++) x[i] = 0.25;
    a = rank_interval(x, 400);
    CHECK(near(a.low, 0.25) && near(a.mean, 0.25) && near(a.high, 0.25));
    a = rank_interval(x, 0);
    CHECK(near(a.mean, 0));
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(ndcg_discounts_by_the_logarithm_of_the_rank);
    RUN(ndcg_at_k_knows_no_more_than_k_relevant_documents);
    RUN(recall_counts_what_was_found_of_all);
    RUN(mrr_is_of_the_first_relevant_hit_within_k);
    RUN(overlap_is_over_the_longer_answer);
    RUN(rank_biased_overlap_follows_its_paper);
    RUN(parts_of_an_item_count_once);
    RUN(an_interval_is_repeatable_and_holds_its_mean);
    return t_end();
}
