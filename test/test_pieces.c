// build: plain
/* What a file may hold, piece by piece: the private readers and judges of single pieces, given
   what no writer of ours makes and what no run of the whole engine would bring to them.

   A piece that is whole comes first in each test, so that what is refused after it is refused
   for the one thing that was changed. */
#include "heap.h"
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include <fenv.h>
#if defined(__SSE__)
#  include <xmmintrin.h>
#endif

/* ---- Extensions of events and policies ------------------------------------------------- */

static struct { vtf_blob b; char name[8]; uint8_t data[512]; } piece; /* a blob without a name */

static void piece_of(const void *head, size_t n, const void *tail, size_t m)
{
    memset(&piece, 0, sizeof piece);
    memcpy(piece.data, head, n);
    if (m) memcpy(piece.data + n, tail, m);
    piece.b.data = n + m;
}

/* Whether an event of this tail, n bytes, is one. */
static int event_of(const void *tail, size_t n, vtag_event *v)
{
    vtf_event f;
    memset(&f, 0, sizeof f);
    f.kind = VTAG_K_BACKFILL;
    f.flags = VTF_EXTENDED;
    piece_of(&f, sizeof f, tail, n);
    return vt_event_unpack(v, &piece.b);
}

static int policy_of(const void *tail, size_t n, vtag_policy *p)
{
    vtf_policy f;
    memset(&f, 0, sizeof f);
    f.flags = VTF_EXTENDED;
    piece_of(&f, sizeof f, tail, n);
    return vt_policy_unpack(p, &piece.b);
}

/* An extension: its bytes, as it says, and kind, then bytes of text and zeros. */
static const void *more(uint32_t bytes, uint32_t kind, const char *text, size_t n)
{
    static struct { vtf_more m; char text[256]; } x;
    memset(&x, 0, sizeof x);
    x.m.bytes = bytes;
    x.m.kind = kind;
    memcpy(x.text, text, n);
    return &x;
}

static void an_extension_is_as_long_as_it_says(void)
{
    vtag_event v;
    vtag_policy p;
    uint32_t bytes;
    CHECK(event_of(NULL, 0, &v) && policy_of(NULL, 0, &p));
    CHECK(event_of(more(16, 99, "", 0), 16, &v));  /* of a kind that comes later */
    CHECK(policy_of(more(16, 99, "", 0), 16, &p));
    for (bytes = 0; bytes <= 48; bytes++) {
        CHECK_EQ(event_of(more(bytes, 99, "", 0), 32, &v), bytes == 32);
        CHECK_EQ(policy_of(more(bytes, 99, "", 0), 32, &p), bytes == 32);
    }
    CHECK(!event_of(more(8, 99, "", 0), 4, &v));
    CHECK(!policy_of(more(8, 99, "", 0), 4, &p));
}

static void a_text_of_an_extension_ends_where_it_does(void)
{
    static const struct { uint32_t bytes; const char *text; size_t n; int good; } texts[] = {
        {16, "someone", 7, 1}, {16, "", 0, 1}, {8, "", 0, 0},           {16, "someones", 8, 0},
        {24, "someone", 7, 0}, {24, "someones", 8, 1}, {16, "me\0x", 4, 0}, {16, "me\0\0\0\0\0x", 8, 0},
    };
    static const uint32_t kinds[] = {VTF_X_BY, VTF_X_COMMAND};
    char longest[280];
    vtag_event v;
    size_t i, k;
    for (k = 0; k < 2; k++)
        for (i = 0; i < LENGTH(texts); i++) {
            const char *got;
            int good = event_of(more(texts[i].bytes, kinds[k], texts[i].text, texts[i].n), texts[i].bytes, &v);
            CHECK_EQ(good, texts[i].good);
            got = k ? v.command : v.by;
            if (good) CHECK_STR(got, texts[i].text);
        }
    memset(longest, 'x', sizeof longest);
    CHECK(!event_of(more(264, VTF_X_BY, longest, 255), 264, &v) || strlen(v.by) == 255);
}

static void numbers_of_an_extension_have_room_in_it(void)
{
    static const struct { uint32_t kind, bytes; } whole[] = {
        {VTF_X_RUN, 8 + sizeof(vtf_run_counts)}, {VTF_X_AUDIT, 8 + sizeof(vtf_audit)},
        {VTF_X_GATE, 8 + sizeof(vtf_gate_more)},
    };
    vtag_event v;
    vtag_policy p;
    size_t i;
    for (i = 0; i < LENGTH(whole); i++) {
        CHECK(event_of(more(whole[i].bytes, whole[i].kind, "", 0), whole[i].bytes, &v));
        CHECK(event_of(more(whole[i].bytes + 8, whole[i].kind, "", 0), whole[i].bytes + 8, &v));
        CHECK(!event_of(more(whole[i].bytes - 8, whole[i].kind, "", 0), whole[i].bytes - 8, &v));
    }
    CHECK(policy_of(more(16, VTF_X_GATE, "\1\0\0\0\2", 5), 16, &p));
    CHECK(p.gate.min_audit_ppm == 1 && p.gate.min_recall_ppm == 2);
    CHECK(!policy_of(more(8, VTF_X_GATE, "", 0), 8, &p));
}

