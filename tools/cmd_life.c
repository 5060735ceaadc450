/* cmd_life.c - gate, policy, cutover, rollback, retire: the life of a tag. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "hook.h"
#include "stop.h"

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

/* ---- A change of roles ----------------------------------------------------------------- */

typedef struct life {        /* from the trial to the commit */
    cli_store    st;
    hook         hook;
    const char  *file, *name, *reason, *postpone;
    vtag_info    tag;        /* .tag 0: none was named */
    vtag_tag     to;         /* who is active afterwards; of a retirement 0 */
    vtag_stat    before;
    vtag_policy  policy;
    vtag_gate    gate;
    vtag_verdict v;
    vtag_cover   cover;      /* what a rollback hides, what a retirement loses */
    double       judge_ms, ms; /* of the gate inside the batch; of the flip, the commit alone */
    int          dry, as_json;
    int          judges;     /* only, and wants no lock */
    int          moves;      /* the step changes something, and is still to be committed */
    int          kept;       /* the retirement is refused */
    int          postponed;  /* by a file that came at the last moment: nothing changed */
    const char  *event;      /* cutover, rollback, retire */
    int        (*step)(struct life *l); /* in the batch */
    void       (*first)(const struct life *l); /* before it, without the lock; may be NULL */
} life;

/* The state as it is now, and the tag in it. */
static int life_look(life *l)
{
    int rc = cli_snap(&l->st);
    vtag_err err = VTAG_OK;
    if (rc) return rc;
    err = vtag_stats(l->st.snap, &l->before);
    if (!err && l->tag.tag) err = vtag_tag_info(l->st.snap, l->tag.tag, &l->tag);
    if (!err) err = vtag_policy_get(l->st.snap, &l->policy);
    return err ? cli_error(err, "%s", l->file) : 0;
}

static int life_open(life *l)
{
    int rc = l->judges ? cli_look(&l->st, l->file) : cli_change(&l->st, l->file);
    if (!rc && l->name) rc = cli_tag(&l->st, l->name, &l->tag);
    if (!rc) rc = life_look(l);
    if (!rc) cli_catch();
    return rc;
}

static int life_hook(const life *l, const char *event, hook_call *c)
{
    vtag_tag tag = l->tag.tag ? l->tag.tag : l->before.active;
    if (!hook_start(c, &l->hook, event, l->file, cli_tag_name(&l->st, tag))) return 0;
    if (l->tag.tag) out_str(&c->o, "state", cli_role_name(l->tag.role));
    else out_str(&c->o, "state", "active");
    out_str(&c->o, "from", cli_tag_name(&l->st, l->before.active));
    out_str(&c->o, "to", cli_tag_name(&l->st, l->to ? l->to : l->before.active));
    out_u64(&c->o, "commit", l->before.commit);
    if (!strcmp(l->event, "cutover")) {
        out_open(&c->o, "gate", '{');
        cmd_verdict_json(&c->o, &l->st, l->tag.tag, &l->v);
        out_close(&c->o, '}');
    } else if (!strcmp(l->event, "rollback")) {
        out_u64(&c->o, "hides", l->cover.extra);
    } else {
        out_u64(&c->o, "items", l->cover.base);
        out_u64(&c->o, "lost", l->cover.missing);
    }
    if (l->reason) out_str(&c->o, "reason", l->reason);
    return 1;
}

static int life_ask(const life *l)
{
    char event[32], so[400];
    hook_call c;
    snprintf(event, sizeof event, "pre-%s", l->event);
    if (l->tag.tag) {
        snprintf(so, sizeof so, "%s stays %s", l->tag.spec.name, cli_role_name(l->tag.role));
    } else {
        snprintf(so, sizeof so, "%s stays active", cli_tag_name(&l->st, l->before.active));
    }
    return life_hook(l, event, &c) ? hook_ask(&c, so) : 0;
}

static void life_tell(const life *l, const char *event)
{
    hook_call c;
    if (life_hook(l, event, &c)) hook_tell(&c);
}

static int life_guarded(const life *l)
{
    char event[32];
    hook_call c;
    snprintf(event, sizeof event, "pre-%s", l->event);
    if (!hook_start(&c, &l->hook, event, l->file, NULL)) return 0;
    hook_drop(&c);
    return 1;
}

/* The last question is asked between the step and its commit, in the batch. */
static int life_commit(life *l)
{
    double from = cli_ms();
    int rc = stop_last(l->file, "nothing changed");
    if (!rc && stop_flag(l->postpone)) {
        l->postponed = 1;
        cli_abort(&l->st);
        return 0;
    }
    if (rc) cli_abort(&l->st);
    else rc = cli_commit(&l->st);
    l->ms = cli_ms() - from;
    return rc;
}

