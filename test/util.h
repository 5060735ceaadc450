/* util.h - what the engine's tests share: a disk in memory with a fake clock, short
   ways to say a batch, a hash of everything a snapshot shows, and the
   score rule of the format written a second time, in plain C.
   Include it after vtag.h (with VTAG_IMPLEMENTATION) and test.h. */
#ifndef VTAG_TEST_UTIL_H
#define VTAG_TEST_UTIL_H
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DAY_MS 86400000ull
#define HOUR_MS 3600000ull
#define LENGTH(a) (sizeof(a) / sizeof *(a))

/* ---- Random vectors --------------------------------------------------------- */

/* In [-1, 1) in steps of 2 / coarse, so that few steps make ties. */
static inline float coarse_float(uint64_t *seed, uint32_t coarse)
{
    return (float)((double)t_below(seed, coarse) * 2.0 / coarse - 1.0);
}

/* Never a zero vector. */
static inline void random_vector(uint64_t *seed, float *x, size_t n, uint32_t coarse)
{
    size_t i;
    for (i = 0; i < n; i++) x[i] = coarse_float(seed, coarse);
    x[0] = x[0] < 0 ? -1.f : 1.f;
}

/* ---- A disk in memory ------------------------------------------------------ */

#define RAM_CAP (64u << 20)
#define RAM_NAMES 8

typedef struct ram_node { /* a file's content; lives while named or open */
    uint8_t *p;           /* RAM_CAP addresses, of which [0, bytes) may be touched */
    uint8_t *touched;     /* 1 where more than zeros was written, when the disk tracks */
    uint64_t bytes;
    int      named, opens;
    void    *owner[3];    /* of its locks */
} ram_node;

typedef struct ram {
    vtag_io   io;
    ram_node *node[RAM_NAMES];
    char      name[RAM_NAMES][64];
    uint64_t  clock, random;                 /* Unix ms; state of the generator */
    uint64_t  syncs, writes, bytes_written;  /* counted since the last reset    */
    uint64_t  limit;                         /* the disk is full beyond; 0: RAM_CAP */
    int       track;                         /* remember the bytes written      */
    int       opens;                         /* file objects alive              */
} ram;

typedef struct ram_file { ram *r; ram_node *node; int readonly; } ram_file;

static inline int ram_slot(const ram *r, const char *path)
{
    int i;
    for (i = 0; i < RAM_NAMES; i++)
        if (r->node[i] && !strcmp(r->name[i], path)) return i;
    return -1;
}

static inline void ram_node_drop(ram_node *node)
{
    if (node->named || node->opens) return;
    munmap(node->p, RAM_CAP);
    free(node->touched);
    free(node);
}

