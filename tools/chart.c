/* chart.c - charts of the page of report, as inline SVG.

   Lengths across are per cent of the figure and lengths down are pixels, so that a
   chart fits any width while its text keeps its size. Lines lie in a nested drawing
   of 1,000 units across, which is stretched; their strokes are not. */
#include <math.h>
#include <string.h>

#include "page.h"

enum { TOP = 34, PLOT = 150, LOW = 84, WORDS = 3 };

typedef struct axis { uint64_t from, to; } axis;

static double across(const axis *a, uint64_t time) /* 0 to 1 */
{
    double x;
    if (a->to <= a->from) return 0.5;
    x = time <= a->from ? 0 : (double)(time - a->from) / (double)(a->to - a->from);
    return x > 1 ? 1 : x;
}

static double share(const dash_point *p)
{
    double base = (double)p->fresh + (double)p->stale + (double)p->missing + (double)p->waived;
    return base > 0 ? ((double)p->fresh + (double)p->waived) / base : 0;
}

unsigned page_series(size_t i) { return (unsigned)(i % 6); }

static int drawn(const dash_tag *t) { return t->info.role != VTAG_GONE && t->npoints; }

static void widen(axis *a, uint64_t time)
{
    if (!time) return;
    if (!a->from || time < a->from) a->from = time;
    if (time > a->to) a->to = time;
}

/* From the first point of any tag to the newest. */
static axis whole_axis(const dash *d)
{
    axis a = {0, 0};
    size_t i;
    for (i = 0; i < d->n; i++) {
        if (!drawn(&d->tags[i])) continue;
        widen(&a, d->tags[i].points[0].time);
        widen(&a, d->tags[i].points[d->tags[i].npoints - 1].time);
    }
    return a;
}

/* ---- Parts ------------------------------------------------------------------------- */

static void svg_open(FILE *f, int height, const char *label)
{
    fprintf(f, "<div class=\"plot\"><svg height=\"%d\" role=\"img\" aria-label=\"", height);
    page_text(f, label, 400);
    fputs("\">", f);
}

static void svg_close(FILE *f) { fputs("</svg></div>\n", f); }

static void rule(FILE *f, double y, const char *label)
{
    fprintf(f, "<line class=\"rule\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>", y, y);
    fprintf(f, "<text x=\"-6\" y=\"%.1f\" text-anchor=\"end\">%s</text>", y + 4, label);
}

static void date_label(const axis *a, char *buf, size_t size, uint64_t time)
{
    char date[PAGE_DATE], iso[CLI_TEXT];
    const char *comma;
    uint64_t span = a->to - a->from;
    comma = strchr(page_date(date, time), ',');
    if (strlen(cli_time(iso, time)) < 19) snprintf(buf, size, "-");
    else if (span < 7200000) snprintf(buf, size, "%.8s", iso + 11);
    else if (span < 172800000 && comma) snprintf(buf, size, "%.6s%s", date, comma + 1);
    else snprintf(buf, size, "%.*s", comma ? (int)(comma - date) : 1, date);
}

static void time_labels(FILE *f, const axis *a, int y)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    char text[PAGE_DATE];
    uint64_t i, span = a->to - a->from;
    for (i = 0; i < 3; i++) {
        if (!span && i != 1) continue;
        date_label(a, text, sizeof text, a->from + span * i / 2);
        fprintf(f, "<text x=\"%d%%\" y=\"%d\" text-anchor=\"%s\">%s</text>", (int)i * 50, y,
                anchors[i], text);
    }
}

static void lines_open(FILE *f, int top, int height)
{
    fprintf(f, "<svg x=\"0\" y=\"%d\" width=\"100%%\" height=\"%d\" viewBox=\"0 0 1000 %d\" "
               "preserveAspectRatio=\"none\" overflow=\"visible\">", top, height, height);
}

static void line_open(FILE *f, const char *shape, size_t series)
{
    fprintf(f, "<polyline class=\"%s s%u\" vector-effect=\"non-scaling-stroke\" points=\"",
            shape, page_series(series));
}

static void dot(FILE *f, double x, double y, size_t series, int hollow)
{
    fprintf(f, "<circle class=\"fill%s s%u\" cx=\"%.2f%%\" cy=\"%.1f\" r=\"%s\"><title>",
            hollow ? " hollow" : "", page_series(series), x * 100, y, hollow ? "3.5" : "3");
}

