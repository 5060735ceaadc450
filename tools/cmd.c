/* cmd.c - what several commands share; see cmd.h. */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static unsigned long long ull(uint64_t n) { return n; }

/* ---- Objects of --json ------------------------------------------------------- */

void out_start(out *o, FILE *f)
{
    o->f = f;
    o->depth = o->comma = 0;
    out_open(o, NULL, '{');
}

static void out_name(out *o, const char *name)
{
    if (o->comma >> o->depth & 1) fputc(',', o->f);
    o->comma |= 1u << o->depth;
    if (!name) return;
    json_write_string(o->f, name, strlen(name));
    fputc(':', o->f);
}

void out_open(out *o, const char *name, char bracket)
{
    if (o->depth) out_name(o, name);
    fputc(bracket, o->f);
    o->depth++;
    o->comma &= ~(1u << o->depth);
}

void out_close(out *o, char bracket)
{
    fputc(bracket, o->f);
    if (!--o->depth) fputc('\n', o->f);
}

void out_u64(out *o, const char *name, uint64_t n)
{
    out_name(o, name);
    fprintf(o->f, "%llu", (unsigned long long)n);
}

void out_id(out *o, const char *name, uint64_t id)
{
    out_name(o, name);
    fprintf(o->f, id > JSON_EXACT ? "\"%llu\"" : "%llu", (unsigned long long)id);
}

void out_f64(out *o, const char *name, double x)
{
    char text[40];
    out_name(o, name);
    snprintf(text, sizeof text, "%.15g", x); /* the short form where it is exact */
    if (!isfinite(x)) fputs("null", o->f);
    else if (strtod(text, NULL) == x) fputs(text, o->f);
    else json_write_double(o->f, x);
}

void out_f32(out *o, const char *name, float x)
{
    out_name(o, name);
    json_write_float(o->f, x);
}

void out_bool(out *o, const char *name, int truth)
{
    out_name(o, name);
    fputs(truth ? "true" : "false", o->f);
}

void out_time(out *o, const char *name, uint64_t ms)
{
    char buf[CLI_TEXT];
    out_str(o, name, ms ? cli_time(buf, ms) : NULL);
}

void out_floats(out *o, const char *name, const float *x, size_t n)
{
    out_name(o, name);
    json_write_floats(o->f, x, n);
}

void out_base64(out *o, const char *name, const void *p, size_t n)
{
    out_name(o, name);
    json_write_base64(o->f, p, n);
}

void out_data(out *o, const char *name, const void *p, size_t n)
{
    char longer[64];
    if (!n || json_utf8(p, n) == n) {
        out_name(o, name);
        json_write_string(o->f, n ? p : "", n);
        return;
    }
    snprintf(longer, sizeof longer, "%s_base64", name);
    out_base64(o, longer, p, n);
}

void out_str(out *o, const char *name, const char *s)
{
    if (s) {
        out_data(o, name, s, strlen(s));
        return;
    }
    out_name(o, name);
    fputs("null", o->f);
}

void out_cover(out *o, const char *name, const vtag_cover *c)
{
    out_open(o, name, '{');
    out_u64(o, "base", c->base);
    out_u64(o, "fresh", c->fresh);
    out_u64(o, "stale", c->stale);
    out_u64(o, "missing", c->missing);
    out_u64(o, "waived", c->waived);
    out_u64(o, "outside", c->outside);
    out_u64(o, "extra", c->extra);
    out_u64(o, "oldest", c->oldest);
    out_close(o, '}');
}

/* ---- Items --------------------------------------------------------------------- */

