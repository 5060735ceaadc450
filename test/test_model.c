/* test_model.c - random operations through the whole API against a naive array

   OPS scales the run (default 100,000 changes), SEED replays one. Every batch works on
   a copy of the model; commit keeps the copy, abort drops it. */
#include "engine.h"
#include "test.h"
#include "util.h"

#ifndef IDS /* fuzz_ops.c takes fewer */
#  define IDS 120
#  define TAGS 14
#endif
#define PARTS 3
#define DIMS 5

typedef struct m_row { uint32_t parts; uint64_t rev; float x[PARTS][DIMS]; } m_row;

typedef struct m_item {
    int      live, keyed, payload;    /* payload: index of a text, 0 none */
    uint64_t rev, time;
    m_row    row[TAGS];
    uint64_t waived[TAGS];            /* the revision a waiver is of; 0 none, ever */
} m_item;

typedef struct m_tag {
    vtag_tag    tag;
    uint32_t    dim;
    vtag_metric metric;
    vtag_role   role;
    int         had, ever_active;     /* vectors, the role */
    uint64_t    with, without, left;  /* left: count of role changes when last left */
} m_tag;

typedef struct model {
    m_item   item[IDS];
    m_tag    tag[TAGS];
    int      tags, active, standby;   /* indices; -1 none */
    int      rolled_back;
    uint64_t newest, events, changes;
} model;

typedef struct world {
    env       e;
    vtag_db  *second;
    model     now, kept;              /* inside the batch; committed */
    uint64_t  seed, commits, checks;
    vtag_snap *pin;
    uint64_t  pin_hash;
} world;

static const char *const texts[] = {
    "", "alpha", "beta, a longer text than alpha", "gamma", "delta: the longest of all the texts in this small model",
};

static uint32_t dice(world *w, uint32_t n) { return (uint32_t)t_below(&w->seed, n); }

static void name_key(int i, char *key) { snprintf(key, 16, "key-%d", i); }

static int has_key(int i) { return i % 5 == 0; }

static uint64_t id_at(int i)
{
    char key[16];
    if (!has_key(i)) return (uint64_t)i * 3;
    name_key(i, key);
    return vtag_id(key);
}

static uint32_t m_state(const m_item *it, int t)
{
    const m_row *r = &it->row[t];
    if (r->parts && r->rev == it->rev) return VTAG_FRESH;
    if (it->waived[t] && it->waived[t] == it->rev) return VTAG_WAIVED;
    return r->parts ? VTAG_STALE : VTAG_MISSING;
}

static vtag_cover m_cover(const model *m, int tag, int base)
{
    vtag_cover c;
    int i;
    memset(&c, 0, sizeof c);
    for (i = 0; i < IDS; i++) {
        const m_item *it = &m->item[i];
        uint32_t st;
        int in_base;
        if (!it->live) continue;
        st = m_state(it, tag);
        in_base = it->row[base].parts > 0;
        c.base += in_base != 0;
        if (in_base) {
            c.fresh += st == VTAG_FRESH;
            c.stale += st == VTAG_STALE;
            c.missing += st == VTAG_MISSING;
            c.waived += st == VTAG_WAIVED;
        }
        c.outside += !in_base && (st & VTAG_PENDING) != 0;
        c.extra += st == VTAG_FRESH && m_state(it, base) != VTAG_FRESH;
        if ((st & VTAG_PENDING) && (!c.oldest || it->time < c.oldest)) c.oldest = it->time;
    }
    return c;
}

/* ---- Puts and fills ------------------------------------------------------------------ */

static void pick_vectors(world *w, const m_item *it, int t, m_row *r)
{
    uint32_t p;
    const m_tag *tag = &w->now.tag[t];
    if (it->row[t].parts && dice(w, 3) == 0) { /* the stored ones again */
        *r = it->row[t];
        return;
    }
    memset(r, 0, sizeof *r);
    r->parts = 1 + dice(w, 4) / 2;
    for (p = 0; p < r->parts; p++) random_vector(&w->seed, r->x[p], tag->dim, 4);
}

static size_t give(world *w, int t, const m_row *r, vtag_vec *v)
{
    uint32_t p;
    for (p = 0; p < r->parts; p++) {
        v[p] = vec(w->now.tag[t].tag, w->now.tag[t].dim, r->x[p]);
        v[p].off = p * 8;
        v[p].len = 8;
    }
    return r->parts;
}

