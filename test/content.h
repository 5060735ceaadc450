/* content.h - one number for all that a snapshot holds

   Computed through the public API alone, so that it does not depend on where things
   lie in the file: tags with roles and counters, items with key, revision, time and
   payload, the vectors of every tag that answers, waivers, policy, metadata, history.
   Left out, for the engine may change them by itself: commit number and time, sizes,
   segments, and the uuid, which is fixed. Sums that must agree are compared on the
   way, and a difference is VTAG_CORRUPT. One thread at a time. */
#ifndef VTAG_TEST_CONTENT_H
#define VTAG_TEST_CONTENT_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct content {
    uint64_t  hash;
    vtag_err  err;               /* the first; the rest is skipped             */
    const char *at;              /* where err was found                        */
} content;

/* Set to have every part of the content printed to stderr as it is hashed. */
static int content_trace;

static inline void content_word(content *c, uint64_t x)
{
    uint64_t h = (c->hash ^ x) * UINT64_C(0x9FB21C651E98DF25);
    c->hash = h ^ h >> 32;
}

static inline void content_bytes(content *c, const void *p, size_t n)
{
    const uint8_t *from = (const uint8_t *)p;
    uint64_t word;
    content_word(c, n);
    for (; n >= 8; n -= 8, from += 8) {
        memcpy(&word, from, 8);
        content_word(c, word);
    }
    word = 0;
    if (n) memcpy(&word, from, n);
    content_word(c, word);
}

static inline void content_text(content *c, const char *text)
{
    content_word(c, text != NULL);
    content_bytes(c, text ? text : "", text ? strlen(text) : 0);
}

static inline void content_double(content *c, double x)
{
    uint64_t word;
    memcpy(&word, &x, 8);
    content_word(c, word);
}

static inline void content_say(const content *c, const char *what, uint64_t id)
{
    if (content_trace)
        fprintf(stderr, "  %-12s %20llu %016llx\n", what,
                (unsigned long long)id, (unsigned long long)c->hash);
}

/* Keeps the first error; true while there is none. */
static inline int content_good(content *c, vtag_err err, const char *at)
{
    if (c->err == VTAG_OK && err != VTAG_OK) {
        c->err = err;
        c->at = at;
    }
    return c->err == VTAG_OK;
}

static inline int content_same(content *c, uint64_t a, uint64_t b, const char *at)
{
    return content_good(c, a == b ? VTAG_OK : VTAG_CORRUPT, at);
}

static inline void content_gate(content *c, const vtag_gate *g)
{
    content_word(c, g->min_ppm);
    content_word(c, g->max_waived_ppm);
    content_word(c, g->max_age_ms);
    content_text(c, g->score);
    content_double(c, g->min_score);
    content_double(c, g->max_drop);
    content_word(c, (uint64_t)g->has_min << 1 | (uint64_t)g->has_drop);
    content_word(c, g->min_queries);
    content_text(c, g->reason);
}

static inline void content_cover(content *c, const vtag_cover *v)
{
    content_word(c, v->base);
    content_word(c, v->fresh);
    content_word(c, v->stale);
    content_word(c, v->missing);
    content_word(c, v->waived);
    content_word(c, v->outside);
    content_word(c, v->extra);
    content_word(c, v->oldest);
}

static inline void content_info(content *c, const vtag_info *t)
{
    content_word(c, t->tag);
    content_text(c, t->spec.name);
    content_word(c, t->spec.dim);
    content_word(c, (uint64_t)t->spec.metric << 8 | (uint64_t)t->spec.codec);
    content_word(c, t->spec.fingerprint);
    content_word(c, t->spec.flags);
    content_text(c, t->spec.note);
    content_word(c, (uint64_t)t->role);
    content_word(c, t->items);
    content_word(c, t->rows);
    content_word(c, t->created);
    content_word(c, t->activated);
    content_word(c, t->writes_with);
    content_word(c, t->writes_without);
    content_word(c, (uint64_t)t->forced);
}

