// build: plain
/* test_forged.c - files whose checksums hold over bytes that mean nonsense: by malice, or by
   rot that came after the file was opened

   A store is closed, a number in it changed and every checksum over it mended (hostile.h),
   so that what is asked is the check behind the checksum: what opening, reading, verifying
   and changing then say. Reads, the size and memory can be made to fail, too. */
#include "heap.h"
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "hostile.h"

#define A (1u << 20 | 1u << 8 | 1u) /* the first tag of store_up */
#define B (1u << 20 | 2u << 8 | 1u)

/* ---- What the log callback was told ----------------------------------------------------- */

static struct { char msg[80]; uint64_t at; } said[256];
static size_t lines;

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx;
    (void)err;
    if (lines == LENGTH(said)) return;
    snprintf(said[lines].msg, sizeof said[lines].msg, "%s", msg);
    said[lines++].at = at;
}

static int heard(const char *msg, uint64_t at)
{
    size_t i;
    for (i = 0; i < lines; i++)
        if (!strcmp(said[i].msg, msg) && said[i].at == at) return 1;
    return 0;
}

/* ---- Calls that fail -------------------------------------------------------------------- */

static uint64_t calls, fail_at; /* reads and sizes asked of the disk; which fails, 0: none */
static int for_good;

static int failing(void)
{
    calls++;
    return fail_at && (calls == fail_at || (for_good && calls > fail_at));
}

static vtag_err shaky_read(void *file, uint64_t at, void *p, size_t n)
{
    return failing() ? VTAG_IO : ram_read(file, at, p, n);
}

static vtag_err shaky_size(void *file, uint64_t *bytes)
{
    return failing() ? VTAG_IO : ram_size(file, bytes);
}

static void fail_call(uint64_t nth, int and_all_after)
{
    calls = 0;
    fail_at = nth;
    for_good = and_all_after;
}

/* ---- Forging ---------------------------------------------------------------------------- */

typedef struct section_at { vtf_section *s; place *record; } section_at;

static places w;             /* of the closed store, whose bytes lie in w.p */
static section_at sec[4096]; /* the sections of its log, oldest first */
static size_t secs;
static uint8_t *good;        /* the bytes as they were */

static void find_sections(void)
{
    size_t i;
    for (i = secs = 0; i < w.ofs[P_RECORD]; i++) {
        place *x = &w.a[w.of[P_RECORD][i]];
        const vtf_record *r = (const vtf_record *)(w.p + x->at);
        uint32_t at = sizeof *r;
        const vtf_section *s;
        while (r->type == VTF_R_COMMIT && (s = vt_section_next(r, &at)) != NULL) {
            REQUIRE(secs < LENGTH(sec));
            sec[secs].s = (vtf_section *)(uintptr_t)s;
            sec[secs++].record = x;
        }
    }
}

/* Closes the store, and looks where what is in it. */
static void forge_begin(env *e)
{
    ram_node *node;
    vtag_close(e->db);
    e->db = NULL;
    node = ram_find(&e->r, "t.vtag");
    find_places(&w, node->p, (size_t)node->bytes);
    find_sections();
    good = malloc(w.n);
    memcpy(good, w.p, w.n);
}

/* Takes back what was forged. */
static void forge_again(env *e)
{
    size_t i;
    vtag_close(e->db);
    e->db = NULL;
    memcpy(w.p, good, w.n);
    for (i = 0; i < w.count; i++) w.a[i].spoilt = 0;
}

static void forge_end(env *e)
{
    free(good);
    env_down(e);
    CHECK_EQ(heap.live, 0);
}

static void mend_all(void)
{
    mender m;
    m.w = &w;
    m.writes = NULL;
    m.ctx = NULL;
    mend(&m);
}

static vtag_err reopen_as(env *e, vtag_access access, int no_map)
{
    vtag_open_opts o = {0};
    lines = 0;
    o.access = access;
    o.no_map = no_map;
    o.io = &e->r.io;
    o.log = hear;
    e->db = NULL;
    return vtag_open("t.vtag", &o, &e->db);
}

static void opens(env *e, vtag_access access)
{
    MUST(reopen_as(e, access, 0));
}

/* The file is refused, to readers and writers alike and for that reason; it stays as it is. */
static void refused(env *e, const char *why)
{
    ram_node *node = ram_find(&e->r, "t.vtag");
    uint64_t before = vt_xxh64(node->p, (size_t)node->bytes);
    vtag_open_opts o = {0};
    int i;
    for (i = 0; i < 4; i++) {
        lines = 0;
        o.log = hear;
        if (i == 3) ERR(VTAG_CORRUPT, vtag_open_memory(node->p, (size_t)node->bytes, &o, &e->db));
        else ERR(VTAG_CORRUPT, reopen_as(e, i ? VTAG_READ : VTAG_EXISTING, i == 2));
        CHECK_STR(lines ? said[0].msg : "", why);
        vtag_close(e->db);
        e->db = NULL;
    }
    CHECK_EQ(vt_xxh64(node->p, (size_t)node->bytes), before);
}

/* Verify finds something, and this among it. */
static void verify_finds(env *e, const char *msg, uint64_t at)
{
    vtag_report rep;
    vtag_snap *s = look(e->db);
    lines = 0;
    memset(&rep, 0, sizeof rep);
    ERR(VTAG_CORRUPT, vtag_verify(s, &rep, NULL, NULL));
    CHECK(rep.bad > 0);
    CHECK_EQ(rep.bad, lines);
    if (lines) CHECK_EQ(rep.first_bad, said[0].at);
    if (!CHECK(heard(msg, at))) fprintf(stderr, "  %s\n", msg);
    vtag_release(s);
}

/* The sections of a kind, of the newest record or of the oldest that has one; marked. */
static vtf_section *section(uint32_t kind, int newest)
{
    size_t i;
    for (i = 0; i < secs; i++) {
        section_at *x = &sec[newest ? secs - 1 - i : i];
        if (x->s->kind != kind) continue;
        x->record->spoilt = 1;
        return x->s;
    }
    REQUIRE(!"such a section");
    return NULL;
}

/* What the log says of a segment first, or last. */
static vtf_seg *log_seg(uint32_t number, int newest)
{
    vtf_seg *found = NULL;
    place *record = NULL;
    size_t i, j;
    for (i = 0; i < secs; i++) {
        vtf_seg *d = (vtf_seg *)(void *)(sec[i].s + 1);
        size_t n = (sec[i].s->size - sizeof *sec[i].s) / sizeof *d;
        for (j = 0; sec[i].s->kind == VTF_SEGS && j < n; j++)
            if (d[j].number == number && (newest || !found)) found = d + j, record = sec[i].record;
    }
    REQUIRE(found != NULL);
    record->spoilt = 1;
    return found;
}

/* The delta of a space that the log has newest. */
static vtf_delta *log_delta(uint32_t space, uint32_t tag)
{
    size_t i = secs;
    while (i-- > 0) {
        vtf_delta *d = (vtf_delta *)(void *)(sec[i].s + 1);
        if (sec[i].s->kind != VTF_DELTA || sec[i].s->arg != space || d->tag != tag) continue;
        sec[i].record->spoilt = 1;
        return d;
    }
    REQUIRE(!"such a delta");
    return NULL;
}

/* The newest entry of an id in the log. */
static vtf_entry *log_entry(uint32_t space, uint32_t tag, uint64_t id)
{
    size_t i = secs;
    while (i-- > 0) {
        vtf_delta *d = (vtf_delta *)(void *)(sec[i].s + 1);
        vtf_entry *e = (vtf_entry *)(void *)(d + 1);
        uint32_t k;
        if (sec[i].s->kind != VTF_DELTA || sec[i].s->arg != space || d->tag != tag) continue;
        for (k = 0; !d->at && k < d->n; k++) {
            if (e[k].id != id) continue;
            sec[i].record->spoilt = 1;
            return e + k;
        }
    }
    REQUIRE(!"such an entry");
    return NULL;
}

/* The newest blob of a space. */
static vtf_blob *blob_of(uint32_t kind)
{
    size_t i = w.ofs[P_BLOB];
    while (i-- > 0) {
        vtf_blob *b = (vtf_blob *)(w.p + w.a[w.of[P_BLOB][i]].at);
        if (b->kind == kind) return b;
    }
    REQUIRE(!"such a blob");
    return NULL;
}

static void blob_mend(vtf_blob *b)
{
    b->crc = vt_crc32c(0, &b->kind, (size_t)vtf_blob_bytes(b) - 4);
}

/* A blob keeps the first n bytes of its data. */
static void blob_cut(vtf_blob *b, size_t n)
{
    uint8_t *data = (uint8_t *)b + vtf_blob_data(b);
    memset(data + n, 0, (size_t)b->data - n);
    b->data = n;
    blob_mend(b);
}

static vtf_ckpt *ckpt(void)
{
    REQUIRE(w.ofs[P_CKPT] == 1);
    w.a[w.of[P_CKPT][0]].spoilt = 1;
    return (vtf_ckpt *)(w.p + w.a[w.of[P_CKPT][0]].at);
}

/* A number in a structure, and what is said of it. */
typedef struct forgery { size_t at, bytes; uint64_t value; const char *why; } forgery;
#define FIELD(type, member) offsetof(type, member), sizeof(((type *)0)->member)

static void forge(void *to, const forgery *f)
{
    memcpy((uint8_t *)to + f->at, &f->value, f->bytes);
}

/* Each forgery by itself in the structure that `where` finds makes the file one to refuse. */
static void each_refused(env *e, void *(*where)(void), const forgery *f, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) {
        forge_again(e);
        forge(where(), &f[i]);
        mend_all();
        refused(e, f[i].why);
        if (t_.failed) fprintf(stderr, "  forgery %d\n", (int)i);
        if (t_.failed) break;
    }
}

/* ---- Superblocks ------------------------------------------------------------------------ */

static void *newest_slot(void) { return slot_of(w.p, 1); }

/* Its checksum holds; it is another file's. The other slot leads to the same state. */
static void a_superblock_of_another_file_does_not_count(void)
{
    env e;
    uint64_t want;
    uint32_t i;
    everything_up(&e);
    want = hash_of(e.db);
    forge_begin(&e);
    for (i = 0; i < 2; i++) {
        vtf_slot *s = (vtf_slot *)(w.p + VTF_SLOT_AT(i));
        forge_again(&e);
        s->uuid[3] ^= 1;
        mend_all();
        opens(&e, VTAG_READ);
        CHECK_EQ(hash_of(e.db), want);
        verify_finds(&e, "superblock damaged", VTF_SLOT_AT(i));
    }
    forge_again(&e);
    slot_of(w.p, 0)->uuid[0] ^= 1;
    slot_of(w.p, 1)->uuid[0] ^= 1;
    mend_all();
    refused(&e, "both superblocks are damaged");
    forge_end(&e);
}

