/* fuzz_disk.h - a disk in memory that is put back to a base image in microseconds, and
   that can lose power: a vtag_io for millions of short lives

   The first file starts as a copy of the base; later, only the pages that were written
   are copied back. With `dying` set, the disk stops after that many changes, and
   disk_cut leaves of the writes since the last sync what a chooser wants. Clock and
   randomness are its own, so a run repeats exactly. One thread, one disk. */
#ifndef VTAG_TEST_FUZZ_DISK_H
#define VTAG_TEST_FUZZ_DISK_H
#include "fuzz.h"

enum { DISK_CAP = 2 << 20, DISK_PAGE = 4096, DISK_PAGES = DISK_CAP / DISK_PAGE };
enum { DISK_FILES = 3, DISK_WRITES = 512, DISK_LOST = 1 << 20 };

typedef struct disk_file {
    uint8_t  *p;                   /* DISK_CAP bytes; a read past size is a report */
    size_t    size, base_size, synced_size;
    const uint8_t *base;           /* what it is reset to                        */
    uint32_t  dirty[DISK_PAGES], dirties; /* pages that were written             */
    uint8_t   is_dirty[DISK_PAGES];
    int       named, opens;
    char      name[32];
    void     *owner[3];            /* of its locks                               */
} disk_file;

typedef struct disk_write { int file; size_t at, n, was; } disk_write;

typedef struct disk {
    vtag_io    io;
    disk_file *f[DISK_FILES], *spare[DISK_FILES];
    const char *isa;
    uint64_t   clock, random, changes, dying, syncs;
    int        live;               /* file objects                               */
    int        overflow;           /* more unsynced writes than there was room for */
    disk_write w[DISK_WRITES];     /* what unsynced writes replaced              */
    size_t     writes, used;
    uint8_t    was[DISK_LOST];
} disk;

typedef struct disk_open { disk *d; disk_file *f; int read_only; } disk_open;

static inline void disk_size_to(disk_file *f, size_t size)
{
    if (size > f->size) FUZZ_SHOW(f->p + f->size, size - f->size);
    if (size < f->size) FUZZ_HIDE(f->p + size, f->size - size);
    f->size = size;
}

/* A file that resets to a base, which must stay where it is; NULL: an empty one. */
static inline disk_file *disk_file_new(const uint8_t *base, size_t size)
{
    disk_file *f = calloc(1, sizeof *f);
    void *p = NULL;
    if (!f || size > DISK_CAP || posix_memalign(&p, 4096, DISK_CAP)) abort();
    f->p = memset(p, 0, DISK_CAP);
    if (size) memcpy(f->p, base, size);
    f->base = base;
    f->base_size = f->size = size;
    FUZZ_HIDE(f->p + size, DISK_CAP - size);
    return f;
}

/* To be called before bytes are changed; the next reset puts them back. */
static inline uint8_t *disk_poke(disk_file *f, size_t at, size_t n)
{
    size_t page;
    for (page = at / DISK_PAGE; page * DISK_PAGE < at + n; page++)
        if (!f->is_dirty[page]) {
            f->is_dirty[page] = 1;
            f->dirty[f->dirties++] = (uint32_t)page;
        }
    return f->p + at;
}

static inline void disk_file_reset(disk_file *f)
{
    size_t need = f->base_size, i;
    for (i = 0; i < f->dirties; i++)
        if ((f->dirty[i] + 1) * (size_t)DISK_PAGE > need) need = (f->dirty[i] + 1) * (size_t)DISK_PAGE;
    if (need > f->size) disk_size_to(f, need);
    while (f->dirties) {
        uint32_t page = f->dirty[--f->dirties];
        size_t at = (size_t)page * DISK_PAGE, n = at < f->base_size ? f->base_size - at : 0;
        if (n > DISK_PAGE) n = DISK_PAGE;
        if (n) memcpy(f->p + at, f->base + at, n);
        memset(f->p + at + n, 0, DISK_PAGE - n);
        f->is_dirty[page] = 0;
    }
    disk_size_to(f, f->base_size);
    f->synced_size = f->base_size;
    f->opens = 0;
    memset(f->owner, 0, sizeof f->owner);
}

/* A disk with the one file t.vtag, which is its base again; NULL: with no file. */
static inline void disk_reset(disk *d, disk_file *main)
{
    int i;
    for (i = 0; i < DISK_FILES; i++) {
        if (!d->spare[i]) d->spare[i] = disk_file_new(NULL, 0);
        d->f[i] = i || !main ? d->spare[i] : main;
        disk_file_reset(d->f[i]);
        d->f[i]->named = 0;
    }
    if (main) {
        main->named = 1;
        strcpy(main->name, "t.vtag");
    }
    d->isa = NULL;
    d->clock = 1800000000000u;
    d->random = 42;
    d->changes = d->syncs = 0;
    d->dying = UINT64_MAX;
    d->writes = d->used = 0;
    d->overflow = d->live = 0;
}

