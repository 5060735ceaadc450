/* test_tags.c - names, numbers, declaration and roles of tags */
#include "engine.h"
#include "test.h"
#include "util.h"

static vtag_err declares_as(env *e, const char *name, vtag_tag *tag)
{
    vtag_batch *b = begin(e->db);
    vtag_err err = try_declare(b, name, 2, VTAG_COSINE, tag);
    OK(vtag_commit(b));
    return err;
}

/* ---- Names ---------------------------------------------------------------- */

static void legal_names_are_taken(void)
{
    static const char *const good[] = {
        "a@1", "minilm-l6@2", "minilm-l6@2/chunk-512", "minilm-l6@2/chunk-512/norm-l2",
        "text_embedding.3@2024-05-13", "0@0", "a@b/c.d_e-f/0",
    };
    env e;
    size_t i;
    env_up(&e);
    for (i = 0; i < LENGTH(good); i++) {
        vtag_tag tag = 0;
        if (!OK(declares_as(&e, good[i], &tag))) fprintf(stderr, "name %s\n", good[i]);
        CHECK(tag != 0);
    }
    env_down(&e);
}

static void malformed_names_are_refused(void)
{
    static const char *const bad[] = {
        "", "a", "@", "a@", "@1", "a@1@2", "A@1", "BAAI/bge-small@1", "a b@1", "a@1 ",
        "a@1//b", "/a@1", "a/b@1", "\xC3\xA9@1", "a@1/B", "a:b@1", "a@1\n",
    };
    env e;
    size_t i;
    env_up(&e);
    for (i = 0; i < LENGTH(bad); i++) {
        vtag_tag tag = 77;
        if (!ERR(VTAG_NAME, declares_as(&e, bad[i], &tag))) fprintf(stderr, "name \"%s\"\n", bad[i]);
        CHECK_EQ(tag, 77); /* out-parameters are written on success only */
    }
    CHECK_EQ(stat_of(e.db).tags, 0);
    env_down(&e);
}

static void a_name_has_at_most_255_bytes(void)
{
    char name[300];
    env e;
    vtag_tag tag = 0;
    env_up(&e);
    memset(name, 'a', sizeof name);
    memcpy(name, "m@1/", 4);
    name[256] = 0;
    ERR(VTAG_NAME, declares_as(&e, name, &tag));
    name[255] = 0;
    OK(declares_as(&e, name, &tag));
    env_down(&e);
}

static void a_missing_name_or_spec_is_an_argument_error(void)
{
    vtag_spec none;
    vtag_tag tag;
    env e;
    vtag_batch *b;
    env_up(&e);
    memset(&none, 0, sizeof none);
    none.dim = 2;
    b = begin(e.db);
    CHECK(vtag_declare(b, &none, &tag) != VTAG_OK);
    CHECK(vtag_declare(b, NULL, &tag) != VTAG_OK);
    OK(vtag_commit(b));
    env_down(&e);
}

/* ---- Numbers --------------------------------------------------------------- */

static void numbers_count_models_versions_and_preparations_apart(void)
{
    static const struct { const char *name; vtag_tag tag; } want[] = {
        {"a@1", 1u << 20 | 1u << 8 | 1u},       {"a@2", 1u << 20 | 2u << 8 | 1u},
        {"b@7", 2u << 20 | 1u << 8 | 1u},       {"a@1/chunk", 1u << 20 | 1u << 8 | 2u},
        {"b@7/x/y", 2u << 20 | 1u << 8 | 2u},   {"b@6", 2u << 20 | 2u << 8 | 1u},
        {"a@2/chunk", 1u << 20 | 2u << 8 | 2u}, {"b@7/x", 2u << 20 | 1u << 8 | 3u},
    };
    env e;
    size_t i;
    env_up(&e);
    for (i = 0; i < LENGTH(want); i++)
        CHECK_EQ(declare(e.db, want[i].name, 2, VTAG_COSINE), want[i].tag);
    CHECK_EQ(VTAG_TAG_MODEL(want[7].tag), 2);
    CHECK_EQ(VTAG_TAG_VERSION(want[7].tag), 1);
    CHECK_EQ(VTAG_TAG_PREPARATION(want[7].tag), 3);
    env_down(&e);
}

static void numbers_survive_reopen_and_are_never_reused(void)
{
    env e;
    vtag_tag b2;
    env_up(&e);
    declare(e.db, "a@1", 2, VTAG_COSINE);
    b2 = declare(e.db, "a@2", 2, VTAG_COSINE);
    OK(retire(e.db, b2, "never used", NULL));
    OK(vtag_compact(e.db, NULL, NULL));
    env_reopen(&e);
    CHECK_EQ(declare(e.db, "a@3", 2, VTAG_COSINE), 1u << 20 | 3u << 8 | 1u);
    env_down(&e);
}

