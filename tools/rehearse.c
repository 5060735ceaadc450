/* rehearse.c - cutover --rehearse: on a copy, the flip, its probes and the way back. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "queryset.h"
#include "stop.h"

enum { REHEARSE_PROBES = 100, REHEARSE_K = 10 };

typedef struct probing {     /* vectors of a tag as queries, and the answers */
    vtag_info tag;
    uint64_t  id[REHEARSE_PROBES];
    float    *x;
    uint64_t *ids;           /* ids[n * K] */
    size_t    count[REHEARSE_PROBES], n, good; /* good: the item itself was found */
} probing;

typedef struct rehearsal {
    cli_store    st, copy;
    char        *path;       /* of the copy */
    vtag_verdict v;
    vtag_cover   hidden;
    probing      a, b, again; /* the tag; the active one before and afterwards */
    uint64_t     bytes, commit; /* of the copy, as we left it */
    double       flip_ms, back_ms;
} rehearsal;

/* Up to REHEARSE_PROBES fresh items, spread over all. */
static int probing_pick(const cli_store *st, probing *p)
{
    vtag_item page[256];
    uint64_t cursor = 0, step = p->tag.items / REHEARSE_PROBES + 1, seen = 0;
    uint32_t dim = p->tag.spec.dim;
    size_t n = 1, i;
    p->x = cli_grow(NULL, REHEARSE_PROBES, dim * sizeof *p->x);
    while (n) {
        vtag_err err = vtag_items(st->snap, p->tag.tag, VTAG_FRESH, &cursor, page, 256, &n);
        for (i = 0; i < n && !err && p->n < REHEARSE_PROBES; i++) {
            if (seen++ % step) continue;
            p->id[p->n] = page[i].id;
            err = vtag_vector(st->snap, page[i].id, p->tag.tag, 0, p->x + p->n++ * dim, dim, NULL);
        }
        if (err) return cli_error(err, "%s: tag '%s'", st->path, p->tag.spec.name);
    }
    return 0;
}

/* Whether nothing is nearer to an item's vector than the item itself; under dot, where
   that need not be, whether there is an answer at all. */
static vtag_err probing_found(const cli_store *st, const probing *p, size_t i, int *found)
{
    vtag_search_opts o = {0};
    vtag_ids own;
    vtag_hit best, self;
    vtag_vec q = {0};
    size_t n, m = 1;
    vtag_err err;
    own.ids = &p->id[i];
    own.n = 1;
    o.preview = 1;
    q.tag = p->tag.tag;
    q.dim = p->tag.spec.dim;
    q.x = p->x + i * q.dim;
    err = vtag_search(st->snap, q, &o, 1, &best, &n);
    o.only = &own;
    if (!err && p->tag.spec.metric != VTAG_DOT) err = vtag_search(st->snap, q, &o, 1, &self, &m);
    if (err) return err;
    *found = n && m && (p->tag.spec.metric == VTAG_DOT || self.dist <= best.dist);
    return VTAG_OK;
}

static int probing_run(const cli_store *st, vtag_tag tag, probing *p)
{
    size_t i;
    vtag_err err = vtag_tag_info(st->snap, tag, &p->tag);
    int rc = err ? cli_error(err, "%s", st->path) : probing_pick(st, p);
    p->ids = cli_alloc(REHEARSE_PROBES * REHEARSE_K * sizeof *p->ids);
    if (!rc) rc = qset_search(st, &p->tag, p->x, p->n, NULL, REHEARSE_K, p->ids, p->count);
    for (i = 0; i < p->n && !rc; i++) {
        int found = 0;
        err = probing_found(st, p, i, &found);
        if (err) rc = cli_error(err, "%s: tag '%s'", st->path, p->tag.spec.name);
        p->good += (size_t)found;
    }
    return rc;
}

static int probing_same(const probing *a, const probing *b)
{
    size_t i;
    if (a->n != b->n || memcmp(a->id, b->id, a->n * sizeof *a->id)) return 0;
    for (i = 0; i < a->n; i++) {
        if (a->count[i] != b->count[i]) return 0;
        if (memcmp(a->ids + i * REHEARSE_K, b->ids + i * REHEARSE_K,
                   a->count[i] * sizeof *a->ids)) return 0;
    }
    return 1;
}

/* ---- The steps --------------------------------------------------------------------- */

