/* cmd_status.c - status: the dashboard on a terminal, or as one object. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"

typedef struct dash {        /* all that is shown, read from one snapshot */
    cli_store     st;
    vtag_stat     stat;
    vtag_policy   policy;
    vtag_info    *tags;
    vtag_cover   *cover;     /* cover[i] of tags[i] against the active one */
    vtag_verdict *verdict;   /* of the candidates */
    size_t        n;
    vtag_event   *events;
    size_t        nevents;
    vtag_cover    hidden;    /* by a rollback to the standby */
    uint64_t      now;
} dash;

static unsigned long long ull(uint64_t n) { return n; }

static void dash_free(dash *d)
{
    free(d->tags);
    free(d->cover);
    free(d->verdict);
    free(d->events);
    d->tags = NULL;
    d->cover = NULL;
    d->verdict = NULL;
    d->events = NULL;
}

static vtag_err dash_measure(dash *d)
{
    vtag_err err = VTAG_OK;
    size_t i;
    d->cover = cli_alloc((d->n + 1) * sizeof *d->cover);
    d->verdict = cli_alloc((d->n + 1) * sizeof *d->verdict);
    for (i = 0; i < d->n && !err; i++) {
        if (d->tags[i].role == VTAG_GONE) continue;
        err = vtag_coverage(d->st.snap, d->tags[i].tag, 0, &d->cover[i]);
        if (!err && d->tags[i].role == VTAG_CANDIDATE) {
            err = vtag_judge(d->st.snap, d->tags[i].tag, NULL, &d->verdict[i]);
        }
    }
    if (!err && d->stat.standby) {
        err = vtag_coverage(d->st.snap, d->stat.active, d->stat.standby, &d->hidden);
    }
    return err;
}

static int dash_read(dash *d)
{
    vtag_err err;
    int rc = cli_snap(&d->st);
    if (rc) return rc;
    d->now = cli_clock();
    err = vtag_stats(d->st.snap, &d->stat);
    if (!err) err = vtag_policy_get(d->st.snap, &d->policy);
    if (err) return cli_error(err, "%s", d->st.path);
    rc = cli_tags(&d->st, &d->tags, &d->n);
    if (!rc) rc = cmd_events(&d->st, &d->events, &d->nevents);
    if (rc) return rc;
    err = dash_measure(d);
    return err ? cli_error(err, "%s", d->st.path) : 0;
}

static const vtag_info *dash_tag(const dash *d, vtag_tag tag)
{
    size_t i;
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].tag == tag) return &d->tags[i];
    }
    return NULL;
}

/* The newest score of a tag: the last of each name is shown, so ask from the end. */
static const vtag_event *dash_score(const dash *d, vtag_tag tag)
{
    size_t i;
    for (i = d->nevents; i-- > 0;) {
        if (d->events[i].kind == VTAG_K_SCORE && d->events[i].tag == tag) return &d->events[i];
    }
    return NULL;
}

/* ---- For people --------------------------------------------------------------------- */

static void print_head(const dash *d)
{
    char items[CLI_TEXT], rows[CLI_TEXT], bytes[CLI_TEXT], live[CLI_TEXT], when[CLI_TEXT];
    printf("%s  %s items, %s vectors, %s (%s live), commit %llu of %s, kernels %s\n", d->st.path,
           cli_count(items, d->stat.items), cli_count(rows, d->stat.rows),
           cli_bytes(bytes, d->stat.file_bytes), cli_bytes(live, d->stat.live_bytes),
           ull(d->stat.commit), cli_time(when, d->stat.time), d->stat.isa);
    printf("active  %s\n", cli_tag_name(&d->st, d->stat.active));
}

static void print_verdicts(const dash *d)
{
    size_t i;
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].role != VTAG_CANDIDATE) continue;
        putchar('\n');
        cmd_verdict_print(&d->st, d->tags[i].tag, &d->verdict[i]);
    }
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].forced) {
            printf("\nFORCED  %s became active below the policy, and its gate does not pass yet\n",
                   d->tags[i].spec.name);
        }
    }
}

static void print_score(const dash *d, vtag_tag tag, char *buf, size_t size)
{
    const vtag_event *e = dash_score(d, tag);
    char cover[CLI_TEXT];
    buf[0] = '\0';
    if (!e) return;
    snprintf(buf, size, "%s %.4g at %s%s%s", e->name ? e->name : "", e->value,
             cli_percent(cover, e->cover.fresh + e->cover.waived, e->cover.base),
             e->flags & VTAG_PROVISIONAL ? " provisional" : "",
             e->queries < 250 ? " small" : "");
}