static inline void content_event(content *c, const vtag_event *e)
{
    content_word(c, e->seq);
    content_word(c, e->time);
    content_word(c, (uint64_t)e->kind);
    content_word(c, (uint64_t)e->tag << 32 | e->base);
    content_double(c, e->value);
    content_double(c, e->base_value);
    content_word(c, e->queries);
    content_word(c, e->commit);
    content_word(c, e->flags);
    content_word(c, e->failed);
    content_gate(c, &e->used);
    content_cover(c, &e->cover);
    content_text(c, e->name);
    content_text(c, e->text);
}

static inline uint64_t content_stats(content *c, const vtag_snap *s, vtag_stat *stat)
{
    if (!content_good(c, vtag_stats(s, stat), "stats")) return 0;
    content_word(c, stat->revision);
    content_word(c, stat->items);
    content_word(c, stat->rows);
    content_word(c, stat->events);
    content_word(c, stat->tags);
    content_word(c, (uint64_t)stat->active << 32 | stat->standby);
    content_word(c, (uint64_t)stat->rolled_back);
    content_say(c, "stats", stat->items);
    return stat->items;
}

/* The parts of one item under a tag; returns how many. */
static inline uint64_t content_parts(content *c, const vtag_snap *s, uint64_t id,
                                     const vtag_info *t, uint64_t *rev)
{
    static float x[32768];
    vtag_row row;
    uint32_t part, parts = 1;
    for (part = 0; part < parts; part++) {
        vtag_err err = vtag_vector(s, id, t->tag, part, x, t->spec.dim, &row);
        if (part == 0 && err == VTAG_NOTFOUND) return 0;
        if (!content_good(c, err, "vector")) return 0;
        parts = row.parts;
        *rev = row.rev;
        content_word(c, row.rev);
        content_word(c, (uint64_t)row.off << 32 | row.len);
        content_bytes(c, x, t->spec.dim * sizeof *x);
    }
    content_same(c, (uint64_t)vtag_vector(s, id, t->tag, parts, NULL, t->spec.dim, NULL),
                 VTAG_NOTFOUND, "a part too many");
    return parts;
}

/* The items of a tag as vtag_items lists them in each state against their vectors. */
static inline void content_tag(content *c, const vtag_snap *s, const vtag_info *t)
{
    vtag_item item[64];
    uint64_t cursor = 0, rows = 0, items = 0, last = 0;
    size_t n, i;
    int first = 1;
    while (content_good(c, vtag_items(s, t->tag, VTAG_ALL, &cursor, item, 64, &n), "items of tag")
           && n) {
        for (i = 0; i < n && c->err == VTAG_OK; i++) {
            uint64_t rev = 0, parts = content_parts(c, s, item[i].id, t, &rev);
            uint32_t fresh = parts && rev == item[i].rev;
            content_same(c, first || item[i].id > last, 1, "ids ascend");
            content_same(c, fresh, item[i].state == VTAG_FRESH, "fresh state");
            if (item[i].state == VTAG_MISSING) content_same(c, parts, 0, "missing state");
            if (item[i].state == VTAG_STALE) content_same(c, parts > 0, 1, "stale state");
            content_word(c, item[i].id);
            content_word(c, item[i].state);
            content_text(c, item[i].state == VTAG_WAIVED ? item[i].why : NULL);
            rows += parts;
            items += parts > 0;
            last = item[i].id;
            first = 0;
            content_say(c, "row", item[i].id);
        }
    }
    content_same(c, rows, t->rows, "rows of tag");
    content_same(c, items, t->items, "items of tag counted");
}

