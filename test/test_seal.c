// build: plain
/* test_seal.c - how sketches come into a file, and what happens when they are wrong

   Sketches are extra: whatever fails, is killed, runs full or is damaged while they are
   made or read, the content and every answer stay as they were. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "heap.h"
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "twin.h"
#include "child.h"
#include <pthread.h>
#include <sys/wait.h>

#define DIM 128u
static const shape plain = {VTAG_L2SQ, VTAG_F32, DIM, CLUSTERED};

/* ---- A store that is due a sketch ------------------------------------------------- */

static vtag_tag tag_of(vtag_db *db, const char *name)
{
    vtag_snap *s = look(db);
    vtag_tag tag = 0;
    OK(vtag_find(s, name, &tag));
    vtag_release(s);
    return tag;
}

static void put_rows(vtag_batch *b, const shape *s, vtag_tag tag, uint64_t from, uint64_t n)
{
    float *x = malloc(s->dim * sizeof *x);
    uint64_t seed = t_seed() + from, id;
    for (id = from; id < from + n; id++) {
        vtag_vec v = vec(tag, s->dim, x);
        make_vector(s, &seed, id, x);
        put_b(b, id, NULL, &v, 1);
    }
    free(x);
}

/* Rows enough for a sketch, in a segment with room for more: nothing is sketched yet. */
static void store_up(env *e, const shape *s)
{
    uint64_t n = sketchy_items(s);
    vtag_batch *b;
    env_up(e);
    b = begin_for(e->db, n + 400);
    put_rows(b, s, declare_as(b, "a@1", s, 0), 0, n);
    OK(vtag_commit(b));
    CHECK_EQ(sketches_of(e->db, tag_of(e->db, "a@1")), 0);
}

/* A hash of the answers to some queries, and of how much there is. */
static uint64_t answers_of(vtag_db *db, const char *name)
{
    digest m = {1};
    vtag_snap *s = look(db);
    vtag_search_opts o = {0};
    uint64_t seed = 5;
    vtag_info info;
    int i;
    o.preview = 1;
    OK(vtag_tag_info(s, tag_of(db, name), &info));
    sum_u64(&m, info.rows);
    for (i = 0; i < 6; i++) {
        float *q = malloc(info.spec.dim * sizeof *q);
        shape near = plain;
        vtag_hit hits[20];
        size_t n = 0, j;
        near.dim = info.spec.dim;
        make_vector(&near, &seed, 1, q);
        OK(vtag_search(s, vec(info.tag, info.spec.dim, q), &o, 20, hits, &n));
        for (j = 0; j < n; j++) {
            sum_u64(&m, hits[j].id);
            sum_bytes(&m, &hits[j].dist, sizeof hits[j].dist);
        }
        free(q);
    }
    vtag_release(s);
    return m.h;
}

/* ---- When ----------------------------------------------------------------------------- */

static void sealing_sketches_and_changes_no_answer(void)
{
    env e;
    uint64_t before, content;
    store_up(&e, &plain);
    before = answers_of(e.db, "a@1");
    content = hash_of(e.db);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    CHECK_EQ(hash_of(e.db), content);
    verify(e.db);
    env_reopen(&e);
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    env_down(&e);
}

static void sealing_twice_writes_nothing_the_second_time(void)
{
    env e;
    store_up(&e, &plain);
    OK(vtag_seal(e.db, NULL, NULL));
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(e.r.writes, 0);
    CHECK_EQ(e.r.syncs, 0);
    env_down(&e);
}

static void a_full_segment_is_sketched_by_its_commit(void)
{
    env e;
    vtag_batch *b;
    env_up(&e);
    b = begin_for(e.db, sketchy_items(&plain));
    put_rows(b, &plain, declare_as(b, "a@1", &plain, 0), 0, sketchy_items(&plain));
    OK(vtag_commit(b));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    verify(e.db);
    env_down(&e);
}

/* Rows behind a sketch: a new one replaces it once they are half as many, and 1 MiB. */
static void a_sketch_that_fell_behind_is_made_again(void)
{
    env e;
    vtag_batch *b;
    vtag_tag a;
    uint64_t n = sketchy_items(&plain);
    env_up(&e);
    b = begin_for(e.db, 4 * n);
    put_rows(b, &plain, declare_as(b, "a@1", &plain, 0), 0, n);
    OK(vtag_commit(b));
    a = tag_of(e.db, "a@1");
    OK(vtag_seal(e.db, NULL, NULL));
    b = begin(e.db);
    put_rows(b, &plain, a, n, n / 2);
    OK(vtag_commit(b));
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK(e.r.bytes_written < 100000); /* not yet */
    b = begin(e.db);
    put_rows(b, &plain, a, n + n / 2, n);
    OK(vtag_commit(b));
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK(e.r.bytes_written > (n * 5 / 2) * DIM / 2);
    CHECK_EQ(sketches_of(e.db, a), 1);
    verify(e.db);
    env_down(&e);
}

