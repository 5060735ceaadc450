/* cmd_dump.c - dump: everything as JSON Lines.

   Order of the lines: file, tags, policy, metadata, each item with its rows under all
   tags, waivers, events, and the end: how many lines of each kind there were, and a hash
   of them all, so that a part of a dump is not taken for one. Vectors are base64 of
   little-endian f32, texts that are not UTF-8 stand as NAME_base64. restore takes all of
   it back, so that a dump of the new file is the same, byte for byte. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "dump.h"
#include "lines.h"
#include "outfile.h"

enum { DUMP_PAGE = 256 };

typedef struct dump {
    cli_store  st;
    vtag_stat  stat;
    FILE      *f;
    FILE      *line;         /* in memory, of which text[size] was written */
    char      *text;
    size_t     size;
    vtag_err   err;          /* of a line that did not fit there */
    uint64_t   counts[DUMP_KINDS], lines, hash;
    vtag_info *tags;
    size_t     ntags;
    float     *x;            /* x[max_dim] */
    cli_progress progress;
} dump;

static void dump_line(dump *d, out *o, dump_kind kind)
{
    rewind(d->line);
    out_start(o, d->line);
    out_str(o, "kind", dump_kinds[kind]);
    if (kind < DUMP_END) d->counts[kind]++;
}

/* Ends the object, and writes its line. */
static void dump_close(dump *d, out *o)
{
    out_close(o, '}');
    if (fflush(d->line) || ferror(d->line)) {
        d->err = VTAG_NOMEM;
        return;
    }
    d->hash = lines_hash(d->hash, d->text, d->size);
    d->lines++;
    fwrite(d->text, 1, d->size, d->f);
}

static void dump_end(dump *d)
{
    size_t i;
    char hash[24];
    out o;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)d->hash);
    dump_line(d, &o, DUMP_END);
    out_open(&o, "counts", '{');
    for (i = 0; i < DUMP_END; i++) out_u64(&o, dump_kinds[i], d->counts[i]);
    out_close(&o, '}');
    out_u64(&o, "lines", d->lines);
    out_str(&o, "hash", hash);
    dump_close(d, &o);
}

static void dump_file(dump *d)
{
    out o;
    dump_line(d, &o, DUMP_FILE);
    out_u64(&o, "version", 1);
    out_u64(&o, "commit", d->stat.commit);
    out_u64(&o, "revision", d->stat.revision);
    out_u64(&o, "time", d->stat.time);
    out_bool(&o, "rolled_back", d->stat.rolled_back);
    dump_close(d, &o);
}

/* Retention as of the dumped commit: what the engine credited since is taken off, so
   that the same state always gives the same dump. */
static vtag_err dump_kept(dump *d, const vtag_info *t, uint64_t *kept)
{
    const uint64_t week = 7u * 86400000ull;
    vtag_info now;
    uint64_t from, to, since;
    vtag_err err;
    do {
        from = cli_clock();
        err = vtag_tag_info(d->st.snap, t->tag, &now);
        to = cli_clock();
    } while (!err && from != to);
    if (err) return err;
    since = to > d->stat.time ? to - d->stat.time : 0;
    if (since > week) since = week;
    *kept = now.kept_ms > since ? now.kept_ms - since : 0;
    return VTAG_OK;
}

static vtag_err dump_tag(dump *d, const vtag_info *t)
{
    uint64_t kept = 0;
    vtag_err err = dump_kept(d, t, &kept);
    out o;
    if (err) return err;
    dump_line(d, &o, DUMP_TAG);
    out_str(&o, "tag", t->spec.name);
    out_u64(&o, "number", t->tag);
    out_str(&o, "role", cli_role_name(t->role));
    out_u64(&o, "dim", t->spec.dim);
    out_str(&o, "metric", cli_metric_name(t->spec.metric));
    out_str(&o, "codec", cli_codec_name(t->spec.codec));
    out_u64(&o, "fingerprint", t->spec.fingerprint);
    out_u64(&o, "flags", t->spec.flags);
    if (t->spec.note) out_str(&o, "note", t->spec.note);
    if (t->alias) out_str(&o, "alias", t->alias);
    out_u64(&o, "created", t->created);
    out_u64(&o, "activated", t->activated);
    out_u64(&o, "writes_with", t->writes_with);
    out_u64(&o, "writes_without", t->writes_without);
    if (t->written) out_u64(&o, "written", t->written);
    out_u64(&o, "kept_ms", kept);
    out_bool(&o, "forced", t->forced);
    dump_close(d, &o);
    return VTAG_OK;
}

