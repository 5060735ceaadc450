// build: plain
/* test_care.c - verify, copy, compact, stats, and opening what is no good file */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "hostile.h"

#if defined(__SANITIZE_ADDRESS__)
#  define POISON 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define POISON 1
#  endif
#endif
#ifdef POISON
#  include <sanitizer/asan_interface.h>
#  define POISON_BYTES(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#  define UNPOISON_BYTES(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#  define POISON_BYTES(p, n) ((void)(p), (void)(n))
#  define UNPOISON_BYTES(p, n) ((void)(p), (void)(n))
#endif

static void walk(vtag_db *db)
{
    vtag_snap *s;
    vtag_info t;
    uint64_t cursor = 0;
    size_t n, m;
    vtag_report rep;
    if (vtag_snapshot(db, &s)) return;
    while (!vtag_tags(s, &cursor, &t, 1, &n) && n) {
        vtag_item it[8];
        vtag_hit hits[8];
        vtag_cover c;
        uint64_t at = 0;
        int pages = 0;
        float *q = calloc(t.spec.dim, sizeof *q);
        vtag_search_opts o = {0};
        q[0] = 1;
        o.preview = 1;
        (void)vtag_search(s, vec(t.tag, t.spec.dim, q), &o, 8, hits, &m);
        (void)vtag_coverage(s, t.tag, 0, &c);
        while (!vtag_items(s, t.tag, VTAG_ALL, &at, it, 8, &m) && m && CHECK(pages++ < 10000))
            (void)vtag_vector(s, it[0].id, t.tag, 0, q, t.spec.dim, NULL);
        free(q);
    }
    (void)vtag_verify(s, &rep, NULL, NULL);
    vtag_release(s);
}

static vtag_err open_image(const uint8_t *p, size_t n, vtag_db **db)
{
    vtag_open_opts o = {0};
    o.access = VTAG_READ;
    *db = NULL;
    return vtag_open_memory(p, n, &o, db);
}

/* Opens an image and does all that a reader can; any error is an answer. */
static vtag_err open_and_walk(const uint8_t *p, size_t n)
{
    vtag_db *db;
    vtag_err err = open_image(p, n, &db);
    if (!err) walk(db);
    vtag_close(db);
    return err;
}

/* ---- Verify -------------------------------------------------------------------------- */

static void a_good_file_verifies_and_counts_what_it_checked(void)
{
    env e;
    vtag_report rep;
    everything_up(&e);
    rep = verify(e.db);
    CHECK(rep.records > 20);
    CHECK(rep.bytes > 1000);
    CHECK_EQ(rep.first_bad, 0);
    OK(vtag_seal(e.db, NULL, NULL));
    verify(e.db);
    OK(vtag_compact(e.db, NULL, NULL));
    verify(e.db);
    env_down(&e);
}

/* 1: an error or a finding says so. 0: it opened, verified and shows the same. -1: it
   shows something else and nobody said so. */
static int noticed(const uint8_t *p, size_t n, uint64_t want)
{
    vtag_db *db;
    vtag_snap *s;
    vtag_report rep;
    int seen = 1;
    if (open_image(p, n, &db)) return 1;
    if (vtag_snapshot(db, &s)) { vtag_close(db); return 1; }
    memset(&rep, 0, sizeof rep);
    if (!vtag_verify(s, &rep, NULL, NULL) && !rep.bad)
        seen = content_hash(s) == want ? 0 : -1;
    vtag_release(s);
    vtag_close(db);
    return seen;
}

/* test_bits.c flips every bit; here the sanitizers look on. */
static void a_flipped_bit_anywhere_is_found_or_changes_nothing(void)
{
    env e;
    void *raw;
    size_t n, i;
    uint64_t want;
    uint8_t *p;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    want = hash_of(e.db);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    for (i = 0; i < n; i += 23) {
        p[i] ^= (uint8_t)(1u << i % 8);
        CHECK(noticed(p, n, want) >= 0); /* never another content unnoticed */
        p[i] ^= (uint8_t)(1u << i % 8);
    }
    free(raw);
    env_down(&e);
}