static void a_retired_tag_gets_no_sketch(void)
{
    env e;
    vtag_batch *b;
    vtag_tag gone;
    uint64_t n = sketchy_items(&plain);
    env_up(&e);
    declare(e.db, "b@1", 2, VTAG_COSINE); /* active */
    b = begin_for(e.db, n + 400);
    gone = declare_as(b, "a@1", &plain, 0);
    put_rows(b, &plain, gone, 0, n);
    OK(vtag_retire(b, gone, "a mistake", NULL));
    OK(vtag_commit(b));
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, gone), 0);
    env_down(&e);
}

static void copies_and_compactions_make_sketches_and_keep_answers(void)
{
    twin t;
    vtag_snap *s;
    vtag_db *copy;
    uint64_t before, content;
    twin_up(&t, plain, 4 * sketchy_items(&plain) / 3);
    before = answers_of(t.e.db, "without@1");
    content = hash_of(t.e.db);
    s = look(t.e.db);
    OK(vtag_copy(s, "copy", NULL, NULL));
    vtag_release(s);
    copy = env_open(&t.e, "copy", VTAG_EXISTING);
    CHECK_EQ(sketches_of(copy, t.tag[0]), 1);
    CHECK_EQ(sketches_of(copy, t.tag[1]), 0);
    CHECK_EQ(answers_of(copy, "with@1"), before);
    CHECK_EQ(hash_of(copy), content);
    vtag_close(copy);
    OK(vtag_compact(t.e.db, NULL, NULL));
    CHECK_EQ(sketches_of(t.e.db, t.tag[0]), 1);
    CHECK_EQ(answers_of(t.e.db, "with@1"), before);
    CHECK_EQ(answers_of(t.e.db, "without@1"), before);
    CHECK_EQ(hash_of(t.e.db), content);
    verify(t.e.db);
    ram_reset_counts(&t.e.r);
    OK(vtag_seal(t.e.db, NULL, NULL));
    CHECK_EQ(t.e.r.writes, 0); /* there is nothing left to seal */
    twin_down(&t);
}

/* ---- Hooks: a thread of the caller's -------------------------------------------------- */

typedef struct hand { /* does the work when it is waited for, at once, or in a thread */
    void    (*work)(void *);
    void     *arg;
    int       runs, waits, at_once, threaded;
    pthread_t thread;
} hand;

static void *hand_thread(void *p)
{
    hand *h = p;
    h->work(h->arg);
    return NULL;
}

static void hand_run(void *ctx, void (*work)(void *), void *arg)
{
    hand *h = ctx;
    h->work = work;
    h->arg = arg;
    h->runs++;
    if (h->at_once) work(arg);
    if (h->threaded) REQUIRE(!pthread_create(&h->thread, NULL, hand_thread, h));
}

static void hand_wait(void *ctx)
{
    hand *h = ctx;
    h->waits++;
    if (h->threaded) pthread_join(h->thread, NULL);
    else if (!h->at_once) h->work(h->arg);
}

static vtag_batch *begin_with(vtag_db *db, hand *h, uint64_t expect)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    o.expect_rows = expect;
    if (h) o.run = hand_run, o.wait = hand_wait, o.run_ctx = h;
    MUST(vtag_begin(db, &o, &b));
    return b;
}

/* Fills segments of a tag one after the other, so that one is sketched beside the next. */
static uint8_t *file_made_with(hand *h, size_t *bytes, void **raw)
{
    env e;
    vtag_batch *b;
    uint8_t *image;
    vtag_tag a;
    uint64_t n = sketchy_items(&plain);
    env_up(&e);
    b = begin_with(e.db, h, n);
    a = declare_as(b, "a@1", &plain, 0);
    put_rows(b, &plain, a, 0, n + 200);
    put_rows(b, &plain, a, 0, 30); /* of a segment that is being sketched */
    OK(vtag_del(b, 77));
    put_rows(b, &plain, a, n + 200, 3 * n);
    OK(vtag_commit(b));
    CHECK(sketches_of(e.db, a) >= 2);
    if (h) CHECK(h->runs >= 2 && h->runs == h->waits);
    image = ram_image(&e.r, "t.vtag", bytes, raw);
    env_down(&e);
    return image;
}

