// build: plain
/* test_limits_file.c - strings in a file that no call would have taken: too long by one or by
   far, or with a NUL inside; and blobs that bear another number than the entry that names them

   Each is written by the engine's own private functions, so that all checksums hold over
   it. It must be refused where it is read, with its offset; verify must name it; no call may
   crash over it or write it on. */
#include "heap.h"
#define VTAG_IMPLEMENTATION
#include "../vtag.h"
#include "test.h"
#include "util.h"
#include "content.h"
#include "hostile.h"

#define A (1u << 20 | 1u << 8 | 1u) /* the tags of everything_up */
#define B (1u << 20 | 2u << 8 | 1u)
#define ITEM 3u                     /* an item, and one that B waives */
#define WAIVED 6u

/* ---- What the log callback was told ----------------------------------------------------- */

static struct { vtag_err err; uint64_t at; } said[64];
static size_t lines;

static void hear(void *ctx, vtag_err err, const char *msg, uint64_t at)
{
    (void)ctx, (void)msg;
    if (lines == LENGTH(said)) return;
    said[lines].err = err;
    said[lines++].at = at;
}

static int heard(uint64_t at)
{
    size_t i;
    for (i = 0; i < lines; i++)
        if (said[i].err == VTAG_CORRUPT && said[i].at == at) return 1;
    return 0;
}

static vtag_err reopen(env *e, vtag_access access, int no_map)
{
    vtag_open_opts o = {0};
    vtag_close(e->db);
    e->db = NULL;
    lines = 0;
    o.access = access;
    o.no_map = no_map;
    o.io = &e->r.io;
    o.log = hear;
    return vtag_open("t.vtag", &o, &e->db);
}

/* ---- The strings of a file --------------------------------------------------------------- */

/* Where in a blob: its name; its data; behind a struct in its data; in an extension of that. */
enum { NAME, DATA, SCORE, REASON, TEXT, BY, COMMAND };

typedef struct text { const char *what; uint32_t space; int part; vtag_kind kind; size_t most; } text;

static const text texts[] = {
    {"key", VTF_S_ITEMS, NAME, 0, 255},
    {"reason of a waiver", VTF_S_WAIVERS, DATA, 0, 1024},
    {"name of metadata", VTF_S_NAMES, NAME, 0, 255},
    {"name of an event", VTF_S_EVENTS, NAME, VTAG_K_SCORE, 255},
    {"score of a gate", VTF_S_EVENTS, SCORE, VTAG_K_CUTOVER, 255},
    {"reason of a gate", VTF_S_EVENTS, REASON, VTAG_K_CUTOVER, 1024},
    {"text of an event", VTF_S_EVENTS, TEXT, VTAG_K_NOTE, 1024},
    {"text of a declaration", VTF_S_EVENTS, TEXT, VTAG_K_DECLARED, 4096},
    {"who did it", VTF_S_EVENTS, BY, VTAG_K_AUDIT, 255},
    {"what it was done with", VTF_S_EVENTS, COMMAND, VTAG_K_IMPORT, 1024},
    {"score of the policy", VTF_S_POLICY, SCORE, 0, 255},
    {"hold of the policy", VTF_S_POLICY, TEXT, 0, 1024}};

/* A string to plant: n bytes of a pattern, with a NUL at one of them if nul is not 0. */
typedef struct planted { char s[6000]; size_t n, most, nul; } planted;

static planted plant_of(size_t n, size_t nul)
{
    planted p;
    memset(&p, 0, sizeof p);
    memset(p.s, 'k', n);
    memcpy(p.s, "m@planted/", n < 10 ? n : 10); /* fit for a tag's name, too */
    p.n = n;
    if (nul) p.s[nul] = 0;
    return p;
}

/* The ways to break a limit, and the longest string that keeps it. An extension's text ends
 * where its zeros begin, so that a NUL at its last place only makes it shorter. */
