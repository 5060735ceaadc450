/* test_corners.c - where an error or an option meets a rare place

   Wrong arguments, an allocation or a call of the system that fails far inside, options
   at their limits, another process that comes in between. Each time: the right error,
   the state as it was or as it should be, and nothing left over. */
#include "engine.h"
#include "test.h"
#include "util.h"
#include "sim.h"
#include "child.h"

/* ---- An allocation that fails ------------------------------------------------------- */

static void heap_arm(uint64_t nth)
{
    heap.fail_at = heap.calls + nth;
}

/* Whether the allocation that was to fail came to pass. */
static int heap_disarm(void)
{
    int hit = heap.calls >= heap.fail_at;
    heap.fail_at = 0;
    return hit;
}

/* A batch that is poisoned by an allocation that failed. */
static vtag_batch *poisoned(vtag_db *db, int restore)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    vtag_item it = item_of(1, "text");
    o.restore = restore;
    MUST(vtag_begin(db, &o, &b));
    it.rev = restore ? 1 : 0;
    heap_arm(1);
    ERR(VTAG_NOMEM, vtag_put(b, &it, NULL, 0));
    heap_disarm();
    return b;
}

/* ---- A disk with hooks -------------------------------------------------------------- */

/* What the next call of a kind does before it does what it should. One disk at a time. */
typedef struct hooks {
    void (*lock)(void);        /* once, then NULL                                   */
    void (*slot_read)(void);   /* once, after the second slot was read              */
    uint64_t short_by;         /* the size is said to be so much less               */
    int sync_fails, is_remote;
    uint64_t *now;             /* NULL: the disk's                                  */
} hooks;

static hooks hook;

static vtag_err hooked_lock(void *file, int which, uint32_t wait_ms)
{
    void (*f)(void) = hook.lock;
    hook.lock = NULL;
    if (f) f();
    return ram_lock(file, which, wait_ms);
}

static vtag_err hooked_read(void *file, uint64_t at, void *p, size_t n)
{
    vtag_err err = ram_read(file, at, p, n);
    void (*f)(void) = hook.slot_read;
    if (!f || at != SIM_SLOT(1)) return err;
    hook.slot_read = NULL;
    f();
    return err;
}

static vtag_err hooked_size(void *file, uint64_t *bytes)
{
    vtag_err err = ram_size(file, bytes);
    *bytes -= hook.short_by;
    return err;
}

static vtag_err hooked_sync(void *file) { return hook.sync_fails ? VTAG_IO : ram_sync(file); }
static int hooked_remote(void *file) { (void)file; return hook.is_remote; }
static uint64_t hooked_now(void *ctx) { return hook.now ? *hook.now : ram_now(ctx); }

/* The disk's calls with the hooks in. */
static vtag_io hooked(const ram *r)
{
    vtag_io io = r->io;
    memset(&hook, 0, sizeof hook);
    io.lock = hooked_lock;
    io.read = hooked_read;
    io.size = hooked_size;
    io.sync = hooked_sync;
    io.remote = hooked_remote;
    io.now = hooked_now;
    return io;
}

static vtag_err open_by(const vtag_io *io, const char *path, vtag_access access,
                        vtag_durability durability, vtag_db **db)
{
    vtag_open_opts o = {0};
    o.access = access;
    o.durability = durability;
    o.io = io;
    return vtag_open(path, &o, db);
}

/* Ends a handle as a crash would: what it committed is in the log, and no slot says so. */
static void crash(vtag_db *db)
{
    hook.sync_fails = 1;
    ERR(VTAG_IO, vtag_flush(db));
    vtag_close(db);
    hook.sync_fails = 0;
}

/* The last of the places where n bytes stand in a file. */
static uint8_t *find_last(const ram *r, const char *path, const void *bytes, size_t n)
{
    ram_node *node = ram_find(r, path);
    uint8_t *found = NULL;
    uint64_t i;
    for (i = 0; i + n <= node->bytes; i++)
        if (!memcmp(node->p + i, bytes, n)) found = node->p + i;
    REQUIRE(found != NULL);
    return found;
}

/* ---- Short ways to say things ------------------------------------------------------- */

static vtag_spec spec_of(const char *name, uint32_t dim, vtag_metric m, uint32_t flags)
{
    vtag_spec spec;
    memset(&spec, 0, sizeof spec);
    spec.name = name;
    spec.dim = dim;
    spec.metric = m;
    spec.flags = flags;
    return spec;
}

static vtag_batch *begin_opts(vtag_db *db, uint64_t rows, int restore)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    o.expect_rows = rows;
    o.restore = restore;
    MUST(vtag_begin(db, &o, &b));
    return b;
}

/* Two tags, the first active, and n items with vectors under both. */
typedef struct pair {
    env      e;
    vtag_tag a, b;
} pair;

static void pair_up(pair *p, uint64_t n)
{
    vtag_batch *b;
    uint64_t i;
    env_up(&p->e);
    p->a = declare(p->e.db, "m@1", 2, VTAG_COSINE);
    p->b = declare(p->e.db, "m@2", 2, VTAG_COSINE);
    b = begin(p->e.db);
    for (i = 0; i < n; i++) {
        vtag_vec v[2];
        v[0] = v2(p->a, 1, (float)i);
        v[1] = v2(p->b, (float)i, 1);
        put_b(b, i, "document", v, 2);
    }
    OK(vtag_commit(b));
}

static void pair_down(pair *p) { env_down(&p->e); }

static vtag_event score_of(vtag_tag tag, const char *name, double value, uint64_t queries)
{
    vtag_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_SCORE;
    ev.tag = tag;
    ev.name = name;
    ev.value = value;
    ev.queries = queries;
    ev.cover.base = ev.cover.fresh = 10;
    return ev;
}

static const char *filled(char *text, size_t n)
{
    memset(text, 'x', n);
    text[n] = 0;
    return text;
}

/* ---- Arguments ---------------------------------------------------------------------- */

static void a_gate_out_of_range_is_refused_everywhere(void)
{
    static char long_reason[1026], long_score[257];
    const double nan_ = (double)NAN;
    vtag_gate bad[5];
    vtag_verdict v;
    vtag_policy policy;
    uint64_t before;
    pair p;
    size_t i;
    pair_up(&p, 4);
    memset(bad, 0, sizeof bad);
    bad[0].reason = filled(long_reason, 1025);
    bad[1].score = "";
    bad[2].score = filled(long_score, 256);
    bad[3].score = "ndcg", bad[3].has_drop = 1, bad[3].max_drop = nan_;
    bad[4].score = "ndcg", bad[4].has_min = 1, bad[4].min_score = nan_;
    before = hash_of(p.e.db);
    for (i = 0; i < LENGTH(bad); i++) {
        ERR(VTAG_ARG, judge(p.e.db, p.b, &bad[i], &v));
        ERR(VTAG_ARG, cutover(p.e.db, p.b, &bad[i], &v));
        memset(&policy, 0, sizeof policy);
        policy.gate = bad[i];
        ERR(VTAG_ARG, set_policy(p.e.db, &policy, "a reason"));
    }
    CHECK_EQ(hash_of(p.e.db), before);
    CHECK_EQ(role_of(p.e.db, p.b), VTAG_CANDIDATE);
    pair_down(&p);
}

static void a_gate_at_its_limits_is_taken(void)
{
    static char reason[1025], score[256];
    vtag_gate gate;
    vtag_verdict v;
    pair p;
    pair_up(&p, 4);
    memset(&gate, 0, sizeof gate);
    gate.reason = filled(reason, 1024);
    gate.score = filled(score, 255);
    OK(judge(p.e.db, p.b, &gate, &v));
    CHECK_EQ(v.failed, VTAG_TERM_SCORE); /* nobody scored it */
    pair_down(&p);
}

static void a_hold_is_a_text_of_at_most_1024_bytes(void)
{
    static char text[1026];
    vtag_policy policy, got;
    vtag_snap *s;
    env e;
    env_up(&e);
    memset(&policy, 0, sizeof policy);
    policy.hold = filled(text, 1025);
    ERR(VTAG_ARG, set_policy(e.db, &policy, "a freeze"));
    s = look(e.db);
    OK(vtag_policy_get(s, &got));
    CHECK(got.hold == NULL);
    vtag_release(s);
    text[1024] = 0;
    OK(set_policy(e.db, &policy, "a freeze"));
    s = look(e.db);
    OK(vtag_policy_get(s, &got));
    CHECK_STR(got.hold, text);
    vtag_release(s);
    env_down(&e);
}

static void a_search_takes_no_mode_but_two_and_no_query_without_a_norm(void)
{
    vtag_search_opts o = {0};
    vtag_hit hits[4];
    vtag_snap *s;
    size_t n = 9;
    pair p;
    pair_up(&p, 4);
    s = look(p.e.db);
    o.mode = (vtag_mode)2;
    ERR(VTAG_ARG, vtag_search(s, v2(p.a, 1, 0), &o, 4, hits, &n));
    ERR(VTAG_VALUE, vtag_search(s, v2(p.a, 0, 0), NULL, 4, hits, &n));
    ERR(VTAG_VALUE, vtag_search(s, v2(p.a, 3e38f, 3e38f), NULL, 4, hits, &n));
    CHECK_EQ(n, 0);
    OK(vtag_search(s, v2(p.a, 2e38f, 2e38f), NULL, 4, hits, &n));
    CHECK_EQ(n, 4);
    vtag_release(s);
    pair_down(&p);
}

static void a_fill_without_vectors_is_an_argument_error(void)
{
    vtag_item it;
    vtag_batch *b;
    uint64_t before;
    pair p;
    pair_up(&p, 4);
    before = hash_of(p.e.db);
    b = begin(p.e.db);
    it = item_at(1, 2);
    ERR(VTAG_ARG, vtag_fill(b, &it, NULL, 1));
    ERR(VTAG_ARG, vtag_fill(b, &it, NULL, 0));
    OK(vtag_commit(b)); /* the batch stayed good */
    CHECK_EQ(hash_of(p.e.db), before);
    pair_down(&p);
}

static void removing_metadata_that_is_not_there_changes_nothing(void)
{
    vtag_batch *b;
    env e;
    env_up(&e);
    b = begin(e.db);
    OK(vtag_meta_set(b, "other", "1", 1));
    OK(vtag_commit(b));
    ram_reset_counts(&e.r);
    b = begin(e.db);
    OK(vtag_meta_set(b, "none", NULL, 0));
    OK(vtag_commit(b));
    CHECK_EQ(e.r.writes, 0);
    env_down(&e);
}

static void declaring_a_tag_needs_no_place_for_its_number(void)
{
    vtag_spec spec = spec_of("m@1", 2, VTAG_COSINE, 0);
    vtag_batch *b;
    env e;
    env_up(&e);
    declare(e.db, "m@1", 2, VTAG_COSINE);
    ram_reset_counts(&e.r);
    b = begin(e.db);
    OK(vtag_declare(b, &spec, NULL));
    spec.dim = 3;
    ERR(VTAG_EXISTS, vtag_declare(b, &spec, NULL));
    OK(vtag_commit(b));
    CHECK_EQ(e.r.writes, 0);
    b = begin(e.db);
    spec.name = "m@2";
    OK(vtag_declare(b, &spec, NULL));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(e.db).tags, 2);
    env_down(&e);
}

static void a_poisoned_batch_refuses_every_call_with_its_error(void)
{
    vtag_spec spec = spec_of("m@9", 2, VTAG_COSINE, 0);
    vtag_item it = item_of(1, "text");
    vtag_policy policy;
    vtag_event ev;
    vtag_tag tag;
    vtag_batch *b;
    uint64_t before;
    pair p;
    pair_up(&p, 4);
    OK(cutover(p.e.db, p.b, NULL, NULL));
    before = hash_of(p.e.db);
    memset(&policy, 0, sizeof policy);
    ev = score_of(p.a, "ndcg", 1, 100);
    b = poisoned(p.e.db, 0);
    ERR(VTAG_NOMEM, vtag_declare(b, &spec, &tag));
    spec.name = "m@1"; /* there already */
    ERR(VTAG_NOMEM, vtag_declare(b, &spec, &tag));
    ERR(VTAG_NOMEM, vtag_put(b, &it, NULL, 0));
    ERR(VTAG_NOMEM, vtag_del(b, 1));
    ERR(VTAG_NOMEM, vtag_note(b, &ev));
    ERR(VTAG_NOMEM, vtag_meta_set(b, "name", "1", 1));
    ERR(VTAG_NOMEM, vtag_policy_set(b, &policy, "a reason"));
    ERR(VTAG_NOMEM, vtag_cutover(b, p.a, NULL, NULL));
    ERR(VTAG_NOMEM, vtag_rollback(b, 0, NULL));
    ERR(VTAG_NOMEM, vtag_retire(b, p.a, "a reason", NULL));
    ERR(VTAG_NOMEM, vtag_commit(b));
    CHECK_EQ(hash_of(p.e.db), before);
    verify(p.e.db);
    pair_down(&p);
}

