// build: plain
/* Recoveries that are cut off, one at a time: what test_crash.c found by chance, told.

   All on a disk in memory (sim.h) that loses power or a process when told to. */
#ifndef _GNU_SOURCE
#  define _GNU_SOURCE 1
#endif
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "sim.h"
#include "content.h"

enum { DISKS = 4 };

static sim disk[DISKS];          /* each what a cut left of the one before     */

static void disks_up(void)
{
    int i;
    for (i = 0; i < DISKS; i++) sim_init(&disk[i], 1);
    for (i = 0; i + 1 < DISKS; i++) disk[i].child[0] = &disk[i + 1];
}

static void disks_down(void)
{
    int i;
    for (i = 0; i < DISKS; i++) sim_free(&disk[i]);
}

static vtag_err open_at(sim *s, vtag_access access, int padded, vtag_db **db)
{
    vtag_open_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.access = access;
    opts.io = &s->io;
    opts.pad_sectors = padded;
    return vtag_open(SIM_MAIN, &opts, db);
}

static vtag_err set_meta(vtag_db *db, const char *name)
{
    vtag_batch *b = NULL;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    err = vtag_meta_set(b, name, name, strlen(name));
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static int shows_meta(vtag_db *db, const char *name)
{
    vtag_snap *snap = NULL;
    const void *p;
    size_t n;
    int found = 0;
    if (OK(vtag_snapshot(db, &snap))) found = vtag_meta_get(snap, name, &p, &n) == VTAG_OK;
    vtag_release(snap);
    return found;
}

static int has_meta(sim *s, const char *name)
{
    vtag_db *db = NULL;
    int found;
    if (!OK(open_at(s, VTAG_READ, 0, &db))) return 0;
    found = shows_meta(db, name);
    vtag_close(db);
    return found;
}

/* A file with two commits, of which the second's slot was lost. */
static void make_two_commits(int padded)
{
    vtag_db *db = NULL;
    sim_reset(&disk[0], 1);
    MUST(open_at(&disk[0], VTAG_NEW, padded, &db));
    MUST(set_meta(db, "one"));
    MUST(set_meta(db, "two"));
    sim_image(&disk[1], &disk[0], SIM_NONE, 0, 1);
    vtag_close(db);
}

/* Recovers a disk until `changes` were made; 1: it came to its end. */
static int recover_for(sim *s, uint64_t changes)
{
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    int more;
    s->die_after = changes;
    if (open_at(s, VTAG_EXISTING, 0, &db) == VTAG_OK && vtag_begin(db, NULL, &b) == VTAG_OK)
        vtag_abort(b);
    more = s->die_after == 0;
    vtag_close(db);
    s->die_after = UINT64_MAX;
    return !more;
}

/* Recovery writes both slots under a new salt. Cut off between them, one slot is of
 * before: the next writer has to notice, or a commit that it acknowledges would hang
 * on a single slot. */
static void a_commit_after_a_half_recovery_survives_the_loss_of_either_slot(void)
{
    uint64_t changes = 0, slot;
    int whole = 0;
    disks_up();
    for (; !whole && changes < 100; changes++)
        for (slot = 0; slot < 2; slot++) {
            vtag_db *db = NULL;
            make_two_commits(0);
            whole = recover_for(&disk[1], changes);
            sim_image(&disk[2], &disk[1], SIM_ALL, 0, 1);
            MUST(open_at(&disk[2], VTAG_EXISTING, 0, &db));
            OK(set_meta(db, "three"));
            sim_image(&disk[3], &disk[2], SIM_NONE, 0, 1);
            vtag_close(db);
            sim_rot(&disk[3], SIM_MAIN, SIM_SLOT(slot), 0);
            CHECK(has_meta(&disk[3], "three"));
        }
    CHECK(whole && changes > 10);
    disks_down();
}

/* Where torn sectors are garbled, recovery works from a copy that a slot names. The
 * recovery after one that was cut off, by death or power, must not touch that copy, nor
 * trust a slot that only the cache has. */
static void a_padded_recovery_may_be_cut_off_again_and_again(void)
{
    uint64_t changes = 0, more, seed;
    int whole = 0, again;
    disks_up();
    for (; !whole && changes < 100 && !t_.failed; changes++)
        for (more = again = 0; !again && more < 100 && !t_.failed; more++)
            for (seed = 0; seed < 12; seed++) {
                make_two_commits(1);
                whole = recover_for(&disk[1], changes);
                sim_image(&disk[2], &disk[1], seed % 2 ? SIM_ALL : SIM_KILLED, 1, seed);
                again = recover_for(&disk[2], more);
                sim_image(&disk[3], &disk[2], seed / 2 ? SIM_GARBAGE : SIM_NONE, 1, seed * 100 + more);
                CHECK(has_meta(&disk[3], "two"));
            }
    CHECK(whole && changes > 10);
    disks_down();
}

/* A reader that opens such a file mends it in its own memory, and follows the writer that
 * comes after. */
static void a_reader_of_a_half_recovery_follows_the_next_writer(void)
{
    uint64_t changes = 0;
    int whole = 0;
    disks_up();
    for (; !whole && changes < 100; changes++) {
        vtag_db *reader = NULL, *writer = NULL;
        make_two_commits(1);
        whole = recover_for(&disk[1], changes);
        sim_image(&disk[2], &disk[1], SIM_ALL, 1, 1);
        MUST(open_at(&disk[2], VTAG_READ, 0, &reader));
        CHECK(shows_meta(reader, "two"));
        MUST(open_at(&disk[2], VTAG_EXISTING, 0, &writer));
        OK(set_meta(writer, "three"));
        CHECK(shows_meta(reader, "three"));
        OK(set_meta(writer, "four"));
        CHECK(shows_meta(reader, "four"));
        vtag_close(reader);
        vtag_close(writer);
    }
    CHECK(whole && changes > 10);
    disks_down();
}

/* A writer whose commit is not yet synced finds that another began to recover it, and
 * died: the copy that this left named in a slot must not stay there. */
static void a_lazy_writer_ends_the_recovery_that_another_began(void)
{
    uint64_t changes = 0;
    int whole = 0;
    disks_up();
    for (; !whole && changes < 100 && !t_.failed; changes++) {
        vtag_open_opts opts;
        vtag_db *lazy = NULL;
        int i;
        sim_reset(&disk[0], 1);
        memset(&opts, 0, sizeof opts);
        opts.io = &disk[0].io;
        opts.pad_sectors = 1;
        opts.durability = VTAG_LAZY_SYNC;
        opts.lazy_ms = 1000;
        MUST(vtag_open(SIM_MAIN, &opts, &lazy));
        OK(set_meta(lazy, "one"));
        OK(set_meta(lazy, "two"));
        whole = recover_for(&disk[0], changes);
        for (i = 0; i < 40; i++) OK(set_meta(lazy, i % 2 ? "three" : "four"));
        OK(vtag_seal(lazy, NULL, NULL));
        CHECK(has_meta(&disk[0], "two") && has_meta(&disk[0], "three"));
        vtag_close(lazy);
        CHECK(recover_for(&disk[0], UINT64_MAX));
        CHECK(has_meta(&disk[0], "two") && has_meta(&disk[0], "three"));
    }
    CHECK(whole && changes > 10);
    disks_down();
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_commit_after_a_half_recovery_survives_the_loss_of_either_slot);
    RUN(a_padded_recovery_may_be_cut_off_again_and_again);
    RUN(a_reader_of_a_half_recovery_follows_the_next_writer);
    RUN(a_lazy_writer_ends_the_recovery_that_another_began);
    return t_end();
}
