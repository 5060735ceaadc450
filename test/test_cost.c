/* What things cost, as counts: syncs, calls, bytes, allocations and pages touched.

   Nothing here is a time. The files lie on a flat sim (sim.h), which counts calls and
   bytes; memory is counted by the allocator below; pages by taking the mapping's
   rights away and counting the faults that give them back. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine.h"
#include "test.h"
#include "sim.h"
#include <signal.h>

#define MILLION UINT64_C(1000000)
enum { DIM = 8, CHUNK = 50000 };

static sim disk;

/* ---- Small parts ------------------------------------------------------------- */

static vtag_err open_sim(vtag_access access, vtag_db **db)
{
    vtag_open_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.access = access;
    opts.io = &disk.io;
    return vtag_open(SIM_MAIN, &opts, db);
}

static vtag_tag declare(vtag_batch *b, const char *name, uint32_t dim, uint32_t flags)
{
    vtag_spec spec;
    vtag_tag tag = 0;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = dim;
    spec.metric = VTAG_L2SQ;
    spec.flags = flags;
    MUST(vtag_declare(b, &spec, &tag));
    return tag;
}

static vtag_err put_both(vtag_batch *b, uint64_t id, vtag_tag one, vtag_tag two)
{
    static const float x[DIM] = {1, 2, 3, 4, 5, 6, 7, 8};
    vtag_item item;
    vtag_vec v[2] = {{0, DIM, NULL, 0, 0}, {0, DIM, NULL, 0, 0}};
    memset(&item, 0, sizeof item);
    item.id = id;
    v[0].tag = one;
    v[1].tag = two;
    v[0].x = v[1].x = x;
    return vtag_put(b, &item, v, 2);
}

static vtag_err put(vtag_batch *b, uint64_t id, vtag_tag tag, uint32_t dim, uint64_t seed)
{
    static float x[768];
    vtag_item item;
    vtag_vec v = {0, 0, NULL, 0, 0};
    uint32_t i;
    memset(&item, 0, sizeof item);
    item.id = id;
    for (i = 0; i < dim; i++) x[i] = t_float(&seed);
    v.tag = tag;
    v.dim = dim;
    v.x = x;
    return vtag_put(b, &item, &v, tag ? 1 : 0);
}

/* Puts items from..to-1, so many a batch. */
static void put_range(vtag_db *db, vtag_tag tag, uint64_t from, uint64_t to, uint64_t chunk,
                      uint64_t salt)
{
    uint64_t id = from;
    while (id < to) {
        vtag_batch *b;
        uint64_t end = to - id < chunk ? to : id + chunk;
        MUST(vtag_begin(db, NULL, &b));
        for (; id < end; id++) MUST(put(b, id, tag, DIM, id + salt));
        MUST(vtag_commit(b));
    }
}

static vtag_tag tag_first, tag_second;

/* A new file with n items under the first of two tags, and ten under both. */
static vtag_db *newborn(uint64_t n)
{
    vtag_begin_opts opts;
    vtag_db *db;
    vtag_batch *b;
    uint64_t id;
    memset(&opts, 0, sizeof opts);
    opts.expect_rows = n;
    sim_reset(&disk, 1);
    MUST(open_sim(VTAG_NEW, &db));
    MUST(vtag_begin(db, &opts, &b));
    tag_first = declare(b, "plain@1", DIM, 0);
    tag_second = declare(b, "plain@2", DIM, 0);
    MUST(vtag_commit(b));
    put_range(db, tag_first, 10, n, CHUNK, 0);
    MUST(vtag_begin(db, NULL, &b));
    for (id = 0; id < 10; id++) MUST(put_both(b, id, tag_first, tag_second));
    MUST(vtag_commit(b));
    return db;
}

static vtag_db *reopened(vtag_db *db)
{
    vtag_close(db);
    MUST(open_sim(VTAG_EXISTING, &db));
    return db;
}

/* ---- Syncs and bytes of a commit ------------------------------------------------ */