/* Tries the step in a batch. If that would change something and there is a guard, or something
   to be said first, the batch is dropped for that, and then it is done once more; and so again
   if the roles are not those that the guard spoke of. */
static int life_do(life *l)
{
    vtag_tag active = 0, standby = 0;
    int asked = 0, rc;
    for (;;) {
        rc = cli_begin(&l->st, 0);
        if (!rc) rc = life_look(l);
        if (!rc) rc = l->step(l);
        if (rc || !l->moves || l->dry) break;
        if (!l->first && !life_guarded(l)) break;
        if (asked && active == l->before.active && standby == l->before.standby) break;
        cli_abort(&l->st);
        if (l->first && !asked) l->first(l);
        rc = life_ask(l);
        if (rc) return rc;
        asked = 1;
        active = l->before.active;
        standby = l->before.standby;
    }
    if (!rc && l->moves && !l->dry) return life_commit(l);
    cli_abort(&l->st);
    return rc;
}

/* ---- cutover ----------------------------------------------------------------------------- */

/* Notes in the history that the gate held. */
static int cutover_held(life *l)
{
    vtag_event e;
    vtag_err err;
    int rc = verdict_event(&l->st, l->tag.tag, &l->v, l->gate.reason, &e);
    if (rc) return rc;
    err = vtag_note(l->st.batch, &e);
    if (err) return cli_error(err, "%s: history", l->file);
    return cli_commit(&l->st);
}

static int cutover_step(life *l)
{
    double from = cli_ms();
    vtag_err err = vtag_cutover(l->st.batch, l->tag.tag, &l->gate, &l->v);
    l->judge_ms = cli_ms() - from;
    l->moves = 0;
    l->v.pass = !err;
    if (err == VTAG_GATE) return cutover_held(l);
    if (err) return gate_error(err, &l->st, &l->tag, &l->gate);
    l->moves = l->before.active != l->tag.tag;
    return 0;
}

static int cutover_report(const life *l)
{
    out o;
    if (l->as_json) {
        out_start(&o, stdout);
        cmd_verdict_json(&o, &l->st, l->tag.tag, &l->v);
        out_bool(&o, "dry_run", l->dry);
        out_bool(&o, "changed", l->moves);
        if (l->moves) out_f64(&o, "flip_ms", l->ms);
        if (l->moves) out_f64(&o, "judge_ms", l->judge_ms);
        out_close(&o, '}');
    } else {
        cmd_verdict_print(&l->st, l->tag.tag, &l->v);
        if (l->before.active == l->tag.tag) printf("%s is active already\n", l->tag.spec.name);
        if (l->moves) {
            printf("active: %s, flipped in %.2f ms, after %.2f ms of judging\n", l->tag.spec.name,
                   l->ms, l->judge_ms);
        }
        if (l->dry) puts("dry run: nothing changed");
    }
    if (l->v.pass) return CLI_DONE;
    return cli_refuse("%s: %s stays %s: the gate holds%s", l->file, l->tag.spec.name,
                      cli_role_name(l->tag.role), l->dry ? "" : "; noted in the history");
}

static int cutover_run(life *l)
{
    vtag_err err;
    int rc;
    l->judges = l->dry;
    rc = life_open(l);
    if (rc) return rc;
    l->to = l->tag.tag;
    err = vtag_judge(l->st.snap, l->tag.tag, &l->gate, &l->v); /* without the lock */
    if (err) return gate_error(err, &l->st, &l->tag, &l->gate);
    return l->dry ? 0 : life_do(l);
}

static int cutover_tell(const life *l)
{
    int rc = cutover_report(l);
    fflush(stdout);
    if (l->moves) life_tell(l, "cutover");
    else if (!l->v.pass && !l->dry) life_tell(l, "cutover-held");
    return rc;
}

static void life_start(life *l, const char *event, int (*step)(life *l))
{
    memset(l, 0, sizeof *l);
    l->hook.timeout_ms = HOOK_TIMEOUT;
    l->event = event;
    l->step = step;
}

int cutover_then(const cutover_job *job, int *postponed)
{
    life l;
    int rc;
    life_start(&l, "cutover", cutover_step);
    l.hook = *job->hook;
    l.file = job->file;
    l.name = job->tag;
    l.postpone = job->postpone;
    l.as_json = job->as_json;
    rc = cutover_run(&l);
    *postponed = !rc && l.postponed;
    if (!rc && !l.postponed) {
        if (job->before) job->before(job->ctx);
        rc = cutover_tell(&l);
    }
    cli_close(&l.st);
    return rc;
}