/* Reading past the end of a file is a fault, as with a mapping of the system. */
static inline void ram_grow(ram_node *node, uint64_t bytes)
{
    if (bytes <= node->bytes) return;
    if (mprotect(node->p, (size_t)(bytes + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE)) abort();
    node->bytes = bytes;
}

static inline int ram_create(ram *r, const char *path)
{
    ram_node *node = calloc(1, sizeof *node);
    int i;
    for (i = 0; i < RAM_NAMES && r->node[i]; i++) { }
    if (i == RAM_NAMES || !node || strlen(path) >= sizeof r->name[i]) abort();
    node->p = mmap(NULL, RAM_CAP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (node->p == MAP_FAILED) abort();
    node->touched = r->track ? calloc(1, RAM_CAP) : NULL;
    node->named = 1;
    r->node[i] = node;
    strcpy(r->name[i], path);
    return i;
}

static inline vtag_err ram_open_file(void *ctx, const char *path, vtag_access access, void **file)
{
    ram *r = ctx;
    ram_file *f;
    int i = ram_slot(r, path);
    if (i >= 0 && access == VTAG_NEW) return VTAG_EXISTS;
    if (i < 0 && (access == VTAG_READ || access == VTAG_EXISTING)) return VTAG_NOTFOUND;
    if (i < 0) i = ram_create(r, path);
    f = calloc(1, sizeof *f);
    if (!f) return VTAG_NOMEM;
    f->r = r;
    f->node = r->node[i];
    f->readonly = access == VTAG_READ;
    f->node->opens++;
    r->opens++;
    *file = f;
    return VTAG_OK;
}

static inline void ram_close_file(void *file)
{
    ram_file *f = file;
    int i;
    for (i = 0; i < 3; i++)
        if (f->node->owner[i] == f) f->node->owner[i] = NULL;
    f->node->opens--;
    f->r->opens--;
    ram_node_drop(f->node);
    free(f);
}

static inline vtag_err ram_size(void *file, uint64_t *bytes)
{
    *bytes = ((ram_file *)file)->node->bytes;
    return VTAG_OK;
}

static inline uint64_t ram_limit(const ram_file *f)
{
    return f->r->limit ? f->r->limit : RAM_CAP;
}

static inline vtag_err ram_allocate(void *file, uint64_t bytes)
{
    ram_file *f = file;
    if (f->readonly) return VTAG_READONLY;
    if (bytes > ram_limit(f)) return VTAG_NOSPACE;
    ram_grow(f->node, bytes);
    return VTAG_OK;
}

static inline vtag_err ram_read(void *file, uint64_t at, void *p, size_t n)
{
    ram_node *node = ((ram_file *)file)->node;
    if (at > node->bytes || n > node->bytes - at) return VTAG_IO;
    memcpy(p, node->p + at, n);
    return VTAG_OK;
}

static inline int all_zero(const void *p, size_t n)
{
    const uint8_t *b = p;
    size_t i;
    for (i = 0; i < n; i++)
        if (b[i]) return 0;
    return 1;
}

static inline vtag_err ram_write(void *file, uint64_t at, const void *p, size_t n)
{
    ram_file *f = file;
    ram_node *node = f->node;
    if (f->readonly) return VTAG_READONLY;
    if (at > ram_limit(f) || n > ram_limit(f) - at) return VTAG_NOSPACE;
    ram_grow(node, at + n);
    memcpy(node->p + at, p, n);
    if (node->touched && !all_zero(p, n)) memset(node->touched + at, 1, n);
    f->r->writes++;
    f->r->bytes_written += n;
    return VTAG_OK;
}

static inline vtag_err ram_sync(void *file)
{
    ((ram_file *)file)->r->syncs++;
    return VTAG_OK;
}

static inline vtag_err ram_map(void *file, uint64_t at, uint64_t bytes, const uint8_t **base)
{
    ram_node *node = ((ram_file *)file)->node;
    if (at % 4096 || at > node->bytes || bytes > node->bytes - at) return VTAG_IO; /* as mmap */
    *base = node->p + at;
    return VTAG_OK;
}

static inline void ram_unmap(void *file, const uint8_t *base, uint64_t bytes)
{
    (void)file; (void)base; (void)bytes;
}

static inline vtag_err ram_lock(void *file, int which, uint32_t wait_ms)
{
    ram_node *node = ((ram_file *)file)->node;
    (void)wait_ms; /* one thread: nobody could free it meanwhile */
    if (node->owner[which] && node->owner[which] != file) return VTAG_LOCKED;
    node->owner[which] = file;
    return VTAG_OK;
}

static inline void ram_unlock(void *file, int which)
{
    ram_node *node = ((ram_file *)file)->node;
    if (node->owner[which] == file) node->owner[which] = NULL;
}

static inline int ram_locked(void *file, int which)
{
    ram_node *node = ((ram_file *)file)->node;
    return node->owner[which] && node->owner[which] != file;
}

static inline vtag_err ram_remove(void *ctx, const char *path)
{
    ram *r = ctx;
    int i = ram_slot(r, path);
    if (i < 0) return VTAG_IO;
    r->node[i]->named = 0;
    ram_node_drop(r->node[i]);
    r->node[i] = NULL;
    return VTAG_OK;
}

static inline vtag_err ram_rename(void *ctx, const char *from, const char *to)
{
    ram *r = ctx;
    int i = ram_slot(r, from);
    if (i < 0) return VTAG_IO;
    if (ram_slot(r, to) >= 0 && strcmp(from, to)) ram_remove(r, to);
    strcpy(r->name[i], to);
    return VTAG_OK;
}

static inline int ram_same(void *file, const char *path)
{
    ram_file *f = file;
    int i = ram_slot(f->r, path);
    return i >= 0 && f->r->node[i] == f->node;
}

static inline int ram_remote(void *file) { (void)file; return 0; }

static inline vtag_err ram_random(void *ctx, void *p, size_t n)
{
    ram *r = ctx;
    uint8_t *b = p;
    size_t i;
    for (i = 0; i < n; i++) b[i] = (uint8_t)(t_rand(&r->random) >> 56);
    return VTAG_OK;
}

static inline uint64_t ram_now(void *ctx) { return ((ram *)ctx)->clock; }

static inline void ram_init(ram *r)
{
    memset(r, 0, sizeof *r);
    r->clock = 1800000000000u;
    r->random = 42;
    r->io.open = ram_open_file;   r->io.close = ram_close_file;
    r->io.size = ram_size;        r->io.allocate = ram_allocate;
    r->io.read = ram_read;        r->io.write = ram_write;
    r->io.sync = ram_sync;        r->io.map = ram_map;
    r->io.unmap = ram_unmap;      r->io.lock = ram_lock;
    r->io.unlock = ram_unlock;    r->io.locked = ram_locked;
    r->io.rename = ram_rename;    r->io.remove = ram_remove;
    r->io.same = ram_same;        r->io.remote = ram_remote;
    r->io.random = ram_random;    r->io.now = ram_now;
    r->io.ctx = r;
}

static inline void ram_free(ram *r)
{
    int i;
    CHECK_EQ(r->opens, 0); /* every file object was closed */
    for (i = 0; i < RAM_NAMES; i++)
        if (r->node[i]) ram_remove(r, r->name[i]);
}

static inline ram_node *ram_find(const ram *r, const char *path)
{
    int i = ram_slot(r, path);
    return i < 0 ? NULL : r->node[i];
}

static inline void ram_reset_counts(ram *r) { r->syncs = r->writes = r->bytes_written = 0; }

/* A 64-byte aligned copy of a file's bytes; *raw is what to free. */
static inline uint8_t *ram_image(const ram *r, const char *path, size_t *bytes, void **raw)
{
    ram_node *node = ram_find(r, path);
    uint8_t *p = malloc((size_t)node->bytes + 128);
    uint8_t *q = p + (64 - (uintptr_t)p % 64) % 64;
    *bytes = (size_t)node->bytes;
    *raw = p;
    memcpy(q, node->p, *bytes);
    return q;
}

/* ---- A store on such a disk -------------------------------------------------- */

typedef struct env {
    ram      r;
    vtag_db *db;
} env;

static inline vtag_db *env_open(env *e, const char *path, vtag_access access)
{
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    o.access = access;
    o.io = &e->r.io;
    MUST(vtag_open(path, &o, &db));
    return db;
}

static inline void env_up(env *e)
{
    ram_init(&e->r);
    e->db = env_open(e, "t.vtag", VTAG_NEW);
}

static inline void env_reopen(env *e)
{
    vtag_close(e->db);
    e->db = env_open(e, "t.vtag", VTAG_EXISTING);
}

static inline void env_down(env *e)
{
    vtag_close(e->db);
    ram_free(&e->r);
}

/* ---- Short ways to say things --------------------------------------------------- */

static inline vtag_batch *begin(vtag_db *db)
{
    vtag_batch *b = NULL;
    MUST(vtag_begin(db, NULL, &b));
    return b;
}

static inline vtag_snap *look(vtag_db *db)
{
    vtag_snap *s = NULL;
    MUST(vtag_snapshot(db, &s));
    return s;
}

static inline vtag_vec vec(vtag_tag tag, uint32_t dim, const float *x)
{
    vtag_vec v = {0};
    v.tag = tag;
    v.dim = dim;
    v.x = x;
    return v;
}

/* A vector of two numbers, good until 64 more have been made. */
static inline vtag_vec v2(vtag_tag tag, float a, float b)
{
    static float ring[64][2];
    static int at;
    float *x = ring[at++ & 63];
    x[0] = a;
    x[1] = b;
    return vec(tag, 2, x);
}

static inline vtag_item item_at(uint64_t id, uint64_t rev)
{
    vtag_item it;
    memset(&it, 0, sizeof it);
    it.id = id;
    it.rev = rev;
    return it;
}

static inline vtag_item item_of(uint64_t id, const char *text)
{
    vtag_item it = item_at(id, 0);
    it.data = text;
    it.size = text ? strlen(text) : 0;
    return it;
}

static inline vtag_err try_declare(vtag_batch *b, const char *name, uint32_t dim, vtag_metric m, vtag_tag *tag)
{
    vtag_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = dim;
    spec.metric = m;
    return vtag_declare(b, &spec, tag);
}

/* Declares in a batch of its own. */
static inline vtag_tag declare(vtag_db *db, const char *name, uint32_t dim, vtag_metric m)
{
    vtag_batch *b = begin(db);
    vtag_tag tag = 0;
    OK(try_declare(b, name, dim, m, &tag));
    OK(vtag_commit(b));
    return tag;
}

/* Puts an item with text (NULL: none) and up to one vector per tag; gives its revision. */
static inline uint64_t put_b(vtag_batch *b, uint64_t id, const char *text, const vtag_vec *v, size_t n)
{
    vtag_item it = item_of(id, text);
    OK(vtag_put(b, &it, v, n));
    return it.rev;
}

static inline uint64_t put(vtag_db *db, uint64_t id, const char *text, const vtag_vec *v, size_t n)
{
    vtag_batch *b = begin(db);
    uint64_t rev = put_b(b, id, text, v, n);
    OK(vtag_commit(b));
    return rev;
}

static inline uint64_t put2(vtag_db *db, uint64_t id, const char *text, vtag_tag tag, float x, float y)
{
    vtag_vec v = v2(tag, x, y);
    return put(db, id, text, &v, 1);
}

static inline vtag_err fill(vtag_db *db, uint64_t id, uint64_t rev, const vtag_vec *v, size_t n)
{
    vtag_batch *b = begin(db);
    vtag_item it = item_at(id, rev);
    vtag_err err = vtag_fill(b, &it, v, n);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err fill2(vtag_db *db, uint64_t id, uint64_t rev, vtag_tag tag, float x, float y)
{
    vtag_vec v = v2(tag, x, y);
    return fill(db, id, rev, &v, 1);
}

static inline vtag_err waive(vtag_db *db, uint64_t id, uint64_t rev, vtag_tag tag, const char *why)
{
    vtag_batch *b = begin(db);
    vtag_item it = item_at(id, rev);
    vtag_err err = vtag_waive(b, &it, tag, why);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err del(vtag_db *db, uint64_t id)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_del(b, id);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err cutover(vtag_db *db, vtag_tag tag, const vtag_gate *gate, vtag_verdict *verdict)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_cutover(b, tag, gate, verdict);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err rollback(vtag_db *db, vtag_tag to, vtag_cover *hidden)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_rollback(b, to, hidden);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err retire(vtag_db *db, vtag_tag tag, const char *reason, vtag_cover *lost)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_retire(b, tag, reason, lost);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err set_policy(vtag_db *db, const vtag_policy *policy, const char *reason)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_policy_set(b, policy, reason);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_err note(vtag_db *db, const vtag_event *event)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_note(b, event);
    OK(vtag_commit(b));
    return err;
}

static inline vtag_info info_of(vtag_db *db, vtag_tag tag)
{
    vtag_info info;
    vtag_snap *s = look(db);
    memset(&info, 0, sizeof info);
    OK(vtag_tag_info(s, tag, &info));
    vtag_release(s);
    memset(&info.spec, 0, sizeof info.spec); /* its pointers died with the snapshot */
    return info;
}

static inline vtag_role role_of(vtag_db *db, vtag_tag tag) { return info_of(db, tag).role; }

static inline vtag_stat stat_of(vtag_db *db)
{
    vtag_stat st;
    vtag_snap *s = look(db);
    memset(&st, 0, sizeof st);
    OK(vtag_stats(s, &st));
    vtag_release(s);
    return st;
}

static inline vtag_cover cover_of(vtag_db *db, vtag_tag tag, vtag_tag base)
{
    vtag_cover c;
    vtag_snap *s = look(db);
    memset(&c, 0, sizeof c);
    OK(vtag_coverage(s, tag, base, &c));
    vtag_release(s);
    return c;
}

static inline vtag_err judge(vtag_db *db, vtag_tag tag, const vtag_gate *gate, vtag_verdict *v)
{
    vtag_snap *s = look(db);
    vtag_err err = vtag_judge(s, tag, gate, v);
    vtag_release(s);
    return err;
}

/* How many items are in one of states under tag. */
static inline size_t count_items(const vtag_snap *s, vtag_tag tag, uint32_t states)
{
    vtag_item it[16];
    uint64_t cursor = 0;
    size_t n, sum = 0;
    do {
        OK(vtag_items(s, tag, states, &cursor, it, LENGTH(it), &n));
        sum += n;
    } while (n);
    return sum;
}

/* An item's state under a tag; 0: there is no such item. */
static inline uint32_t state_in(const vtag_snap *s, uint64_t id, vtag_tag tag)
{
    vtag_item it[16];
    uint64_t cursor = 0;
    size_t i, n;
    do {
        OK(vtag_items(s, tag, VTAG_ALL, &cursor, it, LENGTH(it), &n));
        for (i = 0; i < n; i++)
            if (it[i].id == id) return it[i].state;
    } while (n);
    return 0;
}

static inline uint32_t state_of(vtag_db *db, uint64_t id, vtag_tag tag)
{
    vtag_snap *s = look(db);
    uint32_t state = state_in(s, id, tag);
    vtag_release(s);
    return state;
}

static inline size_t pending_of(vtag_db *db, vtag_tag tag)
{
    vtag_snap *s = look(db);
    size_t n = count_items(s, tag, VTAG_PENDING);
    vtag_release(s);
    return n;
}

/* The newest history line of a kind; seq 0 when there is none. Its strings are gone. */
static inline vtag_event newest_event(vtag_db *db, vtag_kind kind)
{
    vtag_event ev, found;
    vtag_snap *s = look(db);
    uint64_t cursor = 0;
    size_t n;
    memset(&found, 0, sizeof found);
    for (;;) {
        OK(vtag_history(s, &cursor, &ev, 1, &n));
        if (!n) break;
        if (ev.kind == kind) found = ev;
    }
    vtag_release(s);
    found.name = found.text = NULL;
    found.used.score = found.used.reason = NULL;
    return found;
}

static inline vtag_report verify(vtag_db *db)
{
    vtag_report rep;
    vtag_snap *s = look(db);
    memset(&rep, 0, sizeof rep);
    OK(vtag_verify(s, &rep, NULL, NULL));
    CHECK_EQ(rep.bad, 0);
    vtag_release(s);
    return rep;
}

/* ---- A hash of everything that a snapshot shows ---------------------------------- */

typedef struct digest { uint64_t h; } digest;

static inline void sum_u64(digest *m, uint64_t v)
{
    m->h ^= v;
    m->h = t_rand(&m->h);
}

static inline void sum_bytes(digest *m, const void *p, size_t n)
{
    const uint8_t *b = p;
    size_t i;
    sum_u64(m, n);
    for (i = 0; i < n; i++) sum_u64(m, b[i]);
}

static inline void sum_text(digest *m, const char *s)
{
    sum_bytes(m, s ? s : "", s ? strlen(s) + 1 : 0);
}

static inline void sum_double(digest *m, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    sum_u64(m, u);
}

static inline void sum_gate(digest *m, const vtag_gate *g)
{
    sum_u64(m, g->min_ppm);
    sum_u64(m, g->max_waived_ppm);
    sum_u64(m, g->max_age_ms);
    sum_text(m, g->score);
    sum_double(m, g->min_score);
    sum_double(m, g->max_drop);
    sum_u64(m, (uint64_t)(g->has_min != 0) * 2 + (g->has_drop != 0));
    sum_u64(m, g->min_queries);
    sum_text(m, g->reason);
}

static inline void sum_cover(digest *m, const vtag_cover *c)
{
    sum_u64(m, c->base);
    sum_u64(m, c->fresh);
    sum_u64(m, c->stale);
    sum_u64(m, c->missing);
    sum_u64(m, c->waived);
    sum_u64(m, c->outside);
    sum_u64(m, c->extra);
    sum_u64(m, c->oldest);
}

static inline void sum_info(digest *m, const vtag_info *t)
{
    sum_u64(m, t->tag);
    sum_text(m, t->spec.name);
    sum_u64(m, t->spec.dim);
    sum_u64(m, (uint64_t)t->spec.metric);
    sum_u64(m, t->spec.fingerprint);
    sum_u64(m, t->spec.flags);
    sum_text(m, t->spec.note ? t->spec.note : "");
    sum_u64(m, (uint64_t)t->role);
    sum_u64(m, t->created);
    sum_u64(m, t->activated);
    sum_u64(m, t->writes_with);
    sum_u64(m, t->writes_without);
    sum_u64(m, (uint64_t)(t->forced != 0));
    if (t->alias) sum_text(m, t->alias);
    if (t->role == VTAG_GONE) return; /* what is left of it depends on compaction */
    sum_u64(m, t->items);
    sum_u64(m, t->rows);
    if (t->written) sum_u64(m, t->written);
}

static inline void sum_vectors(digest *m, const vtag_snap *s, uint64_t id, const vtag_info *t)
{
    vtag_row row = {0};
    uint32_t part = 0;
    float *x = malloc(t->spec.dim * sizeof *x);
    while (vtag_vector(s, id, t->tag, part, x, t->spec.dim, &row) == VTAG_OK) {
        sum_bytes(m, x, t->spec.dim * sizeof *x);
        sum_u64(m, row.rev);
        sum_u64(m, row.off);
        sum_u64(m, row.len);
        sum_u64(m, row.parts);
        part++;
    }
    CHECK_EQ(part, part ? row.parts : 0);
    free(x);
}

static inline void sum_items(digest *m, const vtag_snap *s, const vtag_info *t)
{
    vtag_item it[32];
    uint64_t cursor = 0;
    size_t i, n;
    do {
        OK(vtag_items(s, t ? t->tag : 0, VTAG_ALL, &cursor, it, LENGTH(it), &n));
        for (i = 0; i < n; i++) {
            sum_u64(m, it[i].id);
            sum_text(m, it[i].key);
            sum_u64(m, it[i].rev);
            sum_u64(m, it[i].time);
            sum_bytes(m, it[i].data, it[i].size);
            sum_u64(m, it[i].state);
            sum_text(m, it[i].why);
            if (t) sum_vectors(m, s, it[i].id, t);
        }
    } while (n);
}

static inline void sum_tags(digest *m, const vtag_snap *s)
{
    vtag_info t;
    uint64_t cursor = 0;
    size_t n;
    for (;;) {
        OK(vtag_tags(s, &cursor, &t, 1, &n));
        if (!n) break;
        sum_info(m, &t);
        if (t.role != VTAG_GONE) sum_items(m, s, &t);
    }
}

/* What came to events with version 3 of the format. */
static inline void sum_more(digest *m, const vtag_event *ev)
{
    sum_text(m, ev->by);
    sum_text(m, ev->command);
    sum_u64(m, ev->in);
    sum_u64(m, ev->filled);
    sum_u64(m, ev->waived);
    sum_u64(m, ev->failed_items);
    sum_u64(m, ev->audit.sampled);
    sum_u64(m, ev->audit.untestable);
    sum_u64(m, ev->audit.below);
    sum_double(m, ev->audit.worst);
    sum_u64(m, ev->audit.from);
    sum_u64(m, ev->audit.to);
    if (ev->audit.written) sum_u64(m, ev->audit.written);
}

static inline void sum_history(digest *m, const vtag_snap *s)
{
    vtag_event ev;
    uint64_t cursor = 0;
    size_t n;
    for (;;) {
        OK(vtag_history(s, &cursor, &ev, 1, &n));
        if (!n) break;
        if (ev.kind == VTAG_K_COMPACTED) continue;
        sum_u64(m, ev.time);
        sum_u64(m, (uint64_t)ev.kind);
        sum_u64(m, (uint64_t)ev.tag << 32 | ev.base);
        sum_double(m, ev.value);
        sum_double(m, ev.base_value);
        sum_u64(m, ev.queries);
        sum_u64(m, ev.commit);
        sum_u64(m, (uint64_t)ev.flags << 32 | ev.failed);
        sum_gate(m, &ev.used);
        sum_cover(m, &ev.cover);
        sum_text(m, ev.name ? ev.name : "");
        sum_text(m, ev.text ? ev.text : "");
        if (ev.by || ev.command || ev.in || ev.audit.sampled) sum_more(m, &ev);
    }
}

static inline void sum_metas(digest *m, const vtag_snap *s)
{
    const char *name;
    const void *p;
    uint64_t cursor = 0;
    size_t n, bytes;
    for (;;) {
        OK(vtag_metas(s, &cursor, &name, 1, &n));
        if (!n) break;
        OK(vtag_meta_get(s, name, &p, &bytes));
        sum_text(m, name);
        sum_bytes(m, p, bytes);
    }
}

static inline void sum_policy(digest *m, const vtag_snap *s)
{
    vtag_policy p;
    memset(&p, 0, sizeof p);
    OK(vtag_policy_get(s, &p));
    sum_gate(m, &p.gate);
    sum_u64(m, p.retain_ms);
    sum_u64(m, p.retain_scores);
    sum_text(m, p.hold);
}

/* Items, vectors, tags, states, metadata, policy, history and counters: what compaction,
   copy and restore must keep. Where bytes lie, and COMPACTED lines, are left out. */
static inline uint64_t content_hash(const vtag_snap *s)
{
    digest m = {1};
    vtag_stat st;
    memset(&st, 0, sizeof st);
    OK(vtag_stats(s, &st));
    sum_u64(&m, st.revision);
    sum_u64(&m, st.items);
    sum_u64(&m, st.rows);
    sum_u64(&m, (uint64_t)st.active << 32 | st.standby);
    sum_u64(&m, (uint64_t)(st.rolled_back != 0));
    sum_items(&m, s, NULL);
    sum_tags(&m, s);
    sum_history(&m, s);
    sum_metas(&m, s);
    sum_policy(&m, s);
    return m.h;
}

static inline uint64_t hash_of(vtag_db *db)
{
    vtag_snap *s = look(db);
    uint64_t h = content_hash(s);
    vtag_release(s);
    return h;
}

/* ---- The score rule, a second time (FORMAT.md, "Scores") -------------------------- */

/* Sixteen lanes by index modulo 16, then folded by halves. */
static inline double rule_fold(double lane[16])
{
    int h, j;
    for (h = 8; h; h /= 2)
        for (j = 0; j < h; j++) lane[j] += lane[j + h];
    return lane[0];
}

static inline double rule_dot(const float *x, const float *y, uint32_t dim)
{
    double lane[16] = {0};
    uint32_t i;
    for (i = 0; i < dim; i++) lane[i % 16] += (double)x[i] * (double)y[i];
    return rule_fold(lane);
}

static inline double rule_l2sq(const float *x, const float *y, uint32_t dim)
{
    double lane[16] = {0};
    uint32_t i;
    for (i = 0; i < dim; i++) {
        volatile float d = x[i] - y[i]; /* rounded to float before it is squared */
        lane[i % 16] += (double)d * (double)d;
    }
    return rule_fold(lane);
}

static inline float rule_norm(const float *x, uint32_t dim)
{
    return (float)sqrt(rule_dot(x, x, dim));
}

static inline float rule_dist(vtag_metric m, const float *x, const float *y, uint32_t dim)
{
    double d;
    if (m == VTAG_L2SQ) d = rule_l2sq(x, y, dim);
    else if (m == VTAG_DOT) d = -rule_dot(x, y, dim);
    else d = 1.0 - rule_dot(x, y, dim) / ((double)rule_norm(x, dim) * (double)rule_norm(y, dim));
    if (m == VTAG_COSINE && !(d > 0)) d = 0;
    if (d > (double)FLT_MAX) d = (double)FLT_MAX;
    if (d < -(double)FLT_MAX) d = -(double)FLT_MAX;
    return (float)d + 0.0f; /* never -0 */
}

static inline int hit_before(const vtag_hit *a, const vtag_hit *b)
{
    if (a->dist < b->dist || a->dist > b->dist) return a->dist < b->dist;
    if (a->id != b->id) return a->id < b->id;
    return a->part < b->part;
}

static inline int hit_compare(const void *a, const void *b)
{
    return hit_before(a, b) ? -1 : hit_before(b, a);
}

/* Same ids, parts, marks, and the same bits of distance. */
static inline int same_hits(const vtag_hit *a, size_t n, const vtag_hit *b, size_t m)
{
    size_t i;
    if (n != m) return 0;
    for (i = 0; i < n; i++)
        if (a[i].id != b[i].id || a[i].part != b[i].part || a[i].stale != b[i].stale ||
            memcmp(&a[i].dist, &b[i].dist, sizeof a[i].dist)) return 0;
    return 1;
}

#endif
