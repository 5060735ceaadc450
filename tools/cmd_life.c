/* cmd_life.c - gate, policy, cutover, rollback, retire: the life of a tag. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

static unsigned long long ull(uint64_t n) { return n; }

/* What the history keeps of a verdict: a HELD, or a note where it passed. */
static int verdict_event(const cli_store *st, vtag_tag tag, const vtag_verdict *v,
                         const char *reason, vtag_event *e)
{
    vtag_stat stat;
    vtag_err err = vtag_stats(st->snap, &stat);
    if (err) return cli_error(err, "%s", st->path);
    memset(e, 0, sizeof *e);
    e->kind = v->pass ? VTAG_K_NOTE : VTAG_K_HELD;
    e->name = v->pass ? "gate: GO" : NULL;
    e->tag = tag;
    e->base = stat.active;
    e->value = v->score;
    e->base_value = v->base_score;
    e->commit = stat.commit;
    e->failed = v->failed;
    e->used = v->used;
    e->cover = v->cover;
    e->text = reason;
    e->used.reason = NULL;
    return 0;
}

/* ---- gate ------------------------------------------------------------------------ */

static void gate_print(const cli_store *st, vtag_tag tag, const vtag_verdict *v, int as_json)
{
    out o;
    if (!as_json) {
        cmd_verdict_print(st, tag, v);
        return;
    }
    out_start(&o, stdout);
    cmd_verdict_json(&o, st, tag, v);
    out_close(&o, '}');
}

static int gate_error(vtag_err err, const cli_store *st, const vtag_info *tag,
                      const vtag_gate *gate)
{
    if (err == VTAG_ARG && !gate->reason) {
        return cli_fail("%s: thresholds below the policy's want a --reason; vtag policy %s "
                        "shows them", st->path, st->path);
    }
    return cli_error(err, "%s: tag '%s'", st->path, tag->spec.name);
}

static int gate_record(cli_store *st, vtag_tag tag, const vtag_verdict *v, const char *reason)
{
    vtag_event e;
    vtag_err err;
    int rc = verdict_event(st, tag, v, reason, &e);
    if (!rc) rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_note(st->batch, &e);
    return err ? cli_error(err, "%s: history", st->path) : cli_commit(st);
}

