/* fuzz_image.c - hostile files: structures of a good image spoilt, their checksums mended

   An input is a script: which image, what is done with it, and changes
   {action and kind, which structure, offset, value}, so that every input reaches past
   the checksums. The file must be an answer: no access outside it, no write by a
   reader; and where no checksum was mended and verify calls it good, a writer leaves it
   good, and the same when read again. */
#ifndef FUZZ_IMAGE_C
#define FUZZ_IMAGE_C
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#endif
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "content.h"
#include "fuzz_disk.h"
#include "hostile.h"

/* ---- The images ----------------------------------------------------------------------- */

enum {
    FI_CHURNED, FI_SEALED, FI_COMPACT, FI_PENDING, FI_PADDED, FI_REDO, FI_LINKED, FI_EMPTY,
    FI_SKETCHED, FI_IMAGES
};

typedef struct fi_image { disk_file *file; places w; } fi_image;

static fi_image fi_images[FI_IMAGES];

static void fi_keep(fi_image *m, const uint8_t *p, size_t n)
{
    uint8_t *base = malloc(n);
    if (!base) abort();
    memcpy(base, p, n);
    m->file = disk_file_new(base, n);
    find_places(&m->w, m->file->p, n);
}

/* Each changes something. */
static void fi_commits(env *e, int from, int to)
{
    for (; from < to; from++)
        put2(e->db, (uint64_t)from % 20, from % 3 ? "more of it" : "less", 1u << 20 | 1u << 8 | 1u, 1, (float)from);
}

/* The file as a crash leaves it before the last commit's superblock was written. */
static void fi_pending(env *e, int pad)
{
    vtag_open_opts o = {0};
    uint8_t slots[2][512], *p;
    int i;
    ram_init(&e->r);
    o.io = &e->r.io;
    o.pad_sectors = pad;
    MUST(vtag_open("t.vtag", &o, &e->db));
    declare(e->db, "m@1", 2, VTAG_COSINE);
    fi_commits(e, 0, 5);
    p = ram_find(&e->r, "t.vtag")->p;
    for (i = 0; i < 2; i++) memcpy(slots[i], p + VTF_SLOT_AT(i), 512);
    fi_commits(e, 5, 7);
    for (i = 0; i < 2; i++) memcpy(p + VTF_SLOT_AT(i), slots[i], 512);
}

enum { FI_WIDE = 200, FI_ROWS = 40 };

static void fi_vector(uint64_t seed, float *x, uint32_t dim)
{
    uint32_t i;
    for (i = 0; i < dim; i++) x[i] = (float)(fuzz_rand(&seed) % 2000 + 1) / 1000 - 1;
}

static void fi_put(env *e, uint64_t id, vtag_tag tag, uint32_t dim)
{
    float x[FI_WIDE];
    vtag_vec v = vec(tag, dim, x);
    fi_vector(id, x, dim);
    put(e->db, id, NULL, &v, 1);
}

/* Sketches of all segments, few as their rows are. */
static void fi_sketch(env *e)
{
    vtag_snap *s = look(e->db);
    size_t i;
    for (i = 0; i < s->state->rows.n; i++) {
        vt_sealer l;
        int moved;
        MUST(vt_sealer_begin(&l, e->db->kernels, s->state, (uint32_t)i));
        vt_sealer_work(&l);
        MUST(vt_db_sketch(e->db, s->state, &l, &moved));
    }
    vtag_release(s);
}

/* A tag of each metric with a sketch, dead rows, and rows behind the sketch. */
static void fi_sketched(env *e)
{
    static const uint32_t dims[] = {3, FI_WIDE, 2};
    static const char *const names[] = {"m@1", "m@2", "m@3"};
    vtag_tag tag[3];
    uint64_t id;
    int i;
    env_up(e);
    for (i = 0; i < 3; i++) {
        tag[i] = declare(e->db, names[i], dims[i], (vtag_metric)i);
        for (id = 0; id < FI_ROWS; id++) fi_put(e, id, tag[i], dims[i]);
    }
    fi_sketch(e);
    for (i = 0; i < 3; i++)
        for (id = FI_ROWS - 5; id < FI_ROWS + 5; id++) fi_put(e, id, tag[i], dims[i]);
    OK(del(e->db, 7));
}

