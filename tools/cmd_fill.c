/* cmd_fill.c - fill: takes vectors of pending items back in.

   Lines are read and parsed outside any batch; the writer lock is held only while what
   was parsed is applied, and at most about --chunk-time at once. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "lines.h"
#include "members.h"
#include "worker.h"

/* ---- Records --------------------------------------------------------------------- */

typedef struct fill_record {
    vtag_item item;          /* key is ours */
    vtag_vec *v;             /* and v, with x behind it in one block */
    size_t    n;
    char     *error;         /* the worker's; then no vectors */
    uint64_t  line;
    double    number;        /* its id, if that is one that JSON libraries round; else 0 */
} fill_record;

typedef struct fill_job {
    cli_store    st;
    const char  *input;
    const char  *given;      /* --tag as it was written */
    vtag_info    tag;
    lines        in;
    fill_record *r;          /* r[n]: parsed, not applied */
    size_t       n, cap;
    uint64_t     batch, chunk_ms;
    int          waive_errors;
    cli_list     ignored;
    uint64_t     filled, vectors, changed, notfound, refused, errors, waived, commits;
    uint64_t     lines, passed, rounded; /* lines; of them no answers; ids that may be rounded */
    cli_progress progress;
} fill_job;

static void fill_drop(fill_job *f)
{
    size_t i;
    for (i = 0; i < f->n; i++) {
        free((char *)(uintptr_t)f->r[i].item.key);
        free(f->r[i].v);
        free(f->r[i].error);
    }
    f->n = 0;
}

static int fill_bad(const fill_job *f, const char *what)
{
    return cli_fail("%s: line %llu: %s; what came before it is in", f->input,
                    (unsigned long long)f->in.number, what);
}

/* What says nothing of an item: told of, at most a few, and passed over. */
static void fill_ignore(fill_job *f, const char *text, size_t n, const char *what)
{
    char line[80];
    if (f->passed++ >= WORKER_NOTES) return;
    cli_warn("%s: line %llu: %s: '%s'; ignored", f->input, (unsigned long long)f->in.number, what,
             cli_line(line, sizeof line, text, n));
}

static int fill_identity(fill_job *f, const worker_reply *a, fill_record *r)
{
    if (a->key && strlen(a->key) > 255) return fill_bad(f, "\"key\" wants 1 to 255 bytes");
    if (!a->has_id || a->id > UINT64_MAX - 1) {
        return fill_bad(f, "wants an \"id\" as vtag pending printed it, or a \"key\"");
    }
    if (!a->has_rev || !a->rev) return fill_bad(f, "wants the \"rev\" that vtag pending printed");
    if (a->tag && strcmp(a->tag, f->tag.spec.name)) return fill_bad(f, "\"tag\" is another than --tag");
    if (!a->tag && a->kind == WORKER_VECTORS) {
        int rc = cli_tag_raw(f->given, &f->tag, "a vector without \"tag\"");
        if (rc) return rc;
    }
    r->item.key = a->key ? cli_strdup(a->key) : NULL;
    r->item.id = a->id;
    r->item.rev = a->rev;
    r->number = a->number;
    return 0;
}

/* What is to be dropped must not be what is taken. */
static int fill_ignored(const fill_job *f)
{
    members m;
    const char *clash;
    m.known = worker_members;
    m.n = WORKER_MEMBERS;
    m.ignored = f->ignored.value;
    m.ignored_n = f->ignored.n;
    clash = members_clash(&m);
    return clash ? cli_misuse("fill: --ignore %s is of a member that is taken", clash) : 0;
}

/* Says which member of an object is not known. */
static int fill_known(const fill_job *f, const json_value *o, const char *const *known, size_t n)
{
    char why[400];
    members m;
    m.known = known;
    m.n = n;
    m.ignored = f->ignored.value;
    m.ignored_n = f->ignored.n;
    if (o->type != JSON_OBJECT) {
        return fill_bad(f, "\"vectors\" wants objects with a \"vector\" each");
    }
    return members_check(o, &m, why, sizeof why) ? fill_bad(f, why) : 0;
}

