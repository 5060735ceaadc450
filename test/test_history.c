/* test_history.c - the audit trail: events, notes, scores, order, strings */
#include "engine.h"
#include "test.h"
#include "util.h"

typedef struct two { env e; vtag_tag a, b; } two;

static void two_up(two *t)
{
    env_up(&t->e);
    t->a = declare(t->e.db, "m@1", 2, VTAG_COSINE);
    t->b = declare(t->e.db, "m@2", 2, VTAG_COSINE);
}

static vtag_event event_of(vtag_kind kind, vtag_tag tag, const char *name, const char *text)
{
    vtag_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = kind;
    ev.tag = tag;
    ev.name = name;
    ev.text = text;
    return ev;
}

/* The newest event, its strings good until *s is released. */
static vtag_event last_event(vtag_db *db, vtag_snap **s)
{
    vtag_event ev, last;
    uint64_t cursor = 0;
    size_t n;
    memset(&last, 0, sizeof last);
    *s = look(db);
    for (;;) {
        OK(vtag_history(*s, &cursor, &ev, 1, &n));
        if (!n) return last;
        last = ev;
    }
}

/* ---- What the engine writes -------------------------------------------------------- */

static void every_change_of_a_tag_leaves_a_line(void)
{
    static const vtag_kind want[] = {
        VTAG_K_DECLARED, VTAG_K_DECLARED, VTAG_K_POLICY, VTAG_K_CUTOVER, VTAG_K_ROLLBACK, VTAG_K_RETIRED,
    };
    two t;
    vtag_policy p;
    vtag_snap *s;
    vtag_event ev[16];
    vtag_vec v[2];
    uint64_t cursor = 0;
    size_t n, i;
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.b, 1, 0);
    put(t.e.db, 1, "x", v, 2);
    memset(&p, 0, sizeof p);
    OK(set_policy(t.e.db, &p, "the defaults, on record"));
    OK(cutover(t.e.db, t.b, NULL, NULL));
    OK(rollback(t.e.db, 0, NULL));
    OK(retire(t.e.db, t.b, "a mistake", NULL));
    s = look(t.e.db);
    OK(vtag_history(s, &cursor, ev, 16, &n));
    CHECK_EQ(n, LENGTH(want));
    for (i = 0; i < n && i < LENGTH(want); i++) {
        CHECK_EQ(ev[i].kind, want[i]);
        CHECK_EQ(ev[i].seq, i + 1); /* from 1, gapless */
    }
    CHECK_EQ(stat_of(t.e.db).events, LENGTH(want));
    vtag_release(s);
    env_down(&t.e);
}

static void a_reason_is_kept_word_for_word(void)
{
    two t;
    vtag_snap *s;
    vtag_event ev;
    two_up(&t);
    OK(retire(t.e.db, t.b, "licence \xE2\x82\xAC 9,\nsee mail", NULL));
    env_reopen(&t.e);
    ev = last_event(t.e.db, &s);
    CHECK_EQ(ev.kind, VTAG_K_RETIRED);
    CHECK_STR(ev.text, "licence \xE2\x82\xAC 9,\nsee mail");
    vtag_release(s);
    env_down(&t.e);
}

static void a_cutover_records_its_verdict_and_thresholds(void)
{
    two t;
    vtag_gate g;
    vtag_snap *s;
    vtag_event ev;
    vtag_vec v[2];
    two_up(&t);
    v[0] = v2(t.a, 1, 0);
    v[1] = v2(t.b, 1, 0);
    put(t.e.db, 1, "x", v, 2);
    put2(t.e.db, 2, "y", t.a, 1, 0);
    memset(&g, 0, sizeof g);
    g.min_ppm = 400000;
    g.max_age_ms = UINT64_MAX;
    g.reason = "a demo";
    OK(cutover(t.e.db, t.b, &g, NULL));
    ev = last_event(t.e.db, &s);
    CHECK_EQ(ev.kind, VTAG_K_CUTOVER);
    CHECK_EQ(ev.tag, t.b);
    CHECK_EQ(ev.base, t.a);
    CHECK_EQ(ev.used.min_ppm, 400000);
    CHECK_EQ(ev.used.max_age_ms, UINT64_MAX);
    CHECK_EQ(ev.cover.base, 2);
    CHECK_EQ(ev.cover.fresh, 1);
    CHECK_EQ(ev.cover.missing, 1);
    CHECK(ev.flags & VTAG_FORCED);
    CHECK(ev.text && strstr(ev.text, "a demo"));
    vtag_release(s);
    env_down(&t.e);
}

