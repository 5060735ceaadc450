/* cmd_status.c - status: the dashboard on a terminal, as one object, or for Prometheus. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dash.h"
#include "stop.h"

static unsigned long long ull(uint64_t n) { return n; }

/* ---- For people --------------------------------------------------------------------- */

static void print_head(const dash *d)
{
    char items[CLI_TEXT], rows[CLI_TEXT], bytes[CLI_TEXT], live[CLI_TEXT], when[CLI_TEXT];
    printf("%s  %s items, %s vectors, %s (%s live), commit %llu of %s, kernels %s\n", d->st.path,
           cli_count(items, d->stat.items), cli_count(rows, d->stat.rows),
           cli_bytes(bytes, d->stat.file_bytes), cli_bytes(live, d->stat.live_bytes),
           ull(d->stat.commit), cli_time(when, d->stat.time), d->stat.isa);
    printf("active  %s\n", cli_tag_name(&d->st, d->stat.active));
    if (d->unfound) {
        printf("        %llu of %llu items are found by no search: the active tag has no vector of "
               "theirs\n", ull(d->unfound), ull(d->stat.items));
    }
}

static void print_forced(const dash *d, const dash_tag *t)
{
    const vtag_cover *c = &d->hidden;
    char cover[CLI_TEXT];
    printf("\nFORCED  %s became active below the policy, and its gate does not pass yet\n",
           t->info.spec.name);
    if (!d->stat.standby) return;
    printf("        it covers %s of what %s has: %llu items missing, %llu stale\n",
           cli_percent(cover, c->fresh + c->waived, c->base),
           cli_tag_name(&d->st, d->stat.standby), ull(c->missing), ull(c->stale));
}

static void print_verdicts(const dash *d)
{
    char when[CLI_TEXT], end[CLI_TEXT];
    size_t i;
    for (i = 0; i < d->n; i++) {
        const dash_tag *t = &d->tags[i];
        if (!t->judged) continue;
        putchar('\n');
        cmd_verdict_print(&d->st, t->info.tag, &t->verdict);
        if (t->target) {
            printf("  launch     planned for %s, forecast %s\n", cli_time(when, t->target),
                   t->backfill.finish ? cli_time(end, t->backfill.finish)
                   : dash_pending(t) ? "unknown" : "done");
        }
    }
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].info.forced) print_forced(d, &d->tags[i]);
    }
}

static void print_completeness(const dash *d)
{
    cli_table t = {0};
    size_t i;
    cli_row(&t, "tag\trole\tfresh\tstale\tmissing\twaived\toutside\tcoverage\tnaive");
    for (i = 0; i < d->n; i++) {
        const dash_tag *tag = &d->tags[i];
        const vtag_cover *c = &tag->cover;
        char cover[CLI_TEXT], naive[CLI_TEXT];
        uint64_t part, of;
        if (tag->info.role == VTAG_GONE) continue;
        dash_naive(d, tag, &part, &of);
        cli_row(&t, "%s\t%s%s\t%llu\t%llu\t%llu\t%llu\t%llu\t%s\t%s", tag->info.spec.name,
                cli_role_name(tag->info.role), tag->info.forced ? " FORCED" : "", ull(c->fresh),
                ull(c->stale), ull(c->missing), ull(c->waived), ull(c->outside),
                cli_percent(cover, tag->covered, tag->coverable), cli_percent(naive, part, of));
    }
    if (t.n > 1) putchar('\n');
    cli_table_print(&t, "llrrrrrrr");
}

static void print_score(const dash *d, const dash_tag *t, char *buf, size_t size)
{
    const vtag_event *e = dash_score(d, t);
    const char *asked = d->policy.gate.score;
    char cover[CLI_TEXT], few[60] = "";
    snprintf(buf, size, "%s%s", asked ? asked : "", asked ? " none" : "");
    if (!e) return;
    if (e->queries < 250) snprintf(few, sizeof few, ", of %llu queries only", ull(e->queries));
    snprintf(buf, size, "%s %.4g at %s%s%s", e->name ? e->name : "", e->value,
             cli_percent(cover, e->cover.fresh + e->cover.waived, e->cover.base),
             e->flags & VTAG_PROVISIONAL ? " provisional" : "", few);
}

static void print_writes(const dash *d)
{
    cli_table t = {0};
    size_t i;
    cli_row(&t, "tag\twith\twithout\tbytes\tage\tprovenance\tscore");
    for (i = 0; i < d->n; i++) {
        const vtag_info *tag = &d->tags[i].info;
        char bytes[CLI_TEXT], age[CLI_TEXT], score[360];
        if (tag->role == VTAG_GONE) continue;
        print_score(d, &d->tags[i], score, sizeof score);
        cli_row(&t, "%s\t%llu\t%llu\t%s\t%s\t%s\t%s", tag->spec.name, ull(tag->writes_with),
                ull(tag->writes_without), cli_bytes(bytes, tag->bytes),
                cli_span(age, d->now > tag->created ? d->now - tag->created : 0),
                tag->spec.flags & VTAG_ASSUMED ? "assumed" : "declared", score);
    }
    if (t.n > 1) putchar('\n');
    cli_table_print(&t, "lrrrrll");
}

static void print_backfill(const dash *d, const dash_tag *t)
{
    const dash_backfill *b = &t->backfill;
    char share[CLI_TEXT], when[CLI_TEXT], rate[CLI_TEXT];
    if (!b->known || t->info.role == VTAG_GONE) return;
    printf("\nbackfill   %s: %s%s%s%s, %llu of %llu (%s), %s/s, %llu pending",
           t->info.spec.name, b->state, b->silent ? " (silent)" : "", b->reason[0] ? ": " : "",
           b->reason, ull(b->done), ull(b->total), cli_percent(share, b->done, b->total),
           cli_rate(rate, b->rate),
           ull(dash_pending(t)));
    if (b->finish) {
        printf(", %s left", cli_span(when, b->finish > d->now ? b->finish - d->now : 0));
    }
    if (b->updated) printf("; as of %s", cli_time(when, b->updated));
    putchar('\n');
}