/* Whether a line has members that are known only, and so its vectors. */
static int fill_members(const fill_job *f, const json_value *top)
{
    static const char *const part[] = {MEMBER_VECTOR, "off", "len"};
    const json_value *many = json_get(top, "vectors");
    size_t i;
    int rc = fill_known(f, top, worker_members, WORKER_MEMBERS);
    for (i = 0; !rc && many && many->type == JSON_ARRAY && i < many->n; i++) {
        rc = fill_known(f, &many->u.items[i], part, sizeof part / sizeof *part);
    }
    return rc;
}

/* Takes the vectors or the error of an answer. */
static int fill_take(fill_job *f, worker_reply *a, fill_record *r)
{
    char text[160];
    size_t i;
    if (a->broken) return fill_bad(f, a->error);
    for (i = 0; i < a->n; i++) {
        if (a->v[i].dim != f->tag.spec.dim) {
            snprintf(text, sizeof text, "the vector has %u numbers, tag '%.80s' has dim %u; another "
                     "model?", a->v[i].dim, f->tag.spec.name, f->tag.spec.dim);
            return fill_bad(f, text);
        }
        a->v[i].tag = f->tag.tag;
    }
    r->v = a->v;
    r->n = a->n;
    r->error = a->error;
    a->v = NULL;
    a->error = NULL;
    return 0;
}

static int fill_parse(fill_job *f, const char *text, size_t n)
{
    json j = {0};
    worker_reply a;
    fill_record r = {0};
    int rc = 0;
    while (n && (text[n - 1] == '\r' || text[n - 1] == ' ')) n--;
    if (!n) return 0;
    f->lines++;
    r.line = f->in.number;
    if (worker_is_log(text, n)) {
        fill_ignore(f, text, n, "a line that is no JSON object");
        return 0;
    }
    if (f->n == f->cap) f->r = cli_grow(f->r, f->cap = f->cap * 2 + 64, sizeof *f->r);
    if (!worker_read(&j, text, n, &a)) rc = fill_bad(f, j.error);
    else if (a.broken && !a.has_id && !a.name) fill_ignore(f, text, n, "a line that is no answer");
    else if ((rc = fill_members(f, a.top)) != 0) { }
    else if (a.kind == WORKER_RETRY) fill_ignore(f, text, n, "a rate limit, its item stays pending");
    else rc = fill_identity(f, &a, &r);
    if (!rc && r.item.rev) rc = fill_take(f, &a, &r);
    if (!rc && r.item.rev) f->r[f->n++] = r;
    else free((char *)(uintptr_t)r.item.key);
    worker_reply_free(&a);
    json_free(&j);
    return rc;
}

/* ---- Applying ---------------------------------------------------------------------- */

/* What the worker could not embed: named, and waived if asked to. */
static vtag_err fill_error(fill_job *f, const fill_record *r)
{
    char why[1025], name[300];
    vtag_err err;
    cli_line(why, sizeof why, r->error, strlen(r->error));
    if (f->errors++ < 10) {
        cli_warn("%s: line %llu: item %s: %s; %s", f->input, (unsigned long long)r->line,
                 item_name(name, sizeof name, &r->item), why,
                 f->waive_errors ? "waived" : "left pending");
    }
    if (!f->waive_errors) return VTAG_OK;
    err = vtag_waive(f->st.batch, &r->item, f->tag.tag, why);
    if (!err) f->waived++;
    return err;
}

#define FILL_ROUNDED \
    "the worker's JSON rounds ids beyond 2^53: let it send the id as the string it got, or the key"

static void fill_stranger(fill_job *f, const fill_record *r)
{
    char name[300];
    f->rounded += r->number > 0;
    if (f->notfound++ >= WORKER_NOTES) return;
    cli_warn("%s: line %llu: no item %s%s", f->input, (unsigned long long)r->line,
             item_name(name, sizeof name, &r->item), r->number > 0 ? "; " FILL_ROUNDED : "");
}

