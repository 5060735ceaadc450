/* dash_out.c - the dashboard's numbers for programs: JSON and Prometheus. */
#include <string.h>

#include "dash.h"

static double ratio(uint64_t part, uint64_t of)
{
    return of ? (double)part / (double)of : 0;
}

/* ---- One JSON object ------------------------------------------------------------- */

static void json_score(out *o, const char *name, const vtag_event *e)
{
    out_open(o, name, '{');
    out_str(o, "name", e->name);
    out_f64(o, "value", e->value);
    out_u64(o, "queries", e->queries);
    out_u64(o, "commit", e->commit);
    out_time(o, "time", e->time);
    out_bool(o, "provisional", (e->flags & VTAG_PROVISIONAL) != 0);
    out_cover(o, "cover", &e->cover);
    out_close(o, '}');
}

static void json_backfill(out *o, const dash_tag *t)
{
    const dash_backfill *b = &t->backfill;
    out_open(o, "backfill", '{');
    out_str(o, "state", b->state);
    out_bool(o, "silent", b->silent);
    out_str(o, "reason", b->reason);
    out_u64(o, "done", b->done);
    out_u64(o, "total", b->total);
    out_u64(o, "quarantined", b->quarantined);
    out_f64(o, "rate", b->rate);
    out_u64(o, "pid", b->pid);
    out_time(o, "updated", b->updated);
    out_time(o, "finish", b->finish);
    out_close(o, '}');
}

static void json_shadow(out *o, const dash *d, const dash_shadow *s)
{
    int i;
    out_open(o, "shadow", '{');
    out_str(o, "base", cli_tag_name(&d->st, s->event->base));
    out_time(o, "time", s->event->time);
    out_f64(o, "overlap", s->event->value);
    out_f64(o, "rank_biased_overlap", s->event->base_value);
    out_u64(o, "queries", s->event->queries);
    if (s->has_empty) out_u64(o, "empty", s->empty);
    if (s->has_histogram) {
        out_open(o, "overlap_histogram", '[');
        for (i = 0; i < 11; i++) out_u64(o, NULL, s->histogram[i]);
        out_close(o, ']');
    }
    out_open(o, "latency_ms", '{');
    for (i = 0; i < s->nlatency; i++) out_f64(o, s->latency[i].name, s->latency[i].ms);
    out_close(o, '}');
    out_open(o, "worst", '[');
    for (i = 0; i < s->nworst; i++) {
        out_open(o, NULL, '{');
        out_str(o, "query", s->worst[i].query);
        if (s->worst[i].text[0]) out_str(o, "text", s->worst[i].text);
        out_f64(o, "overlap", s->worst[i].overlap);
        out_close(o, '}');
    }
    out_close(o, ']');
    out_close(o, '}');
}

static void json_points(out *o, const dash_tag *t)
{
    size_t i;
    out_open(o, "over_time", '[');
    for (i = 0; i < t->npoints; i++) {
        const dash_point *p = &t->points[i];
        out_open(o, NULL, '[');
        out_u64(o, NULL, p->time);
        out_u64(o, NULL, p->fresh);
        out_u64(o, NULL, p->stale);
        out_u64(o, NULL, p->missing);
        out_u64(o, NULL, p->waived);
        out_close(o, ']');
    }
    out_close(o, ']');
}

static void json_quarantine(out *o, const dash_tag *t)
{
    size_t i;
    out_open(o, "quarantine", '[');
    for (i = 0; i < t->nreasons; i++) {
        out_open(o, NULL, '{');
        out_str(o, "reason", t->reasons[i].why);
        out_u64(o, "items", t->reasons[i].items);
        out_close(o, '}');
    }
    out_close(o, ']');
    if (t->other_reasons) out_u64(o, "quarantine_other", t->other_reasons);
}

static void json_live(out *o, const dash *d, const dash_tag *t)
{
    const vtag_cover *c = &t->cover;
    uint64_t part, of;
    size_t i;
    out_cover(o, "cover", c);
    out_u64(o, "pending", dash_pending(t));
    if (t->coverable) out_f64(o, "coverage", ratio(t->covered, t->coverable));
    if (dash_naive(d, t, &part, &of)) out_f64(o, "naive", ratio(part, of));
    if (dash_score(d, t)) json_score(o, "score", dash_score(d, t));
    out_open(o, "scores", '[');
    for (i = 0; i < t->nscores; i++) json_score(o, NULL, t->scores[i]);
    out_close(o, ']');
    if (t->backfill.known) json_backfill(o, t);
    if (t->shadow.event) json_shadow(o, d, &t->shadow);
    json_quarantine(o, t);
    if (t->target) out_time(o, "target", t->target);
    if (t->has_embedder) {
        out_open(o, "embedder", '{');
        out_bool(o, "answers", t->embedder_answers);
        out_f64(o, "cosine", t->cosine);
        out_time(o, "time", t->embedder_time);
        out_close(o, '}');
    }
}

