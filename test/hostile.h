/* hostile.h - a small store that has something of everything, a map of the structures in
   its image, and the repair of their checksums after they were spoilt

   Include it after vtag.h (with VTAG_IMPLEMENTATION), test.h and util.h. */
#ifndef VTAG_TEST_HOSTILE_H
#define VTAG_TEST_HOSTILE_H

/* ---- A store -------------------------------------------------------------------------- */

/* A small store that has something of everything, deleted and replaced rows too if churn. */
static inline void store_up(env *e, int churn)
{
    vtag_tag a, b;
    vtag_vec v[3];
    vtag_item it;
    vtag_batch *batch;
    vtag_policy p;
    vtag_event ev;
    uint64_t i, rev = 0;
    ram_init(&e->r);
    e->r.track = 1;
    e->db = env_open(e, "t.vtag", VTAG_NEW);
    a = declare(e->db, "m@1", 2, VTAG_COSINE);
    b = declare(e->db, "m@2/chunk", 2, VTAG_L2SQ);
    for (i = 0; i < 12; i++) {
        v[0] = v2(a, 1, (float)i);
        v[1] = v2(b, (float)i, 2);
        v[2] = v2(b, 3, (float)i);
        rev = put(e->db, i, "some text of a document", v, i % 3 + 1);
    }
    batch = begin(e->db);
    it = item_of(0, "keyed");
    it.key = "docs/a.txt";
    OK(vtag_put(batch, &it, v, 1));
    OK(vtag_meta_set(batch, "probe", "12345", 5));
    OK(vtag_commit(batch));
    put2(e->db, 50, "changed", a, 1, 1);
    OK(waive(e->db, 11, rev, b, "too long"));
    if (churn) {
        put2(e->db, 4, "other text", a, 1, 1);
        OK(del(e->db, 7));
    }
    memset(&p, 0, sizeof p);
    p.gate.min_ppm = 100000;
    OK(set_policy(e->db, &p, "small"));
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_NOTE;
    ev.text = "a note";
    OK(note(e->db, &ev));
    OK(cutover(e->db, b, NULL, NULL));
}

static inline void everything_up(env *e) { store_up(e, 1); }

/* ---- Where the structures of an image lie -------------------------------------------- */

enum {
    P_IDENTITY, P_EXTENT, P_BLOB, P_ROW, P_VECTOR, P_RUN, P_BITS, P_CKPT, P_RECORD, P_SLOT,
    P_SKETCH, P_KINDS
};

/* A P_VECTOR follows its P_ROW; four P_SKETCH are one: header, mean, factors, codes. */
typedef struct place { uint32_t at, bytes, kind; int spoilt; } place;

typedef struct places {
    uint8_t *p;              /* the image, 64-byte aligned */
    size_t   n, count;
    place    a[2048];
    size_t   of[P_KINDS][2048], ofs[P_KINDS]; /* the places of a kind */
} places;

static inline void place_add(places *w, uint32_t kind, uint64_t at, uint64_t bytes)
{
    place *x = &w->a[w->count];
    if (w->count == LENGTH(w->a) || at > w->n || bytes > w->n - at) return;
    x->at = (uint32_t)at;
    x->bytes = (uint32_t)bytes;
    x->kind = kind;
    x->spoilt = 0;
    w->of[kind][w->ofs[kind]++] = w->count++;
}

static inline void place_blobs(places *w, uint64_t at, uint64_t end)
{
    for (at += VTF_HEAD_ROOM; at + sizeof(vtf_blob) < end; at += 8) {
        const vtf_blob *b = (const vtf_blob *)(w->p + at);
        uint64_t n = b->data < 65536 && b->name < 65536 ? vtf_blob_bytes(b) : 0;
        if (!b->crc || !n || at + n > end || b->crc != vt_crc32c(0, &b->kind, (size_t)n - 4)) continue;
        place_add(w, P_BLOB, at, n);
    }
}

static inline uint64_t row_stride(const vtf_extent *e) { return vt_stride(e->dim, e->codec); }

