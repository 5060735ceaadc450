/* test_audit.c - what an audit of a tag's vectors counts for, the floor under every policy, who
   changed the file, and what the file counts to tell. */
#include "engine.h"
#include "test.h"
#include "util.h"

/* Items 1..n with a vector under `a`, which is active, and all of them under `b` too. */
typedef struct two_tags {
    env e;
    vtag_tag a, b;
} two_tags;

static void put_both(two_tags *t, uint64_t from, uint64_t to)
{
    vtag_batch *batch = begin(t->e.db);
    for (; from <= to; from++) {
        vtag_vec both[2];
        both[0] = v2(t->a, 1, (float)from);
        both[1] = v2(t->b, (float)from, 1);
        put_b(batch, from, "a text", both, 2);
    }
    OK(vtag_commit(batch));
}

static void two_tags_up(two_tags *t, uint64_t n)
{
    memset(t, 0, sizeof *t);
    env_up(&t->e);
    t->a = declare(t->e.db, "m@1", 2, VTAG_COSINE);
    t->b = declare(t->e.db, "m@2", 2, VTAG_COSINE);
    put_both(t, 1, n);
}

static vtag_event audit_of(const two_tags *t, uint64_t sampled, uint64_t below)
{
    vtag_event e = {0};
    e.kind = VTAG_K_AUDIT;
    e.tag = t->b;
    e.audit.sampled = sampled;
    e.audit.below = below;
    e.audit.worst = below ? 0.25 : 1;
    e.audit.written = info_of(t->e.db, t->b).written;
    return e;
}

/* The terms of b's gate that fail where `ppm` of an audit have to pass. */
static uint32_t failed_with(two_tags *t, uint32_t ppm, vtag_verdict *v)
{
    vtag_gate gate = {0};
    gate.min_audit_ppm = ppm;
    OK(judge(t->e.db, t->b, &gate, v));
    return v->failed;
}

static void a_gate_that_asks_for_an_audit_wants_the_newest_to_pass(void)
{
    two_tags t;
    vtag_verdict v;
    vtag_event e;
    two_tags_up(&t, 300);
    CHECK_EQ(failed_with(&t, 990000, &v), VTAG_TERM_AUDIT);
    CHECK_EQ(v.audit.sampled, 0);
    e = audit_of(&t, 200, 2);
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 990000, &v), 0);
    CHECK_EQ(v.audit.sampled, 200);
    CHECK_EQ(v.audit.below, 2);
    CHECK_EQ(failed_with(&t, 990001, &v), VTAG_TERM_AUDIT);
    e = audit_of(&t, 200, 100); /* half of them are another model's */
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 990000, &v), VTAG_TERM_AUDIT);
    CHECK_EQ(failed_with(&t, 500000, &v), 0);
    CHECK_EQ(failed_with(&t, VTAG_NONE, &v), 0);
    e = audit_of(&t, 200, 0);
    OK(note(t.e.db, &e));
    env_reopen(&t.e);
    CHECK_EQ(failed_with(&t, 1000000, &v), 0);
    OK(vtag_compact(t.e.db, NULL, NULL));
    CHECK_EQ(failed_with(&t, 1000000, &v), 0);
    env_down(&t.e);
}

static void an_audit_compares_a_hundred_vectors_or_all(void)
{
    two_tags t;
    vtag_verdict v;
    vtag_event e;
    two_tags_up(&t, 101);
    e = audit_of(&t, 99, 0);
    e.audit.untestable = 1;
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 1, &v), VTAG_TERM_AUDIT);
    e.audit.untestable = 2; /* that is all there is */
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 1, &v), 0);
    e = audit_of(&t, 100, 0);
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 1, &v), 0);
    e.audit.sampled = 0; /* nothing could be compared */
    e.audit.untestable = 101;
    OK(note(t.e.db, &e));
    CHECK_EQ(failed_with(&t, 1, &v), VTAG_TERM_AUDIT);
    env_down(&t.e);
}

/* By put, by fill of another vector, by fill of one that was stale: all of it is written since. */
static void an_audit_no_longer_counts_once_a_hundredth_was_written_since(void)
{
    two_tags t;
    vtag_verdict v;
    vtag_event e;
    two_tags_up(&t, 300);
    e = audit_of(&t, 300, 0);
    OK(note(t.e.db, &e));
    put_both(&t, 7, 7);
    CHECK_EQ(failed_with(&t, 990000, &v), 0); /* the same payload and vectors */
    CHECK_EQ(v.since, 0);
    OK(fill2(t.e.db, 8, 8, t.b, 3, 4));
    put2(t.e.db, 9, "another text", t.b, 5, 6);
    put2(t.e.db, 300, "a last one", t.b, 7, 8);
    OK(judge(t.e.db, t.b, NULL, &v));
    CHECK_EQ(info_of(t.e.db, t.b).written, 303);
    CHECK_EQ(failed_with(&t, 990000, &v) & VTAG_TERM_AUDIT, 0);
    CHECK_EQ(v.since, 3);
    OK(fill2(t.e.db, 10, 10, t.b, 3, 4));
    CHECK_EQ(failed_with(&t, 990000, &v) & VTAG_TERM_AUDIT, VTAG_TERM_AUDIT);
    CHECK_EQ(v.since, 4);
    OK(vtag_compact(t.e.db, NULL, NULL));
    CHECK_EQ(failed_with(&t, 990000, &v) & VTAG_TERM_AUDIT, VTAG_TERM_AUDIT);
    env_down(&t.e);
}

