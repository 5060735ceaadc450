/* cmd_salvage.c - salvage: what is whole of a damaged file, into a new one.

   A file that opens is read as it is. Of one that does not, the log is found without
   superblocks: the state is the fold of all records that are whole, in their order,
   and where some before it are lost, of a checkpoint that one of them names. Every
   payload, text and vector is then taken if its own checksum holds. The only command
   that looks behind the API, into the format (vtf_). */
#define _POSIX_C_SOURCE 200809L
#define VTAG_STATIC
#define VTAG_IMPLEMENTATION
#if defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include "../vtag.h"
#if defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"

typedef struct salvage {
    const char *path;
    const uint8_t *p;        /* the file, and zeros after it */
    uint64_t    n, room;     /* bytes of the file; with the zeros */
    vt_file    *file;        /* the handle's, once it is opened for the fold */
    vt_state   *s;           /* of the fold */
    uint32_t    crc;         /* of the record before */
    int         opened;      /* as any file; else the log was folded */
    vtag_db    *db;
    vtag_snap  *snap;
    vtag_batch *to;
    vtag_info  *tags;
    size_t      ntags;
    float      *x;           /* the parts of an item */
    vtag_vec   *v;
    uint64_t    records, records_lost;
    uint64_t    items, payloads_lost, rows, rows_lost, texts_lost, events;
} salvage;

/* ---- The file in memory ------------------------------------------------------------ */

/* Room for files that were cut: zeros up to where the log says that they ended. */
static uint64_t salvage_room(uint64_t n)
{
    return vt_align(n, VTF_ALIGN) * 4 + ((uint64_t)64 << 20);
}

static int salvage_map(salvage *v, const char *path)
{
    struct stat sb;
    void *all = MAP_FAILED;
    int fd = open(path, O_RDONLY), flags = MAP_PRIVATE | MAP_ANONYMOUS;
    v->path = path;
    if (fd >= 0 && fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode)) {
        v->n = (uint64_t)sb.st_size;
        v->room = salvage_room(v->n);
#ifdef MAP_NORESERVE
        flags |= MAP_NORESERVE;
#endif
        all = mmap(NULL, (size_t)v->room, PROT_READ, flags, -1, 0);
    }
    if (all != MAP_FAILED && v->n) {
        void *at = mmap(all, (size_t)v->n, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
        if (at == MAP_FAILED) {
            munmap(all, (size_t)v->room);
            all = MAP_FAILED;
        }
    }
    if (all == MAP_FAILED) {
        int e = errno;
        if (fd >= 0) close(fd);
        return cli_fail("%s: %s; check the path", path, e ? strerror(e) : "is no plain file");
    }
    close(fd);
    v->p = all;
    return 0;
}

static const vtf_extent *salvage_extent(const salvage *v, uint64_t at)
{
    const vtf_extent *e = (const vtf_extent *)(v->p + at);
    if (at + sizeof *e > v->n || e->magic != VTF_EXTENT_MAGIC || !e->length) return NULL;
    if (e->length % VTF_ALIGN || e->crc != vt_crc32c(0, e, offsetof(vtf_extent, crc))) return NULL;
    return e;
}

/* The uuid is that of the identity page, or of the first extent if that is damaged; then
   the version is not known. */
static int salvage_identify(salvage *v)
{
    uint64_t at;
    if (v->n >= VTF_FRONT && !vt_identify(v->file)) return 0;
    for (at = VTF_FRONT; at < v->n; at += VTF_ALIGN) {
        const vtf_extent *e = salvage_extent(v, at);
        if (!e) continue;
        memcpy(v->file->uuid, e->uuid, sizeof e->uuid);
        return 0;
    }
    return cli_fail("%s: nothing of a vtag file is to be found", v->path);
}

/* ---- The fold of the log -------------------------------------------------------------- */