int cmd_gate(int argc, char **argv)
{
    const char *file, *tag;
    int as_json = 0, record = 0, rc;
    cli_store st = {0};
    vtag_info info;
    vtag_gate gate;
    vtag_verdict v;
    vtag_err err;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which is to become active", NULL},
        CMD_GATE_OPTS(gate),
        {"--reason", "TEXT", CLI_STR, &gate.reason, "to ask less than the policy", NULL},
        {"--record", NULL, CLI_FLAG, &record, "put the verdict into the history", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    memset(&gate, 0, sizeof gate);
    rc = cli_parse(argc, argv,
                   "Judges a tag, term by term, and changes no tag. Exit code 3: HOLD.",
                   opts);
    if (rc >= 0) return rc;
    rc = cmd_gate_check(&gate);
    if (rc) return rc;
    rc = record ? cli_change(&st, file) : cli_look(&st, file);
    if (!rc) rc = cli_tag(&st, tag, &info);
    if (!rc) {
        err = vtag_judge(st.snap, info.tag, &gate, &v);
        if (err) {
            rc = gate_error(err, &st, &info, &gate);
        } else {
            gate_print(&st, info.tag, &v, as_json);
            if (record) rc = gate_record(&st, info.tag, &v, gate.reason);
            if (!rc) rc = v.pass ? CLI_DONE : CLI_NO;
        }
    }
    cli_close(&st);
    return rc;
}

/* ---- policy ------------------------------------------------------------------------- */

static void policy_print(const vtag_policy *p)
{
    char a[CLI_TEXT];
    const vtag_gate *g = &p->gate;
    cli_table t = {0};
    cli_row(&t, "coverage\t> %.4g %%, or all", cmd_limit(g->min_ppm) / 1e4);
    cli_row(&t, "waived\t<= %.4g %%, at least 1 item", cmd_limit(g->max_waived_ppm) / 1e4);
    cli_row(&t, "pending age\t< %s", cli_span(a, g->max_age_ms));
    if (g->score) {
        cli_row(&t, "score\t%s from >= %u queries", g->score, cmd_limit(g->min_queries));
        if (g->has_min) cli_row(&t, "\t>= %.6g", g->min_score);
        if (g->has_drop) cli_row(&t, "\tdrop <= %.6g", g->max_drop);
    }
    if (g->min_audit_ppm) cli_row(&t, "audit\t>= %.4g %% of its vectors agree", g->min_audit_ppm / 1e4);
    cli_row(&t, "retention\t%s", cli_span(a, p->retain_ms));
    if (p->retain_scores) cli_row(&t, "\tand %u passing scores", p->retain_scores);
    if (p->hold) cli_row(&t, "hold\t%s", p->hold);
    cli_table_print(&t, "ll");
}

static void policy_json(const vtag_policy *p)
{
    out o;
    out_start(&o, stdout);
    cmd_gate_json(&o, "gate", &p->gate);
    out_u64(&o, "retain_ms", p->retain_ms);
    out_u64(&o, "retain_scores", p->retain_scores);
    out_str(&o, "hold", p->hold);
    out_close(&o, '}');
}

/* Puts what was given over what the file has. */
static void policy_merge(vtag_policy *p, const vtag_policy *given, int no_score, int no_hold)
{
    vtag_gate *g = &p->gate;
    const vtag_gate *n = &given->gate;
    if (n->min_ppm) g->min_ppm = n->min_ppm;
    if (n->max_waived_ppm) g->max_waived_ppm = n->max_waived_ppm;
    if (n->max_age_ms) g->max_age_ms = n->max_age_ms;
    if (n->min_queries) g->min_queries = n->min_queries;
    if (n->min_audit_ppm) g->min_audit_ppm = n->min_audit_ppm;
    if (n->score) {
        g->score = n->score;
        g->has_min = g->has_drop = 0;
    }
    if (n->has_min) g->min_score = n->min_score;
    if (n->has_drop) g->max_drop = n->max_drop;
    g->has_min |= n->has_min;
    g->has_drop |= n->has_drop;
    if (no_score) {
        g->score = NULL;
        g->has_min = g->has_drop = 0;
    }
    if (given->retain_ms) p->retain_ms = given->retain_ms;
    if (given->retain_scores) p->retain_scores = cmd_limit(given->retain_scores);
    if (given->hold) p->hold = given->hold;
    if (no_hold) p->hold = NULL;
}

static int policy_set(cli_store *st, vtag_policy *now, const vtag_policy *given,
                      const int no[2], const char *reason, int dry)
{
    vtag_err err;
    int rc;
    policy_merge(now, given, no[0], no[1]);
    if ((now->gate.has_min || now->gate.has_drop) && !now->gate.score) {
        return cli_misuse("policy: --min-score and --max-drop want a --score");
    }
    if (dry) return 0;
    rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_policy_set(st->batch, now, reason);
    return err ? cli_error(err, "%s: policy", st->path) : cli_commit(st);
}

static int policy_asked(const vtag_policy *p, const int no[2])
{
    const vtag_gate *g = &p->gate;
    return g->min_ppm || g->max_waived_ppm || g->max_age_ms || g->score || g->has_min ||
           g->has_drop || g->min_queries || g->min_audit_ppm || p->retain_ms || p->retain_scores || p->hold ||
           no[0] || no[1];
}

int cmd_policy(int argc, char **argv)
{
    const char *file, *reason = NULL;
    int as_json = 0, dry = 0, no[2] = {0, 0}, set, rc;
    cli_store st = {0};
    vtag_policy given, now;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        CMD_GATE_OPTS(given.gate),
        {"--no-score", NULL, CLI_FLAG, &no[0], "the gate asks for no score", NULL},
        {"--retain", "DURATION", CLI_SPAN, &given.retain_ms, "of a tag that was active; 28d", NULL},
        {"--retain-scores", "N", CLI_LIMIT, &given.retain_scores, "passing scores too", NULL},
        {"--hold", "TEXT", CLI_STR, &given.hold, "nothing may be retired, and why", NULL},
        {"--no-hold", NULL, CLI_FLAG, &no[1], "end that", NULL},
        {"--reason", "TEXT", CLI_STR, &reason, "of a change; goes into the history", NULL},
        {"--dry-run", NULL, CLI_FLAG, &dry, "show what it would be", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    memset(&given, 0, sizeof given);
    rc = cli_parse(argc, argv, "Shows the thresholds kept in the file, or sets those given.", opts);
    if (rc >= 0) return rc;
    set = policy_asked(&given, no);
    if (set && (!reason || !*reason)) return cli_misuse("policy: a change wants a --reason");
    if (!set && reason) return cli_misuse("policy: --reason of what? give a threshold");
    if (given.hold && no[1]) return cli_misuse("policy: --hold and --no-hold exclude each other");
    rc = cmd_gate_check(&given.gate);
    if (!rc) rc = cmd_text("--reason", reason, 1024);
    if (!rc) rc = cmd_text("--hold", given.hold, 1024);
    if (rc) return rc;
    rc = set && !dry ? cli_change(&st, file) : cli_look(&st, file);
    if (!rc) {
        vtag_err err = vtag_policy_get(st.snap, &now);
        if (err) rc = cli_error(err, "%s: policy", file);
    }
    if (!rc && set) rc = policy_set(&st, &now, &given, no, reason, dry);
    if (!rc && as_json) policy_json(&now);
    else if (!rc) policy_print(&now);
    cli_close(&st);
    return rc;
}

/* ---- cutover ----------------------------------------------------------------------------- */

typedef struct cutover_job {
    cli_store    st;
    vtag_info    tag;
    vtag_tag     active;     /* before */
    vtag_gate    gate;
    vtag_verdict v;
    double       judge_ms, ms; /* of the gate inside the batch; of the flip, the commit alone */
    int          dry, as_json;
} cutover_job;

/* Notes in the history that the gate held. */
static int cutover_held(cutover_job *c)
{
    vtag_event e;
    vtag_err err;
    int rc = verdict_event(&c->st, c->tag.tag, &c->v, c->gate.reason, &e);
    if (rc) return rc;
    err = vtag_note(c->st.batch, &e);
    if (err) return cli_error(err, "%s: history", c->st.path);
    return cli_commit(&c->st);
}

static int cutover_apply(cutover_job *c)
{
    double from;
    vtag_err err;
    int rc = cli_begin(&c->st, 0);
    if (rc) return rc;
    from = cli_ms();
    err = vtag_cutover(c->st.batch, c->tag.tag, &c->gate, &c->v);
    if (err == VTAG_GATE) {
        c->v.pass = 0;
        return cutover_held(c);
    }
    if (err) return gate_error(err, &c->st, &c->tag, &c->gate);
    c->v.pass = 1;
    c->judge_ms = cli_ms() - from;
    from = cli_ms();
    rc = cli_commit(&c->st);
    c->ms = cli_ms() - from;
    return rc;
}

static int cutover_report(const cutover_job *c)
{
    out o;
    int moved = c->v.pass && !c->dry && c->active != c->tag.tag;
    if (c->as_json) {
        out_start(&o, stdout);
        cmd_verdict_json(&o, &c->st, c->tag.tag, &c->v);
        out_bool(&o, "dry_run", c->dry);
        out_bool(&o, "changed", moved);
        if (moved) out_f64(&o, "flip_ms", c->ms);
        if (moved) out_f64(&o, "judge_ms", c->judge_ms);
        out_close(&o, '}');
    } else {
        cmd_verdict_print(&c->st, c->tag.tag, &c->v);
        if (c->active == c->tag.tag) printf("%s is active already\n", c->tag.spec.name);
        if (moved) {
            printf("active: %s, flipped in %.2f ms, after %.2f ms of judging\n", c->tag.spec.name,
                   c->ms, c->judge_ms);
        }
        if (c->dry) puts("dry run: nothing changed");
    }
    if (c->v.pass) return CLI_DONE;
    return cli_refuse("%s: %s stays %s: the gate holds%s", c->st.path, c->tag.spec.name,
                      cli_role_name(c->tag.role), c->dry ? "" : "; noted in the history");
}

static int cutover_run(cutover_job *c, const char *file, const char *tag)
{
    vtag_stat stat;
    vtag_err err;
    int rc = c->dry ? cli_look(&c->st, file) : cli_change(&c->st, file);
    if (!rc) rc = cli_tag(&c->st, tag, &c->tag);
    if (rc) return rc;
    err = vtag_stats(c->st.snap, &stat);
    c->active = stat.active;
    if (!err) err = vtag_judge(c->st.snap, c->tag.tag, &c->gate, &c->v); /* without the lock */
    if (err) return gate_error(err, &c->st, &c->tag, &c->gate);
    if (!c->dry) rc = cutover_apply(c);
    return rc ? rc : cutover_report(c);
}

int cmd_cutover(int argc, char **argv)
{
    const char *file, *tag;
    int rc, rehearsal = 0;
    cutover_job c;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which is to become active", NULL},
        CMD_GATE_OPTS(c.gate),
        {"--reason", "TEXT", CLI_STR, &c.gate.reason,
         "recorded; needed to ask less than the policy", NULL},
        {"--rehearse", NULL, CLI_FLAG, &rehearsal,
         "on a copy beside the file: flip, probe, flip back", NULL},
        {"--dry-run", NULL, CLI_FLAG, &c.dry, "judge only", NULL},
        {"--json", NULL, CLI_FLAG, &c.as_json, "one JSON object", NULL},
        CLI_END};
    memset(&c, 0, sizeof c);
    rc = cli_parse(argc, argv, "Makes a tag active if its gate passes; the active one becomes\n"
                   "standby. Exit code 3: HOLD, which goes into the history.", opts);
    if (rc >= 0) return rc;
    rc = cmd_gate_check(&c.gate);
    if (rc) return rc;
    if (rehearsal) return rehearse(file, tag, &c.gate, c.as_json, c.dry);
    rc = cutover_run(&c, file, tag);
    cli_close(&c.st);
    return rc;
}

/* ---- rollback ------------------------------------------------------------------------------- */

enum { HIDDEN_SHOWN = 10 };

/* The first items that are fresh under one tag and not under another; how many. */
static size_t hidden_items(const cli_store *st, vtag_tag from, vtag_tag to,
                           vtag_item hidden[HIDDEN_SHOWN])
{
    vtag_item page[256];
    uint64_t cursor = 0;
    size_t n = 1, i, got = 0;
    while (n && got < HIDDEN_SHOWN) {
        if (vtag_items(st->snap, from, VTAG_FRESH, &cursor, page, 256, &n)) break;
        for (i = 0; i < n && got < HIDDEN_SHOWN; i++) {
            vtag_row row;
            vtag_err err = vtag_vector(st->snap, page[i].id, to, 0, NULL, 0, &row);
            if (err == VTAG_NOTFOUND || (!err && row.rev != page[i].rev)) hidden[got++] = page[i];
        }
    }
    return got;
}

static void hidden_print(const cli_store *st, vtag_tag from, vtag_tag to, uint64_t all)
{
    vtag_item hidden[HIDDEN_SHOWN];
    char name[80];
    size_t n = hidden_items(st, from, to, hidden), i;
    for (i = 0; i < n; i++) printf("  %s\n", item_name(name, sizeof name, &hidden[i]));
    if (all > n) printf("  and %llu more\n", ull(all - n));
}

static void hidden_json(out *o, const cli_store *st, vtag_tag from, vtag_tag to)
{
    vtag_item hidden[HIDDEN_SHOWN];
    char name[256];
    size_t n = hidden_items(st, from, to, hidden), i;
    out_open(o, "hidden", '[');
    for (i = 0; i < n; i++) out_str(o, NULL, item_name(name, sizeof name, &hidden[i]));
    out_close(o, ']');
}

static void rollback_report(const cli_store *st, const vtag_stat *before, vtag_tag to,
                            const vtag_cover *c, double ms, int dry, int as_json)
{
    int moved = to != before->active;
    out o;
    if (as_json) {
        out_start(&o, stdout);
        out_str(&o, "from", cli_tag_name(st, before->active));
        out_str(&o, "to", cli_tag_name(st, to));
        out_bool(&o, "changed", moved && !dry);
        out_bool(&o, "dry_run", dry);
        out_u64(&o, "hides", c->extra);
        if (moved && c->extra) hidden_json(&o, st, before->active, to);
        if (moved && !dry) out_f64(&o, "flip_ms", ms);
        out_close(&o, '}');
        return;
    }
    if (!moved) {
        printf("%s is active already: nothing to do\n", cli_tag_name(st, to));
        return;
    }
    printf("%s %s from %s\n", dry ? "would go back to" : "active:", cli_tag_name(st, to),
           cli_tag_name(st, before->active));
    printf("hides %llu items that are fresh only under %s; they are pending under %s%s\n",
           ull(c->extra), cli_tag_name(st, before->active), cli_tag_name(st, to), c->extra ? ":" : "");
    if (c->extra) hidden_print(st, before->active, to, c->extra);
    if (dry) puts("dry run: nothing changed");
    else printf("flipped in %.2f ms\n", ms);
}

/* The engine's line of a rollback has no room for a reason: a note after it has. */
static vtag_err rollback_reason(cli_store *st, const vtag_stat *before, vtag_tag to,
                                const vtag_cover *hidden, const char *reason)
{
    vtag_event e;
    if (!to) to = before->rolled_back ? before->active : before->standby;
    if (!reason || to == before->active) return VTAG_OK;
    memset(&e, 0, sizeof e);
    e.kind = VTAG_K_NOTE;
    e.name = "rollback";
    e.tag = before->active;
    e.base = to;
    e.commit = before->commit;
    e.cover = *hidden;
    e.text = reason;
    return vtag_note(st->batch, &e);
}

static int rollback_apply(cli_store *st, const vtag_info *tag, vtag_cover *hidden, double *ms,
                          int dry, const vtag_stat *before, const char *reason)
{
    double from;
    vtag_err err;
    int rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_rollback(st->batch, tag->tag, hidden);
    if (err == VTAG_NOTFOUND) {
        return cli_fail("%s: no tag is standby; name an older one with --tag", st->path);
    }
    if (err == VTAG_ARG) {
        return cli_fail("%s: tag '%s' was never active, so there is no way back to it; "
                        "vtag cutover goes through the gate", st->path, tag->spec.name);
    }
    if (!err) err = rollback_reason(st, before, tag->tag, hidden, reason);
    if (err) return cli_error(err, "%s", st->path);
    if (dry) {
        cli_abort(st);
        return 0;
    }
    from = cli_ms();
    rc = cli_commit(st);
    *ms = cli_ms() - from;
    return rc;
}

int cmd_rollback(int argc, char **argv)
{
    const char *file, *tag = NULL, *reason = NULL;
    int as_json = 0, dry = 0, rc;
    double ms = 0;
    cli_store st = {0};
    vtag_info info = {0};
    vtag_stat before = {0};
    vtag_cover hidden = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "an older tag; else the standby", NULL},
        {"--reason", "TEXT", CLI_STR, &reason, "recorded", NULL},
        {"--dry-run", NULL, CLI_FLAG, &dry, "tell what it would hide", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Makes the standby, or an older tag, active again: at once and\n"
                   "without a gate. Asking again changes nothing.", opts);
    if (rc >= 0) return rc;
    rc = cmd_text("--reason", reason, 1024);
    if (!rc) rc = cli_change(&st, file);
    if (!rc && tag) rc = cli_tag(&st, tag, &info);
    if (!rc) {
        vtag_err err = vtag_stats(st.snap, &before);
        if (err) rc = cli_error(err, "%s", file);
    }
    if (!rc) rc = rollback_apply(&st, &info, &hidden, &ms, dry, &before, reason);
    if (!rc) {
        vtag_tag to = tag ? info.tag : before.rolled_back ? before.active : before.standby;
        rollback_report(&st, &before, to, &hidden, ms, dry, as_json);
    }
    cli_close(&st);
    return rc;
}