static int fill_one(fill_job *f, const fill_record *r)
{
    vtag_err err = r->error ? fill_error(f, r)
                            : vtag_fill(f->st.batch, &r->item, r->v, r->n);
    char name[300];
    switch (err) {
    case VTAG_OK:
        if (!r->error) {
            f->filled++;
            f->vectors += r->n;
        }
        return 0;
    case VTAG_CHANGED: f->changed++; return 0;
    case VTAG_NOTFOUND:
        fill_stranger(f, r);
        return 0;
    case VTAG_VALUE:
        f->refused++;
        cli_error(err, "%s: line %llu: item %s", f->input, (unsigned long long)r->line,
                  item_name(name, sizeof name, &r->item));
        return 0;
    default:
        return cli_error(err, "%s: line %llu: item %s", f->input, (unsigned long long)r->line,
                         item_name(name, sizeof name, &r->item));
    }
}

/* Applies all that was parsed, in as many batches as --chunk-time asks for. */
static int fill_apply(fill_job *f)
{
    size_t i = 0;
    int rc = 0;
    while (!rc && i < f->n) {
        uint64_t until;
        rc = cli_begin(&f->st, 0);
        if (rc) break;
        until = cli_now() + f->chunk_ms;
        do rc = fill_one(f, &f->r[i++]);
        while (!rc && i < f->n && cli_now() < until);
        if (rc) {
            cli_abort(&f->st);
        } else {
            rc = cli_commit(&f->st);
            f->commits++;
        }
    }
    fill_drop(f);
    cli_progress_at(&f->progress, f->filled);
    return rc;
}

/* The line of history: whose answers they were, and what came of them. */
static int fill_event(fill_job *f)
{
    char command[1024], from[900];
    vtag_event e = {0};
    vtag_err err;
    int rc;
    snprintf(command, sizeof command, "fill %s", cli_line(from, sizeof from, f->input, strlen(f->input)));
    e.kind = VTAG_K_BACKFILL;
    e.tag = f->tag.tag;
    e.command = command;
    e.filled = f->filled;
    e.waived = f->waived;
    e.failed_items = f->changed + f->notfound + f->refused + f->errors - f->waived;
    e.in = e.filled + e.waived + e.failed_items;
    if (!e.in) return 0;
    rc = cli_begin(&f->st, 0);
    if (rc) return rc;
    err = cmd_event_run(&f->st, &e);
    return err ? cli_error(err, "%s: history", f->input) : cli_commit(&f->st);
}

static int fill_run(fill_job *f)
{
    int rc = 0, bad = 0, got = LINES_LINE;
    while (!rc && !bad && got != LINES_END) {
        char *text;
        size_t n;
        uint64_t until = cli_now() + f->chunk_ms;
        while (!bad && f->n < f->batch) {
            got = lines_until(&f->in, until, &text, &n);
            if (got == LINES_LATE && !f->n) until = cli_now() + f->chunk_ms;
            else if (got != LINES_LINE) break;
            else bad = fill_parse(f, text, n);
        }
        if (got < 0 && cli_stopped()) bad = CLI_FAILED; /* it will be said */
        else if (got < 0) bad = cli_fail("%s; what came before it is in", f->in.error);
        rc = fill_apply(f);
    }
    if (!rc && !cli_stopped()) rc = fill_event(f);
    return rc ? rc : bad;
}

static int fill_report(const fill_job *f, int as_json)
{
    char n[CLI_TEXT], v[CLI_TEXT];
    out o;
    if (as_json) {
        out_start(&o, stdout);
        out_str(&o, "tag", f->tag.spec.name);
        out_u64(&o, "filled", f->filled);
        out_u64(&o, "vectors", f->vectors);
        out_u64(&o, "changed", f->changed);
        out_u64(&o, "notfound", f->notfound);
        out_u64(&o, "refused", f->refused);
        out_u64(&o, "errors", f->errors);
        out_u64(&o, "waived", f->waived);
        out_u64(&o, "ignored", f->passed);
        out_u64(&o, "commits", f->commits);
        out_close(&o, '}');
        return 0;
    }
    printf("filled %s items (%s vectors) under %s", cli_count(n, f->filled),
           cli_count(v, f->vectors), f->tag.spec.name);
    if (f->changed) printf("; %s changed since and stay pending", cli_count(n, f->changed));
    if (f->notfound) printf("; %s not found", cli_count(n, f->notfound));
    if (f->refused) printf("; %s refused", cli_count(n, f->refused));
    if (f->errors) printf("; %s with an error", cli_count(n, f->errors));
    if (f->waived) printf(", %s of them waived", cli_count(n, f->waived));
    if (f->passed) printf("; %s lines ignored", cli_count(n, f->passed));
    putchar('\n');
    return 0;
}

