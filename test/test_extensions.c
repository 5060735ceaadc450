/* What version 3 of the format added to tags, events and policies: an alias, extensions, terms
   of the gate; how they come back, what of them is refused, and what older files say. */
#include "engine.h"
#include "test.h"
#include "util.h"

static vtag_err alias(vtag_db *db, vtag_tag tag, const char *name, const char *reason)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_alias(b, tag, name, reason);
    OK(vtag_commit(b));
    return err;
}

static void reopen(env *e)
{
    vtag_close(e->db);
    e->db = env_open(e, "t.vtag", VTAG_EXISTING);
}

/* ---- An alias ------------------------------------------------------------------------ */

static void a_tag_answers_to_its_alias_for_good(void)
{
    env e;
    vtag_tag t, found;
    vtag_info info;
    vtag_snap *s;
    int i;
    env_up(&e);
    t = declare(e.db, "legacy@0", 2, VTAG_COSINE);
    put2(e.db, 1, "x", t, 1, 0);
    OK(alias(e.db, t, "minilm@2/chunk-64", "its vectors were compared"));
    for (i = 0; i < 4; i++) {
        s = look(e.db);
        OK(vtag_find(s, "minilm@2/chunk-64", &found));
        CHECK_EQ(found, t);
        OK(vtag_find(s, "legacy@0", &found));
        CHECK_EQ(found, t);
        OK(vtag_tag_info(s, t, &info));
        CHECK_STR(info.spec.name, "legacy@0");
        CHECK_STR(info.alias, "minilm@2/chunk-64");
        vtag_release(s);
        verify(e.db);
        if (i == 0) reopen(&e);
        if (i == 1) OK(vtag_seal(e.db, NULL, NULL));
        if (i == 2) OK(vtag_compact(e.db, NULL, NULL));
    }
    CHECK_EQ(newest_event(e.db, VTAG_K_ALIAS).tag, t);
    env_down(&e);
}

static void an_alias_is_one_and_nobody_elses(void)
{
    env e;
    vtag_tag a, b, found;
    vtag_batch *batch;
    vtag_snap *s;
    vtag_spec spec = {0};
    env_up(&e);
    a = declare(e.db, "m@1", 2, VTAG_COSINE);
    b = declare(e.db, "m@2", 2, VTAG_COSINE);
    ERR(VTAG_ARG, alias(e.db, a, "n@1", NULL));
    ERR(VTAG_ARG, alias(e.db, a, NULL, "why"));
    ERR(VTAG_NAME, alias(e.db, a, "No Name", "why"));
    ERR(VTAG_NOTAG, alias(e.db, a + 7, "n@1", "why"));
    ERR(VTAG_EXISTS, alias(e.db, a, "m@2", "why"));
    ERR(VTAG_EXISTS, alias(e.db, a, "m@1", "why"));
    OK(alias(e.db, a, "n@1", "why"));
    OK(alias(e.db, a, "n@1", "the same again changes nothing"));
    ERR(VTAG_EXISTS, alias(e.db, a, "n@2", "why"));
    ERR(VTAG_EXISTS, alias(e.db, b, "n@1", "why"));
    s = look(e.db);
    ERR(VTAG_NOTAG, vtag_find(s, "n@3", &found)); /* no name and no alias */
    OK(vtag_find(s, "m@2", &found));
    CHECK_EQ(found, b);
    vtag_release(s);
    batch = begin(e.db);
    spec.name = "n@1";
    spec.dim = 2;
    ERR(VTAG_EXISTS, vtag_declare(batch, &spec, &b));
    vtag_abort(batch);
    env_down(&e);
}

/* A restore takes aliases over, without a reason and without a line in the history. */
static void a_restore_gives_aliases_back(void)
{
    env e;
    vtag_db *db;
    vtag_batch *b;
    vtag_begin_opts o = {0};
    vtag_event ev = {0};
    vtag_snap *s;
    uint64_t cursor = 0;
    size_t n;
    vtag_info info;
    vtag_tag t;
    env_up(&e);
    t = declare(e.db, "legacy@0", 2, VTAG_COSINE);
    OK(alias(e.db, t, "minilm@2", "why"));
    s = look(e.db);
    OK(vtag_tag_info(s, t, &info));
    info.written = 40; /* more than there are */
    db = env_open(&e, "to.vtag", VTAG_NEW);
    o.restore = 1;
    o.by = "who restores";
    MUST(vtag_begin(db, &o, &b));
    OK(vtag_restore_tag(b, &info));
    info.spec.name = "other@1";
    info.alias = NULL;
    OK(vtag_restore_tag(b, &info));
    OK(try_declare(b, "other@1", 2, VTAG_COSINE, &t));
    OK(vtag_alias(b, t, "another@1", NULL));
    ev.kind = VTAG_K_NOTE;
    ev.seq = 1;
    ev.time = 1;
    ev.text = "as it was noted";
    OK(vtag_note(b, &ev));
    OK(vtag_commit(b));
    CHECK_STR(info_of(db, t).alias, "another@1");
    CHECK_EQ(info_of(db, t).written, 40);
    vtag_release(s);
    s = look(db);
    OK(vtag_history(s, &cursor, &ev, 1, &n));
    CHECK_EQ(n, 1);
    CHECK_STR(ev.text, "as it was noted");
    CHECK(ev.by == NULL);
    vtag_release(s);
    verify(db);
    vtag_close(db);
    env_down(&e);
}