int item_named(const char *id, const char *key, vtag_item *item)
{
    if (!id == !key) return cli_misuse("%s: which item? give its ID, or --key K", cli.cmd);
    if (key) {
        size_t n = strlen(key);
        if (!n || n > 255) return cli_misuse("%s: a key has 1 to 255 bytes", cli.cmd);
        item->key = key;
        item->id = vtag_id(key);
        return 0;
    }
    if (!cli_u64(id, &item->id)) {
        return cli_misuse("%s: '%s' is no id (a whole number); a key goes after --key",
                          cli.cmd, id);
    }
    if (item->id == UINT64_MAX) return cli_misuse("%s: id %s is reserved", cli.cmd, id);
    return 0;
}

int cmd_text(const char *option, const char *s, size_t most)
{
    char n[CLI_TEXT];
    if (!s || (*s && strlen(s) <= most)) return 0;
    return cli_misuse("%s: %s wants 1 to %s bytes", cli.cmd, option, cli_count(n, most));
}

int item_error(const cli_store *st, const vtag_item *item, vtag_err err)
{
    char digits[24];
    vtag_item other;
    if (item->key) return cli_error(err, "%s: item '%s'", st->path, item->key);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)item->id);
    if (err == VTAG_NOTFOUND && !vtag_get(st->snap, vtag_id(digits), &other) && other.key &&
        !strcmp(other.key, digits)) {
        return cli_fail("%s: item %s: not found by that id, but one has that key; give --key %s",
                        st->path, digits, digits);
    }
    return cli_error(err, "%s: item %s", st->path, digits);
}

int item_get(const cli_store *st, vtag_item *item)
{
    vtag_item asked = *item;
    vtag_err err;
    memset(item, 0, sizeof *item);
    err = vtag_get(st->snap, asked.id, item);
    if (!err && asked.key && (!item->key || strcmp(item->key, asked.key))) err = VTAG_NOTFOUND;
    return err ? item_error(st, &asked, err) : 0;
}

const char *item_name(char *buf, size_t size, const vtag_item *item)
{
    if (item->key) return cli_line(buf, size, item->key, strlen(item->key));
    snprintf(buf, size, "%llu", (unsigned long long)item->id);
    return buf;
}

int cmd_vector(const char *option, const char *text, float **x, uint32_t *dim)
{
    json j = {0};
    const json_value *v = json_parse(&j, text, strlen(text));
    size_t n = 0;
    int rc = 0;
    *x = NULL;
    if (!v) {
        rc = cli_misuse("%s: %s: %s", cli.cmd, option, j.error);
    } else if (!json_is_numbers(v, &n) || !n || n > 32768) {
        rc = cli_misuse("%s: %s wants 1 to 32,768 numbers as [1,2,3]", cli.cmd, option);
    } else {
        size_t bad;
        *x = cli_alloc(n * sizeof **x);
        bad = json_floats(v, *x);
        if (bad < n) rc = cli_misuse("%s: %s: number %zu is too large", cli.cmd, option, bad + 1);
    }
    *dim = (uint32_t)n;
    json_free(&j);
    return rc;
}

/* ---- Gate ------------------------------------------------------------------------ */

int cmd_gate_check(const vtag_gate *g)
{
    int rc = cmd_text("--score", g->score, 255);
    return rc ? rc : cmd_text("--reason", g->reason, 1024);
}

uint32_t cmd_limit(uint32_t n)
{
    return n == VTAG_NONE ? 0 : n;
}

static const char *const term_names[CMD_TERMS] = {"coverage", "waived", "freshness", "score",
                                                  "audit", "recall"}; /* by their bits */

const char *cmd_terms(char *buf, size_t size, uint32_t failed)
{
    size_t i, n = 0;
    snprintf(buf, size, "-");
    for (i = 0; i < CMD_TERMS; i++) {
        if (failed >> i & 1 && n < size) {
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", term_names[i]);
        }
    }
    return buf;
}

static const char *verdict_ppm(char buf[CLI_TEXT], uint32_t ppm)
{
    snprintf(buf, CLI_TEXT, "%.4g %%", cmd_limit(ppm) / 1e4);
    return buf;
}