enum { BY_ONE, BY_FAR, NUL_INSIDE, NUL_AT_LAST, WAYS, AT_MOST = WAYS };

static int ways_of(const text *t) { return t->part >= BY ? NUL_AT_LAST : WAYS; }

static planted plant(size_t most, int way)
{
    if (way == BY_ONE) return plant_of(most + 1, 0);
    if (way == BY_FAR) return plant_of(5000, 0);
    if (way == NUL_INSIDE) return plant_of(60, 20);
    if (way == NUL_AT_LAST) return plant_of(most, most - 1);
    return plant_of(most, 0);
}

/* How often the string lies in a file. */
static int copies(env *e, const char *path, const planted *p)
{
    const ram_node *node = ram_find(&e->r, path);
    const uint8_t *at = node->p, *end = node->p + node->bytes;
    int n = 0;
    while ((at = memmem(at, (size_t)(end - at), p->s, p->n)) != NULL) at += p->n, n++;
    return n;
}

/* The data of a blob that has the string in a part. */
static void pack(vt_out *o, const text *t, const planted *p)
{
    uint32_t n = (uint32_t)p->n + 1;
    if (t->part == DATA) vt_out_put(o, p->s, p->n);
    if (t->space == VTF_S_EVENTS) {
        vtf_event f = VT_ZERO;
        f.kind = (uint32_t)t->kind;
        f.score = t->part == SCORE ? n : 0;
        f.reason = t->part == REASON ? n : 0;
        f.text = t->part == TEXT ? n : 0;
        f.flags = t->part >= BY ? VTF_EXTENDED : 0;
        vt_out_put(o, &f, sizeof f);
    }
    if (t->space == VTF_S_POLICY) {
        vtf_policy f = VT_ZERO;
        f.score = t->part == SCORE ? n : 0;
        f.hold = t->part == TEXT ? n : 0;
        vt_out_put(o, &f, sizeof f);
    }
    if (t->part >= BY) vt_more_put(o, t->part == BY ? VTF_X_BY : VTF_X_COMMAND, p->s, p->n + 1);
    else if (t->part >= SCORE) vt_out_put(o, p->s, p->n + 1);
    REQUIRE(!o->err);
}

/* The entry that will name the blob: one that there is, or a new one. */
static vtf_entry entry_for(vtag_batch *b, const text *t, const planted *p)
{
    uint64_t id = t->space == VTF_S_ITEMS ? ITEM : t->space == VTF_S_WAIVERS ? WAIVED : 0;
    const vtf_entry *old;
    if (t->space == VTF_S_NAMES) return vt_entry_of(vt_xxh64(p->s, p->n), 0, 0, 0);
    if (t->space == VTF_S_EVENTS)
        return vt_entry_of(++b->s->head.event, b->s->head.commit + 1, 0, (uint64_t)t->kind << 32 | A);
    old = vt_batch_get(b, t->space, t->space == VTF_S_WAIVERS ? B : 0, id);
    REQUIRE(old != NULL);
    return *old;
}

/* A store with the string in it, opened anew; where its blob lies. off: of the blob's number
   from its entry's. */
static uint64_t planted_up(env *e, const text *t, const planted *p, uint64_t off)
{
    vtag_batch *b;
    vtf_entry entry;
    vtf_blob blob;
    vt_out o = VT_ZERO;
    everything_up(e);
    OK(waive(e->db, WAIVED, 0, B, "too short"));
    b = begin(e->db);
    entry = entry_for(b, t, p);
    pack(&o, t, p);
    blob = vt_blob_of(t->space, entry.id + off, t->part == NAME ? p->n : 0, o.n);
    MUST(vt_batch_blob(b, &blob, p->s, o.p, &entry.at));
    MUST(vt_batch_set(b, t->space, t->space == VTF_S_WAIVERS ? B : 0, &entry));
    vt_free(o.p);
    OK(vtag_commit(b));
    MUST(reopen(e, VTAG_EXISTING, 0));
    return entry.at;
}