/* ---- Extensions ------------------------------------------------------------------------ */

static vtag_event a_run(vtag_tag tag)
{
    vtag_event ev = {0};
    ev.kind = VTAG_K_IMPORT;
    ev.tag = tag;
    ev.by = "someone";
    ev.command = "vtag import notes.jsonl";
    ev.in = 10;
    ev.filled = 7;
    ev.waived = 2;
    ev.failed_items = 1;
    ev.audit.sampled = 100;
    ev.audit.worst = 0.5;
    ev.audit.to = 99;
    ev.text = "twelve";
    return ev;
}

static void an_event_says_who_what_and_how_many(void)
{
    env e;
    vtag_event want, got;
    uint64_t cursor = 1;
    size_t n;
    int i;
    env_up(&e);
    want = a_run(declare(e.db, "m@1", 2, VTAG_COSINE));
    OK(note(e.db, &want));
    for (i = 0; i < 3; i++) {
        vtag_snap *s = look(e.db);
        cursor = 2;
        OK(vtag_history(s, &cursor, &got, 1, &n));
        CHECK_EQ(n, 1);
        CHECK_STR(got.by, want.by);
        CHECK_STR(got.command, want.command);
        CHECK_STR(got.text, want.text);
        CHECK_EQ(got.in, 10);
        CHECK_EQ(got.filled, 7);
        CHECK_EQ(got.waived, 2);
        CHECK_EQ(got.failed_items, 1);
        CHECK(!memcmp(&got.audit, &want.audit, sizeof got.audit));
        CHECK_EQ(got.flags, 0);
        vtag_release(s);
        verify(e.db);
        if (i == 0) reopen(&e);
        if (i == 1) OK(vtag_compact(e.db, NULL, NULL));
    }
    env_down(&e);
}

/* Each of the members by itself is reason enough to write extensions, and comes back alone. */
static void each_member_comes_back_by_itself(void)
{
    env e;
    vtag_tag tag;
    size_t i;
    env_up(&e);
    tag = declare(e.db, "m@1", 2, VTAG_COSINE);
    for (i = 0; i < 6; i++) {
        vtag_event ev = {0}, got;
        ev.kind = VTAG_K_BACKFILL;
        ev.tag = tag;
        if (i == 0) ev.command = "vtag backfill";
        if (i == 1) ev.in = 1;
        if (i == 2) ev.filled = 2;
        if (i == 3) ev.waived = 3;
        if (i == 4) ev.failed_items = 4;
        OK(note(e.db, &ev));
        reopen(&e);
        got = newest_event(e.db, VTAG_K_BACKFILL);
        CHECK_STR(got.command, i == 0 ? "vtag backfill" : NULL);
        CHECK_EQ(got.in, i == 1 ? 1 : 0);
        CHECK_EQ(got.filled, i == 2 ? 2 : 0);
        CHECK_EQ(got.waived, i == 3 ? 3 : 0);
        CHECK_EQ(got.failed_items, i == 4 ? 4 : 0);
        CHECK(got.by == NULL);
    }
    verify(e.db);
    env_down(&e);
}

static void an_actor_or_a_command_that_is_too_long_is_refused(void)
{
    env e;
    vtag_event ev;
    char text[1100];
    env_up(&e);
    ev = a_run(declare(e.db, "m@1", 2, VTAG_COSINE));
    memset(text, 'x', sizeof text);
    text[1025] = 0;
    ev.command = text;
    ERR(VTAG_ARG, note(e.db, &ev));
    ev.command = text + 1;
    OK(note(e.db, &ev));
    ev.by = text + 1025 - 256;
    ERR(VTAG_ARG, note(e.db, &ev));
    ev.by = text + 1025 - 255;
    OK(note(e.db, &ev));
    verify(e.db);
    env_down(&e);
}