/* A dashed line from top to bottom with its word above, in one of three rows. */
static void upright(FILE *f, double x, int bottom, const char *class, const char *word, int row)
{
    fprintf(f, "<line class=\"%s\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%d\" y2=\"%d\"/>", class,
            x * 100, x * 100, 10 * row + 3, bottom);
    fprintf(f, "<text class=\"%s\" x=\"%.2f%%\" dx=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>",
            strcmp(class, "mark") ? class : "", x * 100, x > 0.75 ? -4 : 4, 10 * row + 10,
            x > 0.75 ? "end" : "start", word);
}

/* ---- Coverage over time -------------------------------------------------------------- */

void chart_legend(const dash *d, FILE *f, int scored)
{
    size_t i;
    fputs("<ul class=\"key\">", f);
    for (i = 0; i < d->n; i++) {
        if (!drawn(&d->tags[i])) continue;
        fprintf(f, "<li><svg aria-hidden=\"true\"><line class=\"line s%u\" x1=\"0\" x2=\"100%%\" "
                   "y1=\"6\" y2=\"6\"/></svg><bdi>", page_series(i));
        page_text(f, d->tags[i].info.spec.name, 80);
        fputs("</bdi></li>", f);
    }
    if (scored) {
        fputs("<li><svg class=\"dot\" aria-hidden=\"true\"><circle class=\"hollow s0\" cx=\"6\" "
              "cy=\"6\" r=\"3.5\"/></svg>provisional: taken below the gate's coverage</li>", f);
    }
    fputs("</ul>\n", f);
}

static void coverage_line(const dash_tag *t, size_t series, const axis *a, FILE *f)
{
    size_t i;
    line_open(f, "line", series);
    for (i = 0; i < t->npoints; i++) {
        fprintf(f, "%.1f,%.1f ", 1000 * across(a, t->points[i].time),
                PLOT * (1 - share(&t->points[i])));
    }
    fputs("\"/>", f);
}

static void coverage_dots(const dash_tag *t, size_t series, const axis *a, FILE *f)
{
    size_t i, step = t->npoints > 40 ? t->npoints - 1 : 1;
    for (i = 0; i < t->npoints; i += step) {
        const dash_point *p = &t->points[i];
        char date[PAGE_DATE], percent[CLI_TEXT];
        dot(f, across(a, p->time), TOP + PLOT * (1 - share(p)), series, 0);
        page_text(f, t->info.spec.name, 80);
        fprintf(f, ", %s: %s</title></circle>", page_date(date, p->time),
                cli_percent(percent, p->fresh + p->waived,
                            p->fresh + p->stale + p->missing + p->waived));
    }
}

/* The changes of the active tag, each in the first row that has room. */
static void changes(const dash *d, const axis *a, int bottom, int words, FILE *f)
{
    double free_from[WORDS] = {0};
    size_t i;
    for (i = 0; i < d->nevents; i++) {
        const vtag_event *e = &d->events[i];
        int row = 0, forced = (e->flags & VTAG_FORCED) != 0;
        double x = across(a, e->time), left = x > 0.75 ? x - 0.25 : x; /* of its word */
        if (e->kind != VTAG_K_CUTOVER && e->kind != VTAG_K_ROLLBACK) continue;
        while (row < WORDS - 1 && left < free_from[row]) row++;
        upright(f, x, bottom, forced ? "late" : "mark",
                !words || left < free_from[row] ? "" : e->kind == VTAG_K_ROLLBACK ? "rollback"
                : forced ? "FORCED" : "cutover", row);
        if (left + 0.25 > free_from[row]) free_from[row] = left + 0.25;
    }
}

