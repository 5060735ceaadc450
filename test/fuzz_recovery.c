/* fuzz_recovery.c - power cuts: any commits, any moment, any of the unsynced writes, and
   again while that is recovered from

   An input: store and mode, when the power goes, what arrives of each write since the
   last sync, when it goes again in the recoveries, and the commits. The file must be
   exactly the last acknowledged state or the one being committed (laws L2, I1 to I5),
   the same whoever looks and however often recovery is cut off. */
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#endif
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "content.h"
#include "fuzz_disk.h"

enum { RC_STEPS = 5, RC_CHOICES = 24 };

typedef struct rc_plan {
    uint32_t flags;
    uint64_t dies[3];              /* after so many changes: of the work, of two recoveries */
    uint8_t  arrives[RC_CHOICES];  /* of the unsynced writes, newest first */
    uint8_t  step[RC_STEPS][2];
    int      steps;
} rc_plan;
enum { RC_PADDED = 1, RC_NO_MAP = 2, RC_SHRINK = 4, RC_BIG = 8 };

typedef struct rc_run {            /* states[0]: before the first step */
    uint64_t hash[RC_STEPS + 1];
    int      acked, started;
} rc_run;

static disk_file *rc_base[4];

#define RC_A (1u << 20 | 1u << 8 | 1u)
#define RC_B (1u << 20 | 2u << 8 | 1u)

/* A store of two tags; big: the next commits leave the first log extent. */
static void rc_make(int which)
{
    env e;
    vtag_open_opts o = {0};
    ram_node *node;
    uint8_t *base;
    uint64_t i;
    ram_init(&e.r);
    o.io = &e.r.io;
    o.pad_sectors = which & RC_PADDED;
    MUST(vtag_open("t.vtag", &o, &e.db));
    declare(e.db, "m@1", 2, VTAG_COSINE);
    declare(e.db, "m@2", 3, VTAG_DOT);
    for (i = 0; i < (which & 2 ? 62 : 6); i++) put2(e.db, i % 7, i % 2 ? "odd" : "even", RC_A, 1, (float)i);
    node = ram_find(&e.r, "t.vtag");
    base = malloc((size_t)node->bytes);
    if (!base) abort();
    memcpy(base, node->p, (size_t)node->bytes);
    rc_base[which] = disk_file_new(base, (size_t)node->bytes);
    env_down(&e);
}

static disk_file *rc_file(uint32_t flags)
{
    int i;
    for (i = 0; i < 4; i++)
        if (!rc_base[i]) rc_make(i);
    FUZZ_MUST(!t_.failed);
    return rc_base[(flags & RC_PADDED) | (flags & RC_BIG ? 2u : 0u)];
}

/* ---- Commits ------------------------------------------------------------------------- */

static void rc_change(vtag_batch *b, uint32_t what, uint32_t arg)
{
    static const float x[3] = {1, 2, 3};
    static char text[6000];
    vtag_item it = item_at(arg % 9, 0);
    vtag_vec v[2];
    vtag_gate g;
    float y[2] = {1, 0};
    memset(text, 'a', sizeof text);
    y[1] = (float)arg;
    v[0] = vec(RC_A, 2, y);
    v[1] = vec(RC_B, 3, x);
    it.data = text, it.size = what & 8 ? arg * 20 : arg % 5;
    memset(&g, 0, sizeof g);
    g.min_ppm = VTAG_NONE, g.max_waived_ppm = 1000000, g.max_age_ms = UINT64_MAX, g.reason = "fuzz";
    switch (what % 8) {
    case 0: (void)vtag_put(b, &it, v, 2); break;
    case 1: (void)vtag_put(b, &it, v, 1); break;
    case 2: (void)vtag_del(b, it.id); break;
    case 3: (void)vtag_cutover(b, arg % 2 ? RC_A : RC_B, &g, NULL); break;
    case 4: (void)vtag_rollback(b, 0, NULL); break;
    case 5: (void)vtag_meta_set(b, arg % 2 ? "odd" : "even", text, arg); break;
    case 6: (void)vtag_waive(b, &it, RC_B, arg % 2 ? "no" : NULL); break;
    default:
        it.rev = 0;
        (void)vtag_put(b, &it, NULL, 0);
        (void)vtag_put(b, &it, v, 1);
    }
}

static vtag_err rc_step(vtag_db *db, const uint8_t step[2])
{
    vtag_batch *b;
    vtag_err err;
    uint32_t what = step[0] % 20;
    if (what == 16) return vtag_seal(db, NULL, NULL);
    if (what == 17) return vtag_compact(db, NULL, NULL);
    err = vtag_begin(db, NULL, &b);
    if (err) return err;
    rc_change(b, what, step[1]);
    if (what >= 18) rc_change(b, what - 18, step[1] + 1u);
    return vtag_commit(b);
}

static uint64_t rc_hash(vtag_db *db)
{
    content c = content_db(db);
    if (c.err) fprintf(stderr, "content: %s: %s\n", c.at, vtag_strerror(c.err));
    FUZZ_MUST(c.err == VTAG_OK);
    return c.hash;
}

/* The steps until the power goes. hashes: of the states, where it does not. */
static void rc_work(const rc_plan *p, rc_run *run, int hashes)
{
    disk *d = disk_get();
    vtag_db *db;
    disk_reset(d, rc_file(p->flags));
    db = disk_db(d, "t.vtag", VTAG_EXISTING, (p->flags & RC_NO_MAP) != 0);
    FUZZ_MUST(db != NULL);
    if (hashes) run->hash[0] = rc_hash(db);
    else d->dying = d->changes + p->dies[0];
    for (run->acked = run->started = 0; run->started < p->steps;) {
        vtag_err err;
        d->clock += 1000;
        err = rc_step(db, p->step[run->started++]);
        if (!hashes && d->changes > d->dying) break;
        FUZZ_MUST(err == VTAG_OK);
        if (hashes) run->hash[run->started] = rc_hash(db);
        run->acked = run->started;
    }
    vtag_close(db);
}

