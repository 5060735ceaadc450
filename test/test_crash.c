// build: plain
/* Power cuts at every operation of a workload, and what the file says afterwards.

   A workload of random steps runs on a sim (sim.h), which records every change of the
   disk; after each step the content of the state is noted, and a reader that stays open
   must see it. Two handles, as of two processes, may write in turn, each with the file
   mapped or in its own memory; what one makes of the other's work is known from a third
   that works on a copy; and one may die in a step and leave the rest to the other [I10].
   Then the record is played back, one
   operation at a time, and after each the power fails in every way there is: nothing,
   everything, some, reordered, torn or garbled writes. Each disk that is left is opened
   read-only and by a writer, and must hold exactly one noted state [I1], not older than
   what was acknowledged, or synced where commits are lazy [I2]. Recovery is cut off in
   its turn [I3], slots are destroyed at rest [I4], and the writer goes on from there, is
   cut off again, and nothing that was rolled back returns [I5]. One of the disks, by
   chance, becomes the start of the workload's next life.

   A state is one disk, different from all others of its workload, that was opened and
   compared; a disk that came up before is judged by what was found then.
   STATES=n sets how many are tried (1,010,000), SEED=n where to start. A failure
   prints both. `build: plain`: without sanitizers, which cost ten times. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#include <unistd.h>

/* Every call of the engine asks for the process, which here takes a fifth of the time. */
static int only_process(void) { return 1; }

#define getpid only_process
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#undef getpid
#include "test.h"
#include "sim.h"
#include "content.h"
#include <time.h>

enum { STEPS = 40, LATER_STEPS = 12, LIVES = 3, PINS = 3, STATES_MAX = 256, SEEN_MAX = 1 << 18 };

/* What a workload does; all of it must have happened in a run. */
typedef enum verb {
    PUT, FILL, DEL, WAIVE, DECLARE, CUTOVER, ROLLBACK, RETIRE, SMALL, COMPACT, SEAL, FLUSH, COPY,
    ABORT, TAKEOVER, VERBS
} verb;

typedef struct state {           /* of the oracle                              */
    uint64_t hash;
    uint32_t copy;               /* this step wrote copy number ..., 0: none   */
} state;

typedef struct seen {            /* a disk that came up, by its number         */
    uint64_t sum;
    uint64_t workload;           /* that it was of; 0: free                    */
    content  found[2];           /* by a reader, by a writer                   */
    int      looked[2];
} seen;

typedef struct world {           /* one workload and the disks it is tried on  */
    uint64_t       seed;
    vtag_open_opts opts;
    sim            source;       /* where the workload ran                     */
    sim            disk;         /* its record, played back up to op           */
    sim            image;        /* what a cut of disk left                    */
    sim            mid, again;   /* the same, for a second cut; what that left */
    state          state[STATES_MAX];
    uint32_t       states;       /* noted so far; state 0: no file             */
    uint32_t       copies;
    int            processes;    /* that write: 1, or 2 of which some die      */
    int            no_map[2];    /* of each of them                            */
    uint32_t       life;         /* from 0; the later start from a cut's disk  */
    sim            start;        /* of this life                               */
    content        start_holds;
    int            start_torn;   /* its cut, or one before it, tore a write    */
    size_t         twin;         /* operations of source that disk has         */
    uint64_t       workload;     /* its number in the run, from 1              */
    uint64_t       disks;        /* tried, in all                              */
    uint64_t       entries;      /* of disks_seen, this workload's             */
    uint64_t       equal;        /* disks that were known                      */
    uint64_t       did[VERBS];
    size_t         op;           /* of the record, for messages                */
    sim_cut        cut;
    uint64_t       choice;
    size_t         op2;          /* of a second cut, on mid, from 1; 0: none   */
    sim_cut        cut2;
    uint64_t       choice2;
} world;

static world w;
static seen disks_seen[SEEN_MAX];
static uint64_t disks_wanted;

/* ---- Messages --------------------------------------------------------------- */

/* TRACE=1 in the environment: the record, to read a failure by. */
static void print_record(const sim *s)
{
    static const char *const kind[] = {"write", "allocate", "sync", "rename", "remove", "create"};
    size_t i;
    for (i = 0; i < s->ops && getenv("TRACE"); i++) {
        const sim_op *op = &s->op[i];
        fprintf(stderr, "%5zu %-8s file %d at %8llu, %6llu bytes; started %u acked %u\n", i,
                kind[op->kind], op->file, (unsigned long long)op->at,
                (unsigned long long)op->size, op->mark.started, op->mark.acked);
    }
}

static void say(const char *what, long long a, long long b)
{
    const sim_op *op = &w.source.op[w.op];
    t_.seeded = 1;
    t_.seed = w.seed;
    t_.failed++;
    fprintf(stderr, "  %s (%lld, %lld): seed %llu, life %u, %s%s, op %zu of %zu (kind %d at %llu, "
            "%llu bytes), cut %s, choice %llu, states started %u acked %u synced %u\n",
            what, a, b, (unsigned long long)w.seed, w.life,
            w.opts.durability == VTAG_LAZY_SYNC ? "lazy" : "full",
            w.opts.pad_sectors ? ", padded" : "", w.op, w.source.ops, (int)op->kind,
            (unsigned long long)op->at, (unsigned long long)op->size, sim_cut_name(w.cut),
            (unsigned long long)w.choice, op->mark.started, op->mark.acked, op->mark.synced);
    if (w.op2)
        fprintf(stderr, "  and again after op %zu of what followed, cut %s, choice %llu\n", w.op2,
                sim_cut_name(w.cut2), (unsigned long long)w.choice2);
    if (w.op2) print_record(&w.image);
}