static void fi_make(int which)
{
    env e;
    ram_node *node;
    if (which == FI_SKETCHED) fi_sketched(&e);
    else if (which == FI_PENDING || which == FI_PADDED) fi_pending(&e, which == FI_PADDED);
    else if (which == FI_EMPTY) env_up(&e);
    else store_up(&e, which != FI_LINKED);
    if (which == FI_SEALED) OK(vtag_seal(e.db, NULL, NULL));
    if (which == FI_COMPACT) OK(vtag_compact(e.db, NULL, NULL));
    if (which == FI_SEALED || which == FI_COMPACT) fi_commits(&e, 3, 5);
    if (which == FI_LINKED) fi_commits(&e, 0, 90);
    node = ram_find(&e.r, "t.vtag");
    fi_keep(&fi_images[which], node->p, node->bytes);
    env_down(&e);
}

/* A recovery of the padded file that dies once it has named its copy in a slot. */
static void fi_make_redo(void)
{
    disk *d = disk_get();
    uint64_t changes;
    for (changes = 1;; changes++) {
        disk_file *f = fi_images[FI_PADDED].file;
        vtag_db *db;
        vtag_batch *b;
        disk_reset(d, f);
        d->dying = changes;
        db = disk_db(d, "t.vtag", VTAG_EXISTING, 0);
        if (db && !vtag_begin(db, NULL, &b)) vtag_abort(b);
        vtag_close(db);
        if (!slot_of(f->p, 1)->redo_n) continue;
        fi_keep(&fi_images[FI_REDO], f->p, f->size);
        return;
    }
}

static void fi_make_all(void)
{
    int i;
    if (fi_images[0].file) return;
    for (i = 0; i < FI_IMAGES; i++)
        if (i != FI_REDO) fi_make(i);
    fi_make_redo();
    FUZZ_MUST(!t_.failed);
}

/* ---- Spoiling --------------------------------------------------------------------------- */

static void fi_writes(void *ctx, size_t at, size_t n) { disk_poke(ctx, at, n); }

static void fi_copy(places *w, const place *x, uint32_t kind, uint32_t which)
{
    const place *y = &w->a[w->of[kind][which % w->ofs[kind]]];
    memmove(w->p + x->at, w->p + y->at, x->bytes < y->bytes ? x->bytes : y->bytes);
}

/* One change; the action is in the low three bits, the kind of structure above. */
static void fi_spoil(fuzz_in *in, places *w, disk_file *f)
{
    uint32_t action = fuzz_u8(in), kinds = w->ofs[P_SKETCH] ? P_KINDS : P_SKETCH; /* the last */
    uint32_t kind = (action >> 3) % kinds, which = fuzz_u8(in), at, i;
    uint64_t v;
    place *x;
    if (!w->ofs[kind]) return;
    x = &w->a[w->of[kind][which % w->ofs[kind]]];
    at = (x->bytes > 1024 ? fuzz_u16(in) : fuzz_u8(in)) * 4 % x->bytes;
    x->spoilt = 1;
    disk_poke(f, x->at, x->bytes + 8);
    memcpy(&v, w->p + x->at + at, 8);
    switch (action & 7) {
    case 0: memset(&v, (int)fuzz_u8(in), 1); break;
    case 1: v = (v & ~0xFFFFull) | fuzz_u16(in); break;
    case 2: v = (v >> 32 << 32) | fuzz_take(in, 4); break;
    case 3: v = fuzz_take(in, 8); break;
    case 4: v = (v >> 32 << 32) | (uint32_t)nasty(fuzz_u8(in), w->n); break;
    case 5: v = nasty(fuzz_u8(in), w->n); break;
    case 6: v += (uint64_t)(int64_t)(int8_t)fuzz_u8(in); break;
    default:
        i = fuzz_u8(in);
        fi_copy(w, x, kind, i);
        return;
    }
    i = x->at + at + 8 <= w->n ? 8 : (uint32_t)(w->n - x->at - at);
    memcpy(w->p + x->at + at, &v, i);
}

