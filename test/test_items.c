/* test_items.c - items: put, get, delete, keys, revisions, payloads, listings */
#include "engine.h"
#include "test.h"
#include "util.h"

typedef struct two { env e; vtag_tag a, b; } two; /* a store with an active tag and a candidate */

static void two_up(two *t)
{
    env_up(&t->e);
    t->a = declare(t->e.db, "a@1", 2, VTAG_COSINE);
    t->b = declare(t->e.db, "a@2", 2, VTAG_COSINE);
}

static vtag_err get_text(vtag_db *db, uint64_t id, char *text, size_t cap, vtag_item *out)
{
    vtag_snap *s = look(db);
    vtag_item it;
    vtag_err err = vtag_get(s, id, &it);
    if (!err) {
        CHECK(it.size < cap);
        memcpy(text, it.data ? it.data : "", it.size);
        text[it.size] = 0;
        *out = it;
        out->key = out->why = NULL;
        out->data = NULL;
    }
    vtag_release(s);
    return err;
}

/* ---- Put, get, delete -------------------------------------------------------- */

static void an_item_comes_back_with_its_payload_revision_and_time(void)
{
    two t;
    vtag_item it;
    char text[64];
    uint64_t rev;
    two_up(&t);
    t.e.r.clock += 5000;
    rev = put2(t.e.db, 7, "seven", t.a, 1, 0);
    CHECK(rev > 0);
    t.e.r.clock += 5000;
    env_reopen(&t.e);
    OK(get_text(t.e.db, 7, text, sizeof text, &it));
    CHECK_STR(text, "seven");
    CHECK_EQ(it.id, 7);
    CHECK_EQ(it.rev, rev);
    CHECK_EQ(it.time, t.e.r.clock - 5000);
    CHECK_EQ(stat_of(t.e.db).revision, rev);
    env_down(&t.e);
}

static void an_item_that_is_not_there_is_not_found(void)
{
    two t;
    vtag_snap *s;
    vtag_item it;
    float x[2];
    two_up(&t);
    s = look(t.e.db);
    ERR(VTAG_NOTFOUND, vtag_get(s, 7, &it));
    ERR(VTAG_NOTFOUND, vtag_vector(s, 7, t.a, 0, x, 2, NULL));
    vtag_release(s);
    ERR(VTAG_NOTFOUND, del(t.e.db, 7));
    env_down(&t.e);
}

static void id_zero_is_legal_and_the_largest_is_not(void)
{
    two t;
    vtag_item it = item_of(UINT64_MAX, "x");
    char text[8];
    vtag_vec v;
    vtag_batch *b;
    two_up(&t);
    put2(t.e.db, 0, "zero", t.a, 1, 0);
    put2(t.e.db, UINT64_MAX - 1, "last", t.a, 0, 1);
    b = begin(t.e.db);
    v = v2(t.a, 1, 0);
    ERR(VTAG_ARG, vtag_put(b, &it, &v, 1));
    OK(vtag_commit(b));
    OK(get_text(t.e.db, 0, text, sizeof text, &it));
    CHECK_STR(text, "zero");
    OK(get_text(t.e.db, UINT64_MAX - 1, text, sizeof text, &it));
    CHECK_EQ(stat_of(t.e.db).items, 2);
    env_down(&t.e);
}

static void a_deleted_item_is_gone_under_every_tag(void)
{
    two t;
    vtag_vec v[2];
    vtag_snap *s;
    vtag_item it;
    vtag_hit hit;
    size_t n;
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.b, 1, 0);
    put(t.e.db, 5, "five", v, 2);
    OK(del(t.e.db, 5));
    ERR(VTAG_NOTFOUND, del(t.e.db, 5));
    s = look(t.e.db);
    ERR(VTAG_NOTFOUND, vtag_get(s, 5, &it));
    ERR(VTAG_NOTFOUND, vtag_vector(s, 5, t.a, 0, NULL, 0, NULL));
    ERR(VTAG_NOTFOUND, vtag_vector(s, 5, t.b, 0, NULL, 0, NULL));
    OK(vtag_search(s, v[0], NULL, 1, &hit, &n));
    CHECK_EQ(n, 0);
    CHECK_EQ(count_items(s, 0, VTAG_ALL), 0);
    vtag_release(s);
    CHECK_EQ(stat_of(t.e.db).items + stat_of(t.e.db).rows, 0);
    env_down(&t.e);
}