static void print_tags(const dash *d)
{
    const vtag_info *active = dash_tag(d, d->stat.active);
    cli_table t = {0};
    size_t i;
    cli_row(&t, "tag\trole\tfresh\tstale\tmissing\twaived\toutside\tcoverage\tnaive\twith\twithout"
                "\tbytes\tage\tscore");
    for (i = 0; i < d->n; i++) {
        const vtag_info *tag = &d->tags[i];
        const vtag_cover *c = &d->cover[i];
        char cover[CLI_TEXT], naive[CLI_TEXT], bytes[CLI_TEXT], age[CLI_TEXT], score[120];
        if (tag->role == VTAG_GONE) continue;
        print_score(d, tag->tag, score, sizeof score);
        cli_row(&t, "%s\t%s%s\t%llu\t%llu\t%llu\t%llu\t%llu\t%s\t%s\t%llu\t%llu\t%s\t%s\t%s",
                tag->spec.name, cli_role_name(tag->role), tag->forced ? " FORCED" : "",
                ull(c->fresh), ull(c->stale), ull(c->missing), ull(c->waived), ull(c->outside),
                cli_percent(cover, c->fresh + c->waived, c->base),
                cli_percent(naive, tag->items, active ? active->items : 0),
                ull(tag->writes_with), ull(tag->writes_without), cli_bytes(bytes, tag->bytes),
                cli_span(age, d->now > tag->created ? d->now - tag->created : 0), score);
    }
    if (t.n > 1) putchar('\n');
    cli_table_print(&t, "llrrrrrrrrrrrl");
}

static void print_rollback(const dash *d)
{
    if (!d->stat.standby) {
        puts(d->stat.rolled_back ? "\nrollback   done; there is no older tag to go back to"
                                 : "\nrollback   no standby");
        return;
    }
    if (d->stat.rolled_back) {
        printf("\nrollback   done: %s is active; an older tag is reached with vtag rollback "
               "--tag %s\n", cli_tag_name(&d->st, d->stat.active),
               cli_tag_name(&d->st, d->stat.standby));
        return;
    }
    printf("\nrollback   to %s, which would not see %llu items; they would be its pending list\n",
           cli_tag_name(&d->st, d->stat.standby), ull(d->hidden.extra));
}

static uint64_t retention_left(const dash *d, const vtag_info *t)
{
    return t->kept_ms < d->policy.retain_ms ? d->policy.retain_ms - t->kept_ms : 0;
}

static int retention_of(const vtag_info *t)
{
    return t->activated && t->role != VTAG_ACTIVE && t->role != VTAG_GONE;
}

static void print_retention(const dash *d)
{
    char span[CLI_TEXT], bytes[CLI_TEXT], when[CLI_TEXT];
    size_t i;
    printf("retention  %s after a tag was active", cli_span(span, d->policy.retain_ms));
    if (d->policy.retain_scores) printf(" and %u passing scores", d->policy.retain_scores);
    putchar('\n');
    if (d->policy.hold) printf("           HOLD: nothing may be retired: %s\n", d->policy.hold);
    for (i = 0; i < d->n; i++) {
        const vtag_info *t = &d->tags[i];
        uint64_t left = retention_left(d, t);
        if (!retention_of(t)) continue;
        printf("           %s keeps %s", t->spec.name, cli_bytes(bytes, t->bytes));
        if (left) printf(", until %s at the earliest\n", cli_time(when, d->now + left));
        else puts(", may be retired");
    }
}

static void print_events(const dash *d)
{
    cli_table t = {0};
    size_t i;
    if (!d->nevents) return;
    puts("\nlast events");
    for (i = d->nevents > 8 ? d->nevents - 8 : 0; i < d->nevents; i++) {
        cmd_event_row(&t, &d->st, &d->events[i]);
    }
    cli_table_print(&t, "rllll");
}

static void dash_print(const dash *d)
{
    print_head(d);
    print_verdicts(d);
    print_tags(d);
    print_rollback(d);
    print_retention(d);
    print_events(d);
}

/* ---- As one object --------------------------------------------------------------------- */

static void json_score(out *o, const dash *d, vtag_tag tag)
{
    const vtag_event *e = dash_score(d, tag);
    if (!e) return;
    out_open(o, "score", '{');
    out_str(o, "name", e->name);
    out_f64(o, "value", e->value);
    out_u64(o, "queries", e->queries);
    out_u64(o, "commit", e->commit);
    out_bool(o, "provisional", (e->flags & VTAG_PROVISIONAL) != 0);
    out_cover(o, "cover", &e->cover);
    out_close(o, '}');
}

