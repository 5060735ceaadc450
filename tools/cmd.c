/* cmd.c - what several commands share; see cmd.h. */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

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
    if (!cli_u64(id, &item->id) || item->id == UINT64_MAX) {
        return cli_misuse("%s: '%s' is no id (a whole number); a key goes after --key",
                          cli.cmd, id);
    }
    return 0;
}

int item_get(const cli_store *st, vtag_item *item)
{
    const char *key = item->key;
    uint64_t id = item->id;
    vtag_err err;
    memset(item, 0, sizeof *item);
    err = vtag_get(st->snap, id, item);
    if (!err && key && (!item->key || strcmp(item->key, key))) err = VTAG_NOTFOUND;
    if (!err) return 0;
    if (key) return cli_error(err, "%s: item '%s'", st->path, key);
    return cli_error(err, "%s: item %llu", st->path, (unsigned long long)id);
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

uint32_t cmd_limit(uint32_t n)
{
    return n == VTAG_NONE ? 0 : n;
}

const char *cmd_terms(char *buf, size_t size, uint32_t failed)
{
    static const char *const names[] = {"coverage", "waived", "freshness", "score"};
    size_t i, n = 0;
    snprintf(buf, size, "-");
    for (i = 0; i < 4; i++) {
        if (failed >> i & 1 && n < size) {
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", names[i]);
        }
    }
    return buf;
}

static const char *verdict_word(const vtag_verdict *v, uint32_t term)
{
    return v->failed & term ? "HOLD" : "ok";
}

static const char *verdict_ppm(char buf[CLI_TEXT], uint32_t ppm)
{
    snprintf(buf, CLI_TEXT, "%.4g %%", cmd_limit(ppm) / 1e4);
    return buf;
}

static void verdict_score(cli_table *t, const vtag_verdict *v)
{
    const vtag_gate *g = &v->used;
    char now[80], least[80] = "", drop[80] = "";
    if (!g->score) return;
    snprintf(now, sizeof now, "%s %.6g", g->score, v->score);
    if (g->has_min) snprintf(least, sizeof least, ">= %.6g, ", g->min_score);
    if (g->has_drop) {
        snprintf(drop, sizeof drop, "drop <= %.6g from %.6g, ", g->max_drop, v->base_score);
    }
    cli_row(t, "  score\t%s\t%s%s>= %u queries\t%s", now, least, drop,
            cmd_limit(g->min_queries), verdict_word(v, VTAG_TERM_SCORE));
}

void cmd_verdict_print(const cli_store *st, vtag_tag tag, const vtag_verdict *v)
{
    const vtag_cover *c = &v->cover;
    const vtag_gate *g = &v->used;
    char a[CLI_TEXT], b[CLI_TEXT];
    cli_table t = {0};
    uint64_t now = cli_clock(), budget = c->base / 1000000 * cmd_limit(g->max_waived_ppm) +
                   c->base % 1000000 * cmd_limit(g->max_waived_ppm) / 1000000;
    if (!budget) budget = 1;
    printf("%s  %s\n", v->pass ? "GO  " : "HOLD", cli_tag_name(st, tag));
    cli_row(&t, "  coverage\t%s\t> %s, or all\t%s\t%llu fresh + %llu waived of %llu",
            cli_percent(a, c->fresh + c->waived, c->base), verdict_ppm(b, g->min_ppm),
            verdict_word(v, VTAG_TERM_COVERAGE), (unsigned long long)c->fresh,
            (unsigned long long)c->waived, (unsigned long long)c->base);
    cli_row(&t, "  waived\t%llu\t<= %llu\t%s\t%s of the active tag's items, at least 1",
            (unsigned long long)c->waived, (unsigned long long)budget,
            verdict_word(v, VTAG_TERM_WAIVED), verdict_ppm(b, g->max_waived_ppm));
    cli_row(&t, "  freshness\t%s\t< %s\t%s\t%llu pending, %llu of them outside",
            c->oldest ? cli_span(a, now > c->oldest ? now - c->oldest : 0) : "-",
            cli_span(b, g->max_age_ms), verdict_word(v, VTAG_TERM_FRESHNESS),
            (unsigned long long)(c->stale + c->missing + c->outside),
            (unsigned long long)c->outside);
    verdict_score(&t, v);
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
    if (g->reason) out_str(o, "reason", g->reason);
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
    out_close(o, '}');
    cmd_gate_json(o, "thresholds", &v->used);
    out_cover(o, "cover", &v->cover);
    if (v->used.score) {
        out_f64(o, "score", v->score);
        out_f64(o, "base_score", v->base_score);
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

static void event_what(char *buf, size_t size, const vtag_event *e)
{
    char a[CLI_TEXT], terms[80];
    const vtag_cover *c = &e->cover;
    switch (e->kind) {
    case VTAG_K_SCORE:
        snprintf(buf, size, "%s %.6g, %llu queries%s", e->name ? e->name : "", e->value,
                 (unsigned long long)e->queries,
                 e->flags & VTAG_PROVISIONAL ? ", provisional" : "");
        break;
    case VTAG_K_SHADOW:
        snprintf(buf, size, "overlap %.4g, %llu queries", e->value,
                 (unsigned long long)e->queries);
        break;
    case VTAG_K_HELD:
        snprintf(buf, size, "coverage %s; failed: %s",
                 cli_percent(a, c->fresh + c->waived, c->base),
                 cmd_terms(terms, sizeof terms, e->failed));
        break;
    case VTAG_K_WAIVED:
        snprintf(buf, size, "item %llu", (unsigned long long)e->queries);
        break;
    case VTAG_K_CUTOVER:
        snprintf(buf, size, "coverage %s%s", cli_percent(a, c->fresh + c->waived, c->base),
                 e->flags & VTAG_FORCED ? ", FORCED" : "");
        break;
    case VTAG_K_ROLLBACK:
        snprintf(buf, size, "hides %llu items", (unsigned long long)c->extra);
        break;
    default: buf[0] = '\0';
    }
}

void cmd_event_row(cli_table *t, const cli_store *st, const vtag_event *e)
{
    char when[CLI_TEXT], what[200], text[120];
    event_what(what, sizeof what, e);
    cli_line(text, sizeof text, e->text ? e->text : "", e->text ? strlen(e->text) : 0);
    cli_row(t, "%llu\t%s\t%s\t%s%s%s\t%s%s%s", (unsigned long long)e->seq,
            cli_time(when, e->time), cli_kind_name(e->kind), cli_tag_name(st, e->tag),
            e->base ? " from " : "", e->base ? cli_tag_name(st, e->base) : "", what,
            what[0] && text[0] ? "; " : "", text);
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
}
