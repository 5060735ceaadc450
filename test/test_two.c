// build: plain
/* Two handles at one file, each mapping it or reading it into memory of its own.

   Either puts, looks, flushes, seals, compacts, closes and opens again, in any order and
   in any mode of durability, and in some runs a superblock slot is destroyed at rest.
   What the file must hold is known from what was acknowledged alone. Without a crash
   nothing of that is ever missing, and no handle sees a state go back. Of other runs the
   record is played back on a sim (sim.h), and after each operation the power fails: two
   handles that open what is left find exactly one state [I1], not older than what was
   acknowledged, or synced where commits are lazy [I2]; recovery by one of them takes
   nothing from the other, nor does a second cut in it [I3]; a slot may be lost [I4]; and
   either goes on from there [I5].

   RUNS=n sets how many (300), SEED=n where to start. `build: plain`: without
   sanitizers, which cost ten times. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "sim.h"

enum { DIM = 4, ITEMS = 12, STEPS = 60, STATES_MAX = STEPS + 8 };
#include "numbers.h"

/* What a run does; all of it must have happened in the end. */
typedef enum verb { PUT, LOOK, FLUSH, REOPEN, COMPACT, SEAL, ABORT, DESTROY, PIN, VERBS } verb;

typedef struct hand {            /* one of the two handles                     */
    vtag_db        *db;
    vtag_durability durability;
    int             no_map;
    uint32_t        saw;         /* the newest state that it showed            */
    uint64_t        commit;
    vtag_snap      *pin;         /* a snapshot that is held, and its content   */
    uint64_t        pinned;
} hand;

static struct world {
    uint64_t seed;
    int      cut_off;            /* the power fails; else slots are destroyed  */
    int      padded;
    hand     hand[2];
    vtag_tag tag;
    uint64_t value[ITEMS + 1];   /* acknowledged, by id; 0: there is no item   */
    uint64_t next_value;
    uint64_t hash[STATES_MAX];   /* of each acknowledged state                 */
    uint32_t states;             /* noted so far; state 0: no file             */
    sim      source;             /* where the run is recorded                  */
    sim      disk;               /* its record, played back up to op           */
    sim      image;              /* what a cut of disk left                    */
    sim      mid, again;         /* the same, for a second cut; what that left */
    size_t   op;
    sim_cut  cut;
    uint64_t choice;
    uint64_t did[VERBS], disks;
} w;

/* ---- Messages --------------------------------------------------------------- */

static void say(const char *what, long long a, long long b)
{
    t_.failed++;
    fprintf(stderr, "  %s (%lld, %lld): seed %llu, ", what, a, b, (unsigned long long)w.seed);
    fprintf(stderr, "modes %d and %d, no_map %d and %d%s, state %u", (int)w.hand[0].durability,
            (int)w.hand[1].durability, w.hand[0].no_map, w.hand[1].no_map,
            w.padded ? ", padded" : "", w.states);
    if (w.op)
        fprintf(stderr, ", op %zu of %zu, cut %s, choice %llu", w.op, w.source.ops,
                sim_cut_name(w.cut), (unsigned long long)w.choice);
    fprintf(stderr, "\n");
}

/* TRACE=1 in the environment: what a run does, to read a failure by. */
static void trace(const char *what, int who)
{
    if (getenv("TRACE"))
        fprintf(stderr, "%s by %d (no_map %d); state %u, op %zu\n", what, who,
                w.hand[who].no_map, w.states, w.source.ops);
}

static int good(vtag_err err, const char *what, int who)
{
    if (err != VTAG_OK) say(what, err, who);
    if (err != VTAG_OK) fprintf(stderr, "  %s\n", vtag_strerror(err));
    return err == VTAG_OK;
}

/* ---- What a file holds, and what it must hold -------------------------------- */

static uint64_t hash_one(uint64_t hash, uint64_t id, uint64_t value)
{
    return sim_mix(hash + sim_mix(id * 1000003u + value));
}

static uint64_t hash_acknowledged(const uint64_t *value)
{
    uint64_t hash = 1, id;
    for (id = 1; id <= ITEMS; id++)
        if (value[id]) hash = hash_one(hash, id, value[id]);
    return hash;
}

/* The value of an item whose row agrees with it; 0: it does not. */
static uint64_t value_of(const vtag_snap *s, const vtag_item *item)
{
    uint64_t value = 0;
    float x[DIM], want[DIM];
    if (item->size != sizeof value) return 0;
    memcpy(&value, item->data, sizeof value);
    numbers(item->id, value, want);
    if (vtag_vector(s, item->id, w.tag, 0, x, DIM, NULL) != VTAG_OK) return 0;
    return memcmp(x, want, sizeof x) ? 0 : value;
}

