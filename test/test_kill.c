/* kill -9 at any moment, with the truth kept in another process.

   A child works on a real file: step i of its life is one commit, made of i alone, and
   after each it writes a byte into a pipe. The parent kills it after a random time,
   counts the bytes, opens the file - the lock must be free at once - and computes from
   i alone what every item must hold. The step number lies in the file's metadata. A
   process that dies loses nothing that it wrote, so the file holds the last
   acknowledged step or the one after.

   KILLS=n, or an argument of that form, sets how often (100). */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include <errno.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

enum { ITEMS = 24, DIM = 5 };

static unsigned kills = 100;

/* ---- What each step does ----------------------------------------------------- */

/* The step, at most `now`, that last wrote the item; 0: none did. A step writes three
 * items, and every seventh deletes one. */
static uint64_t writer_of(uint64_t item, uint64_t now, int *deleted)
{
    uint64_t i;
    *deleted = 0;
    for (i = now; i && now - i < 4 * ITEMS; i--) {
        if (i % 7 == 0 && item == i / 7 % ITEMS) {
            *deleted = 1;
            return i;
        }
        if (item == i % ITEMS || item == (i * 5 + 1) % ITEMS) return i;
        if (item == (i * 11 + 2) % ITEMS) return i;
    }
    return 0;
}

static size_t text_of(uint64_t item, uint64_t i, char *to, size_t cap)
{
    int n = snprintf(to, cap, "item %u as of step %llu", (unsigned)item, (unsigned long long)i);
    size_t extra = (size_t)(i * 37 % 400);
    memset(to + n, 'a' + (int)(i % 26), extra);
    return (size_t)n + extra;
}

static void vector_of(uint64_t item, uint64_t i, float *x)
{
    uint64_t seed = item << 32 | i;
    int j;
    for (j = 0; j < DIM; j++) x[j] = t_float(&seed) + 2;
}

static vtag_err put_item(vtag_batch *b, vtag_tag tag, uint64_t id, uint64_t i)
{
    char text[600];
    float x[DIM];
    vtag_item item;
    vtag_vec v = {0, DIM, NULL, 0, 0};
    memset(&item, 0, sizeof item);
    item.id = id;
    item.size = text_of(id, i, text, sizeof text);
    item.data = text;
    vector_of(id, i, x);
    v.tag = tag;
    v.x = x;
    return vtag_put(b, &item, &v, 1);
}

