/* Threads of one process at one handle, and at two of the same file.

   A writer changes, seals and compacts; readers pin snapshots, look at everything twice
   and find it whole and unchanged [I6]; other writers meet a lock and go on [I10]. The
   same under ThreadSanitizer is a step of .ci/run. A thread counts what it finds wrong,
   for the checks of test.h are for one thread. ROUNDS=n sets how much is written (300). */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include <pthread.h>
#include <sched.h>

enum { SAME = 10, DIM = 16, THREADS = 4 };
#include "numbers.h"

typedef struct place {           /* what the threads of a test share           */
    vtag_db *db;
    char     path[800];
    vtag_tag tag;
    vtag_snap *shared;           /* that all verify; NULL: each the newest     */
    uint64_t rounds, stop, looks, wrong, locked, commits;
} place;

static uint64_t get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void add(uint64_t *p, uint64_t n) { __atomic_add_fetch(p, n, __ATOMIC_ACQ_REL); }
static void wrong_if(place *p, int wrong) { if (wrong) add(&p->wrong, 1); }

/* Gives all items one value; LOCKED where another writes. */
static vtag_err put_round(vtag_db *db, vtag_tag tag, uint64_t value)
{
    vtag_batch *b;
    uint64_t id;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    for (id = 1; err == VTAG_OK && id <= SAME; id++) err = put_one(b, tag, id, value);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static void start(place *p, const char *name)
{
    const char *rounds = getenv("ROUNDS");
    vtag_spec spec;
    vtag_batch *b;
    memset(p, 0, sizeof *p);
    memset(&spec, 0, sizeof spec);
    p->rounds = rounds && *rounds ? strtoull(rounds, NULL, 10) : 300;
    snprintf(p->path, sizeof p->path, "%s", t_path(name));
    spec.name = "app@1";
    spec.dim = DIM;
    MUST(vtag_open(p->path, NULL, &p->db));
    MUST(vtag_begin(p->db, NULL, &b));
    MUST(vtag_declare(b, &spec, &p->tag));
    MUST(vtag_commit(b));
    MUST(put_round(p->db, p->tag, 1));
}

/* ---- Readers -------------------------------------------------------------------- */

/* The one value of all items in a snapshot; 0: they differ, or cannot be read. */
static uint64_t value_of_all(const place *p, const vtag_snap *s)
{
    uint64_t id, value = 0, first = 0;
    float x[DIM], want[DIM];
    for (id = 1; id <= SAME; id++) {
        vtag_item item;
        if (vtag_get(s, id, &item) != VTAG_OK || item.size != sizeof value) return 0;
        memcpy(&value, item.data, sizeof value);
        if (id == 1) first = value;
        numbers(id, value, want);
        if (value != first) return 0;
        if (vtag_vector(s, id, p->tag, 0, x, DIM, NULL) != VTAG_OK) return 0;
        if (memcmp(x, want, sizeof x)) return 0;
    }
    return first;
}

static int search_agrees(const place *p, const vtag_snap *s, uint64_t value)
{
    vtag_hit hits[SAME];
    vtag_cover cover;
    vtag_vec q = {0, DIM, NULL, 0, 0};
    float x[DIM];
    size_t n = 0;
    numbers(3, value, x);
    q.tag = p->tag;
    q.x = x;
    if (vtag_search(s, q, NULL, SAME, hits, &n) != VTAG_OK || n != SAME) return 0;
    if (vtag_coverage(s, p->tag, 0, &cover) != VTAG_OK || cover.fresh != SAME) return 0;
    return hits[0].id == 3;
}

/* Pins snapshots, and looks at each once more when others were made after it. */
static void *reader(void *arg)
{
    place *p = (place *)arg;
    vtag_snap *old = NULL;
    uint64_t last = 0, old_value = 0;
    while (!get(&p->stop)) {
        vtag_snap *s = NULL;
        uint64_t value;
        if (vtag_snapshot(p->db, &s) != VTAG_OK) {
            add(&p->wrong, 1);
            break;
        }
        value = value_of_all(p, s);
        wrong_if(p, !value || value < last || !search_agrees(p, s, value));
        wrong_if(p, old && value_of_all(p, old) != old_value);
        if (get(&p->looks) % 7 == 0) {
            vtag_release(old);
            old = s;
            old_value = value;
        } else vtag_release(s);
        last = value;
        add(&p->looks, 1);
    }
    vtag_release(old);
    return NULL;
}

static void readers_of_a_handle_see_whole_commits_while_it_writes(void)
{
    static place p;
    pthread_t t[THREADS];
    uint64_t i;
    start(&p, "one.vtag");
    for (i = 0; i < THREADS; i++) REQUIRE(!pthread_create(&t[i], NULL, reader, &p));
    while (get(&p.looks) < THREADS && !get(&p.wrong)) sched_yield();
    for (i = 2; i < p.rounds && !t_.failed; i++) {
        OK(put_round(p.db, p.tag, i));
        if (i % 40 == 10) OK(vtag_compact(p.db, NULL, NULL));
        if (i % 40 == 30) OK(vtag_seal(p.db, NULL, NULL));
        if (i % 40 == 35) OK(vtag_flush(p.db));
    }
    add(&p.stop, 1);
    for (i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    CHECK_EQ(p.wrong, 0);
    printf("%llu looks while %llu rounds were written\n", (unsigned long long)p.looks,
           (unsigned long long)p.rounds);
    vtag_close(p.db);
}

/* ---- Writers ---------------------------------------------------------------------- */

/* Writes through the shared handle, or one of its own, until it had its rounds. */
static void write_rounds(place *p, vtag_db *db)
{
    uint64_t done = 0;
    while (done < p->rounds / 5 && !get(&p->wrong)) {
        vtag_err err = put_round(db, p->tag, 1 + done);
        if (err == VTAG_LOCKED) {
            add(&p->locked, 1);
            sched_yield();
            continue;
        }
        wrong_if(p, err != VTAG_OK);
        done++;
        add(&p->commits, 1);
    }
}

static void *writer_of_the_handle(void *arg)
{
    place *p = (place *)arg;
    write_rounds(p, p->db);
    return NULL;
}

static void *writer_of_its_own(void *arg)
{
    place *p = (place *)arg;
    vtag_db *db = NULL;
    wrong_if(p, vtag_open(p->path, NULL, &db) != VTAG_OK);
    if (db) write_rounds(p, db);
    vtag_close(db);
    return NULL;
}

static void threads_that_write_take_turns(void)
{
    static place p;
    pthread_t t[THREADS];
    vtag_snap *s;
    vtag_report report;
    uint64_t i;
    start(&p, "turns.vtag");
    for (i = 0; i < THREADS; i++)
        REQUIRE(!pthread_create(&t[i], NULL, i % 2 ? writer_of_its_own : writer_of_the_handle, &p));
    for (i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    CHECK_EQ(p.wrong, 0);
    CHECK_EQ(p.commits, THREADS * (p.rounds / 5));
    MUST(vtag_snapshot(p.db, &s));
    CHECK(value_of_all(&p, s) > 0);
    OK(vtag_verify(s, &report, NULL, NULL));
    vtag_release(s);
    vtag_close(p.db);
}

/* A handle is opened, read and closed again and again while others write. */
static void *visitor(void *arg)
{
    place *p = (place *)arg;
    vtag_open_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    while (!get(&p->stop)) {
        vtag_db *db = NULL;
        vtag_snap *s = NULL;
        opts.no_map = get(&p->looks) % 3 == 0;
        if (vtag_open(p->path, &opts, &db) == VTAG_OK && vtag_snapshot(db, &s) == VTAG_OK)
            wrong_if(p, !value_of_all(p, s));
        else add(&p->wrong, 1);
        vtag_release(s);
        vtag_close(db);
        add(&p->looks, 1);
    }
    return NULL;
}

static void handles_come_and_go_while_another_compacts(void)
{
    static place p;
    pthread_t t[THREADS];
    uint64_t i;
    start(&p, "visited.vtag");
    for (i = 0; i < THREADS; i++) REQUIRE(!pthread_create(&t[i], NULL, visitor, &p));
    for (i = 2; i < p.rounds / 3 && !t_.failed; i++) {
        OK(put_round(p.db, p.tag, i));
        if (i % 9 == 0) OK(vtag_compact(p.db, NULL, NULL));
    }
    add(&p.stop, 1);
    for (i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    CHECK_EQ(p.wrong, 0);
    CHECK(p.looks > 0);
    vtag_close(p.db);
}

/* ---- Who checks everything while others look and write --------------------------------- */

/* Verifies a snapshot of its own each time, of which there may be one that all share. */
static void *verifier(void *arg)
{
    place *p = (place *)arg;
    while (!get(&p->stop)) {
        vtag_snap *s = p->shared;
        vtag_report report;
        vtag_stat stat;
        if (!s && vtag_snapshot(p->db, &s) != VTAG_OK) {
            add(&p->wrong, 1);
            break;
        }
        wrong_if(p, vtag_verify(s, &report, NULL, NULL) != VTAG_OK || report.bad || !report.records);
        wrong_if(p, vtag_stats(s, &stat) != VTAG_OK || !stat.held || stat.items != SAME);
        wrong_if(p, !value_of_all(p, s));
        if (s != p->shared) vtag_release(s);
        add(&p->looks, 1);
    }
    return NULL;
}

/* Puts, seals and compacts until each verifier came round a few times. */
static void verify_beside_a_writer(place *p)
{
    pthread_t t[THREADS];
    uint64_t i;
    for (i = 0; i < THREADS; i++) REQUIRE(!pthread_create(&t[i], NULL, verifier, p));
    for (i = 2; (i < p->rounds / 4 || get(&p->looks) < 4 * THREADS) && !t_.failed; i++) {
        OK(put_round(p->db, p->tag, i));
        if (i % 11 == 5) OK(vtag_seal(p->db, NULL, NULL));
        if (i % 23 == 7) OK(vtag_compact(p->db, NULL, NULL));
    }
    add(&p->stop, 1);
    for (i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    CHECK_EQ(p->wrong, 0);
}

static void many_verify_one_snapshot_while_another_writes(void)
{
    static place p;
    start(&p, "checked.vtag");
    MUST(vtag_snapshot(p.db, &p.shared));
    verify_beside_a_writer(&p);
    CHECK_EQ(value_of_all(&p, p.shared), 1);
    vtag_release(p.shared);
    vtag_close(p.db);
}

static void many_verify_what_is_newest_while_another_writes(void)
{
    static place p;
    start(&p, "newest.vtag");
    verify_beside_a_writer(&p);
    vtag_close(p.db);
}

/* Copies go on beside each other, and beside who writes and compacts. */
static void *copier(void *arg)
{
    place *p = (place *)arg;
    while (!get(&p->stop)) {
        char to[900];
        vtag_snap *s;
        vtag_err err;
        snprintf(to, sizeof to, "%s.%llu", p->path, (unsigned long long)__atomic_add_fetch(&p->commits, 1, __ATOMIC_ACQ_REL) / 2);
        if (vtag_snapshot(p->db, &s) != VTAG_OK) {
            add(&p->wrong, 1);
            break;
        }
        err = vtag_copy(s, to, NULL, NULL); /* two of them have one target */
        wrong_if(p, err != VTAG_OK && err != VTAG_EXISTS && err != VTAG_LOCKED);
        vtag_release(s);
        add(&p->looks, err == VTAG_OK);
    }
    return NULL;
}

static void copies_are_made_while_another_writes(void)
{
    static place p;
    pthread_t t[THREADS];
    uint64_t i;
    start(&p, "copied.vtag");
    for (i = 0; i < THREADS; i++) REQUIRE(!pthread_create(&t[i], NULL, copier, &p));
    for (i = 2; (i < p.rounds / 10 || get(&p.looks) < THREADS) && !t_.failed; i++) {
        OK(put_round(p.db, p.tag, i));
        if (i % 9 == 0) OK(vtag_compact(p.db, NULL, NULL));
    }
    add(&p.stop, 1);
    for (i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    CHECK_EQ(p.wrong, 0);
    vtag_close(p.db);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(readers_of_a_handle_see_whole_commits_while_it_writes);
    RUN(threads_that_write_take_turns);
    RUN(handles_come_and_go_while_another_compacts);
    RUN(many_verify_one_snapshot_while_another_writes);
    RUN(many_verify_what_is_newest_while_another_writes);
    RUN(copies_are_made_while_another_writes);
    return t_end();
}
