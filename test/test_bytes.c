/* What vtag_stat says of bytes, and what a compaction does about them: live_bytes is what a
   compaction leaves, within a tenth or 128 KiB, over patterns of churn; a compaction leaves no
   more than sealing the same state would; where it would gain nothing it does nothing. */
#include "engine.h"
#include "test.h"
#include "util.h"

enum { WIDE = 64 };

static void wide_vector(uint64_t seed, float *x) { random_vector(&seed, x, WIDE, 64); }

static vtag_vec wide(vtag_tag tag, float *x, uint64_t seed)
{
    vtag_vec v = {0};
    wide_vector(seed, x);
    v.tag = tag;
    v.dim = WIDE;
    v.x = x;
    return v;
}

/* Puts items [from, to) in one batch, each with size bytes of text and, unless tag is 0, a vector. */
static void put_many(vtag_db *db, vtag_tag tag, uint64_t from, uint64_t to, size_t size, uint64_t seed)
{
    char *text = malloc(size + 1);
    vtag_batch *b = begin(db);
    uint64_t id;
    for (id = from; id < to; id++) {
        float x[WIDE];
        vtag_vec v = wide(tag, x, seed + id);
        vtag_item it = {0};
        memset(text, 'a' + (int)((seed + id) % 26), size);
        it.id = id;
        it.data = text;
        it.size = size;
        OK(vtag_put(b, &it, &v, tag != 0));
    }
    OK(vtag_commit(b));
    free(text);
}

static void del_many(vtag_db *db, uint64_t from, uint64_t to, uint64_t keep_each)
{
    vtag_batch *b = begin(db);
    uint64_t id;
    for (id = from; id < to; id++)
        if (id % keep_each) OK(vtag_del(b, id));
    OK(vtag_commit(b));
}

/* ---- Patterns of churn ------------------------------------------------------------ */

static void payloads_replaced(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_COSINE);
    uint64_t round;
    for (round = 0; round < 6; round++) put_many(db, t, 0, 3000, 700, round * 7919);
}

static void nearly_all_deleted(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_L2SQ);
    put_many(db, t, 0, 8000, 900, 1);
    del_many(db, 0, 8000, 50);
}

static void a_tag_retired(vtag_db *db)
{
    vtag_tag a = declare(db, "m@1", WIDE, VTAG_COSINE), b = declare(db, "m@2", WIDE, VTAG_COSINE);
    put_many(db, a, 0, 6000, 100, 1);
    put_many(db, b, 0, 6000, 100, 1);
    OK(retire(db, b, NULL, NULL));
}

static void many_small_commits(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_COSINE);
    uint64_t i;
    for (i = 0; i < 1500; i++) put_many(db, t, i % 97, i % 97 + 1, 40 + i % 300, i);
}

static void texts_without_vectors(vtag_db *db)
{
    declare(db, "m@1", WIDE, VTAG_COSINE);
    put_many(db, 0, 0, 2000, 20000, 3);
    del_many(db, 0, 2000, 4);
    put_many(db, 0, 0, 2000, 300, 5);
}

static void notes_waivers_and_metadata(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_COSINE);
    char text[1000];
    uint64_t i;
    memset(text, 'w', sizeof text);
    text[900] = 0;
    put_many(db, t, 0, 500, 100, 1);
    for (i = 0; i < 500; i++) {
        vtag_batch *b = begin(db);
        vtag_item it = item_at(i, 0);
        vtag_event ev = {0};
        ev.text = text;
        OK(vtag_meta_set(b, i % 3 ? "state" : "other", text, 900));
        OK(vtag_waive(b, &it, t, text));
        OK(vtag_note(b, &ev));
        OK(vtag_commit(b));
    }
}

static void nothing_at_all(vtag_db *db) { declare(db, "m@1", WIDE, VTAG_COSINE); }

static void one_item(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_COSINE);
    put_many(db, t, 1, 2, 300, 1);
}

static void a_large_import(vtag_db *db)
{
    vtag_tag t = declare(db, "m@1", WIDE, VTAG_COSINE);
    put_many(db, t, 0, 70000, 10, 1);
}