/* ---- The calls ----------------------------------------------------------------- */

static inline disk_file *disk_find(disk *d, const char *name)
{
    int i;
    for (i = 0; i < DISK_FILES; i++)
        if (d->f[i]->named && !strcmp(d->f[i]->name, name)) return d->f[i];
    return NULL;
}

/* Drops the unsynced writes of a file that was synced, or whose place another takes. */
static inline void disk_settle(disk *d, const disk_file *f)
{
    size_t i, k = 0, used = 0;
    for (i = 0; i < d->writes; i++) {
        disk_write w = d->w[i];
        if (d->f[w.file] == f) continue;
        memmove(d->was + used, d->was + w.was, w.n);
        w.was = used;
        used += w.n;
        d->w[k++] = w;
    }
    d->writes = k;
    d->used = used;
}

static inline int disk_dead(disk *d) { return d->changes++ >= d->dying; }

static inline vtag_err disk_open_file(void *ctx, const char *path, vtag_access access, void **file)
{
    disk *d = ctx;
    disk_file *f = disk_find(d, path);
    disk_open *o;
    int i;
    if (f && access == VTAG_NEW) return VTAG_EXISTS;
    if (!f && (access == VTAG_READ || access == VTAG_EXISTING)) return VTAG_NOTFOUND;
    for (i = 0; !f && i < DISK_FILES; i++)
        if (!d->f[i]->named && !d->f[i]->opens) {
            if (disk_dead(d)) return VTAG_IO;
            f = d->f[i];
            disk_settle(d, f);
            disk_file_reset(f);
            disk_size_to(f, 0);
            f->named = 1;
            snprintf(f->name, sizeof f->name, "%s", path);
        }
    if (!f) return VTAG_NOSPACE;
    o = malloc(sizeof *o);
    if (!o) return VTAG_NOMEM;
    o->d = d;
    o->f = f;
    o->read_only = access == VTAG_READ;
    f->opens++;
    d->live++;
    *file = o;
    return VTAG_OK;
}

static inline void disk_close_file(void *file)
{
    disk_open *o = file;
    int i;
    for (i = 0; i < 3; i++)
        if (o->f->owner[i] == o) o->f->owner[i] = NULL;
    o->f->opens--;
    o->d->live--;
    free(o);
}

static inline vtag_err disk_size(void *file, uint64_t *bytes)
{
    *bytes = ((disk_open *)file)->f->size;
    return VTAG_OK;
}

static inline vtag_err disk_allocate(void *file, uint64_t bytes)
{
    disk_open *o = file;
    FUZZ_MUST(!o->read_only);
    if (disk_dead(o->d)) return VTAG_IO;
    if (bytes > DISK_CAP) return VTAG_NOSPACE;
    if (bytes > o->f->size) disk_size_to(o->f, (size_t)bytes);
    return VTAG_OK;
}

static inline vtag_err disk_read(void *file, uint64_t at, void *p, size_t n)
{
    const disk_file *f = ((disk_open *)file)->f;
    if (at > f->size || n > f->size - at) return VTAG_IO;
    memcpy(p, f->p + at, n);
    return VTAG_OK;
}

static inline void disk_remember(disk *d, disk_file *f, size_t at, size_t n)
{
    disk_write *w = &d->w[d->writes];
    if (d->writes == DISK_WRITES || n > DISK_LOST - d->used) {
        d->overflow = 1;
        return;
    }
    w->file = f == d->f[0] ? 0 : f == d->f[1] ? 1 : 2;
    w->at = at;
    w->n = n;
    w->was = d->used;
    memcpy(d->was + d->used, f->p + at, n);
    d->used += n;
    d->writes++;
}

static inline vtag_err disk_write_at(void *file, uint64_t at, const void *p, size_t n)
{
    disk_open *o = file;
    FUZZ_MUST(!o->read_only);
    if (disk_dead(o->d)) return VTAG_IO;
    if (at > DISK_CAP || n > DISK_CAP - at) return VTAG_NOSPACE;
    if (at + n > o->f->size) disk_size_to(o->f, (size_t)(at + n));
    disk_remember(o->d, o->f, (size_t)at, n);
    memcpy(disk_poke(o->f, (size_t)at, n), p, n);
    return VTAG_OK;
}

static inline vtag_err disk_sync(void *file)
{
    disk_open *o = file;
    disk *d = o->d;
    if (disk_dead(d)) return VTAG_IO;
    d->syncs++;
    disk_settle(d, o->f);
    o->f->synced_size = o->f->size;
    return VTAG_OK;
}

static inline vtag_err disk_map(void *file, uint64_t at, uint64_t bytes, const uint8_t **base)
{
    const disk_file *f = ((disk_open *)file)->f;
    if (at % 4096 || at > f->size || bytes > f->size - at) return VTAG_IO;
    *base = f->p + at;
    return VTAG_OK;
}