static vtag_err dump_policy(dump *d)
{
    vtag_policy p;
    vtag_err err = vtag_policy_get(d->st.snap, &p);
    out o;
    if (err) return err;
    dump_line(d, &o, DUMP_POLICY);
    cmd_gate_json(&o, "gate", &p.gate);
    out_u64(&o, "retain_ms", p.retain_ms);
    out_u64(&o, "retain_scores", p.retain_scores);
    if (p.hold) out_str(&o, "hold", p.hold);
    dump_close(d, &o);
    return VTAG_OK;
}

static vtag_err dump_metas(dump *d)
{
    const char *names[64];
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_metas(d->st.snap, &cursor, names, 64, &n);
        for (i = 0; !err && i < n; i++) {
            const void *p;
            size_t size;
            out o;
            err = vtag_meta_get(d->st.snap, names[i], &p, &size);
            if (err) break;
            dump_line(d, &o, DUMP_META);
            out_str(&o, "name", names[i]);
            out_data(&o, "value", p, size);
            dump_close(d, &o);
        }
    }
    return err;
}

static vtag_err dump_rows(dump *d, const vtag_item *item, const vtag_info *t)
{
    vtag_row row = {0};
    uint32_t part = 0, dim = t->spec.dim;
    do {
        vtag_err err = vtag_vector(d->st.snap, item->id, t->tag, part, d->x, dim, &row);
        out o;
        if (err == VTAG_NOTFOUND && !part) return VTAG_OK;
        if (err) return err;
        dump_line(d, &o, DUMP_ROW);
        out_id(&o, "id", item->id);
        out_str(&o, "tag", t->spec.name);
        out_u64(&o, "rev", row.rev);
        out_u64(&o, "part", part);
        out_u64(&o, "parts", row.parts);
        if (row.off || row.len) {
            out_u64(&o, "off", row.off);
            out_u64(&o, "len", row.len);
        }
        out_base64(&o, "vector", d->x, dim * sizeof *d->x);
        dump_close(d, &o);
    } while (++part < row.parts);
    return VTAG_OK;
}

static vtag_err dump_item(dump *d, const vtag_item *item)
{
    vtag_err err = VTAG_OK;
    size_t i;
    out o;
    dump_line(d, &o, DUMP_ITEM);
    out_id(&o, "id", item->id);
    if (item->key) out_str(&o, "key", item->key);
    out_u64(&o, "rev", item->rev);
    out_u64(&o, "time", item->time);
    if (item->size) out_data(&o, "data", item->data, item->size);
    dump_close(d, &o);
    for (i = 0; i < d->ntags && !err; i++) {
        if (d->tags[i].role != VTAG_GONE) err = dump_rows(d, item, &d->tags[i]);
    }
    return err;
}

static vtag_err dump_items(dump *d)
{
    vtag_item page[DUMP_PAGE];
    uint64_t cursor = 0, done = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_items(d->st.snap, 0, 0, &cursor, page, DUMP_PAGE, &n);
        for (i = 0; !err && i < n; i++) err = dump_item(d, &page[i]);
        done += err ? 0 : n;
        cli_progress_at(&d->progress, done);
        if (cli_stopped()) err = VTAG_CANCELLED;
        if (d->err) err = d->err;
        if (ferror(d->f)) break; /* reported when it is closed */
    }
    return err;
}