static int same_row(const m_item *it, int t, const m_row *r, uint32_t dim)
{
    uint32_t p;
    const m_row *o = &it->row[t];
    if (o->parts != r->parts || o->rev != it->rev) return 0;
    for (p = 0; p < r->parts; p++)
        if (memcmp(o->x[p], r->x[p], dim * sizeof(float))) return 0;
    return 1;
}

/* Whether a put keeps the revision: data -1 keeps the payload, 0 clears it. */
static int keeps_revision(world *w, const m_item *it, int data, const m_row *r, const int *given, int n)
{
    int i;
    if (!it->live) return 0;
    if (data > 0) return data == it->payload;
    if (data == 0 && it->payload) return 0;
    for (i = 0; i < n; i++)
        if (!same_row(it, given[i], &r[i], w->now.tag[given[i]].dim)) return 0;
    return 1;
}

static void count_writes(model *m, const int *given, int n)
{
    int t, i;
    for (t = 0; t < m->tags; t++) {
        int with = 0;
        for (i = 0; i < n; i++) with |= given[i] == t;
        if (with) m->tag[t].with++;
        else m->tag[t].without++;
    }
}

static int pick_tags(world *w, int *given)
{
    int n = 0, t;
    for (t = 0; t < w->now.tags && n < 3; t++)
        if (w->now.tag[t].role != VTAG_GONE && dice(w, 5) < 2) given[n++] = t;
    return n;
}

/* All of an item but what was once waived: revisions are never reused, so it may stay. */
static void forget(m_item *it)
{
    m_item was = *it;
    memset(it, 0, sizeof *it);
    memcpy(it->waived, was.waived, sizeof it->waived);
}

static void apply_put(world *w, m_item *it, uint64_t rev, int keyed, int data, const m_row *r, const int *given, int n)
{
    int i, keeps = keeps_revision(w, it, data, r, given, n);
    if (keeps) CHECK_EQ(rev, it->rev);
    else CHECK(rev > w->now.newest);
    if (!it->live) forget(it);
    if (!keeps) {
        it->rev = w->now.newest = rev;
        it->time = w->e.r.clock;
        count_writes(&w->now, given, n);
    }
    it->live = 1;
    it->keyed |= keyed;
    if (data >= 0) it->payload = data;
    for (i = 0; i < n; i++) {
        it->row[given[i]] = r[i];
        it->row[given[i]].rev = it->rev;
        w->now.tag[given[i]].had = 1;
    }
}

static void op_put(world *w, vtag_batch *b)
{
    int i = (int)dice(w, IDS), given[3], n = pick_tags(w, given), k, data = (int)dice(w, 6) - 1;
    m_item *it = &w->now.item[i];
    m_row r[3];
    vtag_vec v[3 * PARTS];
    vtag_item in = item_at(id_at(i), 0);
    char key[16];
    size_t m = 0;
    vtag_err want = VTAG_OK;
    for (k = 0; k < n; k++) pick_vectors(w, it, given[k], &r[k]);
    for (k = 0; k < n; k++) m += give(w, given[k], &r[k], v + m);
    if (has_key(i) && dice(w, 8)) {
        name_key(i, key);
        in.key = key;
        if (dice(w, 2)) in.id = 0;
        if (it->live && !it->keyed) want = VTAG_EXISTS;
    }
    if (data >= 0) {
        in.data = texts[data];
        in.size = strlen(texts[data]);
    }
    if (dice(w, 10) == 0) in.rev = it->live && dice(w, 2) ? it->rev : w->now.newest + 5;
    if (!want && in.rev && !(it->live && it->rev == in.rev)) want = VTAG_CHANGED;
    ERR(want, vtag_put(b, &in, v, m));
    if (want) return;
    CHECK(in.id == id_at(i));
    apply_put(w, it, in.rev, in.key != NULL, data, r, given, n);
}

