/* cmd_report.c - report: the dashboard as one page that needs nothing else. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "outfile.h"
#include "page.h"

typedef struct page {
    const dash *d;
    FILE *f;
    int   sections;
} page;

enum { EVENTS = 25 };

/* ---- Pieces ------------------------------------------------------------------------- */

static void section(page *p, const char *id, const char *title)
{
    if (p->sections) fputs("</section>\n", p->f);
    p->sections++;
    fprintf(p->f, "<section id=\"%s\" aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">"
                  "<span class=\"no\">%d</span>%s</h2>\n", id, id, id, p->sections, title);
}

static void name(page *p, const char *s)
{
    fputs("<bdi>", p->f);
    page_text(p->f, s, 255);
    fputs("</bdi>", p->f);
}

static void number(page *p, uint64_t n, const char *at)
{
    char buf[CLI_TEXT];
    fprintf(p->f, "<span data-at=\"%s\">%s</span>", at, cli_count(buf, n));
}

/* A cell with the number that status --json has at /tags/INDEX/WHERE. */
static void tag_cell(page *p, size_t i, const char *label, const char *where, uint64_t n)
{
    char buf[CLI_TEXT];
    fprintf(p->f, "<td role=\"cell\" class=\"n\" data-label=\"%s\"><span data-at=\"/tags/%zu/%s\">%s"
                  "</span></td>", label, i, where, cli_count(buf, n));
}

static void cell(page *p, const char *class, const char *label, const char *text)
{
    fprintf(p->f, "<td role=\"cell\" class=\"%s\" data-label=\"%s\"><bdi>", class, label);
    page_text(p->f, text, 1100);
    fputs("</bdi></td>", p->f);
}

/* The head of a table; columns are parted by '|', and one with '#' first is of numbers. */
static void table(page *p, const char *class, const char *caption, const char *columns)
{
    const char *s = columns;
    fprintf(p->f, "<table class=\"%s\" role=\"table\" aria-label=\"%s\"><thead role=\"rowgroup\">"
                  "<tr role=\"row\">", class, caption);
    while (*s) {
        size_t n = strcspn(s, "|"), skip = *s == '#';
        fprintf(p->f, "<th role=\"columnheader\" scope=\"col\"%s>%.*s</th>",
                skip ? " class=\"n\"" : "", (int)(n - skip), s + skip);
        s += n + (s[n] == '|');
    }
    fputs("</tr></thead><tbody role=\"rowgroup\">\n", p->f);
}

static void table_end(page *p) { fputs("</tbody></table>\n", p->f); }

static void absent(page *p, const char *what, const char *command)
{
    fprintf(p->f, "<p class=\"soft\">%s: <code>%s</code></p>\n", what, command);
}

static int live(const dash_tag *t) { return t->info.role != VTAG_GONE; }

/* ---- 1 Verdict ------------------------------------------------------------------------ */

static void verdict_word(page *p, const char *class, const char *word, const char *tag,
                         const char *about)
{
    static const char go[] = "<circle cx=\"12\" cy=\"12\" r=\"11\" fill=\"currentColor\"/>"
        "<path d=\"M7 12.5l3.5 3.5L17 9\" fill=\"none\" stroke=\"var(--on)\" stroke-width=\"2.4\"/>";
    static const char stop[] = "<path d=\"M8 1h8l7 7v8l-7 7H8l-7-7V8z\" fill=\"currentColor\"/>"
        "<path d=\"M6.5 12h11\" stroke=\"var(--on)\" stroke-width=\"3\"/>";
    fprintf(p->f, "<div class=\"card verdict %s\"><p class=\"word\"><svg viewBox=\"0 0 24 24\" "
                  "style=\"color:var(--%s)\" aria-hidden=\"true\">%s</svg><b>%s</b><span><strong>",
            class, strcmp(class, "forced") ? class : "warn", strcmp(class, "go") ? stop : go, word);
    name(p, tag);
    fprintf(p->f, "</strong><span class=\"sub\">%s</span></span></p>\n", about);
}