static void a_durable_commit_syncs_once(void)
{
    vtag_db *db;
    vtag_batch *b;
    uint64_t i;
    sim_init_flat(&disk, 1, UINT64_C(256) << 20);
    db = newborn(1000);
    sim_zero_counts(&disk);
    for (i = 0; i < 3000; i++) {
        uint64_t syncs = disk.calls[SIM_SYNC];
        MUST(vtag_begin(db, NULL, &b));
        MUST(put(b, i % 1500, tag_first, DIM, i + 77));
        MUST(vtag_commit(b));
        if (!CHECK_EQ(disk.calls[SIM_SYNC] - syncs, 1)) break;
    }
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_commit(b));
    MUST(vtag_begin(db, NULL, &b));
    MUST(put(b, 5, tag_first, DIM, 1));
    sim_zero_counts(&disk);
    vtag_abort(b);
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_commit(b));
    CHECK_EQ(disk.calls[SIM_SYNC], 0); /* nothing changed, nothing written */
    CHECK_EQ(disk.calls[SIM_WRITE], 0);
    vtag_close(db);
    sim_free(&disk);
}

static uint64_t bytes_of_put(vtag_db *db)
{
    vtag_batch *b;
    sim_zero_counts(&disk);
    MUST(vtag_begin(db, NULL, &b));
    MUST(put(b, 3, tag_first, DIM, 99));
    MUST(vtag_commit(b));
    CHECK(disk.calls[SIM_WRITE] <= 8);
    CHECK(disk.written <= 4096);
    return disk.written;
}

static uint64_t bytes_of_flip(vtag_db *db)
{
    vtag_batch *b;
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = VTAG_NONE;
    gate.max_waived_ppm = 1000000;
    gate.max_age_ms = UINT64_MAX;
    gate.reason = "a count of bytes";
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_cutover(b, tag_second, &gate, NULL));
    sim_zero_counts(&disk);
    MUST(vtag_commit(b));
    CHECK_EQ(disk.calls[SIM_SYNC], 1);
    return disk.written;
}

static uint64_t bytes_of_rollback(vtag_db *db)
{
    vtag_batch *b;
    sim_zero_counts(&disk);
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_rollback(b, 0, NULL));
    MUST(vtag_commit(b));
    CHECK_EQ(disk.calls[SIM_SYNC], 1);
    return disk.written;
}

/* ---- Pages touched ----------------------------------------------------------------- */

static uint8_t *watched;
static size_t watched_bytes;
static volatile uint64_t touched;

static void touch(int signal_number, siginfo_t *info, void *context)
{
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)4095;
    (void)context;
    if (page - (uintptr_t)watched >= watched_bytes
        || mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) != 0) {
        signal(signal_number, SIG_DFL);
        return;
    }
    touched++;
}

/* Opens and closes the file; returns the pages of it that were touched by open. */
static uint64_t pages_of_open(vtag_stat *stat)
{
    struct sigaction act, old;
    vtag_db *db;
    vtag_snap *s;
    uint64_t pages;
    int file = sim_find(&disk, SIM_MAIN);
    memset(&act, 0, sizeof act);
    act.sa_sigaction = touch;
    act.sa_flags = SA_SIGINFO;
    REQUIRE(sigaction(SIGSEGV, &act, &old) == 0);
    watched = disk.file[file].live;
    watched_bytes = (size_t)disk.file[file].size;
    touched = 0;
    REQUIRE(mprotect(watched, watched_bytes, PROT_NONE) == 0);
    MUST(open_sim(VTAG_EXISTING, &db));
    MUST(vtag_snapshot(db, &s));
    MUST(vtag_stats(s, stat));
    pages = touched;
    REQUIRE(mprotect(watched, watched_bytes, PROT_READ | PROT_WRITE) == 0);
    REQUIRE(sigaction(SIGSEGV, &old, NULL) == 0);
    vtag_release(s);
    vtag_close(db);
    return pages;
}

/* ---- Memory of a search -------------------------------------------------------------- */

static uint64_t memory_of_search(vtag_db *db, uint64_t *calls)
{
    float x[DIM] = {0.1f, 0.2f, 0.3f, 0, 0, 0.1f, 0, 0.4f};
    vtag_vec q = {0, DIM, NULL, 0, 0};
    vtag_hit hits[10];
    vtag_snap *s;
    vtag_search_opts opts;
    uint64_t bytes;
    size_t n = 0;
    memset(&opts, 0, sizeof opts);
    opts.preview = 1;
    q.tag = tag_first;
    q.x = x;
    MUST(vtag_snapshot(db, &s));
    bytes = heap.bytes;
    *calls = heap.calls;
    OK(vtag_search(s, q, &opts, 10, hits, &n));
    CHECK_EQ(n, 10);
    *calls = heap.calls - *calls;
    bytes = heap.bytes - bytes;
    vtag_release(s);
    return bytes;
}

