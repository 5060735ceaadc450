/* sim.h - a disk in memory that can lose power, fail calls and run full

   A sim is a small file system behind a vtag_io. Each file has two images: `live`,
   what programs see, and `durable`, what the last sync left for certain. Between the
   two lie the operations since, in a trace. sim_image builds, in a second sim, one of
   the many disks that a power cut may leave: the durable image plus a choice of the
   operations after it. Creating, renaming and removing are atomic and durable when
   they return, as vtag_io says; sizes and bytes are durable after a sync.

   The file's bytes lie in memory reserved once, so a mapping is a stable pointer that
   shows later writes, as a shared mapping does. Building an image copies only the
   512-byte grains in which it may differ from its source: a child sim keeps a bit for
   each, and its parent sets it where its durable image changes. A number for each grain
   of the durable image gives one for the whole disk, so that equal disks are known.

   Clock and randomness are the sim's own, so a run repeats exactly. One thread. */
#ifndef VTAG_TEST_SIM_H
#define VTAG_TEST_SIM_H
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SIM_FILES = 6, SIM_OPENS = 32, SIM_LOCKS = 3, SIM_PATH = 120, SIM_PENDING = 8192 };
#define SIM_GRAIN  512u
#define SIM_MAIN   "main"        /* the file whose syncs move mark.synced      */
#define SIM_FILE_MAX (UINT64_C(64) << 20) /* of a sim with a durable image     */
#define SIM_SLOT(n) (UINT64_C(16384) * ((uint64_t)(n) + 1)) /* where a superblock slot lies */

/* What a call does; the first five kinds are also the operations of a trace. */
typedef enum sim_kind {
    SIM_WRITE, SIM_ALLOCATE, SIM_SYNC, SIM_RENAME, SIM_REMOVE, SIM_CREATE,
    SIM_OPEN, SIM_SIZE, SIM_READ, SIM_MAP, SIM_LOCK, SIM_RANDOM, SIM_KINDS,
    SIM_ANY = SIM_KINDS
} sim_kind;

typedef struct sim_mark {        /* where the workload was: numbers of states   */
    uint32_t started, acked, synced;
} sim_mark;

typedef struct sim_op {
    sim_kind kind;
    int      file;               /* index of the file                          */
    uint64_t at, size;           /* of a write; size also of an allocation     */
    size_t   bytes;              /* where its bytes, or names, start           */
    sim_mark mark;
} sim_op;

typedef struct sim_file {
    uint8_t  *live, *durable;    /* reserved once                              */
    uint64_t  size, durable_size;
    uint64_t  high;              /* no byte at or past it was ever written     */
    uint64_t *stale;             /* a bit a grain: may differ from the parent  */
    uint64_t *unsummed;          /* a bit a grain: durable, but not yet in sum */
    uint64_t *sum;               /* of each grain of durable; 0: all zeros     */
    uint64_t  total;             /* of sum and the grains' places              */
    size_t    pending;           /* first operation after the last sync        */
    int       opens;             /* file objects                               */
    int       named;
    char      path[SIM_PATH];
    struct sim_open *lock[SIM_LOCKS];
} sim_file;

typedef struct sim_open {        /* a file object                              */
    struct sim *sim;
    int         file;
    int         process;
    int         dead, read_only;
} sim_open;

typedef struct sim_fault {
    sim_kind kind;               /* SIM_ANY: of all kinds                      */
    uint64_t nth;                /* from 1; 0: no fault                        */
    vtag_err err;
    int      for_good;           /* and all after it                           */
    int      late;               /* a rename that fails has happened           */
    sim_kind hit;                /* out: the kind of the first call that failed */
    uint64_t seen;
} sim_fault;

typedef struct sim {
    vtag_io   io;
    sim_file  file[SIM_FILES];
    sim_open *open[SIM_OPENS];
    sim_op   *op;
    size_t    ops, op_cap;
    uint8_t  *bytes;
    size_t    used, byte_cap;
    int       keep;              /* the whole trace, past syncs                */
    int       flat;              /* no trace, no durable image: for large files */
    int       leaf;              /* never cut: durable is live, trace if keep  */
    uint64_t  max;               /* bytes reserved for a file                  */
    struct sim *child[2];        /* the sims that images of this one go to     */
    uint64_t  clock, tick, seed;
    uint64_t  limit;             /* bytes that one file may have; 0: no limit  */
    uint64_t  die_after;         /* changes that still happen; UINT64_MAX: all */
    jmp_buf  *death;             /* where a process goes that dies then; NULL: calls fail */
    int       process;           /* that opens files now                       */
    sim_fault fault;
    sim_mark  mark;
    uint64_t  calls[SIM_KINDS], written, read, maps, locks, opens;
    const char *broken;          /* a rule of vtag_io that the engine broke    */
} sim;

/* ---- Small parts ------------------------------------------------------------ */

static inline uint64_t sim_rand(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline void sim_rule(sim *s, int good, const char *rule)
{
    if (!good && !s->broken) s->broken = rule;
}

/* Counts a call; true if it has to fail. */
static inline int sim_fails(sim *s, sim_kind kind)
{
    sim_fault *f = &s->fault;
    s->calls[kind]++;
    if (!f->nth || (f->kind != SIM_ANY && f->kind != kind)) return 0;
    f->seen++;
    if (f->seen == f->nth) f->hit = kind;
    return f->seen == f->nth || (f->for_good && f->seen > f->nth);
}

static inline void *sim_reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("sim: reserving memory");
        exit(2);
    }
    return p;
}