/* Zeros between strings and extensions reach past the end: there are none. */
static void what_ends_in_a_string_has_no_extensions(void)
{
    vtf_policy f;
    vtag_policy p;
    memset(&f, 0, sizeof f);
    f.flags = VTF_EXTENDED;
    f.hold = 4;
    piece_of(&f, sizeof f, "why", 4);
    CHECK(vt_policy_unpack(&p, &piece.b));
    CHECK_STR(p.hold, "why");
    f.hold = 5;
    piece_of(&f, sizeof f, "why", 4);
    CHECK(!vt_policy_unpack(&p, &piece.b));
}

/* ---- Gates -------------------------------------------------------------------------------- */

static void a_gate_states_shares_of_a_million_or_none(void)
{
    static const struct { uint32_t ppm; int good; } shares[] = {
        {0, 1}, {1000000, 1}, {1000001, 0}, {VTAG_NONE, 1}, {VTAG_NONE - 1, 0}
    };
    vtag_gate base = {0}, out, g;
    size_t i;
    for (i = 0; i < LENGTH(shares); i++) {
        memset(&g, 0, sizeof g);
        g.min_audit_ppm = shares[i].ppm;
        CHECK_EQ(vt_gate_resolve(&out, &g, &base), shares[i].good);
        memset(&g, 0, sizeof g);
        g.min_recall_ppm = shares[i].ppm;
        CHECK_EQ(vt_gate_resolve(&out, &g, &base), shares[i].good);
    }
}

static void a_gate_is_below_a_policy_in_any_one_term(void)
{
    vtag_gate policy = {0}, g;
    policy.min_ppm = 5;
    policy.max_waived_ppm = 5;
    policy.max_age_ms = 5;
    policy.min_audit_ppm = 5;
    policy.min_recall_ppm = 5;
    g = policy;
    CHECK(!vt_gate_below(&g, &policy));
    g.min_audit_ppm = 4;
    CHECK(vt_gate_below(&g, &policy));
    g = policy;
    g.min_recall_ppm = 4;
    CHECK(vt_gate_below(&g, &policy));
    policy.score = "ndcg";
    policy.has_min = policy.has_drop = 1;
    g = policy;
    CHECK(!vt_gate_below(&g, &policy));
    g.has_min = 0;
    CHECK(vt_gate_below(&g, &policy));
    g = policy;
    g.has_drop = 0;
    CHECK(vt_gate_below(&g, &policy));
}

static void an_audit_of_numbers_beyond_all_bounds_passes_nothing(void)
{
    env e;
    vtag_audit a = {0}, b;
    vtag_tag tag;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    put2(e.db, 1, "x", tag, 1, 0);
    a.sampled = a.written = 1;
    CHECK(vt_audit_passes(e.db->state, tag, &a, 1000000));
    b = a;
    b.sampled = UINT64_MAX;
    CHECK(!vt_audit_passes(e.db->state, tag, &b, 1));
    b = a;
    b.below = 2;
    CHECK(!vt_audit_passes(e.db->state, tag, &b, 1));
    b = a;
    b.untestable = UINT64_MAX;
    CHECK(!vt_audit_passes(e.db->state, tag, &b, 1));
    env_down(&e);
}

/* ---- Arithmetic ------------------------------------------------------------------------------ */

static void arithmetic_that_rounds_otherwise_is_told(void)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    size_t i;
    CHECK(vt_rounds());
    for (i = 0; i < LENGTH(modes); i++) {
        int good;
        if (fesetround(modes[i]) != 0) continue;
        good = vt_rounds();
        fesetround(FE_TONEAREST);
        CHECK(!good);
    }
#if defined(__SSE__)
    for (i = 0; i < 2; i++) { /* results below the least normal number are zeros; operands are */
        unsigned was = _mm_getcsr();
        int good;
        _mm_setcsr(was | (i ? 0x40u : 0x8000u));
        good = vt_rounds();
        _mm_setcsr(was);
        CHECK(!good);
    }
#endif
    CHECK(vt_rounds());
}

/* ---- Pieces of a store ------------------------------------------------------------------------- */

/* A store of a few items, sealed and compacted, as bytes that may be changed. */
typedef struct image {
    env      e;
    uint8_t *p;
    void    *raw;
    size_t   n;
    vtag_db *db;
} image;