static void a_rollback_names_a_tag_that_was_active(void)
{
    vtag_tag gone;
    vtag_cover c;
    uint64_t before;
    pair p;
    pair_up(&p, 4);
    gone = declare(p.e.db, "m@3", 2, VTAG_COSINE);
    OK(retire(p.e.db, gone, NULL, NULL));
    before = hash_of(p.e.db);
    ERR(VTAG_NOTFOUND, rollback(p.e.db, 0, &c));
    ERR(VTAG_NOTAG, rollback(p.e.db, 99, &c));
    ERR(VTAG_RETIRED, rollback(p.e.db, gone, &c));
    ERR(VTAG_ARG, rollback(p.e.db, p.b, &c));
    CHECK_EQ(hash_of(p.e.db), before);
    pair_down(&p);
}

/* ---- Two names with one hash -------------------------------------------------------- */

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)

static uint64_t lane_after(uint64_t lane, uint64_t word)
{
    lane += word * P2;
    return (lane << 31 | lane >> 33) * P1;
}

static int has_zero(uint64_t word)
{
    int i;
    for (i = 0; i < 8; i++)
        if (!(word >> 8 * i & 255)) return 1;
    return 0;
}

/* Two texts of 64 bytes with one XXH64: two stripes that differ in the words of the first
   lane, the second so that it makes up for the first. */
static void two_names(char *a, char *b)
{
    uint64_t inverse = 1, first, other, second, made, start = P1 + P2;
    int i;
    for (i = 0; i < 6; i++) inverse *= 2 - P2 * inverse;
    filled(a, 64);
    filled(b, 64);
    memcpy(&first, a, 8);
    memcpy(&second, a + 32, 8);
    for (other = first + 1;; other++) {
        made = second + (lane_after(start, first) - lane_after(start, other)) * inverse;
        if (!has_zero(made) && !has_zero(other)) break;
    }
    memcpy(b, &other, 8);
    memcpy(b + 32, &made, 8);
    REQUIRE(strcmp(a, b) && strlen(b) == 64 && vtag_id(a) == vtag_id(b));
}

static void metadata_of_two_names_with_one_hash_is_not_mixed_up(void)
{
    char one[65], two[65];
    const void *p = NULL;
    vtag_snap *s;
    vtag_batch *b;
    uint64_t before;
    size_t n = 0;
    env e;
    two_names(one, two);
    env_up(&e);
    b = begin(e.db);
    OK(vtag_meta_set(b, one, "first", 5));
    ERR(VTAG_EXISTS, vtag_meta_set(b, two, "second", 6));
    OK(vtag_commit(b));
    before = hash_of(e.db);
    b = begin(e.db);
    ERR(VTAG_EXISTS, vtag_meta_set(b, two, "second", 6));
    ERR(VTAG_EXISTS, vtag_meta_set(b, two, NULL, 0));
    OK(vtag_commit(b));
    CHECK_EQ(hash_of(e.db), before);
    s = look(e.db);
    ERR(VTAG_NOTFOUND, vtag_meta_get(s, two, &p, &n));
    OK(vtag_meta_get(s, one, &p, &n));
    CHECK(n == 5 && !memcmp(p, "first", 5));
    vtag_release(s);
    env_down(&e);
}

static void damaged_metadata_is_not_given_out(void)
{
    const void *p = NULL;
    vtag_report rep;
    vtag_snap *s;
    vtag_batch *b;
    uint8_t *at;
    size_t n = 7;
    env e;
    env_up(&e);
    b = begin(e.db);
    OK(vtag_meta_set(b, "name", "precious bytes", 14));
    OK(vtag_commit(b));
    at = find_last(&e.r, "t.vtag", "precious bytes", 14);
    *at ^= 1;
    s = look(e.db);
    ERR(VTAG_CORRUPT, vtag_meta_get(s, "name", &p, &n));
    CHECK(!p && n == 0);
    ERR(VTAG_CORRUPT, vtag_verify(s, &rep, NULL, NULL));
    CHECK_EQ(rep.bad, 1);
    *at ^= 1;
    OK(vtag_meta_get(s, "name", &p, &n));
    CHECK_EQ(n, 14);
    vtag_release(s);
    env_down(&e);
}

/* ---- What a restore may bring ------------------------------------------------------- */

static vtag_tag restore_tag(vtag_batch *b, const char *name, vtag_role role)
{
    vtag_info info;
    vtag_tag tag = 0;
    memset(&info, 0, sizeof info);
    info.spec = spec_of(name, 2, VTAG_COSINE, 0);
    info.role = role;
    info.created = 1;
    info.activated = role == VTAG_CANDIDATE ? 0 : 1;
    OK(vtag_restore_tag(b, &info));
    OK(vtag_declare(b, &info.spec, &tag));
    return tag;
}

static void restore_items(vtag_batch *b, vtag_tag x, vtag_tag y, uint64_t n)
{
    uint64_t i;
    for (i = 1; i <= n; i++) {
        vtag_item it = item_of(i, "text");
        vtag_vec v[2];
        it.rev = i;
        it.time = 1;
        v[0] = v2(x, 1, (float)i);
        v[1] = v2(y, (float)i, 1);
        OK(vtag_put(b, &it, v, 2));
    }
}

static void restore_event(vtag_batch *b, uint64_t seq, vtag_event ev)
{
    ev.seq = seq;
    ev.time = 5;
    OK(vtag_note(b, &ev));
}

static void a_restore_wants_a_file_that_is_empty(void)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    env e;
    env_up(&e);
    b = begin(e.db);
    OK(vtag_meta_set(b, "name", "1", 1));
    OK(vtag_commit(b));
    o.restore = 1;
    b = NULL;
    ERR(VTAG_ARG, vtag_begin(e.db, &o, &b));
    CHECK(b == NULL);
    declare(e.db, "m@1", 2, VTAG_COSINE); /* the lock was given back */
    ERR(VTAG_ARG, vtag_begin(e.db, &o, &b));
    env_down(&e);
}

static void restored_numbers_never_go_back(void)
{
    vtag_batch *b;
    vtag_stat st;
    env e;
    env_up(&e);
    memset(&st, 0, sizeof st);
    b = begin_opts(e.db, 0, 1);
    ERR(VTAG_ARG, vtag_restore_stat(b, &st));
    st.commit = 20;
    OK(vtag_restore_stat(b, &st));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(e.db).commit, 20);
    b = begin_opts(e.db, 0, 1);
    ERR(VTAG_ARG, vtag_restore_stat(b, &st)); /* it is 20 already */
    st.commit = 19;
    ERR(VTAG_ARG, vtag_restore_stat(b, &st));
    vtag_abort(b);
    b = poisoned(e.db, 1);
    st.commit = 21;
    ERR(VTAG_NOMEM, vtag_restore_stat(b, &st));
    ERR(VTAG_NOMEM, vtag_commit(b));
    CHECK_EQ(stat_of(e.db).commit, 20);
    env_down(&e);
}

static void a_restored_event_has_a_number_of_its_own(void)
{
    vtag_event ev;
    vtag_batch *b;
    env e;
    env_up(&e);
    memset(&ev, 0, sizeof ev);
    b = begin_opts(e.db, 0, 1);
    ERR(VTAG_ARG, vtag_note(b, &ev));
    ev.seq = UINT64_MAX;
    ERR(VTAG_ARG, vtag_note(b, &ev));
    ev.seq = UINT64_MAX / 2;
    OK(vtag_note(b, &ev));
    OK(vtag_commit(b));
    CHECK_EQ(newest_event(e.db, VTAG_K_NOTE).seq, UINT64_MAX / 2);
    verify(e.db);
    env_down(&e);
}

/* What no vtag_note would take, an importer may hand over. */
static void restored_scores_without_a_name_or_a_number_count_for_nothing(void)
{
    vtag_tag x, y;
    vtag_policy policy;
    vtag_verdict v;
    vtag_batch *b;
    env e;
    env_up(&e);
    memset(&policy, 0, sizeof policy);
    policy.gate.score = "ndcg";
    policy.gate.max_age_ms = UINT64_MAX;
    policy.retain_ms = 1;
    policy.retain_scores = 1;
    b = begin_opts(e.db, 0, 1);
    x = restore_tag(b, "m@1", VTAG_ACTIVE);
    y = restore_tag(b, "m@2", VTAG_OLDER);
    restore_items(b, x, y, 10);
    restore_event(b, 1, score_of(y, NULL, 0.9, 100));
    restore_event(b, 2, score_of(x, NULL, 0.9, 100));
    OK(vtag_policy_set(b, &policy, NULL));
    OK(vtag_commit(b));
    e.r.clock += 2 * DAY_MS;
    OK(judge(e.db, y, NULL, &v));
    CHECK_EQ(v.failed, VTAG_TERM_SCORE);
    ERR(VTAG_KEPT, retire(e.db, y, NULL, NULL));
    env_down(&e);
}

static void a_restored_score_that_is_no_number_counts_for_nothing(void)
{
    vtag_tag x, y;
    vtag_policy policy;
    vtag_verdict v;
    vtag_batch *b;
    vtag_event ev;
    env e;
    env_up(&e);
    memset(&policy, 0, sizeof policy);
    policy.gate.score = "ndcg";
    b = begin_opts(e.db, 0, 1);
    x = restore_tag(b, "m@1", VTAG_ACTIVE);
    y = restore_tag(b, "m@2", VTAG_CANDIDATE);
    restore_items(b, x, y, 10);
    restore_event(b, 1, score_of(y, "ndcg", (double)NAN, 100));
    OK(vtag_policy_set(b, &policy, NULL));
    OK(vtag_commit(b));
    OK(judge(e.db, y, NULL, &v));
    CHECK_EQ(v.failed, VTAG_TERM_SCORE);
    ev = score_of(y, "ndcg", 0.5, 100);
    OK(note(e.db, &ev));
    OK(judge(e.db, y, NULL, &v));
    CHECK_EQ(v.failed, 0);
    env_down(&e);
}

/* ---- A store of which no tag is active ---------------------------------------------- */

static void headless_up(pair *p)
{
    vtag_policy policy;
    vtag_batch *b;
    env_up(&p->e);
    memset(&policy, 0, sizeof policy);
    policy.retain_ms = 1;
    policy.retain_scores = 1;
    b = begin_opts(p->e.db, 0, 1);
    p->a = restore_tag(b, "m@1", VTAG_OLDER);
    p->b = restore_tag(b, "m@2", VTAG_CANDIDATE);
    restore_items(b, p->a, p->b, 10);
    OK(vtag_policy_set(b, &policy, NULL));
    OK(vtag_commit(b));
    p->e.r.clock += 2 * DAY_MS;
    CHECK_EQ(stat_of(p->e.db).active, 0);
}

static void where_no_tag_is_active_any_gate_passes_and_forces_nothing(void)
{
    vtag_gate gate;
    vtag_verdict v;
    pair p;
    headless_up(&p);
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = VTAG_NONE;
    ERR(VTAG_ARG, cutover(p.e.db, p.b, &gate, &v)); /* below the policy, and no reason */
    gate.reason = "the first one";
    OK(cutover(p.e.db, p.b, &gate, &v));
    CHECK(v.pass && !v.failed);
    CHECK_EQ(role_of(p.e.db, p.b), VTAG_ACTIVE);
    CHECK_EQ(newest_event(p.e.db, VTAG_K_CUTOVER).flags, 0);
    CHECK_EQ(newest_event(p.e.db, VTAG_K_CUTOVER).base, 0);
    CHECK_EQ(info_of(p.e.db, p.b).forced, 0);
    verify(p.e.db);
    pair_down(&p);
}

static void where_no_tag_is_active_there_is_none_to_roll_back_from(void)
{
    uint64_t before;
    pair p;
    headless_up(&p);
    before = hash_of(p.e.db);
    ERR(VTAG_ARG, rollback(p.e.db, p.a, NULL));
    CHECK_EQ(hash_of(p.e.db), before);
    pair_down(&p);
}

static void where_no_tag_is_active_none_has_scores_that_let_another_go(void)
{
    vtag_event ev;
    pair p;
    headless_up(&p);
    ev = score_of(p.a, "ndcg", 1, 100);
    OK(note(p.e.db, &ev));
    ERR(VTAG_KEPT, retire(p.e.db, p.a, NULL, NULL));
    OK(retire(p.e.db, p.a, "a reason", NULL));
    CHECK_EQ(role_of(p.e.db, p.a), VTAG_GONE);
    CHECK_EQ(newest_event(p.e.db, VTAG_K_RETIRED).flags, VTAG_FORCED);
    pair_down(&p);
}

/* ---- Scores ------------------------------------------------------------------------- */

static vtag_policy score_policy(void)
{
    vtag_policy policy;
    memset(&policy, 0, sizeof policy);
    policy.gate.score = "ndcg";
    policy.gate.has_min = policy.gate.has_drop = 1;
    policy.gate.min_score = 0.5;
    policy.gate.max_drop = 0.125;
    return policy;
}