/* ---- One thousand against a million ---------------------------------------------------- */

typedef struct costs {
    uint64_t put, flip, rollback, pages, search_bytes, search_calls, snapshot_reads;
    vtag_stat stat;
} costs;

static void measure(uint64_t items, costs *c)
{
    vtag_db *db = reopened(newborn(items));
    vtag_snap *s;
    c->put = bytes_of_put(db);
    c->flip = bytes_of_flip(db);
    c->rollback = bytes_of_rollback(db);
    c->search_bytes = memory_of_search(db, &c->search_calls);
    sim_zero_counts(&disk);
    MUST(vtag_snapshot(db, &s));
    c->snapshot_reads = disk.calls[SIM_READ];
    vtag_release(s);
    vtag_close(db);
    c->pages = pages_of_open(&c->stat);
    CHECK_EQ(c->stat.items, items);
    CHECK_STR(disk.broken, NULL);
}

static void costs_are_the_same_at_a_thousand_and_at_a_million_items(void)
{
    costs few, many;
    uint64_t segments;
    sim_init_flat(&disk, 1, UINT64_C(1) << 30);
    measure(1000, &few);
    measure(MILLION, &many);
    segments = many.stat.segments - few.stat.segments;
    CHECK_EQ(few.flip, many.flip);
    CHECK_EQ(few.rollback, many.rollback);
    CHECK(few.flip <= 4096 && few.rollback <= 4096);
    CHECK_EQ(few.search_bytes, many.search_bytes);
    CHECK_EQ(few.search_calls, many.search_calls);
    CHECK(few.snapshot_reads <= 2 && many.snapshot_reads <= 2);
    CHECK(many.pages <= few.pages + 8 * segments + 16);
    CHECK(many.pages * 100 <= many.stat.file_bytes / 4096);
    printf("a put writes %llu bytes, a flip %llu, a rollback %llu; open touches %llu pages with %u "
           "segments of 1,000 items, %llu with %u of 1,000,000; a search allocates %llu bytes\n",
           (unsigned long long)many.put, (unsigned long long)many.flip,
           (unsigned long long)many.rollback, (unsigned long long)few.pages, few.stat.segments,
           (unsigned long long)many.pages, many.stat.segments,
           (unsigned long long)many.search_bytes);
    sim_free(&disk);
}

/* ---- Sizes of files ---------------------------------------------------------------------- */

static void an_empty_file_is_at_most_128_kib(void)
{
    vtag_db *db;
    sim_init_flat(&disk, 1, SIM_FILE_MAX);
    MUST(open_sim(VTAG_NEW, &db));
    vtag_close(db);
    CHECK(disk.file[sim_find(&disk, SIM_MAIN)].size <= 131072);
    sim_free(&disk);
}

/* In batches of `chunk`; at most so many percent of the raw size. */
static void import_size(uint64_t rows, uint64_t chunk, uint32_t flags, uint64_t percent)
{
    vtag_begin_opts opts;
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag = 0;
    uint64_t id = 0, size, raw = rows * 768 * sizeof(float);
    memset(&opts, 0, sizeof opts);
    sim_reset(&disk, 1);
    MUST(open_sim(VTAG_NEW, &db));
    while (id < rows) {
        uint64_t end = rows - id < chunk ? rows : id + chunk;
        opts.expect_rows = rows - id;
        MUST(vtag_begin(db, &opts, &b));
        if (!tag) tag = declare(b, "wide@1", 768, flags);
        for (; id < end; id++) MUST(put(b, id, tag, 768, id));
        MUST(vtag_commit(b));
    }
    vtag_close(db);
    size = disk.file[sim_find(&disk, SIM_MAIN)].size;
    printf("a file of %llu rows of 768 f32, %s, is %.3f of the raw size\n", (unsigned long long)rows,
           flags ? "unsketched" : "sketched", (double)size / (double)raw);
    CHECK(size * 100 <= raw * percent);
}