static void image_up(image *m)
{
    vtag_open_opts o = {0};
    uint64_t id;
    vtag_tag tag;
    env_up(&m->e);
    tag = declare(m->e.db, "m@1", 2, VTAG_COSINE);
    for (id = 1; id <= 20; id++) put2(m->e.db, id, "some text", tag, 1, (float)id);
    OK(del(m->e.db, 7));
    OK(vtag_seal(m->e.db, NULL, NULL));
    vtag_close(m->e.db);
    m->p = ram_image(&m->e.r, "t.vtag", &m->n, &m->raw);
    MUST(vtag_open_memory(m->p, m->n, &o, &m->db));
}

static void image_down(image *m)
{
    vtag_close(m->db);
    free(m->raw);
    m->e.db = NULL;
    ram_free(&m->e.r);
}

static void an_image_is_read_within_its_bounds(void)
{
    image m;
    uint8_t two[2];
    image_up(&m);
    OK(vt_file_read(m.db->file, m.n - 2, two, 2));
    ERR(VTAG_IO, vt_file_read(m.db->file, m.n - 1, two, 2));
    ERR(VTAG_IO, vt_file_read(m.db->file, m.n + 1, two, 1));
    image_down(&m);
}

static void tails_that_no_writer_makes_are_refused(void)
{
    image m;
    vt_state *s;
    vtf_tail t = {VTF_ITEMS, 0, VTF_FRONT, VTF_ALIGN, 64};
    image_up(&m);
    s = vt_state_clone(m.db->state);
    REQUIRE(s != NULL);
    OK(vt_apply_tails(s, &t, 1));
    t.kind = VTF_ROWS;
    ERR(VTAG_CORRUPT, vt_apply_tails(s, &t, 1));
    t.kind = VTF_META;
    OK(vt_apply_tails(s, &t, 1));
    t.used = 60;
    ERR(VTAG_CORRUPT, vt_apply_tails(s, &t, 1));
    t.used = 64;
    t.at = 0; /* none is being filled */
    OK(vt_apply_tails(s, &t, 1));
    vt_state_drop(s);
    image_down(&m);
}

static void a_checkpoint_that_no_writer_makes_is_refused(void)
{
    image m;
    vt_state *s;
    vtf_ckpt *c;
    vtf_seg *seg;
    vtf_space sp = {VTF_S_ITEMS, 0, 0, 5, 0};
    vtf_run run;
    uint64_t at, length;
    memset(&run, 0, sizeof run);
    image_up(&m);
    s = vt_state_clone(m.db->state);
    REQUIRE(s != NULL);
    at = s->ckpt.at;
    length = s->ckpt.length;
    c = (vtf_ckpt *)(void *)(m.p + at);
    REQUIRE(at && c->magic == VTF_CKPT_MAGIC && c->segs);
    s->ckpt.at = at + 4;
    ERR(VTAG_CORRUPT, vt_ckpt_load(s));
    s->ckpt.at = at;
    s->ckpt.length = sizeof *c - 8;
    ERR(VTAG_CORRUPT, vt_ckpt_load(s));
    s->ckpt.length = length;
    seg = (vtf_seg *)(void *)((vtf_tag *)(void *)(c + 1) + c->tags);
    seg->number = 7;
    s->ckpt.crc = vt_crc32c(0, c, (size_t)length);
    ERR(VTAG_CORRUPT, vt_ckpt_load(s));
    ERR(VTAG_CORRUPT, vt_ckpt_spaces(s, (const uint8_t *)&sp, 1, &run, 4)); /* of more runs than there are */
    sp.runs = 0;
    ERR(VTAG_CORRUPT, vt_ckpt_spaces(s, (const uint8_t *)&sp, 1, &run, 1)); /* and of less */
    vt_state_drop(s);
    image_down(&m);
}

static void a_bitmap_lies_at_a_multiple_of_eight(void)
{
    image m;
    vtf_seg d;
    vt_seg s;
    image_up(&m);
    REQUIRE(m.db->state->rows.n > 0);
    d = m.db->state->rows.a[0].f;
    d.bits_at = d.at + 64;
    OK(vt_seg_load(m.db->file, &m.db->state->tags, &d, &s));
    d.bits_at += 4;
    ERR(VTAG_CORRUPT, vt_seg_load(m.db->file, &m.db->state->tags, &d, &s));
    d.bits_at = m.n;
    ERR(VTAG_CORRUPT, vt_seg_load(m.db->file, &m.db->state->tags, &d, &s));
    image_down(&m);
}