static vtag_err commit_step(vtag_db *db, vtag_tag tag, uint64_t i)
{
    const uint64_t ids[3] = {(i * 11 + 2) % ITEMS, (i * 5 + 1) % ITEMS, i % ITEMS};
    vtag_batch *b;
    int j;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    for (j = 0; j < 3 && err == VTAG_OK; j++) err = put_item(b, tag, ids[j], i);
    if (err == VTAG_OK && i % 7 == 0) {
        err = vtag_del(b, i / 7 % ITEMS);
        if (err == VTAG_NOTFOUND) err = VTAG_OK;
    }
    if (err == VTAG_OK) err = vtag_meta_set(b, "step", &i, sizeof i);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

/* ---- The child ------------------------------------------------------------------ */

static vtag_err last_step(vtag_db *db, uint64_t *i, vtag_tag *tag)
{
    vtag_snap *s;
    const void *p;
    size_t n;
    vtag_err err = vtag_snapshot(db, &s);
    if (err != VTAG_OK) return err;
    *i = 0;
    err = vtag_find(s, "words@1", tag);
    if (err == VTAG_OK && vtag_meta_get(s, "step", &p, &n) == VTAG_OK) memcpy(i, p, sizeof *i);
    vtag_release(s);
    return err;
}

static void work(const char *path, int to_parent, unsigned round)
{
    static const char done = 1;
    vtag_open_opts opts;
    vtag_db *db;
    vtag_tag tag;
    uint64_t i, first;
    memset(&opts, 0, sizeof opts);
    opts.access = VTAG_EXISTING;
    opts.durability = round % 4 == 3 ? VTAG_NO_SYNC : VTAG_FULL_SYNC;
    if (vtag_open(path, &opts, &db) != VTAG_OK || last_step(db, &first, &tag) != VTAG_OK) _exit(3);
    for (i = first + 1;; i++) {
        vtag_err err = commit_step(db, tag, i);
        if (err == VTAG_OK && write(to_parent, &done, 1) != 1) _exit(5);
        if (err == VTAG_OK && i % 50 == 49) err = vtag_compact(db, NULL, NULL);
        if (err == VTAG_OK && i % 23 == 22) err = vtag_seal(db, NULL, NULL);
        if (err == VTAG_OK && i % 31 == 30) {
            vtag_close(db);
            err = vtag_open(path, &opts, &db);
        }
        if (err == VTAG_OK) continue;
        fprintf(stderr, "the child, step %llu: %s\n", (unsigned long long)i, vtag_strerror(err));
        _exit(4);
    }
}

/* ---- The parent ------------------------------------------------------------------ */

static void check_item(const vtag_snap *s, vtag_tag tag, uint64_t id, uint64_t now)
{
    char text[600];
    float x[DIM], stored[DIM];
    int deleted;
    uint64_t i = writer_of(id, now, &deleted);
    vtag_item item;
    if (deleted || !i) {
        ERR(VTAG_NOTFOUND, vtag_get(s, id, &item));
        return;
    }
    if (!OK(vtag_get(s, id, &item))) return;
    CHECK_EQ(item.size, text_of(id, i, text, sizeof text));
    CHECK(item.size && !memcmp(item.data, text, item.size));
    vector_of(id, i, x);
    if (OK(vtag_vector(s, id, tag, 0, stored, DIM, NULL))) CHECK(!memcmp(x, stored, sizeof x));
}

/* The step that the file holds, after all of it was compared. */
static uint64_t check_file(vtag_db *db, vtag_tag *tag)
{
    uint64_t now = 0, id;
    vtag_snap *s;
    vtag_report report;
    MUST(last_step(db, &now, tag));
    MUST(vtag_snapshot(db, &s));
    for (id = 0; id < ITEMS; id++) check_item(s, *tag, id, now);
    OK(vtag_verify(s, &report, NULL, NULL));
    vtag_release(s);
    return now;
}

static void pause_us(long us)
{
    struct timespec t = {0, 0};
    t.tv_sec = us / 1000000;
    t.tv_nsec = us % 1000000 * 1000;
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
}

/* Lets a child work on the file and kills it; returns the steps it acknowledged. */
static uint64_t one_life(const char *path, unsigned round, long us)
{
    int ends[2], status;
    char got[512];
    uint64_t acked = 0;
    ssize_t n;
    pid_t child;
    REQUIRE(pipe(ends) == 0);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        close(ends[0]);
        work(path, ends[1], round);
    }
    close(ends[1]);
    if (read(ends[0], got, 1) == 1) acked++; /* it is at work */
    pause_us(us);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    if (WIFEXITED(status)) fprintf(stderr, "the child ended by itself: %d\n", WEXITSTATUS(status));
    while ((n = read(ends[0], got, sizeof got)) > 0) acked += (uint64_t)n;
    close(ends[0]);
    return acked;
}

static void newborn(const char *path)
{
    vtag_spec spec;
    vtag_db *db;
    vtag_batch *b;
    vtag_tag tag;
    memset(&spec, 0, sizeof spec);
    spec.name = "words@1";
    spec.dim = DIM;
    MUST(vtag_open(path, NULL, &db));
    MUST(vtag_begin(db, NULL, &b));
    MUST(vtag_declare(b, &spec, &tag));
    MUST(vtag_commit(b));
    vtag_close(db);
}

static void a_killed_process_loses_no_commit_and_leaves_no_lock(void)
{
    char path[800];
    uint64_t seed = t_seed(), before = 0, steps = 0;
    unsigned i;
    snprintf(path, sizeof path, "%s", t_path("killed.vtag"));
    newborn(path);
    for (i = 0; i < kills && !t_.failed; i++) {
        uint64_t acked = one_life(path, i, (long)t_below(&seed, 12000)), now;
        vtag_open_opts opts;
        vtag_db *db;
        vtag_batch *b;
        vtag_tag tag;
        memset(&opts, 0, sizeof opts);
        opts.access = i % 2 ? VTAG_READ : VTAG_EXISTING;
        MUST(vtag_open(path, &opts, &db));
        now = check_file(db, &tag);
        CHECK(now == before + acked || now == before + acked + 1);
        if (opts.access == VTAG_EXISTING && OK(vtag_begin(db, NULL, &b))) {
            vtag_abort(b);
            CHECK_EQ(check_file(db, &tag), now);
        }
        vtag_close(db);
        steps += now - before;
        before = now;
    }
    CHECK(steps > 0);
    printf("count kills %u\ncount steps-between-kills %llu\n", i, (unsigned long long)steps);
}

int main(int argc, char **argv)
{
    const char *n = getenv("KILLS");
    int i;
    for (i = 1; i < argc; i++)
        if (!strncmp(argv[i], "KILLS=", 6)) {
            n = argv[i] + 6;
            argv[i] = argv[0] + strlen(argv[0]);
        }
    if (n && *n) kills = (unsigned)strtoul(n, NULL, 10);
    t_begin(argc, argv);
    RUN(a_killed_process_loses_no_commit_and_leaves_no_lock);
    return t_end();
}
