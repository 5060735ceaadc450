/* Several processes, and several handles, at one file.

   One writer at a time, and everyone gets a turn; readers wait for nobody and see whole
   commits only; what a process held dies with it; after a fork the child may only close
   [I10, L9]. All of it holds whether a handle maps the file or reads it into memory of its
   own. Progress is judged by counts in shared memory, never by time. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include "child.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

enum { DIM = 16, WAIT_MS = 60000 };
#include "numbers.h"
#include "refused.h"

typedef struct board {           /* what the processes tell each other         */
    uint64_t ready, stop, puts, batches, rows, searches, worst, sum;
} board;

static board *shared;
static const vtag_begin_opts at_once = {VTAG_NONE, 0, 0, NULL, NULL, NULL};
static uint64_t races = 10000;   /* RACES=n sets it                            */

/* ---- Small parts ------------------------------------------------------------- */

static uint64_t get(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static void set(uint64_t *p, uint64_t x) { __atomic_store_n(p, x, __ATOMIC_SEQ_CST); }
static uint64_t add(uint64_t *p, uint64_t x) { return __atomic_add_fetch(p, x, __ATOMIC_SEQ_CST); }

static void pause_us(long us)
{
    struct timespec t = {0, 0};
    t.tv_sec = us / 1000000;
    t.tv_nsec = us % 1000000 * 1000;
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
}

static void pause_ms(long ms) { pause_us(ms * 1000); }

/* Waits until *p is at least x; gives up after a minute. */
static int await(const uint64_t *p, uint64_t x)
{
    int ms = 0;
    for (; get(p) < x && ms < WAIT_MS; ms++) pause_ms(1);
    return get(p) >= x;
}

static void board_new(void)
{
    if (shared) munmap(shared, sizeof *shared);
    shared = (board *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
}

static const char *named(const char *name)
{
    static char path[800];
    snprintf(path, sizeof path, "%s", t_path(name));
    board_new();
    return path;
}

static vtag_err declare(vtag_db *db, const char *name, vtag_tag *tag)
{
    vtag_spec spec;
    vtag_batch *b;
    vtag_err err = vtag_begin(db, NULL, &b);
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = DIM;
    if (err != VTAG_OK) return err;
    err = vtag_declare(b, &spec, tag);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

/* A new file with one tag; closed again where db is NULL. */
static vtag_tag newborn(const char *path, vtag_db **db)
{
    vtag_db *mine;
    vtag_tag tag = 0;
    MUST(vtag_open(path, NULL, &mine));
    MUST(declare(mine, "app@1", &tag));
    if (db) *db = mine;
    else vtag_close(mine);
    return tag;
}

static vtag_tag tag_named(vtag_db *db, const char *name)
{
    vtag_snap *s;
    vtag_tag tag = 0;
    MUST(vtag_snapshot(db, &s));
    OK(vtag_find(s, name, &tag));
    vtag_release(s);
    return tag;
}

static uint64_t items_in(vtag_db *db)
{
    vtag_snap *s;
    vtag_stat stat;
    memset(&stat, 0, sizeof stat);
    MUST(vtag_snapshot(db, &s));
    OK(vtag_stats(s, &stat));
    vtag_release(s);
    return stat.items;
}

/* ---- Two writers ---------------------------------------------------------------- */

enum { TURNS = 150 };

static void writer_in_turn(const char *path)
{
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    uint64_t me = add(&shared->ready, 1), i;
    vtag_db *db;
    vtag_tag tag;
    MUST(vtag_open(path, NULL, &db));
    tag = tag_named(db, "app@1");
    REQUIRE(await(&shared->ready, 2));
    for (i = 0; i < TURNS; i++) {
        vtag_batch *b;
        MUST(vtag_begin(db, &wait, &b));
        CHECK_EQ(add(&shared->stop, 1), 1); /* alone */
        MUST(put_one(b, tag, me << 32 | i, i));
        add(&shared->stop, UINT64_MAX);
        MUST(vtag_commit(b));
        add(&shared->puts, 1);
    }
    vtag_close(db);
}

static void two_processes_that_write_in_turn_both_make_progress(void)
{
    const char *path = named("turns.vtag");
    pid_t one, two;
    vtag_db *db;
    newborn(path, NULL);
    one = spawn(writer_in_turn, path);
    two = spawn(writer_in_turn, path);
    joined(one);
    joined(two);
    MUST(vtag_open(path, NULL, &db));
    CHECK_EQ(items_in(db), 2 * TURNS);
    vtag_close(db);
}

/* ---- Two writers in every mix of mappings ------------------------------------------ */

typedef struct mix {
    vtag_durability durability;
    uint64_t        each;        /* puts of each process                       */
    int             no_map[2];   /* of the first and the second who come      */
} mix;

static mix mixed;

static vtag_db *open_mixed(const char *path, uint64_t me)
{
    vtag_open_opts opts;
    vtag_db *db;
    memset(&opts, 0, sizeof opts);
    opts.durability = mixed.durability;
    opts.lazy_ms = 3600000;
    opts.no_map = mixed.no_map[me - 1];
    MUST(vtag_open(path, &opts, &db));
    return db;
}

/* How many of a process's items a handle shows. */
static uint64_t items_of(vtag_db *db, uint64_t process)
{
    vtag_snap *s;
    vtag_item item;
    uint64_t n = 0, i;
    MUST(vtag_snapshot(db, &s));
    for (i = 0; i < mixed.each; i++) n += vtag_get(s, process << 32 | i, &item) == VTAG_OK;
    vtag_release(s);
    return n;
}

/* Puts, and in between looks, while the other does the same. */
static void writer_that_looks(const char *path)
{
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    uint64_t me = add(&shared->ready, 1), rng = me, i, others = 0, now;
    vtag_db *db = open_mixed(path, me);
    vtag_tag tag = tag_named(db, "app@1");
    REQUIRE(await(&shared->ready, 2));
    for (i = 0; i < mixed.each && !t_.failed; i++) {
        vtag_batch *b;
        MUST(vtag_begin(db, &wait, &b));
        MUST(put_one(b, tag, me << 32 | i, i));
        MUST(vtag_commit(b));
        do {
            pause_us((long)t_below(&rng, 200));
            CHECK_EQ(items_of(db, me), i + 1);
            now = items_of(db, 3 - me);
            CHECK(now >= others);
            others = now;
        } while (t_below(&rng, 3));
        if (i % 50 == 8 * me) OK(vtag_compact(db, NULL, NULL));
        if (i % 20 == 9 * me) vtag_close(db), db = open_mixed(path, me);
    }
    vtag_close(db);
}

static void nothing_that_either_of_two_writers_put_is_lost(void)
{
    unsigned i;
    for (i = 0; i < 8; i++) {
        const char name[] = {'m', 'i', 'x', (char)('0' + i), 0}, *path = named(name);
        pid_t one, two;
        vtag_db *db;
        mixed.durability = i < 4 ? VTAG_FULL_SYNC : VTAG_LAZY_SYNC;
        mixed.each = i < 4 ? 30 : 150; /* a sync takes its time */
        mixed.no_map[0] = i & 1;
        mixed.no_map[1] = i >> 1 & 1;
        newborn(path, NULL);
        one = spawn(writer_that_looks, path);
        two = spawn(writer_that_looks, path);
        joined(one);
        joined(two);
        MUST(vtag_open(path, NULL, &db));
        CHECK_EQ(items_in(db), 2 * mixed.each);
        vtag_close(db);
    }
}

/* ---- The lock ------------------------------------------------------------------------ */

/* Two racers meet before each race, and after both have asked for the lock. */
static void meet(uint64_t *count, uint64_t race)
{
    add(count, 1);
    while (get(count) < 2 * (race + 1) && !get(&shared->stop)) sched_yield();
}

static void racer(const char *path)
{
    uint64_t i;
    vtag_db *db;
    vtag_tag tag;
    MUST(vtag_open(path, NULL, &db));
    tag = tag_named(db, "app@1");
    for (i = 0; i < races && !t_.failed; i++) {
        vtag_batch *b = NULL;
        vtag_err err;
        meet(&shared->ready, i);
        err = vtag_begin(db, &at_once, &b);
        if (err != VTAG_LOCKED) OK(err);
        if (err == VTAG_OK) add(&shared->puts, 1);
        meet(&shared->rows, i);
        CHECK_EQ(get(&shared->puts), i + 1); /* one of the two, in every race */
        meet(&shared->sum, i);
        if (err == VTAG_OK && i % 50 == 0 && OK(put_one(b, tag, i, i))) OK(vtag_commit(b));
        else vtag_abort(b);
        if (get(&shared->stop)) break;
    }
    if (t_.failed) set(&shared->stop, 1);
    vtag_close(db);
}

static void of_two_that_race_for_the_lock_exactly_one_gets_it(void)
{
    const char *path = named("race.vtag"), *n = getenv("RACES");
    pid_t one, two;
    vtag_db *db;
    if (n && *n) races = strtoull(n, NULL, 10);
    newborn(path, NULL);
    one = spawn(racer, path);
    two = spawn(racer, path);
    joined(one);
    joined(two);
    CHECK_EQ(get(&shared->puts), races);
    MUST(vtag_open(path, NULL, &db));
    CHECK_EQ(items_in(db), (races + 49) / 50);
    vtag_close(db);
    printf("count lock-races %llu\n", (unsigned long long)races);
}

static void waiter(const char *path)
{
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    vtag_db *db;
    vtag_batch *b;
    MUST(vtag_open(path, NULL, &db));
    set(&shared->ready, 1);
    MUST(vtag_begin(db, &wait, &b));
    vtag_abort(b);
    vtag_close(db);
}

/* So a writer that comes back at once stands behind who waited. */
static void who_waits_for_the_lock_holds_the_turn(void)
{
    const char *path = named("turn.vtag");
    const vtag_io *io = engine_io();
    int ms = 0;
    pid_t child;
    vtag_db *db;
    vtag_batch *b;
    void *file;
    newborn(path, &db);
    MUST(vtag_begin(db, NULL, &b));
    MUST(io->open(NULL, path, VTAG_READ, &file));
    CHECK(!io->locked(file, VTAG_LOCK_TURN));
    child = spawn(waiter, path);
    CHECK(await(&shared->ready, 1));
    for (; !io->locked(file, VTAG_LOCK_TURN) && ms < 5000; ms++) pause_ms(1);
    CHECK(io->locked(file, VTAG_LOCK_TURN));
    vtag_abort(b);
    joined(child);
    CHECK(!io->locked(file, VTAG_LOCK_TURN));
    io->close(file);
    vtag_close(db);
}

/* ---- One writer, many readers ------------------------------------------------------ */

enum { SAME = 12, ROUNDS = 120 };

/* Each commit gives all items the same new value; a reader must never see two. */
static uint64_t value_of_all(const vtag_snap *s, vtag_tag tag)
{
    uint64_t id, value = 0, first = 0;
    float x[DIM], want[DIM];
    for (id = 1; id <= SAME; id++) {
        vtag_item item;
        MUST(vtag_get(s, id, &item));
        REQUIRE(item.size == sizeof value);
        memcpy(&value, item.data, sizeof value);
        if (id == 1) first = value;
        CHECK_EQ(value, first);
        numbers(id, value, want);
        MUST(vtag_vector(s, id, tag, 0, x, DIM, NULL));
        CHECK(!memcmp(x, want, sizeof x));
    }
    return first;
}

static void reader_of_wholes(const char *path)
{
    vtag_open_opts opts;
    vtag_db *db;
    vtag_tag tag;
    uint64_t last = 0, looks = 0, commit = 0;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    MUST(vtag_open(path, &opts, &db));
    tag = tag_named(db, "app@1");
    add(&shared->ready, 1);
    while (!get(&shared->stop)) {
        vtag_snap *s;
        vtag_stat stat;
        uint64_t now;
        MUST(vtag_snapshot(db, &s));
        OK(vtag_stats(s, &stat));
        now = value_of_all(s, tag);
        vtag_release(s);
        CHECK(now >= last && stat.commit >= commit);
        last = now;
        commit = stat.commit;
        looks++;
        if (t_.failed) break;
    }
    CHECK(looks > 0);
    add(&shared->searches, looks);
    vtag_close(db);
}

static vtag_err put_round(vtag_db *db, vtag_tag tag, uint64_t value)
{
    vtag_batch *b;
    uint64_t id;
    vtag_err err = vtag_begin(db, NULL, &b);
    for (id = 1; err == VTAG_OK && id <= SAME; id++) err = put_one(b, tag, id, value);
    if (err == VTAG_OK) return vtag_commit(b);
    return err;
}

static void readers_see_whole_commits_that_never_go_back(void)
{
    const char *path = named("readers.vtag");
    pid_t reader[3];
    vtag_db *db;
    vtag_tag tag = newborn(path, &db);
    uint64_t i;
    MUST(put_round(db, tag, 1));
    vtag_close(db);
    for (i = 0; i < 3; i++) reader[i] = spawn(reader_of_wholes, path);
    MUST(vtag_open(path, NULL, &db));
    CHECK(await(&shared->ready, 3));
    for (i = 2; i < ROUNDS; i++) {
        if (!OK(put_round(db, tag, i))) break;
        if (i % 40 == 10) OK(vtag_compact(db, NULL, NULL));
        if (i % 40 == 30) OK(vtag_seal(db, NULL, NULL));
    }
    set(&shared->stop, 1);
    for (i = 0; i < 3; i++) joined(reader[i]);
    vtag_close(db);
}

static void last_value(vtag_db *db, vtag_tag tag, uint64_t want)
{
    vtag_snap *s;
    MUST(vtag_snapshot(db, &s));
    CHECK_EQ(value_of_all(s, tag), want);
    vtag_release(s);
}

/* ---- Who holds the lock ------------------------------------------------------------------ */

static void lock_keeper(const char *path)
{
    vtag_db *db;
    vtag_batch *b;
    MUST(vtag_open(path, NULL, &db));
    MUST(vtag_begin(db, NULL, &b));
    add(&shared->ready, 1);
    CHECK(await(&shared->stop, 1));
    vtag_abort(b);
    add(&shared->ready, 1);
    CHECK(await(&shared->stop, 2));
    vtag_close(db);
}

static void keep_line(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)err, (void)at;
    snprintf((char *)ctx, 200, "%s", msg);
}

static void a_refusal_names_the_process_that_holds_the_lock(void)
{
    const char *path = named("holder.vtag");
    char line[200] = "", want[200];
    vtag_open_opts o = {0};
    vtag_db *db;
    vtag_batch *b;
    int mode;
    board_new();
    newborn(path, &db);
    vtag_close(db);
    pid_t child = spawn(lock_keeper, path);
    CHECK(await(&shared->ready, 1));
    snprintf(want, sizeof want, "process %ld has the lock", (long)child);
    o.log = keep_line;
    o.log_ctx = line;
    for (mode = 0; mode < 2; mode++) {
        o.no_map = mode;
        MUST(vtag_open(path, &o, &db));
        ERR(VTAG_LOCKED, vtag_begin(db, &at_once, &b));
        CHECK_STR(line, want);
        vtag_close(db);
    }
    add(&shared->stop, 1);
    CHECK(await(&shared->ready, 2)); /* its batch is over, its handle is open */
    MUST(vtag_open(path, &o, &db));
    MUST(vtag_begin(db, NULL, &b));
    snprintf(want, sizeof want, "process %ld has the lock", (long)getpid());
    vtag_db *other;
    vtag_batch *c;
    MUST(vtag_open(path, &o, &other));
    ERR(VTAG_LOCKED, vtag_begin(other, &at_once, &c));
    CHECK_STR(line, want);
    vtag_abort(b);
    vtag_close(other);
    vtag_close(db);
    add(&shared->stop, 1);
    joined(child);
}

/* ---- Handles of one process ----------------------------------------------------------- */

static void two_handles_of_a_process_exclude_and_see_each_other(void)
{
    const char *path = named("handles.vtag");
    vtag_db *one, *two;
    vtag_batch *b, *c;
    vtag_tag tag = newborn(path, &one);
    MUST(vtag_open(path, NULL, &two));
    MUST(vtag_begin(one, NULL, &b));
    ERR(VTAG_LOCKED, vtag_begin(two, &at_once, &c));
    ERR(VTAG_LOCKED, vtag_begin(one, &at_once, &c));
    vtag_abort(b);
    MUST(put_round(two, tag, 5));
    last_value(one, tag, 5);
    MUST(put_round(one, tag, 6));
    last_value(two, tag, 6);
    OK(vtag_compact(one, NULL, NULL));
    last_value(two, tag, 6);
    MUST(put_round(two, tag, 7));
    last_value(one, tag, 7);
    vtag_close(one);
    MUST(put_round(two, tag, 8)); /* closing one handle drops no lock of the other */
    MUST(vtag_begin(two, NULL, &b));
    MUST(vtag_open(path, NULL, &one));
    ERR(VTAG_LOCKED, vtag_begin(one, &at_once, &c));
    vtag_close(one);
    MUST(vtag_open(path, NULL, &one));
    ERR(VTAG_LOCKED, vtag_begin(one, &at_once, &c));
    vtag_abort(b);
    vtag_close(one);
    vtag_close(two);
}

/* Without a mapping, what another handle wrote has to be fetched before it is used. */
static void handles_without_a_mapping_follow_each_other(void)
{
    const char *path = named("fetched.vtag");
    vtag_open_opts opts;
    vtag_db *db[2];
    vtag_tag tag;
    char name[16];
    int i;
    memset(&opts, 0, sizeof opts);
    opts.no_map = 1;
    newborn(path, NULL);
    MUST(vtag_open(path, &opts, &db[0]));
    MUST(vtag_open(path, &opts, &db[1]));
    for (i = 2; i < 40; i++) {
        snprintf(name, sizeof name, "app@%d", i);
        MUST(declare(db[i % 2], name, &tag));
        MUST(put_round(db[i % 2], tag, (uint64_t)i));
        CHECK_EQ(tag_named(db[!(i % 2)], name), tag);
        last_value(db[!(i % 2)], tag, (uint64_t)i);
        if (i % 10 == 9) MUST(vtag_seal(db[i / 10 % 2], NULL, NULL));
    }
    vtag_close(db[0]);
    vtag_close(db[1]);
}

/* ---- Threads of a handle that follows a compaction ------------------------------------------ */

typedef struct door {            /* where a thread is held up                  */
    sem_t there, go;
} door;

static door old_door, new_door;  /* before the lock of the old file, of the new */
static __thread int doors;       /* that this thread has yet to pass           */
static pthread_t late;

static void door_make(door *d)
{
    REQUIRE(sem_init(&d->there, 0, 0) == 0 && sem_init(&d->go, 0, 0) == 0);
}

/* False after a minute. */
static int wait_for(sem_t *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    while (sem_timedwait(s, &until) != 0)
        if (errno != EINTR) return 0;
    return 1;
}

static vtag_err lock_behind_doors(void *file, int which, uint32_t wait_ms)
{
    if (which == VTAG_LOCK_WRITER && doors) {
        door *d = doors-- == 2 ? &old_door : &new_door;
        sem_post(&d->there);
        if (!wait_for(&d->go)) return VTAG_LOCKED;
    }
    return engine_io()->lock(file, which, wait_ms);
}

static void *late_writer(void *db)
{
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    vtag_batch *b = NULL;
    doors = 2;
    if (vtag_begin((vtag_db *)db, &wait, &b) != VTAG_OK) return db;
    vtag_abort(b);
    return NULL;
}

/* While a compaction is at work, a writer of the other handle asks for the lock. */
static int start_late_writer(void *db, uint64_t part, uint64_t of)
{
    (void)part;
    (void)of;
    if (late) return 0;
    if (pthread_create(&late, NULL, late_writer, db) != 0) return 1;
    return !wait_for(&old_door.there);
}

/* Waiting for the old file's lock, a thread finds the new one after others did, and after
 * they saw more of it than a slot of it names. */
static void who_comes_late_to_a_compaction_takes_no_snapshot_back(void)
{
    const char *path = named("late.vtag");
    vtag_io io = *engine_io();
    vtag_open_opts opts;
    vtag_db *one, *two;
    vtag_batch *b;
    void *failed;
    vtag_tag tag = newborn(path, NULL);
    uint64_t i;
    memset(&opts, 0, sizeof opts);
    opts.durability = VTAG_LAZY_SYNC;
    opts.lazy_ms = 3600000;
    io.lock = lock_behind_doors;
    door_make(&old_door);
    door_make(&new_door);
    MUST(vtag_open(path, &opts, &one));
    opts.io = &io;
    MUST(vtag_open(path, &opts, &two));
    for (i = 1; i < 20; i++) MUST(put_round(one, tag, i));
    MUST(vtag_compact(one, start_late_writer, two));
    for (; i < 23; i++) MUST(put_round(one, tag, i));
    items_in(two); /* moves over */
    last_value(two, tag, 22);
    MUST(vtag_begin(one, NULL, &b)); /* so that nobody looks past the slots */
    sem_post(&old_door.go);
    CHECK(wait_for(&new_door.there));
    last_value(two, tag, 22);
    vtag_abort(b);
    sem_post(&new_door.go);
    CHECK(pthread_join(late, &failed) == 0 && !failed);
    last_value(two, tag, 22);
    vtag_close(one);
    vtag_close(two);
}

/* ---- Death and pause ----------------------------------------------------------------------- */

static void holder(const char *path)
{
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag;
    MUST(vtag_open(path, NULL, &db));
    tag = tag_named(db, "app@1");
    MUST(vtag_begin(db, NULL, &b));
    MUST(put_one(b, tag, 99, 99));
    set(&shared->ready, 1);
    pause_ms(WAIT_MS);
}

static void a_lock_dies_with_its_process(void)
{
    const char *path = named("dead.vtag");
    vtag_db *db;
    vtag_batch *b;
    int status;
    pid_t child;
    newborn(path, NULL);
    child = spawn(holder, path);
    CHECK(await(&shared->ready, 1));
    MUST(vtag_open(path, NULL, &db));
    ERR(VTAG_LOCKED, vtag_begin(db, &at_once, &b));
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    if (OK(vtag_begin(db, NULL, &b))) vtag_abort(b);
    CHECK_EQ(items_in(db), 0);
    vtag_close(db);
}

static void a_stopped_writer_stops_no_reader(void)
{
    const char *path = named("stopped.vtag");
    vtag_db *db;
    vtag_batch *b;
    int status, i;
    pid_t child;
    newborn(path, NULL);
    child = spawn(holder, path);
    CHECK(await(&shared->ready, 1));
    CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child);
    MUST(vtag_open(path, NULL, &db));
    for (i = 0; i < 50; i++) CHECK_EQ(items_in(db), 0);
    ERR(VTAG_LOCKED, vtag_begin(db, &at_once, &b));
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    if (OK(vtag_begin(db, NULL, &b))) vtag_abort(b);
    vtag_close(db);
}

/* ---- Fork ----------------------------------------------------------------------------------- */

static vtag_db *forked_db;
static vtag_snap *forked_snap;
static vtag_batch *forked_batch;

static void after_fork(const char *path)
{
    vtag_batch *b;
    vtag_snap *s;
    (void)path;
    ERR(VTAG_ARG, vtag_begin(forked_db, NULL, &b));
    ERR(VTAG_ARG, vtag_snapshot(forked_db, &s));
    ERR(VTAG_ARG, vtag_flush(forked_db));
    ERR(VTAG_ARG, vtag_seal(forked_db, NULL, NULL));
    ERR(VTAG_ARG, vtag_compact(forked_db, NULL, NULL));
    ERR(VTAG_ARG, vtag_commit(forked_batch));
    snapshot_is_refused(forked_snap);
    vtag_abort(forked_batch);
    vtag_release(forked_snap);
    vtag_close(forked_db);
}

static void after_a_fork_the_child_may_only_close(void)
{
    const char *path = named("fork.vtag");
    vtag_db *other;
    vtag_tag tag = newborn(path, &forked_db);
    MUST(put_round(forked_db, tag, 3));
    MUST(vtag_snapshot(forked_db, &forked_snap));
    MUST(vtag_begin(forked_db, NULL, &forked_batch)); /* held while the child comes and goes */
    MUST(put_one(forked_batch, tag, 1, 4));
    joined(spawn(after_fork, path));
    MUST(vtag_open(path, NULL, &other));
    {
        vtag_batch *c;
        ERR(VTAG_LOCKED, vtag_begin(other, &at_once, &c)); /* the child's close freed nothing */
    }
    OK(vtag_commit(forked_batch));
    CHECK_EQ(value_of_all(forked_snap, tag), 3);
    vtag_release(forked_snap);
    OK(put_round(forked_db, tag, 5));
    last_value(other, tag, 5);
    vtag_close(other);
    vtag_close(forked_db);
}

/* ---- An application, a backfill and a search at once ----------------------------------- */

enum { CROWD = 100000, PUTS = 40, CHUNK = 500, MOST = 20 * CROWD };

static void crowd(const char *path)
{
    const vtag_begin_opts opts = {0, 0, CROWD, NULL, NULL, NULL};
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag = newborn(path, &db), next;
    uint64_t id;
    MUST(vtag_begin(db, &opts, &b));
    for (id = 1; id <= CROWD; id++) MUST(put_one(b, tag, id, id));
    MUST(vtag_commit(b));
    MUST(declare(db, "app@2", &next));
    vtag_close(db);
}

/* One chunk of a backfill: what is pending, embedded outside the batch. */
static uint64_t fill_chunk(vtag_db *db, vtag_tag tag, uint64_t *cursor, uint64_t round)
{
    static vtag_item item[CHUNK];
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    vtag_snap *s;
    vtag_batch *b;
    size_t n = 0, i;
    MUST(vtag_snapshot(db, &s));
    OK(vtag_items(s, tag, round ? VTAG_ALL : VTAG_PENDING, cursor, item, CHUNK, &n));
    vtag_release(s);
    if (!n) return 0;
    MUST(vtag_begin(db, &wait, &b));
    for (i = 0; i < n; i++) {
        float x[DIM];
        vtag_vec v = {0, DIM, NULL, 0, 0};
        vtag_err err;
        numbers(item[i].id, round, x);
        v.tag = tag;
        v.x = x;
        err = vtag_fill(b, &item[i], &v, 1);
        if (err != VTAG_CHANGED) OK(err);
    }
    MUST(vtag_commit(b));
    add(&shared->batches, 1);
    return n;
}

/* Fills 100,000 rows, and goes on with new vectors until the application is done. */
static void filler(const char *path)
{
    vtag_db *db;
    vtag_tag tag;
    uint64_t cursor = 0, round = 0, rows = 0, n;
    MUST(vtag_open(path, NULL, &db));
    tag = tag_named(db, "app@2");
    add(&shared->ready, 1);
    REQUIRE(await(&shared->ready, 3));
    while ((rows < CROWD || !get(&shared->stop)) && rows < MOST && !t_.failed) {
        n = fill_chunk(db, tag, &cursor, round);
        rows += n;
        set(&shared->rows, rows);
        if (!n) {
            cursor = 0;
            round++;
        }
    }
    CHECK(get(&shared->stop)); /* the application was not starved */
    set(&shared->sum, 1);
    vtag_close(db);
}

static void searcher(const char *path)
{
    vtag_open_opts opts;
    vtag_db *db;
    vtag_tag tag;
    float x[DIM];
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_READ;
    MUST(vtag_open(path, &opts, &db));
    tag = tag_named(db, "app@1");
    add(&shared->ready, 1);
    REQUIRE(await(&shared->ready, 3));
    while (!get(&shared->sum) && !t_.failed) {
        vtag_vec q = {0, DIM, NULL, 0, 0};
        vtag_hit hits[10];
        vtag_snap *s;
        size_t n = 0;
        numbers(7, get(&shared->searches), x);
        q.tag = tag;
        q.x = x;
        MUST(vtag_snapshot(db, &s));
        OK(vtag_search(s, q, NULL, 10, hits, &n));
        CHECK_EQ(n, 10);
        vtag_release(s);
        add(&shared->searches, 1);
    }
    vtag_close(db);
}

/* Puts an item every 10 ms; returns most batches that came between asking and getting. */
static uint64_t application(const char *path)
{
    const vtag_begin_opts wait = {WAIT_MS, 0, 0, NULL, NULL, NULL};
    vtag_db *db;
    vtag_tag tag;
    uint64_t i, worst = 0, first;
    MUST(vtag_open(path, NULL, &db));
    tag = tag_named(db, "app@1");
    add(&shared->ready, 1);
    REQUIRE(await(&shared->batches, 1));
    first = get(&shared->batches);
    for (i = 0; i < PUTS; i++) {
        vtag_batch *b;
        uint64_t asked, got;
        pause_ms(10);
        asked = get(&shared->batches);
        MUST(vtag_begin(db, &wait, &b));
        got = get(&shared->batches);
        if (got - asked > worst) worst = got - asked;
        MUST(put_one(b, tag, CROWD + 1 + i, i));
        MUST(vtag_commit(b));
        add(&shared->puts, 1);
    }
    CHECK(get(&shared->batches) > first); /* nor does it starve the backfill */
    CHECK_EQ(get(&shared->sum), 0);       /* which was at work all the time   */
    vtag_close(db);
    return worst;
}

static void an_application_a_backfill_and_a_search_all_make_progress(void)
{
    const char *path = named("busy.vtag");
    pid_t fill, look;
    uint64_t worst;
    vtag_db *db;
    crowd(path);
    fill = spawn(filler, path);
    look = spawn(searcher, path);
    worst = application(path);
    set(&shared->stop, 1);
    joined(fill);
    joined(look);
    printf("batches between asking and getting a turn: at most %llu; %llu puts, %llu batches, "
           "%llu searches\n", (unsigned long long)worst, (unsigned long long)get(&shared->puts),
           (unsigned long long)get(&shared->batches), (unsigned long long)get(&shared->searches));
    CHECK(worst <= 2); /* the one at work, and one whose count came late */
    CHECK(get(&shared->searches) > 0);
    CHECK(get(&shared->rows) >= CROWD);
    MUST(vtag_open(path, NULL, &db));
    CHECK_EQ(items_in(db), CROWD + PUTS);
    vtag_close(db);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(two_processes_that_write_in_turn_both_make_progress);
    RUN(nothing_that_either_of_two_writers_put_is_lost);
    RUN(of_two_that_race_for_the_lock_exactly_one_gets_it);
    RUN(who_waits_for_the_lock_holds_the_turn);
    RUN(readers_see_whole_commits_that_never_go_back);
    RUN(a_refusal_names_the_process_that_holds_the_lock);
    RUN(two_handles_of_a_process_exclude_and_see_each_other);
    RUN(handles_without_a_mapping_follow_each_other);
    RUN(who_comes_late_to_a_compaction_takes_no_snapshot_back);
    RUN(a_lock_dies_with_its_process);
    RUN(a_stopped_writer_stops_no_reader);
    RUN(after_a_fork_the_child_may_only_close);
    RUN(an_application_a_backfill_and_a_search_all_make_progress);
    return t_end();
}