static void verdict_launch(page *p, const dash_tag *t)
{
    uint64_t end = t->backfill.finish;
    char span[CLI_TEXT];
    if (!t->target) return;
    fputs("<p>Launch planned for ", p->f);
    page_time(p->f, t->target);
    if (!end) {
        fputs(dash_pending(t) ? "; no forecast without a running backfill.</p>\n"
                              : "; all is filled.</p>\n", p->f);
        return;
    }
    fputs(", forecast ", p->f);
    page_time(p->f, end);
    if (end > t->target) {
        fprintf(p->f, " <span class=\"badge warn\">late by %s</span></p>\n",
                cli_span(span, end - t->target));
    } else {
        fprintf(p->f, " <span class=\"badge go\">%s to spare</span></p>\n",
                cli_span(span, t->target - end));
    }
}

static void verdict_card(page *p, const dash_tag *t, size_t index)
{
    cmd_term terms[CMD_TERMS];
    size_t i, n = cmd_verdict_terms(terms, &p->d->st, t->info.tag, &t->verdict, p->d->now);
    int pass = t->verdict.pass;
    verdict_word(p, pass ? "go" : "hold", pass ? "GO" : "HOLD", t->info.spec.name,
                 pass ? "every term holds; a cutover would pass" : "a cutover would be refused");
    fprintf(p->f, "<span hidden data-at=\"/verdicts/%zu/verdict\">%s</span>", index,
            pass ? "GO" : "HOLD");
    table(p, "fold", "Terms of the gate", "term|#now|threshold|verdict|detail");
    for (i = 0; i < n; i++) {
        fprintf(p->f, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">%s</th>", terms[i].name);
        cell(p, "n", "now", terms[i].value);
        cell(p, "", "threshold", terms[i].want);
        fprintf(p->f, "<td role=\"cell\" data-label=\"verdict\"><span class=\"badge %s\">%s</span></td>",
                terms[i].ok ? "go" : "hold", terms[i].ok ? "ok" : "HOLD");
        cell(p, "text soft", "detail", terms[i].detail);
        fputs("</tr>\n", p->f);
    }
    table_end(p);
    verdict_launch(p, t);
    fputs("</div>\n", p->f);
}

static void forced_card(page *p, const dash_tag *t)
{
    const dash *d = p->d;
    const vtag_cover *c = &d->hidden;
    char text[CLI_TEXT];
    verdict_word(p, "forced", "FORCED", t->info.spec.name,
                 "became active below the policy, and its gate does not pass yet");
    if (d->stat.standby) {
        fprintf(p->f, "<p>It covers %s of what ", cli_percent(text, c->fresh + c->waived, c->base));
        name(p, cli_tag_name(&d->st, d->stat.standby));
        fputs(" has: ", p->f);
        number(p, c->missing, "/rollback/cover/missing");
        fputs(" items missing, ", p->f);
        number(p, c->stale, "/rollback/cover/stale");
        fputs(" stale.</p>\n", p->f);
    }
    fputs("</div>\n", p->f);
}

static void part_verdict(page *p)
{
    const dash *d = p->d;
    size_t i, judged = 0;
    section(p, "verdict", "Verdict");
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].judged) verdict_card(p, &d->tags[i], judged++);
    }
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].info.forced) forced_card(p, &d->tags[i]);
    }
    if (!judged) {
        fputs("<div class=\"card verdict\"><p>No candidate, so there is nothing to decide. A new "
              "version starts with <code>vtag declare</code>.</p></div>\n", p->f);
    }
}

/* ---- 2 Tags ------------------------------------------------------------------------------ */