void chart_coverage(const dash *d, FILE *f)
{
    static const char *const labels[] = {"100 %", "75 %", "50 %", "25 %", "0 %"};
    axis a = whole_axis(d);
    double gate = PLOT * (1 - cmd_limit(d->policy.gate.min_ppm) / 1e6);
    size_t i;
    if (!a.to) {
        fputs("<p class=\"soft\">No tag has been measured yet.</p>\n", f);
        return;
    }
    svg_open(f, TOP + PLOT + 24, "Coverage of each tag over time, in per cent of the items of the "
                                 "tag that was active");
    for (i = 0; i < 5; i++) rule(f, TOP + PLOT * (double)i / 4, labels[i]);
    fprintf(f, "<line class=\"gate\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"><title>gate: more "
               "than %.4g %%</title></line>", TOP + gate, TOP + gate,
            cmd_limit(d->policy.gate.min_ppm) / 1e4);
    changes(d, &a, TOP + PLOT, 1, f);
    lines_open(f, TOP, PLOT);
    for (i = 0; i < d->n; i++) {
        if (drawn(&d->tags[i])) coverage_line(&d->tags[i], i, &a, f);
    }
    fputs("</svg>", f);
    for (i = 0; i < d->n; i++) {
        if (drawn(&d->tags[i])) coverage_dots(&d->tags[i], i, &a, f);
    }
    time_labels(f, &a, TOP + PLOT + 18);
    svg_close(f);
}

/* ---- Scores over time ------------------------------------------------------------------- */

typedef struct span { double least, most; } span;

static int counts(const dash *d, const vtag_event *e, const char *name)
{
    const dash_tag *t = dash_find(d, e->tag);
    return e->kind == VTAG_K_SCORE && e->name && !strcmp(e->name, name) && t &&
           t->info.role != VTAG_GONE && isfinite(e->value);
}

static span score_span(const dash *d, const char *name)
{
    span s = {INFINITY, -INFINITY};
    double margin;
    size_t i;
    for (i = 0; i < d->nevents; i++) {
        if (!counts(d, &d->events[i], name)) continue;
        s.least = fmin(s.least, d->events[i].value);
        s.most = fmax(s.most, d->events[i].value);
    }
    margin = (s.most - s.least) * 0.15;
    if (!(margin > 0)) margin = fabs(s.most) > 0 ? fabs(s.most) * 0.1 : 1;
    s.least -= margin;
    s.most += margin;
    return s;
}

static void score_line(const dash *d, size_t tag, const char *name, const axis *a, span s, FILE *f)
{
    size_t i;
    line_open(f, "line", tag);
    for (i = 0; i < d->nevents; i++) {
        const vtag_event *e = &d->events[i];
        if (e->tag != d->tags[tag].info.tag || !counts(d, e, name)) continue;
        fprintf(f, "%.1f,%.1f ", 1000 * across(a, e->time),
                LOW * (s.most - e->value) / (s.most - s.least));
    }
    fputs("\"/>", f);
}

static void score_dots(const dash *d, size_t tag, const char *name, const axis *a, span s, FILE *f)
{
    size_t i;
    for (i = 0; i < d->nevents; i++) {
        const vtag_event *e = &d->events[i];
        char date[PAGE_DATE], percent[CLI_TEXT];
        int early = (e->flags & VTAG_PROVISIONAL) != 0;
        if (e->tag != d->tags[tag].info.tag || !counts(d, e, name)) continue;
        dot(f, across(a, e->time), 8 + LOW * (s.most - e->value) / (s.most - s.least), tag, early);
        page_text(f, d->tags[tag].info.spec.name, 80);
        fprintf(f, ", %s: %.6g at coverage %s%s</title></circle>", page_date(date, e->time),
                e->value, cli_percent(percent, e->cover.fresh + e->cover.waived, e->cover.base),
                early ? ", provisional" : "");
    }
}

static void score_panel(const dash *d, const char *name, const axis *a, FILE *f)
{
    span s = score_span(d, name);
    char label[64], title[120];
    size_t i;
    fputs("<figure><figcaption>", f);
    page_text(f, name, 80);
    fputs(" <span>on the same time axis</span></figcaption>", f);
    snprintf(title, sizeof title, "Score %.80s of each tag over time", name);
    svg_open(f, LOW + 32, title);
    for (i = 0; i < 3; i++) {
        snprintf(label, sizeof label, "%.3g", s.most - (s.most - s.least) * (double)i / 2);
        rule(f, 8 + LOW * (double)i / 2, label);
    }
    changes(d, a, LOW + 8, 0, f);
    lines_open(f, 8, LOW);
    for (i = 0; i < d->n; i++) score_line(d, i, name, a, s, f);
    fputs("</svg>", f);
    for (i = 0; i < d->n; i++) score_dots(d, i, name, a, s, f);
    time_labels(f, a, LOW + 26);
    svg_close(f);
    fputs("</figure>\n", f);
}

