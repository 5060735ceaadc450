/* cmd_look.c - get, items, tags, pending, history, meta: what only looks. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "json.h"
#include "lines.h"

enum { LOOK_PAGE = 1024 };

/* ---- get ------------------------------------------------------------------------- */

/* Whether an item is waived under a tag, and why; NULL if it is not. */
static const char *get_waiver(const cli_store *st, vtag_tag tag, uint64_t id)
{
    vtag_item page[64];
    uint64_t cursor = 0;
    size_t n, i;
    while (!vtag_items(st->snap, tag, VTAG_WAIVED, &cursor, page, 64, &n) && n) {
        for (i = 0; i < n; i++) {
            if (page[i].id == id) return page[i].why ? page[i].why : "";
        }
    }
    return NULL;
}

static void get_tag_row(const cli_store *st, cli_table *t, const vtag_item *item,
                        const vtag_info *tag)
{
    vtag_row row;
    const char *why;
    char reason[80] = "";
    vtag_err err = vtag_vector(st->snap, item->id, tag->tag, 0, NULL, 0, &row);
    if (!err && row.rev == item->rev) {
        cli_row(t, "%s\tfresh\t%u\t%llu\t", tag->spec.name, row.parts,
                (unsigned long long)row.rev);
        return;
    }
    why = get_waiver(st, tag->tag, item->id);
    if (why) cli_line(reason, sizeof reason, why, strlen(why));
    if (err) {
        cli_row(t, "%s\t%s\t0\t-\t%s", tag->spec.name, why ? "waived" : "missing", reason);
    } else {
        cli_row(t, "%s\t%s\t%u\t%llu\t%s", tag->spec.name, why ? "waived" : "stale", row.parts,
                (unsigned long long)row.rev, reason);
    }
}

static int get_print(const cli_store *st, const vtag_item *item)
{
    cli_table t = {0};
    vtag_info *tags;
    char when[CLI_TEXT], key[300];
    size_t n, i;
    int rc = cli_tags(st, &tags, &n);
    if (rc) return rc;
    printf("id        %llu\n", (unsigned long long)item->id);
    if (item->key) printf("key       %s\n", item_name(key, sizeof key, item));
    printf("revision  %llu of %s\n", (unsigned long long)item->rev, cli_time(when, item->time));
    cli_row(&t, "tag\tstate\tparts\trevision\t");
    for (i = 0; i < n; i++) {
        if (tags[i].role != VTAG_GONE) get_tag_row(st, &t, item, &tags[i]);
    }
    if (t.n > 1) putchar('\n');
    cli_table_print(&t, "llrrl");
    free(tags);
    if (item->size) {
        putchar('\n');
        fwrite(item->data, 1, item->size, stdout);
        if (((const char *)item->data)[item->size - 1] != '\n') putchar('\n');
    }
    return 0;
}

static int get_vectors(const cli_store *st, out *o, const vtag_item *item, const vtag_info *tag)
{
    float *x = cli_alloc(tag->spec.dim * sizeof *x);
    vtag_row row = {0};
    uint32_t part = 0;
    vtag_err err;
    do {
        err = vtag_vector(st->snap, item->id, tag->tag, part, x, tag->spec.dim, &row);
        if (err) break;
        if (!o) {
            json_write_floats(stdout, x, tag->spec.dim);
            putchar('\n');
            continue;
        }
        out_open(o, NULL, '{');
        out_floats(o, "vector", x, tag->spec.dim);
        if (row.off || row.len) {
            out_u64(o, "off", row.off);
            out_u64(o, "len", row.len);
        }
        out_close(o, '}');
    } while (++part < row.parts);
    free(x);
    if (err == VTAG_NOTFOUND && o) return 0;
    return err ? cli_error(err, "%s: item %llu under %s", st->path,
                           (unsigned long long)item->id, tag->spec.name) : 0;
}