static void count_done(verb what, vtag_err err) { w.did[what] += err == VTAG_OK; }

static vtag_err open_on(sim *s, vtag_access access, vtag_db **db)
{
    vtag_open_opts opts = w.opts;
    if (s != &w.source) opts.no_map = w.choice >> 32 & 31u ? 0 : 1; /* it is slow */
    else if (access == VTAG_READ) opts.no_map = w.seed / 2 % 4 == 0;
    else opts.no_map = w.no_map[s->process];
    opts.access = access;
    opts.io = &s->io;
    if (s != &w.source) s->io.map = opts.no_map ? NULL : sim_io_map;
    return vtag_open(SIM_MAIN, &opts, db);
}

/* ---- The workload: steps made of the seed, their number and the state ------- */

static float *some_vector(uint64_t *rng, uint32_t dim)
{
    static float x[8][8];
    static unsigned next;
    float *v = x[next++ % 8];
    uint32_t i;
    for (i = 0; i < dim; i++) v[i] = t_float(rng) + 2.0f;
    return v;
}

/* Tags that still answer, oldest first. */
static size_t live_tags(const vtag_snap *s, vtag_info *out)
{
    vtag_info all[64];
    uint64_t cursor = 0;
    size_t n = 0, i, m = 0;
    if (vtag_tags(s, &cursor, all, 64, &n) != VTAG_OK) return 0;
    for (i = 0; i < n; i++)
        if (all[i].role != VTAG_GONE) out[m++] = all[i];
    return m;
}

static void declare_next(vtag_batch *b, uint64_t *rng, size_t have)
{
    char name[32];
    vtag_spec spec;
    vtag_tag tag;
    memset(&spec, 0, sizeof spec);
    snprintf(name, sizeof name, "m%u@%u", (unsigned)t_below(rng, 3), (unsigned)t_below(rng, 40));
    spec.name = name;
    spec.dim = 3 + (uint32_t)t_below(rng, 4);
    spec.metric = (vtag_metric)t_below(rng, 3);
    spec.note = t_below(rng, 2) ? "a note" : NULL;
    if (have < 4) count_done(DECLARE, vtag_declare(b, &spec, &tag));
}

static void put_one(vtag_batch *b, const vtag_info *tags, size_t n, uint64_t *rng)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog, and so on";
    vtag_vec v[8];
    vtag_item item;
    size_t i, m = 0;
    char key[16];
    memset(&item, 0, sizeof item);
    memset(v, 0, sizeof v);
    item.id = 1 + t_below(rng, 9);
    if (t_below(rng, 4) == 0) {
        snprintf(key, sizeof key, "doc-%u", (unsigned)t_below(rng, 3));
        item.id = 0;
        item.key = key;
    }
    if (t_below(rng, 3)) {
        item.data = text + t_below(rng, 10);
        item.size = t_below(rng, 40);
    }
    for (i = 0; i < n && m < 6; i++) {
        uint64_t parts = t_below(rng, 3);
        for (; parts; parts--, m++) {
            v[m].tag = tags[i].tag;
            v[m].dim = tags[i].spec.dim;
            v[m].x = some_vector(rng, v[m].dim);
            v[m].len = (uint32_t)t_below(rng, 9);
        }
    }
    count_done(PUT, vtag_put(b, &item, v, m));
}

/* Fills or waives what is pending under a tag. */
static void fill_some(vtag_batch *b, const vtag_snap *s, const vtag_info *t, uint64_t *rng)
{
    vtag_item item[4];
    uint64_t cursor = 0;
    size_t n = 0, i;
    if (vtag_items(s, t->tag, VTAG_PENDING | VTAG_WAIVED, &cursor, item, 4, &n) != VTAG_OK) return;
    for (i = 0; i < n; i++) {
        vtag_vec v;
        memset(&v, 0, sizeof v);
        v.tag = t->tag;
        v.dim = t->spec.dim;
        v.x = some_vector(rng, v.dim);
        switch (t_below(rng, 4)) {
        case 0: count_done(WAIVE, vtag_waive(b, &item[i], t->tag, "cannot be embedded")); break;
        case 1: (void)vtag_waive(b, &item[i], t->tag, NULL); break;
        default: count_done(FILL, vtag_fill(b, &item[i], &v, 1)); break;
        }
    }
}

static void change_roles(vtag_batch *b, const vtag_info *t, uint64_t *rng)
{
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = VTAG_NONE;
    gate.max_waived_ppm = 1000000;
    gate.max_age_ms = UINT64_MAX;
    gate.reason = "the test says so";
    switch (t_below(rng, 4)) {
    case 0: count_done(ROLLBACK, vtag_rollback(b, 0, NULL)); break;
    case 1: count_done(RETIRE, vtag_retire(b, t->tag, "no longer wanted", NULL)); break;
    default: count_done(CUTOVER, vtag_cutover(b, t->tag, &gate, NULL)); break;
    }
}