static void a_compaction_leaves_a_line(void)
{
    two t;
    two_up(&t);
    put2(t.e.db, 1, "x", t.a, 1, 0);
    put2(t.e.db, 1, "y", t.a, 1, 0);
    OK(vtag_compact(t.e.db, NULL, NULL));
    CHECK_EQ(newest_event(t.e.db, VTAG_K_COMPACTED).kind, VTAG_K_COMPACTED);
    env_down(&t.e);
}

/* ---- What the caller writes ------------------------------------------------------------- */

static void a_note_comes_back(void)
{
    two t;
    vtag_event in, out;
    vtag_snap *s;
    two_up(&t);
    in = event_of(VTAG_K_NOTE, t.b, "ticket", "see #42");
    in.seq = 999;   /* the engine's own */
    in.time = 1;
    t.e.r.clock += 12345;
    OK(note(t.e.db, &in));
    env_reopen(&t.e);
    out = last_event(t.e.db, &s);
    CHECK_EQ(out.kind, VTAG_K_NOTE);
    CHECK_EQ(out.tag, t.b);
    CHECK_STR(out.name, "ticket");
    CHECK_STR(out.text, "see #42");
    CHECK_EQ(out.seq, 3);
    CHECK_EQ(out.time, t.e.r.clock);
    vtag_release(s);
    env_down(&t.e);
}

static void a_note_may_speak_of_no_tag_but_of_no_unknown_one(void)
{
    two t;
    vtag_event ev;
    two_up(&t);
    ev = event_of(VTAG_K_NOTE, 0, NULL, "of the file as a whole");
    OK(note(t.e.db, &ev));
    ev.tag = 77;
    ERR(VTAG_NOTAG, note(t.e.db, &ev));
    ev.tag = 0;
    ev.base = 77;
    ERR(VTAG_NOTAG, note(t.e.db, &ev));
    env_down(&t.e);
}

static void the_engines_own_kinds_cannot_be_noted(void)
{
    static const vtag_kind own[] = {
        VTAG_K_DECLARED, VTAG_K_WAIVED, VTAG_K_POLICY, VTAG_K_CUTOVER,
        VTAG_K_ROLLBACK, VTAG_K_RETIRED, VTAG_K_COMPACTED, (vtag_kind)99,
    };
    two t;
    size_t i;
    two_up(&t);
    for (i = 0; i < LENGTH(own); i++) {
        vtag_event ev = event_of(own[i], t.a, "n", "t");
        ERR(VTAG_ARG, note(t.e.db, &ev));
    }
    CHECK_EQ(stat_of(t.e.db).events, 2);
    env_down(&t.e);
}

static void a_text_has_at_most_1024_bytes(void)
{
    static char text[1026];
    two t;
    vtag_event ev;
    vtag_snap *s;
    two_up(&t);
    memset(text, 't', 1025);
    ev = event_of(VTAG_K_NOTE, 0, NULL, text);
    ERR(VTAG_ARG, note(t.e.db, &ev));
    text[1024] = 0;
    OK(note(t.e.db, &ev));
    ev = last_event(t.e.db, &s);
    CHECK_STR(ev.text, text);
    vtag_release(s);
    env_down(&t.e);
}