static void a_gate_that_asks_for_what_nothing_measured_holds(void)
{
    env e;
    vtag_policy policy = {0};
    vtag_gate gate = {0};
    vtag_verdict v;
    vtag_tag a, b;
    vtag_vec both[2];
    env_up(&e);
    a = declare(e.db, "m@1", 2, VTAG_COSINE);
    b = declare(e.db, "m@2", 2, VTAG_COSINE);
    both[0] = v2(a, 1, 0);
    both[1] = v2(b, 1, 0);
    put(e.db, 1, "x", both, 2);
    gate.min_audit_ppm = 950000;
    OK(judge(e.db, b, &gate, &v));
    CHECK_EQ(v.failed, VTAG_TERM_AUDIT);
    policy.gate.min_recall_ppm = 900000;
    OK(set_policy(e.db, &policy, "measured upgrades only"));
    reopen(&e);
    ERR(VTAG_GATE, cutover(e.db, b, NULL, &v));
    CHECK_EQ(v.failed, VTAG_TERM_RECALL);
    gate.min_audit_ppm = 0;
    gate.min_recall_ppm = VTAG_NONE;
    ERR(VTAG_ARG, cutover(e.db, b, &gate, &v)); /* below the policy: with a reason only */
    gate.reason = "an emergency";
    OK(cutover(e.db, b, &gate, &v));
    CHECK(info_of(e.db, b).forced);
    env_down(&e);
}

/* ---- Older files --------------------------------------------------------------------- */

static void put_golden(env *e, const char *file, const char *name)
{
    FILE *f = fopen(file, "rb");
    static uint8_t bytes[1 << 20];
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    void *made;
    REQUIRE(n > 0);
    fclose(f);
    MUST(e->r.io.open(&e->r, name, VTAG_NEW, &made));
    OK(e->r.io.allocate(made, n));
    OK(e->r.io.write(made, 0, bytes, n));
    e->r.io.close(made);
}

/* A file of before is written as it was, says what it cannot hold, and is new once compacted. */
static void a_file_of_version_2_holds_them_after_a_compaction(void)
{
    env e;
    vtag_db *db;
    vtag_stat before, after;
    vtag_event ev = {0}, plain = {0};
    vtag_policy policy = {0};
    vtag_begin_opts opts = {0};
    vtag_batch *b;
    vtag_tag tag;
    vtag_snap *s;
    uint64_t hash;
    env_up(&e);
    put_golden(&e, "test/golden-2.vtag", "old.vtag");
    plain.kind = VTAG_K_NOTE;
    plain.text = "a note";
    db = env_open(&e, "old.vtag", VTAG_EXISTING);
    s = look(db);
    OK(vtag_find(s, "words@1", &tag));
    vtag_release(s);
    put2(db, 77, "text in an old file", tag, 1, 2);
    CHECK_EQ(info_of(db, tag).written, 0);
    opts.by = "somebody, which an old file does not keep";
    MUST(vtag_begin(db, &opts, &b));
    OK(vtag_note(b, &plain));
    OK(vtag_commit(b));
    CHECK(newest_event(db, VTAG_K_NOTE).by == NULL);
    ev = a_run(tag);
    policy.gate.min_audit_ppm = 1;
    ERR(VTAG_FORMAT, note(db, &ev));
    ERR(VTAG_FORMAT, alias(db, tag, "n@1", "why"));
    ERR(VTAG_FORMAT, set_policy(db, &policy, "why"));
    verify(db);
    OK(vtag_seal(db, NULL, NULL));
    vtag_close(db);
    db = env_open(&e, "old.vtag", VTAG_EXISTING);
    OK(note(db, &plain));
    verify(db);
    hash = hash_of(db);
    before = stat_of(db);
    OK(vtag_compact(db, NULL, NULL));
    after = stat_of(db);
    CHECK_EQ(hash_of(db), hash);
    CHECK(before.live_bytes <= after.file_bytes + 131072 && after.file_bytes <= before.live_bytes + 131072);
    OK(note(db, &ev));
    OK(alias(db, tag, "n@1", "why"));
    OK(set_policy(db, &policy, "why"));
    verify(db);
    vtag_close(db);
    env_down(&e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_tag_answers_to_its_alias_for_good);
    RUN(an_alias_is_one_and_nobody_elses);
    RUN(a_restore_gives_aliases_back);
    RUN(an_event_says_who_what_and_how_many);
    RUN(each_member_comes_back_by_itself);
    RUN(an_actor_or_a_command_that_is_too_long_is_refused);
    RUN(a_gate_that_asks_for_what_nothing_measured_holds);
    RUN(a_file_of_version_2_holds_them_after_a_compaction);
    return t_end();
}