int cmd_has_score(const cli_store *st, vtag_tag tag, const char *name)
{
    vtag_event e[64];
    uint64_t cursor = 0;
    size_t n = 1, i;
    while (n && !vtag_history(st->snap, &cursor, e, 64, &n)) {
        for (i = 0; i < n; i++) {
            if (e[i].kind == VTAG_K_SCORE && e[i].tag == tag && e[i].name &&
                !strcmp(e[i].name, name)) return 1;
        }
    }
    return 0;
}

static const char *score_text(char buf[CLI_TEXT], const cli_store *st, vtag_tag tag,
                              const char *name, double value)
{
    snprintf(buf, CLI_TEXT, "%.6g", value);
    return cmd_has_score(st, tag, name) ? buf : strcpy(buf, "none");
}

static void term_score(cmd_term *t, const cli_store *st, vtag_tag tag, const vtag_verdict *v)
{
    const vtag_gate *g = &v->used;
    char least[80] = "", drop[80] = "", text[CLI_TEXT];
    vtag_stat stat;
    snprintf(t->value, sizeof t->value, "%.60s %s", g->score,
             score_text(text, st, tag, g->score, v->score));
    if (g->has_min) snprintf(least, sizeof least, ">= %.6g, ", g->min_score);
    if (g->has_drop) {
        if (vtag_stats(st->snap, &stat)) stat.active = 0;
        snprintf(drop, sizeof drop, "drop <= %.6g from %s, ", g->max_drop,
                 score_text(text, st, stat.active, g->score, v->base_score));
    }
    snprintf(t->want, sizeof t->want, "%s%s>= %u queries", least, drop,
             cmd_limit(g->min_queries));
}

static void term_audit(cmd_term *t, const vtag_verdict *v)
{
    const vtag_audit *a = &v->audit;
    char least[CLI_TEXT];
    snprintf(t->want, sizeof t->want, ">= %s of >= 100, or all",
             verdict_ppm(least, v->used.min_audit_ppm));
    if (!a->sampled && !a->untestable) {
        snprintf(t->value, sizeof t->value, "none");
        snprintf(t->detail, sizeof t->detail, "vtag audit makes one");
        return;
    }
    cli_percent(t->value, a->sampled - a->below, a->sampled);
    snprintf(t->detail, sizeof t->detail, "%llu of %llu vectors, %llu could not be compared; %llu "
             "written since, 1 %% may be", ull(a->sampled - a->below), ull(a->sampled),
             ull(a->untestable), ull(v->since));
}

static void term_recall(cmd_term *t, const vtag_verdict *v)
{
    char least[CLI_TEXT];
    snprintf(t->value, sizeof t->value, "none");
    snprintf(t->want, sizeof t->want, ">= %s", verdict_ppm(least, v->used.min_recall_ppm));
    snprintf(t->detail, sizeof t->detail, "nothing measures it yet");
}

static uint64_t verdict_budget(const vtag_verdict *v)
{
    uint64_t base = v->cover.base, ppm = cmd_limit(v->used.max_waived_ppm);
    uint64_t budget = base / 1000000 * ppm + base % 1000000 * ppm / 1000000;
    return budget ? budget : 1;
}

static void term_cover(cmd_term *t, const vtag_verdict *v)
{
    const vtag_cover *c = &v->cover;
    char b[CLI_TEXT];
    cli_percent(t->value, c->fresh + c->waived, c->base);
    snprintf(t->want, sizeof t->want, "> %s, or all", verdict_ppm(b, v->used.min_ppm));
    snprintf(t->detail, sizeof t->detail, "%llu fresh + %llu waived of %llu", ull(c->fresh),
             ull(c->waived), ull(c->base));
}

static void term_waived(cmd_term *t, const vtag_verdict *v)
{
    char b[CLI_TEXT];
    snprintf(t->value, sizeof t->value, "%llu", ull(v->cover.waived));
    snprintf(t->want, sizeof t->want, "<= %llu", ull(verdict_budget(v)));
    snprintf(t->detail, sizeof t->detail, "%s of the active tag's items, at least 1",
             verdict_ppm(b, v->used.max_waived_ppm));
}