/* ---- retire --------------------------------------------------------------------------------- */

static void retire_lost(const vtag_info *tag, const vtag_cover *c)
{
    char bytes[CLI_TEXT];
    printf("%s: %s, %s, %llu items\n", tag->spec.name, cli_role_name(tag->role),
           cli_bytes(bytes, tag->bytes), ull(c->base));
    printf("  %llu are fresh under another tag, %llu only stale, %llu under no other\n",
           ull(c->fresh), ull(c->stale), ull(c->missing));
    if (c->missing) puts("  what no other tag has is lost with the next vtag compact");
}

static void retire_json(const vtag_info *tag, const vtag_cover *c, const vtag_policy *policy,
                        vtag_err err, int dry)
{
    out o;
    out_start(&o, stdout);
    out_str(&o, "tag", tag->spec.name);
    out_str(&o, "verdict", err ? "KEPT" : "GO");
    out_bool(&o, "dry_run", dry);
    out_u64(&o, "items", c->base);
    out_u64(&o, "elsewhere_fresh", c->fresh);
    out_u64(&o, "elsewhere_stale", c->stale);
    out_u64(&o, "lost", c->missing);
    out_u64(&o, "bytes", tag->bytes);
    out_str(&o, "freed_by", "compact");
    out_u64(&o, "kept_ms", tag->kept_ms);
    out_u64(&o, "retain_ms", policy->retain_ms);
    out_close(&o, '}');
}