static void tags_row(page *p, const dash_tag *t, size_t i)
{
    const vtag_cover *c = &t->cover;
    char text[CLI_TEXT];
    uint64_t part, of;
    fputs("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">", p->f);
    name(p, t->info.spec.name);
    fprintf(p->f, " <span class=\"badge plain\">%s</span>%s%s<span class=\"sub\">dim %u, %s, %s",
            cli_role_name(t->info.role), t->info.forced ? " <span class=\"badge warn\">FORCED</span>" : "",
            t->info.spec.flags & VTAG_ASSUMED ? " <span class=\"badge warn\">assumed</span>" : "",
            t->info.spec.dim, cli_metric_name(t->info.spec.metric), cli_codec_name(t->info.spec.codec));
    if (t->info.spec.note) {
        fputs(". ", p->f);
        name(p, t->info.spec.note);
    }
    fputs("</span>", p->f);
    chart_states(c, p->f);
    fputs("</th>", p->f);
    tag_cell(p, i, "fresh", "cover/fresh", c->fresh);
    tag_cell(p, i, "stale", "cover/stale", c->stale);
    tag_cell(p, i, "missing", "cover/missing", c->missing);
    tag_cell(p, i, "waived", "cover/waived", c->waived);
    tag_cell(p, i, "outside", "cover/outside", c->outside);
    fprintf(p->f, "<td role=\"cell\" class=\"n\" data-label=\"coverage\"><b data-at=\"/tags/%zu/coverage\">"
                  "%s</b></td>", i, cli_percent(text, t->covered, t->coverable));
    dash_naive(p->d, t, &part, &of);
    fprintf(p->f, "<td role=\"cell\" class=\"n soft\" data-label=\"naive\"><span data-at=\"/tags/%zu/naive\">"
                  "%s</span></td>", i, cli_percent(text, part, of));
    tag_cell(p, i, "writes with", "writes_with", t->info.writes_with);
    tag_cell(p, i, "without", "writes_without", t->info.writes_without);
    cell(p, "n", "bytes", cli_bytes(text, t->info.bytes));
    cell(p, "n", "age", cli_span(text, p->d->now > t->info.created ? p->d->now - t->info.created : 0));
    fputs("</tr>\n", p->f);
}

static void part_tags(page *p)
{
    const dash *d = p->d;
    size_t i, gone = 0;
    section(p, "tags", "Completeness of each tag");
    fputs("<ul class=\"key\"><li><svg class=\"dot\" aria-hidden=\"true\"><rect class=\"fresh\" width=\"10\" "
          "height=\"10\"/></svg>fresh</li><li><svg class=\"dot\" aria-hidden=\"true\"><rect class=\"waived\" "
          "width=\"10\" height=\"10\"/></svg>waived</li><li><svg class=\"dot\" aria-hidden=\"true\">"
          "<rect class=\"stale\" width=\"10\" height=\"10\"/></svg>stale</li><li><svg class=\"dot\" "
          "aria-hidden=\"true\"><rect class=\"missing\" width=\"10\" height=\"10\"/></svg>missing</li></ul>",
          p->f);
    if (d->unfound) {
        fputs("<div class=\"card\"><p><span class=\"badge warn\">hidden</span> ", p->f);
        number(p, d->unfound, "/unfound_items");
        fputs(" of ", p->f);
        number(p, d->stat.items, "/items");
        fputs(" items are found by no search: the active tag has no vector of theirs.</p></div>\n",
              p->f);
    }
    fputs("<div class=\"card\">", p->f);
    table(p, "fold pairs", "Tags", "tag|#fresh|#stale|#missing|#waived|#outside|#coverage|#naive|"
                                   "#writes with|#without|#bytes|#age");
    for (i = 0; i < d->n; i++) {
        if (live(&d->tags[i])) tags_row(p, &d->tags[i], i);
    }
    table_end(p);
    fputs("</div><p class=\"soft\">Coverage is (fresh + waived) of the items that the active tag has; the "
          "active tag's own is of all items. The "
          "naive ratio, vectors here to vectors there, also counts what is stale or elsewhere.</p>\n", p->f);
    for (i = 0; i < d->n; i++) {
        if (live(&d->tags[i])) continue;
        fputs(gone++ ? ", " : "<p class=\"soft\">Retired: ", p->f);
        name(p, d->tags[i].info.spec.name);
    }
    if (gone) fputs(".</p>\n", p->f);
}

/* ---- 3 Scores ------------------------------------------------------------------------------ */

static void scores_row(page *p, const dash_tag *t, size_t i, size_t k)
{
    const vtag_event *e = t->scores[k];
    char text[CLI_TEXT];
    fputs("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">", p->f);
    name(p, t->info.spec.name);
    fputs("</th>", p->f);
    cell(p, "", "score", e->name);
    fprintf(p->f, "<td role=\"cell\" class=\"n\" data-label=\"value\"><b data-at=\"/tags/%zu/scores/%zu/"
                  "value\">%.6g</b></td><td role=\"cell\" class=\"n\" data-label=\"queries\"><span data-at=\""
                  "/tags/%zu/scores/%zu/queries\">%s</span></td>", i, k, e->value, i, k,
            cli_count(text, e->queries));
    cell(p, "n", "coverage then", cli_percent(text, e->cover.fresh + e->cover.waived, e->cover.base));
    fputs("<td role=\"cell\" data-label=\"taken\"><span>", p->f);
    page_time(p->f, e->time);
    fputs("</span></td><td role=\"cell\" data-label=\"standing\"><span>", p->f);
    if (e->flags & VTAG_PROVISIONAL) fputs("<span class=\"badge warn\">provisional</span> ", p->f);
    if (e->queries < 75) fputs("<span class=\"badge warn\">too few queries</span>", p->f);
    else if (e->queries < 250) fputs("<span class=\"badge plain\">few queries (under 250)</span>", p->f);
    else if (!(e->flags & VTAG_PROVISIONAL)) fputs("<span class=\"badge go\">counts</span>", p->f);
    fputs("</span></td></tr>\n", p->f);
}

static void part_scores(page *p)
{
    const dash *d = p->d;
    size_t i, k, any = 0;
    for (i = 0; i < d->n; i++) any += live(&d->tags[i]) ? d->tags[i].nscores : 0;
    section(p, "scores", "Coverage over time, beside the scores");
    fputs("<div class=\"card long\"><figure><figcaption>Coverage <span>per cent of the active tag's items"
          "</span></figcaption>", p->f);
    chart_legend(d, p->f, any > 0);
    chart_coverage(d, p->f);
    fputs("</figure>\n", p->f);
    chart_scores(d, p->f);
    fputs("</div>\n", p->f);
    if (!any) {
        absent(p, "No score yet", "vtag eval FILE --tag NAME");
        return;
    }
    fputs("<div class=\"card\">", p->f);
    table(p, "fold", "Newest scores", "tag|score|#value|#queries|#coverage then|taken (UTC)|standing");
    for (i = 0; i < d->n; i++) {
        for (k = 0; live(&d->tags[i]) && k < d->tags[i].nscores; k++) scores_row(p, &d->tags[i], i, k);
    }
    table_end(p);
    fputs("</div>\n", p->f);
}

/* ---- 4 Backfill ------------------------------------------------------------------------------ */

static void backfill_facts(page *p, const dash_tag *t, size_t i)
{
    const dash_backfill *b = &t->backfill;
    char text[CLI_TEXT], rate[CLI_TEXT], at[64];
    fprintf(p->f, "<dl><dt>State</dt><dd><span class=\"badge %s\">",
            b->silent ? "warn" : b->running ? "go" : "plain");
    page_text(p->f, b->state[0] ? b->state : "unknown", 40);
    fputs(b->silent ? ", but silent</span> " : "</span> ", p->f);
    name(p, b->reason);
    fputs("</dd><dt>Done</dt><dd>", p->f);
    snprintf(at, sizeof at, "/tags/%zu/backfill/done", i);
    number(p, b->done, at);
    fputs(" of ", p->f);
    snprintf(at, sizeof at, "/tags/%zu/backfill/total", i);
    number(p, b->total, at);
    fprintf(p->f, " (%s)</dd><dt>Rate</dt><dd>%s items/s</dd><dt>Remaining</dt><dd>",
            cli_percent(text, b->done, b->total), cli_rate(rate, b->rate));
    if (b->finish) {
        fprintf(p->f, "%s, until about ",
                cli_span(text, b->finish > p->d->now ? b->finish - p->d->now : 0));
        page_time(p->f, b->finish);
    } else {
        fputs(dash_pending(t) ? "no forecast" : "nothing", p->f);
    }
    fputs("</dd><dt>As of</dt><dd>", p->f);
    page_time(p->f, b->updated);
    fputs("</dd>", p->f);
}

static void backfill_card(page *p, const dash_tag *t, size_t i)
{
    char text[CLI_TEXT], at[64];
    uint64_t oldest = t->cover.oldest;
    fputs("<div class=\"card\"><h3>", p->f);
    name(p, t->info.spec.name);
    fputs("</h3>", p->f);
    if (t->backfill.known) backfill_facts(p, t, i);
    else fputs("<dl><dt>State</dt><dd>no backfill has reported: <code>vtag backfill</code></dd>", p->f);
    fputs("<dt>Pending</dt><dd>", p->f);
    snprintf(at, sizeof at, "/tags/%zu/pending", i);
    number(p, dash_pending(t), at);
    fputs("</dd><dt>Oldest pending</dt><dd>", p->f);
    fputs(oldest ? cli_span(text, p->d->now > oldest ? p->d->now - oldest : 0) : "none", p->f);
    fputs("</dd></dl></div>\n<div class=\"card\"><figure><figcaption>Burn-down <span>items still to "
          "embed</span></figcaption>", p->f);
    if (t->npoints > 1) chart_burndown(p->d, i, p->f);
    else fputs("<p class=\"soft\">One measurement so far; a line needs two.</p>", p->f);
    fputs("</figure></div>\n", p->f);
}

static void part_backfill(page *p)
{
    const dash *d = p->d;
    char at[64];
    size_t i, any = 0;
    section(p, "backfill", "Backfill");
    fputs("<div class=\"grid\">", p->f);
    for (i = 0; i < d->n; i++) {
        const dash_tag *t = &d->tags[i];
        if (!live(t) || (!t->backfill.known && !t->judged)) continue;
        backfill_card(p, t, i);
        any++;
    }
    fputs("</div>\n", p->f);
    if (!any) fputs("<p class=\"soft\">No tag is being filled.</p>\n", p->f);
    for (i = 0; i < d->n; i++) {
        const dash_tag *t = &d->tags[i];
        if (!live(t) || t->backfill.known || t->judged || !dash_pending(t)) continue;
        fputs("<p class=\"soft\">Pending under ", p->f);
        name(p, t->info.spec.name);
        fprintf(p->f, ", which is %s and is not being filled: ", cli_role_name(t->info.role));
        snprintf(at, sizeof at, "/tags/%zu/pending", i);
        number(p, dash_pending(t), at);
        fputs(".</p>\n", p->f);
    }
}

/* ---- 5 Shadow ---------------------------------------------------------------------------------- */

static void shadow_facts(page *p, const dash_tag *t, size_t i)
{
    const dash_shadow *s = &t->shadow;
    char at[64], ms[CLI_TEXT];
    int k;
    fprintf(p->f, "<dl><dt>Overlap@10</dt><dd><b data-at=\"/tags/%zu/shadow/overlap\">%.4g</b>%s</dd>"
                  "<dt>Rank-biased</dt><dd><span data-at=\"/tags/%zu/shadow/rank_biased_overlap\">%.4g</span>"
                  "</dd><dt>Queries</dt><dd>", i, s->event->value,
            dash_shadow_alarm(s) ? " <span class=\"badge hold\">ALARM</span>" : "", i,
            s->event->base_value);
    snprintf(at, sizeof at, "/tags/%zu/shadow/queries", i);
    number(p, s->event->queries, at);
    if (s->has_empty) {
        fputs(", of which empty: ", p->f);
        snprintf(at, sizeof at, "/tags/%zu/shadow/empty", i);
        number(p, s->empty, at);
    }
    fputs("</dd>", p->f);
    for (k = 0; k < s->nlatency; k++) {
        fputs("<dt>Latency ", p->f);
        page_text(p->f, s->latency[k].name, 24);
        fprintf(p->f, "</dt><dd>%s ms</dd>", cli_rate(ms, s->latency[k].ms));
    }
    fputs("<dt>Taken</dt><dd>", p->f);
    page_time(p->f, s->event->time);
    fputs("</dd></dl>", p->f);
}

static void shadow_worst(page *p, const dash_shadow *s)
{
    int k;
    if (!s->nworst) return;
    table(p, "", "Queries that differ most", "worst queries|#overlap");
    for (k = 0; k < s->nworst; k++) {
        fputs("<tr role=\"row\"><td role=\"cell\" class=\"text\">", p->f);
        name(p, s->worst[k].query);
        if (s->worst[k].text[0]) {
            fputs("<span class=\"sub\">", p->f);
            name(p, s->worst[k].text);
            fputs("</span>", p->f);
        }
        fprintf(p->f, "</td><td role=\"cell\" class=\"n\">%.2f</td></tr>\n", s->worst[k].overlap);
    }
    table_end(p);
}

static void shadow_card(page *p, const dash_tag *t, size_t i)
{
    fputs("<div class=\"card\"><h3>", p->f);
    name(p, t->info.spec.name);
    fputs(" beside ", p->f);
    name(p, cli_tag_name(&p->d->st, t->shadow.event->base));
    fputs("</h3>", p->f);
    shadow_facts(p, t, i);
    shadow_worst(p, &t->shadow);
    fputs("</div>\n<div class=\"card\"><figure><figcaption>Overlap histogram <span>queries by shared hits "
          "of ten</span></figcaption>", p->f);
    if (t->shadow.has_histogram) chart_overlap(p->d, i, p->f);
    else fputs("<p class=\"soft\">This run recorded none.</p>", p->f);
    fputs("</figure></div>\n", p->f);
}

static void part_shadow(page *p)
{
    const dash *d = p->d;
    size_t i, any = 0;
    section(p, "shadow", "Shadow");
    fputs("<div class=\"grid\">", p->f);
    for (i = 0; i < d->n; i++) {
        if (!live(&d->tags[i]) || !d->tags[i].shadow.event) continue;
        shadow_card(p, &d->tags[i], i);
        any++;
    }
    fputs("</div>\n", p->f);
    if (!any) absent(p, "No shadow run yet", "vtag shadow FILE --tag NAME");
    else fputs("<p class=\"soft\">Two good models share 0.3 to 0.8 of their hits: a low overlap raises an "
               "alarm, it never decides.</p>\n", p->f);
}

/* ---- 6 Rollback --------------------------------------------------------------------------------- */

static void rollback_ready(page *p, const dash_tag *to)
{
    const dash *d = p->d;
    fputs("<dt>Its embedder</dt><dd>", p->f);
    if (!to->has_embedder) {
        fputs("not checked: <code>vtag doctor FILE</code>", p->f);
    } else {
        fprintf(p->f, "<span class=\"badge %s\">%s</span> cosine %.4f, ", to->embedder_answers ? "go" : "hold",
                to->embedder_answers ? "answers" : "does not answer", to->cosine);
        page_time(p->f, to->embedder_time);
    }
    fputs("</dd><dt>Rehearsed</dt><dd>", p->f);
    if (!d->rehearsal) {
        fputs("never: <code>vtag cutover FILE --tag NAME --rehearse</code></dd>", p->f);
        return;
    }
    page_time(p->f, d->rehearsal->time);
    fputs(" with ", p->f);
    name(p, cli_tag_name(&d->st, d->rehearsal->tag));
    fprintf(p->f, "</dd><dt>Measured flip</dt><dd><span data-at=\"/rehearsal/flip_ms\">%.3g</span> ms, "
                  "and <span data-at=\"/rehearsal/back_ms\">%.3g</span> ms back</dd>",
            d->rehearsal->value, d->rehearsal->base_value);
}

static void part_rollback(page *p)
{
    const dash *d = p->d;
    const dash_tag *to = dash_find(d, d->stat.standby);
    section(p, "rollback", "Rollback");
    if (d->stat.rolled_back) {
        fputs("<p><span class=\"badge warn\">rolled back</span> The newest change went back to <strong>", p->f);
        name(p, cli_tag_name(&d->st, d->stat.active));
        fputs("</strong>; asking again changes nothing.</p>\n", p->f);
    }
    if (!to) {
        fputs("<p class=\"soft\">No tag is standby, so there is nothing to go back to.</p>\n", p->f);
        return;
    }
    fputs("<div class=\"card\"><dl><dt>Target</dt><dd><strong>", p->f);
    name(p, to->info.spec.name);
    fprintf(p->f, "</strong>%s</dd><dt>Would not see</dt><dd>", d->stat.rolled_back ? ", if named" : "");
    number(p, d->hidden.extra, "/rollback/hides");
    fputs(" items that are fresh under the active tag alone</dd>", p->f);
    rollback_ready(p, to);
    fputs("</dl></div>\n", p->f);
}

/* ---- 7 Retention ---------------------------------------------------------------------------------- */

static void retention_row(page *p, const dash_tag *t)
{
    char text[CLI_TEXT];
    fputs("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">", p->f);
    name(p, t->info.spec.name);
    fputs("</th>", p->f);
    cell(p, "", "role", cli_role_name(t->info.role));
    fputs("<td role=\"cell\" data-label=\"may be retired\"><span>", p->f);
    if (p->d->policy.hold) fputs("not while the hold lasts", p->f);
    else if (t->left_ms) page_time(p->f, p->d->now + t->left_ms);
    else fputs("now", p->f);
    fputs("</span></td>", p->f);
    cell(p, "n", "price", cli_bytes(text, t->info.bytes));
    fputs("</tr>\n", p->f);
}

static void part_retention(page *p)
{
    const dash *d = p->d;
    char text[CLI_TEXT];
    size_t i, kept = 0;
    section(p, "retention", "Retention");
    fprintf(p->f, "<p>A tag that was active is kept for %s", cli_span(text, d->policy.retain_ms));
    if (d->policy.retain_scores) fprintf(p->f, " and %u passing scores", d->policy.retain_scores);
    fputs(".</p>\n", p->f);
    if (d->policy.hold) {
        fputs("<p><span class=\"badge hold\">HOLD</span> Nothing may be retired: ", p->f);
        name(p, d->policy.hold);
        fputs("</p>\n", p->f);
    }
    for (i = 0; i < d->n; i++) kept += (size_t)d->tags[i].has_left;
    fputs("<div class=\"grid\"><div class=\"card\">", p->f);
    if (kept) table(p, "fold", "Retention", "tag|role|may be retired (UTC)|#price");
    else fputs("<p class=\"soft\">No tag has been left yet, so none waits for its end.</p>", p->f);
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].has_left) retention_row(p, &d->tags[i]);
    }
    if (kept) table_end(p);
    fprintf(p->f, "</div><div class=\"card\"><figure><figcaption>Bytes by tag <span>of %s in the file"
                  "</span></figcaption>", cli_bytes(text, d->stat.file_bytes));
    chart_bytes(d, p->f);
    fputs("</figure></div></div>\n", p->f);
}