static void small_change(vtag_batch *b, const vtag_info *t, uint64_t *rng)
{
    char name[8];
    vtag_policy policy;
    vtag_event event;
    memset(&event, 0, sizeof event);
    memset(&policy, 0, sizeof policy);
    switch (t_below(rng, 4)) {
    case 0:
        event.kind = VTAG_K_NOTE;
        event.text = "a line for the history";
        (void)vtag_note(b, &event);
        break;
    case 1:
        event.kind = VTAG_K_SCORE;
        event.tag = t->tag;
        event.name = "recall@10";
        event.value = 0.5;
        event.queries = 100;
        (void)vtag_note(b, &event);
        break;
    case 2:
        policy.retain_ms = 1 + t_below(rng, 1000);
        policy.gate.min_ppm = 990000;
        count_done(SMALL, vtag_policy_set(b, &policy, "stricter or not"));
        break;
    default:
        snprintf(name, sizeof name, "meta%u", (unsigned)t_below(rng, 3));
        (void)vtag_meta_set(b, name, t_below(rng, 3) ? name : NULL, strlen(name));
        break;
    }
}

static void change(vtag_batch *b, const vtag_snap *s, uint64_t *rng)
{
    vtag_info tags[64];
    size_t n = live_tags(s, tags);
    const vtag_info *t = n ? &tags[t_below(rng, n)] : NULL;
    uint64_t what = t_below(rng, 20);
    if (n < 2 && what < 12) declare_next(b, rng, n);
    if (!t) return;
    if (what < 9) put_one(b, tags, n, rng);
    else if (what < 13) fill_some(b, s, t, rng);
    else if (what < 15) count_done(DEL, vtag_del(b, 1 + t_below(rng, 9)));
    else if (what < 16) declare_next(b, rng, n);
    else if (what < 18) change_roles(b, t, rng);
    else small_change(b, t, rng);
}

/* Some changes in one batch; the error is the commit's. */
static vtag_err step_batch(vtag_db *db, uint64_t *rng)
{
    vtag_snap *s = NULL;
    vtag_batch *b = NULL;
    uint64_t n = 1 + t_below(rng, t_below(rng, 4) ? 3 : 12);
    vtag_err err = vtag_snapshot(db, &s);
    if (err == VTAG_OK) err = vtag_begin(db, NULL, &b);
    for (; err == VTAG_OK && n; n--) change(b, s, rng);
    vtag_release(s);
    if (err != VTAG_OK) return err;
    if (t_below(rng, 12)) return vtag_commit(b);
    vtag_abort(b);
    count_done(ABORT, VTAG_OK);
    return VTAG_OK;
}

static vtag_err done(verb what, vtag_err err)
{
    count_done(what, err);
    return err;
}

static vtag_err step_copy(vtag_db *db, uint32_t number)
{
    char path[16];
    vtag_snap *s = NULL;
    vtag_err err = vtag_snapshot(db, &s);
    snprintf(path, sizeof path, "copy%u", number);
    if (err == VTAG_OK) err = vtag_copy(s, path, NULL, NULL);
    vtag_release(s);
    return err;
}

/* Step i of a workload. Sets *copy to the number of the copy it made. */
static vtag_err step(vtag_db *db, uint64_t seed, uint32_t i, uint32_t *copy)
{
    uint64_t rng = seed * 1000003u + i, what;
    t_rand(&rng);
    what = t_below(&rng, 40);
    if (copy) *copy = 0;
    if (i < 3 || what > 5) return step_batch(db, &rng);
    switch (what) {
    case 0: case 1: return done(COMPACT, vtag_compact(db, NULL, NULL));
    case 2: case 3: return done(SEAL, vtag_seal(db, NULL, NULL));
    case 4: return done(FLUSH, vtag_flush(db));
    default:
        if (!copy || w.copies) return VTAG_OK;
        return done(COPY, step_copy(db, *copy = ++w.copies));
    }
}

/* The newest state in low..high with that content; -1: none. */
static int which_state(uint64_t hash, uint32_t low, uint32_t high)
{
    int n = (int)high;
    for (; n >= (int)low; n--)
        if (w.state[n].hash == hash) return n;
    return -1;
}

/* ---- Recording -------------------------------------------------------------- */

typedef struct pin {             /* a snapshot that is held, and its content   */
    vtag_snap *s;
    uint64_t   hash;
    int        process;
} pin;

static pin pins[PINS];
static vtag_db *watcher;         /* a reader, open all the time                */
static uint32_t watched;         /* the newest state that it saw               */

static void pins_hold(void)
{
    int i;
    for (i = 0; i < PINS; i++) {
        content c;
        if (!pins[i].s) continue;
        c = content_of(pins[i].s);
        if (c.hash != pins[i].hash) say("I6: a pinned snapshot changed", c.err, i);
    }
}

static void pin_now(pin *p, vtag_db *db, int process)
{
    content c;
    vtag_release(p->s);
    p->s = NULL;
    p->process = process;
    if (vtag_snapshot(db, &p->s) != VTAG_OK) return;
    c = content_of(p->s);
    p->hash = c.hash;
}

static void note_state(content c, uint32_t copy)
{
    if (c.err != VTAG_OK) {
        say(c.at, c.err, w.states);
        fprintf(stderr, "  (after step %u: %s)\n", w.states, vtag_strerror(c.err));
    }
    w.state[w.states].hash = c.hash;
    w.state[w.states].copy = copy;
    w.source.mark.acked = w.states++;
}