void chart_scores(const dash *d, FILE *f)
{
    const char *names[3];
    axis a = whole_axis(d);
    size_t i, k, n = 0;
    for (i = 0; i < d->nevents && n < 3; i++) {
        const vtag_event *e = &d->events[i];
        if (!e->name || !counts(d, e, e->name)) continue;
        for (k = 0; k < n && strcmp(names[k], e->name); k++) {}
        if (k == n) names[n++] = e->name;
    }
    for (k = 0; k < n; k++) score_panel(d, names[k], &a, f);
}

/* ---- Burn-down -------------------------------------------------------------------------- */

static uint64_t open_items(const dash_point *p) { return p->stale + p->missing; }

static void short_count(char buf[CLI_TEXT], double x)
{
    if (x < 10000) cli_count(buf, (uint64_t)(x + 0.5));
    else if (x < 1e6) snprintf(buf, CLI_TEXT, "%.0fk", x / 1e3);
    else snprintf(buf, CLI_TEXT, "%.3gM", x / 1e6);
}

static void burn_lines(const dash_tag *t, size_t series, const axis *a, uint64_t most, FILE *f)
{
    const dash_point *last = &t->points[t->npoints - 1];
    double scale = most ? (double)PLOT / (double)most : 0;
    int pass;
    size_t i;
    lines_open(f, TOP, PLOT);
    for (pass = 0; pass < 2; pass++) {
        line_open(f, pass ? "line" : "area fill", series);
        if (!pass) fprintf(f, "%.1f,%d ", 1000 * across(a, t->points[0].time), PLOT);
        for (i = 0; i < t->npoints; i++) {
            fprintf(f, "%.1f,%.1f ", 1000 * across(a, t->points[i].time),
                    PLOT - scale * (double)open_items(&t->points[i]));
        }
        if (!pass) fprintf(f, "%.1f,%d", 1000 * across(a, last->time), PLOT);
        fputs("\"/>", f);
    }
    if (t->backfill.finish) {
        line_open(f, "guess", series);
        fprintf(f, "%.1f,%.1f %.1f,%d\"/>", 1000 * across(a, last->time),
                PLOT - scale * (double)open_items(last), 1000 * across(a, t->backfill.finish), PLOT);
    }
    fputs("</svg>", f);
}

void chart_burndown(const dash *d, size_t i, FILE *f)
{
    const dash_tag *t = &d->tags[i];
    axis a = {0, 0};
    uint64_t most = 1;
    char label[CLI_TEXT], title[160];
    double at;
    size_t k;
    for (k = 0; k < t->npoints; k++) {
        widen(&a, t->points[k].time);
        if (open_items(&t->points[k]) > most) most = open_items(&t->points[k]);
    }
    widen(&a, t->backfill.finish);
    widen(&a, t->target);
    snprintf(title, sizeof title, "Items still to embed under %.80s over time", t->info.spec.name);
    svg_open(f, TOP + PLOT + 24, title);
    for (k = 0; k < 3; k++) {
        short_count(label, (double)most * (double)(2 - k) / 2);
        rule(f, TOP + PLOT * (double)k / 2, label);
    }
    if (t->target) upright(f, across(&a, t->target), TOP + PLOT, "mark", "planned", 0);
    if (t->backfill.finish) {
        int late = t->target && t->backfill.finish > t->target;
        upright(f, across(&a, t->backfill.finish), TOP + PLOT, late ? "late" : "mark",
                "forecast", 1);
    }
    burn_lines(t, i, &a, most, f);
    at = across(&a, t->points[t->npoints - 1].time);
    dot(f, at, TOP + PLOT - (double)open_items(&t->points[t->npoints - 1]) * PLOT / (double)most,
        i, 0);
    fprintf(f, "%s pending now</title></circle>", cli_count(label, dash_pending(t)));
    time_labels(f, &a, TOP + PLOT + 18);
    svg_close(f);
}

/* ---- Overlap, bytes, states ---------------------------------------------------------------- */