/* All items of a snapshot as one number; 0: they cannot be read. */
static uint64_t hash_of(const vtag_snap *s)
{
    vtag_item item[ITEMS + 1];
    vtag_stat stat;
    uint64_t hash = 1, cursor = 0;
    size_t n = 0, i;
    if (vtag_items(s, 0, VTAG_ALL, &cursor, item, ITEMS + 1, &n) != VTAG_OK) return 0;
    if (vtag_stats(s, &stat) != VTAG_OK || stat.items != n) return 0;
    for (i = 0; i < n; i++) {
        uint64_t value = value_of(s, &item[i]);
        if (!value) return 0;
        hash = hash_one(hash, item[i].id, value);
    }
    return hash;
}

/* What a handle shows; 0: it cannot. */
static uint64_t hash_shown(vtag_db *db, uint64_t *commit)
{
    vtag_snap *s = NULL;
    vtag_stat stat;
    uint64_t hash;
    if (vtag_snapshot(db, &s) != VTAG_OK) return 0;
    hash = hash_of(s);
    if (vtag_stats(s, &stat) != VTAG_OK) hash = 0;
    *commit = stat.commit;
    vtag_release(s);
    return hash;
}

/* The newest state in low..high with that content; -1: none. */
static int which_state(uint64_t hash, uint32_t low, uint32_t high)
{
    int n = (int)high;
    for (; n >= (int)low; n--)
        if (w.hash[n] == hash) return n;
    return -1;
}

/* ---- A run ------------------------------------------------------------------- */

/* A handle shows the newest state; or, while another one's batch is open, none that is
 * older than what it showed before. */
static void look(int who, int newest)
{
    hand *h = &w.hand[who];
    uint64_t commit = 0, hash = hash_shown(h->db, &commit);
    uint32_t last = w.states - 1;
    int n = which_state(hash, newest ? last : h->saw, last);
    if (n < 0) {
        say("what was acknowledged is not there", who, which_state(hash, 0, last));
        return;
    }
    if (commit < h->commit) say("a commit's number went back", (long long)commit, who);
    h->saw = (uint32_t)n;
    h->commit = commit;
    w.did[LOOK]++;
    if (h->pin && hash_of(h->pin) != h->pinned) say("a held snapshot changed", who, 0);
}

static vtag_db *open_on(sim *s, vtag_access access, int who, int no_map)
{
    vtag_open_opts opts;
    vtag_db *db = NULL;
    memset(&opts, 0, sizeof opts);
    opts.access = access;
    opts.durability = w.hand[who].durability;
    opts.lazy_ms = 60;
    opts.pad_sectors = w.padded;
    opts.no_map = no_map;
    opts.io = &s->io;
    good(vtag_open(SIM_MAIN, &opts, &db), "open", who);
    return db;
}

/* So much is sure to last. */
static void durable_now(void) { w.source.mark.synced = w.source.mark.acked; }

static void acknowledged(int who)
{
    w.hash[w.states] = hash_acknowledged(w.value);
    w.source.mark.acked = w.states++;
    if (w.hand[who].durability == VTAG_FULL_SYNC) durable_now();
}

/* Puts or deletes some items in a batch; `value` becomes what it makes of them. */
static vtag_err change(vtag_batch *b, uint64_t *rng, uint64_t *value, uint64_t *next)
{
    uint64_t n = 1 + t_below(rng, t_below(rng, 4) ? 3 : ITEMS);
    vtag_err err = VTAG_OK;
    for (; n && err == VTAG_OK; n--) {
        uint64_t id = 1 + t_below(rng, ITEMS);
        int dead = value[id] && t_below(rng, 4) == 0;
        err = dead ? vtag_del(b, id) : put_one(b, w.tag, id, *next);
        value[id] = dead ? 0 : (*next)++;
    }
    return err;
}

static void put_some(int who, uint64_t *rng, int give_up)
{
    uint64_t value[ITEMS + 1], next = w.next_value;
    vtag_batch *b = NULL;
    memcpy(value, w.value, sizeof value);
    if (!good(vtag_begin(w.hand[who].db, NULL, &b), "begin", who)) return;
    good(change(b, rng, value, &next), "put", who);
    if (t_below(rng, 3) == 0) look(!who, 0);
    w.did[give_up ? ABORT : PUT]++;
    if (give_up) {
        vtag_abort(b);
    } else if (good(vtag_commit(b), "commit", who)) {
        memcpy(w.value, value, sizeof value);
        w.next_value = next;
        acknowledged(who);
    }
    look(who, 1);
}