static void op_fill(world *w, vtag_batch *b)
{
    int i = (int)dice(w, IDS), t = w->now.tags ? (int)dice(w, (uint32_t)w->now.tags) : -1;
    m_item *it = &w->now.item[i];
    m_row r;
    vtag_vec v[PARTS];
    vtag_item in = item_at(id_at(i), 0);
    vtag_err want = VTAG_OK;
    size_t n;
    if (t < 0) return;
    pick_vectors(w, it, t, &r);
    n = give(w, t, &r, v);
    in.rev = it->live && dice(w, 6) ? it->rev : 1 + dice(w, (uint32_t)w->now.newest + 1);
    if (w->now.tag[t].role == VTAG_GONE) want = VTAG_RETIRED;
    else if (!it->live) want = VTAG_NOTFOUND;
    else if (in.rev != it->rev) want = VTAG_CHANGED;
    ERR(want, vtag_fill(b, &in, v, n));
    if (want) return;
    r.rev = it->rev;
    it->row[t] = r;
    w->now.tag[t].had = 1;
}

static void op_del(world *w, vtag_batch *b)
{
    m_item *it = &w->now.item[dice(w, IDS)];
    int i = (int)(it - w->now.item);
    ERR(it->live ? VTAG_OK : VTAG_NOTFOUND, vtag_del(b, id_at(i)));
    forget(it);
}

static void op_waive(world *w, vtag_batch *b)
{
    int i = (int)dice(w, IDS), t = w->now.tags ? (int)dice(w, (uint32_t)w->now.tags) : -1, lift = dice(w, 3) == 0;
    m_item *it = &w->now.item[i];
    vtag_item in = item_at(id_at(i), 0);
    vtag_err want = VTAG_OK;
    if (t < 0) return;
    if (dice(w, 4) == 0) in.rev = it->rev + dice(w, 2);
    if (w->now.tag[t].role == VTAG_GONE) want = VTAG_RETIRED;
    else if (!it->live) want = VTAG_NOTFOUND;
    else if (in.rev && in.rev != it->rev) want = VTAG_CHANGED;
    if (lift && it->waived[t] && m_state(it, t) != VTAG_WAIVED) return; /* lifts nothing; noted or not */
    ERR(want, vtag_waive(b, &in, w->now.tag[t].tag, lift ? NULL : "why not"));
    if (want) return;
    w->now.events += !lift || it->waived[t];
    it->waived[t] = lift ? 0 : it->rev;
}

/* ---- Tags and roles ------------------------------------------------------------------------ */

static void op_declare(world *w, vtag_batch *b)
{
    model *m = &w->now;
    m_tag *t = &m->tag[m->tags];
    char name[16];
    if (m->tags == TAGS) return;
    snprintf(name, sizeof name, "m@%d", m->tags);
    memset(t, 0, sizeof *t);
    t->dim = 1 + dice(w, DIMS);
    t->metric = (vtag_metric)dice(w, 3);
    OK(try_declare(b, name, t->dim, t->metric, &t->tag));
    CHECK_EQ(t->tag, 1u << 20 | (uint32_t)(m->tags + 1) << 8 | 1u);
    if (m->active < 0) {
        m->active = m->tags;
        t->role = VTAG_ACTIVE;
        t->ever_active = 1;
    }
    m->tags++;
    m->events++;
}

static int any_items(const model *m)
{
    int i;
    for (i = 0; i < IDS; i++)
        if (m->item[i].live) return 1;
    return 0;
}

static int gate_passes(world *w, int t, int forced)
{
    vtag_cover c = m_cover(&w->now, t, w->now.active);
    if (!c.base) return !any_items(&w->now);
    if (forced) return c.fresh + c.waived > 0; /* zero is to be exceeded too */
    if (c.fresh + c.waived != c.base && (c.fresh + c.waived) * 1000000 <= 995000 * c.base) return 0;
    if (c.waived > 1 && c.waived * 1000000 > 1000 * c.base) return 0;
    return !c.oldest || w->e.r.clock - c.oldest < DAY_MS;
}

static void leave(model *m, int t, vtag_role role)
{
    m->tag[t].role = role;
    m->tag[t].left = ++m->changes;
}

static void become_active(model *m, int t)
{
    m->active = t;
    m->tag[t].role = VTAG_ACTIVE;
    m->tag[t].ever_active = 1;
    m->events++;
}

/* The newest older tag, if there is one, stands by. */
static void promote_older(model *m)
{
    int t, best = -1;
    for (t = 0; t < m->tags; t++)
        if (m->tag[t].role == VTAG_OLDER && (best < 0 || m->tag[t].left > m->tag[best].left)) best = t;
    m->standby = best;
    if (best >= 0) m->tag[best].role = VTAG_STANDBY;
}