static void count_log(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)at;
    if (err && msg && *msg) ++*(int *)ctx;
}

static void verify_tells_the_log_where(void)
{
    env e;
    vtag_open_opts o = {0};
    vtag_report rep;
    vtag_db *db;
    vtag_snap *s;
    void *raw;
    size_t n, i;
    int lines = 0;
    uint8_t *p;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    for (i = 65536; i + 4 < n; i++)
        if (!memcmp(p + i, "some", 4)) break;
    REQUIRE(i + 4 < n);
    p[i] ^= 1;
    o.access = VTAG_READ;
    o.log = count_log;
    o.log_ctx = &lines;
    MUST(vtag_open_memory(p, n, &o, &db));
    s = look(db);
    memset(&rep, 0, sizeof rep);
    ERR(VTAG_CORRUPT, vtag_verify(s, &rep, NULL, NULL));
    CHECK(rep.bad >= 1);
    CHECK(lines >= 1);
    CHECK(rep.first_bad > 0 && rep.first_bad <= i);
    vtag_release(s);
    vtag_close(db);
    free(raw);
    env_down(&e);
}

static void a_rotten_payload_or_vector_is_never_handed_out(void)
{
    env e;
    vtag_db *db;
    vtag_snap *s;
    vtag_item it;
    void *raw;
    size_t n, i;
    uint8_t *p;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    for (i = 65536; i + 8 < n && memcmp(p + i, "changed", 7); i++) { }
    REQUIRE(i + 8 < n);
    p[i] ^= 4;
    if (open_image(p, n, &db) == VTAG_OK) {
        s = look(db);
        ERR(VTAG_CORRUPT, vtag_get(s, 50, &it));
        OK(vtag_get(s, 5, &it)); /* the others are well */
        vtag_release(s);
    }
    vtag_close(db);
    free(raw);
    env_down(&e);
}

static int cancel_now(void *ctx, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ++*(int *)ctx;
    return 1;
}

