/* cmd_change.c - declare, put, del, waive, note: small changes. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "lines.h"

/* ---- declare --------------------------------------------------------------------- */

static int declare_fingerprint(const char *s, uint64_t *fingerprint)
{
    char *end;
    size_t n;
    if (!s) return 0;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) s += 2;
    n = strspn(s, "0123456789abcdefABCDEF");
    if (!n || n > 16 || s[n]) {
        return cli_misuse("declare: --fingerprint wants 1 to 16 hexadecimal digits");
    }
    *fingerprint = strtoull(s, &end, 16);
    return 0;
}

/* Declaring a tag again changes nothing, not its note either. */
static void declare_note(const cli_store *st, const vtag_spec *spec)
{
    vtag_info info;
    vtag_tag tag;
    char text[100];
    const char *was;
    if (!spec->note || vtag_find(st->snap, spec->name, &tag) ||
        vtag_tag_info(st->snap, tag, &info)) return;
    was = info.spec.note ? info.spec.note : "";
    if (!strcmp(was, spec->note)) return;
    cli_warn("%s: tag '%s' is declared already and keeps its note '%s'; vtag note adds to the "
             "history", st->path, spec->name, cli_line(text, sizeof text, was, strlen(was)));
}

static int declare_apply(cli_store *st, const vtag_spec *spec, int force)
{
    vtag_tag tag;
    vtag_err err;
    int rc = cli_begin(st, 0);
    if (!rc) rc = cli_snap(st); /* what others declared before we got the lock */
    if (!rc && !force) rc = cli_check_near(st, spec->name);
    if (rc) return rc;
    err = vtag_declare(st->batch, spec, &tag);
    if (err == VTAG_EXISTS) {
        return cli_fail("%s: tag '%s' is there with another meaning; vtag tags shows it, and "
                        "another meaning needs another name", st->path, spec->name);
    }
    if (err == VTAG_RETIRED) {
        return cli_fail("%s: tag '%s' was retired, and its name is not given again; take another "
                        "name", st->path, spec->name);
    }
    if (err) return cli_error(err, "%s: tag '%s'", st->path, spec->name);
    declare_note(st, spec);
    return cli_commit(st);
}

static int declare_print(cli_store *st, const char *name, int as_json)
{
    vtag_info info;
    out o;
    int rc = cli_snap(st);
    if (!rc) rc = cli_tag(st, name, &info);
    if (rc) return rc;
    if (!as_json) {
        printf("%s: %s, dim %u, %s\n", name, cli_role_name(info.role), info.spec.dim,
               cli_metric_name(info.spec.metric));
        return 0;
    }
    out_start(&o, stdout);
    out_str(&o, "tag", name);
    out_u64(&o, "number", info.tag);
    out_str(&o, "role", cli_role_name(info.role));
    out_close(&o, '}');
    return 0;
}

static int declare_into(const char *file, const vtag_spec *spec, int force, int as_json)
{
    cli_store st = {0};
    int rc = cli_open(&st, file, VTAG_CREATE);
    if (!rc) rc = declare_apply(&st, spec, force);
    if (!rc) rc = declare_print(&st, spec->name, as_json);
    if (rc) cli_discard(&st, 0); /* no file is left of a declaration that failed */
    else cli_close(&st);
    return rc;
}