static void get_json_tags(const cli_store *st, out *o, const vtag_item *item)
{
    vtag_info *tags;
    size_t n, i;
    if (cli_tags(st, &tags, &n)) return;
    out_open(o, "tags", '[');
    for (i = 0; i < n; i++) {
        vtag_row row;
        const char *why;
        vtag_err err;
        if (tags[i].role == VTAG_GONE) continue;
        err = vtag_vector(st->snap, item->id, tags[i].tag, 0, NULL, 0, &row);
        why = err || row.rev != item->rev ? get_waiver(st, tags[i].tag, item->id) : NULL;
        out_open(o, NULL, '{');
        out_str(o, "tag", tags[i].spec.name);
        out_str(o, "state", why ? "waived" : err ? "missing" : row.rev == item->rev ? "fresh"
                : "stale");
        if (why) out_str(o, "why", why);
        if (!err) out_u64(o, "rev", row.rev);
        if (!err) out_u64(o, "parts", row.parts);
        out_close(o, '}');
    }
    out_close(o, ']');
    free(tags);
}

static int get_json(const cli_store *st, const vtag_item *item, const vtag_info *tag)
{
    out o;
    int rc = 0;
    out_start(&o, stdout);
    out_id(&o, "id", item->id);
    if (item->key) out_str(&o, "key", item->key);
    out_u64(&o, "rev", item->rev);
    out_time(&o, "time", item->time);
    if (item->size) out_data(&o, "data", item->data, item->size);
    get_json_tags(st, &o, item);
    if (tag) {
        out_str(&o, "tag", tag->spec.name);
        out_open(&o, "vectors", '[');
        rc = get_vectors(st, &o, item, tag);
        out_close(&o, ']');
    }
    out_close(&o, '}');
    return rc;
}

int cmd_get(int argc, char **argv)
{
    const char *file, *id = NULL, *key = NULL, *tag = NULL;
    int as_json = 0, data = 0, rc;
    cli_store st = {0};
    vtag_item item = {0};
    vtag_info info;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"ID", NULL, CLI_ARG_MAY, &id, "the item", NULL},
        {"--key", "K", CLI_STR, &key, "the item's key instead", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "print its vectors under this tag", NULL},
        {"--data", NULL, CLI_FLAG, &data, "write the payload alone, as it is", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Shows one item: revision, state under each tag, payload.", opts);
    if (rc >= 0) return rc;
    rc = item_named(id, key, &item);
    if (!rc) rc = cli_look(&st, file);
    if (!rc) rc = item_get(&st, &item);
    if (!rc && tag) rc = cli_tag(&st, tag, &info);
    if (!rc) {
        if (as_json) rc = get_json(&st, &item, tag ? &info : NULL);
        else if (data) fwrite(item.data ? item.data : "", 1, item.size, stdout);
        else if (tag) rc = get_vectors(&st, NULL, &item, &info);
        else rc = get_print(&st, &item);
    }
    cli_close(&st);
    return rc;
}

/* ---- items and pending -------------------------------------------------------------- */

typedef struct listing {
    cli_store  st;
    vtag_info  tag;
    uint32_t   states;       /* with the order; 0 under tag 0 */
    uint64_t   limit;
    cli_table *table;        /* NULL: JSON */
} listing;

static void items_row(const listing *l, const vtag_item *item)
{
    char key[64], when[CLI_TEXT], size[CLI_TEXT], text[64], why[64] = "";
    if (item->why) cli_line(why, sizeof why, item->why, strlen(item->why));
    cli_row(l->table, "%llu\t%s\t%llu\t%s\t%s\t%s\t%s%s%s", (unsigned long long)item->id,
            item->key ? cli_line(key, sizeof key, item->key, strlen(item->key)) : "-",
            (unsigned long long)item->rev, cli_time(when, item->time),
            cli_bytes(size, item->size), cli_state_name(item->state), why, why[0] ? "; " : "",
            cli_line(text, sizeof text, item->size ? item->data : "", item->size));
}

static void items_json(const vtag_item *item)
{
    out o;
    out_start(&o, stdout);
    out_id(&o, "id", item->id);
    if (item->key) out_str(&o, "key", item->key);
    out_u64(&o, "rev", item->rev);
    out_time(&o, "time", item->time);
    out_u64(&o, "size", item->size);
    if (item->state) out_str(&o, "state", cli_state_name(item->state));
    if (item->why) out_str(&o, "why", item->why);
    out_close(&o, '}');
}