static void what_falls_short_of_the_policys_score_needs_a_reason(void)
{
    vtag_policy policy = score_policy();
    vtag_gate gate[3];
    vtag_verdict v;
    pair p;
    size_t i;
    pair_up(&p, 4);
    OK(set_policy(p.e.db, &policy, "scores"));
    memset(gate, 0, sizeof gate);
    gate[0].has_min = 1, gate[0].min_score = 0.25;
    gate[1].has_drop = 1, gate[1].max_drop = 0.25;
    gate[2].score = "recall";
    for (i = 0; i < LENGTH(gate); i++) {
        ERR(VTAG_ARG, judge(p.e.db, p.b, &gate[i], &v));
        gate[i].reason = "for once";
        OK(judge(p.e.db, p.b, &gate[i], &v));
    }
    pair_down(&p);
}

static void the_policys_own_score_by_name_keeps_its_terms(void)
{
    vtag_policy policy = score_policy();
    vtag_gate gate;
    vtag_verdict v;
    pair p;
    pair_up(&p, 4);
    OK(set_policy(p.e.db, &policy, "scores"));
    memset(&gate, 0, sizeof gate);
    gate.score = "ndcg";
    OK(judge(p.e.db, p.b, &gate, &v));
    CHECK(v.used.has_min && v.used.has_drop);
    CHECK(v.used.min_score == 0.5 && v.used.max_drop == 0.125);
    gate.has_min = gate.has_drop = 1;
    gate.min_score = 0.75, gate.max_drop = 0; /* stricter: no reason needed */
    OK(judge(p.e.db, p.b, &gate, &v));
    CHECK(v.used.min_score == 0.75 && v.used.max_drop == 0);
    pair_down(&p);
}

static void a_drop_is_measured_against_a_score_of_the_active_tag(void)
{
    vtag_policy policy = score_policy();
    vtag_verdict v;
    vtag_event ev;
    pair p;
    pair_up(&p, 10);
    OK(set_policy(p.e.db, &policy, "scores"));
    ev = score_of(p.b, "ndcg", 0.75, 100);
    OK(note(p.e.db, &ev));
    OK(judge(p.e.db, p.b, NULL, &v));
    CHECK_EQ(v.failed, VTAG_TERM_SCORE); /* against what? */
    ev = score_of(p.a, "ndcg", 0.875, 100);
    OK(note(p.e.db, &ev));
    OK(judge(p.e.db, p.b, NULL, &v));
    CHECK_EQ(v.failed, 0);
    CHECK(v.score == 0.75 && v.base_score == 0.875);
    ev = score_of(p.a, "ndcg", 0.9375, 100);
    OK(note(p.e.db, &ev));
    OK(judge(p.e.db, p.b, NULL, &v));
    CHECK_EQ(v.failed, VTAG_TERM_SCORE);
    pair_down(&p);
}

/* Which scores of the active tag count towards the retirement of another. */
static void only_scores_that_the_gate_would_take_let_a_tag_go(void)
{
    static const struct {
        const char *named, *name;
        double value;
        uint64_t queries;
        int lets;
    } t[] = {
        {"ndcg", "ndcg", 0.75, 100, 1}, {"ndcg", "recall", 0.75, 100, 0},
        {"ndcg", "ndcg", 0.25, 100, 0}, {"ndcg", "ndcg", 0.75, 74, 0},
        {NULL, "recall", 0.75, 100, 1}, {NULL, "recall", 0.25, 75, 1},
    };
    size_t i;
    for (i = 0; i < LENGTH(t); i++) {
        vtag_policy policy;
        vtag_event ev;
        pair p;
        pair_up(&p, 10);
        memset(&policy, 0, sizeof policy);
        policy.gate.score = t[i].named;
        policy.gate.has_min = t[i].named != NULL;
        policy.gate.min_score = 0.5;
        policy.retain_ms = 1;
        policy.retain_scores = 1;
        OK(cutover(p.e.db, p.b, NULL, NULL));
        OK(set_policy(p.e.db, &policy, "scores"));
        p.e.r.clock += DAY_MS;
        ERR(VTAG_KEPT, retire(p.e.db, p.a, NULL, NULL));
        ev = score_of(p.b, t[i].name, t[i].value, t[i].queries);
        OK(note(p.e.db, &ev));
        ERR(t[i].lets ? VTAG_OK : VTAG_KEPT, retire(p.e.db, p.a, NULL, NULL));
        CHECK_EQ(role_of(p.e.db, p.a), t[i].lets ? VTAG_GONE : VTAG_STANDBY);
        pair_down(&p);
    }
}

/* ---- Forced cutovers ---------------------------------------------------------------- */

static void force(pair *p)
{
    vtag_gate gate;
    memset(&gate, 0, sizeof gate);
    gate.min_ppm = VTAG_NONE;
    gate.max_age_ms = UINT64_MAX;
    gate.reason = "in a hurry";
    OK(cutover(p->e.db, p->b, &gate, NULL));
    CHECK_EQ(info_of(p->e.db, p->b).forced, 1);
}

/* Two tags; the second has no vector of item 9 yet. */
static void behind_up(pair *p)
{
    vtag_vec v;
    vtag_item it;
    vtag_batch *b;
    pair_up(p, 9);
    v = v2(p->a, 1, 1);
    b = begin(p->e.db);
    it = item_of(9, "late");
    OK(vtag_put(b, &it, &v, 1));
    OK(vtag_commit(b));
}

static void catch_up(pair *p)
{
    vtag_snap *s = look(p->e.db);
    vtag_item it;
    OK(vtag_get(s, 9, &it));
    OK(fill2(p->e.db, 9, it.rev, p->b, 1, 1));
    vtag_release(s);
}

static void a_retirement_settles_whether_the_active_tag_is_still_forced(void)
{
    int caught_up;
    for (caught_up = 0; caught_up < 2; caught_up++) {
        vtag_tag third;
        pair p;
        behind_up(&p);
        third = declare(p.e.db, "m@3", 2, VTAG_COSINE);
        force(&p);
        if (caught_up) catch_up(&p);
        OK(retire(p.e.db, third, NULL, NULL));
        CHECK_EQ(info_of(p.e.db, p.b).forced, !caught_up);
        OK(retire(p.e.db, p.a, "replaced", NULL)); /* from here on nobody could tell */
        CHECK_EQ(info_of(p.e.db, p.b).forced, !caught_up);
        env_reopen(&p.e);
        CHECK_EQ(info_of(p.e.db, p.b).forced, !caught_up);
        pair_down(&p);
    }
}

/* What a retirement would say, in a batch that is dropped. */
static vtag_err could_retire(vtag_db *db, vtag_tag tag, const char *reason)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_retire(b, tag, reason, NULL);
    vtag_abort(b);
    return err;
}

/* ---- Rot under a decision --------------------------------------------------------------- */

/* A forced cutover that would pass by now, under a policy that asks for scores. */
static void scored_after_force(pair *p)
{
    vtag_policy policy;
    vtag_event ev;
    behind_up(p);
    force(p);
    catch_up(p);
    memset(&policy, 0, sizeof policy);
    policy.gate.score = "ndcg";
    policy.retain_scores = 1;
    policy.retain_ms = 1;
    OK(set_policy(p->e.db, &policy, "scores"));
    ev = score_of(p->b, "ndcg", 1, 100);
    ev.text = "precious words";
    OK(note(p->e.db, &ev));
    p->e.r.clock += DAY_MS;
    CHECK_EQ(info_of(p->e.db, p->b).forced, 0);
}

static void a_decision_on_a_damaged_score_is_not_made(void)
{
    vtag_verdict v;
    uint8_t *at;
    pair p;
    scored_after_force(&p);
    at = find_last(&p.e.r, "t.vtag", "precious words", 14);
    *at ^= 1;
    ERR(VTAG_CORRUPT, judge(p.e.db, p.b, NULL, &v));
    ERR(VTAG_CORRUPT, could_retire(p.e.db, p.a, NULL));
    CHECK_EQ(role_of(p.e.db, p.a), VTAG_STANDBY);
    CHECK_EQ(info_of(p.e.db, p.b).forced, 1); /* nobody can tell that it is not */
    *at ^= 1;
    OK(judge(p.e.db, p.b, NULL, &v));
    OK(retire(p.e.db, p.a, NULL, NULL));
    pair_down(&p);
}

static void a_decision_on_a_damaged_policy_is_not_made(void)
{
    vtag_policy policy;
    vtag_verdict v;
    vtag_snap *s;
    uint8_t *at;
    pair p;
    scored_after_force(&p);
    s = look(p.e.db);
    OK(vtag_policy_get(s, &policy));
    at = (uint8_t *)(uintptr_t)policy.gate.score; /* in the mapping, that is, on the disk */
    *at ^= 1;
    ERR(VTAG_CORRUPT, vtag_policy_get(s, &policy));
    vtag_release(s);
    ERR(VTAG_CORRUPT, judge(p.e.db, p.b, NULL, &v));
    ERR(VTAG_CORRUPT, could_retire(p.e.db, p.a, NULL));
    ERR(VTAG_CORRUPT, could_retire(p.e.db, p.a, "a reason"));
    CHECK_EQ(role_of(p.e.db, p.a), VTAG_STANDBY);
    CHECK_EQ(info_of(p.e.db, p.b).forced, 1);
    *at ^= 1;
    CHECK_EQ(info_of(p.e.db, p.b).forced, 0);
    OK(retire(p.e.db, p.a, NULL, NULL));
    pair_down(&p);
}

/* ---- Searches ----------------------------------------------------------------------- */

/* Two tags of the same rows, the second without sketches. */
typedef struct twins {
    env      e;
    vtag_tag with, without;
    uint32_t dim;
    uint64_t n;
} twins;

/* Rows enough for a sketch. */
#define SKETCHED(dim) ((UINT64_C(1) << 20) / (4 * (dim)) + 16)

/* Rows about `centre`, give or take `noise`, that move away by `climb`, more in each number
   than in the one before. */
static void twins_up(twins *t, uint32_t dim, uint64_t n, float centre, float noise, float climb)
{
    vtag_spec with = spec_of("with@1", dim, VTAG_L2SQ, 0);
    vtag_spec without = spec_of("without@1", dim, VTAG_L2SQ, VTAG_NO_SKETCH);
    float *x = malloc(dim * sizeof *x);
    uint64_t seed = t_seed(), i;
    uint32_t j;
    vtag_batch *b;
    env_up(&t->e);
    t->dim = dim;
    t->n = n;
    b = begin_opts(t->e.db, n, 0);
    OK(vtag_declare(b, &with, &t->with));
    OK(vtag_declare(b, &without, &t->without));
    for (i = 0; i < n; i++) {
        vtag_vec v[2];
        for (j = 0; j < dim; j++)
            x[j] = centre + noise * t_float(&seed) + climb * (float)(j + 1) * ((float)i / (float)n);
        v[0] = vec(t->with, dim, x);
        v[1] = vec(t->without, dim, x);
        put_b(b, i, NULL, v, 2);
    }
    OK(vtag_commit(b));
    OK(vtag_seal(t->e.db, NULL, NULL));
    free(x);
}

static void twins_down(twins *t) { env_down(&t->e); }

static int is_sketched(const twins *t)
{
    return info_of(t->e.db, t->with).bytes > info_of(t->e.db, t->without).bytes;
}

static void row_of(const twins *t, uint64_t i, float *x)
{
    vtag_snap *s = look(t->e.db);
    OK(vtag_vector(s, i, t->with, 0, x, t->dim, NULL));
    vtag_release(s);
}

/* Both are asked and answer the same; of all rows, and of many by id. */
static void twins_agree(const twins *t, const float *q)
{
    uint64_t *ids = malloc(t->n * sizeof *ids), i;
    vtag_ids only = {ids, t->n};
    vtag_search_opts o = {0};
    vtag_snap *s = look(t->e.db);
    vtag_hit hits[2][10];
    size_t n[2];
    int by_id;
    for (i = 0; i < t->n; i++) ids[i] = i;
    o.preview = 1;
    for (by_id = 0; by_id < 2; by_id++) {
        o.only = by_id ? &only : NULL;
        OK(vtag_search(s, vec(t->with, t->dim, q), &o, 10, hits[0], &n[0]));
        OK(vtag_search(s, vec(t->without, t->dim, q), &o, 10, hits[1], &n[1]));
        CHECK_EQ(n[1], 10);
        CHECK(same_hits(hits[0], n[0], hits[1], n[1]));
    }
    vtag_release(s);
    free(ids);
}

static void rows_too_far_out_for_a_sketch_are_found_without(void)
{
    float q[128];
    twins t;
    twins_up(&t, 128, SKETCHED(128), 1e17f, 2e13f, 0);
    CHECK(!is_sketched(&t));
    row_of(&t, 77, q);
    twins_agree(&t, q);
    verify(t.e.db);
    twins_down(&t);
}

