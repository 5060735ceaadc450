/* fuzz_image.c - hostile files: structures of a good image spoilt, their checksums mended

   An input is a script: which image, what is done with it, and changes. Either these are
   {action and kind, which structure, offset, value}, so that every input reaches past the
   checksums; or they keep the layout, and all that is forged stands in a commit of its own:
   strings of any length and bytes, entries, tags, segments, numbers of the head, sections.
   The file must be an answer: no access outside it, no write by a reader, no string that
   the API would not take; where no checksum was mended and verify calls it good, a writer
   leaves it good, and the same when read again; and where only strings were forged and
   verify calls it good, no call finds damage after that. */
#ifndef FUZZ_IMAGE_C
#define FUZZ_IMAGE_C
#ifndef VTAG_IMPLEMENTATION
#define VTAG_IMPLEMENTATION
#include "fuzz_heap.h"
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

enum { FI_LINES = 128, FI_TAGS = 4, FI_SEGS = 8, FI_IDS = 30 };

typedef struct fi_line { uint32_t space, tag; vtf_entry e; } fi_line; /* of the index */

typedef struct fi_image {
    disk_file *file;
    places w;
    fi_line line[FI_LINES];     /* entries with a blob, of every space; then the tags' names */
    vtf_tag tag[FI_TAGS];
    vtf_seg seg[FI_SEGS];
    uint64_t id[FI_IDS];        /* of items */
    size_t lines, tags, segs, ids;
    vtf_tail items;
    int whole;                  /* the newest slot names all of the log */
} fi_image;

static fi_image fi_images[FI_IMAGES];

static void fi_add(fi_image *m, uint32_t space, uint32_t tag, const vtf_entry *e)
{
    fi_line *l = &m->line[m->lines];
    if (m->lines == FI_LINES || !e->at) return;
    m->lines++;
    l->space = space;
    l->tag = tag;
    l->e = *e;
}

/* What the image holds, as whoever reads it sees it. */
static void fi_list(fi_image *m, const vt_state *s)
{
    const vtf_entry *e;
    size_t i;
    m->items = s->tails[0];
    m->whole = s->pos.at == slot_of(m->w.p, 1)->log.at && !(s->file->flags & VTF_FLAG_PAD);
    for (i = 0; i < s->index.n; i++) {
        const vt_space *x = &s->index.a[i];
        vt_iter it;
        if (x->kind == VTF_S_ROWS || vt_iter_begin(&it, x, 0)) continue;
        while ((e = vt_iter_next(&it)) != NULL) {
            if (m->lines < FI_LINES - FI_TAGS) fi_add(m, x->kind, x->tag, e);
            if (x->kind == VTF_S_ITEMS && m->ids < FI_IDS) m->id[m->ids++] = e->id;
        }
        vt_iter_end(&it);
    }
    for (i = 0; i < s->tags.n && i < FI_TAGS; i++) {
        vtf_entry name = vt_entry_of(s->tags.a[i].f.tag, 0, s->tags.a[i].f.names, 0);
        m->tag[m->tags++] = s->tags.a[i].f;
        fi_add(m, 0, 0, &name);
    }
    for (i = 0; i < s->rows.n && i < FI_SEGS; i++) m->seg[m->segs++] = s->rows.a[i].f;
}