/* The file of a store, to be put on other disks. */
typedef struct image { uint8_t *p; size_t n; } image;

static image image_of(env *e)
{
    const ram_node *node = ram_find(&e->r, "t.vtag");
    image m;
    m.n = (size_t)node->bytes;
    m.p = malloc(m.n);
    memcpy(m.p, node->p, m.n);
    return m;
}

static void image_up(env *e, const image *m)
{
    ram_node *node;
    ram_init(&e->r);
    node = e->r.node[ram_create(&e->r, "t.vtag")];
    ram_grow(node, m->n);
    memcpy(node->p, m->p, m->n);
    e->db = NULL;
    MUST(reopen(e, VTAG_EXISTING, 0));
}

static void planted_down(env *e)
{
    env_down(e);
    CHECK_EQ(heap.live, 0);
}

/* ---- Reading it -------------------------------------------------------------------------- */

/* Goes through all of a kind, to the first error. */
static vtag_err read_all(const vtag_snap *s, uint32_t space)
{
    vtag_item it;
    vtag_event ev;
    vtag_policy p;
    const char *name;
    uint64_t at = 0;
    size_t n = 1;
    vtag_err err = VTAG_OK;
    if (space == VTF_S_POLICY) return vtag_policy_get(s, &p);
    while (!err && n) {
        if (space == VTF_S_ITEMS) err = vtag_items(s, 0, VTAG_ALL, &at, &it, 1, &n);
        if (space == VTF_S_WAIVERS) err = vtag_items(s, B, VTAG_WAIVED, &at, &it, 1, &n);
        if (space == VTF_S_NAMES) err = vtag_metas(s, &at, &name, 1, &n);
        if (space == VTF_S_EVENTS) err = vtag_history(s, &at, &ev, 1, &n);
    }
    return err;
}

static vtag_err verify_now(vtag_db *db)
{
    vtag_snap *s = look(db);
    vtag_report rep;
    vtag_err err;
    lines = 0;
    memset(&rep, 0, sizeof rep);
    err = vtag_verify(s, &rep, NULL, NULL);
    CHECK_EQ(rep.bad != 0, err != VTAG_OK);
    if (err) CHECK(heard(rep.first_bad));
    vtag_release(s);
    return err;
}

static void say_which(int good, const text *t, int way)
{
    if (!good) fprintf(stderr, "  %s, way %d\n", t->what, way);
}

static void check_refused(env *e, const text *t, int way, uint64_t at)
{
    vtag_snap *s = look(e->db);
    vtag_item it;
    lines = 0;
    say_which(ERR(VTAG_CORRUPT, read_all(s, t->space)) && CHECK(heard(at)), t, way);
    lines = 0;
    if (t->space == VTF_S_ITEMS) say_which(ERR(VTAG_CORRUPT, vtag_get(s, ITEM, &it)) && CHECK(heard(at)), t, way);
    CHECK(content_of(s).err == VTAG_CORRUPT);
    say_which(ERR(VTAG_CORRUPT, verify_now(e->db)) && CHECK(heard(at)), t, way);
    vtag_release(s);
}

static void a_string_that_breaks_its_limit_is_refused_where_it_is_read(void)
{
    size_t i;
    int way, access;
    for (i = 0; i < LENGTH(texts); i++)
        for (way = 0; way < ways_of(&texts[i]); way++) {
            planted p = plant(texts[i].most, way);
            env e;
            uint64_t at = planted_up(&e, &texts[i], &p, 0);
            for (access = 0; access < 3; access++) {
                MUST(reopen(&e, access ? VTAG_READ : VTAG_EXISTING, access == 2));
                check_refused(&e, &texts[i], way, at);
            }
            planted_down(&e);
        }
}