static void a_superblock_whose_log_lies_elsewhere_is_refused(void)
{
    static const forgery f[] = {
        {FIELD(vtf_slot, ckpt_log.at), VTF_FRONT + VTF_ALIGN - 104, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.at), VTF_FRONT + VTF_ALIGN, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.at), VTF_FRONT + VTF_ALIGN + 8, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.at), VTF_FRONT - 8, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.at), VTF_FRONT + VTF_HEAD_ROOM + 4, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.at), UINT64_MAX - 7, "log record damaged"},
        {FIELD(vtf_slot, ckpt_log.extent), VTF_FRONT + 8, "log extent damaged"},
        {FIELD(vtf_slot, ckpt_log.extent), VTF_FRONT + VTF_ALIGN, "log extent damaged"},
        {FIELD(vtf_slot, ckpt_log.length), 2 * VTF_ALIGN, ""},
        {FIELD(vtf_slot, log.at), VTF_FRONT + VTF_ALIGN - 8, "log record damaged"},
        {FIELD(vtf_slot, head.commit), 1, "log record damaged"},
        {FIELD(vtf_slot, head.commit), 1000, "log and superblock differ"},
        {FIELD(vtf_slot, head.end), VTF_FRONT,
         "the file is shorter than its superblock says"}};
    env e;
    everything_up(&e);
    forge_begin(&e);
    each_refused(&e, newest_slot, f, LENGTH(f));
    forge_end(&e);
    env_up(&e); /* its log is the last of the file */
    forge_begin(&e);
    each_refused(&e, newest_slot, f, 6);
    forge_end(&e);
}

/* ---- Tags ------------------------------------------------------------------------------- */

static void *newest_tag(void) { return section(VTF_TAGS, 1) + 1; }
static void *oldest_tag(void) { return section(VTF_TAGS, 0) + 1; }

/* A record may change a tag's role and counts, and nothing that its rows rely on. */
static void a_tag_that_changes_its_meaning_is_refused(void)
{
    static const char why[] = "a tag changed its meaning";
    static const forgery f[] = {
        {FIELD(vtf_tag, dim), 3, why},   {FIELD(vtf_tag, metric), VTAG_DOT, why},
        {FIELD(vtf_tag, codec), 1, why}, {FIELD(vtf_tag, codec), VTAG_I8, why},
        {FIELD(vtf_tag, names), 8, why}, {FIELD(vtf_tag, role), VTAG_GONE + 1, why},
        {FIELD(vtf_tag, role), UINT32_MAX, why}};
    env e;
    everything_up(&e);
    forge_begin(&e);
    each_refused(&e, newest_tag, f, LENGTH(f));
    forge_end(&e);
}

static void a_tag_that_means_nothing_is_refused(void)
{
    static const char why[] = "malformed tag";
    static const forgery f[] = {
        {FIELD(vtf_tag, tag), 0, why},
        {FIELD(vtf_tag, dim), 0, why},
        {FIELD(vtf_tag, dim), VTF_MAX_DIM + 1, why},
        {FIELD(vtf_tag, codec), VTAG_I8 + 1, why},
        {FIELD(vtf_tag, metric), VTAG_L2SQ + 1, why},
        {FIELD(vtf_tag, role), VTAG_GONE + 1, why},
        {FIELD(vtf_tag, names), 4, why},
        {FIELD(vtf_tag, names), UINT64_MAX - 7, why}};
    env e;
    everything_up(&e);
    forge_begin(&e);
    each_refused(&e, oldest_tag, f, LENGTH(f));
    forge_end(&e);
}

static void a_tag_without_a_name_is_refused(void)
{
    env e;
    vtf_blob *b;
    everything_up(&e);
    forge_begin(&e);
    b = blob_of(0);
    memset(b + 1, 0, (size_t)(vtf_blob_bytes(b) - sizeof *b));
    b->name = 0;
    b->data = 0;
    blob_mend(b);
    refused(&e, "malformed tag");
    forge_end(&e);
}

/* What was read into memory at open may rot on the disk later. */
static void a_tag_name_that_rots_later_is_found(void)
{
    env e;
    vtf_blob *b;
    everything_up(&e);
    forge_begin(&e);
    opens(&e, VTAG_READ);
    b = blob_of(0);
    ((char *)(b + 1))[0] ^= 1;
    verify_finds(&e, "tag name damaged", (uint64_t)((uint8_t *)b - w.p));
    forge_end(&e);
}

/* ---- Segments --------------------------------------------------------------------------- */

static void *newest_seg(void) { return log_seg(0, 1); }

static void a_segment_that_changes_its_shape_is_refused(void)
{
    static const char shape[] = "segment changed its shape", form[] = "malformed segment";
    static const forgery f[] = {
        {FIELD(vtf_seg, tag), B, shape},        {FIELD(vtf_seg, cap), 32, shape},
        {FIELD(vtf_seg, rows), 1, shape},       {FIELD(vtf_seg, rows), UINT32_MAX, form},
        {FIELD(vtf_seg, length), 2 * VTF_ALIGN, shape},
        {FIELD(vtf_seg, tag), 7, form},         {FIELD(vtf_seg, cap), 0, form},
        {FIELD(vtf_seg, dead), UINT32_MAX, form},
        {FIELD(vtf_seg, number), 2, "segments out of order"},
        {FIELD(vtf_seg, number), UINT32_MAX, "segments out of order"},
        {FIELD(vtf_seg, bits_at), 1ull << 40, "bitmap outside the file"},
        {FIELD(vtf_seg, at), 0, form}};
    env e;
    everything_up(&e);
    forge_begin(&e);
    each_refused(&e, newest_seg, f, LENGTH(f));
    forge_end(&e);
}

/* Neither may a later record move a segment, nor a new one lie before the last. */
static void segments_that_trade_places_are_refused(void)
{
    env e;
    everything_up(&e);
    forge_begin(&e);
    log_seg(0, 1)->at = log_seg(1, 0)->at;
    mend_all();
    refused(&e, "segments out of order");
    forge_again(&e);
    log_seg(1, 0)->at = log_seg(0, 0)->at;
    mend_all();
    refused(&e, "segments out of order");
    forge_end(&e);
}

/* ---- Index ------------------------------------------------------------------------------ */

/* What is left of it reads as a section that nobody knows. */
static void a_delta_without_room_for_itself_is_refused(void)
{
    env e;
    vtf_section *s, *rest;
    uint32_t size;
    everything_up(&e);
    forge_begin(&e);
    for (size = 8; size < sizeof *s + sizeof(vtf_delta); size += 8) {
        forge_again(&e);
        s = section(VTF_DELTA, 1);
        rest = (vtf_section *)(void *)((uint8_t *)s + size);
        rest->size = s->size - size;
        rest->kind = 99;
        rest->arg = 0;
        s->size = size;
        mend_all();
        refused(&e, "malformed log record");
    }
    forge_end(&e);
}

static void *newest_items(void) { return log_delta(VTF_S_ITEMS, 0); }

static void *run_of_items(void)
{
    vtf_delta *d = newest_items();
    return w.p + d->at - sizeof(vtf_run);
}

/* More items than go into a record. */
static void many_up(env *e)
{
    vtag_batch *b;
    uint64_t i;
    env_up(e);
    b = begin(e->db);
    for (i = 0; i < VT_INLINE + 100; i++) put_b(b, i, NULL, NULL, 0);
    OK(vtag_commit(b));
}

static void an_index_run_that_a_record_names_is_checked(void)
{
    static const char outside[] = "index run outside the file", form[] = "malformed index run";
    static const forgery named[] = {
        {FIELD(vtf_delta, at), 12, outside},         {FIELD(vtf_delta, at), 8, outside},
        {FIELD(vtf_delta, at), 1ull << 40, outside}, {FIELD(vtf_delta, at), VTF_FRONT, outside},
        {FIELD(vtf_delta, at), UINT64_MAX - 7, outside}};
    static const forgery run[] = {
        {FIELD(vtf_run, at), 0, outside},    {FIELD(vtf_run, n), 0, form},
        {FIELD(vtf_run, n), 1ull << 40, outside}, {FIELD(vtf_run, n), 1ull << 59, form},
        {FIELD(vtf_run, n), (1ull << 59) + 1, form}, {FIELD(vtf_run, min), 1ull << 40, form}};
    env e;
    many_up(&e);
    forge_begin(&e);
    REQUIRE(((vtf_delta *)newest_items())->at);
    each_refused(&e, newest_items, named, LENGTH(named));
    each_refused(&e, run_of_items, run, LENGTH(run));
    forge_end(&e);
}

/* A space of several runs in the checkpoint; the number of its first run. */
static uint32_t first_of_several(vtf_ckpt *c)
{
    const vtf_space *s = (const vtf_space *)(void *)(ckpt_segs(c) + c->segs);
    uint32_t i, run = 0;
    for (i = 0; i < c->spaces && s[i].runs < 2; i++) run += (uint32_t)s[i].runs;
    REQUIRE(i < c->spaces);
    return run;
}

static void two_seals_up(env *e)
{
    uint64_t i;
    store_up(e, 1);
    OK(vtag_seal(e->db, NULL, NULL));
    for (i = 100; i < 120; i++) put2(e->db, i, "later", A, 1, (float)i);
    OK(vtag_seal(e->db, NULL, NULL));
}

static void *run_of_ckpt(void)
{
    vtf_ckpt *c = ckpt();
    return ckpt_runs(c) + first_of_several(c);
}

static void an_index_run_that_a_checkpoint_names_is_checked(void)
{
    static const char outside[] = "index run outside the file", form[] = "malformed index run";
    static const forgery f[] = {
        {FIELD(vtf_run, n), 0, form},    {FIELD(vtf_run, n), 1ull << 40, outside},
        {FIELD(vtf_run, at), 12, form},  {FIELD(vtf_run, at), 1ull << 40, outside},
        {FIELD(vtf_run, max), 0, form}};
    env e;
    two_seals_up(&e);
    forge_begin(&e);
    ((vtf_run *)run_of_ckpt())->min = 1; /* so that max 0 is before it */
    memcpy(good, w.p, w.n);
    each_refused(&e, run_of_ckpt, f, LENGTH(f));
    CHECK_EQ(lines, 2); /* of the run and of the checkpoint: nothing after it was looked at */
    forge_end(&e);
}