static void apply_cutover(model *m, int t)
{
    int old = m->active, by = m->standby;
    if (m->tag[old].had) {
        if (by >= 0 && by != t) m->tag[by].role = VTAG_OLDER;
        leave(m, old, VTAG_STANDBY);
        m->standby = old;
    } else {
        leave(m, old, VTAG_CANDIDATE);
        if (by == t) promote_older(m);
    }
    m->rolled_back = 0;
    become_active(m, t);
}

static void op_cutover(world *w, vtag_batch *b)
{
    model *m = &w->now;
    int t = m->tags ? (int)dice(w, (uint32_t)m->tags) : -1, forced = dice(w, 2) == 0;
    vtag_gate g;
    vtag_err want = VTAG_OK;
    if (t < 0) return;
    memset(&g, 0, sizeof g);
    g.min_ppm = VTAG_NONE;
    g.max_waived_ppm = 1000000;
    g.max_age_ms = UINT64_MAX;
    g.reason = "the model test says so";
    if (m->tag[t].role == VTAG_GONE) want = VTAG_RETIRED;
    else if (t != m->active && m->tag[m->active].had && !gate_passes(w, t, forced)) want = VTAG_GATE;
    ERR(want, vtag_cutover(b, m->tag[t].tag, forced ? &g : NULL, NULL));
    if (!want && t != m->active) apply_cutover(m, t);
}

static void apply_rollback(model *m, int to)
{
    int old = m->active, by = m->standby;
    leave(m, old, VTAG_CANDIDATE);
    m->tag[to].role = VTAG_ACTIVE;
    m->standby = -1;
    if (by == to) promote_older(m);
    else if (by >= 0) m->tag[by].role = VTAG_OLDER; /* named: nothing stands by */
    m->rolled_back = 1;
    become_active(m, to);
}

static void op_rollback(world *w, vtag_batch *b)
{
    model *m = &w->now;
    int to = m->tags && dice(w, 2) ? (int)dice(w, (uint32_t)m->tags) : -1, no_op = 0;
    vtag_err want = VTAG_OK;
    if (to < 0) {
        if (m->rolled_back) no_op = 1;
        else if (m->standby < 0) want = VTAG_NOTFOUND;
    } else {
        vtag_role role = m->tag[to].role;
        no_op = to == m->active;
        if (role == VTAG_GONE) want = VTAG_RETIRED;
        else if (role == VTAG_CANDIDATE) want = VTAG_ARG;
    }
    ERR(want, vtag_rollback(b, to < 0 ? 0 : m->tag[to].tag, NULL));
    if (!want && !no_op) apply_rollback(m, to < 0 ? m->standby : to);
}

static void op_retire(world *w, vtag_batch *b)
{
    model *m = &w->now;
    int t = m->tags ? (int)dice(w, (uint32_t)m->tags) : -1, i;
    vtag_err want = VTAG_OK;
    if (t < 0) return;
    if (m->tag[t].role == VTAG_GONE) want = VTAG_RETIRED;
    else if (t == m->active) want = VTAG_INUSE;
    ERR(want, vtag_retire(b, m->tag[t].tag, "the model test says so", NULL));
    if (want) return;
    m->tag[t].role = VTAG_GONE;
    if (t == m->standby) promote_older(m);
    m->events++;
    for (i = 0; i < IDS; i++) {
        memset(&m->item[i].row[t], 0, sizeof m->item[i].row[t]);
        m->item[i].waived[t] = 0;
    }
}

static void op_note(world *w, vtag_batch *b)
{
    vtag_event ev;
    memset(&ev, 0, sizeof ev);
    ev.kind = VTAG_K_NOTE;
    ev.text = texts[dice(w, 5)];
    OK(vtag_note(b, &ev));
    w->now.events++;
}