static void print_shadow(const dash *d, const dash_tag *t)
{
    const dash_shadow *s = &t->shadow;
    int i;
    if (!s->event || t->info.role == VTAG_GONE) return;
    printf("\nshadow     %s beside %s: overlap@10 %.4g, rank-biased %.4g, %llu queries",
           t->info.spec.name, cli_tag_name(&d->st, s->event->base), s->event->value,
           s->event->base_value, ull(s->event->queries));
    if (s->has_empty) printf(", %llu empty", ull(s->empty));
    puts(dash_shadow_alarm(s) ? "  ALARM" : "");
    for (i = 0; i < s->nworst && i < 3; i++) {
        printf("           %.2f  %s%s%s\n", s->worst[i].overlap, s->worst[i].query,
               s->worst[i].text[0] ? "  " : "", s->worst[i].text);
    }
}

static void print_quarantine(const dash_tag *t)
{
    char why[100];
    size_t i;
    for (i = 0; i < t->nreasons; i++) {
        const dash_reason *r = &t->reasons[i];
        if (!i) printf("\nquarantine %s\n", t->info.spec.name);
        printf("           %6llu  %s\n", ull(r->items),
               cli_line(why, sizeof why, r->why, strlen(r->why)));
    }
    if (t->other_reasons) printf("           %6llu  other reasons\n", ull(t->other_reasons));
}

static void print_work(const dash *d)
{
    size_t i;
    for (i = 0; i < d->n; i++) print_backfill(d, &d->tags[i]);
    for (i = 0; i < d->n; i++) print_shadow(d, &d->tags[i]);
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

static void print_rehearsal(const dash *d)
{
    const dash_tag *to = dash_find(d, d->stat.standby);
    char when[CLI_TEXT];
    if (!to) return;
    if (d->rehearsal) {
        printf("           rehearsed %s with %s: flip in %.2f ms, back in %.2f ms\n",
               cli_time(when, d->rehearsal->time), cli_tag_name(&d->st, d->rehearsal->tag),
               d->rehearsal->value, d->rehearsal->base_value);
    } else {
        puts("           never rehearsed");
    }
    if (to->has_embedder) {
        printf("           its embedder %s (%s)\n",
               to->embedder_answers ? "answers" : "does NOT answer",
               cli_time(when, to->embedder_time));
    }
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
        const dash_tag *t = &d->tags[i];
        if (!t->has_left) continue;
        printf("           %s keeps %s", t->info.spec.name, cli_bytes(bytes, t->info.bytes));
        if (t->left_ms) printf(", until %s at the earliest\n", cli_time(when, d->now + t->left_ms));
        else puts(", may be retired");
    }
}

static void print_events(const dash *d)
{
    cli_table t = {0};
    size_t i;
    if (!d->nevents) return;
    puts("\nlast events");
    for (i = dash_first_event(d); i < d->nevents; i++) {
        cmd_event_row(&t, &d->st, &d->events[i]);
    }
    cli_table_print(&t, "rllll");
}

static void dash_print(const dash *d)
{
    size_t i;
    print_head(d);
    print_verdicts(d);
    print_completeness(d);
    print_writes(d);
    print_work(d);
    print_rollback(d);
    print_rehearsal(d);
    print_retention(d);
    for (i = 0; i < d->n; i++) print_quarantine(&d->tags[i]);
    print_events(d);
}

/* ---- The command -------------------------------------------------------------------------- */

typedef struct status_job {
    dash d;
    int  json, prometheus, watch;
} status_job;

static int status_show(status_job *s)
{
    int rc = dash_read(&s->d), plain = !s->json && !s->prometheus;
    if (!rc) {
        if (s->watch && plain && isatty(1) && !cli_plain_terminal()) fputs("\033[H\033[2J", stdout);
        if (s->json) dash_json(&s->d, stdout);
        else if (s->prometheus) dash_prometheus(&s->d, stdout);
        else dash_print(&s->d);
        fflush(stdout);
    }
    dash_free(&s->d);
    return rc;
}

int cmd_status(int argc, char **argv)
{
    const char *file;
    int rc;
    uint64_t every = 2000;
    status_job s;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--watch", NULL, CLI_FLAG, &s.watch, "again and again, until interrupted", NULL},
        {"--every", "DURATION", CLI_SPAN, &every, "of --watch; 2s", NULL},
        {"--json", NULL, CLI_FLAG, &s.json, "one JSON object with all numbers", NULL},
        {"--prometheus", NULL, CLI_FLAG, &s.prometheus, "in the text format of Prometheus", NULL},
        CLI_END};
    memset(&s, 0, sizeof s);
    rc = cli_parse(argc, argv,
                   "Shows the verdict on each candidate, how complete each tag is, what\n"
                   "a rollback would hide, retention and the last events.", opts);
    if (rc >= 0) return rc;
    if (s.json && s.prometheus) return cli_misuse("status: --json or --prometheus, not both");
    if (s.prometheus && s.watch) return cli_misuse("status: --prometheus is read once a scrape");
    if (every > 86400000) return cli_misuse("status: --every wants a day at most");
    rc = cli_look(&s.d.st, file);
    if (!rc && s.watch) cli_catch();
    if (!rc) rc = status_show(&s);
    while (!rc && s.watch && !cli_stopped()) {
        if (!stop_nap(every)) rc = status_show(&s);
    }
    cli_close(&s.d.st);
    return rc;
}