static void what_was_written_is_counted_through_everything(void)
{
    two_tags t;
    vtag_info info;
    int i;
    two_tags_up(&t, 50);
    for (i = 0; i < 20; i++) OK(fill2(t.e.db, 5, 5, t.b, 1, (float)(i + 2)));
    OK(del(t.e.db, 6));
    CHECK_EQ(info_of(t.e.db, t.b).written, 70);
    for (i = 0; i < 4; i++) {
        if (i == 0) env_reopen(&t.e);
        if (i == 1) OK(vtag_seal(t.e.db, NULL, NULL));
        if (i == 2) OK(vtag_compact(t.e.db, NULL, NULL));
        if (i == 3) env_reopen(&t.e);
        info = info_of(t.e.db, t.b);
        CHECK_EQ(info.written, 70);
        CHECK_EQ(info.rows, 49);
        verify(t.e.db);
    }
    for (i = 1; i <= 50; i++)
        if (i != 6) OK(del(t.e.db, (uint64_t)i));
    OK(vtag_compact(t.e.db, NULL, NULL));
    CHECK_EQ(info_of(t.e.db, t.b).written, 70);
    env_reopen(&t.e);
    CHECK_EQ(info_of(t.e.db, t.b).written, 70);
    env_down(&t.e);
}

static void an_audit_says_nothing_that_cannot_be(void)
{
    two_tags t;
    vtag_event e;
    two_tags_up(&t, 3);
    e = audit_of(&t, 3, 4);
    ERR(VTAG_ARG, note(t.e.db, &e));
    e = audit_of(&t, 3, 0);
    e.audit.worst = NAN;
    ERR(VTAG_ARG, note(t.e.db, &e));
    e = audit_of(&t, 3, 0);
    e.audit.written++;
    ERR(VTAG_ARG, note(t.e.db, &e));
    e = audit_of(&t, 3, 0);
    e.tag = 0;
    ERR(VTAG_NOTAG, note(t.e.db, &e));
    e.tag = t.b;
    OK(retire(t.e.db, t.b, NULL, NULL));
    ERR(VTAG_RETIRED, note(t.e.db, &e));
    env_down(&t.e);
}

static uint32_t flags_of(vtag_db *db, vtag_tag tag)
{
    vtag_info info;
    vtag_snap *s = look(db);
    OK(vtag_tag_info(s, tag, &info));
    vtag_release(s);
    return info.spec.flags;
}

static vtag_err alias(vtag_db *db, vtag_tag tag, const char *name)
{
    vtag_batch *b = begin(db);
    vtag_err err = vtag_alias(b, tag, name, NULL);
    OK(vtag_commit(b));
    return err;
}

static void an_audit_that_passes_lifts_assumed_and_lets_the_true_name_be_told(void)
{
    two_tags t;
    vtag_event e;
    vtag_spec spec = {0};
    vtag_batch *batch;
    vtag_tag same;
    two_tags_up(&t, 3);
    spec.name = "legacy@0";
    spec.dim = 2;
    spec.flags = VTAG_ASSUMED;
    batch = begin(t.e.db);
    OK(vtag_declare(batch, &spec, &t.b));
    OK(vtag_commit(batch));
    put2(t.e.db, 1, "a text", t.b, 1, 2);
    ERR(VTAG_ARG, alias(t.e.db, t.b, "minilm@2"));
    e = audit_of(&t, 1, 1);
    OK(note(t.e.db, &e));
    ERR(VTAG_ARG, alias(t.e.db, t.b, "minilm@2"));
    CHECK_EQ(flags_of(t.e.db, t.b), VTAG_ASSUMED);
    e = audit_of(&t, 1, 0);
    OK(note(t.e.db, &e));
    CHECK_EQ(flags_of(t.e.db, t.b), 0);
    OK(alias(t.e.db, t.b, "minilm@2"));
    CHECK(newest_event(t.e.db, VTAG_K_ALIAS).text == NULL);
    env_reopen(&t.e);
    CHECK_EQ(flags_of(t.e.db, t.b), 0);
    batch = begin(t.e.db);
    OK(vtag_declare(batch, &spec, &same)); /* as it was declared: the same tag */
    CHECK_EQ(same, t.b);
    OK(vtag_commit(batch));
    CHECK_EQ(flags_of(t.e.db, t.b), 0);
    verify(t.e.db);
    env_down(&t.e);
}

