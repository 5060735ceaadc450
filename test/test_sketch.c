// build: plain
/* test_sketch.c - a search by sketches answers what a search without them does */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "twin.h"

static const uint32_t dims[] = {40, 100, 128, 384, 640, 768, 1024, 1536};
static const char *const kind_names[] = {
    "clustered", "uniform", "duplicates", "near duplicates", "offset", "tiny", "huge", "mixed",
    "zeros", "one-hot", "sparse", "opposites"
};

static void say_shape(const shape *s)
{
    fprintf(stderr, "  metric %d, codec %d, dim %u, %s\n", (int)s->metric, (int)s->codec, s->dim,
            kind_names[s->data]);
}

/* ---- Twins: any data, any question ------------------------------------------------- */

static int keep_some(void *ctx, uint64_t id) { return id * 2654435761u % 100 < *(uint32_t *)ctx; }

/* The distance of one of the first hits of q, as a limit that must let it in. */
static float limit_at_a_hit(twin *t, const vtag_snap *s, const float *q)
{
    vtag_hit hits[30];
    vtag_search_opts o = {0};
    size_t n = 0;
    o.preview = 1;
    OK(vtag_search(s, vec(t->tag[1], t->s.dim, q), &o, 30, hits, &n));
    return n ? hits[t_below(&t->seed, n)].dist : 0;
}

/* Ascending ids, some twice, some that nobody has. */
static size_t some_ids(twin *t, uint64_t *ids, size_t room)
{
    uint64_t id = t_below(&t->seed, 50), step = 1 + t_below(&t->seed, 9);
    size_t n = 0;
    while (n < room && id < t->items + 50) {
        ids[n++] = id;
        if (t_below(&t->seed, 10)) id += t_below(&t->seed, step) + 1;
    }
    return n;
}

/* One question of random kind. */
static int ask_at_random(twin *t, const vtag_snap *s)
{
    static const size_t ks[] = {1, 1, 10, 10, 10, 128, 129, 1000, 100000};
    static const uint32_t percents[] = {0, 1, 10, 50, 100};
    static uint64_t ids[4000];
    vtag_search_opts o = {0};
    vtag_ids only = {ids, 0};
    float *q = malloc(9 * t->s.dim * sizeof *q), limit;
    size_t nq = t_below(&t->seed, 4) ? 1 : 1 + t_below(&t->seed, 9), k = ks[t_below(&t->seed, 9)], i;
    uint32_t percent = percents[t_below(&t->seed, 5)];
    int same;
    for (i = 0; i < nq; i++) make_query(t, q + i * t->s.dim);
    if (t_below(&t->seed, 4) == 0) o.keep = keep_some, o.keep_ctx = &percent;
    if (t_below(&t->seed, 5) == 0) only.n = some_ids(t, ids, LENGTH(ids)), o.only = &only;
    if (t_below(&t->seed, 3) == 0) limit = limit_at_a_hit(t, s, q), o.max_dist = &limit;
    o.fresh_only = t_below(&t->seed, 4) == 0;
    if (t_below(&t->seed, 3) == 0) o.parts = 7, o.part = (uint32_t)t_below(&t->seed, 7);
    same = CHECK(twins_agree(t, s, q, nq, o, k));
    free(q);
    return same;
}

static void ask_about(shape s, int questions)
{
    twin t;
    vtag_snap *snap;
    int i, same = 1;
    twin_up(&t, s, sketchy_items(&s));
    snap = look(t.e.db);
    for (i = 0; i < questions && same; i++) same = ask_at_random(&t, snap);
    if (!same) say_shape(&s);
    vtag_release(snap);
    twin_down(&t);
}

/* Every metric on every data, with dims and codecs dealt out in turn; all of them with
   ALL=1 in the environment. */
static void ask_about_all_data_under(vtag_metric metric)
{
    int all = getenv("ALL") != NULL;
    uint64_t turn = t_seed() * 5 + (uint64_t)metric;
    shape s;
    s.metric = metric;
    for (s.data = 0; s.data < KINDS; s.data++) {
        uint32_t of, n = LENGTH(dims) * 3;
        for (of = 0; of < n; of += all ? 1 : 4, turn += all ? 1 : 5) {
            s.dim = dims[turn % n / 3];
            s.codec = (vtag_codec)(turn % 3);
            if (is_sketchy(&s)) ask_about(s, 24);
        }
    }
}

static void sketches_change_no_answer_under_cosine(void) { ask_about_all_data_under(VTAG_COSINE); }
static void sketches_change_no_answer_under_dot(void) { ask_about_all_data_under(VTAG_DOT); }
static void sketches_change_no_answer_under_l2(void) { ask_about_all_data_under(VTAG_L2SQ); }

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(sketches_change_no_answer_under_cosine);
    RUN(sketches_change_no_answer_under_dot);
    RUN(sketches_change_no_answer_under_l2);
    return t_end();
}
