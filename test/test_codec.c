// build: plain
/* test_codec.c - how f16 and i8 store a vector, and that a row is what it decodes to */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "twin.h"

/* The bytes of x as a codec stores it, and what they decode to. */
static void store(vtag_codec codec, const float *x, uint32_t n, uint8_t *stored, float *decoded)
{
    vt_encode((uint32_t)codec, x, n, stored);
    vt_decode((uint32_t)codec, stored, n, n, decoded);
}

/* ---- Halves ------------------------------------------------------------------------ */

/* A half's value, from its fields. */
static double half_value(uint32_t h)
{
    double mantissa = h & 0x3FF;
    int exponent = (int)(h >> 10 & 31);
    double x = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -x : x;
}

static void every_half_decodes_to_its_value_and_back_to_itself(void)
{
    uint32_t h;
    for (h = 0; h < 65536; h++) {
        float x;
        if ((h >> 10 & 31) == 31) continue; /* infinity and NaN are never stored */
        x = vt_unhalf((uint16_t)h);
        if (!CHECK((double)x == half_value(h) && !signbit(x) == !(h & 0x8000))) break;
        if (!CHECK_EQ(vt_half(x), h)) break;
    }
}

/* Between two halves that follow each other: the nearer, in the middle the even one. */
static void a_number_between_two_halves_goes_to_the_nearer(void)
{
    uint32_t h;
    for (h = 0; h < 0x7BFF; h++) {
        double a = half_value(h), b = half_value(h + 1), middle = (a + b) / 2;
        uint32_t even = h % 2 ? h + 1 : h;
        if (!CHECK_EQ(vt_half((float)middle), even)) break;
        if (!CHECK_EQ(vt_half(nextafterf((float)middle, 0)), h)) break;
        if (!CHECK_EQ(vt_half(nextafterf((float)middle, 1e9f)), h + 1)) break;
        if (!CHECK_EQ(vt_half(-(float)middle), even | 0x8000)) break;
    }
}

static void what_is_beyond_the_largest_half_does_not_fit(void)
{
    static const float fits[] = {65504, 65519.99f, -65519.99f, 0, 1e-30f};
    static const float not[] = {65520, -65520, 1e6f, 3e38f, -3e38f};
    size_t i;
    for (i = 0; i < LENGTH(fits); i++) CHECK(vt_half_fits(&fits[i], 1));
    for (i = 0; i < LENGTH(not); i++) CHECK(!vt_half_fits(&not[i], 1));
    CHECK_EQ(vt_half(65519.99f), 0x7BFF);
    CHECK_EQ(vt_half(65520), 0x7C00);
}

static void a_half_is_off_by_at_most_2_to_the_minus_11(void)
{
    uint64_t seed = t_seed();
    int i;
    for (i = 0; i < 200000; i++) {
        float x = ldexpf(t_float(&seed), (int)t_below(&seed, 40) - 24), y;
        if (fabsf(x) >= 65520) continue;
        y = vt_unhalf(vt_half(x));
        if (fabsf(x) >= ldexpf(1, -14)) REQUIRE(fabsf(x - y) <= ldexpf(fabsf(x), -11));
        else REQUIRE(fabsf(x - y) <= ldexpf(1, -25));
    }
}

/* ---- Bytes with a scale --------------------------------------------------------------- */

static void fill_any(uint64_t *seed, float *x, uint32_t n)
{
    float size = ldexpf(0.5f + t_float(seed) * 0.49f, (int)t_below(seed, 277) - 148);
    uint32_t i;
    for (i = 0; i < n; i++) x[i] = t_float(seed) * size;
    if (t_below(seed, 3) == 0) x[0] = -size;
    if (t_below(seed, 9) == 0) memset(x, 0, n * sizeof *x);
}