static void a_score_keeps_all_its_numbers(void)
{
    two t;
    vtag_event in, out;
    vtag_snap *s;
    two_up(&t);
    put2(t.e.db, 1, "x", t.a, 1, 0);
    in = event_of(VTAG_K_SCORE, t.a, "ndcg@10", "on the spring set");
    in.base = t.b;
    in.value = 0.4271828;
    in.base_value = -0.0;
    in.queries = 225;
    in.commit = stat_of(t.e.db).commit;
    in.cover = cover_of(t.e.db, t.a, t.a);
    OK(note(t.e.db, &in));
    out = last_event(t.e.db, &s);
    CHECK(!memcmp(&in.value, &out.value, sizeof in.value));
    CHECK(!memcmp(&in.base_value, &out.base_value, sizeof in.base_value));
    CHECK_EQ(out.queries, 225);
    CHECK_EQ(out.commit, in.commit);
    CHECK_EQ(out.base, t.b);
    CHECK(!memcmp(&in.cover, &out.cover, sizeof in.cover));
    CHECK_STR(out.name, "ndcg@10");
    CHECK_EQ(out.flags, 0);
    vtag_release(s);
    env_down(&t.e);
}

static void a_score_needs_a_name_a_tag_and_a_number(void)
{
    two t;
    vtag_event ev;
    two_up(&t);
    ev = event_of(VTAG_K_SCORE, t.a, NULL, NULL);
    ERR(VTAG_ARG, note(t.e.db, &ev));
    ev = event_of(VTAG_K_SCORE, 0, "recall", NULL);
    CHECK(note(t.e.db, &ev) != VTAG_OK);
    ev = event_of(VTAG_K_SCORE, t.a, "recall", NULL);
    ev.value = NAN;
    ERR(VTAG_ARG, note(t.e.db, &ev));
    env_down(&t.e);
}

static void the_engine_marks_provisional_scores_itself(void)
{
    two t;
    vtag_event ev;
    two_up(&t);
    put2(t.e.db, 1, "x", t.a, 1, 0);
    ev = event_of(VTAG_K_SCORE, t.b, "recall", NULL);
    ev.cover = cover_of(t.e.db, t.b, t.a); /* nothing filled yet */
    OK(note(t.e.db, &ev));
    CHECK(newest_event(t.e.db, VTAG_K_SCORE).flags & VTAG_PROVISIONAL);
    ev.cover = cover_of(t.e.db, t.a, t.a);
    ev.tag = t.a;
    ev.flags = VTAG_PROVISIONAL | VTAG_FORCED; /* not the caller's to say */
    OK(note(t.e.db, &ev));
    CHECK_EQ(newest_event(t.e.db, VTAG_K_SCORE).flags, 0);
    env_down(&t.e);
}

static void a_held_verdict_and_a_shadow_are_kept(void)
{
    two t;
    vtag_event ev;
    two_up(&t);
    ev = event_of(VTAG_K_HELD, t.b, NULL, "coverage");
    ev.failed = VTAG_TERM_COVERAGE | VTAG_TERM_SCORE;
    OK(note(t.e.db, &ev));
    CHECK_EQ(newest_event(t.e.db, VTAG_K_HELD).failed, VTAG_TERM_COVERAGE | VTAG_TERM_SCORE);
    ev = event_of(VTAG_K_SHADOW, t.b, "overlap@10", NULL);
    ev.value = 0.487;
    OK(note(t.e.db, &ev));
    CHECK(newest_event(t.e.db, VTAG_K_SHADOW).value == 0.487);
    env_down(&t.e);
}

static void an_aborted_note_is_not_in_history(void)
{
    two t;
    vtag_event ev = event_of(VTAG_K_NOTE, 0, NULL, "never mind");
    vtag_batch *b;
    two_up(&t);
    b = begin(t.e.db);
    OK(vtag_note(b, &ev));
    vtag_abort(b);
    CHECK_EQ(stat_of(t.e.db).events, 2);
    OK(note(t.e.db, &ev));
    CHECK_EQ(newest_event(t.e.db, VTAG_K_NOTE).seq, 3); /* gapless all the same */
    env_down(&t.e);
}

/* ---- Order -------------------------------------------------------------------------------- */