static void an_import_of_known_size_takes_a_twentieth_more_than_its_vectors(void)
{
    sim_init_flat(&disk, 1, UINT64_C(256) << 20);
    import_size(20000, 20000, VTAG_NO_SKETCH, 105);
    import_size(20000, 5000, VTAG_NO_SKETCH, 107); /* and the index runs that were merged since */
    sim_free(&disk);
}

static void sketches_take_an_eighth_of_the_vectors(void)
{
    sim_init_flat(&disk, 1, UINT64_C(256) << 20);
    import_size(20000, 20000, 0, 118);
    import_size(20000, 5000, 0, 120);
    sim_free(&disk);
}

static void compacted_size(uint32_t flags, uint64_t percent)
{
    const uint64_t rows = 10000, raw = rows * 768 * sizeof(float);
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag;
    uint64_t id, size;
    sim_reset(&disk, 1);
    MUST(open_sim(VTAG_NEW, &db));
    MUST(vtag_begin(db, NULL, &b));
    tag = declare(b, "wide@1", 768, flags);
    for (id = 0; id < rows + 2000; id++) MUST(put(b, id, tag, 768, id));
    MUST(vtag_commit(b));
    MUST(vtag_begin(db, NULL, &b));
    for (id = 0; id < 2000; id++) MUST(vtag_del(b, id * 2));
    MUST(vtag_commit(b));
    MUST(vtag_compact(db, NULL, NULL));
    vtag_close(db);
    size = disk.file[sim_find(&disk, SIM_MAIN)].size;
    printf("a compacted file of %llu rows of 768 f32, %s, is %.3f of the raw size\n",
           (unsigned long long)rows, flags ? "unsketched" : "sketched", (double)size / (double)raw);
    CHECK(size * 100 <= raw * percent);
}

static void compaction_leaves_no_more_than_an_import(void)
{
    sim_init_flat(&disk, 1, UINT64_C(256) << 20);
    compacted_size(VTAG_NO_SKETCH, 105);
    compacted_size(0, 118);
    sim_free(&disk);
}

/* ---- Putting again ------------------------------------------------------------------------ */

typedef struct work { uint64_t reads, calls, bytes, written; } work;

/* What it takes to put n existing items again, 500 a batch. */
static work work_of_reput(uint64_t n)
{
    vtag_db *db = newborn(n);
    work w;
    sim_zero_counts(&disk);
    w.calls = heap.calls;
    w.bytes = heap.bytes;
    put_range(db, tag_first, 10, n, 500, 123456);
    w.calls = heap.calls - w.calls;
    w.bytes = heap.bytes - w.bytes;
    w.reads = disk.calls[SIM_READ] + disk.calls[SIM_MAP];
    w.written = disk.written;
    vtag_close(db);
    return w;
}

static void putting_again_what_exists_stays_linear(void)
{
    work few, many;
    sim_init_flat(&disk, 1, UINT64_C(256) << 20);
    few = work_of_reput(10000);
    many = work_of_reput(80000);
    CHECK(many.reads <= 12 * few.reads + 200);
    CHECK(many.calls <= 12 * few.calls + 2000);
    CHECK(many.bytes <= 12 * few.bytes + 1000000);
    CHECK(many.written <= 12 * few.written);
    printf("putting 10,000 and 80,000 items again: %llu and %llu reads, %llu and %llu allocations "
           "of %llu and %llu bytes, %llu and %llu bytes written\n",
           (unsigned long long)few.reads, (unsigned long long)many.reads,
           (unsigned long long)few.calls, (unsigned long long)many.calls,
           (unsigned long long)few.bytes, (unsigned long long)many.bytes,
           (unsigned long long)few.written, (unsigned long long)many.written);
    sim_free(&disk);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_durable_commit_syncs_once);
    RUN(costs_are_the_same_at_a_thousand_and_at_a_million_items);
    RUN(an_empty_file_is_at_most_128_kib);
    RUN(an_import_of_known_size_takes_a_twentieth_more_than_its_vectors);
    RUN(sketches_take_an_eighth_of_the_vectors);
    RUN(compaction_leaves_no_more_than_an_import);
    RUN(putting_again_what_exists_stays_linear);
    return t_end();
}