static void pending_json(const vtag_item *item)
{
    out o;
    out_start(&o, stdout);
    out_id(&o, "id", item->id);
    if (item->key) out_str(&o, "key", item->key);
    out_u64(&o, "rev", item->rev);
    out_data(&o, "data", item->data, item->size);
    out_close(&o, '}');
}

static int listing_each(const listing *l, int pending)
{
    size_t cap = l->states > VTAG_ALL ? 65536 : LOOK_PAGE, n, i;
    vtag_item *page = cli_alloc(cap * sizeof *page);
    uint64_t cursor = 0, left = l->limit;
    vtag_err err = VTAG_OK;
    while (left && !err) {
        size_t ask = left < cap ? (size_t)left : cap;
        err = vtag_items(l->st.snap, l->tag.tag, l->states, &cursor, page, ask, &n);
        if (err || !n) break;
        for (i = 0; i < n; i++) {
            if (pending) pending_json(&page[i]);
            else if (l->table) items_row(l, &page[i]);
            else items_json(&page[i]);
        }
        left -= n;
    }
    free(page);
    if (!err) return 0;
    return l->tag.tag ? cli_error(err, "%s: tag '%s'", l->st.path, l->tag.spec.name)
                      : cli_error(err, "%s", l->st.path);
}

static int listing_state(const char *s, uint32_t *states)
{
    static const struct { const char *name; uint32_t states; } names[] = {
        {"fresh", VTAG_FRESH}, {"stale", VTAG_STALE}, {"missing", VTAG_MISSING},
        {"waived", VTAG_WAIVED}, {"pending", VTAG_PENDING}, {"all", VTAG_ALL}};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(names[i].name, s)) {
            *states = names[i].states;
            return 0;
        }
    }
    return cli_misuse("%s: --state '%s'; there are fresh, stale, missing, waived, pending, all",
                      cli.cmd, s);
}

static int listing_order(const char *s, uint32_t *states)
{
    if (!strcmp(s, "newest")) *states |= VTAG_NEWEST_FIRST;
    else if (!strcmp(s, "oldest")) *states |= VTAG_OLDEST_FIRST;
    else if (strcmp(s, "id")) {
        return cli_misuse("%s: --order '%s'; there are id, newest, oldest", cli.cmd, s);
    }
    return 0;
}

int cmd_items(int argc, char **argv)
{
    const char *file, *tag = NULL, *state = NULL, *order = "id";
    int as_json = 0, rc;
    cli_table table = {0};
    listing l = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "their state under this tag", NULL},
        {"--state", "S", CLI_STR, &state, "fresh, stale, missing, waived, pending, all", NULL},
        {"--order", "O", CLI_STR, &order, "id, newest, oldest", NULL},
        {"--limit", "N", CLI_U64, &l.limit, "at most so many", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "JSON Lines", NULL},
        CLI_END};
    l.limit = UINT64_MAX;
    rc = cli_parse(argc, argv, "Lists items, with their state under a tag.", opts);
    if (rc >= 0) return rc;
    if (state && !tag) return cli_misuse("items: --state wants a --tag, under which it holds");
    if (tag) l.states = VTAG_ALL;
    rc = state ? listing_state(state, &l.states) : 0;
    if (!rc) rc = listing_order(order, &l.states);
    if (!rc) rc = cli_look(&l.st, file);
    if (!rc && tag) rc = cli_tag(&l.st, tag, &l.tag);
    if (!rc) {
        l.table = as_json ? NULL : &table;
        if (!as_json) cli_row(&table, "id\tkey\trevision\ttime\tsize\tstate\ttext");
        rc = listing_each(&l, 0);
        if (!as_json) cli_table_print(&table, "rlrlrll");
    }
    cli_close(&l.st);
    return rc;
}

int cmd_pending(int argc, char **argv)
{
    const char *file, *tag, *order = "id";
    int rc;
    listing l = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "what is stale or missing under it", NULL},
        {"--limit", "N", CLI_U64, &l.limit, "at most so many", NULL},
        {"--order", "O", CLI_STR, &order, "id, newest, oldest", NULL},
        CLI_END};
    l.limit = UINT64_MAX;
    rc = cli_parse(argc, argv, "Prints what has to be embedded, one JSON object a line:\n"
                   "{\"id\",\"key\",\"rev\",\"data\"}, or data_base64 where it is not UTF-8.",
                   opts);
    if (rc >= 0) return rc;
    l.states = VTAG_PENDING;
    rc = listing_order(order, &l.states);
    if (!rc) rc = cli_look(&l.st, file);
    if (!rc) rc = cli_tag(&l.st, tag, &l.tag);
    if (!rc) rc = listing_each(&l, 1);
    cli_close(&l.st);
    return rc;
}