static void json_tag(out *o, const dash *d, const dash_tag *t)
{
    const vtag_info *i = &t->info;
    out_open(o, NULL, '{');
    out_str(o, "tag", i->spec.name);
    out_str(o, "role", cli_role_name(i->role));
    out_u64(o, "dim", i->spec.dim);
    out_str(o, "metric", cli_metric_name(i->spec.metric));
    out_bool(o, "assumed", (i->spec.flags & VTAG_ASSUMED) != 0);
    out_str(o, "note", i->spec.note);
    out_bool(o, "forced", i->forced);
    out_u64(o, "items", i->items);
    out_u64(o, "rows", i->rows);
    out_u64(o, "bytes", i->bytes);
    out_time(o, "created", i->created);
    out_time(o, "activated", i->activated);
    out_u64(o, "writes_with", i->writes_with);
    out_u64(o, "writes_without", i->writes_without);
    if (i->role != VTAG_GONE) json_live(o, d, t);
    json_points(o, t);
    if (t->has_left) {
        out_u64(o, "kept_ms", i->kept_ms);
        out_u64(o, "retention_left_ms", t->left_ms);
    }
    out_close(o, '}');
}

static void json_head(out *o, const dash *d)
{
    char uuid[33];
    size_t i;
    for (i = 0; i < 16; i++) snprintf(uuid + 2 * i, 3, "%02x", d->stat.uuid[i]);
    out_str(o, "file", d->st.path);
    out_str(o, "uuid", uuid);
    out_time(o, "time", d->now);
    out_u64(o, "commit", d->stat.commit);
    out_time(o, "committed", d->stat.time);
    out_u64(o, "revision", d->stat.revision);
    out_u64(o, "items", d->stat.items);
    out_u64(o, "unfound_items", d->unfound);
    out_u64(o, "rows", d->stat.rows);
    out_u64(o, "file_bytes", d->stat.file_bytes);
    out_u64(o, "live_bytes", d->stat.live_bytes);
    out_u64(o, "segments", d->stat.segments);
    out_u64(o, "events", d->stat.events);
    out_str(o, "isa", d->stat.isa);
    out_str(o, "active", d->stat.active ? cli_tag_name(&d->st, d->stat.active) : NULL);
    out_str(o, "standby", d->stat.standby ? cli_tag_name(&d->st, d->stat.standby) : NULL);
    out_bool(o, "rolled_back", d->stat.rolled_back);
}

static void json_rollback(out *o, const dash *d)
{
    if (d->stat.standby) {
        out_open(o, "rollback", '{');
        out_str(o, "to", cli_tag_name(&d->st, d->stat.standby));
        out_u64(o, "hides", d->hidden.extra);
        out_cover(o, "cover", &d->hidden);
        out_close(o, '}');
    }
    if (d->rehearsal) {
        out_open(o, "rehearsal", '{');
        out_time(o, "time", d->rehearsal->time);
        out_str(o, "tag", cli_tag_name(&d->st, d->rehearsal->tag));
        out_f64(o, "flip_ms", d->rehearsal->value);
        out_f64(o, "back_ms", d->rehearsal->base_value);
        out_close(o, '}');
    }
}

static void json_rest(out *o, const dash *d)
{
    size_t i;
    json_rollback(o, d);
    out_open(o, "retention", '{');
    out_u64(o, "retain_ms", d->policy.retain_ms);
    out_u64(o, "retain_scores", d->policy.retain_scores);
    out_str(o, "hold", d->policy.hold);
    out_close(o, '}');
    out_open(o, "last_events", '[');
    for (i = dash_first_event(d); i < d->nevents; i++) {
        out_open(o, NULL, '{');
        cmd_event_json(o, &d->st, &d->events[i]);
        cmd_event_facts(o, &d->events[i]);
        out_close(o, '}');
    }
    out_close(o, ']');
}