static int salvage_sound(const salvage *v, uint64_t at, uint64_t end)
{
    const vtf_record *r = (const vtf_record *)(v->p + at);
    return end - at >= sizeof *r && r->magic == VTF_RECORD_MAGIC && r->size >= sizeof *r &&
           r->size % 8 == 0 && r->size <= end - at && r->crc == vtf_crc_record(r);
}

/* An empty state, of which folding may look at as much as a file of this room can ask for. */
static vt_state *salvage_state(const salvage *v)
{
    vt_state *s = vt_state_new(v->file);
    if (!s) exit(cli_nomem());
    s->left = VT_LOOKS * v->room;
    return s;
}

/* The state after a record, from the checkpoint that it names; NULL: it names none that
   is whole. */
static vt_state *salvage_checkpoint(salvage *v, const vtf_record *r)
{
    uint32_t at = sizeof *r;
    const vtf_section *sec;
    vt_state *s = NULL;
    while ((sec = vt_section_next(r, &at)) != NULL) {
        if (sec->kind != VTF_CKPT || sec->size < sizeof *sec + sizeof s->ckpt || s) continue;
        s = salvage_state(v);
        memcpy(&s->ckpt, sec + 1, sizeof s->ckpt);
        if (!vt_ckpt_load(s)) continue;
        vt_state_drop(s);
        s = NULL;
    }
    if (s) s->head = r->head;
    return s;
}

/* Applies a record; one that does not fit the state is lost. */
static void salvage_apply(salvage *v, const vtf_record *r)
{
    vtf_logpos pos;
    vt_state *s;
    if (r->prev != v->crc) v->records_lost++; /* one or more before it */
    v->crc = r->crc;
    if (r->type != VTF_R_COMMIT) return;
    s = v->records_lost ? salvage_checkpoint(v, r) : NULL;
    if (s) {
        v->records_lost = 0;
    } else {
        memset(&pos, 0, sizeof pos);
        s = vt_state_clone(v->s);
        if (!s) exit(cli_nomem());
        if (vt_state_apply(s, r, &pos)) {
            vt_state_drop(s);
            v->records_lost++;
            return;
        }
    }
    vt_state_drop(v->s);
    v->s = s;
    v->records++;
}

/* Records of one extent, past whatever stands between them. */
static void salvage_log(salvage *v, uint64_t at, uint64_t end)
{
    for (at += VTF_HEAD_ROOM; at + sizeof(vtf_record) <= end;) {
        const vtf_record *r = (const vtf_record *)(v->p + at);
        int sound = salvage_sound(v, at, end);
        if (sound) salvage_apply(v, r);
        at += sound ? r->size : 8;
    }
}

/* Log extents in their order, those whose header is damaged too. */
static void salvage_fold_as(salvage *v, uint32_t version)
{
    uint64_t at = VTF_FRONT, next;
    vt_state_drop(v->s);
    v->file->version = version;
    v->crc = 0;
    v->records = v->records_lost = 0;
    v->s = salvage_state(v);
    for (; at < v->n; at = next) {
        const vtf_extent *e = salvage_extent(v, at);
        next = e && e->length <= v->room - at ? at + e->length : at + VTF_ALIGN;
        while (!e && next < v->n && !salvage_extent(v, next)) next += VTF_ALIGN;
        if (!e || e->kind == VTF_LOG) salvage_log(v, at, vt_min_u64(next, v->n));
    }
}

/* A file whose version is not known is of the one by which more of its records fit. */
static int salvage_fold(salvage *v)
{
    uint32_t version = v->file->version;
    uint64_t records;
    salvage_fold_as(v, version ? version : VTF_VERSION);
    records = v->records;
    if (!version && (!records || v->records_lost)) {
        salvage_fold_as(v, 2); /* 1 is laid out as that */
        if (v->records <= records) salvage_fold_as(v, VTF_VERSION);
    }
    if (v->records) return 0;
    return cli_fail("%s: no commit is whole in it; go back to a copy", v->path);
}