static void history_is_oldest_first_at_any_page_size_across_commits(void)
{
    two t;
    size_t cap, i, n;
    two_up(&t);
    for (i = 0; i < 40; i++) {
        char text[16];
        vtag_event ev;
        snprintf(text, sizeof text, "note %d", (int)i);
        ev = event_of(VTAG_K_NOTE, 0, NULL, text);
        OK(note(t.e.db, &ev));
        if (i == 20) OK(vtag_compact(t.e.db, NULL, NULL));
        if (i == 30) env_reopen(&t.e);
    }
    for (cap = 1; cap < 50; cap += 6) {
        vtag_event ev[50];
        vtag_snap *s = look(t.e.db);
        uint64_t cursor = 0, seq = 0;
        for (;;) {
            OK(vtag_history(s, &cursor, ev, cap, &n));
            if (!n) break;
            for (i = 0; i < n; i++) CHECK_EQ(ev[i].seq, ++seq);
        }
        CHECK_EQ(seq, stat_of(t.e.db).events);
        vtag_release(s);
    }
    env_down(&t.e);
}

static void a_cursor_goes_on_where_later_commits_began(void)
{
    two t;
    vtag_event ev[8];
    vtag_snap *s;
    uint64_t cursor = 0;
    size_t n;
    two_up(&t);
    s = look(t.e.db);
    OK(vtag_history(s, &cursor, ev, 8, &n));
    CHECK_EQ(n, 2);
    vtag_release(s);
    declare(t.e.db, "m@3", 2, VTAG_COSINE);
    s = look(t.e.db);
    OK(vtag_history(s, &cursor, ev, 8, &n));
    CHECK_EQ(n, 1);
    CHECK_EQ(ev[0].seq, 3);
    OK(vtag_history(s, &cursor, ev, 8, &n));
    CHECK_EQ(n, 0);
    vtag_release(s);
    env_down(&t.e);
}

static void a_snapshot_sees_no_later_events(void)
{
    two t;
    vtag_snap *s;
    vtag_event ev[8];
    uint64_t cursor = 0;
    size_t n;
    two_up(&t);
    s = look(t.e.db);
    declare(t.e.db, "m@3", 2, VTAG_COSINE);
    OK(vtag_history(s, &cursor, ev, 8, &n));
    CHECK_EQ(n, 2);
    vtag_release(s);
    env_down(&t.e);
}

static void ten_thousand_notes_are_kept(void)
{
    two t;
    vtag_batch *b;
    uint64_t i;
    vtag_event ev = event_of(VTAG_K_NOTE, 0, "n", "a line of the history, of some length");
    two_up(&t);
    for (i = 0; i < 100; i++) {
        int k;
        b = begin(t.e.db);
        for (k = 0; k < 100; k++) OK(vtag_note(b, &ev));
        OK(vtag_commit(b));
    }
    env_reopen(&t.e);
    CHECK_EQ(stat_of(t.e.db).events, 10002);
    CHECK_EQ(newest_event(t.e.db, VTAG_K_NOTE).seq, 10002);
    verify(t.e.db);
    env_down(&t.e);
}

int main(int argc, char **argv)
{
    t_begin(argc, argv);
    RUN(every_change_of_a_tag_leaves_a_line);
    RUN(a_reason_is_kept_word_for_word);
    RUN(a_cutover_records_its_verdict_and_thresholds);
    RUN(a_compaction_leaves_a_line);
    RUN(a_note_comes_back);
    RUN(a_note_may_speak_of_no_tag_but_of_no_unknown_one);
    RUN(the_engines_own_kinds_cannot_be_noted);
    RUN(a_text_has_at_most_1024_bytes);
    RUN(a_score_keeps_all_its_numbers);
    RUN(a_score_needs_a_name_a_tag_and_a_number);
    RUN(the_engine_marks_provisional_scores_itself);
    RUN(a_held_verdict_and_a_shadow_are_kept);
    RUN(an_aborted_note_is_not_in_history);
    RUN(history_is_oldest_first_at_any_page_size_across_commits);
    RUN(a_cursor_goes_on_where_later_commits_began);
    RUN(a_snapshot_sees_no_later_events);
    RUN(ten_thousand_notes_are_kept);
    return t_end();
}