static void an_item_put_again_after_deletion_gets_a_revision_never_used_before(void)
{
    two t;
    uint64_t rev, old = 0;
    int i;
    two_up(&t);
    for (i = 0; i < 5; i++) {
        rev = put2(t.e.db, 5, "five", t.a, 1, 0);
        CHECK(rev > old);
        old = rev;
        OK(del(t.e.db, 5));
        if (i == 2) env_reopen(&t.e);
        if (i == 3) OK(vtag_compact(t.e.db, NULL, NULL));
    }
    env_down(&t.e);
}

static void the_last_write_of_an_id_in_a_batch_wins(void)
{
    two t;
    vtag_item it;
    char text[16];
    vtag_batch *b;
    vtag_vec v;
    uint64_t last;
    two_up(&t);
    b = begin(t.e.db);
    v = v2(t.a, 1, 0);
    put_b(b, 1, "first", &v, 1);
    OK(vtag_del(b, 1));
    ERR(VTAG_NOTFOUND, vtag_del(b, 1));
    put_b(b, 1, "second", &v, 1);
    v = v2(t.a, 0, 1);
    last = put_b(b, 1, "third", &v, 1);
    put_b(b, 2, "gone", &v, 1);
    OK(vtag_del(b, 2));
    OK(vtag_commit(b));
    OK(get_text(t.e.db, 1, text, sizeof text, &it));
    CHECK_STR(text, "third");
    CHECK_EQ(it.rev, last);
    CHECK_EQ(stat_of(t.e.db).items, 1);
    CHECK_EQ(stat_of(t.e.db).rows, 1);
    verify(t.e.db);
    env_down(&t.e);
}

static void an_aborted_batch_changes_nothing(void)
{
    two t;
    vtag_vec v;
    vtag_batch *b;
    uint64_t before;
    two_up(&t);
    put2(t.e.db, 1, "one", t.a, 1, 0);
    before = hash_of(t.e.db);
    b = begin(t.e.db);
    v = v2(t.a, 0, 1);
    put_b(b, 1, "uno", &v, 1);
    put_b(b, 2, "due", &v, 1);
    OK(vtag_del(b, 1));
    vtag_abort(b);
    CHECK_EQ(hash_of(t.e.db), before);
    env_reopen(&t.e);
    CHECK_EQ(hash_of(t.e.db), before);
    put2(t.e.db, 3, "three", t.a, 1, 1);
    verify(t.e.db);
    env_down(&t.e);
}

static void an_empty_batch_writes_nothing(void)
{
    two t;
    uint64_t commit;
    two_up(&t);
    put2(t.e.db, 1, "one", t.a, 1, 0);
    commit = stat_of(t.e.db).commit;
    ram_reset_counts(&t.e.r);
    OK(vtag_commit(begin(t.e.db)));
    CHECK_EQ(t.e.r.writes, 0);
    CHECK_EQ(t.e.r.syncs, 0);
    CHECK_EQ(stat_of(t.e.db).commit, commit);
    env_down(&t.e);
}

/* ---- Revisions --------------------------------------------------------------- */

static vtag_err attach(vtag_db *db, vtag_item *item)
{
    vtag_batch *b = begin(db);
    item->state = VTAG_SAME;
    vtag_err err = vtag_put(b, item, NULL, 0);
    OK(vtag_commit(b));
    return err;
}

static void a_first_payload_that_was_embedded_keeps_revision_and_vectors(void)
{
    env e;
    vtag_tag a, b;
    vtag_item item, got;
    vtag_snap *s;
    uint64_t rev, puts;
    int i;
    env_up(&e);
    a = declare(e.db, "m@1", 2, VTAG_COSINE);
    b = declare(e.db, "m@2", 2, VTAG_COSINE);
    rev = put2(e.db, 7, NULL, a, 1, 2);
    item = item_of(8, "text");
    ERR(VTAG_NOTFOUND, attach(e.db, &item));
    item = item_of(7, NULL);
    ERR(VTAG_ARG, attach(e.db, &item));
    puts = info_of(e.db, b).writes_without;
    item = item_of(7, "the text");
    item.rev = rev + 1;
    item.of = 8;
    ERR(VTAG_CHANGED, attach(e.db, &item));
    item = item_of(7, "the text");
    OK(attach(e.db, &item));
    CHECK_EQ(item.rev, rev);
    item = item_of(7, "the text");
    OK(attach(e.db, &item)); /* again: nothing */
    item = item_of(7, "another text");
    ERR(VTAG_EXISTS, attach(e.db, &item));
    CHECK_EQ(info_of(e.db, b).writes_without, puts);
    for (i = 0; i < 3; i++) {
        s = look(e.db);
        OK(vtag_get(s, 7, &got));
        CHECK_EQ(got.rev, rev);
        CHECK_EQ(got.size, 8);
        CHECK(!memcmp(got.data, "the text", 8));
        vtag_release(s);
        CHECK_EQ(state_of(e.db, 7, a), VTAG_FRESH);
        verify(e.db);
        if (i == 0) env_reopen(&e);
        if (i == 1) OK(vtag_compact(e.db, NULL, NULL));
    }
    CHECK_EQ(put2(e.db, 7, "another text", a, 1, 2), rev + 1); /* a put is a put */
    env_down(&e);
}