/* A segment's own extent says other things than the table of segments. */
static void a_segment_that_its_extent_contradicts_is_found(void)
{
    image m;
    vtag_snap *s;
    vtag_report report;
    vtf_extent *e, was;
    int i;
    image_up(&m);
    s = look(m.db);
    e = (vtf_extent *)(void *)(m.p + m.db->state->rows.a[0].f.at);
    was = *e;
    OK(vtag_verify(s, &report, NULL, NULL));
    for (i = 0; i < 3; i++) {
        if (i == 0) e->tag++;
        if (i == 1) e->cap++;
        if (i == 2) e->length += VTF_ALIGN;
        e->crc = vt_crc32c(0, e, offsetof(vtf_extent, crc));
        if (memcmp(e, &was, sizeof was)) ERR(VTAG_CORRUPT, vtag_verify(s, &report, NULL, NULL));
        *e = was;
    }
    OK(vtag_verify(s, &report, NULL, NULL));
    vtag_release(s);
    image_down(&m);
}

static void a_list_to_copy_back_lies_within_the_file(void)
{
    image m;
    vtf_slot slot;
    vtag_err err;
    image_up(&m);
    slot = m.db->slot;
    slot.redo_at = m.n;
    slot.redo_n = 0;
    slot.redo_xxh = vt_xxh64(&slot, 0);
    vt_free(vt_redo_read(m.db->file, &slot, &err));
    OK(err);
    slot.redo_n = 1;
    CHECK(!vt_redo_read(m.db->file, &slot, &err));
    ERR(VTAG_CORRUPT, err);
    slot.redo_at = m.n + 1;
    CHECK(!vt_redo_read(m.db->file, &slot, &err));
    ERR(VTAG_CORRUPT, err);
    image_down(&m);
}

/* ---- Blobs ------------------------------------------------------------------------------------- */

static void what_lies_in_a_space_fits_it(void)
{
    static const struct { uint32_t kind, name; uint64_t data; int good; } shapes[] = {
        {0, 3, 10, 1},           {0, 0, 10, 0},           {VTF_S_NAMES, 3, 0, 1},   {VTF_S_NAMES, 0, 0, 0},
        {VTF_S_FACTS, 0, 10, 1}, {VTF_S_FACTS, 3, 10, 0}, {VTF_S_FACTS, 0, VT_FACTS_MAX, 1},
        {VTF_S_FACTS, 0, VT_FACTS_MAX + 1, 0},            {VTF_S_WAIVERS, 0, 3, 1}, {VTF_S_WAIVERS, 0, 0, 0},
        {VTF_S_ITEMS, 3, 0, 1},  {VTF_S_ITEMS, 0, 0, 1},
    };
    static char data[VT_FACTS_MAX + 2];
    size_t i;
    memset(data, 'x', sizeof data - 1);
    for (i = 0; i < LENGTH(shapes); i++) {
        vtf_blob b = vt_blob_of(shapes[i].kind, 1, shapes[i].name, (size_t)shapes[i].data);
        CHECK_EQ(vt_blob_fits(&b, "abc", data), shapes[i].good);
    }
}

/* A checksum that holds over bytes without the NULs that strings are read up to. */
static void a_blob_without_its_ends_is_none(void)
{
    image m;
    vtf_blob *b, was;
    const vtf_entry *x;
    uint8_t *name, *data;
    image_up(&m);
    x = vt_state_item(m.db->state, 1);
    REQUIRE(x && x->at);
    b = (vtf_blob *)(void *)(m.p + x->at);
    was = *b;
    name = (uint8_t *)(b + 1);
    data = (uint8_t *)b + vtf_blob_data(b);
    CHECK(vt_blob_at(m.db->file, x->at, VTF_S_ITEMS) == b);
    CHECK(!vt_blob_at(m.db->file, x->at + 4, VTF_S_ITEMS));
    name[b->name] = 'x';
    b->crc = vt_crc32c(0, &b->kind, (size_t)vtf_blob_bytes(b) - 4);
    CHECK(!vt_blob_at(m.db->file, x->at, VTF_S_ITEMS));
    name[b->name] = 0;
    data[b->data] = 'x';
    b->crc = vt_crc32c(0, &b->kind, (size_t)vtf_blob_bytes(b) - 4);
    CHECK(!vt_blob_at(m.db->file, x->at, VTF_S_ITEMS));
    data[b->data] = 0;
    *b = was;
    CHECK(vt_blob_at(m.db->file, x->at, VTF_S_ITEMS) == b);
    image_down(&m);
}

