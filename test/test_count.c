// build: plain
/* What work grows with, as counts: looks at keys and at vectors, bytes asked of the allocator,
   bytes written. Nothing here is a time. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#define VTAG_COUNT
#include "heap.h"
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"

uint64_t vt_count_compare;

/* ---- A store whose writes are counted, and which nobody needs on a disk ------------ */

static struct { vtag_io io; uint64_t written; } counted;

static vtag_err count_write(void *file, uint64_t at, const void *p, size_t n)
{
    counted.written += n;
    return vt_os_io()->write(file, at, p, n);
}

static vtag_err no_sync(void *file)
{
    (void)file;
    return VTAG_OK;
}

static vtag_db *store(const char *name)
{
    vtag_open_opts o;
    vtag_db *db = NULL;
    counted.io = *vt_os_io();
    counted.io.write = count_write;
    counted.io.sync = no_sync;
    memset(&o, 0, sizeof o);
    o.io = &counted.io;
    remove(t_path(name));
    MUST(vtag_open(t_path(name), &o, &db));
    return db;
}

typedef struct work { uint64_t looks, bytes, written; } work;

static work work_now(void)
{
    work w;
    w.looks = vt_count_compare;
    w.bytes = heap.bytes;
    w.written = counted.written;
    return w;
}

static work work_since(work w)
{
    w.looks = vt_count_compare - w.looks;
    w.bytes = heap.bytes - w.bytes;
    w.written = counted.written - w.written;
    return w;
}

/* ---- Parts ---------------------------------------------------------------------------- */

/* The work of putting n parts under each of tags: new, the same again, with other numbers; of
   deleting them; and of all of it with its commit. */
static void work_of_parts(size_t n, size_t tags, work w[5])
{
    vtag_db *db = store("parts.vtag");
    vtag_vec *v = calloc(n * tags, sizeof *v);
    vtag_item it = item_of(1, NULL);
    vtag_tag tag[8];
    vtag_batch *b;
    float x[2] = {1, 2};
    size_t i, j;
    w[4] = work_now();
    REQUIRE(v != NULL);
    for (i = 0; i < tags; i++) {
        char name[8];
        snprintf(name, sizeof name, "m@%d", (int)i + 1);
        tag[i] = declare(db, name, 1, VTAG_L2SQ);
    }
    for (i = 0; i < n * tags; i++) v[i] = vec(tag[i % tags], 1, x);
    b = begin(db);
    for (j = 0; j < 4; j++) {
        work from = work_now();
        for (i = 0; j == 2 && i < n * tags; i++) v[i].x = &x[1];
        if (j < 3) OK(vtag_put(b, &it, v, n * tags));
        else OK(vtag_del(b, 1));
        w[j] = work_since(from);
    }
    OK(vtag_commit(b));
    w[4] = work_since(w[4]);
    vtag_close(db);
    free(v);
}

/* Eight times the parts are no more than ten times the work, whatever is done. */
static void work_is_linear_in_the_parts_of_an_item(void)
{
    static const size_t tags[] = {1, 2, 8};
    size_t i, j;
    for (i = 0; i < LENGTH(tags); i++) {
        work few[5], many[5];
        work_of_parts(16384 / tags[i], tags[i], few);
        work_of_parts(131072 / tags[i], tags[i], many);
        for (j = 0; j < 4; j++) {
            CHECK(many[j].looks <= 10 * few[j].looks + 100);
            CHECK(many[j].bytes <= 10 * few[j].bytes + 4096);
            CHECK(many[j].looks <= 131072 * (4 + 2 * tags[i]));
        }
        CHECK(many[4].written <= 10 * few[4].written);
        printf("looks a part, %d tags: new %.2f, same %.2f, other %.2f, deleted %.2f\n", (int)tags[i],
               (double)many[0].looks / 131072, (double)many[1].looks / 131072, (double)many[2].looks / 131072,
               (double)many[3].looks / 131072);
    }
}

/* ---- Keys in one batch ------------------------------------------------------------------ */

enum { KEYS = 2000000, PIECE = 100000 };

static int how_ids; /* 0: by key; 1: numbers of a hash; 2: in a row; 3: downwards */

static uint64_t id_of(uint64_t i)
{
    uint64_t seed = i;
    return how_ids == 1 ? t_rand(&seed) >> 1 : how_ids == 2 ? i : KEYS - i;
}

static void put_piece(vtag_batch *b, vtag_tag tag, uint64_t from)
{
    static const float x[1] = {1};
    vtag_vec v = vec(tag, 1, x);
    uint64_t i;
    for (i = from; i < from + PIECE; i++) {
        vtag_item it;
        char key[32];
        memset(&it, 0, sizeof it);
        snprintf(key, sizeof key, "key %llu", (unsigned long long)i);
        if (how_ids) it.id = id_of(i);
        else it.key = key;
        if (!OK(vtag_put(b, &it, &v, 1))) break;
    }
}

/* The first pieces are small enough to have few runs; the last ones must not have many. */
static void many_keys_in_one_batch(int ids, uint64_t keys)
{
    vtag_db *db = store("keys.vtag");
    vtag_tag tag = declare(db, "m@1", 1, VTAG_L2SQ);
    vtag_batch *b = begin(db);
    work second = {0, 0, 0}, last = {0, 0, 0}, all = work_now();
    uint64_t at;
    how_ids = ids;
    for (at = 0; at < keys; at += PIECE) {
        work from = work_now();
        put_piece(b, tag, at);
        last = work_since(from);
        if (at == PIECE) second = last;
    }
    all = work_since(all);
    CHECK(last.looks <= 2 * second.looks);
    CHECK(all.looks <= 3 * keys / PIECE * second.looks);
    printf("looks a key: %.1f of the second hundred thousand, %.1f of the last, %.1f of all; %.0f bytes written\n",
           (double)second.looks / PIECE, (double)last.looks / PIECE, (double)all.looks / (double)keys,
           (double)all.written / (double)keys);
    vtag_abort(b);
    vtag_close(db);
    remove(t_path("keys.vtag"));
}

static void the_last_of_two_million_hashes_costs_no_more_than_the_first(void) { many_keys_in_one_batch(1, KEYS); }
static void nor_does_the_last_of_many_keys(void) { many_keys_in_one_batch(0, KEYS / 4); }
static void nor_of_ids_in_a_row(void) { many_keys_in_one_batch(2, KEYS / 4); }
static void nor_of_ids_downwards(void) { many_keys_in_one_batch(3, KEYS / 4); }

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(work_is_linear_in_the_parts_of_an_item);
    RUN(the_last_of_two_million_hashes_costs_no_more_than_the_first);
    RUN(nor_does_the_last_of_many_keys);
    RUN(nor_of_ids_in_a_row);
    RUN(nor_of_ids_downwards);
    return t_end();
}