void chart_overlap(const dash *d, size_t i, FILE *f)
{
    const dash_shadow *s = &d->tags[i].shadow;
    uint64_t most = 1;
    char label[CLI_TEXT];
    int k;
    for (k = 0; k < 11; k++) {
        if (s->histogram[k] > most) most = s->histogram[k];
    }
    fprintf(f, "<div class=\"plot flush\"><svg height=\"%d\" role=\"img\" aria-label=\"Queries by how "
               "many of their first ten hits both tags share, 0 to 10\">", TOP + PLOT + 24);
    fprintf(f, "<line class=\"rule\" x1=\"0\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>", TOP + PLOT,
            TOP + PLOT);
    for (k = 0; k < 11; k++) {
        double h = PLOT * (double)s->histogram[k] / (double)most, x = 100.0 * k / 11;
        short_count(label, (double)s->histogram[k]);
        fprintf(f, "<rect class=\"fill s%u\" x=\"%.2f%%\" width=\"7.6%%\" y=\"%.1f\" height=\"%.1f\">"
                   "<title>%d of 10: %llu queries</title></rect>", page_series(i), x + 0.75,
                TOP + PLOT - h, h, k, (unsigned long long)s->histogram[k]);
        fprintf(f, "<text class=\"ink\" x=\"%.2f%%\" y=\"%.1f\" text-anchor=\"middle\" "
                   "data-at=\"/tags/%zu/shadow/overlap_histogram/%d\">%s</text>", x + 4.55,
                TOP + PLOT - h - 5, i, k, label);
        fprintf(f, "<text x=\"%.2f%%\" y=\"%d\" text-anchor=\"middle\">%d</text>", x + 4.55,
                TOP + PLOT + 18, k);
    }
    svg_close(f);
}

static void bytes_row(FILE *f, int row, const char *name, uint64_t bytes, uint64_t most,
                      const char *class)
{
    char text[CLI_TEXT];
    fprintf(f, "<text class=\"ink\" x=\"0\" y=\"%d\">", 36 * row + 12);
    page_text(f, name, 60);
    fprintf(f, "</text><text class=\"ink\" x=\"100%%\" y=\"%d\" text-anchor=\"end\">%s</text>",
            36 * row + 12, cli_bytes(text, bytes));
    fprintf(f, "<rect class=\"%s\" x=\"0\" y=\"%d\" height=\"8\" width=\"%.2f%%\"/>", class,
            36 * row + 18, most ? 100 * (double)bytes / (double)most : 0);
}

void chart_bytes(const dash *d, FILE *f)
{
    uint64_t sum = 0, rest;
    int row = 0;
    size_t i;
    char class[16];
    for (i = 0; i < d->n; i++) sum += d->tags[i].info.bytes;
    rest = d->stat.file_bytes > sum ? d->stat.file_bytes - sum : 0;
    for (i = 0; i < d->n; i++) row += d->tags[i].info.bytes || drawn(&d->tags[i]);
    fprintf(f, "<div class=\"plot flush\"><svg height=\"%d\" role=\"img\" aria-label=\"Bytes of the "
               "file by tag\">", 36 * (row + 1));
    for (i = 0, row = 0; i < d->n; i++) {
        const vtag_info *t = &d->tags[i].info;
        if (!t->bytes && !drawn(&d->tags[i])) continue;
        snprintf(class, sizeof class, "fill s%u", page_series(i));
        bytes_row(f, row++, t->spec.name, t->bytes, d->stat.file_bytes, class);
    }
    bytes_row(f, row, "items, index, history, free space", rest, d->stat.file_bytes, "missing");
    svg_close(f);
}

void chart_states(const vtag_cover *c, FILE *f)
{
    static const char *const classes[] = {"fresh", "waived", "stale", "missing"};
    uint64_t n[4];
    double x = 0;
    int i;
    n[0] = c->fresh;
    n[1] = c->waived;
    n[2] = c->stale;
    n[3] = c->missing;
    fputs("<svg class=\"bar\" aria-hidden=\"true\">", f);
    for (i = 0; i < 4; i++) {
        double w = c->base ? 100 * (double)n[i] / (double)c->base : 0;
        if (n[i]) fprintf(f, "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"8\"/>",
                          classes[i], x, w);
        x += w;
    }
    fputs("</svg>", f);
}