/* Declares prefix1 to prefix<n>; the last. */
static vtag_tag declare_all(vtag_batch *b, const char *prefix, int n)
{
    vtag_tag tag = 0;
    int i;
    for (i = 1; i <= n; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", prefix, i);
        MUST(try_declare(b, name, 2, VTAG_COSINE, &tag));
    }
    return tag;
}

static void the_255th_preparation_is_the_last(void)
{
    env e;
    vtag_tag tag;
    vtag_batch *b;
    env_up(&e);
    b = begin(e.db);
    tag = declare_all(b, "m@1/p-", 255);
    CHECK_EQ(VTAG_TAG_PREPARATION(tag), 255);
    ERR(VTAG_FULL, try_declare(b, "m@1/one-more", 2, VTAG_COSINE, &tag));
    vtag_abort(b);
    env_down(&e);
}

static void the_4095th_version_is_the_last(void)
{
    env e;
    vtag_tag tag;
    vtag_batch *b;
    env_up(&e);
    b = begin(e.db);
    tag = declare_all(b, "m@", 4095);
    CHECK_EQ(VTAG_TAG_VERSION(tag), 4095);
    OK(vtag_commit(b));
    env_reopen(&e);
    CHECK_EQ(stat_of(e.db).tags, 4095);
    b = begin(e.db);
    ERR(VTAG_FULL, try_declare(b, "m@4096", 2, VTAG_COSINE, &tag));
    vtag_abort(b);
    env_down(&e);
}

/* ---- Declaration ------------------------------------------------------------- */

static void declaring_again_gives_the_same_tag_and_writes_nothing(void)
{
    env e;
    vtag_tag tag;
    uint64_t commit;
    env_up(&e);
    tag = declare(e.db, "a@1/x", 2, VTAG_DOT);
    commit = stat_of(e.db).commit;
    ram_reset_counts(&e.r);
    CHECK_EQ(declare(e.db, "a@1/x", 2, VTAG_DOT), tag);
    CHECK_EQ(e.r.writes, 0);
    CHECK_EQ(stat_of(e.db).commit, commit);
    env_down(&e);
}

static void another_dim_metric_or_flag_under_a_name_is_refused(void)
{
    env e;
    vtag_tag tag;
    vtag_spec spec;
    vtag_batch *b;
    env_up(&e);
    declare(e.db, "a@1", 2, VTAG_COSINE);
    b = begin(e.db);
    ERR(VTAG_EXISTS, try_declare(b, "a@1", 3, VTAG_COSINE, &tag));
    ERR(VTAG_EXISTS, try_declare(b, "a@1", 2, VTAG_DOT, &tag));
    memset(&spec, 0, sizeof spec);
    spec.name = "a@1";
    spec.dim = 2;
    spec.flags = VTAG_ASSUMED;
    ERR(VTAG_EXISTS, vtag_declare(b, &spec, &tag));
    OK(vtag_commit(b));
    env_down(&e);
}

static void another_fingerprint_is_refused_and_zero_matches_any(void)
{
    env e;
    vtag_tag first = 0, again = 0;
    vtag_spec spec;
    vtag_batch *b;
    env_up(&e);
    memset(&spec, 0, sizeof spec);
    spec.name = "a@1";
    spec.dim = 2;
    spec.fingerprint = 0xABCDEF;
    b = begin(e.db);
    OK(vtag_declare(b, &spec, &first));
    spec.fingerprint = 0xABCDEE;
    ERR(VTAG_EXISTS, vtag_declare(b, &spec, &again));
    spec.fingerprint = 0;
    OK(vtag_declare(b, &spec, &again));
    CHECK_EQ(first, again);
    OK(vtag_commit(b));
    env_down(&e);
}

static void dims_and_codecs_out_of_range_are_argument_errors(void)
{
    env e;
    vtag_tag tag;
    vtag_spec spec;
    vtag_batch *b;
    env_up(&e);
    b = begin(e.db);
    ERR(VTAG_ARG, try_declare(b, "a@1", 0, VTAG_COSINE, &tag));
    ERR(VTAG_ARG, try_declare(b, "a@1", 32769, VTAG_COSINE, &tag));
    ERR(VTAG_ARG, try_declare(b, "a@1", 2, (vtag_metric)3, &tag));
    memset(&spec, 0, sizeof spec);
    spec.name = "a@1";
    spec.dim = 2;
    spec.codec = (vtag_codec)3;
    ERR(VTAG_ARG, vtag_declare(b, &spec, &tag));
    OK(try_declare(b, "a@1", 32768, VTAG_COSINE, &tag));
    OK(vtag_commit(b));
    env_down(&e);
}