static void term_age(cmd_term *t, const vtag_verdict *v, uint64_t now)
{
    const vtag_cover *c = &v->cover;
    char a[CLI_TEXT], b[CLI_TEXT];
    snprintf(t->value, sizeof t->value, "%s",
             c->oldest ? cli_span(a, now > c->oldest ? now - c->oldest : 0) : "-");
    snprintf(t->want, sizeof t->want, "< %s", cli_span(b, v->used.max_age_ms));
    snprintf(t->detail, sizeof t->detail, "%llu pending, %llu of them outside",
             ull(c->stale + c->missing + c->outside), ull(c->outside));
    if (v->failed & VTAG_TERM_FRESHNESS && (now < c->oldest || now - c->oldest < v->used.max_age_ms)) {
        snprintf(t->value, sizeof t->value, "?");
        snprintf(t->detail, sizeof t->detail, "one was written by a clock ahead of this one, so it "
                 "counts as the oldest");
    }
}

size_t cmd_verdict_terms(cmd_term t[CMD_TERMS], const cli_store *st, vtag_tag tag,
                         const vtag_verdict *v, uint64_t now)
{
    const vtag_gate *g = &v->used;
    const int asked[CMD_TERMS] = {1, 1, 1, g->score != NULL, g->min_audit_ppm != 0,
                                  g->min_recall_ppm != 0};
    size_t i, n = 0;
    memset(t, 0, CMD_TERMS * sizeof *t);
    for (i = 0; i < CMD_TERMS; i++) {
        cmd_term *m = &t[n];
        if (!asked[i]) continue;
        m->name = term_names[i];
        m->ok = !(v->failed >> i & 1);
        n++;
        if (i == 0) term_cover(m, v);
        else if (i == 1) term_waived(m, v);
        else if (i == 2) term_age(m, v, now);
        else if (i == 3) term_score(m, st, tag, v);
        else if (i == 4) term_audit(m, v);
        else term_recall(m, v);
    }
    return n;
}

void cmd_verdict_print(const cli_store *st, vtag_tag tag, const vtag_verdict *v)
{
    cmd_term terms[CMD_TERMS];
    cli_table t = {0};
    size_t i, n = cmd_verdict_terms(terms, st, tag, v, cli_clock());
    printf("%s  %s\n", v->pass ? "GO  " : "HOLD", cli_tag_name(st, tag));
    for (i = 0; i < n; i++) {
        const cmd_term *m = &terms[i];
        cli_row(&t, m->detail[0] ? "  %s\t%s\t%s\t%s\t%s" : "  %s\t%s\t%s\t%s", m->name, m->value,
                m->want, m->ok ? "ok" : "HOLD", m->detail);
    }
    cli_table_print(&t, "lrlll");
}

void cmd_gate_json(out *o, const char *name, const vtag_gate *g)
{
    out_open(o, name, '{');
    out_u64(o, "min_ppm", g->min_ppm);
    out_u64(o, "max_waived_ppm", g->max_waived_ppm);
    out_u64(o, "max_age_ms", g->max_age_ms);
    out_str(o, "score", g->score);
    if (g->has_min) out_f64(o, "min_score", g->min_score);
    if (g->has_drop) out_f64(o, "max_drop", g->max_drop);
    out_u64(o, "min_queries", g->min_queries);
    if (g->min_audit_ppm) out_u64(o, "min_audit_ppm", g->min_audit_ppm);
    if (g->min_recall_ppm) out_u64(o, "min_recall_ppm", g->min_recall_ppm);
    if (g->reason) out_str(o, "reason", g->reason);
    out_close(o, '}');
}

