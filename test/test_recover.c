// build: plain
/* Recoveries that are cut off, one at a time: what test_crash.c found by chance, told;
   and what the protocol promises that no power cut tells apart.

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

/* Opens disk[1] and begins, with call number n of a kind failing; 1: there was no such
 * call. Nothing may be left open, mapped or locked. */
static int recover_with_fault(sim_fault fault)
{
    sim *s = &disk[1];
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    s->fault = fault;
    if (open_at(s, VTAG_EXISTING, 0, &db) == VTAG_OK && vtag_begin(db, NULL, &b) == VTAG_OK)
        vtag_abort(b);
    vtag_close(db);
    CHECK(!s->opens && !s->maps && !s->locks && !s->broken);
    fault = s->fault;
    memset(&s->fault, 0, sizeof s->fault);
    return fault.seen < fault.nth;
}

/* Whatever call fails in a recovery: it can be done again, and it loses nothing. */
static void a_recovery_with_any_call_failing_can_be_done_again(void)
{
    unsigned way;
    disks_up();
    for (way = 0; way < 16; way++) {
        sim_fault fault = {SIM_ANY, 1, VTAG_IO, 0, 0, SIM_ANY, 0};
        int through = 0, padded = way & 1, half = way & 2;
        fault.for_good = (way & 4) != 0;
        if (way & 8) fault.kind = SIM_SYNC;
        for (; !through && fault.nth < 200 && !t_.failed; fault.nth++) {
            make_two_commits(padded);
            if (half) recover_for(&disk[1], 6);
            through = recover_with_fault(fault);
            CHECK(has_meta(&disk[1], "two"));
            sim_image(&disk[2], &disk[1], SIM_NONE, 0, 1);
            CHECK(has_meta(&disk[2], "two"));
            recover_for(&disk[1], UINT64_MAX);
            sim_image(&disk[2], &disk[1], SIM_NONE, 0, 1);
            CHECK(has_meta(&disk[2], "two"));
        }
        CHECK(through && fault.nth > 3);
    }
    disks_down();
}

/* A reader of such a file, likewise: an error, or all of it. */
static void a_reader_of_a_half_recovery_with_any_call_failing(void)
{
    unsigned padded, shown = 0;
    disks_up();
    for (padded = 0; padded < 2; padded++) {
        sim_fault fault = {SIM_ANY, 1, VTAG_IO, 0, 0, SIM_ANY, 0};
        int through = 0;
        for (; !through && fault.nth < 200; fault.nth++) {
            vtag_db *db = NULL;
            make_two_commits((int)padded);
            recover_for(&disk[1], 6);
            disk[1].fault = fault;
            if (open_at(&disk[1], VTAG_READ, 0, &db) == VTAG_OK) shown++;
            through = disk[1].fault.seen < fault.nth;
            memset(&disk[1].fault, 0, sizeof disk[1].fault);
            if (db) CHECK(shows_meta(db, "two"));
            vtag_close(db);
            CHECK(!disk[1].opens && !disk[1].maps && !disk[1].locks && !disk[1].broken);
        }
        CHECK(through && fault.nth > 3);
    }
    CHECK(shown >= 2);
    disks_down();
}

/* ---- What a record vouches for --------------------------------------------------- */

/* Copies the record at pos and its ranges from one file to another, and moves pos. */
static void copy_record(vt_file *to, vt_file *from, vtf_logpos *pos)
{
    vt_walk w;
    const vtf_record *r;
    vt_out list = VT_ZERO;
    const vtf_range *g;
    size_t i;
    OK(vt_walk_begin(&w, from, pos));
    r = vt_walk_next(&w, NULL);
    REQUIRE(r != NULL);
    *pos = w.pos;
    vt_redo_list(&list, r, pos->at - r->size);
    g = (const vtf_range *)(const void *)list.p;
    for (i = 0; i < list.n / sizeof *g; i++)
        OK(vt_file_write(to, g[i].at, vt_at(from, g[i].at, g[i].length), (size_t)g[i].length));
    vt_free(list.p);
}

/* Two copies of a file go different ways, under one salt. The second record of the one
 * fits behind the first of the other in everything but the chain. */
static void a_record_of_another_history_does_not_count(void)
{
    vtag_db *one = NULL, *other = NULL;
    vtf_logpos pos;
    disks_up();
    sim_reset(&disk[0], 1);
    MUST(open_at(&disk[0], VTAG_NEW, 0, &other));
    MUST(set_meta(other, "begin"));
    sim_image(&disk[1], &disk[0], SIM_ALL, 0, 1);
    MUST(open_at(&disk[1], VTAG_EXISTING, 0, &one));
    MUST(set_meta(one, "aaa"));
    MUST(set_meta(other, "bbb"));
    pos = other->state->pos;
    CHECK_EQ(one->state->pos.at, pos.at);
    MUST(set_meta(other, "ccc"));
    copy_record(one->file, other->file, &pos);
    vtag_close(other);
    vtag_close(one);
    sim_image(&disk[2], &disk[1], SIM_ALL, 0, 1);
    CHECK(has_meta(&disk[2], "aaa"));
    CHECK(!has_meta(&disk[2], "ccc"));
    disks_down();
}