/* Facts that a later version knows to write: they are kept, copied, and go with their item. */
static void facts_of_an_item_come_and_go_with_it(void)
{
    env e;
    vtag_batch *b;
    vtag_tag tag;
    uint64_t id;
    int i;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    for (id = 1; id <= 4; id++) put2(e.db, id, "x", tag, 1, 0);
    b = begin(e.db);
    for (id = 1; id <= 2; id++) { /* with a blob of its own, and without */
        vtf_entry fact = {0};
        vtf_blob blob = vt_blob_of(VTF_S_FACTS, id, 0, 5);
        fact.id = id;
        fact.rev = 1;
        if (id == 1) OK(vt_batch_blob(b, &blob, "", "facts", &fact.at));
        OK(vt_batch_set(b, VTF_S_FACTS, 0, &fact));
    }
    OK(vtag_commit(b));
    for (i = 0; i < 3; i++) {
        const vt_space *s = vt_index_find(&e.db->state->index, VTF_S_FACTS, 0);
        REQUIRE(s != NULL);
        CHECK_EQ(s->live, 2);
        CHECK(vt_space_get(s, 1)->at && !vt_space_get(s, 2)->at);
        verify(e.db);
        if (i == 0) env_reopen(&e);
        if (i == 1) OK(del(e.db, 4));
        if (i == 1) OK(vtag_compact(e.db, NULL, NULL));
    }
    OK(del(e.db, 1));
    OK(del(e.db, 2));
    OK(del(e.db, 3));
    CHECK_EQ(vt_index_find(&e.db->state->index, VTF_S_FACTS, 0)->live, 0);
    verify(e.db);
    env_down(&e);
}

/* ---- Names of tags ---------------------------------------------------------------------------- */

/* The blob of names that tag a[0] has, with its checksum mended after a change. */
static void mend_names(image *m, uint64_t at)
{
    vtf_blob *b = (vtf_blob *)(void *)(m->p + at);
    b->crc = vt_crc32c(0, &b->kind, (size_t)vtf_blob_bytes(b) - 4);
}

static void a_tag_changes_its_names_once_and_by_an_alias(void)
{
    image m;
    vt_state *s;
    vtf_tag before, after;
    char *name, *data;
    vtag_batch *b;
    vtag_tag tag;
    uint64_t left = 1u << 20;
    env_up(&m.e);
    tag = declare(m.e.db, "m@1", 2, VTAG_COSINE);
    before = m.e.db->state->tags.a[0].f;
    b = begin(m.e.db);
    OK(vtag_alias(b, tag, "n@1", "why"));
    OK(vtag_commit(b));
    after = m.e.db->state->tags.a[0].f;
    vtag_close(m.e.db);
    m.p = ram_image(&m.e.r, "t.vtag", &m.n, &m.raw);
    MUST(vtag_open_memory(m.p, m.n, NULL, &m.db));
    s = vt_state_clone(m.db->state);
    REQUIRE(s != NULL && before.names != after.names);
    ERR(VTAG_CORRUPT, vt_tags_apply(&s->tags, m.db->file, &before, &left)); /* the alias would go */
    vt_tags_free(&s->tags);
    memset(&s->tags, 0, sizeof s->tags);
    OK(vt_tags_apply(&s->tags, m.db->file, &before, &left));
    m.db->file->version = 2;
    ERR(VTAG_CORRUPT, vt_tags_apply(&s->tags, m.db->file, &after, &left));
    m.db->file->version = 3;
    name = (char *)(m.p + after.names + sizeof(vtf_blob));
    data = (char *)(m.p + after.names + vtf_blob_data((const vtf_blob *)(const void *)(m.p + after.names)));
    name[0] = 'x';
    mend_names(&m, after.names);
    ERR(VTAG_CORRUPT, vt_tags_apply(&s->tags, m.db->file, &after, &left)); /* another name */
    name[0] = 'm';
    CHECK_STR(data + 1, "n@1");
    data[1] = 'm';
    mend_names(&m, after.names);
    ERR(VTAG_CORRUPT, vt_tags_apply(&s->tags, m.db->file, &after, &left)); /* an alias that is the name */
    data[1] = 'n';
    mend_names(&m, after.names);
    OK(vt_tags_apply(&s->tags, m.db->file, &after, &left));
    CHECK_STR(s->tags.a[0].alias, "n@1");
    vt_state_drop(s);
    image_down(&m);
}

/* ---- The log ------------------------------------------------------------------------------------- */

static void a_link_leads_to_an_extent_of_the_log(void)
{
    image m;
    vt_walk w;
    vtf_link l;
    vtf_logpos pos;
    image_up(&m);
    memset(&w, 0, sizeof w);
    memset(&l, 0, sizeof l);
    memset(&pos, 0, sizeof pos);
    w.f = m.db->file;
    l.r.size = sizeof l;
    l.extent = m.db->state->pos.extent;
    l.length = m.db->state->pos.length;
    CHECK(vt_walk_follow(&w, &l.r, &pos));
    memset(&pos, 0, sizeof pos);
    l.length += VTF_ALIGN;
    CHECK(!vt_walk_follow(&w, &l.r, &pos));
    l.extent = m.db->state->rows.a[0].f.at;
    l.length = m.db->state->rows.a[0].f.length;
    CHECK(!vt_walk_follow(&w, &l.r, &pos));
    l.r.size = sizeof l.r;
    CHECK(!vt_walk_follow(&w, &l.r, &pos));
    image_down(&m);
}