/* The reader sees the newest state, or where commits are lazy one that never goes back. */
static void watch(void)
{
    int p = w.source.process, n;
    content c;
    w.source.process = 2;
    c = content_db(watcher);
    w.source.process = p;
    n = c.err == VTAG_OK ? which_state(c.hash, watched, w.states - 1) : -1;
    if (n < 0) say("a reader that stayed open", c.err, watched);
    else watched = (uint32_t)n;
    if (w.opts.durability == VTAG_FULL_SYNC && watched + 1 != w.states)
        say("a reader that stayed open sees an old state", n, w.states - 1);
}

/* Process p opens the workload's file, again if it has it open. */
static int reopen(vtag_db **db, int p)
{
    vtag_err err;
    w.source.process = p;
    vtag_close(db[p]);
    db[p] = NULL;
    err = open_on(&w.source, VTAG_CREATE, &db[p]);
    if (err != VTAG_OK) say("opening the workload's file", err, p);
    return err == VTAG_OK;
}

/* The content that step i will lead to, tried on a copy of the source, and the number
 * of changes that it makes to the disk. */
static content foresee(uint32_t i, uint64_t *changes)
{
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    content c = {0, VTAG_OK, NULL};
    uint64_t most = UINT64_MAX / 2;
    for (; w.twin < w.source.ops; w.twin++) sim_replay(&w.disk, &w.source, w.twin);
    w.disk.clock = w.source.clock;
    sim_image(&w.image, &w.disk, SIM_KILLED, 0, i);
    if (!content_good(&c, open_on(&w.image, VTAG_EXISTING, &db), "open")) return c;
    if (content_good(&c, vtag_begin(db, NULL, &b), "begin")) vtag_abort(b);
    w.image.die_after = most;
    if (content_good(&c, step(db, w.seed, i, NULL), "step")) c = content_db(db);
    *changes = most - w.image.die_after;
    vtag_close(db);
    return c;
}

static void run_until_death(vtag_db *db, uint32_t i)
{
    jmp_buf death;
    w.source.death = &death;
    if (setjmp(death) == 0) (void)step(db, w.seed, i, NULL);
    w.source.death = NULL;
    w.source.die_after = UINT64_MAX;
}

/* Process p dies somewhere in step i, its lock held or not; the other takes over, and
 * finds the state before or the state after [I10], not an older one than a reader. */
static void die_in_step(vtag_db **db, int p, uint32_t i)
{
    uint64_t seed = w.seed + i, changes = 0;
    content after = foresee(i, &changes), c = {0, VTAG_OK, NULL}, reader;
    vtag_batch *b = NULL;
    int k;
    if (after.err != VTAG_OK) say(after.at, after.err, i);
    w.source.tick = 0;
    w.source.process = p;
    w.source.die_after = t_below(&seed, changes + 2);
    run_until_death(db[p], i);
    sim_bury(&w.source, p);
    db[p] = NULL;
    for (k = 0; k < PINS; k++)
        if (pins[k].process == p) pins[k].s = NULL;
    w.source.process = 2;
    reader = content_db(watcher);
    w.source.process = !p;
    if (content_good(&c, vtag_begin(db[!p], NULL, &b), "begin after a death")) vtag_abort(b);
    if (c.err == VTAG_OK) c = content_db(db[!p]);
    if (c.hash != after.hash && c.hash != w.state[w.states - 1].hash)
        say("I10: the heir of a dead writer finds another state", c.err, i);
    if (c.hash != after.hash && reader.hash == after.hash)
        say("I3: a reader saw more than the heir of a dead writer", c.err, i);
    w.source.tick = 3;
    w.did[TAKEOVER]++;
    note_state(c, 0);
    reopen(db, p);
    watch();
}

/* Process p looks, where it would not write yet. */
static void look_between(vtag_db **db, int p)
{
    content c;
    w.source.process = p;
    c = content_db(db[p]);
    if (c.err != VTAG_OK || which_state(c.hash, 1, w.states - 1) < 0)
        say("a writer that looks in between", c.err, p);
}

/* Process p makes of what the other left what anyone else would. */
static vtag_err step_foreseen(vtag_db **db, int p, uint32_t i, uint32_t *copy)
{
    uint64_t changes;
    content after = foresee(i, &changes), c;
    vtag_err err;
    if (after.err != VTAG_OK) say(after.at, after.err, i);
    w.source.tick = 0;
    err = step(db[p], w.seed, i, copy);
    c = content_db(db[p]);
    if (c.hash != after.hash) say("I10: a step has another outcome than on a copy", c.err, i);
    w.source.tick = 3;
    return err;
}

/* One step of the workload, by one of its processes. */
static void record_step(vtag_db **db, uint32_t i)
{
    int p = w.processes > 1 && i % 3 == 1, foreseen = w.processes > 1 && (i + 5) % 6 < 2;
    uint32_t copy = 0;
    vtag_err err;
    w.op = w.source.ops ? w.source.ops - 1 : 0;
    w.source.mark.started = w.states;
    w.source.process = p;
    if (w.processes > 1 && i % 6 == 4) {
        die_in_step(db, p, i);
        return;
    }
    err = foreseen ? step_foreseen(db, p, i, &copy) : step(db[p], w.seed, i, &copy);
    if (err != VTAG_OK) say("a step of the workload", err, i);
    note_state(content_db(db[p]), copy);
    watch();
    if (w.processes > 1 && i % 3 == 2) look_between(db, !p);
    w.source.process = p;
    pins_hold();
    if (i % 4 == 1) pin_now(&pins[i / 4 % PINS], db[p], p);
    if (i % 13 == 12) reopen(db, p);
}