static int retire_kept(const cli_store *st, const vtag_info *tag, const vtag_policy *p)
{
    char left[CLI_TEXT], when[CLI_TEXT];
    uint64_t rest = tag->kept_ms < p->retain_ms ? p->retain_ms - tag->kept_ms : 0;
    if (p->hold) {
        return cli_refuse("%s: tag '%s' is kept: hold: %s; vtag policy --no-hold ends it",
                          st->path, tag->spec.name, p->hold);
    }
    if (!rest) {
        return cli_refuse("%s: tag '%s' is kept: the active tag lacks passing scores; give them "
                          "with vtag eval, or a --reason", st->path, tag->spec.name);
    }
    return cli_refuse("%s: tag '%s' is kept: %s of its retention are left, until %s at the "
                      "earliest; wait, or give a --reason", st->path, tag->spec.name,
                      cli_span(left, rest), cli_time(when, cli_clock() + rest));
}

static int retire_run(cli_store *st, const vtag_info *tag, const char *reason, int dry,
                      int as_json)
{
    vtag_cover lost = {0};
    vtag_policy policy;
    char bytes[CLI_TEXT];
    vtag_err err = vtag_policy_get(st->snap, &policy);
    int rc = err ? cli_error(err, "%s: policy", st->path) : cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_retire(st->batch, tag->tag, reason, &lost);
    if (err && err != VTAG_KEPT) {
        return cli_error(err, "%s: tag '%s'", st->path, tag->spec.name);
    }
    if (as_json) retire_json(tag, &lost, &policy, err, dry);
    else retire_lost(tag, &lost);
    fflush(stdout);
    if (err) return retire_kept(st, tag, &policy);
    if (dry) {
        if (!as_json) puts("dry run: nothing changed");
        return 0;
    }
    rc = cli_commit(st);
    if (!rc && !as_json) {
        printf("retired; vtag compact %s gives its %s back, which nothing does before\n", st->path,
               cli_bytes(bytes, tag->bytes));
    }
    return rc;
}

int cmd_retire(int argc, char **argv)
{
    const char *file, *tag, *reason = NULL;
    int as_json = 0, dry = 0, rc;
    cli_store st = {0};
    vtag_info info;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "which is to stop answering", NULL},
        {"--reason", "TEXT", CLI_STR, &reason,
         "recorded; needed before its retention is over", NULL},
        {"--dry-run", NULL, CLI_FLAG, &dry, "tell what would be lost", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Takes a tag out of service, and says first what would be lost.\n"
                   "Exit code 3: it is kept. Its space returns with vtag compact.", opts);
    if (rc >= 0) return rc;
    rc = cmd_text("--reason", reason, 1024);
    if (!rc) rc = cli_change(&st, file);
    if (!rc) rc = cli_tag(&st, tag, &info);
    if (!rc) rc = retire_run(&st, &info, reason, dry, as_json);
    cli_close(&st);
    return rc;
}