static void sketching_in_a_thread_changes_no_byte_of_the_file(void)
{
    hand late = {0}, thread = {0};
    size_t bytes[3];
    void *raw[3];
    uint8_t *image[3];
    int i;
    thread.threaded = 1;
    image[0] = file_made_with(NULL, &bytes[0], &raw[0]);
    image[1] = file_made_with(&late, &bytes[1], &raw[1]);
    image[2] = file_made_with(&thread, &bytes[2], &raw[2]);
    for (i = 1; i < 3; i++) {
        CHECK_EQ(bytes[i], bytes[0]);
        CHECK(bytes[i] == bytes[0] && !memcmp(image[i], image[0], bytes[0]));
    }
    for (i = 0; i < 3; i++) free(raw[i]);
}

/* Whichever thread comes upon the row that no sketch can hold. */
static void a_segment_without_a_sketch_is_committed_all_the_same(void)
{
    shape s = {VTAG_DOT, VTAG_F32, 128, UNIFORM};
    int at_once;
    for (at_once = 0; at_once < 2; at_once++) {
        hand h = {0};
        env e;
        uint64_t n = sketchy_items(&s);
        vtag_batch *b;
        vtag_vec v;
        vtag_tag a;
        float x[128] = {1e16f};
        h.at_once = at_once;
        env_up(&e);
        b = begin_with(e.db, &h, n);
        a = declare_as(b, "a@1", &s, 0);
        v = vec(a, 128, x);
        put_b(b, 0, NULL, &v, 1);
        put_rows(b, &s, a, 1, 3 * n);
        OK(vtag_commit(b));
        CHECK(h.runs >= 2 && h.runs == h.waits);
        CHECK_EQ(sketches_of(e.db, a), 1); /* of the segment after it */
        verify(e.db);
        env_down(&e);
    }
}

/* The rows lie in space that the abort gives back: the thread must be done with them. */
static void an_abort_waits_for_the_thread_before_it_gives_its_rows_back(void)
{
    int mapped;
    for (mapped = 0; mapped < 2; mapped++) {
        const char *path = t_path(mapped ? "abort-mapped" : "abort");
        vtag_open_opts o = {0};
        hand h = {0};
        vtag_db *db = NULL;
        vtag_batch *b;
        long live;
        o.no_map = !mapped;
        MUST(vtag_open(path, &o, &db));
        live = heap.live;
        b = begin_with(db, &h, sketchy_items(&plain));
        put_rows(b, &plain, declare_as(b, "a@1", &plain, 0), 0, sketchy_items(&plain) + 200);
        CHECK_EQ(h.runs, 1);
        CHECK_EQ(h.waits, 0);
        vtag_abort(b);
        CHECK_EQ(h.waits, 1);
        CHECK(heap.live <= live + 1); /* the file's table of mappings may have grown */
        vtag_close(db);
    }
}

