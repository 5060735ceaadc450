// build: plain
/* test_bits.c - every bit of a small file flipped, and every length it could have

   Each flip of a byte that the state refers to is reported, with a place in the same
   structure and a meaning; any other flip changes nothing that can be seen. Pages that
   nothing reads are found by taking the access to all of them away. A file cut or grown
   to any length is an error or the state that was committed. */
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "content.h"
#include "fuzz_disk.h"
#include "hostile.h"
#include <signal.h>

static uint64_t flips, lengths;

/* ---- Images -------------------------------------------------------------------------- */

typedef struct image {
    uint8_t *p, *touched;        /* touched: bytes that were written */
    size_t   n;
    uint64_t hash;
} image;

static image image_of(env *e)
{
    ram_node *node = ram_find(&e->r, "t.vtag");
    image m;
    m.n = (size_t)node->bytes;
    m.p = mmap(NULL, m.n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    m.touched = malloc(m.n);
    REQUIRE(m.p != MAP_FAILED && m.touched);
    memcpy(m.p, node->p, m.n);
    memcpy(m.touched, node->touched, m.n);
    m.hash = content_db(e->db).hash;
    env_down(e);
    return m;
}

static void image_free(image *m)
{
    munmap(m->p, m->n);
    free(m->touched);
}

/* The least that has a row of everything; few bytes, so that all of them can be tried. */
static void tiny_up(env *e)
{
    vtag_tag a;
    vtag_batch *b;
    ram_init(&e->r);
    e->r.track = 1;
    e->db = env_open(e, "t.vtag", VTAG_NEW);
    a = declare(e->db, "m@1", 2, VTAG_COSINE);
    put2(e->db, 1, "one", a, 1, 2);
    put2(e->db, 2, "two", a, 3, 4);
    b = begin(e->db);
    OK(vtag_meta_set(b, "meta", "12345", 5));
    OK(vtag_commit(b));
}

/* ---- Who says what ----------------------------------------------------------------------- */

typedef struct said { uint64_t at[64]; int n, silent; } said;

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    said *s = ctx;
    if (err && (!msg || !*msg)) s->silent = 1;
    if (err && s->n < 64) s->at[s->n++] = at;
}

/* 1: an error or a finding says so. 0: verify is content and all shows the same. -1: it
   shows something else, and nobody said so. */
static int look_at(const image *m, size_t n, said *s)
{
    vtag_open_opts o = {0};
    vtag_db *db;
    vtag_snap *snap;
    vtag_report rep;
    content c;
    int seen = 1;
    s->n = s->silent = 0;
    o.log = hear;
    o.log_ctx = s;
    if (vtag_open_memory(m->p, n, &o, &db)) return 1;
    if (!vtag_snapshot(db, &snap)) {
        if (!vtag_verify(snap, &rep, NULL, NULL)) {
            c = content_of(snap);
            seen = c.err || c.hash != m->hash ? -1 : 0;
        }
        vtag_release(snap);
    }
    vtag_close(db);
    return seen;
}

/* Where the structure that holds a byte begins and ends: page, slot or extent. */
static void around(const image *m, size_t i, uint64_t *from, uint64_t *to)
{
    uint64_t at = VTF_FRONT;
    *from = i < VTF_SLOT_AT(0) ? 0 : i < VTF_SLOT_AT(1) ? VTF_SLOT_AT(0) : VTF_SLOT_AT(1);
    *to = *from + VTF_SLOT_AT(0);
    while (i >= VTF_FRONT && at <= i) {
        const vtf_extent *e = (const vtf_extent *)(m->p + at);
        *from = at;
        *to = at += e->length;
    }
}

static int names_the_place(const said *s, uint64_t from, uint64_t to)
{
    int i;
    for (i = 0; i < s->n; i++)
        if (s->at[i] >= from && s->at[i] < to) return 1;
    return 0;
}

