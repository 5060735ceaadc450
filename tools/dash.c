/* dash.c - reads the dashboard's numbers; see dash.h. */
#define _POSIX_C_SOURCE 200809L
#include "dash.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "json.h"

enum { SILENT_MS = 300000, MOST_REASONS = 64 };

/* ---- JSON that may be absent or anything ------------------------------------- */

static uint64_t member_u64(const json_value *v, const char *name)
{
    const json_value *m = json_get(v, name);
    if (!m || m->type != JSON_NUMBER || !(m->num >= 0) || m->num >= 18446744073709549568.0) return 0;
    return m->whole & JSON_U64 ? m->u.u64 : (uint64_t)m->num;
}

static double member_f64(const json_value *v, const char *name)
{
    const json_value *m = json_get(v, name);
    return m && m->type == JSON_NUMBER ? m->num : 0;
}

static int member_bool(const json_value *v, const char *name)
{
    const json_value *m = json_get(v, name);
    return m && m->type == JSON_BOOL && m->u.truth;
}

static void member_line(char *buf, size_t size, const json_value *v, const char *name)
{
    const json_value *m = json_get(v, name);
    int is = m && m->type == JSON_STRING;
    cli_line(buf, size, is ? m->u.str : "", is ? m->n : 0);
}

/* The metadata of that name, parsed; NULL if there is none or it is no JSON. */
static const json_value *dash_meta(const dash *d, json *j, const char *kind, const char *tag)
{
    char name[320];
    const void *p;
    size_t n;
    snprintf(name, sizeof name, "%s%s%s", kind, tag ? ":" : "", tag ? tag : "");
    if (vtag_meta_get(d->st.snap, name, &p, &n)) return NULL;
    return json_parse(j, p, n);
}

/* ---- Over time ------------------------------------------------------------------- */

static void point_add(dash_tag *t, uint64_t time, const uint64_t n[4])
{
    dash_point *p;
    t->points = cli_grow(t->points, t->npoints + 1, sizeof *t->points);
    p = &t->points[t->npoints++];
    p->time = time;
    p->fresh = n[0];
    p->stale = n[1];
    p->missing = n[2];
    p->waived = n[3];
}

/* Of a tag that was measured against itself, what it has not is outside. */
static void point_cover(dash_tag *t, uint64_t time, const vtag_cover *c, vtag_tag base)
{
    uint64_t n[4];
    n[0] = c->fresh;
    n[1] = c->stale;
    n[2] = c->missing + (!base || base == t->info.tag ? c->outside : 0);
    n[3] = c->waived;
    if (c->base) point_add(t, time, n);
}

static void points_progress(const dash *d, dash_tag *t)
{
    json j = {0};
    const json_value *v = dash_meta(d, &j, "progress", t->info.spec.name);
    size_t i, k, n = v && v->type == JSON_ARRAY ? v->n : 0;
    for (i = n > DASH_POINTS ? n - DASH_POINTS : 0; i < n; i++) {
        json_value room, cell;
        const json_value *row = json_at(v, i, &room);
        size_t width = 0;
        uint64_t x[5];
        if (!json_is_numbers(row, &width) || width != 5) continue;
        for (k = 0; k < 5; k++) {
            double num = json_at(row, k, &cell)->num;
            x[k] = num >= 0 && num < 9e15 ? (uint64_t)num : 0;
        }
        if (x[0] <= d->now) point_add(t, x[0], x + 1);
    }
    json_free(&j);
}

static int point_order(const void *a, const void *b)
{
    uint64_t x = ((const dash_point *)a)->time, y = ((const dash_point *)b)->time;
    return x < y ? -1 : x > y;
}