static void a_forked_child_does_not_wait_for_a_thread_that_it_has_not(void)
{
    env e;
    hand h = {0};
    vtag_batch *b;
    int status = -1;
    pid_t pid;
    env_up(&e);
    b = begin_with(e.db, &h, sketchy_items(&plain));
    put_rows(b, &plain, declare_as(b, "a@1", &plain, 0), 0, sketchy_items(&plain) + 200);
    CHECK_EQ(h.runs, 1);
    pid = fork();
    if (pid == 0) {
        vtag_abort(b);
        leave(h.waits);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    vtag_abort(b);
    CHECK_EQ(h.waits, 1);
    env_down(&e);
}

static void a_commit_that_fails_waits_for_the_thread_once(void)
{
    env e;
    hand h = {0};
    vtag_batch *b;
    env_up(&e);
    b = begin_with(e.db, &h, sketchy_items(&plain));
    put_rows(b, &plain, declare_as(b, "a@1", &plain, 0), 0, sketchy_items(&plain) + 200);
    CHECK_EQ(h.runs, 1);
    vt_fail(b, VTAG_IO);
    ERR(VTAG_IO, vtag_commit(b));
    CHECK_EQ(h.waits, 1);
    env_down(&e);
}

static void a_hook_without_its_counterpart_is_an_argument_error(void)
{
    env e;
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    env_up(&e);
    o.run = hand_run;
    ERR(VTAG_ARG, vtag_begin(e.db, &o, &b));
    OK(vtag_begin(e.db, NULL, &b)); /* and the lock is free */
    vtag_abort(b);
    env_down(&e);
}

/* ---- Beside others --------------------------------------------------------------------- */

typedef struct beside {
    vtag_db *db;
    const char *path;
    uint64_t want;
    int stop, wrong, rounds;
} beside;

static void *search_beside(void *p)
{
    beside *w = p;
    while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
        vtag_snap *s = NULL;
        vtag_hit hits[8], again[8];
        vtag_search_opts o = {0};
        float q[DIM];
        uint64_t seed = (uint64_t)++w->rounds;
        size_t n = 0, m = 0;
        make_vector(&plain, &seed, 1, q);
        o.preview = 1;
        if (vtag_snapshot(w->db, &s) ||
            vtag_search(s, vec(1u << 20 | 1u << 8 | 1, DIM, q), &o, 8, hits, &n) ||
            vtag_search(s, vec(2u << 20 | 1u << 8 | 1, DIM, q), &o, 8, again, &m)) w->wrong++;
        w->wrong += !same_hits(hits, n, again, m);
        vtag_release(s);
    }
    return NULL;
}

static void *write_beside(void *p)
{
    beside *w = p;
    vtag_db *db = NULL;
    uint64_t id;
    if (vtag_open(w->path, NULL, &db)) w->wrong++;
    for (id = 100000; db && !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); id++) {
        vtag_begin_opts o = {0};
        vtag_batch *b = NULL;
        vtag_item it;
        vtag_vec v[2];
        float x[DIM];
        uint64_t seed = id;
        memset(&it, 0, sizeof it);
        it.id = id;
        make_vector(&plain, &seed, id, x);
        v[0] = vec(1u << 20 | 1u << 8 | 1, DIM, x);
        v[1] = vec(2u << 20 | 1u << 8 | 1, DIM, x);
        o.wait_ms = 20000;
        if (vtag_begin(db, &o, &b)) { w->wrong++; break; }
        w->wrong += vtag_put(b, &it, v, 2) != VTAG_OK;
        w->wrong += vtag_commit(b) != VTAG_OK;
        w->rounds++;
    }
    vtag_close(db);
    return NULL;
}

static void sealing_goes_on_beside_a_search_and_another_writer(void)
{
    const char *path = t_path("beside");
    vtag_open_opts o = {0};
    beside reader = {0}, writer = {0};
    pthread_t threads[2];
    vtag_db *db = NULL;
    vtag_batch *b;
    vtag_tag tag[2];
    uint64_t n = sketchy_items(&plain), id;
    int i;
    o.durability = VTAG_NO_SYNC;
    MUST(vtag_open(path, &o, &db));
    b = begin_for(db, 4 * n);
    tag[0] = declare_as(b, "with@1", &plain, 0);
    tag[1] = declare_as(b, "without@1", &plain, VTAG_NO_SKETCH);
    for (id = 0; id < n; id++) {
        uint64_t seed = id;
        float x[DIM];
        vtag_vec v[2];
        make_vector(&plain, &seed, id, x);
        v[0] = vec(tag[0], DIM, x);
        v[1] = vec(tag[1], DIM, x);
        put_b(b, id, NULL, v, 2);
    }
    OK(vtag_commit(b));
    reader.db = db;
    writer.path = path;
    REQUIRE(!pthread_create(&threads[0], NULL, search_beside, &reader));
    REQUIRE(!pthread_create(&threads[1], NULL, write_beside, &writer));
    for (i = 0; i < 6; i++) OK(vtag_seal(db, NULL, NULL));
    __atomic_store_n(&reader.stop, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&writer.stop, 1, __ATOMIC_RELEASE);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(reader.wrong, 0);
    CHECK_EQ(writer.wrong, 0);
    CHECK_EQ(sketches_of(db, tag[0]), 1);
    verify(db);
    vtag_close(db);
}

typedef struct meddler { vtag_db *db; int calls; } meddler;

static int compact_at_first(void *ctx, uint64_t done, uint64_t total)
{
    meddler *m = ctx;
    (void)done; (void)total;
    if (!m->calls++) OK(vtag_compact(m->db, NULL, NULL));
    return 0;
}

