/* test_data.c - real data: SIFT with its official answers, histograms full of ties, and
   a migration between two releases of GloVe. Skips, and says so, where there is none. */
#include "engine.h"
#include "test.h"
#include "util.h"

/* ../shared/data, seen from the repository that this file was compiled in. */
static FILE *open_data(const char *name)
{
    char path[700];
    const char *slash = strrchr(__FILE__, '/');
    FILE *f;
    snprintf(path, sizeof path, "%.*s../../shared/data/%s", slash ? (int)(slash - __FILE__ + 1) : 0, __FILE__, name);
    f = fopen(path, "rb");
    if (!f) printf("skipped: no ../shared/data/%s here\n", name);
    return f;
}

/* Rows of {dim, dim values of 4 bytes}: fvecs and ivecs. */
static void *read_vecs(const char *name, size_t rows, uint32_t dim)
{
    FILE *f = open_data(name);
    uint32_t *x = malloc(rows * dim * sizeof *x), d;
    size_t i;
    if (!f) {
        free(x);
        return NULL;
    }
    for (i = 0; i < rows; i++) {
        REQUIRE(fread(&d, 4, 1, f) == 1 && d == dim);
        REQUIRE(fread(x + i * dim, 4, dim, f) == dim);
    }
    fclose(f);
    return x;
}

static float *read_text(const char *name, size_t rows, uint32_t dim)
{
    FILE *f = open_data(name);
    float *x = malloc(rows * dim * sizeof *x);
    size_t i;
    if (!f) {
        free(x);
        return NULL;
    }
    for (i = 0; i < rows * dim; i++) REQUIRE(fscanf(f, "%f", &x[i]) == 1);
    fclose(f);
    return x;
}

static float *read_npy(const char *name, size_t rows, uint32_t dim)
{
    FILE *f = open_data(name);
    float *x = malloc(rows * dim * sizeof *x);
    unsigned char head[10];
    if (!f) {
        free(x);
        return NULL;
    }
    REQUIRE(fread(head, 1, 10, f) == 10 && !memcmp(head, "\x93NUMPY", 6));
    REQUIRE(fseek(f, 10 + head[8] + 256 * head[9], SEEK_SET) == 0);
    REQUIRE(fread(x, dim * sizeof *x, rows, f) == rows);
    fclose(f);
    return x;
}