static void an_equal_payload_keeps_the_revision_and_replaces_the_vectors_given(void)
{
    two t;
    uint64_t rev;
    float x[2];
    vtag_snap *s;
    two_up(&t);
    rev = put2(t.e.db, 1, "text", t.a, 1, 0);
    t.e.r.clock += 1000;
    CHECK_EQ(put2(t.e.db, 1, "text", t.a, 0, 1), rev);
    s = look(t.e.db);
    OK(vtag_vector(s, 1, t.a, 0, x, 2, NULL));
    CHECK(x[0] == 0 && x[1] == 1);
    CHECK_EQ(state_in(s, 1, t.a), VTAG_FRESH);
    vtag_release(s);
    CHECK_EQ(stat_of(t.e.db).rows, 1);
    CHECK(put2(t.e.db, 1, "texts", t.a, 0, 1) > rev);
    env_down(&t.e);
}

static void an_equal_payload_makes_no_other_tag_stale(void)
{
    two t;
    vtag_vec v[2];
    uint64_t rev;
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.b, 0, 1);
    rev = put(t.e.db, 1, "text", v, 2);
    CHECK_EQ(put2(t.e.db, 1, "text", t.a, 1, 1), rev);
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_FRESH);
    CHECK(put2(t.e.db, 1, "other", t.a, 1, 1) > rev);
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_STALE);
    CHECK_EQ(state_of(t.e.db, 1, t.a), VTAG_FRESH);
    env_down(&t.e);
}

static void without_a_payload_equal_vectors_keep_the_revision(void)
{
    two t;
    vtag_vec v[2];
    uint64_t rev;
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.b, 0, 1);
    rev = put(t.e.db, 1, NULL, v, 2);
    CHECK_EQ(put(t.e.db, 1, NULL, v, 2), rev);
    CHECK_EQ(put(t.e.db, 1, NULL, v, 1), rev); /* every vector given is the stored one */
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_FRESH);
    v[0] = v2(t.a, 1, 0.5f);
    CHECK(put(t.e.db, 1, NULL, v, 1) > rev);
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_STALE);
    env_down(&t.e);
}

static void minus_zero_is_another_vector(void)
{
    two t;
    uint64_t rev;
    two_up(&t);
    rev = put2(t.e.db, 1, NULL, t.a, 1, 0.0f);
    CHECK_EQ(put2(t.e.db, 1, NULL, t.a, 1, 0.0f), rev);
    CHECK(put2(t.e.db, 1, NULL, t.a, 1, -0.0f) > rev);
    env_down(&t.e);
}

static void more_or_fewer_parts_are_other_content(void)
{
    two t;
    vtag_vec v[2];
    uint64_t rev, next;
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.a, 0, 1);
    rev = put(t.e.db, 1, NULL, v, 1);
    next = put(t.e.db, 1, NULL, v, 2);
    CHECK(next > rev);
    CHECK(put(t.e.db, 1, NULL, v, 1) > next);
    CHECK_EQ(info_of(t.e.db, t.a).rows, 1);
    env_down(&t.e);
}

static void a_stale_vector_given_again_is_a_new_revision(void)
{
    two t;
    vtag_vec vb;
    uint64_t rev;
    two_up(&t);
    vb = v2(t.b, 0, 1);
    put(t.e.db, 1, NULL, &vb, 1);
    rev = put2(t.e.db, 1, NULL, t.a, 1, 0);
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_STALE);
    CHECK(put(t.e.db, 1, NULL, &vb, 1) > rev); /* equal bits, but not fresh ones */
    CHECK_EQ(state_of(t.e.db, 1, t.b), VTAG_FRESH);
    CHECK_EQ(state_of(t.e.db, 1, t.a), VTAG_STALE);
    env_down(&t.e);
}