static void a_sketch_of_a_file_that_was_compacted_meanwhile_is_dropped(void)
{
    env e;
    meddler m = {0};
    uint64_t before;
    store_up(&e, &plain);
    m.db = env_open(&e, "t.vtag", VTAG_EXISTING);
    before = answers_of(e.db, "a@1");
    OK(vtag_seal(e.db, compact_at_first, &m));
    CHECK(m.calls > 1);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    CHECK_EQ(answers_of(m.db, "a@1"), before);
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1); /* compaction's own */
    verify(e.db);
    vtag_close(m.db);
    env_down(&e);
}

static int seal_at_first(void *ctx, uint64_t done, uint64_t total)
{
    meddler *m = ctx;
    (void)done; (void)total;
    if (!m->calls++) OK(vtag_seal(m->db, NULL, NULL));
    return 0;
}

static void of_two_who_seal_at_once_one_writes(void)
{
    env e;
    meddler m = {0};
    store_up(&e, &plain);
    m.db = env_open(&e, "t.vtag", VTAG_EXISTING);
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, seal_at_first, &m));
    CHECK(e.r.bytes_written < 2 * sketchy_items(&plain) * DIM / 2);
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    verify(e.db);
    vtag_close(m.db);
    env_down(&e);
}

static int stop_it(void *ctx, uint64_t done, uint64_t total)
{
    (void)total;
    return done >= *(uint64_t *)ctx;
}

static void a_cancelled_seal_keeps_what_it_made(void)
{
    env e;
    vtag_batch *b;
    uint64_t limit = 1, n = sketchy_items(&plain), before;
    store_up(&e, &plain);
    b = begin_for(e.db, n + 400);
    put_rows(b, &plain, declare_as(b, "b@1", &plain, 0), n, n);
    OK(vtag_commit(b));
    before = answers_of(e.db, "a@1");
    ERR(VTAG_CANCELLED, vtag_seal(e.db, stop_it, &limit));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "b@1")), 0);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "b@1")), 1);
    env_down(&e);
}

/* ---- What fails ---------------------------------------------------------------------------- */

static uint64_t io_fail_at, io_calls;
static int io_for_good;

static int io_fails(void)
{
    if (!io_fail_at) return 0;
    io_calls++;
    return io_calls == io_fail_at || (io_for_good && io_calls > io_fail_at);
}

static vtag_err bad_size(void *f, uint64_t *n) { return io_fails() ? VTAG_IO : ram_size(f, n); }
static vtag_err bad_allocate(void *f, uint64_t n) { return io_fails() ? VTAG_IO : ram_allocate(f, n); }
static vtag_err bad_sync(void *f) { return io_fails() ? VTAG_IO : ram_sync(f); }

static vtag_err bad_read(void *f, uint64_t at, void *p, size_t n)
{
    return io_fails() ? VTAG_IO : ram_read(f, at, p, n);
}

/* A write that fails is torn in the middle. */
static vtag_err bad_write(void *f, uint64_t at, const void *p, size_t n)
{
    if (!io_fails()) return ram_write(f, at, p, n);
    if (io_calls == io_fail_at) ram_write(f, at, p, n / 2);
    return VTAG_IO;
}

static vtag_err bad_map(void *f, uint64_t at, uint64_t n, const uint8_t **base)
{
    return io_fails() ? VTAG_NOMEM : ram_map(f, at, n, base);
}

static vtag_err bad_lock(void *f, int which, uint32_t ms)
{
    return io_fails() ? VTAG_LOCKED : ram_lock(f, which, ms);
}

static void make_fallible(ram *r)
{
    r->io.size = bad_size;
    r->io.allocate = bad_allocate;
    r->io.sync = bad_sync;
    r->io.read = bad_read;
    r->io.write = bad_write;
    r->io.map = bad_map;
    r->io.lock = bad_lock;
}