static void a_record_vouches_for_bytes_that_are_there(void)
{
    struct { vtf_record r; vtf_section s; vtf_range g; } x;
    image m;
    uint64_t left = 1u << 20;
    image_up(&m);
    memset(&x, 0, sizeof x);
    x.r.size = sizeof x;
    x.s.kind = VTF_RANGES;
    x.s.size = sizeof x.s + sizeof x.g;
    x.g.at = VTF_FRONT;
    x.g.length = 8;
    x.g.xxh = vt_xxh64(m.p + VTF_FRONT, 8);
    CHECK(vt_record_intact(m.db->file, &x.r, &left));
    x.g.xxh++;
    CHECK(!vt_record_intact(m.db->file, &x.r, &left));
    x.g.at = m.n;
    CHECK(!vt_record_intact(m.db->file, &x.r, &left));
    image_down(&m);
}

/* ---- Handles and their file -------------------------------------------------------------------- */

static void a_file_that_went_back_is_not_taken(void)
{
    env e;
    env_up(&e);
    put(e.db, 1, "x", NULL, 0);
    e.db->state->head.commit += 10;
    ERR(VTAG_CORRUPT, vt_db_take(e.db, e.db->file, 1));
    e.db->env.read_only = 1;
    OK(vt_db_take(e.db, e.db->file, 1)); /* a reader keeps what it has */
    CHECK(e.db->state->head.commit > 10);
    e.db->env.read_only = 0;
    e.db->state->head.commit -= 10;
    env_down(&e);
}

static void a_slot_of_the_same_number_is_another_by_its_log(void)
{
    env e;
    vtf_slot slot;
    env_up(&e);
    put(e.db, 1, "x", NULL, 0);
    slot = e.db->slot;
    CHECK(!vt_db_moved(e.db, &slot, 0));
    slot.log.crc++;
    CHECK(vt_db_moved(e.db, &slot, 0));
    slot.salt++;
    CHECK(!vt_db_moved(e.db, &slot, 0));
    env_down(&e);
}

static vtag_err no_sync(void *file) { (void)file; return VTAG_IO; }
static int never_same(void *file, const char *path) { (void)file, (void)path; return 0; }

static void what_another_left_unsynced_is_synced_or_poisons(void)
{
    env e;
    env_up(&e);
    put(e.db, 1, "x", NULL, 0);
    e.db->slot.flags |= VTF_UNSYNCED;
    OK(vt_db_inherit(e.db));
    CHECK(!(e.db->slot.flags & VTF_UNSYNCED));
    e.db->slot.flags |= VTF_UNSYNCED;
    e.r.io.sync = no_sync;
    ERR(VTAG_IO, vt_db_inherit(e.db));
    ERR(VTAG_IO, e.db->poison);
    e.r.io.sync = ram_sync;
    env_down(&e);
}

static void a_few_bytes_of_somebodys_are_no_store(void)
{
    env e;
    vtag_open_opts o = {0};
    vtag_db *db;
    uint8_t byte = 'x';
    void *f;
    env_up(&e);
    OK(e.r.io.open(&e.r, "few", VTAG_NEW, &f));
    OK(e.r.io.allocate(f, VTF_IDENTITY));
    OK(e.r.io.write(f, 0, &byte, 1));
    e.r.io.close(f);
    o.io = &e.r.io;
    ERR(VTAG_FORMAT, vtag_open("few", &o, &db));
    e.r.io.same = never_same; /* and another one at every look: not for ever */
    ERR(VTAG_FORMAT, vtag_open("few", &o, &db));
    e.r.io.same = ram_same;
    CHECK_EQ(ram_find(&e.r, "few")->bytes, VTF_IDENTITY);
    env_down(&e);
}

/* ---- Damaged decisions, and no memory for them ------------------------------------------------- */

static void an_audit_that_rots_decides_nothing(void)
{
    env e;
    vtag_event ev = {0};
    vtag_gate gate = {0};
    vtag_verdict v;
    vtag_tag a, tag;
    vtag_batch *b;
    vtag_snap *s;
    const vtf_entry *x;
    uint64_t nth;
    uint8_t *p;
    vtag_err err = VTAG_NOMEM;
    env_up(&e);
    a = declare(e.db, "m@1", 2, VTAG_COSINE);
    tag = declare(e.db, "m@2", 2, VTAG_COSINE);
    put2(e.db, 1, "x", a, 1, 0);
    put2(e.db, 2, "x", tag, 1, 0);
    ev.kind = VTAG_K_AUDIT;
    ev.tag = tag;
    ev.audit.sampled = ev.audit.written = 1;
    ev.audit.worst = 1;
    OK(note(e.db, &ev));
    gate.min_audit_ppm = 1;
    gate.reason = "to see";
    for (nth = 1; err == VTAG_NOMEM && nth < 50; nth++) {
        b = begin(e.db);
        OK(vtag_meta_set(b, "k", "v", 1)); /* something to settle */
        heap.fail_at = heap.calls + nth;
        err = vtag_alias(b, tag, "n@2", NULL);
        heap.fail_at = 0;
        vtag_abort(b);
    }
    OK(err);
    x = vt_space_get(vt_index_find(&e.db->state->index, VTF_S_EVENTS, 0), newest_event(e.db, VTAG_K_AUDIT).seq);
    REQUIRE(x != NULL);
    p = ram_find(&e.r, "t.vtag")->p + x->at + sizeof(vtf_blob) + 8;
    *p ^= 1;
    s = look(e.db);
    ERR(VTAG_CORRUPT, vtag_judge(s, tag, &gate, &v));
    vtag_release(s);
    b = begin(e.db);
    ERR(VTAG_CORRUPT, vtag_alias(b, tag, "n@2", NULL));
    vtag_abort(b);
    *p ^= 1;
    verify(e.db);
    env_down(&e);
}