enum { MANY = 1200, WIDE = 256 };

static vtag_err put_many(vtag_db *db)
{
    static float x[WIDE];
    vtag_spec spec;
    vtag_vec v = {0, WIDE, x, 0, 0};
    vtag_begin_opts opts;
    vtag_batch *b = NULL;
    uint64_t seed = 1, i, j;
    vtag_err err;
    memset(&opts, 0, sizeof opts);
    opts.expect_rows = MANY;
    err = vtag_begin(db, &opts, &b);
    if (err != VTAG_OK) return err;
    memset(&spec, 0, sizeof spec);
    spec.name = "m@1";
    spec.dim = WIDE;
    err = vtag_declare(b, &spec, &v.tag);
    for (i = 0; i < MANY && err == VTAG_OK; i++) {
        vtag_item item;
        memset(&item, 0, sizeof item);
        item.id = i;
        item.data = "a document";
        item.size = 10;
        for (j = 0; j < WIDE; j++) x[j] = t_float(&seed);
        err = vtag_put(b, &item, &v, 1);
    }
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static vtag_err delete_every_third(vtag_db *db)
{
    vtag_batch *b = NULL;
    uint64_t i;
    vtag_err err = vtag_begin(db, NULL, &b);
    if (err != VTAG_OK) return err;
    for (i = 0; i < MANY && err == VTAG_OK; i += 3) err = vtag_del(b, i);
    if (err == VTAG_OK) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

static vtag_err seal(vtag_db *db) { return vtag_seal(db, NULL, NULL); }

/* Marks in `hashed` what the records from pos on say of the file. */
static void mark_ranges(vt_file *f, vtf_logpos pos, uint8_t *hashed)
{
    const vtf_record *r;
    vt_walk w;
    OK(vt_walk_begin(&w, f, &pos));
    while ((r = vt_walk_next(&w, NULL)) != NULL) {
        vt_out list = VT_ZERO;
        const vtf_range *g;
        size_t i;
        vt_redo_list(&list, r, w.pos.at - r->size);
        g = (const vtf_range *)(const void *)list.p;
        for (i = 0; i < list.n / sizeof *g; i++)
            memset(hashed + g[i].at, 1, (size_t)g[i].length);
        vt_free(list.p);
    }
}

static int in_log(const vtf_logpos *pos, uint64_t at)
{
    return at >= pos->extent + VTF_HEAD_ROOM && at < pos->extent + pos->length;
}

/* Every byte that a step wrote outside the log and the superblocks is in a range of one
 * of its records: else a crash could leave a record that counts without its data. */
static void check_hashed(vtag_err (*step)(vtag_db *db), vtag_db *db)
{
    static uint8_t hashed[8u << 20];
    sim *s = &disk[0];
    size_t from = s->ops, i;
    vtf_logpos before = db->state->pos;
    uint64_t missing = 0, k;
    OK(step(db));
    memset(hashed, 0, sizeof hashed);
    mark_ranges(db->file, before, hashed);
    for (i = from; i < s->ops; i++) {
        const sim_op *op = &s->op[i];
        if (op->kind != SIM_WRITE || op->at < VTF_FRONT) continue;
        REQUIRE(op->at + op->size <= sizeof hashed);
        if (in_log(&before, op->at) || in_log(&db->state->pos, op->at)) continue;
        for (k = op->at; k < op->at + op->size; k++) missing += !hashed[k];
    }
    CHECK(s->ops > from);
    CHECK_EQ(missing, 0);
}

static void every_byte_of_a_commit_is_hashed_in_its_record(void)
{
    vtag_db *db = NULL;
    disks_up();
    disk[0].keep = 1;
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    check_hashed(put_many, db);
    check_hashed(seal, db);
    check_hashed(delete_every_third, db);
    check_hashed(seal, db);
    CHECK(db->state->rows.n && db->state->rows.a[0].f.sketch && db->state->rows.a[0].f.bits_at);
    vtag_close(db);
    disks_down();
}

/* ---- What others see ----------------------------------------------------------------- */

static vtag_db *looker;          /* a reader, open all the time                */
static int looked, saw;          /* how often; it saw "two"                    */

static vtag_err sync_beside_a_reader(void *file)
{
    looked += looker != NULL;
    saw |= looker && shows_meta(looker, "two");
    return sim_io_sync(file);
}

/* The record lies in the log then, whole, and may yet be lost. */
static void a_reader_sees_nothing_of_a_commit_before_its_sync(void)
{
    vtag_db *db = NULL;
    disks_up();
    disk[0].io.sync = sync_beside_a_reader;
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    MUST(set_meta(db, "one"));
    MUST(open_at(&disk[0], VTAG_READ, 0, &looker));
    MUST(set_meta(db, "two"));
    CHECK(looked == 1 && !saw);
    CHECK(shows_meta(looker, "two"));
    vtag_close(looker);
    vtag_close(db);
    disks_down();
}

/* A commit whose writer died before its sync is in the cache alone. Who may write syncs
 * it before showing it. */
static void what_a_handle_that_may_write_has_shown_stays(void)
{
    uint64_t changes, shown = 0;
    disks_up();
    for (changes = 0; changes < 20; changes++) {
        vtag_db *db = NULL;
        int seen;
        sim_reset(&disk[0], 1);
        MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
        MUST(set_meta(db, "one"));
        disk[0].die_after = changes;
        (void)set_meta(db, "two");
        sim_image(&disk[1], &disk[0], SIM_KILLED, 0, 1);
        disk[0].die_after = UINT64_MAX;
        vtag_close(db);
        MUST(open_at(&disk[1], VTAG_EXISTING, 0, &db));
        seen = shows_meta(db, "two");
        shown += (uint64_t)seen;
        sim_image(&disk[2], &disk[1], SIM_NONE, 0, 1);
        vtag_close(db);
        if (seen) CHECK(has_meta(&disk[2], "two"));
    }
    CHECK(shown > 2);
    disks_down();
}

static vtag_err open_lazily(vtag_durability how, vtag_db **db)
{
    vtag_open_opts opts;
    memset(&opts, 0, sizeof opts);
    opts.durability = how;
    opts.lazy_ms = 100;
    opts.io = &disk[0].io;
    return vtag_open(SIM_MAIN, &opts, db);
}

/* What a power cut that keeps nothing leaves of disk[0]. */
static int lasts(const char *name)
{
    sim_image(&disk[1], &disk[0], SIM_NONE, 0, 1);
    return has_meta(&disk[1], name);
}

static void a_lazy_commit_lasts_from_its_time_its_flush_or_its_close_on(void)
{
    vtag_db *db = NULL;
    disks_up();
    MUST(open_lazily(VTAG_LAZY_SYNC, &db));
    MUST(set_meta(db, "first"));
    OK(vtag_flush(db));
    CHECK(lasts("first"));
    MUST(set_meta(db, "flushed"));
    CHECK(!lasts("flushed") && lasts("first"));
    OK(vtag_flush(db));
    CHECK(lasts("flushed"));
    MUST(set_meta(db, "waiting"));
    CHECK(!lasts("waiting"));
    disk[0].clock += 1000;
    MUST(set_meta(db, "in time"));
    CHECK(lasts("waiting") && lasts("in time"));
    disk[0].clock -= 5000;
    MUST(set_meta(db, "back in time"));
    CHECK(lasts("back in time"));
    MUST(set_meta(db, "closed"));
    CHECK(!lasts("closed"));
    vtag_close(db);
    CHECK(lasts("closed"));
    disks_down();
}

static void a_close_without_syncs_leaves_a_file_that_others_read(void)
{
    vtag_db *db = NULL, *other = NULL;
    vtag_batch *b = NULL;
    disks_up();
    MUST(open_lazily(VTAG_NO_SYNC, &db));
    MUST(set_meta(db, "one"));
    vtag_close(db);
    MUST(open_lazily(VTAG_NO_SYNC, &db));
    CHECK(shows_meta(db, "one"));
    MUST(set_meta(db, "two"));
    MUST(open_lazily(VTAG_FULL_SYNC, &other));
    MUST(vtag_begin(other, NULL, &b));
    vtag_close(db); /* cannot get the lock: no harm */
    vtag_abort(b);
    CHECK(shows_meta(other, "two"));
    vtag_close(other);
    disks_down();
}

/* A store with another uuid at the path is not what the handle was opened for. */
static void another_store_at_the_path_is_refused(void)
{
    vtag_open_opts opts;
    vtag_db *db = NULL, *other = NULL;
    vtag_snap *s = NULL;
    disks_up();
    memset(&opts, 0, sizeof opts);
    opts.io = &disk[0].io;
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    MUST(vtag_open("other", &opts, &other));
    vtag_close(other);
    MUST(disk[0].io.rename(&disk[0], "other", SIM_MAIN));
    ERR(VTAG_FORMAT, vtag_snapshot(db, &s));
    ERR(VTAG_FORMAT, set_meta(db, "one"));
    vtag_close(db);
    disks_down();
}

static int same_always(void *file, const char *path)
{
    (void)file;
    (void)path;
    return 1;
}

/* A compaction marks the old file for those whose system cannot tell two files apart. */
static void a_compacted_file_says_so_itself(void)
{
    vtag_db *db = NULL, *reader = NULL, *writer = NULL;
    disks_up();
    disk[0].io.same = same_always;
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    MUST(set_meta(db, "one"));
    MUST(set_meta(db, "one")); /* so that there is something to leave out */
    MUST(open_at(&disk[0], VTAG_READ, 0, &reader));
    MUST(open_at(&disk[0], VTAG_EXISTING, 0, &writer));
    OK(vtag_compact(db, NULL, NULL));
    OK(set_meta(db, "two"));
    CHECK(shows_meta(reader, "two"));
    OK(set_meta(writer, "three"));
    CHECK(shows_meta(db, "two") && shows_meta(db, "three"));
    vtag_close(writer);
    vtag_close(reader);
    vtag_close(db);
    disks_down();
}

/* Without a compaction: the path names another file of the same store now. */
static void a_backup_put_back_is_what_open_handles_see(void)
{
    vtag_db *db = NULL, *reader = NULL;
    vtag_snap *snap = NULL;
    disks_up();
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    MUST(set_meta(db, "one"));
    MUST(vtag_snapshot(db, &snap));
    OK(vtag_copy(snap, "backup", NULL, NULL));
    vtag_release(snap);
    MUST(set_meta(db, "two"));
    MUST(open_at(&disk[0], VTAG_READ, 0, &reader));
    CHECK(shows_meta(reader, "two"));
    MUST(disk[0].io.rename(&disk[0], "backup", SIM_MAIN));
    CHECK(shows_meta(reader, "one") && !shows_meta(reader, "two"));
    OK(set_meta(db, "three"));
    CHECK(shows_meta(reader, "three") && !shows_meta(reader, "two"));
    vtag_close(reader);
    vtag_close(db);
    disks_down();
}

/* What an aborted batch left in the space of a new log extent would look like a crash's
 * remains to the next writer, which would recover. */
static void a_log_extent_over_the_remains_of_an_abort_needs_no_recovery(void)
{
    static char remains[400000];
    vtag_db *db = NULL;
    vtag_batch *b = NULL;
    vtag_item item;
    uint64_t first;
    size_t ops;
    disks_up();
    disk[0].keep = 1;
    MUST(open_at(&disk[0], VTAG_NEW, 0, &db));
    first = db->state->pos.extent;
    memset(remains, 'x', sizeof remains);
    memset(&item, 0, sizeof item);
    item.data = remains;
    item.size = sizeof remains;
    MUST(vtag_begin(db, NULL, &b));
    for (item.id = 0; item.id < 3; item.id++, item.rev = 0) MUST(vtag_put(b, &item, NULL, 0));
    vtag_abort(b);
    while (db->state->pos.extent == first && !t_.failed) OK(set_meta(db, "one"));
    vtag_close(db);
    ops = disk[0].ops;
    MUST(open_at(&disk[0], VTAG_EXISTING, 0, &db));
    MUST(vtag_begin(db, NULL, &b));
    vtag_abort(b);
    CHECK_EQ(disk[0].ops, ops);
    vtag_close(db);
    disks_down();
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_commit_after_a_half_recovery_survives_the_loss_of_either_slot);
    RUN(a_padded_recovery_may_be_cut_off_again_and_again);
    RUN(a_reader_of_a_half_recovery_follows_the_next_writer);
    RUN(a_lazy_writer_ends_the_recovery_that_another_began);
    RUN(a_recovery_with_any_call_failing_can_be_done_again);
    RUN(a_reader_of_a_half_recovery_with_any_call_failing);
    RUN(a_record_of_another_history_does_not_count);
    RUN(every_byte_of_a_commit_is_hashed_in_its_record);
    RUN(a_reader_sees_nothing_of_a_commit_before_its_sync);
    RUN(what_a_handle_that_may_write_has_shown_stays);
    RUN(a_lazy_commit_lasts_from_its_time_its_flush_or_its_close_on);
    RUN(a_close_without_syncs_leaves_a_file_that_others_read);
    RUN(another_store_at_the_path_is_refused);
    RUN(a_compacted_file_says_so_itself);
    RUN(a_backup_put_back_is_what_open_handles_see);
    RUN(a_log_extent_over_the_remains_of_an_abort_needs_no_recovery);
    return t_end();
}