static inline void place_rows(places *w, uint64_t at, const vtf_extent *e)
{
    uint32_t i;
    for (i = 0; i < e->cap; i++) {
        const vtf_row *r = (const vtf_row *)(w->p + at + VTF_HEAD_ROOM) + i;
        if (!r->rev || w->count + 2 > LENGTH(w->a)) continue;
        place_add(w, P_ROW, at + VTF_HEAD_ROOM + i * sizeof *r, sizeof *r);
        place_add(w, P_VECTOR, at + vtf_vectors_at(e->cap) + i * row_stride(e), row_stride(e));
    }
}

static inline void place_sketch(places *w, uint64_t at, uint64_t length)
{
    const vtf_sketch *f = (const vtf_sketch *)(w->p + at + sizeof(vtf_extent));
    vt_parts p = vt_sketch_parts(f->rows, f->dim);
    if (p.bytes > length || length > w->n - at) return;
    place_add(w, P_SKETCH, at + sizeof(vtf_extent), sizeof *f);
    place_add(w, P_SKETCH, at + p.mean, p.factors - p.mean);
    place_add(w, P_SKETCH, at + p.factors, p.codes - p.factors);
    place_add(w, P_SKETCH, at + p.codes, p.bytes - p.codes);
}

static inline void place_log(places *w, uint64_t at, uint64_t end)
{
    for (at += VTF_HEAD_ROOM; at + sizeof(vtf_record) < end;) {
        const vtf_record *r = (const vtf_record *)(w->p + at);
        if (r->magic != VTF_RECORD_MAGIC || r->size < sizeof *r || r->size > end - at) return;
        place_add(w, P_RECORD, at, r->size);
        at += r->size;
    }
}

static inline vtf_slot *slot_of(uint8_t *p, int newest)
{
    vtf_slot *a = (vtf_slot *)(p + VTF_SLOT_AT(0)), *b = (vtf_slot *)(p + VTF_SLOT_AT(1));
    return (a->seq > b->seq) == newest ? a : b;
}

static inline vtf_seg *ckpt_segs(vtf_ckpt *c)
{
    return (vtf_seg *)((uint8_t *)(c + 1) + c->tags * sizeof(vtf_tag));
}

static inline vtf_run *ckpt_runs(vtf_ckpt *c)
{
    return (vtf_run *)((uint8_t *)(ckpt_segs(c) + c->segs) + c->spaces * sizeof(vtf_space));
}

static inline void place_ckpt(places *w, uint64_t at, uint64_t bytes)
{
    vtf_ckpt *c = (vtf_ckpt *)(w->p + at);
    uint32_t i;
    if (!at) return;
    for (i = 0; i < c->runs; i++)
        place_add(w, P_RUN, ckpt_runs(c)[i].at, ckpt_runs(c)[i].n * sizeof(vtf_entry));
    for (i = 0; i < c->segs; i++)
        if (ckpt_segs(c)[i].bits_at)
            place_add(w, P_BITS, ckpt_segs(c)[i].bits_at, vt_bits_bytes(ckpt_segs(c)[i].cap));
    place_add(w, P_CKPT, at, bytes);
}

static inline void place_extent(places *w, uint64_t at, const vtf_extent *e)
{
    place_add(w, P_EXTENT, at, sizeof *e);
    if (e->kind == VTF_ITEMS) place_blobs(w, at, at + e->length);
    if (e->kind == VTF_SKETCH) place_sketch(w, at, e->length);
    if (e->kind == VTF_LOG) place_log(w, at, at + e->length);
}

