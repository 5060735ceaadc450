/* numbers.h - items of which id and value give the vector, so that readers can check it

   Define DIM and include test.h and vtag.h first. */
#ifndef VTAG_TEST_NUMBERS_H
#define VTAG_TEST_NUMBERS_H

static inline void numbers(uint64_t a, uint64_t b, float *x)
{
    uint64_t seed = a * 1000003u + b;
    int i;
    for (i = 0; i < DIM; i++) x[i] = t_float(&seed) + 2;
}

/* The item alone under tag 0. */
static inline vtag_err put_one(vtag_batch *b, vtag_tag tag, uint64_t id, uint64_t value)
{
    float x[DIM];
    vtag_item item;
    vtag_vec v = {0, DIM, NULL, 0, 0};
    memset(&item, 0, sizeof item);
    item.id = id;
    item.data = &value;
    item.size = sizeof value;
    numbers(id, value, x);
    v.tag = tag;
    v.x = x;
    return vtag_put(b, &item, &v, tag ? 1 : 0);
}

#endif