static void flip(image *m, size_t i, int must)
{
    uint64_t from, to;
    said s;
    int bit, seen;
    around(m, i, &from, &to);
    for (bit = 0; bit < 8; bit++) {
        m->p[i] ^= (uint8_t)(1u << bit);
        seen = look_at(m, m->n, &s);
        m->p[i] ^= (uint8_t)(1u << bit);
        flips++;
        if (seen < 0 || (must && seen != 1) || (must && (s.silent || !names_the_place(&s, from, to)))) {
            fprintf(stderr, "byte %lu bit %d: %s\n", (unsigned long)i, bit,
                    seen < 0 ? "another content" : !seen ? "not noticed" : "no place or meaning");
            REQUIRE(!"a flip is reported, with place and meaning");
        }
    }
}

typedef vtag_err finisher(vtag_db *db, vtag_progress *progress, void *ctx);

/* Each bit that was written of a store, after vtag_seal or vtag_compact if `then` is one. */
static void flip_all_that_is_written(int churn, finisher *then)
{
    env e;
    image m;
    size_t i;
    store_up(&e, churn);
    if (then) OK(then(e.db, NULL, NULL));
    m = image_of(&e);
    for (i = 0; i < m.n; i++)
        if (m.touched[i]) flip(&m, i, 1);
    image_free(&m);
}

/* Nothing is deleted or replaced: all that was written is referenced. */
static void every_bit_written_by_commits_is_reported(void) { flip_all_that_is_written(0, NULL); }
static void every_bit_of_a_sealed_file_is_reported(void) { flip_all_that_is_written(0, vtag_seal); }
static void every_bit_of_a_compacted_file_is_reported(void)
{
    flip_all_that_is_written(1, vtag_compact);
}

/* The same of what version 3 of the format brought. */
static void every_bit_of_an_alias_and_of_extensions_is_reported(void)
{
    env e;
    image m;
    size_t i;
    vtag_batch *b;
    vtag_event ev = {0};
    store_up(&e, 0);
    b = begin(e.db);
    OK(vtag_alias(b, 1u << 20 | 1u << 8 | 1u, "alias@1/of-a-tag", "its true name"));
    ev.kind = VTAG_K_AUDIT;
    ev.tag = 1u << 20 | 1u << 8 | 1u;
    ev.by = "an operator";
    ev.command = "audit --sample 100";
    ev.in = 7;
    ev.audit.sampled = 100;
    ev.audit.worst = 0.5;
    OK(vtag_note(b, &ev));
    OK(vtag_commit(b));
    m = image_of(&e);
    for (i = 0; i < m.n; i++)
        if (m.touched[i]) flip(&m, i, 0);
    image_free(&m);
}

/* ---- Every byte ------------------------------------------------------------------------ */

static image *watched;
static uint8_t *read_pages;

static void on_read(int sig, siginfo_t *info, void *context)
{
    size_t at = (size_t)((uint8_t *)info->si_addr - watched->p);
    (void)sig, (void)context;
    if (at >= watched->n) abort();
    read_pages[at / 4096] = 1;
    mprotect(watched->p + at / 4096 * 4096, 4096, PROT_READ);
}

/* Marks the pages that anything reads. A flip in another page is not seen by a program
   that does as this one did. */
static size_t watch(image *m)
{
    struct sigaction act, old;
    said s;
    size_t i, pages = 0;
    memset(&act, 0, sizeof act);
    act.sa_sigaction = on_read;
    act.sa_flags = SA_SIGINFO;
    watched = m;
    read_pages = calloc(m->n / 4096, 1);
    sigaction(SIGSEGV, &act, &old);
    mprotect(m->p, m->n, PROT_NONE);
    CHECK_EQ(look_at(m, m->n, &s), 0);
    sigaction(SIGSEGV, &old, NULL);
    mprotect(m->p, m->n, PROT_READ | PROT_WRITE);
    for (i = 0; i < m->n / 4096; i++) pages += read_pages[i];
    return pages;
}