static void fi_keep(fi_image *m, const uint8_t *p, size_t n)
{
    uint8_t *base = malloc(n);
    vtag_db *db;
    if (!base) abort();
    memcpy(base, p, n);
    m->file = disk_file_new(base, n);
    find_places(&m->w, m->file->p, n);
    MUST(vtag_open_memory(m->file->p, n, NULL, &db));
    fi_list(m, db->state);
    vtag_close(db);
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

/* A number that is likely to matter; next: where a blob that is forged will lie. */
static uint64_t fi_value(fuzz_in *in, size_t n, uint64_t next)
{
    uint32_t which = fuzz_u8(in);
    return which == 31 ? next : nasty(which, n);
}

/* One change; the action is in the low three bits, the kind of structure above. */
static void fi_spoil(fuzz_in *in, places *w, disk_file *f, uint64_t next)
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
    case 5: v = fi_value(in, w->n, next); break;
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

/* ---- Forging, with the layout kept ------------------------------------------------------- */

enum { FI_NAME, FI_DATA, FI_SCORE, FI_REASON, FI_TEXT, FI_MORE, FI_PARTS }; /* the strings of a blob */
enum { FI_OTHER_ID = 8, FI_NUL = 16, FI_NEW_KEY = 32 };            /* what else is wrong with it */
enum { FI_LONGEST = 140000, FI_FORGED = 12, FI_GROWTH = 4 * VTF_ALIGN };

typedef struct fi_forge {
    forger f;
    fi_image *m;
    int strings;                    /* nothing but strings was forged */
    int broken;                     /* one, alone, so that it must be refused */
    uint64_t id[FI_FORGED];         /* of items that were added       */
    size_t ids;
} fi_forge;

static fi_forge fi_forged;
static uint32_t fi_deeds; /* what is done to the file then: the bits of fi_exercise */

/* A length near some limit, or any. */
static uint32_t fi_length(fuzz_in *in)
{
    static const uint32_t picks[] = {0, 1, 7, 8, 254, 255, 256, 257, 263, 264, 300, 512, 1023, 1024, 1025, 1032,
                                     2000, 4095, 4096, 4097, 4104, 5000, 8191, 8192, 20000, 65000, 66000, FI_LONGEST};
    uint32_t which = fuzz_u8(in);
    return which < 5 * LENGTH(picks) ? picks[which % LENGTH(picks)] : fuzz_u16(in) % 6000;
}

/* A string of that length: a letter all over, and a NUL inside. */
static const uint8_t *fi_string(fuzz_in *in, uint32_t n, int nul)
{
    static uint8_t p[FI_LONGEST + 1];
    uint8_t letter = (uint8_t)fuzz_u8(in);
    memset(p, letter ? letter : 'k', n);
    if (n > 2 && letter < 128) memcpy(p, "m@", 2); /* fit for a tag */
    if (n && nul) p[fuzz_u16(in) % n] = 0;
    p[n] = 0;
    return p;
}

/* An extension behind the strings, of any kind. */
static void fi_more(vt_out *o, size_t flags, const uint8_t *s, uint32_t n)
{
    uint32_t x;
    vt_out_align(o, 8);
    vt_more_put(o, 1 + n % 7, s, n + 1);
    if (o->err) return;
    memcpy(&x, o->p + flags, sizeof x);
    x |= VTF_EXTENDED;
    memcpy(o->p + flags, &x, sizeof x);
}

/* The data of an event's blob or the policy's, with another string for one of its own, or with
   one more. */
static void fi_pack(vt_out *o, const vtf_blob *b, uint32_t part, const uint8_t *s, uint32_t n)
{
    int event = b->kind == VTF_S_EVENTS;
    size_t head = event ? sizeof(vtf_event) : sizeof(vtf_policy);
    size_t at = event ? offsetof(vtf_event, score) : offsetof(vtf_policy, score);
    const uint8_t *data = vt_blob_data(b), *rest = data + head;
    uint32_t len[3], strings = event ? 3 : 2, i;
    memcpy(len, data + at, strings * sizeof *len);
    vt_out_put(o, data, head);
    for (i = 0; i < strings; i++) {
        const uint8_t *old = rest;
        rest += len[i];
        if (part != FI_MORE && i == (part - FI_SCORE) % strings) len[i] = n + 1, old = s;
        vt_out_put(o, old, len[i]);
    }
    if (!o->err) memcpy(o->p + at, len, strings * sizeof *len);
    if (part == FI_MORE) fi_more(o, event ? offsetof(vtf_event, flags) : offsetof(vtf_policy, flags), s, n);
}

/* A new key for a blob, by which its entry can be found. */
static uint64_t fi_key(fi_forge *g, uint32_t space, const void *name, size_t n)
{
    if (space == VTF_S_EVENTS) return ++g->f.head.event;
    if (space == VTF_S_NAMES) return vt_xxh64(name, n);
    if (space != VTF_S_ITEMS || g->ids == FI_FORGED) return 12;
    g->id[g->ids] = 1000 + g->ids;
    return g->id[g->ids++];
}

static void fi_name_tag(fi_forge *g, const fi_line *l, uint64_t names, uint32_t number, uint32_t alias)
{
    size_t i;
    for (i = 0; i < g->m->tags; i++) {
        vtf_tag t = g->m->tag[i];
        if (t.names != l->e.at) continue;
        t.tag = number;
        t.names = names;
        t.alias = alias;
        forger_section(&g->f, VTF_TAGS, 0, &t, sizeof t);
    }
}

/* A line of a space, if the image has such a one. */
static const fi_line *fi_pick(fuzz_in *in, const fi_image *m)
{
    uint32_t space = fuzz_u8(in), which = fuzz_u8(in), i, n = 0;
    for (i = 0; i < m->lines; i++) n += m->line[i].space == space;
    if (!n) return &m->line[which % m->lines];
    which %= n;
    for (i = 0; m->line[i].space != space || which--; i++) { }
    return &m->line[i];
}

/* Whether a string of n bytes in that part of a blob is none that the API takes. */
static int fi_breaks(const fi_line *l, uint32_t part, const uint8_t *s, uint32_t n)
{
    size_t length = strnlen((const char *)s, n);
    int nul = length < n, inner = length + 1 < n;
    int text = l->space == VTF_S_EVENTS || l->space == VTF_S_POLICY, event = l->space == VTF_S_EVENTS;
    uint32_t more = 1 + n % 7;
    if (part == FI_NAME) return n > 255 || nul || (!n && (!l->space || l->space == VTF_S_NAMES));
    if (!l->space) return nul || n > (part == FI_DATA ? 4096u : 255u);
    if (l->space == VTF_S_WAIVERS) return nul || !n || n > 1024;
    if (!text || part == FI_DATA) return 0;
    if (part == FI_MORE) return event && ((more == VTF_X_BY && (inner || length > 255)) ||
                                          (more == VTF_X_COMMAND && (inner || length > 1024)));
    if (part == FI_SCORE || (!event && part == FI_TEXT)) return nul || n > 255;
    if (event && part == FI_TEXT && l->e.aux >> 32 == VTAG_K_DECLARED) return nul || n > 4096;
    return nul || n > 1024;
}

/* A blob of the image with another string in it, and the entry that names it. */
static void fi_text(fuzz_in *in, fi_forge *g)
{
    const fi_line *l = fi_pick(in, g->m);
    uint32_t how = fuzz_u8(in), part = how % 8 % FI_PARTS, n = fi_length(in);
    uint32_t number = 9u << 20 | (uint32_t)g->f.ranges << 8 | 1u;
    const uint8_t *s = fi_string(in, n, how & FI_NUL);
    const vtf_blob *old = (const vtf_blob *)(const void *)(g->m->file->base + l->e.at);
    const void *name = vt_blob_name(old), *data = vt_blob_data(old);
    vtf_blob b = *old;
    vtf_entry e = l->e;
    vt_out o = VT_ZERO;
    uint32_t alias = 0;
    if (part >= FI_SCORE && !l->space) { /* a note and an alias */
        vt_out_put(&o, "note", 5);
        vt_out_put(&o, s, n);
        alias = n + 1;
    } else if (part >= FI_SCORE && (l->space == VTF_S_EVENTS || l->space == VTF_S_POLICY))
        fi_pack(&o, old, part, s, n);
    if (part == FI_NAME) b.name = n, name = s;
    else if (o.n) b.data = o.n, data = o.p;
    else b.data = n, data = s;
    if (how & FI_NEW_KEY) b.id = e.id = fi_key(g, l->space, name, b.name);
    if (!l->space) b.id = number;
    if (how & FI_OTHER_ID) b.id ^= 1 + fuzz_u8(in);
    e.at = forger_blob(&g->f, &b, name, data);
    vt_free(o.p);
    if (!e.at) { /* no room: so no event was added */
        g->f.head.event -= l->space == VTF_S_EVENTS && how & FI_NEW_KEY;
        return;
    }
    g->broken = fi_breaks(l, part, s, n) || how & FI_OTHER_ID;
    if (l->space)
        forger_entry(&g->f, l->space, l->tag, &e, (how & FI_NEW_KEY) != 0,
                     (int64_t)(vtf_blob_bytes(&b) - (how & FI_NEW_KEY ? 0 : vtf_blob_bytes(old))));
    else fi_name_tag(g, l, e.at, number, alias);
}

/* A blob where it lies: the border between its strings moved, or another byte in it. */
static void fi_inside(fuzz_in *in, fi_forge *g)
{
    const places *w = &g->m->w;
    const place *x = &w->a[w->of[P_BLOB][fuzz_u8(in) % w->ofs[P_BLOB]]];
    vtf_blob *b = (vtf_blob *)(void *)disk_poke(g->m->file, x->at, x->bytes);
    uint8_t *p = (uint8_t *)(b + 1);
    uint32_t room = x->bytes - (uint32_t)sizeof *b, how = fuzz_u8(in), name;
    p[fuzz_u16(in) % room] = (uint8_t)fuzz_u8(in);
    if (how & 1 || b->name > room || b->data > room || vtf_blob_bytes(b) != x->bytes) {
        name = 8 * (1 + fuzz_u16(in) % (room / 8 - 1));
        b->name = name - 1 - (how >> 1 & 7);
        b->data = room - name - 1 - (how >> 4 & 7);
    }
    memset(p + b->name, 0, 8 - b->name % 8);
    memset(p + room - 8 + b->data % 8, 0, 8 - b->data % 8);
    b->crc = vt_crc32c(0, &b->kind, x->bytes - 4);
}

/* Another value for one of the fields of a structure. */
static void fi_field(fuzz_in *in, fi_forge *g, void *p, size_t n)
{
    uint32_t how = fuzz_u8(in);
    uint8_t *at = (uint8_t *)p + fuzz_u8(in) * 4 % n;
    size_t size = how & 1 && at + 8 <= (uint8_t *)p + n ? 8 : 4;
    uint64_t v = 0;
    memcpy(&v, at, size);
    if (how & 2) v = fi_value(in, g->f.n, g->f.items.at + g->f.items.used);
    else if (how & 4) v += (uint64_t)(int64_t)(int8_t)fuzz_u8(in);
    else v = fuzz_take(in, how & 8 ? size : 1);
    memcpy(at, &v, size);
}

static void fi_entry(fuzz_in *in, fi_forge *g)
{
    fi_line l = *fi_pick(in, g->m);
    uint32_t how = fuzz_u8(in);
    if (how & 1) { /* of rows, which are no line */
        l.space = VTF_S_ROWS;
        l.tag = g->m->tag[how / 16 % g->m->tags].tag;
        l.e = vt_entry_of(g->m->id[fuzz_u8(in) % g->m->ids], 1 + fuzz_u8(in), 0, 1 + fuzz_u8(in) % 4);
        l.e.at = (uint64_t)(fuzz_u8(in) % 6) << 32 | fuzz_u8(in) % 64;
    }
    if (how & 2) fi_field(in, g, &l.e, sizeof l.e);
    if (how & 4) fi_field(in, g, &l.e, sizeof l.e);
    if (how & 8) l.e.at = VTF_DEAD;
    how = fuzz_u8(in);
    forger_entry(&g->f, l.space, l.tag, &l.e, how & 128 ? (int)(int8_t)fuzz_u8(in) : (int)(how % 3) - 1,
                 how & 64 ? (int64_t)fi_value(in, g->f.n, 0) : 0);
}

static void fi_section(fuzz_in *in, fi_forge *g)
{
    uint32_t kind = fuzz_u8(in) % 10, arg = fuzz_u8(in) % 8, n = fuzz_u8(in) % 64 * 4, i;
    uint8_t p[256];
    for (i = 0; i < n; i++) p[i] = (uint8_t)fuzz_u8(in);
    forger_section(&g->f, kind, arg, p, n);
}

/* One forgery; half of all codes are for strings. */
static void fi_forge_one(fuzz_in *in, fi_forge *g)
{
    uint32_t what = fuzz_u8(in) % 16;
    vtf_tag t = g->m->tag[what % 2];
    vtf_seg s = g->m->seg[what % 2];
    vtf_kill k = VT_ZERO;
    g->strings &= what < 10;
    switch (what) {
    default: fi_text(in, g); return;
    case 8:
    case 9: fi_inside(in, g); return;
    case 10: fi_entry(in, g); return;
    case 11:
        fi_field(in, g, &t, sizeof t);
        forger_section(&g->f, VTF_TAGS, 0, &t, sizeof t);
        return;
    case 12:
        fi_field(in, g, &s, sizeof s);
        forger_section(&g->f, VTF_SEGS, 0, &s, sizeof s);
        return;
    case 13: fi_field(in, g, &g->f.head, sizeof g->f.head); return;
    case 14: fi_section(in, g); return;
    case 15:
        k.seg = fuzz_u8(in) % 6, k.row = fuzz_u8(in), k.n = fuzz_u8(in);
        forger_section(&g->f, VTF_KILLS, 0, &k, sizeof k);
        return;
    }
}

/* A commit of forgeries behind the image's last; named: by a slot. */
static void fi_forge_all(fuzz_in *in, fi_image *m, int named)
{
    fi_forge *g = &fi_forged;
    int i;
    disk_size_to(m->file, m->w.n + FI_GROWTH);
    forger_start(&g->f, m->w.p, m->w.n, m->w.n + FI_GROWTH, &m->items);
    g->f.writes = fi_writes;
    g->f.ctx = m->file;
    g->m = m;
    g->broken = 0;
    for (i = 0; i < FI_FORGED && in->n >= 2 && forger_fits(&g->f, 600); i++) fi_forge_one(in, g);
    g->broken &= forger_end(&g->f, named) && i == 1 && g->strings;
    disk_size_to(m->file, g->f.n);
}

/* ---- Looking ------------------------------------------------------------------------------ */

enum { FI_QUERIES = 17, FI_HITS = 8 }; /* a block of the tile kernel and one more */

static int fi_keep_some(void *ctx, uint64_t id)
{
    (void)ctx;
    return id % 5 != 1;
}

static int fi_kept;  /* the layout was kept: fi_exercise changes the file     */
static int fi_brief; /* little is searched: that was done, or it is not rows that were changed */

/* Searches of one query; and of many, or of some rows, as the input's length says. */
static void fi_ask(const vtag_snap *s, const vtag_info *t)
{
    static float q[FI_QUERIES * VTF_MAX_DIM];
    vtag_hit hits[FI_QUERIES * FI_HITS];
    vtag_search_opts o = {0};
    uint64_t ids[FI_IDS];
    vtag_ids only = {ids, FI_IDS};
    uint32_t dim = t->spec.dim;
    size_t m[FI_QUERIES], i, j, many = 1 + fuzz_now.n % 3;
    vtag_err err;
    size_t way;
    for (i = 0; i < (many == 1 && !fi_brief ? FI_QUERIES : 1); i++) fi_vector(i, q + i * dim, dim);
    for (i = 0; i < FI_IDS; i++) ids[i] = i + (i > 25) * (UINT64_MAX - 40);
    o.preview = 1;
    for (way = 0; way <= (fi_brief ? 0 : many); way += many) {
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

static int fi_short(const char *s, size_t most) { return !s || strlen(s) <= most; }

/* Strings that the API hands out keep its limits. */
static void fi_limits(const vtag_snap *s)
{
    vtag_item it[8];
    vtag_event ev;
    vtag_policy p;
    vtag_info t;
    const char *name;
    uint64_t at = 0, tags = 0;
    size_t n, i;
    while (!vtag_items(s, 0, VTAG_ALL, &at, it, 8, &n) && n)
        for (i = 0; i < n; i++) FUZZ_MUST(fi_short(it[i].key, 255) && (!it[i].key || *it[i].key));
    for (at = 0; !vtag_metas(s, &at, &name, 1, &n) && n;) FUZZ_MUST(fi_short(name, 255));
    for (at = 0; !vtag_history(s, &at, &ev, 1, &n) && n;) {
        FUZZ_MUST(fi_short(ev.name, 255) && fi_short(ev.used.score, 255) && fi_short(ev.used.reason, 1024));
        FUZZ_MUST(fi_short(ev.text, ev.kind == VTAG_K_DECLARED ? 4096 : 1024));
        FUZZ_MUST(fi_short(ev.by, 255) && fi_short(ev.command, 1024));
    }
    if (!vtag_policy_get(s, &p)) FUZZ_MUST(fi_short(p.gate.score, 255) && fi_short(p.hold, 1024));
    while (!vtag_tags(s, &tags, &t, 1, &n) && n) {
        FUZZ_MUST(*t.spec.name && fi_short(t.spec.name, 255) && fi_short(t.spec.note, 4096) && fi_short(t.alias, 255));
        for (at = 0; !vtag_items(s, t.tag, VTAG_WAIVED, &at, it, 8, &n) && n;)
            for (i = 0; i < n; i++) FUZZ_MUST(fi_short(it[i].why, 1024));
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
    if (!getenv("FUZZ_NO_LIMITS")) fi_limits(s);
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

/* ---- Changing all that was forged --------------------------------------------------------- */

static int fi_found;            /* some call found damage */
static vtag_vec fi_v;           /* of a tag that answers */
static vtag_tag fi_last;        /* another */

typedef vtag_err fi_deed(vtag_batch *b, const vtag_snap *s, uint64_t id);

static vtag_err fi_note_err(vtag_err err)
{
    if (err == VTAG_CORRUPT && !fi_found && getenv("FUZZ_SAY")) fprintf(stderr, "damage found\n");
    fi_found |= err == VTAG_CORRUPT;
    return err;
}

static vtag_err fi_put_text(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    vtag_item it = item_of(id, "put over what was forged");
    (void)s;
    return vtag_put(b, &it, &fi_v, fi_v.tag != 0);
}

static vtag_err fi_put_vector(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    vtag_item it = item_at(id, 0);
    (void)s;
    return vtag_put(b, &it, &fi_v, fi_v.tag != 0);
}

/* By its key, which lies in the file still. */
static vtag_err fi_put_key(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    vtag_item it;
    if (vtag_get(s, id, &it) || !it.key) return VTAG_OK;
    it.id = it.rev = 0;
    it.data = it.key;
    it.size = 3;
    return vtag_put(b, &it, NULL, 0);
}

static vtag_err fi_fill(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    vtag_item it;
    vtag_err err = vtag_get(s, id, &it);
    return err ? err : vtag_fill(b, &it, &fi_v, fi_v.tag != 0);
}

static vtag_err fi_waive(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    vtag_item it = item_at(id, 0);
    (void)s;
    return vtag_waive(b, &it, fi_last, id % 3 ? "forged" : NULL);
}

static vtag_err fi_del(vtag_batch *b, const vtag_snap *s, uint64_t id)
{
    (void)s;
    return vtag_del(b, id);
}

/* Does it to all items, in a new batch after each that fails. */
static void fi_each(vtag_db *db, const vtag_snap *s, fi_deed *deed)
{
    const fi_forge *g = &fi_forged;
    vtag_batch *b = NULL;
    size_t i;
    for (i = 0; i < g->m->ids + g->ids; i++) {
        if (!b && vtag_begin(db, NULL, &b)) return;
        if (fi_note_err(deed(b, s, i < g->m->ids ? g->m->id[i] : g->id[i - g->m->ids])) != VTAG_CORRUPT) continue;
        vtag_abort(b);
        b = NULL;
    }
    if (b) fi_note_err(vtag_commit(b));
}

/* Names of metadata, texts of history and tags, given back as they came from the file. */
static vtag_err fi_give_back(vtag_batch *b, const vtag_snap *s)
{
    vtag_policy p;
    vtag_event ev;
    vtag_info t;
    const char *name;
    uint64_t at = 0;
    size_t n, count = 0;
    vtag_err err = vtag_meta_set(b, "probe", "again", 5);
    while (!err && count++ < 4 && !vtag_metas(s, &at, &name, 1, &n) && n) err = vtag_meta_set(b, name, name, 1);
    for (at = 0; !err && count++ < 16 && !vtag_history(s, &at, &ev, 1, &n) && n;) {
        ev.kind = VTAG_K_NOTE;
        err = vtag_note(b, &ev);
        if (err != VTAG_CORRUPT) err = VTAG_OK;
    }
    for (at = 0; !err && !vtag_tags(s, &at, &t, 1, &n) && n;) {
        err = vtag_declare(b, &t.spec, NULL);
        if (err != VTAG_CORRUPT) err = VTAG_OK;
    }
    if (!err) err = vtag_policy_get(s, &p);
    return err ? err : vtag_policy_set(b, &p, "as it was");
}

static vtag_err fi_policy(vtag_batch *b, const vtag_snap *s)
{
    vtag_policy p = VT_ZERO;
    (void)s;
    p.gate.score = "probe";
    p.gate.min_ppm = VTAG_NONE;
    return vtag_policy_set(b, &p, "another");
}

static vtag_err fi_roles(vtag_batch *b, const vtag_snap *s)
{
    vtag_verdict v;
    vtag_gate g = VT_ZERO;
    vtag_err err;
    (void)s;
    g.score = "probe";
    g.min_ppm = VTAG_NONE;
    g.reason = "to see";
    err = vtag_cutover(b, fi_last, &g, &v);
    if (err != VTAG_CORRUPT) err = vtag_rollback(b, 0, NULL);
    return err == VTAG_CORRUPT ? err : vtag_retire(b, fi_last, "to see", NULL);
}

static void fi_once(vtag_db *db, const vtag_snap *s, vtag_err (*change)(vtag_batch *, const vtag_snap *))
{
    vtag_batch *b;
    if (vtag_begin(db, NULL, &b)) return;
    if (fi_note_err(change(b, s)) == VTAG_CORRUPT) vtag_abort(b);
    else fi_note_err(vtag_commit(b));
}

static void fi_targets(const vtag_snap *s)
{
    static float x[VTF_MAX_DIM];
    vtag_info t;
    uint64_t at = 0;
    size_t n;
    memset(&fi_v, 0, sizeof fi_v);
    fi_last = 0;
    while (!vtag_tags(s, &at, &t, 1, &n) && n) {
        if (t.role == VTAG_GONE) continue;
        if (!fi_v.tag) fi_vector(1, x, t.spec.dim), fi_v = vec(t.tag, t.spec.dim, x);
        fi_last = t.tag;
    }
}

/* A copy is good, or is refused. */
static void fi_copy_out(const vtag_snap *s, int sound)
{
    disk *d = disk_get();
    vtag_db *db;
    if (fi_note_err(vtag_copy(s, "c.vtag", NULL, NULL))) return;
    db = disk_db(d, "c.vtag", VTAG_READ, 0);
    FUZZ_MUST(fi_look(db, NULL) == 2 || !sound);
    vtag_close(db);
    FUZZ_MUST(!disk_remove(d, "c.vtag"));
}

/* Calls that take what lies in the file, as the bits say. Where only strings were forged
   and verify had nothing to say, none finds damage, or does any. */
static void fi_exercise(uint32_t deeds, int no_map)
{
    disk *d = disk_get();
    vtag_db *db = disk_db(d, "t.vtag", VTAG_EXISTING, no_map);
    vtag_snap *s;
    int good = fi_look(db, NULL), sound = good == 2 && fi_forged.strings;
    FUZZ_MUST(!fi_forged.broken || !good);
    if (!db) return;
    fi_found = 0;
    if (!vtag_snapshot(db, &s)) {
        fi_targets(s);
        if (deeds & 1) fi_each(db, s, fi_put_text);
        if (deeds & 2) fi_each(db, s, fi_put_vector);
        if (deeds & 4) fi_each(db, s, fi_put_key), fi_each(db, s, fi_fill);
        if (deeds & 8) fi_once(db, s, fi_give_back), fi_each(db, s, fi_waive);
        if (deeds & 16) fi_once(db, s, fi_roles), fi_once(db, s, fi_policy);
        if (deeds & 32) fi_copy_out(s, sound);
        if (deeds & 64) fi_each(db, s, fi_del);
        vtag_release(s);
    }
    if (deeds & 128) fi_note_err(vtag_compact(db, NULL, NULL));
    else fi_note_err(vtag_seal(db, NULL, NULL));
    if (sound) FUZZ_MUST(!fi_found);
    if (sound) FUZZ_MUST(fi_look(db, NULL) == 2);
    vtag_close(db);
}

/* The image that an input makes, on the disk as t.vtag; *flags: what is to be done. The first
   byte: 0-7 the image, 8 the layout is kept, 32 looked at by the scalar kernels, 64 the image
   with sketches, 128 with a record appended; where the layout is kept: not named by a slot. */
static fi_image *fi_spoilt(fuzz_in *in, uint32_t *flags_out)
{
    fi_image *m;
    uint32_t which = fuzz_u8(in), flags = fuzz_u8(in), cut = flags & 8 ? fuzz_u16(in) : 0, n;
    mender mend_it;
    fi_make_all();
    m = &fi_images[which & 64 ? FI_SKETCHED : which % FI_SKETCHED];
    fi_kept = fi_brief = (which & 8) != 0;
    if (fi_kept && !(m->whole && m->lines)) m = &fi_images[FI_CHURNED];
    mend_it.w = &m->w;
    mend_it.writes = fi_writes;
    mend_it.ctx = m->file;
    disk_reset(disk_get(), m->file);
    disk_get()->isa = which & 32 ? "scalar" : NULL;
    if (flags & 2) memset(disk_poke(m->file, (size_t)((uint8_t *)slot_of(m->w.p, 0) - m->w.p), 512), 0, 512);
    if (!fi_kept && which & 128) fi_append(in, m);
    fi_deeds = fi_kept ? fuzz_u8(in) : 0;
    n = fi_kept ? fuzz_u8(in) / 64 : UINT32_MAX;
    fi_forged.strings = fi_kept && !n && !cut;
    fi_forged.ids = 0;
    for (; n && in->n >= 2; n--) fi_spoil(in, &m->w, m->file, m->items.at + m->items.used);
    if (!(flags & 4)) mend(&mend_it);
    if (fi_kept) fi_forge_all(in, m, !(which & 128));
    if (cut & 1) disk_size_to(m->file, m->w.n - (cut >> 1) * 8 % m->w.n);
    else if (cut) disk_size_to(m->file, m->w.n + (cut >> 1) * 8);
    *flags_out = flags;
    return m;
}

static void fuzz_image(fuzz_in *in)
{
    uint32_t flags;
    fi_image *m = fi_spoilt(in, &flags);
    if (!fi_kept || flags & 1) fi_read(m, flags);
    fi_brief = 1;
    if (fi_kept) fi_exercise(fi_deeds, flags >= 240);
    else if (flags & 1) fi_write(flags);
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
    /* a key of 5,000 bytes; a waiver with a NUL inside; metadata under another number; an entry; a tag */
    "\\08\\01\\ff\\00\\00\\01\\00\\00\\15k", "\\08\\00\\ff\\00\\00\\03\\00\\11\\0ak\\14\\00", "\\08\\00\\ff\\00\\00\\05\\00\\08\\03k\\00",
    "\\09\\00\\7f\\00\\0a\\01\\02\\02\\03\\02\\1f\\01", "\\0a\\01\\ff\\00\\0b\\04\\05\\01", NULL};

FUZZ_MAIN(image)
#endif