static void nothing_given_for_an_existing_item_is_a_no_op(void)
{
    two t;
    uint64_t rev, before;
    two_up(&t);
    rev = put2(t.e.db, 1, "text", t.a, 1, 0);
    before = hash_of(t.e.db);
    CHECK_EQ(put(t.e.db, 1, NULL, NULL, 0), rev);
    CHECK_EQ(hash_of(t.e.db), before);
    env_down(&t.e);
}

static void an_item_needs_neither_vectors_nor_payload(void)
{
    two t;
    uint64_t rev;
    two_up(&t);
    rev = put(t.e.db, 1, NULL, NULL, 0);
    CHECK(rev > 0);
    CHECK_EQ(state_of(t.e.db, 1, t.a), VTAG_MISSING);
    CHECK_EQ(put(t.e.db, 1, NULL, NULL, 0), rev);
    CHECK(put(t.e.db, 2, "text alone", NULL, 0) > rev);
    CHECK_EQ(pending_of(t.e.db, t.a), 2);
    env_down(&t.e);
}

static void a_put_with_the_wrong_expected_revision_is_refused(void)
{
    two t;
    vtag_item it;
    vtag_vec v;
    vtag_batch *b;
    uint64_t rev, before;
    two_up(&t);
    rev = put2(t.e.db, 1, "one", t.a, 1, 0);
    before = hash_of(t.e.db);
    v = v2(t.a, 0, 1);
    b = begin(t.e.db);
    it = item_of(1, "uno");
    it.rev = rev + 1;
    ERR(VTAG_CHANGED, vtag_put(b, &it, &v, 1));
    it = item_of(2, "due"); /* an absent item cannot have the expected revision */
    it.rev = rev;
    ERR(VTAG_CHANGED, vtag_put(b, &it, &v, 1));
    OK(vtag_commit(b));
    CHECK_EQ(hash_of(t.e.db), before);
    b = begin(t.e.db);
    it = item_of(1, "uno");
    it.rev = rev;
    OK(vtag_put(b, &it, &v, 1));
    CHECK(it.rev > rev);
    OK(vtag_commit(b));
    env_down(&t.e);
}

/* ---- Payload ------------------------------------------------------------------ */

static void null_keeps_the_payload_and_size_zero_clears_it(void)
{
    two t;
    vtag_item it;
    vtag_batch *b;
    char text[16];
    uint64_t rev;
    two_up(&t);
    put2(t.e.db, 1, "text", t.a, 1, 0);
    rev = put2(t.e.db, 1, NULL, t.a, 0, 1);
    OK(get_text(t.e.db, 1, text, sizeof text, &it));
    CHECK_STR(text, "text");
    CHECK_EQ(it.rev, rev);
    b = begin(t.e.db);
    it = item_of(1, "");
    OK(vtag_put(b, &it, NULL, 0));
    CHECK(it.rev > rev);
    rev = it.rev;
    it = item_of(1, ""); /* cleared already: nothing to compare, nothing given */
    OK(vtag_put(b, &it, NULL, 0));
    CHECK_EQ(it.rev, rev);
    OK(vtag_commit(b));
    OK(get_text(t.e.db, 1, text, sizeof text, &it));
    CHECK_EQ(it.size, 0);
    CHECK_EQ(state_of(t.e.db, 1, t.a), VTAG_STALE);
    env_down(&t.e);
}

static void a_payload_may_hold_any_bytes_and_a_megabyte(void)
{
    two t;
    size_t i, n = 1 << 20;
    uint8_t *p = malloc(n);
    vtag_item it = item_at(1, 0);
    vtag_batch *b;
    vtag_snap *s;
    uint64_t seed = 9;
    two_up(&t);
    for (i = 0; i < n; i++) p[i] = (uint8_t)t_rand(&seed);
    it.data = p;
    it.size = n;
    b = begin(t.e.db);
    OK(vtag_put(b, &it, NULL, 0));
    OK(vtag_commit(b));
    env_reopen(&t.e);
    s = look(t.e.db);
    OK(vtag_get(s, 1, &it));
    CHECK_EQ(it.size, n);
    CHECK(it.size == n && !memcmp(it.data, p, n));
    vtag_release(s);
    verify(t.e.db);
    free(p);
    env_down(&t.e);
}

