// build: plain
/* Two writer processes and eight readers that keep their handles, all of them stopped,
   continued, killed and started again at random: no reader ever sees a state go back, or
   half of a batch; a snapshot that it pins keeps its content, and that content is what
   every other reader sees in the same commit [I6].

   Each batch writes items 2k and 2k + 1 with one payload, or deletes both. Writers also
   abort, close, compact. SECONDS_EACH=n sets how long each mode runs (8). */
#include "engine.h"
#include "test.h"
#include "content.h"
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 300, DIM = 32, READERS = 8, WRITERS = 2, PEOPLE = READERS + WRITERS };
enum { COMMITS = 1 << 16 };

/* What the processes share. A word of `seen` holds 24 bits of a commit's number and 40 of
 * its content's hash, so that it is read and written whole. */
static struct board {
    uint64_t seen[COMMITS], pins, compared;
} *board;

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
    vtag_begin_opts opts = {10000, 0, 0, NULL, NULL, NULL};
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
        if (!t_below(&seed, 100)) {
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

/* Compares the content of a commit with what another reader saw in it, or leaves it for
 * the next. */
static void compare(uint64_t commit, uint64_t hash)
{
    uint64_t *word = &board->seen[commit % COMMITS], tag = (commit & 0xFFFFFFu) << 40;
    uint64_t mine = tag | (hash & UINT64_C(0xFFFFFFFFFF));
    uint64_t other = __atomic_exchange_n(word, mine, __ATOMIC_SEQ_CST);
    if (!other || (other ^ mine) >> 40) return;
    if (other != mine) die("two contents of one commit", VTAG_OK);
    __atomic_add_fetch(&board->compared, 1, __ATOMIC_SEQ_CST);
}

static uint64_t hash_of(const vtag_snap *s)
{
    content c = content_of(s);
    if (c.err) die(c.at, c.err);
    return c.hash;
}

/* Looks at the newest state; *pin and its hash are held for some rounds. */
static void look(vtag_db *db, uint64_t round, uint64_t *last, vtag_snap **pin, uint64_t *pinned)
{
    vtag_report report;
    vtag_stat stat;
    vtag_snap *s;
    uint64_t hash;
    vtag_err err = vtag_snapshot(db, &s);
    if (err) die("snapshot", err);
    if (vtag_stats(s, &stat) || stat.commit < *last) die("the state went back", VTAG_OK);
    *last = stat.commit;
    check_pairs(s);
    hash = hash_of(s);
    compare(stat.commit, hash);
    if (round % 20 == 0 && (err = vtag_verify(s, &report, NULL, NULL)) != VTAG_OK) die("verify", err);
    if (*pin && hash_of(*pin) != *pinned) die("a pinned snapshot changed", VTAG_OK);
    __atomic_add_fetch(&board->pins, 1, __ATOMIC_SEQ_CST);
    if (round % 8 == 0) {
        vtag_release(*pin);
        *pin = s;
        *pinned = hash;
    } else vtag_release(s);
}

static void reader(int no_map)
{
    vtag_db *db = NULL;
    vtag_snap *pin = NULL;
    uint64_t last = 0, round, pinned = 0;
    while (!db) db = open_as(VTAG_READ, no_map);
    for (round = 0;; round++) look(db, round, &last, &pin, &pinned);
}

/* ---- The run ---------------------------------------------------------------------- */

static void start(pid_t *people, int i, uint64_t seed)
{
    fflush(stdout);
    people[i] = fork();
    if (people[i]) return;
    if (i < WRITERS) writer(seed);
    reader(i % 3 == 2);
}

static int end(pid_t *people, int i)
{
    int status;
    kill(people[i], SIGKILL);
    waitpid(people[i], &status, 0);
    people[i] = 0;
    return WIFEXITED(status); /* it had complained */
}

/* Kills and stops processes until the time is over; how many of them complained. */
static int supervise(uint64_t seed, time_t until, uint64_t *kills)
{
    pid_t people[PEOPLE] = {0};
    int bad = 0, i, status;
    while (time(NULL) < until && !bad) {
        struct timespec nap = {0, 0};
        pid_t gone;
        for (i = 0; i < PEOPLE; i++, t_rand(&seed))
            if (!people[i]) start(people, i, seed);
        nap.tv_nsec = (long)(10 + t_below(&seed, 60)) * 1000000;
        nanosleep(&nap, NULL);
        i = (int)t_below(&seed, PEOPLE);
        kill(people[i], t_below(&seed, 3) ? SIGSTOP : SIGCONT);
        for (i = 0; i < PEOPLE; i++) if (!t_below(&seed, 6)) kill(people[i], SIGCONT);
        i = (int)t_below(&seed, t_below(&seed, 3) ? WRITERS : PEOPLE);
        bad += end(people, i);
        ++*kills;
        gone = waitpid(-1, &status, WNOHANG);
        bad += gone > 0;
        for (i = 0; i < PEOPLE; i++) if (people[i] == gone) people[i] = 0;
    }
    for (i = 0; i < PEOPLE; i++) if (people[i]) bad += end(people, i);
    return bad;
}

static void run_mode(vtag_durability mode, const char *name)
{
    const char *seconds = getenv("SECONDS_EACH");
    time_t until = time(NULL) + (seconds && *seconds ? atol(seconds) : 8);
    uint64_t kills = 0, seed = t_seed();
    snprintf(path, sizeof path, "%s", t_path(name));
    durability = mode;
    board = (struct board *)mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(board != MAP_FAILED);
    CHECK_EQ(supervise(seed, until, &kills), 0);
    CHECK(board->pins > 0 && board->compared > 0);
    printf("count stress-kills %llu\ncount snapshots-compared %llu\n", (unsigned long long)kills,
           (unsigned long long)board->pins);
    munmap(board, sizeof *board);
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