static void a_string_of_all_that_its_limit_allows_is_read(void)
{
    size_t i;
    for (i = 0; i < LENGTH(texts); i++) {
        planted p = plant(texts[i].most, AT_MOST);
        env e;
        vtag_snap *s;
        planted_up(&e, &texts[i], &p, 0);
        s = look(e.db);
        say_which(OK(read_all(s, texts[i].space)) && OK(verify_now(e.db)), &texts[i], AT_MOST);
        vtag_release(s);
        OK(vtag_compact(e.db, NULL, NULL));
        OK(verify_now(e.db));
        planted_down(&e);
    }
}

static void a_blob_of_another_number_than_its_entrys_is_refused(void)
{
    size_t i;
    for (i = 0; i < LENGTH(texts); i++) {
        planted p = plant(200, AT_MOST);
        env e;
        uint64_t at = planted_up(&e, &texts[i], &p, 1);
        check_refused(&e, &texts[i], AT_MOST, at);
        planted_down(&e);
    }
}

/* ---- Writing over it --------------------------------------------------------------------- */

static vtag_err put_it(vtag_batch *b, const planted *p)
{
    vtag_item it = item_of(ITEM, "new text");
    (void)p;
    return vtag_put(b, &it, NULL, 0);
}

static vtag_err put_vector(vtag_batch *b, const planted *p)
{
    vtag_item it = item_at(ITEM, 0);
    vtag_vec v = v2(A, 5, 6);
    (void)p;
    return vtag_put(b, &it, &v, 1);
}

static vtag_err put_no_text(vtag_batch *b, const planted *p)
{
    vtag_item it = item_of(ITEM, "");
    (void)p;
    return vtag_put(b, &it, NULL, 0);
}

static vtag_err put_both(vtag_batch *b, const planted *p)
{
    vtag_err err = put_vector(b, p);
    return err ? err : put_it(b, p);
}

static vtag_err fill_it(vtag_batch *b, const planted *p)
{
    const vtf_entry *e = vt_batch_get(b, VTF_S_ITEMS, 0, ITEM);
    vtag_item it = item_at(ITEM, e ? e->rev : 0);
    vtag_vec v = v2(A, 7, 8);
    (void)p;
    return vtag_fill(b, &it, &v, 1);
}

static vtag_err waive_it(vtag_batch *b, const planted *p)
{
    vtag_item it = item_at(ITEM, 0);
    (void)p;
    return vtag_waive(b, &it, B, "too short");
}

static vtag_err waive_again(vtag_batch *b, const planted *p)
{
    vtag_item it = item_at(WAIVED, 0);
    (void)p;
    return vtag_waive(b, &it, B, "too long still");
}

static vtag_err lift(vtag_batch *b, const planted *p)
{
    vtag_item it = item_at(WAIVED, 0);
    (void)p;
    return vtag_waive(b, &it, B, NULL);
}

static vtag_err del_it(vtag_batch *b, const planted *p)
{
    (void)p;
    return vtag_del(b, ITEM);
}

static vtag_err set_meta(vtag_batch *b, const planted *p) /* ARG: the name is too long */
{
    return vtag_meta_set(b, strlen(p->s) == p->n ? p->s : "probe", "1", 1);
}

static vtag_err drop_meta(vtag_batch *b, const planted *p)
{
    return vtag_meta_set(b, strlen(p->s) == p->n ? p->s : "probe", NULL, 0);
}

static vtag_err note_it(vtag_batch *b, const planted *p)
{
    vtag_event ev = VT_ZERO;
    (void)p;
    ev.kind = VTAG_K_SCORE;
    ev.name = "m";
    ev.tag = A;
    return vtag_note(b, &ev);
}

static vtag_err set_policy_of(vtag_batch *b, const planted *p)
{
    vtag_policy policy = VT_ZERO;
    (void)p;
    policy.hold = "wait";
    return vtag_policy_set(b, &policy, "to wait");
}