void dash_json(const dash *d, FILE *f)
{
    out o;
    size_t i;
    out_start(&o, f);
    json_head(&o, d);
    out_open(&o, "tags", '[');
    for (i = 0; i < d->n; i++) json_tag(&o, d, &d->tags[i]);
    out_close(&o, ']');
    out_open(&o, "verdicts", '[');
    for (i = 0; i < d->n; i++) {
        if (!d->tags[i].judged) continue;
        out_open(&o, NULL, '{');
        cmd_verdict_json(&o, &d->st, d->tags[i].info.tag, &d->tags[i].verdict);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    json_rest(&o, d);
    out_close(&o, '}');
}

/* ---- Prometheus ---------------------------------------------------------------------- */

/* A label's value, in quotes. */
static void label(FILE *f, const char *s)
{
    char line[300];
    const char *p = cli_line(line, sizeof line, s ? s : "", s ? strlen(s) : 0);
    fputc('"', f);
    for (; *p; p++) {
        if (*p == '"' || *p == '\\') fputc('\\', f);
        fputc(*p, f);
    }
    fputc('"', f);
}

static void family(FILE *f, const char *name, const char *help)
{
    size_t n = strlen(name);
    int counts = n > 6 && !strcmp(name + n - 6, "_total");
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, counts ? "counter" : "gauge");
}

static void plain(FILE *f, const char *name, const char *help, double x)
{
    family(f, name, help);
    fprintf(f, "%s %.15g\n", name, x);
}

/* A sample of a tag; extra is a further label with its comma, or "". */
static void sample(FILE *f, const char *name, const dash_tag *t, const char *extra, double x)
{
    fprintf(f, "%s{tag=", name);
    label(f, t->info.spec.name);
    fprintf(f, "%s} %.15g\n", extra, x);
}

typedef struct series {      /* one number a tag */
    const char *name, *help;
    int   (*has)(const dash_tag *t);
    double (*get)(const dash_tag *t);
} series;

static int has_live(const dash_tag *t) { return t->info.role != VTAG_GONE; }
static int has_base(const dash_tag *t) { return has_live(t) && t->coverable; }
static int has_verdict(const dash_tag *t) { return t->judged; }
static int has_oldest(const dash_tag *t) { return t->cover.oldest != 0; }
static int has_left(const dash_tag *t) { return t->has_left; }
static int has_fill(const dash_tag *t) { return has_live(t) && t->backfill.known; }
static int has_finish(const dash_tag *t) { return has_fill(t) && t->backfill.finish; }
static int has_shadow(const dash_tag *t) { return has_live(t) && t->shadow.event; }
static double get_bytes(const dash_tag *t) { return (double)t->info.bytes; }
static double get_pending(const dash_tag *t) { return (double)dash_pending(t); }
static double get_oldest(const dash_tag *t) { return (double)t->cover.oldest / 1e3; }
static double get_forced(const dash_tag *t) { return t->info.forced; }
static double get_pass(const dash_tag *t) { return t->verdict.pass; }
static double get_left(const dash_tag *t) { return (double)t->left_ms / 1e3; }
static double get_rate(const dash_tag *t) { return t->backfill.rate; }
static double get_running(const dash_tag *t) { return t->backfill.running && !t->backfill.silent; }
static double get_finish(const dash_tag *t) { return (double)t->backfill.finish / 1e3; }
static double get_overlap(const dash_tag *t) { return t->shadow.event->value; }
static double get_biased(const dash_tag *t) { return t->shadow.event->base_value; }
static double get_with(const dash_tag *t) { return (double)t->info.writes_with; }
static double get_without(const dash_tag *t) { return (double)t->info.writes_without; }
static double get_coverage(const dash_tag *t)
{
    return ratio(t->covered, t->coverable);
}

static const series all_series[] = {
    {"vtag_tag_coverage_ratio", "(fresh + waived) / items of the active tag; its own: / all items", has_base,
     get_coverage},
    {"vtag_tag_pending_items", "Items to embed under the tag.", has_live, get_pending},
    {"vtag_tag_oldest_pending_timestamp_seconds", "Age of the oldest pending item.", has_oldest,
     get_oldest},
    {"vtag_tag_bytes", "Of the file, held by the tag.", has_live, get_bytes},
    {"vtag_tag_writes_with_total", "New revisions that gave the tag.", has_live, get_with},
    {"vtag_tag_writes_without_total", "New revisions that left it out.", has_live, get_without},
    {"vtag_tag_forced", "1: active below the policy, until its gate passes.", has_live,
     get_forced},
    {"vtag_gate_pass", "1: GO, 0: HOLD.", has_verdict, get_pass},
    {"vtag_backfill_running", "1: at work.", has_fill, get_running},
    {"vtag_backfill_items_per_second", "Its rate.", has_fill, get_rate},
    {"vtag_backfill_finish_timestamp_seconds", "Forecast of its end.", has_finish, get_finish},
    {"vtag_shadow_overlap", "Mean overlap of the first ten hits.", has_shadow, get_overlap},
    {"vtag_shadow_rank_biased_overlap", "Mean rank-biased overlap.", has_shadow, get_biased},
    {"vtag_retention_left_seconds", "Until the tag may be retired.", has_left, get_left}};