/* ---- tags ------------------------------------------------------------------------------ */

static void tags_json(const vtag_info *t)
{
    char fingerprint[24];
    out o;
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)t->spec.fingerprint);
    out_start(&o, stdout);
    out_str(&o, "tag", t->spec.name);
    out_u64(&o, "number", t->tag);
    out_str(&o, "role", cli_role_name(t->role));
    out_u64(&o, "dim", t->spec.dim);
    out_str(&o, "metric", cli_metric_name(t->spec.metric));
    out_str(&o, "codec", cli_codec_name(t->spec.codec));
    out_str(&o, "fingerprint", t->spec.fingerprint ? fingerprint : NULL);
    out_bool(&o, "assumed", (t->spec.flags & VTAG_ASSUMED) != 0);
    out_str(&o, "note", t->spec.note);
    out_u64(&o, "items", t->items);
    out_u64(&o, "rows", t->rows);
    out_u64(&o, "bytes", t->bytes);
    out_time(&o, "created", t->created);
    out_time(&o, "activated", t->activated);
    out_u64(&o, "writes_with", t->writes_with);
    out_u64(&o, "writes_without", t->writes_without);
    out_u64(&o, "written", t->written);
    out_str(&o, "alias", t->alias);
    out_bool(&o, "forced", t->forced);
    out_close(&o, '}');
}

static void tags_row(cli_table *table, const vtag_info *t)
{
    char items[CLI_TEXT], rows[CLI_TEXT], bytes[CLI_TEXT], when[CLI_TEXT], note[64] = "", as[280] = "";
    if (t->alias) snprintf(as, sizeof as, "alias %s ", t->alias);
    if (t->spec.note) cli_line(note, sizeof note, t->spec.note, strlen(t->spec.note));
    cli_row(table, "%s\t%s\t%u\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s%s%s", t->spec.name,
            cli_role_name(t->role), t->spec.dim, cli_metric_name(t->spec.metric),
            cli_codec_name(t->spec.codec), cli_count(items, t->items), cli_count(rows, t->rows),
            cli_bytes(bytes, t->bytes), cli_time(when, t->created), t->forced ? "FORCED " : "", as,
            t->spec.flags & VTAG_ASSUMED ? "assumed " : "", note);
}

int cmd_tags(int argc, char **argv)
{
    const char *file;
    int as_json = 0, rc;
    cli_store st = {0};
    cli_table table = {0};
    vtag_info *tags = NULL;
    size_t n = 0, i;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "JSON Lines", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Lists all tags in the order of their declaration.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&st, file);
    if (!rc) rc = cli_tags(&st, &tags, &n);
    if (!rc && !as_json) {
        cli_row(&table, "tag\trole\tdim\tmetric\tcodec\titems\trows\tbytes\tdeclared\tnote");
        for (i = 0; i < n; i++) tags_row(&table, &tags[i]);
        cli_table_print(&table, "llrllrrrll");
    }
    for (i = 0; !rc && as_json && i < n; i++) tags_json(&tags[i]);
    free(tags);
    cli_close(&st);
    return rc;
}

/* ---- history ------------------------------------------------------------------------------ */