static void json_tag(out *o, const dash *d, size_t i)
{
    const vtag_info *t = &d->tags[i];
    const vtag_info *active = dash_tag(d, d->stat.active);
    out_open(o, NULL, '{');
    out_str(o, "tag", t->spec.name);
    out_str(o, "role", cli_role_name(t->role));
    out_u64(o, "dim", t->spec.dim);
    out_str(o, "metric", cli_metric_name(t->spec.metric));
    out_bool(o, "assumed", (t->spec.flags & VTAG_ASSUMED) != 0);
    out_bool(o, "forced", t->forced);
    out_u64(o, "items", t->items);
    out_u64(o, "rows", t->rows);
    out_u64(o, "bytes", t->bytes);
    out_time(o, "created", t->created);
    out_time(o, "activated", t->activated);
    out_u64(o, "writes_with", t->writes_with);
    out_u64(o, "writes_without", t->writes_without);
    if (t->role != VTAG_GONE) {
        const vtag_cover *c = &d->cover[i];
        out_cover(o, "cover", c);
        if (c->base) out_f64(o, "coverage", (double)(c->fresh + c->waived) / (double)c->base);
        if (active && active->items) {
            out_f64(o, "naive", (double)t->items / (double)active->items);
        }
        json_score(o, d, t->tag);
    }
    if (retention_of(t)) {
        out_u64(o, "kept_ms", t->kept_ms);
        out_u64(o, "retention_left_ms", retention_left(d, t));
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

static void json_rest(out *o, const dash *d)
{
    size_t i;
    if (d->stat.standby) {
        out_open(o, "rollback", '{');
        out_str(o, "to", cli_tag_name(&d->st, d->stat.standby));
        out_u64(o, "hides", d->hidden.extra);
        out_cover(o, "cover", &d->hidden);
        out_close(o, '}');
    }
    out_open(o, "retention", '{');
    out_u64(o, "retain_ms", d->policy.retain_ms);
    out_u64(o, "retain_scores", d->policy.retain_scores);
    out_str(o, "hold", d->policy.hold);
    out_close(o, '}');
    out_open(o, "last_events", '[');
    for (i = d->nevents > 8 ? d->nevents - 8 : 0; i < d->nevents; i++) {
        out_open(o, NULL, '{');
        cmd_event_json(o, &d->st, &d->events[i]);
        out_close(o, '}');
    }
    out_close(o, ']');
}

static void dash_json(const dash *d)
{
    out o;
    size_t i;
    out_start(&o, stdout);
    json_head(&o, d);
    out_open(&o, "tags", '[');
    for (i = 0; i < d->n; i++) json_tag(&o, d, i);
    out_close(&o, ']');
    out_open(&o, "verdicts", '[');
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].role != VTAG_CANDIDATE) continue;
        out_open(&o, NULL, '{');
        cmd_verdict_json(&o, &d->st, d->tags[i].tag, &d->verdict[i]);
        out_close(&o, '}');
    }
    out_close(&o, ']');
    json_rest(&o, d);
    out_close(&o, '}');
}

/* ---- The command -------------------------------------------------------------------------- */

static int status_show(dash *d, int as_json, int clear)
{
    int rc = dash_read(d);
    if (!rc) {
        if (clear) fputs("\033[H\033[2J", stdout);
        if (as_json) dash_json(d);
        else dash_print(d);
        fflush(stdout);
    }
    dash_free(d);
    return rc;
}

int cmd_status(int argc, char **argv)
{
    const char *file;
    int as_json = 0, watch = 0, rc;
    struct timespec pause = {2, 0};
    dash d;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--watch", NULL, CLI_FLAG, &watch, "again every 2 seconds, until interrupted", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object with all numbers", NULL},
        CLI_END};
    memset(&d, 0, sizeof d);
    rc = cli_parse(argc, argv,
                   "Shows the verdict on each candidate, how complete each tag is, what\n"
                   "a rollback would hide, retention and the last events.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&d.st, file);
    if (!rc && watch) cli_catch();
    if (!rc) rc = status_show(&d, as_json, watch && !as_json && isatty(1));
    while (!rc && watch && !cli_stopped()) {
        nanosleep(&pause, NULL);
        if (!cli_stopped()) rc = status_show(&d, as_json, !as_json && isatty(1));
    }
    cli_close(&d.st);
    return rc;
}