/* A whole new record behind the newest slot's position, its sections out of the input. */
static void fi_append(fuzz_in *in, fi_image *m)
{
    const vtf_slot *s = slot_of(m->w.p, 1);
    uint32_t n = fuzz_u8(in) % 64 * 8, type = fuzz_u8(in);
    vtf_record r;
    uint64_t at = s->log.at;
    uint8_t sections[512];
    uint32_t i;
    if (m->w.ofs[P_RECORD] && at < m->w.a[m->w.of[P_RECORD][m->w.ofs[P_RECORD] - 1]].at) return;
    if (at % 8 || at > m->w.n || sizeof r + n > m->w.n - at) return;
    memset(&r, 0, sizeof r);
    r.magic = VTF_RECORD_MAGIC;
    r.size = (uint32_t)sizeof r + n;
    r.type = type % 8 ? VTF_R_COMMIT : type / 8;
    r.prev = s->log.crc;
    r.salt = s->salt;
    r.head = s->head;
    r.head.commit++;
    for (i = 0; i < n; i++) sections[i] = (uint8_t)fuzz_u8(in);
    disk_poke(m->file, (size_t)at, sizeof r + n);
    memcpy(m->w.p + at, &r, sizeof r);
    memcpy(m->w.p + at + sizeof r, sections, n);
    ((vtf_record *)(m->w.p + at))->crc = vtf_crc_record((vtf_record *)(m->w.p + at));
}

/* ---- Looking ------------------------------------------------------------------------------ */

enum { FI_QUERIES = 17, FI_HITS = 8, FI_IDS = 30 }; /* a block of the tile kernel and one more */

static int fi_keep_some(void *ctx, uint64_t id)
{
    (void)ctx;
    return id % 5 != 1;
}

/* Searches of one query and of many, of all rows and of some. */
static void fi_ask(const vtag_snap *s, const vtag_info *t)
{
    static float q[FI_QUERIES * VTF_MAX_DIM];
    vtag_hit hits[FI_QUERIES * FI_HITS];
    vtag_search_opts o = {0};
    uint64_t ids[FI_IDS];
    vtag_ids only = {ids, FI_IDS};
    uint32_t dim = t->spec.dim;
    size_t m[FI_QUERIES], i, j;
    vtag_err err;
    int way;
    for (i = 0; i < FI_QUERIES; i++) fi_vector(i, q + i * dim, dim);
    for (i = 0; i < FI_IDS; i++) ids[i] = i + (i > 25) * (UINT64_MAX - 40);
    o.preview = 1;
    for (way = 0; way < 4; way++) {
        size_t nq = way == 1 ? FI_QUERIES : 1;
        o.only = way == 2 ? &only : NULL;
        o.keep = way == 3 ? fi_keep_some : NULL;
        o.fresh_only = way == 3;
        err = vtag_search_many(s, vec(t->tag, dim, q), nq, &o, FI_HITS, hits, m);
        for (i = 0; !err && i < nq; i++) {
            FUZZ_MUST(m[i] <= FI_HITS);
            for (j = 0; j < m[i]; j++) FUZZ_MUST(hits[i * FI_HITS + j].dist <= VT_MAX_NORM);
        }
    }
}

static void fi_search(const vtag_snap *s)
{
    vtag_info t[4];
    vtag_cover c;
    vtag_verdict v;
    uint64_t cursor = 0;
    size_t n, i, m;
    if (vtag_tags(s, &cursor, t, 4, &n)) return;
    for (i = 0; i < n; i++) {
        vtag_item it[8];
        uint64_t at = 0;
        fi_ask(s, &t[i]);
        (void)vtag_coverage(s, t[i].tag, 0, &c);
        (void)vtag_judge(s, t[i].tag, NULL, &v);
        (void)vtag_items(s, t[i].tag, VTAG_PENDING | VTAG_NEWEST_FIRST, &at, it, 8, &m);
    }
}

/* All that a reader can ask. 0: verify finds something, 1: nothing, 2: nor does content_of,
   which knows more of what numbers should agree. */
static int fi_look(vtag_db *db, uint64_t *hash)
{
    vtag_snap *s;
    vtag_report rep;
    content c;
    int good;
    if (!db || vtag_snapshot(db, &s)) return 0;
    fi_search(s);
    c = content_of(s);
    good = vtag_verify(s, &rep, NULL, NULL) == VTAG_OK ? 1 + !c.err : 0;
    if (getenv("FUZZ_SAY")) fprintf(stderr, "look: bad %d content %s\n", (int)rep.bad, c.err ? c.at : "good");
    if (hash) *hash = c.hash;
    vtag_release(s);
    return good;
}

static void fi_read(fi_image *m, uint32_t flags)
{
    disk *d = disk_get();
    vtag_db *db = NULL;
    vtag_open_opts o = {0};
    o.isa = d->isa;
    if (flags & 32) db = disk_db(d, "t.vtag", VTAG_READ, (flags & 48) == 48);
    else (void)vtag_open_memory(m->file->p, m->file->size, &o, &db);
    (void)fi_look(db, NULL);
    vtag_close(db);
}

