/* record.c - the record of a backfill in the file's metadata; see backfill.h. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "backfill.h"
#include "json.h"

static void record_name(const vtag_info *tag, char name[320])
{
    int n = snprintf(name, 320, "backfill:%s", tag->spec.name);
    if (n > 255) snprintf(name, 320, "backfill:%u", tag->tag);
}

static uint64_t record_u64(const json_value *v, const char *name)
{
    const json_value *m = json_get(v, name);
    return m && m->whole & JSON_U64 ? m->u.u64 : 0;
}

static void record_text(const json_value *v, const char *name, char *to, size_t size)
{
    const char *s = json_text(json_get(v, name));
    snprintf(to, size, "%s", s ? s : "");
}

int bf_record_get(const cli_store *st, const vtag_info *tag, bf_record *r)
{
    char name[320];
    const void *p;
    size_t n;
    json j = {0};
    const json_value *v, *rate;
    memset(r, 0, sizeof *r);
    record_name(tag, name);
    if (vtag_meta_get(st->snap, name, &p, &n)) return 0;
    v = json_parse(&j, p, n);
    if (v) {
        record_text(v, "state", r->state, sizeof r->state);
        record_text(v, "reason", r->reason, sizeof r->reason);
        r->done = record_u64(v, "done");
        r->total = record_u64(v, "total");
        r->quarantined = record_u64(v, "quarantined");
        r->eta_ms = record_u64(v, "eta_ms");
        r->pid = record_u64(v, "pid");
        r->started = record_u64(v, "started");
        r->updated = record_u64(v, "updated");
        rate = json_get(v, "rate");
        r->rate = rate && rate->type == JSON_NUMBER ? rate->num : 0;
    }
    json_free(&j);
    return v != NULL;
}

void bf_record_json(out *o, const bf_record *r)
{
    out_str(o, "state", r->state);
    out_str(o, "reason", r->reason);
    out_u64(o, "done", r->done);
    out_u64(o, "total", r->total);
    out_u64(o, "quarantined", r->quarantined);
    out_f64(o, "rate", (double)(uint64_t)(r->rate * 100) / 100);
    out_u64(o, "eta_ms", r->eta_ms);
    out_u64(o, "pid", r->pid);
    out_u64(o, "started", r->started);
    out_u64(o, "updated", r->updated);
}

vtag_err bf_record_set(cli_store *st, const vtag_info *tag, const bf_record *r)
{
    char name[320], *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    vtag_err err;
    out o;
    if (!f) return VTAG_NOMEM;
    out_start(&o, f);
    bf_record_json(&o, r);
    out_close(&o, '}');
    if (fclose(f) || !text) {
        free(text);
        return VTAG_NOMEM;
    }
    record_name(tag, name);
    err = vtag_meta_set(st->batch, name, text, n);
    free(text);
    return err;
}

int bf_record_dead(const bf_record *r)
{
    if (strcmp(r->state, "running") && strcmp(r->state, "paused")) return 0;
    return r->pid && kill((pid_t)r->pid, 0) != 0 && errno == ESRCH;
}

/* ---- The burn-down ------------------------------------------------------------------ */

/* Writes the old points, every second one if they are too many. */
static void points_write(FILE *f, const json_value *old)
{
    enum { MOST = 300 };
    size_t i, n = old && old->type == JSON_ARRAY ? old->n : 0;
    for (i = 0; i < n; i++) {
        const json_value *row = &old->u.items[i];
        size_t k, width;
        if ((n > MOST && i % 2) || !json_is_numbers(row, &width) || width != 5) continue;
        for (k = 0; k < 5; k++) {
            json_value room;
            fprintf(f, "%s%.0f", k ? "," : "[", json_at(row, k, &room)->num);
        }
        fputs("],", f);
    }
}

vtag_err bf_points_add(cli_store *st, const vtag_info *tag, uint64_t time, const vtag_cover *c)
{
    char name[320], *text = NULL;
    const void *p;
    size_t n = 0;
    json j = {0};
    const json_value *old = NULL;
    vtag_err err;
    FILE *f;
    if (snprintf(name, sizeof name, "progress:%s", tag->spec.name) > 255) return VTAG_OK;
    f = open_memstream(&text, &n);
    if (!f) return VTAG_NOMEM;
    if (!vtag_meta_get(st->snap, name, &p, &n)) old = json_parse(&j, p, n);
    fputc('[', f);
    points_write(f, old);
    fprintf(f, "[%llu,%llu,%llu,%llu,%llu]]", (unsigned long long)time, (unsigned long long)c->fresh,
            (unsigned long long)c->stale, (unsigned long long)c->missing,
            (unsigned long long)c->waived);
    fclose(f);
    json_free(&j);
    err = vtag_meta_set(st->batch, name, text, n);
    free(text);
    return err;
}