static void a_spec_comes_back_as_it_was_given(void)
{
    env e;
    vtag_tag tag = 0, found = 0;
    vtag_spec spec;
    vtag_info info;
    vtag_batch *b;
    vtag_snap *s;
    env_up(&e);
    memset(&spec, 0, sizeof spec);
    spec.name = "e5@3/query-prefix";
    spec.dim = 17;
    spec.metric = VTAG_L2SQ;
    spec.fingerprint = 0x123456789ABCDEFu;
    spec.flags = VTAG_ASSUMED | VTAG_NO_SKETCH;
    spec.note = "prompt: query: ";
    b = begin(e.db);
    OK(vtag_declare(b, &spec, &tag));
    OK(vtag_commit(b));
    env_reopen(&e);
    s = look(e.db);
    OK(vtag_find(s, "e5@3/query-prefix", &found));
    CHECK_EQ(found, tag);
    OK(vtag_tag_info(s, tag, &info));
    CHECK_STR(info.spec.name, spec.name);
    CHECK_STR(info.spec.note, spec.note);
    CHECK_EQ(info.spec.dim, 17);
    CHECK_EQ(info.spec.metric, VTAG_L2SQ);
    CHECK_EQ(info.spec.fingerprint, spec.fingerprint);
    CHECK_EQ(info.spec.flags, spec.flags);
    CHECK_EQ(info.created, e.r.clock);
    ERR(VTAG_NOTAG, vtag_find(s, "e5@3", &found));
    ERR(VTAG_NOTAG, vtag_tag_info(s, tag + 1, &info));
    vtag_release(s);
    env_down(&e);
}

static void a_note_of_4096_bytes_fits_and_one_more_does_not(void)
{
    static char text[4098];
    env e;
    vtag_tag tag;
    vtag_spec spec;
    vtag_batch *b;
    env_up(&e);
    memset(text, 'n', 4097);
    memset(&spec, 0, sizeof spec);
    spec.name = "a@1";
    spec.dim = 2;
    spec.note = text;
    b = begin(e.db);
    ERR(VTAG_ARG, vtag_declare(b, &spec, &tag));
    text[4096] = 0;
    OK(vtag_declare(b, &spec, &tag));
    OK(vtag_commit(b));
    env_down(&e);
}

static void a_retired_name_cannot_be_declared_again(void)
{
    env e;
    vtag_tag tag, again;
    vtag_batch *b;
    vtag_snap *s;
    env_up(&e);
    declare(e.db, "a@1", 2, VTAG_COSINE);
    tag = declare(e.db, "a@2", 2, VTAG_COSINE);
    OK(retire(e.db, tag, NULL, NULL));
    b = begin(e.db);
    ERR(VTAG_RETIRED, try_declare(b, "a@2", 2, VTAG_COSINE, &again));
    OK(vtag_commit(b));
    s = look(e.db);
    OK(vtag_find(s, "a@2", &again)); /* but it is still found by name */
    CHECK_EQ(again, tag);
    vtag_release(s);
    CHECK_EQ(role_of(e.db, tag), VTAG_GONE);
    env_down(&e);
}

static void an_aborted_declaration_leaves_no_trace(void)
{
    env e;
    vtag_tag tag = 0;
    vtag_batch *b;
    env_up(&e);
    b = begin(e.db);
    OK(try_declare(b, "a@1", 2, VTAG_COSINE, &tag));
    vtag_abort(b);
    CHECK_EQ(stat_of(e.db).tags, 0);
    CHECK_EQ(stat_of(e.db).active, 0);
    CHECK_EQ(declare(e.db, "b@1", 2, VTAG_COSINE), 1u << 20 | 1u << 8 | 1u);
    env_down(&e);
}

/* ---- Roles ---------------------------------------------------------------------- */