static void long_calls_can_be_cancelled(void)
{
    env e;
    vtag_snap *s;
    vtag_report rep;
    vtag_batch *b;
    uint64_t before, i;
    vtag_tag a;
    float x[128] = {1};
    int calls = 0;
    everything_up(&e);
    a = declare(e.db, "m@3", 128, VTAG_COSINE);
    b = begin(e.db);
    for (i = 100; i < 20000; i++) {
        vtag_vec v = vec(a, 128, x);
        x[1] = (float)i;
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    before = hash_of(e.db);
    s = look(e.db);
    ERR(VTAG_CANCELLED, vtag_verify(s, &rep, cancel_now, &calls));
    ERR(VTAG_CANCELLED, vtag_copy(s, "copy.vtag", cancel_now, &calls));
    vtag_release(s);
    CHECK(ram_find(&e.r, "copy.vtag") == NULL); /* nothing half done stays */
    ERR(VTAG_CANCELLED, vtag_compact(e.db, cancel_now, &calls));
    CHECK(calls >= 3);
    CHECK_EQ(hash_of(e.db), before);
    verify(e.db);
    env_down(&e);
}

/* ---- Copy ---------------------------------------------------------------------------------- */

static void a_copy_shows_the_same_and_keeps_the_identity(void)
{
    env e;
    vtag_db *copy;
    vtag_snap *s;
    vtag_stat a, b;
    everything_up(&e);
    s = look(e.db);
    OK(vtag_copy(s, "copy.vtag", NULL, NULL));
    ERR(VTAG_EXISTS, vtag_copy(s, "copy.vtag", NULL, NULL));
    copy = env_open(&e, "copy.vtag", VTAG_EXISTING);
    CHECK_EQ(hash_of(copy), content_hash(s));
    a = stat_of(e.db);
    b = stat_of(copy);
    CHECK(!memcmp(a.uuid, b.uuid, 16));
    CHECK_EQ(a.revision, b.revision);
    verify(copy);
    put2(copy, 1000, "goes its own way", (vtag_tag)(1u << 20 | 1u << 8 | 1u), 1, 0);
    CHECK_EQ(hash_of(e.db), content_hash(s));
    vtag_release(s);
    vtag_close(copy);
    env_down(&e);
}

static void a_copy_is_of_its_snapshot_not_of_later_commits(void)
{
    env e;
    vtag_db *copy;
    vtag_snap *s;
    uint64_t before;
    everything_up(&e);
    s = look(e.db);
    before = content_hash(s);
    OK(del(e.db, 1));
    OK(vtag_copy(s, "copy.vtag", NULL, NULL));
    vtag_release(s);
    copy = env_open(&e, "copy.vtag", VTAG_READ);
    CHECK_EQ(hash_of(copy), before);
    vtag_close(copy);
    env_down(&e);
}

/* ---- Compact -------------------------------------------------------------------------------- */

static void compaction_keeps_all_that_is_seen(void)
{
    env e;
    uint64_t before;
    vtag_stat a, b;
    everything_up(&e);
    before = hash_of(e.db);
    a = stat_of(e.db);
    OK(vtag_compact(e.db, NULL, NULL));
    b = stat_of(e.db);
    CHECK_EQ(hash_of(e.db), before);
    CHECK(!memcmp(a.uuid, b.uuid, 16));
    CHECK_EQ(a.revision, b.revision);
    CHECK_EQ(b.commit, a.commit + 1); /* its line in the history is a commit */
    env_reopen(&e);
    CHECK_EQ(hash_of(e.db), before);
    verify(e.db);
    env_down(&e);
}

static void compaction_gives_space_back(void)
{
    env e;
    vtag_tag a;
    vtag_batch *b;
    uint64_t i;
    float x[256] = {1};
    vtag_stat before, after;
    env_up(&e);
    a = declare(e.db, "m@1", 256, VTAG_COSINE);
    b = begin(e.db);
    for (i = 0; i < 2000; i++) {
        vtag_vec v = vec(a, 256, x);
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    b = begin(e.db);
    for (i = 0; i < 1900; i++) OK(vtag_del(b, i));
    OK(vtag_commit(b));
    before = stat_of(e.db);
    OK(vtag_compact(e.db, NULL, NULL));
    after = stat_of(e.db);
    CHECK(after.file_bytes < before.file_bytes / 4);
    CHECK(after.file_bytes >= 100 * 1024);
    CHECK_EQ(after.items, 100);
    CHECK_EQ(after.rows, 100);
    env_down(&e);
}

static void other_handles_move_over_after_a_compaction(void)
{
    env e;
    vtag_db *reader, *writer;
    vtag_snap *old;
    uint64_t before;
    everything_up(&e);
    reader = env_open(&e, "t.vtag", VTAG_READ);
    writer = env_open(&e, "t.vtag", VTAG_EXISTING);
    old = look(reader);
    before = content_hash(old);
    OK(vtag_compact(e.db, NULL, NULL));
    CHECK_EQ(content_hash(old), before); /* undisturbed */
    CHECK_EQ(hash_of(reader), before);   /* and over at its next snapshot */
    put(writer, 77, "a writer that was open all along", NULL, 0);
    CHECK_EQ(hash_of(reader), hash_of(e.db));
    CHECK(hash_of(reader) != before);
    CHECK_EQ(content_hash(old), before);
    OK(vtag_compact(writer, NULL, NULL));
    put(e.db, 78, "and back", NULL, 0);
    CHECK_EQ(hash_of(reader), hash_of(writer));
    vtag_release(old);
    vtag_close(reader);
    vtag_close(writer);
    verify(e.db);
    env_down(&e);
}

static void compaction_does_not_launder_rot(void)
{
    env e;
    vtag_db *db;
    ram_node *node;
    size_t i;
    everything_up(&e);
    vtag_close(e.db);
    node = ram_find(&e.r, "t.vtag");
    for (i = 65536; i + 8 < node->bytes && memcmp(node->p + i, "changed", 7); i++) { }
    REQUIRE(i + 8 < node->bytes);
    node->p[i] ^= 4;
    e.db = NULL;
    db = env_open(&e, "t.vtag", VTAG_EXISTING);
    ERR(VTAG_CORRUPT, vtag_compact(db, NULL, NULL));
    vtag_close(db);
    CHECK(ram_find(&e.r, "t.vtag") == node); /* the old file stays in its place */
    env_down(&e);
}

/* A row gets a new checksum where it goes: not before the old one was asked. */
static void compaction_does_not_launder_a_rotten_vector(void)
{
    env e;
    ram_node *node;
    const vt_seg *seg;
    uint64_t at;
    uint32_t i;
    everything_up(&e);
    seg = &e.db->state->rows.a[0];
    at = seg->f.at + vtf_vectors_at(seg->f.cap);
    node = ram_find(&e.r, "t.vtag");
    for (i = 0; i < seg->f.rows; i++) node->p[at + (uint64_t)i * seg->stride] ^= 1;
    ERR(VTAG_CORRUPT, vtag_compact(e.db, NULL, NULL));
    CHECK(ram_find(&e.r, "t.vtag") == node);
    env_down(&e);
}

static void compaction_by_who_holds_a_batch_is_refused(void)
{
    env e;
    vtag_batch *b;
    everything_up(&e);
    b = begin(e.db);
    ERR(VTAG_ARG, vtag_compact(e.db, NULL, NULL));
    vtag_abort(b);
    OK(vtag_compact(e.db, NULL, NULL));
    env_down(&e);
}

static void compacting_an_empty_file_is_fine(void)
{
    env e;
    env_up(&e);
    OK(vtag_compact(e.db, NULL, NULL));
    OK(vtag_compact(e.db, NULL, NULL));
    CHECK(stat_of(e.db).file_bytes <= 384 * 1024);
    verify(e.db);
    env_down(&e);
}

static void read_only_handles_change_nothing(void)
{
    env e;
    vtag_db *db;
    everything_up(&e);
    vtag_close(e.db);
    e.db = NULL;
    db = env_open(&e, "t.vtag", VTAG_READ);
    ram_reset_counts(&e.r);
    ERR(VTAG_READONLY, vtag_compact(db, NULL, NULL));
    ERR(VTAG_READONLY, vtag_seal(db, NULL, NULL));
    ERR(VTAG_READONLY, vtag_flush(db));
    walk(db);
    vtag_close(db);
    CHECK_EQ(e.r.writes, 0);
    env_down(&e);
}

/* ---- Stats --------------------------------------------------------------------------------- */

static void an_empty_file_has_128_kib(void)
{
    env e;
    vtag_stat st;
    env_up(&e);
    st = stat_of(e.db);
    CHECK_EQ(st.file_bytes, 128 * 1024);
    CHECK_EQ(st.items + st.rows + st.events, 0);
    CHECK_EQ(st.tags + st.segments, 0);
    CHECK_EQ(st.active, 0);
    CHECK(st.isa && *st.isa);
    env_down(&e);
}

static void commits_are_counted_and_dated(void)
{
    env e;
    uint64_t before;
    env_up(&e);
    declare(e.db, "m@1", 2, VTAG_COSINE);
    before = stat_of(e.db).commit;
    e.r.clock += 777;
    put(e.db, 1, "x", NULL, 0);
    CHECK_EQ(stat_of(e.db).commit, before + 1);
    CHECK_EQ(stat_of(e.db).time, e.r.clock);
    env_down(&e);
}

/* ---- Opening what is no good file ------------------------------------------------------------ */

static void every_truncated_length_is_refused_or_an_older_state(void)
{
    env e;
    void *raw;
    size_t n, len, opened = 0;
    uint8_t *p;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    for (len = n; len-- > 0;) {
        POISON_BYTES(p + len, 1); /* a read past the end is a report */
        opened += open_and_walk(p, len) == VTAG_OK;
    }
    UNPOISON_BYTES(p, n);
    printf("truncated: %lu of %lu lengths open\n", (unsigned long)opened, (unsigned long)n);
    free(raw);
    env_down(&e);
}

static void a_file_of_zeros_or_noise_is_refused(void)
{
    size_t n = 192 * 1024, i;
    uint8_t *raw = malloc(n + 64), *p = raw + (64 - (uintptr_t)raw % 64) % 64;
    uint64_t seed = t_seed();
    memset(p, 0, n);
    ERR(VTAG_FORMAT, open_and_walk(p, n));
    for (i = 0; i < n; i++) p[i] = (uint8_t)t_rand(&seed);
    ERR(VTAG_FORMAT, open_and_walk(p, n));
    CHECK(open_and_walk(p, 0) != VTAG_OK);
    free(raw);
}

static void any_changed_byte_is_an_answer_never_a_crash(void)
{
    env e;
    void *raw;
    size_t n, i;
    uint8_t *p;
    const uint8_t *touched;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    touched = ram_find(&e.r, "t.vtag")->touched;
    for (i = 0; i < n; i++) {
        uint8_t old = p[i];
        if (!touched[i] && i % 97) continue;
        p[i] = (uint8_t)~old;
        (void)open_and_walk(p, n);
        p[i] = (uint8_t)(old + 1);
        if (touched[i]) (void)open_and_walk(p, n);
        p[i] = old;
    }
    OK(open_and_walk(p, n));
    free(raw);
    env_down(&e);
}

/* ---- Versions and features ------------------------------------------------------------------------ */

static vtag_err open_with_identity(uint32_t at, uint64_t bits, vtag_access access)
{
    env e;
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    vtag_err err;
    uint64_t word;
    uint32_t crc;
    uint8_t *p;
    everything_up(&e);
    vtag_close(e.db);
    e.db = NULL;
    p = ram_find(&e.r, "t.vtag")->p;
    memcpy(&word, p + at, 8);
    word ^= bits;
    memcpy(p + at, &word, 8);
    crc = vt_crc32c(0, p, VTF_IDENTITY - 4);
    memcpy(p + VTF_IDENTITY - 4, &crc, 4);
    o.io = &e.r.io;
    o.access = access;
    err = vtag_open("t.vtag", &o, &db);
    if (!err) verify(db);
    vtag_close(db);
    env_down(&e);
    return err;
}

static void a_newer_format_is_refused(void)
{
    uint64_t newer = (uint64_t)(VTF_VERSION ^ (VTF_VERSION + 1)) << 32;
    ERR(VTAG_FORMAT, open_with_identity(8, newer, VTAG_EXISTING));
    ERR(VTAG_FORMAT, open_with_identity(8, newer, VTAG_READ));
}

static void unknown_features_are_refused_by_what_they_ask(void)
{
    uint32_t ok = offsetof(vtf_identity, compatible), read = offsetof(vtf_identity, read_compatible);
    uint32_t no = offsetof(vtf_identity, incompatible);
    OK(open_with_identity(ok, 1, VTAG_EXISTING));
    ERR(VTAG_READONLY, open_with_identity(read, 1, VTAG_EXISTING));
    OK(open_with_identity(read, 1, VTAG_READ));
    ERR(VTAG_FORMAT, open_with_identity(no, 1, VTAG_READ));
    ERR(VTAG_FORMAT, open_with_identity(no, 1ull << 63, VTAG_EXISTING));
}

static void a_file_of_the_other_byte_order_is_refused(void)
{
    ERR(VTAG_FORMAT, open_with_identity(8, 0x01020304u ^ 0x04030201u, VTAG_READ));
}

static void an_unaligned_image_is_copied(void)
{
    env e;
    void *raw;
    size_t n;
    uint8_t *p, *odd;
    vtag_db *db;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    odd = malloc(n + 65);
    memcpy(odd + 1, p, n);
    MUST(open_image(odd + 1, n, &db));
    CHECK_EQ(hash_of(db), hash_of(e.db));
    vtag_close(db);
    free(odd);
    free(raw);
    env_down(&e);
}

static void a_memory_store_is_read_only(void)
{
    env e;
    void *raw;
    size_t n;
    uint8_t *p;
    vtag_db *db;
    vtag_batch *b;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    MUST(vtag_open_memory(p, n, NULL, &db));
    ERR(VTAG_READONLY, vtag_begin(db, NULL, &b));
    ERR(VTAG_READONLY, vtag_compact(db, NULL, NULL));
    vtag_close(db);
    free(raw);
    env_down(&e);
}

/* A slot names a copy of the first extent's header, which is torn; opening puts the copy
   where it belongs, in memory, and goes on reading the image. */
static void a_recovery_under_way_is_finished_in_memory_at_any_alignment(void)
{
    env e;
    void *raw;
    size_t n, at, shift;
    uint8_t *p;
    everything_up(&e);
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    for (shift = 0; shift < 2; shift++) {
        uint8_t *room = calloc(1, n + VTF_ALIGN + 128), *q = room;
        vtf_range g = {VTF_FRONT, sizeof(vtf_extent), 0};
        vtf_slot *slot;
        vtag_db *db = NULL;
        REQUIRE(room != NULL);
        while ((uintptr_t)q % 64) q++;
        q += shift;
        memcpy(q, p, n);
        at = (n + VTF_ALIGN - 1) / VTF_ALIGN * VTF_ALIGN;
        g.xxh = vt_xxh64(q + VTF_FRONT, sizeof(vtf_extent));
        memcpy(q + n, &g, sizeof g);
        memcpy(q + n + sizeof g, q + VTF_FRONT, sizeof(vtf_extent));
        memset(q + VTF_FRONT, 0xA5, sizeof(vtf_extent)); /* torn by the rewrite */
        slot = (vtf_slot *)calloc(1, sizeof *slot);
        REQUIRE(slot != NULL);
        memcpy(slot, slot_of(p, 1), sizeof *slot);
        slot->redo_at = n;
        slot->redo_n = 1;
        slot->redo_xxh = vt_xxh64(&g, sizeof g);
        slot->crc = vtf_crc_slot(slot);
        memcpy(q + VTF_SLOT_AT(slot->index), slot, sizeof *slot);
        OK(open_image(q, at + VTF_ALIGN, &db));
        if (db) walk(db);
        vtag_close(db);
        free(slot);
        free(room);
    }
    free(raw);
    env_down(&e);
}

static void a_text_file_is_not_a_store(void)
{
    const char *path = t_path("letter.txt");
    vtag_db *db = NULL;
    FILE *f = fopen(path, "w");
    char back[32] = {0};
    REQUIRE(f != NULL);
    fputs("Dear vtag,\n", f);
    fclose(f);
    ERR(VTAG_FORMAT, vtag_open(path, NULL, &db));
    CHECK(db == NULL);
    f = fopen(path, "r");
    REQUIRE(f != NULL);
    CHECK_EQ(fread(back, 1, sizeof back - 1, f), 11); /* and it is left as it was */
    fclose(f);
    CHECK_STR(back, "Dear vtag,\n");
}

static void access_says_what_must_be_there(void)
{
    const char *path = t_path("access.vtag");
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    o.access = VTAG_EXISTING;
    ERR(VTAG_NOTFOUND, vtag_open(path, &o, &db));
    o.access = VTAG_READ;
    ERR(VTAG_NOTFOUND, vtag_open(path, &o, &db));
    o.access = VTAG_NEW;
    OK(vtag_open(path, &o, &db));
    vtag_close(db);
    db = NULL;
    ERR(VTAG_EXISTS, vtag_open(path, &o, &db));
    CHECK(db == NULL);
    OK(vtag_open(path, NULL, &db));
    vtag_close(db);
    ERR(VTAG_ARG, vtag_open(NULL, NULL, &db));
    ERR(VTAG_ARG, vtag_open(path, NULL, NULL));
}

static void a_directory_is_not_a_store(void)
{
    vtag_db *db = NULL;
    vtag_err err = vtag_open(".", NULL, &db);
    CHECK(err == VTAG_IO || err == VTAG_FORMAT);
    CHECK(db == NULL);
}

static void closing_null_and_releasing_null_are_legal(void)
{
    vtag_close(NULL);
    vtag_release(NULL);
    vtag_abort(NULL);
    CHECK(1);
}

static void a_snapshot_outlives_its_handle(void)
{
    const char *path = t_path("outlives.vtag");
    vtag_db *db;
    vtag_snap *s;
    uint64_t before;
    MUST(vtag_open(path, NULL, &db));
    put2(db, 1, "x", declare(db, "m@1", 2, VTAG_COSINE), 1, 0);
    s = look(db);
    before = content_hash(s);
    vtag_close(db);
    CHECK_EQ(content_hash(s), before);
    vtag_release(s);
}

static void every_error_has_a_text(void)
{
    int i, j;
    for (i = 0; i < VTAG_ERR_COUNT; i++) {
        CHECK(vtag_strerror((vtag_err)i) && *vtag_strerror((vtag_err)i));
        for (j = 0; j < i; j++) CHECK(strcmp(vtag_strerror((vtag_err)i), vtag_strerror((vtag_err)j)));
    }
    CHECK(vtag_strerror((vtag_err)9999) != NULL);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_good_file_verifies_and_counts_what_it_checked);
    RUN(a_flipped_bit_anywhere_is_found_or_changes_nothing);
    RUN(verify_tells_the_log_where);
    RUN(a_rotten_payload_or_vector_is_never_handed_out);
    RUN(long_calls_can_be_cancelled);
    RUN(a_copy_shows_the_same_and_keeps_the_identity);
    RUN(a_copy_is_of_its_snapshot_not_of_later_commits);
    RUN(compaction_keeps_all_that_is_seen);
    RUN(compaction_gives_space_back);
    RUN(other_handles_move_over_after_a_compaction);
    RUN(compaction_does_not_launder_rot);
    RUN(compaction_does_not_launder_a_rotten_vector);
    RUN(compaction_by_who_holds_a_batch_is_refused);
    RUN(compacting_an_empty_file_is_fine);
    RUN(read_only_handles_change_nothing);
    RUN(an_empty_file_has_128_kib);
    RUN(commits_are_counted_and_dated);
    RUN(every_truncated_length_is_refused_or_an_older_state);
    RUN(a_file_of_zeros_or_noise_is_refused);
    RUN(any_changed_byte_is_an_answer_never_a_crash);
    RUN(a_newer_format_is_refused);
    RUN(unknown_features_are_refused_by_what_they_ask);
    RUN(a_file_of_the_other_byte_order_is_refused);
    RUN(an_unaligned_image_is_copied);
    RUN(a_memory_store_is_read_only);
    RUN(a_recovery_under_way_is_finished_in_memory_at_any_alignment);
    RUN(a_text_file_is_not_a_store);
    RUN(access_says_what_must_be_there);
    RUN(a_directory_is_not_a_store);
    RUN(closing_null_and_releasing_null_are_legal);
    RUN(a_snapshot_outlives_its_handle);
    RUN(every_error_has_a_text);
    return t_end();
}