static void dash_points(const dash *d, dash_tag *t)
{
    size_t i;
    for (i = 0; i < d->nevents; i++) {
        const vtag_event *e = &d->events[i];
        int back = e->kind == VTAG_K_ROLLBACK; /* the tag left, against the one gone back to */
        if ((back ? e->base : e->tag) != t->info.tag || e->kind == VTAG_K_RETIRED) continue;
        point_cover(t, e->time, &e->cover, back ? e->tag : e->base);
    }
    points_progress(d, t);
    if (t->npoints) qsort(t->points, t->npoints, sizeof *t->points, point_order);
    if (t->info.role != VTAG_GONE) point_cover(t, d->stat.time, &t->cover, d->stat.active);
}

/* ---- Scores and shadow -------------------------------------------------------------- */

static int score_named(const dash_tag *t, const char *name)
{
    size_t i;
    for (i = 0; i < t->nscores; i++) {
        if (!strcmp(t->scores[i]->name ? t->scores[i]->name : "", name)) return 1;
    }
    return 0;
}

static void dash_scores(const dash *d, dash_tag *t)
{
    size_t i;
    for (i = d->nevents; i-- > 0;) {
        const vtag_event *e = &d->events[i];
        if (e->tag != t->info.tag) continue;
        if (e->kind == VTAG_K_SHADOW && !t->shadow.event) t->shadow.event = e;
        if (e->kind != VTAG_K_SCORE || score_named(t, e->name ? e->name : "")) continue;
        t->scores = cli_grow((void *)t->scores, t->nscores + 1, sizeof *t->scores);
        t->scores[t->nscores++] = e;
    }
}

static void shadow_histogram(dash_shadow *s, const json_value *v)
{
    size_t i, n = 0;
    if (!v || !json_is_numbers(v, &n) || n != 11) return;
    for (i = 0; i < 11; i++) {
        json_value room;
        double x = json_at(v, i, &room)->num;
        s->histogram[i] = x >= 0 && x < 9e15 ? (uint64_t)x : 0;
    }
    s->has_histogram = 1;
}

static void shadow_worst(dash_shadow *s, const json_value *v)
{
    size_t i;
    for (i = 0; v && v->type == JSON_ARRAY && i < v->n && s->nworst < DASH_WORST; i++) {
        json_value room;
        const json_value *w = json_at(v, i, &room);
        if (!json_get(w, "query")) continue;
        member_line(s->worst[s->nworst].query, sizeof s->worst[0].query, w, "query");
        member_line(s->worst[s->nworst].text, sizeof s->worst[0].text, w, "text");
        s->worst[s->nworst++].overlap = member_f64(w, "overlap");
    }
}

static void shadow_latency(dash_shadow *s, const json_value *v)
{
    size_t i;
    for (i = 0; v && v->type == JSON_OBJECT && i < v->n && s->nlatency < DASH_LATENCIES; i++) {
        const json_member *m = &v->u.members[i];
        if (m->value.type != JSON_NUMBER) continue;
        cli_line(s->latency[s->nlatency].name, sizeof s->latency[0].name, m->name, m->name_n);
        s->latency[s->nlatency++].ms = m->value.num;
    }
}

static void dash_shadows(dash_tag *t)
{
    dash_shadow *s = &t->shadow;
    const char *text = s->event ? s->event->text : NULL;
    json j = {0};
    const json_value *v = text ? json_parse(&j, text, strlen(text)) : NULL;
    if (v) {
        shadow_histogram(s, json_get(v, "overlap_histogram"));
        s->has_empty = json_get(v, "empty") != NULL;
        s->empty = member_u64(v, "empty");
        shadow_latency(s, json_get(v, "latency_ms"));
        shadow_worst(s, json_get(v, "worst"));
    }
    json_free(&j);
}

int dash_shadow_alarm(const dash_shadow *s)
{
    return s->event && (s->event->value < 0.1 || s->empty * 100 > s->event->queries);
}

/* ---- Metadata of tools ------------------------------------------------------------------ */

uint64_t dash_pending(const dash_tag *t)
{
    return t->cover.stale + t->cover.missing + t->cover.outside;
}