static inline void find_places(places *w, uint8_t *p, size_t n)
{
    uint64_t at;
    int rows;
    memset(w, 0, sizeof *w);
    w->p = p;
    w->n = n;
    place_add(w, P_IDENTITY, 0, sizeof(vtf_identity));
    place_ckpt(w, slot_of(p, 1)->ckpt.at, slot_of(p, 1)->ckpt.length);
    place_add(w, P_SLOT, VTF_SLOT_AT(0), sizeof(vtf_slot));
    place_add(w, P_SLOT, VTF_SLOT_AT(1), sizeof(vtf_slot));
    for (rows = 0; rows < 2; rows++) /* last, since there may be more than there is room for */
        for (at = VTF_FRONT; at + sizeof(vtf_extent) < n;) {
            const vtf_extent *e = (const vtf_extent *)(p + at);
            if (e->magic != VTF_EXTENT_MAGIC || !e->length) break;
            if (rows && e->kind == VTF_ROWS) place_rows(w, at, e);
            if (!rows) place_extent(w, at, e);
            at += e->length;
        }
}

/* ---- Good checksums over spoilt bytes -------------------------------------------------- */

/* Called before bytes are changed; may be NULL. */
typedef void place_writes(void *ctx, size_t at, size_t n);

typedef struct mender { places *w; place_writes *writes; void *ctx; } mender;

static inline uint8_t *mend_at(const mender *m, size_t at, size_t n)
{
    if (m->writes) m->writes(m->ctx, at, n);
    return m->w->p + at;
}

static inline int mend_inside(const mender *m, uint64_t at, uint64_t n)
{
    return at <= m->w->n && n <= m->w->n - at;
}

static inline void mend_runs(const mender *m, vtf_ckpt *c, uint64_t bytes)
{
    uint64_t need = sizeof *c + (uint64_t)c->tags * sizeof(vtf_tag) + (uint64_t)c->segs * sizeof(vtf_seg) +
                    (uint64_t)c->spaces * sizeof(vtf_space) + (uint64_t)c->runs * sizeof(vtf_run);
    uint32_t i;
    if (need > bytes) return;
    for (i = 0; i < c->runs; i++) {
        vtf_run *r = ckpt_runs(c) + i;
        if (r->n > m->w->n || r->at < sizeof *r || !mend_inside(m, r->at, r->n * sizeof(vtf_entry))) continue;
        r->crc = vt_crc32c(0, m->w->p + r->at, (size_t)r->n * sizeof(vtf_entry));
        memcpy(mend_at(m, r->at - sizeof *r, sizeof *r), r, sizeof *r);
    }
    for (i = 0; i < c->segs; i++) {
        vtf_seg *s = ckpt_segs(c) + i;
        size_t n = vt_bits_bytes(s->cap);
        if (s->bits_at && mend_inside(m, s->bits_at, n)) s->bits_crc = vt_crc32c(0, m->w->p + s->bits_at, n);
    }
}

/* The ranges of a record that recovery will look at. */
static inline void mend_ranges(const mender *m, vtf_record *r)
{
    uint32_t at = sizeof *r;
    const vtf_section *s;
    while ((s = vt_section_next(r, &at)) != NULL) {
        vtf_range *g = (vtf_range *)(uintptr_t)(s + 1);
        size_t i, n = (s->size - sizeof *s) / sizeof *g;
        for (i = 0; s->kind == VTF_RANGES && i < n; i++)
            if (mend_inside(m, g[i].at, g[i].length))
                g[i].xxh = vt_xxh64(m->w->p + g[i].at, (size_t)g[i].length);
    }
}

static inline void mend_ckpt_refs(const mender *m, vtf_record *r)
{
    uint32_t at = sizeof *r;
    const vtf_section *s;
    while ((s = vt_section_next(r, &at)) != NULL) {
        vtf_ckpt_ref *ref = (vtf_ckpt_ref *)(uintptr_t)(s + 1);
        if (s->kind == VTF_CKPT && s->size >= sizeof *s + sizeof *ref && mend_inside(m, ref->at, ref->length))
            ref->crc = vt_crc32c(0, m->w->p + ref->at, (size_t)ref->length);
    }
}