static inline void content_tags(content *c, const vtag_snap *s, const vtag_stat *stat)
{
    vtag_info info[16];
    uint64_t cursor = 0, tags = 0, rows = 0;
    size_t n, i;
    while (content_good(c, vtag_tags(s, &cursor, info, 16, &n), "tags") && n) {
        for (i = 0; i < n && c->err == VTAG_OK; i++) {
            content_info(c, &info[i]);
            content_say(c, "tag", info[i].tag);
            if (info[i].role != VTAG_GONE) {
                content_tag(c, s, &info[i]);
                rows += info[i].rows;
            }
            tags++;
        }
    }
    content_same(c, tags, stat->tags, "tags counted");
    content_same(c, rows, stat->rows, "rows counted");
}

static inline void content_items(content *c, const vtag_snap *s, uint64_t want)
{
    vtag_item item[64], one;
    uint64_t cursor = 0, items = 0;
    size_t n, i;
    while (content_good(c, vtag_items(s, 0, VTAG_ALL, &cursor, item, 64, &n), "items") && n) {
        for (i = 0; i < n; i++) {
            memset(&one, 0, sizeof one);
            if (!content_good(c, vtag_get(s, item[i].id, &one), "get")) return;
            content_same(c, one.rev, item[i].rev, "revision listed");
            content_word(c, one.id);
            content_text(c, one.key);
            content_word(c, one.rev);
            content_word(c, one.time);
            content_bytes(c, one.size ? one.data : "", one.size);
            items++;
            content_say(c, "item", one.id);
        }
    }
    content_same(c, items, want, "items counted");
}

static inline void content_metas(content *c, const vtag_snap *s)
{
    const char *name[16];
    const void *p;
    uint64_t cursor = 0;
    size_t n, i, size;
    while (content_good(c, vtag_metas(s, &cursor, name, 16, &n), "metas") && n) {
        for (i = 0; i < n; i++) {
            if (!content_good(c, vtag_meta_get(s, name[i], &p, &size), "meta")) return;
            content_text(c, name[i]);
            content_bytes(c, size ? p : "", size);
            content_say(c, name[i], size);
        }
    }
}

static inline void content_history(content *c, const vtag_snap *s, uint64_t want)
{
    vtag_event event[16];
    uint64_t cursor = 0, events = 0;
    size_t n, i;
    while (content_good(c, vtag_history(s, &cursor, event, 16, &n), "history") && n) {
        for (i = 0; i < n; i++) {
            content_event(c, &event[i]);
            content_same(c, event[i].seq, ++events, "events without gaps");
            content_say(c, "event", event[i].seq);
        }
    }
    content_same(c, events, want, "events counted");
}

static inline void content_policy(content *c, const vtag_snap *s)
{
    vtag_policy policy;
    if (!content_good(c, vtag_policy_get(s, &policy), "policy")) return;
    content_gate(c, &policy.gate);
    content_word(c, policy.retain_ms);
    content_word(c, policy.retain_scores);
    content_text(c, policy.hold);
    content_say(c, "policy", 0);
}

/* The content of a snapshot; c->err says whether it could be read and agrees. */
static inline content content_of(const vtag_snap *s)
{
    content c = {UINT64_C(0x243F6A8885A308D3), VTAG_OK, NULL};
    vtag_stat stat;
    memset(&stat, 0, sizeof stat);
    content_stats(&c, s, &stat);
    if (c.err == VTAG_OK) content_tags(&c, s, &stat);
    if (c.err == VTAG_OK) content_items(&c, s, stat.items);
    if (c.err == VTAG_OK) content_policy(&c, s);
    if (c.err == VTAG_OK) content_metas(&c, s);
    if (c.err == VTAG_OK) content_history(&c, s, stat.events);
    if (c.err != VTAG_OK) c.hash = 0;
    return c;
}

/* The content of a handle's newest state. */
static inline content content_db(vtag_db *db)
{
    content c = {0, VTAG_OK, NULL};
    vtag_snap *s = NULL;
    if (!content_good(&c, vtag_snapshot(db, &s), "snapshot")) return c;
    c = content_of(s);
    vtag_release(s);
    return c;
}

#endif