static void a_restore_without_memory_says_so(void)
{
    env e;
    vtag_begin_opts o = {0};
    vtag_batch *b;
    vtag_info info;
    uint64_t nth;
    vtag_err err = VTAG_NOMEM;
    env_up(&e);
    o.restore = 1;
    memset(&info, 0, sizeof info);
    info.spec.name = "m@1";
    info.spec.dim = 2;
    info.written = 9;
    info.alias = "n@1";
    for (nth = 1; err == VTAG_NOMEM && nth < 50; nth++) {
        MUST(vtag_begin(e.db, &o, &b));
        heap.fail_at = heap.calls + nth;
        err = vtag_restore_tag(b, &info);
        heap.fail_at = 0;
        vtag_abort(b);
    }
    OK(err);
    CHECK(nth > 5);
    env_down(&e);
}

/* What a space holds where nobody counted it along: sums pass over what is no blob. */
static void what_is_weighed_need_not_be_whole(void)
{
    image m;
    vt_space *s;
    vtf_blob *b;
    uint64_t whole, was, names;
    image_up(&m);
    s = vt_index_find(&m.db->state->index, VTF_S_ITEMS, 0);
    REQUIRE(s && s->bytes != VT_UNKNOWN);
    was = s->bytes;
    CHECK_EQ(vt_space_weighs(m.db->file, s), was);
    s->bytes = VT_UNKNOWN;
    whole = vt_space_weighs(m.db->file, s);
    CHECK_EQ(whole, was);
    b = (vtf_blob *)(void *)(m.p + vt_state_item(m.db->state, 1)->at);
    b->data |= UINT64_C(1) << 50;
    CHECK(vt_space_weighs(m.db->file, s) < whole);
    b->data &= (UINT64_C(1) << 48) - 1;
    heap.fail_at = heap.calls + 1;
    heap.for_good = 1;
    CHECK(vt_space_weighs(m.db->file, s) <= whole);
    heap.fail_at = heap.for_good = 0;
    s->bytes = was;
    whole = vt_plan_of(m.db->state).blobs;
    names = m.db->state->tags.a[0].f.names;
    b = (vtf_blob *)(void *)(m.p + names);
    b->data |= UINT64_C(1) << 50;
    CHECK(vt_plan_of(m.db->state).blobs < whole);
    b->data &= (UINT64_C(1) << 48) - 1;
    m.db->state->tags.a[0].f.names = m.n * 8;
    CHECK(vt_plan_of(m.db->state).blobs < whole);
    m.db->state->tags.a[0].f.names = names;
    CHECK_EQ(vt_plan_of(m.db->state).blobs, whole);
    image_down(&m);
}

/* ---- Small ones ----------------------------------------------------------------------------------- */

static void of_two_slots_the_later_is_another_and_so_is_one_of_another_salt(void)
{
    vtf_slot a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    a.seq = b.seq = 5;
    CHECK(!vt_slot_other(&a, &b));
    a.salt = 1;
    CHECK(vt_slot_other(&a, &b));
    a.seq = 4;
    CHECK(!vt_slot_other(&a, &b));
    a.seq = 6;
    CHECK(vt_slot_other(&a, &b));
}

static void a_wait_ends_when_its_time_is_gone(void)
{
    uint64_t now = vt_os_steady_ms();
    CHECK_EQ(vt_wait_left(VTAG_NONE, now), 0);
    CHECK(vt_wait_left(1u << 30, now) > 0);
    CHECK_EQ(vt_wait_left(10, now - 10), 0);
    CHECK_EQ(vt_wait_left(10, now - 100000), 0);
    CHECK_EQ(vt_plan_extent(0), 0);
}