/* Records from the first that changed on: each is chained to the one before. */
static inline void mend_records(const mender *m, uint64_t committed, int ckpt)
{
    places *w = m->w;
    uint32_t chain = 0;
    size_t i;
    int on = 0;
    for (i = 0; i < w->ofs[P_RECORD]; i++) {
        place *x = &w->a[w->of[P_RECORD][i]];
        vtf_record *r = (vtf_record *)(w->p + x->at);
        int sound = r->size >= sizeof *r && r->size <= w->n - x->at;
        if (x->spoilt || ckpt || x->at >= committed) on = 1;
        if (on) {
            mend_at(m, x->at, sound ? r->size : sizeof *r);
            if (sound && x->at >= committed) mend_ranges(m, r);
            if (sound && ckpt) mend_ckpt_refs(m, r);
            r->prev = chain;
            if (sound) r->crc = vtf_crc_record(r);
        }
        chain = r->crc;
    }
}

static inline void mend_slot(const mender *m, vtf_slot *s, int newest)
{
    const places *w = m->w;
    size_t i;
    mend_at(m, (size_t)((uint8_t *)s - w->p), sizeof *s);
    if (newest) {
        s->log.crc = 0;
        for (i = 0; i < w->ofs[P_RECORD]; i++) {
            const place *x = &w->a[w->of[P_RECORD][i]];
            if (x->at < s->log.at) s->log.crc = ((const vtf_record *)(w->p + x->at))->crc;
            if (x->at < s->ckpt_log.at) s->ckpt_log.crc = ((const vtf_record *)(w->p + x->at))->crc;
        }
        if (s->ckpt.at && mend_inside(m, s->ckpt.at, s->ckpt.length))
            s->ckpt.crc = vt_crc32c(0, w->p + s->ckpt.at, (size_t)s->ckpt.length);
    }
    s->crc = vtf_crc_slot(s);
}

static inline void mend_row(const mender *m, place *row)
{
    vtf_row *r = (vtf_row *)mend_at(m, row->at, row->bytes);
    r->crc = vtf_crc_row(r, m->w->p + row[1].at, row[1].bytes);
}

/* The header of a sketch, and the sums of what it says that there is. */
static inline void mend_sketch(const mender *m, const place *head)
{
    uint64_t at = head->at - sizeof(vtf_extent), i;
    vtf_sketch *f = (vtf_sketch *)mend_at(m, head->at, head->bytes);
    uint8_t *base = m->w->p + at;
    vt_parts p = vt_sketch_parts(f->rows, f->dim);
    uint32_t sum;
    f->crc = vt_crc32c(0, f, offsetof(vtf_sketch, crc));
    if (!mend_inside(m, at, p.bytes)) return;
    for (i = 0; vt_sketch_sum(base, &p, i, &sum); i++)
        memcpy(mend_at(m, at + VTF_HEAD_ROOM + 4 * i, 4), &sum, 4);
}

static inline void mend_identity(const mender *m)
{
    uint32_t crc = vt_crc32c(0, m->w->p, VTF_IDENTITY - 4);
    memcpy(mend_at(m, VTF_IDENTITY - 4, 4), &crc, 4);
}

/* Makes the checksums of all that is marked spoilt good again, and of what holds a
   checksum of that; takes the marks off. */
static inline void mend(const mender *m)
{
    places *w = m->w;
    uint64_t committed = slot_of(w->p, 1)->log.at;
    int ckpt = 0;
    size_t i;
    for (i = 0; i < w->count; i++) {
        place *x = &w->a[i];
        uint8_t *q = w->p + x->at;
        if (!x->spoilt) continue;
        mend_at(m, x->at, x->bytes);
        if (x->kind == P_IDENTITY) mend_identity(m);
        if (x->kind == P_EXTENT) ((vtf_extent *)q)->crc = vt_crc32c(0, q, offsetof(vtf_extent, crc));
        if (x->kind == P_BLOB) ((vtf_blob *)q)->crc = vt_crc32c(0, q + 4, x->bytes - 4);
        if (x->kind == P_ROW) mend_row(m, x);
        if (x->kind == P_VECTOR) mend_row(m, x - 1);
        ckpt |= x->kind == P_RUN || x->kind == P_BITS || x->kind == P_CKPT;
    }
    for (i = 0; i < w->ofs[P_SKETCH]; i += 4) {
        const place *x = &w->a[w->of[P_SKETCH][i]];
        if (x[0].spoilt || x[1].spoilt || x[2].spoilt || x[3].spoilt) mend_sketch(m, x);
    }
    for (i = 0; ckpt && i < w->ofs[P_CKPT]; i++) {
        place *x = &w->a[w->of[P_CKPT][i]];
        mend_runs(m, (vtf_ckpt *)mend_at(m, x->at, x->bytes), x->bytes);
    }
    mend_records(m, committed, ckpt);
    mend_slot(m, slot_of(w->p, 1), 1);
    mend_slot(m, slot_of(w->p, 0), 0);
    for (i = 0; i < w->count; i++) w->a[i].spoilt = 0;
}