int cmd_cutover(int argc, char **argv)
{
    int rc, rehearsal = 0;
    life l;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &l.file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &l.name, "which is to become active", NULL},
        CMD_GATE_OPTS(l.gate),
        {"--reason", "TEXT", CLI_STR, &l.gate.reason,
         "recorded; needed to ask less than the policy", NULL},
        HOOK_OPTS(l.hook),
        {"--rehearse", NULL, CLI_FLAG, &rehearsal,
         "on a copy beside the file: flip, probe, flip back", NULL},
        {"--dry-run", NULL, CLI_FLAG, &l.dry, "judge only", NULL},
        {"--json", NULL, CLI_FLAG, &l.as_json, "one JSON object", NULL},
        CLI_END};
    life_start(&l, "cutover", cutover_step);
    rc = cli_parse(argc, argv, "Makes a tag active if its gate passes; the active one becomes\n"
                   "standby. Exit code 3: HOLD, which goes into the history, or a hook's no.",
                   opts);
    if (rc >= 0) return rc;
    l.reason = l.gate.reason;
    rc = cmd_gate_check(&l.gate);
    if (!rc) rc = hook_check(&l.hook);
    if (rc) return rc;
    if (rehearsal) return rehearse(l.file, l.name, &l.gate, l.as_json, l.dry);
    rc = cutover_run(&l);
    if (!rc) rc = cutover_tell(&l);
    cli_close(&l.st);
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

static void rollback_json(const life *l)
{
    int moved = l->to != l->before.active;
    out o;
    out_start(&o, stdout);
    out_str(&o, "from", cli_tag_name(&l->st, l->before.active));
    out_str(&o, "to", cli_tag_name(&l->st, l->to));
    out_bool(&o, "changed", moved && !l->dry);
    out_bool(&o, "dry_run", l->dry);
    out_u64(&o, "hides", l->cover.extra);
    if (moved && l->cover.extra) hidden_json(&o, &l->st, l->before.active, l->to);
    if (moved && !l->dry) out_f64(&o, "flip_ms", l->ms);
    out_close(&o, '}');
}

static void rollback_report(const life *l)
{
    const char *from = cli_tag_name(&l->st, l->before.active), *to = cli_tag_name(&l->st, l->to);
    if (l->as_json) {
        rollback_json(l);
        return;
    }
    if (l->to == l->before.active) {
        printf("%s is active already: nothing to do\n", to);
        return;
    }
    printf("%s %s from %s\n", l->dry ? "would go back to" : "active:", to, from);
    printf("hides %llu items that are fresh only under %s; they are pending under %s%s\n",
           ull(l->cover.extra), from, to, l->cover.extra ? ":" : "");
    if (l->cover.extra) hidden_print(&l->st, l->before.active, l->to, l->cover.extra);
    if (l->dry) puts("dry run: nothing changed");
    else printf("flipped in %.2f ms\n", l->ms);
}

/* The engine's line of a rollback has no room for a reason: a note after it has. */
static vtag_err rollback_reason(const life *l)
{
    vtag_event e;
    if (!l->reason || !l->moves) return VTAG_OK;
    memset(&e, 0, sizeof e);
    e.kind = VTAG_K_NOTE;
    e.name = "rollback";
    e.tag = l->before.active;
    e.base = l->to;
    e.commit = l->before.commit;
    e.cover = l->cover;
    e.text = l->reason;
    return vtag_note(l->st.batch, &e);
}

static int rollback_step(life *l)
{
    vtag_err err = vtag_rollback(l->st.batch, l->tag.tag, &l->cover);
    if (err == VTAG_NOTFOUND) {
        return cli_fail("%s: no tag is standby; name an older one with --tag", l->file);
    }
    if (err == VTAG_ARG) {
        return cli_fail("%s: tag '%s' was never active, so there is no way back to it; "
                        "vtag cutover goes through the gate", l->file, l->tag.spec.name);
    }
    l->to = l->tag.tag ? l->tag.tag : l->before.rolled_back ? l->before.active : l->before.standby;
    l->moves = l->to != l->before.active;
    if (!err) err = rollback_reason(l);
    return err ? cli_error(err, "%s", l->file) : 0;
}

int cmd_rollback(int argc, char **argv)
{
    int rc;
    life l;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &l.file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &l.name, "an older tag; else the standby", NULL},
        {"--reason", "TEXT", CLI_STR, &l.reason, "recorded", NULL},
        HOOK_OPTS(l.hook),
        {"--dry-run", NULL, CLI_FLAG, &l.dry, "tell what it would hide", NULL},
        {"--json", NULL, CLI_FLAG, &l.as_json, "one JSON object", NULL},
        CLI_END};
    life_start(&l, "rollback", rollback_step);
    rc = cli_parse(argc, argv, "Makes the standby, or an older tag, active again: at once and\n"
                   "without a gate. Asking again changes nothing. Exit code 3: a hook's no.", opts);
    if (rc >= 0) return rc;
    rc = cmd_text("--reason", l.reason, 1024);
    if (!rc) rc = hook_check(&l.hook);
    if (!rc) rc = life_open(&l);
    if (!rc) rc = life_do(&l);
    if (!rc) rollback_report(&l);
    fflush(stdout);
    if (!rc && l.moves && !l.dry) life_tell(&l, "rollback");
    cli_close(&l.st);
    return rc;
}