/* The mean of the rows, or the query too, is longer than a bound can be sure of. */
static void queries_too_far_out_for_a_sketch_are_answered_without(void)
{
    float q[128];
    uint32_t j;
    twins t;
    twins_up(&t, 128, SKETCHED(128), 9.3e13f, 1e9f, 0);
    CHECK(is_sketched(&t));
    row_of(&t, 77, q);
    twins_agree(&t, q);
    for (j = 0; j < 128; j++) q[j] *= 0.9f;
    twins_agree(&t, q);
    for (j = 0; j < 128; j++) q[j] *= -1e3f;
    twins_agree(&t, q);
    twins_down(&t);
}

/* Each row is a candidate when its turn comes, and most are none any more when there is
   no room for another. */
static void rows_that_come_ever_closer_are_all_weighed(void)
{
    float q[64];
    uint32_t j;
    twins t;
    twins_up(&t, 64, 18000, 0, 1e-3f, 1);
    CHECK(is_sketched(&t));
    for (j = 0; j < 64; j++) q[j] = (float)(j + 1);
    twins_agree(&t, q);
    twins_down(&t);
}

static int keep_two_of_three(void *ctx, uint64_t id)
{
    (void)ctx;
    return id % 3 != 0;
}

static void thousands_of_ids_are_as_good_as_a_filter(void)
{
    enum { N = 8000 };
    static uint64_t ids[N];
    vtag_search_opts by_id = {0}, by_filter = {0};
    vtag_ids only = {ids, 0};
    vtag_hit hits[2][50];
    vtag_batch *b;
    vtag_snap *s;
    vtag_tag tag;
    uint64_t i;
    size_t n[2];
    env e;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
    b = begin(e.db);
    for (i = 0; i < N; i++) { /* in the order of no id */
        uint64_t id = i * 7919 % N;
        vtag_vec v = v2(tag, (float)(id % 89), (float)(id % 97));
        put_b(b, id, NULL, &v, 1);
        if (i % 3 != 0) ids[only.n++] = i;
    }
    OK(vtag_commit(b));
    CHECK(only.n > 5000);
    by_id.only = &only;
    by_filter.keep = keep_two_of_three;
    s = look(e.db);
    for (i = 0; i < 5; i++) {
        vtag_vec q = v2(tag, (float)(i * 20), 50);
        OK(vtag_search(s, q, &by_id, 50, hits[0], &n[0]));
        OK(vtag_search(s, q, &by_filter, 50, hits[1], &n[1]));
        CHECK_EQ(n[0], 50);
        CHECK(same_hits(hits[0], n[0], hits[1], n[1]));
    }
    vtag_release(s);
    env_down(&e);
}

/* ---- Items and tags ----------------------------------------------------------------- */

static void a_vector_for_another_span_is_new_content(void)
{
    static const struct { uint32_t off, len; int same; } t[] = {
        {10, 20, 1}, {11, 20, 0}, {10, 21, 0}, {10, 20, 1}
    };
    uint64_t rev, last = 0;
    vtag_row row;
    vtag_snap *s;
    vtag_tag tag;
    size_t i;
    env e;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    for (i = 0; i < LENGTH(t); i++) {
        vtag_vec v = v2(tag, 1, 2);
        v.off = t[i].off;
        v.len = t[i].len;
        rev = put(e.db, 1, NULL, &v, 1);
        if (i) CHECK_EQ(put(e.db, 1, NULL, &v, 1), rev); /* the same again keeps it */
        CHECK(rev > last);
        last = rev;
        s = look(e.db);
        OK(vtag_vector(s, 1, tag, 0, NULL, 0, &row));
        CHECK(row.off == t[i].off && row.len == t[i].len && row.rev == rev);
        vtag_release(s);
    }
    env_down(&e);
}

/* Past 64 runs of dead rows in a segment a commit says which are dead by a bitmap; a row
   beside the last of those runs must not get lost on the way. */
static void a_row_beside_the_last_listed_dead_run_dies_too(void)
{
    vtag_vec v;
    vtag_batch *b;
    vtag_snap *s;
    vtag_tag tag;
    vtag_hit hits[200];
    uint64_t i;
    size_t n, k;
    env e;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
    b = begin(e.db);
    for (i = 0; i < 200; i++) {
        v = v2(tag, 1, (float)i);
        put_b(b, i, NULL, &v, 1);
    }
    OK(vtag_commit(b));
    b = begin(e.db);
    for (i = 0; i < 64; i++) OK(vtag_del(b, 2 * i)); /* the last listed: 126 */
    OK(vtag_del(b, 150));
    OK(vtag_del(b, 127));
    OK(vtag_commit(b));
    env_reopen(&e);
    CHECK_EQ(stat_of(e.db).rows, 134);
    verify(e.db);
    s = look(e.db);
    OK(vtag_search(s, v2(tag, 1, 127), NULL, 200, hits, &n));
    CHECK_EQ(n, 134);
    for (k = 0; k < n; k++)
        CHECK(hits[k].id > 127 ? hits[k].id != 150 : hits[k].id % 2 && hits[k].id != 127);
    vtag_release(s);
    env_down(&e);
}

/* ---- Padded files ------------------------------------------------------------------- */

static void padded_up(env *e)
{
    vtag_open_opts o = {0};
    ram_init(&e->r);
    o.access = VTAG_NEW;
    o.pad_sectors = 1;
    o.io = &e->r.io;
    MUST(vtag_open("t.vtag", &o, &e->db));
}

static void put_range(vtag_db *db, vtag_tag tag, uint64_t from, uint64_t to)
{
    vtag_batch *b = begin(db);
    for (; from < to; from++) {
        vtag_vec v = v2(tag, 1, (float)from);
        put_b(b, from, NULL, &v, 1);
    }
    OK(vtag_commit(b));
}

/* How many records there are to check if all n rows are there. */
static uint64_t rows_are(env *e, vtag_tag tag, uint64_t n)
{
    vtag_snap *s;
    float x[2];
    uint64_t i, records;
    env_reopen(e);
    CHECK_EQ(stat_of(e->db).rows, n);
    records = verify(e->db).records;
    s = look(e->db);
    for (i = 0; i < n; i++) {
        OK(vtag_vector(s, i, tag, 0, x, 2, NULL));
        CHECK(x[0] == 1 && x[1] == (float)i);
    }
    vtag_release(s);
    return records;
}

static void a_padded_batch_may_end_on_a_sector_or_within(void)
{
    static const uint64_t ends[] = {64, 65, 128, 191, 256};
    vtag_tag tag;
    uint64_t from = 0, records, last = 0;
    size_t i;
    env e;
    padded_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
    for (i = 0; i < LENGTH(ends); i++) {
        put_range(e.db, tag, from, ends[i]);
        from = ends[i];
        records = rows_are(&e, tag, from);
        if (i == 1) CHECK(records < last + 32); /* no gap behind the first 64 */
        if (i == 2) CHECK(records > last + 126); /* but behind row 65, to the next 64 */
        last = records;
    }
    env_down(&e);
}

/* Whether n rows of one batch fit into a tag's first segment. */
static int fits(uint64_t n)
{
    uint32_t segments;
    env e;
    padded_up(&e);
    put_range(e.db, declare(e.db, "m@1", 2, VTAG_L2SQ), 0, n);
    segments = stat_of(e.db).segments;
    env_down(&e);
    return segments == 1;
}

/* There is no gap to leave behind the last row of a full segment. */
static void a_padded_segment_may_be_full_within_a_sector(void)
{
    uint64_t lo = 1, hi = 4096;
    vtag_tag tag;
    env e;
    while (hi - lo > 1) {
        uint64_t mid = (lo + hi) / 2;
        if (fits(mid)) lo = mid;
        else hi = mid;
    }
    CHECK(lo > 64 && lo % 64); /* else this is no test */
    padded_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
    put_range(e.db, tag, 0, lo);
    CHECK_EQ(stat_of(e.db).segments, 1);
    put_range(e.db, tag, lo, lo + 3);
    CHECK_EQ(stat_of(e.db).segments, 2);
    OK(vtag_seal(e.db, NULL, NULL));
    rows_are(&e, tag, lo + 3);
    put_range(e.db, tag, lo + 3, lo + 9);
    OK(vtag_seal(e.db, NULL, NULL));
    rows_are(&e, tag, lo + 9);
    env_down(&e);
}

/* The gap before the row cannot be marked dead: no memory. */
static void a_padded_batch_without_memory_for_its_gap_fails_whole(void)
{
    uint64_t n, before;
    int hit = 1;
    for (n = 1; hit && n < 1000; n++) {
        vtag_batch *b;
        vtag_item it = item_at(10, 0);
        vtag_vec v;
        vtag_tag tag;
        vtag_err err;
        env e;
        padded_up(&e);
        tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
        put_range(e.db, tag, 0, 10);
        before = hash_of(e.db);
        v = v2(tag, 1, 10);
        b = begin(e.db);
        heap_arm(n);
        err = vtag_put(b, &it, &v, 1);
        hit = heap_disarm();
        ERR(hit ? VTAG_NOMEM : VTAG_OK, err);
        ERR(err, vtag_commit(b));
        if (err) CHECK_EQ(hash_of(e.db), before);
        rows_are(&e, tag, err ? 10 : 11);
        env_down(&e);
    }
    CHECK(n > 5);
}

/* ---- Opening ------------------------------------------------------------------------ */

static void a_network_file_system_is_written_only_if_that_is_forced(void)
{
    static const vtag_access writing[] = {VTAG_CREATE, VTAG_EXISTING, VTAG_NEW};
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    vtag_io io;
    uint64_t before;
    size_t i;
    env e;
    env_up(&e);
    declare(e.db, "m@1", 2, VTAG_COSINE);
    before = hash_of(e.db);
    io = hooked(&e.r);
    hook.is_remote = 1;
    o.io = &io;
    for (i = 0; i < LENGTH(writing); i++) {
        o.access = writing[i];
        ERR(VTAG_READONLY, vtag_open(i == 2 ? "new.vtag" : "t.vtag", &o, &db));
        CHECK(db == NULL);
    }
    CHECK_EQ(ram_find(&e.r, "new.vtag")->bytes, 0); /* nothing was written */
    o.access = VTAG_READ;
    MUST(vtag_open("t.vtag", &o, &db));
    CHECK_EQ(hash_of(db), before);
    vtag_close(db);
    o.access = VTAG_CREATE;
    o.force_network = 1;
    MUST(vtag_open("t.vtag", &o, &db));
    declare(db, "m@2", 2, VTAG_COSINE);
    CHECK_EQ(stat_of(db).tags, 2);
    vtag_close(db);
    env_down(&e);
}

/* The three calls that a system may lack. */
static void a_system_without_maps_does_all_by_reading(void)
{
    vtag_db *reader, *lazy;
    vtag_tag tag;
    vtag_io io;
    uint64_t i, seen;
    env e;
    ram_init(&e.r);
    io = hooked(&e.r);
    io.map = NULL, io.locked = NULL, io.remote = NULL;
    MUST(open_by(&io, "t.vtag", VTAG_CREATE, VTAG_FULL_SYNC, &e.db));
    MUST(open_by(&io, "t.vtag", VTAG_READ, VTAG_FULL_SYNC, &reader));
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    CHECK_EQ(hash_of(reader), hash_of(e.db));
    for (i = 0; i < 20; i++) {
        put2(e.db, i, "text", tag, 1, (float)i);
        if (i % 7 == 6) OK(vtag_seal(e.db, NULL, NULL)); /* a checkpoint to move on from */
        CHECK_EQ(hash_of(reader), hash_of(e.db));
    }
    MUST(open_by(&io, "t.vtag", VTAG_EXISTING, VTAG_NO_SYNC, &lazy));
    put2(lazy, 50, "not in a slot yet", tag, 1, 1);
    seen = hash_of(lazy);
    CHECK_EQ(hash_of(reader), seen);
    crash(lazy);
    CHECK_EQ(hash_of(reader), seen);
    put2(e.db, 51, "the next", tag, 2, 1);
    CHECK_EQ(stat_of(e.db).items, 22);
    CHECK_EQ(hash_of(reader), hash_of(e.db));
    verify(reader);
    vtag_close(reader);
    env_down(&e);
}

static const vtag_io *others_io;

static void another_creates(void)
{
    vtag_db *db = NULL;
    OK(open_by(others_io, "t.vtag", VTAG_CREATE, VTAG_FULL_SYNC, &db));
    declare(db, "theirs@1", 2, VTAG_COSINE);
    vtag_close(db);
}

static void a_store_that_another_made_meanwhile_is_taken_as_it_is(void)
{
    vtag_tag tag = 0;
    vtag_snap *s;
    vtag_io io;
    env e;
    ram_init(&e.r);
    io = hooked(&e.r);
    others_io = &e.r.io;
    hook.lock = another_creates;
    MUST(open_by(&io, "t.vtag", VTAG_CREATE, VTAG_FULL_SYNC, &e.db));
    s = look(e.db);
    OK(vtag_find(s, "theirs@1", &tag));
    vtag_release(s);
    verify(e.db);
    env_down(&e);
}