/* A writer's recovery, a batch of a bit of everything, a flip, a compaction. */
static void fi_write(uint32_t flags)
{
    disk *d = disk_get();
    vtag_db *db = disk_db(d, "t.vtag", VTAG_EXISTING, flags >= 240);
    vtag_batch *b;
    vtag_item it = item_of(3, "put into a spoilt file");
    vtag_vec x = v2(1u << 20 | 1u << 8 | 1u, 1, 1);
    vtag_verdict v;
    int good = fi_look(db, NULL), whole = 1, then;
    uint64_t hash, again;
    if (!db) return;
    if (!vtag_begin(db, NULL, &b)) {
        (void)vtag_put(b, &it, &x, 1);
        (void)vtag_del(b, 5);
        (void)vtag_waive(b, &it, x.tag, "spoilt");
        (void)vtag_cutover(b, x.tag, NULL, &v);
        whole &= !vtag_commit(b);
    } else whole = 0;
    whole &= !vtag_seal(db, NULL, NULL);
    if (flags & 64) whole &= !vtag_compact(db, NULL, NULL);
    then = fi_look(db, &hash);
    vtag_close(db);
    if (!(flags & 4) || !whole || good < 2) return; /* mended checksums may hide any nonsense */
    FUZZ_MUST(then == 2);
    db = disk_db(d, "t.vtag", VTAG_READ, 0);
    FUZZ_MUST(fi_look(db, &again) == 2);
    FUZZ_MUST(again == hash);
    vtag_close(db);
}

/* The image that an input makes, on the disk as t.vtag; *flags: what is to be done. The first
   byte: 0-7 the image, 32 looked at by the scalar kernels, 64 the image with sketches, 128
   with a record appended. */
static fi_image *fi_spoilt(fuzz_in *in, uint32_t *flags_out)
{
    fi_image *m;
    uint32_t which = fuzz_u8(in), flags = fuzz_u8(in), cut = flags & 8 ? fuzz_u16(in) : 0;
    mender mend_it;
    fi_make_all();
    m = &fi_images[which & 64 ? FI_SKETCHED : which % FI_SKETCHED];
    mend_it.w = &m->w;
    mend_it.writes = fi_writes;
    mend_it.ctx = m->file;
    disk_reset(disk_get(), m->file);
    disk_get()->isa = which & 32 ? "scalar" : NULL;
    if (flags & 2) memset(disk_poke(m->file, (size_t)((uint8_t *)slot_of(m->w.p, 0) - m->w.p), 512), 0, 512);
    if (which & 128) fi_append(in, m);
    while (in->n >= 2) fi_spoil(in, &m->w, m->file);
    if (!(flags & 4)) mend(&mend_it);
    if (cut & 1) disk_size_to(m->file, m->w.n - (cut >> 1) * 8 % m->w.n);
    else if (cut) disk_size_to(m->file, m->w.n + (cut >> 1) * 8);
    *flags_out = flags;
    return m;
}

static void fuzz_image(fuzz_in *in)
{
    uint32_t flags;
    fi_image *m = fi_spoilt(in, &flags);
    fi_read(m, flags);
    if (flags & 1) fi_write(flags);
    FUZZ_MUST(disk_get()->live == 0);
    FUZZ_MUST(!t_.failed);
}

static const char *const fuzz_image_seeds[] = {
    "\\00\\00", "\\01\\01", "\\02\\41", "\\03\\01", "\\04\\01", "\\05\\01", "\\06\\01", "\\07\\01",
    "\\00\\02\\40\\01\\02a", "\\01\\13\\30\\00\\03\\05\\ff", "\\01\\31\\2d\\02\\04\\20", "\\02\\01\\38\\00\\10\\01",
    "\\03\\03\\43\\09\\05\\60", "\\83\\01\\04\\01\\03\\00\\00\\00\\20\\00\\00\\00", "\\01\\09\\11\\27",
    "\\80\\01\\05\\01\\04\\00\\01\\00\\28\\00\\00\\00\\11\\01\\10\\00\\01\\00\\00\\00\\01",
    "\\40\\01", "\\40\\01\\53\\00\\05\\23\\00\\00\\00\\00\\00\\00\\00\\00",
    "\\40\\00\\52\\02\\07\\00\\00\\c0\\7f", "\\60\\01\\52\\05\\04\\ff\\ff\\7f\\7f", "\\40\\00\\50\\03\\11\\ff",
    NULL};

FUZZ_MAIN(image)
#endif