void cmd_audit_json(out *o, const char *name, const vtag_audit *a)
{
    out_open(o, name, '{');
    out_u64(o, "sampled", a->sampled);
    out_u64(o, "untestable", a->untestable);
    out_u64(o, "below", a->below);
    out_f64(o, "worst", a->worst);
    out_u64(o, "from", a->from);
    out_u64(o, "to", a->to);
    out_u64(o, "written", a->written);
    out_close(o, '}');
}

static void verdict_term(out *o, const char *name, const vtag_verdict *v, uint32_t term)
{
    out_bool(o, name, !(v->failed & term));
}

void cmd_verdict_json(out *o, const cli_store *st, vtag_tag tag, const vtag_verdict *v)
{
    out_str(o, "tag", cli_tag_name(st, tag));
    out_str(o, "verdict", v->pass ? "GO" : "HOLD");
    out_open(o, "terms", '{');
    verdict_term(o, "coverage", v, VTAG_TERM_COVERAGE);
    verdict_term(o, "waived", v, VTAG_TERM_WAIVED);
    verdict_term(o, "freshness", v, VTAG_TERM_FRESHNESS);
    if (v->used.score) verdict_term(o, "score", v, VTAG_TERM_SCORE);
    if (v->used.min_audit_ppm) verdict_term(o, "audit", v, VTAG_TERM_AUDIT);
    if (v->used.min_recall_ppm) verdict_term(o, "recall", v, VTAG_TERM_RECALL);
    out_close(o, '}');
    cmd_gate_json(o, "thresholds", &v->used);
    out_cover(o, "cover", &v->cover);
    if (v->used.score) {
        if (cmd_has_score(st, tag, v->used.score)) out_f64(o, "score", v->score);
        else out_str(o, "score", NULL);
        out_f64(o, "base_score", v->base_score);
    }
    if (v->used.min_audit_ppm) {
        cmd_audit_json(o, "audit", &v->audit);
        out_u64(o, "written_since_audit", v->since);
    }
}

/* ---- Events ------------------------------------------------------------------------ */

int cmd_events(const cli_store *st, vtag_event **events, size_t *n)
{
    uint64_t cursor = 0;
    size_t got = 1, cap = 0;
    *n = 0;
    *events = NULL;
    while (got) {
        vtag_err err;
        if (cap - *n < 64) *events = cli_grow(*events, cap = cap * 2 + 64, sizeof **events);
        err = vtag_history(st->snap, &cursor, *events + *n, cap - *n, &got);
        if (err) {
            free(*events);
            *events = NULL;
            return cli_error(err, "%s", st->path);
        }
        *n += got;
    }
    return 0;
}

int cmd_event_state(const cli_store *st, vtag_event *e)
{
    vtag_stat stat;
    vtag_err err = vtag_stats(st->snap, &stat);
    if (!err && e->tag) err = vtag_coverage(st->snap, e->tag, e->base, &e->cover);
    if (err) return cli_error(err, "%s", st->path);
    e->commit = stat.commit;
    if (e->tag && !e->base && e->tag != stat.active) e->base = stat.active;
    return 0;
}

int cmd_event_add(cli_store *st, const vtag_event *e, size_t n)
{
    size_t i;
    int rc = cli_begin(st, 0);
    for (i = 0; i < n && !rc; i++) {
        vtag_err err = vtag_note(st->batch, &e[i]);
        if (err) rc = cli_error(err, "%s: history", st->path);
    }
    return rc ? rc : cli_commit(st);
}

vtag_err cmd_event_run(cli_store *st, const vtag_event *e)
{
    vtag_err err = vtag_note(st->batch, e);
    if (err != VTAG_FORMAT) return err;
    cli_told(); /* and not to be said */
    return VTAG_OK;
}