static void operate(world *w, vtag_batch *b)
{
    uint32_t d = dice(w, 1000);
    if (d < 520) op_put(w, b);
    else if (d < 780) op_fill(w, b);
    else if (d < 890) op_del(w, b);
    else if (d < 960) op_waive(w, b);
    else if (d < 964) op_declare(w, b);
    else if (d < 978) op_cutover(w, b);
    else if (d < 988) op_rollback(w, b);
    else if (d < 990) op_retire(w, b);
    else op_note(w, b);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static int index_of(uint64_t id)
{
    int i;
    for (i = 0; i < IDS; i++)
        if (id_at(i) == id) return i;
    return -1;
}

static void check_item(world *w, const vtag_snap *s, int i)
{
    const m_item *it = &w->kept.item[i];
    vtag_item got;
    char key[16];
    vtag_err err = vtag_get(s, id_at(i), &got);
    ERR(it->live ? VTAG_OK : VTAG_NOTFOUND, err);
    if (!it->live || err) return;
    name_key(i, key);
    CHECK_EQ(got.rev, it->rev);
    CHECK_EQ(got.time, it->time);
    CHECK_EQ(got.size, strlen(texts[it->payload]));
    CHECK(got.size == strlen(texts[it->payload]) && !memcmp(got.size ? got.data : "", texts[it->payload], got.size));
    CHECK_STR(got.key, it->keyed ? key : NULL);
}

static void check_vectors(world *w, const vtag_snap *s, int i, int t)
{
    const m_row *r = &w->kept.item[i].row[t];
    const m_tag *tag = &w->kept.tag[t];
    float x[DIMS];
    vtag_row row;
    uint32_t p;
    if (tag->role == VTAG_GONE) {
        ERR(VTAG_RETIRED, vtag_vector(s, id_at(i), tag->tag, 0, x, tag->dim, NULL));
        return;
    }
    for (p = 0; p < r->parts; p++) {
        memset(&row, 0, sizeof row);
        OK(vtag_vector(s, id_at(i), tag->tag, p, x, tag->dim, &row));
        CHECK(!memcmp(x, r->x[p], tag->dim * sizeof *x));
        CHECK_EQ(row.rev, r->rev);
        CHECK_EQ(row.parts, r->parts);
        CHECK_EQ(row.off, p * 8);
    }
    ERR(VTAG_NOTFOUND, vtag_vector(s, id_at(i), tag->tag, r->parts, x, tag->dim, NULL));
}

static size_t m_count(const model *m, int t, uint32_t states)
{
    size_t n = 0;
    int i;
    for (i = 0; i < IDS; i++)
        if (m->item[i].live && (m_state(&m->item[i], t) & states)) n++;
    return n;
}

static void check_listing(world *w, const vtag_snap *s, int t)
{
    static const uint32_t orders[] = {0, VTAG_NEWEST_FIRST, VTAG_OLDEST_FIRST};
    uint32_t states = 1 + dice(w, 15), order = orders[dice(w, 3)];
    vtag_item it[IDS], last;
    uint64_t cursor = 0;
    size_t cap = 1 + dice(w, IDS), n, k, seen = 0;
    memset(&last, 0, sizeof last);
    if (order && cap < 16) cap = 16;
    for (;;) {
        OK(vtag_items(s, w->kept.tag[t].tag, states | order, &cursor, it, cap, &n));
        if (!n) break;
        for (k = 0; k < n; k++) {
            int i = index_of(it[k].id);
            REQUIRE(i >= 0);
            CHECK(w->kept.item[i].live);
            CHECK_EQ(it[k].state, m_state(&w->kept.item[i], t));
            CHECK(it[k].state & states);
            CHECK_EQ(it[k].rev, w->kept.item[i].rev);
            if (it[k].state == VTAG_WAIVED) CHECK_STR(it[k].why, "why not");
            if (seen + k) {
                if (!order) CHECK(it[k].id > last.id);
                else CHECK(order == VTAG_NEWEST_FIRST ? it[k].rev < last.rev : it[k].rev > last.rev);
            }
            last = it[k];
        }
        seen += n;
    }
    CHECK_EQ(seen, m_count(&w->kept, t, states));
}

static void check_coverage(world *w, const vtag_snap *s, int t, int base)
{
    vtag_cover got, want = m_cover(&w->kept, t, base);
    memset(&got, 0, sizeof got);
    OK(vtag_coverage(s, w->kept.tag[t].tag, w->kept.tag[base].tag, &got));
    CHECK_EQ(got.base, want.base);
    CHECK_EQ(got.fresh, want.fresh);
    CHECK_EQ(got.stale, want.stale);
    CHECK_EQ(got.missing, want.missing);
    CHECK_EQ(got.waived, want.waived);
    CHECK_EQ(got.outside, want.outside);
    CHECK_EQ(got.extra, want.extra);
    CHECK_EQ(got.oldest, want.oldest);
}

static size_t m_search(const model *m, int t, const float *q, int fresh_only, vtag_hit *out)
{
    size_t n = 0;
    uint32_t p;
    int i;
    for (i = 0; i < IDS; i++)
        for (p = 0; p < m->item[i].row[t].parts; p++) {
            vtag_hit h;
            h.id = id_at(i);
            h.part = p & 0x7FFFFFFFu;
            h.stale = m->item[i].row[t].rev != m->item[i].rev;
            h.dist = rule_dist(m->tag[t].metric, m->item[i].row[t].x[p], q, m->tag[t].dim);
            if (!fresh_only || !h.stale) out[n++] = h;
        }
    qsort(out, n, sizeof *out, hit_compare);
    return n;
}

static void check_search(world *w, const vtag_snap *s, int t)
{
    vtag_hit want[IDS * PARTS], got[IDS * PARTS];
    vtag_search_opts o = {0};
    float q[DIMS];
    size_t n, m, k = 1 + dice(w, 40);
    random_vector(&w->seed, q, w->kept.tag[t].dim, 4);
    o.preview = 1;
    o.fresh_only = dice(w, 2) == 0;
    m = m_search(&w->kept, t, q, o.fresh_only, want);
    OK(vtag_search(s, vec(w->kept.tag[t].tag, w->kept.tag[t].dim, q), &o, k, got, &n));
    CHECK(same_hits(got, n, want, m < k ? m : k));
    o.preview = 0;
    ERR(w->kept.tag[t].role == VTAG_CANDIDATE ? VTAG_PREVIEW : VTAG_OK,
        vtag_search(s, vec(w->kept.tag[t].tag, w->kept.tag[t].dim, q), &o, k, got, &n));
}

static void check_tag(world *w, const vtag_snap *s, int t)
{
    const m_tag *tag = &w->kept.tag[t];
    vtag_info info;
    uint64_t items = 0, rows = 0;
    int i;
    memset(&info, 0, sizeof info);
    OK(vtag_tag_info(s, tag->tag, &info));
    CHECK_EQ(info.role, tag->role);
    if (tag->role == VTAG_GONE) return;
    for (i = 0; i < IDS; i++) {
        items += w->kept.item[i].row[t].parts > 0;
        rows += w->kept.item[i].row[t].parts;
    }
    CHECK_EQ(info.items, items);
    CHECK_EQ(info.rows, rows);
    CHECK_EQ(info.writes_with, tag->with);
    CHECK_EQ(info.writes_without, tag->without);
    CHECK_EQ(info.spec.dim, tag->dim);
}

static void check_stats(world *w, const vtag_snap *s)
{
    const model *m = &w->kept;
    vtag_stat st;
    uint64_t items = 0, rows = 0;
    int i, t;
    for (i = 0; i < IDS; i++) {
        items += m->item[i].live != 0;
        for (t = 0; t < m->tags; t++) rows += m->item[i].row[t].parts;
    }
    OK(vtag_stats(s, &st));
    CHECK_EQ(st.items, items);
    CHECK_EQ(st.rows, rows);
    CHECK_EQ(st.tags, m->tags);
    CHECK_EQ(st.active, m->active < 0 ? 0 : m->tag[m->active].tag);
    CHECK_EQ(st.standby, m->standby < 0 ? 0 : m->tag[m->standby].tag);
    CHECK_EQ(st.rolled_back != 0, m->rolled_back);
    CHECK_EQ(st.events, m->events);
    CHECK(st.revision >= m->newest);
}

static void check_world(world *w, vtag_db *db)
{
    vtag_snap *s = look(db);
    int k, t, base;
    w->checks++;
    check_stats(w, s);
    for (k = 0; k < 6; k++) check_item(w, s, (int)dice(w, IDS));
    for (k = 0; w->kept.tags && k < 2; k++) {
        t = (int)dice(w, (uint32_t)w->kept.tags);
        base = (int)dice(w, (uint32_t)w->kept.tags);
        check_tag(w, s, t);
        check_vectors(w, s, (int)dice(w, IDS), t);
        if (w->kept.tag[t].role == VTAG_GONE) continue;
        check_listing(w, s, t);
        check_search(w, s, t);
        if (w->kept.tag[base].role != VTAG_GONE) check_coverage(w, s, t, base);
    }
    vtag_release(s);
}

/* ---- The run -------------------------------------------------------------------------------------- */

static void one_batch(world *w, uint64_t *left)
{
    vtag_db *db = dice(w, 3) ? w->e.db : w->second;
    vtag_batch *b;
    uint32_t n = 1 + dice(w, dice(w, 8) ? 12 : 60);
    w->e.r.clock += dice(w, 200) * 60000u;
    b = begin(db);
    w->now = w->kept;
    while (n-- && *left) {
        operate(w, b);
        --*left;
    }
    if (dice(w, 7) == 0) {
        vtag_abort(b);
        return;
    }
    OK(vtag_commit(b));
    w->kept = w->now;
    w->commits++;
}

static void renew_pin(world *w)
{
    if (w->pin) {
        CHECK_EQ(content_hash(w->pin), w->pin_hash);
        vtag_release(w->pin);
    }
    w->pin = look(dice(w, 2) ? w->e.db : w->second);
    w->pin_hash = content_hash(w->pin);
}

/* It writes a line of history; and where all rows of a tag were deleted, and no put
   ever gave it, the file no longer knows that it had some. */
static void after_compaction(world *w)
{
    int t, i;
    w->kept.events = stat_of(w->e.db).events;
    for (t = 0; t < w->kept.tags; t++) {
        m_tag *tag = &w->kept.tag[t];
        tag->had = tag->with > 0;
        for (i = 0; i < IDS; i++) tag->had |= w->kept.item[i].row[t].parts > 0;
    }
}

static void tend(world *w)
{
    uint32_t d = dice(w, 1000);
    if (d < 20) env_reopen(&w->e);
    else if (d < 30) {
        vtag_close(w->second);
        w->second = env_open(&w->e, "t.vtag", VTAG_EXISTING);
    } else if (d < 35) {
        OK(vtag_compact(dice(w, 2) ? w->e.db : w->second, NULL, NULL));
        after_compaction(w);
    } else if (d < 45) OK(vtag_seal(w->e.db, NULL, NULL));
    else if (d < 60) renew_pin(w);
    else if (d < 63) verify(w->e.db);
}

static void world_up(world *w)
{
    memset(w, 0, sizeof *w);
    w->seed = t_seed();
    w->kept.active = w->kept.standby = -1;
    env_up(&w->e);
    w->second = env_open(&w->e, "t.vtag", VTAG_EXISTING);
}

static void world_down(world *w)
{
    if (w->pin) CHECK_EQ(content_hash(w->pin), w->pin_hash);
    vtag_release(w->pin);
    vtag_close(w->second);
    verify(w->e.db);
    env_down(&w->e);
}

#ifndef FUZZ_OPS /* which has a run of its own */
static void run_world(uint64_t ops)
{
    world *w = calloc(1, sizeof *w);
    uint64_t left = ops;
    world_up(w);
    while (left && t_.failed < 20) {
        one_batch(w, &left);
        if (dice(w, 4) == 0) check_world(w, dice(w, 2) ? w->e.db : w->second);
        tend(w);
    }
    printf("model: %lu changes, %lu commits, %lu checks, SEED=%llu\n", (unsigned long)(ops - left),
           (unsigned long)w->commits, (unsigned long)w->checks, (unsigned long long)t_.seed);
    world_down(w);
    free(w);
}

static uint64_t ops_wanted(void)
{
    const char *ops = getenv("OPS");
    return ops && *ops ? strtoull(ops, NULL, 0) : 100000;
}

/* Several short lives find more than one long one: tags run out in a long one. */
static void random_operations_agree_with_an_array(void)
{
    uint64_t lives = 10, i, seed = t_seed();
    for (i = 0; i < lives && t_.failed < 20; i++) {
        t_.seed = seed + i;
        run_world(ops_wanted() / lives + 1);
    }
    if (!t_.failed) t_.seed = seed;
}

TEST_MAIN(RUN(random_operations_agree_with_an_array))
#endif