/* A handle for reading: on the file as it is, or on the fold of its log. */
static int salvage_open(salvage *v)
{
    vtag_open_opts o;
    vtag_err err;
    int rc;
    memset(&o, 0, sizeof o);
    o.access = VTAG_READ;
    v->opened = !vtag_open_memory(v->p, (size_t)v->n, &o, &v->db);
    if (!v->opened) {
        err = vt_db_new(&o, vt_os_io(), NULL, &v->db);
        if (!err) err = vt_file_image(&v->db->env, v->p, (size_t)v->room, &v->file);
        if (err) return cli_error(err, "%s", v->path);
        v->db->file = v->file;
        rc = salvage_identify(v);
        if (!rc) rc = salvage_fold(v);
        v->db->state = v->s;
        if (rc) return rc;
    }
    err = vtag_snapshot(v->db, &v->snap);
    return err ? cli_error(err, "%s", v->path) : 0;
}

/* ---- Into the new file -------------------------------------------------------------------- */

static vtag_err salvage_tags(salvage *v)
{
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    while (!err && n) {
        v->tags = cli_grow(v->tags, v->ntags + 16, sizeof *v->tags);
        err = vtag_tags(v->snap, &cursor, v->tags + v->ntags, 16, &n);
        v->ntags += err ? 0 : n;
    }
    for (i = 0; i < v->ntags && !err; i++) err = vtag_restore_tag(v->to, &v->tags[i]);
    return err;
}

static vtag_err salvage_rest(salvage *v)
{
    vtag_policy p;
    const char *name;
    const void *value;
    uint64_t cursor = 0;
    size_t n = 1, size;
    vtag_err err = VTAG_OK;
    if (!vtag_policy_get(v->snap, &p)) err = vtag_policy_set(v->to, &p, NULL);
    else v->texts_lost++;
    while (!err && !vtag_metas(v->snap, &cursor, &name, 1, &n) && n) {
        if (!vtag_meta_get(v->snap, name, &value, &size)) err = vtag_meta_set(v->to, name, value, size);
        else v->texts_lost++;
    }
    return err;
}

/* An item's vectors under a tag, if all of them are whole. */
static vtag_err salvage_rows(salvage *v, uint64_t id, const vtag_info *t)
{
    vtag_row row;
    vtag_item item;
    uint32_t part, dim = t->spec.dim, parts = 1;
    memset(&row, 0, sizeof row);
    for (part = 0; part < parts; part++) {
        vtag_err err;
        v->x = cli_grow(v->x, (size_t)(part + 1) * dim, sizeof *v->x);
        err = vtag_vector(v->snap, id, t->tag, part, v->x + (size_t)part * dim, dim, &row);
        if (err == VTAG_NOTFOUND && !part) return VTAG_OK;
        if (err) {
            v->rows_lost++;
            return VTAG_OK;
        }
        parts = row.parts;
        v->v = cli_grow(v->v, part + 1, sizeof *v->v);
        memset(&v->v[part], 0, sizeof *v->v);
        v->v[part].tag = t->tag;
        v->v[part].dim = dim;
        v->v[part].off = row.off;
        v->v[part].len = row.len;
    }
    for (part = 0; part < parts; part++) v->v[part].x = v->x + (size_t)part * dim;
    memset(&item, 0, sizeof item);
    item.id = id;
    item.rev = row.rev;
    v->rows += parts;
    return vtag_fill(v->to, &item, v->v, parts);
}

/* An item; without key and payload where those are damaged. */
static vtag_err salvage_item(salvage *v, const vtf_entry *e)
{
    vtag_item item;
    vtag_err err;
    size_t i;
    if (e->rev > VT_COUNTED) { /* no revision that was ever given out */
        v->payloads_lost++;
        return VTAG_OK;
    }
    memset(&item, 0, sizeof item);
    if (vtag_get(v->snap, e->id, &item)) {
        memset(&item, 0, sizeof item);
        item.id = e->id;
        item.rev = e->rev;
        item.time = e->aux;
        v->payloads_lost++;
    }
    err = vtag_put(v->to, &item, NULL, 0);
    v->items++;
    for (i = 0; i < v->ntags && !err; i++)
        if (v->tags[i].role != VTAG_GONE) err = salvage_rows(v, e->id, &v->tags[i]);
    return err;
}