static int rehearse_copy(rehearsal *r, const char *file)
{
    vtag_stat stat;
    vtag_err err;
    cli_progress p;
    int rc;
    size_t n = strlen(file) + sizeof ".rehearsal";
    r->path = cli_alloc(n);
    snprintf(r->path, n, "%s.rehearsal", file);
    cli_progress_start(&p, "copy", "bytes", 0);
    err = vtag_copy(r->st.snap, r->path, cli_progress_call, &p);
    cli_progress_end(&p);
    if (err == VTAG_EXISTS) {
        free(r->path);
        r->path = NULL; /* it is not ours */
        return cli_fail("%s.rehearsal: is there already: another rehearsal runs, or was killed; "
                        "remove it then", file);
    }
    if (err) return cli_error(err, "%s: the copy %s", file, r->path);
    cli_made_note(&r->copy.made, r->path);
    err = vtag_stats(r->st.snap, &stat);
    r->commit = stat.commit;
    if (err) return cli_error(err, "%s", file);
    rc = cli_open(&r->copy, r->path, VTAG_EXISTING);
    if (!rc) rc = cli_snap(&r->copy);
    if (rc) return rc;
    err = vtag_stats(r->copy.snap, &stat);
    r->bytes = stat.file_bytes;
    return err ? cli_error(err, "%s", r->path) : 0;
}

static int rehearse_flip(rehearsal *r, vtag_tag tag, const vtag_gate *gate)
{
    double from;
    vtag_err err;
    int rc = cli_begin(&r->copy, 0);
    if (rc) return rc;
    err = vtag_cutover(r->copy.batch, tag, gate, NULL);
    if (err) return cli_error(err, "%s", r->path);
    from = cli_ms();
    rc = cli_commit(&r->copy);
    r->flip_ms = cli_ms() - from;
    r->commit += !rc;
    return rc ? rc : cli_snap(&r->copy);
}

static int rehearse_back(rehearsal *r)
{
    double from;
    vtag_err err;
    int rc = cli_begin(&r->copy, 0);
    if (rc) return rc;
    err = vtag_rollback(r->copy.batch, 0, &r->hidden);
    if (err == VTAG_NOTFOUND) {
        return cli_refuse("%s: there is no way back: the active tag has no vectors", r->st.path);
    }
    if (err) return cli_error(err, "%s", r->path);
    from = cli_ms();
    rc = cli_commit(&r->copy);
    r->back_ms = cli_ms() - from;
    r->commit += !rc;
    return rc ? rc : cli_snap(&r->copy);
}

/* Whether a tag is active in the copy. */
static int rehearse_is(rehearsal *r, vtag_tag tag)
{
    vtag_stat stat;
    vtag_err err = vtag_stats(r->copy.snap, &stat);
    if (err) return cli_error(err, "%s", r->path);
    if (stat.active == tag) return 0;
    return cli_refuse("%s: the rehearsal left '%s' active; report this", r->st.path,
                      cli_tag_name(&r->copy, stat.active));
}

static int rehearse_steps(rehearsal *r, vtag_tag tag, vtag_tag active, const vtag_gate *gate)
{
    const char *file = r->st.path, *so = "the copy is removed, nothing changed";
    int rc = probing_run(&r->copy, active, &r->b);
    if (!rc) rc = stop_last(file, so);
    if (!rc) rc = rehearse_flip(r, tag, gate);
    if (!rc) rc = rehearse_is(r, tag);
    if (!rc) rc = probing_run(&r->copy, tag, &r->a);
    if (!rc) rc = stop_last(file, so);
    if (!rc) rc = rehearse_back(r);
    if (!rc) rc = rehearse_is(r, active);
    if (!rc) rc = probing_run(&r->copy, active, &r->again);
    return rc ? rc : stop_last(file, so);
}

/* ---- The report ------------------------------------------------------------------------ */

/* {"time","to","ok","flip_ms","back_ms","probes","found"}, for the dashboard */
static vtag_err rehearse_meta(rehearsal *r, vtag_tag tag, int ok)
{
    char *text = NULL;
    size_t n = 0;
    out o;
    vtag_err err;
    FILE *f = open_memstream(&text, &n);
    if (!f) return VTAG_NOMEM;
    out_start(&o, f);
    out_u64(&o, "time", cli_clock());
    out_str(&o, "to", cli_tag_name(&r->st, tag));
    out_bool(&o, "ok", ok);
    out_f64(&o, "flip_ms", r->flip_ms);
    out_f64(&o, "back_ms", r->back_ms);
    out_u64(&o, "probes", r->a.n);
    out_u64(&o, "found", r->a.good);
    out_close(&o, '}');
    fclose(f);
    err = vtag_meta_set(r->st.batch, "rehearsal", text, n - 1);
    free(text);
    return err;
}

static int rehearse_record(rehearsal *r, vtag_tag tag, vtag_tag active, int ok)
{
    vtag_event e;
    char text[200];
    vtag_err err;
    int rc;
    memset(&e, 0, sizeof e);
    snprintf(text, sizeof text, "rehearsed on a copy: flip %.2f ms, %zu of %zu probes found, back "
             "%.2f ms", r->flip_ms, r->a.good, r->a.n, r->back_ms);
    e.kind = VTAG_K_NOTE;
    e.tag = tag;
    e.base = active;
    e.name = "rehearsal";
    e.value = r->flip_ms;
    e.base_value = r->back_ms;
    e.queries = r->a.n;
    e.text = text;
    rc = cmd_event_state(&r->st, &e);
    if (!rc) rc = cli_begin(&r->st, 0);
    if (rc) return rc;
    err = vtag_note(r->st.batch, &e);
    if (!err) err = rehearse_meta(r, tag, ok);
    return err ? cli_error(err, "%s: history", r->st.path) : cli_commit(&r->st);
}