static void let_go(int who)
{
    hand *h = &w.hand[who];
    vtag_release(h->pin);
    vtag_close(h->db);
    h->pin = NULL;
    h->db = NULL;
}

/* Another life of a handle; what it showed stays known. */
static void reopen(int who, uint64_t *rng)
{
    hand *h = &w.hand[who];
    let_go(who);
    if (t_below(rng, 4) == 0) h->no_map = !h->no_map;
    h->db = open_on(&w.source, VTAG_EXISTING, who, h->no_map);
    w.did[REOPEN]++;
}

static int slot_whole(sim *s, uint32_t i)
{
    vtf_slot slot;
    memcpy(&slot, s->file[sim_find(s, SIM_MAIN)].live + SIM_SLOT(i), sizeof slot);
    return vt_slot_whole(&slot, i);
}

/* One slot of two that are whole. */
static void destroy_one(uint64_t choice)
{
    if (w.cut_off || !slot_whole(&w.source, 0) || !slot_whole(&w.source, 1)) return;
    trace("destroyed", 0);
    sim_rot(&w.source, SIM_MAIN, SIM_SLOT(choice % 2), choice / 2 % 2 ? choice : 0);
    w.did[DESTROY]++;
}

static void pin(int who)
{
    hand *h = &w.hand[who];
    vtag_release(h->pin);
    h->pin = NULL;
    if (good(vtag_snapshot(h->db, &h->pin), "snapshot", who)) h->pinned = hash_of(h->pin);
    w.did[PIN]++;
}

static void tidy(int who, verb what)
{
    vtag_db *db = w.hand[who].db;
    vtag_err err = what == FLUSH ? vtag_flush(db)
                 : what == SEAL ? vtag_seal(db, NULL, NULL) : vtag_compact(db, NULL, NULL);
    if (good(err, "flush, seal or compact", who) && what == FLUSH) durable_now();
    w.did[what]++;
}

static void step(uint64_t *rng)
{
    static const verb one_of[] = {PUT, PUT, PUT, PUT, PUT, PUT, PUT, LOOK, LOOK, LOOK, LOOK,
                                  FLUSH, REOPEN, COMPACT, SEAL, ABORT, DESTROY, PIN};
    static const char *const name[VERBS] = {"put", "look", "flush", "reopen", "compact", "seal",
                                            "abort", "destroy", "pin"};
    int who = (int)t_below(rng, 2);
    verb what = one_of[t_below(rng, sizeof one_of / sizeof *one_of)];
    w.source.mark.started = w.states;
    trace(name[what], who);
    switch (what) {
    case PUT: case ABORT: put_some(who, rng, what == ABORT); break;
    case LOOK:    look(who, 1); break;
    case REOPEN:  reopen(who, rng); break;
    case DESTROY: destroy_one(t_rand(rng)); break;
    case PIN:     pin(who); break;
    default:      tidy(who, what); break;
    }
}

/* All four mixes of mappings, and modes of durability beside each other. */
static void choose(uint64_t seed, int cut_off)
{
    static const vtag_durability mode[5][2] = {
        {VTAG_FULL_SYNC, VTAG_FULL_SYNC}, {VTAG_LAZY_SYNC, VTAG_LAZY_SYNC},
        {VTAG_FULL_SYNC, VTAG_LAZY_SYNC}, {VTAG_NO_SYNC, VTAG_NO_SYNC},
        {VTAG_LAZY_SYNC, VTAG_NO_SYNC}};
    int who;
    memset(w.hand, 0, sizeof w.hand);
    memset(w.value, 0, sizeof w.value);
    w.seed = seed;
    w.cut_off = cut_off;
    w.padded = seed % 7 == 0;
    w.next_value = w.states = 1;
    w.op = 0;
    for (who = 0; who < 2; who++) {
        w.hand[who].no_map = (int)(seed >> who & 1);
        w.hand[who].durability = mode[seed / 4 % (cut_off ? 3 : 5)][who];
    }
    sim_reset(&w.source, seed);
    w.source.keep = 1;
    w.source.tick = 3;
}

static void declare_first(void)
{
    vtag_spec spec;
    vtag_batch *b = NULL;
    memset(&spec, 0, sizeof spec);
    spec.name = "app@1";
    spec.dim = DIM;
    w.hand[0].db = open_on(&w.source, VTAG_CREATE, 0, w.hand[0].no_map);
    if (!good(vtag_begin(w.hand[0].db, NULL, &b), "begin", 0)) return;
    good(vtag_declare(b, &spec, &w.tag), "declare", 0);
    if (good(vtag_commit(b), "commit", 0)) acknowledged(0);
    if (good(vtag_flush(w.hand[0].db), "flush", 0)) durable_now();
    w.hand[1].db = open_on(&w.source, VTAG_EXISTING, 1, w.hand[1].no_map);
}