/* Seals a copy of the store with the n-th call failing; false: there was none. */
static int seal_with_a_fault(const ram *from, uint64_t n, int memory, int for_good, uint64_t want)
{
    const ram_node *node = ram_find(from, "t.vtag");
    env e;
    long live = heap.live;
    vtag_err err;
    int hit;
    ram_init(&e.r);
    make_fallible(&e.r);
    ram_grow(e.r.node[ram_create(&e.r, "t.vtag")], node->bytes);
    memcpy(ram_find(&e.r, "t.vtag")->p, node->p, (size_t)node->bytes);
    e.db = env_open(&e, "t.vtag", VTAG_EXISTING);
    *(memory ? &heap.fail_at : &io_fail_at) = n;
    heap.calls = io_calls = 0;
    heap.for_good = io_for_good = for_good;
    err = vtag_seal(e.db, NULL, NULL);
    hit = (memory ? heap.calls : io_calls) >= n;
    if (for_good) vtag_close(e.db); /* as if it had been killed there */
    heap.fail_at = io_fail_at = 0;
    CHECK(hit || err == VTAG_OK);
    if (!for_good) {
        CHECK_EQ(answers_of(e.db, "a@1"), want);
        vtag_close(e.db);
    }
    e.db = env_open(&e, "t.vtag", VTAG_EXISTING);
    CHECK_EQ(answers_of(e.db, "a@1"), want);
    if (err == VTAG_OK) CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    declare(e.db, "next@1", 2, VTAG_DOT); /* the next writer mends a torn slot */
    verify(e.db);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    CHECK_EQ(answers_of(e.db, "a@1"), want);
    env_down(&e);
    CHECK_EQ(heap.live, live);
    return hit;
}

static void a_seal_with_any_call_failing_leaves_the_state_before_or_after(void)
{
    env e;
    uint64_t n, want;
    int memory, for_good, points = 0;
    store_up(&e, &plain);
    want = answers_of(e.db, "a@1");
    for (memory = 0; memory < 2; memory++)
        for (for_good = 0; for_good < 2; for_good++)
            for (n = 1; !t_.failed && seal_with_a_fault(&e.r, n, memory, for_good, want); n++) points++;
    printf("%d points of failure\n", points);
    CHECK(points > 40);
    env_down(&e);
}

/* A store of rows that are due a sketch in their commit, on a disk of some bytes. */
static void fill_disk(env *e, uint64_t limit, uint32_t flags)
{
    vtag_batch *b;
    env_up(e);
    e->r.limit = limit;
    b = begin_for(e->db, sketchy_items(&plain));
    put_rows(b, &plain, declare_as(b, "a@1", &plain, flags), 0, sketchy_items(&plain));
    OK(vtag_commit(b));
}

static void a_full_disk_leaves_the_sketch_out_and_the_commit_is_good(void)
{
    env e;
    uint64_t before, bytes;
    fill_disk(&e, 0, VTAG_NO_SKETCH);
    before = answers_of(e.db, "a@1");
    bytes = ram_find(&e.r, "t.vtag")->bytes;
    env_down(&e);
    fill_disk(&e, bytes, 0);
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 0);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 0);
    verify(e.db);
    e.r.limit = 0;
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK_EQ(sketches_of(e.db, tag_of(e.db, "a@1")), 1);
    CHECK_EQ(answers_of(e.db, "a@1"), before);
    env_down(&e);
}

/* ---- What is damaged ------------------------------------------------------------------------ */

typedef struct image { /* a store's bytes, outside of any disk */
    uint8_t *p;
    size_t   bytes;
    void    *raw;
    uint64_t sketch, segment; /* where they lie */
    vt_parts parts;
    uint32_t dim, rows;
} image;

static void image_up(image *m, const shape *s)
{
    env e;
    vtag_snap *snap;
    store_up(&e, s);
    OK(vtag_seal(e.db, NULL, NULL));
    snap = look(e.db);
    m->sketch = snap->state->rows.a[0].f.sketch;
    m->segment = snap->state->rows.a[0].f.at;
    m->rows = snap->state->rows.a[0].f.rows;
    m->dim = vt_sketch_dim(s->dim);
    m->parts = vt_sketch_parts(m->rows, m->dim);
    vtag_release(snap);
    REQUIRE(m->sketch != 0);
    m->p = ram_image(&e.r, "t.vtag", &m->bytes, &m->raw);
    env_down(&e);
}

static vtag_db *image_open(const image *m)
{
    vtag_db *db = NULL;
    MUST(vtag_open_memory(m->p, m->bytes, NULL, &db));
    return db;
}

/* What verify of segment 0's sketch alone says. */
static int finds_damage(vt_check *c)
{
    uint64_t before = c->r->bad;
    vt_check_sketch(c, &c->s->rows.a[0]);
    return c->r->bad > before;
}

