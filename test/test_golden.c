/* The file of the format's version, byte for byte: what this library writes from fixed
   operations, clock and random source equals test/golden-3.vtag [L13, I9], and it reads
   that file and those of older versions [I13]. A change of the format gets a new version
   and a new golden file; GOLDEN=write writes it. */
#include "engine.h"
#include "test.h"
#include "util.h"

enum { VERSION = 3 };

static const char *golden_path(char *path, size_t size, unsigned version)
{
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, size, "%.*sgolden-%u.vtag", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__,
             version);
    return path;
}

/* What version 2 has that version 1 had not. Sketches need a mebibyte of rows; test_sketch.c
   has the hash of one. */
static void fill_codecs(env *e)
{
    vtag_codec codecs[2] = {VTAG_F16, VTAG_I8};
    const char *names[2] = {"half@1", "byte@1"};
    vtag_batch *batch;
    vtag_spec spec = {0};
    vtag_tag tag;
    vtag_vec v;
    size_t i;
    for (i = 0; i < 2; i++) {
        spec.name = names[i];
        spec.dim = 2;
        spec.codec = codecs[i];
        MUST(vtag_begin(e->db, NULL, &batch));
        MUST(vtag_declare(batch, &spec, &tag));
        MUST(vtag_commit(batch));
        v = v2(tag, 0.1f, -1e-6f);
        OK(fill(e->db, 3, 4, &v, 1));
    }
}

/* What version 3 has that version 2 had not. */
static void fill_extensions(env *e, vtag_tag tag)
{
    vtag_event backfill = {0}, audit = {0};
    vtag_batch *batch;
    backfill.kind = VTAG_K_BACKFILL;
    backfill.tag = tag;
    backfill.by = "an operator";
    backfill.command = "embed --model words@2";
    backfill.in = 16;
    backfill.filled = 14;
    backfill.failed_items = 2;
    audit.kind = VTAG_K_AUDIT;
    audit.tag = tag;
    audit.text = "a sample";
    audit.audit.sampled = 10;
    audit.audit.untestable = 4;
    audit.audit.below = 1;
    audit.audit.worst = 0.75;
    audit.audit.from = e->r.clock - 5;
    audit.audit.to = e->r.clock;
    MUST(vtag_begin(e->db, NULL, &batch));
    OK(vtag_note(batch, &backfill));
    OK(vtag_note(batch, &audit));
    OK(vtag_alias(batch, tag, "words@2.1/chunk-64", "its true name"));
    MUST(vtag_commit(batch));
}

static void fill_golden(env *e, unsigned version)
{
    vtag_tag a = declare(e->db, "words@1", 2, VTAG_COSINE), b = declare(e->db, "words@2/chunk-64", 2, VTAG_L2SQ);
    vtag_tag c = declare(e->db, "pixels@1", 3, VTAG_DOT);
    vtag_policy policy = {0};
    vtag_event score = {0};
    vtag_batch *batch;
    uint64_t i;
    for (i = 0; i < 16; i++) put2(e->db, i, i % 3 ? "text" : "", a, 1.0f + (float)i, 0.5f);
    for (i = 0; i < 16; i++) {
        vtag_vec parts[2];
        e->r.clock += 1000;
        parts[0] = v2(b, (float)i, 1);
        parts[1] = v2(b, 1, (float)i);
        parts[1].off = 2;
        parts[1].len = 2;
        if (i % 8) OK(fill(e->db, i, i + 1, parts, 1 + i % 2));
        if (i == 10) OK(vtag_seal(e->db, NULL, NULL));
    }
    OK(waive(e->db, 0, 0, b, "an empty text"));
    OK(del(e->db, 8));
    put2(e->db, 12, "changed", a, 7, 7);
    MUST(vtag_begin(e->db, NULL, &batch));
    OK(vtag_meta_set(batch, "probe", "\0\1\2", 3));
    OK(vtag_commit(batch));
    policy.gate.max_age_ms = UINT64_MAX;
    policy.gate.min_ppm = 800000;
    policy.gate.max_waived_ppm = 50000;
    policy.hold = NULL;
    OK(set_policy(e->db, &policy, "a small file"));
    score.kind = VTAG_K_SCORE;
    score.tag = b;
    score.name = "ndcg@10";
    score.value = 0.5;
    score.queries = 100;
    score.cover = cover_of(e->db, b, a);
    OK(note(e->db, &score));
    OK(cutover(e->db, b, NULL, NULL));
    OK(rollback(e->db, 0, NULL));
    OK(retire(e->db, c, NULL, NULL));
    if (version >= 2) fill_codecs(e);
    if (version >= 3) fill_extensions(e, b);
}

static uint8_t *golden_made(unsigned version, size_t *n, void **raw, uint64_t *hash)
{
    env e;
    uint8_t *p;
    env_up(&e);
    fill_golden(&e, version);
    vtag_close(e.db);
    e.db = env_open(&e, "t.vtag", VTAG_READ);
    *hash = hash_of(e.db);
    p = ram_image(&e.r, "t.vtag", n, raw);
    env_down(&e);
    return p;
}

static uint8_t *golden_read(unsigned version, size_t *n)
{
    char path[1000];
    FILE *f = fopen(golden_path(path, sizeof path, version), "rb");
    uint8_t *p = (uint8_t *)malloc(1 << 20);
    *n = f && p ? fread(p, 1, 1 << 20, f) : 0;
    if (f) fclose(f);
    return p;
}

static void this_library_writes_the_golden_file(void)
{
    void *raw;
    size_t n, m, i;
    uint64_t hash;
    uint8_t *p = golden_made(VERSION, &n, &raw, &hash), *q = golden_read(VERSION, &m);
    for (i = 0; i < n && i < m && p[i] == q[i];) i++;
    if (!CHECK(n == m && i == n)) fprintf(stderr, "  they differ at %lu\n", (unsigned long)i);
    free(raw);
    free(q);
}

/* What the files of before version 3 hold, which this library would write another mark into: a
   cutover by a lowered policy is FORCED. */
static const uint64_t golden_hashes[VERSION] = {0x8ccfdd5ac2f54bde, 0x0e0ccab564cb26f4};

static void reads_golden(unsigned version)
{
    void *raw;
    size_t n, m;
    uint64_t hash;
    uint8_t *p = golden_made(version, &n, &raw, &hash), *q = golden_read(version, &m);
    vtag_report report;
    vtag_snap *s;
    vtag_db *db;
    (void)p;
    MUST(vtag_open_memory(q, m, NULL, &db));
    CHECK_EQ(hash_of(db), version < 3 ? golden_hashes[version - 1] : hash);
    s = look(db);
    OK(vtag_verify(s, &report, NULL, NULL));
    vtag_release(s);
    vtag_close(db);
    free(raw);
    free(q);
}

static void this_library_reads_the_golden_files(void)
{
    unsigned version;
    for (version = 1; version <= VERSION; version++) reads_golden(version);
}

static void write_golden(void)
{
    char path[1000];
    void *raw;
    size_t n;
    uint64_t hash;
    uint8_t *p = golden_made(VERSION, &n, &raw, &hash);
    FILE *f = fopen(golden_path(path, sizeof path, VERSION), "wb");
    CHECK(f && fwrite(p, 1, n, f) == n && fclose(f) == 0);
    free(raw);
}

int main(int argc, char **argv)
{
    const char *make = getenv("GOLDEN");
    t_begin(argc, argv);
    if (make && !strcmp(make, "write")) RUN(write_golden);
    RUN(this_library_writes_the_golden_file);
    RUN(this_library_reads_the_golden_files);
    return t_end();
}