/* Each byte of the pages that are read, referenced or not. */
static void every_bit_of_a_tiny_file_is_reported_or_without_effect(void)
{
    env e;
    image m;
    size_t i, pages;
    uint64_t before = flips;
    tiny_up(&e);
    m = image_of(&e);
    pages = watch(&m);
    CHECK(pages > 5 && pages < m.n / 4096);
    for (i = 0; i < m.n; i++) {
        if (read_pages[i / 4096]) flip(&m, i, m.touched[i]);
        else CHECK(!m.touched[i]);
    }
    printf("bits: %llu flipped in the %lu pages that are read of %lu; the others cannot matter\n",
           (unsigned long long)(flips - before), (unsigned long)pages, (unsigned long)m.n / 4096);
    free(read_pages);
    image_free(&m);
}

/* ---- Every length ------------------------------------------------------------------------ */

/* What a reader finds in the first len bytes: the newest content, or an error. */
static void a_reader_of_any_length(int filler)
{
    const size_t more = 256 << 10;
    env e;
    image m, grown;
    said s;
    size_t len, opened = 0;
    tiny_up(&e);
    m = image_of(&e);
    grown = m;
    grown.p = mmap(NULL, m.n + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(grown.p != MAP_FAILED);
    memcpy(grown.p, m.p, m.n);
    memset(grown.p + m.n, filler, more);
    for (len = 0; len <= m.n + more && !t_.failed; len++) {
        int seen = look_at(&grown, len, &s);
        CHECK(seen >= 0);
        CHECK(seen == (len < m.n)); /* an error says why; past the end, bytes are nobody's */
        if (seen) CHECK(s.n > 0 && !s.silent);
        opened += !seen;
        lengths++;
    }
    CHECK_EQ(opened, more + 1);
    munmap(grown.p, m.n + more);
    image_free(&m);
}

static void a_reader_takes_any_length_as_an_error_or_the_state(void) { a_reader_of_any_length(0); }
static void a_reader_takes_any_length_of_garbage_too(void) { a_reader_of_any_length(0xA5); }

/* A writer of a file of some length: an error, or the state and a commit on top of it. */
static void write_at_length(disk_file *f, size_t len, uint64_t want)
{
    disk *d = disk_get();
    vtag_db *db;
    vtag_report rep;
    vtag_snap *s;
    disk_reset(d, f);
    if (len > f->base_size) memset(disk_poke(f, f->base_size, len - f->base_size), 0xA5, len - f->base_size);
    disk_size_to(f, len);
    db = disk_db(d, "t.vtag", VTAG_EXISTING, 0);
    lengths++;
    CHECK((db != NULL) == (len >= f->base_size));
    if (!db) return;
    CHECK_EQ(content_db(db).hash, want);
    put2(db, 9, "written at a strange length", 1u << 20 | 1u << 8 | 1u, 1, 1);
    s = look(db);
    OK(vtag_verify(s, &rep, NULL, NULL));
    vtag_release(s);
    vtag_close(db);
    CHECK_EQ(d->live, 0);
}

/* Every length near a place where something begins; elsewhere one in 509. */
static void a_writer_takes_a_strange_length_as_an_error_or_goes_on(void)
{
    env e;
    image m;
    disk_file *f;
    size_t len, off;
    tiny_up(&e);
    m = image_of(&e);
    f = disk_file_new(m.p, m.n);
    for (len = 0; len < m.n + (256 << 10) && !t_.failed; len++) {
        off = (len + 64) % 4096;
        if (off < 128 || len % 509 == 0) write_at_length(f, len, m.hash);
    }
    image_free(&m);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(every_bit_written_by_commits_is_reported);
    RUN(every_bit_of_a_sealed_file_is_reported);
    RUN(every_bit_of_a_compacted_file_is_reported);
    RUN(every_bit_of_an_alias_and_of_extensions_is_reported);
    RUN(every_bit_of_a_tiny_file_is_reported_or_without_effect);
    RUN(a_reader_takes_any_length_as_an_error_or_the_state);
    RUN(a_reader_takes_any_length_of_garbage_too);
    RUN(a_writer_takes_a_strange_length_as_an_error_or_goes_on);
    if (flips) printf("count bit-flips %llu\n", (unsigned long long)flips);
    if (lengths) printf("count lengths %llu\n", (unsigned long long)lengths);
    return t_end();
}