int cmd_declare(int argc, char **argv)
{
    const char *file, *metric = "cosine", *codec = "f32", *fingerprint = NULL;
    int force = 0, as_json = 0, assumed = 0, rc;
    vtag_spec spec = {0};
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store; made if there is none", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &spec.name, "model@version/preparation/...", NULL},
        {"--dim", "N", CLI_U32 | CLI_MUST, &spec.dim, "numbers in a vector, 1 to 32,768", NULL},
        {"--metric", "M", CLI_STR, &metric, "cosine, dot, l2", NULL},
        {"--codec", "C", CLI_STR, &codec, "f32 (default), f16 or i8: how rows are stored", NULL},
        {"--fingerprint", "HEX", CLI_STR, &fingerprint, "hash of weights and tokenizer", NULL},
        {"--note", "TEXT", CLI_STR, &spec.note, "prompt, provider, licence", NULL},
        {"--assumed", NULL, CLI_FLAG, &assumed, "of legacy vectors: the name is a guess", NULL},
        {"--force", NULL, CLI_FLAG, &force, "although a word looks mistyped", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "one JSON object", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Declares a tag. The first of a file becomes active, later ones\n"
                   "are candidates. The same again changes nothing.", opts);
    if (rc >= 0) return rc;
    rc = cli_check_name(spec.name);
    if (!rc) rc = cli_metric(metric, &spec.metric);
    if (!rc) rc = cli_codec(codec, &spec.codec);
    if (!rc) rc = declare_fingerprint(fingerprint, &spec.fingerprint);
    if (rc) return rc;
    if (spec.dim < 1 || spec.dim > 32768) return cli_misuse("declare: --dim is 1 to 32,768");
    rc = cmd_text("--note", spec.note && *spec.note ? spec.note : NULL, 4096);
    if (rc) return rc;
    if (assumed) spec.flags |= VTAG_ASSUMED;
    return declare_into(file, &spec, force, as_json);
}

/* ---- put -------------------------------------------------------------------------- */

typedef struct put_job {
    cli_list    given;       /* --tag, and --vector or --exec, by turns */
    vtag_item   item;
    char       *data;        /* the payload, ours */
    size_t      n;           /* vectors, with their x ours */
    vtag_vec   *v;
    int         as_json;
} put_job;

/* Whether pair i is of a tag and of what gives its vector; *tag, and *how its other half. */
static int put_pair(const put_job *p, size_t i, size_t *tag, size_t *how)
{
    const cli_list *g = &p->given;
    if (2 * i + 1 >= g->n) return 0;
    *tag = 2 * i + (strcmp(g->option[2 * i], "--tag") != 0);
    *how = 4 * i + 1 - *tag;
    return !strcmp(g->option[*tag], "--tag") && strcmp(g->option[*how], "--tag");
}

static int put_check(const put_job *p)
{
    size_t i, tag, how;
    for (i = 0; 2 * i < p->given.n; i++) {
        if (put_pair(p, i, &tag, &how)) continue;
        return cli_misuse("put: each --tag goes with one --vector or --exec, next to it");
    }
    return 0;
}

static int put_given(const put_job *p, const char *option)
{
    size_t i, n = 0;
    for (i = 0; i < p->given.n; i++) n += !strcmp(p->given.option[i], option);
    return n > 0;
}

static int put_payload(put_job *p, const char *text)
{
    size_t n;
    int rc = 0;
    if (!text && put_given(p, "--vector") && !put_given(p, "--exec")) return 0; /* keeps it */
    if (text && strcmp(text, "-")) {
        p->data = cli_strdup(text);
        n = strlen(text);
    } else {
        rc = lines_slurp("-", LINES_DATA, &p->data, &n);
    }
    p->item.data = p->data;
    p->item.size = n;
    return rc;
}

static int put_vector(const cli_store *st, put_job *p, size_t pair)
{
    vtag_info info;
    vtag_vec *v = &p->v[p->n];
    float *x = NULL;
    size_t tag, how, i;
    const char *value;
    int rc;
    put_pair(p, pair, &tag, &how);
    value = p->given.value[how];
    rc = cli_tag(st, p->given.value[tag], &info);
    if (rc) return rc;
    for (i = 0; i < p->n; i++) {
        if (p->v[i].tag == info.tag) {
            return cli_misuse("put: tag '%s' is given twice; its vector once", info.spec.name);
        }
    }
    if (strcmp(p->given.option[how], "--vector")) {
        rc = cli_embed(value, p->data, p->item.size, &x, &v->dim);
    } else {
        rc = cli_tag_raw(p->given.value[tag], &info, "--vector");
        if (!rc) rc = cmd_vector("--vector", value, &x, &v->dim);
    }
    v->tag = info.tag;
    v->x = x;
    p->n++;
    if (!rc && v->dim != info.spec.dim) {
        rc = cli_fail("%s: the vector has %u numbers, tag '%s' has dim %u", st->path, v->dim,
                      info.spec.name, info.spec.dim);
    }
    return rc;
}