static int process_gone(uint64_t pid)
{
    return pid && pid <= INT_MAX && kill((pid_t)pid, 0) && errno == ESRCH;
}

static void dash_backfills(const dash *d, dash_tag *t)
{
    dash_backfill *b = &t->backfill;
    json j = {0};
    const json_value *v = dash_meta(d, &j, "backfill", t->info.spec.name);
    if (v && v->type == JSON_OBJECT) {
        b->known = 1;
        member_line(b->state, sizeof b->state, v, "state");
        member_line(b->reason, sizeof b->reason, v, "reason");
        b->done = member_u64(v, "done");
        b->total = member_u64(v, "total");
        b->quarantined = member_u64(v, "quarantined");
        b->pid = member_u64(v, "pid");
        b->updated = member_u64(v, "updated");
        b->rate = member_f64(v, "rate");
        b->running = !strcmp(b->state, "running");
        b->silent = (b->running && d->now > b->updated && d->now - b->updated > SILENT_MS) ||
                    ((b->running || !strcmp(b->state, "paused")) && process_gone(b->pid));
    }
    json_free(&j);
    /* below 1 % an estimate would be a guess */
    if (b->running && !b->silent && b->rate > 0 && (double)b->done * 100 >= (double)b->total) {
        double ms = (double)dash_pending(t) / b->rate * 1000;
        if (ms < 3e12) b->finish = b->updated + (uint64_t)ms;
    }
}

static void dash_notes(const dash *d, dash_tag *t)
{
    json j = {0};
    const json_value *v = dash_meta(d, &j, "plan", t->info.spec.name);
    if (v) t->target = member_u64(v, "target");
    v = dash_meta(d, &j, "embedder", t->info.spec.name);
    if (v && v->type == JSON_OBJECT) {
        t->has_embedder = 1;
        t->embedder_answers = member_bool(v, "answers");
        t->embedder_time = member_u64(v, "time");
        t->cosine = member_f64(v, "cosine");
    }
    json_free(&j);
}

static void dash_rehearsal(dash *d)
{
    size_t i;
    for (i = d->nevents; i-- > 0 && !d->rehearsal;) {
        const vtag_event *e = &d->events[i];
        if (e->kind == VTAG_K_NOTE && e->name && !strcmp(e->name, "rehearsal")) d->rehearsal = e;
    }
}

/* ---- Quarantine ------------------------------------------------------------------------------ */

static void reason_add(dash_tag *t, const char *why)
{
    size_t i;
    if (!why) why = "";
    for (i = 0; i < t->nreasons; i++) {
        if (!strcmp(t->reasons[i].why, why)) break;
    }
    if (i == MOST_REASONS) {
        t->other_reasons++;
        return;
    }
    if (i == t->nreasons) {
        t->reasons = cli_grow(t->reasons, ++t->nreasons, sizeof *t->reasons);
        t->reasons[i].why = cli_strdup(why);
        t->reasons[i].items = 0;
    }
    t->reasons[i].items++;
}

static int reason_order(const void *a, const void *b)
{
    const dash_reason *x = a, *y = b;
    if (x->items != y->items) return x->items > y->items ? -1 : 1;
    return strcmp(x->why, y->why);
}

static vtag_err dash_reasons(const dash *d, dash_tag *t)
{
    vtag_item items[64];
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_items(d->st.snap, t->info.tag, VTAG_WAIVED, &cursor, items, 64, &n);
        for (i = 0; !err && i < n; i++) reason_add(t, items[i].why);
    }
    if (t->nreasons) qsort(t->reasons, t->nreasons, sizeof *t->reasons, reason_order);
    return err;
}

/* ---- All of it -------------------------------------------------------------------------------- */

const dash_tag *dash_find(const dash *d, vtag_tag tag)
{
    size_t i;
    for (i = 0; i < d->n; i++) {
        if (d->tags[i].info.tag == tag) return &d->tags[i];
    }
    return NULL;
}