static void a_store_in_memory_goes_by_the_clock_it_is_given(void)
{
    vtag_open_opts o = {0};
    uint64_t now;
    uint8_t *image;
    void *raw;
    size_t bytes;
    vtag_db *db;
    vtag_io io;
    pair p;
    pair_up(&p, 4);
    OK(cutover(p.e.db, p.b, NULL, NULL));
    image = ram_image(&p.e.r, "t.vtag", &bytes, &raw);
    io = hooked(&p.e.r);
    hook.now = &now;
    now = p.e.r.clock + DAY_MS;
    o.io = &io;
    MUST(vtag_open_memory(image, bytes, &o, &db));
    CHECK_EQ(info_of(db, p.a).kept_ms, DAY_MS);
    now += DAY_MS;
    CHECK_EQ(info_of(db, p.a).kept_ms, 2 * DAY_MS);
    vtag_close(db);
    free(raw);
    pair_down(&p);
}

static void an_image_opens_whole_or_not_at_all_as_memory_runs_out(void)
{
    uint64_t n, before;
    int64_t live;
    uint8_t *image;
    void *raw;
    size_t bytes;
    vtag_db *db;
    pair p;
    int hit = 1;
    pair_up(&p, 4);
    before = hash_of(p.e.db);
    image = ram_image(&p.e.r, "t.vtag", &bytes, &raw);
    memmove(image + 8, image, bytes); /* not aligned: it is copied first */
    live = heap.live;
    for (n = 1; hit && n < 1000; n++) {
        db = NULL;
        heap_arm(n);
        vtag_err err = vtag_open_memory(image + 8, bytes, NULL, &db);
        hit = heap_disarm();
        ERR(hit ? VTAG_NOMEM : VTAG_OK, err);
        if (hit) CHECK(db == NULL && heap.live == live);
    }
    CHECK(n > 5);
    CHECK_EQ(hash_of(db), before);
    vtag_close(db);
    CHECK_EQ(heap.live, live);
    ERR(VTAG_FORMAT, vtag_open_memory(image + 8, 100, NULL, &db));
    free(raw);
    pair_down(&p);
}

static void a_copy_does_not_go_where_a_directory_is(void)
{
    vtag_db *db;
    vtag_snap *s;
    char dir[800], *slash;
    snprintf(dir, sizeof dir, "%s", t_path("t.vtag"));
    MUST(vtag_open(dir, NULL, &db));
    slash = strrchr(dir, '/');
    *slash = 0;
    s = look(db);
    ERR(VTAG_EXISTS, vtag_copy(s, dir, NULL, NULL));
    vtag_release(s);
    vtag_close(db);
    CHECK_EQ(access(dir, R_OK), 0);
    strcat(dir, ".part");
    CHECK(access(dir, R_OK) != 0);
}

/* ---- Reading that fails, without a map ---------------------------------------------- */

static sim base, disk;

static vtag_err open_sim(sim *s, vtag_open_opts o, vtag_access access, vtag_db **db)
{
    o.access = access;
    o.io = &s->io;
    return vtag_open(SIM_MAIN, &o, db);
}

/* A store on the base, with a payload of several pages; then `lost` commits that no slot
   names, as a crash leaves them. */
static void base_up(int padded, int lost)
{
    static char text[20000];
    vtag_open_opts o = {0};
    vtag_batch *b;
    vtag_tag tag;
    vtag_db *db;
    uint64_t i;
    sim_init(&base, t_seed());
    sim_init_leaf(&disk, t_seed());
    o.pad_sectors = padded;
    MUST(open_sim(&base, o, VTAG_NEW, &db));
    tag = declare(db, "m@1", 2, VTAG_COSINE);
    for (i = 0; i < 3; i++) put2(db, i, "some text", tag, 1, (float)i);
    vtag_close(db);
    o.durability = VTAG_NO_SYNC;
    MUST(open_sim(&base, o, VTAG_EXISTING, &db));
    for (; lost; lost--, i++) {
        vtag_vec v = v2(tag, 1, (float)i);
        b = begin(db);
        put_b(b, i, filled(text, sizeof text - 1), &v, 1);
        OK(vtag_commit(b));
    }
    sim_kill(&base);
    vtag_close(db);
    sim_make_durable(&base, sim_find(&base, SIM_MAIN)); /* it was no power cut */
}

static void base_down(void)
{
    CHECK_STR(base.broken, NULL);
    sim_free(&base);
    sim_free(&disk);
}

/* Makes the disk what the base is. */
static void disk_up(void)
{
    CHECK(!disk.opens && !disk.maps && !disk.locks);
    CHECK_STR(disk.broken, NULL);
    sim_reset(&disk, t_seed());
    sim_load(&disk, &base);
}

static void disk_fault(sim_kind kind, uint64_t nth, vtag_err err)
{
    memset(&disk.fault, 0, sizeof disk.fault);
    disk.fault.kind = kind;
    disk.fault.nth = nth;
    disk.fault.err = err;
}

/* Whether the call that was to fail came to pass. */
static int disk_sound(void)
{
    int hit = disk.fault.seen >= disk.fault.nth;
    memset(&disk.fault, 0, sizeof disk.fault);
    return hit;
}

/* What a sound disk shows once opened. */
static uint64_t disk_hash(void)
{
    vtag_open_opts o = {0};
    vtag_db *db;
    uint64_t h;
    MUST(open_sim(&disk, o, VTAG_READ, &db));
    h = hash_of(db);
    verify(db);
    vtag_close(db);
    return h;
}

static void without_a_map_every_read_and_block_may_fail(void)
{
    vtag_open_opts o = {0};
    vtag_db *db;
    uint64_t n, want;
    int64_t live;
    int heap_fails, hit;
    base_up(0, 1);
    disk_up();
    want = disk_hash();
    o.no_map = 1;
    for (heap_fails = 0; heap_fails < 2; heap_fails++)
        for (n = 1, hit = 1; hit && n < 1000; n++) {
            vtag_err err;
            db = NULL;
            disk_up();
            live = heap.live;
            if (heap_fails) heap_arm(n);
            else disk_fault(SIM_READ, n, VTAG_IO);
            err = open_sim(&disk, o, VTAG_EXISTING, &db);
            hit = heap_fails ? heap_disarm() : disk_sound();
            if (!hit) OK(err);
            if (err) ERR(heap_fails ? VTAG_NOMEM : VTAG_IO, err);
            if (err) CHECK(db == NULL && heap.live == live);
            if (!err) CHECK_EQ(hash_of(db), want);
            vtag_close(db);
            CHECK_EQ(disk.opens, 0);
        }
    base_down();
}

/* A second handle follows the first while reads fail and memory runs out. */
static void a_reader_that_cannot_read_on_stays_where_it_is(void)
{
    vtag_open_opts o = {0};
    vtag_db *writer, *reader;
    uint64_t n, old, new_;
    int how, hit;
    base_up(0, 0);
    for (how = 0; how < 4; how++)
        for (n = 1, hit = 1; hit && n < 1000; n++) {
            vtag_snap *s = NULL;
            vtag_err err;
            disk_up();
            o.durability = how & 2 ? VTAG_NO_SYNC : VTAG_FULL_SYNC;
            o.no_map = 0;
            MUST(open_sim(&disk, o, VTAG_EXISTING, &writer));
            o.no_map = 1;
            MUST(open_sim(&disk, o, VTAG_READ, &reader));
            old = hash_of(reader);
            put2(writer, 9, "new", 1u << 20 | 1u << 8 | 1u, 1, 2);
            new_ = hash_of(writer);
            if (how & 1) heap_arm(n);
            else disk_fault(SIM_READ, n, VTAG_IO);
            err = vtag_snapshot(reader, &s);
            hit = how & 1 ? heap_disarm() : disk_sound();
            if (err) ERR(how & 1 ? VTAG_NOMEM : VTAG_IO, err);
            else if (hit) CHECK(content_hash(s) == old || content_hash(s) == new_);
            else CHECK_EQ(content_hash(s), new_);
            vtag_release(s);
            CHECK_EQ(hash_of(reader), new_);
            vtag_close(reader);
            vtag_close(writer);
        }
    base_down();
}

/* ---- Recovery ----------------------------------------------------------------------- */

/* Begins a batch on the disk as it is, with `alive` changes until the power goes; gives
   whether that was before its end. */
static int recovery_cut(uint64_t alive)
{
    vtag_open_opts o = {0};
    vtag_batch *b = NULL;
    vtag_db *db;
    vtag_err err;
    MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
    disk.die_after = alive;
    err = vtag_begin(db, NULL, &b);
    if (!err) vtag_abort(b);
    sim_kill(&disk);
    vtag_close(db);
    disk.die_after = UINT64_MAX;
    return err != VTAG_OK;
}

/* Whether the newest slot of the disk names the copy that a recovery made. */
static int redo_named(void)
{
    const uint8_t *p = disk.file[sim_find(&disk, SIM_MAIN)].live;
    uint64_t seq[2], redo[2];
    int i;
    for (i = 0; i < 2; i++) {
        memcpy(&seq[i], p + SIM_SLOT(i) + 32, 8);
        memcpy(&redo[i], p + SIM_SLOT(i) + 224, 8);
    }
    return redo[seq[1] > seq[0]] != 0;
}

/* Opens the disk with a fault; then without. */
static int opens_to(uint64_t want, vtag_access access, int kind, uint64_t n)
{
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    int64_t live = heap.live;
    vtag_err err, wanted = kind == SIM_KINDS ? VTAG_NOMEM : VTAG_IO;
    int hit;
    if (kind == SIM_KINDS) heap_arm(n);
    else disk_fault((sim_kind)kind, n, VTAG_IO);
    err = open_sim(&disk, o, access, &db);
    hit = kind == SIM_KINDS ? heap_disarm() : disk_sound();
    if (!hit) OK(err);
    if (err) ERR(wanted, err);
    if (err) CHECK(db == NULL && heap.live == live);
    if (!err) CHECK_EQ(hash_of(db), want);
    vtag_close(db);
    CHECK_EQ(disk_hash(), want);
    return hit;
}

/* Where the last record of the log lies. */
static uint64_t last_record(const sim *s)
{
    const sim_file *f = &s->file[sim_find(s, SIM_MAIN)];
    uint64_t at, found = 0;
    for (at = 65536; at + 8 <= f->size; at += 8)
        if (!memcmp(f->live + at, "VTLR", 4)) found = at;
    REQUIRE(found > 0);
    return found;
}

/* Whoever opens a padded file whose recovery was cut off finishes it, or fails; with the
   next try all is there. */
static void a_padded_recovery_cut_anywhere_is_finished_by_whoever_opens(void)
{
    static const int kinds[] = {SIM_SIZE, SIM_READ, SIM_WRITE, SIM_SYNC, SIM_LOCK, SIM_KINDS};
    static const vtag_access how[] = {VTAG_READ, VTAG_EXISTING};
    uint64_t alive, n, torn, want;
    size_t k, a;
    int cut = 1, named = 0;
    base_up(1, 2);
    torn = last_record(&base); /* writing it again may tear it */
    disk_up();
    want = disk_hash();
    for (alive = 0; cut && alive < 300; alive++) {
        disk_up();
        cut = recovery_cut(alive);
        if (!redo_named() || named++ % 20) continue;
        for (k = 0; k < LENGTH(kinds); k++)
            for (a = 0; a < LENGTH(how); a++)
                for (n = 1; n < 300; n++) {
                    disk_up();
                    recovery_cut(alive);
                    sim_rot(&disk, SIM_MAIN, torn / SIM_GRAIN * SIM_GRAIN, n);
                    if (!opens_to(want, how[a], kinds[k], n)) break;
                }
    }
    CHECK(named > 0);
    base_down();
}

/* Makes a disk on which a recovery was cut off with its copy named. */
static void disk_with_redo(void)
{
    uint64_t alive = 0;
    do {
        disk_up();
        REQUIRE(recovery_cut(alive++));
    } while (!redo_named());
}

static vtag_err (*sim_lock_of)(void *file, int which, uint32_t wait_ms);
static int finish_first;

static vtag_err lock_after_another(void *file, int which, uint32_t wait_ms)
{
    if (finish_first) {
        vtag_open_opts o = {0};
        vtag_batch *b = NULL;
        vtag_db *db;
        finish_first = 0;
        MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
        MUST(vtag_begin(db, NULL, &b));
        OK(vtag_commit(b));
        vtag_close(db);
        CHECK(!redo_named());
    }
    return sim_lock_of(file, which, wait_ms);
}