/* ---- retire --------------------------------------------------------------------------------- */

static void retire_lost(const life *l)
{
    char bytes[CLI_TEXT];
    const vtag_cover *c = &l->cover;
    printf("%s: %s, %s, %llu items\n", l->tag.spec.name, cli_role_name(l->tag.role),
           cli_bytes(bytes, l->tag.bytes), ull(c->base));
    printf("  %llu are fresh under another tag, %llu only stale, %llu under no other\n",
           ull(c->fresh), ull(c->stale), ull(c->missing));
    if (c->missing) puts("  what no other tag has is lost with the next vtag compact");
}

static void retire_json(const life *l)
{
    const vtag_cover *c = &l->cover;
    out o;
    out_start(&o, stdout);
    out_str(&o, "tag", l->tag.spec.name);
    out_str(&o, "verdict", l->kept ? "KEPT" : "GO");
    out_bool(&o, "dry_run", l->dry);
    out_u64(&o, "items", c->base);
    out_u64(&o, "elsewhere_fresh", c->fresh);
    out_u64(&o, "elsewhere_stale", c->stale);
    out_u64(&o, "lost", c->missing);
    out_u64(&o, "bytes", l->tag.bytes);
    out_str(&o, "freed_by", "compact");
    out_u64(&o, "kept_ms", l->tag.kept_ms);
    out_u64(&o, "retain_ms", l->policy.retain_ms);
    out_close(&o, '}');
}

static int retire_kept(const life *l)
{
    char left[CLI_TEXT], when[CLI_TEXT];
    const char *name = l->tag.spec.name;
    uint64_t all = l->policy.retain_ms, rest = l->tag.kept_ms < all ? all - l->tag.kept_ms : 0;
    if (l->policy.hold) {
        return cli_refuse("%s: tag '%s' is kept: hold: %s; vtag policy --no-hold ends it", l->file,
                          name, l->policy.hold);
    }
    if (!rest) {
        return cli_refuse("%s: tag '%s' is kept: the active tag lacks passing scores; give them "
                          "with vtag eval, or a --reason", l->file, name);
    }
    return cli_refuse("%s: tag '%s' is kept: %s of its retention are left, until %s at the "
                      "earliest; wait, or give a --reason", l->file, name, cli_span(left, rest),
                      cli_time(when, cli_clock() + rest));
}

static int retire_step(life *l)
{
    vtag_err err = vtag_retire(l->st.batch, l->tag.tag, l->reason, &l->cover);
    l->kept = err == VTAG_KEPT;
    l->moves = !err;
    if (!err || l->kept) return 0;
    return cli_error(err, "%s: tag '%s'", l->file, l->tag.spec.name);
}

static void retire_first(const life *l)
{
    if (l->as_json) retire_json(l);
    else retire_lost(l);
    fflush(stdout);
}

static int retire_report(const life *l)
{
    char bytes[CLI_TEXT];
    if (l->kept || l->dry) retire_first(l);
    if (l->kept) return retire_kept(l);
    if (l->as_json) return 0;
    if (l->dry) puts("dry run: nothing changed");
    else printf("retired; vtag compact %s gives its %s back, which nothing does before\n", l->file,
                cli_bytes(bytes, l->tag.bytes));
    return 0;
}

int cmd_retire(int argc, char **argv)
{
    int rc;
    life l;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &l.file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &l.name, "which is to stop answering", NULL},
        {"--reason", "TEXT", CLI_STR, &l.reason,
         "recorded; needed before its retention is over", NULL},
        HOOK_OPTS(l.hook),
        {"--dry-run", NULL, CLI_FLAG, &l.dry, "tell what would be lost", NULL},
        {"--json", NULL, CLI_FLAG, &l.as_json, "one JSON object", NULL},
        CLI_END};
    life_start(&l, "retire", retire_step);
    l.first = retire_first;
    rc = cli_parse(argc, argv, "Takes a tag out of service, and says what would be lost. Exit code\n"
                   "3: it is kept, or a hook's no. Its space returns with vtag compact.", opts);
    if (rc >= 0) return rc;
    rc = cmd_text("--reason", l.reason, 1024);
    if (!rc) rc = hook_check(&l.hook);
    if (!rc) rc = life_open(&l);
    if (!rc) rc = life_do(&l);
    if (!rc) rc = retire_report(&l);
    fflush(stdout);
    if (!rc && l.moves && !l.dry) life_tell(&l, "retire");
    cli_close(&l.st);
    return rc;
}