/* Something was given and nothing came of it: why. */
static int fill_nothing(const fill_job *f)
{
    const char *why = "no line is an answer; vtag help worker has what they are";
    if (!f->lines || f->filled || f->waived || f->refused) return 0;
    if (f->rounded) why = FILL_ROUNDED;
    else if (f->changed) why = "the items changed since; embed what vtag pending prints now";
    else if (f->notfound) why = "there are no such items; is it the right file?";
    else if (f->errors) why = "all have an error; --waive-errors waives them";
    return cli_fail("%s: %llu lines, and nothing is filled: %s", f->input,
                    (unsigned long long)f->lines, why);
}

static int fill_open(fill_job *f, const char *file, const char *tag)
{
    vtag_cover c;
    vtag_err err;
    int rc;
    if (!lines_open(&f->in, f->input)) return cli_fail("%s", f->in.error);
    f->input = f->in.name;
    f->given = tag;
    rc = cli_change(&f->st, file);
    if (!rc) rc = cli_tag(&f->st, tag, &f->tag);
    if (rc) return rc;
    if (f->tag.role == VTAG_GONE) return cli_error(VTAG_RETIRED, "%s: tag '%s'", file, tag);
    err = vtag_coverage(f->st.snap, f->tag.tag, 0, &c);
    if (err) return cli_error(err, "%s", file);
    cli_progress_start(&f->progress, "fill", "items", c.stale + c.missing + c.outside);
    return 0;
}

int cmd_fill(int argc, char **argv)
{
    const char *file, *tag;
    int as_json = 0, rc;
    fill_job f;
    const cli_opt opts[] = {
        {"FILE", NULL, CLI_ARG, &file, "the store", NULL},
        {"INPUT", NULL, CLI_ARG, &f.input, "JSON Lines, - for standard input", NULL},
        {"--tag", "NAME", CLI_STR | CLI_MUST, &tag, "the vectors' tag", NULL},
        {"--batch", "N", CLI_U64, &f.batch, "items in a commit at most; 1,000", NULL},
        {"--chunk-time", "DURATION", CLI_SPAN, &f.chunk_ms, "of a commit, about; 0.5s", NULL},
        {"--waive-errors", NULL, CLI_FLAG, &f.waive_errors, "waive what has an \"error\"", NULL},
        {"--ignore", "NAME", CLI_LIST, &f.ignored,
         "drop this member of lines; may be given again", NULL},
        {"--json", NULL, CLI_FLAG, &as_json, "the counts as a JSON object", NULL},
        CLI_END};
    memset(&f, 0, sizeof f);
    f.batch = 1000;
    f.chunk_ms = 500;
    rc = cli_parse(argc, argv, "Takes lines {\"id\" or \"key\",\"rev\",\"vector\":[...]} in, or "
                   "\"vectors\":[{\"vector\",\n\"off\",\"len\"}], or \"error\". An item that "
                   "changed since is left pending. A member\nthat is not known is an error, unless "
                   "--ignore names it.", opts);
    if (rc >= 0) return rc;
    if (!f.batch || !f.chunk_ms) return cli_misuse("fill: --batch and --chunk-time are not 0");
    rc = fill_ignored(&f);
    if (!rc) rc = fill_open(&f, file, tag);
    if (!rc) {
        cli_catch();
        rc = fill_run(&f);
        cli_progress_end(&f.progress);
        fill_report(&f, as_json);
        if (!rc && f.refused) rc = CLI_FAILED;
        if (!rc && !cli_stopped()) rc = fill_nothing(&f);
        if (cli_stopped()) {
            rc = cli_fail("%s: interrupted; what was committed stays, run it again to go on",
                          f.input);
        }
    }
    cli_close(&f.st);
    free(f.r);
    lines_close(&f.in);
    cli_list_free(&f.ignored);
    return rc;
}