static void a_recovery_that_another_finished_meanwhile_is_not_done_again(void)
{
    vtag_open_opts o = {0};
    vtag_db *db = NULL;
    uint64_t want;
    base_up(1, 2);
    disk_up();
    want = disk_hash();
    disk_with_redo();
    sim_lock_of = disk.io.lock;
    disk.io.lock = lock_after_another;
    finish_first = 1;
    MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
    CHECK_EQ(finish_first, 0);
    CHECK_EQ(hash_of(db), want);
    put2(db, 9, "new", 1u << 20 | 1u << 8 | 1u, 1, 2);
    want = hash_of(db);
    vtag_close(db);
    CHECK_EQ(disk_hash(), want);
    disk.io.lock = sim_lock_of;
    base_down();
}

/* Of two commits that a crash left, the second rots between two attempts to recover them:
   the copy that the first attempt made no longer says what is to be done. */
static void a_recovery_keeps_what_is_still_whole(void)
{
    vtag_open_opts o = {0};
    vtag_batch *b = NULL;
    vtag_db *db;
    vtag_stat st;
    uint64_t rotten;
    base_up(1, 2);
    rotten = last_record(&base);
    disk_with_redo();
    MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
    sim_rot(&disk, SIM_MAIN, rotten / SIM_GRAIN * SIM_GRAIN, 7);
    MUST(vtag_begin(db, NULL, &b));
    OK(vtag_commit(b));
    st = stat_of(db);
    CHECK_EQ(st.items, 4);
    verify(db);
    vtag_close(db);
    CHECK(!redo_named());
    MUST(open_sim(&disk, o, VTAG_READ, &db));
    CHECK_EQ(stat_of(db).commit, st.commit);
    verify(db);
    vtag_close(db);
    base_down();
}

/* Memory runs out in a recovery: the next begin does it. */
static void recovery_starts_again(void)
{
    vtag_open_opts read = {0};
    vtag_db *db;
    uint64_t n, want;
    int hit = 1;
    disk_up();
    MUST(open_sim(&disk, read, VTAG_READ, &db));
    want = hash_of(db);
    vtag_close(db);
    for (n = 1; hit && n < 1000; n++) {
        vtag_open_opts o = {0};
        vtag_batch *b = NULL;
        vtag_err err;
        int64_t live;
        disk_up();
        MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
        live = heap.live;
        heap_arm(n);
        err = vtag_begin(db, NULL, &b);
        hit = heap_disarm();
        ERR(hit ? VTAG_NOMEM : VTAG_OK, err);
        if (hit) CHECK(b == NULL && heap.live <= live + 1); /* the table of mappings may grow */
        vtag_abort(b);
        CHECK_EQ(hash_of(db), want);
        vtag_close(db);
        MUST(open_sim(&disk, o, VTAG_EXISTING, &db));
        vtag_abort(begin(db));
        CHECK_EQ(hash_of(db), want);
        verify(db);
        vtag_close(db);
    }
    CHECK(n > 5);
}

static void a_recovery_without_memory_is_begun_again(void)
{
    int padded, torn;
    for (padded = 0; padded < 2; padded++)
        for (torn = 0; torn < 3; torn++) {
            base_up(padded, torn ? 0 : 2);
            if (torn) sim_rot(&base, SIM_MAIN, SIM_SLOT(torn - 1), 7);
            recovery_starts_again();
            base_down();
        }
}

/* ---- Keeping up with another writer ------------------------------------------------- */

static vtag_db *others;
static vtag_tag others_tag;

static void another_commits_twice(void)
{
    put2(others, 1, "in a slot", others_tag, 1, 1);
    put2(others, 2, "in none yet", others_tag, 1, 2);
}

/* The reader reads the slots; then two commits come, of which a slot names the first; the
   reader looks past the slot that it knows and sees both. The newer slot is behind that. */
static void a_slot_behind_what_was_seen_takes_nothing_back(void)
{
    vtag_batch *b;
    vtag_db *reader;
    vtag_io io;
    uint64_t seen;
    env e;
    env_up(&e);
    others_tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    MUST(open_by(&e.r.io, "t.vtag", VTAG_EXISTING, VTAG_LAZY_SYNC, &others));
    io = hooked(&e.r);
    MUST(open_by(&io, "t.vtag", VTAG_EXISTING, VTAG_FULL_SYNC, &reader));
    hook.slot_read = another_commits_twice;
    CHECK_EQ(stat_of(reader).items, 2);
    CHECK(hook.slot_read == NULL);
    seen = hash_of(others);
    b = begin(others); /* while there is a writer nobody looks past the slots */
    CHECK_EQ(hash_of(reader), seen);
    vtag_abort(b);
    CHECK_EQ(hash_of(reader), seen);
    put2(others, 3, "a third", others_tag, 1, 3);
    CHECK_EQ(stat_of(reader).items, 3);
    vtag_close(others);
    CHECK_EQ(stat_of(reader).items, 3);
    put2(reader, 4, "and one of its own", others_tag, 1, 4);
    CHECK_EQ(stat_of(e.db).items, 4);
    verify(reader);
    vtag_close(reader);
    env_down(&e);
}

/* A reader looked past the slots at a commit that rotted before a writer came to recover
   it. Nothing can bring it back: the reader has to go by what the writer could save. */
static void a_reader_goes_by_what_a_recovery_could_save(void)
{
    vtag_db *dying, *reader, *next;
    vtag_batch *b;
    vtag_tag tag;
    vtag_io io;
    env e;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    put2(e.db, 1, "lasting", tag, 1, 1);
    io = hooked(&e.r);
    MUST(open_by(&e.r.io, "t.vtag", VTAG_READ, VTAG_FULL_SYNC, &reader));
    MUST(open_by(&io, "t.vtag", VTAG_EXISTING, VTAG_NO_SYNC, &dying));
    put2(dying, 2, "not in a slot", tag, 1, 2);
    crash(dying);
    CHECK_EQ(stat_of(reader).items, 2);
    find_last(&e.r, "t.vtag", "VTLR", 4)[40] ^= 1;
    MUST(open_by(&e.r.io, "t.vtag", VTAG_EXISTING, VTAG_FULL_SYNC, &next));
    b = begin(next);
    vtag_abort(b);
    CHECK_EQ(stat_of(next).items, 1);
    CHECK_EQ(hash_of(reader), hash_of(next));
    put2(next, 3, "later", tag, 1, 3);
    CHECK_EQ(hash_of(reader), hash_of(next));
    verify(reader);
    vtag_close(next);
    vtag_close(reader);
    env_down(&e);
}

static void a_file_shorter_than_its_slot_says_is_not_followed(void)
{
    static char text[200000];
    vtag_snap *s = NULL;
    vtag_db *reader;
    vtag_io io;
    uint64_t before, old;
    env e;
    env_up(&e);
    declare(e.db, "m@1", 2, VTAG_COSINE);
    io = hooked(&e.r);
    MUST(open_by(&io, "t.vtag", VTAG_READ, VTAG_FULL_SYNC, &reader));
    old = hash_of(reader);
    before = ram_find(&e.r, "t.vtag")->bytes;
    put(e.db, 1, filled(text, sizeof text - 1), NULL, 0);
    hook.short_by = ram_find(&e.r, "t.vtag")->bytes - before;
    CHECK(hook.short_by > 0);
    ERR(VTAG_CORRUPT, vtag_snapshot(reader, &s));
    CHECK(s == NULL);
    hook.short_by = 0;
    CHECK(hash_of(reader) != old);
    CHECK_EQ(hash_of(reader), hash_of(e.db));
    vtag_close(reader);
    env_down(&e);
}

/* What another writer's recovery named in a slot needs no close to name it again. */
static void closing_writes_nothing_that_another_wrote_already(void)
{
    static const vtag_durability late[] = {VTAG_NO_SYNC, VTAG_LAZY_SYNC};
    size_t i;
    for (i = 0; i < LENGTH(late); i++) {
        vtag_db *lazy;
        vtag_tag tag;
        uint64_t want;
        env e;
        env_up(&e);
        tag = declare(e.db, "m@1", 2, VTAG_COSINE);
        MUST(open_by(&e.r.io, "t.vtag", VTAG_EXISTING, late[i], &lazy));
        put2(lazy, 1, "first", tag, 1, 1);
        put2(lazy, 2, "in no slot", tag, 1, 2);
        put2(e.db, 3, "in a slot", tag, 1, 3);
        want = hash_of(e.db);
        ram_reset_counts(&e.r);
        vtag_close(lazy);
        CHECK_EQ(e.r.writes, 0);
        CHECK_EQ(e.r.syncs, 0);
        CHECK_EQ(hash_of(e.db), want);
        env_reopen(&e);
        CHECK_EQ(hash_of(e.db), want);
        env_down(&e);
    }
}

/* ---- Batches that fail far inside --------------------------------------------------- */

typedef vtag_err change(vtag_batch *b, vtag_tag tag);

static vtag_err in_batch(vtag_db *db, uint64_t rows, change *what, vtag_tag tag)
{
    vtag_begin_opts o = {0};
    vtag_batch *b = NULL;
    vtag_err err;
    o.expect_rows = rows;
    err = vtag_begin(db, &o, &b);
    if (err) return err;
    err = what(b, tag);
    if (!err) return vtag_commit(b);
    vtag_abort(b);
    return err;
}

/* A change on a fresh store of one tag, failing at each call of a kind (SIM_KINDS: each
   allocation from the skip-th on) in turn: the state before, or all of it. */
static void all_or_nothing(const vtag_spec *spec, uint64_t rows, change *what, int kind,
                           vtag_err fails)
{
    uint64_t n, before, after = 0;
    int hit = 1;
    static sim s;
    sim_init_flat(&s, t_seed(), UINT64_C(64) << 20);
    for (n = 1; hit && n < 20000; n++) {
        vtag_open_opts o = {0};
        vtag_batch *b;
        vtag_tag tag;
        vtag_db *db;
        vtag_err err;
        sim_reset(&s, t_seed());
        MUST(open_sim(&s, o, VTAG_NEW, &db));
        b = begin(db);
        OK(vtag_declare(b, spec, &tag));
        OK(vtag_commit(b));
        before = hash_of(db);
        if (kind == SIM_KINDS) heap_arm(n);
        s.fault.kind = (sim_kind)kind;
        s.fault.nth = kind == SIM_KINDS ? 0 : n;
        s.fault.err = fails;
        err = in_batch(db, rows, what, tag);
        hit = kind == SIM_KINDS ? heap_disarm() : s.fault.seen >= n;
        s.fault.nth = 0;
        ERR(hit ? fails : VTAG_OK, err);
        vtag_close(db);
        MUST(open_sim(&s, o, VTAG_EXISTING, &db));
        vtag_abort(begin(db)); /* recovers */
        after = hash_of(db);
        if (!err) CHECK(after != before);
        if (err && kind != SIM_WRITE) CHECK_EQ(after, before); /* else all of it may be there */
        verify(db);
        vtag_close(db);
        CHECK_EQ(s.opens, 0);
    }
    CHECK(n > 3);
    CHECK_STR(s.broken, NULL);
    sim_free(&s);
}

static vtag_err put_rows(vtag_batch *b, vtag_tag tag, uint32_t dim, uint64_t from, uint64_t to)
{
    float *x = calloc(dim, sizeof *x);
    vtag_err err = VTAG_OK;
    uint64_t seed = from + 1;
    random_vector(&seed, x, dim, 1u << 20);
    for (; from < to && !err; from++) { /* each a little other than the one before */
        vtag_item it = item_at(from, 0);
        vtag_vec v = vec(tag, dim, x);
        x[from % dim] = t_float(&seed);
        err = vtag_put(b, &it, &v, 1);
    }
    free(x);
    return err;
}

static vtag_err three_segments(vtag_batch *b, vtag_tag tag) { return put_rows(b, tag, 2, 0, 3000); }

static void a_segment_that_cannot_be_ended_fails_the_batch(void)
{
    vtag_spec spec = spec_of("m@1", 2, VTAG_L2SQ, 0);
    all_or_nothing(&spec, 0, three_segments, SIM_WRITE, VTAG_IO);
}

static vtag_err much_text(vtag_batch *b, vtag_tag tag)
{
    static char text[100000];
    vtag_err err = VTAG_OK;
    uint64_t i;
    (void)tag;
    for (i = 0; i < 8 && !err; i++) {
        vtag_item it = item_of(i, filled(text, sizeof text - 1 - (size_t)i));
        err = vtag_put(b, &it, NULL, 0);
    }
    return err;
}

static void a_payload_that_cannot_be_written_fails_the_batch(void)
{
    vtag_spec spec = spec_of("m@1", 2, VTAG_L2SQ, 0);
    all_or_nothing(&spec, 0, much_text, SIM_WRITE, VTAG_IO);
}

enum { WIDE = 1024 };