/* ---- Keys ------------------------------------------------------------------------ */

static vtag_err put_key(vtag_batch *b, uint64_t id, const char *key, const char *text, vtag_item *out)
{
    *out = item_of(id, text);
    out->key = key;
    return vtag_put(b, out, NULL, 0);
}

static void the_id_of_a_key_is_xxh64(void)
{
    CHECK(vtag_id("") == 0xEF46DB3751D8E999u);
    CHECK(vtag_id("a") == 0xD24EC4F1A98C6E5Bu);
    CHECK(vtag_id("abc") == 0x44BC2CF5AD770999u);
}

static void a_key_names_its_item(void)
{
    two t;
    vtag_item it;
    vtag_batch *b;
    vtag_snap *s;
    two_up(&t);
    b = begin(t.e.db);
    OK(put_key(b, 0, "docs/a.txt", "text", &it));
    CHECK(it.id == vtag_id("docs/a.txt"));
    OK(put_key(b, vtag_id("docs/b.txt"), "docs/b.txt", "more", &it));
    ERR(VTAG_ARG, put_key(b, 12, "docs/c.txt", "id of another", &it));
    OK(vtag_commit(b));
    env_reopen(&t.e);
    s = look(t.e.db);
    OK(vtag_get(s, vtag_id("docs/a.txt"), &it));
    CHECK_STR(it.key, "docs/a.txt");
    vtag_release(s);
    CHECK_EQ(stat_of(t.e.db).items, 2);
    env_down(&t.e);
}

static void keys_have_1_to_255_bytes(void)
{
    char key[257];
    two t;
    vtag_item it;
    vtag_batch *b;
    vtag_snap *s;
    two_up(&t);
    memset(key, 'k', 256);
    key[256] = 0;
    b = begin(t.e.db);
    ERR(VTAG_ARG, put_key(b, 0, key, "x", &it));
    ERR(VTAG_ARG, put_key(b, 0, "", "x", &it));
    key[255] = 0;
    OK(put_key(b, 0, key, "x", &it));
    OK(put_key(b, 0, "k", "x", &it));
    OK(vtag_commit(b));
    s = look(t.e.db);
    OK(vtag_get(s, vtag_id(key), &it));
    CHECK_STR(it.key, key);
    vtag_release(s);
    env_down(&t.e);
}

static void an_id_held_without_a_key_is_not_taken_over(void)
{
    two t;
    vtag_item it;
    vtag_batch *b;
    uint64_t before;
    two_up(&t);
    put2(t.e.db, vtag_id("k"), "unkeyed", t.a, 1, 0);
    before = hash_of(t.e.db);
    b = begin(t.e.db);
    ERR(VTAG_EXISTS, put_key(b, 0, "k", "keyed", &it));
    OK(vtag_commit(b));
    CHECK_EQ(hash_of(t.e.db), before);
    OK(del(t.e.db, vtag_id("k")));
    b = begin(t.e.db);
    OK(put_key(b, 0, "k", "keyed", &it)); /* the id is free again */
    OK(vtag_commit(b));
    env_down(&t.e);
}

static void a_put_by_id_alone_keeps_the_key(void)
{
    two t;
    vtag_item it;
    vtag_batch *b;
    vtag_snap *s;
    two_up(&t);
    b = begin(t.e.db);
    OK(put_key(b, 0, "k", "one", &it));
    OK(vtag_commit(b));
    put(t.e.db, vtag_id("k"), "two", NULL, 0);
    s = look(t.e.db);
    OK(vtag_get(s, vtag_id("k"), &it));
    CHECK_STR(it.key, "k");
    CHECK(it.size == 3 && !memcmp(it.data, "two", 3));
    vtag_release(s);
    env_down(&t.e);
}

static void fill_and_waive_take_a_key_as_well(void)
{
    two t;
    vtag_item it;
    vtag_vec v;
    vtag_batch *b;
    uint64_t rev;
    two_up(&t);
    b = begin(t.e.db);
    OK(put_key(b, 0, "k", "one", &it));
    rev = it.rev;
    it = item_at(0, rev);
    it.key = "k";
    v = v2(t.a, 1, 0);
    OK(vtag_fill(b, &it, &v, 1));
    OK(vtag_waive(b, &it, t.b, "too long"));
    it.key = "other";
    ERR(VTAG_NOTFOUND, vtag_fill(b, &it, &v, 1));
    OK(vtag_commit(b));
    CHECK_EQ(state_of(t.e.db, vtag_id("k"), t.a), VTAG_FRESH);
    CHECK_EQ(state_of(t.e.db, vtag_id("k"), t.b), VTAG_WAIVED);
    env_down(&t.e);
}

