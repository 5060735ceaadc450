// build: plain
/* kill -9 at any moment, with the truth kept in another process.

   A child works on a real file: step i of its life is one commit, made of i alone, and
   after each it writes a byte into a pipe. The parent kills it after a random time,
   counts the bytes, opens the file - the lock must be free at once - and computes from
   i alone what every item must hold (steps.h). A process that dies loses nothing that it
   wrote, so the file holds the last acknowledged step or the one after; that is why a
   file in memory will do, where there is one.

   KILLS=n, or an argument of that form, sets how often (2,000). */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include "engine.h"
#include "test.h"
#include "steps.h"
#include <errno.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

static unsigned kills = 2000;

/* ---- The child ------------------------------------------------------------------ */

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
        if (err == VTAG_OK) err = tidy_step(&db, path, &opts, i);
        if (err == VTAG_OK) continue;
        fprintf(stderr, "the child, step %llu: %s\n", (unsigned long long)i, vtag_strerror(err));
        _exit(4);
    }
}

/* ---- The parent ------------------------------------------------------------------ */

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

static void a_killed_process_loses_no_commit_and_leaves_no_lock(void)
{
    char path[800];
    uint64_t seed = t_seed(), before = 0, steps = 0;
    unsigned i;
    snprintf(path, sizeof path, "%s", t_path("killed.vtag"));
    newborn(path);
    for (i = 0; i < kills && !t_.failed; i++) {
        uint64_t acked = one_life(path, i, (long)t_below(&seed, i % 8 ? 3000 : 20000)), now;
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
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
    t_begin(argc, argv);
    RUN(a_killed_process_loses_no_commit_and_leaves_no_lock);
    return t_end();
}