/* ---- The floor under every policy ------------------------------------------------------ */

static void a_policy_that_was_lowered_first_leaves_the_mark(void)
{
    two_tags t;
    vtag_policy p = {0};
    vtag_tag c;
    uint64_t i;
    two_tags_up(&t, 250);
    c = declare(t.e.db, "m@3", 2, VTAG_COSINE);
    for (i = 1; i <= 116; i++) OK(fill2(t.e.db, i, i, c, 1, 1));
    p.gate.min_ppm = 400000;
    OK(set_policy(t.e.db, &p, "we are in a hurry"));
    OK(cutover(t.e.db, c, NULL, NULL));
    CHECK(info_of(t.e.db, c).forced);
    CHECK_EQ(newest_event(t.e.db, VTAG_K_CUTOVER).flags, VTAG_FORCED);
    for (; i <= 248; i++) OK(fill2(t.e.db, i, i, c, 1, 1));
    CHECK(info_of(t.e.db, c).forced); /* 99.2 % */
    OK(fill2(t.e.db, i, i, c, 1, 1));
    CHECK(!info_of(t.e.db, c).forced);
    env_down(&t.e);
}

static void so_does_one_that_lets_many_be_waived(void)
{
    two_tags t;
    vtag_policy p = {0};
    vtag_tag c;
    uint64_t i;
    two_tags_up(&t, 10);
    c = declare(t.e.db, "m@3", 2, VTAG_COSINE);
    for (i = 1; i <= 8; i++) OK(fill2(t.e.db, i, i, c, 1, 1));
    OK(waive(t.e.db, 9, 0, c, "an image"));
    OK(waive(t.e.db, 10, 0, c, "an image"));
    p.gate.max_waived_ppm = 500000;
    OK(set_policy(t.e.db, &p, "images are for later"));
    OK(cutover(t.e.db, c, NULL, NULL));
    CHECK(info_of(t.e.db, c).forced);
    OK(fill2(t.e.db, 9, 9, c, 1, 1));
    CHECK(!info_of(t.e.db, c).forced); /* one may be */
    env_down(&t.e);
}

/* ---- Who --------------------------------------------------------------------------------- */

static void every_line_of_history_says_who_did_it(void)
{
    two_tags t;
    vtag_begin_opts o = {0};
    vtag_batch *b;
    vtag_event e = {0};
    vtag_policy p = {0};
    char who[] = "ada", tool[300];
    static const vtag_kind kinds[] = {VTAG_K_WAIVED, VTAG_K_NOTE, VTAG_K_POLICY, VTAG_K_CUTOVER,
                                      VTAG_K_ROLLBACK};
    size_t i;
    two_tags_up(&t, 3);
    memset(tool, 'x', sizeof tool);
    tool[256] = 0;
    o.by = tool;
    ERR(VTAG_ARG, vtag_begin(t.e.db, &o, &b));
    CHECK(b == NULL);
    o.by = who;
    MUST(vtag_begin(t.e.db, &o, &b));
    memset(who, 0, sizeof who); /* it was read */
    {
        vtag_item item = item_at(1, 0);
        OK(vtag_waive(b, &item, t.b, "no text"));
    }
    e.kind = VTAG_K_NOTE;
    e.text = "hello";
    OK(vtag_note(b, &e));
    OK(vtag_policy_set(b, &p, "as it was"));
    OK(vtag_cutover(b, t.b, NULL, NULL));
    OK(vtag_rollback(b, 0, NULL));
    OK(vtag_commit(b));
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) CHECK_STR(newest_event(t.e.db, kinds[i]).by, "ada");
    CHECK(newest_event(t.e.db, VTAG_K_DECLARED).by == NULL);
    o.by = "a batch";
    MUST(vtag_begin(t.e.db, &o, &b));
    e.by = "a caller";
    OK(vtag_note(b, &e));
    OK(vtag_commit(b));
    CHECK_STR(newest_event(t.e.db, VTAG_K_NOTE).by, "a caller");
    verify(t.e.db);
    env_down(&t.e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(a_gate_that_asks_for_an_audit_wants_the_newest_to_pass);
    RUN(an_audit_compares_a_hundred_vectors_or_all);
    RUN(an_audit_no_longer_counts_once_a_hundredth_was_written_since);
    RUN(what_was_written_is_counted_through_everything);
    RUN(an_audit_says_nothing_that_cannot_be);
    RUN(an_audit_that_passes_lifts_assumed_and_lets_the_true_name_be_told);
    RUN(a_policy_that_was_lowered_first_leaves_the_mark);
    RUN(so_does_one_that_lets_many_be_waived);
    RUN(every_line_of_history_says_who_did_it);
    return t_end();
}