/* "coverage 99.61 % against > 99.5 %" */
static void event_cover(char *buf, size_t size, const vtag_event *e)
{
    char a[CLI_TEXT], b[CLI_TEXT];
    const vtag_cover *c = &e->cover;
    int judged = e->kind == VTAG_K_HELD || e->kind == VTAG_K_CUTOVER;
    if (!c->base && !judged) {
        buf[0] = '\0';
        return;
    }
    snprintf(buf, size, "coverage %s%s%s", cli_percent(a, c->fresh + c->waived, c->base),
             e->used.min_ppm ? " against > " : "",
             e->used.min_ppm ? verdict_ppm(b, e->used.min_ppm) : "");
    if (!e->base && c->outside) { /* of the items that the tag has itself */
        snprintf(buf, size, "coverage %s of its own items, %llu outside", a, ull(c->outside));
    }
}

static void event_score(char *buf, size_t size, const vtag_event *e)
{
    char cover[120];
    event_cover(cover, sizeof cover, e);
    snprintf(buf, size, "%s %.6g, %llu queries%s%s%s", e->name ? e->name : "", e->value,
             ull(e->queries), cover[0] ? ", " : "", cover,
             e->flags & VTAG_PROVISIONAL ? ", provisional" : "");
}

/* "in 10: 7 filled, 2 given up, 1 failed", and by which command */
static void event_counts(char *buf, size_t size, const vtag_event *e)
{
    char given[60] = "", failed[60] = "";
    if (e->waived) snprintf(given, sizeof given, ", %llu given up", ull(e->waived));
    if (e->failed_items) snprintf(failed, sizeof failed, ", %llu failed", ull(e->failed_items));
    snprintf(buf, size, "%llu items: %llu filled%s%s%s%.200s", ull(e->in), ull(e->filled), given,
             failed, e->command ? "; " : "", e->command ? e->command : "");
}

static void event_audit(char *buf, size_t size, const vtag_event *e)
{
    const vtag_audit *a = &e->audit;
    char share[CLI_TEXT];
    snprintf(buf, size, "%s of %llu vectors agree, worst %.4g; %llu could not be compared%s%.200s",
             cli_percent(share, a->sampled - a->below, a->sampled), ull(a->sampled), a->worst,
             ull(a->untestable), e->command ? "; " : "", e->command ? e->command : "");
}

static void event_policy(char *buf, size_t size, const vtag_gate *g)
{
    char a[CLI_TEXT], b[CLI_TEXT], c[CLI_TEXT];
    snprintf(buf, size, "coverage > %s, waived <= %s, pending < %s%s%.100s",
             verdict_ppm(a, g->min_ppm), verdict_ppm(b, g->max_waived_ppm),
             cli_span(c, g->max_age_ms), g->score ? ", score " : "", g->score ? g->score : "");
}

void cmd_event_what(char *buf, size_t size, const vtag_event *e)
{
    char cover[120], terms[80];
    event_cover(cover, sizeof cover, e);
    switch (e->kind) {
    case VTAG_K_SCORE: event_score(buf, size, e); break;
    case VTAG_K_SHADOW:
        snprintf(buf, size, "overlap %.4g, %llu queries", e->value, ull(e->queries));
        break;
    case VTAG_K_HELD:
        snprintf(buf, size, "%s; failed: %s", cover, cmd_terms(terms, sizeof terms, e->failed));
        break;
    case VTAG_K_WAIVED: snprintf(buf, size, "item %llu", ull(e->queries)); break;
    case VTAG_K_CUTOVER:
        snprintf(buf, size, "%s%s", cover, e->flags & VTAG_FORCED ? ", FORCED" : "");
        break;
    case VTAG_K_POLICY: event_policy(buf, size, &e->used); break;
    case VTAG_K_ROLLBACK: snprintf(buf, size, "hides %llu items", ull(e->cover.extra)); break;
    case VTAG_K_RETIRED:
        snprintf(buf, size, "%llu items lost to all%s", ull(e->cover.missing),
                 e->flags & VTAG_FORCED ? ", FORCED: before its retention was over" : "");
        break;
    case VTAG_K_BACKFILL:
    case VTAG_K_IMPORT: event_counts(buf, size, e); break;
    case VTAG_K_AUDIT: event_audit(buf, size, e); break;
    case VTAG_K_ALIAS: snprintf(buf, size, "answers to %s too", e->name ? e->name : ""); break;
    case VTAG_K_NOTE:
        snprintf(buf, size, "%s%s%s", e->name ? e->name : "", e->name && cover[0] ? ", " : "", cover);
        break;
    default: snprintf(buf, size, "%s", cover);
    }
}