/* Its entries lie where no header can stand in front of them: in the identity page. */
static void an_index_run_without_a_header_is_found(void)
{
    env e;
    vtf_ckpt *c;
    vtf_run *r;
    two_seals_up(&e);
    forge_begin(&e);
    c = ckpt();
    r = ckpt_runs(c) + first_of_several(c);
    r->at = 40;
    r->n = 1;
    r->min = r->max = 0;
    r->crc = vt_crc32c(0, w.p + 40, sizeof(vtf_entry));
    mend_all();
    opens(&e, VTAG_READ);
    verify_finds(&e, "index run damaged", 40);
    forge_end(&e);
}

/* ---- Rows and items --------------------------------------------------------------------- */

static vtag_err put_same(vtag_batch *b, uint64_t id, const char *text)
{
    vtag_item it = item_of(id, text);
    vtag_vec v = v2(A, 1, (float)id);
    return vtag_put(b, &it, &v, 1);
}

static vtag_err put_vector(vtag_batch *b) { return put_same(b, 5, NULL); }
static vtag_err put_text(vtag_batch *b) { return put_same(b, 5, "some text of a document"); }
static vtag_err put_other(vtag_batch *b) { return put_same(b, 5, "another text"); }
static vtag_err del_it(vtag_batch *b) { return vtag_del(b, 5); }

static vtag_err fill_it(vtag_batch *b)
{
    vtag_vec v = v2(A, 1, 5);
    vtag_item it = item_at(5, log_entry(VTF_S_ITEMS, 0, 5)->rev);
    return vtag_fill(b, &it, &v, 1);
}

/* The rows that a change would replace are not where the index says: it is not made. */
static void a_change_over_an_entry_that_points_nowhere_is_refused(void)
{
    static vtag_err (*const change[])(vtag_batch *b) = {put_vector, put_text, put_other, fill_it,
                                                        del_it};
    static const forgery f[] = {
        {FIELD(vtf_entry, at), 99ull << 32, NULL}, {FIELD(vtf_entry, at), 1ull << 32, NULL},
        {FIELD(vtf_entry, at), 1000, NULL},        {FIELD(vtf_entry, aux), 0, NULL},
        {FIELD(vtf_entry, aux), UINT32_MAX, NULL}};
    env e;
    size_t i, j;
    everything_up(&e);
    forge_begin(&e);
    for (i = 0; i < LENGTH(f); i++)
        for (j = 0; j < LENGTH(change); j++) {
            vtf_entry *x;
            vtag_batch *b;
            vtag_snap *s;
            uint64_t before;
            forge_again(&e);
            x = log_entry(VTF_S_ROWS, A, 5);
            forge(x, &f[i]);
            mend_all();
            opens(&e, VTAG_EXISTING);
            before = hash_of(e.db);
            verify_finds(&e, "index and rows differ", x->at);
            b = begin(e.db);
            ERR(VTAG_CORRUPT, change[j](b));
            ERR(VTAG_CORRUPT, vtag_commit(b));
            CHECK_EQ(hash_of(e.db), before);
            s = look(e.db);
            ERR(VTAG_CORRUPT, vtag_vector(s, 5, A, 0, NULL, 0, NULL));
            ERR(VTAG_CORRUPT, vtag_copy(s, "copy.vtag", NULL, NULL));
            CHECK(!ram_find(&e.r, "copy.vtag") && !ram_find(&e.r, "copy.vtag.part"));
            vtag_release(s);
            OK(del(e.db, 6)); /* the others are well */
        }
    forge_end(&e);
}

/* The rows of another tag hold just what is put, but they are not this tag's. */
static void an_entry_that_points_at_another_tags_rows_is_refused(void)
{
    env e;
    vtag_item it = item_of(5, "some text of a document");
    vtag_vec v[2];
    vtf_entry *x, *y;
    vtag_batch *b;
    everything_up(&e);
    forge_begin(&e);
    x = log_entry(VTF_S_ROWS, A, 5);
    y = log_entry(VTF_S_ROWS, B, 5);
    CHECK_EQ(y->aux, 2);
    x->at = y->at;
    x->aux = y->aux;
    mend_all();
    opens(&e, VTAG_EXISTING);
    v[0] = v2(A, 5, 2);
    v[1] = v2(A, 3, 5);
    b = begin(e.db);
    ERR(VTAG_CORRUPT, vtag_put(b, &it, v, 2));
    vtag_abort(b);
    v[0].tag = v[1].tag = B; /* those that are there are found the same */
    it.rev = 0;
    b = begin(e.db);
    OK(vtag_put(b, &it, v, 2));
    CHECK_EQ(it.rev, y->rev);
    OK(vtag_commit(b));
    forge_end(&e);
}

static vtag_cover lost_with(env *e, vtag_tag tag)
{
    vtag_batch *b = begin(e->db);
    vtag_cover c;
    memset(&c, 0xFF, sizeof c);
    OK(vtag_retire(b, tag, "to count", &c));
    vtag_abort(b);
    return c;
}

/* Nothing is left of it when the tag goes, whatever else the index says. */
static void rows_without_their_item_count_as_lost(void)
{
    env e;
    vtag_cover was, is;
    vtf_entry *x;
    everything_up(&e);
    was = lost_with(&e, A);
    forge_begin(&e);
    x = log_entry(VTF_S_ITEMS, 0, 5);
    x->at = VTF_DEAD;
    mend_all();
    opens(&e, VTAG_EXISTING);
    is = lost_with(&e, A);
    CHECK_EQ(is.base, was.base);
    CHECK_EQ(is.missing, was.missing + 1);
    CHECK_EQ(is.fresh, was.fresh - 1);
    CHECK_EQ(is.stale, was.stale);
    x = log_entry(VTF_S_ROWS, A, 5);
    verify_finds(&e, "a row without its item", x->at);
    forge_end(&e);
}

/* ---- Events, policy, metadata ----------------------------------------------------------- */

static void an_event_too_short_to_be_one_is_not_read(void)
{
    static const size_t cuts[] = {0, 8, sizeof(vtf_event) - 1, sizeof(vtf_event)};
    size_t i;
    env e;
    everything_up(&e);
    forge_begin(&e);
    for (i = 0; i < LENGTH(cuts); i++) {
        vtag_event ev;
        vtag_snap *s;
        vtf_blob *b;
        uint64_t cursor = 0, read = 0;
        size_t n;
        vtag_err err;
        forge_again(&e);
        b = blob_of(VTF_S_EVENTS); /* the note, whose text is cut off at the least */
        blob_cut(b, cuts[i]);
        opens(&e, VTAG_READ);
        s = look(e.db);
        lines = 0;
        while ((err = vtag_history(s, &cursor, &ev, 1, &n)) == VTAG_OK && n) read++;
        ERR(VTAG_CORRUPT, err);
        CHECK_EQ(read, b->id - 1);
        CHECK(heard("event damaged", (uint64_t)((uint8_t *)b - w.p)));
        vtag_release(s);
        verify_finds(&e, "event damaged", (uint64_t)((uint8_t *)b - w.p));
    }
    forge_end(&e);
}

static void a_policy_too_short_to_be_one_lets_nothing_pass(void)
{
    static const size_t cuts[] = {0, 8, sizeof(vtf_policy) - 1};
    size_t i;
    env e;
    everything_up(&e);
    forge_begin(&e);
    for (i = 0; i < LENGTH(cuts); i++) {
        vtag_policy p;
        vtag_verdict v;
        vtag_batch *b;
        vtag_snap *s;
        vtf_blob *blob;
        forge_again(&e);
        blob = blob_of(VTF_S_POLICY);
        blob_cut(blob, cuts[i]);
        opens(&e, VTAG_EXISTING);
        verify_finds(&e, "policy damaged", (uint64_t)((uint8_t *)blob - w.p));
        s = look(e.db);
        ERR(VTAG_CORRUPT, vtag_policy_get(s, &p));
        ERR(VTAG_CORRUPT, vtag_judge(s, A, NULL, &v));
        vtag_release(s);
        b = begin(e.db);
        ERR(VTAG_CORRUPT, vtag_cutover(b, A, NULL, &v));
        vtag_abort(b);
        b = begin(e.db);
        ERR(VTAG_CORRUPT, vtag_retire(b, A, "gone", NULL));
        vtag_abort(b);
        CHECK_EQ(stat_of(e.db).active, B);
    }
    forge_end(&e);
}

static vtag_err meta_of(vtag_db *db, const char *name)
{
    vtag_snap *s = look(db);
    const void *p = NULL;
    size_t n = 0;
    vtag_err err = vtag_meta_get(s, name, &p, &n);
    vtag_release(s);
    return err;
}

/* As if two names had one hash: the one that is there stays, the other has no place. */
static void metadata_under_the_hash_of_another_name_is_not_mixed_up(void)
{
    env e;
    vtf_blob *b;
    vtag_batch *batch;
    const char *name = NULL;
    uint64_t cursor = 0;
    size_t n;
    vtag_snap *s;
    everything_up(&e);
    forge_begin(&e);
    b = blob_of(VTF_S_NAMES);
    memcpy(b + 1, "probf", 5);
    blob_mend(b);
    opens(&e, VTAG_EXISTING);
    ERR(VTAG_NOTFOUND, meta_of(e.db, "probe"));
    batch = begin(e.db);
    ERR(VTAG_EXISTS, vtag_meta_set(batch, "probe", "1", 1));
    ERR(VTAG_EXISTS, vtag_meta_set(batch, "probe", NULL, 0));
    OK(vtag_meta_set(batch, "other", "1", 1));
    OK(vtag_commit(batch)); /* an error about one argument */
    OK(meta_of(e.db, "other"));
    s = look(e.db);
    do OK(vtag_metas(s, &cursor, &name, 1, &n));
    while (n && strcmp(name, "probf"));
    CHECK_EQ(n, 1);
    vtag_release(s);
    forge_end(&e);
}

/* A bit of the metadata's value has rotted; where its blob lies. */
static uint64_t rotten_metadata_up(env *e)
{
    vtf_blob *b;
    everything_up(e);
    forge_begin(e);
    b = blob_of(VTF_S_NAMES);
    ((uint8_t *)b)[vtf_blob_data(b)] ^= 1;
    opens(e, VTAG_EXISTING);
    return (uint64_t)((uint8_t *)b - w.p);
}