static void a_byte_is_off_by_at_most_a_253rd_of_the_largest(void)
{
    uint64_t seed = t_seed();
    int round;
    for (round = 0; round < 3000; round++) {
        uint32_t n = 1 + (uint32_t)t_below(&seed, 200), i;
        float x[200], y[200], most = 0;
        uint8_t stored[512];
        fill_any(&seed, x, n);
        store(VTAG_I8, x, n, stored, y);
        for (i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
        if (most < 1.5e-36f) continue; /* too small for a scale of full precision: 0 */
        for (i = 0; i < n; i++)
            if (isfinite(y[i])) REQUIRE(fabs((double)x[i] - (double)y[i]) <= (double)most / 253);
    }
}

static void a_row_too_small_for_a_scale_becomes_zeros(void)
{
    float x[3] = {1e-37f, -5e-38f, 1e-45f}, y[3];
    uint8_t stored[64];
    store(VTAG_I8, x, 3, stored, y);
    CHECK(y[0] == 0 && y[1] == 0 && y[2] == 0);
    CHECK(all_zero(stored, sizeof stored));
}

static void what_was_decoded_encodes_to_the_same_bytes(void)
{
    uint64_t seed = t_seed();
    int round;
    for (round = 0; round < 12000; round++) {
        uint32_t n = 1 + (uint32_t)t_below(&seed, 200);
        vtag_codec codec = (vtag_codec)(1 + round % 2);
        float x[200], y[200], z[200];
        uint8_t once[512], twice[512];
        fill_any(&seed, x, n);
        if (codec == VTAG_F16 && !vt_half_fits(x, n)) continue;
        store(codec, x, n, once, y);
        if (!vt_finite(y, n)) continue; /* refused by a put */
        store(codec, y, n, twice, z);
        if (!CHECK(!memcmp(once, twice, vt_stride(n, (uint32_t)codec)) && !memcmp(y, z, n * sizeof *y))) {
            fprintf(stderr, "  codec %d, n %u, x[0] %g\n", (int)codec, n, (double)x[0]);
            return;
        }
    }
}

static void padding_is_zeros_and_decodes_to_zeros(void)
{
    uint32_t codec, n, i;
    for (codec = VTAG_F32; codec <= VTAG_I8; codec++)
        for (n = 1; n < 70; n++) {
            float x[70], y[80];
            uint8_t stored[512];
            for (i = 0; i < n; i++) x[i] = -127;
            vt_encode(codec, x, n, stored);
            CHECK_EQ(vt_stride(n, codec) % 64, 0);
            vt_decode(codec, stored, n, vt_pad(n), y);
            for (i = 0; i < vt_pad(n); i++) REQUIRE(y[i] == (i < n ? -127 : 0));
        }
}

/* ---- In a store ------------------------------------------------------------------------- */

static vtag_tag declare_codec(vtag_db *db, const char *name, uint32_t dim, vtag_metric m, vtag_codec codec)
{
    shape s = {m, codec, dim, UNIFORM};
    vtag_batch *b = begin(db);
    vtag_tag tag = declare_as(b, name, &s, 0);
    OK(vtag_commit(b));
    return tag;
}

static vtag_err try_put(vtag_db *db, uint64_t id, vtag_vec v)
{
    vtag_batch *b = begin(db);
    vtag_item it = item_of(id, "x");
    vtag_err err = vtag_put(b, &it, &v, 1);
    OK(vtag_commit(b));
    return err;
}

static void what_would_overflow_is_a_value_error(void)
{
    static const vtag_metric metrics[] = {VTAG_COSINE, VTAG_DOT, VTAG_L2SQ};
    env e;
    size_t i;
    env_up(&e);
    for (i = 0; i < 3; i++) {
        char name[20];
        vtag_tag half, byte;
        snprintf(name, sizeof name, "half%d@1", (int)i);
        half = declare_codec(e.db, name, 2, metrics[i], VTAG_F16);
        snprintf(name, sizeof name, "byte%d@1", (int)i);
        byte = declare_codec(e.db, name, 2, metrics[i], VTAG_I8);
        ERR(VTAG_VALUE, try_put(e.db, 1, v2(half, 65520, 0)));
        ERR(VTAG_VALUE, try_put(e.db, 1, v2(half, 1, -1e30f)));
        OK(try_put(e.db, 1, v2(half, 65519, 0)));
        ERR(VTAG_VALUE, try_put(e.db, 1, v2(byte, VT_MAX_NORM, 0))); /* 127 scales are beyond */
        ERR(VTAG_VALUE, try_put(e.db, 1, v2(byte, NAN, 0)));
        OK(try_put(e.db, 1, v2(byte, 1e38f, 0)));
    }
    env_down(&e);
}

static void a_row_that_rounds_to_zeros_has_no_direction(void)
{
    env e;
    vtag_tag half, byte, dot;
    env_up(&e);
    half = declare_codec(e.db, "half@1", 2, VTAG_COSINE, VTAG_F16);
    byte = declare_codec(e.db, "byte@1", 2, VTAG_COSINE, VTAG_I8);
    dot = declare_codec(e.db, "dot@1", 2, VTAG_DOT, VTAG_F16);
    ERR(VTAG_VALUE, try_put(e.db, 1, v2(half, 1e-8f, 0)));
    ERR(VTAG_VALUE, try_put(e.db, 1, v2(byte, 2e-38f, 0)));
    OK(try_put(e.db, 1, v2(half, 1e-7f, 0)));
    OK(try_put(e.db, 2, v2(byte, 1e-30f, 0)));
    OK(try_put(e.db, 3, v2(dot, 1e-8f, 0)));
    verify(e.db);
    env_down(&e);
}

/* What is asked of a coded tag is answered by the rule on decoded rows. */
static void scores_are_those_of_the_decoded_rows_under(vtag_metric metric, vtag_codec codec)
{
    enum { N = 120, D = 37 };
    uint64_t seed = t_seed(), id;
    float x[N][D], q[D], y[D];
    uint8_t stored[256];
    vtag_hit hits[N];
    vtag_row row;
    vtag_snap *s;
    vtag_tag tag;
    size_t n = 0, i;
    env e;
    env_up(&e);
    tag = declare_codec(e.db, "a@1", D, metric, codec);
    for (id = 0; id < N; id++) {
        vtag_vec v = vec(tag, D, x[id]);
        random_vector(&seed, x[id], D, 1u << 22);
        put(e.db, id, NULL, &v, 1);
        store(codec, x[id], D, stored, x[id]);
    }
    random_vector(&seed, q, D, 1u << 22);
    s = look(e.db);
    OK(vtag_search(s, vec(tag, D, q), NULL, N, hits, &n));
    CHECK_EQ(n, N);
    for (i = 0; i < n; i++) {
        float dist = rule_dist(metric, x[hits[i].id], q, D);
        CHECK(!memcmp(&dist, &hits[i].dist, sizeof dist));
        OK(vtag_vector(s, hits[i].id, tag, 0, y, D, &row));
        CHECK(!memcmp(y, x[hits[i].id], sizeof y));
    }
    vtag_release(s);
    verify(e.db);
    env_down(&e);
}

static void scores_are_those_of_the_decoded_rows(void)
{
    vtag_metric m;
    vtag_codec c;
    for (m = VTAG_COSINE; m <= VTAG_L2SQ; m++)
        for (c = VTAG_F32; c <= VTAG_I8; c++) scores_are_those_of_the_decoded_rows_under(m, c);
}

/* The same vector again, or what it was rounded to, is no change of content. */
static void equal_vectors_keep_the_revision_as_they_are_stored(void)
{
    vtag_codec c;
    for (c = VTAG_F32; c <= VTAG_I8; c++) {
        env e;
        vtag_tag tag;
        vtag_vec v;
        vtag_snap *s;
        float x[9] = {0.1f, -0.7f, 3, 0.333f, 0, -0.25f, 1e-3f, 2, -2.9f}, y[9];
        uint64_t rev;
        env_up(&e);
        tag = declare_codec(e.db, "a@1", 9, VTAG_DOT, c);
        v = vec(tag, 9, x);
        rev = put(e.db, 7, NULL, &v, 1);
        CHECK_EQ(put(e.db, 7, NULL, &v, 1), rev);
        s = look(e.db);
        OK(vtag_vector(s, 7, tag, 0, y, 9, NULL));
        vtag_release(s);
        v = vec(tag, 9, y);
        CHECK_EQ(put(e.db, 7, NULL, &v, 1), rev);
        y[2] += 0.5f;
        CHECK(put(e.db, 7, NULL, &v, 1) > rev);
        env_down(&e);
    }
}

static void copies_and_compactions_keep_coded_rows_to_the_bit(void)
{
    vtag_codec c;
    for (c = VTAG_F16; c <= VTAG_I8; c++) {
        twin t;
        shape s = {VTAG_COSINE, VTAG_F16, 40, MIXED};
        vtag_snap *snap;
        vtag_db *copy;
        uint64_t want;
        s.codec = c;
        twin_up(&t, s, 300);
        want = hash_of(t.e.db);
        snap = look(t.e.db);
        OK(vtag_copy(snap, "copy", NULL, NULL));
        vtag_release(snap);
        copy = env_open(&t.e, "copy", VTAG_EXISTING);
        CHECK_EQ(hash_of(copy), want);
        verify(copy);
        vtag_close(copy);
        OK(vtag_compact(t.e.db, NULL, NULL));
        CHECK_EQ(hash_of(t.e.db), want);
        verify(t.e.db);
        twin_down(&t);
    }
}

/* ---- Version 1 ---------------------------------------------------------------------------- */

static void copy_golden(const char *path)
{
    FILE *in = fopen("test/golden-1.vtag", "rb"), *out = fopen(path, "wb");
    char p[4096];
    size_t n;
    REQUIRE(in && out);
    while ((n = fread(p, 1, sizeof p, in)) > 0) REQUIRE(fwrite(p, 1, n, out) == n);
    fclose(in);
    fclose(out);
}

static void a_file_of_version_1_takes_codecs_once_it_is_compacted(void)
{
    const char *path = t_path("old.vtag");
    vtag_spec spec = {"new@1", 4, VTAG_DOT, VTAG_F16, 0, 0, NULL};
    float x[4] = {1, 2, 3, 4};
    vtag_db *db = NULL;
    vtag_batch *b;
    vtag_tag tag = 0;
    vtag_vec v;
    uint64_t want;
    copy_golden(path);
    MUST(vtag_open(path, NULL, &db));
    b = begin(db);
    ERR(VTAG_FORMAT, vtag_declare(b, &spec, &tag));
    spec.codec = VTAG_I8;
    ERR(VTAG_FORMAT, vtag_declare(b, &spec, &tag));
    OK(vtag_commit(b));
    want = hash_of(db);
    OK(vtag_compact(db, NULL, NULL));
    CHECK_EQ(hash_of(db), want);
    b = begin(db);
    OK(vtag_declare(b, &spec, &tag));
    v = vec(tag, 4, x);
    put_b(b, 5, NULL, &v, 1);
    OK(vtag_commit(b));
    verify(db);
    vtag_close(db);
}

static void codec_and_flags_are_part_of_what_a_tag_means(void)
{
    env e;
    shape s = {VTAG_DOT, VTAG_F16, 4, UNIFORM};
    vtag_spec spec = {"a@1", 4, VTAG_DOT, VTAG_I8, 0, 0, NULL};
    vtag_batch *b;
    vtag_tag tag, same;
    env_up(&e);
    b = begin(e.db);
    tag = declare_as(b, "a@1", &s, 0);
    CHECK_EQ(declare_as(b, "a@1", &s, 0), tag);
    ERR(VTAG_EXISTS, vtag_declare(b, &spec, &same));
    spec.codec = VTAG_F16;
    spec.flags = VTAG_NO_SKETCH;
    ERR(VTAG_EXISTS, vtag_declare(b, &spec, &same));
    spec.codec = (vtag_codec)3;
    ERR(VTAG_ARG, vtag_declare(b, &spec, &same));
    OK(vtag_commit(b));
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(every_half_decodes_to_its_value_and_back_to_itself);
    RUN(a_number_between_two_halves_goes_to_the_nearer);
    RUN(what_is_beyond_the_largest_half_does_not_fit);
    RUN(a_half_is_off_by_at_most_2_to_the_minus_11);
    RUN(a_byte_is_off_by_at_most_a_253rd_of_the_largest);
    RUN(a_row_too_small_for_a_scale_becomes_zeros);
    RUN(what_was_decoded_encodes_to_the_same_bytes);
    RUN(padding_is_zeros_and_decodes_to_zeros);
    RUN(what_would_overflow_is_a_value_error);
    RUN(a_row_that_rounds_to_zeros_has_no_direction);
    RUN(scores_are_those_of_the_decoded_rows);
    RUN(equal_vectors_keep_the_revision_as_they_are_stored);
    RUN(copies_and_compactions_keep_coded_rows_to_the_bit);
    RUN(a_file_of_version_1_takes_codecs_once_it_is_compacted);
    RUN(codec_and_flags_are_part_of_what_a_tag_means);
    return t_end();
}