/* Runs what the seed says; true if all of it went well. */
static int run(uint64_t seed, int cut_off)
{
    uint64_t rng = seed * 1000003u + (uint64_t)cut_off;
    int failed = t_.failed, i;
    choose(seed, cut_off);
    declare_first();
    for (i = 0; i < STEPS && t_.failed == failed; i++) step(&rng);
    for (i = 0; i < 2 && t_.failed == failed; i++) look(i, 1);
    let_go(0);
    let_go(1);
    if (w.source.broken) say(w.source.broken, 0, 0);
    return t_.failed == failed;
}

static uint64_t runs(void)
{
    const char *n = getenv("RUNS");
    return n && *n ? strtoull(n, NULL, 0) : 300;
}

static void nothing_acknowledged_is_lost_and_nobody_sees_a_state_go_back(void)
{
    uint64_t seed = t_seed(), n, steps = 0;
    int i;
    sim_init_leaf(&w.source, 1);
    memset(w.did, 0, sizeof w.did);
    for (n = runs() * 4; n && !t_.failed; n--, steps += STEPS) run(t_.seed = seed++, 0);
    for (i = 0; i < VERBS && runs() >= 100 && !t_.failed; i++) CHECK(w.did[i] > 0);
    printf("count steps-of-two-handles %llu\n", (unsigned long long)steps);
    sim_free(&w.source);
}

/* ---- After a cut --------------------------------------------------------------- */

static void take(sim *to)
{
    sim_image(to, &w.disk, w.cut, w.padded, w.choice);
    to->clock = w.source.clock; /* nobody looks before it was written */
}

/* The state in low..high that a handle shows, or -1. */
static int shown(vtag_db *db, const char *what, uint32_t low, uint32_t high)
{
    uint64_t commit, hash = hash_shown(db, &commit);
    int n = which_state(hash, low, high);
    if (n >= 0) return n;
    say(what, low, high);
    fprintf(stderr, "  it shows state %d\n", which_state(hash, 0, w.states - 1));
    return -1;
}

/* Recovers what lies on a disk. */
static void take_turn(vtag_db *db, int who)
{
    vtag_batch *b = NULL;
    if (good(vtag_begin(db, NULL, &b), "begin after a cut", who)) vtag_abort(b);
}

/* Both handles open what the cut left. One looks, the other recovers; then a slot is lost,
 * and the first recovers from that. The state that all of them find, or -1. */
static int judge_pair(uint32_t low, uint32_t high)
{
    int who = (int)(w.choice >> 40 & 1), n, m = -1;
    vtag_db *a = open_on(&w.image, w.choice >> 41 & 1 ? VTAG_READ : VTAG_EXISTING, who,
                         (w.choice >> 42 & 7) == 0);
    vtag_db *b = open_on(&w.image, VTAG_EXISTING, !who, (w.choice >> 45 & 7) == 0);
    n = shown(a, "I1: what is found after a cut", low, high);
    if (n >= 0) {
        take_turn(b, !who);
        m = shown(b, "I3: who recovers finds less than was shown", (uint32_t)n, high);
    }
    if (m >= 0) shown(a, "I3: who looked before sees another state", (uint32_t)m, (uint32_t)m);
    if (m >= 0 && w.choice >> 50 & 1) {
        sim_rot(&w.image, SIM_MAIN, SIM_SLOT(w.choice >> 51 & 1), w.choice >> 52 & 1);
        shown(a, "I4: seen with a slot destroyed", (uint32_t)m, (uint32_t)m);
        take_turn(b, !who);
        shown(b, "I4: recovered with a slot destroyed", (uint32_t)m, (uint32_t)m);
    }
    vtag_close(a);
    vtag_close(b);
    return m;
}

/* What the image's record says of its operations by its mark: how far the two came. */
enum { RECOVERING, RECOVERED, CLOSED };

/* Of two handles on what the cut left, one recovers, and the other goes on with a put that
 * makes `next` of state m. Recorded on the image. */