static void load_rows(env *e, vtag_tag tag, const float *x, size_t rows, uint32_t dim)
{
    size_t i;
    vtag_batch *b = begin(e->db);
    for (i = 0; i < rows; i++) {
        vtag_vec v = vec(tag, dim, x + i * dim);
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
}

/* ---- SIFT ------------------------------------------------------------------------------- */

static void siftsmall_distances_equal_the_official_answers(void)
{
    enum { ROWS = 10000, QUERIES = 100, K = 100, DIM = 128 };
    float *base = read_vecs("siftsmall/siftsmall_base.fvecs", ROWS, DIM);
    float *query = read_vecs("siftsmall/siftsmall_query.fvecs", QUERIES, DIM);
    uint32_t *truth = read_vecs("siftsmall/siftsmall_groundtruth.ivecs", QUERIES, K);
    size_t i, k, n, equal = 0, same_id = 0;
    vtag_hit hits[K];
    vtag_snap *s;
    vtag_tag tag;
    env e;
    if (base && query && truth) {
        env_up(&e);
        tag = declare(e.db, "sift@1", DIM, VTAG_L2SQ);
        load_rows(&e, tag, base, ROWS, DIM);
        s = look(e.db);
        for (i = 0; i < QUERIES; i++) {
            OK(vtag_search(s, vec(tag, DIM, query + i * DIM), NULL, K, hits, &n));
            CHECK_EQ(n, K);
            for (k = 0; k < n; k++) {
                uint32_t id = truth[i * K + k];
                equal += hits[k].dist == rule_dist(VTAG_L2SQ, base + id * DIM, query + i * DIM, DIM);
                same_id += hits[k].id == id;
            }
        }
        vtag_release(s);
        env_down(&e);
        CHECK_EQ(equal, QUERIES * K);
        CHECK(same_id > 9950); /* 0.18 % of the positions differ, by ties alone */
        printf("siftsmall: %lu of 10000 distances equal, %lu ids\n", (unsigned long)equal, (unsigned long)same_id);
    }
    free(base);
    free(query);
    free(truth);
}

/* ---- Ties ---------------------------------------------------------------------------------- */

typedef struct keyed_row { const float *x; size_t at; } keyed_row;

static int row_compare(const void *a, const void *b)
{
    return memcmp(((const keyed_row *)a)->x, ((const keyed_row *)b)->x, 8 * sizeof(float));
}

static size_t count_duplicates(const float *x, size_t rows)
{
    keyed_row *r = malloc(rows * sizeof *r);
    size_t i, n = 0;
    for (i = 0; i < rows; i++) {
        r[i].x = x + i * 8;
        r[i].at = i;
    }
    qsort(r, rows, sizeof *r, row_compare);
    for (i = 1; i < rows; i++) n += row_compare(&r[i - 1], &r[i]) == 0;
    free(r);
    return n;
}

static void answer_all(vtag_db *db, vtag_tag tag, const float *q, size_t nq, vtag_hit *hits)
{
    vtag_snap *s = look(db);
    size_t *n = malloc(nq * sizeof *n), i;
    OK(vtag_search_many(s, vec(tag, 8, q), nq, NULL, 20, hits, n));
    for (i = 0; i < nq; i++) CHECK_EQ(n[i], 20);
    free(n);
    vtag_release(s);
}

static void check_order(const vtag_hit *hits, size_t nq, size_t *ties)
{
    size_t i, k;
    for (i = 0; i < nq; i++)
        for (k = 1; k < 20; k++) {
            CHECK(hit_before(&hits[i * 20 + k - 1], &hits[i * 20 + k]));
            *ties += hits[i * 20 + k - 1].dist == hits[i * 20 + k].dist;
        }
}

static void answer_under_every_isa(env *e, vtag_tag tag, const float *q, size_t nq, const vtag_hit *want)
{
    static const char *const isa[] = {"scalar", "avx2", "avx512", "neon"};
    vtag_hit *hits = malloc(nq * 20 * sizeof *hits);
    size_t i;
    for (i = 0; i < LENGTH(isa); i++) {
        vtag_open_opts o = {0};
        vtag_db *db = NULL;
        o.io = &e->r.io;
        o.isa = isa[i];
        if (vtag_open("t.vtag", &o, &db)) continue;
        answer_all(db, tag, q, nq, hits);
        CHECK(same_hits(hits, nq * 20, want, nq * 20));
        vtag_close(db);
    }
    free(hits);
}

static void duplicate_histograms_come_by_id_the_same_on_every_run(void)
{
    enum { ROWS = 10000, QUERIES = 1000 };
    float *x = read_text("nmslib/final8_10K.txt", ROWS, 8);
    float *q = read_text("nmslib/final8_query1K.txt", QUERIES, 8);
    vtag_hit *want = calloc(QUERIES * 20, sizeof *want);
    size_t ties = 0;
    vtag_tag tag;
    env e;
    if (x && q) {
        CHECK_EQ(count_duplicates(x, ROWS), 199);
        env_up(&e);
        tag = declare(e.db, "topics@8", 8, VTAG_L2SQ);
        load_rows(&e, tag, x, ROWS, 8);
        answer_all(e.db, tag, q, QUERIES, want);
        check_order(want, QUERIES, &ties);
        answer_under_every_isa(&e, tag, q, QUERIES, want);
        OK(vtag_compact(e.db, NULL, NULL));
        answer_under_every_isa(&e, tag, q, QUERIES, want);
        printf("nmslib: %lu ties among 20,000 hits, all by id\n", (unsigned long)ties);
        env_down(&e);
    }
    free(x);
    free(q);
    free(want);
}

/* ---- GloVe ----------------------------------------------------------------------------------- */

enum { WORDS = 737, WDIM = 300, WK = 10 };

typedef struct glove {
    env      e;
    vtag_tag v1, v2;
    float   *x1, *x2;
    char     word[WORDS][64];
} glove;

static int glove_read(glove *g)
{
    FILE *f = open_data("glove/glove6B300_vs_glove840B300.words.txt");
    int i;
    memset(g, 0, sizeof *g);
    if (!f) return 0;
    for (i = 0; i < WORDS; i++) REQUIRE(fscanf(f, "%63s", g->word[i]) == 1);
    fclose(f);
    g->x1 = read_npy("glove/glove6B300_vs_glove840B300.glove6B300.npy", WORDS, WDIM);
    g->x2 = read_npy("glove/glove6B300_vs_glove840B300.glove840B300.npy", WORDS, WDIM);
    return g->x1 && g->x2;
}

static void glove_up(glove *g)
{
    vtag_batch *b;
    int i;
    env_up(&g->e);
    g->v1 = declare(g->e.db, "glove@6b", WDIM, VTAG_COSINE);
    g->v2 = declare(g->e.db, "glove@840b", WDIM, VTAG_COSINE);
    b = begin(g->e.db);
    for (i = 0; i < WORDS; i++) {
        vtag_item it = item_of(0, g->word[i]);
        vtag_vec v = vec(g->v1, WDIM, g->x1 + i * WDIM);
        it.key = g->word[i];
        OK(vtag_put(b, &it, &v, 1));
    }
    OK(vtag_commit(b));
}

static void glove_down(glove *g)
{
    free(g->x1);
    free(g->x2);
    env_down(&g->e);
}

static int word_at(const glove *g, const vtag_item *it)
{
    int i;
    for (i = 0; i < WORDS; i++)
        if (strlen(g->word[i]) == it->size && !memcmp(g->word[i], it->data, it->size)) return i;
    return -1;
}

/* What a worker does: reads up to `many` pending items, embeds their text, fills. */
static size_t backfill(glove *g, uint64_t *cursor, size_t many)
{
    vtag_snap *s = look(g->e.db);
    vtag_item it[64];
    vtag_batch *b;
    size_t i, n;
    OK(vtag_items(s, g->v2, VTAG_PENDING, cursor, it, many, &n));
    b = begin(g->e.db);
    for (i = 0; i < n; i++) {
        int w = word_at(g, &it[i]);
        vtag_vec v = vec(g->v2, WDIM, g->x2 + (w < 0 ? 0 : w) * WDIM);
        CHECK(w >= 0);
        OK(vtag_fill(b, &it[i], &v, 1));
    }
    OK(vtag_commit(b));
    vtag_release(s);
    return n;
}

static void all_answers(glove *g, vtag_tag tag, const float *x, vtag_hit *hits)
{
    vtag_snap *s = look(g->e.db);
    size_t n[WORDS];
    OK(vtag_search_many(s, vec(tag, WDIM, x), WORDS, NULL, WK + 1, hits, n));
    vtag_release(s);
}

/* The share of the WK true neighbours (the first hit is the word itself) found in b. */
static double overlap(const vtag_hit *a, const vtag_hit *b)
{
    size_t i, j, k, found = 0;
    for (i = 0; i < WORDS; i++)
        for (j = 1; j <= WK; j++)
            for (k = 1; k <= WK; k++)
                found += a[i * (WK + 1) + j].id == b[i * (WK + 1) + k].id;
    return (double)found / (WORDS * WK);
}

static void check_half_way(glove *g)
{
    vtag_cover c = cover_of(g->e.db, g->v2, g->v1);
    vtag_snap *s = look(g->e.db);
    vtag_hit hit;
    size_t n;
    CHECK_EQ(c.base, 737);
    CHECK_EQ(c.fresh, 368);
    CHECK_EQ(c.missing, 369);
    ERR(VTAG_PREVIEW, vtag_search(s, vec(g->v2, WDIM, g->x2), NULL, 1, &hit, &n));
    vtag_release(s);
    ERR(VTAG_GATE, cutover(g->e.db, g->v2, NULL, NULL));
}

static void a_migration_between_two_releases_of_glove(void)
{
    glove *g = calloc(1, sizeof *g);
    size_t bytes = WORDS * (WK + 1) * sizeof(vtag_hit);
    vtag_hit *before = calloc(1, bytes), *after = calloc(1, bytes), *wrong = calloc(1, bytes);
    uint64_t cursor = 0;
    size_t done = 0;
    if (glove_read(g)) {
        glove_up(g);
        all_answers(g, g->v1, g->x1, before);
        while (done < 368) done += backfill(g, &cursor, 46);
        check_half_way(g);
        while (backfill(g, &cursor, 50)) { }
        CHECK_EQ(pending_of(g->e.db, g->v2), 0);
        OK(cutover(g->e.db, g->v2, NULL, NULL));
        all_answers(g, g->v2, g->x2, after);
        all_answers(g, g->v1, g->x2, wrong); /* queries that lie about their tag */
        printf("glove: overlap@10 of the neighbours %.3f; of v1 searched with v2 %.3f\n", overlap(before, after),
               overlap(before, wrong));
        CHECK(overlap(before, after) > 0.4 && overlap(before, after) < 0.6);
        CHECK(overlap(before, wrong) < 0.02);
        OK(rollback(g->e.db, 0, NULL));
        env_reopen(&g->e);
        all_answers(g, g->v1, g->x1, after);
        CHECK(same_hits(before, WORDS * (WK + 1), after, WORDS * (WK + 1)));
        glove_down(g);
    } else {
        free(g->x1);
        free(g->x2);
    }
    free(before);
    free(after);
    free(wrong);
    free(g);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(siftsmall_distances_equal_the_official_answers);
    RUN(duplicate_histograms_come_by_id_the_same_on_every_run);
    RUN(a_migration_between_two_releases_of_glove);
    return t_end();
}