static void verify_finds_every_flipped_byte_of_a_sketch(void)
{
    image m;
    vtag_db *db;
    vtag_snap *s;
    vtag_report rep = {0, 0, 0, 0};
    vt_check c;
    uint64_t i, sums;
    image_up(&m, &plain);
    sums = vt_align(m.parts.bytes - m.parts.mean, VTF_SUMMED) / VTF_SUMMED * 4;
    db = image_open(&m);
    s = look(db);
    memset(&c, 0, sizeof c);
    c.s = s->state;
    c.r = &rep;
    CHECK(!finds_damage(&c));
    for (i = 0; i < m.parts.bytes; i += i < m.parts.mean + 600 ? 1 : 97) {
        uint8_t *p = m.p + m.sketch + i;
        if (i >= sizeof(vtf_extent) + sizeof(vtf_sketch) && i < VTF_HEAD_ROOM) continue; /* unused */
        if (i >= VTF_HEAD_ROOM + sums && i < m.parts.mean) continue;
        *p ^= (uint8_t)(1u << i % 8);
        if (!CHECK(finds_damage(&c))) fprintf(stderr, "  byte %u of the sketch\n", (unsigned)i);
        *p ^= (uint8_t)(1u << i % 8);
    }
    CHECK(!finds_damage(&c));
    memset(&rep, 0, sizeof rep);
    m.p[m.sketch + m.parts.codes + 100] ^= 4;
    ERR(VTAG_CORRUPT, vtag_verify(s, &rep, NULL, NULL));
    CHECK_EQ(rep.bad, 1);
    CHECK(rep.first_bad <= m.sketch + m.parts.codes + 100 &&
          rep.first_bad + VTF_SUMMED > m.sketch + m.parts.codes + 100);
    vtag_release(s);
    vtag_close(db);
    free(m.raw);
}

static void a_sketch_outside_the_file_is_damage_and_no_more(void)
{
    image m;
    vtag_db *db;
    vtag_snap *s;
    vtag_report rep = {0, 0, 0, 0};
    uint64_t want;
    image_up(&m, &plain);
    db = image_open(&m);
    want = answers_of(db, "a@1");
    s = look(db);
    s->state->rows.a[0].f.sketch = UINT64_C(1) << 40;
    ERR(VTAG_CORRUPT, vtag_verify(s, &rep, NULL, NULL));
    CHECK_EQ(rep.bad, 1);
    vtag_release(s);
    CHECK_EQ(answers_of(db, "a@1"), want);
    vtag_close(db);
    free(m.raw);
}

static void a_damaged_sketch_header_means_a_scan_of_the_rows(void)
{
    image m;
    vtag_db *db;
    uint64_t want, i;
    image_up(&m, &plain);
    db = image_open(&m);
    want = answers_of(db, "a@1");
    for (i = 0; i < sizeof(vtf_extent) + sizeof(vtf_sketch); i++) {
        uint8_t was = m.p[m.sketch + i];
        m.p[m.sketch + i] ^= 0x40;
        CHECK_EQ(sketches_of(db, tag_of(db, "a@1")), 0);
        if (i % 8 == 0) CHECK_EQ(answers_of(db, "a@1"), want);
        m.p[m.sketch + i] = was;
    }
    CHECK_EQ(sketches_of(db, tag_of(db, "a@1")), 1);
    vtag_close(db);
    free(m.raw);
}

/* A header that is sound but says what cannot be. */
static void a_sketch_of_impossible_shape_is_passed_over(void)
{
    image m;
    vtag_db *db;
    vtf_sketch was, *f;
    uint64_t want;
    int what;
    image_up(&m, &plain);
    db = image_open(&m);
    want = answers_of(db, "a@1");
    f = (vtf_sketch *)(void *)(m.p + m.sketch + sizeof(vtf_extent));
    was = *f;
    for (what = 0; what < 6; what++) {
        if (what == 0) f->rows = m.rows + 1;
        if (what == 1) f->rows = UINT32_MAX;
        if (what == 2) f->dim = 256;
        if (what == 3) f->dim = 0;
        if (what == 4) f->encoder = 99;
        if (what == 5) f->segment += 65536;
        f->crc = vt_crc32c(0, f, offsetof(vtf_sketch, crc));
        CHECK_EQ(sketches_of(db, tag_of(db, "a@1")), 0);
        CHECK_EQ(answers_of(db, "a@1"), want);
        *f = was;
    }
    f->rows = 0; /* nothing is sketched */
    f->crc = vt_crc32c(0, f, offsetof(vtf_sketch, crc));
    CHECK_EQ(answers_of(db, "a@1"), want);
    vtag_close(db);
    free(m.raw);
}