static uint64_t go_on(uint32_t m)
{
    int who = (int)(w.choice >> 40 & 1);
    uint64_t commit, next = 0, rng = w.choice;
    vtag_batch *bat = NULL;
    vtag_db *a = open_on(&w.image, VTAG_EXISTING, who, (w.choice >> 42 & 7) == 0);
    vtag_db *b = open_on(&w.image, VTAG_EXISTING, !who, (w.choice >> 45 & 7) == 0);
    take_turn(b, !who);
    w.image.mark.acked = RECOVERED;
    shown(a, "I5: before going on", m, m);
    if (good(vtag_begin(a, NULL, &bat), "I5: begin", who)) {
        good(put_one(bat, w.tag, 1 + t_below(&rng, ITEMS), w.next_value), "I5: put", who);
        good(vtag_commit(bat), "I5: commit", who);
        next = hash_shown(a, &commit);
        if (hash_shown(b, &commit) != next) say("I5: the other does not see what was put", m, who);
    }
    vtag_close(a);
    vtag_close(b);
    w.image.mark.acked = CLOSED;
    return next;
}

/* One more cut, in what followed the first: one state still, and no older one. */
static int judge_again(int stage, uint32_t n, uint32_t high, uint64_t next, uint64_t *seed)
{
    sim_cut cut = (sim_cut)t_below(seed, SIM_KILLED);
    uint64_t commit, hash, choice = t_rand(seed);
    vtag_db *db;
    int known;
    if (stage != CLOSED && !sim_cut_differs(&w.mid, cut)) return 1;
    sim_image(&w.again, &w.mid, cut, w.padded, choice);
    db = open_on(&w.again, choice >> 40 & 1 ? VTAG_READ : VTAG_EXISTING, 0, 0);
    if (!(choice >> 40 & 1)) take_turn(db, 0);
    hash = hash_shown(db, &commit);
    vtag_close(db);
    w.disks++;
    known = which_state(hash, n, stage == RECOVERING ? high : n) >= 0;
    if (stage == CLOSED ? hash == next : known || (stage == RECOVERED && hash == next)) return 1;
    say("I3, I5: after a second cut", stage, which_state(hash, 0, w.states - 1));
    fprintf(stderr, "  the second cut: %s, choice %llu\n", sim_cut_name(cut),
            (unsigned long long)choice);
    return 0;
}

static void cut_again(uint32_t n, uint32_t high)
{
    uint64_t next, seed = w.choice;
    size_t from, i;
    take(&w.image);
    from = w.image.ops;
    w.image.mark.acked = RECOVERING;
    next = go_on(n);
    for (i = from; i < w.image.ops && !t_.failed; i++) {
        int last = i + 1 == w.image.ops;
        int stage = last ? CLOSED : (int)w.image.op[i].mark.acked;
        if (i == from) take(&w.mid);
        sim_replay(&w.mid, &w.image, i);
        if (!judge_again(stage, n, high, next, &seed)) return;
    }
}

/* Plays the record back and cuts the power after some of its operations. */
static void play(uint64_t *rng)
{
    sim_reset(&w.disk, w.seed);
    for (w.op = 0; w.op < w.source.ops && !t_.failed; w.op++) {
        const sim_op *op = &w.source.op[w.op];
        const sim_mark *later = w.op + 1 < w.source.ops ? &op[1].mark : &w.source.mark;
        uint32_t high = op->mark.started > later->acked ? op->mark.started : later->acked;
        int n;
        sim_replay(&w.disk, &w.source, w.op);
        w.cut = (sim_cut)t_below(rng, SIM_KILLED);
        w.choice = t_rand(rng);
        if (!later->synced || (later->acked == op->mark.acked && !sim_cut_differs(&w.disk, w.cut)))
            continue;
        if (high >= w.states) high = w.states - 1;
        take(&w.image);
        n = judge_pair(later->synced, high);
        w.disks++;
        if (n >= 0 && w.choice % 8 == 0) cut_again((uint32_t)n, high);
    }
    w.op = 0;
}

static void a_power_cut_leaves_two_handles_one_state(void)
{
    uint64_t seed = t_seed(), n, rng;
    sim_init(&w.source, 1);
    sim_init(&w.disk, 1);
    sim_init_leaf(&w.image, 1);
    sim_init(&w.mid, 1);
    sim_init_leaf(&w.again, 1);
    w.image.keep = 1;
    w.disk.child[0] = &w.image;
    w.disk.child[1] = &w.mid;
    w.mid.child[0] = &w.again;
    for (n = runs() / 5; n && !t_.failed; n--) {
        rng = t_.seed = seed++;
        if (run(rng, 1)) play(&rng);
    }
    printf("count disks-of-two-handles %llu\n", (unsigned long long)w.disks);
    sim_free(&w.source);
    sim_free(&w.disk);
    sim_free(&w.image);
    sim_free(&w.mid);
    sim_free(&w.again);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(nothing_acknowledged_is_lost_and_nobody_sees_a_state_go_back);
    RUN(a_power_cut_leaves_two_handles_one_state);
    return t_end();
}