static inline void disk_unmap(void *file, const uint8_t *base, uint64_t bytes)
{
    (void)file, (void)base, (void)bytes;
}

static inline vtag_err disk_lock(void *file, int which, uint32_t wait_ms)
{
    disk_file *f = ((disk_open *)file)->f;
    (void)wait_ms;
    if (f->owner[which] && f->owner[which] != file) return VTAG_LOCKED;
    f->owner[which] = file;
    return VTAG_OK;
}

static inline void disk_unlock(void *file, int which)
{
    disk_file *f = ((disk_open *)file)->f;
    if (f->owner[which] == file) f->owner[which] = NULL;
}

static inline int disk_locked(void *file, int which)
{
    const disk_file *f = ((disk_open *)file)->f;
    return f->owner[which] && f->owner[which] != file;
}

static inline vtag_err disk_remove(void *ctx, const char *path)
{
    disk_file *f = disk_find(ctx, path);
    if (!f) return VTAG_IO;
    if (disk_dead(ctx)) return VTAG_IO;
    f->named = 0;
    return VTAG_OK;
}

static inline vtag_err disk_rename(void *ctx, const char *from, const char *to)
{
    disk_file *f = disk_find(ctx, from), *old = disk_find(ctx, to);
    if (!f || disk_dead(ctx)) return VTAG_IO;
    if (old && old != f) old->named = 0;
    snprintf(f->name, sizeof f->name, "%s", to);
    return VTAG_OK;
}

static inline int disk_same(void *file, const char *path)
{
    disk_open *o = file;
    return disk_find(o->d, path) == o->f;
}

static inline int disk_remote(void *file) { (void)file; return 0; }

static inline vtag_err disk_random(void *ctx, void *p, size_t n)
{
    uint8_t *b = p;
    while (n--) *b++ = (uint8_t)(fuzz_rand(&((disk *)ctx)->random) >> 56);
    return VTAG_OK;
}

static inline uint64_t disk_now(void *ctx) { return ((disk *)ctx)->clock; }

static inline disk *disk_get(void)
{
    static disk the_disk;
    vtag_io *io = &the_disk.io;
    if (io->ctx) return &the_disk;
    io->ctx = &the_disk;
    io->open = disk_open_file, io->close = disk_close_file;
    io->size = disk_size, io->allocate = disk_allocate;
    io->read = disk_read, io->write = disk_write_at, io->sync = disk_sync;
    io->map = disk_map, io->unmap = disk_unmap;
    io->lock = disk_lock, io->unlock = disk_unlock, io->locked = disk_locked;
    io->rename = disk_rename, io->remove = disk_remove;
    io->same = disk_same, io->remote = disk_remote;
    io->random = disk_random, io->now = disk_now;
    return &the_disk;
}

/* With FUZZ_SAY in the environment, the engine says what it finds. */
static inline void disk_say(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx;
    fprintf(stderr, "%s: %s (at %llu)\n", vtag_strerror(err), msg, (unsigned long long)at);
}

static inline vtag_db *disk_db(disk *d, const char *path, vtag_access access, int no_map)
{
    vtag_open_opts o;
    vtag_db *db = NULL;
    memset(&o, 0, sizeof o);
    o.io = &d->io;
    o.access = access;
    o.no_map = no_map;
    o.isa = d->isa;
    o.log = getenv("FUZZ_SAY") ? disk_say : NULL;
    return vtag_open(path, &o, &db) ? NULL : db;
}

/* ---- A power cut ------------------------------------------------------------------ */

/* What became of unsynced write i, of n bytes: how many of its first bytes arrived. */
typedef size_t disk_chooser(void *ctx, size_t i, size_t n);

/* Takes back, newest first, what did not arrive of the writes since the last sync, and
   lets the disk live again. shrink: the file ends where what arrived does, if no sync
   came after it grew. All file objects must be closed. */
static inline void disk_cut(disk *d, disk_chooser *choose, void *ctx, int shrink)
{
    size_t i = d->writes, high[DISK_FILES];
    int f;
    FUZZ_MUST(d->live == 0);
    for (f = 0; f < DISK_FILES; f++) high[f] = d->f[f]->synced_size;
    while (i-- > 0) {
        const disk_write *w = &d->w[i];
        size_t kept = choose(ctx, i, w->n);
        uint8_t *p = disk_poke(d->f[w->file], w->at, w->n);
        if (kept < w->n) memcpy(p + kept, d->was + w->was + kept, w->n - kept);
        if (kept && w->at + kept > high[w->file]) high[w->file] = w->at + kept;
    }
    for (f = 0; shrink && f < DISK_FILES; f++)
        if (high[f] < d->f[f]->size) disk_size_to(d->f[f], high[f]);
    d->writes = d->used = 0;
    d->changes = 0;
    d->dying = UINT64_MAX;
}

#endif