static void the_first_tag_is_active_and_later_ones_are_candidates(void)
{
    env e;
    vtag_tag a, b;
    vtag_info info;
    vtag_snap *s;
    env_up(&e);
    s = look(e.db);
    ERR(VTAG_NOTAG, vtag_tag_info(s, 0, &info)); /* none is active yet */
    vtag_release(s);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    b = declare(e.db, "a@2", 2, VTAG_COSINE);
    CHECK_EQ(role_of(e.db, a), VTAG_ACTIVE);
    CHECK_EQ(role_of(e.db, b), VTAG_CANDIDATE);
    CHECK_EQ(stat_of(e.db).active, a);
    CHECK_EQ(stat_of(e.db).standby, 0);
    CHECK_EQ(info_of(e.db, 0).tag, a);
    CHECK_EQ(info_of(e.db, a).activated, e.r.clock);
    CHECK_EQ(info_of(e.db, b).activated, 0);
    env_down(&e);
}

static void tags_come_in_order_of_declaration_at_any_page_size(void)
{
    env e;
    vtag_tag want[7];
    size_t cap, i;
    env_up(&e);
    for (i = 0; i < 7; i++) {
        char name[16];
        snprintf(name, sizeof name, "%c@%d", (int)('g' - i), (int)(i % 2));
        want[i] = declare(e.db, name, 2, VTAG_COSINE);
    }
    for (cap = 1; cap <= 8; cap++) {
        vtag_info got[8];
        vtag_snap *s = look(e.db);
        uint64_t cursor = 0;
        size_t at = 0, n;
        for (;;) {
            OK(vtag_tags(s, &cursor, got, cap, &n));
            CHECK(n <= cap);
            if (!n) break;
            for (i = 0; i < n && at < 7; i++) CHECK_EQ(got[i].tag, want[at++]);
        }
        CHECK_EQ(at, 7);
        vtag_release(s);
    }
    env_down(&e);
}

static void writes_with_and_without_a_tag_are_counted_since_its_declaration(void)
{
    env e;
    vtag_tag a, b;
    vtag_vec both[2];
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    put2(e.db, 1, "one", a, 1, 0);
    b = declare(e.db, "a@2", 2, VTAG_COSINE);
    put2(e.db, 2, "two", a, 1, 0);
    both[0] = v2(a, 0, 1);
    both[1] = v2(b, 1, 1);
    put(e.db, 3, "three", both, 2);
    put2(e.db, 3, "three", a, 1, 0); /* the same payload: no new revision */
    CHECK_EQ(info_of(e.db, a).writes_with, 3);
    CHECK_EQ(info_of(e.db, a).writes_without, 0);
    CHECK_EQ(info_of(e.db, b).writes_with, 1);
    CHECK_EQ(info_of(e.db, b).writes_without, 1);
    env_down(&e);
}

static void items_and_rows_of_a_tag_count_the_live(void)
{
    env e;
    vtag_tag a;
    vtag_vec v[3];
    env_up(&e);
    a = declare(e.db, "a@1", 2, VTAG_COSINE);
    v[0] = v2(a, 1, 0);
    v[1] = v2(a, 0, 1);
    v[2] = v2(a, 1, 1);
    put(e.db, 1, "x", v, 3);
    put(e.db, 2, "y", v, 2);
    CHECK_EQ(info_of(e.db, a).items, 2);
    CHECK_EQ(info_of(e.db, a).rows, 5);
    CHECK(info_of(e.db, a).bytes >= 5 * 8);
    OK(del(e.db, 1));
    put(e.db, 2, "z", v, 1);
    CHECK_EQ(info_of(e.db, a).items, 1);
    CHECK_EQ(info_of(e.db, a).rows, 1);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(legal_names_are_taken);
    RUN(malformed_names_are_refused);
    RUN(a_name_has_at_most_255_bytes);
    RUN(a_missing_name_or_spec_is_an_argument_error);
    RUN(numbers_count_models_versions_and_preparations_apart);
    RUN(numbers_survive_reopen_and_are_never_reused);
    RUN(the_255th_preparation_is_the_last);
    RUN(the_4095th_version_is_the_last);
    RUN(declaring_again_gives_the_same_tag_and_writes_nothing);
    RUN(another_dim_metric_or_flag_under_a_name_is_refused);
    RUN(another_fingerprint_is_refused_and_zero_matches_any);
    RUN(dims_and_codecs_out_of_range_are_argument_errors);
    RUN(a_spec_comes_back_as_it_was_given);
    RUN(a_note_of_4096_bytes_fits_and_one_more_does_not);
    RUN(a_retired_name_cannot_be_declared_again);
    RUN(an_aborted_declaration_leaves_no_trace);
    RUN(the_first_tag_is_active_and_later_ones_are_candidates);
    RUN(tags_come_in_order_of_declaration_at_any_page_size);
    RUN(writes_with_and_without_a_tag_are_counted_since_its_declaration);
    RUN(items_and_rows_of_a_tag_count_the_live);
    return t_end();
}