/* ---- Arguments ---------------------------------------------------------------------- */

static void bad_vectors_are_refused_and_leave_the_batch_good(void)
{
    two t;
    vtag_item it = item_of(1, "x");
    vtag_vec v[2];
    vtag_batch *b;
    two_up(&t);
    b = begin(t.e.db);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.a + 1000, 1, 0);
    ERR(VTAG_NOTAG, vtag_put(b, &it, v, 2));
    v[1] = v2(t.a, NAN, 0);
    ERR(VTAG_VALUE, vtag_put(b, &it, v, 2));
    v[1] = v2(t.a, INFINITY, 0);
    ERR(VTAG_VALUE, vtag_put(b, &it, v, 2));
    v[1] = v2(t.a, 0, 0);
    ERR(VTAG_VALUE, vtag_put(b, &it, v, 2)); /* no norm, under cosine */
    v[1].dim = 1;
    ERR(VTAG_DIM, vtag_put(b, &it, v, 2));
    v[1] = vec(t.a, 2, NULL);
    ERR(VTAG_ARG, vtag_put(b, &it, v, 2));
    ERR(VTAG_ARG, vtag_put(b, &it, NULL, 1));
    ERR(VTAG_ARG, vtag_put(b, NULL, v, 1));
    OK(vtag_put(b, &it, v, 1));
    OK(vtag_commit(b));
    CHECK_EQ(stat_of(t.e.db).rows, 1);
    env_down(&t.e);
}

static void a_zero_vector_is_good_where_no_norm_is_needed(void)
{
    env e;
    vtag_tag dot, l2;
    vtag_vec v[2];
    env_up(&e);
    dot = declare(e.db, "a@1", 2, VTAG_DOT);
    l2 = declare(e.db, "a@2", 2, VTAG_L2SQ);
    v[0] = v2(dot, 0, 0);
    v[1] = v2(l2, 0, 0);
    put(e.db, 1, "x", v, 2);
    CHECK_EQ(stat_of(e.db).rows, 2);
    env_down(&e);
}

static void a_tag_that_is_retired_takes_no_vectors(void)
{
    two t;
    vtag_item it = item_of(1, "x");
    vtag_vec v;
    vtag_batch *b;
    two_up(&t);
    OK(retire(t.e.db, t.b, NULL, NULL));
    b = begin(t.e.db);
    v = v2(t.b, 1, 0);
    ERR(VTAG_RETIRED, vtag_put(b, &it, &v, 1));
    OK(vtag_put(b, &it, NULL, 0));
    ERR(VTAG_RETIRED, vtag_fill(b, &it, &v, 1));
    ERR(VTAG_RETIRED, vtag_waive(b, &it, t.b, "why"));
    OK(vtag_commit(b));
    env_down(&t.e);
}

static void a_read_only_handle_starts_no_batch(void)
{
    two t;
    vtag_db *db;
    vtag_batch *b = NULL;
    two_up(&t);
    db = env_open(&t.e, "t.vtag", VTAG_READ);
    ERR(VTAG_READONLY, vtag_begin(db, NULL, &b));
    CHECK(b == NULL);
    vtag_close(db);
    env_down(&t.e);
}

static void a_second_batch_is_locked_out_until_the_first_ends(void)
{
    two t;
    vtag_db *db;
    vtag_batch *b, *c = NULL;
    two_up(&t);
    db = env_open(&t.e, "t.vtag", VTAG_EXISTING);
    b = begin(t.e.db);
    ERR(VTAG_LOCKED, vtag_begin(db, NULL, &c));
    ERR(VTAG_LOCKED, vtag_begin(t.e.db, NULL, &c));
    vtag_abort(b);
    OK(vtag_begin(db, NULL, &c));
    OK(vtag_commit(c));
    vtag_close(db);
    env_down(&t.e);
}

/* ---- Listings -------------------------------------------------------------------------- */