static vtag_err dump_waivers(dump *d, const vtag_info *t)
{
    vtag_item page[DUMP_PAGE];
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        err = vtag_items(d->st.snap, t->tag, VTAG_WAIVED, &cursor, page, DUMP_PAGE, &n);
        for (i = 0; !err && i < n; i++) {
            out o;
            dump_line(d, &o, DUMP_WAIVER);
            out_id(&o, "id", page[i].id);
            out_str(&o, "tag", t->spec.name);
            out_u64(&o, "rev", page[i].rev);
            out_str(&o, "why", page[i].why ? page[i].why : "");
            dump_close(d, &o);
        }
    }
    return err;
}

static int dump_events(dump *d)
{
    vtag_event *e;
    size_t n, i;
    int rc = cmd_events(&d->st, &e, &n);
    for (i = 0; !rc && i < n; i++) {
        out o;
        dump_line(d, &o, DUMP_EVENT);
        cmd_event_json(&o, &d->st, &e[i]);
        dump_close(d, &o);
    }
    free(e);
    return rc;
}

static vtag_err dump_lines(dump *d)
{
    size_t i;
    vtag_err err = VTAG_OK;
    dump_file(d);
    for (i = 0; i < d->ntags && !err; i++) err = dump_tag(d, &d->tags[i]);
    if (!err) err = dump_policy(d);
    if (!err) err = dump_metas(d);
    if (!err) err = dump_items(d);
    for (i = 0; i < d->ntags && !err; i++) {
        if (d->tags[i].role != VTAG_GONE) err = dump_waivers(d, &d->tags[i]);
    }
    return err ? err : d->err;
}

static int dump_all(dump *d)
{
    uint32_t most = 1;
    size_t i;
    vtag_err err = vtag_stats(d->st.snap, &d->stat);
    int rc = err ? 0 : cli_tags(&d->st, &d->tags, &d->ntags);
    if (rc) return rc;
    d->line = open_memstream(&d->text, &d->size);
    if (!d->line) exit(cli_nomem());
    d->hash = LINES_HASH;
    cli_progress_start(&d->progress, "dump", "items", d->stat.items);
    for (i = 0; i < d->ntags; i++) {
        if (d->tags[i].spec.dim > most) most = d->tags[i].spec.dim;
    }
    d->x = cli_alloc(most * sizeof *d->x);
    if (!err) err = dump_lines(d);
    cli_progress_end(&d->progress);
    free(d->x);
    if (!err) rc = dump_events(d);
    if (!err && !rc) dump_end(d);
    if (!err) err = d->err;
    free(d->tags);
    fclose(d->line);
    free(d->text);
    return err ? cli_error(err, "%s", d->st.path) : rc;
}

int cmd_dump(int argc, char **argv)
{
    const char *file, *to = "-";
    int rc;
    dump d;
    outfile o = {0};
    outfile_name dest = {"-o", NULL}, in = {"the store itself", NULL};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"-o", "OUT", CLI_STR, &to, "write to this file, " OUTFILE_HELP, NULL},
        CLI_END};
    memset(&d, 0, sizeof d);
    rc = cli_parse(argc, argv, "Writes everything that the file holds as JSON Lines, so that\n"
                   "restore makes an equal one of it. The last line, of kind \"end\", tells how\n"
                   "many lines of each kind are before it, and their hash: FNV-1a of 64 bits over each\n"
                   "line with a line feed. restore wants it, so that no part passes for the whole.",
                   opts);
    if (rc >= 0) return rc;
    dest.path = to;
    in.path = file;
    rc = outfile_apart(&dest, 1, &in, 1);
    if (!rc) rc = cli_look(&d.st, file);
    if (!rc) rc = outfile_open(&o, to);
    if (!rc) {
        if (o.target) cli_catch();
        d.f = o.f;
        rc = outfile_close(&o, dump_all(&d));
    }
    cli_close(&d.st);
    return rc;
}