int cmd_history(int argc, char **argv)
{
    const char *file, *tag = NULL;
    int as_json = 0, rc;
    uint64_t limit = UINT64_MAX;
    cli_store st = {0};
    cli_table table = {0};
    vtag_event *e = NULL;
    vtag_info info = {0};
    size_t n = 0, i;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "only what is about this tag", NULL},
        {"--limit", "N", CLI_U64, &limit, "only the newest N lines", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "JSON Lines", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Prints the audit trail, oldest first.", opts);
    if (rc >= 0) return rc;
    rc = cli_look(&st, file);
    if (!rc && tag) rc = cli_tag(&st, tag, &info);
    if (!rc) rc = cmd_events(&st, &e, &n);
    if (!rc && !as_json) cli_row(&table, "no\ttime\tevent\ttag\twhat");
    for (i = n > limit ? n - (size_t)limit : 0; !rc && i < n; i++) {
        out o;
        if (tag && e[i].tag != info.tag && e[i].base != info.tag) continue;
        if (!as_json) {
            cmd_event_row(&table, &st, &e[i]);
            continue;
        }
        out_start(&o, stdout);
        cmd_event_json(&o, &st, &e[i]);
        cmd_event_facts(&o, &e[i]);
        out_close(&o, '}');
    }
    if (!rc && !as_json) cli_table_print(&table, "rllll");
    free(e);
    cli_close(&st);
    return rc;
}

/* ---- meta ------------------------------------------------------------------------------------ */

static int meta_list(const cli_store *st, int as_json)
{
    const char *names[64];
    uint64_t cursor = 0;
    size_t n = 1, i;
    vtag_err err = VTAG_OK;
    cli_table table = {0};
    while (!err && n) {
        err = vtag_metas(st->snap, &cursor, names, 64, &n);
        for (i = 0; !err && i < n; i++) {
            const void *p;
            size_t size;
            char bytes[CLI_TEXT], text[64], name[300];
            out o;
            err = vtag_meta_get(st->snap, names[i], &p, &size);
            if (err) break;
            if (!as_json) {
                cli_row(&table, "%s\t%s\t%s", cli_line(name, sizeof name, names[i],
                        strlen(names[i])), cli_bytes(bytes, size),
                        cli_line(text, sizeof text, p, size));
                continue;
            }
            out_start(&o, stdout);
            out_str(&o, "name", names[i]);
            out_data(&o, "value", p, size);
            out_close(&o, '}');
        }
    }
    cli_table_print(&table, "lrl");
    return err ? cli_error(err, "%s", st->path) : 0;
}

static int meta_set(cli_store *st, const char *name, const char *value)
{
    char *text = NULL;
    size_t n = 0;
    vtag_err err;
    int rc = 0;
    if (value && !strcmp(value, "-")) rc = lines_slurp("-", LINES_DATA, &text, &n);
    else if (value) {
        text = cli_strdup(value);
        n = strlen(value);
    }
    if (!rc) rc = cli_begin(st, 0);
    if (!rc) {
        err = vtag_meta_set(st->batch, name, text, n);
        rc = err ? cli_error(err, "%s: meta '%s'", st->path, name) : cli_commit(st);
    }
    free(text);
    return rc;
}

static int meta_get(const cli_store *st, const char *name)
{
    const void *p;
    size_t n;
    vtag_err err = vtag_meta_get(st->snap, name, &p, &n);
    if (err == VTAG_NOTFOUND) return cli_fail("%s: no metadata '%s'; vtag meta %s lists it",
                                              st->path, name, st->path);
    if (err) return cli_error(err, "%s: meta '%s'", st->path, name);
    fwrite(p, 1, n, stdout);
    if (n && ((const char *)p)[n - 1] != '\n') putchar('\n');
    return 0;
}

int cmd_meta(int argc, char **argv)
{
    const char *file, *name = NULL, *value = NULL;
    int as_json = 0, drop = 0, rc;
    cli_store st = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"NAME", NULL, CLI_ARG_MAY, &name, "show this one", NULL},
        {"VALUE", NULL, CLI_ARG_MAY, &value, "set it; - takes it from standard input", NULL},
        {"--remove", NULL, CLI_FLAG, &drop, "remove it", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "JSON Lines, of the list", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Lists, shows or sets metadata of the file.", opts);
    if (rc >= 0) return rc;
    if (drop && (!name || value)) return cli_misuse("meta: --remove wants a NAME and no VALUE");
    if (name && (!*name || strlen(name) > 255)) {
        return cli_misuse("meta: a name has 1 to 255 bytes");
    }
    rc = value || drop ? cli_change(&st, file) : cli_look(&st, file);
    if (!rc) {
        if (drop || value) rc = meta_set(&st, name, value);
        else rc = name ? meta_get(&st, name) : meta_list(&st, as_json);
    }
    cli_close(&st);
    return rc;
}