static int put_vectors(const cli_store *st, put_job *p)
{
    size_t i, n = p->given.n / 2;
    int rc = 0;
    p->v = cli_alloc(n * sizeof *p->v);
    for (i = 0; i < n && !rc; i++) rc = put_vector(st, p, i);
    return rc;
}

static int put_apply(cli_store *st, put_job *p)
{
    char name[300];
    out o;
    vtag_err err;
    int rc = cli_begin(st, 0);
    if (rc) return rc;
    err = vtag_put(st->batch, &p->item, p->v, p->n);
    if (err) return cli_error(err, "%s: item %s", st->path,
                              item_name(name, sizeof name, &p->item));
    rc = cli_commit(st);
    if (rc) return rc;
    if (!p->as_json) {
        printf("%s: revision %llu\n", item_name(name, sizeof name, &p->item),
               (unsigned long long)p->item.rev);
        return 0;
    }
    out_start(&o, stdout);
    out_id(&o, "id", p->item.id);
    if (p->item.key) out_str(&o, "key", p->item.key);
    out_u64(&o, "rev", p->item.rev);
    out_close(&o, '}');
    return 0;
}

static void put_free(put_job *p)
{
    size_t i;
    for (i = 0; i < p->n; i++) free((float *)(uintptr_t)p->v[i].x);
    free(p->v);
    free(p->data);
    cli_list_free(&p->given);
}

int cmd_put(int argc, char **argv)
{
    const char *file, *id = NULL, *key = NULL, *text = NULL;
    int rc;
    cli_store st = {0};
    put_job p;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--id", "N", CLI_STR, &id, "the item", NULL},
        {"--key", "K", CLI_STR, &key, "the item's key instead", NULL},
        {"--data", "TEXT", CLI_STR, &text, "its payload; else, or with -, standard input", NULL},
        {"--rev", "N", CLI_U64, &p.item.rev, "only if it still has this revision", NULL},
        {"--tag", "NAME", CLI_LIST, &p.given, "give it a vector under this tag", NULL},
        {"--vector", "[X,...]", CLI_LIST, &p.given,
         "this one; the payload stays if none is given", NULL},
        {"--exec", "COMMAND", CLI_LIST, &p.given, "or the one that this worker answers", NULL},
        {"--json", NULL, CLI_FLAG, &p.as_json, "one JSON object", NULL},
        CLI_END};
    memset(&p, 0, sizeof p);
    rc = cli_parse(argc, argv, "Writes one item, in one commit. Its vectors under tags that are\n"
                   "not given become stale, unless the payload is what it was. For vectors under\n"
                   "several tags, repeat --tag with its --vector or --exec. The payload is what is embedded:\n"
                   "whatever changes in it, be it a price, makes its vectors stale.", opts);
    if (rc < 0) {
        rc = put_check(&p);
        if (!rc) rc = item_named(id, key, &p.item);
        if (!rc && key) p.item.id = 0;
        if (!rc) rc = cli_change(&st, file);
        if (!rc) rc = put_payload(&p, text);
        if (!rc) rc = put_vectors(&st, &p);
        if (!rc) rc = put_apply(&st, &p);
    }
    cli_close(&st);
    put_free(&p);
    return rc;
}

/* ---- del --------------------------------------------------------------------------- */

static int del_one(cli_store *st, vtag_item *item)
{
    vtag_err err;
    int rc = item->key ? item_get(st, item) : 0;
    if (rc) return rc;
    err = vtag_del(st->batch, item->id);
    return err ? item_error(st, item, err) : 0;
}

int cmd_del(int argc, char **argv)
{
    const char *file, *key = NULL;
    cli_args ids = {NULL, 0};
    cli_store st = {0};
    int rc, i;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"ID", NULL, CLI_ARGS, &ids, "the items", NULL},
        {"--key", "K", CLI_STR, &key, "one item's key", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Deletes items with their vectors under every tag, all or none.",
                   opts);
    if (rc >= 0) return rc;
    if (!key && !ids.n) return cli_misuse("del: which item? give its ID, or --key K");
    rc = cli_change(&st, file);
    if (!rc) rc = cli_begin(&st, 0);
    for (i = key ? -1 : 0; !rc && i < ids.n; i++) {
        vtag_item item = {0};
        rc = item_named(i < 0 ? NULL : ids.v[i], i < 0 ? key : NULL, &item);
        if (!rc) rc = del_one(&st, &item);
    }
    if (!rc) rc = cli_commit(&st);
    if (!rc) printf("deleted %d\n", ids.n + (key != NULL));
    cli_close(&st);
    return rc;
}