static void a_handle_is_busy_for_as_long_as_one_waits(void)
{
    env e;
    vtag_begin_opts o = {0};
    vtag_batch *b;
    env_up(&e);
    e.db->busy = 1;
    ERR(VTAG_LOCKED, vt_db_busy(e.db, VTAG_NONE, vt_os_steady_ms()));
    ERR(VTAG_LOCKED, vt_db_busy(e.db, 2, vt_os_steady_ms()));
    o.wait_ms = VTAG_NONE;
    ERR(VTAG_LOCKED, vtag_begin(e.db, &o, &b));
    e.db->busy = 0;
    OK(vt_db_busy(e.db, 2, vt_os_steady_ms()));
    e.db->busy = 0;
    env_down(&e);
}

static char told[200];

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx, (void)err, (void)at;
    snprintf(told, sizeof told, "%s", msg);
}

static void words_are_found_for_what_the_system_does_not_say(void)
{
    ram r;
    vt_env env = {0};
    vtag_open_opts o = {0};
    ram_init(&r);
    env.io = &r.io;
    ERR(VTAG_IO, vt_say_why(&env, VTAG_IO, "cannot open", "p", 0)); /* nobody hears it */
    env.log = hear;
    ERR(VTAG_IO, vt_say_why(&env, VTAG_IO, "cannot open", "p", 0));
    CHECK_STR(told, "cannot open p: input/output error");
    ERR(VTAG_FORMAT, vt_say_why(&env, VTAG_FORMAT, "cannot open", NULL, 0));
    CHECK_STR(told, "cannot open: not a plain file");
    o.log = hear;
    ERR(VTAG_ARG, vt_open_check(&o, NULL, 1, 1));
    CHECK_STR(told, "opts->io: this system needs one");
    ram_free(&r);
}

static void the_twelfth_vector_is_named_by_its_number(void)
{
    env e;
    vtag_vec v[12];
    vtag_batch *b;
    vtag_item item = item_of(1, "x");
    vtag_tag tag;
    vtag_open_opts o = {0};
    size_t i;
    env_up(&e);
    vtag_close(e.db);
    o.io = &e.r.io;
    o.log = hear;
    MUST(vtag_open("t.vtag", &o, &e.db));
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    for (i = 0; i < LENGTH(v); i++) v[i] = v2(tag, 1, 0);
    v[11].dim = 3;
    b = begin(e.db);
    CHECK(vtag_put(b, &item, v, LENGTH(v)) != VTAG_OK);
    CHECK(strstr(told, "[11]"));
    vtag_abort(b);
    env_down(&e);
}

static void a_compaction_gains_a_new_version_of_the_format(void)
{
    env e;
    vtag_db *a, *b;
    env_up(&e);
    put(e.db, 1, "x", NULL, 0);
    a = env_open(&e, "a.vtag", VTAG_NEW);
    b = e.db;
    a->file->version = 2;
    CHECK(vt_compact_gains(a, b));
    a->file->version = 3;
    vtag_close(a);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(an_extension_is_as_long_as_it_says);
    RUN(a_text_of_an_extension_ends_where_it_does);
    RUN(numbers_of_an_extension_have_room_in_it);
    RUN(what_ends_in_a_string_has_no_extensions);
    RUN(a_gate_states_shares_of_a_million_or_none);
    RUN(a_gate_is_below_a_policy_in_any_one_term);
    RUN(an_audit_of_numbers_beyond_all_bounds_passes_nothing);
    RUN(arithmetic_that_rounds_otherwise_is_told);
    RUN(an_image_is_read_within_its_bounds);
    RUN(tails_that_no_writer_makes_are_refused);
    RUN(a_checkpoint_that_no_writer_makes_is_refused);
    RUN(a_bitmap_lies_at_a_multiple_of_eight);
    RUN(a_segment_that_its_extent_contradicts_is_found);
    RUN(a_list_to_copy_back_lies_within_the_file);
    RUN(what_lies_in_a_space_fits_it);
    RUN(a_blob_without_its_ends_is_none);
    RUN(facts_of_an_item_come_and_go_with_it);
    RUN(a_tag_changes_its_names_once_and_by_an_alias);
    RUN(a_link_leads_to_an_extent_of_the_log);
    RUN(a_record_vouches_for_bytes_that_are_there);
    RUN(a_file_that_went_back_is_not_taken);
    RUN(a_slot_of_the_same_number_is_another_by_its_log);
    RUN(what_another_left_unsynced_is_synced_or_poisons);
    RUN(a_few_bytes_of_somebodys_are_no_store);
    RUN(an_audit_that_rots_decides_nothing);
    RUN(a_restore_without_memory_says_so);
    RUN(what_is_weighed_need_not_be_whole);
    RUN(of_two_slots_the_later_is_another_and_so_is_one_of_another_salt);
    RUN(a_wait_ends_when_its_time_is_gone);
    RUN(a_handle_is_busy_for_as_long_as_one_waits);
    RUN(words_are_found_for_what_the_system_does_not_say);
    RUN(the_twelfth_vector_is_named_by_its_number);
    RUN(a_compaction_gains_a_new_version_of_the_format);
    return t_end();
}