int dash_naive(const dash *d, const dash_tag *t, uint64_t *part, uint64_t *of)
{
    const dash_tag *active = dash_find(d, d->stat.active);
    *part = t->info.items;
    *of = active ? active->info.items : 0;
    return *of > 0;
}

size_t dash_first_event(const dash *d)
{
    return d->nevents > DASH_LAST ? d->nevents - DASH_LAST : 0;
}

const vtag_event *dash_score(const dash *d, const dash_tag *t)
{
    size_t i;
    const char *name = d->policy.gate.score;
    if (!name) return t->nscores ? t->scores[0] : NULL;
    for (i = 0; i < t->nscores; i++) {
        if (t->scores[i]->name && !strcmp(t->scores[i]->name, name)) return t->scores[i];
    }
    return NULL;
}

static vtag_err dash_measure(const dash *d, dash_tag *t)
{
    vtag_err err = vtag_coverage(d->st.snap, t->info.tag, 0, &t->cover);
    t->covered = t->cover.fresh + t->cover.waived;
    t->coverable = t->info.role == VTAG_ACTIVE ? d->stat.items : t->cover.base;
    if (!err && t->info.role == VTAG_CANDIDATE) {
        err = vtag_judge(d->st.snap, t->info.tag, NULL, &t->verdict);
        t->judged = 1;
    }
    if (!err) err = dash_reasons(d, t);
    if (err) return err;
    dash_backfills(d, t);
    dash_notes(d, t);
    return VTAG_OK;
}

static vtag_err dash_fill(dash *d, dash_tag *t)
{
    const vtag_info *i = &t->info;
    vtag_err err = i->role == VTAG_GONE ? VTAG_OK : dash_measure(d, t);
    if (err) return err;
    dash_scores(d, t);
    dash_shadows(t);
    dash_points(d, t);
    t->has_left = i->activated && i->role != VTAG_ACTIVE && i->role != VTAG_GONE;
    if (t->has_left && i->kept_ms < d->policy.retain_ms) {
        t->left_ms = d->policy.retain_ms - i->kept_ms;
    }
    return VTAG_OK;
}

static int dash_tags(dash *d)
{
    vtag_info *tags;
    size_t i;
    int rc = cli_tags(&d->st, &tags, &d->n);
    if (rc) return rc;
    d->tags = cli_alloc((d->n + 1) * sizeof *d->tags);
    for (i = 0; i < d->n; i++) d->tags[i].info = tags[i];
    free(tags);
    return 0;
}

int dash_read(dash *d)
{
    const dash_tag *active;
    vtag_err err;
    size_t i;
    int rc = cli_snap(&d->st);
    if (rc) return rc;
    d->now = cli_clock();
    err = vtag_stats(d->st.snap, &d->stat);
    if (!err) err = vtag_policy_get(d->st.snap, &d->policy);
    if (err) return cli_error(err, "%s", d->st.path);
    rc = dash_tags(d);
    if (!rc) rc = cmd_events(&d->st, &d->events, &d->nevents);
    if (rc) return rc;
    for (i = 0; i < d->n && !err; i++) err = dash_fill(d, &d->tags[i]);
    active = dash_find(d, d->stat.active);
    d->unfound = d->stat.items - (active ? active->info.items : 0);
    if (!err && d->stat.standby) {
        err = vtag_coverage(d->st.snap, d->stat.active, d->stat.standby, &d->hidden);
    }
    dash_rehearsal(d);
    return err ? cli_error(err, "%s", d->st.path) : 0;
}

void dash_free(dash *d)
{
    cli_store st = d->st;
    size_t i, k;
    for (i = 0; i < d->n; i++) {
        dash_tag *t = &d->tags[i];
        for (k = 0; k < t->nreasons; k++) free(t->reasons[k].why);
        free(t->reasons);
        free(t->points);
        free((void *)t->scores);
    }
    free(d->tags);
    free(d->events);
    memset(d, 0, sizeof *d);
    d->st = st;
}