static uint32_t first_step(void) { return w.life ? STEPS + (w.life - 1) * LATER_STEPS : 0; }

/* The disk at the start of a life, and what the oracle knows about it. */
static void begin_life(void)
{
    sim_reset(&w.source, w.seed + w.life);
    sim_reset(&w.disk, w.seed);
    w.source.keep = 1;
    w.source.tick = 3;
    w.source.clock += w.life * 100000u;
    w.states = w.source.mark.started = 1;
    w.twin = 0;
    w.copies = w.life;
    watched = 0;
    memset(pins, 0, sizeof pins);
    if (!w.life) return;
    sim_load(&w.source, &w.start);
    sim_load(&w.disk, &w.start);
    w.source.mark.acked = w.source.mark.synced = 1;
    w.states = 2;
    w.state[1].hash = w.start_holds.hash;
    w.state[1].copy = 0;
}

static int open_all(vtag_db **db)
{
    vtag_err err;
    if (!reopen(db, 0)) return 0;
    if (!w.life) note_state(content_db(db[0]), 0);
    if (w.processes > 1 && !reopen(db, 1)) return 0;
    w.source.process = 2;
    err = open_on(&w.source, VTAG_READ, &watcher);
    if (err != VTAG_OK) say("opening the workload's file to read", err, 0);
    return err == VTAG_OK;
}

/* Runs a life of the workload of w.seed on the source. */
static int record(void)
{
    vtag_db *db[2] = {NULL, NULL};
    uint32_t i = first_step(), end = STEPS + w.life * LATER_STEPS;
    int failed = t_.failed, k;
    if (!open_all(db)) return 0;
    for (; i < end && t_.failed == failed; i++) record_step(db, i);
    for (k = 0; k < PINS; k++) vtag_release(pins[k].s);
    vtag_close(db[0]);
    vtag_close(db[1]);
    vtag_close(watcher);
    watcher = NULL;
    if (w.source.broken) say(w.source.broken, 0, 0);
    return t_.failed == failed;
}

/* ---- Judging a disk --------------------------------------------------------- */

/* Opens the disk and reads its content; recovers first with `as_writer`. */
static content look(sim *s, int as_writer)
{
    content c = {0, VTAG_OK, NULL};
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    if (!content_good(&c, open_on(s, as_writer ? VTAG_EXISTING : VTAG_READ, &db), "open")) return c;
    if (as_writer) content_good(&c, vtag_begin(db, NULL, &b), "begin");
    vtag_abort(b);
    if (c.err == VTAG_OK) c = content_db(db);
    vtag_close(db);
    if (s->broken) say(s->broken, as_writer, 0);
    return c;
}

/* The entry of a disk, perhaps a new one; where the table is full, one for once. */
static seen *seen_of(uint64_t sum)
{
    static seen once;
    seen *e = &disks_seen[sum % SEEN_MAX];
    while (e->workload == w.workload && e->sum != sum)
        e = e + 1 < disks_seen + SEEN_MAX ? e + 1 : disks_seen;
    if (e->workload == w.workload) return e;
    if (++w.entries > SEEN_MAX / 4 * 3) e = &once;
    memset(e, 0, sizeof *e);
    e->sum = sum;
    e->workload = w.workload;
    return e;
}

/* As look, but remembers; *known: it was looked at before, and is left as it was. */
static content look_once(sim *s, int as_writer, int *known)
{
    uint64_t sum = sim_sum(s);
    seen *e;
    if (s == &w.image && w.cut == SIM_KILLED) sum = sim_mix(sum + w.op); /* with the cache */
    e = seen_of(sum);
    *known = e->looked[as_writer];
    w.disks += !e->looked[0] && !e->looked[1];
    w.equal += *known != 0;
    if (!*known) {
        e->looked[as_writer] = 1;
        e->found[as_writer] = look(s, as_writer);
    }
    return e->found[as_writer];
}

static int expect(content c, const char *what, uint32_t low, uint32_t high)
{
    int n = c.err == VTAG_OK ? which_state(c.hash, low, high) : -1;
    if (n >= 0) return n;
    say(what, low, high);
    if (c.err != VTAG_OK) fprintf(stderr, "  %s: %s\n", c.at, vtag_strerror(c.err));
    else fprintf(stderr, "  it holds state %d\n", which_state(c.hash, 0, w.states - 1));
    return -1;
}

static void take(sim *to)
{
    sim_image(to, &w.disk, w.cut, w.opts.pad_sectors, w.choice);
    to->clock = w.source.clock; /* nobody looks before it was written */
}

/* Before the first commit was acknowledged there may be no file, or one that a later
 * open creates anew. Not counted. */