/* Two while rows are put, and one of another tag, that is not the last, as the batch ends. */
static vtag_err three_sketches(vtag_batch *b, vtag_tag tag)
{
    const uint64_t n = SKETCHED(WIDE);
    vtag_spec spec = spec_of("m@2", WIDE, VTAG_L2SQ, 0);
    vtag_err err = put_rows(b, tag, WIDE, 0, 4 * n);
    if (!err) err = vtag_declare(b, &spec, &tag);
    if (!err) err = put_rows(b, tag, WIDE, 4 * n, 5 * n);
    spec.name = "m@3";
    if (!err) err = vtag_declare(b, &spec, &tag);
    return err ? err : put_rows(b, tag, WIDE, 5 * n, 5 * n + 1);
}

static void a_sketch_that_has_no_place_but_for_a_full_disk_fails_the_batch(void)
{
    vtag_spec spec = spec_of("m@1", WIDE, VTAG_L2SQ, 0);
    all_or_nothing(&spec, SKETCHED(WIDE), three_sketches, SIM_ALLOCATE, VTAG_IO);
}

/* More keys of a kind than a record takes, before and after a call that has to see them. */
static vtag_err many_keys(vtag_batch *b, vtag_tag tag)
{
    vtag_event ev;
    vtag_err err;
    uint64_t i;
    err = put_rows(b, tag, 2, 0, 1100);
    memset(&ev, 0, sizeof ev);
    if (!err) err = vtag_note(b, &ev);
    for (i = 2000; i < 3100 && !err; i++) {
        vtag_item it = item_at(i, 0);
        err = vtag_put(b, &it, NULL, 0);
    }
    return err;
}

static void keys_that_go_to_the_index_go_there_whole(void)
{
    vtag_spec spec = spec_of("m@1", 2, VTAG_L2SQ, 0);
    all_or_nothing(&spec, 0, many_keys, SIM_KINDS, VTAG_NOMEM);
}

static vtag_err wide_vector(vtag_batch *b, vtag_tag tag)
{
    return put_rows(b, tag, WIDE, 0, 2);
}

static void a_vector_that_cannot_be_encoded_fails_the_batch(void)
{
    vtag_spec spec = spec_of("m@1", WIDE, VTAG_COSINE, 0);
    all_or_nothing(&spec, 0, wide_vector, SIM_KINDS, VTAG_NOMEM);
}

/* ---- Decisions without memory ------------------------------------------------------- */

typedef vtag_err decide(pair *p, vtag_batch *b);

static vtag_err decide_cutover(pair *p, vtag_batch *b) { return vtag_cutover(b, p->b, NULL, NULL); }
static vtag_err decide_rollback(pair *p, vtag_batch *b) { return vtag_rollback(b, p->a, NULL); }
static vtag_err decide_retire(pair *p, vtag_batch *b) { return vtag_retire(b, p->a, NULL, NULL); }

/* The decision, after a put in the same batch, fails at each allocation in turn. */
static void decides_or_not(void (*up)(pair *), decide *what)
{
    uint64_t n, before, failed = 0;
    int hit = 1;
    for (n = 1; hit && n < 1000; n++) {
        vtag_batch *b;
        vtag_vec v;
        vtag_err err;
        pair p;
        up(&p);
        before = hash_of(p.e.db);
        b = begin(p.e.db);
        v = v2(p.b, 3, 4);
        put_b(b, 5, "another text", &v, 1);
        heap_arm(n);
        err = what(&p, b);
        if (err) vtag_abort(b);
        else err = vtag_commit(b);
        hit = heap_disarm();
        if (!hit) OK(err);
        if (err) ERR(VTAG_NOMEM, err);
        env_reopen(&p.e);
        CHECK_EQ(hash_of(p.e.db) == before, err != VTAG_OK);
        failed += err != VTAG_OK;
        verify(p.e.db);
        pair_down(&p);
    }
    CHECK(failed > 5);
}

static void complete_up(pair *p) { pair_up(p, 4); }

static void moved_up(pair *p)
{
    pair_up(p, 10);
    OK(cutover(p->e.db, p->b, NULL, NULL));
}

/* The standby may go once a score of the active tag was noted, as it is here. */
static void scored_up(pair *p)
{
    vtag_policy policy;
    vtag_event ev;
    moved_up(p);
    memset(&policy, 0, sizeof policy);
    policy.gate.score = "ndcg";
    policy.retain_ms = 1;
    policy.retain_scores = 1;
    OK(set_policy(p->e.db, &policy, "scores"));
    ev = score_of(p->b, "ndcg", 1, 100);
    OK(note(p->e.db, &ev));
    p->e.r.clock += DAY_MS;
}

/* A restored store has no history before its first decision. */
static void restored_up(pair *p)
{
    vtag_batch *b;
    env_up(&p->e);
    b = begin_opts(p->e.db, 0, 1);
    p->a = restore_tag(b, "m@1", VTAG_ACTIVE);
    p->b = restore_tag(b, "m@2", VTAG_CANDIDATE);
    restore_items(b, p->a, p->b, 10);
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(p->e.db).events, 0);
}

static void a_cutover_is_made_or_not_as_memory_runs_out(void)
{
    decides_or_not(complete_up, decide_cutover);
}

static void the_first_event_of_a_file_is_noted_or_not_as_memory_runs_out(void)
{
    decides_or_not(restored_up, decide_cutover);
}

static void a_rollback_is_made_or_not_as_memory_runs_out(void)
{
    decides_or_not(moved_up, decide_rollback);
}

static void a_retirement_is_made_or_not_as_memory_runs_out(void)
{
    decides_or_not(scored_up, decide_retire);
}

/* NOMEM and CORRUPT poison a batch, and its commit returns them again. */
static void a_retirement_that_could_not_be_judged_poisons_its_batch(void)
{
    vtag_batch *b;
    uint64_t before;
    pair p;
    scored_after_force(&p);
    find_last(&p.e.r, "t.vtag", "precious words", 14)[0] ^= 1;
    before = stat_of(p.e.db).commit;
    b = begin(p.e.db);
    put_b(b, 5, "another text", NULL, 0);
    ERR(VTAG_CORRUPT, vtag_retire(b, p.a, NULL, NULL));
    ERR(VTAG_CORRUPT, vtag_commit(b));
    CHECK_EQ(stat_of(p.e.db).commit, before);
    pair_down(&p);
}

/* The tag is kept for want of a score; a reason lets it go, and that is to be recorded. */
static void an_early_retirement_is_recorded_as_forced_or_not_made(void)
{
    uint64_t n;
    int hit = 1;
    for (n = 1; hit && n < 1000; n++) {
        vtag_policy policy;
        vtag_batch *b;
        vtag_err err;
        pair p;
        moved_up(&p);
        memset(&policy, 0, sizeof policy);
        policy.retain_ms = 1;
        policy.retain_scores = 1;
        OK(set_policy(p.e.db, &policy, "scores"));
        p.e.r.clock += DAY_MS;
        b = begin(p.e.db);
        heap_arm(n);
        err = vtag_retire(b, p.a, "a reason", NULL);
        hit = heap_disarm();
        if (err) ERR(VTAG_NOMEM, err);
        ERR(err, vtag_commit(b));
        if (!err) CHECK_EQ(newest_event(p.e.db, VTAG_K_RETIRED).flags, VTAG_FORCED);
        pair_down(&p);
    }
}

static void a_judgement_without_memory_is_no_judgement(void)
{
    vtag_policy policy = score_policy();
    vtag_event ev;
    uint64_t n;
    int hit = 1;
    pair p;
    pair_up(&p, 10);
    OK(set_policy(p.e.db, &policy, "scores"));
    ev = score_of(p.b, "ndcg", 0.75, 100);
    OK(note(p.e.db, &ev));
    ev = score_of(p.a, "ndcg", 0.75, 100);
    OK(note(p.e.db, &ev));
    for (n = 1; hit && n < 100; n++) {
        vtag_snap *s = look(p.e.db);
        int64_t live = heap.live;
        vtag_verdict v;
        vtag_err err;
        heap_arm(n);
        err = vtag_judge(s, p.b, NULL, &v);
        hit = heap_disarm();
        ERR(hit ? VTAG_NOMEM : VTAG_OK, err);
        if (!err) CHECK(v.pass && v.score == 0.75);
        CHECK_EQ(heap.live, live);
        vtag_release(s);
    }
    CHECK(n > 2);
    pair_down(&p);
}

/* ---- Sealing ------------------------------------------------------------------------ */

/* Two tags, each with rows enough for a sketch and room for more, so that none is made. */
static void due_up(pair *p)
{
    const uint64_t n = SKETCHED(WIDE);
    vtag_spec spec = spec_of("m@1", WIDE, VTAG_L2SQ, 0);
    vtag_batch *b;
    env_up(&p->e);
    b = begin_opts(p->e.db, n + 100, 0);
    OK(vtag_declare(b, &spec, &p->a));
    spec.name = "m@2";
    OK(vtag_declare(b, &spec, &p->b));
    OK(put_rows(b, p->a, WIDE, 0, n));
    OK(put_rows(b, p->b, WIDE, n, 2 * n));
    OK(vtag_commit(b));
}

static uint64_t bytes_of(const pair *p)
{
    return info_of(p->e.db, p->a).bytes + info_of(p->e.db, p->b).bytes;
}

typedef struct stop { uint64_t at, calls; vtag_db *db; } stop;

static int stop_at(void *ctx, uint64_t done, uint64_t total)
{
    stop *s = ctx;
    CHECK(done <= total);
    return ++s->calls == s->at;
}

static void a_cancelled_seal_keeps_what_it_made_and_can_go_on(void)
{
    uint64_t before, bytes, at, last = 0;
    pair p;
    due_up(&p);
    before = hash_of(p.e.db);
    bytes = bytes_of(&p);
    for (at = 1; at <= 4; at++) {
        static const uint64_t stops[] = {1, 2, 2, 0}; /* before a sketch, the next, the end */
        stop s = {0};
        s.at = stops[at - 1];
        ERR(s.at ? VTAG_CANCELLED : VTAG_OK, vtag_seal(p.e.db, stop_at, &s));
        CHECK_EQ(hash_of(p.e.db), before);
        CHECK(bytes_of(&p) >= last);
        last = bytes_of(&p);
        if (at == 1) CHECK_EQ(last, bytes);
        if (at == 2) CHECK(last > bytes);
        verify(p.e.db);
    }
    env_reopen(&p.e);
    CHECK_EQ(hash_of(p.e.db), before);
    pair_down(&p);
}

/* The first call compacts the file under the seal. */
static int compact_first(void *ctx, uint64_t done, uint64_t total)
{
    stop *s = ctx;
    (void)done, (void)total;
    if (!s->calls++) OK(vtag_compact(s->db, NULL, NULL));
    return 0;
}

static void a_seal_leaves_a_file_that_was_compacted_meanwhile_alone(void)
{
    uint64_t before, bytes, written;
    stop s = {0};
    pair p;
    due_up(&p);
    before = hash_of(p.e.db);
    s.db = env_open(&p.e, "t.vtag", VTAG_EXISTING);
    OK(vtag_seal(p.e.db, compact_first, &s));
    bytes = bytes_of(&p);
    CHECK_EQ(hash_of(p.e.db), before);
    verify(p.e.db);
    ram_reset_counts(&p.e.r);
    OK(vtag_seal(s.db, NULL, NULL));
    written = p.e.r.bytes_written;
    CHECK(written < 10000); /* the compaction had sketched all */
    CHECK_EQ(bytes_of(&p), bytes);
    vtag_close(s.db);
    pair_down(&p);
}

static uint64_t large_writes, large_fails;

static vtag_err write_unless_large(void *file, uint64_t at, const void *p, size_t n)
{
    if (n > 100000 && ++large_writes == large_fails) return VTAG_NOSPACE;
    return ram_write(file, at, p, n);
}

/* A disk that is full where a sketch would be allocated does without; that its bytes find
   no room once there is space for them is an error. */
static void a_sketch_that_cannot_be_written_leaves_all_as_it_was(void)
{
    uint64_t nth, before, bytes;
    for (nth = 1; nth <= 3; nth++) {
        vtag_db *db;
        vtag_io io;
        pair p;
        due_up(&p);
        before = hash_of(p.e.db);
        bytes = bytes_of(&p);
        io = p.e.r.io;
        io.write = write_unless_large;
        MUST(open_by(&io, "t.vtag", VTAG_EXISTING, VTAG_FULL_SYNC, &db));
        large_writes = 0;
        large_fails = nth;
        ERR(nth < 3 ? VTAG_NOSPACE : VTAG_OK, vtag_seal(db, NULL, NULL));
        CHECK_EQ(large_writes, nth < 3 ? nth : 2);
        large_fails = 0;
        vtag_close(db);
        CHECK_EQ(bytes_of(&p) > bytes, nth > 1); /* the first is there, if that was made */
        CHECK_EQ(hash_of(p.e.db), before);
        verify(p.e.db);
        OK(vtag_seal(p.e.db, NULL, NULL));
        CHECK_EQ(hash_of(p.e.db), before);
        pair_down(&p);
    }
}

