/* refused.h - every call that looks at a snapshot refuses one: none at all, or one of before
   a fork. Include after vtag.h and test.h. */
#ifndef VTAG_TEST_REFUSED_H
#define VTAG_TEST_REFUSED_H

static inline void snapshot_is_refused(const vtag_snap *s)
{
    float x[1] = {0};
    vtag_vec q = {0, 1, NULL, 0, 0};
    vtag_item item;
    vtag_info info;
    vtag_cover cover;
    vtag_verdict verdict;
    vtag_policy policy;
    vtag_stat stat;
    vtag_event event;
    vtag_hit hit;
    vtag_report report;
    vtag_tag tag;
    const char *name;
    const void *p;
    uint64_t c = 0;
    size_t n = 0;
    q.x = x;
    ERR(VTAG_ARG, vtag_get(s, 1, &item));
    ERR(VTAG_ARG, vtag_vector(s, 1, 1, 0, x, 1, NULL));
    ERR(VTAG_ARG, vtag_find(s, "app@1", &tag));
    ERR(VTAG_ARG, vtag_tag_info(s, 0, &info));
    ERR(VTAG_ARG, vtag_tags(s, &c, &info, 1, &n));
    ERR(VTAG_ARG, vtag_items(s, 0, VTAG_ALL, &c, &item, 1, &n));
    ERR(VTAG_ARG, vtag_coverage(s, 0, 0, &cover));
    ERR(VTAG_ARG, vtag_judge(s, 0, NULL, &verdict));
    ERR(VTAG_ARG, vtag_policy_get(s, &policy));
    ERR(VTAG_ARG, vtag_stats(s, &stat));
    ERR(VTAG_ARG, vtag_history(s, &c, &event, 1, &n));
    ERR(VTAG_ARG, vtag_meta_get(s, "x", &p, &n));
    ERR(VTAG_ARG, vtag_metas(s, &c, &name, 1, &n));
    ERR(VTAG_ARG, vtag_search(s, q, NULL, 1, &hit, &n));
    ERR(VTAG_ARG, vtag_verify(s, &report, NULL, NULL));
    ERR(VTAG_ARG, vtag_copy(s, "nowhere", NULL, NULL));
}

#endif