/* Fills some part of the sketch with what a liar would choose. */
static void lie_about(image *m, uint64_t *seed)
{
    static const float lies[] = {NAN, -NAN, INFINITY, -INFINITY, 0, -0.0f, 1e30f, -1e30f, 1e-40f, 3e38f};
    uint64_t at = m->parts.mean, to = m->parts.bytes, i;
    uint64_t where = t_below(seed, 4), how = t_below(seed, 3);
    if (where == 0) to = m->parts.factors;
    if (where == 1) at = m->parts.factors, to = m->parts.codes;
    if (where == 2) at = m->parts.codes;
    for (i = at; i < to; i += 4) {
        uint32_t word = (uint32_t)t_rand(seed);
        if (how == 1) memcpy(&word, &lies[t_below(seed, LENGTH(lies))], 4);
        if (how < 2 || t_below(seed, 50) == 0) memcpy(m->p + m->sketch + i, &word, 4);
    }
}

/* Whatever a sketch says, hits are rows that exist, at their own distances, in order. */
static int hits_are_true(const vtag_snap *s, vtag_tag tag, const float *q, const vtag_hit *hits, size_t n)
{
    float x[DIM];
    size_t i;
    for (i = 0; i < n; i++) {
        float dist;
        if (vtag_vector(s, hits[i].id, tag, hits[i].part, x, DIM, NULL)) return 0;
        dist = rule_dist(plain.metric, x, q, DIM);
        if (memcmp(&dist, &hits[i].dist, sizeof dist)) return 0;
        if (i && !hit_before(&hits[i - 1], &hits[i])) return 0;
    }
    return 1;
}

static void a_lying_sketch_costs_hits_but_nothing_else(void)
{
    uint64_t seed = t_seed(), round;
    image m;
    vtag_db *db;
    vtag_snap *s;
    vtag_hit *hits = malloc(5000 * sizeof *hits);
    static const size_t ks[] = {1, 10, 200, 5000};
    image_up(&m, &plain);
    db = image_open(&m);
    s = look(db);
    for (round = 0; round < 60; round++) {
        vtag_search_opts o = {0};
        size_t k = ks[round % 4], n = 0;
        float q[DIM], limit = 1;
        if (round % 3 == 0) lie_about(&m, &seed);
        make_vector(&plain, &seed, 1, q);
        if (round % 5 == 0) o.max_dist = &limit;
        OK(vtag_search(s, vec(tag_of(db, "a@1"), DIM, q), &o, k, hits, &n));
        CHECK(n <= k && hits_are_true(s, tag_of(db, "a@1"), q, hits, n));
    }
    vtag_release(s);
    vtag_close(db);
    free(hits);
    free(m.raw);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(sealing_sketches_and_changes_no_answer);
    RUN(sealing_twice_writes_nothing_the_second_time);
    RUN(a_full_segment_is_sketched_by_its_commit);
    RUN(a_sketch_that_fell_behind_is_made_again);
    RUN(a_retired_tag_gets_no_sketch);
    RUN(copies_and_compactions_make_sketches_and_keep_answers);
    RUN(sketching_in_a_thread_changes_no_byte_of_the_file);
    RUN(a_segment_without_a_sketch_is_committed_all_the_same);
    RUN(an_abort_waits_for_the_thread_before_it_gives_its_rows_back);
    RUN(a_forked_child_does_not_wait_for_a_thread_that_it_has_not);
    RUN(a_commit_that_fails_waits_for_the_thread_once);
    RUN(a_hook_without_its_counterpart_is_an_argument_error);
    RUN(sealing_goes_on_beside_a_search_and_another_writer);
    RUN(a_sketch_of_a_file_that_was_compacted_meanwhile_is_dropped);
    RUN(of_two_who_seal_at_once_one_writes);
    RUN(a_cancelled_seal_keeps_what_it_made);
    RUN(a_seal_with_any_call_failing_leaves_the_state_before_or_after);
    RUN(a_full_disk_leaves_the_sketch_out_and_the_commit_is_good);
    RUN(verify_finds_every_flipped_byte_of_a_sketch);
    RUN(a_sketch_outside_the_file_is_damage_and_no_more);
    RUN(a_damaged_sketch_header_means_a_scan_of_the_rows);
    RUN(a_sketch_of_impossible_shape_is_passed_over);
    RUN(a_lying_sketch_costs_hits_but_nothing_else);
    return t_end();
}