typedef struct churn {
    const char *name;
    void (*make)(vtag_db *db);
} churn;

static const churn churns[] = {
    {"payloads replaced", payloads_replaced}, {"nearly all deleted", nearly_all_deleted},
    {"a tag retired", a_tag_retired},         {"many small commits", many_small_commits},
    {"texts alone", texts_without_vectors},   {"notes and waivers", notes_waivers_and_metadata},
    {"nothing", nothing_at_all},              {"one item", one_item},
    {"a large import", a_large_import}};

/* ---- Promises ----------------------------------------------------------------------- */

static void live_bytes_are_what_a_compaction_leaves(void)
{
    size_t i;
    for (i = 0; i < LENGTH(churns); i++) {
        env e;
        vtag_stat before, after;
        uint64_t hash, off;
        env_up(&e);
        churns[i].make(e.db);
        before = stat_of(e.db);
        hash = hash_of(e.db);
        OK(vtag_compact(e.db, NULL, NULL));
        after = stat_of(e.db);
        off = before.live_bytes > after.file_bytes ? before.live_bytes - after.file_bytes
                                                   : after.file_bytes - before.live_bytes;
        printf("%-20s %9llu bytes, %9llu live, %9llu after\n", churns[i].name,
               (unsigned long long)before.file_bytes, (unsigned long long)before.live_bytes,
               (unsigned long long)after.file_bytes);
        CHECK(off <= after.file_bytes / 10 || off <= 128 * 1024);
        CHECK(after.file_bytes <= before.file_bytes);
        CHECK_EQ(hash_of(e.db), hash);
        verify(e.db);
        env_down(&e);
    }
}

static void a_second_compaction_does_nothing_and_says_so(void)
{
    size_t i;
    for (i = 0; i < LENGTH(churns); i++) {
        env e;
        vtag_stat once, twice;
        env_up(&e);
        churns[i].make(e.db);
        OK(vtag_compact(e.db, NULL, NULL));
        once = stat_of(e.db);
        OK(vtag_compact(e.db, NULL, NULL));
        twice = stat_of(e.db);
        CHECK_EQ(twice.commit, once.commit);
        CHECK_EQ(twice.file_bytes, once.file_bytes);
        CHECK_EQ(twice.events, once.events);
        CHECK_EQ(e.r.opens, 1); /* and nothing is left beside it */
        env_down(&e);
    }
}

static void a_compaction_leaves_no_more_than_sealing_would(void)
{
    size_t i;
    for (i = 0; i < LENGTH(churns); i++) {
        env e, f;
        env_up(&e);
        env_up(&f);
        churns[i].make(e.db);
        churns[i].make(f.db);
        OK(vtag_seal(e.db, NULL, NULL));
        OK(vtag_compact(f.db, NULL, NULL));
        CHECK(stat_of(f.db).file_bytes <= stat_of(e.db).file_bytes);
        env_down(&f);
        env_down(&e);
    }
}

/* What was deleted is gone after a compaction, also where the file gets no smaller by it. */
static void a_compaction_drops_what_was_deleted_even_if_it_gains_no_bytes(void)
{
    env e;
    vtag_tag t;
    size_t n;
    void *raw;
    uint8_t *p;
    env_up(&e);
    t = declare(e.db, "m@1", 2, VTAG_COSINE);
    put2(e.db, 1, "kept", t, 1, 0);
    put2(e.db, 2, "a secret that was deleted", t, 0, 1);
    OK(del(e.db, 2));
    OK(vtag_compact(e.db, NULL, NULL));
    p = ram_image(&e.r, "t.vtag", &n, &raw);
    CHECK(!memmem(p, n, "a secret that was deleted", 25));
    CHECK(memmem(p, n, "kept", 4) != NULL);
    free(raw);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(live_bytes_are_what_a_compaction_leaves);
    RUN(a_second_compaction_does_nothing_and_says_so);
    RUN(a_compaction_leaves_no_more_than_sealing_would);
    RUN(a_compaction_drops_what_was_deleted_even_if_it_gains_no_bytes);
    return t_end();
}