static vtag_err salvage_waiver(salvage *v, uint32_t tag, const vtf_entry *e)
{
    const vtf_blob *b = vt_blob_at(v->snap->state->file, e->at, VTF_S_WAIVERS);
    const vtf_entry *of = vt_state_item(v->snap->state, e->id);
    vtag_item item;
    if (!of || of->rev != e->rev) return VTAG_OK; /* of a revision that is gone */
    memset(&item, 0, sizeof item);
    item.id = e->id;
    item.rev = e->rev;
    item.time = e->aux;
    if (!b) v->texts_lost++;
    return vtag_waive(v->to, &item, tag, b ? (const char *)vt_blob_data(b) : "the reason was lost");
}

static vtag_err salvage_event(salvage *v, const vtf_entry *e)
{
    const vtf_blob *b = vt_blob_at(v->snap->state->file, e->at, VTF_S_EVENTS);
    vtag_event event;
    if (!b || b->id != e->id || e->id > VT_COUNTED || !vt_event_unpack(&event, b)) {
        v->texts_lost++;
        return VTAG_OK;
    }
    v->events++;
    return vtag_note(v->to, &event);
}

/* All entries of a kind of space, in the order of their ids. */
static vtag_err salvage_space(salvage *v, uint32_t kind)
{
    const vt_index *x = &v->snap->state->index;
    vtag_err err = VTAG_OK;
    size_t i;
    for (i = 0; i < x->n && !err; i++) {
        const vtf_entry *e;
        vt_iter it;
        const vt_tag *t = vt_tags_get(&v->snap->state->tags, x->a[i].tag);
        if (x->a[i].kind != kind || (kind == VTF_S_WAIVERS && (!t || t->f.role == VTAG_GONE))) continue;
        err = vt_iter_begin(&it, &x->a[i], 0);
        while (!err && (e = vt_iter_next(&it)) != NULL) {
            if (kind == VTF_S_ITEMS) err = salvage_item(v, e);
            if (kind == VTF_S_WAIVERS) err = salvage_waiver(v, x->a[i].tag, e);
            if (kind == VTF_S_EVENTS) err = salvage_event(v, e);
        }
        vt_iter_end(&it);
    }
    return err;
}

static vtag_err salvage_all(salvage *v)
{
    vtag_stat stat;
    vtag_err err = vtag_stats(v->snap, &stat);
    if (!err && stat.commit && stat.commit <= VT_COUNTED && stat.revision <= VT_COUNTED)
        err = vtag_restore_stat(v->to, &stat);
    if (!err) err = salvage_tags(v);
    if (!err) err = salvage_rest(v);
    if (!err) err = salvage_space(v, VTF_S_ITEMS);
    if (!err) err = salvage_space(v, VTF_S_WAIVERS);
    if (!err) err = salvage_space(v, VTF_S_EVENTS);
    return err;
}

/* The history of the new file says what it is. */
static vtag_err salvage_note(salvage *v, vtag_db *db)
{
    char text[400];
    vtag_event e;
    vtag_err err = vtag_begin(db, NULL, &v->to);
    if (err) return err;
    snprintf(text, sizeof text,
             "salvaged: %llu items, %llu of them without key and payload; %llu vectors, those of "
             "%llu items lost; %llu texts lost; %llu stretches of the log lost",
             (unsigned long long)v->items, (unsigned long long)v->payloads_lost,
             (unsigned long long)v->rows, (unsigned long long)v->rows_lost,
             (unsigned long long)v->texts_lost, (unsigned long long)v->records_lost);
    memset(&e, 0, sizeof e);
    e.kind = VTAG_K_NOTE;
    e.text = text;
    err = vtag_note(v->to, &e);
    if (!err) return vtag_commit(v->to);
    vtag_abort(v->to);
    return err;
}