const char *cmd_event_text(char *buf, size_t size, const vtag_event *e)
{
    int shown = e->text && e->kind != VTAG_K_SHADOW; /* whose text is for programs */
    return cli_line(buf, size, shown ? e->text : "", shown ? strlen(e->text) : 0);
}

void cmd_event_row(cli_table *t, const cli_store *st, const vtag_event *e)
{
    char when[CLI_TEXT], what[400], text[120];
    cmd_event_what(what, sizeof what, e);
    cmd_event_text(text, sizeof text, e);
    cli_row(t, "%llu\t%s\t%s\t%s%s%s\t%s%s%s%s%s", (unsigned long long)e->seq,
            cli_time(when, e->time), cli_kind_name(e->kind), cli_tag_name(st, e->tag),
            e->base ? " from " : "", e->base ? cli_tag_name(st, e->base) : "", what,
            what[0] && text[0] ? "; " : "", text,
            e->by ? what[0] || text[0] ? ", by " : "by " : "", e->by ? e->by : "");
}

/* Who ran what, with which counts, and what an audit found. */
static void event_run(out *o, const vtag_event *e)
{
    const vtag_audit *a = &e->audit;
    if (e->by) out_str(o, "by", e->by);
    if (e->command) out_str(o, "command", e->command);
    if (e->in || e->filled || e->failed_items || (e->waived && e->kind != VTAG_K_WAIVED)) {
        out_u64(o, "in", e->in);
        out_u64(o, "filled", e->filled);
        out_u64(o, "given_up", e->waived);
        out_u64(o, "failed_items", e->failed_items);
    }
    if (a->sampled || a->untestable) cmd_audit_json(o, "audit", a);
}

void cmd_event_json(out *o, const cli_store *st, const vtag_event *e)
{
    out_u64(o, "seq", e->seq);
    out_u64(o, "time", e->time);
    out_str(o, "event", cli_kind_name(e->kind));
    out_str(o, "tag", e->tag ? cli_tag_name(st, e->tag) : NULL);
    out_str(o, "base", e->base ? cli_tag_name(st, e->base) : NULL);
    out_f64(o, "value", e->value);
    out_f64(o, "base_value", e->base_value);
    out_u64(o, "queries", e->queries);
    out_u64(o, "commit", e->commit);
    out_u64(o, "flags", e->flags);
    out_u64(o, "failed", e->failed);
    cmd_gate_json(o, "used", &e->used);
    out_cover(o, "cover", &e->cover);
    out_str(o, "name", e->name);
    out_str(o, "text", e->text);
    event_run(o, e);
}

void cmd_event_facts(out *o, const vtag_event *e)
{
    const vtag_cover *c = &e->cover;
    size_t i;
    out_time(o, "when", e->time);
    if (c->base) out_f64(o, "coverage", (double)(c->fresh + c->waived) / (double)c->base);
    if (e->kind == VTAG_K_WAIVED) out_u64(o, "item", e->queries);
    out_bool(o, "forced", (e->flags & VTAG_FORCED) != 0);
    out_bool(o, "provisional", (e->flags & VTAG_PROVISIONAL) != 0);
    out_open(o, "failed_terms", '[');
    for (i = 0; i < CMD_TERMS; i++) {
        if (e->failed >> i & 1) out_str(o, NULL, term_names[i]);
    }
    out_close(o, ']');
}