static void prometheus_series(const dash *d, FILE *f)
{
    size_t i, k;
    for (k = 0; k < sizeof all_series / sizeof *all_series; k++) {
        const series *s = &all_series[k];
        int headed = 0;
        for (i = 0; i < d->n; i++) {
            if (!s->has(&d->tags[i])) continue;
            if (!headed++) family(f, s->name, s->help);
            sample(f, s->name, &d->tags[i], "", s->get(&d->tags[i]));
        }
    }
}

static void prometheus_states(const dash *d, FILE *f)
{
    size_t i;
    family(f, "vtag_tag_items", "Items by their state under the tag.");
    for (i = 0; i < d->n; i++) {
        const dash_tag *t = &d->tags[i];
        const vtag_cover *c = &t->cover;
        if (!has_live(t)) continue;
        sample(f, "vtag_tag_items", t, ",state=\"fresh\"", (double)c->fresh);
        sample(f, "vtag_tag_items", t, ",state=\"stale\"", (double)c->stale);
        sample(f, "vtag_tag_items", t, ",state=\"missing\"", (double)c->missing);
        sample(f, "vtag_tag_items", t, ",state=\"waived\"", (double)c->waived);
        sample(f, "vtag_tag_items", t, ",state=\"outside\"", (double)c->outside);
    }
    family(f, "vtag_tag_role", "1 for the role that the tag has.");
    for (i = 0; i < d->n; i++) {
        char role[40];
        snprintf(role, sizeof role, ",role=\"%s\"", cli_role_name(d->tags[i].info.role));
        sample(f, "vtag_tag_role", &d->tags[i], role, 1);
    }
}

static void prometheus_score(const dash_tag *t, const vtag_event *e, const char *name, double x,
                             FILE *f)
{
    fprintf(f, "%s{tag=", name);
    label(f, t->info.spec.name);
    fputs(",score=", f);
    label(f, e->name);
    fprintf(f, ",provisional=\"%s\"} %.15g\n", e->flags & VTAG_PROVISIONAL ? "yes" : "no", x);
}

static void prometheus_scores(const dash *d, FILE *f)
{
    size_t i, k;
    int pass, any = 0;
    for (pass = 0; pass < 2; pass++) {
        const char *name = pass ? "vtag_score_queries" : "vtag_score";
        for (i = 0, any = 0; i < d->n; i++) {
            const dash_tag *t = &d->tags[i];
            for (k = 0; has_live(t) && k < t->nscores; k++) {
                if (!any++) family(f, name, pass ? "It was taken from." : "The newest score.");
                prometheus_score(t, t->scores[k], name,
                                 pass ? (double)t->scores[k]->queries : t->scores[k]->value, f);
            }
        }
    }
}

void dash_prometheus(const dash *d, FILE *f)
{
    family(f, "vtag_info", "The file.");
    fputs("vtag_info{file=", f);
    label(f, d->st.path);
    fputs(",active=", f);
    label(f, d->stat.active ? cli_tag_name(&d->st, d->stat.active) : "");
    fputs("} 1\n", f);
    plain(f, "vtag_items", "Live items.", (double)d->stat.items);
    plain(f, "vtag_unfound_items", "Live items that no search finds.", (double)d->unfound);
    plain(f, "vtag_vectors", "Live vectors.", (double)d->stat.rows);
    plain(f, "vtag_file_bytes", "Size of the file.", (double)d->stat.file_bytes);
    plain(f, "vtag_live_bytes", "About what a compaction would leave.", (double)d->stat.live_bytes);
    plain(f, "vtag_commits_total", "Commits so far.", (double)d->stat.commit);
    plain(f, "vtag_commit_timestamp_seconds", "Time of the newest commit.",
          (double)d->stat.time / 1e3);
    plain(f, "vtag_rolled_back", "1: the newest change of roles was a rollback.",
          d->stat.rolled_back);
    plain(f, "vtag_hold", "1: nothing may be retired.", d->policy.hold != NULL);
    if (d->stat.standby) {
        plain(f, "vtag_rollback_hidden_items", "Items that a rollback would not see.",
              (double)d->hidden.extra);
    }
    prometheus_states(d, f);
    prometheus_series(d, f);
    prometheus_scores(d, f);
}