static int salvage_into(salvage *v, const char *dest)
{
    vtag_open_opts o;
    vtag_begin_opts begin;
    vtag_db *db;
    vtag_err err;
    cli_made made;
    int rc = 0;
    memset(&begin, 0, sizeof begin);
    memset(&made, 0, sizeof made);
    cli_open_opts(&o, VTAG_NEW);
    begin.restore = 1;
    begin.wait_ms = cli.wait_ms;
    err = vtag_open(dest, &o, &db);
    if (err) return cli_open_error(err, dest, VTAG_NEW);
    cli_made_note(&made, dest);
    err = vtag_begin(db, &begin, &v->to);
    if (!err) {
        err = salvage_all(v);
        if (err) vtag_abort(v->to);
        else err = vtag_commit(v->to);
    }
    if (!err) err = salvage_note(v, db);
    vtag_close(db);
    if (err) {
        rc = cli_error(err, "%s to %s", v->path, dest);
        cli_made_discard(&made, 0);
    }
    free(made.path);
    return rc;
}

/* ---- The command -------------------------------------------------------------------------- */

/* Nothing was found, and the store does not say of itself that it had no items. */
static int salvage_lost_all(const salvage *v)
{
    vtag_stat stat;
    if (v->items || v->rows) return 0;
    return !v->opened || vtag_stats(v->snap, &stat) || stat.items;
}

static void salvage_report(const salvage *v, const char *dest, int as_json)
{
    out o;
    if (!as_json) {
        printf("%s: %llu items, %llu vectors, %llu events%s\n", dest, (unsigned long long)v->items,
               (unsigned long long)v->rows, (unsigned long long)v->events,
               v->opened ? "" : ", from the log alone");
        if (salvage_lost_all(v)) puts("lost: all items and vectors");
        else printf("lost: %llu payloads, vectors of %llu items, %llu texts, %llu stretches of the log\n",
               (unsigned long long)v->payloads_lost, (unsigned long long)v->rows_lost,
               (unsigned long long)v->texts_lost, (unsigned long long)v->records_lost);
        return;
    }
    out_start(&o, stdout);
    out_u64(&o, "items", v->items);
    out_u64(&o, "vectors", v->rows);
    out_u64(&o, "events", v->events);
    out_bool(&o, "from_log", !v->opened);
    out_u64(&o, "payloads_lost", v->payloads_lost);
    out_u64(&o, "items_without_vectors", v->rows_lost);
    out_u64(&o, "texts_lost", v->texts_lost);
    out_u64(&o, "log_lost", v->records_lost);
    out_bool(&o, "all_lost", salvage_lost_all(v));
    out_close(&o, '}');
}

static void salvage_end(salvage *v)
{
    vtag_release(v->snap);
    vtag_close(v->db);
    free(v->tags);
    free(v->x);
    free(v->v);
}

int cmd_salvage(int argc, char **argv)
{
    const char *file, *dest;
    int as_json = 0, rc;
    salvage v;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the damaged store; it is not changed", NULL},
        {"DEST", NULL, CLI_ARG, &dest, "the new file", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv,
                   "Writes to a new file what is whole of a damaged one, without its superblocks\n"
                   "if need be. Items whose vectors are lost become pending; what was lost is\n"
                   "said and noted in the history of the new file.", opts);
    if (rc >= 0) return rc;
    memset(&v, 0, sizeof v);
    rc = salvage_map(&v, file);
    if (!rc) rc = salvage_open(&v);
    if (!rc) rc = salvage_into(&v, dest);
    if (!rc) salvage_report(&v, dest, as_json);
    if (!rc && salvage_lost_all(&v)) {
        rc = cli_fail("%s: no item and no vector could be saved, all is lost; go back to a copy", file);
    }
    salvage_end(&v);
    if (v.p) munmap((void *)(uintptr_t)v.p, (size_t)v.room);
    return rc;
}