static vtag_err declare_it(vtag_batch *b, const planted *p)
{
    vtag_tag tag;
    (void)p;
    return try_declare(b, "m@9", 2, VTAG_COSINE, &tag);
}

static vtag_err cut_over(vtag_batch *b, const planted *p)
{
    vtag_verdict v;
    vtag_gate g = VT_ZERO;
    (void)p;
    g.score = "m";
    g.min_ppm = VTAG_NONE;
    g.reason = "it must be";
    return vtag_cutover(b, A, &g, &v);
}

static vtag_err roll_back(vtag_batch *b, const planted *p)
{
    (void)p;
    return vtag_rollback(b, 0, NULL);
}

static vtag_err retire_it(vtag_batch *b, const planted *p)
{
    (void)p;
    return vtag_retire(b, A, "it is old", NULL);
}

typedef vtag_err change(vtag_batch *b, const planted *p);

static change *const changes[] = {put_it, put_vector, put_no_text, put_both, fill_it, waive_it,
                                  waive_again, lift, del_it, set_meta, drop_meta, note_it,
                                  set_policy_of, declare_it, cut_over, roll_back, retire_it};

/* Whether verify is content with a copy, and the string, if there is one, does not lie in it. */
static void check_copy(env *e, const planted *p)
{
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    if (p) CHECK_EQ(copies(e, "copy.vtag", p), 0);
    o.access = VTAG_READ;
    o.io = &e->r.io;
    MUST(vtag_open("copy.vtag", &o, &db));
    verify(db);
    vtag_close(db);
}

/* What a change leaves is good if the string is gone with it; else nothing takes it along. */
static void check_not_written_on(env *e, const planted *p)
{
    vtag_snap *s = look(e->db);
    vtag_err good = verify_now(e->db), err = vtag_copy(s, "copy.vtag", NULL, NULL);
    vtag_release(s);
    CHECK_EQ(copies(e, "t.vtag", p), 1);
    CHECK_EQ(err, good);
    if (!err) check_copy(e, p);
    else CHECK(!ram_find(&e->r, "copy.vtag"));
    OK(vtag_seal(e->db, NULL, NULL));
    CHECK_EQ(copies(e, "t.vtag", p), 1);
    CHECK_EQ(vtag_compact(e->db, NULL, NULL), good);
    CHECK_EQ(copies(e, "t.vtag", p), good ? 1 : 0);
}

static void check_changes(const text *t, int way, const image *m, const planted *p)
{
    size_t i;
    for (i = 0; i < LENGTH(changes); i++) {
        int failed = t_.failed;
        env e;
        vtag_batch *b;
        image_up(&e, m);
        b = begin(e.db);
        if (changes[i](b, p)) vtag_abort(b);
        else OK(vtag_commit(b));
        check_not_written_on(&e, p);
        say_which(failed == t_.failed, t, way * 100 + (int)i);
        planted_down(&e);
    }
}

static void no_change_crashes_or_writes_on_what_breaks_a_limit(void)
{
    size_t i;
    int way;
    for (i = 0; i < LENGTH(texts); i++)
        for (way = 0; way < ways_of(&texts[i]); way++) {
            planted p = plant(texts[i].most, way);
            env e;
            image m;
            planted_up(&e, &texts[i], &p, 0);
            m = image_of(&e);
            planted_down(&e);
            check_changes(&texts[i], way, &m, &p);
            free(m.p);
        }
}

static void a_put_over_a_key_that_is_too_long_says_where_it_lies(void)
{
    int way, k;
    for (way = 0; way < WAYS; way++)
        for (k = 0; k < 4; k++) { /* the puts */
            planted p = plant(255, way);
            env e;
            uint64_t at = planted_up(&e, &texts[0], &p, 0);
            vtag_batch *b = begin(e.db);
            lines = 0;
            say_which(ERR(VTAG_CORRUPT, changes[k](b, &p)) && CHECK(heard(at)), &texts[0], way * 100 + k);
            vtag_abort(b);
            planted_down(&e);
        }
}