/* Rows that came since are many, but few beside those that have a sketch. */
static void a_sketch_is_not_made_again_for_few_more_rows(void)
{
    const uint64_t n = SKETCHED(WIDE);
    vtag_spec spec = spec_of("m@1", WIDE, VTAG_L2SQ, 0);
    vtag_batch *b;
    vtag_tag tag;
    env e;
    env_up(&e);
    b = begin_opts(e.db, 12 * n, 0);
    OK(vtag_declare(b, &spec, &tag));
    OK(put_rows(b, tag, WIDE, 0, 4 * n));
    OK(vtag_commit(b));
    OK(vtag_seal(e.db, NULL, NULL));
    b = begin(e.db);
    OK(put_rows(b, tag, WIDE, 4 * n, 5 * n + 16));
    OK(vtag_commit(b));
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK(e.r.bytes_written < 100000);
    b = begin(e.db);
    OK(put_rows(b, tag, WIDE, 5 * n + 16, 6 * n + 32));
    OK(vtag_commit(b));
    ram_reset_counts(&e.r);
    OK(vtag_seal(e.db, NULL, NULL));
    CHECK(e.r.bytes_written > 6 * n * WIDE / 2);
    CHECK_EQ(stat_of(e.db).segments, 1);
    verify(e.db);
    env_down(&e);
}

/* ---- Sketches in the making --------------------------------------------------------- */

/* A batch with one segment that is full and sketched, and rows in the next. */
static vtag_batch *begin_sketching(vtag_db *db, const vtag_begin_opts *opts)
{
    vtag_spec spec = spec_of("m@1", WIDE, VTAG_L2SQ, 0);
    vtag_begin_opts o = *opts;
    vtag_batch *b = NULL;
    vtag_tag tag;
    o.expect_rows = SKETCHED(WIDE);
    MUST(vtag_begin(db, &o, &b));
    OK(vtag_declare(b, &spec, &tag));
    OK(put_rows(b, tag, WIDE, 0, SKETCHED(WIDE) + 100));
    return b;
}

static void an_aborted_batch_drops_its_unfinished_sketch(void)
{
    vtag_begin_opts o = {0};
    uint64_t before;
    int64_t live;
    int i;
    env e;
    env_up(&e);
    before = hash_of(e.db);
    vtag_abort(begin_sketching(e.db, &o)); /* the table of mappings grows once */
    live = heap.live;
    for (i = 0; i < 2; i++) {
        vtag_abort(begin_sketching(e.db, &o));
        CHECK_EQ(heap.live, live);
        CHECK_EQ(hash_of(e.db), before);
    }
    CHECK_EQ(stat_of(e.db).tags, 0);
    env_down(&e);
}

static int waits;

static void run_at_once(void *ctx, void (*work)(void *), void *arg)
{
    (void)ctx;
    work(arg);
}

static void count_waits(void *ctx)
{
    (void)ctx;
    waits++;
}

static void a_forked_child_can_but_drop_a_batch(void)
{
    vtag_begin_opts o = {0};
    vtag_item it = item_of(1, "text");
    vtag_batch *b;
    int status = -1;
    pid_t pid;
    env e;
    env_up(&e);
    o.run = run_at_once;
    o.wait = count_waits;
    b = begin_sketching(e.db, &o);
    waits = 0;
    pid = fork();
    if (pid == 0) {
        int bad = vtag_put(b, &it, NULL, 0) != VTAG_ARG;
        bad |= vtag_del(b, 1) != VTAG_ARG;
        bad |= vtag_commit(b) != VTAG_ARG;
        vtag_abort(b);
        leave(bad || waits); /* nothing runs here that one could wait for */
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    OK(vtag_commit(b));
    CHECK_EQ(waits, 1);
    CHECK_EQ(stat_of(e.db).rows, SKETCHED(WIDE) + 100);
    verify(e.db);
    env_down(&e);
}

/* ---- The log, the index, and a full disk -------------------------------------------- */

static void a_thousand_commits_without_one_make_a_checkpoint_due(void)
{
    uint64_t i, usual = 0, growing = 0, other = 0, when = 0;
    vtag_stat st;
    env e;
    env_up(&e);
    memset(&st, 0, sizeof st);
    for (i = 1; i <= 1100; i++) {
        vtag_batch *b = begin_opts(e.db, 0, 1);
        st.commit = i;
        OK(vtag_restore_stat(b, &st));
        ram_reset_counts(&e.r);
        OK(vtag_commit(b));
        if (e.r.writes == 2) usual++; /* record and slot */
        else if (e.r.writes > 60) growing++; /* and a new extent of the log, zeroed */
        else other++, when = i;
    }
    CHECK_EQ(usual + growing, 1099);
    CHECK_EQ(other, 1);
    CHECK_EQ(when, 1025);
    env_reopen(&e);
    CHECK_EQ(stat_of(e.db).commit, 1100);
    verify(e.db);
    env_down(&e);
}

static void runs_of_ascending_ids_stay_apart_up_to_64(void)
{
    uint64_t i, records = 0, last = 0, falls = 0, when = 0;
    env e;
    env_up(&e);
    for (i = 1; i <= 70; i++) {
        put(e.db, i, NULL, NULL, 0);
        OK(vtag_seal(e.db, NULL, NULL));
        records = verify(e.db).records;
        if (records < last) falls++, when = i;
        last = records;
    }
    CHECK_EQ(falls, 1);
    CHECK_EQ(when, 64);
    CHECK_EQ(stat_of(e.db).items, 70);
    env_reopen(&e);
    CHECK_EQ(stat_of(e.db).items, 70);
    env_down(&e);
}

/* On a full disk roles can change until the log's reserve is used up; then nothing breaks. */
static void a_full_disk_takes_changes_of_roles_as_long_as_the_reserve_lasts(void)
{
    vtag_err err = VTAG_OK;
    uint64_t before = 0, done = 0;
    pair p;
    moved_up(&p);
    p.e.r.limit = ram_find(&p.e.r, "t.vtag")->bytes;
    while (!err && done < 10000) {
        vtag_batch *b = begin(p.e.db);
        before = hash_of(p.e.db);
        if (done % 2) OK(vtag_cutover(b, p.b, NULL, NULL));
        else OK(vtag_rollback(b, 0, NULL));
        err = vtag_commit(b);
        if (!err) done++;
    }
    ERR(VTAG_NOSPACE, err);
    CHECK(done > 50);
    CHECK_EQ(hash_of(p.e.db), before);
    env_reopen(&p.e);
    CHECK_EQ(hash_of(p.e.db), before);
    verify(p.e.db);
    p.e.r.limit = 0;
    if (done % 2) OK(cutover(p.e.db, p.b, NULL, NULL));
    else OK(rollback(p.e.db, 0, NULL));
    CHECK(hash_of(p.e.db) != before);
    pair_down(&p);
}

static void a_verification_can_be_cancelled_at_any_step(void)
{
    vtag_report rep;
    vtag_snap *s;
    uint64_t n, last = 0;
    vtag_err err = VTAG_CANCELLED;
    vtag_tag tag;
    env e;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_L2SQ);
    put_range(e.db, tag, 0, 500);
    s = look(e.db);
    for (n = 1; err == VTAG_CANCELLED && n < 1000; n++) {
        stop st = {0};
        st.at = n;
        err = vtag_verify(s, &rep, stop_at, &st);
        ERR(st.calls >= n ? VTAG_CANCELLED : VTAG_OK, err);
        if (err) CHECK_EQ(st.calls, n); /* it asks no further */
        CHECK_EQ(rep.bad, 0);
        CHECK(rep.records >= last);
        last = rep.records;
    }
    CHECK(n > 10);
    vtag_release(s);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_gate_out_of_range_is_refused_everywhere);
    RUN(a_gate_at_its_limits_is_taken);
    RUN(a_hold_is_a_text_of_at_most_1024_bytes);
    RUN(a_search_takes_no_mode_but_two_and_no_query_without_a_norm);
    RUN(a_fill_without_vectors_is_an_argument_error);
    RUN(removing_metadata_that_is_not_there_changes_nothing);
    RUN(declaring_a_tag_needs_no_place_for_its_number);
    RUN(a_poisoned_batch_refuses_every_call_with_its_error);
    RUN(a_rollback_names_a_tag_that_was_active);
    RUN(metadata_of_two_names_with_one_hash_is_not_mixed_up);
    RUN(damaged_metadata_is_not_given_out);
    RUN(a_restore_wants_a_file_that_is_empty);
    RUN(restored_numbers_never_go_back);
    RUN(a_restored_event_has_a_number_of_its_own);
    RUN(restored_scores_without_a_name_or_a_number_count_for_nothing);
    RUN(a_restored_score_that_is_no_number_counts_for_nothing);
    RUN(where_no_tag_is_active_any_gate_passes_and_forces_nothing);
    RUN(where_no_tag_is_active_there_is_none_to_roll_back_from);
    RUN(where_no_tag_is_active_none_has_scores_that_let_another_go);
    RUN(what_falls_short_of_the_policys_score_needs_a_reason);
    RUN(the_policys_own_score_by_name_keeps_its_terms);
    RUN(a_drop_is_measured_against_a_score_of_the_active_tag);
    RUN(only_scores_that_the_gate_would_take_let_a_tag_go);
    RUN(a_retirement_settles_whether_the_active_tag_is_still_forced);
    RUN(a_decision_on_a_damaged_score_is_not_made);
    RUN(a_decision_on_a_damaged_policy_is_not_made);
    RUN(rows_too_far_out_for_a_sketch_are_found_without);
    RUN(queries_too_far_out_for_a_sketch_are_answered_without);
    RUN(rows_that_come_ever_closer_are_all_weighed);
    RUN(thousands_of_ids_are_as_good_as_a_filter);
    RUN(a_vector_for_another_span_is_new_content);
    RUN(a_row_beside_the_last_listed_dead_run_dies_too);
    RUN(a_padded_batch_may_end_on_a_sector_or_within);
    RUN(a_padded_segment_may_be_full_within_a_sector);
    RUN(a_padded_batch_without_memory_for_its_gap_fails_whole);
    RUN(a_network_file_system_is_written_only_if_that_is_forced);
    RUN(a_system_without_maps_does_all_by_reading);
    RUN(a_store_that_another_made_meanwhile_is_taken_as_it_is);
    RUN(a_store_in_memory_goes_by_the_clock_it_is_given);
    RUN(an_image_opens_whole_or_not_at_all_as_memory_runs_out);
    RUN(a_copy_does_not_go_where_a_directory_is);
    RUN(without_a_map_every_read_and_block_may_fail);
    RUN(a_reader_that_cannot_read_on_stays_where_it_is);
    RUN(a_padded_recovery_cut_anywhere_is_finished_by_whoever_opens);
    RUN(a_recovery_that_another_finished_meanwhile_is_not_done_again);
    RUN(a_recovery_keeps_what_is_still_whole);
    RUN(a_recovery_without_memory_is_begun_again);
    RUN(a_slot_behind_what_was_seen_takes_nothing_back);
    RUN(a_reader_goes_by_what_a_recovery_could_save);
    RUN(a_file_shorter_than_its_slot_says_is_not_followed);
    RUN(closing_writes_nothing_that_another_wrote_already);
    RUN(a_segment_that_cannot_be_ended_fails_the_batch);
    RUN(a_payload_that_cannot_be_written_fails_the_batch);
    RUN(a_sketch_that_has_no_place_but_for_a_full_disk_fails_the_batch);
    RUN(keys_that_go_to_the_index_go_there_whole);
    RUN(a_vector_that_cannot_be_encoded_fails_the_batch);
    RUN(a_cutover_is_made_or_not_as_memory_runs_out);
    RUN(the_first_event_of_a_file_is_noted_or_not_as_memory_runs_out);
    RUN(a_rollback_is_made_or_not_as_memory_runs_out);
    RUN(a_retirement_is_made_or_not_as_memory_runs_out);
    RUN(a_retirement_that_could_not_be_judged_poisons_its_batch);
    RUN(an_early_retirement_is_recorded_as_forced_or_not_made);
    RUN(a_judgement_without_memory_is_no_judgement);
    RUN(a_cancelled_seal_keeps_what_it_made_and_can_go_on);
    RUN(a_seal_leaves_a_file_that_was_compacted_meanwhile_alone);
    RUN(a_sketch_that_cannot_be_written_leaves_all_as_it_was);
    RUN(a_sketch_is_not_made_again_for_few_more_rows);
    RUN(an_aborted_batch_drops_its_unfinished_sketch);
    RUN(a_forked_child_can_but_drop_a_batch);
    RUN(a_thousand_commits_without_one_make_a_checkpoint_due);
    RUN(runs_of_ascending_ids_stay_apart_up_to_64);
    RUN(a_full_disk_takes_changes_of_roles_as_long_as_the_reserve_lasts);
    RUN(a_verification_can_be_cancelled_at_any_step);
    return t_end();
}