static void judge_newborn(void)
{
    vtag_db *db = NULL;
    vtag_err err = open_on(&w.image, VTAG_CREATE, &db);
    content c = {0, VTAG_OK, NULL};
    if (err != VTAG_OK) {
        say("a file whose creation was cut off cannot be created again", err, 0);
        return;
    }
    c = content_db(db);
    if (c.err != VTAG_OK || c.hash != w.state[1].hash) say("a newborn file is not empty", c.err, 0);
    vtag_close(db);
}

static int untorn(void) { return w.cut < SIM_TORN && !(w.life && w.start_torn); }

/* A slot destroyed where the other is whole: after recovery, or before it where the
 * cut tore nothing [I4]. */
static void destroy_either(sim *s, uint64_t hash, uint64_t seed)
{
    content c;
    int known;
    sim_rot(s, SIM_MAIN, SIM_SLOT(seed % 2), seed / 2 % 2 ? seed : 0);
    c = look_once(s, (int)(seed / 4 % 2), &known);
    if (c.err == VTAG_OK && c.hash == hash) return;
    say("I4: with a slot destroyed", c.err, which_state(c.hash, 0, w.states - 1));
    if (c.err != VTAG_OK) fprintf(stderr, "  %s: %s\n", c.at, vtag_strerror(c.err));
}

/* Repeats on `mid` what was recorded on `image` after operation `from`, up to i. */
static void play_mid(size_t from, size_t i)
{
    if (i == from) take(&w.mid);
    sim_replay(&w.mid, &w.image, i);
    w.op2 = i + 1;
}

static void take_again(sim_cut cut, uint64_t choice)
{
    w.cut2 = cut;
    w.choice2 = choice;
    sim_image(&w.again, &w.mid, cut, w.opts.pad_sectors, choice);
}

/* The power fails after an operation of recovery [I3]. Until recovery is through, what
 * was only seen, by a process that could not sync, may go back to `low`; and a commit up
 * to `high` that was started and found damaged may turn out whole, where what it lacks is
 * zeros and recovery was writing them. */
static int cut_recovery_here(uint32_t low, uint32_t high, uint64_t *seed)
{
    int kind;
    for (kind = 0; kind < 4; kind++) {
        sim_cut cut = kind < 2 ? (sim_cut)kind : (sim_cut)(2 + t_below(seed, SIM_KILLED - 2));
        int m, known, writer = (int)t_below(seed, 2);
        if (!sim_cut_differs(&w.mid, cut)) continue;
        take_again(cut, t_rand(seed));
        m = expect(look_once(&w.again, writer, &known), "I3: recovery was cut off", low, high);
        if (m < 0) return 0;
        if (!known && writer && t_below(seed, 4) == 0)
            destroy_either(&w.again, w.state[m].hash, t_rand(seed));
    }
    return 1;
}

/* A second cut in every operation of recovery. */
static void cut_recovery(uint32_t low, uint32_t n, uint32_t high)
{
    uint64_t seed = w.choice;
    size_t from, i;
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    take(&w.image);
    from = w.image.ops;
    if (open_on(&w.image, VTAG_EXISTING, &db) == VTAG_OK && vtag_begin(db, NULL, &b) == VTAG_OK)
        vtag_abort(b);
    vtag_close(db);
    for (i = from; i < w.image.ops; i++) {
        play_mid(from, i);
        int through = i + 1 == w.image.ops;
        if (!cut_recovery_here(through ? n : low, through ? n : high, &seed)) return;
    }
}

/* One slot destroyed in a file at rest [I4]. */
static void destroy_slot(uint32_t n, uint64_t seed)
{
    int known;
    sim_rot(&w.image, SIM_MAIN, SIM_SLOT(seed % 2), seed / 2 % 2 ? seed : 0);
    if (expect(look_once(&w.image, 0, &known), "I4: read with a slot destroyed", n, n) < 0) return;
    expect(look_once(&w.image, 1, &known), "I4: written with a slot destroyed", n, n);
}

/* The content after one more step on the image; the same step that the workload made
 * next, or another. *recovered: where its record has the end of recovery. */
static content go_on(uint64_t seed, uint32_t i, size_t *recovered, vtag_err *err)
{
    content c = {0, VTAG_OK, NULL};
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    *err = open_on(&w.image, VTAG_EXISTING, &db);
    if (*err == VTAG_OK) *err = vtag_begin(db, NULL, &b);
    vtag_abort(b);
    *recovered = w.image.ops;
    if (*err == VTAG_OK) *err = step(db, seed, i, NULL);
    if (*err == VTAG_OK) c = content_db(db);
    vtag_close(db);
    return c;
}

/* What the cut of a step left: the state after it, or, unless the step is sure, one of
 * low..n before it. */
static int judge_next(content next, uint32_t low, uint32_t n, int sure, uint64_t *seed)
{
    sim_cut cut = (sim_cut)t_below(seed, SIM_KILLED);
    int known, writer = (int)t_below(seed, 2), back;
    content now;
    if (!sure && !sim_cut_differs(&w.mid, cut)) return 1;
    take_again(cut, t_rand(seed));
    now = look_once(&w.again, writer, &known);
    back = !sure && which_state(now.hash, low, n) >= 0;
    if (now.err == VTAG_OK && (back || now.hash == next.hash)) {
        if (!known && (writer || (cut < SIM_TORN && untorn())) && t_below(seed, 3) == 0)
            destroy_either(&w.again, now.hash, t_rand(seed));
        return 1;
    }
    say(sure ? "I2: the commit after recovery is lost" : "I5: neither before nor after",
        now.err, n);
    if (now.err != VTAG_OK) fprintf(stderr, "  %s: %s\n", now.at, vtag_strerror(now.err));
    else fprintf(stderr, "  it holds state %d; the step was to come from %u; cut again: %s\n",
                 which_state(now.hash, 0, w.states - 1), n, sim_cut_name(cut));
    return 0;
}