/* ---- Cuts ---------------------------------------------------------------------------------- */

typedef struct rc_choice { const rc_plan *p; size_t at; } rc_choice;

static size_t rc_arrives(void *ctx, size_t i, size_t n)
{
    rc_choice *c = ctx;
    uint8_t how = c->p->arrives[c->at++ % RC_CHOICES];
    (void)i;
    return how < 96 ? n : how < 192 ? 0 : n * (how & 63u) / 64;
}

static void rc_cut(const rc_plan *p, size_t from)
{
    rc_choice c;
    c.p = p;
    c.at = from;
    disk_cut(disk_get(), rc_arrives, &c, (p->flags & RC_SHRINK) != 0);
}

/* Which of the states that may be there is. */
static int rc_state(const rc_run *all, const rc_run *run, vtag_access access, int no_map)
{
    vtag_db *db = disk_db(disk_get(), "t.vtag", access, no_map);
    uint64_t hash;
    int i;
    FUZZ_MUST(db != NULL);
    hash = rc_hash(db);
    vtag_close(db);
    for (i = run->started; i >= run->acked; i--)
        if (all->hash[i] == hash) return i;
    FUZZ_MUST(!"the file is none of the states that it may be");
    return -1;
}

/* A writer that recovers and, perhaps, dies of it. */
static void rc_recover(uint64_t dies)
{
    disk *d = disk_get();
    vtag_db *db;
    vtag_batch *b;
    d->dying = dies;
    db = disk_db(d, "t.vtag", VTAG_EXISTING, 0);
    if (db && !vtag_begin(db, NULL, &b)) vtag_abort(b);
    else FUZZ_MUST(d->changes > d->dying);
    vtag_close(db);
}

/* Life goes on: a commit, all checked; then the loss of either slot changes nothing. */
static void rc_go_on(const rc_plan *p)
{
    disk *d = disk_get();
    const uint8_t step[2] = {0, 77};
    vtag_db *db = disk_db(d, "t.vtag", VTAG_EXISTING, (p->flags & RC_NO_MAP) != 0);
    uint64_t hash;
    FUZZ_MUST(db && rc_step(db, step) == VTAG_OK);
    hash = rc_hash(db);
    verify(db);
    vtag_close(db);
    FUZZ_MUST(!t_.failed);
    memset(disk_poke(disk_find(d, "t.vtag"), VTF_SLOT_AT(p->flags >> 4 & 1), 512), 0, 512);
    db = disk_db(d, "t.vtag", p->flags & 32 ? VTAG_READ : VTAG_EXISTING, 0);
    FUZZ_MUST(db && rc_hash(db) == hash);
    vtag_close(db);
}

static void fuzz_recovery(fuzz_in *in)
{
    rc_plan p;
    rc_run all, run;
    int i, state;
    memset(&p, 0, sizeof p);
    p.flags = fuzz_u8(in);
    for (i = 0; i < 3; i++) p.dies[i] = fuzz_u8(in);
    for (i = 0; i < RC_CHOICES; i++) p.arrives[i] = (uint8_t)fuzz_u8(in);
    for (; in->n && p.steps < RC_STEPS; p.steps++) {
        p.step[p.steps][0] = (uint8_t)fuzz_u8(in);
        p.step[p.steps][1] = (uint8_t)fuzz_u8(in);
    }
    rc_work(&p, &all, 1);
    if (disk_get()->overflow) return;
    rc_work(&p, &run, 0);
    if (disk_get()->overflow) return;
    rc_cut(&p, 0);
    state = rc_state(&all, &run, VTAG_READ, (p.flags & RC_NO_MAP) != 0);
    run.acked = run.started = state; /* what was seen never goes back */
    for (i = 1; i < 3; i++) {
        rc_recover(p.dies[i]);
        rc_cut(&p, (size_t)i * 7);
        (void)rc_state(&all, &run, VTAG_READ, 0);
    }
    (void)rc_state(&all, &run, VTAG_EXISTING, 0);
    rc_go_on(&p);
    FUZZ_MUST(disk_get()->live == 0);
}

#define RC_ALL "\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00"
#define RC_SOME "\\00\\a0\\00\\d0\\00\\a0\\f0\\00\\a0\\00\\00\\a0\\a0\\00\\c8\\00\\a0\\00\\a0\\a0\\00\\00\\a0\\00"
#define RC_WORK "\\00\\01\\01\\02\\02\\03\\03\\02\\04\\00\\05\\20\\06\\01\\10\\00\\0c\\99\\11\\00"
static const char *const fuzz_recovery_seeds[] = {
    "\\00\\ff\\ff\\ff" RC_ALL RC_WORK, "\\01\\05\\04\\06" RC_SOME RC_WORK, "\\08\\03\\05\\02" RC_SOME RC_WORK,
    "\\09\\08\\09\\03" RC_ALL RC_WORK, "\\14\\0b\\02\\05" RC_SOME "\\11\\00\\00\\01\\10\\00", "\\22\\14\\07\\09" RC_SOME RC_WORK,
    "\\05\\10\\03\\04" RC_SOME "\\08\\ff\\09\\fe\\12\\03", NULL};

FUZZ_MAIN(recovery)