/* ---- One more commit, of anything --------------------------------------------------------- */

enum { FORGED_RECORD = 8192, FORGED_RANGES = 40 };

/* Writes blobs behind the last ones, in a further ITEMS extent if they do not fit, and a record
   that names them, so that the layout stays as the engine would have left it. */
typedef struct forger {
    uint8_t  *p;             /* the file */
    size_t    n, most;       /* its bytes now, and what it may grow to */
    place_writes *writes;    /* called before bytes are changed, with ctx; may be NULL */
    void     *ctx;
    vtf_slot *slot;          /* the newest: where the record goes */
    vtf_head  head;          /* of the state that the record makes */
    vtf_tail  items;         /* where blobs go */
    uint64_t  record[FORGED_RECORD / 8];
    uint32_t  used, ranges;  /* bytes of the record; ranges that it will name */
    vtf_range range[FORGED_RANGES];
} forger;

/* items: the ITEMS extent being filled, in the state that the newest slot names. */
static inline void forger_start(forger *f, uint8_t *p, size_t n, size_t most, const vtf_tail *items)
{
    memset(f, 0, sizeof *f);
    f->p = p;
    f->n = n;
    f->most = most;
    f->items = *items;
    f->slot = slot_of(p, 1);
    f->head = f->slot->head;
    f->head.commit++;
    f->used = sizeof(vtf_record);
}

/* Whether the record takes n more bytes besides its last sections. */
static inline int forger_fits(const forger *f, size_t n)
{
    return f->used + n + sizeof f->range + 128 <= sizeof f->record;
}

/* A section of n bytes, set to p's; padded. NULL: it does not fit. */
static inline void *forger_section(forger *f, uint32_t kind, uint32_t arg, const void *p, size_t n)
{
    uint8_t *at = (uint8_t *)f->record + f->used;
    vtf_section s = {(uint16_t)kind, (uint16_t)arg, (uint32_t)vt_align(sizeof s + n, 8)};
    if (s.size > sizeof f->record - f->used) return NULL;
    memset(at, 0, s.size);
    memcpy(at, &s, sizeof s);
    if (n) memcpy(at + sizeof s, p, n);
    f->used += s.size;
    return at + sizeof s;
}

static inline uint8_t *forger_range(forger *f, uint64_t at, uint64_t n)
{
    vtf_range r = {at, n, 0};
    f->range[f->ranges++] = r;
    if (f->writes) f->writes(f->ctx, (size_t)at, (size_t)n);
    return f->p + at;
}

/* An ITEMS extent with room for n bytes; 0: none. */
static inline int forger_extent(forger *f, uint64_t n)
{
    vtf_extent e;
    uint64_t at = f->head.end;
    memset(&e, 0, sizeof e);
    e.magic = VTF_EXTENT_MAGIC;
    e.kind = VTF_ITEMS;
    e.length = vt_align(n + VTF_HEAD_ROOM, VTF_ALIGN);
    if (at % VTF_ALIGN || e.length > f->most || at > f->most - e.length) return 0;
    memcpy(e.uuid, f->slot->uuid, sizeof e.uuid);
    e.number = ++f->head.extent;
    e.crc = vt_crc32c(0, &e, offsetof(vtf_extent, crc));
    f->head.end += e.length;
    if (f->n < f->head.end) f->n = (size_t)f->head.end;
    memcpy(forger_range(f, at, sizeof e), &e, sizeof e);
    f->items.kind = VTF_ITEMS;
    f->items.at = at;
    f->items.length = e.length;
    f->items.used = VTF_HEAD_ROOM;
    return 1;
}