static void items_come_by_id_at_any_page_size(void)
{
    two t;
    uint64_t i;
    size_t cap;
    two_up(&t);
    for (i = 0; i < 20; i++) put2(t.e.db, i * 37 % 20 * 1000, "x", t.a, 1, 0);
    for (cap = 1; cap <= 21; cap += 4) {
        vtag_snap *s = look(t.e.db);
        vtag_item it[21];
        uint64_t cursor = 0, want = 0;
        size_t k, n;
        for (;;) {
            OK(vtag_items(s, 0, VTAG_ALL, &cursor, it, cap, &n));
            CHECK(n <= cap);
            if (!n) break;
            for (k = 0; k < n; k++, want++) {
                CHECK_EQ(it[k].id, want * 1000);
                CHECK_EQ(it[k].state, 0); /* no tag was asked */
            }
        }
        CHECK_EQ(want, 20);
        vtag_release(s);
    }
    env_down(&t.e);
}

static void items_come_by_revision_in_both_orders(void)
{
    static const uint64_t ids[] = {5, 3, 9, 1, 7};
    two t;
    vtag_snap *s;
    size_t i, n, cap, at;
    vtag_item it[8];
    uint64_t cursor;
    two_up(&t);
    for (i = 0; i < 5; i++) put2(t.e.db, ids[i], "x", t.a, 1, 0);
    put2(t.e.db, 9, "y", t.a, 1, 0); /* 5 3 1 7 9 now */
    s = look(t.e.db);
    for (cap = 1; cap <= 6; cap++) {
        static const uint64_t want[] = {5, 3, 1, 7, 9};
        for (cursor = 0, at = 0;;) {
            OK(vtag_items(s, 0, VTAG_ALL | VTAG_OLDEST_FIRST, &cursor, it, cap, &n));
            if (!n) break;
            for (i = 0; i < n && at < 5; i++) CHECK_EQ(it[i].id, want[at++]);
        }
        CHECK_EQ(at, 5);
        for (cursor = 0, at = 5;;) {
            OK(vtag_items(s, t.a, VTAG_FRESH | VTAG_NEWEST_FIRST, &cursor, it, cap, &n));
            if (!n) break;
            for (i = 0; i < n && at > 0; i++) CHECK_EQ(it[i].id, want[--at]);
        }
        CHECK_EQ(at, 0);
    }
    vtag_release(s);
    env_down(&t.e);
}

static void a_cursor_stays_good_in_later_snapshots(void)
{
    two t;
    uint64_t cursor = 0, i, seen = 0;
    two_up(&t);
    for (i = 0; i < 30; i++) put2(t.e.db, i, "x", t.a, 1, 0);
    for (;;) { /* backfill two at a time, never pinning a snapshot */
        vtag_snap *s = look(t.e.db);
        vtag_item it[2];
        size_t n, k;
        OK(vtag_items(s, t.b, VTAG_PENDING, &cursor, it, 2, &n));
        for (k = 0; k < n; k++) OK(fill2(t.e.db, it[k].id, it[k].rev, t.b, 0, 1));
        vtag_release(s);
        if (!n) break;
        seen += n;
        if (seen == 10) OK(del(t.e.db, 20));
        if (seen == 12) env_reopen(&t.e);
    }
    CHECK_EQ(seen, 29);
    CHECK_EQ(pending_of(t.e.db, t.b), 0);
    env_down(&t.e);
}

static void listing_needs_states_and_a_known_tag(void)
{
    two t;
    vtag_snap *s;
    vtag_item it;
    uint64_t cursor = 0;
    size_t n = 7;
    two_up(&t);
    OK(retire(t.e.db, t.b, NULL, NULL));
    s = look(t.e.db);
    ERR(VTAG_NOTAG, vtag_items(s, 77, VTAG_ALL, &cursor, &it, 1, &n));
    ERR(VTAG_RETIRED, vtag_items(s, t.b, VTAG_ALL, &cursor, &it, 1, &n));
    ERR(VTAG_ARG, vtag_items(s, t.a, VTAG_ALL | VTAG_NEWEST_FIRST | VTAG_OLDEST_FIRST, &cursor, &it, 1, &n));
    ERR(VTAG_ARG, vtag_items(s, t.a, VTAG_ALL, NULL, &it, 1, &n));
    vtag_release(s);
    env_down(&t.e);
}

/* ---- Metadata ------------------------------------------------------------------------ */