/* ---- waive -------------------------------------------------------------------------- */

int cmd_waive(int argc, char **argv)
{
    const char *file, *tag, *id = NULL, *key = NULL, *reason = NULL;
    char name[300];
    int lift = 0, rc;
    cli_store st = {0};
    vtag_item item = {0};
    vtag_info info;
    uint64_t rev = 0;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"ID", NULL, CLI_ARG_MAY, &id, "the item", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "under which it cannot be embedded", NULL},
        {"--key", "K", CLI_STR, &key, "the item's key instead", NULL},
        {"--rev", "N", CLI_U64, &rev, "only if it still has this revision", NULL},
        {"--reason", "TEXT", CLI_STR, &reason, "why, up to 1,024 bytes", NULL},
        {"--lift", NULL, CLI_FLAG, &lift, "end the waiver", NULL},
        CLI_END};
    rc = cli_parse(argc, argv, "Records why an item's present revision cannot be embedded under a\n"
                   "tag. A new revision or a fill ends that.", opts);
    if (rc >= 0) return rc;
    if (!reason == !lift) return cli_misuse("waive: give a --reason, or --lift");
    rc = cmd_text("--reason", reason, 1024);
    if (!rc) rc = item_named(id, key, &item);
    if (!rc) rc = cli_change(&st, file);
    if (!rc) rc = cli_tag(&st, tag, &info);
    if (!rc) rc = cli_begin(&st, 0);
    if (!rc) {
        vtag_err err;
        item.rev = rev;
        if (key) item.id = 0;
        err = vtag_waive(st.batch, &item, info.tag, reason);
        if (err) rc = item_error(&st, &item, err);
    }
    if (!rc) rc = cli_commit(&st);
    if (!rc) printf("%s: %s under %s\n", item_name(name, sizeof name, &item),
                    lift ? "no longer waived" : "waived", info.spec.name);
    cli_close(&st);
    return rc;
}

/* ---- note ----------------------------------------------------------------------------- */

int cmd_note(int argc, char **argv)
{
    const char *file, *tag = NULL;
    int has_value = 0, rc;
    cli_store st = {0};
    vtag_info info = {0};
    vtag_event e;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"--tag", "NAME", CLI_STR, &tag, "what it is about", NULL},
        {"--text", "TEXT", CLI_STR, &e.text, "the note, up to 1,024 bytes", NULL},
        {"--score", "NAME", CLI_STR, &e.name, "a score of this name, such as ndcg@10", NULL},
        {"--value", "X", CLI_F64, &e.value, "the score", &has_value},
        {"--queries", "N", CLI_U64, &e.queries, "that it was taken from", NULL},
        CLI_END};
    memset(&e, 0, sizeof e);
    rc = cli_parse(argc, argv, "Adds a note to the history, or a score together with how complete\n"
                   "the tag is now.", opts);
    if (rc >= 0) return rc;
    if (!e.name && !e.text) return cli_misuse("note: give a --text, or a --score");
    if (e.name && (!has_value || !tag)) {
        return cli_misuse("note: --score wants a --value and a --tag");
    }
    if (!e.name && (has_value || e.queries)) return cli_misuse("note: --value wants a --score");
    e.kind = e.name ? VTAG_K_SCORE : VTAG_K_NOTE;
    rc = cmd_text("--text", e.text, 1024);
    if (!rc) rc = cmd_text("--score", e.name, 255);
    if (!rc) rc = cli_change(&st, file);
    if (!rc && tag) rc = cli_tag(&st, tag, &info);
    e.tag = info.tag;
    if (!rc) rc = cmd_event_state(&st, &e);
    if (!rc) rc = cmd_event_add(&st, &e, 1);
    cli_close(&st);
    return rc;
}