/* The writer goes on from state n, and is cut off in that [I5]. Until it has synced,
 * what only lay in the page cache may go back to `low`. */
static void cut_next(uint32_t low, uint32_t n, uint32_t high, uint64_t choice)
{
    uint64_t seed = choice % 2 ? w.seed : choice;
    size_t from, i, k, recovered = 0;
    vtag_err err;
    content next;
    take(&w.image);
    from = w.image.ops;
    next = go_on(seed, first_step() + n - 1, &recovered, &err);
    if (err != VTAG_OK || next.err != VTAG_OK) {
        say("I5: the step after recovery", err, next.err);
        return;
    }
    for (i = from; i < w.image.ops; i++) {
        int last = i + 1 == w.image.ops;
        int sure = last && w.opts.durability == VTAG_FULL_SYNC;
        play_mid(from, i);
        for (k = 0; k < (last ? 4u : 1u); k++)
            if (!judge_next(next, low, i + 1 < recovered ? high : n, sure, &choice)) return;
    }
}

/* A copy is whole once it was acknowledged, and never anything else if it opens. */
static void judge_copy(uint32_t low)
{
    uint32_t n = 1;
    vtag_open_opts opts = w.opts;
    vtag_db *db = NULL;
    content c;
    while (n < w.states && !w.state[n].copy) n++;
    if (n == w.states) return;
    opts.access = VTAG_READ;
    opts.io = &w.image.io;
    if (vtag_open("copy1", &opts, &db) != VTAG_OK) {
        if (low >= n) say("a copy that was acknowledged does not open", n, 0);
        return;
    }
    c = content_db(db);
    if (c.hash != w.state[n].hash) say("a copy has another content", n, c.err);
    vtag_close(db);
}

/* One disk that the power cut may have left, and all that can happen to it. */
static void judge_disk(uint32_t low, uint32_t high)
{
    int n, m, known;
    take(&w.image);
    if (low == 0) {
        judge_newborn();
        return;
    }
    n = expect(look_once(&w.image, 0, &known), "I1: what a reader finds", low, high);
    if (n < 0) return;
    if (!known) judge_copy(low);
    if (!known && w.choice % 8 == 1 && untorn()) {
        destroy_either(&w.image, w.state[n].hash, w.choice / 8);
        return;
    }
    m = expect(look_once(&w.image, 1, &known), "I1: what a writer finds", (uint32_t)n, high);
    if (m < 0 || known) return;
    if (w.cut != SIM_KILLED) low = (uint32_t)m;
    switch (w.choice / 8 % 16) {
    case 0: case 1: case 2: destroy_slot((uint32_t)m, w.choice / 128); break;
    case 3: case 4: cut_recovery(low, (uint32_t)m, high); break;
    case 5: case 6: case 7: cut_next(low, (uint32_t)m, high, w.choice / 128); break;
    default: break;
    }
}

/* The oldest state that may be found: the file itself is there once it was opened. */
static uint32_t surely(const sim_mark *mark)
{
    if (w.opts.durability != VTAG_LAZY_SYNC) return mark->acked;
    return mark->synced || !mark->acked ? mark->synced : 1;
}

/* Cuts the power once more, for the disk that the next life starts from. */
static void choose_start(uint64_t *rng)
{
    int i;
    w.cut = (sim_cut)t_below(rng, SIM_KILLED);
    w.choice = t_rand(rng);
    take(&w.image);
    for (i = 0; i < SIM_FILES; i++) w.start.file[i].named = 0;
    sim_load(&w.start, &w.image);
    w.start_holds = look(&w.image, 0);
    w.start_torn |= w.cut >= SIM_TORN;
}

/* Plays the record back and cuts the power after each operation. */
static void play(uint64_t *rng)
{
    size_t next_op = (size_t)t_below(rng, w.source.ops);
    int failed = t_.failed;
    for (w.op = 0; w.op < w.source.ops && t_.failed < failed + 3; w.op++) {
        const sim_op *op = &w.source.op[w.op];
        const sim_mark *later = w.op + 1 < w.source.ops ? &op[1].mark : &w.source.mark;
        /* steps that wrote nothing may have been acknowledged since */
        uint32_t high = op->mark.started > later->acked ? op->mark.started : later->acked;
        int kind;
        sim_replay(&w.disk, &w.source, w.op);
        for (kind = 0; kind < SIM_CUTS && t_.failed < failed + 3; kind++) {
            int sooner = later->acked != op->mark.acked; /* more has to be there than before */
            if (!sooner && !sim_cut_differs(&w.disk, (sim_cut)kind)) continue;
            w.cut = (sim_cut)kind;
            w.op2 = 0;
            w.choice = t_rand(rng);
            judge_disk(surely(later), high);
        }
        if (w.op >= next_op && surely(later) > 0) {
            next_op = w.source.ops;
            choose_start(rng);
        }
    }
    w.op = w.source.ops - 1;
}