static inline void *sim_grow(void *p, size_t *cap, size_t need, size_t unit)
{
    if (need <= *cap) return p;
    while (*cap < need) *cap = *cap ? *cap * 2 : 64;
    p = realloc(p, *cap * unit);
    if (!p) {
        perror("sim: trace");
        exit(2);
    }
    return p;
}

static inline void sim_set_bits(uint64_t *bits, uint64_t at, uint64_t n)
{
    uint64_t grain = at / SIM_GRAIN, last = (at + n + SIM_GRAIN - 1) / SIM_GRAIN;
    for (; grain < last; grain++) bits[grain / 64] |= UINT64_C(1) << grain % 64;
}

static inline void sim_stale(sim_file *f, uint64_t at, uint64_t n)
{
    sim_set_bits(f->stale, at, n);
}

/* Says that the durable bytes of a file changed. */
static inline void sim_changed(sim *s, int file, uint64_t at, uint64_t n)
{
    sim_set_bits(s->file[file].unsummed, at, n);
    if (s->child[0]) sim_stale(&s->child[0]->file[file], at, n);
    if (s->child[1]) sim_stale(&s->child[1]->file[file], at, n);
}

/* ---- A number for a disk ---------------------------------------------------- */

static inline uint64_t sim_mix(uint64_t x)
{
    x = (x ^ x >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    return x ^ x >> 29;
}

/* Of a grain's bytes; 0 where they are zero. */
static inline uint64_t sim_grain_sum(const uint8_t *p)
{
    uint64_t h[4] = {1, 2, 3, 4}, word, any = 0;
    int i;
    for (i = 0; i < (int)SIM_GRAIN / 8; i++) {
        memcpy(&word, p + 8 * i, 8);
        any |= word;
        h[i % 4] = (h[i % 4] ^ word) * UINT64_C(0x9FB21C651E98DF25);
        h[i % 4] ^= h[i % 4] >> 31;
    }
    if (!any) return 0;
    return sim_mix(h[0] + 3 * sim_mix(h[1] + 3 * sim_mix(h[2] + 3 * sim_mix(h[3])))) | 1;
}

static inline void sim_set_sum(sim_file *f, uint64_t grain, uint64_t sum)
{
    if (f->sum[grain]) f->total -= sim_mix(f->sum[grain] + grain * 2);
    if (sum) f->total += sim_mix(sum + grain * 2);
    f->sum[grain] = sum;
}

static inline void sim_sum_file(sim_file *f)
{
    uint64_t word, words = (f->high + SIM_GRAIN * 64 - 1) / (SIM_GRAIN * 64);
    for (word = 0; word < words; word++) {
        uint64_t bits = f->unsummed[word];
        for (; bits; bits &= bits - 1) {
            uint64_t grain = word * 64 + (uint64_t)__builtin_ctzll(bits);
            sim_set_sum(f, grain, sim_grain_sum(f->durable + grain * SIM_GRAIN));
        }
        f->unsummed[word] = 0;
    }
}

/* Names, sizes and bytes of all files, as a power cut with nothing kept leaves them. */
static inline uint64_t sim_sum(sim *s)
{
    uint64_t h = 0;
    int i;
    for (i = 0; i < SIM_FILES; i++) {
        sim_file *f = &s->file[i];
        size_t k;
        if (!f->named) continue;
        sim_sum_file(f);
        h = sim_mix(h + (uint64_t)i + 1) + f->total;
        h = sim_mix(h) + f->durable_size;
        for (k = 0; f->path[k]; k++) h = (h ^ (uint8_t)f->path[k]) * UINT64_C(0x100000001B3);
    }
    return sim_mix(h);
}

/* ---- Trace ------------------------------------------------------------------ */

static inline size_t sim_keep_bytes(sim *s, const void *p, size_t n)
{
    size_t at = s->used;
    s->bytes = (uint8_t *)sim_grow(s->bytes, &s->byte_cap, s->used + n, 1);
    if (n) memcpy(s->bytes + at, p, n);
    s->used += n;
    return at;
}

static inline int sim_records(const sim *s) { return !s->flat && (s->keep || !s->leaf); }

static inline void sim_record(sim *s, sim_op op)
{
    s->op = (sim_op *)sim_grow(s->op, &s->op_cap, s->ops + 1, sizeof *s->op);
    op.mark = s->mark;
    s->op[s->ops++] = op;
}

static inline void sim_record_name(sim *s, sim_kind kind, int file, const char *path)
{
    sim_op op = {kind, file, 0, 0, 0, {0, 0, 0}};
    if (!sim_records(s)) return;
    op.size = strlen(path) + 1;
    op.bytes = sim_keep_bytes(s, path, strlen(path) + 1);
    sim_record(s, op);
}

/* Forgets the trace where nothing in it can be lost any more. */
static inline void sim_forget(sim *s)
{
    int i;
    if (s->keep) return;
    for (i = 0; i < SIM_FILES; i++)
        if (s->file[i].pending < s->ops && (s->file[i].named || s->file[i].opens)) return;
    for (i = 0; i < SIM_FILES; i++) s->file[i].pending = 0;
    s->ops = s->used = 0;
}

/* ---- Changes of the disk ---------------------------------------------------- */

static inline int sim_find(const sim *s, const char *path)
{
    int i;
    for (i = 0; i < SIM_FILES; i++)
        if (s->file[i].named && !strcmp(s->file[i].path, path)) return i;
    return -1;
}

/* Makes slot i of the table an empty file. */
static inline void sim_blank(sim *s, int i, const char *path)
{
    sim_file *f = &s->file[i];
    memset(f->live, 0, f->high);
    if (!s->flat) {
        if (!s->leaf) memset(f->durable, 0, f->high);
        sim_stale(f, 0, f->high);
        sim_changed(s, i, 0, f->high);
    }
    f->size = f->durable_size = 0;
    f->pending = s->ops;
    f->named = 1;
    snprintf(f->path, sizeof f->path, "%s", path);
}

static inline int sim_create(sim *s, const char *path)
{
    int i = 0;
    while (i < SIM_FILES && (s->file[i].named || s->file[i].opens)) i++;
    sim_rule(s, i < SIM_FILES && strlen(path) < SIM_PATH, "more files than the sim has room for");
    if (i == SIM_FILES) return -1;
    sim_blank(s, i, path);
    sim_record_name(s, SIM_CREATE, i, path);
    s->file[i].pending = s->ops;
    return i;
}

static inline void sim_put_bytes(sim *s, int file, uint64_t at, const void *p, uint64_t n)
{
    sim_file *f = &s->file[file];
    sim_op op = {SIM_WRITE, file, 0, 0, 0, {0, 0, 0}};
    if (at + n > f->size) f->size = at + n;
    if (at + n > f->high) f->high = at + n;
    if (s->flat || memcmp(f->live + at, p, (size_t)n)) {
        memcpy(f->live + at, p, (size_t)n);
        if (!s->flat) sim_stale(f, at, n);
        if (s->leaf) sim_changed(s, file, at, n);
    }
    if (!sim_records(s)) return;
    op.at = at;
    op.size = n;
    op.bytes = sim_keep_bytes(s, p, (size_t)n);
    sim_record(s, op);
}

static inline void sim_extend(sim *s, int file, uint64_t size)
{
    sim_op op = {SIM_ALLOCATE, file, 0, 0, 0, {0, 0, 0}};
    s->file[file].size = size;
    op.size = size;
    if (sim_records(s)) sim_record(s, op);
}

/* Lays one operation onto the durable image, as far as the size there lets it; true if
 * that changed a byte. */
static inline int sim_land(sim *s, int file, const sim_op *op, const uint8_t *bytes,
                            uint64_t skip, uint64_t n)
{
    sim_file *f = &s->file[file];
    uint64_t at = op->at + skip;
    if (op->kind == SIM_ALLOCATE && op->size > f->durable_size) f->durable_size = op->size;
    if (op->kind != SIM_WRITE || at >= f->durable_size) return 0;
    if (n > f->durable_size - at) n = f->durable_size - at;
    if (!memcmp(f->durable + at, bytes + op->bytes + skip, (size_t)n)) return 0;
    memcpy(f->durable + at, bytes + op->bytes + skip, (size_t)n);
    if (at + n > f->high) f->high = at + n;
    sim_changed(s, file, at, n);
    return 1;
}

static inline void sim_make_durable(sim *s, int file)
{
    sim_file *f = &s->file[file];
    size_t i;
    f->durable_size = f->size;
    for (i = f->pending; i < s->ops; i++)
        if (s->op[i].file == file) sim_land(s, file, &s->op[i], s->bytes, 0, s->op[i].size);
    f->pending = s->ops;
    sim_forget(s);
}

static inline void sim_sync_now(sim *s, int file)
{
    sim_op op = {SIM_SYNC, file, 0, 0, 0, {0, 0, 0}};
    if (!sim_records(s)) return;
    sim_record(s, op);
    if (!s->leaf) sim_make_durable(s, file);
}

/* A sync that fails: some of what was written is on the disk, and no later sync will
 * bring the rest there, although reads go on showing it. */
static inline void sim_sync_lost(sim *s, int file)
{
    sim_file *f = &s->file[file];
    size_t i;
    for (i = f->pending; i < s->ops; i++)
        if (s->op[i].file == file && sim_rand(&s->seed) % 2)
            sim_land(s, file, &s->op[i], s->bytes, 0, s->op[i].size);
    f->pending = s->ops;
}

static inline void sim_name(sim *s, int file, const char *to)
{
    int old = sim_find(s, to);
    if (old >= 0 && old != file) s->file[old].named = 0;
    s->file[file].named = 1;
    snprintf(s->file[file].path, SIM_PATH, "%s", to);
    sim_record_name(s, SIM_RENAME, file, to);
}

static inline void sim_unname(sim *s, int file)
{
    s->file[file].named = 0;
    sim_record_name(s, SIM_REMOVE, file, s->file[file].path);
}

/* Repeats an operation of another sim's trace here: a disk that can be stopped after
 * each of them. */
static inline void sim_replay(sim *s, const sim *from, size_t i)
{
    const sim_op *op = &from->op[i];
    const char *name = (const char *)from->bytes + op->bytes;
    s->mark = op->mark;
    switch (op->kind) {
    case SIM_CREATE:
        sim_blank(s, op->file, name);
        sim_record_name(s, SIM_CREATE, op->file, name);
        s->file[op->file].pending = s->ops;
        break;
    case SIM_WRITE:    sim_put_bytes(s, op->file, op->at, name, op->size); break;
    case SIM_ALLOCATE: sim_extend(s, op->file, op->size); break;
    case SIM_SYNC:     sim_sync_now(s, op->file); break;
    case SIM_RENAME:   sim_name(s, op->file, name); break;
    case SIM_REMOVE:   sim_unname(s, op->file); break;
    default: break;
    }
}

/* False if the power is out; else one change less is left. */
static inline int sim_alive(sim *s)
{
    if (s->die_after == UINT64_MAX) return 1;
    if (s->die_after == 0 && s->death) longjmp(*s->death, 1);
    if (s->die_after == 0) return 0;
    s->die_after--;
    return 1;
}

/* ---- The table -------------------------------------------------------------- */

static inline vtag_err sim_io_open(void *ctx, const char *path, vtag_access access, void **file)
{
    sim *s = (sim *)ctx;
    sim_open *o;
    int i = sim_find(s, path), n = 0;
    if (sim_fails(s, SIM_OPEN)) return s->fault.err;
    if (i >= 0 && access == VTAG_NEW) return VTAG_EXISTS;
    if (i < 0 && (access == VTAG_READ || access == VTAG_EXISTING)) return VTAG_NOTFOUND;
    if (i < 0 && !sim_alive(s)) return VTAG_IO;
    if (i < 0) i = sim_create(s, path);
    while (n < SIM_OPENS && s->open[n]) n++;
    if (i < 0 || n == SIM_OPENS) return VTAG_IO;
    o = (sim_open *)calloc(1, sizeof *o);
    if (!o) return VTAG_NOMEM;
    o->sim = s;
    o->file = i;
    o->process = s->process;
    o->read_only = access == VTAG_READ;
    s->open[n] = o;
    s->file[i].opens++;
    s->opens++;
    *file = o;
    return VTAG_OK;
}

static inline void sim_drop_locks(sim_open *o)
{
    sim_file *f = &o->sim->file[o->file];
    int i;
    for (i = 0; i < SIM_LOCKS; i++)
        if (f->lock[i] == o) {
            f->lock[i] = NULL;
            o->sim->locks--;
        }
}

static inline void sim_io_close(void *file)
{
    sim_open *o = (sim_open *)file;
    sim *s = o->sim;
    int i;
    sim_drop_locks(o);
    for (i = 0; i < SIM_OPENS; i++)
        if (s->open[i] == o) s->open[i] = NULL;
    s->file[o->file].opens--;
    s->opens--;
    free(o);
}

static inline vtag_err sim_io_size(void *file, uint64_t *bytes)
{
    sim_open *o = (sim_open *)file;
    if (o->dead) return VTAG_IO;
    if (sim_fails(o->sim, SIM_SIZE)) return o->sim->fault.err;
    *bytes = o->sim->file[o->file].size;
    return VTAG_OK;
}

static inline vtag_err sim_io_allocate(void *file, uint64_t bytes)
{
    sim_open *o = (sim_open *)file;
    sim *s = o->sim;
    if (o->dead) return VTAG_IO;
    if (sim_fails(s, SIM_ALLOCATE)) return s->fault.err;
    sim_rule(s, !o->read_only, "allocated through a read-only file");
    if (bytes <= s->file[o->file].size) return VTAG_OK;
    if (bytes > s->max || (s->limit && bytes > s->limit)) return VTAG_NOSPACE;
    if (!sim_alive(s)) return VTAG_IO;
    sim_extend(s, o->file, bytes);
    return VTAG_OK;
}

static inline vtag_err sim_io_read(void *file, uint64_t at, void *p, size_t n)
{
    sim_open *o = (sim_open *)file;
    sim_file *f = &o->sim->file[o->file];
    if (o->dead) return VTAG_IO;
    if (sim_fails(o->sim, SIM_READ)) {
        memset(p, 0xA5, n / 2); /* nothing is promised about p */
        return o->sim->fault.err;
    }
    if (at > f->size || n > f->size - at) return VTAG_IO;
    memcpy(p, f->live + at, n);
    o->sim->read += n;
    return VTAG_OK;
}

static inline vtag_err sim_io_write(void *file, uint64_t at, const void *p, size_t n)
{
    sim_open *o = (sim_open *)file;
    sim *s = o->sim;
    sim_file *f = &s->file[o->file];
    if (o->dead) return VTAG_IO;
    sim_rule(s, !o->read_only, "wrote through a read-only file");
    sim_rule(s, at <= f->size && n <= f->size - at, "wrote past the allocated size");
    if (at > f->size || n > f->size - at) return VTAG_IO;
    if (sim_fails(s, SIM_WRITE)) {
        sim_put_bytes(s, o->file, at, p, sim_rand(&s->seed) % (n + 1));
        return s->fault.err;
    }
    if (!sim_alive(s)) return VTAG_IO;
    sim_put_bytes(s, o->file, at, p, n);
    s->written += n;
    return VTAG_OK;
}

static inline vtag_err sim_io_sync(void *file)
{
    sim_open *o = (sim_open *)file;
    sim *s = o->sim;
    if (o->dead) return VTAG_IO;
    if (sim_fails(s, SIM_SYNC)) {
        sim_sync_lost(s, o->file);
        return s->fault.err;
    }
    if (!sim_alive(s)) return VTAG_IO;
    sim_sync_now(s, o->file);
    if (s->file[o->file].named && o->file == sim_find(s, SIM_MAIN)) s->mark.synced = s->mark.acked;
    return VTAG_OK;
}

static inline vtag_err sim_io_map(void *file, uint64_t at, uint64_t bytes, const uint8_t **base)
{
    sim_open *o = (sim_open *)file;
    sim_file *f = &o->sim->file[o->file];
    if (o->dead) return VTAG_IO;
    if (sim_fails(o->sim, SIM_MAP)) return o->sim->fault.err;
    sim_rule(o->sim, at % 65536 == 0, "mapped at an offset that is no multiple of 64 KiB");
    if (at > f->size || bytes > f->size - at) return VTAG_IO;
    *base = f->live + at;
    o->sim->maps++;
    return VTAG_OK;
}

static inline void sim_io_unmap(void *file, const uint8_t *base, uint64_t bytes)
{
    sim_open *o = (sim_open *)file;
    (void)base;
    (void)bytes;
    o->sim->maps--;
}

static inline vtag_err sim_io_lock(void *file, int which, uint32_t wait_ms)
{
    sim_open *o = (sim_open *)file;
    sim_file *f = &o->sim->file[o->file];
    if (o->dead) return VTAG_IO;
    if (sim_fails(o->sim, SIM_LOCK)) return o->sim->fault.err;
    sim_rule(o->sim, f->lock[which] != o, "took a lock twice");
    if (f->lock[which] && f->lock[which] != o) {
        o->sim->clock += wait_ms;
        return VTAG_LOCKED;
    }
    if (!f->lock[which]) o->sim->locks++;
    f->lock[which] = o;
    return VTAG_OK;
}

static inline void sim_io_unlock(void *file, int which)
{
    sim_open *o = (sim_open *)file;
    sim_file *f = &o->sim->file[o->file];
    if (o->dead) return;
    sim_rule(o->sim, f->lock[which] == o, "released a lock that it did not hold");
    if (f->lock[which] != o) return;
    f->lock[which] = NULL;
    o->sim->locks--;
}

static inline int sim_io_locked(void *file, int which)
{
    sim_open *o = (sim_open *)file;
    const sim_open *by = o->sim->file[o->file].lock[which];
    return by && by != o;
}

static inline vtag_err sim_io_rename(void *ctx, const char *from, const char *to)
{
    sim *s = (sim *)ctx;
    int i = sim_find(s, from), fails = sim_fails(s, SIM_RENAME);
    if (fails && !s->fault.late) return s->fault.err;
    if (i < 0 || !sim_alive(s)) return VTAG_IO;
    sim_name(s, i, to);
    return fails ? s->fault.err : VTAG_OK;
}

static inline vtag_err sim_io_remove(void *ctx, const char *path)
{
    sim *s = (sim *)ctx;
    int i = sim_find(s, path);
    if (sim_fails(s, SIM_REMOVE)) return s->fault.err;
    if (i < 0 || !sim_alive(s)) return VTAG_IO;
    sim_unname(s, i);
    return VTAG_OK;
}

static inline int sim_io_same(void *file, const char *path)
{
    sim_open *o = (sim_open *)file;
    return sim_find(o->sim, path) == o->file;
}

static inline int sim_io_remote(void *file)
{
    (void)file;
    return 0;
}

static inline vtag_err sim_io_random(void *ctx, void *p, size_t n)
{
    sim *s = (sim *)ctx;
    uint8_t *to = (uint8_t *)p;
    size_t i;
    if (sim_fails(s, SIM_RANDOM)) return s->fault.err;
    for (i = 0; i < n; i++) to[i] = (uint8_t)(sim_rand(&s->seed) >> 56);
    return VTAG_OK;
}

static inline uint64_t sim_io_now(void *ctx)
{
    sim *s = (sim *)ctx;
    return s->clock += s->tick;
}

/* ---- Life of a sim ---------------------------------------------------------- */

static inline void sim_io_fill(sim *s)
{
    vtag_io *io = &s->io;
    io->open = sim_io_open;
    io->close = sim_io_close;
    io->size = sim_io_size;
    io->allocate = sim_io_allocate;
    io->read = sim_io_read;
    io->write = sim_io_write;
    io->sync = sim_io_sync;
    io->map = sim_io_map;
    io->unmap = sim_io_unmap;
    io->lock = sim_io_lock;
    io->unlock = sim_io_unlock;
    io->locked = sim_io_locked;
    io->rename = sim_io_rename;
    io->remove = sim_io_remove;
    io->same = sim_io_same;
    io->remote = sim_io_remote;
    io->random = sim_io_random;
    io->now = sim_io_now;
    io->ctx = s;
}

static inline void sim_start(sim *s, uint64_t seed, uint64_t max)
{
    int i;
    memset(s, 0, sizeof *s);
    s->clock = UINT64_C(1700000000000);
    s->seed = seed;
    s->max = max;
    s->die_after = UINT64_MAX;
    sim_io_fill(s);
    for (i = 0; i < SIM_FILES; i++) s->file[i].live = (uint8_t *)sim_reserve((size_t)max);
}

static inline void sim_init_any(sim *s, uint64_t seed, int leaf)
{
    int i;
    sim_start(s, seed, SIM_FILE_MAX);
    s->leaf = leaf;
    for (i = 0; i < SIM_FILES; i++) {
        sim_file *f = &s->file[i];
        f->durable = leaf ? f->live : (uint8_t *)sim_reserve(SIM_FILE_MAX);
        f->stale = (uint64_t *)sim_reserve(SIM_FILE_MAX / SIM_GRAIN / 8);
        f->unsummed = (uint64_t *)sim_reserve(SIM_FILE_MAX / SIM_GRAIN / 8);
        f->sum = (uint64_t *)sim_reserve(SIM_FILE_MAX / SIM_GRAIN * 8);
    }
}

/* Makes an empty disk; release it with sim_free. */
static inline void sim_init(sim *s, uint64_t seed) { sim_init_any(s, seed, 0); }

/* Makes a disk that takes images and is not cut itself. */
static inline void sim_init_leaf(sim *s, uint64_t seed) { sim_init_any(s, seed, 1); }

/* Makes a disk for large files that never loses power: it counts and fails calls. */
static inline void sim_init_flat(sim *s, uint64_t seed, uint64_t max)
{
    sim_start(s, seed, max);
    s->flat = 1;
}

static inline void sim_free(sim *s)
{
    int i;
    for (i = 0; i < SIM_FILES; i++) {
        munmap(s->file[i].live, (size_t)s->max);
        if (s->flat) continue;
        if (!s->leaf) munmap(s->file[i].durable, SIM_FILE_MAX);
        munmap(s->file[i].stale, SIM_FILE_MAX / SIM_GRAIN / 8);
        munmap(s->file[i].unsummed, SIM_FILE_MAX / SIM_GRAIN / 8);
        munmap(s->file[i].sum, SIM_FILE_MAX / SIM_GRAIN * 8);
    }
    free(s->op);
    free(s->bytes);
    memset(s, 0, sizeof *s);
}

/* Empties the disk for another run, options kept; every file must be closed. */
static inline void sim_reset(sim *s, uint64_t seed)
{
    int i;
    for (i = 0; i < SIM_FILES; i++) {
        sim_blank(s, i, "");
        s->file[i].named = 0;
        s->file[i].pending = 0;
    }
    s->ops = s->used = 0;
    s->clock = UINT64_C(1700000000000);
    s->seed = seed;
    s->die_after = UINT64_MAX;
    s->death = NULL;
    s->broken = NULL;
    memset(&s->mark, 0, sizeof s->mark);
    memset(&s->fault, 0, sizeof s->fault);
}

/* Gives an empty disk what another has for certain. */
static inline void sim_load(sim *dst, const sim *src)
{
    int i;
    for (i = 0; i < SIM_FILES; i++) {
        const sim_file *from = &src->file[i];
        sim_file *to = &dst->file[i];
        if (!from->named) continue;
        sim_blank(dst, i, from->path);
        if (to->high < from->high) to->high = from->high;
        memcpy(to->live, from->durable, (size_t)from->high);
        if (!dst->leaf) memcpy(to->durable, from->durable, (size_t)from->high);
        to->size = to->durable_size = from->durable_size;
        sim_stale(to, 0, to->high);
        sim_changed(dst, i, 0, to->high);
    }
}

/* A process is gone: its locks fall and its files are closed; what it wrote stays in
 * the page cache. Nothing may use its handles any more. */
static inline void sim_bury(sim *s, int process)
{
    int i;
    for (i = 0; i < SIM_OPENS; i++)
        if (s->open[i] && s->open[i]->process == process) sim_io_close(s->open[i]);
}

/* The process that uses the disk dies: its locks fall, its file objects are of no
 * more use, what it wrote stays in the page cache. */
static inline void sim_kill(sim *s)
{
    int i;
    for (i = 0; i < SIM_OPENS; i++)
        if (s->open[i]) {
            sim_drop_locks(s->open[i]);
            s->open[i]->dead = 1;
        }
}

static inline void sim_zero_counts(sim *s)
{
    memset(s->calls, 0, sizeof s->calls);
    s->written = s->read = 0;
}

/* ---- Power cuts ------------------------------------------------------------- */

typedef enum sim_cut {
    SIM_NONE,      /* nothing since the last sync reached the disk              */
    SIM_ALL,       /* everything did                                            */
    SIM_SUBSET,    /* each operation or not, by chance                          */
    SIM_ONLY_ONE,  /* one alone                                                 */
    SIM_BUT_ONE,   /* all but one                                               */
    SIM_REORDERED, /* the newer half before the older, cut off somewhere        */
    SIM_TORN,      /* a prefix of the operations, the last torn at a byte       */
    SIM_SECTORS,   /* of every write only some 512-byte sectors                 */
    SIM_SHREDDED,  /* of every write all, nothing, or a prefix                  */
    SIM_GARBAGE,   /* everything, or a subset, but some sectors hold garbage    */
    SIM_KILLED,    /* no cut: the process died; all is seen, and still pending  */
    SIM_CUTS
} sim_cut;

static inline const char *sim_cut_name(sim_cut cut)
{
    static const char *const name[SIM_CUTS] = {
        "none", "all", "subset", "only one", "all but one", "reordered", "torn",
        "sectors", "shredded", "garbage", "killed"
    };
    return name[cut];
}

/* Makes a file of dst equal to the durable one of src. */
static inline void sim_refresh(sim *dst, sim *src, int file)
{
    sim_file *to = &dst->file[file];
    sim_file *from = &src->file[file];
    uint64_t high = to->high > from->high ? to->high : from->high;
    uint64_t word, words = (high + SIM_GRAIN * 64 - 1) / (SIM_GRAIN * 64);
    sim_sum_file(from);
    for (word = 0; word < words; word++) {
        uint64_t bits = to->stale[word];
        for (; bits; bits &= bits - 1) {
            uint64_t grain = word * 64 + (uint64_t)__builtin_ctzll(bits), at = grain * SIM_GRAIN;
            memcpy(to->live + at, from->durable + at, SIM_GRAIN);
            if (!dst->leaf) memcpy(to->durable + at, from->durable + at, SIM_GRAIN);
            if (dst->child[0]) sim_stale(&dst->child[0]->file[file], at, SIM_GRAIN);
            sim_set_sum(to, grain, from->sum[grain]);
        }
        to->stale[word] = to->unsummed[word] = 0;
    }
    to->high = high;
    to->size = to->durable_size = from->durable_size;
    to->named = from->named;
    to->pending = 0;
    memcpy(to->path, from->path, SIM_PATH);
}

/* Lays n bytes of an operation of src onto both images of dst. */
static inline void sim_keep_part(sim *dst, const sim *src, const sim_op *op, uint64_t skip,
                                 uint64_t n)
{
    sim_file *f = &dst->file[op->file];
    uint64_t at = op->at + skip;
    int changed = sim_land(dst, op->file, op, src->bytes, skip, n);
    f->size = f->durable_size;
    if (!changed) return;
    if (n > f->size - at) n = f->size - at;
    if (!dst->leaf) memcpy(f->live + at, f->durable + at, (size_t)n);
    sim_stale(f, at, n);
}

static inline void sim_keep_op(sim *dst, const sim *src, size_t i)
{
    sim_keep_part(dst, src, &src->op[i], 0, src->op[i].size);
}

static inline void sim_keep_sectors(sim *dst, const sim *src, const sim_op *op, uint64_t *seed)
{
    uint64_t skip = 0, n;
    if (op->kind != SIM_WRITE) {
        sim_keep_part(dst, src, op, 0, 0);
        return;
    }
    for (; skip < op->size; skip += n) {
        n = SIM_GRAIN - (op->at + skip) % SIM_GRAIN;
        if (n > op->size - skip) n = op->size - skip;
        if (sim_rand(seed) % 4) sim_keep_part(dst, src, op, skip, n);
    }
}

static inline void sim_shred(sim *dst, const sim *src, const sim_op *op, uint64_t *seed)
{
    uint64_t how = sim_rand(seed) % 3;
    if (how == 0) sim_keep_part(dst, src, op, 0, op->size);
    if (how == 1) sim_keep_part(dst, src, op, 0, sim_rand(seed) % (op->size + 1));
}

/* The operations that a power cut may lose, oldest first. */
static inline size_t sim_pending(const sim *s, size_t *out, size_t cap)
{
    size_t i, n = 0;
    for (i = 0; i < s->ops && n < cap; i++) {
        const sim_op *op = &s->op[i];
        const sim_file *f = &s->file[op->file];
        if (op->kind > SIM_ALLOCATE || i < f->pending || !f->named) continue;
        out[n++] = i;
    }
    return n;
}

/* False where the cut leaves, for certain, the same disk as another or an earlier one. */
static inline int sim_cut_differs(const sim *s, sim_cut cut)
{
    size_t some[2], n = sim_pending(s, some, 2);
    int wrote = s->ops && s->op[s->ops - 1].kind <= SIM_ALLOCATE;
    if (cut == SIM_NONE) return !wrote;
    return n > 1 || (n == 1 && (cut < SIM_SUBSET || cut > SIM_REORDERED));
}

/* Fills one sector of a write with garbage, whether or not the bytes there would have
 * changed: on sound media only what the write covers of it; with `any`, all of it. */
static inline void sim_spoil(sim *dst, const sim_op *op, int any, uint64_t *seed)
{
    sim_file *f = &dst->file[op->file];
    uint64_t sectors = (op->at + op->size + SIM_GRAIN - 1) / SIM_GRAIN - op->at / SIM_GRAIN;
    uint64_t at = (op->at / SIM_GRAIN + sim_rand(seed) % sectors) * SIM_GRAIN, end = at + SIM_GRAIN;
    size_t i;
    if (end > f->size) return;
    if (!any && at < op->at) at = op->at;
    if (!any && end > op->at + op->size) end = op->at + op->size;
    for (i = 0; i < end - at; i++) f->live[at + i] = (uint8_t)(sim_rand(seed) >> 48);
    if (end > f->high) f->high = end;
    if (!dst->leaf) memcpy(f->durable + at, f->live + at, (size_t)(end - at));
    sim_stale(f, at, end - at);
    sim_changed(dst, op->file, at, end - at);
}

/* Of the write picked, and perhaps of some others. */
static inline void sim_spoil_some(sim *dst, const sim *src, const size_t *op, size_t n, size_t pick,
                                  int any, uint64_t *seed)
{
    uint64_t others = sim_rand(seed) % 2;
    size_t i;
    for (i = 0; i < n; i++) {
        const sim_op *o = &src->op[op[i]];
        if (o->kind != SIM_WRITE || (i != pick && (!others || sim_rand(seed) % 4))) continue;
        sim_spoil(dst, o, any, seed);
    }
}

/* Keeps the newer operations, newest half first, then some of the older. */
static inline void sim_reorder(sim *dst, const sim *src, const size_t *op, size_t n, uint64_t *seed)
{
    size_t from = (size_t)(sim_rand(seed) % n), some = (size_t)(sim_rand(seed) % (from + 1)), i;
    for (i = 0; i < n; i++)
        if (src->op[op[i]].kind == SIM_ALLOCATE) sim_keep_op(dst, src, op[i]);
    for (i = 0; i < some; i++) sim_keep_op(dst, src, op[i]);
    for (i = from; i < n; i++) sim_keep_op(dst, src, op[i]);
}

/* Hands on what is pending, to be lost or not by a later cut. */
static inline void sim_hand_on(sim *dst, const sim *src, const size_t *op, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        const sim_op *o = &src->op[op[i]];
        const uint8_t *bytes = src->bytes + o->bytes;
        if (o->kind == SIM_WRITE) sim_put_bytes(dst, o->file, o->at, bytes, o->size);
        else if (o->size > dst->file[o->file].size) sim_extend(dst, o->file, o->size);
    }
}