static void rotten_metadata_is_neither_read_nor_written_over(void)
{
    env e;
    vtag_batch *batch;
    uint64_t at = rotten_metadata_up(&e);
    ERR(VTAG_CORRUPT, meta_of(e.db, "probe"));
    CHECK(heard("metadata damaged", at));
    batch = begin(e.db);
    CHECK(vtag_meta_set(batch, "probe", "1", 1) != VTAG_OK);
    vtag_abort(batch);
    ERR(VTAG_CORRUPT, meta_of(e.db, "probe"));
    verify_finds(&e, "key, payload or text damaged", at);
    forge_end(&e);
}

/* Nobody knows whose it is: it is not another name's. */
static void a_change_of_rotten_metadata_says_that_it_is_damaged(void)
{
    env e;
    vtag_batch *batch;
    rotten_metadata_up(&e);
    batch = begin(e.db);
    ERR(VTAG_CORRUPT, vtag_meta_set(batch, "probe", "1", 1));
    vtag_abort(batch);
    batch = begin(e.db);
    ERR(VTAG_CORRUPT, vtag_meta_set(batch, "probe", NULL, 0));
    vtag_abort(batch);
    forge_end(&e);
}

/* ---- Log and checkpoint ----------------------------------------------------------------- */

static void more_commits(env *e, int from, int to)
{
    for (; from < to; from++)
        put2(e->db, (uint64_t)from % 20, from % 3 ? "more" : "less", A, 1, (float)from);
}

/* Nothing that opening needs lies there any more. */
static void a_log_extent_before_the_checkpoint_that_rots_is_found(void)
{
    env e;
    uint64_t want;
    store_up(&e, 1);
    more_commits(&e, 0, 90);
    OK(vtag_seal(e.db, NULL, NULL));
    want = hash_of(e.db);
    forge_begin(&e);
    REQUIRE(slot_of(w.p, 1)->ckpt_log.extent != VTF_FRONT);
    w.p[VTF_FRONT] ^= 1;
    opens(&e, VTAG_READ);
    CHECK_EQ(hash_of(e.db), want);
    verify_finds(&e, "extent header damaged", VTF_FRONT);
    CHECK(heard("log record damaged", VTF_FRONT + VTF_HEAD_ROOM));
    forge_end(&e);
}

static void a_checkpoint_that_rots_after_it_was_read_is_found(void)
{
    env e;
    uint64_t at, want;
    two_seals_up(&e);
    want = hash_of(e.db);
    forge_begin(&e);
    at = slot_of(w.p, 1)->ckpt.at;
    opens(&e, VTAG_READ);
    w.p[at + 100] ^= 1;
    CHECK_EQ(hash_of(e.db), want);
    verify_finds(&e, "checkpoint damaged", at);
    vtag_close(e.db);
    refused(&e, "checkpoint damaged");
    forge_end(&e);
}

/* The superblock knows of no checkpoint, so that the log is walked from its begin; there a
 * record names one outside the file. */
static void a_checkpoint_outside_the_file_is_found(void)
{
    env e;
    vtf_slot *s;
    vtf_ckpt_ref *ref;
    uint64_t want;
    store_up(&e, 1);
    OK(vtag_seal(e.db, NULL, NULL));
    want = hash_of(e.db);
    forge_begin(&e);
    s = slot_of(w.p, 1);
    memset(&s->ckpt, 0, sizeof s->ckpt);
    s->ckpt_log.at = VTF_FRONT + VTF_HEAD_ROOM;
    s->ckpt_log.crc = 0;
    ref = (vtf_ckpt_ref *)(void *)(section(VTF_CKPT, 1) + 1);
    ref->at = 1ull << 40;
    mend_all();
    opens(&e, VTAG_READ);
    CHECK_EQ(hash_of(e.db), want);
    verify_finds(&e, "checkpoint damaged", 1ull << 40);
    forge_end(&e);
}

/* ---- Sketches --------------------------------------------------------------------------- */

enum { WIDE = 48, ROWS = 5600, AFTER = 3 };

