// build: plain
/* Two writer processes, killed at random and started again, and three reader processes
   that keep their handles: no reader ever sees a state go back, or half of a batch.

   Each batch writes items 2k and 2k + 1 with one payload, or deletes both. Writers also
   abort, close, compact. SECONDS_EACH=n sets how long each mode runs (4). */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 2000, DIM = 32, READERS = 3, WRITERS = 2 };

static char path[900];
static vtag_durability durability;

static void die(const char *what, vtag_err err)
{
    fprintf(stderr, "  process %d: %s: %s\n", (int)getpid(), what, vtag_strerror(err));
    _exit(1);
}

static void detail(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx;
    if (err == VTAG_CORRUPT) fprintf(stderr, "  %s at %llu\n", msg, (unsigned long long)at);
}

static vtag_db *open_as(vtag_access access, int no_map)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    vtag_err err;
    memset(&opts, 0, sizeof opts);
    opts.access = access;
    opts.durability = durability;
    opts.lazy_ms = 20;
    opts.no_map = no_map;
    opts.log = detail;
    err = vtag_open(path, &opts, &db);
    if (err && access != VTAG_READ) die("open", err);
    return db;
}

/* ---- Writers ------------------------------------------------------------------ */

static void put_pair(vtag_batch *b, vtag_tag tag, uint64_t *rng)
{
    uint64_t k = t_below(rng, PAIRS), i;
    char text[40];
    float x[DIM];
    vtag_vec v = {0, DIM, NULL, 0, 0};
    snprintf(text, sizeof text, "%llu", (unsigned long long)t_rand(rng));
    for (i = 0; i < DIM; i++) x[i] = (float)t_below(rng, 100) - 50.5f;
    v.tag = tag;
    v.x = x;
    for (i = 0; i < 2; i++) {
        vtag_item item;
        vtag_err err;
        memset(&item, 0, sizeof item);
        item.id = 2 * k + i;
        item.data = text;
        item.size = strlen(text);
        err = vtag_put(b, &item, &v, 1);
        if (err) die("put", err);
    }
}

static void write_once(vtag_db *db, uint64_t *rng)
{
    vtag_begin_opts opts = {10000, 0, 0};
    vtag_spec spec;
    vtag_batch *b;
    vtag_tag tag;
    uint64_t n = 1 + t_below(rng, 20), k = t_below(rng, PAIRS);
    vtag_err err = vtag_begin(db, &opts, &b);
    if (err) die("begin", err);
    memset(&spec, 0, sizeof spec);
    spec.name = "m@1";
    spec.dim = DIM;
    err = vtag_declare(b, &spec, &tag);
    if (err) die("declare", err);
    while (n--) put_pair(b, tag, rng);
    if (t_below(rng, 2) && !vtag_del(b, 2 * k) && (err = vtag_del(b, 2 * k + 1)) != VTAG_OK)
        die("half a pair", err);
    if (!t_below(rng, 8)) vtag_abort(b);
    else if ((err = vtag_commit(b)) != VTAG_OK) die("commit", err);
}

static void writer(uint64_t seed)
{
    vtag_db *db = open_as(VTAG_CREATE, 0);
    for (;;) {
        write_once(db, &seed);
        if (!t_below(&seed, 400)) {
            vtag_err err = vtag_compact(db, NULL, NULL);
            if (err && err != VTAG_LOCKED) die("compact", err);
        }
        if (t_below(&seed, 50)) continue;
        vtag_close(db);
        db = open_as(VTAG_CREATE, 0);
    }
}

/* ---- Readers -------------------------------------------------------------------- */

static void check_pairs(vtag_snap *s)
{
    vtag_item items[500];
    uint64_t cursor = 0, before = 1;
    size_t n, i;
    char text[40] = "";
    do {
        vtag_err err = vtag_items(s, 0, 0, &cursor, items, 500, &n);
        if (err) die("items", err);
        for (i = 0; i < n; i++) {
            int second = items[i].id % 2 == 1;
            if (second ? before != items[i].id - 1 || strcmp(text, (const char *)items[i].data)
                       : before % 2 == 0)
                die("half of a batch", VTAG_OK);
            if (!second) snprintf(text, sizeof text, "%s", (const char *)items[i].data);
            before = items[i].id;
        }
    } while (n);
}

static void reader(int no_map, time_t end)
{
    vtag_db *db = NULL;
    uint64_t last = 0, round;
    while (!db) db = open_as(VTAG_READ, no_map);
    for (round = 0; time(NULL) < end; round++) {
        vtag_report report;
        vtag_stat stat;
        vtag_snap *s;
        vtag_err err = vtag_snapshot(db, &s);
        if (err) die("snapshot", err);
        if (vtag_stats(s, &stat) || stat.commit < last) die("the state went back", VTAG_OK);
        last = stat.commit;
        check_pairs(s);
        if (round % 20 == 0 && (err = vtag_verify(s, &report, NULL, NULL)) != VTAG_OK) die("verify", err);
        vtag_release(s);
    }
    vtag_close(db);
    _exit(last ? 0 : 1);
}

/* ---- The run ---------------------------------------------------------------------- */

/* Kills writers until the readers are done; how many of them complained. */
static int supervise(pid_t *readers, uint64_t seed, uint64_t *kills)
{
    pid_t writers[WRITERS] = {0, 0};
    int left = READERS, bad = 0, i, status;
    while (left && !bad) {
        struct timespec nap = {0, 0};
        for (i = 0; i < WRITERS; i++, t_rand(&seed))
            if (!writers[i] && (writers[i] = fork()) == 0) writer(seed);
        nap.tv_nsec = (long)(10 + t_below(&seed, 100)) * 1000000;
        nanosleep(&nap, NULL);
        i = (int)t_below(&seed, WRITERS);
        kill(writers[i], SIGKILL);
        waitpid(writers[i], &status, 0);
        writers[i] = 0;
        bad += WIFEXITED(status);
        ++*kills;
        for (i = 0; i < READERS; i++) {
            if (!readers[i] || waitpid(readers[i], &status, WNOHANG) != readers[i]) continue;
            readers[i] = 0;
            left--;
            bad += !WIFEXITED(status) || WEXITSTATUS(status);
        }
    }
    for (i = 0; i < WRITERS; i++) if (writers[i]) kill(writers[i], SIGKILL), waitpid(writers[i], NULL, 0);
    for (i = 0; i < READERS; i++) if (readers[i]) kill(readers[i], SIGKILL), waitpid(readers[i], NULL, 0);
    return bad;
}

static void run_mode(vtag_durability mode, const char *name)
{
    const char *seconds = getenv("SECONDS_EACH");
    time_t end = time(NULL) + (seconds ? atol(seconds) : 4);
    pid_t readers[READERS];
    uint64_t kills = 0, seed = t_seed();
    int i;
    snprintf(path, sizeof path, "%s", t_path(name));
    durability = mode;
    for (i = 0; i < READERS; i++)
        if ((readers[i] = fork()) == 0) reader(i == 2, end);
    CHECK_EQ(supervise(readers, seed, &kills), 0);
    printf("count stress-kills %llu\n", (unsigned long long)kills);
}

static void durable_commits_never_go_back(void) { run_mode(VTAG_FULL_SYNC, "full.vtag"); }
static void lazy_commits_never_go_back(void) { run_mode(VTAG_LAZY_SYNC, "lazy.vtag"); }

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(durable_commits_never_go_back);
    RUN(lazy_commits_never_go_back);
    return t_end();
}