/* Makes dst, the child of src, the disk that a power cut of that kind finds, with
 * the choices that the seed makes. `any_sector`: media that garble torn sectors. */
static inline void sim_image(sim *dst, sim *src, sim_cut cut, int any_sector, uint64_t seed)
{
    static size_t op[SIM_PENDING];
    size_t n = sim_pending(src, op, SIM_PENDING), i, pick;
    int f, some;
    if ((src->child[0] != dst && src->child[1] != dst) || dst->child[1] || dst->opens) abort();
    for (f = 0; f < SIM_FILES; f++) sim_refresh(dst, src, f);
    dst->ops = dst->used = 0;
    dst->clock = src->clock;
    dst->seed = seed ^ UINT64_C(0x5DEECE66D);
    dst->die_after = UINT64_MAX;
    dst->broken = NULL;
    memset(&dst->fault, 0, sizeof dst->fault);
    pick = n ? (size_t)(sim_rand(&seed) % n) : 0;
    some = (int)(sim_rand(&seed) % 2);
    if (cut == SIM_KILLED) {
        sim_hand_on(dst, src, op, n);
        return;
    }
    for (i = 0; i < n && cut != SIM_REORDERED; i++) {
        const sim_op *o = &src->op[op[i]];
        if (cut == SIM_NONE) break;
        if (cut == SIM_SUBSET && sim_rand(&seed) % 2) continue;
        if (cut == SIM_GARBAGE && some && i != pick && sim_rand(&seed) % 2) continue;
        if (cut == SIM_BUT_ONE && i == pick) continue;
        if (cut == SIM_ONLY_ONE && i != pick && o->kind != SIM_ALLOCATE) continue;
        if (cut == SIM_SECTORS) sim_keep_sectors(dst, src, o, &seed);
        else if (cut == SIM_SHREDDED) sim_shred(dst, src, o, &seed);
        else if (cut != SIM_TORN || i < pick) sim_keep_op(dst, src, op[i]);
        else if (i == pick) sim_keep_part(dst, src, o, 0, sim_rand(&seed) % (o->size + 1));
    }
    if (cut == SIM_REORDERED && n) sim_reorder(dst, src, op, n, &seed);
    if (cut == SIM_GARBAGE) sim_spoil_some(dst, src, op, n, pick, any_sector, &seed);
}

/* Overwrites a sector of a disk at rest, as decay would. */
static inline void sim_rot(sim *s, const char *path, uint64_t at, uint64_t seed)
{
    int file = sim_find(s, path);
    sim_file *f = &s->file[file < 0 ? 0 : file];
    size_t i;
    if (file < 0 || at + SIM_GRAIN > f->size) return;
    for (i = 0; i < SIM_GRAIN; i++) f->live[at + i] = seed ? (uint8_t)(sim_rand(&seed) >> 48) : 0;
    if (!s->leaf) memcpy(f->durable + at, f->live + at, SIM_GRAIN);
    sim_stale(f, at, SIM_GRAIN);
    sim_changed(s, file, at, SIM_GRAIN);
}

#endif