/* A segment with a sketch, and one of AFTER rows after it. */
static void sketched_up(env *e)
{
    static float x[WIDE];
    vtag_begin_opts o = {0};
    vtag_batch *b;
    uint64_t seed = 1, i;
    vtag_tag tag;
    env_up(e);
    o.expect_rows = ROWS;
    MUST(vtag_begin(e->db, &o, &b));
    OK(try_declare(b, "m@1", WIDE, VTAG_COSINE, &tag));
    for (i = 0; i < ROWS; i++) {
        vtag_vec v = vec(tag, WIDE, x);
        random_vector(&seed, x, WIDE, 1000);
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    tag = declare(e->db, "m@2", 2, VTAG_COSINE);
    for (i = 0; i < AFTER; i++) put2(e->db, i, NULL, tag, 1, (float)i);
    OK(vtag_seal(e->db, NULL, NULL));
    REQUIRE(e->db->state->rows.n == 2 && e->db->state->rows.a[0].f.sketch);
    REQUIRE(e->db->state->rows.a[1].f.rows == AFTER);
}

static size_t near_ones(env *e, vtag_hit *hits)
{
    static float q[WIDE];
    uint64_t seed = 77;
    size_t n = 0;
    vtag_snap *s = look(e->db);
    random_vector(&seed, q, WIDE, 1000);
    OK(vtag_search(s, vec(A, WIDE, q), NULL, 10, hits, &n));
    vtag_release(s);
    return n;
}

/* Its header holds, but names more rows than its extent has room for. */
static void a_sketch_longer_than_its_extent_is_not_used(void)
{
    env e;
    vtag_hit want[10], got[10];
    vtf_extent *x;
    uint64_t at;
    sketched_up(&e);
    at = e.db->state->rows.a[0].f.sketch;
    CHECK_EQ(near_ones(&e, want), 10);
    forge_begin(&e);
    x = (vtf_extent *)(w.p + at);
    REQUIRE(x->kind == VTF_SKETCH && x->length > 2 * VTF_ALIGN);
    x->length = 2 * VTF_ALIGN;
    x->crc = vt_crc32c(0, x, offsetof(vtf_extent, crc));
    opens(&e, VTAG_READ);
    CHECK(same_hits(got, near_ones(&e, got), want, 10));
    verify_finds(&e, "sketch damaged", at);
    forge_end(&e);
}

/* Its sums hold, but it says of the nearest row that it is far: verify cannot know, and a
 * scan goes by what it says. */
static void a_sketch_that_lies_loses_rows_and_does_no_other_harm(void)
{
    env e;
    vtag_hit want[10], got[10];
    vtf_factors *f;
    place *x;
    sketched_up(&e);
    CHECK_EQ(near_ones(&e, want), 10);
    forge_begin(&e);
    REQUIRE(w.ofs[P_SKETCH] == 4);
    x = &w.a[w.of[P_SKETCH][2]];
    x->spoilt = 1;
    f = (vtf_factors *)(w.p + x->at) + want[0].id / 16; /* its row, too */
    f->bias[want[0].id % 16] = -1e9f;
    mend_all();
    opens(&e, VTAG_READ);
    verify(e.db);
    CHECK_EQ(near_ones(&e, got), 10);
    CHECK(same_hits(got, 9, want + 1, 9));
    forge_end(&e);
}

/* What it says of a row is more than a cosine can be: the row at the query's own place is
 * found all the same. */
static void a_sketch_that_promises_more_than_a_cosine_hides_no_equal_row(void)
{
    enum { LIAR = 3, EQUAL = 4000 };
    static float q[WIDE];
    env e;
    vtag_search_opts o = {0};
    uint64_t id = LIAR;
    vtag_ids only = {&id, 1};
    vtag_hit hit;
    vtag_snap *s;
    place *x;
    size_t n;
    sketched_up(&e);
    s = look(e.db);
    OK(vtag_vector(s, EQUAL, A, 0, q, WIDE, NULL));
    o.only = &only;
    OK(vtag_search(s, vec(A, WIDE, q), &o, 1, &hit, &n));
    vtag_release(s);
    forge_begin(&e);
    x = &w.a[w.of[P_SKETCH][2]];
    x->spoilt = 1;
    ((vtf_factors *)(w.p + x->at))->bias[LIAR] += 0.5f + hit.dist; /* it seems to be 1.5 */
    mend_all();
    opens(&e, VTAG_READ);
    s = look(e.db);
    OK(vtag_search(s, vec(A, WIDE, q), NULL, 1, &hit, &n));
    vtag_release(s);
    CHECK_EQ(n, 1);
    CHECK_EQ(hit.id, EQUAL);
    CHECK(hit.dist == 0);
    forge_end(&e);
}

/* It points at the row that was replaced, which its sketch would find. */
static void an_entry_that_points_at_a_dead_row_finds_nothing(void)
{
    enum { AMONG = 20, ID = 5 };
    static float x[WIDE] = {1};
    env e;
    vtag_search_opts o = {0};
    uint64_t ids[AMONG], i;
    vtag_ids only = {ids, AMONG};
    vtag_vec v = vec(A, WIDE, x);
    vtag_hit hits[AMONG];
    vtf_entry *entry;
    vtag_snap *s;
    size_t n = 0;
    sketched_up(&e);
    put(e.db, ID, "another text", &v, 1);
    forge_begin(&e);
    entry = log_entry(VTF_S_ROWS, A, ID);
    entry->at = ID;
    mend_all();
    opens(&e, VTAG_READ);
    for (i = 0; i < AMONG; i++) ids[i] = i;
    o.only = &only;
    s = look(e.db);
    OK(vtag_search(s, v, &o, AMONG, hits, &n));
    vtag_release(s);
    CHECK_EQ(n, AMONG - 1);
    for (i = 0; i < n; i++) CHECK(hits[i].id != ID);
    verify_finds(&e, "index and rows differ", entry->at);
    forge_end(&e);
}

/* ---- Files that would take long --------------------------------------------------------- */

enum { MIB = 1 << 20 };

/* A log extent behind the end of a sealed file, where the newest slot says that the log goes
 * on. In it stands the record of a next commit, without a section as yet. */
static vtf_record *next_record(env *e)
{
    uint64_t at = w.n;
    vtf_slot *s = slot_of(w.p, 1);
    vtf_extent *x = (vtf_extent *)(w.p + at);
    vtf_record *r;
    ram_grow(ram_find(&e->r, "t.vtag"), at + MIB);
    memset(x, 0, MIB);
    memcpy(x, w.p + VTF_FRONT, sizeof *x);
    x->length = MIB;
    x->number = s->head.extent + 1;
    x->crc = vt_crc32c(0, x, offsetof(vtf_extent, crc));
    s->head.end += MIB;
    s->head.extent++;
    s->log.at = at + VTF_HEAD_ROOM;
    s->log.extent = at;
    s->log.length = MIB;
    s->log.crc = 0;
    s->ckpt_log = s->log;
    s->crc = vtf_crc_slot(s);
    r = (vtf_record *)(w.p + s->log.at);
    r->magic = VTF_RECORD_MAGIC;
    r->size = sizeof *r;
    r->type = VTF_R_COMMIT;
    r->salt = s->salt;
    r->head = s->head;
    r->head.commit++;
    return r;
}

/* Room for n bytes in one more section of that record. */
static void *next_section(vtf_record *r, uint16_t kind, size_t n)
{
    vtf_section *s = (vtf_section *)(void *)((uint8_t *)r + r->size);
    s->kind = kind;
    s->size = (uint32_t)(sizeof *s + n);
    r->size += s->size;
    REQUIRE(r->size < MIB - VTF_HEAD_ROOM);
    return s + 1;
}

static void record_is_pending(vtf_record *r) { r->crc = vtf_crc_record(r); }

/* The newest slot names the state that the record makes. */
static void record_is_committed(vtf_record *r)
{
    vtf_slot *s = slot_of(w.p, 1);
    r->crc = vtf_crc_record(r);
    s->head = r->head;
    s->log.at += r->size;
    s->log.crc = r->crc;
    s->crc = vtf_crc_slot(s);
}

static void ranges_of_all(vtf_record *r)
{
    size_t i, n = 40000;
    vtf_range *g = next_section(r, VTF_RANGES, n * sizeof *g);
    uint64_t xxh = vt_xxh64(w.p + VTF_FRONT, w.n - VTF_FRONT);
    for (i = 0; i < n; i++) g[i].at = VTF_FRONT, g[i].length = w.n - VTF_FRONT, g[i].xxh = xxh;
}

/* To look at them takes as long as the square of the file; no writer makes such a record. */
static void a_record_that_vouches_for_a_byte_twice_does_not_count(void)
{
    env e;
    vtf_record *r;
    uint64_t want;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    want = hash_of(e.db);
    forge_begin(&e);
    r = next_record(&e);
    ranges_of_all(r);
    record_is_pending(r);
    opens(&e, VTAG_READ);
    CHECK_EQ(stat_of(e.db).commit, r->head.commit - 1);
    CHECK_EQ(hash_of(e.db), want);
    forge_end(&e);
}

static uint64_t bytes_read;

static vtag_err counted_read(void *file, uint64_t at, void *p, size_t n)
{
    bytes_read += n;
    return ram_read(file, at, p, n);
}

/* Nobody hashes them any more, but without a mapping they are read. */
static void a_committed_record_that_wrote_a_byte_twice_is_refused(void)
{
    env e;
    vtf_record *r;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    forge_begin(&e);
    r = next_record(&e);
    ranges_of_all(r);
    record_is_committed(r);
    refused(&e, "malformed log record");
    e.r.io.read = counted_read;
    bytes_read = 0;
    ERR(VTAG_CORRUPT, reopen_as(&e, VTAG_READ, 1));
    CHECK(bytes_read <= 6 * (uint64_t)ram_find(&e.r, "t.vtag")->bytes);
    forge_end(&e);
}

/* One segment, of so many rows. */
static void rows_up(env *e, uint64_t n)
{
    vtag_begin_opts o = {0};
    vtag_batch *b;
    vtag_tag tag;
    uint64_t i;
    env_up(e);
    o.expect_rows = n;
    MUST(vtag_begin(e->db, &o, &b));
    OK(try_declare(b, "m@1", 2, VTAG_COSINE, &tag));
    for (i = 0; i < n; i++) {
        vtag_vec v = v2(tag, 1, (float)i);
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    OK(vtag_seal(e->db, NULL, NULL));
    REQUIRE(e->db->state->rows.n == 1);
}

/* It kills all rows of a segment again and again; or one, but names a bitmap each time, which
 * is copied before it changes. */
static void a_record_that_kills_a_row_too_often_is_refused(void)
{
    env e;
    vtf_record *r;
    vtf_kill *k, all = {0, 0, 0, 0};
    vtf_seg seg, *to;
    size_t i;
    rows_up(&e, 20000);
    seg = e.db->state->rows.a[0].f;
    all.n = seg.rows;
    forge_begin(&e);
    r = next_record(&e);
    k = next_section(r, VTF_KILLS, 60000 * sizeof *k);
    for (i = 0; i < 60000; i++) k[i] = all;
    record_is_committed(r);
    refused(&e, "malformed log record");
    forge_again(&e);
    r = next_record(&e);
    seg.bits_at = VTF_FRONT + 8; /* anything */
    all.n = 1;
    for (i = 0; i < 11000; i++) {
        to = next_section(r, VTF_SEGS, sizeof *to);
        *to = seg;
        k = next_section(r, VTF_KILLS, sizeof *k);
        *k = all;
    }
    record_is_committed(r);
    refused(&e, "malformed log record");
    forge_end(&e);
}

static void a_record_that_leaves_no_number_to_give_out_is_refused(void)
{
    static const size_t number[] = {offsetof(vtf_head, commit), offsetof(vtf_head, revision),
                                    offsetof(vtf_head, event)};
    size_t i;
    env e;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    forge_begin(&e);
    for (i = 0; i < LENGTH(number); i++) {
        const uint64_t last = UINT64_MAX - 1;
        vtf_record *r;
        if (i) forge_again(&e);
        r = next_record(&e);
        memcpy((uint8_t *)&r->head + number[i], &last, sizeof last);
        record_is_committed(r);
        refused(&e, "a state reaches past its end");
    }
    forge_end(&e);
}

/* Each names the same long text, whose checksum is looked at for each. */
static void tags_that_share_a_long_name_are_refused(void)
{
    env e;
    vtf_record *r;
    vtf_blob *b;
    vtf_tag *t;
    uint32_t i;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    forge_begin(&e);
    r = next_record(&e);
    b = next_section(r, VTF_BLOBS, 65536);
    b->data = 65536 - sizeof *b - 8 - 8;
    b->name = 1;
    *(char *)(b + 1) = 'x';
    blob_mend(b);
    t = next_section(r, VTF_TAGS, 5000 * sizeof *t);
    for (i = 0; i < 5000; i++) {
        t[i].tag = 5u << 20 | (i + 1);
        t[i].dim = 2;
        t[i].names = (uint64_t)((uint8_t *)b - w.p);
    }
    record_is_committed(r);
    refused(&e, "malformed tag");
    forge_end(&e);
}

/* Whoever goes through the index would go through it as often. */
static void an_index_run_that_is_named_too_often_is_refused(void)
{
    env e;
    vtf_record *r;
    vtf_delta *d;
    uint64_t at;
    size_t i;
    many_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    at = vt_index_find(&e.db->state->index, VTF_S_ITEMS, 0)->runs[0].at;
    forge_begin(&e);
    r = next_record(&e);
    for (i = 0; i < 1000; i++) {
        d = next_section(r, VTF_DELTA, sizeof *d);
        ((vtf_section *)(void *)d - 1)->arg = VTF_S_ITEMS;
        d->at = at;
    }
    record_is_committed(r);
    refused(&e, "malformed log record");
    forge_end(&e);
}

/* The rows of both would be looked at twice. */
static void segments_that_overlap_are_refused(void)
{
    env e;
    uint64_t end;
    size_t i, j;
    everything_up(&e);
    forge_begin(&e);
    end = log_seg(1, 0)->at + log_seg(1, 0)->length;
    for (i = 0; i < secs; i++) {
        vtf_seg *d = (vtf_seg *)(void *)(sec[i].s + 1);
        if (sec[i].s->kind != VTF_SEGS) continue;
        sec[i].record->spoilt = 1;
        for (j = 0; j < (sec[i].s->size - sizeof *sec[i].s) / sizeof *d; j++)
            if (!d[j].number) d[j].length = end - d[j].at;
    }
    mend_all();
    refused(&e, "segments out of order");
    forge_end(&e);
}

/* It lies in the one at hand: one in the other to any depth, each would be read for its own
 * length. */
static void a_link_into_the_same_log_extent_is_refused(void)
{
    env e;
    vtf_record *r;
    vtf_link *link;
    vtf_extent *x;
    vtf_slot *s;
    vtf_record *next;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    forge_begin(&e);
    r = next_record(&e);
    s = slot_of(w.p, 1);
    x = (vtf_extent *)(w.p + s->log.extent + MIB / 2);
    memcpy(x, w.p + s->log.extent, sizeof *x);
    x->length = MIB / 2;
    x->crc = vt_crc32c(0, x, offsetof(vtf_extent, crc));
    next = (vtf_record *)((uint8_t *)x + VTF_HEAD_ROOM);
    memcpy(next, r, sizeof *next);
    link = (vtf_link *)r;
    r->type = VTF_R_LINK;
    r->size = sizeof *link;
    link->extent = s->log.extent + MIB / 2;
    link->length = MIB / 2;
    r->crc = vtf_crc_record(r);
    next->prev = r->crc;
    next->crc = vtf_crc_record(next);
    s->head = next->head;
    s->log.extent = link->extent;
    s->log.length = link->length;
    s->log.at = link->extent + VTF_HEAD_ROOM + sizeof *next;
    s->log.crc = next->crc;
    s->crc = vtf_crc_slot(s);
    refused(&e, "log record damaged");
    forge_end(&e);
}

/* ---- Cancelling ------------------------------------------------------------------------- */

typedef struct patience { uint64_t calls, until; } patience;

static int lose_patience(void *ctx, uint64_t done, uint64_t total)
{
    patience *p = ctx;
    CHECK(done <= total);
    return ++p->calls >= p->until;
}

/* Verifies until the progress callback was asked so often; how many records. */
static uint64_t verify_until(env *e, uint64_t until, vtag_err want)
{
    patience p;
    vtag_report rep;
    vtag_snap *s = look(e->db);
    p.calls = 0;
    p.until = until;
    memset(&rep, 0, sizeof rep);
    ERR(want, vtag_verify(s, &rep, lose_patience, &p));
    CHECK_EQ(rep.bad, 0);
    vtag_release(s);
    return rep.records;
}

/* It is asked every 64 records; cancelled at one, nothing after that is looked at. But the
 * front, the extents and the log, and one index run, come first and whole. */
static void check_cancels(env *e, uint64_t k, uint64_t to, uint64_t first)
{
    for (; k <= to; k++) {
        uint64_t records = verify_until(e, k, VTAG_CANCELLED), now = 64 * (k - 1) + 1;
        CHECK_EQ(records, now > first ? now : first);
    }
}

static void verify_ends_where_it_is_cancelled(void)
{
    env e;
    uint64_t i;
    everything_up(&e);
    for (i = 0; i < 40; i++) {
        uint64_t whole = verify_until(&e, UINT64_MAX, VTAG_OK);
        check_cancels(&e, 1, (whole + 63) / 64, verify_until(&e, 1, VTAG_CANCELLED));
        if (i == 30) OK(vtag_seal(e.db, NULL, NULL));
        else put2(e.db, 100 + i, "one more", A, 1, (float)i);
    }
    env_down(&e);
}

/* Records that verify looks at after the sketch: rows, and the keys that may have a blob. */
static uint64_t records_after(vtag_db *db)
{
    const vt_index *x = &db->state->index;
    uint64_t n = AFTER;
    size_t i;
    for (i = 0; i < x->n; i++)
        if (x->a[i].kind != VTF_S_ROWS) n += x->a[i].live;
    return n;
}

/* A sketch is a few records among many: commits shift where it is asked. */
static void verify_ends_in_a_sketch_where_it_is_cancelled(void)
{
    env e;
    int i, amid = 0;
    sketched_up(&e);
    for (i = 0; i < 64 && !amid; i++) {
        uint64_t after = verify_until(&e, UINT64_MAX, VTAG_OK) - records_after(e.db);
        uint64_t k = after / 64;
        vtag_batch *b = begin(e.db);
        if (after % 64 >= 2 && after % 64 <= 6) { /* 7 sums end there, not at an edge */
            check_cancels(&e, k, k + 2, 0);
            amid++;
        }
        OK(vtag_meta_set(b, "turn", i % 2 ? "odd" : "even", 3));
        OK(vtag_commit(b));
    }
    CHECK(amid);
    env_down(&e);
}

/* A copy is asked at every 64th row, too, and these are of one item. */
static void a_copy_cancelled_amid_an_item_leaves_nothing(void)
{
    env e;
    vtag_batch *b;
    vtag_item it = item_of(1, "of many parts");
    vtag_vec v[200];
    vtag_tag tag;
    size_t i, calls_of = 0;
    vtag_err err = VTAG_CANCELLED;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    for (i = 0; i < LENGTH(v); i++) v[i] = v2(tag, 1, 2);
    b = begin(e.db);
    OK(vtag_put(b, &it, v, LENGTH(v)));
    OK(vtag_commit(b));
    while (err == VTAG_CANCELLED && calls_of < 20) {
        vtag_snap *s = look(e.db);
        patience p;
        p.calls = 0;
        p.until = ++calls_of;
        err = vtag_copy(s, "copy.vtag", lose_patience, &p);
        vtag_release(s);
        if (!err) break;
        ERR(VTAG_CANCELLED, err);
        CHECK_EQ(p.calls, calls_of); /* not asked again */
        CHECK(!ram_find(&e.r, "copy.vtag") && !ram_find(&e.r, "copy.vtag.part"));
    }
    CHECK(!err && calls_of > 3);
    env_down(&e);
}

/* ---- A recovery that was cut off -------------------------------------------------------- */

/* A copy of the first extent's header past the end, named in the newest slot, and what
 * stands there itself torn. */
static vtf_range *redo_up(env *e)
{
    ram_node *node = ram_find(&e->r, "t.vtag");
    vtf_slot *s = slot_of(w.p, 1);
    vtf_range *g = (vtf_range *)(node->p + w.n);
    ram_grow(node, w.n + VTF_ALIGN);
    memset(g, 0, VTF_ALIGN);
    g->at = VTF_FRONT;
    g->length = sizeof(vtf_extent);
    g->xxh = vt_xxh64(w.p + VTF_FRONT, sizeof(vtf_extent));
    memcpy(g + 1, w.p + VTF_FRONT, sizeof(vtf_extent));
    memset(w.p + VTF_FRONT, 0xA5, sizeof(vtf_extent));
    s->redo_at = w.n;
    s->redo_n = 1;
    return g;
}

static void redo_mend(const vtf_range *g)
{
    vtf_slot *s = slot_of(w.p, 1);
    s->redo_xxh = vt_xxh64(g, sizeof *g);
    s->crc = vtf_crc_slot(s);
}

static void a_copy_of_a_recovery_that_is_not_whole_is_not_used(void)
{
    static const char why[] = "cannot finish a recovery", form[] = "cannot finish a recovery";
    static const forgery range[] = {
        {FIELD(vtf_range, at), 0, why},
        {FIELD(vtf_range, at), VTF_FRONT - 8, why},
        {FIELD(vtf_range, at), 1ull << 40, why},
        {FIELD(vtf_range, at), UINT64_MAX, why},
        {FIELD(vtf_range, length), 0, why},
        {FIELD(vtf_range, length), 60, why},
        {FIELD(vtf_range, xxh), 1, why}};
    static const forgery slot[] = {
        {FIELD(vtf_slot, redo_xxh), 1, why},       {FIELD(vtf_slot, redo_n), 2, why},
        {FIELD(vtf_slot, redo_n), 1 << 20, form},  {FIELD(vtf_slot, redo_n), UINT64_MAX, form},
        {FIELD(vtf_slot, redo_at), 1ull << 40, form}, {FIELD(vtf_slot, redo_at), UINT64_MAX, form}};
    env e;
    vtf_range *g;
    size_t i;
    everything_up(&e);
    forge_begin(&e);
    for (i = 0; i < LENGTH(range); i++) {
        forge_again(&e);
        g = redo_up(&e);
        forge(g, &range[i]);
        redo_mend(g);
        refused(&e, range[i].why);
    }
    for (i = 0; i < LENGTH(slot); i++) {
        forge_again(&e);
        redo_mend(redo_up(&e));
        forge(slot_of(w.p, 1), &slot[i]);
        slot_of(w.p, 1)->crc = vtf_crc_slot(slot_of(w.p, 1));
        refused(&e, slot[i].why);
    }
    forge_end(&e);
}

/* It would be written over itself, and past its end. */
static void a_copy_of_a_recovery_that_belongs_where_it_lies_is_not_used(void)
{
    env e;
    vtf_range *g;
    everything_up(&e);
    forge_begin(&e);
    g = redo_up(&e);
    g->at = w.n;
    redo_mend(g);
    refused(&e, "cannot finish a recovery");
    forge_again(&e);
    g = redo_up(&e);
    g->at = w.n - 8;
    redo_mend(g);
    refused(&e, "cannot finish a recovery");
    forge_end(&e);
}

/* ---- Reads that fail -------------------------------------------------------------------- */

static void shake(env *e)
{
    fail_call(0, 0);
    e->r.io.read = shaky_read;
    e->r.io.size = shaky_size;
}

/* Opens with call after call failing: an error, or all of it; then it opens as ever. */
static void check_shaky_opens(env *e, vtag_access access, int no_map, uint64_t want)
{
    uint64_t nth = 1;
    int turn, through = 0;
    for (turn = 0; turn < 2; turn++)
        for (nth = 1, through = 0; !through && nth < 200 && !t_.failed; nth++) {
            vtag_err err;
            forge_again(e);
            fail_call(nth, turn);
            err = reopen_as(e, access, no_map);
            through = calls < nth;
            fail_call(0, 0);
            if (err) ERR(VTAG_IO, err);
            if (through) OK(err);
            if (!err) CHECK_EQ(hash_of(e->db), want);
            vtag_close(e->db);
            OK(reopen_as(e, access, no_map));
            if (e->db) CHECK_EQ(hash_of(e->db), want);
        }
    CHECK(through && nth > 4);
}

static void check_shaky_memory(env *e, vtag_access access, int no_map, uint64_t want)
{
    uint64_t nth;
    int through = 0;
    for (nth = 1; !through && nth < 500 && !t_.failed; nth++) {
        vtag_err err;
        forge_again(e);
        heap.fail_at = heap.calls + nth;
        err = reopen_as(e, access, no_map);
        through = heap.calls < heap.fail_at;
        heap.fail_at = 0;
        if (through) OK(err);
        if (err) ERR(VTAG_NOMEM, err);
        else CHECK_EQ(hash_of(e->db), want);
    }
    CHECK(through && nth > 4);
}

static void a_recovery_is_finished_when_the_file_can_be_read_again(void)
{
    env e;
    uint64_t want;
    int way;
    everything_up(&e);
    want = hash_of(e.db);
    forge_begin(&e);
    redo_mend(redo_up(&e));
    memcpy(good, w.p, w.n); /* the copy itself lies past that */
    shake(&e);
    for (way = 0; way < 3; way++) {
        check_shaky_opens(&e, way ? VTAG_READ : VTAG_EXISTING, way == 2, want);
        check_shaky_memory(&e, way ? VTAG_READ : VTAG_EXISTING, way == 2, want);
    }
    forge_end(&e);
}

enum { DEAD = 70 }; /* commits, which go past a LINK */

/* What a handle shows before it looks again. */
static uint64_t hash_now(vtag_db *db)
{
    vtag_snap s;
    uint64_t hash;
    memset(&s, 0, sizeof s);
    s.db = db;
    s.state = db->state;
    REQUIRE(!db->oldest);
    db->oldest = &s;
    hash = content_hash(&s);
    db->oldest = NULL;
    return hash;
}

/* A writer died before its last commits were named in a slot. */
static void a_dead_writers_commits_are_shown_whole_or_not_at_all(void)
{
    env e;
    uint8_t slots[2][512];
    uint64_t want[DEAD + 1], first, nth;
    int i, through = 0, later = 0;
    everything_up(&e);
    for (i = 0; i < 2; i++)
        memcpy(slots[i], ram_find(&e.r, "t.vtag")->p + VTF_SLOT_AT(i), 512);
    first = e.db->state->head.commit;
    for (i = 0; i <= DEAD; i++) {
        if (i) more_commits(&e, i, i + 1);
        want[i] = hash_of(e.db);
    }
    CHECK(e.db->state->pos.extent != VTF_FRONT);
    forge_begin(&e);
    for (i = 0; i < 2; i++) memcpy(w.p + VTF_SLOT_AT(i), slots[i], 512);
    memcpy(good, w.p, w.n);
    shake(&e);
    for (nth = 1; !through && nth < 2000 && !t_.failed; nth++) {
        vtag_err err;
        uint64_t seen;
        forge_again(&e);
        fail_call(nth, 0);
        err = reopen_as(&e, VTAG_READ, 1);
        through = calls < nth;
        fail_call(0, 0);
        if (err) ERR(VTAG_IO, err);
        if (err) continue;
        seen = e.db->state->head.commit;
        REQUIRE(seen >= first && seen <= first + DEAD);
        CHECK_EQ(hash_now(e.db), want[seen - first]);
        CHECK_EQ(hash_of(e.db), want[DEAD]); /* it looked again */
        later += seen < first + DEAD;
    }
    CHECK(through && nth > 20 && later);
    forge_end(&e);
}

enum { READERS = 80 };

/* Commits until the log goes on in another extent; how many it took. */
static int commits_to_link(void)
{
    env e;
    int n = 0;
    everything_up(&e);
    while (e.db->state->pos.extent == VTF_FRONT && n < 500) more_commits(&e, n, n + 1), n++;
    env_down(&e);
    return n;
}

/* Readers that hold the file in memory of their own follow a writer over a LINK, each with
 * another read failing: an error or the new state, and the next time the new state. */
static void a_reader_that_cannot_read_on_does_so_later(void)
{
    static vtag_db *reader[READERS];
    env e;
    uint64_t want;
    int i, through = 0, failed = 0, n = commits_to_link();
    everything_up(&e);
    more_commits(&e, 0, n - 1);
    CHECK(e.db->state->pos.extent == VTF_FRONT);
    for (i = 0; i < READERS; i++) {
        vtag_open_opts o = {0};
        o.access = VTAG_READ;
        o.no_map = 1;
        o.io = &e.r.io;
        MUST(vtag_open("t.vtag", &o, &reader[i]));
    }
    shake(&e);
    more_commits(&e, n - 1, n + 2);
    CHECK(e.db->state->pos.extent != VTF_FRONT);
    want = hash_of(e.db);
    for (i = 0; i < READERS; i++) {
        vtag_snap *s = NULL;
        vtag_err err;
        fail_call((uint64_t)i / 2 + 1, i % 2);
        err = vtag_snapshot(reader[i], &s);
        through |= calls < fail_at;
        fail_call(0, 0);
        if (err) ERR(VTAG_IO, err);
        else CHECK_EQ(content_hash(s), want);
        failed += err != VTAG_OK;
        vtag_release(s);
        CHECK_EQ(hash_of(reader[i]), want);
        vtag_close(reader[i]);
    }
    CHECK(through && failed > 10);
    env_down(&e);
}

/* ---- Space past the end ----------------------------------------------------------------- */

/* The file as a writer left it that died before its last commit was named in a slot; the
 * record of that commit, to be forged. */
static vtf_record *pending_up(env *e, vtag_err (*change)(vtag_batch *b))
{
    uint8_t slots[2][512];
    vtag_batch *b;
    place *x;
    int i;
    for (i = 0; i < 2; i++)
        memcpy(slots[i], ram_find(&e->r, "t.vtag")->p + VTF_SLOT_AT(i), 512);
    b = begin(e->db);
    OK(change(b));
    OK(vtag_commit(b));
    forge_begin(e);
    for (i = 0; i < 2; i++) memcpy(w.p + VTF_SLOT_AT(i), slots[i], 512);
    memcpy(good, w.p, w.n);
    x = &w.a[w.of[P_RECORD][w.ofs[P_RECORD] - 1]];
    x->spoilt = 1;
    return (vtf_record *)(w.p + x->at);
}

/* That commit states the end of the file that was, and what it made lies behind. 1: it
 * said another. */
static int past_up(env *e, vtag_err (*change)(vtag_batch *b))
{
    uint64_t end = e->db->state->head.end, number = e->db->state->head.extent;
    vtf_record *r = pending_up(e, change);
    int moved = r->head.end > end;
    r->head.end = end;
    r->head.extent = number;
    mend_all();
    return moved;
}

static vtag_err new_segment(vtag_batch *b)
{
    vtag_item it = item_at(5, 0);
    vtag_vec v = v2(0, 1, 2);
    vtag_err err = try_declare(b, "m@3", 2, VTAG_L2SQ, &v.tag);
    return err ? err : vtag_put(b, &it, &v, 1);
}

static vtag_err many_items(vtag_batch *b)
{
    uint64_t i;
    for (i = 0; i < VT_INLINE + 100; i++) put_b(b, 1000 + i, NULL, NULL, 0);
    return VTAG_OK;
}

/* As more_commits does. */
static vtag_err one_more(vtag_batch *b)
{
    vtag_item it = item_of(3, "one");
    vtag_vec v = v2(A, 1, 3);
    return vtag_put(b, &it, &v, 1);
}

/* Recovery gives the space past the end back: no state may point there. */
static void a_commit_that_reaches_past_its_own_end_is_refused(void)
{
    env e;
    everything_up(&e);
    CHECK(past_up(&e, new_segment));
    refused(&e, "a state reaches past its end");
    forge_end(&e);
    everything_up(&e);
    CHECK(past_up(&e, many_items));
    refused(&e, "a state reaches past its end");
    forge_end(&e);
    everything_up(&e);
    more_commits(&e, 0, commits_to_link() - 1);
    CHECK(past_up(&e, one_more));
    refused(&e, "log out of order");
    forge_end(&e);
}

static vtag_err a_bit_of_all(vtag_batch *b)
{
    vtag_err err = new_segment(b);
    return err ? err : many_items(b);
}

/* Space past the end that holds a copy of [from, from + n); where it begins. */
static uint64_t copied_past_the_end(env *e, uint64_t from, uint64_t n)
{
    ram_grow(ram_find(&e->r, "t.vtag"), w.n + VTF_ALIGN);
    memcpy(w.p + w.n, w.p + from, (size_t)n);
    return w.n;
}

/* All of the commit lies before its end, but for one thing that it names: the name of a
 * tag, a bitmap, a sketch, an index run, each whole where it stands. */
static void a_commit_that_names_a_thing_past_its_own_end_is_refused(void)
{
    env e;
    vtf_tag *t;
    vtf_delta *d;
    vtf_run *run;
    uint64_t at;
    everything_up(&e);
    pending_up(&e, a_bit_of_all);
    t = newest_tag();
    t->names = copied_past_the_end(&e, t->names, 512);
    mend_all();
    refused(&e, "a state reaches past its end");
    forge_again(&e);
    log_seg(2, 1)->bits_at = copied_past_the_end(&e, 512, 512); /* zeros */
    mend_all();
    refused(&e, "a state reaches past its end");
    forge_again(&e);
    log_seg(2, 1)->sketch = copied_past_the_end(&e, 0, 512);
    mend_all();
    refused(&e, "a state reaches past its end");
    forge_again(&e);
    d = newest_items();
    REQUIRE(d->at);
    at = copied_past_the_end(&e, d->at - sizeof *run, sizeof *run + d->n * sizeof(vtf_entry));
    run = (vtf_run *)(w.p + at);
    d->at = run->at = at + sizeof *run;
    mend_all();
    refused(&e, "a state reaches past its end");
    forge_end(&e);
}

/* A superblock that gives the end of the file too low, whoever reads it. */
static void a_superblock_whose_end_comes_before_what_it_names_is_refused(void)
{
    env e;
    uint64_t end;
    int sealed;
    for (sealed = 0; sealed < 2; sealed++) {
        if (sealed) two_seals_up(&e);
        else everything_up(&e);
        forge_begin(&e);
        for (end = w.n - VTF_ALIGN; end > VTF_FRONT; end -= VTF_ALIGN) {
            vtag_open_opts o = {0};
            forge_again(&e);
            slot_of(w.p, 1)->head.end = end;
            mend_all();
            ERR(VTAG_CORRUPT, reopen_as(&e, VTAG_EXISTING, 0));
            ERR(VTAG_CORRUPT, reopen_as(&e, VTAG_READ, 1));
            ERR(VTAG_CORRUPT, vtag_open_memory(w.p, w.n, &o, &e.db));
        }
        forge_end(&e);
    }
}

/* ---- One more commit -------------------------------------------------------------------- */

static forger one; /* a commit behind the last one of the closed store, as a forger wants it */

static void forge_commit(void)
{
    static const vtf_tail none;
    forger_start(&one, w.p, w.n, w.n, &none);
}

/* The copy that goes before a recovery lists whole ranges: it is not out of step by what a
 * section holds besides. */
static void a_section_of_ranges_with_a_rest_misleads_no_recovery(void)
{
    uint32_t rest;
    for (rest = 0; rest < 24; rest += 8) {
        uint8_t junk[24];
        env e;
        vtag_err err;
        everything_up(&e);
        forge_begin(&e);
        ((vtf_identity *)w.p)->flags |= VTF_FLAG_PAD;
        w.a[w.of[P_IDENTITY][0]].spoilt = 1;
        mend_all();
        forge_commit();
        memset(junk, 0x11, sizeof junk);
        forger_section(&one, VTF_RANGES, 0, junk, rest);
        REQUIRE(forger_end(&one, 0));
        err = reopen_as(&e, VTAG_EXISTING, 0);
        if (!err) {
            vtag_abort(begin(e.db));
            verify(e.db);
        } else ERR(VTAG_CORRUPT, err);
        CHECK(!memcmp(w.p + VTF_FRONT, good + VTF_FRONT, VTF_HEAD_ROOM));
        forge_end(&e);
    }
}

/* Where the entry of an item leads: an odd offset, which no blob can have. */
static void an_entry_that_names_an_odd_offset_can_be_deleted(void)
{
    uint64_t off;
    for (off = 1; off < 8; off++) {
        env e;
        vtf_entry entry;
        vtag_item it;
        vtag_snap *s;
        everything_up(&e);
        entry = *vt_state_item(e.db->state, 3);
        entry.at += off;
        forge_begin(&e);
        forge_commit();
        forger_entry(&one, VTF_S_ITEMS, 0, &entry, 0, 0);
        REQUIRE(forger_end(&one, 1));
        opens(&e, VTAG_EXISTING);
        s = look(e.db);
        lines = 0;
        ERR(VTAG_CORRUPT, vtag_get(s, 3, &it));
        CHECK(lines && said[0].at == entry.at);
        vtag_release(s);
        verify_finds(&e, "key, payload or text damaged", entry.at);
        ERR(VTAG_CORRUPT, vtag_compact(e.db, NULL, NULL));
        OK(del(e.db, 3));
        OK(vtag_compact(e.db, NULL, NULL));
        verify(e.db);
        forge_end(&e);
    }
}

/* Goes through a list page by page; how many pages there are, at most 1,000. */
static int pages(const vtag_snap *s, uint32_t space, size_t cap)
{
    vtag_item it[16];
    vtag_event ev[16];
    const char *name[16];
    uint64_t at = 0, before;
    size_t n = 0;
    int count = 0;
    do {
        vtag_err err;
        before = at;
        if (space == VTF_S_ITEMS) err = vtag_items(s, 0, VTAG_ALL, &at, it, cap, &n);
        else if (space == VTF_S_WAIVERS) err = vtag_items(s, B, VTAG_ALL, &at, it, cap, &n);
        else if (space == VTF_S_EVENTS) err = vtag_history(s, &at, ev, cap, &n);
        else err = vtag_metas(s, &at, name, cap, &n);
        if (err) break;
        CHECK(!n || at > before);
    } while (n && ++count < 1000 && !t_.failed);
    return count;
}

/* An index run that is out of order hides keys; whoever goes through it comes to an end. */
static void a_walk_over_a_run_out_of_order_comes_to_an_end(void)
{
    static const uint32_t spaces[] = {VTF_S_ITEMS, VTF_S_WAIVERS, VTF_S_EVENTS, VTF_S_NAMES};
    static const uint64_t ids[] = {UINT64_MAX, UINT64_MAX - 1, 1000, 0};
    env e;
    size_t i, j, k, run;
    everything_up(&e);
    OK(vtag_seal(e.db, NULL, NULL));
    forge_begin(&e);
    for (run = 0; run < w.ofs[P_RUN]; run++)
        for (i = 0; i < LENGTH(ids); i++)
            for (j = 0; j < 6; j++) {
                place *x = &w.a[w.of[P_RUN][run]];
                vtf_entry *entry = (vtf_entry *)(w.p + x->at);
                vtag_snap *s;
                if (j * sizeof *entry >= x->bytes) continue;
                forge_again(&e);
                entry[j].id = ids[i];
                x->spoilt = 1;
                mend_all();
                opens(&e, VTAG_READ);
                s = look(e.db);
                for (k = 0; k < LENGTH(spaces); k++) CHECK(pages(s, spaces[k], 1 + j) < 1000);
                vtag_release(s);
            }
    forge_end(&e);
}

/* ---- Recovery of a padded file ------------------------------------------------------------ */

/* A slot names a whole copy, of as many ranges as the pending commit has and where its copy
 * belongs, but of other bytes: the commit is copied before it is written again. */
static void a_copy_of_other_bytes_is_not_taken_for_that_of_a_pending_commit(void)
{
    env e;
    vtf_record *r;
    vtf_range *g, none = {VTF_FRONT, sizeof(vtf_extent), 0}, self;
    vtf_slot *s;
    uint64_t want, n, i;
    everything_up(&e);
    r = pending_up(&e, one_more);
    ((vtf_identity *)w.p)->flags |= VTF_FLAG_PAD;
    w.a[w.of[P_IDENTITY][0]].spoilt = 1;
    n = (section(VTF_RANGES, 1)->size - sizeof(vtf_section)) / sizeof *g + 1;
    mend_all();
    opens(&e, VTAG_READ);
    want = hash_of(e.db);
    vtag_close(e.db);
    ram_grow(ram_find(&e.r, "t.vtag"), w.n + VTF_ALIGN);
    g = (vtf_range *)(w.p + r->head.end);
    self.at = (uint64_t)((uint8_t *)r - w.p);
    self.length = r->size;
    self.xxh = vt_xxh64(r, r->size);
    none.xxh = vt_xxh64(w.p + none.at, (size_t)none.length);
    for (i = 0; i < n; i++) {
        g[i] = none;
        memcpy((uint8_t *)(g + n) + i * none.length, w.p + none.at, (size_t)none.length);
    }
    s = slot_of(w.p, 1);
    s->redo_at = r->head.end;
    s->redo_n = n;
    s->redo_xxh = vt_xxh64(g, (size_t)n * sizeof *g);
    s->crc = vtf_crc_slot(s);
    opens(&e, VTAG_EXISTING);
    vtag_abort(begin(e.db));
    CHECK(!memcmp(&g[n - 1], &self, sizeof self));
    CHECK_EQ(hash_of(e.db), want);
    verify(e.db);
    forge_end(&e);
}

/* ---- Files that a crash left unmade ----------------------------------------------------- */

/* An empty store whose identity page is torn. */
static void unmade_up(env *e)
{
    env_up(e);
    forge_begin(e);
    CHECK_EQ(w.n, VTF_FRONT + VTF_ALIGN);
    w.p[100] ^= 1;
    memcpy(good, w.p, w.n);
}

static vtag_err create_over(env *e)
{
    vtag_err err = reopen_as(e, VTAG_CREATE, 0);
    if (!err) verify(e->db);
    if (!err) CHECK_EQ(stat_of(e->db).commit, 0);
    return err;
}

static void a_torn_identity_page_is_made_anew_only_where_nothing_was_committed(void)
{
    env e;
    vtf_slot *s;
    uint32_t i;
    unmade_up(&e);
    ERR(VTAG_CORRUPT, reopen_as(&e, VTAG_EXISTING, 0));
    for (i = 0; i < 2; i++) {
        forge_again(&e);
        s = (vtf_slot *)(w.p + VTF_SLOT_AT(i));
        s->head.commit = 1;
        s->crc = vtf_crc_slot(s);
        ERR(VTAG_CORRUPT, create_over(&e));
        refused(&e, "identity page damaged");
        forge_again(&e);
        s->salt ^= 1; /* torn as well: no crash of making the file leaves both */
        ERR(VTAG_CORRUPT, create_over(&e));
        refused(&e, "identity page damaged");
    }
    forge_again(&e);
    w.p[100] ^= 1; /* whole again: it is a store, and opened as it is */
    OK(create_over(&e));
    CHECK(!memcmp(w.p, good, 100));
    forge_again(&e);
    OK(create_over(&e));
    CHECK(memcmp(w.p + 16, good + 16, 16)); /* another uuid */
    forge_end(&e);
}

static void what_cannot_be_read_is_not_made_anew(void)
{
    env e;
    uint64_t nth;
    int through = 0;
    unmade_up(&e);
    shake(&e);
    for (nth = 1; !through && nth < 100; nth++) {
        vtag_err err;
        forge_again(&e);
        ram_reset_counts(&e.r);
        fail_call(nth, 1);
        err = reopen_as(&e, VTAG_CREATE, 0);
        through = calls < nth;
        fail_call(0, 0);
        ERR(through ? VTAG_OK : VTAG_IO, err);
        if (nth > 8) continue; /* its size, the page and two slots; all again under the lock */
        CHECK_EQ(e.r.writes, 0);
        CHECK(!memcmp(w.p, good, w.n));
    }
    CHECK(through && nth > 8);
    forge_end(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_superblock_of_another_file_does_not_count);
    RUN(a_superblock_whose_log_lies_elsewhere_is_refused);
    RUN(a_tag_that_changes_its_meaning_is_refused);
    RUN(a_tag_that_means_nothing_is_refused);
    RUN(a_tag_without_a_name_is_refused);
    RUN(a_tag_name_that_rots_later_is_found);
    RUN(a_segment_that_changes_its_shape_is_refused);
    RUN(segments_that_trade_places_are_refused);
    RUN(a_delta_without_room_for_itself_is_refused);
    RUN(an_index_run_that_a_record_names_is_checked);
    RUN(an_index_run_that_a_checkpoint_names_is_checked);
    RUN(an_index_run_without_a_header_is_found);
    RUN(a_change_over_an_entry_that_points_nowhere_is_refused);
    RUN(an_entry_that_points_at_another_tags_rows_is_refused);
    RUN(rows_without_their_item_count_as_lost);
    RUN(an_event_too_short_to_be_one_is_not_read);
    RUN(a_policy_too_short_to_be_one_lets_nothing_pass);
    RUN(metadata_under_the_hash_of_another_name_is_not_mixed_up);
    RUN(rotten_metadata_is_neither_read_nor_written_over);
    RUN(a_change_of_rotten_metadata_says_that_it_is_damaged);
    RUN(a_log_extent_before_the_checkpoint_that_rots_is_found);
    RUN(a_checkpoint_that_rots_after_it_was_read_is_found);
    RUN(a_checkpoint_outside_the_file_is_found);
    RUN(a_sketch_longer_than_its_extent_is_not_used);
    RUN(a_sketch_that_lies_loses_rows_and_does_no_other_harm);
    RUN(a_sketch_that_promises_more_than_a_cosine_hides_no_equal_row);
    RUN(an_entry_that_points_at_a_dead_row_finds_nothing);
    RUN(a_record_that_vouches_for_a_byte_twice_does_not_count);
    RUN(a_committed_record_that_wrote_a_byte_twice_is_refused);
    RUN(a_record_that_kills_a_row_too_often_is_refused);
    RUN(a_record_that_leaves_no_number_to_give_out_is_refused);
    RUN(tags_that_share_a_long_name_are_refused);
    RUN(an_index_run_that_is_named_too_often_is_refused);
    RUN(segments_that_overlap_are_refused);
    RUN(a_link_into_the_same_log_extent_is_refused);
    RUN(verify_ends_where_it_is_cancelled);
    RUN(verify_ends_in_a_sketch_where_it_is_cancelled);
    RUN(a_copy_cancelled_amid_an_item_leaves_nothing);
    RUN(a_copy_of_a_recovery_that_is_not_whole_is_not_used);
    RUN(a_copy_of_a_recovery_that_belongs_where_it_lies_is_not_used);
    RUN(a_recovery_is_finished_when_the_file_can_be_read_again);
    RUN(a_dead_writers_commits_are_shown_whole_or_not_at_all);
    RUN(a_reader_that_cannot_read_on_does_so_later);
    RUN(a_commit_that_reaches_past_its_own_end_is_refused);
    RUN(a_commit_that_names_a_thing_past_its_own_end_is_refused);
    RUN(a_superblock_whose_end_comes_before_what_it_names_is_refused);
    RUN(a_section_of_ranges_with_a_rest_misleads_no_recovery);
    RUN(an_entry_that_names_an_odd_offset_can_be_deleted);
    RUN(a_walk_over_a_run_out_of_order_comes_to_an_end);
    RUN(a_copy_of_other_bytes_is_not_taken_for_that_of_a_pending_commit);
    RUN(a_torn_identity_page_is_made_anew_only_where_nothing_was_committed);
    RUN(what_cannot_be_read_is_not_made_anew);
    return t_end();
}