/* ---- Tags -------------------------------------------------------------------------------- */

/* Declares a tag of that name, note and alias past the checks; where they lie. */
static uint64_t tag_up(env *e, const planted *name, const planted *note, const planted *alias, uint64_t off)
{
    vtag_batch *b;
    vtf_blob blob;
    vt_tag t = VT_ZERO;
    vt_out o = VT_ZERO;
    everything_up(e);
    OK(reopen(e, VTAG_EXISTING, 0));
    b = begin(e->db);
    t.f.tag = 2u << 20 | 1u << 8 | 1u;
    t.f.dim = 2;
    t.changed = 1;
    t.f.alias = alias->n ? (uint32_t)alias->n + 1 : 0;
    vt_out_put(&o, note->s, note->n);
    if (alias->n) vt_out_put(&o, "", 1);
    vt_out_put(&o, alias->s, alias->n);
    blob = vt_blob_of(0, t.f.tag + off, name->n, o.n);
    MUST(vt_batch_blob(b, &blob, name->s, o.p, &t.f.names));
    MUST(vt_tag_text(&t, name->s, note->s, alias->n ? alias->s : NULL));
    vt_free(o.p);
    MUST(vt_tags_add(&b->s->tags, &t));
    b->changed = 1;
    OK(vtag_commit(b));
    return t.f.names;
}

/* Whoever had the file open is told by verify, and cannot copy it; no other can open it. */
static void check_tag_refused(env *e, uint64_t at)
{
    ram_node *node;
    vtag_open_opts o = {0};
    vtag_snap *s = look(e->db);
    int i;
    ERR(VTAG_CORRUPT, verify_now(e->db));
    CHECK(heard(at));
    lines = 0;
    ERR(VTAG_CORRUPT, vtag_copy(s, "copy.vtag", NULL, NULL));
    CHECK(heard(at) && !ram_find(&e->r, "copy.vtag"));
    ERR(VTAG_CORRUPT, vtag_compact(e->db, NULL, NULL));
    vtag_release(s);
    for (i = 0; i < 3; i++) {
        ERR(VTAG_CORRUPT, reopen(e, i ? VTAG_READ : VTAG_EXISTING, i == 2));
        CHECK(heard(at));
    }
    vtag_close(e->db);
    e->db = NULL;
    lines = 0;
    o.log = hear;
    node = ram_find(&e->r, "t.vtag");
    ERR(VTAG_CORRUPT, vtag_open_memory(node->p, (size_t)node->bytes, &o, &e->db));
    CHECK(heard(at));
}

static void a_tag_of_a_text_that_breaks_its_limit_is_refused(void)
{
    int way, which;
    for (which = 0; which < 3; which++)
        for (way = 0; way < WAYS; way++) {
            planted of[3] = {plant_of(20, 0), plant_of(30, 0), plant_of(40, 0)};
            int failed = t_.failed;
            env e;
            of[which] = plant(which == 1 ? 4096 : 255, way);
            check_tag_refused(&e, tag_up(&e, &of[0], &of[1], &of[2], 0));
            if (failed != t_.failed) fprintf(stderr, "  text %d, way %d\n", which, way);
            planted_down(&e);
        }
}

static void a_tag_of_the_longest_texts_is_read(void)
{
    planted name = plant(255, AT_MOST), note = plant(4096, AT_MOST), alias = plant(255, AT_MOST);
    vtag_info info;
    vtag_snap *s;
    env e;
    alias.s[0] = 'n';
    tag_up(&e, &name, &note, &alias, 0);
    OK(verify_now(e.db));
    MUST(reopen(&e, VTAG_EXISTING, 0));
    s = look(e.db);
    OK(vtag_tag_info(s, 2u << 20 | 1u << 8 | 1u, &info));
    CHECK_STR(info.spec.name, name.s);
    CHECK_STR(info.spec.note, note.s);
    CHECK_STR(info.alias, alias.s);
    vtag_release(s);
    OK(vtag_compact(e.db, NULL, NULL));
    OK(verify_now(e.db));
    planted_down(&e);
}