static void rehearse_report(const rehearsal *r, vtag_tag tag, int same, int as_json)
{
    char bytes[CLI_TEXT];
    out o;
    if (!as_json) {
        cmd_verdict_print(&r->st, tag, &r->v);
        printf("rehearsed on a copy of %s\n", cli_bytes(bytes, r->bytes));
        printf("  flip   %.2f ms, then %zu of %zu probes found\n", r->flip_ms, r->a.good, r->a.n);
        printf("  back   %.2f ms, hides %llu items, answers %s\n", r->back_ms,
               (unsigned long long)r->hidden.extra, same ? "as before" : "DIFFER");
        return;
    }
    out_start(&o, stdout);
    cmd_verdict_json(&o, &r->st, tag, &r->v);
    out_bool(&o, "rehearsal", 1);
    out_f64(&o, "flip_ms", r->flip_ms);
    out_f64(&o, "back_ms", r->back_ms);
    out_u64(&o, "probes", r->a.n);
    out_u64(&o, "found", r->a.good);
    out_u64(&o, "hides", r->hidden.extra);
    out_bool(&o, "same_answers", same);
    out_close(&o, '}');
}

static int rehearse_held(const rehearsal *r, const vtag_info *tag, int as_json)
{
    out o;
    if (as_json) {
        out_start(&o, stdout);
        cmd_verdict_json(&o, &r->st, tag->tag, &r->v);
        out_bool(&o, "rehearsal", 1);
        out_close(&o, '}');
    } else {
        cmd_verdict_print(&r->st, tag->tag, &r->v);
    }
    return cli_refuse("%s: the gate would hold %s; nothing changed", r->st.path, tag->spec.name);
}

static int rehearse_end(rehearsal *r, const vtag_info *tag, vtag_tag active, int as_json, int dry)
{
    int same = probing_same(&r->b, &r->again), ok = same && r->a.good == r->a.n;
    int rc = dry ? 0 : rehearse_record(r, tag->tag, active, ok);
    if (rc) return rc;
    rehearse_report(r, tag->tag, same, as_json);
    if (ok) return CLI_DONE;
    return cli_refuse("%s: the rehearsal found %zu of %zu probes, and the answers afterwards are %s; "
                      "run vtag verify and vtag doctor", r->st.path, r->a.good, r->a.n,
                      same ? "as before" : "others");
}

static void probing_free(probing *p)
{
    free(p->x);
    free(p->ids);
}

static int rehearse_judge(rehearsal *r, const vtag_info *tag, const vtag_gate *gate, int as_json)
{
    vtag_err err = vtag_judge(r->st.snap, tag->tag, gate, &r->v);
    if (err == VTAG_ARG && !gate->reason) {
        return cli_fail("%s: thresholds below the policy's want a --reason", r->st.path);
    }
    if (err) return cli_error(err, "%s: tag '%s'", r->st.path, tag->spec.name);
    return r->v.pass ? 0 : rehearse_held(r, tag, as_json);
}

int rehearse(const char *file, const char *name, const vtag_gate *gate, int as_json, int dry)
{
    rehearsal r;
    vtag_info tag;
    vtag_stat stat;
    int rc;
    memset(&r, 0, sizeof r);
    rc = dry ? cli_look(&r.st, file) : cli_change(&r.st, file);
    if (!rc) rc = cli_tag(&r.st, name, &tag);
    if (!rc && vtag_stats(r.st.snap, &stat)) rc = cli_fail("%s: cannot be read", file);
    if (!rc && tag.tag == stat.active) {
        rc = cli_fail("%s: %s is active already: there is nothing to rehearse", file, tag.spec.name);
    }
    cli_catch();
    if (!rc) rc = rehearse_judge(&r, &tag, gate, as_json);
    if (!rc) rc = rehearse_copy(&r, file);
    if (!rc) rc = rehearse_steps(&r, tag.tag, stat.active, gate);
    if (!rc) rc = rehearse_end(&r, &tag, stat.active, as_json, dry);
    if (r.copy.made.path && !cli_discard(&r.copy, r.commit)) {
        cli_warn("%s: is left; it is not as the rehearsal made it", r.path);
    }
    free(r.path);
    probing_free(&r.a);
    probing_free(&r.b);
    probing_free(&r.again);
    cli_close(&r.st);
    return rc;
}