static void metadata_is_kept_replaced_and_removed(void)
{
    two t;
    vtag_batch *b;
    vtag_snap *s;
    const void *p;
    size_t n;
    two_up(&t);
    b = begin(t.e.db);
    OK(vtag_meta_set(b, "probe", "abc", 3));
    OK(vtag_meta_set(b, "empty", "", 0));
    OK(vtag_meta_set(b, "probe", "longer", 6));
    OK(vtag_meta_set(b, "gone", "x", 1));
    OK(vtag_meta_set(b, "gone", NULL, 0));
    ERR(VTAG_ARG, vtag_meta_set(b, "", "x", 1));
    ERR(VTAG_ARG, vtag_meta_set(b, NULL, "x", 1));
    OK(vtag_commit(b));
    env_reopen(&t.e);
    s = look(t.e.db);
    OK(vtag_meta_get(s, "probe", &p, &n));
    CHECK(n == 6 && !memcmp(p, "longer", 6));
    OK(vtag_meta_get(s, "empty", &p, &n));
    CHECK_EQ(n, 0);
    ERR(VTAG_NOTFOUND, vtag_meta_get(s, "gone", &p, &n));
    vtag_release(s);
    env_down(&t.e);
}

static void names_of_metadata_are_listed(void)
{
    two t;
    vtag_batch *b;
    vtag_snap *s;
    const char *names[4];
    uint64_t cursor = 0;
    size_t n, i, sum = 0;
    int seen = 0;
    two_up(&t);
    b = begin(t.e.db);
    for (i = 0; i < 10; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%d", (int)i);
        OK(vtag_meta_set(b, name, &i, sizeof i));
    }
    OK(vtag_commit(b));
    s = look(t.e.db);
    for (;;) {
        OK(vtag_metas(s, &cursor, names, 4, &n));
        if (!n) break;
        for (i = 0; i < n; i++) seen |= 1 << (names[i][1] - '0');
        sum += n;
    }
    CHECK_EQ(sum, 10);
    CHECK_EQ(seen, 1023);
    vtag_release(s);
    env_down(&t.e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(an_item_comes_back_with_its_payload_revision_and_time);
    RUN(an_item_that_is_not_there_is_not_found);
    RUN(id_zero_is_legal_and_the_largest_is_not);
    RUN(a_deleted_item_is_gone_under_every_tag);
    RUN(an_item_put_again_after_deletion_gets_a_revision_never_used_before);
    RUN(the_last_write_of_an_id_in_a_batch_wins);
    RUN(an_aborted_batch_changes_nothing);
    RUN(an_empty_batch_writes_nothing);
    RUN(a_first_payload_that_was_embedded_keeps_revision_and_vectors);
    RUN(an_equal_payload_keeps_the_revision_and_replaces_the_vectors_given);
    RUN(an_equal_payload_makes_no_other_tag_stale);
    RUN(without_a_payload_equal_vectors_keep_the_revision);
    RUN(minus_zero_is_another_vector);
    RUN(more_or_fewer_parts_are_other_content);
    RUN(a_stale_vector_given_again_is_a_new_revision);
    RUN(nothing_given_for_an_existing_item_is_a_no_op);
    RUN(an_item_needs_neither_vectors_nor_payload);
    RUN(a_put_with_the_wrong_expected_revision_is_refused);
    RUN(null_keeps_the_payload_and_size_zero_clears_it);
    RUN(a_payload_may_hold_any_bytes_and_a_megabyte);
    RUN(the_id_of_a_key_is_xxh64);
    RUN(a_key_names_its_item);
    RUN(keys_have_1_to_255_bytes);
    RUN(an_id_held_without_a_key_is_not_taken_over);
    RUN(a_put_by_id_alone_keeps_the_key);
    RUN(fill_and_waive_take_a_key_as_well);
    RUN(bad_vectors_are_refused_and_leave_the_batch_good);
    RUN(a_zero_vector_is_good_where_no_norm_is_needed);
    RUN(a_tag_that_is_retired_takes_no_vectors);
    RUN(a_read_only_handle_starts_no_batch);
    RUN(a_second_batch_is_locked_out_until_the_first_ends);
    RUN(items_come_by_id_at_any_page_size);
    RUN(items_come_by_revision_in_both_orders);
    RUN(a_cursor_stays_good_in_later_snapshots);
    RUN(listing_needs_states_and_a_known_tag);
    RUN(metadata_is_kept_replaced_and_removed);
    RUN(names_of_metadata_are_listed);
    return t_end();
}