static void a_tags_name_of_another_number_is_refused(void)
{
    planted name = plant_of(20, 0), note = plant_of(30, 0), none = plant_of(0, 0);
    env e;
    check_tag_refused(&e, tag_up(&e, &name, &note, &none, 1));
    planted_down(&e);
}

/* ---- Counts that are not so -------------------------------------------------------------- */

static const struct { uint32_t space, tag; } spaces[] = {
    {VTF_S_ITEMS, 0}, {VTF_S_ROWS, A}, {VTF_S_WAIVERS, B}, {VTF_S_EVENTS, 0}, {VTF_S_NAMES, 0}, {VTF_S_POLICY, 0}};

/* A commit that says of a space that it has so many more keys than it has; of many items: their
   entries go into runs of their own. */
static void counted_up(env *e, size_t space, int64_t more, int many)
{
    vtag_batch *b;
    vt_space *s;
    vt_iter it;
    vtf_entry first;
    uint64_t id;
    everything_up(e);
    OK(waive(e->db, WAIVED, 0, B, "too short"));
    b = begin(e->db);
    for (id = 0; many && id < VT_INLINE + 10; id++) put_b(b, 100 + id, "one of many", NULL, 0);
    s = vt_index_find(&b->s->index, spaces[space].space, spaces[space].tag);
    REQUIRE(s && !vt_iter_begin(&it, s, 0));
    first = *vt_iter_next(&it);
    vt_iter_end(&it);
    OK(vt_batch_set(b, s->kind, s->tag, &first));
    vt_batch_tab(b, s->kind, s->tag)->live += more;
    s->live += (uint64_t)more;
    OK(vtag_commit(b));
    MUST(reopen(e, VTAG_EXISTING, 0));
}

/* A copy counts for itself, or is refused. */
static void a_count_of_keys_that_is_not_so_spoils_no_copy(void)
{
    static const int64_t more[] = {-100, -12, -5, -1, 1, 100, INT32_MAX, INT32_MIN};
    size_t i, k;
    int many;
    for (many = 0; many < 2; many++)
        for (i = 0; i < LENGTH(spaces); i++)
            for (k = 0; k < LENGTH(more); k++) {
                int failed = t_.failed;
                env e;
                vtag_snap *s;
                counted_up(&e, i, more[k], many);
                ERR(VTAG_CORRUPT, verify_now(e.db));
                s = look(e.db);
                if (vtag_copy(s, "copy.vtag", NULL, NULL)) CHECK(!ram_find(&e.r, "copy.vtag"));
                else check_copy(&e, NULL);
                vtag_release(s);
                if (!vtag_compact(e.db, NULL, NULL)) OK(verify_now(e.db));
                if (failed != t_.failed)
                    fprintf(stderr, "  many %d, space %u, %lld more\n", many, spaces[i].space, (long long)more[k]);
                planted_down(&e);
            }
}

TEST_MAIN(RUN(a_string_that_breaks_its_limit_is_refused_where_it_is_read);
          RUN(a_string_of_all_that_its_limit_allows_is_read);
          RUN(a_blob_of_another_number_than_its_entrys_is_refused);
          RUN(no_change_crashes_or_writes_on_what_breaks_a_limit);
          RUN(a_put_over_a_key_that_is_too_long_says_where_it_lies);
          RUN(a_tag_of_a_text_that_breaks_its_limit_is_refused);
          RUN(a_tag_of_the_longest_texts_is_read);
          RUN(a_tags_name_of_another_number_is_refused);
          RUN(a_count_of_keys_that_is_not_so_spoils_no_copy);)