/* ---- 8 Quarantine ----------------------------------------------------------------------------------- */

static void part_quarantine(page *p)
{
    const dash *d = p->d;
    size_t i, k, any = 0;
    section(p, "quarantine", "Quarantine");
    for (i = 0; i < d->n; i++) any += d->tags[i].nreasons;
    if (!any) {
        fputs("<p class=\"soft\">No item is waived.</p>\n", p->f);
        return;
    }
    fputs("<div class=\"card\">", p->f);
    table(p, "fold", "Waived items by reason", "tag|reason|#items");
    for (i = 0; i < d->n; i++) {
        const dash_tag *t = &d->tags[i];
        for (k = 0; k < t->nreasons; k++) {
            fputs("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">", p->f);
            name(p, t->info.spec.name);
            fputs("</th>", p->f);
            cell(p, "text", "reason", t->reasons[k].why);
            fprintf(p->f, "<td role=\"cell\" class=\"n\" data-label=\"items\"><span data-at=\"/tags/%zu/"
                          "quarantine/%zu/items\">%llu</span></td></tr>\n", i, k,
                    (unsigned long long)t->reasons[k].items);
        }
    }
    table_end(p);
    fputs("</div>\n", p->f);
}

/* ---- 9 History --------------------------------------------------------------------------------------- */

static void history_row(page *p, const vtag_event *e)
{
    const cli_store *st = &p->d->st;
    char what[400], text[1100];
    fprintf(p->f, "<tr role=\"row\"><td role=\"cell\" class=\"n\" data-label=\"no\">%llu</td><td role=\"cell\" "
                  "class=\"when\" data-label=\"time\">", (unsigned long long)e->seq);
    page_time(p->f, e->time);
    fprintf(p->f, "</td><td role=\"cell\" data-label=\"event\"><span class=\"badge %s\">%s</span></td>"
                  "<td role=\"cell\" class=\"text\" data-label=\"tag\"><span>",
            e->flags & VTAG_FORCED ? "warn" : e->kind == VTAG_K_HELD ? "hold" : "plain",
            cli_kind_name(e->kind));
    if (e->tag) name(p, cli_tag_name(st, e->tag));
    if (e->base) {
        fputs("<span class=\"sub\">from ", p->f);
        name(p, cli_tag_name(st, e->base));
        fputs("</span>", p->f);
    }
    fputs("</span></td><td role=\"cell\" class=\"text\" data-label=\"what\"><span>", p->f);
    cmd_event_what(what, sizeof what, e);
    cmd_event_text(text, sizeof text, e);
    name(p, what);
    if (text[0]) {
        fputs(what[0] ? "<span class=\"sub\">" : "<span>", p->f);
        name(p, text);
        fputs("</span>", p->f);
    }
    fputs("</span></td></tr>\n", p->f);
}

static void part_history(page *p)
{
    const dash *d = p->d;
    size_t i, first = d->nevents > EVENTS ? d->nevents - EVENTS : 0;
    section(p, "history", "History");
    fputs("<div class=\"card long\">", p->f);
    table(p, "fold events", "History, newest first", "#no|time (UTC)|event|tag|what");
    for (i = d->nevents; i-- > first;) history_row(p, &d->events[i]);
    table_end(p);
    fputs("</div>", p->f);
    if (first) fprintf(p->f, "<p class=\"soft\">%zu older lines: <code>vtag history</code></p>", first);
    fputs("</section>\n", p->f);
}

/* ---- The page ------------------------------------------------------------------------------------------ */

static void page_head(page *p)
{
    const dash *d = p->d;
    const char *slash = strrchr(d->st.path, '/'), *file = slash ? slash + 1 : d->st.path;
    char text[CLI_TEXT];
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>", p->f);
    page_text(p->f, file, 120);
    fputs(" - vtag report</title>\n<style>\n", p->f);
    page_style(p->f);
    fputs("</style></head>\n<body><header><h1>", p->f);
    name(p, file);
    fputs("</h1><ul class=\"facts\"><li>active <b>", p->f);
    name(p, d->stat.active ? cli_tag_name(&d->st, d->stat.active) : "none");
    fputs("</b></li><li><b>", p->f);
    number(p, d->stat.items, "/items");
    fputs("</b> items</li><li><b>", p->f);
    number(p, d->stat.rows, "/rows");
    fprintf(p->f, "</b> vectors</li><li><b>%s</b>", cli_bytes(text, d->stat.file_bytes));
    fprintf(p->f, ", %s of it live</li><li>commit <b>", cli_bytes(text, d->stat.live_bytes));
    number(p, d->stat.commit, "/commit");
    fputs("</b> of ", p->f);
    page_time(p->f, d->stat.time);
    fputs("</li><li>report of <b>", p->f);
    page_time(p->f, d->now);
    fputs("</b> UTC</li></ul></header>\n<main>\n", p->f);
}

static int page_write(const dash *d, FILE *f)
{
    page p;
    int rc;
    p.d = d;
    p.f = f;
    p.sections = 0;
    page_head(&p);
    part_verdict(&p);
    part_tags(&p);
    part_scores(&p);
    part_backfill(&p);
    part_shadow(&p);
    part_rollback(&p);
    part_retention(&p);
    part_quarantine(&p);
    part_history(&p);
    fputs("</main>\n<footer><p>Times are UTC, percentages rounded down. The numbers of this page, as "
          "<code>vtag status --json</code> prints them, are in its element <code>#status</code>.</p>"
          "</footer>\n<script type=\"application/json\" id=\"status\">", f);
    rc = page_json(d, f);
    fputs("</script>\n</body></html>\n", f);
    return rc;
}

/* ---- The command ------------------------------------------------------------------------------------------ */

int cmd_report(int argc, char **argv)
{
    const char *file, *to;
    int rc;
    dash d;
    outfile o;
    outfile_name dest = {"-o", NULL}, in = {"the store itself", NULL};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"-o", "OUT", CLI_STR | CLI_MUST, &to, "the page, or - ; " OUTFILE_HELP, NULL},
        CLI_END};
    memset(&d, 0, sizeof d);
    rc = cli_parse(argc, argv, "Writes the dashboard as one page of HTML that loads nothing: for a\n"
                   "browser, a phone, paper or a mail.", opts);
    if (rc >= 0) return rc;
    dest.path = to;
    in.path = file;
    rc = outfile_apart(&dest, 1, &in, 1);
    if (!rc) rc = cli_look(&d.st, file);
    if (!rc) rc = dash_read(&d);
    if (!rc) rc = outfile_open(&o, to);
    if (!rc) rc = outfile_close(&o, page_write(&d, o.f));
    dash_free(&d);
    cli_close(&d.st);
    return rc;
}