/* Puts a blob of those sizes; where it lies, 0: nowhere. */
static inline uint64_t forger_blob(forger *f, const vtf_blob *b, const void *name, const void *data)
{
    uint64_t n = vtf_blob_bytes(b), at;
    vtf_blob *to;
    if (f->ranges + 2 > FORGED_RANGES) return 0;
    if ((!f->items.at || n > f->items.length - f->items.used) && !forger_extent(f, n)) return 0;
    at = f->items.at + f->items.used;
    to = (vtf_blob *)(void *)forger_range(f, at, n);
    memset(to, 0, (size_t)n);
    memcpy(to, b, sizeof *b);
    if (b->name) memcpy(to + 1, name, b->name);
    if (b->data) memcpy((uint8_t *)to + vtf_blob_data(b), data, (size_t)b->data);
    to->crc = vt_crc32c(0, &to->kind, (size_t)n - 4);
    f->items.used += n;
    return at;
}

/* A delta of one entry; live, bytes: change of the number of keys, and of what their blobs take. */
static inline void forger_entry(forger *f, uint32_t space, uint32_t tag, const vtf_entry *e, int live, int64_t bytes)
{
    struct { vtf_delta d; vtf_entry e; } one;
    memset(&one, 0, sizeof one);
    one.d.tag = tag;
    one.d.n = 1;
    one.d.live = live;
    one.d.bytes = bytes;
    one.e = *e;
    forger_section(f, VTF_DELTA, space, &one, sizeof one);
}

/* Writes the record; named: in a slot, else as a crash leaves it. 0: the log has no room. */
static inline int forger_end(forger *f, int named)
{
    vtf_logpos *pos = &f->slot->log;
    vtf_record *r = (vtf_record *)(void *)f->record;
    uint32_t i;
    forger_section(f, VTF_TAILS, 0, &f->items, f->items.at ? sizeof f->items : 0);
    for (i = 0; i < f->ranges; i++)
        f->range[i].xxh = vt_xxh64(f->p + f->range[i].at, (size_t)f->range[i].length);
    forger_section(f, VTF_RANGES, 0, f->range, f->ranges * sizeof *f->range);
    if (pos->at > f->n || f->used > f->n - pos->at || f->used > vt_log_room(pos)) return 0;
    r->magic = VTF_RECORD_MAGIC;
    r->size = f->used;
    r->type = VTF_R_COMMIT;
    r->prev = pos->crc;
    r->salt = f->slot->salt;
    r->head = f->head;
    r->crc = vtf_crc_record(r);
    if (f->writes) f->writes(f->ctx, (size_t)pos->at, r->size);
    memcpy(f->p + pos->at, r, r->size);
    if (!named) return 1;
    if (f->writes) f->writes(f->ctx, (size_t)((uint8_t *)f->slot - f->p), sizeof *f->slot);
    pos->at += r->size;
    pos->crc = r->crc;
    f->slot->head = f->head;
    f->slot->crc = vtf_crc_slot(f->slot);
    return 1;
}

/* A number that parsers like least; n: bytes of the file. */
static inline uint64_t nasty(uint32_t which, size_t n)
{
    static const uint64_t picks[] = {0, 1, 2, 7, 8, 255, 65535, 65536, 0x7FFFFFFF, 0x80000000, UINT32_MAX,
                                     1ull << 32, 1ull << 62, 1ull << 63, UINT64_MAX, UINT64_MAX - 7};
    if (which < 32) return picks[which % LENGTH(picks)];
    if (which < 96) return n - (uint64_t)(which - 32) * 8;
    return (uint64_t)(which - 96) * (n / 160) & ~7ull;
}

#endif