static void choose_options(void)
{
    memset(&w.opts, 0, sizeof w.opts);
    w.opts.durability = w.seed % 3 == 2 ? VTAG_LAZY_SYNC : VTAG_FULL_SYNC;
    w.opts.lazy_ms = 300;
    w.opts.pad_sectors = w.seed % 5 == 3;
    w.no_map[0] = w.seed % 7 == 5 || w.seed % 7 == 1;
    w.no_map[1] = w.seed % 7 == 5 || w.seed % 7 == 2;
    w.processes = 1 + (w.seed % 2 == 0);
}

static void run_workload(uint64_t seed)
{
    uint64_t rng = seed;
    int failed = t_.failed;
    w.seed = seed;
    choose_options();
    w.start_torn = 0;
    for (w.life = 0; w.life < LIVES && t_.failed == failed; w.life++) {
        w.workload++;
        w.entries = w.choice = 0;
        begin_life();
        if (!record()) return;
        print_record(&w.source);
        sim_reset(&w.disk, seed);
        if (w.life) sim_load(&w.disk, &w.start);
        play(&rng);
    }
}

static void every_power_cut_leaves_exactly_one_state(void)
{
    uint64_t seed = t_seed();
    struct timespec from, to;
    double s;
    int i;
    sim_init(&w.source, 1);
    sim_init(&w.disk, 1);
    sim_init_leaf(&w.image, 1);
    sim_init_leaf(&w.start, 1);
    sim_init(&w.mid, 1);
    sim_init_leaf(&w.again, 1);
    w.image.keep = 1;
    w.disk.child[0] = &w.image;
    w.disk.child[1] = &w.mid;
    w.mid.child[0] = &w.again;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    while (w.disks < disks_wanted && !t_.failed) run_workload(seed++);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    for (i = 0; i < VERBS && w.disks >= 100000; i++) CHECK(w.did[i] > 0);
    printf("count crash-states %llu\n", (unsigned long long)w.disks);
    printf("%.0f states per second of processor time; %llu lives, %llu disks once more\n",
           (double)w.disks / s, (unsigned long long)w.workload, (unsigned long long)w.equal);
    sim_free(&w.source);
    sim_free(&w.disk);
    sim_free(&w.image);
    sim_free(&w.mid);
    sim_free(&w.start);
    sim_free(&w.again);
}

/* ---- The sim itself ----------------------------------------------------------- */

static uint8_t byte_at(const sim *s, const char *path, uint64_t at)
{
    return s->file[sim_find(s, path)].live[at];
}

/* Writes a block of one byte through the table. */
static void fill_block(void *file, const vtag_io *io, uint64_t block, int byte)
{
    uint8_t bytes[4096];
    memset(bytes, byte, sizeof bytes);
    MUST(io->write(file, block * 4096, bytes, sizeof bytes));
}

static void the_sim_loses_only_what_was_not_synced(void)
{
    static sim s, cut;
    const vtag_io *io = &s.io;
    const uint8_t *map;
    void *file;
    uint64_t i, old = 0, mixed = 0;
    sim_init(&s, 1);
    sim_init(&cut, 1);
    s.child[0] = &cut;
    MUST(io->open(&s, "a", VTAG_NEW, &file));
    MUST(io->allocate(file, 65536));
    fill_block(file, io, 0, 1);
    MUST(io->sync(file));
    fill_block(file, io, 0, 2);
    fill_block(file, io, 1, 3);
    MUST(io->map(file, 0, 65536, &map));
    CHECK(map[0] == 2 && map[4096] == 3);
    for (i = 0; i < 200; i++) {
        sim_image(&cut, &s, SIM_NONE, 0, i);
        CHECK(byte_at(&cut, "a", 0) == 1 && byte_at(&cut, "a", 4096) == 0);
        sim_image(&cut, &s, SIM_ALL, 0, i);
        CHECK(byte_at(&cut, "a", 4095) == 2 && byte_at(&cut, "a", 8191) == 3);
        sim_image(&cut, &s, SIM_SUBSET, 0, i);
        old += byte_at(&cut, "a", 0) == 1 && byte_at(&cut, "a", 4096) == 3;
        sim_image(&cut, &s, SIM_TORN, 0, i);
        mixed += byte_at(&cut, "a", 0) == 2 && byte_at(&cut, "a", 4095) == 1;
    }
    CHECK(old > 20 && old < 80 && mixed > 50);
    MUST(io->sync(file));
    sim_image(&cut, &s, SIM_NONE, 0, 1);
    CHECK(byte_at(&cut, "a", 0) == 2 && byte_at(&cut, "a", 4096) == 3);
    MUST(io->rename(&s, "a", "b"));
    sim_image(&cut, &s, SIM_NONE, 0, 1);
    CHECK(sim_find(&cut, "a") < 0 && byte_at(&cut, "b", 0) == 2);
    io->unmap(file, map, 65536);
    io->close(file);
    CHECK(!s.opens && !s.maps && !s.locks && !s.broken);
    sim_free(&s);
    sim_free(&cut);
}

int main(int argc, char **argv)
{
    const char *states = getenv("STATES");
    disks_wanted = states && *states ? strtoull(states, NULL, 0) : 1010000;
    t_begin(argc, argv);
    RUN(the_sim_loses_only_what_was_not_synced);
    RUN(every_power_cut_leaves_exactly_one_state);
    return t_end();
}
